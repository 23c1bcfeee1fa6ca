"""One table written in every format, compression and input mode that a job can be given.

The formats are written by their own libraries where there is one; RecordIO-protobuf is written
by hand from its description, so that reader and writer share nothing.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import feather, ipc, parquet

Floats = NDArray[np.float32]
Texts = list[str | None]
Column = Floats | Texts

MODES = ("File", "FastFile", "Pipe")


@dataclass(frozen=True)
class Table:
    """Rows by column: (rows,) float32 with nan for missing, or texts with None for missing.

    ``group`` are whole numbers from 0. In formats with columns, weight and group come last.
    """

    label: Column
    features: dict[str, Column]
    weight: Floats | None = None
    group: NDArray[np.int64] | None = None

    @property
    def rows(self) -> int:
        return len(self.label)

    @property
    def has_text(self) -> bool:
        return any(isinstance(column, list) for column in (self.label, *self.features.values()))

    @property
    def matrix(self) -> Floats:
        """The features as (rows, columns), where all are numbers."""
        columns = [column for column in self.features.values() if not isinstance(column, list)]
        return np.column_stack(columns)

    @property
    def columns(self) -> dict[str, Column | NDArray[np.int64]]:
        """All columns as formats with columns have them: label, features, weight, group."""
        last = {"weight": self.weight, "group": self.group}
        present = {name: column for name, column in last.items() if column is not None}
        return {"label": self.label, **self.features, **present}

    @property
    def column_options(self) -> dict[str, str]:
        """The hyperparameters that say which columns are weight and group."""
        last = {"weight_column": self.weight, "group_column": self.group}
        present = [name for name, column in last.items() if column is not None]
        return {name: str(i - len(present)) for i, name in enumerate(present)}

    def part(self, first: int, last: int) -> Table:
        """Return the rows from ``first`` to before ``last``."""
        rows = slice(first, last)
        return replace(
            self,
            label=self.label[rows],
            features={name: column[rows] for name, column in self.features.items()},
            weight=None if self.weight is None else self.weight[rows],
            group=None if self.group is None else self.group[rows],
        )

    def parts(self, count: int) -> list[Table]:
        """Return the rows in ``count`` tables, of different sizes where there are enough."""
        cuts = [round(self.rows * (i / count) ** 1.3) for i in range(count + 1)]
        return [self.part(a, b) for a, b in pairwise(cuts) if b > a]


@dataclass(frozen=True)
class Format:
    """A way to write a table: its content type, and what it can say."""

    content_type: str | None
    write: Callable[[Table], bytes]
    texts: bool = False
    weights: bool = True
    groups: bool = True
    joins: bool = True  # whether files one after the other in a FIFO can be read
    header: bool | None = None  # of CSV
    delimiter: str | None = None  # of CSV, as the hyperparameter names it

    def can_say(self, table: Table) -> bool:
        return (
            (self.texts or not table.has_text)
            and (self.weights or table.weight is None)
            and (self.groups or table.group is None)
        )


# Text


def _shortest(value: np.float32) -> str:
    return str(value)


def _nine_digits(value: np.float32) -> str:
    return f"{value:.9g}"


def _as_double(value: np.float32) -> str:
    return repr(float(value))


def _fields(
    column: Column | NDArray[np.int64], number: Callable[[np.float32], str], missing: str
) -> list[str]:
    if isinstance(column, list):
        return [missing if text is None else text for text in column]
    if column.dtype == np.int64:
        return [str(each) for each in column]
    return [missing if np.isnan(each) else number(each) for each in column]


def _csv(
    table: Table,
    *,
    delimiter: str = ",",
    header: bool = False,
    line_end: str = "\n",
    quoting: int = csv.QUOTE_MINIMAL,
    missing: str = "",
    number: Callable[[np.float32], str] = _shortest,
    bom: bool = False,
) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    if header:
        writer.writerow(table.columns)
    columns = [_fields(column, number, missing) for column in table.columns.values()]
    writer.writerows(zip(*columns, strict=True))
    return (b"\xef\xbb\xbf" if bom else b"") + sink.getvalue().encode()


def _libsvm(table: Table, *, say_missing: bool = False) -> bytes:
    """Missing values are left out, or written as nan."""
    label = _fields(table.label, _shortest, "nan")
    if table.weight is not None:
        weights = _fields(table.weight, _nine_digits, "")
        label = [f"{a}:{b}" for a, b in zip(label, weights, strict=True)]
    if table.group is not None:
        label = [f"{a} qid:{b}" for a, b in zip(label, table.group, strict=True)]
    rows = [
        [
            f"{j}:{'nan' if np.isnan(value) else _shortest(value)}"
            for j, value in enumerate(row)
            if say_missing or not np.isnan(value)
        ]
        for row in table.matrix
    ]
    lines = (" ".join([head, *row]) for head, row in zip(label, rows, strict=True))
    return "".join(line + "\n" for line in lines).encode()


# Arrow


def _arrow_column(
    column: Column | NDArray[np.int64], *, nan: bool, wide: bool, encoded: bool
) -> pa.Array:
    if isinstance(column, list):
        texts = pa.array(column, pa.string())
        return texts.dictionary_encode() if encoded else texts
    if column.dtype == np.int64:
        return pa.array(column)
    numbers = column.astype(np.float64) if wide else column
    return pa.array(numbers, mask=None if nan else np.isnan(column))


def _arrow_table(
    table: Table, *, nan: bool = False, wide: bool = False, encoded: bool = False
) -> pa.Table:
    """Missing numbers are null, or nan; numbers are float32, or float64 (``wide``)."""
    return pa.table(
        {
            name: _arrow_column(column, nan=nan, wide=wide, encoded=encoded)
            for name, column in table.columns.items()
        }
    )


def _parquet(
    table: Table, *, groups: int = 1, compression: str = "snappy", pages: str = "1.0", **how: bool
) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(
        _arrow_table(table, **how),
        sink,
        row_group_size=max(1, -(-table.rows // groups)),
        compression=compression,
        data_page_version=pages,
    )
    return sink.getvalue()


def _ipc(
    table: Table, *, file: bool, compression: str | None = None, batches: int = 3, **how: bool
) -> bytes:
    data = _arrow_table(table, **how)
    sink = io.BytesIO()
    options = ipc.IpcWriteOptions(compression=compression)
    with (ipc.new_file if file else ipc.new_stream)(sink, data.schema, options=options) as writer:
        writer.write_table(data, max_chunksize=max(1, -(-table.rows // batches)))
    return sink.getvalue()


def _feather(table: Table) -> bytes:
    sink = io.BytesIO()
    feather.write_feather(_arrow_table(table), sink, compression="lz4")
    return sink.getvalue()


# NumPy


def _npz(
    table: Table, *, save: Callable[..., None] = np.savez, dtype: str = "<f4", order: str = "C"
) -> bytes:
    arrays: dict[str, Any] = {
        "X": table.matrix.astype(dtype, order=order),  # type: ignore[call-overload]
        "y": np.asarray(table.label).astype(dtype),
    }
    if table.weight is not None:
        arrays["weight"] = table.weight
    if table.group is not None:
        arrays["qid"] = table.group
    sink = io.BytesIO()
    save(sink, **arrays)
    return sink.getvalue()


# RecordIO-protobuf


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _tensor(
    number: int, values: NDArray[Any], *, keys: Sequence[int] = (), width: int | None = None
) -> bytes:
    """A map entry ``values`` of the record's field ``number``: 1 features, 2 label."""
    tensor = _message(1, values.tobytes())
    if keys:
        tensor += _message(2, b"".join(map(_varint, keys)))
    if width is not None:
        tensor += _message(3, _varint(width))
    kind = 2 if values.dtype == np.float32 else 3
    return _message(number, _message(1, b"values") + _message(2, _message(kind, tensor)))


def _framed(record: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(record)) + record + bytes(-len(record) % 4)


def _recordio(table: Table, *, dtype: str = "<f4", sparse: bool = False) -> bytes:
    """Missing values are nan, or left out of sparse rows."""
    rows = []
    for label, row in zip(np.asarray(table.label), table.matrix, strict=True):
        if sparse:
            keys = np.flatnonzero(~np.isnan(row))
            values, width = row[keys], len(row)
            features = _tensor(1, values.astype(dtype), keys=keys.tolist(), width=width)
        else:
            features = _tensor(1, row.astype(dtype))
        rows.append(_framed(features + _tensor(2, np.array([label], dtype))))
    return b"".join(rows)


# All of them

_PROTOBUF = "application/x-recordio-protobuf"
_FILE = "application/vnd.apache.arrow.file"
_STREAM = "application/vnd.apache.arrow.stream"

FORMATS = {
    "csv": Format("text/csv", _csv, texts=True, header=False, delimiter="comma"),
    "csv-header": Format(
        "text/csv; charset=utf-8",
        partial(_csv, header=True, number=_as_double),
        texts=True,
        header=True,
        delimiter="comma",
    ),
    "csv-crlf": Format(
        "text/csv",
        partial(_csv, header=True, line_end="\r\n", missing="NA", bom=True),
        texts=True,
        header=True,
        delimiter="comma",
    ),
    "csv-quoted": Format(
        "csv",
        partial(_csv, header=True, quoting=csv.QUOTE_ALL, number=_nine_digits),
        texts=True,
        header=True,
        delimiter="comma",
    ),
    "csv-tab": Format(
        "text/tab-separated-values",
        partial(_csv, delimiter="\t", missing="null", number=_nine_digits),
        texts=True,
        header=False,
        delimiter="tab",
    ),
    "csv-semicolon": Format(
        "text/csv",
        partial(_csv, delimiter=";", header=True),
        texts=True,
        header=True,
        delimiter="semicolon",
    ),
    "csv-pipe": Format(
        "text/csv; label_size=1",
        partial(_csv, delimiter="|", missing="NaN"),
        texts=True,
        header=False,
        delimiter="pipe",
    ),
    "csv-blanks": Format(
        "text/csv", partial(_csv, delimiter=" ", missing="?"), header=False, delimiter="space"
    ),
    "libsvm": Format("text/libsvm", _libsvm),
    "libsvm-nan": Format("text/x-libsvm", partial(_libsvm, say_missing=True)),
    "parquet": Format("application/x-parquet", partial(_parquet, groups=7), texts=True),
    "parquet-zstd": Format(
        "application/x-parquet",
        partial(_parquet, compression="zstd", pages="2.0", nan=True, wide=True),
        texts=True,
    ),
    "parquet-dictionary": Format(
        "parquet", partial(_parquet, groups=3, compression="none", encoded=True), texts=True
    ),
    "arrow-file": Format(_FILE, partial(_ipc, file=True, encoded=True), texts=True),
    "arrow-stream": Format(_STREAM, partial(_ipc, file=False, nan=True), texts=True),
    "arrow-stream-zstd": Format(
        _STREAM, partial(_ipc, file=False, compression="zstd", wide=True), texts=True
    ),
    "feather-lz4": Format("application/x-feather", _feather, texts=True),
    "recordio-float32": Format(_PROTOBUF, _recordio, weights=False, groups=False),
    "recordio-float64": Format(
        _PROTOBUF, partial(_recordio, dtype="<f8"), weights=False, groups=False
    ),
    "recordio-sparse": Format(
        _PROTOBUF, partial(_recordio, sparse=True), weights=False, groups=False
    ),
    "npz": Format("application/x-npz", _npz, joins=False),
    "npz-compressed": Format(
        "npz", partial(_npz, save=np.savez_compressed, dtype="<f8"), joins=False
    ),
    "npz-fortran": Format("application/x-npz", partial(_npz, order="F"), joins=False),
}


def _zstd(data: bytes) -> bytes:
    """One frame that does not say how long its content is, as a stream is compressed."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": partial(gzip.compress, compresslevel=1, mtime=0),
    "zstd": _zstd,
    "bz2": partial(bz2.compress, compresslevel=1),
}


@dataclass
class Channels:
    """Writes channels under ``root``, an ``input/data`` folder, and feeds their FIFOs.

    ``entries`` is what inputdataconfig.json says of them. Used as a context: at its end every
    thread that fed a FIFO is gone, whether anybody has read from it or not.
    """

    root: Path
    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    _feeders: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Channels:
        return self

    def __exit__(self, *_: object) -> None:
        self._feeders.close()

    def write(
        self,
        name: str,
        files: Sequence[bytes],
        content_type: str | None,
        mode: str = "File",
        *,
        backwards: bool = False,
    ) -> None:
        """Write the files of a channel: nested where there are several, or into one FIFO.

        ``backwards`` creates them in the opposite order.
        """
        entry = {"TrainingInputMode": mode, "S3DistributionType": "FullyReplicated"}
        self.entries[name] = entry | ({} if content_type is None else {"ContentType": content_type})
        if mode == "Pipe":
            self.root.mkdir(parents=True, exist_ok=True)
            self._feeders.enter_context(_fed(self.root / f"{name}_0", b"".join(files)))
            return
        placed = list(zip(places(len(files)), files, strict=True))
        for place, content in reversed(placed) if backwards else placed:
            path = self.root / name / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def places(count: int) -> list[str]:
    """Return where the files of a channel stand, in the order in which they are read."""
    if count == 1:
        return ["part-00000"]
    folders = ("", "a/", "a/b/", "a/c/", "d/")
    return sorted((f"{folders[i % 5]}part-{i:05}" for i in range(count)), key=Path)


@contextmanager
def _fed(fifo: Path, content: bytes) -> Iterator[None]:
    opened = threading.Event()

    def feed() -> None:
        try:
            with fifo.open("wb", buffering=0) as file:
                opened.set()
                view = memoryview(content)
                while view:
                    view = view[file.write(view[:50_001]) :]
        except BrokenPipeError:  # the reader has seen enough
            return

    os.mkfifo(fifo)
    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        if thread.is_alive():
            opened.wait()
        os.close(reader)
        thread.join()
