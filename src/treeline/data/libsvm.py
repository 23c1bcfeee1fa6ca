"""libsvm text: a row a line, ``label[:weight] [qid:n] index:value ...``, ``#`` starts a comment.

Indices are taken as written, so 0-based, as the built-in image takes them. The fields of a block
are found and converted all at once; only a block with a fault in it is looked at row by row, to
say where the fault is. Source of the format: the README of LIBSVM (rows), SVM-light (``qid`` and
comments), XGBoost's "Text Input Format of DMatrix" (weights, 0-based indices).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treeline.data.records import LARGEST_INDEX, Floats, Records, RepeatedIndexError, sparse
from treeline.errors import DataError, shortened

if TYPE_CHECKING:
    from treeline.data.source import Source
    from treeline.hyperparameters import DataOptions
    from treeline.team import Team

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]


_BLOCK = 1 << 19  # bytes read at a time; beyond that the arrays leave the cache (measured)
_LONGEST_ROW = 1 << 28
_BOM = b"\xef\xbb\xbf"
_MOST_DIGITS = 18  # that fit into int64 whatever they are
_LAYOUT = "A row is 'label[:weight] [qid:n] index:value index:value ...', separated by blanks."

_FIELD, _BLANK, _NEWLINE, _COLON = range(4)
_KINDS = np.full(256, _FIELD, np.uint8)
_KINDS[list(b" \t\r")] = _BLANK
_KINDS[ord("\n")] = _NEWLINE
_KINDS[ord(":")] = _COLON


class Reader:
    """Reads the files of one channel; see ``formats.RecordReader``."""

    def __init__(self, options: DataOptions, threads: int) -> None:
        self.notes: list[str] = []
        # What the first row has besides label and features; None before the first row.
        self._weighted: bool | None = None
        self._grouped: bool | None = None
        self._smallest: int | None = None

    def read(self, source: Source) -> Iterator[Records]:
        """Yield the rows of ``source`` in order, sparse, a block of about 512 KiB at a time.

        Raises ``DataError`` for a row that does not follow the format, an index twice in a row,
        and a weight or a group that only some rows of the channel have.
        """
        row = line = 0
        try:
            # The only way to text from a FIFO where the source has one of its own.
            with getattr(source, "text_stream", source.stream)() as stream:
                begins = (source.window or (0, 0))[0] == 0
                for block in _blocks(stream, source.name, _BOM if begins else b""):
                    records = self._records(block, f"{source.name}: ", row, line)
                    if records is not None:
                        yield records
                        row += len(records.label)
                    line += block.count(b"\n")
        except OSError as error:
            raise DataError(
                f"{source.name}: cannot be read: {error.strerror or error}",
                "Check that the file is still there and its permissions.",
            ) from error
        self.notes[:] = self._found()

    def settle(self, team: Team) -> None:
        """Let the notes tell of the rows of all workers; collective, after the last file."""
        found = team.gather((self._weighted, self._smallest))
        self._weighted = any(weighted for weighted, _ in found)
        self._smallest = min((each for _, each in found if each is not None), default=None)
        self.notes[:] = self._found()

    def _records(self, block: bytes, where: str, row: int, line: int) -> Records | None:
        text = re.sub(rb"#[^\n]*", b"", block) if b"#" in block else block
        rows = _parse(text)
        if rows is not None and len(rows.label) == 0:
            return None
        if rows is not None:
            self._weighted = rows.weighted if self._weighted is None else self._weighted
            self._grouped = rows.grouped if self._grouped is None else self._grouped
            if (rows.weighted, rows.grouped) == (self._weighted, self._grouped):
                try:
                    features = sparse(rows.indptr, rows.indices, rows.values, rows.width)
                except RepeatedIndexError:
                    rows = None
                else:
                    if rows.indices.size:
                        smallest = int(rows.indices.min())
                        self._smallest = min(
                            smallest, smallest if self._smallest is None else self._smallest
                        )
                    return Records(rows.label, features, rows.weight, rows.group)
        raise self._fault(text, where, row, line)

    def _fault(self, text: bytes, where: str, row: int, line: int) -> DataError:
        """Return the error that says what is wrong with the first bad row of ``text``."""
        for number, content in enumerate(text.split(b"\n"), line + 1):
            tokens = [
                shown.decode("utf-8", "replace") for shown in re.findall(rb"[^ \t\r]+", content)
            ]
            if not tokens:
                continue
            row += 1
            weighted, grouped = ":" in tokens[0], tokens[1:2] != [] and _is_group(tokens[1])
            self._weighted = weighted if self._weighted is None else self._weighted
            self._grouped = grouped if self._grouped is None else self._grouped
            found = (
                _label_fault(tokens[0])
                or _same_fault("weight", "label:weight", weighted, self._weighted)
                or _same_fault("group", "qid:n", grouped, self._grouped)
                or _features_fault(tokens[1:], grouped)
            )
            if found:
                return DataError(f"{where}row {row} (line {number}): {found[0]}", found[1])
        return DataError(f"{where}lines {line + 1} and on are not libsvm text", _LAYOUT)

    def _found(self) -> list[str]:
        notes = []
        if self._weighted:
            notes.append("the number after the label's colon is the row's weight")
        if self._smallest:
            one = self._smallest == 1
            empty = "column 0 is" if one else f"columns 0 to {self._smallest - 1} are"
            notes.append(
                f"indices start at {self._smallest} and are taken as written, from 0, as the "
                f"built-in image takes them: {empty} all missing"
            )
        return notes


def _blocks(stream: BinaryIO, name: str, mark: bytes) -> Iterator[bytes]:
    """Yield the bytes of ``stream`` in whole lines, without the ``mark`` they may begin with.

    The last line gets a line end if it has none.
    """
    parts = [stream.read(_BLOCK).removeprefix(mark)]
    while chunk := stream.read(_BLOCK):
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield b"".join([*parts, chunk[:cut]])
            parts = []
        parts.append(chunk[cut:])
        if len(parts) * _BLOCK > _LONGEST_ROW:
            raise DataError(f"{name}: a line is longer than {_LONGEST_ROW >> 20} MiB", _LAYOUT)
    if rest := b"".join(parts):
        yield rest if rest.endswith(b"\n") else rest + b"\n"


@dataclass(frozen=True)
class _Rows:
    label: Floats
    weight: Floats | None
    group: Ints | None
    indptr: Ints
    indices: Ints
    values: Floats

    @property
    def weighted(self) -> bool:
        return self.weight is not None

    @property
    def grouped(self) -> bool:
        return self.group is not None

    @property
    def width(self) -> int:
        return int(self.indices.max()) + 1 if self.indices.size else 0


def _parse(text: bytes) -> _Rows | None:
    """Return the rows of ``text``, which ends with a line end, or None for any fault in it."""
    data = np.frombuffer(text, np.uint8)
    kinds = _KINDS[data]
    inside = kinds == _FIELD
    edges = np.flatnonzero(np.diff(inside.view(np.int8), prepend=np.int8(0)))
    fields = _Fields(data, edges[0::2], edges[1::2])
    is_key = data[fields.ends] == ord(":")
    # A colon stands right between two fields, never at either end of one.
    lone = np.count_nonzero(kinds == _COLON) != np.count_nonzero(is_key)
    tight = fields.starts[1:][is_key[:-1]] == fields.ends[:-1][is_key[:-1]] + 1
    if lone or is_key[-1:].any() or not tight.all():
        return None

    bounds = np.searchsorted(fields.starts, np.flatnonzero(kinds == _NEWLINE))
    counts = np.diff(bounds, prepend=0)
    label = (bounds - counts)[counts > 0]
    counts = counts[counts > 0]

    is_feature = np.ones(len(is_key), bool)
    is_feature[label] = False
    weight = _agreed(is_key[label], label + 1)
    if weight is None:
        return None
    is_feature[weight] = False
    after = label + (2 if weight.size else 1)
    has_group = np.zeros(len(label), bool)
    within = after < label + counts
    has_group[within] = data[fields.starts[after[within]]] == ord("q")
    qid = _agreed(has_group, after)
    if qid is None or not fields.are(qid, b"qid") or not is_key[qid].all():
        return None
    is_feature[qid] = is_feature[qid + 1] = False
    if is_key[weight].any() or is_key[qid + 1].any():
        return None

    features = np.flatnonzero(is_feature)
    index, value = features[0::2], features[1::2]
    if not is_key[index].all() or is_key[value].any():
        return None
    entries = (counts - 1 - bool(weight.size) - 2 * bool(qid.size)) // 2
    is_number = np.ones(len(is_key), bool)
    is_number[index] = is_number[qid] = is_number[qid + 1] = False
    indices, group = fields.integers(index), fields.integers(qid + 1)
    numbers = fields.floats(is_number)
    if indices is None or group is None or numbers is None or (indices > LARGEST_INDEX).any():
        return None
    return _Rows(
        label=numbers[label],
        weight=numbers[weight] if weight.size else None,
        group=group if qid.size else None,
        indptr=np.concatenate(([0], np.cumsum(entries))),
        indices=indices,
        values=numbers[value],
    )


def _agreed(has: NDArray[np.bool_], at: Ints) -> Ints | None:
    """Return ``at`` if all rows have the part, nothing if none has it, None if some have."""
    if has.all():
        return at
    return None if has.any() else at[:0]


@dataclass(frozen=True)
class _Fields:
    """Where the fields of a text begin and end, in order."""

    data: Bytes
    starts: Ints
    ends: Ints

    def are(self, which: Ints, word: bytes) -> bool:
        """Return whether all of these fields are ``word``."""
        starts = self.starts[which]
        return bool((self.ends[which] - starts == len(word)).all()) and all(
            (self.data[starts + i] == byte).all() for i, byte in enumerate(word)
        )

    def integers(self, which: Ints) -> Ints | None:
        """Return fields as integers, or None if one is not made of digits alone."""
        starts = self.starts[which]
        length = self.ends[which] - starts
        found = np.zeros(len(which), np.int64)
        longest = int(length.max(initial=0))
        if longest > _MOST_DIGITS:
            return None
        for i in range(longest):
            at = slice(None) if i == 0 else np.flatnonzero(length > i)
            digit = self.data[starts[at] + i] - np.uint8(ord("0"))
            if (digit > 9).any():
                return None
            found[at] = found[at] * 10 + digit
        return found

    def floats(self, which: NDArray[np.bool_]) -> Floats | None:
        """Return a float32 for every field, 0 for those not asked for, or None if one is text."""
        starts, ends = self.starts[which], self.ends[which]
        steps = np.zeros(len(self.data), np.int8)
        steps[starts] = 1
        steps[ends] = -1
        packed = self.data[np.cumsum(steps, dtype=np.int8).view(bool)]
        offsets = np.zeros(len(starts) + 1, np.int32)
        np.cumsum(ends - starts, out=offsets[1:])
        texts = pa.StringArray.from_buffers(
            len(starts), pa.py_buffer(offsets), pa.py_buffer(packed)
        )
        parsed = _cast(texts)
        if parsed is None:
            return None
        found = np.zeros(len(which), np.float32)
        found[which] = parsed
        return found


def _cast(texts: pa.StringArray) -> Floats | None:
    """Return texts as float32, rounded once, as the CSV reader rounds; None if one is not."""
    try:
        parsed: Any = texts.cast(pa.float32())
    except pa.ArrowInvalid:
        return None
    found: Floats = np.frombuffer(parsed.buffers()[1] or b"", np.float32)
    return found[: len(parsed)]


def _is_number(text: str) -> bool:
    return _cast(pa.array([text], pa.string())) is not None


def _is_group(token: str) -> bool:
    return token.startswith("qid")


def _shown(token: str) -> str:
    return repr(shortened(token, 40))


def _label_fault(token: str) -> tuple[str, str] | None:
    label, *weight = token.split(":")
    if len(weight) > 1:
        return f"{_shown(token)} is not a label with a weight", _LAYOUT
    if not _is_number(label):
        if not label:
            return f"{_shown(token)} has no label before the colon", _LAYOUT
        if "," in label and all(map(_is_number, label.split(","))):
            return f"has several labels: {_shown(label)}", "Give every row one label."
        return (
            f"the label {_shown(label)} is not a number",
            "libsvm labels are numbers; if this is another format, correct the ContentType.",
        )
    if weight and not _is_number(weight[0]):
        return f"the weight in {_shown(token)} is not a number", _LAYOUT
    return None


def _same_fault(part: str, form: str, has: bool, first: bool) -> tuple[str, str] | None:
    if has == first:
        return None
    found, others = ("a", "no") if has else ("no", "a")
    return (
        f"has {found} {part} ({form}), the channel's first row has {others} {part}",
        f"Give either all rows a {part} or none.",
    )


def _features_fault(tokens: list[str], grouped: bool) -> tuple[str, str] | None:
    if grouped:
        number = tokens[0].removeprefix("qid:")
        if not _is_integer(number):
            return f"{_shown(tokens[0])} is not qid:n with an integer from 0", _LAYOUT
    seen: set[int] = set()
    for token in tokens[grouped:]:
        if found := _feature_fault(token):
            return found
        index = int(token.partition(":")[0])
        if index in seen:
            return f"index {index} is there twice", "Give every feature once a row."
        seen.add(index)
    return None


def _feature_fault(token: str) -> tuple[str, str] | None:
    index, colon, value = token.partition(":")
    if _is_group(token):
        return f"{_shown(token)} is not right after the label", "Put qid:n there, once a row."
    if not colon:
        return f"{_shown(token)} has no colon", _LAYOUT
    if not _is_integer(index):
        return f"the index in {_shown(token)} is not an integer from 0", _LAYOUT
    if int(index) > LARGEST_INDEX:
        return f"the index in {_shown(token)} is above {LARGEST_INDEX}", "Renumber the features."
    if not value:
        return f"{_shown(token)} has no value after the colon", "Leave missing values out."
    if not _is_number(value):
        return f"the value in {_shown(token)} is not a number", _LAYOUT
    return None


def _is_integer(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
