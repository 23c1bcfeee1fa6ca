"""A random forest grown by XGBoost on bins, on a CPU or a GPU.

A tree of a random forest predicts the mean label of a leaf. Squared error without a penalty does
so too, also for classes, whose labels become 0 and 1: a leaf is then a share, and the loss that a
split saves is Gini's up to a factor. With binary:logistic instead, every leaf is one Newton step
on the log-odds, which is no probability of the leaf and makes the forest's probabilities wrong
(benchmarks/forest.py shows by how much). For several classes every leaf holds a share for each of
them (multi_output_tree).

Every tree is a round of its own, on gradients that no tree before it has changed, so that a
request to stop is heard after each; ``forest_model.in_one_round`` puts them together. XGBoost's
own way, all trees in one call (num_parallel_tree), costs as much and hears nothing until the last
one is grown. What a tree draws depends on its number and the seed alone, so workers of a team
grow different trees of the same forest (``forest_parts``), each with a booster of its own.

Two things are XGBoost's: rows are drawn without replacement, so for ``bootstrap`` as many as a
bootstrap sample has different ones (1 - 1/e of all), and ``min_samples_leaf`` counts their
weights where they have some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from treeline.algorithms import binning, model_parts
from treeline.algorithms.forest_model import Tree, encoded, in_one_round
from treeline.algorithms.forest_parts import grown_together
from treeline.algorithms.interface import Loaded, Predictions
from treeline.algorithms.library import library
from treeline.checkpoints.stage import Stage
from treeline.data.records import Floats
from treeline.errors import Stopped
from treeline.scratch import scratch_folder

if TYPE_CHECKING:
    import xgboost as xgb

    from treeline.compute import Compute
    from treeline.hyperparameters import Config

# The expected share of the rows that are in a bootstrap sample at least once: 1 - 1/e.
DISTINCT = 0.632
_BINS = 256
_APART = 100_003


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
        self._target: Floats = np.empty(0, np.float32)
        self._weight: Floats | None = None
        self._fitted: Predictions | None = None  # train's, of a whole forest
        self._matrices: dict[str, xgb.DMatrix] = {}

    def add(self, role: str, loaded: Loaded) -> None:
        """Give a data set to XGBoost, which keeps only its bins."""
        matrix = loaded.matrix
        if self._outputs > 1 and matrix.label is not None:  # of a copy: others read the labels
            shares = np.eye(self._outputs, dtype=np.float32)[matrix.label.astype(np.intp)]
            matrix = replace(matrix, features=matrix.take_features(), label=shares)
        if role == "train":
            if matrix.label is None:
                raise AssertionError("a forest learns labels")
            self._target, self._weight = matrix.label, matrix.weight
        folder = scratch_folder("bins") if loaded.on_disk else None
        how = binning.Binning(
            quantile=True,
            ranking=False,
            max_bin=self._bins,
            threads=self._compute.threads,
            disk=None if folder is None else Path(self._scratch.enter_context(folder)),
        )
        self._matrices[role] = binning.to_dmatrix(matrix, how, self._matrices.get("train"))
        self._scratch.callback(self._matrices.clear)  # before the folder of its bins goes

    def grow(self, stop_requested: Callable[[], bool], stage: Stage) -> tuple[xgb.Booster, int]:
        """Return the forest, and how many trees were grown; a tree is a round of ``stage``."""
        train, asked = self._matrices["train"], self._config.forest
        start = 0.0 if self._classifies else float(np.average(self._target, weights=self._weight))
        grad, hess = self._gradients(start)
        self._target = np.empty(0, np.float32)  # XGBoost has a copy
        parameters = self._parameters(train.num_col(), start)
        restored = stage.restore(asked.n_estimators, binning.cuts_digest(train))
        before = [part["model"] for part in restored.parts]
        grow = self._alone if self._compute.team.alone else self._together
        content, grown = grow(parameters, (grad, hess), before, stop_requested, stage)
        del grad, hess
        if grown < asked.n_estimators and not self._config.save_model_on_termination:
            raise Stopped
        made = in_one_round(content, grown, self._outputs, asked.n_estimators / grown)
        made.set_param({"nthread": self._compute.threads_each, "device": self._compute.device})
        return made, grown

    def _alone(
        self,
        parameters: dict[str, Any],
        gradients: tuple[Floats, Floats],
        before: Sequence[bytes],
        stop_requested: Callable[[], bool],
        stage: Stage,
    ) -> tuple[bytearray, int]:
        """Add trees to those of an earlier start; return the model and the number of its trees."""
        train, total = self._matrices["train"], self._config.forest.n_estimators
        booster, grown = library().Booster(parameters, [train]), 0
        if before:
            booster = model_parts.booster(before, parameters, [train])
            grown = booster.num_boosted_rounds()
        booster.predict(train)  # XGBoost keeps what it has predicted up to date, at little cost
        sections = partial(_sections, booster)
        while grown < total and not (grown and stop_requested()):
            booster.boost(train, grown, grad=gradients[0], hess=gradients[1])
            grown += 1
            stage.keep(grown, None, sections)
        stage.flush(sections)
        if grown == total:
            self._fitted = booster.predict(train)
        return booster.save_raw("ubj"), grown

    def _together(
        self,
        parameters: dict[str, Any],
        gradients: tuple[Floats, Floats],
        before: Sequence[bytes],
        stop_requested: Callable[[], bool],
        stage: Stage,
    ) -> tuple[bytearray, int]:
        """Grow this worker's trees; return the model of all workers' trees and their number."""
        train, team = self._matrices["train"], self._compute.team
        total = self._config.forest.n_estimators
        blank = team.apart(partial(self._blank, parameters))
        # The model has a base_score for each output; the one number would take their place.
        others = {name: value for name, value in parameters.items() if name != "base_score"}

        def some(first: int, end: int) -> bytes:
            booster = library().Booster(parameters, [train])
            if first:
                booster = blank[:first]
                booster.set_param(others)
            for number in range(first, end):
                booster.boost(train, number, grad=gradients[0], hess=gradients[1])
            return bytes(booster[first:end].save_raw("ubj"))

        grown = grown_together(some, total, 1, before, team, stop_requested, stage)
        return grown.taken(), grown.count

    def _blank(self, parameters: dict[str, Any]) -> xgb.Booster:
        """Return a booster of trees without a split, to begin with any tree of the forest.

        What XGBoost draws for a tree depends on how many there are before it, not on what they
        are.
        """
        train, total = self._matrices["train"], self._config.forest.n_estimators
        leaf = Tree(
            left=np.array([-1]),
            right=np.array([-1]),
            feature=np.zeros(1, np.int64),
            threshold=np.zeros(1),
            missing_left=np.zeros(1, np.uint8),
            value=np.zeros((1, self._outputs)),
            weight=np.zeros(1),
            gain=np.zeros(1),
        )
        trees = encoded([leaf] * total, train.num_col(), self._outputs, total)
        begun = bytes(library().Booster(parameters, [train]).save_raw("ubj"))
        return model_parts.booster([trees, begun], parameters, [train])

    def predict(self, model: xgb.Booster, role: str) -> Predictions:
        """Return the model's predictions for a data set."""
        if role == "train" and self._fitted is not None:
            return self._fitted
        prediction: Predictions = model.predict(self._matrices[role])
        return prediction

    def _gradients(self, start: float) -> tuple[Floats, Floats]:
        """Return those of squared error for rows that are predicted ``start``."""
        grad = start - self._target
        if self._weight is None:
            return grad, np.broadcast_to(np.float32(1), grad.shape)
        weight = self._weight[:, None] if grad.ndim > 1 else self._weight
        grad *= weight
        return grad, np.broadcast_to(weight, grad.shape)

    @property
    def _bins(self) -> int:
        return self._config.forest.n_bins or _BINS

    def _parameters(self, columns: int, start: float) -> dict[str, Any]:
        asked = self._config.forest
        found: dict[str, Any] = {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "base_score": start,
            "learning_rate": 1 / asked.n_estimators,
            "lambda": 0.0,
            "max_bin": self._bins,
            "max_depth": asked.max_depth,
            "subsample": DISTINCT if asked.bootstrap else 1.0,
            # XGBoost takes this share of the columns and drops the fraction.
            "colsample_bynode": min(1.0, (int(asked.max_features or columns) + 0.5) / columns),
            # Of rows with small weights a leaf may hold less than 1.
            "min_child_weight": asked.min_samples_leaf if asked.min_samples_leaf > 1 else 0,
            # A round draws from 127 times the seed plus its number: neighbours would share trees.
            "seed": self._config.seed * _APART,
            "seed_per_iteration": True,
            "nthread": self._compute.threads_each,
            "device": self._compute.device,
        }
        if asked.max_leaves:  # the best leaf first, as scikit-learn does
            found |= {"max_leaves": asked.max_leaves, "grow_policy": "lossguide"}
        if self._outputs > 1:
            found["multi_strategy"] = "multi_output_tree"
        return found


def _sections(booster: xgb.Booster, first: int, end: int) -> Mapping[str, bytes]:
    """Return some of the trees, for a checkpoint."""
    return {"model": bytes(booster[first:end].save_raw("ubj"))}
