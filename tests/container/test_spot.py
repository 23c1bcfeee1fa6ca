"""Jobs that are interrupted, in real containers: a fresh one for every start.

Only the input and the checkpoint folder are kept from start to start. What the last start leaves
is compared, byte for byte, with a run that had no checkpoint folder and that nobody interrupted.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from local_test import spot
from local_test.spot import Ended, Line, Place

from tests.conftest import Tree
from tests.container.engine import IMAGE, LABEL, Running, docker, run
from tests.contract.jobs import binary_rows
from tests.waiting import eventually
from treeline.algorithms import xgboost as algorithm

pytestmark = pytest.mark.container

ALONE = ("--network", "none")
FOLDER = "/opt/ml/checkpoints"
# Rounds of a few milliseconds that would differ if the random numbers did not go on.
BOOSTING: dict[str, Any] = {
    "objective": "binary:logistic",
    "num_round": 120,
    "max_depth": 4,
    "subsample": 0.7,
    "colsample_bynode": 0.7,
    "nthread": 1,
    "checkpoint_every": 1,
}
# Nothing is kept but what a request to stop makes it keep.
STOPPED: dict[str, Any] = {**BOOSTING, "checkpoint_every": 1000}
FOLDS: dict[str, Any] = {**BOOSTING, "num_round": 30, "cv_folds": 3, "nthread": 2}  # side by side
# Rounds of seconds: thousands of trees each.
SLOW: dict[str, Any] = {**BOOSTING, "num_parallel_tree": 4000}


class Container:
    """One start, as ``spot.run`` wants it; ``kept`` says where the checkpoint folder is mounted."""

    def __init__(self, place: Place, *options: str, kept: str | None = FOLDER) -> None:
        self._name = f"treeline-test-{uuid.uuid4().hex[:12]}"
        mounts = [f"{place.input}:/opt/ml/input:ro"]
        mounts += [f"{place.root / name}:/opt/ml/{name}" for name in ("model", "output")]
        mounts += [] if kept is None else [f"{place.checkpoints}:{kept}"]
        self.process = subprocess.Popen(
            [
                *("docker", "run", "--rm", "--pull", "never", "--label", LABEL, *ALONE),
                *("--name", self._name, "--user", f"{os.getuid()}:{os.getgid()}"),
                *(f"--volume={mount}" for mount in mounts),
                *(*options, IMAGE, "train"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def send(self, name: str) -> bool:
        """Kill it, or stop it as a person does, which waits for its end."""
        how = ("stop", "--time", "30") if name == "TERM" else ("kill", "--signal", name)
        return docker(*how, self._name).returncode == 0

    def remove(self) -> None:
        if self.process.poll() is None:
            docker("rm", "--force", self._name)


class After:
    """A clock that is due as soon as the log has a line like this."""

    def __init__(self, pattern: str) -> None:
        self.due = math.inf
        self._pattern = re.compile(pattern)

    def saw(self, line: Line) -> None:
        if self._pattern.match(line.text):
            self.due = min(self.due, line.at)


class Job:
    """A job, its checkpoint folder, and its starts so far.

    ``in_peace`` has the undisturbed runs of this module by their hyperparameters.
    """

    def __init__(self, tree: Tree, in_peace: dict[str, Ended]) -> None:
        self.tree = tree
        self.checkpoints = tree.root / "kept"
        self.starts: list[Ended] = []
        self._in_peace = in_peace

    @property
    def straight(self) -> Ended:
        """The job in peace, without a checkpoint folder."""
        asked = (self.tree.root / "input" / "config" / "hyperparameters.json").read_text()
        if asked not in self._in_peace:
            self._in_peace[asked] = self._run("straight", partial(Container, kept=None))
        return self._in_peace[asked]

    def start(
        self,
        *options: str,
        kept: str | None = FOLDER,
        after: str | None = None,
        signal: str = "KILL",
    ) -> Ended:
        """Start it, to be sent a signal after a line like ``after``."""

        def launch(place: Place) -> Container:
            return Container(place, *options, kept=kept)

        clock = None if after is None else After(after)
        ended = self._run(f"start-{len(self.starts)}", launch, clock, signal)
        assert (ended.sent is None) == (after is None), "it ended before the signal"
        self.starts.append(ended)
        return ended

    def _run(
        self, name: str, launch: spot.Launch, clock: After | None = None, signal: str = "KILL"
    ) -> Ended:
        place = Place(self.tree.root / name, self.tree.root / "input", self.checkpoints)
        return spot.run(launch, place, 90, clock, signal)

    def differences(self, keeps: bool = False) -> list[str]:
        """What is not as it is in peace, in files, lines and exit statuses."""
        return spot.differences(self.straight, self.starts, keeps)

    def lost(self) -> list[int | None]:
        """How many rounds each kill has cost."""
        found = spot.kills(self.straight, self.starts, ["training"] * len(self.starts))
        return [kill.lost for kill in found]

    def files(self) -> list[Path]:
        """The files of rounds, the newest last."""
        found = self.checkpoints.glob("treeline-*/*.ckpt")
        return sorted(found, key=lambda file: (file.stem.split("-")[-1], file.name))


@pytest.fixture
def data(tree: Tree) -> Tree:
    return tree.channel("train", binary_rows(2000)).channel("validation", binary_rows(500, seed=1))


@pytest.fixture(scope="module")
def in_peace() -> dict[str, Ended]:
    return {}


@pytest.fixture
def job(data: Tree, in_peace: dict[str, Ended]) -> Job:
    return Job(data.hyperparameters(**BOOSTING).declare(), in_peace)


def warnings_of(ended: Ended) -> list[str]:
    return [line.text for line in ended.log if line.text.startswith("WARNING")]


def end_of(file: Path) -> int:
    return int(file.stem.split("-")[-1])


# --- killed, stopped --------------------------------------------------------------------------


def test_killed_at_random_moments_it_ends_with_the_same_bytes(job: Job, tmp_path: Path) -> None:
    plan = spot.moments(5, 5, ("KILL",))
    found = spot.trial(Container, job.tree.root, tmp_path / "trial", plan, print)
    print(spot.table(found.kills))
    assert len(found.kills) >= 3
    assert all(kill.lost in (0, 1, None) for kill in found.kills)  # None: before it has begun
    assert found.resumed >= 3
    assert found.differences == ()
    assert {kill.status for kill in found.kills} == {137}


def test_stopped_it_says_what_is_kept_and_goes_on_with_the_very_next_round(job: Job) -> None:
    job.tree.hyperparameters(**STOPPED)
    first = job.start(after=r"\[20\]\t", signal="TERM")
    assert first.status == 143
    asked = next(line.at for line in first.log if line.text.startswith("[20]\t"))
    assert first.seconds - asked < 10
    done = len(first.rounds)
    assert any(
        line.text.startswith(f"kept in {FOLDER}/treeline-")
        and f": model {done} rounds;" in line.text
        for line in first.log
    )
    assert not (first.root / "model" / "xgboost-model").exists()
    second = job.start()
    assert second.said == f"model {done} rounds"
    assert first.rounds + second.rounds == job.straight.rounds  # in this order, none twice
    assert job.differences() == []


def test_stopped_with_a_model_it_goes_on_all_the_same(job: Job) -> None:
    job.tree.hyperparameters(**STOPPED, save_model_on_termination="true")
    first = job.start(after=r"\[20\]\t", signal="TERM")
    assert (first.status, first.terminated) == (0, True)
    model = algorithm.load(first.root / "model" / "xgboost-model")
    assert model.num_boosted_rounds() == len(first.rounds) - 1  # the last one stands there twice
    assert job.start().said == f"model {model.num_boosted_rounds()} rounds"
    assert job.differences(keeps=True) == []


def test_a_second_signal_ends_it_at_once(data: Tree) -> None:
    data.hyperparameters(**SLOW).declare()
    kept = data.root / "checkpoints"
    kept.mkdir()
    container = Running(data, *ALONE)
    container.wait_for("[0]\t")
    assert eventually(lambda: list(kept.glob("treeline-*/*.ckpt")), 60)
    time.sleep(0.3)  # it is in native code now, and stays there for seconds
    for _ in range(2):
        docker("kill", "--signal", "TERM", container.name)
    assert container.wait() == 143
    assert "[1]\t" not in container.log()
    assert "kept in " not in container.log()
    assert [file.name for file in kept.glob("treeline-*/*.ckpt")] == ["model-000000-000001.ckpt"]


def test_finished_folds_are_not_trained_again(job: Job) -> None:
    job.tree.hyperparameters(**FOLDS)
    first = job.start(after=r"\[5\]\t.*\tfold:0$")
    second = job.start(after=r"\[5\]\t.*\tfold:2$")
    assert "fold 0 has " in second.said
    third = job.start()
    assert third.said.startswith("folds 0, 1 are done")
    assert any(line.endswith("\tfold:0") for line in first.rounds)
    assert not [line for line in third.rounds if re.search(r"\tfold:[01]$", line)]
    assert job.differences() == []
    assert all(lost in (0, 1) for lost in job.lost())


# --- where the folder is ----------------------------------------------------------------------


def test_without_a_folder_there_are_no_checkpoints_with_one_there_are(job: Job) -> None:
    tree = job.tree
    assert run(tree, *ALONE).returncode == 0
    plain = tree.model.read_bytes()
    assert not (tree.root / "checkpoints").exists()
    (tree.root / "checkpoints").mkdir()
    assert run(tree, *ALONE).returncode == 0
    assert tree.model.read_bytes() == plain
    assert list((tree.root / "checkpoints").glob("treeline-*/model-*-000120.ckpt"))


def test_the_platform_may_name_another_folder(job: Job) -> None:
    job.tree.config("checkpointconfig", {"LocalPath": "/opt/kept"})
    job.start(kept="/opt/kept")
    assert end_of(job.files()[-1]) == BOOSTING["num_round"]
    assert job.differences() == []


def test_another_user_on_a_read_only_root_goes_on(job: Job) -> None:
    user = os.getuid() or 1000
    options = ("--user", f"{user}:{user}", "--read-only", "--tmpfs", "/tmp")
    job.checkpoints.mkdir(mode=0o700)
    folders = [job.checkpoints]
    for name in ("start-0", "start-1"):
        folders += [job.tree.root / name / each for each in ("model", "output", "output/data")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            os.chown(folder, user, user)
    job.start(*options, after=r"\[40\]\t")
    assert {file.stat().st_uid for file in job.checkpoints.rglob("*")} == {user}
    assert job.start(*options).said
    assert job.differences() == []
    assert all(lost in (0, 1) for lost in job.lost())


# --- what is wrong with it --------------------------------------------------------------------


def test_a_read_only_folder_is_a_warning(job: Job) -> None:
    warnings = warnings_of(job.start(kept=f"{FOLDER}:ro"))
    assert len(warnings) in (1, 2)
    assert all(FOLDER in text and "Read-only file system" in text for text in warnings)
    assert job.differences() == []
    assert job.files() == []


def test_a_read_only_folder_ends_a_job_that_requires_checkpoints(job: Job) -> None:
    job.tree.hyperparameters(**BOOSTING, checkpoint_required="true")
    ended = job.start(kept=f"{FOLDER}:ro")
    assert ended.status == 3
    cause = (ended.root / "output" / "failure").read_text().splitlines()[0]
    assert FOLDER in cause
    assert "Read-only file system" in cause
    assert not (ended.root / "model" / "xgboost-model").exists()


def test_a_full_disk_is_a_warning(job: Job) -> None:
    ended = job.start("--tmpfs", f"{FOLDER}:size=64k", kept=None)
    warnings = warnings_of(ended)
    assert len(warnings) in (1, 2, 3)  # once until it works again
    assert all(FOLDER in text and "No space left on device" in text for text in warnings)
    assert job.differences() == []


def test_damaged_files_are_named_and_passed_over(job: Job) -> None:
    job.start(after=r"\[40\]\t")
    *_, intact, second, newest = job.files()
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    flip(second)
    resumed = job.start(after=r"\[80\]\t")
    assert resumed.said == f"model {end_of(intact)} rounds"
    assert_passed_over(resumed, newest, second)
    # Nothing can be gone on from without the first block.
    [block] = [file for file in job.files() if file.name.startswith("model-000000-")]
    flip(block)
    anew = job.start()
    assert anew.said == ""
    assert anew.rounds == job.straight.rounds
    assert_passed_over(anew, block)
    assert job.differences() == []


def flip(file: Path) -> None:
    """Flip one bit in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def assert_passed_over(ended: Ended, *files: Path) -> None:
    named = sorted(f"{FOLDER}/{file.parent.name}/{file.name} is passed over: " for file in files)
    warnings = sorted(warnings_of(ended))
    assert len(warnings) == len(named)
    for name, text in zip(named, warnings, strict=True):
        assert name in text
