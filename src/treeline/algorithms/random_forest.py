"""Random forests by one worker or several: fit, predict, save, load.

Two engines grow them: scikit-learn (``forest_sklearn``) and XGBoost's forest mode
(``forest_xgboost``), which takes bins, less time and either device. Both predict the mean over
trees of a leaf's mean label, for classes their shares, and both end in the same format, a model
of XGBoost with one round of trees (``forest_model`` says why): any machine loads it with
``xgboost.Booster`` and no other library. Scores are those of that model.

The model's objective is reg:squarederror whatever was learned, because its leaves hold what they
predict: a number, the probability of class 1, or one probability a class. The job's own objective
is noted in the model's attributes.

Workers of a team divide the trees, not the rows: each has all rows of train and grows its part of
every batch of trees (``forest_parts``), and as a tree depends on its number and the seed alone,
the forest is byte for byte that of one worker. XGBoost would take what one of them does for a step
of all, so it is used where it knows nothing of the team. Rows that are only scored stay with the
worker that read them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from treeline.algorithms import labels, shared_scores, xgboost
from treeline.algorithms.forest_sklearn import SklearnForest
from treeline.algorithms.forest_xgboost import DISTINCT, XgboostForest
from treeline.algorithms.interface import Data, Fitted, Loaded, OnRound, Predictions
from treeline.algorithms.library import library
from treeline.checkpoints.stage import NOWHERE, Stage
from treeline.data import everyone
from treeline.data.matrix import Matrix
from treeline.data.records import Floats
from treeline.errors import ChannelError, HyperparameterError, ResourceError
from treeline.hyperparameters import Config
from treeline.metrics import computed, names

if TYPE_CHECKING:
    import xgboost as xgb

    from treeline.compute import Compute
    from treeline.data.matrix import Schema
    from treeline.team import Team


save = xgboost.save
load = xgboost.load


class _Engine(Protocol):
    """Who holds the data sets and grows the forest."""

    def add(self, role: str, loaded: Loaded) -> None:
        """Take over the rows of a data set; train is the first."""

    def grow(self, stop_requested: Callable[[], bool], stage: Stage) -> tuple[xgb.Booster, int]:
        """Return the forest, and how many trees were grown; a tree is a round of ``stage``."""

    def predict(self, model: xgb.Booster, role: str) -> Predictions:
        """Return the model's predictions for a data set."""


@runtime_checkable
class _Bounded(Protocol):
    """Who knows how many rows the workers can hold."""

    def holds_all(self, rows: int) -> bool:
        """Return whether every worker can hold ``rows`` and train on them."""


def fit(
    data: Data,
    config: Config,
    compute: Compute,
    loaded: Callable[[], None],
    on_round: OnRound,
    stop_requested: Callable[[], bool],
    earlier: bytes | None = None,
    keep: Sequence[str] = (),
    stage: Stage = NOWHERE,
) -> Fitted:
    """Grow a forest on ``data``'s train and score it on every data set; it counts as one round.

    ``rounds_trained`` is how many trees were grown, though the model's only round is its last.
    Each data set is loaded once. Trees that ``stage`` has are not grown again, and those that are
    grown are kept there, a round each. ``keep`` are the data sets whose predictions are wanted:
    (rows,) numbers or probabilities of class 1, or (rows, classes) probabilities, also for
    multi:softmax; of several workers each has those of the rows that it loaded.
    Raises ``ChannelError`` for an earlier model, ``DataError`` for labels that the forest cannot
    learn, ``HyperparameterError`` for more ``max_features`` than there are columns,
    ``ResourceError`` for more rows than each of several workers can hold, and ``Stopped`` if asked
    to stop when there is nothing to keep.
    """
    if earlier is not None:
        raise ChannelError(
            "Channel model: a random forest does not go on from an earlier model",
            "Leave the channel out, and set n_estimators to the number of trees you want.",
        )
    library()  # before scikit-learn, whose import it would make slow
    team = compute.team
    with xgboost.xgboost_errors(), ExitStack() as scratch:
        engine: _Engine | None = None
        truths: dict[str, computed.Truth] = {}
        numbers: dict[str, NDArray[np.int64]] = {}  # of this worker's rows among all
        for role in data.roles:
            one = data.load(role)
            truths[role] = _truth(one.all, config)
            if one.numbers is not None:
                numbers[role] = one.numbers
            if engine is None:
                config = settled(config, one.matrix.schema.features)
                engine = _engine(config, compute, scratch)
                if one.everyone is not None:
                    check_held(one.everyone.rows, data)
                one = whole(one, team)
            team.apart(partial(engine.add, role, one))
            del one
        if engine is None:
            raise AssertionError("a forest without data")
        loaded()
        model, grown = engine.grow(stop_requested, stage)
        model.set_attr(algorithm="random_forest", objective=config.objective)
        predictions = {
            role: _bounded(model, team.apart(partial(engine.predict, model, role)))
            for role in truths
        }
    for role in numbers:
        if role != "train":  # of train every worker has all rows
            predictions[role] = shared_scores.gathered(predictions[role], team)
    scores = {role: _scores(config, predictions[role], truths[role]) for role in truths}
    each_round = {role: scores[role] for role in truths if role in data.scored_each_round}
    if each_round:
        on_round(0, each_round, False)
    followed, metric = config.followed(scores)
    return Fitted(
        model=model,
        last_round=0,
        rounds_trained=grown,
        scores=scores,
        objective_metric=f"{followed}:{metric}",
        objective_value=scores[followed][metric],
        outcome="completed" if grown == config.forest.n_estimators else "terminated",
        predictions={
            role: predictions[role][numbers[role]] if role in numbers else predictions[role]
            for role in keep
        },
    )


def predict(model: xgb.Booster, features: Floats) -> Predictions:
    """Return the predictions for ``features`` (rows, columns).

    (rows,) numbers or probabilities of class 1, or (rows, classes) probabilities.
    """
    return _bounded(model, model.inplace_predict(features))


def whole(loaded: Loaded, team: Team) -> Loaded:
    """Return the rows of all workers with their features, if they are not that already."""
    if loaded.everyone is None:
        return loaded
    features = everyone.features(loaded.matrix.features, team)
    return Loaded(replace(loaded.everyone, features=features), loaded.on_disk)


def check_held(rows: int, loader: object) -> None:
    """Raise ``ResourceError`` if ``loader`` knows that one of the workers cannot hold ``rows``."""
    if isinstance(loader, _Bounded) and not loader.holds_all(rows):
        raise ResourceError(
            f"Each worker grows its trees on all {rows:,} rows, and the memory of one of them does "
            "not hold so many",
            "Use instances with more memory, or algorithm=xgboost, whose workers divide the rows.",
        )


def settled(config: Config, columns: int) -> Config:
    """Return ``config`` with what the forest's defaults stand for with so many columns.

    Raises ``HyperparameterError`` for more ``max_features`` than columns.
    """
    asked, classes = config.forest, _classifies(config)
    return replace(
        config,
        forest=replace(
            asked,
            max_features=_max_features(asked.max_features, columns, classes),
            criterion=asked.criterion or ("gini" if classes else "squared_error"),
        ),
    )


def notes(schema: Schema, config: Config) -> tuple[str, ...]:
    """Return what a person should know of how this forest is grown, a line each."""
    asked, lines = config.forest, []
    if "max_depth" not in config.given:
        lines.append(f"max_depth: {asked.max_depth}, the default of a forest (0 is no limit)")
    if isinstance(asked.max_features, int):
        count = "one column" if asked.max_features == 1 else f"{asked.max_features} columns"
        lines.append(f"max_features={asked.max_features}: {count} at a split; 1.0 is all of them")
    if asked.engine == "sklearn" and schema.categories:
        lines.append(
            f"{len(schema.categories)} categorical column(s) are split as numbers, in the order "
            "of their categories; forest_engine=xgboost splits them as categories"
        )
    if asked.engine == "xgboost" and asked.bootstrap:
        lines.append(
            f"bootstrap: each tree sees {DISTINCT:.1%} of the rows, drawn without replacement, as "
            "many as a bootstrap sample has different ones"
        )
    if asked.engine == "xgboost" and asked.min_samples_leaf > 1:
        lines.append("min_samples_leaf: weights are summed where rows have them, not counted")
    return tuple(lines)


def _engine(config: Config, compute: Compute, scratch: ExitStack) -> _Engine:
    outputs = (config.num_class or 2) if config.objective.startswith("multi:") else 1
    if config.forest.engine == "xgboost":
        return XgboostForest(config, compute, _classifies(config), outputs, scratch)
    return SklearnForest(config, compute, _classifies(config), outputs)


def _classifies(config: Config) -> bool:
    return config.objective.startswith(("binary:", "multi:"))


def _max_features(asked: str | float | int | None, columns: int, classes: bool) -> int:
    """Return how many columns a split looks at, as scikit-learn counts them."""
    if isinstance(asked, int):
        if asked > columns:
            raise HyperparameterError(
                f"Hyperparameter max_features: found {asked}, allowed [1, {columns}]: train has "
                f"{columns} feature(s)",
                "Name no more columns than there are, or a share such as 0.5, or sqrt.",
            )
        return asked
    if asked is None:
        asked = "sqrt" if classes else 1.0
    if isinstance(asked, float):
        return max(1, int(asked * columns))
    return max(1, int(math.sqrt(columns) if asked == "sqrt" else math.log2(columns)))


def _truth(matrix: Matrix, config: Config) -> computed.Truth:
    """Return what predictions are held against; refuse labels that are no classes."""
    several = config.objective.startswith("multi:")
    classes = (config.num_class or 2) if several else 2
    if matrix.label is None:
        raise AssertionError("a forest without labels")
    labels.check(
        matrix,
        config.objective,
        classes,
        classes_only=config.objective.startswith("binary:"),
        exp_gain=False,
    )
    weight = None if matrix.weight is None else matrix.weight.astype(np.float64)
    return computed.Truth(matrix.label.astype(np.float64), weight, classes)


def _scores(config: Config, prediction: Predictions, truth: computed.Truth) -> dict[str, float]:
    """Return every metric that is asked for, under the name it was asked by."""
    default = names.default_for(config.objective)
    asked = config.computed_as or {default: default}
    found = computed.evaluate(asked.values(), config.objective, prediction, truth)
    return {spelled: found[name] for spelled, name in asked.items()}


def _bounded(model: xgb.Booster, prediction: Predictions) -> Predictions:
    """Return probabilities within [0, 1], from which a sum of float32 shares strays by 1e-7."""
    if str(model.attr("objective")).startswith("reg:"):
        return prediction
    return np.clip(prediction, 0.0, 1.0, out=prediction)
