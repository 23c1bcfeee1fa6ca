"""Script mode: a user's own program, run by the ``sagemaker-training`` toolkit.

The program, its arguments, its environment and its ``requirements.txt`` are the toolkit's
business and unchanged. Three things around it are put right:

- the program gets SIGTERM, which the toolkit does not hand on;
- a host name that does not resolve ends the job within a minute, not after 15 silent ones;
- the failure file begins with the program's own error; the toolkit's text has an empty message.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from treeline import failure, hosts
from treeline.errors import TreelineError, UserError, failure_text
from treeline.opt_ml import PROGRAM, Job, Paths, read_job

_TAIL = 16384  # bytes of the program's stderr that are kept to find its error in


def run(root: Path, environ: Mapping[str, str]) -> int:
    """Run the toolkit in this process and return its exit status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _hand_to_children)
    file = Paths(root).failure
    try:
        file.unlink(missing_ok=True)
        job = read_job(root, environ)
        if len(job.hosts.all) > 1:  # a host alone is looked up by nobody
            hosts.wait_until_resolvable(job.hosts.all)
    except TreelineError as error:
        print(f"ERROR: {error}", file=sys.stderr, flush=True)
        failure.write(file, failure_text(error))
        return error.exit_status
    with _kept_stderr() as tail:
        status = _toolkit(job)
    if status != 0:
        _explain(file, status, tail)
    return status


def _toolkit(job: Job) -> int:
    if job.hyperparameters.get(PROGRAM):
        # To the toolkit the variable, which the image sets, would outweigh the user's own.
        os.environ.pop(PROGRAM.upper(), None)
    from sagemaker_training import entry_point
    from sagemaker_training.cli import train

    entry_point._wait_hostname_resolution = lambda: None  # done, with a deadline
    try:
        train.main()  # ends by SystemExit, always
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextmanager
def _kept_stderr() -> Iterator[bytearray]:
    """Pass stderr through, of this process and those it starts, and keep the end of it."""
    tail = bytearray()
    real = os.dup(2)
    source, sink = os.pipe()

    def pump() -> None:
        while block := os.read(source, 65536):
            os.write(real, block)
            tail.extend(block)
            del tail[:-_TAIL]

    pumping = threading.Thread(target=pump, daemon=True)
    pumping.start()
    os.dup2(sink, 2)
    os.close(sink)
    try:
        yield tail
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)
        # A process left behind by the program may hold its end open; nothing waits for it.
        pumping.join(timeout=1.0)


def _explain(file: Path, status: int, tail: bytearray) -> None:
    """Put the program's own error in front of the toolkit's text."""
    cause = _own_error(tail.decode("utf-8", "replace"))
    if cause is None:
        return
    remedy = f"The training program ended with it (exit status {status})."
    failure.put_first(file, UserError(cause, remedy))


def _own_error(stderr: str) -> str | None:
    """Return the line that names the error: the exception of the last traceback, or the last."""
    lines = stderr.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    after = lines[starts[-1] + 1 :] if starts else []
    exceptions = [line for line in after if line.strip() and not line[0].isspace()]
    if exceptions:
        return exceptions[0]
    written = [line.strip() for line in lines if line.strip()]
    return written[-1] if written else None


def _hand_to_children(number: int, frame: FrameType | None) -> None:
    children = list(_children())
    if not children:  # the program has not started, and now it should not
        os._exit(128 + number)
    for child in children:
        os.kill(child, number)


def _children() -> Iterable[int]:
    """Return the processes this one has started (Linux; source: proc(5))."""
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        yield from (int(pid) for pid in (task / "children").read_text().split())
