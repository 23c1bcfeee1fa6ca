"""Random forests: what each engine costs, and how good its probabilities are.

Usage: python -m benchmarks.forest [--rows N] [--columns N] [--trees N] [--depth N]

Prints CPU and wall seconds to grow and score a forest, and ranking, log loss and mean squared
error of its probabilities for rows it has not seen. Beside the two engines stand the ways that
were not taken: XGBoost's forest of binary:logistic, whose leaves are Newton steps, and for several
classes a forest for each, whose shares have to be made to add up to 1.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treeline import compute

CLASSES = 4


@dataclass(frozen=True)
class Sample:
    """Rows to grow a forest on and rows to score it on."""

    rows: NDArray[np.float32]
    label: NDArray[np.float32]
    seen: NDArray[np.float32]
    truth: NDArray[np.float32]


def main() -> None:
    """Measure two classes, then several, and print a table each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=13)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--depth", type=int, default=10)
    options = parser.parse_args()
    compute.settle_native_threads(os.environ)
    cgroup = compute.Cgroup()
    size = f"{options.rows:,} x {options.columns}, {options.trees} trees of depth {options.depth}"
    for classes in (2, CLASSES):
        print(f"\n{size}, {classes} classes, {cgroup.threads()} threads")
        print(f"{'':34}{'CPU s':>8}{'wall s':>8}{'AUC':>9}{'logloss':>9}{'brier':>9}{'MB':>7}")
        sample = _sample(options.rows, options.columns, classes)
        for name, grow in _ways(classes, options.trees, options.depth, cgroup.threads()).items():
            _report(name, grow, sample, classes)


def _sample(rows: int, columns: int, classes: int) -> Sample:
    random = np.random.default_rng(7)
    x = random.normal(size=(rows + rows // 4, columns)).astype(np.float32)
    scores = [x[:, 0] + x[:, 1] * x[:, 2], x[:, 3], -x[:, 0] * x[:, 4], x[:, 5]][:classes]
    label = (np.stack(scores) + random.gumbel(size=(classes, len(x)))).argmax(axis=0)
    y = label.astype(np.float32)
    x[random.random(x.shape) < 0.05] = np.nan
    return Sample(x[:rows], y[:rows], x[rows:], y[rows:])


type Grow = Callable[[Sample], tuple[Any, NDArray[np.float32]]]


def _ways(classes: int, trees: int, depth: int, threads: int) -> dict[str, Grow]:
    asked = {"n_estimators": str(trees), "max_depth": str(depth)}
    ways: dict[str, Grow] = {
        "sklearn": _ours(classes, threads, **asked),
        "sklearn, n_bins=256": _ours(classes, threads, n_bins="256", **asked),
        "xgboost": _ours(classes, threads, forest_engine="xgboost", **asked),
    }
    naive = {
        "num_parallel_tree": trees,
        "max_depth": depth,
        "learning_rate": 1.0,
        "subsample": 0.632,
        "nthread": threads,
    }
    if classes == 2:
        logistic = {**naive, "objective": "binary:logistic"}
        ways["(XGBoost, binary:logistic)"] = _plain(logistic, classes)
        ways["(the same, lambda=0)"] = _plain({**logistic, "lambda": 0.0}, classes)
    else:
        squared = {**naive, "objective": "reg:squarederror", "lambda": 0.0, "base_score": 0.0}
        ways["(XGBoost, a forest a class)"] = _plain(squared, classes)
        soft = {**naive, "objective": "multi:softprob", "num_class": classes}
        ways["(XGBoost, multi:softprob)"] = _plain(soft, classes)
    return ways


def _ours(classes: int, threads: int, **asked: str) -> Grow:
    def grow(sample: Sample) -> tuple[Any, NDArray[np.float32]]:
        from treeline.algorithms import random_forest
        from treeline.algorithms.interface import Loaded
        from treeline.hyperparameters import parse

        task = {"objective": "binary:logistic"}
        if classes > 2:
            task = {"objective": "multi:softprob", "num_class": str(classes)}
        config = parse({"algorithm": "random_forest", **task, **asked})

        class Data:
            roles = ("train", "test")
            scored_each_round = ()

            def load(self, role: str) -> Loaded:
                train = role == "train"
                rows = sample.rows.copy() if train else sample.seen
                return Loaded(_matrix(rows, sample.label if train else sample.truth))

        place = compute.Compute("singleCPU", "cpu", threads)
        found = random_forest.fit(
            Data(), config, place, lambda: None, lambda *_: None, lambda: False, None, ("test",)
        )
        return found.model, found.predictions["test"]

    return grow


def _plain(parameters: dict[str, Any], classes: int) -> Grow:
    """XGBoost by hand: labels are classes, or where numbers are learned a share for each."""

    def grow(sample: Sample) -> tuple[Any, NDArray[np.float32]]:
        from treeline.algorithms.library import library

        xgb = library()
        label: Any = sample.label
        if parameters["objective"] == "reg:squarederror":
            label = np.eye(classes, dtype=np.float32)[label.astype(np.intp)]
        columns = sample.rows.shape[1]
        share = (int(columns**0.5) + 0.5) / columns
        train = xgb.QuantileDMatrix(sample.rows, label, nthread=parameters["nthread"])
        model = xgb.train({**parameters, "colsample_bynode": share}, train, 1)
        shares = model.inplace_predict(sample.seen)
        if classes > 2:
            shares = shares / shares.sum(axis=1, keepdims=True)
        return model, shares

    return grow


def _matrix(rows: NDArray[np.float32], label: NDArray[np.float32]) -> Any:
    from treeline.data.audit import ColumnStats
    from treeline.data.matrix import Matrix, Origin, Schema

    stats, origin = ColumnStats(), Origin()
    stats.rows = len(rows)
    origin.add("rows", 0)
    nothing: Any = dict.fromkeys(("weight", "group", "lower", "upper", "margin"))
    return Matrix(
        features=rows,
        label=label,
        group_names=(),
        schema=Schema(rows.shape[1]),
        stats=stats,
        hashes=np.empty(0, np.uint64),
        fingerprint="",
        origin=origin,
        **nothing,
    )


def _report(name: str, grow: Grow, sample: Sample, classes: int) -> None:
    from treeline.metrics import computed

    usage, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    model, shares = grow(sample)
    wall, now = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - usage.ru_utime - usage.ru_stime
    objective = "binary:logistic" if classes == 2 else "multi:softprob"
    names = ("auc", "logloss" if classes == 2 else "mlogloss", "brier")
    truth = computed.Truth(sample.truth.astype(np.float64), None, classes)
    auc, loss, brier = computed.evaluate(names, objective, shares, truth).values()
    size = len(model.save_raw("ubj")) / 1e6
    print(f"{name:34}{cpu:8.1f}{wall:8.1f}{auc:9.5f}{loss:9.5f}{brier:9.5f}{size:7.1f}")


if __name__ == "__main__":
    main()
