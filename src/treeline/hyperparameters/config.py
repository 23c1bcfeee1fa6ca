"""From the hyperparameters as text to one frozen value, or to every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from treeline import opt_ml
from treeline.errors import HyperparameterError, shortened
from treeline.hyperparameters import environment, presets
from treeline.hyperparameters.kinds import DELIMITERS, Kind, RejectedError, Value, nearest, same
from treeline.hyperparameters.resuming import inexact
from treeline.hyperparameters.rules import Asked, Problem, advice, problems, unused
from treeline.hyperparameters.table import ALIASES, TABLE
from treeline.metrics.log import FINAL_SCORE
from treeline.metrics.names import METRICS, TWEEDIE_POWER, Metric, lookup

# Frameworks of the platform's SDK send these to every job; they are not ours.
_FRAMEWORK_PREFIX = "sagemaker_"
_TUNER = "_tuning_objective_metric"
_FOLLOWED = "objective_metric"  # the same wish in a person's hand
_DATA = ("train", "validation")
_SWITCHED = {"true": True, "false": False}
_NO_CHOICES: Mapping[str, str] = {}


@dataclass(frozen=True)
class DataOptions:
    """How the job's files are to be read.

    A column is named as it was asked for: by its name, or by its 0-based position as text (-1 is
    the last). None and empty stand for the default: the label is the first column, the CSV
    dialect is found, ``missing_values`` are the CSV reader's own (an empty tuple: none but the
    empty field).
    """

    label_column: str | None = None
    weight_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    label_lower_bound_column: str | None = None
    label_upper_bound_column: str | None = None
    base_margin_column: tuple[str, ...] = ()
    ignore_columns: tuple[str, ...] = ()
    categorical_columns: tuple[str, ...] = ()
    csv_weights: bool = False  # the built-in image's word for weight_column=1, of CSV files only
    csv_header: bool | None = None
    csv_delimiter: str | None = None  # one of , tab ; | or a blank for runs of blanks
    missing_values: tuple[str, ...] | None = None
    missing_label: str = "fail"  # or drop
    keep_columns: tuple[str, ...] = ()  # the features of a preset, by name; empty: all
    hive_partitions: bool = False
    leakage: str = "warn"  # warn, fail or ignore
    external_memory: bool | None = None  # None: when the data would not fit the memory


@dataclass(frozen=True)
class Folds:
    """How to cross-validate: ``repeats`` times ``folds`` models, each scored on unseen rows.

    ``strategy`` is auto, kfold, stratified, group, stratified_group, time_series or shuffle.
    ``pooled`` is whether validation rows are divided too, as the built-in image's ``_kfold``
    does; otherwise they are a hold-out of the final model.
    """

    folds: int
    repeats: int
    strategy: str
    refit: bool
    keep_models: bool
    pooled: bool


@dataclass(frozen=True)
class CheckpointOptions:
    """How often the work is kept, how much of it, and what happens where that fails.

    ``every`` is a number of rounds; None is after every round, as long as all checkpoints of a
    model take at most a twentieth of its time. ``keep`` is how many superseded checkpoints stay
    besides the newest. ``mismatch`` is restart or fail: what a job does that finds checkpoints
    of other jobs only. ``required`` is whether the job ends where none can be written.
    """

    every: int | None = None
    keep: int = 5
    mismatch: str = "restart"
    required: bool = False


# A tree without a limit has a leaf for every few rows: gigabytes from millions of them.
FOREST_DEPTH = 16


@dataclass(frozen=True)
class Forest:
    """What a random forest is made of; None stands for what random_forest.settled puts there.

    ``max_features`` is sqrt, log2, a share of the columns (float) or how many (int).
    """

    n_estimators: int = 100
    engine: str = "sklearn"
    max_features: str | float | int | None = None
    n_bins: int | None = None
    bootstrap: bool = True
    min_samples_split: int = 2
    min_samples_leaf: int = 1
    criterion: str | None = None
    max_depth: int = FOREST_DEPTH  # 0 is no limit
    max_leaves: int | None = None


@dataclass(frozen=True)
class Config:
    """What the job was asked to do."""

    algorithm: str
    num_round: int
    objective: str
    num_class: int | None
    # As they were asked for, which is how the log prints them, because that is what the user's
    # expressions look for; empty stands for the objective's default metric.
    eval_metrics: tuple[str, ...]
    # What each of them is called by whoever computes it: error for error@0.5.
    computed_as: Mapping[str, str]
    # What the tuner reads and early stopping follows; None stands for the default metric.
    objective_metric: str | None
    # The data set that it is of, and the hyperparameter that says so; None where none does.
    objective_data: str | None
    objective_source: str | None
    early_stopping_rounds: int | None
    data: DataOptions
    save_model_on_termination: bool
    seed: int
    nthread: int | None
    compute: str
    workers: int | None  # processes on each host; None leaves it to the machine
    on_host_loss: str
    dask_tls: bool
    device: str | None
    cv: Folds | None
    forest: Forest
    checkpoints: CheckpointOptions
    # The option that makes a resumed model differ from that of an unbroken run, and why.
    inexact_resume: str | None
    # The params of xgboost.train, without what Treeline decides: metrics, threads, device.
    booster: Mapping[str, int | float | str]
    given: Mapping[str, str]
    notes: tuple[str, ...]  # what was filled in for the user, a line each
    warnings: tuple[str, ...]

    @property
    def is_forest(self) -> bool:
        """Whether a random forest is asked for."""
        return self.algorithm == "random_forest"

    @property
    def rounds(self) -> int:
        """How many rounds a whole model has; for a forest its trees."""
        return self.forest.n_estimators if self.is_forest else self.num_round

    def followed(self, scores: Mapping[str, Mapping[str, float]]) -> tuple[str, str]:
        """Return the data set and the metric that the tuner, early stopping and a person follow.

        ``scores`` are those of a round, by data set and metric. They are needed because a default
        metric is known only by what XGBoost prints: that of rank:ndcg is called ndcg@32.
        """
        data = self.objective_data or ("validation" if "validation" in scores else "train")
        return data, self.objective_metric or list(scores[data])[-1]


def parse(values: Mapping[str, str], choices: Mapping[str, str] = _NO_CHOICES) -> Config:
    """Return what ``values`` ask for; raise one ``HyperparameterError`` for all problems.

    ``choices`` are the variables of ``opt_ml.CHOICES``, which stand for what ``values`` leave out.
    """
    found: list[Problem] = []
    given = _canonical(values, found)
    filled = environment.fill(given, choices, found)
    asked_for, notes = presets.expanded(given)
    parsed = _parsed(asked_for, found)
    warnings = list(filled.warnings)
    replaced = {name: _without_old(name, value, warnings) for name, value in parsed.items()}
    if "_kfold" in replaced:  # the same number under a name that says more
        replaced.setdefault("cv_folds", replaced["_kfold"])
    broken = filled.unknown.union(asked_for).difference(parsed)
    source, tuned = _tuned(replaced, found, warnings)
    asked = Asked(replaced, broken, _metrics(replaced, source, tuned), tuned)
    found += (*problems(asked), *presets.problems(asked))
    if found:
        raise _error(found)
    warnings += [f"{name} {TABLE[name].dead}" for name in parsed if TABLE[name].dead]
    warnings += [*presets.advice(asked), *advice(asked)]
    return _config(asked, given, source, (*filled.notes, *notes), tuple(warnings))


def _canonical(values: Mapping[str, str], found: list[Problem]) -> dict[str, str]:
    """Return the known hyperparameters under their own names."""
    given: dict[str, str] = {}
    for spelled, text in values.items():
        name = ALIASES.get(spelled, spelled)
        if name not in TABLE:
            if not spelled.startswith(_FRAMEWORK_PREFIX):
                hint = nearest(spelled, [*TABLE, *ALIASES])
                found.append(Problem(spelled, text, "", hint))
        elif name in given and not same(TABLE[name].kind, given[name], text):
            allowed = f"one value, not also {given[name]!r} under its other name"
            found.append(Problem(spelled, text, allowed))
        else:
            given[name] = text
    return given


def _parsed(given: Mapping[str, str], found: list[Problem]) -> dict[str, Value]:
    parsed: dict[str, Value] = {}
    for name, text in given.items():
        kind = TABLE[name].kind
        try:
            parsed[name] = kind.parse(text)
        except RejectedError as error:
            found.append(Problem(name, text, kind.allowed, str(error)))
    return parsed


def _without_old(name: str, value: Value, warnings: list[str]) -> Value:
    """Return ``value`` with what is old in it replaced, or dropped from a list."""
    old = TABLE[name].old or {}
    for word in value if isinstance(value, tuple) else (value,):
        if isinstance(word, str) and word in old:
            warnings.append(f"{name}={word} {old[word].why}")
    if isinstance(value, tuple):
        return tuple(word for word in value if not (isinstance(word, str) and word in old))
    return old[value].new if isinstance(value, str) and value in old else value


def _tuned(
    values: Mapping[str, Value], found: list[Problem], warnings: list[str]
) -> tuple[str, Metric | None]:
    """Return the metric to follow and who asked for it: the tuner, or else the user.

    What only the tuner's own expression knows is left to it; a user's word has to be a metric.
    """
    metrics = {name: _metric(_named(values, name)[1], values) for name in (_TUNER, _FOLLOWED)}
    tuner, followed = metrics.values()
    text = str(values.get(_TUNER, ""))
    if text and text != FINAL_SCORE and tuner is None:
        warnings.append(
            f"{_TUNER}: {text!r} is no metric of Treeline, so only the tuner can find it in the log"
        )
    if _FOLLOWED in values:
        asked = str(values[_FOLLOWED])
        if followed is None:
            hint = nearest(_named(values, _FOLLOWED)[1], list(METRICS))
            found.append(Problem(_FOLLOWED, asked, "a metric, such as auc or validation:auc", hint))
        elif tuner is not None and _named(values, _TUNER) != _named(values, _FOLLOWED):
            found.append(Problem(_FOLLOWED, asked, f"{text}, which the tuner reads, or nothing"))
    return (_TUNER, tuner) if tuner is not None else (_FOLLOWED, followed)


def _metrics(
    values: Mapping[str, Value], source: str, tuned: Metric | None
) -> tuple[tuple[str, Metric], ...]:
    """Return the metrics in the order asked for, the one to follow last, none twice."""
    metrics: dict[str, tuple[str, Metric]] = {}
    for name in _eval_metrics(values):
        metric = _metric(name, values)
        if metric is not None:
            metrics.setdefault(metric.name, ("eval_metric", metric))
    if tuned is not None:
        metrics.setdefault(tuned.name, (source, tuned))
    return tuple(metrics.values())


def _spellings(values: Mapping[str, Value]) -> dict[str, str]:
    """Return how each metric was spelled; where it was twice, the tuner's spelling wins."""
    names = (*_eval_metrics(values), _named(values, _FOLLOWED)[1], _named(values, _TUNER)[1])
    found = ((_metric(name, values), name) for name in names)
    return {metric.name: name for metric, name in found if metric is not None}


def _eval_metrics(values: Mapping[str, Value]) -> tuple[str, ...]:
    asked = values.get("eval_metric")
    return tuple(map(str, asked)) if isinstance(asked, tuple) else ()


def _named(values: Mapping[str, Value], source: str) -> tuple[str | None, str]:
    """Return the data set and the metric that ``source`` names; None where it names no data set."""
    text = str(values.get(source, ""))
    data, colon, metric = text.partition(":")
    return (data, metric) if colon and data in _DATA else (None, text)


def _metric(name: str, values: Mapping[str, Value]) -> Metric | None:
    power = values.get("tweedie_variance_power")
    return lookup(name, power if isinstance(power, float) else TWEEDIE_POWER)


def _objective_data(values: Mapping[str, Value], source: str) -> tuple[str | None, str | None]:
    """Return the data set to follow, and who named it.

    Where nobody named a known metric, a tuner still reads a data set of the one it named.
    """
    for name in (source, _TUNER):
        data = _named(values, name)[0]
        if data is not None:
            return data, name
    return None, None


def _config(
    asked: Asked,
    given: Mapping[str, str],
    source: str,
    notes: tuple[str, ...],
    warnings: tuple[str, ...],
) -> Config:
    spelled = _spellings(asked.values)
    objective_data, objective_source = _objective_data(asked.values, source)
    metrics = tuple(spelled[metric.name] for _, metric in asked.metrics)
    last = metrics[-1] if metrics else None
    return Config(
        algorithm=str(asked.get("algorithm")),
        num_round=_whole(asked, "num_round") or 1,
        objective=asked.objective,
        num_class=_whole(asked, "num_class"),
        eval_metrics=metrics,
        computed_as={spelled[metric.name]: metric.name for _, metric in asked.metrics},
        objective_metric=spelled[asked.tuned.name] if asked.tuned else last,
        objective_data=objective_data,
        objective_source=objective_source,
        early_stopping_rounds=_whole(asked, "early_stopping_rounds"),
        data=_data(asked),
        save_model_on_termination=bool(asked.get("save_model_on_termination")),
        seed=_whole(asked, "seed") or 0,
        nthread=_whole(asked, "nthread"),
        compute=asked.compute,
        workers=_whole(asked, "workers"),
        on_host_loss=str(asked.get("on_host_loss")),
        dask_tls=bool(asked.get("dask_tls")),
        device=_word(asked, "device"),
        cv=_folds(asked),
        forest=_forest(asked),
        checkpoints=_checkpoints(asked),
        inexact_resume=inexact(asked),
        booster=_booster(asked),
        given=given,
        notes=notes,
        warnings=warnings,
    )


def _data(asked: Asked) -> DataOptions:
    missing = asked.get("missing_values")
    keep, ignore = presets.kept(asked)
    return DataOptions(
        label_column=_word(asked, "label_column"),
        weight_column=_word(asked, "weight_column"),
        group_column=_word(asked, "group_column"),
        time_column=_word(asked, "time_column"),
        label_lower_bound_column=_word(asked, "label_lower_bound_column"),
        label_upper_bound_column=_word(asked, "label_upper_bound_column"),
        base_margin_column=_words(asked, "base_margin_column"),
        ignore_columns=ignore,
        categorical_columns=_words(asked, "categorical_columns"),
        csv_weights=bool(asked.get("csv_weights")),
        csv_header=_SWITCHED.get(str(asked.get("csv_header"))),
        csv_delimiter=DELIMITERS.get(str(asked.get("csv_delimiter"))),
        missing_values=None if missing is None else _words(asked, "missing_values"),
        missing_label=str(asked.get("missing_label")),
        keep_columns=keep,
        hive_partitions=bool(asked.get("hive_partitions")),
        leakage=str(asked.get("leakage")),
        external_memory=_SWITCHED.get(str(asked.get("external_memory"))),
    )


def _folds(asked: Asked) -> Folds | None:
    folds = _whole(asked, "cv_folds")
    if folds is None:
        return None
    pooled = asked.get("_kfold") is not None
    return Folds(
        folds=folds,
        repeats=_whole(asked, "cv_repeats") or 1,
        strategy=str(asked.get("cv_strategy")),
        refit=bool(asked.get("refit")),
        keep_models=bool(asked.get("keep_fold_models")) or pooled,
        pooled=pooled,
    )


def _forest(asked: Asked) -> Forest:
    features, depth = asked.get("max_features"), _given_whole(asked, "max_depth")
    return Forest(
        n_estimators=_whole(asked, "n_estimators") or 100,
        engine=str(asked.get("forest_engine")),
        max_features=None if isinstance(features, tuple) else features,
        n_bins=_whole(asked, "n_bins"),
        bootstrap=bool(asked.get("bootstrap")),
        min_samples_split=_whole(asked, "min_samples_split") or 2,
        min_samples_leaf=_whole(asked, "min_samples_leaf") or 1,
        criterion=_word(asked, "criterion"),
        max_depth=FOREST_DEPTH if depth is None else depth,
        max_leaves=_given_whole(asked, "max_leaves"),
    )


def _checkpoints(asked: Asked) -> CheckpointOptions:
    return CheckpointOptions(
        every=_whole(asked, "checkpoint_every"),
        keep=_whole(asked, "checkpoint_keep") or 1,
        mismatch=str(asked.get("checkpoint_mismatch")),
        required=bool(asked.get("checkpoint_required")),
    )


def _given_whole(asked: Asked, name: str) -> int | None:
    """Return a number that was given, None where boosting's default would stand for it."""
    return _whole(asked, name) if name in asked.values else None


def _word(asked: Asked, name: str) -> str | None:
    value = asked.get(name)
    return value if isinstance(value, str) else None


def _words(asked: Asked, name: str) -> tuple[str, ...]:
    value = asked.get(name)
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def _whole(asked: Asked, name: str) -> int | None:
    value = asked.get(name)
    return value if isinstance(value, int) else None


def _booster(asked: Asked) -> dict[str, int | float | str]:
    idle = unused(asked)
    params: dict[str, int | float | str] = {}
    # These three are always said, so that the model's record does not lean on defaults.
    for name in ("objective", "seed", "seed_per_iteration", *asked.values):
        parameter, value = TABLE[name], asked.get(name)
        if parameter.own or parameter.dead or name in idle or value in (None, ()):
            continue
        params[name] = _plain(parameter.kind, value)
    return params


def _plain(kind: Kind, value: Value | None) -> int | float | str:
    return value if isinstance(value, int | float | str) else kind.text(value or ())


def _error(found: list[Problem]) -> HyperparameterError:
    variables = list(filter(_is_variable, found))
    if len(found) == 1:
        line = _line(found[0], 80, 600)
        cause = line[0].upper() + line[1:] if variables else f"Hyperparameter {line}"
    else:
        lines = "; ".join(f"({i}) {_line(each, 30, 60)}" for i, each in enumerate(found, 1))
        cause = f"{len(found)} problems with the hyperparameters: {lines}"
    those = "it" if len(found) == 1 else "them"
    place, page = (
        "the hyperparameters of the training job or of the tuner's ranges",
        "hyperparameters",
    )
    image = "the environment of the image or of the job"
    if len(variables) == len(found):
        place, page = image, "rapids"
    elif variables:
        place += f", variables in {image}"
    return HyperparameterError(
        cause, f"Correct {those} in {place}; docs/{page}.md lists every name with what it takes."
    )


def _is_variable(problem: Problem) -> bool:
    """Whether it is a variable of the environment, and no unknown hyperparameter of that name."""
    return problem.name in opt_ml.CHOICES and bool(problem.allowed)


def _line(problem: Problem, found_limit: int, allowed_limit: int) -> str:
    name = problem.name if problem.name.isprintable() and problem.name else repr(problem.name)
    head = f"{shortened(name, 64)}: missing"
    if problem.found is not None:
        head = f"{shortened(name, 64)}: found {shortened(repr(problem.found), found_limit)}"
    if _is_variable(problem):
        head = f"environment variable {head}"
    allowed = f"allowed {shortened(problem.allowed, allowed_limit)}"
    hint = f"; {problem.hint}" if problem.hint else ""
    return f"{head}, {allowed if problem.allowed else 'no such hyperparameter'}{hint}"
