"""What the loaders of several workers settle together: as one worker's that reads everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import threads

from treeline import hyperparameters
from treeline.algorithms.interface import Loaded
from treeline.data import channel
from treeline.data.matrix import group_sizes
from treeline.errors import DataError, ResourceError
from treeline.loader import Loader, Voice
from treeline.opt_ml import Channel
from treeline.stopping import StopRequest
from treeline.team import ALONE, Team


class Job:
    """CSV channels under a folder; worker ``rank`` has the files from its cut to the next."""

    def __init__(self, root: Path, **given: object) -> None:
        self.root = root
        usual = {} if "algorithm" in given else {"num_round": "1"}
        self.config = hyperparameters.parse(usual | {k: str(v) for k, v in given.items()})

    def put(self, role: str, **files: str) -> Job:
        (self.root / role).mkdir(parents=True)
        for name, text in files.items():
            (self.root / role / f"{name}.csv").write_text(text)
        return self

    def loader(
        self,
        team: Team = ALONE,
        cuts: Sequence[int] = (0, 99),
        limit: int | None = None,
        lines: list[str] | None = None,
    ) -> Loader:
        channels = {
            folder.name: Channel(folder.name, folder, "text/csv") for folder in self.root.iterdir()
        }
        datasets = channel.resolve(channels, self.config.data).datasets
        shares = {
            role: replace(each, sources=each.sources[cuts[team.rank] : cuts[team.rank + 1]])
            for role, each in datasets.items()
        }
        said = [] if lines is None else lines
        voice = Voice(said.append, said.append)
        return Loader(shares, self.config, 1, voice, StopRequest(), limit, team=team)

    def over(self, cuts: Sequence[int], work: Callable[[Loader, Team], Any], **more: Any) -> Any:
        return threads.run(len(cuts) - 1, lambda team: work(self.loader(team, cuts, **more), team))


def load(loader: Loader, *_: Any) -> tuple[Loader, dict[str, Loaded]]:
    return loader, {role: loader.load(role) for role in loader.roles}


CUTS = ((0, 1, 3), (0, 0, 3), (0, 1, 1, 3), (0, 1, 2, 3))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def binary(root: Path) -> Job:
    job = Job(root, objective="binary:logistic", missing_label="drop", csv_header="false")
    job.put("train", a="1,u,3\n,u,3\n", b="1,v,4\n", c="2,u,3\n1,u,3\n")
    return job.put("validation", a="2,w,1\n", b="1,u,3\n2,v,9\n")


@pytest.mark.parametrize("cuts", CUTS, ids=str)
def test_every_worker_knows_what_one_does(root: Path, tmp_path: Path, cuts: Sequence[int]) -> None:
    job, said = binary(root), list[str]()
    alone, expected = load(job.loader(lines=said))
    alone.report(tmp_path)
    report = (tmp_path / "data_report.json").read_bytes()

    def work(loader: Loader, team: Team) -> Any:
        lines: list[str] = []
        loader = job.loader(team, cuts, lines=lines)
        loaded = load(loader)[1]
        folder = tmp_path / str(team.rank)
        folder.mkdir()
        loader.report(folder)
        return loader, loaded, lines, [path.read_bytes() for path in folder.iterdir()]

    answers = job.over(cuts, work)
    assert [line for line in answers[0][2] if "dealt anew" not in line] == said
    assert [files for *_, files in answers] == [[report], *[[]] * (len(answers) - 1)]
    for loader, loaded, _, _ in answers:
        assert (loader.schema, loader.classes, loader.data) == (
            alone.schema,
            alone.classes,
            alone.data,
        )
        for role, one in expected.items():
            numbers, features = loaded[role].numbers, one.matrix.features
            assert one.matrix.label is not None
            assert isinstance(features, np.ndarray)
            assert loaded[role].all.rows == one.matrix.rows
            np.testing.assert_array_equal(loaded[role].all.label, one.matrix.label)
            np.testing.assert_array_equal(loaded[role].matrix.label, one.matrix.label[numbers])
            np.testing.assert_array_equal(loaded[role].matrix.features, features[numbers])


def test_queries_stay_whole(root: Path) -> None:
    job = Job(root, objective="rank:ndcg", group_column="1")
    job.put("train", a="1,q,3\n0,r,3\n", b="1,r,4\n", c="2,r,3\n1,s,3\n0,s,1\n")
    _, expected = load(job.loader())
    features, rows = expected["train"].matrix.features, []
    assert isinstance(features, np.ndarray)
    for _, loaded in job.over((0, 1, 2, 3), load):
        found = loaded["train"]
        rows.append(found.numbers.tolist())
        np.testing.assert_array_equal(found.matrix.features, features[found.numbers])
        np.testing.assert_array_equal(found.all.group, [0, 1, 1, 1, 2, 2])
        assert found.matrix.hashes.size == 0
    assert rows == [[0, 1, 2, 3], [], [4, 5]]


@pytest.mark.parametrize(
    ("given", "files", "cause"),
    [
        ({"objective": "binary:logistic"}, {"a": "1,2\n", "b": "1,3\n"}, "all 2 labels are 1"),
        ({"objective": "count:poisson"}, {"a": "1,2\n", "b": "-1,3\n"}, "train/b.csv row 1: label"),
        (
            {"objective": "rank:ndcg", "group_column": "1"},
            {"a": "1,q,2\n1,r,2\n", "b": "1,q,2\n"},
            "train/b.csv row 1: group 'q' occurs again",
        ),
    ],
)
def test_all_workers_refuse_alike(root: Path, given: Any, files: Any, cause: str) -> None:
    job = Job(root, **given).put("train", **files)

    def work(loader: Loader, team: Team) -> str:
        with pytest.raises(DataError) as caught:
            loader.load("train")
        return caught.value.cause

    with pytest.raises(DataError) as caught:
        group_sizes(job.loader().load("train").matrix)
    assert cause in caught.value.cause
    assert job.over((0, 1, 1, 2), work) == [caught.value.cause] * 3


def test_memory_is_decided_alike(root: Path) -> None:
    rows = "".join(f"{i % 2},{i},{i / 7}\n" for i in range(3000))
    job = Job(root, objective="binary:logistic").put("train", a="1,2,3\n0,1,2\n", b=rows)

    def work(loader: Loader, team: Team) -> Any:
        # Workers have different limits; the smallest counts.
        loader = job.loader(team, (0, 1, 2), limit=(1 << 40) if team.leads else 250_000_000)
        loader.load("train")
        ask = (1000, 10_000_000, 3 * 10**9)
        return [loader.holds_all(n) for n in ask], loader.folds_at_once(100 * team.rank, 50)

    first, second = job.over((0, 1, 2), work)
    assert first == second
    assert first[0] == [True, False, False]
    assert job.loader().holds_all(10**9)

    def refused(loader: Loader, team: Team) -> str:
        with pytest.raises(ResourceError) as caught:
            loader.load("train")
        return caught.value.cause

    assert len({*job.over((0, 1, 2), refused, limit=1000)}) == 1
    with pytest.raises(ResourceError):
        job.loader(limit=1000).load("train")
