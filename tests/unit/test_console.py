"""The log, byte for byte, and a real terminal with its live line."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from treeline.console import Console

METRICS = "[{}]\ttrain-rmse:0.50000\tvalidation-rmse:0.60000"
PROGRAM = """
import sys
from treeline.console import Console
console = Console()
console.line("header")
console.start(50)
for i in range(50):
    console.line(f"[{i}]\\ttrain-rmse:0.50000\\tvalidation-rmse:0.60000")
    console.advance("rmse 0.60000")
console.finish()
console.finish()
console.warning("the end")
"""
LOG = "".join(["header\n", *(METRICS.format(i) + "\n" for i in range(50)), "WARNING: the end\n"])


def test_a_log_has_the_lines_and_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == LOG.encode()


def terminal(code: str) -> str:
    """Run ``code`` on a terminal of 80 columns and return all it wrote."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
    )
    os.close(secondary)
    written = b""
    try:
        while chunk := os.read(primary, 65536):
            written += chunk
    except OSError:  # how a terminal says that the other side is gone
        pass
    os.close(primary)
    assert process.wait(timeout=60) == 0, written
    return written.decode()


def screen(written: str) -> list[str]:
    """Return the lines a person sees in the end: \\r goes back, later text covers earlier."""
    lines = []
    for raw in written.replace("\r\n", "\n").split("\n"):
        line = ""
        for part in re.sub(r"\x1b\[[A-Z]", "", raw).split("\r"):
            line = part + line[len(part) :]
        lines.append(line.rstrip())
    return lines


def test_a_terminal_shows_a_live_line_below_whole_lines() -> None:
    written = terminal(
        PROGRAM.replace("console.advance", "__import__('time').sleep(.01);console.advance")
    )
    live = re.findall(r"(\d+)/50 rounds \|[^|]*\| [\d:?]+ left, rmse 0.60000", written)
    assert len(live) > 2
    assert int(live[-1]) > 2
    for i in range(50):  # each metric line in one piece, at the start of a line of its own
        assert re.search(r"(^|[\r\n])" + re.escape(METRICS.format(i)) + r"\r\n", written)
    assert screen(written) == LOG.replace("\r", "").split("\n")


def test_without_start_a_terminal_gets_plain_lines() -> None:
    code = "c = Console(); c.advance('x'); c.line('y'); c.finish()"
    assert terminal("from treeline.console import Console; " + code) == "y\r\n"


@pytest.mark.parametrize("unbuffered", [False, True])  # True: PYTHONUNBUFFERED, set in many images
def test_every_line_arrives_at_once_in_one_write(unbuffered: bool) -> None:
    class Raw(io.RawIOBase):
        def __init__(self) -> None:
            self.writes: list[bytes] = []

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.writes.append(bytes(data))  # type: ignore[call-overload]
            return len(self.writes[-1])

    raw = Raw()
    stream: Any = raw if unbuffered else io.BufferedWriter(raw)
    console = Console(io.TextIOWrapper(stream, encoding="utf-8", write_through=unbuffered))
    console.line("one\ttwo")
    assert raw.writes == [b"one\ttwo\n"]
    console.warning("three")
    assert raw.writes[1:] == [b"WARNING: three\n"]


def test_what_the_log_cannot_spell_does_not_end_the_job(tmp_path: Path) -> None:
    code = "from treeline.console import Console; Console().line('skipped: \\udcff ü')"
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environ)
    assert (done.stdout, done.returncode) == (rb"skipped: \udcff \xfc" + b"\n", 0)


def test_elapsed_is_the_time_since_it_was_made() -> None:
    console = Console(io.StringIO())
    time.sleep(0.02)
    assert 0.02 <= console.elapsed() < 5
