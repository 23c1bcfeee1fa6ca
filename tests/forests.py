"""Small forests of either engine: rows to grow them on, and a job that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from treeline.algorithms import random_forest
from treeline.algorithms.interface import Fitted, Loaded
from treeline.checkpoints.stage import NOWHERE, Stage
from treeline.compute import Compute
from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin, Schema
from treeline.data.records import Csr, Floats
from treeline.hyperparameters import Config, parse
from treeline.metrics.log import Scores

ROWS, COLUMNS, TREES = 600, 6, 12
TASKS: dict[str, dict[str, str]] = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": "3"},
    "regression": {"objective": "reg:squarederror"},
}
ENGINES = ("sklearn", "xgboost")


@dataclass
class Rows:
    """The data of a job: as many data sets as there are, of the same columns."""

    matrices: dict[str, Matrix]
    on_disk: bool = False
    scored_each_round: Sequence[str] = ("train", "validation")

    @property
    def roles(self) -> Sequence[str]:
        return tuple(self.matrices)

    def load(self, role: str) -> Loaded:
        found = self.matrices.pop(role) if role != "train" else self.matrices[role]
        return Loaded(found, self.on_disk)


def features(seed: int, missing: float = 0.2) -> Floats:
    """Columns of many values, of few, with steps of 0 and 1, and missing values in all."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    found[:, 3] = random.integers(-2, 3, ROWS)
    found[:, 4] = random.integers(0, 2, ROWS)
    found[random.random(found.shape) < missing] = np.nan
    return found


def label_of(rows: Floats, task: str, seed: int) -> Floats:
    noise = np.random.default_rng(seed).normal(size=len(rows))
    # What is missing says something too, in different directions.
    x, gone = np.nan_to_num(rows), np.isnan(rows)
    score = x[:, 0] + x[:, 1] * x[:, 2] - 2 * gone[:, 1] + 2 * gone[:, 3] + noise
    found = {
        "binary": score > 0,
        "multiclass": np.digitize(score, [-0.7, 0.9]),
        "regression": 100 + score,
    }[task]
    label: Floats = np.asarray(found, np.float32)
    return label


def matrix_of(rows: Floats | Csr, label: Floats, **parts: Any) -> Matrix:
    origin = Origin()
    origin.add("train/a.csv", 0)
    arrays: Any = dict.fromkeys(("weight", "group", "lower", "upper", "margin"))
    stats = ColumnStats()
    stats.update(rows)
    return Matrix(
        features=rows.copy() if isinstance(rows, np.ndarray) else rows,
        label=label.copy(),
        group_names=(),
        schema=Schema(rows.shape[1], categories=parts.pop("categories", {})),
        stats=stats,
        hashes=np.zeros(rows.shape[0], np.uint64),
        fingerprint="",
        origin=origin,
        **{**arrays, **parts},
    )


def asked(task: str, engine: str = "sklearn", **more: str) -> Config:
    values = {"algorithm": "random_forest", "forest_engine": engine, "n_estimators": str(TREES)}
    if engine == "xgboost":  # a deep tree of few rows takes it long
        values["max_depth"] = "4"
    return parse({**values, **TASKS[task], **more})


def fitted(
    config: Config,
    *matrices: Matrix,
    threads: int = 1,
    stop: Callable[[], bool] = lambda: False,
    keep: Sequence[str] = ("train",),
    rounds: list[Any] | None = None,
    on_disk: bool = False,
    stage: Stage = NOWHERE,
) -> Fitted:
    names = ("train", "validation", "test")
    data = Rows(dict(zip(names, matrices, strict=False)), on_disk)
    seen = [] if rounds is None else rounds
    place = Compute("singleCPU", "cpu", threads)

    def on_round(index: int, scores: Scores, restored: bool) -> None:
        seen.append((index, scores, restored))

    return random_forest.fit(
        data, config, place, lambda: None, on_round, stop, keep=keep, stage=stage
    )


def sample(task: str, seed: int = 1, **parts: Any) -> Matrix:
    rows = features(seed)
    return matrix_of(rows, label_of(rows, task, seed), **parts)
