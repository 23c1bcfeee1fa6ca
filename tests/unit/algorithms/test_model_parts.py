"""Parts of a model put together are the model, and training goes on from them as from it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from treeline import ubjson
from treeline.algorithms import binning, model_parts

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")

ROUNDS = 10
RANDOM = np.random.default_rng(3)
X, Y = RANDOM.normal(size=(120, 4)), np.arange(120) % 3
X[:, 3] = RANDOM.integers(0, 6, 120)
THREE: dict[str, Any] = {"objective": "multi:softprob", "num_class": 3}
VECTORS: dict[str, Any] = {**THREE, "multi_strategy": "multi_output_tree"}
FOREST: dict[str, Any] = {"num_parallel_tree": 3, "subsample": 0.7}
DROPS: dict[str, Any] = {"rate_drop": 0.5, "skip_drop": 0.2}
TREES: dict[str, dict[str, Any]] = {
    "trees": {},
    "forest": FOREST,
    "classes": THREE,
    "forest of classes": {**THREE, **FOREST},
    "vectors": VECTORS,
    "one category": {"max_cat_to_onehot": 99},
    "categories": {"max_cat_to_onehot": 1},
    "quantiles": {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]},
    "leaves": {"objective": "reg:absoluteerror"},
}
DROPPED: dict[str, dict[str, Any]] = {
    "dropout": DROPS,
    "dart": {"booster": "dart", **DROPS},
    "dropout, one": {"one_drop": 1, "rate_drop": 0.1},
    "dropout of a forest": {**DROPS, "normalize_type": "forest"},
    "dropout by weight": {**DROPS, "sample_type": "weighted"},
    "dropout of classes": {**THREE, **DROPS},
    "dropout of trees in parallel": {**FOREST, **DROPS},
    "dropout of vectors": {**VECTORS, **DROPS},
    "dropout, never": {"rate_drop": 0.5, "skip_drop": 1.0},
}
MODELS = {**TREES, **DROPPED}


@cache
def data(name: str) -> xgb.DMatrix:
    types = ["q", "q", "q", "c"] if "categor" in name else None
    kind = xgb.DMatrix if name == "linear" else xgb.QuantileDMatrix
    return kind(X, Y, feature_types=types, enable_categorical=types is not None)


def begun(name: str, model: bytes | None = None) -> xgb.Booster:
    parameters = {"booster": "gblinear"} if name == "linear" else {"max_depth": 3, **MODELS[name]}
    usual = {"nthread": 1, "seed_per_iteration": True}
    file = None if model is None else bytearray(model)
    return xgb.Booster({**usual, **parameters}, [data(name)], model_file=file)


def boost(booster: xgb.Booster, name: str, first: int, end: int) -> xgb.Booster:
    for index in range(first, end):
        booster.update(data(name), index)
    return booster


@cache
def whole(name: str) -> xgb.Booster:
    booster = boost(begun(name), name, 0, ROUNDS)
    booster.set_attr(weight_drop="[")  # looks like what is searched for
    return booster


def saved(booster: xgb.Booster) -> bytes:
    return bytes(booster.save_raw("ubj"))


def parts(name: str, *ends: int) -> list[bytes]:
    return [saved(whole(name)[first:end]) for first, end in pairwise((0, *ends))]


def loaded(model: bytes) -> bytes:
    return saved(xgb.Booster(model_file=bytearray(model)))


def ensemble(booster: xgb.Booster) -> Any:
    return json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]


@pytest.mark.parametrize("name", MODELS)
def test_parts_are_the_model(name: str) -> None:
    expected = saved(whole(name))
    for ends in ((3, 10), (1, 2, 3, 10), (9, 10), range(1, ROUNDS + 1)):
        found = model_parts.joined(parts(name, *ends))
        assert loaded(found) == expected
        assert model_parts.rounds(found) == ROUNDS
    for part, rounds in zip(parts(name, 3, 10), (3, 7), strict=True):
        assert model_parts.rounds(part) == rounds


@pytest.mark.parametrize("name", MODELS)
def test_parts_of_parts_are_the_model(name: str) -> None:
    first, second, third = parts(name, 2, 5, 10)
    for models in (
        [model_parts.joined([first, second]), third],
        [first, model_parts.joined([second, third])],
    ):
        assert loaded(model_parts.joined(models)) == saved(whole(name))


@pytest.mark.parametrize("name", [*MODELS, "linear"])
def test_training_goes_on_as_if_it_had_never_stopped(name: str) -> None:
    for rounds in (1, 4, 7):
        booster, kept = begun(name), list[bytes]()
        for index in range(rounds):  # each part is kept when its round is done
            booster.update(data(name), index)
            kept.append(saved(booster if name == "linear" else booster[index : index + 1]))
        weights = model_parts.weights(saved(booster))
        assert (weights is not None) is (name in DROPPED)
        again = begun(name, model_parts.joined(kept, weights))
        boost(again, name, rounds, ROUNDS).set_attr(**whole(name).attributes())
        assert saved(again) == saved(whole(name))


def test_the_last_linear_model_is_the_whole() -> None:
    models = [saved(boost(begun("linear"), "linear", 0, rounds)) for rounds in (1, 2)]
    assert model_parts.joined(models) == models[1]
    with pytest.raises(ValueError, match="some have trees, some are linear"):
        model_parts.joined([models[0], saved(whole("trees"))])


def test_one_model_is_returned_as_it_is() -> None:
    model = saved(whole("dropout"))
    assert model_parts.joined([model]) is model
    assert model_parts.joined([model], model_parts.weights(model)) != b""


@pytest.mark.parametrize("name", ["trees", "dropout", "forest"])
def test_a_part_may_have_no_trees(name: str) -> None:
    empty, model = saved(begun(name)), saved(whole(name))
    assert model_parts.rounds(empty) == 0
    assert model_parts.weights(empty) is None
    assert loaded(model_parts.joined([empty, model])) == model
    found = json.loads(xgb.Booster(model_file=bytearray(model_parts.joined([model, empty])))
                       .save_raw("json"))  # fmt: skip
    trees = found["learner"]["gradient_booster"]["model"]["trees"]
    assert len(trees) == len(ensemble(whole(name))["trees"])


def test_many_trees_are_numbered_with_every_width() -> None:
    booster = xgb.train({"nthread": 1, "max_depth": 1}, data("trees"), 300)
    models = [saved(booster[:140]), saved(booster[140:])]
    assert loaded(model_parts.joined(models)) == saved(booster)


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DROPPED)
def test_weights_are_those_of_the_model(name: str) -> None:
    found = model_parts.weights(saved(whole(name)))
    assert found is not None
    array = ubjson.Reader(found).array()
    assert array.end == len(found)
    numbers = struct.iter_unpack(">xf", found[array.first :])
    expected = ensemble(whole(name))["weight_drop"]
    assert [number for (number,) in numbers] == pytest.approx(expected, rel=1e-6)
    assert array.count == len(expected) >= ROUNDS


@pytest.mark.parametrize("name", [*TREES, "linear"])
def test_a_model_without_dropout_has_no_weights(name: str) -> None:
    model = boost(begun(name), name, 0, 2) if name == "linear" else whole(name)
    assert model_parts.weights(saved(model)) is None


@pytest.mark.parametrize("name", ["dropout", "trees"])
def test_a_text_is_not_taken_for_weights(name: str) -> None:
    booster = whole(name).copy()
    note = ubjson.text("weight_drop") + b"[#" + ubjson.length(0) + b"}}}}"
    booster.set_attr(note="-" * len(note))
    model = saved(booster).replace(b"-" * len(note), note)
    assert note in model
    assert model_parts.weights(model) == model_parts.weights(saved(whole(name)))


def test_weights_are_found_where_a_model_ends() -> None:
    model = saved(whole("dropout"))
    weights = model_parts.weights(model)
    assert weights is not None
    for longer in (model + b"Z", model + ubjson.text("weight_drop") + weights):
        with pytest.raises(ValueError, match="a model is damaged"):
            model_parts.weights(longer)


def test_dropout_may_begin_later() -> None:
    plain = saved(whole("trees"))
    later = boost(begun("dropout", plain), "dropout", 10, 13)
    last = saved(later[10:13])
    weights = model_parts.weights(saved(later))
    assert loaded(model_parts.joined([plain, last], weights)) == saved(later)
    first = saved(later[:10])
    assert loaded(model_parts.joined([first, last])) == saved(later)
    # A tree without a weight weighs 1.
    joined = xgb.Booster(model_file=bytearray(model_parts.joined([plain, last])))
    assert ensemble(joined)["weight_drop"] == [1] * 10 + ensemble(later)["weight_drop"][10:]
    # What is given stands where there was nothing.
    given = model_parts.weights(saved(later[:10]))
    assert loaded(model_parts.joined([plain], given)) == saved_with_note(first)


def saved_with_note(model: bytes) -> bytes:
    booster = xgb.Booster(model_file=bytearray(model))
    booster.set_attr(**whole("trees").attributes())
    return saved(booster)


def test_as_many_weights_as_trees() -> None:
    weights = model_parts.weights(saved(whole("dropout")[:3]))
    with pytest.raises(ValueError, match="10 trees, and 3 weights"):
        model_parts.joined(parts("dropout", 4, 10), weights)


# --- what else may stand in a file ------------------------------------------------------------


def array(marker: str, numbers: list[int]) -> bytes:
    """An array of integers of one type, written once."""
    packed = struct.pack(f">{len(numbers)}{marker_of(marker)}", *numbers)
    return f"[${marker}#i".encode() + bytes([len(numbers)]) + packed


def items(marker: str, numbers: list[int]) -> bytes:
    """An array of integers that each say their type, without a count."""
    each = [marker.encode() + struct.pack(f">{marker_of(marker)}", n) for n in numbers]
    return b"[" + b"".join(each) + b"]"


def marker_of(marker: str) -> str:
    return {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q"}[marker]


@pytest.mark.parametrize("write", [array, items])
@pytest.mark.parametrize("marker", ["i", "U", "I", "l", "L"])
def test_integers_of_any_width(marker: str, write: Callable[[str, list[int]], bytes]) -> None:
    first, second = parts("classes", 3, 10)
    for name, numbers in (("iteration_indptr", [0, 3, 6, 9]), ("tree_info", [0, 1, 2] * 3)):
        before = ubjson.text(name) + b"[#" + ubjson.length(len(numbers))
        before += b"".join(b"i" + bytes([n]) for n in numbers)
        assert first.count(before) == 1
        first = first.replace(before, ubjson.text(name) + write(marker, numbers))
    of_id = ubjson.text("id")
    for number in range(1, 9):
        before = of_id + b"i" + bytes([number])
        assert first.count(before) == 1
        width = struct.pack(f">{marker_of(marker)}", number)
        first = first.replace(before, of_id + marker.encode() + width)
    assert loaded(model_parts.joined([first, second])) == saved(whole("classes"))
    assert model_parts.rounds(first) == 3


def test_a_part_that_was_cut_off_is_refused() -> None:
    first, second = parts("dropout", 3, 10)
    for length in (*range(0, len(first), 97), len(first) - 1):
        with pytest.raises(ValueError, match="part 1 of a model is damaged or cut off"):
            model_parts.joined([first[:length], second])
        with pytest.raises(ValueError, match="part 2 of a model is damaged or cut off"):
            model_parts.joined([second, first[:length]])
    numbers = first.find(ubjson.text("gbtree_model_param"))
    weights = first.rfind(ubjson.text("weight_drop"))
    for length in (*range(0, numbers, 13), *range(weights + 21, len(first), 5)):
        with pytest.raises(ValueError, match="a model is damaged or cut off"):
            model_parts.weights(first[:length])
    with pytest.raises(ValueError, match="is damaged or cut off: its 0 bytes"):
        model_parts.rounds(b"")


DAMAGE: dict[str, tuple[bytes, bytes]] = {
    "numbers of classes": (
        ubjson.text("tree_info") + b"[#" + ubjson.length(3) + b"i\0",
        ubjson.text("tree_info") + b"[#" + ubjson.length(2),
    ),
    "rounds that end elsewhere": (b"i\0i\1i\2i\3", b"i\0i\1i\2i\4"),
    "rounds that begin elsewhere": (b"i\0i\1i\2i\3", b"i\1i\1i\2i\3"),
    "no number of trees": (ubjson.text("num_trees"), ubjson.text("num_treez")),
    "no number of a tree": (ubjson.text("id") + b"i\1", ubjson.text("ie") + b"i\1"),
    "no model": (ubjson.text("learner"), ubjson.text("learned")),
    "no trees": (ubjson.text("gradient_booster"), ubjson.text("gradient_boosted")),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_part_that_does_not_fit_together_is_refused(what: str) -> None:
    """What XGBoost would crash on, or read as another model."""
    first, second = parts("dropout", 3, 10)
    old, new = DAMAGE[what]
    assert first.count(old) == 1
    for models in ([first.replace(old, new), second], [second, first.replace(old, new)]):
        with pytest.raises(ValueError, match="of a model is damaged"):
            model_parts.joined(models)


def test_a_part_without_some_of_its_weights_is_refused() -> None:
    first, second = parts("dropout", 3, 10)
    weights = model_parts.weights(first)
    assert weights is not None
    fewer = b"[#" + ubjson.length(2) + weights[-10:]
    with pytest.raises(ValueError, match="part 1 of a model is damaged"):
        model_parts.joined([first.replace(weights, fewer), second])


# --- the cuts that trees are grown on -----------------------------------------------------------


def test_the_digest_of_cuts() -> None:
    cuts = binning.cuts_digest
    digest = cuts(xgb.QuantileDMatrix(X, Y))
    assert len(digest) == 16
    assert int(digest, 16) >= 0
    assert digest == cuts(xgb.QuantileDMatrix(X.copy(), Y + 1))
    assert digest != cuts(xgb.QuantileDMatrix(X, Y, max_bin=8))
    assert digest != cuts(xgb.QuantileDMatrix(X + 1, Y))
    assert cuts(xgb.DMatrix(X, Y)) == ""
