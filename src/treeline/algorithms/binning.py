"""From a matrix to what XGBoost trains on: bins in memory, bins on disk, or raw values.

Bins in memory take one or two bytes a value and are made from the whole array where there is
one; rows in a file are handed over in slices. All ways give the same bins for data of the same
order, as far as XGBoost's quantile sketch is exact (docs/decisions.md has what was measured).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from treeline.algorithms.library import library
from treeline.data.matrix import Matrix, group_sizes
from treeline.data.records import Csr, Floats
from treeline.data.storage import is_spooled
from treeline.errors import DataError

if TYPE_CHECKING:
    import xgboost as xgb


_SLICE_BYTES = 1 << 26  # of raw values handed over at a time


@dataclass(frozen=True)
class Binning:
    """How to hand a matrix to XGBoost.

    ``quantile`` is whether training works on bins alone; ``ranking`` whether groups are queries;
    ``disk`` is the folder for bins that do not fit the memory, None to keep them in memory.
    """

    quantile: bool
    ranking: bool
    max_bin: int
    threads: int
    disk: Path | None = None


def is_quantile(booster: Mapping[str, Any]) -> bool:
    """Whether training works on quantile bins alone and needs no raw values."""
    return (
        booster.get("booster", "gbtree") != "gblinear"
        and booster.get("tree_method", "auto") in ("auto", "hist")
        and "updater" not in booster
    )


def to_dmatrix(matrix: Matrix, binning: Binning, reference: xgb.DMatrix | None) -> xgb.DMatrix:
    """Return ``matrix`` as XGBoost takes it; ``reference`` is the training data's, for its cuts.

    The matrix lets go of its features. The label is handed over only once they are gone: XGBoost
    copies it, and needs it no earlier.
    """
    loaded, meta, types = library(), _Meta(matrix, binning.ranking), feature_types(matrix)
    cuts = {"max_bin": binning.max_bin, "ref": reference} if binning.quantile else {}
    features = matrix.take_features()
    made: xgb.DMatrix
    if binning.disk is not None or (binning.quantile and is_spooled(features)):
        slices = _slices(features, meta, binning.disk, types)
        kind = loaded.QuantileDMatrix if binning.disk is None else loaded.ExtMemQuantileDMatrix
        made = kind(slices, nthread=binning.threads, **cuts)
    else:
        rows = meta.rows(0, matrix.rows)
        label = rows.pop("label", None)
        kind = loaded.QuantileDMatrix if binning.quantile else loaded.DMatrix
        made = kind(raw(features), **rows, feature_types=types, nthread=binning.threads, **cuts)
        del features
        if label is not None:
            made.set_label(label)
    return made


def weights(matrix: Matrix, how: Binning) -> dict[str, Any]:
    """Return what of the rows, besides their features, has a say in the cuts."""
    if matrix.weight is None:
        return {}
    rows = _Meta(matrix, how.ranking).rows(0, matrix.rows)
    return {name: rows[name] for name in ("weight", "qid") if name in rows}


def without_features(matrix: Matrix, how: Binning) -> xgb.DMatrix:
    """Return the rows as XGBoost takes them, but without their features."""
    rows = _Meta(matrix, how.ranking).rows(0, matrix.rows)
    nothing = np.full((matrix.rows, 1), np.nan, np.float32)
    made: xgb.DMatrix = library().DMatrix(nothing, nthread=how.threads, **rows)
    return made


class _Meta:
    """What goes with the features: everything else XGBoost wants to know of the rows."""

    def __init__(self, matrix: Matrix, ranking: bool) -> None:
        self._columns: dict[str, Any] = {
            "label": matrix.label,
            "weight": matrix.weight,
            "base_margin": matrix.margin,
            "label_lower_bound": matrix.lower,
            "label_upper_bound": matrix.upper,
        }
        self.starts: Any = None  # the first row of each query
        if ranking and matrix.group is None and matrix.weight is not None:
            raise DataError(
                f"{matrix.origin.of(0)}: rows have weights and no query; a ranking objective "
                "weighs whole queries",
                "Say which rows are a query, with group_column or qid, or leave the weights out.",
            )
        if ranking and matrix.group is not None:
            sizes = group_sizes(matrix) if matrix.rows else np.empty(0, np.int64)
            self.starts = np.concatenate([[0], np.cumsum(sizes)])
            self._columns["qid"] = matrix.group
            if matrix.weight is not None:
                self._columns["weight"] = _weight_of_groups(matrix, self.starts[:-1])

    def rows(self, first: int, last: int) -> dict[str, Any]:
        """Return the meta data of some rows; with queries, of whole queries."""
        found = {name: column[first:last] for name, column in self._present() if name != "weight"}
        if "weight" in dict(self._present()):
            weight = self._columns["weight"]
            bounds = (
                [first, last] if self.starts is None else self.starts.searchsorted([first, last])
            )
            found["weight"] = weight[bounds[0] : bounds[1]]
        return found

    def _present(self) -> list[tuple[str, Any]]:
        return [(name, column) for name, column in self._columns.items() if column is not None]


def _weight_of_groups(matrix: Matrix, starts: Any) -> Floats:
    """Return the weight of each query: XGBoost weighs queries, not their rows."""
    weight = matrix.weight
    if weight is None or matrix.group is None:
        raise AssertionError("no weights")
    weights: Floats = weight[starts]
    differs = np.flatnonzero(weight != weights[matrix.group])
    if len(differs):
        row = int(differs[0])
        raise DataError(
            f"{matrix.origin.of(row)}: weight {weight[row]:g} differs from that of the first row "
            "of its query; a ranking objective weighs whole queries",
            "Give all rows of a query the same weight.",
        )
    return weights


def feature_types(matrix: Matrix) -> list[str] | None:
    """Return XGBoost's word for every feature: c for categories, q for numbers; None: all q."""
    categories = matrix.schema.categories
    if not categories:
        return None
    return ["c" if j in categories else "q" for j in range(matrix.schema.features)]


def raw(features: Floats | Csr) -> Any:
    """Return the features as XGBoost takes them."""
    if not isinstance(features, Csr):
        return features
    from scipy.sparse import csr_matrix  # only sparse data pays for it

    shape = (features.rows, features.width)
    return csr_matrix((features.values, features.indices, features.indptr), shape=shape, copy=False)


def _slices(features: Floats | Csr, meta: _Meta, disk: Path | None, types: list[str] | None) -> Any:
    xgb = library()

    class Slices(xgb.DataIter):  # type: ignore[name-defined, misc]
        """Hands over the rows slice by slice, as often as XGBoost asks."""

        def __init__(self) -> None:
            prefix = None if disk is None else str(disk / "bins")
            super().__init__(cache_prefix=prefix, on_host=False, release_data=True)
            self._left: Iterator[tuple[int, int]] = iter(())

        def reset(self) -> None:
            self._left = _bounds(features, meta.starts)

        def next(self, input_data: Any) -> bool:
            for first, last in self._left:
                raw = _part(features, first, last)
                input_data(data=raw, feature_types=types, **meta.rows(first, last))
                return True
            return False

    return Slices()


def _bounds(features: Floats | Csr, starts: Any) -> Iterator[tuple[int, int]]:
    """Yield slices of rows; a query is never divided."""
    rows, width = features.shape
    step = max(1, _SLICE_BYTES // (4 * width))
    first = 0
    if not rows:  # of a worker that has none; XGBoost wants to see a slice
        yield 0, 0
    while first < rows:
        last = min(first + step, rows)
        if starts is not None:
            last = int(starts[np.searchsorted(starts, last, side="left")])
        yield first, last
        first = last


def _part(features: Floats | Csr, first: int, last: int) -> Any:
    if isinstance(features, Csr):
        return raw(features)[first:last]
    return np.asarray(features[first:last])


def cuts_digest(matrix: xgb.DMatrix) -> str:
    """Return a digest of the cuts that the rows were binned by, 16 hex digits; "" without cuts."""
    if not isinstance(matrix, library().QuantileDMatrix | library().ExtMemQuantileDMatrix):
        return ""
    digest = hashlib.blake2b(digest_size=8)
    for part in matrix.get_quantile_cut():
        digest.update(part.dtype.str.encode() + len(part).to_bytes(8, "big") + part.tobytes())
    return digest.hexdigest()
