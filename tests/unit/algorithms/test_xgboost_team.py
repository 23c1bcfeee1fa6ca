"""Several workers train the model of one: the same bytes, and the same scores."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from tests import teams, teamwork
from tests.teamwork import (
    ABSOLUTE,
    CASES,
    EXACT,
    INEXACT,
    Divided,
    Outcome,
    first_has_few,
    fitted,
    last_has_none,
    sets,
    train_cases,
    train_on,
    train_stored,
)

from treeline.algorithms import xgboost
from treeline.errors import AlgorithmError, DataError, HyperparameterError
from treeline.hyperparameters import parse
from treeline.hyperparameters import together as rules
from treeline.team import ALONE, Team

SHARES: dict[str, tuple[int, Any, Any]] = {
    "three, the first has few": (3, first_has_few, CASES),
    "three, the last has none": (3, last_has_none, EXACT),
}
PAIRS = [(shares, case) for shares, (_, _, cases) in SHARES.items() for case in cases]


@cache
def alone(case: str) -> Outcome:
    return train_cases(ALONE, [case])[case]


@cache
def together(shares: str) -> list[dict[str, Outcome]]:
    size, cut, cases = SHARES[shares]
    return teams.run(size, train_cases, list(cases), cut)


def assert_same_scores(found: Any, wanted: Any) -> None:
    assert list(found) == list(wanted)
    for role in wanted:
        assert list(found[role]) == list(wanted[role])  # the last metric is followed
        for metric, value in wanted[role].items():
            assert found[role][metric] == pytest.approx(value, rel=1e-9, nan_ok=True), metric


def assert_same(workers: list[Outcome], one: Outcome) -> None:
    for worker in workers:
        assert worker.model == one.model
        assert worker.outcome == one.outcome
        assert [(i, restored) for i, _, restored in worker.rounds] == [
            (i, restored) for i, _, restored in one.rounds
        ]
        for (_, found, _), (_, wanted, _) in zip(worker.rounds, one.rounds, strict=True):
            assert_same_scores(found, wanted)
        assert_same_scores(worker.scores, one.scores)
        assert worker.scores == workers[0].scores  # to the last bit
        assert worker.rounds == workers[0].rounds or "nan" in str(worker.rounds)
    for role, wanted_ in one.predictions.items():
        parts = [worker.predictions[role] for worker in workers]
        np.testing.assert_array_equal(np.concatenate([p for p in parts if len(p)]), wanted_)


@pytest.mark.parametrize(("shares", "case"), [pair for pair in PAIRS if pair[1] not in INEXACT])
def test_workers_train_the_model_of_one(shares: str, case: str) -> None:
    assert_same([worker[case] for worker in together(shares)], alone(case))


@pytest.mark.parametrize("case", INEXACT)
def test_what_differs_from_one_worker_is_said(case: str) -> None:
    one, workers = alone(case), [worker[case] for worker in together("three, the first has few")]
    assert workers[0].model == workers[1].model != one.model
    assert workers[0].rounds == workers[1].rounds
    config = parse({"num_round": "3", **{k: str(v) for k, v in CASES[case][1].items()}})
    (reason,) = rules.inexact(config)
    assert case in reason
    # Another model, not a worse one.
    (role, scores), *_ = one.scores.items()
    for metric, value in scores.items():
        assert workers[0].scores[role][metric] == pytest.approx(value, rel=0.1)


@pytest.mark.parametrize("case", EXACT | ABSOLUTE)
def test_nothing_is_said_of_what_is_the_same(case: str) -> None:
    config = parse({"num_round": "3", **{k: str(v) for k, v in CASES[case][1].items()}})
    assert rules.inexact(config) == ()
    rules.check(config)


def test_rows_wherever_they_stand() -> None:
    one = train_stored(ALONE)
    workers = teams.run(3, train_stored, last_has_none)
    for stored, wanted in one.items():
        assert_same([worker[stored] for worker in workers], wanted)
        assert not workers[0][stored].heard


def test_training_goes_on_from_a_model_and_from_checkpoints() -> None:
    one = train_on(ALONE)
    workers = teams.run(2, train_on)
    for way, wanted in one.items():
        assert_same([worker[way] for worker in workers], wanted)
    assert {worker["poisson, stopped restored"].outcome for worker in workers} == {"terminated"}
    assert len(workers[0]["poisson, stopped restored"].rounds) < teamwork.ROUNDS
    assert any(restored for _, _, restored in workers[1]["poisson, restored"].rounds)
    for name in ("poisson", "dropout", "early stopping", "early stopping with dropout"):
        assert one[f"{name}, restored"].model == one[f"{name}, unbroken"].model


class Others(Team):
    """Worker 0 of two, of which the other says what it is told to."""

    size = 2

    def __init__(self, *others: Any) -> None:
        self.others = list(others)

    def gather(self, value: Any) -> Any:
        return [value, self.others.pop(0)]


def test_workers_that_do_not_agree_have_no_model() -> None:
    found = fitted(Divided(ALONE, sets("plain")), teamwork.REGRESSION)
    training = object.__new__(xgboost._Training)
    training.team = Others("0" * 32)

    class Model:
        def save_raw(self, _: str) -> bytes:
            return found.model

    with pytest.raises(AlgorithmError, match="worker 1 is not that of worker 0"):
        training._check_agreed(Model())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("others", "kind", "objective", "words"),
    [
        ((0,), "plain", "reg:absoluteerror", "worker 1 of 2 has no rows"),
        ((9, None), "plain", "rank:ndcg", "all rows are one query"),
        ((9, 7.5), "weighted queries", "rank:ndcg", "a mean weight of .* 7.5"),
    ],
)
def test_shares_that_cannot_be_used(others: Any, kind: str, objective: str, words: str) -> None:
    training = object.__new__(xgboost._Training)
    training.team = Others(*others)
    training.config = parse({"num_round": "3", "objective": objective})
    loaded = Divided(ALONE, sets(kind)).load("train")
    with pytest.raises(DataError, match=words):
        training._check_shares("train", loaded)


def test_queries_of_the_same_mean_weight_are_fine() -> None:
    training = object.__new__(xgboost._Training)
    loaded = Divided(ALONE, sets("weighted queries")).load("train")
    assert loaded.matrix.weight is not None
    loaded.matrix.weight[:] = 2
    training.config = parse({"num_round": "3", "objective": "rank:ndcg"})
    for other in (2.0, None):  # None: it has no rows
        training.team = Others(9, other)
        training._check_shares("train", loaded)


@pytest.mark.parametrize(
    "asked",
    [
        {"booster": "gblinear"},
        {"tree_method": "exact"},
        {"updater": "grow_colmaker,prune"},
        {"objective": "survival:cox"},
        {"objective": "rank:ndcg", "lambdarank_unbiased": "true"},
    ],
)
def test_what_several_workers_cannot_train(asked: dict[str, str]) -> None:
    config = parse({"num_round": "3", "objective": "reg:squarederror", **asked})
    name, value = [*asked.items()][-1]
    with pytest.raises(HyperparameterError, match=f"{name}={value.split(',')[0]}.*") as error:
        rules.check(config)
    assert "compute=singleCPU" in error.value.remedy


def test_a_forest_is_not_asked() -> None:
    config = parse({"algorithm": "random_forest", "objective": "reg:squarederror"})
    rules.check(config)
    assert rules.inexact(config) == ()
