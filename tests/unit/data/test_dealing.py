"""Rows dealt to the workers of a team: of two data sets, and where one has too many of them."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import forests, threads

from treeline.data import dealing, everyone, subset
from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin, Schema
from treeline.data.records import Csr
from treeline.data.storage import is_spooled
from treeline.team import Team

CUTS = {2: [0, 0.9, 1], 3: [0, 0.2, 0.2, 1]}


def data_set(seed: int, rows: int, kind: str) -> Matrix:
    """Rows in queries of seven, of which some columns are missing."""
    values = forests.features(seed)[:rows]
    found: Any = values
    if kind == "sparse":
        there = ~np.isnan(values)
        indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
        found = Csr(indptr, np.nonzero(there)[1].astype(np.int32), values[there], values.shape[1])
    numbers = np.arange(rows, dtype=np.float32)
    whole = forests.matrix_of(found, numbers, weight=numbers + seed, group=np.arange(rows) // 7)
    if kind == "file":
        with tempfile.TemporaryFile() as file:
            file.write(values.tobytes())
            file.flush()
            whole.features = np.memmap(file, np.float32, "r+", shape=values.shape)
    return replace(whole, group_names=tuple(f"{seed}-{i}" for i in range(-(-rows // 7))))


def dealt(team: Team, kind: str, whole_groups: bool) -> tuple[Matrix, Any, Any]:
    parts, wholes = [], []
    for seed, rows in ((1, 203), (2, 58)):
        one = data_set(seed, rows, kind)
        begin, end = (int(rows * CUTS[team.size][team.rank + i]) for i in (0, 1))
        parts.append(subset.between(one, begin, end))
        wholes.append(everyone.whole(parts[-1], team))
    joined = subset.joined(*wholes)
    matrix, numbers = dealing.dealt(parts, joined, team, whole_groups=whole_groups)
    return matrix, numbers, joined


def named(matrix: Matrix) -> list[str]:
    assert matrix.group is not None
    return [matrix.group_names[code] for code in matrix.group]


def plain(features: Any) -> Any:
    return (
        [features.indptr, features.indices, features.values]
        if isinstance(features, Csr)
        else [features[:]]
    )


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("kind", ["dense", "sparse", "file"])
@pytest.mark.parametrize("whole_groups", [False, True])
def test_each_worker_has_a_run_of_the_rows_of_one(
    size: int, kind: str, whole_groups: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealing, "_PIECE", 24 * 16)  # some rows at a time
    one = subset.joined(data_set(1, 203, kind), data_set(2, 58, kind))
    found = threads.run(size, dealt, kind, whole_groups)
    at = 0
    for matrix, numbers, joined in found:
        assert numbers.tolist() == [*range(at, at + matrix.rows)]
        at += matrix.rows
        assert abs(matrix.rows - 261 / size) < 8
        expected = subset.rows_of(one, numbers)
        for mine, his in zip(plain(matrix.features), plain(expected.features), strict=True):
            np.testing.assert_array_equal(mine, his)
        assert is_spooled(matrix.features) is (kind == "file")
        for name in ("label", "weight"):
            np.testing.assert_array_equal(getattr(matrix, name), getattr(expected, name))
        assert named(matrix) == named(expected)
        if whole_groups:  # as they are numbered for a ranking
            np.testing.assert_array_equal(matrix.group, expected.group)
        assert joined.rows == 261
    assert at == 261
    names = [
        [m.group_names[m.group[row]] for row in (0, -1)] for m, _, _ in found if m.group is not None
    ]
    divided = [before[1] == after[0] for before, after in pairwise(names)]
    assert any(divided) is not whole_groups


# --- rows that one worker has too many of


def of_groups(group: Sequence[int] | None, rows: int, *, sparse: bool) -> Matrix:
    numbers = np.arange(rows)
    values = numbers[:, None].astype(np.float32) + np.array([0, 0.5], np.float32)
    values[::3, 1] = np.nan
    there = ~np.isnan(values)
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    csr = Csr(indptr, np.nonzero(there)[1].astype(np.int32), values[there], 2)
    stats = ColumnStats()
    stats.update(csr if sparse else values)
    return Matrix(
        features=csr if sparse else values,
        label=numbers.astype(np.float32),
        weight=None,
        group=None if group is None else np.array(group, np.int64),
        group_names=() if group is None else tuple(f"g{9 - i}" for i in range(max(group) + 1)),
        lower=None,
        upper=None,
        margin=None,
        schema=Schema(2),
        stats=stats,
        hashes=numbers.astype(np.uint64) + np.uint64(7),
        fingerprint="f",
        origin=Origin(),
    )


@pytest.mark.parametrize("piece", [1 << 26, 150])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_worker_has_many_more_rows_than_another(piece: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    rows, workers = sum(sizes), data.draw(st.integers(2, 4))
    inner = data.draw(st.lists(st.integers(0, rows), min_size=workers - 1, max_size=workers - 1))
    cuts = [0, *sorted(inner), rows]
    grouped, sparse, ranked = (data.draw(st.booleans()) for _ in range(3))
    group = np.repeat(np.arange(len(sizes)), sizes) if grouped else np.zeros(rows, np.int64)
    all_rows = of_groups(group.tolist() if grouped else None, rows, sparse=sparse)
    origins, names = [], []
    read = np.diff(cuts).tolist()
    for rank, count in enumerate(read):
        left_out = sorted(data.draw(st.lists(st.integers(0, count), max_size=3)))
        second = min(2, count + len(left_out))  # where the second file begins
        origins.append(Origin([f"{rank}a", f"{rank}b"], [0, second], array("q", left_out)))
        names += [*map(origins[-1].of, range(count))]

    def work(team: Team) -> tuple[Matrix, Any]:
        own = subset.between(all_rows, cuts[team.rank], cuts[team.rank + 1])
        own.origin = origins[team.rank]
        rows_ = everyone.whole(own, team)
        found = dealing.leveled(own, rows_, team, whole_groups=ranked)
        assert own.features.shape[0] == 0  # nobody else holds them
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dealing, "_PIECE", piece)
        answers = threads.run(workers, work)
    at, seen = 0, set[int]()
    for found, numbers in answers:
        here = slice(at, at + found.rows)
        assert numbers.tolist() == [*range(at, at + found.rows)]
        at += found.rows
        assert all_rows.label is not None
        np.testing.assert_array_equal(found.label, all_rows.label[here])
        np.testing.assert_array_equal(
            np.concatenate(plain(found.features), axis=None),
            np.concatenate(plain(subset.rows_of(all_rows, numbers).features), axis=None),
        )
        assert [*map(found.origin.of, range(found.rows))] == names[here]
        if ranked:
            assert not seen & {*group[here].tolist()}
            seen |= {*group[here].tolist()}
        if grouped:
            assert named(found) == named(all_rows)[here]
    assert at == rows
    have = [found.rows for found, _ in answers]
    if max(read) * workers <= 1.2 * rows and not ranked:
        assert have == read
    elif not ranked:
        assert max(have) <= -(-rows // workers)
    elif grouped:
        assert max(have) <= max(1.2 * rows / workers, rows / workers + 1) + max(sizes)
