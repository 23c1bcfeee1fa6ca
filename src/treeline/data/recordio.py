"""RecordIO-protobuf: every record is one row, as the platform's algorithms exchange them.

A record is framed by a magic number and its length (dmlc's RecordIO) and holds a protobuf message
with two maps, features and label, whose entry ``values`` is a tensor: the row's values, for a
sparse row also their columns (keys) and the number of columns (shape). Source of the message:
"Common Data Formats for Training" in the platform's developer guide; of its encoding: "Encoding"
in the Protocol Buffers documentation; of the framing: dmlc::RecordIOWriter in MXNet's API.

All records of a block are taken apart together, one level of the message after the other: a step
reads the next field of every message at once, so Python runs once per step, not once per row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from treeline.data.records import LARGEST_INDEX, Csr, Floats, Records, RepeatedIndexError, sparse
from treeline.errors import DataError, shortened

if TYPE_CHECKING:
    from treeline.data.source import Source
    from treeline.hyperparameters import DataOptions
    from treeline.team import Team

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

MAGIC = 0xCED7230A

_BLOCK = 1 << 20  # bytes read at a time
_HEAD = 8  # bytes before a record: magic and length
_LONGEST_PART = (1 << 29) - 1
_WHOLE, _BEGIN, _MIDDLE, _END = range(4)  # what the upper 3 bits of the length say
_PAD = 16  # bytes after a block that may be looked at: more than the longest varint

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_LONGEST_VARINT = 10

# Field numbers of the messages.
_FEATURES, _LABEL, _UID, _METADATA, _CONFIGURATION = range(1, 6)
_KEY, _VALUE = 1, 2
_FLOAT32, _FLOAT64, _INT32, _BYTES = 2, 3, 7, 9
_VALUES, _KEYS, _SHAPE = range(1, 4)
_REALS = {_FLOAT32: (4, _FIXED32, "<f4"), _FLOAT64: (8, _FIXED64, "<f8")}
_PARTS = {_FEATURES: "features", _LABEL: "label"}
_NAME = b"values"
_NONE = np.zeros(0, np.int64)


def _known(*numbers: int) -> Mask:
    """Return which field numbers a message may have; the last stands for all above."""
    known = np.zeros(max(numbers) + 2, bool)
    known[list(numbers)] = True
    return known


_RECORD = _known(_FEATURES, _LABEL, _UID, _METADATA, _CONFIGURATION)
_ENTRY = _known(_KEY, _VALUE)
_TENSOR_TYPES = _known(_FLOAT32, _FLOAT64, _INT32, _BYTES)
_TENSOR = _known(_VALUES, _KEYS, _SHAPE)

_COMPLETE = "Check that the file was written and uploaded completely, and its format."
_LAYOUT = "Write every row as a Record with one 'values' tensor in features and one in label."


class Reader:
    """Reads the files of one channel; see ``formats.RecordReader``."""

    def __init__(self, options: DataOptions, threads: int) -> None:
        self.notes: list[str] = []
        self._columns = _Columns()
        self._unused = False

    def read(self, source: Source) -> Iterator[Records]:
        """Yield the rows of ``source`` in order, a block of about 1 MiB at a time.

        A block whose rows are all dense is dense, another one sparse. Raises ``DataError`` for
        framing or messages that are broken, tensors that are not one row, rows that differ in
        their number of columns, and a label that is not one number.
        """
        row = 0
        try:
            with source.stream() as stream:
                for block in _blocks(stream, source.name):
                    yield self._records(block, _Place(source.name, row))
                    row += len(block.begin)
        except OSError as error:
            raise DataError(
                f"{source.name}: cannot be read: {error.strerror or error}",
                "Check that the file is still there and its permissions.",
            ) from error

    def settle(self, team: Team) -> None:
        """Refuse rows that do not have the columns of other workers' rows."""
        self._columns.settle(team)

    def _records(self, block: _Block, place: _Place) -> Records:
        n = len(block.begin)
        messages = _Messages(block.data, place)
        alike = _alike(block, messages)
        if alike is not None:
            label, features = alike
        else:
            records = messages.fields("record", block.begin, block.end, _RECORD)
            self._note_unused(records)
            label = messages.tensors(records, _LABEL, n)
            features = messages.tensors(records, _FEATURES, n)
        place.refuse(label.counts != 1, "label: {} values, not one", label.counts)
        place.refuse(label.key_counts > 0, "label: a sparse tensor")
        bad = (label.columns >= 0) & (label.columns != 1)
        place.refuse(bad, "label: the shape is {}, not 1", label.columns)
        return Records(label.values, self._columns.matrix(features, place))

    def _note_unused(self, records: _Steps) -> None:
        if not self._unused and records.any_from(_METADATA):
            self._unused = True
            self.notes.append("the records' metadata and configuration are not used")


@dataclass(frozen=True)
class _Place:
    """Where the records of a block stand: after ``row`` others of the file ``name``."""

    name: str
    row: int

    def of(self, record: int) -> str:
        return f"{self.name}: row {self.row + record + 1}"

    def refuse(
        self, bad: Mask, what: str, found: Ints | None = None, owner: Ints | None = None
    ) -> None:
        """Raise for the first record in ``bad``; ``what`` may show what was ``found`` there.

        ``owner`` are the records where ``bad`` is not one value per record.
        """
        if bad.any():
            at = int(bad.argmax())
            shown = "" if found is None else int(found[at])
            record = at if owner is None else int(owner[at])
            raise DataError(f"{self.of(record)}: {what.format(shown)}", _LAYOUT)


# Framing


@dataclass(frozen=True)
class _Block:
    """Whole records: record ``i`` is ``data[begin[i]:end[i]]``."""

    data: Bytes
    begin: Ints
    end: Ints


def _blocks(stream: BinaryIO, name: str) -> Iterator[_Block]:
    """Yield the stream's records, as many at a time as a block holds, at least one."""
    rest = b""
    records = offset = 0
    wanted = _BLOCK
    while chunk := stream.read(wanted):
        content = rest + chunk
        frame = _Frame(content, name, offset, records)
        block, used = frame.whole_records()
        if len(block.begin):
            yield block
            records += len(block.begin)
        rest = content[used:]
        offset += used
        wanted = max(_BLOCK, len(rest) if not used else 0)  # a long record: twice as much
    if rest:
        raise DataError(
            f"{name}: ends in the middle of record {records + 1}, which begins at byte {offset}",
            _COMPLETE,
        )


@dataclass(frozen=True)
class _Frame:
    """Bytes that begin with a record, the one after ``records`` others, at byte ``offset``."""

    content: bytes
    name: str
    offset: int
    records: int

    def whole_records(self) -> tuple[_Block, int]:
        """Return the records that are whole, and how many bytes they take."""
        words = np.frombuffer(self.content, "<u4", len(self.content) // 4)
        # A magic number begins a record if the record before it ends there.
        heads = np.flatnonzero(words[:-1] == MAGIC)
        length = words[heads + 1].astype(np.int64)
        ends = heads + _HEAD // 4 + (length + 3) // 4
        chained = len(heads) > 0 and heads[0] == 0 and (heads[1:] == ends[:-1]).all()
        if not chained or length.max() > _LONGEST_PART:
            return self._one_by_one(words)
        whole = len(heads) if ends[-1] <= len(words) else len(heads) - 1
        used = int(ends[whole - 1]) if whole else 0
        if whole == len(heads):
            self._check_magic(words, used, whole)
        begin = heads[:whole] * 4 + _HEAD
        return _Block(_padded(self.content), begin, begin + length[:whole]), used * 4

    def _one_by_one(self, words: NDArray[np.uint32]) -> tuple[_Block, int]:
        """Do the same where a magic number is part of a record, or a record is in parts.

        A record in parts has had its magic numbers taken out, one between any two parts; what it
        was is put together behind the others.
        """
        begin: list[int] = []
        end: list[int] = []
        joined = bytearray(self.content)
        parts: list[bytes] = []
        at = used = 0
        while at < len(words):
            self._check_magic(words, at, len(begin))
            if at + 1 == len(words):
                break
            part, length = divmod(int(words[at + 1]), _LONGEST_PART + 1)
            if part > _END or (part in (_WHOLE, _BEGIN)) == bool(parts):
                raise self._broken(at, len(begin), f"is out of order (part type {part})")
            first = at * 4 + _HEAD
            at += _HEAD // 4 + (length + 3) // 4
            if at > len(words):
                break
            if part == _WHOLE:
                begin.append(first)
                end.append(first + length)
            else:
                parts.append(self.content[first : first + length])
            if part == _END:
                begin.append(len(joined))
                joined += MAGIC.to_bytes(4, "little").join(parts)
                end.append(len(joined))
                parts = []
            if not parts:
                used = at
        return _Block(_padded(joined), np.array(begin, np.int64), np.array(end, np.int64)), used * 4

    def _check_magic(self, words: NDArray[np.uint32], at: int, before: int) -> None:
        if at < len(words) and words[at] != MAGIC:
            found = f"begins with {int(words[at]):#010x}, not with {MAGIC:#010x}"
            raise self._broken(at, before, found)

    def _broken(self, at: int, before: int, what: str) -> DataError:
        record = self.records + before + 1
        return DataError(
            f"{self.name}: record {record} at byte {self.offset + at * 4} {what}", _COMPLETE
        )


def _padded(content: bytes | bytearray) -> Bytes:
    return np.frombuffer(bytes(content) + bytes(_PAD), np.uint8)


# Messages


@dataclass(frozen=True)
class _Fields:
    """Fields of messages: ``owner`` is the position of a field's message, in ascending order.

    A field is its ``number``, how it is encoded (``wire``), and the bytes from ``begin`` to
    ``end``, without a length before them.
    """

    owner: Ints
    number: Ints
    wire: Ints
    begin: Ints
    end: Ints

    def at(self, which: Mask | Ints) -> _Fields:
        """Return some of the fields."""
        return _Fields(*(part[which] for part in self._parts()))

    def only(self, number: int) -> _Fields:
        """Return the fields with that number."""
        which = self.number == number
        return self if which.all() else self.at(which)

    @staticmethod
    def joined(steps: Sequence[_Fields]) -> _Fields:
        """Return the fields of several steps, those of one message in the order of the steps."""
        if len(steps) == 1:
            return steps[0]
        parts = zip(*(step._parts() for step in steps), strict=True)
        found = _Fields(*map(np.concatenate, parts)) if steps else _Fields(*[_NONE] * 5)
        return found.at(np.argsort(found.owner, kind="stable"))

    def _parts(self) -> tuple[Ints, ...]:
        return self.owner, self.number, self.wire, self.begin, self.end


@dataclass(frozen=True)
class _Steps:
    """The fields of messages, a step for the first field of each, one for the second, ..."""

    steps: Sequence[_Fields]

    def all(self) -> _Fields:
        """Return all fields."""
        return _Fields.joined(self.steps)

    def only(self, number: int) -> _Fields:
        """Return the fields with that number; mostly those are one whole step."""
        found = [step.only(number) for step in self.steps]
        return _Fields.joined([step for step in found if len(step.owner)])

    def any_from(self, number: int) -> bool:
        """Return whether there is a field of that number or a higher one."""
        return any((step.number >= number).any() for step in self.steps)


@dataclass(frozen=True)
class _Tensors:
    """One tensor a record: ``counts[i]`` of ``values``, ``key_counts[i]`` of ``keys``.

    ``columns`` is what the shape says, -1 without one.
    """

    values: Floats
    counts: Ints
    keys: Ints
    key_counts: Ints
    columns: Ints


@dataclass(frozen=True)
class _Messages:
    """Takes messages apart, each kind at once; refuses what it does not know."""

    data: Bytes
    place: _Place

    def fields(
        self,
        message: str,
        begin: Ints,
        end: Ints,
        known: Mask,
        record: Ints | None = None,
    ) -> _Steps:
        """Return the fields of the messages between ``begin`` and ``end``.

        ``record`` is the record each message is part of; without it, message i is of record i.
        """
        record = np.arange(len(begin)) if record is None else record
        steps: list[_Fields] = []
        owner, at, stop = np.arange(len(begin)), begin, end
        while True:
            more = at < stop
            if not more.all():
                owner, at, stop = owner[more], at[more], stop[more]
            if not len(owner):
                break
            tag, at = _varints(self.data, at)
            number, wire = tag >> 3, tag & 7
            length, first = self._lengths(at, wire)
            at = first + length
            bad = (number <= 0) | (length < 0) | (at > stop) | (at < first)
            self.place.refuse(
                bad, f"{message}: the protobuf message is broken", owner=record[owner]
            )
            bad = ~known[np.minimum(number, len(known) - 1)]
            self.place.refuse(bad, f"{message}: field {{}} is unknown", number, record[owner])
            steps.append(_Fields(owner, number, wire, first, at))
        return _Steps(steps)

    def _lengths(self, at: Ints, wire: Ints) -> tuple[Ints, Ints]:
        """Return how long fields are, -1 for unknown wire types, and where they begin."""
        if (wire == _LENGTH).all():
            return _varints(self.data, at)
        length = np.full(len(at), -1)
        first = at.copy()
        prefixed, number = wire == _LENGTH, wire == _VARINT
        length[prefixed], first[prefixed] = _varints(self.data, at[prefixed])
        length[number] = _varints(self.data, at[number])[1] - at[number]
        length[wire == _FIXED64] = 8
        length[wire == _FIXED32] = 4
        return length, first

    def tensors(self, records: _Steps, number: int, n: int) -> _Tensors:
        """Return the numbers of the tensors of the ``n`` records' map ``number``."""
        part = _PARTS[number]
        kind, tensor = self.tensor_fields(records, number, n)
        keys, key_counts = self._integers(tensor.only(_KEYS), n, f"{part}: keys")
        columns = self._columns(tensor.only(_SHAPE), n, part)
        values, counts = self._values(tensor.only(_VALUES), kind, n, part)
        return _Tensors(values, counts, keys, key_counts, columns)

    def tensor_fields(self, records: _Steps, number: int, n: int) -> tuple[Ints, _Steps]:
        """Return the type and the fields of the one tensor in each record's map ``number``."""
        part = _PARTS[number]
        entries = records.only(number)
        record = entries.owner
        self.place.refuse(entries.wire != _LENGTH, f"{part}: is not a map", owner=record)
        inner = self.fields(part, entries.begin, entries.end, _ENTRY, record)
        name = self._one(inner.only(_KEY), record, f"{part}: an entry has {{}} names, not one")
        self._check_names(name, record, part)
        counts = np.bincount(record, minlength=n)
        self.place.refuse(counts == 0, f"{part}: there is none")
        self.place.refuse(counts > 1, f"{part}: {{}} are named 'values', not one", counts)
        value = self._one(inner.only(_VALUE), record, f"{part}: {{}} tensors, not one")
        value = self.fields(part, value.begin, value.end, _TENSOR_TYPES).all()
        value = self._one(value, record, f"{part}: {{}} tensors, not one")
        self.place.refuse(value.number == _BYTES, f"{part}: bytes, not numbers")
        return value.number, self.fields(part, value.begin, value.end, _TENSOR)

    def _one(self, fields: _Fields, record: Ints, what: str) -> _Fields:
        """Return ``fields`` if they are one of each message."""
        counts = np.bincount(fields.owner, minlength=len(record))
        self.place.refuse(counts != 1, what, counts, record)
        self.place.refuse(fields.wire != _LENGTH, "the protobuf message is broken", owner=record)
        return fields

    def _check_names(self, name: _Fields, record: Ints, part: str) -> None:
        length = name.end - name.begin
        same = length == len(_NAME)
        for i, byte in enumerate(_NAME):
            same &= self.data[np.minimum(name.begin + i, len(self.data) - 1)] == byte
        if not same.all():
            at = int(same.argmin())
            text = self.data[name.begin[at] : name.end[at]].tobytes().decode("utf-8", "replace")
            shown = repr(shortened(text, 40)).replace("{", "{{").replace("}", "}}")
            self.place.refuse(~same, f"{part}: named {shown}, not 'values'", owner=record)

    def _columns(self, shape: _Fields, n: int, part: str) -> Ints:
        sizes, counts = self._integers(shape, n, f"{part}: shape")
        self.place.refuse(counts > 1, f"{part}: the shape has {{}} dimensions, not one", counts)
        self.place.refuse(sizes < 0, f"{part}: the shape is too large", owner=shape.owner)
        columns = np.full(n, -1)
        columns[counts == 1] = sizes
        return columns

    def _values(self, chunks: _Fields, kind: Ints, n: int, part: str) -> tuple[Floats, Ints]:
        """Return all values, record by record, and how many each record has."""
        kinds = [k for k in (_FLOAT32, _FLOAT64, _INT32) if (kind == k).any()]
        if len(kinds) < 2:
            return self._values_of(kinds[0] if kinds else _FLOAT32, chunks, n, part)
        pieces = [
            (kind == k, *self._values_of(k, chunks.at(kind[chunks.owner] == k), n, part))
            for k in kinds
        ]
        counts = np.sum([piece[2] for piece in pieces], axis=0)
        starts = np.cumsum(counts) - counts
        values = np.empty(int(counts.sum()), np.float32)
        for which, found, _ in pieces:
            values[_ranges(starts[which], counts[which])] = found
        return values, counts

    def _values_of(self, kind: int, chunks: _Fields, n: int, part: str) -> tuple[Floats, Ints]:
        if kind == _INT32:
            integers, counts = self._integers(chunks, n, part)
            return integers.astype(np.float32), counts
        size, wire, dtype = _REALS[kind]
        length = chunks.end - chunks.begin
        bad = (length % size != 0) | ((chunks.wire != _LENGTH) & (chunks.wire != wire))
        self.place.refuse(bad, f"{part}: not numbers of {size} bytes", owner=chunks.owner)
        # Numbers stand at any byte, so there is one for every byte of the data.
        anywhere: NDArray[np.floating] = np.ndarray(
            len(self.data) - size + 1, dtype, self.data, strides=(1,)
        )
        found = anywhere[_ranges(chunks.begin, length // size, size)]
        with np.errstate(over="ignore"):  # infinite, as a number in text that is too large
            values = found.astype(np.float32, copy=False)
        return values, _summed(chunks.owner, length // size, n)

    def _integers(self, chunks: _Fields, n: int, part: str) -> tuple[Ints, Ints]:
        """Return base-128 numbers of 31 bits and a sign, and how many each record has."""
        place, length = self.place, chunks.end - chunks.begin
        bad = (chunks.wire != _LENGTH) & (chunks.wire != _VARINT)
        place.refuse(bad, f"{part}: not integers", owner=chunks.owner)
        packed = self.data[_ranges(chunks.begin, length)]
        last = packed < 128
        counts = np.zeros(len(length), np.int64)
        some = np.flatnonzero(length)
        if len(some):
            stop = np.cumsum(length)[some]
            place.refuse(~last[stop - 1], f"{part}: cut off", owner=chunks.owner[some])
            counts[some] = np.add.reduceat(last, stop - length[some], dtype=np.int64)
        found, longest = _packed(packed, last)
        if longest > 4:  # 4 bytes hold 28 bits
            owner = np.repeat(chunks.owner, counts)
            bad = (found > LARGEST_INDEX) | (found < -LARGEST_INDEX - 1)
            place.refuse(bad, f"{part}: 32 bits cannot hold {{}}", found, owner)
        if longest > _LONGEST_VARINT:
            raise DataError(f"{place.name}: {part}: integers of more than 10 bytes", _LAYOUT)
        return found, _summed(chunks.owner, counts, n)


def _packed(data: Bytes, last: Mask) -> tuple[Ints, int]:
    """Return the base-128 numbers that ``data`` is full of, and the bytes of the longest.

    ``last`` says which bytes are the last of a number; the last one of all is.
    """
    if last.all():
        return data.astype(np.int64), 1
    if (last[1:] | last[:-1]).all():  # one byte or two, as most keys are
        value = data.astype(np.uint16)
        value[1:] = np.where(last[:-1], value[1:], value[1:] << 7 | value[:-1] & 127)
        return value[last].astype(np.int64), 2
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    return _varints(_padded(data.tobytes()), starts)[0], int((ends - starts).max()) + 1


def _varints(data: Bytes, at: Ints) -> tuple[Ints, Ints]:
    """Return the base-128 numbers at ``at`` and where they end.

    A number of 2^63 and more is negative, as protobuf's int32 has it; so is one without an end.
    """
    byte = data[at].astype(np.int64)
    if byte.max(initial=0) < 128:
        return byte, at + 1
    value, end = byte & 127, at + 1
    longer = np.flatnonzero(byte > 127)
    for i in range(1, _LONGEST_VARINT):
        byte = data[at[longer] + i].astype(np.int64)
        value[longer] |= (byte & 127) << 7 * i
        end[longer] += 1
        longer = longer[byte > 127]
        if not len(longer):
            return value, end
    value[longer] = -1
    return value, end


def _ranges(first: Ints, count: Ints, step: int = 1) -> Ints:
    """Return ``count[i]`` numbers from ``first[i]`` on, ``step`` apart, for every i."""
    some = count > 0
    first, count = first[some], count[some]
    found = np.full(int(count.sum()), step)
    if len(found):
        # The sum of steps, with a jump where the next range begins.
        found[0] = first[0]
        found[np.cumsum(count)[:-1]] = first[1:] - first[:-1] - (count[:-1] - 1) * step
    return np.cumsum(found, out=found)


def _summed(owner: Ints, count: Ints, n: int) -> Ints:
    """Return the sum of ``count`` for each of the ``n`` owners."""
    if len(owner) == n and (owner == np.arange(n)).all():
        return count
    total = np.zeros(n, np.int64)
    np.add.at(total, owner, count)
    return total


# Rows


def _alike(block: _Block, messages: _Messages) -> tuple[_Tensors, _Tensors] | None:
    """Return label and features of dense float32 records that differ in these numbers alone.

    That is what most dense files are. The first record is taken apart, the others only compared
    with it, which is 5 times as fast (measured). None for all other records.
    """
    begin, n = block.begin, len(block.begin)
    stride = int(begin[1] - begin[0]) if n > 1 else 0
    size = int(block.end[0] - begin[0])
    if stride <= 0 or (np.diff(begin) != stride).any() or (block.end - begin != size).any():
        return None
    records = messages.fields("record", begin[:1], block.end[:1], _RECORD)
    label = _only_floats(messages, records, _LABEL)
    features = _only_floats(messages, records, _FEATURES)
    if label is None or features is None or records.any_from(_UID):
        return None
    start = int(begin[0])
    rows = np.ndarray((n, size), np.uint8, block.data, start, (stride, 1))
    numbers = sorted([label, features])
    for (_, first), (last, _) in pairwise([(start, start), *numbers, (start + size, 0)]):
        fixed = rows[:, first - start : last - start]
        if (fixed != fixed[0]).any():
            return None
    return _strided(block, label, stride), _strided(block, features, stride)


def _only_floats(messages: _Messages, records: _Steps, number: int) -> tuple[int, int] | None:
    """Return where the values of one record's tensor are if they are all it has, as float32."""
    kind, tensor = messages.tensor_fields(records, number, 1)
    fields = tensor.all()
    if kind[0] != _FLOAT32 or fields.number.tolist() != [_VALUES] or fields.wire[0] != _LENGTH:
        return None
    first, last = int(fields.begin[0]), int(fields.end[0])
    return (first, last) if last > first and (last - first) % 4 == 0 else None


def _strided(block: _Block, where: tuple[int, int], stride: int) -> _Tensors:
    """Return the float32 tensors that stand at ``where`` and every ``stride`` bytes after it."""
    n, count = len(block.begin), (where[1] - where[0]) // 4
    values = np.ndarray((n, count), "<f4", block.data, where[0], (stride, 4))
    none = np.zeros(n, np.int64)
    return _Tensors(values.astype(np.float32).ravel(), none + count, _NONE, none, none - 1)


class _Columns:
    """How many columns the channel's rows have, from whatever row says so first."""

    def __init__(self) -> None:
        self._width: int | None = None
        self._dense = False
        self._widest = -1  # key
        self._unsaid: str | None = None  # the first row that does not even say its width

    def settle(self, team: Team) -> None:
        """Compare the columns of all workers' rows; ``DataError`` where they differ.

        Dense rows are compared by who reads them, like those of other formats.
        """
        said = team.gather((self._width, self._widest))
        if all(key < 0 for _, key in said):
            return
        widths = {width for width, _ in said if width is not None}
        beyond = [key for _, key in said if any(key >= width for width in widths)]
        if len(widths) > 1 or beyond:
            shown = ", ".join(map(str, sorted(widths)))
            raise DataError(
                f"The channel's records have {shown} columns"
                + (f", and one has the key {max(beyond)}" if beyond else ""),
                _LAYOUT,
            )

    def matrix(self, rows: _Tensors, place: _Place) -> Floats | Csr:
        """Return the rows; refuse those that do not have the channel's columns."""
        counts, columns = rows.counts, rows.columns
        keyed = rows.key_counts > 0
        bad = keyed & (rows.key_counts != counts)
        place.refuse(bad, "features: {} keys and another number of values", rows.key_counts)
        dense = ~keyed & (counts > 0)
        bad = dense & (columns >= 0) & (columns != counts)
        place.refuse(bad, "features: the shape is {}, there are more or fewer values", columns)
        self._agree(np.where(dense, counts, columns), place)
        self._check_unsaid(dense, (counts == 0) & (columns < 0), place)
        if dense.all():
            return rows.values.reshape(len(counts), -1)
        return self._sparse(rows, dense, place)

    def _agree(self, width: Ints, place: _Place) -> None:
        said = width >= 0
        if self._width is None and said.any():
            self._width = int(width[said.argmax()])
        if self._width is None:
            return
        what = f"features: {{}} columns, where the channel's first row has {self._width}"
        place.refuse(said & (width != self._width), what, width)
        if self._widest >= self._width:
            raise DataError(
                f"{place.name}: rows have {self._width} columns, but a row before them has the "
                f"key {self._widest}",
                _LAYOUT,
            )

    def _check_unsaid(self, dense: Mask, unsaid: Mask, place: _Place) -> None:
        """Refuse rows without values and shape beside dense ones: they may have lost theirs."""
        self._dense = self._dense or bool(dense.any())
        if self._unsaid is None and unsaid.any():
            self._unsaid = place.of(int(unsaid.argmax()))
        if self._dense and self._unsaid is not None:
            raise DataError(
                f"{self._unsaid}: features: neither values nor a shape, and other rows are dense",
                _LAYOUT,
            )

    def _sparse(self, rows: _Tensors, dense: Mask, place: _Place) -> Csr:
        keys, counts = rows.keys, rows.counts
        if dense.any():
            keys = _ranges(np.zeros_like(counts), counts)
            keys[np.repeat(~dense, counts)] = rows.keys
        limit = LARGEST_INDEX + 1 if self._width is None else self._width
        if keys.min(initial=0) < 0 or keys.max(initial=-1) >= limit:
            owner = np.repeat(np.arange(len(counts)), counts)
            bad = (keys < 0) | (keys >= limit)
            place.refuse(bad, f"features: key {{}} of {limit} columns", keys, owner)
        self._widest = max(self._widest, int(keys.max(initial=-1)))
        indptr = np.concatenate(([0], np.cumsum(counts)))
        width = self._widest + 1 if self._width is None else self._width
        try:
            return sparse(indptr, keys, rows.values, width)
        except RepeatedIndexError as error:
            raise DataError(
                f"{place.of(error.row)}: features: key {error.index} is there twice", _LAYOUT
            ) from error
