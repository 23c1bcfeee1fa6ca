"""The checkpoints of a model that several workers train: the first worker reads and writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from treeline.checkpoints.stage import Finished, Restored, Sections, Stage

if TYPE_CHECKING:
    from treeline.metrics.log import Scores
    from treeline.team import Team


class Shared(Stage):
    """The first worker's ``stage`` for all workers; what the others pass is not looked at."""

    def __init__(self, stage: Stage, team: Team) -> None:
        self._stage = stage
        self._team = team

    def restore(self, limit: int, bins: str = "") -> Restored:
        """Return on every worker what is left on the first; called by all."""
        found = self._stage.restore(limit, bins) if self._team.leads else Restored()
        return self._team.broadcast(found)

    def keep(self, rounds: int, scores: Scores | None, sections: Sections) -> None:
        """Keep a round on the first worker."""
        if self._team.leads:
            self._stage.keep(rounds, scores, sections)

    def flush(self, sections: Sections) -> None:
        """Write on the first worker what is not written yet."""
        if self._team.leads:
            self._stage.flush(sections)

    def finished(self, limit: int) -> Finished | None:
        """Return on every worker what is finished on the first; called by all."""
        found = self._stage.finished(limit) if self._team.leads else None
        return self._team.broadcast(found)

    def finish(
        self, facts: Mapping[str, object], sections: Mapping[str, bytes], *, early: bool
    ) -> None:
        """Keep on the first worker what is wanted of a finished model."""
        if self._team.leads:
            self._stage.finish(facts, sections, early=early)
