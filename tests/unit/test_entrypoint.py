"""Which program a container runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import Tree

from treeline import entrypoint
from treeline.entrypoint import is_users_program

OURS = (Path(__file__).parents[2] / "container" / "train.py").read_text()


def put(tree: Tree, name: str, text: str) -> None:
    (tree.root / "code").mkdir(exist_ok=True)
    (tree.root / "code" / name).write_text(text)


def test_a_tree_without_code_is_the_default_job(tree: Tree) -> None:
    tree.hyperparameters(num_round=3)
    assert not is_users_program(tree.root, {"SAGEMAKER_PROGRAM": "train.py"})
    assert not is_users_program(tree.root, {})


def test_the_images_own_train_py_is_the_default_job(tree: Tree) -> None:
    put(tree, "train.py", OURS)
    assert not is_users_program(tree.root, {"SAGEMAKER_PROGRAM": "train.py"})


def test_a_train_py_of_the_users_is_the_users(tree: Tree) -> None:
    put(tree, "train.py", "print('mine')")
    assert is_users_program(tree.root, {"SAGEMAKER_PROGRAM": "train.py"})


@pytest.mark.parametrize("name", ["sagemaker_program", "sagemaker_submit_directory"])
@pytest.mark.parametrize("value", ["mine.py", '"mine.py"'])
def test_a_hyperparameter_names_the_users_program(name: str, value: str, tree: Tree) -> None:
    tree.hyperparameters(**{name: value})
    assert is_users_program(tree.root, {"SAGEMAKER_PROGRAM": "train.py"})


@pytest.mark.parametrize(
    "environ",
    [
        {"SAGEMAKER_PROGRAM": "mine.py"},
        {"SAGEMAKER_TRAINING_MODULE": "package.module:main"},
        {"SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/code.tar.gz"},
    ],
)
def test_a_variable_names_the_users_program(environ: dict[str, str], tree: Tree) -> None:
    assert is_users_program(tree.root, environ)


def test_a_broken_file_is_left_to_the_default_job_to_report(tree: Tree) -> None:
    (tree.root / "input" / "config" / "hyperparameters.json").write_text("{")
    assert not is_users_program(tree.root, {})


def test_an_unknown_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert entrypoint.main(["no-such-command"], {}) == 127
    assert "'no-such-command' cannot be run" in capsys.readouterr().err


def test_serving_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert entrypoint.main(["serve"], {}) == 1
    assert "does not serve" in capsys.readouterr().err
