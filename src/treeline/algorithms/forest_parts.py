"""The trees of a forest, grown a batch at a time and each batch by all workers of a team.

A batch is divided into as many runs of trees as there are workers, in order; what a worker has
grown is bytes of a model with one tree a round, and all workers get those of all. So every worker
ends with the whole forest, in the order in which one worker would have grown it. Between batches
the workers agree on whether to go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from treeline.algorithms import model_parts

if TYPE_CHECKING:
    from treeline.checkpoints.stage import Stage
    from treeline.team import Team

# A batch of trees that takes less is followed by one twice as large; a stop waits for a batch.
_SHORT = 1.0  # seconds


class Grown:
    """The trees grown so far, as models of XGBoost with some of them each."""

    def __init__(self, models: Sequence[bytes]) -> None:
        self._models = list(models)
        self._ends = list(accumulate(map(model_parts.rounds, self._models), initial=0))

    @property
    def count(self) -> int:
        """How many trees there are."""
        return self._ends[-1]

    def add(self, model: bytes) -> None:
        """Add the trees that follow."""
        self._models.append(model)
        self._ends.append(self.count + model_parts.rounds(model))

    def sections(self, first: int, end: int) -> Mapping[str, bytes]:
        """Return the trees of some batches, for a checkpoint."""
        batches = slice(self._ends.index(first), self._ends.index(end))
        return {"model": model_parts.joined(self._models[batches])}

    def taken(self) -> bytearray:
        """Return all trees as one model, and let go of them."""
        whole = bytearray(model_parts.joined(self._models))
        self._models.clear()
        return whole


def grown_together(
    some: Callable[[int, int], bytes],
    total: int,
    threads: int,
    before: Sequence[bytes],
    team: Team,
    stop_requested: Callable[[], bool],
    stage: Stage,
) -> Grown:
    """Return ``total`` trees, or fewer where a stop is requested, but at least one batch.

    ``some`` grows the trees from a number to before another and is called where libraries know
    nothing of the team; ``threads`` are the trees it grows at once. ``before`` are models of the
    trees of an earlier start, the same on all workers. A tree is a round of ``stage``.
    """
    grown, batch = Grown(before), sum(team.gather(threads))
    while grown.count < total and not (grown.count and team.any(stop_requested())):
        started = time.monotonic()
        trees = min(batch, total - grown.count)
        first, end = (
            grown.count + trees * rank // team.size for rank in (team.rank, team.rank + 1)
        )
        mine = team.apart(partial(some, first, end)) if first < end else b""
        parts = team.gather((mine, time.monotonic() - started))
        if max(seconds for _, seconds in parts) < _SHORT:
            batch *= 2
        for model, _ in parts:
            if model:
                grown.add(model)
        stage.keep(grown.count, None, grown.sections)
    stage.flush(grown.sections)
    return grown
