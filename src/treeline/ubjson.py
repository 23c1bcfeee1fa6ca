"""UBJSON, far enough to see that a file is whole, to find what stands in it, and to write some.

XGBoost crashes on a model that was cut off: of 96 lengths to which a small one was cut, 6 ended
XGBoost 3.4.1 in a segmentation fault and 2 kept it busy for more than 3 seconds (measured).
Source: the UBJSON specification, draft 12, where all numbers are big-endian; XGBoost writes
counts and keys with lengths of any integer type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Markers of values without a length of their own, and the bytes after them.
_SIZES = {
    b"Z": 0, b"N": 0, b"T": 0, b"F": 0, b"C": 1,
    b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8,
}  # fmt: skip
_INTEGERS = (b"i", b"U", b"I", b"l", b"L")
_TEXTS = (b"S", b"H")
_ENDS = {b"[": b"]", b"{": b"}"}
KINDS = {"int32": b"l", "int64": b"L", "float32": b"d", "uint8": b"U"}  # of NumPy's numbers


def is_ubjson(content: bytes) -> bool:
    """Return whether ``content`` begins as an object of UBJSON does, and none of JSON."""
    return content[:1] == b"{" and content[1:2] in (*_INTEGERS, b"$", b"#", b"}")


def is_whole(content: bytes) -> bool:
    """Return whether ``content`` begins with a value of UBJSON that is complete."""
    try:
        Reader(content).skip()
    except (DamagedError, RecursionError):
        return False
    return True


class DamagedError(Exception):
    """What should stand here does not."""


@dataclass(frozen=True)
class Array:
    """Where the items of an array stand: ``content[first:end]``.

    ``kind`` is the marker of them all, which is not repeated, or None where each has its own.
    """

    kind: bytes | None
    count: int
    first: int
    end: int


class Reader:
    """Reads value by value from ``at`` on, without a copy; all raise ``DamagedError``."""

    def __init__(self, content: bytes, at: int = 0) -> None:
        self._content = content
        self.at = at

    def skip(self) -> None:
        """Read over a value."""
        self._value(self._take())

    def integers(self) -> list[int]:
        """Read an array of integers, of any type."""
        kind, count = self._open(b"[")
        return [self._integer(kind or self._take()) for _ in self._each(count, b"]")]

    def array(self) -> Array:
        """Read over an array."""
        kind, count = self._open(b"[")
        first, passed = self.at, 0
        if count is not None and kind in _SIZES:
            self._skip(count * _SIZES[kind])
            return Array(kind, count, first, self.at)
        end = first
        for _ in self._each(count, b"]"):
            self._value(kind or self._take())
            passed, end = passed + 1, self.at
        return Array(kind, passed, first, end)

    def members(self) -> Iterator[bytes]:
        """Yield the name of each member of an object; read its value before the next.

        Objects with a type or a count, which XGBoost does not write, are refused.
        """
        if self._open(b"{") != (None, None):
            raise DamagedError
        return self.rest()

    def rest(self) -> Iterator[bytes]:
        """Yield the name of each member that is left of an object, as ``members`` does."""
        for _ in self._each(None, b"}"):
            yield self._text()

    def items(self) -> Iterator[None]:
        """Yield for each item of an array; read the item before the next.

        Arrays with a type, whose items have no markers, are refused.
        """
        kind, count = self._open(b"[")
        if kind is not None:
            raise DamagedError
        return self._each(count, b"]")

    def _each(self, count: int | None, closing: bytes) -> Iterator[None]:
        """Yield for each value of an opened container, up to its end."""
        while count is None:
            if self._next_is(closing):
                return
            yield
        for _ in range(count):
            yield

    def _value(self, marker: bytes) -> None:
        if marker in _SIZES:
            self._skip(_SIZES[marker])
        elif marker in _TEXTS:
            self._skip(self._length())
        elif marker in _ENDS:
            self._container(marker)
        else:
            raise DamagedError

    def _container(self, opening: bytes) -> None:
        kind, count = self._header()
        if opening == b"[" and kind in _SIZES:  # most of a model: all values at once
            self._skip((count or 0) * _SIZES[kind])
            return
        for _ in self._each(count, _ENDS[opening]):
            if opening == b"{":
                self._skip(self._length())
            self._value(kind or self._take())

    def _open(self, opening: bytes) -> tuple[bytes | None, int | None]:
        if not self._next_is(opening):
            raise DamagedError
        return self._header()

    def _header(self) -> tuple[bytes | None, int | None]:
        """Read the type and the count of an opened container."""
        kind = self._take() if self._next_is(b"$") else None
        count = self._length() if self._next_is(b"#") else None
        if kind is not None and count is None:
            raise DamagedError
        return kind, count

    def _text(self) -> bytes:
        length = self._length()
        self._skip(length)
        return self._content[self.at - length : self.at]

    def _length(self) -> int:
        found = self._integer(self._take())
        if found < 0:
            raise DamagedError
        return found

    def _integer(self, marker: bytes) -> int:
        if marker not in _INTEGERS:
            raise DamagedError
        start = self.at
        self._skip(_SIZES[marker])
        return int.from_bytes(self._content[start : self.at], "big", signed=marker != b"U")

    def _next_is(self, marker: bytes) -> bool:
        found = self._content[self.at : self.at + 1] == marker
        self.at += found
        return found

    def _take(self) -> bytes:
        """Return the next marker."""
        self._skip(1)
        return self._content[self.at - 1 : self.at]

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._content):
            raise DamagedError


class Encoded(bytes):
    """A value that is UBJSON already."""


def encode(value: Any) -> bytes:
    """Return a value as UBJSON: objects, lists, texts, int32, and arrays of NumPy's numbers."""
    match value:
        case Encoded():
            return value
        case dict():
            return b"{" + b"".join(text(key) + encode(v) for key, v in value.items()) + b"}"
        case list():
            return b"[#" + length(len(value)) + b"".join(map(encode, value))
        case str():
            return b"S" + text(value)
        case int():
            return b"l" + value.to_bytes(4, "big", signed=True)
    kind = b"[$" + KINDS[value.dtype.name] + b"#"
    numbers: bytes = value.astype(value.dtype.newbyteorder(">")).tobytes()
    return kind + length(value.size) + numbers


def text(content: str) -> bytes:
    """Return a text as the keys of objects are written."""
    encoded = content.encode()
    return length(len(encoded)) + encoded


def length(count: int) -> bytes:
    """Return a count."""
    return b"L" + count.to_bytes(8, "big")
