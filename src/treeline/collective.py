"""A team over the network: XGBoost's own collective, which also moves its histograms.

The communicator is bound to the thread that joins it: another thread of the same process is a
worker alone, or joins a communicator of its own. Broadcasts and sums go through it; everything
else is made of them. Source: XGBoost's Python documentation, ``xgboost.collective`` and
``xgboost.tracker``.
"""

from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from treeline.algorithms.library import library
from treeline.errors import REPORT_IT, AlgorithmError, TeamError, one_line, shortened
from treeline.team import Team

# Seconds a worker waits for the others in one exchange. They may be reading, which takes as long
# as it takes: whether they are still there is watched elsewhere, so this only ends what nobody did.
_PATIENCE = 7 * 24 * 3600
_LEAVING_S = 60  # for all workers to leave a team once they have what they wanted

# For as long as the process lives: one that is let go while workers are leaving fails them.
_of_lanes: list[Any] = []


class Collective(Team):
    """The calling thread's communicator, joined; use ``joined``."""

    def __init__(self, host: str) -> None:
        from xgboost import collective

        self._collective = collective
        self._host = host
        self._lanes: list[Mapping[str, Any]] = []
        self.rank = int(collective.get_rank())
        self.size = int(collective.get_world_size())

    def gather[T](self, value: T) -> list[T]:
        """Return what each worker passed, by rank."""
        # A list of one: ``broadcast`` cannot tell None from nothing.
        return [self.broadcast(value, root) for root in range(self.size)]

    def broadcast[T](self, value: T, root: int = 0) -> T:
        """Return what worker ``root`` passed."""
        sent = [value] if self.rank == root else []
        with _together():
            received: list[T] = self._collective.broadcast(sent, root)
        return received[0]

    def total(self, values: Any) -> Any:
        """Return the sum over all workers."""
        array = np.ascontiguousarray(values, np.float64)
        with _together():
            return self._collective.allreduce(array, self._collective.Op.SUM)

    def any(self, flag: bool) -> bool:
        """Return whether any worker passed true."""
        with _together():
            found = self._collective.allreduce(np.array([flag], np.int8), self._collective.Op.MAX)
        return bool(found[0])

    def apart[T](self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread that has not joined."""
        done: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                library()  # whatever XGBoost says there becomes a warning too
                done.append(work())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, name="apart")
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return done[0]

    def open_lanes(self, count: int) -> None:
        """Start a tracker for every lane on the first worker, and tell the others of them."""
        while len(self._lanes) < count:
            asked: Mapping[str, Any] = {}
            if self.leads:
                _of_lanes.append(tracker(self._host, self.size))
                asked = _of_lanes[-1].worker_args()
            self._lanes.append(self.broadcast(asked))

    @contextmanager
    def lane(self, number: int) -> Iterator[Team]:
        """Join lane ``number`` in the calling thread."""
        with joined(self._lanes[number], self.rank, self._host) as team:
            yield team


@contextmanager
def _together() -> Iterator[None]:
    """Tell an exchange that has failed as what it is: nothing but another worker can fail it."""
    try:
        yield
    except (MemoryError, OverflowError, pickle.UnpicklingError) as error:
        raise AlgorithmError(
            f"The workers are out of step: {one_line(error) or type(error).__name__}", REPORT_IT
        ) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] != "xgboost":
            raise
        raise TeamError(shortened(one_line(error), 200)) from error


def tracker(host: str, workers: int) -> Any:
    """Start what brings ``workers`` together, on this machine's address ``host``.

    It is a thread of its own; workers join with its ``worker_args``, whenever they are ready. It
    has to live until all of them have left, see ``left_by_all``.
    """
    library()
    from xgboost.tracker import RabitTracker

    started = RabitTracker(n_workers=workers, host_ip=host, sortby="task")
    started.start()
    return started


def left_by_all(started: Any) -> None:
    """Return when all workers have left the team that a tracker has brought together."""
    with suppress(Exception):  # whoever does not leave properly is watched elsewhere
        started.wait_for(_LEAVING_S)


@contextmanager
def joined(arguments: Mapping[str, Any], rank: int, host: str) -> Iterator[Team]:
    """Join the team that a tracker with these ``worker_args`` brings together, as ``rank``."""
    library()
    from xgboost import collective

    # A worker without rows takes part; how the rows were divided has been said in our words.
    warnings.filterwarnings("ignore", ".*Empty dataset at worker", UserWarning)
    # Ranks follow the order of the tasks' names.
    named: dict[str, Any] = {"dmlc_task_id": f"{rank:06d}", "dmlc_timeout": _PATIENCE}
    with collective.CommunicatorContext(**arguments, **named):
        team = Collective(host)
        if team.rank != rank:
            raise AssertionError(f"joined as {team.rank}, not as {rank}")
        yield team
