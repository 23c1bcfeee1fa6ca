"""The supervisor with real processes.

Every case runs in an interpreter of its own: forking a test process that has threads is
unsafe, and the signals sent here must not reach pytest.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.waiting import eventually

PRELUDE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from treeline.compute import Cgroup
from treeline.supervisor import supervise
root = Path(sys.argv[1])
failure = root / "output" / "failure"
def ready(): print("ready", os.getpid(), flush=True)
def sleep():  # in naps: Python may miss a signal that arrives just before a sleep begins
    for _ in range(6000): time.sleep(0.01)
    return 0
def run(work): sys.exit(supervise(work, failure, Cgroup(root)))
"""
_started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """End what a failed test left running; its child dies with it."""
    yield
    while _started:
        process = _started.pop()
        process.kill()
        with process:
            pass


DIES = "run(lambda: os.kill(os.getpid(), {}) or sleep())"


@dataclass
class Case:
    """What a program ended with, and the failure file it left."""

    status: int
    out: str
    err: str
    failure: str


def program(code: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + code]


def start(code: str, root: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [*program(code), str(root)]
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environ)
    _started.append(process)
    return process


def end(process: subprocess.Popen[str], root: Path) -> Case:
    out, err = process.communicate(timeout=60)
    file = root / "output" / "failure"
    return Case(process.returncode, out, err, file.read_text() if file.exists() else "")


def supervised(code: str, root: Path) -> Case:
    return end(start(code, root), root)


def ready(process: subprocess.Popen[str]) -> int:
    """Wait for the child to say that it is at work; return its process id."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready "), line
    return int(line.split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("status", [0, 1, 3, 143])
def test_the_status_is_that_of_the_work(tmp_path: Path, status: int) -> None:
    case = supervised(f"run(lambda: {status})", tmp_path)
    assert case == Case(status, "", "", "")


def test_the_work_runs_in_another_process_and_its_output_is_not_lost(tmp_path: Path) -> None:
    code = """
parent = os.getpid()
print("before")
run(lambda: print(os.getpid() != parent == os.getppid(), end="") or 0)
"""
    case = supervised(code, tmp_path)
    assert (case.status, case.out) == (0, "before\nTrue")


@pytest.mark.parametrize(
    ("argument", "status", "err"),
    [("", 0, ""), ("0", 0, ""), ("7", 7, ""), ("None", 0, ""), ("'why not'", 1, "why not\n")],
)
def test_system_exit_means_what_it_means_to_python(
    tmp_path: Path, argument: str, status: int, err: str
) -> None:
    case = supervised(f"run(lambda: sys.exit({argument}))", tmp_path)
    assert case == Case(status, "", err, "")


def test_an_exception_that_escapes_the_work_is_shown(tmp_path: Path) -> None:
    case = supervised("run(lambda: 1 / 0)", tmp_path)
    assert (case.status, case.failure) == (1, "")
    assert case.err.endswith("ZeroDivisionError: division by zero\n")


def test_the_child_leaves_without_the_parents_clean_up(tmp_path: Path) -> None:
    code = "import atexit; atexit.register(print, 'once'); run(lambda: 0)"
    assert supervised(code, tmp_path).out == "once\n"


def test_the_child_never_returns_into_the_parents_code(tmp_path: Path) -> None:
    # The child's output leads nowhere: flushing it at the end fails.
    code = """
full = open("/dev/full", "w")
def work():
    sys.stdout = full
    print("lost")
    return 5
status = supervise(work, failure, Cgroup(root))
os.write(1, b"status %d\\n" % status)
os._exit(0)
"""
    case = supervised(code, tmp_path)
    assert (case.status, case.out) == (0, "status 5\n")


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGKILL, "The training process was killed by SIGKILL from outside"),
        (signal.SIGSEGV, "The training process crashed with SIGSEGV (signal 11) in native code"),
        (signal.SIGABRT, "The training process crashed with SIGABRT (signal 6) in native code"),
        (signal.SIGTERM, "The training process was ended from outside by SIGTERM (signal 15)"),
        (40, "The training process was ended from outside by a real-time signal (signal 40)"),
    ],
)
def test_a_death_by_signal_is_explained(tmp_path: Path, number: int, cause: str) -> None:
    case = supervised(DIES.format(int(number)), tmp_path)
    assert case.status == 128 + number
    lines = case.failure.splitlines()
    assert lines[0] == cause
    assert len(lines) == 2
    assert len(lines[1]) > 20
    assert case.err == f"ERROR: {case.failure}"


def test_what_a_killed_job_kept_on_disk_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = tmp_path / "places"
    (places / "treeline-of-another").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(places))
    code = """
from treeline.scratch import scratch_folder
def work():
    kept = scratch_folder("bins")
    folder = Path(kept.name)
    (folder / "below").mkdir()
    (folder / "below" / "bins").write_bytes(b"...")
    print(len(list(folder.parent.iterdir())), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return sleep()
run(work)
"""
    case = supervised(code, tmp_path)
    assert (case.status, case.out) == (137, "2\n")
    assert [each.name for each in places.iterdir()] == ["treeline-of-another"]


def test_a_death_without_a_place_for_the_failure_file_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file where the folder should be")
    case = subprocess.run(
        [*program(DIES.format(9)), tmp_path], capture_output=True, text=True, timeout=60
    )
    assert case.returncode == 137
    assert "ERROR: The training process was killed by SIGKILL" in case.stderr
    assert f"ERROR: {tmp_path / 'output' / 'failure'} could not be written" in case.stderr


def test_the_childs_own_failure_file_is_kept_behind_the_summary(tmp_path: Path) -> None:
    own = b"the child's cause \xff\xc3\xa9\nits remedy\n"
    code = f"""
def work():
    failure.parent.mkdir()
    failure.write_bytes({own!r})
    os.kill(os.getpid(), signal.SIGSEGV)
    return sleep()
run(work)
"""
    case = supervised(code, tmp_path)
    summary, rest = case.failure.split("\n\n", 1)
    assert summary.startswith("The training process crashed with SIGSEGV")
    assert summary.count("\n") == 1
    assert rest == "the child's cause \ufffdé\nits remedy\n"


def test_no_failure_file_is_touched_when_the_work_reports_by_itself(tmp_path: Path) -> None:
    code = """
def work():
    failure.parent.mkdir()
    failure.write_text("mine")
    return 1
run(work)
"""
    assert supervised(code, tmp_path) == Case(1, "", "", "mine")


def lay_cgroup(root: Path, kills: int) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("0::/\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text(f"{512 << 20}\n")
    (root / "sys/fs/cgroup/memory.events").write_text(f"oom 9\noom_kill {kills}\n")


OOM = """
def work():
    (root / "sys/fs/cgroup/memory.events").write_text("oom 9\\noom_kill 4\\n")
    {}
run(work)
"""


@pytest.mark.parametrize(
    ("how", "status"), [("os.kill(os.getpid(), 9); return sleep()", 137), ("return 1", 1)]
)
def test_the_kernels_counter_tells_a_death_for_memory(
    tmp_path: Path, how: str, status: int
) -> None:
    lay_cgroup(tmp_path, kills=3)
    case = supervised(OOM.format(how), tmp_path)
    assert case.status == status
    cause, remedy = case.failure.splitlines()
    assert cause == (
        "The job was killed for memory: it went over the container's memory limit of 512 MiB"
    )
    assert "more memory" in remedy


def test_a_job_that_survived_a_death_for_memory_is_no_failure(tmp_path: Path) -> None:
    lay_cgroup(tmp_path, kills=3)
    assert supervised(OOM.format("return 0"), tmp_path) == Case(0, "", "", "")


@pytest.mark.parametrize("status", ["os.kill(os.getpid(), 9) or sleep()", "1"])
def test_an_earlier_death_for_memory_is_not_this_jobs(tmp_path: Path, status: str) -> None:
    lay_cgroup(tmp_path, kills=4)
    case = supervised(OOM.format(f"return {status}"), tmp_path)
    assert "killed for memory" not in case.failure


def test_a_death_for_memory_without_a_known_limit(tmp_path: Path) -> None:
    lay_cgroup(tmp_path, kills=3)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    case = supervised(OOM.format("os.kill(os.getpid(), 9); return sleep()"), tmp_path)
    assert case.failure.startswith("The job was killed for memory: it went over memory\n")


COUNTS = """
counts = []
def noted(number, frame): counts.append(signal.Signals(number).name)
def work():
    for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, noted)
    ready()
    while not counts: time.sleep(0.01)
    time.sleep(0.3)  # for a second one, if there is one
    print(counts)
    return 5
run(work)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_once(tmp_path: Path, number: signal.Signals) -> None:
    process = start(COUNTS, tmp_path)
    ready(process)
    process.send_signal(number)
    case = end(process, tmp_path)
    assert (case.status, case.out, case.failure) == (5, f"['{number.name}']\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_that_ends_by_the_signal_handed_on_is_no_failure(
    tmp_path: Path, number: signal.Signals
) -> None:
    code = f"""
def work():
    signal.signal({int(number)}, signal.SIG_DFL)
    ready()
    return sleep()
run(work)
"""
    process = start(code, tmp_path)
    ready(process)
    process.send_signal(number)
    case = end(process, tmp_path)
    assert (case.status, case.err, case.failure) == (128 + number, "", "")


def test_a_second_signal_ends_work_that_hears_none(tmp_path: Path) -> None:
    process = start(
        """
def work():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # native code, which runs no handler
    ready()
    return sleep()
sys.exit(supervise(work, failure, Cgroup(root), insists=True))
""",
        tmp_path,
    )
    child = ready(process)
    process.terminate()
    time.sleep(0.3)
    assert alive(child)
    process.terminate()
    case = end(process, tmp_path)
    assert (case.status, case.failure) == (143, "")


def test_a_crash_after_a_stop_is_still_reported(tmp_path: Path) -> None:
    code = """
def work():
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getpid(), signal.SIGSEGV))
    ready()
    return sleep()
run(work)
"""
    process = start(code, tmp_path)
    ready(process)
    process.terminate()
    case = end(process, tmp_path)
    assert case.status == 139
    assert "SIGSEGV" in case.failure


def test_a_signal_before_the_fork_is_over_is_not_lost(tmp_path: Path) -> None:
    # Blocked while there is nobody to hand it to, and handed over afterwards.
    code = """
fork = os.fork
def signalled_fork():
    os.kill(os.getpid(), signal.SIGTERM)
    return fork()
os.fork = signalled_fork
run(lambda: sleep())
"""
    assert supervised(code, tmp_path).status == 143


def test_a_signal_just_before_the_wait_is_not_lost(tmp_path: Path) -> None:
    # Blocked, it stays until it is taken; a handler of Python's could run when all is over.
    code = """
sigwait = signal.sigwait
def late(numbers):
    signal.sigwait = sigwait
    os.kill(os.getpid(), signal.SIGTERM)
    return sigwait(numbers)
signal.sigwait = late
run(sleep)
"""
    assert supervised(code, tmp_path).status == 143


def test_the_end_is_noticed_where_ends_were_ignored(tmp_path: Path) -> None:
    code = "signal.signal(signal.SIGCHLD, signal.SIG_IGN); run(lambda: 4)"
    assert supervised(code, tmp_path).status == 4


def test_a_signal_just_after_the_end_is_no_error(tmp_path: Path) -> None:
    # There is nobody left to hand it to, and the job has its outcome.
    code = """
waitpid = os.waitpid
def late(pid, options):
    ended = waitpid(pid, options)
    os.kill(os.getpid(), signal.SIGTERM)
    return ended
os.waitpid = late
run(lambda: 6)
"""
    case = supervised(code, tmp_path)
    assert (case.status, case.err) == (6, "")


def test_handlers_and_mask_are_put_back(tmp_path: Path) -> None:
    code = """
before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
supervise(lambda: 0, failure, Cgroup(root))
assert before == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""
    assert supervised(code, tmp_path).status == 0


def test_the_child_has_no_signal_blocked(tmp_path: Path) -> None:
    code = "run(lambda: len(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    assert supervised(code, tmp_path).status == 0


def test_ctrl_c_at_a_terminal_arrives_once(tmp_path: Path) -> None:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [
            *program("import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)" + COUNTS),
            tmp_path,
        ],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        start_new_session=True,
    )
    os.close(secondary)
    text = b""
    while b"ready" not in text:
        text += os.read(primary, 1024)
    os.write(primary, b"\x03")  # to the whole foreground group
    assert process.wait(timeout=60) == 5
    while b"]" not in text:
        text += os.read(primary, 1024)
    os.close(primary)
    assert re.search(rb"\[[^]]*\]", text) is not None
    assert b"['SIGINT']" in text


def test_the_child_is_stopped_when_its_parent_dies(tmp_path: Path) -> None:
    process = start("run(lambda: ready() or sleep())", tmp_path)
    child = ready(process)
    assert alive(child)
    process.kill()
    process.wait()
    assert eventually(lambda: not alive(child), 10)
    end(process, tmp_path)


def test_a_child_whose_parent_is_dead_already_does_not_begin(tmp_path: Path) -> None:
    # The parent dies between the fork and the request to die with it.
    code = """
parent, setpgid = os.getpid(), os.setpgid
def slow(*ids):
    setpgid(*ids)
    os.kill(os.getppid(), signal.SIGKILL)
    while os.getppid() == parent: time.sleep(0.01)
os.setpgid = slow
run(lambda: (root / "begun").touch() or 0)
"""
    process = start(code, tmp_path)
    out, err = process.communicate(timeout=60)  # ends when the child, too, has closed them
    assert (process.returncode, out, err) == (-9, "", "")
    assert not (tmp_path / "begun").exists()


def test_process_1_reaps_what_others_leave_behind(tmp_path: Path) -> None:
    code = """
import ctypes
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans come here, as to process 1
real = os.getpid()
os.getpid = lambda: 1 if sys._getframe(1).f_code.co_name == "_reap" else real
def work():
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(9)
        os._exit(0)
    os.wait()
    def children(): return len(Path(f"/proc/{real}/task/{real}/children").read_text().split())
    for _ in range(1000):
        if children() == 1: break
        time.sleep(0.01)
    return children()
run(work)
"""
    assert supervised(code, tmp_path).status == 1  # the child itself and no zombie
