"""What cross-validation costs beside two loops by hand, in the built image.

Usage: python -m benchmarks.folds [--image IMAGE] [--rows N] [--runs N] [--folds 5,10]

1,000,000 x 13 rows of CSV, 100 rounds, depth 6. Whole processes, start-up included, one after the
other in one container without a network; the first run of each is not counted. Treeline scores
both the held-out and the training rows after every round, the naive loop only the held-out ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.jobs import (
    HYPERPARAMETERS,
    Cost,
    data_file,
    make_tree_apart,
    measure,
    median,
    run_inside,
)

OURS = {
    "treeline": {"refit": "false", "keep_fold_models": "true"},
    "treeline, refit on all rows": {"keep_fold_models": "true"},
}
BY_HAND = {"naive loop": "naive", "slices, whole pool scored": "sliced"}


def main() -> None:
    """Run this file inside the image, or measure if this is inside."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="treeline:cpu")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--folds", default="5,10")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        for folds in map(int, options.folds.split(",")):
            _measure(options.inside, options.rows, options.runs, folds)
        return
    asked = {name: getattr(options, name) for name in ("rows", "runs", "folds")}
    sys.exit(run_inside(options.image, "benchmarks.folds", asked))


def _measure(folder: Path, rows: int, runs: int, folds: int) -> None:
    tree = make_tree_apart(folder / str(rows), rows, 13)
    (tree / "by_hand").mkdir(exist_ok=True)
    ours = {**os.environ, "SAGEMAKER_BASE_DIR": str(tree)}
    ours.pop("PYTHONPATH")
    costs: dict[str, list[Cost]] = {name: [] for name in (*OURS, *BY_HAND)}
    for _ in range(runs + 1):
        for name, more in OURS.items():
            asked = {**HYPERPARAMETERS, "cv_folds": str(folds), **more}
            file = tree / "input" / "config" / "hyperparameters.json"
            file.write_text(json.dumps(asked))
            costs[name].append(measure(["/opt/treeline/container/train"], ours))
        for name, way in BY_HAND.items():
            command = ["python", "/opt/benchmarks/fold_loops.py", str(data_file(tree, "csv"))]
            costs[name].append(measure([*command, str(tree / "by_hand"), str(folds), way]))
    middle = {name: median(each[1:]) for name, each in costs.items()}
    first = next(iter(middle.values()))
    print(f"\n{folds} folds of {rows:,} x 13, 100 rounds; medians of {runs} interleaved runs")
    print(f"{'':30}{'CPU s':>8}{'wall s':>8}{'MiB':>7}   treeline is (CPU, wall, memory)")
    for name, cost in middle.items():
        ratios = (
            f"   {first.cpu / cost.cpu:.2f} x, {first.wall / cost.wall:.2f} x, "
            f"{first.peak / cost.peak:.2f} x"
        )
        line = f"{name:30}{cost.cpu:8.1f}{cost.wall:8.1f}{cost.peak:7.0f}"
        print(line + ("" if cost is first else ratios), flush=True)


if __name__ == "__main__":
    main()
