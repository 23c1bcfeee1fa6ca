"""The choices that images made for the RAPIDS SageMaker HPO example have in their environment.

Four variables name the data set, the algorithm, where to train and the folds. Each stands for a
hyperparameter that is not given; one that is given wins. Source of the names, of their values
and of the defaults: rapidsai/cloud-ml-examples, ``aws``. Two things differ: every variable works
without the others, and a value that is not known is a mistake, not a silent default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from treeline import opt_ml
from treeline.compute import PATHS
from treeline.errors import shortened
from treeline.hyperparameters.kinds import Integer, RejectedError, same, unquoted
from treeline.hyperparameters.rules import Problem
from treeline.hyperparameters.table import TABLE
from treeline.metrics.log import FINAL_SCORE

_OBJECTIVE = "binary:logistic"
_METRIC = "accuracy"  # what the example's final-score is, and its tuner maximizes
# The example's defaults for what is not given. It also reads subsample (0.9) and alpha (0), and
# trains without them.
_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "xgboost": {"num_round": "10", "max_depth": "5", "eta": "0.3"},
    "random_forest": {
        "n_estimators": "10",
        "max_depth": "5",
        "max_features": "1.0",
        "bootstrap": "true",
    },
}
_ALGORITHMS = {"xgboost": "xgboost", "randomforest": "random_forest"}
_PRESETS = {"1_year": "airline", "3_year": "airline", "10_year": "airline", "nyc_taxi": "nyc_taxi"}
_OWN_DATA = "none"
_TUNER = "_tuning_objective_metric"


@dataclass(frozen=True)
class _Choice:
    """What a variable stands for. ``read`` returns None for a value that is not allowed."""

    name: str
    allowed: str
    read: Callable[[str], str | None]
    others: tuple[str, ...] = ()  # hyperparameters that say the same as ``name``
    brings: frozenset[str] = frozenset()  # hyperparameters whose defaults depend on the choice


def _algorithm(text: str) -> str | None:
    return _ALGORITHMS.get(text.lower())


def _compute(text: str) -> str | None:
    """Return the path whose name is in ``text``, as in ``MLWorkflowSingleCPU``."""
    found = [path for path in PATHS if path.lower() in text.lower()]
    return found[0] if len(found) == 1 else None


def _folds(text: str) -> str | None:
    try:
        return str(Integer("[1, +inf)").parse(text))
    except RejectedError:
        return None


def _preset(text: str) -> str:
    return _PRESETS.get(text.lower(), _OWN_DATA)


_CHOICES: Mapping[str, _Choice] = {
    opt_ml.DATASET_DIRECTORY: _Choice("dataset_preset", "", _preset),
    opt_ml.ALGORITHM_CHOICE: _Choice(
        "algorithm",
        "[XGBoost, RandomForest]",
        _algorithm,
        brings=frozenset({"objective"}.union(*_DEFAULTS.values())),
    ),
    opt_ml.ML_WORKFLOW_CHOICE: _Choice(
        "compute", f"[{', '.join(PATHS)}]", _compute, ("device", "use_dask_gpu_training")
    ),
    opt_ml.CV_FOLDS: _Choice("cv_folds", "[1, +inf)", _folds, ("_kfold",)),
}


@dataclass(frozen=True)
class Filled:
    """What a person should know of the variables.

    ``notes`` say what was taken and the defaults that come with it, ``warnings`` what was not
    taken. ``unknown`` are the hyperparameters that a wrong variable leaves open.
    """

    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    unknown: frozenset[str]


def fill(given: dict[str, str], choices: Mapping[str, str], found: list[Problem]) -> Filled:
    """Add to ``given`` what ``choices`` say beyond it, and to ``found`` what they say wrong."""
    taken: list[str] = []
    warnings: list[str] = []
    unknown: set[str] = set()
    for variable, choice in _CHOICES.items():
        text = choices.get(variable)
        if text is None:
            continue
        value = choice.read(text)
        winner = next((name for name in (choice.name, *choice.others) if name in given), None)
        if winner is not None:
            if value is None or not same(TABLE[choice.name].kind, given[winner], value):
                warnings.append(
                    f"{variable}={text} is overridden by {winner}={unquoted(given[winner])}"
                )
        elif value is None:
            found.append(Problem(variable, text, choice.allowed))
            unknown |= {choice.name, *choice.brings}
        elif value == _OWN_DATA:
            known = ", ".join(_PRESETS)
            shown = shortened(repr(text), 60)
            warnings.append(f"{variable}={shown} is none of {known}, so it sets no dataset_preset")
        else:
            given[choice.name] = value
            taken.append(f"{variable}={text} as {choice.name}={value}")
    notes = [f"taken from the environment: {', '.join(taken)}"] if taken else []
    notes += _defaults(given, choices.get(opt_ml.ALGORITHM_CHOICE))
    return Filled(tuple(notes), tuple(warnings), frozenset(unknown))


def _defaults(given: dict[str, str], text: str | None) -> list[str]:
    """Add the example's defaults of the algorithm that the environment chose; say which."""
    algorithm = None if text is None else _algorithm(text)
    if algorithm is None or unquoted(given["algorithm"]) != algorithm:
        return []
    defaults = {"objective": _OBJECTIVE, **_DEFAULTS[algorithm]}
    scored = "eval_metric" in given or given.get(_TUNER, FINAL_SCORE) != FINAL_SCORE
    if not scored and unquoted(given.get("objective", _OBJECTIVE)) == _OBJECTIVE:
        defaults["objective_metric"] = _METRIC
    added = {name: value for name, value in defaults.items() if name not in given}
    given.update(added)
    listed = ", ".join(f"{name}={value}" for name, value in added.items())
    return [f"defaults that come with {opt_ml.ALGORITHM_CHOICE}={text}: {listed}"] if added else []
