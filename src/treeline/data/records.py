"""Rows of the formats that say themselves what is label and what is feature.

libsvm, RecordIO-protobuf and npz have no columns to choose from: every row carries its label,
perhaps its weight and its group, and its features by index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


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
