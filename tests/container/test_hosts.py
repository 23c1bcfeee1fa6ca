"""One model trained on several hosts, in real containers on a network of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_test import cluster
from local_test.chaos import Running
from local_test.cluster import LOCAL_MODES, Ended, Request

from tests.conftest import Tree
from tests.container.engine import IMAGE
from tests.contract.jobs import binary_rows

pytestmark = pytest.mark.container

# Columns drawn at random: a model that went on with other random numbers would differ. Rows are
# not: every worker draws from its own.
BOOSTING: dict[str, Any] = {
    "objective": "binary:logistic",
    "num_round": 60,
    "max_depth": 4,
    "colsample_bynode": 0.7,
}
LONG: dict[str, Any] = {**BOOSTING, "num_round": 20_000}
FIRST_ROUND = r"^\[0\]"


def fill(tree: Tree, files: int = 3) -> Tree:
    """Give the job a channel of so many files, and one to be scored on."""
    for number in range(files):
        tree.channel("train", binary_rows(700, number), f"part-{number}.csv")
    tree.channel("validation", binary_rows(500, 99))
    return tree.declare()


def sharded(tree: Tree) -> Tree:
    """Have every host get its own files of train, and all of validation."""
    entry = {"ContentType": "text/csv", "TrainingInputMode": "File"}
    own = {**entry, "S3DistributionType": cluster.SHARDED}
    return tree.config("inputdataconfig", {"train": own, "validation": entry})


def request(tree: Tree, count: int) -> Request:
    return Request(tree.root, count, IMAGE, cpus="1")


def run(asked: Request, results: Path) -> tuple[dict[str, Ended], Running]:
    with Running(asked, results) as running:
        return running.ends(), running


def statuses(ends: Mapping[str, Ended]) -> dict[str, int | None]:
    return {host: each.status for host, each in ends.items()}


def failure(ends: Mapping[str, Ended], host: str) -> str:
    return (ends[host].host.root / "output" / "failure").read_text()


def model(root: Path) -> bytes:
    return (root / "model" / "xgboost-model").read_bytes()


def check_success(ends: Mapping[str, Ended], running: Running) -> None:
    """All ended well, the first host first, and only it wrote a model."""
    assert set(statuses(ends).values()) == {0}, running.log
    first, *others = ends
    for host in others:
        assert ends[host].seconds >= ends[first].seconds
        assert not list((ends[host].host.root / "model").glob("*"))
        assert not list((ends[host].host.root / "output" / "data").glob("*"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The model of one process that reads all of the data."""
    root = tmp_path_factory.mktemp("alone")
    for folder in ("input/config", "input/data"):
        (root / folder).mkdir(parents=True)
    tree = fill(Tree(root)).hyperparameters(**BOOSTING, compute="singleCPU")
    ends, running = run(request(tree, 1), root / "results")
    check_success(ends, running)
    return model(ends["algo-1"].host.root)


def test_two_hosts_with_all_files_train_the_model_of_one(
    tree: Tree, tmp_path: Path, alone: bytes
) -> None:
    fill(tree).hyperparameters(**BOOSTING)
    ends, running = run(request(tree, 2), tmp_path / "results")
    check_success(ends, running)
    assert model(ends["algo-1"].host.root) == alone
    assert running.seen(r"2 workers on 2 host\(s\), algo-1 1, algo-2 1", "algo-1")


def test_three_hosts_with_files_of_their_own_train_the_model_of_one(
    tree: Tree, tmp_path: Path, alone: bytes
) -> None:
    sharded(fill(tree)).hyperparameters(**BOOSTING)
    ends, running = run(request(tree, 3), tmp_path / "results")
    check_success(ends, running)
    assert model(ends["algo-1"].host.root) == alone


@pytest.mark.parametrize("version", LOCAL_MODES)
def test_local_mode_ends_well_for_all(
    version: str, tree: Tree, tmp_path: Path, alone: bytes
) -> None:
    fill(tree).hyperparameters(**BOOSTING)
    asked = replace(request(tree, 2), mode=LOCAL_MODES[version])
    ends, running = run(asked, tmp_path / "results")
    assert set(statuses(ends).values()) == {0}, running.log
    first, second = ends.values()
    assert second.seconds >= first.seconds
    assert "success" in cluster.local_verdict(list(ends.values()))
    assert model(tmp_path / "results") == alone


def test_one_file_is_enough_for_three_hosts(tree: Tree, tmp_path: Path) -> None:
    fill(tree, 1).hyperparameters(**BOOSTING)
    ends, running = run(request(tree, 3), tmp_path / "results")
    check_success(ends, running)
    assert running.seen(r"train: no rows for worker\(s\)", "algo-1")


def test_a_host_without_files_of_its_own_works_on(tree: Tree, tmp_path: Path) -> None:
    sharded(fill(tree, 2)).hyperparameters(**BOOSTING)
    ends, running = run(request(tree, 3), tmp_path / "results")
    check_success(ends, running)
    assert (
        len([line for line in running.lines if "train: no rows for worker(s) 2" in line.text]) == 1
    )


def test_no_rows_on_any_host_are_refused(tree: Tree, tmp_path: Path) -> None:
    fill(tree, 1).hyperparameters(**BOOSTING)
    (tree.root / "input/data/train/part-0.csv").unlink()
    ends, running = run(request(tree, 2), tmp_path / "results")
    assert set(statuses(ends).values()) == {1}, running.log
    for host in ends:
        assert "train" in failure(ends, host)
        assert "no data" in failure(ends, host)


def test_a_bad_row_on_one_host_is_named_on_all(tree: Tree, tmp_path: Path) -> None:
    sharded(fill(tree)).hyperparameters(**BOOSTING)
    with (tree.root / "input/data/train/part-1.csv").open("a") as file:
        file.write("0,1,2,what,4,5,6\n")
    ends, running = run(request(tree, 3), tmp_path / "results")
    assert set(statuses(ends).values()) == {1}, running.log
    for host in ends:
        assert failure(ends, host).startswith("algo-2: ")
        assert "part-1.csv" in failure(ends, host)
        assert "what" in failure(ends, host)


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_a_lost_host_ends_the_job_and_is_named(how: str, tree: Tree, tmp_path: Path) -> None:
    fill(tree).hyperparameters(**LONG)
    with Running(request(tree, 3), tmp_path / "results") as running:
        assert running.wait_for(FIRST_ROUND), running.log
        assert running.send("KILL", "algo-2") if how == "killed" else running.cut_off("algo-2")
        ends = running.ends(60)
    found = statuses(ends)
    assert found.pop("algo-2") == (137 if how == "killed" else 3)
    assert set(found.values()) == {3}, running.log
    for host in found:
        assert failure(ends, host).startswith("Host algo-2 is lost")
    if how == "cut off":
        assert "is lost" in failure(ends, "algo-2")


def test_asked_to_stop_it_keeps_the_model(tree: Tree, tmp_path: Path) -> None:
    fill(tree).hyperparameters(**LONG, save_model_on_termination="true")
    with Running(request(tree, 2), tmp_path / "results") as running:
        assert running.wait_for(FIRST_ROUND), running.log
        assert running.send("TERM", *running.hosts)
        ends = running.ends(60)
    check_success(ends, running)
    root = ends["algo-1"].host.root
    assert model(root)
    manifest = json.loads((root / "model" / "treeline" / "manifest.json").read_text())
    assert manifest["training"]["outcome"] == "terminated"
    assert 0 < manifest["training"]["rounds_trained"] < LONG["num_round"]


def test_stopped_and_started_again_it_ends_with_the_same_model(tree: Tree, tmp_path: Path) -> None:
    many = {**BOOSTING, "num_round": 400, "checkpoint_every": 10}
    fill(tree).hyperparameters(**many)
    ends, running = run(request(tree, 2), tmp_path / "straight")
    check_success(ends, running)
    unbroken = model(ends["algo-1"].host.root)

    (tree.root / "checkpoints").mkdir()
    with Running(request(tree, 2), tmp_path / "first") as running:
        assert running.wait_for(r"^\[30\]"), running.log
        assert running.send("TERM", *running.hosts)
        ends = running.ends(60)
    assert set(statuses(ends).values()) == {143}, running.log
    assert not any(each.host.failure for each in ends.values())

    ends, running = run(request(tree, 2), tmp_path / "second")
    check_success(ends, running)
    assert not running.seen(FIRST_ROUND), "it began anew"
    assert model(ends["algo-1"].host.root) == unbroken
