"""Parquet: which columns are read, from one file and from several joined by a pipe."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from treeline.data import parquet
from treeline.data.columns import Layout, resolve
from treeline.data.source import Source
from treeline.errors import DataError
from treeline.hyperparameters.config import DataOptions

NAME = "train/a.parquet"
READ_AS = f"{NAME}: cannot be read as Parquet: "


class Spooled:
    """A source whose bytes come from a pipe: a file object, not a path."""

    name = NAME

    def __init__(self, content: bytes) -> None:
        self.content = content

    def random_access(self) -> io.BytesIO:
        return io.BytesIO(self.content)

    def watched(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def everything(width: int) -> Layout:
    return Layout(None, width, label=0, features=tuple(range(1, width)))


def table_of(
    source: Path | bytes, options: DataOptions | None = None, threads: int = 1
) -> tuple[Any, parquet.Reader]:
    reader = parquet.Reader(options or DataOptions(), threads)
    opened: Any = Spooled(source) if isinstance(source, bytes) else Source(source, NAME)
    return reader.open(opened), reader


def batches(source: Path | bytes, options: DataOptions | None = None, threads: int = 1) -> Any:
    table, _ = table_of(source, threads=threads)
    if options is None:
        return list(table.batches(everything(table.width)))
    return list(table.batches(resolve(options, table.names, table.width, NAME, csv=False)))


def values(source: Path | bytes, options: DataOptions | None = None) -> dict[str, list[Any]]:
    read: dict[str, list[Any]] = pa.Table.from_batches(batches(source, options)).to_pydict()
    return read


def refused(source: Path | bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        batches(source)
    assert caught.value.cause.startswith(NAME)
    assert "\n" not in caught.value.cause
    return caught.value


def written(table: Any, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), sink, **options)
    return sink.getvalue()


def saved(folder: Path, content: bytes) -> Path:
    (folder / "a.parquet").write_bytes(content)
    return folder / "a.parquet"


def test_names_width_and_rows_are_known_before_reading(tmp_path: Path) -> None:
    table, reader = table_of(saved(tmp_path, written({"y": [1, 2], "x": [0.5, None]})))
    assert (table.names, table.width, table.rows) == (("y", "x"), 2, 2)
    assert reader.notes == []
    (batch,) = table.batches(everything(2))
    assert batch.schema == pa.schema({"y": pa.float32(), "x": pa.float32()})
    assert batch.to_pydict() == {"y": [1.0, 2.0], "x": [0.5, None]}


def test_row_groups_in_order() -> None:
    content = written({"y": list(range(1000))}, row_group_size=64)
    assert values(content) == {"y": list(range(1000))}
    assert pq.ParquetFile(io.BytesIO(content)).num_row_groups == 16


def test_a_long_row_group_comes_in_several_batches(tmp_path: Path) -> None:
    file = saved(tmp_path, written({"y": np.arange(200_000, dtype=np.float32)}))
    sizes = [batch.num_rows for batch in batches(file)]
    assert (len(sizes), sum(sizes), max(sizes)) == (4, 200_000, 65_536)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_order(tmp_path: Path, threads: int) -> None:
    table = pa.table({f"c{i}": np.arange(100_000) + i for i in range(8)})
    file = saved(tmp_path, written(table, row_group_size=10_000))
    read = pa.Table.from_batches(batches(file, threads=threads))
    assert read.column_names == table.column_names
    assert read["c7"].to_pylist() == [float(np.float32(i + 7)) for i in range(100_000)]


def test_only_the_columns_asked_for_are_read_in_the_files_order() -> None:
    content = written({"when": pa.array([0], pa.date32()), "x": [1], "y": [2], "z": [["q"]]})
    options = DataOptions(label_column="y", ignore_columns=("when", "-1"))
    assert values(content, options) == {"x": [1], "y": [2]}


def test_a_name_with_a_dot_is_a_name() -> None:
    """Parquet writes the path of a nested column so."""
    content = written({"a.b": [1], "a": [2], "a.c": ["t"]})
    assert values(content, DataOptions(label_column="a", ignore_columns=("a.c",))) == {
        "a.b": [1],
        "a": [2],
    }


def test_text_and_dictionaries_stay_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"y": [1, 0, 1], "c": pd.Categorical(["u", None, "v"]), "t": list("abc")})
    frame.to_parquet(tmp_path / "a.parquet")
    (batch,) = batches(tmp_path / "a.parquet")
    assert batch.schema.field("c").type == pa.dictionary(pa.int32(), pa.string())
    assert pa.types.is_string(batch.schema.field("t").type)
    assert batch.to_pydict() == {"y": [1, 0, 1], "c": ["u", None, "v"], "t": ["a", "b", "c"]}


def test_rows_of_text_that_is_not_utf_8_are_counted_over_batches() -> None:
    good = pa.array([b"x"] * 70_000, pa.binary())
    bad = pa.concat_arrays([good, pa.array([None, b"\xff\xfe"], pa.binary())])
    text = pa.Array.from_buffers(pa.string(), len(bad), bad.buffers())
    error = refused(written({"y": np.zeros(len(bad)), "t": text}))
    assert error.cause == f"{NAME} row 70002: column 1 is not UTF-8 text: b'\\xff\\xfe'"


def test_empty_row_groups_add_nothing() -> None:
    sink = io.BytesIO()
    empty = pa.table({"y": pa.array([], pa.float64())})
    with pq.ParquetWriter(sink, empty.schema) as writer:
        for table in (empty, pa.table({"y": [1.0]}), empty):
            writer.write_table(table)
    assert [batch.num_rows for batch in batches(sink.getvalue())] == [1]


def test_a_file_without_rows_is_said_once() -> None:
    """Spark writes one for each partition that is empty; the matrix refuses no rows at all."""
    reader = parquet.Reader(DataOptions(), 1)
    empty: Any = Spooled(written({"y": pa.array([], pa.float64())}))
    for _ in range(2):
        table = reader.open(empty)
        assert (table.rows, list(table.batches(everything(1)))) == (0, [])
    assert reader.notes == [f"{NAME} has no rows; such files add nothing"]


def test_a_pandas_index_is_no_column(tmp_path: Path) -> None:
    """As in the built-in image; it would be a feature that names the row."""
    frame = pd.DataFrame({"y": [1.0, 2.0, 3.0], "x": [4.0, 5.0, 6.0]})
    file = tmp_path / "a.parquet"
    shuffled = frame.iloc[[2, 0, 1]]
    shuffled.to_parquet(file)
    assert pq.read_schema(file).names == ["y", "x", "__index_level_0__"]
    assert values(file) == shuffled.to_dict("list")
    table, reader = table_of(file)
    assert table.names == ("y", "x")
    assert reader.notes == ["left out as the index of pandas: '__index_level_0__'"]
    frame.set_index(pd.Index(["a", "b", "c"], name="id")).to_parquet(file)
    assert pq.read_schema(file).names == ["y", "x", "id"]
    assert values(file) == frame.to_dict("list")
    frame.to_parquet(file)  # the usual index is not stored
    assert values(file) == frame.to_dict("list")
    assert table_of(file)[1].notes == []


@pytest.mark.parametrize("kept", [0, 1, 3, 4, 100, -1, -8])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    file = saved(tmp_path, written({"y": np.arange(1000.0)})[:kept])
    error = refused(file)
    assert error.cause.startswith(READ_AS)
    assert "complete" in error.remedy


def test_a_file_with_damaged_pages_is_refused(tmp_path: Path) -> None:
    content = written({"y": np.arange(1000.0)})
    assert refused(saved(tmp_path, content[:4] + bytes(60) + content[64:])).cause.startswith(
        READ_AS
    )


def test_checksums_of_pages_are_compared() -> None:
    options = {"write_page_checksum": True, "compression": "none", "use_dictionary": False}
    content = written({"y": np.arange(1000.0)}, **options)
    place = content.index(np.float64(500).tobytes())
    damaged = content[:place] + np.float64(501).tobytes() + content[place + 8 :]
    assert refused(damaged).cause.startswith(READ_AS)


def test_a_footer_that_promises_more_rows_is_refused() -> None:
    table, _ = table_of(written({"y": [1.0]}))
    table.rows = 2
    with pytest.raises(DataError, match="has 1 rows, its footer says 2"):
        list(table.batches(everything(1)))


def test_something_else_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, b"1,2\n3,4\n" * 10)
    assert "it ends with b'1,2\\n3,4\\n'" in refused(file).cause
    assert refused(tmp_path / "gone.parquet").cause.startswith(f"{NAME}: cannot be read: ")
    head = b"GIF8" + written({"y": [1]})[4:]
    assert "it begins with b'GIF8" in refused(head).cause


def test_an_encrypted_file_is_refused_by_name() -> None:
    content = written({"y": [1]})
    assert refused(content[:-4] + b"PARE").cause == f"{NAME}: is an encrypted Parquet file"


def test_no_columns_are_refused(tmp_path: Path) -> None:
    assert refused(written(pa.table({}))).cause == f"{NAME}: has no columns"
    frame = pd.DataFrame({"id": ["a"], "k": ["b"]}).set_index(["id", "k"])
    frame.to_parquet(tmp_path / "a.parquet")
    assert "but the index of pandas" in refused(tmp_path / "a.parquet").cause


ROWS: tuple[list[int], ...] = ([1, 2, 3], [4, 5], [], list(range(2000)), [7])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"write_page_index": True},
        {"row_group_size": 100, "compression": "none", "use_dictionary": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [*itertools.permutations(range(5), 3)], ids=str)
def test_joined_files_are_read_one_after_the_other(
    tmp_path: Path, options: dict[str, Any], order: Sequence[int]
) -> None:
    content = b"".join(
        written({"y": pa.array(ROWS[i], pa.int32()), "x": pa.array(ROWS[i], pa.int64())}, **options)
        for i in order
    )
    expected = [float(row) for i in order for row in ROWS[i]]
    assert values(content) == {"y": expected, "x": expected}
    table, _ = table_of(saved(tmp_path, content))
    assert table.rows == len(expected)


def test_joined_files_of_one_size_are_not_the_first_twice() -> None:
    """What a reader that trusts the last footer makes of them."""
    content = written({"y": [1.0, 2.0]}) + written({"y": [3.0, 4.0]})
    assert pq.read_table(io.BytesIO(content)).num_rows == 2
    assert values(content) == {"y": [1.0, 2.0, 3.0, 4.0]}


def test_the_joint_in_the_data_is_no_joint() -> None:
    text = ["PAR1PAR1", "x" * 50 + "PAR1PAR1", "\x10\0\0\0PAR1PAR1"] * 20
    one = written(
        {"y": [1] * 60, "t": text},
        compression="none",
        write_page_index=True,
        store_schema=False,
    )
    assert one.count(b"PAR1PAR1") > 3
    assert values(one)["t"] == text
    assert values(one + one + one)["t"] == text * 3


def test_joined_files_have_to_agree() -> None:
    first = written({"y": [1], "x": [2]})
    assert "do not agree: columns 'y', 'z' after 'y', 'x'" in (
        refused(first + written({"y": [1], "z": [2]})).cause
    )
    assert "do not agree: column 'x' as string after int64" in (
        refused(first + written({"y": [1], "x": ["a"]})).cause
    )
    assert values(first + written({"y": [0.5], "x": [True]})) == {"y": [1, 0.5], "x": [2, 1]}


def test_a_joined_file_cut_off_is_refused() -> None:
    one = written({"y": np.arange(100.0)})
    assert refused(one + one[:-3]).cause.startswith(READ_AS)
    assert refused(one[5:] + one).cause.startswith(READ_AS)


def test_what_the_source_raises_is_said_as_it_is() -> None:
    class Broken(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise DataError("the disk", "buy one")

    broken: Any = Spooled(b"")
    broken.random_access = lambda: Broken(written({"y": [1]}))
    with pytest.raises(DataError, match="the disk"):
        parquet.Reader(DataOptions(), 1).open(broken)


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, written({"y": [1]}))
    table, _ = table_of(file)
    with file.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(DataError, match="changed while it was read"):
        list(table.batches(everything(1)))
