"""Runs a function on the workers of a team: processes on this machine with XGBoost's collective."""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

HOST = "127.0.0.1"


def run[T](size: int, work: Callable[..., T], *arguments: Any, timeout: float = 120) -> list[T]:
    """Return what ``work(team, *arguments)`` returned on each of ``size`` workers, by rank.

    ``work`` has to be a function of a module. Raises ``AssertionError`` with the traceback of a
    worker that failed; then the others are killed.
    """
    from treeline.collective import tracker

    started = tracker(HOST, size)
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    workers = [
        context.Process(
            target=_worker,
            args=(started.worker_args(), rank, answers, work, arguments),
            daemon=True,
        )
        for rank in range(size)
    ]
    for worker in workers:
        worker.start()
    found: dict[int, T] = {}
    try:
        while len(found) < size:
            until = time.monotonic() + timeout
            while answers.empty() and time.monotonic() < until:
                if any(worker.exitcode for worker in workers):
                    break
                time.sleep(0.01)
            if answers.empty():
                raise AssertionError(f"workers {[w.exitcode for w in workers]} did not answer")
            rank, answer, error = answers.get()
            if error is not None:
                raise AssertionError(f"worker {rank}:\n{error}")
            found[rank] = answer
    finally:
        for worker in workers:
            worker.join(0 if len(found) < size else 10)
            worker.kill()
        if len(found) < size:
            del started.handle  # freeing it would complain of workers that did not leave
    return [found[rank] for rank in range(size)]


def _worker(
    arguments: Mapping[str, Any], rank: int, answers: Any, work: Callable[..., Any], more: Any
) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from treeline.collective import joined

    with joined(arguments, rank, HOST) as team:
        try:
            answer = work(team, *more)
        except BaseException:
            answers.put((rank, None, traceback.format_exc()))
            os._exit(1)  # not waiting for the others, who wait for this one
    answers.put((rank, answer, None))
