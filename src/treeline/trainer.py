"""One training job, told top to bottom: from the job's description to the model's manifest."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from contextlib import closing
from types import ModuleType
from typing import TYPE_CHECKING, Any

import treeline
from treeline import artifacts, compute, hyperparameters, memory
from treeline.artifacts import EarlierModel
from treeline.compute import Cgroup, Compute
from treeline.console import Console
from treeline.data import channel
from treeline.data.channel import Dataset, Inputs
from treeline.errors import ChannelError, PlatformError
from treeline.hyperparameters import Config
from treeline.metrics import names
from treeline.metrics.log import MetricLog, Scores, number
from treeline.opt_ml import Job
from treeline.stopping import StopRequest

if TYPE_CHECKING:
    from treeline.algorithms.interface import Fitted
    from treeline.algorithms.labels import Classes
    from treeline.data.matrix import Schema
    from treeline.loader import Loader


def run(job: Job, console: Console, stop: StopRequest) -> None:
    """Train the model ``job`` asks for and leave it under the job's model directory.

    Everything that can be refused without reading data is refused before the first heavy
    import. Raises a ``TreelineError``, or ``Stopped`` if asked to stop with nothing to keep.
    """
    config = hyperparameters.parse(job.hyperparameters)
    inputs = channel.resolve(job.channels, config.data, stop.check)
    check_together(config, inputs.datasets)
    check_one_host(job)
    earlier = artifacts.read_model(inputs.model) if inputs.model else None
    place = compute.choose(config.compute, config.nthread, Cgroup())
    for text in config.warnings:
        console.warning(text)
    if job.checkpoints is not None:
        console.warning(
            f"checkpoints in {job.checkpoints} were asked for, and this version writes none: "
            "an interrupted job starts again at round 0"
        )
    for text in (note for dataset in inputs.datasets.values() for note in dataset.notes):
        console.line(text)
    console.line(describe(config, inputs, place))

    artifacts.clear(job.paths.model)
    with (
        closing(MetricLog(console.line, job.paths.output_data)) as log,
        stop.deferred(),  # from here on there may be something to keep
    ):
        loader = _loader(config, inputs, place, console, stop, earlier)
        fitted = _fit(job, config, loader, place, log, console, stop, earlier)
        artifacts.write(
            job.paths.model,
            _algorithm().save(fitted.model),
            _manifest(config, place, fitted, loader, earlier),
        )
        log.final(fitted.last_round, fitted.scores, fitted.objective_metric, fitted.objective_value)
    console.line(
        f"{fitted.outcome.replace('_', ' ')}: {fitted.rounds_trained} rounds trained, "
        f"the model ends with round {fitted.last_round}, {console.elapsed():.1f} s"
    )


def _loader(
    config: Config,
    inputs: Inputs,
    place: Compute,
    console: Console,
    stop: StopRequest,
    earlier: EarlierModel | None,
) -> Loader:
    from treeline import loader  # numpy and Arrow are worth importing only from here on

    schema, classes = None, None
    if earlier is not None and earlier.manifest is not None:
        schema, classes = _earlier_schema(earlier.origin, earlier.manifest)
    return loader.Loader(
        inputs.datasets,
        config,
        place.threads,
        loader.Voice(console.line, console.warning),
        stop,
        memory.limit(Cgroup()),
        schema,
        classes,
    )


def _earlier_schema(origin: str, manifest: Mapping[str, Any]) -> tuple[Schema, Classes | None]:
    from treeline.loader import schema_from_json

    try:
        return schema_from_json(manifest["schema"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ChannelError(
            f"Channel model: the manifest beside {origin} does not say what the model's data are: "
            f"its 'schema' is missing or damaged ({type(error).__name__}: {error})",
            "Give the files of one job as it left them, or leave the manifest out.",
        ) from error


def _fit(
    job: Job,
    config: Config,
    loader: Loader,
    place: Compute,
    log: MetricLog,
    console: Console,
    stop: StopRequest,
    earlier: EarlierModel | None,
) -> Fitted:
    best = BestSoFar(config)

    def on_round(index: int, scores: Scores) -> None:
        log.round(index, scores)
        console.advance(best.after(scores))

    def loaded() -> None:
        loader.report(job.paths.output_data)
        console.start(config.num_round)

    try:
        fitted: Fitted = _algorithm().fit(
            loader,
            config,
            place,
            loaded,
            on_round,
            lambda: stop.requested,
            None if earlier is None else earlier.model,
        )
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


def describe(config: Config, inputs: Inputs, place: Compute) -> str:
    """Return the line that says what is about to be done."""
    files = ", ".join(
        f"{role} {len(dataset.sources)} {dataset.format.name} file(s)"
        for role, dataset in inputs.datasets.items()
    )
    more = ", on top of an earlier model" if inputs.model else ""
    return (
        f"treeline {treeline.__version__}: {config.objective}, up to {config.num_round} rounds"
        f"{more}, {place.path} with {place.threads} thread(s), {files}"
    )


def _manifest(
    config: Config,
    place: Compute,
    fitted: Fitted,
    loader: Loader,
    earlier: EarlierModel | None,
) -> dict[str, Any]:
    from treeline.loader import schema_to_json

    if loader.schema is None:
        raise AssertionError("a model without training data")
    return {
        "algorithm": "xgboost",
        "model_file": artifacts.MODEL_NAME,
        "objective": config.objective,
        "num_class": config.num_class,
        "schema": schema_to_json(loader.schema, loader.classes),
        "hyperparameters": dict(config.given),
        "training": {
            "outcome": fitted.outcome,
            "rounds_trained": fitted.rounds_trained,
            "last_round": fitted.last_round,
            "compute": place.path,
            "threads": place.threads,
            "earlier_model": None if earlier is None else _named(earlier),
        },
        "metrics": {
            "objective_metric": fitted.objective_metric,
            "final_score": number(fitted.objective_value),
            "scores": {d: {m: number(v) for m, v in s.items()} for d, s in fitted.scores.items()},
        },
        "data": {
            role: {"rows": summary.rows, "fingerprint": summary.fingerprint}
            for role, summary in loader.data.items()
        },
        "versions": {
            "treeline": treeline.__version__,
            "python": platform.python_version(),
            **{name: sys.modules[name].__version__ for name in ("xgboost", "numpy", "pyarrow")},
        },
    }


def _named(earlier: EarlierModel) -> dict[str, str]:
    return {"file": earlier.origin, "sha256": hashlib.sha256(earlier.model).hexdigest()}
