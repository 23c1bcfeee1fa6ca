"""Whole models of XGBoost are seen as whole, and no beginning of one is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline import ubjson

RANDOM = np.random.default_rng(3)
X, Y = RANDOM.normal(size=(60, 3)), np.arange(60) % 3


def saved(form: str, categories: bool = False, **parameters: Any) -> bytes:
    rows = np.column_stack([X[:, :2], Y]) if categories else X
    types = ["q", "q", "c"] if categories else None
    data = xgb.DMatrix(rows, Y, feature_types=types, enable_categorical=categories)
    booster = xgb.train({"nthread": 1, "max_depth": 2, **parameters}, data, 2)
    booster.set_attr(best_iteration="1", note="é" * 200)
    return bytes(booster.save_raw(form))


MODELS: dict[str, dict[str, Any]] = {
    "trees": {},
    "classes": {"objective": "multi:softprob", "num_class": 3},
    "categories": {"categories": True},
    "vectors": {
        "multi_strategy": "multi_output_tree",
        "objective": "multi:softprob",
        "num_class": 3,
    },
    "quantiles": {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]},
}


@pytest.mark.parametrize("name", MODELS)
def test_models_are_whole_and_their_beginnings_are_not(name: str) -> None:
    content = saved("ubj", **MODELS[name])
    assert ubjson.is_ubjson(content)
    assert ubjson.is_whole(content)
    assert not [n for n in range(0, len(content), 7) if ubjson.is_whole(content[:n])]


@pytest.mark.filterwarnings("ignore:.*gblinear:UserWarning")  # gblinear is deprecated
def test_a_linear_model_is_whole() -> None:
    assert ubjson.is_whole(saved("ubj", booster="gblinear", max_depth=None))


def test_json_is_not_ubjson() -> None:
    assert not ubjson.is_ubjson(saved("json"))
    assert not ubjson.is_ubjson(b'{ "learner": {}}')


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (b"{}", True),
        (b"[]", True),
        (b"{U\1aSU\2bc}", True),
        (b"{U\1aTi\1bi\5}", True),
        (b"[#U\2ZN", True),
        (b"{#U\1U\1aF", True),
        (b"[$U#L" + bytes(7) + b"\2ab", True),
        (b"[$SU\1", False),
        (b"[$U#U\3ab", False),
        (b"[$S#U\2U\1aU\1", False),
        (b"{U\1a", False),
        (b"{i\xffa", False),
        (b"[#i\xffZ", False),
        (b"{S", False),
        (b"?", False),
        (b"", False),
        (b"[" * 100_000, False),
    ],
)
def test_values(content: bytes, whole: bool) -> None:
    assert ubjson.is_whole(content) is whole
