"""Parquet: row group by row group, only the columns that are needed.

A pipe joins the files of a channel into one stream, so what is read may hold several Parquet
files one after the other. A footer counts positions from the start of its own file; taken for
the footer of the whole it would show the rows of another file. So every file is looked at from
its end: behind the data of the last footer there is either the start of the file, or another
file's end. Source: Apache Parquet, "File Format" and ``parquet.thrift``.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

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

_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"
_TAIL = 8  # the footer's length and the magic
_SCANNED = 1 << 20
_BUFFER = 1 << 18


class Reader:
    """Reads the Parquet files of one channel; see ``formats.TableReader``."""

    def __init__(self, options: DataOptions, threads: int) -> None:
        self.notes: list[str] = []
        self._threads = threads

    def open(self, source: Source) -> Table:
        """Open the next file and read its footers. Raises ``DataError``."""
        with translated(source.name, "Parquet"), contextlib.ExitStack() as stack:
            stack.enter_context(source.watched())
            found = source.random_access()
            file = stack.enter_context(pa.OSFile(str(found)) if isinstance(found, Path) else found)
            window = getattr(source, "window", None)
            table = Table(file, source.name, self._threads, self.notes, window)
            table.opened = stack.pop_all()
            return table


class Table:
    """One Parquet file or some of its row groups, or several in one stream; ``formats.Table``."""

    opened: contextlib.ExitStack  # closes the file, and looks whether it has changed

    def __init__(
        self,
        file: Any,
        name: str,
        threads: int,
        notes: list[str],
        window: tuple[int, int] | None = None,
    ) -> None:
        self._file = file
        self._name = name
        self._threads = threads
        self._notes = notes
        self._pieces = _pieces(file, name)
        self._fields = self._fields_of(self._pieces[0])
        for piece in self._pieces[1:]:
            check_piece(self._fields, self._fields_of(piece), name)
        self._window = window
        self.rows: int = sum(
            piece.metadata.row_group(group).num_rows
            for piece in self._pieces
            for group in self._groups(piece)
        )
        if not self.rows and window is None:
            note_no_rows(notes, name)

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
        with translated(self._name, "Parquet"), self.opened:
            rows = 0
            for piece in self._pieces:
                fields = self._fields_of(piece)
                conversion = Conversion(fields, layout, self._name, self._notes, rows)
                for batch in self._stored(piece, conversion.names):
                    conversion.check(batch)
                    yield conversion.convert(batch)
                rows = conversion.rows
            if rows != self.rows:
                raise DataError(
                    f"{self._name}: has {rows} rows, its footer says {self.rows}",
                    "Write the file again.",
                )

    def close(self) -> None:
        """Close the file."""
        self.opened.close()

    def _stored(self, piece: _Piece, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        whole = len(self._pieces) == 1
        file = self._file if whole else _Window(self._file, piece.start, piece.end)
        # Row group by row group, and pages through a buffer: otherwise Arrow holds the bytes of
        # a whole row group and begins with the next one before a batch is taken (2,000,000 x 14
        # in one row group: 207 MiB on top of the imports, this way 69; CPU alike).
        with parquet.ParquetFile(
            file,
            metadata=piece.metadata,
            buffer_size=_BUFFER,
            pre_buffer=False,
            page_checksum_verification=True,
        ) as opened:
            for group in self._groups(piece):
                yield from opened.iter_batches(
                    BATCH_ROWS, row_groups=[group], columns=names, use_threads=self._threads > 1
                )

    def _groups(self, piece: _Piece) -> range:
        """Return the row groups to read; a file that has a window is one piece."""
        return range(*(self._window or (0, piece.metadata.num_row_groups)))

    def _fields_of(self, piece: _Piece) -> list[pa.Field]:
        schema = piece.metadata.schema.to_arrow_schema()
        return [schema.field(i) for i in data_columns(schema, self._name, self._notes)]


def group_sizes(source: Source) -> list[int]:
    """Return the bytes of each row group before compression, by which a file can be divided.

    None of them for several files in one stream, which are read from one end to the other.
    Raises ``DataError`` for what cannot be read as Parquet.
    """
    with translated(source.name, "Parquet"), pa.OSFile(str(source.path)) as file:
        pieces = _pieces(file, source.name)
        metadata = pieces[0].metadata
        groups = range(metadata.num_row_groups if len(pieces) == 1 else 0)
        return [metadata.row_group(group).total_byte_size for group in groups]


@dataclass(frozen=True)
class _Piece:
    """One Parquet file within a stream of them: bytes from ``start`` to ``end``."""

    start: int
    end: int
    metadata: parquet.FileMetaData


def _pieces(file: Any, name: str) -> list[_Piece]:
    end = file.seek(0, io.SEEK_END)
    pieces: list[_Piece] = []
    while end or not pieces:
        _check_tail(file, end, name)
        metadata, footer = _footer(file, end)
        start = _start(file, footer - _data_end(metadata))
        if _at(file, start, len(_MAGIC)) != _MAGIC:
            raise DataError(
                f"{name}: cannot be read as Parquet: it begins with {_at(file, start, 8)!r}, "
                f"expected {_MAGIC!r}",
                "Check that the file is complete and that the channel's ContentType is right.",
            )
        pieces.append(_Piece(start, end, metadata))
        end = start
    return pieces[::-1]


def _check_tail(file: Any, end: int, name: str) -> None:
    tail = _at(file, max(end - _TAIL, 0), min(end, _TAIL))
    if tail.endswith(_ENCRYPTED):
        raise DataError(
            f"{name}: is an encrypted Parquet file", "Write the file without encryption."
        )
    if not tail.endswith(_MAGIC) or end < 2 * len(_MAGIC) + 4:
        raise DataError(
            f"{name}: cannot be read as Parquet: it ends with {tail!r}, expected a footer and "
            f"{_MAGIC!r}; it is cut off, or no Parquet file",
            "Check that the file is complete and that the channel's ContentType is right.",
        )


def _footer(file: Any, end: int) -> tuple[parquet.FileMetaData, int]:
    """Return the metadata of the file that ends at ``end``, and where its footer begins."""
    footer = end - _TAIL - int.from_bytes(_at(file, end - _TAIL, 4), "little")
    return parquet.read_metadata(_Window(file, 0, end)), footer


def _data_end(metadata: parquet.FileMetaData) -> int:
    """Return where the pages of the last row group end, counted from the file's own start."""
    end = len(_MAGIC)
    if metadata.num_row_groups:
        group = metadata.row_group(metadata.num_row_groups - 1)
        for i in range(group.num_columns):
            column = group.column(i)
            first = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset:
                first = min(first, column.dictionary_page_offset)
            end = max(end, first + column.total_compressed_size)
    return end


def _start(file: Any, last: int) -> int:
    """Return where the piece begins whose start is at ``last`` or before it.

    Between its data and its footer a file has at most indexes, so little is searched. The same
    bytes may stand in the data; only those behind a footer that can be read count.
    """
    end = last + len(_MAGIC)
    joint = _MAGIC + _MAGIC
    while end >= len(joint):
        begin = max(end - _SCANNED, 0)
        found = _at(file, begin, end - begin).rfind(joint)
        if found < 0:
            end = begin + len(joint) - 1 if begin else 0
            continue
        start = begin + found + len(_MAGIC)
        if _is_end(file, start):
            return start
        end = start + len(_MAGIC) - 1
    return 0


def _is_end(file: Any, end: int) -> bool:
    try:
        return _footer(file, end)[1] > 0
    except (pa.ArrowException, OSError):
        return False


def _at(file: Any, position: int, count: int) -> bytes:
    file.seek(position)
    return bytes(file.read(count))


class _Window(io.RawIOBase):
    """The bytes of ``file`` from ``start`` to ``end``, as a file of their own."""

    def __init__(self, file: Any, start: int, end: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._end = end
        self._position = start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._position, io.SEEK_END: self._end}
        self._position = base[whence] + offset
        return self.tell()

    def tell(self) -> int:
        return self._position - self._start

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._end - self._position, 0)
        data = _at(
            self._file, self._position, left if size is None or size < 0 else min(size, left)
        )
        self._position += len(data)
        return data
