"""The bytes of a CSV on their way to Arrow: looked into, edited line by line, quotes counted."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import BinaryIO

LONGEST_READ = 1 << 28  # Arrow's blocks are addressed with 32 bits
_PIECE = 1 << 16  # bytes read at a time where lines are edited


class Stream(io.RawIOBase):
    """A stream whose beginning can be looked at, and whose lines can be edited on the way.

    ``edit`` gets whole lines. Reads return what was asked for, but for a byte, except at the end,
    because a row may span two of Arrow's blocks but not three.
    """

    def __init__(
        self, inner: BinaryIO | io.RawIOBase, edit: Callable[[bytes], bytes] | None = None
    ) -> None:
        super().__init__()
        self._inner = inner
        self._edit = edit
        self._ahead = b""
        self._rest = b""  # the beginning of a line that is to be edited
        self.count_quotes = False
        self.quotes = 0
        self._last = (b"", b"")
        self._before = b"\n"  # the byte before these; rows begin like lines

    def readable(self) -> bool:
        """Return True: there is nothing else to do with it."""
        return True

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end, without consuming them."""
        data = self._take(size)
        self._ahead = data + self._ahead
        return data

    def drop(self, size: int) -> None:
        """Leave out the next ``size`` bytes, which were looked at."""
        self._ahead = self._ahead[size:]

    def lines(self, size: int) -> bytes:
        """Return whole lines, up to ``size`` bytes of them; none where a quote is among them.

        None, too, at the end and where no line ends: what is left is for ``read``.
        """
        data = self._take(size)
        end = data.rfind(b"\n") + 1 if len(data) == size else len(data)
        if b'"' in data:
            end = 0
        self._ahead = data[end:] + self._ahead
        return data[:end]

    def read(self, size: int = -1, /) -> bytes:
        """Return the next ``size`` bytes, fewer at the end or to keep a line end together.

        Arrow leaves out a line feed that comes first after a carriage return, also within quotes.
        """
        data = self._take(size if size >= 0 else LONGEST_READ)
        if data.endswith(b"\r") and len(data) > 1:
            data, self._ahead = data[:-1], b"\r" + self._ahead
        if self.count_quotes and data:
            self.quotes += data.count(b'"')
            self._before = self._last[0][-1:] or self._before
            self._last = self._last[1], data
        return data

    @property
    def odd_quotes(self) -> bool:
        """Whether the number of quotes read is odd, where they are counted."""
        return self.quotes % 2 == 1

    def ends_within_quotes(self, delimiter: str) -> bool:
        """Whether the last quoted field was not closed, as far as it can be seen at the end."""
        mark = re.escape(delimiter.encode())
        pattern = rb"(?:[\r\n]|" + mark + rb')"[^"]*+(?:""[^"]*+)*+\Z'
        end = b"".join((self._before, *self._last))
        return self.odd_quotes and re.search(pattern, end) is not None

    def close(self) -> None:
        """Close the stream below, too."""
        if not self.closed:
            super().close()
            self._inner.close()

    def _take(self, size: int) -> bytes:
        parts = [self._ahead] if self._ahead else []
        have = len(self._ahead)
        while have < size and (more := self._next(size - have)):
            parts.append(more)
            have += len(more)
        data = b"".join(parts)
        self._ahead = data[size:]
        return data[:size]

    def _next(self, size: int) -> bytes:
        if self._edit is None:
            return self._inner.read(size) or b""
        parts = [self._rest]
        while True:
            block = self._inner.read(max(size, _PIECE)) or b""
            cut = block.rfind(b"\n") + 1
            parts.append(block[:cut] if cut else block)
            if cut == 0 and block:
                continue
            self._rest = block[cut:]
            lines = self._edit(b"".join(parts))
            if lines or not block:
                return lines
            parts = [self._rest]
