"""The cuts of several workers' rows are those of one worker's, whatever stands in the columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests import teams, teamwork

from treeline.algorithms import binning, shared_cuts
from treeline.algorithms.binning import Binning
from treeline.data.records import Floats
from treeline.team import ALONE

NUMBERS = st.one_of(
    st.floats(width=32, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, float("nan")]),
)


@pytest.mark.parametrize("blocks", [1, 3])
def test_workers_have_the_cuts_of_one(blocks: int) -> None:
    one = teamwork.cuts_of(ALONE)
    assert len({digest for digest, _ in one.values()}) == len(one)
    assert teams.run(3, teamwork.cuts_of, blocks) == [one, one, one]


@settings(max_examples=60, deadline=None)
@given(
    columns=arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=NUMBERS),
    max_bin=st.integers(2, 12),
    weigh=st.booleans(),
)
def test_a_few_rows_have_the_cuts_of_many(columns: Floats, max_bin: int, weigh: bool) -> None:
    rows = len(columns)
    weight = np.arange(rows, 0, -1, dtype=np.float32) // 2 + (rows == 1) if weigh else None
    whole = teamwork.matrix_of(columns, label=np.zeros(rows, np.float32), weight=weight)
    how = Binning(quantile=True, ranking=False, max_bin=max_bin, threads=1)
    found = shared_cuts._sketched([columns.copy()], whole, how, None)
    made = shared_cuts.synthetic(found, None, how)
    assert shared_cuts._has(made, found)
    assert binning.cuts_digest(made) == binning.cuts_digest(binning.to_dmatrix(whole, how, None))


def test_cuts_that_cannot_be_handed_on_are_merged_by_xgboost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = teamwork.sets("plain")["train"]
    how = Binning(quantile=True, ranking=False, max_bin=9, threads=1)
    assert shared_cuts.reference(whole, whole, how, ALONE) is not None
    monkeypatch.setattr(shared_cuts, "_values", lambda column, kind: column.cuts[1:3])
    with pytest.warns(UserWarning, match="XGBoost merges those of each"):
        assert shared_cuts.reference(whole, whole, how, ALONE) is None
