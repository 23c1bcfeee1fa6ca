"""The checkpoints of a model that several workers train: the first worker reads and writes them.

Where another worker trains it alone, its ``Relayed`` stage has all of them do with ``Shared.act``
what it was asked for. The bytes of rounds travel only if the first worker wants to write them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from treeline.checkpoints.stage import Finished, Restored, Sections, Stage

if TYPE_CHECKING:
    from treeline.metrics.log import Scores
    from treeline.team import Team


@dataclass(frozen=True)
class Restore:
    """What ``Stage.restore`` was asked for."""

    limit: int
    bins: str


@dataclass(frozen=True)
class Keep:
    """What ``Stage.keep`` was told, but for the sections."""

    rounds: int
    scores: Scores | None


@dataclass(frozen=True)
class Flush:
    """``Stage.flush`` was called."""


@dataclass(frozen=True)
class Given:
    """The sections that the first worker wanted."""

    sections: Mapping[str, bytes]


type Request = Restore | Keep | Flush | Given


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

    def act(self, request: Request, owner: int) -> Any:
        """Do what worker ``owner`` asks for, which trains the model; called by all with the same.

        Returns what its ``Relayed`` has to know: what is restored, or from which round to before
        which the first worker wants the sections next, None if it does not.
        """
        match request:
            case Restore():
                return self.restore(request.limit, request.bins)
            case Given():
                return None
        if not self._team.leads:
            wanted: tuple[int, int] | None = self._team.broadcast(None)
            return wanted
        asked = False

        def sections(first: int, end: int) -> Mapping[str, bytes]:
            nonlocal asked
            asked = True
            self._team.broadcast((first, end))
            given: Any = self._team.broadcast(None, owner)
            found: Mapping[str, bytes] = given.sections
            return found

        if isinstance(request, Keep):
            self._stage.keep(request.rounds, request.scores, sections)
        else:
            self._stage.flush(sections)
        if not asked:
            self._team.broadcast(None)
        return None


class Relayed(Stage):
    """The first worker's stage, for another one that trains alone.

    ``ask`` has all workers do ``Shared.act`` and returns this worker's answer.
    """

    def __init__(self, ask: Callable[[Request], Any]) -> None:
        self._ask = ask

    def restore(self, limit: int, bins: str = "") -> Restored:
        """Return what is left on the first worker."""
        found: Restored = self._ask(Restore(limit, bins))
        return found

    def keep(self, rounds: int, scores: Scores | None, sections: Sections) -> None:
        """Keep a round on the first worker."""
        self._give(self._ask(Keep(rounds, scores)), sections)

    def flush(self, sections: Sections) -> None:
        """Write on the first worker what is not written yet."""
        self._give(self._ask(Flush()), sections)

    def _give(self, wanted: tuple[int, int] | None, sections: Sections) -> None:
        if wanted is not None:
            self._ask(Given(sections(*wanted)))
