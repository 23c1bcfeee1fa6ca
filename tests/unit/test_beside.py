"""Work beside other work: in a thread or afterwards, done once, its errors not lost."""

from __future__ import annotations

import threading

import pytest

from treeline.beside import Beside


class Work:
    """Notes in which thread it was done; waits for ``go`` first, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.threads: list[threading.Thread] = []
        self.go = threading.Event()
        self.undone = threading.Event()
        self._error = error

    def __call__(self) -> None:
        assert self.go.wait(10)
        self.threads.append(threading.current_thread())
        if self._error is not None:
            raise self._error


def test_what_was_started_is_done_beside_the_caller() -> None:
    work = Work()
    beside = Beside(work, work.undone.set, threaded=True)
    beside.start()  # does not wait for it
    work.go.set()
    beside.finish()
    assert len(work.threads) == 1
    assert work.threads[0] is not threading.current_thread()


@pytest.mark.parametrize(("threaded", "started"), [(False, True), (True, False)])
def test_without_a_thread_it_is_done_at_the_end(threaded: bool, started: bool) -> None:
    work = Work()
    beside = Beside(work, work.undone.set, threaded=threaded)
    if started:
        beside.start()
    assert not work.threads
    work.go.set()
    beside.finish()
    assert work.threads == [threading.current_thread()]


@pytest.mark.parametrize("threaded", [False, True])
def test_its_error_is_that_of_who_waits_for_it(threaded: bool) -> None:
    work = Work(OSError("full"))
    work.go.set()
    beside = Beside(work, work.undone.set, threaded=threaded)
    beside.start()
    with pytest.raises(OSError, match="full"):
        beside.finish()


def test_what_nobody_wants_any_more_is_undone_if_it_was_begun() -> None:
    work = Work(OSError("full"))
    work.go.set()
    beside = Beside(work, work.undone.set, threaded=True)
    beside.drop()
    assert not work.undone.is_set()  # there is nothing to undo
    beside.start()
    beside.drop()
    assert len(work.threads) == 1
    assert work.undone.is_set()
