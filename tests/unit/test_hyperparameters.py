"""The hyperparameters: the published contract, every rule, and XGBoost's own opinion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline.errors import HyperparameterError
from treeline.hyperparameters import Config, DataOptions, parse, publish
from treeline.hyperparameters.config import CheckpointOptions, Folds, Forest
from treeline.hyperparameters.table import ALIASES, GROUPS, TABLE
from treeline.metrics.names import default_for

SOURCE = Path(__file__).parents[2] / "src"
DOCUMENT = Path(__file__).parents[2] / "docs" / "hyperparameters.md"


def ask(**values: str) -> Config:
    return parse({"num_round": "5", **values})


def cause(values: Mapping[str, str]) -> str:
    with pytest.raises(HyperparameterError) as caught:
        parse(values)
    assert "\n" not in caught.value.cause
    assert "\n" not in caught.value.remedy
    return caught.value.cause


def refused(**values: str) -> str:
    return cause({"num_round": "5", **values})


AFT = {
    "objective": "survival:aft",
    "label_lower_bound_column": "low",
    "label_upper_bound_column": "high",
}


# --- the contract: the 53 names of the built-in image, written out a second time ------------

# name, type, allowed, an inner and the outermost legal texts, illegal texts
INF = "+inf)"
NUMERIC: list[tuple[str, str, str, list[str], list[str]]] = [
    ("num_round", "Integer", "[1, +inf)", ["1", "4000"], ["0", "-1"]),
    ("csv_weights", "Integer", "[0, 1]", ["0", "1"], ["-1", "2"]),
    ("early_stopping_rounds", "Integer", "[1, +inf)", ["1"], ["0"]),
    ("verbosity", "Integer", "[0, 3]", ["0", "3"], ["-1", "4"]),
    ("nthread", "Integer", "[1, +inf)", ["1"], ["0"]),
    ("eta", "Continuous", "[0, 1]", ["0", "0.3", "1"], ["-0.01", "1.01"]),
    ("gamma", "Continuous", "[0, +inf)", ["0", "1e6"], ["-0.01"]),
    ("max_depth", "Integer", "[0, +inf)", ["0", "30"], ["-1"]),
    ("min_child_weight", "Continuous", "[0, +inf)", ["0", "120"], ["-1"]),
    ("max_delta_step", "Continuous", "[0, +inf)", ["0", "0.5"], ["-1"]),
    ("subsample", "Continuous", "(0, 1]", ["0.001", "1"], ["0", "1.01"]),
    ("colsample_bytree", "Continuous", "(0, 1]", ["0.001", "1"], ["0", "1.01"]),
    ("colsample_bylevel", "Continuous", "(0, 1]", ["0.001", "1"], ["0", "1.01"]),
    ("colsample_bynode", "Continuous", "(0, 1]", ["0.001", "1"], ["0", "1.01"]),
    ("lambda", "Continuous", "[0, +inf)", ["0", "1000"], ["-0.1"]),
    ("alpha", "Continuous", "[0, +inf)", ["0", "1000"], ["-0.1"]),
    ("sketch_eps", "Continuous", "(0, 1)", ["0.03"], ["0", "1"]),
    ("scale_pos_weight", "Continuous", "(0, +inf)", ["0.1", "9"], ["0", "-1"]),
    ("refresh_leaf", "Integer", "[0, 1]", ["0", "1"], ["2"]),
    ("max_leaves", "Integer", "[0, +inf)", ["0", "9"], ["-1"]),
    # The contract allows 0 and 1, at which XGBoost 3.4.1 stops.
    ("max_bin", "Integer", "[2, +inf)", ["2", "256"], ["1", "0"]),
    ("rate_drop", "Continuous", "[0, 1]", ["0", "1"], ["1.1"]),
    ("one_drop", "Integer", "[0, 1]", ["0", "1"], ["2"]),
    ("skip_drop", "Continuous", "[0, 1]", ["0", "1"], ["1.1"]),
    ("lambda_bias", "Continuous", "[0, 1]", ["0", "1"], ["1.1"]),
    ("tweedie_variance_power", "Continuous", "(1, 2)", ["1.01", "1.99"], ["1", "2"]),
    ("num_class", "Integer", "[2, +inf)", ["2"], ["1"]),
    # The contract starts at 0; a regression's first guess may be negative.
    ("base_score", "Continuous", "(-inf, +inf)", ["-5", "0", "5"], ["x"]),
    ("_kfold", "Integer", "[2, +inf)", ["2"], ["1"]),
    ("_num_cv_round", "Integer", "[1, +inf)", ["1"], ["0"]),
    (
        "seed", "Integer", "(-2147483648, 2147483647)",
        ["-2147483647", "2147483646"], ["-2147483648", "2147483647"],
    ),
    ("num_parallel_tree", "Integer", "[1, +inf)", ["1"], ["0"]),
    ("aft_loss_distribution_scale", "Continuous", "[0, +inf)", ["0", "2"], ["-1"]),
    ("prob_buffer_row", "Integer", "(1, +inf)", ["2"], ["1"]),
]  # fmt: skip
WORDS: dict[str, list[str]] = {
    "booster": ["gbtree", "gblinear", "dart"],
    "tree_method": ["auto", "exact", "approx", "hist", "gpu_hist"],
    "dsplit": ["row", "col"],
    "process_type": ["default", "update"],
    "grow_policy": ["depthwise", "lossguide"],
    "predictor": ["auto", "cpu_predictor", "gpu_predictor"],
    "sample_type": ["uniform", "weighted"],
    "normalize_type": ["tree", "forest"],
    "objective": [
        "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "multi:softmax",
        "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "reg:linear",
        "reg:squarederror", "reg:logistic", "reg:gamma", "reg:pseudohubererror",
        "reg:squaredlogerror", "reg:absoluteerror", "reg:tweedie", "survival:aft", "survival:cox",
    ],
    "save_model_on_termination": ["true", "false"],
    "aft_loss_distribution": ["normal", "logistic", "extreme"],
    "deterministic_histogram": ["true", "false"],
    "sampling_method": ["uniform", "gradient_based"],
    "use_dask_gpu_training": ["true", "false"],
    "updater": [
        "grow_colmaker", "distcol", "grow_histmaker", "grow_skmaker", "sync", "refresh", "prune",
        "shotgun", "coord_descent",
    ],
}  # fmt: skip
OTHERS = {
    "monotone_constraints": "(1,0,-1)",
    "interaction_constraints": "[[1,2],[3,4]]",
    "eval_metric": "rmse,error@0.7",
    "_tuning_objective_metric": "validation:rmse",
}
CONTRACT_ALIASES = {
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
}
TUNABLE: dict[str, tuple[float, float]] = {
    "num_round": (1, 4000),
    "eta": (0.1, 0.5),
    "gamma": (0, 5),
    "max_depth": (0, 10),
    "min_child_weight": (0, 120),
    "max_delta_step": (0, 10),
    "subsample": (0.5, 1),
    "colsample_bytree": (0.5, 1),
    "colsample_bylevel": (0.1, 1),
    "colsample_bynode": (0.1, 1),
    "lambda": (0, 1000),
    "alpha": (0, 1000),
    # A random forest's, which the built-in image has not.
    "n_estimators": (10, 500),
    "max_features": (0.1, 1),
}
CONTRACT_DEFAULTS = {
    "csv_weights": "0", "booster": "gbtree", "verbosity": "1", "eta": "0.3", "gamma": "0",
    "max_depth": "6", "min_child_weight": "1", "max_delta_step": "0", "subsample": "1",
    "colsample_bytree": "1", "colsample_bylevel": "1", "colsample_bynode": "1", "lambda": "1",
    "alpha": "0", "tree_method": "auto", "scale_pos_weight": "1", "refresh_leaf": "1",
    "process_type": "default", "grow_policy": "depthwise", "max_leaves": "0", "max_bin": "256",
    "sample_type": "uniform", "normalize_type": "tree", "rate_drop": "0", "one_drop": "0",
    "skip_drop": "0", "tweedie_variance_power": "1.5", "objective": "reg:squarederror",
    "_num_cv_round": "1", "seed": "0", "num_parallel_tree": "1",
    "save_model_on_termination": "false", "aft_loss_distribution": "normal",
    "aft_loss_distribution_scale": "1", "sampling_method": "uniform",
    "use_dask_gpu_training": "false",
}  # fmt: skip


def test_the_contract_has_53_names_and_the_table_has_them_all() -> None:
    names = {row[0] for row in NUMERIC} | set(WORDS) | set(OTHERS)
    assert len(names) == 53
    assert names <= {*TABLE, *ALIASES}


@pytest.mark.parametrize(("name", "type_", "allowed", "legal", "illegal"), NUMERIC)
def test_numeric_ranges(
    name: str, type_: str, allowed: str, legal: list[str], illegal: list[str]
) -> None:
    own = ALIASES.get(name, name)
    kind = TABLE[own].kind
    assert kind.publish()["Type"] == type_
    assert kind.allowed == allowed
    for text in legal:
        assert kind.parse(text) == float(text)
    for text in [*illegal, "", "nan", "inf", "-inf", "1e999", "one", "1,0", "0x1"]:
        message = cause({"num_round": "5", name: text})
        assert f"{own}: found {text!r}, allowed {allowed}" in message


@pytest.mark.parametrize(("name", "words"), WORDS.items())
def test_words(name: str, words: list[str]) -> None:
    kind = TABLE[name].kind
    for word in words:
        assert kind.parse(f" {word} ") is not None
    assert f"{name}: found 'nonsense'" in cause({"num_round": "5", name: "nonsense"})


@pytest.mark.parametrize(("name", "text"), OTHERS.items())
def test_the_rest_of_the_contract(name: str, text: str) -> None:
    assert parse({"num_round": "5", name: text}).given[name] == text


def test_aliases() -> None:
    assert CONTRACT_ALIASES.items() <= ALIASES.items()
    assert ALIASES.items() - CONTRACT_ALIASES.items() == {
        ("num_boost_round", "num_round"),
        ("random_state", "seed"),
        ("n_jobs", "nthread"),
        ("target_column", "label_column"),
        ("_num_cv_round", "cv_repeats"),
    }
    assert parse({"num_boost_round": "7"}).num_round == 7
    assert ask(learning_rate="0.2").booster["eta"] == 0.2


def test_tunable_ranges_and_defaults() -> None:
    assert {n: p.tunable for n, p in TABLE.items() if p.tunable is not None} == TUNABLE
    for name, default in CONTRACT_DEFAULTS.items():
        assert TABLE[ALIASES.get(name, name)].default == default, name


def test_defaults_are_legal_and_xgboosts_own() -> None:
    for parameter in TABLE.values():
        if parameter.default is not None:
            parameter.kind.parse(parameter.default)
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(np.eye(4), np.arange(4)), 1)
    effective = json.dumps(json.loads(booster.save_config()))
    for name in ("eta", "gamma", "max_depth", "min_child_weight", "subsample", "lambda", "alpha",
                 "colsample_bytree", "max_bin", "max_leaves", "grow_policy", "sampling_method",
                 "max_cat_to_onehot", "max_cat_threshold", "refresh_leaf", "rate_drop",
                 "one_drop", "skip_drop", "sample_type", "normalize_type", "multi_strategy",
                 "num_parallel_tree", "process_type", "scale_pos_weight"):  # fmt: skip
        texts = [value for key, value in _leaves(json.loads(effective)) if key == name]
        default = TABLE[name].default
        assert default is not None
        assert texts, name
        assert all(_close(text, default) for text in texts), (name, texts)


def _leaves(tree: object) -> list[tuple[str, str]]:
    if isinstance(tree, list):
        return [leaf for item in tree for leaf in _leaves(item)]
    if not isinstance(tree, dict):
        return []
    own = [(key, value) for key, value in tree.items() if isinstance(value, str)]
    return own + [leaf for value in tree.values() for leaf in _leaves(value)]


def _close(text: str, default: str) -> bool:
    try:
        return float(text) == pytest.approx(float(default), rel=1e-6)
    except ValueError:
        return text == default


# --- parsing --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["5", " 5 ", '"5"', ' " 5" ', "+5", "05"])
def test_spaces_and_json_quotes_do_not_matter(text: str) -> None:
    assert parse({"num_round": text}).num_round == 5


@pytest.mark.parametrize(
    ("text", "hint"),
    [("1.0", "whole number: 1"), ("1e3", "whole number: 1000"), ("1.5", "a whole number"),
     ("", "a whole number"), ("2147483648", "at most 2147483647")],
)  # fmt: skip
def test_a_whole_number_has_no_point_and_32_bits(text: str, hint: str) -> None:
    assert hint in cause({"num_round": text})


def test_absurd_texts_are_answered() -> None:
    assert "at most 2147483647" in cause({"num_round": "9" * 400})
    assert "a whole number" in cause({"num_round": "9" * 5000})
    assert "interaction_constraints: found" in refused(interaction_constraints="[" * 100_000)


def test_a_number_beyond_single_precision_is_refused_as_xgboost_would() -> None:
    for text in ("1e300", "4e38", "1e-50"):
        assert "single precision" in refused(gamma=text)


@pytest.mark.parametrize(
    ("text", "passed"),
    [("1", "(1)"), ("(1)", "(1)"), ("(1,)", "(1)"), ("(1,0,-1)", "(1,0,-1)"),
     ("[1, 0, -1]", "(1,0,-1)"), ('"(1, 0)"', "(1,0)"), ("1,0,+1", "(1,0,1)")],
)  # fmt: skip
def test_monotone_constraints(text: str, passed: str) -> None:
    assert ask(monotone_constraints=text).booster["monotone_constraints"] == passed


@pytest.mark.parametrize("text", ["", "()", "(2)", "(1", "(1;0)", "__import__('os')", "(1,,0)"])
def test_monotone_constraints_refused(text: str) -> None:
    assert "monotone_constraints: found" in refused(monotone_constraints=text)


@pytest.mark.parametrize(
    ("text", "passed"),
    [("[[0,1],[2,3]]", "[[0, 1], [2, 3]]"), ("((0, 1), (2,))", "[[0, 1], [2]]"),
     ('"[[0]]"', "[[0]]")],
)  # fmt: skip
def test_interaction_constraints_count_from_0(text: str, passed: str) -> None:
    assert ask(interaction_constraints=text).booster["interaction_constraints"] == passed


@pytest.mark.parametrize(
    "text", ["", "[0,1]", "[[-1]]", '[["f0"]]', "[[1.5]]", "[[true]]", "{}", "[[0]",
             "[[1]]+[[2]]", f"[[{'9' * 20}]]"]
)  # fmt: skip
def test_interaction_constraints_refused(text: str) -> None:
    assert "interaction_constraints: found" in refused(interaction_constraints=text)


@pytest.mark.parametrize("text", ["0.1,0.9", "[0.1, 0.9]", "(.1,.9)", ' "[0.1, 9e-1]" '])
def test_quantiles_reach_xgboost_as_a_json_list(text: str) -> None:
    config = ask(objective="reg:quantileerror", quantile_alpha=text)
    assert config.booster["quantile_alpha"] == "[0.1, 0.9]"


def test_xgboost_would_read_only_the_first_of_a_bare_list() -> None:
    """The reason for the list: without brackets the second quantile is lost silently."""
    data = xgb.DMatrix(np.random.default_rng(0).random((30, 2)), np.arange(30))
    outputs = []
    for text in ("0.1,0.9", "[0.1, 0.9]"):
        params = {"objective": "reg:quantileerror", "quantile_alpha": text, "nthread": 1}
        outputs.append(xgb.train(params, data, 1).predict(data).size // 30)
    assert outputs == [1, 2]


@pytest.mark.parametrize("text", ["0.9,0.1", "1.5", "nan", "", "a", "[]", "0.1;0.9"])
def test_quantiles_refused(text: str) -> None:
    assert "quantile_alpha" in refused(objective="reg:quantileerror", quantile_alpha=text)


@pytest.mark.parametrize(
    ("text", "passed"),
    [("cpu", "cpu"), ("cuda", "cuda"), ("gpu", "cuda"), ("cuda:1", "cuda:1"), ("gpu:0", "cuda:0")],
)
def test_devices(text: str, passed: str) -> None:
    config = ask(device=text)
    assert config.device == passed
    assert config.compute == ("auto" if passed == "cpu" else "singleGPU")
    assert "device" not in config.booster


@pytest.mark.parametrize("text", ["", "cpu:0", "cuda:", "cuda:a", "cuda:-1", "CPU", "sycl", "tpu"])
def test_devices_refused(text: str) -> None:
    assert "device: found" in refused(device=text)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", '"true"'])
def test_booleans_in_every_spelling(text: str) -> None:
    assert ask(save_model_on_termination=text).save_model_on_termination is True
    assert "allowed [true, false]" in refused(save_model_on_termination="yes")


# --- the value as a whole -------------------------------------------------------------------


def test_a_minimal_job() -> None:
    config = parse({"num_round": "5"})
    assert config == Config(
        algorithm="xgboost",
        num_round=5,
        objective="reg:squarederror",
        num_class=None,
        eval_metrics=(),
        computed_as={},
        objective_metric=None,
        objective_data=None,
        objective_source=None,
        early_stopping_rounds=None,
        data=DataOptions(),
        save_model_on_termination=False,
        seed=0,
        nthread=None,
        compute="auto",
        workers=None,
        on_host_loss="fail",
        dask_tls=False,
        device=None,
        cv=None,
        forest=Forest(),
        checkpoints=CheckpointOptions(),
        inexact_resume=None,
        booster={"objective": "reg:squarederror", "seed": 0, "seed_per_iteration": 1},
        given={"num_round": "5"},
        notes=(),
        warnings=(),
    )


def test_a_full_job() -> None:
    values = {
        "num_round": "50", "objective": "multi:softprob", "num_class": "3", "learning_rate": "0.1",
        "eval_metric": "mlogloss, merror ,accuracy", "early_stopping_rounds": "4",
        "csv_weights": "1", "save_model_on_termination": "true", "random_state": "7",
        "n_jobs": "2", "compute": "singleCPU", "_kfold": "5", "_num_cv_round": "2",
        "_tuning_objective_metric": "validation:merror", "sagemaker_region": "eu-west-1",
        "seed_per_iteration": "false", "verbosity": "2",
    }  # fmt: skip
    config = parse(values)
    assert config.eval_metrics == ("mlogloss", "merror", "accuracy")
    assert config.objective_metric == "merror"
    assert (config.num_round, config.num_class, config.early_stopping_rounds) == (50, 3, 4)
    assert (config.data.csv_weights, config.save_model_on_termination) == (True, True)
    assert (config.seed, config.nthread, config.compute) == (7, 2, "singleCPU")
    assert config.cv == Folds(
        folds=5, repeats=2, strategy="auto", refit=True, keep_models=True, pooled=True
    )
    assert config.booster == {
        "objective": "multi:softprob", "num_class": 3, "eta": 0.1, "seed": 7,
        "seed_per_iteration": 0, "verbosity": 2,
    }  # fmt: skip
    assert config.given["eta"] == "0.1"
    assert "sagemaker_region" not in config.given
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("eval_metric", "tuner", "metrics", "objective_metric"),
    [
        ("rmse,mae", None, ("rmse", "mae"), "mae"),
        ("mae,rmse,mae", None, ("mae", "rmse"), "rmse"),
        ("rmse,mae", "validation:rmse", ("rmse", "mae"), "rmse"),
        ("mae", "validation:r2", ("mae", "r2"), "r2"),
        (None, "train:mse", ("mse",), "mse"),
        (None, "rmsle", ("rmsle",), "rmsle"),
        ("rmse", "final-score", ("rmse",), "rmse"),
        ('["rmse", "mae"]', None, ("rmse", "mae"), "mae"),
        ("tweedie-nloglik", None, ("tweedie-nloglik",), "tweedie-nloglik"),
        ("error@0.50", None, ("error@0.50",), "error@0.50"),
        ("error", "validation:error@0.5", ("error@0.5",), "error@0.5"),
        ("rmse", "validation:something", ("rmse",), "rmse"),
    ],
)
def test_metrics(
    eval_metric: str | None, tuner: str | None, metrics: tuple[str, ...], objective_metric: str
) -> None:
    values = {"num_round": "5"}
    if eval_metric is not None:
        values["eval_metric"] = eval_metric
    if tuner is not None:
        values["_tuning_objective_metric"] = tuner
    config = parse(values)
    assert config.eval_metrics == metrics
    assert config.objective_metric == objective_metric
    unknown = tuner == "validation:something"
    assert any("only the tuner" in line for line in config.warnings) == unknown


def test_a_tweedie_metric_takes_the_power_of_the_objective() -> None:
    config = ask(
        objective="reg:tweedie", tweedie_variance_power="1.2", eval_metric="tweedie-nloglik"
    )
    assert config.eval_metrics == ("tweedie-nloglik",)
    assert config.computed_as == {"tweedie-nloglik": "tweedie-nloglik@1.2"}


# --- problems -------------------------------------------------------------------------------


def test_one_problem_reads_as_a_sentence() -> None:
    assert refused(eta="1.5") == "Hyperparameter eta: found '1.5', allowed [0, 1]"
    assert "num_round: missing" in cause({})


def test_every_problem_is_reported_at_once() -> None:
    text = cause(
        {"num_round": "0", "eta": "1.5", "max_dept": "3", "objective": "multi:softmax", "seed": "x"}
    )
    assert text.startswith("5 problems with the hyperparameters: (1) max_dept: found '3', no such")
    for name in ("num_round", "eta", "max_dept", "num_class", "seed"):
        assert name in text
    assert "did you mean max_depth?" in text


def test_long_values_do_not_push_the_next_name_out() -> None:
    text = refused(objective="x" * 5000, booster="y" * 5000, eta="2")
    assert text.index("(3) eta") < 330
    assert len(refused(objective="x" * 5000)) < 800


@pytest.mark.parametrize(
    ("name", "meant"),
    [("max_dept", "max_depth"), ("learning_rat", "learning_rate"), ("Objective", "objective"),
     ("num_rounds", "num_round"), ("early_stopping_round", "early_stopping_rounds")],
)  # fmt: skip
def test_an_unknown_name_names_the_nearest(name: str, meant: str) -> None:
    assert f"did you mean {meant}?" in cause({"num_round": "5", name: "3"})


def test_a_consequence_of_a_problem_is_not_a_second_one() -> None:
    assert refused(objective="multi:softmx", num_class="3").startswith("Hyperparameter objective")
    assert refused(num_class="x", objective="multi:softmax").startswith("Hyperparameter num_class")


def test_a_rule_that_cannot_be_decided_hides_no_other() -> None:
    text = refused(objective="multi:softmx", process_type="update")
    assert text.startswith("2 problems")
    assert "process_type: found 'update'" in text


def test_both_spellings_must_agree() -> None:
    assert ask(eta="0.1", learning_rate="0.10").booster["eta"] == 0.1
    assert "learning_rate: found '0.2'" in refused(eta="0.1", learning_rate="0.2")
    assert "eta: found '0.1'" in refused(learning_rate="0.2", eta="0.1")


def test_every_wrong_metric_of_a_list_is_named() -> None:
    text = refused(eval_metric="rmsee, ndcg@x, auc")
    assert "'rmsee' is not known (did you mean rmse?)" in text
    assert "'ndcg@x' is not known (ndcg@ takes n, a whole number" in text
    assert "'auc' is" not in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"objective": "multi:softmax"}, "num_class: missing"),
        ({"objective": "binary:logistic", "num_class": "2"}, "num_class: found '2'"),
        ({"objective": "reg:quantileerror"}, "quantile_alpha: missing"),
        ({"objective": "reg:expectileerror"}, "expectile_alpha: missing"),
        (
            {"objective": "reg:quantileerror", "quantile_alpha": "0.1,0.9", "eval_metric": "rmse"},
            "rmse needs a single quantile_alpha",
        ),
        ({"eval_metric": "auc"}, "eval_metric: found 'auc'"),
        ({"eval_metric": "rmse,accuracy"}, "eval_metric: found 'accuracy'"),
        (
            {"objective": "multi:softmax", "num_class": "3", "eval_metric": "f1_binary"},
            "allowed metrics such as f1_macro; here objective=multi:softmax",
        ),
        (
            {"objective": "multi:softprob", "num_class": "3", "eval_metric": "precision"},
            "precision_macro",
        ),
        (
            {"objective": "multi:softprob", "num_class": "3", "eval_metric": "recall"},
            "recall_macro",
        ),
        ({"objective": "multi:softprob", "num_class": "3", "eval_metric": "rmse"}, "merror"),
        ({"objective": "rank:ndcg", "eval_metric": "accuracy"}, "ndcg"),
        ({"objective": "survival:cox", "eval_metric": "mse"}, "cox-nloglik"),
        ({**AFT, "eval_metric": "rmse"}, "aft-nloglik"),
        ({"eval_metric": "aft-nloglik"}, "rmse, mae"),
        ({"_tuning_objective_metric": "validation:auc"}, "_tuning_objective_metric: found 'auc'"),
        ({"objective": "binary:logistic", "base_score": "-1"}, "[0, 1] with objective"),
        ({"objective": "survival:cox", "base_score": "0"}, "(0, +inf) with objective"),
        ({"objective": "reg:gamma", "base_score": "0"}, "(0, +inf) with objective"),
        ({"objective": "count:poisson", "base_score": "-1"}, "[0, +inf) with objective"),
        ({"booster": "gblinear", "early_stopping_rounds": "3"}, "early_stopping_rounds: found '3'"),
        ({"disable_default_eval_metric": "true"}, "true together with an eval_metric"),
        ({"process_type": "update"}, "new ones are added"),
        ({"updater": "prune"}, "updater: found 'prune'"),
        ({"updater": "grow_colmaker,grow_histmaker"}, "updater: found"),
        ({"updater": "grow_colmaker,shotgun"}, "updater: found"),
        ({"booster": "gblinear", "updater": "prune"}, "shotgun or coord_descent"),
        ({"booster": "gblinear", "updater": "shotgun,coord_descent"}, "shotgun or coord_descent"),
        ({"booster": "gblinear", "feature_selector": "greedy"}, "updater=coord_descent"),
        ({"tree_method": "exact", "max_depth": "0"}, "max_depth: found '0'"),
        ({"tree_method": "exact", "colsample_bynode": "0.5"}, "colsample_bynode: found '0.5'"),
        ({"updater": "grow_colmaker", "colsample_bynode": "0.5"}, "colsample_bynode: found '0.5'"),
        ({"tree_method": "approx", "multi_strategy": "multi_output_tree"}, "multi_strategy"),
        ({"tree_method": "exact", "compute": "multiGPU"}, "compute: found 'multiGPU'"),
        ({"tree_method": "exact", "device": "cuda"}, "device: found 'cuda'"),
        ({"compute": "singleCPU", "device": "cuda"}, "device: found 'cuda'"),
        ({"use_dask_gpu_training": "true", "device": "cpu"}, "device: found 'cpu'"),
        ({"use_dask_gpu_training": "true", "compute": "singleCPU"}, "use_dask_gpu_training: found"),
    ],
)
def test_rules(values: dict[str, str], expected: str) -> None:
    text = cause({"num_round": "5", **values})
    assert text.startswith("Hyperparameter ")
    assert expected in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"time_column": "t"}, "time_column: found 't', allowed nothing without cv_strategy"),
        ({"time_column": "t", "cv_folds": "3"}, "time_column: found 't', allowed nothing"),
        ({"cv_folds": "3", "_kfold": "5"}, "cv_folds: found '3', allowed _kfold=5"),
        ({"cv_folds": "1", "cv_strategy": "kfold"}, "one fold is one random split"),
        (
            {"cv_folds": "3", "cv_strategy": "time_series"},
            "time_column: missing, allowed a name, or a position: 0 is the first column, -1 the "
            "last; required by cv_strategy=time_series",
        ),
        (
            {"cv_folds": "3", "cv_strategy": "time_series", "time_column": "t", "cv_repeats": "2"},
            "cv_repeats: found '2', allowed 1 with cv_strategy=time_series",
        ),
        ({"cv_folds": "3", "cv_strategy": "group"}, "; required by cv_strategy=group"),
        (
            {"cv_folds": "3", "cv_strategy": "stratified_group", "objective": "binary:logistic"},
            "group_column: missing",
        ),
        ({"cv_folds": "3", "cv_strategy": "stratified"}, "a strategy for numbers"),
        (
            {"cv_folds": "3", "cv_strategy": "kfold", "objective": "rank:ndcg"},
            "the rows of a query stay together",
        ),
        ({"cv_folds": "3", "refit": "false"}, "refit: found 'false', allowed true"),
    ],
)
def test_rules_of_cross_validation(values: dict[str, str], expected: str) -> None:
    text = cause({"num_round": "5", **values})
    assert text.startswith("Hyperparameter ")
    assert expected in text


@pytest.mark.parametrize(
    ("values", "folds"),
    [
        ({"cv_folds": "1"}, Folds(1, 1, "auto", True, False, False)),
        ({"cv_folds": "1", "cv_strategy": "shuffle"}, Folds(1, 1, "shuffle", True, False, False)),
        ({"_kfold": "5"}, Folds(5, 1, "auto", True, True, True)),
        ({"_kfold": "5", "cv_folds": "5"}, Folds(5, 1, "auto", True, True, True)),
        ({"_kfold": "5", "refit": "false"}, Folds(5, 1, "auto", False, True, True)),
        (
            {"cv_folds": "4", "cv_repeats": "3", "refit": "false", "keep_fold_models": "true"},
            Folds(4, 3, "auto", False, True, False),
        ),
        (
            {"cv_folds": "4", "cv_strategy": "time_series", "time_column": "t"},
            Folds(4, 1, "time_series", True, False, False),
        ),
        (
            {"cv_folds": "4", "cv_strategy": "group", "objective": "rank:ndcg"},
            Folds(4, 1, "group", True, False, False),
        ),
        (
            {"cv_folds": "4", "cv_strategy": "stratified", "objective": "binary:hinge"},
            Folds(4, 1, "stratified", True, False, False),
        ),
    ],
)
def test_folds(values: dict[str, str], folds: Folds) -> None:
    config = parse({"num_round": "5", **values})
    assert config.cv == folds
    assert config.warnings == ()


def test_rounds_are_required_of_boosting_only() -> None:
    assert "num_round: missing" in cause({"algorithm": "xgboost"})
    forest = {"algorithm": "random_forest", "objective": "reg:squarederror"}
    assert parse(forest).num_round == 1


@pytest.mark.parametrize(
    ("values", "metrics", "followed"),
    [
        ({"objective_metric": "mae"}, ("mae",), (None, "mae")),
        ({"objective_metric": "train:mae", "eval_metric": "rmse"}, ("rmse", "mae"),
         ("train", "mae")),
        ({"objective_metric": "validation:mae", "eval_metric": "mae,rmse"}, ("mae", "rmse"),
         ("validation", "mae")),
        ({"objective_metric": "mae", "_tuning_objective_metric": "final-score"}, ("mae",),
         (None, "mae")),
        ({"objective_metric": "validation:mae", "_tuning_objective_metric": "validation:mae"},
         ("mae",), ("validation", "mae")),
    ],
)  # fmt: skip
def test_the_metric_to_follow(
    values: dict[str, str], metrics: tuple[str, ...], followed: tuple[str | None, str]
) -> None:
    config = parse({"num_round": "5", **values})
    assert config.eval_metrics == metrics
    assert (config.objective_data, config.objective_metric) == followed


@pytest.mark.parametrize(
    ("values", "data", "source"),
    [
        ({}, None, None),
        ({"eval_metric": "mae"}, None, None),
        ({"objective_metric": "mae"}, None, None),
        ({"objective_metric": "validation:mae"}, "validation", "objective_metric"),
        ({"_tuning_objective_metric": "validation:mae"}, "validation", "_tuning_objective_metric"),
        ({"_tuning_objective_metric": "validation:x"}, "validation", "_tuning_objective_metric"),
        (
            {"objective_metric": "train:mae", "_tuning_objective_metric": "final-score"},
            "train",
            "objective_metric",
        ),
        # A metric that is known is followed where it was asked for, whatever the tuner reads.
        (
            {"objective_metric": "train:mae", "_tuning_objective_metric": "validation:x"},
            "train",
            "objective_metric",
        ),
        (
            {"objective_metric": "train:mae", "_tuning_objective_metric": "train:mae"},
            "train",
            "_tuning_objective_metric",
        ),
    ],
)
def test_who_named_the_data_set_to_follow(
    values: dict[str, str], data: str | None, source: str | None
) -> None:
    config = parse({"num_round": "5", **values})
    assert (config.objective_data, config.objective_source) == (data, source)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"objective_metric": "maee"}, "did you mean mae?"),
        ({"objective_metric": "test:mae"}, "a metric, such as auc or validation:auc"),
        ({"objective_metric": "auc"}, "objective_metric: found 'auc'"),
        ({"objective_metric": "mae", "_tuning_objective_metric": "validation:rmse"},
         "allowed validation:rmse, which the tuner reads, or nothing"),
        ({"objective_metric": "train:mae", "_tuning_objective_metric": "validation:mae"},
         "which the tuner reads"),
    ],
)  # fmt: skip
def test_a_metric_nobody_can_follow(values: dict[str, str], expected: str) -> None:
    assert expected in cause({"num_round": "5", **values})


# Each of these combinations was a rule; XGBoost itself says why.
@pytest.mark.parametrize(
    "params",
    [
        {"objective": "multi:softmax"},
        {"objective": "binary:logistic", "num_class": 2},
        {"objective": "reg:quantileerror"},
        {"objective": "binary:logistic", "base_score": -1},
        {"process_type": "update"},
        {"updater": "prune"},
        {"updater": "sync"},
        {"tree_method": "gpu_hist"},
        {"tree_method": "exact", "max_depth": 0},
        {"tree_method": "exact", "colsample_bynode": 0.5},
        {"tree_method": "approx", "multi_strategy": "multi_output_tree"},
        {"booster": "gblinear", "feature_selector": "greedy"},
        {"max_bin": 1},
        {"gamma": 1e-50},
        {"max_depth": 2**31},
        {"monotone_constraints": "[1,0]"},
    ],
)
def test_xgboost_refuses_what_the_rules_refuse_or_translate(params: dict[str, Any]) -> None:
    data = xgb.DMatrix(np.random.default_rng(0).random((20, 4)), np.arange(20) % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((xgb.core.XGBoostError, ValueError)):
            xgb.train({"nthread": 1, **params}, data, 1)


# --- warnings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "absent", "line"),
    [
        ({"sketch_eps": "0.1"}, "sketch_eps", "max_bin"),
        ({"predictor": "gpu_predictor"}, "predictor", "compute"),
        ({"dsplit": "row"}, "dsplit", "rows"),
        ({"deterministic_histogram": "true"}, "deterministic_histogram", "gone"),
        ({"prob_buffer_row": "2"}, "prob_buffer_row", "gone"),
        ({"lambda_bias": "0.5", "booster": "gblinear"}, "lambda_bias", "gone"),
        ({"use_dask_gpu_training": "true"}, "use_dask_gpu_training", "compute=multiGPU"),
        ({"updater": "distcol,sync"}, "updater", "tree_method"),
        ({"refresh_leaf": "0"}, "refresh_leaf", "process_type=update"),
        ({"booster": "gblinear", "max_depth": "3"}, "max_depth", "booster=gbtree or dart"),
        ({"top_k": "3"}, "top_k", "booster=gblinear"),
        ({"feature_selector": "shuffle"}, "feature_selector", "booster=gblinear"),
        ({"lambdarank_unbiased": "true"}, "lambdarank_unbiased", "objective=rank:*"),
        ({"quantile_alpha": "0.5"}, "quantile_alpha", "reg:quantileerror"),
        ({"huber_slope": "2"}, "huber_slope", "metric mphe"),
        ({"tweedie_variance_power": "1.2"}, "tweedie_variance_power", "reg:tweedie"),
        ({"aft_loss_distribution": "logistic"}, "aft_loss_distribution", "survival:aft"),
        ({"scale_pos_weight": "2", "objective": "binary:hinge"}, "scale_pos_weight", "logistic"),
        ({"tree_method": "exact", "max_bin": "9"}, "max_bin", "tree_method=auto or approx"),
        ({"_num_cv_round": "3"}, "cv_repeats", "needs cv_folds"),
        ({"cv_strategy": "kfold"}, "cv_strategy", "needs cv_folds"),
        ({"refit": "false"}, "refit", "needs cv_folds"),
        ({"keep_fold_models": "true"}, "keep_fold_models", "needs cv_folds"),
        ({"n_estimators": "9"}, "n_estimators", "needs algorithm=random_forest"),
        ({"max_features": "sqrt"}, "max_features", "needs algorithm=random_forest"),
    ],
)
def test_what_has_no_effect_is_left_out_with_a_warning(
    values: dict[str, str], absent: str, line: str
) -> None:
    config = parse({"num_round": "5", **values})
    assert absent not in config.booster
    assert any(absent in each and line in each for each in config.warnings), config.warnings
    assert all("\n" not in each for each in config.warnings)


def test_a_forest_ignores_what_boosting_reads() -> None:
    forest = {"algorithm": "random_forest", "objective": "binary:logistic"}
    config = parse({**forest, "num_round": "9", "eta": "0.1", "max_depth": "4", "seed": "3"})
    assert set(config.warnings) == {
        "num_round has no effect here: it needs algorithm=xgboost",
        "eta has no effect here: it needs algorithm=xgboost",
    }
    assert config.forest == Forest(max_depth=4)
    assert "eta" not in config.booster
    assert config.seed == 3


@pytest.mark.parametrize(("text", "bins"), [("64", 64), ("64.0", 64), ('"64.0"', 64), ("2", 2)])
def test_bins_may_be_written_as_the_rapids_example_writes_them(text: str, bins: int) -> None:
    forest = {"algorithm": "random_forest", "objective": "binary:logistic"}
    assert parse({**forest, "n_bins": text}).forest.n_bins == bins
    assert "n_bins: found" in cause({**forest, "n_bins": "64.5"})
    assert "n_bins: found '1.0'" in cause({**forest, "n_bins": "1.0"})


def test_old_values_are_translated() -> None:
    config = ask(tree_method="gpu_hist", objective="reg:linear")
    assert config.booster["tree_method"] == "hist"
    assert config.booster["objective"] == config.objective == "reg:squarederror"
    assert len(config.warnings) == 2
    assert ask(use_dask_gpu_training="true").compute == "multiGPU"
    assert ask(updater="grow_histmaker,sync").booster["updater"] == "grow_histmaker"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"rate_drop": "0.1"}, "takes effect with booster=gbtree too"),
        ({"booster": "dart", "rate_drop": "0.1"}, "booster=dart is deprecated"),
        ({"booster": "gblinear"}, "booster=gblinear is deprecated"),
        ({"objective": "binary:logitraw"}, "raw margins"),
        ({"objective": "count:poisson", "eval_metric": "error"}, "only for labels 0 and 1"),
        ({"updater": "grow_histmaker", "tree_method": "hist"}, "tree_method has no effect"),
    ],
)
def test_what_is_legal_but_worth_a_line(values: dict[str, str], line: str) -> None:
    config = parse({"num_round": "5", **values})
    assert len(config.warnings) == 1
    assert line in config.warnings[0]


def test_no_warning_without_a_reason() -> None:
    for values in (
        {"tree_method": "hist", "max_bin": "64", "monotone_constraints": "(1,0)"},
        {"objective": "binary:logitraw", "eval_metric": "auc"},
        {"objective": "binary:logistic", "eval_metric": "ndcg@3", "ndcg_exp_gain": "false"},
        {"eval_metric": "mphe", "huber_slope": "2"},
        {"use_dask_gpu_training": "true", "compute": "multiGPU"},
    ):
        config = parse({"num_round": "5", **values})
        assert [line for line in config.warnings if "use_dask" not in line] == []


# --- XGBoost agrees -------------------------------------------------------------------------

# A legal value of every hyperparameter that reaches XGBoost, and what else it needs.
TRAINED: dict[str, dict[str, str]] = {
    "booster": {"booster": "gbtree"},
    "verbosity": {"verbosity": "1"},
    "seed": {"seed": "-3"},
    "seed_per_iteration": {"seed_per_iteration": "true"},
    "objective": {"objective": "reg:squaredlogerror"},
    "num_class": {"num_class": "3", "objective": "multi:softmax"},
    "disable_default_eval_metric": {"disable_default_eval_metric": "true", "eval_metric": "mae"},
    "base_score": {"base_score": "-1.5"},
    "scale_pos_weight": {"scale_pos_weight": "2", "objective": "binary:logistic"},
    "tweedie_variance_power": {"tweedie_variance_power": "1.3", "objective": "reg:tweedie"},
    "huber_slope": {"huber_slope": "2", "objective": "reg:pseudohubererror"},
    "quantile_alpha": {"quantile_alpha": "0.1,0.9", "objective": "reg:quantileerror"},
    "expectile_alpha": {"expectile_alpha": "0.1,0.9", "objective": "reg:expectileerror"},
    "aft_loss_distribution": {"aft_loss_distribution": "extreme", **AFT},
    "aft_loss_distribution_scale": {
        "aft_loss_distribution_scale": "0.5", **AFT,
    },
    "eta": {"eta": "0.2"},
    "gamma": {"gamma": "0.1"},
    "max_depth": {"max_depth": "0"},
    "min_child_weight": {"min_child_weight": "0.5"},
    "max_delta_step": {"max_delta_step": "0.7"},
    "subsample": {"subsample": "0.5"},
    "sampling_method": {"sampling_method": "gradient_based", "subsample": "0.5"},
    "colsample_bytree": {"colsample_bytree": "0.5"},
    "colsample_bylevel": {"colsample_bylevel": "0.5"},
    "colsample_bynode": {"colsample_bynode": "0.5"},
    "lambda": {"lambda": "0.1"},
    "alpha": {"alpha": "0.1"},
    "tree_method": {"tree_method": "exact"},
    "grow_policy": {"grow_policy": "lossguide"},
    "max_leaves": {"max_leaves": "4"},
    "max_bin": {"max_bin": "2"},
    "num_parallel_tree": {"num_parallel_tree": "2"},
    "monotone_constraints": {"monotone_constraints": "1"},
    "interaction_constraints": {"interaction_constraints": "[[0,1],[2,3]]"},
    "multi_strategy": {
        "multi_strategy": "multi_output_tree", "objective": "multi:softprob", "num_class": "3",
    },
    "max_cat_to_onehot": {"max_cat_to_onehot": "2"},
    "max_cat_threshold": {"max_cat_threshold": "8"},
    "max_cached_hist_node": {"max_cached_hist_node": "16"},
    "updater": {"updater": "grow_quantile_histmaker,prune"},
    "process_type": {"process_type": "default"},
    "rate_drop": {"rate_drop": "0.1"},
    "one_drop": {"one_drop": "1"},
    "skip_drop": {"skip_drop": "0.1"},
    "sample_type": {"sample_type": "weighted"},
    "normalize_type": {"normalize_type": "forest"},
    "lambdarank_pair_method": {"lambdarank_pair_method": "mean", "objective": "rank:map"},
    "lambdarank_num_pair_per_sample": {
        "lambdarank_num_pair_per_sample": "3", "objective": "rank:ndcg",
    },
    "lambdarank_normalization": {"lambdarank_normalization": "false", "objective": "rank:ndcg"},
    "lambdarank_score_normalization": {
        "lambdarank_score_normalization": "false", "objective": "rank:pairwise",
    },
    "lambdarank_unbiased": {"lambdarank_unbiased": "true", "objective": "rank:ndcg"},
    "lambdarank_bias_norm": {"lambdarank_bias_norm": "2", "objective": "rank:ndcg"},
    "ndcg_exp_gain": {"ndcg_exp_gain": "false", "objective": "rank:ndcg"},
    "feature_selector": {"feature_selector": "shuffle", "booster": "gblinear"},
    "top_k": {
        "top_k": "2", "feature_selector": "greedy", "updater": "coord_descent",
        "booster": "gblinear",
    },
}  # fmt: skip


def _train(config: Config) -> tuple[dict[str, Any], list[str]]:
    rng = np.random.default_rng(3)
    features = rng.random((40, 4))
    label = features[:, 0] > 0.5
    data = xgb.DMatrix(features, label if "reg" not in config.objective else label + 1)
    if config.objective.startswith("rank:"):
        data.set_group([20, 20])
    if config.objective == "survival:aft":
        data.set_float_info("label_lower_bound", label + 1)
        data.set_float_info("label_upper_bound", label + 2)
    scores: dict[str, Any] = {}
    params: dict[str, Any] = {"nthread": 1, "verbosity": 1, **config.booster}
    if config.eval_metrics:
        params["eval_metric"] = list(config.eval_metrics)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        xgb.train(params, data, 1, evals=[(data, "d")], evals_result=scores, verbose_eval=False)
    return scores, [str(each.message) for each in caught]


def test_an_example_stands_for_every_hyperparameter_of_xgboost() -> None:
    expected = {
        name for name, parameter in TABLE.items() if not parameter.own and not parameter.dead
    }
    assert set(TRAINED) == expected


@pytest.mark.parametrize("name", TRAINED)
def test_xgboost_uses_every_hyperparameter(name: str) -> None:
    config = parse({"num_round": "1", **TRAINED[name]})
    assert name in config.booster
    scores, lines = _train(config)
    assert not [line for line in lines if "not used" in line]
    if name != "disable_default_eval_metric":
        assert list(scores["d"]) == [default_for(config.objective, config.booster)]


def test_xgboost_calls_unknown_parameters_unused() -> None:
    """Without this line of XGBoost's the test above could not fail."""
    params = {"nthread": 1, "verbosity": 1, "sketch_eps": 0.1}
    with pytest.warns(UserWarning, match="are not used"):
        xgb.train(params, xgb.DMatrix(np.eye(4), np.arange(4)), 1)


def test_dart_is_gbtree_with_dropout() -> None:
    data = xgb.DMatrix(np.random.default_rng(0).random((60, 4)), np.arange(60) % 7)
    models = []
    for booster in ("gbtree", "dart"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = ask(booster=booster, rate_drop="0.5")
            model = xgb.train({"nthread": 1, **config.booster}, data, 8)
        models.append(model.predict(data))
    np.testing.assert_array_equal(models[0], models[1])


def test_logitraw_metrics_are_of_margins() -> None:
    """A negative log-likelihood below zero: the reason for the warning."""
    data = xgb.DMatrix(np.linspace(0, 1, 40).reshape(-1, 1), np.arange(40) >= 20)
    scores: dict[str, Any] = {}
    params = {"nthread": 1, "objective": "binary:logitraw"}
    xgb.train(params, data, 9, evals=[(data, "d")], evals_result=scores, verbose_eval=False)
    assert scores["d"]["logloss"][-1] < 0


def test_reading_hyperparameters_loads_no_library() -> None:
    """It is on the way of every start; numpy and xgboost cost a hundred times as much."""
    code = (
        "import sys; from treeline.hyperparameters import parse; parse({'num_round': '5'});"
        "print([m for m in ('numpy', 'xgboost', 'pyarrow', 'difflib') if m in sys.modules])"
    )
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


# --- publishing -----------------------------------------------------------------------------


def test_the_specification_has_the_form_of_the_service() -> None:
    entries = publish.spec()
    assert len(entries) <= publish.LIMIT
    shown = [p.name for p in TABLE.values() if p.form and not p.dead]
    assert [entry["Name"] for entry in entries] == shown
    left_out = [p.name for p in TABLE.values() if not p.form]
    assert left_out == ["device", "dask_tls", "process_type"]  # something else says them
    assert json.loads(json.dumps(entries)) == entries
    for entry in entries:
        assert len(str(entry["Description"])) <= 256
        assert entry["Type"] in ("Integer", "Continuous", "Categorical", "FreeText")
        assert isinstance(entry.get("DefaultValue", ""), str)
        assert entry["IsTunable"] is (entry["Name"] in TUNABLE)
        assert entry["IsRequired"] is False  # num_round is, but of boosting only
        ranges = entry.get("Range", {})
        assert isinstance(ranges, dict)
        expected = [] if entry["Type"] == "FreeText" else [f"{entry['Type']}ParameterRange"]
        assert [key.removesuffix("Specification") for key in ranges] == expected
        for name, body in ranges.items():
            if name.startswith("Categorical"):
                assert 1 <= len(body["Values"]) <= 30
                assert entry.get("DefaultValue", body["Values"][0]) in body["Values"]
            else:
                kind = TABLE[str(entry["Name"])].kind
                assert set(body) == {"MinValue", "MaxValue"}
                assert kind.parse(body["MinValue"]) != kind.parse(body["MaxValue"])


def test_the_page_is_the_one_the_table_generates() -> None:
    page = publish.document()
    assert DOCUMENT.read_text(encoding="utf-8") == page
    for name in (*TABLE, *ALIASES):
        assert f"`{name}`" in page
    assert {parameter.group for parameter in TABLE.values()} == set(GROUPS)
