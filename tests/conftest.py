"""What every test has at hand: a real /opt/ml tree, and guards against leaks."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from tests.waiting import eventually

# A change is judged by the same examples each time; --hypothesis-profile=random looks for others.
settings.register_profile("steady", derandomize=True)
settings.register_profile("random")
settings.load_profile("steady")

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Tree:
    """An /opt/ml tree under a temporary folder, written as the platform writes it."""

    root: Path

    def hyperparameters(self, **values: object) -> Tree:
        """Write hyperparameters.json; every value becomes text, as the service does."""
        return self.config("hyperparameters", {name: str(value) for name, value in values.items()})

    def config(self, name: str, value: object) -> Tree:
        """Write one JSON file of input/config."""
        (self.root / "input" / "config" / f"{name}.json").write_text(json.dumps(value))
        return self

    def channel(self, name: str, rows: Rows, file: str = "part-0.csv") -> Tree:
        """Write rows (label first) into a file of a channel."""
        path = self.root / "input" / "data" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, rows, fmt="%.9g", delimiter=",")
        return self

    def declare(self, content_type: str = "text/csv", **more: Mapping[str, Any]) -> Tree:
        """Write inputdataconfig.json for the channels that have a folder."""
        entry = {"ContentType": content_type, "TrainingInputMode": "File"}
        names: Sequence[str] = sorted(p.name for p in (self.root / "input" / "data").iterdir())
        return self.config("inputdataconfig", {name: {**entry, **more} for name in names})

    @property
    def failure(self) -> str:
        """The failure file's text, or nothing."""
        file = self.root / "output" / "failure"
        return file.read_text() if file.exists() else ""

    @property
    def model(self) -> Path:
        return self.root / "model" / "xgboost-model"

    def manifest(self) -> dict[str, Any]:
        text = (self.root / "model" / "treeline" / "manifest.json").read_text()
        manifest: dict[str, Any] = json.loads(text)
        return manifest

    def metrics(self) -> list[dict[str, Any]]:
        lines = (self.root / "output" / "data" / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree: folders, and no file."""
    for folder in ("input/config", "input/data", "model", "output/data"):
        (tmp_path / folder).mkdir(parents=True)
    return Tree(tmp_path)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Fail a test that changes the environment or leaves a thread of its own behind."""
    environ, threads = _environ(), threading.active_count()
    yield
    assert _environ() == environ, "the test changed the environment"
    # A thread that has nothing left to do may be at its end.
    gone = eventually(lambda: threading.active_count() <= threads, 10)
    assert gone, "the test left a thread behind"


def _environ() -> dict[str, str]:
    """Return the environment, but for pytest's own variable and what scikit-learn's import sets."""
    passing = ("PYTEST_CURRENT_TEST", "KMP_")
    return {name: value for name, value in os.environ.items() if not name.startswith(passing)}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the checkout: real data sets are not here")
    return folder
