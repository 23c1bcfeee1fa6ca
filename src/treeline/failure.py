"""``output/failure``: the one place that writes it.

By then the job has failed already, so a problem with the file is told to the log and goes no
further.
"""

from __future__ import annotations

import sys
from pathlib import Path

from treeline.errors import failure_summary


def write(file: Path, text: str) -> None:
    """Write ``text`` as the whole file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as problem:
        print(f"ERROR: {file} could not be written: {problem}", file=sys.stderr, flush=True)


def put_first(file: Path, error: BaseException) -> None:
    """Put the cause and the remedy of ``error`` in front of what the file says already."""
    try:
        earlier = file.read_text("utf-8", "replace") if file.exists() else ""
    except OSError:
        earlier = ""
    write(file, failure_summary(error) + ("\n" + earlier if earlier else ""))
