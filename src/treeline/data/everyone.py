"""The rows of all workers of a team, from what each of them has read.

Rows are counted by rank: those of worker 0, then those of worker 1, and so on, which is the order
in which one worker would read them. Everything here is called by all workers alike.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from treeline.data import encoding
from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin, fingerprint_of
from treeline.data.records import Csr, Floats

if TYPE_CHECKING:
    from treeline.team import Team

_PIECE = 1 << 26  # bytes of one message

_PARTS = ("label", "weight", "lower", "upper", "margin", "time")


def whole(matrix: Matrix, team: Team) -> Matrix:
    """Return the rows of all workers without features, which are (rows, 0).

    A worker alone gets ``matrix`` itself.
    """
    if team.alone:
        return matrix
    counts = team.gather(matrix.rows)
    origin, rows = Origin(), 0
    for each, count in zip(team.gather(matrix.origin), counts, strict=True):
        origin, rows = origin.before(each, rows), rows + count
    stats = ColumnStats()
    for each_stats in team.gather(matrix.stats):
        stats.join(each_stats)
    group, names = matrix.group, matrix.group_names
    if group is not None:
        group, names = encoding.among_all(group, names, _names_of_all(names, team))
    found = replace(
        matrix,
        features=np.empty((rows, 0), np.float32),
        group=None if group is None else _all(group, team),
        group_names=names,
        hashes=_all(matrix.hashes, team),
        stats=stats,
        origin=origin,
        **{part: _all(getattr(matrix, part), team) for part in _PARTS},
    )
    found.fingerprint = team.broadcast(fingerprint_of(found) if team.leads else "")
    return found


def _names_of_all(names: tuple[str, ...], team: Team) -> list[tuple[str, ...]]:
    """Return the names that each worker has; after reading these are the same, and many."""
    digests = team.gather(blake2b(pickle.dumps(names), digest_size=16).digest())
    return [names] if len(set(digests)) == 1 else team.gather(names)


def _all(array: Any, team: Team) -> Any:
    """Return the rows of all workers' arrays in one, by rank, None where they have none.

    ``array`` is (rows, ...), of the same type and width on all workers, or anything with a shape
    that gives slices of its rows.
    """
    if array is None:
        return None
    counts, nothing, at = team.gather(int(array.shape[0])), array[:0], 0
    found = np.empty((sum(counts), *array.shape[1:]), nothing.dtype)
    step = max(1, _PIECE // max(1, nothing.itemsize * math.prod(array.shape[1:])))
    for rank, count in enumerate(counts):
        for first in range(0, count, step):
            own = array[first : first + step] if rank == team.rank else nothing
            piece = team.broadcast(np.asarray(own), rank)
            found[at : at + len(piece)] = piece
            at += len(piece)
    return found


def features(own: Floats | Csr, team: Team) -> Floats | Csr:
    """Return the features of all workers' rows, in memory, wherever this one's ``own`` are."""
    if not isinstance(own, Csr):
        found: Floats = _all(own, team)
        return found
    lengths = _all(np.diff(own.indptr), team)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Csr(indptr, _all(own.indices, team), _all(own.values, team), own.width)
