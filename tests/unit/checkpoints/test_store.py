"""A job's checkpoints: what is kept, found again, removed, and said."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.unit.checkpoints.fakes import FACTS, Ear, Toy, files, grown, never, start, train

from treeline.checkpoints import chain
from treeline.checkpoints.disk import Disk
from treeline.checkpoints.part import decode, encode, hash_of
from treeline.checkpoints.stage import NOWHERE
from treeline.checkpoints.store import Checkpoints
from treeline.errors import ConfigError, PlatformError
from treeline.hyperparameters.config import CheckpointOptions


@pytest.fixture(autouse=True)
def _blocks_of_32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers in these tests do not depend on what a block is made of today."""
    monkeypatch.setattr(chain, "BLOCK_ROUNDS", 32)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "BLOCK_ROUNDS", 4)


def job_folder(folder: Path) -> Path:
    [found] = folder.glob("treeline-*")
    return found


# A job without a folder, and one that starts.


def test_without_a_folder_nothing_is_kept() -> None:
    checkpoints, found = start(None)
    assert found == {}
    assert not checkpoints.active
    assert checkpoints.stage("model") is NOWHERE
    assert checkpoints.kept() is None


def test_without_a_folder_they_cannot_be_required() -> None:
    with pytest.raises(ConfigError) as caught:
        start(None, required=True)
    assert caught.value.cause == (
        "checkpoint_required=true, but the job has no checkpoint location"
    )
    assert "CheckpointConfig" in caught.value.remedy
    assert "/opt/ml/checkpoints" in caught.value.remedy


def test_the_first_start_finds_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "not-there"
    ear = Ear()
    checkpoints, found = start(folder, ear)
    assert checkpoints.active
    assert found == {}
    assert checkpoints.stage("model").restore(10).rounds == 0
    assert checkpoints.stage("model").finished(10) is None
    assert checkpoints.kept() is None
    assert not folder.exists()
    assert (ear.lines, ear.warnings) == ([], [])


def test_the_job_is_described_for_people(tmp_path: Path) -> None:
    checkpoints, _ = start(tmp_path)
    train(checkpoints.stage("model"), 1)
    text = (job_folder(tmp_path) / "job.json").read_text()
    assert job_folder(tmp_path).name == f"treeline-{json.loads(text)['job']}"
    assert json.loads(text)["facts"] == FACTS
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2) + "\n"


def test_a_job_is_the_same_in_whatever_order_its_facts_come(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 3)
    assert start(tmp_path, facts=dict(reversed(FACTS.items())))[1] == {"model": 3}
    assert start(tmp_path, facts={**FACTS, "more": None})[1] == {}


# Rounds.


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("every", [1, 2, 3, None])
def test_a_job_that_is_killed_again_and_again_ends_with_the_same_model(
    tmp_path: Path, every: int | None
) -> None:
    whole = grown(23)
    for kill_after in (1, 2, 5, 8, 9, 9, 17, 23):
        checkpoints, found = start(tmp_path, every=every)
        left = checkpoints.stage("model")
        toy = Toy(restored := left.restore(23))
        assert restored.rounds == len(toy.rounds) == found.get("model", 0)
        for done in range(restored.rounds + 1, kill_after + 1):
            toy.grow()
            left.keep(done, toy.scores(), toy.sections)
        assert toy.rounds == whole.rounds[:kill_after]
    left.flush(toy.sections)
    restored = start(tmp_path)[0].stage("model").restore(23)
    scores = []
    for end in range(1, 24):
        whole.rounds, rest = whole.rounds[:end], whole.rounds[end:]
        scores.append(whole.scores())
        whole.rounds += rest
    assert repr(restored.scores) == repr(tuple(scores))
    assert Toy(restored).rounds == whole.rounds


def test_a_restart_at_every_round_leaves_the_files_of_one_that_ran_through(tmp_path: Path) -> None:
    train(start(tmp_path / "a")[0].stage("model"), 75, bins="b")
    for end in range(30, 76):
        train(start(tmp_path / "b")[0].stage("model"), end, bins="b")
    a, b = job_folder(tmp_path / "a"), job_folder(tmp_path / "b")
    assert files(a) == files(b)
    assert len(files(a)) == 3 + 5
    assert all((a / name).read_bytes() == (b / name).read_bytes() for name in files(a))


def test_a_stage_is_there_before_the_job_is_known(tmp_path: Path) -> None:
    for rounds in (3, 6):
        checkpoints = Checkpoints(tmp_path, CheckpointOptions(every=1), Ear())
        stage = checkpoints.stage("model")
        assert checkpoints.open(FACTS, 10) == ({} if rounds == 3 else {"model": 3})
        assert train(stage, rounds).rounds == grown(rounds).rounds
    assert start(tmp_path)[1] == {"model": 6}


def test_rounds_need_not_be_scored(tmp_path: Path) -> None:
    stage = start(tmp_path)[0].stage("model")
    stage.restore(100)
    toy = grown(40)
    for done in (3, 10, 35, 40):
        stage.keep(done, None, toy.sections)
    restored = start(tmp_path)[0].stage("model").restore(100)
    assert (restored.rounds, restored.scores) == (40, ())
    assert Toy(restored).rounds == toy.rounds
    assert len(restored.parts) == 2


@pytest.mark.usefixtures("small_blocks")
def test_fewer_rounds_are_asked_for_and_then_more(tmp_path: Path) -> None:
    whole = train(start(tmp_path, keep=4)[0].stage("model"), 10, limit=10)
    for limit, expected in ((10, 10), (9, 9), (8, 8), (7, 7), (5, 5), (4, 4), (3, 0)):
        # Of those superseded 5, 6, 7 and 9 are left.
        checkpoints = Checkpoints(tmp_path, CheckpointOptions(), Ear())
        assert checkpoints.open(FACTS, limit).get("model", 0) == expected
        restored = checkpoints.stage("model").restore(limit)
        assert restored.rounds == expected
        assert Toy(restored).rounds == whole.rounds[:expected]
    train(start(tmp_path)[0].stage("model"), 3, limit=3)  # from its first round
    assert start(tmp_path)[1] == {"model": 10}
    assert train(start(tmp_path)[0].stage("model"), 20).rounds == grown(20).rounds


def test_every_so_many_rounds_are_written(tmp_path: Path) -> None:
    stage = start(tmp_path, every=3, keep=100)[0].stage("model")
    stage.restore(100)
    toy = grown(30)
    for done in (1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 20, 21, 22):
        stage.keep(done, None, toy.sections if done in (3, 6, 11, 12, 20, 21) else never)
    assert [int(name[-11:-5]) for name in files(tmp_path)] == [3, 6, 11, 12, 20, 21]
    stage.flush(toy.sections)
    stage.flush(never)  # nothing is left to be written
    assert start(tmp_path)[1] == {"model": 22}


def test_checkpoints_take_a_twentieth_of_the_time(tmp_path: Path) -> None:
    now = [100.0]

    class Slow(Disk):
        def write(self, name: str, content: bytes) -> None:
            now[0] += 2.0 if name.endswith(".ckpt") else 0.0
            super().write(name, content)

    disk = Slow(tmp_path)
    checkpoints, _ = start(tmp_path, every=None, keep=1000, disk=disk, clock=lambda: now[0])
    stage = checkpoints.stage("model")
    now[0] += 1000.0  # before it begins
    stage.restore(1000)
    toy = Toy()
    for done in range(1, 401):
        now[0] += 1.0
        toy.grow()
        stage.keep(done, toy.scores(), toy.sections)
    written = [int(name[-11:-5]) for name in files(tmp_path)]
    # Number n ends a time of which 2 n seconds are a twentieth: 40 n - 2 (n - 1) are rounds.
    assert written == [1, *range(78, 401, 38)]
    assert len(written) * 2.0 <= 0.05 * (now[0] - 1100.0)
    stage.flush(toy.sections)
    assert start(tmp_path)[1] == {"model": 400}


@pytest.mark.parametrize("cost", [0.004, 0.01, 0.03])
def test_checkpoints_that_grow_take_a_twentieth_of_the_time_too(
    tmp_path: Path, cost: float
) -> None:
    """A write takes so many seconds for each of its rounds, and a round takes one."""
    now, writes = [0.0], [0.0]

    class Slow(Disk):
        def write(self, name: str, content: bytes) -> None:
            if (found := chain.parsed(name.split("/")[1])) is not None:
                writes.append(cost * (found.end - found.first))
                now[0] += writes[-1]

    checkpoints, _ = start(tmp_path, every=None, disk=Slow(tmp_path), clock=lambda: now[0])
    stage = checkpoints.stage("model")
    stage.restore(5000)
    for done in range(1, 3001):
        now[0] += 1.0
        stage.keep(done, None, lambda first, end: {"model": bytes(end - first)})
        # The last write may take longer than the one before, by which it was allowed.
        longer = max(0.0, writes[-1] - writes[-2])
        assert sum(writes) - longer <= 0.05 * now[0]
    assert 0.045 * now[0] <= sum(writes) <= 0.0505 * now[0]


def test_a_disk_that_takes_no_time_is_written_to_after_every_round(tmp_path: Path) -> None:
    checkpoints, _ = start(tmp_path, every=None, keep=100, clock=lambda: 0.0)
    train(checkpoints.stage("model"), 20)
    assert len(files(tmp_path)) == 20


# Files: blocks, and what is superseded.


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_the_newest_of_superseded_files_stay(tmp_path: Path, keep: int) -> None:
    stage = start(tmp_path, keep=keep)[0].stage("model")
    stage.restore(100)
    toy = grown(40)
    for done in range(1, 41):
        stage.keep(done, toy.scores(), toy.sections)
        ends = [int(name[-11:-5]) for name in files(tmp_path)]
        complete = [32] if done > 32 else []
        # Those before are superseded, but for the complete block.
        past = [end for end in range(1, done) if end not in complete][-keep:]
        assert ends == sorted([*complete, *past, done])


@pytest.mark.usefixtures("small_blocks")
def test_a_block_ends_with_its_rounds(tmp_path: Path) -> None:
    train(start(tmp_path, keep=1)[0].stage("model"), 9)
    assert files(tmp_path) == [
        "model-000000-000004.ckpt",
        "model-000004-000007.ckpt",
        "model-000004-000008.ckpt",
        "model-000008-000009.ckpt",
    ]


def test_a_block_ends_with_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "BLOCK_BYTES", 5000)
    train(start(tmp_path, keep=1)[0].stage("model"), 6, size=1600)
    assert files(tmp_path) == [
        "model-000000-000003.ckpt",
        "model-000003-000005.ckpt",
        "model-000003-000006.ckpt",
    ]


@pytest.mark.parametrize("size", [16, 4096, 65536, 2**20])
def test_the_bytes_written_grow_with_the_rounds(tmp_path: Path, size: int) -> None:
    written = {}
    for rounds in (60, 120):

        class Counting(Disk):
            def write(self, name: str, content: bytes) -> None:
                self.total = getattr(self, "total", 0) + len(content)

        disk = Counting(tmp_path)
        stage = start(tmp_path, disk=disk)[0].stage("model")
        for done in range(1, rounds + 1):
            stage.keep(done, None, lambda first, end: {"model": bytes(size * (end - first))})
        written[rounds] = disk.total
    assert written[120] < 2.2 * written[60]
    assert written[120] < 120 * (17 * size + 400 * 17)  # at most half a block for each round


def test_a_file_that_is_being_uploaded_is_removed_later(tmp_path: Path) -> None:
    stage = start(tmp_path, keep=1)[0].stage("model")
    train(stage, 2)
    first = job_folder(tmp_path) / "model-000000-000001.ckpt"
    marker = first.with_name(f"{first.name}.sagemaker-uploading")
    marker.touch()
    toy = grown(5)
    for done in (3, 4):
        stage.keep(done, toy.scores(), toy.sections)
    assert [int(name[-11:-5]) for name in files(tmp_path) if "sage" not in name] == [1, 3, 4]
    first.with_name(f"{first.name}.sagemaker-uploaded").touch()
    stage.keep(5, toy.scores(), toy.sections)
    assert [int(name[-11:-5]) for name in files(tmp_path) if "sage" not in name] == [4, 5]
    assert start(tmp_path)[1] == {"model": 5}


# A finished model.


@pytest.mark.usefixtures("small_blocks")
def test_what_is_kept_of_a_finished_model(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("fold-000"), 6)
    checkpoints, found = start(tmp_path)
    assert found == {"fold-000": 6}
    stage = checkpoints.stage("fold-000")
    assert stage.finished(10) is None
    toy = train(stage, 10)
    sections = {"predictions": b"\x00", "model": b""}
    stage.finish({"best": 7, "value": 0.1 + 0.2}, sections, early=False)
    assert files(tmp_path) == [
        "fold-000-000000-000004.ckpt",
        "fold-000-000004-000008.ckpt",
        "fold-000-000008-000010.ckpt",
        "fold-000-done.ckpt",
    ]
    checkpoints, found = start(tmp_path, rounds=10)
    assert found == {"fold-000": None}
    left = checkpoints.stage("fold-000").finished(10)
    assert left is not None
    assert left.facts == {"best": 7, "value": 0.1 + 0.2}
    assert left.sections == {"predictions": b"\x00", "model": b""}
    assert len(left.scores) == 10
    assert repr(left.scores[-1]) == repr(toy.scores())
    # More rounds are asked for: it goes on.
    checkpoints, found = start(tmp_path, rounds=14)
    assert found == {"fold-000": 10}
    stage = checkpoints.stage("fold-000")
    assert stage.finished(14) is None
    assert train(stage, 14).rounds == grown(14).rounds
    stage.finish({"best": 11}, {}, early=False)
    checkpoints, found = start(tmp_path, rounds=14)
    assert found == {"fold-000": None}
    assert checkpoints.stage("fold-000").finished(14).facts == {"best": 11}  # type: ignore[union-attr]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(("limit", "left"), [(3, 0), (9, 8), (10, 10), (11, 10), (9_999, 10)])
def test_a_finished_model_is_used_for_its_rounds_and_for_more_if_it_ended_early(
    tmp_path: Path, early: bool, limit: int, left: int
) -> None:
    for rounds in (6, 10):  # those before are of an earlier start
        stage = start(tmp_path)[0].stage("model")
        train(stage, rounds)
    stage.finish({}, {}, early=early)
    checkpoints, found = start(tmp_path, rounds=limit)
    stage = checkpoints.stage("model")
    if limit == 10 or (early and limit > 10):
        assert found == {"model": None}
        assert "model is done" in str(checkpoints.kept())
        assert stage.finished(limit) is not None
    else:
        assert found == ({"model": left} if left else {})
        assert stage.finished(limit) is None
        assert stage.restore(limit).rounds == left


def test_a_model_without_rounds_is_finished_where_none_are_wanted_or_it_ended_early(
    tmp_path: Path,
) -> None:
    for early in (False, True):
        stage = start(tmp_path)[0].stage("model")
        assert stage.restore(5).rounds == 0
        stage.finish({"early": early}, {"model": b"x"}, early=early)
        for limit in (0, 5):
            checkpoints, found = start(tmp_path, rounds=limit)
            wanted = early or limit == 0
            assert found == ({"model": None} if wanted else {})
            assert (checkpoints.stage("model").finished(limit) is not None) == wanted


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": "3"},
        {"rounds": None},
        {"early": 0},
        {"early": None},
        {"facts": []},
        {"more": 1},
        {"stage": "other"},
    ],
    ids=str,
)
def test_a_finished_model_says_how_it_ended(tmp_path: Path, change: Mapping[str, Any]) -> None:
    stage = start(tmp_path)[0].stage("model")
    train(stage, 3)
    stage.finish({}, {}, early=False)
    done = job_folder(tmp_path) / "model-done.ckpt"
    facts = decode(done.read_bytes()).facts
    assert facts == {
        "job": job_folder(tmp_path).name.removeprefix("treeline-"),
        "stage": "model",
        "rounds": 3,
        "early": False,
        "facts": {},
    }
    done.write_bytes(encode({**facts, **change}, [], {}))
    ear = Ear()
    assert start(tmp_path, ear, rounds=3)[1] == {"model": 3}
    assert [each.split("is passed over: ")[1] for each in ear.warnings] == [
        "it is not what its name says"
    ]


def test_a_damaged_finished_model_is_trained_on_from_its_rounds(tmp_path: Path) -> None:
    stage = start(tmp_path)[0].stage("fold-000")
    train(stage, 6)
    stage.finish({}, {"predictions": b"\x00"}, early=False)
    done = job_folder(tmp_path) / "fold-000-done.ckpt"
    done.write_bytes(done.read_bytes()[:-1])
    ear = Ear()
    checkpoints, found = start(tmp_path, ear)
    assert found == {"fold-000": 6}
    assert checkpoints.stage("fold-000").finished(10) is None
    assert len(ear.warnings) == 1
    assert "fold-000-done.ckpt is passed over: it was not written whole" in ear.warnings[0]


# Several models and several jobs.


def test_models_that_are_trained_side_by_side(tmp_path: Path) -> None:
    names = [f"fold-{number:03d}" for number in range(4)]
    for rounds in (20, 50):
        checkpoints, found = start(tmp_path)
        assert found == ({} if rounds == 20 else dict.fromkeys(names, 20))
        stages = map(checkpoints.stage, names)
        with ThreadPoolExecutor(4) as pool:
            toys = list(pool.map(train, stages, [rounds] * 4))
        assert all(toy.rounds == grown(rounds).rounds for toy in toys)


def test_one_model_is_not_mistaken_for_another(tmp_path: Path) -> None:
    checkpoints, _ = start(tmp_path)
    train(checkpoints.stage("fold-001"), 3)
    stage = checkpoints.stage("fold-000")
    train(stage, 3)
    stage.finish({}, {}, early=False)
    folder = job_folder(tmp_path)
    for kind in ("000000-000003", "done"):
        shutil.copy(folder / f"fold-000-{kind}.ckpt", folder / f"fold-001-{kind}.ckpt")
    shutil.copy(folder / "fold-000-done.ckpt", folder / "fold-002-000000-000001.ckpt")
    shutil.copy(folder / "fold-000-000000-000003.ckpt", folder / "fold-002-done.ckpt")
    shutil.copy(folder / "fold-000-000000-000003.ckpt", folder / "fold-000-000000-000004.ckpt")
    ear = Ear()
    assert start(tmp_path, ear, rounds=3)[1] == {"fold-000": None, "fold-001": 2}
    assert len(ear.warnings) == 5
    assert all(each.endswith("it is not what its name says") for each in ear.warnings)


def test_jobs_in_one_folder_leave_each_other_alone(tmp_path: Path) -> None:
    facts = [{**FACTS, "max_depth": depth} for depth in (6, 8)]
    stages = [start(tmp_path, facts=each, keep=1)[0].stage("model") for each in facts]
    toys = [grown(9), grown(9, 32)]
    for done in range(1, 10):
        for stage, toy in zip(stages, toys, strict=True):
            stage.keep(done, None, toy.sections)
    stages[0].finish({}, {}, early=False)
    assert len(list(tmp_path.glob("treeline-*"))) == 2
    ear = Ear()
    for each, toy, expected in zip(facts, toys, (None, 9), strict=True):
        checkpoints, found = start(tmp_path, ear, facts=each, rounds=9)
        assert found == {"model": expected}
        assert Toy(checkpoints.stage("model").restore(9), toy.size).rounds == toy.rounds
    assert (ear.lines, ear.warnings) == ([], [])


def test_a_file_of_another_job_is_not_used(tmp_path: Path) -> None:
    train(start(tmp_path / "a")[0].stage("model"), 3)
    train(start(tmp_path / "b", facts={})[0].stage("model"), 1)
    for name in ("model-000000-000002.ckpt", "model-000000-000003.ckpt"):
        shutil.copy(job_folder(tmp_path / "a") / name, job_folder(tmp_path / "b"))
    assert start(tmp_path / "b", facts={})[1] == {"model": 1}


@pytest.mark.usefixtures("small_blocks")
def test_files_of_different_attempts_are_not_mixed(tmp_path: Path) -> None:
    """Both are good, but the second block was made of another first one."""
    train(start(tmp_path / "a")[0].stage("model"), 8)
    stage = start(tmp_path / "b")[0].stage("model")
    for done in range(1, 9):
        stage.keep(done, None, lambda first, end: {"model": b"another".ljust(16 * (end - first))})
    name = "model-000004-000008.ckpt"
    shutil.copy(job_folder(tmp_path / "b") / name, job_folder(tmp_path / "a") / name)
    for extra in ("000005", "000006", "000007"):
        (job_folder(tmp_path / "a") / f"model-000004-{extra}.ckpt").unlink()
    checkpoints, found = start(tmp_path / "a")
    assert found == {"model": 4}
    assert Toy(checkpoints.stage("model").restore(8)).rounds == grown(4).rounds


# A job that finds only others' checkpoints, or its rounds on other bins.


def left_behind(folder: Path, facts: dict[str, Any]) -> str:
    checkpoints, _ = start(folder, facts=facts)
    train(checkpoints.stage("model"), 1)
    return str(re.search("treeline-[0-9a-f]{16}", str(checkpoints.kept())))


def test_the_nearest_of_other_jobs_is_named(tmp_path: Path) -> None:
    left_behind(tmp_path, {**FACTS, "max_depth": 8, "eta": 0.3})
    left_behind(tmp_path, {**FACTS, "max_depth": 8})
    left_behind(tmp_path, {"xgboost": "1.0"})
    nearest = start(tmp_path, facts={**FACTS, "max_depth": 8})[0]
    [name] = re.findall("treeline-[0-9a-f]{16}", nearest.described({"model": 1}))
    ear = Ear()
    assert start(tmp_path, ear)[1] == {}
    assert ear.warnings == []
    assert ear.lines == [
        f"{tmp_path} has checkpoints of other jobs only, the nearest is {name}: max_depth is 8 "
        "there and 6 here, so this job starts from its first round"
    ]
    with pytest.raises(ConfigError) as caught:
        start(tmp_path, mismatch="fail")
    assert name in caught.value.cause
    assert "max_depth is 8 there and 6 here" in caught.value.cause
    assert "checkpoint_mismatch=restart" in caught.value.remedy


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({"a": 1}, "a is 1 there and 2 here, there is no b there"),
        ({"a": 2, "b": "x", "c": None}, "there is no c here"),
        ({"a": 2, "b": "y"}, "b is y there and x here"),
        ({"a": "2", "b": "x\n" * 99}, f"a is 2 there and 2 here, b is {'x ' * 29}x… there and x"),
        (
            {"a": True, "b": [], **dict.fromkeys("cdefg", 0)},
            "a is true there and 2 here, b is [] there and x here, there is no c here, "
            "there is no d here, and 3 more, so",
        ),
    ],
)
def test_differences_are_named(tmp_path: Path, there: dict[str, Any], expected: str) -> None:
    left_behind(tmp_path, there)
    ear = Ear()
    start(tmp_path, ear, {"a": 2, "b": "x"})
    assert expected in ear.lines[0]


@pytest.mark.parametrize("mismatch", ["restart", "fail"])
def test_with_checkpoints_of_its_own_others_are_nobodys_business(
    tmp_path: Path, mismatch: str
) -> None:
    left_behind(tmp_path, {})
    train(start(tmp_path)[0].stage("model"), 3)
    ear = Ear()
    assert start(tmp_path, ear, mismatch=mismatch)[1] == {"model": 3}
    for file in tmp_path.rglob("*.ckpt"):
        file.write_bytes(b"")
    assert start(tmp_path, ear, mismatch=mismatch)[1] == {}
    assert ear.lines == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"treeline_checkpoints": 1, "facts": []}',
        b'{"treeline_checkpoints": 2, "facts": {"a": 1}}',
        b"[" * 100_000,
        None,
    ],
    ids=str,
)
def test_others_that_cannot_be_told_are_passed_over(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "treeline-0123456789abcdef" / "job.json"
    file.parent.mkdir()
    file.mkdir() if content is None else file.write_bytes(content)
    (tmp_path / "treeline-0123456789abcdee").touch()
    (tmp_path / "treeline-x").mkdir()
    ear = Ear()
    assert start(tmp_path, ear, mismatch="fail")[1] == {}
    assert (ear.lines, ear.warnings) == ([], [])


def test_rounds_on_other_bins_are_trained_anew(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 9, bins="in memory")
    refused = start(tmp_path, mismatch="fail")[0].stage("model")
    with pytest.raises(ConfigError, match=r"9 rounds of model.*binned another way") as caught:
        refused.restore(20, "on disk")
    assert "checkpoint_mismatch=restart" in caught.value.remedy
    ear = Ear()
    checkpoints, found = start(tmp_path, ear)
    assert found == {"model": 9}
    stage = checkpoints.stage("model")
    assert stage.restore(20, "on disk").rounds == 0
    assert checkpoints.kept() is None
    assert ear.lines == [
        f"{job_folder(tmp_path)} has 9 rounds of model, but the rows were binned another way "
        "(memory or compute path differ), so rounds are trained anew"
    ]
    toy = grown(2)
    stage.keep(1, None, toy.sections)
    stage.keep(2, None, toy.sections)
    assert [int(name[-11:-5]) for name in files(tmp_path)] == [1, 2, 4, 5, 6, 7, 8, 9]
    # Each finds its own.
    for bins, rounds in (("on disk", 2), ("in memory", 9)):
        ear = Ear()
        checkpoints, found = start(tmp_path, ear, mismatch="fail")
        assert found == {"model": 9}
        assert checkpoints.stage("model").restore(20, bins).rounds == rounds
        assert ear.lines == []


def test_rounds_on_other_bins_are_replaced_under_the_same_names(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 9, bins="in memory")
    train(start(tmp_path)[0].stage("model"), 8, bins="on disk")
    for bins, rounds in (("on disk", 8), ("in memory", 9)):
        assert start(tmp_path)[0].stage("model").restore(20, bins).rounds == rounds
    train(start(tmp_path)[0].stage("model"), 10, bins="on disk")
    assert [int(name[-11:-5]) for name in files(tmp_path)] == [5, 6, 7, 8, 9, 10]
    for bins, rounds in (("on disk", 10), ("in memory", 0)):
        assert start(tmp_path)[0].stage("model").restore(20, bins).rounds == rounds


@pytest.mark.usefixtures("small_blocks")
def test_two_machines_by_turns_go_on_with_their_own_rounds(tmp_path: Path) -> None:
    """Of one every file has its own name; both have several blocks, and superseded files."""
    for rounds in (7, 13, 14, 23):
        for bins, every in (("in memory", 1), ("on disk", 5)):
            checkpoints, _ = start(tmp_path, every=every, keep=1)
            stage = checkpoints.stage("model")
            before = stage.finished(rounds), len(Toy(stage.restore(30, bins)).rounds)
            left = {7: 0, 13: 7, 14: 13, 23: 14}[rounds] // every * every
            assert before == (None, left)
            toy = grown(left)
            for done in range(left + 1, rounds + 1):
                toy.grow()
                stage.keep(done, toy.scores(), toy.sections)
            assert toy.rounds == grown(rounds).rounds
    stage.finish({}, {}, early=False)
    for bins, rounds in (("in memory", 23), ("on disk", 20)):
        restored = start(tmp_path)[0].stage("model").restore(30, bins)
        assert Toy(restored).rounds == grown(rounds).rounds


# Damage.


def test_damaged_files_are_passed_over_and_named(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 6)
    folder = job_folder(tmp_path)
    (folder / "model-000000-000006.ckpt").write_bytes(b"")
    content = bytearray((folder / "model-000000-000005.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model-000000-000005.ckpt").write_bytes(content)
    ear = Ear()
    checkpoints, found = start(tmp_path, ear)
    assert found == {"model": 4}
    assert ear.warnings == [
        f"checkpoint {folder}/model-000000-000005.ckpt is passed over: its content is not what "
        "was written, the hash differs",
        f"checkpoint {folder}/model-000000-000006.ckpt is passed over: it is empty",
    ]
    assert train(checkpoints.stage("model"), 8).rounds == grown(8).rounds
    ear = Ear()
    assert start(tmp_path, ear)[1] == {"model": 8}
    assert ear.warnings == []


@pytest.mark.usefixtures("small_blocks")
def test_of_a_damaged_block_the_superseded_file_is_used_and_later_ones_again(
    tmp_path: Path,
) -> None:
    train(start(tmp_path, keep=8)[0].stage("model"), 11)
    damaged = job_folder(tmp_path) / "model-000000-000004.ckpt"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    checkpoints, found = start(tmp_path, keep=8)
    assert found == {"model": 3}
    train(checkpoints.stage("model"), 4)
    assert damaged.read_bytes() == content  # the same rounds give the same file
    assert start(tmp_path)[1] == {"model": 11}  # so those that follow it do again


def test_garbage_in_the_folder_ends_nothing(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 3)
    folder = job_folder(tmp_path)
    (folder / "job.json").write_bytes(b"\xff")
    (folder / "model-000000-000004.ckpt").mkdir()
    (folder / "model-000000-000005.ckpt" / "model-000000-000005.ckpt").mkdir(parents=True)
    (folder / "model-done.ckpt").mkdir()
    os.mkfifo(folder / "model-000000-000006.ckpt")
    (folder / "model-000000-000007.ckpt").symlink_to("nowhere")
    line = b'{"treeline_checkpoint":1,"more":"' + b"x" * 5_000_000 + b'"}\n'
    huge = line + b"\ntreeline-commit " + hash_of(line).encode() + b"\n"
    (folder / "model-000000-000008.ckpt").write_bytes(huge)
    (folder / "fold-٠٠٠-000000-000008.ckpt").touch()
    (folder / os.fsdecode(b"\xff\xfe.ckpt")).touch()
    (folder / "notes.txt").touch()
    (folder / "model-000000-000003.ckpt.sagemaker-uploaded").touch()
    ear = Ear()
    checkpoints, found = start(tmp_path, ear)
    assert found == {"model": 3}
    assert len(ear.warnings) == 6
    stage = checkpoints.stage("model")
    assert train(stage, 12).rounds == grown(12).rounds
    stage.finish({}, {}, early=False)
    assert json.loads((folder / "job.json").read_bytes())["facts"] == FACTS
    assert start(tmp_path)[1] == {"model": 12}
    said = [each.split(str(tmp_path))[0] for each in ear.warnings[6:]]
    # In place of the folders; those of rounds are then superseded.
    written, removed = "checkpoints cannot be written to ", "checkpoints cannot be removed from "
    assert said == [written, removed, written]


def test_without_its_description_a_job_is_kept_all_the_same(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 1)
    (job_folder(tmp_path) / "job.json").unlink()
    (job_folder(tmp_path) / "job.json" / "x").mkdir(parents=True)
    ear = Ear()
    train(start(tmp_path, ear, required=True)[0].stage("model"), 3)
    assert start(tmp_path)[1] == {"model": 3}
    assert ear.warnings == []


def test_a_file_that_changes_while_the_job_runs_is_not_used(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 6)
    checkpoints, found = start(tmp_path)
    assert found == {"model": 6}
    folder = job_folder(tmp_path)
    (folder / "model-000000-000006.ckpt").unlink()
    (folder / "model-000000-000005.ckpt").write_bytes(b"damaged")
    restored = checkpoints.stage("model").restore(10)
    assert Toy(restored).rounds == grown(4).rounds


@pytest.mark.usefixtures("small_blocks")
def test_a_file_that_another_attempt_replaces_while_the_job_runs_is_not_used(
    tmp_path: Path,
) -> None:
    train(start(tmp_path / "a")[0].stage("model"), 8)
    stage = start(tmp_path / "b")[0].stage("model")
    stage.keep(4, None, lambda first, end: {"model": bytes(16 * (end - first))})
    checkpoints, found = start(tmp_path / "a")
    assert found == {"model": 8}
    name = "model-000000-000004.ckpt"
    shutil.copy(job_folder(tmp_path / "b") / name, job_folder(tmp_path / "a") / name)
    restored = checkpoints.stage("model").restore(10)
    assert Toy(restored).rounds == grown(3).rounds


# What a kill leaves of files that were being written.


def abandoned(file: Path, seconds: float) -> Path:
    """Leave a file as if it had been written so long ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"half")
    then = time.time() - seconds
    os.utime(file, (then, then))
    return file


def test_unfinished_files_are_removed_after_an_hour(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 2)
    folder, other = job_folder(tmp_path), tmp_path / "treeline-0123456789abcdef"
    name = ".model-000000-000003.ckpt.0123abcd.sagemaker-ignore"
    old = abandoned(folder / name, 3700)
    explained = abandoned(folder / ".job.json.01234567.sagemaker-ignore", 1e6)
    stay = [
        abandoned(folder / name.replace("d.s", "e.s"), 3500),
        abandoned(other / name, 3700),  # of another job
        abandoned(tmp_path / name, 3700),
        abandoned(folder / "notes.sagemaker-ignore", 3700),
        abandoned(folder / ".notes", 3700),
        abandoned(folder / "model-000000-000001.ckpt.sagemaker-uploaded", 3700),
    ]
    before = sorted(tmp_path.rglob("*"))
    ear = Ear()
    assert start(tmp_path, ear)[1] == {"model": 2}
    assert sorted(tmp_path.rglob("*")) == [each for each in before if each not in (old, explained)]
    assert all(file.exists() for file in stay)
    assert ear.warnings == []


@pytest.mark.parametrize("method", ["leftovers", "remove"])
def test_unfinished_files_that_cannot_be_removed_end_nothing(tmp_path: Path, method: str) -> None:
    train(start(tmp_path)[0].stage("model"), 2)
    folder = job_folder(tmp_path)
    old = abandoned(folder / ".a.0123abcd.sagemaker-ignore", 3700)
    (folder / ".b.0123abcd.sagemaker-ignore").mkdir()
    os.utime(folder / ".b.0123abcd.sagemaker-ignore", (0, 0))
    ear, disk = Ear(), Failing(tmp_path, method)
    assert start(tmp_path, ear, required=True, disk=disk)[1] == {"model": 2}
    assert old.exists()
    abandoned(folder / ".c.0123abcd.sagemaker-ignore", 3700)
    assert start(tmp_path, ear, required=True)[1] == {"model": 2}
    assert [path.name for path in folder.glob(".*")] == [".b.0123abcd.sagemaker-ignore"]
    assert (ear.lines, ear.warnings) == ([], [])


# A disk that fails.


class Failing(Disk):
    """Fails what is asked for by name, with an error that can be set and taken away."""

    def __init__(self, folder: Path, *methods: str) -> None:
        super().__init__(folder)
        self.methods = methods
        self.error: int | None = errno.ENOSPC

    def _fail(self, method: str) -> None:
        if self.error is not None and method in self.methods:
            raise OSError(self.error, os.strerror(self.error))

    def names(self, subfolder: str = "") -> list[str]:
        self._fail("names")
        return super().names(subfolder)

    def read(self, name: str) -> bytes:
        self._fail("read")
        return super().read(name)

    def write(self, name: str, content: bytes) -> None:
        self._fail("write")
        super().write(name, content)

    def leftovers(self, subfolder: str, seconds: float) -> list[str]:
        self._fail("leftovers")
        return super().leftovers(subfolder, seconds)

    def remove(self, name: str) -> bool:
        self._fail("remove")
        return super().remove(name)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
def test_a_disk_that_cannot_be_written_is_said_once_and_tried_again(
    tmp_path: Path, error: int
) -> None:
    disk, ear = Failing(tmp_path, "write"), Ear()
    checkpoints, _ = start(tmp_path, ear, disk=disk)
    stage = checkpoints.stage("model")
    stage.restore(100)
    toy = grown(20)
    disk.error = None
    for done in range(1, 13):
        disk.error = error if 3 < done < 8 or done == 10 else None
        stage.keep(done, toy.scores(), toy.sections)
    assert ear.warnings[0] == (
        f"checkpoints cannot be written to {tmp_path}: {os.strerror(error)}; training goes on, "
        "and an interruption would lose the rounds of model since round 3"
    )
    assert len(ear.warnings) == 2  # once for each time that it began
    assert ear.lines == [f"checkpoints are written to {tmp_path} again"] * 2
    restored = start(tmp_path)[0].stage("model").restore(100)
    assert Toy(restored).rounds == toy.rounds[:12]


def test_a_disk_that_never_could_be_written(tmp_path: Path) -> None:
    ear = Ear()
    checkpoints, _ = start(tmp_path, ear, disk=Failing(tmp_path, "write", "remove"))
    for name in ("fold-000", "fold-001"):
        stage = checkpoints.stage(name)
        train(stage, 5)
        stage.flush(grown(5).sections)
        stage.finish({}, {}, early=False)
    assert len(ear.warnings) == 1
    assert ear.warnings[0].endswith("an interruption would lose the rounds of fold-000")
    assert checkpoints.kept() is None
    assert files(tmp_path) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.touch()
    ear = Ear()
    train(start(folder, ear)[0].stage("model"), 5)
    assert [each.split(";")[0] for each in ear.warnings] == [
        f"checkpoints cannot be read from {folder}: Not a directory",
        f"checkpoints cannot be written to {folder}: Not a directory",
    ]


@pytest.mark.parametrize("method", ["names", "read"])
def test_a_disk_that_cannot_be_read_is_said_once_and_the_model_is_the_same(
    tmp_path: Path, method: str
) -> None:
    train(start(tmp_path)[0].stage("model"), 40)
    disk, ear = Failing(tmp_path, method), Ear()
    disk.error = errno.EIO
    checkpoints, found = start(tmp_path, ear, mismatch="fail", disk=disk)
    assert found == {}
    disk.error = None
    assert train(checkpoints.stage("model"), 20).rounds == grown(20).rounds
    assert ear.warnings == [
        f"checkpoints cannot be read from {tmp_path}: Input/output error; rounds that are there "
        "may be trained again"
    ]
    assert start(tmp_path)[1] == {"model": 40}


def test_a_file_that_cannot_be_read_again(tmp_path: Path) -> None:
    train(start(tmp_path)[0].stage("model"), 40)
    disk, ear = Failing(tmp_path, "read"), Ear()
    disk.error = None
    checkpoints, found = start(tmp_path, ear, disk=disk)
    assert found == {"model": 40}
    disk.error = errno.EIO
    stage = checkpoints.stage("model")
    assert stage.restore(100).rounds == 0
    assert stage.finished(10) is None
    assert len(ear.warnings) == 1


def test_what_cannot_be_removed_stays(tmp_path: Path) -> None:
    ear = Ear()
    disk = Failing(tmp_path, "remove")
    checkpoints, _ = start(tmp_path, ear, keep=1, required=True, disk=disk)
    stage = checkpoints.stage("model")
    toy = train(stage, 5)
    assert len(files(tmp_path)) == 5
    assert len(ear.warnings) == 1
    disk.error = None
    toy.grow()
    stage.keep(6, toy.scores(), toy.sections)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("method", ["names", "read", "write"])
def test_where_checkpoints_are_required_a_disk_that_fails_ends_the_job(
    tmp_path: Path, method: str
) -> None:
    train(start(tmp_path)[0].stage("model"), 3)
    disk = Failing(tmp_path, method)
    with pytest.raises(PlatformError) as caught:
        train(start(tmp_path, required=True, disk=disk)[0].stage("model"), 5)
    assert "checkpoint_required=true" in caught.value.cause
    assert "No space left on device" in caught.value.cause
    assert str(tmp_path) in caught.value.cause
    assert "checkpoint_required=false" in caught.value.remedy


# What is said.


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"model": 37}, "model 37 rounds"),
        ({"model": 1}, "model 1 round"),
        ({"model": None}, "model is done"),
        ({"fold-000": None}, "fold 0 is done"),
        ({"fold-003": 1}, "fold 3 has 1 round"),
        (
            {"final": 5, "fold-000": None, "fold-001": None, "fold-002": None, "fold-003": 12},
            "folds 0, 1, 2 are done, fold 3 has 12 rounds, final 5 rounds",
        ),
    ],
)
def test_where_a_job_goes_on_from_is_said(
    tmp_path: Path, found: dict[str, int | None], words: str
) -> None:
    checkpoints, _ = start(tmp_path)
    job = checkpoints.described(found).split(": ")[0]
    assert checkpoints.described(found) == f"{job}: {words}"
    assert re.fullmatch(f"resumed from {tmp_path}/treeline-[0-9a-f]{{16}}", job)


def test_what_is_kept_is_said(tmp_path: Path) -> None:
    checkpoints, _ = start(tmp_path)
    assert checkpoints.kept() is None
    stage = checkpoints.stage("fold-001")
    train(stage, 7)
    stage.finish({}, {}, early=False)
    train(checkpoints.stage("fold-000"), 6)
    assert checkpoints.kept() == (
        f"kept in {job_folder(tmp_path)}: fold 1 is done, fold 0 has 6 rounds; the same job "
        "started again goes on from there"
    )
    again, found = start(tmp_path, rounds=7)
    assert again.kept() == checkpoints.kept()
    assert found == {"fold-000": 6, "fold-001": None}


def test_what_is_kept_is_what_is_on_disk(tmp_path: Path) -> None:
    disk = Failing(tmp_path, "write")
    disk.error = None
    checkpoints, _ = start(tmp_path, disk=disk)
    stage = checkpoints.stage("model")
    toy = grown(9)
    stage.keep(1, None, toy.sections)
    disk.error = errno.ENOSPC
    stage.keep(2, None, toy.sections)
    assert "model 1 round;" in str(checkpoints.kept())


def test_the_rules_are_those_of_the_job(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, CheckpointOptions(), Ear())
    assert checkpoints.open({}, 1) == {}
