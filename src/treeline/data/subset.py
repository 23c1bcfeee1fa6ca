"""Some rows of a data set, or the rows of two: what cross-validation trains and scores on.

Rows that stand in a file stay there: a part of them is a list of row numbers, read piece by
piece when they are binned.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix
from treeline.data.records import Csr, Floats
from treeline.data.storage import DenseRows, Picked, SparseRows, is_spooled
from treeline.errors import DataError

Rows = NDArray[np.intp]

_PIECE = 1 << 16  # rows copied at a time

_PARTS = ("label", "weight", "lower", "upper", "margin", "time")


def rows_of(matrix: Matrix, rows: Rows) -> Matrix:
    """Return the rows with these numbers (ascending) as a matrix of their own.

    Groups are numbered anew, in the order of appearance. The matrix has no hashes and knows of
    its columns only how many rows they have: it has been looked at as a whole.
    """
    stats = ColumnStats()
    stats.rows = len(rows)
    group = None if matrix.group is None else matrix.group[rows]
    group, names = regrouped(group, matrix.group_names)
    return replace(
        matrix,
        features=_features_of(matrix.features, rows),
        group=group,
        group_names=names,
        stats=stats,
        hashes=np.empty(0, np.uint64),
        notes=(),
        **{part: _taken(getattr(matrix, part), rows) for part in _PARTS},
    )


def between(matrix: Matrix, first: int, last: int) -> Matrix:
    """Return rows ``first`` to ``last`` as a matrix of their own, which shares its arrays.

    It keeps the numbers of the groups, the hashes and the origin of the rows; of its columns it
    knows only how many rows they have.
    """
    stats = ColumnStats()
    stats.rows = last - first
    features = matrix.features
    return replace(
        matrix,
        features=sparse_rows(features, first, last)
        if isinstance(features, Csr)
        else features[first:last],
        group=None if matrix.group is None else matrix.group[first:last],
        stats=stats,
        hashes=matrix.hashes[first:last],
        origin=matrix.origin.between(first, last),
        notes=(),
        **{part: _taken(getattr(matrix, part), slice(first, last)) for part in _PARTS},
    )


def sparse_rows(csr: Csr, first: int, last: int) -> Csr:
    """Return rows ``first`` to ``last``, or to the end where there are fewer."""
    indptr = csr.indptr[first : last + 1]
    inside = slice(int(indptr[0]), int(indptr[-1]))
    return Csr(indptr - indptr[0], csr.indices[inside], csr.values[inside], csr.width)


def regrouped(
    group: NDArray[np.int64] | None, names: tuple[str, ...]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return (rows,) the groups numbered anew in the order of appearance, and their names."""
    if group is None:
        return None, names
    codes, firsts, places = np.unique(group, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[places], tuple(names[code] for code in codes[order])


def joined(first: Matrix, second: Matrix) -> Matrix:
    """Return the rows of both, those of ``second`` last; both let go of their features.

    They have the same schema, which reading the second with that of the first has seen to.
    """
    stats = ColumnStats()
    stats.rows = first.rows + second.rows
    group, names = (None, first.group_names) if first.group is None else _one_group(first, second)
    return replace(
        first,
        features=_stacked(first.take_features(), second.take_features()),
        group=group,
        group_names=names,
        stats=stats,
        hashes=np.concatenate([first.take_hashes(), second.take_hashes()]),
        origin=first.origin.before(second.origin, first.rows),
        notes=(),
        **{part: _end_to_end(getattr(first, part), getattr(second, part)) for part in _PARTS},
    )


def _taken(values: NDArray[Any] | None, rows: Rows | slice) -> Any:
    return None if values is None else values[rows]


def _end_to_end(first: NDArray[Any] | None, second: NDArray[Any] | None) -> Any:
    return None if first is None or second is None else np.concatenate([first, second])


def _features_of(features: Floats | Csr, rows: Rows) -> Floats | Csr:
    if isinstance(features, Csr):
        lengths = np.diff(features.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        at = np.repeat(features.indptr[rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return Csr(indptr, features.indices[at], features.values[at], features.width)
    if is_spooled(features):
        return Picked(features, rows)  # type: ignore[return-value]
    return features[rows]


def _one_group(first: Matrix, second: Matrix) -> Any:
    """Number the groups of both together: the same name is the same group."""
    if first.group is None or second.group is None:
        raise AssertionError("no groups")
    known = {name: i for i, name in enumerate(first.group_names)}
    codes = np.array([known.setdefault(n, len(known)) for n in second.group_names], np.int64)
    return np.concatenate([first.group, codes[second.group]]), tuple(known)


def _stacked(first: Floats | Csr, second: Floats | Csr) -> Floats | Csr:
    if isinstance(first, Csr) and isinstance(second, Csr):
        rows = SparseRows()
        rows.add(first)
        rows.add(second)
        return rows.take(max(first.width, second.width))
    if isinstance(first, Csr) or isinstance(second, Csr):
        raise DataError(
            "Channels train and validation cannot be divided into folds together: one has sparse "
            "rows, the other dense ones",
            "Give both channels the same format, or use cv_folds in place of _kfold.",
        )
    spooled = is_spooled(first) or is_spooled(second)
    both = DenseRows(first.shape[1], 0 if spooled else None, lambda _: None)
    for part in (first, second):
        for at in range(0, len(part), _PIECE):
            piece = part[at : at + _PIECE]
            room = both.room(len(piece))
            room[:] = piece
            both.keep(room)
    return both.take()
