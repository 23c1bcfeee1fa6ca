"""How a CSV file is written: what separates its fields, and whether its first row is names.

Everything here looks at the beginning of a file, as text; nothing is opened.
Source of the quoting rules: RFC 4180.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence

from treeline.errors import DataError, shortened

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "pipes", " ": "blanks"}
BLANKS = " \t"

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# Numbers too where the column holds numbers; beside text they are text ("Nan" is a name).
_NUMBER_WORD = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_ODD_NUMBER = re.compile(
    r"[+-]?[$€£¥]?\d[\d,_]*(?:\.\d+)? ?[%$€£¥]?|0[xX][0-9a-fA-F]+|[+-]?\d+,\d+(?:[eE][+-]?\d+)?"
)
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}(?: .*)?"
    r"|\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"
)
# A quoted field between delimiters of any kind, and one that does not end.
_QUOTED = re.compile(r'(?<![^,;|\t \r\n])"[^"]*+(?:""[^"]*+)*+"(?![^,;|\t \r\n])')
_QUOTE = re.compile(r'(?<![^,;|\t \r\n])"')
_LINE_END = re.compile(r"\r\n?|\n")
_LIBSVM = re.compile(r"\d+:[^:\s]+")

_SHOWN = 5  # names or fields in a message
_FEWEST_COUNTED = 4  # names 0, 1, ... n-1 are taken for a header from this n on


def records(text: str, delimiter: str, *, complete: bool) -> Iterator[tuple[list[str], int]]:
    """Yield each record's fields and where in ``text`` it ends; empty lines are no records.

    Where ``text`` is not ``complete``, its last record is left out: it may go on.
    """
    csv.field_size_limit(len(text) + 1)
    end = 0

    def lines() -> Iterator[str]:
        nonlocal end
        for line in io.StringIO(text, newline=""):
            end += len(line)
            yield line

    last: tuple[list[str], int] | None = None
    for fields in csv.reader(lines(), delimiter=delimiter):
        if fields:
            if last is not None:
                yield last
            last = fields, end
    if complete and last is not None:
        yield last


def collapsed(block: bytes) -> bytes:
    """Return whole lines with runs of blanks as one blank, and none around a line.

    Blanks between quotes stay as they are.
    """
    if b'"' in block:
        block = re.sub(
            rb'"[^"\n]*"|[ \t]+', lambda m: m[0] if m[0].startswith(b'"') else b" ", block
        )
    else:
        block = re.sub(rb"[ \t]+", b" ", block)
    block = block.replace(b"\n ", b"\n").replace(b" \n", b"\n").replace(b" \r\n", b"\r\n")
    return block.strip(b" ")


def find_delimiter(text: str, name: str, *, complete: bool) -> str:
    """Return the delimiter under which ``text`` is a table: , tab ; | or " " for runs of blanks.

    Raises ``DataError`` where two of them do, or where commas stand inside the numbers. Where
    none does, the most likely one is returned, and the reader finds the row that does not fit.
    """
    masked = _QUOTED.sub("Q", text) if '"' in text else text
    lines = _lines(masked, complete=complete)
    strong = [d for d in DELIMITERS if d != " "]
    counts = {d: [line.count(d) for line in lines] for d in strong}
    tables = [d for d in strong if counts[d] and counts[d][0] and len({*counts[d]}) == 1]
    blank = [len(line.split()) for line in lines]
    is_blank = bool(blank) and len({*blank}) == 1 and blank[0] > 1
    _refuse_decimal_comma(lines, [*tables, *([" "] if is_blank else [])], name)
    if len(tables) > 1:
        readings = ", or ".join(
            f"{lines[0].count(d) + 1} fields separated by {DELIMITERS[d]}" for d in tables
        )
        raise DataError(
            f"{name}: can be read in {len(tables)} ways: rows of {readings}; the first row is "
            f"{shortened(lines[0], 80)!r}",
            "Say with csv_delimiter what separates the fields, or quote the fields that hold it.",
        )
    if tables:
        return tables[0]
    present = {d: sum(map(bool, counts[d])) for d in strong}
    likely = max(strong, key=lambda d: present[d])
    if present[likely] * 2 > len(lines):
        return likely
    if is_blank:
        if all(_LIBSVM.fullmatch(field) for line in lines[:9] for field in line.split()[1:]):
            raise DataError(
                f"{name}: the fields are pairs index:value, as in libsvm: {lines[0][:60]!r}",
                "Set the channel's ContentType to text/libsvm.",
            )
        return " "
    return " " if sum(width > 1 for width in blank) * 2 > len(lines) else ","


def _lines(masked: str, *, complete: bool) -> list[str]:
    opened = _QUOTE.search(masked) if '"' in masked else None
    if opened and not complete:
        masked = masked[: opened.start()]
    lines = _LINE_END.split(masked)
    if not complete and len(lines) > 1:
        del lines[-1]
    return [line for line in lines if line.strip()]


def _refuse_decimal_comma(lines: Sequence[str], delimiters: Collection[str], name: str) -> None:
    for delimiter in delimiters:
        if delimiter == ",":
            continue
        fields = [
            field.strip()
            for line in lines
            for field in (line.split() if delimiter == " " else line.split(delimiter))
            if "," in field
        ]
        if fields and all(map(_DECIMAL_COMMA.fullmatch, fields)):
            raise DataError(
                f"{name}: numbers have a decimal comma ({fields[0]!r}), between "
                f"{DELIMITERS[delimiter]}: {shortened(lines[0], 80)!r}",
                "Write the numbers with a decimal point; if the comma separates fields, set "
                "csv_delimiter to comma.",
            )


def is_number(field: str) -> bool:
    """Whether the reader takes ``field``, without blanks around it, for a number."""
    return bool(_NUMBER.fullmatch(field) or _NUMBER_WORD.fullmatch(field))


def kind(fields: Collection[str]) -> str:
    """Return what a column is whose distinct fields, none of them missing, are ``fields``.

    ``number``, ``text``, ``mixed``, or ``none`` where there is no field.
    """
    if not fields:
        return "none"
    digits = sum(bool(_NUMBER.fullmatch(field)) for field in fields)
    words = sum(bool(_NUMBER_WORD.fullmatch(field)) for field in fields)
    if digits + words == len(fields):
        return "number"
    return "mixed" if digits else "text"


def masquerade(fields: Collection[str]) -> str | None:
    """Return what text is that its writer hardly means as categories, or None."""
    if all(map(_DATE.fullmatch, fields)):
        return "dates or times"
    if all(map(_ODD_NUMBER.fullmatch, fields)):
        return "numbers written so that they cannot be read"
    return None


def is_header(
    first: Sequence[str],
    rest: Sequence[Sequence[str]],
    asked: frozenset[str],
    missing: Collection[str],
) -> bool | None:
    """Return whether the row ``first`` over ``rest`` is names; None where it can be both.

    Text over a column of numbers speaks for names; a number over numbers, and text that occurs
    again below, speak for data. ``asked`` are names that the job uses; ``missing`` the fields
    that are no value. Fields come without blanks around them.
    """
    if not asked.isdisjoint(first):
        return True
    present = [i for i, field in enumerate(first) if field not in missing]
    if all(is_number(first[i]) for i in present):
        return None if _counts_up(first) else False
    # A row of text alone that comes again is a header in the middle, or data: no evidence.
    rows = rest
    if not any(is_number(first[i]) for i in present):
        rows = [row for row in rest if [*row] != [*first]]
    text_over_number = number_over_number = text_over_text = again = 0
    for i in present:
        column = {row[i] for row in rows if i < len(row)}.difference(missing)
        below, number = kind(column), is_number(first[i])
        text_over_number += below == "number" and not number
        number_over_number += below == "number" and number
        text_over_text += below == "text" and not number
        again += below == "text" and first[i] in column
    if text_over_number:
        return None if number_over_number or again else True
    if number_over_number or (again and again * 2 >= text_over_text and len(rows) == len(rest)):
        return False
    return None


def _counts_up(first: Sequence[str]) -> bool:
    """Whether the row is 0, 1, ... n-1: what pandas writes for columns without names."""
    named = first[1:] if first[0] == "" else first
    return len(named) >= _FEWEST_COUNTED and [*named] == [str(i) for i in range(len(named))]


def shown(fields: Sequence[str]) -> str:
    """Return the first few fields as messages show them."""
    more = ", ..." if len(fields) > _SHOWN else ""
    return ", ".join(repr(shortened(field, 30)) for field in fields[:_SHOWN]) + more
