"""Rows dealt to the workers of a team anew: a run of all rows, in order, for each.

Workers wait for the one with the most rows, and files can often not be divided evenly: one that
is compressed, or has a single row group, is read by one worker. Where two data sets are put
together, each worker has rows of both, but what is trained by several workers is the same as by
one only if each has a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from treeline.data import subset
from treeline.data.records import Csr, Floats
from treeline.data.storage import DenseRows, SparseRows, is_spooled

if TYPE_CHECKING:
    from treeline.data.matrix import Matrix
    from treeline.team import Team

_PIECE = 1 << 26  # bytes of one message
_UNEVEN = 1.2  # a worker with more rows than this times its share of them gives some away


def leveled(
    matrix: Matrix, everyone: Matrix, team: Team, *, whole_groups: bool = False
) -> tuple[Matrix, NDArray[np.int64]]:
    """Return this worker's rows once none has many more than the others, and their numbers.

    ``matrix`` has this worker's rows, in a run, and lets go of its features; ``everyone`` has the
    rows of all workers without features, which the answer shares. With ``whole_groups`` no group,
    whose rows follow one another, is divided; without groups all rows are one.
    """
    counts = team.gather(matrix.rows)
    bounds = starts = [0, *accumulate(counts)]
    if max(counts) * team.size > _UNEVEN * everyone.rows:
        bounds = _evenly(everyone.rows, team.size)
    if whole_groups:
        bounds = _between_groups(bounds, everyone)
    first, last = bounds[team.rank], bounds[team.rank + 1]
    features = matrix.take_features()
    if bounds != starts:
        features = _run([features], first, last, team)
    return _of_run(everyone, first, last, features, whole_groups=whole_groups)


def dealt(
    parts: Sequence[Matrix], everyone: Matrix, team: Team, *, whole_groups: bool = False
) -> tuple[Matrix, NDArray[np.int64]]:
    """Return this worker's run of the rows of all workers, and their numbers: (rows,).

    ``parts`` are this worker's rows of each data set, which let go of their features; ``everyone``
    has the rows of all workers without features, those of the first data set before those of the
    second. With ``whole_groups`` no group, whose rows follow one another, is divided;
    without groups all rows are one.
    """
    bounds = _evenly(everyone.rows, team.size)
    if whole_groups:
        bounds = _between_groups(bounds, everyone)
    first, last = bounds[team.rank], bounds[team.rank + 1]
    features = _run([part.take_features() for part in parts], first, last, team)
    return _of_run(everyone, first, last, features, whole_groups=whole_groups)


def _evenly(rows: int, workers: int) -> list[int]:
    """Return where each worker's run begins, and the end of the last one."""
    return [rows * rank // workers for rank in range(workers + 1)]


def _between_groups(bounds: Sequence[int], everyone: Matrix) -> list[int]:
    """Return each bound, or the end of the group that it would divide."""
    starts = np.array([0, everyone.rows])
    if everyone.group is not None:
        changes = np.flatnonzero(np.diff(everyone.group)) + 1
        starts = np.concatenate([[0], changes, [everyone.rows]])
    return [int(each) for each in starts[np.searchsorted(starts, bounds)]]


def _of_run(
    everyone: Matrix, first: int, last: int, features: Floats | Csr, *, whole_groups: bool
) -> tuple[Matrix, NDArray[np.int64]]:
    found = subset.between(everyone, first, last)
    found.take_hashes()  # those of all rows are with ``everyone``
    group, names = found.group, found.group_names
    if whole_groups:
        group, names = subset.regrouped(group, names)
    found = replace(found, features=features, group=group, group_names=names)
    return found, np.arange(first, last)


def _run(features: Sequence[Floats | Csr], first: int, last: int, team: Team) -> Floats | Csr:
    width = max(each.shape[1] for each in features)
    in_file = team.any(any(is_spooled(each) for each in features))
    dense = DenseRows(width, 0 if in_file else None, lambda _: None)
    sparse, begin = SparseRows(), 0
    for each in features:
        for piece in _relayed(each, team):
            end = begin + piece.shape[0]
            low, high = max(first, begin), min(last, end)
            if low < high:
                mine = _rows(piece, low - begin, high - begin)
                if isinstance(mine, Csr):
                    sparse.add(mine)
                else:
                    room = dense.room(len(mine))
                    room[:] = mine
                    dense.keep(room)
            begin = end
    return sparse.take(width) if isinstance(features[0], Csr) else dense.take()


def _relayed(features: Floats | Csr, team: Team) -> Iterator[Floats | Csr]:
    """Yield the rows of all workers by rank, in pieces."""
    size = 8 * len(features.values) if isinstance(features, Csr) else 4 * features.shape[1]
    if isinstance(features, Csr):
        size = size // max(1, features.rows) + 8
    step = min(team.gather(max(1, _PIECE // max(1, size))))
    for rank, count in enumerate(team.gather(features.shape[0])):
        for first in range(0, count, step):
            own = _rows(features, first, min(first + step, count)) if rank == team.rank else None
            piece = team.broadcast(own, rank)
            if piece is None:
                raise AssertionError("a worker has sent nothing")
            yield piece


def _rows(features: Floats | Csr, first: int, last: int) -> Floats | Csr:
    if isinstance(features, Csr):
        return subset.sparse_rows(features, first, last)
    return np.asarray(features[first:last])
