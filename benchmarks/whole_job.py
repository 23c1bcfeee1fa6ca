"""What a whole job costs beside XGBoost by hand, in the built image.

Usage: python -m benchmarks.whole_job [--image IMAGE] [--runs N] [--only TEXT]

Every run measures the job and the bare script one after the other, start-up included, in one
container without a network. The first run of each is not counted. Ratios are of medians; quote
the CPU ratios, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import islice
from pathlib import Path

from benchmarks.jobs import Cost, data_file, make_tree_apart, measure, median, run_inside

# Name: rows, columns, kind of file, interleaved runs, how many of the scripts below.
SIZES = {
    "CSV 20,000 x 24": (20_000, 24, "csv", 9, 4),
    "CSV 1,000,000 x 13": (1_000_000, 13, "csv", 5, 4),
    "CSV 5,000,000 x 13": (5_000_000, 13, "csv", 2, 2),
    "Parquet 5,000,000 x 13": (5_000_000, 13, "parquet", 2, 2),
}
BARE = {
    "bare script": [],
    "bare script, no scikit-learn there": ["alone"],
    "bare script, scored every round": ["scored"],
    "the same, scored every round": ["alone", "scored"],
}


def main() -> None:
    """Run this file inside the image, or measure if this is inside."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="treeline:cpu")
    parser.add_argument("--runs", type=int, help="runs of each size (default: 9 to 3)")
    parser.add_argument("--only", help="measure the sizes whose name holds this")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        _measure(options.inside, options.runs, options.only)
        return
    asked = {name: getattr(options, name) for name in ("runs", "only")}
    sys.exit(run_inside(options.image, "benchmarks.whole_job", asked))


def _measure(folder: Path, runs: int | None, only: str | None) -> None:
    for name, (rows, columns, kind, usual, scripts) in SIZES.items():
        if only and only not in name:
            continue
        tree = make_tree_apart(folder / name.replace(" ", ""), rows, columns, kind)
        file = data_file(tree, kind)
        ours = {**os.environ, "SAGEMAKER_BASE_DIR": str(tree)}
        ours.pop("PYTHONPATH")
        bare = dict(islice(BARE.items(), scripts))
        costs: dict[str, list[Cost]] = {key: [] for key in ("treeline", *bare)}
        for _ in range((runs or usual) + 1):
            costs["treeline"].append(measure(["/opt/treeline/container/train"], ours))
            for key, flags in bare.items():
                script = ["python", "/opt/benchmarks/bare_script.py", str(file), f"{tree}/bare.ubj"]
                costs[key].append(measure([*script, *flags]))
        middle = {key: median(each[1:]) for key, each in costs.items()}
        job = middle["treeline"]
        print(f"\n{name}, 100 rounds, depth 6; medians of {runs or usual} interleaved runs")
        print(f"{'':36}{'CPU s':>8}{'wall s':>8}{'MiB':>7}   treeline is (CPU, wall, memory)")
        for key, cost in middle.items():
            ratios = (
                ""
                if cost is job
                else (
                    f"   {job.cpu / cost.cpu:.2f} x, {job.wall / cost.wall:.2f} x, "
                    f"{job.peak / cost.peak:.2f} x"
                )
            )
            print(f"{key:36}{cost.cpu:8.2f}{cost.wall:8.2f}{cost.peak:7.0f}{ratios}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
