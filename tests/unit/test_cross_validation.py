"""How folds run side by side: their batches, their rounds in step, and what ends them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from treeline import hyperparameters
from treeline.algorithms.interface import Fitted, Loaded
from treeline.checkpoints.stage import NOWHERE, Stage
from treeline.checkpoints.store import Checkpoints
from treeline.compute import Compute
from treeline.console import Console
from treeline.cross_validation import Event, Folded, Validated, Validation, _batches, _Steps
from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin, Schema
from treeline.errors import DataError, Stopped
from treeline.fold_data import Fold
from treeline.folds import KFOLD, Division
from treeline.hyperparameters.config import CheckpointOptions
from treeline.metrics.log import MetricLog, Spread
from treeline.predictions import OutOfFold

ROWS = 12
LIMIT = 10  # seconds after which a test of threads has failed


def scores(value: float) -> dict[str, dict[str, float]]:
    return {"train": {"rmse": value / 2}, "validation": {"rmse": value}}


def division(folds: int, repeats: int = 1) -> Division:
    """Fold f holds out the rows f, f + folds, ..."""
    drawn = tuple(np.arange(ROWS, dtype=np.int8) % folds for _ in range(repeats))
    return Division(KFOLD, folds, repeats, ROWS, "", (), drawn)


def pool() -> Loaded:
    """Rows that say their number as a feature and as the label."""
    stats, numbers = ColumnStats(), np.arange(ROWS, dtype=np.float32)
    stats.rows = ROWS
    nothing: dict[str, Any] = dict.fromkeys(("weight", "group", "lower", "upper", "margin"))
    return Loaded(
        Matrix(
            features=numbers[:, np.newaxis],
            label=numbers,
            group_names=(),
            schema=Schema(1),
            stats=stats,
            hashes=np.empty(0, np.uint64),
            fingerprint="",
            origin=Origin(),
            **nothing,
        )
    )


def config(**more: str) -> Any:
    return hyperparameters.parse({"num_round": "3", "cv_folds": "2", **more})


class Scripted:
    """An algorithm whose folds do what a test says.

    ``script`` is called in the fold's thread with its number (within the repeat), a function that
    logs a round with a score, and one that raises ``Stopped`` if the fold is to stop.
    """

    def __init__(self, script: Callable[[int, Any, Any], None] | None = None) -> None:
        self.script = script or (lambda fold, log, check: log(0, float(fold)))
        self.seen: list[tuple[int, tuple[int, ...], Any, Compute]] = []

    def notes(self, schema: Any, config: Any) -> tuple[str, ...]:
        return ()

    def fit(
        self,
        data: Any,
        config: Any,
        compute: Compute,
        loaded: Callable[[], None],
        on_round: Callable[[int, Mapping[str, Any], bool], None],
        stop_requested: Callable[[], bool],
        earlier: bytes | None = None,
        keep: Any = (),
        stage: Stage = NOWHERE,
    ) -> Fitted:
        assert (list(data.roles), tuple(keep), earlier) == (
            ["train", "validation"],
            ("validation",),
            None,
        )
        train, held_out = (data.load(role).matrix for role in data.roles)
        assert set(train.label) | set(held_out.label) == set(range(ROWS))
        assert not set(train.label) & set(held_out.label)
        loaded()
        fold = int(held_out.label[0])
        self.seen.append((fold, tuple(held_out.label.astype(int)), config, compute))
        last = -1

        def log(index: int, value: float) -> None:
            nonlocal last
            last = index
            on_round(index, scores(value), False)

        def check() -> None:
            if stop_requested():
                raise Stopped

        self.script(fold, log, check)
        return Fitted(
            model=f"model of fold {fold}",
            last_round=last,
            rounds_trained=last + 1,
            scores=scores(10.0 + fold),
            objective_metric="validation:rmse",
            objective_value=10.0 + fold,
            outcome="completed",
            predictions={"validation": held_out.features[:, 0]},
        )

    def save(self, model: str) -> bytes:
        return model.encode()

    def predict(self, model: Any, features: Any) -> Any:
        raise AssertionError("not asked for")


class Job:
    """One cross-validation and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self.advanced: list[Any] = []
        self.predictions = OutOfFold()
        self.stop = threading.Event()
        self.folder = folder

    def run(
        self,
        algorithm: Scripted,
        folds: int,
        at_once: int,
        *,
        repeats: int = 1,
        threads: int = 4,
        emit: Callable[[str], None] | None = None,
        **given: str,
    ) -> Validated:
        work = Validation(
            algorithm,
            pool(),
            division(folds, repeats),
            config(**given),
            Compute("multiCPU", "cpu", threads),
            Checkpoints(None, CheckpointOptions(), Console()),
        )
        with closing(MetricLog(emit or self.lines.append, self.folder)) as log:
            return work.run(at_once, log, self.predictions, self.advanced.append, self.stop.is_set)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


# Batches


@pytest.mark.parametrize(
    ("folds", "at_once", "sizes"),
    [
        (5, 1, [1, 1, 1, 1, 1]),
        (5, 2, [2, 2, 1]),
        (5, 4, [3, 2]),
        (5, 5, [5]),
        (5, 9, [5]),
        (1, 1, [1]),
        (10, 4, [4, 3, 3]),
        (9, 4, [3, 3, 3]),
    ],
)
def test_batches_are_as_few_and_as_even_as_can_be(
    folds: int, at_once: int, sizes: list[int]
) -> None:
    each = [Fold(number, 0, number) for number in range(folds)]
    batches = list(_batches(each, at_once))
    assert [len(batch) for batch in batches] == sizes
    assert [fold for batch in batches for fold in batch] == each


# Rounds in step


def in_step(numbers: list[int], *events: Any) -> list[list[tuple[int, list[int]]]]:
    """Return, for each event, the rounds that it completes: number and folds."""
    steps = _Steps(numbers)
    return [
        [(index, list(done)) for index, done, _ in steps.after(Event(*event))] for event in events
    ]


def test_a_round_is_complete_when_all_folds_have_it() -> None:
    one, two = scores(1), scores(2)
    assert in_step([4, 7], (7, 0, one), (7, 1, one), (4, 0, two), (4, 1, two)) == [
        [],
        [],
        [(0, [4, 7])],
        [(1, [4, 7])],
    ]


def test_a_fold_that_ends_holds_up_nobody() -> None:
    one = scores(1)
    found = in_step(
        [0, 1, 2],
        *((0, i, one) for i in range(3)),
        (1, 0, one),
        (1, None, None),  # fold 1 has one round
        (2, 0, one),  # all have round 0, and round 1 waits for fold 2
        (2, None, None),  # which has no more: the rest is fold 0's
        (0, 3, one),
        (0, None, None),
    )
    assert found == [[], [], [], [], [], [(0, [0, 1, 2])], [(1, [0]), (2, [0])], [(3, [0])], []]


def test_a_fold_that_fails_before_its_first_round_holds_up_nobody() -> None:
    assert in_step([0, 1], (1, 0, scores(1)), (0, None, None)) == [[], [(0, [1])]]


def test_scores_stay_with_their_fold_and_in_the_order_of_the_folds() -> None:
    steps = _Steps([0, 1])
    assert list(steps.after(Event(1, 0, scores(5)))) == []
    [(index, done, _)] = steps.after(Event(0, 0, scores(3)))
    assert (index, list(done.items())) == (0, [(0, scores(3)), (1, scores(5))])
    assert steps.running == {0, 1}


def test_the_round_that_training_goes_on_from_counts_as_new() -> None:
    """All folds had come to round 1; that it was printed too is not certain."""
    steps = _Steps([0, 1])
    events = [Event(n, i, restored=i < 2 + n) for i in range(3) for n in (0, 1)]
    found = [each for event in events for each in steps.after(event)]
    assert [(index, restored) for index, _, restored in found] == [
        (0, True),
        (1, False),
        (2, False),
    ]


def test_nothing_of_finished_folds_counts_as_new() -> None:
    steps = _Steps([0, 1])
    events = [Event(n, i, restored=True) for i in range(2) for n in (0, 1)]
    found = [each for e in (*events, Event(0), Event(1)) for each in steps.after(e)]
    assert [(index, restored) for index, _, restored in found] == [(0, True), (1, True)]


# Folds side by side


def test_one_fold_at_a_time_holds_a_copy_of_its_rows(job: Job) -> None:
    """From its first data set until everything is binned; a fold that fails lets go of its turn."""
    held, most = set(), []

    class Slow(Scripted):
        def fit(self, data: Any, *others: Any, **more: Any) -> Fitted:
            load, number = data.load, id(data)

            def watched(role: str) -> Any:
                loaded = load(role)
                held.add(number)
                most.append(len(held))
                threading.Event().wait(0.02)
                return loaded

            def let_go() -> None:
                held.discard(number)
                release()

            release, data.load, data.release = data.release, watched, let_go
            return super().fit(data, others[0], others[1], let_go, *others[3:], **more)

    job.run(Slow(), 4, 4)
    assert most == [1] * 8


def test_what_is_printed_does_not_depend_on_which_fold_is_faster(tmp_path: Path) -> None:
    printed = []
    for slow in (0, 1):
        ready = threading.Event()

        def script(fold: int, log: Any, check: Any, slow: int = slow, ready: Any = ready) -> None:
            if fold == slow:
                assert ready.wait(LIMIT)
            for index in range(2 + (fold > 0)):  # fold 0 has a round less
                log(index, 10.0 * fold + index)
            ready.set()

        job = Job(tmp_path / str(slow))
        found = job.run(Scripted(script), 3, 3)
        printed.append(job.lines)
        assert found.rounds == (2, 3, 3)
        assert len(job.advanced) == 8
    assert printed[0] == printed[1]
    folds, mean = ["fold:0", "fold:1", "fold:2"], "mean-of-folds:0,1,2"
    # No mean of round 2: it would be of other folds than those before.
    expected = [(0, each) for each in (*folds, mean)] + [(1, each) for each in (*folds, mean)]
    expected += [(2, "fold:1"), (2, "fold:2")]
    shown = [(line.split("\t")[0], line.split("\t")[-1]) for line in printed[0]]
    assert shown == [(f"[{index}]", each) for index, each in expected]


def test_what_is_found_is_in_the_order_of_the_folds(job: Job) -> None:
    algorithm = Scripted()
    found = job.run(algorithm, 3, 2, repeats=2, keep_fold_models="true")
    assert list(found.models) == [f"model of fold {i}".encode() for i in (0, 1, 2, 0, 1, 2)]
    assert [*found.scores["validation"]["rmse"].values] == [10, 11, 12, 10, 11, 12]
    assert found.objective_value == 11
    assert sorted(fold for fold, *_ in algorithm.seen) == [0, 0, 1, 1, 2, 2]
    job.predictions.write(job.folder, "reg:squarederror", pool().matrix.label, None)
    lines = (job.folder / "predictions_by_fold.csv").read_text().splitlines()
    assert lines[1:] == [f"{i},{r},{i % 3},{i},{i}" for i in range(ROWS) for r in range(2)]
    assert sorted({line.split("\t")[-1] for line in job.lines if "mean" not in line}) == [
        f"fold:{number}" for number in range(6)
    ]


def test_models_are_kept_only_if_asked(job: Job) -> None:
    assert job.run(Scripted(), 2, 1).models == ()


@pytest.mark.parametrize(
    ("threads", "at_once", "each"), [(8, 2, {4}), (5, 2, {3, 2, 5}), (1, 3, {1})]
)
def test_the_threads_are_divided_among_a_batch(
    threads: int, at_once: int, each: set[int], job: Job
) -> None:
    algorithm = Scripted()
    job.run(algorithm, 2 if threads == 8 else 3, at_once, threads=threads)
    assert {compute.threads_each for *_, compute in algorithm.seen} == each
    assert {compute.threads for *_, compute in algorithm.seen} == {threads}  # to bin with


def test_a_fold_that_is_cut_short_is_never_an_estimate(job: Job) -> None:
    algorithm = Scripted()
    job.run(algorithm, 2, 2, save_model_on_termination="true", early_stopping_rounds="2")
    for _, _, given, _ in algorithm.seen:
        assert not given.save_model_on_termination
        assert given.early_stopping_rounds == 2


# What ends them


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_fold_that_fails_ends_the_others_and_is_the_one_heard(failing: int, job: Job) -> None:
    stopped = []
    all_there = threading.Barrier(3)

    def script(fold: int, log: Any, check: Any) -> None:
        all_there.wait(LIMIT)
        log(0, 1.0)
        if fold == failing:
            raise DataError(f"fold {fold}", "none")
        try:
            for _ in range(LIMIT * 100):
                check()
                threading.Event().wait(0.01)
        except Stopped:
            stopped.append(fold)
            raise

    with pytest.raises(DataError, match=f"fold {failing}"):
        job.run(Scripted(script), 3, 3)
    assert sorted(stopped) == [fold for fold in range(3) if fold != failing]


def test_later_batches_do_not_begin_after_a_failure(job: Job) -> None:
    def script(fold: int, log: Any, check: Any) -> None:
        raise ValueError(f"fold {fold}")

    algorithm = Scripted(script)
    with pytest.raises(ValueError, match="fold 0"):
        job.run(algorithm, 4, 1)
    assert [fold for fold, *_ in algorithm.seen] == [0]


def test_a_request_to_stop_stops_every_fold(job: Job) -> None:
    begun = threading.Barrier(2)
    stopped = []

    def script(fold: int, log: Any, check: Any) -> None:
        begun.wait(LIMIT)
        job.stop.set()
        try:
            check()
        except Stopped:
            stopped.append(fold)
            raise

    with pytest.raises(Stopped):
        job.run(Scripted(script), 4, 2)
    assert sorted(stopped) == [0, 1]


def test_a_log_that_cannot_be_written_ends_the_folds(job: Job) -> None:
    stopped = []

    def script(fold: int, log: Any, check: Any) -> None:
        log(0, 1.0)
        try:
            for _ in range(LIMIT * 100):
                check()
                threading.Event().wait(0.01)
        except Stopped:
            stopped.append(fold)
            raise

    def emit(line: str) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        job.run(Scripted(script), 2, 2, emit=emit)
    assert sorted(stopped) == [0, 1]


# What follows from the folds


def validated(*rounds: int) -> Validated:
    found = {"train": {"auc": Spread(0.9, 0, ())}, "validation": {"auc": Spread(0.75, 0, ())}}
    return Validated(found, rounds, (), "validation:auc")


@pytest.mark.parametrize(
    ("rounds", "chosen"), [((5, 5, 5), 5), ((3, 4, 4), 4), ((3, 3, 4), 3), ((0, 0, 0), 1)]
)
def test_the_refit_has_the_mean_of_the_rounds(rounds: tuple[int, ...], chosen: int) -> None:
    assert validated(*rounds).rounds_chosen == chosen


def folded(folds: int, repeats: int = 1, fits: int = 99) -> tuple[Folded, list[tuple[int, int]]]:
    asked = []

    class Loader:
        def folds_at_once(self, rows: int, held_out: int) -> int:
            asked.append((rows, held_out))
            return fits

    loader: Any = Loader()
    return Folded(pool(), {}, division(folds, repeats), loader, (), ()), asked


def test_the_refit_stops_at_no_metric() -> None:
    given = config(
        num_round="50", early_stopping_rounds="3", _tuning_objective_metric="validation:mae"
    )
    refit = folded(2)[0].refit(given, validated(7, 9))
    assert (refit.num_round, refit.early_stopping_rounds) == (8, None)
    # A tuner's metric is one of validation data, which the final model does not have.
    assert refit.followed({"train": {"mae": 1.0}, "holdout": {"mae": 2.0}}) == ("train", "mae")
    assert refit.booster == given.booster
    assert refit.eval_metrics == given.eval_metrics


@pytest.mark.parametrize(
    ("threads", "fits", "folds", "repeats", "expected"),
    [(8, 99, 3, 1, 3), (8, 99, 3, 2, 6), (2, 99, 3, 1, 2), (8, 2, 3, 1, 2), (1, 0, 3, 1, 1)],
)
def test_folds_at_once_are_as_many_as_there_are_threads_and_memory_for(
    threads: int, fits: int, folds: int, repeats: int, expected: int
) -> None:
    work, asked = folded(folds, repeats, fits)
    assert work.at_once(threads) == expected
    assert asked == [(8, 4)]  # of 12 rows in three folds
