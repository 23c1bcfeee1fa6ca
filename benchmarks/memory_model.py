"""How much memory XGBoost takes for rows held in memory, in a file, and for bins on disk.

Usage: python -m benchmarks.memory_model [--only TEXT] [--folder FOLDER]

Every point runs in a process of its own, which watches what the kernel cannot take back from it
(resident pages less those of mapped files) and adds the libraries' own pages. The table holds
the peak beside the bound of ``treeline.memory``, less what that allows for reading files: none
are read here. A ratio below 1 means the bound is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from treeline import memory
from treeline.algorithms.library import library

WAYS = ("memory", "spool", "external")
_BLOCK = 10_000
_SLICE = 1 << 26  # bytes of raw rows handed to XGBoost at a time
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Point:
    """A job to measure: ``other`` is the number of validation rows."""

    rows: int
    columns: int
    way: str = ""
    outputs: int = 1
    other: int = 0
    max_bin: int = 256
    depth: int = 6
    leaves: int = 0
    missing: float = 0
    weights: bool = False

    def __str__(self) -> str:
        plain = Point(self.rows, self.columns, self.way)
        rest = {n: v for n, v in asdict(self).items() if v != getattr(plain, n)}
        words = " ".join(f"{name}={value}" for name, value in rest.items())
        return f"{self.way:9}{self.rows:10,}{self.columns:9,}  {words:28}"

    def bound(self) -> float:
        """Return what ``treeline.memory`` allows for it but for reading files, in MB."""
        trees = memory.Trees(self.max_bin, self.missing, self.depth, self.leaves)
        if self.way == "memory":
            bound = memory.load_bytes(self.rows, self.columns, self.other, trees)
        else:
            function = memory.train_bytes if self.way == "spool" else memory.external_bytes
            bound = function(self.rows, self.columns, self.outputs, self.other, trees)
        return (bound - memory.READING) / 1e6

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of ``xgboost.train``."""
        given: dict[str, Any] = {
            "objective": "binary:logistic",
            "max_depth": self.depth,
            "max_bin": self.max_bin,
            "nthread": 2,
        }
        if self.leaves:
            given |= {"max_leaves": self.leaves, "grow_policy": "lossguide"}
        if self.outputs > 1:
            given |= {"objective": "multi:softprob", "num_class": self.outputs}
        return given


_MILLION = Point(1_000_000, 13)
POINTS = (
    *(Point(rows, columns) for columns in (5, 13, 50) for rows in (300_000, 1_000_000, 3_000_000)),
    Point(300_000, 200),
    Point(1_000_000, 200),
    Point(20_000, 2000),
    replace(_MILLION, depth=10),
    replace(_MILLION, depth=12, rows=300_000, columns=50),
    replace(_MILLION, depth=0, leaves=255),
    replace(_MILLION, max_bin=1024),
    replace(_MILLION, max_bin=1024, columns=50),
    replace(_MILLION, outputs=5),
    replace(_MILLION, outputs=5, rows=3_000_000),
    replace(_MILLION, outputs=10),
    replace(_MILLION, other=1_000_000),
    replace(_MILLION, other=1_000_000, outputs=5),
    replace(_MILLION, weights=True),
    *(replace(_MILLION, missing=missing, columns=50) for missing in (0.01, 0.1, 0.5, 0.9)),
    replace(_MILLION, missing=0.1, max_bin=1024),
    replace(_MILLION, missing=0.1, other=1_000_000),
)


def main() -> None:
    """Measure every point in every way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="points whose line contains this")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(_run(Point(**options.point), options.folder)))
        return
    print(f"{'way':9}{'rows':>10}{'columns':>9}  {'':28}{'peak MB':>9}{'bound MB':>9}{'ratio':>7}")
    for point in (replace(each, way=way) for way in WAYS for each in POINTS):
        if options.only in str(point):
            peak, bound = _measure(point, options.folder), point.bound()
            print(f"{point}{peak:9.0f}{bound:9.0f}{bound / peak:7.2f}", flush=True)


def _measure(point: Point, folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.memory_model", "--folder", str(folder)]
    command += ["--point", json.dumps(asdict(point))]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    peak: float = json.loads(run.stdout)["binning" if point.way == "memory" else "peak"]
    return peak / 1e6


class _Watch(threading.Thread):
    """Looks every few milliseconds at what this process holds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.files = 0

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.003)

    def look(self) -> None:
        _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
        self.files = int(shared) * _PAGE
        self.peak = max(self.peak, int(resident) * _PAGE - self.files)


def _run(point: Point, folder: Path) -> dict[str, int]:
    """Bin and train; return the peak of binning alone and of all of it, in bytes."""
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    library()
    watch = _Watch()
    watch.look()
    libraries = watch.files
    watch.start()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # The matrices go before the folder: XGBoost removes its files itself.
        binning = _train(point, Path(scratch), watch)
    return {"binning": binning + libraries, "peak": watch.peak + libraries}


def _train(point: Point, scratch: Path, watch: _Watch) -> int:
    """Bin and train; return the peak of binning."""
    train, _labels = _binned(point, point.rows, None, scratch / "train")
    evals = [(train, "train")]
    if point.other:
        other, _other_labels = _binned(point, point.other, train, scratch / "other")
        evals.append((other, "other"))
    time.sleep(0.02)
    binning = watch.peak
    library().train(point.parameters(), train, 3, evals=evals, verbose_eval=False)
    time.sleep(0.02)
    return binning


def _binned(point: Point, rows: int, reference: Any, file: Path) -> Any:
    """Return a matrix, and the labels, which a job keeps to score with."""
    xgb = library()
    shape = (rows, point.columns)
    features: Any = np.empty(shape, np.float32) if point.way == "memory" else None
    if features is None:
        features = np.memmap(file, np.float32, "w+", shape=shape)
    label = np.empty(rows, np.float32)
    _fill(features, label, point)
    meta = {"label": label}
    if point.weights:
        meta["weight"] = np.ones(rows, np.float32)
    hashes = np.ones((2, rows), np.uint64)  # a job has a hash of every row, and sorts a copy
    common = {"max_bin": point.max_bin, "nthread": 2, "ref": reference}
    if point.way == "memory":
        matrix = xgb.QuantileDMatrix(features, **meta, **common)
    elif point.way == "spool":
        matrix = xgb.QuantileDMatrix(_slices(features, meta, None), **common)
    else:
        slices = _slices(features, meta, f"{file}-bins")
        matrix = xgb.ExtMemQuantileDMatrix(slices, **common)
    del hashes
    return matrix, label


def _slices(features: Any, meta: dict[str, Any], prefix: str | None) -> Any:
    step = _SLICE // (4 * features.shape[1])

    class Slices(library().DataIter):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(cache_prefix=prefix, on_host=False)
            self.first = 0

        def reset(self) -> None:
            self.first = 0

        def next(self, input_data: Any) -> bool:
            part = slice(self.first, self.first + step)
            self.first += step
            if part.start < len(features):
                cut = {name: values[part] for name, values in meta.items()}
                input_data(data=np.asarray(features[part]), **cut)
            return bool(part.start < len(features))

    return Slices()


def _fill(features: Any, label: Any, point: Point) -> None:
    random = np.random.default_rng(len(label))
    classes = max(point.outputs, 2)
    for first in range(0, len(features), _BLOCK):
        block = features[first : first + _BLOCK]
        block[:] = random.random(block.shape, np.float32)
        score = block[:, 0] + block[:, 1] * block[:, 2] + random.random(len(block)) / 2
        label[first : first + _BLOCK] = (score / 2.5 * classes).astype(int).clip(max=classes - 1)
        if point.missing:
            block[random.random(block.shape, np.float32) < point.missing] = np.nan


if __name__ == "__main__":
    main()
