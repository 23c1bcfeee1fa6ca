"""The training data's logloss after every round, at a fifth of XGBoost's own cost.

Boosting leaves every row's margin in XGBoost's cache, so that little is left to do; done by
XGBoost it is a fifth of a large job's CPU time, all for a line of the log (docs/decisions.md has
the measurement). It is the same formula in the same precision, agrees to about 1e-8, and decides
nothing: what early stopping follows, and the scores of the saved model, are XGBoost's.

Source of the formula: XGBoost's documentation of ``logloss``; a probability below 1e-16 counts as
1e-16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from treeline.data.records import Floats
from treeline.team import ALONE, Team

_PIECE = 1 << 15  # rows worked on at a time, in the processor's cache
_LARGEST = np.float32(88.7)  # exp of more is beyond float32
_LEAST = np.float32(1e-16)


class TrainLogloss:
    """Logloss of labels that are 0 or 1; ``label`` and ``weight`` are (rows,) float32.

    They are this worker's rows; the logloss is that of the rows of all workers of ``team``.
    """

    name = "logloss"

    def __init__(self, label: Floats, weight: Floats | None, team: Team = ALONE) -> None:
        self._negative = (label == 0).view(np.uint8)  # a byte a row, for as long as the job trains
        self._weight = weight
        total = len(label) if weight is None else np.sum(weight, dtype=np.float64)
        self._team = team
        self._total = float(team.total(np.array([total], np.float64))[0])

    def of(self, margin: Floats) -> float:
        """Return the (weighted) mean over all workers for ``margin``, (rows,) float32."""
        loss = 0.0
        for first in range(0, len(margin), _PIECE):
            rows = slice(first, first + _PIECE)
            part = np.negative(margin[rows])
            np.exp(np.minimum(part, _LARGEST, out=part), out=part)
            np.reciprocal(np.add(part, 1, out=part), out=part)  # the probability of 1
            np.abs(np.subtract(self._negative[rows], part, out=part), out=part)  # of the label
            np.log(np.maximum(part, _LEAST, out=part), out=part)
            if self._weight is not None:
                np.multiply(part, self._weight[rows], out=part)
            loss -= float(np.sum(part, dtype=np.float64))
        return float(self._team.total(np.array([loss], np.float64))[0]) / self._total


def suits(
    objective: str, metrics: Sequence[str], booster: Mapping[str, Any], label: Floats | None
) -> bool:
    """Whether logloss is all that XGBoost would compute; ``metrics`` are those asked of it."""
    default = not metrics and not booster.get("disable_default_eval_metric")
    return (
        objective == "binary:logistic"
        and (default or list(metrics) == [TrainLogloss.name])
        and label is not None
        and bool(((label == 0) | (label == 1)).all())
    )
