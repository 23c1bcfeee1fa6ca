"""npz: the arrays ``X`` and ``y``, and perhaps weights, groups and names, as numpy saves them.

The members of the zip are read side by side, block by block, so memory does not grow with the
file; only an array in Fortran order has to be read whole. Pickled members are never loaded.
Source: NumPy, "NPY format" (NEP 1) and ``numpy.savez``.
"""

from __future__ import annotations

import contextlib
import math
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from treeline.data.records import Floats, Records
from treeline.errors import DataError, one_line, shortened

if TYPE_CHECKING:
    from treeline.data.source import Source
    from treeline.hyperparameters import DataOptions

_PARTS = {
    "X": ("X", "x"),
    "y": ("y", "Y"),
    "weight": ("weight", "w", "sample_weight"),
    "qid": ("qid", "group"),
    "feature_names": ("feature_names",),
}
_EXPECTED = (
    "X (rows, columns) and y (rows,), and if need be weight (w, sample_weight), qid (group) and "
    "feature_names"
)
_SPARSE = {"data", "shape", "format"}  # scipy.sparse.save_npz, whatever the layout
_BLOCK_ROWS = 1 << 16
_BLOCK_BYTES = 1 << 22
_EXACT = 1 << 24  # float32 holds every whole number up to here; IEEE 754, binary32
_KINDS = {
    "O": "Python objects",
    "U": "text",
    "S": "text",
    "c": "complex numbers",
    "M": "dates",
    "m": "durations",
    "V": "structures",
}


class Reader:
    """Reads the npz files of one channel; see ``formats.RecordReader``."""

    def __init__(self, options: DataOptions, threads: int) -> None:
        self.notes: list[str] = []

    def read(self, source: Source) -> Iterator[Records]:
        """Yield the rows of the next file in order. Raises ``DataError``."""
        name = source.name
        with _translated(name), contextlib.ExitStack() as stack:
            stack.enter_context(source.watched())
            file = source.random_access()
            if not isinstance(file, Path):
                stack.enter_context(file)
            archive = stack.enter_context(zipfile.ZipFile(file))
            arrays = {
                part: _Array(stack.enter_context(archive.open(member)), member, name)
                for part, member in _members(archive, name).items()
            }
            _check_shapes(arrays)
            yield from self._records(arrays, _feature_names(arrays))

    def _records(
        self, arrays: Mapping[str, _Array], names: tuple[str, ...] | None
    ) -> Iterator[Records]:
        y, weight, qid = arrays["y"], arrays.get("weight"), arrays.get("qid")
        for block in self._features(arrays["X"]):
            rows = len(block)
            yield Records(
                label=self._floats(y, y.take(rows)),
                features=block,
                weight=None if weight is None else self._floats(weight, weight.take(rows)),
                group=None if qid is None else _ids(qid, qid.take(rows)),
                names=names,
            )

    def _features(self, x: _Array) -> Iterator[Floats]:
        rows, columns = x.shape
        step = max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // (columns * x.dtype.itemsize)))
        if x.fortran:
            self._note(
                f"{x.member} is stored column by column (Fortran order) and was read whole; "
                "np.ascontiguousarray before saving lets it be read in blocks"
            )
            whole = np.empty((columns, rows), np.float32)
            for column in whole:
                column[:] = self._floats(x, x.take(rows))
            for first in range(0, rows, step):
                yield np.ascontiguousarray(whole[:, first : first + step].T)
        else:
            for first in range(0, rows, step):
                values = x.take(min(step, rows - first) * columns)
                yield self._floats(x, values).reshape(-1, columns)

    def _floats(self, array: _Array, values: NDArray[Any]) -> Floats:
        with np.errstate(over="ignore"):  # becomes infinite, for the matrix to refuse
            numbers = values.astype(np.float32)
        wide = values.dtype.kind in "iu" and values.dtype.itemsize >= 4
        if wide and max(int(values.max()), -int(values.min())) > _EXACT:
            self._note(
                f"{array.member} holds whole numbers beyond {_EXACT:,}, which float32 rounds"
            )
        return numbers

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)


class _Array:
    """One member of the archive: its header read, its values to be taken from front to back."""

    def __init__(self, stream: IO[bytes], member: zipfile.ZipInfo, name: str) -> None:
        self.member = member.filename.removesuffix(".npy")
        self.where = f"{name}: {self.member}"
        self._stream = stream
        version = npy.read_magic(self._stream)
        if version not in ((1, 0), (2, 0)):
            raise DataError(
                f"{self.where} is of .npy version {version[0]}.{version[1]}, expected 1.0 or 2.0",
                "Save plain arrays of numbers with numpy.savez.",
            )
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(self._stream)
        self.shape: tuple[int, ...] = shape
        self.dtype: np.dtype[Any] = dtype
        self.taken = 0  # values so far
        self.fortran = fortran and len(shape) > 1 and shape[1] > 1
        promised = self._stream.tell() + math.prod(shape) * dtype.itemsize
        if dtype.kind != "O" and promised != member.file_size:
            raise DataError(
                f"{self.where} has {member.file_size} bytes; its shape {shape} of {dtype} needs "
                f"{promised}",
                "Save the file again.",
            )

    def take(self, count: int) -> NDArray[Any]:
        """Return the next ``count`` values as stored; the last ones compare the checksum."""
        wanted = count * self.dtype.itemsize
        data = self._stream.read(wanted)
        if len(data) < wanted:
            raise EOFError(f"{self.member} ends after {self.taken} values")
        self.taken += count
        return np.frombuffer(data, self.dtype)


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        struct.error,
        tokenize.TokenError,
        RuntimeError,  # zipfile's word for an encrypted or unknown way of storing
    ) as error:
        text = shortened(one_line(error), 300)
        raise DataError(
            f"{name}: cannot be read as npz: {text or type(error).__name__}",
            "Check that the file is complete and was written by numpy.savez.",
        ) from error


def _members(archive: zipfile.ZipFile, name: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members by the part they play."""
    infos = archive.infolist()
    found = [info.filename.removesuffix(".npy") for info in infos]
    if {*found} >= _SPARSE:
        raise DataError(
            f"{name}: is a matrix saved by scipy.sparse.save_npz, without labels",
            "Write sparse data as libsvm, with sklearn.datasets.dump_svmlight_file.",
        )
    parts = {alias: part for part, aliases in _PARTS.items() for alias in aliases}
    members: dict[str, zipfile.ZipInfo] = {}
    for info, member in zip(infos, found, strict=True):
        if member not in parts or parts[member] in members or member == info.filename:
            break
        members[parts[member]] = info
    if len(members) < len(infos) or not {"X", "y"} <= members.keys():
        shown = ", ".join(shortened(repr(each), 40) for each in found[:8]) or "nothing"
        raise DataError(
            f"{name}: holds {shown}{' and more' if len(found) > 8 else ''}; expected {_EXPECTED}, "
            "each once",
            "Save it with numpy.savez(file, X=features, y=labels).",
        )
    for info in infos:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                f"{name}: {info.filename} is compressed by zip method {info.compress_type}, "
                "expected 0 or 8",
                "Save the file with numpy.savez or numpy.savez_compressed.",
            )
    before = min(info.header_offset for info in infos)
    if before:
        raise DataError(
            f"{name}: has {before} bytes in front of the archive, perhaps another archive",
            "Give npz files in File or FastFile mode; a pipe joins them into one.",
        )
    return members


def _check_shapes(arrays: Mapping[str, _Array]) -> None:
    for part, array in arrays.items():
        if part != "feature_names" and array.dtype.kind not in "fiub":
            what = _KINDS.get(array.dtype.kind, "values of another kind")
            raise DataError(
                f"{array.where} holds {what} ({array.dtype}), expected numbers",
                "Number the classes, or give the data as CSV or Parquet."
                if part == "y"
                else "Convert it to an array of numbers before saving.",
            )
    x = arrays["X"]
    if len(x.shape) != 2 or 0 in x.shape:
        raise DataError(
            f"{x.where} has the shape {x.shape}, expected (rows, columns), at least one of each",
            "Save one row for each example and one column for each feature.",
        )
    rows = x.shape[0]
    for part in ("y", "weight", "qid"):
        if part in arrays and (array := arrays[part]).shape not in ((rows,), (rows, 1)):
            sizes = " (one id for each row, not the sizes of the groups)" if part == "qid" else ""
            raise DataError(
                f"{array.where} has the shape {array.shape}, expected ({rows},){sizes}: "
                f"{x.member} has {rows} rows",
                f"Save one value for each row of {x.member}.",
            )


def _feature_names(arrays: Mapping[str, _Array]) -> tuple[str, ...] | None:
    array = arrays.get("feature_names")
    if array is None:
        return None
    columns = arrays["X"].shape[1]
    if array.dtype.kind not in "US" or array.shape != (columns,):
        raise DataError(
            f"{array.where} has the shape {array.shape} of {array.dtype}, expected ({columns},) "
            "of text",
            "Save numpy.array(names, dtype=str), a name for each column.",
        )
    values = array.take(columns)
    names = tuple(v.decode() if isinstance(v, bytes) else v for v in values.tolist())
    counts = Counter(names)
    bad = [each for each in names if not each.strip() or counts[each] > 1]
    if bad:
        raise DataError(
            f"{array.where} has {bad[0]!r} {counts[bad[0]]} times, expected each name once "
            "and none empty",
            "Give every column a name of its own.",
        )
    return names


def _ids(array: _Array, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return group ids as int64. Raises ``DataError`` for what is no whole number of 64 bits."""
    whole = values.dtype.kind in "iub"
    with np.errstate(invalid="ignore"):
        ids = values.astype(np.int64)
    bad = (ids < 0) & (values > 0) if whole else ids.astype(values.dtype) != values
    if bad.any():
        row = array.taken - len(values) + int(bad.argmax()) + 1
        raise DataError(
            f"{array.where} row {row}: found {values[bad.argmax()]}, expected a whole number",
            "Number the groups with 64-bit integers.",
        )
    return ids
