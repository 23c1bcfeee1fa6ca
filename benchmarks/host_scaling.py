"""How much faster one job is on more hosts: containers of equal size on one network.

Usage: python -m benchmarks.host_scaling [--image IMAGE] [--rows N] [--cpus C] [--hosts 1,2,4]
           [--runs N]

Rows x 13 of Parquet, which every host has; 100 rounds, depth 6. The seconds are those of the
first host's container, from its start to its end. The hosts share this machine, so their CPUs
together must not be more than it has; the network between them is the machine's own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from local_test import cluster

from benchmarks.jobs import HYPERPARAMETERS, make_tree


def main() -> None:
    """Run the jobs, one number of hosts after the other, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="treeline:cpu")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cpus", default="0.5")
    parser.add_argument("--hosts", default="1,2,4")
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    counts = [int(count) for count in options.hosts.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        tree = make_tree(Path(folder) / "tree", options.rows, 13, "parquet")
        file = tree / "input" / "config" / "hyperparameters.json"
        file.write_text(json.dumps(HYPERPARAMETERS))
        seconds: dict[int, list[float]] = {count: [] for count in counts}
        models = set()
        for _ in range(options.runs):
            for count in counts:
                request = cluster.Request(tree, count, options.image, cpus=options.cpus)
                ended = cluster.run(request, Path(folder) / "results", _nothing, _nothing)
                if any(each.status for each in ended):
                    raise SystemExit(cluster.table(ended))
                seconds[count].append(ended[0].seconds)
                models.add((ended[0].host.root / "model" / "xgboost-model").read_bytes())
    print(f"{options.rows:,} x 13, 100 rounds, {options.cpus} CPUs a host; {options.runs} runs")
    base = statistics.median(seconds[counts[0]])
    for count, each in seconds.items():
        middle = statistics.median(each)
        print(f"{count} host(s): {middle:6.1f} s, {base / middle:.2f} x as fast")
    print("all models are the same bytes" if len(models) == 1 else "THE MODELS DIFFER")


def _nothing(*_: object) -> None:
    """Hear what the hosts say, and let it pass."""


if __name__ == "__main__":
    main()
