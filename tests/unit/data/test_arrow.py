"""Arrow IPC: files and streams, alone and joined by a pipe."""

from __future__ import annotations

import io
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, ipc

from treeline.data import arrow
from treeline.data.columns import Layout, resolve
from treeline.data.source import Source
from treeline.errors import DataError
from treeline.hyperparameters.config import DataOptions

NAME = "train/a.arrow"
WRITERS = {"file": ipc.new_file, "stream": ipc.new_stream}


class Piped:
    """A source that gives no more than ``step`` bytes at a time, as a pipe may."""

    name = NAME

    def __init__(self, content: bytes, step: int = 1 << 16) -> None:
        self.inner = io.BytesIO(content)
        self.step = step

    def stream(self) -> Any:
        return self

    def read(self, size: int) -> bytes:
        return self.inner.read(min(size, self.step))

    def close(self) -> None:
        self.inner.close()


def opened(content: bytes | Path, **more: Any) -> tuple[Any, arrow.Reader]:
    reader = arrow.Reader(DataOptions(), 1)
    source: Any = Source(content, NAME) if isinstance(content, Path) else Piped(content, **more)
    return reader.open(source), reader


def batches(content: bytes | Path, options: DataOptions | None = None, **more: Any) -> list[Any]:
    table, _ = opened(content, **more)
    options = options or DataOptions(label_column="y")
    return list(table.batches(resolve(options, table.names, table.width, NAME, csv=False)))


def values(content: bytes | Path, **more: Any) -> dict[str, list[Any]]:
    read = batches(content, **more)
    return {name: [v for b in read for v in b[name].to_pylist()] for name in read[0].schema.names}


def refused(content: bytes | Path) -> DataError:
    with pytest.raises(DataError) as caught:
        batches(content)
    assert caught.value.cause.startswith(f"{NAME}: ")
    assert "\n" not in caught.value.cause
    return caught.value


def written(kind: str, *tables: Any, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    those = [t if isinstance(t, pa.Table) else pa.table(t) for t in tables]
    options = ipc.IpcWriteOptions(compression=compression, emit_dictionary_deltas=True)
    with WRITERS[kind](sink, those[0].schema, options=options) as writer:
        for table in those:
            writer.write_table(table)
    return sink.getvalue()


ONE: dict[str, list[Any]] = {"y": [1, 0, 1], "x": [0.5, None, 2.0], "t": ["a", None, "b"]}
READ: dict[str, list[Any]] = {"y": [1.0, 0.0, 1.0], "x": [0.5, None, 2.0], "t": ["a", None, "b"]}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_files_and_streams(tmp_path: Path, kind: str, compression: str | None) -> None:
    content = written(kind, ONE, compression=compression)
    (tmp_path / "a.arrow").write_bytes(content)
    table, reader = opened(tmp_path / "a.arrow")
    assert (table.names, table.width, table.rows) == (("y", "x", "t"), 3, None)
    (batch,) = table.batches(Layout(table.names, 3, label=0, features=(1, 2)))
    assert batch.schema.types == [pa.float32(), pa.float32(), pa.string()]
    assert batch.to_pydict() == READ
    assert reader.notes == []


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather_as_pandas_writes_it(tmp_path: Path, compression: Any) -> None:
    frame = pd.DataFrame({"y": [1, 0], "c": pd.Categorical(["u", "v"])})
    frame.to_feather(tmp_path / "a", compression=compression)
    (batch,) = batches(tmp_path / "a")
    assert batch.schema.field("c").type == pa.dictionary(pa.int32(), pa.string())
    assert batch.to_pydict() == {"y": [1, 0], "c": ["u", "v"]}


def test_feather_version_1_is_refused_by_name() -> None:
    content = b"FEA1" + bytes(40) + b"FEA1"
    assert refused(content).cause == f"{NAME}: is a Feather file of version 1, which is not read"
    assert "version=2" in refused(content).remedy


@pytest.mark.parametrize("kind", WRITERS)
def test_only_the_columns_asked_for_in_the_files_order(kind: str) -> None:
    content = written(kind, {"d": pa.array([0], pa.date32()), "x": [1], "y": [2], "z": [[1]]})
    options = DataOptions(label_column="y", ignore_columns=("d", "z"))
    assert values(content, options=options) == {"x": [1], "y": [2]}


@pytest.mark.parametrize("kind", WRITERS)
def test_long_batches_come_in_pieces_and_in_order(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("treeline.data.arrow.BATCH_ROWS", 100)
    y = np.arange(250) % 13
    text = pa.array((y % 7).astype(str)).dictionary_encode()
    read = batches(written(kind, {"y": y, "t": text}))
    assert [batch.num_rows for batch in read] == [100, 100, 50]
    assert [value for batch in read for value in batch["y"].to_pylist()] == y.tolist()
    assert [value for batch in read for value in batch["t"].to_pylist()] == text.to_pylist()


@pytest.mark.parametrize("kind", WRITERS)
def test_one_record_batch_is_held_at_a_time(kind: str) -> None:
    content = written(kind, *[{"y": np.arange(1000.0)}] * 20)
    table, _ = opened(content)
    seen: list[weakref.ref[Any]] = []
    for batch in table.batches(Layout(("y",), 1)):
        seen.append(weakref.ref(batch))
        assert sum(each() is not None for each in seen) <= 2
    assert len(seen) == 20


def test_dictionaries_may_grow_or_be_replaced() -> None:
    def encoded(codes: list[int], words: list[str]) -> pa.Table:
        return pa.table({"y": codes, "t": pa.DictionaryArray.from_arrays(codes, words)})

    tables = [
        encoded([0, 1], ["a", "b"]),
        encoded([2, 0], ["a", "b", "c"]),
        encoded([1, 0], ["z", "a"]),
    ]
    content = written("stream", *tables)
    assert values(content)["t"] == ["a", "b", "c", "a", "a", "z"]
    assert values(written("file", *tables[:2]))["t"] == ["a", "b", "c", "a"]


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_joined_files_and_streams_are_read_one_after_the_other(step: int) -> None:
    file, stream = written("file", ONE, ONE), written("stream", ONE)
    empty = written("file", pa.table(ONE).slice(0, 0))
    content = file + stream + empty + file + stream + stream
    assert values(content, step=step) == {name: column * 7 for name, column in READ.items()}


def test_joined_files_have_to_agree() -> None:
    first = written("file", ONE)
    other = refused(first + written("file", {"y": [1], "z": [2]})).cause
    assert "do not agree: columns 'y', 'z' after 'y', 'x', 't'" in other
    assert "column 't' as int64 after string" in (
        refused(first + written("file", ONE | {"t": [1, 2, 3]})).cause
    )


def test_a_column_called_like_the_mark_of_a_file() -> None:
    content = written("file", {"y": [1], "ARROW1": [2], "xARROW1ARROW1": [3]})
    assert content.count(b"ARROW1") > 5
    assert values(content + content) == {"y": [1, 1], "ARROW1": [2, 2], "xARROW1ARROW1": [3, 3]}


def test_a_writer_that_aligns_by_more_than_a_word() -> None:
    content = written("file", ONE)
    assert values(content[:8] + bytes(56) + content[8:]) == READ


@pytest.mark.parametrize("kind", WRITERS)
def test_every_truncation_is_refused(kind: str) -> None:
    content = written(kind, ONE, ONE)
    for kept in range(len(content)):
        error = refused(content[:kept])
        assert error.cause.startswith(f"{NAME}: cannot be read as Arrow IPC: "), kept
        assert "complete" in error.remedy


def test_a_stream_cut_between_batches_is_refused() -> None:
    """Its end looks like that of a stream whose writer left the mark out, as it may."""
    content = written("stream", ONE, ONE)
    assert ipc.open_stream(content[:-8]).read_all().num_rows == 6
    assert refused(content[:-8]).cause.endswith(
        "it ends without the end-of-stream mark, so rows may be missing"
    )


@pytest.mark.parametrize("content", [b"", b"1,2\n3,4\n" * 10, b"PAR1" * 10, b"\xff" * 50])
def test_something_else_is_refused(content: bytes) -> None:
    assert refused(content).cause.startswith(f"{NAME}: cannot be read as Arrow IPC: ")


@pytest.mark.parametrize("kind", WRITERS)
def test_bytes_behind_the_end_are_refused(kind: str) -> None:
    assert "cannot be read" in refused(written(kind, ONE) + b"\n").cause


def test_columns_that_are_damaged_are_refused() -> None:
    content = written("file", {"y": [1, 2, 3], "t": ["aa", "bb", "cc"]})
    place = content.index(np.array([0, 2, 4, 6], np.int32).tobytes())
    damaged = content[:place] + np.array([0, 2, 99, 6], np.int32).tobytes() + content[place + 16 :]
    assert "cannot be read as Arrow IPC" in refused(damaged).cause


def test_rows_are_counted_over_batches() -> None:
    stored = pa.array([b"a", b"\xff"])
    text = pa.Array.from_buffers(pa.string(), 2, stored.buffers())
    good = {"y": [1, 2], "t": ["a", "b"]}
    content = written("stream", good) + written("file", good, {"y": [1, 2], "t": text})
    with pytest.raises(DataError, match=r"a.arrow row 6: column 1 't' is not UTF-8 text"):
        batches(content)


def test_a_pandas_index_is_no_column() -> None:
    frame = pd.DataFrame({"y": [1.0, 2.0], "x": [3.0, 4.0]}, index=[5, 6])
    content = written("file", pa.Table.from_pandas(frame.iloc[::-1]).select([2, 0, 1]))
    table, reader = opened(content)
    assert table.names == ("y", "x")
    assert reader.notes == ["left out as the index of pandas: '__index_level_0__'"]
    assert values(content) == {"y": [2.0, 1.0], "x": [4.0, 3.0]}


def test_no_columns_and_no_rows() -> None:
    assert refused(written("file", pa.table({}))).cause == f"{NAME}: has no columns"
    reader = arrow.Reader(DataOptions(), 1)
    for _ in range(2):
        source: Any = Piped(written("file", pa.table({"y": [1]}).slice(0, 0)))
        assert list(reader.open(source).batches(Layout(("y",), 1))) == []
    assert reader.notes == [f"{NAME} has no rows; such files add nothing"]


def test_what_the_source_raises_is_said_as_it_is() -> None:
    class Broken(Piped):
        def read(self, size: int) -> bytes:
            if self.inner.tell() > 100:
                raise DataError("the disk", "buy one")
            return super().read(size)

    broken: Any = Broken(written("stream", ONE))
    with pytest.raises(DataError, match="the disk"):
        list(arrow.Reader(DataOptions(), 1).open(broken).batches(Layout(None, 3)))


def test_feather_functions_agree(tmp_path: Path) -> None:
    feather.write_feather(pa.table(ONE), tmp_path / "a", chunksize=2)
    assert values(tmp_path / "a") == READ
