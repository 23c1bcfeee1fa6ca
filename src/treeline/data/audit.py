"""What the data are, said before training: columns, labels, copies of rows, leakage.

Everything works on what one pass over the rows leaves behind: a few numbers per column
(``ColumnStats``) and one hash per row (``rowhash``). The whole of it becomes
``output/data/data_report.json``; what a person should know becomes a line of the log.

A row counts as standing in two places if all its features and its label are the same. Groups
are compared by their ids.

What is a warning and what a plain line:

- Rows are *coarse* if at most half of train's rows are different rows, as with three yes-or-no
  columns: copies are then to be expected and say little. They are reported, never warned about.
- Copies inside train are often meant (weights by repetition), so they are a warning only from
  1 % of the rows on.
- Rows shared with train are a warning unless there are few of them (below 1 %) and no more than
  repeats in train explain: the share of shared rows is at most twice the share of train's rows
  that have a copy in train, which is what a fair sample of the same source would show.
- Groups shared with train are always a warning.
- Of cross-validation, a group that stands in several folds is always a warning. Rows with an
  exact copy in another fold are one from 1 % of the rows on, unless rows are coarse.

With ``leakage=fail`` any row or group shared with train, coarse or not, and any group in several
folds is an error; with ``ignore`` nothing is compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from treeline.artifacts import written_whole
from treeline.data.records import Csr, Floats
from treeline.data.rowhash import Hashes
from treeline.errors import DataError, PlatformError, shortened
from treeline.metrics.names import BINARY, MULTICLASS, RANKING

Groups = Collection[str] | Collection[int] | NDArray[np.int64]

REPORT_NAME = "data_report.json"
REPORT_VERSION = 1

_COLUMNS = 50  # columns listed in the report
_CLASSES = 100
_DISTINCT = 1000  # up to this many distinct labels the report says how many there are
_IN_LINE = 8  # columns or groups named in a line of the log
_EXAMPLES = 5
_ROWS_OF_A_GROUP = 5  # of a group of equal rows
_FOLDS = 100  # folds listed in the report
_NOTABLE = 0.01
_PIECE = 1 << 16  # rows or sparse values worked on at a time


class ColumnStats:
    """Per column: how many values are there, the smallest and the largest. Fed block by block.

    ``present`` is int64, ``smallest`` and ``largest`` are float32 with nan where a column has no
    value; all are (width,). The width is that of the widest block so far: in sparse data a
    column may turn up late. Takes 16 bytes per column.

    Measured on one core at 13 columns: 8 ns per dense row, 5 ns per value of a sparse one.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.present: NDArray[np.int64] = np.zeros(0, np.int64)
        self.smallest: Floats = np.zeros(0, np.float32)
        self.largest: Floats = np.zeros(0, np.float32)

    @property
    def width(self) -> int:
        """How many columns there are so far."""
        return len(self.present)

    @property
    def missing(self) -> NDArray[np.int64]:
        """How many rows have no value, per column."""
        return self.rows - self.present

    @property
    def constant(self) -> NDArray[np.intp]:
        """The columns with one and the same value in every row.

        A column that has one value and is missing elsewhere is not among them: a tree can tell
        missing from not missing.
        """
        return np.flatnonzero((self.missing == 0) & (self.smallest == self.largest))

    @property
    def all_missing(self) -> NDArray[np.intp]:
        """The columns without a value."""
        return np.flatnonzero((self.present == 0) & (self.rows > 0))

    @property
    def infinite(self) -> NDArray[np.intp]:
        """The columns with an infinite value."""
        return np.flatnonzero(np.isinf(self.smallest) | np.isinf(self.largest))

    def update(self, block: Floats | Csr, missing: NDArray[np.bool_] | None = None) -> None:
        """Take in the next rows, dense (rows, columns) with nan for missing, or sparse.

        ``missing`` is ``isnan(block)`` where the caller has it.
        """
        if isinstance(block, Csr):
            self._grow(block.width)
            self._sparse(block)
            self.rows += block.rows
        else:
            self._grow(block.shape[1])
            self._dense(block, np.isnan(block) if missing is None else missing)
            self.rows += len(block)

    def join(self, other: ColumnStats) -> None:
        """Take in what another worker found of its rows."""
        self._grow(other.width)
        width = other.width
        self.rows += other.rows
        self.present[:width] += other.present
        self.smallest[:width] = np.fmin(self.smallest[:width], other.smallest)
        self.largest[:width] = np.fmax(self.largest[:width], other.largest)

    def _grow(self, width: int) -> None:
        more = width - self.width
        if more > 0:
            self.present = np.pad(self.present, (0, more))
            self.smallest = np.pad(self.smallest, (0, more), constant_values=np.nan)
            self.largest = np.pad(self.largest, (0, more), constant_values=np.nan)

    def _dense(self, block: Floats, missing: NDArray[np.bool_]) -> None:
        rows, columns = block.shape
        if rows == 0 or columns == 0:
            return
        # A reduction over rows runs over one short row at a time; so several are laid end to end
        # (36 ns a row become 2). Up to 255 of these long rows are counted in uint8.
        fold = max(1, 1024 // columns)
        step = fold * min(255, max(1, (1 << 18) // (fold * columns)))
        scratch = np.empty((min(step, rows), columns), np.float32)
        for first in range(0, rows, step):
            piece = block[first : first + step]
            whole = len(piece) - len(piece) % fold
            values = scratch[: len(piece)]
            with np.errstate(invalid="ignore"):
                np.add(piece, np.float32(0), out=values)  # makes nans quiet: fmin needs that
            gaps = np.ascontiguousarray(missing[first : first + step]).view(np.uint8)
            long = (-1, fold * columns)
            self._reduced(values[:whole].reshape(long), gaps[:whole].reshape(long), columns)
            self._reduced(values[whole:], gaps[whole:], columns)

    def _reduced(self, values: Floats, gaps: NDArray[np.uint8], columns: int) -> None:
        """Take in rows of which several may lie end to end in one row of ``values``."""
        if len(values) == 0:
            return
        low = np.fmin.reduce(np.fmin.reduce(values, axis=0).reshape(-1, columns), axis=0)
        high = np.fmax.reduce(np.fmax.reduce(values, axis=0).reshape(-1, columns), axis=0)
        narrow = np.uint8 if len(gaps) <= 255 else np.intp
        absent = np.add.reduce(gaps, axis=0, dtype=narrow).reshape(-1, columns)
        present = values.size // columns - absent.sum(axis=0, dtype=np.int64)
        self.present[:columns] += present
        self.smallest[:columns] = np.fmin(self.smallest[:columns], low)
        self.largest[:columns] = np.fmax(self.largest[:columns], high)

    def _sparse(self, csr: Csr) -> None:
        for first in range(0, len(csr.values), _PIECE):
            values = csr.values[first : first + _PIECE]
            columns = csr.indices[first : first + _PIECE].astype(np.intp)
            absent = np.isnan(values)
            if absent.any():
                values, columns = values[~absent], columns[~absent]
            np.add.at(self.present, columns, 1)
            np.fmin.at(self.smallest, columns, values)
            np.fmax.at(self.largest, columns, values)


@dataclass(frozen=True)
class Duplicates:
    """The rows of one data set that are copies of an earlier one.

    ``count`` is how many rows there are beyond the first of their kind, ``repeated`` how many
    different rows stand there more than once, ``examples`` are row numbers (0-based) of a few.
    """

    rows: int
    count: int
    repeated: int
    examples: list[list[int]]

    @property
    def distinct(self) -> int:
        """How many different rows there are."""
        return self.rows - self.count

    @property
    def coarse(self) -> bool:
        """Whether at most half of the rows are different rows."""
        return self.rows > 0 and 2 * self.distinct <= self.rows

    @property
    def share_with_copy(self) -> float:
        """The share of the rows that have a copy elsewhere."""
        return _share(self.count + self.repeated, self.rows)


@dataclass(frozen=True)
class Overlap:
    """The rows of another data set that also stand in train; examples are (train, other) rows."""

    rows: int
    count: int
    examples: list[tuple[int, int]]


@dataclass(frozen=True)
class GroupOverlap:
    """The groups of another data set that also stand in train; examples are ids."""

    groups: int
    count: int
    examples: list[str]


def summary(
    stats: ColumnStats,
    label: Floats | None,
    task: str,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    weight: Floats | None = None,
) -> dict[str, Any]:
    """Return what the report says of one data set, ready for strict JSON.

    ``task`` is the objective's, of ``treeline.metrics.names``: labels of classes and relevance
    grades are counted one by one, others are described as numbers. ``names`` are the features',
    ``classes`` what class 0, 1, ... is called. ``label`` and ``weight`` are (rows,).
    """
    names = names or ()  # of sparse data there may be fewer names than columns
    missing, constant, empty = stats.missing, stats.constant, stats.all_missing
    some = np.flatnonzero(missing)
    worst = some[np.argsort(-missing[some], kind="stable")]
    return {
        "rows": stats.rows,
        "columns": stats.width,
        "missing": _listed(
            worst,
            names,
            lambda i: {"count": int(missing[i]), "share": _share(int(missing[i]), stats.rows)},
        ),
        "constant": _listed(constant, names, lambda i: {"value": _number(stats.smallest[i])}),
        "all_missing": _listed(empty, names, lambda _: {}),
        "label": None if label is None else _label(label, task, classes),
        "weight": None if weight is None else _weight(weight),
    }


def _listed(
    columns: NDArray[np.intp],
    names: Sequence[str],
    more: Callable[[int], dict[str, Any]],
) -> dict[str, Any]:
    listed = [
        {"column": i, "name": names[i] if i < len(names) else None, **more(i)}
        for i in columns[:_COLUMNS].tolist()
    ]
    return {"count": len(columns), "columns": listed, "more": len(columns) - len(listed)}


def _label(label: Floats, task: str, classes: Sequence[str] | None) -> dict[str, Any]:
    ordered = np.sort(label[~np.isnan(label)])
    new = np.append(ordered[:1] == ordered[:1], ordered[1:] != ordered[:-1])
    if classes is not None or task in (BINARY, MULTICLASS, RANKING):
        starts = np.flatnonzero(new)
        counts = np.diff(starts, append=len(ordered)).tolist()
        found = dict(zip(ordered[starts].tolist(), counts, strict=True))
        empty = {float(i): 0 for i in range(len(classes or ()))}
        return _class_counts(empty | found, classes or (), len(label))
    some = len(ordered) > 0
    distinct = int(np.count_nonzero(new))
    with np.errstate(invalid="ignore"):  # the upper bound of a time may be infinite
        return {
            "kind": "number",
            "min": _number(ordered[0]) if some else None,
            "max": _number(ordered[-1]) if some else None,
            "mean": _number(np.mean(ordered, dtype=np.float64)) if some else None,
            "standard_deviation": _number(np.std(ordered, dtype=np.float64)) if some else None,
            "distinct": distinct if distinct <= _DISTINCT else f">{_DISTINCT}",
        }


def _class_counts(found: Mapping[float, int], classes: Sequence[str], rows: int) -> dict[str, Any]:
    def name(value: float) -> str:
        known = value.is_integer() and 0 <= value < len(classes)
        return classes[int(value)] if known else f"{value:g}"

    listed = [
        {
            "class": name(v),
            "label": _number(np.float32(v)),
            "count": found[v],
            "share": _share(found[v], rows),
        }
        for v in sorted(found)[:_CLASSES]
    ]
    return {"kind": "classes", "classes": listed, "more": len(found) - len(listed)}


def _weight(weight: Floats) -> dict[str, Any]:
    some = len(weight) > 0
    return {
        "min": _number(weight.min()) if some else None,
        "max": _number(weight.max()) if some else None,
        "sum": _number(np.sum(weight, dtype=np.float64)),
        "zeros": int(np.count_nonzero(weight == 0)),
    }


def duplicates(hashes: Hashes, ordered: Hashes | None = None) -> Duplicates:
    """Return which rows are copies of another; ``ordered`` is ``np.sort(hashes)`` where known.

    Beside these two it takes 2 bytes per row and, if every row repeats, half a copy of the
    hashes. The examples are the first in the order of the rows.
    """
    ordered = np.sort(hashes) if ordered is None else ordered
    same = ordered[1:] == ordered[:-1]
    count = int(np.count_nonzero(same))
    same[1:] &= ~same[:-1]  # now only the second row of each kind
    repeated: Hashes = ordered[1:][same]
    return Duplicates(len(hashes), count, len(repeated), _first_rows(hashes, repeated))


def _first_rows(hashes: Hashes, repeated: Hashes) -> list[list[int]]:
    """Return the rows of the first few among the sorted hashes ``repeated``."""
    wanted = min(_EXAMPLES, len(repeated))
    first: dict[int, None] = {}
    for start in range(0, len(hashes), _PIECE):
        if len(first) == wanted:
            break
        piece = hashes[start : start + _PIECE]
        for value in piece[_found(repeated, piece)].tolist():
            first.setdefault(value)
            if len(first) == wanted:
                break
    return [
        np.flatnonzero(hashes == np.uint64(value))[:_ROWS_OF_A_GROUP].tolist() for value in first
    ]


def overlap(train: Hashes, other: Hashes, ordered: Hashes | None = None) -> Overlap:
    """Return which rows of ``other`` also stand in train.

    ``ordered`` is ``np.sort(train)`` where known; nothing else grows with the rows. The examples
    are the first rows of ``other``, each with the first row of train that is its copy.
    """
    ordered = np.sort(train) if ordered is None else ordered
    count = 0
    examples: list[tuple[int, int]] = []
    for start in range(0, len(other), _PIECE):
        piece = other[start : start + _PIECE]
        needles = np.sort(piece)  # in order they are found twice as fast
        shared = needles[_found(ordered, needles)]
        count += len(shared)
        if len(shared) and len(examples) < _EXAMPLES:
            rows = np.flatnonzero(_found(shared, piece))[: _EXAMPLES - len(examples)]
            examples += [(int((train == piece[i]).argmax()), start + i) for i in rows.tolist()]
    return Overlap(len(other), count, examples)


def _found(ordered: Hashes, needles: Hashes) -> NDArray[np.bool_]:
    """Return which of ``needles`` are among the sorted ``ordered``."""
    if len(ordered) == 0:
        return np.zeros(len(needles), np.bool_)
    at = np.searchsorted(ordered, needles)
    np.minimum(at, len(ordered) - 1, out=at)
    found: NDArray[np.bool_] = ordered[at] == needles
    return found


def overlap_of_groups(train: Groups, other: Groups) -> GroupOverlap:
    """Return which groups of ``other`` also stand in train, by their ids.

    An id may come more than once. Ids are compared as text: CSV has them as text, other formats
    as numbers.
    """
    known, asked = _ids(train), _ids(other)
    shared = sorted(known & asked, key=lambda text: (len(text), text))
    return GroupOverlap(len(asked), len(shared), shared[:_IN_LINE])


def _ids(groups: Groups) -> set[str]:
    once = np.unique(groups).tolist() if isinstance(groups, np.ndarray) else groups
    return {str(group) for group in once}


@dataclass(frozen=True)
class Part:
    """What is known of one data set.

    ``summary`` is this module's. ``origin`` tells where a row (0-based) stands, as in
    ``train/a.csv row 5``. ``hashes`` are the rows', made alike for all data sets: with or without
    the label; ``copies`` is what ``duplicates`` found in them, which is all that is needed of them
    where nothing is compared with train. ``groups`` are the ids of the groups, a row's each or
    once each.
    """

    summary: Mapping[str, Any]
    origin: Callable[[int], str]
    hashes: Hashes | None = None
    groups: Groups | None = None
    copies: Duplicates | None = None


_APART = "Split the data so that no row and no group of train stands in another channel"
_TOGETHER = "Set cv_strategy=group, which keeps the rows of a group together"


@dataclass(frozen=True)
class Finding:
    """One line for the log, and whether it asks for attention; leakage has a remedy."""

    text: str
    warning: bool = False
    remedy: str = _APART


@dataclass(frozen=True)
class Report:
    """The content of the report's file, what of it the log says, and which of that is leakage."""

    content: dict[str, Any]
    findings: tuple[Finding, ...]
    leaks: tuple[Finding, ...]

    def with_folds(self, found: Report) -> Report:
        """Return this report with what ``folds`` found."""
        return Report(
            self.content | found.content, self.findings + found.findings, self.leaks + found.leaks
        )


class Divided(Protocol):
    """How train is divided into folds, as ``treeline.folds.Division`` says it."""

    @property
    def strategy(self) -> str:
        """What cv_strategy came to."""

    @property
    def folds(self) -> int:
        """How many folds there are."""

    @property
    def repeats(self) -> int:
        """How often they are drawn."""

    def held_out(self, repeat: int, fold: int) -> NDArray[np.intp]:
        """Return the rows that a fold is scored on."""

    def training(self, repeat: int, fold: int) -> NDArray[np.intp]:
        """Return the rows that a fold trains on."""

    def numbers(self, repeat: int) -> NDArray[np.int32] | None:
        """Return the fold of each row; None where folds overlap."""


def report(parts: Mapping[str, Part], leakage: str) -> Report:
    """Return the report on the data sets by role; ``train`` is among them.

    ``leakage`` is the job's: warn, fail or ignore. Raises nothing; see ``refuse``.
    """
    content: dict[str, Any] = {"version": REPORT_VERSION}
    content |= {role: dict(part.summary) for role, part in parts.items()}
    content["leakage"] = {"mode": leakage}
    findings = [finding for role, part in parts.items() for finding in _columns(role, part.summary)]
    leaks: list[Finding] = []
    if leakage != "ignore":
        copies, leaks, compared = _compared(parts)
        content["leakage"] |= compared
        findings += [*copies, *leaks]
    return Report(content, tuple(findings), tuple(leaks))


def refuse(report: Report, leakage: str) -> None:
    """Raise ``DataError`` if ``leakage`` is fail and there is leakage.

    Apart from ``report``, so that the report can be written first.
    """
    if leakage == "fail" and report.leaks:
        remedies = dict.fromkeys(leak.remedy for leak in report.leaks)
        raise DataError(
            "; ".join(leak.text for leak in report.leaks),
            f"{'. '.join(remedies)}, or set leakage=warn to train all the same.",
        )


def write(folder: Path, report: Report) -> None:
    """Write ``data_report.json`` into ``folder``, whole or not at all.

    Raises ``PlatformError`` if it cannot be written.
    """
    text = json.dumps(report.content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    file = folder / REPORT_NAME
    try:
        with written_whole(file) as stream:
            # A name of a file or a column may hold bytes that are not UTF-8.
            stream.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise PlatformError(
            f"The report on the data could not be written to {file}: {error.strerror or error}",
            "Check the volume's free space and that the folder can be written.",
        ) from error


def _columns(role: str, content: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the findings on the columns of one data set."""
    kinds = {"constant": "constant", "all_missing": "missing in every row"}
    for key, what in kinds.items():
        found = content[key]
        if found["count"]:
            listed = [_column(entry) for entry in found["columns"]]
            count = f"{found['count']:,} column{'s are' if found['count'] > 1 else ' is'}"
            yield Finding(f"{role}: {count} {what}: {_some(listed, found['count'])}")


def _compared(
    parts: Mapping[str, Part],
) -> tuple[list[Finding], list[Finding], dict[str, Any]]:
    """Return the findings on copies within train, those on leakage, and what the report says."""
    train = parts["train"]
    within: list[Finding] = []
    leaks: list[Finding] = []
    content: dict[str, Any] = {}
    ordered, copies = None, train.copies
    if train.hashes is not None:
        ordered = np.sort(train.hashes)
        copies = copies or duplicates(train.hashes, ordered)
    if copies is not None:
        content["train"] = {"duplicates": _duplicates_content(copies, train)}
        within += _duplicates_finding(copies, train)
    for role, part in parts.items():
        if role == "train":
            continue
        found: dict[str, Any] = {}
        if train.hashes is not None and part.hashes is not None and copies is not None:
            rows = overlap(train.hashes, part.hashes, ordered)
            found["rows"] = _overlap_content(rows, train, part)
            leaks += _overlap_finding(role, rows, copies, train, part)
        if train.groups is not None and part.groups is not None:
            groups = overlap_of_groups(train.groups, part.groups)
            found["groups"] = {
                "count": groups.count,
                "share": _share(groups.count, groups.groups),
                "examples": groups.examples,
            }
            leaks += _groups_finding(role, groups)
        content[role] = found
    return within, leaks, content


def _duplicates_content(copies: Duplicates, train: Part) -> dict[str, Any]:
    return {
        "count": copies.count,
        "share": _share(copies.count, copies.rows),
        "distinct_rows": copies.distinct,
        "examples": [[train.origin(row) for row in rows] for rows in copies.examples],
    }


def _duplicates_finding(copies: Duplicates, train: Part) -> Iterator[Finding]:
    if copies.count:
        one, other = copies.examples[0][:2]
        share = _share(copies.count, copies.rows)
        what = "row is an exact copy" if copies.count == 1 else "rows are exact copies"
        yield Finding(
            f"train: {copies.count:,} {what} of another row ({_percent(share)}), for example "
            f"{train.origin(one)} and {train.origin(other)}{_expected(copies)}",
            warning=share >= _NOTABLE and not copies.coarse,
        )


def _overlap_content(rows: Overlap, train: Part, other: Part) -> dict[str, Any]:
    return {
        "count": rows.count,
        "share": _share(rows.count, rows.rows),
        "examples": [[train.origin(one), other.origin(two)] for one, two in rows.examples],
    }


def _overlap_finding(
    role: str, rows: Overlap, copies: Duplicates, train: Part, other: Part
) -> Iterator[Finding]:
    if rows.count:
        one, two = rows.examples[0]
        share = _share(rows.count, rows.rows)
        few = share < _NOTABLE and share <= 2 * copies.share_with_copy
        why = ", no more than copies within train explain" if few else ""
        yield Finding(
            f"{role}: {rows.count:,} of {rows.rows:,} rows ({_percent(share)}) also "
            f"stand{'s' if rows.count == 1 else ''} in train, for example {other.origin(two)} "
            f"and {train.origin(one)}{_expected(copies) or why}",
            warning=not (few or copies.coarse),
        )


def _groups_finding(role: str, groups: GroupOverlap) -> Iterator[Finding]:
    if groups.count:
        all_ = groups.count == groups.groups
        which = f"all {groups.count:,}" if all_ else f"{groups.count:,} of {groups.groups:,}"
        ids = _some([repr(shortened(text, 40)) for text in groups.examples], groups.count)
        plural = "" if groups.groups == 1 else "s"
        yield Finding(f"{role}: {which} group{plural} also in train: {ids}", warning=True)


def folds(
    division: Divided,
    *,
    task: str,
    leakage: str,
    hashes: Hashes,
    label: Floats | None,
    classes: Sequence[str] | None = None,
    group: NDArray[np.int64] | None = None,
    group_names: Sequence[str] | Sequence[int] = (),
    origin: Callable[[int], str] = "row {}".format,
) -> Report:
    """Return what is to be said of the folds of train, for ``Report.with_folds``.

    The first repeat speaks for all; of random splits, which overlap, the first one does. All
    arrays are (rows,): ``group`` numbers the groups, whose ids are ``group_names``. ``leakage``
    is the job's. Raises nothing; see ``refuse``.
    """
    listed = []
    for fold in range(min(division.folds, _FOLDS)):
        held_out = division.held_out(0, fold)
        listed.append(
            {
                "fold": fold,
                "training_rows": len(division.training(0, fold)),
                "held_out_rows": len(held_out),
                "label": None if label is None else _label(label[held_out], task, classes),
            }
        )
    content: dict[str, Any] = {
        "strategy": division.strategy,
        "folds": division.folds,
        "repeats": division.repeats,
        "first_repeat": listed,
        "more": division.folds - len(listed),
    }
    findings: list[Finding] = []
    leaks: list[Finding] = []
    if leakage != "ignore":
        numbers = _block_of_each(division, len(hashes))
        if group is not None:
            shared = _groups_in_several(numbers, group, group_names)
            content["groups"] = {
                "count": shared.count,
                "share": _share(shared.count, shared.groups),
                "examples": shared.examples,
            }
            leaks += _split_groups_finding(division.strategy, shared)
        copies = duplicates(hashes)
        rows = _rows_in_several(numbers, hashes)
        content["rows"] = {
            "count": rows.count,
            "share": _share(rows.count, rows.rows),
            "examples": [[origin(one), origin(two)] for one, two in rows.examples],
        }
        findings += _split_rows_finding(division.strategy, rows, copies, origin)
    return Report({"folds": content}, (*leaks, *findings), tuple(leaks))


def _block_of_each(division: Divided, rows: int) -> NDArray[np.int32]:
    """Return (rows,): the fold that holds a row out, -1 for one that is only trained on."""
    numbers = division.numbers(0)
    if numbers is None:
        numbers = np.full(rows, -1, np.int32)
        numbers[division.held_out(0, 0)] = 0
    return numbers


def _groups_in_several(
    numbers: NDArray[np.int32], group: NDArray[np.int64], names: Sequence[str] | Sequence[int]
) -> GroupOverlap:
    """Return which groups have rows in more than one fold."""
    one_of = np.zeros(len(names), np.int32)
    one_of[group] = numbers  # some row's fold, for every group
    shared = np.unique(group[numbers != one_of[group]]).tolist()
    examples = sorted((str(names[each]) for each in shared), key=lambda text: (len(text), text))
    there = int(np.count_nonzero(np.bincount(group)))
    return GroupOverlap(there, len(shared), examples[:_IN_LINE])


def _rows_in_several(numbers: NDArray[np.int32], hashes: Hashes) -> Overlap:
    """Return which rows have a copy in another fold; examples are two rows each.

    Takes 16 bytes per row.
    """
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    if not len(starts):
        return Overlap(0, 0, [])
    placed = numbers[order]
    apart = np.minimum.reduceat(placed, starts) != np.maximum.reduceat(placed, starts)
    sizes = np.diff(starts, append=len(order))
    first = starts[apart]
    earliest = first[np.argsort(order[first])[:_EXAMPLES]]
    examples = []
    for start in earliest.tolist():
        other = start + int((placed[start:] != placed[start]).argmax())
        examples.append((int(order[start]), int(order[other])))
    return Overlap(len(hashes), int(sizes[apart].sum()), examples)


def _split_groups_finding(strategy: str, groups: GroupOverlap) -> Iterator[Finding]:
    if groups.count:
        ids = _some([repr(shortened(text, 40)) for text in groups.examples], groups.count)
        stand = "stands" if groups.count == 1 else "stand"
        yield Finding(
            f"folds: {groups.count:,} of {groups.groups:,} group"
            f"{'' if groups.groups == 1 else 's'} {stand} in more than one fold, because "
            f"cv_strategy={strategy} does not look at groups: {ids}",
            warning=True,
            remedy=_TOGETHER,
        )


def _split_rows_finding(
    strategy: str, rows: Overlap, copies: Duplicates, origin: Callable[[int], str]
) -> Iterator[Finding]:
    if rows.count:
        one, two = rows.examples[0]
        share = _share(rows.count, rows.rows)
        where = "on the other side of the split" if strategy == "shuffle" else "in another fold"
        yield Finding(
            f"folds: {rows.count:,} of {rows.rows:,} rows ({_percent(share)}) have an exact copy "
            f"{where}, for example {origin(one)} and {origin(two)}{_expected(copies)}",
            warning=share >= _NOTABLE and not copies.coarse,
        )


def _expected(copies: Duplicates) -> str:
    if not copies.coarse:
        return ""
    return (
        f"; copies are to be expected, as only {copies.distinct:,} of train's {copies.rows:,} "
        "rows differ"
    )


def _column(entry: Mapping[str, Any]) -> str:
    name = entry["name"]
    return f"column {entry['column']}" if name is None else repr(shortened(name, 40))


def _some(texts: Sequence[str], count: int) -> str:
    shown = texts[:_IN_LINE]
    return ", ".join(shown) + (f" and {count - len(shown):,} more" if count > len(shown) else "")


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0


def _percent(share: float) -> str:
    """Return a share in words that neither round it to nothing nor, if it is not, to all."""
    if 0 < share < 0.0001:
        return "below 0.01 %"
    return f"{100 * share if share == 1 else min(100 * share, 99.9):.3g} %"


def _number(value: np.floating[Any] | float) -> float | None:
    """Return a number as JSON can hold it: a float32 with the digits it needs, not a double's."""
    return float(str(value)) if np.isfinite(value) else None
