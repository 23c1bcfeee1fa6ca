"""From files to one matrix: the rows, where they came from, their fingerprint, the refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from treeline.data import matrix
from treeline.data.channel import Dataset, resolve
from treeline.data.matrix import Floats, Matrix, Origin, Roles
from treeline.errors import DataError
from treeline.opt_ml import Channel

WEIGHTED = Roles(label=0, weight=1)


def dataset(root: Path, kind: str = "csv") -> Dataset:
    content_type = {"csv": "text/csv", "parquet": "application/x-parquet"}[kind]
    return resolve({"train": Channel("train", root, content_type)})["train"]


def read(root: Path, kind: str = "csv", roles: Roles = Roles(), threads: int = 1) -> Matrix:  # noqa: B008
    return matrix.read(dataset(root, kind), roles, threads)


def put(root: Path, **files: str) -> Path:
    """Write CSV files; the names get their ending here."""
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.csv").write_text(text)
    return root


def put_parquet(root: Path, name: str, rows: Any, **options: Any) -> None:
    root.mkdir(parents=True, exist_ok=True)
    table = pa.table({f"c{i}": column for i, column in enumerate(np.asarray(rows).T)})
    pq.write_table(table, root / f"{name}.parquet", **options)


def as_csv(rows: Any) -> str:
    lines = (",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in rows)
    return "\n".join(lines) + "\n"


def refused(root: Path, kind: str = "csv", roles: Roles = Roles()) -> DataError:  # noqa: B008
    with pytest.raises(DataError) as caught:
        read(root, kind, roles)
    return caught.value


def random_rows(count: int, columns: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, columns)).astype(np.float32)
    rows[:, 1:][rng.random((count, columns - 1)) < 0.1] = np.nan
    return rows


def test_label_first_then_features(tmp_path: Path) -> None:
    found = read(put(tmp_path, a="1,2,3\n4,,6\n"))
    assert found.rows == 2
    assert found.label.tolist() == [1, 4]
    assert np.array_equal(found.features, np.array([[2, 3], [np.nan, 6]]), equal_nan=True)
    assert (found.weight, found.feature_names) == (None, None)
    assert {found.features.dtype, found.label.dtype} == {np.dtype("float32")}
    assert found.features.flags.c_contiguous
    assert found.features.flags.owndata


def test_weights(tmp_path: Path) -> None:
    found = read(put(tmp_path, a="1,0.5,3\n4,0,6\n"), roles=WEIGHTED)
    assert found.weight is not None
    assert found.weight.tolist() == [0.5, 0]
    assert found.features.tolist() == [[3], [6]]


def test_the_label_can_be_another_column(tmp_path: Path) -> None:
    found = read(put(tmp_path, a="1,2,3\n4,5,6\n"), roles=Roles(label=2, weight=0))
    assert (found.label.tolist(), found.features.tolist()) == ([3, 6], [[2], [5]])
    assert found.weight is not None
    assert found.weight.tolist() == [1, 4]


def test_parquet_names_its_features(tmp_path: Path) -> None:
    put_parquet(tmp_path, "a", [[1.0, 2.0, 3.0]])
    assert read(tmp_path, "parquet").feature_names == ("c1", "c2")
    assert read(tmp_path, "parquet", WEIGHTED).feature_names == ("c2",)


def test_several_files_are_one_matrix_in_the_order_of_their_paths(tmp_path: Path) -> None:
    put(tmp_path, b="3,3\n", a="1,1\n2,2\n")
    put(tmp_path / "a2", z="9,9\n")
    put(tmp_path / ".hidden", z="8,8\n")
    (tmp_path / "_SUCCESS").write_text("x")
    (tmp_path / "empty.csv").write_text("")
    found = read(tmp_path)
    # a2/ before a.csv: folders are compared by name, part by part.
    order = [str(path.relative_to(tmp_path)) for path in dataset(tmp_path).files]
    assert sorted(order) == ["a.csv", "a2/z.csv", "b.csv"]
    rows = {"a.csv": [1, 2], "a2/z.csv": [9], "b.csv": [3]}
    assert found.label.tolist() == [v for name in order for v in rows[name]]


@pytest.mark.parametrize("turn", [lambda names: names, lambda names: names[::-1]])
def test_the_order_of_the_directory_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: Callable[[list[str]], list[str]]
) -> None:
    for i in range(12):
        put(tmp_path / f"d{i % 3}", **{f"p{i}": f"{i},1\n"})
    walk = os.walk

    def walked(*arguments: Any, **options: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for here, folders, names in walk(*arguments, **options):
            folders[:] = turn(sorted(folders))
            yield here, folders, turn(sorted(names))

    monkeypatch.setattr(os, "walk", walked)
    assert read(tmp_path).label.tolist() == [0, 3, 6, 9, 1, 10, 4, 7, 11, 2, 5, 8]


def test_a_growing_matrix_is_the_table_numpy_reads(tmp_path: Path) -> None:
    rows = random_rows(60_000, 9)
    rows[:, 0] = np.arange(60_000)
    put(tmp_path, a=as_csv(rows[:50_000]), b=as_csv(rows[50_000:]))
    assert (tmp_path / "a.csv").stat().st_size > 4 << 20  # so it came in several batches
    for threads in (1, 2):
        found = read(tmp_path, threads=threads)
        assert found.rows == 60_000
        assert found.features.shape == (60_000, 8)
        assert np.array_equal(found.label, rows[:, 0])
        assert np.array_equal(found.features, rows[:, 1:], equal_nan=True)
    text = (tmp_path / "a.csv").read_text().replace(",,", ",nan,").replace(",,", ",nan,")
    lines = [line + "nan" if line.endswith(",") else line for line in text.splitlines()]
    loaded = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    assert np.array_equal(found.features[:50_000], loaded[:, 1:], equal_nan=True)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Beyond the matrix itself there is room for a few blocks, not for the file once more.

    Blocks are made small here, so that a file of 28 MiB is long; by themselves they take 50 MiB.
    """
    line = ",".join(["1.2345678"] * 20) + "\n"
    (tmp_path / "a.csv").write_text(line * 150_000)
    size, values = (tmp_path / "a.csv").stat().st_size, 150_000 * 20 * 4
    assert size > 28 << 20
    code = f"""
from pathlib import Path
from treeline.data import csv, matrix
from treeline.data.channel import resolve
from treeline.opt_ml import Channel
csv._BLOCK = 1 << 16
data = resolve({{"train": Channel("train", Path({str(tmp_path)!r}), "text/csv")}})["train"]
def peak():  # getrusage's would begin with what the parent process had
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
before = peak()
found = matrix.read(data, matrix.Roles(), 1)
assert found.rows == 150_000
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown = int(done.stdout)
    assert grown < values * 9 / 8 + (20 << 20), f"{grown / 2**20:.0f} MiB"


def test_room_to_grow_is_given_back(tmp_path: Path) -> None:
    found = read(put(tmp_path, a="1,2\n"))
    assert (found.features.nbytes, found.label.nbytes) == (4, 4)


def test_check_is_called_between_batches_and_may_stop_the_reading(tmp_path: Path) -> None:
    put(tmp_path, a="1,2\n", b="3,4\n", c="5,6\n")
    calls = []
    matrix.read(dataset(tmp_path), Roles(), 1, lambda: calls.append(1))
    assert len(calls) == 3

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matrix.read(dataset(tmp_path), Roles(), 1, stop)


# --- fingerprint


def test_the_fingerprint_is_of_the_values_alone(tmp_path: Path) -> None:
    rows = random_rows(150_000, 4)
    half = 70_001
    put(tmp_path / "one", a=as_csv(rows))
    put(tmp_path / "two", x=as_csv(rows[:half]), y=as_csv(rows[half:]))
    put_parquet(tmp_path / "three", "a", rows)
    put_parquet(tmp_path / "four", "p", rows[:half], row_group_size=1000)
    put_parquet(tmp_path / "four", "q", rows[half:].astype(np.float64))
    assert (tmp_path / "one" / "a.csv").stat().st_size > 2 << 20
    prints = {
        read(tmp_path / name, kind, threads=threads).fingerprint
        for name, kind, threads in (
            ("one", "csv", 1),
            ("one", "csv", 2),
            ("two", "csv", 1),
            ("three", "parquet", 1),
            ("four", "parquet", 2),
        )
    }
    assert len(prints) == 1
    assert prints.pop().startswith("blake2b:")


def test_every_spelling_of_missing_has_one_fingerprint(tmp_path: Path) -> None:
    put(tmp_path / "a", a="1,,2\n")
    put(tmp_path / "b", a="1,nan,2\n")
    put(tmp_path / "c", a="1,-nan,2\n")
    put_parquet(tmp_path / "d", "a", [[1.0, np.copysign(np.nan, -1), 2.0]])
    found = {read(tmp_path / name).fingerprint for name in "abc"}
    assert found == {read(tmp_path / "d", "parquet").fingerprint}


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
    weighted = {read(tmp_path / name, roles=WEIGHTED).fingerprint for name in variants}
    assert len(plain) == len(weighted) == len(variants)
    assert not plain & weighted  # the same numbers in other roles are other data


def test_values_that_move_between_the_arrays_or_rows_change_the_fingerprint(tmp_path: Path) -> None:
    put(tmp_path / "wide", a="1,1,1,1,1,1\n")
    put(tmp_path / "long", a="1,1\n1,1\n1,1\n")
    put(tmp_path / "square", a="1,1,1\n1,1,1\n")
    assert len({read(tmp_path / name).fingerprint for name in ("wide", "long", "square")}) == 3


# --- what is refused


def test_files_with_different_numbers_of_columns(tmp_path: Path) -> None:
    put(tmp_path, a="1,2,3\n", b="1,2\n")
    error = refused(tmp_path)
    assert error.cause == "train/b.csv: has 2 columns, train/a.csv has 3"
    assert "same columns" in error.remedy


def test_files_with_different_names_of_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"y": [1.0], "age": [2.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"y": [1.0], "sex": [2.0]}), tmp_path / "b.parquet")
    error = refused(tmp_path, "parquet")
    assert error.cause == ("train/b.parquet: column 2 is 'sex', in train/a.parquet it is 'age'")


def test_files_of_different_types_but_one_order_of_names_are_one_table(tmp_path: Path) -> None:
    pq.write_table(pa.table({"y": [1.0], "x": [2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"y": [True], "x": [2.5]}), tmp_path / "b.parquet")
    assert read(tmp_path, "parquet").features.tolist() == [[2], [2.5]]


@pytest.mark.parametrize(
    ("kind", "roles", "text"),
    [
        ("parquet", Roles(), "has 1 column(s); training needs a label and a feature"),
        ("csv", WEIGHTED, "has 2 column(s); training needs a label, a weight and a feature"),
    ],
)
def test_too_few_columns(tmp_path: Path, kind: str, roles: Roles, text: str) -> None:
    put(tmp_path, a="1,2\n")
    pq.write_table(pa.table({"y": [1.0]}), tmp_path / "a.parquet")
    (tmp_path / f"a.{'csv' if kind == 'parquet' else 'parquet'}").unlink()
    assert refused(tmp_path, kind, roles).cause == f"train/a.{kind}: {text}"


def test_files_and_not_one_row(tmp_path: Path) -> None:
    for name in "ab":
        pq.write_table(pa.table({"y": pa.array([], pa.float64())}), tmp_path / f"{name}.parquet")
    error = refused(tmp_path, "parquet")
    assert error.cause == "Channel train: 2 files and not one row"


def test_a_file_without_rows_among_others_is_nothing(tmp_path: Path) -> None:
    empty = pa.table({"y": pa.array([], pa.float64()), "x": pa.array([], pa.float64())})
    pq.write_table(empty, tmp_path / "a.parquet")
    pq.write_table(pa.table({"y": [1.0], "x": [float("inf")]}), tmp_path / "b.parquet")
    assert refused(tmp_path, "parquet").cause.startswith("train/b.parquet row 1: ")


@pytest.mark.parametrize(
    ("rows", "roles", "cause"),
    [
        ("1,2\n,3\n", Roles(), "the label is missing or infinite (nan); 1 such row(s) of 4"),
        ("1,2\ninf,3\n", Roles(), "the label is missing or infinite (inf); 1 such row(s) of 4"),
        ("1,2\n1e39,3\n", Roles(), "the label is missing or infinite (inf); 1 such row(s) of 4"),
        ("1,2\n1,inf\n", Roles(), "feature 0 (0-based) is infinite; 1 such row(s) of 4"),
        ("1,2\n1,-inf\n", Roles(), "feature 0 (0-based) is infinite; 1 such row(s) of 4"),
        ("1,2\n1,1e300\n", Roles(), "feature 0 (0-based) is infinite; 1 such row(s) of 4"),
    ],
)
def test_values_no_objective_can_use(tmp_path: Path, rows: str, roles: Roles, cause: str) -> None:
    put(tmp_path, a="1,2\n3,\n", b=rows)
    error = refused(tmp_path, roles=roles)
    assert error.cause == f"train/b.csv row 2: {cause}"
    assert "missing is allowed in features only" in error.remedy


@pytest.mark.parametrize(("weight", "shown"), [("-1", "-1"), ("", "nan"), ("inf", "inf")])
def test_weights_that_cannot_be_used(tmp_path: Path, weight: str, shown: str) -> None:
    put(tmp_path, a="1,1,2\n", b=f"1,0,2\n1,{weight},3\n1,{weight},3\n")
    error = refused(tmp_path, roles=WEIGHTED)
    assert error.cause == (
        f"train/b.csv row 2: the weight is missing, infinite or negative ({shown}); "
        "2 such row(s) of 4"
    )


def test_weights_that_are_all_0(tmp_path: Path) -> None:
    put(tmp_path, a="1,0,2\n", b="1,0,2\n")
    error = refused(tmp_path, roles=WEIGHTED)
    assert error.cause == "train/a.csv row 1: every weight is 0"
    put(tmp_path, b="1,0.1,2\n")
    assert read(tmp_path, roles=WEIGHTED).rows == 2


def test_the_column_of_an_infinite_feature_is_named(tmp_path: Path) -> None:
    put(tmp_path, a="1,2,,4\n", b="1,nan,3,-inf\n1,inf,3,inf\n")
    assert refused(tmp_path).cause == (
        "train/b.csv row 1: feature 2 (0-based) is infinite; 2 such row(s) of 3"
    )


def test_features_that_are_all_missing_are_no_error(tmp_path: Path) -> None:
    assert np.isnan(read(put(tmp_path, a="1,,\n2,,\n")).features).all()


def test_origin_counts_rows_from_1_in_each_file() -> None:
    origin = Origin()
    for name, start in (("a", 0), ("empty", 3), ("b", 3), ("c", 5)):
        origin.add(name, start)
    assert [origin.of(row) for row in (0, 2, 3, 4, 5, 99)] == [
        "a row 1", "a row 3", "b row 1", "b row 2", "c row 1", "c row 95",
    ]  # fmt: skip
