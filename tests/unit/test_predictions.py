"""The files with out-of-fold predictions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from treeline import predictions
from treeline.data.matrix import Origin
from treeline.errors import PlatformError
from treeline.predictions import OutOfFold


def floats(values: Any) -> Any:
    return np.array(values, np.float32)


def out_of_fold(*parts: tuple[int, int, list[int], Any]) -> OutOfFold:
    found = OutOfFold()
    for repeat, fold, rows, prediction in parts:
        found.add(repeat, fold, np.array(rows), floats(prediction))
    return found


def written(folder: Path) -> tuple[str, str]:
    names = (predictions.ROWS_NAME, predictions.FOLDS_NAME)
    assert sorted(each.name for each in folder.iterdir()) == sorted(names)
    rows, folds = ((folder / name).read_text() for name in names)
    return rows, folds


def test_regression(tmp_path: Path) -> None:
    found = out_of_fold(
        (0, 1, [1, 2], [0.1, 3]), (0, 0, [0], [10]), (1, 0, [0, 2], [20, 4]), (1, 1, [1], [0.1])
    )
    found.write(tmp_path / "data", "reg:squarederror", floats([1.5, -2, 1e7]), None)
    rows, folds = written(tmp_path / "data")
    assert rows == "1.5,15\n-2,0.1\n10000000,3.5\n"
    assert folds == (
        "row,repeat,fold,label,prediction\n"
        "0,0,0,1.5,10\n0,1,0,1.5,20\n"
        "1,0,1,-2,0.1\n1,1,1,-2,0.1\n"
        "2,0,1,10000000,3\n2,1,0,10000000,4\n"
    )


def test_several_outputs(tmp_path: Path) -> None:
    found = out_of_fold((0, 0, [0], [[1, 2]]), (1, 0, [0], [[2, 4]]))
    found.write(tmp_path, "reg:quantileerror", floats([7]), None)
    rows, folds = written(tmp_path)
    assert rows == "7,1.5,3\n"
    assert folds.splitlines()[0] == "row,repeat,fold,label,prediction_0,prediction_1"
    assert folds.splitlines()[2] == "0,1,0,7,2,4"


def test_two_classes_with_names(tmp_path: Path) -> None:
    found = out_of_fold(
        (0, 0, [0, 1], [0.5, 0.75]), (1, 0, [0, 1], [1, 0.25]), (2, 0, [0, 1], [0.75, 0.125])
    )
    found.write(tmp_path, "binary:logistic", floats([1, 0]), ('say "no"', "yes, do"))
    rows, folds = written(tmp_path)
    assert rows == "1,0.75,1\n0,0.375,0\n"
    table = list(csv.reader(folds.splitlines()))
    assert table[0] == ["row", "repeat", "fold", "label", "prediction", "probability_yes, do"]
    assert table[1] == ["0", "0", "0", "yes, do", 'say "no"', "0.5"]
    assert table[4] == ["1", "0", "0", 'say "no"', "yes, do", "0.75"]


def test_a_tie_of_classes_goes_to_the_smallest(tmp_path: Path) -> None:
    found = out_of_fold((0, 0, [0], [0.75]), (1, 0, [0], [0.25]))
    found.write(tmp_path, "binary:logistic", floats([1]), None)
    assert written(tmp_path)[0] == "1,0.5,0\n"


def test_many_classes_and_numbers_for_names(tmp_path: Path) -> None:
    found = out_of_fold(
        (0, 0, [0], [[0.25, 0.5, 0.25]]),
        (1, 0, [0], [[0, 0.25, 0.75]]),
        (2, 0, [0], [[0.125, 0, 0.875]]),
    )
    found.write(tmp_path, "multi:softprob", floats([1]), (1.0, 2.0, float(np.float32(2.1))))
    rows, folds = written(tmp_path)
    assert rows == "1,0.7083333,2\n"
    assert folds.splitlines()[:2] == [
        "row,repeat,fold,label,prediction,probability_1,probability_2,probability_2.1",
        "0,0,0,2,2,0.25,0.5,0.25",
    ]
    assert folds.splitlines()[2].startswith("0,1,0,2,2.1,")


@pytest.mark.parametrize(
    ("objective", "predicted", "row", "header", "line"),
    [
        ("multi:softmax", [2, 0, 2], "2,0.6666667,2", "", "0,1,0,2,0"),
        ("binary:hinge", [1, 0, 1], "2,0.6666667,1", "", "0,1,0,2,0"),
        ("binary:logitraw", [0.25, -1, 3], "2,0.75,1", ",margin_1", "0,1,0,2,0,-1"),
    ],
)
def test_models_that_predict_no_probability(
    objective: str, predicted: list[float], row: str, header: str, line: str, tmp_path: Path
) -> None:
    found = out_of_fold(*((r, 0, [0], [value]) for r, value in enumerate(predicted)))
    found.write(tmp_path, objective, floats([2]), None)
    rows, folds = written(tmp_path)
    assert rows == f"{row}\n"
    assert folds.splitlines()[0] == f"row,repeat,fold,label,prediction{header}"
    assert folds.splitlines()[2] == line


def test_rows_never_held_out_are_left_out_and_splits_may_overlap(tmp_path: Path) -> None:
    found = out_of_fold((0, 1, [1, 3], [3, 5]), (0, 0, [3, 5], [1, 2]))
    found.write(tmp_path, "rank:ndcg", floats(range(7)), None)
    rows, folds = written(tmp_path)
    assert rows == "1,3\n3,3\n5,2\n"
    assert folds.splitlines()[1:] == ["1,0,1,1,3", "3,0,0,3,1", "3,0,1,3,5", "5,0,0,5,2"]


def test_rows_without_labels_and_labels_that_are_shares(tmp_path: Path) -> None:
    out_of_fold((0, 0, [2], [8])).write(tmp_path, "survival:aft", None, None)
    assert written(tmp_path)[0] == "nan,8\n"
    out_of_fold((0, 0, [0], [0.75])).write(tmp_path, "binary:logistic", floats([0.25]), None)
    rows, folds = written(tmp_path)
    assert rows == "0.25,0.75,1\n"
    assert folds.splitlines()[1] == "0,0,0,0.25,1,0.75"


def test_many_lines_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    found, count = OutOfFold(), 101
    expected = rng.random((3, count), dtype=np.float32)
    for repeat in range(3):
        where = rng.integers(0, 4, count)
        for fold in range(4):
            rows = np.flatnonzero(where == fold)
            found.add(repeat, fold, rows, expected[repeat, rows])
    label = rng.random(count, dtype=np.float32)
    found.write(tmp_path / "whole", "reg:squarederror", label, None)
    monkeypatch.setattr(predictions, "_PIECE", 7)
    found.write(tmp_path / "pieces", "reg:squarederror", label, None)
    assert written(tmp_path / "pieces") == written(tmp_path / "whole")
    table = np.loadtxt(tmp_path / "pieces" / predictions.ROWS_NAME, delimiter=",")
    assert np.array_equal(table[:, 0].astype(np.float32), label)
    assert np.allclose(table[:, 1], expected.mean(axis=0))
    lines = np.loadtxt(tmp_path / "pieces" / predictions.FOLDS_NAME, delimiter=",", skiprows=1)
    assert lines[:, 0].tolist() == np.repeat(np.arange(count), 3).tolist()
    assert np.array_equal(lines[:, 4].astype(np.float32), expected.T.ravel())


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(PlatformError, match="predictions could not be written to"):
        out_of_fold((0, 0, [0], [1])).write(
            tmp_path / "data", "reg:squarederror", floats([1]), None
        )


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.csv.write_csv", full)
    with pytest.raises(PlatformError, match="No space left on device"):
        out_of_fold((0, 0, [0], [1])).write(tmp_path, "reg:squarederror", floats([1]), None)
    assert list(tmp_path.iterdir()) == []


def test_the_row_is_the_one_that_was_read(tmp_path: Path) -> None:
    found = out_of_fold((0, 0, [0, 1], [10, 20]), (0, 1, [2], [30]))
    origin = Origin()
    origin.left_out.extend([0, 2, 2])  # one before the first row, two before the last
    found.write(tmp_path, "reg:squarederror", floats([1, 2, 3]), None, origin.positions)
    _, folds = written(tmp_path)
    assert [line.split(",")[0] for line in folds.splitlines()] == ["row", "1", "2", "5"]


def test_very_many_classes_do_not_have_a_column_each(tmp_path: Path) -> None:
    classes = 101
    probabilities = np.eye(classes)[[100, 3]] * 0.5
    found = out_of_fold((0, 0, [0, 1], probabilities))
    names = tuple(f"class {i}" for i in range(classes))
    found.write(tmp_path, "multi:softprob", floats([7, 3]), names)
    rows, folds = written(tmp_path)
    assert rows == "7,0.5,100\n3,0.5,3\n"
    assert folds.splitlines() == [
        "row,repeat,fold,label,prediction,probability",
        '0,0,0,"class 7","class 100",0.5',
        '1,0,0,"class 3","class 3",0.5',
    ]
