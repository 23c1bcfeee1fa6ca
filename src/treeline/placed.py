"""A model that one worker of a team trains alone, on all rows, while the others follow.

What concerns them all they do together, in the order in which its owner says it: they hear of
every round, are asked whether to stop, and the first one keeps the checkpoints. At the end all have
what the owner has.

XGBoost must not know of the team meanwhile, and it knows by the thread. So the owner trains in a
thread of its own, and all workers talk in the one that has joined: a lane of the team.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from treeline.checkpoints import shared
from treeline.checkpoints.shared import Relayed, Shared
from treeline.errors import Stopped

if TYPE_CHECKING:
    from treeline.algorithms.interface import OnRound
    from treeline.checkpoints.stage import Stage
    from treeline.metrics.log import Scores
    from treeline.team import Team

# Trains, and returns what all workers are to have: given what to call after each round, what says
# whether to stop, and the checkpoints.
type Work[T] = Callable[[OnRound, Callable[[], bool], Stage], T]


@dataclass(frozen=True)
class _Round:
    index: int
    scores: Scores
    restored: bool


@dataclass(frozen=True)
class _Ask:
    """Whether any worker wants to stop."""


@dataclass(frozen=True)
class _Done:
    result: Any


_NOBODY = object()  # the answer when nobody does any more what the owner says

type _Message = _Round | _Ask | _Done | Stopped | shared.Request


class Placed:
    """A model in its lane, as each of the workers sees it; ``owner`` is the one that trains it.

    ``on_round`` and ``ended`` are this worker's own: what to do after a round, and whether it wants
    to stop. ``kept`` is the first worker's ``stage`` for all of them.
    """

    def __init__(
        self,
        lane: Team,
        owner: int,
        on_round: OnRound,
        ended: Callable[[], bool],
        stage: Stage,
        kept: Shared,
    ) -> None:
        self._lane = lane
        self._owner = owner
        self._on_round = on_round
        self._ended = ended
        self._stage = stage
        self._kept = kept
        self._messages: SimpleQueue[_Message | BaseException] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()

    def run[T](self, work: Work[T], *, relays: bool) -> T:
        """Return what ``work`` does on the owner; called by all workers.

        ``relays`` is whether the first worker keeps checkpoints. ``Stopped`` is raised on all
        workers; whatever else ``work`` raises is raised on its owner alone, at once.
        """
        if self._lane.rank == self._owner:
            worker = threading.Thread(target=self._train, args=(work, relays), daemon=True)
            worker.start()
        try:
            result: T = self._talk()
            return result
        finally:
            self._answers.put(_NOBODY)

    def _talk(self) -> Any:
        owns = self._lane.rank == self._owner
        while True:
            own = self._messages.get() if owns else None
            if isinstance(own, BaseException) and not isinstance(own, Stopped):
                raise own
            message: Any = self._lane.broadcast(own, self._owner)
            match message:
                case Stopped():
                    raise message
                case _Done():
                    return message.result
            answer = self._act(message)
            if owns:
                self._answers.put(answer)

    def _act(self, message: Any) -> Any:
        """Do what all do of a message; return the owner's answer."""
        match message:
            case _Round():
                return self._on_round(message.index, message.scores, message.restored)
            case _Ask():
                return self._lane.any(self._ended())
        return self._kept.act(message, self._owner)

    def _train[T](self, work: Work[T], relays: bool) -> None:
        stage = Relayed(self._ask) if relays and not self._lane.leads else self._stage
        try:
            found = work(
                lambda index, scores, restored: self._ask(_Round(index, scores, restored)),
                lambda: bool(self._ask(_Ask())),
                stage,
            )
        except BaseException as error:
            self._messages.put(error)
        else:
            self._messages.put(_Done(found))

    def _ask(self, message: _Message) -> Any:
        """Have all workers do something; return the answer."""
        self._messages.put(message)
        answer = self._answers.get()
        if answer is _NOBODY:
            raise Stopped
        return answer
