"""Process 1: starts the training process, hands it signals, and reports how it ended.

A process that the kernel kills for memory, or that crashes in native code, cannot say so
itself; this one can, because it holds next to nothing and the kernel picks the larger one. It
uses the standard library only and forks before anything heavy is imported (measured: 2 ms).

It is also what a container's process 1 has to be: without a handler of its own the kernel
would drop SIGTERM, and orphaned processes would stay as zombies.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from treeline import failure
from treeline.compute import Cgroup
from treeline.errors import REPORT_IT, PlatformError, TreelineError

_FORWARDED = (signal.SIGTERM, signal.SIGINT)
# What native code dies of by itself; any other signal was sent by somebody.
_CRASHES = (
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSYS,
    signal.SIGTRAP,
)


def supervise(
    work: Callable[[], int], file: Path, cgroup: Cgroup | None = None, *, insists: bool = False
) -> int:
    """Run ``work`` in a process of its own and return the exit status of the whole job.

    With ``insists`` a second signal ends it at once: while native code is at work, which may take
    minutes a round, Python runs no handler and takes several signals for one.
    ``file`` is the failure file, where a death by signal is explained. The status is that of
    ``work``, or 128 plus the number of the signal that killed it.
    """
    cgroup = cgroup or Cgroup()
    kills_before = cgroup.oom_kills()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # Held back until there is somebody to hand them to.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = os.fork()
    if child == 0:
        _become_child(work, parent)
    status, signals = _wait(child, insists)
    stopped = signals > 0
    code = os.waitstatus_to_exitcode(status)
    if insists and signals > 1 and code == -signal.SIGKILL:
        return 128 + signal.SIGTERM
    for_memory = cgroup.oom_kills() > kills_before
    if code < 0 and not (stopped and -code in _FORWARDED):
        _report(_death(-code, for_memory, cgroup.memory_limit()), file)
    elif code > 0 and for_memory:  # not the child itself but a process of the user's program
        _report(_death(signal.SIGKILL, for_memory, cgroup.memory_limit()), file)
    return code if code >= 0 else 128 - code


def _become_child(work: Callable[[], int], parent: int) -> NoReturn:
    """Run ``work`` in the forked process and leave without the parent's clean-up."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        # A group of its own, so that a Ctrl-C at the terminal arrives once, by way of the parent.
        os.setpgid(0, 0)
        _die_with(parent)
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):  # sys.exit("why")
            print(error.code, file=sys.stderr)
    except BaseException:
        # work() reports its own failures; this is a fault in the reporting itself.
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # whatever became of the output, never on into the parent's code
            os._exit(code)


def _die_with(parent: int) -> None:
    """Ask Linux to stop this process when its parent dies, so that none is left behind."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))  # 1 = PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)


def _wait(child: int, insists: bool) -> tuple[int, int]:
    """Wait for ``child``, handing on signals and reaping whatever else ends.

    Return its wait status and how many signals were handed on.
    """
    signals = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, signal.SIGKILL if insists and signals > 1 else number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    try:
        while True:
            ended, status = os.waitpid(-1 if os.getpid() == 1 else child, 0)
            if ended == child:
                return status, signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _death(number: int, for_memory: bool, limit: int | None) -> TreelineError:
    if for_memory:
        amount = f"the container's memory limit of {limit / 2**20:,.0f} MiB" if limit else "memory"
        return PlatformError(
            f"The job was killed for memory: it went over {amount}",
            "Use an instance with more memory (docker run --memory for a local one), or less "
            "data: fewer rows or columns, or a smaller max_bin (a forest's is n_bins).",
        )
    if number == signal.SIGKILL:
        return PlatformError(
            "The training process was killed by SIGKILL from outside",
            "If nobody sent it, the machine ran out of memory: use an instance with more, "
            "or less data.",
        )
    if number not in _CRASHES:
        return PlatformError(
            f"The training process was ended from outside by {_name(number)} (signal {number})",
            "Find out what sends it; to stop a job send SIGTERM to process 1.",
        )
    return PlatformError(
        f"The training process crashed with {_name(number)} (signal {number}) in native code",
        f"{REPORT_IT} A damaged data file can be the cause: write it again.",
    )


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "a real-time signal"


def _report(error: TreelineError, file: Path) -> None:
    """Tell the log and the failure file how the process ended."""
    print(f"ERROR: {error}", file=sys.stderr, flush=True)
    failure.put_first(file, error)
