"""How a job ends, and ``output/failure``: the one place that writes it.

By then the job has failed already, so a problem with the file is told to the log and goes no
further.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from treeline.errors import (
    PlatformError,
    Stopped,
    TeamError,
    TreelineError,
    failure_summary,
    failure_text,
)

STOPPED = (
    "Stopped on request. No model was written: save_model_on_termination=true keeps the rounds "
    "trained so far, but for those of a job that is still among its folds."
)


def write(file: Path, text: str) -> None:
    """Write ``text`` as the whole file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        print(f"ERROR: {file} could not be written: {problem}", file=sys.stderr, flush=True)


def put_first(file: Path, error: BaseException) -> None:
    """Put the cause and the remedy of ``error`` in front of what the file says already."""
    try:
        earlier = file.read_text("utf-8", "replace") if file.exists() else ""
    except OSError:
        earlier = ""
    write(file, failure_summary(error) + ("\n" + earlier if earlier else ""))


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its exit status, what the log says last, and the failure file's text.

    ``follows`` is whether it ended only because another worker had ended before.
    """

    status: int = 0
    said: str = ""
    text: str = ""
    follows: bool = False

    def settle(self, file: Path) -> int:
        """Write the log's last lines and the failure file, if it failed; return the status."""
        if self.said:
            print(self.said, file=sys.stderr if self.text else sys.stdout, flush=True)
        if self.text:
            write(file, self.text)
        return self.status


def outcome_of(work: Callable[[], Outcome | None]) -> Outcome:
    """Do ``work``, and return how it ended, which it may know itself."""
    try:
        return work() or Outcome()
    except Stopped:
        return Outcome(Stopped.exit_status, STOPPED)
    except MemoryError as error:
        problem = PlatformError(
            f"Out of memory: {error}", "Use an instance with more memory, or less data."
        )
        problem.__cause__ = error
        return failed(problem)
    except Exception as error:
        return failed(error)


def failed(error: Exception) -> Outcome:
    """Return how a job ends that ``error`` has ended."""
    text = failure_text(error)
    # In the log a mistake of the user's needs no traceback; the file has it all the same.
    known = isinstance(error, TreelineError)
    status = error.exit_status if isinstance(error, TreelineError) else 1
    said = f"ERROR: {error}" if known else f"ERROR: {text}"
    return Outcome(status, said, text, follows=isinstance(error, TeamError))
