"""The same table gives the same model, byte for byte, however it is written and handed over."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Tree
from tests.contract.jobs import run_job
from tests.writers import COMPRESSIONS, FORMATS, MODES, Channels, Floats, Table, Texts
from treeline import train

ROUNDS = 6
BINARY: dict[str, object] = {
    "num_round": ROUNDS,
    "objective": "binary:logistic",
    "eval_metric": "auc,logloss",
    "max_depth": 5,
    "nthread": 1,
}


# The tables


def numbers(rows: int, seed: int, missing: float = 0.0) -> Table:
    """8 features, some of them coarse or constant, and a 0/1 label that they explain in part."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, 8)).astype(np.float32)
    x[:, 1] *= 1e6
    x[:, 2] = draw.integers(0, 3, rows)
    x[:, 3] = np.round(x[:, 3], 1)
    x[:, 4] = draw.random(rows) < 0.1
    y = x[:, 0] + x[:, 2] + x[:, 5] * x[:, 6] + draw.normal(size=rows) > 1
    x[draw.random(x.shape) < missing] = np.nan
    return Table(y.astype(np.float32), {f"x{j}": x[:, j].copy() for j in range(8)})


def grouped(rows: int, seed: int) -> Table:
    """Queries of up to 9 rows with ids in no order, a weight each, and grades as labels."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 10, rows)
    ids = draw.permutation(1_000_000)[:rows]
    query = np.repeat(np.arange(rows), sizes)[:rows]
    table = numbers(rows, seed)
    weight = draw.integers(1, 30, rows).astype(np.float32) / np.float32(10)
    grade = np.asarray(table.label) + (table.matrix[:, 3] > 0)
    return replace(table, label=grade, weight=weight[query], group=ids[query].astype(np.int64))


AWKWARD = [
    "a, b",
    'he said "no"',
    "two\nlines",
    "semi;colon",
    "pipe|d",
    "tab\tbed",
    "Zürich",
    "東京",
    "two  blanks",
    "'single'",
    "e5",
    "-",
]


def texts(rows: int, seed: int, missing: float = 0.0) -> Table:
    """Labels yes and no, and categories among the features."""
    draw = np.random.default_rng(seed)
    table = numbers(rows, seed, missing)
    city = draw.integers(0, len(AWKWARD), rows)
    size = draw.integers(0, 3, rows)
    gone = draw.random((2, rows)) < missing
    yes = (np.asarray(table.label) + (city % 3 == 0) + (size == 2) + draw.random(rows)) > 1.8
    features: dict[str, Floats | Texts] = dict(table.features)
    features["x6"] = [None if g else AWKWARD[i] for i, g in zip(city, gone[0], strict=True)]
    features["x7"] = [
        None if g else ("large", "medium", "small")[i] for i, g in zip(size, gone[1], strict=True)
    ]
    return Table(["yes" if each else "no" for each in yes], features)


def weighted(rows: int, seed: int, missing: float = 0.0) -> Table:
    weight = np.random.default_rng(seed).integers(0, 20, rows).astype(np.float32) / np.float32(8)
    return replace(numbers(rows, seed, missing), weight=weight)


MAKE: dict[str, Callable[[int, int], Table]] = {
    "complete": numbers,
    "gaps": lambda rows, seed: numbers(rows, seed, 0.2),
    "texts": lambda rows, seed: texts(rows, seed, 0.1),
    "weights": lambda rows, seed: weighted(rows, seed, 0.1),
    "groups": grouped,
}
OBJECTIVE: dict[str, dict[str, object]] = {
    "groups": {"objective": "rank:ndcg", "eval_metric": "ndcg@5,ndcg"},
}
SIZES = {"train": (5000, 1), "validation": (1000, 2)}


@lru_cache
def table(kind: str, role: str) -> Table:
    return MAKE[kind](*SIZES[role])


@lru_cache
def written(kind: str, role: str, format_: str, files: int) -> list[bytes]:
    return [FORMATS[format_].write(part) for part in table(kind, role).parts(files)]


# The jobs


@dataclass(frozen=True)
class Way:
    """One way to hand over a table."""

    format: str = "csv"
    compression: str = "plain"
    mode: str = "File"
    files: int = 1

    def __str__(self) -> str:
        return f"{self.format}-{self.compression}-{self.mode}-{self.files}"

    def is_possible(self) -> bool:
        """Whether it can be read at all: archives that a FIFO joins cannot be told apart."""
        return FORMATS[self.format].joins or self.mode != "Pipe" or self.files == 1


@dataclass(frozen=True)
class Outcome:
    """Everything about a job that the data decides."""

    model: bytes
    metrics: str
    final_score: float
    scores: list[str]  # as printed
    data: dict[str, Any]
    codes: dict[str, Any]


def prepared(
    tree: Tree, kind: str, ways: dict[str, Way], *, backwards: bool = False, **more: object
) -> Channels:
    """Write the job's files; the FIFOs are fed as long as what is returned is entered."""
    channels = Channels(tree.root / "input" / "data")
    for role, way in ways.items():
        format_, compress = FORMATS[way.format], COMPRESSIONS[way.compression]
        files = [compress(data) for data in written(kind, role, way.format, way.files)]
        channels.write(role, files, format_.content_type, way.mode, backwards=backwards)
    has_columns = all(way.format.startswith(HAVE_COLUMNS) for way in ways.values())
    columns = table(kind, "train").column_options if has_columns else {}
    tree.hyperparameters(**{**BINARY, **OBJECTIVE.get(kind, {}), **columns, **more})
    tree.config("inputdataconfig", channels.entries)
    return channels


HAVE_COLUMNS = ("csv", "parquet", "arrow", "feather")


def outcome(tree: Tree, printed: str) -> Outcome:
    manifest = tree.manifest()
    return Outcome(
        model=tree.model.read_bytes(),
        metrics=(tree.root / "output" / "data" / "metrics.jsonl").read_text(),
        final_score=manifest["metrics"]["final_score"],
        scores=[line for line in printed.splitlines() if line.startswith(("[", "final-score"))],
        data=manifest["data"],
        codes={name: manifest["schema"][name] for name in ("features", "categories", "classes")},
    )


class Runner:
    """Runs jobs in this process, each in a tree of its own."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._root = root
        self._capsys = capsys
        self._count = 0
        self.printed = ""

    def tree(self) -> Tree:
        self._count += 1
        root = self._root / f"job-{self._count}"
        for folder in ("input/config", "input/data", "model", "output/data"):
            (root / folder).mkdir(parents=True)
        return Tree(root)

    def __call__(self, kind: str, way: Way, validation: Way | None = None, **more: Any) -> Outcome:
        tree = self.tree()
        ways = {"train": way, "validation": validation or way}
        with prepared(tree, kind, ways, **more):
            status = train.train(tree.root, {})
        self.printed, errors = self._capsys.readouterr()
        assert status == 0, tree.failure + errors
        return outcome(tree, self.printed)


@pytest.fixture
def run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Runner:
    # What a job sets for good in its own process.
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    return Runner(tmp_path, capsys)


EXPECTED: dict[str, Outcome] = {}


@pytest.fixture
def expected(run: Runner) -> Callable[[str], Outcome]:
    """What the job gives from one plain CSV file."""

    def of(kind: str) -> Outcome:
        if kind not in EXPECTED:
            EXPECTED[kind] = run(kind, Way())
        return EXPECTED[kind]

    return of


def ways(formats: list[str]) -> Iterator[Way]:
    """Yield ways in which every two of format, compression, mode and number of files meet."""
    for i, format_ in enumerate(formats):
        for j, compression in enumerate(COMPRESSIONS):
            mode, files = MODES[(i + j) % 3], (1, 5)[(i // 3 + j // 2 + j) % 2]
            way = Way(format_, compression, mode, files)
            yield way if way.is_possible() else replace(way, files=1)


def able(kind: str) -> list[str]:
    return [name for name, format_ in FORMATS.items() if format_.can_say(table(kind, "train"))]


WAYS = list(ways(able("complete")))


def test_the_ways_meet_in_pairs() -> None:
    axes = (list(FORMATS), list(COMPRESSIONS), list(MODES), [1, 5])
    seen = [(way.format, way.compression, way.mode, way.files) for way in WAYS]
    for a, b in combinations(range(4), 2):
        pairs = {(each[a], each[b]) for each in seen}
        assert pairs == set(product(axes[a], axes[b])), (a, b)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_numbers(run: Runner, expected: Callable[[str], Outcome], way: Way) -> None:
    assert run("complete", way) == expected("complete")


def test_the_models_tell_data_apart(run: Runner, expected: Callable[[str], Outcome]) -> None:
    """What is compared elsewhere here would differ if the data did."""
    outcomes = [expected(kind) for kind in MAKE]
    for part in ("model", "metrics", "final_score"):
        assert len({getattr(each, part) for each in outcomes}) == len(MAKE), part
    first = expected("complete")
    assert len(first.model) > 5000
    assert first.scores[-1] == f"final-score: {first.final_score!r};"
    assert len(first.scores) == ROUNDS + 2
    assert [entry["rows"] for entry in first.data.values()] == [5000, 1000]


@pytest.mark.parametrize("kind", ["complete", "texts"])
@pytest.mark.parametrize("format_", [name for name, each in FORMATS.items() if each.header])
def test_headers_of_files_that_a_fifo_joins(
    run: Runner, expected: Callable[[str], Outcome], kind: str, format_: str
) -> None:
    assert run(kind, Way(format_, "plain", "Pipe", 5)) == expected(kind)
    assert "repeated header line(s) left out" in run.printed


def some_ways(kind: str) -> list[tuple[str, Way]]:
    """Every format that can say the table, each in one other way."""
    everything = list(ways(able(kind)))
    picked = [everything[4 * i + i % 4] for i in range(len(everything) // 4)]
    return [(kind, way) for way in picked]


@pytest.mark.parametrize(
    ("kind", "way"),
    [pair for kind in MAKE if kind != "complete" for pair in some_ways(kind)],
    ids=str,
)
def test_gaps_texts_weights_and_groups(
    run: Runner, expected: Callable[[str], Outcome], kind: str, way: Way
) -> None:
    assert run(kind, way) == expected(kind)


@pytest.mark.parametrize(
    ("train_way", "validation_way"),
    [
        (Way("csv-header", "gzip"), Way("parquet", "plain", "Pipe", 5)),
        (Way("libsvm", "plain", "Pipe"), Way("npz")),
        (Way("recordio-sparse"), Way("csv", "bz2", "FastFile", 5)),
        (Way("npz-fortran"), Way("libsvm", files=5)),
        (Way("arrow-stream", "zstd"), Way("recordio-float64")),
    ],
    ids=str,
)
def test_channels_of_different_formats(
    run: Runner, expected: Callable[[str], Outcome], train_way: Way, validation_way: Way
) -> None:
    assert run("gaps", train_way, validation_way) == expected("gaps")


@pytest.mark.parametrize(("name", "mode"), [*zip(FORMATS, MODES * len(FORMATS), strict=False)])
def test_without_a_content_type(
    run: Runner,
    expected: Callable[[str], Outcome],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    mode: str,
) -> None:
    monkeypatch.setitem(FORMATS, name, replace(FORMATS[name], content_type=None))
    assert run("complete", Way(name, mode=mode)) == expected("complete")


@pytest.mark.parametrize("kind", ["complete", "gaps", "texts", "weights"])
def test_bins_on_disk(run: Runner, expected: Callable[[str], Outcome], kind: str) -> None:
    format_ = "parquet-dictionary" if kind == "texts" else "csv"
    assert run(kind, Way(format_), external_memory="true") == expected(kind)
    assert "bins are kept on disk" in run.printed


IN_A_FILE = [
    (kind, name)
    for kind in MAKE
    for name in ("csv-header", "parquet", "arrow-stream", "npz")
    if name in able(kind)
]


@pytest.mark.parametrize(("kind", "format_"), IN_A_FILE)
def test_rows_in_a_file(
    run: Runner,
    expected: Callable[[str], Outcome],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    format_: str,
) -> None:
    """All of them, as in little memory, or those after the first files."""
    outcome = expected(kind)
    monkeypatch.setattr("treeline.memory.limit", lambda _: 200_000_000)
    assert run(kind, Way(format_, files=5)) == outcome
    assert "rows are kept in a temporary file after the first 0:" in run.printed
    monkeypatch.setattr("treeline.memory.row_budget", lambda *_, **__: 2000)
    assert run(kind, Way(format_, files=5)) == outcome
    assert "rows are kept in a temporary file after the first 1," in run.printed


@pytest.mark.parametrize("kind", ["complete", "texts"])
def test_the_order_in_which_a_folder_lists_its_files(
    run: Runner,
    expected: Callable[[str], Outcome],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    assert run(kind, Way("csv-header", files=5), backwards=True) == expected(kind)
    draw, scandir, orders = random.Random(1), os.scandir, set()

    @contextmanager
    def shuffled(folder: Any) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        draw.shuffle(listed)
        orders.add(tuple(entry.name for entry in listed))
        yield listed

    monkeypatch.setattr(os, "scandir", shuffled)
    for _ in range(3):
        assert run(kind, Way("parquet", files=5)) == expected(kind)
    assert len({order for order in orders if len(order) > 1}) > 3


@pytest.mark.parametrize("way", [Way(), Way("parquet-zstd", "gzip", "Pipe", 5)], ids=str)
def test_the_command(run: Runner, expected: Callable[[str], Outcome], way: Way) -> None:
    tree = run.tree()
    with prepared(tree, "gaps", {"train": way, "validation": way}):
        ended = run_job(tree.root)
    assert ended.status == 0, ended.stderr
    assert outcome(tree, ended.stdout) == expected("gaps")


def test_archives_that_a_fifo_joins_are_refused(run: Runner) -> None:
    tree = run.tree()
    ways = {"train": Way("npz", mode="Pipe", files=5)}
    with prepared(tree, "complete", ways):
        assert run_job(tree.root).status == 1
    assert "a pipe joins them into one" in tree.failure


def test_the_tables_of_this_module() -> None:
    """They hold what they are to be about."""
    assert not np.isnan(table("complete", "train").matrix).any()
    assert 0.15 < np.isnan(table("gaps", "train").matrix).mean() < 0.25
    text = json.dumps(table("texts", "train").features["x6"])
    assert all(json.dumps(each) in text for each in AWKWARD)
    assert len(set(table("groups", "train").columns["group"])) > 500
