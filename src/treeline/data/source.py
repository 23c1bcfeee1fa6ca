"""One file of a channel (or the FIFO of a Pipe channel), opened once and read front to back.

Whoever reads sees plain bytes: gzip, bzip2 and zstd are recognised by their first bytes, never by
a name, and taken off. What goes wrong on the way (a file that changes or disappears, a compressed
stream that is cut off or damaged) is raised by the stream itself as a ``DataError``.

A plain file costs next to nothing on top of reading it: Arrow parses 106 MB of CSV from such a
stream in 0.620 s of CPU and from a path in 0.616 s (medians of 7).

Source of the signatures: RFC 1952 (gzip), RFC 8878 (zstd), the bzip2 file format.
"""

from __future__ import annotations

import bz2
import io
import os
import re
import select
import shutil
import tempfile
import time
from collections.abc import Buffer, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from treeline.errors import ChannelError, DataError, ResourceError, one_line

HEAD_SIZE = 4096  # bytes in which a format shows itself
_BLOCK = 1 << 18
_STEP = 1.0  # seconds between two looks at whether the job was asked to stop
_SIGNATURE = 10  # bytes that tell a compression
_COMPRESSIONS = {
    "gzip": rb"\x1f\x8b\x08",
    "bz2": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",  # a block, or the end of a stream of none
    "zstd": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",  # a frame, or one to be skipped
}


@dataclass(eq=False)
class Source:
    """A file to read, or part of one; ``name`` is what messages call it, ``train/part-0.csv``.

    ``window`` is the part from its first to before its last number: bytes of a text, row groups
    of a Parquet file. A row is in the window that has its first byte. ``size`` is what the whole
    file, called ``file``, had in bytes when it was divided. A reader of text leaves in ``quotes``
    how many it found among the rows of a window.
    ``partition`` holds the values of the data set's ``partition_names`` for this file.
    ``check`` raises if the job was asked to stop; it is called about once a second while a FIFO
    has nothing to give, which Arrow's readers wait for in a thread of their own.
    """

    path: Path
    name: str
    fifo: bool = False
    partition: tuple[str | None, ...] = ()
    check: Callable[[], None] | None = None
    first_byte_timeout: float = 600.0  # seconds to wait for a FIFO's first byte
    window: tuple[int, int] | None = None
    size: int | None = None
    file: str | None = None
    quotes: int = field(default=0, init=False)
    _opened: _Ahead | None = field(default=None, init=False, repr=False)
    _compression: str | None = field(default=None, init=False, repr=False)
    _used: bool = field(default=False, init=False, repr=False)

    def head(self, n: int = HEAD_SIZE) -> bytes:
        """Return the first ``n`` bytes, decompressed; less only if there are no more.

        The file stays open, and the next ``stream`` is the one that was looked into.
        """
        return self._open().peek(n)

    @property
    def compression(self) -> str | None:
        """What the file is compressed with: ``gzip``, ``bz2``, ``zstd`` or None."""
        self._open()
        return self._compression

    def stream(self) -> BinaryIO:
        """Open the whole file's bytes, decompressed, to be read once from front to back."""
        return io.BufferedReader(self._taken(), _BLOCK)

    def beginning(self) -> io.RawIOBase:
        """Open the whole file's bytes, decompressed, and read no more of them than asked for."""
        return self._taken()

    def text_stream(self, skip: int = 0) -> BinaryIO:
        """Open the bytes of a format that has one row a line, those of the window if there is one.

        A window's lines are those that begin in it and after the file's first ``skip`` bytes.
        A writer that dies looks like the end of its FIFO, so there the last row has to end with a
        newline; the stream raises ``DataError`` at its end if it does not.
        """
        if self.window is not None:
            self.close()
            begin, end = self.window
            lines = _Lines(self, max(begin, skip), max(end, skip))
            return io.BufferedReader(lines, _BLOCK)
        opened = self._taken()
        return io.BufferedReader(_WholeRows(opened, self.name) if self.fifo else opened, _BLOCK)

    def random_access(self) -> Path | BinaryIO:
        """Return the file's bytes, decompressed, for a reader that has to seek.

        A plain file is its path (see ``watched``); anything else is copied into a temporary file
        without a name, which closing removes. Raises ``ResourceError`` if the disk is too small.
        """
        if not self.fifo and self.compression is None:
            self.close()
            return self.path
        return _spooled(self.stream(), self.name)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Refuse a file that changes inside the block, for who reads it by its path."""
        with _reading(self.name):
            before = self.path.stat()
        self.check_size(before.st_size)
        yield
        if not self.fifo:
            _check_unchanged(self.path, self.name, before)

    def on_disk(self) -> int:
        """Return the file's size in bytes, as it is stored."""
        with _reading(self.name):
            return self.path.stat().st_size

    def check_size(self, found: int) -> None:
        """Refuse a file that has not the size it was divided by: windows would miss rows."""
        if self.size is not None and found != self.size:
            raise DataError(
                f"{self.name}: the file has {found:,} bytes, and had {self.size:,} when it was "
                "divided among the workers",
                "Run the job again when nothing writes to its data.",
            )

    def close(self) -> None:
        """Close what ``head`` opened, where no stream was taken afterwards."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _taken(self) -> _Ahead:
        opened, self._opened = self._open(), None
        return opened

    def _open(self) -> _Ahead:
        if self._opened is None:
            raw = _Ahead(self._raw())
            first = raw.peek(_SIGNATURE)
            found = (name for name, sign in _COMPRESSIONS.items() if re.match(sign, first))
            self._compression = next(found, None)
            if self._compression is not None:
                raw = _Ahead(_Decompressed(raw, self._compression, self.name))
            self._opened = raw
        return self._opened

    def _raw(self) -> io.RawIOBase:
        if not self.fifo:
            return _File(self.path, self.name)
        if self._used:
            raise ChannelError(
                f"{self.name}: the data of a Pipe channel can be read only once",
                "Use TrainingInputMode File or FastFile.",
            )
        self._used = True
        return _Fifo(self.path, self.name, self.check, self.first_byte_timeout)


class _Layer(io.RawIOBase):
    """Bytes that come from another stream, which is closed with this one."""

    def __init__(self, inner: io.RawIOBase) -> None:
        self._inner = inner

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._inner.close()
        super().close()

    def readinto(self, buffer: Buffer, /) -> int:
        return self._inner.readinto(buffer) or 0


class _Ahead(_Layer):
    """A stream whose beginning can be looked at before it is read."""

    def __init__(self, inner: io.RawIOBase) -> None:
        super().__init__(inner)
        self._seen = b""

    def peek(self, n: int) -> bytes:
        while len(self._seen) < n and (more := self._inner.read(n - len(self._seen))):
            self._seen += more
        return self._seen[:n]

    def readinto(self, buffer: Buffer, /) -> int:
        if not self._seen:
            return super().readinto(buffer)
        view = memoryview(buffer)
        part, self._seen = self._seen[: len(view)], self._seen[len(view) :]
        view[: len(part)] = part
        return len(part)


class _WholeRows(_Layer):
    """Text whose last row must not have been cut off."""

    def __init__(self, inner: io.RawIOBase, name: str) -> None:
        super().__init__(inner)
        self._name = name
        self._last = b"\n"

    def readinto(self, buffer: Buffer, /) -> int:
        n = super().readinto(buffer)
        view = memoryview(buffer)
        if n:
            self._last = bytes(view[n - 1 : n])
        elif len(view) and self._last != b"\n":
            raise DataError(
                f"{self._name}: the stream ends in the middle of a row, without a newline",
                "The writer of the FIFO may have been cut off; end the last row with a newline.",
            )
        return n


class _Decompressed(_Layer):
    """The content of a compressed stream: all its members, all its frames."""

    def __init__(self, inner: io.RawIOBase, compression: str, name: str) -> None:
        import pyarrow as pa

        super().__init__(inner)
        self._name = name
        self._compression = compression
        self._errors = (OSError, EOFError, pa.ArrowException)
        if compression == "bz2":
            self._stream = _Bz2(inner)
        else:
            self._stream = pa.CompressedInputStream(pa.PythonFile(inner, mode="r"), compression)
        self._given = 0

    def readinto(self, buffer: Buffer, /) -> int:
        try:
            n: int = self._stream.readinto(buffer)
        except self._errors as error:
            what = one_line(error)
            cut = "Truncated" in what
            raise DataError(
                f"{self._name}: the {self._compression} stream "
                + ("ends early:" if cut else f"is damaged ({what}),")
                + f" after about {self._given:,} bytes of decompressed data",
                "Write or upload the file again; it has to be complete and hold nothing else.",
            ) from error
        self._given += n
        return n


class _Bz2(_Layer):
    """bzip2 streams, one after the other, and nothing else.

    ``bz2.BZ2File`` drops bytes after a stream in silence, and Arrow fails on an empty stream.
    """

    def __init__(self, inner: io.RawIOBase) -> None:
        super().__init__(inner)
        self._one = bz2.BZ2Decompressor()

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        data = b""
        while not data and len(view):
            more = self._one.unused_data  # empty until the stream's end
            if not more and (self._one.eof or self._one.needs_input):
                more = self._inner.read(_BLOCK) or b""
                if not more and self._one.eof:
                    break
                if not more:
                    raise EOFError("Truncated")
            if self._one.eof:
                self._one = bz2.BZ2Decompressor()
            data = self._one.decompress(more, len(view))
        view[: len(data)] = data
        return len(data)


class _File(_Layer):
    """A regular file, which has to be the same at its end as it was at its beginning."""

    def __init__(self, path: Path, name: str) -> None:
        file = _opened(path, name)
        super().__init__(file)
        self._before = os.fstat(file.fileno())
        self._path = path
        self._name = name
        self._read = 0

    def readinto(self, buffer: Buffer, /) -> int:
        with _reading(self._name):
            n = super().readinto(buffer)
        self._read += n
        if n == 0 and len(memoryview(buffer)):
            _check_unchanged(self._path, self._name, self._before)
            _check_whole(self._read, self._before.st_size, self._name)
        return n


class _Lines(_Layer):
    """The lines of a regular file that begin at byte ``begin`` or later and before byte ``end``.

    Little more is read than these lines: the byte before them, and at the end a few too many.
    """

    def __init__(self, source: Source, begin: int, end: int) -> None:
        file = _opened(source.path, source.name)
        super().__init__(file)
        self._source = source
        self._before = os.fstat(file.fileno())
        self._end = end
        self._begun = begin == 0  # whether the first of the lines has been found
        self._over = begin >= end
        self._at = 0 if self._begun else begin - 1
        file.seek(self._at)
        source.check_size(self._before.st_size)

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        while not self._over and len(view):
            left = self._end - self._at
            with _reading(self._source.name):
                # Beyond the window there is at most the rest of a line.
                n = super().readinto(view[: left if left > 0 else HEAD_SIZE])
            if n and self._begun and self._at + n < self._end:
                self._at += n
                return n
            if n == 0:
                self._over = True
                _check_whole(self._at, self._before.st_size, self._source.name)
            if data := self._within(bytes(view[:n])):
                view[: len(data)] = data
                return len(data)
        if len(view):
            _check_unchanged(self._source.path, self._source.name, self._before)
        return 0

    def _within(self, data: bytes) -> bytes:
        """Return what of ``data``, the bytes read next, belongs to the lines."""
        position = self._at
        self._at += len(data)
        if not self._begun:
            found = data.find(b"\n") + 1
            self._begun = found > 0
            if not self._begun or position + found >= self._end:
                self._over = self._at >= self._end
                return b""
            data, position = data[found:], position + found
        if (
            self._at >= self._end
            and (found := data.find(b"\n", max(self._end - 1 - position, 0))) >= 0
        ):
            self._over = True
            data = data[: found + 1]
        return data


class _Fifo(_Layer):
    """A FIFO, waited for without hanging on a writer that never comes.

    ``poll`` reports no end before the first writer has come, while ``read`` would; so nothing is
    read that was not reported (Linux; source: fifo(7), poll(2)).
    """

    def __init__(
        self, path: Path, name: str, check: Callable[[], None] | None, timeout: float
    ) -> None:
        file = _opened(path, name, os.O_NONBLOCK)
        super().__init__(file)
        self._name = name
        self._check = check
        self._timeout = timeout
        self._empty = True
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)

    def readinto(self, buffer: Buffer, /) -> int:
        n = None
        while n is None:  # FileIO's word for nothing there yet
            self._wait()
            with _reading(self._name):
                n = self._inner.readinto(buffer)
        if n:
            self._empty = False
        elif self._empty and len(memoryview(buffer)):
            raise ChannelError(
                f"{self._name}: the FIFO ended without a single byte",
                "Check the channel's S3 prefix, or that what writes to the FIFO has data.",
            )
        return n

    def _wait(self) -> None:
        start = time.monotonic()
        while not self._poll.poll(_STEP * 1000):
            if self._check is not None:
                self._check()
            if self._empty and time.monotonic() - start > self._timeout:
                raise DataError(
                    f"{self._name}: nothing was written to the FIFO for {self._timeout:g} seconds",
                    "Check that something writes to the FIFO, or use TrainingInputMode File.",
                )


def _opened(path: Path, name: str, flags: int = 0) -> io.FileIO:
    with _reading(name):
        return io.FileIO(path, opener=lambda path, mode: os.open(path, mode | flags))


def _spooled(stream: BinaryIO, name: str) -> BinaryIO:
    """Return a seekable copy of ``stream``; OSErrors here are the temporary disk's."""
    spool: BinaryIO | None = None
    try:
        with stream:
            spool = tempfile.TemporaryFile()  # noqa: SIM115
            shutil.copyfileobj(stream, spool, _BLOCK)
        spool.seek(0)
    except BaseException as error:
        if spool is not None:
            with suppress(OSError):
                spool.close()
        if isinstance(error, OSError):
            raise _no_room(error, name) from error
        raise
    return spool


def _no_room(error: OSError, name: str) -> ResourceError:
    try:
        folder = tempfile.gettempdir()
        free = f"where {shutil.disk_usage(folder).free / 2**20:,.0f} MiB are free"
    except OSError:
        folder, free = "the temporary folder", "which cannot be used"
    return ResourceError(
        f"{name}: its bytes do not fit into {folder}, {free} ({error.strerror or error})",
        "Give the job a larger volume (VolumeSizeInGB), let TMPDIR name a folder with more room, "
        "or give the data uncompressed in TrainingInputMode File.",
    )


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read: {error.strerror or one_line(error)}",
            "Check that the file is still there and its permissions.",
        ) from error


def _check_whole(read: int, size: int, name: str) -> None:
    if read != size:
        raise DataError(
            f"{name}: ends after {read:,} bytes of {size:,}",
            "Run the job again; the storage gave less than the file holds.",
        )


def _check_unchanged(path: Path, name: str, before: os.stat_result) -> None:
    with _reading(name):
        after = path.stat()
    for what, field_ in (("size", "st_size"), ("time", "st_mtime_ns"), ("identity", "st_ino")):
        if getattr(before, field_) != getattr(after, field_):
            raise DataError(
                f"{name}: changed while it was read (its {what} is not what it was)",
                "Run the job again when nothing writes to its data.",
            )
