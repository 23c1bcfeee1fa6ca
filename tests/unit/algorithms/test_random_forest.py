"""Both engines grow what was asked for, and what is saved predicts what was grown."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from tests.forests import (
    COLUMNS,
    ENGINES,
    ROWS,
    TASKS,
    TREES,
    Rows,
    asked,
    features,
    fitted,
    label_of,
    matrix_of,
    sample,
)

from treeline import memory
from treeline.algorithms import forest_model, forest_sklearn, forest_xgboost, random_forest
from treeline.algorithms.interface import Fitted, Loaded
from treeline.compute import Compute
from treeline.data.matrix import Schema
from treeline.data.records import Csr, Floats
from treeline.errors import ChannelError, DataError, HyperparameterError, ResourceError, Stopped

BOTH = pytest.mark.parametrize("engine", ENGINES)
EVERY_TASK = pytest.mark.parametrize("task", TASKS)


@cache
def forest(task: str, engine: str = "sklearn", **more: str) -> tuple[Fitted, Floats]:
    """A forest, and its predictions for rows it has not seen."""
    found = fitted(asked(task, engine, **more), sample(task))
    return found, random_forest.predict(found.model, features(2))


def by_hand(task: str, **more: Any) -> Any:
    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    usual = {"n_estimators": TREES, "max_depth": 16, "random_state": 0, "n_jobs": 1}
    return kind(**{**usual, **more})


def predicted_by(model: Any, rows: Floats, task: str) -> NDArray[np.float64]:
    if task == "regression":
        return model.predict(rows)  # type: ignore[no-any-return]
    shares = model.predict_proba(rows)
    return shares[:, 1] if task == "binary" else shares  # type: ignore[no-any-return]


# --- scikit-learn's forest is scikit-learn's forest -----------------------------------------


@EVERY_TASK
@pytest.mark.parametrize("weighted", [False, True])
def test_it_predicts_what_a_forest_made_by_hand_predicts(task: str, weighted: bool) -> None:
    rows = features(1)
    label = label_of(rows, task, 1)
    weight = np.random.default_rng(3).random(ROWS).astype(np.float32) if weighted else None
    found = fitted(asked(task), matrix_of(rows, label, weight=weight))
    expected = by_hand(task).fit(rows, label, weight)
    for seen in (rows, features(2), features(2, missing=0.9)):
        np.testing.assert_allclose(
            random_forest.predict(found.model, seen),
            predicted_by(expected, seen, task),
            rtol=1e-6,
            atol=2e-7,
        )


BY_HAND: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("binary", {"max_depth": "3"}, {"max_depth": 3}),
    ("binary", {"max_depth": "0"}, {"max_depth": None}),
    ("binary", {"max_leaves": "7"}, {"max_leaf_nodes": 7}),
    ("binary", {"max_features": "0.7"}, {"max_features": 0.7}),
    ("binary", {"max_features": "5"}, {"max_features": 5}),
    ("binary", {"bootstrap": "false"}, {"bootstrap": False}),
    ("binary", {"min_samples_split": "40"}, {"min_samples_split": 40}),
    ("binary", {"min_samples_leaf": "20"}, {"min_samples_leaf": 20}),
    ("binary", {"criterion": "entropy"}, {"criterion": "entropy"}),
    ("binary", {"seed": "5"}, {"random_state": 5}),
    ("binary", {"random_state": "-3"}, {"random_state": 2**32 - 3}),
    ("binary", {"n_estimators": "5"}, {"n_estimators": 5}),
    ("regression", {"max_features": "sqrt"}, {"max_features": "sqrt"}),
    ("regression", {"criterion": "absolute_error"}, {"criterion": "absolute_error"}),
    ("regression", {"criterion": "poisson"}, {"criterion": "poisson"}),
]


@pytest.mark.parametrize(("task", "asked_for", "same"), BY_HAND)
def test_every_hyperparameter_is_scikit_learns(
    task: str, asked_for: dict[str, str], same: dict[str, Any]
) -> None:
    _, found = forest(task, **asked_for)
    _, usual = forest(task)
    rows = features(1)
    expected = by_hand(task, **same).fit(rows, label_of(rows, task, 1))
    np.testing.assert_allclose(found, predicted_by(expected, features(2), task), rtol=1e-6)
    assert not np.allclose(found, usual)


def test_bins_are_the_only_values_there_are() -> None:
    """Grown on rounded rows, the forest treats raw rows as scikit-learn treats rounded ones."""
    rows, seen = features(1), features(1)
    label = label_of(rows, "binary", 1)
    found = fitted(asked("binary", n_bins="8"), matrix_of(rows, label))
    cuts = forest_sklearn.round_up(rows, 8)
    assert sorted(cuts) == [0, 1, 2, 5]  # the others have fewer values than bins
    assert all(len(np.unique(rows[:, j][~np.isnan(rows[:, j])])) == 8 for j in cuts)
    expected = by_hand("binary").fit(rows, label).predict_proba(rows)[:, 1]
    np.testing.assert_allclose(random_forest.predict(found.model, seen), expected, atol=2e-7)
    np.testing.assert_allclose(found.predictions["train"], expected, atol=2e-7)
    used = {
        (feature, threshold)
        for tree in trees_of(found)
        for feature, threshold in zip(*inner(tree), strict=True)
        if feature in cuts and np.isfinite(threshold)
    }
    above = {(j, float(np.nextafter(c, np.float32(np.inf)))) for j in cuts for c in cuts[j]}
    assert used
    assert used <= above


def test_rounding_up_keeps_the_order_and_what_is_missing() -> None:
    column = np.array([5, 1, np.nan, 2, 2, 9, 7], np.float32)
    rows = np.stack([column, np.ones(7, np.float32)], axis=1)
    assert {j: cuts.tolist() for j, cuts in forest_sklearn.round_up(rows, 2).items()} == {0: [2.0]}
    np.testing.assert_array_equal(rows[:, 0], np.array([9, 2, np.nan, 2, 2, 9, 9], np.float32))
    assert (rows[:, 1] == 1).all()


def test_more_bins_than_values_change_nothing() -> None:
    rows = np.random.default_rng(0).integers(0, 30, (ROWS, 3)).astype(np.float32)
    matrix = {"rows": rows, "label": (rows[:, 0] > rows[:, 1]).astype(np.float32)}
    saved = [
        random_forest.save(fitted(asked("binary", **more), matrix_of(**matrix)).model)
        for more in ({}, {"n_bins": "30"}, {"n_bins": "29"})
    ]
    assert saved[0] == saved[1] != saved[2]


def test_thresholds_at_zero_and_between_neighbouring_floats() -> None:
    """A row at a threshold goes left, whatever float32 comes next."""
    low = np.float32(0.1)
    values = np.array([-1, 1, low, np.nextafter(low, np.float32(1))], np.float32)
    for pair in (values[:2], values[2:]):
        rows = np.repeat(pair, 20)[:, None]
        label = (rows[:, 0] == pair[1]).astype(np.float32)
        found = fitted(asked("binary", bootstrap="false"), matrix_of(rows, label))
        middle = np.array([[pair[0]], [np.float32((pair[0] + pair[1]) / 2)], [pair[1]]])
        expected = by_hand("binary", bootstrap=False).fit(rows, label).predict_proba(middle)[:, 1]
        np.testing.assert_allclose(random_forest.predict(found.model, middle), expected, atol=2e-7)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_class_without_rows_has_no_share(task: str) -> None:
    rows = features(1)
    label = np.zeros(ROWS, np.float32) if task == "binary" else (rows[:, 0] > 0) * np.float32(2)
    for engine in ENGINES:
        found = fitted(asked(task, engine), matrix_of(rows, label.astype(np.float32)))
        shares = random_forest.predict(found.model, rows)
        assert (shares[..., 1] == 0).all() if task == "multiclass" else (shares == 0).all()


def test_large_labels_are_as_exact_as_float32_sums() -> None:
    rows = features(1)
    label = label_of(rows, "regression", 1) + 1e5
    found = fitted(asked("regression"), matrix_of(rows, label))
    expected = by_hand("regression").fit(rows, label).predict(rows)
    error = np.abs(random_forest.predict(found.model, rows) - expected)
    assert error.max() < TREES / 2 * np.spacing(np.float32(1e5))


# --- XGBoost's forest mode --------------------------------------------------------------------


@EVERY_TASK
def test_a_single_xgboost_tree_without_chance_predicts_the_means_of_its_leaves(task: str) -> None:
    rows, more = features(1), {"bootstrap": "false", "n_estimators": "1", "max_depth": "2"}
    label = label_of(rows, task, 1)
    weight = np.random.default_rng(0).integers(1, 4, ROWS).astype(np.float32)
    config = asked(task, "xgboost", max_features="1.0", **more)
    found = fitted(config, matrix_of(rows, label, weight=weight))
    leaves = found.model.predict(xgb.DMatrix(rows), pred_leaf=True).ravel()
    assert len(np.unique(leaves)) == 4
    target: Any = np.eye(3)[label.astype(int)] if task == "multiclass" else label
    start = json.loads(found.model.save_config())["learner"]["learner_model_param"]["base_score"]
    whole = np.average(label, weights=weight) if task == "regression" else 0
    assert json.loads(start)[0] == pytest.approx(whole, rel=1e-6)
    for leaf in np.unique(leaves):
        own = leaves == leaf
        mean = np.average(target[own], axis=0, weights=weight[own])
        np.testing.assert_allclose(found.predictions["train"][own][0], mean, rtol=1e-5, atol=1e-6)


@EVERY_TASK
def test_engines_agree(task: str) -> None:
    """They draw different rows and columns, so only large forests are alike."""
    more = {"n_estimators": "150", "min_samples_leaf": "5", "max_depth": "6", "max_features": "0.5"}
    one, other = (forest(task, engine, **more)[1] for engine in ENGINES)
    assert np.abs(one - other).mean() < 0.1 * np.abs(one - one.mean(axis=0)).max()
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    "more",
    [
        {"n_estimators": "5"},
        {"max_depth": "3"},
        {"max_depth": "0"},
        {"max_leaves": "7"},
        {"max_features": "1.0"},
        {"n_bins": "8"},
        {"bootstrap": "false"},
        {"min_samples_leaf": "20"},
        {"seed": "5"},
    ],
    ids=str,
)
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_every_hyperparameter_changes_xgboosts_forest(task: str, more: dict[str, str]) -> None:
    one, other = forest(task, "xgboost")[0], forest(task, "xgboost", **more)[0]
    assert random_forest.save(one.model) != random_forest.save(other.model)


def test_xgboosts_limits_are_kept() -> None:
    for task in TASKS:
        found, _ = forest(task, "xgboost", min_samples_leaf="20", bootstrap="false")
        leaves = [
            tree["sum_hessian"][np.array(tree["left_children"]) < 0] for tree in trees_of(found)
        ]
        outputs = 3 if task == "multiclass" else 1  # every class has its own sum
        assert min(each.min() for each in leaves) >= 20 * outputs
        found, _ = forest(task, "xgboost", max_leaves="7")
        assert {(tree["left_children"] < 0).sum() for tree in trees_of(found)} == {7}


def test_the_best_leaf_is_split_first() -> None:
    """Of two splits that a limit of 3 leaves allows, the second is the one that is worth more."""
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32).repeat(50, axis=0)
    label = np.array([0, 0.1, 5, 9], np.float32).repeat(50)
    for engine in ENGINES:
        for worth in (label, 9 - label):  # on either side
            config = asked("regression", engine, max_leaves="3", bootstrap="false")
            found = fitted(config, matrix_of(np.where(worth[0] > 0, 1 - rows, rows), worth))
            assert len(np.unique(found.predictions["train"].round(3))) == 3
            error = np.abs(found.predictions["train"] - worth)
            assert error.max() < 0.06


def test_bootstrap_takes_the_share_of_different_rows() -> None:
    found, _ = forest("binary", "xgboost")
    shares = [tree["sum_hessian"][0] / ROWS for tree in trees_of(found)]
    assert 0.55 < min(shares) < max(shares) < 0.71
    assert len(set(shares)) > 1  # every tree draws its own
    drawn = np.random.default_rng(0).integers(0, ROWS, (200, ROWS))
    different = np.mean([len(np.unique(rows)) for rows in drawn]) / ROWS
    assert different == pytest.approx(forest_xgboost.DISTINCT, abs=0.002)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_no_tree_is_grown_twice(task: str) -> None:
    """Not in a forest, and not in those of neighbouring seeds, which a tuning job may compare."""
    seen = [
        (tree["split_indices"].tobytes(), tree["split_conditions"].tobytes())
        for seed in ("0", "1", "2", "-1")
        for tree in trees_of(forest(task, "xgboost", seed=seed, n_estimators="150")[0])
    ]
    assert len(set(seen)) == len(seen) == 600


def test_a_tree_depends_on_its_number_alone() -> None:
    """So a forest can be gone on with, whoever grew the trees before."""
    config = random_forest.settled(asked("binary", "xgboost"), COLUMNS)
    with ExitStack() as scratch:
        place = Compute("singleCPU", "cpu", 1)
        engine = forest_xgboost.XgboostForest(config, place, True, 1, scratch)
        engine.add("train", Loaded(sample("binary")))
        train = engine._matrices["train"]
        grad, hess = engine._gradients(0.0)
        before = None
        for number in range(TREES):  # each by a booster that knows the others as a file
            alone = xgb.Booster(engine._parameters(COLUMNS, 0.0), [train], model_file=before)
            alone.boost(train, number, grad=grad, hess=hess)
            before = alone.save_raw("ubj")
    found = json.loads(alone.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    expected = trees_of(forest("binary", "xgboost")[0])
    for name in ("split_indices", "split_conditions"):
        assert [tree[name] for tree in found] == [tree[name].tolist() for tree in expected]


@EVERY_TASK
def test_bins_on_disk_give_the_same_forest(task: str) -> None:
    """And its files are gone only after XGBoost has let go of them, or it would warn."""
    rows = np.round(features(1) * 4)  # few values: the sketch is exact
    label = label_of(rows, task, 1)
    found = []
    for on_disk in (False, True):
        matrices = [matrix_of(rows, label), matrix_of(rows[:99], label[:99])]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.append(fitted(asked(task, "xgboost"), *matrices, on_disk=on_disk))
    one, other = found
    assert random_forest.save(one.model) == random_forest.save(other.model)
    assert one.scores == other.scores


def test_xgboost_takes_as_many_columns_as_were_asked_for() -> None:
    """It drops the fraction of a share of the columns; in float32 13/22 of 22 are less than 13."""
    assert int(np.float32(13 / 22) * np.float32(22)) == 12
    rows = np.zeros((40, 22), np.float32)
    rows[:, 0] = np.arange(40) % 2  # nothing else can be split on
    more = {"max_features": "13", "n_estimators": "3000", "max_depth": "1", "n_bins": "2"}
    found = fitted(asked("binary", "xgboost", **more), matrix_of(rows, rows[:, 0]))
    split = np.mean([len(tree["left_children"]) > 1 for tree in trees_of(found)])
    assert split == pytest.approx(13 / 22, abs=0.023)


def test_categories_are_sets_to_xgboost_and_numbers_to_scikit_learn() -> None:
    codes = np.random.default_rng(0).integers(0, 6, ROWS).astype(np.float32)
    label = np.isin(codes, [1, 4]).astype(np.float32)
    schema = {0: tuple("abcdef")}
    kinds = {}
    for engine in ENGINES:
        config = asked("binary", engine, max_depth="1", bootstrap="false")
        matrix = matrix_of(codes[:, None], label, categories=schema)
        kinds[engine] = [
            line for line in random_forest.notes(matrix.schema, config) if "categ" in line
        ]
        score = fitted(config, matrix).predictions["train"]
        assert (len(np.unique(score[label == 1])) == 1 and score[label == 1][0] > 0.9) == (
            engine == "xgboost"
        )
    assert len(kinds["sklearn"]) == 1
    assert kinds["xgboost"] == []


@EVERY_TASK
def test_labels_are_left_to_whoever_else_reads_them(task: str) -> None:
    for engine in ENGINES:
        matrix = sample(task)
        before = matrix.label
        fitted(asked(task, engine), matrix)
        assert matrix.label is before
        assert matrix.features.shape[0] == 0  # but the rows are let go of


# --- whoever grew it --------------------------------------------------------------------------


def test_loaded_in_another_process_they_predict_the_same(tmp_path: Path) -> None:
    names = [(task, engine) for task in TASKS for engine in ENGINES]
    for task, engine in names:
        model = forest(task, engine)[0].model
        (tmp_path / f"{task}-{engine}.model").write_bytes(random_forest.save(model))
    np.save(tmp_path / "rows.npy", features(2))
    code = (
        "import sys, pathlib, numpy as np\n"
        "from treeline.algorithms import random_forest\n"
        "rows = np.load(pathlib.Path(sys.argv[1]) / 'rows.npy')\n"
        "for file in pathlib.Path(sys.argv[1]).glob('*.model'):\n"
        "    found = random_forest.predict(random_forest.load(file), rows)\n"
        "    np.save(file.with_suffix('.npy'), found)\n"
        "print(sorted({'sklearn', 'joblib', 'scipy', 'treelite'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    for task, engine in names:
        found = np.load(tmp_path / f"{task}-{engine}.npy")
        np.testing.assert_array_equal(found, forest(task, engine)[1])
    assert "sklearn" not in done.stdout


@BOTH
@EVERY_TASK
def test_xgboost_alone_reads_the_model(engine: str, task: str) -> None:
    found, expected = forest(task, engine)
    booster = xgb.Booster(model_file=bytearray(random_forest.save(found.model)))
    predicted = booster.predict(xgb.DMatrix(features(2)))
    np.testing.assert_allclose(predicted, expected, atol=3e-7)
    assert booster.num_features() == COLUMNS
    assert booster.num_boosted_rounds() == 1
    assert booster.attributes() == {
        "algorithm": "random_forest",
        "objective": TASKS[task]["objective"],
    }
    assert bytes(booster.save_raw("ubj")) == random_forest.save(found.model)
    if task != "multiclass":
        parts = booster.predict(xgb.DMatrix(features(2)), pred_contribs=True)
        np.testing.assert_allclose(parts.sum(axis=1), predicted, rtol=1e-5, atol=1e-5)
    important = booster.get_score(importance_type="gain")
    assert max(important, key=lambda name: float(str(important[name]))) in ("f0", "f1", "f3")


@BOTH
@EVERY_TASK
def test_scores_are_those_of_what_is_saved(engine: str, task: str, tmp_path: Path) -> None:
    metrics = {"binary": "accuracy,f1", "multiclass": "f1_macro,accuracy", "regression": "mse,r2"}
    config = asked(task, engine, eval_metric=metrics[task])
    rounds: list[Any] = []
    sets, names = [sample(task, seed) for seed in (1, 2, 3)], ("train", "validation", "test")
    found = fitted(config, *sets, keep=tuple(names), rounds=rounds)
    assert set(found.scores) == set(names)
    both = {role: found.scores[role] for role in ("train", "validation")}
    assert rounds == [(0, both, False)]
    assert (found.last_round, found.rounds_trained, found.outcome) == (0, TREES, "completed")
    last = metrics[task].split(",")[1]
    assert found.objective_metric == f"validation:{last}"
    assert found.objective_value == found.scores["validation"][last]
    (tmp_path / "model").write_bytes(random_forest.save(found.model))
    model = random_forest.load(tmp_path / "model")
    for role, seed in (("train", 1), ("validation", 2), ("test", 3)):
        rows = features(seed)
        label, prediction = label_of(rows, task, seed), random_forest.predict(model, rows)
        np.testing.assert_array_equal(found.predictions[role], prediction)
        if task == "regression":
            value = float(np.mean((label.astype(np.float64) - prediction) ** 2))
            assert found.scores[role]["mse"] == pytest.approx(value, rel=1e-6)
        else:
            chosen = prediction > 0.5 if task == "binary" else prediction.argmax(axis=1)
            assert found.scores[role]["accuracy"] == pytest.approx(np.mean(chosen == label))
    assert set(found.predictions) == set(names)


@pytest.mark.parametrize(
    ("task", "name"), [("binary", "logloss"), ("multiclass", "mlogloss"), ("regression", "rmse")]
)
def test_without_a_metric_it_is_the_objectives(task: str, name: str) -> None:
    assert set(fitted(asked(task), sample(task)).scores["train"]) == {name}


def test_a_metric_keeps_the_name_it_was_asked_by() -> None:
    config = asked("binary", eval_metric="error@0.5")
    found = fitted(config, sample("binary"))
    assert set(found.scores["train"]) == {"error@0.5"}
    assert found.objective_metric == "train:error@0.5"


def test_softmax_is_scored_by_probabilities() -> None:
    more = {"objective": "multi:softmax", "num_class": "3", "eval_metric": "mlogloss"}
    found = fitted(asked("multiclass", **more), sample("multiclass"))
    same = fitted(asked("multiclass", eval_metric="mlogloss"), sample("multiclass"))
    assert found.scores == same.scores
    assert found.predictions["train"].shape == (ROWS, 3)


def test_probabilities_stay_within_their_bounds() -> None:
    """Ten leaves of 0.1 are more than 1 in float32."""
    rows = np.arange(40, dtype=np.float32)[:, None]
    label = (rows[:, 0] > 19).astype(np.float32)
    found = fitted(asked("binary", n_estimators="10", bootstrap="false"), matrix_of(rows, label))
    assert found.model.inplace_predict(rows).max() > 1
    assert found.predictions["train"].max() == 1
    assert random_forest.predict(found.model, rows).max() == 1


def test_two_classes_of_softprob_have_two_columns() -> None:
    more = {"objective": "multi:softprob", "num_class": "2"}
    for engine in ENGINES:
        found = fitted(asked("binary", engine, **more), sample("binary"))
        assert found.predictions["train"].shape == (ROWS, 2)
        np.testing.assert_allclose(found.predictions["train"].sum(axis=1), 1, atol=1e-6)


@BOTH
@EVERY_TASK
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(
    engine: str, task: str
) -> None:
    config = asked(task, engine, n_estimators="45", max_depth="4")
    saved, scores = [], []
    for threads in (1, 2, 2):
        found = fitted(config, sample(task), threads=threads)
        saved.append(random_forest.save(found.model))
        scores.append(found.scores)
    assert len(set(saved)) == 1
    assert all(each == scores[0] for each in scores)


@BOTH
@EVERY_TASK
def test_sparse_rows_are_dense_rows_with_missing_values(engine: str, task: str) -> None:
    rows = features(1)
    label = label_of(rows, task, 1)
    present = ~np.isnan(rows)
    indptr = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int64)
    sparse = Csr(indptr, np.nonzero(present)[1].astype(np.int32), rows[present], COLUMNS)
    one, other = (
        random_forest.predict(fitted(asked(task, engine), matrix_of(each, label)).model, rows)
        for each in (rows, sparse)
    )
    np.testing.assert_array_equal(one, other)


@BOTH
def test_rows_in_a_file_give_the_same_model(engine: str) -> None:
    rows = np.random.default_rng(0).integers(0, 50, (ROWS, 3)).astype(np.float32)
    label = (rows[:, 0] > rows[:, 1]).astype(np.float32)
    saved = []
    for spooled in (False, True):
        matrix = matrix_of(rows, label)
        if spooled:
            with tempfile.TemporaryFile() as file:
                file.write(rows.tobytes())
                file.flush()
                matrix.features = np.memmap(file, np.float32, "r+", shape=rows.shape)
        saved.append(random_forest.save(fitted(asked("binary", engine), matrix).model))
    assert saved[0] == saved[1]


def test_what_is_missing_has_its_own_direction_at_every_split() -> None:
    """Rows without column 1 and rows without column 3 have opposite labels (see ``label_of``)."""
    for engine in ENGINES:
        found, _ = forest("binary", engine, n_estimators="60", max_depth="6")
        rows = np.zeros((3, COLUMNS), np.float32)
        rows[1, 1], rows[2, 3] = np.nan, np.nan
        usual, first, third = random_forest.predict(found.model, rows)
        assert first < usual - 0.1
        assert third > usual + 0.1


@BOTH
def test_a_row_of_weight_2_is_two_rows(engine: str) -> None:
    # Every tree sees all rows, and so few values that every one of them is a bin.
    more = {"bootstrap": "false", "max_features": "1.0", "max_depth": "4", "n_estimators": "2"}
    rows = np.round(features(1) * 4)
    label = label_of(rows, "binary", 1)
    weight = np.ones(ROWS, np.float32)
    weight[label == 1] = 2
    config = asked("binary", engine, **more)
    twice = np.repeat(np.arange(ROWS), weight.astype(int))
    matrices = (
        matrix_of(rows, label, weight=weight),
        matrix_of(rows[twice], label[twice]),
        matrix_of(rows, label),
    )
    one, other, plain = (
        random_forest.predict(fitted(config, each).model, rows) for each in matrices
    )
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert (one >= plain - 1e-6).mean() > 0.8
    assert (one - plain).mean() > 0.05


# --- stopping and refusals --------------------------------------------------------------------


class StopAfter:
    """Asked to stop at the second look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> bool:
        self.looks += 1
        return self.looks >= 2


def test_a_stop_keeps_the_trees_grown_so_far() -> None:
    config = asked("binary", n_estimators="40", save_model_on_termination="true")
    found = fitted(config, sample("binary"), stop=StopAfter())
    assert found.outcome == "terminated"
    trees = len(trees_of(found))
    assert 2 <= trees <= 3  # a batch of as many trees as threads, then one as large or twice so
    rows = features(1)
    expected = by_hand("binary", n_estimators=trees).fit(rows, label_of(rows, "binary", 1))
    np.testing.assert_allclose(
        found.predictions["train"], expected.predict_proba(rows)[:, 1], atol=2e-7
    )


@EVERY_TASK
def test_a_stop_keeps_the_mean_of_the_trees_that_xgboost_has_grown(task: str) -> None:
    config = asked(task, "xgboost", n_estimators="40", save_model_on_termination="true")
    found = fitted(config, sample(task), stop=StopAfter())
    assert (found.outcome, found.rounds_trained, found.last_round) == ("terminated", 2, 0)
    assert len(trees_of(found)) == 2
    assert found.model.num_boosted_rounds() == 1
    smaller, expected = forest(task, "xgboost", n_estimators="2")  # of the same trees
    predicted = random_forest.predict(found.model, features(2))
    np.testing.assert_allclose(predicted, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        found.predictions["train"], smaller.predictions["train"], rtol=1e-6, atol=1e-6
    )
    again = xgb.Booster(model_file=bytearray(random_forest.save(found.model)))
    np.testing.assert_array_equal(
        random_forest.predict(again, features(1)), found.predictions["train"]
    )


@BOTH
def test_a_stop_with_nothing_to_keep_ends_the_job(engine: str) -> None:
    with pytest.raises(Stopped):
        fitted(asked("binary", engine, n_estimators="40"), sample("binary"), stop=StopAfter())


@BOTH
def test_a_stop_after_the_last_tree_is_no_stop(engine: str) -> None:
    found = fitted(asked("binary", engine, n_estimators="1"), sample("binary"), stop=lambda: True)
    assert found.outcome == "completed"


def test_an_earlier_model_is_refused() -> None:
    with pytest.raises(ChannelError, match="does not go on from an earlier model"):
        random_forest.fit(
            Rows({"train": sample("binary")}),
            asked("binary"),
            Compute("singleCPU", "cpu", 1),
            lambda: None,
            lambda index, scores, restored: None,
            lambda: False,
            b"{}",
        )


def test_many_classes_in_few_rows_are_no_news() -> None:
    label = (np.arange(ROWS) % 400).astype(np.float32)
    config = asked("multiclass", num_class="400", n_estimators="2", max_depth="1")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fitted(config, matrix_of(features(1), label))
    assert said == []


@BOTH
def test_labels_between_classes_are_refused(engine: str) -> None:
    matrix = sample("binary")
    assert matrix.label is not None
    matrix.label[4] = 0.5
    with pytest.raises(DataError, match=r"train/a.csv row 5: label 0.5, .* needs 0 or 1"):
        fitted(asked("binary", engine), matrix)


@pytest.mark.parametrize(("low", "found"), [(-1.0, r"row 4: label -1"), (0.0, "row 1: label 0")])
def test_poisson_needs_counts(low: float, found: str) -> None:
    label = np.zeros(ROWS, np.float32)
    label[3] = low
    with pytest.raises(DataError, match=f"{found}.*criterion=poisson"):
        fitted(asked("regression", criterion="poisson"), matrix_of(features(1), label))


def test_sparse_rows_that_do_not_fit_are_refused_by_scikit_learn_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = Csr(np.zeros(ROWS + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), 50)
    label = (np.arange(ROWS) % 2).astype(np.float32)
    monkeypatch.setattr(memory, "limit", lambda cgroup: 4 * ROWS * 50 - 1)
    with pytest.raises(
        ResourceError, match=r"(?s)600 sparse rows x 50 columns.*forest_engine=xgboost"
    ):
        fitted(asked("binary"), matrix_of(empty, label))
    fitted(asked("binary", "xgboost"), matrix_of(empty, label))
    monkeypatch.setattr(memory, "limit", lambda cgroup: 4 * ROWS * 50)
    fitted(asked("binary"), matrix_of(empty, label))


@BOTH
def test_more_columns_than_there_are_is_refused(engine: str) -> None:
    fitted(asked("binary", engine, max_features=str(COLUMNS)), sample("binary"))
    with pytest.raises(HyperparameterError, match=r"max_features: found 7, allowed \[1, 6\]"):
        fitted(asked("binary", engine, max_features="7"), sample("binary"))


def test_columns_at_a_split_are_counted_as_scikit_learn_counts_them() -> None:
    counts = {"sqrt": 6, "log2": 5, "0.5": 20, "0.99": 39, "1.0": 40, "0.01": 1, "4": 4}
    for text, expected in counts.items():
        config = random_forest.settled(asked("binary", max_features=text), 40)
        assert config.forest.max_features == expected
    assert random_forest.settled(asked("binary"), 40).forest.max_features == 6
    assert random_forest.settled(asked("regression"), 40).forest.max_features == 40
    assert random_forest.settled(asked("regression"), 40).forest.max_depth == 16


def test_what_is_worth_knowing_is_said() -> None:
    schema = Schema(3)
    assert random_forest.notes(schema, asked("binary", max_depth="5")) == ()
    lines = random_forest.notes(schema, asked("binary", "xgboost", min_samples_leaf="3"))
    assert [line.split(":")[0] for line in lines] == ["bootstrap", "min_samples_leaf"]
    for text, line in (
        ("1", "max_features=1: one column at a split; 1.0 is all of them"),
        ("3", "max_features=3: 3 columns at a split; 1.0 is all of them"),
    ):
        config = asked("binary", max_depth="5", max_features=text)
        assert random_forest.notes(schema, config) == (line,)
    for text in ("1.0", "0.5", "sqrt"):
        assert random_forest.notes(schema, asked("binary", max_depth="5", max_features=text)) == ()
    lines = random_forest.notes(schema, asked("binary"))
    assert lines == ("max_depth: 16, the default of a forest (0 is no limit)",)


# --- trees as arrays --------------------------------------------------------------------------


def test_a_tree_written_by_hand() -> None:
    nodes = {
        "left": [1, -1, 3, -1, -1],
        "right": [2, -1, 4, -1, -1],
        "feature": [1, -2, 0, -2, -2],
        "threshold": [0.5, -2, 7, -2, -2],
        "missing_left": [0, 0, 1, 0, 0],
        "value": [[0], [1], [0], [10], [100]],
        "weight": [5, 2, 3, 1, 2],
        "gain": [4, 0, 2, 0, 0],
    }
    tree = forest_model.Tree(**{name: np.array(each) for name, each in nodes.items()})
    grown = bytearray(forest_model.encoded([tree, tree], 2, 1, 2))
    model = forest_model.in_one_round(grown, 2, 1, 1.0)
    rows = np.array([[0, 0.5], [7, 0.6], [7.1, 9], [np.nan, np.nan], [9, np.nan]], np.float32)
    assert model.inplace_predict(rows).tolist() == [1, 10, 100, 10, 100]


def trees_of(found: Fitted) -> list[dict[str, Any]]:
    text = found.model.save_raw("json").decode()
    trees = json.loads(text)["learner"]["gradient_booster"]["model"]["trees"]
    return [
        {name: np.array(each) if isinstance(each, list) else each for name, each in tree.items()}
        for tree in trees
    ]


def inner(tree: dict[str, Any]) -> tuple[Any, Any]:
    split = tree["left_children"] >= 0
    return tree["split_indices"][split], tree["split_conditions"][split].astype(np.float32)
