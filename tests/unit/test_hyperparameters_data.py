"""The hyperparameters that say how the job's files are read."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline.errors import HyperparameterError
from treeline.hyperparameters import DataOptions, parse
from treeline.hyperparameters.config import Config
from treeline.hyperparameters.presets import PRESETS
from treeline.hyperparameters.table import DATA, TABLE

COLUMN = [
    "label_column",
    "weight_column",
    "group_column",
    "time_column",
    "label_lower_bound_column",
    "label_upper_bound_column",
]
COLUMNS = ["base_margin_column", "ignore_columns", "categorical_columns"]
BOUNDS = {"label_lower_bound_column": "low", "label_upper_bound_column": "high"}
AFT = {"objective": "survival:aft", **BOUNDS}
MULTI = {"objective": "multi:softprob", "num_class": "3"}


def ask(**values: str) -> Config:
    return parse({"num_round": "5", **values})


def refused(**values: str) -> str:
    with pytest.raises(HyperparameterError) as caught:
        ask(**values)
    assert caught.value.cause.isprintable()
    return caught.value.cause


def test_they_are_all_declared_and_none_reaches_xgboost_or_the_tuner() -> None:
    names = {name for name, parameter in TABLE.items() if parameter.group == DATA}
    # A preset stands for others, and names the features.
    assert names - {"dataset_preset"} == set(DataOptions.__dataclass_fields__) - {"keep_columns"}
    assert all(TABLE[name].own and TABLE[name].tunable is None for name in names)


def test_what_is_asked_for_is_what_the_readers_get() -> None:
    config = ask(
        target_column="price", weight_column="2", group_column="-1", base_margin_column="m",
        ignore_columns="id, 7", categorical_columns='["a, b", 3]', csv_header="True",
        csv_delimiter=";", missing_values="NA,-999", hive_partitions="true", leakage="fail",
        external_memory="false",
    )  # fmt: skip
    assert config.data == DataOptions(
        label_column="price",
        weight_column="2",
        group_column="-1",
        base_margin_column=("m",),
        ignore_columns=("id", "7"),
        categorical_columns=("a, b", "3"),
        csv_header=True,
        csv_delimiter=";",
        missing_values=("NA", "-999"),
        hive_partitions=True,
        leakage="fail",
        external_memory=False,
    )
    assert config.warnings == ()
    assert set(config.booster) == {"objective", "seed", "seed_per_iteration"}
    bounded = ask(**AFT).data
    assert (bounded.label_lower_bound_column, bounded.label_upper_bound_column) == ("low", "high")


def test_the_defaults_are_those_of_the_value() -> None:
    assert ask().data == DataOptions()
    said = {name: p.default for name, p in TABLE.items() if p.group == DATA}
    assert ask(**{name: text for name, text in said.items() if text is not None}).data == (
        DataOptions()
    )


# --- one column -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", COLUMN[:3])
@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("price", "price"), (" price ", "price"), ('"price"', "price"), ('" price"', " price"),
        ("0", "0"), ("-1", "-1"), ('"12"', "12"), ("01", "01"), ("a, b", "a, b"),
        ('"a, b"', "a, b"), ("[kg]", "[kg]"), ('5" pipe', '5" pipe'), ('"a\\"b"', 'a"b'),
        ("Preis €", "Preis €"), ('"\\u20ac"', "€"), ("None", "None"),
    ],
)  # fmt: skip
def test_a_column_is_a_name_or_a_position(name: str, text: str, column: str) -> None:
    assert getattr(ask(**{name: text}).data, name) == column
    kind = TABLE[name].kind
    assert kind.parse(kind.text(column)) == column


@pytest.mark.parametrize("name", COLUMN)
@pytest.mark.parametrize("text", ["", " ", '""', '"a"b"'])
def test_no_column(name: str, text: str) -> None:
    assert f"{name}: found {text!r}, allowed a name, or a position" in refused(**{name: text})


# --- several columns, and missing values ----------------------------------------------------


@pytest.mark.parametrize("name", ["ignore_columns", "categorical_columns", "missing_values"])
@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("a", ("a",)), ("a,b", ("a", "b")), (" a , b ,", ("a", "b")), ("3,-1,x y", ("3", "-1",
        "x y")), ('["a, b", 3]', ("a, b", "3")), ('"a,b"', ("a", "b")), ('" a", b', (" a", "b")),
        ('"[\\"a, b\\", -1]"', ("a, b", "-1")), ("[]", ()), ("[1.50, 1e3]", ("1.50", "1e3")),
        ("[NaN]", ("NaN",)), ("?", ("?",)), ("(a)", ("(a)",)), ("\\N", ("\\N",)),
    ],
)  # fmt: skip
def test_lists(name: str, text: str, texts: tuple[str, ...]) -> None:
    assert getattr(ask(**{name: text}).data, name) == texts
    kind = TABLE[name].kind
    assert kind.parse(kind.text(texts)) == texts


@pytest.mark.parametrize("name", [*COLUMNS, "missing_values"])
@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "an empty element"), (",", "an empty element"), ("a,,b", "an empty element"),
        ('[""]', "an empty element"), ('a,""', "an empty element"), ("['a', 'b']", "is JSON"),
        ("[a, b]", "is JSON"), ('"a, b", c', "is JSON"), ('"a, b", "c"', "is JSON"),
        ("[true]", "texts and numbers"), ("[null]", "texts and numbers"),
        ('[["a"]]', "texts and numbers"), ("[" * 99_999 + "]", "is JSON"),
    ],
)  # fmt: skip
def test_lists_refused(name: str, text: str, hint: str) -> None:
    found = refused(**{name: text})
    assert found.startswith(f"Hyperparameter {name}: found")
    assert hint in found


def test_no_missing_values_is_not_the_default() -> None:
    assert ask(missing_values="[]").data.missing_values == ()
    assert ask().data.missing_values is None


# --- CSV ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("auto", None), ("comma", ","), ("tab", "\t"), ("semicolon", ";"), ("pipe", "|"),
        ("space", " "), (",", ","), (";", ";"), ("|", "|"), ("\t", "\t"), (" ", " "),
        ("\\t", "\t"), (json.dumps("\t"), "\t"), (json.dumps("\\t"), "\t"), ('"\t"', "\t"),
        ('" "', " "), ('","', ","), (' "comma" ', ","), (" tab ", "\t"), (" ; ", ";"),
    ],
)  # fmt: skip
def test_delimiters_by_name_and_as_they_are(text: str, character: str | None) -> None:
    assert ask(csv_delimiter=text).data.csv_delimiter == character
    kind = TABLE["csv_delimiter"].kind
    assert kind.parse(kind.text(kind.parse(text))) == kind.parse(text)


@pytest.mark.parametrize("text", ["", "  ", '""', ":", ",,", "tabs", "Comma", "\n", '"'])
def test_delimiters_refused(text: str) -> None:
    assert "allowed [auto, comma, tab, semicolon, pipe, space]" in refused(csv_delimiter=text)


@pytest.mark.parametrize("name", ["csv_header", "external_memory"])
def test_switches(name: str) -> None:
    texts = {"auto": None, "AUTO": None, "true": True, "1": True, '"True"': True, "false": False,
             "0": False, "False": False}  # fmt: skip
    for text, value in texts.items():
        assert getattr(ask(**{name: text}).data, name) is value
    for text in ("", "yes", "2", "none"):
        assert f"{name}: found {text!r}, allowed [auto, true, false]" in refused(**{name: text})


# --- rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"csv_weights": "1", "weight_column": "w"}, "csv_weights: found '1', allowed 0"),
        ({"csv_weights": "1", "weight_column": "2"}, "csv_weights: found '1', allowed 0"),
        ({**AFT, "label_column": "y"}, "label_column: found 'y', allowed nothing"),
        ({"objective": "survival:aft"}, "needs label_lower_bound_column and label_upper_bound"),
        (
            {"objective": "survival:aft", "label_lower_bound_column": "low"},
            "label_upper_bound_column: missing",
        ),
        ({"label_lower_bound_column": "low"}, "label_lower_bound_column: found 'low'"),
        (
            {"label_upper_bound_column": "high", "objective": "survival:cox"},
            "objective=survival:aft only; here objective=survival:cox",
        ),
        ({"base_margin_column": "a,b"}, "allowed one column"),
        ({**MULTI, "base_margin_column": "a"}, "allowed 3 columns"),
        ({**MULTI, "base_margin_column": "a,b"}, "allowed 3 columns"),
        (
            {"objective": "reg:quantileerror", "quantile_alpha": "0.1,0.9",
             "base_margin_column": "a"},
            "allowed 2 columns",
        ),
        (
            {"objective": "reg:quantileerror", "quantile_alpha": "0.5",
             "base_margin_column": "a,b"},
            "allowed one column",
        ),
        ({"label_column": "y", "weight_column": "y"}, "weight_column: found 'y', allowed every"),
        ({"label_column": "0", "ignore_columns": '[0, "b"]'}, "label_column has it already"),
        ({"label_column": "y", "categorical_columns": '"y"'}, "label_column has it already"),
        ({"group_column": "q", "ignore_columns": "a,q"}, "ignore_columns: found"),
        ({"ignore_columns": "a,b,a"}, "ignore_columns has it already"),
        ({"ignore_columns": "a", "categorical_columns": "a"}, "ignore_columns has it already"),
        ({"categorical_columns": "a", "booster": "gblinear"}, "nothing with booster=gblinear"),
        ({"categorical_columns": "a", "tree_method": "exact"}, "nothing with tree_method=exact"),
        ({"categorical_columns": "a", "updater": "grow_colmaker"}, "nothing with tree_method="),
        ({"external_memory": "true", "booster": "gblinear"}, "auto or false with booster"),
        ({"external_memory": "true", "tree_method": "exact"}, "auto or false with tree_method"),
        ({"external_memory": "true", "tree_method": "approx"}, "auto or false with tree_method"),
        ({"external_memory": "true", "updater": "grow_quantile_histmaker"}, "with an updater"),
    ],
)  # fmt: skip
def test_rules(values: dict[str, str], expected: str) -> None:
    text = refused(**values)
    assert text.startswith("Hyperparameter ")  # and not a second one
    assert expected in text


@pytest.mark.parametrize(
    "values",
    [
        {"csv_weights": "1", "weight_column": "1"},
        {"csv_weights": "0", "weight_column": "w"},
        {**MULTI, "base_margin_column": "a,b,c"},
        {**MULTI, "base_margin_column": "[]"},
        {**AFT, "base_margin_column": "m"},
        {"objective": "reg:quantileerror", "quantile_alpha": "0,1", "base_margin_column": "a,b"},
        {"objective": "rank:ndcg"},
        {"group_column": "customer"},
        {"label_column": "1", "weight_column": "01"},
        {"categorical_columns": "a", "tree_method": "approx"},
        {"categorical_columns": "[]", "tree_method": "exact"},
        {"external_memory": "true", "tree_method": "hist"},
        {"external_memory": "true", "tree_method": "gpu_hist"},
        {"external_memory": "true", "updater": "sync"},
        {"external_memory": "auto", "tree_method": "exact"},
        {"external_memory": "false", "booster": "gblinear"},
    ],
)  # fmt: skip
def test_what_is_legal(values: dict[str, str]) -> None:
    config = ask(**values)
    old = ("gblinear", "gpu_hist", "updater=sync")
    assert [w for w in config.warnings if not any(word in w for word in old)] == []


def test_a_consequence_of_a_problem_is_not_a_second_one() -> None:
    margins = {"base_margin_column": "a,b"}
    assert refused(objective="multi:softmax", **margins).startswith("Hyperparameter num_class")
    assert refused(objective="reg:quantileerror", **margins).startswith("Hyperparameter quantile_")
    text = refused(**{**AFT, "label_lower_bound_column": ""})
    assert text.startswith("Hyperparameter label_lower_bound_column: found ''")


def test_a_column_that_cannot_be_printed_is_shown_in_one_line() -> None:
    assert "\\n" in refused(label_column='"a\\nb"', weight_column='"a\\nb"')


# Each of these was a rule; XGBoost itself says why.


def _data(margins: int = 0) -> xgb.DMatrix:
    rng = np.random.default_rng(0)
    features = rng.random((30, 3))
    features[:, 0] = np.arange(30) % 4
    margin = np.zeros((30, margins)) if margins else None
    types = ["c", "q", "q"] if not margins else None
    return xgb.DMatrix(
        features, np.arange(30) % 3, base_margin=margin, feature_types=types,
        enable_categorical=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("params", "margins", "good"),
    [
        ({"objective": "multi:softprob", "num_class": 3}, 3, True),
        ({"objective": "multi:softprob", "num_class": 3}, 1, False),
        ({"objective": "reg:quantileerror", "quantile_alpha": "[0.1, 0.9]"}, 2, True),
        ({"objective": "reg:quantileerror", "quantile_alpha": "[0.1, 0.9]"}, 1, False),
        ({}, 2, False),
        ({"tree_method": "approx"}, 0, True),
        ({"tree_method": "exact"}, 0, False),
        ({"booster": "gblinear"}, 0, False),
    ],
)
def test_xgboost_agrees(params: dict[str, Any], margins: int, good: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if good:
            xgb.train({"nthread": 1, **params}, _data(margins), 1)
        else:
            with pytest.raises(xgb.core.XGBoostError):
                xgb.train({"nthread": 1, **params}, _data(margins), 1)


# --- presets --------------------------------------------------------------------------------

AIRLINE = PRESETS["airline"].features


def test_the_airline_preset_fills_what_is_not_given() -> None:
    config = ask(dataset_preset="airline")
    assert config.data == DataOptions(
        label_column="ArrDel15", missing_label="drop", keep_columns=AIRLINE
    )
    assert config.objective == "binary:logistic"
    assert len(AIRLINE) == 13
    assert config.given == {"num_round": "5", "dataset_preset": "airline"}
    assert config.notes == (
        "dataset_preset=airline stands for label_column=ArrDel15, objective=binary:logistic, "
        "missing_label=drop, features by name",
    )
    assert config.warnings == (
        "dataset_preset=airline: AirTime is known only after landing, so it leaks the label of a "
        "flight that is about to depart; ignore_columns=AirTime leaves it out",
    )


def test_what_is_given_is_not_filled() -> None:
    config = ask(
        dataset_preset="airline", target_column="DepDel15", objective="reg:logistic",
        missing_label="fail", leakage="ignore",
    )  # fmt: skip
    assert config.data.label_column == "DepDel15"
    assert config.data.missing_label == "fail"
    assert config.objective == "reg:logistic"
    assert config.notes == ("dataset_preset=airline stands for features by name",)
    assert "AirTime" in config.warnings[0]


def test_the_column_that_leaks_can_be_left_out() -> None:
    config = ask(dataset_preset="airline", ignore_columns="AirTime,Tail_Number", leakage="fail")
    assert config.data.keep_columns == tuple(name for name in AIRLINE if name != "AirTime")
    assert config.data.ignore_columns == ("Tail_Number",)  # the file need not have AirTime
    assert not [line for line in config.warnings if "leaks" in line]
    elsewhere = ask(dataset_preset="airline", weight_column="AirTime")
    assert not [line for line in elsewhere.warnings if "leaks" in line]


def test_leakage_is_refused_where_the_job_says_so() -> None:
    text = refused(dataset_preset="airline", leakage="fail")
    assert "leakage: found 'fail', allowed warn or ignore with dataset_preset=airline" in text
    assert "ignore_columns=AirTime" in text


def test_the_taxi_preset() -> None:
    config = ask(dataset_preset="nyc_taxi")
    assert config.data == DataOptions(label_column="above_average_tip", missing_label="drop")
    assert config.objective == "binary:logistic"
    assert (len(config.notes), config.warnings) == (1, ())


def test_no_preset_fills_nothing() -> None:
    assert ask(dataset_preset="none").data == DataOptions()
    assert ask(dataset_preset="none").notes == ask(dataset_preset="none").warnings == ()
    assert "dataset_preset: found 'airlines'" in refused(dataset_preset="airlines")
    assert ask(dataset_preset='"airline"').data.label_column == "ArrDel15"


def test_rules_apply_to_what_a_preset_fills() -> None:
    assert "num_class: found '3'" in refused(dataset_preset="airline", num_class="3")
    assert "label_column has it already" in refused(
        dataset_preset="airline", weight_column="ArrDel15"
    )
