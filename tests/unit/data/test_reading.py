"""From files to one matrix: parts, categories, files that belong together, the fingerprint."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from treeline.data import matrix, reading
from treeline.data.channel import Dataset, resolve
from treeline.data.matrix import Matrix, Schema
from treeline.data.reading import Limits
from treeline.data.records import Csr, Floats, Records
from treeline.data.storage import is_spooled
from treeline.errors import DataError, ResourceError
from treeline.hyperparameters import DataOptions
from treeline.opt_ml import Channel

CONTENT_TYPES = {
    "csv": "text/csv",
    "parquet": "application/x-parquet",
    "libsvm": "text/libsvm",
    "npz": "application/x-npz",
}


def dataset(root: Path, role: str = "train", **options: Any) -> Dataset:
    """The files of a folder, in the format that their ending says."""
    [kind] = {path.suffix[1:] for path in root.rglob("*.*") if path.is_file()}
    channels = {role: Channel(role, root, CONTENT_TYPES[kind])}
    channels.setdefault("train", channels[role])
    return resolve(channels, DataOptions(**options)).datasets[role]


def read(
    root: Path,
    role: str = "train",
    schema: Schema | None = None,
    limits: Limits = Limits(),  # noqa: B008
    threads: int = 1,
    **options: Any,
) -> Matrix:
    data = dataset(root, role, **options)
    return reading.read(data, DataOptions(**options), threads, schema=schema, limits=limits)


def refused(root: Path, role: str = "train", schema: Schema | None = None, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(root, role, schema, **options)
    assert "\n" not in caught.value.cause
    assert caught.value.remedy
    return caught.value.cause


def put(root: Path, **files: str) -> Path:
    """Write CSV files; the names get their ending here."""
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.csv").write_text(text)
    return root


def put_parquet(root: Path, name: str = "a", /, *, group: int = 1 << 20, **columns: Any) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), root / f"{name}.parquet", row_group_size=group)
    return root


def put_libsvm(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.libsvm").write_text(text)
    return root


def put_npz(root: Path, name: str = "a", /, **arrays: Any) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / f"{name}.npz", **arrays)
    return root


def as_csv(rows: Any) -> str:
    lines = (",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in rows)
    return "\n".join(lines) + "\n"


def random_rows(count: int, columns: int) -> Floats:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, columns)).astype(np.float32)
    rows[:, 1:][rng.random((count, columns - 1)) < 0.1] = np.nan
    return rows


def floats(values: Floats | Csr | None) -> Any:
    """Values as a list; missing is None."""
    assert isinstance(values, np.ndarray)
    found = values.astype(object)
    found[np.isnan(values)] = None
    return found.tolist()


def texts(found: Matrix, feature: int) -> list[str | None]:
    """The texts that a feature's codes stand for."""
    names = found.schema.categories[feature]
    assert isinstance(found.features, np.ndarray)
    return [None if np.isnan(code) else names[int(code)] for code in found.features[:, feature]]


# --- rows and parts


def test_label_first_then_features(tmp_path: Path) -> None:
    found = read(put(tmp_path, a="1,2,3\n4,,6\n"))
    assert found.rows == 2
    assert floats(found.label) == [1, 4]
    assert floats(found.features) == [[2, 3], [None, 6]]
    assert (found.weight, found.group, found.lower, found.upper, found.margin) == (None,) * 5
    assert isinstance(found.features, np.ndarray)
    assert found.features.dtype == np.float32
    assert found.features.flags.c_contiguous
    assert found.features.nbytes == 16  # the room to grow is given back
    assert (found.schema.features, found.schema.feature_names) == (2, None)
    assert found.schema.origin == "train/a.csv"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_part_by_its_column(tmp_path: Path, kind: str) -> None:
    columns: Any = {
        "m2": [0.5, -0.5], "q": ["u", "v"], "x": [1.0, 2.0], "y": [3.0, 4.0], "w": [0.5, 2.0],
        "m1": [7.0, 8.0], "id": ["i1", "i2"], "z": [5.0, 6.0],
    }  # fmt: skip
    if kind == "csv":
        rows = zip(*columns.values(), strict=True)
        lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
        put(tmp_path, a="\n".join(lines) + "\n")
    else:
        put_parquet(tmp_path, **columns)
    found = read(
        tmp_path,
        label_column="y",
        weight_column="w",
        group_column="q",
        base_margin_column=("m1", "m2"),
        ignore_columns=("id",),
    )
    assert floats(found.label) == [3, 4]
    assert floats(found.weight) == [0.5, 2]
    assert found.group is not None
    assert (found.group.tolist(), found.group_names) == ([0, 1], ("u", "v"))
    assert floats(found.margin) == [[7, 0.5], [8, -0.5]]
    assert floats(found.features) == [[1, 5], [2, 6]]
    assert found.schema.feature_names == ("x", "z")


def test_bounds_instead_of_a_label(tmp_path: Path) -> None:
    found = read(
        put_parquet(tmp_path, lo=[1.0, 2.0], x=[5.0, 6.0], hi=[3.0, None]),
        label_lower_bound_column="lo",
        label_upper_bound_column="hi",
    )
    assert found.label is None
    assert floats(found.lower) == [1, 2]
    assert floats(found.upper) == [3, np.inf]
    assert floats(found.features) == [[5], [6]]


def test_weights_of_the_second_column(tmp_path: Path) -> None:
    found = read(put(tmp_path, a="1,0.5,3\n4,0,6\n"), csv_weights=True)
    assert floats(found.weight) == [0.5, 0]
    assert floats(found.features) == [[3], [6]]


def test_a_growing_matrix_is_the_table_that_was_written(tmp_path: Path) -> None:
    rows = random_rows(60_000, 9)
    rows[:, 0] = np.arange(60_000)
    put(tmp_path, a=as_csv(rows[:50_000]), b=as_csv(rows[50_000:]))
    assert (tmp_path / "a.csv").stat().st_size > 4 << 20  # so it came in several batches
    for threads in (1, 2):
        found = read(tmp_path, threads=threads)
        assert found.label is not None
        assert np.array_equal(found.label, rows[:, 0])
        assert isinstance(found.features, np.ndarray)
        assert np.array_equal(found.features, rows[:, 1:], equal_nan=True)
        assert found.stats.missing.tolist() == np.isnan(rows[:, 1:]).sum(axis=0).tolist()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Beyond the matrix itself there is room for a few blocks, not for the file once more."""
    line = ",".join(["1.2345678"] * 20) + "\n"
    (tmp_path / "a.csv").write_text(line * 150_000)
    size, values = (tmp_path / "a.csv").stat().st_size, 150_000 * 20 * 4
    assert size > 28 << 20
    code = f"""
from pathlib import Path
from treeline.data import csv, reading
csv._BLOCK = 1 << 16
from treeline.data.channel import resolve
from treeline.hyperparameters import DataOptions
from treeline.opt_ml import Channel
options = DataOptions()
channels = {{"train": Channel("train", Path({str(tmp_path)!r}), "text/csv")}}
data = resolve(channels, options).datasets["train"]
def peak():  # getrusage's would begin with what the parent process had
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
before = peak()
found = reading.read(data, options, 1)
assert found.rows == 150_000
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown = int(done.stdout)
    assert grown < values * 9 / 8 + (25 << 20), f"{grown / 2**20:.0f} MiB"


def test_check_is_called_between_batches_and_may_stop_the_reading(tmp_path: Path) -> None:
    data = dataset(put(tmp_path / "t", a="1,2\n", b="3,4\n", c="5,6\n"))
    sparse = dataset(put_libsvm(tmp_path / "s", a="1 1:2\n", b="3 1:4\n"))
    calls: list[int] = []
    reading.read(data, DataOptions(), 1, check=lambda: calls.append(1))
    assert len(calls) >= 3
    calls.clear()
    reading.read(sparse, DataOptions(), 1, check=lambda: calls.append(1))
    assert len(calls) >= 2

    def stop() -> None:
        raise KeyboardInterrupt

    for each in (data, sparse):
        with pytest.raises(KeyboardInterrupt):
            reading.read(each, DataOptions(), 1, check=stop)


# --- several files


def test_files_are_matched_by_name(tmp_path: Path) -> None:
    put(tmp_path, a="y,q,x,z,w\n1,7,2,b,0.5\n", b="w,z,x,extra,y,q\n2,a,3,9,4,7\n")
    columns: Any = {"label_column": "y", "weight_column": "w", "group_column": "q"}
    assert refused(tmp_path, **columns) == (
        "train/b.csv: its columns are not those of train/a.csv: 'extra' not known there"
    )
    put(tmp_path, b="w,z,x,y,q\n2,a,3,4,7\n")
    found = read(tmp_path, **columns)
    assert floats(found.label) == [1, 4]
    assert floats(found.weight) == [0.5, 2]
    assert floats(found.features) == [[2, 1], [3, 0]]
    assert texts(found, 1) == ["b", "a"]
    assert found.group_names == ("7",)


def test_ragged_files_are_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path / "width", a="1,2,3\n", b="1,2\n")
    assert refused(tmp_path / "width") == "train/b.csv: has 2 columns, train/a.csv has 3"
    put_parquet(tmp_path / "name", "a", y=[1.0], age=[2.0])
    put_parquet(tmp_path / "name", "b", y=[1.0], sex=[2.0])
    assert refused(tmp_path / "name") == (
        "train/b.parquet: its columns are not those of train/a.parquet: 'age' missing and 'sex' "
        "not known there"
    )


def test_npz_files_with_other_names_are_refused(tmp_path: Path) -> None:
    put_npz(tmp_path, "a", X=[[1.0, 2.0]], y=[1.0], feature_names=["age", "sex"])
    put_npz(tmp_path, "b", X=[[1.0, 2.0]], y=[1.0], feature_names=["sex", "age"])
    assert refused(tmp_path) == (
        "train/b.npz: feature 'sex' stands where earlier files of the channel have 'age'"
    )
    put_npz(tmp_path, "b", X=[[1.0, 2.0, 3.0]], y=[1.0])
    assert refused(tmp_path) == "train/b.npz: rows of 3 features after rows of 2"
    put_npz(tmp_path, "b", X=[[1.0, 2.0]], y=[1.0])
    assert read(tmp_path).schema.feature_names == ("age", "sex")


def test_text_in_a_column_of_numbers_is_refused_in_a_later_file(tmp_path: Path) -> None:
    put(tmp_path, a="1,2\n3,4\n", b="1,2\n3,x\n")
    assert refused(tmp_path).startswith("train/b.csv")
    assert "column 1" in refused(tmp_path)
    assert "row 2" in refused(tmp_path)


def test_types_may_differ_where_the_numbers_do_not(tmp_path: Path) -> None:
    put_parquet(tmp_path, "a", y=[1.0], x=[2])
    put_parquet(tmp_path, "b", y=[True], x=[2.5])
    assert floats(read(tmp_path).features) == [[2], [2.5]]


def test_files_and_not_one_row(tmp_path: Path) -> None:
    for name in "ab":
        put_parquet(tmp_path, name, y=pa.array([], pa.float64()), x=pa.array([], pa.float64()))
    assert refused(tmp_path).startswith("Channel train: 2 file(s) and not one row")


def test_a_file_without_rows_among_others_is_nothing(tmp_path: Path) -> None:
    put_parquet(tmp_path, "a", y=pa.array([], pa.float64()), x=pa.array([], pa.string()))
    put_parquet(tmp_path, "b", y=[1.0, 2.0], x=["u", "t"])
    found = read(tmp_path)
    assert texts(found, 0) == ["u", "t"]
    assert found.origin.of(1) == "train/b.parquet row 2"


def test_an_infinite_value_is_named_with_file_row_and_feature(tmp_path: Path) -> None:
    put(tmp_path / "csv", a="1,2,,4\n", b="1,nan,3,-inf\n1,2,3,inf\n")
    assert refused(tmp_path / "csv") == (
        "train/b.csv row 1: feature 2 (counted from 0, the label aside) is infinite; "
        "2 such row(s) of 3"
    )
    put_parquet(tmp_path / "parquet", y=[1.0, 2.0], age=[3.0, 1e39])
    assert refused(tmp_path / "parquet") == (
        "train/a.parquet row 2: feature 0 'age' (counted from 0, the label aside) is infinite; "
        "1 such row(s) of 2"
    )


def test_missing_labels_are_refused_with_the_row(tmp_path: Path) -> None:
    put(tmp_path, a="1,2\n", b="3,4\n,5\n")
    assert refused(tmp_path) == (
        "train/b.csv row 2: the label is missing or infinite (nan); 1 such row(s) of 3"
    )


def test_notes_of_the_reader_are_kept(tmp_path: Path) -> None:
    found = read(put(tmp_path, a="y,x\n1,2\n"))
    assert [note for note in found.notes if "header" in note or "first row" in note]


# --- categories


def test_categories_are_sorted_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    column = ["m", "b", None, "z", "a", "b"]
    rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    turned = put_parquet(tmp_path / "2", y=rows[::-1], x=column[::-1], n=rows[::-1])
    for root in (put_parquet(tmp_path / "1", y=rows, x=column, n=rows), turned):
        found = read(root)
        assert found.schema.categories == {0: ("a", "b", "m", "z")}
        by_label = dict(zip(floats(found.label), texts(found, 0), strict=True))
        assert by_label == dict(zip(rows, column, strict=True))
        assert floats(found.features[:, 1]) == floats(found.label)  # type: ignore[index]


def test_categories_of_several_files_and_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row group and file has a dictionary of its own, and some entries no row uses."""
    monkeypatch.setattr(reading, "_BLOCK_ROWS", 3)  # so that codes are moved in several blocks
    first = ["c", "c", "a", None, "d", "a", "c"]
    indices = pa.array([1, 2, 1, None], pa.int32())
    second = pa.DictionaryArray.from_arrays(indices, pa.array(["unused", "b", "a"]))
    put_parquet(tmp_path, "a", group=2, y=[float(i) for i in range(7)], x=first)
    put_parquet(tmp_path, "b", y=[7.0, 8.0, 9.0, 10.0], x=second)
    found = read(tmp_path)
    assert found.schema.categories == {0: ("a", "b", "c", "d")}
    assert texts(found, 0) == [*first, "b", "a", "b", None]


def test_numbers_may_be_categories(tmp_path: Path) -> None:
    found = read(put(tmp_path, a="1,10,x\n0,9,y\n1,10,x\n"), categorical_columns=("1",))
    assert found.schema.categories == {0: ("10", "9"), 1: ("x", "y")}
    assert texts(found, 0) == ["10", "9", "10"]


def test_categories_that_train_does_not_have_are_missing_and_noted(tmp_path: Path) -> None:
    train = read(put(tmp_path / "t", a="y,c,n\n1,a,1\n0,c,2\n"), csv_header=True)
    put(tmp_path / "v", a="y,c,n\n1,b,1\n0,c,2\n1,b,3\n1,,4\n0,d,5\n")
    found = read(tmp_path / "v", "validation", train.schema, csv_header=True)
    assert texts(found, 0) == [None, "c", None, None, None]
    assert found.schema.categories == train.schema.categories == {0: ("a", "c")}
    [note] = [note for note in found.notes if "category" in note]
    assert note == (
        "feature 0 'c': 3 of 5 rows have a category that train does not have, and are missing "
        "there: 'b', 'd'"
    )
    assert not [note for note in train.notes if "category" in note]


def test_a_column_of_ids_is_noted(tmp_path: Path) -> None:
    rows = "".join(f"{i % 2},id{i},{i}\n" for i in range(1002))
    found = read(put(tmp_path / "a", a=rows))
    assert "feature 0 has 1002 categories in 1002 rows: if it is an id, leave it out" in (
        "".join(found.notes)
    )
    assert "categories in" not in "".join(read(put(tmp_path / "b", a=rows + rows * 2)).notes)
    again = read(tmp_path / "a", "validation", found.schema)
    assert "categories in" not in "".join(again.notes)


def test_text_and_numbers_may_not_change_places(tmp_path: Path) -> None:
    text = read(put_parquet(tmp_path / "text", y=[1.0, 2.0], x=["a", "b"])).schema
    number = read(put_parquet(tmp_path / "number", y=[1.0, 2.0], x=[1.0, 2.0])).schema
    cause = refused(tmp_path / "text", "validation", number)
    assert "validation/a.parquet" in cause
    assert "'x'" in cause
    # Numbers where train has text are text, and no category that train has.
    found = read(tmp_path / "number", "validation", text)
    assert texts(found, 0) == [None, None]
    assert "2 of 2 rows have a category that train does not have" in found.notes[-1]


def test_an_earlier_models_columns_have_no_layout(tmp_path: Path) -> None:
    put_parquet(tmp_path, y=[1.0, 0.0], n=[1.0, 2.0], x=["a", "b"], more=["c", "d"])
    earlier = Schema(2, ("n", "x"), {1: ("b", "a")}, origin="the earlier model")
    cause = refused(tmp_path, schema=earlier)
    assert cause == "train/a.parquet: has 3 features, the earlier model has 2"
    found = read(tmp_path, schema=earlier, ignore_columns=("more",))
    assert floats(found.features) == [[1, 1], [2, 0]]  # its codes, not sorted anew
    assert found.schema.layout is not None
    wrong = Schema(2, ("n", "x"), {0: ("b", "a")}, origin="the earlier model")
    assert refused(tmp_path, schema=wrong, ignore_columns=("more",)) == (
        "train/a.parquet: feature 0 'n' holds numbers, in the earlier model text"
    )


# --- the label as text, groups


def test_a_text_label_has_classes(tmp_path: Path) -> None:
    train = read(put(tmp_path / "t", a="yes,1\nno,2\n", b="maybe,3\nno,4\n"))
    assert train.schema.classes == ("maybe", "no", "yes")
    assert floats(train.label) == [2, 1, 0, 1]
    found = read(put(tmp_path / "v", a="yes,1\nyes,2\n"), "validation", train.schema)
    assert (floats(found.label), found.schema.classes) == ([2, 2], train.schema.classes)
    put(tmp_path / "v", a="yes,1\nno,2\nperhaps,3\n")
    assert refused(tmp_path / "v", "validation", train.schema) == (
        "validation/a.csv row 3: the label is none of the classes of train ('maybe', 'no', 'yes'): "
        "'perhaps'; 1 such row(s) of 3"
    )
    assert read(put(tmp_path / "n", a="1,2\n3,4\n")).schema.classes is None


def test_a_missing_text_label_is_refused(tmp_path: Path) -> None:
    put(tmp_path, a="yes,1\n,2\nno,3\n")
    assert refused(tmp_path).startswith("train/a.csv row 2: the label is missing")


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "libsvm"])
def test_large_ids_of_groups_stay_apart(tmp_path: Path, kind: str) -> None:
    ids = [2**53, 2**53, 2**53 + 1, 2**53 + 2]
    if kind == "csv":
        put(tmp_path, a="".join(f"1,{each},5\n" for each in ids))
    elif kind == "parquet":
        put_parquet(tmp_path, y=[1.0] * 4, q=pa.array(ids, pa.int64()), x=[5.0] * 4)
    elif kind == "npz":
        put_npz(tmp_path, X=[[5.0]] * 4, y=[1.0] * 4, qid=np.array(ids, np.int64))
    else:
        put_libsvm(tmp_path, a="".join(f"1 qid:{each} 1:5\n" for each in ids))
    options: Any = {"group_column": "1"} if kind in ("csv", "parquet") else {}
    found = read(tmp_path, **options)
    assert found.group is not None
    assert found.group.tolist() == [0, 0, 1, 2]
    assert found.group_names == tuple(map(str, dict.fromkeys(ids)))
    assert matrix.group_sizes(found).tolist() == [2, 1, 1]


def test_groups_go_on_in_the_next_file_and_may_be_text(tmp_path: Path) -> None:
    put(tmp_path, a="1,q7,1\n2,q1,2\n", b="3,q1,3\n4,q9,4\n5,q7,5\n")
    found = read(tmp_path, group_column="1")
    assert found.group is not None
    assert found.group.tolist() == [0, 1, 1, 2, 0]
    with pytest.raises(DataError, match=r"train/b.csv row 3: group 'q7' occurs again"):
        matrix.group_sizes(found)


def test_a_missing_group_is_refused(tmp_path: Path) -> None:
    put(tmp_path, a="1,q1,1\n2,,2\n")
    assert refused(tmp_path, group_column="1") == (
        "train/a.csv row 2: the group is missing; 1 such row(s) of 2"
    )


# --- Hive partitions


def hive(root: Path, kind: str, **folders: Any) -> Path:
    """Two rows in each folder; _ in its name stands for =."""
    for i, (folder, label) in enumerate(folders.items()):
        place = root / folder.replace("_", "=").replace("NULL", "__HIVE_DEFAULT_PARTITION__")
        columns: Any = {"y": [label, label], "x": [float(i), float(i) + 0.5]}
        if kind == "parquet":
            put_parquet(place, **columns)
        else:
            rows = zip(*columns.values(), strict=True)
            put(place, a="y,x\n" + "".join(f"{y},{x}\n" for y, x in rows))
    return root


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_partitions_are_columns(tmp_path: Path, kind: str) -> None:
    hive(tmp_path, kind, **{"year_2020/k_b": 1, "year_2021/k_a": 2, "year_2021/k_NULL": 3})
    found = read(tmp_path, hive_partitions=True)
    assert found.schema.feature_names == ("x", "year", "k")
    assert found.schema.categories == {2: ("a", "b")}
    assert floats(found.features[:, 1]) == [2020] * 2 + [2021] * 4  # type: ignore[index]
    by_label = [*zip(floats(found.label), texts(found, 2), strict=True)]
    assert sorted(by_label, key=str) == [
        (1, "b"), (1, "b"), (2, "a"), (2, "a"), (3, None), (3, None),
    ]  # fmt: skip


def test_partitions_may_be_label_group_or_ignored(tmp_path: Path) -> None:
    big = 2**53
    hive(tmp_path, "csv", **{f"k_no/q_{big}": 1, f"k_no/q_{big + 1}": 2, f"k_yes/q_{big + 2}": 3})
    found = read(tmp_path, hive_partitions=True, label_column="k", group_column="q")
    assert found.schema.classes == ("no", "yes")
    assert floats(found.label) == [0, 0, 0, 0, 1, 1]
    assert found.group is not None
    assert found.group.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.group_names == (str(big), str(big + 1), str(big + 2))
    assert floats(found.features[:, 0]) == [1, 1, 2, 2, 3, 3]  # type: ignore[index]
    found = read(tmp_path, hive_partitions=True, ignore_columns=("k", "q"))
    assert found.schema.feature_names == ("x",)


def test_partitions_of_numbers_may_be_categories(tmp_path: Path) -> None:
    hive(tmp_path, "csv", month_10=1, month_9=2)
    found = read(tmp_path, hive_partitions=True, categorical_columns=("month",))
    assert found.schema.categories == {1: ("10", "9")}
    assert texts(found, 1) == ["10", "10", "9", "9"]


def test_partitions_follow_train(tmp_path: Path) -> None:
    hive(tmp_path / "t", "csv", k_1=1, k_b=2)
    hive(tmp_path / "v", "parquet", k_1=1)
    train = read(tmp_path / "t", hive_partitions=True)
    found = read(tmp_path / "v", "validation", train.schema, hive_partitions=True)
    assert texts(found, 1) == ["1", "1"]
    numbers = read(tmp_path / "v", hive_partitions=True).schema
    assert refused(tmp_path / "t", "validation", numbers, hive_partitions=True) == (
        "validation/k=b/a.csv: column 2 'k' is 'b' by the name of the folder, expected a number"
    )


def test_a_weight_by_folder_has_to_be_a_number(tmp_path: Path) -> None:
    hive(tmp_path, "csv", **{"w_0.5": 1, "w_2": 2})
    found = read(tmp_path, hive_partitions=True, weight_column="w")
    assert floats(found.weight) == [0.5, 0.5, 2, 2]
    hive(tmp_path, "csv", w_heavy=3)
    assert refused(tmp_path, hive_partitions=True, weight_column="w") == (
        "train/w=heavy/a.csv: column 2 'w' is 'heavy' by the name of the folder, expected a number"
    )


# --- formats without columns


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("label_column", "0"),
        ("weight_column", "0"),
        ("group_column", "0"),
        ("time_column", "0"),
        ("label_lower_bound_column", "0"),
        ("label_upper_bound_column", "0"),
        ("base_margin_column", ("0",)),
        ("ignore_columns", ("0",)),
        ("categorical_columns", ("0",)),
    ],
)
def test_columns_of_a_format_that_has_none(tmp_path: Path, option: str, value: Any) -> None:
    put_libsvm(tmp_path, a="1 1:2\n")
    cause = refused(tmp_path, **{option: value})
    assert cause == (
        f"Channel train: {option} names a column, and libsvm files have none: every row says "
        "itself what is label, weight and group"
    )


def test_sparse_rows(tmp_path: Path) -> None:
    put_libsvm(tmp_path, a="1 1:2 3:4\n0\n", b="1 5:0\n")
    found = read(tmp_path)
    assert isinstance(found.features, Csr)
    assert found.features.indptr.tolist() == [0, 2, 2, 3]
    assert found.features.values.tolist() == [2, 4, 0]
    assert found.schema.features == found.features.width == max(found.features.indices) + 1
    narrow = read(put_libsvm(tmp_path / "v", a="1 1:2\n"), "validation", found.schema)
    assert narrow.schema.features == found.schema.features  # what is not there is missing
    put_libsvm(tmp_path / "v", a="1 9:2\n")
    wide = read(tmp_path / "v", "validation", found.schema)
    with pytest.raises(DataError, match=r"validation/a.libsvm row 1: has feature 9 .* has 6 "):
        matrix.check_same_features(found.schema, wide, "validation")


def test_weights_and_groups_come_with_all_rows_or_none(tmp_path: Path) -> None:
    put_npz(tmp_path / "w", "a", X=[[1.0]], y=[1.0], weight=[2.0])
    put_npz(tmp_path / "w", "b", X=[[1.0]], y=[1.0])
    assert refused(tmp_path / "w") == (
        "train/b.npz: some rows of the channel have a weight and others have none"
    )
    put_npz(tmp_path / "q", "a", X=[[1.0]], y=[1.0])
    put_npz(tmp_path / "q", "b", X=[[1.0]], y=[1.0], qid=[2])
    assert refused(tmp_path / "q") == (
        "train/b.npz: some rows of the channel have a group and others have none"
    )


def csr(rows: list[dict[int, float]], width: int) -> Csr:
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    indices = np.array([i for row in rows for i in sorted(row)], np.int32)
    values = np.array([row[i] for row in rows for i in sorted(row)], np.float32)
    return Csr(indptr, indices, values, width)


SPARSE = [{0: 1.0, 2: 0.0}, {}, {1: 5.0}]
SAME = np.array([[1, None, 0], [None] * 3, [None, 5, None]], np.float32)


def mixed(root: Path, monkeypatch: pytest.MonkeyPatch, *blocks: Any) -> Matrix:
    """Read a channel whose reader yields these blocks of features."""
    labels = iter(range(1, 100))

    class Reader:
        notes = ("a remark",)

        def read(self, source: Any) -> Any:
            for block in blocks:
                rows = block.rows if isinstance(block, Csr) else len(block)
                label = np.array([next(labels) for _ in range(rows)], np.float32)
                yield Records(label, block)

    data = dataset(put_libsvm(root, a="1 1:2\n"))
    monkeypatch.setattr(type(data.format), "reader", lambda *_: Reader())
    return reading.read(data, DataOptions(), 1)


def test_sparse_and_dense_rows_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = mixed(tmp_path, monkeypatch, csr(SPARSE, 3), SAME)
    assert isinstance(sparse.features, Csr)
    assert sparse.features.indptr.tolist() == [0, 2, 2, 3, 5, 5, 6]
    assert sparse.features.indices.tolist() == [0, 2, 1, 0, 2, 1]
    assert sparse.features.values.tolist() == [1, 0, 5, 1, 0, 5]
    dense = mixed(tmp_path, monkeypatch, SAME, csr(SPARSE, 2))
    assert floats(dense.features) == floats(np.concatenate([SAME, SAME]))
    assert sparse.hashes.tolist() == dense.hashes.tolist()
    assert sparse.fingerprint == dense.fingerprint
    assert len({*dense.hashes.tolist()}) == 6
    assert sparse.stats.missing.tolist() == dense.stats.missing.tolist() == [4, 4, 4]
    assert sparse.notes == ("a remark",)


def test_sparse_rows_wider_than_dense_ones_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError) as caught:
        mixed(tmp_path, monkeypatch, SAME, csr([{4: 1.0}], 5))
    assert caught.value.cause == "train/a.libsvm: rows of 5 features after rows of 3"


# --- memory


def test_rows_beyond_the_budget_are_kept_in_a_file(tmp_path: Path) -> None:
    put_parquet(tmp_path, "a", y=[1.0, 2.0], x=["b", "c"], z=[1.0, None])
    put_parquet(tmp_path, "b", y=[3.0, 4.0], x=["a", None], z=[3.0, 4.0])
    plain = read(tmp_path)
    told: list[int] = []
    asked: list[int] = []

    def budget(columns: int) -> int:
        asked.append(columns)
        return 2

    found = read(tmp_path, limits=Limits(budget, told.append))
    assert (asked, told) == ([2], [2])
    assert is_spooled(found.features)
    assert not is_spooled(plain.features)
    assert floats(found.features) == floats(plain.features)
    assert found.schema == plain.schema
    assert found.hashes.tolist() == plain.hashes.tolist()
    assert found.fingerprint == plain.fingerprint


def test_sparse_rows_have_a_limit(tmp_path: Path) -> None:
    put_libsvm(tmp_path, a="1 1:2 2:3\n1 1:3\n")  # 3 values and 3 row starts of 8 bytes
    assert read(tmp_path, limits=Limits(sparse_bytes=48)).rows == 2
    with pytest.raises(ResourceError, match=r"Sparse rows need more than the 0\.0 GB"):
        read(tmp_path, limits=Limits(sparse_bytes=47))


# --- fingerprint


def test_the_fingerprint_is_of_the_values_alone(tmp_path: Path) -> None:
    rows = random_rows(60_000, 4)
    half = 30_001
    columns: Any = {f"c{i}": rows[:, i] for i in range(4)}
    put(tmp_path / "one", a=as_csv(rows))
    put(tmp_path / "two", x=as_csv(rows[:half]), y=as_csv(rows[half:]))
    put_parquet(tmp_path / "three", **columns)
    first: Any = {name: column[:half] for name, column in columns.items()}
    rest: Any = {name: column[half:].astype(np.float64) for name, column in columns.items()}
    put_parquet(tmp_path / "four", "p", group=1000, **first)
    put_parquet(tmp_path / "four", "q", **rest)
    put_npz(tmp_path / "five", X=rows[:, 1:], y=rows[:, 0])
    lines = (
        " ".join([repr(float(y)), *(f"{i}:{float(v)!r}" for i, v in enumerate(x) if v == v)])
        for y, *x in rows
    )
    put_libsvm(tmp_path / "six", a="\n".join(lines) + "\n")
    found = [
        read(tmp_path / name, threads=threads)
        for name, threads in (
            ("one", 1), ("one", 2), ("two", 1), ("three", 1), ("four", 2), ("five", 1), ("six", 1),
        )
    ]  # fmt: skip
    assert len({each.fingerprint for each in found}) == 1
    assert found[0].fingerprint.startswith("blake2b:")
    assert all(np.array_equal(each.hashes, found[0].hashes) for each in found)
    assert len({*found[0].hashes.tolist()}) > 59_000


def test_every_spelling_of_missing_has_one_fingerprint(tmp_path: Path) -> None:
    prints = {
        read(put(tmp_path / name, a=f"1,{text},2\n")).fingerprint
        for name, text in (("a", ""), ("b", "nan"), ("c", "-nan"))
    }
    put_parquet(tmp_path / "d", y=[1.0], x=[np.copysign(np.nan, -1)], z=[2.0])
    assert prints == {read(tmp_path / "d").fingerprint}


def test_a_change_anywhere_changes_the_fingerprint(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    variants = {"same": rows, "other order": rows[::-1], "one row less": rows[:-1]}
    for at in np.ndindex(4, 3):
        changed = rows.copy()
        changed[at] = np.nextafter(changed[at], np.float32(100))
        variants[f"{at}"] = changed
    missing = rows.copy()
    missing[2, 2] = np.nan
    variants["missing"] = missing
    for name, table in variants.items():
        put(tmp_path / name, a=as_csv(table))
    plain = {read(tmp_path / name).fingerprint for name in variants}
    weighted = {read(tmp_path / name, csv_weights=True).fingerprint for name in variants}
    grouped = {read(tmp_path / name, group_column="1").fingerprint for name in variants}
    margin = {read(tmp_path / name, base_margin_column=("1",)).fingerprint for name in variants}
    # What groups are called counts as well: folds are drawn by it.
    assert len(plain) == len(weighted) == len(margin) == len(grouped) == len(variants)
    # The same numbers in other roles are other data.
    every = plain | weighted | grouped | margin
    assert len(every) == sum(map(len, (plain, weighted, grouped, margin)))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("a", "b", 1),
        lambda text: text.replace(",c", ",", 1),
        lambda text: text.replace("yes", "no", 1),
    ],
)
def test_texts_count_for_the_fingerprint(tmp_path: Path, change: Callable[[str], str]) -> None:
    text = "yes,a,1\nno,b,2\nyes,b,3\nno,c,4\nno,c,4\n"
    before = read(put(tmp_path / "1", a=text)).fingerprint
    assert before != read(put(tmp_path / "2", a=change(text))).fingerprint
    halves = put(tmp_path / "3", a=text[:15], b=text[15:])
    assert before == read(halves).fingerprint


# --- the time -------------------------------------------------------------------------------

NOON = 1_704_110_400_000_000_000  # 2024-01-01T12:00:00Z in nanoseconds since 1970


def test_a_time_keeps_every_digit_in_any_format(tmp_path: Path) -> None:
    seconds = [1_700_000_003, 1_700_000_001, 1_700_000_002]
    text = "y,t,a\n" + "".join(f"1,{t},5\n" for t in seconds)
    options: dict[str, Any] = {"label_column": "y", "time_column": "t"}
    found = [read(put(tmp_path / "csv", a=text), **options)]
    for name, type_ in (("int", pa.int64()), ("double", pa.float64()), ("text", pa.string())):
        column = pa.array([*map(str, seconds)] if name == "text" else seconds, type_)
        root = put_parquet(tmp_path / name, y=[1, 1, 1], t=column, a=[5, 5, 5])
        found.append(read(root, **options))
    for each in found:
        assert each.time is not None
        assert (str(each.time.dtype), each.time.tolist()) == ("int64", seconds)
        assert each.schema.feature_names == ("a",)
        assert each.fingerprint == found[0].fingerprint
    other = read(put(tmp_path / "other", a=text.replace("003", "004")), **options)
    assert other.fingerprint != found[0].fingerprint
    assert (other.hashes == found[0].hashes).all()  # it says nothing about what is learned


def test_dates_of_any_format(tmp_path: Path) -> None:
    options: dict[str, Any] = {"time_column": "t"}
    text = "y,t,a\n1,2024-01-01T12:00:00,5\n1,2023-12-31,6\n"
    stamps = pa.array([NOON // 1000, NOON // 1000 - 36 * 3600 * 10**6], pa.timestamp("us"))
    as_text = read(put(tmp_path / "csv", a=text), **options)
    stored = read(put_parquet(tmp_path / "p", y=[1, 1], t=stamps, a=[5, 6]), **options)
    for found in (as_text, stored):
        assert found.time is not None
        assert found.time.tolist() == [NOON, NOON - 36 * 3600 * 10**9]
    assert as_text.fingerprint == stored.fingerprint


def test_a_duration_is_no_time(tmp_path: Path) -> None:
    root = put_parquet(tmp_path, y=[1], t=pa.array([1], pa.duration("s")), a=[5])
    assert "column 1 't' (duration[s])" in refused(root, time_column="t")


def test_times_of_the_validation_data_are_of_trains_kind(tmp_path: Path) -> None:
    train = read(put(tmp_path / "t", a="y,t,a\n1,5,5\n1,6,6\n"), time_column="t")
    text = put_parquet(tmp_path / "v", y=[1], t=["2024-01-01"], a=[1.0])
    cause = refused(text, "validation", train.schema, time_column="t")
    assert "row 1, column 1 't': the time is '2024-01-01'" in cause
    numbers = put_parquet(tmp_path / "w", y=[1], t=[1_700_000_001.0], a=[1.0])
    found = read(numbers, "validation", train.schema, time_column="t")
    assert found.time is not None
    assert found.time.tolist() == [1_700_000_001]


def test_digits_are_kept_even_if_those_of_train_were_not(tmp_path: Path) -> None:
    single = pa.array([1.0, 2.0], pa.float32())
    train = read(put_parquet(tmp_path / "t", y=[1, 0], t=single, a=[5, 6]), time_column="t")
    text = put(tmp_path / "v", a="y,t,a\n1,1700000001,5\n")
    found = read(text, "validation", train.schema, time_column="t")
    assert found.time is not None
    assert found.time.tolist() == [1_700_000_001]


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ("1,NA,5\n", "b.csv row 2, column 1 't': the time is missing"),
        ("1,soon,5\n", "b.csv row 2, column 1 't': the time is 'soon'"),
    ],
)
def test_a_bad_time_is_named_with_file_and_row(tmp_path: Path, rows: str, cause: str) -> None:
    header = "y,t,a\n1,2024-01-01,5\n"
    root = put(tmp_path, a=header, b=header + rows)
    assert cause in refused(root, time_column="t")


def test_a_time_by_folder(tmp_path: Path) -> None:
    for day in ("2024-01-02", "2024-01-01"):
        put_parquet(tmp_path / f"day={day}", y=[1.0], a=[2.0])
    found = read(tmp_path, time_column="day", hive_partitions=True)
    assert found.time is not None
    assert np.argsort(found.time).tolist() == [0, 1]
    assert found.schema.feature_names == ("a",)


# --- rows without a label -------------------------------------------------------------------


def test_rows_without_a_label_are_left_out_of_everything(tmp_path: Path) -> None:
    header = "y,w,g,t,m,a,c\n"
    rows = ["1,1,p,10,0,1,u\n", "0,2,q,20,0,2,v\n", "1,4,p,40,0,4,u\n", "0,5,r,50,1,5,w\n"]
    gaps = [",9,z,30,9,9,x\n", "NA,9,z,30,9,9,x\n"]
    options: dict[str, Any] = {
        "label_column": "y", "weight_column": "w", "group_column": "g", "time_column": "t",
        "base_margin_column": ("m",), "missing_label": "drop",
    }  # fmt: skip
    clean = read(put(tmp_path / "c", a=header + "".join(rows)), **options)
    a = header + gaps[0] + rows[0] + gaps[1] + rows[1] + gaps[0]
    b = header + rows[2] + gaps[1] + rows[3]
    found = read(put(tmp_path / "d", a=a, b=b), **options)
    assert found.fingerprint == clean.fingerprint
    assert found.rows == 4
    assert floats(found.features) == floats(clean.features)
    assert floats(found.label) == [1, 0, 1, 0]
    assert found.schema.categories == {1: ("u", "v", "w")}
    assert found.group_names == ("p", "q", "r")
    note = "4 of 8 rows have no label and are left out (missing_label=drop)"
    assert found.notes[-1] == note
    assert not [line for line in clean.notes if "label" in line]
    places = [found.origin.of(row) for row in range(4)]
    assert places == ["train/a.csv row 2", "train/a.csv row 4", "train/b.csv row 1",
                      "train/b.csv row 3"]  # fmt: skip


def test_errors_name_the_row_as_the_file_has_it(tmp_path: Path) -> None:
    options: dict[str, Any] = {"missing_label": "drop"}
    assert "a.csv row 3: feature" in refused(put(tmp_path / "a", a="1,1\n,2\n1,inf\n"), **options)
    assert "a.csv row 3: the label is missing or infinite (inf)" in refused(
        put(tmp_path / "b", a="1,1\n,2\ninf,3\n"), **options
    )
    text = "y,t,a\n1,1,1\n,2,2\n1,x,3\n"
    assert "a.csv row 3, column 1 't'" in refused(
        put(tmp_path / "c", a=text), time_column="t", **options
    )


def test_a_text_label_that_is_empty_is_missing(tmp_path: Path) -> None:
    labels = ["no", "", "yes", None]
    root = put_parquet(tmp_path / "p", y=labels, a=[1.0, 2.0, 3.0, 4.0])
    train = read(root, missing_label="drop")
    assert train.schema.classes == ("no", "yes")
    assert floats(train.label) == [0, 1]
    assert floats(train.features) == [[1], [3]]
    other = put(tmp_path / "v", a="y,a\nmaybe,1\n,2\nno,3\n")
    cause = refused(other, "validation", train.schema, missing_label="drop")
    assert "none of the classes of train ('no', 'yes'): 'maybe'; 1 such row(s) of 2" in cause


def test_not_one_row_with_a_label(tmp_path: Path) -> None:
    cause = refused(put(tmp_path, a="y,a\n,1\n,2\n"), missing_label="drop")
    assert "1 file(s) and not one of their 2 rows has a label" in cause


def test_a_whole_batch_without_labels(tmp_path: Path) -> None:
    none = pa.array([None] * 4 + [1.0], pa.float64())
    root = put_parquet(tmp_path, y=none, a=[1.0, 2.0, 3.0, 4.0, 5.0], t=[1, 2, 3, 4, 5], group=2)
    found = read(root, missing_label="drop", time_column="t")
    assert floats(found.features) == [[5]]
    assert found.time is not None
    assert found.time.tolist() == [5]


def test_rows_that_say_themselves_what_they_are_may_lack_a_label(tmp_path: Path) -> None:
    root = put_libsvm(
        tmp_path / "s", a="nan:2 qid:1 0:9\n1:3 qid:1 0:1 2:2\nnan:2 qid:2 1:1\n0:1 qid:3 2:4\n"
    )
    found = read(root, missing_label="drop")
    assert isinstance(found.features, Csr)
    assert found.features.indptr.tolist() == [0, 2, 3]
    assert found.features.indices.tolist() == [0, 2, 2]
    assert found.features.values.tolist() == [1, 2, 4]
    assert floats(found.weight) == [3, 1]
    assert found.group_names == ("1", "3")
    assert found.origin.of(1) == "train/a.libsvm row 4"
    assert "the label is missing" in refused(root)
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    root = put_npz(tmp_path / "d", X=rows, y=np.array([1, np.nan, 0], np.float32))
    assert floats(read(root, missing_label="drop").features) == [[0, 1], [4, 5]]


# --- the features of a preset ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_columns_of_a_preset_are_found_by_name(tmp_path: Path, kind: str) -> None:
    table: dict[str, Any] = {
        "Tail": ["N1", "N2"], "DepTime": [900, 1000], "ArrDel15": [1.0, None], "Year": [2019, 2020],
    }  # fmt: skip
    if kind == "csv":
        put(tmp_path, a="Tail,DepTime,ArrDel15,Year\nN1,900,1,2019\nN2,1000,,2020\n")
    else:
        put_parquet(tmp_path, **table)
    found = read(
        tmp_path, label_column="ArrDel15", keep_columns=("Year", "DepTime"), missing_label="drop"
    )
    assert found.schema.feature_names == ("DepTime", "Year")
    assert floats(found.features) == [[900, 2019]]
    assert floats(found.label) == [1]
