"""Folds are scikit-learn's, do not depend on the order of rows, and nothing leaks between them."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from sklearn import model_selection as sk

from treeline.errors import DataError
from treeline.folds import Division, divide
from treeline.hyperparameters.config import Folds
from treeline.metrics.names import BINARY, LOGISTIC, MULTICLASS, RANKING, REGRESSION

ROWS = 120


def wish(count: int = 5, strategy: str = "auto", repeats: int = 1) -> Folds:
    return Folds(count, repeats, strategy, refit=True, keep_models=False, pooled=False)


def keys(rows: int = ROWS) -> Any:
    return np.random.default_rng(5).permutation(rows).astype(np.uint64) * np.uint64(7919)


def labels(*values: float, rows: int = ROWS) -> Any:
    return np.resize(np.array(values, np.float32), rows)


def divided(asked: Folds, seed: int = 0, rows: int = ROWS, **given: Any) -> Division:
    options: dict[str, Any] = {
        "task": REGRESSION,
        "keys": keys(rows),
        "label": labels(1, rows=rows),
    }
    return divide(asked, seed, **(options | given))


def in_groups(count: int, rows: int = ROWS) -> dict[str, Any]:
    return {
        "group": np.arange(rows, dtype=np.int64) % count,
        "group_names": tuple(f"g{i}" for i in range(count)),
    }


def refused(asked: Folds, **given: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        divided(asked, **given)
    return caught.value


# Which strategy


@pytest.mark.parametrize(
    ("task", "grouped", "count", "strategy"),
    [
        (REGRESSION, False, 5, "kfold"),
        (LOGISTIC, False, 5, "kfold"),
        (BINARY, False, 5, "stratified"),
        (MULTICLASS, False, 5, "stratified"),
        (MULTICLASS, True, 5, "group"),
        (REGRESSION, True, 5, "group"),
        (RANKING, True, 5, "group"),
        (REGRESSION, False, 1, "shuffle"),
        (RANKING, True, 1, "shuffle"),
    ],
)
def test_auto(task: str, grouped: bool, count: int, strategy: str) -> None:
    groups = in_groups(30) if grouped else {}
    found = divided(wish(count), task=task, label=labels(0, 1), **groups)
    assert (found.strategy, found.folds) == (strategy, count)


def test_shares_of_a_class_are_no_classes() -> None:
    found = divided(wish(), task=BINARY, label=labels(0.25, 1))
    assert found.strategy == "kfold"
    assert "not stratified, as the labels are not class numbers" in found.line
    error = refused(wish(strategy="stratified"), task=BINARY, label=labels(0.25, 1))
    assert "needs labels that are class numbers" in error.cause


# Whose folds


@pytest.mark.parametrize(
    ("strategy", "splitter"),
    [
        ("kfold", sk.KFold(5, shuffle=True, random_state=4)),
        ("stratified", sk.StratifiedKFold(5, shuffle=True, random_state=4)),
        ("shuffle", sk.StratifiedShuffleSplit(5, test_size=0.25, random_state=4)),
    ],
)
def test_folds_are_those_of_scikit_learn_on_the_sorted_rows(strategy: str, splitter: Any) -> None:
    label = labels(0, 1, 0)
    found = divided(wish(strategy=strategy), seed=4, task=BINARY, label=label)
    order = np.argsort(keys())
    for fold, (training, held_out) in enumerate(splitter.split(order, label[order])):
        assert found.training(0, fold).tolist() == sorted(order[training].tolist())
        assert found.held_out(0, fold).tolist() == sorted(order[held_out].tolist())


@pytest.mark.parametrize(
    ("strategy", "splitter"),
    [
        ("group", sk.GroupKFold(5, shuffle=True, random_state=4)),
        ("stratified_group", sk.StratifiedGroupKFold(5, shuffle=True, random_state=4)),
        ("shuffle", sk.GroupShuffleSplit(5, test_size=0.25, random_state=4)),
    ],
)
def test_folds_of_groups_are_those_of_scikit_learn_by_name(strategy: str, splitter: Any) -> None:
    label, groups = labels(0, 1, 0, 1, 1), in_groups(23)
    names = np.array(groups["group_names"])[groups["group"]]
    found = divided(wish(strategy=strategy), seed=4, task=BINARY, label=label, **groups)
    for fold, (training, held_out) in enumerate(splitter.split(label, label, names)):
        assert found.training(0, fold).tolist() == sorted(training.tolist())
        assert found.held_out(0, fold).tolist() == sorted(held_out)


def test_a_quarter_without_classes_or_groups_is_held_out() -> None:
    found = divided(wish(3, "shuffle"))
    order = np.argsort(keys())
    for fold, (_, held_out) in enumerate(
        sk.ShuffleSplit(3, test_size=0.25, random_state=0).split(order)
    ):
        assert found.held_out(0, fold).tolist() == sorted(order[held_out].tolist())


def test_every_repeat_is_the_one_of_the_next_seed() -> None:
    found = divided(wish(strategy="kfold", repeats=3), seed=7)
    for repeat in range(3):
        alone = divided(wish(strategy="kfold"), seed=7 + repeat)
        assert np.array_equal(found.drawn[repeat], alone.drawn[0])
    assert not np.array_equal(found.drawn[0], found.drawn[1])
    assert divided(wish(), seed=-1).rows == ROWS  # a negative seed is one too


# Independence of the order of rows


def test_equal_rows_that_differ_in_something_else_stay_what_they_are() -> None:
    """Half of the rows share their key; weights and bounds tell them apart, not their order."""
    same = np.repeat(np.arange(ROWS // 2, dtype=np.uint64), 2)
    weight = np.arange(ROWS, dtype=np.float32)
    bounds = np.stack([weight % 2, weight], axis=1)
    order = np.random.default_rng(1).permutation(ROWS)
    asked = wish(strategy="kfold")
    one = divided(asked, keys=same, weight=weight)
    other = divided(asked, keys=same[order], weight=weight[order])
    assert np.array_equal(one.drawn[0][order], other.drawn[0])
    one = divided(asked, keys=same, others=(None, bounds))
    other = divided(asked, keys=same[order], others=(bounds[order],))
    assert np.array_equal(one.drawn[0][order], other.drawn[0])


def test_rows_alike_in_everything_follow_their_order() -> None:
    """Whatever way numpy sorts on this machine."""
    few = np.random.default_rng(1).integers(0, 3, 5000).astype(np.uint64)
    found = divided(wish(strategy="kfold"), rows=5000, keys=few)
    order = np.argsort(few, kind="stable")
    splits = sk.KFold(5, shuffle=True, random_state=0).split(order)
    for fold, (_, held_out) in enumerate(splits):
        assert found.held_out(0, fold).tolist() == sorted(order[held_out].tolist())


def test_numbers_of_groups_do_not_matter_their_names_do() -> None:
    groups = in_groups(23)
    renumbered = {
        "group": 40 - groups["group"],
        "group_names": ["unused"] * 18 + list(reversed(groups["group_names"])),
    }
    for strategy in ("group", "stratified_group", "shuffle"):
        given: dict[str, Any] = {"task": BINARY, "label": labels(0, 1)}
        one = divided(wish(strategy=strategy), **given, **groups)
        other = divided(wish(strategy=strategy), **given, **renumbered)
        assert all(
            np.array_equal(one.held_out(0, fold), other.held_out(0, fold)) for fold in range(5)
        )


# Time


def test_time_series_trains_on_what_is_earlier() -> None:
    time = np.random.default_rng(2).permutation(ROWS)
    found = divided(wish(strategy="time_series"), time=time)
    assert found.line == (
        "5 time_series folds: 20 to 100 rows train, 20 are held out "
        "(each fold trains on all that is earlier)"
    )
    numbers = found.numbers(0)
    assert numbers is not None
    assert numbers.tolist() == (time // 20 - 1).tolist()
    for fold in range(5):
        assert time[found.training(0, fold)].tolist() == [t for t in time if t < 20 * (fold + 1)]


def test_rows_of_one_time_are_not_divided_and_go_with_the_earliest() -> None:
    # TimeSeriesSplit's borders are 3, 6 and 9; the times around row 6 are all 5.
    time = np.array([0, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 9.5])
    found = divided(wish(3, "time_series"), rows=12, time=time)
    assert [found.held_out(0, fold).tolist() for fold in range(3)] == [
        [3, 4, 5, 6, 7],
        [8],
        [9, 10, 11],
    ]
    assert found.training(0, 1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


# Lines


def test_lines() -> None:
    groups = in_groups(30)
    assert divided(
        wish(strategy="stratified", repeats=2), task=BINARY, label=labels(0, 1)
    ).line == ("5 stratified folds, repeated 2 times, seed 0: 96 rows train, 24 are held out")
    assert divided(wish(), **groups, seed=3).line == (
        "5 group folds, seed 3: 96 rows train, 24 are held out "
        "(30 groups; cv_strategy=auto keeps the rows of a group together)"
    )
    assert divided(wish(7)).line == (
        "7 kfold folds, seed 0: 102 to 103 rows train, 17 to 18 are held out (cv_strategy=auto)"
    )
    assert divided(wish(1), task=BINARY, label=labels(0, 1)).line == (
        "1 random split, stratified, seed 0: 90 rows train, 30 are held out "
        "(one fold is one random split)"
    )
    assert divided(wish(2, "shuffle"), **groups).line == (
        "2 random splits, seed 0: 88 rows train, 32 are held out (30 groups)"
    )
    assert divided(wish(2), rows=2).line == (
        "2 kfold folds, seed 0: 1 row trains, 1 is held out (cv_strategy=auto)"
    )


# What cannot be divided


def test_too_few_rows_or_groups() -> None:
    error = refused(wish(5, "kfold"), rows=3)
    assert error.cause == (
        "cv_strategy=kfold needs 5 rows or more, one for each fold, and train has 3"
    )
    assert error.remedy == "Set cv_folds to 3 or less, or give train more rows."
    error = refused(wish(5, "group"), **in_groups(4))
    assert error.cause == (
        "cv_strategy=group needs 5 groups or more, one for each fold, and train has 4"
    )
    assert refused(wish(1), rows=1).cause == "A random split needs 2 rows or more, and train has 1"
    assert refused(wish(1), **in_groups(1)).remedy == "Give train more groups."


def test_groups_that_are_not_there() -> None:
    assert "train has no groups" in refused(wish(strategy="group")).cause
    assert "train has no groups" in refused(wish(), task=RANKING).cause
    assert "train has none" in refused(wish(strategy="time_series")).cause


def test_too_few_times() -> None:
    error = refused(wish(5, "time_series"), time=np.arange(ROWS) % 4)
    assert error.cause == (
        "cv_strategy=time_series with cv_folds=5 needs 6 different times or more, and time_column "
        "has 4 times in 120 rows"
    )
    time = np.maximum(np.arange(ROWS), 60)
    error = refused(wish(5, "time_series"), time=time)
    assert "fold 0 of 5 (from 0) would hold out no row" in error.cause
    assert "as many as 61 of 120 share one" in error.cause


def test_a_class_with_fewer_rows_than_folds_is_a_warning() -> None:
    label = labels(0, 1)
    label[:3] = 2
    found = divided(wish(10), task=MULTICLASS, label=label)
    assert found.warnings == (
        "7 of 10 folds hold out no row of class 2, which has 3 rows: their scores do not tell "
        "about it, and a metric that needs every class, such as auc, is nan",
    )
    named = divided(wish(10), task=MULTICLASS, label=label, class_names=["a", "b", "c"])
    assert "class 'c'" in named.warnings[0]
    assert divided(wish(3), task=MULTICLASS, label=label).warnings == ()
    label[3:6] = 3
    many = divided(wish(10), task=MULTICLASS, label=label)
    assert "which has 3 rows (and 1 more such class): " in many.warnings[0]
    label[6:9] = 4
    many = divided(wish(10), task=MULTICLASS, label=label)
    assert "which has 3 rows (and 2 more such classes): " in many.warnings[0]


@pytest.mark.parametrize("strategy", ["stratified", "stratified_group"])
def test_scikit_learn_says_nothing_of_its_own(strategy: str) -> None:
    label = np.arange(ROWS) // 2  # as many classes as can be
    label[:3], label[3:40] = 0, 1  # and one with fewer rows than folds
    groups = in_groups(30) if strategy == "stratified_group" else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for task in (BINARY, MULTICLASS):
            with suppress(DataError):
                divided(wish(5, strategy), task=task, label=label.astype(np.float32), **groups)
    assert [str(each.message) for each in caught] == []


@pytest.mark.parametrize("strategy", ["stratified", "kfold", "shuffle", "stratified_group"])
def test_a_fold_that_would_train_without_a_class_is_refused(strategy: str) -> None:
    label = labels(0, 1)
    label[7] = 2
    groups = in_groups(30) if strategy == "stratified_group" else {}
    error = refused(wish(10, strategy), task=MULTICLASS, label=label, **groups)
    assert error.cause == (
        f"cv_strategy={strategy}: a fold would train without class 2, which has 1 row in train"
    )


def test_a_class_of_one_group_only_is_refused() -> None:
    groups = in_groups(30)
    label = (groups["group"] == 3).astype(np.float32)
    assert (
        "without class 1, which has 4 rows"
        in refused(wish(), task=BINARY, label=label, **groups).cause
    )


def test_classes_smaller_than_all_folds() -> None:
    error = refused(wish(20, "stratified"), task=MULTICLASS, label=labels(*range(12)))
    assert error.cause == (
        "cv_strategy=stratified divides each class into 20 folds, and no class of train has more "
        "than 10 rows"
    )
    assert error.remedy == "Set cv_folds to 10 or less, or give train more rows."
    error = refused(wish(1), rows=6, task=MULTICLASS, label=labels(0, 1, 2, rows=6))
    assert error.cause == "A random split of 6 rows holds 2 of them out, and train has 3 classes"


def test_one_large_group() -> None:
    group = np.zeros(ROWS, np.int64)
    group[-8:] = [1, 1, 2, 2, 3, 3, 4, 4]
    label = labels(0, 1)
    given: dict[str, Any] = {"group": group, "group_names": tuple("abcde")}
    found = divided(wish(5, "stratified_group"), task=BINARY, label=label, **given)
    assert sorted(len(found.held_out(0, fold)) for fold in range(5)) == [2, 2, 2, 2, 112]


# Honesty: what is learnt by heart is worth nothing on held-out rows


def error_of_memory(division: Division, known_by: Any, label: Any) -> float:
    """The error of saying what the nearest training row was, over all held-out rows."""
    wrong: list[bool] = []
    for fold in range(division.folds):
        training, held_out = division.training(0, fold), division.held_out(0, fold)
        nearest = np.abs(known_by[held_out, None] - known_by[training]).argmin(axis=1)
        wrong += (label[training][nearest] != label[held_out]).tolist()
    return float(np.mean(wrong))


STRATEGIES = ("kfold", "stratified", "group", "stratified_group", "time_series", "shuffle")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_random_labels_are_wrong_half_of_the_time(strategy: str) -> None:
    """Rows of a group are alike, in features and in label; only groups kept whole stay unknown."""
    rng = np.random.default_rng(3)
    rows, count = 3000, 600
    group = np.repeat(np.arange(count), rows // count)
    label = rng.integers(0, 2, count).astype(np.float32)[group]
    known_by = rng.random(count)[group]
    given: dict[str, Any] = {
        "task": BINARY,
        "keys": rng.permutation(rows).astype(np.uint64),
        "label": label,
        "time": group,
    }
    by_group = {"group": group, "group_names": tuple(map(str, range(count)))}
    if strategy in ("group", "stratified_group", "shuffle"):
        given |= by_group
    found = divided(wish(strategy=strategy), **given)
    if strategy in ("kfold", "stratified"):  # that do not look at groups
        assert error_of_memory(found, known_by, label) < 0.01
        known_by, label = rng.random(rows), rng.integers(0, 2, rows).astype(np.float32)
        found = divided(wish(strategy=strategy), **(given | {"label": label}))
    assert error_of_memory(found, known_by, label) == pytest.approx(0.5, abs=0.07)


def test_division_is_small() -> None:
    found = divided(wish(strategy="kfold", repeats=2))
    assert [each.nbytes for each in found.drawn] == [ROWS, ROWS]
    assert [each.nbytes for each in divided(wish(4, "shuffle")).drawn] == [4 * ROWS // 8]
    assert divided(wish(4, "shuffle")).numbers(0) is None
    many = divided(wish(150, "kfold"), rows=300)
    assert {len(many.held_out(0, fold)) for fold in range(150)} == {2}
