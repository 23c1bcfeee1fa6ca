"""SIGTERM and SIGINT: the platform, or a person, asks the job to end.

Before the first round there is nothing to keep, so the signal ends the job where it stands.
While training or writing (inside ``deferred``) it is only noted, and whoever is at work looks
at ``requested`` when it has something whole in its hands. A second signal ends at once.

Python runs a signal's handler in the main thread only, and not while a library holds it. So the
number of every signal also goes through a pipe, in which ``check`` looks from any thread: Arrow
reads a FIFO in a thread of its own while the main one waits for it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from treeline.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def heard(handler: Callable[[int, FrameType | None], None], pipe: int) -> Iterator[None]:
    """Let ``handler`` handle the signals inside the block, and their numbers go into ``pipe``.

    They are there at once, whatever keeps the main thread from running the handler.
    """
    os.set_blocking(pipe, False)
    wakeup = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
        signal.set_wakeup_fd(wakeup)


class StopRequest:
    """Whether the job was asked to stop; installed for as long as the ``with`` block runs."""

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False
        self._pipe: int | None = None  # the end to read from

    def check(self) -> None:
        """Raise ``Stopped`` if the job was asked to stop; may be called from any thread."""
        if self.requested or self._has_arrived():
            raise Stopped

    @contextmanager
    def installed(self) -> Iterator[StopRequest]:
        """Handle the signals inside the block."""
        self._pipe, write = os.pipe()
        os.set_blocking(self._pipe, False)
        try:
            with heard(self._handle, write):
                yield self
        finally:
            os.close(self._pipe)
            os.close(write)
            self._pipe = None

    def listen(self) -> None:
        """Only note the signals, from here to the process's end, and interrupt nothing.

        To be called before there are other threads. XGBoost's sockets take a wait that a handler
        interrupts for an error, in whatever thread; so a thread waits for the signals instead.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def _listen(self) -> None:
        signal.sigwait(SIGNALS)
        self.requested = True
        signal.sigwait(SIGNALS)
        os._exit(Stopped.exit_status)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the signals inside the block."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _has_arrived(self) -> bool:
        """Whether a signal has come whose handler has not run yet."""
        if self._pipe is None:
            return False
        try:
            numbers = os.read(self._pipe, 64)
        except BlockingIOError:
            return False
        return any(number in numbers for number in SIGNALS)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            os._exit(Stopped.exit_status)
        self.requested = True
        if not self._deferred:
            raise Stopped
