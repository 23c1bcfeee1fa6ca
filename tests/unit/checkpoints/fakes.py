"""What tests of checkpoints share: somebody who listens, a model that grows, a job's start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treeline.checkpoints.stage import Restored, Stage
from treeline.checkpoints.store import Checkpoints
from treeline.hyperparameters.config import CheckpointOptions

FACTS = {"max_depth": 6, "train data": "blake2b:00", "xgboost": "3.4.1"}


class Ear:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class Toy:
    """A model of which every round follows from all rounds before it."""

    def __init__(self, restored: Restored | None = None, size: int = 16) -> None:
        self.size = size
        content = b"".join(part["model"] for part in restored.parts) if restored else b""
        self.rounds = [content[i : i + size] for i in range(0, len(content), size)]

    def grow(self) -> None:
        state = hashlib.blake2b(b"".join(self.rounds), digest_size=16).digest()
        self.rounds.append(state * (self.size // 16))

    def sections(self, first: int, end: int) -> dict[str, bytes]:
        return {"model": b"".join(self.rounds[first:end])}

    def scores(self) -> dict[str, dict[str, float]]:
        value = int.from_bytes(self.rounds[-1][:6]) / 1e9
        return {"validation": {"rmse": value, "auc": float("nan")}, "train": {"rmse": -value}}


def grown(rounds: int, size: int = 16) -> Toy:
    """Return a model of so many rounds that nobody interrupted."""
    toy = Toy(size=size)
    for _ in range(rounds):
        toy.grow()
    return toy


def train(stage: Stage, rounds: int, *, bins: str = "", limit: int = 10_000, size: int = 16) -> Toy:
    """Go on from what the stage has, up to so many rounds, and keep each."""
    toy = Toy(stage.restore(limit, bins), size)
    for done in range(len(toy.rounds) + 1, rounds + 1):
        toy.grow()
        stage.keep(done, toy.scores(), toy.sections)
    return toy


def start(
    folder: Path | None,
    ear: Ear | None = None,
    facts: Mapping[str, Any] = FACTS,
    *,
    rounds: int = 10_000,
    every: int | None = 1,
    keep: int = 5,
    mismatch: str = "restart",
    required: bool = False,
    **more: Any,
) -> tuple[Checkpoints, dict[str, int | None]]:
    """Start a job: its checkpoints, and what it finds."""
    rules = CheckpointOptions(every, keep, mismatch, required)
    checkpoints = Checkpoints(folder, rules, ear or Ear(), **more)
    return checkpoints, checkpoints.open(facts, rounds)


def never(first: int, end: int) -> Mapping[str, bytes]:
    """Sections that nobody is to ask for."""
    raise AssertionError((first, end))


def files(folder: Path) -> list[str]:
    """Return the names of the checkpoints under a folder, without that of the job's."""
    return sorted(path.name for path in folder.rglob("*.ckpt*"))
