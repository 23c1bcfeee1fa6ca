"""What the audit says of columns, labels, copies of rows, and what stands in two data sets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from treeline.data import audit, rowhash
from treeline.data.audit import ColumnStats, Part
from treeline.data.records import Csr, Floats
from treeline.data.rowhash import Hashes
from treeline.errors import DataError, PlatformError

NAN = np.float32(np.nan)


def rows(values: Any) -> Floats:
    return np.array(values, np.float32)


def hashes(values: Any) -> Hashes:
    return np.array(values, np.uint64)


def as_csr(block: Floats, width: int | None = None) -> Csr:
    there = ~np.isnan(block)
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
    indices = np.nonzero(there)[1].astype(np.int32)
    return Csr(indptr, indices, block[there], width or block.shape[1])


def random_rows(count: int, columns: int) -> Floats:
    rng = np.random.default_rng(count + columns)
    block = rng.normal(size=(count, columns)).astype(np.float32)
    block[rng.random(block.shape) < 0.3] = NAN
    return block


def stats(*blocks: Floats | Csr) -> ColumnStats:
    found = ColumnStats()
    for block in blocks:
        found.update(block)
    return found


def origin(role: str) -> Callable[[int], str]:
    return lambda row: f"{role}/a.csv row {row + 1}"


def part(
    values: Any, role: str = "train", groups: Any = None, summary: dict[str, Any] | None = None
) -> Part:
    """A data set that has these hashes."""
    nothing = audit.summary(ColumnStats(), None, "regression")
    found = None if values is None else hashes(values)
    return Part(summary or nothing, origin(role), found, groups)


def lines(report: audit.Report) -> list[str]:
    """The findings as the log would show them."""
    return [("WARNING: " if f.warning else "") + f.text for f in report.findings]


# Columns


@pytest.mark.parametrize("columns", [1, 2, 13, 700, 1500])
@pytest.mark.parametrize("count", [1, 77, 300, 1500])
def test_columns_against_the_plain_way(count: int, columns: int) -> None:
    block = random_rows(count, columns)
    block[:, 0] = NAN
    found = stats(block)
    assert found.missing.tolist() == np.isnan(block).sum(axis=0).tolist()
    assert np.array_equal(found.smallest, np.fmin.reduce(block, axis=0), equal_nan=True)
    assert np.array_equal(found.largest, np.fmax.reduce(block, axis=0), equal_nan=True)


def test_many_rows_of_few_columns_are_counted_in_pieces() -> None:
    block = np.full((600_000, 1), NAN)
    block[[0, 261_120, -1], 0] = 5, -5, 7
    found = stats(block)
    assert found.missing.tolist() == [599_997]
    assert (found.smallest[0], found.largest[0]) == (-5, 7)


def test_blocks_strides_masks_and_sparse_storage_do_not_show() -> None:
    block = random_rows(400, 5)
    masked = ColumnStats()
    masked.update(block, np.isnan(block))
    several = [
        masked,
        stats(block[:1], block[1:390], block[390:390], block[390:]),
        stats(np.asfortranarray(block)),
        stats(as_csr(block)),
        stats(as_csr(block[:9]), block[9:]),
    ]
    expected = stats(block)
    for found in several:
        assert found.rows == 400
        assert np.array_equal(found.present, expected.present)
        assert np.array_equal(found.smallest, expected.smallest)
        assert np.array_equal(found.largest, expected.largest)


def test_the_data_are_left_alone() -> None:
    block = rows([[-0.0, NAN]])
    stats(block)
    assert np.signbit(block[0, 0])


def test_constant_and_all_missing_columns() -> None:
    found = stats(rows([[7, 7, NAN, 0.0, 1]]), rows([[7, NAN, NAN, -0.0, 2]]))
    # Column 1 is 7 or missing, which a tree can tell apart.
    assert found.constant.tolist() == [0, 3]
    assert found.all_missing.tolist() == [2]
    assert stats().constant.tolist() == []


def test_a_later_sparse_block_may_be_wider() -> None:
    wide = Csr(np.array([0, 2]), np.array([1, 4], np.int32), rows([3, NAN]), 6)
    found = stats(as_csr(rows([[1, 3]])), wide, rows([[1, 3]]))
    assert found.missing.tolist() == [1, 0, 3, 3, 3, 3]
    assert found.constant.tolist() == [1]


def test_infinite_columns() -> None:
    block = rows([[1, np.inf, 1, NAN], [1, 1, -np.inf, 1]])
    assert stats(block).infinite.tolist() == [1, 2]
    assert stats(as_csr(block)).infinite.tolist() == [1, 2]


def test_a_signalling_nan_hides_no_value() -> None:
    block = np.zeros((64, 1), np.uint32)
    block[:] = rows(1).view(np.uint32)
    block[::2] = 0x7F800001
    block[1] = rows(-3).view(np.uint32)
    found = stats(block.view(np.float32))
    assert (found.smallest[0], found.largest[0], found.present[0]) == (-3, 1, 32)


# The summary


def test_summary_of_columns() -> None:
    block = rows([[1, 518.67, NAN, NAN], [2, 518.67, 4, NAN], [3, 518.67, 5, NAN]])
    found = audit.summary(stats(block), None, "regression", ["a", "b", "c", "d"])
    assert (found["rows"], found["columns"]) == (3, 4)
    assert found["missing"] == {
        "count": 2,
        "columns": [  # the worst first
            {"column": 3, "name": "d", "count": 3, "share": 1.0},
            {"column": 2, "name": "c", "count": 1, "share": 1 / 3},
        ],
        "more": 0,
    }
    assert found["constant"]["columns"] == [{"column": 1, "name": "b", "value": 518.67}]
    assert found["all_missing"]["columns"] == [{"column": 3, "name": "d"}]
    assert (found["label"], found["weight"]) == (None, None)


def test_only_the_worst_of_many_columns_are_listed() -> None:
    block = np.ones((200, 120), np.float32)
    for column in range(60):
        block[: column + 1, column] = NAN
    found = audit.summary(stats(block), None, "regression")["missing"]
    assert (found["count"], found["more"]) == (60, 10)
    assert [entry["column"] for entry in found["columns"]] == list(range(59, 9, -1))
    assert found["columns"][0]["name"] is None


def label(values: Any, task: str, classes: Sequence[str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = audit.summary(stats(), rows(values), task, None, classes)["label"]
    return found


def test_classes_are_counted() -> None:
    found = label([1, 0, 0, 0], "multiclass", ["cat", "dog", "cow"])
    assert found == {
        "kind": "classes",
        "classes": [
            {"class": "cat", "label": 0.0, "count": 3, "share": 0.75},
            {"class": "dog", "label": 1.0, "count": 1, "share": 0.25},
            {"class": "cow", "label": 2.0, "count": 0, "share": 0.0},
        ],
        "more": 0,
    }


@pytest.mark.parametrize("task", ["binary", "ranking"])
def test_classes_without_names(task: str) -> None:
    found = label([0.1, 2, 2], task)["classes"]
    assert [(entry["class"], entry["label"], entry["count"]) for entry in found] == [
        ("0.1", 0.1, 1),
        ("2", 2.0, 2),
    ]


def test_at_most_100_classes_are_listed() -> None:
    found = label(np.arange(130), "multiclass")
    assert (len(found["classes"]), found["more"]) == (100, 30)


def test_labels_that_are_numbers() -> None:
    assert label([3, 1, 1, NAN, 7], "regression") == {
        "kind": "number",
        "min": 1.0,
        "max": 7.0,
        "mean": 3.0,
        "standard_deviation": pytest.approx(np.sqrt(6)),
        "distinct": 3,
    }
    assert label(np.arange(1000), "regression")["distinct"] == 1000
    assert label(np.arange(1001), "regression")["distinct"] == ">1000"
    assert label(np.full(5, 1e38), "regression")["mean"] == pytest.approx(1e38)


@pytest.mark.parametrize("values", [[], [NAN]])
def test_no_label_at_all(values: list[float]) -> None:
    found = label(values, "regression")
    assert (found["min"], found["mean"], found["distinct"]) == (None, None, 0)
    assert label(values, "binary")["classes"] == []


def test_weights() -> None:
    found = audit.summary(stats(), None, "regression", weight=rows([0, 2.5, 1]))["weight"]
    assert found == {"min": 0.0, "max": 2.5, "sum": 3.5, "zeros": 1}
    assert audit.summary(stats(), None, "regression", weight=rows([]))["weight"]["min"] is None


# Copies


def test_duplicates_and_their_examples_in_the_order_of_rows() -> None:
    found = audit.duplicates(hashes([9, 5, 1, 5, 9, 5, 3]))
    assert (found.count, found.repeated, found.distinct) == (3, 2, 4)
    assert found.examples == [[0, 4], [1, 3, 5]]
    assert found.share_with_copy == 5 / 7
    assert not found.coarse


def test_duplicates_are_shown_by_a_few_examples() -> None:
    found = audit.duplicates(hashes(list(range(20)) * 9))
    assert (found.count, found.repeated, found.coarse) == (160, 20, True)
    assert found.examples == [[i, i + 20, i + 40, i + 60, i + 80] for i in range(5)]


@pytest.mark.parametrize("values", [[], [4], [1, 2, 2**64 - 1, 0]])
def test_no_duplicates(values: list[int]) -> None:
    found = audit.duplicates(hashes(values))
    assert (found.count, found.repeated, found.examples, found.coarse) == (0, 0, [], False)


def test_duplicates_far_apart_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_PIECE", 16)
    values = np.arange(1000, dtype=np.uint64)[::-1].copy()
    values[[990, 500, 999]] = values[[20, 30, 30]]
    given = values.copy()
    assert audit.duplicates(values).examples == [[20, 990], [30, 500, 999]]
    assert np.array_equal(values, given)


@pytest.mark.parametrize("piece", [2, 1 << 16])
def test_overlap(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_PIECE", piece)
    train, other = hashes([8, 6, 7, 6]), hashes([5, 6, 9, 8, 6, 0, 2**64 - 1])
    found = audit.overlap(train, other)
    assert (found.rows, found.count) == (7, 3)
    assert found.examples == [(1, 1), (0, 3), (1, 4)]
    assert audit.overlap(train, other, np.sort(train)) == found


def test_overlap_is_shown_by_a_few_examples() -> None:
    found = audit.overlap(hashes(range(50)), hashes(range(50)[::-1]))
    assert (found.count, found.examples) == (50, [(49 - i, i) for i in range(5)])


@pytest.mark.parametrize(("train", "other"), [([], [1]), ([1], []), ([], []), ([1], [2])])
def test_no_overlap(train: list[int], other: list[int]) -> None:
    found = audit.overlap(hashes(train), hashes(other))
    assert (found.count, found.examples) == (0, [])


def test_overlap_of_groups_is_by_the_text_of_ids() -> None:
    found = audit.overlap_of_groups(np.array([10, 2, 2, 7]), ["2", "10", "x", "2"])
    assert (found.groups, found.count, found.examples) == (3, 2, ["2", "10"])
    assert audit.overlap_of_groups({"a"}, {"b"}).count == 0


# The report


def test_report_of_clean_data() -> None:
    found = audit.report({"train": part([1, 2]), "validation": part([3], "validation")}, "fail")
    assert found.findings == ()
    audit.refuse(found, "fail")
    assert list(found.content) == ["version", "train", "validation", "leakage"]
    assert found.content["leakage"] == {
        "mode": "fail",
        "train": {"duplicates": {"count": 0, "share": 0.0, "distinct_rows": 2, "examples": []}},
        "validation": {"rows": {"count": 0, "share": 0.0, "examples": []}},
    }


def test_copies_within_train() -> None:
    few = [*range(1000), 7]
    audit.refuse(audit.report({"train": part(few)}, "fail"), "fail")
    assert lines(audit.report({"train": part(few)}, "fail")) == [
        "train: 1 row is an exact copy of another row (0.0999 %), for example "
        "train/a.csv row 8 and train/a.csv row 1001"
    ]
    some = [*range(1000), *range(5, 40)]
    assert lines(audit.report({"train": part(some)}, "warn")) == [
        "WARNING: train: 35 rows are exact copies of another row (3.38 %), for example "
        "train/a.csv row 6 and train/a.csv row 1001"
    ]


def test_rows_shared_with_train() -> None:
    parts = {"train": part(range(100)), "validation": part([200, 201, 9, 3], "validation")}
    found = audit.report(parts, "warn")
    assert found.leaks == found.findings
    assert lines(found) == [
        "WARNING: validation: 2 of 4 rows (50 %) also stand in train, for example "
        "validation/a.csv row 3 and train/a.csv row 10"
    ]
    assert found.content["leakage"]["validation"]["rows"]["examples"] == [
        ["train/a.csv row 10", "validation/a.csv row 3"],
        ["train/a.csv row 4", "validation/a.csv row 4"],
    ]


def test_one_shared_row_is_a_warning_where_train_repeats_nothing() -> None:
    parts = {"train": part(range(9000)), "test": part([5, *range(9000, 14000)], "test")}
    assert lines(audit.report(parts, "warn")) == [
        "WARNING: test: 1 of 5,001 rows (0.02 %) also stands in train, for example "
        "test/a.csv row 1 and train/a.csv row 6"
    ]


def test_few_shared_rows_are_none_where_train_repeats_as_many() -> None:
    train = part([*range(1000), 0, 1])
    shared = {"train": train, "validation": part([5, *range(2000, 2299)], "validation")}
    found = lines(audit.report(shared, "warn"))[1]
    assert found.startswith("validation: 1 of 300 rows (0.333 %) also stands in train")
    assert found.endswith(", no more than copies within train explain")
    twice = {"train": train, "validation": part([5, 6, 7, *range(2000, 2297)], "validation")}
    assert lines(audit.report(twice, "warn"))[1].startswith("WARNING: validation: 3 of 300 rows")


def test_oversampling_before_the_split_is_a_warning() -> None:
    # The rarer class repeated, and only then split: train repeats itself as much.
    train = part([*range(900), *[5000, 5001, 5002] * 100])
    found = lines(audit.report({"train": train, "validation": part([7000, 5000] * 9)}, "warn"))
    assert found[1].startswith("WARNING: validation: 9 of 18 rows (50 %) also stand in train")


def test_coarse_rows_are_no_warning() -> None:
    parts = {"train": part([0, 1, 2, 3] * 5), "validation": part([0, 3, 3], "validation")}
    why = "; copies are to be expected, as only 4 of train's 20 rows differ"
    assert lines(audit.report(parts, "warn")) == [
        "train: 16 rows are exact copies of another row (80 %), for example "
        f"train/a.csv row 1 and train/a.csv row 5{why}",
        "validation: 3 of 3 rows (100 %) also stand in train, for example "
        f"validation/a.csv row 1 and train/a.csv row 1{why}",
    ]


def test_shared_groups() -> None:
    parts = {
        "train": part(None, groups=["a", "b", "c", "d"]),
        "validation": part(None, "validation", groups=["b", "x"]),
        "test": part(None, "test", groups=np.arange(20)),
    }
    found = audit.report(parts, "warn")
    assert lines(found) == ["WARNING: validation: 1 of 2 groups also in train: 'b'"]
    assert found.content["leakage"]["test"] == {
        "groups": {"count": 0, "share": 0.0, "examples": []}
    }
    same = {"train": part(None, groups=range(12)), "test": part(None, groups=range(12))}
    assert lines(audit.report(same, "warn")) == [
        "WARNING: test: all 12 groups also in train: "
        "'0', '1', '2', '3', '4', '5', '6', '7' and 4 more"
    ]


def test_leakage_that_fails_says_all_of_it_in_one_line() -> None:
    parts = {
        "train": part([*range(5), 0], groups=["a"]),
        "validation": part([0], "validation", groups=["a"]),
        "test": part([9, 1], "test"),
    }
    found = audit.report(parts, "fail")
    audit.refuse(found, "warn")
    with pytest.raises(DataError) as caught:
        audit.refuse(found, "fail")
    assert caught.value.cause == (
        "validation: 1 of 1 rows (100 %) also stands in train, for example "
        "validation/a.csv row 1 and train/a.csv row 1; "
        "validation: all 1 group also in train: 'a'; "
        "test: 1 of 2 rows (50 %) also stands in train, for example "
        "test/a.csv row 2 and train/a.csv row 2"
    )
    assert "leakage=warn" in caught.value.remedy


def test_leakage_that_is_to_be_ignored() -> None:
    parts = {"train": part([1, 1], groups=["a"]), "test": part([1], groups=["a"])}
    found = audit.report(parts, "ignore")
    assert found.findings == ()
    assert found.content["leakage"] == {"mode": "ignore"}


def test_findings_on_columns() -> None:
    block = rows([[1, NAN, *range(10)]] * 2)
    named = audit.summary(stats(block), None, "regression", [f"c{i}" for i in range(12)])
    bare = audit.summary(stats(block[:, 1:3]), None, "regression")
    parts = {"train": part(None, summary=named), "test": part(None, summary=bare)}
    assert lines(audit.report(parts, "warn")) == [
        "train: 11 columns are constant: 'c0', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8' and 3 more",
        "train: 1 column is missing in every row: 'c1'",
        "test: 1 column is constant: column 1",
        "test: 1 column is missing in every row: column 0",
    ]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1e-9, "below 0.01 %"), (0.00157, "0.157 %"), (0.9999, "99.9 %"), (1, "100 %")],
)
def test_percent(share: float, text: str) -> None:
    assert audit._percent(share) == text


# The file


def test_written_as_strict_json(tmp_path: Path) -> None:
    block = rows([[NAN, np.inf, 0.1]])
    summary = audit.summary(stats(block), rows([np.inf]), "regression", ["ä", "b\udcff", "c"])
    report = audit.report({"train": part([1], summary=summary)}, "warn")
    audit.write(tmp_path / "output" / "data", report)
    file = tmp_path / "output" / "data" / "data_report.json"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    text = file.read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert found["version"] == 1
    assert [entry["value"] for entry in found["train"]["constant"]["columns"]] == [None, 0.1]
    assert '"ä"' in text


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    report = audit.report({"train": part([1])}, "warn")
    (tmp_path / "data").write_text("a file")
    with pytest.raises(PlatformError, match=r"data_report\.json"):
        audit.write(tmp_path / "data", report)
    (tmp_path / "full" / "data_report.json").mkdir(parents=True)  # cannot be replaced by a file
    with pytest.raises(PlatformError, match=r"data_report\.json"):
        audit.write(tmp_path / "full", report)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["data_report.json"]


# Real data


def encoded(frame: pd.DataFrame) -> Floats:
    """Numbers as they are, text as the numbers of its categories; missing is nan."""
    columns = [
        frame[name]
        if pd.api.types.is_numeric_dtype(frame[name])
        else frame[name].astype("category").cat.codes.replace(-1, np.nan)
        for name in frame
    ]
    return np.ascontiguousarray(np.column_stack(columns), np.float32)


def test_adult(shared_data: Path) -> None:
    with gzip.open(shared_data / "adult" / "adult-train.csv.gz", "rt") as file:
        frame = pd.read_csv(file, header=None, na_values="?", skipinitialspace=True)
    values = encoded(frame)
    label, features = values[:, -1].copy(), values[:, :-1]
    held = np.arange(len(values)) % 5 == 0

    summary = audit.summary(stats(features), label, "binary", classes=["<=50K", ">50K"])
    assert summary["rows"] == 32_561
    assert {e["column"]: e["count"] for e in summary["missing"]["columns"]} == {
        1: 1836,
        6: 1843,
        13: 583,
    }
    assert [(e["class"], e["count"]) for e in summary["label"]["classes"]] == [
        ("<=50K", 24_720),
        (">50K", 7841),
    ]

    found = rowhash.dense(features, label)
    assert audit.duplicates(found).count == int(frame.duplicated().sum()) > 20
    shared = frame[held].merge(frame[~held].drop_duplicates(), how="inner")
    assert audit.overlap(found[~held], found[held]).count == len(shared) > 0

    parts = {
        "train": Part(summary, origin("train"), found[~held]),
        "validation": Part(summary, origin("validation"), found[held]),
    }
    assert [f.warning for f in audit.report(parts, "warn").findings] == [False, False]


def test_cmapss(shared_data: Path) -> None:
    with gzip.open(shared_data / "cmapss" / "train_FD001.txt.gz", "rt") as file:
        frame = pd.read_csv(file, header=None, sep=r"\s+")
    values = encoded(frame)
    constant = [i for i in frame if frame[i].nunique() == 1]
    assert stats(values[:7000], values[7000:]).constant.tolist() == constant != []
    # Split by row, as one should not: every engine stands in both.
    units = frame[0].to_numpy()
    parts = {
        "train": Part(audit.summary(stats(), None, "regression"), str, groups=units[::2]),
        "validation": Part(audit.summary(stats(), None, "regression"), str, groups=units[1::2]),
    }
    with pytest.raises(DataError, match="all 100 groups also in train"):
        audit.refuse(audit.report(parts, "fail"), "fail")


# Folds


class Halves:
    """The first rows in fold 0, the others in fold 1."""

    strategy = "kfold"
    folds = 2
    repeats = 3

    def __init__(self, *numbers: int) -> None:
        self._numbers = np.array(numbers, np.int32)

    def held_out(self, repeat: int, fold: int) -> Any:
        return np.flatnonzero(self._numbers == fold)

    def training(self, repeat: int, fold: int) -> Any:
        return np.flatnonzero(self._numbers != fold)

    def numbers(self, repeat: int) -> Any:
        return self._numbers


class OneSplit(Halves):
    """Random splits, which have no fold of each row."""

    strategy = "shuffle"

    def numbers(self, repeat: int) -> None:
        return None


def of_folds(division: Halves, values: Any, leakage: str = "warn", **more: Any) -> audit.Report:
    given: dict[str, Any] = {"task": "regression", "label": None, "origin": origin("train")}
    return audit.folds(division, hashes=hashes(values), leakage=leakage, **(given | more))


def test_folds_of_clean_data() -> None:
    found = of_folds(
        Halves(0, 0, 1, 1, 0),
        range(5),
        task="binary",
        label=rows([0, 1, 1, 1, 0]),
        classes=["no", "yes"],
        group=np.array([0, 0, 1, 2, 0]),
        group_names=("a", "b", "c"),
    )
    assert lines(found) == []
    entry = found.content["folds"]
    first, second = entry.pop("first_repeat")
    assert entry == {
        "strategy": "kfold",
        "folds": 2,
        "repeats": 3,
        "more": 0,
        "groups": {"count": 0, "share": 0.0, "examples": []},
        "rows": {"count": 0, "share": 0.0, "examples": []},
    }
    assert (first["fold"], first["training_rows"], first["held_out_rows"]) == (0, 2, 3)
    assert [(c["class"], c["count"]) for c in first["label"]["classes"]] == [("no", 2), ("yes", 1)]
    assert [(c["class"], c["count"]) for c in second["label"]["classes"]] == [("no", 0), ("yes", 2)]


def test_labels_that_are_numbers_have_a_mean_in_each_fold() -> None:
    found = of_folds(Halves(0, 0, 1), range(3), label=rows([1, 2, 5]))
    assert [f["label"]["mean"] for f in found.content["folds"]["first_repeat"]] == [1.5, 5]


def test_groups_in_several_folds() -> None:
    grouped: dict[str, Any] = {
        "group": np.array([1, 1, 0, 2, 1, 0]),
        "group_names": ("b", "aa", "c", "unused"),
    }
    found = of_folds(Halves(0, 1, 1, 0, -1, 0), range(6), **grouped)
    assert lines(found) == [
        "WARNING: folds: 2 of 3 groups stand in more than one fold, because cv_strategy=kfold "
        "does not look at groups: 'b', 'aa'"
    ]
    assert found.content["folds"]["groups"] == {
        "count": 2,
        "share": 2 / 3,
        "examples": ["b", "aa"],
    }
    with pytest.raises(DataError, match="2 of 3 groups") as caught:
        audit.refuse(found, "fail")
    assert caught.value.remedy == (
        "Set cv_strategy=group, which keeps the rows of a group together, or set leakage=warn "
        "to train all the same."
    )
    assert of_folds(Halves(0, 1), range(2), "ignore", **grouped).findings == ()


def test_copies_in_several_folds() -> None:
    # 7 stands in both folds, 8 twice in the same one.
    found = of_folds(Halves(0, 0, 0, 1, 0, 1), [7, 8, 8, 7, 1, 2])
    assert lines(found) == [
        "WARNING: folds: 2 of 6 rows (33.3 %) have an exact copy in another fold, for example "
        "train/a.csv row 1 and train/a.csv row 4"
    ]
    assert found.content["folds"]["rows"] == {
        "count": 2,
        "share": 2 / 6,
        "examples": [["train/a.csv row 1", "train/a.csv row 4"]],
    }
    audit.refuse(found, "fail")  # copies are no leak of a group
    split = of_folds(OneSplit(0, 1, 1, 1, 1, 1), [7, 8, 8, 7, 1, 2])
    assert "on the other side of the split, for example" in split.findings[0].text


def test_few_or_expected_copies_in_several_folds_are_no_warning() -> None:
    many = np.arange(400)
    many[399] = 0
    half = np.repeat([0, 1], 200).tolist()
    assert [f.warning for f in of_folds(Halves(*half), many).findings] == [False]
    coarse = of_folds(Halves(0, 0, 1, 1), [1, 1, 1, 1])
    assert [f.warning for f in coarse.findings] == [False]
    assert "copies are to be expected" in coarse.findings[0].text


def test_at_most_100_folds_are_listed() -> None:
    division = Halves(*range(120))
    division.folds = 120
    entry = of_folds(division, range(120)).content["folds"]
    assert (len(entry["first_repeat"]), entry["more"]) == (100, 20)


def test_what_is_found_of_folds_joins_the_report(tmp_path: Path) -> None:
    parts = {"train": part([0, 1], groups=["a"]), "test": part([1], "test", groups=["a"])}
    grouped: dict[str, Any] = {"group": np.array([0, 0]), "group_names": ("a",)}
    whole = audit.report(parts, "fail").with_folds(
        of_folds(Halves(0, 1), [0, 1], "fail", **grouped)
    )
    audit.write(tmp_path, whole)
    written = json.loads((tmp_path / "data_report.json").read_text())
    assert written["folds"]["groups"]["count"] == 1
    assert "train" in written
    assert len(whole.findings) == 3
    with pytest.raises(DataError) as caught:
        audit.refuse(whole, "fail")
    assert "1 of 1 group stands in more than one fold" in caught.value.cause
    assert caught.value.remedy == (
        "Split the data so that no row and no group of train stands in another channel. "
        "Set cv_strategy=group, which keeps the rows of a group together, or set leakage=warn "
        "to train all the same."
    )
