"""Cross-validation by several workers is that of one."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import forests, teams

from treeline import cross_validation, folds, hyperparameters, trainer
from treeline.algorithms import random_forest, xgboost
from treeline.algorithms.interface import Fitted, Loaded
from treeline.checkpoints.store import Checkpoints
from treeline.compute import Compute
from treeline.console import Console
from treeline.data import dealing, everyone, subset
from treeline.data.matrix import Matrix
from treeline.data.records import Csr
from treeline.errors import DataError, Stopped
from treeline.hyperparameters.config import CheckpointOptions
from treeline.metrics.log import MetricLog
from treeline.predictions import OutOfFold
from treeline.team import ALONE, Team

ROWS = forests.ROWS
# Where each worker's rows begin.
SHARES: dict[int, list[float]] = {1: [0, 1], 2: [0, 0.7, 1], 3: [0, 0.4, 0.5, 1]}
ONE_WITHOUT = [0, 0.4, 0.4, 1]
FOREST = {"algorithm": "random_forest", "n_estimators": "5", "max_depth": "4"}
# XGBoost's own base_score differs by a rounding error where the rows are several workers'.
JOBS: dict[str, dict[str, str]] = {
    "binary": {
        "objective": "binary:logistic",
        "base_score": "0.5",
        "num_round": "5",
        "eval_metric": "logloss,auc,f1",
        "early_stopping_rounds": "2",
        "cv_folds": "3",
        "keep_fold_models": "true",
    },
    "repeats": {
        "objective": "reg:squarederror",
        "base_score": "100",
        "num_round": "3",
        "cv_folds": "2",
        "cv_repeats": "2",
    },
    "long": {
        "objective": "reg:squarederror",
        "base_score": "100",
        "num_round": "20",
        "max_depth": "3",
        "cv_folds": "2",
        "cv_repeats": "2",
    },
    "six": {
        "objective": "reg:squarederror",
        "base_score": "100",
        "num_round": "3",
        "cv_folds": "6",
    },
    "split": {
        "objective": "reg:squarederror",
        "base_score": "100",
        "num_round": "3",
        "cv_folds": "1",
    },
    "pooled": {
        "objective": "multi:softprob",
        "num_class": "3",
        "base_score": "0.5",
        "num_round": "3",
        "_kfold": "2",
    },
    "sparse": {
        "objective": "reg:squarederror",
        "base_score": "100",
        "num_round": "3",
        "_kfold": "2",
    },
    "ranking": {"objective": "rank:ndcg", "num_round": "3", "_kfold": "2"},
    "sklearn": {
        **FOREST,
        "objective": "binary:logistic",
        "forest_engine": "sklearn",
        "_kfold": "2",
    },
    "xgboost": {
        **FOREST,
        "objective": "reg:squarederror",
        "forest_engine": "xgboost",
        "cv_folds": "2",
    },
}


def matrix_of(job: str, seed: int) -> Matrix:
    """Rows of a job: with hashes, and for ranking in queries."""
    task = {
        "binary": "binary",
        "sklearn": "binary",
        "pooled": "multiclass",
        "ranking": "multiclass",
    }
    rows, parts = forests.features(seed), dict[str, Any]()
    label = forests.label_of(rows, task.get(job, "regression"), seed)
    weight = np.random.default_rng(seed).random(ROWS).astype(np.float32) + 0.5
    if job != "ranking":
        parts["weight"] = weight
    else:
        parts["group"] = np.arange(ROWS) // 7
    found: Any = rows
    if job == "sparse":
        there = ~np.isnan(rows)
        indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
        found = Csr(indptr, np.nonzero(there)[1].astype(np.int32), rows[there], rows.shape[1])
    whole = forests.matrix_of(found, label, **parts)
    hashes = np.random.default_rng(seed).integers(0, 2**63, ROWS).astype(np.uint64)
    names = tuple(f"{seed}-{i}" for i in range(-(-ROWS // 7))) if job == "ranking" else ()
    return replace(whole, hashes=hashes, group_names=names)


@dataclass(frozen=True)
class Case:
    """A job, the threads of each worker, and whether a worker can hold the rows of all.

    Without ``rows`` one of three workers has none.
    """

    job: str
    threads: int = 1
    holds_all: bool = True
    rows: bool = True

    def bounds(self, team: Team) -> tuple[int, int]:
        shares = SHARES[team.size] if self.rows else ONE_WITHOUT
        return int(ROWS * shares[team.rank]), int(ROWS * shares[team.rank + 1])


class Share:
    """What a loader is to a cross-validation: this worker's rows."""

    classes = None

    def __init__(self, case: Case, team: Team) -> None:
        self.roles = ("train", "validation")
        self.reports: list[Any] = []
        self.asked: list[tuple[int, int]] = []
        self._matrices = {"train": matrix_of(case.job, 1), "validation": matrix_of(case.job, 2)}
        self._team = team
        self._case = case

    def load(self, role: str) -> Loaded:
        whole = self._matrices.pop(role)
        if self._team.alone:
            return Loaded(whole)
        begin, end = self._case.bounds(self._team)
        mine, numbers = subset.between(whole, begin, end), np.arange(begin, end)
        rows = everyone.whole(mine, self._team)
        if self._case.job == "ranking":
            mine, numbers = dealing.leveled(mine, rows, self._team, whole_groups=True)
        mine.take_hashes()  # as the loader does
        return Loaded(mine, False, rows, numbers)

    def report(self, folder: Path, found: Any) -> None:
        self.reports.append(found.content)

    def holds_all(self, rows: int) -> bool:
        return self._case.holds_all or self._case.job in ("sklearn", "xgboost")

    def folds_at_once(self, rows: int, held_out: int) -> int:
        self.asked.append((rows, held_out))
        return 99 if self._team.alone else 2 + self._team.rank  # the least counts


class Counting:
    """An algorithm that notes which folds are trained, and may fail."""

    def __init__(self, algorithm: Any, fails: Callable[[int], None]) -> None:
        self._algorithm = algorithm
        self.save, self._fails = algorithm.save, fails
        self.fits: list[int] = []
        self.computes: set[tuple[int, int]] = set()  # threads, and workers

    def fit(self, data: Any, *others: Any, **more: Any) -> Fitted:
        compute = others[1]
        self.fits.append(data._fold.number)
        self.computes.add((compute.threads_each, compute.team.size))
        self._fails(data._fold.number)
        found: Fitted = self._algorithm.fit(data, *others, **more)
        return found


def validated(
    team: Team,
    case: Case,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    fails: Callable[[int], None] = lambda number: None,
) -> dict[str, Any]:
    """Cross-validate as the trainer does; return all that comes of it."""
    config = hyperparameters.parse(JOBS[case.job])
    algorithm: Any = Counting(random_forest if config.is_forest else xgboost, fails)
    place, loader = Compute("multiCPU", "cpu", case.threads, team), Share(case, team)
    rules = CheckpointOptions(every=1)
    checkpoints = Checkpoints(folder if team.leads else None, rules, Console())
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        output = Path(name)
        folded = cross_validation.prepare(loader, config, output, team)  # type: ignore[arg-type]
        checkpoints.open({"job": case.job}, config.rounds)
        predictions = OutOfFold()
        at_once = folded.at_once(place.at_once, team)
        whole = folded.whole_at_once(config, place.at_once, team)
        work = cross_validation.Validation(
            algorithm, folded.pool, folded.division, config, place, checkpoints
        )
        with closing(MetricLog(lines.append, output)) as log:
            found = work.run(at_once, log, predictions, lambda _: None, stop, whole)
        predictions.write(
            output, config.objective, folded.pool.all.label, None, folded.pool.all.origin.positions
        )
        files = {file.name: file.read_bytes() for file in output.glob("*") if file.is_file()}
    refit = folded.refit(config, found)
    final = (random_forest if config.is_forest else xgboost).fit(
        folded.all_rows(), refit, place, lambda: None, lambda *_: None, stop
    )
    return {
        "lines": (
            folded.lines,
            folded.warnings,
            json.dumps(team.broadcast(loader.reports), default=str),
        ),
        "drawn": [each.tobytes() for each in folded.division.drawn],
        "at once": (at_once, whole),
        "asked": loader.asked,
        "log": lines,
        "scores": found.scores,
        "rounds": found.rounds,
        "models": [hashlib.sha256(each).hexdigest() for each in found.models],
        "final": hashlib.sha256(algorithm.save(final.model)).hexdigest(),
        "final scores": final.scores,
        "files": files,
        "fits": sorted(algorithm.fits),
        "computes": algorithm.computes,
    }


# The cases of so many workers: the folds at once, of them whole ones on each, and which folds the
# workers train.
CASES: dict[int, dict[Case, tuple[int, int, list[list[int]]]]] = {
    2: {
        Case("binary"): (1, 1, [[0, 2], [1, 2]]),
        Case("six"): (1, 1, [[0, 2, 4], [1, 3, 5]]),
        Case("repeats", threads=2): (2, 2, [[0, 2], [1, 3]]),
        Case("pooled"): (1, 1, [[0], [1]]),
        Case("sparse"): (1, 1, [[0], [1]]),
        Case("ranking"): (1, 1, [[0], [1]]),
        Case("split"): (1, 0, [[0], [0]]),
        Case("binary", threads=3, holds_all=False): (2, 0, [[0, 1, 2]] * 2),
        Case("pooled", threads=2, holds_all=False): (2, 0, [[0, 1]] * 2),
    },
    3: {
        Case("binary"): (1, 1, [[0], [1], [2]]),
        Case("six"): (1, 1, [[0, 3], [1, 4], [2, 5]]),
        Case("binary", threads=2, rows=False): (2, 0, [[0, 1, 2]] * 3),
        Case("repeats", threads=2, rows=False): (2, 0, [[0, 1, 2, 3]] * 3),
        Case("split", threads=2, rows=False): (1, 0, [[0]] * 3),
        Case("pooled", threads=2, holds_all=False, rows=False): (2, 0, [[0, 1]] * 3),
        Case("sparse", threads=2, rows=False): (2, 0, [[0, 1]] * 3),
        Case("ranking", threads=2, rows=False): (2, 0, [[0, 1]] * 3),
        Case("sklearn", threads=2, rows=False): (2, 0, [[0, 1]] * 3),
        Case("xgboost", threads=2, rows=False): (2, 0, [[0, 1]] * 3),
    },
}


def all_cases(team: Team) -> dict[Case, Any]:
    cases = list(CASES[team.size])
    found = each_by_a_team_of_its_own(team, [partial(validated, case=case) for case in cases])
    return dict(zip(cases, found, strict=True))


def each_by_a_team_of_its_own(team: Team, works: Sequence[Callable[[Team], Any]]) -> list[Any]:
    """Do one after the other: the lanes of a team can be joined once."""
    team.open_lanes(len(works))
    found: list[Any] = []

    def run(number: int) -> None:
        with team.lane(number) as lane:
            found.append(works[number](lane))

    for number in range(len(works)):
        thread = threading.Thread(target=run, args=(number,))
        thread.start()
        thread.join()
    return found


@cache
def found_by(size: int) -> list[dict[Case, Any]]:
    return teams.run(size, all_cases, timeout=60)


@cache
def by_one(job: str, side_by_side: int) -> dict[str, Any]:
    return validated(ALONE, Case(job, side_by_side))


def close(found: Any, expected: Any) -> None:
    """Compare numbers in mappings of mappings."""
    if isinstance(expected, Mapping):
        assert list(found) == list(expected)
        for name, value in expected.items():
            close(found[name], value)
    else:
        np.testing.assert_allclose(
            getattr(found, "values", found), getattr(expected, "values", expected), rtol=1e-9
        )


@pytest.mark.parametrize(
    ("size", "case"), [(size, case) for size, cases in CASES.items() for case in cases]
)
def test_several_workers_find_what_one_finds(size: int, case: Case) -> None:
    at_once, whole, fits = CASES[size][case]
    one = by_one(case.job, whole * size or at_once)
    for each, trained in zip(found_by(size), fits, strict=True):
        found = each[case]
        assert found["at once"] == (at_once, whole)
        assert found["fits"] == trained
        for what in ("lines", "drawn", "rounds", "log"):
            assert found[what] == one[what], what
        close(found["scores"], one["scores"])
        close(found["final scores"], one["final scores"])
        for what in ("models", "final"):
            assert found[what] == one[what], what
        # Where all folds are whole, the scores in metrics.jsonl have the same bytes too.
        same = found["files"] if sum(map(len, fits)) == len(one["fits"]) else predicted(found)
        assert same == {name: one["files"][name] for name in same}


def test_each_worker_asks_for_memory_for_its_own_rows() -> None:
    asked = [each[Case("repeats", threads=2, rows=False)]["asked"] for each in found_by(3)]
    assert np.sum(asked, axis=0).tolist() == [[ROWS / 2, ROWS / 2]]
    assert asked[1] == [(0, 0)]
    # Of a forest each worker has all rows, of a whole fold too, and besides those of all.
    forest = Case("xgboost", threads=2, rows=False)
    assert [each[forest]["asked"] for each in found_by(3)] == [[(ROWS / 2, ROWS / 2)]] * 3
    for each in found_by(2):
        assert each[Case("repeats", threads=2)]["asked"][1:] == [(ROWS * 1.5, ROWS / 2)]


def again_and_stopped(team: Team, folder: Path, case: Case) -> list[Any]:
    """Be stopped on the last worker, go on from what is left, and from all folds."""

    def rounds() -> dict[str, int]:
        names = sorted(file.stem.split("-") for file in folder.rglob("*.ckpt"))
        return {fold: int(end) for _, fold, *_, end in names if end != "done"}

    def stopped(lane: Team) -> dict[str, int]:
        def stop() -> bool:
            there = rounds()
            return lane.rank == 1 and min(there.get(fold, 0) for fold in ("000", "001")) > 2

        with pytest.raises(Stopped):
            validated(lane, case, folder, stop)
        return rounds()

    whole = partial(validated, case=case, folder=folder)
    return each_by_a_team_of_its_own(team, [stopped, whole, whole])


@pytest.mark.parametrize("holds_all", [True, False])
def test_rounds_and_folds_are_restored_and_a_stop_is_heard_by_all(
    holds_all: bool, tmp_path: Path
) -> None:
    case = Case("long", 1 if holds_all else 2, holds_all)
    found = teams.run(2, again_and_stopped, tmp_path, case, timeout=60)
    one = by_one("long", 2)
    for rank, (left, again, third) in enumerate(found):
        assert sorted(left) == ["000", "001"]
        # Of the fold of the other worker too the rounds have travelled, and are not printed again.
        first = min(left.values()) - 1
        assert first < 20
        assert again["log"][0].startswith(f"[{first}]\t")
        assert again["log"] == one["log"][-len(again["log"]) :]
        trained = ([0, 2], [1, 3])[rank] if holds_all else [0, 1, 2, 3]
        assert (again["fits"], third["fits"], third["log"]) == (trained, [], [])
        for each in (again, third):
            assert predicted(each) == predicted(one)
            for what in ("final", "rounds"):
                assert each[what] == one[what], what
    alone = validated(ALONE, Case("long", 2), tmp_path)  # goes on from what several have left
    assert alone["fits"] == []
    assert predicted(alone) == predicted(one)


def test_a_whole_fold_has_its_share_of_the_threads_of_one_worker() -> None:
    for each in found_by(2):
        assert each[Case("repeats", threads=2)]["computes"] == {(1, 1)}
        assert each[Case("binary")]["computes"] == {(1, 1), (1, 2)}
        assert each[Case("binary", threads=3, holds_all=False)]["computes"] == {
            (1, 2),
            (2, 2),
            (3, 2),
        }


def test_what_is_said_of_folds_side_by_side() -> None:
    class Two(Team):
        size = 2

    one = Compute("multiCPU", "cpu", 4)
    two = Compute("multiCPU", "cpu", 4, Two())
    assert trainer.side_by_side(4, 4, 0, one) == "4 fold(s) side by side, 1 thread(s) each"
    assert trainer.side_by_side(3, 3, 0, one) == "3 fold(s) side by side, 1 to 2 thread(s) each"
    assert trainer.side_by_side(3, 2, 0, two) == "2 fold(s) side by side, 2 thread(s) each"
    assert trainer.side_by_side(5, 3, 2, two) == (
        "4 folds side by side, whole on 2 workers with 2 thread(s) each; 1 by all workers together"
    )
    assert trainer.side_by_side(2, 1, 1, two) == (
        "2 folds side by side, whole on 2 workers with 4 thread(s) each"
    )


def test_queries_with_weights_are_refused_at_once() -> None:
    """By the folds that all workers train together, not after them by the final model."""

    class Two(Team):
        size = 2

    rows = matrix_of("ranking", 1)
    weighted = replace(rows, weight=np.ones(rows.rows, np.float32))
    for matrix, whole in ((rows, 1), (weighted, 0)):
        loader: Any = Share(Case("ranking"), ALONE)
        pool = Loaded(matrix, False, matrix, np.arange(matrix.rows))
        config = hyperparameters.parse(JOBS["ranking"])
        assert config.cv is not None
        division = folds.divide(
            config.cv,
            1,
            task="ranking",
            keys=matrix.hashes,
            label=matrix.label,
            group=matrix.group,
            group_names=matrix.group_names,
        )
        folded = cross_validation.Folded(pool, {}, division, loader, (), ())
        assert folded.whole_at_once(config, 1, Two()) == whole


def predicted(found: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: text for name, text in found["files"].items() if name.startswith("predictions")}


def fails_on_one(team: Team, file: Path, case: Case) -> None:
    def fails(number: int) -> None:
        if team.rank == 1 and number < 2:
            raise DataError("of one worker", "none")

    try:
        validated(team, case, fails=fails)
    except DataError as error:
        file.write_text(error.cause)
        os._exit(3)  # as a worker does, not waiting for the others


# The first worker's tracker says that a worker is gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("holds_all", [True, False])
def test_a_worker_whose_fold_fails_does_not_wait_for_the_others(
    holds_all: bool, tmp_path: Path
) -> None:
    """Its other fold waits for one that waits until the failed fold has loaded."""
    case = Case("repeats", 2, holds_all)
    with pytest.raises(AssertionError, match=r"worker 0|did not answer"):
        teams.run(2, fails_on_one, tmp_path / "failure", case, timeout=60)
    assert (tmp_path / "failure").read_text() == "of one worker"
