"""The time of every row: numbers, or dates and date-times, kept so that they sort right.

float32, in which features stand, holds the seconds since 1970 to two minutes only. So whole
numbers are int64, a column with others is float64, and dates are int64 nanoseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from treeline.data import encoding
from treeline.errors import DataError, shortened

type Times = NDArray[np.int64] | NDArray[np.float64]

NUMBERS, DATES, ZONED = "numbers", "dates", "dates with a time zone"

_NEITHER = "which is neither a number nor an ISO 8601 date from 1678 to 2261"
_REMEDY = (
    "Give every row a number, a date (2024-01-31) or a date-time (2024-01-31T08:30:00), in all "
    "rows of the job alike, with a time zone in all of them or in none; or drop these rows."
)


class TimeColumn:
    """The times of one data set, batch by batch. ``kind`` is what they are, None before the first.

    ``kind`` is ``NUMBERS``, ``DATES`` or ``ZONED``; one that is given, that of train, is kept to.
    """

    def __init__(self, kind: str | None = None) -> None:
        self.kind = kind
        self._pieces: list[Times] = []

    def add(self, column: pa.Array, where: Callable[[int], str]) -> None:
        """Append a batch: numbers, timestamps, dates, or text that holds numbers or dates.

        ``where`` is what messages call a row of the batch. Raises ``DataError`` for a time that
        is missing, infinite, no time, or of another kind than those before it.
        """
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        missing = int(pc.index(pc.is_null(column, nan_is_null=True), True).as_py())
        if missing >= 0:
            raise DataError(f"{where(missing)}: the time is missing", _REMEDY)
        if not len(column):
            return
        kind, times = _read(column) or (None, np.empty(0))
        if kind is None or kind != (self.kind or kind):
            self._refuse(column, where)
        self.kind = kind
        self._pieces.append(times)

    @property
    def whole(self) -> bool:
        """Whether all times are kept as int64."""
        return all(piece.dtype == np.int64 for piece in self._pieces)

    def follow(self, kind: str | None, where: Callable[[int], str]) -> None:
        """Keep to ``kind``, what the rows of the workers before this one hold.

        ``where`` is what messages call a row. Raises ``DataError`` if these rows hold another.
        """
        if self.kind is not None and self.kind != kind:
            raise DataError(
                f"{where(0)}: the times are {self.kind}, where the rows before hold {kind}", _REMEDY
            )
        self.kind = kind

    def take(self, *, whole: bool = True) -> Times:
        """Return (rows,) all times; nothing is added afterwards.

        ``whole`` is whether other workers keep theirs as int64.
        """
        pieces, self._pieces = self._pieces, []
        none = np.empty(0, np.int64 if whole else np.float64)  # beside float64 all are
        return np.concatenate([none, *pieces])

    def _refuse(self, column: pa.Array, where: Callable[[int], str]) -> Never:
        for row in range(len(column)):
            found = _read(column.slice(row, 1))
            if found is not None and found[0] == (self.kind or found[0]):
                self.kind = found[0]
                continue
            what = _NEITHER if found is None else f"where the rows before hold {self.kind}"
            text = shortened(repr(str(column[row].as_py())), 60)
            raise DataError(f"{where(row)}: the time is {text}, {what}", _REMEDY)
        raise AssertionError("every row alone can be read, all of them cannot")


def _read(column: pa.Array) -> tuple[str, Times] | None:
    """Return what ``column``, without nulls, holds and its times; None if some are no times."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        zone = getattr(column.type, "tz", None)
        return _dates(column, zone)
    return _numbers(column) or _dates(column, None) or _dates(column, "UTC")


def _dates(column: pa.Array, zone: str | None) -> tuple[str, Times] | None:
    # Arrow reads a time zone where one is asked for, and refuses it where none is.
    found = _cast(column, pa.timestamp("ns", zone))
    return None if found is None else (ZONED if zone else DATES, _plain(found, np.int64))


def _numbers(column: pa.Array) -> tuple[str, Times] | None:
    found = _cast(column, pa.int64())
    if found is None and (found := _cast(column, pa.float64())) is not None:
        whole = _cast(found, pa.int64())  # text such as 1.0 or 1e9
        if whole is None:
            times = _plain(found, np.float64)
            return (NUMBERS, times) if np.isfinite(times).all() else None
        found = whole
    return None if found is None else (NUMBERS, _plain(found, np.int64))


def _cast(column: pa.Array, type_: pa.DataType) -> pa.Array | None:
    try:
        return pc.cast(column, type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _plain(column: pa.Array, dtype: type[np.int64 | np.float64]) -> Times:
    return encoding.values(column, np.dtype(dtype), fill=0)  # type: ignore[return-value]
