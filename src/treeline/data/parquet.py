"""Parquet: every column a number, a truth value or a decimal; nulls are missing values.

Read batch by batch within a row group, so memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from treeline.errors import DataError

_BATCH_ROWS = 1 << 16


def read(file: Path, name: str, threads: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of ``file`` as float32 columns; see ``formats.Reader``."""
    try:
        with parquet.ParquetFile(file) as source:
            columns = _columns(source.schema_arrow)
            _check_types([source.schema_arrow.field(i) for i in columns], name)
            for batch in source.iter_batches(_BATCH_ROWS, use_threads=threads > 1):
                yield _as_float32(batch.select(columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name}: cannot be read as Parquet: {' '.join(str(error).split())}",
            "Check that the file is complete and that the channel's ContentType is right.",
        ) from error


def _columns(schema: pa.Schema) -> list[int]:
    """Return which columns are data. A pandas index is stored as a column, and is none.

    pandas leaves it out when it reads the file, and so does the built-in XGBoost image.
    """
    index = (schema.pandas_metadata or {}).get("index_columns", ())
    return [i for i, name in enumerate(schema.names) if name not in index]


def _check_types(fields: list[pa.Field], name: str) -> None:
    refused = [f"{field.name} ({field.type})" for field in fields if not _is_numeric(field.type)]
    if refused:
        raise DataError(
            f"{name}: columns that are not numbers: {', '.join(refused[:8])}"
            + (f" and {len(refused) - 8} more" if len(refused) > 8 else ""),
            "Encode them as numbers, or leave them out of the file.",
        )


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )


def _as_float32(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [_cast(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _cast(column: pa.Array) -> pa.Array:
    if pa.types.is_float32(column.type):
        return column
    # Not every type casts to float32 directly (decimals, half floats); all do by way of float64.
    if not (pa.types.is_integer(column.type) or pa.types.is_float64(column.type)):
        column = pc.cast(column, pa.float64())
    # Rounding to the nearest float32 is what XGBoost itself would do with these values.
    return pc.cast(column, pa.float32(), safe=False)
