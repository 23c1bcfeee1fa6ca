"""Which hyperparameters keep a resumed job from ending with the very same model.

A model file holds all that XGBoost needs to go on, but for what is listed here: measured by
``benchmarks/exact_resume.py``, told in docs/spot.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from treeline.hyperparameters.rules import Asked
from treeline.metrics.names import RANKING

# Shares of the rows or columns, which are drawn at random where they are less than one.
_SHARES = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")
_DROPS = ("rate_drop", "one_drop")


def inexact(asked: Asked) -> str | None:
    """Return the option that makes a resumed model differ, and why; None where none does.

    ``asked`` has no problems.
    """
    if asked.get("algorithm") == "random_forest":  # every tree has a seed of its own
        return None
    linear = asked.get("booster") == "gblinear"
    return next(_of_linear(asked) if linear else _of_trees(asked), None)


def _of_linear(asked: Asked) -> Iterator[str]:
    if asked.get("feature_selector") == "shuffle":
        yield "feature_selector=shuffle: a round shuffles the order of the last, which is not kept"
    if asked.get("updater") != ("coord_descent",) and asked.get("nthread") != 1:
        yield (
            "booster=gblinear: threads of its updater shotgun overwrite each other's work, so no "
            "two runs agree (updater=coord_descent is exact, and so is nthread=1)"
        )
    if asked.get("feature_selector") == "random":
        yield from _unseeded(asked, "feature_selector=random")


def _of_trees(asked: Asked) -> Iterator[str]:
    ranks = asked.task == RANKING
    if ranks and asked.get("lambdarank_unbiased"):
        yield "lambdarank_unbiased=true: XGBoost forgets its bias estimates with every restart"
    squared = asked.objective == "reg:squarederror"
    if squared and asked.tree_method == "approx" and asked.get("subsample") != 1:
        yield (
            "tree_method=approx with subsample: for objective=reg:squarederror XGBoost cuts the "
            "columns by the sample of the first round after a start"
        )
    for name in _SHARES:
        if asked.get(name) != 1:
            yield from _unseeded(asked, name)
    for name in _DROPS:
        if asked.get(name):
            yield from _unseeded(asked, name)
    if ranks and asked.get("lambdarank_pair_method") == "mean":
        yield from _unseeded(asked, "lambdarank_pair_method=mean")


def _unseeded(asked: Asked, drawn: str) -> Iterator[str]:
    if not asked.get("seed_per_iteration"):
        yield f"seed_per_iteration=false with {drawn}: every start draws anew from the first seed"
