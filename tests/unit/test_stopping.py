"""Real signals, sent to this process or to one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from treeline.errors import Stopped
from treeline.stopping import SIGNALS, StopRequest


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_work_where_it_stands(number: signal.Signals) -> None:
    stop = StopRequest()
    went_on = []
    with pytest.raises(Stopped), stop.installed():  # noqa: PT012  # what comes after is the point
        send(number)
        went_on.append(number)
    assert stop.requested
    assert not went_on


@pytest.mark.parametrize("number", SIGNALS)
def test_inside_deferred_it_is_only_noted(number: signal.Signals) -> None:
    with StopRequest().installed() as stop:
        with stop.deferred():
            stop.check()
            send(number)
            assert stop.requested
        with pytest.raises(Stopped):
            stop.check()


def test_after_deferred_a_signal_ends_the_work_again() -> None:
    with StopRequest().installed() as stop:
        with stop.deferred():
            pass
        with pytest.raises(Stopped):
            send(signal.SIGTERM)


def test_a_fresh_request_asks_for_nothing() -> None:
    stop = StopRequest()
    assert not stop.requested
    stop.check()


def test_handlers_are_put_back_even_after_a_stop() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    stop = StopRequest()
    with stop.installed():
        assert not {*before} & {signal.getsignal(number) for number in SIGNALS}
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with pytest.raises(ZeroDivisionError), stop.installed():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_second_signal_ends_the_process_at_once() -> None:
    program = """
import os, signal
from treeline.stopping import StopRequest
with StopRequest().installed() as stop, stop.deferred():
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("never here", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "still here\n", "")


def test_check_sees_a_signal_whose_handler_has_not_run() -> None:
    """Arrow calls a reader from a thread of its own while the main one waits inside the library."""
    handled: list[bool] = []

    def work(stop: StopRequest) -> None:
        time.sleep(0.1)  # until the main thread waits for this one
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        try:
            stop.check()
        except Stopped:
            handled.append(stop.requested)

    with StopRequest().installed() as stop, stop.deferred():
        thread = threading.Thread(target=work, args=(stop,))
        thread.start()
        thread.join()
    assert handled == [False]
