"""The default training job as a process: from ``/opt/ml`` to an exit status.

``main`` is what the container, the toolkit and the ``treeline train`` command all call.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from treeline import failure, trainer
from treeline.compute import settle_native_threads
from treeline.console import Console
from treeline.errors import PlatformError, Stopped, TreelineError, failure_text
from treeline.opt_ml import Paths, read_job
from treeline.stopping import StopRequest
from treeline.supervisor import supervise


def main(root: Path, environ: Mapping[str, str]) -> int:
    """Run the job under ``root`` and return the exit status; see ``errors`` for the values."""
    return supervise(partial(train, root, environ), Paths(root).failure, insists=True)


def train(root: Path, environ: Mapping[str, str]) -> int:
    """Run the job in this process: train, or write why not."""
    settle_native_threads(os.environ)
    console = Console()
    warnings.showwarning = partial(_show_warning, console, {})
    file = Paths(root).failure
    try:
        file.unlink(missing_ok=True)  # an earlier run's, on a laptop
        with StopRequest().installed() as stop:
            trainer.run(read_job(root, environ), console, stop)
    except Stopped:
        console.line(
            "Stopped on request. No model was written: save_model_on_termination=true keeps the "
            "rounds trained so far, but for those of a job that is still among its folds."
        )
        return Stopped.exit_status
    except MemoryError as error:
        problem = PlatformError(
            f"Out of memory: {error}", "Use an instance with more memory, or less data."
        )
        problem.__cause__ = error
        return _fail(problem, file)
    except Exception as error:
        return _fail(error, file)
    return 0


def _show_warning(
    console: Console, said: dict[str, object], message: Warning | str, *_: object
) -> None:
    """Log a library's warning as a line: XGBoost's without its time stamp and C++ source line.

    Each text once: of folds side by side every one warns of the same.
    """
    text = re.sub(r"^\[[0-9:]+\] WARNING: \S+ ", "", " ".join(str(message).split()))
    mine = object()
    if said.setdefault(text, mine) is mine:  # one step, in whatever thread
        console.warning(text)


def _fail(error: Exception, file: Path) -> int:
    """Write the failure file and the log's last lines; return the exit status."""
    text = failure_text(error)
    # In the log a mistake of the user's needs no traceback; the file has it all the same.
    known = isinstance(error, TreelineError)
    print(f"ERROR: {error}" if known else f"ERROR: {text}", file=sys.stderr, flush=True)
    failure.write(file, text)
    return error.exit_status if isinstance(error, TreelineError) else 1
