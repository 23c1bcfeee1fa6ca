"""From files to one matrix: every file read once, front to back, its rows copied once.

Batches come from the format's reader and go into row-major float32, which XGBoost takes without
a further copy. A second look at the rows, block by block, settles codes, counts and hashes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from treeline.data import columns, encoding, rowhash
from treeline.data.audit import ColumnStats
from treeline.data.columns import Layout
from treeline.data.encoding import Categories, Groups
from treeline.data.matrix import Matrix, Origin, Schema, check_values, fingerprint_of
from treeline.data.records import Csr, Floats, Records
from treeline.data.storage import DenseRows, Growing, SparseRows
from treeline.data.subset import sparse_rows
from treeline.data.times import TimeColumn
from treeline.errors import DataError, ResourceError, shortened
from treeline.team import ALONE, Team

if TYPE_CHECKING:
    from treeline.data import csv
    from treeline.data.channel import Dataset
    from treeline.data.formats import Table
    from treeline.data.source import Source
    from treeline.hyperparameters import DataOptions

_BLOCK_ROWS = 1 << 16
_FLOAT32 = np.dtype(np.float32)
# More categories than this in a column that has one for every other row: most likely an id.
_MANY = 1000


@dataclass(frozen=True)
class Limits:
    """How many rows may stand in memory, given the number of columns; None is no limit.

    ``spilled`` is called with the number of rows when they move to a file.
    """

    budget: Callable[[int], int | None] = lambda _: None
    spilled: Callable[[int], None] = lambda _: None
    sparse_bytes: int | None = None


def read(
    dataset: Dataset,
    options: DataOptions,
    threads: int,
    *,
    schema: Schema | None = None,
    limits: Limits = Limits(),
    check: Callable[[], None] = lambda: None,
    team: Team = ALONE,
) -> Matrix:
    """Read all files of ``dataset`` into a matrix. ``check`` is called between batches.

    ``schema`` is that of the training data, for every other data set. Of a ``team`` each worker
    has a ``dataset`` with its share of the files, perhaps none, and gets the matrix of its rows;
    what depends on all rows (schema, codes, group numbers, fingerprint) is what one worker that
    reads everything would have. Raises ``DataError`` for files that differ in their columns,
    labels or weights that are missing, infinite values, no rows at all, and whatever the format's
    reader refuses.
    """
    builder = _Builder(schema, limits, drop=options.missing_label == "drop")
    reader = dataset.format.reader(options, threads)
    if dataset.format.has_columns:
        _Tables(dataset, options, builder, schema, team).read(reader, check)
    else:
        _read_records(dataset, options, builder, reader, check)
    if not team.alone:
        _agree(dataset, reader, team)
    found = team.gather(builder.found(tuple(reader.notes)))
    if not any(each.rows for each in found):
        _refuse_no_rows(dataset, found, team)
    matrix = builder.finish(found, check, team)
    pa.default_memory_pool().release_unused()  # XGBoost needs it more now
    return matrix


def _agree(dataset: Dataset, reader: Any, team: Team) -> None:
    """Check what the readers of all workers only know together."""
    if dataset.format.name == "csv":
        from treeline.data import shares

        shares.check_quotes(dataset.sources, team)
    if hasattr(reader, "settle"):
        reader.settle(team)


def _refuse_no_rows(dataset: Dataset, found: Sequence[_Found], team: Team) -> Never:
    # A file may be divided among workers.
    shares = team.gather([source.path for source in dataset.sources])
    files = {path for share in shares for path in share}
    notes = _notes_of(found)
    noted = f" ({'; '.join(notes)})" if notes else ""
    left_out = sum(each.left_out for each in found)
    what = f"one of their {left_out} rows has a label" if left_out else "one row"
    raise DataError(
        f"Channel {dataset.role}: {len(files)} file(s) and not {what}{noted}",
        "Check that the files are complete; csv_header=false if a CSV's only row is data.",
    )


def _notes_of(found: Sequence[_Found]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for each in found for note in each.notes))


@dataclass(frozen=True)
class _First:
    """The layout of the first file with rows, what messages call it, and how a CSV is written."""

    layout: Layout
    origin: str
    dialect: csv.First | None


class _Tables:
    """Reads the files of a format with columns: finds each file's layout, hands on its batches.

    The first batch of the first worker that has one settles the kinds of the columns; those
    after it wait for that.
    """

    def __init__(
        self,
        dataset: Dataset,
        options: DataOptions,
        builder: _Builder,
        schema: Schema | None,
        team: Team,
    ) -> None:
        self._dataset = dataset
        self._options = options
        self._builder = builder
        self._team = team
        self._first = schema.layout if schema else None
        self._origin = schema.origin if schema else ""
        self._settled = self._first is not None
        self._begun = False  # whether a worker has had a batch
        self._partition_kinds = _partition_kinds(dataset, team)

    def read(self, reader: Any, check: Callable[[], None]) -> None:
        team = self._team
        self._hear(reader, range(team.rank))
        self._read(reader, check)
        if not self._begun:
            team.broadcast(None, team.rank)
            self._hear(reader, range(team.rank + 1, team.size))

    def _hear(self, reader: Any, ranks: Iterable[int]) -> None:
        """Wait for what the first of these workers that has a batch settles."""
        for rank in ranks:
            if self._begun:
                return
            said: _First | None = self._team.broadcast(None, rank)
            if said is None:
                continue
            self._begun = True
            self._adopt(said.layout, said.origin)
            if said.dialect is not None:
                reader.first = said.dialect

    def _say(self, reader: Any) -> None:
        """Tell the other workers what this one's first batch settles."""
        if self._begun:
            return
        self._begun = True
        dialect = getattr(reader, "first", None)
        if self._first is None:
            raise AssertionError("a batch without a layout")
        self._team.broadcast(_First(self._first, self._origin, dialect), self._team.rank)

    def _read(self, reader: Any, check: Callable[[], None]) -> None:
        for source in self._dataset.checked():
            self._builder.start_file(source.name)
            with closing(reader.open(source)) as table:
                layout = self._layout(table, source)
                inner = _without_last(layout, len(source.partition))
                for batch in table.batches(inner):
                    arrays = dict(zip(inner.read, batch.columns, strict=True))
                    arrays |= self._partitions(source, layout, batch.num_rows)
                    self._settle(layout, arrays, source)
                    self._say(reader)
                    self._builder.add_columns(arrays, layout, batch.num_rows)
                    check()

    def _layout(self, table: Table, source: Source) -> Layout:
        keys = self._dataset.partition_names
        names = None if table.names is None else (*table.names, *keys)
        width = table.width + len(keys)
        if self._first is None:
            is_csv = self._dataset.format.name == "csv"
            return columns.resolve(self._options, names, width, source.name, csv=is_csv)
        return columns.follow(self._first, names, width, source.name, self._origin)

    def _settle(self, layout: Layout, arrays: Mapping[int, pa.Array], source: Source) -> None:
        """Fix the kinds of the columns by the first batch of the first file."""
        if self._settled:
            return
        text = {i for i, array in arrays.items() if not pa.types.is_float32(array.type)}
        text |= {i for i in arrays if i == layout.time}  # so that CSV keeps all its digits
        number = frozenset(arrays) - text
        self._adopt(replace(layout, text=frozenset(text), number=number), source.name)

    def _adopt(self, layout: Layout, origin: str) -> None:
        """Hold all files to ``layout``, unless that of the training data holds."""
        if not self._settled:
            self._first, self._origin, self._settled = layout, origin, True
            self._builder.layout = layout

    def _partitions(self, source: Source, layout: Layout, rows: int) -> dict[int, pa.Array]:
        """Return the columns that the names of the folders give, the last ones of ``layout``."""
        width = layout.width - len(source.partition)
        found = {}
        for position, value in enumerate(source.partition, width):
            if position in layout.number and value is not None and not _is_number(value):
                raise DataError(
                    f"{source.name}: {layout.column(position)} is {shortened(repr(value), 60)} by "
                    "the name of the folder, expected a number",
                    "Correct the folder's name, or leave the column out with ignore_columns.",
                )
            number = self._partition_kinds[position - width] and position not in layout.text
            if position in layout.read:
                number = number or position in layout.number
                found[position] = _constant(value, number, rows)
        return found


def _partition_kinds(dataset: Dataset, team: Team) -> list[bool]:
    """Return for each key of the folders whether all its values are numbers."""
    if not dataset.partition_names:
        return []
    columns_of_values = zip(*(source.partition for source in dataset.sources), strict=True)
    own = [all(v is None or _is_number(v) for v in each) for each in columns_of_values]
    # A worker without files has nothing to say.
    return [all(each) for each in zip(*filter(None, team.gather(own)), strict=True)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _constant(value: str | None, number: bool, rows: int) -> pa.Array:
    if number:
        return pa.array(np.full(rows, np.nan if value is None else float(value), np.float32))
    indices = pa.array(np.zeros(rows, np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array([value], pa.string()))


def _without_last(layout: Layout, count: int) -> Layout:
    """Return ``layout`` as the file itself has it, without the ``count`` columns of its folder."""
    if count == 0:
        return layout
    width = layout.width - count

    def inside(position: int | None) -> int | None:
        return position if position is not None and position < width else None

    return replace(
        layout,
        names=None if layout.names is None else layout.names[:width],
        width=width,
        label=inside(layout.label),
        weight=inside(layout.weight),
        group=inside(layout.group),
        time=inside(layout.time),
        lower=inside(layout.lower),
        upper=inside(layout.upper),
        margin=tuple(i for i in layout.margin if i < width),
        features=tuple(i for i in layout.features if i < width),
        text=frozenset(i for i in layout.text if i < width),
        number=frozenset(i for i in layout.number if i < width),
    )


def _read_records(
    dataset: Dataset,
    options: DataOptions,
    builder: _Builder,
    reader: Any,
    check: Callable[[], None],
) -> None:
    _check_no_columns(dataset, options)
    for source in dataset.checked():
        builder.start_file(source.name)
        for records in reader.read(source):
            builder.add_records(records, source.name)
            check()


def _check_no_columns(dataset: Dataset, options: DataOptions) -> None:
    single = ("label", "weight", "group", "time", "label_lower_bound", "label_upper_bound")
    asked = [f"{part}_column" for part in single if getattr(options, f"{part}_column") is not None]
    many = ("base_margin_column", "ignore_columns", "categorical_columns")
    asked += [name for name in many if getattr(options, name)]
    if asked:
        raise DataError(
            f"Channel {dataset.role}: {asked[0]} names a column, and {dataset.format.name} files "
            "have none: every row says itself what is label, weight and group",
            f"Leave {', '.join(asked)} out, or give the data as CSV or Parquet.",
        )


@dataclass(frozen=True)
class _Found:
    """What the others have to know of one worker's rows.

    ``width`` is None before the first block of rows; ``parts`` are empty arrays, which say how
    those of the rows are made. ``texts`` are those of the features, by their positions, and
    ``unseen`` how many rows have which text that the training data does not have.
    """

    notes: tuple[str, ...]
    rows: int
    left_out: int
    origin: str | None
    names: tuple[str, ...] | None
    sparse: bool
    width: int | None
    parts: Mapping[str, NDArray[Any]]
    texts: Mapping[int, tuple[str, ...]]
    unseen: Mapping[int, Counter[str]]
    classes: tuple[str, ...] | None
    groups: tuple[str, ...]
    time_kind: str | None
    whole_times: bool


class _Builder:
    """Collects the rows of one data set, whatever they come as."""

    def __init__(self, schema: Schema | None, limits: Limits, *, drop: bool) -> None:
        self.rows = 0
        self._drop = drop
        self.layout: Layout | None = None
        self._known = schema
        self._limits = limits
        self._origin = Origin()
        self._dense: DenseRows | None = None
        self._sparse: SparseRows | None = None
        self._parts: dict[str, Growing] = {}
        self._groups = Groups()
        self._times = TimeColumn(schema.time_kind if schema else None)
        self._classes = Categories(schema.classes if schema else None)
        self._categories: dict[int, Categories] = {}
        self._names: tuple[str, ...] | None = None
        self._text_label = False
        self._records_of: str | None = None  # the first file with rows that are records
        self._look = _Look()

    @property
    def left_out(self) -> int:
        """How many rows were left out for want of a label."""
        return len(self._origin.left_out)

    def start_file(self, name: str) -> None:
        """Note that what follows comes from file ``name``."""
        self._origin.add(name, self.rows + self.left_out)

    def add_columns(self, arrays: Mapping[int, pa.Array], layout: Layout, rows: int) -> None:
        """Append a batch of ``rows`` rows, given by the positions of its columns."""
        if self._known is not None and len(layout.features) != self._known.features:
            raise DataError(
                f"{self._origin.names[-1]}: has {len(layout.features)} features, "
                f"{self._known.origin} has {self._known.features}",
                "Give all data of the job, and of an earlier model, the same columns.",
            )
        if self._drop and layout.label is not None:
            arrays, rows = self._of_labelled(arrays, arrays[layout.label])
        dense = self._dense_rows(len(layout.features))
        self._names = self._names or layout.feature_names
        block = dense.room(rows)
        for j, position in enumerate(layout.features):
            block[:, j] = self._feature(j, arrays[position])
        label = None if layout.label is None else self._label(arrays[layout.label])
        if label is not None:
            self._append("label", label)
        if not self._unsettled:
            self._look.at(block, label)
        dense.keep(block)
        self._add_parts(arrays, layout)
        self.rows += rows

    def add_records(self, records: Records, file: str) -> None:
        """Append a block of rows that say themselves what they are."""
        self._records_of = self._records_of or file
        kept = self._labelled(~np.isnan(records.label)) if self._drop else None
        if kept is not None:
            records = records.of_rows(kept)
        rows = len(records.label)
        for part, column in (("weight", records.weight), ("group", records.group)):
            if (column is None) == (part in self._parts) and self.rows:
                _refuse_some(part, file)
        self._append("label", records.label)
        if records.weight is not None:
            self._append("weight", records.weight)
        if records.group is not None:
            self._append("group", self._groups.codes(records.group))
        self._check_names(records.names, file)
        self._names = self._names or records.names
        self._look.at(records.features, records.label)
        if isinstance(records.features, Csr):
            self._add_sparse(records.features, file)
        else:
            self._add_dense(records.features, file)
        self.rows += rows

    def found(self, notes: tuple[str, ...]) -> _Found:
        """Return what other workers have to know of these rows; all of them are there."""
        rows = self._dense or self._sparse
        return _Found(
            notes=notes,
            rows=self.rows,
            left_out=self.left_out,
            origin=self._origin.names[0] if self._origin.names else None,
            names=self._names,
            sparse=self._sparse is not None,
            width=None if rows is None else rows.width,
            parts={part: growing.room(0).copy() for part, growing in self._parts.items()},
            texts={j: each.texts for j, each in self._categories.items()},
            unseen={j: each.unseen for j, each in self._categories.items()},
            classes=self._classes.texts if self._text_label else None,
            groups=self._groups.names,
            time_kind=self._times.kind,
            whole_times=self._times.whole,
        )

    def finish(self, found: Sequence[_Found], check: Callable[[], None], team: Team) -> Matrix:
        """Return the matrix; nothing is added afterwards. ``found`` is of each worker by rank."""
        self._follow(found)
        features, categories, moved = self._take_features(found)
        classes, moved_classes = self._class_order(found)
        parts = {part: growing.take() for part, growing in self._parts.items()}
        group_names = self._groups.names
        if "group" in parts and not team.alone:
            all_names = [each.groups for each in found]
            parts["group"], group_names = encoding.among_all(parts["group"], group_names, all_names)
        if self._times.kind is not None:
            parts["time"] = self._times.take(whole=all(each.whole_times for each in found))
        label = parts.get("label")
        if label is not None and moved_classes is not None:
            _move(label, moved_classes)
        if self._unsettled and not isinstance(features, Csr):
            self._look.through(features, label, moved, check)
        stats, hashes = self._look.stats, self._look.hashes.take()
        origin = next(each.origin for each in found if each.origin is not None)
        matrix = Matrix(
            features=features,
            label=label,
            weight=parts.get("weight"),
            group=parts.get("group"),
            group_names=group_names,
            lower=parts.get("label_lower_bound"),
            upper=parts.get("label_upper_bound"),
            margin=parts.get("margin"),
            time=parts.get("time"),
            schema=self._schema(features, categories, classes, origin),
            stats=stats,
            hashes=hashes,
            fingerprint="",
            origin=self._origin,
        )
        if team.leads:
            matrix.notes = (*_notes_of(found), *self._remarks(matrix.schema, found))
        check_values(matrix, stats, self._classes.unseen, team)
        if team.alone:  # else ``everyone`` makes that of all workers' rows
            matrix.fingerprint = fingerprint_of(matrix)
        return matrix

    def _follow(self, found: Sequence[_Found]) -> None:
        """Make of these rows what they are in the order of all; refuse what does not go with it."""
        first = next(each for each in found if each.width is not None)
        own_names, self._names = self._names, next((f.names for f in found if f.names), None)
        if self._records_of is not None:
            self._check_names(own_names, self._records_of)
            some = next(each for each in found if each.rows)
            for part in ("weight", "group"):
                if self.rows and (part in self._parts) != (part in some.parts):
                    _refuse_some(part, self._records_of)
        for each in found:
            for part, empty in each.parts.items():
                self._parts.setdefault(part, Growing(empty.dtype.type, *empty.shape[1:]))
            for j in each.texts:
                known = self._known.categories[j] if self._known else None
                self._categories.setdefault(j, Categories(known))
        self._text_label = any(each.classes is not None for each in found)
        kind = next((each.time_kind for each in found if each.time_kind), None)
        self._times.follow(kind, self._origin.of)
        self._same_kind(first)

    def _same_kind(self, first: _Found) -> None:
        """Keep the rows dense or sparse as the first worker's are."""
        width = first.width or 0
        file = self._records_of or ""
        if first.sparse and self._dense is not None:
            rows, self._dense, self._sparse = self._dense.take(), None, SparseRows()
            for at in range(0, len(rows), _BLOCK_ROWS):
                self._add_dense(rows[at : at + _BLOCK_ROWS], file)
        elif first.sparse:
            self._sparse = self._sparse or SparseRows()
        elif self._sparse is not None:
            csr, self._sparse = self._sparse.take(self._sparse.width), None
            self._dense_rows(width)
            for at in range(0, csr.rows, _BLOCK_ROWS):
                self._add_sparse(sparse_rows(csr, at, at + _BLOCK_ROWS), file)
        elif self._dense_rows(width).width != width:
            _refuse_width(file, self._dense_rows(width).width, width)

    def _class_order(
        self, found: Sequence[_Found]
    ) -> tuple[tuple[str, ...] | None, NDArray[np.int64] | None]:
        if not self._text_label:
            return None, None
        return self._classes.order(text for each in found for text in each.classes or ())

    @property
    def _unsettled(self) -> bool:
        """Whether codes may still move: those of texts that are learned from the rows."""
        learned = self._known is None and bool(self._categories)
        return learned or (self._text_label and self._classes.open)

    def _add_parts(self, arrays: Mapping[int, pa.Array], layout: Layout) -> None:
        for part, position in layout.special.items():
            if part == "group":
                self._append(part, self._groups.codes(arrays[position]))
            elif part == "time":
                self._times.add(arrays[position], partial(self._place, layout.column(position)))
            elif part != "label" and not part.startswith("base_margin"):
                self._append(part, _floats(arrays[position]))
        if layout.margin:
            margin = np.column_stack([_floats(arrays[i]) for i in layout.margin])
            self._parts.setdefault("margin", Growing(np.float32, margin.shape[1])).append(margin)

    def _dense_rows(self, width: int) -> DenseRows:
        if self._dense is None:
            self._dense = DenseRows(width, self._limits.budget(width), self._limits.spilled)
        return self._dense

    def _feature(self, position: int, array: pa.Array) -> Floats:
        number = pa.types.is_float32(array.type)
        if self._known is not None and number == (position in self._known.categories):
            here, there = ("numbers", "text") if number else ("text", "numbers")
            raise DataError(
                f"{self._origin.names[-1]}: {self._known.feature(position)} holds {here}, "
                f"in {self._known.origin} {there}",
                "Give all data of the job, and of an earlier model, the same columns.",
            )
        if number:
            return _floats(array)
        if position not in self._categories:
            texts = self._known.categories[position] if self._known else None
            self._categories[position] = Categories(texts)
        return encoding.as_feature(self._categories[position].codes(array))

    def _label(self, array: pa.Array) -> Floats:
        if pa.types.is_float32(array.type):
            return _floats(array)
        self._text_label = True
        return encoding.as_feature(self._classes.codes(array))

    def _append(self, part: str, values: NDArray[Any]) -> None:
        kind = np.int64 if part == "group" else np.float32
        self._parts.setdefault(part, Growing(kind)).append(values)

    def _check_names(self, names: tuple[str, ...] | None, file: str) -> None:
        for name, before in zip(names or (), self._names or (), strict=False):
            if name != before:
                raise DataError(
                    f"{file}: feature {name!r} stands where earlier files of the channel have "
                    f"{before!r}",
                    "Give all files the same features in the same order.",
                )

    def _add_sparse(self, block: Csr, file: str) -> None:
        if self._dense is not None:  # earlier rows were dense: their width is the data's
            self._add_dense(_densified(block, self._dense.width, file), file)
            return
        self._sparse = self._sparse or SparseRows()
        self._sparse.add(block)
        allowed = self._limits.sparse_bytes
        if allowed is not None and self._sparse.bytes > allowed:
            raise ResourceError(
                f"Sparse rows need more than the {allowed / 1e9:.1f} GB of memory there are for "
                f"them; {self.rows} rows were read so far",
                "Use an instance with more memory, or fewer rows; sparse rows are kept in memory.",
            )

    def _add_dense(self, block: Floats, file: str) -> None:
        if self._sparse is not None:
            self._sparse.add(_sparsified(block))
            return
        dense = self._dense_rows(block.shape[1])
        if block.shape[1] != dense.width:
            _refuse_width(file, block.shape[1], dense.width)
        room = dense.room(len(block))
        room[:] = block
        dense.keep(room)

    def _take_features(
        self, found: Sequence[_Found]
    ) -> tuple[Floats | Csr, dict[int, tuple[str, ...]], dict[int, NDArray[np.int64]]]:
        if self._sparse is not None:
            known = self._known.features if self._known else 1
            width = max(known, *(each.width or 0 for each in found))
            return self._sparse.take(width), {}, {}
        if self._dense is None:
            raise AssertionError("rows without features")
        orders = {
            j: each.order(text for other in found for text in other.texts.get(j, ()))
            for j, each in self._categories.items()
        }
        categories = {j: texts for j, (texts, _) in orders.items()}
        moved = {j: places for j, (_, places) in orders.items() if places is not None}
        return self._dense.take(), categories, moved

    def _schema(
        self,
        features: Floats | Csr,
        categories: Mapping[int, tuple[str, ...]],
        classes: tuple[str, ...] | None,
        origin: str,
    ) -> Schema:
        width = features.width if isinstance(features, Csr) else features.shape[1]
        kind = self._times.kind
        return Schema(width, self._names, categories, classes, self.layout, origin, kind)

    def _of_labelled(
        self, arrays: Mapping[int, pa.Array], label: pa.Array
    ) -> tuple[Mapping[int, pa.Array], int]:
        kept = self._labelled(_is_labelled(label))
        if kept is None:
            return arrays, len(label)
        mask = pa.array(kept)
        return {i: array.filter(mask) for i, array in arrays.items()}, int(kept.sum())

    def _labelled(self, labelled: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Note which of the next rows have no label; return which have one, None for all."""
        if labelled.all():
            return None
        before = self.rows + np.cumsum(labelled, dtype=np.int64)
        self._origin.left_out.frombytes(before[~labelled].tobytes())
        return labelled

    def _place(self, column: str, row: int) -> str:
        return f"{self._origin.of(self.rows + row)}, {column}"

    def _remarks(self, schema: Schema, found: Sequence[_Found]) -> list[str]:
        remarks = []
        rows, left_out = (sum(n) for n in zip(*((f.rows, f.left_out) for f in found), strict=True))
        if left_out:
            remarks.append(
                f"{left_out} of {left_out + rows} rows have no label and are left out "
                "(missing_label=drop)"
            )
        for j in sorted(self._categories):
            unseen: Counter[str] = sum((each.unseen.get(j, Counter()) for each in found), Counter())
            texts = schema.categories.get(j, ())
            if unseen:
                shown = ", ".join(repr(text) for text, _ in unseen.most_common(3))
                remarks.append(
                    f"{schema.feature(j)}: {unseen.total()} of {rows} rows have a category that "
                    f"train does not have, and are missing there: {shown}"
                )
            elif self._known is None and len(texts) > max(_MANY, rows // 2):
                remarks.append(
                    f"{schema.feature(j)} has {len(texts)} categories in {rows} rows: if it is an "
                    "id, leave it out with ignore_columns"
                )
        return remarks


class _Look:
    """One look at every row: counts and extremes of the columns, a hash of the row."""

    def __init__(self) -> None:
        self.stats = ColumnStats()
        self.hashes = Growing(np.uint64)

    def at(self, block: Floats | Csr, label: Floats | None) -> None:
        """Look at the next rows."""
        self.stats.update(block)
        of = rowhash.sparse if isinstance(block, Csr) else rowhash.dense
        self.hashes.append(of(block, label))  # type: ignore[arg-type]

    def through(
        self,
        rows: Floats,
        label: Floats | None,
        moved: Mapping[int, NDArray[np.int64]],
        check: Callable[[], None],
    ) -> None:
        """Look at all rows, and first move the codes of texts to where they belong."""
        for first in range(0, len(rows), _BLOCK_ROWS):
            block = rows[first : first + _BLOCK_ROWS]
            for j, places in moved.items():
                _move(block[:, j], places)
            self.at(block, None if label is None else label[first : first + len(block)])
            check()


def _move(codes: Floats, places: NDArray[np.int64]) -> None:
    present = ~np.isnan(codes)
    codes[present] = places[codes[present].astype(np.int64)]


def _is_labelled(column: pa.Array) -> NDArray[np.bool_]:
    """Return (rows,) whether there is a label: a number, or a text that is not empty."""
    if pa.types.is_float32(column.type):
        return ~np.isnan(_floats(column))
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    said = pc.cast(pc.not_equal(column, ""), pa.int8())
    return encoding.values(said, np.dtype(np.int8), fill=0).astype(np.bool_)


def _floats(array: pa.Array) -> Floats:
    return encoding.values(array, _FLOAT32, fill=np.nan)  # type: ignore[return-value]


def _refuse_some(part: str, file: str) -> Never:
    raise DataError(
        f"{file}: some rows of the channel have a {part} and others have none",
        f"Give every row a {part}, or none.",
    )


def _refuse_width(file: str, width: int, before: int) -> Never:
    raise DataError(
        f"{file}: rows of {width} features after rows of {before}",
        "Give all rows of the channel the same features.",
    )


def _densified(block: Csr, width: int, file: str) -> Floats:
    if block.width > width:
        _refuse_width(file, block.width, width)
    dense = np.full((block.rows, width), np.nan, np.float32)
    rows = np.repeat(np.arange(block.rows), np.diff(block.indptr))
    dense[rows, block.indices] = block.values
    return dense


def _sparsified(block: Floats) -> Csr:
    present = ~np.isnan(block)
    indptr = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int64)
    indices = np.nonzero(present)[1].astype(np.int32)
    return Csr(indptr, indices, block[present], block.shape[1])
