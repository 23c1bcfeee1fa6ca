"""The value of a metric from predictions, with instance weights, in numpy alone.

While boosting, XGBoost computes the metrics it has and this module the others. Where there is no
XGBoost (forests) or no single model (the pooled predictions of folds) everything in
``COMPUTABLE`` is computed here, equal to XGBoost's value where XGBoost has the metric.

The other definitions are those of scikit-learn's functions of the same names; ``f1``,
``precision`` and ``recall`` average as the built-in XGBoost image does: f1 is the macro average,
precision and recall are of class 1. A quotient with nothing below the line is 0. Weights that sum
to 0, which XGBoost scores as a perfect 0, are nothing to average over: nan.

Metrics of classes come from one weighted confusion matrix (rows: label, columns: predicted
class), so several of them cost one pass over the data. Means over rows are in ``losses``, areas
under curves in ``curves``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treeline.metrics import losses
from treeline.metrics.curves import CURVES

Doubles = NDArray[np.float64]
Predictions = NDArray[np.floating[Any]]

# Objectives whose prediction is a margin: class 1 begins at 0. For all others that predict one
# number a row it is a probability, or already 0 or 1, and class 1 begins above one half.
_MARGIN = ("binary:logitraw",)
_OF_PROBABILITIES = ("mlogloss", "brier", "auc", "aucpr")


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

    @cached_property
    def total(self) -> float:
        """The sum of the weights; without weights the number of rows."""
        return float(len(self.label) if self.weight is None else self.weight.sum())

    @cached_property
    def spread(self) -> float:
        """The variance of the labels; made once a job."""
        # From the first label on, so that constant labels have a spread of exactly 0.
        label = self.label - self.label[0]
        mean = np.average(label, weights=self.weight)
        return float(np.average((label - mean) ** 2, weights=self.weight))


def evaluate(
    names: Iterable[str], objective: str, prediction: Predictions, truth: Truth
) -> dict[str, float]:
    """Return the value of every metric in ``names``, in their order.

    The names are those of the catalogue, with a parameter where they have one (``error@0.7``),
    of families in ``COMPUTABLE``. ``prediction`` is what ``Booster.predict`` returns for
    ``objective``: (rows,), or (rows, classes) of probabilities for several classes. The class
    numbers of multi:softmax will do for metrics of classes; for the others give it probabilities.
    """
    values: dict[str, float] = {}
    confusion: Doubles | None = None
    for name in names:
        if not truth.total > 0:
            values[name] = math.nan
        elif name in CLASSIFICATION:
            if confusion is None:
                confusion = _confusion(predicted_class(objective, prediction), truth)
            values[name] = CLASSIFICATION[name](confusion)
        else:
            values[name] = _of_numbers(name, objective, prediction, truth)
    return values


def _of_numbers(name: str, objective: str, prediction: Predictions, truth: Truth) -> float:
    if objective == "multi:softmax" and prediction.ndim == 1 and name in _OF_PROBABILITIES:
        raise AssertionError(f"{name} of class numbers; it needs probabilities")
    if name == "r2":
        return _r2(losses.value("mse", prediction, truth.label, truth.weight), truth.spread)
    if name == "brier" and objective in _MARGIN:
        prediction = _sigmoid(prediction)
    metric = CURVES.get(name)
    if metric is not None:
        return metric(prediction, truth.label, truth.weight)
    return losses.value(name, prediction, truth.label, truth.weight)


def _sigmoid(margin: Predictions) -> Predictions:
    with np.errstate(over="ignore"):  # a probability of 0
        probability: Predictions = 1 / (1 + np.exp(-margin))
    return probability


def predicted_class(objective: str, prediction: Predictions) -> NDArray[np.intp]:
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


def _merror(c: Doubles) -> float:
    return 1.0 - _accuracy(c)


def _mcc(c: Doubles) -> float:
    labels, predicted = c.sum(axis=1), c.sum(axis=0)
    # Sums of products of different classes: exactly 0 where there is one class only.
    apart = float(labels @ (labels.sum() - labels)) * float(
        predicted @ (predicted.sum() - predicted)
    )
    if not apart > 0:
        return 0.0
    return float(c.trace() * c.sum() - labels @ predicted) / math.sqrt(apart)


def _r2(error: float, spread: float) -> float:
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
    "mcc": _mcc,
    "merror": _merror,
}

# The families that can be computed from predictions alone.
COMPUTABLE = frozenset({*CLASSIFICATION, *CURVES, *losses.FAMILIES, "r2"})
