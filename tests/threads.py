"""A team of threads: what the workers of a job exchange, without processes or a network."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from treeline.team import Team


class _Table:
    """Where the workers put what the others take."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=60)
        self.slots: list[tuple[str, bytes]] = [("", b"")] * size


class Threaded(Team):
    """Worker ``rank``; checks that all workers call the same methods in the same order."""

    def __init__(self, table: _Table, rank: int, size: int) -> None:
        self._table = table
        self.rank = rank
        self.size = size
        self.sent = 0  # bytes of the largest message

    def _swap(self, what: str, value: Any) -> list[Any]:
        sent = pickle.dumps(value)
        self.sent = max(self.sent, len(sent))
        self._table.slots[self.rank] = (what, sent)
        self._table.barrier.wait()
        slots = list(self._table.slots)
        self._table.barrier.wait()
        assert {said for said, _ in slots} == {what}, slots
        found = [pickle.loads(sent) for _, sent in slots]  # noqa: S301
        found[self.rank] = value
        return found

    def gather[T](self, value: T) -> list[T]:
        """Return what each worker passed, by rank."""
        return self._swap("gather", value)

    def broadcast[T](self, value: T, root: int = 0) -> T:
        """Return what worker ``root`` passed."""
        found: T = self._swap(f"broadcast {root}", value)[root]
        return found

    def total(self, values: Any) -> Any:
        """Return the sum over all workers."""
        return sum(self._swap("total", np.asarray(values, np.float64)))

    def any(self, flag: bool) -> bool:
        """Return whether any worker passed true."""
        return any(self._swap("any", flag))


def run[T](size: int, work: Callable[..., T], *arguments: Any) -> list[T]:
    """Return what ``work(team, *arguments)`` returned on each of ``size`` workers, by rank.

    Raises what the first worker that failed by itself raised.
    """
    table = _Table(size)
    found: dict[int, T] = {}
    failed: dict[int, BaseException] = {}

    def one(rank: int) -> None:
        try:
            found[rank] = work(Threaded(table, rank, size), *arguments)
        except threading.BrokenBarrierError:
            pass  # another worker failed
        except BaseException as error:
            failed[rank] = error
            table.barrier.abort()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[min(failed)]
    return [found[rank] for rank in range(size)]
