"""SIGTERM and SIGINT: the platform, or a person, asks the job to end.

Before the first round there is nothing to keep, so the signal ends the job where it stands.
While training or writing (inside ``deferred``) it is only noted, and whoever is at work looks
at ``requested`` when it has something whole in its hands. A second signal ends at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from treeline.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether the job was asked to stop; installed for as long as the ``with`` block runs."""

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False

    def check(self) -> None:
        """Raise ``Stopped`` if the job was asked to stop."""
        if self.requested:
            raise Stopped

    @contextmanager
    def installed(self) -> Iterator[StopRequest]:
        """Handle the signals inside the block."""
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note the signals inside the block."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            os._exit(Stopped.exit_status)
        self.requested = True
        if not self._deferred:
            raise Stopped
