"""The metrics that XGBoost does not have, from its predictions, with instance weights.

Definitions are those of scikit-learn's functions of the same names; ``f1``, ``precision`` and
``recall`` average as the built-in XGBoost image does: f1 is the macro average, precision and
recall are of class 1. A quotient with nothing below the line is 0.

All classification metrics come from one weighted confusion matrix (rows: label, columns:
predicted class), so several of them cost one pass over the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# Objectives whose prediction is a margin: class 1 begins at 0. For all others that predict one
# number a row it is a probability, or already 0 or 1, and class 1 begins above one half.
_MARGIN = ("binary:logitraw",)


@dataclass(frozen=True)
class Truth:
    """What predictions of one data set are held against.

    ``label`` and ``weight`` are (rows,); ``classes`` is the number of classes, or 0 where the
    labels are not classes.
    """

    label: Doubles
    weight: Doubles | None
    classes: int

    @cached_property
    def first_cells(self) -> NDArray[np.intp]:
        """Where each row's label begins in the flattened confusion matrix; made once a job."""
        return self.label.astype(np.intp) * self.classes


def evaluate(
    names: Iterable[str], objective: str, prediction: NDArray[np.float32], truth: Truth
) -> dict[str, float]:
    """Return the value of every metric in ``names``.

    ``prediction`` is what ``Booster.predict`` returns for ``objective``: (rows,), or
    (rows, classes) for multi:softprob.
    """
    values: dict[str, float] = {}
    confusion: Doubles | None = None
    for name in names:
        if name in CLASSIFICATION:
            if confusion is None:
                confusion = _confusion(predicted_class(objective, prediction), truth)
            values[name] = CLASSIFICATION[name](confusion)
        else:
            values[name] = REGRESSION[name](prediction.astype(np.float64), truth)
    return values


def predicted_class(objective: str, prediction: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the class number of every row."""
    if prediction.ndim == 2:
        return prediction.argmax(axis=1)
    if objective == "multi:softmax":
        return prediction.astype(np.intp)
    threshold = 0.0 if objective in _MARGIN else 0.5
    return (prediction > threshold).astype(np.intp)


def _confusion(predicted: NDArray[np.intp], truth: Truth) -> Doubles:
    k = truth.classes
    cell = truth.first_cells + predicted
    return np.bincount(cell, weights=truth.weight, minlength=k * k).reshape(k, k).astype(np.float64)


def _over(above: Doubles, below: Doubles) -> Doubles:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _recalls(c: Doubles) -> Doubles:
    return _over(c.diagonal().copy(), c.sum(axis=1))


def _precisions(c: Doubles) -> Doubles:
    return _over(c.diagonal().copy(), c.sum(axis=0))


def _f1s(c: Doubles) -> Doubles:
    return _over(2 * c.diagonal(), c.sum(axis=0) + c.sum(axis=1))


def _accuracy(c: Doubles) -> float:
    return float(c.trace() / c.sum())


def _macro(of_classes: Callable[[Doubles], Doubles]) -> Callable[[Doubles], float]:
    """Average over the classes that occur, as label or as prediction."""

    def average(c: Doubles) -> float:
        return float(of_classes(c)[(c.sum(axis=0) + c.sum(axis=1)) > 0].mean())

    return average


def _of_class_1(of_classes: Callable[[Doubles], Doubles]) -> Callable[[Doubles], float]:
    return lambda c: float(of_classes(c)[1])


def _balanced_accuracy(c: Doubles) -> float:
    return float(_recalls(c)[c.sum(axis=1) > 0].mean())


def _mse(prediction: Doubles, truth: Truth) -> float:
    return float(np.average((truth.label - prediction) ** 2, weights=truth.weight))


def _r2(prediction: Doubles, truth: Truth) -> float:
    # From the first label on, so that constant labels have a spread of exactly 0.
    label = truth.label - truth.label[0]
    mean = np.average(label, weights=truth.weight)
    spread = float(np.average((label - mean) ** 2, weights=truth.weight))
    error = _mse(prediction, truth)
    if spread == 0.0:  # constant labels: scikit-learn's convention
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / spread


CLASSIFICATION: dict[str, Callable[[Doubles], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _macro(_f1s),
    "f1_macro": _macro(_f1s),
    "f1_binary": _of_class_1(_f1s),
    "precision": _of_class_1(_precisions),
    "precision_macro": _macro(_precisions),
    "precision_micro": _accuracy,  # with one class a row, micro averages are the accuracy
    "recall": _of_class_1(_recalls),
    "recall_macro": _macro(_recalls),
    "recall_micro": _accuracy,
}

REGRESSION: dict[str, Callable[[Doubles, Truth], float]] = {"mse": _mse, "r2": _r2}
