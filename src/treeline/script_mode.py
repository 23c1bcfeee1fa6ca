"""Script mode: a user's own program, run by the ``sagemaker-training`` toolkit.

The program, its arguments, its environment and its ``requirements.txt`` are the toolkit's
business and unchanged. Two things around it are put right: the program gets SIGTERM, which the
toolkit does not hand on, and a host name that does not resolve ends the job within a minute
instead of after 15 silent ones.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

from treeline import hosts
from treeline.errors import TreelineError, failure_text
from treeline.opt_ml import Paths, read_job


def run(root: Path, environ: Mapping[str, str]) -> int:
    """Run the toolkit in this process and return its exit status."""
    signal.signal(signal.SIGTERM, _hand_to_children)
    signal.signal(signal.SIGINT, _hand_to_children)
    failure = Paths(root).failure
    failure.unlink(missing_ok=True)
    try:
        job = read_job(root, environ)
        others = [host for host in job.hosts.all if host != job.hosts.current]
        # One host needs no name: nobody looks for it.
        wanted = job.hosts.all if others else ()
        _use_toolkit(partial(hosts.wait_until_resolvable, wanted))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except TreelineError as error:
        print(f"ERROR: {error}", file=sys.stderr, flush=True)
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(failure_text(error), encoding="utf-8")
        return error.exit_status
    return 0


def _use_toolkit(wait_for_hosts: partial[None]) -> None:
    from sagemaker_training import entry_point
    from sagemaker_training.cli import train

    wait_for_hosts()
    entry_point._wait_hostname_resolution = lambda: None  # done, with a deadline
    train.main()


def _hand_to_children(number: int, frame: FrameType | None) -> None:
    children = list(_children())
    if not children:  # the program has not started, and now it should not
        os._exit(128 + number)
    for child in children:
        os.kill(child, number)


def _children() -> Iterable[int]:
    """Return the processes this one has started (Linux; sources: proc(5))."""
    own = os.getpid()
    for task in Path(f"/proc/{own}/task").iterdir():
        yield from (int(pid) for pid in (task / "children").read_text().split())
