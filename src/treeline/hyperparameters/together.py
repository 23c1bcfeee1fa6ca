"""What several workers cannot train together, and what they train another way than one does.

Measured against the model of one worker by ``tests/unit/algorithms/test_xgboost_team.py``: what is
named neither here nor there gives the same model, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from treeline.errors import HyperparameterError

if TYPE_CHECKING:
    from treeline.hyperparameters.config import Config

_ONE_ONLY = "XGBoost has it for one worker only"


def check(config: Config) -> None:
    """Raise ``HyperparameterError`` for what several workers cannot train together."""
    if config.is_forest:
        return
    for what, why in _refused(config):
        raise HyperparameterError(
            f"Hyperparameter {what}: several workers cannot train it together: {why}",
            "Set compute=singleCPU on one host, which trains it on one worker, or leave it out.",
        )


def _refused(config: Config) -> Iterator[tuple[str, str]]:
    booster = config.booster
    if booster.get("booster") == "gblinear":
        yield "booster=gblinear", "each would end with a model of its own rows"
    if booster.get("tree_method") == "exact":
        yield "tree_method=exact", _ONE_ONLY
    if "grow_colmaker" in str(booster.get("updater", "")).split(","):
        yield "updater=grow_colmaker", _ONE_ONLY
    if config.objective == "survival:cox":
        yield "objective=survival:cox", "its loss compares rows with all rows"
    if config.objective.startswith("rank:") and booster.get("lambdarank_unbiased"):
        yield "lambdarank_unbiased=true", "each estimates the biases of its own queries"


def inexact(config: Config) -> tuple[str, ...]:
    """Return why several workers do not train the model of one worker, a line each."""
    return () if config.is_forest else tuple(_inexact(config))


def _inexact(config: Config) -> Iterator[str]:
    booster = config.booster
    if booster.get("tree_method") == "approx" or "updater" in booster:
        yield "tree_method=approx and updater: XGBoost merges the cuts that each worker finds"
    if float(booster.get("subsample", 1)) < 1:
        yield "subsample: every worker draws from its own rows"
    ranks = config.objective.startswith("rank:")
    if ranks and booster.get("lambdarank_pair_method") == "mean":
        yield "lambdarank_pair_method=mean: every worker draws pairs of its own queries"
