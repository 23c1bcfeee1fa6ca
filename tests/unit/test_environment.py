"""The RAPIDS example's variables: what each stands for, and that a hyperparameter wins."""

from __future__ import annotations

import pytest

from treeline.compute import PATHS
from treeline.errors import HyperparameterError
from treeline.hyperparameters import parse
from treeline.hyperparameters.config import Folds, Forest
from treeline.opt_ml import CHOICES

ALGORITHM = "AWS_ALGORITHM_CHOICE"
WORKFLOW = "AWS_ML_WORKFLOW_CHOICE"
FOLDS = "AWS_CV_FOLDS"
DATA = "AWS_DATASET_DIRECTORY"
ROUND = {"num_round": "5"}


def refused(values: dict[str, str], choices: dict[str, str]) -> HyperparameterError:
    with pytest.raises(HyperparameterError) as caught:
        parse(values, choices)
    assert caught.value.cause.isprintable()
    return caught.value


def lines(said: tuple[str, ...], start: str) -> list[str]:
    return [line for line in said if line.startswith(start)]


def test_without_a_variable_nothing_is_set() -> None:
    assert parse(ROUND, {}) == parse(ROUND)
    assert parse(ROUND).notes == parse(ROUND).warnings == ()


# Each variable alone: what it says, and the hyperparameter as which it is taken.
@pytest.mark.parametrize(
    ("variable", "text", "taken"),
    [
        (ALGORITHM, "XGBoost", "algorithm=xgboost"),
        (ALGORITHM, "RANDOMFOREST", "algorithm=random_forest"),
        (WORKFLOW, "singleCPU", "compute=singleCPU"),
        (WORKFLOW, "MLWorkflowMultiGPU.py", "compute=multiGPU"),
        (WORKFLOW, "multicpu", "compute=multiCPU"),
        (WORKFLOW, "SINGLEGPU", "compute=singleGPU"),
        (FOLDS, "10", "cv_folds=10"),
        (FOLDS, "1", "cv_folds=1"),
        (DATA, "1_year", "dataset_preset=airline"),
        (DATA, "3_YEAR", "dataset_preset=airline"),
        (DATA, "10_year", "dataset_preset=airline"),
        (DATA, "NYC_Taxi", "dataset_preset=nyc_taxi"),
    ],
)
def test_each_variable_alone(variable: str, text: str, taken: str) -> None:
    config = parse(ROUND, {variable: text})
    name, _, value = taken.partition("=")
    assert config.given[name] == value
    said = f"taken from the environment: {variable}={text} as {taken}"
    assert lines(config.notes, "taken") == [said]
    assert lines(config.warnings, "taken") == []
    same = parse({**config.given})
    assert (same.algorithm, same.compute, same.cv, same.data, same.objective) == (
        config.algorithm, config.compute, config.cv, config.data, config.objective,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        (ALGORITHM, "KMeans", "[XGBoost, RandomForest]"),
        (ALGORITHM, "xgb", "[XGBoost, RandomForest]"),
        (WORKFLOW, "GPU", f"[{', '.join(PATHS)}]"),
        (WORKFLOW, "singleCPU or multiCPU", f"[{', '.join(PATHS)}]"),
        (FOLDS, "0", "[1, +inf)"),
        (FOLDS, "3.0", "[1, +inf)"),
        (FOLDS, "three", "[1, +inf)"),
    ],
)
def test_a_bad_value_names_the_variable(variable: str, text: str, allowed: str) -> None:
    error = refused(ROUND, {variable: text})
    assert error.cause == f"Environment variable {variable}: found {text!r}, allowed {allowed}"
    assert error.remedy == (
        "Correct it in the environment of the image or of the job; docs/rapids.md lists every "
        "name with what it takes."
    )


def test_bad_values_are_reported_with_all_others() -> None:
    error = refused({"eta": "2"}, {ALGORITHM: "KMeans", FOLDS: "0"})
    assert error.cause == (
        "3 problems with the hyperparameters: "
        f"(1) environment variable {ALGORITHM}: found 'KMeans', allowed [XGBoost, RandomForest]; "
        f"(2) environment variable {FOLDS}: found '0', allowed [1, +inf); "
        "(3) eta: found '2', allowed [0, 1]"
    )
    assert "hyperparameters of the training job" in error.remedy
    assert "variables in the environment of the image" in error.remedy


def test_a_variable_among_the_hyperparameters_is_none() -> None:
    error = refused({**ROUND, FOLDS: "3"}, {})
    assert error.cause.startswith(f"Hyperparameter {FOLDS}: found '3', no such hyperparameter")


# What hangs on the choice that is wrong is no second problem.
@pytest.mark.parametrize(
    ("given", "variable", "text"),
    [
        ({}, ALGORITHM, "KMeans"),  # which would bring num_round
        ({"eval_metric": "auc"}, ALGORITHM, "KMeans"),  # and an objective that auc suits
        ({"num_class": "3"}, ALGORITHM, "KMeans"),
        ({**ROUND, "refit": "false"}, FOLDS, "0"),
        ({**ROUND, "device": "cuda", "compute": "auto"}, FOLDS, "0"),
        ({**ROUND, "tree_method": "exact"}, WORKFLOW, "GPU"),
    ],
)
def test_what_follows_from_a_bad_value_is_not_reported(
    given: dict[str, str], variable: str, text: str
) -> None:
    assert refused(given, {variable: text}).cause.startswith(f"Environment variable {variable}: ")


def test_what_does_not_follow_from_a_bad_value_is_reported() -> None:
    given = {"objective": "reg:squarederror", "eval_metric": "auc"}
    error = refused(given, {ALGORITHM: "KMeans"})
    assert error.cause.startswith("2 problems")
    assert "eval_metric: found 'auc'" in error.cause


# A hyperparameter wins; it is said where the two differ.
@pytest.mark.parametrize(
    ("given", "variable", "text", "overridden"),
    [
        ({"algorithm": "xgboost"}, ALGORITHM, "RandomForest", True),
        ({"algorithm": "xgboost"}, ALGORITHM, "KMeans", True),
        ({"algorithm": '"xgboost"'}, ALGORITHM, "XGBoost", False),
        ({"compute": "singleCPU"}, WORKFLOW, "multiGPU", True),
        ({"compute": "singleCPU"}, WORKFLOW, "singlecpu", False),
        ({"compute": "auto"}, WORKFLOW, "nothing", True),
        ({"device": "cuda"}, WORKFLOW, "singleCPU", True),
        ({"use_dask_gpu_training": "true"}, WORKFLOW, "singleCPU", True),
        ({"cv_folds": "3"}, FOLDS, "10", True),
        ({"cv_folds": "3"}, FOLDS, "03", False),
        ({"_kfold": "3"}, FOLDS, "10", True),
        ({"_kfold": "3"}, FOLDS, "3", False),
        ({"dataset_preset": "none"}, DATA, "1_year", True),
        ({"dataset_preset": "airline"}, DATA, "3_year", False),
        ({"dataset_preset": "airline"}, DATA, "my_data", True),
    ],
)
def test_a_hyperparameter_wins(
    given: dict[str, str], variable: str, text: str, overridden: bool
) -> None:
    config = parse({**ROUND, **given}, {variable: text})
    alone = parse({**ROUND, **given})
    assert (config.algorithm, config.compute, config.cv, config.data) == (
        alone.algorithm, alone.compute, alone.cv, alone.data,
    )  # fmt: skip
    [(name, value)] = given.items()
    said = lines(config.warnings, f"{variable}=")
    assert said == [f"{variable}={text} is overridden by {name}={value}"] * overridden


def test_an_overridden_algorithm_brings_no_defaults() -> None:
    config = parse({**ROUND, "algorithm": "xgboost"}, {ALGORITHM: "RandomForest"})
    assert config.booster == parse(ROUND).booster


def test_data_of_ones_own() -> None:
    config = parse(ROUND, {DATA: "my_data"})
    assert config.data == parse(ROUND).data
    [line] = config.warnings
    assert line == (
        f"{DATA}='my_data' is none of 1_year, 3_year, 10_year, nyc_taxi, so it sets no "
        "dataset_preset"
    )


def test_the_defaults_of_boosting() -> None:
    config = parse({}, {ALGORITHM: "XGBoost"})
    assert (config.algorithm, config.num_round) == ("xgboost", 10)
    assert config.booster == {
        "objective": "binary:logistic", "seed": 0, "seed_per_iteration": 1, "max_depth": 5,
        "eta": 0.3,
    }  # fmt: skip
    assert config.objective_metric == "accuracy"
    assert config.warnings == ()
    assert config.notes[-1] == (
        f"defaults that come with {ALGORITHM}=XGBoost: objective=binary:logistic, num_round=10, "
        "max_depth=5, eta=0.3, objective_metric=accuracy"
    )


def test_the_defaults_of_a_forest() -> None:
    config = parse({}, {ALGORITHM: "RandomForest"})
    assert config.algorithm == "random_forest"
    assert config.objective == "binary:logistic"
    assert config.forest == Forest(n_estimators=10, max_features=1.0, max_depth=5)
    assert config.objective_metric == "accuracy"


def test_defaults_fill_gaps_only() -> None:
    given = {
        "num_boost_round": "200", "max_depth": "12", "learning_rate": "0.1",
        "objective": "reg:squarederror",
    }  # fmt: skip
    config = parse(given, {ALGORITHM: "xgboost"})
    assert config.num_round == 200
    assert config.booster["max_depth"] == 12
    assert config.booster["eta"] == 0.1
    assert config.objective == "reg:squarederror"
    assert config.objective_metric is None  # accuracy is of classes
    assert lines(config.notes, "defaults") == []


@pytest.mark.parametrize(
    ("given", "followed"),
    [
        ({"eval_metric": "auc"}, "auc"),
        ({"objective_metric": "auc"}, "auc"),
        ({"_tuning_objective_metric": "validation:auc"}, "auc"),
        ({"_tuning_objective_metric": "final-score"}, "accuracy"),
    ],
)
def test_final_score_is_accuracy_unless_a_metric_is_named(
    given: dict[str, str], followed: str
) -> None:
    """The example's tuner maximizes final-score; logloss there would tune for the worst model."""
    assert parse(given, {ALGORITHM: "XGBoost"}).objective_metric == followed


def test_the_hyperparameters_of_the_example_all_arrive() -> None:
    given = {
        "max_depth": "7", "num_boost_round": "120", "subsample": "0.8", "learning_rate": "0.2",
        "reg_lambda": "2", "gamma": "0.5", "alpha": "0.1", "seed": "4",
    }  # fmt: skip
    config = parse(given, {ALGORITHM: "XGBoost"})
    assert config.num_round == 120
    assert config.booster == {
        "max_depth": 7, "subsample": 0.8, "eta": 0.2, "lambda": 2.0, "gamma": 0.5, "alpha": 0.1,
        "seed": 4, "seed_per_iteration": 1, "objective": "binary:logistic",
    }  # fmt: skip
    forest = {
        "max_depth": "9", "n_estimators": "300", "max_features": "0.5", "n_bins": "64.0",
        "bootstrap": "False", "random_state": "3",
    }  # fmt: skip
    config = parse(forest, {ALGORITHM: "RandomForest"})
    assert config.forest == Forest(
        n_estimators=300, max_depth=9, max_features=0.5, n_bins=64, bootstrap=False
    )
    assert config.seed == 3


def test_all_four_together() -> None:
    config = parse({}, {DATA: "10_year", ALGORITHM: "XGBoost", WORKFLOW: "singleCPU", FOLDS: "3"})
    assert config.cv == Folds(3, 1, "auto", True, False, False)
    assert config.compute == "singleCPU"
    assert config.data.label_column == "ArrDel15"
    [line] = lines(config.notes, "taken")
    assert [name for name in config.notes if name.startswith("dataset_preset=airline stands")]
    assert [line for line in config.warnings if "AirTime" not in line] == []
    assert all(name in line for name in CHOICES)
