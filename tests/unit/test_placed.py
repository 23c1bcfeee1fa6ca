"""A model that one worker trains alone while the others follow, by a team of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests import threads

from treeline.checkpoints.shared import Relayed, Shared
from treeline.checkpoints.stage import NOWHERE, Stage
from treeline.checkpoints.store import Checkpoints
from treeline.console import Console
from treeline.errors import PlatformError, Stopped
from treeline.hyperparameters.config import CheckpointOptions
from treeline.placed import Placed, Work
from treeline.team import ALONE, Team

ROUNDS = 20


def scores(index: int) -> dict[str, dict[str, float]]:
    return {"train": {"rmse": 1 / (index + 1)}}


class Model:
    """Trains rounds that are a line of text each, as an algorithm does."""

    def __init__(self, rounds: int = ROUNDS) -> None:
        self.rounds = rounds
        self.asked: list[tuple[int, int]] = []
        self.restored = 0
        self.stage: Stage = NOWHERE
        self.thread: threading.Thread | None = None

    def train(self, on_round: Any, stop_requested: Callable[[], bool], stage: Stage) -> str:
        self.thread, self.stage = threading.current_thread(), stage
        before = stage.restore(self.rounds, "bins")
        self.restored = before.rounds
        text = b"".join(part["model"] for part in before.parts)
        if not self.restored and stop_requested():
            raise Stopped
        for index in range(self.rounds):
            if index >= self.restored:
                text += b"round %d\n" % index
            on_round(index, scores(index), index < self.restored)
            if index >= self.restored:
                stage.keep(index + 1, scores(index), self._sections(text))
            if stop_requested():
                raise Stopped
        stage.flush(self._sections(text))
        return text.decode()

    def _sections(self, text: bytes) -> Callable[[int, int], Mapping[str, bytes]]:
        def sections(first: int, end: int) -> Mapping[str, bytes]:
            self.asked.append((first, end))
            assert threading.current_thread() is self.thread
            return {"model": b"".join(text.splitlines(keepends=True)[first:end])}

        return sections


def placed(
    team: Team,
    owner: int,
    model: Model | None = None,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    every: int = 8,
    work: Work[str] | None = None,
) -> tuple[str, list[tuple[int, bool]], Model]:
    """Return what a worker gets, what it hears of the rounds, and its model."""
    model, heard = model or Model(), list[tuple[int, bool]]()
    rules = CheckpointOptions(every=every)
    checkpoints = Checkpoints(folder if team.leads else None, rules, Console())
    checkpoints.open({"job": "a"}, ROUNDS)
    stage = checkpoints.stage("fold-001")

    def on_round(index: int, found: Any, restored: bool) -> None:
        assert found == scores(index)
        heard.append((index, restored))

    follows = Placed(team, owner, on_round, stop, stage, Shared(stage, team))
    found = follows.run(work or model.train, relays=folder is not None)
    return found, heard, model


TEXT = "".join(f"round {index}\n" for index in range(ROUNDS))


@pytest.mark.parametrize("owner", [0, 1, 2])
def test_one_trains_and_all_hear_of_it(owner: int) -> None:
    found = threads.run(3, placed, owner)
    assert [text for text, *_ in found] == [TEXT] * 3
    assert [heard for _, heard, _ in found] == [[(i, False) for i in range(ROUNDS)]] * 3
    assert [model.thread is not None for *_, model in found] == [rank == owner for rank in range(3)]
    assert isinstance(found[owner][2].stage, type(NOWHERE))
    assert not isinstance(found[owner][2].stage, Relayed)  # nothing is kept, nothing is relayed


def test_it_trains_in_a_thread_that_has_not_joined() -> None:
    def both(team: Team) -> tuple[Any, Any]:
        return placed(team, 1)[2].thread, threading.current_thread()

    (_, _), (trained, joined) = threads.run(2, both)
    assert trained is not None
    assert trained is not joined


def test_a_worker_that_neither_leads_nor_trains_may_stop_it() -> None:
    heard: dict[int, int] = {}

    def stopped(team: Team) -> str:
        looks = iter(range(99))
        model = Model()
        try:
            placed(team, 1, model, stop=lambda: team.rank == 2 and next(looks) == 3)
        except Stopped:
            heard[team.rank] = next(looks)
            return "stopped"
        return "done"

    assert threads.run(3, stopped) == ["stopped"] * 3
    assert heard[2] == 4


def test_what_fails_on_the_owner_is_raised_there_at_once() -> None:
    def fails(*_: Any) -> str:
        raise ValueError("of the owner")

    raised: list[int] = []

    def run(team: Team) -> None:
        try:
            placed(team, 1, work=fails)
        except ValueError:
            raised.append(team.rank)
            raise

    with pytest.raises(ValueError, match="of the owner"):
        threads.run(3, run)
    assert raised == [1]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("owner", [0, 1, 2])
def test_the_first_worker_keeps_the_rounds_of_another(owner: int, tmp_path: Path) -> None:
    """With the bytes of a worker alone; and only those that are written travel."""
    alone = Model()
    placed(ALONE, 0, alone, tmp_path / "alone")
    expected = files_of(tmp_path / "alone")
    assert len(expected) >= 2
    found = threads.run(3, placed, owner, None, tmp_path / "team")
    assert files_of(tmp_path / "team") == expected
    assert found[owner][2].asked == alone.asked == [(0, 8), (0, 16), (16, 20)]
    assert isinstance(found[owner][2].stage, Relayed) == (owner != 0)


@pytest.mark.parametrize("cut", [1, 16, 17, ROUNDS])
def test_a_start_goes_on_from_what_another_owner_has_left(cut: int, tmp_path: Path) -> None:
    threads.run(3, placed, 1, Model(cut), tmp_path, lambda: False, 1)
    for owner in (2, 0):
        found = threads.run(3, placed, owner, None, tmp_path, lambda: False, 1)
        assert [text for text, *_ in found] == [TEXT] * 3
        assert found[owner][2].restored == cut
        assert [heard for _, heard, _ in found] == [[(i, i < cut) for i in range(ROUNDS)]] * 3
        cut = ROUNDS


def test_a_disk_that_fails_ends_the_first_worker() -> None:
    class Broken(Stage):
        def keep(self, rounds: int, scores: Any, sections: Any) -> None:
            raise PlatformError("the disk", "none")

    model = Model()

    def run(team: Team) -> None:
        stage = Broken() if team.leads else NOWHERE
        follows = Placed(team, 1, lambda *_: None, lambda: False, stage, Shared(stage, team))
        follows.run(model.train, relays=True)

    with pytest.raises(PlatformError, match="the disk"):
        threads.run(2, run)
    assert model.thread is not None
    model.thread.join(10)  # which nobody answers any more
    assert not model.thread.is_alive()
