"""How waiting OpenMP threads should wait: what it costs alone and beside a busy neighbour.

Usage: python benchmarks/wait_policy.py [--rows N] [--columns N] [--runs N]

Prints median CPU and wall seconds of a whole job for several spin counts (how often a waiting
thread of GNU OpenMP looks before it sleeps), with the machine idle and with one busy process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.jobs import Cost, make_tree, measure, median

# Spin counts; the variable outweighs OMP_WAIT_POLICY, so it also outweighs the job's own choice.
# GNU's default is 300,000 where the team fits the machine (libgomp manual, GOMP_SPINCOUNT).
POLICIES = {
    "sleep at once": "0",
    "spin 1,000": "1000",
    "spin 5,000": "5000",
    "spin 20,000": "20000",
    "spin 300,000": "300000",
}
_BUSY = [sys.executable, "-c", "while True: pass"]


def main() -> None:
    """Measure every policy, one after the other within each run, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=24)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = make_tree(Path(folder), options.rows, options.columns)
        idle = _rounds(tree, options.runs)
        neighbour = subprocess.Popen(_BUSY)
        try:
            busy = _rounds(tree, options.runs)
        finally:
            neighbour.kill()
            neighbour.wait()
    print(f"{options.rows:,} x {options.columns}, medians of {options.runs} runs")
    print(f"{'':18}{'idle: CPU s':>12}{'wall s':>9}{'busy: CPU s':>14}{'wall s':>9}")
    for name in POLICIES:
        a, b = idle[name], busy[name]
        print(f"{name:18}{a.cpu:12.2f}{a.wall:9.2f}{b.cpu:14.2f}{b.wall:9.2f}")


def _rounds(tree: Path, runs: int) -> dict[str, Cost]:
    command = [sys.executable, "-m", "treeline.cli", "train", "--base-dir", str(tree)]
    costs: dict[str, list[Cost]] = {name: [] for name in POLICIES}
    for _ in range(runs):
        for name, setting in POLICIES.items():
            costs[name].append(measure(command, {**os.environ, "GOMP_SPINCOUNT": setting}))
    return {name: median(each) for name, each in costs.items()}


if __name__ == "__main__":
    main()
