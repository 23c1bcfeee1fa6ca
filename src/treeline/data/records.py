"""Rows of the formats that say themselves what is label and what is feature.

libsvm, RecordIO-protobuf and npz have no columns to choose from: every row carries its label,
perhaps its weight and its group, and its features by index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

LARGEST_INDEX = 2**31 - 1


@dataclass(frozen=True)
class Csr:
    """Sparse rows: row ``i`` has ``values[indptr[i]:indptr[i + 1]]`` at the columns ``indices``.

    ``indptr`` is int64 of rows + 1 and starts at 0, ``indices`` is int32 and strictly ascending
    within a row, ``values`` is float32. What is not there is missing, not zero. ``width`` is how
    many columns the format itself declares, or the largest index + 1; a later block may be wider.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Floats
    width: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, as of an array."""
        return self.rows, self.width

    def of_rows(self, kept: NDArray[np.bool_]) -> Csr:
        """Return the rows that ``kept`` (rows,) is true for."""
        lengths = np.diff(self.indptr)
        there = np.repeat(kept, lengths)
        indptr = np.concatenate([[0], np.cumsum(lengths[kept])])
        return Csr(indptr, self.indices[there], self.values[there], self.width)


@dataclass(frozen=True)
class Records:
    """A block of rows in the file's order.

    ``label`` and ``weight`` are (rows,) float32 with nan for missing; ``group`` is (rows,) int64,
    the ids as the file has them. ``features`` is (rows, columns) float32 row-major with nan for
    missing, or sparse. ``names`` are the features' names where the format has them.
    """

    label: Floats
    features: Floats | Csr
    weight: Floats | None = None
    group: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None

    def of_rows(self, kept: NDArray[np.bool_]) -> Records:
        """Return the rows that ``kept`` (rows,) is true for."""
        features = self.features
        return Records(
            self.label[kept],
            features.of_rows(kept) if isinstance(features, Csr) else features[kept],
            None if self.weight is None else self.weight[kept],
            None if self.group is None else self.group[kept],
            self.names,
        )


class RepeatedIndexError(Exception):
    """A row has a column twice: its 0-based ``row``, and the column's ``index``."""

    def __init__(self, row: int, index: int) -> None:
        super().__init__(f"row {row} has index {index} twice")
        self.row = row
        self.index = index


def sparse(indptr: Ints, indices: Ints, values: Floats, width: int) -> Csr:
    """Return rows whose entries stand in any order, with nan among them, as ``Csr``.

    ``indices`` are within int32; raises ``RepeatedIndexError``.
    """
    if len(indices) > 1:
        falls = indices[1:] <= indices[:-1]
        firsts = indptr[1:-1]
        falls[firsts[(firsts > 0) & (firsts < len(indices))] - 1] = False
        if falls.any():
            row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
            order = np.lexsort((indices, row))
            indices, values, row = indices[order], values[order], row[order]
            twice = (indices[1:] == indices[:-1]) & (row[1:] == row[:-1])
            if twice.any():
                at = int(twice.argmax())
                raise RepeatedIndexError(int(row[at]), int(indices[at]))
    there = ~np.isnan(values)
    if not there.all():
        indptr = np.concatenate(([0], np.cumsum(there)))[indptr]
        indices, values = indices[there], values[there]
    return Csr(indptr, indices.astype(np.int32), values, width)
