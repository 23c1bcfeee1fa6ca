"""A table is the same matrix in every format; any other bytes are refused in one's own words."""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.writers import COMPRESSIONS, FORMATS, MODES, Channels, Format, Table

from treeline import hyperparameters
from treeline.data import channel, csv_dialect, reading
from treeline.data.csv import MISSING
from treeline.data.matrix import Matrix
from treeline.data.records import Csr
from treeline.errors import TreelineError
from treeline.opt_ml import Channel

# Files are written and FIFOs fed for every example, on a machine that may have other work.
checks = partial(
    settings,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def read(
    files: list[bytes],
    content_type: str | None,
    mode: str = "File",
    **options: str,
) -> Matrix:
    """Read ``files`` as a job reads the channel train."""
    given = {"num_round": "1", "objective": "reg:squarederror", **options}
    config = hyperparameters.parse(given).data
    with TemporaryDirectory() as folder, Channels(Path(folder)) as channels:
        channels.write("train", files, content_type, mode)
        train = Channel("train", Path(folder, "train"), content_type, mode)
        datasets = channel.resolve({"train": train}, config).datasets
        return reading.read(datasets["train"], config, 1)


# The same table


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SPECIAL = st.sampled_from([0.0, -0.0, 1.0, 1e-45, -3.4028235e38, 3.4028235e38, 16777217.0, 0.1])
NUMBERS = FLOATS | SPECIAL
POSITIVE = st.floats(2**-20, 2**20, width=32)
# Without control characters, which make a file binary; separators of lines are texts like others.
# A byte order mark may be dropped at the beginning of a file.
CHARACTERS = st.characters(
    exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"
) | st.sampled_from(list(",;|\t\n\"' #:"))
WORDS = st.sampled_from(
    [
        'a, "b"',
        '"',
        '""',
        'x"y',
        "'",
        "two\nlines",
        "two\r\nlines",
        '"quoted"',
        "a  b",
        "a\tb",
        "\\",
        "\\N.",
        "a:1",
        "na ",
        "Straße",
        "東京",
        "\u2028",
        "e5",
        "1e5x",
        "inf.",
        "x=1",
    ]
)


def is_text(text: str) -> bool:
    """Whether every format takes ``text`` for text and keeps it as it is.

    A number with a colon after it makes a row of two fields one of libsvm, and one of two quotes
    on different lines of a field may be missing.
    """
    return (
        text.strip(csv_dialect.BLANKS) == text
        and text not in MISSING
        and csv_dialect.kind({text}) == "text"
        and csv_dialect.masquerade({text}) is None
        and not re.match(r"\d+:", text)
        and ("\n" not in text or text.count('"') % 2 == 0)
    )


TEXTS = (st.text(CHARACTERS, min_size=1, max_size=6) | WORDS).filter(is_text)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Up to 40 rows of up to 6 features; what is text has texts from the first row on."""
    rows = draw(st.integers(1, 40))
    texts = draw(st.lists(TEXTS, min_size=1, max_size=4, unique=True))

    def numbers(values: st.SearchStrategy[float | None]) -> Any:
        column = draw(st.lists(values, min_size=rows, max_size=rows))
        return np.array([np.nan if each is None else each for each in column], np.float32)

    def words(values: st.SearchStrategy[str | None]) -> list[str | None]:
        rest = draw(st.lists(values, min_size=rows - 1, max_size=rows - 1))
        return [draw(st.sampled_from(texts)), *rest]

    def feature(number: bool) -> Any:
        present: st.SearchStrategy[Any] = NUMBERS if number else st.sampled_from(texts)
        values = present | st.none() if draw(st.booleans()) else present
        return numbers(values) if number else words(values)

    any_text = draw(st.booleans())
    kinds = draw(st.lists(st.just(True) if not any_text else st.booleans(), min_size=1, max_size=6))
    label = words(st.sampled_from(texts)) if any_text and draw(st.booleans()) else numbers(NUMBERS)
    group = st.lists(st.integers(0, 2**40), min_size=rows, max_size=rows)
    return Table(
        label,
        {f"x{j}": feature(number) for j, number in enumerate(kinds)},
        numbers(POSITIVE) if draw(st.booleans()) else None,
        np.array(draw(group), np.int64) if draw(st.booleans()) else None,
    )


def options(format_: Format, table: Table) -> dict[str, str]:
    """The hyperparameters under which a file of few, odd rows can be understood in one way."""
    if format_.delimiter is not None:
        said = {"csv_delimiter": format_.delimiter, "csv_header": str(format_.header).lower()}
        return {**said, **table.column_options}
    return table.column_options if format_.texts else {}


def dense(matrix: Matrix) -> Any:
    """The bits of the features, with one nan for every nan."""
    features = matrix.features
    if isinstance(features, Csr):
        full = np.full((features.rows, features.width), np.nan, np.float32)
        rows = np.repeat(np.arange(features.rows), np.diff(features.indptr))
        full[rows, features.indices] = features.values
        features = full
    return np.where(np.isnan(features), np.float32(np.nan), features).view(np.uint32).tolist()


def all_of(matrix: Matrix) -> dict[str, Any]:
    schema = matrix.schema
    arrays = {"label": matrix.label, "weight": matrix.weight, "group": matrix.group}
    return {
        "features": dense(matrix),
        **{name: None if a is None else a.tolist() for name, a in arrays.items()},
        "group names": matrix.group_names,
        "categories": schema.categories,
        "classes": schema.classes,
        "fingerprint": matrix.fingerprint,
    }


def expected(table: Table) -> dict[str, Any]:
    """The table itself, as far as it needs no reader to be known."""
    columns, categories = [], {}
    for j, column in enumerate(table.features.values()):
        if isinstance(column, list):
            texts = sorted({text for text in column if text is not None})
            categories[j] = tuple(texts)
            column = np.array([np.nan if t is None else texts.index(t) for t in column], np.float32)
        columns.append(column)
    features = np.column_stack(columns)
    bits = np.where(np.isnan(features), np.float32(np.nan), features).view(np.uint32)
    return {"features": bits.tolist(), "categories": categories}


def can_say(name: str, table: Table) -> bool:
    if not FORMATS[name].can_say(table):
        return False
    # Rows that leave out their missing values do not say that there is a last column.
    return name != "libsvm" or not np.isnan(table.matrix[:, -1]).all()


@checks(max_examples=100)
@given(tables(), st.integers(0, 2**32 - 1))
@example(Table(["a", "b"], {"x": ['He said, "no"', "yes"]}), 0)
@example(Table(np.zeros(2, np.float32), {"x": np.full(2, np.nan, np.float32)}), 0)
def test_a_table_is_the_same_matrix_in_every_format(table: Table, seed: int) -> None:
    draw = random.Random(seed)
    first: dict[str, Any] | None = None
    for name, format_ in FORMATS.items():
        if not can_say(name, table):
            continue
        mode, compression = draw.choice(MODES), draw.choice([*COMPRESSIONS])
        parts = table.parts(draw.choice([1, 3]))
        if mode == "Pipe" and not format_.joins:
            parts = [table]
        if name == "libsvm" and not can_say(name, parts[0]):
            parts = [table]
        files = [COMPRESSIONS[compression](format_.write(part)) for part in parts]
        matrix = read(files, format_.content_type, mode, **options(format_, table))
        found = all_of(matrix)
        first = first or found
        assert found == first, (name, compression, mode, len(parts))
        assert found.items() >= expected(table).items(), name


# Any other bytes


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail what takes longer."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(data: bytes, content_type: str | None, mode: str) -> Matrix | None:
    """Return the matrix, or None where the data is refused as it should be."""
    refusal: TreelineError | None = None
    try:
        with within(20):
            matrix = read([data], content_type, mode)
    except TreelineError as error:
        refusal = error
    if refusal is not None:
        assert refusal.cause
        assert refusal.cause.isprintable(), refusal.cause
        assert refusal.remedy
        return None
    rows = matrix.features.rows if isinstance(matrix.features, Csr) else len(matrix.features)
    assert matrix.label is not None
    assert rows == len(matrix.label) == matrix.rows > 0
    assert np.isfinite(matrix.label).all()
    return matrix


SMALL = Table(
    np.array([0, 1, 0, 1, 1], np.float32),
    {
        "a": np.array([0.5, np.nan, -2, 1e9, 3], np.float32),
        "b": np.array([1, 2, 3, 4, np.nan], np.float32),
        "c": np.array([0, 7, 7, 0, 7], np.float32),
    },
)
TEXT = Table(SMALL.label, {**SMALL.features, "c": ["x", "y, z", None, "x", "Ä"]})
VALID = {
    (name, compression): COMPRESSIONS[compression](
        format_.write(TEXT if format_.can_say(TEXT) else SMALL)
    )
    for name, format_ in FORMATS.items()
    for compression in COMPRESSIONS
}
CONTENT_TYPES = [None, *sorted({str(format_.content_type) for format_ in FORMATS.values()})]
SEQUENCES = st.binary(max_size=8) | st.sampled_from(
    [
        *(b"\0" * 4, b"\xff" * 4, b"\xff" * 10, b"\x7f\xff\xff\xff", b"\x80"),
        *(b'"', b"\n", b"\r", b",", b":", b" ", b"1e999", b"nan", b"-inf"),
        *(b"PAR1", b"ARROW1", b"PK\x05\x06", b"\x0a\x23\xd7\xce"),
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid file with a few bytes changed, put in, taken out, or its end cut off."""
    name, compression = draw(st.sampled_from([*VALID]))
    # pyarrow ends the process where a Parquet footer that can be read contradicts itself.
    spared = name.startswith("parquet")
    data = bytearray(VALID[name, "plain" if spared or draw(st.booleans()) else compression])
    after = 28 + int.from_bytes(data[-8:-4], "little") if spared else 1
    for _ in range(draw(st.integers(1, 3))):
        # From either end, because many formats keep what matters there.
        last = max(0, len(data) - after)
        at = draw(st.integers(0, last))
        at = last - at if draw(st.booleans()) else at
        match draw(st.sampled_from(["flip", "put", "over", "out", "cut", "twice"])):
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "put":
                data[at:at] = draw(SEQUENCES)
            case "over":
                found = draw(SEQUENCES)
                data[at : at + len(found)] = found
            case "out":
                del data[at : at + draw(st.integers(1, 20))]
            case "cut":
                del data[at:]
                after = 1
            case "twice":
                data[at:at] = data[at : at + draw(st.integers(1, 300))]
    return name, bytes(data)


@checks(max_examples=800)
@given(damaged(), st.sampled_from(CONTENT_TYPES), st.integers(0, 9), st.sampled_from(MODES))
def test_damaged_files_are_read_or_refused(
    file: tuple[str, bytes], other: str | None, odds: int, mode: str
) -> None:
    name, data = file
    outcome(data, FORMATS[name].content_type if odds else other, mode)


@checks(max_examples=300)
@given(
    st.lists(SEQUENCES | st.text(max_size=9).map(str.encode), max_size=30).map(b"".join),
    st.sampled_from([b"", *(data[:12] for data in VALID.values())]),
    st.sampled_from(CONTENT_TYPES),
    st.sampled_from(MODES),
)
def test_any_bytes_are_read_or_refused(
    data: bytes, begin: bytes, content_type: str | None, mode: str
) -> None:
    outcome(begin + data, content_type, mode)


# Formats that say where they end; the others do once they are compressed.
WITH_AN_END = ("parquet", "arrow", "feather", "npz")
CUT = [key for key in VALID if key[1] != "plain" or key[0].startswith(WITH_AN_END)]


@checks(max_examples=400)
@given(
    st.sampled_from(CUT), st.floats(0, 1, exclude_max=True), st.booleans(), st.sampled_from(MODES)
)
def test_a_file_that_was_cut_off_is_never_taken_for_a_shorter_one(
    key: tuple[str, str], where: float, near_the_end: bool, mode: str
) -> None:
    whole = VALID[key]
    left = int((1 - where * 12 / len(whole) if near_the_end else where) * len(whole))
    data = whole[: min(left, len(whole) - 1)]
    assert outcome(data, FORMATS[key[0]].content_type, mode) is None
