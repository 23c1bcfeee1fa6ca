"""Metrics computed here, by hand-made cases; random ones are in tests/property."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xgboost as xgb
from sklearn import metrics as sk

from treeline.metrics.computed import (
    CLASSIFICATION,
    REGRESSION,
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


def test_exactly_the_metrics_the_catalogue_says_are_computed_here() -> None:
    computed = {name for name, metric in METRICS.items() if not metric.native}
    assert {*CLASSIFICATION, *REGRESSION} == computed


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
    }
    values = evaluate(CLASSIFICATION, "binary:logistic", np.array(prediction, np.float32), held)
    assert values == pytest.approx(expected)
    assert list(values) == list(CLASSIFICATION)


def test_a_weight_counts_a_row_that_often() -> None:
    label, prediction, weight = [1, 0, 1, 0], [0.9, 0.8, 0.1, 0.2], [3.0, 1.0, 2.0, 0.0]
    often = [int(w) for w in weight]
    repeated = truth(np.repeat(label, often).tolist())
    copies = np.repeat(prediction, often).tolist()
    for name in (*CLASSIFICATION, *REGRESSION):
        weighted = single(name, prediction, truth([*map(float, label)], weight))
        assert weighted == pytest.approx(single(name, copies, repeated)), name


def test_a_quotient_with_nothing_below_the_line_is_0() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        all_wrong = truth([1.0, 1.0])
        values = evaluate(CLASSIFICATION, "binary:logistic", np.zeros(2, np.float32), all_wrong)
        assert set(values.values()) == {0.0}
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
