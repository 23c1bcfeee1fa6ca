"""What makes a job the same job: the facts that its models follow from.

A checkpoint is gone on from only where all of them are equal. What is not among them changes
nothing in a model: the number of rounds (more of them go on where fewer ended), threads, where
files stand and how they are written, and what is done with the model afterwards.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treeline.algorithms.labels import Classes
    from treeline.data.matrix import Schema
    from treeline.hyperparameters import Config
    from treeline.loader import Summary

_SILENT = ("verbosity", "nthread")  # of XGBoost's parameters: these change no model


def facts(
    config: Config,
    data: Mapping[str, Summary],
    schema: Schema,
    classes: Classes | None,
    device: str,
    versions: Mapping[str, str],
    earlier: bytes | None,
) -> dict[str, Any]:
    """Return the facts by name, with values as JSON has them.

    ``data`` are the data sets by role, whose fingerprints are hashes of all of their rows in
    order; which columns are categories only ``schema`` says, and what class has which number only
    ``classes``. ``earlier`` is the model that the job adds rounds to.
    """
    found: dict[str, Any] = {
        "algorithm": config.algorithm,
        "objective": config.objective,
        "num_class": config.num_class,
        "eval_metric": list(config.eval_metrics),
        "objective_metric": config.objective_metric,
        "scored data": config.objective_data,
        "early_stopping_rounds": config.early_stopping_rounds,
        "seed": config.seed,
        "device": device,
        "features": schema.features,
        "categorical features": sorted(schema.categories),
        "classes": None if classes is None else list(classes),
        "processor": platform.machine(),
        **{name: value for name, value in config.booster.items() if name not in _SILENT},
    }
    if config.is_forest:
        found |= asdict(config.forest)
    if config.cv is not None:
        found |= {f"cross-validation {name}": value for name, value in asdict(config.cv).items()}
    for role, summary in data.items():
        if role == "test":  # scored once, on the final model
            continue
        found |= {f"{role} rows": summary.rows, f"{role} data": summary.fingerprint}
    if earlier is not None:
        found["earlier model"] = hashlib.blake2b(earlier, digest_size=16).hexdigest()
    return found | {f"version of {name}": version for name, version in versions.items()}
