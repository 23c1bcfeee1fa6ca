"""The catalogue of metrics, held against XGBoost itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline.metrics.names import (
    METRICS,
    OBJECTIVES,
    alternatives,
    default_for,
    lookup,
)

ROWS = 40
MAXIMISED = {
    "accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg",
    "precision", "precision_macro", "precision_micro", "r2", "recall", "recall_macro",
    "recall_micro", "mcc", "pre", "ams", "interval-regression-accuracy",
}  # fmt: skip
MINIMISED = {
    "aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "logloss", "mae",
    "mape", "merror", "mlogloss", "mphe", "mse", "poisson-nloglik", "rmse", "rmsle",
    "tweedie-nloglik", "quantile", "expectile", "brier",
}  # fmt: skip
COMPUTED = {
    "accuracy", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "mse", "precision",
    "precision_macro", "precision_micro", "r2", "recall", "recall_macro", "recall_micro", "mcc",
    "brier",
}  # fmt: skip
EXTRA: dict[str, dict[str, Any]] = {
    "multi:softmax": {"num_class": 3},
    "multi:softprob": {"num_class": 3},
    "reg:quantileerror": {"quantile_alpha": "[0.5]"},
    "reg:expectileerror": {"expectile_alpha": "[0.5]"},
}
OF_ZERO_AND_ONE = {"pre", "map", "ndcg", "error", "logloss", "ams"}


def _matrix(objective: str, zero_one: bool) -> xgb.DMatrix:
    rng = np.random.default_rng(7)
    features = rng.random((ROWS, 3))
    if objective == "survival:aft":
        matrix = xgb.DMatrix(features)
        matrix.set_float_info("label_lower_bound", features[:, 0] + 1)
        matrix.set_float_info("label_upper_bound", features[:, 0] + 2)
        return matrix
    if objective.startswith("multi:"):
        return xgb.DMatrix(features, (features[:, 0] * 3).astype(int))
    if objective.startswith("rank:"):
        return xgb.DMatrix(features, features[:, 0] > 0.5, group=[ROWS // 2, ROWS // 2])
    zero_one = zero_one or objective.startswith("binary:") or objective == "reg:logistic"
    return xgb.DMatrix(features, features[:, 0] > 0.5 if zero_one else features[:, 0] + 1)


def _reported(
    objective: str, metric: str | None, zero_one: bool = False, **more: Any
) -> dict[str, list[float]]:
    params = {"objective": objective, "nthread": 1, **EXTRA.get(objective, {}), **more}
    if metric is not None:
        params["eval_metric"] = metric
    data = _matrix(objective, zero_one)
    scores: dict[str, dict[str, list[float]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xgb.train(params, data, 1, evals=[(data, "d")], evals_result=scores, verbose_eval=False)
    return scores["d"]


def test_directions_and_sources() -> None:
    assert {name for name, metric in METRICS.items() if metric.maximize} == MAXIMISED
    assert {name for name, metric in METRICS.items() if not metric.maximize} == MINIMISED
    assert {name for name, metric in METRICS.items() if not metric.native} == COMPUTED


@pytest.mark.parametrize(
    ("asked", "name", "maximize"),
    [
        ("rmse", "rmse", False),
        ("ndcg", "ndcg", True),
        ("ndcg@5", "ndcg@5", True),
        ("ndcg@05", "ndcg@5", True),
        ("ndcg-", "ndcg-", True),
        ("map@10-", "map@10-", True),
        ("pre@3", "pre@3", True),
        ("error@0.7", "error@0.7", False),
        ("error@0.70", "error@0.7", False),
        ("error@0.5", "error", False),
        ("error@-1", "error@-1", False),
        ("error@1e-3", "error@0.001", False),
        ("error@1000000", "error@1e+06", False),
        ("ams@0.15", "ams@0.15", True),
        ("ams@0", "ams@0", True),
        ("tweedie-nloglik@1.3", "tweedie-nloglik@1.3", False),
        ("tweedie-nloglik", "tweedie-nloglik@1.5", False),
        ("interval-regression-accuracy", "interval-regression-accuracy", True),
    ],
)
def test_a_name_is_read_and_spelled_as_xgboost_reports_it(
    asked: str, name: str, maximize: bool
) -> None:
    metric = lookup(asked)
    assert metric is not None
    assert (metric.name, metric.maximize) == (name, maximize)
    assert metric.family == asked.partition("@")[0].removesuffix("-")
    objective = next(each for each in OBJECTIVES if metric.suits(each))
    assert list(_reported(objective, name, metric.family in OF_ZERO_AND_ONE)) == [name]


@pytest.mark.parametrize(
    "name",
    ["", "@", "nope", "rmse@1", "auc@3", "auc-", "ams", "ams@1.5", "ams@x", "error@", "error@x",
     "error@nan", "error@inf", "error@1e300", "error@0.123456789", "error-", "ndcg@0", "ndcg@",
     "ndcg@-", "ndcg@-5", "ndcg@5.5", "ndcg@x", "ndcg-@5", "ndcg@99999999999", "ndcg@５",
     "tweedie-nloglik@0.9", "tweedie-nloglik@2", "accuracy@1", "f1-", "RMSE"],
)  # fmt: skip
def test_what_is_no_metric(name: str) -> None:
    assert lookup(name) is None


def test_a_bare_tweedie_metric_takes_the_power_given() -> None:
    metric = lookup("tweedie-nloglik", 1.25)
    assert metric is not None
    assert metric.name == "tweedie-nloglik@1.25"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_default_metric_is_the_one_xgboost_reports(objective: str) -> None:
    assert list(_reported(objective, None)) == [default_for(objective)]


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("reg:tweedie", {"tweedie_variance_power": 1.3}),
        ("rank:ndcg", {"lambdarank_num_pair_per_sample": 4}),
        ("rank:map", {"lambdarank_pair_method": "mean"}),
        ("rank:pairwise", {"lambdarank_pair_method": "topk"}),
    ],
)
def test_the_default_metric_follows_the_parameters(objective: str, more: dict[str, Any]) -> None:
    assert list(_reported(objective, None, **more)) == [default_for(objective, more)]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_xgboost_evaluates_every_metric_that_suits_an_objective(objective: str) -> None:
    for family, row in METRICS.items():
        if not row.native or not row.suits(objective):
            continue
        zero_one = family in OF_ZERO_AND_ONE
        if zero_one and objective == "reg:gamma":  # its labels cannot be 0
            continue
        name = family + ("@0.15" if family == "ams" else "")
        metric = lookup(name)
        assert metric is not None
        assert list(_reported(objective, metric.name, zero_one)) == [metric.name]


def test_every_native_metric_suits_some_objective_and_every_objective_its_own() -> None:
    for metric in METRICS.values():
        assert any(metric.suits(objective) for objective in OBJECTIVES), metric.name
    for objective in OBJECTIVES:
        own = lookup(default_for(objective))
        assert own is not None
        assert own.suits(objective)


def test_what_does_not_suit_names_something_that_does() -> None:
    for metric in METRICS.values():
        for objective in OBJECTIVES:
            if not metric.suits(objective):
                for name in alternatives(metric, objective).split(", "):
                    other = lookup(name)
                    assert other is not None
                    assert other.suits(objective), (metric.name, objective, name)
    assert alternatives(METRICS["f1_binary"], "multi:softmax") == "f1_macro"
    assert alternatives(METRICS["brier"], "multi:softmax") == "mlogloss"


def test_brier_needs_an_objective_that_predicts_probabilities() -> None:
    suits = {objective for objective in OBJECTIVES if METRICS["brier"].suits(objective)}
    assert suits == {"binary:logistic", "binary:logitraw", "multi:softprob"}


def test_multiclass_auc_from_softmax_reads_probabilities() -> None:
    scores = [_reported(f"multi:{kind}", "auc")["auc"] for kind in ("softmax", "softprob")]
    assert scores[0] == scores[1]
