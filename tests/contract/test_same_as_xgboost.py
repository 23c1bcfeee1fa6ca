"""A job's model is the model of ``xgboost.train``, byte for byte, and so are its scores."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb

from tests.conftest import Tree
from tests.contract.jobs import Rows, binary_rows, class_rows, number_rows, run_job
from treeline.algorithms import xgboost as algorithm

# XGBoost 3.4 calls these deprecated; they are part of the contract all the same.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*booster=dart. is deprecated"),
    pytest.mark.filterwarnings("ignore:.*gblinear.*deprecated"),
]

DEFAULTS = {"seed": 0, "seed_per_iteration": True}


def plain(
    train: Rows,
    validation: Rows | None,
    rounds: int,
    params: dict[str, Any],
    weighted: bool = False,
    **options: Any,
) -> tuple[xgb.Booster, dict[str, Any]]:
    """Train by hand on the same rows."""

    def split(rows: Rows) -> dict[str, Any]:
        first = 2 if weighted else 1
        weight = rows[:, 1].astype(np.float32) if weighted else None
        x, y = rows[:, first:].astype(np.float32), rows[:, 0].astype(np.float32)
        return {"data": x, "label": y, "weight": weight}

    parts = split(train)
    raw = params.get("booster") == "gblinear" or params.get("tree_method") in ("exact", "approx")
    bins = {"max_bin": params.get("max_bin", 256)}
    dtrain = xgb.DMatrix(**parts) if raw else xgb.QuantileDMatrix(**parts, **bins)
    evals = [(dtrain, "train")]
    if validation is not None:
        evals.append((xgb.DMatrix(**split(validation)), "validation"))
    history: dict[str, Any] = {}
    booster = xgb.train(
        {**DEFAULTS, **params},
        dtrain,
        rounds,
        evals=evals,
        evals_result=history,
        verbose_eval=False,
        **options,
    )
    return booster, history


def trees(model: Path | xgb.Booster) -> list[str]:
    booster = algorithm.load(model) if isinstance(model, Path) else model
    return booster.get_dump(dump_format="json", with_stats=True)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "squarederror": (number_rows, {"objective": "reg:squarederror"}),
    "sampled": (
        number_rows,
        {"objective": "reg:squarederror", "subsample": 0.7, "colsample_bytree": 0.5, "seed": 7},
    ),
    "logistic": (binary_rows, {"objective": "binary:logistic", "scale_pos_weight": 2.0}),
    "softprob": (class_rows, {"objective": "multi:softprob", "num_class": 3}),
    "softmax": (class_rows, {"objective": "multi:softmax", "num_class": 3}),
    "poisson": (number_rows, {"objective": "count:poisson", "max_delta_step": 0.7}),
    "gamma": (number_rows, {"objective": "reg:gamma"}),
    "absoluteerror": (number_rows, {"objective": "reg:absoluteerror"}),
    "quantile": (number_rows, {"objective": "reg:quantileerror", "quantile_alpha": 0.3}),
    "dart": (binary_rows, {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.2}),
    "forest": (
        binary_rows,
        {"objective": "binary:logistic", "num_parallel_tree": 4, "subsample": 0.6},
    ),
    "lossguide": (
        binary_rows,
        {"objective": "binary:logistic", "grow_policy": "lossguide", "max_leaves": 9},
    ),
    "few bins": (binary_rows, {"objective": "binary:logistic", "max_bin": 16}),
    "exact": (binary_rows, {"objective": "binary:logistic", "tree_method": "exact"}),
    "approx": (binary_rows, {"objective": "binary:logistic", "tree_method": "approx"}),
    "monotone": (
        number_rows,
        {"objective": "reg:squarederror", "monotone_constraints": "(1,0,-1,0,0,0)"},
    ),
    "interaction": (
        number_rows,
        {"objective": "reg:squarederror", "interaction_constraints": "[[0, 1], [2, 3, 4]]"},
    ),
    "base score": (number_rows, {"objective": "reg:squarederror", "base_score": -1.5}),
}


@pytest.mark.parametrize("case", CASES)
def test_model_and_every_round_equal_xgboost_by_hand(case: str, tree: Tree) -> None:
    make, params = CASES[case]
    train, validation = make(600, seed=1), make(200, seed=2)
    tree.channel("train", train[:250], "a.csv").channel("train", train[250:], "b/c.csv")
    tree.channel("validation", validation).hyperparameters(num_round=8, nthread=2, **params)
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr

    booster, history = plain(train, validation, 8, {**params, "nthread": 2})
    assert tree.model.read_bytes() == bytes(booster.save_raw("ubj"))
    for index, entry in enumerate(tree.metrics()[:-1]):
        assert entry["round"] == index
        for data, scores in entry["scores"].items():
            for metric, value in scores.items():
                assert value == pytest.approx(history[data][metric][index], rel=1e-6)


def test_weights_of_the_second_column(tree: Tree) -> None:
    rows = binary_rows(500)
    weight = np.random.default_rng(3).random(500).round(3) + 0.1
    weighted = np.column_stack([rows[:, 0], weight, rows[:, 1:]])
    tree.channel("train", weighted).hyperparameters(
        num_round=5, objective="binary:logistic", csv_weights=1
    )
    assert run_job(tree.root).status == 0
    booster, _ = plain(weighted, None, 5, {"objective": "binary:logistic"}, weighted=True)
    assert trees(tree.model) == trees(booster)


def test_gblinear(tree: Tree) -> None:
    rows = number_rows(300)
    params = {"booster": "gblinear", "updater": "coord_descent", "objective": "reg:squarederror"}
    tree.channel("train", rows).hyperparameters(num_round=5, **params)
    assert run_job(tree.root).status == 0
    booster, _ = plain(rows, None, 5, params)
    assert tree.model.read_bytes() == bytes(booster.save_raw("ubj"))


def test_parquet_gives_the_model_of_the_same_csv(tree: Tree, tmp_path_factory: Any) -> None:
    rows = binary_rows(400)
    tree.channel("train", rows).hyperparameters(num_round=5, objective="binary:logistic")
    other = Tree(tmp_path_factory.mktemp("parquet"))
    for folder in ("input/config", "input/data/train"):
        (other.root / folder).mkdir(parents=True)
    other.hyperparameters(num_round=5, objective="binary:logistic")
    columns = {f"c{i}": pa.array(rows[:, i], from_pandas=True) for i in range(rows.shape[1])}
    pq.write_table(
        pa.table(columns), other.root / "input/data/train/rows.parquet", row_group_size=90
    )
    other.declare("application/x-parquet")
    assert run_job(tree.root).status == run_job(other.root).status == 0
    assert tree.model.read_bytes() == other.model.read_bytes()
    assert tree.manifest()["data"] == other.manifest()["data"]
    assert other.manifest()["schema"]["feature_names"] == [f"c{i}" for i in range(1, 7)]


def test_early_stopping_saves_the_best_round(tree: Tree) -> None:
    train, validation = binary_rows(300, seed=1), binary_rows(200, seed=2)
    params = {"objective": "binary:logistic", "eta": 0.3, "eval_metric": "logloss"}
    tree.channel("train", train).channel("validation", validation)
    tree.hyperparameters(num_round=60, early_stopping_rounds=4, **params)
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr

    stop = xgb.callback.EarlyStopping(rounds=4, data_name="validation", save_best=True)
    booster, history = plain(train, validation, 60, params, callbacks=[stop])
    best = int(np.argmin(history["validation"]["logloss"]))
    assert 0 < best < 55
    assert trees(tree.model) == trees(booster)
    saved = algorithm.load(tree.model)
    assert saved.attributes()["best_iteration"] == str(best)
    last = tree.metrics()[-1]
    assert last["round"] == best
    assert last["final_score"] == pytest.approx(min(history["validation"]["logloss"]), abs=1e-9)


@pytest.mark.parametrize("metric", ["auc", "aucpr", "f1", "accuracy"])
def test_early_stopping_maximises_what_is_better_when_larger(metric: str, tree: Tree) -> None:
    train, validation = binary_rows(400, seed=1), binary_rows(300, seed=2)
    tree.channel("train", train).channel("validation", validation)
    tree.hyperparameters(
        num_round=40, early_stopping_rounds=6, objective="binary:logistic", eval_metric=metric
    )
    assert run_job(tree.root).status == 0
    *rounds, last = tree.metrics()
    scores = [entry["scores"]["validation"][metric] for entry in rounds]
    assert last["final_score"] == pytest.approx(max(scores), abs=1e-9)
    assert last["round"] == int(np.argmax(scores))


def test_early_stopping_maximises_ndcg_at_k(tree: Tree) -> None:
    # The built-in image minimises it and keeps the worst round.
    train, validation = class_rows(400, seed=1), class_rows(300, seed=2)
    tree.channel("train", train).channel("validation", validation)
    tree.hyperparameters(
        num_round=30, early_stopping_rounds=5, objective="rank:ndcg", eval_metric="ndcg@5"
    )
    assert run_job(tree.root).status == 0
    *rounds, last = tree.metrics()
    scores = [entry["scores"]["validation"]["ndcg@5"] for entry in rounds]
    assert last["final_score"] == pytest.approx(max(scores), abs=1e-9)


def test_dart_stopped_early_saves_the_model_that_scored_best(tree: Tree) -> None:
    # A slice of a DART model is not the model of that round: later rounds rescale its trees.
    train, validation = binary_rows(300, seed=1), binary_rows(200, seed=2)
    tree.channel("train", train).channel("validation", validation)
    tree.hyperparameters(
        num_round=40,
        early_stopping_rounds=4,
        objective="binary:logistic",
        booster="dart",
        rate_drop=0.5,
        eta=0.9,
        eval_metric="logloss",
    )
    assert run_job(tree.root).status == 0
    *rounds, last = tree.metrics()
    best = min(entry["scores"]["validation"]["logloss"] for entry in rounds)
    saved = algorithm.load(tree.model)
    data = xgb.DMatrix(validation[:, 1:].astype(np.float32), label=validation[:, 0])
    measured = float(saved.eval_set([(data, "v")]).split(":")[-1])
    assert last["final_score"] == pytest.approx(best, abs=1e-7)
    assert measured == pytest.approx(best, abs=1e-6)


# --- real data sets -------------------------------------------------------------------------


def abalone(folder: Path) -> Rows:
    """Rings first; sex as a number."""
    lines = (folder / "abalone" / "abalone.csv").read_text().split()
    rows = [line.split(",") for line in lines]
    return np.array([[float(r[8]), "MFI".index(r[0]), *map(float, r[1:8])] for r in rows])


def adult(folder: Path) -> Rows:
    """Income over 50K first; text columns as the rank of their value."""
    with gzip.open(folder / "adult" / "adult-train.csv.gz", "rt") as stream:
        rows = [line.strip().split(", ") for line in stream if line.strip()]
    table = np.array(rows)
    columns = [(table[:, 14] == ">50K").astype(float)]
    for column in table[:, :14].T:
        try:
            columns.append(column.astype(float))
        except ValueError:
            codes = np.unique(column, return_inverse=True)[1].astype(float)
            codes[column == "?"] = np.nan
            columns.append(codes)
    return np.column_stack(columns)


def agaricus(folder: Path) -> Rows:
    """Poisonous first; 126 indicators, absent is missing."""
    lines = (folder / "agaricus" / "agaricus.txt.train").read_text().splitlines()
    rows = np.full((len(lines), 127), np.nan)
    for i, line in enumerate(lines):
        label, *features = line.split()
        rows[i, 0] = float(label)
        for feature in features:
            index, value = feature.split(":")
            rows[i, int(index)] = float(value)
    return rows


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("data", "params"),
    [
        (abalone, {"objective": "reg:squarederror", "max_depth": 5, "eta": 0.2, "subsample": 0.7}),
        (adult, {"objective": "binary:logistic", "eval_metric": "auc"}),
        (agaricus, {"objective": "binary:logistic", "max_depth": 3, "eval_metric": "error"}),
    ],
)
def test_real_data_gives_the_trees_of_xgboost(
    data: Any, params: dict[str, Any], kind: str, tree: Tree, shared_data: Path
) -> None:
    rows = data(shared_data)
    held = np.arange(len(rows)) % 5 == 0
    for name, part in (("train", rows[~held]), ("validation", rows[held])):
        if kind == "csv":
            tree.channel(name, part)
        else:
            folder = tree.root / "input" / "data" / name
            folder.mkdir()
            arrays = [pa.array(column, from_pandas=True) for column in part.T]
            pq.write_table(pa.table(arrays, [f"c{i}" for i in range(len(arrays))]), folder / "p")
    tree.declare("text/csv" if kind == "csv" else "application/x-parquet")
    tree.hyperparameters(num_round=20, nthread=2, **params)
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    booster, history = plain(rows[~held], rows[held], 20, {**params, "nthread": 2})
    assert trees(tree.model) == trees(booster)
    metric = list(history["validation"])[-1]
    assert tree.metrics()[-1]["final_score"] == pytest.approx(
        history["validation"][metric][-1], rel=1e-6
    )


CMAPSS: dict[str, Any] = {
    "max_depth": 5,
    "eta": 0.2,
    "gamma": 4,
    "min_child_weight": 6,
    "subsample": 0.7,
    "objective": "reg:squarederror",
}


def cmapss(folder: Path) -> tuple[Rows, Rows]:
    """Remaining cycles first, then cycle, settings and sensors; every third engine held out."""
    with gzip.open(folder / "cmapss" / "train_FD001.txt.gz", "rt") as stream:
        table = np.loadtxt(stream)
    unit, cycle = table[:, 0].astype(int), table[:, 1]
    last = np.array([cycle[unit == u].max() for u in range(unit.max() + 1) if u in unit])
    rows = np.column_stack([last[unit - 1] - cycle, table[:, 1:]])
    held = unit % 3 == 0
    return rows[~held], rows[held]


def test_turbofan_engines_score_as_xgboost_by_hand(tree: Tree, shared_data: Path) -> None:
    train, validation = cmapss(shared_data)
    tree.channel("train", train).channel("validation", validation).declare()
    tree.hyperparameters(num_round=100, **CMAPSS)
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    _, history = plain(train, validation, 100, CMAPSS)
    rounds = tree.metrics()[:-1]
    assert len(rounds) == 100
    for entry, expected in zip(rounds, history["validation"]["rmse"], strict=True):
        assert entry["scores"]["validation"]["rmse"] == pytest.approx(expected, abs=1e-5)
    assert ended.round_lines()[99] == (
        f"[99]\ttrain-rmse:{history['train']['rmse'][99]:.5f}"
        f"\tvalidation-rmse:{history['validation']['rmse'][99]:.5f}"
    )
