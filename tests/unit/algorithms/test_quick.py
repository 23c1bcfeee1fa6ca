"""The quick logloss is XGBoost's own, and is used where nothing else is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline.algorithms import quick
from treeline.data.records import Floats

ROWS = 100_000  # more than a piece


def scored_by_xgboost(margin: Floats, label: Floats, weight: Floats | None) -> float:
    data = xgb.DMatrix(np.zeros((len(label), 1)), label, weight=weight, base_margin=margin)
    booster = xgb.Booster({"objective": "binary:logistic", "base_score": 0.5}, [data])
    return float(booster.eval(data).rsplit(":", 1)[1])


@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0, 60.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_xgboosts(scale: float, weighted: bool) -> None:
    random = np.random.default_rng(int(scale * 100))
    margin = (random.normal(size=ROWS) * scale).astype(np.float32)
    label = (random.random(ROWS) < 0.3).astype(np.float32)
    weight = random.random(ROWS).astype(np.float32) if weighted else None
    found = quick.TrainLogloss(label, weight).of(margin)
    assert found == pytest.approx(scored_by_xgboost(margin, label, weight), rel=1e-6, abs=1e-8)


def test_certain_and_wrong_is_bounded_as_xgboost_bounds_it() -> None:
    margin = np.array([200.0, -200.0, 200.0, -200.0, 20.0], np.float32)
    label = np.array([0, 1, 1, 0, 0], np.float32)
    found = quick.TrainLogloss(label, None).of(margin)
    assert found == pytest.approx(scored_by_xgboost(margin, label, None), rel=1e-6)
    assert found > 20


def test_margins_are_left_as_they_are() -> None:
    margin = np.linspace(-3, 3, 7, dtype=np.float32)
    before = margin.copy()
    quick.TrainLogloss(np.ones(7, np.float32), None).of(margin)
    assert np.array_equal(margin, before)


@pytest.mark.parametrize(
    ("objective", "metrics", "booster", "label", "expected"),
    [
        ("binary:logistic", [], {}, [0, 1], True),
        ("binary:logistic", ["logloss"], {}, [0, 1], True),
        ("binary:logistic", ["logloss", "auc"], {}, [0, 1], False),
        ("binary:logistic", ["auc"], {}, [0, 1], False),
        ("binary:logistic", [], {"disable_default_eval_metric": 1}, [0, 1], False),
        ("binary:logistic", [], {}, [0, 0.5], False),
        ("binary:logistic", [], {}, None, False),
        ("reg:logistic", [], {}, [0, 1], False),
        ("reg:squarederror", [], {}, [0, 1], False),
    ],
)
def test_where_it_is_used(
    objective: str, metrics: list[str], booster: dict[str, Any], label: Any, expected: bool
) -> None:
    column = None if label is None else np.array(label, np.float32)
    assert quick.suits(objective, metrics, booster, column) is expected
