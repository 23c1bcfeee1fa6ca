"""How the runs of ``benchmarks.chaos`` are drawn and judged; nothing runs in a container here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from benchmarks import chaos
from benchmarks.chaos import DISTURBANCES, KINDS, Kind, Plan, Story

HOSTS = ("algo-1", "algo-2", "algo-3")


def kind(name: str) -> Kind:
    return next(each for each in KINDS if each.name == name)


def plan(disturbance: str, of: str = "3 hosts, sharded", host: str = "algo-2") -> Plan:
    what = next(each for each in DISTURBANCES if each.name == disturbance)
    return Plan(kind(of), what, host, "training", 0.5)


def story(of: Plan, *statuses: int, model: str = "none", **more: Any) -> Story:
    """A story that is good if the statuses are."""
    failures = {
        host: "" if s in (0, 143) else "Host algo-2 is lost"
        for host, s in zip(HOSTS, statuses, strict=True)
    }
    after = dict(zip(HOSTS, (8.0, 10.0, 10.0), strict=True))
    told = {"struck": True, "joined": True, "failures": failures, "after": after, **more}
    return Story(
        plan=of, hosts=HOSTS, statuses=dict(zip(HOSTS, statuses, strict=True)), model=model, **told
    )


def test_everything_is_done_before_anything_is_done_again() -> None:
    drawn = chaos.plans("1", 24)
    assert drawn == chaos.plans("1", 24) != chaos.plans("2", 24)
    assert {each.disturbance for each in drawn[:12]} == set(DISTURBANCES)
    assert {each.kind.name for each in drawn[:7]} == {each.name for each in KINDS}
    assert all(each.phase in each.disturbance.phases for each in drawn)
    assert all(each.host == "algo-1" for each in drawn if each.disturbance.first)


GOOD = [
    story(plan("host killed"), 3, 137, 3),
    story(plan("worker killed"), 3, 3, 3),
    story(plan("paused for 3 s"), 0, 0, 0, model="same"),
    story(plan("cut off for 5 s"), 0, 0, 0, model="same"),
    story(plan("host killed", "3 hosts, resume"), 0, 137, 0, model="close"),
    story(plan("SIGTERM to one"), 143, 143, 143),
    story(plan("SIGTERM to all", "2 hosts, model kept"), 0, 0, 0, model="part"),
    story(plan("host killed"), 0, 0, 0, model="same", struck=False),
    story(plan("host killed"), 143, 137, 143, waiting=["algo-1", "algo-3"], joined=False),
    story(plan("cut off", "3 hosts, checkpoints"), 3, 3, 3, again="same"),
]


@pytest.mark.parametrize("good", GOOD)
def test_a_good_end(good: Story) -> None:
    assert chaos.judge(good) == []


LATE = {**GOOD[0].after, "algo-3": 61.0}
BAD = [
    (replace(GOOD[0], statuses={"algo-1": 3, "algo-2": 137, "algo-3": 0}), "end differently"),
    (story(plan("cut off"), 3, 1, 3), "algo-2 ended with status 1"),
    (replace(GOOD[0], after=LATE), "algo-3 took 61 s to end"),
    (
        replace(GOOD[0], failures=dict.fromkeys(HOSTS, "XGBoost refused")),
        "algo-1 does not name algo-2",
    ),
    (
        replace(GOOD[0], failures=dict.fromkeys(HOSTS, "Host algo-21")),
        "algo-1 does not name algo-2",
    ),
    (replace(GOOD[0], elsewhere=["algo-3"]), "a model on algo-3"),
    (replace(GOOD[0], model="12 rounds, not 20"), "failed, with a model"),
    (replace(GOOD[0], struck=False), "failed though nothing was done"),
    (replace(GOOD[2], model="none"), "success, but the model: none"),
    (replace(GOOD[2], model="close"), "success, but the model: close"),
    (replace(GOOD[2], after={**GOOD[2].after, "algo-3": 7.0}), "algo-3 ended before algo-1"),
    (story(plan("paused for 3 s"), 3, 3, 3), "did not survive"),
    (story(plan("host killed", "3 hosts, resume"), 3, 137, 3), "did not go on"),
    (story(plan("SIGTERM to one"), 1, 1, 1), "stopped, but with status 1"),
    (story(plan("SIGTERM to one", "2 hosts, model kept"), 143, 143, 143), "kept no model"),
    (story(plan("model folder full", host="algo-1"), 0, 0, 0), "success without a model"),
    (
        story(plan("cut off for 5 s"), 143, 143, 143, waiting=["algo-1"], joined=False),
        "algo-2 was back, and the hosts did not come together",
    ),
    (replace(GOOD[8], silent=["algo-3"]), "algo-3 did not say for whom it waited"),
    (replace(GOOD[9], again="predictions differ"), "started again: predictions differ"),
    (replace(GOOD[9], failures={**GOOD[9].failures, "algo-2": ""}), "algo-2 does not say why"),
]


@pytest.mark.parametrize(("bad", "said"), BAD)
def test_a_bad_end(bad: Story, said: str) -> None:
    assert said in "; ".join(chaos.judge(bad))


def test_a_model_is_compared_by_bytes_by_trees_and_by_predictions(tmp_path: Path) -> None:
    tree = chaos.make_tree(tmp_path / "tree", KINDS[0])
    rows = np.loadtxt(tree / "input" / "data" / "train" / "part-0.csv", delimiter=",")
    data = xgboost.DMatrix(rows[:, 1:], rows[:, 0])

    def trained(name: str, rounds: int, **more: Any) -> Path:
        asks = {"objective": "binary:logistic", "max_depth": 3, "base_score": 0.5, **more}
        booster = xgboost.train(asks, data, rounds)
        (tmp_path / name / "treeline").mkdir(parents=True)
        (tmp_path / name / "xgboost-model").write_bytes(booster.save_raw())
        (tmp_path / name / "treeline" / "manifest.json").write_text(name)
        return tmp_path / name

    wanted = trained("wanted", 6)
    assert chaos.compare(trained("same", 6), wanted, tree) == "same"
    assert chaos.compare(trained("part", 4), wanted, tree) == "part"
    assert chaos.compare(trained("close", 6, base_score=0.500001), wanted, tree) == "close"
    assert "differ by" in chaos.compare(trained("other", 6, max_depth=4), wanted, tree)
    assert chaos.compare(trained("other short", 4, eta=0.2), wanted, tree) == "4 rounds, not 6"
    assert chaos.compare(tmp_path / "nothing", wanted, tree) == "none"
