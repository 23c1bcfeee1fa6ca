"""Bad data ends a job with a sentence: which file, row and column, what was found, what to do.

Most jobs run in this process, because a table of this length would take minutes otherwise.
"""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Tree
from tests.contract.bad_inputs import BAD, FILE, GOOD, GROUPS, REGRESSION, ROWS, Bad
from tests.contract.jobs import run_job
from treeline import train
from treeline.data import csv

# Run as a process of its own, too: one of each kind.
AS_PROCESS = (
    "text among numbers, far down",
    "three classes for two",
    "Parquet cut off",
    "a model of another objective",
    "an empty channel",
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tree: Tree) -> Any:
    """Return what runs the job of ``tree`` in this process; it returns the exit status."""
    monkeypatch.setattr(train, "settle_native_threads", lambda _: None)

    def run_here() -> int:
        with warnings.catch_warnings():  # as in the command: a line of the log, not an error
            warnings.simplefilter("default", UserWarning)
            return train.train(tree.root, {})

    return run_here


def check(bad: Bad, status: int, stderr: str, tree: Tree) -> None:
    """Compare how a job ended with what ``bad`` asks for."""
    assert status == 1, tree.failure or "the job trained a model"
    cause, remedy, rest = tree.failure.split("\n", 2)
    for part in bad.cause:
        assert part in cause
    assert bad.remedy in remedy
    assert remedy.endswith(".")
    assert len(cause) + len(remedy) + 2 <= 1024
    assert rest.startswith("\nTraceback")  # for whoever reports a fault, below what is shown
    assert stderr == f"ERROR: {cause}\n{remedy}\n"
    assert not tree.model.exists()


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_words(
    case: str, tree: Tree, run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = BAD[case]
    bad.make(tree)
    check(bad, run(), capfd.readouterr().err, tree)


@pytest.mark.parametrize("case", AS_PROCESS)
def test_the_command_says_the_same(case: str, tree: Tree) -> None:
    bad = BAD[case]
    bad.make(tree)
    ended = run_job(tree.root)
    check(bad, ended.status, ended.stderr, tree)


def test_the_table_is_what_it_claims() -> None:
    assert len(BAD) == sum(map(len, GROUPS)), "a name twice"
    assert len(BAD) >= 200


# --- what a file's content cannot say --------------------------------------------------------


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_a_file_without_permission(tree: Tree, run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    bad = Bad({FILE: ROWS}, (FILE, "Permission denied"), "permissions", types="text/csv")
    bad.make(tree)
    (tree.root / "input/data" / FILE).chmod(0)
    check(bad, run(), capfd.readouterr().err, tree)


def test_a_file_that_changes_while_it_is_read(
    tree: Tree, run: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = csv.Reader.open

    def opened_and_changed(reader: csv.Reader, source: Any) -> Any:
        table = opened(reader, source)
        with source.path.open("a") as file:
            file.write("1,2,3\n")
        return table

    monkeypatch.setattr(csv.Reader, "open", opened_and_changed)
    bad = Bad({FILE: ROWS * 100}, (FILE, "changed while it was read"), "Run the job again")
    bad.make(tree)
    check(bad, run(), capfd.readouterr().err, tree)


def test_a_file_that_goes_away(
    tree: Tree, run: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = csv.Reader.open

    def opened_and_gone(reader: csv.Reader, source: Any) -> Any:
        table = opened(reader, source)
        source.path.with_name("part-1.csv").unlink(missing_ok=True)
        return table

    monkeypatch.setattr(csv.Reader, "open", opened_and_gone)
    bad = Bad(
        {FILE: ROWS, "train/part-1.csv": ROWS},
        ("train/part-1.csv", "No such file"),
        "still there",
    )
    bad.make(tree)
    check(bad, run(), capfd.readouterr().err, tree)


FIFOS = {
    "nothing": Bad({}, ("train_0", "without a single byte"), "S3 prefix"),
    "1,2,3\n0,4,5\n1,6": Bad({}, ("train_0", "in the middle of a row"), "with a newline"),
    "1,2,3\n0,x,5\n1,6,7\n": Bad({}, ("train_0", "column 1", "'x' in row 2"), "Correct"),
}


@pytest.mark.parametrize("content", FIFOS)
def test_a_fifo(content: str, tree: Tree, run: Any, capfd: pytest.CaptureFixture[str]) -> None:
    bad = FIFOS[content]
    bad.make(tree)
    tree.config(
        "inputdataconfig", {"train": {"ContentType": "text/csv", "TrainingInputMode": "Pipe"}}
    )
    fifo = tree.root / "input/data/train_0"
    os.mkfifo(fifo)
    text = "" if content == "nothing" else content
    writer = threading.Thread(target=Path.write_text, args=(fifo, text))
    writer.start()
    status = run()
    writer.join(timeout=10)
    check(bad, status, capfd.readouterr().err, tree)


# --- odd, but nothing to refuse --------------------------------------------------------------

WIDE = "".join(
    f"{i % 2}," + ",".join(str((i * j) % 7) for j in range(10_000)) + "\n" for i in (1, 2, 3)
)

ODD: dict[str, Bad] = {
    "10,000 columns and three rows": Bad({FILE: WIDE}, (), ""),
    "one row": Bad({FILE: "1.5,2,3\n"}, (), "", job=REGRESSION),
    "one feature": Bad({FILE: "1,2\n0,3\n1,4\n"}, (), ""),
    "one feature of no value": Bad({FILE: "1,,2\n0,,3\n"}, (), ""),
    "a header that names numbers": Bad(
        {FILE: "0,1,2,3\n1,5,6,7\n0,3,4,5\n"}, (), "", job={"csv_header": "true"}
    ),
    "Windows": Bad({FILE: "\ufeffy,a\r\n1,2\r\n0,3\r\n"}, (), ""),
    "no line end at the end": Bad({FILE: ROWS.rstrip("\n")}, (), ""),
    "line ends inside quotes": Bad(
        {FILE: 'y,c,a\n1,"a\nb",2\n0,"say ""x""\n",3\n1,"a\nb",4\n'}, (), ""
    ),
    "an unseen category": Bad(
        {FILE: "1,red,2\n0,blue,3\n", "validation/v.csv": "1,green,2\n0,blue,3\n"}, (), ""
    ),
    "validation of narrower libsvm": Bad(
        {"train/a.svm": "1 0:1 5:2\n0 0:3\n", "validation/v.svm": "1 0:1\n0 1:3\n"}, (), ""
    ),
    "columns in another order": Bad(
        {FILE: "y,a,b\n" + ROWS, "validation/v.csv": "b,y,a\n2,1,0.5\n3,0,1.5\n"}, (), ""
    ),
    "an empty file beside a full one": Bad({FILE: ROWS, "train/part-1.csv": ""}, (), ""),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_input_is_trained_on(
    case: str, tree: Tree, run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    ODD[case].make(tree)
    assert run() == 0, tree.failure
    assert tree.model.exists()
    assert capfd.readouterr().err == ""


def test_a_quote_that_hides_rows_in_a_column_that_is_not_read_is_mentioned(
    tree: Tree, run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    text = 'y,c,a\n1,"x",2\n0,"y,3\n1,"z",4\n0,"x",5\n'
    Bad({FILE: text}, (), "", job={"ignore_columns": "c"}).make(tree)
    assert run() == 0, tree.failure
    assert "1 file(s) have an odd number of quotes" in capfd.readouterr().out


def test_good_hyperparameters_of_the_table_train(tree: Tree, run: Any) -> None:
    """What the table's jobs have in common is not what they are refused for."""
    tree.hyperparameters(**GOOD)
    Bad({FILE: ROWS}, (), "").make(tree)
    assert run() == 0, tree.failure
