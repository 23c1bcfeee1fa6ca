"""What becomes of a column of each Arrow type: a number, a text, or a refusal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treeline.data import arrow_types
from treeline.data.arrow_types import Conversion
from treeline.data.columns import Layout
from treeline.errors import DataError, ResourceError, shortened

LABEL = pa.array([0.0, 1.0, 0.0], pa.float32())


def layout(fields: list[pa.Field], **more: Any) -> Layout:
    names = tuple(field.name for field in fields)
    parts: dict[str, Any] = {"label": 0, "features": tuple(range(1, len(fields)))}
    return Layout(names, len(fields), **(parts | more))


def converted(column: pa.Array, notes: list[str] | None = None, **more: Any) -> pa.Array:
    """Return ``column`` as read, where it is column 1 'x' behind a label."""
    label = pa.nulls(len(column), pa.float32())
    batch = pa.RecordBatch.from_arrays([label, column], names=["y", "x"])
    fields = list(batch.schema)
    conversion = Conversion(
        fields, layout(fields, **more), "a.parquet", [] if notes is None else notes
    )
    conversion.check(batch)
    read = conversion.convert(batch)
    read.validate(full=True)
    assert read.schema.names == ["y", "x"]
    return read.column(1)


def as_text(column: pa.Array) -> list[Any]:
    read = converted(column, text=frozenset({1}))
    kind = read.type.value_type if pa.types.is_dictionary(read.type) else read.type
    assert kind == pa.string()
    texts: list[Any] = read.to_pylist()
    return texts


def refused(columns: dict[str, pa.Array], **more: Any) -> DataError:
    fields = list(pa.table({"y": LABEL} | columns).schema)
    with pytest.raises(DataError) as caught:
        Conversion(fields, layout(fields, **more), "a.parquet", [])
    assert caught.value.cause.startswith("a.parquet: ")
    return caught.value


NUMBERS = [
    (pa.int8(), [-128, 127, None]),
    (pa.uint8(), [0, 255, None]),
    (pa.int16(), [-3, None, 5]),
    (pa.int32(), [16777217, None, -1]),
    (pa.int64(), [2**62 + 1, None, -1]),
    (pa.uint64(), [2**64 - 1, None, 0]),
    (pa.float16(), [0.5, None, -2.0]),
    (pa.float32(), [0.1, None, float("inf")]),
    (pa.float64(), [0.1, None, 1e-300]),
    (pa.bool_(), [True, None, False]),
    (pa.decimal32(5, 2), [Decimal("1.25"), None, Decimal("-0.10")]),
    (pa.decimal64(12, 2), [Decimal("1.25"), None, Decimal("-0.10")]),
    (pa.decimal128(10, 2), [Decimal("1.25"), None, Decimal("-0.10")]),
    (pa.decimal256(50, 2), [Decimal("1.25"), None, Decimal("-0.10")]),
    (pa.null(), [None, None, None]),
]


def array(kind: Any, values: list[Any]) -> pa.Array:
    return pa.array([np.float16(v) if kind == pa.float16() and v else v for v in values], kind)


@pytest.mark.parametrize("number", [frozenset(), frozenset({1})], ids=["found", "asked for"])
@pytest.mark.parametrize(("kind", "values"), NUMBERS, ids=str)
def test_numbers_of_every_kind(kind: Any, values: list[Any], number: frozenset[int]) -> None:
    read = converted(array(kind, values), number=number)
    assert read.type == pa.float32()
    assert read.to_pylist() == [None if v is None else float(np.float32(float(v))) for v in values]


@pytest.mark.parametrize(("kind", "values"), NUMBERS[:9], ids=str)
def test_dictionaries_of_numbers_are_numbers(kind: Any, values: list[Any]) -> None:
    indices = pa.array([2, 0, None, 1], pa.int8())
    read = converted(pa.DictionaryArray.from_arrays(indices, array(kind, values)))
    expected = [None if i is None else values[i] for i in (2, 0, None, 1)]
    assert read.to_pylist() == [None if v is None else float(np.float32(v)) for v in expected]


def test_missing_numbers_may_be_nan_or_null() -> None:
    read = converted(pa.array([float("nan"), None]))
    assert np.isnan(read[0].as_py())
    assert read[1].as_py() is None


def test_double_values_beyond_single_become_infinite_for_the_matrix_to_refuse() -> None:
    assert converted(pa.array([1e300, -1e300])).to_pylist() == [float("inf"), float("-inf")]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_text_of_every_kind(kind: Any) -> None:
    column = pa.array(["é", None, "", "é"], kind)
    for text in (frozenset[int](), frozenset({1})):
        read = converted(column, text=text)
        assert read.type == pa.string()
        assert read.to_pylist() == ["é", None, "", "é"]
    assert converted(column.slice(2)).to_pylist() == ["", "é"]


@pytest.mark.parametrize("index", [pa.int8(), pa.uint16(), pa.int32(), pa.uint64()], ids=str)
@pytest.mark.parametrize("value", [pa.string(), pa.large_string()], ids=str)
def test_dictionaries_of_text_stay_dictionaries(index: Any, value: Any) -> None:
    indices = pa.array([1, 0, None, 1], index)
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["u", "v"], value), ordered=True)
    for part in (column, column.slice(1)):
        read = converted(part)
        assert read.type == pa.dictionary(pa.int32(), pa.string())
        assert read.to_pylist() == part.to_pylist()
        assert read.dictionary.to_pylist() == ["u", "v"]


@pytest.mark.parametrize("values", [["u", None], ["u", "v", "w", "x"]], ids=["null", "longer"])
def test_a_dictionary_with_null_in_it_or_longer_than_the_batch_is_written_out(
    values: list[str | None],
) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([1, None, 0]), pa.array(values))
    read = converted(column)
    assert read.type == pa.string()
    assert read.to_pylist() == [values[1], None, "u"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, -(2**63)]), ["1", None, "-9223372036854775808"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([True, None, False]), ["true", None, "false"]),
        (
            pa.array([1.0, -0.0, 2.5, 1e15, float("nan"), None, 0.1]),
            ["1", "0", "2.5", "1000000000000000", None, None, "0.1"],
        ),
        (pa.array([1e16, -3e18, 1e22]), ["10000000000000000", "-3000000000000000000", "1e+22"]),
        (pa.array([0.1, 16777216.0], pa.float32()), ["0.1", "16777216"]),
        (pa.array([np.float16(0.5), np.float16(3)], pa.float16()), ["0.5", "3"]),
        (
            pa.array([Decimal("1.50"), Decimal("20.00"), None, Decimal("0.00")]),
            ["1.5", "20", None, "0"],
        ),
        (pa.array([Decimal("0.0000000100")]), ["0.00000001"]),
        (pa.array([Decimal(100), Decimal(7)], pa.decimal128(38, 0)), ["100", "7"]),
        (pa.nulls(2), [None, None]),
        (pa.array([7, 8, 7]).dictionary_encode(), ["7", "8", "7"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_columns_that_have_to_be_text(column: pa.Array, expected: list[str | None]) -> None:
    assert as_text(column) == expected


@given(st.lists(st.integers(-(2**53), 2**53) | st.none(), min_size=1))
def test_a_whole_number_is_one_text_whatever_its_type(values: list[int | None]) -> None:
    """pandas makes floats of whole numbers where one is missing, in some files of a channel."""
    expected = [None if value is None else str(value) for value in values]
    assert as_text(pa.array(values, pa.int64())) == expected
    assert as_text(pa.array(values, pa.float64())) == expected
    assert as_text(pa.array(values, pa.decimal128(20, 3), safe=False)) == expected


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_the_text_of_a_float_is_the_float(values: list[float]) -> None:
    assert [float(text) for text in as_text(pa.array(values))] == values


TIMES = {
    "when": pa.array([0] * 3, pa.timestamp("us", "UTC")),
    "day": pa.array([0] * 3, pa.date32()),
    "hour": pa.array([0] * 3, pa.time64("ns")),
    "long": pa.array([0] * 3, pa.duration("s")),
    "span": pa.array([(0, 0, 0)] * 3, pa.month_day_nano_interval()),
    "days": pa.array([0] * 3, pa.date64()).dictionary_encode(),
}
NESTED = {
    "list": pa.array([[1.0]] * 3),
    "pair": pa.array([{"a": 1}] * 3),
    "map": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
    "three": pa.array([[1, 2, 3]] * 3, pa.list_(pa.int64(), 3)),
    "union": pa.UnionArray.from_sparse(pa.array([0] * 3, pa.int8()), [pa.array([1, 2, 3])]),
}
BINARY = {
    "raw": pa.array([b"x"] * 3),
    "raws": pa.array([b"x"] * 3, pa.large_binary()),
    "fixed": pa.array([b"x"] * 3, pa.binary(1)),
    "view": pa.array([b"x"] * 3, pa.binary_view()),
}


@pytest.mark.parametrize("part", ["features", "text", "number"])
@pytest.mark.parametrize(("name", "column"), [*(TIMES | NESTED | BINARY).items()], ids=str)
def test_other_types_are_refused_by_name_whatever_part_they_play(
    name: str, column: pa.Array, part: str
) -> None:
    more = {} if part == "features" else {part: frozenset({1})}
    error = refused({name: column}, **more)
    assert error.cause == (
        "a.parquet: columns that are neither numbers nor text: "
        f"column 1 {name!r} ({shortened(str(column.type), 60)})"
    )
    advice = {"day": TIMES, "lists": NESTED, "binary": BINARY}
    said = {word for word in advice if word in error.remedy.lower()}
    assert said == {word for word, columns in advice.items() if name in columns}
    assert "ignore_columns" in error.remedy


def test_all_refused_columns_are_named_and_many_counted() -> None:
    error = refused(TIMES | NESTED | BINARY)
    assert "column 2 'day' (date32[day]), column 3 'hour'" in error.cause
    assert error.cause.endswith(" and 7 more")
    assert "days" in error.remedy
    assert "binary" in error.remedy


def test_types_of_somebody_elses_making_are_refused() -> None:
    """Their storage may be numbers that mean something else: a period is stored as its ordinal."""
    field = pa.field("x", pa.int64(), metadata={b"ARROW:extension:name": b"pandas.period"})
    fields = [pa.field("y", pa.int64()), field]
    with pytest.raises(DataError, match=r"column 1 'x' \(pandas.period: int64\)"):
        Conversion(fields, layout(fields), "a.parquet", [])
    assert arrow_types.kind_of_type(pa.json_()) == "other"
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([3], pa.int32()), pa.array([1.0]))
    assert "run_end_encoded" in refused({"x": runs}).cause


def test_columns_that_are_not_read_may_have_any_type() -> None:
    fields = list(pa.table({"y": LABEL, "x": LABEL} | TIMES | NESTED).schema)
    conversion = Conversion(fields, layout(fields, features=(1,)), "a.parquet", [])
    assert conversion.names == ["y", "x"]


@pytest.mark.parametrize("column", [pa.array(["1"] * 3), pa.array(["1"] * 3).dictionary_encode()])
def test_text_where_numbers_are_expected_is_refused(column: pa.Array) -> None:
    error = refused({"w": column, "x": LABEL}, weight=1, features=(2,), number=frozenset({1}))
    assert error.cause.startswith("a.parquet: column 1 'w', the weight, holds text (")
    assert "expected numbers" in error.cause


NOTE = (
    "column 1 'x' holds whole numbers beyond 16,777,216, which float32 rounds; an identifier "
    "belongs in ignore_columns or categorical_columns"
)


@pytest.mark.parametrize("kind", [pa.int32(), pa.uint32(), pa.int64(), pa.uint64()], ids=str)
@pytest.mark.parametrize("missing", [[], [None]], ids=["full", "missing"])
def test_whole_numbers_that_lose_digits_are_noted_once(kind: Any, missing: list[None]) -> None:
    notes: list[str] = []
    for _ in range(2):
        converted(pa.array([5, 2**24 + 1, *missing], kind), notes)
    assert notes == [NOTE]
    fine: list[str] = []
    converted(pa.array([0, 2**24, *missing], kind), fine)
    converted(pa.array([2**24 + 1, *missing], kind), fine, text=frozenset({1}))
    assert fine == []


def test_negative_and_encoded_whole_numbers_are_noted_too() -> None:
    for column in (pa.array([-(2**24) - 1]), pa.array([2**30]).dictionary_encode()):
        notes: list[str] = []
        converted(column, notes)
        assert notes == [NOTE]


def test_what_stands_under_a_null_is_not_noted() -> None:
    junk = pa.py_buffer(np.array([1, 2**40, 3], np.int64))
    column = pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\x05"), junk])
    notes: list[str] = []
    assert converted(column, notes).to_pylist() == [1, None, 3]
    assert notes == []


def invalid(values: list[bytes | None], kind: Any) -> pa.Array:
    stored = pa.array(values, pa.binary() if kind == pa.string() else pa.large_binary())
    return pa.Array.from_buffers(kind, len(values), stored.buffers())


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "dictionary"])
def test_text_that_is_not_utf_8_is_refused_with_its_row(kind: Any, encoded: bool) -> None:
    values: list[bytes | None] = [b"a", None, b"\xe9t\xe9", b"b"]
    column = invalid(values, kind)
    if encoded:
        column = pa.DictionaryArray.from_arrays(pa.array([0, None, 2, 3]), column)
    with pytest.raises(DataError) as caught:
        converted(column)
    assert caught.value.cause == "a.parquet row 3: column 1 'x' is not UTF-8 text: b'\\xe9t\\xe9'"


def test_a_dictionary_that_is_damaged_is_no_matter_of_its_text() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 5]), pa.array(["a"]), safe=False)
    with pytest.raises(pa.ArrowInvalid):
        converted(column)


def test_what_arrow_raises_names_the_file() -> None:
    with (
        pytest.raises(ResourceError, match=r"a: .* does not fit the memory: malloc of size 5"),
        arrow_types.translated("a", "Parquet"),
    ):
        raise pa.ArrowMemoryError("malloc of size 5 failed")
    with (
        pytest.raises(DataError, match=r"a: cannot be read as Parquet: one two .x0f"),
        arrow_types.translated("a", "Parquet"),
    ):
        raise pa.ArrowInvalid("one\n  two \x0f")


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        '"x"',
        '{"index_columns": "yx"}',
        '{"index_columns": null}',
        '{"index_columns": [{"kind": "range"}]}',
    ],
)
def test_pandas_metadata_of_any_form_does_no_harm(text: str) -> None:
    schema = pa.schema({"y": pa.int64()}, metadata={b"pandas": text.encode()})
    notes: list[str] = []
    assert arrow_types.data_columns(schema, "a.parquet", notes) == [0]
    assert notes == []


# --- the time -------------------------------------------------------------------------------

TIME: dict[str, Any] = {"time": 1, "features": (), "text": frozenset({1})}


@pytest.mark.parametrize(
    "type_",
    [pa.int64(), pa.float64(), pa.date32(), pa.timestamp("ns"), pa.timestamp("s", "Europe/Berlin"),
     pa.dictionary(pa.int32(), pa.timestamp("ms"))],
)  # fmt: skip
def test_the_time_is_given_as_stored(type_: pa.DataType) -> None:
    column = pa.array([1, 2], pa.int64() if pa.types.is_integer(type_) else pa.int32())
    if pa.types.is_dictionary(type_):
        stored = column.cast(pa.int64()).cast(pa.timestamp("ms")).dictionary_encode()
    elif pa.types.is_timestamp(type_):
        stored = column.cast(pa.int64()).cast(type_)
    else:
        stored = column.cast(type_)
    assert converted(stored, **TIME).equals(stored)


def test_the_time_may_be_text_but_no_duration() -> None:
    assert converted(pa.array(["2024-01-01"]), **TIME).to_pylist() == ["2024-01-01"]
    for type_ in (pa.duration("s"), pa.time32("s")):
        assert str(type_) in refused({"x": pa.array([1, 2, 3], type_)}, **TIME).cause
    # A date that is no time is refused as before.
    assert "column 1 'x' (date32[day])" in refused({"x": pa.array([1, 2, 3], pa.date32())}).cause
