"""What must hold between hyperparameters, and what is worth a warning.

Each rule looks at what was asked for and yields the problems it sees; none stops another. A rule
that asks for a value which could not be parsed is skipped: its problem is already known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from treeline.hyperparameters.kinds import Column, Columns, Value, within
from treeline.hyperparameters.table import BOOSTING, DROPOUT, SHARED, TABLE
from treeline.metrics.names import (
    AFT,
    BINARY,
    EXPECTILE,
    MULTICLASS,
    OBJECTIVES,
    QUANTILE,
    RANKING,
    Metric,
    alternatives,
)


@dataclass(frozen=True)
class Problem:
    """One thing to change: the hyperparameter, its text, what is allowed, and maybe a hint."""

    name: str
    found: str | None
    allowed: str
    hint: str = ""


class UndecidedError(Exception):
    """A rule needs a value that could not be parsed."""


@dataclass(frozen=True)
class Asked:
    """The parsed hyperparameters, old values already replaced, and the metrics to report."""

    values: Mapping[str, Value]
    broken: frozenset[str]
    # The metrics to report, each with the hyperparameter that asked for it first.
    metrics: tuple[tuple[str, Metric], ...]
    tuned: Metric | None  # the tuner's own metric, which is among them

    def get(self, name: str) -> Value | None:
        """Return the value of ``name``, or the default that takes effect in its place."""
        if name in self.broken:
            raise UndecidedError
        default = TABLE[name].default
        if name in self.values or default is None:
            return self.values.get(name)
        return TABLE[name].kind.parse(default)

    @property
    def objective(self) -> str:
        """Return the objective."""
        return str(self.get("objective"))

    @property
    def task(self) -> str:
        """Return what the objective predicts."""
        return OBJECTIVES[self.objective].task

    @property
    def families(self) -> frozenset[str]:
        """Return the families of the metrics asked for."""
        return frozenset(metric.family for _, metric in self.metrics)

    @property
    def tree_method(self) -> str:
        """Return how trees are grown: an updater named by hand overrides tree_method."""
        names = self.get("updater")
        grower = names[0] if isinstance(names, tuple) and names else None
        return _METHODS.get(str(grower), str(self.get("tree_method")))

    @property
    def outputs(self) -> int:
        """Return how many numbers the model predicts for a row."""
        name = _OUTPUTS.get(self.task)
        value = 1 if name is None else self.get(name)
        if value is None:  # required by another rule
            raise UndecidedError
        return len(value) if isinstance(value, tuple) else int(value)

    @property
    def compute(self) -> str:
        """Return the compute path: ``compute``, or what another spelling of it stands for."""
        if self.get("compute") != "auto":
            return str(self.get("compute"))
        if self.get("use_dask_gpu_training"):
            return "multiGPU"
        return "singleGPU" if str(self.get("device")).startswith("cuda") else "auto"

    def problem(self, name: str, allowed: str, hint: str = "") -> Problem:
        """Return the problem that ``name`` is not ``allowed`` as it stands."""
        value = self.values.get(name)
        return Problem(name, None if value is None else TABLE[name].kind.text(value), allowed, hint)


type Rule = Callable[[Asked], Iterator[Problem]]
type Advice = Callable[[Asked], Iterator[str]]

_METHODS = {
    "grow_colmaker": "exact",
    "grow_histmaker": "approx",
    "grow_quantile_histmaker": "hist",
}
_REFINERS = ("refresh", "prune")
_LINEAR_UPDATERS = ("shotgun", "coord_descent")
_BASE_SCORES = {
    "binary:logistic": "[0, 1]",
    "reg:logistic": "[0, 1]",
    "reg:gamma": "(0, +inf)",
    "reg:tweedie": "(0, +inf)",
    "survival:cox": "(0, +inf)",
    "count:poisson": "[0, +inf)",
    "reg:squaredlogerror": "(-1, +inf)",
}
# Every hyperparameter that says where to train.
_PLACES = ("compute", "device", "use_dask_gpu_training")
_TREES_ONLY = "only hist and approx split on categories"
_ALPHAS = {QUANTILE: "quantile_alpha", EXPECTILE: "expectile_alpha"}
_OUTPUTS = {**_ALPHAS, MULTICLASS: "num_class"}
# Every hyperparameter that names a column, and those that stand for a label.
_COLUMNS = tuple(name for name, p in TABLE.items() if isinstance(p.kind, Column | Columns))
_BOUNDS = ("label_lower_bound_column", "label_upper_bound_column")
# Metrics that compare a class or a probability with the label; logitraw predicts neither.
_OF_PROBABILITIES = frozenset(
    {"logloss", "error", "rmse", "rmsle", "mae", "mape", "mphe", "poisson-nloglik"}
)

# What a forest learns, and the criteria to grow it by, the default first.
_GINI = ("gini", "entropy", "log_loss")
_FOREST_CRITERIA: Mapping[str, tuple[str, ...]] = {
    "binary:logistic": _GINI,
    "multi:softprob": _GINI,
    "multi:softmax": _GINI,
    "reg:squarederror": ("squared_error", "absolute_error", "poisson"),
}
_FOREST_HINTS = {
    "reg:absoluteerror": "a forest has criterion=absolute_error for it",
    "count:poisson": "a forest has criterion=poisson for it",
}
_FOREST_NEVER = (
    ("early_stopping_rounds", "nothing", "a forest is one round, and more trees do not overfit"),
    ("base_margin_column", "nothing", "a forest starts from nothing"),
)
# Metrics that need XGBoost's own boosting to be computed.
_BOOSTING_ONLY = frozenset({"mphe", "pre", "ndcg", "map", "ams"})


def _classes(asked: Asked) -> Iterator[Problem]:
    if asked.task == MULTICLASS and asked.get("num_class") is None:
        yield asked.problem("num_class", "[2, +inf)", f"required by objective={asked.objective}")
    if asked.task != MULTICLASS and asked.get("num_class") is not None:
        yield asked.problem(
            "num_class",
            "multi:softmax and multi:softprob only",
            f"here objective={asked.objective}",
        )


def _alphas(asked: Asked) -> Iterator[Problem]:
    name = _ALPHAS.get(asked.task)
    if name is None:
        return
    alphas = asked.get(name)
    if alphas is None:
        hint = f"required by objective={asked.objective}"
        yield asked.problem(name, TABLE[name].kind.allowed, hint)
    elif isinstance(alphas, tuple) and len(alphas) > 1:
        for source, metric in asked.metrics:
            if metric.family not in (asked.task, "mphe"):
                hint = f"{metric.name} needs a single {name}"
                yield Problem(source, metric.name, OBJECTIVES[asked.objective].task, hint)


def _metrics_suit(asked: Asked) -> Iterator[Problem]:
    for source, metric in asked.metrics:
        if not metric.suits(asked.objective):
            yield _other_metric(asked, source, metric, f"objective={asked.objective}")


def _other_metric(asked: Asked, source: str, metric: Metric, here: str) -> Problem:
    others = alternatives(metric, asked.objective)
    return Problem(source, metric.name, f"metrics such as {others}", f"here {here}")


def _base_score(asked: Asked) -> Iterator[Problem]:
    score, allowed = asked.get("base_score"), _BASE_SCORES.get(asked.objective)
    if isinstance(score, float) and allowed and not within(score, allowed):
        yield asked.problem("base_score", f"{allowed} with objective={asked.objective}")


def _early_stopping(asked: Asked) -> Iterator[Problem]:
    if asked.get("early_stopping_rounds") is None:
        return
    if asked.get("booster") == "gblinear":
        yield asked.problem(
            "early_stopping_rounds",
            "booster=gbtree or dart",
            "a linear model cannot be cut back to its best round",
        )


def _scored(asked: Asked) -> Iterator[Problem]:
    """A job without any score has no final-score, and nothing says what the model is worth."""
    if asked.get("disable_default_eval_metric") and not asked.metrics:
        yield asked.problem(
            "disable_default_eval_metric", "false, or true together with an eval_metric"
        )


def _no_update(asked: Asked) -> Iterator[Problem]:
    if asked.get("process_type") == "update":
        yield asked.problem(
            "process_type",
            "default",
            "a model channel's trees are kept as they are, and new ones are added",
        )


def _updater(asked: Asked) -> Iterator[Problem]:
    names = asked.get("updater")
    if not isinstance(names, tuple) or not names:
        return
    if asked.get("booster") == "gblinear":
        if len(names) != 1 or names[0] not in _LINEAR_UPDATERS:
            yield asked.problem("updater", "shotgun or coord_descent with booster=gblinear")
    elif names[0] not in _METHODS or any(name not in _REFINERS for name in names[1:]):
        allowed = f"one of {', '.join(_METHODS)}, then any of {', '.join(_REFINERS)}"
        yield asked.problem("updater", allowed)


def _selector(asked: Asked) -> Iterator[Problem]:
    if asked.get("booster") != "gblinear" or asked.get("updater") == ("coord_descent",):
        return
    if asked.get("feature_selector") not in ("cyclic", "shuffle"):
        yield asked.problem(
            "feature_selector", "cyclic or shuffle", "the others need updater=coord_descent"
        )


def _exact(asked: Asked) -> Iterator[Problem]:
    if asked.get("booster") == "gblinear":
        return
    method = asked.tree_method
    vectors = asked.get("multi_strategy") == "multi_output_tree"
    if vectors and method not in ("auto", "hist"):
        yield asked.problem("multi_strategy", f"one_output_per_tree with tree_method={method}")
    if method != "exact":
        return
    if asked.get("max_depth") == 0:
        yield asked.problem("max_depth", "[1, +inf) with tree_method=exact")
    if asked.get("colsample_bynode") != 1:
        yield asked.problem("colsample_bynode", "1 with tree_method=exact")
    if asked.compute.endswith("GPU"):
        name = next(name for name in _PLACES if name in asked.values)
        yield asked.problem(name, "a path on processors with tree_method=exact")


def _places(asked: Asked) -> Iterator[Problem]:
    compute, device = asked.compute, asked.get("device")
    if compute == "auto":
        return
    if device is not None and compute.endswith("GPU") != str(device).startswith("cuda"):
        yield asked.problem("device", f"what agrees with compute={compute}, or nothing")
    if asked.get("use_dask_gpu_training") and compute != "multiGPU":
        yield asked.problem("use_dask_gpu_training", f"false with compute={compute}")


def _one_part_each(asked: Asked) -> Iterator[Problem]:
    """The same column by name here and by position there shows only in the file."""
    seen: dict[Value, str] = {}
    for name in _COLUMNS:
        value = asked.values.get(name)
        for column in value if isinstance(value, tuple) else (value,):
            if column is None:
                continue
            if column in seen:
                yield asked.problem(name, "every column once", f"{seen[column]} has it already")
            seen.setdefault(column, name)


def _weights(asked: Asked) -> Iterator[Problem]:
    if asked.get("csv_weights") and asked.get("weight_column") not in (None, "1"):
        yield asked.problem("csv_weights", "0, or leave it out", "weight_column is given")


def _bounds(asked: Asked) -> Iterator[Problem]:
    here = f"objective={asked.objective}"
    if asked.task != AFT:
        for name in _BOUNDS:
            if asked.get(name) is not None:
                yield asked.problem(name, "objective=survival:aft only", f"here {here}")
        return
    missing = [name for name in _BOUNDS if asked.get(name) is None]
    if missing:
        both = " and ".join(_BOUNDS)
        yield asked.problem(missing[0], TABLE[missing[0]].kind.allowed, f"{here} needs {both}")
    if asked.get("label_column") is not None:
        yield asked.problem("label_column", "nothing", f"{here} learns from two bounds, no label")


def _margins(asked: Asked) -> Iterator[Problem]:
    columns = asked.get("base_margin_column")
    if isinstance(columns, tuple) and len(columns) not in (0, asked.outputs):
        number = "one column" if asked.outputs == 1 else f"{asked.outputs} columns"
        hint = f"as many as objective={asked.objective} predicts numbers for a row"
        yield asked.problem("base_margin_column", number, hint)


def _categories(asked: Asked) -> Iterator[Problem]:
    if not asked.get("categorical_columns"):
        return
    if asked.get("booster") == "gblinear":
        yield asked.problem("categorical_columns", "nothing with booster=gblinear", _TREES_ONLY)
    elif asked.tree_method == "exact":
        yield asked.problem("categorical_columns", "nothing with tree_method=exact", _TREES_ONLY)


def _on_disk(asked: Asked) -> Iterator[Problem]:
    if asked.get("external_memory") != "true":
        return
    if asked.get("booster") == "gblinear":
        yield asked.problem("external_memory", "auto or false with booster=gblinear")
    elif asked.get("updater"):
        yield asked.problem("external_memory", "auto or false with an updater by name")
    elif asked.tree_method not in ("auto", "hist"):
        allowed = f"auto or false with tree_method={asked.tree_method}"
        yield asked.problem("external_memory", allowed, "only hist reads bins from disk")


def _rounds(asked: Asked) -> Iterator[Problem]:
    if asked.get("algorithm") == "xgboost" and asked.get("num_round") is None:
        yield asked.problem("num_round", TABLE["num_round"].kind.allowed, "required")


def _ordered(asked: Asked) -> Iterator[Problem]:
    if asked.get("time_column") is not None and asked.get("cv_strategy") != "time_series":
        yield asked.problem("time_column", "nothing without cv_strategy=time_series")


def _folded(asked: Asked) -> Iterator[Problem]:
    folds, strategy = asked.get("cv_folds"), str(asked.get("cv_strategy"))
    if folds is None:
        return
    required = f"required by cv_strategy={strategy}"
    if asked.get("_kfold") not in (None, folds):
        hint = "they are two names of one thing, but for what happens to the validation channel"
        yield asked.problem("cv_folds", f"_kfold={asked.get('_kfold')}, or leave one out", hint)
    if folds == 1 and strategy not in ("auto", "shuffle"):
        hint = "one fold is one random split: cv_strategy=shuffle"
        yield asked.problem("cv_folds", f"[2, +inf) with cv_strategy={strategy}", hint)
    if strategy == "time_series":
        if asked.get("time_column") is None:
            yield asked.problem("time_column", TABLE["time_column"].kind.allowed, required)
        if asked.get("cv_repeats") != 1:
            yield asked.problem("cv_repeats", "1 with cv_strategy=time_series, which draws nothing")
    if strategy.endswith("group") and asked.get("group_column") is None and asked.task != RANKING:
        yield asked.problem("group_column", TABLE["group_column"].kind.allowed, required)
    if strategy.startswith("stratified") and asked.task not in (BINARY, MULTICLASS):
        yield asked.problem("cv_strategy", "a strategy for numbers: kfold, group, time_series")
    if asked.task == RANKING and strategy not in ("auto", "group"):
        hint = "the rows of a query stay together"
        yield asked.problem("cv_strategy", f"group with objective={asked.objective}", hint)


def _fold_models(asked: Asked) -> Iterator[Problem]:
    if asked.get("cv_folds") is None or asked.get("refit"):
        return
    if not asked.get("keep_fold_models") and asked.get("_kfold") is None:
        yield asked.problem("refit", "true, or keep_fold_models=true", "else there is no model")


def _forest(asked: Asked) -> Iterator[Problem]:
    """What a forest learns has to be said: a default of regression would be a silent choice."""
    if asked.get("algorithm") != "random_forest":
        return
    here = "algorithm=random_forest"
    if "objective" not in asked.values:
        yield asked.problem("objective", ", ".join(_FOREST_CRITERIA), f"required by {here}")
    elif asked.objective not in _FOREST_CRITERIA:
        hint = _FOREST_HINTS.get(asked.objective, "")
        yield asked.problem("objective", f"{', '.join(_FOREST_CRITERIA)} with {here}", hint)
    for name, allowed, hint in _FOREST_NEVER:
        if asked.get(name) is not None:
            yield asked.problem(name, f"{allowed} with {here}", hint)
    if asked.values.get("max_leaves") == 1:
        yield asked.problem("max_leaves", f"0, or [2, +inf), with {here}")
    for source, metric in asked.metrics:
        if metric.family in _BOOSTING_ONLY:
            yield _other_metric(asked, source, metric, here)


def _forest_engine(asked: Asked) -> Iterator[Problem]:
    if asked.get("algorithm") != "random_forest":
        return
    here = f"forest_engine={asked.get('forest_engine')}"
    if asked.get("forest_engine") == "xgboost":
        if asked.get("min_samples_split") != 2:
            hint = "XGBoost has no such limit; min_samples_leaf has an effect"
            yield asked.problem("min_samples_split", f"2 with {here}", hint)
    elif asked.get("external_memory") == "true":
        hint = "scikit-learn grows trees on rows, not on bins"
        yield asked.problem("external_memory", f"auto or false with {here}", hint)
    criteria = _FOREST_CRITERIA.get(asked.objective)
    if criteria is None or "objective" not in asked.values or asked.get("criterion") is None:
        return
    if asked.get("forest_engine") == "xgboost":
        criteria = criteria[:1]
    if asked.get("criterion") not in criteria:
        allowed = f"{' or '.join(criteria)} with objective={asked.objective} and {here}"
        yield asked.problem("criterion", allowed)


RULES: tuple[Rule, ...] = (
    _forest,
    _forest_engine,
    _rounds,
    _ordered,
    _folded,
    _fold_models,
    _classes,
    _alphas,
    _metrics_suit,
    _base_score,
    _early_stopping,
    _scored,
    _no_update,
    _updater,
    _selector,
    _exact,
    _places,
    _one_part_each,
    _weights,
    _bounds,
    _margins,
    _categories,
    _on_disk,
)


def problems(asked: Asked) -> Iterator[Problem]:
    """Yield every broken rule."""
    for rule in RULES:
        try:
            yield from rule(asked)
        except UndecidedError:
            continue


def unused(asked: Asked) -> Mapping[str, str]:
    """Return the given hyperparameters that would have no effect, and what each needs.

    XGBoost ignores them, some silently; left out, they cannot mislead anyone who reads the
    model's configuration.
    """
    found: dict[str, str] = {}
    forest = asked.get("algorithm") == "random_forest"
    for name in asked.values:
        if forest and (TABLE[name].group in BOOSTING or name == "num_round"):
            if name not in SHARED:
                found[name] = "algorithm=xgboost"
            continue
        for need in TABLE[name].needs:
            value = asked.tree_method if need.name == "tree_method" else asked.get(need.name)
            if not need.holds(value, asked.families):
                found.setdefault(name, str(need))
    return found


def _dropout(asked: Asked) -> Iterator[str]:
    names = [name for name in ("rate_drop", "one_drop") if asked.values.get(name)]
    if names and asked.get("booster") == "gbtree":
        yield (
            f"{' and '.join(names)}: {DROPOUT.lower()} takes effect with booster=gbtree too, "
            "unlike in XGBoost before 3.4"
        )


def _raw_margins(asked: Asked) -> Iterator[str]:
    families = asked.families or {OBJECTIVES[asked.objective].default_metric}
    names = sorted(_OF_PROBABILITIES.intersection(families))
    if asked.objective == "binary:logitraw" and names:
        yield (
            f"eval_metric: with objective=binary:logitraw XGBoost compares {', '.join(names)} with "
            "raw margins, not probabilities; use auc, or objective=binary:logistic"
        )


def _doubtful(asked: Asked) -> Iterator[str]:
    for source, metric in asked.metrics:
        if asked.task in metric.doubtful:
            yield (
                f"{source}: {metric.name} is a number only for labels 0 and 1; "
                f"objective={asked.objective} takes others too"
            )


def _ignored_method(asked: Asked) -> Iterator[str]:
    if asked.get("updater") and "tree_method" in asked.values:
        yield "tree_method has no effect: updater is given and decides"


ADVICE: tuple[Advice, ...] = (_dropout, _raw_margins, _doubtful, _ignored_method)


def advice(asked: Asked) -> Iterator[str]:
    """Yield what is legal but worth a line, for hyperparameters without a problem."""
    for name, need in unused(asked).items():
        yield f"{name} has no effect here: it needs {need}"
    for each in ADVICE:
        yield from each(asked)
