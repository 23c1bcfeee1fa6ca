"""Cross-validation seen from outside: it is the loop a user would write by hand, and no row leaks.

Every job runs as a process. What is expected is computed here with scikit-learn and XGBoost alone.
"""

from __future__ import annotations

import csv
import gzip
import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from tests.conftest import Tree
from tests.contract.jobs import (
    Ended,
    Rows,
    binary_rows,
    class_rows,
    number_rows,
    run_job,
    started,
)
from treeline.algorithms import xgboost as algorithm
from treeline.data import rowhash

DEFAULTS = {"seed": 0, "seed_per_iteration": True, "nthread": 2}
BINARY: dict[str, Any] = {"objective": "binary:logistic"}
Floats = NDArray[np.float32]


@pytest.fixture
def new_tree(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Tree]:
    """Makes one more tree, for tests that compare jobs."""

    def make() -> Tree:
        root = tmp_path_factory.mktemp("tree")
        for folder in ("input/config", "input/data", "model", "output/data"):
            (root / folder).mkdir(parents=True)
        return Tree(root)

    return make


def succeeded(tree: Tree) -> Ended:
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    return ended


@dataclass(frozen=True)
class Predicted:
    """predictions_by_fold.csv: a line for every time that a row was held out."""

    row: NDArray[np.intp]
    repeat: NDArray[np.intp]
    fold: NDArray[np.intp]
    values: Floats  # (lines, outputs): probabilities or numbers
    classes: Floats  # (lines,): what is predicted

    def of(self, fold: int, repeat: int = 0) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = (self.fold == fold) & (self.repeat == repeat)
        return mask

    def held_out(self, fold: int, repeat: int = 0) -> NDArray[np.intp]:
        return self.row[self.of(fold, repeat)]


def predicted(tree: Tree) -> Predicted:
    with (tree.root / "output/data/predictions_by_fold.csv").open() as stream:
        header, *lines = csv.reader(stream)
    assert header[:5] == ["row", "repeat", "fold", "label", "prediction"]
    row, repeat, fold = np.array([line[:3] for line in lines], np.intp).T
    values = np.array([line[5 if len(header) > 5 else 4 :] for line in lines], np.float32)
    return Predicted(row, repeat, fold, values, np.array([line[4] for line in lines], np.float32))


def rows_file(tree: Tree) -> Rows:
    return np.loadtxt(tree.root / "output/data/predictions.csv", delimiter=",", ndmin=2)


def fold_model(tree: Tree, number: int) -> Path:
    return tree.model.with_name(f"xgboost-model-{number}")


def files_of(tree: Tree) -> list[str]:
    return sorted(path.name for path in (tree.root / "model").iterdir() if path.is_file())


def binned(rows: Rows, weighted: bool = False, **more: Any) -> xgb.QuantileDMatrix:
    """Rows as XGBoost bins them: label first, then the weight if there is one."""
    first = 2 if weighted else 1
    weight = rows[:, 1].astype(np.float32) if weighted else None
    x, y = rows[:, first:].astype(np.float32), rows[:, 0].astype(np.float32)
    return xgb.QuantileDMatrix(x, y, weight=weight, **more)


def by_hand(
    rows: Rows,
    held_out: NDArray[np.intp],
    rounds: int,
    params: dict[str, Any],
    weighted: bool = False,
    **options: Any,
) -> tuple[xgb.Booster, dict[str, Any], Floats]:
    """Train one fold as a user would; return the model, its scores, its held-out predictions."""
    held = np.isin(np.arange(len(rows)), held_out)
    train = binned(rows[~held], weighted)
    validation = binned(rows[held], weighted, ref=train)
    history: dict[str, Any] = {}
    booster = xgb.train(
        {**DEFAULTS, **params},
        train,
        rounds,
        evals=[(train, "train"), (validation, "validation")],
        evals_result=history,
        verbose_eval=False,
        **options,
    )
    return booster, history, booster.predict(validation)


# --- the loop by hand ------------------------------------------------------------------------

CASES: dict[str, tuple[Any, dict[str, Any], list[str], bool]] = {
    "binary": (binary_rows, BINARY, ["auc", "error", "logloss"], False),
    "multiclass": (
        class_rows,
        {"objective": "multi:softprob", "num_class": 3, "eta": 0.5},
        ["merror", "mlogloss"],
        False,
    ),
    "regression": (
        number_rows,
        {"objective": "reg:squarederror", "subsample": 0.7, "colsample_bytree": 0.5, "seed": 11},
        ["mae", "rmse"],
        False,
    ),
    "weighted": (binary_rows, BINARY, ["error", "auc"], True),
}


@pytest.mark.parametrize("case", CASES)
def test_every_fold_is_that_of_a_loop_by_hand(case: str, tree: Tree) -> None:
    make, params, metrics, weighted = CASES[case]
    rows, rounds, folds = make(600, seed=1), 6, 4
    if weighted:
        rows = np.insert(rows, 1, np.random.default_rng(3).random(600).round(3) + 0.1, axis=1)
    tree.channel("train", rows).hyperparameters(
        num_round=rounds,
        cv_folds=folds,
        keep_fold_models="true",
        eval_metric=",".join(metrics),
        csv_weights=int(weighted),
        **params,
    )
    succeeded(tree)
    found, log = predicted(tree), tree.metrics()
    assert np.array_equal(found.row, np.arange(600))  # each row once, in order

    last: dict[str, list[float]] = {metric: [] for metric in metrics}
    for fold in range(folds):
        held_out = found.held_out(fold)
        assert 145 <= len(held_out) <= 155
        wanted = {**params, "eval_metric": metrics}
        booster, history, prediction = by_hand(rows, held_out, rounds, wanted, weighted)
        entries = [entry for entry in log if entry.get("fold") == fold]
        assert [entry["round"] for entry in entries] == list(range(rounds))
        for entry in entries:
            for data, scores in entry["scores"].items():
                assert list(scores) == metrics
                expected = {m: history[data][m][entry["round"]] for m in metrics}
                assert scores == pytest.approx(expected, rel=1e-6)
        lines = found.of(fold)
        assert np.array_equal(found.values[lines], prediction.reshape(len(held_out), -1))
        assert fold_model(tree, fold).read_bytes() == bytes(booster.save_raw("ubj"))
        for metric in metrics:
            last[metric].append(history["validation"][metric][-1])

    means = {metric: np.mean(values) for metric, values in last.items()}
    assert log[-1]["scores"]["validation"] == pytest.approx(means, rel=1e-6)
    assert log[-1]["final_score"] == pytest.approx(means[metrics[-1]], rel=1e-6)
    spread = tree.manifest()["metrics"]["cross_validation"]["scores"]["validation"]
    for metric, values in last.items():
        assert spread[metric]["folds"] == pytest.approx(values, rel=1e-6)
        assert spread[metric]["standard_deviation"] == pytest.approx(np.std(values), rel=1e-4)


def test_folds_are_scikit_learns_on_rows_in_the_order_of_their_content(tree: Tree) -> None:
    rows, seed = binary_rows(203, seed=4), 3
    tree.channel("train", rows).hyperparameters(
        num_round=1, cv_folds=5, cv_repeats=2, seed=seed, **BINARY
    )
    ended = succeeded(tree)
    found = predicted(tree)

    x, y = rows[:, 1:].astype(np.float32), rows[:, 0].astype(np.float32)
    order = np.argsort(rowhash.dense(x, y))
    for repeat in range(2):
        splitter = StratifiedKFold(5, shuffle=True, random_state=seed + repeat)
        for fold, (_, held_out) in enumerate(splitter.split(x, y[order])):
            assert np.array_equal(found.held_out(fold, repeat), np.sort(order[held_out]))
    assert [line for line in ended.lines if line.startswith("5 stratified folds, repeated 2 times")]


@pytest.mark.parametrize("strategy", ["stratified", "group", "shuffle"])
def test_folds_do_not_depend_on_the_order_of_rows_or_files(
    strategy: str, new_tree: Callable[[], Tree]
) -> None:
    rows = binary_rows(240, seed=6)
    rows[:, 1] = np.arange(240)  # tells every row apart
    rows[:, 2] = np.random.default_rng(1).integers(0, 30, 240)  # groups
    shuffled = rows[np.random.default_rng(2).permutation(240)]
    asked: dict[str, Any] = {"num_round": 1, "cv_folds": 4, "cv_strategy": strategy, **BINARY}
    if strategy == "group":
        asked["group_column"] = 2

    one, several, parquet = new_tree(), new_tree(), new_tree()
    one.channel("train", rows).declare()
    several.channel("train", shuffled[:50], "z.csv").channel("train", shuffled[50:200], "b/a.csv")
    several.channel("train", shuffled[200:], "a.csv").declare()
    in_order = np.concatenate([shuffled[200:], shuffled[50:200], shuffled[:50]])  # by path
    folder = parquet.root / "input/data/train"
    folder.mkdir()
    columns = [pa.array(column, from_pandas=True) for column in shuffled.T]
    pq.write_table(pa.table(columns, [f"c{i}" for i in range(7)]), folder / "rows.parquet")
    parquet.declare("application/x-parquet")

    drawn = []
    for job, data in ((one, rows), (several, in_order), (parquet, shuffled)):
        succeeded(job.hyperparameters(**asked))
        found = predicted(job)
        drawn.append(set(zip(data[found.row, 1], found.repeat, found.fold, strict=True)))
    assert drawn[0] == drawn[1] == drawn[2]
    assert len({fold for *_, fold in drawn[0]}) == 4


# --- nothing leaks ---------------------------------------------------------------------------

STRATEGIES: dict[str, dict[str, Any]] = {
    "kfold": {},
    "stratified": {},
    "shuffle": {},
    "group": {"group_column": 1},
    "stratified_group": {"group_column": 1},
    "time_series": {"time_column": 1},
}


def of_no_meaning(strategy: str) -> tuple[Rows, int]:
    """Labels drawn by lot, and how many different draws there are.

    Rows of a group, or of a time, are nearly alike and share their label: a fold that trained on
    some of a group would know the others by heart.
    """
    random, alike = np.random.default_rng(8), 4 if STRATEGIES[strategy] else 1
    drawn = 1600 // alike
    each = np.column_stack([random.integers(0, 2, drawn), np.arange(drawn)])
    x = random.normal(size=(drawn, 8))
    rows = np.repeat(np.column_stack([each, x]), alike, axis=0)
    rows[:, 2:] += 0.001 * random.normal(size=rows[:, 2:].shape)
    if not STRATEGIES[strategy]:
        rows = np.delete(rows, 1, axis=1)
    return rows[random.permutation(len(rows))], drawn


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_random_labels_cannot_be_predicted(strategy: str, tree: Tree) -> None:
    # With every round scored on rows the fold has trained on, the error would be near 0.1.
    rows, drawn = of_no_meaning(strategy)
    tree.channel("train", rows).hyperparameters(
        num_round=20,
        cv_folds=5,
        cv_strategy=strategy,
        eval_metric="error",
        eta=0.5,
        **STRATEGIES[strategy],
        **BINARY,
    )
    succeeded(tree)
    final = tree.metrics()[-1]
    # At least half of the draws are held out by some fold; four standard errors of their share.
    assert final["final_score"] == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(drawn / 2))
    assert final["scores"]["train"]["error"] < 0.2  # there was something to leak
    wrong = predicted(tree)
    assert np.mean(wrong.classes != rows[wrong.row, 0]) == pytest.approx(
        0.5, abs=4 * 0.5 / np.sqrt(drawn / 2)
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_random_labels_with_early_stopping_are_only_as_good_as_the_best_of_chances(
    strategy: str, tree: Tree
) -> None:
    """Each fold keeps its best round, chosen on the rows that it is scored on.

    Its error is the least of r rounds' errors. Each of these is 0.5 give or take the standard
    error s of the fold's rows, so the least is expected above 0.5 - s sqrt(2 ln r) (the bound for
    the largest of r normal variables, however they depend on each other).
    """
    rows, drawn = of_no_meaning(strategy)
    tree.channel("train", rows).hyperparameters(
        num_round=30,
        early_stopping_rounds=10,
        cv_folds=5,
        cv_strategy=strategy,
        eval_metric="error",
        eta=0.5,
        **STRATEGIES[strategy],
        **BINARY,
    )
    succeeded(tree)
    score = tree.metrics()[-1]["final_score"]
    held_out = drawn / 6  # draws that a fold holds out, or more
    optimism = 0.5 / np.sqrt(held_out) * np.sqrt(2 * np.log(30))
    assert score < 0.5 + 4 * 0.5 / np.sqrt(drawn / 2)
    assert score > 0.5 - optimism - 4 * 0.5 / np.sqrt(drawn / 2)
    assert score > 0.3  # whatever the bound says


# --- what is left behind ---------------------------------------------------------------------

POOLED: dict[str, tuple[Any, dict[str, Any]]] = {
    "binary": (binary_rows, BINARY),
    "softprob": (class_rows, {"objective": "multi:softprob", "num_class": 3}),
    "softmax": (class_rows, {"objective": "multi:softmax", "num_class": 3}),
    "regression": (number_rows, {"objective": "reg:squarederror"}),
}


@pytest.mark.parametrize("case", POOLED)
def test_kfold_pools_and_leaves_what_the_built_in_image_leaves(case: str, tree: Tree) -> None:
    make, params = POOLED[case]
    train, validation = make(200, seed=1), make(100, seed=2)
    tree.channel("train", train).channel("validation", validation)
    tree.hyperparameters(num_round=4, _kfold=3, cv_repeats=2, **params)
    ended = succeeded(tree)
    pool = np.concatenate([train, validation])
    x, label = pool[:, 1:].astype(np.float32), pool[:, 0].astype(np.float32)
    assert "its 100 rows are divided into folds too, together with train's 200" in ended.stdout
    assert files_of(tree) == ["xgboost-model", *(f"xgboost-model-{i}" for i in range(6))]

    found = predicted(tree)
    assert np.array_equal(found.row, np.repeat(np.arange(300), 2))
    outputs = np.empty((2, 300, found.values.shape[1]), np.float32)
    for repeat in range(2):
        for fold in range(3):
            rows = found.held_out(fold, repeat)
            model = algorithm.load(fold_model(tree, 3 * repeat + fold))
            said = algorithm.predict(model, x[rows]).reshape(len(rows), -1)
            assert np.array_equal(said, found.values[found.of(fold, repeat)])
            outputs[repeat, rows] = said

    file = rows_file(tree)
    assert np.array_equal(file[:, 0].astype(np.float32), label)
    if case == "regression":
        assert file.shape == (300, 2)
        assert file[:, 1] == pytest.approx(outputs[:, :, 0].mean(axis=0), rel=1e-6)
        return
    votes: Any
    # Label, probability, class; of two classes with one vote each the smaller.
    if case == "binary":
        probability, votes = outputs[:, :, 0].mean(axis=0), outputs[:, :, 0] > 0.5
    elif case == "softprob":
        probability, votes = outputs.max(axis=2).mean(axis=0), outputs.argmax(axis=2)
    else:
        votes = outputs[:, :, 0]
        probability = np.where(votes[0] == votes[1], 1, 0.5)
    assert file.shape == (300, 3)
    assert file[:, 1] == pytest.approx(probability, rel=1e-6)
    assert np.array_equal(file[:, 2], votes.min(axis=0))

    finals = [[e for e in tree.metrics() if e.get("fold") == i][-1] for i in range(6)]
    metric = tree.metrics()[-1]["objective_metric"].split(":")[1]
    scores = [entry["scores"]["validation"][metric] for entry in finals]
    assert tree.metrics()[-1]["final_score"] == pytest.approx(np.mean(scores), rel=1e-12)


def test_a_validation_channel_stays_apart_as_a_hold_out(tree: Tree) -> None:
    train, validation = number_rows(300, seed=1), number_rows(100, seed=2)
    tree.channel("train", train).channel("validation", validation)
    tree.channel("test", number_rows(80, seed=3)).hyperparameters(num_round=5, cv_folds=3)
    ended = succeeded(tree)
    assert files_of(tree) == ["xgboost-model"]
    assert (
        "validation: its 100 rows are in no fold; the final model is scored on them as holdout"
        in ended.lines
    )
    assert len(rows_file(tree)) == 300
    # The final model is that of all rows of train, and is scored on what stayed apart.
    booster = xgb.train(DEFAULTS, binned(train), 5)
    assert tree.model.read_bytes() == bytes(booster.save_raw("ubj"))
    *rounds, apart, last = tree.metrics()
    assert set(apart["scores"]) == {"holdout", "test"}
    for role, rows in (("holdout", validation), ("test", number_rows(80, seed=3))):
        error = algorithm.predict(booster, rows[:, 1:].astype(np.float32)) - rows[:, 0]
        rmse = np.sqrt(np.mean(error**2))
        assert apart["scores"][role]["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert list(last["scores"]) == ["train", "validation"]
    folds = [entry for entry in rounds if "fold" in entry and entry["round"] == 4]
    means = np.mean([entry["scores"]["validation"]["rmse"] for entry in folds])
    assert last["final_score"] == pytest.approx(means, rel=1e-12)


def test_without_a_refit_the_fold_models_are_all_there_is(tree: Tree) -> None:
    tree.channel("train", binary_rows(200)).hyperparameters(
        num_round=3, cv_folds=3, refit="false", keep_fold_models="true", **BINARY
    )
    ended = succeeded(tree)
    assert files_of(tree) == [f"xgboost-model-{i}" for i in range(3)]
    manifest = tree.manifest()
    assert manifest["model_file"] == "xgboost-model-0"
    assert manifest["training"] is None
    assert ended.lines[-1] == f"final-score: {tree.metrics()[-1]['final_score']!r};"


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "test": ({"refit": "false", "keep_fold_models": "true"}, "test", "Channel test is scored"),
    "hold-out": (
        {"refit": "false", "keep_fold_models": "true"},
        "validation",
        "Channel validation is scored",
    ),
    "no model": ({"refit": "false"}, "", "keep_fold_models"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_job_with_nothing_to_score_or_to_save_is_refused(case: str, tree: Tree) -> None:
    asked, channel, named = REFUSED[case]
    tree.channel("train", binary_rows(60))
    if channel:
        tree.channel(channel, binary_rows(60, seed=1))
    tree.hyperparameters(num_round=2, cv_folds=2, **asked, **BINARY)
    assert run_job(tree.root).status == 1
    assert named in tree.failure[:300]
    assert files_of(tree) == []


def test_pooled_validation_rows_need_no_refit(tree: Tree) -> None:
    tree.channel("train", binary_rows(60)).channel("validation", binary_rows(60, seed=1))
    tree.hyperparameters(num_round=2, _kfold=2, refit="false", **BINARY)
    succeeded(tree)
    assert files_of(tree) == ["xgboost-model-0", "xgboost-model-1"]


def test_an_earlier_model_has_seen_what_folds_hold_out(tree: Tree) -> None:
    rows = binary_rows(60)
    model = xgb.train({**DEFAULTS, **BINARY}, binned(rows), 2)
    folder = tree.root / "input/data/model"
    folder.mkdir()
    (folder / "xgboost-model").write_bytes(bytes(model.save_raw("ubj")))
    tree.channel("train", rows).hyperparameters(num_round=2, cv_folds=2, **BINARY)
    assert run_job(tree.root).status == 1
    assert "Channel model: cross-validation starts every fold anew" in tree.failure[:200]


# --- early stopping --------------------------------------------------------------------------


def test_every_fold_stops_on_its_own_rows_and_the_refit_takes_the_mean(tree: Tree) -> None:
    rows, params = binary_rows(400, seed=1), {**BINARY, "eta": 0.3}
    tree.channel("train", rows).hyperparameters(
        num_round=60, early_stopping_rounds=5, cv_folds=3, keep_fold_models="true", **params
    )
    succeeded(tree)
    found, rounds, scores = predicted(tree), [], []
    for fold in range(3):
        stop = xgb.callback.EarlyStopping(rounds=5, data_name="validation", save_best=True)
        booster, history, prediction = by_hand(
            rows, found.held_out(fold), 60, params, callbacks=[stop]
        )
        rounds.append(booster.num_boosted_rounds())
        scores.append(min(history["validation"]["logloss"]))
        kept = algorithm.load(fold_model(tree, fold))
        assert kept.get_dump(with_stats=True) == booster.get_dump(with_stats=True)
        assert np.array_equal(found.values[found.of(fold), 0], prediction)
    assert len(set(rounds)) > 1
    entry = tree.manifest()["metrics"]["cross_validation"]
    assert entry["rounds"] == rounds
    chosen = round(np.mean(rounds))
    assert entry["rounds_chosen"] == chosen < 55

    last = tree.metrics()[-1]
    assert last["round"] == chosen - 1
    assert last["final_score"] == pytest.approx(np.mean(scores), rel=1e-6)
    refit = xgb.train({**DEFAULTS, **params}, binned(rows), chosen)
    assert tree.model.read_bytes() == bytes(refit.save_raw("ubj"))


def test_a_fold_that_fails_ends_the_job_while_others_are_at_work(tree: Tree) -> None:
    # Fold 0 holds out one class only, and auc of one class is no number; fold 1 runs beside it.
    rows = binary_rows(120)
    rows[:, 0] = np.arange(120) % 2
    rows[30:60, 0] = 1
    tree.channel("train", np.insert(rows, 1, np.arange(120), axis=1)).hyperparameters(
        num_round=100000,
        cv_folds=3,
        cv_strategy="time_series",
        time_column=1,
        eval_metric="auc",
        early_stopping_rounds=20,
        nthread=2,
        **BINARY,
    )
    ended = run_job(tree.root)
    assert ended.status == 1
    assert "2 fold(s) side by side, 1 thread(s) each" in ended.lines
    assert tree.failure.startswith("validation-auc was not a number in any of 21 rounds")
    assert files_of(tree) == []
    assert not list((tree.root / "output/data").glob("*.csv"))


# --- threads and signals ---------------------------------------------------------------------


def test_how_many_folds_run_at_once_changes_nothing(new_tree: Callable[[], Tree]) -> None:
    left = []
    for threads, side_by_side in ((1, 1), (2, 2), (5, 5)):
        tree = new_tree()
        tree.channel("train", binary_rows(500, seed=2)).hyperparameters(
            num_round=30,
            early_stopping_rounds=4,
            cv_folds=5,
            keep_fold_models="true",
            subsample=0.8,
            nthread=threads,
            **BINARY,
        )
        ended = succeeded(tree)
        assert f"{side_by_side} fold(s) side by side, 1 thread(s) each" in ended.lines
        data = tree.root / "output/data"
        files = [*sorted((tree.root / "model").glob("xgboost-model*")), *data.glob("*.csv")]
        assert len(files) == 8
        lines = [line for line in ended.lines if line.startswith("cross-validation: ")]
        by_fold = sorted(line for line in ended.lines if "\tfold:" in line)
        left.append(([f.read_bytes() for f in files], lines, ended.lines[-2:], by_fold))
    assert left[0] == left[1] == left[2]


def _stopped(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    process.wait(timeout=60)
    process.stdout.close()
    process.stderr.close()
    assert err == ""
    return out


@pytest.mark.parametrize("keep", ["false", "true"])
def test_a_job_stopped_among_its_folds_leaves_no_model(keep: str, tree: Tree) -> None:
    tree.channel("train", binary_rows(2000)).hyperparameters(
        num_round=100000, cv_folds=5, save_model_on_termination=keep, **BINARY
    )
    process = started(tree.root, lambda line: line.startswith("[3]"))
    out = _stopped(process)
    assert process.returncode == 143
    assert "Stopped on request. No model was written" in out
    assert files_of(tree) == []
    assert not (tree.root / "model/treeline").exists()
    assert not tree.failure
    assert not list((tree.root / "output/data").glob("*.csv"))

    tree.hyperparameters(num_round=2, cv_folds=5, **BINARY)
    succeeded(tree)
    assert files_of(tree) == ["xgboost-model"]


def test_a_job_stopped_in_its_refit_keeps_what_it_has_if_asked(tree: Tree) -> None:
    rounds = 300
    tree.channel("train", binary_rows(20000)).hyperparameters(
        num_round=rounds,
        cv_folds=1,
        max_bin=16,
        save_model_on_termination="true",
        checkpoint_every=1,
        **BINARY,
    )
    checkpoints = tree.root / "checkpoints"
    checkpoints.mkdir()
    process = started(tree.root, lambda line: line.startswith(f"[{rounds - 1}]"))
    while process.poll() is None and not any(checkpoints.glob("*/final-*.ckpt")):
        time.sleep(0.005)  # the refit prints nothing, and saves each of its rounds
    out = _stopped(process)
    assert process.returncode == 0
    manifest = tree.manifest()
    assert manifest["training"]["outcome"] == "terminated"
    trained = manifest["training"]["rounds_trained"]
    assert 0 < trained < rounds
    assert algorithm.load(tree.model).num_boosted_rounds() == trained
    assert out.splitlines()[-2].startswith(f"[{trained - 1}]\t")


# --- groups ----------------------------------------------------------------------------------


def test_queries_stay_whole(tree: Tree) -> None:
    random = np.random.default_rng(4)
    lines, queries = [], np.repeat(np.arange(40), random.integers(3, 9, 40))
    for query in queries:
        x = random.normal(size=4)
        label = int(np.clip(x[0] + random.normal() + 1, 0, 3))
        lines.append(f"{label} qid:{query} " + " ".join(f"{i}:{v:.3f}" for i, v in enumerate(x)))
    folder = tree.root / "input/data/train"
    folder.mkdir()
    (folder / "rows.libsvm").write_text("\n".join(lines) + "\n")
    tree.declare("text/libsvm").hyperparameters(
        num_round=4, cv_folds=4, objective="rank:ndcg", eval_metric="ndcg@3"
    )
    ended = succeeded(tree)
    found = predicted(tree)
    assert np.array_equal(found.row, np.arange(len(queries)))
    assert all(len(set(found.fold[queries == query])) == 1 for query in range(40))
    assert len(set(found.fold)) == 4
    assert [line for line in ended.lines if line.startswith("4 group folds") and "40 gr" in line]

    # Scores are those of whole queries.
    table = np.array([[float(f.split(":")[-1]) for f in line.split()] for line in lines])
    held = found.fold == 0
    parts: list[xgb.QuantileDMatrix] = []
    for part in (~held, held):
        x = table[part, 2:].astype(np.float32)
        more = {"ref": parts[0]} if parts else {}
        parts.append(xgb.QuantileDMatrix(x, table[part, 0], qid=queries[part], **more))
    history: dict[str, Any] = {}
    xgb.train(
        {**DEFAULTS, "objective": "rank:ndcg", "eval_metric": "ndcg@3"},
        parts[0],
        4,
        evals=[(parts[1], "v")],
        evals_result=history,
        verbose_eval=False,
    )
    scores = [e["scores"]["validation"]["ndcg@3"] for e in tree.metrics() if e.get("fold") == 0]
    assert scores == pytest.approx(history["v"]["ndcg@3"], abs=1e-6)


def test_groups_of_a_regression_stay_whole(tree: Tree) -> None:
    rows = number_rows(300)
    groups = np.random.default_rng(2).integers(0, 25, 300)
    tree.channel("train", np.insert(rows, 1, groups, axis=1))
    tree.hyperparameters(num_round=2, cv_folds=5, cv_repeats=2, group_column=1)
    ended = succeeded(tree)
    found = predicted(tree)
    for repeat in range(2):
        fold = found.fold[found.repeat == repeat]
        assert all(len(set(fold[groups == group])) == 1 for group in range(25))
    assert tree.manifest()["schema"]["features"] == 6
    assert "cv_strategy=auto keeps the rows of a group together" in ended.stdout


def turbofans(folder: Path) -> Rows:
    """Remaining cycles, engine, cycle, settings and sensors of the FD001 engines."""
    with gzip.open(folder / "cmapss" / "train_FD001.txt.gz", "rt") as stream:
        table = np.loadtxt(stream)
    engine, cycle = table[:, 0].astype(int), table[:, 1]
    last = np.array([cycle[engine == each].max() for each in range(1, engine.max() + 1)])
    return np.column_stack([last[engine - 1] - cycle, table])


def test_rows_of_an_engine_in_several_folds_flatter_the_score(
    new_tree: Callable[[], Tree], shared_data: Path
) -> None:
    rows, score = turbofans(shared_data), {}
    for strategy in ("group", "kfold"):
        tree = new_tree()
        tree.channel("train", rows).declare().hyperparameters(
            num_round=50,
            objective="reg:squarederror",
            cv_folds=5,
            cv_strategy=strategy,
            group_column=1,
        )
        ended = succeeded(tree)
        score[strategy] = tree.metrics()[-1]["final_score"]
        report = json.loads((tree.root / "output/data/data_report.json").read_text())
        assert report["folds"]["groups"]["count"] == (100 if strategy == "kfold" else 0)
        warned = [line for line in ended.lines if line.startswith("WARNING: folds: ")]
        assert bool(warned) == (strategy == "kfold"), ended.stdout
    print(f"rmse by engine {score['group']:.2f}, by row {score['kfold']:.2f}")
    assert score["kfold"] < score["group"] - 1


# --- scores that would be none ----------------------------------------------------------------


@pytest.mark.parametrize("engine", ["boosting", "sklearn", "xgboost"])
def test_a_fold_without_any_weight_is_refused(tree: Tree, engine: str) -> None:
    """XGBoost scores rows of weight 0 with a perfect 0, which would enter the mean."""
    rows = binary_rows(90)
    group = np.repeat([0, 1, 2], 30)
    weight = (group != 2).astype(float)
    tree.channel("train", np.column_stack([rows[:, 0], group, weight, rows[:, 1:]])).declare()
    asked: dict[str, object] = (
        {"num_round": 3} if engine == "boosting" else {"algorithm": "random_forest"}
    )
    if engine != "boosting":
        asked |= {"forest_engine": engine}
    tree.hyperparameters(
        objective="binary:logistic", cv_folds=3, group_column=1, weight_column=2, **asked
    )
    ended = run_job(tree.root)
    assert ended.status == 1
    assert "all of its held-out rows have weight 0" in tree.failure
    assert not tree.model.exists()


def test_a_mean_that_is_no_number_is_warned_of(tree: Tree) -> None:
    rows = binary_rows(90)
    rows[:, 0] = 0
    rows[:4, 0] = 1  # in four of the five folds
    tree.channel("train", rows).declare()
    tree.hyperparameters(num_round=2, objective="binary:logistic", cv_folds=5, eval_metric="auc")
    ended = run_job(tree.root)
    assert ended.status == 0
    (warning,) = [line for line in ended.lines if "is not a number in fold(s)" in line]
    assert warning.startswith("WARNING: validation-auc")
    assert ended.lines[-1] == "final-score: nan;"
