"""One training job, told top to bottom: from the job's description to the model's manifest."""

from __future__ import annotations

import hashlib
import importlib
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import treeline
from treeline import artifacts, compute, fingerprint, hyperparameters, memory
from treeline.artifacts import EarlierModel
from treeline.beside import Beside
from treeline.checkpoints.shared import Shared
from treeline.checkpoints.store import Checkpoints
from treeline.compute import Cgroup, Compute, Plan, Wish
from treeline.console import Console
from treeline.data import channel, shares
from treeline.data.channel import Dataset, Inputs
from treeline.data.shares import Seat
from treeline.errors import ChannelError, PlatformError, Stopped
from treeline.hyperparameters import Config, together
from treeline.metrics import names
from treeline.metrics.log import MetricLog, Scores, number, plain
from treeline.opt_ml import Job
from treeline.stopping import StopRequest

if TYPE_CHECKING:
    from treeline.algorithms.interface import Data, Fitted, OnRound
    from treeline.algorithms.labels import Classes
    from treeline.cross_validation import Folded, Validated
    from treeline.data.matrix import Schema
    from treeline.hyperparameters.config import Folds
    from treeline.loader import Loader
    from treeline.team import Team


_SEAT = Seat(0, 1, 0, 1)  # of a worker alone


def plan(job: Job, cgroup: Cgroup) -> Plan:
    """Return what this host has to open for ``job``; raises ``HyperparameterError``."""
    config = hyperparameters.parse(job.hyperparameters, job.choices)
    wish = Wish(config.compute, config.nthread, config.workers)
    found = compute.choose(wish, len(job.hosts.all), cgroup)
    if found.several:
        together.check(config)
    return found


def run(
    job: Job,
    console: Console,
    stop: StopRequest,
    place: Compute | None = None,
    seat: Seat = _SEAT,
    lost: Sequence[str] = (),
) -> None:
    """Train the model ``job`` asks for and leave it under the job's model directory.

    ``place`` is the opened compute path, with the team of workers that tell this story together,
    ``seat`` where this one sits among them, and ``lost`` the hosts that were there at the start
    and are not any more. Everything that can be refused without reading data is refused before the
    first heavy import. Raises a ``TreelineError``, or ``Stopped`` if asked to stop with nothing to
    keep.
    """
    place = place or plan(job, Cgroup()).alone()
    team = place.team
    config = hyperparameters.parse(job.hyperparameters, job.choices)
    inputs, about = _inputs(job, config, place, seat, lost, stop)
    check_together(config, inputs.datasets)
    if config.cv and team.any(inputs.model is not None):
        raise ChannelError(
            "Channel model: cross-validation starts every fold anew; an earlier model has seen "
            "rows that the folds hold out",
            "Leave the channel model or cv_folds out.",
        )
    earlier = _of_all(artifacts.read_model(inputs.model) if inputs.model else None, team)
    # The first worker keeps and reads them, and tells the others.
    rules = config.checkpoints if team.leads else replace(config.checkpoints, required=False)
    checkpoints = Checkpoints(job.checkpoints if team.leads else None, rules, console)
    _introduce(config, inputs, team, console)
    console.line(about)
    if team.leads:
        artifacts.clear(job.paths.model)
    with (
        closing(MetricLog(console.line, job.paths.output_data if team.leads else None)) as log,
        stop.deferred(),  # from here on there may be something to keep
    ):
        loader = _loader(config, inputs, place, console, stop, earlier)
        algorithm = _algorithm(config)
        _import_ahead(config, place)
        work = _Work(
            job, config, algorithm, loader, place, log, console, stop, earlier, checkpoints
        )
        try:
            (_cross_validate if config.cv else _train)(work)
        except Stopped:
            if (kept := checkpoints.kept()) is not None:
                console.line(kept)
            raise


def _import_ahead(config: Config, place: Compute) -> None:
    """Import what training needs while the rows are read, where there is a thread for it."""
    if place.at_once > 1:
        from treeline.algorithms.library import import_ahead

        draws = config.cv is not None and place.team.leads
        import_ahead("sklearn.model_selection" if draws else None)


def _of_all(earlier: EarlierModel | None, team: Team) -> EarlierModel | None:
    """Return the earlier model on every worker: its file may stand on one host only."""
    digests = team.gather(None if earlier is None else hashlib.sha256(earlier.model).digest())
    known = [digest for digest in digests if digest is not None]
    if len({*known}) > 1:
        raise ChannelError(
            "Channel model: the hosts have different models",
            "Give all hosts the same file: S3DistributionType FullyReplicated.",
        )
    return (
        team.broadcast(earlier, digests.index(known[0])) if None in digests and known else earlier
    )


def _introduce(config: Config, inputs: Inputs, team: Team, console: Console) -> None:
    """Say what is to be known before anything is read."""
    for text in config.notes:
        console.line(text)
    for text in config.warnings:
        console.warning(text)
    for text in (note for dataset in inputs.datasets.values() for note in dataset.notes):
        console.line(text)
    for text in () if team.alone else together.inexact(config):
        console.warning(f"{text}; so the model is another than that of one worker")


def _inputs(
    job: Job, config: Config, place: Compute, seat: Seat, lost: Sequence[str], stop: StopRequest
) -> tuple[Inputs, str]:
    """Return this worker's data sets, and the line that says what is about to be done."""
    inputs = channel.resolve(
        job.channels,
        config.data,
        stop.check,
        several_hosts=len(job.hosts.all) > 1,
        pipes=seat.local == 0,
    )
    about = describe(config, inputs, place)
    if lost:
        _check_nothing_lost(job, lost)
    return (inputs if place.team.alone else _shared(inputs, seat, place.team)), about


def _check_nothing_lost(job: Job, lost: Sequence[str]) -> None:
    """Raise ``PlatformError`` if files may be lost with hosts: of any channel with data."""
    roles = [name for names in channel.ROLES.values() for name in names]
    for name in (*roles, channel.MODEL):
        given = job.channels.get(name)
        if given is not None and given.distribution != shares.REPLICATED:
            raise PlatformError(
                f"Host {', '.join(lost)} is lost, and perhaps files of channel {name} with it: its "
                f"S3DistributionType is {given.distribution}",
                "on_host_loss=resume needs channels that are declared FullyReplicated.",
            )


def _shared(inputs: Inputs, seat: Seat, team: Team) -> Inputs:
    """Return this worker's share of the data sets."""
    divided = {
        role: shares.divide(inputs.datasets.get(role), role, seat, team) for role in channel.ROLES
    }
    return replace(
        inputs, datasets={role: each for role, each in divided.items() if each is not None}
    )


@dataclass(frozen=True)
class _Work:
    """What both ways to a model need."""

    job: Job
    config: Config
    algorithm: ModuleType
    loader: Loader
    place: Compute
    log: MetricLog
    console: Console
    stop: StopRequest
    earlier: EarlierModel | None
    checkpoints: Checkpoints

    def fit(
        self,
        data: Data,
        config: Config,
        report: Callable[[], None],
        on_round: OnRound,
        stage: str,
    ) -> Fitted:
        """Train one model on ``data``, with a live line for whoever watches."""
        try:
            fitted: Fitted = self.algorithm.fit(
                data,
                config,
                self.place,
                report,
                on_round,
                lambda: self.stop.requested,
                self.model_before,
                stage=Shared(self.checkpoints.stage(stage), self.place.team),
            )
            return fitted
        finally:
            self.console.finish()

    @property
    def model_before(self) -> bytes | None:
        """The earlier job's model to go on from, if there is one."""
        return None if self.earlier is None else self.earlier.model

    def note(self) -> None:
        """Say how the data will be learned; all of it is read."""
        if self.loader.schema is not None:
            for text in self.algorithm.notes(self.loader.schema, self.config):
                self.console.line(text)

    def open_checkpoints(self) -> None:
        """Look for what an earlier start left, and say so; all of the data is read."""
        team = self.place.team
        if not team.any(self.checkpoints.active) or self.loader.schema is None:
            return
        facts = fingerprint.facts(
            self.config,
            self.loader.data,
            self.loader.schema,
            self.loader.classes,
            self.place.device,
            self.versions(),
            self.model_before,
        )
        differs = not team.alone and together.inexact(self.config)
        if differs and self.config.on_host_loss != "resume":
            facts["workers"] = team.size
        found = team.broadcast(self.checkpoints.open(facts, self.config.rounds))
        if found:
            self.log.resumed(self.checkpoints.described(found), found)
        if self.config.inexact_resume:
            self.console.warning(
                f"{self.config.inexact_resume}; a job that is interrupted ends with another model "
                "(docs/spot.md says how much another)"
            )

    def write(self, models: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
        """Write the models and the manifest, if this is the worker that does."""
        if self.place.team.leads:
            artifacts.write(self.job.paths.model, models, manifest)

    def versions(self) -> dict[str, str]:
        """Return the versions of what models depend on."""
        from treeline.algorithms.library import library

        library()  # before scikit-learn, whose import it would make slow
        used = ["xgboost", "numpy", "pyarrow"]
        if self.config.is_forest and self.config.forest.engine == "sklearn":
            used.append("sklearn")
        found = {name: importlib.import_module(name).__version__ for name in used}
        return {"treeline": treeline.__version__, **found}

    def say(self, fitted: Fitted, what: str = "the model") -> None:
        """Say how training ended."""
        rounds = f"{_many(fitted.rounds_trained, 'round')} trained, {what} ends with round"
        if self.config.is_forest:
            rounds = f"{_many(fitted.rounds_trained, 'tree')} grown, {what} counts as round"
        self.console.line(
            f"{fitted.outcome.replace('_', ' ')}: {rounds} {fitted.last_round}, "
            f"{self.console.elapsed():.1f} s"
        )


def _train(work: _Work) -> None:
    """Train one model on train, scored on validation."""
    best = BestSoFar(work.config)

    def on_round(index: int, scores: Scores, restored: bool) -> None:
        work.log.round(index, scores, restored=restored)
        work.console.advance(best.after(scores))

    def loaded() -> None:
        work.loader.report(work.job.paths.output_data)
        work.note()
        work.open_checkpoints()
        work.console.start(work.config.num_round)

    fitted = work.fit(work.loader, work.config, loaded, on_round, "model")
    name = artifacts.MODEL_NAME
    models = {name: work.algorithm.save(fitted.model)}
    metrics = {
        "objective_metric": fitted.objective_metric,
        "final_score": number(fitted.objective_value),
        "scores": plain(fitted.scores),
    }
    work.write(models, _manifest(work, name, _training(work, fitted), metrics))
    work.log.final(
        fitted.last_round, fitted.scores, fitted.objective_metric, fitted.objective_value
    )
    work.say(fitted)


def _cross_validate(work: _Work) -> None:
    """Train a model for every fold, then one on all rows, with the rounds the folds chose."""
    from treeline import cross_validation, predictions

    cv = work.config.cv
    if cv is None:
        raise AssertionError("no folds asked for")
    team = work.place.team
    folded = cross_validation.prepare(work.loader, work.config, work.job.paths.output_data, team)
    work.note()
    work.open_checkpoints()
    for text in folded.lines:
        work.console.line(text)
    for text in folded.warnings:
        work.console.warning(text)
    held_out = predictions.OutOfFold()
    best = BestSoFar(work.config)
    at_once = folded.at_once(work.place.at_once, team)
    whole = folded.whole_at_once(work.config, work.place.at_once, team)
    work.console.line(side_by_side(folded.models, at_once, whole, work.place))
    work.console.start(work.config.num_round * folded.models)
    try:
        found = cross_validation.Validation(
            work.algorithm,
            folded.pool,
            folded.division,
            work.config,
            work.place,
            work.checkpoints,
        ).run(
            at_once,
            work.log,
            held_out,
            lambda scores: work.console.advance(best.after(scores)),
            lambda: work.stop.requested,
            whole,
        )
    finally:
        work.console.finish()
    name = artifacts.MODEL_NAME
    models = {artifacts.fold_name(i): each for i, each in enumerate(found.models)}
    training, last = None, found.rounds_chosen - 1
    scores: Scores = {}
    of = folded.pool.all
    write = partial(
        held_out.write,
        work.job.paths.output_data,
        work.config.objective,
        of.label,
        work.loader.classes,
        of.origin.positions,
    )
    writing = Beside(
        write if team.leads else _nothing,
        partial(predictions.remove, work.job.paths.output_data),
        threaded=work.place.at_once > 1,
    )
    if cv.refit:
        fitted = _refit(work, folded, found, writing)
        models = {name: work.algorithm.save(fitted.model), **models}
        training, last, scores = _training(work, fitted), fitted.last_round, fitted.scores
    writing.finish()
    metrics = {
        "objective_metric": found.objective_metric,
        "final_score": number(found.objective_value),
        "scores": plain(scores),
        "cross_validation": folded.described(found, cv),
    }
    work.write(models, _manifest(work, next(iter(models)), training, metrics))
    for text in found.warnings:
        work.console.warning(text)
    unseen = {role: each for role, each in scores.items() if role != "train"}
    if unseen:
        work.log.round(last, unseen)
    work.log.validated(last, found.scores, found.objective_metric, found.objective_value)


def _refit(work: _Work, folded: Folded, found: Validated, writing: Beside) -> Fitted:
    """Train the final model on all rows; ``writing`` is done meanwhile, of what the folds found."""
    refit = folded.refit(work.config, found)
    try:
        # By the first round the rows are binned, and the memory is there.
        fitted = work.fit(folded.all_rows(), refit, writing.start, _nothing, "final")
    except BaseException:
        writing.drop()
        raise
    work.say(fitted, "the final model, of all rows,")
    if fitted.outcome == "terminated":
        work.console.warning(
            f"the final model has {fitted.rounds_trained} of {refit.rounds} "
            f"{'trees' if refit.is_forest else 'rounds'}; the folds' scores are those of "
            "whole models"
        )
    return fitted


def side_by_side(folds: int, at_once: int, whole: int, place: Compute) -> str:
    """Return the line that says how ``folds`` are trained."""
    count, workers = whole or at_once, place.team.size
    each = sorted({place.one_of(count, number).threads_each for number in range(count)})
    threads = " to ".join(map(str, each))
    if not whole:
        return f"{at_once} fold(s) side by side, {threads} thread(s) each"
    left = f"; {folds % workers} by all workers together" if folds % workers else ""
    return (
        f"{whole * workers} folds side by side, whole on {workers} workers with {threads} "
        f"thread(s) each{left}"
    )


def _nothing(*_: object) -> None:
    """Take a round that nobody wants to see."""


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
        _share(memory.limit(Cgroup()), place),
        schema,
        classes,
        place.team,
    )


def _share(limit: int | None, place: Compute) -> int | None:
    """Return a worker's share of the memory that it has together with those beside it."""
    return None if limit is None else limit // place.beside


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


def _algorithm(config: Config) -> ModuleType:
    return importlib.import_module(f"treeline.algorithms.{config.algorithm}")


def check_together(config: Config, datasets: Mapping[str, Dataset]) -> None:
    """Refuse what neither the hyperparameters nor the channels show alone."""
    if config.cv is not None:
        _check_folds(config.cv, datasets)
    if "validation" in datasets or config.cv is not None:
        return
    for name, needs in (
        ("early_stopping_rounds", config.early_stopping_rounds is not None),
        (config.objective_source or "", config.objective_data == "validation"),
    ):
        if needs:
            raise ChannelError(
                f"Hyperparameter {name}={config.given.get(name, '')} needs a validation channel, "
                "and the job has none",
                f"Add an input channel named validation, or leave {name} out.",
            )


def _check_folds(cv: Folds, datasets: Mapping[str, Dataset]) -> None:
    kept = [role for role in datasets if role == "test" or (role == "validation" and not cv.pooled)]
    if kept and not cv.refit:
        raise ChannelError(
            f"Channel {kept[0]} is scored on the final model, and refit=false trains none",
            f"Leave the channel {kept[0]} or refit=false out.",
        )


def describe(config: Config, inputs: Inputs, place: Compute) -> str:
    """Return the line that says what is about to be done."""
    files = ", ".join(
        f"{role} {len(dataset.sources)} {dataset.format.name} file(s)"
        for role, dataset in inputs.datasets.items()
    )
    how = f"up to {_many(config.num_round, 'round')}"
    if config.is_forest:
        trees = _many(config.forest.n_estimators, "tree")
        how = f"random forest of {trees} by {config.forest.engine}"
    if inputs.model:
        how += ", on top of an earlier model"
    if config.cv is not None:
        repeats = f", {config.cv.repeats} times" if config.cv.repeats > 1 else ""
        how += f", {_many(config.cv.folds, 'fold')}{repeats}"
    where = f"{place.path} with {place.threads} thread(s)"
    if not place.team.alone:
        where = (
            f"{place.path} with {place.team.size} workers, the first with {place.threads} thread(s)"
        )
    elif place.why:
        where += f" ({place.why})"
    return f"treeline {treeline.__version__}: {config.objective}, {how}, {where}, {files}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _manifest(
    work: _Work, model_file: str, training: Mapping[str, Any] | None, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    from treeline.loader import schema_to_json

    config, loader = work.config, work.loader
    if loader.schema is None:
        raise AssertionError("a model without training data")
    return {
        "algorithm": config.algorithm,
        "model_file": model_file,
        "objective": config.objective,
        "num_class": config.num_class,
        "schema": schema_to_json(loader.schema, loader.classes),
        "hyperparameters": dict(config.given),
        "training": training,
        "metrics": metrics,
        "data": {
            role: {"rows": summary.rows, "fingerprint": summary.fingerprint}
            for role, summary in loader.data.items()
        },
        "versions": {
            "treeline": treeline.__version__,
            "python": platform.python_version(),
            **{
                name: sys.modules[name].__version__
                for name in ("xgboost", "numpy", "pyarrow", "sklearn")
                if name in sys.modules
            },
        },
    }


def _training(work: _Work, fitted: Fitted) -> dict[str, Any]:
    rounds = "trees_grown" if work.config.is_forest else "rounds_trained"
    return {
        "outcome": fitted.outcome,
        rounds: fitted.rounds_trained,
        "last_round": fitted.last_round,
        "compute": work.place.path,
        "workers": work.place.team.size,
        "threads": work.place.threads,
        "earlier_model": None if work.earlier is None else _named(work.earlier),
    }


def _named(earlier: EarlierModel) -> dict[str, str]:
    return {"file": earlier.origin, "sha256": hashlib.sha256(earlier.model).hexdigest()}
