"""CSV as people and tools write it: what is a number, text, missing, a header, refused."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from treeline.data import csv
from treeline.data.columns import Layout, resolve
from treeline.errors import DataError
from treeline.hyperparameters.config import DataOptions

MIB = 1 << 20


@dataclass(frozen=True)
class Bytes:
    """A source without a file; ``fifo`` as one that can be read once."""

    content: bytes
    name: str = "train/a.csv"
    fifo: bool = False

    def stream(self) -> BinaryIO:
        return io.BytesIO(self.content)


class Channel:
    """Reads the files of one channel, as the loader does."""

    def __init__(self, **options: Any) -> None:
        self.options = DataOptions(**options)
        self.reader = csv.Reader(self.options, 1)

    @property
    def notes(self) -> list[str]:
        return self.reader.notes

    def open(self, content: bytes, name: str = "train/a.csv", *, fifo: bool = False) -> Any:
        return self.reader.open(Bytes(content, name, fifo))  # type: ignore[arg-type]

    def batches(
        self,
        content: bytes,
        name: str = "train/a.csv",
        *,
        fifo: bool = False,
        **parts: Any,
    ) -> Iterator[pa.RecordBatch]:
        table = self.open(content, name, fifo=fifo)
        layout = resolve(self.options, table.names, table.width, name, csv=True)
        yield from table.batches(replace(layout, **parts))

    def columns(self, content: bytes, name: str = "train/a.csv", **more: Any) -> list[list[Any]]:
        """Return the columns' values; a float is a number, None is missing."""
        table = pa.Table.from_batches(self.batches(content, name, **more))
        return [_plain(column.to_pylist()) for column in table.columns]

    def rows(self, content: bytes, name: str = "train/a.csv", **more: Any) -> list[list[Any]]:
        return [list(row) for row in zip(*self.columns(content, name, **more), strict=True)]

    def refused(self, content: bytes, **more: Any) -> DataError:
        with pytest.raises(DataError) as caught:
            self.rows(content, **more)
        assert caught.value.cause.startswith("train/a.csv: ")
        assert "\n" not in caught.value.cause
        assert "Traceback" not in caught.value.cause
        return caught.value


def _plain(values: list[Any]) -> list[Any]:
    return [None if isinstance(v, float) and math.isnan(v) else v for v in values]


def arrays(content: bytes) -> list[NDArray[np.float32]]:
    return [
        np.stack([column.to_numpy(zero_copy_only=False) for column in batch.columns], axis=1)
        for batch in Channel().batches(content)
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"1,2\n3,4\n",
        b"1,2\n3,4",
        b"1,2\r\n3,4\r\n",
        b"1,2\r\n3,4",
        b"\xef\xbb\xbf1,2\n3,4\n",
        b"\xef\xbb\xbf1,2\r\n3,4\r\n",
        b"\n\n1,2\n\n\n3,4\n\n",
        b"\r\n1,2\r\n\r\n3,4\r\n",
        b'"1","2"\n"3",4\n',
        b" 1 , 2\n3,4 \n",
        b"1  ,   2\n3,\t4   \n",
        b"1.0,2e0\n0.3E1,+4\n",
        b"1,2.\n3.000000000000000000000000,40e-1\n",
    ],
)
def test_one_table_in_many_spellings(content: bytes) -> None:
    channel = Channel()
    assert channel.rows(content) == [[1, 2], [3, 4]]
    assert channel.notes == []


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"1\t2\n3\t4\n", "tabs"),
        (b"1;2\n3;4\n", "semicolons"),
        (b"1|2\r\n3|4", "pipes"),
        (b"1 2\n3 4\n", "blanks"),
        (b"  1   2  \n 3\t4 \n", "blanks"),
        (b"\xef\xbb\xbf1  2 \r\n3  4 \r\n", "blanks"),
        (b"\n1 2  \n\n3 4  ", "blanks"),
    ],
)
def test_delimiters_are_found_and_said(content: bytes, word: str) -> None:
    channel = Channel()
    assert channel.rows(content) == [[1, 2], [3, 4]]
    assert channel.notes == [f"train/a.csv: the fields are separated by {word}"]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", " "])
def test_a_delimiter_that_is_given_settles_it(delimiter: str) -> None:
    channel = Channel(csv_delimiter=delimiter, csv_header=False)
    content = f'1{delimiter}"a|b;c\td,e f"\n'.encode()
    assert channel.rows(content) == [[1, "a|b;c\td,e f"]]
    assert channel.notes == []


def test_a_delimiter_that_is_given_is_the_only_one() -> None:
    channel = Channel(csv_delimiter=";", csv_header=False)
    assert channel.rows(b"1|x;2|y\n") == [["1|x", "2|y"]]
    assert "one field" in Channel(csv_delimiter=";").refused(b"1,2\n3,4\n").cause


def test_long_blank_separated_files_keep_their_rows() -> None:
    table = np.arange(300_000).reshape(-1, 3)
    content = b"".join(b" %d   %d %d  \n" % tuple(row) for row in table.tolist())
    assert len(content) > 2 * MIB
    found = arrays(content)
    assert len(found) > 1
    assert np.array_equal(np.concatenate(found), table.astype(np.float32))


def test_the_first_file_settles_the_delimiter() -> None:
    channel = Channel()
    channel.rows(b"1;2\n3;4\n")
    assert channel.rows(b"5;6\n", "train/b.csv") == [[5, 6]]
    with pytest.raises(DataError, match="one field: '1,2'; in train/a") as caught:
        channel.rows(b"1,2\n", "train/b.csv")
    assert "separated by semicolons" in caught.value.cause
    assert len(channel.notes) == 1


@pytest.mark.parametrize("text", ["", '""', "-nan", "Nan", *csv.MISSING])
@pytest.mark.parametrize("around", ["{}", " {}", "{} ", " {} ", "   {}  ", "  \t{}"])
def test_missing_numbers(text: str, around: str) -> None:
    if text == '""' and around != "{}":
        return
    spelled = around.format(text)
    content = f"1,5,{spelled}\n2,{spelled},6\n3,4,5\n".encode()
    assert Channel().rows(content) == [[1, 5, None], [2, None, 6], [3, 4, 5]]


@pytest.mark.parametrize("text", ["", '""', *csv.MISSING, '"NA"', '"?"'])
@pytest.mark.parametrize("around", ["{}", " {}", "{} ", "    {}  "])
def test_missing_texts(text: str, around: str) -> None:
    if text.startswith('"') and around != "{}":
        return
    content = f"1,a\n2,{around.format(text)}\n".encode()
    assert Channel().rows(content) == [[1, "a"], [2, None]]


def test_missing_values_replaces_the_list() -> None:
    channel = Channel(missing_values=("-999", "none"))
    assert channel.rows(b"1,-999,NA\n2, -999,none\n3,,\n") == [
        [1, None, "NA"],
        [2, None, None],
        [3, None, None],
    ]
    assert Channel(missing_values=()).rows(b"1,?\n2,\n") == [[1, "?"], [2, None]]
    assert "'?'" in Channel(missing_values=()).refused(b"1,?\n2,3\n4,5\n").cause


def test_a_column_of_nothing_is_numbers() -> None:
    (batch,) = Channel().batches(b"1,,2\n3,,4\n")
    assert [str(column.type) for column in batch.columns] == ["float", "float", "float"]


def test_numbers_are_rounded_to_the_nearest_float32() -> None:
    values = [0.1, 1e-10, -123456.789, 16777217, 3.4e38, 1e-45, 0.0, -1 / 3]
    text = ",".join(repr(value) for value in values)
    assert Channel().rows(text.encode()) == [[float(np.float32(value)) for value in values]]


@pytest.mark.parametrize("text", ["inf", "-Infinity", "INF", "1e39", "-1e400"])
def test_what_is_too_large_arrives_as_infinite_for_the_matrix_to_refuse(text: str) -> None:
    assert math.isinf(Channel().rows(f"1,{text}\n".encode())[0][1])


def test_text_is_dictionaries_without_blanks() -> None:
    content = b'1, x ,"a,b"\n2,y,"say ""hi"""\n3,x,"two\nlines"\n4,  x,true\n5,?,FALSE\n'
    batches = [*Channel().batches(content)]
    assert batches[0].schema.types[1] == pa.dictionary(pa.int32(), pa.string())
    assert batches[0].column(1).dictionary.to_pylist() == ["x", "y"]
    assert batches[0].column(1).null_count == 1
    assert Channel().columns(content)[1:] == [
        ["x", "y", "x", "x", None],
        ["a,b", 'say "hi"', "two\nlines", "true", "FALSE"],
    ]


def test_quoted_line_ends_across_blocks() -> None:
    row = b'1,"' + b"a line\n" * 50 + b'"\n'
    assert len(row) * 5000 > MIB
    rows = Channel().rows(row * 5000)
    assert len(rows) == 5000
    assert {text for _, text in rows} == {"a line\n" * 50}


def test_columns_not_asked_for_may_hold_anything() -> None:
    content = b'1,\xff\xe9,2,2020-01-01\n2,5,3,"x\ny"\n'
    options: dict[str, Any] = {"ignore_columns": ("1", "3"), "csv_header": False}
    assert Channel(**options).rows(content) == [[1, 2], [2, 3]]
    (batch,) = Channel(**options).batches(content)
    assert batch.schema.names == ["f0", "f2"]


def test_the_layout_says_what_is_text_and_what_is_number() -> None:
    assert Channel().rows(b"1,2\n3,x\n", text=frozenset({1})) == [[1, "2"], [3, "x"]]
    assert Channel(categorical_columns=("1",)).rows(b"1,02\n3,x\n") == [[1, "02"], [3, "x"]]
    error = Channel().refused(b"1,2\n3,x\n", number=frozenset({1}))
    assert "row 2, column 1: text 'x' where numbers stand" in error.cause
    assert (
        "row 1, column 1: text 'x'" in Channel(weight_column="1").refused(b"1,x,5\n2,y,6\n").cause
    )


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"label,age,sex\n1,2,3\n4,5,6\n", ["label", "age", "sex"]),
        (b'"y","x 1","x,2"\r\n1,2,3\r\n4,5,6\r\n', ["y", "x 1", "x,2"]),
        (b"\xef\xbb\xbfy, a ,b\n1,2,3\n4,5,6\n", ["y", "a", "b"]),
        (b'\n\ny,"two\nlines",b\n1,2,3\n4,5,6', ["y", "two\nlines", "b"]),
        (b"y a  b \n1 2 3\n4 5 6\n", ["y", "a", "b"]),
        ("y,größe,b\n1,2,3\n4,5,6\n".encode(), ["y", "größe", "b"]),
    ],
)
@pytest.mark.parametrize("settled", [None, True])
def test_header(content: bytes, names: list[str], settled: bool | None) -> None:
    channel = Channel(csv_header=settled)
    assert list(channel.open(content).names) == names
    channel = Channel(csv_header=settled)
    assert channel.rows(content) == [[1, 2, 3], [4, 5, 6]]
    said = [note for note in channel.notes if "header" in note]
    assert bool(said) == (settled is None)
    if said:
        assert said[0].startswith("train/a.csv: the first row is taken for a header: ")
        assert repr(names[0]) in said[0]


def test_batches_carry_the_names() -> None:
    (batch,) = Channel(label_column="y").batches(b"x,y\n1,2\n")
    assert batch.schema.names == ["x", "y"]


def test_an_index_of_pandas_is_a_header_with_an_empty_name() -> None:
    assert Channel().open(b",y,x\n0,1,2\n1,3,4\n").names == ("", "y", "x")


def test_text_below_the_header_stays_data() -> None:
    assert Channel().open(b"M,0.5\nF,0.6\n").names is None
    assert Channel(label_column="1").rows(b"M,0.5\nF,0.6\n") == [
        ["M", 0.5],
        ["F", float(np.float32(0.6))],
    ]


def test_no_header_where_the_job_says_so() -> None:
    channel = Channel(csv_header=False)
    assert channel.rows(b"y,x\na,b\n") == [["y", "x"], ["a", "b"]]
    assert channel.notes == []
    assert "'y' in row 1" in Channel(csv_header=False).refused(b"y,x\n1,2\n").cause


def test_a_header_of_numbers_where_the_job_says_so() -> None:
    channel = Channel(csv_header=True)
    assert channel.rows(b"0,1,2,3\n4,5,6,7\n") == [[4, 5, 6, 7]]


@pytest.mark.parametrize(
    "content",
    [
        b"0,1,2,3\n4,5,6,7\n",
        b"id,2019,2020\n1,2,3\n",
        b"a,b\nc,d\n",
        b"unknown,M\n5,M\n6,F\n",
        b"male,1\n",
    ],
)
def test_a_first_row_that_can_be_both_is_refused_with_both_readings(content: bytes) -> None:
    error = Channel().refused(content)
    first = content.split(b"\n")[0].decode()
    assert "can be a header or data" in error.cause
    assert f"names the columns {first.split(',')[0]!r}, " in error.cause
    assert f"as data it is the row {first!r}" in error.cause
    assert "csv_header=true" in error.remedy
    assert "csv_header=false" in error.remedy
    if content.count(b"\n") > 1:
        assert repr(content.split(b"\n")[1].decode()) in error.cause


def test_a_name_that_the_job_uses_makes_it_a_header() -> None:
    assert Channel(label_column="2019").open(b"0,2019\n1,2\n").names is None
    assert Channel(label_column="id").open(b"id,2019\n1,2\n").names == ("id", "2019")
    assert Channel(ignore_columns=("b",)).open(b"a,b\nc,d\n").names == ("a", "b")


@pytest.mark.parametrize("content", [b"y,x\n", b"y,x", b"\n\ny,x\n\n"])
@pytest.mark.parametrize("settled", [None, True])
def test_a_header_without_rows_is_no_row(content: bytes, settled: bool | None) -> None:
    # Spark writes a part without rows like this, and it can be the first one.
    channel = Channel(csv_header=settled)
    table = channel.open(content)
    assert table.names == ("y", "x")
    layout = Layout(("y", "x"), 2, features=(1,), number=frozenset({0, 1}))
    assert list(table.batches(layout)) == []
    following = channel.open(b"y,x\n1,2\n")
    assert following.names == ("y", "x")
    assert [batch.num_rows for batch in following.batches(layout)] == [1]
    assert any("1 file(s) have a header and no row" in note for note in channel.reader.notes)


def test_further_files_with_the_header_or_without() -> None:
    channel = Channel()
    head, layout = b"y,x\n", Layout(("y", "x"), 2, features=(1,), number=frozenset({0, 1}))
    for i, (content, names, rows) in enumerate(
        [
            (head + b"1,2\n", ("y", "x"), 1),
            (head + b"3,4\n", ("y", "x"), 1),
            (b"5,6\n7,8\n", None, 2),
            (b"x,y\n9,10\n", ("x", "y"), 1),
            (b"11,12\n", None, 1),
        ]
    ):
        table = channel.open(content, f"train/{i}.csv")
        assert table.names == names
        assert sum(batch.num_rows for batch in table.batches(layout)) == rows
    assert channel.notes == [
        "train/0.csv: the first row is taken for a header: 'y', 'x'",
        "2 file(s) have no header and are read by position (first in train/2.csv)",
    ]


def test_further_files_of_text_follow_the_first() -> None:
    channel = Channel()
    assert channel.open(b"sex,n\nM,1\nF,2\n").names == ("sex", "n")
    assert channel.open(b"M,1\n", "train/b.csv").names is None
    assert channel.open(b"n,sex\n1,M\n", "train/c.csv").names == ("n", "sex")
    channel = Channel()
    assert channel.open(b"M,1\nF,2\n").names is None
    assert channel.open(b"M,1\n", "train/b.csv").names is None
    assert channel.open(b"sex,n\nM,1\n", "train/c.csv").names == ("sex", "n")
    assert "1 file(s) have a header that the first file has not" in channel.notes[0]


def test_headers_in_the_middle_of_a_fifo_are_left_out() -> None:
    part = b"y,x\r\n" + b"1,2\r\n3,4\r\n" * 20_000
    content = part * 8 + b"\xef\xbb\xbf" + part + b"y,x\r\n"
    assert len(content) > MIB
    channel = Channel()
    assert len(channel.rows(content, fifo=True)) == 9 * 40_000
    assert channel.notes[1:] == ["9 repeated header line(s) left out (first in train/a.csv)"]


def test_headers_in_the_middle_of_a_file_are_refused() -> None:
    error = Channel().refused(b"y,x\n1,2\n3,4\ny,x\n5,6\n")
    assert "the header occurs again, as row 3" in error.cause
    error = Channel().refused(b"y,x\n" + b"1,2\n" * 50_000 + b"y,x\n5,6\n")
    assert "the header occurs again, as row 50001" in error.cause


def test_a_file_of_several_blocks_comes_in_several_batches() -> None:
    table = np.arange(600_000, dtype=np.float32).reshape(-1, 3)
    content = b"".join(b"%d,%d,%d\n" % tuple(row) for row in table.tolist())
    assert len(content) > 3 * MIB
    found = arrays(content)
    assert len(found) > 3
    assert np.array_equal(np.concatenate(found), table)


def test_blank_lines_longer_than_a_block() -> None:
    gap = b"\n" * (MIB + 1)
    assert Channel().rows(gap + b"1,2\n" + gap + b"3,4\n" + gap) == [[1, 2], [3, 4]]


@pytest.mark.parametrize("header", [b"", b",".join(b"name%d" % i for i in range(10_000)) + b"\n"])
def test_a_row_wider_than_a_block(header: bytes) -> None:
    width = 10_000
    row = b",".join([b"0.12345678" + b"0" * 100] * width)
    assert len(row) > MIB
    found = np.concatenate(arrays(header + row + b"\n" + row))
    assert found.shape == (2, width)
    assert (found == np.float32(0.12345678)).all()


def test_a_first_row_much_shorter_than_the_others() -> None:
    width = 2_000
    short = b",".join([b"0"] * width)
    long = b",".join([b"-1.2345678901234567" + b"0" * 1000 + b"e-10"] * width)
    assert 4 * len(short) < MIB < len(long) / 1.9
    found = np.concatenate(arrays(short + b"\n" + long))
    assert found.shape == (2, width)
    assert (found[1] == np.float32(-1.2345678901234567e-10)).all()


def test_blocks_have_room_for_rows_in_full_precision() -> None:
    width = 80_000
    row = b",".join([b"0"] * width) + b"\n"
    assert 4 * len(row) < MIB
    assert Channel().open(row * 9)._block > width * len(b"-1.234567890123456700e-10,")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"1,5\n2,x\n", "column 1 holds numbers and text: '5' in row 1, 'x' in row 2"),
        (b"1,5\n2,1_0\n", "column 1 holds numbers and text: '5' in row 1, '1_0' in row 2"),
        (b"y,a\n1,5\n2,male\n", "column 1 'a' holds numbers and text: '5' in row 1, 'male' in row"),
        (b"1,2\n" * 300_000 + b"3,far\n", "row 300001, column 1: text 'far' where numbers stand"),
        (b"y,a\n" + b"1,2\n" * 300_000 + b"3,far\n", "row 300001, column 1 'a': text 'far' where"),
        (b"1,  2\n" * 300_000 + b"3,far\n", "row 300001, column 1: text 'far' where numbers stand"),
        (
            b"1,x\n" * 300_000 + b"3,7\n",
            "column 1 holds text in the rows before and the number '7'",
        ),
        (b"1,x\n" * 300_000 + b"3,7\n", "in row 300001"),
        (b"1,2\n" * 300_000 + b"3,  NA\n", "a missing value with blanks around it, 'NA'"),
    ],
)
def test_text_among_numbers_is_refused_with_its_place(content: bytes, shown: str) -> None:
    error = Channel().refused(content)
    assert shown in error.cause
    assert "categorical_columns" in error.remedy


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("2020-01-01", "dates or times"),
        ("2020-01-01 10:00:00", "dates or times"),
        ("12%", "numbers written"),
        ("$5", "numbers written"),
        ('"1,000"', "numbers written"),
        ("1_000", "numbers written"),
        ("0x1F", "numbers written"),
    ],
)
def test_text_that_is_hardly_meant_as_categories_is_refused(text: str, what: str) -> None:
    content = f"y,a\n1,{text}\n2,{text}\n3,\n".encode()
    error = Channel().refused(content)
    assert f"column 1 'a' holds {what}" in error.cause
    assert text.strip('"') in error.cause
    assert "categorical_columns" in error.remedy
    rows = Channel(categorical_columns=("a",)).rows(content)
    assert rows[0] == [1, text.strip('"')]


@pytest.mark.parametrize(
    ("content", "shown", "advice"),
    [
        (b"1,2,3\n4,5\n", "row 2 has 2 fields, expected are 3", "3 fields"),
        (b"1,2,3\n4,5,6\n7,8,9,10\n", "row 3 has 4 fields, expected are 3", "3 fields"),
        (b"y,a,b\n1,2,3\n4,5,6\n7,8\n", "row 3 has 2 fields, expected are 3", "3 fields"),
        (b"1,2\n" * 600_000 + b"7\n", "row 600001 has 1 fields, expected are 2", "2 fields"),
        (b"1,2\n3,4,\n5,6\n", "row 2 has 3 fields, with a delimiter at the end", "Remove"),
        (b"y,x\n1,2,\n3,4,\n", "rows after it have 3, with a delimiter at the end", "Remove"),
        (b"y,x\n1,5,2\n2,3,4\n", "first row has 2 fields, 'y', 'x', and the rows", "row.names"),
        (
            b'1,"2,5"\n4,5,6\n',
            "the first row has 2 fields, '1', '2,5', and the rows",
            "as the first",
        ),
        (b"1,2\n   \n3,4\n", "row 2 has 1 fields", "2 fields"),
    ],
)
def test_ragged_rows_are_refused_with_their_place(content: bytes, shown: str, advice: str) -> None:
    error = Channel().refused(content)
    assert shown in error.cause
    assert advice in error.remedy


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"1\n2\n", "the first row has one field: '1'"),
        (b"   \n", "has one field: ''"),
        (b"1 1:0.5\n", "as in libsvm"),
        (b"1,5;2,5\n", "decimal comma"),
        (b"a,b|c\nd,e|f\n", "can be read in 2 ways"),
        (b'1, "a,b"\n2, "c,d"\n', "a blank stands before a quote"),
        (b"1,a\n" * 30_000 + b'2,b \n3,  "c"\n', "near"),
        (b"1,2\r3,4\r", "carriage return"),
        (b"\xff\xfe1\x00,\x002\x00\n\x00", "is no text in UTF-8"),
        (b"1,2\n3,\x00\n", "is no text in UTF-8"),
        (b"1,a\n2,\xe9\n", "row 2, column 1, is not in UTF-8"),
        (b"y,\xe9\n1,2\n", "the header, name '\\udce9', is not in UTF-8"),
        (b'1,2\n3,"4\n5,6\n', "is a quote not closed?"),
        (b'1,a\n3,"b\n5,c\n', "is not closed"),
        (b"1,a\n" * 600_000 + b'3,"b\n5,c\n', "is not closed"),
        (b'1,a\n3,"b\n' + b"5,c\n" * 900_000, "longer than 1 MiB"),
        (b"1,a\n" * 300_000 + b"1," + b"x" * 3 * MIB + b"\n", "longer than 1 MiB"),
        (b"", "has no row"),
        (b"\n", "has no row"),
        (b"\r\n\r\n", "has no row"),
        (b"\xef\xbb\xbf", "has no row"),
        (b"\xef\xbb\xbf\n\n", "has no row"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, shown: str) -> None:
    if shown == "near":
        error = Channel().refused(content)
        assert "row 30002, column 1: a blank stands before a quote" in error.cause
    else:
        assert shown in Channel().refused(content).cause


def test_an_unclosed_quote_is_seen_in_a_column_that_is_not_read() -> None:
    error = Channel(ignore_columns=("2",)).refused(b'1,2,a\n3,4,"b\n5,6,c\n')
    assert "row 2" in error.cause
    assert "is not closed" in error.cause


@pytest.mark.parametrize("text", [b'5" pipe', b'"say ""x"""', b'"a,"', b'"a\nb"', b'a"b"c"'])
def test_quotes_at_the_end_that_are_closed(text: bytes) -> None:
    assert len(Channel().rows(b"1,a\n2," + text + b"\n")) == 2
    assert len(Channel().rows(b"1,a\n2," + text)) == 2


def test_a_row_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "LONGEST_READ", 1000)
    monkeypatch.setattr(csv, "_SAMPLE", 100)
    assert "longer than" in Channel().refused(b"1," * 6000).cause


def test_compressed_bytes_are_refused() -> None:
    import gzip

    Channel().refused(gzip.compress(b"1,2\n3,4\n", mtime=0))


def test_a_file_that_is_gone_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class File:
        path: Path
        name: str

        def stream(self) -> BinaryIO:
            return self.path.open("rb")

    reader = csv.Reader(DataOptions(), 1)
    with pytest.raises(DataError) as caught:
        reader.open(File(tmp_path / "gone.csv", "train/gone.csv"))  # type: ignore[arg-type]
    assert caught.value.cause == "train/gone.csv: cannot be read: No such file or directory"
    with pytest.raises(DataError, match="train/folder: cannot be read: Is a directory"):
        reader.open(File(tmp_path, "train/folder"))  # type: ignore[arg-type]


class _Broken(io.BytesIO):
    """Gives out little at a time, like a FIFO, and fails at the end."""

    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(min(size or 0, 7000)):
            return data
        raise DataError("train/a.csv: the stream ends early", "Upload it again.")


def test_what_the_stream_raises_passes_through_and_the_stream_is_closed() -> None:
    stream = _Broken(b"1,2\n" * 400_000)

    class Source(Bytes):
        def stream(self) -> BinaryIO:
            raise AssertionError

        def text_stream(self) -> BinaryIO:
            return stream

    table = csv.Reader(DataOptions(), 1).open(Source(b""))  # type: ignore[arg-type]
    layout = Layout(None, 2, features=(1,))
    with pytest.raises(DataError, match="the stream ends early") as caught:
        list(table.batches(layout))
    assert caught.value.remedy == "Upload it again."
    assert stream.closed


def test_the_stream_is_closed_when_opening_fails() -> None:
    stream = io.BytesIO(b"1\n2\n")

    class Source(Bytes):
        def stream(self) -> BinaryIO:
            return stream

    with pytest.raises(DataError):
        csv.Reader(DataOptions(), 1).open(Source(b""))  # type: ignore[arg-type]
    assert stream.closed
