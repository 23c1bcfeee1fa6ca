"""What users of the built-in image and of the platform rely on, seen from outside the process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from sklearn import metrics as sk

from tests.conftest import Tree
from tests.contract.jobs import (
    binary_rows,
    class_rows,
    number_rows,
    run_job,
    started,
)
from treeline.algorithms import xgboost as algorithm
from treeline.metrics.log import definitions

# --- the log and what a tuner reads from it --------------------------------------------------


def test_log_lines_are_the_built_in_images(tree: Tree) -> None:
    tree.channel("train", binary_rows(300)).channel("validation", binary_rows(100, seed=1))
    tree.hyperparameters(num_round=3, objective="binary:logistic", eval_metric="logloss,auc,f1")
    ended = run_job(tree.root)
    number = r"\d\.\d{5}"
    names = [f"{d}-{m}" for d in ("train", "validation") for m in ("logloss", "auc", "f1")]
    for index, line in enumerate([*ended.round_lines()[:3]]):
        expected = rf"\[{index}\]" + "".join(rf"\t{name}:{number}" for name in names)
        assert re.fullmatch(expected, line), line
    assert ended.stderr == ""


@pytest.mark.parametrize("shown", ["tab", "#011"])
def test_the_last_match_is_the_score_of_the_saved_model(shown: str, tree: Tree) -> None:
    validation = binary_rows(400, seed=2)
    tree.channel("train", binary_rows(300, seed=1)).channel("validation", validation)
    tree.hyperparameters(
        num_round=60,
        objective="binary:logistic",
        early_stopping_rounds=5,
        eta=0.5,
        _tuning_objective_metric="validation:accuracy",
    )
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    log = [line.replace("\t", "#011") if shown == "#011" else line for line in ended.lines]

    prediction = algorithm.predict(algorithm.load(tree.model), validation[:, 1:].astype(np.float32))
    accuracy = sk.accuracy_score(validation[:, 0], prediction > 0.5)
    assert _last_match("validation:accuracy", log) == pytest.approx(accuracy, abs=5e-6)
    assert _last_match("final-score", log) == pytest.approx(accuracy, abs=1e-12)
    last = tree.metrics()[-1]
    assert (last["final"], last["objective_metric"]) == (True, "validation:accuracy")
    assert last["final_score"] == tree.manifest()["metrics"]["final_score"]


def _last_match(name: str, log: list[str]) -> float:
    [definition] = definitions([name])
    found = [re.search(definition["Regex"], line) for line in log]
    return float([match for match in found if match][-1].group(1))


def test_computed_metrics_agree_with_scikit_learn_on_the_saved_model(tree: Tree) -> None:
    rows, held = class_rows(400, seed=1), class_rows(300, seed=2)
    weight = np.random.default_rng(5).random(300).round(3) + 0.1
    tree.channel("train", np.insert(rows, 1, 1.0, axis=1))
    tree.channel("validation", np.insert(held, 1, weight, axis=1))
    names = "accuracy,balanced_accuracy,f1,precision_macro,precision_micro,recall_macro"
    tree.hyperparameters(
        num_round=6, objective="multi:softprob", num_class=3, eval_metric=names, csv_weights=1
    )
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    predicted = algorithm.predict(
        algorithm.load(tree.model), held[:, 1:].astype(np.float32)
    ).argmax(axis=1)
    truth = {"y_true": held[:, 0], "y_pred": predicted, "sample_weight": weight}
    expected = {
        "accuracy": sk.accuracy_score(**truth),
        "balanced_accuracy": sk.balanced_accuracy_score(**truth),
        "f1": sk.f1_score(**truth, average="macro"),
        "precision_macro": sk.precision_score(**truth, average="macro"),
        "precision_micro": sk.precision_score(**truth, average="micro"),
        "recall_macro": sk.recall_score(**truth, average="macro"),
    }
    scores = tree.metrics()[-1]["scores"]["validation"]
    assert {m: scores[m] for m in expected} == pytest.approx(expected, abs=1e-9)
    assert "mlogloss" in scores  # as the built-in image: only its own metrics asked for


def test_binary_accuracy_is_not_that_of_a_threshold_at_zero(tree: Tree) -> None:
    tree.channel("train", binary_rows(400))
    tree.hyperparameters(num_round=10, objective="binary:logistic", eval_metric="error,accuracy")
    run_job(tree.root)
    scores = tree.metrics()[-1]["scores"]["train"]
    assert scores["accuracy"] == pytest.approx(1 - scores["error"], abs=1e-7)
    assert scores["accuracy"] > 0.8


def test_a_metric_is_printed_as_it_was_asked_for(tree: Tree) -> None:
    # XGBoost calls it tweedie-nloglik@1.3; the tuner's expression looks for what was asked.
    tree.channel("train", number_rows(200)).channel("validation", number_rows(80, seed=1))
    tree.hyperparameters(
        num_round=3,
        objective="reg:tweedie",
        tweedie_variance_power=1.3,
        _tuning_objective_metric="validation:tweedie-nloglik",
    )
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    last = tree.metrics()[-1]
    assert _last_match("validation:tweedie-nloglik", ended.lines) == pytest.approx(
        last["final_score"], abs=5e-6
    )


def test_a_tuners_metric_on_the_training_data_is_followed(tree: Tree) -> None:
    tree.channel("train", number_rows(200)).channel("validation", number_rows(80, seed=1))
    tree.hyperparameters(num_round=3, _tuning_objective_metric="train:mae")
    assert run_job(tree.root).status == 0
    assert tree.metrics()[-1]["objective_metric"] == "train:mae"


# --- the tree, as different hands lay it out ------------------------------------------------


def test_a_tree_as_the_sdks_local_mode_writes_it(tree: Tree) -> None:
    # One host under a made-up name, few fields, JSON-quoted values, the other channel name.
    tree.channel("training", number_rows(100))
    tree.config("hyperparameters", {"num_round": '"3"', "objective": '"reg:squarederror"'})
    tree.config("inputdataconfig", {"training": {"TrainingInputMode": "File"}})
    host = "algo-1-ab1cd"
    tree.config(
        "resourceconfig",
        {"current_host": host, "hosts": [host], "network_interface_name": "ethwe"},
    )
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    assert any("no content type given; read as csv" in line for line in ended.lines)


def test_a_tree_as_the_service_writes_it(tree: Tree) -> None:
    tree.channel("train", number_rows(100)).hyperparameters(num_round=2, sagemaker_region="x")
    tree.declare("text/csv; label_size=1; charset=UTF-8", RecordWrapperType="None")  # type: ignore[arg-type]
    group = {"instance_group_name": "homogeneousCluster", "hosts": ["algo-1"]}
    resources = {
        "current_host": "algo-1",
        "current_instance_type": "ml.c5.xlarge",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [group],
        "network_interface_name": "eth0",
        "topology": None,
    }
    tree.config("resourceconfig", resources).config("init-config", {"x": []})
    tree.config("checkpointconfig", {"S3Uri": "s3://b/p", "LocalPath": str(tree.root / "c")})
    ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    assert list((tree.root / "c").glob("treeline-*/model-*.ckpt"))


def test_a_second_run_on_the_same_tree_leaves_the_same_bytes(tree: Tree) -> None:
    tree.channel("train", binary_rows(300)).hyperparameters(
        num_round=4, objective="binary:logistic", subsample=0.5
    )
    kept: list[list[bytes]] = []
    for _ in range(2):
        assert run_job(tree.root).status == 0
        files = (tree.model, tree.root / "output/data/metrics.jsonl")
        kept.append([file.read_bytes() for file in files])
        kept[-1].append((tree.root / "model/treeline/manifest.json").read_bytes())
    assert kept[0] == kept[1]


def test_a_failed_run_leaves_no_model_of_an_earlier_one(tree: Tree) -> None:
    tree.channel("train", binary_rows(50)).hyperparameters(num_round=1, objective="binary:logistic")
    assert run_job(tree.root).status == 0
    tree.channel("train", number_rows(50) * 9)  # labels that are no probabilities
    assert run_job(tree.root).status == 1
    assert not tree.model.exists()
    assert tree.failure
    tree.channel("train", binary_rows(50))
    assert run_job(tree.root).status == 0
    assert not tree.failure


def test_manifest_says_what_the_model_is(tree: Tree) -> None:
    tree.channel("train", class_rows(100)).hyperparameters(
        num_round=2, objective="multi:softprob", num_class=3, learning_rate=0.2
    )
    run_job(tree.root)
    manifest = tree.manifest()
    assert manifest["objective"] == "multi:softprob"
    assert manifest["num_class"] == 3
    assert manifest["hyperparameters"]["eta"] == "0.2"
    assert manifest["schema"] == {
        "columns": {"label": {"position": 0, "name": None}},
        "features": 6,
        "feature_names": None,
        "categories": {},
        "classes": None,
    }
    assert manifest["data"]["train"]["rows"] == 100
    assert manifest["metrics"]["objective_metric"] == "train:mlogloss"
    assert set(manifest["versions"]) >= {"treeline", "xgboost", "python"}


def test_the_built_in_images_serving_finds_one_model_and_nothing_else(tree: Tree) -> None:
    # It loads every regular file at the top of the model directory and averages them.
    tree.channel("train", binary_rows(100)).hyperparameters(
        num_round=2, objective="binary:logistic"
    )
    run_job(tree.root)
    files = [path for path in (tree.root / "model").iterdir() if path.is_file()]
    assert [path.name for path in files] == ["xgboost-model"]
    with pytest.warns(UserWarning, match="Unknown file format"):  # no extension, as there
        booster = xgb.Booster(model_file=str(files[0]))
    assert booster.num_features() == 6


# --- failures --------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"num_round": 3, "objective": "binary:logistic"}
ROWS = binary_rows(60)


def _csv(tree: Tree, text: str) -> Tree:
    tree.channel("train", ROWS)
    (tree.root / "input/data/train/part-0.csv").write_text(text)
    return tree


def _two_hosts(tree: Tree) -> None:
    # Both resolve everywhere, so what is refused here is the number of hosts.
    names = {"current_host": "localhost", "hosts": ["localhost", "127.0.0.1"]}
    tree.channel("train", ROWS).config("resourceconfig", names)


# Each: hyperparameters, what else to do to the tree, and what the first 200 characters name.
WRONG: dict[str, tuple[dict[str, Any], Any, str]] = {
    "no num_round": ({"objective": "binary:logistic"}, None, "num_round"),
    "misspelt name": ({**GOOD, "max_dept": 3}, None, "max_dept"),
    "out of range": ({**GOOD, "eta": 1.5}, None, "eta"),
    "no number": ({**GOOD, "gamma": "lots"}, None, "gamma"),
    "unknown objective": ({**GOOD, "objective": "binary:logit"}, None, "objective"),
    "multiclass without classes": ({**GOOD, "objective": "multi:softmax"}, None, "num_class"),
    "unknown metric": ({**GOOD, "eval_metric": "acuracy"}, None, "acuracy"),
    "metric of another task": ({**GOOD, "eval_metric": "merror"}, None, "merror"),
    "three at once": ({"eta": 2, "subsample": 0, "foo": 1}, None, "subsample"),
    "no such compute here": ({**GOOD, "compute": "multiGPU"}, None, "compute"),
    "folds in order of no time": (
        {**GOOD, "cv_folds": 5, "cv_strategy": "time_series"},
        None,
        "time_column",
    ),
    "stopping without validation": ({**GOOD, "early_stopping_rounds": 5}, None, "validation"),
    "no train channel": (GOOD, lambda t: t.channel("validation", ROWS), "train"),
    "unknown channel": (
        GOOD,
        lambda t: t.channel("train", ROWS).channel("trian", ROWS),
        "trian",
    ),
    "unreadable content type": (
        GOOD,
        lambda t: t.channel("train", ROWS).declare("image/png"),
        "image/png",
    ),
    "a content type that the file is not of": (
        GOOD,
        lambda t: t.channel("train", ROWS).declare("text/libsvm"),
        "read as libsvm, but this file is csv",
    ),
    "no label in the content type": (
        GOOD,
        lambda t: t.channel("train", ROWS).declare("text/csv;label_size=0"),
        "label_size",
    ),
    "empty channel": (GOOD, lambda t: _csv(t, ""), "'train' has no data"),
    "a header where none was said to be": (
        {**GOOD, "csv_header": "false"},
        lambda t: _csv(t, "y,age,sex\n1,2,3\n0,4,5\n"),
        "'y' in row 1",
    ),
    "text in the middle": (GOOD, lambda t: _csv(t, "1,2\n0,x\n"), "'x' in row 2"),
    "a short row": (GOOD, lambda t: _csv(t, "1,2,3\n0,1\n"), "train/part-0.csv"),
    "labels no probability": (GOOD, lambda t: _csv(t, "1,2\n7,1\n0,3\n"), "label 7"),
    "a missing label": (GOOD, lambda t: _csv(t, "1,2\n,1\n"), "label"),
    "broken hyperparameters.json": (
        GOOD,
        lambda t: (t.root / "input/config/hyperparameters.json").write_text("{num_round: 3}"),
        "hyperparameters.json",
    ),
    "broken Parquet": (
        GOOD,
        lambda t: _csv(t, "PAR1\0 and nothing else").declare("application/x-parquet"),
        "Parquet",
    ),
    "other columns in validation": (
        GOOD,
        lambda t: t.channel("train", ROWS).channel("validation", ROWS[:, :4]),
        "validation",
    ),
    "pipe mode": (
        GOOD,
        lambda t: t.channel("train", ROWS).config(
            "inputdataconfig", {"train": {"TrainingInputMode": "Pipe"}}
        ),
        "Pipe",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_job_ends_in_1_and_names_what_is_wrong(case: str, tree: Tree) -> None:
    hyperparameters, change, named = WRONG[case]
    tree.hyperparameters(**hyperparameters)
    if change is None:
        tree.channel("train", ROWS)
    else:
        change(tree)
    ended = run_job(tree.root)
    assert ended.status == 1, ended.stderr
    assert named in tree.failure[:200]
    cause, remedy, rest = tree.failure.split("\n", 2)
    assert cause
    assert remedy
    assert len(cause) + len(remedy) + 2 <= 1024
    assert rest.startswith("\nTraceback")
    assert cause in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not tree.model.exists()


def test_early_stopping_on_a_metric_that_is_never_a_number_is_refused(tree: Tree) -> None:
    one_class = binary_rows(60)
    one_class[:, 0] = 1.0
    tree.channel("train", ROWS).channel("validation", one_class)
    tree.hyperparameters(**{**GOOD, "eval_metric": "auc", "early_stopping_rounds": 2})
    ended = run_job(tree.root)
    assert ended.status == 1
    assert "validation-auc was not a number" in tree.failure[:200]
    assert not tree.model.exists()


def test_one_worker_on_several_hosts_is_refused_on_each(tree: Tree) -> None:
    tree.hyperparameters(**GOOD, compute="singleCPU")
    _two_hosts(tree)
    ended = run_job(tree.root)
    assert ended.status == 1
    assert "found singleCPU, and the job has 2 hosts" in tree.failure[:200]


def test_a_fault_of_ours_has_its_traceback_in_the_log(tree: Tree) -> None:
    script = (
        "import sys, pathlib, os\n"
        "from treeline import train, trainer\n"
        "trainer.plan = lambda *_: {}['what nobody foresaw']\n"
        "sys.exit(train.main(pathlib.Path(sys.argv[1]), os.environ))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tree.root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert tree.failure.startswith("Unexpected KeyError: 'what nobody foresaw'\nThis is a fault")
    assert "Traceback" in done.stderr


# --- signals ---------------------------------------------------------------------------------


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Read to the end; not by communicate(), which loses what readline() has buffered."""
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    process.wait(timeout=60)
    process.stdout.close()
    process.stderr.close()
    return out, err


@pytest.fixture
def long_job(tree: Tree) -> Tree:
    tree.channel("train", binary_rows(3000)).channel("validation", binary_rows(500, seed=1))
    return tree.hyperparameters(
        num_round=100000, objective="binary:logistic", save_model_on_termination="true"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_job_leaves_its_model(number: signal.Signals, long_job: Tree) -> None:
    process = started(long_job.root, lambda line: line.startswith("[3]"))
    process.send_signal(number)
    out, err = _rest(process)
    assert (process.returncode, err) == (0, "")
    manifest = long_job.manifest()
    assert manifest["training"]["outcome"] == "terminated"
    rounds = manifest["training"]["rounds_trained"]
    assert algorithm.load(long_job.model).num_boosted_rounds() == rounds
    lines = [line for line in out.splitlines() if line.startswith("[")]
    # The final line is that of the model that was saved, and stands alone if that is round 3.
    assert {*lines[-2:]} == {lines[-1]}
    assert lines[-1].startswith(f"[{rounds - 1}]\t")
    assert not long_job.failure


def test_a_stopped_job_that_stops_early_keeps_its_best_round(long_job: Tree) -> None:
    text = json.loads((long_job.root / "input/config/hyperparameters.json").read_text())
    long_job.hyperparameters(**text, early_stopping_rounds=100000, eta=1.0)
    process = started(long_job.root, lambda line: line.startswith("[3]"))
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _rest(process)
    *rounds, last = long_job.metrics()
    scores = [entry["scores"]["validation"]["logloss"] for entry in rounds]
    assert last["final_score"] == pytest.approx(min(scores), abs=1e-9)
    assert algorithm.load(long_job.model).num_boosted_rounds() == int(np.argmin(scores)) + 1


def test_a_stopped_job_that_was_not_asked_to_keep_anything_says_so(long_job: Tree) -> None:
    long_job.hyperparameters(num_round=100000, objective="binary:logistic")
    process = started(long_job.root, lambda line: line.startswith("[3]"))
    process.send_signal(signal.SIGTERM)
    out, _ = _rest(process)
    assert process.returncode == 143
    assert "save_model_on_termination=true" in out
    assert not long_job.model.exists()
    assert not long_job.failure


def test_a_training_process_killed_from_outside_is_explained(long_job: Tree) -> None:
    process = started(long_job.root, lambda line: line.startswith("[3]"))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _rest(process)
    assert process.returncode == 137
    assert "killed by SIGKILL" in long_job.failure.splitlines()[0]


def test_the_training_process_does_not_outlive_its_parent(long_job: Tree) -> None:
    process = started(long_job.root, lambda line: line.startswith("[3]"))
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists():
        state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state == "Z":
            break
        assert time.monotonic() < deadline, "the training process runs on"
        time.sleep(0.1)
    _rest(process)


# --- what a start costs ----------------------------------------------------------------------


def test_a_refused_job_imports_nothing_heavy(tree: Tree) -> None:
    """Mistakes cost a fraction of a second: validation comes before numpy, Arrow and XGBoost."""
    tree.hyperparameters(num_round=1, eta=7).channel("train", ROWS)
    script = (
        "import sys, pathlib, os\n"
        "from treeline import train\n"
        "status = train.train(pathlib.Path(sys.argv[1]), os.environ)\n"
        "heavy = {'numpy', 'pyarrow', 'xgboost', 'pandas', 'sklearn', 'dask', 'boto3'}\n"
        "print(status, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tree.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[0] == "1 []"


def test_a_job_imports_neither_pandas_nor_scikit_learn(tree: Tree) -> None:
    tree.hyperparameters(**GOOD).channel("train", ROWS)
    script = (
        "import sys, pathlib, os\n"
        "from treeline import train\n"
        "status = train.train(pathlib.Path(sys.argv[1]), os.environ)\n"
        "print(status, sorted({'pandas', 'sklearn', 'dask', 'tqdm'} & set(sys.modules)))\n"
        "import sklearn.ensemble, pandas; print('importable')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tree.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-2:] == ["0 []", "importable"]
