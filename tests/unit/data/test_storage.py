"""Rows that grow: in memory, in a file where memory ends, and sparse."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from treeline.data import storage
from treeline.data.records import Csr, Floats
from treeline.data.storage import DenseRows, Growing, SparseRows, is_spooled
from treeline.errors import ResourceError

BLOCKS = (3, 1, 5000, 2, 7)


def rows_of(count: int, width: int = 3) -> Floats:
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def filled(rows: DenseRows, blocks: tuple[int, ...] = BLOCKS) -> Floats:
    """Fill in rows block by block and return what they were."""
    every = rows_of(sum(blocks), rows.width)
    first = 0
    for count in blocks:
        block = rows.room(count)
        block[:] = every[first : first + count]
        rows.keep(block)
        first += count
    return every


def taken(rows: DenseRows, blocks: tuple[int, ...]) -> Floats:
    filled(rows, blocks)
    return rows.take()


@pytest.mark.parametrize("width", [None, 1, 4])
def test_growing(width: int | None) -> None:
    growing = Growing(np.int64, width)
    tail = () if width is None else (width,)
    every = []
    for i, count in enumerate((1, 0, 5000, 3, 10_000)):
        part = np.full((count, *tail), i, np.int64)
        growing.append(part)
        every.append(part)
    assert growing.rows == 15_004
    found = growing.take()
    assert np.array_equal(found, np.concatenate(every))
    assert found.dtype == np.int64
    assert found.nbytes == 8 * 15_004 * (width or 1)  # the room to grow is given back
    assert found.flags.owndata
    assert found.flags.c_contiguous


def test_nothing_is_a_growing_array_too() -> None:
    assert Growing(np.float32).take().shape == (0,)
    assert Growing(np.float32, 3).take().shape == (0, 3)


@pytest.mark.parametrize("budget", [None, sum(BLOCKS)])
def test_rows_in_memory(budget: int | None) -> None:
    told: list[int] = []
    rows = DenseRows(3, budget, told.append)
    every = filled(rows)
    found = rows.take()
    assert np.array_equal(found, every)
    assert not is_spooled(found)
    assert not told
    assert rows.rows == len(every)


@pytest.mark.parametrize(
    ("budget", "first"), [(0, 0), (2, 0), (3, 3), (100, 4), (5003, 4), (5012, 5006)]
)
def test_rows_in_a_file_are_the_same(
    budget: int, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told: list[int] = []
    rows = DenseRows(3, budget, told.append)
    every = filled(rows)
    found = rows.take()
    assert is_spooled(found)
    assert np.array_equal(found, every)
    assert told == [first]
    assert [*tmp_path.iterdir()] == []  # nobody sees the file, and it goes with the process
    found[1, 1] = 77  # codes are moved in place
    assert found[1, 1] == 77


def test_many_rows_are_moved_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_PIECE", 40)  # three rows and a bit
    written: list[int] = []
    write = storage._write

    def noted(file: IO[bytes], rows: Floats) -> None:
        written.append(len(rows))
        write(file, rows)

    monkeypatch.setattr(storage, "_write", noted)
    rows = DenseRows(3, 10, lambda _: None)
    every = filled(rows, (10, 4))
    assert written == [3, 3, 3, 1, 4]
    assert np.array_equal(rows.take(), every)


@pytest.mark.parametrize("blocks", [(2,), (1, 2), (1, 50_000)])
def test_a_full_disk(blocks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen at once where the block is large, or when what is buffered goes out."""
    full = Path("/dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full.open("w+b", buffering=8192))
    rows = DenseRows(3, 1, lambda _: None)
    with pytest.raises(ResourceError) as caught:
        taken(rows, blocks)
    if rows._file is not None:
        with contextlib.suppress(OSError):
            rows._file.close()
    assert caught.value.cause.startswith(
        f"The rows do not fit the memory and could not be kept in {tempfile.gettempdir()}: "
        "No space left on device ("
    )
    assert "TMPDIR" in caught.value.remedy


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setattr(tempfile, "tempdir", str(gone))
    with pytest.raises(ResourceError, match=r"could not be kept in .*gone: No such file"):
        filled(DenseRows(3, 1, lambda _: None))


def test_sparse_rows() -> None:
    first = Csr(
        np.array([0, 2, 2], np.int64), np.array([0, 3], np.int32), np.array([1, 0], np.float32), 4
    )
    second = Csr(np.array([0, 1], np.int64), np.array([8], np.int32), np.array([5], np.float32), 9)
    rows = SparseRows()
    rows.add(first)
    rows.add(second)
    rows.add(first)
    assert rows.width == 9
    assert rows.bytes == 5 * 8 + 6 * 8
    found = rows.take(12)
    assert (found.rows, found.width) == (5, 12)
    assert found.indptr.tolist() == [0, 2, 2, 3, 5, 5]
    assert found.indices.tolist() == [0, 3, 8, 0, 3]
    assert found.values.tolist() == [1, 0, 5, 1, 0]
    assert {found.indptr.dtype, found.indices.dtype} == {np.dtype(np.int64), np.dtype(np.int32)}
