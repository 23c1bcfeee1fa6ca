"""Data sets that many examples train on: which column is what, where the job does not say so.

Source of the columns: the RAPIDS SageMaker HPO example (rapidsai/cloud-ml-examples, ``aws``),
which trains on flights of the US Department of Transportation and on taxi rides of New York City.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from treeline.hyperparameters.kinds import Value, unquoted
from treeline.hyperparameters.rules import Asked, Problem


@dataclass(frozen=True)
class Preset:
    """A binary label, and the features by name; none: every other column is one."""

    label: str
    features: tuple[str, ...] = ()
    leaking: str | None = None  # a feature that is not known yet when the label is asked for


PRESETS = {
    "airline": Preset(
        "ArrDel15",
        (
            "Year",
            "Quarter",
            "Month",
            "DayOfWeek",
            "Flight_Number_Reporting_Airline",
            "DOT_ID_Reporting_Airline",
            "OriginCityMarketID",
            "DestCityMarketID",
            "DepTime",
            "DepDelay",
            "DepDel15",
            "AirTime",
            "Distance",
        ),
        leaking="AirTime",
    ),
    "nyc_taxi": Preset("above_average_tip"),
}
# Every hyperparameter that makes a column something else than a feature.
_PARTS = (
    "label_column",
    "weight_column",
    "group_column",
    "time_column",
    "base_margin_column",
    "ignore_columns",
)


def expanded(given: Mapping[str, str]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return ``given`` and what its ``dataset_preset`` adds to it, and a line that says so."""
    name = unquoted(given.get("dataset_preset", ""))
    preset = PRESETS.get(name)
    if preset is None:
        return given, ()
    values = {
        "label_column": preset.label,
        "objective": "binary:logistic",
        "missing_label": "drop",
    }
    added = {name: value for name, value in values.items() if name not in given}
    said = [f"{name}={value}" for name, value in added.items()]
    said += ["features by name"] if preset.features else []
    line = f"dataset_preset={name} stands for {', '.join(said)}"
    return {**given, **added}, (line,) if said else ()


def kept(asked: Asked) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the features by name (none: all), and the columns to ignore beside them.

    A feature of the preset that is ignored need not be in the file, so it is in neither.
    """
    ignored = _texts(asked.values.get("ignore_columns", ()))
    preset = _preset(asked)
    features = preset.features if preset else ()
    return (
        tuple(name for name in features if name not in ignored),
        tuple(name for name in ignored if name not in features),
    )


def problems(asked: Asked) -> Iterator[Problem]:
    """Yield the problem that a feature leaks the label where the job refuses leakage."""
    name = _leaking(asked)
    if name and asked.values.get("leakage") == "fail":
        hint = f"{name} is known only after landing; ignore_columns={name} leaves it out"
        yield asked.problem("leakage", "warn or ignore with dataset_preset=airline", hint)


def advice(asked: Asked) -> Iterator[str]:
    """Yield the warning that a feature leaks the label."""
    if name := _leaking(asked):
        yield (
            f"dataset_preset=airline: {name} is known only after landing, so it leaks the label of "
            f"a flight that is about to depart; ignore_columns={name} leaves it out"
        )


def _preset(asked: Asked) -> Preset | None:
    return PRESETS.get(str(asked.values.get("dataset_preset")))


def _leaking(asked: Asked) -> str | None:
    preset = _preset(asked)
    if preset is None or preset.leaking is None or "ignore_columns" in asked.broken:
        return None
    named = {text for part in _PARTS for text in _texts(asked.values.get(part, ()))}
    return None if preset.leaking in named else preset.leaking


def _texts(value: Value) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)
