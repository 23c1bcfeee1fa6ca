"""Which column plays which part, in the first file and in those that follow."""

from __future__ import annotations

from typing import Any

import pytest

from treeline.data.columns import Layout, column_name, follow, resolve
from treeline.errors import DataError
from treeline.hyperparameters import DataOptions

NAMES = ("id", "price", "w", "age", "city", "q")


def layout(names: tuple[str, ...] | None = NAMES, csv: bool = False, **options: Any) -> Layout:
    width = options.pop("width", len(names or NAMES))
    return resolve(DataOptions(**options), names, width, "train/a.csv", csv=csv)


def refused(names: tuple[str, ...] | None = NAMES, **options: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        layout(names, **options)
    return one_line(caught.value)


def one_line(error: DataError) -> DataError:
    assert error.cause.isprintable()
    assert error.remedy.isprintable()
    assert error.cause.startswith(("train/a.csv: ", "validation/b.csv: "))
    return error


# --- the first file -------------------------------------------------------------------------


@pytest.mark.parametrize("names", [NAMES, None])
def test_the_label_is_the_first_column_and_the_rest_are_features(
    names: tuple[str, ...] | None,
) -> None:
    found = layout(names)
    assert found == Layout(names, 6, label=0, features=(1, 2, 3, 4, 5), number=frozenset())
    assert found.read == (0, 1, 2, 3, 4, 5)
    assert found.feature_names == (names[1:] if names else None)


@pytest.mark.parametrize("by", ["name", "position", "from the end"])
def test_every_part_by_name_and_by_position(by: str) -> None:
    def column(i: int) -> str:
        return {"name": NAMES[i], "position": str(i), "from the end": str(i - 6)}[by]

    found = layout(
        label_column=column(1),
        weight_column=column(2),
        group_column=column(5),
        ignore_columns=(column(0),),
        categorical_columns=(column(3),),
    )
    assert found == Layout(
        NAMES,
        6,
        label=1,
        weight=2,
        group=5,
        features=(3, 4),
        text=frozenset({3, 5}),
        number=frozenset({2}),
    )
    assert found.special == {"label": 1, "weight": 2, "group": 5}
    assert found.read == (1, 2, 3, 4, 5)
    assert found.feature_names == ("age", "city")


def test_bounds_stand_for_the_label_and_margins_keep_their_order() -> None:
    found = layout(
        label_lower_bound_column="w",
        label_upper_bound_column="price",
        base_margin_column=("q", "id"),
    )
    assert (found.label, found.lower, found.upper) == (None, 2, 1)
    assert (found.margin, found.features) == ((5, 0), (3, 4))
    assert found.number == {0, 1, 2, 5}
    assert found.special == {
        "label_lower_bound": 2, "label_upper_bound": 1, "base_margin 0": 5, "base_margin 1": 0,
    }  # fmt: skip


def test_csv_weights_is_the_second_column_of_csv_files_only() -> None:
    assert layout(csv=True, csv_weights=True).weight == 1
    assert layout(csv=False, csv_weights=True).weight is None
    assert layout(csv=True, csv_weights=True, weight_column="1").weight == 1
    assert "no column 1 for csv_weights=1" in refused(
        ("y",), csv=True, csv_weights=True
    ).cause  # fmt: skip
    error = refused(csv=True, csv_weights=True, label_column="price")
    assert "column 1 'price' is asked for as label and weight" in error.cause


def test_a_digit_may_be_a_name() -> None:
    assert layout(("0", "1", "2")).label == 0
    assert layout(("0", "1", "2"), label_column="2").label == 2
    assert layout(("y", "2019", "2020"), label_column="2020").label == 2


@pytest.mark.parametrize("names", [("2", "1", "0"), ("y", "0", "1")])
def test_a_name_that_is_another_columns_position_is_refused_with_a_way_out(
    names: tuple[str, ...],
) -> None:
    error = refused(names, label_column="0")
    by_name = names.index("0")
    assert f"is the name of column {by_name} and the position of column 0" in error.cause
    assert f"Write {by_name - 3} for the column of that name, -3 for the other" in error.remedy
    assert layout(names, label_column=str(by_name - 3)).label == by_name
    assert layout(names, label_column="-3").label == 0


@pytest.mark.parametrize(
    "asked", ["6", "-7", "01", "+1", "1.0", "-", "--1", "٣", "9" * 5000, "Price", "1 "]
)
@pytest.mark.parametrize("names", [NAMES, None])
def test_no_such_column(names: tuple[str, ...] | None, asked: str) -> None:
    error = refused(names, ignore_columns=(asked,))
    assert "ignore_columns=" in error.cause
    assert len(error.cause) < 300
    known = "the columns 'id', 'price'" if names else "6 columns and no names (csv_header=true"
    assert known in error.cause
    assert ("did you mean price?" in error.cause) == (asked == "Price" and names is not None)
    assert "0 is the first of 6" in error.remedy


def test_positions_are_written_one_way_so_that_other_digits_can_be_names() -> None:
    assert layout(("y", "00", "01", "+1"), label_column="01").label == 2
    assert layout(("y", "00", "01", "+1"), label_column="+1").label == 3


def test_messages_stay_in_one_line_whatever_the_names_hold() -> None:
    names = ("a\nb", "c" * 500, "d")
    assert "label_column='a\\nc'" in refused(names, label_column="a\nc").cause
    assert "'ccc" in refused(names, label_column="x").cause


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"weight_column": "0"}, "column 0 'id' is asked for as label and weight"),
        ({"label_column": "age", "group_column": "3"}, "'age' is asked for as label and group"),
        ({"label_column": "age", "ignore_columns": ("-3",)}, "as label and ignored"),
        ({"categorical_columns": ("0",)}, "as label and categorical"),
        ({"ignore_columns": ("1", "price")}, "column 1 'price' is asked for as ignored and ign"),
        ({"ignore_columns": ("4",), "categorical_columns": ("city",)}, "ignored and categorical"),
        ({"base_margin_column": ("q", "5")}, "as base_margin 0 and base_margin 1"),
    ],
)
def test_a_column_plays_one_part(options: dict[str, Any], cause: str) -> None:
    error = refused(**options)
    assert cause in error.cause
    assert "one part" in error.remedy


def test_something_is_left_to_learn_from() -> None:
    error = refused(("y", "w"), weight_column="w")
    assert "none is left as a feature (label in column 0, weight in column 1)" in error.cause
    assert "1 column(s) and none is left" in refused(None, width=1).cause


def test_names_are_told_apart() -> None:
    assert "column name 'a' occurs 2 times" in refused(("y", "a", "b", "a")).cause
    error = refused(("", "y", "a"), label_column="y")
    assert "column 0 has no name (pandas writes its row index like this)" in error.cause
    assert "ignore_columns=0" in error.remedy
    assert "column 1 has no name" in refused(("y", " ", "a")).cause
    found = layout(("", "y", "a"), label_column="y", ignore_columns=("0",))
    assert found.features == (2,)


# --- the files that follow ------------------------------------------------------------------

FIRST = layout(
    label_column="price",
    weight_column="w",
    group_column="q",
    ignore_columns=("id",),
    categorical_columns=("age",),
)


def followed(first: Layout, names: tuple[str, ...] | None, width: int | None = None) -> Layout:
    return follow(first, names, width or len(names or ()), "validation/b.csv", "train/a.csv")


def not_followed(first: Layout, names: tuple[str, ...] | None, width: int | None = None) -> str:
    with pytest.raises(DataError) as caught:
        followed(first, names, width)
    error = one_line(caught.value)
    assert "train/a.csv" in error.cause or "column" in error.cause
    return error.cause


def test_the_same_columns_give_the_same_layout() -> None:
    assert followed(FIRST, NAMES) == FIRST


def test_columns_are_found_by_name_in_whatever_order_they_stand() -> None:
    names = ("city", "q", "age", "w", "price", "id")
    found = followed(FIRST, names)
    assert found == Layout(
        names,
        6,
        label=4,
        weight=3,
        group=1,
        features=(2, 0),
        text=frozenset({2, 1}),
        number=frozenset({3}),
    )
    assert found.feature_names == FIRST.feature_names == ("age", "city")
    assert followed(found, NAMES) == FIRST


def test_bounds_and_margins_move_too() -> None:
    first = layout(
        label_lower_bound_column="w",
        label_upper_bound_column="price",
        base_margin_column=("q", "id"),
    )
    found = followed(first, NAMES[::-1])
    assert (found.label, found.lower, found.upper) == (None, 3, 4)
    assert (found.margin, found.features) == ((0, 5), (2, 1))
    assert found.number == {0, 3, 4, 5}


def test_what_was_ignored_may_be_absent() -> None:
    found = followed(FIRST, NAMES[1:])
    assert (found.width, found.label, found.features) == (5, 0, (2, 3))


def test_missing_and_unknown_columns_are_named() -> None:
    assert "'age' missing" in not_followed(FIRST, ("id", "price", "w", "city", "q"))
    assert "'x' not known there" in not_followed(FIRST, (*NAMES, "x"))
    text = not_followed(FIRST, ("id", "price", "w", "AGE", "city", "q"))
    assert "'age' missing and 'AGE' not known there" in text


def test_without_names_the_position_counts() -> None:
    assert followed(FIRST, None, 6) == FIRST
    assert "has 5 columns, train/a.csv has 6" in not_followed(FIRST, None, 5)
    nameless = layout(None)
    named = followed(nameless, NAMES)
    assert (named.features, named.feature_names) == (nameless.features, NAMES[1:])
    assert "has 7 columns" in not_followed(nameless, (*NAMES, "x"))


def test_names_of_further_files_are_told_apart_too() -> None:
    assert "'age' occurs 2 times" in not_followed(FIRST, (*NAMES, "age"))
    assert "column 6 has no name" in not_followed(FIRST, (*NAMES, ""))


def test_an_ignored_index_without_a_name_is_ignored_everywhere() -> None:
    first = layout(("", "y", "a", "b"), label_column="y", ignore_columns=("0",))
    found = followed(first, ("", "b", "a", "y"))
    assert (found.label, found.features) == (3, (2, 1))


def test_how_messages_name_a_column() -> None:
    assert FIRST.column(3) == column_name(3, NAMES) == "column 3 'age'"
    assert column_name(3, None) == "column 3"


# --- the features of a preset ---------------------------------------------------------------


def test_only_the_columns_kept_are_features() -> None:
    found = layout(keep_columns=("city", "age"), label_column="price")
    assert (found.label, found.features) == (1, (3, 4))
    assert found.read == (1, 3, 4)
    # What plays another part is no feature, and an index without a name is not asked about.
    found = layout(
        ("", "y", "a", "b"), keep_columns=("a", "b"), label_column="y", weight_column="b"
    )
    assert (found.weight, found.features) == (3, (2,))
    assert followed(found, ("b", "y", "a", "")).features == (2,)


def test_a_column_kept_that_is_not_there() -> None:
    error = refused(keep_columns=("age", "height", "size"), label_column="price")
    assert "of the 3 features of dataset_preset it lacks height, size" in error.cause
    assert "ignore_columns" in error.remedy
    error = refused(None, keep_columns=("age", "city"), label_column="1")
    assert "has no column names" in error.cause
    assert "age, city" in error.cause
    assert "csv_header=true" in error.remedy


def test_a_category_that_is_not_kept_is_refused() -> None:
    error = refused(keep_columns=("age",), label_column="price", categorical_columns=("city",))
    assert "'city' is asked for as ignored and categorical" in error.cause


# --- the time -------------------------------------------------------------------------------


def test_the_time_is_a_part_and_read_as_text() -> None:
    found = layout(time_column="w", label_column="price")
    assert (found.time, found.special["time"]) == (2, 2)
    assert 2 not in found.features
    assert 2 in found.text
    assert 2 not in found.number
    moved = followed(found, NAMES[::-1])
    assert moved.time == NAMES[::-1].index("w")
    assert "asked for as group and time" in refused(group_column="2", time_column="w").cause
