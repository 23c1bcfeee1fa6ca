"""CSV as people and tools write it: what is a number, what is missing, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from treeline.data import csv
from treeline.errors import DataError

MIB = 1 << 20


def batches(folder: Path, content: bytes, threads: int = 1) -> list[NDArray[np.float32]]:
    file = folder / "a.csv"
    file.write_bytes(content)
    return [
        np.stack([column.to_numpy(zero_copy_only=False) for column in batch.columns], axis=1)
        for batch in csv.read(file, "train/a.csv", threads)
    ]


def rows(folder: Path, content: bytes, threads: int = 1) -> list[list[float]]:
    values: list[list[float]] = np.concatenate(batches(folder, content, threads)).tolist()
    return values


def refused(folder: Path, content: bytes) -> DataError:
    with pytest.raises(DataError) as caught:
        batches(folder, content)
    assert caught.value.cause.startswith("train/a.csv: ")
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        b"1,2\n3,4\n",
        b"1,2\n3,4",
        b"1,2\r\n3,4\r\n",
        b"1,2\r\n3,4",
        b"\xef\xbb\xbf1,2\n3,4\n",
        b"\xef\xbb\xbf1,2\r\n3,4\r\n",
        b"\n\n1,2\n\n\n3,4\n\n",
        b"\r\n1,2\r\n\r\n3,4\r\n",
        b'"1","2"\n"3",4\n',
        b" 1 , 2\n3,4 \n",
        b"1.0,2e0\n0.3E1,+4\n",
        b"1,2.\n3.000000000000000000000000,40e-1\n",
    ],
)
def test_one_table_in_many_spellings(tmp_path: Path, content: bytes) -> None:
    assert rows(tmp_path, content) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("text", ["", "nan", "NaN", "NAN", "NA", "null", "NULL", '""', "-nan"])
def test_missing(tmp_path: Path, text: str) -> None:
    (first, second), (third, fourth) = rows(tmp_path, f"5,{text}\n{text},6\n".encode())
    assert (first, fourth) == (5, 6)
    assert np.isnan([second, third]).all()


def test_missing_is_null_or_nan_in_every_place_of_the_first_row(tmp_path: Path) -> None:
    ((label, last),) = rows(tmp_path, b",\n")
    assert np.isnan([label, last]).all()


def test_numbers_are_rounded_to_the_nearest_float32(tmp_path: Path) -> None:
    values = [0.1, 1e-10, -123456.789, 16777217, 3.4e38, 1e-45, 0.0, -1 / 3]
    text = ",".join(repr(value) for value in values)
    assert rows(tmp_path, text.encode()) == [[float(np.float32(value)) for value in values]]


@pytest.mark.parametrize("text", ["inf", "-inf", "1e39", "-1e400"])
def test_what_is_too_large_arrives_as_infinite_for_the_matrix_to_refuse(
    tmp_path: Path, text: str
) -> None:
    assert np.isinf(rows(tmp_path, f"1,{text}\n".encode())[0][1])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_of_several_blocks_comes_in_several_batches(tmp_path: Path, threads: int) -> None:
    table = np.arange(600_000, dtype=np.float32).reshape(-1, 3)
    content = b"".join(b"%d,%d,%d\n" % tuple(row) for row in table.tolist())
    assert len(content) > 3 * MIB
    found = batches(tmp_path, content, threads)
    assert len(found) > 3
    assert np.array_equal(np.concatenate(found), table)


def test_blank_lines_longer_than_a_block(tmp_path: Path) -> None:
    gap = b"\n" * (2 * MIB + 1)
    assert rows(tmp_path, gap + b"1,2\n" + gap + b"3,4\n" + gap) == [[1, 2], [3, 4]]


def test_a_row_wider_than_a_block(tmp_path: Path) -> None:
    width = 10_000
    row = b",".join([b"0.12345678" + b"0" * 300] * width)
    assert len(row) > 2 * MIB
    found = np.array(rows(tmp_path, row + b"\n" + row))
    assert found.shape == (2, width)
    assert (found == np.float32(0.12345678)).all()


def test_a_first_row_much_shorter_than_the_others(tmp_path: Path) -> None:
    width = 80_000
    short = b",".join([b"0"] * width)
    long = b",".join([b"-1.234567890123456700000e-10"] * width)
    assert 4 * len(short) < MIB < len(long) / 2
    found = np.array(rows(tmp_path, short + b"\n" + long))
    assert found.shape == (2, width)
    assert (found[1] == np.float32(-1.2345678901234567e-10)).all()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"label,age,sex\n1,2,3\n", "is a header or has text columns: 'label', 'age', 'sex'"),
        (b'"y","x 1"\n1,2\n', "is a header or has text columns: 'y', 'x 1'"),
        (b"\xef\xbb\xbfy,x\r\n1,2\r\n", "is a header or has text columns: 'y', 'x'"),
        (b"\n\ny,x\n1,2\n", "is a header or has text columns: 'y', 'x'"),
        (b"1,male\n", "has a text field: 'male'"),
        (b"1,N/A\n", "has a text field: 'N/A'"),
        (b"1,1_000\n", "has a text field: '1_000'"),
        (b"1,0x10\n", "has a text field: '0x10'"),
        (b"1,2\r3,4\r", "has a text field: '2\\r3'"),
        (b"1,\xff\n", "has a text field: '\ufffd'"),
    ],
)
def test_text_in_the_first_row_is_shown(tmp_path: Path, content: bytes, shown: str) -> None:
    error = refused(tmp_path, content)
    assert error.cause == f"train/a.csv: the first row {shown}"
    assert "Remove the header line" in error.remedy


def test_a_long_header_is_shown_in_part(tmp_path: Path) -> None:
    error = refused(tmp_path, ",".join(f"{i}{'x' * 100}" for i in range(100)).encode())
    assert len(error.cause) < 250
    assert "'4x" in error.cause
    assert "'5x" not in error.cause


@pytest.mark.parametrize("content", [b"1\n2\n", b"1 1:0.5\n", b"1;2;3\n", b"1\t2\n", b"   \n1,2\n"])
def test_one_column_is_refused(tmp_path: Path, content: bytes) -> None:
    error = refused(tmp_path, content)
    first = content.split(b"\n")[0].decode().strip()
    assert error.cause == f"train/a.csv: the first row has one field: {first!r}"
    assert "separated by commas" in error.remedy


@pytest.mark.parametrize(
    ("content", "row", "column", "value"),
    [
        (b"1,2\n3,x\n", 2, 1, "x"),
        (b"1,2\n\n3,4\nx,5\n", 3, 0, "x"),
        (b"1,2\n3,1_0\n", 2, 1, "1_0"),
        (b"1,2\n3,N/A\n", 2, 1, "N/A"),
        (b"1,2\n3,2x\n", 2, 1, "2x"),
        (b"1,2\n" * 300_000 + b"3,far\n", 300_001, 1, "far"),
    ],
)
def test_text_further_down_is_refused_with_its_place(
    tmp_path: Path, content: bytes, row: int, column: int, value: str
) -> None:
    error = refused(tmp_path, content)
    assert f"CSV column #{column}: Row #{row}: " in error.cause
    assert f"invalid value '{value}'" in error.cause
    assert "rows count from 1, columns from 0" in error.cause
    assert "2 fields separated by commas" in error.remedy


@pytest.mark.parametrize(
    ("content", "row", "found"),
    [
        (b"1,2,3\n4,5\n", 2, "Expected 3 columns, got 2: 4,5"),
        (b"1,2,3\n4,5,6\n7,8,9,10\n", 3, "Expected 3 columns, got 4: 7,8,9,10"),
        (b"1,2\n" * 600_000 + b"7\n", 600_001, "Expected 2 columns, got 1: 7"),
        (b'1,"2,5"\n', 1, 'Expected 3 columns, got 2: 1,"2,5"'),
    ],
)
def test_ragged_rows_are_refused_with_their_place(
    tmp_path: Path, content: bytes, row: int, found: str
) -> None:
    error = refused(tmp_path, content)
    assert f"Row #{row}: {found}" in error.cause
    assert "no header" in error.remedy


def test_an_unclosed_quote_is_refused(tmp_path: Path) -> None:
    assert "invalid value" in refused(tmp_path, b'1,2\n3,"4\n5,6\n').cause


@pytest.mark.parametrize("content", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n"])
def test_a_file_without_a_row_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refused(tmp_path, content).cause == "train/a.csv: has no row"


def test_a_row_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "_LONGEST_ROW", 1000)
    assert "longer than 256 MiB" in refused(tmp_path, b"1," * 600).cause


def test_compressed_files_are_refused(tmp_path: Path) -> None:
    import gzip

    assert "first row" in refused(tmp_path, gzip.compress(b"1,2\n3,4\n", mtime=0)).cause


def test_a_file_that_is_gone_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(csv.read(tmp_path / "gone.csv", "train/gone.csv", 1))
    assert caught.value.cause == "train/gone.csv: cannot be read: No such file or directory"
    with pytest.raises(DataError, match="train/folder: cannot be read: Is a directory"):
        list(csv.read(tmp_path, "train/folder", 1))
