"""Metrics computed here agree with scikit-learn's functions, and with XGBoost's own metrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from treeline.metrics.computed import CLASSIFICATION, COMPUTABLE, Truth, evaluate
from treeline.metrics.names import BINARY, LOGISTIC, METRICS, OBJECTIVES, REGRESSION

MACRO: dict[str, Any] = {"average": "macro", "zero_division": 0}
MICRO: dict[str, Any] = {"average": "micro", "zero_division": 0}
OF_1: dict[str, Any] = {"average": "binary", "zero_division": 0}
OF_ALL_CLASSES: dict[str, Callable[..., float]] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "f1": partial(sk.f1_score, **MACRO),
    "f1_macro": partial(sk.f1_score, **MACRO),
    "precision_macro": partial(sk.precision_score, **MACRO),
    "precision_micro": partial(sk.precision_score, **MICRO),
    "recall_macro": partial(sk.recall_score, **MACRO),
    "recall_micro": partial(sk.recall_score, **MICRO),
    "mcc": sk.matthews_corrcoef,
    "merror": sk.zero_one_loss,
}
OF_CLASS_1: dict[str, Callable[..., float]] = {
    "f1_binary": partial(sk.f1_score, **OF_1),
    "precision": partial(sk.precision_score, **OF_1),
    "recall": partial(sk.recall_score, **OF_1),
}
OF_NUMBERS: dict[str, Callable[..., float]] = {
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "mape": sk.mean_absolute_percentage_error,
    "r2": sk.r2_score,
}
OF_POSITIVE_NUMBERS: dict[str, Callable[..., float]] = {
    "rmsle": sk.root_mean_squared_log_error,
    "gamma-deviance": sk.mean_gamma_deviance,
}
OF_PROBABILITIES: dict[str, Callable[..., float]] = {
    "logloss": partial(sk.log_loss, labels=[0, 1]),
    "brier": partial(sk.brier_score_loss, labels=[0, 1]),
    "auc": sk.roc_auc_score,
}
# XGBoost's own, which scikit-learn does not have or defines otherwise.
OF_XGBOOST = {"aucpr", "poisson-nloglik", "gamma-nloglik", "tweedie-nloglik"}
# XGBoost has them too; they need more than predictions, labels and weights, or rank groups.
NOT_COMPUTABLE = {"mphe", "ams", "pre", "ndcg", "map"}

seeds = st.integers(0, 2**32 - 1)
rows = st.integers(1, 60)
quick = settings(max_examples=80, deadline=None)


def test_every_metric_is_held_against_scikit_learn_or_xgboost() -> None:
    assert {*OF_ALL_CLASSES, *OF_CLASS_1} == set(CLASSIFICATION)
    held = {*CLASSIFICATION, *OF_NUMBERS, *OF_POSITIVE_NUMBERS, *OF_PROBABILITIES, *OF_XGBOOST}
    assert held | {"error", "mlogloss"} == COMPUTABLE


def agree(
    functions: dict[str, Callable[..., float]],
    objective: str,
    prediction: np.ndarray[Any, Any],
    classes: np.ndarray[Any, Any],
    truth: Truth,
) -> None:
    values = evaluate(functions, objective, prediction, truth)
    for name, function in functions.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a class does not occur
            expected = function(truth.label, classes, sample_weight=truth.weight)
        assert values[name] == pytest.approx(expected, rel=1e-9, abs=1e-12), name


def weights(rng: np.random.Generator, count: int, weighted: bool) -> np.ndarray[Any, Any] | None:
    return rng.uniform(0.01, 3, count) if weighted else None


@quick
@given(seeds, rows, st.booleans(), st.floats(0, 1), st.booleans())
def test_binary(seed: int, count: int, weighted: bool, share: float, margins: bool) -> None:
    """A share of 0 or 1 gives constant labels."""
    rng = np.random.default_rng(seed)
    truth = Truth((rng.random(count) < share).astype(float), weights(rng, count, weighted), 2)
    prediction = (rng.normal(size=count) if margins else rng.random(count)).astype(np.float32)
    classes = prediction > (0 if margins else 0.5)
    objective = "binary:logitraw" if margins else "binary:logistic"
    agree(OF_ALL_CLASSES | OF_CLASS_1, objective, prediction, classes.astype(int), truth)


@quick
@given(seeds, rows, st.booleans(), st.integers(2, 7), st.booleans(), st.data())
def test_multiclass(
    seed: int, count: int, weighted: bool, k: int, as_ids: bool, data: st.DataObject
) -> None:
    """Classes drawn from two subsets, so that some occur on one side only or not at all."""
    rng = np.random.default_rng(seed)
    subset = st.lists(st.integers(0, k - 1), min_size=1, unique=True)
    label = rng.choice(data.draw(subset), count).astype(float)
    classes = rng.choice(data.draw(subset), count)
    truth = Truth(label, weights(rng, count, weighted), k)
    if as_ids:
        agree(OF_ALL_CLASSES, "multi:softmax", classes.astype(np.float32), classes, truth)
    else:
        probabilities = rng.random((count, k)).astype(np.float32)
        probabilities[np.arange(count), classes] += 1
        agree(OF_ALL_CLASSES, "multi:softprob", probabilities, classes, truth)


@quick
@given(seeds, st.integers(2, 60), st.booleans(), st.sampled_from([1e-3, 1.0, 1e4]))
def test_numbers(seed: int, count: int, weighted: bool, scale: float) -> None:
    rng = np.random.default_rng(seed)
    label = rng.normal(size=count).astype(np.float32).astype(float) * scale
    prediction = (label + rng.normal(size=count)).astype(np.float32)
    truth = Truth(label, some_zero(rng, count, weighted), 0)
    agree(OF_NUMBERS, "reg:squarederror", prediction, prediction.astype(float), truth)


@quick
@given(seeds, rows, st.booleans())
def test_positive_numbers(seed: int, count: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    label = rng.gamma(2, 3, count) + 0.1
    prediction = (rng.gamma(2, 3, count) + 0.1).astype(np.float32)
    truth = Truth(label, some_zero(rng, count, weighted), 0)
    values = evaluate(OF_POSITIVE_NUMBERS, "reg:gamma", prediction, truth)
    for name, function in OF_POSITIVE_NUMBERS.items():
        expected = function(label, prediction.astype(float), sample_weight=truth.weight)
        # XGBoost's gamma deviance, which it is, moves both 1e-6 away from 0.
        assert values[name] == pytest.approx(expected, rel=1e-4, abs=1e-9), name


@quick
@given(seeds, st.integers(2, 60), st.booleans(), st.sampled_from([2, 5, 1000]))
def test_probabilities(seed: int, count: int, weighted: bool, distinct: int) -> None:
    """Few distinct probabilities make ties."""
    rng = np.random.default_rng(seed)
    prediction = (rng.integers(1, distinct + 1, count) / (distinct + 1)).astype(np.float32)
    label = rng.integers(0, 2, count).astype(float)
    weight = some_zero(rng, count, weighted)
    label[0] = 1 - label[1]
    if weight is not None:
        weight[:2] = 1
    p, truth = prediction.astype(float), Truth(label, weight, 2)
    agree(OF_PROBABILITIES, "binary:logistic", prediction, p, truth)
    margin = np.log(p / (1 - p)).astype(np.float32)
    brier = evaluate(["brier"], "binary:logitraw", margin, truth)["brier"]
    assert brier == pytest.approx(sk.brier_score_loss(label, p, sample_weight=weight), rel=1e-5)


@quick
@given(seeds, rows, st.booleans(), st.integers(2, 6))
def test_probabilities_of_classes(seed: int, count: int, weighted: bool, k: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, k, count).astype(float)
    prediction = rng.dirichlet(np.ones(k), count).astype(np.float32)
    weight = some_zero(rng, count, weighted)
    truth, p = Truth(label, weight, k), prediction.astype(float)
    p /= p.sum(axis=1, keepdims=True)
    values = evaluate(["mlogloss", "brier", "auc"], "multi:softprob", prediction, truth)
    more: dict[str, Any] = {"labels": range(k), "sample_weight": weight}
    assert values["mlogloss"] == pytest.approx(sk.log_loss(label, p, **more), rel=1e-5, abs=1e-7)
    assert values["brier"] == pytest.approx(sk.brier_score_loss(label, p, **more), rel=1e-5)
    if k > 2 and len(np.unique(label[slice(None) if weight is None else weight > 0])) == k:
        # An area of k columns is one against the rest; scikit-learn wants it in these words.
        areas = sk.roc_auc_score(
            label, p, multi_class="ovr", average="weighted", labels=range(k), sample_weight=weight
        )
        assert values["auc"] == pytest.approx(areas, rel=1e-9)


def some_zero(rng: np.random.Generator, count: int, weighted: bool) -> np.ndarray[Any, Any] | None:
    """Return weights in single precision, as XGBoost holds them, some of them 0, not all."""
    weight = (rng.uniform(0, 3, count) * (rng.random(count) < 0.8)).astype(np.float32)
    weight[:2] = 1
    return weight.astype(float) if weighted else None


def xgboosts(
    objective: str, names: list[str], margin: np.ndarray[Any, Any], truth: Truth
) -> tuple[np.ndarray[Any, Any], dict[str, float]]:
    """Return the prediction of a model without trees for ``margin``, and its scores."""
    data = xgb.DMatrix(np.zeros((len(truth.label), 1)), truth.label, weight=truth.weight)
    data.set_base_margin(margin)
    params = {"objective": objective, "eval_metric": names, "nthread": 1, "verbosity": 0}
    if objective.startswith("multi:"):
        params["num_class"] = margin.shape[1]
    booster = xgb.Booster(params, [data])
    parts = booster.eval_set([(data, "d")], 0).split("\t")[1:]
    scores = {part.rsplit(":", 1)[0][2:]: float(part.rsplit(":", 1)[1]) for part in parts}
    return booster.predict(data), scores


def natives(objective: str) -> list[str]:
    """Return XGBoost's metrics of ``objective``, each with a parameter if it takes one."""
    suit = [name for name, each in METRICS.items() if each.native and each.suits(objective)]
    assert set(suit) - COMPUTABLE <= NOT_COMPUTABLE
    more = {
        "error": ["error", "error@0.1", "error@0.7"],
        "tweedie-nloglik": ["tweedie-nloglik@1.3"],
    }
    return [name for each in suit if each in COMPUTABLE for name in more.get(each, [each])]


def agree_with_xgboost(objective: str, margin: np.ndarray[Any, Any], truth: Truth) -> None:
    names = natives(objective)
    prediction, expected = xgboosts(objective, names, margin.astype(np.float32), truth)
    values = evaluate(names, objective, prediction, truth)
    assert set(expected) == set(values)
    for name in names:
        # XGBoost's rows are in single precision, which shows in small means.
        wanted = pytest.approx(expected[name], rel=1e-5, abs=1e-6, nan_ok=True)
        assert values[name] == wanted, name


TASKS = (REGRESSION, LOGISTIC, BINARY)
ONE_NUMBER = [name for name, each in OBJECTIVES.items() if each.task in TASKS]


@quick
@given(
    st.sampled_from(ONE_NUMBER), seeds, rows, st.booleans(), st.sampled_from([2, 9, 10**6]),
    st.sampled_from([0.1, 1, 30]),
)  # fmt: skip
def test_one_number_as_xgboost(
    objective: str, seed: int, count: int, weighted: bool, distinct: int, spread: float
) -> None:
    """Ties, one class only, probabilities of 0 and 1, labels between the classes."""
    rng = np.random.default_rng(seed)
    margin = np.round(rng.normal(size=count) * distinct) / distinct * spread
    task = OBJECTIVES[objective].task
    if task == REGRESSION:
        label = rng.choice([rng.poisson(2, count), rng.gamma(2, 2, count)]).astype(np.float32)
        margin = margin.clip(-5, 5)
    elif task == LOGISTIC:
        label = rng.random(count).astype(np.float32)
    else:
        label = rng.integers(0, 2, count)
    truth = Truth(label.astype(float), some_zero(rng, count, weighted), 2)
    agree_with_xgboost(objective, margin, truth)


@quick
@given(seeds, rows, st.booleans(), st.integers(2, 6), st.sampled_from([2, 10**6]))
def test_classes_as_xgboost(seed: int, count: int, weighted: bool, k: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    margin = np.round(rng.normal(size=(count, k)) * 3 * distinct) / distinct
    label = rng.integers(0, k, count).astype(float)
    truth = Truth(label, some_zero(rng, count, weighted), k)
    agree_with_xgboost("multi:softprob", margin, truth)


@quick
@given(seeds, st.integers(2, 40))
def test_a_row_of_weight_0_is_as_good_as_left_out(seed: int, count: int) -> None:
    """Not so in scikit-learn, whose macro averages still count the classes of such rows."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, count).astype(float)
    prediction = rng.integers(0, 4, count).astype(np.float32)
    weight = rng.uniform(0.1, 1, count)
    kept = rng.random(count) < 0.5
    kept[0] = True
    with_zeros = Truth(label, np.where(kept, weight, 0), 4)
    without = Truth(label[kept], weight[kept], 4)
    values = evaluate(OF_ALL_CLASSES, "multi:softmax", prediction, with_zeros)
    assert values == pytest.approx(
        evaluate(OF_ALL_CLASSES, "multi:softmax", prediction[kept], without)
    )
