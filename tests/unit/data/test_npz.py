"""npz: the arrays that numpy saves, read in blocks."""

from __future__ import annotations

import io
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from treeline.data import npz
from treeline.data.records import Records
from treeline.data.source import Source
from treeline.errors import DataError
from treeline.hyperparameters.config import DataOptions

NAME = "train/a.npz"
X = np.array([[1.0, 2.0, np.nan], [4.0, 5.0, 6.0]])
Y = np.array([0, 1])
EXPECTED = (
    "expected X (rows, columns) and y (rows,), and if need be weight (w, sample_weight), qid "
    "(group) and feature_names, each once"
)


def blocks(file: Path, reader: npz.Reader | None = None) -> list[Records]:
    return list((reader or npz.Reader(DataOptions(), 1)).read(Source(file, NAME)))


def one(folder: Path, *, compressed: bool = False, **arrays: Any) -> tuple[Records, list[str]]:
    (np.savez_compressed if compressed else np.savez)(folder / "a.npz", **arrays)
    reader = npz.Reader(DataOptions(), 1)
    (records,) = blocks(folder / "a.npz", reader)
    return records, reader.notes


def refused(folder: Path, **arrays: Any) -> DataError:
    if arrays:
        np.savez(folder / "a.npz", **arrays)
    with pytest.raises(DataError) as caught:
        blocks(folder / "a.npz")
    assert caught.value.cause.startswith(f"{NAME}: ")
    assert "\n" not in caught.value.cause
    return caught.value


@pytest.mark.parametrize("compressed", [False, True])
def test_features_and_label(tmp_path: Path, compressed: bool) -> None:
    records, notes = one(tmp_path, compressed=compressed, X=X, y=Y)
    assert isinstance(records.features, np.ndarray)
    assert records.features.dtype == records.label.dtype == np.float32
    assert records.features.flags.c_contiguous
    np.testing.assert_array_equal(records.features, X)
    assert records.label.tolist() == [0.0, 1.0]
    assert (records.weight, records.group, records.names, notes) == (None, None, None, [])


@pytest.mark.parametrize("weight", ["weight", "w", "sample_weight"])
@pytest.mark.parametrize("qid", ["qid", "group"])
@pytest.mark.parametrize(("x", "y"), [("X", "y"), ("x", "Y")])
def test_every_name_of_every_part(tmp_path: Path, weight: str, qid: str, x: str, y: str) -> None:
    more: dict[str, Any] = {weight: [0.5, 2.0], qid: [7, -8], "feature_names": ["a", "é", "c d"]}
    records, _ = one(tmp_path, **(more | {x: X, y: Y.reshape(2, 1)}))
    assert records.weight is not None
    assert records.group is not None
    assert records.weight.tolist() == [0.5, 2.0]
    assert records.weight.dtype == np.float32
    assert records.group.tolist() == [7, -8]
    assert records.group.dtype == np.int64
    assert records.names == ("a", "é", "c d")
    assert records.label.shape == (2,)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_numbers_of_every_width_and_byte_order(tmp_path: Path, kind: str, order: str) -> None:
    values = np.array([[1, 2], [100, 3]]).astype(order + kind)
    records, _ = one(tmp_path, X=values, y=values[:, 0], qid=values[:, 1])
    assert records.features.tolist() == [[1, 2], [100, 3]]  # type: ignore[union-attr]
    assert records.label.tolist() == [1, 100]
    assert records.group is not None
    assert records.group.tolist() == [2, 3]
    assert records.group.dtype == np.int64


def test_truth_values_and_what_float32_cannot_hold(tmp_path: Path) -> None:
    records, _ = one(tmp_path, X=np.array([[True, False]]), y=[1e300])
    assert records.features.tolist() == [[1, 0]]  # type: ignore[union-attr]
    assert records.label.tolist() == [float("inf")]


@given(st.integers(1, 400), st.integers(1, 5), st.booleans(), st.booleans())
def test_blocks_hold_all_rows_in_order(
    rows: int, columns: int, fortran: bool, compressed: bool
) -> None:
    x = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    file: Any = io.BytesIO()
    arrays: dict[str, Any] = {"X": np.asfortranarray(x) if fortran else x}
    arrays |= {"y": x[:, 0], "qid": x[:, -1]}
    (np.savez_compressed if compressed else np.savez)(file, **arrays)

    class Spooled(Source):
        def random_access(self) -> Any:
            return file

    reader = npz.Reader(DataOptions(), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz, "_BLOCK_BYTES", 1 << 10)
        found = list(reader.read(Spooled(Path(__file__), NAME)))
    assert max(len(each.label) for each in found) <= 128 // columns
    features: list[NDArray[Any]] = [np.asarray(each.features) for each in found]
    assert all(each.flags.c_contiguous and each.flags.writeable for each in features)
    np.testing.assert_array_equal(np.concatenate(features), x)
    np.testing.assert_array_equal(np.concatenate([each.label for each in found]), x[:, 0])
    ids = [each.group for each in found if each.group is not None]
    np.testing.assert_array_equal(np.concatenate(ids), x[:, -1])
    assert file.closed
    assert len(reader.notes) == (fortran and columns > 1 and rows > 1)


def test_memory_is_that_of_a_block(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.zeros((100_000, 40)), y=np.zeros(100_000))
    tracemalloc.start()
    try:
        rows = sum(
            len(each.label)
            for each in npz.Reader(DataOptions(), 1).read(Source(tmp_path / "a.npz", NAME))
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 100_000
    assert peak < 16 << 20  # of the 32 MB in the file


def test_columns_order_is_said_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.asfortranarray(X), y=Y)
    reader = npz.Reader(DataOptions(), 1)
    for _ in range(2):
        (records,) = blocks(tmp_path / "a.npz", reader)
        np.testing.assert_array_equal(np.asarray(records.features), X)
    assert len(reader.notes) == 1
    assert "Fortran order" in reader.notes[0]


@pytest.mark.parametrize("value", [2**24 + 1, -(2**24) - 1])
def test_whole_numbers_that_lose_digits_are_noted(tmp_path: Path, value: int) -> None:
    _, notes = one(tmp_path, X=[[1], [value]], y=Y)
    assert notes == ["X holds whole numbers beyond 16,777,216, which float32 rounds"]
    assert one(tmp_path, X=[[1], [2**24]], y=Y, qid=[value, value])[1] == []


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"X": X}, "holds 'X'; "),
        ({"y": Y}, "holds 'y'; "),
        ({"X": X, "y": Y, "z": Y}, "holds 'X', 'y', 'z'; "),
        ({"X": X, "x": X, "y": Y}, "holds 'X', 'x', 'y'; "),
        ({"X": X, "y": Y, "w": Y, "weight": Y}, "holds 'X', 'y', 'w', 'weight'; "),
        ({"arr_0": X, "arr_1": Y}, "holds 'arr_0', 'arr_1'; "),
        ({f"a{i}": Y for i in range(9)}, "'a7' and more; "),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_other_members_are_refused(tmp_path: Path, arrays: dict[str, Any], found: str) -> None:
    error = refused(tmp_path, **arrays)
    assert found in error.cause
    assert error.cause.endswith(EXPECTED)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X", b"1,2")
        archive.writestr("y.csv", b"1,2")
    assert f"holds 'X', 'y.csv'; {EXPECTED}" in refused(tmp_path).cause
    with zipfile.ZipFile(tmp_path / "a.npz", "w"):
        pass
    assert f"holds nothing; {EXPECTED}" in refused(tmp_path).cause


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_a_sparse_matrix_is_refused_by_name(tmp_path: Path, form: str) -> None:
    sparse.save_npz(tmp_path / "a.npz", sparse.eye(3).asformat(form))
    error = refused(tmp_path)
    assert "scipy.sparse.save_npz" in error.cause
    assert "libsvm" in error.remedy


@pytest.mark.parametrize("part", ["X", "y", "weight", "qid"])
@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.array([1, None], object), "Python objects (object)"),
        (np.array(["a", "b"]), "text (<U1)"),
        (np.array([b"a", b"b"]), "text (|S1)"),
        (np.array([1j, 2]), "complex numbers (complex128)"),
        (np.array([1, 2], "M8[D]"), "dates (datetime64[D])"),
        (np.array([1, 2], "m8[s]"), "durations (timedelta64[s])"),
        (np.array([(1, 2), (3, 4)], "i4,i4"), "structures ("),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_number_is_refused_by_name(
    tmp_path: Path, part: str, values: NDArray[Any], what: str
) -> None:
    arrays = {"X": X, "y": Y} | {part: values.reshape(2, 1) if part == "X" else values}
    error = refused(tmp_path, **arrays)
    assert f"{part} holds {what}" in error.cause
    assert ("CSV or Parquet" in error.remedy) == (part == "y")


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"X": X[0], "y": Y}, "X has the shape (3,), expected (rows, columns)"),
        ({"X": X[None], "y": Y}, "X has the shape (1, 2, 3), expected"),
        ({"X": X[:0], "y": Y[:0]}, "X has the shape (0, 3), expected"),
        ({"X": X[:, :0], "y": Y}, "X has the shape (2, 0), expected"),
        ({"X": np.float64(1), "y": Y}, "X has the shape (), expected"),
        ({"X": X, "y": Y[:1]}, "y has the shape (1,), expected (2,): X has 2 rows"),
        ({"X": X, "y": X[:, :2]}, "y has the shape (2, 2), expected (2,)"),
        ({"X": X, "y": Y, "w": [[1, 2]]}, "w has the shape (1, 2), expected (2,)"),
        ({"X": X, "y": Y, "group": [2]}, "expected (2,) (one id for each row, not the sizes"),
        ({"X": X, "y": Y, "feature_names": ["a"]}, "has the shape (1,) of <U1, expected (3,)"),
        ({"X": X, "y": Y, "feature_names": [1, 2, 3]}, "of int64, expected (3,) of text"),
        (
            {"X": X, "y": Y, "feature_names": np.array(["a", "b", "c"], object)},
            "of object, expected (3,) of text",
        ),
        ({"X": X, "y": Y, "feature_names": ["a", "b", "a"]}, "has 'a' 2 times"),
        ({"X": X, "y": Y, "feature_names": ["a", " ", "c"]}, "has ' ' 1 times"),
        ({"X": X, "y": Y, "feature_names": [b"\xff", b"a", b"b"]}, "cannot be read as npz"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], what: str
) -> None:
    assert what in refused(tmp_path, **arrays).cause


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ([1.0, 2.5], "2.5"),
        ([1.0, np.nan], "nan"),
        ([1.0, 1e300], "1e+300"),
        ([1.0, 2.0**63], "9.223372036854775808e+18"),
        (np.array([1, 2**63], np.uint64), "9223372036854775808"),
    ],
)
def test_groups_are_whole_numbers_of_64_bits(tmp_path: Path, ids: Any, found: str) -> None:
    cause = refused(tmp_path, X=X, y=Y, qid=ids).cause
    assert cause.startswith(f"{NAME}: qid row 2: found {found[:8]}")


def test_the_row_of_a_bad_group_is_counted_over_blocks(tmp_path: Path) -> None:
    ids = np.zeros(70_000)
    ids[69_999] = 0.5
    zeros = np.zeros(70_000)
    assert "qid row 70000: found 0.5" in refused(tmp_path, X=zeros[:, None], y=zeros, qid=ids).cause


def test_whole_floats_are_groups(tmp_path: Path) -> None:
    records, _ = one(tmp_path, X=X, y=Y, qid=[1e15, -3.0])
    assert records.group is not None
    assert records.group.tolist() == [10**15, -3]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_archive_is_refused(tmp_path: Path, compressed: bool) -> None:
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "whole", X=np.arange(400.0).reshape(100, 4), y=np.arange(100.0))
    content = (tmp_path / "whole.npz").read_bytes()
    for kept in (0, 3, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "a.npz").write_bytes(content[:kept])
        assert refused(tmp_path).cause.startswith(f"{NAME}: cannot be read")
    spoiled = bytearray(content)
    spoiled[len(content) // 3] ^= 1
    (tmp_path / "a.npz").write_bytes(spoiled)
    assert "cannot be read as npz" in refused(tmp_path).cause


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("member", [0, 1])
def test_checksums_are_compared(tmp_path: Path, compressed: bool, member: int) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", X=X, y=Y)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    entry = content.index(b"PK\x01\x02") if not member else content.rindex(b"PK\x01\x02")
    content[entry + 16] ^= 1  # the CRC-32; PKWARE, "APPNOTE", 4.3.12
    (tmp_path / "a.npz").write_bytes(content)
    assert "Bad CRC-32" in refused(tmp_path).cause


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_damage_ends_in_another_error(place: int, bits: int) -> None:
    file: Any = io.BytesIO()
    np.savez_compressed(file, X=X, y=Y, feature_names=["a", "b", "c"])
    content = bytearray(file.getvalue())
    content[place % len(content)] ^= bits

    class Spooled(Source):
        def random_access(self) -> Any:
            return io.BytesIO(content)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicate names and headers of Python 2
        try:
            (records,) = npz.Reader(DataOptions(), 1).read(Spooled(Path(__file__), NAME))
        except DataError:
            return
    np.testing.assert_array_equal(np.asarray(records.features), X)
    assert records.label.tolist() == [0, 1]


def test_a_header_that_promises_more_is_refused_before_it_is_believed(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": True, "shape": (10**12, 1000)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", header.getvalue() + bytes(80))
        archive.writestr("y.npy", header.getvalue())
    assert "its shape (1000000000000, 1000) of float64 needs" in refused(tmp_path).cause


def test_archives_joined_by_a_pipe_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X, y=Y)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content + content)
    error = refused(tmp_path)
    assert f"has {len(content)} bytes in front of the archive" in error.cause
    assert "pipe" in error.remedy


def test_other_ways_of_compression_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", X=X, y=Y)
    with (
        zipfile.ZipFile(tmp_path / "b.npz") as old,
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "X.npy is compressed by zip method 14, expected 0 or 8" in refused(tmp_path).cause
