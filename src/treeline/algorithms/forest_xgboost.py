"""A random forest grown by XGBoost: one round of many trees on bins, on a CPU or a GPU.

A tree of a random forest predicts the mean label of a leaf. Squared error with learning rate 1
and no penalty does so too, also for classes, whose labels become 0 and 1: a leaf is then a
share, and the loss that a split saves is Gini's up to a factor. With binary:logistic instead,
every leaf is one Newton step on the log-odds, which is no probability of the leaf and makes the
forest's probabilities wrong (benchmarks/forest.py shows by how much). For several classes every
leaf holds a share for each of them (multi_output_tree).

Two things are XGBoost's: rows are drawn without replacement, so for ``bootstrap`` as many as a
bootstrap sample has different ones (1 - 1/e of all), and ``min_samples_leaf`` counts their
weights where they have some.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from treeline.algorithms import binning
from treeline.algorithms.interface import Loaded, Predictions
from treeline.algorithms.library import library

if TYPE_CHECKING:
    import xgboost as xgb

    from treeline.compute import Compute
    from treeline.hyperparameters import Config

# The expected share of the rows that are in a bootstrap sample at least once: 1 - 1/e.
DISTINCT = 0.632
_BINS = 256


class XgboostForest:
    """The data sets as bins, and the forest grown on those of train.

    ``outputs`` is how many numbers are predicted for a row: several are probabilities of classes,
    one is the probability of class 1 where ``classifies``.
    """

    def __init__(
        self, config: Config, compute: Compute, classifies: bool, outputs: int, scratch: ExitStack
    ) -> None:
        self._config = config
        self._compute = compute
        self._classifies = classifies
        self._outputs = outputs
        self._scratch = scratch
        self._matrices: dict[str, xgb.DMatrix] = {}
        scratch.callback(self._matrices.clear)  # before the folders of bins on disk go

    def add(self, role: str, loaded: Loaded) -> None:
        """Give a data set to XGBoost, which keeps only its bins."""
        matrix = loaded.matrix
        if self._outputs > 1 and matrix.label is not None:  # of a copy: others read the labels
            shares = np.eye(self._outputs, dtype=np.float32)[matrix.label.astype(np.intp)]
            matrix = replace(matrix, features=matrix.take_features(), label=shares)
        folder = TemporaryDirectory(prefix="treeline-bins-") if loaded.on_disk else None
        how = binning.Binning(
            quantile=True,
            ranking=False,
            max_bin=self._bins,
            threads=self._compute.threads,
            disk=None if folder is None else Path(self._scratch.enter_context(folder)),
        )
        self._matrices[role] = binning.to_dmatrix(matrix, how, self._matrices.get("train"))

    def grow(self, stop_requested: Callable[[], bool]) -> tuple[xgb.Booster, bool]:
        """Return the forest, and that all of its trees are grown: one round is not interrupted."""
        train = self._matrices["train"]
        booster: xgb.Booster = library().Booster(self._parameters(train.num_col()), [train])
        booster.update(train, 0)
        return booster, True

    def predict(self, model: xgb.Booster, role: str) -> Predictions:
        """Return the model's predictions for a data set."""
        prediction: Predictions = model.predict(self._matrices[role])
        return prediction

    @property
    def _bins(self) -> int:
        return self._config.forest.n_bins or _BINS

    def _parameters(self, columns: int) -> dict[str, Any]:
        asked = self._config.forest
        found: dict[str, Any] = {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "num_parallel_tree": asked.n_estimators,
            "learning_rate": 1.0,
            "lambda": 0.0,
            "max_bin": self._bins,
            "max_depth": asked.max_depth,
            "subsample": DISTINCT if asked.bootstrap else 1.0,
            # XGBoost takes this share of the columns and drops the fraction.
            "colsample_bynode": min(1.0, (int(asked.max_features or columns) + 0.5) / columns),
            # Of rows with small weights a leaf may hold less than 1.
            "min_child_weight": asked.min_samples_leaf if asked.min_samples_leaf > 1 else 0,
            "seed": self._config.seed,
            "nthread": self._compute.threads,
            "device": self._compute.device,
        }
        if asked.max_leaves:  # the best leaf first, as scikit-learn does
            found |= {"max_leaves": asked.max_leaves, "grow_policy": "lossguide"}
        if self._classifies:  # shares need no mean to start from
            found["base_score"] = 0.0
        if self._outputs > 1:
            found["multi_strategy"] = "multi_output_tree"
        return found
