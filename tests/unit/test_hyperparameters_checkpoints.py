"""Checkpoints as they are asked for, and which options keep a resumed model from being the same."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline.errors import HyperparameterError
from treeline.hyperparameters import Config, parse
from treeline.hyperparameters.config import CheckpointOptions
from treeline.hyperparameters.table import TABLE

LINEAR = {"booster": "gblinear", "updater": "coord_descent"}
RANKS = {"objective": "rank:ndcg"}
UNSEEDED = {"seed_per_iteration": "false"}
APPROX = {"tree_method": "approx", "subsample": "0.5"}
ROUNDS, CUT = 10, 4


def ask(values: dict[str, str]) -> Config:
    return parse({"num_round": "10", **values})


def cause(values: dict[str, str]) -> str:
    with pytest.raises(HyperparameterError) as caught:
        ask(values)
    return caught.value.cause


# --- what is asked for ----------------------------------------------------------------------


def test_nothing_asked_for() -> None:
    assert ask({}).checkpoints == CheckpointOptions()
    assert CheckpointOptions() == CheckpointOptions(None, 5, "restart", False)


def test_everything_asked_for() -> None:
    values = {
        "checkpoint_every": "10",
        "checkpoint_keep": "1",
        "checkpoint_mismatch": "fail",
        "checkpoint_required": "True",
    }
    assert ask(values).checkpoints == CheckpointOptions(10, 1, "fail", required=True)
    assert ask(values).booster == ask({}).booster
    assert not any(TABLE[name].tunable for name in values)


@pytest.mark.parametrize("text", ["auto", " auto ", '"auto"'])
def test_auto_is_no_number(text: str) -> None:
    assert ask({"checkpoint_every": text}).checkpoints.every is None


@pytest.mark.parametrize("text", ["1", " 1 ", '"1"'])
def test_every_round(text: str) -> None:
    assert ask({"checkpoint_every": text}).checkpoints.every == 1


@pytest.mark.parametrize(
    ("name", "texts", "allowed"),
    [
        (
            "checkpoint_every",
            ["0", "-1", "1.0", "", "never", "Auto", "2147483648"],
            "auto, or a number of rounds from 1",
        ),
        ("checkpoint_keep", ["0", "-1", "all"], "[1, +inf)"),
        ("checkpoint_mismatch", ["ignore", ""], "[restart, fail]"),
        ("checkpoint_required", ["yes"], "[true, false]"),
    ],
)
def test_what_is_refused(name: str, texts: list[str], allowed: str) -> None:
    for text in texts:
        assert f"{name}: found {text!r}, allowed {allowed}" in cause({name: text})


def test_a_forest_is_kept_tree_by_tree() -> None:
    forest = {"algorithm": "random_forest", "objective": "binary:logistic"}
    config = ask({**forest, "checkpoint_every": "7"})
    assert config.checkpoints.every == 7
    assert not [line for line in config.warnings if "checkpoint" in line]


# --- what cannot be resumed exactly ---------------------------------------------------------

# Values, and a word of what is said; empty where a resumed model is the same.
RESUMED: list[tuple[dict[str, str], str]] = [
    ({}, ""),
    (UNSEEDED, ""),
    ({"subsample": "0.5", "colsample_bynode": "0.5", "num_parallel_tree": "2"}, ""),
    ({"subsample": "0.5", **UNSEEDED}, "with subsample"),
    ({"subsample": "0.5", "sampling_method": "gradient_based", **UNSEEDED}, "with subsample"),
    ({"sampling_method": "gradient_based", **UNSEEDED}, ""),
    ({"colsample_bytree": "0.5", **UNSEEDED}, "with colsample_bytree"),
    ({"colsample_bylevel": "0.5", **UNSEEDED}, "with colsample_bylevel"),
    ({"colsample_bynode": "0.5", **UNSEEDED}, "with colsample_bynode"),
    ({"num_parallel_tree": "2", **UNSEEDED}, ""),
    ({"rate_drop": "0.5", "one_drop": "1"}, ""),
    ({"rate_drop": "0.5", **UNSEEDED}, "with rate_drop"),
    ({"one_drop": "1", **UNSEEDED}, "with one_drop"),
    ({"skip_drop": "0.5", **UNSEEDED}, ""),
    ({"booster": "dart", **UNSEEDED}, ""),
    (APPROX, "tree_method=approx"),
    ({"updater": "grow_histmaker,prune", "subsample": "0.5"}, "tree_method=approx"),
    ({**APPROX, "subsample": "1"}, ""),
    ({**APPROX, "objective": "binary:logistic"}, ""),
    ({**APPROX, "objective": "reg:linear"}, "tree_method=approx"),
    ({"tree_method": "exact", "subsample": "0.5"}, ""),
    ({"lambdarank_pair_method": "mean", **RANKS}, ""),
    ({"lambdarank_pair_method": "mean", **RANKS, **UNSEEDED}, "with lambdarank_pair_method=mean"),
    ({"lambdarank_unbiased": "true", **RANKS}, "lambdarank_unbiased=true"),
    ({"lambdarank_unbiased": "true", **RANKS, "objective": "rank:map"}, "lambdarank_unbiased=true"),
    (LINEAR, ""),
    ({**LINEAR, **UNSEEDED}, ""),
    ({**LINEAR, "feature_selector": "shuffle"}, "feature_selector=shuffle"),
    ({**LINEAR, "feature_selector": "random"}, ""),
    ({**LINEAR, "feature_selector": "random", **UNSEEDED}, "with feature_selector=random"),
    ({**LINEAR, "feature_selector": "greedy", **UNSEEDED}, ""),
    ({"booster": "gblinear", "nthread": "1"}, ""),
]


@pytest.mark.parametrize(("values", "word"), RESUMED)
def test_xgboost_agrees_on_what_resumes_exactly(values: dict[str, str], word: str) -> None:
    config = ask(values)
    assert (config.inexact_resume or "").count(word) == 1 if word else not config.inexact_resume
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (_resumed(config) == _straight(config)) is (not word)


@pytest.mark.parametrize(
    "values",
    [
        {"booster": "gblinear"},
        {"booster": "gblinear", "nthread": "2"},
        {"booster": "gblinear", "updater": "shotgun"},
    ],
)
def test_threads_of_shotgun_race(values: dict[str, str]) -> None:
    assert "shotgun" in (ask(values).inexact_resume or "")


@pytest.mark.parametrize(
    "values",
    [
        # Without effect, so no reason.
        {"lambdarank_unbiased": "true"},
        {"lambdarank_unbiased": "true", "eval_metric": "ndcg"},
        {"lambdarank_pair_method": "mean", **UNSEEDED},
        {**LINEAR, **UNSEEDED, "subsample": "0.5"},
        {"feature_selector": "shuffle"},
        {"algorithm": "random_forest", **APPROX, **UNSEEDED, "objective": "reg:squarederror"},
        {"algorithm": "random_forest", "objective": "reg:squarederror", "booster": "gblinear"},
    ],
)
def test_what_has_no_effect_is_no_reason(values: dict[str, str]) -> None:
    assert ask(values).inexact_resume is None


def test_a_reason_is_one_line_that_another_can_go_on_from() -> None:
    for values, word in RESUMED:
        line = ask(values).inexact_resume or ""
        assert "\n" not in line
        assert not line.endswith((".", ";", ","))
        assert bool(line) is bool(word)


def test_xgboost_makes_bias_estimates_only_in_a_round_called_0() -> None:
    """The reason why a resumed job has to call its first round so."""
    config = ask({"lambdarank_unbiased": "true", **RANKS})
    booster = _booster(config, _straight(config, CUT))
    with pytest.raises(xgb.core.XGBoostError, match="iter == 0"):
        booster.update(_matrix(config), CUT)


def _straight(config: Config, rounds: int = ROUNDS) -> bytes:
    matrix = _matrix(config)
    booster = xgb.Booster({"nthread": 1, "verbosity": 0, **config.booster}, [matrix])
    for i in range(rounds):
        booster.update(matrix, i)
    return bytes(booster.save_raw("ubj"))


def _resumed(config: Config) -> bytes:
    matrix, booster = _matrix(config), _booster(config, _straight(config, CUT))
    unbiased = config.booster.get("lambdarank_unbiased")
    for i in range(CUT, ROUNDS):
        booster.update(matrix, 0 if unbiased and i == CUT else i)
    return bytes(booster.save_raw("ubj"))


def _booster(config: Config, model: bytes) -> xgb.Booster:
    params: dict[str, Any] = {"nthread": 1, "verbosity": 0, **config.booster}
    return xgb.Booster(params, model_file=bytearray(model))


def _matrix(config: Config) -> xgb.DMatrix:
    """Return rows with enough noise that a tree of other rows is another tree."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(300, 5)).astype(np.float32)
    label = features[:, 0] + features[:, 1] * features[:, 2] + rng.normal(size=300)
    if config.objective != "reg:squarederror":
        label = np.sign(label) * 0.5 + 0.5
    matrix = xgb.DMatrix(features, label=label)
    if config.objective.startswith("rank:"):
        matrix.set_group([15] * 20)
    return matrix
