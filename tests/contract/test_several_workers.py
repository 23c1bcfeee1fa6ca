"""Several worker processes train what one trains: the same model, scores, and reports.

Every job runs as a process that starts its workers, as a user would run it: once on one worker
and once on several. Their outputs are compared byte by byte.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.conftest import Tree
from tests.contract.jobs import (
    Ended,
    binary_rows,
    class_rows,
    command,
    environment,
    number_rows,
)
from tests.waiting import eventually
from treeline.data.shares import SMALLEST

Write = Callable[[Tree], object]

# What says on how many workers a job runs, and how long it takes.
_PLACE = ("multiCPU: ", "treeline 0", "final-score: ")
_DIVIDED = (
    "dealt anew",
    " divided among ",
    "no rows for worker(s)",
    "Empty dataset at worker",
    " side by side,",
    " kept on disk",
)
WAIT_S = 30.0


@dataclass
class Jobs:
    """Makes trees of one test under a folder, runs them, and sees that nothing is left of them."""

    folder: Path
    started: list[Running] = field(default_factory=list)

    @property
    def scratch(self) -> Path:
        """Return the folder that is TMPDIR for all of them."""
        return self.folder / "scratch"

    def tree(self, write: Write, name: str = "job", content_type: str = "text/csv") -> Tree:
        root = self.folder / name
        for folder in ("input/config", "input/data", "model", "output/data"):
            (root / folder).mkdir(parents=True)
        tree = Tree(root)
        write(tree)
        return tree.declare(content_type)

    def start(self, tree: Tree) -> Running:
        self.started.append(Running(tree, self.scratch))
        return self.started[-1]

    def run(self, tree: Tree, **given: object) -> Ended:
        """Run a job with these hyperparameters to its end."""
        tree.hyperparameters(**given)
        return self.start(tree).ends()

    def pair(
        self,
        write: Write,
        workers: int = 2,
        *,
        content_type: str = "text/csv",
        exact: bool = True,
        threads: int = 1,
        **given: object,
    ) -> tuple[Tree, Tree]:
        """Run a job on one worker and on several, see that they do the same; return both.

        ``threads`` are those of each worker.
        """
        one = self.tree(write, "one", content_type)
        several = Tree(self.folder / "several")
        shutil.copytree(one.root, several.root)
        several_ = {"compute": "multiCPU", "workers": workers, "nthread": workers * threads}
        ends = [
            self.run(one, compute="singleCPU", nthread=threads, **given),
            self.run(several, **several_, **given),
        ]
        assert [each.status for each in ends] == [0, 0], [each.stderr for each in ends]
        assert f"multiCPU: {workers} workers on 1 host(s)" in ends[1].stdout
        assert_same(one, several, exact=exact)
        if exact:
            assert said(ends[1]) == said(ends[0])
            assert final_score(ends[1]) == pytest.approx(final_score(ends[0]), rel=1e-9)
        return one, several

    def clean(self) -> None:
        """Assert that no process is left, and no file."""
        gone = eventually(lambda: not processes(self.folder), 20)
        assert gone, f"processes are left: {processes(self.folder)}"
        assert [path.name for path in self.scratch.iterdir()] == []


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    found = Jobs(tmp_path)
    found.scratch.mkdir()
    try:
        yield found
        found.clean()
    finally:
        for number in processes(tmp_path):
            os.kill(number, signal.SIGKILL)
        for each in found.started:
            with each.process as process:
                process.kill()


class Running:
    """A job that has been started."""

    def __init__(self, tree: Tree, scratch: Path) -> None:
        self.tree = tree
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            command(tree.root),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment(), "TMPDIR": str(scratch)},
        )

    def until(self, *words: str) -> Running:
        """Return when it has printed a line with one of ``words``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)
            if any(word in line for word in words):
                return self
        raise AssertionError(f"the job ended before: {self.process.communicate()}")

    def until_workers(self, count: int) -> list[int]:
        """Return the workers' process ids, by rank, once there are so many."""
        until = time.monotonic() + WAIT_S
        while len(found := self.workers()) < count:
            assert time.monotonic() < until, "the workers did not start"
            time.sleep(0.005)
        return found

    def workers(self) -> list[int]:
        """Return the process ids of the workers, by rank."""
        # They are started in this order.
        root = f"\0{self.tree.root}\0"
        return sorted(n for n, line in running() if "treeline.worker" in line and root in line)

    def host(self) -> int:
        """Return the id of the host process, which the supervisor has started."""
        (found,) = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )
        return int(found)

    def ends(self) -> Ended:
        stdout, stderr = self.process.communicate(timeout=100)
        return Ended(self.process.returncode, "".join(self._lines) + stdout, stderr)


def running() -> Iterator[tuple[int, str]]:
    """Yield the id and the command of every process that has one."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), (folder / "cmdline").read_text(errors="replace")
            except OSError:
                continue


def processes(folder: Path) -> list[int]:
    """Return the ids of the processes of jobs under ``folder``."""
    return [number for number, line in running() if str(folder) in line]


def said(ended: Ended) -> list[str]:
    """Return the lines of the log that are the same on any number of workers, in their order.

    Rounds of folds are in the order of the folds and without means: how many folds are trained
    side by side differs.
    """
    lines = [
        line
        for line in (re.sub(r", [0-9.]+ s$", "", line) for line in ended.lines)
        if not line.startswith(_PLACE) and not any(words in line for words in _DIVIDED)
    ]
    folds = [line for line in lines if re.search(r"\t(repeat|fold):[^\t]*$", line)]
    if folds:
        rest = [line for line in lines if not line.startswith("[")]
        return [*rest, *sorted(folds)]
    return lines


def scored(tree: Tree) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl, those of folds by fold and without means over folds."""
    lines = [line for line in tree.metrics() if "folds" not in line or "final" in line]
    return sorted(lines, key=lambda line: (line.get("repeat", 0), line.get("fold", 1 << 30)))


def final_score(ended: Ended) -> float:
    """Return the job's score, which its log has once."""
    (found,) = re.findall(r"^final-score: (.*);$", ended.stdout, re.MULTILINE)
    return float(found)


def assert_same(one: Tree, several: Tree, *, exact: bool = True) -> None:
    """Assert that two jobs left the same, but for what says how many workers there were."""
    files, others = outputs(one), outputs(several)
    assert list(others) == list(files)
    for name in files:
        same = exact or not name.startswith(("model/", "output/data/predictions"))
        assert others[name] == files[name] or not same, name
    tolerance = 1e-9 if exact else 0.05
    assert_close(scored(several), scored(one), tolerance)
    assert_close(described(several), described(one), tolerance)


def outputs(tree: Tree) -> dict[str, bytes]:
    """Return the files that a job left, but for those with scores."""
    return {
        str(path.relative_to(tree.root)): path.read_bytes()
        for folder in ("model", "output")
        for path in sorted((tree.root / folder).rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "metrics.jsonl")
    }


def described(tree: Tree) -> dict[str, Any]:
    """Return the manifest without what says how many workers there were."""
    manifest = tree.manifest()
    for part in ("training", "hyperparameters"):
        for name in ("compute", "workers", "threads", "nthread"):
            (manifest[part] or {}).pop(name, None)
    return manifest


def assert_close(found: Any, wanted: Any, tolerance: float, where: str = "") -> None:
    """Assert that two values of JSON are the same, numbers with a fraction nearly."""
    if isinstance(wanted, float) and isinstance(found, float):
        assert found == pytest.approx(wanted, rel=tolerance, abs=0), where
        return
    assert type(found) is type(wanted), where
    if isinstance(wanted, dict):
        assert list(found) == list(wanted), where
        for key, value in wanted.items():
            assert_close(found[key], value, tolerance, f"{where}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for i, value in enumerate(wanted):
            assert_close(found[i], value, tolerance, f"{where}[{i}]")
    else:
        assert found == wanted, where


# --- the data ----------------------------------------------------------------------------------


def towns(tree: Tree, channel: str, rows: int, seed: int, file: str = "a.csv") -> Path:
    """Write CSV with a text label that is missing here and there, a weight, a category, gaps."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, 4))
    town = random.integers(0, 12, rows)
    score = np.nan_to_num(values[:, 0]) + town % 3 + random.normal(size=rows)
    label = np.array(["low", "mid", "high"], object)[np.digitize(score, [0.5, 1.5])]
    label[random.random(rows) < 0.001] = ""
    fields = np.char.mod("%.5f", values).astype(object)
    fields[random.random(values.shape) < 0.05] = ""
    lines = np.column_stack([label, random.integers(1, 4, rows).astype(str), town, fields])
    path = tree.root / "input/data" / channel / file
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [f"{','.join(map(str, line))}\n" for line in lines]
    path.write_text("".join(["kind,count,town,a,b,c,d\n", *text]))
    return path


def table(seed: int, rows: int, groups: int = 60) -> pa.Table:
    """Rows of a ranking in queries, in order."""
    random = np.random.default_rng(seed)
    query = np.sort(random.integers(0, groups, rows)) + seed * 1000
    x = random.normal(size=(rows, 5)).astype(np.float32)
    label = np.digitize(x[:, 0] + random.normal(size=rows), [-1, 0, 1])
    names = {f"x{i}": x[:, i] for i in range(5)}
    return pa.table({"relevance": label, "query": query, **names})


def save(tree: Tree, channel: str, file: str, content: pa.Table, row_group: int) -> None:
    path = tree.root / "input/data" / channel / file
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(content, path, row_group_size=row_group)


def in_files(tree: Tree, channel: str, rows: Any, files: int) -> None:
    """Write rows into several CSV files, of different sizes: each goes to one worker."""
    ends = [round(len(rows) * (i / files) ** 1.3) for i in range(files + 1)]
    for i in range(files):
        tree.channel(channel, rows[ends[i] : ends[i + 1]], f"part-{i}.csv")


def libsvm(tree: Tree, channel: str, rows: int, seed: int) -> Path:
    data = binary_rows(rows, seed, columns=12)
    path = tree.root / "input/data" / channel / "a.svm"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for row in data:
            cells = (f"{i}:{v:.3f}" for i, v in enumerate(row[1:]) if abs(v) > 0.3)
            file.write(f"{row[0]:.0f} {' '.join(cells)}\n")
    return path


# --- the same as one worker --------------------------------------------------------------------


def test_text_that_is_cut_into_windows(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        path = towns(tree, "train", 95_000, 1)
        assert path.stat().st_size > 3 * SMALLEST
        towns(tree, "train", 5_000, 2, "b.csv")
        towns(tree, "validation", 3_000, 3)
        towns(tree, "test", 1_000, 4)

    one, several = jobs.pair(
        write,
        workers=3,
        objective="multi:softprob",
        num_class=3,
        num_round=30,
        eta=1,
        max_depth=6,
        early_stopping_rounds=2,
        eval_metric="auc,f1_macro,accuracy,merror,mlogloss",
        weight_column="count",
        missing_label="drop",
    )
    training = several.manifest()["training"]
    assert training["outcome"] == "early_stopped"
    assert (training["workers"], training["threads"]) == (3, 1)
    assert several.manifest()["schema"]["classes"] == ["high", "low", "mid"]
    assert one.manifest()["data"]["train"]["rows"] < 100_000


def test_rows_of_one_row_group_and_of_a_compressed_file_are_dealt(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        save(tree, "train", "a.parquet", table(1, 3000), 3000)
        save(tree, "validation", "v.parquet", table(7, 1200), 1200)

    given: dict[str, Any] = {"label_column": "relevance", "ignore_columns": "query", "num_round": 8}
    _, several = jobs.pair(
        write,
        workers=3,
        content_type="application/x-parquet",
        objective="reg:squarederror",
        **given,
    )
    assert several.manifest()["training"]["workers"] == 3

    def compress(tree: Tree) -> None:
        path = towns(tree, "train", 2_000, 1)
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()

    tree = jobs.tree(compress, "gz")
    ended = jobs.run(
        tree,
        compute="multiCPU",
        workers=2,
        nthread=2,
        objective="multi:softmax",
        num_class=3,
        num_round=2,
        missing_label="drop",
    )
    (line,) = [line for line in ended.lines if "dealt anew" in line]
    rows = tree.manifest()["data"]["train"]["rows"]
    assert line == (
        f"train: rows dealt anew, because the workers have read 0 to {rows:,} each: they train on "
        f"{rows // 2:,} to {-(-rows // 2):,}"
    )


def test_ranking_from_row_groups(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        for i in range(3):
            save(tree, "train", f"{i}.parquet", table(i, 1500), 300)
        save(tree, "validation", "v.parquet", table(7, 1200), 100)
        save(tree, "test", "t.parquet", table(8, 200), 200)

    jobs.pair(
        write,
        content_type="application/x-parquet",
        objective="rank:ndcg",
        num_round=6,
        eval_metric="auc,ndcg-,ndcg@5",
        group_column="query",
        label_column="relevance",
    )


def test_libsvm_and_bins_on_disk(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        assert libsvm(tree, "train", 30_000, 1).stat().st_size > 2 * SMALLEST
        libsvm(tree, "validation", 2_000, 2)

    jobs.pair(
        write,
        content_type="text/libsvm",
        objective="binary:logistic",
        num_round=4,
        eval_metric="auc,aucpr,f1,accuracy,error@0.3,logloss",
        external_memory="true",
    )


def test_margins_and_the_columns_of_folders(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        rows = number_rows(4_000, 1)
        rows[:, 1] = np.log(rows[:, 0]).round(1)
        for i in range(4):
            tree.channel("train", rows[i::4], f"year={2020 + i // 2}/part={i % 2}/a.csv")
        tree.channel("validation", rows[::9], "year=2020/part=1/a.csv")

    one, _ = jobs.pair(
        write,
        workers=3,
        objective="count:poisson",
        num_round=4,
        base_margin_column=1,
        hive_partitions="true",
        categorical_columns=-2,
    )
    assert one.manifest()["schema"]["features"] == 7


def test_an_earlier_model_and_rows_drawn_by_each_worker(jobs: Jobs, tmp_path: Path) -> None:
    def write(tree: Tree) -> None:
        in_files(tree, "train", class_rows(6_000, 3, 1), 3)
        tree.channel("validation", class_rows(1_000, 3, 2))

    given: dict[str, Any] = {"objective": "multi:softmax", "num_class": 3, "num_round": 4}
    drawn, _ = jobs.pair(write, exact=False, subsample=0.8, **given)

    def write_both(tree: Tree) -> None:
        write(tree)
        shutil.copytree(drawn.root / "model", tree.root / "input/data/model")

    again = Jobs(tmp_path / "again")
    again.scratch.mkdir(parents=True)
    _, several = again.pair(write_both, **given)
    again.clean()
    assert several.manifest()["training"]["earlier_model"] is not None
    assert several.model.stat().st_size > 1.5 * drawn.model.stat().st_size


# --- cross-validation --------------------------------------------------------------------------


def test_folds_of_groups_repeated(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        rows = number_rows(3_000, 1)
        group = np.random.default_rng(0).integers(0, 40, len(rows))
        in_files(tree, "train", np.column_stack([rows, group]), 4)
        tree.channel("test", np.column_stack([rows, group])[:200])

    _, several = jobs.pair(
        write,
        threads=2,
        objective="reg:squarederror",
        num_round=6,
        cv_folds=3,
        cv_repeats=2,
        cv_strategy="group",
        group_column=-1,
        keep_fold_models="true",
        early_stopping_rounds=2,
        eval_metric="r2,rmse",
    )
    assert (several.root / "model/xgboost-model-5").exists()
    assert (several.root / "output/data/predictions_by_fold.csv").exists()


def test_folds_of_classes_pooled_with_validation(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        towns(tree, "train", 1_500, 1)
        towns(tree, "train", 2_500, 2, "b.csv")
        towns(tree, "validation", 900, 3)

    _, several = jobs.pair(
        write,
        workers=3,
        objective="multi:softprob",
        num_class=3,
        num_round=4,
        _kfold=3,
        cv_strategy="stratified",
        missing_label="drop",
        weight_column="count",
        eval_metric="balanced_accuracy,mlogloss",
    )
    assert (several.root / "model/xgboost-model-2").exists()


def test_folds_in_the_order_of_time(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        rows = binary_rows(3_000, 1)
        time_ = np.random.default_rng(0).permutation(len(rows)) + 1_600_000_000
        in_files(tree, "train", np.column_stack([rows, time_]), 3)
        tree.channel("validation", np.column_stack([rows, time_])[:300])

    jobs.pair(
        write,
        objective="binary:logistic",
        num_round=5,
        cv_folds=3,
        cv_strategy="time_series",
        time_column=-1,
        eval_metric="auc,logloss",
    )


# --- random forests ----------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["sklearn", "xgboost"])
def test_a_random_forest(jobs: Jobs, engine: str) -> None:
    def write(tree: Tree) -> None:
        in_files(tree, "train", class_rows(2_000, 3, 1), 3)
        tree.channel("validation", class_rows(500, 3, 2))

    jobs.pair(
        write,
        workers=3 if engine == "sklearn" else 2,
        algorithm="random_forest",
        forest_engine=engine,
        objective="multi:softprob",
        num_class=3,
        n_estimators=8,
        max_depth=5,
        eval_metric="accuracy,mlogloss",
    )


def test_folds_of_random_forests(jobs: Jobs) -> None:
    def write(tree: Tree) -> None:
        in_files(tree, "train", number_rows(1_500, 1), 3)

    jobs.pair(
        write,
        algorithm="random_forest",
        objective="reg:squarederror",
        n_estimators=5,
        max_depth=5,
        cv_folds=2,
        keep_fold_models="true",
    )


# --- what is refused ---------------------------------------------------------------------------


def numbers(tree: Tree, rows: int = 60_000, last: str = "") -> None:
    """Write one file of CSV that is cut into two windows; its last line is ``last``."""
    random = np.random.default_rng(0)
    text = "\n".join(
        f"{a:.4f},{b:.6f},{c:.6f},{d:.6f},{e:.6f}"
        for a, b, c, d, e in random.normal(size=(rows, 5))
    )
    path = tree.root / "input/data/train/a.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n{last}")
    assert path.stat().st_size > 2 * SMALLEST


TWO: Mapping[str, object] = {
    "compute": "multiCPU",
    "workers": 2,
    "nthread": 2,
    "objective": "reg:squarederror",
    "num_round": 3,
}


def failed(jobs: Jobs, tree: Tree, **given: object) -> str:
    """Return why a job of two workers failed that the user has to mend; it left no model."""
    ended = jobs.run(tree, **{**TWO, **given})
    assert ended.status == 1, ended.stderr
    cause = tree.failure.splitlines()[0]
    assert ended.stderr.startswith(f"ERROR: {cause[:60]}")
    assert "Traceback" not in ended.stderr
    assert not tree.model.exists()
    return cause


def test_a_bad_row_in_the_last_window(jobs: Jobs) -> None:
    tree = jobs.tree(lambda each: numbers(each, last="1,2,3,4,five,6\n"))
    cause = failed(jobs, tree)
    assert re.match(r"train/a\.csv from byte [0-9]+ on\b", cause), cause


@pytest.mark.parametrize("place", ["in the middle of a row", "at its end"])
def test_a_line_break_within_quotes_where_a_window_begins(jobs: Jobs, place: str) -> None:
    notes = '"' + "1,2,3,4,5\n" * 12_000 + '"'  # of which each line could be a row

    def write(tree: Tree) -> None:
        numbers(tree)
        path = tree.root / "input/data/train/a.csv"
        lines = path.read_text().splitlines(keepends=True)
        middle = len(lines) // 2
        cells = (1, notes, 2, 3, 4) if place == "in the middle of a row" else (1, 2, 3, 4, notes)
        lines[middle - 1000 : middle + 1000] = [",".join(map(str, cells)) + "\n"]
        path.write_text("".join(lines))

    tree = jobs.tree(write)
    ignored = {"ignore_columns": "1,4", "nthread": 1, "objective": "reg:squarederror"}
    assert jobs.run(tree, compute="singleCPU", num_round=1, **ignored).status == 0
    tree.model.unlink()
    cause = failed(jobs, tree, **{**ignored, "nthread": 2})
    assert cause.startswith("train/a.csv"), cause
    assert "cannot be divided" in tree.failure


def test_what_several_workers_cannot_do_is_refused_before_they_start(jobs: Jobs) -> None:
    tree = jobs.tree(lambda each: in_files(each, "train", number_rows(300), 2))
    for given, words in (
        ({"booster": "gblinear"}, "booster=gblinear: several workers cannot train it together"),
        ({"tree_method": "exact"}, "tree_method=exact"),
        ({"eta": "2", "num_round": "x"}, "2 problems"),
    ):
        job = jobs.start(tree.hyperparameters(**{**TWO, **given}))
        seen = set[int]()
        while job.process.poll() is None:
            seen.update(job.workers())
            time.sleep(0.01)
        assert job.ends().status == 1
        assert words in tree.failure.splitlines()[0]
        assert not seen


def test_fewer_threads_than_workers(jobs: Jobs) -> None:
    tree = jobs.tree(lambda each: in_files(each, "train", number_rows(300), 2))
    ended = jobs.run(tree, **{**TWO, "workers": 8})
    assert ended.status == 0, ended.stderr
    assert "multiCPU: 2 workers on 1 host(s), each with 1 thread(s)" in ended.stdout
    ended = jobs.run(tree, **{**TWO, "nthread": 1})
    assert ended.status == 0, ended.stderr
    assert tree.manifest()["training"]["workers"] == 1


# --- signals -----------------------------------------------------------------------------------

LONG: Mapping[str, object] = {**TWO, "num_round": 1_000_000, "eta": 0.01}


def long_job(jobs: Jobs, name: str = "job", **given: object) -> Running:
    tree = jobs.tree(lambda each: in_files(each, "train", number_rows(2_000), 2), name)
    return jobs.start(tree.hyperparameters(**{**LONG, **given}))


def test_the_log_is_that_of_the_first_worker(jobs: Jobs) -> None:
    ended = long_job(jobs, num_round=3).ends()
    assert ended.status == 0
    assert ended.stderr == ""
    wanted = ["multiCPU: 2", "train: 2 f", "treeline ", "train: 2000 r", "[0]", "[1]", "[2]"]
    wanted += ["[2]", "final-score: ", "completed: 3"]
    assert len(ended.lines) == len(wanted), ended.lines
    for line, begins in zip(ended.lines, wanted, strict=True):
        assert line.startswith(begins)


@pytest.mark.parametrize("save", ["false", "true"])
def test_stopped_while_it_trains(jobs: Jobs, save: str) -> None:
    job = long_job(jobs, save_model_on_termination=save).until("[3]")
    job.process.terminate()
    ended = job.ends()
    assert ended.status == (0 if save == "true" else 143), ended.stderr
    assert job.tree.failure == ""
    assert job.tree.model.exists() == (save == "true")
    if save == "true":
        training = job.tree.manifest()["training"]
        assert training["outcome"] == "terminated"
        assert training["rounds_trained"] == len(ended.round_lines()) - 1
    else:
        assert ended.lines[-1].startswith("Stopped on request. No model was written")


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_stopped_before_it_trains(jobs: Jobs, seconds: float) -> None:
    job = long_job(jobs).until("multiCPU: ")
    time.sleep(seconds)  # the workers start, then they meet
    job.process.terminate()
    ended = job.ends()
    assert (ended.status, job.tree.failure) == (143, ""), ended
    assert ended.stderr == ""


def test_a_second_signal_ends_it_at_once(jobs: Jobs) -> None:
    job = long_job(jobs).until("[3]")
    frozen = job.workers()[1]
    os.kill(frozen, signal.SIGSTOP)  # so that nobody reacts to the first
    job.process.terminate()
    time.sleep(0.5)
    assert job.process.poll() is None
    job.process.terminate()
    assert job.ends().status == 143
    assert not job.tree.model.exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_is_killed_ends_the_job(jobs: Jobs, rank: int) -> None:
    job = long_job(jobs, external_memory="true").until("[3]")
    os.kill(job.workers()[rank], signal.SIGKILL)
    assert job.ends().status == 3
    assert job.tree.failure.startswith(f"Worker {rank} was killed by SIGKILL")


def test_a_host_process_that_is_killed_leaves_nobody(jobs: Jobs) -> None:
    job = long_job(jobs).until("[3]")
    assert len(job.workers()) == 2
    os.kill(job.host(), signal.SIGKILL)
    assert job.ends().status == 137
    assert "killed by SIGKILL" in job.tree.failure


@pytest.mark.parametrize("count", [1, 2])
def test_a_host_process_that_is_killed_while_workers_start(jobs: Jobs, count: int) -> None:
    job = long_job(jobs)
    job.until_workers(count)
    os.kill(job.host(), signal.SIGKILL)
    # For who will never come they do not wait.
    assert eventually(lambda: job.workers() == [], 10)
    assert job.ends().status == 137


# --- checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize("folds", [0, 2])
def test_killed_and_started_again_on_one_worker_or_several(jobs: Jobs, folds: int) -> None:
    several = {**TWO, "num_round": 18, "colsample_bytree": 0.7, "checkpoint_every": 1}
    several |= {"cv_folds": folds} if folds else {"early_stopping_rounds": 15}
    one = {**several, "compute": "singleCPU", "workers": "auto", "nthread": 1}

    def write(tree: Tree) -> None:
        in_files(tree, "train", number_rows(3_000, 1), 3)
        tree.channel("validation", number_rows(1_000, 2))

    unbroken = jobs.tree(write, "unbroken")
    assert jobs.run(unbroken, **several).status == 0
    tree = jobs.tree(write)
    (tree.root / "checkpoints").mkdir()
    tree.config("checkpointconfig", {"LocalPath": str(tree.root / "checkpoints")})
    for place, round_ in ((one, 3),) if folds else ((several, 3), (one, 9)):
        job = jobs.start(tree.hyperparameters(**place)).until(f"[{round_}]\t")
        os.kill(job.host(), signal.SIGKILL)
        assert job.ends().status == 137
    ended = jobs.run(tree, **several)
    assert ended.status == 0, ended.stderr
    rounds = [line for line in scored(tree) if "resumed" not in line]
    assert len(rounds) == len(scored(tree)) - 1
    assert outputs(tree) == outputs(unbroken)
    assert_close(described(tree), described(unbroken), 1e-9)
    assert_close(rounds, scored(unbroken), 1e-9)


@pytest.mark.parametrize("name", ["colsample_bytree", "colsample_bylevel", "colsample_bynode"])
def test_a_worker_that_draws_no_rows_would_draw_other_columns(jobs: Jobs, name: str) -> None:
    def write(tree: Tree) -> None:
        (tree.root / "input/data/train").mkdir()
        (tree.root / "input/data/train/a.csv").write_text("1,2,3,4\n")  # cannot be divided

    tree = jobs.tree(write)
    given = {"objective": "reg:squarederror", "num_round": 3, "subsample": 0.5, name: 0.5}
    ended = jobs.run(tree, compute="multiCPU", workers=2, nthread=2, **given)
    assert ended.status == 1
    assert f"no rows to draw subsample from, and {name} has to be drawn alike" in tree.failure
