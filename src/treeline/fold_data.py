"""The rows of a fold, as an algorithm gets them: those to train on, and those held out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from treeline import memory
from treeline.algorithms.interface import Loaded
from treeline.algorithms.shared_scores import gathered
from treeline.data import subset
from treeline.errors import Stopped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treeline.algorithms.interface import Predictions
    from treeline.folds import Division
    from treeline.team import Team

HELD_OUT = "validation"  # what the log calls the rows a fold has not seen, as the built-in image


@dataclass(frozen=True)
class Fold:
    """One fold: ``number`` counts over all repeats, from 0, and names its model."""

    number: int
    repeat: int
    fold: int


class Rows:
    """The rows that folds take theirs from, one fold after the other, by their numbers.

    They are let go of here when the last of these folds has its own.
    """

    def __init__(self, loaded: Loaded, numbers: Iterable[int]) -> None:
        self._loaded: Loaded | None = loaded
        self._left = set(numbers)
        self._changed = threading.Condition()

    def wait(self, number: int) -> None:
        """Return when all folds with a smaller number have passed on their turn."""
        with self._changed:
            self._changed.wait_for(lambda: min(self._left) >= number)

    def pass_on(self, number: int) -> None:
        """Let the next fold through; also of a fold that did not need its turn."""
        with self._changed:
            self._left.discard(number)
            if not self._left:
                self._loaded = None
            self._changed.notify_all()

    def part(self, rows: NDArray[np.intp]) -> Loaded:
        """Return those of ``rows`` (ascending, of the rows of all workers) that are here."""
        loaded = self._loaded
        if loaded is None:
            raise AssertionError("every fold has had its turn")
        if loaded.everyone is None or loaded.numbers is None:
            return Loaded(subset.rows_of(loaded.matrix, rows), loaded.on_disk)
        chosen = np.zeros(loaded.everyone.rows, np.bool_)
        chosen[rows] = True
        mine = np.flatnonzero(chosen[loaded.numbers])
        return Loaded(
            subset.rows_of(loaded.matrix, mine),
            loaded.on_disk,
            subset.rows_of(loaded.everyone, rows),
            np.searchsorted(rows, loaded.numbers[mine]),
        )


class FoldData:
    """The data of one fold: its training rows, and those it is scored on.

    Folds side by side load one after the other, from the first data set until ``release``: each
    holds a copy of its rows until they are binned, and one such copy at a time is enough.
    """

    roles = ("train", HELD_OUT)
    scored_each_round = roles

    def __init__(
        self,
        rows: Rows,
        division: Division,
        fold: Fold,
        ended: Callable[[], bool],
        team: Team,
    ) -> None:
        self._rows = rows
        self._division = division
        self._fold = fold
        self._ended = ended
        self._team = team
        self._mine = False
        self._alone = True  # with all rows

    def load(self, role: str) -> Loaded:
        """Return the rows of a data set, when it is this fold's turn."""
        if not self._mine:
            self._rows.wait(self._fold.number)
            self._mine = True
            if self._team.any(self._ended()):  # while it waited
                raise Stopped
        part = self._division.training if role == "train" else self._division.held_out
        loaded = self._rows.part(part(self._fold.repeat, self._fold.fold))
        self._alone = loaded.numbers is None
        return loaded

    def release(self) -> None:
        """Let the next fold load."""
        if self._mine:
            self._mine = False
            memory.give_back()
        self._rows.pass_on(self._fold.number)

    def of_all_workers(self, predictions: Predictions) -> Predictions:
        """Return the predictions for all rows held out, of those for this worker's."""
        return predictions if self._alone else gathered(predictions, self._team)
