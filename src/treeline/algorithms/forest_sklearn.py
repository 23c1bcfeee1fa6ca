"""A random forest grown by scikit-learn on raw rows in memory.

The trees are those of ``RandomForestClassifier`` and ``RandomForestRegressor`` with the same
parameters and the same seed. They are grown a batch at a time (``warm_start``, which draws the
same seeds), and a batch that is grown is bytes of a model from then on; ``warm_start`` only counts
the trees that were, and those of the batch that another worker grows.

``n_bins`` rounds every value of a column with more distinct values up to the next of ``n_bins``
quantiles (of the rows, unweighted) before the trees are grown, and afterwards moves every
threshold down to the quantile below it: raw values then go the same way as rounded ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline import memory
from treeline.algorithms.forest_model import Tree, encoded, in_one_round
from treeline.algorithms.forest_parts import grown_together
from treeline.algorithms.interface import Loaded, Predictions
from treeline.checkpoints.stage import Stage
from treeline.compute import Cgroup
from treeline.data.matrix import Matrix
from treeline.data.records import Csr, Floats
from treeline.errors import DataError, ResourceError, Stopped

if TYPE_CHECKING:
    import xgboost as xgb

    from treeline.compute import Compute
    from treeline.hyperparameters import Config


class SklearnForest:
    """The data sets as arrays, and the forest grown on that of train.

    ``outputs`` is how many numbers are predicted for a row: several are probabilities of classes,
    one is the probability of class 1 where ``classifies``.
    """

    def __init__(self, config: Config, compute: Compute, classifies: bool, outputs: int) -> None:
        self._config = config
        self._threads = compute.threads_each
        self._team = compute.team
        self._classifies = classifies
        self._outputs = outputs
        self._features: dict[str, Floats] = {}
        self._cuts: dict[int, Floats] = {}
        self._label: Floats = np.empty(0, np.float32)
        self._weight: Floats | None = None

    def add(self, role: str, loaded: Loaded) -> None:
        """Take over the rows of a data set."""
        matrix = loaded.matrix
        if role == "train":
            if matrix.label is None:
                raise AssertionError("a forest learns labels")
            if self._config.forest.criterion == "poisson":
                _check_counts(matrix, matrix.label)
            self._label, self._weight = matrix.label, matrix.weight
        self._features[role] = _dense(matrix)

    def grow(self, stop_requested: Callable[[], bool], stage: Stage) -> tuple[xgb.Booster, int]:
        """Return the forest, and how many trees were grown; a tree is a round of ``stage``."""
        forest, features = self._forest(), self._features["train"]
        if self._config.forest.n_bins is not None:
            self._cuts = round_up(features, self._config.forest.n_bins)
        label = self._label.astype(np.int64 if self._classifies else np.float64)
        total = forest.n_estimators

        def some(first: int, end: int) -> bytes:
            forest.estimators_ = [None] * first
            forest.set_params(n_estimators=end)
            forest.fit(features, label, self._weight)
            return self._encoded(forest, first, total)

        before = [part["model"] for part in stage.restore(total).parts]
        grown = grown_together(
            some, total, self._threads, before, self._team, stop_requested, stage
        )
        if grown.count < total and not self._config.save_model_on_termination:
            raise Stopped
        made = in_one_round(grown.taken(), grown.count, self._outputs, total / grown.count)
        made.set_param({"nthread": self._threads})
        return made, grown.count

    def predict(self, model: xgb.Booster, role: str) -> Predictions:
        """Return the model's predictions for a data set."""
        prediction: Predictions = model.inplace_predict(self._features[role])
        return prediction

    def _forest(self) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        asked = self._config.forest
        kind = RandomForestClassifier if self._classifies else RandomForestRegressor
        # Said again for every tree, of labels that the objective has called classes. Left in
        # place: taking a filter back is not safe beside other threads.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return kind(
            n_estimators=asked.n_estimators,
            criterion=asked.criterion,
            max_depth=asked.max_depth or None,
            max_leaf_nodes=asked.max_leaves or None,
            min_samples_split=asked.min_samples_split,
            min_samples_leaf=asked.min_samples_leaf,
            max_features=asked.max_features,
            bootstrap=asked.bootstrap,
            n_jobs=self._threads,
            random_state=self._config.seed % 2**32,
            warm_start=True,
        )

    def _encoded(self, forest: Any, first: int, total: int) -> bytes:
        """Return the trees from the first on as a model; the forest lets go of them."""
        classes = forest.classes_ if self._classifies else None
        trees = [each.tree_ for each in forest.estimators_[first:]]
        forest.estimators_[first:] = [None] * len(trees)
        columns = self._features["train"].shape[1]
        return encoded((self._tree(tree, classes) for tree in trees), columns, self._outputs, total)

    def _tree(self, tree: Any, classes: NDArray[np.int64] | None) -> Tree:
        value = tree.value[:, 0, :]
        if classes is not None:  # a class without rows has a column too
            whole = np.zeros((tree.node_count, max(2, self._outputs)))
            whole[:, classes] = value
            value = whole[:, -self._outputs :]  # all of them, or that of class 1
        worth = tree.weighted_n_node_samples * tree.impurity
        return Tree(
            left=tree.children_left,
            right=tree.children_right,
            feature=tree.feature,
            threshold=_moved(tree.threshold, tree.feature, self._cuts),
            missing_left=tree.missing_go_to_left,
            value=value,
            weight=tree.weighted_n_node_samples,
            gain=worth - worth[tree.children_left] - worth[tree.children_right],
        )


def round_up(features: Floats, bins: int) -> dict[int, Floats]:
    """Round ``features`` (rows, columns) up in place to at most ``bins`` values a column.

    Returns the quantiles of every column that had more, without its largest value.
    """
    found: dict[int, Floats] = {}
    for column in range(features.shape[1]):
        values = features[:, column]
        there = np.flatnonzero(~np.isnan(values))
        present = values[there]
        ordered = np.sort(present)
        if np.count_nonzero(np.diff(ordered)) < bins:
            continue
        at = -(-np.arange(1, bins) * len(ordered) // bins) - 1
        cuts = np.unique(ordered[at])
        cuts = cuts[cuts < ordered[-1]]
        values[there] = np.append(cuts, ordered[-1])[np.searchsorted(cuts, present)]
        found[column] = cuts
    return found


def _moved(
    threshold: NDArray[np.float64], feature: NDArray[np.int64], cuts: dict[int, Floats]
) -> NDArray[np.float64]:
    """Return the thresholds, moved down to the quantile at or below them."""
    moved = threshold.copy()
    for column in set(np.unique(feature).tolist()).intersection(cuts):
        nodes = np.flatnonzero((feature == column) & np.isfinite(threshold))
        below = np.searchsorted(cuts[column], threshold[nodes], side="right") - 1
        moved[nodes] = cuts[column][below]
    return moved


def _dense(matrix: Matrix) -> Floats:
    """Return the rows as an array; what a sparse row does not have is missing."""
    features = matrix.take_features()
    if not isinstance(features, Csr):
        return np.asarray(features[: matrix.rows])  # some rows of a file are read by this
    needed, limit = 4 * features.rows * features.width, memory.limit(Cgroup())
    if limit is not None and needed > limit:
        raise ResourceError(
            f"{features.rows:,} sparse rows x {features.width:,} columns take "
            f"{memory.size(needed)} as scikit-learn needs them, with every value, and "
            f"{memory.size(limit)} of memory is allowed",
            "Use forest_engine=xgboost, which keeps sparse rows sparse, or an instance with more "
            "memory.",
        )
    dense = np.full((features.rows, features.width), np.nan, np.float32)
    dense[np.repeat(np.arange(features.rows), np.diff(features.indptr)), features.indices] = (
        features.values
    )
    return dense


def _check_counts(matrix: Matrix, label: Floats) -> None:
    """Refuse labels that the Poisson deviance is not defined for."""
    if label.min() < 0 or not label.any():
        row = int(label.argmin())
        raise DataError(
            f"{matrix.origin.of(row)}: label {label[row]:g}, but criterion=poisson needs labels "
            "of 0 or more that are not all 0",
            "Use criterion=squared_error for such labels.",
        )
