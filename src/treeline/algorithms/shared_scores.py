"""Scores of the rows of several workers, where XGBoost's own would be those of each.

Most of XGBoost's metrics are sums over rows or queries, which it adds up over the workers. Areas
under curves and ``ams`` need all rows at once: it averages what each worker finds. So the margins
are brought together, and XGBoost itself computes the metric of them, by a model without trees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline.algorithms import binning
from treeline.algorithms.library import library
from treeline.data.matrix import Matrix
from treeline.data.records import Floats
from treeline.metrics import computed, names

if TYPE_CHECKING:
    import xgboost as xgb

    from treeline.team import Team

# Families of metrics that XGBoost does not compute of all workers' rows.
_OF_ALL_ROWS = frozenset({"auc", "aucpr", "ams"})
_OF_QUERIES = frozenset({"pre", "ndcg", "map"})  # without queries all rows are one


def not_summed(metrics: Sequence[str], objective: str, team: Team) -> list[str]:
    """Return those of XGBoost's ``metrics`` that have to be computed of all rows at once."""
    if team.alone:
        return []
    ranks = names.OBJECTIVES[objective].task == names.RANKING
    families = _OF_ALL_ROWS if ranks else _OF_ALL_ROWS | _OF_QUERIES
    found = {name: names.lookup(name) for name in metrics}
    return [name for name, metric in found.items() if metric and metric.family in families]


def base_score(
    everyone: Matrix, how: binning.Binning, parameters: Mapping[str, Any], team: Team
) -> str | None:
    """Return what XGBoost would start from with all rows on one worker, in its own words.

    It averages over workers what each has found, which rounds elsewhere, or is another number.
    None where ``parameters`` or the objective say what it is. Called by all workers; it costs the
    first of them about a round without features.
    """
    if "base_score" in parameters or how.ranking:  # which starts from the same of any rows
        return None

    def estimated() -> str:
        rows = binning.without_features(everyone, how)
        booster = library().Booster(_without_columns(parameters), [rows])
        booster.update(rows, 0)
        found: str = json.loads(booster.save_config())["learner"]["learner_model_param"][
            "base_score"
        ]
        return found

    return team.broadcast(team.apart(estimated) if team.leads else None)


def _without_columns(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters for rows without features, which have no columns to name."""
    return {name: p for name, p in parameters.items() if not name.endswith("_constraints")}


class Native:
    """XGBoost's metrics of all rows at once; the first worker computes them for all.

    ``everyone`` has the rows of all workers, ``parameters`` are the booster's.
    """

    def __init__(
        self,
        everyone: Matrix,
        how: binning.Binning,
        metrics: Sequence[str],
        parameters: Mapping[str, Any],
        team: Team,
    ) -> None:
        self._team = team
        self._parameters = {**_without_columns(parameters), "eval_metric": list(metrics)}
        self._rows: xgb.DMatrix | None = None
        if team.leads:
            self._rows = team.apart(lambda: binning.without_features(everyone, how))

    def of(self, margin: Floats) -> dict[str, float]:
        """Return the values by name; ``margin`` is (rows,) or (rows, outputs), of this worker."""
        whole, rows = gathered(margin, self._team), self._rows
        found: dict[str, float] = {}
        if rows is not None:
            found = self._team.apart(lambda: self._evaluated(rows, whole))
        return self._team.broadcast(found)

    def _evaluated(self, rows: xgb.DMatrix, margin: Floats) -> dict[str, float]:
        rows.set_base_margin(margin)
        # A new one each time: a booster remembers what it predicted for a matrix.
        booster = library().Booster(self._parameters, [rows])
        text: str = booster.eval_set([(rows, "all")])
        values = [part.rsplit(":", 1) for part in text.split("\t")[1:]]
        return {name.removeprefix("all-"): float(value) for name, value in values}


class Computed:
    """Our metrics of all rows at once; the first worker, which has the ``truth``, computes them."""

    def __init__(self, truth: computed.Truth | None, objective: str, team: Team) -> None:
        self._truth = truth
        self._objective = objective
        self._team = team

    def of(self, metrics: Sequence[str], prediction: Floats) -> dict[str, float]:
        """Return the values by name; ``prediction`` is of this worker's rows."""
        team, found = self._team, dict[str, float]()
        whole = gathered(prediction, team)
        if self._truth is not None:
            found = computed.evaluate(metrics, self._objective, whole, self._truth)
        return team.broadcast(found)


def gathered(rows: NDArray[Any], team: Team) -> NDArray[Any]:
    """Return the rows of all workers by rank."""
    if team.alone:
        return rows
    # One without rows may not know how many columns there are.
    return np.concatenate([part for part in team.gather(rows) if len(part)])
