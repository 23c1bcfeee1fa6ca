"""CSV: comma separated, no header, every field a number or missing.

Arrow parses it block by block, so memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from treeline.errors import DataError

# Spellings of "no value". Anything else that is not a number is refused.
MISSING = ("", "nan", "NaN", "NAN", "NA", "null", "NULL")

_BLOCK = 1 << 20  # bytes parsed at a time
_WIDEST = 32  # bytes of a number in full precision, and some
_LONGEST_ROW = 1 << 28  # Arrow's blocks are addressed with 32 bits


def read(file: Path, name: str, threads: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of ``file`` as float32 columns; see ``formats.Reader``."""
    try:
        first_row = _first_row(file, name)
        columns = _check_first_row(first_row, name)
        with csv.open_csv(
            file,
            read_options=csv.ReadOptions(
                # One thread reads as fast (measured), and its errors say which row.
                use_threads=False,
                # A row has to fit into a block; wide rows get wider blocks.
                block_size=max(_BLOCK, 4 * len(first_row), min(_WIDEST * len(columns), 1 << 30)),
                column_names=columns,
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.float32()),
                null_values=list(MISSING),
            ),
        ) as reader:
            yield from reader
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read: {error.strerror or error}",
            "Check that the file is still there and its permissions.",
        ) from error
    except pa.ArrowException as error:
        raise DataError(
            f"{name}: {_sentence(error)} (rows count from 1, columns from 0)",
            "Every field has to be a number or empty, every row has to have "
            f"{len(columns)} fields separated by commas, and there must be no header.",
        ) from error


def _first_row(file: Path, name: str) -> bytes:
    """Return the first row with something in it, without its line end."""
    with file.open("rb") as stream:
        while line := stream.readline(_LONGEST_ROW):
            if row := line.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n"):
                if len(line) == _LONGEST_ROW:
                    break
                return row
    raise DataError(
        f"{name}: has no row" if not line else f"{name}: the first row is longer than 256 MiB",
        "Give a text file with one row a line.",
    )


def _check_first_row(row: bytes, name: str) -> list[str]:
    """Return a column name for every field, or say that the row is text.

    Said here rather than by the parser because the usual causes deserve their own advice.
    """
    fields = [field.strip().strip('"') for field in row.decode("utf-8", "replace").split(",")]
    text = [field for field in fields if field not in MISSING and not _is_number(field)]
    if len(fields) == 1:
        raise DataError(
            f"{name}: the first row has one field: {fields[0][:60]!r}",
            "A row is the label and at least one feature, separated by commas.",
        )
    if text:
        what = "is a header or has text columns" if len(text) > 1 else "has a text field"
        shown = ", ".join(repr(field[:30]) for field in text[:5])
        raise DataError(
            f"{name}: the first row {what}: {shown}",
            "Remove the header line, and encode text as numbers; the label is the first column.",
        )
    return [f"f{i}" for i in range(len(fields))]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field  # float() takes 1_000, no other reader does


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())
