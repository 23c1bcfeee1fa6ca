"""What a person sees: plain lines in a log, and on a terminal a live line below them.

Lines are written whole and at once, because a log that arrives late tells a tuner nothing.
"""

from __future__ import annotations

import io
import sys
import time
from typing import Any, TextIO


class Console:
    """Prints lines; between ``start`` and ``finish`` a terminal also shows the progress."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if isinstance(self._stream, io.TextIOWrapper):
            # A file name that the log cannot spell must not end the job that prints it.
            self._stream.reconfigure(errors="backslashreplace")
        self._bar: Any = None
        self._started = time.monotonic()

    def line(self, text: str) -> None:
        """Print one line, flushed."""
        if self._bar is not None:
            self._bar.clear()
        # One write for the line and its end: nothing of another process comes in between.
        self._stream.write(text + "\n")
        self._stream.flush()
        if self._bar is not None:
            self._bar.refresh()

    def warning(self, text: str) -> None:
        """Print a line that asks for attention."""
        self.line(f"WARNING: {text}")

    def start(self, rounds: int) -> None:
        """Show how far training has come, if this is a terminal."""
        if self._stream.isatty():
            from tqdm import tqdm

            tqdm.monitor_interval = 0  # no thread to watch over a bar that is always moved
            self._bar = tqdm(
                total=rounds,
                file=self._stream,
                unit="round",
                leave=False,
                dynamic_ncols=True,
                bar_format="{n_fmt}/{total_fmt} rounds |{bar}| {remaining} left{postfix}",
            )

    def advance(self, best: str) -> None:
        """One more round is done; ``best`` is the best score so far, in words."""
        if self._bar is not None:
            self._bar.set_postfix_str(best, refresh=False)
            self._bar.update()

    def finish(self) -> None:
        """Take the live line away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def elapsed(self) -> float:
        """Return the seconds since this console was made."""
        return time.monotonic() - self._started
