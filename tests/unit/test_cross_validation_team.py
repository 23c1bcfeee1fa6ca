"""Cross-validation by several workers is that of one."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import forests, teams

from treeline import cross_validation, hyperparameters
from treeline.algorithms import random_forest, xgboost
from treeline.algorithms.interface import Fitted, Loaded
from treeline.checkpoints.store import Checkpoints
from treeline.compute import Compute
from treeline.console import Console
from treeline.data import everyone, subset
from treeline.data.matrix import Matrix
from treeline.data.records import Csr
from treeline.errors import DataError, Stopped
from treeline.hyperparameters.config import CheckpointOptions
from treeline.metrics.log import MetricLog
from treeline.predictions import OutOfFold
from treeline.team import ALONE, Team

ROWS = forests.ROWS
# Where each worker's rows begin; of three, one has none.
SHARES: dict[int, list[float]] = {1: [0, 1], 2: [0, 0.7, 1], 3: [0, 0.4, 0.4, 1]}
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


class Share:
    """What a loader is to a cross-validation: this worker's rows."""

    classes = None

    def __init__(self, job: str, team: Team) -> None:
        self.roles = ("train", "validation")
        self.reports: list[Any] = []
        self._matrices = {"train": matrix_of(job, 1), "validation": matrix_of(job, 2)}
        self._team = team
        self._ranks = job == "ranking"

    def load(self, role: str) -> Loaded:
        whole = self._matrices.pop(role)
        if self._team.alone:
            return Loaded(whole)
        begin, end = (int(ROWS * SHARES[self._team.size][self._team.rank + i]) for i in (0, 1))
        mine = subset.between(whole, begin, end)
        if self._ranks:
            mine = everyone.whole_groups(mine, self._team)
        return Loaded(mine, False, *everyone.whole(mine, self._team))

    def report(self, folder: Path, found: Any) -> None:
        self.reports.append(found.content)

    def holds_all(self, rows: int) -> bool:
        return rows <= 2 * ROWS

    def folds_at_once(self, rows: int, held_out: int) -> int:
        self.asked = rows, held_out
        return 2 + self._team.rank  # the least counts


class Counting:
    """An algorithm that counts what is trained, and may fail."""

    def __init__(self, algorithm: Any, fails: Callable[[], None] = lambda: None) -> None:
        self._algorithm = algorithm
        self.save, self.fits, self._fails = algorithm.save, 0, fails

    def fit(self, data: Any, *others: Any, **more: Any) -> Fitted:
        self.fits += 1
        if data._fold.number == 0:
            self._fails()
        found: Fitted = self._algorithm.fit(data, *others, **more)
        return found


def validated(
    team: Team,
    job: str,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    fails: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Cross-validate as the trainer does; return all that comes of it."""
    config = hyperparameters.parse(JOBS[job])
    algorithm: Any = Counting(random_forest if config.is_forest else xgboost, fails)
    place, loader = Compute("singleCPU", "cpu", 3, team), Share(job, team)
    checkpoints = Checkpoints(folder, CheckpointOptions(), Console(), writes=team.leads)
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        output = Path(name)
        folded = cross_validation.prepare(loader, config, output, team)  # type: ignore[arg-type]
        checkpoints.open({"job": job}, config.rounds)
        predictions = OutOfFold()
        at_once = folded.at_once(3, team)
        work = cross_validation.Validation(
            algorithm, folded.pool, folded.division, config, place, checkpoints
        )
        with closing(MetricLog(lines.append, output)) as log:
            found = work.run(at_once, log, predictions, lambda _: None, stop)
        predictions.write(
            output, config.objective, folded.pool.all.label, None, folded.pool.all.origin.positions
        )
        files = {file.name: file.read_bytes() for file in output.glob("predictions*")}
    refit = folded.refit(config, found)
    final = (random_forest if config.is_forest else xgboost).fit(
        folded.all_rows(), refit, place, lambda: None, lambda *_: None, stop
    )
    return {
        "lines": (folded.lines, folded.warnings, json.dumps(loader.reports, default=str)),
        "drawn": [each.tobytes() for each in folded.division.drawn],
        "at once": at_once,
        "asked": loader.asked,
        "log": lines,
        "scores": found.scores,
        "rounds": found.rounds,
        "models": [hashlib.sha256(each).hexdigest() for each in found.models],
        "final": hashlib.sha256(algorithm.save(final.model)).hexdigest(),
        "final scores": final.scores,
        "files": files,
        "fits": algorithm.fits,
    }


def jobs_of(size: int) -> Sequence[str]:
    return ["binary", "pooled"] if size == 2 else list(JOBS)


def all_jobs(team: Team) -> dict[str, Any]:
    jobs = jobs_of(team.size)
    found = each_by_a_team_of_its_own(team, [partial(validated, job=job) for job in jobs])
    return dict(zip(jobs, found, strict=True))


def each_by_a_team_of_its_own(team: Team, works: Sequence[Callable[[Team], Any]]) -> list[Any]:
    """Do one after the other: the lanes of a team can be joined once."""
    team.open_lanes(len(works))
    found: list[Any] = []

    def run(number: int) -> None:
        with team.lane(number, len(works)) as lane:
            found.append(works[number](lane))

    for number in range(len(works)):
        thread = threading.Thread(target=run, args=(number,))
        thread.start()
        thread.join()
    return found


@cache
def found_by(size: int) -> list[dict[str, Any]]:
    return [all_jobs(ALONE)] if size == 1 else teams.run(size, all_jobs, timeout=30)


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


@pytest.mark.parametrize(("size", "job"), [(size, job) for size in (2, 3) for job in jobs_of(size)])
def test_several_workers_find_what_one_finds(size: int, job: str) -> None:
    [expected] = found_by(1)
    for each in found_by(size):
        found, one = each[job], expected[job]
        assert found["at once"] == one["at once"]
        for what in ("lines", "drawn", "rounds", "log", "fits"):
            assert found[what] == one[what], what
        close(found["scores"], one["scores"])
        close(found["final scores"], one["final scores"])
        for what in ("models", "final", "files"):
            assert found[what] == one[what], what


def test_each_worker_asks_for_memory_for_its_own_rows() -> None:
    asked = [each["repeats"]["asked"] for each in found_by(3)]
    assert np.sum(asked, axis=0).tolist() == [ROWS / 2, ROWS / 2]
    assert asked[1] == (0, 0)
    # Of a forest each worker has all rows.
    assert [each["xgboost"]["asked"] for each in found_by(3)] == [(ROWS / 2, ROWS / 2)] * 3


def again_and_stopped(team: Team, folder: Path) -> list[Any]:
    """Validate with checkpoints, go on from them, and be stopped on the last worker."""

    def stopped(lane: Team) -> str:
        looks = iter(range(99))
        try:
            validated(lane, "repeats", stop=lambda: lane.rank == 1 and next(looks) > 3)
        except Stopped:
            return "stopped"
        return "not stopped"

    whole = partial(validated, job="repeats", folder=folder)
    return each_by_a_team_of_its_own(team, [whole, whole, stopped])


def test_finished_folds_are_restored_and_a_stop_is_heard_by_all(tmp_path: Path) -> None:
    found = teams.run(2, again_and_stopped, tmp_path, timeout=30)
    for first, again, stopped in found:
        assert stopped == "stopped"
        assert (first.pop("fits"), again.pop("fits")) == (4, 0)
        assert (len(first.pop("log")), again.pop("log")) == (18, [])
        assert again == first
    one = validated(ALONE, "repeats", tmp_path)  # goes on from what several workers have left
    assert one["fits"] == 0
    assert one["files"] == found[0][0]["files"]


def fails_on_one(team: Team, file: Path) -> None:
    def fails() -> None:
        if team.rank == 1:
            raise DataError("of one worker", "none")

    try:
        validated(team, "repeats", fails=fails)
    except DataError as error:
        file.write_text(error.cause)
        os._exit(3)  # as a worker does, not waiting for the others


# The first worker's tracker says that a worker is gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_whose_fold_fails_does_not_wait_for_the_others(tmp_path: Path) -> None:
    """Its other fold waits for one that waits until the failed fold has loaded."""
    with pytest.raises(AssertionError, match=r"worker 0|did not answer"):
        teams.run(2, fails_on_one, tmp_path / "failure", timeout=15)
    assert (tmp_path / "failure").read_text() == "of one worker"
