"""What a random forest is asked for: all of it has an effect, or is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from treeline.errors import HyperparameterError
from treeline.hyperparameters import Config, parse
from treeline.hyperparameters.config import Forest
from treeline.metrics import computed
from treeline.metrics.names import METRICS

FOREST = {"algorithm": "random_forest"}
BINARY = {**FOREST, "objective": "binary:logistic"}
NUMBERS = {**FOREST, "objective": "reg:squarederror"}
OBJECTIVES = "binary:logistic, multi:softprob, multi:softmax, reg:squarederror"


def cause(values: dict[str, str], **more: str) -> str:
    with pytest.raises(HyperparameterError) as caught:
        parse({**values, **more})
    return caught.value.cause


def test_the_objective_has_to_be_said() -> None:
    assert cause(FOREST) == (
        f"Hyperparameter objective: missing, allowed {OBJECTIVES}; required by "
        "algorithm=random_forest"
    )


@pytest.mark.parametrize(
    "more",
    [
        {"objective": "binary:logistic"},
        {"objective": "multi:softprob", "num_class": "3"},
        {"objective": "multi:softmax", "num_class": "3"},
        {"objective": "reg:squarederror"},
        {"objective": "reg:linear"},
    ],
)
def test_what_a_forest_learns(more: dict[str, str]) -> None:
    for engine in ("sklearn", "xgboost"):
        config = parse({**FOREST, **more, "forest_engine": engine})
        assert config.forest == Forest(engine=engine)


@pytest.mark.parametrize(
    ("objective", "hint"),
    [
        ("reg:absoluteerror", "criterion=absolute_error"),
        ("count:poisson", "criterion=poisson"),
        ("binary:hinge", ""),
        ("rank:ndcg", ""),
    ],
)
def test_what_a_forest_does_not_learn(objective: str, hint: str) -> None:
    found = cause(FOREST, objective=objective)
    assert f"objective: found '{objective}', allowed {OBJECTIVES}" in found
    assert hint in found


def test_all_that_a_forest_reads() -> None:
    config = parse(
        {
            **NUMBERS,
            "n_estimators": "7",
            "max_features": "0.5",
            "n_bins": "64",
            "bootstrap": "false",
            "min_samples_split": "4",
            "min_samples_leaf": "3",
            "criterion": "absolute_error",
            "max_depth": "0",
            "max_leaves": "9",
            "random_state": "11",
            "n_jobs": "2",
        }
    )
    assert config.forest == Forest(
        7, "sklearn", 0.5, 64, False, 4, 3, "absolute_error", max_depth=0, max_leaves=9
    )
    assert (config.seed, config.nthread, config.warnings) == (11, 2, ())


CRITERIA = [
    ("sklearn", BINARY, ("gini", "entropy", "log_loss")),
    ("sklearn", NUMBERS, ("squared_error", "absolute_error", "poisson", "friedman_mse")),
    ("xgboost", BINARY, ("gini",)),
    ("xgboost", NUMBERS, ("squared_error", "friedman_mse")),
]


@pytest.mark.parametrize(("engine", "values", "allowed"), CRITERIA)
def test_criteria_fit_the_task_and_the_engine(
    engine: str, values: dict[str, str], allowed: tuple[str, ...]
) -> None:
    every = {criterion for _, _, criteria in CRITERIA for criterion in criteria}
    asked = {**values, "forest_engine": engine}
    for criterion in every:
        if criterion in allowed:
            parse({**asked, "criterion": criterion})
        else:
            found = cause(asked, criterion=criterion)
            assert "criterion: found" in found
            assert f"objective={values['objective']} and forest_engine={engine}" in found


def test_an_old_criterion_is_read_as_what_it_always_was() -> None:
    config = parse({**NUMBERS, "criterion": "friedman_mse"})
    assert config.forest.criterion == "squared_error"
    assert config.warnings == ("criterion=friedman_mse has always been squared_error in a forest",)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"early_stopping_rounds": "5"}, "early_stopping_rounds: found '5', allowed nothing"),
        ({"base_margin_column": "m"}, "base_margin_column: found '[\"m\"]', allowed nothing"),
        ({"max_leaves": "1"}, "max_leaves: found '1', allowed 0, or [2, +inf)"),
        ({"external_memory": "true"}, "external_memory: found 'true', allowed auto or false"),
        (
            {"eval_metric": "auc,ndcg"},
            "eval_metric: found 'ndcg', allowed metrics such as logloss, error, auc; here "
            "algorithm=random_forest",
        ),
        (
            {"forest_engine": "xgboost", "min_samples_split": "5"},
            "min_samples_split: found '5', allowed 2 with forest_engine=xgboost",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(more: dict[str, str], found: str) -> None:
    assert found in cause(BINARY, **more)
    boosting = {"objective": "binary:logistic", "num_round": "3", **more}
    parse({name: value for name, value in boosting.items() if name != "forest_engine"})


def test_bins_on_disk_are_xgboosts() -> None:
    parse({**BINARY, "forest_engine": "xgboost", "external_memory": "true"})
    parse({**BINARY, "external_memory": "false"})


def test_every_problem_is_told_at_once() -> None:
    found = cause(FOREST, early_stopping_rounds="2", max_leaves="1")
    assert found.startswith("3 problems")


def test_what_only_boosting_reads_is_named() -> None:
    config = parse({**BINARY, "eta": "0.1", "num_round": "5", "max_depth": "4"})
    assert [line.split()[0] for line in config.warnings] == ["eta", "num_round"]
    assert config.forest.max_depth == 4


def test_a_metric_that_is_accepted_can_be_computed_for_a_forest() -> None:
    for more in (
        {"objective": "binary:logistic"},
        {"objective": "multi:softprob", "num_class": "3"},
        {"objective": "reg:squarederror"},
    ):
        for metric in METRICS.values():
            spelled = f"{metric.name}@1.2" if metric.needs_parameter else metric.name
            values = {**more, "eval_metric": spelled}
            if metric.name == "ams":
                values["eval_metric"] = "ams@0.5"
            if _accepted({**values, "num_round": "1"}):
                known = metric.family in computed.COMPUTABLE
                assert _accepted({**FOREST, **values}) == known, metric.name


def _accepted(values: dict[str, str]) -> bool:
    try:
        parse(values)
    except HyperparameterError:
        return False
    return True


def test_boosting_is_told_that_a_forest_would_read_it() -> None:
    config = parse({"num_round": "3", "n_estimators": "9"})
    assert config.warnings == ("n_estimators has no effect here: it needs algorithm=random_forest",)


def test_defaults_are_those_of_the_declarations() -> None:
    config: Config = parse(BINARY)
    assert config.forest == replace(Forest(), engine="sklearn")
