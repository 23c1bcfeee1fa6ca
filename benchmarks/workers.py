"""What several workers cost beside one, on one machine; and what is read of the files.

Usage: python -m benchmarks.workers [--image IMAGE] [--rows N] [--runs N] [--folds 0,3]
       python -m benchmarks.workers --reads [--rows N]      without an image, with strace

Rows x 13 of CSV, 100 rounds, depth 6; whole processes of one container without a network, start-up
included, one way after the other in each round, the first round not counted. ``--reads`` runs the
job here and counts the bytes that read calls took from the data file, by all processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.jobs import (
    HYPERPARAMETERS,
    Cost,
    data_file,
    make_tree,
    make_tree_apart,
    measure,
    median,
    run_inside,
)

SINGLE = {"compute": "singleCPU"}
WAYS = {
    "singleCPU": SINGLE,
    "multiCPU": {"compute": "multiCPU"},
    "multiCPU, 2 workers": {"compute": "multiCPU", "workers": "2"},
}


def main() -> None:
    """Run this file inside the image, or measure if this is inside."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="treeline:cpu")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folds", default="0,3")
    parser.add_argument("--reads", action="store_true")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reads:
        count_reads(options.rows)
        return
    if options.inside:
        for folds in map(int, options.folds.split(",")):
            _measure(options.inside, options.rows, options.runs, folds)
        return
    asked = {name: getattr(options, name) for name in ("rows", "runs", "folds")}
    sys.exit(run_inside(options.image, "benchmarks.workers", asked))


def _ask(tree: Path, folds: int, more: Mapping[str, str]) -> None:
    cv = {"cv_folds": str(folds)} if folds else {}
    file = tree / "input" / "config" / "hyperparameters.json"
    file.write_text(json.dumps({**HYPERPARAMETERS, **cv, **more}))


def _measure(folder: Path, rows: int, runs: int, folds: int) -> None:
    tree = make_tree_apart(folder / str(rows), rows, 13)
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(tree)}
    environ.pop("PYTHONPATH")
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    models: dict[str, bytes] = {}
    for _ in range(runs + 1):
        for name, more in WAYS.items():
            _ask(tree, folds, more)
            costs[name].append(measure(["/opt/treeline/container/train"], environ))
            models[name] = (tree / "model" / "xgboost-model").read_bytes()
    middle = {name: median(each[1:]) for name, each in costs.items()}
    first = middle["singleCPU"]
    print(f"\n{folds} folds of {rows:,} x 13, 100 rounds; medians of {runs} interleaved runs")
    print(f"{'':24}{'CPU s':>8}{'wall s':>8}   beside singleCPU (CPU, wall), model")
    for name, cost in middle.items():
        same = "the same bytes" if models[name] == models["singleCPU"] else "ANOTHER"
        ratios = f"   {cost.cpu / first.cpu:.2f} x, {cost.wall / first.wall:.2f} x, {same}"
        print(f"{name:24}{cost.cpu:8.1f}{cost.wall:8.1f}{ratios}", flush=True)


def count_reads(rows: int) -> None:
    """Print how often each byte of the data file was read, with and without folds."""
    with tempfile.TemporaryDirectory() as folder:
        tree = make_tree(Path(folder) / "tree", rows, 13)
        size = data_file(tree, "csv").stat().st_size
        for folds in (0, 3):
            for name, more in WAYS.items():
                _ask(tree, folds, {**more, "num_round": "3"})
                read = _bytes_read(tree, Path(folder) / "trace", data_file(tree, "csv"))
                print(
                    f"{name}, {folds} folds: {read:,} bytes read of a file of {size:,}: "
                    f"{read / size:.4f} times"
                )


def _bytes_read(tree: Path, trace: Path, file: Path) -> int:
    """Run the job under strace; return the bytes that calls returned from ``file``."""
    calls = "trace=read,readv,pread64,preadv,preadv2,copy_file_range,sendfile,mmap"
    job = [sys.executable, "-m", "treeline.cli", "train", "--base-dir", str(tree)]
    subprocess.run(
        ["strace", "-ff", "-y", "-e", calls, "-o", str(trace), *job],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    found = 0
    pattern = re.compile(rf"(\w+)\(.*{re.escape(str(file))}>.*= (\S+)")
    for thread in trace.parent.glob(f"{trace.name}.*"):
        for line in thread.read_text(errors="replace").splitlines():
            if (match := pattern.search(line)) is None:
                continue
            if match[1] == "mmap":
                raise AssertionError(f"the file is mapped, so its reads cannot be counted: {line}")
            found += max(0, int(match[2]))
        thread.unlink()
    return found


if __name__ == "__main__":
    main()
