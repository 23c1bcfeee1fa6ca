"""Folders for what a job keeps on disk while it runs; gone with it, however it ends.

A process removes its own. One that is killed cannot, so the supervisor, of which it is a fork,
removes what bears the mark they share. (Rows are in files without a name, which need no care.)
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

_PREFIX = f"treeline-{os.urandom(6).hex()}-"
_PATIENCE_S = 2.0  # for processes that die with the one that was killed, and may still write


def scratch_folder(purpose: str) -> TemporaryDirectory[str]:
    """Return a new folder, which is removed at the end of a ``with`` block."""
    return TemporaryDirectory(prefix=f"{_PREFIX}{purpose}-")


def sweep() -> None:
    """Remove the folders of this process and its forks, as far as they can be removed."""
    until = time.monotonic() + _PATIENCE_S
    while left := list(Path(gettempdir()).glob(f"{_PREFIX}*")):
        for each in left:
            shutil.rmtree(each, ignore_errors=True)
        if time.monotonic() > until:
            return
        time.sleep(0.02)
