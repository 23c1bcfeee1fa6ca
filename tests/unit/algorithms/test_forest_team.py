"""A forest grown by several workers is byte for byte that of one."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from tests import teams
from tests.forests import ENGINES, ROWS, TASKS, asked, sample

from treeline.algorithms import random_forest
from treeline.algorithms.interface import Loaded
from treeline.checkpoints.shared import Shared
from treeline.checkpoints.stage import Restored, Sections, Stage
from treeline.compute import Compute
from treeline.data import everyone, subset
from treeline.errors import ResourceError, Stopped
from treeline.metrics.log import Scores
from treeline.team import ALONE, Team

SIZE = 3
SHARES = [0, 0.6, 0.6, 1]  # where each worker's rows begin: one has none
TREES = 7
OPTIONS: dict[str, dict[str, str]] = {
    "bootstrap": {"max_features": "3"},
    "n_bins": {"n_bins": "8", "save_model_on_termination": "true"},
}
ONES = [
    (engine, task, option)
    for engine in ENGINES
    for task in TASKS
    for option in OPTIONS
    if option == "bootstrap" or task == "binary"
]


class Share:
    """The rows that one worker has."""

    roles = scored_each_round = ("train", "validation")

    def __init__(self, task: str, team: Team) -> None:
        self._task = task
        self._team = team

    def load(self, role: str) -> Loaded:
        weight = np.random.default_rng(5).random(ROWS).astype(np.float32)
        whole = sample(self._task, self.roles.index(role), weight=weight)
        if self._team.alone:
            return Loaded(whole)
        begin, end = (int(ROWS * SHARES[self._team.rank + i]) for i in (0, 1))
        mine = subset.between(whole, begin, end)
        return Loaded(mine, False, everyone.whole(mine, self._team), np.arange(begin, end))


class Memory(Stage):
    """What a folder of checkpoints would hold: every batch of trees."""

    def __init__(self) -> None:
        self.parts: list[Mapping[str, bytes]] = []
        self.kept = [0]

    def restore(self, limit: int, bins: str = "") -> Restored:
        return Restored(self.kept[-1], (), tuple(self.parts))

    def keep(self, rounds: int, scores: Scores | None, sections: Sections) -> None:
        self.parts.append(sections(self.kept[-1], rounds))
        self.kept.append(rounds)


def grown(
    team: Team,
    engine: str,
    task: str,
    option: str,
    stage: Stage,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    more = {"n_estimators": str(TREES), "max_depth": "4", "eval_metric": "rmse", **OPTIONS[option]}
    if task != "regression":
        more["eval_metric"] = "auc"
    rounds: list[Any] = []
    place = Compute("singleCPU", "cpu", 1, team)
    found = random_forest.fit(
        Share(task, team),
        asked(task, engine, **more),
        place,
        lambda: None,
        lambda *each: rounds.append(each),
        stop,
        keep=("train", "validation"),
        stage=stage if team.alone else Shared(stage, team),
    )
    model = random_forest.save(found.model)
    return {
        "model": hashlib.sha256(model).hexdigest(),
        "scores": found.scores,
        "rounds": rounds,
        "trees": found.rounds_trained,
        "outcome": found.outcome,
        "predictions": found.predictions,
    }


def too_many(team: Team) -> str:
    """Return why a forest of rows that a worker cannot hold is refused."""
    share = Share("binary", team)
    share.holds_all = ROWS.__gt__  # type: ignore[attr-defined]
    place = Compute("singleCPU", "cpu", 1, team)
    try:
        random_forest.fit(share, asked("binary"), place, _nothing, _nothing, bool)
    except ResourceError as error:
        return error.cause
    return ""


def _nothing(*_: object) -> None:
    """Take what nobody looks at."""


def forests_of(team: Team) -> dict[str, Any]:
    """Grow one of each kind; and one that is stopped by the last worker, and gone on with."""
    found: dict[str, Any] = {" ".join(one): grown(team, *one, Memory()) for one in ONES}
    for engine in ENGINES:
        stage, one = Memory(), (engine, "binary", "n_bins")
        stop = partial(operator.eq, team.rank, team.size - 1)
        found[f"{engine} stopped"] = grown(team, *one, stage, stop)
        found[f"{engine} kept"] = list(stage.kept)
        found[f"{engine} again"] = grown(team, *one, stage)
        try:
            grown(team, engine, "binary", "bootstrap", Memory(), lambda: True)
        except Stopped:
            found[f"{engine} refused"] = True
    return found | {"too many": too_many(team)}


@cache
def found_by(size: int) -> list[dict[str, Any]]:
    return [forests_of(ALONE)] if size == 1 else teams.run(size, forests_of, timeout=60)


@pytest.mark.parametrize("one", ONES, ids=" ".join)
def test_several_workers_grow_the_forest_of_one(one: tuple[str, str, str]) -> None:
    name = " ".join(one)
    [expected], found = found_by(1), found_by(SIZE)
    for each in found:
        for what in ("model", "scores", "rounds", "trees", "outcome"):
            assert each[name][what] == expected[name][what], what
    for role in ("train", "validation"):  # each worker has those of its own rows
        predictions = np.concatenate([each[name]["predictions"][role] for each in found])
        np.testing.assert_array_equal(predictions, expected[name]["predictions"][role])


@pytest.mark.parametrize("engine", ENGINES)
def test_all_stop_together_and_go_on_with_the_trees_of_the_first(engine: str) -> None:
    [expected], found = found_by(1), found_by(SIZE)
    stopped = [each[f"{engine} stopped"] for each in found]
    assert {each["outcome"] for each in stopped} == {"terminated"}
    assert len({each["model"] for each in stopped}) == 1
    [trees] = {each["trees"] for each in stopped}
    assert SIZE <= trees < TREES
    # Only the first worker keeps them.
    assert [each[f"{engine} kept"] for each in found] == [[0, trees], [0], [0]]
    for each in found:
        assert each[f"{engine} again"]["model"] == expected[f"{engine} binary n_bins"]["model"]
        assert each[f"{engine} refused"]


def test_rows_that_a_worker_cannot_hold_are_refused_by_all() -> None:
    assert [each["too many"].split(",")[0] for each in found_by(SIZE)] == [
        "Each worker grows its trees on all 600 rows"
    ] * SIZE
    assert found_by(1)[0]["too many"] == ""  # as for one worker always
