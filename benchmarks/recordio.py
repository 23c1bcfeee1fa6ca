"""Reading RecordIO-protobuf: Treeline's reader beside a loop over the rows.

Usage: python -m benchmarks.recordio [--rows N] [--runs N]

Prints the median user CPU seconds of reading the same bytes with Treeline's reader and with a
plain Python loop that takes each record apart with ``struct`` and NumPy, and their ratio.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from treeline.data.recordio import MAGIC, Reader
from treeline.data.records import Csr
from treeline.data.source import Source
from treeline.hyperparameters import DataOptions

Row = tuple[float, NDArray[np.float32], list[int]]


def main() -> None:
    """Measure dense rows of two widths and sparse rows, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(f"{options.rows:,} rows, medians of {options.runs} interleaved runs, user CPU seconds")
    print(f"{'':28}{'MB':>7}{'loop':>8}{'reader':>8}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, columns, entries in (
            ("dense, 13 columns", 13, None),
            ("dense, 50 columns", 50, None),
            ("sparse, 1 to 40 of 300", 300, 40),
        ):
            file = Path(folder) / "rows.pbr"
            _write(file, options.rows, columns, entries)
            _check_same(file)
            loop, reader = _seconds(file, options.runs)
            size = file.stat().st_size / 1e6
            print(f"{name:28}{size:7.0f}{loop:8.2f}{reader:8.2f}{loop / reader:7.1f}x")


def _seconds(file: Path, runs: int) -> tuple[float, float]:
    loop, reader = [], []
    for _ in range(runs):
        loop.append(_user(lambda: by_row(file)))
        reader.append(_user(lambda: by_reader(file)))
    return statistics.median(loop), statistics.median(reader)


def _user(call: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before


def by_reader(file: Path) -> int:
    """Read the file as a job does, keeping nothing, and return how many rows it has."""
    reader = Reader(DataOptions(), threads=1)
    return sum(len(records.label) for records in reader.read(Source(file, file.name)))


def by_row(file: Path) -> list[Row]:
    """Read the file one record after the other, for the fields that are there and no others."""
    content = file.read_bytes()
    rows = []
    at = 0
    while at < len(content):
        magic, length = struct.unpack_from("<II", content, at)
        assert magic == MAGIC
        rows.append(_row(content, at + 8, at + 8 + length))
        at += 8 + (length + 3) // 4 * 4
    return rows


def _row(content: bytes, at: int, end: int) -> Row:
    features: tuple[NDArray[np.float32], list[int]] = (_EMPTY, [])
    label = features
    while at < end:
        part = content[at]
        length, at = _varint(content, at + 1)
        found = _tensor(content, at, at + length)
        at += length
        if part == 0x0A:
            features = found
        else:
            label = found
    return float(label[0][0]), *features


_EMPTY = np.zeros(0, np.float32)


def _tensor(content: bytes, at: int, end: int) -> tuple[NDArray[np.float32], list[int]]:
    at += 2 + content[at + 1] + 1  # the name
    _, at = _varint(content, at)
    _, at = _varint(content, at + 1)
    values, keys = _EMPTY, []
    while at < end:
        tag = content[at]
        length, at = _varint(content, at + 1)
        if tag == 0x0A:
            values = np.frombuffer(content, "<f4", length // 4, at)
        elif tag == 0x12:
            stop = at + length
            while at < stop:
                key, at = _varint(content, at)
                keys.append(key)
            length = 0
        at += length
    return values, keys


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _check_same(file: Path) -> None:
    rows = by_row(file)
    values = np.concatenate([row[1] for row in rows])
    found = list(Reader(DataOptions(), threads=1).read(Source(file, file.name)))
    assert [row[0] for row in rows] == np.concatenate([r.label for r in found]).tolist()
    for records in found:
        of = records.features.values if isinstance(records.features, Csr) else records.features
        assert (of.ravel() == values[: of.size]).all()
        values = values[of.size :]
    assert not values.size


def _write(file: Path, rows: int, columns: int, entries: int | None) -> None:
    random = np.random.default_rng(7)
    shape = b"" if entries is None else _field(3, _number(columns))
    with file.open("wb") as stream:
        for i in range(rows):
            keys = b""
            count = columns
            if entries is not None:
                count = int(random.integers(1, entries + 1))
                chosen = np.sort(random.choice(columns, count, replace=False))
                keys = _field(2, b"".join(map(_number, chosen.tolist())))
            values = random.normal(size=count).astype("<f4").tobytes()
            record = _entry(1, _field(1, values) + keys + shape)
            record += _entry(2, _field(1, struct.pack("<f", i % 2)))
            stream.write(struct.pack("<II", MAGIC, len(record)) + record + bytes(-len(record) % 4))


def _entry(number: int, tensor: bytes) -> bytes:
    return _field(number, _field(1, b"values") + _field(2, _field(2, tensor)))


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


if __name__ == "__main__":
    main()
