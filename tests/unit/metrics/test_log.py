"""The log line, byte for byte, and the expressions that read it back."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline.errors import PlatformError
from treeline.metrics.log import (
    DEFINITIONS_LIMIT,
    FILE_NAME,
    MetricLog,
    definitions,
    final_score_line,
    means,
    number,
    round_line,
    spread_line,
    spreads,
)
from treeline.metrics.names import METRICS

NAMES = [
    "rmse", "map", "map@10-", "mape", "ndcg", "ndcg@5", "ndcg-", "error", "error@0.7", "ams@0.15",
    "tweedie-nloglik@1.5", "interval-regression-accuracy", "f1", "f1_binary",
]  # fmt: skip


def regex(name: str) -> re.Pattern[str]:
    (definition,) = definitions([name])
    assert definition["Name"] == name
    return re.compile(definition["Regex"])


def found(name: str, line: str) -> str | None:
    """Return the number that the platform finds in ``line``."""
    match = regex(name).search(line)
    return match[1] if match else None


def as_shown(line: str) -> str:
    """Return ``line`` as the platform's log shows it."""
    return line.replace("\t", "#011")


def test_the_line_is_byte_exact() -> None:
    scores = {"train": {"rmse": 0.5, "mae": 12.3456789}, "validation": {"rmse": -1e-9, "mae": 1e10}}
    assert round_line(0, scores) == (
        "[0]\ttrain-rmse:0.50000\ttrain-mae:12.34568"
        "\tvalidation-rmse:-0.00000\tvalidation-mae:10000000000.00000"
    )
    assert round_line(1234, {"train": {"f1": math.nan, "auc": math.inf}}) == (
        "[1234]\ttrain-f1:nan\ttrain-auc:inf"
    )
    assert round_line(3, {}) == "[3]"


def test_the_line_is_the_one_xgboost_prints() -> None:
    printed: list[str] = []
    results: dict[str, Any] = {}
    rng = np.random.default_rng(1)
    data = {
        name: xgb.DMatrix(rng.random((30, 2)), rng.random(30)) for name in ("train", "validation")
    }
    xgb.train(
        {"eval_metric": ["rmse", "mae", "error@0.7", "mape"], "nthread": 1},
        data["train"],
        12,
        evals=[(matrix, name) for name, matrix in data.items()],
        evals_result=results,
        verbose_eval=False,
        callbacks=[xgb.callback.EvaluationMonitor(logger=printed.append)],
    )
    ours = [
        round_line(i, {d: {m: v[i] for m, v in s.items()} for d, s in results.items()}) + "\n"
        for i in range(12)
    ]
    assert ours == printed


@pytest.mark.parametrize("shown", [str, as_shown], ids=["tab", "#011"])
@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_read_back_and_no_other(name: str, shown: Any) -> None:
    scores = {
        data: {metric: start + i + 0.25 for i, metric in enumerate(NAMES)}
        for data, start in (("train", 100), ("validation", 200))
    }
    line = shown(round_line(17, scores))
    assert found(f"train:{name}", line) == f"{scores['train'][name]:.5f}"
    assert found(f"validation:{name}", line) == f"{scores['validation'][name]:.5f}"
    others = {d: {m: v for m, v in s.items() if m != name} for d, s in scores.items()}
    assert found(f"train:{name}", shown(round_line(17, others))) is None
    only_train = {"train": scores["train"]}
    assert found(f"validation:{name}", shown(round_line(17, only_train))) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.12346", "0.12346"),
        ("-0.50000", "-0.50000"),
        ("+1", "+1"),
        (".5", ".5"),
        ("12", "12"),
        ("1e-05", "1e-05"),
        ("-1.5E+10", "-1.5E+10"),
        ("nan", None),
        ("-nan", None),
        ("inf", None),
        ("-inf", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("gap", ["\t", "#011"])
def test_the_first_group_is_the_number(text: str, value: str | None, gap: str) -> None:
    line = f"[3]{gap}train-rmse:9.0{gap}validation-rmse:{text}{gap}validation-mae:8.0"
    assert found("validation:rmse", line) == value
    assert regex("validation:rmse").groups == 1


def test_a_line_of_something_else_is_not_read() -> None:
    for line in (
        "validation-rmse:0.5",
        "[x]\tvalidation-rmse:0.5",
        "[3] validation-rmse:0.5",
        "[3]\tmy-validation-rmse:0.5",
        "[3]\tvalidation-rmse-x:0.5",
        "[3]\tvalidation-rmse 0.5",
    ):
        assert found("validation:rmse", line) is None


def test_a_dot_in_a_name_is_a_dot() -> None:
    assert found("train:error@0.7", "[0]\ttrain-error@0.7:0.5") == "0.5"
    assert found("train:error@0.7", "[0]\ttrain-error@0x7:0.5") is None


def test_a_prefix_of_the_platforms_log_does_no_harm() -> None:
    assert found("train:auc", "2024-05-01 10:00:00 algo-1 [12]#011train-auc:0.75000") == "0.75000"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.30000000000000004"),
        (-3.0, "-3.0"),
        (1e-07, "1e-07"),
        (123456789012345680.0, "1.2345678901234568e+17"),
        (np.float64(0.25), "0.25"),
    ],
)
def test_the_final_score_is_exact(value: float, text: str) -> None:
    line = final_score_line(value)
    assert line == f"final-score: {text};"
    assert found("final-score", line) == text
    assert float(text) == value


def test_a_final_score_that_is_no_number_is_not_read() -> None:
    assert found("final-score", final_score_line(math.nan)) is None
    assert found("final-score", final_score_line(-math.inf)) is None


def test_definitions_are_within_the_platforms_limits() -> None:
    """API reference, MetricDefinition: Name 1 to 255 characters, Regex 1 to 500."""
    assert DEFINITIONS_LIMIT == 40
    names = [
        f"{data}:{metric}" for data in ("train", "validation") for metric in (*METRICS, *NAMES)
    ]
    for definition in definitions(["final-score", *names]):
        assert set(definition) == {"Name", "Regex"}
        assert 1 <= len(definition["Name"]) <= 255
        assert 1 <= len(definition["Regex"]) <= 500
        assert "\t" not in definition["Regex"]  # JSON and forms lose a raw one
        re.compile(definition["Regex"])


def test_definitions_differ_from_the_built_in_images_only_in_taking_a_tab_too() -> None:
    built_in = r".*\[[0-9]+\].*#011train-mae:([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?).*"
    assert regex("train:mae").pattern == built_in.replace("#011", r"(?:#011|\t)")


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"not strict JSON: {constant}")

    return json.loads(text, parse_constant=refuse)


def test_the_file_has_a_line_a_round_in_full_precision_at_once(tmp_path: Path) -> None:
    printed: list[str] = []
    log = MetricLog(printed.append, tmp_path / "output" / "data")
    file = tmp_path / "output" / "data" / FILE_NAME
    log.round(0, {"train": {"rmse": 1 / 3}})
    assert strict(file.read_text()) == {"round": 0, "scores": {"train": {"rmse": 1 / 3}}}
    log.round(1, {"train": {"rmse": np.float64(0.25)}})
    log.final(0, {"train": {"rmse": 1 / 3}}, "train:rmse", 1 / 3)
    log.close()
    assert [strict(line) for line in file.read_text().splitlines()] == [
        {"round": 0, "scores": {"train": {"rmse": 1 / 3}}},
        {"round": 1, "scores": {"train": {"rmse": 0.25}}},
        {
            "round": 0,
            "scores": {"train": {"rmse": 1 / 3}},
            "final": True,
            "objective_metric": "train:rmse",
            "final_score": 1 / 3,
        },
    ]
    assert printed == [
        "[0]\ttrain-rmse:0.33333",
        "[1]\ttrain-rmse:0.25000",
        "[0]\ttrain-rmse:0.33333",
        "final-score: 0.3333333333333333;",
    ]


def test_the_file_is_strict_json_whatever_the_scores(tmp_path: Path) -> None:
    log = MetricLog(lambda line: None, tmp_path)
    log.round(0, {"train": {"a": math.nan, "b": math.inf, "c": -math.inf}})
    log.final(0, {"train": {"a": math.nan}}, "train:a", math.nan)
    log.close()
    first, last = (strict(line) for line in (tmp_path / FILE_NAME).read_text().splitlines())
    assert first["scores"] == {"train": {"a": "nan", "b": "inf", "c": "-inf"}}
    assert last["final_score"] == "nan"


def test_the_file_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("old\n" * 100)
    MetricLog(print, tmp_path).close()
    assert (tmp_path / FILE_NAME).read_text() == ""


def test_number() -> None:
    assert number(0.5) == 0.5
    assert [number(v) for v in (math.nan, math.inf, -math.inf)] == ["nan", "inf", "-inf"]


def test_a_folder_that_cannot_be_written_is_the_platforms_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(PlatformError, match=r"data/metrics\.jsonl could not be written") as caught:
        MetricLog(print, tmp_path / "data")
    assert "free space" in caught.value.remedy


def test_a_full_disk_is_the_platforms_error(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).symlink_to("/dev/full")
    log = MetricLog(lambda line: None, tmp_path)
    with pytest.raises(PlatformError, match="No space left on device"):
        log.round(0, {"train": {"rmse": 0.5}})
    with pytest.raises(PlatformError, match="No space left on device"):
        log.close()


def folds(*values: float) -> dict[int, dict[str, dict[str, float]]]:
    return {i: {"train": {"rmse": v / 2}, "validation": {"rmse": v}} for i, v in enumerate(values)}


def test_a_round_of_folds_has_a_line_each_and_then_their_mean(tmp_path: Path) -> None:
    lines: list[str] = []
    log = MetricLog(lines.append, tmp_path)
    log.folds(7, folds(1.0, 2.0), whole=True)
    log.folds(8, {1: folds(1.0, 2.0)[1]}, whole=False)
    log.close()
    assert lines == [
        "[7]\ttrain-rmse:0.50000\tvalidation-rmse:1.00000\tfold:0",
        "[7]\ttrain-rmse:1.00000\tvalidation-rmse:2.00000\tfold:1",
        "[7]\ttrain-rmse:0.75000\tvalidation-rmse:1.50000\tmean-of-folds:0,1",
        "[8]\ttrain-rmse:1.00000\tvalidation-rmse:2.00000\tfold:1",
    ]
    (definition,) = definitions(["validation:rmse"])
    assert [re.search(definition["Regex"], line)[1] for line in lines] == [  # type: ignore[index]
        "1.00000", "2.00000", "1.50000", "2.00000",
    ]  # fmt: skip
    entries = [json.loads(line) for line in (tmp_path / FILE_NAME).read_text().splitlines()]
    assert [(e["round"], e.get("fold"), e.get("folds")) for e in entries] == [
        (7, 0, None), (7, 1, None), (7, None, [0, 1]), (8, 1, None),
    ]  # fmt: skip


def test_what_all_folds_found_ends_with_the_means(tmp_path: Path) -> None:
    lines: list[str] = []
    log = MetricLog(lines.append, tmp_path)
    found = spreads(list(folds(1.0, 2.0, 6.0).values()))
    log.validated(9, found, "validation:rmse", means(found)["validation"]["rmse"])
    log.close()
    assert lines == [
        "cross-validation: train-rmse 1.50000, standard deviation 1.08012, over 3 folds: "
        "0.50000 1.00000 3.00000",
        "cross-validation: validation-rmse 3.00000, standard deviation 2.16025, over 3 folds: "
        "1.00000 2.00000 6.00000",
        "[9]\ttrain-rmse:1.50000\tvalidation-rmse:3.00000",
        "final-score: 3.0;",
    ]
    (definition,) = definitions(["validation:rmse"])
    assert [line for line in lines if re.search(definition["Regex"], line)] == lines[2:3]


def test_a_single_fold_has_no_deviation() -> None:
    (spread,) = spreads([folds(2.5)[0]])["validation"].values()
    line = spread_line("validation-rmse", spread)
    assert line == "cross-validation: validation-rmse 2.50000, of 1 fold"


def test_a_fold_without_a_number_makes_the_mean_none() -> None:
    (spread,) = spreads([{"validation": {"auc": v}} for v in (0.5, float("nan"))])[
        "validation"
    ].values()
    assert spread.mean != spread.mean
    assert spread.deviation != spread.deviation
