"""Data in the built image as a user hands it over: formats, FIFOs, too little memory or disk."""

from __future__ import annotations

import gzip
import json
import os
import re
import select
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb
from pyarrow import csv, feather, parquet

from tests.conftest import Tree
from tests.container.engine import Ended, Running, run
from tests.contract.jobs import Rows, binary_rows, run_job
from tests.contract.test_same_as_xgboost import cmapss, plain
from tests.writers import FORMATS, Channels, Table

pytestmark = pytest.mark.container

ALONE = ("--network", "none")
TMPFS = ("--tmpfs", "/tmp")


def fill(tree: Tree, channel: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = tree.root / "input" / "data" / channel / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def declare(tree: Tree, content_types: dict[str, str], mode: str = "File", **more: str) -> None:
    """Write inputdataconfig.json as the service writes what the SDK asks for."""
    always = {"S3DistributionType": "FullyReplicated", "RecordWrapperType": "None", **more}
    tree.config(
        "inputdataconfig",
        {
            channel: {"ContentType": each, "TrainingInputMode": mode, **always}
            for channel, each in content_types.items()
        },
    )


def as_csv(rows: Rows) -> bytes:
    return "".join(",".join(f"{value:.9g}" for value in row) + "\n" for row in rows).encode()


def trained(tree: Tree, done: Ended) -> bytes:
    assert done.returncode == 0, done.stdout + done.stderr + tree.failure
    return tree.model.read_bytes()


# --- every format ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What a channel holds, what it is declared to be, and what is to be seen of it."""

    content_type: str
    files: dict[str, dict[str, bytes]]  # by channel and name
    hyperparameters: dict[str, object]
    rows: dict[str, int]
    features: int
    texts: dict[str, int]  # how many categories, by the feature's position
    score: tuple[float, float]  # the final score's bounds
    more: dict[str, str] = field(default_factory=dict)  # of the channels' declarations


CLASSES: dict[str, object] = {"objective": "binary:logistic", "eval_metric": "auc"}
# Names and numbers that only tell the passengers apart.
PASSENGERS = "Name,Ticket,PassengerId,Cabin"


def adult(data: Path) -> Job:
    content = (data / "adult/adult-train.csv.gz").read_bytes()
    texts = {"1": 8, "3": 16, "5": 7, "6": 14, "7": 6, "8": 5, "9": 2, "13": 41}
    return Job(
        "text/csv",
        {"train": {"adult-train.csv.gz": content}},
        {**CLASSES, "label_column": -1},
        {"train": 32_561},
        14,
        texts,
        (0.90, 0.99),
        {"CompressionType": "Gzip"},
    )


def titanic(data: Path) -> Job:
    content = gzip.compress((data / "titanic/train.csv").read_bytes())
    columns = {"label_column": "Survived", "ignore_columns": PASSENGERS}
    return Job(
        "text/csv; charset=utf-8",
        {"train": {"train": content}},
        {**CLASSES, **columns},
        {"train": 891},
        7,
        {"1": 2, "6": 3},
        (0.88, 0.99),
    )


def _abalone_table(data: Path) -> pa.Table:
    names = ["sex", "length", "diameter", "height", "whole", "shucked", "viscera", "shell", "rings"]
    options = csv.ReadOptions(column_names=names)
    return csv.read_csv(data / "abalone/abalone.csv", read_options=options)


ABALONE: dict[str, Any] = {
    "hyperparameters": {"objective": "reg:squarederror", "label_column": "rings"},
    "rows": {"train": 4177},
    "features": 8,
    "texts": {"0": 3},
    "score": (1.5, 2.5),
}


def abalone_parquet(data: Path) -> Job:
    sink = pa.BufferOutputStream()
    parquet.write_table(_abalone_table(data), sink, row_group_size=1000)
    content = sink.getvalue().to_pybytes()
    return Job("application/x-parquet", {"train": {"a/b/part-0": content}}, **ABALONE)


def abalone_feather(data: Path) -> Job:
    sink = pa.BufferOutputStream()
    feather.write_feather(_abalone_table(data), sink, compression="lz4")
    content = sink.getvalue().to_pybytes()
    return Job("application/x-feather", {"train": {"abalone.feather": content}}, **ABALONE)


def abalone_libsvm(data: Path) -> Job:
    parts = ("train_0", "train_1", "validation")
    files = {part: (data / f"abalone/abalone.{part}.libsvm").read_bytes() for part in parts}
    return Job(
        "text/libsvm",
        {
            "train": {part: files[part] for part in parts[:2]},
            "validation": {"validation": files["validation"]},
        },
        {"objective": "reg:squarederror"},
        {"train": 2922, "validation": 626},
        9,
        {},
        (1.8, 2.6),
    )


def agaricus(data: Path) -> Job:
    parts = ("train", "test")
    content = {part: (data / f"agaricus/agaricus.txt.{part}").read_bytes() for part in parts}
    return Job(
        "text/x-libsvm",
        {part: {f"agaricus.txt.{part}": content[part]} for part in parts},
        {"objective": "binary:logistic", "eval_metric": "error,auc"},
        {"train": 6513, "test": 1611},
        127,
        {},
        (0.99, 1.0),
    )


def engines(data: Path) -> Job:
    """Engines by number in the first column, their remaining cycles in the second."""
    with gzip.open(data / "cmapss/train_FD001.txt.gz", "rt") as stream:
        numbers = np.loadtxt(stream)
    unit, cycle = numbers[:, 0], numbers[:, 1]
    last = np.array([cycle[unit == u].max() for u in np.unique(unit)])
    table = np.column_stack([unit, last[unit.astype(int) - 1] - cycle, numbers[:, 1:]])
    held = unit % 3 == 0
    return Job(
        "csv",
        {"train": {"a.csv": as_csv(table[~held])}, "validation": {"b.csv": as_csv(table[held])}},
        {"objective": "reg:squarederror", "group_column": 0, "label_column": 1, "leakage": "fail"},
        {"train": 14_023, "validation": 6_608},
        25,
        {},
        (30.0, 60.0),
    )


def _engine_table(data: Path) -> Table:
    rows = cmapss(data)[1].astype(np.float32)
    return Table(rows[:, 0], {f"c{j}": rows[:, j] for j in range(1, rows.shape[1])})


def engines_recordio(data: Path) -> Job:
    return _engines_as("recordio-float32", "application/x-recordio-protobuf", data)


def engines_npz(data: Path) -> Job:
    return _engines_as("npz-compressed", "application/x-npz", data)


def _engines_as(name: str, content_type: str, data: Path) -> Job:
    return Job(
        content_type,
        {"train": {"part-0": FORMATS[name].write(_engine_table(data))}},
        {"objective": "reg:squarederror"},
        {"train": 6_608},
        25,
        {},
        (20.0, 60.0),
    )


JOBS: list[Callable[[Path], Job]] = [
    adult,
    titanic,
    abalone_parquet,
    abalone_feather,
    abalone_libsvm,
    agaricus,
    engines,
    engines_recordio,
    engines_npz,
]


def lay(tree: Tree, job: Job) -> None:
    for channel, files in job.files.items():
        fill(tree, channel, files)
    declare(tree, dict.fromkeys(job.files, job.content_type), **job.more)
    tree.hyperparameters(num_round=8, **job.hyperparameters)


@pytest.mark.parametrize("make", JOBS)
def test_real_data_of_every_format(
    make: Callable[[Path], Job], tree: Tree, shared_data: Path
) -> None:
    job = make(shared_data)
    lay(tree, job)
    model = trained(tree, run(tree, *ALONE))
    inside = tree.manifest()
    assert {role: entry["rows"] for role, entry in inside["data"].items()} == job.rows
    assert inside["schema"]["features"] == job.features
    found = {j: len(texts) for j, texts in inside["schema"]["categories"].items()}
    assert found == job.texts
    assert inside["metrics"]["scores"].keys() == job.rows.keys()
    assert job.score[0] <= inside["metrics"]["final_score"] <= job.score[1]

    assert run_job(tree.root).status == 0
    assert tree.model.read_bytes() == model
    for part in ("schema", "data", "metrics"):
        assert tree.manifest()[part] == inside[part]


@pytest.mark.parametrize("make", [titanic, abalone_parquet, engines_recordio])
def test_real_data_as_another_user_on_a_read_only_root(
    make: Callable[[Path], Job], tree: Tree, shared_data: Path
) -> None:
    lay(tree, make(shared_data))
    for path in [tree.root, *tree.root.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o444)
    model = trained(tree, run(tree, *ALONE, "--user", "1000:1000", "--read-only", *TMPFS))
    assert tree.model.stat().st_uid == 1000
    assert run_job(tree.root).status == 0
    assert tree.model.read_bytes() == model


# --- Pipe mode -------------------------------------------------------------------------------


def _csv(rows: int = 20_000) -> bytes:
    return as_csv(np.nan_to_num(binary_rows(rows)))


def _parquet() -> bytes:
    rows = np.nan_to_num(binary_rows(20_000))
    sink = pa.BufferOutputStream()
    table = pa.table({f"c{j}": rows[:, j] for j in range(rows.shape[1])})
    parquet.write_table(table, sink, row_group_size=3000)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _gzip() -> bytes:
    return gzip.compress(_csv())


PIPED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "csv": (_csv, "text/csv", "ends in the middle of a row"),
    "gzip": (_gzip, "text/csv", "the gzip stream ends early"),
    "parquet": (_parquet, "application/x-parquet", "expected a footer and b'PAR1'; it is cut off"),
}

WRITER = """\
import sys, time
with open(sys.argv[1], "rb") as file, open(sys.argv[2], "wb", buffering=0) as fifo:
    fifo.write(file.read())
    print("written", flush=True)
    time.sleep(600)
"""


@contextmanager
def writer(content: bytes, fifo: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes ``content`` into the FIFO and then holds it open."""
    file = fifo.with_name(".content")
    file.write_bytes(content)
    command = [sys.executable, "-c", WRITER, str(file), str(fifo)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def has_written(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 60)
    return bool(ready) and process.stdout.readline() == b"written\n"


@pytest.mark.parametrize("kind", PIPED)
def test_a_fifo_gives_the_model_of_the_file(kind: str, tree: Tree) -> None:
    make, content_type, _ = PIPED[kind]
    content = make()
    tree.hyperparameters(num_round=5, **CLASSES)
    fill(tree, "train", {"part-0": content})
    declare(tree, {"train": content_type})
    model = trained(tree, run(tree, *ALONE))
    tree.model.unlink()
    (tree.root / "input/data/train/part-0").unlink()
    (tree.root / "input/data/train").rmdir()
    declare(tree, {"train": content_type}, "Pipe")
    with Channels(tree.root / "input/data") as channels:
        channels.write("train", [content], content_type, "Pipe")
        assert trained(tree, run(tree, *ALONE)) == model


@pytest.mark.parametrize("kind", PIPED)
def test_a_writer_killed_half_way_fails_the_job(kind: str, tree: Tree) -> None:
    make, content_type, cause = PIPED[kind]
    content = make()
    assert len(content) > 4 * 65_536  # more than a FIFO holds, so that some of it has been read
    cut = len(content) // 2
    assert b"\n" not in content[cut - 2 : cut + 2] or kind != "csv"
    fifo = tree.root / "input/data/train_0"
    os.mkfifo(fifo)
    tree.hyperparameters(num_round=5, **CLASSES)
    declare(tree, {"train": content_type}, "Pipe")
    with writer(content[:cut], fifo) as process:
        container = Running(tree, *ALONE)
        assert has_written(process), container.log()
        process.kill()
        assert container.wait() == 1, container.log()
    lines = tree.failure.splitlines()
    assert lines[0].startswith("train_0: ")
    assert cause in lines[0]
    assert re.search("writer|again|complete", lines[1])
    assert not tree.model.exists()


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-parquet"])
def test_docker_stop_while_nobody_writes_to_the_fifo(content_type: str, tree: Tree) -> None:
    os.mkfifo(tree.root / "input/data/train_0")
    tree.hyperparameters(num_round=5, save_model_on_termination="true", **CLASSES)
    declare(tree, {"train": content_type}, "Pipe")
    container = Running(tree, *ALONE)
    container.wait_for("treeline ")
    assert container.stop() < 8
    assert container.wait() == 143, container.log()
    assert not tree.model.exists()


def test_a_crash_while_reading_is_explained(tree: Tree) -> None:
    # As a damaged file can do to the native code that reads it.
    os.mkfifo(tree.root / "input/data/train_0")
    tree.hyperparameters(num_round=5, **CLASSES)
    declare(tree, {"train": "application/x-parquet"}, "Pipe")
    container = Running(tree, *ALONE)
    container.wait_for("treeline ")
    container.execute("bash", "-c", "kill -ABRT $(< /proc/1/task/1/children)")
    assert container.wait() == 134, container.log()
    cause, remedy = tree.failure.splitlines()
    assert cause == "The training process crashed with SIGABRT (signal 6) in native code"
    assert "please report it with the log" in remedy
    assert "damaged data file" in remedy


# --- a file that changes ---------------------------------------------------------------------

# Beside the job: stops the process that reads a file, once it has read some of it.
HOLD = """\
import os, pathlib, re, signal, sys, time
def position(fd):
    text = pathlib.Path(str(fd).replace("/fd/", "/fdinfo/")).read_text()
    return int(re.match(r"pos:\\s*(\\d+)", text).group(1))
end = time.monotonic() + 60
while time.monotonic() < end:
    for fd in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) == sys.argv[1] and position(fd) > 1_000_000:
                os.kill(int(fd.parts[2]), signal.SIGSTOP)
                print(fd.parts[2], position(fd))
                sys.exit()
        except OSError:
            pass
sys.exit("nobody reads " + sys.argv[1])
"""


def _append(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"1,1,1,1,1,1,1\n")


def _replace(file: Path) -> None:
    other = file.with_name(".other")
    other.write_bytes(file.read_bytes())
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)


def _write_into(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.seek(-1000, os.SEEK_END)
        stream.write(b"7")


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1000)


@pytest.mark.parametrize(
    ("change", "what"),
    [(_append, "size"), (_replace, "identity"), (_write_into, "time"), (_truncate, "size")],
)
def test_a_file_that_changes_while_it_is_read(
    change: Callable[[Path], None], what: str, tree: Tree
) -> None:
    file = tree.root / "input/data/train/part-0.csv"
    fill(tree, "train", {file.name: _csv(2000) * 400})
    tree.hyperparameters(num_round=5, **CLASSES)
    declare(tree, {"train": "text/csv"})
    container = Running(tree, *ALONE)
    inside = f"/opt/ml/{file.relative_to(tree.root)}"
    reader, position = container.execute("python", "-c", HOLD, inside).split()
    assert int(position) < file.stat().st_size - 10_000_000
    change(file)
    container.execute("bash", "-c", f"kill -CONT {reader}")
    assert container.wait() == 1, container.log()
    cause = f"train/part-0.csv: changed while it was read (its {what} is not what it was)"
    assert tree.failure.splitlines()[0] == cause
    assert not tree.model.exists()


# --- memory and disk -------------------------------------------------------------------------

MIB = 2**20


def lay_npz(tree: Tree, rows: int, columns: int, **hyperparameters: object) -> None:
    """Write bytes from 0 to 15: small on disk, four times as large as float32."""
    draw = np.random.default_rng(0)
    # Runs of one value in all columns but two, which XGBoost's sketch goes through much faster.
    x = np.repeat(draw.integers(0, 16, (-(-rows // 64), columns), np.uint8), 64, axis=0)[:rows]
    x[:, :2] = draw.integers(0, 16, x[:, :2].shape, np.uint8)
    y = (x[:, 0].astype(np.int64) + x[:, columns // 2] > 15) ^ (draw.random(rows) < 0.1)
    folder = tree.root / "input/data/train"
    folder.mkdir()
    np.savez(folder / "rows.npz", X=x, y=y.astype(np.uint8))
    declare(tree, {"train": "application/x-npz"})
    asked = {"num_round": 2, "max_depth": 3, "max_bin": 16, "objective": "binary:logistic"}
    tree.hyperparameters(**{**asked, **hyperparameters})


def test_rows_that_do_not_fit_the_memory_go_to_a_file(tree: Tree) -> None:
    lay_npz(tree, 600_000, 20)
    in_memory = run(tree, *ALONE)
    model = trained(tree, in_memory)
    assert "temporary file" not in in_memory.stdout
    container = Running(tree, *ALONE, "--memory", "280m")
    assert container.wait() == 0, container.log()
    assert "rows are kept in a temporary file" in container.log()
    assert tree.model.read_bytes() == model
    assert not container.killed_for_memory()


def test_a_job_four_times_as_large_as_the_memory(tree: Tree) -> None:
    limit = 256 * MIB
    rows = 4 * limit // (4 * 200) + 1
    lay_npz(tree, rows, 200, max_depth=2)
    in_memory = run(tree, *ALONE)
    model = trained(tree, in_memory)
    assert "kept on disk" not in in_memory.stdout
    tree.model.unlink()
    container = Running(tree, *ALONE, "--memory", str(limit))
    assert container.wait(timeout=300) == 0, container.log()
    assert re.search(r"rows x 200 columns: bins are kept on disk", container.log())
    assert tree.model.read_bytes() == model
    assert not container.killed_for_memory()


def test_a_job_that_cannot_fit_is_refused_with_the_numbers(tree: Tree) -> None:
    lay_npz(tree, 12_000_000, 1)
    container = Running(tree, *ALONE, "--memory", "300m")
    assert container.wait() == 1, container.log()
    cause, remedy = tree.failure.splitlines()[:2]
    assert cause.startswith("12,000,000 rows of 1 columns")
    assert "need more than 480 MB of memory, and 315 MB is allowed" in cause
    assert "instance with more memory" in remedy
    assert "[0]" not in container.log()
    assert not container.killed_for_memory()


def test_a_job_killed_for_memory_names_the_limit(tree: Tree) -> None:
    # What is written to a tmpfs counts as memory, and nothing says so beforehand.
    lay_npz(tree, 1_000_000, 100)
    container = Running(tree, *ALONE, "--memory", "300m", "--read-only", *TMPFS)
    assert container.wait() == 137, container.log()
    cause, remedy = tree.failure.splitlines()[:2]
    assert cause == (
        "The job was killed for memory: it went over the container's memory limit of 300 MiB"
    )
    assert "instance with more memory" in remedy
    assert "rows are kept in a temporary file" in container.log()
    assert container.killed_for_memory()


SMALL = ("--read-only", "--tmpfs", "/tmp:size=8m")


@pytest.mark.parametrize(
    ("options", "hyperparameters", "cause"),
    [
        (
            ("--memory", "256m"),
            {},
            "The rows do not fit the memory and could not be kept in /tmp: No space left on device",
        ),
        ((), {"external_memory": "true"}, "bins need .* of disk and /tmp has 8 MB free"),
    ],
    ids=["rows", "bins"],
)
def test_a_temporary_folder_that_is_too_small(
    options: tuple[str, ...], hyperparameters: dict[str, str], cause: str, tree: Tree
) -> None:
    lay_npz(tree, 600_000, 20, **hyperparameters)
    container = Running(tree, *ALONE, *SMALL, *options)
    assert container.wait() == 1, container.log()
    found, remedy = tree.failure.splitlines()[:2]
    assert re.search(cause, found), found
    assert "TMPDIR" in remedy
    assert not tree.model.exists()
    assert not container.killed_for_memory()


def test_a_compressed_archive_that_does_not_fit_the_temporary_folder(tree: Tree) -> None:
    sink = pa.BufferOutputStream()
    draw = np.random.default_rng(0).random((200_000, 8))
    parquet.write_table(pa.table({f"c{j}": draw[:, j] for j in range(8)}), sink)
    fill(tree, "train", {"rows.parquet.gz": gzip.compress(sink.getvalue().to_pybytes(), 1)})
    declare(tree, {"train": "application/x-parquet"})
    tree.hyperparameters(num_round=2)
    assert run(tree, *ALONE, *SMALL).returncode == 1
    cause, remedy = tree.failure.splitlines()[:2]
    assert cause.startswith("train/rows.parquet.gz: its bytes do not fit into /tmp, where ")
    assert "TMPDIR" in remedy


# --- going on from a model, and the report ---------------------------------------------------


def test_training_goes_on_from_an_earlier_jobs_archive(tree: Tree) -> None:
    train, validation = binary_rows(1500), binary_rows(500, seed=1)
    tree.channel("train", train).channel("validation", validation)
    params = {"objective": "binary:logistic", "eval_metric": "auc", "max_depth": 3}
    declare(tree, {"train": "text/csv", "validation": "text/csv"})
    trained(tree, run(tree.hyperparameters(num_round=5, **params), *ALONE))
    folder = tree.root / "input/data/model"
    folder.mkdir()
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(tree.root / "model", ".")
    tree.model.unlink()

    types = {
        "train": "text/csv",
        "validation": "text/csv",
        "model": "application/x-sagemaker-model",
    }
    declare(tree, types)
    done = run(tree.hyperparameters(num_round=3, **params), *ALONE)
    model = trained(tree, done)
    rounds = [line.split("\t")[0] for line in done.stdout.splitlines() if line.startswith("[")]
    assert rounds == ["[5]", "[6]", "[7]", "[7]"]
    assert tree.manifest()["training"]["rounds_trained"] == 3

    first, _ = plain(train, validation, 5, params)
    booster, history = plain(train, validation, 3, params, xgb_model=first)
    again = xgb.Booster(model_file=bytearray(model))
    assert again.num_boosted_rounds() == 8
    assert model == bytes(booster.save_raw("ubj"))
    scores = [entry["scores"]["validation"]["auc"] for entry in tree.metrics()[:-1]]
    assert scores == pytest.approx(history["validation"]["auc"], abs=1e-6)


@pytest.mark.parametrize("leakage", ["warn", "fail", "ignore"])
def test_rows_in_two_channels_are_reported(leakage: str, tree: Tree) -> None:
    train = binary_rows(1000)
    validation = np.concatenate([train[-40:], binary_rows(160, seed=1)])
    tree.channel("train", train).channel("validation", validation)
    declare(tree, {"train": "text/csv", "validation": "text/csv"})
    tree.hyperparameters(num_round=3, leakage=leakage, **CLASSES)
    done = run(tree, *ALONE)
    report = json.loads((tree.root / "output/data/data_report.json").read_text())
    shown = done.stdout + done.stderr
    assert [report[role]["rows"] for role in ("train", "validation")] == [1000, 200]
    assert report["train"]["label"]["classes"][1]["count"] == int(train[:, 0].sum())
    assert report["train"]["missing"]["columns"][0]["count"] > 0
    assert report["leakage"]["mode"] == leakage
    text = "validation: 40 of 200 rows (20 %) also stand in train"
    assert (text in shown) == (leakage != "ignore")
    assert done.returncode == (leakage == "fail"), shown
    assert tree.model.exists() == (leakage != "fail")
    if leakage == "ignore":
        assert "validation" not in report["leakage"]
        return
    rows = report["leakage"]["validation"]["rows"]
    assert (rows["count"], rows["share"]) == (40, 0.2)
    one, other = rows["examples"][0]
    assert re.fullmatch(r"train/part-0\.csv row 9[67]\d", one)
    assert re.fullmatch(r"validation/part-0\.csv row [1-9]", other)
    if leakage == "fail":
        assert tree.failure.startswith(text)
