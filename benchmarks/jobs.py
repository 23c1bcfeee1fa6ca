"""Sample jobs to measure, and how a command is measured: the whole process tree, by the kernel."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HYPERPARAMETERS = {"objective": "binary:logistic", "num_round": "100", "max_depth": "6"}


@dataclass(frozen=True)
class Cost:
    """What one run cost: CPU (user + system) and wall seconds, MiB of the largest process."""

    cpu: float
    wall: float
    peak: float


CONTENT_TYPES = {"csv": "text/csv", "parquet": "application/x-parquet"}


def make_tree(root: Path, rows: int, columns: int, kind: str = "csv") -> Path:
    """Make an /opt/ml tree with a CSV or Parquet file of that size, unless it is there."""
    file = data_file(root, kind)
    if not file.exists():
        file.parent.mkdir(parents=True)
        random = np.random.default_rng(7)
        x = random.normal(size=(rows, columns)).round(4)
        y = x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=rows) > 0
        _write(file, {"y": y.astype(np.int8), **{f"x{i}": x[:, i] for i in range(columns)}})
        config = root / "input" / "config"
        config.mkdir(parents=True)
        channel = {"ContentType": CONTENT_TYPES[kind], "TrainingInputMode": "File"}
        (config / "inputdataconfig.json").write_text(json.dumps({"train": channel}))
        (config / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS))
    return root


def make_tree_apart(root: Path, rows: int, columns: int, kind: str = "csv") -> Path:
    """Do ``make_tree`` in a process of its own.

    The peak memory of a child counts from what its parent held when it was started.
    """
    arguments = [str(root), str(rows), str(columns), kind]
    subprocess.run([sys.executable, "-m", "benchmarks.jobs", *arguments], check=True)
    return root


def data_file(root: Path, kind: str) -> Path:
    """Return where ``make_tree`` puts the rows."""
    return root / "input" / "data" / "train" / f"rows.{kind}"


def _write(file: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    if file.suffix == ".csv":
        csv.write_csv(pa.table(columns), file, csv.WriteOptions(include_header=False))
    else:
        narrow = {name: column.astype(np.float32) for name, column in columns.items()}
        parquet.write_table(pa.table(narrow), file)


def run_inside(image: str, module: str, options: Mapping[str, object]) -> int:
    """Run a benchmark of this folder inside the image; return its exit status.

    It gets ``options`` that are not None, and ``--inside`` with a folder for its jobs.
    """
    here = Path(__file__).resolve().parent
    command = ["docker", "run", "--rm", "--pull", "never", "--network", "none"]
    command += ["--volume", f"{here}:/opt/benchmarks:ro", "--env", "PYTHONPATH=/opt", image]
    command += ["python", "-m", module, "--inside", "/var/tmp/jobs"]
    for name, value in options.items():
        command += [f"--{name}", str(value)] if value is not None else []
    return subprocess.run(command, check=False).returncode


def measure(command: Sequence[str], environ: Mapping[str, str] | None = None) -> Cost:
    """Run ``command`` to its end and return its cost, that of its children included."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environ)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.peak for cost in costs),
    )


if __name__ == "__main__":
    make_tree(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
