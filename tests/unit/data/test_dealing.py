"""Rows of two data sets, dealt to the workers of a team."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tests import forests, threads

from treeline.data import dealing, everyone, subset
from treeline.data.matrix import Matrix
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
        wholes.append(everyone.whole(parts[-1], team)[0])
    joined = subset.joined(*wholes)
    matrix, numbers = dealing.dealt(parts, joined, team, whole_groups=whole_groups)
    return matrix, numbers, joined


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
        for name in ("label", "weight", "group"):
            np.testing.assert_array_equal(getattr(matrix, name), getattr(expected, name))
        assert matrix.group_names == expected.group_names
        assert joined.rows == 261
    assert at == 261
    names = [
        [m.group_names[m.group[row]] for row in (0, -1)] for m, _, _ in found if m.group is not None
    ]
    divided = [before[1] == after[0] for before, after in pairwise(names)]
    assert any(divided) is not whole_groups
