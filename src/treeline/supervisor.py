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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from treeline import failure, scratch
from treeline.compute import Cgroup
from treeline.errors import REPORT_IT, PlatformError, TreelineError
from treeline.stopping import SIGNALS

_AWAITED = (*SIGNALS, signal.SIGCHLD)
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
    with _awaited():
        child = os.fork()
        if child == 0:
            _become_child(work, parent)
        status, signals = _wait(child, insists)
    code = os.waitstatus_to_exitcode(status)
    if insists and signals > 1 and code == -signal.SIGKILL:
        code = -signal.SIGTERM  # which it was sent first, and had no time to obey
    for_memory = cgroup.oom_kills() > kills_before
    if code < 0 and not (signals and -code in SIGNALS):
        _report(_death(-code, for_memory, cgroup.memory_limit()), file)
    elif code > 0 and for_memory:  # not the child itself but a process of the user's program
        _report(_death(signal.SIGKILL, for_memory, cgroup.memory_limit()), file)
    scratch.sweep()
    return code if code >= 0 else 128 - code


def _become_child(work: Callable[[], int], parent: int) -> NoReturn:
    """Run ``work`` in the forked process and leave without the parent's clean-up."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
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


@contextmanager
def _awaited() -> Iterator[None]:
    """Hold the signals back inside the block, for ``sigwait`` to take one after the other.

    A handler would not do: of a signal that arrives just before a system call that waits, Python
    takes notice only after that call, which may be when the work is over.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    # Ignored, as a process may be started with it, the signal would never come.
    before = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    try:
        yield
    finally:
        for number in signal.sigpending() & set(_AWAITED):  # for work that has ended
            signal.sigwait({number})
        signal.signal(signal.SIGCHLD, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _wait(child: int, insists: bool) -> tuple[int, int]:
    """Wait for ``child``, handing on signals and reaping whatever else ends.

    Return its wait status and how many signals were handed on.
    """
    signals = 0
    while True:
        number = signal.sigwait(_AWAITED)
        if number in SIGNALS:
            signals += 1
            # Not reaped yet, the child is there to be sent it even when it has ended.
            os.kill(child, signal.SIGKILL if insists and signals > 1 else number)
        elif (status := _reap(child)) is not None:
            return status, signals


def _reap(child: int) -> int | None:
    """Return the wait status of ``child`` if it has ended; let the orphans go that ended, too."""
    while True:
        ended, status = os.waitpid(-1 if os.getpid() == 1 else child, os.WNOHANG)
        if ended == child:
            return status
        if ended == 0:
            return None


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
