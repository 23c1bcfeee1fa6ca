"""Metrics computed here agree with scikit-learn's functions of the same names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from treeline.metrics.computed import CLASSIFICATION, REGRESSION, Truth, evaluate

MACRO: dict[str, Any] = {"average": "macro", "zero_division": 0}
MICRO: dict[str, Any] = {"average": "micro", "zero_division": 0}
BINARY: dict[str, Any] = {"average": "binary", "zero_division": 0}
OF_ALL_CLASSES: dict[str, Callable[..., float]] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "f1": partial(sk.f1_score, **MACRO),
    "f1_macro": partial(sk.f1_score, **MACRO),
    "precision_macro": partial(sk.precision_score, **MACRO),
    "precision_micro": partial(sk.precision_score, **MICRO),
    "recall_macro": partial(sk.recall_score, **MACRO),
    "recall_micro": partial(sk.recall_score, **MICRO),
}
OF_CLASS_1: dict[str, Callable[..., float]] = {
    "f1_binary": partial(sk.f1_score, **BINARY),
    "precision": partial(sk.precision_score, **BINARY),
    "recall": partial(sk.recall_score, **BINARY),
}
OF_NUMBERS: dict[str, Callable[..., float]] = {"mse": sk.mean_squared_error, "r2": sk.r2_score}

seeds = st.integers(0, 2**32 - 1)
rows = st.integers(1, 60)
quick = settings(max_examples=80, deadline=None)


def test_every_metric_is_held_against_one_of_scikit_learn() -> None:
    assert {*OF_ALL_CLASSES, *OF_CLASS_1} == set(CLASSIFICATION)
    assert set(OF_NUMBERS) == set(REGRESSION)


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
def test_regression(seed: int, count: int, weighted: bool, scale: float) -> None:
    rng = np.random.default_rng(seed)
    label = rng.normal(size=count).astype(np.float32).astype(float) * scale
    prediction = (label + rng.normal(size=count)).astype(np.float32)
    truth = Truth(label, weights(rng, count, weighted), 0)
    agree(OF_NUMBERS, "reg:squarederror", prediction, prediction.astype(float), truth)


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
