"""What no objective can use, groups that are not together, and features that differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from treeline.data import matrix
from treeline.data.audit import ColumnStats
from treeline.data.columns import Layout
from treeline.data.matrix import Matrix, Origin, Schema
from treeline.data.records import Csr
from treeline.errors import DataError

ROWS = 4


def made(**parts: Any) -> Matrix:
    """Four rows: one of a.csv, the others of b.csv."""
    origin = Origin()
    origin.add("train/a.csv", 0)
    origin.add("train/b.csv", 1)
    features = parts.pop("features", np.ones((ROWS, 2), np.float32))
    width = features.width if isinstance(features, Csr) else features.shape[1]
    stats = ColumnStats()
    stats.update(features)
    arrays: dict[str, Any] = dict.fromkeys(("label", "weight", "lower", "upper", "margin", "group"))
    for name, values in parts.items():
        arrays[name] = np.array(values, np.int64 if name == "group" else np.float32)
    return Matrix(
        features=features,
        group_names=("q1", "q2", "q3"),
        schema=Schema(width),
        stats=stats,
        hashes=np.zeros(ROWS, np.uint64),
        fingerprint="",
        origin=origin,
        **arrays,
    )


def refused(found: Matrix, **unseen: int) -> DataError:
    with pytest.raises(DataError) as caught:
        matrix.check_values(found, found.stats, unseen)
    assert "\n" not in caught.value.cause
    return caught.value


def test_origin_counts_rows_from_1_in_each_file() -> None:
    origin = Origin()
    for name, start in (("a", 0), ("empty", 3), ("b", 3), ("c", 5)):
        origin.add(name, start)
    assert [origin.of(row) for row in (0, 2, 3, 4, 5, 99)] == [
        "a row 1", "a row 3", "b row 1", "b row 2", "c row 1", "c row 95",
    ]  # fmt: skip


def test_a_feature_is_named_by_place_and_name() -> None:
    assert Schema(2).feature(1) == "feature 1"
    assert Schema(2, ("age", "column")).feature(1) == "feature 1 'column'"


def test_rows_left_out_count_where_a_row_stands() -> None:
    """Of a.csv rows 1 and 4 are left out, of b.csv all 2, of c.csv row 2."""
    origin = Origin()
    origin.add("a.csv", 0)
    origin.left_out.extend([0, 2])
    origin.add("b.csv", 4)
    origin.left_out.extend([2, 2])
    origin.add("c.csv", 6)
    origin.left_out.append(3)
    expected = ["a.csv row 2", "a.csv row 3", "c.csv row 1", "c.csv row 3"]
    assert [origin.of(row) for row in range(4)] == expected
    both = origin.before(origin, 4)
    assert [both.of(row) for row in range(8)] == 2 * expected


# --- values


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("part", "values", "what"),
    [
        ("label", [1, 2, NAN, NAN], "the label is missing or infinite (nan); 2 such row(s) of 4"),
        ("label", [1, 2, INF, 3], "the label is missing or infinite (inf); 1 such row(s) of 4"),
        (
            "weight",
            [1, 0, -2, 1],
            "the weight is missing, infinite or negative (-2); 1 such row(s) of 4",
        ),
        (
            "weight",
            [1, 0, NAN, INF],
            "the weight is missing, infinite or negative (nan); 2 such row(s) of 4",
        ),
        ("group", [0, 0, -1, 0], "the group is missing; 1 such row(s) of 4"),
        (
            "margin",
            [[0, 1], [0, 1], [0, INF], [0, 1]],
            "the base margin is missing or infinite; 1 such row(s) of 4",
        ),
    ],
)
def test_values_no_objective_can_use(part: str, values: Any, what: str) -> None:
    error = refused(made(**{part: values}))
    assert error.cause == f"train/b.csv row 2: {what}"
    assert "missing is allowed in features only" in error.remedy
    drops = "missing_label=drop" in error.remedy
    assert drops == (part == "label" and NAN in values)


def test_what_can_be_used_is_not_refused() -> None:
    found = made(
        label=[1, -2, 0, 3],
        weight=[0, 0, 0, 1e-9],
        group=[0, 0, 1, 2],
        margin=[[0], [1], [2], [-3]],
        features=np.full((ROWS, 2), NAN, np.float32),
    )
    matrix.check_values(found, found.stats, {})


def test_weights_that_are_all_0() -> None:
    assert refused(made(weight=[0, 0, 0, 0])).cause == "train/a.csv row 1: every weight is 0"


@pytest.mark.parametrize(
    ("lower", "upper", "what"),
    [
        (
            [1, 1, NAN, 1],
            [2, 2, 2, 2],
            "the lower bound of the label is missing, infinite or negative (nan)",
        ),
        (
            [1, 1, -1, 1],
            [2, 2, 2, 2],
            "the lower bound of the label is missing, infinite or negative (-1)",
        ),
        (
            [1, 1, INF, 1],
            [2, 2, INF, 2],
            "the lower bound of the label is missing, infinite or negative (inf)",
        ),
        ([1, 1, 3, 1], [2, 2, 2, 2], "the upper bound of the label is below the lower one (2)"),
        ([1, 1, 0, 1], [2, 2, 0, 2], "the upper bound of the label is not above 0 (0)"),
    ],
)
def test_bounds_that_are_no_interval(lower: Any, upper: Any, what: str) -> None:
    error = refused(made(lower=lower, upper=upper))
    assert error.cause == f"train/b.csv row 2: {what}; 1 such row(s) of 4"


def test_a_missing_upper_bound_is_none() -> None:
    found = made(lower=[0, 1, 2, 3], upper=[1, NAN, 2, INF])
    matrix.check_values(found, found.stats, {})
    assert found.upper is not None
    assert found.upper.tolist() == [1, INF, 2, INF]


def test_an_infinite_feature_is_named_dense_and_sparse() -> None:
    dense = np.ones((ROWS, 3), np.float32)
    dense[:, 2] = [1, 1, -INF, INF]
    indptr = np.array([0, 1, 1, 3, 4], np.int64)
    indices = np.array([2, 0, 2, 2], np.int32)
    values = np.array([1, 5, -INF, INF], np.float32)
    for features in (dense, Csr(indptr, indices, values, 3)):
        error = refused(made(features=features))
        assert error.cause == (
            "train/b.csv row 2: feature 2 (counted from 0, the label aside) is infinite; "
            "2 such row(s) of 4"
        )


def test_labels_that_train_does_not_have() -> None:
    found = made(label=[0, NAN, NAN, 1])
    found.schema = replace(found.schema, classes=("no", "yes"))
    assert refused(found, maybe=1, perhaps=1).cause == (
        "train/b.csv row 1: the label is none of the classes of train ('no', 'yes'): 'maybe', "
        "'perhaps'; 2 such row(s) of 4"
    )
    assert "label is missing or none of the classes" in refused(found, maybe=1).cause


def test_a_sparse_row_with_a_feature_that_train_does_not_have_is_named() -> None:
    indptr, indices = np.array([0, 1, 1, 3, 4], np.int64), np.array([1, 0, 5, 5], np.int32)
    found = made(features=Csr(indptr, indices, np.ones(4, np.float32), 6))
    found.schema = replace(found.schema, features=6)
    with pytest.raises(DataError) as caught:
        matrix.check_same_features(Schema(2, origin="train/t.svm"), found, "validation")
    assert caught.value.cause == (
        "train/b.csv row 2: has feature 5 (counted from 0), but train/t.svm has 2 features"
    )


# --- groups


@pytest.mark.parametrize(
    ("group", "sizes"),
    [([0, 0, 0, 0], [4]), ([0, 1, 1, 2], [1, 2, 1]), ([0, 1, 2, 3], [1, 1, 1, 1])],
)
def test_sizes_of_groups(group: list[int], sizes: list[int]) -> None:
    assert matrix.group_sizes(made(group=group)).tolist() == sizes


def test_groups_have_to_be_together() -> None:
    with pytest.raises(DataError) as caught:
        matrix.group_sizes(made(group=[0, 1, 2, 1]))
    assert caught.value.cause == (
        "train/b.csv row 3: group 'q2' occurs again after other groups; the rows of a query have "
        "to follow one another"
    )


# --- features


def with_schema(**schema: Any) -> Matrix:
    found = made()
    found.schema = replace(found.schema, **schema)
    return found


@pytest.mark.parametrize(
    ("train", "other", "cause"),
    [
        (
            Schema(3),
            {"features": 2},
            "Channel validation: 2 features, but train has 3",
        ),
        (
            Schema(2, ("a", "b")),
            {"feature_names": ("a", "c")},
            "Channel validation: feature 'c' stands where train has 'b'",
        ),
        (
            Schema(2, ("a", "b"), {1: ("x", "y")}),
            {},
            "Channel validation: has no text columns, but in train feature 1 'b' is categorical",
        ),
    ],
)
def test_features_that_differ(train: Schema, other: dict[str, Any], cause: str) -> None:
    with pytest.raises(DataError) as caught:
        matrix.check_same_features(train, with_schema(**other), "validation")
    assert caught.value.cause == cause


def test_features_that_are_the_same() -> None:
    matrix.check_same_features(Schema(2), made(), "validation")
    matrix.check_same_features(Schema(2, ("a", "b")), made(), "validation")  # no names: by place
    # Where both are tables the columns were matched by name already, in whatever order.
    layout = Layout(("a", "b"), 2)
    named = with_schema(feature_names=("b", "a"), layout=layout)
    matrix.check_same_features(Schema(2, ("a", "b"), layout=layout), named, "validation")
