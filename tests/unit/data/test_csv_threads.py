"""CSV parsed by several threads is what one thread reads: rows, texts, and words of errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow
from tests.unit.data.test_csv import Channel

from treeline.data import csv
from treeline.errors import DataError

BLOCK = 256  # bytes: a block has to hold the widest row several times


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "_BLOCK", BLOCK)
    monkeypatch.setattr(csv, "_SAMPLE", BLOCK)


def channel(threads: int, **options: Any) -> Channel:
    found = Channel(**options)
    found.reader.threads = threads
    return found


def told(threads: int, content: bytes, **options: Any) -> Any:
    """Return the rows and the notes, or what the file is refused for."""
    reading = channel(threads, **options)
    try:
        return reading.rows(content), reading.notes
    except DataError as error:
        return str(error)


def both(content: bytes, **options: Any) -> Any:
    one, several = told(1, content, **options), told(3, content, **options)
    assert several == one
    return one


def lines(count: int, text: str = "{0},{1}.5,t{2}\n") -> list[str]:
    return [text.format(i % 2, i, i % 7) for i in range(count)]


def test_many_blocks_have_the_rows_of_one_stream() -> None:
    rows, notes = both("".join(["y,number,town\n", *lines(400)]).encode())
    assert [rows[i] for i in (0, 399)] == [[0.0, 0.5, "t0"], [1.0, 399.5, "t0"]]
    assert len(rows) == 400
    assert "header" in notes[0]


def test_blocks_are_parsed_by_threads_up_to_the_first_quote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streamed = []
    open_csv = arrow.open_csv

    def noted(stream: Any, *others: Any, **more: Any) -> Any:
        streamed.append(stream.peek(BLOCK))
        return open_csv(stream, *others, **more)

    monkeypatch.setattr(arrow, "open_csv", noted)
    text = lines(400)
    assert len(told(3, "".join(text).encode())[0]) == 400
    assert streamed == []
    text[300] = '1,2,"a\nb"\n'
    rows, _ = told(3, "".join(text).encode())
    assert rows[300] == [1.0, 2.0, "a\nb"]
    assert len(rows) == 400
    [begun] = streamed
    assert 100 < int(begun.split(b"\n", 2)[1].split(b",")[1][:-2]) <= 300


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("1,2,t,4\n", "row 311 has 4 fields, expected are 3"),
        ("1\n", "row 311 has 1 fields, expected are 3"),
        ("1,many,t\n", "row 311, column 1: text 'many' where numbers stand"),
        ('1,2, "t"\n', "row 311, column 2: a blank stands before a quote"),
        ("1,2,17\n", "number '17' in row 311"),
    ],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_an_error_names_its_row(wrong: str, said: str, quoted: bool) -> None:
    text = lines(400)
    text[310] = wrong
    if quoted:
        text[200] = '1,2,"x"\n'
    assert said in both("".join(text).encode())


def test_text_that_is_no_utf_8_names_its_row() -> None:
    text = [line.encode() for line in lines(400)]
    text[310] = b"1,2,\xff\n"
    assert "row 311, column 2, is not in UTF-8" in both(b"".join(text))


def test_the_first_error_of_the_file_is_the_one_told() -> None:
    text = lines(400)
    text[150], text[380] = "1,2\n", "1,2,t,4\n"
    assert "row 151 has 2 fields" in both("".join(text).encode())


@pytest.mark.parametrize("blank", ["\n", "\n" * 600, "\r\n" * 300])
def test_blank_lines_are_no_rows(blank: str) -> None:
    text = lines(200)
    text.insert(100, blank)
    rows, _ = both("".join(text).encode())
    assert len(rows) == 200
    text.insert(150, "1,2\n")
    assert "row 150 has 2 fields" in both("".join(text).encode())


@pytest.mark.parametrize("threads", [1, 3])
def test_a_line_end_within_quotes_is_kept_wherever_a_block_ends(threads: int) -> None:
    for before in range(40):
        text = ["1,2,a\r\n"] * 40
        text.insert(30, '1,2,"' + "b\r\n" * 60 + '"\r\n')
        rows, _ = told(threads, ("1" * (before + 1) + ",2,a\r\n" + "".join(text)).encode())
        assert rows[31] == [1.0, 2.0, "b\r\n" * 60]


def test_a_file_without_a_line_end_at_its_end() -> None:
    rows, _ = both("".join(lines(200)).removesuffix("\n").encode())
    assert len(rows) == 200


def test_a_row_longer_than_a_block_is_refused_in_the_same_words() -> None:
    text = lines(200)
    text[150] = f"1,2,{'x' * 5000}\n"
    assert "longer than" in both("".join(text).encode())


def test_who_stops_reading_leaves_no_thread() -> None:
    reading = channel(3)
    batches: Iterator[pa.RecordBatch] = reading.batches("".join(lines(2000)).encode())
    next(batches)
    batches.close()  # type: ignore[attr-defined]

    assert not [each for each in threading.enumerate() if each.name.startswith("csv")]


NUMBER = st.sampled_from(["1", "-2.5", "", "NA", " 3", '"4"'])
TEXT = st.sampled_from(
    ["", "NA", " x", '"q"', '"a,b"', '"l\nm"', '"1 ""2"""', '"', 'a"b', "é", "5"]
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(NUMBER, NUMBER, TEXT), min_size=1, max_size=12),
    places=st.lists(st.integers(0, 250), min_size=12, max_size=12),
    end=st.sampled_from(["\n", "\r\n"]),
)
@example(  # a block begins with the quote that closes a field, and the number of quotes is odd
    rows=[
        ("-2.5", "-2.5", '"a,b"'),
        ("1", "1", ""),
        ("1", "1", ""),
        ("1", "-2.5", "NA"),
        ("-2.5", "-2.5", '"a,b"'),
        ("-2.5", "-2.5", '"1 ""2"""'),
        ("-2.5", "-2.5", 'a"b'),
    ],
    places=[215, 0, 23, 0, 24, 24, 24, 0, 0, 0, 0, 0],
    end="\r\n",
)
def test_whatever_stands_among_plain_rows(
    rows: list[tuple[str, str, str]], places: list[int], end: str
) -> None:
    text = [line.replace("\n", end) for line in lines(250)]
    for row, place in zip(rows, places, strict=False):
        text.insert(place, ",".join(row) + end)
    content = "".join(text).encode()
    one, several = told(1, content), told(3, content)
    if "longer than" in f"{one} {several}":  # how long depends on where blocks end
        assert isinstance(one, str) or isinstance(several, str)
    elif isinstance(one, str):  # so does which of several errors is met first
        assert isinstance(several, str)
    else:
        assert several == one
