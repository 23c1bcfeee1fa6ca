"""Whatever text arrives, the answer is a configuration or a list of problems."""

from __future__ import annotations

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from treeline.errors import HyperparameterError
from treeline.hyperparameters import Config, parse
from treeline.hyperparameters.kinds import (
    FLOAT_MAX,
    FLOAT_MIN,
    INT_MAX,
    AutoCount,
    Bins,
    Boolean,
    Categorical,
    CategoricalList,
    Column,
    Columns,
    Continuous,
    Delimiter,
    FloatList,
    Integer,
    InteractionConstraints,
    Kind,
    Metrics,
    MonotoneConstraints,
    RejectedError,
    Switch,
    Texts,
)
from treeline.hyperparameters.table import ALIASES, TABLE
from treeline.metrics.names import METRICS, lookup

NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12), st.integers(-3, 12), st.floats(), st.floats(-2, 3)
)
METRIC_NAMES = st.sampled_from([*METRICS, "ndcg@3", "map@7-", "error@0.25", "ams@0.1"]).filter(
    lambda name: lookup(name) is not None
)


COLUMN_TEXTS = (
    st.integers(-3, 3).map(str)
    | st.sampled_from(["age", "a b", '"a, b"', '" x "'])
    | st.text(min_size=1, max_size=4).map(json.dumps)
)

LISTS = (
    st.lists(COLUMN_TEXTS, max_size=3).map(",".join)
    | st.lists(st.text(min_size=1, max_size=4) | st.integers(), max_size=3).map(json.dumps)
)  # fmt: skip
WORDS = st.sampled_from(["cpu", "cuda:1", "validation:rmse", "train:auc", "x"])
DATA_TEXTS: dict[type[Kind], st.SearchStrategy[str]] = {
    Column: COLUMN_TEXTS,
    Columns: LISTS,
    Texts: LISTS,
    Delimiter: st.sampled_from(["auto", "tab", "\\t", "\t", ",", " ", '" "', "space"]),
    Switch: st.sampled_from(["auto", "true", "False", "0"]),
    AutoCount: st.sampled_from(["auto", "0", "1", "10"]),
}


def texts_of(kind: Kind) -> st.SearchStrategy[str]:
    """Texts that ``kind`` accepts often, though not always."""
    match kind:
        case Integer():
            return st.integers(-3, 12).map(str)
        case Continuous():
            return st.floats(-0.5, 2.5, width=32).map(str)
        case Boolean():
            return st.sampled_from(["true", "false", "0", "1"])
        case Categorical():
            return st.sampled_from(kind.values)
        case CategoricalList():
            return st.lists(st.sampled_from(kind.values), max_size=3).map(",".join)
        case Metrics():
            return st.lists(METRIC_NAMES, min_size=1, max_size=4).map(", ".join)
        case FloatList():
            return st.lists(st.floats(0, 1, width=32), max_size=3).map(lambda x: str(sorted(x)))
        case MonotoneConstraints():
            return st.lists(st.integers(-1, 1), max_size=4).map(lambda x: str(tuple(x)))
        case InteractionConstraints():
            return st.lists(st.lists(st.integers(0, 5)), max_size=3).map(str)
        case _:
            return DATA_TEXTS.get(type(kind), WORDS)


def jobs() -> st.SearchStrategy[dict[str, str]]:
    likely = st.sampled_from(list(TABLE)).flatmap(
        lambda name: st.tuples(st.just(name), texts_of(TABLE[name].kind))
    )
    return st.lists(likely, max_size=5).map(lambda items: {"num_round": "3", **dict(items)})


def outcome(values: dict[str, str]) -> Config | None:
    try:
        return parse(values)
    except HyperparameterError as error:
        text = error.cause + error.remedy
    assert text.isprintable()  # one line, and safe to write to any log
    return None


@settings(max_examples=400, deadline=None)
@given(jobs())
def test_what_was_given_reads_back_as_the_same_configuration(values: dict[str, str]) -> None:
    config = outcome(values)
    if config is None:
        return
    assert parse(config.given) == config
    printed = {
        name: TABLE[name].kind.text(TABLE[name].kind.parse(text))
        for name, text in config.given.items()
    }
    again = parse(printed)
    assert again.booster == config.booster
    assert again.data == config.data
    assert again.checkpoints == config.checkpoints
    assert again.eval_metrics == config.eval_metrics
    assert again.notes == config.notes
    assert again.warnings == config.warnings


NAMES = st.sampled_from([*TABLE, *ALIASES]) | st.text(max_size=20)
TEXTS = st.one_of(
    st.text(max_size=30), NUMBERS.map(str), st.text("()[]{},:@-\"' 0123456789.", max_size=20)
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(NAMES, TEXTS, max_size=6))
def test_any_text_is_answered_with_one_error_class(values: dict[str, str]) -> None:
    outcome(values)


@settings(max_examples=300, deadline=None)
@given(jobs(), st.sampled_from(list(TABLE)), st.text(max_size=12))
def test_a_legal_job_with_one_odd_value_is_answered_too(
    values: dict[str, str], name: str, text: str
) -> None:
    outcome({**values, name: text})


@settings(max_examples=300, deadline=None)
@given(
    NUMBERS,
    st.sampled_from(
        [
            name
            for name, p in TABLE.items()
            if isinstance(p.kind, Integer | Continuous) and not isinstance(p.kind, Bins)
        ]
    ),
)
def test_bounds_are_honoured(number: float, name: str) -> None:
    kind = TABLE[name].kind
    low, high = (float(end) for end in kind.allowed[1:-1].split(","))
    inside = low < number < high
    inside |= kind.allowed.startswith("[") and number == low
    inside |= kind.allowed.endswith("]") and number == high
    if isinstance(kind, Integer):
        inside &= isinstance(number, int) and number <= INT_MAX
    else:
        inside &= math.isfinite(number) and (number == 0 or FLOAT_MIN <= abs(number) <= FLOAT_MAX)
    try:
        value = kind.parse(str(number))
    except RejectedError:
        assert not inside
    else:
        assert inside
        assert value == number


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=16) | st.builds("{}@{}".format, st.sampled_from(list(METRICS)), NUMBERS))
def test_a_metric_is_spelled_one_way(name: str) -> None:
    metric = lookup(name)
    if metric is not None:
        again = lookup(metric.name)
        assert again == metric
