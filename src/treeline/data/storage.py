"""Where the rows stand until XGBoost has binned them: memory, or a file that nobody sees.

Arrays grow through ``realloc``, which for blocks of this size moves pages, not bytes. Measured
on 1,000,000 x 13 CSV values: 0.55 s of CPU and 117 MiB on top of the imports, against 1.32 s and
255 MiB for reading a whole Arrow table and stacking its columns.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from treeline.data.records import Csr, Floats
from treeline.errors import ResourceError

_FIRST_ROWS = 1 << 12
_PIECE = 1 << 24  # bytes written at a time


class Growing:
    """An array that grows at its end; ``width`` is the length of a row, None for numbers."""

    def __init__(self, dtype: type[np.generic], width: int | None = None) -> None:
        self.rows = 0
        self._tail = () if width is None else (width,)
        self._array: NDArray[Any] = np.empty((0, *self._tail), dtype)

    def room(self, rows: int) -> NDArray[Any]:
        """Return the next ``rows`` rows, to be filled in place."""
        first, self.rows = self.rows, self.rows + rows
        room = len(self._array)
        if self.rows > room:  # by an eighth: numpy touches all it grows by, so room costs memory
            self._resize(max(self.rows, room + room // 8, _FIRST_ROWS))
        return self._array[first : self.rows]

    def append(self, values: NDArray[Any]) -> None:
        """Add rows at the end."""
        self.room(len(values))[:] = values

    def take(self) -> NDArray[Any]:
        """Return the array, with the room to grow given back; nothing is added afterwards."""
        self._resize(self.rows)
        return self._array

    def _resize(self, rows: int) -> None:
        # refcheck: a view of the array is filled before the next call of a method here.
        self._array.resize((rows, *self._tail), refcheck=False)


class DenseRows:
    """Float32 rows, in memory up to ``budget`` rows and in an unlinked temporary file beyond.

    ``spilled`` is called once, when the rows move to the file. A file instead of memory costs
    one write and a read for every pass over the rows, and no memory.
    """

    def __init__(self, width: int, budget: int | None, spilled: Callable[[int], None]) -> None:
        self.width = width
        self._budget = budget
        self._spilled = spilled
        self._memory: Growing | None = Growing(np.float32, width)
        self._file: IO[bytes] | None = None
        self._block: Floats = np.empty((0, width), np.float32)
        self.rows = 0

    def room(self, rows: int) -> Floats:
        """Return the next ``rows`` rows, to be filled in place and then given to ``keep``."""
        over = self._budget is not None and self.rows + rows > self._budget
        if self._memory is not None and over:
            self._spill(self._memory)
        if self._memory is not None:
            block: Floats = self._memory.room(rows)
            return block
        if len(self._block) < rows:
            self._block = np.empty((rows, self.width), np.float32)
        return self._block[:rows]

    def keep(self, block: Floats) -> None:
        """Take over the rows that ``room`` gave."""
        self.rows += len(block)
        if self._file is not None:
            _write(self._file, block)

    def take(self) -> Floats:
        """Return (rows, width): an array, or one that is mapped from the file."""
        self._block = np.empty((0, self.width), np.float32)
        if self._memory is not None:
            array: Floats = self._memory.take()
            return array
        if self._file is None:
            raise AssertionError("neither in memory nor in a file")
        with _disk_errors(), self._file as file:  # what is mapped stays when it is closed
            file.flush()
            return np.memmap(file, np.float32, "r+", shape=(self.rows, self.width))

    def _spill(self, memory: Growing) -> None:
        self._spilled(self.rows)
        with _disk_errors():
            self._file = tempfile.TemporaryFile(prefix="treeline-rows-")  # noqa: SIM115
        rows = memory.take()
        step = max(1, _PIECE // max(1, rows[:1].nbytes))
        for first in range(0, len(rows), step):
            _write(self._file, rows[first : first + step])
        self._memory = None


class SparseRows:
    """Sparse rows in memory."""

    def __init__(self) -> None:
        self._indptr = Growing(np.int64)
        self._indices = Growing(np.int32)
        self._values = Growing(np.float32)
        self._indptr.append(np.zeros(1, np.int64))
        self.width = 0

    @property
    def bytes(self) -> int:
        """The memory the rows take."""
        return 8 * self._values.rows + 8 * self._indptr.rows

    def add(self, block: Csr) -> None:
        """Append the rows of ``block``."""
        self._indptr.append(block.indptr[1:] + self._values.rows)
        self._indices.append(block.indices)
        self._values.append(block.values)
        self.width = max(self.width, block.width)

    def take(self, width: int) -> Csr:
        """Return all rows with ``width`` columns."""
        return Csr(self._indptr.take(), self._indices.take(), self._values.take(), width)


class Picked:
    """Some of the rows that stand in a file, read when a slice of them is asked for."""

    def __init__(self, rows: Floats, numbers: NDArray[np.intp]) -> None:
        self._rows = rows
        self._numbers = numbers

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, as of an array."""
        return len(self._numbers), self._rows.shape[1]

    def __getitem__(self, part: slice) -> Floats:
        """Return a slice of the rows, in memory."""
        return np.asarray(self._rows[self._numbers[part]])


def is_spooled(rows: object) -> bool:
    """Whether ``rows`` stand in a file."""
    return isinstance(rows, np.memmap | Picked)


def _write(file: IO[bytes], rows: Floats) -> None:
    with _disk_errors():
        file.write(rows)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.gettempdir()
        try:
            free = f" ({shutil.disk_usage(folder).free / 1e9:.1f} GB free there)"
        except OSError:
            free = ""
        raise ResourceError(
            f"The rows do not fit the memory and could not be kept in {folder}: "
            f"{error.strerror or error}{free}",
            "Use an instance with more memory or a larger volume, or point TMPDIR to one.",
        ) from error
