"""What a tuner reads from the log is the score of the model that was saved, or of its folds.

The tests play the platform: each metric definition is looked for in every line of the real log,
with the TAB as the platform shows it or as it is, and the last match is the job's result. What it
should be is computed from the saved models, with XGBoost and numpy alone.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from sklearn import metrics as sk

from tests.conftest import Tree
from tests.contract.jobs import Ended, Rows, binary_rows, environment, number_rows, run_job
from treeline.algorithms import xgboost as algorithm
from treeline.metrics.log import definitions
from treeline.metrics.names import lookup

# The built-in image's own definition of validation:rmse, as its users have it in their jobs.
NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
BUILT_IN = {
    name: rf".*\[[0-9]+\].*#011{name.replace(':', '-')}:{NUMBER}.*"
    for name in ("validation:rmse", "validation:mae", "train:rmse", "test:rmse")
}

Score = Callable[[Any, Any], float]
SCORES: dict[str, Score] = {
    "rmse": lambda y, p: float(np.sqrt(np.mean((y - p.astype(np.float64)) ** 2))),
    "mae": lambda y, p: float(np.mean(np.abs(y - p.astype(np.float64)))),
    "accuracy": lambda y, p: float(np.mean(y == (p > 0.5))),
    "auc": lambda y, p: float(sk.roc_auc_score(y, p)),
}
TRAIN, VALIDATION, TEST = (number_rows(n, seed=s) for n, s in ((300, 1), (120, 2), (90, 3)))


def read_by_the_tuner(expression: str, ended: Ended) -> list[float]:
    """Return every value that the platform finds, in order: its log shows a TAB as #011."""
    log = [line.replace("\t", "#011") for line in ended.lines]
    return [float(match.group(1)) for line in log if (match := re.search(expression, line))]


def published(name: str) -> str:
    [definition] = definitions([name])
    return definition["Regex"]


def ran(tree: Tree) -> Ended:
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    return ended


def score(tree: Tree, metric: str, rows: Rows, model: str = "xgboost-model") -> float:
    """Score a saved model again."""
    booster = algorithm.load(tree.model.with_name(model))
    prediction = booster.predict(xgb.DMatrix(rows[:, 1:].astype(np.float32)))
    return SCORES[metric](rows[:, 0], prediction)


def mean_over_folds(tree: Tree, metric: str, rows: Rows) -> float:
    """Score the folds' models on the rows that each has not seen."""
    with (tree.root / "output/data/predictions_by_fold.csv").open() as stream:
        lines = np.array(list(csv.reader(stream))[1:])[:, :3].astype(int)
    folds = 1 + lines[:, 2].max()
    scores = []
    for repeat in range(1 + lines[:, 1].max()):
        for fold in range(folds):
            held_out = lines[(lines[:, 1] == repeat) & (lines[:, 2] == fold), 0]
            number = repeat * folds + fold
            scores.append(score(tree, metric, rows[held_out], f"xgboost-model-{number}"))
    return float(np.mean(scores))


def check_last(ended: Ended, name: str, expected: float, others: tuple[str, ...] = ()) -> None:
    """Every expression a user may have ends on ``expected``, and final-score is all its digits."""
    for expression in (published(name), BUILT_IN.get(name, published(name))):
        found = read_by_the_tuner(expression, ended)
        assert found[-1] == pytest.approx(expected, abs=5.1e-6)
    as_they_are = [re.search(published(name), line) for line in ended.lines]
    assert [m for m in as_they_are if m][-1].group(1) == f"{found[-1]:.5f}"
    for expression in (published("final-score"), "final-score: (.*);"):
        [final] = read_by_the_tuner(expression, ended)
        assert final == pytest.approx(expected, rel=1e-6)


# --- without folds ---------------------------------------------------------------------------

STOPPING = {"early_stopping_rounds": 4, "eta": 0.5, "num_round": 60}

# Each: hyperparameters, the definition the tuner follows, whether there is a test channel.
PLAIN: dict[str, tuple[Mapping[str, Any], str, bool]] = {
    "nothing asked": ({}, "validation:rmse", False),
    "early stopping": (STOPPING, "validation:rmse", False),
    "the tuner's metric": (
        {**STOPPING, "eval_metric": "rmse", "_tuning_objective_metric": "validation:mae"},
        "validation:mae",
        False,
    ),
    "the tuner's metric among others": (
        {"eval_metric": "mae,rmse", "_tuning_objective_metric": "validation:mae"},
        "validation:mae",
        False,
    ),
    "objective_metric": ({**STOPPING, "objective_metric": "mae"}, "validation:mae", False),
    "of the training data": ({"objective_metric": "train:rmse"}, "train:rmse", False),
    "a test channel": (STOPPING, "validation:rmse", True),
}


@pytest.mark.parametrize("case", PLAIN)
def test_the_last_match_is_the_score_of_the_saved_model(case: str, tree: Tree) -> None:
    asked, name, tested = PLAIN[case]
    tree.channel("train", TRAIN).channel("validation", VALIDATION)
    if tested:
        tree.channel("test", TEST)
    tree.hyperparameters(**{"num_round": 8, **asked})
    ended = ran(tree)
    data, metric = name.split(":")
    rows = {"train": TRAIN, "validation": VALIDATION}[data]
    check_last(ended, name, score(tree, metric, rows))

    rounds = tree.manifest()["training"]["rounds_trained"]
    values = read_by_the_tuner(published(name), ended)
    assert len(values) == rounds + 1  # each round, and the saved model once more
    if "early_stopping_rounds" in asked:
        assert values[-1] == min(values) < values[-2]
        assert rounds < 60
    if tested:
        assert read_by_the_tuner(BUILT_IN["test:rmse"], ended) == [
            pytest.approx(score(tree, "rmse", TEST), abs=5.1e-6)
        ]


def test_a_metric_of_ours_is_read_in_full_precision(tree: Tree) -> None:
    train, validation = binary_rows(300, seed=1), binary_rows(150, seed=2)
    tree.channel("train", train).channel("validation", validation)
    tree.hyperparameters(
        **STOPPING, objective="binary:logistic", _tuning_objective_metric="validation:accuracy"
    )
    ended = ran(tree)
    check_last(ended, "validation:accuracy", score(tree, "accuracy", validation))
    [final] = read_by_the_tuner(published("final-score"), ended)
    assert final == score(tree, "accuracy", validation)


# --- with folds ------------------------------------------------------------------------------

# Each: hyperparameters, the definition the tuner follows, further channels.
FOLDED: dict[str, tuple[Mapping[str, Any], str, dict[str, Rows]]] = {
    "nothing asked": ({}, "validation:rmse", {}),
    "repeated": ({"cv_repeats": 2}, "validation:rmse", {}),
    "early stopping": (STOPPING, "validation:rmse", {}),
    "the tuner's metric": (
        {**STOPPING, "_tuning_objective_metric": "validation:mae"},
        "validation:mae",
        {},
    ),
    "objective_metric": (
        {"eval_metric": "mae,rmse", "objective_metric": "validation:mae"},
        "validation:mae",
        {},
    ),
    "a hold-out": ({}, "validation:rmse", {"validation": VALIDATION}),
    "a hold-out and a test": (
        STOPPING,
        "validation:rmse",
        {"validation": VALIDATION, "test": TEST},
    ),
    "no refit": ({"refit": "false"}, "validation:rmse", {}),
}


@pytest.mark.parametrize("case", FOLDED)
def test_the_last_match_is_the_mean_over_the_folds(case: str, tree: Tree) -> None:
    asked, name, channels = FOLDED[case]
    tree.channel("train", TRAIN)
    for channel, rows in channels.items():
        tree.channel(channel, rows)
    tree.hyperparameters(**{"num_round": 8, "cv_folds": 3, "keep_fold_models": "true", **asked})
    ended = ran(tree)
    metric = name.split(":")[1]
    expected = mean_over_folds(tree, metric, TRAIN)
    check_last(ended, name, expected)
    said = [
        line for line in ended.lines if line.startswith(f"cross-validation: validation-{metric}")
    ]
    assert said[0].split()[2] == f"{expected:.5f},"

    # What stays apart is printed, and no definition of validation: matches it.
    apart = [line for line in ended.round_lines() if "-folds" not in line and "\tfold" not in line]
    assert apart[-1] == ended.lines[-2]
    for channel, printed in (("validation", "holdout"), ("test", "test")):
        found = read_by_the_tuner(rf"#011{printed}-rmse:{NUMBER}", ended)
        wanted = [score(tree, "rmse", channels[channel])] if channel in channels else []
        assert found == pytest.approx(wanted, abs=5.1e-6)
    assert len(apart) == (2 if channels else 1)


def test_a_tuner_that_looks_at_a_running_job_sees_folds_and_their_mean(tree: Tree) -> None:
    tree.channel("train", TRAIN).hyperparameters(num_round=3, cv_folds=3, nthread=3)
    ended = ran(tree)
    lines = [line for line in ended.round_lines() if "fold" in line]
    assert [line.split("\t")[-1] for line in lines] == 3 * [
        *(f"fold:{i}" for i in range(3)),
        "mean-of-folds:0,1,2",
    ]
    for first in range(0, 12, 4):
        *folds, mean = [
            read_by_the_tuner(published("validation:rmse"), Ended(0, line, ""))[0]
            for line in lines[first : first + 4]
        ]
        assert mean == pytest.approx(np.mean(folds), abs=1.1e-5)
    values = read_by_the_tuner(published("validation:rmse"), ended)
    assert len(values) == 13
    assert values[-1] == values[-2]  # the folds' mean of the last round, and the result


# --- definitions ------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{}, {"eval_metric": "logloss,auc,error@0.7"}, {"cv_folds": "2"}])
def test_the_definitions_of_a_job_find_all_that_it_prints(
    asked: dict[str, str], tree: Tree
) -> None:
    tree.channel("train", binary_rows(200))
    if "cv_folds" not in asked:
        tree.channel("validation", binary_rows(80, seed=1))
    tree.hyperparameters(num_round=3, objective="binary:logistic", **asked)
    ended = ran(tree)
    done = subprocess.run(
        [sys.executable, "-m", "treeline.cli", "metrics", "--base-dir", str(tree.root)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    printed = json.loads(done.stdout)
    names = {each["Name"]: each["Regex"] for each in printed}
    shown = {part.split(":")[0] for part in ended.round_lines()[-1].split("\t")[1:]}
    assert {name.replace(":", "-", 1) for name in names} == {"final-score", *shown}
    scores = tree.metrics()[-1]["scores"]
    for name, expression in names.items():
        if name != "final-score":
            data, metric = name.split(":")
            assert read_by_the_tuner(expression, ended)[-1] == round(scores[data][metric], 5)


def test_the_document_says_which_way_is_better() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "tuning.md").read_text()
    rows = re.findall(r"^\| (`.+`) \| (lower|higher) \|$", text, re.MULTILINE)
    assert [better for _, better in rows] == ["lower", "higher"]
    for listed, better in rows:
        for name in re.findall(r"`(.+?)`", listed):
            metric = lookup(name)
            assert metric is not None, name
            assert metric.maximize == (better == "higher"), name
