"""Cross-validation and random forests in the built image, and jobs of the RAPIDS example."""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import xgboost as xgb
from benchmarks.make_flights import FEATURES, World
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from sklearn.metrics import roc_auc_score

from tests.conftest import Tree
from tests.container.engine import IMAGE, LABEL, Running, docker, run
from tests.container.test_data import (
    ALONE,
    TMPFS,
    abalone_libsvm,
    adult,
    declare,
    fill,
    lay,
    lay_npz,
    trained,
)
from tests.contract.jobs import binary_rows

pytestmark = pytest.mark.container

Floats = NDArray[np.float32]
Names = dict[str, list[str]]

FOREST: dict[str, Any] = {"algorithm": "random_forest", "objective": "binary:logistic"}
KINDS: dict[str, dict[str, Any]] = {
    "boosting": {"objective": "binary:logistic", "num_round": 5},
    "sklearn": {**FOREST, "forest_engine": "sklearn", "n_estimators": 5, "max_depth": 6},
    "xgboost": {**FOREST, "forest_engine": "xgboost", "n_estimators": 5, "max_depth": 6},
}


def coded(columns: dict[int, list[str | None]], categories: Names) -> Floats:
    """Columns as the model takes them: texts by their place in the manifest, None as missing."""
    found = []
    for number, values in columns.items():
        texts = categories.get(str(number))
        codes = {text: float(code) for code, text in enumerate(texts)} if texts else None
        found.append(
            [
                np.nan if value is None else codes[value] if codes else float(value)
                for value in values
            ]
        )
    return np.array(found, np.float32).T


def fold_file(tree: Tree) -> tuple[list[str], list[list[str]]]:
    """The header and the lines of predictions_by_fold.csv."""
    with (tree.root / "output/data/predictions_by_fold.csv").open() as stream:
        header, *lines = csv.reader(stream)
    return header, lines


def left_by(tree: Tree) -> dict[str, bytes]:
    """Every model that the job left, and what it said of the rows held out."""
    models, data = tree.root / "model", tree.root / "output/data"
    files = [*models.glob("xgboost-model*"), *data.glob("*.csv")]
    return {file.name: file.read_bytes() for file in files}


# --- cross-validation of real data -----------------------------------------------------------


def test_folds_of_adult_and_a_model_that_plain_xgboost_loads(tree: Tree, shared_data: Path) -> None:
    lay(tree, adult(shared_data))
    tree.hyperparameters(
        objective="binary:logistic",
        eval_metric="auc,logloss",
        label_column=-1,
        num_round=100,
        early_stopping_rounds=3,
        eta=0.5,
        cv_folds=5,
    )
    done = run(tree, *ALONE)
    trained(tree, done)
    lines = done.stdout.splitlines()
    assert {line.split("\tfold:")[1] for line in lines if "\tfold:" in line} == set("01234")
    scores = re.findall(r"\tvalidation-logloss:(\S+)", done.stdout)
    manifest = tree.manifest()
    validated = manifest["metrics"]["cross_validation"]
    assert 1 < validated["rounds_chosen"] < 100
    assert validated["rounds_chosen"] == round(np.mean(validated["rounds"]))
    last = validated["scores"]["validation"]
    assert lines[-2].endswith(f"\tvalidation-logloss:{scores[-1]}")
    assert float(scores[-1]) == pytest.approx(last["logloss"]["mean"], abs=1e-5)
    assert lines[-1] == f"final-score: {last['logloss']['mean']!r};"

    header, predicted = fold_file(tree)
    assert header == ["row", "repeat", "fold", "label", "prediction", "probability_>50K"]
    assert [int(line[0]) for line in predicted] == list(range(32_561))
    assert {line[3] for line in predicted} == {line[4] for line in predicted} == {"<=50K", ">50K"}
    for fold in range(5):
        part = [line for line in predicted if line[2] == str(fold)]
        found = roc_auc_score([line[3] == ">50K" for line in part], [float(p[5]) for p in part])
        assert found == pytest.approx(last["auc"]["folds"][fold], abs=1e-6)

    with gzip.open(shared_data / "adult/adult-train.csv.gz", "rt") as stream:
        rows = [row for row in csv.reader(stream, skipinitialspace=True) if row]
    columns = {j: [None if r[j] == "?" else r[j] for r in rows] for j in range(14)}
    x = coded(columns, manifest["schema"]["categories"])
    booster = xgb.Booster(model_file=bytearray(tree.model.read_bytes()))
    assert booster.num_boosted_rounds() == validated["rounds_chosen"]
    matrix = xgb.DMatrix(x, feature_types=booster.feature_types, enable_categorical=True)
    assert [row[14] for row in rows] == [line[3] for line in predicted]
    found = roc_auc_score([row[14] == ">50K" for row in rows], booster.predict(matrix))
    assert found == pytest.approx(manifest["metrics"]["scores"]["train"]["auc"], abs=1e-6)


def _libsvm(files: list[Path], width: int) -> tuple[Floats, Floats]:
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    x = np.full((len(lines), width), np.nan, np.float32)
    for row, line in enumerate(lines):
        for pair in line[1:]:
            index, value = pair.split(":")
            x[row, int(index)] = float(value)
    return x, np.array([float(line[0]) for line in lines], np.float32)


def test_kfold_pools_abalones_channels_and_leaves_fold_models(
    tree: Tree, shared_data: Path
) -> None:
    lay(tree, abalone_libsvm(shared_data))
    tree.hyperparameters(objective="reg:squarederror", num_round=10, _kfold=5)
    trained(tree, run(tree, *ALONE))
    parts = ("train_0", "train_1", "validation")
    x, y = _libsvm([shared_data / f"abalone/abalone.{part}.libsvm" for part in parts], 9)
    predictions = np.loadtxt(tree.root / "output/data/predictions.csv", delimiter=",")
    assert predictions.shape == (3548, 2)
    assert np.array_equal(predictions[:, 0], y)

    fold = np.array([int(line[2]) for line in fold_file(tree)[1]])
    errors = []
    for number in range(5):
        content = tree.model.with_name(f"xgboost-model-{number}").read_bytes()
        held = fold == number
        said = xgb.Booster(model_file=bytearray(content)).predict(xgb.DMatrix(x[held]))
        assert said == pytest.approx(predictions[held, 1], rel=1e-6)
        errors.append(np.sqrt(np.mean((said - y[held]).astype(float) ** 2)))
    assert tree.metrics()[-1]["final_score"] == pytest.approx(np.mean(errors), rel=1e-6)
    assert not tree.model.with_name("xgboost-model-5").exists()
    assert tree.model.exists()


# --- random forests of real data -------------------------------------------------------------

LANDED = ("arr_time", "arr_delay", "air_time")  # known only after landing
# A machine that has XGBoost and nothing that trained the forest.
ELSEWHERE = """\
import sys
for name in ("sklearn", "treelite", "treeline", "pandas", "joblib"):
    sys.modules[name] = None
import numpy, xgboost
model = xgboost.Booster(model_file="/opt/ml/model/xgboost-model")
rows = numpy.load("/opt/ml/rows.npy")
matrix = xgboost.DMatrix(rows, feature_types=model.feature_types, enable_categorical=True)
numpy.save("/opt/ml/said.npy", model.predict(matrix))
"""


def _flights(data: Path) -> pa.Table:
    """60,000 flights with the label late, which 1,696 that never landed do not have."""
    options = arrow_csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True)
    table = arrow_csv.read_csv(data / "nycflights13/flights_60k.csv.gz", convert_options=options)
    return table.append_column("late", pc.greater(table["arr_delay"], 15).cast(pa.int8()))


def _written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize("engine_name", ["sklearn", "xgboost"])
def test_a_forest_of_late_flights_predicts_where_only_xgboost_is(
    engine_name: str, tree: Tree, shared_data: Path
) -> None:
    table = _flights(shared_data)
    fill(tree, "train", {"flights.parquet": _written(table)})
    declare(tree, {"train": "application/x-parquet"})
    tree.hyperparameters(
        **{**KINDS[engine_name], "max_depth": 8, "n_estimators": 10},
        label_column="late",
        missing_label="drop",
        ignore_columns=",".join(LANDED),
        eval_metric="accuracy,auc",
        cv_folds=3,
    )
    done = run(tree, *ALONE)
    trained(tree, done)
    manifest = tree.manifest()
    assert "1696 of 60000 rows have no label and are left out" in done.stdout
    assert manifest["data"]["train"]["rows"] == 58_304
    assert 0.85 < manifest["metrics"]["final_score"] < 0.95
    assert len(fold_file(tree)[1]) == 58_304

    table = table.filter(pc.is_valid(table["late"])).drop_columns(list(LANDED))
    names = manifest["schema"]["feature_names"]
    assert names == [name for name in table.column_names if name != "late"]
    columns = {j: table[name].to_pylist() for j, name in enumerate(names)}
    x = coded(columns, manifest["schema"]["categories"])
    np.save(tree.root / "rows.npy", x)
    here = docker(
        *("run", "--rm", "--label", LABEL, *ALONE, "--volume", f"{tree.root}:/opt/ml"),
        *(IMAGE, "python", "-c", ELSEWHERE),
    )
    assert here.returncode == 0, here.stderr
    auc = roc_auc_score(table["late"].to_numpy(), np.load(tree.root / "said.npy"))
    assert auc == pytest.approx(manifest["metrics"]["scores"]["train"]["auc"], abs=1e-6)


# --- jobs of the RAPIDS example --------------------------------------------------------------

CHOICES = {
    "AWS_ALGORITHM_CHOICE": "RandomForest",
    "AWS_ML_WORKFLOW_CHOICE": "singleCPU",
    "AWS_CV_FOLDS": "3",
    "AWS_DATASET_DIRECTORY": "1_year",
}


def example(tree: Tree, **choices: str) -> list[str]:
    """Lay out the example's channel; return what Docker is told of its variables."""
    rows, draw = 6000, np.random.default_rng(0)
    table = World(7).block(0, rows, rows, 7)
    for name in ("ArrDel15", "AirTime"):
        values = pa.array(table[name].to_numpy(), pa.float32(), mask=draw.random(rows) < 0.05)
        table = table.set_column(table.column_names.index(name), name, values)
    # A column that the example does not read, of something it could not.
    table = table.append_column("Tail_Number", pa.array([f"N{i}" for i in range(rows)]))
    fill(tree, "training", {"part-0.parquet": _written(table)})
    # As for fit(inputs=<address>): a channel without a content type.
    tree.config("inputdataconfig", {"training": {"TrainingInputMode": "File"}})
    named = {**CHOICES, **choices}
    return [option for name, value in named.items() for option in ("--env", f"{name}={value}")]


@pytest.mark.parametrize(
    ("algorithm", "name"), [("RandomForest", "n_estimators"), ("XGBoost", "num_boost_round")]
)
def test_the_examples_hyperparameters_have_an_effect(algorithm: str, name: str, tree: Tree) -> None:
    environment = example(tree, AWS_ALGORITHM_CHOICE=algorithm)
    scores = []
    for depth, count in ((8, 20), (2, 5)):
        tree.hyperparameters(**{"max_depth": depth, name: count})
        done = run(tree, *ALONE, *environment)
        trained(tree, done)
        (score,) = re.findall("final-score: (.*);", done.stdout)
        scores.append(float(score))
        assert "AirTime is known only after landing" in done.stdout
        assert len(re.findall(r"\tfold:[012]$", done.stdout, re.MULTILINE)) >= 3
        manifest = tree.manifest()
        assert manifest["schema"]["feature_names"] == list(FEATURES)
        assert 5600 < manifest["data"]["train"]["rows"] < 5800  # those with a label
        accuracy = manifest["metrics"]["cross_validation"]["scores"]["validation"]["accuracy"]
        assert scores[-1] == accuracy["mean"]
        booster = xgb.Booster(model_file=bytearray(tree.model.read_bytes()))
        dump = booster.get_dump()
        assert len(dump) == count
        assert max(line.count("\t") for text in dump for line in text.splitlines()) == depth
    assert scores[0] != scores[1]
    assert min(scores) > 0.85


@pytest.mark.parametrize(
    ("variable", "value", "cause"),
    [
        (
            "AWS_ALGORITHM_CHOICE",
            "KMeans",
            "AWS_ALGORITHM_CHOICE: found 'KMeans', allowed [XGBoost, RandomForest]",
        ),
        ("AWS_ML_WORKFLOW_CHOICE", "multiGPU", "found 'multiGPU', which this image cannot open"),
    ],
)
def test_what_the_example_offers_and_this_image_does_not_is_refused_by_name(
    variable: str, value: str, cause: str, tree: Tree
) -> None:
    environment = example(tree, **{variable: value})
    done = run(tree.hyperparameters(), *ALONE, *environment)
    assert done.returncode == 1
    assert cause in tree.failure.splitlines()[0]
    assert not tree.model.exists()


# --- memory and processors -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "lines"),
    [
        ("boosting", ("--memory", "280m"), ("kept in a temporary file", "1 fold(s) side by side")),
        ("boosting", ("--cpus", "1"), ("with 1 thread(s)", "1 fold(s) side by side")),
        ("xgboost", ("--memory", "320m"), ("1 fold(s) side by side, 2 thread(s)",)),
    ],
)
def test_folds_with_little_memory_or_one_processor_give_the_same_models(
    kind: str, options: tuple[str, ...], lines: tuple[str, ...], tree: Tree
) -> None:
    asked = {**KINDS[kind], "max_depth": 3, "max_bin": 16, "cv_folds": 3}
    asked = {**asked, "keep_fold_models": "true"}
    lay_npz(tree, 300_000, 20)
    free = run(tree.hyperparameters(**asked, nthread=2), *ALONE)
    trained(tree, free)
    assert "2 fold(s) side by side, 1 thread(s) each" in free.stdout
    expected = left_by(tree)
    assert len(expected) == 6

    more = {} if "--cpus" in options else {"nthread": 2}
    tree.hyperparameters(**asked, **more)
    container = Running(tree, *ALONE, *options)
    assert container.wait() == 0, container.log()
    for line in lines:
        assert line in container.log()
    assert left_by(tree) == expected
    assert not container.killed_for_memory()


# --- stopping, another user, a read-only root ------------------------------------------------


@pytest.mark.parametrize(
    ("more", "until"),
    [
        ({"objective": "binary:logistic", "num_round": 1_000_000}, "[5]\t"),
        ({**FOREST, "n_estimators": 1_000_000}, "side by side"),
    ],
    ids=["boosting", "forest"],
)
def test_docker_stop_among_the_folds(more: dict[str, Any], until: str, tree: Tree) -> None:
    tree.channel("train", binary_rows(2000)).declare()
    tree.hyperparameters(**more, cv_folds=3, save_model_on_termination="true")
    container = Running(tree, *ALONE)
    container.wait_for(until)
    assert container.stop() < 8
    assert container.wait() == 143, container.log()
    assert "Stopped on request. No model was written" in container.log()
    assert left_by(tree) == {}
    assert not tree.failure


@pytest.mark.parametrize("kind", KINDS)
def test_folds_as_another_user_on_a_read_only_root(kind: str, tree: Tree) -> None:
    # Bins on disk, so that every temporary file there can be is written.
    tree.channel("train", binary_rows(2000)).channel("test", binary_rows(300, seed=1)).declare()
    more: dict[str, Any] = {} if kind == "sklearn" else {"external_memory": "true"}
    tree.hyperparameters(**KINDS[kind], **more, cv_folds=3, keep_fold_models="true")
    for folder in [tree.root, *tree.root.rglob("*")]:
        folder.chmod(0o777 if folder.is_dir() else 0o644)
    done = run(tree, *ALONE, "--user", "1234:1234", "--read-only", *TMPFS)
    trained(tree, done)
    assert tree.model.stat().st_uid == 1234
    assert len(left_by(tree)) == 6
    assert "test-" in done.stdout
    if more:
        assert "kept on disk" in done.stdout
