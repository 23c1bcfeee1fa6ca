"""The rows of one data set as one value, with what is known of them; and what no job can use."""

from __future__ import annotations

import bisect
import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline.data import columns, encoding, rowhash
from treeline.data.records import Csr, Floats
from treeline.data.times import Times
from treeline.errors import DataError
from treeline.team import ALONE, Team

if TYPE_CHECKING:
    from treeline.data.audit import ColumnStats
    from treeline.data.columns import Layout


_CORRECT = "Correct or drop these rows; missing is allowed in features only."
_DROP = "missing_label=drop leaves rows without a label out"


@dataclass(frozen=True)
class Schema:
    """What the training data settles for all other data of the job.

    ``layout`` is that of its first file, with the kind of every column known; None for formats
    without columns. ``categories`` has the texts of every categorical feature by its position
    among the features, in the order of their codes, ``classes`` those of the label.
    ``time_kind`` is whether the times are numbers or dates, as in ``times``.
    """

    features: int
    feature_names: tuple[str, ...] | None = None
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    layout: Layout | None = None
    origin: str = "train"
    time_kind: str | None = None

    def feature(self, position: int) -> str:
        """Return how messages name a feature."""
        return columns.column_name(position, self.feature_names).replace("column", "feature", 1)


@dataclass
class Matrix:
    """The rows of one data set, in reading order.

    ``features`` is (rows, columns) float32 row-major with nan for missing (perhaps mapped from a
    file), or sparse. ``label``, ``weight``, ``lower`` and ``upper`` are (rows,) float32,
    ``margin`` is (rows, outputs), ``group`` is (rows,) with the number of each row's group in
    the order of appearance. ``time`` is (rows,) and only orders the rows: int64 of whole numbers,
    or of nanoseconds since 1970, else float64. ``hashes`` is (rows,) uint64, the same for the
    same features and label in any format. ``fingerprint`` is a hash of all of it, which does not
    depend on the format, the file names or how the rows are divided into files; empty where other
    workers have more of the rows.
    """

    features: Floats | Csr
    label: Floats | None
    weight: Floats | None
    group: NDArray[np.int64] | None
    group_names: tuple[str, ...]
    lower: Floats | None
    upper: Floats | None
    margin: Floats | None
    schema: Schema
    stats: ColumnStats
    hashes: NDArray[np.uint64]
    fingerprint: str
    origin: Origin
    notes: tuple[str, ...] = ()
    time: Times | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.stats.rows

    def take_features(self) -> Floats | Csr:
        """Return the features and let go of them: only whoever asked holds them now."""
        features, self.features = self.features, np.empty((0, self.schema.features), np.float32)
        return features

    def take_hashes(self) -> NDArray[np.uint64]:
        """Return the hashes and let go of them."""
        hashes, self.hashes = self.hashes, np.empty(0, np.uint64)
        return hashes


def fingerprint_of(matrix: Matrix) -> str:
    """Return the fingerprint of a data set, of which all rows are in ``matrix``."""
    fingerprint = rowhash.Fingerprint()
    parts = {
        "": matrix.hashes,
        "group": matrix.group,
        "label": matrix.label,
        "label_lower_bound": matrix.lower,
        "label_upper_bound": matrix.upper,
        "margin": matrix.margin,
        "time": matrix.time,
        "weight": matrix.weight,
    }
    for name, array_of_rows in parts.items():
        if array_of_rows is not None:
            fingerprint.update_array(name, array_of_rows)
    if matrix.group_names:  # folds are drawn by the names, of which the rows have numbers
        names = json.dumps([str(name) for name in matrix.group_names]).encode()
        fingerprint.update_array("group names", np.frombuffer(names, np.uint8))
    return f"blake2b:{fingerprint.hexdigest()}"


@dataclass
class Origin:
    """Which file a row came from, for messages.

    ``left_out`` has, for each row that was left out, how many rows were kept before it;
    ``starts`` count these rows too.
    """

    names: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    left_out: array[int] = field(default_factory=lambda: array("q"))

    def add(self, name: str, start: int) -> None:
        """Note that rows from ``start`` (0-based) on come from file ``name``."""
        self.names.append(name)
        self.starts.append(start)

    def of(self, row: int) -> str:
        """Return where row ``row`` (0-based, of those kept) stands, from 1 within its file."""
        row += bisect.bisect_right(self.left_out, row)
        i = bisect.bisect_right(self.starts, row) - 1
        return f"{self.names[i]} row {row - self.starts[i] + 1}"

    def positions(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return where rows (0-based, of those kept) stand among all that were read."""
        left_out = np.array(self.left_out, np.int64)
        return rows.astype(np.int64) + np.searchsorted(left_out, rows, side="right")

    def before(self, other: Origin, rows: int) -> Origin:
        """Return the origin of these rows, ``rows`` of them kept, and of those of ``other``."""
        offset = rows + len(self.left_out)
        return Origin(
            [*self.names, *other.names],
            [*self.starts, *(start + offset for start in other.starts)],
            self.left_out + array("q", (row + rows for row in other.left_out)),
        )

    def between(self, first: int, last: int) -> Origin:
        """Return the origin of rows ``first`` to ``last`` (0-based, of those kept).

        Only one that begins with row 0 may come after others.
        """
        if first >= last:
            return Origin()
        begin = first + bisect.bisect_left(self.left_out, first)
        end = last + bisect.bisect_left(self.left_out, last)
        files = slice(bisect.bisect_right(self.starts, begin) - 1, bisect.bisect(self.starts, end))
        return Origin(
            self.names[files],
            # Below 0 for a file that begins before these rows.
            [start - begin for start in self.starts[files]],
            array("q", (row - first for row in self.left_out if first <= row < last)),
        )


def check_values(
    matrix: Matrix, stats: ColumnStats, unseen: Mapping[str, int], team: Team = ALONE
) -> None:
    """Refuse what no objective can use: missing labels, bad weights, infinite values.

    A worker of ``team`` refuses its own rows, and all of them refuse that every weight is 0.
    """
    if unseen and matrix.label is not None:
        _refuse_unseen(matrix, matrix.label, unseen)
    if matrix.label is not None:
        bad, what = ~np.isfinite(matrix.label), "the label is missing or infinite"
        remedy = f"{_CORRECT} {_DROP}." if np.isnan(matrix.label).any() else _CORRECT
        _refuse(bad, matrix, matrix.label, what, remedy)
    if matrix.weight is not None:
        bad = ~(np.isfinite(matrix.weight) & (matrix.weight >= 0))
        _refuse(bad, matrix, matrix.weight, "the weight is missing, infinite or negative")
        if not team.any(bool(matrix.weight.any())):
            firsts = team.gather(matrix.origin.of(0) if matrix.rows else "")
            raise DataError(
                f"{next(filter(None, firsts))}: every weight is 0",
                "Give some row a weight above 0.",
            )
    if matrix.group is not None:
        _refuse(matrix.group == encoding.MISSING, matrix, None, "the group is missing")
    if matrix.margin is not None:
        bad = ~np.isfinite(matrix.margin).all(axis=1)
        _refuse(bad, matrix, None, "the base margin is missing or infinite")
    _check_bounds(matrix)
    _check_infinite(matrix, stats)


def _refuse_unseen(matrix: Matrix, label: Floats, unseen: Mapping[str, int]) -> None:
    bad = np.isnan(label)
    count, classes = int(bad.sum()), matrix.schema.classes or ()
    missing = "missing or " if count > sum(unseen.values()) else ""
    found, known = (", ".join(map(repr, [*texts][:3])) for texts in (unseen, classes))
    more = ", …" if len(classes) > 3 else ""
    raise DataError(
        f"{matrix.origin.of(int(bad.argmax()))}: the label is {missing}none of the classes of "
        f"train ({known}{more}): {found}; {count} such row(s) of {matrix.rows}",
        "Give every class to train, or drop these rows." + (f" {_DROP}." if missing else ""),
    )


def _check_bounds(matrix: Matrix) -> None:
    lower, upper = matrix.lower, matrix.upper
    if lower is None or upper is None:
        return
    upper[np.isnan(upper)] = np.inf  # no upper bound: the event was not seen (right-censored)
    bad = ~(np.isfinite(lower) & (lower >= 0))
    _refuse(bad, matrix, lower, "the lower bound of the label is missing, infinite or negative")
    _refuse(upper < lower, matrix, upper, "the upper bound of the label is below the lower one")
    _refuse(upper <= 0, matrix, upper, "the upper bound of the label is not above 0")


def _check_infinite(matrix: Matrix, stats: ColumnStats) -> None:
    columns_ = stats.infinite
    if not len(columns_):
        return
    column = int(columns_[0])
    if isinstance(matrix.features, Csr):
        at = np.flatnonzero(np.isinf(matrix.features.values) & (matrix.features.indices == column))
        bad = np.zeros(matrix.rows, np.bool_)
        bad[np.searchsorted(matrix.features.indptr, at, side="right") - 1] = True
    else:
        bad = np.isinf(matrix.features[:, column])
    name = matrix.schema.feature(column)
    _refuse(bad, matrix, None, f"{name} (counted from 0, the label aside) is infinite")


def _refuse(
    bad: NDArray[np.bool_],
    matrix: Matrix,
    values: Floats | None,
    what: str,
    remedy: str = _CORRECT,
) -> None:
    count = int(bad.sum())
    if count == 0:
        return
    row = int(bad.argmax())
    found = "" if values is None else f" ({values[row]:g})"
    raise DataError(
        f"{matrix.origin.of(row)}: {what}{found}; {count} such row(s) of {matrix.rows}",
        remedy,
    )


def group_sizes(matrix: Matrix) -> NDArray[np.int64]:
    """Return the number of rows of each group of a matrix whose rows are sorted by group.

    Raises ``DataError`` where the rows of a group do not follow one another.
    """
    if matrix.group is None:
        raise AssertionError("no groups")
    back = np.flatnonzero(np.diff(matrix.group) < 0)
    if len(back):
        row = int(back[0]) + 1
        name = matrix.group_names[int(matrix.group[row])]
        raise DataError(
            f"{matrix.origin.of(row)}: group {name!r} occurs again after other groups; the rows "
            "of a query have to follow one another",
            "Sort the rows by group.",
        )
    starts = np.concatenate([[0], np.flatnonzero(np.diff(matrix.group)) + 1, [matrix.rows]])
    return np.array([b - a for a, b in pairwise(starts.tolist())], np.int64)


def check_same_features(schema: Schema, other: Matrix, role: str) -> None:
    """Refuse a data set that does not have the features of the training data."""
    found = other.schema
    if schema.categories and not found.categories:
        raise DataError(
            f"Channel {role}: has no text columns, but in {schema.origin} "
            f"{schema.feature(min(schema.categories))} is categorical",
            "Give all channels the same format, with the categories as text.",
        )
    if found.features != schema.features:
        beyond = _first_beyond(other.features, schema.features)
        where, what = f"Channel {role}", f"{found.features} features"
        if beyond is not None:
            where, what = other.origin.of(beyond[0]), f"has feature {beyond[1]} (counted from 0)"
        raise DataError(
            f"{where}: {what}, but {schema.origin} has {schema.features}"
            + (" features" if beyond else ""),
            "Give all channels the same columns: the label, then the same features.",
        )
    pairs = _differing(found.feature_names, schema.feature_names)
    if pairs is not None and (found.layout is None or schema.layout is None):
        raise DataError(
            f"Channel {role}: feature {pairs[0]!r} stands where {schema.origin} has {pairs[1]!r}",
            "Give all channels the same columns in the same order.",
        )


def _first_beyond(features: Floats | Csr, width: int) -> tuple[int, int] | None:
    """Return the first sparse row with a feature from ``width`` on, and that feature."""
    if not isinstance(features, Csr):
        return None
    at = np.flatnonzero(features.indices >= width)
    if not len(at):
        return None
    row = np.searchsorted(features.indptr, at[0], side="right") - 1
    return int(row), int(features.indices[at[0]])


def _differing(
    found: Sequence[str] | None, expected: Sequence[str] | None
) -> tuple[str, str] | None:
    pairs = zip(found or (), expected or (), strict=False)
    return next((pair for pair in pairs if pair[0] != pair[1]), None)
