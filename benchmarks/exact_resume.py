"""Which options let XGBoost go on from a saved model to the very same bytes.

Usage: python -m benchmarks.exact_resume [TEXT]      cases whose name holds TEXT; all by default

Every case trains 20 rounds in a process of its own, twice; then 7 rounds are saved and a new
process goes on from the file alone, as a job does that was killed; then the model is saved and
loaded after every single round. The table says whether the last bytes are those of the straight
run, and how far predictions (in standard deviations of the predictions) and the objective's
metric on unseen rows are off where they are not. Two threads, a few minutes.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

type Kind = type[xgb.DMatrix]

ROUNDS, CUT = 20, 7
ROWS, COLUMNS, THREADS = 4000, 8, 2
BINNED: tuple[Kind, Kind] = (xgb.QuantileDMatrix, xgb.QuantileDMatrix)
PLAIN: tuple[Kind, Kind] = (xgb.DMatrix, xgb.DMatrix)
UNSEEDED = {"seed_per_iteration": False}
RANKS = {"objective": "rank:ndcg"}
LOGISTIC = {"objective": "binary:logistic"}
DESCENT = {"booster": "gblinear", "updater": "coord_descent"}


@dataclass(frozen=True)
class Case:
    """Parameters; how it begins and how it goes on: threads, and kind of matrix."""

    name: str
    params: dict[str, Any]
    threads: tuple[int, int] = (THREADS, THREADS)
    matrix: tuple[Kind, Kind] = BINNED
    categories: bool = False
    special: str = ""  # weights, margins


@dataclass(frozen=True)
class Run:
    """What a run left."""

    model: bytes
    part: bytes
    predictions: NDArray[np.float32]
    metric: float


def cases() -> Iterator[Case]:
    """Yield every case; each seeds its rounds anew, as Treeline's default is, unless it says so."""
    for objective in (
        "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror",
        "reg:gamma", "reg:tweedie", "count:poisson", "binary:logistic", "binary:logitraw",
        "binary:hinge", "reg:logistic", "survival:cox", "survival:aft", "rank:ndcg",
        "rank:pairwise", "rank:map",
    ):  # fmt: skip
        yield Case(objective, {"objective": objective})
    classes = {"objective": "multi:softprob", "num_class": 3}
    yield Case("multi:softprob", classes)
    yield Case("multi:softmax", {**classes, "objective": "multi:softmax"})
    vectors = {**classes, "multi_strategy": "multi_output_tree"}
    yield Case("multi_output_tree", vectors)
    quantiles = {"objective": "reg:quantileerror", "quantile_alpha": "[0.1, 0.5, 0.9]"}
    yield Case("reg:quantileerror, 3 quantiles", quantiles)
    yield Case("its multi_output_tree", {**quantiles, "multi_strategy": "multi_output_tree"})
    yield Case(
        "reg:expectileerror, 2",
        {"objective": "reg:expectileerror", "expectile_alpha": "[0.2, 0.8]"},
    )
    numbers = {"eta": 0.11, "gamma": 0.3, "min_child_weight": 3.0, "max_delta_step": 0.7}
    yield Case("eta, gamma and other numbers", {**numbers, "lambda": 0.3, "alpha": 0.2})
    pairs = {"lambdarank_num_pair_per_sample": 5, "lambdarank_normalization": False}
    yield Case("rank:ndcg, 5 pairs", {**RANKS, **pairs, "ndcg_exp_gain": False})
    yield Case("scale_pos_weight", {**LOGISTIC, "scale_pos_weight": 3.0})
    yield Case("base_score", {"base_score": 0.123456789})
    yield Case("weights", {}, special="weights")
    yield Case("margins", {}, special="margins")
    yield Case("monotone_constraints", {"monotone_constraints": "(1,-1)"})
    yield Case("interaction_constraints", {"interaction_constraints": "[[0,1],[2,3,4]]"})
    yield Case("categories", {"max_cat_to_onehot": 2}, categories=True)
    yield Case("lossguide", {"grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0})
    yield Case("max_cached_hist_node=4", {"max_cached_hist_node": 4})
    yield Case("max_bin=16", {"max_bin": 16})
    for method in ("approx", "exact"):
        yield Case(method, {"tree_method": method}, matrix=PLAIN)
    for updater in ("grow_quantile_histmaker,refresh", "grow_quantile_histmaker,prune",
                    "grow_colmaker,prune,refresh", "grow_histmaker,refresh"):  # fmt: skip
        yield Case(f"updater={updater}", {"updater": updater}, matrix=PLAIN)
    sampled = {"updater": "grow_quantile_histmaker,refresh", "subsample": 0.5}
    yield Case("refresh, subsample", sampled, matrix=PLAIN)
    yield Case("DMatrix, then QuantileDMatrix", LOGISTIC, matrix=(xgb.DMatrix, xgb.QuantileDMatrix))
    yield Case("2 threads, then 1", {**LOGISTIC, "subsample": 0.5}, threads=(2, 1))
    yield Case("1 thread, then 2", {"objective": "reg:absoluteerror"}, threads=(1, 2))
    yield from _random()
    yield from _linear()


def _random() -> Iterator[Case]:
    """Yield what draws at random, with a seed for each round and without."""
    draws: dict[str, dict[str, Any]] = {
        "nothing sampled": {},
        "subsample": {"subsample": 0.5},
        "gradient_based": {"subsample": 0.5, "sampling_method": "gradient_based"},
        "gradient_based, all rows": {"sampling_method": "gradient_based"},
        "colsample_bytree": {"colsample_bytree": 0.5},
        "colsample_bylevel": {"colsample_bylevel": 0.5},
        "colsample_bynode": {"colsample_bynode": 0.5},
        "subsample, exact": {"subsample": 0.5, "tree_method": "exact"},
        "colsample_bylevel, exact": {"colsample_bylevel": 0.5, "tree_method": "exact"},
        "subsample, approx": {"subsample": 0.5, "tree_method": "approx"},
        "subsample, approx, binary:logistic": {
            "subsample": 0.5, "tree_method": "approx", **LOGISTIC,
        },
        "colsample_bytree, approx": {"colsample_bytree": 0.5, "tree_method": "approx"},
        "subsample, reg:absoluteerror": {"subsample": 0.5, "objective": "reg:absoluteerror"},
        "subsample, multi_output_tree": {
            "subsample": 0.5, "objective": "multi:softprob", "num_class": 3,
            "multi_strategy": "multi_output_tree",
        },
        "num_parallel_tree=4": {"num_parallel_tree": 4},
        "num_parallel_tree=4, subsample": {"num_parallel_tree": 4, "subsample": 0.5},
        "rate_drop": {"rate_drop": 0.3},
        "rate_drop, sample_type=weighted": {"rate_drop": 0.3, "sample_type": "weighted"},
        "rate_drop, normalize_type=forest": {"rate_drop": 0.3, "normalize_type": "forest"},
        "rate_drop, skip_drop": {"rate_drop": 0.3, "skip_drop": 0.5},
        "one_drop": {"one_drop": 1},
        "skip_drop alone": {"skip_drop": 0.5},
        "booster=dart, no rate": {"booster": "dart"},
        "rate_drop, multi:softprob": {
            "rate_drop": 0.3, "objective": "multi:softprob", "num_class": 3,
        },
        "rank:ndcg, mean pairs": {**RANKS, "lambdarank_pair_method": "mean"},
        "rank:pairwise, mean pairs": {
            "objective": "rank:pairwise", "lambdarank_pair_method": "mean",
        },
        "rank:ndcg, unbiased": {**RANKS, "lambdarank_unbiased": True},
        "rank:pairwise, unbiased": {"objective": "rank:pairwise", "lambdarank_unbiased": True},
        "rank:map, unbiased": {"objective": "rank:map", "lambdarank_unbiased": True},
    }  # fmt: skip
    for name, params in draws.items():
        matrix = PLAIN if "tree_method" in params else BINNED
        for seeds in ({}, UNSEEDED):
            called = f"{name}{', seed_per_iteration=false' if seeds else ''}"
            yield Case(called, {**params, **seeds}, matrix=matrix)


def _linear() -> Iterator[Case]:
    """Yield linear models, whose usual updater lets threads overwrite each other's work."""
    for threads in (THREADS, 1):
        for selector in ("cyclic", "shuffle"):
            called = f"shotgun, {selector}, {threads} thread(s)"
            chosen = {"booster": "gblinear", "feature_selector": selector}
            yield Case(called, chosen, (threads, threads), PLAIN)
    for selector in ("cyclic", "shuffle", "random", "greedy", "thrifty"):
        chosen = {**DESCENT, "feature_selector": selector}
        yield Case(f"coord_descent, {selector}", chosen, matrix=PLAIN)
        unseeded = {**chosen, **UNSEEDED}
        yield Case(f"coord_descent, {selector}, seed_per_iteration=false", unseeded, matrix=PLAIN)
    several = {**DESCENT, "objective": "multi:softprob", "num_class": 3}
    yield Case("coord_descent, multi:softprob", several, matrix=PLAIN)
    yield Case("coord_descent, 2 threads, then 1", DESCENT, (2, 1), PLAIN)


def matrix_of(case: Case, kind: Kind, seed: int = 1) -> xgb.DMatrix:
    """Return rows whose label follows the columns with some noise, the same for every ``seed``."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    features[rng.random(features.shape) < 0.05] = np.nan
    if case.categories:
        features[:, 0] = rng.integers(0, 30, ROWS)
    signal = np.nan_to_num(features[:, 1] + features[:, 2] * features[:, 3]) + rng.normal(size=ROWS)
    objective = str(case.params.get("objective", "reg:squarederror"))
    label = _label(objective, signal)
    more: dict[str, Any] = {"enable_categorical": case.categories}
    if case.categories:
        more["feature_types"] = ["c", *"q" * (COLUMNS - 1)]
    if kind is xgb.QuantileDMatrix:
        more["max_bin"] = case.params.get("max_bin", 256)
    matrix = kind(features, label=label, **more)
    if objective.startswith("rank:"):
        matrix.set_group([20] * (ROWS // 20))
    if objective == "survival:aft":
        matrix.set_float_info("label_lower_bound", label)
        matrix.set_float_info("label_upper_bound", np.where(rng.random(ROWS) < 0.3, np.inf, label))
    if case.special == "weights":
        matrix.set_weight(rng.random(ROWS).astype(np.float32))
    if case.special == "margins":
        matrix.set_base_margin(rng.normal(size=ROWS).astype(np.float32))
    return matrix


def _label(objective: str, signal: NDArray[np.float64]) -> NDArray[np.float32]:
    if objective.startswith(("binary:", "reg:logistic", "rank:map")):
        return (signal > 0).astype(np.float32)
    if objective.startswith(("multi:", "rank:")):
        return np.digitize(signal, (-0.7, 0.7)).astype(np.float32)
    if objective.startswith(("count:", "reg:gamma", "reg:tweedie", "reg:squaredlog", "survival:")):
        return np.ceil(np.exp(signal / 2)).astype(np.float32)
    return signal.astype(np.float32)


def run(case: Case, model: bytes | None, every: bool) -> Run:
    """Train from nothing or from ``model`` to the last round, saving and loading each if asked."""
    warnings.simplefilter("ignore")
    resumed = model is not None
    # Its bias estimates are gone, and XGBoost makes new ones only in a round that is called 0.
    anew = case.params.get("lambdarank_unbiased", False)
    threads, kind = case.threads[resumed], case.matrix[resumed]
    params = {"seed": 3, "seed_per_iteration": True, "nthread": threads, "verbosity": 0}
    params |= case.params
    matrix = matrix_of(case, kind)
    booster = _loaded(params, matrix, model)
    part = b""
    for i in range(CUT if resumed else 0, ROUNDS):
        booster.update(matrix, 0 if anew and (every or (resumed and i == CUT)) else i)
        if i + 1 == CUT:
            part = bytes(booster.save_raw("ubj"))
        if every:
            matrix = matrix_of(case, kind)
            booster = _loaded(params, matrix, bytes(booster.save_raw("ubj")))
    last = bytes(booster.save_raw("ubj"))
    unseen = matrix_of(case, xgb.DMatrix, seed=2)
    metric = float(booster.eval(unseen).rsplit(":", 1)[1])
    return Run(last, part, booster.predict(unseen), metric)


def _loaded(params: dict[str, Any], matrix: xgb.DMatrix, model: bytes | None) -> xgb.Booster:
    return xgb.Booster(params, [matrix], model_file=None if model is None else bytearray(model))


def measured(case: Case, pool: Any) -> tuple[str, ...]:
    """Return the row of the table."""
    straight, again = (pool.apply(run, (case, None, False)) for _ in range(2))
    once = pool.apply(run, (case, straight.part, False))
    every = pool.apply(run, (case, None, True))
    found = [_verdict(straight, other) for other in (again, once, every)]
    return case.name, *found


def _verdict(straight: Run, other: Run) -> str:
    if straight.model == other.model:
        return "same"
    off = np.abs(straight.predictions.astype(float) - other.predictions)
    predictions = off.max() / (straight.predictions.std() or 1.0)
    metric = abs(other.metric - straight.metric) / (abs(straight.metric) or 1.0)
    return f"{predictions:.2g} sd, metric {100 * metric:.2g} %"


def main() -> None:
    """Print the table as it is measured."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"xgboost {xgb.__version__}, {ROUNDS} rounds, {ROWS} x {COLUMNS}, {THREADS} threads")
    header = ("case", "the same run twice", f"killed after round {CUT}", "after every round")
    for line in (header, ("---",) * len(header)):
        print(f"| {' | '.join(line)} |")
    # Children of a process that has trained nothing: each begins as a new job does.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        for case in cases():
            if wanted in case.name:
                print(f"| {' | '.join(measured(case, pool))} |", flush=True)
        sampled = (Case("", {"subsample": 0.5, "seed": seed}) for seed in (3, 4))
        one, other = (pool.apply(run, (case, None, False)) for case in sampled)
        print(f"For scale, subsample with another seed: {_verdict(one, other)}")


if __name__ == "__main__":
    main()
