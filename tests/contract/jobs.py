"""Runs a whole job as a process, as a user would; shared by the contract tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Ended:
    """How a job ended: exit status, what it printed, line by line."""

    status: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def round_lines(self) -> list[str]:
        return [line for line in self.lines if line.startswith("[")]


def command(root: Path) -> list[str]:
    return [sys.executable, "-m", "treeline.cli", "train", "--base-dir", str(root)]


def environment() -> dict[str, str]:
    """A job's environment: this one without what a platform would set."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("SM_", "SAGEMAKER_"))}


def run_job(root: Path) -> Ended:
    """Run the job under ``root`` to its end."""
    done = subprocess.run(
        command(root), capture_output=True, text=True, env=environment(), timeout=300, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def started(root: Path, until: Callable[[str], bool]) -> subprocess.Popen[str]:
    """Start the job and return when it has printed a line that ``until`` is true of."""
    process = subprocess.Popen(
        command(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if until(line):
            return process
    raise AssertionError(f"the job ended before: {process.communicate()}")


def binary_rows(rows: int, seed: int = 0, columns: int = 6) -> Rows:
    """Rows with a 0/1 label first, that can be learned but not perfectly; some values missing."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, columns)).round(3)
    y = (x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=rows) > 0).astype(float)
    x[random.random(x.shape) < 0.05] = np.nan
    return np.column_stack([y, x])


def number_rows(rows: int, seed: int = 0) -> Rows:
    """Rows with a positive real label first."""
    data = binary_rows(rows, seed)
    x = np.nan_to_num(data[:, 1:])
    data[:, 0] = np.exp(0.3 * x[:, 0] + 0.2 * np.abs(x[:, 1])).round(4)
    return data


def class_rows(rows: int, classes: int = 3, seed: int = 0) -> Rows:
    """Rows with a class number first."""
    data = number_rows(rows, seed)
    cuts = np.quantile(data[:, 0], np.linspace(0, 1, classes + 1)[1:-1])
    data[:, 0] = np.digitize(data[:, 0], cuts)
    return data
