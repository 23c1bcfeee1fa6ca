"""CSV: delimited text, with or without a header, columns of numbers and of text.

Arrow parses it block by block, so memory does not grow with the file. What a file does not say
about itself (delimiter, header, kinds of columns) is found from its beginning; what can be
understood in two ways is refused.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Never

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from treeline.data import csv_dialect as dialect
from treeline.data.columns import column_name
from treeline.data.csv_stream import LONGEST_READ, Stream
from treeline.errors import DataError, TreelineError, shortened

if TYPE_CHECKING:
    from treeline.data.columns import Layout
    from treeline.data.source import Source
    from treeline.hyperparameters import DataOptions
    from treeline.team import Team

# Spellings of "no value"; a field of blanks is none either.
MISSING = ("NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "?", "\\N")

_BLOCK = 1 << 20  # bytes parsed at a time
_AHEAD = 1 << 26  # bytes parsed side by side
_SAMPLE = 1 << 16  # bytes looked at to find delimiter and header
_LITTLE = 1 << 12  # bytes read at a time where they have been read before
_FEWEST_LINES = 3  # in the sample, where the file has them
_WIDEST = 32  # bytes of a number in full precision, and some
_WIDE = 1000  # columns; for more, Arrow takes longer to begin than the sample takes to parse
_BOM = b"\xef\xbb\xbf"

_CONVERSION = re.compile(
    r"CSV column #(\d+): Row #(\d+): CSV conversion error to .*?: invalid (UTF8 data|value '(.*)')",
    re.DOTALL,
)
_RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): ?(.*)", re.DOTALL)
# What Arrow reads as a number, without the words for infinity; for text in RE2's syntax.
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# Beside a line end: a quote that was closed by the one that opens a later field.
_ODD_QUOTES = r'^[^"]*"([^"]*"[^"]*")*[^"]*$'
_BLANK_BEFORE_QUOTE = r'^[ \t]+"'

_DIVIDED = (
    "If fields of this file hold line breaks within quotes, it cannot be divided among workers: "
    "give several smaller files, or Parquet, or train on one worker."
)
_HEADER_REMEDY = "Set csv_header=true if it is a header, csv_header=false if it is data."
_MIXED_REMEDY = (
    "Correct the field, add the text to missing_values, or name the column in "
    "categorical_columns or ignore_columns."
)


class Reader:
    """Reads the CSV files of one channel; see ``formats.TableReader``.

    The first file settles the delimiter; whether there is a header is found for each file.
    """

    def __init__(self, options: DataOptions, threads: int) -> None:
        """``threads`` are those that parse side by side."""
        self.notes: list[str] = []
        self.threads = threads
        self.header = options.csv_header
        self.delimiter = options.csv_delimiter
        given = MISSING if options.missing_values is None else options.missing_values
        self.missing = frozenset(("", *(text.strip(dialect.BLANKS) for text in given)))
        self.asked = _asked_names(options)
        self.first: First | None = None
        self._counted: dict[str, tuple[int, int, str]] = {}

    def open(self, source: Source) -> _Csv:
        """Open the next file of the channel and find its columns.

        Raises ``DataError`` for what is no table of at least two columns, or can be two.
        """
        with _translated(source.name):
            if getattr(source, "window", None) is not None:
                stream = Stream(source.beginning())  # which says what all windows are
            else:
                stream = Stream(getattr(source, "text_stream", source.stream)())
            try:
                table = _Csv(self, source, stream)
            except BaseException:
                stream.close()
                raise
        if not table.empty:
            self.first = self.first or First(table.file, table.delimiter, table.names)
        return table

    def count(self, what: str, name: str, number: int = 1) -> None:
        """Count ``what`` in one note, however often it happens; ``name`` is where."""
        total, at, first = self._counted.get(what, (0, len(self.notes), name))
        if total == 0:
            self.notes.append("")
        self._counted[what] = total + number, at, first
        self.notes[at] = _counted(total + number, what, first)

    def settle(self, team: Team) -> None:
        """Let the notes count what all workers found; collective, after the last file."""
        found: dict[str, tuple[int, str]] = {}
        for each in team.gather(self._counted):
            for what, (number, _, name) in each.items():
                total, first = found.get(what, (0, name))
                found[what] = total + number, first
        for what, (_, at, _) in self._counted.items():
            total, first = found[what]
            self.notes[at] = _counted(total, what, first)


def _counted(number: int, what: str, first: str) -> str:
    return f"{number} {what} (first in {first})"


@dataclass(frozen=True)
class First:
    """What the first file of a channel settles for the others: its delimiter and names."""

    name: str
    delimiter: str
    names: tuple[str, ...] | None


class _Csv:
    """One file or window, opened: delimiter, names and width; ``batches`` reads it, once."""

    def __init__(self, reader: Reader, source: Source, stream: Stream) -> None:
        self.file: str = getattr(source, "file", None) or source.name
        self.name = self.file  # until rows are read, which may be those of a window
        self.empty = False  # whether there is a header and nothing else
        self._source = source
        self._window: tuple[int, int] | None = getattr(source, "window", None)
        self._above = 0  # lines of the file above the rows
        self._before = 0  # rows in the batches before the one at hand
        self._uncounted = 0  # rows before what Arrow counts rows of
        self._reader = reader
        self._complete = False  # whether the sample is all there is
        self._head = self._sample(stream)
        self.delimiter = reader.delimiter or self._find_delimiter()
        self._stream = stream
        if self.delimiter == " ":
            self._stream = Stream(stream, dialect.collapsed)
            size = len(self._head)
            self._head = self._stream.peek(size)
            self._complete = self._complete or len(self._head) < size
        first, end = self._first_record()
        self.width = len(first)
        # A row has to fit into a block; wide rows get wider blocks.
        longest = max(end, *map(len, self._head.split(b"\n")))
        self._block = max(_BLOCK, 4 * longest, min(_WIDEST * self.width, 1 << 30))
        names = tuple(text.strip(dialect.BLANKS) for text in first)
        self.names = names if self._is_header(names, first) else None
        if self.names is not None:
            self._take_header(source, end)

    def batches(self, layout: Layout) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order; see ``formats.Table``. Raises ``DataError`` for bad fields."""
        if self.empty:
            return
        columns = [f"f{i}" for i in range(self.width)]
        names = [layout.names[i] if layout.names else columns[i] for i in layout.read]
        try:
            plan = self._plan(layout)
            self.name = self._source.name
            if self._window is not None:
                self._stream.close()
                self._stream = self._rows_of_window(self._window[0])
                if not self._stream.peek(1):
                    return
            # A swallowed rest of the file is text; as the last field it is seen if that is read.
            unread = len(layout.read) < self.width
            last = self.width - 1 not in plan.numbers
            self._stream.count_quotes = unread or last or self._window is not None
            how = {
                "parse_options": csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True
                ),
                "convert_options": csv.ConvertOptions(
                    column_types={columns[i]: plan.type(i) for i in layout.read},
                    include_columns=[columns[i] for i in layout.read],
                    null_values=self._null_values(),
                    strings_can_be_null=True,
                ),
            }
            with _translated(self.name, self):
                for batch in self._parsed(columns, how):
                    row = self._before
                    arrays = [
                        array if i in plan.numbers else self._finished(array, i, row, plan)
                        for i, array in zip(layout.read, batch.columns, strict=True)
                    ]
                    self._before += batch.num_rows
                    if batch.num_rows:
                        yield pa.RecordBatch.from_arrays(arrays, names)
                self._check_end(self._before, unread=unread)
        except DataError as error:
            if self._window is None or not self._stream.quotes:
                raise
            raise DataError(error.cause, f"{error.remedy} {_DIVIDED}") from error
        finally:
            if self._window is not None:
                self._source.quotes = self._stream.quotes
            self.close()

    def _parsed(self, names: list[str], how: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order; ``how`` are Arrow's options.

        Blocks of whole lines are parsed side by side, up to the first quote: from there on where a
        row ends is known only to who has parsed those before it. Threads of Arrow's own would
        not name the row of an error.
        """
        threads = min(self._reader.threads, _AHEAD // self._block)
        if threads > 1:
            yield from self._side_by_side(threads, names, how)
            self._uncounted = self._before
        if threads <= 1 or self._stream.peek(1):
            read = csv.ReadOptions(use_threads=False, block_size=self._block, column_names=names)
            with csv.open_csv(self._stream, read_options=read, **how) as parsed:
                yield from parsed

    def _side_by_side(
        self, threads: int, names: list[str], how: Mapping[str, Any]
    ) -> Iterator[pa.RecordBatch]:
        def parse(block: bytes) -> list[pa.RecordBatch]:
            read = csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names)
            table = csv.read_csv(pa.BufferReader(block), read_options=read, **how)
            found: list[pa.RecordBatch] = table.to_batches()
            return found

        waiting: deque[Future[list[pa.RecordBatch]]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="csv") as pool:
            try:
                while (block := self._stream.lines(self._block)) or waiting:
                    if block.strip(b"\r\n"):
                        waiting.append(pool.submit(parse, block))
                    while waiting and (len(waiting) > threads or not block):
                        self._uncounted = self._before
                        yield from waiting.popleft().result()
            finally:
                for each in waiting:
                    each.cancel()

    def close(self) -> None:
        """Close the stream."""
        with suppress(OSError, ValueError):
            self._stream.close()

    def _rows_of_window(self, begin: int) -> Stream:
        """Return the rows of the window, edited as those of the whole file."""
        skip = 0
        if self._above:
            with io.BufferedReader(self._source.beginning(), _LITTLE) as beginning:
                skip = sum(len(beginning.readline()) for _ in range(self._above))
        stream = Stream(self._source.text_stream(skip))
        if begin == skip == 0 and stream.peek(len(_BOM)) == _BOM:
            stream.drop(len(_BOM))
        return Stream(stream, dialect.collapsed) if self.delimiter == " " else stream

    # The beginning of the file.

    def _sample(self, stream: Stream) -> bytes:
        size = _SAMPLE
        head = stream.peek(size)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
            raise DataError(
                f"{self.name}: is no text in UTF-8: it begins with {head[:20]!r}",
                "Convert it to UTF-8, for example: iconv -f UTF-16 -t UTF-8.",
            )
        stream.drop(len(_BOM) if head.startswith(_BOM) else 0)
        head = stream.peek(size)
        while len(head) == size and head.strip(b"\r\n").count(b"\n") < _FEWEST_LINES:
            if not head.strip(b"\r\n"):
                self._above += head.count(b"\n")
                stream.drop(size)
            elif size >= LONGEST_READ:
                if b"\n" in head.strip(b"\r\n"):
                    break
                raise DataError(
                    f"{self.name}: the first row is longer than {LONGEST_READ >> 20} MiB",
                    "Give a text file with one row a line.",
                )
            else:
                size *= 4
            head = stream.peek(size)
        self._complete = len(head) < size
        if not head.strip(b"\r\n"):
            raise DataError(f"{self.name}: has no row", "Give a text file with one row a line.")
        if b"\r" in head and b"\n" not in head:
            raise DataError(
                f"{self.name}: lines end in a carriage return only: {head[:40]!r}",
                "Convert the line ends, for example: tr '\\r' '\\n'.",
            )
        return head

    def _find_delimiter(self) -> str:
        if self._reader.first is not None:
            return self._reader.first.delimiter
        found = dialect.find_delimiter(_text(self._head), self.name, complete=self._complete)
        if found != ",":
            self._say(f"{self.name}: the fields are separated by {dialect.DELIMITERS[found]}")
        return found

    def _first_record(self) -> tuple[list[str], int]:
        """Return the first record's fields, and the bytes up to its end."""
        text = _text(self._head)
        found = next(dialect.records(text, self.delimiter, complete=True), None)
        if found is None:
            raise DataError(f"{self.name}: has no row", "Give a text file with one row a line.")
        first, end = found
        if len(first) == 1:
            known = self._reader.first
            settled = known is not None and f"; in {known.name} it is {self._delimiter_word()}"
            raise DataError(
                f"{self.name}: the first row has one field: {shortened(first[0].strip(), 60)!r}"
                + (settled or ""),
                "A row is the label and at least one feature, separated by commas, tabs, "
                "semicolons, pipes or blanks (csv_delimiter says which).",
            )
        self._check_loose_quotes(text[:_SAMPLE])
        return first, len(text[:end].encode("utf-8", "surrogateescape"))

    def _check_loose_quotes(self, text: str) -> None:
        """Refuse a blank before a quote that opens a field; within quotes it is text like other."""
        mark = re.escape(self.delimiter)
        if self.delimiter == " " or not re.search(rf'{mark}[ \t]+"', text):
            return
        for fields, _ in dialect.records(text, self.delimiter, complete=True):
            for loose in filter(re.compile(_BLANK_BEFORE_QUOTE).match, fields):
                self._refuse_blank("near the beginning", loose)

    def _delimiter_word(self) -> str:
        return f"separated by {dialect.DELIMITERS.get(self.delimiter, repr(self.delimiter))}"

    # The header.

    def _is_header(self, names: tuple[str, ...], first: Sequence[str]) -> bool:
        reader = self._reader
        if reader.header is not None:
            if reader.header:
                self._check_widths(names)
            return reader.header
        earlier = reader.first.names if reader.first else None
        if names == earlier:
            return True
        rest: list[list[str]] = []
        if not all(text in reader.missing or dialect.is_number(text) for text in names):
            rest = self._rest()
            self._check_widths(names, rest)
        found = dialect.is_header(names, rest, reader.asked, reader.missing)
        if found is None and reader.first is not None:
            found = self._like_first_file(names, earlier)
        if found is None and not rest and self._complete:
            text = [text for text in names if text not in reader.missing]
            if not any(map(dialect.is_number, text)):
                return True
        if found is None:
            rest = self._rest()
            below = f" before {self.delimiter.join(rest[0])[:80]!r}" if rest else ", the only one"
            raise DataError(
                f"{self.name}: the first row can be a header or data: as a header it names the "
                f"columns {dialect.shown(names)}; as data it is the row "
                f"{shortened(self.delimiter.join(first), 80)!r}{below}",
                _HEADER_REMEDY,
            )
        if reader.first is not None and found != (earlier is not None):
            self._count(
                "file(s) have a header that the first file has not, and are read by position"
                if found
                else "file(s) have no header and are read by position",
            )
        return found

    def _rest(self) -> list[list[str]]:
        """Return the records of the sample after the first; the sample grows if there is none."""
        if len(rows := self._rows()) < 2 and not self._complete:
            self._grow_sample()
            if len(rows := self._rows()) < 2 and not self._complete:
                self._refuse_long_row()
        # A pipe joins files, which may each begin with a byte order mark.
        return [[row[0].removeprefix("\ufeff"), *row[1:]] for row in rows[1:]]

    def _grow_sample(self) -> None:
        size = max(_BLOCK, len(self._head))
        self._head = self._stream.peek(size)
        self._complete = len(self._head) < size

    def _refuse_long_row(self) -> Never:
        raise DataError(
            f"{self.name}: a row is longer than {self._block >> 20} MiB",
            "Check that every quote is closed; one inside a quoted field is written twice.",
        )

    def _like_first_file(
        self, names: tuple[str, ...], earlier: tuple[str, ...] | None
    ) -> bool | None:
        """Return what the first file makes likely for a first row that can be both."""
        if earlier is not None and 2 * len({*names} & {*earlier}) >= len(names):
            return True
        return False if any(map(dialect.is_number, names)) else None

    def _take_header(self, source: Source, end: int) -> None:
        header = self._head[:end]
        for name in self.names or ():
            if any("\udc80" <= character <= "\udcff" for character in name):
                _refuse_encoding(f"{self.name}: the header, name {name!r},")
        self._above += header.count(b"\n")
        self._stream.drop(end)
        self._head = self._head[end:]
        self.empty = not self._head.strip(b"\r\n") and not self._stream.peek(_BLOCK).strip(b"\r\n")
        if self.empty:  # as Spark writes a part without rows
            self._count("file(s) have a header and no row")
            return
        if getattr(source, "fifo", False):
            self._stream = Stream(self._stream, self._without_repeated(header))
            size = len(self._head)
            self._head = self._stream.peek(size)
            self._complete = self._complete or len(self._head) < size
        if self._reader.first is None and self._reader.header is None:
            self._say(
                f"{self.name}: the first row is taken for a header: "
                f"{dialect.shown(self.names or ())}"
            )

    def _say(self, note: str) -> None:
        """Note what the beginning of the file shows, once for all its windows."""
        if self._window is None or self._window[0] == 0:
            self._reader.notes.append(note)

    def _count(self, what: str) -> None:
        if self._window is None or self._window[0] == 0:
            self._reader.count(what, self.name)

    def _without_repeated(self, header: bytes) -> Callable[[bytes], bytes]:
        """Return what drops the header's line where it comes again, from lines of a FIFO."""
        line = header.strip(b"\r\n")
        pattern = re.compile(rb"(?m)^(?:\xef\xbb\xbf)?" + re.escape(line) + rb"\r?\n")

        def edit(block: bytes) -> bytes:
            if line not in block:
                return block
            block, count = pattern.subn(b"", block)
            if count:
                self._reader.count("repeated header line(s) left out", self.name, count)
            return block

        return edit

    def _check_widths(
        self, first: Sequence[str], rest: Sequence[Sequence[str]] | None = None
    ) -> None:
        """Refuse a first row that alone differs in width, with its own advice."""
        rest = self._rest() if rest is None else rest
        widths = {len(row) for row in rest}
        if len(widths) != 1 or len(first) in widths:
            return
        ends = all(row[-1].strip() == "" for row in rest)
        raise DataError(
            f"{self.name}: the first row has {len(first)} fields, {dialect.shown(first)}, and the "
            f"rows after it have {widths.pop()}"
            + (", with a delimiter at the end of each" if ends else ""),
            "Remove the delimiter at the end of the rows."
            if ends
            else "Give every row as many fields as the first has (R: write.table with "
            "row.names=FALSE).",
        )

    # The kinds of the columns.

    def _rows(self) -> list[list[str]]:
        """Return the records of the sample, without blanks around the fields."""
        found = dialect.records(_text(self._head), self.delimiter, complete=self._complete)
        return [[text.strip(dialect.BLANKS) for text in fields] for fields, _ in found]

    def _all_numbers(self) -> bool:
        """Whether every column of the sample has numbers and nothing else: mostly so, and fast."""
        if self.width > _WIDE:
            return False
        whole = len(self._head) if self._complete else self._head.rfind(b"\n") + 1
        data = self._head[:whole]
        if b"  " in data or (b"\t" in data and self.delimiter != "\t") or not data.strip():
            return False
        names = [f"f{i}" for i in range(self.width)]
        try:
            table = csv.read_csv(
                io.BytesIO(data),
                csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
                csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.float32()),
                    null_values=self._null_values(),
                ),
            )
        except pa.ArrowException:
            return False
        return all(column.null_count < table.num_rows for column in table.columns)

    def _plan(self, layout: Layout) -> _Plan:
        """Decide how each column is read: as a number, as a number with blanks, as text."""
        open_ = [i for i in layout.read if i not in layout.text and i not in layout.number]
        plan = _Plan(frozenset(layout.text), set(layout.read) - layout.text)
        spaced = b"  " in self._head or (b"\t" in self._head and self.delimiter != "\t")
        if not spaced and (not open_ or self._all_numbers()):
            return plan
        if open_ and not self._complete:
            self._grow_sample()
        found = dialect.records(_text(self._head), self.delimiter, complete=self._complete)
        # Up to a row of another width, which Arrow will refuse.
        rows = [*takewhile(lambda row: len(row) == self.width, (fields for fields, _ in found))]
        for i in open_:
            self._settle(plan, i, [row[i].strip(dialect.BLANKS) for row in rows])
        if spaced:
            for i in [*plan.numbers]:
                if any(_is_padded(row[i]) for row in rows):
                    plan.numbers.remove(i)
                    plan.spaced.add(i)
        return plan

    def _settle(self, plan: _Plan, position: int, column: list[str]) -> None:
        distinct = {*column}.difference(self._reader.missing)
        kind = dialect.kind(distinct)
        if kind == "mixed":
            number = next(i for i, text in enumerate(column) if dialect.kind({text}) == "number")
            text = next(
                i for i, each in enumerate(column) if each in distinct and not _is_numeric(each)
            )
            self._refuse_mixed(position, (column[number], number + 1), (column[text], text + 1))
        if kind != "text":
            return
        if what := dialect.masquerade(distinct):
            example = next(text for text in column if text in distinct)
            raise DataError(
                f"{self.name}: {self._column(position)} holds {what}: {shortened(example, 40)!r}",
                "Encode it as numbers, or name the column in ignore_columns, or in "
                "categorical_columns if each text stands for itself.",
            )
        plan.numbers.discard(position)
        plan.text |= {position}
        plan.found.add(position)

    def _refuse_mixed(self, position: int, number: tuple[str, int], text: tuple[str, int]) -> Never:
        if "\n" in text[0]:
            self._refuse_text(position, text[1], text[0])
        self._refuse_header_again(position, *text)
        raise DataError(
            f"{self.name}: {self._column(position)} holds numbers and text: {number[0]!r} in row "
            f"{number[1]}, {shortened(text[0], 60)!r} in row {text[1]}",
            _MIXED_REMEDY,
        )

    def _refuse_header_again(self, position: int, text: str, row: int) -> None:
        if self.names is not None and text == self.names[position] != "":
            raise DataError(
                f"{self.name}: the header occurs again, as row {row}: {self._column(position)} "
                f"holds {shortened(text, 60)!r}",
                "Remove all header lines but the first.",
            )

    # The rows.

    def _null_values(self) -> list[str]:
        """Return the spellings of no value; where the file has blanks, " NA" and "NA ", too."""
        if b" " not in self._head:
            return sorted(self._reader.missing)
        spelled = {
            f"{before}{text}{after}"
            for text in self._reader.missing
            for before in ("", " ")
            for after in ("", " ")
        }
        return sorted(spelled | {" " * count for count in range(9)})

    def _finished(self, array: pa.Array, position: int, row: int, plan: _Plan) -> pa.Array:
        if position in plan.spaced:
            return self._trimmed_number(array, position, row)
        texts = array.dictionary
        trimmed = self._trimmed(texts)
        self._check_quotes(array, position, row)
        if position in plan.found:
            self._check_no_number(array, trimmed, position, row)
        if trimmed.equals(texts):
            return array
        encoded = trimmed.dictionary_encode()
        indices = encoded.indices.take(array.indices)
        return pa.DictionaryArray.from_arrays(indices, encoded.dictionary)

    def _trimmed(self, texts: pa.Array) -> pa.Array:
        """Return ``texts`` without blanks around them, null where nothing is said."""
        trimmed = pc.utf8_trim(texts, dialect.BLANKS)
        markers = pa.array(sorted(self._reader.missing), pa.string())
        return pc.if_else(pc.is_in(trimmed, markers), pa.scalar(None, pa.string()), trimmed)

    def _check_quotes(self, array: pa.Array, position: int, row: int) -> None:
        texts = array.dictionary
        found = _first(pc.match_substring_regex(texts, _BLANK_BEFORE_QUOTE))
        if found is not None:
            self._refuse_blank(
                f"row {row + _row_of(array, found)}, {self._column(position)}",
                texts[found].as_py(),
            )
        lines = pc.match_substring(texts, "\n")
        swallowed = _first(pc.and_(lines, pc.match_substring_regex(texts, _ODD_QUOTES)))
        if swallowed is not None:
            raise DataError(
                f"{self.name}: row {row + _row_of(array, swallowed)}, {self._column(position)}: a "
                "quote is opened and not closed before the next one: "
                f"{shortened(texts[swallowed].as_py(), 60)!r}",
                "Close the quote; a quote inside a quoted field is written twice.",
            )

    def _refuse_blank(self, where: str, text: str) -> Never:
        raise DataError(
            f"{self.name}: {where}: a blank stands before a quote, so that the quote is part of "
            f"the field: {shortened(text, 60)!r}",
            "Write the fields without blanks between delimiter and quote.",
        )

    def _check_no_number(self, array: pa.Array, trimmed: pa.Array, position: int, row: int) -> None:
        found = _first(pc.match_substring_regex(trimmed, _NUMBER))
        if found is not None:
            raise DataError(
                f"{self.name}: {self._column(position)} holds text in the rows before and the "
                f"number {trimmed[found].as_py()!r} in row {row + _row_of(array, found)}",
                "Correct the field, or name the column in categorical_columns or ignore_columns.",
            )

    def _trimmed_number(self, array: pa.Array, position: int, row: int) -> pa.Array:
        trimmed = self._trimmed(array)
        try:
            return trimmed.cast(pa.float32())
        except pa.ArrowInvalid:
            for i, text in enumerate(trimmed.to_pylist(), row + 1):
                if text is not None and not _is_numeric(text):
                    self._refuse_text(position, i, text)
            raise

    def _check_end(self, rows: int, *, unread: bool) -> None:
        if rows == 0 and self._window is None:
            raise DataError(f"{self.name}: has no row", "Give a text file with one row a line.")
        if self._stream.ends_within_quotes(self.delimiter):
            raise DataError(
                f"{self.name}: a quote that is opened near the end (row {rows}) is not closed",
                "Close the quote; a quote inside a quoted field is written twice.",
            )
        if unread and self._stream.odd_quotes:
            self._reader.count(
                "file(s) have an odd number of quotes: one that is not closed, in a column that is "
                "not read, would hide rows",
                self.name,
            )

    def _column(self, position: int) -> str:
        return column_name(position, self.names)

    def _refuse_text(self, position: int, row: int, text: str) -> Never:
        self._refuse_header_again(position, text.strip(dialect.BLANKS), row)
        what = "text"
        if text in self._reader.missing:
            what = "a missing value with blanks around it,"
        elif "\n" in text:
            what = "a quoted field of several lines (is a quote not closed?),"
        raise DataError(
            f"{self.name}: row {row}, {self._column(position)}: {what} "
            f"{shortened(text, 60)!r} where numbers stand",
            _MIXED_REMEDY,
        )

    def refuse(self, message: str) -> Never:
        """Say in the reader's words what Arrow refuses."""
        if found := _CONVERSION.search(message):
            position, row = int(found[1]), int(found[2]) + self._uncounted
            if found[3] == "UTF8 data":
                _refuse_encoding(f"{self.name}: row {row}, {self._column(position)},")
            self._refuse_text(position, row, found[4])
        if found := _RAGGED.search(message):
            number, expected, fields, text = found.groups()
            more = ""
            remedy = f"Give every row {expected} fields; quote a field that holds the delimiter."
            if int(fields) == int(expected) + 1 and text.rstrip("\r\n").endswith(self.delimiter):
                more = ", with a delimiter at the end"
                remedy = "Remove the delimiter at the end of the rows."
            elif text.count('"') % 2:
                remedy += " Is a quote opened and not closed?"
            raise DataError(
                f"{self.name}: row {int(number) + self._uncounted} has {fields} fields{more}, "
                f"expected are {expected} "
                f"{self._delimiter_word()}: {shortened(text, 80)!r}",
                remedy,
            )
        if "straddling" in message:
            self._refuse_long_row()
        raise DataError(
            f"{self.name}: cannot be read as CSV: {' '.join(message.split())}",
            f"Give a text file with one row a line and {self.width} fields a row.",
        )


@dataclass
class _Plan:
    """How the columns are read. ``found`` are text because they look it, not because of the job."""

    text: frozenset[int]
    numbers: set[int]
    spaced: set[int] = field(default_factory=set)  # numbers padded with blanks, read as text first
    found: set[int] = field(default_factory=set)

    def type(self, position: int) -> pa.DataType:
        if position in self.numbers:
            return pa.float32()
        if position in self.spaced:
            return pa.string()
        return pa.dictionary(pa.int32(), pa.string())


@contextmanager
def _translated(name: str, table: _Csv | None = None) -> Iterator[None]:
    """Turn what the file system and Arrow raise into ``DataError``."""
    try:
        yield
    except TreelineError:
        raise
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read: {error.strerror or error}",
            "Check that the file is still there and its permissions.",
        ) from error
    except pa.ArrowException as error:
        if table is None:
            raise
        try:
            table.refuse(str(error))
        except DataError as said:
            raise said from error


def _refuse_encoding(where: str) -> Never:
    raise DataError(
        f"{where} is not in UTF-8",
        "Convert the file to UTF-8, for example: iconv -f LATIN1 -t UTF-8.",
    )


def _text(head: bytes) -> str:
    return head.decode("utf-8", "surrogateescape")


def _is_padded(text: str) -> bool:
    """Whether there are more blanks around ``text`` than the spellings of no value allow for."""
    return text.removeprefix(" ").removesuffix(" ") != text.strip(dialect.BLANKS)


def _is_numeric(text: str) -> bool:
    return dialect.kind({text}) == "number"


def _first(mask: pa.Array) -> int | None:
    found = int(pc.index(mask, True).as_py())
    return None if found < 0 else found


def _row_of(array: pa.DictionaryArray, index: int) -> int:
    """Return the first row, from 1, that holds the text number ``index`` of the dictionary."""
    return int(pc.index(array.indices, pa.scalar(index, pa.int32())).as_py()) + 1


def _asked_names(options: DataOptions) -> frozenset[str]:
    """Return what the job calls columns by, except for positions."""
    asked = (
        options.label_column,
        options.weight_column,
        options.group_column,
        options.time_column,
        options.label_lower_bound_column,
        options.label_upper_bound_column,
        *options.base_margin_column,
        *options.ignore_columns,
        *options.keep_columns,
        *options.categorical_columns,
    )
    return frozenset(each for each in asked if each and not re.fullmatch(r"-?\d+", each))
