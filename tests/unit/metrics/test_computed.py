"""Metrics computed here, by hand-made cases; random ones are in tests/property."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xgboost as xgb
from sklearn import metrics as sk

from treeline.metrics.computed import (
    CLASSIFICATION,
    COMPUTABLE,
    Truth,
    evaluate,
    predicted_class,
)
from treeline.metrics.names import METRICS


def truth(label: list[float], weight: list[float] | None = None, classes: int = 2) -> Truth:
    return Truth(np.array(label), None if weight is None else np.array(weight), classes)


def single(
    name: str, prediction: list[float], held_against: Truth, objective: str = "binary:logistic"
) -> float:
    return evaluate([name], objective, np.array(prediction, np.float32), held_against)[name]


def test_everything_that_xgboost_does_not_have_is_computed_here() -> None:
    assert set(METRICS) >= COMPUTABLE
    assert {name for name, metric in METRICS.items() if not metric.native} <= COMPUTABLE


@pytest.mark.parametrize(
    ("objective", "prediction", "classes"),
    [
        ("binary:logistic", [0.0, 0.49, 0.5, 0.51, 1.0], [0, 0, 0, 1, 1]),
        ("reg:logistic", [0.2, 0.7], [0, 1]),
        ("binary:hinge", [0.0, 1.0], [0, 1]),
        ("binary:logitraw", [-3.0, -0.01, 0.0, 0.01, 0.49, 3.0], [0, 0, 0, 1, 1, 1]),
        ("multi:softmax", [2.0, 0.0, 1.0], [2, 0, 1]),
    ],
)
def test_the_class_of_one_number_a_row(
    objective: str, prediction: list[float], classes: list[int]
) -> None:
    assert predicted_class(objective, np.array(prediction, np.float32)).tolist() == classes


def test_the_class_of_one_probability_a_class_is_the_largest() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3], [0.4, 0.2, 0.4]], np.float32)
    assert predicted_class("multi:softprob", probabilities).tolist() == [1, 0, 0]


@pytest.mark.parametrize("objective", ["binary:logistic", "binary:logitraw", "binary:hinge"])
def test_classes_are_those_of_xgboosts_own_error(objective: str) -> None:
    rng = np.random.default_rng(3)
    features = rng.random((200, 3))
    label = (features[:, 0] + rng.random(200) > 1).astype(np.float64)
    data = xgb.DMatrix(features, label)
    booster = xgb.train({"objective": objective, "max_depth": 2, "nthread": 1}, data, 3)
    booster.set_param({"eval_metric": "error@0" if objective == "binary:logitraw" else "error"})
    error = float(booster.eval(data).rsplit(":", 1)[1])
    accuracy = evaluate(["accuracy"], objective, booster.predict(data), Truth(label, None, 2))
    assert 0.5 < accuracy["accuracy"] < 1
    assert accuracy["accuracy"] == pytest.approx(1 - error, abs=1e-6)


@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
def test_classes_are_those_of_xgboosts_own_merror(objective: str) -> None:
    rng = np.random.default_rng(3)
    features = rng.random((200, 3))
    label = np.floor((features[:, 0] + rng.random(200)) * 2)
    data = xgb.DMatrix(features, label)
    booster = xgb.train(
        {"objective": objective, "num_class": 4, "max_depth": 2, "nthread": 1}, data, 3
    )
    booster.set_param({"eval_metric": "merror"})
    error = float(booster.eval(data).rsplit(":", 1)[1])
    accuracy = evaluate(["accuracy"], objective, booster.predict(data), Truth(label, None, 4))
    assert accuracy["accuracy"] == pytest.approx(1 - error, abs=1e-6)


def test_by_hand() -> None:
    # label 1: two found of three; label 0: one of two; three predicted 1.
    held = truth([1, 1, 1, 0, 0])
    prediction = [0.9, 0.8, 0.1, 0.7, 0.2]
    expected = {
        "accuracy": 3 / 5,
        "balanced_accuracy": (2 / 3 + 1 / 2) / 2,
        "f1": (2 / 3 + 1 / 2) / 2,
        "f1_macro": (2 / 3 + 1 / 2) / 2,
        "f1_binary": 2 / 3,
        "precision": 2 / 3,
        "precision_macro": (2 / 3 + 1 / 2) / 2,
        "precision_micro": 3 / 5,
        "recall": 2 / 3,
        "recall_macro": (2 / 3 + 1 / 2) / 2,
        "recall_micro": 3 / 5,
        "mcc": (2 * 1 - 1 * 1) / 6,
        "merror": 2 / 5,
    }
    values = evaluate(CLASSIFICATION, "binary:logistic", np.array(prediction, np.float32), held)
    assert values == pytest.approx(expected)
    assert list(values) == list(CLASSIFICATION)


def test_a_weight_counts_a_row_that_often() -> None:
    label, prediction, weight = [1, 0, 1, 0], [0.9, 0.8, 0.1, 0.2], [3.0, 1.0, 2.0, 0.0]
    often = [int(w) for w in weight]
    repeated = truth(np.repeat(label, often).tolist())
    copies = np.repeat(prediction, often).tolist()
    for family in COMPUTABLE - {"mlogloss", "mape"}:  # which two cannot do with such labels
        name = "tweedie-nloglik@1.5" if family == "tweedie-nloglik" else family
        weighted = single(name, prediction, truth([*map(float, label)], weight))
        assert weighted == pytest.approx(single(name, copies, repeated)), name
        assert np.isfinite(weighted), name


def test_a_quotient_with_nothing_below_the_line_is_0() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        all_wrong = truth([1.0, 1.0])
        values = evaluate(CLASSIFICATION, "binary:logistic", np.zeros(2, np.float32), all_wrong)
        assert {name for name, value in values.items() if value != 0.0} == {"merror"}
        no_class_1 = truth([0.0, 0.0])
        assert single("precision", [0.1, 0.1], no_class_1) == 0.0
        assert single("recall", [0.1, 0.1], no_class_1) == 0.0
        assert single("f1_binary", [0.1, 0.1], no_class_1) == 0.0
        assert single("f1", [0.1, 0.1], no_class_1) == 1.0
        assert single("balanced_accuracy", [0.1, 0.1], no_class_1) == 1.0


def test_regression_by_hand() -> None:
    held = truth([1.0, 2.0, 4.0])
    assert single("mse", [1.0, 3.0, 2.0], held, "reg:squarederror") == pytest.approx(5 / 3)
    assert single("r2", [1.0, 3.0, 2.0], held, "reg:squarederror") == pytest.approx(1 - 15 / 14)


@pytest.mark.parametrize("value", [0.0, 5.0, float(np.float32(0.1)), 1e7 + 0.7])
def test_r2_of_constant_labels_is_0_or_1_with_weights_too(value: float) -> None:
    """scikit-learn's convention; its own code meets rounding here and answers -1e31."""
    rng = np.random.default_rng(0)
    prediction = np.float32(value)
    for rows in (2, 3, 7, 50, 333):
        held = truth([float(prediction)] * rows, (rng.random(rows) + 0.01).tolist())
        assert single("r2", [float(prediction)] * rows, held, "reg:squarederror") == 1.0
        off = single("r2", [float(prediction) + 1] * rows, held, "reg:squarederror")
        assert off == 0.0


def test_float32_predictions_are_summed_in_double_precision() -> None:
    rows = 200_000
    prediction = np.full(rows, 1000.1, np.float32)
    label = np.zeros(rows)
    value = evaluate(["mse"], "reg:squarederror", prediction, Truth(label, None, 0))["mse"]
    assert value == pytest.approx(sk.mean_squared_error(label, prediction.astype(float)), rel=1e-12)
    assert isinstance(value, float)


def test_the_area_under_the_roc_curve_is_the_share_of_pairs_in_order() -> None:
    # Of 2 x 3 pairs four are in order, and one is a tie, which counts half.
    held = truth([1.0, 1.0, 0.0, 0.0, 0.0])
    assert single("auc", [0.8, 0.4, 0.6, 0.4, 0.1], held) == pytest.approx(4.5 / 6)
    assert single("auc", [0.5] * 5, held) == 0.5
    assert single("auc", [-1e-9, -2e-9, -3.0, -3.0, -4.0], held, "binary:logitraw") == 1.0


def test_the_area_under_the_precision_recall_curve() -> None:
    held = truth([1.0, 0.0])
    assert single("aucpr", [0.9, 0.1], held) == 1.0
    # One threshold: precision is a half at any recall.
    assert single("aucpr", [0.5, 0.5], held) == pytest.approx(0.5)
    # From a false hit on: the integral of t / (t + 1) from 0 to 1.
    assert single("aucpr", [0.1, 0.9], held) == pytest.approx(1 - np.log(2))


@pytest.mark.parametrize("name", ["auc", "aucpr"])
def test_without_rows_of_every_class_there_is_no_curve(name: str) -> None:
    for label in ([0.0, 0.0], [1.0, 1.0]):
        assert np.isnan(single(name, [0.2, 0.7], truth(label)))
    assert np.isnan(single(name, [0.2, 0.7], truth([0.0, 1.0], [0.3, 0.0])))
    three = np.full((4, 3), 1 / 3, np.float32)
    held = truth([0.0, 1.0, 1.0, 0.0], classes=3)
    assert np.isnan(evaluate([name], "multi:softprob", three, held)[name])


def test_an_average_over_no_weight_is_not_a_number() -> None:
    """XGBoost says 0 of rmse or logloss, which would be a perfect score."""
    held = truth([0.0, 1.0], [0.0, 0.0])
    names = [name for name in COMPUTABLE if name not in ("tweedie-nloglik", "mlogloss")]
    values = evaluate(names, "binary:logistic", np.array([0.2, 0.7], np.float32), held)
    assert len(values) == len(names)
    assert all(np.isnan(value) for value in values.values())


def test_the_threshold_of_error_is_in_single_precision_as_in_xgboost() -> None:
    on_it = [float(np.float32(0.1)), 0.2]
    assert single("error@0.1", on_it, truth([0.0, 1.0])) == 0.0
    assert single("error@0.3", on_it, truth([0.0, 1.0])) == 0.5
    assert single("error", on_it, truth([1.0, 1.0])) == 1.0


def test_brier_by_hand() -> None:
    held = truth([1.0, 0.0])
    assert single("brier", [0.75, 0.5], held) == pytest.approx((1 / 16 + 1 / 4) / 2)
    logits = [float(np.log(3)), 0.0]
    assert single("brier", logits, held, "binary:logitraw") == pytest.approx((1 / 16 + 1 / 4) / 2)
    assert single("brier", [-1e4, 1e4], held, "binary:logitraw") == 1.0
    two = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    as_one = evaluate(["brier"], "multi:softprob", two, held)["brier"]
    assert as_one == pytest.approx((1 / 16 + 1 / 4) / 2)
    three = np.array([[0.5, 0.25, 0.25]], np.float32)
    held = truth([0.0], classes=3)
    assert evaluate(["brier"], "multi:softprob", three, held)["brier"] == pytest.approx(3 / 8)


@pytest.mark.parametrize("name", ["mlogloss", "brier", "auc", "aucpr"])
def test_class_numbers_are_not_taken_for_probabilities(name: str) -> None:
    with pytest.raises(AssertionError, match="probabilities"):
        single(name, [2.0, 0.0], truth([2.0, 1.0], classes=3), "multi:softmax")
    assert single("merror", [2.0, 0.0], truth([2.0, 1.0], classes=3), "multi:softmax") == 0.5


def test_one_class_everywhere_has_an_mcc_of_0_with_weights_too() -> None:
    rng = np.random.default_rng(0)
    for rows in (2, 7, 50, 333):
        label = (rng.random(rows) < 0.5).astype(float).tolist()
        held = truth(label, (rng.random(rows) + 0.01).tolist())
        assert single("mcc", [0.9] * rows, held) == 0.0


def test_rows_are_counted_once_whatever_the_pieces() -> None:
    rng = np.random.default_rng(1)
    rows = 3 * (1 << 15) + 17
    label = rng.integers(0, 7, rows).astype(float)
    weight = rng.random(rows)
    probabilities = rng.dirichlet(np.ones(7), rows).astype(np.float32)
    values = evaluate(["mlogloss"], "multi:softprob", probabilities, Truth(label, weight, 7))
    own = probabilities[np.arange(rows), label.astype(int)].astype(float)
    assert values["mlogloss"] == pytest.approx(np.average(-np.log(own), weights=weight), rel=1e-12)
