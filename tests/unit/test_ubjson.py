"""Whole models of XGBoost are seen as whole, no beginning of one is; their parts are found."""

from __future__ import annotations

from collections.abc import Callable
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


# --- finding what stands in a value -----------------------------------------------------------


def test_members_are_read_one_by_one() -> None:
    content = b"{U\1ai\5I\0\2bcSU\3xyzl\0\0\0\1d[#U\2ZT}Z"
    reader, found = ubjson.Reader(content), {}
    for name in reader.members():
        first = reader.at
        reader.skip()
        found[name] = content[first : reader.at]
    assert found == {b"a": b"i\5", b"bc": b"SU\3xyz", b"d": b"[#U\2ZT"}
    assert content[reader.at :] == b"Z"


def test_what_is_left_of_an_object() -> None:
    reader = ubjson.Reader(b"{U\1aTU\1bF}")
    for _ in reader.members():
        reader.skip()
        break
    for name in reader.rest():
        assert name == b"b"
        reader.skip()
    assert reader.at == 10


@pytest.mark.parametrize("opening", [b"#U\2", b""])
def test_items_are_read_one_by_one(opening: bytes) -> None:
    content = b"[" + opening + b"i\1SU\1a" + (b"" if opening else b"]")
    reader, found = ubjson.Reader(content), []
    for _ in reader.items():
        first = reader.at
        reader.skip()
        found.append(content[first : reader.at])
    assert found == [b"i\1", b"SU\1a"]
    assert reader.at == len(content)


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        (b"[]", []),
        (b"[#U\0", []),
        (b"[$U#U\2\1\xff", [1, 255]),
        (b"[$i#U\2\1\xff", [1, -1]),
        (b"[$I#U\1\1\2", [258]),
        (b"[#U\3U\xffI\xff\xfel\0\0\1\0", [255, -2, 256]),
        (b"[L\0\0\0\1\0\0\0\0i\2]", [2**32, 2]),
    ],
)
def test_integers_of_any_type(content: bytes, numbers: list[int]) -> None:
    reader = ubjson.Reader(b"Z" + content + b"Z", 1)
    assert reader.integers() == numbers
    assert reader.at == 1 + len(content)


@pytest.mark.parametrize(
    ("content", "kind", "items"),
    [
        (b"[]", None, b""),
        (b"[$d#U\2abcdefgh", b"d", b"abcdefgh"),
        (b"[#U\2dabcdi\1", None, b"dabcdi\1"),
        (b"[i\1i\2]", None, b"i\1i\2"),
        (b"[$S#U\2U\1aU\1b", b"S", b"U\1aU\1b"),
    ],
)
def test_where_an_array_stands(content: bytes, kind: bytes | None, items: bytes) -> None:
    reader = ubjson.Reader(b"Z" + content, 1)
    found = reader.array()
    assert (b"Z" + content)[found.first : found.end] == items
    assert (found.kind, found.count) == (kind, 2 if items else 0)
    assert reader.at == 1 + len(content)


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b"[#U\1Z", lambda reader: list(reader.members())),
        (b"{#U\0", lambda reader: list(reader.members())),
        (b"{$U#U\0", lambda reader: list(reader.members())),
        (b"{U", lambda reader: list(reader.members())),
        (b"{U\1a", lambda reader: next(reader.members()) and reader.skip()),
        (b"{}", lambda reader: list(reader.items())),
        (b"[$U#U\0", lambda reader: list(reader.items())),
        (b"[#U\1S", ubjson.Reader.integers),
        (b"[#U\2i\1", ubjson.Reader.integers),
        (b"[i\1", ubjson.Reader.integers),
        (b"Z", ubjson.Reader.array),
        (b"[$d#U\2abcdefg", ubjson.Reader.array),
        (b"[$dabcd]", ubjson.Reader.array),
        (b"", ubjson.Reader.skip),
    ],
)
def test_what_should_stand_there_does_not(
    content: bytes, read: Callable[[ubjson.Reader], object]
) -> None:
    with pytest.raises(ubjson.DamagedError):
        read(ubjson.Reader(content))


# --- writing ------------------------------------------------------------------------------------


def test_what_is_written_is_read() -> None:
    value = {
        "é": "ü",
        "numbers": [1, -2],
        "array": np.array([1, 258], np.int32),
        "floats": np.array([1, 0.5], np.float32),
        "done": ubjson.Encoded(b"Z"),
    }
    content = ubjson.encode(value)
    assert ubjson.is_whole(content)
    reader = ubjson.Reader(content)
    found: dict[str, object] = {}
    for name in reader.members():
        first = reader.at
        if name in (b"numbers", b"array"):
            found[name.decode()] = reader.integers()
        else:
            reader.skip()
            found[name.decode()] = content[first : reader.at]
    assert reader.at == len(content)
    assert found == {
        "é": b"S" + ubjson.length(2) + "ü".encode(),
        "numbers": [1, -2],
        "array": [1, 258],
        "floats": b"[$d#" + ubjson.length(2) + b"\x3f\x80\0\0\x3f\0\0\0",
        "done": b"Z",
    }
