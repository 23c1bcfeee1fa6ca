"""What is done around a user's program; the toolkit itself is tried in the built image."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from treeline import hosts
from treeline.opt_ml import Hosts
from treeline.script_mode import _kept_stderr, _own_error, _receivers, _resources

TRACEBACK = """\
loading
Traceback (most recent call last):
  File "mine.py", line 3, in <module>
    1/0
ZeroDivisionError: division by zero
"""


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        (TRACEBACK, "ZeroDivisionError: division by zero"),
        (TRACEBACK + "cleaning up\n", "ZeroDivisionError: division by zero"),
        (TRACEBACK.replace("division by zero", "first\nsecond"), "ZeroDivisionError: first"),
        (TRACEBACK + "\nDuring handling …\n\n" + TRACEBACK.replace("Zero", "Null"), None),
        ("python: can't open file 'x.py'\n\n", "python: can't open file 'x.py'"),
        ("", None),
        ("\n \n", None),
    ],
)
def test_the_programs_own_error_is_found(stderr: str, error: str | None) -> None:
    expected = error or ("NullDivisionError: division by zero" if "Null" in stderr else None)
    assert _own_error(stderr) == expected


START = """\
2026-01-01 00:00:00,000 sagemaker-training-toolkit INFO     Failed to parse … to Json.
Returning the value itself
2026-01-01 00:00:00,000 sagemaker-training-toolkit INFO     Exceptions not imported …
"""
END = """\
2026-01-01 00:00:00,000 sagemaker-training-toolkit ERROR    Reporting training FAILURE
2026-01-01 00:00:00,000 sagemaker-training-toolkit ERROR    ExecuteUserScriptError:
ExitCode 1
ErrorMessage ""
Command "/opt/treeline/bin/python -- mine.py"
2026-01-01 00:00:00,000 sagemaker-training-toolkit ERROR    Encountered exit_code 1
"""


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        (START + "warming up\nthe data are missing\n" + END, "the data are missing"),
        (START + END, None),
        ("the data are missing\n" + END, "the data are missing"),
        (START + TRACEBACK + END, "ZeroDivisionError: division by zero"),
        (START + END + TRACEBACK, "ZeroDivisionError: division by zero"),  # of a module it imported
    ],
    ids=["sys.exit", "silent", "cut", "traceback", "module"],
)
def test_the_toolkits_own_lines_are_not_the_programs_error(stderr: str, error: str | None) -> None:
    assert _own_error(stderr) == error


@pytest.mark.parametrize(
    ("script", "receiver"),
    [
        ("sleep 60; true", "sleep"),
        ("sh -c 'sleep 60; true'; true", "sleep"),
        ("trap 'exit 3' TERM; sleep 60; true", "the shell"),
        ("exec sleep 60", "the child"),
    ],
)
def test_a_signal_goes_past_shells_that_do_not_catch_it(script: str, receiver: str) -> None:
    child = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not (found := _names_below(child.pid)) or found[-1] != "sleep":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        receivers = list(_receivers(child.pid, signal.SIGTERM))
        assert len(receivers) == 1
        assert (receivers[0] == child.pid) == (receiver != "sleep")
        assert _names_below(receivers[0])[-1] == "sleep"
        assert len(_names_below(receivers[0])) == (2 if receiver == "the shell" else 1)
        if receiver == "sleep":
            os.kill(receivers[0], signal.SIGTERM)
            assert child.wait(60) == 0  # the shell went on
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _names_below(pid: int) -> list[str]:
    """The names of a process and of its youngest descendants, in this order."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,comm="], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    names = [row[2] for row in rows if int(row[0]) == pid]
    for row in rows:
        if int(row[1]) == pid:
            names += _names_below(int(row[0]))
    return names


def test_stderr_passes_through_and_its_end_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    script = "import sys; sys.stderr.write('x' * 40000 + 'the end')"
    with _kept_stderr() as tail:
        subprocess.run([sys.executable, "-c", script], check=True)
        os.write(2, b"!")
    assert tail.endswith(b"xthe end!")
    assert len(tail) == 16384
    os.write(2, b"after")
    assert capfd.readouterr().err == "x" * 40000 + "the end!" + "after"


def test_a_process_left_behind_does_not_hold_the_job_up() -> None:
    with _kept_stderr():
        left = subprocess.Popen(["sleep", "30"])
    left.kill()
    left.wait()


TWO = ("algo-1", "algo-2")


def test_what_resourceconfig_leaves_out_is_there_for_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "network_interface", lambda named, current: named)
    assert _resources({}, Hosts("algo-1", ("algo-1",))) == {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "network_interface_name": "eth0",
    }
    assert capsys.readouterr().out == ""


def test_a_network_interface_that_exists_is_the_programs_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "network_interface", lambda named, current: named)
    given = {"current_host": "algo-2", "hosts": list(TWO), "network_interface_name": "eth7"}
    assert _resources(given, Hosts("algo-2", TWO, "eth7")) == given
    assert capsys.readouterr().out == ""


def test_one_that_does_not_is_replaced_and_said_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "network_interface", lambda named, current: f"{current}-net")
    given = {"hosts": ["algo-2", "algo-1"], "network_interface_name": "ethwe", "more": 1}
    found = _resources(given, Hosts("algo-2", TWO, "ethwe"))
    assert found == {
        "current_host": "algo-2",
        "hosts": ["algo-2", "algo-1"],
        "network_interface_name": "algo-2-net",
        "more": 1,
    }
    said = capsys.readouterr().out
    assert "'ethwe'" in said
    assert "SM_NETWORK_INTERFACE_NAME is 'algo-2-net'" in said
    assert said.count("\n") == 1
