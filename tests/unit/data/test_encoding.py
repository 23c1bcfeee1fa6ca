"""Texts as codes: whatever the batches look like, and without losing what the codes mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from treeline.data.encoding import MISSING, Categories, Groups, as_feature, values


def dictionary(indices: list[int | None], texts: list[str | None]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(texts))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["b", None, "a", "b"]),
        dictionary([1, None, 0, 1], ["a", "b"]),
        dictionary([2, 0, 1, 2], [None, "a", "b"]),  # null may also be an entry
        dictionary([0, 1, None, 0, 2, 0], ["b", "z", "a"])
        .slice(1)[1:]
        .take(pa.array([1, 0, 2, 1])),
        pa.array(["z", "z", "z", "b", None, "a", "b", "z"]).slice(3, 4),
        dictionary([2, 2, 1, None, 0, 1, 2], ["a", "b", "z"]).slice(2, 4),
    ],
    ids=["text", "dictionary", "null in it", "take", "slice of text", "slice of dictionary"],
)
def test_codes_are_numbers_of_appearance(column: pa.Array) -> None:
    expected = column.to_pylist()
    found = Categories()
    codes = found.codes(column)
    assert [None if c == MISSING else found.texts[c] for c in codes] == expected
    assert {*found.texts} == {text for text in expected if text is not None}


def test_batches_with_other_dictionaries_share_their_codes() -> None:
    found = Categories()
    first = found.codes(dictionary([0, 1], ["b", "a"])).tolist()
    second = found.codes(dictionary([0, 1, 2], ["c", "a", "b"])).tolist()
    assert [found.texts[code] for code in first + second] == ["b", "a", "c", "a", "b"]
    assert len(found.texts) == 3


def test_an_entry_that_no_row_uses_is_no_category() -> None:
    found = Categories()
    found.codes(dictionary([2, None], ["unused", "never", "used"]))
    assert found.texts == ("used",)


def test_texts_that_look_alike_are_different() -> None:
    found = Categories()
    texts = ["1", "1.0", "01", " 1", "", "é", "e\u0301", "A", "a"]
    assert len({*found.codes(pa.array(texts)).tolist()}) == len(texts)


def test_the_order_of_the_rows_does_not_matter_in_the_end() -> None:
    texts = ["m", "b", "z", "a", "é", "B"]
    settled = []
    for column in (texts, texts[::-1], sorted(texts)):
        found = Categories()
        codes = found.codes(pa.array(column))
        ordered, moved = found.order()
        codes = codes if moved is None else moved[codes]
        assert [ordered[code] for code in codes] == column
        settled.append(ordered)
    assert settled == [tuple(sorted(texts))] * 3
    assert moved is None  # nothing to do where they came sorted


def test_known_categories_stay_and_others_are_counted() -> None:
    found = Categories(("b", "a"))
    assert found.codes(pa.array(["a", "x", None, "b", "x"])).tolist() == [1, -1, -1, 0, -1]
    found.codes(dictionary([0, 1, 1], ["y", "x"]))
    assert found.unseen == {"x": 4, "y": 1}
    assert found.order() == (("b", "a"), None)


def test_no_known_categories_are_known_too() -> None:
    found = Categories(())
    assert found.codes(pa.array(["a"])).tolist() == [MISSING]
    assert found.unseen == {"a": 1}


# --- groups


def test_groups_are_numbered_as_they_appear() -> None:
    found = Groups()
    assert found.codes(np.array([7, 7, -3, 7], np.int64)).tolist() == [0, 0, 1, 0]
    assert found.codes(np.array([4, -3], np.int64)).tolist() == [2, 1]
    assert found.names == ("7", "-3", "4")


def test_groups_as_text() -> None:
    found = Groups()
    assert found.codes(pa.array(["q7", None, "q1"])).tolist() == [0, MISSING, 1]
    assert found.codes(pa.array(["q1", "q2"])).tolist() == [1, 2]
    assert found.names == ("q7", "q1", "q2")


def test_ids_of_groups_keep_every_digit() -> None:
    big = 2**53
    ids = [big, big + 1, big - 1, big + 1]
    for column in (np.array(ids, np.int64), pa.array([str(each) for each in ids])):
        found = Groups()
        assert found.codes(column).tolist() == [0, 1, 2, 1]
        assert found.names == (str(big), str(big + 1), str(big - 1))


# --- values


def test_missing_codes_are_nan() -> None:
    codes = as_feature(np.array([0, MISSING, 70_000], np.int64))
    assert codes.dtype == np.float32
    assert np.array_equal(codes, [0, np.nan, 70_000], equal_nan=True)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1.5, None, 3], pa.float32()), [1.5, -9, 3]),
        (pa.array([1.5, 2, 3], pa.float32()), [1.5, 2, 3]),
        (pa.array([None, None], pa.float32()), [-9, -9]),
        (pa.array([None, 0, None, 1.5, None, 3] * 9, pa.float32()).slice(9, 3), [1.5, -9, 3]),
        (pa.array([0, 1, 2, None], pa.float32()).slice(1, 2), [1, 2]),
        (pa.array([], pa.float32()), []),
    ],
)
def test_values_of_a_column(column: pa.Array, expected: list[Any]) -> None:
    found = values(column, np.dtype(np.float32), fill=-9)
    assert found.tolist() == expected
    assert found.dtype == np.float32


def test_values_are_not_copied_where_nothing_is_null() -> None:
    column = pa.array([1.5, 2], pa.float32())
    found = values(column, np.dtype(np.float32), fill=np.nan)
    assert found.__array_interface__["data"][0] == column.buffers()[1].address


def test_a_buffer_that_ends_in_the_middle_of_a_number() -> None:
    """The format asks for enough bytes, not for a multiple of a number's."""
    buffers = [None, pa.py_buffer(np.array([1, 2, 3], np.float32).tobytes() + b"\0")]
    column = pa.Array.from_buffers(pa.float32(), 2, buffers, offset=1)
    assert values(column, np.dtype(np.float32), np.nan).tolist() == [2, 3]
    assert values(column[:0], np.dtype(np.float32), np.nan).tolist() == []
