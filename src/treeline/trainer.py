"""One training job, told top to bottom: from the job's description to the model's manifest."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import treeline
from treeline import artifacts, compute, hyperparameters
from treeline.compute import Cgroup, Compute
from treeline.console import Console
from treeline.data import channel
from treeline.data.channel import Dataset
from treeline.errors import ChannelError, HyperparameterError, PlatformError
from treeline.hyperparameters import Config
from treeline.metrics import names
from treeline.metrics.log import MetricLog, Scores, number
from treeline.opt_ml import Job
from treeline.stopping import StopRequest

if TYPE_CHECKING:
    from treeline.algorithms.xgboost import Fitted


def run(job: Job, console: Console, stop: StopRequest) -> None:
    """Train the model ``job`` asks for and leave it under the job's model directory.

    Everything that can be refused without reading data is refused before the first heavy
    import. Raises a ``TreelineError``, or ``Stopped`` if asked to stop with nothing to keep.
    """
    config = hyperparameters.parse(job.hyperparameters)
    check_supported(config)
    datasets = channel.resolve(job.channels)
    check_together(config, datasets)
    check_one_host(job)
    place = compute.choose(config.compute, config.nthread, Cgroup())
    for text in config.warnings:
        console.warning(text)
    if job.checkpoints is not None:
        console.warning(
            f"checkpoints in {job.checkpoints} were asked for, and this version writes none: "
            "an interrupted job starts again at round 0"
        )
    for text in (note for dataset in datasets.values() for note in dataset.notes):
        console.line(text)
    console.line(describe(config, datasets, place))

    artifacts.clear(job.paths.model)
    log = MetricLog(console.line, job.paths.output_data)
    with stop.deferred():  # from here on there may be something to keep
        weighted = _has_weights(config, datasets)
        fitted = _fit(config, datasets, weighted, place, log, console, stop)
        artifacts.write(
            job.paths.model,
            _algorithm().save(fitted.booster),
            _manifest(config, place, fitted, weighted),
        )
        log.final(fitted.last_round, fitted.scores, fitted.objective_metric, fitted.objective_value)
        log.close()
    console.line(
        f"{fitted.outcome.replace('_', ' ')}: {fitted.rounds_trained} rounds trained, "
        f"the model ends with round {fitted.last_round}, {console.elapsed():.1f} s"
    )


def _fit(
    config: Config,
    datasets: Mapping[str, Dataset],
    weighted: bool,
    place: Compute,
    log: MetricLog,
    console: Console,
    stop: StopRequest,
) -> Fitted:
    from treeline.data import matrix  # numpy and Arrow are worth importing only from here on

    roles = matrix.Roles(label=0, weight=1 if weighted else None)
    loads = {
        role: partial(matrix.read, dataset, roles, place.threads, stop.check)
        for role, dataset in datasets.items()
    }

    best = BestSoFar(config)

    def on_round(index: int, scores: Scores) -> None:
        log.round(index, scores)
        console.advance(best.after(scores))

    console.start(config.num_round)
    try:
        fitted: Fitted = _algorithm().fit(loads, config, place, on_round, lambda: stop.requested)
        return fitted
    finally:
        console.finish()


class BestSoFar:
    """The best score of the metric a person waits for, in words, for the live line."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._best: float | None = None

    def after(self, scores: Scores) -> str:
        """Return the best score up to and with this round's."""
        data, metric = self._config.followed(scores)
        known = names.lookup(metric)
        better = max if known is not None and known.maximize else min
        score = scores[data][metric]
        self._best = score if self._best is None else better(self._best, score)
        return f"best {data}-{metric} {self._best:.5f}"


def _algorithm() -> ModuleType:
    from treeline.algorithms import xgboost

    return xgboost


def check_supported(config: Config) -> None:
    """Refuse what the built-in image's users may ask for and this version cannot do yet."""
    for name, asked in (("_kfold", config.kfold), ("objective", _needs_bounds(config.objective))):
        if asked:
            raise HyperparameterError(
                f"Hyperparameter {name}: found {config.given[name]!r}, which this version "
                "does not support yet",
                "Leave it out, or choose another value; nothing was trained.",
            )


def _needs_bounds(objective: str) -> bool:
    return objective == "survival:aft"  # its labels are intervals, which no channel can give yet


def check_together(config: Config, datasets: Mapping[str, Dataset]) -> None:
    """Refuse what neither the hyperparameters nor the channels show alone."""
    if "validation" in datasets:
        return
    for name, needs in (
        ("early_stopping_rounds", config.early_stopping_rounds is not None),
        ("_tuning_objective_metric", config.objective_data == "validation"),
    ):
        if needs:
            raise ChannelError(
                f"Hyperparameter {name}={config.given.get(name, '')} needs a validation channel, "
                "and the job has none",
                f"Add an input channel named validation, or leave {name} out.",
            )


def check_one_host(job: Job) -> None:
    """Refuse to train the same model on every host of a cluster side by side."""
    if len(job.hosts.all) > 1:
        from treeline import hosts

        hosts.wait_until_resolvable(job.hosts.all)
        raise PlatformError(
            f"The job has {len(job.hosts.all)} hosts; this image trains on one",
            "Set the instance count to 1. With more, every host would train the same model.",
        )


def describe(config: Config, datasets: Mapping[str, Dataset], place: Compute) -> str:
    """Return the line that says what is about to be done."""
    files = ", ".join(
        f"{role} {len(dataset.files)} {dataset.format.name} file(s)"
        for role, dataset in datasets.items()
    )
    return (
        f"treeline {treeline.__version__}: {config.objective}, up to {config.num_round} rounds, "
        f"{place.path} with {place.threads} thread(s), {files}"
    )


def _has_weights(config: Config, datasets: Mapping[str, Dataset]) -> bool:
    return config.csv_weights and all(d.format.name == "csv" for d in datasets.values())


def _manifest(config: Config, place: Compute, fitted: Fitted, weighted: bool) -> dict[str, Any]:
    train = fitted.data["train"]
    return {
        "algorithm": "xgboost",
        "model_file": artifacts.MODEL_NAME,
        "objective": config.objective,
        "num_class": config.num_class,
        "schema": {
            "label": "column 0",
            "weight": "column 1" if weighted else None,
            "features": train.features,
            "feature_names": list(train.feature_names) if train.feature_names else None,
        },
        "hyperparameters": dict(config.given),
        "training": {
            "outcome": fitted.outcome,
            "rounds_trained": fitted.rounds_trained,
            "last_round": fitted.last_round,
            "compute": place.path,
            "threads": place.threads,
        },
        "metrics": {
            "objective_metric": fitted.objective_metric,
            "final_score": number(fitted.objective_value),
            "scores": {d: {m: number(v) for m, v in s.items()} for d, s in fitted.scores.items()},
        },
        "data": {
            role: {"rows": summary.rows, "fingerprint": summary.fingerprint}
            for role, summary in fitted.data.items()
        },
        "versions": {
            "treeline": treeline.__version__,
            "python": platform.python_version(),
            **{name: sys.modules[name].__version__ for name in ("xgboost", "numpy", "pyarrow")},
        },
    }
