"""The tree the platform makes, the ones people make, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import Tree

from treeline.errors import ConfigError
from treeline.opt_ml import CHOICES, Paths, _checkpoints, read_job, root_from


def test_root_is_opt_ml_unless_the_platform_says_otherwise() -> None:
    assert root_from({}) == Path("/opt/ml")
    assert root_from({"SAGEMAKER_BASE_DIR": ""}) == Path("/opt/ml")
    assert root_from({"SAGEMAKER_BASE_DIR": "/elsewhere"}) == Path("/elsewhere")


def test_paths_are_the_platforms() -> None:
    paths = Paths(Path("/opt/ml"))
    assert {name: str(getattr(paths, name)) for name in dir(paths) if name[0] != "_"} == {
        "root": "/opt/ml",
        "config": "/opt/ml/input/config",
        "channels": "/opt/ml/input/data",
        "code": "/opt/ml/code",
        "checkpoints": "/opt/ml/checkpoints",
        "model": "/opt/ml/model",
        "output_data": "/opt/ml/output/data",
        "failure": "/opt/ml/output/failure",
    }


def test_an_empty_tree_is_a_job_of_one_host_without_anything(tmp_path: Path) -> None:
    job = read_job(tmp_path / "not-there", {})
    assert (job.hyperparameters, job.channels, job.checkpoints, job.name) == ({}, {}, None, None)
    assert (job.hosts.current, job.hosts.all, job.hosts.network_interface) == (
        "algo-1",
        ("algo-1",),
        None,
    )
    assert not (tmp_path / "not-there").exists()


def test_a_job_as_the_service_writes_it(tree: Tree) -> None:
    entry = {
        "ContentType": "text/csv",
        "TrainingInputMode": "FastFile",
        "S3DistributionType": "ShardedByS3Key",
        "RecordWrapperType": "None",
        "CompressionType": "None",
        "EnableFFM": True,
    }
    tree.config("inputdataconfig", {"validation": entry, "train": {**entry, "ContentType": None}})
    tree.config(
        "resourceconfig",
        {
            "current_host": "algo-2",
            "current_instance_type": "ml.c5.xlarge",
            "hosts": ["algo-2", "algo-10", "algo-1"],
            "instance_groups": [{"hosts": ["algo-1"]}],
            "network_interface_name": "eth0",
            "topology": None,
        },
    )
    tree.config("checkpointconfig", {"S3Uri": "s3://b/p", "LocalPath": "/opt/ml/checkpoints"})
    tree.config("debughookconfig", {"whatever": [1, 2]})
    tree.hyperparameters(num_round=10)

    job = read_job(tree.root, {"TRAINING_JOB_NAME": "job-7"})

    assert job.name == "job-7"
    assert job.hyperparameters == {"num_round": "10"}
    assert job.hosts.all == ("algo-1", "algo-10", "algo-2")
    assert (job.hosts.current, job.hosts.network_interface) == ("algo-2", "eth0")
    assert job.checkpoints == tree.root / "checkpoints"
    channel = job.channels["validation"]
    assert channel.path == tree.root / "input" / "data" / "validation"
    assert (channel.content_type, channel.input_mode) == ("text/csv", "FastFile")
    assert channel.distribution == "ShardedByS3Key"
    assert (channel.compression, channel.record_wrapper) == (None, None)
    assert job.channels["train"].content_type is None


def test_a_compression_that_was_chosen_is_kept(tree: Tree) -> None:
    tree.config("inputdataconfig", {"train": {"CompressionType": "Gzip", "RecordWrapperType": "R"}})
    channel = read_job(tree.root, {}).channels["train"]
    assert (channel.compression, channel.record_wrapper, channel.input_mode) == (
        "Gzip",
        "R",
        "File",
    )


def test_without_a_declaration_the_folders_are_the_channels(tree: Tree) -> None:
    data = tree.root / "input" / "data"
    for folder in ("validation", "train", ".cache"):
        (data / folder).mkdir()
    (data / "README").write_text("a file is no channel")
    assert list(read_job(tree.root, {}).channels) == ["train", "validation"]


def test_a_declaration_counts_even_if_the_folder_is_not_there(tree: Tree) -> None:
    (tree.root / "input" / "data" / "train").mkdir()
    tree.config("inputdataconfig", {"validation": {}})
    assert list(read_job(tree.root, {}).channels) == ["validation"]


def test_hyperparameters_become_text(tree: Tree) -> None:
    values = {"a": "x", "b": 1, "c": 0.5, "d": True, "e": [1, 2], "f": {"g": "h"}, "i": None}
    tree.config("hyperparameters", values)
    assert read_job(tree.root, {}).hyperparameters == {
        "a": "x",
        "b": "1",
        "c": "0.5",
        "d": "true",
        "e": "[1, 2]",
        "f": '{"g": "h"}',
        "i": "null",
    }


@pytest.mark.parametrize("text", ["", " \n", "{}"])
def test_an_empty_file_is_no_file(tree: Tree, text: str) -> None:
    (tree.root / "input/config/hyperparameters.json").write_text(text)
    (tree.root / "input/config/resourceconfig.json").write_text(text)
    job = read_job(tree.root, {})
    assert job.hyperparameters == {}
    assert job.hosts.all == ("algo-1",)


def test_a_byte_order_mark_is_no_mistake(tree: Tree) -> None:
    file = tree.root / "input/config/hyperparameters.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"é": "ü"}).encode())
    assert read_job(tree.root, {}).hyperparameters == {"é": "ü"}


@pytest.mark.parametrize(
    ("local", "under_the_root"),
    [
        ({}, "checkpoints"),
        ({"LocalPath": None}, "checkpoints"),
        ({"LocalPath": ""}, "checkpoints"),
        ({"LocalPath": "/opt/ml/checkpoints/"}, "checkpoints"),
        ({"LocalPath": "/opt/ml/a/b"}, "a/b"),
        ({"LocalPath": "/opt/mlx"}, "/opt/mlx"),
        ({"LocalPath": "/elsewhere"}, "/elsewhere"),
    ],
)
def test_checkpoints_of_a_copied_tree_stand_under_its_root(
    tree: Tree, local: dict[str, object], under_the_root: str
) -> None:
    tree.config("checkpointconfig", {"S3Uri": "s3://b/p", **local})
    assert read_job(tree.root, {}).checkpoints == tree.root / under_the_root


def test_checkpoints_stand_where_the_platform_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, object] = {"LocalPath": "/opt/ml/kept"}
    monkeypatch.setattr("treeline.opt_ml._read_object", lambda file: said)
    paths = Paths(Path("/opt/ml"))
    assert _checkpoints(paths) == Path("/opt/ml/kept")
    said.clear()
    assert _checkpoints(paths) == Path("/opt/ml/checkpoints")


def test_a_folder_that_a_person_made_asks_for_checkpoints(tree: Tree) -> None:
    folder = tree.root / "checkpoints"
    folder.touch()
    assert read_job(tree.root, {}).checkpoints is None
    folder.unlink()
    folder.mkdir()
    assert read_job(tree.root, {}).checkpoints == folder
    tree.config("checkpointconfig", {"LocalPath": "/opt/ml/other"})
    assert read_job(tree.root, {}).checkpoints == tree.root / "other"


@pytest.mark.parametrize("hosts", [None, [], ["algo-1"]])
def test_hosts_left_out_are_the_current_one(tree: Tree, hosts: object) -> None:
    tree.config("resourceconfig", {"current_host": "algo-1", "hosts": hosts})
    assert read_job(tree.root, {}).hosts.all == ("algo-1",)


@pytest.mark.parametrize(
    ("file", "text", "found", "remedy"),
    [
        ("hyperparameters", '{"a": 1,}', "not JSON", "Write one JSON object"),
        ("hyperparameters", "[1]", "holds a list, not a JSON object", "Wrap it in { }"),
        ("hyperparameters", '"x"', "holds text", "Wrap it"),
        ("hyperparameters", "3", "holds a number", "Wrap it"),
        ("hyperparameters", "null", "holds null", "Wrap it"),
        ("hyperparameters", "true", "holds true or false", "Wrap it"),
        ("inputdataconfig", '{"train": 5}', "channel 'train' is a number", '"ContentType"'),
        ("inputdataconfig", '{"train": {"ContentType": 5}}', "'ContentType' is a number", "Quote"),
        (
            "inputdataconfig",
            '{"train": {"TrainingInputMode": []}}',
            "'TrainingInputMode' is a list",
            "Quote",
        ),
        ("resourceconfig", '{"hosts": "algo-1"}', "'hosts' is 'algo-1'", '"hosts": ["algo-1"]'),
        ("resourceconfig", '{"hosts": [1]}', "'hosts' is [1]", '"hosts": ["algo-1"]'),
        (
            "resourceconfig",
            '{"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]}',
            "current_host 'algo-3' is not one of the hosts ['algo-1', 'algo-2']",
            "Add it to 'hosts'",
        ),
        ("checkpointconfig", '{"LocalPath": {}}', "'LocalPath' is an object", "Quote"),
        (
            "checkpointconfig",
            '{"LocalPath": "ck"}',
            "'LocalPath' is 'ck', not an absolute path",
            'Write it as "/opt/ml/checkpoints"',
        ),
    ],
)
def test_what_is_wrong_is_named(tree: Tree, file: str, text: str, found: str, remedy: str) -> None:
    path = tree.root / "input" / "config" / f"{file}.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_job(tree.root, {})
    assert caught.value.cause.startswith(f"{path}: ")
    assert found in caught.value.cause
    assert remedy in caught.value.remedy


def test_the_place_of_a_syntax_error_is_named(tree: Tree) -> None:
    (tree.root / "input/config/hyperparameters.json").write_text('{\n "a" 1}')
    with pytest.raises(ConfigError, match="line 2 column 6"):
        read_job(tree.root, {})


def test_a_file_that_cannot_be_read_is_named(tree: Tree) -> None:
    (tree.root / "input/config/hyperparameters.json").mkdir()
    with pytest.raises(ConfigError, match=r"hyperparameters\.json: cannot be read: .*directory"):
        read_job(tree.root, {})
    (tree.root / "input/config/hyperparameters.json").rmdir()
    (tree.root / "input/config/hyperparameters.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ConfigError, match=r"hyperparameters\.json: cannot be read: .*utf-8"):
        read_job(tree.root, {})


def test_the_choices_of_the_rapids_example(tree: Tree) -> None:
    environ = {
        "AWS_ALGORITHM_CHOICE": " XGBoost ",
        "AWS_CV_FOLDS": "",
        "AWS_DATASET_DIRECTORY": "  ",
        "AWS_REGION": "us-east-1",
        "CLOUD_PATH": "/opt/ml/code",
    }
    assert read_job(tree.root, environ).choices == {"AWS_ALGORITHM_CHOICE": "XGBoost"}
    environ = {name: str(i) for i, name in enumerate(CHOICES)}
    assert read_job(tree.root, environ).choices == environ
    assert read_job(tree.root, {}).choices == {}
