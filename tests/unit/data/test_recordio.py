"""RecordIO-protobuf as the platform's libraries and others write it, broken and whole."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests import threads

from treeline.data import recordio
from treeline.data.records import Csr, Records
from treeline.data.source import Source
from treeline.errors import DataError
from treeline.hyperparameters import DataOptions
from treeline.team import Team

MAGIC = 0xCED7230A
FLOAT32, FLOAT64, INT32 = 2, 3, 7
Row = dict[int, float]

# An encoder from the format's description; the reader has none.


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def numbers(kind: int, values: Sequence[float], *, packed: bool = True) -> bytes:
    if kind == INT32:
        each = [varint(int(value)) for value in values]
    else:
        each = [struct.pack("<f" if kind == FLOAT32 else "<d", value) for value in values]
    if packed:
        return field(1, b"".join(each)) if values else b""
    tag = varint(1 << 3 | {INT32: 0, FLOAT64: 1, FLOAT32: 5}[kind])
    return b"".join(tag + one for one in each)


def integers(number: int, values: Sequence[int], *, packed: bool = True) -> bytes:
    if packed:
        return field(number, b"".join(map(varint, values))) if values else b""
    return b"".join(varint(number << 3) + varint(value) for value in values)


def tensor(
    values: Sequence[float],
    keys: Sequence[int] = (),
    shape: int | None = None,
    kind: int = FLOAT32,
    *,
    packed: bool = True,
) -> bytes:
    content = numbers(kind, values, packed=packed) + integers(2, keys, packed=packed)
    if shape is not None:
        content += integers(3, [shape], packed=packed)
    return field(kind, content)


def entry(number: int, value: bytes, name: str = "values") -> bytes:
    return field(number, field(1, name.encode()) + field(2, value))


def record(features: bytes, label: bytes | float = 1.0, rest: bytes = b"") -> bytes:
    label = tensor([label]) if isinstance(label, float) else label
    return entry(1, features) + entry(2, label) + rest


def framed(*records: bytes, part: int = 0) -> bytes:
    return b"".join(
        struct.pack("<II", MAGIC, part << 29 | len(one)) + one + bytes(-len(one) % 4)
        for one in records
    )


def read(folder: Path, *contents: bytes) -> tuple[list[Records], list[str]]:
    reader = recordio.Reader(DataOptions(), 1)
    found = []
    for i, content in enumerate(contents):
        file = folder / f"{i}.pbr"
        file.write_bytes(content)
        found += list(reader.read(Source(file, f"train/{i}.pbr")))
    return found, reader.notes


def dense(folder: Path, *records: bytes) -> list[list[float]]:
    (found,), _ = read(folder, framed(*records))
    assert isinstance(found.features, np.ndarray)
    assert found.features.dtype == found.label.dtype == np.float32
    rows: list[list[float]] = found.features.tolist()
    return rows


def entries(records: list[Records]) -> list[Row]:
    """Return what is not missing of each row, by column; holds the invariants of ``Csr``."""
    rows: list[Row] = []
    for block in records:
        rows_of = block.features
        if not isinstance(rows_of, Csr):
            rows += [{i: v for i, v in enumerate(r) if v == v} for r in rows_of.tolist()]
            continue
        assert rows_of.indptr.dtype == np.int64
        assert rows_of.indices.dtype == np.int32
        assert rows_of.values.dtype == np.float32
        assert rows_of.indptr[0] == 0
        assert rows_of.indptr[-1] == len(rows_of.indices) == len(rows_of.values)
        assert len(block.label) == rows_of.rows
        for first, last in zip(rows_of.indptr[:-1], rows_of.indptr[1:], strict=True):
            keys = rows_of.indices[first:last].tolist()
            assert keys == sorted(set(keys))
            assert all(key < rows_of.width for key in keys)
            rows.append(dict(zip(keys, rows_of.values[first:last].tolist(), strict=True)))
    return rows


def sparse(folder: Path, *records: bytes) -> list[Row]:
    found, _ = read(folder, framed(*records))
    assert all(isinstance(block.features, Csr) for block in found)
    return entries(found)


def refused(folder: Path, content: bytes, *more: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content, *more)
    assert "\n" not in caught.value.cause
    assert caught.value.remedy
    return caught.value.cause


@pytest.mark.parametrize("kind", [FLOAT32, FLOAT64, INT32])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("label_kind", [FLOAT32, FLOAT64, INT32])
def test_dense_rows_of_each_type(tmp_path: Path, kind: int, packed: bool, label_kind: int) -> None:
    values = [[1.0, -2.0, 300.0], [0.0, 5.0, -70000.0]]
    records = [
        record(tensor(row, kind=kind, packed=packed), tensor([i - 3], kind=label_kind))
        for i, row in enumerate(values)
    ]
    (found,), notes = read(tmp_path, framed(*records))
    assert isinstance(found.features, np.ndarray)
    assert found.features.tolist() == values
    assert found.label.tolist() == [-3, -2]
    assert (found.weight, found.group, found.names, notes) == (None, None, None, [])


def test_types_may_differ_from_record_to_record(tmp_path: Path) -> None:
    kinds = [FLOAT64, FLOAT32, INT32, FLOAT64, INT32]
    records = [record(tensor([i, -i], kind=kind)) for i, kind in enumerate(kinds)]
    assert dense(tmp_path, *records) == [[i, -i] for i in range(5)]


def test_float64_is_rounded_once_and_too_large_is_infinite(tmp_path: Path) -> None:
    (row,) = dense(tmp_path, record(tensor([0.1, 1e300, -1e300, 1e-60], kind=FLOAT64)))
    assert row == [float(np.float32(0.1)), float("inf"), float("-inf"), 0]


def test_sparse_rows(tmp_path: Path) -> None:
    records = [
        record(tensor([1.5, 2.5], [0, 200], 300)),
        record(tensor([], [], 300)),
        record(tensor([3, 4], [299, 20000 % 300], 300, kind=INT32)),
        record(tensor([5], [7], 300, packed=False, kind=FLOAT64)),
    ]
    found, _ = read(tmp_path, framed(*records))
    assert entries(found) == [{0: 1.5, 200: 2.5}, {}, {200: 4, 299: 3}, {7: 5}]
    assert [block.features.width for block in found if isinstance(block.features, Csr)] == [300]


def test_keys_of_every_length(tmp_path: Path) -> None:
    keys = [0, 127, 128, 16383, 16384, 2**21, 2**28, 2**31 - 1]
    assert sparse(tmp_path, record(tensor(range(8), keys))) == [
        dict(zip(keys, range(8), strict=True))
    ]


def test_without_a_shape_the_widest_key_counts(tmp_path: Path) -> None:
    found, _ = read(tmp_path, framed(record(tensor([1], [9])), record(tensor([1], [4]))))
    assert isinstance(found[0].features, Csr)
    assert found[0].features.width == 10


def test_nan_is_missing(tmp_path: Path) -> None:
    nan = float("nan")
    assert sparse(tmp_path, record(tensor([nan, 2, nan], [5, 3, 1], 9))) == [{3: 2}]
    (row,) = dense(tmp_path, record(tensor([nan, 2])))
    assert np.isnan(row[0])


def test_dense_rows_among_sparse_ones_become_entries(tmp_path: Path) -> None:
    records = [
        record(tensor([1], [2], 3)),
        record(tensor([4, float("nan"), 6])),
        record(tensor([7, 8], [2, 0], 3)),
    ]
    assert sparse(tmp_path, *records) == [{2: 1}, {0: 4, 2: 6}, {0: 8, 2: 7}]


def test_fields_in_any_order_and_in_pieces(tmp_path: Path) -> None:
    pieces = numbers(FLOAT32, [1, 2]) + numbers(FLOAT32, [3], packed=False)
    keys = integers(2, [5], packed=False) + integers(2, [6, 300])
    shape = integers(3, [400])
    one = entry(2, tensor([1])) + entry(1, field(FLOAT32, shape + keys + pieces))
    swapped = field(1, field(2, tensor([9], [1], 400)) + field(1, b"values")) + entry(
        2, tensor([0])
    )
    assert sparse(tmp_path, one, swapped) == [{5: 1, 6: 2, 300: 3}, {1: 9}]


def test_uid_is_passed_over_and_metadata_noted_once(tmp_path: Path) -> None:
    records = [record(tensor([i]), rest=field(3, b"row %d" % i)) for i in range(12)]
    assert dense(tmp_path, *records) == [[i] for i in range(12)]
    _, notes = read(tmp_path, framed(records[0]))
    assert notes == []
    records = [record(tensor([i]), rest=field(4, b"x") + field(5, b"{}")) for i in range(3)]
    _, notes = read(tmp_path, framed(*records), framed(*records))
    assert notes == ["the records' metadata and configuration are not used"]


def test_no_record_is_no_row(tmp_path: Path) -> None:
    assert read(tmp_path, b"") == ([], [])


# Framing


def test_blocks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[i, -i, i / 2] for i in range(60)]
    content = framed(*(record(tensor(row), float(i)) for i, row in enumerate(rows)))
    for size in (1, 7, 64, 100, 1 << 20):
        monkeypatch.setattr(recordio, "_BLOCK", size)
        found, _ = read(tmp_path, content)
        assert entries(found) == [dict(enumerate(row)) for row in rows]
        assert np.concatenate([block.label for block in found]).tolist() == list(range(60))


def test_a_magic_number_among_the_values(tmp_path: Path) -> None:
    (magic,) = struct.unpack("<f", struct.pack("<I", MAGIC))
    rows = [[1.0] * shift + [magic] * 3 for shift in range(4)]
    for pad in range(4):  # one of these puts the number where words begin
        rest = field(3, b"x" * pad)
        for row in rows:
            one = rest + record(tensor(row))
            assert dense(tmp_path, one, one) == [row, row]


def test_records_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (magic,) = struct.unpack("<f", struct.pack("<I", MAGIC))
    whole = record(tensor([1, magic, 2, magic, 3]))
    first, second, third = whole.split(struct.pack("<I", MAGIC))
    parts = framed(first, part=1) + framed(second, part=2) + framed(third, part=3)
    other = framed(record(tensor([1, 2, 3, 4, 5])))
    for size in (8, 1 << 20):
        monkeypatch.setattr(recordio, "_BLOCK", size)
        found, _ = read(tmp_path, other + parts + other + parts)
        assert [row for block in found for row in block.features.tolist()] == [  # type: ignore[union-attr]
            [1, 2, 3, 4, 5],
            [1, magic, 2, magic, 3],
        ] * 2
    assert "record 1 at byte 0 is out of order" in refused(tmp_path, framed(first, part=2))
    assert "is out of order" in refused(tmp_path, framed(first, part=1) + other)
    assert "ends in the middle of record 1" in refused(tmp_path, framed(first, part=1))
    assert "(part type 5)" in refused(tmp_path, framed(first, part=5) + bytes(2**10))


def test_wrong_bytes_between_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = framed(record(tensor([1, 2])))
    for size in (16, 1 << 20):
        monkeypatch.setattr(recordio, "_BLOCK", size)
        at = f"train/0.pbr: record 3 at byte {2 * len(good)}"
        for bad in (b"garbage!", b"garb", b"garbage!" * 9 + good):
            cause = refused(tmp_path, good + good + bad)
            assert cause == f"{at} begins with 0x62726167, not with 0xced7230a"
        assert refused(tmp_path, good + b"xy").startswith("train/0.pbr: ends in the middle of rec")
    assert "record 1 at byte 0 begins with 0x302c3120" in refused(tmp_path, b" 1,0.5\n" * 9)


def test_cut_off_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = framed(record(tensor([1, 2, 3])))
    for size in (16, 1 << 20):
        monkeypatch.setattr(recordio, "_BLOCK", size)
        for cut in range(1, len(good)):
            cause = refused(tmp_path, good + good[:cut])
            assert cause == (
                f"train/0.pbr: ends in the middle of record 2, which begins at byte {len(good)}"
            )


# Messages


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (entry(1, tensor([1, 2])), "label: there is none"),
        (entry(2, tensor([1])), "features: there is none"),
        (b"", "label: there is none"),
        (record(tensor([1, 2]), tensor([1, 2])), "label: 2 values, not one"),
        (record(tensor([1, 2]), tensor([])), "label: 0 values, not one"),
        (record(tensor([1, 2]), tensor([1], [0], 1)), "label: a sparse tensor"),
        (record(tensor([1, 2]), tensor([1], shape=2)), "label: the shape is 2, not 1"),
        (record(tensor([1, 2])) + entry(1, tensor([1]), "{x}"), "features: named '{x}', not 'val"),
        (record(tensor([1, 2])) + entry(2, tensor([1]), "v"), "label: named 'v', not 'values'"),
        (record(tensor([1, 2])) + entry(2, tensor([1])), "label: 2 are named 'values', not one"),
        (record(field(9, field(1, b"\xff\xd8"))), "features: bytes, not numbers"),
        (record(field(4, b"")), "features: field 4 is unknown"),
        (record(b""), "features: 0 tensors, not one"),
        (record(tensor([1, 2]) + tensor([1], kind=INT32)), "features: 2 tensors, not one"),
        (record(tensor([1, 2]), rest=field(6, b"")), "record: field 6 is unknown"),
        (record(field(2, field(4, b""))), "features: field 4 is unknown"),
        (record(field(2, field(1, b"123"))), "features: not numbers of 4 bytes"),
        (record(field(3, field(1, b"1234"))), "features: not numbers of 8 bytes"),
        (record(field(2, numbers(FLOAT64, [1], packed=False))), "features: not numbers of 4 bytes"),
        (record(field(7, numbers(FLOAT32, [1], packed=False))), "features: not integers"),
        (record(field(7, field(1, b"\x80"))), "features: cut off"),
        (record(tensor([2**31], kind=INT32)), "features: 32 bits cannot hold 2147483648"),
        (record(tensor([1, 2], [1], 2)), "features: 1 keys and another number of values"),
        (record(tensor([], [1], 2)), "features: 1 keys and another number of values"),
        (record(tensor([1, 2], [1, 1], 2)), "features: key 1 is there twice"),
        (record(tensor([1, 2], [1, 2], 2)), "features: key 2 of 2 columns"),
        (record(tensor([1], [2**31], 2)), "features: keys: 32 bits cannot hold 2147483648"),
        (record(tensor([1], [-1], 2)), "features: key -1 of 2 columns"),
        (record(tensor([1, 2], shape=3)), "features: the shape is 3, there are more or fewer"),
        (record(tensor([1], [0], 2**64 - 1)), "features: the shape is too large"),
        (record(field(2, integers(3, [1, 2]))), "features: the shape has 2 dimensions, not one"),
        (record(tensor([1, 2, 3])), "features: 3 columns, where the channel's first row has 2"),
        (record(tensor([1], [0], 3)), "features: 3 columns, where the channel's first row has 2"),
        (record(tensor([])), "features: neither values nor a shape, and other rows are dense"),
        (record(tensor([1, 2]))[:-1], "record: the protobuf message is broken"),
        (b"\xff" * 40, "record: the protobuf message is broken"),
        (b"\x0b\x0c", "record: the protobuf message is broken"),
        (varint(1 << 3) + varint(5) + entry(2, tensor([1])), "features: is not a map"),
        (field(1, field(1, b"values")) + entry(2, tensor([1])), "features: 0 tensors, not one"),
    ],
)
def test_broken_messages_are_refused_by_row(tmp_path: Path, bad: bytes, cause: str) -> None:
    good = framed(record(tensor([1, 2])), record(tensor([3, 4])))
    assert refused(tmp_path, good, good + framed(bad) + good).startswith(
        f"train/1.pbr: row 3: {cause}"
    )


def test_rows_that_do_not_say_their_width_are_held_against_later_ones(tmp_path: Path) -> None:
    empty, keyed = framed(record(tensor([]))), framed(record(tensor([1], [20])))
    wide, narrow = framed(record(tensor([1] * 30))), framed(record(tensor([1] * 10)))
    assert entries(read(tmp_path, empty, keyed, empty)[0]) == [{}, {20: 1}, {}]
    assert len(read(tmp_path, keyed, wide)[0]) == 2
    assert "train/0.pbr: row 1: features: neither values" in refused(tmp_path, empty, wide)
    assert "rows have 10 columns, but a row before them has the key 20" in refused(
        tmp_path, keyed, narrow
    )


def test_one_record_that_differs_among_many_alike(tmp_path: Path) -> None:
    good = [record(tensor([i, 0.5]), float(i)) for i in range(50)]
    for other, expected in (
        (record(tensor([7, 8], kind=INT32) + b"", 3.0), [7, 8]),
        (entry(2, tensor([3])) + entry(1, tensor([7, 8])), [7, 8]),
        (record(tensor([7, 8], shape=2), 3.0), [7, 8]),
    ):
        rows = dense(tmp_path, *good[:20], other, *good[20:])
        assert rows[20] == expected
        assert rows[:20] + rows[21:] == [[i, 0.5] for i in range(50)]
    renamed = good[20].replace(b"values", b"valuez", 1)
    assert len(renamed) == len(good[20])
    cause = refused(tmp_path, framed(*good[:20], renamed, *good[21:]))
    assert cause == "train/0.pbr: row 21: features: named 'valuez', not 'values'"


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Random mixtures of all that is legal, in blocks of random size."""
    rng = random.Random(seed)
    monkeypatch.setattr(recordio, "_BLOCK", rng.choice([50, 500, 5000, 1 << 20]))
    width = rng.choice([1, 3, 40, 200, 20000])
    alike = rng.random() < 0.3
    expected, labels, records = [], [], []
    for _ in range(80):
        kind = FLOAT32 if alike else rng.choice([FLOAT32, FLOAT64, INT32])
        packed = alike or rng.random() < 0.8
        count = min(width, 30) if alike else rng.randrange(min(width, 30) + 1)
        keys = rng.sample(range(width), count)
        values = [float(rng.randint(-(2**20), 2**20)) for _ in keys]
        if count == width and rng.random() < 0.5:
            keys = list(range(width))
            features = tensor(values, kind=kind, packed=packed)
        else:
            features = tensor(values, keys, width, kind, packed=packed)
        label = float(rng.randint(-5, 5))
        kind = FLOAT32 if alike else rng.choice([FLOAT32, FLOAT64, INT32])
        both = [entry(1, features), entry(2, tensor([label], kind=kind))]
        rng.shuffle(both)
        records.append(b"".join(both) + (b"" if alike else field(3, b"u" * rng.randrange(9))))
        labels.append(label)
        expected.append(dict(sorted(zip(keys, values, strict=True))))
    found, _ = read(tmp_path, framed(*records))
    assert entries(found) == expected
    assert np.concatenate([block.label for block in found]).tolist() == labels


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_ends_in_anything_but_a_data_error(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    good = framed(
        record(tensor([1, 2, 3])),
        record(tensor([4, 5], [0, 2], 3), rest=field(3, b"uid")),
        record(tensor([4, 5, 300], kind=INT32, packed=False), tensor([1], kind=FLOAT64)),
    )
    for _ in range(50):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            bad[rng.randrange(len(bad))] = rng.choice([0, 1, 2, 127, 128, 255, rng.randrange(256)])
        with suppress(DataError):
            read(tmp_path, bytes(bad))


@pytest.mark.parametrize(
    ("columns", "said"), [((3, 4), "have 3, 4 columns"), ((3, 3), None)], ids=["differ", "alike"]
)
def test_workers_compare_their_columns(columns: tuple[int, int], said: str | None) -> None:
    def settle(team: Team) -> None:
        reader = recordio.Reader(DataOptions(), 1)
        reader._columns._width = columns[team.rank]
        reader._columns._widest = 1  # the rows have keys
        reader.settle(team)

    if said is None:
        threads.run(2, settle)
        return
    with pytest.raises(DataError, match=said):
        threads.run(2, settle)
