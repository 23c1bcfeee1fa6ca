"""A random forest as a model of XGBoost: trees as arrays in, a booster out.

Forests are saved as XGBoost's own UBJSON, whoever grew them: it runs no code when it is loaded,
takes 34 bytes a node (Treelite's checkpoint of the same trees takes 99), is read by every library
that reads XGBoost's models, and needs no library besides. The header is that of a model without
trees, made by the installed XGBoost; only the trees are written here. Source of the fields:
"Introduction to Model IO" of XGBoost's documentation, and the models that 3.4.1 writes.

XGBoost's predictor relies on more than the fields say: the right child follows the left one, a
row goes left where its value is *below* the split, and values are float32. A scikit-learn tree
sends rows left at or below a float64 threshold; for float32 values that is the same as below the
first float32 after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline import ubjson
from treeline.algorithms.library import library

if TYPE_CHECKING:
    import xgboost as xgb

_NO_PARENT = (2**31 - 1, -1)  # of a tree with one output, with several


@dataclass(frozen=True)
class Tree:
    """One binary tree; the root is node 0 and a leaf has the children -1.

    All are (nodes,): a row goes ``left`` where its value of ``feature`` is at or below
    ``threshold``, and where it is missing as ``missing_left`` says. ``value`` is (nodes, outputs),
    what the node alone would predict. ``weight`` is the sum of its rows' weights and ``gain`` what
    its split improved; nothing but reports of a feature's importance reads them.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.uint8]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    gain: NDArray[np.float64]


def encoded(trees: Iterable[Tree], columns: int, outputs: int, count: int) -> bytes:
    """Return a model of the trees, one a round, that has the share of each in ``count`` trees.

    One output is predicted as (rows,), several as (rows, outputs). XGBoost adds the leaves up in
    float32, so a mean is within half a unit in its last place for each tree. (To take the labels'
    mean out of the leaves and add it again was tried: it makes them three times worse.)
    """
    model = _empty(columns, outputs)
    ensemble = model["learner"]["gradient_booster"]["model"]
    made = [
        ubjson.Encoded(ubjson.encode(_fields(tree, number, columns, outputs, count)))
        for number, tree in enumerate(trees)
    ]
    ensemble["trees"] = made
    ensemble["tree_info"] = [0] * len(made)
    ensemble["iteration_indptr"] = list(range(len(made) + 1))
    ensemble["gbtree_model_param"] = {"num_parallel_tree": "1", "num_trees": str(len(made))}
    return ubjson.encode(model)


def in_one_round(grown: bytearray, count: int, outputs: int, scale: float) -> xgb.Booster:
    """Return the booster of ``count`` trees in one round, with every leaf times ``scale``.

    ``grown`` is the UBJSON of a model with one tree a round, as XGBoost and ``encoded`` write it;
    it is changed in place, so that a large forest is not in memory once more.
    """
    at = 0
    for _ in range(count if scale != 1 else 0):
        if outputs > 1:
            values, at = _array(grown, "leaf_weights", np.float32, at)
            values *= scale
        else:  # a leaf's value stands in the place of a threshold
            left, at = _array(grown, "left_children", np.int32, at)
            values, at = _array(grown, "split_conditions", np.float32, at)
            values[left < 0] *= scale
            del left
        del values  # nothing may look into bytes that move
    for name, following, value in (
        ("num_parallel_tree", "num_trees", str(count)),
        ("iteration_indptr", "tree_info", [0, count]),
    ):
        key = ubjson.text(name)
        start = grown.index(key)
        grown[start : grown.index(ubjson.text(following), start)] = key + ubjson.encode(value)
    made: xgb.Booster = library().Booster(model_file=grown)
    return made


def _array(content: bytearray, name: str, kind: type, start: int) -> tuple[Any, int]:
    """Return the next array of that name, to read and write, and where it ends."""
    numbers = np.dtype(kind)
    marker = ubjson.text(name) + b"[$" + ubjson.KINDS[numbers.name] + b"#L"
    at = content.index(marker, start) + len(marker)
    count, first = int.from_bytes(content[at : at + 8]), at + 8
    found = np.frombuffer(content, numbers.newbyteorder(">"), count, first)
    return found, first + found.nbytes


def _empty(columns: int, outputs: int) -> Any:
    """Return a model without trees, as JSON."""
    loaded = library()
    label = np.zeros((1, outputs) if outputs > 1 else 1, np.float32)
    rows = loaded.DMatrix(np.zeros((1, columns), np.float32), label, nthread=1)
    parameters: dict[str, Any] = {
        "objective": "reg:squarederror",
        "base_score": 0.0,
        "multi_strategy": "multi_output_tree" if outputs > 1 else "one_output_per_tree",
    }
    return json.loads(loaded.Booster(parameters, [rows]).save_raw("json"))


def _fields(tree: Tree, number: int, columns: int, outputs: int, count: int) -> dict[str, Any]:
    nodes, several = len(tree.left), outputs > 1
    inner = np.flatnonzero(tree.left >= 0)
    # Siblings side by side: the i-th split has the children 2i + 1 and 2i + 2.
    moved = np.zeros(nodes, np.int32)
    moved[tree.left[inner]] = 2 * np.arange(len(inner)) + 1
    moved[tree.right[inner]] = 2 * np.arange(len(inner)) + 2
    order = np.argsort(moved)
    leaf = tree.left[order] < 0
    left = np.where(leaf, -1, moved[tree.left[order]]).astype(np.int32)
    right = np.where(leaf, -1, moved[tree.right[order]]).astype(np.int32)
    parents = np.full(nodes, _NO_PARENT[several], np.int32)
    at = np.flatnonzero(~leaf)
    parents[left[at]] = parents[right[at]] = at
    value = (tree.value[order] / count).astype(np.float32)
    conditions = np.where(leaf, 0, _above(tree.threshold[order]))
    fields: dict[str, Any] = {}
    if several:  # a leaf says which row of leaf_weights is its own
        right[leaf] = np.arange(np.count_nonzero(leaf))
        fields["leaf_weights"] = value[leaf].ravel()
    else:
        conditions[leaf] = value[leaf, 0]
    return fields | {
        "base_weights": value.ravel(),
        "categories": np.empty(0, np.int32),
        "categories_nodes": np.empty(0, np.int32),
        "categories_segments": np.empty(0, np.int64),
        "categories_sizes": np.empty(0, np.int64),
        "default_left": tree.missing_left[order].astype(np.uint8),
        "id": number,
        "left_children": left,
        "loss_changes": np.where(leaf, 0, tree.gain[order]).astype(np.float32),
        "parents": parents,
        "right_children": right,
        "split_conditions": conditions.astype(np.float32),
        "split_indices": np.where(leaf, 0, tree.feature[order]).astype(np.int32),
        "split_type": np.zeros(nodes, np.uint8),  # numerical
        "sum_hessian": tree.weight[order].astype(np.float32),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(columns),
            "num_nodes": str(nodes),
            "size_leaf_vector": str(outputs),
        },
    }


def _above(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the least float32 that is above the threshold; infinity stays what it is."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, near, np.nextafter(near, np.float32(np.inf)))
