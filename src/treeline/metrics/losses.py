"""Metrics that are a mean over rows: the loss of one row, and what is made of the mean.

Where XGBoost has a metric of the same name the formula is XGBoost 3.4.1's, with its bounds: a
probability below 1e-16 counts as 1e-16, a gamma value is moved 1e-6 away from 0. ``brier`` is
scikit-learn's ``brier_score_loss`` with its defaults.

Rows are worked on in pieces, in double precision: XGBoost's single precision agrees to about 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
# (rows,), or (rows, classes) of probabilities, and (rows,) of labels -> the loss of every row
type Loss = Callable[[Doubles, Doubles], Doubles]

_PIECE = 1 << 15  # numbers worked on at a time, in the processor's cache
_LEAST = 1e-16  # the least probability, and the least mean of a Poisson count
_GAMMA = 1e-6


def _squared(p: Doubles, y: Doubles) -> Doubles:
    return (y - p) ** 2


def _squared_log(p: Doubles, y: Doubles) -> Doubles:
    return _squared(np.log1p(p), np.log1p(y))


def _absolute(p: Doubles, y: Doubles) -> Doubles:
    return np.abs(y - p)


def _relative(p: Doubles, y: Doubles) -> Doubles:
    return np.abs((y - p) / y)


def _log(p: Doubles, y: Doubles) -> Doubles:
    one, zero = np.log(np.maximum(p, _LEAST)), np.log(np.maximum(1 - p, _LEAST))
    return -(y * one + (1 - y) * zero)


def _wrong(p: Doubles, y: Doubles, threshold: float = 0.5) -> Doubles:
    return np.where(p > np.float32(threshold), 1 - y, y)  # in XGBoost it is a float32, like p


def _poisson(p: Doubles, y: Doubles) -> Doubles:
    p = np.maximum(p, _LEAST)
    counts, place = np.unique(y, return_inverse=True)
    log_factorial = np.array([math.lgamma(count + 1) for count in counts.tolist()])
    return log_factorial[place] + p - np.log(p) * y


def _gamma(p: Doubles, y: Doubles) -> Doubles:
    p = np.maximum(p, _GAMMA)
    return y / p + np.log(p)


def _gamma_deviance(p: Doubles, y: Doubles) -> Doubles:
    ratio = (y + _GAMMA) / (p + _GAMMA)
    return 2 * (ratio - 1 - np.log(ratio))


def _tweedie(p: Doubles, y: Doubles, power: float) -> Doubles:
    # A float32 in XGBoost, which shows near a power of 1, where two large terms cancel.
    rho = float(np.float32(power))
    return p ** (2 - rho) / np.float64(2 - rho) - y * p ** (1 - rho) / np.float64(1 - rho)


def _of_label(p: Doubles, y: Doubles) -> Doubles:
    """Return the probability of each row's own class."""
    own: Doubles = p[np.arange(len(y)), y.astype(np.intp)]
    return own


def _multiclass_log(p: Doubles, y: Doubles) -> Doubles:
    return -np.log(np.maximum(_of_label(p, y), _LEAST))


def _brier(p: Doubles, y: Doubles) -> Doubles:
    if p.ndim == 1:
        return _squared(p, y)
    # The square of p - 1 for the own class and of p for all others, summed.
    squares: Doubles = (p * p).sum(axis=1) - 2 * _of_label(p, y) + 1
    return squares / 2 if p.shape[1] == 2 else squares  # as from one probability a row


_LOSSES: dict[str, Loss] = {
    "rmse": _squared,
    "mse": _squared,
    "rmsle": _squared_log,
    "mae": _absolute,
    "mape": _relative,
    "logloss": _log,
    "error": _wrong,
    "mlogloss": _multiclass_log,
    "brier": _brier,
    "poisson-nloglik": _poisson,
    "gamma-nloglik": _gamma,
    "gamma-deviance": _gamma_deviance,
}
# Those of a number that their name carries.
_OF_NUMBER: dict[str, Callable[[Doubles, Doubles, float], Doubles]] = {
    "error": _wrong,
    "tweedie-nloglik": _tweedie,
}
_ROOTS = ("rmse", "rmsle")
FAMILIES = frozenset({*_LOSSES, *_OF_NUMBER})


def value(
    name: str, prediction: NDArray[np.floating[Any]], label: Doubles, weight: Doubles | None
) -> float:
    """Return the metric ``name``, with its parameter if it has one: ``error@0.7``.

    ``label`` and ``weight`` are (rows,); weights do not sum to 0.
    """
    family, at, number = name.partition("@")
    loss = _at(family, float(number)) if at else _LOSSES[family]
    mean = _mean(loss, prediction, label, weight)
    return math.sqrt(mean) if family in _ROOTS else mean


def _at(family: str, number: float) -> Loss:
    of_number = _OF_NUMBER[family]
    return lambda p, y: of_number(p, y, number)


def _mean(
    loss: Loss, prediction: NDArray[np.floating[Any]], label: Doubles, weight: Doubles | None
) -> float:
    total = 0.0
    step = max(1, _PIECE * len(label) // prediction.size)
    # As in XGBoost, a label of 0 makes mape infinite and a logarithm of what is below 0 is nan.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for first in range(0, len(label), step):
            rows = slice(first, first + step)
            each = loss(prediction[rows].astype(np.float64), label[rows])
            total += float(each.sum() if weight is None else each @ weight[rows])
    return total / (len(label) if weight is None else float(weight.sum()))
