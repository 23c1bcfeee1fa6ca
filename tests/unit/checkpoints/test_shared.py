"""The first worker's checkpoints are everybody's, and nobody else's are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from treeline.checkpoints.shared import Shared
from treeline.checkpoints.stage import Finished, Restored, Stage
from treeline.team import Team


class Noted(Stage):
    """Notes what it is asked to do."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def restore(self, limit: int, bins: str = "") -> Restored:
        self.calls.append(("restore", limit, bins))
        return Restored(3)

    def keep(self, rounds: int, scores: Any, sections: Any) -> None:
        self.calls.append(("keep", rounds, scores, sections(0, rounds)))

    def flush(self, sections: Any) -> None:
        self.calls.append(("flush", sections(0, 1)))

    def finished(self, limit: int) -> Finished | None:
        self.calls.append(("finished", limit))
        return Finished({"a": 1}, {}, ())

    def finish(self, facts: Any, sections: Mapping[str, bytes], *, early: bool) -> None:
        self.calls.append(("finish", facts, sections, early))


class Two(Team):
    """One of two workers; the first one's last word is what the second hears."""

    size = 2

    def __init__(self, rank: int, said: list[Any]) -> None:
        self.rank = rank
        self._said = said

    def broadcast(self, value: Any, root: int = 0) -> Any:
        assert root == 0
        if self.rank == 0:
            self._said.append(value)
        return self._said[-1]


def sections(first: int, end: int) -> Mapping[str, bytes]:
    return {"model": bytes([first, end])}


def test_the_first_worker_reads_and_writes_for_all() -> None:
    said: list[Any] = []
    stages = Noted(), Noted()
    workers = [Shared(stage, Two(rank, said)) for rank, stage in enumerate(stages)]
    assert [worker.restore(9, "cuts").rounds for worker in workers] == [3, 3]
    assert [worker.finished(9) for worker in workers] == [Finished({"a": 1}, {}, ())] * 2
    for worker in workers:
        worker.keep(4, None, sections)
        worker.flush(sections)
        worker.finish({"b": 2}, {"model": b"x"}, early=True)
    assert stages[0].calls == [
        ("restore", 9, "cuts"),
        ("finished", 9),
        ("keep", 4, None, {"model": b"\x00\x04"}),
        ("flush", {"model": b"\x00\x01"}),
        ("finish", {"b": 2}, {"model": b"x"}, True),
    ]
    assert stages[1].calls == []
