"""The cuts of one worker for the rows of several: the columns change places, not the summaries.

XGBoost's own way is to sketch every worker's rows and to merge the sketches, which moves the cuts:
at 300,000 rows it changed the logloss by 4e-4. Here each column is sketched once, over all rows in
their order, by one worker, as XGBoost does it on one machine; columns do not touch one another
there. The cuts then reach the workers' matrices by way of a matrix that has them: of the few rows
that are given exactly these cuts, since a column of no more values than bins is cut at its values.
(docs/decisions.md has what was measured.)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline.algorithms import binning
from treeline.algorithms.library import library
from treeline.data.matrix import Matrix
from treeline.data.records import Csr, Floats

if TYPE_CHECKING:
    import xgboost as xgb

    from treeline.team import Team

_OWN = 1 << 28  # bytes of columns that a worker has of all rows at a time
_PIECE = 1 << 26  # bytes that are sent at a time


@dataclass(frozen=True)
class Column:
    """A column's cuts as XGBoost exports them, and the least and largest value behind them.

    The values are nan where no row of any weight has one.
    """

    cuts: Floats
    least: np.float32
    largest: np.float32


def reference(
    matrix: Matrix, everyone: Matrix, how: binning.Binning, team: Team
) -> xgb.DMatrix | None:
    """Return a matrix with the cuts of all rows, to bin each worker's own rows by.

    ``matrix`` has this worker's rows and their features, ``everyone`` the rows of all workers
    without them. To be called by all workers; the answer has the same cuts on each. None where
    such a matrix cannot be made; then a warning has said so, and XGBoost merges its sketches.
    """
    types = binning.feature_types(matrix)
    columns = list[Column]()
    for first, last in _blocks(matrix, team):
        own = _own_columns(matrix.features, first, last, team)
        bounds = _bounds(first, last, team)[team.rank]
        of_own = None if types is None else types[slice(*bounds)]
        found = team.apart(partial(_sketched, own, everyone, how, of_own))
        columns += [column for part in team.gather(found) for column in part]
    made = team.apart(lambda: synthetic(columns, types, how))
    if _has(made, columns):
        return made
    warnings.warn(
        "the cuts of all rows cannot be handed to every worker, so XGBoost merges those of each: "
        "the model will differ a little from that of compute=singleCPU",
        stacklevel=2,
    )
    return None


def synthetic(
    columns: list[Column], types: list[str] | None, how: binning.Binning
) -> xgb.QuantileDMatrix:
    """Return a matrix of a few rows that XGBoost cuts as ``columns`` say."""
    kinds = types or ["q"] * len(columns)
    values = [_values(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    rows = np.full((max(1, *map(len, values)), len(columns)), np.nan, np.float32)
    for j, found in enumerate(values):
        rows[: len(found), j] = found
    made: xgb.QuantileDMatrix = library().QuantileDMatrix(
        rows, feature_types=types, max_bin=how.max_bin, nthread=how.threads
    )
    return made


def _values(column: Column, kind: str) -> Floats:
    """Return the values that lead to the cuts: the first cut is below all, the last above."""
    if np.isnan(column.least):
        return np.empty(0, np.float32)
    if kind == "c":
        return column.cuts
    inner = column.cuts[1:-1]
    found: Floats = np.unique(np.concatenate([[column.least], inner, [column.largest]]))
    return found.astype(np.float32)


def _has(made: xgb.QuantileDMatrix, columns: list[Column]) -> bool:
    ends, cuts = made.get_quantile_cut()
    lengths = [len(column.cuts) for column in columns]
    wanted = np.concatenate([column.cuts for column in columns])
    return np.diff(ends).tolist() == lengths and cuts.tobytes() == wanted.tobytes()


def _blocks(matrix: Matrix, team: Team) -> Iterator[tuple[int, int]]:
    """Yield ranges of columns, so that what a worker gets of each is within ``_OWN`` bytes."""
    features = matrix.features
    size = (
        8 * len(features.values) if isinstance(features, Csr) else 4 * int(np.prod(features.shape))
    )
    total = float(team.total(np.array([size], np.float64))[0])
    blocks = max(1, -(-int(total) // (team.size * _OWN)))
    width = matrix.schema.features
    step = max(1, -(-width // blocks))
    for first in range(0, width, step):
        yield first, min(width, first + step)


def _bounds(first: int, last: int, team: Team) -> list[tuple[int, int]]:
    """Return which columns of a block each worker gets."""
    ends = [first + (last - first) * rank // team.size for rank in range(team.size + 1)]
    return list(pairwise(ends))


def _own_columns(features: Floats | Csr, first: int, last: int, team: Team) -> list[Any]:
    """Exchange a block of columns; return pieces of all rows, with this worker's columns only."""
    begin, end = (at - first for at in _bounds(first, last, team)[team.rank])
    steps = list(_steps(features, last - first))
    counts = team.gather(len(steps))
    own = []
    for root, count in enumerate(counts):
        for number in range(count):
            mine: Any = _piece(features, steps[number], first, last) if root == team.rank else None
            piece: Any = team.broadcast(mine, root)
            own.append(piece[:, begin:end].copy())
    return own


def _steps(features: Floats | Csr, width: int) -> Iterator[slice]:
    rows = features.shape[0]
    each = 4 * width
    if isinstance(features, Csr):
        each = 8 + 8 * len(features.values) // max(1, rows)
    step = max(1, _PIECE // max(1, each))
    for first in range(0, rows, step):
        yield slice(first, min(rows, first + step))


def _piece(features: Floats | Csr, rows: slice, first: int, last: int) -> Any:
    if isinstance(features, Csr):
        return binning.raw(features)[rows][:, first:last]
    return np.ascontiguousarray(features[rows][:, first:last])


def _sketched(
    pieces: list[Any], everyone: Matrix, how: binning.Binning, types: list[str] | None
) -> list[Column]:
    """Return the cuts of some columns, all rows of which are in ``pieces``."""
    rows = _stacked(pieces)
    pieces.clear()
    width = rows.shape[1]
    if not width:
        return []
    made = library().QuantileDMatrix(
        rows,
        feature_types=types,
        max_bin=how.max_bin,
        nthread=how.threads,
        **binning.weights(everyone, how),
    )
    ends, cuts = made.get_quantile_cut()
    counted = None if everyone.weight is None or everyone.weight.all() else everyone.weight > 0
    found = []
    for j in range(width):
        least, largest = _range(rows, j, counted)
        found.append(Column(cuts[ends[j] : ends[j + 1]], least, largest))
    return found


def _stacked(pieces: list[Any]) -> Any:
    if all(isinstance(piece, np.ndarray) for piece in pieces):
        return np.concatenate(pieces)
    from scipy.sparse import vstack

    return vstack(pieces, format="csr")


def _range(rows: Any, column: int, counted: NDArray[np.bool_] | None) -> tuple[Any, Any]:
    """Return the least and the largest value of a column among the rows that count."""
    if isinstance(rows, np.ndarray):
        values = rows[:, column] if counted is None else rows[counted, column]
    else:
        there = rows[:, [column]].tocoo()
        values = there.data if counted is None else there.data[counted[there.row]]
    # They pass over nan, and are nan themselves where there is nothing else.
    nothing = np.float32(np.nan)
    return (
        np.fmin.reduce(values, initial=nothing),
        np.fmax.reduce(values, initial=nothing),
    )
