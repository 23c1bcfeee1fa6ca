"""Areas under the ROC and the precision-recall curve, exact for ties and with instance weights.

Both are XGBoost 3.4.1's: between two thresholds the ROC curve is a straight line, and on the
precision-recall curve false hits grow in proportion to true ones (Davis and Goadrich, 2006; in
closed form Keilwagen, Grosse and Grau, 2014, doi:10.1371/journal.pone.0092209), which is not
scikit-learn's ``average_precision``. Several classes are scored one against the rest; ``auc`` is
then the mean weighted by how often a class occurs, ``aucpr`` the plain mean. Where a class, or
its rest, does not occur there is no curve: nan.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Scores = NDArray[np.floating[Any]]


def auc(score: Scores, label: Doubles, weight: Doubles | None) -> float:
    """Return the area under the ROC curve.

    ``score`` is (rows,), or (rows, classes) with class numbers as ``label``; a label between 0
    and 1 is that much of a positive.
    """
    if score.ndim == 1:
        return _roc(*_hits(score, label, weight))
    curves = _against_rest(score, label, weight)
    positives = [true[-1] for true, _ in curves]
    return float(np.average([_roc(*curve) for curve in curves], weights=positives))


def aucpr(score: Scores, label: Doubles, weight: Doubles | None) -> float:
    """Return the area under the precision-recall curve; arguments as for ``auc``."""
    if score.ndim == 1:
        return _precision_recall(*_hits(score, label, weight))
    areas = [_precision_recall(*curve) for curve in _against_rest(score, label, weight)]
    return float(np.mean(areas))


CURVES = {"auc": auc, "aucpr": aucpr}


def _against_rest(
    score: Scores, label: Doubles, weight: Doubles | None
) -> list[tuple[Doubles, Doubles]]:
    classes = range(score.shape[1])
    return [_hits(score[:, k], (label == k).astype(np.float64), weight) for k in classes]


def _hits(score: Scores, label: Doubles, weight: Doubles | None) -> tuple[Doubles, Doubles]:
    """Return the true and the false hits at each threshold, from none to all.

    There is a threshold between any two scores that differ, so rows of equal score come together.
    """
    order = np.argsort(score)[::-1]
    ordered = score[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(order) - 1)
    true, false = label[order], 1 - label[order]
    if weight is not None:
        true, false = true * weight[order], false * weight[order]
    return _sums(true, last), _sums(false, last)


def _sums(each: Doubles, last: NDArray[np.intp]) -> Doubles:
    return np.concatenate(([0.0], np.cumsum(each)[last]))


def _roc(true: Doubles, false: Doubles) -> float:
    whole = float(true[-1] * false[-1])
    if not whole > 0:
        return math.nan
    return float(np.diff(false) @ (true[1:] + true[:-1])) / 2 / whole


def _precision_recall(true: Doubles, false: Doubles) -> float:
    """Sum the integrals of t / (t + f) over t, with f = offset + slope * t between thresholds."""
    if not true[-1] * false[-1] > 0:
        return math.nan
    rising = np.diff(true) > 0
    step = np.diff(true)[rising]
    t, f = true[:-1][rising], false[:-1][rising]
    after = true[1:][rising] + false[1:][rising]
    slope = np.diff(false)[rising] / step
    offset = f - slope * t
    # From the start of the curve f is in proportion to t, and the logarithm has no part.
    growth = np.divide(after, t + f, out=np.ones_like(after), where=t + f > 0)
    area = step / (1 + slope) - offset / (1 + slope) ** 2 * np.log(growth)
    return float(area.sum() / true[-1])
