"""Whichever way the rows are handed over, XGBoost grows the same trees, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from tests.teamwork import as_csr, spooled

from treeline.algorithms import binning
from treeline.algorithms.binning import Binning, is_quantile, to_dmatrix
from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin, Schema, group_sizes
from treeline.data.records import Csr, Floats
from treeline.data.storage import is_spooled
from treeline.errors import DataError

ROWS, COLUMNS = 900, 4
# Few enough distinct values for an exact sketch, more than there are bins.
MAX_BIN = 16


def values(seed: int, missing: float = 0.2) -> Floats:
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 60, (ROWS, COLUMNS)).astype(np.float32)
    found[:, 3] = rng.integers(0, 5, ROWS)
    found[rng.random(found.shape) < missing] = np.nan
    return found


def made(features: Floats | Csr, seed: int = 0, **parts: Any) -> Matrix:
    """A matrix with these features and a label that can be learned from them."""
    dense = features if isinstance(features, np.ndarray) else values(seed)
    filled = np.nan_to_num(dense)
    noise = np.random.default_rng(seed).normal(size=ROWS)
    label = filled[:, 0] / 20 + (filled[:, 1] > 30) + (filled[:, 3] == 2) + noise
    origin = Origin()
    origin.add("train/a.csv", 0)
    arrays: Any = dict.fromkeys(("weight", "group", "lower", "upper", "margin"))
    arrays["label"] = label.astype(np.float32)
    schema = Schema(COLUMNS, categories=parts.pop("categories", {}))
    stats = ColumnStats()
    stats.update(features)
    return Matrix(
        features=features,
        group_names=(),
        schema=schema,
        stats=stats,
        hashes=np.zeros(ROWS, np.uint64),
        fingerprint="",
        origin=origin,
        **{**arrays, **parts},
    )


def float32(*shape: int, seed: int = 5) -> Floats:
    return np.random.default_rng(seed).random(shape, np.float32)


def queries() -> Any:
    """Numbers of queries of 1 to 40 rows, one after the other."""
    sizes = np.random.default_rng(3).integers(1, 40, ROWS)
    return np.repeat(np.arange(ROWS), sizes)[:ROWS].astype(np.int64)


QUERIES = queries()
RANKING: dict[str, Any] = {"objective": "rank:ndcg", "lambdarank_pair_method": "topk"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"objective": "reg:squarederror"}, {}),
    "weights": ({"objective": "reg:squarederror"}, {"weight": float32(ROWS)}),
    "margin": ({"objective": "reg:squarederror"}, {"margin": 9 * float32(ROWS, 1)}),
    "margins": (
        {"objective": "multi:softprob", "num_class": 3},
        {"margin": 9 * float32(ROWS, 3), "label": np.floor(3 * float32(ROWS))},
    ),
    "bounds": (
        {"objective": "survival:aft"},
        {
            "label": None,
            "lower": 1 + float32(ROWS),
            "upper": np.where(float32(ROWS) > 0.7, np.inf, 3).astype(np.float32),
        },
    ),
    "categories": (
        {"objective": "reg:squarederror", "max_cat_to_onehot": 1},
        {"categories": {3: tuple("abcde")}},
    ),
    "queries": (RANKING, {"label": np.floor(4 * float32(ROWS)), "group": QUERIES}),
    "weighted queries": (
        RANKING,
        {
            "label": np.floor(4 * float32(ROWS)),
            "group": QUERIES,
            "weight": float32(ROWS)[QUERIES],
        },
    ),
}


def train(
    matrix: Matrix, validation: Matrix, params: dict[str, Any], disk: Path | None
) -> tuple[bytes, str]:
    """Return the model and its scores after a few rounds."""
    ranking = params["objective"].startswith("rank:")
    how = Binning(True, ranking, MAX_BIN, 1, disk)
    data = to_dmatrix(matrix, how, None)
    held = to_dmatrix(validation, how, data)
    kind = xgb.QuantileDMatrix if disk is None else xgb.ExtMemQuantileDMatrix
    assert type(data) is type(held) is kind
    assert disk is None or len([*disk.iterdir()]) > 0
    assert (data.num_row(), data.num_col()) == (ROWS, COLUMNS)
    parameters = {"nthread": 1, "max_bin": MAX_BIN, "eta": 0.5, **params}
    booster = xgb.Booster(parameters, [data, held])
    for index in range(3):
        booster.update(data, index)
    return bytes(booster.save_raw("ubj")), booster.eval_set([(data, "t"), (held, "v")], 2)


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binning, "_SLICE_BYTES", 200 * 4 * COLUMNS)


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("case", CASES)
def test_every_way_gives_the_same_model(case: str, tmp_path: Path) -> None:
    params, parts = CASES[case]
    train_rows, held_rows = values(1), values(2)
    ways: dict[str, tuple[Any, bool]] = {
        "memory": (lambda block: block, False),
        "spooled": (spooled, False),
        "on disk": (spooled, True),
        "in memory, bins on disk": (lambda block: block, True),
        "sparse": (as_csr, False),
        "sparse on disk": (as_csr, True),
    }
    if "categories" in parts:
        ways = {way: how for way, how in ways.items() if "sparse" not in way}
    found = {}
    for way, (held_as, on_disk) in ways.items():
        disk = tmp_path / way
        disk.mkdir()
        given: dict[str, Any] = {"label": made(train_rows).label, **parts}
        matrix = made(held_as(train_rows), **given)
        validation = made(held_as(held_rows), seed=2, **given)
        found[way] = train(matrix, validation, params, disk if on_disk else None)
        assert [*disk.iterdir()] == []  # the bins went with their matrix
    model, scores = found["memory"]
    assert {way: each == model for way, (each, _) in found.items()} == dict.fromkeys(ways, True)
    assert {each for _, each in found.values()} == {scores}
    trees = xgb.Booster(model_file=bytearray(model)).trees_to_dataframe()
    assert len(trees) > 30  # not a stump that any bins would give


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("case", CASES)
def test_what_goes_with_the_rows_is_used(case: str) -> None:
    """The model differs from the one without it, so the parts do arrive."""
    params, parts = CASES[case]
    block = spooled(values(1))
    label: Any = {"label": parts.get("label", made(values(1)).label)}
    model, _ = train(made(block, **{**label, **parts}), made(block, **label | parts), params, None)
    for left_out in parts.keys() - {"label", "lower", "upper"}:
        rest = {**label, **{name: part for name, part in parts.items() if name != left_out}}
        if left_out == "group":
            rest.pop("weight", None)
        other, _ = train(made(block, **rest), made(block, **rest), params, None)
        assert other != model, left_out


@pytest.mark.parametrize("rows", [1, 7, 30, 200, 899, 900, 5000])
def test_slices_never_divide_a_query(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binning, "_SLICE_BYTES", rows * 4 * COLUMNS)
    matrix = made(values(1), group=QUERIES, weight=float32(ROWS)[QUERIES])
    meta = binning._Meta(matrix, ranking=True)
    bounds = [*binning._bounds(matrix.features, meta.starts)]
    assert [first for first, _ in bounds] == [0, *(last for _, last in bounds[:-1])]
    assert bounds[-1][1] == ROWS
    sizes = group_sizes(matrix)
    for first, last in bounds:
        part = meta.rows(first, last)
        assert first == 0 or QUERIES[first] != QUERIES[first - 1]
        assert len(part["weight"]) == len(np.unique(part["qid"]))
        assert last - first <= rows + sizes.max()
    plain = [*binning._bounds(matrix.features, None)]
    assert {last - first for first, last in plain[:-1]} <= {rows}
    assert plain[-1][1] == ROWS


def test_the_weight_of_a_query_is_that_of_its_rows() -> None:
    weight = float32(ROWS)[QUERIES]
    row = int(np.flatnonzero(QUERIES == 2)[-1])
    assert QUERIES[row - 1] == 2
    weight[row] = 7
    how = Binning(True, True, MAX_BIN, 1)
    with pytest.raises(DataError) as caught:
        to_dmatrix(made(values(1), group=QUERIES, weight=weight), how, None)
    assert caught.value.cause.startswith(
        f"train/a.csv row {row + 1}: weight 7 differs from that of the first row of its query"
    )
    # Without ranking groups are no queries: they say which rows belong together, and no more.
    unranked = Binning(True, False, MAX_BIN, 1)
    data = to_dmatrix(made(values(1), group=QUERIES, weight=weight), unranked, None)
    assert np.array_equal(data.get_weight(), weight)


def test_weights_of_rows_without_a_query() -> None:
    matrix = made(values(1), weight=float32(ROWS))
    with pytest.raises(DataError, match="rows have weights and no query"):
        to_dmatrix(matrix, Binning(True, True, MAX_BIN, 1), None)
    assert to_dmatrix(made(values(1)), Binning(True, True, MAX_BIN, 1), None).num_row() == ROWS


def test_a_query_has_to_be_together() -> None:
    group = QUERIES.copy()
    group[-1] = 0
    matrix = made(values(1), group=group)
    matrix.group_names = tuple(map(str, range(ROWS)))
    with pytest.raises(DataError, match="group '0' occurs again"):
        to_dmatrix(matrix, Binning(True, True, MAX_BIN, 1), None)


def test_validation_is_binned_with_the_cuts_of_train() -> None:
    how = Binning(True, False, MAX_BIN, 1)
    data = to_dmatrix(made(values(1)), how, None)
    for rows in (values(2) * 3, spooled(values(2) * 3)):
        held = to_dmatrix(made(rows), how, data)
        found, expected = held.get_quantile_cut(), data.get_quantile_cut()
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("booster", "expected"),
    [
        ({}, True),
        ({"tree_method": "auto"}, True),
        ({"tree_method": "hist", "booster": "dart"}, True),
        ({"tree_method": "approx"}, False),
        ({"tree_method": "exact"}, False),
        ({"booster": "gblinear"}, False),
        ({"updater": "grow_colmaker"}, False),
    ],
)
def test_raw_values_are_kept_where_bins_are_not_enough(
    booster: dict[str, Any], expected: bool
) -> None:
    assert is_quantile(booster) == expected


def test_raw_values_dense_sparse_and_spooled() -> None:
    how = Binning(False, False, MAX_BIN, 1)
    models = set()
    for features in (values(1), as_csr(values(1)), spooled(values(1))):
        data = to_dmatrix(made(features, label=made(values(1)).label), how, None)
        assert type(data) is xgb.DMatrix
        booster = xgb.train({"tree_method": "exact", "nthread": 1}, data, 3)
        models.add(bytes(booster.save_raw("ubj")))
    assert len(models) == 1
    assert is_spooled(spooled(values(1)))
