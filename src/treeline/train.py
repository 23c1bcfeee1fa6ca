"""The default training job as a process: from ``/opt/ml`` to an exit status.

``main`` is what the container, the toolkit and the ``treeline train`` command all call.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from treeline import failure, trainer
from treeline.compute import Cgroup, settle_native_threads
from treeline.console import Console
from treeline.failure import Outcome
from treeline.opt_ml import Paths, read_job
from treeline.stopping import StopRequest
from treeline.supervisor import supervise


def main(root: Path, environ: Mapping[str, str]) -> int:
    """Run the job under ``root`` and return the exit status; see ``errors`` for the values."""
    return supervise(partial(train, root, environ), Paths(root).failure, insists=True)


def train(root: Path, environ: Mapping[str, str]) -> int:
    """Run the job in this process, or in several that this one watches; or write why not."""
    settle_native_threads(os.environ)
    console = Console()
    file = Paths(root).failure
    with warnings_to(console), StopRequest().installed() as stop:
        ended = failure.outcome_of(partial(file.unlink, missing_ok=True))  # an earlier run's
        if ended.status == 0:
            ended = failure.outcome_of(partial(_run, root, environ, console, stop))
        return ended.settle(file)


def _run(
    root: Path, environ: Mapping[str, str], console: Console, stop: StopRequest
) -> Outcome | None:
    job = read_job(root, environ)
    plan = trainer.plan(job, Cgroup())
    if plan.several:
        from treeline import cluster  # few jobs need it

        return cluster.run(job, plan, console, stop)
    trainer.run(job, console, stop, plan.alone())
    return None


@contextmanager
def warnings_to(console: Console) -> Iterator[None]:
    """Have what libraries warn of become lines of ``console``."""
    before = warnings.showwarning
    warnings.showwarning = partial(_show_warning, console, {})
    try:
        yield
    finally:
        warnings.showwarning = before


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
