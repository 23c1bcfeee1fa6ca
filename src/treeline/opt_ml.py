"""What the platform hands a training container: the tree under ``/opt/ml`` and the environment.

This is the only module that knows the names of the platform's files and variables, and it
reads them once, from a root and a mapping that are passed in. Files and fields that it does
not know are ignored, because the platform adds some without notice.

Source of the layout: Amazon SageMaker developer guide, "How Amazon SageMaker provides
training information". The SDK's local mode writes fewer fields than the service does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treeline.errors import ConfigError

DEFAULT_ROOT = Path("/opt/ml")
DEFAULT_HOST = "algo-1"
# The hyperparameter (in capitals, the variable) that names a user's own program.
PROGRAM = "sagemaker_program"
# What images made for the RAPIDS SageMaker HPO example have in their environment.
DATASET_DIRECTORY = "AWS_DATASET_DIRECTORY"
ALGORITHM_CHOICE = "AWS_ALGORITHM_CHOICE"
ML_WORKFLOW_CHOICE = "AWS_ML_WORKFLOW_CHOICE"
CV_FOLDS = "AWS_CV_FOLDS"
CHOICES = (DATASET_DIRECTORY, ALGORITHM_CHOICE, ML_WORKFLOW_CHOICE, CV_FOLDS)


@dataclass(frozen=True)
class Paths:
    """Where everything stands under one root. Nothing is created by looking."""

    root: Path

    @property
    def config(self) -> Path:
        """JSON files that describe the job."""
        return self.root / "input" / "config"

    @property
    def channels(self) -> Path:
        """One folder for each channel."""
        return self.root / "input" / "data"

    @property
    def code(self) -> Path:
        """The program the toolkit runs in script mode."""
        return self.root / "code"

    @property
    def model(self) -> Path:
        """Becomes ``model.tar.gz``."""
        return self.root / "model"

    @property
    def output_data(self) -> Path:
        """Becomes ``output.tar.gz``."""
        return self.root / "output" / "data"

    @property
    def checkpoints(self) -> Path:
        """Outlives the job where somebody wants it to; the usual place, a job may name another."""
        return self.root / "checkpoints"

    @property
    def failure(self) -> Path:
        """Its first 1,024 characters become the job's FailureReason."""
        return self.root / "output" / "failure"


@dataclass(frozen=True)
class Channel:
    """One entry of ``inputdataconfig.json``; what was not said is ``None``."""

    name: str
    path: Path
    content_type: str | None = None
    input_mode: str = "File"
    distribution: str | None = None
    compression: str | None = None
    record_wrapper: str | None = None


@dataclass(frozen=True)
class Hosts:
    """The machines of this job, sorted by name; the first one leads."""

    current: str
    all: tuple[str, ...]
    network_interface: str | None = None


@dataclass(frozen=True)
class Job:
    """One training job as data. Every hyperparameter is still the text that was given.

    ``checkpoints`` is the folder that outlives the job, None where there is none. ``choices``
    are the variables of ``CHOICES`` that are set and not empty.
    """

    paths: Paths
    hyperparameters: Mapping[str, str]
    channels: Mapping[str, Channel]
    hosts: Hosts
    checkpoints: Path | None
    name: str | None
    choices: Mapping[str, str]


def root_from(environ: Mapping[str, str]) -> Path:
    """Return the root of the tree: ``SAGEMAKER_BASE_DIR`` if it is set, else ``/opt/ml``."""
    return Path(environ.get("SAGEMAKER_BASE_DIR") or DEFAULT_ROOT)


def read_job(root: Path, environ: Mapping[str, str]) -> Job:
    """Read the job under ``root``.

    Every file may be missing: hyperparameters are then empty, channels are the folders that
    exist under ``input/data``, and the job has one host. A file that is not the JSON it ought
    to be raises ``ConfigError``.
    """
    paths = Paths(root)
    return Job(
        paths=paths,
        hyperparameters=read_hyperparameters(paths),
        channels=_channels(paths),
        hosts=_hosts(paths),
        checkpoints=_checkpoints(paths),
        name=environ.get("TRAINING_JOB_NAME") or None,
        choices=read_choices(environ),
    )


def read_choices(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of ``CHOICES`` that say something."""
    said = {name: environ.get(name, "").strip() for name in CHOICES}
    return {name: text for name, text in said.items() if text}


def read_hyperparameters(paths: Paths) -> dict[str, str]:
    """Return the hyperparameters as text; the service sends text, people write numbers too."""
    values = _read_object(paths.config / "hyperparameters.json") or {}
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in values.items()}


def _channels(paths: Paths) -> dict[str, Channel]:
    declared = _read_object(paths.config / "inputdataconfig.json")
    if declared is None:  # a hand-made tree: the folders and FIFOs are the declaration
        found = sorted(paths.channels.iterdir()) if paths.channels.is_dir() else []
        declared = {p.name: {} for p in found if p.is_dir() and not p.name.startswith(".")}
        for fifo in (p for p in found if p.name.endswith("_0") and p.is_fifo()):
            declared.setdefault(fifo.name.removesuffix("_0"), {"TrainingInputMode": "Pipe"})
    return {name: _channel(paths, name, entry) for name, entry in declared.items()}


def _channel(paths: Paths, name: str, entry: Any) -> Channel:
    file = paths.config / "inputdataconfig.json"
    if not isinstance(entry, dict):
        raise ConfigError(
            f"{file}: channel {name!r} is {_kind(entry)}, not an object",
            f'Write it as {{"{name}": {{"ContentType": "text/csv"}}}}.',
        )
    return Channel(
        name=name,
        path=paths.channels / name,
        content_type=_text(file, entry, "ContentType"),
        input_mode=_text(file, entry, "TrainingInputMode") or "File",
        distribution=_text(file, entry, "S3DistributionType"),
        compression=_unless_none(_text(file, entry, "CompressionType")),
        record_wrapper=_unless_none(_text(file, entry, "RecordWrapperType")),
    )


def _hosts(paths: Paths) -> Hosts:
    file = paths.config / "resourceconfig.json"
    values = _read_object(file) or {}
    current = _text(file, values, "current_host") or DEFAULT_HOST
    hosts = values.get("hosts") or [current]
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ConfigError(
            f"{file}: 'hosts' is {hosts!r}, not a list of names",
            f'Write it as "hosts": ["{DEFAULT_HOST}"].',
        )
    if current not in hosts:
        raise ConfigError(
            f"{file}: current_host {current!r} is not one of the hosts {hosts}",
            "Add it to 'hosts', or correct 'current_host'.",
        )
    interface = _text(file, values, "network_interface_name")
    return Hosts(current=current, all=tuple(sorted(hosts)), network_interface=interface)


def _checkpoints(paths: Paths) -> Path | None:
    """Return the folder for checkpoints, None where nobody asked for them.

    The platform writes ``checkpointconfig.json`` only for a job with a CheckpointConfig; where
    it did not, a folder that a person mounted or made asks for them too. A LocalPath is taken
    as given, but one under ``/opt/ml`` is the same place under the root, so that a tree copied
    from the platform trains anywhere.
    """
    file = paths.config / "checkpointconfig.json"
    values = _read_object(file)
    if values is None:
        return paths.checkpoints if paths.checkpoints.is_dir() else None
    local = Path(_text(file, values, "LocalPath") or Paths(DEFAULT_ROOT).checkpoints)
    if not local.is_absolute():
        raise ConfigError(
            f"{file}: 'LocalPath' is {str(local)!r}, not an absolute path",
            f'Write it as "{Paths(DEFAULT_ROOT).checkpoints}", or leave it out.',
        )
    below = local.is_relative_to(DEFAULT_ROOT)
    return paths.root / local.relative_to(DEFAULT_ROOT) if below else local


def _read_object(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``file``, or None where there is no file (or an empty one)."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file}: cannot be read: {error}", "Check that it is a readable UTF-8 file."
        ) from error
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{file}: not JSON: {error.msg} at line {error.lineno} column {error.colno}",
            'Write one JSON object there, for example {"num_round": "100"}.',
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: holds {_kind(value)}, not a JSON object", "Wrap it in { }.")
    return value


def _text(file: Path, values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is None or isinstance(value, str):
        return value or None
    raise ConfigError(
        f"{file}: {key!r} is {_kind(value)}, not text", f"Quote the value of {key!r}."
    )


def _unless_none(value: str | None) -> str | None:
    """The service writes the word "None" where nothing was chosen."""
    return None if value == "None" else value


def _kind(value: Any) -> str:
    names = {list: "a list", dict: "an object", str: "text", bool: "true or false"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "null")
