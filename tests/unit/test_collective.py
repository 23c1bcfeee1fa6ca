"""A team of processes: what every worker gets, and lanes beside each other."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from tests import teams

from treeline.team import ALONE, Team


def everything(team: Team, base: int) -> dict[str, Any]:
    return {
        "rank": (team.rank, team.size, team.leads, team.alone),
        "gather": team.gather({"rank": base + team.rank, "none": None}),
        "none": team.gather(None),
        "broadcast": team.broadcast(f"of {team.rank}", root=team.size - 1),
        "total": team.total(np.array([team.rank, 0.5])).tolist(),
        "any": (team.any(team.rank == 1), team.any(False)),
        "apart": team.apart(_world),
    }


def _world() -> int:
    from xgboost import collective

    return int(collective.get_world_size())


def test_every_worker_gets_the_same_answers() -> None:
    found = teams.run(3, everything, 10)
    assert [each.pop("rank") for each in found] == [
        (0, 3, True, False),
        (1, 3, False, False),
        (2, 3, False, False),
    ]
    for each in found:
        assert each == {
            "gather": [{"rank": rank, "none": None} for rank in (10, 11, 12)],
            "none": [None] * 3,
            "broadcast": "of 2",
            "total": [3.0, 1.5],
            "any": (True, False),
            "apart": 1,
        }


def test_a_worker_alone_is_a_team_of_one() -> None:
    assert ALONE.gather(3) == [3]
    assert ALONE.broadcast(3) == 3
    assert ALONE.total([1.5]) == [1.5]
    assert (ALONE.any(True), ALONE.any(False)) == (True, False)
    assert ALONE.apart(lambda: 4) == 4
    with ALONE.lane(0) as lane:
        assert lane is ALONE
    assert (ALONE.rank, ALONE.size, ALONE.leads, ALONE.alone) == (0, 1, True, True)


def fails(team: Team) -> None:
    if team.rank == 1:
        raise ValueError("of worker 1")
    team.gather(None)


def test_lanes_are_teams_of_their_own() -> None:
    assert teams.run(2, beside) == [[[0, 1], [10, 11]]] * 2


def test_a_worker_that_fails_ends_the_run() -> None:
    with pytest.raises(AssertionError, match=r"of worker 1|did not answer"):
        teams.run(2, fails)


def beside(team: Team) -> list[list[int]]:
    team.open_lanes(2)
    found: list[list[int]] = [[], []]

    def work(number: int) -> None:
        with team.lane(number) as lane:
            for _ in range(20):
                found[number] = lane.gather(10 * number + lane.rank)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
