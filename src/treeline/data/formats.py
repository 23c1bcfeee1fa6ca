"""The formats a channel can be in: one row each, and how a row is found.

To add a format, write its reader module and add a row. A reader is one function that takes a
file, the name to call it in messages and a number of threads, and yields Arrow record batches
whose columns are all float32 with nulls for missing values. It raises ``DataError``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from treeline.errors import ChannelError

if TYPE_CHECKING:
    import pyarrow as pa


class Reader(Protocol):
    """What every reader module offers as ``read``."""

    def __call__(self, file: Path, name: str, threads: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of ``file`` in order."""


@dataclass(frozen=True)
class Format:
    """A file format: its short name, its content types, the module that reads it."""

    name: str
    content_types: tuple[str, ...]
    module: str
    has_names: bool  # whether the files name their columns

    @property
    def reader(self) -> Reader:
        """The module's ``read``; imported here because Arrow is not needed to refuse a job."""
        reader: Reader = importlib.import_module(self.module).read
        return reader


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("csv", ("text/csv", "csv"), "treeline.data.csv", has_names=False),
        Format(
            "parquet",
            ("application/x-parquet", "parquet", "application/vnd.apache.parquet"),
            "treeline.data.parquet",
            has_names=True,
        ),
    )
}


def by_content_type(channel: str, content_type: str) -> Format:
    """Return the format of a declared content type, whatever its case and parameters."""
    media, *parameters = [part.strip().lower() for part in content_type.split(";")]
    for format_ in FORMATS.values():
        if media in format_.content_types:
            _check_parameters(channel, content_type, parameters)
            return format_
    known = ", ".join(t for format_ in FORMATS.values() for t in format_.content_types)
    raise ChannelError(
        f"Channel {channel!r}: content type {content_type!r} cannot be read; known are {known}",
        "Convert the data to one of these, or correct the channel's ContentType.",
    )


def _check_parameters(channel: str, content_type: str, parameters: list[str]) -> None:
    for parameter in filter(None, parameters):
        name, _, value = parameter.partition("=")
        value = value.strip().strip('"')
        legal = {"label_size": ("1",), "charset": ("utf-8", "utf8", "us-ascii")}.get(name.strip())
        if legal and value not in legal:
            raise ChannelError(
                f"Channel {channel!r}: {name}={value} in content type {content_type!r} "
                f"cannot be read; allowed is {name}={legal[0]}",
                "Training data has exactly one label, in the first column, in UTF-8.",
            )


def by_first_bytes(channel: str, file: Path) -> Format:
    """Return the format that the first bytes of ``file`` show; used without a content type."""
    try:
        with file.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise ChannelError(
            f"Channel {channel!r}: {file} cannot be read: {error.strerror or error}",
            "Check that the file is still there and its permissions.",
        ) from error
    if head.startswith(b"PAR1"):
        return FORMATS["parquet"]
    first_line = head.split(b"\n", 1)[0]
    if b"," in first_line and b"\0" not in head:
        return FORMATS["csv"]
    raise ChannelError(
        f"Channel {channel!r} has no content type and {file.name!r} is neither Parquet nor "
        f"comma-separated text; it begins with {head[:40]!r}",
        "Set the channel's ContentType, for example text/csv or application/x-parquet.",
    )
