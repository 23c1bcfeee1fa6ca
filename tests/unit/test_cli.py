"""The treeline command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Tree

import treeline
from treeline.cli import main
from treeline.metrics.log import DEFINITIONS_LIMIT, final_score_line, round_line


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert main(argv) == 0
    return json.loads(capsys.readouterr().out)


def test_metrics_by_name_match_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("validation:auc", "train:ndcg@5-", "validation:error@0.7", "final-score")
    found = printed(capsys, "metrics", *asked)
    assert [definition["Name"] for definition in found] == list(asked)
    scores = {"train": {"ndcg@5-": 0.25}, "validation": {"auc": 0.5, "error@0.7": 0.125}}
    line = round_line(7, scores)
    values = [
        re.search(definition["Regex"], text)
        for definition, text in zip(found, [line, line, line, final_score_line(0.75)], strict=True)
    ]
    assert [match and match.group(1) for match in values] == [
        "0.50000",
        "0.25000",
        "0.12500",
        "0.75",
    ]


def test_metrics_of_a_job(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.hyperparameters(num_round=1, objective="binary:logistic", eval_metric="auc,error@0.50")
    (tree.root / "input/data/train").mkdir()
    found = printed(capsys, "metrics", "--base-dir", str(tree.root))
    assert [d["Name"] for d in found] == ["final-score", "train:auc", "train:error@0.50"]
    tree.hyperparameters(num_round=1)
    (tree.root / "input/data/validation").mkdir()
    found = printed(capsys, "metrics", "--base-dir", str(tree.root))
    assert [d["Name"] for d in found] == ["final-score", "train:rmse", "validation:rmse"]


def test_metrics_without_a_word_are_as_many_as_a_job_may_have(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = printed(capsys, "metrics")
    assert len(found) <= DEFINITIONS_LIMIT
    names = {definition["Name"] for definition in found}
    assert {"final-score", "validation:rmse", "validation:accuracy", "validation:r2"} <= names


def test_metrics_of_a_job_with_folds(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.hyperparameters(num_round=3, cv_folds=5)
    for channel in ("train", "validation", "test"):
        (tree.root / "input" / "data" / channel).mkdir()
    found = printed(capsys, "metrics", "--base-dir", str(tree.root))
    names = ["train:rmse", "validation:rmse", "holdout:rmse", "test:rmse"]
    assert [d["Name"] for d in found] == ["final-score", *names]
    tree.hyperparameters(num_round=3, _kfold=5)
    found = printed(capsys, "metrics", "--base-dir", str(tree.root))
    assert "holdout:rmse" not in [d["Name"] for d in found]
    assert main(["metrics", *names]) == 0


@pytest.mark.parametrize("name", ["auc", "model:auc", "validation:acc", "validation:"])
def test_an_unknown_metric_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", name]) == 1
    assert repr(name) in capsys.readouterr().err


def test_spec_is_what_create_algorithm_takes(capsys: pytest.CaptureFixture[str]) -> None:
    entries = {entry["Name"]: entry for entry in printed(capsys, "spec")}
    assert len(entries) <= 100
    assert not any(entry["IsRequired"] for entry in entries.values()), "a forest has no num_round"
    assert entries["eta"]["IsTunable"] is True
    for entry in entries.values():
        assert entry["Type"] in {"Integer", "Continuous", "Categorical", "FreeText"}


def test_docs_are_the_file_in_the_repository(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs"]) == 0
    file = Path(__file__).parents[2] / "docs" / "hyperparameters.md"
    assert capsys.readouterr().out == file.read_text()


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m treeline.cli spec | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[\n", "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.strip() == treeline.__version__
