"""What cluster.sh makes of a tree: tried without Docker, in folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from local_test import cluster
from local_test.cluster import LOCAL_MODES, CannotTryError, Ended, Host, Mode, Request
from tests.conftest import Tree

V2, V3 = LOCAL_MODES["v2"], LOCAL_MODES["v3"]
CONFIG = Path("input/config")


@pytest.fixture
def job(tree: Tree) -> Tree:
    for name in ("b.csv", "a.csv", "deep/c.csv", "Z.csv", ".hidden"):
        file = tree.root / "input" / "data" / "train" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    tree.config("hyperparameters", {"num_round": 3, "eta": "0.1", "deep": {"a": 1}})
    return tree.config("resourceconfig", {"current_host": "laptop", "hosts": ["laptop"]})


def prepared(tree: Tree, count: int = 2, **more: Any) -> list[Host]:
    return cluster.prepare(Request(tree.root, count, **more), tree.root / "results")


def config(host: Host, name: str) -> Any:
    return json.loads((host.root / CONFIG / f"{name}.json").read_text())


def inside(host: Host) -> dict[str, tuple[Path, bool]]:
    """What is mounted, by its name in the container."""
    return {str(target): (source, read_only) for source, target, read_only in host.mounts}


def test_hosts_are_sorted_as_the_service_sorts_them() -> None:
    assert cluster.host_names(11)[:3] == ["algo-1", "algo-10", "algo-11"]
    assert cluster.host_names(11)[-1] == "algo-9"


def test_local_mode_counts_them_and_version_2_has_a_suffix_for_all() -> None:
    assert cluster.host_names(11, V3)[-1] == "algo-11"
    names = cluster.host_names(11, V2)
    suffixes = {name.split("-", 2)[2] for name in names}
    assert [name.rsplit("-", 1)[0] for name in names] == cluster.host_names(11, V3)
    assert len(suffixes) == 1
    assert len(suffixes.pop()) == 5


def test_resourceconfig_says_what_the_service_says() -> None:
    assert cluster.resource_config(["algo-1", "algo-2"], "algo-2") == {
        "current_host": "algo-2",
        "current_instance_type": "ml.c5.xlarge",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1", "algo-2"],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "ml.c5.xlarge",
                "hosts": ["algo-1", "algo-2"],
            }
        ],
        "network_interface_name": "eth0",
        "topology": None,
    }


@pytest.mark.parametrize(("mode", "interface"), [(V2, "eth0"), (V3, "ethwe")])
def test_local_mode_says_less(mode: Mode, interface: str) -> None:
    assert cluster.resource_config(["algo-1"], "algo-1", mode) == {
        "current_host": "algo-1",
        "current_instance_type": "local",
        "hosts": ["algo-1"],
        "network_interface_name": interface,
    }
    entry = {"ContentType": "text/csv", "S3DistributionType": "FullyReplicated"}
    assert cluster.input_config({"train": entry}, mode) == {
        "train": {"TrainingInputMode": "File", "ContentType": "text/csv"}
    }


def test_inputdataconfig_keeps_what_the_tree_says_and_adds_what_it_does_not() -> None:
    declared = {"a": {"ContentType": "text/csv"}, "b": {"S3DistributionType": "ShardedByS3Key"}}
    usual = {"TrainingInputMode": "File", "RecordWrapperType": "None"}
    found = cluster.input_config(declared)
    full, part = {"S3DistributionType": "FullyReplicated"}, {"S3DistributionType": "ShardedByS3Key"}
    assert found == {"a": {**usual, **full, "ContentType": "text/csv"}, "b": {**usual, **part}}
    every = cluster.input_config(declared, sharded=True)
    assert every == {"a": {**usual, **part, "ContentType": "text/csv"}, "b": {**usual, **part}}


def test_keys_are_dealt_in_the_order_of_their_bytes() -> None:
    keys = ["b", "a/2", "Z", "a-1", "\u00e9", "a"]
    assert cluster.shards(keys, 2) == [["Z", "a-1", "b"], ["a", "a/2", "\u00e9"]]
    assert cluster.shards(["only"], 3) == [["only"], [], []]


def test_every_host_has_its_own_tree_and_the_same_data(job: Tree) -> None:
    first, second = prepared(job)
    assert [host.name for host in (first, second)] == ["algo-1", "algo-2"]
    for host in (first, second):
        assert config(host, "resourceconfig")["current_host"] == host.name
        texts = {"num_round": "3", "eta": "0.1", "deep": '{"a": 1}'}
        assert config(host, "hyperparameters") == texts
        assert config(host, "inputdataconfig") == cluster.input_config({"train": {}})
        mounts = inside(host)
        data = job.root / "input" / "data" / "train"
        assert mounts["/opt/ml/input"] == (host.root / "input", True)
        assert mounts["/opt/ml/input/data/train"] == (data, True)
        # A read-only folder gets nothing to mount on.
        assert (host.root / "input" / "data" / "train").is_dir()
        assert mounts["/opt/ml/model"] == (host.root / "model", False)
        assert (host.root / "output" / "data").is_dir()
        assert "/opt/ml/checkpoints" not in mounts
        assert "/opt/ml/code" not in mounts
        assert not (host.root / CONFIG / "checkpointconfig.json").exists()


def test_a_sharded_channel_is_dealt(job: Tree) -> None:
    hosts = prepared(job, 3, sharded=True)
    found = []
    for host in hosts:
        folder = host.root / "input" / "data" / "train"
        assert "/opt/ml/input/data/train" not in inside(host)
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert all(file.read_text() == file.relative_to(folder).as_posix() for file in files)
        found.append(sorted(file.relative_to(folder).as_posix() for file in files))
    assert found == [[".hidden", "b.csv"], ["Z.csv", "deep/c.csv"], ["a.csv"]]


def test_fewer_files_than_hosts_leave_some_an_empty_channel(job: Tree) -> None:
    hosts = prepared(job, 7, sharded=True)
    counts = [sum(f.is_file() for f in (h.root / "input/data").rglob("*")) for h in hosts]
    assert counts == [1, 1, 1, 1, 1, 0, 0]
    assert all((host.root / "input/data/train").is_dir() for host in hosts)


def test_a_copy_where_the_disk_has_no_links(job: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    (host,) = prepared(job, 1, sharded=True)
    copied = host.root / "input" / "data" / "train" / "a.csv"
    assert copied.read_text() == "a.csv"
    assert copied.stat().st_nlink == 1


def test_checkpoints_are_one_folder_that_stays(job: Tree) -> None:
    (job.root / "checkpoints").mkdir()
    for host in prepared(job):
        assert inside(host)["/opt/ml/checkpoints"] == (job.root / "checkpoints", False)
        place = config(host, "checkpointconfig")
        assert place["LocalPath"] == "/opt/ml/checkpoints"
        assert place["S3Uri"].startswith("s3://")


def test_checkpoints_are_where_the_request_wants_them(job: Tree) -> None:
    job.config("checkpointconfig", {"LocalPath": "/opt/kept"})
    for host in prepared(job):
        assert inside(host)["/opt/kept"] == (job.root / "checkpoints", False)
        assert config(host, "checkpointconfig")["LocalPath"] == "/opt/kept"


def test_code_is_a_copy_for_each_host(job: Tree) -> None:
    (job.root / "code").mkdir()
    (job.root / "code" / "mine.py").write_text("print()")
    for host in prepared(job):
        folder, read_only = inside(host)["/opt/ml/code"]
        assert (folder, read_only) == (host.root / "code", False)
        assert (folder / "mine.py").read_text() == "print()"


def test_local_mode_shares_model_and_code_and_knows_no_checkpoints(job: Tree) -> None:
    (job.root / "code").mkdir()
    job.config("checkpointconfig", {"LocalPath": "/opt/kept"})
    results = job.root / "results"
    for host in prepared(job, mode=V2):
        mounts = inside(host)
        assert mounts["/opt/ml/model"] == (results / "model", False)
        assert mounts["/opt/ml/code"] == (results / "code", False)
        assert mounts["/opt/ml/output"] == (host.root / "output", False)
        assert "/opt/kept" not in mounts
        assert not (host.root / CONFIG / "checkpointconfig.json").exists()


def test_what_an_earlier_start_left_is_gone(job: Tree) -> None:
    (left,) = prepared(job, 1)
    (left.root / "model" / "old").touch()
    (host,) = prepared(job, 1)
    assert list((host.root / "model").iterdir()) == []


@pytest.mark.parametrize(
    ("entry", "mode", "cause"),
    [
        ({"TrainingInputMode": "Pipe"}, cluster.SERVICE, "Pipe"),
        ({"S3DistributionType": "ShardedByS3Key"}, V3, "ShardedByS3Key"),
    ],
    ids=["pipe", "sharded local mode"],
)
def test_what_cannot_be_tried_is_said_and_nothing_is_touched(
    entry: dict[str, str], mode: Mode, cause: str, job: Tree
) -> None:
    job.config("inputdataconfig", {"train": entry})
    (job.root / "results").mkdir()
    (job.root / "results" / "dear").touch()
    with pytest.raises(CannotTryError, match=f"channel train.*{cause}"):
        prepared(job, mode=mode)
    assert (job.root / "results" / "dear").exists()


def ended(name: str, root: Path, status: int | None, seconds: float, killed: bool = False) -> Ended:
    return Ended(Host(name, root, ()), status, seconds, killed)


def test_the_table_has_every_exit_status_and_why(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "failure").write_text("ValueError: no\nand more")
    fine = tmp_path / "fine"
    rows = [ended("algo-1", fine, 0, 1.0), ended("algo-10", tmp_path, 1, 12.34, killed=True)]
    assert cluster.table([*rows, ended("algo-2", fine, None, 0.5)]).splitlines() == [
        "host     status  seconds",
        "algo-1        0      1.0",
        "algo-10       1     12.3  over its memory; ValueError: no",
        "algo-2     none      0.5",
    ]


def test_the_sdk_believes_the_first_to_end(tmp_path: Path) -> None:
    fast, slow = ended("algo-2", tmp_path, 0, 1.0), ended("algo-1", tmp_path, 1, 2.0)
    assert cluster.local_verdict([slow, fast]).startswith("the SDK would report success: algo-2 ")
    slower = ended("algo-2", tmp_path, 0, 3.0)
    assert cluster.local_verdict([slow, slower]).startswith("the SDK would report failure: algo-1 ")


def test_one_at_a_time_uses_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "remove_abandoned", lambda results: None)
    with cluster.locked(tmp_path / "job"):
        with (
            pytest.raises(CannotTryError, match=r"at work in .*job"),
            cluster.locked(tmp_path / "job"),
        ):
            pass
        with cluster.locked(tmp_path / "another"):
            pass
    with cluster.locked(tmp_path / "job"):
        pass
