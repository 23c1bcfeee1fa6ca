"""Which format a channel is in, by its content type or by its first bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from treeline.data import csv, parquet
from treeline.data.formats import FORMATS, by_content_type, by_first_bytes
from treeline.errors import ChannelError


def test_the_formats_and_their_readers() -> None:
    assert {name: format_.reader for name, format_ in FORMATS.items()} == {
        "csv": csv.read,
        "parquet": parquet.read,
    }
    assert [format_.has_names for format_ in FORMATS.values()] == [False, True]
    assert [format_.name for format_ in FORMATS.values()] == list(FORMATS)


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("text/csv", "csv"),
        ("csv", "csv"),
        ("CSV", "csv"),
        (" Text/CSV ", "csv"),
        ("text/csv; label_size=1", "csv"),
        ("text/csv;label_size=1;charset=UTF-8", "csv"),
        ('text/csv; charset="utf8"', "csv"),
        ("text/csv; charset=us-ascii;", "csv"),
        ("text/csv; unknown=5", "csv"),
        ("application/x-parquet", "parquet"),
        ("parquet", "parquet"),
        ("application/vnd.apache.parquet", "parquet"),
    ],
)
def test_content_types(content_type: str, name: str) -> None:
    assert by_content_type("train", content_type) is FORMATS[name]


@pytest.mark.parametrize(
    "content_type",
    ["text/libsvm", "application/x-recordio-protobuf", "application/json", "text", "", ";csv"],
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
    ("parameter", "allowed"),
    [
        ("label_size=0", "label_size=1"),
        ("label_size=2", "label_size=1"),
        ("label_size", "label_size=1"),
        ("charset=latin-1", "charset=utf-8"),
        ("charset=utf-16", "charset=utf-8"),
    ],
)
def test_parameters_that_mean_something_else_are_refused(parameter: str, allowed: str) -> None:
    with pytest.raises(ChannelError) as caught:
        by_content_type("train", f"text/csv; {parameter}")
    assert parameter.partition("=")[0] + "=" in caught.value.cause
    assert allowed in caught.value.cause


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"PAR1\x15\x04", "parquet"), (b"1,2\n", "csv"), (b"a,b,c", "csv"), (b"," * 5000, "csv")],
)
def test_first_bytes(tmp_path: Path, head: bytes, name: str) -> None:
    (tmp_path / "data").write_bytes(head)
    assert by_first_bytes("train", tmp_path / "data") is FORMATS[name]


@pytest.mark.parametrize(
    "head", [b"1 1:0.5 2:3\n", b"1\n2\n", b"\x1f\x8b\x08,", b"1,2\0,3\n", b"1;2\n1,2\n", b"\0,"]
)
def test_first_bytes_of_something_else_are_shown(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "part-0").write_bytes(head)
    if head.startswith(b"\x1f"):
        (tmp_path / "part-0").write_bytes(head + bytes(10))
        head += bytes(10)
    with pytest.raises(ChannelError) as caught:
        by_first_bytes("train", tmp_path / "part-0")
    assert caught.value.cause.startswith(
        "Channel 'train' has no content type and 'part-0' is neither"
    )
    assert repr(head) in caught.value.cause
    assert "text/csv" in caught.value.remedy


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match=f"{tmp_path}/gone cannot be read: No such file"):
        by_first_bytes("train", tmp_path / "gone")
