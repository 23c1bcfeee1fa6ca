"""The rows of all workers of a team, from what each of them has read.

Rows are counted by rank: those of worker 0, then those of worker 1, and so on, which is the order
in which one worker would read them. Everything here is called by all workers alike.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline.data import encoding, subset
from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin
from treeline.data.records import Csr, Floats

if TYPE_CHECKING:
    from treeline.team import Team

_PIECE = 1 << 26  # bytes of one message
_ROWS = 1 << 16  # rows looked at at a time

_PARTS = ("label", "weight", "lower", "upper", "margin", "time")


def relayed(array: Any, team: Team) -> Iterator[NDArray[Any]]:
    """Yield the rows of all workers' arrays by rank, in pieces of at most 64 MiB.

    ``array`` is (rows, ...), of the same type and width on all workers, or anything with a shape
    that gives slices of its rows. A piece may be a view of it.
    """
    counts = team.gather(int(array.shape[0]))
    row = array[:0]
    step = max(1, _PIECE // max(1, row.itemsize * math.prod(row.shape[1:])))
    for rank, count in enumerate(counts):
        for first in range(0, count, step):
            own = np.asarray(array[first : first + step]) if rank == team.rank else row
            yield team.broadcast(own, rank)


def whole(matrix: Matrix, team: Team) -> tuple[Matrix, NDArray[np.int64]]:
    """Return the rows of all workers without features, and which of them are this worker's.

    The features are (rows, 0), the numbers (rows of this worker,). A worker alone gets
    ``matrix`` itself.
    """
    if team.alone:
        return matrix, np.arange(matrix.rows)
    found = _without_features(matrix, team)
    first = sum(team.gather(matrix.rows)[: team.rank])
    return found, np.arange(first, first + matrix.rows)


def gathered(matrix: Matrix, team: Team) -> Matrix:
    """Return the rows of all workers with their features, as one worker would have read them.

    They stand in memory, wherever those of ``matrix`` do, which keeps its own.
    """
    if team.alone:
        return matrix
    found = _without_features(matrix, team)
    features: Floats | Csr
    if isinstance(matrix.features, Csr):
        features = _all_sparse(matrix.features, team)
    else:
        features = _all(matrix.features, team)
    return replace(found, features=features)


def whole_groups(matrix: Matrix, team: Team) -> Matrix:
    """Return this worker's rows after every group has come to stand on one worker.

    The rows of a group, which follow one another, go to the first worker that has some of them;
    without groups all rows are one. Groups are numbered anew on each worker, in the order of
    appearance. ``matrix`` may let go of its features.
    """
    if team.alone:
        return matrix
    starts = [0, *accumulate(team.gather(matrix.rows))]
    cuts = _cuts(matrix, starts, team)
    begin = starts[team.rank]
    own = [max(cuts[team.rank] - begin, 0), matrix.rows]
    parts = [subset.between(matrix, own[0], own[1])] if own[0] < own[1] else []
    for rank in range(team.size):
        first, last = starts[rank], min(cuts[rank], starts[rank + 1])  # what goes to one before it
        step = team.broadcast(_rows_at_once(matrix), rank)
        for at in range(first, last, step):
            piece = None
            if rank == team.rank:
                piece = _to_send(subset.between(matrix, at - begin, min(at + step, last) - begin))
                # Where the rows are from goes with the first piece.
                origin = matrix.origin.between(0, last - first) if at == first else Origin()
                piece = replace(piece, origin=origin)
            piece = team.broadcast(piece, rank)
            if piece is not None and cuts[team.rank] <= at < cuts[team.rank + 1]:
                parts.append(piece)
    return _changed(matrix, parts)


def _cuts(matrix: Matrix, starts: list[int], team: Team) -> list[int]:
    """Return the first row of each worker, counted over all, once no group is divided; the end."""
    runs = team.gather(_Run.of(matrix))
    cuts = [starts[-1]]
    first, end = None, starts[-1]  # the group of the first of the rows seen so far, and its end
    for rank in reversed(range(team.size)):
        run = runs[rank]
        if run is not None:
            end = end if run.all and run.first == first else starts[rank] + run.length
            first = run.first
        before = next((each for each in reversed(runs[:rank]) if each is not None), None)
        divided = before is not None and before.last == first
        cuts.append(end if divided else starts[rank])
    return cuts[::-1]


@dataclass(frozen=True)
class _Run:
    """A worker's first group, how many rows of it come first, whether they are all; the last."""

    first: str
    length: int
    all: bool
    last: str

    @staticmethod
    def of(matrix: Matrix) -> _Run | None:
        """Return what there is to say of a worker's rows, None where it has none."""
        if not matrix.rows:
            return None
        if matrix.group is None:
            return _Run("", matrix.rows, True, "")
        others = matrix.group != matrix.group[0]
        length = int(others.argmax()) if others.any() else matrix.rows
        first, last = (matrix.group_names[int(matrix.group[row])] for row in (0, -1))
        return _Run(first, length, length == matrix.rows, last)


def _rows_at_once(matrix: Matrix) -> int:
    features = matrix.features
    if isinstance(features, Csr):
        size = 8 * len(features.values) // max(1, features.rows) + 8
    else:
        size = 4 * features.shape[1]
    return max(1, _PIECE // (size + 64))


def _to_send(part: Matrix) -> Matrix:
    features = part.features
    group, names = subset.regrouped(part.group, part.group_names)
    return replace(
        part,
        features=features if isinstance(features, Csr) else np.array(features),
        group=group,
        group_names=names,
    )


def _changed(matrix: Matrix, parts: list[Matrix]) -> Matrix:
    """Return ``parts`` as one matrix, which was ``matrix`` before."""
    if [part.rows for part in parts] == [matrix.rows]:
        group, names = subset.regrouped(matrix.group, matrix.group_names)
        return replace(matrix, group=group, group_names=names)
    found = reduce(subset.joined, parts) if parts else subset.between(matrix, 0, 0)
    matrix.take_features()
    group, names = subset.regrouped(found.group, found.group_names)
    return replace(
        found, group=group, group_names=names, stats=_stats(found.features), notes=matrix.notes
    )


def _stats(features: Floats | Csr) -> ColumnStats:
    stats = ColumnStats()
    if isinstance(features, Csr):
        stats.update(features)
    else:
        for first in range(0, len(features), _ROWS):
            stats.update(features[first : first + _ROWS])
    return stats


def _without_features(matrix: Matrix, team: Team) -> Matrix:
    counts = team.gather(matrix.rows)
    origin, rows = Origin(), 0
    for each, count in zip(team.gather(matrix.origin), counts, strict=True):
        origin, rows = origin.before(each, rows), rows + count
    stats = ColumnStats()
    for found in team.gather(matrix.stats):
        stats.join(found)
    group, names = matrix.group, matrix.group_names
    if group is not None:
        group, names = encoding.among_all(group, names, _names_of_all(names, team))
    return replace(
        matrix,
        features=np.empty((rows, 0), np.float32),
        group=None if group is None else _all(group, team),
        group_names=names,
        hashes=_all(matrix.hashes, team),
        stats=stats,
        origin=origin,
        **{part: _all(getattr(matrix, part), team) for part in _PARTS},
    )


def _names_of_all(names: tuple[str, ...], team: Team) -> list[tuple[str, ...]]:
    """Return the names that each worker has; after reading these are the same, and many."""
    digests = team.gather(blake2b(pickle.dumps(names), digest_size=16).digest())
    return [names] if len(set(digests)) == 1 else team.gather(names)


def _all(array: Any, team: Team) -> Any:
    """Return the rows of all workers' arrays in one, None where they have none."""
    if array is None:
        return None
    rows = sum(team.gather(int(array.shape[0])))
    found = np.empty((rows, *array.shape[1:]), array[:0].dtype)
    at = 0
    for piece in relayed(array, team):
        found[at : at + len(piece)] = piece
        at += len(piece)
    return found


def _all_sparse(csr: Csr, team: Team) -> Csr:
    lengths = _all(np.diff(csr.indptr), team)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Csr(indptr, _all(csr.indices, team), _all(csr.values, team), csr.width)
