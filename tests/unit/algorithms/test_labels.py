"""Every objective's rule for labels, held against XGBoost itself.

What XGBoost refuses has to be refused before, with the row; what it trains on without a word is
let through only where a model of it means something.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline.algorithms import labels
from treeline.data.matrix import Matrix, Origin
from treeline.errors import DataError
from treeline.metrics.names import OBJECTIVES

ROWS = 40
CANDIDATES = (-2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 31.0, 32.0, 40.0)
MORE: dict[str, dict[str, Any]] = {
    "multi:softmax": {"num_class": 3},
    "multi:softprob": {"num_class": 3},
    "reg:quantileerror": {"quantile_alpha": 0.5},
    "reg:expectileerror": {"expectile_alpha": 0.5},
}
# Labels that fit, to put a candidate among.
GOOD = {"reg:gamma": [1.0, 2.0], "survival:cox": [1.0, 2.0, -3.0]}

# Refused although XGBoost trains on them, and why.
STRICTER = {
    # No two classes: its error rate becomes negative, see below.
    "binary:hinge": {-2, -1, -0.5, 0.25, 0.5, 1.5, 2, 3, 31, 32, 40},
}


def matrix(label: list[float]) -> Matrix:
    values = np.array(label, np.float32)
    origin = Origin()
    origin.add("train/a.csv", 0)
    origin.add("train/b.csv", 5)
    return Matrix(np.zeros((len(label), 1), np.float32), values, None, None, "", origin)


def with_candidate(objective: str, value: float) -> list[float]:
    good = GOOD.get(objective, [0.0, 1.0])
    label = [good[i % len(good)] for i in range(ROWS)]
    label[7] = value
    return label


def error(objective: str, label: list[float], **more: Any) -> DataError | None:
    options = {"classes_only": False, "exp_gain": True, **more}
    num_class = MORE.get(objective, {}).get("num_class")
    try:
        labels.check(matrix(label), objective, num_class, **options)
    except DataError as refusal:
        return refusal
    return None


def xgboost_refuses(objective: str, label: list[float], **more: Any) -> bool:
    features = np.random.default_rng(0).random((ROWS, 2))
    data = xgb.DMatrix(features, label)
    if objective.startswith("rank:"):
        data.set_group([ROWS // 2, ROWS // 2])
    parameters = {"objective": objective, "nthread": 1, "max_depth": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        booster = xgb.Booster({**parameters, **MORE.get(objective, {}), **more}, [data])
        try:
            booster.update(data, 0)
            booster.update(data, 1)
            booster.eval(data)
        except xgb.core.XGBoostError:
            return True
    return False


# survival:aft takes bounds instead of labels, reg:linear is translated before.
@pytest.mark.parametrize("objective", sorted({*OBJECTIVES} - {"survival:aft", "reg:linear"}))
def test_what_xgboost_refuses_is_refused_before(objective: str) -> None:
    ours = {v for v in CANDIDATES if error(objective, with_candidate(objective, v))}
    xgboosts = {v for v in CANDIDATES if xgboost_refuses(objective, with_candidate(objective, v))}
    assert ours == xgboosts | STRICTER.get(objective, set())


def test_the_hinge_loss_makes_a_negative_error_rate_of_other_labels() -> None:
    features = np.random.default_rng(0).random((ROWS, 2))
    label = [i % 3 for i in range(ROWS)]
    data = xgb.DMatrix(features, [40.0 if i == 7 else y for i, y in enumerate(label)])
    booster = xgb.train({"objective": "binary:hinge", "nthread": 1}, data, 2)
    assert float(booster.eval(data).rsplit(":", 1)[1]) < 0


@pytest.mark.parametrize("objective", ["rank:ndcg", "rank:pairwise"])
def test_grades_without_the_exponential_gain(objective: str) -> None:
    """XGBoost then takes any number as a gain; only whole ones from 0 on are grades."""
    for value in CANDIDATES:
        label = with_candidate(objective, value)
        assert not xgboost_refuses(objective, label, ndcg_exp_gain=False)
        fits = value >= 0 and value == int(value)
        assert (error(objective, label, exp_gain=False) is None) == fits


def test_the_exponential_gain_ends_at_grade_31() -> None:
    refusal = error("rank:ndcg", [0, 31, 32])
    assert refusal is not None
    assert "label 32" in refusal.cause
    assert "0 to 31" in refusal.cause
    assert "ndcg_exp_gain=false" in refusal.remedy
    assert error("rank:ndcg", [0, 31, 32], exp_gain=False) is None


@pytest.mark.parametrize("objective", ["binary:logistic", "binary:logitraw"])
def test_a_classification_metric_needs_classes(objective: str) -> None:
    assert error(objective, [0, 1, 0.5]) is None
    refusal = error(objective, [0, 1, 0.5], classes_only=True)
    assert refusal is not None
    assert "label 0.5" in refusal.cause
    assert "0 or 1" in refusal.cause
    assert error(objective, [0, 1, 1], classes_only=True) is None


def test_a_classification_metric_of_several_classes_takes_them_all() -> None:
    assert error("multi:softprob", [0, 1, 2], classes_only=True) is None
    assert error("multi:softprob", [0, 1, 3], classes_only=True) is not None


def test_without_a_number_of_classes_there_are_two() -> None:
    labels.check(matrix([0, 1]), "multi:softmax", None, classes_only=False, exp_gain=True)
    with pytest.raises(DataError, match="0 or 1"):
        labels.check(matrix([0, 2]), "multi:softmax", None, classes_only=False, exp_gain=True)


def test_the_refusal_names_file_row_value_what_is_allowed_and_how_many() -> None:
    refusal = error("multi:softprob", [0, 1, 2, 0, 1, 2, 3.5, 0, 7])
    assert refusal is not None
    assert refusal.cause == (
        "train/b.csv row 2: label 3.5, but multi:softprob needs a class number: 0 to 2; "
        "2 such row(s) of 9"
    )
    assert refusal.remedy == "Number the classes 0 to 2 and set num_class to how many there are."


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_refusal_says_what_is_allowed_and_what_to_do(objective: str) -> None:
    refusal = error(objective, with_candidate(objective, -7.5))
    if refusal is None:
        assert xgboost_takes_any(objective)
        return
    assert re.fullmatch(
        rf"train/b\.csv row 3: label -7\.5, but {objective} needs .+; 1 such row\(s\) of {ROWS}",
        refusal.cause,
    )
    assert refusal.remedy.endswith(".")
    assert len(refusal.remedy) > 20


def xgboost_takes_any(objective: str) -> bool:
    return objective in ("survival:aft", "reg:linear") or not xgboost_refuses(
        objective, with_candidate(objective, -7.5)
    )
