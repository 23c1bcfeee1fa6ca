"""The workers of a job that train one model together, as each of them sees it.

Every worker runs the same story on its own rows; what has to be known of all rows goes through
the methods here. All workers call them in the same order, each from the thread that joined the
team, and all get the same answer. A worker alone is a team of one, for which all of this is
nothing: ``Team()`` is that, and what a job on one worker uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Team:
    """Worker ``rank`` (from 0) of ``size``; the base class is a worker alone."""

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes: the first one."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other worker."""
        return self.size == 1

    def gather[T](self, value: T) -> list[T]:
        """Return what each worker passed, by rank; anything that can be pickled."""
        return [value]

    def broadcast[T](self, value: T, root: int = 0) -> T:
        """Return what worker ``root`` passed; what the others pass does not matter."""
        return value

    def total(self, values: Any) -> Any:
        """Return the sum over all workers of an array of float64, in an order that never varies."""
        return values

    def any(self, flag: bool) -> bool:
        """Return whether any worker passed true."""
        return flag

    def apart[T](self, work: Callable[[], T]) -> T:
        """Return what ``work`` does where libraries know nothing of the team."""
        return work()

    @contextmanager
    def lane(self, number: int) -> Iterator[Team]:
        """Join, in a thread of its own, lane ``number``: a team of the same workers.

        What runs in one lane does not wait for another. To be joined once, after
        ``open_lanes``.
        """
        yield self

    def open_lanes(self, count: int) -> None:
        """Make room for ``count`` lanes; called by all workers before any of them is joined."""


ALONE = Team()
