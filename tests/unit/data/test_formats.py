"""Which format a channel is in, by its content type or by its first bytes."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from treeline.data.formats import (
    FORMATS,
    Foreign,
    Format,
    by_content_type,
    by_first_bytes,
    check_bytes,
    recognise,
)
from treeline.data.source import Source
from treeline.errors import ChannelError


def put(tmp_path: Path, data: bytes, name: str = "part-0") -> Source:
    (tmp_path / name).write_bytes(data)
    return Source(tmp_path / name, f"train/{name}")


def test_the_formats_and_their_readers() -> None:
    assert {name: format_.module for name, format_ in FORMATS.items()} == {
        "csv": "treeline.data.csv",
        "parquet": "treeline.data.parquet",
        "arrow": "treeline.data.arrow",
        "libsvm": "treeline.data.libsvm",
        "recordio-protobuf": "treeline.data.recordio",
        "npz": "treeline.data.npz",
    }
    assert [name for name, format_ in FORMATS.items() if format_.has_columns] == [
        "csv", "parquet", "arrow",
    ]  # fmt: skip
    assert [format_.name for format_ in FORMATS.values()] == list(FORMATS)
    types = [each for format_ in FORMATS.values() for each in format_.content_types]
    assert len(types) == len(set(types))


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("text/csv", "csv"),
        ("csv", "csv"),
        ("CSV", "csv"),
        ("application/csv", "csv"),
        ("text/tab-separated-values", "csv"),
        ("tsv", "csv"),
        (" Text/CSV ", "csv"),
        ("text/csv; label_size=1", "csv"),
        ("text/csv;label_size=1;charset=UTF-8", "csv"),
        ('text/csv; charset="utf8"', "csv"),
        ("text/csv; charset=us-ascii;", "csv"),
        ("text/csv; unknown=5", "csv"),
        ("application/x-parquet", "parquet"),
        ("parquet", "parquet"),
        ("application/vnd.apache.parquet", "parquet"),
        ("application/vnd.apache.arrow.file", "arrow"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("application/x-feather", "arrow"),
        ("text/libsvm", "libsvm"),
        ("text/x-libsvm;charset=utf-8", "libsvm"),
        ("libsvm", "libsvm"),
        ("application/x-recordio-protobuf", "recordio-protobuf"),
        ("recordio-protobuf", "recordio-protobuf"),
        ("application/x-npz", "npz"),
    ],
)
def test_content_types(content_type: str, name: str) -> None:
    assert by_content_type("train", content_type) is FORMATS[name]


@pytest.mark.parametrize(
    "content_type", ["application/x-recordio", "application/json", "text", "", ";csv"]
)
def test_other_content_types_are_refused_with_those_that_are_known(content_type: str) -> None:
    with pytest.raises(ChannelError) as caught:
        by_content_type("validation", content_type)
    assert f"Channel 'validation': content type {content_type!r}" in caught.value.cause
    for format_ in FORMATS.values():
        for known in format_.content_types:
            assert known in caught.value.cause
    assert "ContentType" in caught.value.remedy


@pytest.mark.parametrize(
    ("parameter", "allowed", "why"),
    [
        ("label_size=0", "label_size=1", "for predicting"),
        ("LABEL_SIZE = 0", "label_size=1", "for predicting"),
        ("label_size=2", "label_size=1", "exactly one"),
        ("label_size", "label_size=1", "exactly one"),
        ("charset=latin-1", "charset=utf-8", "UTF-8"),
        ("charset=utf-16", "charset=utf-8", "UTF-8"),
    ],
)
def test_parameters_that_mean_something_else_are_refused(
    parameter: str, allowed: str, why: str
) -> None:
    with pytest.raises(ChannelError) as caught:
        by_content_type("train", f"text/csv; {parameter}")
    assert parameter.partition("=")[0].strip().lower() + "=" in caught.value.cause
    assert allowed in caught.value.cause
    assert why in caught.value.remedy


def arrow(stream: bool, columns: int = 1) -> bytes:
    batch = pa.record_batch({f"column {i}": pa.array([1.0]) for i in range(columns)})
    sink = io.BytesIO()
    make = ipc.new_stream if stream else ipc.new_file
    with make(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def parquet_file() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"a": [1]}), sink)
    return sink.getvalue()


def npz(compressed: bool, **arrays: object) -> bytes:
    sink = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(sink, **arrays)  # type: ignore[arg-type]
    return sink.getvalue()


def zipped(*names: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name in names:
            archive.writestr(name, "x.npy")
    return sink.getvalue()


KNOWN: list[tuple[bytes, str]] = [
    (parquet_file(), "parquet"),
    (b"PAR1\x15\x04", "parquet"),
    (arrow(stream=False), "arrow"),
    (arrow(stream=True), "arrow"),
    (arrow(stream=True, columns=3000), "arrow"),
    (npz(False, X=np.ones(3)), "npz"),
    (npz(True, a_longer_name=np.ones(3), y=np.ones(3)), "npz"),
    (struct.pack("<II", 0xCED7230A, 100) + bytes(100), "recordio-protobuf"),
    (b"1,2\n", "csv"),
    (b"a,b,c", "csv"),
    (b"," * 5000, "csv"),
    (b"1;2\n1,2\n", "csv"),
    (b"1\t2\n", "csv"),
    (b"1|2\n", "csv"),
    (b"1 2 3\n", "csv"),
    (b"\n\r\n1,2\r\n", "csv"),
    (b"#id,a\n1,2\n", "csv"),
    (b"a#b,c\n", "csv"),
    (b"\xef\xbb\xbfa,b\n", "csv"),
    (b"caf\xe9,b\n", "csv"),
    (b"PAR1,PAR2\n1,2\n", "csv"),
    (b"ORCID,FEA1\n", "csv"),
    (b"<=50K,1\n", "csv"),
    (b"1 12:30:45\n", "csv"),
    (b"1 1:0.5\n1,2\n", "csv"),
    (b"1 1:0.5\n1 2 3\n1 2:3\n", "csv"),
    (b"1 1:0.5 2:3\n", "libsvm"),
    (b"1 1:0.5", "libsvm"),
    (b"-1e-3:0.5 qid:7 0:nan 4:-1.5E+3\n", "libsvm"),
    (b"+1\t1:2\t3:4\r\n.5\t1:2\r\n", "libsvm"),
    (b"# made by x, y\n\n1 1:2 # a, b\n0 2:3\n", "libsvm"),
    (b"1\n0\n1 3:2\n", "libsvm"),
    (b"1 1:2\n" * 682 + b"1.5e", "libsvm"),
    (b"1 1:2\n" * 682 + b"1.5e-", "libsvm"),  # 4,097 bytes, so a head ends within a word
    (b"\xef\xbb\xbf" + b"1 1:2\n" * 682 + b"1e-3", "libsvm"),
    (b"1 2 3\n1 1:2", "csv"),
    (b"1 " + b"".join(b"%d:1 " % i for i in range(2000))[:4094], "libsvm"),
]


@pytest.mark.parametrize(("data", "name"), KNOWN)
def test_what_the_first_bytes_show(tmp_path: Path, data: bytes, name: str) -> None:
    source = put(tmp_path, data)
    assert by_first_bytes("train", source) is FORMATS[name]
    check_bytes(FORMATS[name], source)
    with source.stream() as stream:  # nothing is lost by looking
        assert stream.read() == data
    assert by_first_bytes("train", put(tmp_path, gzip.compress(data))) is FORMATS[name]


FOREIGN: list[tuple[bytes, str, str]] = [
    (b"FEA1" + bytes(8), "Feather V1", "Parquet"),
    (b"PARE\x15\x04", "an encrypted Parquet file", "without encryption"),
    (b"ORC\n\x06\x12\x04", "ORC", "Parquet"),
    (b"Obj\x01\x04", "Avro", "Parquet"),
    (b'{"a": 1}\n{"a": 2}\n', "JSON", "Parquet"),
    (b' [\n {"a": 1}]', "JSON", "Parquet"),
    (b"[[1,2],[3,4]]", "JSON", "Parquet"),
    (b'{"learner":{"attributes":{},', "an XGBoost model", "model"),
    (b"{L" + bytes(7) + b"\x07learner{L", "an XGBoost model", "model"),
    (b"\x01\xab\xff\xffvers", "XGBoost's binary DMatrix", "made from"),
    (zipped("[Content_Types].xml"), "Excel", "CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "Excel (xls)", "CSV"),
    (zipped("a.csv", "b.npy"), "a zip archive", "Unpack"),
    (zipped("a.npy.txt"), "a zip archive", "Unpack"),
    (zipped(), "a zip archive", "Unpack"),
    (b"\x93NUMPY\x01\x00v", "a NumPy array (npy)", "savez"),
    (pickle.dumps([1]), "a Python pickle", "never loaded"),
    (pickle.dumps([1], 2), "a Python pickle", "never loaded"),
    (b"\x89HDF\r\n\x1a\n\0", "HDF5", "CSV"),
    (b"SQLite format 3\0", "an SQLite database", "CSV"),
    (gzip.compress(b"1,2\n"), "compressed twice", "once"),
    (b"\xfd7zXZ\0\0", "compressed with xz", "gzip"),
    (b"\x04\x22\x4d\x18d", "compressed with LZ4", "gzip"),
    (b"a.csv" + bytes(252) + b"ustar\x0000", "a tar archive", "Unpack"),
    ("1,2\n".encode("utf-16"), "UTF-16 text", "UTF-8"),
    (b"\xfe\xff" + "1,2\n".encode("utf-16-be"), "UTF-16 text", "UTF-8"),
    ("1,2\n".encode("utf-32"), "UTF-32 text", "UTF-8"),
    (b'<?xml version="1.0"?>\n<Error>, </Error>', "XML or HTML", "error page"),
    (b"<!DOCTYPE html>\n", "XML or HTML", "error page"),
]


@pytest.mark.parametrize(("data", "what", "advice"), FOREIGN)
@pytest.mark.parametrize("declared", [None, "csv", "parquet"])
def test_what_is_known_and_not_read_is_refused_by_its_name(
    tmp_path: Path, data: bytes, what: str, advice: str, declared: str | None
) -> None:
    found = recognise(data[:4096])
    assert isinstance(found, Foreign)
    # As the content of a compressed file, because gzip within gzip is what "twice" means.
    source = put(tmp_path, gzip.compress(data))
    with pytest.raises(ChannelError) as caught:
        check_bytes(FORMATS[declared], source) if declared else by_first_bytes("train", source)
    this = "train/part-0: the channel is read as {}, but this file is {}"
    assert caught.value.cause == (
        f"Channel 'train': train/part-0 is {what}"
        if declared is None
        else this.format(declared, what)
    )
    assert advice in caught.value.remedy
    source.close()


@pytest.mark.parametrize(
    "head", [b"1\n2\n", b"1,2\0,3\n", b"\0,", b"1\x012\x013\n", b"\xff\xff\xff\xff\0\0\0\0", b""]
)
def test_first_bytes_of_something_else_are_shown(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(ChannelError) as caught:
        by_first_bytes("train", put(tmp_path, head))
    assert caught.value.cause.startswith(
        "Channel 'train' has no content type and train/part-0 is nothing that is known"
    )
    assert repr(head) in caught.value.cause
    assert "text/csv" in caught.value.remedy


@pytest.mark.parametrize(
    ("declared", "data", "found", "content_type"),
    [
        ("csv", parquet_file(), "parquet", "application/x-parquet"),
        ("csv", b"1 1:0.5\n0 2:3\n", "libsvm", "text/libsvm"),
        ("csv", arrow(stream=True), "arrow", "application/vnd.apache.arrow.file"),
        ("libsvm", b"1,2,3\n", "csv", "text/csv"),
        ("libsvm", b"1\t2\t3\n", "csv", "text/csv"),
        ("libsvm", parquet_file(), "parquet", "application/x-parquet"),
        ("parquet", b"1,2,3\n", "csv", "text/csv"),
        ("parquet", arrow(stream=False), "arrow", "application/vnd.apache.arrow.file"),
        ("npz", b"1,2,3\n", "csv", "text/csv"),
        ("recordio-protobuf", b"1 1:2\n", "libsvm", "text/libsvm"),
    ],
)
def test_a_file_of_another_format_than_the_channel_is_refused(
    tmp_path: Path, declared: str, data: bytes, found: str, content_type: str
) -> None:
    source = put(tmp_path, data)
    with pytest.raises(ChannelError) as caught:
        check_bytes(FORMATS[declared], source)
    assert caught.value.cause == (
        f"train/part-0: the channel is read as {declared}, but this file is {found}"
    )
    assert f"ContentType to {content_type}," in caught.value.remedy
    source.close()


@pytest.mark.parametrize("declared", ["csv", "libsvm"])
@pytest.mark.parametrize("data", [b"1,2\0\n", b"\x07\x01\x02"])
def test_text_with_bytes_that_are_no_text(tmp_path: Path, declared: str, data: bytes) -> None:
    source = put(tmp_path, data)
    with pytest.raises(ChannelError) as caught:
        check_bytes(FORMATS[declared], source)
    assert f"this file is binary; it begins with {data!r}" in caught.value.cause
    source.close()


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        ("csv", b"1\n2\n"),
        ("csv", b"caf\xe9\n"),
        ("csv", b""),
        ("csv", b"1,2\n\x1a"),
        ("libsvm", b"1\n0\n"),
        ("libsvm", b"1,2 1:0.5\n"),
        ("libsvm", b"1 2 3\n"),
        ("libsvm", b"yes 1:3\n"),
        ("libsvm", b""),
        ("parquet", b"\x01\x02\x03"),
        ("parquet", b""),
        ("recordio-protobuf", b"\x0a\x23\xd7\x00"),
    ],
)
def test_what_is_not_recognised_is_left_to_the_reader(
    tmp_path: Path, declared: str, data: bytes
) -> None:
    source = put(tmp_path, data)
    check_bytes(FORMATS[declared], source)
    source.close()


def test_every_format_is_recognised_somewhere_here() -> None:
    assert {name for _, name in KNOWN} == set(FORMATS)
    assert all(isinstance(recognise(data[:4096]), Format) for data, _ in KNOWN)
