"""Windows of a file, end to end, are the file: every row in one of them, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from treeline.data import csv, libsvm, parquet
from treeline.data.columns import Layout, resolve
from treeline.data.shares import check_quotes
from treeline.data.source import Source
from treeline.errors import DataError
from treeline.hyperparameters import DataOptions
from treeline.team import ALONE

checks = settings(deadline=None)
CUTS = st.lists(st.integers(0, 60).map(lambda part: part / 60), max_size=5)


def windows(file: Path, fractions: Sequence[float], length: int) -> list[Source]:
    """Return the windows of a file between cuts at ``fractions`` of ``length``."""
    name, size = f"train/{file.name}", file.stat().st_size
    cuts = sorted({0, length, *(round(length * each) for each in fractions)})
    source = Source(file, name, size=size, file=name)
    return [
        replace(source, name=f"{name} from {begin} on" if begin else name, window=(begin, end))
        for begin, end in pairwise(cuts)
    ]


def rows_in(batches: Iterable[pa.RecordBatch]) -> list[tuple[Any, ...]]:
    found = []
    for batch in batches:
        found += list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return found


def settled(table: Any, options: DataOptions, name: str) -> tuple[Layout, list[tuple[Any, ...]]]:
    """Return the layout as the first batch settles it, and the rows."""
    layout = resolve(options, table.names, table.width, name, csv=True)
    batches = list(table.batches(layout))
    kinds = zip(layout.read, batches[0].columns, strict=True)
    text = frozenset(i for i, column in kinds if not pa.types.is_float32(column.type))
    layout = replace(layout, text=text, number=frozenset(layout.read) - text)
    return layout, rows_in(batches)


NUMBERS = st.sampled_from(["0", "1.5", "-2e3", "", "NA", " 7", "8  ", '"9"'])
TEXTS = st.sampled_from(["a", "bb", "", '"x, ;|y"', '"q""q"', " c", "d ", "two words", '"  e"'])


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", " "]))
    kinds = draw(st.lists(st.booleans(), min_size=1, max_size=3))
    fields = [st.sampled_from(["0", "1"]), *(TEXTS if kind else NUMBERS for kind in kinds)]
    rows = draw(st.lists(st.tuples(*fields), min_size=1, max_size=30))
    if draw(st.booleans()):
        rows.insert(0, ("label", *(f'"name {i}"' for i in range(len(kinds)))))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    blank = st.sampled_from(["", "", "", end, end + end])
    text = draw(blank) + "".join(delimiter.join(row) + end + draw(blank) for row in rows)
    if not draw(st.booleans()):
        text = text.removesuffix(end)
    return draw(st.sampled_from(["", "\ufeff"])).encode() + text.encode()


@checks
@given(content=tables(), cuts=CUTS, together=st.booleans())
def test_windows_of_csv(content: bytes, cuts: list[float], together: bool) -> None:
    options = DataOptions()
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.csv")
        file.write_bytes(content)
        reader = csv.Reader(options, 1)
        try:
            table = reader.open(Source(file, "train/a.csv"))
            layout, expected = settled(table, options, "train/a.csv")
        except (DataError, IndexError):
            assume(False)
        found = []
        notes = []
        quotes = 0
        for source in windows(file, cuts, len(content)):
            other = csv.Reader(options, 1)
            other.first = reader.first if together else None
            opened = other.open(source)
            assert (opened.names, opened.width) == (table.names, table.width)
            found += rows_in(opened.batches(layout))
            notes += other.notes
            quotes += source.quotes
    assert found == expected
    assert together or notes == reader.notes
    assert quotes % 2 == 0


BROKEN = st.sampled_from(["a", "bb", '"c\nd"', '"\n"', '"1,2\n3,4"', '"e""\n""f"', '"\n,"', '""'])


@checks
@given(
    rows=st.lists(st.tuples(st.sampled_from("01"), BROKEN, BROKEN), min_size=1, max_size=12),
    width=st.integers(2, 3),
    turned=st.booleans(),
    cuts=CUTS,
)
def test_a_cut_within_quotes_never_changes_a_row(
    rows: list[tuple[str, ...]], width: int, turned: bool, cuts: list[float]
) -> None:
    """Line breaks in fields are read as they are, or refused."""
    options = DataOptions()
    step = -1 if turned else 1
    lines = [",".join(row[:width][::step]) for row in [("0", "x", "y"), *rows]]
    content = "".join(f"{line}\n" for line in lines).encode()
    label, *features = range(width)[::step]
    layout = Layout(
        None,
        width,
        label=label,
        features=tuple(sorted(features)),
        number=frozenset({label}),
        text=frozenset(features),
    )
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.csv")
        file.write_bytes(content)
        expected = rows_in(csv.Reader(options, 1).open(Source(file, "train/a.csv")).batches(layout))
        sources = windows(file, cuts, len(content))
        found = []
        refused = None
        try:
            for source in sources:
                found += rows_in(csv.Reader(options, 1).open(source).batches(layout))
            check_quotes(sources, ALONE)
        except DataError as error:
            refused = error.remedy
        breaks = {i + 1 for i, byte in enumerate(content) if byte == ord("\n")}
        even = all(
            content[: min(b for b in breaks if b >= begin)].count(b'"') % 2 == 0
            for begin, _ in (source.window or (0, 0) for source in sources)
        )
    assert (refused is None) == even
    assert found == expected if refused is None else "cannot be divided" in refused


@checks
@given(
    rows=st.lists(
        st.sampled_from(["1 1:2", "0 3:4.5 7:1", "0", "1 2:1 # a comment", "# alone", ""]),
        min_size=1,
        max_size=30,
    ),
    mark=st.sampled_from(["", "\ufeff"]),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    cuts=CUTS,
)
def test_windows_of_libsvm(
    rows: list[str], mark: str, end: str, last: bool, cuts: list[float]
) -> None:
    content = (mark + end.join(rows) + (end if last else "")).encode()
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.txt")
        file.write_bytes(content)

        def read(*sources: Source) -> list[tuple[float, list[int], list[float]]]:
            reader = libsvm.Reader(DataOptions(), 1)
            found = []
            for source in sources:
                for block in reader.read(source):
                    features: Any = block.features
                    for i, label in enumerate(block.label.tolist()):
                        part = slice(features.indptr[i], features.indptr[i + 1])
                        columns = features.indices[part].tolist()
                        found.append((label, columns, features.values[part].tolist()))
            return found

        assert read(*windows(file, cuts, len(content))) == read(Source(file, "train/a.txt"))


@checks
@given(
    groups=st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any),
    cuts=CUTS,
    text=st.booleans(),
)
@example(groups=[2, 0, 1], cuts=[1 / 3, 2 / 3], text=False)
def test_windows_of_parquet(groups: list[int], cuts: list[float], text: bool) -> None:
    total = sum(groups)
    values = pa.array([f"t{i % 3}" if text else i / 2 for i in range(total)])
    table = pa.table({"y": pa.array(range(total), pa.float32()), "x": values})
    options = DataOptions()
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.parquet")
        start = 0
        with pq.ParquetWriter(file, table.schema) as writer:
            for rows in groups:
                writer.write_table(table.slice(start, rows))
                start += rows
        assert len(parquet.group_sizes(Source(file, "train/a.parquet"))) == len(groups)
        reader = parquet.Reader(options, 1)
        layout, expected = settled(
            reader.open(Source(file, "train/a.parquet")), options, "train/a.parquet"
        )
        found = []
        counted = 0
        for source in windows(file, cuts, len(groups)):
            opened = reader.open(source)
            counted += opened.rows
            found += rows_in(opened.batches(layout))
    assert found == expected
    assert (counted, reader.notes) == (total, [])
