"""Script mode: a user's own program, run by the ``sagemaker-training`` toolkit.

The program, its arguments, its environment and its ``requirements.txt`` are the toolkit's
business and unchanged, but for the two variables below. What is put right around it:

- the program gets SIGTERM, which the toolkit does not hand on; a shell script's program, too;
- a host name that does not resolve ends the job within a minute, not after 15 silent ones;
- the failure file begins with the program's own error; the toolkit's text has an empty message;
- ``SM_NETWORK_INTERFACE_NAME`` is an interface that exists: local mode names one that does not;
- ``SM_NUM_CPUS`` is the container's share of the machine, not what the machine has.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from treeline import failure, hosts
from treeline.compute import Cgroup
from treeline.errors import TreelineError, UserError, failure_text
from treeline.opt_ml import PROGRAM, Hosts, Job, Paths, read_job
from treeline.stopping import heard

_USUAL_INTERFACE = "eth0"  # where resourceconfig.json names none
_SHELLS = ("sh", "dash", "bash", "busybox")
_TOOLKIT = " sagemaker-training-toolkit "  # stands in every message of its log
_TAIL = 16384  # bytes of the program's stderr that are kept to find its error in


def run(root: Path, environ: Mapping[str, str]) -> int:
    """Run the toolkit in this process and return its exit status."""
    with _signals_handed_on():
        return _run(root, environ)


def _run(root: Path, environ: Mapping[str, str]) -> int:
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
    from sagemaker_training import entry_point, environment
    from sagemaker_training.cli import train

    try:
        given = environment.read_resource_config()
    except FileNotFoundError:  # a hand-made tree
        given = {}
    resources = _resources(given, job.hosts)
    environment.read_resource_config = lambda: resources
    environment.num_cpus = Cgroup().threads
    entry_point._wait_hostname_resolution = lambda: None  # done, with a deadline
    try:
        train.main()  # ends by SystemExit, always
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _resources(given: Mapping[str, Any], known: Hosts) -> dict[str, Any]:
    """Return resourceconfig.json with what it leaves out, and a network interface that exists."""
    named = known.network_interface
    interface = hosts.network_interface(named or _USUAL_INTERFACE, known.current)
    if named is not None and interface != named:
        print(
            f"Network interface {named!r}, which resourceconfig.json names, does not exist here: "
            f"SM_NETWORK_INTERFACE_NAME is {interface!r}.",
            flush=True,
        )
    usual = {"current_host": known.current, "hosts": list(known.all)}
    return {**usual, **given, "network_interface_name": interface}


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
    written = [line.strip() for line in _without_toolkit(lines) if line.strip()]
    return written[-1] if written else None


def _without_toolkit(lines: Sequence[str]) -> Sequence[str]:
    """Return what was written between the toolkit's last word before the failure and its report."""
    logged = [i for i, line in enumerate(lines) if _TOOLKIT in line]
    failed = [i for i in logged if "Reporting training FAILURE" in lines[i]]
    end = failed[-1] if failed else len(lines)
    return lines[max((i + 1 for i in logged if i < end), default=0) : end]


@contextmanager
def _signals_handed_on() -> Iterator[None]:
    """Hand SIGTERM and SIGINT to the program, whatever this process waits for meanwhile.

    A thread does it: a handler runs in the main thread, and there only after the system call that
    the signal just missed, which may be when the program is over.
    """
    read, write = os.pipe()

    def hand_on() -> None:
        while number := os.read(read, 1):
            _hand_to_children(number[0])

    handing = threading.Thread(target=hand_on, name="signals", daemon=True)
    handing.start()
    try:
        with heard(lambda number, frame: None, write):
            yield
    finally:
        os.close(write)
        handing.join()
        os.close(read)


def _hand_to_children(number: int) -> None:
    children = list(_children(os.getpid()))
    if not children:  # the program has not started, and now it should not
        os._exit(128 + number)
    for child in children:
        for receiver in _receivers(child, number):
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(receiver, number)


def _receivers(process: int, number: int) -> Iterator[int]:
    """Return who is to get a signal that is meant for the program that ``process`` runs.

    A program that is a shell script has one or two shells above it, which would die of the signal,
    and the container with them. A shell that does not catch it is passed over for its children.
    """
    below = list(_children(process)) if _is_mere_shell(process, number) else []
    for child in below:
        yield from _receivers(child, number)
    if not below:
        yield process


def _is_mere_shell(process: int, number: int) -> bool:
    folder = Path(f"/proc/{process}")
    try:
        if (folder / "exe").readlink().name not in _SHELLS:
            return False
        status = (folder / "status").read_text()
    except OSError:  # it has just ended
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return not int(caught.split()[1], 16) >> (number - 1) & 1


def _children(process: int) -> Iterable[int]:
    """Return the processes that ``process`` has started (Linux; source: proc(5))."""
    with suppress(OSError):  # it has just ended
        for task in Path(f"/proc/{process}/task").iterdir():
            yield from (int(pid) for pid in (task / "children").read_text().split())
