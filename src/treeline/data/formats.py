"""The formats a channel can be in: one row each, and how a row is found.

A channel's format is what its content type says, or what the first bytes of its first file show;
``check_bytes`` compares both for every file, so that no file is read as what it is not.

To add a format, write its reader module and add a row. A module offers one class ``Reader``,
either a ``TableReader`` (its files have columns, whose parts the job chooses) or a
``RecordReader`` (its rows say themselves what is label and what is feature). Readers raise
``DataError``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from treeline.data.source import HEAD_SIZE, Source
from treeline.errors import ChannelError

if TYPE_CHECKING:
    import pyarrow as pa

    from treeline.data.columns import Layout
    from treeline.data.records import Records
    from treeline.hyperparameters import DataOptions


class Table(Protocol):
    """One file of a format with columns, opened far enough to know its columns."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """The columns' names, or None where the file has none."""

    @property
    def width(self) -> int:
        """How many columns the file has."""

    def batches(self, layout: Layout) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, with the columns ``layout.read`` in that order.

        A column is float32 with nulls for missing values, or text: string, or a dictionary of
        int32 to string. Those in ``layout.text`` are text, those in ``layout.number`` float32;
        ``layout.time`` may be numbers, timestamps or dates of any width.
        """

    def close(self) -> None:
        """Close the file, whether it has been read or not."""


class TableReader(Protocol):
    """What a module of a format with columns offers as ``Reader``; one is made per channel."""

    notes: list[str]  # what was inferred, a line each, to be said once the channel is read

    def __init__(self, options: DataOptions, threads: int) -> None: ...

    def open(self, source: Source) -> Table:
        """Open the next file of the channel."""


class RecordReader(Protocol):
    """What a module of a format without columns offers as ``Reader``; one per channel."""

    notes: list[str]

    def __init__(self, options: DataOptions, threads: int) -> None: ...

    def read(self, source: Source) -> Iterator[Records]:
        """Yield the rows of the next file of the channel in order."""


@dataclass(frozen=True)
class Format:
    """A file format: its short name, its content types, the module that reads it."""

    name: str
    content_types: tuple[str, ...]
    module: str
    has_columns: bool  # whether its reader is a TableReader

    def reader(self, options: DataOptions, threads: int) -> Any:
        """Return a new reader; imported here because Arrow is not needed to refuse a job."""
        return importlib.import_module(self.module).Reader(options, threads)


FORMATS = {
    format_.name: format_
    for format_ in (
        Format(
            "csv",
            ("text/csv", "csv", "application/csv", "text/tab-separated-values", "tsv"),
            "treeline.data.csv",
            has_columns=True,
        ),
        Format(
            "parquet",
            ("application/x-parquet", "parquet", "application/vnd.apache.parquet"),
            "treeline.data.parquet",
            has_columns=True,
        ),
        Format(
            "arrow",
            (
                "application/vnd.apache.arrow.file",
                "application/vnd.apache.arrow.stream",
                "application/x-feather",
                "arrow",
                "feather",
            ),
            "treeline.data.arrow",
            has_columns=True,
        ),
        Format(
            "libsvm",
            ("text/libsvm", "text/x-libsvm", "libsvm"),
            "treeline.data.libsvm",
            has_columns=False,
        ),
        Format(
            "recordio-protobuf",
            ("application/x-recordio-protobuf", "recordio-protobuf"),
            "treeline.data.recordio",
            has_columns=False,
        ),
        Format("npz", ("application/x-npz", "npz"), "treeline.data.npz", has_columns=False),
    )
}


_PARAMETERS = {
    "label_size": (
        ("1",),
        "Rows without a label (label_size=0) are for predicting; training needs exactly one, in "
        "the first column or where label_column says.",
    ),
    "charset": (
        ("utf-8", "utf8", "us-ascii"),
        "Write the data in UTF-8 (iconv converts) and leave charset out.",
    ),
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
        name, _, value = (part.strip().strip('"') for part in parameter.partition("="))
        allowed, remedy = _PARAMETERS.get(name, ((value,), ""))
        if value not in allowed:
            raise ChannelError(
                f"Channel {channel!r}: {name}={value} in content type {content_type!r} "
                f"cannot be read; allowed is {name}={allowed[0]}",
                remedy,
            )


@dataclass(frozen=True)
class Foreign:
    """Something that is known and not read: what it is called, and what to do instead."""

    what: str
    advice: str


_DECOMPRESS = "Give the file uncompressed, or compressed once with gzip, zstd or bzip2."
_TO_PARQUET = "Convert it to Parquet or CSV."
_MODEL = "Training data is needed here; an earlier model belongs into the channel named model."
_UTF8 = "Convert it to UTF-8, for example with iconv -t UTF-8."

# First bytes of binary files. Sources: each format's own specification; an XGBoost file's first
# bytes are as XGBoost 3 writes them, "binf" is its old model format.
_BINARY: tuple[tuple[bytes, Format | Foreign], ...] = (
    (rb"PAR1", FORMATS["parquet"]),
    (rb"ARROW1", FORMATS["arrow"]),
    # An IPC stream: the continuation mark, then a length that a schema can have (below 256 MiB).
    (rb"\xff{4}(?!\0{4}).{3}[\0-\x0f]", FORMATS["arrow"]),
    (rb"\x0a\x23\xd7\xce", FORMATS["recordio-protobuf"]),
    (rb"PK\x03\x04.{26}.+\.npy\Z", FORMATS["npz"]),
    (rb"PK\x03\x04.{26}(\[Content_Types\]|_rels/|docProps/|xl/)", Foreign("Excel", _TO_PARQUET)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Foreign("Excel (xls)", _TO_PARQUET)),
    (
        rb"PK[\x03\x05]",
        Foreign("a zip archive", "Unpack it; of zip files only NumPy's npz is read."),
    ),
    (rb"PARE", Foreign("an encrypted Parquet file", "Write it without encryption.")),
    (rb"FEA1", Foreign("Feather V1", "Write it as Feather V2, which is Arrow, or as Parquet.")),
    (rb"ORC", Foreign("ORC", _TO_PARQUET)),
    (rb"Obj\x01", Foreign("Avro", _TO_PARQUET)),
    (rb"\x89HDF\r\n\x1a\n", Foreign("HDF5", _TO_PARQUET)),
    (rb"SQLite format 3\0", Foreign("an SQLite database", _TO_PARQUET)),
    (rb"\x93NUMPY", Foreign("a NumPy array (npy)", "Write numpy.savez(file, X=..., y=...).")),
    (rb"\{L\0{7}\x07learner|binf", Foreign("an XGBoost model", _MODEL)),
    (
        rb"\x01\xab\xff\xff",
        Foreign("XGBoost's binary DMatrix", "Give the data that it was made from."),
    ),
    (rb"\x80[\x02-\x05]", Foreign("a Python pickle", "Pickles are never loaded. " + _TO_PARQUET)),
    (rb"\x1f\x8b|BZh[1-9]1AY|\x28\xb5\x2f\xfd", Foreign("compressed twice", _DECOMPRESS)),
    (rb"\xfd7zXZ\0", Foreign("compressed with xz", _DECOMPRESS)),
    (rb"\x04\x22\x4d\x18", Foreign("compressed with LZ4", _DECOMPRESS)),
    (rb"\xff\x06\0\0sNaPpY", Foreign("compressed with Snappy", _DECOMPRESS)),
    (rb"7z\xbc\xaf\x27\x1c", Foreign("a 7-Zip archive", _DECOMPRESS)),
    (rb".{257}ustar", Foreign("a tar archive", "Unpack it into the channel.")),
)
_TEXT: tuple[tuple[bytes, Foreign], ...] = (
    (rb"\s*\{\s*\"learner\"", Foreign("an XGBoost model", _MODEL)),
    (rb"\s*(\{\s*[\"}]|\[\s*[\[{\"])", Foreign("JSON", _TO_PARQUET)),
    (
        rb"\s*<(?i:\?xml|!doctype|html)",
        Foreign("XML or HTML", "It may be an error page; look into it, and upload the data again."),
    ),
)
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_NUMBER = rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_LIBSVM_ROW = re.compile(
    rb"%(n)b(:%(n)b)?(\s+qid:\d+)?((\s+\d+:[-+.\w]+)*)" % {b"n": _NUMBER}, re.ASCII
)


def recognise(head: bytes) -> Format | Foreign | None:
    """Return what a file is whose (decompressed) content begins with ``head``; None: unknown."""
    for mark, charset in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return Foreign(f"{charset} text", _UTF8)
    if not _is_text(head):
        if head.startswith(b"PK\x03\x04"):  # of a zip archive, to the end of the first name
            head = head[: 30 + int.from_bytes(head[26:28], "little")]
        return _matching(_BINARY, head)
    text = head.removeprefix(b"\xef\xbb\xbf")
    found = _matching(_TEXT, text)
    if found is not None:
        return found
    if _is_libsvm(text, cut_off=len(head) >= HEAD_SIZE):
        return FORMATS["libsvm"]
    return FORMATS["csv"] if re.search(rb"[,\t;| ]", _first_row(text)) else None


def by_first_bytes(channel: str, source: Source) -> Format:
    """Return the format that the first bytes of ``source`` show; used without a content type."""
    head = source.head()
    found = recognise(head)
    if isinstance(found, Format):
        return found
    if found is not None:
        raise ChannelError(f"Channel {channel!r}: {source.name} is {found.what}", found.advice)
    raise ChannelError(
        f"Channel {channel!r} has no content type and {source.name} is nothing that is known; "
        f"it begins with {head[:40]!r}",
        "Set the channel's ContentType, for example text/csv or application/x-parquet.",
    )


def check_bytes(format_: Format, source: Source) -> None:
    """Refuse a file whose first bytes show that it is not what the channel is read as.

    Costs nothing extra: ``source`` stays open at its beginning. What is not recognised is left to
    the reader, which knows more about its format.
    """
    head = source.head()
    found = recognise(head)
    where = f"{source.name}: the channel is read as {format_.name}, but this file is"
    if isinstance(found, Foreign):
        raise ChannelError(f"{where} {found.what}", found.advice)
    if found is None:
        if format_.name in ("csv", "libsvm") and not _is_text(head):
            raise ChannelError(
                f"{where} binary; it begins with {head[:40]!r}",
                f"Give {format_.name} files in UTF-8, or correct the channel's ContentType.",
            )
    elif found is not format_ and not _may_be_libsvm(format_, found, head):
        raise ChannelError(
            f"{where} {found.name}",
            f"Set the channel's ContentType to {found.content_types[0]}, or replace the file.",
        )


def _may_be_libsvm(format_: Format, found: Format, head: bytes) -> bool:
    """Whether text that looks like CSV may yet be a damaged libsvm file, which its reader names."""
    if (format_.name, found.name) != ("libsvm", "csv"):
        return False
    first = _first_row(head)
    return not re.search(rb"[,\t;|]", first) or re.search(rb"\d:[-+.\w]", first) is not None


def _matching[Found: Format | Foreign](
    signatures: tuple[tuple[bytes, Found], ...], head: bytes
) -> Found | None:
    for signature, found in signatures:
        if re.match(signature, head, re.DOTALL):
            return found
    return None


def _is_text(head: bytes) -> bool:
    """Whether there is no control character that text has no use for."""
    return re.search(rb"[\0-\x08\x0e-\x19\x1c-\x1f]", head) is None


def _first_row(text: bytes) -> bytes:
    return text.lstrip(b"\r\n").partition(b"\n")[0].strip()


def _is_libsvm(text: bytes, cut_off: bool) -> bool:
    """Whether every row reads label[:weight] [qid:n] index:value ..., and one has a feature.

    Where the text may be cut off, the last row's last word is not looked at.
    """
    lines = (line.partition(b"#")[0].strip() for line in text.splitlines())
    rows = [line for line in lines if line]
    if not rows:
        return False
    if cut_off and not text.endswith((b"\n", b"\r")):
        rows[-1] = re.sub(rb"\S+$", b"", rows[-1]).rstrip()
    found = [_LIBSVM_ROW.fullmatch(row) for row in rows if row]
    return all(found) and any(match and match[7] for match in found)
