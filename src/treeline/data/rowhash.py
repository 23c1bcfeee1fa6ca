"""One 64-bit number per row, the same however the row is stored, and the data's fingerprint.

A row's hash is the sum modulo 2^64 of ``key(column) * mix(value)`` over its values that are not
missing, the label among them. That is multilinear hashing: with keys fixed at random, two
different rows share a hash with a chance near 2^-64. ``mix`` is a bijection on a float32's bits
that spreads the high bits, where small whole numbers differ, over the low ones: a difference
that is a multiple of 2^k would leave only 64 - k bits to the hash. It maps missing to 0, so a
missing value and one that a sparse row leaves out are the same. 0.0 and -0.0 are one value, as
they are to XGBoost. Keys are odd, so rows that differ in one column never share a hash.

The hashes tell rows apart and are not meant to resist somebody who builds a collision.
Measured on one core at 13 columns: 26 ns per dense row, 7 ns per value of a sparse one.

Sources: D. Lemire and O. Kaser, "Strongly universal string hashing is fast", 2014 (multilinear
hashing); G. Steele et al., "Fast splittable pseudorandom number generators", 2014 (SplitMix64,
which makes the keys).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treeline.data.records import Csr, Floats

Hashes = NDArray[np.uint64]

_PIECE = 1 << 16  # values worked on at a time: the scratch of 16 bytes per value stays in cache
_TABLE = 1 << 20  # columns whose keys are looked up; those of wider sparse data are computed

# Of two values fmax returns the one that is not nan, so this is what every nan becomes: one
# pass, where a mask takes two. The price, that -inf counts as missing, is none: readers and
# builder refuse infinite values.
_MISSING = np.float32("-inf")
_MISSING_BITS = np.float32("-inf").view(np.uint32)
_SPREAD = np.uint32(0x85EBCA6B)  # odd; MurmurHash3's first multiplier
_HALF = np.uint32(16)


def dense(block: Floats, label: Floats | None) -> Hashes:
    """Return the hash of each row: (n,) for ``block`` (n, columns) and ``label`` (n,).

    Missing is nan of any bits. ``block`` may be a view with any strides.
    """
    rows, columns = block.shape
    hashes = np.zeros(rows, np.uint64)
    keys = _keys(_table_size(columns))[:columns]
    step = max(1, _PIECE // max(1, columns))
    scratch = _Scratch((min(step, rows), columns))
    for first in range(0, rows, step):
        mixed = scratch.mix(block[first : first + step])
        np.matmul(mixed, keys, out=hashes[first : first + step])
    return _with_label(hashes, label)


def sparse(csr: Csr, label: Floats | None) -> Hashes:
    """Return the hash of each row of ``csr``: (n,), equal to that of the same row stored dense."""
    hashes = np.zeros(csr.rows, np.uint64)
    table = _keys(_table_size(csr.width)) if csr.width <= _TABLE else None
    pieces = list(_pieces(csr.indptr))
    longest = max((last - first for _, first, last in pieces), default=0)
    scratch = _Scratch((longest,))
    running = np.zeros(longest + 1, np.uint64)
    for rows, first, last in pieces:
        indices = csr.indices[first:last].astype(np.intp)
        keys = _key(indices) if table is None else table.take(indices, mode="clip")
        sums = running[1 : len(keys) + 1]
        np.multiply(scratch.mix(csr.values[first:last]), keys, out=sums)
        # A row's sum is the difference of two running sums, exact because all is modulo 2^64.
        np.cumsum(sums, out=sums)
        ends = csr.indptr[rows.start : rows.stop + 1] - first
        np.subtract(running[ends[1:]], running[ends[:-1]], out=hashes[rows])
    return _with_label(hashes, label)


def _pieces(indptr: NDArray[np.int64]) -> Iterator[tuple[slice, int, int]]:
    """Yield rows that together have about ``_PIECE`` values, and these values' first and end."""
    row = 0
    while row < len(indptr) - 1:
        full = int(np.searchsorted(indptr, indptr[row] + _PIECE, side="right")) - 1
        stop = max(row + 1, full)
        yield slice(row, stop), int(indptr[row]), int(indptr[stop])
        row = stop


class Fingerprint:
    """A hash of a whole data set: its rows' hashes in order, and what else belongs to a row.

    It does not depend on how the rows come in blocks, nor on the order of the calls for
    different arrays. ``update_array`` expects the same type of array for a name whatever the
    format it was read from: the type counts.
    """

    def __init__(self) -> None:
        self._parts: dict[bytes, Any] = {}

    def update(self, hashes: Hashes) -> None:
        """Append the hashes of the next rows."""
        self.update_array("", hashes)

    def update_array(self, name: str, block: NDArray[Any]) -> None:
        """Append the next rows of the array ``name``: weights, groups, margins.

        ``block`` is numbers, (n,) or (n, k). Every nan is the same nan, and -0.0 is 0.0.
        """
        if block.dtype.kind not in "iufb":
            raise TypeError(f"array {name!r} of {block.dtype}, not of numbers")
        if block.dtype.kind == "f":
            block = np.where(np.isnan(block), block.dtype.type(np.nan), block + block.dtype.type(0))
        block = np.ascontiguousarray(block, block.dtype.newbyteorder("<"))
        # The name, the type and the width of a row are part of the array's digest.
        head = repr((name, block.dtype.str, block.shape[1:])).encode()
        if head not in self._parts:
            self._parts[head] = hashlib.blake2b(head, digest_size=32)
        self._parts[head].update(block)

    def hexdigest(self) -> str:
        """Return the fingerprint so far: 32 hexadecimal digits."""
        digests = b"".join(self._parts[head].digest() for head in sorted(self._parts))
        return hashlib.blake2b(digests, digest_size=16).hexdigest()


class _Scratch:
    """Room for a piece of values on their way from float32 to mixed bits, used again and again."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._values = np.empty(shape, np.float32)
        self._high = np.empty(shape, np.uint32)
        self._mixed = np.empty(shape, np.uint64)

    def mix(self, piece: Floats) -> Hashes:
        """Return the mixed bits of ``piece``; they stand until the next call."""
        count = len(piece)
        values, high, mixed = self._values[:count], self._high[:count], self._mixed[:count]
        with np.errstate(invalid="ignore"):  # raised by the addition to a signalling nan
            np.add(piece, np.float32(0), out=values)  # -0.0 becomes 0.0, every nan a quiet one
        np.fmax(values, _MISSING, out=values)
        bits = values.view(np.uint32)
        np.bitwise_xor(bits, _MISSING_BITS, out=bits)
        np.right_shift(bits, _HALF, out=high)
        np.bitwise_xor(bits, high, out=bits)
        np.multiply(bits, _SPREAD, out=bits)
        np.right_shift(bits, _HALF, out=high)
        np.bitwise_xor(bits, high, out=bits)
        mixed[...] = bits
        return mixed


def _with_label(hashes: Hashes, label: Floats | None) -> Hashes:
    if label is not None:
        hashes += _Scratch(label.shape).mix(label) * _key(np.array([-1]))
    return hashes


def _table_size(columns: int) -> int:
    """Return a power of two that is enough for ``columns``, so that few tables are ever made."""
    return 1 << max(4, (columns - 1).bit_length())


@lru_cache(maxsize=4)
def _keys(columns: int) -> Hashes:
    return _key(np.arange(columns))


def _key(columns: NDArray[np.intp]) -> Hashes:
    """Return the key of each column; that of the label is column -1's.

    The outputs of SplitMix64 seeded with 0, in order, made odd.
    """
    z = columns.astype(np.uint64) + np.uint64(2)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)
