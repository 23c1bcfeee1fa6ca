"""Classes as XGBoost numbers them; every objective's rule for labels, held against XGBoost.

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
from treeline.algorithms.labels import Classes
from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin, Schema
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


def matrix(label: list[float] | None, classes: tuple[str, ...] | None = None) -> Matrix:
    origin = Origin()
    origin.add("train/a.csv", 0)
    origin.add("train/b.csv", 5)
    rows = 1 if label is None else len(label)
    features = np.zeros((rows, 1), np.float32)
    stats = ColumnStats()
    stats.update(features)
    return Matrix(
        features=features,
        label=None if label is None else np.array(label, np.float32),
        weight=None,
        group=None,
        group_names=(),
        lower=None,
        upper=None,
        margin=None,
        schema=Schema(1, classes=classes),
        stats=stats,
        hashes=np.zeros(rows, np.uint64),
        fingerprint="",
        origin=origin,
    )


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


# --- classes


def encoded(
    found: Matrix,
    objective: str = "binary:logistic",
    num_class: int | None = None,
    known: Classes | None = None,
    role: str = "train",
) -> tuple[Classes | None, list[float] | None]:
    classes = labels.encode(found, objective, num_class, known, role)
    return classes, None if found.label is None else found.label.tolist()


def refusal_of(*arguments: Any, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        encoded(*arguments, **options)
    assert caught.value.remedy.endswith(".")
    return caught.value.cause


@pytest.mark.parametrize(
    ("objective", "num_class", "label", "classes", "numbers"),
    [
        ("binary:logistic", None, [1, 2, 1], (1, 2), [0, 1, 0]),
        ("binary:hinge", None, [-1, 1, -1], (-1, 1), [0, 1, 0]),
        ("binary:logitraw", None, [7, 0.5, 7], (0.5, 7), [1, 0, 1]),
        ("multi:softprob", 3, [5, 0, 2, 5], (0, 2, 5), [2, 0, 1, 2]),
        ("multi:softmax", 3, [1, 2, 3], (1, 2, 3), [0, 1, 2]),
        ("multi:softmax", 3, [0.1, 0.2, 0.3], tuple(np.array([0.1, 0.2, 0.3], np.float32).tolist()),
         [0, 1, 2]),
        # What XGBoost takes stays as it is.
        ("binary:logistic", None, [0, 1, 1], None, [0, 1, 1]),
        ("binary:logistic", None, [0.25, 0.75, 0.25], None, [0.25, 0.75, 0.25]),
        ("multi:softprob", 3, [0, 2, 2], None, [0, 2, 2]),
        ("reg:squarederror", None, [5, 7, 5], None, [5, 7, 5]),
        ("count:poisson", None, [1, 2, 2], None, [1, 2, 2]),
        ("rank:map", None, [1, 2, 2], None, [1, 2, 2]),
        # Another number of classes than the objective has is left to the check.
        ("binary:logistic", None, [1, 2, 3], None, [1, 2, 3]),
        ("binary:logistic", None, [2, 2, 2], None, [2, 2, 2]),
        ("multi:softprob", 3, [1, 3, 3], None, [1, 3, 3]),
    ],
)  # fmt: skip
def test_numbers_as_classes(
    objective: str, num_class: int | None, label: Any, classes: Any, numbers: Any
) -> None:
    assert encoded(matrix(label), objective, num_class) == (classes, numbers)


def test_texts_are_classes_already() -> None:
    found = matrix([0, 1, 1], ("no", "yes"))
    assert encoded(found) == (("no", "yes"), [0, 1, 1])
    assert encoded(found, known=("no", "yes"), role="validation") == (("no", "yes"), [0, 1, 1])
    three = matrix([0, 1, 2], ("a", "b", "c"))
    assert encoded(three, "multi:softprob", 3) == (("a", "b", "c"), [0, 1, 2])


@pytest.mark.parametrize(
    ("texts", "objective", "num_class", "cause", "remedy"),
    [
        (
            ("a", "b", "c"), "binary:logistic", None,
            "train/a.csv: the label has 3 classes ('a', 'b', 'c'), binary:logistic here learns 2",
            "num_class=3",
        ),
        (
            ("a", "b"), "multi:softprob", 3,
            "train/a.csv: the label has 2 classes ('a', 'b'), multi:softprob here learns 3",
            "binary:logistic",
        ),
        (
            tuple("abcdefgh"), "multi:softprob", 9,
            "train/a.csv: the label has 8 classes ('a', 'b', 'c', 'd', 'e', 'f' and 2 more), "
            "multi:softprob here learns 9",
            "num_class=8",
        ),
        (
            ("a", "b"), "reg:squarederror", None,
            "train/a.csv row 1: the label is text ('a', 'b'), and reg:squarederror learns numbers",
            "label_column",
        ),
        (
            ("a", "b"), "rank:ndcg", None,
            "train/a.csv row 1: the label is text ('a', 'b'), and rank:ndcg learns numbers",
            "label_column",
        ),
    ],
)  # fmt: skip
def test_texts_that_do_not_fit(
    texts: Any, objective: str, num_class: int | None, cause: str, remedy: str
) -> None:
    with pytest.raises(DataError) as caught:
        encoded(matrix([0, 1, 0], texts), objective, num_class)
    assert caught.value.cause == cause
    assert remedy in caught.value.remedy


def test_validation_has_the_numbers_of_train() -> None:
    known = (-1.0, 2.0, 5.0)
    found = matrix([5, -1, 5])
    assert encoded(found, "multi:softprob", 3, known, "validation") == (known, [2, 0, 2])
    # Two classes that it has by chance are not numbered anew.
    assert encoded(matrix([1, 2, 1]), role="validation") == (None, [1, 2, 1])


@pytest.mark.parametrize("strange", [-2, 0, 3, 7])
def test_a_class_that_train_does_not_have(strange: float) -> None:
    label = [-1, 2, 5, 2, -1, -1, strange, 2, strange]
    known = (-1.0, 2.0, 5.0)
    assert refusal_of(matrix(label), "multi:softprob", 3, known, "validation") == (
        f"train/b.csv row 2: label {strange} is none of the classes of train (-1, 2, 5); "
        "2 such row(s) of 9 in validation"
    )


def test_texts_and_numbers_are_not_the_same_classes() -> None:
    numbers, texts = [0.0, 1.0, 1.0], ("a", "b")
    assert refusal_of(matrix(numbers), known=texts, role="validation") == (
        "train/a.csv row 1: the label is a number, in train it is text ('a', 'b')"
    )
    for known in (None, (1.0, 2.0)):
        assert refusal_of(matrix(numbers, texts), known=known, role="validation") == (
            "train/a.csv row 1: the label is text ('a', 'b'), in train it is a number"
        )
    assert refusal_of(matrix(numbers, texts), known=(1.0, 2.0)) == (
        "train/a.csv row 1: the label is text ('a', 'b'), in the earlier model it is a number"
    )


def test_no_label_has_no_classes() -> None:
    assert encoded(matrix(None), "survival:aft") == (None, None)
    labels.check(matrix(None), "survival:aft", None, classes_only=False, exp_gain=True)
    labels.check_several(matrix(None), "survival:aft")


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob"])
def test_one_class_alone_is_refused(objective: str) -> None:
    with pytest.raises(DataError) as caught:
        labels.check_several(matrix([1, 1, 1]), objective)
    assert caught.value.cause == (
        f"train/a.csv row 1: all 3 labels are 1; {objective} needs at least two classes"
    )
    labels.check_several(matrix([1, 1, 0]), objective)
    labels.check_several(matrix([1, 1, 1]), "reg:squarederror")
