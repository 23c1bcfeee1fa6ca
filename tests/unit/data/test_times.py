"""Times as numbers that sort right, and what is no time."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from treeline.data.times import DATES, NUMBERS, ZONED, TimeColumn
from treeline.errors import DataError

NOON = 1_704_110_400_000_000_000  # 2024-01-01T12:00:00Z in nanoseconds since 1970
EPOCH = 1_700_000_001  # seconds, which float32 would round to a multiple of 128


def where(row: int) -> str:
    return f"train/a.csv row {row + 1}, column 2 't'"


def times(*batches: Any, kind: str | None = None) -> tuple[str | None, Any]:
    column = TimeColumn(kind)
    for batch in batches:
        column.add(batch if isinstance(batch, pa.Array) else pa.array(batch), where)
    return column.kind, column.take()


def refused(*batches: Any, kind: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        times(*batches, kind=kind)
    assert caught.value.cause.isprintable()
    assert "ISO" in caught.value.cause + caught.value.remedy or "date" in caught.value.remedy
    return caught.value.cause


@pytest.mark.parametrize(
    "column",
    [
        pa.array([EPOCH, 2**53 + 1]),
        pa.array([EPOCH, 2**53 + 1], pa.uint64()),
        pa.array([str(EPOCH), str(2**53 + 1)]),
        pa.array([str(EPOCH), str(2**53 + 1)]).dictionary_encode(),
        pa.array([str(EPOCH), str(2**53 + 1)], pa.large_string()),
        pa.array([decimal.Decimal(EPOCH), decimal.Decimal(2**53 + 1)]),
    ],
)
def test_whole_numbers_keep_every_digit(column: pa.Array) -> None:
    kind, found = times(column)
    assert kind == NUMBERS
    assert found.dtype == np.int64
    assert found.tolist() == [EPOCH, 2**53 + 1]


@pytest.mark.parametrize(
    "column",
    [[1.5, -2.0], pa.array(["1.5", "-2"]), pa.array(np.array([1.5, -2], np.float16)),
     pa.array([decimal.Decimal("1.5"), decimal.Decimal("-2.0")])],
)  # fmt: skip
def test_other_numbers_are_float64(column: Any) -> None:
    kind, found = times(column)
    assert (kind, found.dtype) == (NUMBERS, np.float64)
    assert found.tolist() == [1.5, -2]


def test_whole_numbers_are_the_same_however_they_are_written() -> None:
    for column in ([3.0, 1e9], ["3.0", "1e9"], ["3", "+1000000000"], [3, 10**9]):
        kind, found = times(column)
        assert (kind, found.dtype, found.tolist()) == (NUMBERS, np.int64, [3, 10**9])


def test_a_later_batch_may_have_fractions() -> None:
    _, found = times(["1", "2"], ["2.5"])
    assert (found.dtype, found.tolist()) == (np.float64, [1, 2, 2.5])


@pytest.mark.parametrize(
    "column",
    [
        ["2024-01-01T12:00:00", "2024-01-02"],
        ["2024-01-01 12:00", "2024-01-02 00:00:00.000"],
        pa.array(["2024-01-01T12:00:00", "2024-01-02"]).dictionary_encode(),
        [datetime.datetime(2024, 1, 1, 12), datetime.datetime(2024, 1, 2)],
        pa.array([NOON // 10**9, NOON // 10**9 + 43200], pa.timestamp("s")),
        pa.array([NOON // 10**9, NOON // 10**9 + 43200], pa.timestamp("s")).dictionary_encode(),
    ],
)
def test_dates_in_every_form_are_nanoseconds(column: Any) -> None:
    kind, found = times(column)
    assert (kind, found.dtype) == (DATES, np.int64)
    assert found.tolist() == [NOON, NOON + 12 * 3600 * 10**9]


def test_days_and_nanoseconds() -> None:
    days = [datetime.date(1970, 1, 2), datetime.date(1969, 12, 31)]
    for type_ in (pa.date32(), pa.date64()):
        assert times(pa.array(days, type_))[1].tolist() == [86400 * 10**9, -86400 * 10**9]
    assert times(pa.array([NOON, NOON + 1], pa.timestamp("ns")))[1].tolist() == [NOON, NOON + 1]
    assert times(["2024-01-01 12:00:00.000000001"])[1].tolist() == [NOON + 1]


def test_time_zones_are_reckoned_with() -> None:
    kind, found = times(["2024-01-01T12:00:00Z", "2024-01-01T13:00:00+01:00"])
    assert (kind, found.tolist()) == (ZONED, [NOON, NOON])
    stored = pa.array([NOON // 1000], pa.timestamp("us", "Europe/Berlin"))
    assert times(stored) == (ZONED, [NOON])


@pytest.mark.parametrize(
    ("batches", "cause"),
    [
        ([["1", "x"]], "row 2, column 2 't': the time is 'x', which is neither a number nor"),
        ([["x", "1"]], "row 1, column 2 't': the time is 'x', which is neither"),
        ([["1", "2024-01-01"]], "row 2, column 2 't': the time is '2024-01-01', where the rows "
         "before hold numbers"),
        ([["2024-01-01", "5"]], "the time is '5', where the rows before hold dates"),
        ([["2024-01-01"], ["5"]], "row 1, column 2 't': the time is '5', where the rows before"),
        ([["2024-01-01", "2024-01-01T00:00:00Z"]], "where the rows before hold dates"),
        ([["2024-01-01T00:00:00Z"], [datetime.datetime(2024, 1, 1)]],
         "where the rows before hold dates with a time zone"),
        ([["2024-02-30"]], "neither"),
        ([["12:30"]], "neither"),
        ([["1", None]], "row 2, column 2 't': the time is missing"),
        ([[1.5, float("nan")]], "row 2, column 2 't': the time is missing"),
        ([["1.5", "nan"]], "row 2, column 2 't': the time is 'nan', which is neither"),
        ([[1.5, float("inf")]], "row 2, column 2 't': the time is 'inf', which is neither"),
        ([["2024-01-01", "9999-12-31"]], "the time is '9999-12-31', which is neither"),
        ([[datetime.date(9999, 12, 31)]], "the time is '9999-12-31', which is neither"),
        ([["1", ""]], "the time is '', which is neither"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_named_with_its_row(batches: list[Any], cause: str) -> None:
    assert cause in refused(*batches)


def test_the_kind_of_train_is_kept_to() -> None:
    assert times(["5"], kind=NUMBERS)[1].tolist() == [5]
    assert "where the rows before hold dates" in refused(["5"], kind=DATES)


def test_a_batch_without_rows_is_nothing() -> None:
    empty = pa.array([], pa.string())
    assert times(empty, ["2024-01-01T12:00:00"], empty)[1].tolist() == [NOON]
