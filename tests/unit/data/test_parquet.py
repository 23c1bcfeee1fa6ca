"""Parquet: which columns are numbers, and what becomes of them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from treeline.data import parquet
from treeline.errors import DataError


def batches(file: Path) -> list[Any]:
    return list(parquet.read(file, "train/a.parquet", 1))


def columns(folder: Path, table: Any, **options: Any) -> dict[str, list[float | None]]:
    file = folder / "a.parquet"
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), file, **options)
    read = pa.Table.from_batches(batches(file))
    assert {field.type for field in read.schema} == {pa.float32()}
    values: dict[str, list[float | None]] = read.to_pydict()
    return values


def refused(file: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        batches(file)
    assert caught.value.cause.startswith("train/a.parquet: ")
    return caught.value


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int8(), [-128, 127, None]),
        (pa.uint8(), [0, 255, None]),
        (pa.int16(), [-3, None, 5]),
        (pa.int32(), [16777217, None, -1]),
        (pa.int64(), [2**62 + 1, None, -1]),
        (pa.uint64(), [2**64 - 1, None, 0]),
        (pa.float16(), [0.5, None, -2.0]),
        (pa.float32(), [0.1, None, float("inf")]),
        (pa.float64(), [0.1, None, 1e-300]),
        (pa.bool_(), [True, None, False]),
        (pa.decimal32(5, 2), [Decimal("1.25"), None, Decimal("-0.10")]),
        (pa.decimal64(12, 2), [Decimal("1.25"), None, Decimal("-0.10")]),
        (pa.decimal128(10, 2), [Decimal("1.25"), None, Decimal("-0.10")]),
        (pa.decimal256(50, 2), [Decimal("1.25"), None, Decimal("-0.10")]),
        (pa.null(), [None, None, None]),
    ],
    ids=str,
)
def test_numbers_of_every_kind(tmp_path: Path, kind: Any, values: list[Any]) -> None:
    array = pa.array([np.float16(v) if kind == pa.float16() and v else v for v in values], kind)
    expected = [None if v is None else float(np.float32(float(v))) for v in values]
    assert columns(tmp_path, {"y": array}) == {"y": expected}


def test_double_values_beyond_single_become_infinite_for_the_matrix_to_refuse(
    tmp_path: Path,
) -> None:
    assert columns(tmp_path, {"y": [1e300, -1e300]}) == {"y": [float("inf"), float("-inf")]}


def test_row_groups_in_order(tmp_path: Path) -> None:
    values = list(range(1000))
    assert columns(tmp_path, {"y": values}, row_group_size=64) == {"y": values}
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 16


def test_a_long_row_group_comes_in_several_batches(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"y": np.arange(200_000, dtype=np.float32)}), file)
    sizes = [batch.num_rows for batch in batches(file)]
    assert (len(sizes), sum(sizes), max(sizes)) == (4, 200_000, 65_536)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_order(tmp_path: Path, threads: int) -> None:
    file = tmp_path / "a.parquet"
    table = pa.table({f"c{i}": np.arange(100_000) + i for i in range(8)})
    pq.write_table(table, file, row_group_size=10_000)
    read = pa.Table.from_batches(parquet.read(file, "a", threads))
    assert read.column_names == table.column_names
    assert read["c7"].to_pylist() == [float(np.float32(i + 7)) for i in range(100_000)]


def test_empty_row_groups_and_files_have_no_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    empty = pa.table({"y": pa.array([], pa.float64())})
    with pq.ParquetWriter(file, empty.schema) as writer:
        for table in (empty, pa.table({"y": [1.0]}), empty):
            writer.write_table(table)
    assert [batch.num_rows for batch in batches(file) if batch.num_rows] == [1]
    pq.write_table(empty, file)
    assert sum(batch.num_rows for batch in batches(file)) == 0


def test_columns_that_are_not_numbers_are_all_named_with_their_type(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    table = {
        "y": [1.0],
        "name": ["x"],
        "kind": pa.array(["a"]).dictionary_encode(),
        "when": pa.array([0], pa.timestamp("us")),
        "day": pa.array([0], pa.date32()),
        "list": [[1.0]],
        "pair": [{"a": 1}],
        "raw": [b"x"],
    }
    pq.write_table(pa.table(table), file)
    error = refused(file)
    for name, kind in (
        ("name", "string"),
        ("when", "timestamp[us]"),
        ("day", "date32[day]"),
        ("list", "list<element: double>"),
        ("pair", "struct<a: int64>"),
        ("raw", "binary"),
    ):
        assert f"{name} ({kind})" in error.cause
    assert "kind (dictionary" in error.cause
    assert ": name (" in error.cause  # and not y before it
    assert "Encode them as numbers" in error.remedy


def test_many_such_columns_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({f"c{i}": ["x"] for i in range(11)}), file)
    assert refused(file).cause.endswith("c7 (string) and 3 more")


def test_a_pandas_index_is_no_column(tmp_path: Path) -> None:
    """As in the built-in image; it would be a feature that names the row."""
    frame = pd.DataFrame({"y": [1.0, 2.0, 3.0], "x": [4.0, 5.0, 6.0]})
    file = tmp_path / "a.parquet"
    shuffled = frame.iloc[[2, 0, 1]]
    shuffled.to_parquet(file)
    assert pq.read_schema(file).names == ["y", "x", "__index_level_0__"]
    assert pa.Table.from_batches(batches(file)).to_pydict() == shuffled.to_dict("list")
    frame.set_index(pd.Index(["a", "b", "c"], name="id")).to_parquet(file)
    assert pq.read_schema(file).names == ["y", "x", "id"]
    assert pa.Table.from_batches(batches(file)).to_pydict() == frame.to_dict("list")
    frame.to_parquet(file)  # the usual index is not stored
    assert pa.Table.from_batches(batches(file)).to_pydict() == frame.to_dict("list")


@pytest.mark.parametrize("kept", [0, 3, 4, 100, -1, -8])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"y": np.arange(1000.0)}), file)
    file.write_bytes(file.read_bytes()[:kept])
    error = refused(file)
    assert error.cause.startswith("train/a.parquet: cannot be read as Parquet: ")
    assert "\n" not in error.cause
    assert "complete" in error.remedy


def test_a_file_with_damaged_pages_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"y": np.arange(1000.0)}), file)
    content = file.read_bytes()
    file.write_bytes(content[:4] + bytes(60) + content[64:])
    assert "cannot be read as Parquet" in refused(file).cause


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"1,2\n3,4\n" * 10)
    assert "cannot be read as Parquet" in refused(tmp_path / "a.parquet").cause
    assert "cannot be read as Parquet" in refused(tmp_path / "gone.parquet").cause
