"""Kinds of hyperparameter: each reads, checks, prints and publishes its own values.

Every value arrives as text. Some SDKs send it JSON-encoded (``"\\"hist\\""``), so one pair of
JSON quotes is taken off; spaces around a value never matter. Nothing is evaluated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from treeline.metrics.names import METRICS, lookup

type Value = int | float | str | tuple[Value, ...]
type Published = dict[str, str | dict[str, object]]

# XGBoost keeps whole numbers in 32 bits and others in single precision; what does not fit is
# an error there ("Out of range value"), or a silent nan for base_score.
INT_MAX = 2**31 - 1
FLOAT_MAX = 3.4028234e38
FLOAT_MIN = 1.1754944e-38
# CreateAlgorithm knows closed ends only; an open one is published this much further in.
_STEP = 1e-6
DELIMITERS: Mapping[str, str] = {
    "comma": ",",
    "tab": "\t",
    "semicolon": ";",
    "pipe": "|",
    "space": " ",
}


class RejectedError(ValueError):
    """A text is no value of its kind; the message, if any, says more than the range does."""


@dataclass(frozen=True)
class Kind:
    """What a hyperparameter may be. ``allowed`` is the range as users read it."""

    allowed: str

    def parse(self, text: str) -> Value:
        """Return the value that ``text`` stands for, or raise ``RejectedError``."""
        return unquoted(text)

    def text(self, value: Value) -> str:
        """Return ``value`` as text that ``parse`` reads back and XGBoost understands."""
        return str(value)

    def publish(self) -> Published:
        """Return ``Type`` and ``Range`` as CreateAlgorithm takes them."""
        return {"Type": "FreeText"}


class Text(Kind):
    """Any text."""


class Integer(Kind):
    """A whole number in an interval such as ``[1, +inf)``."""

    def parse(self, text: str) -> int:
        """Return the whole number; ``1.0`` and ``1e3`` are refused by name."""
        plain = unquoted(text)
        try:
            number = int(plain)
        except ValueError:
            raise RejectedError(_whole_number_hint(plain)) from None
        if number > INT_MAX or not within(max(number, -INT_MAX - 1), self.allowed):
            raise RejectedError(f"at most {INT_MAX}" if number > INT_MAX else "")
        return number

    def publish(self) -> Published:
        """Return the range with open ends moved to the nearest whole number."""
        low, high = bounds(self.allowed)
        first = int(low) + self.allowed.startswith("(")
        last = INT_MAX if math.isinf(high) else int(high) - self.allowed.endswith(")")
        ends: dict[str, object] = {"MinValue": str(first), "MaxValue": str(last)}
        return {"Type": "Integer", "Range": {"IntegerParameterRangeSpecification": ends}}


class Bins(Integer):
    """A whole number that may also be written ``64.0``: the RAPIDS example's is a float."""

    def parse(self, text: str) -> int:
        """Return the whole number."""
        return super().parse(unquoted(text).removesuffix(".0"))


class AutoCount(Kind):
    """auto, or a whole number of at least 1; published as free text, as no range has both."""

    def parse(self, text: str) -> Value:
        """Return ``auto``, or the number."""
        plain = unquoted(text)
        return plain if plain == "auto" else Integer("[1, +inf)").parse(plain)


class Continuous(Kind):
    """A number in an interval such as ``(0, 1]``; nan and infinity are never one."""

    def parse(self, text: str) -> float:
        """Return the number, if it has a value in single precision too."""
        number = _number(unquoted(text))
        if not within(number, self.allowed):
            raise RejectedError
        return number

    def publish(self) -> Published:
        """Return the range with open ends moved inwards by a small step."""
        low, high = bounds(self.allowed)
        first = max(low + _STEP * self.allowed.startswith("("), -FLOAT_MAX)
        last = min(high - _STEP * self.allowed.endswith(")"), FLOAT_MAX)
        ends: dict[str, object] = {"MinValue": f"{first:.8g}", "MaxValue": f"{last:.8g}"}
        return {"Type": "Continuous", "Range": {"ContinuousParameterRangeSpecification": ends}}


@dataclass(frozen=True)
class Categorical(Kind):
    """One of a list of words, case as written."""

    values: tuple[str, ...]

    def parse(self, text: str) -> str:
        """Return the word."""
        return _one_of(unquoted(text), self.values)

    def publish(self) -> Published:
        """Return the list of words."""
        return _published_words(self.values)


class Boolean(Kind):
    """true or false, also as 1, 0 and Python's True and False; parsed to 1 or 0."""

    def parse(self, text: str) -> int:
        """Return 1 or 0."""
        return int(_one_of(unquoted(text).lower(), ("true", "false", "1", "0")) in ("true", "1"))

    def text(self, value: Value) -> str:
        """Return ``true`` or ``false``."""
        return "true" if value else "false"

    def publish(self) -> Published:
        """Return both words in both common spellings."""
        return _published_words(("true", "false", "True", "False", "1", "0"))


class Switch(Kind):
    """auto, or true or false in every spelling of ``Boolean``."""

    def parse(self, text: str) -> str:
        """Return ``auto``, ``true`` or ``false``."""
        word = unquoted(text).lower()
        word = {"1": "true", "0": "false"}.get(word, word)
        return _one_of(word, ("auto", "true", "false"))

    def publish(self) -> Published:
        """Return all three words, and the other spellings of two of them."""
        return _published_words(("auto", "true", "false", "True", "False", "1", "0"))


@dataclass(frozen=True)
class CategoricalList(Kind):
    """A comma list of words, each one of ``values``."""

    values: tuple[str, ...]

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the words in the order given."""
        return _every(lambda item: _one_of(item, self.values), _items(text))

    def text(self, value: Value) -> str:
        """Return the comma list."""
        return _joined(value, ",")


class Metrics(Kind):
    """A comma list of evaluation metrics."""

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the names as given; which name the log prints is settled later."""
        return _every(_metric, _items(text))

    def text(self, value: Value) -> str:
        """Return the comma list."""
        return _joined(value, ",")


class FloatList(Kind):
    """Numbers in ascending order, each in the interval; published as free text."""

    def parse(self, text: str) -> tuple[float, ...]:
        """Return the numbers."""
        numbers = tuple(_number(item) for item in _items(text))
        interval = self.allowed.partition(" in ")[2]
        if not all(within(number, interval) for number in numbers):
            raise RejectedError
        if list(numbers) != sorted(numbers):
            raise RejectedError("in ascending order")
        return numbers

    def text(self, value: Value) -> str:
        """Return a JSON list: of a bare ``0.1,0.9`` XGBoost silently reads the first only."""
        return f"[{_joined(value, ', ')}]"


class MonotoneConstraints(Kind):
    """One of -1, 0, 1 for each of the first features."""

    def parse(self, text: str) -> tuple[int, ...]:
        """Return the directions; XGBoost would accept other numbers without a word."""
        return tuple(
            int(_one_of(item.removeprefix("+"), ("-1", "0", "1"))) for item in _items(text)
        )

    def text(self, value: Value) -> str:
        """Return the tuple with parentheses, the only spelling XGBoost reads."""
        return f"({_joined(value, ',')})"


class InteractionConstraints(Kind):
    """Groups of 0-based feature indices, a list of lists or tuples."""

    def parse(self, text: str) -> tuple[tuple[int, ...], ...]:
        """Return the groups."""
        plain = unquoted(text).translate(_BRACKETS)
        try:
            groups = json.loads("".join(plain.split()).replace(",]", "]"))
        except (ValueError, RecursionError):
            raise RejectedError from None
        if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
            raise RejectedError
        if not all(_is_index(item) for group in groups for item in group):
            raise RejectedError("indices count from 0")
        return tuple(tuple(group) for group in groups)

    def text(self, value: Value) -> str:
        """Return a JSON list of lists."""
        return json.dumps(value)


@dataclass(frozen=True)
class Device(Kind):
    """``cpu``, ``cuda`` or ``cuda:N``; ``gpu`` is another word for ``cuda``."""

    def parse(self, text: str) -> str:
        """Return the device, spelled with cuda."""
        name, colon, ordinal = unquoted(text).partition(":")
        numbered = name in ("cuda", "gpu") and ordinal.isascii() and ordinal.isdigit()
        if not (numbered and len(ordinal) < 4 if colon else name in ("cpu", "cuda", "gpu")):
            raise RejectedError
        return f"{name.replace('gpu', 'cuda')}{colon}{ordinal}"


class Column(Kind):
    """A column's name, or its position as text; which of the two it is, the file decides.

    A position is written ``0``, ``12`` or ``-1``: ``01`` and ``+1`` can only be names.
    """

    def parse(self, text: str) -> str:
        """Return the name; blanks around it count only within JSON quotes."""
        return _nonempty(_exact(text))

    def text(self, value: Value) -> str:
        """Return the name, in JSON quotes where it would not read back without them."""
        plain = str(value)
        return _json(plain) if '"' in plain or plain != plain.strip() else plain


class Texts(Kind):
    """Any texts: a comma list, or a JSON list for those that hold a comma or outer blanks."""

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the texts in the order given; a JSON list's numbers become text as written."""
        plain = unquoted(text)
        if plain.startswith("[") and plain.endswith("]"):
            return tuple(map(_nonempty, _json_texts(plain)))
        items = [item.strip() for item in plain.removesuffix(",").split(",")]
        if any(item.count('"') == 1 for item in items):
            raise RejectedError(_JSON_LIST)
        return tuple(_nonempty(_exact(item)) for item in items)

    def text(self, value: Value) -> str:
        """Return a JSON list."""
        return _json(value)


class Columns(Texts):
    """Several columns, each as in ``Column``."""


class MaxFeatures(Kind):
    """sqrt, log2, a share of the columns, or how many: 1.0 is all of them, 1 is one."""

    def parse(self, text: str) -> Value:
        """Return the word, the share as float, or the number of columns as int."""
        plain = unquoted(text)
        if plain in ("sqrt", "log2"):
            return plain
        if plain.isascii() and plain.isdigit():
            return Integer("[1, +inf)").parse(plain)
        share = Continuous("(0, 1]")
        return share.parse(plain)


class Delimiter(Kind):
    """auto, the name of a delimiter, or the character itself, quoted or not."""

    def parse(self, text: str) -> str:
        """Return the name; a blank or a tab is looked for before blanks are taken off."""
        named = {character: name for name, character in DELIMITERS.items()} | {"\\t": "tab"}
        plain = _exact(text) if text.strip() else text
        return named.get(plain) or _one_of(plain.strip(), ("auto", *DELIMITERS))


_BRACKETS = str.maketrans("()", "[]")
_JSON_LIST = 'a list with brackets or quotes is JSON: ["a, b", 3]'


def unquoted(text: str) -> str:
    """Return ``text`` without the spaces around it and without one pair of JSON quotes."""
    plain = text.strip()
    if len(plain) > 1 and plain[0] == plain[-1] == '"':
        try:
            return str(json.loads(plain)).strip()
        except ValueError:
            return plain
    return plain


def same(kind: Kind, one: str, other: str) -> bool:
    """Return whether both texts stand for one value."""
    try:
        return kind.parse(one) == kind.parse(other)
    except RejectedError:
        return one == other


def bounds(interval: str) -> tuple[float, float]:
    """Return both ends of an interval such as ``(0, 1]``."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def within(number: float, interval: str) -> bool:
    """Return whether ``number`` lies in ``interval``; false for nan."""
    low, high = bounds(interval)
    above = low < number if interval[0] == "(" else low <= number
    return above and (number < high if interval[-1] == ")" else number <= high)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean …?`` for the closest known word, or nothing."""
    # Only a mistake needs difflib, so a job without one does not pay for its import.
    import difflib

    spelled = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word[:64].lower(), list(spelled), 1)
    return f"did you mean {spelled[close[0]]}?" if close else ""


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise RejectedError from None
    if number != 0 and not FLOAT_MIN <= abs(number) <= FLOAT_MAX:
        raise RejectedError("no nan, no infinity, nothing beyond single precision")
    return number


def _whole_number_hint(text: str) -> str:
    try:
        number = float(text)
        whole = int(number)
    except (ValueError, OverflowError):
        return "a whole number"
    return f"written as a whole number: {whole}" if whole == number else "a whole number"


def _one_of(word: str, values: tuple[str, ...]) -> str:
    if word not in values:
        raise RejectedError(nearest(word, values))
    return word


def _metric(name: str) -> str:
    if lookup(name) is None:
        base = name.partition("@")[0]
        row = METRICS.get(base)
        hint = _parameter_hint(base, row.parameter) if row else f"({nearest(name, METRICS)})"
        raise RejectedError(hint.replace("()", ""))
    return name


def _parameter_hint(base: str, parameter: str) -> str:
    return f"({base}@ takes {parameter})" if parameter else f"({base} takes no @)"


def _items(text: str) -> list[str]:
    """Split ``a, b``, ``(a, b)`` or ``["a", "b"]``; a comma may stand at the end."""
    plain = unquoted(text)
    if plain[:1] + plain[-1:] in ("()", "[]"):
        plain = plain[1:-1].strip()
    items = [unquoted(item) for item in plain.removesuffix(",").split(",")]
    if not all(items):
        raise RejectedError("an empty element")
    return items


def _every(read: Callable[[str], str], items: list[str]) -> tuple[str, ...]:
    """Return all items read; the refusal of a list names every wrong item, not the first."""
    good, bad = [], []
    for item in items:
        try:
            good.append(read(item))
        except RejectedError as error:
            bad.append(f"{item[:40]!r} is not known {error}".strip())
    if bad:
        raise RejectedError("; ".join(bad))
    return tuple(good)


def _joined(value: Value, separator: str) -> str:
    return separator.join(map(str, value)) if isinstance(value, tuple) else str(value)


def _exact(text: str) -> str:
    """Return ``text`` without the spaces around it, or what stands in its JSON quotes."""
    plain = text.strip()
    if len(plain) > 1 and plain[0] == plain[-1] == '"':
        try:
            return str(json.loads(plain, strict=False))
        except ValueError:
            raise RejectedError("the quotes are not JSON") from None
    return plain


def _json_texts(text: str) -> list[str]:
    try:
        # As they are written: 1.50 is that text, and not the text of a number.
        items = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise RejectedError(_JSON_LIST) from None
    if not all(isinstance(item, str) for item in items):
        raise RejectedError("texts and numbers only")
    return list(items)


def _nonempty(text: str) -> str:
    if not text:
        raise RejectedError("an empty element")
    return text


def _json(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_index(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= INT_MAX


def _published_words(values: tuple[str, ...]) -> Published:
    words: dict[str, object] = {"Values": list(values)}
    return {"Type": "Categorical", "Range": {"CategoricalParameterRangeSpecification": words}}
