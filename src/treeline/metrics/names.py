"""Every metric and every objective Treeline knows: the one catalogue of both.

While boosting, a metric either comes from XGBoost (``native``) or is computed by Treeline from
predictions; ``computed.COMPUTABLE`` says which families Treeline can do without XGBoost. Its
direction is a property of its family, so ``ndcg@5`` and ``map@10-`` are maximised like ``ndcg``
and ``map``. A ``Metric.name`` is spelled as XGBoost 3.4.1 reports it (``error@0.5`` is reported
as ``error``, ``error@0.70`` as ``error@0.7``), because that is the name its results are found by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

# What an objective predicts; a metric says which of these it has a meaning for.
REGRESSION = "regression"
LOGISTIC = "logistic"  # reg:logistic: a probability, from labels anywhere in [0, 1]
BINARY = "binary"
MULTICLASS = "multiclass"
RANKING = "ranking"
QUANTILE = "quantile"
EXPECTILE = "expectile"
AFT = "aft"
COX = "cox"

_ONE_NUMBER = (REGRESSION, LOGISTIC, BINARY, RANKING, QUANTILE, EXPECTILE)
_NUMBER = (REGRESSION, LOGISTIC, BINARY, QUANTILE, EXPECTILE)
_POSITIVE = (REGRESSION, QUANTILE, EXPECTILE)
_CLASSES = (BINARY, MULTICLASS)
_YES_NO = (BINARY, LOGISTIC)
_ORDER = (BINARY, LOGISTIC, RANKING, REGRESSION)
# Objectives that predict the number of a class and no probability.
_CLASS_NUMBERS = ("binary:hinge", "multi:softmax")

# What may follow the @ of a metric's name.
NOTHING = ""
THRESHOLD = "t, a number with at most 6 significant digits"
CUT = "n, a whole number from 1, with an optional - at the end"
RATIO = "t in [0, 1]"
POWER = "p in [1, 2)"


@dataclass(frozen=True)
class Metric:
    """One metric: its name in the log, its direction, and where it has a meaning."""

    name: str
    maximize: bool
    native: bool
    tasks: tuple[str, ...]
    help: str
    # Computed by XGBoost without complaint, yet a number only if the labels are 0 and 1.
    doubtful: tuple[str, ...] = ()
    parameter: str = NOTHING
    # The name must carry a parameter; without one XGBoost stops the training.
    needs_parameter: bool = False
    # Compared with a probability, which not every objective of classes predicts. XGBoost's own
    # metrics do not say so: they see the probabilities behind multi:softmax.
    needs_probability: bool = False

    @property
    def family(self) -> str:
        """Return the name without its parameter: ``ndcg`` for ``ndcg@5-``."""
        return self.name.partition("@")[0].removesuffix("-")

    def suits(self, objective: str) -> bool:
        """Return whether the metric can be evaluated on what ``objective`` predicts."""
        if self.needs_probability and objective in _CLASS_NUMBERS:
            return False
        task = OBJECTIVES[objective].task
        return task in self.tasks or task in self.doubtful


def _native(
    name: str,
    maximize: bool,
    tasks: tuple[str, ...],
    text: str,
    parameter: str = NOTHING,
    doubtful: tuple[str, ...] = (),
) -> Metric:
    needs = parameter in (RATIO, POWER)
    return Metric(name, maximize, True, tasks, text, doubtful, parameter, needs)


def _computed(
    name: str, maximize: bool, tasks: tuple[str, ...], text: str, needs_probability: bool = False
) -> Metric:
    return Metric(name, maximize, False, tasks, text, needs_probability=needs_probability)


_ROWS = (
    _native("rmse", False, _ONE_NUMBER, "root of the mean squared error"),
    _native("rmsle", False, _ONE_NUMBER, "root mean squared error of log(1 + y)"),
    _native("mae", False, _ONE_NUMBER, "mean absolute error"),
    _native("mape", False, _ONE_NUMBER, "mean absolute error relative to the label"),
    _native("mphe", False, _ONE_NUMBER, "mean pseudo-Huber error; its bend is huber_slope"),
    _native("logloss", False, _YES_NO, "negative log-likelihood of 0/1 labels", doubtful=_POSITIVE),
    _native(
        "error", False, _YES_NO, "share of wrong classes at 0.5, or at t", THRESHOLD, _POSITIVE
    ),
    _native("merror", False, (MULTICLASS,), "share of wrong classes"),
    _native("mlogloss", False, (MULTICLASS,), "negative log-likelihood of the true class"),
    _native("auc", True, (*_YES_NO, MULTICLASS, RANKING), "area under the ROC curve"),
    _native(
        "aucpr", True, (*_YES_NO, MULTICLASS, RANKING), "area under the precision-recall curve"
    ),
    _native("pre", True, _ORDER, "precision among the n highest scores of a group", CUT),
    _native("ndcg", True, _ORDER, "normalised discounted cumulative gain of a group", CUT),
    _native("map", True, _ORDER, "mean average precision of a group", CUT),
    _native("ams", True, _YES_NO, "approximate median significance", RATIO, _POSITIVE),
    _native("poisson-nloglik", False, _POSITIVE, "negative log-likelihood of a Poisson count"),
    _native("gamma-nloglik", False, _POSITIVE, "negative log-likelihood of a gamma value"),
    _native("gamma-deviance", False, _POSITIVE, "residual deviance of a gamma value"),
    _native(
        "tweedie-nloglik", False, _POSITIVE, "negative log-likelihood of a Tweedie value", POWER
    ),
    _native("quantile", False, (QUANTILE,), "pinball loss, mean over quantile_alpha"),
    _native("expectile", False, (EXPECTILE,), "expectile loss, mean over expectile_alpha"),
    _native("cox-nloglik", False, (COX,), "negative partial log-likelihood"),
    _native("aft-nloglik", False, (AFT,), "negative log-likelihood of an interval of time"),
    # The peer image minimises it; it is a share of hits, so more is better.
    _native("interval-regression-accuracy", True, (AFT,), "share of predictions in the interval"),
    _computed("accuracy", True, _CLASSES, "share of right classes"),
    _computed("balanced_accuracy", True, _CLASSES, "mean of the recalls of all classes"),
    _computed("f1", True, _CLASSES, "F1, mean over classes (the same as f1_macro)"),
    _computed("f1_binary", True, (BINARY,), "F1 of class 1"),
    _computed("f1_macro", True, _CLASSES, "F1, mean over classes"),
    _computed("precision", True, (BINARY,), "precision of class 1"),
    _computed("precision_macro", True, _CLASSES, "precision, mean over classes"),
    _computed("precision_micro", True, _CLASSES, "precision over all rows"),
    _computed("recall", True, (BINARY,), "recall of class 1"),
    _computed("recall_macro", True, _CLASSES, "recall, mean over classes"),
    _computed("recall_micro", True, _CLASSES, "recall over all rows"),
    _computed("mcc", True, _CLASSES, "Matthews correlation coefficient"),
    _computed(
        "brier",
        False,
        _CLASSES,
        "mean squared difference of probability and label, 0 to 1; of three or more classes "
        "summed over them, 0 to 2; not for binary:hinge and multi:softmax, which predict no "
        "probability",
        needs_probability=True,
    ),
    _computed("mse", False, _NUMBER, "mean squared error"),
    _computed("r2", True, _NUMBER, "share of the labels' variance explained"),
)
METRICS: Mapping[str, Metric] = {row.name: row for row in _ROWS}


@dataclass(frozen=True)
class Objective:
    """One objective: what it predicts and the metric XGBoost reports when none is asked for."""

    task: str
    default_metric: str


OBJECTIVES: Mapping[str, Objective] = {
    "reg:squarederror": Objective(REGRESSION, "rmse"),
    "reg:squaredlogerror": Objective(REGRESSION, "rmsle"),
    "reg:absoluteerror": Objective(REGRESSION, "mae"),
    "reg:pseudohubererror": Objective(REGRESSION, "mphe"),
    "reg:quantileerror": Objective(QUANTILE, "quantile"),
    "reg:expectileerror": Objective(EXPECTILE, "expectile"),
    "reg:logistic": Objective(LOGISTIC, "rmse"),
    "reg:gamma": Objective(REGRESSION, "gamma-deviance"),
    "reg:tweedie": Objective(REGRESSION, "tweedie-nloglik"),
    "count:poisson": Objective(REGRESSION, "poisson-nloglik"),
    "binary:logistic": Objective(BINARY, "logloss"),
    "binary:logitraw": Objective(BINARY, "logloss"),
    "binary:hinge": Objective(BINARY, "error"),
    "multi:softmax": Objective(MULTICLASS, "mlogloss"),
    "multi:softprob": Objective(MULTICLASS, "mlogloss"),
    "rank:ndcg": Objective(RANKING, "ndcg"),
    "rank:pairwise": Objective(RANKING, "ndcg"),
    "rank:map": Objective(RANKING, "map"),
    "survival:aft": Objective(AFT, "aft-nloglik"),
    "survival:cox": Objective(COX, "cox-nloglik"),
    # Deprecated; the hyperparameters translate it to reg:squarederror.
    "reg:linear": Objective(REGRESSION, "rmse"),
}

TWEEDIE_POWER = 1.5
# A ranking objective cuts its own metric at the number of pairs, 32 unless told otherwise.
RANKING_CUT = 32

# The nearest metric with the same intent, where there is one.
_TWINS: Mapping[tuple[str, str], str] = {
    ("f1_binary", MULTICLASS): "f1_macro",
    ("precision", MULTICLASS): "precision_macro",
    ("recall", MULTICLASS): "recall_macro",
    ("error", MULTICLASS): "merror",
    ("logloss", MULTICLASS): "mlogloss",
    ("merror", BINARY): "error",
    ("mlogloss", BINARY): "logloss",
    ("brier", BINARY): "error",
    ("brier", MULTICLASS): "mlogloss",
    ("brier", LOGISTIC): "mse",
}
_USUAL: Mapping[str, str] = {
    REGRESSION: "rmse, mae",
    LOGISTIC: "rmse, logloss",
    BINARY: "logloss, error, auc",
    MULTICLASS: "merror, mlogloss, auc, accuracy",
    RANKING: "ndcg, map, auc",
    QUANTILE: "quantile",
    EXPECTILE: "expectile",
    AFT: "aft-nloglik, interval-regression-accuracy",
    COX: "cox-nloglik",
}


def lookup(name: str, power: float = TWEEDIE_POWER) -> Metric | None:
    """Return the metric ``name`` asks for, or None where there is none.

    A bare ``tweedie-nloglik``, which XGBoost refuses, is read as one at ``power``.
    """
    base, at, parameter = name.partition("@")
    row = METRICS.get(base) or METRICS.get(base.removesuffix("-"))
    if row is None:
        return None
    if not at:
        return _bare(row, base, power)
    suffix = _SUFFIXES[row.parameter](parameter) if base == row.name else None
    return None if suffix is None else replace(row, name=row.name + suffix)


def default_for(objective: str, booster: Mapping[str, object] | None = None) -> str:
    """Return the metric XGBoost reports for ``objective`` when none is asked for.

    ``booster`` are the training parameters: a Tweedie power and a ranking cut change the name.
    """
    given = booster or {}
    name = OBJECTIVES[objective].default_metric
    if name == "tweedie-nloglik":
        return f"{name}@{float(str(given.get('tweedie_variance_power', TWEEDIE_POWER))):g}"
    if OBJECTIVES[objective].task == RANKING and given.get("lambdarank_pair_method") != "mean":
        return f"{name}@{given.get('lambdarank_num_pair_per_sample', RANKING_CUT)}"
    return name


def alternatives(metric: Metric, objective: str) -> str:
    """Return what to ask for instead of ``metric``, which does not suit ``objective``."""
    task = OBJECTIVES[objective].task
    return _TWINS.get((metric.family, task), _USUAL[task])


def _bare(row: Metric, base: str, power: float) -> Metric | None:
    if base != row.name:  # "ndcg-": a group without any hit counts as 0 instead of 1
        return replace(row, name=base) if row.parameter == CUT else None
    if row.parameter == POWER:
        return replace(row, name=f"{base}@{power:g}")
    return None if row.needs_parameter else row


def _threshold(text: str) -> str | None:
    value = _number(text)
    if value is None:
        return None
    return "" if value == 0.5 else f"@{value:g}"


def _ratio(text: str) -> str | None:
    value = _number(text)
    return f"@{value:g}" if value is not None and 0 <= value <= 1 else None


def _power(text: str) -> str | None:
    value = _number(text)
    return f"@{value:g}" if value is not None and 1 <= value < 2 else None


def _cut(text: str) -> str | None:
    digits = text.removesuffix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10 and int(digits)):
        return None
    return f"@{int(digits)}{text[len(digits) :]}"


def _number(text: str) -> float | None:
    """Return the number, unless XGBoost would report another one: 32 bits, 6 digits printed."""
    try:
        value = float(text)
    except ValueError:
        return None
    fits = value == 0 or 1e-30 < abs(value) < 1e30
    return value if fits and float(f"{value:g}") == value else None


_SUFFIXES = {
    NOTHING: lambda _: None,
    THRESHOLD: _threshold,
    CUT: _cut,
    RATIO: _ratio,
    POWER: _power,
}
