"""A job that is killed anywhere, on a disk that fails anyhow, ends with the same model."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treeline.checkpoints import chain
from treeline.checkpoints.disk import Disk
from treeline.checkpoints.stage import Stage
from treeline.checkpoints.store import Checkpoints
from treeline.console import Console
from treeline.hyperparameters.config import CheckpointOptions

STAGES = ("fold-000", "fold-001", "model")
SIZE = 8  # bytes of a round
EARLY = {"fold-001": 5}  # rounds after which a model ends by itself
ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS)

type Fault = tuple[str, int]
type Result = tuple[bytes, list[float]]

quick = settings(max_examples=300, deadline=None)


class Killed(BaseException):
    """The process is gone."""


class FaultyDisk(Disk):
    """Files in memory; at an operation, counted from 0, something may happen.

    ``kill`` is before it, ``kill after`` after it; ``torn`` leaves the beginning of what was
    written under its final name, ``temporary`` under another. ``short`` reads only so much.
    """

    def __init__(self, content: dict[str, bytes], plan: Mapping[int, Fault]) -> None:
        super().__init__(Path("/nowhere"))
        self.content = content
        self.plan = plan
        self.count = 0

    @contextmanager
    def _operation(self, name: str, content: bytes = b"") -> Iterator[Fault]:
        kind, number = self.plan.get(self.count, ("", 0))
        self.count += 1
        error = ERRORS[number % len(ERRORS)]
        if kind == "error":
            raise OSError(error, os.strerror(error))
        if kind in ("torn", "temporary") and content:
            folder, base = name.split("/")
            torn = name if kind == "torn" else f"{folder}/.{base}.0123abcd.sagemaker-ignore"
            self.content[torn] = content[: number % len(content)]
        if kind in ("kill", "torn", "temporary"):
            raise Killed
        yield kind, number
        if kind == "error after":
            raise OSError(error, os.strerror(error))
        if kind == "kill after":
            raise Killed

    def names(self, subfolder: str = "") -> list[str]:
        with self._operation(subfolder):
            paths = [name.split("/") for name in self.content if ".sagemaker-" not in name]
            if subfolder:
                return sorted(path[-1] for path in paths if path[0] == subfolder.rstrip("/"))
            return sorted({path[0] for path in paths})

    def leftovers(self, subfolder: str, seconds: float) -> list[str]:
        """All of them: nothing else is writing."""
        with self._operation(subfolder):
            paths = [name.split("/") for name in self.content if name.endswith(".sagemaker-ignore")]
            return sorted(path[-1] for path in paths if path[0] == subfolder.rstrip("/"))

    def read(self, name: str) -> bytes:
        with self._operation(name) as (kind, number):
            if name not in self.content:
                raise FileNotFoundError(errno.ENOENT, "Not a file")
            content = self.content[name]
            return content[: number % (len(content) + 1)] if kind == "short" else content

    def write(self, name: str, content: bytes) -> None:
        with self._operation(name, content):
            self.content[name] = content

    def remove(self, name: str) -> bool:
        with self._operation(name) as (kind, _):
            if kind == "uploading":
                return False
            self.content.pop(name, None)
            return True


@dataclass(frozen=True)
class Life:
    """One start of the job: what it asks for, and what happens to it."""

    rounds: int
    bins: str
    every: int | None
    keep: int
    plan: Mapping[int, Fault]


@dataclass
class Job:
    """Trains a model for each stage; every round follows from all rounds before it."""

    content: dict[str, bytes] = field(default_factory=dict)
    grown: dict[str, int] = field(default_factory=dict)  # in any life

    def run(self, life: Life, facts: str = "") -> tuple[dict[str, Result] | None, dict[str, int]]:
        """Return the models, None if it was killed; and how many rounds each stage began with."""
        disk = FaultyDisk(self.content, life.plan)
        rules = CheckpointOptions(life.every, life.keep)
        began: dict[str, int] = {}
        try:
            checkpoints = Checkpoints(disk.folder, rules, Quiet(), disk=disk, clock=lambda: 0.0)
            found = checkpoints.open({"facts": facts}, life.rounds)
            assert all(rounds is None or 0 < rounds <= life.rounds for rounds in found.values())
            models = {}
            for name in STAGES:
                models[name] = self._train(life, name, checkpoints.stage(name), began)
            return models, began
        except Killed:
            return None, began

    def _train(self, life: Life, name: str, stage: Stage, began: dict[str, int]) -> Result:
        rounds = wanted(name, life)
        left = stage.finished(life.rounds)
        assert left is None or left.facts["rounds"] == rounds
        if left is not None and left.facts["bins"] == life.bins:
            began[name] = rounds
            return left.sections["model"], values(left.scores)
        restored = stage.restore(life.rounds, life.bins)
        began[name] = restored.rounds
        model = b"".join(part["model"] for part in restored.parts)
        scores = values(restored.scores)
        assert restored.rounds * SIZE == len(model)
        assert restored.rounds == len(scores)

        def sections(first: int, end: int) -> dict[str, bytes]:
            return {"model": model[first * SIZE : end * SIZE]}

        for done in range(restored.rounds + 1, rounds + 1):
            model += one_more(name, life.bins, model)
            self.grown[name] = max(done, self.grown.get(name, 0))
            scores.append(score(model))
            stage.keep(done, {"train": {"m": scores[-1]}}, sections)
        stage.flush(sections)
        early = rounds == EARLY.get(name)
        stage.finish({"rounds": rounds, "bins": life.bins}, {"model": model}, early=early)
        return model, scores


class Quiet(Console):
    def line(self, text: str) -> None:
        assert text.isprintable()


def values(scores: tuple[Mapping[str, Mapping[str, float]], ...]) -> list[float]:
    return [each["train"]["m"] for each in scores]


def wanted(name: str, life: Life) -> int:
    return min(life.rounds, EARLY.get(name, life.rounds))


def one_more(name: str, bins: str, model: bytes) -> bytes:
    return hashlib.blake2b(f"{name} {bins} ".encode() + model, digest_size=SIZE).digest()


def score(model: bytes) -> float:
    return int.from_bytes(model[-6:]) / 3


def uninterrupted(life: Life) -> dict[str, Result]:
    found = {}
    for name in STAGES:
        model, scores = b"", []
        for _ in range(wanted(name, life)):
            model += one_more(name, life.bins, model)
            scores.append(score(model))
        found[name] = model, scores
    return found


KILLS = ("kill", "kill after", "torn", "temporary")
ERRONEOUS = ("error", "error after", "short", "uploading")
numbers = st.integers(0, 400)


def plans(kinds: tuple[str, ...]) -> st.SearchStrategy[dict[int, Fault]]:
    faults = st.tuples(st.sampled_from(kinds), numbers)
    early = st.dictionaries(st.integers(0, 20), faults, max_size=3)
    return early | st.dictionaries(st.integers(0, 90), faults, max_size=5)


wild_lives = st.builds(
    Life,
    rounds=st.integers(1, 9),
    bins=st.sampled_from("aaab"),
    every=st.sampled_from((1, 1, 2, 3, None)),
    keep=st.sampled_from((1, 2, 5)),
    plan=plans(KILLS + ERRONEOUS),
)
blocks = st.sampled_from((1, 2, 3, 4, 32))
damages = st.lists(
    st.tuples(st.sampled_from(("cut", "flip", "remove", "swap", "copy")), numbers, numbers),
    max_size=4,
)


def damage(content: dict[str, bytes], kind: str, which: int, number: int) -> None:
    """Damage one of the files, whichever there are."""
    names = sorted(content)
    if not names:
        return
    name, other = names[which % len(names)], names[number % len(names)]
    if kind == "cut":
        content[name] = content[name][: number % (len(content[name]) + 1)]
    elif kind == "flip" and content[name]:
        flipped = bytearray(content[name])
        flipped[number % len(flipped)] ^= 1 << which % 8
        content[name] = bytes(flipped)
    elif kind == "remove":
        del content[name]
    elif kind == "swap":
        content[name], content[other] = content[other], content[name]
    elif kind == "copy":
        content[name] = content[other]


@quick
@given(st.lists(st.tuples(wild_lives, damages), min_size=1, max_size=6), wild_lives, blocks)
def test_whatever_happens_the_model_is_the_same(
    lives: list[tuple[Life, list[tuple[str, int, int]]]], last: Life, block: int
) -> None:
    job = Job()
    with mock.patch.object(chain, "BLOCK_ROUNDS", block):
        for life, harm in lives:
            models, _ = job.run(life)
            assert models is None or models == uninterrupted(life)
            for each in harm:
                damage(job.content, *each)
        unharmed = replace(last, plan={})
        assert job.run(unharmed)[0] == uninterrupted(unharmed)
        models, began = job.run(unharmed)
        assert models == uninterrupted(unharmed)
        assert began == {name: wanted(name, last) for name in STAGES}  # nothing is trained twice
        assert not any(name.endswith(".sagemaker-ignore") for name in job.content)


@quick
@given(
    st.lists(plans(KILLS), min_size=1, max_size=6),
    st.integers(1, 12),
    st.sampled_from((1, None)),
    st.sampled_from((1, 2, 5)),
    blocks,
)
def test_at_most_one_round_is_lost(
    plans: list[dict[int, Fault]], rounds: int, every: int | None, keep: int, block: int
) -> None:
    job = Job()
    with mock.patch.object(chain, "BLOCK_ROUNDS", block):
        for plan in [*plans, {}]:
            grown = dict(job.grown)
            models, began = job.run(Life(rounds, "", every, keep, plan))
            for name, first in began.items():
                assert first >= grown.get(name, 0) - 1
        assert models == uninterrupted(Life(rounds, "", every, keep, {}))


@pytest.mark.parametrize("kind", KILLS + ERRONEOUS)
@pytest.mark.parametrize(("keep", "block"), [(1, 32), (1, 2), (5, 3)])
def test_one_fault_at_each_operation(kind: str, keep: int, block: int) -> None:
    """Twice the same, with something to find the second time."""
    life = Life(5, "", 1, keep, {})
    expected = uninterrupted(life)
    with mock.patch.object(chain, "BLOCK_ROUNDS", block):
        for operation in range(60):
            job, faulty = Job(), replace(life, plan={operation: (kind, 3 * operation)})
            for each in (faulty, faulty, life):
                grown = dict(job.grown)
                models, began = job.run(each)
                assert models in (None, expected)
                assert models is not None or kind in KILLS
                if kind in KILLS:
                    assert all(first >= grown.get(n, 0) - 1 for n, first in began.items())
            assert models == expected


@settings(quick, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), wild_lives), min_size=1, max_size=6))
def test_jobs_in_one_folder_do_not_meet(lives: list[tuple[bool, Life]]) -> None:
    """One of two jobs is as if the other had never been."""
    shared, alone = Job(), Job()
    for ours, life in lives:
        found = shared.run(replace(life, plan={}), str(ours))
        if ours:
            assert alone.run(replace(life, plan={}), str(ours)) == found
    kept = {name: content for name, content in shared.content.items() if name in alone.content}
    assert kept == alone.content
