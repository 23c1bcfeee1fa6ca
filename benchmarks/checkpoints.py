"""What checkpoints cost, in the built image: CPU, wall time and bytes written.

Usage: python -m benchmarks.checkpoints [--image IMAGE] [--rows N] [--rounds 300] [--runs N]

1,000,000 x 13 rows of CSV, depth 6. Whole processes, start-up included, one after the other in one
container without a network; the first run of each is not counted, and every run starts with an
empty checkpoint folder. Bytes are those the kernel counted for the process (whole pages), less
those of the job without checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
from pathlib import Path

from benchmarks.jobs import HYPERPARAMETERS, Cost, make_tree_apart, measure, median, run_inside

WAYS = {"none": None, "after every round": "1", "as often as time allows": "auto"}


def main() -> None:
    """Run this file inside the image, or measure if this is inside."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="treeline:cpu")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", default="150,300")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        for rounds in map(int, options.rounds.split(",")):
            _measure(options.inside, options.rows, rounds, options.runs)
        return
    asked = {name: getattr(options, name) for name in ("rows", "rounds", "runs")}
    sys.exit(run_inside(options.image, "benchmarks.checkpoints", asked))


def _measure(folder: Path, rows: int, rounds: int, runs: int) -> None:
    tree = make_tree_apart(folder / str(rows), rows, 13)
    config, kept = tree / "input" / "config", tree / "checkpoints"
    environ = {**os.environ, "SAGEMAKER_BASE_DIR": str(tree)}
    environ.pop("PYTHONPATH")
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    written: dict[str, list[float]] = {name: [] for name in WAYS}
    files: dict[str, list[int]] = {name: [] for name in WAYS}
    for _ in range(runs + 1):
        for name, every in WAYS.items():
            shutil.rmtree(kept, ignore_errors=True)
            (config / "checkpointconfig.json").unlink(missing_ok=True)
            asked = {**HYPERPARAMETERS, "num_round": str(rounds)}
            if every is not None:
                asked["checkpoint_every"] = every
                place = json.dumps({"LocalPath": str(kept)})
                (config / "checkpointconfig.json").write_text(place)
            (config / "hyperparameters.json").write_text(json.dumps(asked))
            before = _written()
            costs[name].append(measure(["/opt/treeline/container/train"], environ))
            written[name].append(_written() - before)
            files[name].append(sum(1 for path in kept.rglob("*.ckpt")) if kept.exists() else 0)
    middle = {name: median(each[1:]) for name, each in costs.items()}
    none = middle["none"]
    base = statistics.median(written["none"][1:])
    print(f"\n{rows:,} x 13, {rounds} rounds; medians of {runs} interleaved runs")
    print(f"{'checkpoints':26}{'CPU s':>8}{'wall s':>8}{'MiB':>7}{'MB written':>12}{'files':>7}")
    for name, cost in middle.items():
        more = (statistics.median(written[name][1:]) - base) / 1e6
        line = f"{name:26}{cost.cpu:8.1f}{cost.wall:8.1f}{cost.peak:7.0f}{more:12.1f}"
        line += f"{statistics.median(files[name][1:]):7.0f}"
        print(line + f"   CPU {cost.cpu / none.cpu:.3f} x, wall {cost.wall / none.wall:.3f} x")
    sys.stdout.flush()


def _written() -> float:
    """Return the bytes that ended children have written to disk."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock * 512.0


if __name__ == "__main__":
    main()
