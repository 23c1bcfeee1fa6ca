"""Parts of a data set, and two data sets as one, whatever their rows are kept in."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin, Schema
from treeline.data.records import Csr
from treeline.data.storage import DenseRows, is_spooled
from treeline.data.subset import joined, rows_of

ROWS = np.array([1, 3, 4, 8])


def dense(rows: int, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)
    values[::3, 1] = np.nan
    return values


def spooled(values: NDArray[np.float32]) -> Any:
    rows = DenseRows(values.shape[1], 0, lambda _: None)
    room = rows.room(len(values))
    room[:] = values
    rows.keep(room)
    return rows.take()


def sparse(values: NDArray[np.float32]) -> Csr:
    there = ~np.isnan(values)
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return Csr(indptr, np.nonzero(there)[1].astype(np.int32), values[there], values.shape[1])


def undone(csr: Csr) -> NDArray[np.float32]:
    values = np.full(csr.shape, np.nan, np.float32)
    values[np.repeat(np.arange(csr.rows), np.diff(csr.indptr)), csr.indices] = csr.values
    return values


def matrix(features: Any, names: str = "bbacacaaab") -> Matrix:
    rows = len(names)
    stats = ColumnStats()
    stats.rows = rows
    number = np.arange(rows, dtype=np.float32)
    order = tuple(dict.fromkeys(names))
    origin = Origin()
    origin.add("train/a.csv", 0)
    origin.add("train/b.csv", 4)
    return Matrix(
        features=features,
        label=number,
        weight=number + 1,
        group=np.array([order.index(name) for name in names], np.int64),
        group_names=order,
        lower=number + 2,
        upper=number + 3,
        margin=np.column_stack([number, number + 4]),
        time=number.astype(np.float64) + 1.7e9,
        schema=Schema(3, ("x", "y", "z")),
        stats=stats,
        hashes=np.arange(rows, dtype=np.uint64),
        fingerprint="",
        origin=origin,
    )


def test_every_part_of_the_matrix_is_taken() -> None:
    part = rows_of(matrix(dense(10)), ROWS)
    assert part.rows == 4
    np.testing.assert_array_equal(part.features, dense(10)[ROWS])
    whole = matrix(dense(10))
    for field in fields(Matrix):
        before, after = getattr(whole, field.name), getattr(part, field.name)
        if field.name not in ("features", "group", "hashes") and isinstance(before, np.ndarray):
            np.testing.assert_array_equal(after, before[ROWS], err_msg=field.name)
    assert part.schema == whole.schema
    assert whole.rows == 10, "the whole is as it was"


def test_groups_keep_their_names_and_are_numbered_in_order_of_appearance() -> None:
    part = rows_of(matrix(dense(10)), ROWS)
    assert part.group is not None
    assert [part.group_names[code] for code in part.group] == ["b", "c", "a", "a"]
    assert part.group_names == ("b", "c", "a")
    assert part.group.tolist() == [0, 1, 2, 2]


def test_sparse_rows() -> None:
    part = rows_of(matrix(sparse(dense(10))), ROWS)
    assert isinstance(part.features, Csr)
    np.testing.assert_array_equal(undone(part.features), dense(10)[ROWS])
    nothing = rows_of(matrix(sparse(dense(10))), ROWS[:0])
    assert nothing.features.shape == (0, 3)


def test_rows_in_a_file_stay_there_until_a_slice_is_asked_for() -> None:
    part = rows_of(matrix(spooled(dense(10))), ROWS)
    assert is_spooled(part.features)
    assert part.features.shape == (4, 3)
    assert not isinstance(part.features, Csr)
    np.testing.assert_array_equal(part.features[1:3], dense(10)[ROWS][1:3])


@pytest.mark.parametrize("kept", [lambda x: x, spooled, sparse], ids=["memory", "file", "sparse"])
def test_two_data_sets_as_one(kept: Any) -> None:
    first, second = matrix(kept(dense(10))), matrix(kept(dense(6, 1)), "dabbaa")
    both = joined(first, second)
    assert both.rows == 16
    found = undone(both.features) if isinstance(both.features, Csr) else both.features
    np.testing.assert_array_equal(found, np.concatenate([dense(10), dense(6, 1)]))
    assert is_spooled(both.features) == (kept is spooled)
    assert both.label is not None
    assert both.label.tolist() == [*range(10), *range(6)]
    assert both.time is not None
    assert both.margin is not None
    assert (len(both.time), both.margin.shape) == (16, (16, 2))
    assert len(both.hashes) == 16


def test_a_group_of_both_is_one_group() -> None:
    both = joined(matrix(dense(10)), matrix(dense(6), "dabbaa"))
    assert both.group is not None
    assert "".join(both.group_names[code] for code in both.group) == "bbacacaaab" + "dabbaa"
    assert both.group_names == ("b", "a", "c", "d")


def test_messages_still_name_file_and_row() -> None:
    both = joined(matrix(dense(10)), matrix(dense(6), "dabbaa"))
    assert both.origin.of(5) == "train/b.csv row 2"
    assert both.origin.of(10) == "train/a.csv row 1"
    assert both.origin.of(15) == "train/b.csv row 2"
