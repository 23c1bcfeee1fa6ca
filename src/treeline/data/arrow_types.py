"""From columns of any Arrow type to the two kinds the matrix takes: float32 numbers and text.

Parquet and Arrow IPC files both come through here, so a column means the same in either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from treeline.errors import DataError, ResourceError, one_line, shortened

if TYPE_CHECKING:
    from treeline.data.columns import Layout

BATCH_ROWS = 1 << 16

_EXACT = 1 << 24  # float32 holds every whole number up to here; IEEE 754, binary32
_INT64 = float(1 << 63)
_LISTED = 8

_ADVICE = {
    "time": "encode dates and times as numbers (days since a date, or year, month and day)",
    "nested": "spread lists and structs over columns of their own",
    "binary": "store binary columns as numbers or as strings",
    "other": "store columns of other types as numbers or as strings",
}


class Conversion:
    """Turns the batches of one file into what ``formats.Table.batches`` promises.

    ``fields`` are those of all columns of the file, by position. Raises ``DataError`` at once
    for columns to be read that are neither numbers nor text, or text where ``layout.number``
    has numbers. ``notes`` receives a line for each column that loses digits.
    """

    def __init__(
        self,
        fields: Sequence[pa.Field],
        layout: Layout,
        name: str,
        notes: list[str],
        rows: int = 0,
    ) -> None:
        self.names = [fields[i].name for i in layout.read]
        self.rows = rows  # of the file, checked so far
        self._layout = layout
        self._name = name
        self._notes = notes
        self._as_text = [
            (i in layout.text and i != layout.time) or kind(fields[i]) == "text"
            for i in layout.read
        ]
        self._rounded: set[int] = set()
        _refuse_types({i: fields[i] for i in layout.read}, layout, name)
        _refuse_text({i: fields[i] for i in layout.read if i in layout.number}, layout, name)

    def check(self, batch: pa.RecordBatch) -> None:
        """Refuse text that is not UTF-8; ``batch`` has the columns to be read, as stored.

        Raises ``pa.ArrowInvalid`` for a batch that is damaged otherwise.
        """
        for position, column in zip(self._layout.read, batch.columns, strict=True):
            if not pa.types.is_primitive(column.type):
                try:
                    column.validate(full=True)
                except pa.ArrowInvalid:
                    self._refuse_encoding(position, column)
                    raise
        self.rows += batch.num_rows

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns of a checked ``batch`` as float32 or text, with their names.

        The time is as stored, if it is no text.
        """
        columns = [
            _text(column) if as_text else self._number(position, column)
            for position, column, as_text in zip(
                self._layout.read, batch.columns, self._as_text, strict=True
            )
        ]
        return pa.RecordBatch.from_arrays(columns, names=self.names)

    def _number(self, position: int, column: pa.Array) -> pa.Array:
        if position == self._layout.time:
            return column
        numbers = _number(column)
        if position not in self._rounded and _may_round(column, numbers):
            self._rounded.add(position)
            add_note(
                self._notes,
                f"{self._layout.column(position)} holds whole numbers beyond {_EXACT:,}, which "
                "float32 rounds; an identifier belongs in ignore_columns or categorical_columns",
            )
        return numbers

    def _refuse_encoding(self, position: int, column: pa.Array) -> None:
        if kind_of_type(column.type) != "text":
            return
        stored = _as_bytes(column)
        stored.validate(full=True)  # not the encoding then, but worse, and no value can be shown
        if pa.types.is_dictionary(stored.type):
            stored = stored.dictionary_decode()
        for row, value in enumerate(stored.to_pylist()):
            try:
                (value or b"").decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self._name} row {self.rows + row + 1}: {self._layout.column(position)} "
                    f"is not UTF-8 text: {shortened(repr(value), 60)}",
                    "Write the column as UTF-8 strings.",
                ) from error


def kind(field: pa.Field) -> str:
    """Return ``number``, ``text``, or which kind of refusal a column is due."""
    if b"ARROW:extension:name" in (field.metadata or {}):
        return "other"  # its storage says nothing about its meaning
    return kind_of_type(field.type)


def kind_of_type(type_: pa.DataType) -> str:
    """Return the kind of a type: ``number``, ``text``, ``time``, ``nested``, ``binary``, ..."""
    types = pa.types
    if types.is_dictionary(type_):
        return kind_of_type(type_.value_type)
    tests = {
        "number": (
            types.is_integer,
            types.is_floating,
            types.is_boolean,
            types.is_decimal,
            types.is_null,
        ),
        "text": (types.is_string, types.is_large_string, types.is_string_view),
        "time": (types.is_temporal,),
        "nested": (types.is_nested,),
        "binary": (
            types.is_binary,
            types.is_large_binary,
            types.is_binary_view,
            types.is_fixed_size_binary,
        ),
    }
    for found, those in tests.items():
        if any(test(type_) for test in those):
            return found
    return "other"


def data_columns(schema: pa.Schema, name: str, notes: list[str]) -> list[int]:
    """Return which columns are data. A pandas index is stored as a column, and is none.

    pandas leaves it out when it reads the file, and so does the built-in XGBoost image.
    Source: pandas, "Storing pandas DataFrame objects in Apache Parquet format".
    """
    try:
        index = (schema.pandas_metadata or {}).get("index_columns")
    except (ValueError, AttributeError):
        index = None
    stored = [name for name in schema.names if isinstance(index, list) and name in index]
    if stored:
        add_note(notes, f"left out as the index of pandas: {', '.join(map(repr, stored))}")
    columns = [i for i, column in enumerate(schema.names) if column not in stored]
    if not columns:
        raise DataError(
            f"{name}: has no columns" + (" but the index of pandas" if stored else ""),
            "Write the label and the features as columns.",
        )
    return columns


def check_piece(first: Sequence[pa.Field], found: Sequence[pa.Field], name: str) -> None:
    """Refuse a further piece of one stream whose columns are not those of the first."""
    if [field.name for field in found] != [field.name for field in first]:
        what = f"columns {_listed(found)} after {_listed(first)}"
    else:
        pairs = [pair for pair in zip(first, found, strict=True) if kind(pair[0]) != kind(pair[1])]
        if not pairs:
            return
        what = f"column {pairs[0][0].name!r} as {pairs[0][1].type} after {pairs[0][0].type}"
    raise DataError(
        f"{name}: holds several files one after the other, which do not agree: {what}",
        "Write all files of the channel with the same columns and types.",
    )


def add_note(notes: list[str], line: str) -> None:
    """Append ``line`` unless it has been said."""
    if line not in notes:
        notes.append(line)


def note_no_rows(notes: list[str], name: str) -> None:
    """Say once a channel that there are files without rows."""
    ending = "has no rows; such files add nothing"
    if not any(line.endswith(ending) for line in notes):
        notes.append(f"{name} {ending}")


@contextlib.contextmanager
def translated(name: str, format_: str) -> Iterator[None]:
    """Turn what Arrow and the operating system raise into a ``DataError`` about ``name``.

    A piece that does not fit the memory is a ``ResourceError``, whether it is that large or only
    says so.
    """
    try:
        yield
    except MemoryError as error:  # Arrow's is an ArrowException, too
        raise ResourceError(
            f"{name}: a part of it does not fit the memory: {one_line(error)}",
            "Write the file in smaller record batches or row groups; if it is small, it is "
            "damaged: write it again.",
        ) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{name}: cannot be read as {format_}: {shortened(one_line(error), 300)}",
            "Check that the file is complete and that the channel's ContentType is right.",
        ) from error


def _refuse_types(fields: dict[int, pa.Field], layout: Layout, name: str) -> None:
    refused = {
        i: field
        for i, field in fields.items()
        if kind(field) not in ("number", "text") and not (i == layout.time and _is_date(field))
    }
    if not refused:
        return
    shown = [f"{layout.column(i)} ({_type(f)})" for i, f in [*refused.items()][:_LISTED]]
    more = f" and {len(refused) - _LISTED} more" if len(refused) > _LISTED else ""
    kinds = {kind(field) for field in refused.values()}
    advice = ", ".join(text for found, text in _ADVICE.items() if found in kinds)
    raise DataError(
        f"{name}: columns that are neither numbers nor text: {', '.join(shown)}{more}",
        f"{advice[0].upper()}{advice[1:]}, or leave the columns out with ignore_columns.",
    )


def _refuse_text(fields: dict[int, pa.Field], layout: Layout, name: str) -> None:
    parts = {position: part for part, position in layout.special.items()}
    for position, field in fields.items():
        if kind(field) == "text":
            part = f", the {parts[position]}," if position in parts else ""
            raise DataError(
                f"{name}: {layout.column(position)}{part} holds text ({_type(field)}) in every "
                "row, expected numbers",
                "Store the column as numbers, in this file and all others of the job.",
            )


def _is_date(field: pa.Field) -> bool:
    type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    dates = pa.types.is_timestamp(type_) or pa.types.is_date(type_)
    return kind(field) == "time" and dates


def _type(field: pa.Field) -> str:
    extension = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode(errors="replace")
    return shortened(f"{extension}: {field.type}" if extension else str(field.type), 60)


def _listed(fields: Sequence[pa.Field]) -> str:
    shown = ", ".join(repr(field.name) for field in fields[:_LISTED])
    return shown + (f" and {len(fields) - _LISTED} more" if len(fields) > _LISTED else "")


def _as_bytes(column: pa.Array) -> pa.Array:
    """Return a column of text as the bytes it is stored in."""
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(
            column.indices, _as_bytes(column.dictionary), safe=False
        )
    if pa.types.is_string_view(column.type):
        return column.view(pa.binary_view())
    return column.view(pa.binary() if pa.types.is_string(column.type) else pa.large_binary())


def _number(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_float32(column.type):
        return column
    # Not every type casts to float32 directly (decimals, half floats); all do by way of float64.
    if not (pa.types.is_integer(column.type) or pa.types.is_float64(column.type)):
        column = pc.cast(column, pa.float64())
    # Rounding to the nearest float32 is what XGBoost itself would do with these values.
    return pc.cast(column, pa.float32(), safe=False)


def _may_round(column: pa.Array, numbers: pa.Array) -> bool:
    """Whether whole numbers of ``column`` are beyond those that float32 holds exactly.

    Two reductions over the float32 values, a third of the cost of Arrow's min_max on int64;
    that one decides, because what stands under a null is anything.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary
        numbers = _number(column)
    if not pa.types.is_integer(column.type) or column.type.bit_width < 32 or not len(column):
        return False
    values = np.frombuffer(numbers.buffers()[1], np.float32)
    values = values[numbers.offset : numbers.offset + len(numbers)]
    if values.max() < _EXACT and values.min() > -_EXACT:
        return False
    extremes = pc.min_max(column).as_py()
    return any(abs(extreme or 0) > _EXACT for extreme in extremes.values())


def _text(column: pa.Array) -> pa.Array:
    """Return ``column`` as text; a whole number is written alike whatever type it has."""
    if pa.types.is_dictionary(column.type):
        return _dictionary_text(column)
    if pa.types.is_floating(column.type):
        return _float_text(column)
    if pa.types.is_decimal(column.type):
        return _decimal_text(column)
    return pc.cast(column, pa.string())


def _dictionary_text(column: pa.Array) -> pa.Array:
    dictionary = column.dictionary
    if kind_of_type(dictionary.type) != "text":
        return _text(column.dictionary_decode())
    # A dictionary longer than the batch costs whoever reads it more than the rows do.
    if dictionary.null_count or len(dictionary) > len(column):
        return pc.cast(column.dictionary_decode(), pa.string())
    return pa.DictionaryArray.from_arrays(
        pc.cast(column.indices, pa.int32()), pc.cast(dictionary, pa.string()), safe=False
    )


def _float_text(column: pa.Array) -> pa.Array:
    if pa.types.is_float16(column.type):
        column = pc.cast(column, pa.float32())
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _INT64))
    integers = pc.if_else(whole, column, pa.scalar(None, column.type))
    return pc.coalesce(
        pc.cast(pc.cast(integers, pa.int64()), pa.string()), pc.cast(column, pa.string())
    )


def _decimal_text(column: pa.Array) -> pa.Array:
    encoded = column.dictionary_encode()
    texts = [None if value is None else f"{value:f}" for value in encoded.dictionary.to_pylist()]
    trimmed = [t.rstrip("0").rstrip(".") if t and "." in t else t for t in texts]
    return pa.array(trimmed, pa.string()).take(encoded.indices)
