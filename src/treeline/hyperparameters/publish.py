"""The table of hyperparameters for others: CreateAlgorithm's form, and a page for people."""

from __future__ import annotations

from collections.abc import Sequence

from treeline.hyperparameters.table import DATA, DEAD, GROUPS, TABLE, Parameter
from treeline.metrics.names import METRICS, OBJECTIVES, Metric, default_for

# CreateAlgorithm and CreateTrainingJob take at most this many hyperparameters.
LIMIT = 100

_INTRODUCTION = """\
# Hyperparameters

Generated from `src/treeline/hyperparameters/table.py`; edit the table, not this page.

Boosting needs `num_round`; nothing else is required. Values are text, as SageMaker sends them:
spaces around a value and one pair of JSON quotes are ignored, lists are separated by commas, and
whole numbers are written without a point or an exponent. `nan` and infinities are refused. Names
and ranges are those of the built-in XGBoost image, plus what XGBoost 3.4.1 adds. Names that start
with `sagemaker_` belong to the SDK and are ignored.

A wrong value, an unknown name, or two values that contradict each other stop the job before any
data is read, and all such mistakes are reported together. A value that would have no effect, such
as `max_depth` with `booster=gblinear`, is left out of the training with a warning.

Brackets mark the ends of a range: `[0, 1]` has both, `(0, 1]` is without 0. The tuner column is
the range to start a tuning job from; only those hyperparameters are declared tunable.
"""

_DATA_TEXT = """\
A column is named by its name or by its position: `0` is the first column of the file, `-1` the
last, and text in any other form (`01`, `+1`) can only be a name. What is one column's name and
another's position is refused. Lists are comma lists; names that hold a comma or begin or end with
a blank need a JSON list: `["a, b", " c", 3]`. `csv_delimiter` also takes the character itself, or
`\\t`. `missing_values=[]` leaves only the empty field missing.

A column plays one part. What is neither label, weight, group, bound nor margin and is not ignored
is a feature.

"""

_METRICS_TEXT = """\
## Metrics

`eval_metric` takes a comma list of these names. They are reported in the order given, for the
training and the validation data; early stopping follows the last one, or the tuner's
(`_tuning_objective_metric`), which is added to the list. Without `eval_metric` the objective's own
metric is reported.

`ndcg@5` cuts every group at 5, and a `-` at the end of `ndcg`, `map` or `pre` counts a group
without any hit as 0. `error@0.7` moves the threshold. `tweedie-nloglik` alone is read with
`tweedie_variance_power`. The log prints the shortest spelling: `error@0.5` is `error`.
"""


def spec() -> list[dict[str, object]]:
    """Return SupportedHyperParameters as CreateAlgorithm takes them: those of its form."""
    return [_specification(each) for each in TABLE.values() if each.form and not each.dead]


def document() -> str:
    """Return the page ``docs/hyperparameters.md``."""
    groups = [_group(name) for name in GROUPS if name != DEAD]
    return "\n".join([_INTRODUCTION, *groups, _objectives(), _metrics(), _old()])


def _specification(parameter: Parameter) -> dict[str, object]:
    entry: dict[str, object] = {
        "Name": parameter.name,
        "Description": _help(parameter),
        **parameter.kind.publish(),
        "IsTunable": parameter.tunable is not None,
        "IsRequired": False,
    }
    return entry if parameter.default is None else {**entry, "DefaultValue": parameter.default}


def _help(parameter: Parameter) -> str:
    return f"{parameter.help}; {parameter.dead}" if parameter.dead else parameter.help


def _group(name: str) -> str:
    rows = [_row(parameter) for parameter in TABLE.values() if parameter.group == name]
    header = ("name", "type", "allowed", "default", "tuner", "what it does")
    text = _DATA_TEXT if name == DATA else ""
    return f"## {name}\n\n{text}{_table(header, rows)}"


def _row(parameter: Parameter) -> tuple[str, ...]:
    names = [f"`{parameter.name}`", *(f"also `{alias}`" for alias in parameter.aliases)]
    needs = "".join(f"; only with {need}" for need in parameter.needs if need.name != "booster")
    low, high = parameter.tunable or ("", "")
    return (
        "<br>".join(names),
        str(parameter.kind.publish()["Type"]),
        f"`{parameter.kind.allowed}`",
        parameter.default or "none",
        f"[{low}, {high}]" if parameter.tunable else "",
        parameter.help + needs,
    )


def _objectives() -> str:
    rows = [
        (f"`{name}`", objective.task, f"`{default_for(name)}`")
        for name, objective in OBJECTIVES.items()
        if name not in (TABLE["objective"].old or {})
    ]
    return f"## Objectives\n\n{_table(('objective', 'learns', 'own metric'), rows)}"


def _metrics() -> str:
    rows = [_metric_row(metric) for metric in METRICS.values()]
    header = ("metric", "better", "computed by", "for", "what it is")
    return f"{_METRICS_TEXT}\n{_table(header, rows)}"


def _metric_row(metric: Metric) -> tuple[str, ...]:
    parameter = f"; after @: {metric.parameter}" if metric.parameter else ""
    return (
        f"`{metric.name}`",
        "higher" if metric.maximize else "lower",
        "XGBoost" if metric.native else "Treeline",
        ", ".join(metric.tasks),
        metric.help + parameter,
    )


def _old() -> str:
    dead = [(f"`{p.name}`", p.dead) for p in TABLE.values() if p.dead]
    values = [
        (f"`{parameter.name}={value}`", old.why)
        for parameter in TABLE.values()
        for value, old in (parameter.old or {}).items()
    ]
    return (
        "## Accepted with a warning\n\n"
        "Jobs written for older images keep running. These no longer do anything, or do it under "
        f"another name:\n\n{_table(('given', 'what to know'), dead + values)}"
    )


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
