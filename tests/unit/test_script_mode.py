"""What is done around a user's program; the toolkit itself is tried in the built image."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from treeline.script_mode import _kept_stderr, _own_error

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
