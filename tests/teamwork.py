"""Boosting jobs for the workers of a team: a data set divided among them, and what comes of it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treeline.algorithms import binning, xgboost
from treeline.algorithms.interface import Fitted, Loaded
from treeline.checkpoints.shared import Shared
from treeline.checkpoints.stage import NOWHERE, Restored, Sections, Stage
from treeline.compute import Compute
from treeline.data.audit import ColumnStats
from treeline.data.matrix import Matrix, Origin, Schema
from treeline.data.records import Csr, Floats
from treeline.data.subset import rows_of
from treeline.hyperparameters import parse
from treeline.metrics.log import Scores
from treeline.team import ALONE, Team

ROWS, COLUMNS, ROUNDS = 900, 6, 5
_PARTS = ("label", "weight", "group", "lower", "upper", "margin")
type Cut = Callable[[Matrix, int], Sequence[int]]


def matrix_of(features: Floats | Csr, **parts: Any) -> Matrix:
    """A matrix of these features and parts: label, weight, group and so on."""
    origin, stats = Origin(), ColumnStats()
    origin.add("train/a.csv", 0)
    stats.update(features)
    group = parts.get("group")
    known: dict[str, Any] = {name: parts.get(name) for name in _PARTS}
    return Matrix(
        features=features,
        group_names=() if group is None else tuple(map(str, range(int(group.max()) + 1))),
        schema=Schema(features.shape[1], categories=parts.get("categories", {})),
        stats=stats,
        hashes=np.zeros(features.shape[0], np.uint64),
        fingerprint="",
        origin=origin,
        **known,
    )


def sets(kind: str) -> dict[str, Matrix]:
    """Data to train and to validate on, the same on every worker."""
    return {"train": _made(kind, ROWS, 5), "validation": _made(kind, ROWS // 3, 6)}


def _made(kind: str, rows: int, seed: int) -> Matrix:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, COLUMNS)).astype(np.float32)
    x[:, 1] = random.integers(0, 5, rows)
    x[random.random(x.shape) < 0.1] = np.nan
    x[:, 4] = random.integers(0, 6, rows)
    z = np.nan_to_num(x)
    score = z[:, 0] + z[:, 2] * z[:, 3] + (z[:, 4] == 2) + random.normal(size=rows)
    found = {"label": _label(kind, score, random), **_extra(kind, score, random)}
    for name in ("label", "weight", "lower", "upper", "margin"):
        if found.get(name) is not None:
            found[name] = np.asarray(found[name], np.float32)
    return matrix_of(x, **found)


def _label(kind: str, score: Any, random: np.random.Generator) -> Any:
    labels = {
        "classes": np.digitize(score, [-0.5, 1]),
        "positive": np.exp(score / 2),
        "counts": random.poisson(np.exp(score / 3)),
        "queries": np.digitize(score, [0, 1, 2]),
        "bounds": None,
    }
    return score > 0 if "binary" in kind else labels.get(kind, score)


def _extra(kind: str, score: Any, random: np.random.Generator) -> dict[str, Any]:
    rows, found = len(score), dict[str, Any]()
    if "queries" in kind:
        drawn = np.sort(random.integers(0, rows // 12, rows))
        found["group"] = np.unique(drawn, return_inverse=True)[1].astype(np.int64)
    if kind == "bounds":
        found["lower"] = np.exp(score / 2)
        later = found["lower"] * (1 + random.integers(0, 2, rows))
        found["upper"] = np.where(random.random(rows) < 0.3, np.inf, later)
    if "weighted" in kind:
        found["weight"] = random.integers(0, 4, rows) / 2
    if kind == "margin":
        found["margin"] = random.normal(size=(rows, 1))
    if kind == "categories":
        found["categories"] = {4: tuple("abcdef")}
    return found


def as_csr(block: Floats) -> Csr:
    present = ~np.isnan(block)
    indptr = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int64)
    indices = np.nonzero(present)[1].astype(np.int32)
    return Csr(indptr, indices, block[present], block.shape[1])


def spooled(block: Floats) -> Floats:
    with tempfile.TemporaryFile() as file:
        file.write(block)
        file.flush()
        return np.memmap(file, np.float32, "r+", shape=block.shape)


STORED: dict[str, Callable[[Floats], Any]] = {
    "in memory": np.ascontiguousarray,
    "sparse": as_csr,
    "in a file": spooled,
    "bins on disk": np.ascontiguousarray,
}


def evenly(matrix: Matrix, size: int) -> Sequence[int]:
    """Shares of about the same number of rows, of whole queries."""
    return [_query_start(matrix, matrix.rows * rank // size) for rank in range(1, size)]


def last_has_none(matrix: Matrix, size: int) -> Sequence[int]:
    return [*evenly(matrix, size - 1), matrix.rows]


def first_has_few(matrix: Matrix, size: int) -> Sequence[int]:
    return [_query_start(matrix, matrix.rows * rank // (9 * size)) for rank in range(1, size)]


def _query_start(matrix: Matrix, row: int) -> int:
    if matrix.group is None:
        return row
    return int(np.searchsorted(matrix.group, matrix.group[row]))


@dataclass
class Divided:
    """Data sets of which each worker has the rows between two of the numbers of ``cut``."""

    team: Team
    sets: dict[str, Matrix]
    cut: Cut = evenly
    stored: str = "in memory"

    @property
    def roles(self) -> Sequence[str]:
        return list(self.sets)

    @property
    def scored_each_round(self) -> Sequence[str]:
        return list(self.sets)

    def load(self, role: str) -> Loaded:
        whole, on_disk = self.sets[role], self.stored == "bins on disk"
        ends = [0, whole.rows]
        if not self.team.alone:
            ends = [0, *self.cut(whole, self.team.size), whole.rows]
        own = np.arange(ends[self.team.rank], ends[self.team.rank + 1])
        part = rows_of(whole, own)
        if len(own):  # what has no rows is stored nowhere
            part.features = STORED[self.stored](part.features)  # type: ignore[arg-type]
        if self.team.alone:
            return Loaded(part, on_disk)
        everyone = replace(whole, features=np.empty((whole.rows, 0), np.float32))
        return Loaded(part, on_disk, everyone, own.astype(np.int64))


class Kept(Stage):
    """Keeps the rounds of a model in memory."""

    def __init__(self) -> None:
        self.left = Restored()

    def restore(self, limit: int, bins: str = "") -> Restored:
        return self.left

    def keep(self, rounds: int, scores: Scores | None, sections: Sections) -> None:
        every = self.left.scores if scores is None else (*self.left.scores, scores)
        self.left = Restored(rounds, every, (sections(0, rounds),))


@dataclass
class Outcome:
    """What a fit left: the model, the scores of every round and of the model, and so on."""

    model: bytes
    rounds: list[tuple[int, Scores, bool]]
    scores: Scores
    outcome: str
    predictions: dict[str, NDArray[np.float32]]
    heard: list[str] = field(default_factory=list)


def fitted(
    data: Divided,
    asked: dict[str, Any],
    *,
    earlier: bytes | None = None,
    stage: Stage = NOWHERE,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train on one thread a worker."""
    asked = {"num_round": ROUNDS, "max_depth": 4, **asked}
    config = parse({name: str(value) for name, value in asked.items()})
    rounds: list[tuple[int, Scores, bool]] = []

    def on_round(index: int, scores: Scores, restored: bool) -> None:
        rounds.append((index, scores, restored))

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        place = Compute("singleCPU", "cpu", 1, data.team)
        found: Fitted = xgboost.fit(
            data, config, place, lambda: None, on_round, stop, earlier, data.roles, stage
        )
    return Outcome(
        xgboost.save(found.model),
        rounds,
        found.scores,
        found.outcome,
        dict(found.predictions),
        [str(each.message) for each in heard],
    )


REGRESSION, BINARY = {"objective": "reg:squarederror"}, {"objective": "binary:logistic"}
RANKING = {"objective": "rank:ndcg"}
# What several workers train as one does: the kind of data, and the hyperparameters.
EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    "regression": ("plain", {**REGRESSION, "eval_metric": "rmse,mae,mphe,mse,r2"}),
    "quick logloss": ("binary", BINARY),
    "weighted quick logloss": ("weighted binary", BINARY),
    "every metric": (
        "binary",
        {
            **BINARY,
            "eval_metric": "logloss,error,error@0.7,auc,aucpr,ams@0.15,f1,accuracy,rmse,mape,"
            "brier,mcc,pre@3,ndcg,map@20",
        },
    ),
    "weighted metrics": (
        "weighted binary",
        {**BINARY, "eval_metric": "auc,aucpr,ams@0.15,f1,logloss,error"},
    ),
    "areas only": ("binary", {**BINARY, "eval_metric": "auc,aucpr"}),
    "softprob": (
        "classes",
        {
            "objective": "multi:softprob",
            "num_class": 3,
            "eval_metric": "mlogloss,merror,auc,aucpr,f1",
        },
    ),
    "softmax": (
        "classes",
        {"objective": "multi:softmax", "num_class": 3, "eval_metric": "merror,auc,f1"},
    ),
    "ranking": ("queries", {**RANKING, "eval_metric": "ndcg,ndcg@5,ndcg@5-"}),
    "ranking of two": (
        "binary queries",
        {"objective": "rank:pairwise", "eval_metric": "ndcg,auc,aucpr,map,pre@3"},
    ),
    "ranking by map": ("binary queries", {"objective": "rank:map"}),
    "poisson": (
        "counts",
        {"objective": "count:poisson", "eval_metric": "poisson-nloglik,rmse,rmsle"},
    ),
    "gamma": (
        "positive",
        {"objective": "reg:gamma", "eval_metric": "gamma-nloglik,gamma-deviance,mape"},
    ),
    "tweedie": ("positive", {"objective": "reg:tweedie", "eval_metric": "tweedie-nloglik@1.5"}),
    "squaredlogerror": ("positive", {"objective": "reg:squaredlogerror"}),
    "pseudohuber": ("plain", {"objective": "reg:pseudohubererror"}),
    "quantile": ("plain", {"objective": "reg:quantileerror", "quantile_alpha": 0.3}),
    "weighted quantiles": (
        "weighted",
        {"objective": "reg:quantileerror", "quantile_alpha": "[0.2, 0.5]"},
    ),
    "expectile": ("plain", {"objective": "reg:expectileerror", "expectile_alpha": 0.3}),
    "survival": (
        "bounds",
        {
            "objective": "survival:aft",
            "label_lower_bound_column": "a",
            "label_upper_bound_column": "b",
            "eval_metric": "aft-nloglik,interval-regression-accuracy",
        },
    ),
    "logitraw": ("binary", {"objective": "binary:logitraw", "eval_metric": "auc,logloss"}),
    "hinge": ("binary", {"objective": "binary:hinge", "eval_metric": "error,auc"}),
    "logistic": ("binary", {"objective": "reg:logistic"}),
    "categories": ("categories", REGRESSION),
    "categories one by one": ("categories", {**REGRESSION, "max_cat_to_onehot": 10}),
    "margin": ("margin", REGRESSION),
    "weights and few bins": ("weighted", {**REGRESSION, "max_bin": 7}),
    "dropout": ("binary", {**BINARY, "rate_drop": 0.3, "eval_metric": "auc,logloss"}),
    "some columns": (
        "plain",
        {**REGRESSION, "colsample_bytree": 0.5, "colsample_bylevel": 0.6, "colsample_bynode": 0.7},
    ),
    "lossguide": ("plain", {**REGRESSION, "grow_policy": "lossguide", "max_leaves": 9}),
    "trees together": ("plain", {**REGRESSION, "num_parallel_tree": 3}),
    "monotone": ("plain", {**REGRESSION, "monotone_constraints": "(1,0,-1,0,0,0)"}),
    "base score": ("plain", {**REGRESSION, "base_score": -1.5}),
    "early stopping": (
        "binary",
        {**BINARY, "num_round": 40, "early_stopping_rounds": 2, "eta": 0.9, "eval_metric": "auc"},
    ),
    "early stopping with dropout": (
        "binary",
        {
            **BINARY,
            "num_round": 40,
            "early_stopping_rounds": 2,
            "eta": 0.9,
            "rate_drop": 0.3,
            "eval_metric": "logloss",
        },
    ),
}
# Of workers that all have rows.
ABSOLUTE: dict[str, tuple[str, dict[str, Any]]] = {
    "absolute error": ("plain", {"objective": "reg:absoluteerror"}),
    "weighted absolute error": ("weighted", {"objective": "reg:absoluteerror"}),
}
# What draws at random among a worker's own rows, or has no cuts of all rows.
INEXACT: dict[str, tuple[str, dict[str, Any]]] = {
    "subsample": ("plain", {**REGRESSION, "subsample": 0.6}),
    "approx": ("plain", {**REGRESSION, "tree_method": "approx", "max_bin": 16}),
    "mean": ("queries", {**RANKING, "lambdarank_pair_method": "mean"}),
}
CASES = EXACT | ABSOLUTE | INEXACT


def train_cases(team: Team, names: Sequence[str], cut: Cut = evenly) -> dict[str, Outcome]:
    """Train some of ``CASES``."""
    return {
        name: fitted(Divided(team, sets(CASES[name][0]), cut), CASES[name][1]) for name in names
    }


def train_stored(team: Team, cut: Cut = evenly) -> dict[str, Outcome]:
    """Train on rows that stand in all kinds of places."""
    found = {
        stored: fitted(Divided(team, sets("weighted"), cut, stored), REGRESSION)
        for stored in STORED
    }
    found["queries in a file"] = fitted(Divided(team, sets("queries"), cut, "in a file"), RANKING)
    return found


def train_on(team: Team) -> dict[str, Outcome]:
    """Train in two goes, from a model or from checkpoints; and be asked to stop."""
    found = {}
    for name in ("poisson", "dropout", "early stopping", "early stopping with dropout"):
        kind, asked = CASES[name]
        whole = fitted(Divided(team, sets(kind)), asked)
        for way, stop in (("whole", 99), ("restored", 3)):
            stage, seen = Kept(), list[int]()

            def asked_to_stop(seen: list[int] = seen, stop: int = stop) -> bool:
                seen.append(1)
                return team.rank == team.size - 1 and len(seen) > stop

            kept = Shared(stage, team)
            patient = {**asked, "save_model_on_termination": "true"}
            first = fitted(Divided(team, sets(kind)), patient, stage=kept, stop=asked_to_stop)
            found[f"{name}, stopped {way}"] = first
            found[f"{name}, {way}"] = fitted(
                Divided(team, sets(kind)), asked, stage=Shared(stage, team)
            )
        found[f"{name}, unbroken"] = whole
        if "early" not in name:
            short = {**asked, "num_round": 2}
            half = team.apart(partial(fitted, Divided(ALONE, sets(kind)), short))
            found[f"{name}, earlier"] = fitted(Divided(team, sets(kind)), asked, earlier=half.model)
    return found


def cuts_of(team: Team, blocks: int = 1) -> dict[str, tuple[str, list[str]]]:
    """The digest of the cuts of columns of all kinds, and what was warned of."""
    from treeline.algorithms import shared_cuts

    found = {}
    for name, (columns, parts) in tables().items():
        whole = matrix_of(columns, label=np.zeros(len(columns), np.float32), **parts)
        loaded = Divided(team, {"train": whole}, last_has_none).load("train")
        made = None
        shared_cuts._OWN = -(-columns.nbytes // (team.size * blocks))
        shared_cuts._PIECE = shared_cuts._OWN // 3
        how = binning.Binning(quantile=True, ranking="group" in parts, max_bin=9, threads=1)
        with warnings.catch_warnings(record=True) as heard:
            if not team.alone:
                made = shared_cuts.reference(loaded.matrix, loaded.all, how, team)
        digest = binning.cuts_digest(binning.to_dmatrix(loaded.matrix, how, made))
        found[name] = digest, [str(each.message) for each in heard]
    return found


def tables() -> dict[str, tuple[Floats, dict[str, Any]]]:
    """Columns of all kinds, by how their rows are weighed."""
    rows, random = 800, np.random.default_rng(2)
    normal = random.normal(size=rows)
    one = np.full(rows, np.nan)
    one[7] = -3
    columns = [
        normal,
        random.integers(-9, 9, rows),
        np.zeros(rows),
        np.full(rows, -7.5),
        np.full(rows, np.nan),
        one,
        -np.abs(normal) - 3,
        np.where(normal < 1, 0, normal),
        np.where(normal < 0, -0.0, 0.0),
        normal * 1e-41,
        normal * 1e37,
        np.exp(5 * normal),
        1 + random.integers(0, 30, rows) * np.finfo(np.float32).eps,
        random.integers(0, 4, rows),
    ]
    block = np.stack(columns, axis=1).astype(np.float32)
    block[random.random(block.shape) < 0.1] = np.nan
    weight = (random.integers(0, 3, rows) * random.random(rows)).astype(np.float32)
    group = np.repeat(np.arange(rows // 8), 8).astype(np.int64)
    return {
        "plain": (block, {}),
        "categories": (block, {"categories": {13: tuple("abcd"), 2: ("x",), 4: ()}}),
        "weights": (block, {"weight": weight}),
        "queries": (block, {"group": group, "weight": weight[group]}),
        "one column": (block[:, :1], {}),
    }
