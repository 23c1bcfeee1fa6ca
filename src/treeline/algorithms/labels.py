"""Which labels an objective can learn from, checked before XGBoost sees them.

XGBoost refuses some wrong labels in words that name no row, and trains on others without a
word: with labels 0, 1, 2 and binary:hinge its error rate comes out negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from treeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treeline.data.matrix import Floats, Matrix


@dataclass(frozen=True)
class _Rule:
    allowed: str
    bad: Callable[[Floats], NDArray[np.bool_]]
    remedy: str


def _classes(count: int) -> _Rule:
    return _Rule(
        f"a class number: 0 to {count - 1}" if count > 2 else "0 or 1",
        lambda y: (y != np.floor(y)) | (y < 0) | (y >= count),
        f"Number the classes 0 to {count - 1}"
        + (" and set num_class to how many there are." if count > 2 else "."),
    )


_PROBABILITY = _Rule(
    "between 0 and 1",
    lambda y: (y < 0) | (y > 1),
    "Encode the two classes as 0 and 1; for more classes use multi:softprob with num_class, "
    "for other numbers a reg: objective.",
)
_NOT_NEGATIVE = _Rule("0 or more", lambda y: y < 0, "Use reg:squarederror for such labels.")
_POSITIVE = _Rule("above 0", lambda y: y <= 0, "Use reg:squarederror for such labels.")
_ABOVE_MINUS_1 = _Rule("above -1", lambda y: y <= -1, "Use reg:squarederror for such labels.")
_GRADE = _Rule(
    "a relevance grade: a whole number, 0 or more",
    lambda y: (y != np.floor(y)) | (y < 0),
    "Give every row a relevance grade, larger is more relevant.",
)
_EXPONENTIAL_GRADE = _Rule(
    "a relevance grade: a whole number, 0 to 31",
    lambda y: (y != np.floor(y)) | (y < 0) | (y > 31),
    "Give grades up to 31, or set ndcg_exp_gain=false.",
)
_ANY = _Rule("any number", lambda y: np.zeros(y.shape, np.bool_), "")

_RULES = {
    "binary:logistic": _PROBABILITY,
    "binary:logitraw": _PROBABILITY,
    "reg:logistic": _PROBABILITY,
    "binary:hinge": _classes(2),
    "count:poisson": _NOT_NEGATIVE,
    "reg:tweedie": _NOT_NEGATIVE,
    "reg:gamma": _POSITIVE,
    "reg:squaredlogerror": _ABOVE_MINUS_1,
    "rank:map": _classes(2),
}


def check(
    matrix: Matrix, objective: str, num_class: int | None, *, classes_only: bool, exp_gain: bool
) -> None:
    """Raise ``DataError`` if a label of ``matrix`` does not fit ``objective``.

    ``classes_only`` says that a classification metric was asked for, which has no meaning for a
    label between two classes; ``exp_gain`` is whether NDCG's gain is exponential.
    """
    rule = _rule(objective, num_class, classes_only=classes_only, exp_gain=exp_gain)
    bad = rule.bad(matrix.label)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{matrix.origin.of(row)}: label {matrix.label[row]:g}, but {objective} needs "
            f"{rule.allowed}; {int(bad.sum())} such row(s) of {matrix.rows}",
            rule.remedy,
        )


def _rule(objective: str, num_class: int | None, *, classes_only: bool, exp_gain: bool) -> _Rule:
    if objective.startswith("multi:"):
        return _classes(num_class or 2)
    if classes_only:
        return _classes(2)
    if objective in ("rank:ndcg", "rank:pairwise"):  # also pairwise is scored by NDCG
        return _EXPONENTIAL_GRADE if exp_gain else _GRADE
    return _RULES.get(objective, _ANY)
