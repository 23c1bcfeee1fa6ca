"""Arrow IPC: streams, and files (Feather version 2), both read from front to back.

A file is a stream between a mark and a footer that repeats where its parts are. Read as the
stream it is, nothing has to seek, and where a pipe has joined several files, all are read: the
last footer knows of its own file only. A stream has to end with the end-of-stream mark, which
the format leaves to the writer; without it a stream that was cut off would look complete.
Source: Apache Arrow, "Columnar Format", Serialization and Interprocess Communication.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
from pyarrow import ipc

from treeline.data.arrow_types import (
    BATCH_ROWS,
    Conversion,
    check_piece,
    data_columns,
    note_no_rows,
    translated,
)
from treeline.errors import DataError

if TYPE_CHECKING:
    from treeline.data.columns import Layout
    from treeline.data.source import Source
    from treeline.hyperparameters import DataOptions

_MAGIC = b"ARROW1"
_FEATHER_1 = b"FEA1"
_WORD = 8
_PIECE = 1 << 28  # bytes read at a time: a damaged length must not ask for more than there is


class Reader:
    """Reads the Arrow files of one channel; see ``formats.TableReader``."""

    def __init__(self, options: DataOptions, threads: int) -> None:
        self.notes: list[str] = []

    def open(self, source: Source) -> Table:
        """Open the next file and read its schema. Raises ``DataError``."""
        with translated(source.name, "Arrow IPC"):
            stream = source.stream()
            try:
                return Table(_Ahead(stream), source.name, self.notes)
            except BaseException:
                stream.close()
                raise


class Table:
    """One Arrow file or stream, or several one after the other; see ``formats.Table``."""

    rows: int | None = None  # known at the end only

    def __init__(self, stream: _Ahead, name: str, notes: list[str]) -> None:
        self._stream = stream
        self._name = name
        self._notes = notes
        self._piece = _Piece(stream, name)
        self._fields = self._fields_of(self._piece)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, without the index of pandas."""
        return tuple(field.name for field in self._fields)

    @property
    def width(self) -> int:
        """How many columns there are, without the index of pandas."""
        return len(self._fields)

    def batches(self, layout: Layout) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order as the columns ``layout.read``. Raises ``DataError``."""
        with translated(self._name, "Arrow IPC"), self._stream:
            rows = 0
            while True:
                fields = self._fields_of(self._piece)
                check_piece(self._fields, fields, self._name)
                conversion = Conversion(fields, layout, self._name, self._notes, rows)
                for batch in self._stored(layout):
                    conversion.check(batch)
                    for first in range(0, batch.num_rows, BATCH_ROWS):
                        yield conversion.convert(batch.slice(first, BATCH_ROWS))
                rows = conversion.rows
                if not self._stream.peek(1):
                    break
                self._piece = _Piece(self._stream, self._name)
            if not rows:
                note_no_rows(self._notes, self._name)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _stored(self, layout: Layout) -> Iterator[pa.RecordBatch]:
        columns = data_columns(self._piece.reader.schema, self._name, self._notes)
        wanted = [columns[i] for i in layout.read]
        for batch in self._piece.batches():
            chosen = batch.select(wanted)
            chosen.validate()
            yield chosen

    def _fields_of(self, piece: _Piece) -> list[pa.Field]:
        schema = piece.reader.schema
        return [schema.field(i) for i in data_columns(schema, self._name, self._notes)]


class _Piece:
    """One Arrow file or stream within a stream of them, its schema read."""

    def __init__(self, stream: _Ahead, name: str) -> None:
        head = stream.peek(_WORD)
        if head.startswith(_FEATHER_1):
            raise DataError(
                f"{name}: is a Feather file of version 1, which is not read",
                "Write it again with version=2, or as Parquet.",
            )
        self._stream = stream
        self._name = name
        self._is_file = head.startswith(_MAGIC)
        if self._is_file:
            stream.read(_WORD)
            while stream.peek(_WORD) == bytes(_WORD):  # some writers align by more than a word
                stream.read(_WORD)
        self.reader = ipc.open_stream(pa.PythonFile(stream, mode="r"))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the record batches, then read what is behind them. Raises ``DataError``."""
        yield from self.reader
        if self._stream.at_end:
            raise self._cut_off("without the end-of-stream mark")
        if self._is_file:
            self._skip_footer()

    def _skip_footer(self) -> None:
        """Read the footer, its length and the mark; nothing in front says where they end."""
        footer = bytearray()
        found = -1
        while True:
            found = footer.find(_MAGIC, found + 1)
            if found < 0:
                more = self._stream.read(1 << 16)
                if not more:
                    raise self._cut_off("in its footer")
                found = max(len(footer) - len(_MAGIC), -1)
                footer += more
            elif found >= 4:
                begin = found - 4 - int.from_bytes(footer[found - 4 : found], "little")
                if begin >= 0 and not any(footer[:begin]):
                    break
        self._stream.unread(bytes(footer[found + len(_MAGIC) :]))

    def _cut_off(self, where: str) -> DataError:
        return DataError(
            f"{self._name}: cannot be read as Arrow IPC: it ends {where}, so rows may be missing",
            "Check that the file is complete; its writer has to be closed.",
        )


class _Ahead(io.RawIOBase):
    """A stream that can be looked ahead in; ``at_end`` once it gave less than it was asked."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self.at_end = False
        self._stream = stream
        self._ahead = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            raise io.UnsupportedOperation("an Arrow message says its size")
        data = self._take(size)
        self.at_end = len(data) < size
        return data

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end, without reading them."""
        data = self._take(size)
        self.unread(data)
        return data

    def unread(self, data: bytes) -> None:
        """Put ``data`` back in front."""
        self._ahead = data + self._ahead

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _take(self, size: int) -> bytes:
        parts = [self._ahead[:size]]
        self._ahead = self._ahead[size:]
        left = size - len(parts[0])
        while left:
            part = self._stream.read(min(left, _PIECE))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return parts[1] if parts[0] == b"" and len(parts) == 2 else b"".join(parts)
