"""Folds divide the rows, whatever the rows are, and do not depend on their order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import sklearn.model_selection  # noqa: F401  # here, as it changes the environment when imported
from hypothesis import given, settings
from hypothesis import strategies as st

from treeline.errors import DataError
from treeline.folds import Division, divide
from treeline.hyperparameters.config import Folds
from treeline.metrics.names import BINARY, REGRESSION

STRATEGIES = ("kfold", "stratified", "group", "stratified_group", "time_series", "shuffle")

quick = settings(max_examples=150, deadline=None)
seeds = st.integers(0, 2**32 - 1)
strategies = st.sampled_from(STRATEGIES)
counts = st.integers(2, 7)
sizes = st.integers(1, 60)


def drawn_rows(strategy: str, seed: int, rows: int) -> dict[str, Any]:
    """Rows with copies, uneven classes, uneven groups and times that several rows share.

    Random splits are drawn with and without groups.
    """
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 20))
    return {
        "keys": rng.integers(0, max(2, int(rng.integers(2, 4 * rows + 2))), rows).astype(np.uint64),
        "label": (rng.random(rows) < rng.choice([0.1, 0.5])).astype(np.float32),
        "weight": rng.integers(1, 3, rows).astype(np.float32),
        "group": None if strategy == "shuffle" and seed % 2 else rng.integers(0, groups, rows),
        "group_names": tuple(f"{i * 7 % 101}" for i in range(groups)),
        "time": rng.integers(0, max(1, rows // 2), rows),
    }


def attempt(strategy: str, folds: int, seed: int, rows: dict[str, Any]) -> Division | None:
    """Divide, or return None where it was refused in words."""
    task = BINARY if strategy.startswith("stratified") or seed % 3 else REGRESSION
    wish = Folds(folds, 2, strategy, refit=True, keep_models=False, pooled=False)
    try:
        return divide(wish, seed % 1000, task=task, **rows)
    except DataError as error:
        return None if error.cause and error.remedy else pytest.fail("an error without words")


@quick
@given(strategies, counts, sizes, seeds)
def test_folds_partition_the_rows(strategy: str, folds: int, count: int, seed: int) -> None:
    rows = drawn_rows(strategy, seed, count)
    division = attempt(strategy, folds, seed, rows)
    if division is None:
        return
    for repeat in range(division.repeats):
        times = np.zeros(count, int)
        for fold in range(folds):
            held_out, training = division.held_out(repeat, fold), division.training(repeat, fold)
            assert len(held_out)
            assert len(training)
            assert (np.diff(held_out) > 0).all()
            assert (np.diff(training) > 0).all()
            assert not np.intersect1d(held_out, training).size
            times[held_out] += 1
            if strategy == "time_series":
                assert rows["time"][training].max() < rows["time"][held_out].min()
            else:
                assert len(held_out) + len(training) == count
            if strategy in ("group", "stratified_group"):
                assert not np.intersect1d(rows["group"][held_out], rows["group"][training]).size
        numbers = division.numbers(repeat)
        if strategy == "shuffle":
            assert numbers is None
            continue
        assert numbers is not None
        assert np.array_equal(times, (numbers >= 0).astype(int))
        assert strategy == "time_series" or times.all()


@quick
@given(strategies, counts, sizes, seeds)
def test_folds_do_not_depend_on_the_order(strategy: str, folds: int, count: int, seed: int) -> None:
    rows = drawn_rows(strategy, seed, count)
    order = np.random.default_rng(seed).permutation(count)
    renumber = np.random.default_rng(seed + 1).permutation(len(rows["group_names"]))
    moved = {
        name: values[order] if isinstance(values, np.ndarray) else values
        for name, values in rows.items()
    }
    if rows["group"] is not None:
        moved["group"] = renumber[moved["group"]]
    moved["group_names"] = tuple(rows["group_names"][i] for i in np.argsort(renumber))
    one, other = attempt(strategy, folds, seed, rows), attempt(strategy, folds, seed, moved)
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    assert one.line == other.line
    for repeat in range(one.repeats):
        for fold in range(folds):
            assert content(rows, one.held_out(repeat, fold)) == content(
                moved, other.held_out(repeat, fold)
            )


def content(rows: dict[str, Any], numbers: Any) -> Counter[tuple[Any, ...]]:
    """The rows as a multiset of all there is in them but the time, which decides for itself."""
    columns = [rows["keys"], rows["label"], rows["weight"]]
    if rows["group"] is not None:
        columns.append(np.array(rows["group_names"])[rows["group"]])
    return Counter(zip(*(column[numbers].tolist() for column in columns), strict=True))
