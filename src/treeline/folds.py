"""Which rows each fold trains on, and which rows it is scored on.

scikit-learn's splitters draw the folds, so they are those a user would draw by hand: ``KFold``,
``StratifiedKFold``, ``GroupKFold`` and ``StratifiedGroupKFold`` with ``shuffle=True``,
``TimeSeriesSplit``, and for ``shuffle`` the random splits of the same kinds with a quarter of the
rows (or groups) held out. Repeat r is drawn with ``random_state = seed + r``.

Folds do not depend on the order of the rows, on the format they were read from, or on the machine:
the splitters see the rows sorted by the hash of their content and the groups sorted by name. Rows
that are alike in everything are interchangeable, and which of them goes where follows their order.

CPU seconds for five folds of 1,000,000 rows with 100,000 groups, beside the 1.6 that importing
scikit-learn takes: kfold 0.4, stratified 0.4, group 0.1, time_series 0.2, shuffle 1.6, but
stratified_group 19, which scikit-learn spends on one group after the other.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline.errors import DataError
from treeline.metrics.names import BINARY, MULTICLASS, RANKING

if TYPE_CHECKING:
    from treeline.hyperparameters.config import Folds

AUTO = "auto"
KFOLD = "kfold"
STRATIFIED = "stratified"
GROUP = "group"
STRATIFIED_GROUP = "stratified_group"
TIME_SERIES = "time_series"
SHUFFLE = "shuffle"

_HELD_OUT = 0.25  # of a random split
_SEEDS = 1 << 32  # scikit-learn takes 0 to 2^32 - 1; a negative seed counts from the end


@dataclass(frozen=True, eq=False)
class Division:
    """How the rows are divided: what each fold trains on and what it is scored on.

    ``strategy`` is never auto. ``line`` says all of it for the log, ``warnings`` what a person
    should know. Row numbers are 0-based. Takes 1 byte per row and repeat up to 128 folds; random
    splits, which overlap, take a bit per row, fold and repeat.
    """

    strategy: str
    folds: int
    repeats: int
    rows: int
    line: str
    warnings: tuple[str, ...]
    # For each repeat the fold of every row, or packed bits (folds, rows / 8): which rows each
    # random split holds out.
    drawn: tuple[NDArray[Any], ...]

    def held_out(self, repeat: int, fold: int) -> NDArray[np.intp]:
        """Return the sorted numbers of the rows that the fold is scored on."""
        return np.flatnonzero(self._held_out(repeat, fold))

    def training(self, repeat: int, fold: int) -> NDArray[np.intp]:
        """Return the sorted numbers of the rows that the fold trains on."""
        if self.strategy == TIME_SERIES:
            return np.flatnonzero(self.drawn[repeat] < fold)
        return np.flatnonzero(~self._held_out(repeat, fold))

    def numbers(self, repeat: int) -> NDArray[np.int32] | None:
        """Return (rows,): the fold that holds a row out, -1 for none; None where they overlap."""
        return None if self.strategy == SHUFFLE else self.drawn[repeat].astype(np.int32)

    def _held_out(self, repeat: int, fold: int) -> NDArray[np.bool_]:
        drawn = self.drawn[repeat]
        if self.strategy == SHUFFLE:
            return np.unpackbits(drawn[fold], count=self.rows).view(np.bool_)
        mask: NDArray[np.bool_] = drawn == fold
        return mask


@dataclass(frozen=True)
class _Rows:
    """What decides where a row goes. All arrays are (rows,).

    ``classes`` are class numbers, None where the labels are not classes. ``group`` numbers the
    groups from 0 by their names, ``groups`` is how many there are.
    """

    count: int
    keys: NDArray[np.uint64]
    classes: NDArray[np.int32] | None
    group: NDArray[np.int32] | None
    groups: int
    time: NDArray[Any] | None
    others: tuple[NDArray[Any], ...]


def divide(
    wish: Folds,
    seed: int,
    *,
    task: str,
    keys: NDArray[np.uint64],
    label: NDArray[np.float32] | None,
    weight: NDArray[np.float32] | None = None,
    others: Sequence[NDArray[Any] | None] = (),
    group: NDArray[np.int64] | None = None,
    group_names: Sequence[str] | Sequence[int] = (),
    time: NDArray[np.int64] | NDArray[np.float64] | None = None,
    class_names: Sequence[object] | None = None,
) -> Division:
    """Divide the rows as ``wish`` asks.

    ``task`` is the objective's, of ``treeline.metrics.names``. ``keys`` are the hashes of the
    rows' features and label (``data.rowhash``); ``weight`` and ``others``, (rows,) or (rows, k),
    are what else tells rows apart, such as bounds of a time and base margins. ``label`` has class
    numbers for classification, which ``class_names`` calls by name in messages. ``group`` numbers
    the groups in any order; ``group_names`` are their names by number.

    Raises ``DataError`` where there are too few rows, groups, times or rows of a class, and where
    a fold would train without one of the classes.
    """
    numbered, groups = (None, 0) if group is None else _by_name(group, group_names)
    told_apart = (label, weight, *others, numbered)
    rows = _Rows(
        count=len(keys),
        keys=keys,
        classes=_class_numbers(task, label),
        group=numbered,
        groups=groups,
        time=time,
        others=tuple(each for each in told_apart if each is not None),
    )
    strategy, why = _resolved(wish, task, rows)
    _check(strategy, wish.folds, task, rows)
    place = _place(strategy, rows)
    drawn = tuple(
        _draw(strategy, wish.folds, (seed + repeat) % _SEEDS, rows, place)
        for repeat in range(wish.repeats)
    )
    division = Division(strategy, wish.folds, wish.repeats, rows.count, "", (), drawn)
    sizes, found = _verified(division, rows, class_names)
    return replace(division, line=_line(division, rows, seed, why, sizes), warnings=found)


def _by_name(
    group: NDArray[np.int64], names: Sequence[str] | Sequence[int]
) -> tuple[NDArray[np.int32], int]:
    """Number the groups that have a row by their names, compared as text, and count them."""
    there = np.flatnonzero(np.bincount(group, minlength=len(names))).tolist()
    there.sort(key=lambda number: str(names[number]))
    place = np.zeros(len(names), np.int32)
    place[there] = np.arange(len(there), dtype=np.int32)
    return place[group], len(there)


def _class_numbers(task: str, label: NDArray[np.float32] | None) -> NDArray[np.int32] | None:
    if task not in (BINARY, MULTICLASS) or label is None:
        return None
    whole = ((label == np.floor(label)) & (label >= 0)).all()
    return label.astype(np.int32) if whole else None


def _resolved(wish: Folds, task: str, rows: _Rows) -> tuple[str, str]:
    """Return the strategy, and why where nobody named one."""
    if wish.folds == 1:
        return SHUFFLE, "one fold is one random split" if wish.strategy == AUTO else ""
    if wish.strategy != AUTO:
        return wish.strategy, ""
    if task == RANKING:
        return GROUP, "cv_strategy=auto keeps the rows of a query together"
    if rows.group is not None:
        return GROUP, "cv_strategy=auto keeps the rows of a group together"
    if rows.classes is not None:
        return STRATIFIED, "cv_strategy=auto gives every fold its share of each class"
    if task in (BINARY, MULTICLASS):
        return KFOLD, "cv_strategy=auto; not stratified, as the labels are not class numbers"
    return KFOLD, "cv_strategy=auto"


def _check(strategy: str, folds: int, task: str, rows: _Rows) -> None:
    """Refuse what the splitters could not do."""
    if (strategy in (GROUP, STRATIFIED_GROUP) or task == RANKING) and rows.group is None:
        raise DataError(
            f"cv_strategy={strategy} keeps the rows of a group together, and train has no groups",
            "Name the column of the groups with group_column; libsvm files have them as qid.",
        )
    if strategy in (STRATIFIED, STRATIFIED_GROUP) and rows.classes is None:
        raise DataError(
            f"cv_strategy={strategy} needs labels that are class numbers, and train has others",
            "Use cv_strategy=kfold or cv_strategy=group, or give each row its class.",
        )
    least = 2 if strategy == SHUFFLE else folds
    _enough(strategy, least, rows.count, "row")
    if rows.group is not None and strategy in (GROUP, STRATIFIED_GROUP, SHUFFLE):
        _enough(strategy, least, rows.groups, "group")
    if strategy in (STRATIFIED, STRATIFIED_GROUP) and rows.classes is not None:
        largest = int(np.bincount(rows.classes).max())
        if largest < folds:
            raise DataError(
                f"cv_strategy={strategy} divides each class into {folds:,} folds, and no class of "
                f"train has more than {_many(largest, 'row')}",
                f"Set cv_folds to {max(2, largest)} or less, or give train more rows.",
            )


def _enough(strategy: str, least: int, found: int, what: str) -> None:
    if found >= least:
        return
    fewer = f"Set cv_folds to {found} or less, or give" if found > 1 else "Give"
    raise DataError(
        f"cv_strategy={strategy} needs {least:,} {what}s or more, one for each fold, and train "
        f"has {found:,}"
        if strategy != SHUFFLE
        else f"A random split needs {least} {what}s or more, and train has {found}",
        f"{fewer} train more {what}s.",
    )


def _place(strategy: str, rows: _Rows) -> NDArray[np.integer[Any]] | None:
    """Return where each row stands among what is drawn; None if the rows are drawn as they are.

    Rows are drawn in the order of their content. ``GroupKFold`` and ``GroupShuffleSplit`` look
    at nothing but the different groups, so the groups are what they are given.
    """
    if strategy == GROUP or (strategy == SHUFFLE and rows.group is not None):
        return rows.group
    if strategy in (TIME_SERIES, STRATIFIED_GROUP):
        return None
    place = np.empty(rows.count, np.intp)
    place[_by_content(rows)] = np.arange(rows.count)
    return place


def _by_content(rows: _Rows) -> NDArray[np.intp]:
    """Return the row numbers in the order of the rows' content, whatever order they stand in."""
    order = np.argsort(rows.keys)
    ordered = rows.keys[order]
    same = ordered[1:] == ordered[:-1]
    tied = np.zeros(rows.count, np.bool_)
    tied[1:] = same
    tied[:-1] |= same
    at = np.flatnonzero(tied)
    alike = np.sort(order[at])
    columns = [c[alike] for each in rows.others for c in each.reshape(rows.count, -1).T]
    order[at] = alike[np.lexsort((*columns, rows.keys[alike]))]
    return order


def _draw(
    strategy: str, folds: int, seed: int, rows: _Rows, place: NDArray[np.integer[Any]] | None
) -> NDArray[Any]:
    """Return one repeat, as ``Division.drawn`` has it."""
    if strategy == TIME_SERIES:
        return _in_time(rows, folds)
    units = rows.count if place is None else int(place.max()) + 1
    classes = _of_units(rows, place)
    if strategy == SHUFFLE:
        return _random_splits(folds, seed, rows, units, classes, place)
    drawn = np.full(units, -1, np.min_scalar_type(-folds))
    with warnings.catch_warnings():
        # That of a class with fewer rows than folds; _verified says what came of it.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, held_out) in enumerate(_folds(strategy, folds, seed, rows, units, classes)):
            drawn[held_out] = fold
    return drawn if place is None else drawn[place]


def _of_units(rows: _Rows, place: NDArray[np.integer[Any]] | None) -> NDArray[np.int32] | None:
    """Return the classes of what is drawn; groups have none."""
    if rows.classes is None or place is None:
        return rows.classes
    if place is rows.group:
        return None
    classes = np.empty_like(rows.classes)
    classes[place] = rows.classes
    return classes


def _folds(
    strategy: str,
    folds: int,
    seed: int,
    rows: _Rows,
    units: int,
    classes: NDArray[np.int32] | None,
) -> Any:
    """Return what a splitter yields: for each fold what it trains on and what it holds out."""
    from sklearn import model_selection as sk

    features = np.zeros(units, np.int8)  # the splitters look at how many there are
    if strategy == KFOLD:
        return sk.KFold(folds, shuffle=True, random_state=seed).split(features)
    if strategy == STRATIFIED:
        return sk.StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, classes)
    if strategy == GROUP:
        groups = np.arange(units)
        return sk.GroupKFold(folds, shuffle=True, random_state=seed).split(features, None, groups)
    splitter = sk.StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return splitter.split(features, classes, rows.group)


def _random_splits(
    folds: int,
    seed: int,
    rows: _Rows,
    units: int,
    classes: NDArray[np.int32] | None,
    place: NDArray[np.integer[Any]] | None,
) -> NDArray[np.uint8]:
    from sklearn import model_selection as sk

    features = np.zeros(units, np.int8)
    splitter: Any = sk.ShuffleSplit
    if classes is not None:
        splitter = sk.StratifiedShuffleSplit
        _check_stratified_split(classes, int(np.ceil(units * _HELD_OUT)))
    splits = splitter(folds, test_size=_HELD_OUT, random_state=seed).split(features, classes)
    packed = np.empty((folds, -(-rows.count // 8)), np.uint8)
    for fold, (_, held_out) in enumerate(splits):
        mask = np.zeros(units, np.bool_)
        mask[held_out] = True
        packed[fold] = np.packbits(mask if place is None else mask[place])
    return packed


def _check_stratified_split(classes: NDArray[np.int32], held_out: int) -> None:
    counts = np.bincount(classes)
    there = int(np.count_nonzero(counts))
    if held_out < there:
        raise DataError(
            f"A random split of {len(classes):,} rows holds {held_out:,} of them out, and train "
            f"has {there:,} classes",
            "Give train more rows, or cross-validate with cv_folds=2 or more.",
        )
    _refuse_single(counts)


def _in_time(rows: _Rows, folds: int) -> NDArray[Any]:
    """Return the fold of each row; -1 for the earliest, which are only ever trained on.

    A time that stands on both sides of a border goes to the earlier side as a whole.
    """
    from sklearn.model_selection import TimeSeriesSplit

    if rows.time is None:
        raise DataError(
            "cv_strategy=time_series sorts the rows by time, and train has none",
            "Name the column of the times with time_column.",
        )
    order = np.argsort(rows.time, kind="stable")
    ordered = rows.time[order]
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if len(changes) < folds:
        raise DataError(
            f"cv_strategy=time_series with cv_folds={folds} needs {folds + 1:,} different times "
            f"or more, and time_column has {_many(len(changes) + 1, 'time')} in "
            f"{_many(rows.count, 'row')}",
            "Use fewer folds, or a time_column that tells more rows apart.",
        )
    starts = [int(held_out[0]) for _, held_out in TimeSeriesSplit(folds).split(ordered)]
    borders = np.searchsorted(ordered, ordered[np.array(starts) - 1], side="right")
    sizes = np.diff(borders, prepend=0, append=rows.count)
    if not sizes.all():
        most = int(np.diff(changes, prepend=0, append=rows.count).max())
        raise DataError(
            f"cv_strategy=time_series: fold {int(sizes.argmin()) - 1} of {folds} (from 0) would "
            f"hold out no row, because rows of the same time are not divided and as many as "
            f"{most:,} of {rows.count:,} share one",
            "Use fewer folds, or a time_column that tells more rows apart.",
        )
    drawn = np.empty(rows.count, np.min_scalar_type(-folds))
    drawn[order] = np.repeat(np.arange(-1, folds), sizes)
    return drawn


@dataclass(frozen=True)
class _Sizes:
    """How many rows the folds train on and hold out: the fewest and the most."""

    trained: tuple[int, int]
    held_out: tuple[int, int]


def _verified(
    division: Division, rows: _Rows, names: Sequence[object] | None
) -> tuple[_Sizes, tuple[str, ...]]:
    """Count what each fold got; refuse folds that cannot be trained, and say what they lack."""
    classes = np.zeros(rows.count, np.int8) if rows.classes is None else rows.classes
    total = np.bincount(classes)
    lacking = np.zeros(len(total), np.intp)  # per class: folds that hold out none of it
    trained_on: list[int] = []
    held: list[int] = []
    for repeat in range(division.repeats):
        for fold in range(division.folds):
            held_out = division.held_out(repeat, fold)
            training = division.training(repeat, fold)
            if not len(held_out) or not len(training):
                raise DataError(
                    f"cv_strategy={division.strategy}: fold {fold} of {division.folds} (from 0) "
                    f"would hold out {len(held_out):,} of {rows.count:,} rows",
                    "Use fewer folds or another cv_strategy; large groups leave little to divide.",
                )
            missing = (total > 0) & (np.bincount(classes[training], minlength=len(total)) == 0)
            if missing.any():
                _refuse_class(division.strategy, int(missing.argmax()), total, names)
            lacking += np.bincount(classes[held_out], minlength=len(total)) == 0
            trained_on.append(len(training))
            held.append(len(held_out))
    sizes = _Sizes((min(trained_on), max(trained_on)), (min(held), max(held)))
    return sizes, tuple(_lacking(division, lacking, total, names))


def _refuse_single(counts: NDArray[np.intp]) -> None:
    if (counts == 1).any():
        _refuse_class(SHUFFLE, int((counts == 1).argmax()), counts, None)


def _refuse_class(
    strategy: str, number: int, counts: NDArray[np.intp], names: Sequence[object] | None
) -> None:
    raise DataError(
        f"cv_strategy={strategy}: a fold would train without class {_named(number, names)}, "
        f"which has {_many(int(counts[number]), 'row')} in train",
        "Give train more rows of this class, leave it out, or use another cv_strategy.",
    )


def _lacking(
    division: Division,
    lacking: NDArray[np.intp],
    total: NDArray[np.intp],
    names: Sequence[object] | None,
) -> Iterable[str]:
    """Yield one line if folds hold out no row of a class, about the rarest such class."""
    short = np.flatnonzero((lacking > 0) & (total > 0))
    if len(short):
        rarest = int(short[total[short].argmin()])
        others = len(short) - 1
        more = f" (and {others} more such class{'es' * (others > 1)})" if others else ""
        folds = division.folds * division.repeats
        yield (
            f"{int(lacking[rarest])} of {folds} folds hold out no row of class "
            f"{_named(rarest, names)}, which has {_many(int(total[rarest]), 'row')}{more}: their "
            "scores do not tell about it, and a metric that needs every class, such as auc, is nan"
        )


def _named(number: int, names: Sequence[object] | None) -> str:
    return str(number) if names is None else repr(names[number])


def _line(division: Division, rows: _Rows, seed: int, why: str, sizes: _Sizes) -> str:
    if division.strategy == SHUFFLE:
        what = _many(division.folds, "random split")
        if rows.group is None and rows.classes is not None:
            what += ", stratified"
    else:
        what = f"{division.folds} {division.strategy} folds"
    if division.repeats > 1:
        what += f", repeated {division.repeats} times"
    if division.strategy != TIME_SERIES:
        what += f", seed {seed}"
    notes = []
    if division.strategy in (GROUP, STRATIFIED_GROUP, SHUFFLE) and rows.group is not None:
        notes.append(_many(rows.groups, "group"))
    if why:
        notes.append(why)
    if division.strategy == TIME_SERIES:
        notes.append("each fold trains on all that is earlier")
    said = f" ({'; '.join(notes)})" if notes else ""
    train = "row trains" if sizes.trained[1] == 1 else "rows train"
    are = "is" if sizes.held_out[1] == 1 else "are"
    return f"{what}: {_span(sizes.trained)} {train}, {_span(sizes.held_out)} {are} held out{said}"


def _span(sizes: tuple[int, int]) -> str:
    fewest, most = sizes
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
