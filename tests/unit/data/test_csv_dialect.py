"""What separates the fields, and whether the first row is names."""

from __future__ import annotations

import pytest

from treeline.data import csv_dialect as dialect
from treeline.errors import DataError

MISSING = frozenset(("", "NA", "?"))


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("1,2\n3,4\n", ","),
        ("1,2", ","),
        ("1\t2\n3\t4\n", "\t"),
        ("1;2\r\n3;4\r\n", ";"),
        ("1|2\n3|4\n", "|"),
        ("1 2\n3 4\n", " "),
        ("  1   2 \n 3\t 4  \n", " "),
        ("39, State-gov, 77516\n50, Private, 83311\n", ","),
        ("a,b\nx y,1\nz w,2\n", ","),
        ("1\tNew York\n2\tLos Angeles\n", "\t"),
        ('"a;b",1\n"c;d",2\n', ","),
        ('"a,b";1\n"c,d";2\n', ";"),
        ('"say ""a;b""",1\n"c;d",2\n', ","),
        ('"a\nb;c",1\n"d\ne;f",2\n', ","),
        ('5" x;y,1\n6" z,2\n', ","),
        ("\n\n1;2\n\n3;4\n", ";"),
        ("1,2,3\n4,5\n6,7,8\n", ","),  # ragged: the reader says where
        ("a;b,1\nc,2\nd,3\n", ","),
        ("x\ny\n", ","),
        ("", ","),
    ],
)
def test_delimiter(text: str, delimiter: str) -> None:
    assert dialect.find_delimiter(text, "f", complete=True) == delimiter


def test_the_last_line_of_a_part_does_not_count() -> None:
    assert dialect.find_delimiter("1;2,x\n3;4\n5,6,7", "f", complete=False) == ";"
    assert dialect.find_delimiter('1;2\n3;4\n"5,6\n7,8\n9,0\n1,2', "f", complete=False) == ";"


def test_two_delimiters_that_both_give_a_table_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        dialect.find_delimiter("a|b,c\nd|e,f\n", "f", complete=True)
    assert "2 fields separated by commas, or 2 fields separated by pipes" in caught.value.cause
    assert "'a|b,c'" in caught.value.cause
    assert "csv_delimiter" in caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "1,5;2,5\n3,5;4,5\n",
        "1;2,5\n3;4\n",
        "y;x\n1;2,5\n",
        "1,5 2,5\n3,5 4,5\n",
        "1,5\t-2,5\n3,5\t4\n",
    ],
)
def test_a_decimal_comma_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="decimal comma") as caught:
        dialect.find_delimiter(text, "f", complete=True)
    assert "decimal point" in caught.value.remedy


def test_libsvm_is_not_taken_for_blanks() -> None:
    with pytest.raises(DataError, match="as in libsvm") as caught:
        dialect.find_delimiter("1 1:0.5 2:3\n0 1:2 2:4\n", "f", complete=True)
    assert "text/libsvm" in caught.value.remedy


@pytest.mark.parametrize(
    ("first", "rest", "header"),
    [
        ("y,x", ["1,2", "3,4"], True),
        ("y,x", ["1,a", "3,b"], True),
        (",y,x", ["0,1,2", "1,3,4"], True),
        ("y,x", ["1,", ",2"], True),
        ("1,2", ["3,4"], False),
        ("M,0.5", ["F,0.6", "I,0.7"], False),
        ("M,?", ["F,0.6", "M,0.7"], False),
        ("p,x,s", ["e,x,s", "p,b,w"], False),
        ("0,1,2", ["3,4,5"], False),
        ("0,1,2,3", ["3,4,5,6"], None),
        (",0,1,2,3", ["0,3,4,5,6"], None),
        ("1,2,3,4", ["3,4,5,6"], False),
        ("id,2019,2020", ["1,2,3"], None),
        ("unknown,M", ["5,M", "6,F"], None),
        ("a,b", ["c,d"], None),
        ("a,b", ["a,b", "a,b"], None),
        ("a,1", ["c,d"], None),
        ("a,b", [], None),
        ("a,1", [], None),
        ("1,", [], False),
    ],
)
def test_header(first: str, rest: list[str], header: bool | None) -> None:
    rows = [row.split(",") for row in rest]
    assert dialect.is_header(first.split(","), rows, frozenset(), MISSING) is header


def test_a_name_that_the_job_uses_settles_it() -> None:
    first, rest = ["id", "2019"], [["1", "2"]]
    assert dialect.is_header(first, rest, frozenset({"id"}), MISSING) is True
    assert dialect.is_header(first, rest, frozenset({"other"}), MISSING) is None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (["1", "+1", "-.5", "5.", "1e5", "1E+05", "inf", "-Infinity", "Nan"], "number"),
        (["a", "Nan", "inf"], "text"),
        (["a", "1"], "mixed"),
        ([], "none"),
        *(([text], "text") for text in ("0x10", "1_000", "1,000", "12%", "1e", "-", ".", "１")),
    ],
)
def test_kind(fields: list[str], kind: str) -> None:
    assert dialect.kind(fields) == kind


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (["2020-01-01", "2021-12-31"], "dates"),
        (["2020-01-01T00:00:00Z", "2020-01-01 10:00"], "dates"),
        (["31.12.2020", "1/2/2020"], "dates"),
        (["10:30", "9:05:01.5"], "dates"),
        (["12%", "3.5 %"], "numbers"),
        (["$5", "-$1,000.50", "7€"], "numbers"),
        (["1_000", "1,000"], "numbers"),
        (["0x1F"], "numbers"),
        (["2020-01-01", "unknown"], None),
        (["20-30", "30-40"], None),
        (["true", "False"], None),
        (["A12", "1A", "9E"], None),
    ],
)
def test_masquerade(fields: list[str], what: str | None) -> None:
    found = dialect.masquerade(fields)
    assert (found and found.split()[0]) == what


@pytest.mark.parametrize(
    ("block", "lines"),
    [
        (b"1 2\n", b"1 2\n"),
        (b"  1 \t 2  \n\t3 4 \n", b"1 2\n3 4\n"),
        (b" 1  2 \r\n3 4\r\n", b"1 2\r\n3 4\r\n"),
        (b'"a  b"   2 \n', b'"a  b" 2\n'),
        (b"1 2 ", b"1 2"),
        (b"   \n1 2\n", b"\n1 2\n"),
    ],
)
def test_collapsed(block: bytes, lines: bytes) -> None:
    assert dialect.collapsed(block) == lines


def test_records_know_where_they_end() -> None:
    text = '\n"a\nb",1\r\nc,2\nd,3'
    assert [*dialect.records(text, ",", complete=True)] == [
        (["a\nb", "1"], 10),
        (["c", "2"], 14),
        (["d", "3"], 17),
    ]
    assert len([*dialect.records(text, ",", complete=False)]) == 2


def test_names_are_shown_in_part() -> None:
    assert dialect.shown(["a", "b"]) == "'a', 'b'"
    assert dialect.shown([*"abcdef"]) == "'a', 'b', 'c', 'd', 'e', ..."
    assert len(dialect.shown(["x" * 1000])) < 40
