"""Early stopping, held against XGBoost's own callback."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xgboost as xgb

from treeline.algorithms.early_stopping import EarlyStopping

DATA = xgb.DMatrix(np.zeros((1, 1)), [0.0])
SCORES = {"improving": [5, 4, 3, 2, 1], "worse": [1, 2, 3, 4, 5, 6], "flat": [1, 1, 1, 1, 1, 1]}


def ours(scores: list[float], patience: int, maximize: bool) -> tuple[int, int, float]:
    """Return the last round, the best round and its score, in the loop that trains."""
    stopping = EarlyStopping(patience, maximize)
    index = 0
    for index, score in enumerate(scores):
        if not stopping.improved(index, score) and stopping.exhausted(index):
            break
    return index, stopping.best_round, stopping.best_score


def xgboosts(scores: list[float], patience: int, maximize: bool) -> tuple[int, int, float]:
    booster = xgb.Booster({"nthread": 1}, [DATA])
    callback = xgb.callback.EarlyStopping(rounds=patience, maximize=maximize)
    callback.before_training(booster)
    history: list[float] = []
    index = 0
    for index, score in enumerate(scores):
        history.append(score)
        if callback.after_iteration(booster, index, {"validation": {"metric": history}}):
            break
    best, value = booster.attr("best_iteration"), booster.attr("best_score")
    assert best is not None
    assert value is not None
    return index, int(best), float(value)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("name", SCORES)
def test_agrees_with_xgboost(name: str, patience: int, maximize: bool) -> None:
    scores = [float(s) for s in SCORES[name]]
    assert ours(scores, patience, maximize) == xgboosts(scores, patience, maximize)


@pytest.mark.parametrize("seed", range(150))
def test_agrees_with_xgboost_on_random_scores(seed: int) -> None:
    """Few different values, so that there are ties; and now and then a nan or an infinity."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, rng.integers(1, 40)).astype(float)
    scores[1:][rng.random(scores.size - 1) < 0.15] = math.nan
    scores[rng.random(scores.size) < 0.03] = rng.choice([math.inf, -math.inf])
    for patience in (1, 2, 3, 7, 100):
        for maximize in (False, True):
            arguments = (scores.tolist(), patience, maximize)
            assert ours(*arguments) == xgboosts(*arguments)


def test_a_number_is_better_than_a_nan_in_the_first_round() -> None:
    """XGBoost never gets away from it: nothing compares with nan."""
    assert ours([math.nan, 3, 2, 4, 5], 2, False) == (4, 2, 2)
    last, best, score = xgboosts([math.nan, 3, 2, 4, 5], 2, False)
    assert (last, best, math.isnan(score)) == (2, 0, True)


def test_nothing_but_nan_runs_out_of_patience() -> None:
    last, best, score = ours([math.nan] * 10, 3, True)
    assert (last, best, math.isnan(score)) == (3, 0, True)


def test_improved_says_whether_it_is_the_best_so_far() -> None:
    stopping = EarlyStopping(patience=3, maximize=True)
    scores = [0.5, 0.5, 0.6, math.nan, 0.4, 0.7]
    assert [stopping.improved(i, s) for i, s in enumerate(scores)] == [
        True, False, True, False, False, True,
    ]  # fmt: skip
    assert not stopping.exhausted(7)
    assert stopping.exhausted(8)
