"""Which column of a file plays which part: label, weight, group, time, bounds, margin, feature.

A part is asked for by name or by position (0-based; -1 is the last column). A text that is both
a name and another column's position is refused, not guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from treeline.errors import DataError, shortened
from treeline.hyperparameters.kinds import nearest

if TYPE_CHECKING:
    from treeline.hyperparameters import DataOptions


# Up to 18 digits, so that it is a number of 64 bits; 01 and +1 can only be names.
_POSITION = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """The parts of one file's columns, all as 0-based positions in the file.

    ``names`` is None where the file names no columns. ``features`` are in the matrix's order.
    ``text`` are read as text whatever they look like, ``number`` as numbers, so that text in
    them is an error; a column in neither is read as what it looks like. ``time`` is among
    ``text``, so that no digit is lost, but a format with types of its own gives what it has.
    """

    names: tuple[str, ...] | None
    width: int
    label: int | None = 0
    weight: int | None = None
    group: int | None = None
    time: int | None = None
    lower: int | None = None
    upper: int | None = None
    margin: tuple[int, ...] = ()
    features: tuple[int, ...] = ()
    text: frozenset[int] = frozenset()
    number: frozenset[int] = frozenset()

    @property
    def special(self) -> dict[str, int]:
        """The parts other than features that are there, by name, with their positions."""
        single = {
            "label": self.label,
            "weight": self.weight,
            "group": self.group,
            "time": self.time,
            "label_lower_bound": self.lower,
            "label_upper_bound": self.upper,
        }
        found = {part: position for part, position in single.items() if position is not None}
        return found | {f"base_margin {i}": p for i, p in enumerate(self.margin)}

    @property
    def read(self) -> tuple[int, ...]:
        """The positions that have to be read, in the file's order; the rest is ignored."""
        return tuple(sorted({*self.features, *self.special.values()}))

    def column(self, position: int) -> str:
        """Return how messages name a column: ``column 3 'age'``, or ``column 3``."""
        return column_name(position, self.names)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the features, in the matrix's order."""
        return None if self.names is None else tuple(self.names[i] for i in self.features)


def column_name(position: int, names: Sequence[str] | None) -> str:
    """Return how messages name the column at ``position`` (0-based)."""
    return f"column {position}" if names is None else f"column {position} {names[position]!r}"


def resolve(
    options: DataOptions, names: tuple[str, ...] | None, width: int, where: str, *, csv: bool
) -> Layout:
    """Return the layout that ``options`` ask for in a file with ``width`` columns.

    ``where`` is what messages call the file. ``csv`` says whether ``csv_weights`` applies to it.
    Raises ``DataError`` for a column that is not there, two parts in one column, names that
    occur twice, or nothing left to learn from.
    """
    find = _Finder(names, width, where)
    bounds = [
        find.one("label_lower_bound_column", options.label_lower_bound_column),
        find.one("label_upper_bound_column", options.label_upper_bound_column),
    ]
    label = find.one("label_column", options.label_column)
    weight = find.one("weight_column", options.weight_column)
    layout = Layout(
        names,
        width,
        label=0 if label is None and bounds == [None, None] else label,
        weight=1 if weight is None and csv and options.csv_weights else weight,
        group=find.one("group_column", options.group_column),
        time=find.one("time_column", options.time_column),
        lower=bounds[0],
        upper=bounds[1],
        margin=find.many("base_margin_column", options.base_margin_column),
    )
    ignored = find.many("ignore_columns", options.ignore_columns)
    categorical = find.many("categorical_columns", options.categorical_columns)
    if options.keep_columns:
        ignored += _beside(options.keep_columns, layout, ignored, where)
    _check_names(names, ignored, where)
    _check_distinct(layout, {"ignored": ignored, "categorical": categorical}, where)
    taken = {*layout.special.values(), *ignored}
    features = tuple(i for i in range(width) if i not in taken)
    if not features:
        parts = ", ".join(f"{part} in column {i}" for part, i in layout.special.items())
        raise DataError(
            f"{where}: has {width} column(s) and none is left as a feature ({parts})",
            "A row needs the label and at least one feature; see label_column and ignore_columns.",
        )
    texts = {i for part, i in layout.special.items() if part in ("group", "time")}
    return replace(
        layout,
        features=features,
        text=frozenset(categorical) | texts,
        number=frozenset({*layout.special.values()} - texts - {layout.label}),
    )


def follow(
    first: Layout,
    names: tuple[str, ...] | None,
    width: int,
    where: str,
    origin: str,
) -> Layout:
    """Return the layout of a further file whose columns have to be those of ``first``.

    By name where both have names, in whatever order they stand; by position otherwise.
    ``origin`` is what messages call the file that ``first`` is of.
    """
    if names is None or first.names is None or names == first.names:
        if width != first.width:
            raise DataError(
                f"{where}: has {width} columns, {origin} has {first.width}",
                "Give all files of the job the same columns.",
            )
        return replace(first, names=names or first.names)
    # Columns without a name cannot be told apart: if the first file's are ignored, these are.
    unnamed = () if all(map(str.strip, first.names)) else _unnamed(names)
    _check_names(names, unnamed, where)
    used = {first.names[i] for i in first.read}
    missing, extra = used.difference(names), set(names).difference(first.names)
    if missing or extra:
        raise DataError(
            f"{where}: its columns are not those of {origin}:"
            + (f" {_listed(missing)} missing" if missing else "")
            + (" and" if missing and extra else "")
            + (f" {_listed(extra)} not known there" if extra else ""),
            "Give all files the same columns; ignore_columns leaves some out everywhere.",
        )
    place = {i: names.index(name) for i, name in enumerate(first.names) if name in names}

    def moved(position: int | None) -> int | None:
        return None if position is None else place[position]

    return Layout(
        names,
        width,
        label=moved(first.label),
        weight=moved(first.weight),
        group=moved(first.group),
        time=moved(first.time),
        lower=moved(first.lower),
        upper=moved(first.upper),
        margin=tuple(place[i] for i in first.margin),
        features=tuple(place[i] for i in first.features),
        text=frozenset(place[i] for i in first.text),
        number=frozenset(place[i] for i in first.number),
    )


class _Finder:
    """Finds columns by name or position; says which hyperparameter asked for what is not there."""

    def __init__(self, names: tuple[str, ...] | None, width: int, where: str) -> None:
        self._names = names
        self._width = width
        self._where = where

    def one(self, hyperparameter: str, asked: str | None) -> int | None:
        return None if asked is None else self._position(hyperparameter, asked)

    def many(self, hyperparameter: str, asked: Iterable[str]) -> tuple[int, ...]:
        return tuple(self._position(hyperparameter, each) for each in asked)

    def _position(self, hyperparameter: str, asked: str) -> int:
        by_name = self._names.index(asked) if self._names and asked in self._names else None
        by_place = self._by_place(asked)
        if by_name is not None and by_place is not None and by_name != by_place:
            raise DataError(
                f"{self._where}: {hyperparameter}={_shown(asked)} is the name of column {by_name} "
                f"and the position of column {by_place}",
                # Counted from the end, because 0 and 1 may be names here too.
                f"Write {by_name - self._width} for the column of that name, "
                f"{by_place - self._width} for the other, or rename it.",
            )
        position = by_name if by_name is not None else by_place
        if position is not None:
            return position
        raise DataError(
            f"{self._where}: {hyperparameter}={_shown(asked)} is no column of it; it has "
            + self._known(asked),
            f"Name a column by its name or its position: 0 is the first of {self._width}, "
            "-1 the last.",
        )

    def _by_place(self, asked: str) -> int | None:
        if not _POSITION.fullmatch(asked):
            return None
        position = int(asked)
        position += self._width if position < 0 else 0
        return position if 0 <= position < self._width else None

    def _known(self, asked: str) -> str:
        if self._names is None:
            return f"{self._width} columns and no names (csv_header=true if its first row is names)"
        hint = nearest(asked, filter(str.isprintable, self._names))
        return f"the columns {_listed(self._names)}" + (f"; {hint}" if hint else "")


def _beside(
    kept: Sequence[str], layout: Layout, ignored: Sequence[int], where: str
) -> tuple[int, ...]:
    """Return the columns that are neither among the features ``kept``, by name, nor a part."""
    names = layout.names
    if names is None:
        raise DataError(
            f"{where}: has no column names, and dataset_preset finds its columns by name: "
            f"{', '.join(kept)}",
            "Write the names into the file (csv_header=true if its first row is names), or leave "
            "dataset_preset out.",
        )
    missing = [name for name in kept if name not in names]
    if missing:
        raise DataError(
            f"{where}: of the {len(kept)} features of dataset_preset it lacks {', '.join(missing)}",
            "Name those that the files do not have in ignore_columns, or leave dataset_preset out.",
        )
    taken = {*layout.special.values(), *ignored}
    return tuple(i for i, name in enumerate(names) if name not in kept and i not in taken)


def _check_names(names: tuple[str, ...] | None, ignored: Sequence[int], where: str) -> None:
    if names is None:
        return
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError(
            f"{where}: column name {twice[0]!r} occurs {names.count(twice[0])} times",
            "Give every column a name of its own.",
        )
    empty = [i for i in _unnamed(names) if i not in ignored]
    if empty:
        index = " (pandas writes its row index like this)" if empty == [0] else ""
        raise DataError(
            f"{where}: column {empty[0]} has no name{index}",
            f"Write the file without the index, or leave it out: ignore_columns={empty[0]}.",
        )


def _unnamed(names: Sequence[str]) -> tuple[int, ...]:
    return tuple(i for i, name in enumerate(names) if not name.strip())


def _check_distinct(layout: Layout, more: dict[str, tuple[int, ...]], where: str) -> None:
    parts = [*layout.special.items(), *((part, i) for part, all_ in more.items() for i in all_)]
    seen: dict[int, str] = {}
    for part, position in parts:
        if position in seen:
            raise DataError(
                f"{where}: {layout.column(position)} is asked for as {seen[position]} and {part}",
                "Give every column one part; label_column and the others name them.",
            )
        seen[position] = part
    if layout.weight is not None and layout.weight >= layout.width:
        raise DataError(
            f"{where}: has {layout.width} column(s), so there is no column 1 for csv_weights=1",
            "Put the weight into the second column, or leave csv_weights out.",
        )


def _shown(asked: str) -> str:
    return asked if asked.isprintable() and len(asked) < 65 else shortened(repr(asked), 64)


def _listed(names: Iterable[str]) -> str:
    ordered = [*names] if isinstance(names, tuple) else sorted(names)
    shown = ", ".join(shortened(repr(name), 40) for name in ordered[:8])
    return shown + (f" and {len(ordered) - 8} more" if len(ordered) > 8 else "")
