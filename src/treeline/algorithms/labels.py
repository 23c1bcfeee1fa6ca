"""Which labels an objective can learn from: encoded and checked before XGBoost sees them.

Classes may be texts or any numbers; XGBoost wants 0, 1, 2. It refuses some wrong labels in words
that name no row, and trains on others without a word: with labels 0, 1, 2 and binary:hinge its
error rate comes out negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from treeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treeline.data.matrix import Matrix
    from treeline.data.records import Floats


# Texts, or the numbers that stood in the data; the position is the class number.
type Classes = tuple[str, ...] | tuple[float, ...]


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


def encode(
    matrix: Matrix, objective: str, num_class: int | None, known: Classes | None, role: str
) -> Classes | None:
    """Number the classes in ``matrix.label`` from 0, and return them in that order.

    None says that the labels are used as they are. ``known`` are the classes of the training
    data, for every other data set. Raises ``DataError`` for text where the objective learns
    numbers, for another number of classes than the objective has, and for a class that the
    training data does not have.
    """
    texts = matrix.schema.classes
    count = num_class if objective.startswith("multi:") else 2
    if not _classifies(objective):
        if texts:
            raise DataError(
                f"{matrix.origin.of(0)}: the label is text ({_listed(texts)}), and {objective} "
                "learns numbers",
                "Name the right column with label_column, or choose binary:logistic or "
                "multi:softprob.",
            )
        return None
    if texts is not None:
        if texts != known and (known is not None or role != "train"):
            there = "train" if role != "train" else "the earlier model"
            raise DataError(
                f"{matrix.origin.of(0)}: the label is text ({_listed(texts)}), in {there} it is a "
                "number",
                "Give all channels the same labels.",
            )
        return _checked_count(texts, count, objective, matrix)
    if known is not None:
        if isinstance(known[0], str):
            raise DataError(
                f"{matrix.origin.of(0)}: the label is a number, in train it is text "
                f"({_listed(known)})",
                "Give all channels the same labels.",
            )
        _renumber(matrix, known, role)
        return known
    if role != "train" or matrix.label is None or _fits(matrix.label, objective, count):
        return None
    distinct = np.unique(matrix.label)
    if len(distinct) != count or not np.isfinite(distinct).all():
        return None  # check says what is wrong with them
    classes = tuple(float(value) for value in distinct)
    _renumber(matrix, classes, role)
    return classes


def check(
    matrix: Matrix, objective: str, num_class: int | None, *, classes_only: bool, exp_gain: bool
) -> None:
    """Raise ``DataError`` if a label of ``matrix`` does not fit ``objective``.

    ``classes_only`` says that a classification metric was asked for, which has no meaning for a
    label between two classes; ``exp_gain`` is whether NDCG's gain is exponential.
    """
    if matrix.label is None:
        return
    rule = _rule(objective, num_class, classes_only=classes_only, exp_gain=exp_gain)
    bad = rule.bad(matrix.label)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{matrix.origin.of(row)}: label {matrix.label[row]:g}, but {objective} needs "
            f"{rule.allowed}; {int(bad.sum())} such row(s) of {matrix.rows}",
            rule.remedy,
        )


def check_several(matrix: Matrix, objective: str) -> None:
    """Refuse training data in which every row has the same class."""
    if matrix.label is None or not _classifies(objective):
        return
    first = matrix.label[0]
    if (matrix.label == first).all():
        raise DataError(
            f"{matrix.origin.of(0)}: all {matrix.rows} labels are {first:g}; {objective} needs at "
            "least two classes",
            "Check label_column, and that the data was not sorted or filtered by the label.",
        )


def _classifies(objective: str) -> bool:
    return objective.startswith(("binary:", "multi:"))


def _fits(label: Floats, objective: str, count: int | None) -> bool:
    """Whether the labels are what XGBoost takes: class numbers, or for two classes a share."""
    if objective in ("binary:logistic", "binary:logitraw"):
        return bool(((label >= 0) & (label <= 1)).all())
    return not _classes(count or 2).bad(label).any()


def _checked_count(
    classes: tuple[str, ...], count: int | None, objective: str, matrix: Matrix
) -> tuple[str, ...]:
    if len(classes) != count:
        raise DataError(
            f"{matrix.origin.names[0]}: the label has {len(classes)} classes ({_listed(classes)}), "
            f"{objective} here learns {count}",
            f"Set objective=multi:softprob and num_class={len(classes)}, or correct the labels."
            if len(classes) > 2
            else "Use binary:logistic for two classes, and give it rows of both.",
        )
    return classes


def _renumber(matrix: Matrix, classes: Classes, role: str) -> None:
    if matrix.label is None:
        return
    values = np.array(classes, np.float32)
    places = np.searchsorted(values, matrix.label).clip(0, len(values) - 1)
    strange = values[places] != matrix.label
    if strange.any():
        row = int(strange.argmax())
        raise DataError(
            f"{matrix.origin.of(row)}: label {matrix.label[row]:g} is none of the classes of train "
            f"({_listed(classes)}); {int(strange.sum())} such row(s) of {matrix.rows} in {role}",
            "Give every class to train, or drop these rows.",
        )
    matrix.label[:] = places


def _listed(classes: Classes) -> str:
    shown = ", ".join(repr(c) if isinstance(c, str) else f"{c:g}" for c in classes[:6])
    return shown + (f" and {len(classes) - 6} more" if len(classes) > 6 else "")


def _rule(objective: str, num_class: int | None, *, classes_only: bool, exp_gain: bool) -> _Rule:
    if objective.startswith("multi:"):
        return _classes(num_class or 2)
    if classes_only:
        return _classes(2)
    if objective in ("rank:ndcg", "rank:pairwise"):  # also pairwise is scored by NDCG
        return _EXPONENTIAL_GRADE if exp_gain else _GRADE
    return _RULES.get(objective, _ANY)
