"""A forest that goes on where an earlier start was killed is the forest that never was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from sklearn.ensemble import RandomForestClassifier
from tests.forests import ENGINES, TASKS, asked, fitted, sample

from treeline.algorithms import random_forest
from treeline.algorithms.interface import Fitted
from treeline.checkpoints.stage import NOWHERE, Restored, Sections, Stage
from treeline.errors import Stopped
from treeline.metrics.log import Scores

TREES = 5
OPTIONS: dict[str, dict[str, str]] = {
    "bootstrap": {"max_features": "3"},
    "all rows": {"bootstrap": "false", "max_features": "2"},
    "n_bins": {"n_bins": "8"},
    "max_leaves": {"max_leaves": "5"},
}
BOTH = pytest.mark.parametrize("engine", ENGINES)
EVERY_TASK = pytest.mark.parametrize("task", TASKS)
EVERY_OPTION = pytest.mark.parametrize("option", OPTIONS)


class Killed(BaseException):
    """The process is gone."""


class Folder:
    """What a folder of checkpoints would hold: blocks of trees, where they begin and end."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, int, bytes]] = []
        self.bins: list[str] = []  # that each start had
        self.kept: list[int] = []  # the trees that were noted


class Memory(Stage):
    """The checkpoints of one start; it is killed when it has ``trees`` more."""

    def __init__(self, folder: Folder, trees: int = 99, every: int = 1) -> None:
        self._folder = folder
        self._trees = trees
        self._every = every
        self._done = self._written = 0

    def restore(self, limit: int, bins: str = "") -> Restored:
        self._folder.bins.append(bins)
        blocks = self._folder.blocks
        self._done = self._written = blocks[-1][1] if blocks else 0
        self._killed_at = self._done + self._trees
        assert self._done <= limit
        return Restored(self._done, (), tuple({"model": model} for _, _, model in blocks))

    def keep(self, rounds: int, scores: Scores | None, sections: Sections) -> None:
        assert scores is None
        self._folder.kept.append(rounds)
        self._done = rounds
        if rounds - self._written >= self._every:
            self.flush(sections)
        if rounds >= self._killed_at:
            raise Killed

    def flush(self, sections: Sections) -> None:
        blocks = self._folder.blocks
        first, end, _ = blocks[-1] if blocks else (0, 0, b"")
        if end == self._done:
            return
        if end - first < 2:  # the block goes on
            del blocks[-1:]
        else:
            first = end
        found: Mapping[str, bytes] = sections(first, self._done)
        assert set(found) == {"model"}
        blocks.append((first, self._done, found["model"]))
        self._written = self._done


def grown(
    engine: str,
    task: str,
    more: Mapping[str, str],
    stage: Stage = NOWHERE,
    stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    config = asked(task, engine, **{"n_estimators": str(TREES), "max_depth": "4", **more})
    return fitted(config, sample(task), sample(task, 2), stop=stop, stage=stage)


@cache
def whole(engine: str, task: str, option: str) -> tuple[bytes, Scores]:
    """The model of a job that was never killed, and its scores."""
    found = grown(engine, task, OPTIONS[option])
    return random_forest.save(found.model), found.scores


def assert_same(found: Fitted, engine: str, task: str, option: str) -> None:
    model, scores = whole(engine, task, option)
    assert random_forest.save(found.model) == model
    assert found.scores == scores
    assert (found.outcome, found.rounds_trained) == ("completed", TREES)


@BOTH
@EVERY_TASK
@EVERY_OPTION
def test_killed_after_every_tree(engine: str, task: str, option: str) -> None:
    folder, kills = Folder(), 0
    while True:
        try:
            found = grown(engine, task, OPTIONS[option], Memory(folder, trees=1))
        except Killed:
            kills += 1
        else:
            break
    assert (kills, folder.kept) == (TREES, [1, 2, 3, 4, 5])
    assert [(first, end) for first, end, _ in folder.blocks] == [(0, 2), (2, 4), (4, 5)]
    assert_same(found, engine, task, option)


@BOTH
@EVERY_TASK
def test_killed_between_two_checkpoints(engine: str, task: str) -> None:
    """Trees of which nothing was written are grown again, in other batches."""
    folder = Folder()
    with pytest.raises(Killed):
        grown(engine, task, OPTIONS["bootstrap"], Memory(folder, trees=5, every=3))
    assert [(first, end) for first, end, _ in folder.blocks] == [(0, 3)]
    folder.kept.clear()
    found = grown(engine, task, OPTIONS["bootstrap"], Memory(folder, every=99))
    assert folder.kept == [4, 5]
    assert [(first, end) for first, end, _ in folder.blocks] == [(0, 3), (3, 5)]
    assert_same(found, engine, task, "bootstrap")


class Stop:
    """Asked to stop from one look on."""

    def __init__(self, look: int) -> None:
        self._left = look

    def __call__(self) -> bool:
        self._left -= 1
        return self._left <= 0


@BOTH
@EVERY_TASK
@pytest.mark.parametrize("saved", ["true", "false"])
def test_a_stop_writes_what_there_is_and_is_gone_on_from(
    engine: str, task: str, saved: str
) -> None:
    more = {**OPTIONS["bootstrap"], "save_model_on_termination": saved}
    folder = Folder()
    stage = Memory(folder, every=99)
    if saved == "true":
        found = grown(engine, task, more, stage, Stop(2))
        assert (found.outcome, found.rounds_trained) == ("terminated", folder.kept[-1])
    else:
        with pytest.raises(Stopped):
            grown(engine, task, more, stage, Stop(2))
    assert [end for _, end, _ in folder.blocks] == [folder.kept[-1]]
    assert 2 <= folder.kept[-1] < TREES
    assert_same(grown(engine, task, more, Memory(folder)), engine, task, "bootstrap")


def test_scikit_learn_grows_no_tree_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, sizes, usual = Folder(), list[int](), RandomForestClassifier.fit

    def fit(forest: Any, *arrays: Any) -> Any:
        before = len(forest.estimators_)
        usual(forest, *arrays)
        sizes.append(len(forest.estimators_) - before)
        assert forest.estimators_[:before] == [None] * before
        return forest

    monkeypatch.setattr(RandomForestClassifier, "fit", fit)
    with pytest.raises(Killed):
        grown("sklearn", "binary", {}, Memory(folder, trees=3))
    grown("sklearn", "binary", {}, Memory(folder))
    assert sum(sizes) == TREES


@BOTH
def test_a_stop_is_heard_before_another_tree_is_grown(engine: str) -> None:
    folder = Folder()
    with pytest.raises(Killed):
        grown(engine, "binary", {}, Memory(folder, trees=1))
    with pytest.raises(Stopped):
        grown(engine, "binary", {}, Memory(folder), lambda: True)
    assert folder.kept == [1]


def test_a_stopped_model_of_some_trees_is_their_mean_after_a_restart_too() -> None:
    """The share of a tree that was kept is that in a whole forest."""
    for engine in ENGINES:
        more = {**OPTIONS["bootstrap"], "save_model_on_termination": "true"}
        folder = Folder()
        with pytest.raises(Killed):
            grown(engine, "binary", more, Memory(folder, trees=2))
        restored = folder.kept[-1]
        found = grown(engine, "binary", more, Memory(folder), lambda: True)
        few = grown(engine, "binary", {**more, "n_estimators": str(restored)})
        assert found.rounds_trained == restored
        assert found.objective_value == pytest.approx(few.objective_value, rel=1e-5)


def test_only_bins_of_xgboost_are_told_apart() -> None:
    for engine, count in (("sklearn", 1), ("xgboost", 3)):
        folder = Folder()
        for more in ({}, {"n_bins": "8"}, {"n_bins": "9"}, {"n_bins": "8"}):
            folder.blocks.clear()
            grown(engine, "binary", more, Memory(folder))
        assert folder.bins[1] == folder.bins[3]
        assert len(set(folder.bins)) == count
        assert ("" in folder.bins) is (engine == "sklearn")
