"""What an algorithm sees of checkpoints: the rounds of one model, and what was left of them.

A stage is one model on its way: that of the job, of a fold, or the final one of a
cross-validation. This one keeps nothing, for a job without checkpoints; ``store`` has the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treeline.metrics.log import Scores

# The model's rounds from the first to before the last, as sections of bytes by name.
type Sections = Callable[[int, int], Mapping[str, bytes]]


@dataclass(frozen=True)
class Restored:
    """What an earlier start left of a model.

    ``rounds`` are done. ``scores`` has one entry for each of them, or none where rounds are not
    scored. ``parts`` are the sections of bytes as they were kept, in the order of their rounds;
    together they are all of the rounds.
    """

    rounds: int = 0
    scores: tuple[Scores, ...] = ()
    parts: tuple[Mapping[str, bytes], ...] = ()


@dataclass(frozen=True)
class Finished:
    """What is kept of a model that is done: facts for JSON, sections of bytes, and all scores."""

    facts: Mapping[str, Any]
    sections: Mapping[str, bytes]
    scores: tuple[Scores, ...]


class Stage:
    """The rounds of one model. Rounds are counted from 0, those of an earlier model left out."""

    def restore(self, limit: int, bins: str = "") -> Restored:
        """Return what is left of the model, at most ``limit`` rounds; to be called once.

        ``bins`` is a digest of what the rows were binned by: rounds on other bins are not used.
        """
        return Restored()

    def keep(self, rounds: int, scores: Scores | None, sections: Sections) -> None:
        """Note that ``rounds`` are done, and write them if it is time to.

        ``scores`` are those of the last one, None where rounds are not scored. ``sections`` gives
        the bytes of some rounds; it is called before this returns, or not at all.
        """

    def flush(self, sections: Sections) -> None:
        """Write what is not written yet."""

    def finished(self, limit: int) -> Finished | None:
        """Return what ``finish`` left in an earlier start, if it is the model of ``limit`` rounds.

        That is one of which so many rounds were kept, or fewer if it ended early.
        """
        return None

    def finish(
        self, facts: Mapping[str, Any], sections: Mapping[str, bytes], *, early: bool
    ) -> None:
        """Keep what is wanted of the model that is done, so that it is not trained again.

        ``early`` is whether it ended by itself before it had all of its rounds. Without ``keep``
        it has 0 rounds. To be called after ``flush``.
        """


NOWHERE = Stage()
