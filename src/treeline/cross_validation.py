"""Cross-validation: a model for every fold, each scored on rows it has never seen.

The rows are read once and stay in memory (or in the file they were spooled to); a fold copies its
rows, has them binned and lets go of the copy. Where the compute path does several things at a time,
folds run side by side in threads, as many as there are threads and memory for, and the threads are
divided among them: XGBoost computes outside Python's lock, and a tuner sees means while the job
runs. How many run at once does not change a model.

What is printed does not depend on which fold is faster: a round is printed when all folds at work
have finished it.

The first worker draws the folds from the rows of all and tells the others; each fold has a lane of
its own, so that folds side by side do not wait for each other. Where every worker can hold the rows
of all, folds are placed whole (``placed``): each worker trains as many, by itself, which saves a
quarter of the CPU. The folds that are left over, or all of them, are trained by all workers
together, each on its part of a fold's rows. What the workers do together they have to do in the
same order: folds load in the order of their numbers, and a worker whose fold fails does not wait
for its other folds, which wait for workers that wait for the failed one.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

import numpy as np

from treeline import folds, memory
from treeline.algorithms.interface import Fitted, Loaded
from treeline.checkpoints.shared import Shared
from treeline.data import audit, dealing, everyone, subset
from treeline.data.matrix import group_sizes
from treeline.data.records import Csr
from treeline.errors import DataError, Stopped
from treeline.fold_data import HELD_OUT, Fold, FoldData, Rows
from treeline.metrics.log import HOLD_OUT, number, plain, spreads
from treeline.metrics.names import OBJECTIVES, RANKING
from treeline.placed import Placed
from treeline.team import ALONE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from treeline.algorithms.interface import Algorithm, Data, OnRound, Predictions
    from treeline.checkpoints.stage import Finished, Stage
    from treeline.checkpoints.store import Checkpoints
    from treeline.compute import Compute
    from treeline.data.matrix import Matrix
    from treeline.data.records import Floats
    from treeline.folds import Division
    from treeline.hyperparameters import Config
    from treeline.hyperparameters.config import Folds
    from treeline.loader import Loader
    from treeline.metrics.log import MetricLog, Scores, Spreads
    from treeline.predictions import OutOfFold
    from treeline.team import Team


@dataclass(frozen=True)
class Trained:
    """What remains of a fold's training.

    ``fitted`` is without its model. ``predictions`` are those for the rows held out, of all
    workers: (rows,), or (rows, outputs). ``model`` is the saved model where it is to be kept.
    """

    fitted: Fitted
    predictions: Predictions
    model: bytes | None

    @classmethod
    def of(cls, left: Finished) -> Trained:
        """Return what ``facts`` and ``sections`` were made of."""
        facts = dict(left.facts)
        scores = {
            data: {metric: float(value) for metric, value in metrics.items()}
            for data, metrics in facts.pop("scores").items()
        }
        value = float(facts.pop("objective_value"))
        fitted = Fitted(model=None, scores=scores, objective_value=value, **facts)
        predictions = np.load(io.BytesIO(left.sections["predictions"]), allow_pickle=False)
        return cls(fitted, predictions, left.sections.get("model"))

    def facts(self) -> dict[str, Any]:
        """Return the numbers, for JSON."""
        return {
            "last_round": self.fitted.last_round,
            "rounds_trained": self.fitted.rounds_trained,
            "scores": plain(self.fitted.scores),
            "objective_metric": self.fitted.objective_metric,
            "objective_value": number(self.fitted.objective_value),
            "outcome": self.fitted.outcome,
        }

    def sections(self) -> dict[str, bytes]:
        """Return the rest."""
        predictions = io.BytesIO()
        np.save(predictions, self.predictions, allow_pickle=False)
        model = {} if self.model is None else {"model": self.model}
        return {"predictions": predictions.getvalue(), **model}


@dataclass(frozen=True)
class Validated:
    """What cross-validation found.

    ``scores`` are by data set (train, validation) and metric. ``rounds`` is how many rounds each
    fold's model has, ``models`` the saved models of the folds if they are to be kept.
    """

    scores: Spreads
    rounds: tuple[int, ...]
    models: tuple[bytes, ...]
    objective_metric: str

    @property
    def warnings(self) -> Iterator[str]:
        """What makes a mean no number."""
        for data, metrics in self.scores.items():
            for metric, spread in metrics.items():
                folds = [str(i) for i, value in enumerate(spread.values) if value != value]
                if folds:
                    yield (
                        f"{data}-{metric} is not a number in fold(s) {', '.join(folds)}, and so "
                        "neither is its mean: these rows do not have every class, or no weight"
                    )

    @property
    def objective_value(self) -> float:
        """The mean of the metric that decides."""
        data, metric = self.objective_metric.split(":", 1)
        return self.scores[data][metric].mean

    @property
    def rounds_chosen(self) -> int:
        """The mean of the folds' rounds, to the nearest whole number: what the refit trains."""
        return max(1, round(float(np.mean(self.rounds))))


def prepare(loader: Loader, config: Config, output: Path, team: Team = ALONE) -> Folded:
    """Read all data and divide the rows of all workers; report on both under ``output``.

    A forest's trees are grown on all rows by every worker, so each gets them here, once for all
    folds. Raises ``DataError`` for data that cannot be divided as asked, ``ResourceError`` for
    more of them than a worker can hold.
    """
    if config.cv is None:
        raise AssertionError("no folds asked for")
    loaded = {role: loader.load(role) for role in loader.roles}
    task = OBJECTIVES[config.objective].task
    if config.is_forest and not team.alone:
        from treeline.algorithms.random_forest import check_held, whole

        divided = ("train", "validation") if config.cv.pooled else ("train",)
        chosen = {role: loaded[role] for role in divided if role in loaded}
        check_held(sum(each.all.rows for each in chosen.values()), loader)
        for role, each in chosen.items():
            hashes = each.all.take_hashes()  # this worker's rows have none
            loaded[role] = whole(each, team)
            loaded[role].matrix.hashes = hashes
    pool, lines = loaded.pop("train"), []
    other = loaded.get("validation")
    if other is not None and config.cv.pooled:
        del loaded["validation"]
        lines.append(
            f"validation: its {other.all.rows} rows are divided into folds too, together with "
            f"train's {pool.all.rows}, as _kfold asks"
        )
        pool = _joined(pool, other, team, whole_groups=task == RANKING)
    elif other is not None:
        loaded[HOLD_OUT] = loaded.pop("validation")
        lines.append(
            f"validation: its {other.all.rows} rows are in no fold; the final model is scored "
            f"on them as {HOLD_OUT}"
        )
    matrix = pool.all
    if pool.everyone is not None and task == RANKING and matrix.group is not None:
        group_sizes(matrix)  # no worker alone sees a query that stands on two of them
    keys = matrix.take_hashes()
    pool.matrix.take_hashes()
    # One worker draws the folds for all: what it takes is of all rows, and a library to import.
    drawn = _divided(config.cv, matrix, keys, config, loader) if team.leads else None
    division: Division = team.broadcast(drawn)  # type: ignore[assignment]  # the first has it
    if team.leads:
        found = audit.folds(
            division,
            task=task,
            leakage=config.data.leakage,
            hashes=keys,
            label=matrix.label,
            classes=None if loader.classes is None else [str(each) for each in loader.classes],
            # Only groups that the job named: queries are divided as wholes anyway.
            group=matrix.group if config.data.group_column else None,
            group_names=matrix.group_names,
            origin=matrix.origin.of,
        )
        loader.report(output, found)
    memory.give_back()
    return Folded(pool, loaded, division, loader, (*lines, division.line), division.warnings)


def _divided(
    wish: Folds, matrix: Matrix, keys: NDArray[np.uint64], config: Config, loader: Loader
) -> Division:
    """Divide the rows of all workers; ``keys`` are their hashes."""
    division = folds.divide(
        wish,
        config.seed,
        task=OBJECTIVES[config.objective].task,
        keys=keys,
        label=matrix.label,
        weight=matrix.weight,
        others=(matrix.lower, matrix.upper, matrix.margin),
        group=matrix.group,
        group_names=matrix.group_names,
        time=matrix.time,
        class_names=loader.classes,
    )
    if matrix.weight is not None:
        _check_weights(division, matrix.weight)
    return division


def _joined(first: Loaded, second: Loaded, team: Team, *, whole_groups: bool) -> Loaded:
    """Return the rows of both: those of all workers of ``first`` before any of ``second``."""
    if first.everyone is None or second.everyone is None:
        return replace(first, matrix=subset.joined(first.matrix, second.matrix))
    if isinstance(first.matrix.features, Csr) != isinstance(second.matrix.features, Csr):
        subset.joined(first.matrix, second.matrix)  # refuses them
    of_all = subset.joined(first.everyone, second.everyone)
    parts = (first.matrix, second.matrix)
    matrix, numbers = dealing.dealt(parts, of_all, team, whole_groups=whole_groups)
    return Loaded(matrix, first.on_disk, of_all, numbers)


def _check_weights(division: Division, weight: Floats) -> None:
    """Refuse a fold whose rows all weigh nothing: its score would be no score, perhaps a 0."""
    for repeat in range(division.repeats):
        for fold in range(division.folds):
            for part in ("training", "held_out"):
                if not weight[getattr(division, part)(repeat, fold)].any():
                    what = part.replace("_", "-")
                    raise DataError(
                        f"Fold {fold} (from 0): all of its {what} rows have weight 0",
                        "Use fewer folds or another cv_strategy, or leave rows of weight 0 out.",
                    )


@dataclass(frozen=True)
class Folded:
    """The rows of a job, divided into folds, and the data sets that stay apart."""

    pool: Loaded
    others: Mapping[str, Loaded]
    division: Division
    loader: Loader
    lines: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def models(self) -> int:
        """How many models cross-validation trains."""
        return self.division.folds * self.division.repeats

    def at_once(self, most: int, team: Team = ALONE) -> int:
        """Return how many folds, at ``most``, all workers train side by side, sharing the threads.

        As many as the worker that can train the fewest.
        """
        rows = self.division.held_out(0, 0)
        held_out = len(rows)
        if self.pool.numbers is not None:
            held_out = int(np.isin(self.pool.numbers, rows).sum())
        fits = self.loader.folds_at_once(self.pool.matrix.rows - held_out, held_out)
        return min(team.gather(max(1, min(self.models, most, fits))))

    def whole_at_once(self, config: Config, most: int, team: Team = ALONE) -> int:
        """Return how many whole folds, at ``most``, each worker trains side by side, 0 for none.

        None, and all are trained together, where a worker cannot hold the rows of all, or has none
        of its own, or would have no fold; for a forest, whose trees are divided; and for queries
        with weights, which may be refused where all workers train together, as the final model
        does.
        """
        rows, each = self.pool.all, self.models // team.size
        weighted = rows.weight is not None and OBJECTIVES[config.objective].task == RANKING
        if self.pool.everyone is None or not each or weighted or self.pool.on_disk:
            return 0
        if 0 in team.gather(self.pool.matrix.rows) or not self.loader.holds_all(rows.rows):
            return 0
        held_out = len(self.division.held_out(0, 0))
        # Each as if beside the rows of all, which are there once: more than is needed.
        fits = self.loader.folds_at_once(2 * rows.rows - held_out, held_out)
        found = min(team.gather(max(1, min(each, most, fits))))
        return len(next(_batches(range(each), found)))

    def refit(self, config: Config, found: Validated) -> Config:
        """Return what the final model is trained with: the rounds the folds chose.

        It follows no metric, and has no validation data for one.
        """
        rounds = found.rounds_chosen
        return replace(config, num_round=rounds, early_stopping_rounds=None, objective_data=None)

    def all_rows(self) -> Data:
        """Return the data of the final model."""
        return _AllRows(self.pool, self.others)

    def described(self, found: Validated, cv: Folds) -> dict[str, Any]:
        """Return what the manifest says of the folds."""
        return {
            "strategy": self.division.strategy,
            "folds": self.division.folds,
            "repeats": self.division.repeats,
            "pooled": cv.pooled,
            "rounds": list(found.rounds),
            "rounds_chosen": found.rounds_chosen,
            "scores": {
                data: {
                    metric: {
                        "mean": number(each.mean),
                        "standard_deviation": number(each.deviation),
                        "folds": [number(value) for value in each.values],
                    }
                    for metric, each in metrics.items()
                }
                for data, metrics in found.scores.items()
            },
        }


class _AllRows:
    """The data of the final model: every row that was divided, and what stayed apart."""

    scored_each_round = ()

    def __init__(self, pool: Loaded, others: Mapping[str, Loaded]) -> None:
        self._loaded = {"train": pool, **others}
        self.roles = tuple(self._loaded)

    def load(self, role: str) -> Loaded:
        return self._loaded[role]


@dataclass(frozen=True)
class _Batch:
    """Folds that are trained side by side: ``each`` of them at a time with a worker's threads.

    ``placed`` is whether one worker trains each of them, in turns by rank, with ``relays`` if the
    first worker keeps checkpoints.
    """

    folds: Sequence[Fold]
    each: int
    rows: Rows
    placed: bool = False
    relays: bool = False

    def place(self, fold: Fold, workers: int) -> int:
        """Return the place of a fold among those that its worker trains side by side."""
        return self.folds.index(fold) // (workers if self.placed else 1)


class Validation:
    """The folds of one job, trained and scored."""

    def __init__(
        self,
        algorithm: Algorithm,
        loaded: Loaded,
        division: Division,
        config: Config,
        compute: Compute,
        checkpoints: Checkpoints,
    ) -> None:
        self._algorithm = algorithm
        self._loaded = loaded
        self._division = division
        # A fold that is cut short is no estimate of anything.
        self._config = replace(config, save_model_on_termination=False)
        self._compute = compute
        self._team = compute.team
        self._checkpoints = checkpoints
        self._keep_models = config.cv is not None and config.cv.keep_models

    def run(
        self,
        at_once: int,
        log: MetricLog,
        predictions: OutOfFold,
        advance: Callable[[Scores], None],
        stop_requested: Callable[[], bool],
        whole: int = 0,
    ) -> Validated:
        """Train every fold, ``at_once`` side by side; raises whatever the first failing fold does.

        With ``whole`` each worker trains as many folds by itself side by side, and ``at_once`` is
        for those that are left over. ``log`` gets every round, ``predictions`` what each fold says
        of its held-out rows, and ``advance`` is called after each round of each fold. All workers
        are told the same.
        """
        folds = [
            Fold(repeat * self._division.folds + fold, repeat, fold)
            for repeat in range(self._division.repeats)
            for fold in range(self._division.folds)
        ]
        done: list[Fitted] = []
        models: list[bytes] = []
        for batch in self._planned(folds, at_once, whole):
            for fold, trained in self._train(batch, log, advance, stop_requested):
                held_out = self._division.held_out(fold.repeat, fold.fold)
                predictions.add(fold.repeat, fold.fold, held_out, trained.predictions)
                if trained.model is not None:
                    models.append(trained.model)
                done.append(trained.fitted)
            memory.give_back()
        return Validated(
            scores=spreads([fitted.scores for fitted in done]),
            rounds=tuple(fitted.last_round + 1 for fitted in done),
            models=tuple(models),
            objective_metric=done[0].objective_metric,
        )

    def _planned(self, folds: Sequence[Fold], at_once: int, whole: int) -> Iterator[_Batch]:
        """Yield the folds in batches: as many whole ones for every worker, then those left over."""
        team, each = self._team, len(folds) // self._team.size if whole else 0
        placed, others = folds[: each * team.size], folds[each * team.size :]
        if placed:
            relays = team.any(self._checkpoints.active)
            rows = _rows_of_all(
                self._loaded, team, [f.number for f in placed[team.rank :: team.size]]
            )
            for some in _batches(range(each), whole):
                batch = placed[some[0] * team.size : (some[-1] + 1) * team.size]
                yield _Batch(batch, len(some), rows, placed=True, relays=relays)
        rows = Rows(self._loaded, [fold.number for fold in others])
        for batch in _batches(others, at_once):
            yield _Batch(batch, len(batch), rows)

    def _train(
        self,
        batch: _Batch,
        log: MetricLog,
        advance: Callable[[Scores], None],
        stop_requested: Callable[[], bool],
    ) -> Iterator[tuple[Fold, Trained]]:
        """Train a batch of folds side by side, log their rounds in step, and yield the models."""
        failed, alone, folds = threading.Event(), self._team.alone, batch.folds
        # Short, so that no fold is far ahead of what is printed.
        events: Queue[Event] = Queue(maxsize=2 * len(folds))
        deaf = threading.Event()  # set when nobody reads them any more
        lanes = folds[-1].number + 1

        def ended() -> bool:
            return failed.is_set() or stop_requested()

        def train(fold: Fold) -> Trained:
            def on_round(index: int, scores: Scores, restored: bool) -> None:
                _tell(events, Event(fold.number, index, scores, restored), deaf)

            error: BaseException | None = None
            with ExitStack() as left:  # the lane last: all workers have to leave it together
                try:
                    # A lane can be joined once: each fold has its own.
                    lane = left.enter_context(self._team.lane(fold.number))
                    left.callback(batch.rows.pass_on, fold.number)
                    return self._trained(fold, batch, lane, on_round, ended)
                except BaseException as raised:
                    # A request to stop is heard by all workers, a failure perhaps by this one only.
                    if alone or isinstance(raised, Stopped):
                        failed.set()
                    else:
                        error = raised
                    raise
                finally:
                    _tell(events, Event(fold.number, error=error), deaf)

        self._team.open_lanes(lanes)
        pool = ThreadPoolExecutor(len(folds), thread_name_prefix="fold")
        running = [pool.submit(train, fold) for fold in folds]
        try:
            _log_in_step(folds, events, log, advance)
        except BaseException:  # nothing waits for folds of which nobody can tell
            if alone:
                failed.set()
            deaf.set()
            raise
        finally:
            pool.shutdown(wait=alone)
        # A fold that was only asked to stop says less than the one that failed.
        errors = [error for each in running if (error := each.exception()) is not None]
        if errors:
            raise next((e for e in errors if not isinstance(e, Stopped)), errors[0])
        while running:
            yield folds[len(folds) - len(running)], running.pop(0).result()

    def _trained(
        self,
        fold: Fold,
        batch: _Batch,
        lane: Team,
        on_round: OnRound,
        ended: Callable[[], bool],
    ) -> Trained:
        """Return a fold that an earlier start finished, or train it; called by all workers."""
        stage = self._checkpoints.stage(f"fold-{fold.number:03d}")
        kept = Shared(stage, lane)
        finished = self._restored(kept, on_round)
        if finished is not None:
            return finished
        compute = self._compute.one_of(batch.each, batch.place(fold, lane.size))

        def fit(
            on_round: OnRound, ended: Callable[[], bool], stage: Stage, team: Team = ALONE
        ) -> Trained:
            data = FoldData(batch.rows, self._division, fold, ended, team)
            return self._fit(data, replace(compute, team=team), on_round, ended, stage)

        if batch.placed:
            owner = (fold.number - batch.folds[0].number) % lane.size
            followed = Placed(lane, owner, on_round, ended, stage, kept)
            trained = followed.run(fit, relays=batch.relays)
        else:
            trained = fit(on_round, ended, kept, lane)
        early = trained.fitted.outcome == "early_stopped"
        kept.finish(trained.facts(), trained.sections(), early=early)
        return trained

    def _fit(
        self,
        data: FoldData,
        compute: Compute,
        on_round: OnRound,
        ended: Callable[[], bool],
        stage: Stage,
    ) -> Trained:
        """Train a fold and return what remains of it."""
        fitted = self._algorithm.fit(
            data,
            self._config,
            compute,
            data.release,
            on_round,
            ended,
            keep=(HELD_OUT,),
            stage=stage,
        )
        model = self._algorithm.save(fitted.model) if self._keep_models else None
        # Without the model: XGBoost keeps a model's data for as long as it is there.
        bare = replace(fitted, model=None, predictions={})
        return Trained(bare, data.of_all_workers(fitted.predictions[HELD_OUT]), model)

    def _restored(self, stage: Stage, on_round: OnRound) -> Trained | None:
        """Return the fold that an earlier start finished, with its rounds told again."""
        left = stage.finished(self._config.rounds)
        if left is None:
            return None
        trained = Trained.of(left)
        for index, scores in enumerate(left.scores or [trained.fitted.scores]):
            on_round(index, scores, True)
        return trained


def _rows_of_all(loaded: Loaded, team: Team, numbers: Sequence[int]) -> Rows:
    """Return the rows of all workers, with their features, for the folds with these numbers."""
    features = everyone.features(loaded.matrix.features, team)
    return Rows(Loaded(replace(loaded.all, features=features)), numbers)


def _tell(events: Queue[Event], event: Event, deaf: threading.Event) -> None:
    """Put an event into the queue as soon as there is room, or nowhere if nobody reads it."""
    while not deaf.is_set():
        with suppress(Full):
            events.put(event, timeout=1.0)
            return


def _log_in_step(
    batch: Sequence[Fold], events: Queue[Event], log: MetricLog, advance: Callable[..., None]
) -> None:
    """Log the rounds of folds that run side by side until all of them have ended.

    Raises the error of a fold at once if the others are not to be waited for.
    """
    steps = _Steps([fold.number for fold in batch])
    while steps.running:
        event = events.get()
        if event.error is not None:
            raise event.error
        for index, scores, restored in steps.after(event):
            log.folds(index, scores, whole=len(scores) == len(batch), restored=restored)
            for each in scores.values():
                advance(each)


@dataclass(frozen=True)
class Event:
    """A fold has come to the end of a round, or without ``index`` to the end of its training.

    ``error`` is what ended it where nothing is to be waited for.
    """

    number: int
    index: int | None = None
    scores: Scores = field(default_factory=dict)
    restored: bool = False
    error: BaseException | None = None


class _Steps:
    """Puts the rounds of folds that run side by side in step."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.running = set(numbers)
        self._next = 0
        self._waiting: dict[int, dict[int, Event]] = {number: {} for number in numbers}
        self._held: tuple[int, dict[int, Scores]] | None = None

    def after(self, event: Event) -> Iterator[tuple[int, dict[int, Scores], bool]]:
        """Yield the rounds that are complete now: the number, and each fold's scores.

        And whether an earlier start of the job had come that far with all of them. The last such
        round counts as new where training goes on: it may have been kept, and not yet printed.
        """
        if event.index is None:
            self.running.discard(event.number)
        else:
            self._waiting[event.number][event.index] = event
        while any(self._next in rounds for rounds in self._waiting.values()):
            if any(self._next not in self._waiting[number] for number in self.running):
                return
            done = {n: r.pop(self._next) for n, r in self._waiting.items() if self._next in r}
            restored = all(each.restored for each in done.values())
            scores = {n: each.scores for n, each in done.items()}
            if self._held is not None:
                yield *self._held, restored
            self._held = (self._next, scores) if restored else None
            if not restored:
                yield self._next, scores, False
            self._next += 1
        if self._held is not None and not self.running:
            yield *self._held, True
            self._held = None


def _batches[T](folds: Sequence[T], at_once: int) -> Iterator[Sequence[T]]:
    """Divide the folds into batches of at most ``at_once``, as even as can be, large ones first."""
    batches = -(-len(folds) // at_once)
    first = 0
    for left in range(batches, 0, -1):
        size = -(-(len(folds) - first) // left)
        yield folds[first : first + size]
        first += size
