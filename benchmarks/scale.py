"""A job of many rows: what it takes beside XGBoost by hand, and in little memory.

Usage: python -m benchmarks.scale FOLDER [--rows N] [--rounds N] [--only CASE] [--image IMAGE]

FOLDER holds the rows as Parquet files; they are made first where it holds none (63,000,000 rows:
0.7 GB, a minute). Every case runs in a container of its own, without a network:

    bare      row groups -> DataIter -> QuantileDMatrix -> train -> save, nothing scored
    treeline  the same files and parameters as a job, which scores the training data every round
    tight     the same job with --memory (default 4500m) and no swap

Memory is the peak of what the kernel cannot take back (all processes of the container), and of
the largest process with the files it has mapped.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARAMETERS = {"objective": "binary:logistic", "max_depth": 8, "max_bin": 256}
CASES = ("bare", "treeline", "tight")
# Where a container sees its own memory, and the word for pages that are no file's (v2, v1).
_STATISTICS = {
    Path("/sys/fs/cgroup/memory.stat"): "anon",
    Path("/sys/fs/cgroup/memory/memory.stat"): "rss",
}


def main() -> None:
    """Run the cases one after the other; inside a container, measure one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=63_000_000, help="rows to make")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--image", default="treeline:cpu")
    parser.add_argument("--memory", default="4500m", help="of the tight case")
    parser.add_argument("--inside", choices=("measure", "bare"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside == "bare":
        _bare(options.folder, options.rounds)
        return
    if options.inside == "measure":
        _measure(options.only, options.folder, options.rounds)
        return
    if not list(options.folder.glob("*.parquet")):
        from benchmarks.make_flights import make

        make(options.folder, options.rows)
    print(f"{'':10}{'wall s':>8}{'CPU s':>8}{'peak MiB':>10}{'mapped too':>12}{'rounds':>8}")
    failed = 0
    for case in [options.only] if options.only else CASES:
        failed |= _container(case, options.folder.resolve(), options)
    sys.exit(failed)


def _container(case: str, data: Path, options: argparse.Namespace) -> int:
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as folder:
        root = _tree(Path(folder), options.rounds)
        command = ["docker", "run", "--rm", "--pull", "never", "--network", "none"]
        if case == "tight":
            command += ["--memory", options.memory, "--memory-swap", options.memory]
        command += ["--volume", f"{root}:/opt/ml", "--env", "PYTHONPATH=/opt"]
        command += ["--volume", f"{data}:/opt/ml/input/data/train:ro"]
        command += ["--volume", f"{here}:/opt/benchmarks:ro", "--entrypoint", "python"]
        command += [options.image, "-m", "benchmarks.scale", "/opt/ml/input/data/train"]
        command += ["--inside", "measure", "--only", case, "--rounds", str(options.rounds)]
        return subprocess.run(command, check=False).returncode


def _tree(root: Path, rounds: int) -> Path:
    """Make what the platform mounts at /opt/ml, but for the data."""
    config = root / "input" / "config"
    config.mkdir(parents=True)
    (root / "input" / "data" / "train").mkdir(parents=True)
    channel = {"ContentType": "application/x-parquet", "TrainingInputMode": "File"}
    (config / "inputdataconfig.json").write_text(json.dumps({"train": channel}))
    hyperparameters = {name: str(value) for name, value in PARAMETERS.items()}
    hyperparameters["num_round"] = str(rounds)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    return root


def _measure(case: str, folder: Path, rounds: int) -> None:
    """Run one case and print its line; what it says itself is shown if it fails."""
    environ = dict(os.environ)
    if case == "bare":
        command = [sys.executable, "-m", "benchmarks.scale", str(folder)]
        command += ["--inside", "bare", "--rounds", str(rounds)]
    else:
        command = ["/opt/treeline/container/train"]
        environ.pop("PYTHONPATH")
    watch = _Watch()
    watch.start()
    started = time.monotonic()
    with Path("/tmp/log").open("w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environ)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read().decode(errors="replace")
    done = len(set(re.findall(r"^\[\d+\]", said, re.MULTILINE))) if case != "bare" else rounds
    cpu = usage.ru_utime + usage.ru_stime
    print(
        f"{case:10}{wall:8.0f}{cpu:8.0f}{watch.peak / 2**20:10.0f}{usage.ru_maxrss / 2**10:12.0f}"
        f"{done:8}",
        flush=True,
    )
    if process.returncode:
        print(f"{case} failed with status {process.returncode}:\n{said[-2000:]}", flush=True)
        sys.exit(1)


class _Watch(threading.Thread):
    """Looks at the container's memory twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0

    def run(self) -> None:
        while True:
            self.peak = max(self.peak, *_anonymous())
            time.sleep(0.05)


def _anonymous() -> Iterator[int]:
    yield 0
    for file, word in _STATISTICS.items():
        if file.exists():
            found = dict(line.split() for line in file.read_text().splitlines())
            yield int(found[word])


def _bare(folder: Path, rounds: int) -> None:
    """Train by hand, row group by row group, and nothing else."""
    for name in ("sklearn", "pandas"):  # the cheapest start there is
        sys.modules[name] = None  # type: ignore[assignment]
    import numpy as np
    import pyarrow.parquet as pq
    import xgboost as xgb

    class RowGroups(xgb.DataIter):
        def __init__(self) -> None:
            super().__init__()
            self.groups: Iterator[Any] = iter(())

        def reset(self) -> None:
            self.groups = self._read()

        def _read(self) -> Iterator[Any]:
            for path in sorted(folder.glob("*.parquet")):
                with pq.ParquetFile(path) as file:
                    for i in range(file.num_row_groups):
                        table = file.read_row_group(i)
                        columns = [column.to_numpy() for column in table.columns]
                        yield np.column_stack(columns[1:]), columns[0]

        def next(self, input_data: Any) -> bool:
            for features, label in self.groups:
                input_data(data=features, label=label)
                return True
            return False

    matrix = xgb.QuantileDMatrix(RowGroups(), max_bin=PARAMETERS["max_bin"])
    xgb.train(PARAMETERS, matrix, rounds).save_model("/tmp/bare.ubj")


if __name__ == "__main__":
    main()
