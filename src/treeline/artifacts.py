"""What a job leaves under ``/opt/ml/model``: the model, and a manifest that says what it is.

Every file is written beside its final name and renamed into place, and the manifest comes last,
so a manifest means that everything it names is there and whole.

The manifest stands in a folder of its own because the built-in image's serving loads every file
at the top of the model directory as one more model of an ensemble.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treeline.errors import PlatformError

MODEL_NAME = "xgboost-model"  # the built-in image's name for it: UBJSON without an extension
MANIFEST_NAME = "treeline/manifest.json"
MANIFEST_VERSION = 1


def clear(folder: Path) -> None:
    """Remove the model and the manifest of an earlier run, the manifest first."""
    try:
        for name in (MANIFEST_NAME, MODEL_NAME):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise PlatformError(
            f"An earlier run's {folder / name} could not be removed: {error.strerror or error}",
            "Remove it, and check that the folder can be written.",
        ) from error


def write(folder: Path, model: bytes, manifest: Mapping[str, Any]) -> None:
    """Write the model, then the manifest with its format version in front."""
    content = {"manifest_version": MANIFEST_VERSION, **manifest}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        _write_whole(folder / MODEL_NAME, model)
        _write_whole(folder / MANIFEST_NAME, text.encode())
    except OSError as error:
        raise PlatformError(
            f"The model could not be written to {folder}: {error.strerror or error}",
            "Check the volume's free space and that the folder can be written.",
        ) from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a model directory."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    return manifest


def _write_whole(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # A dot file: passed over by the built-in image's serving should a kill leave it behind.
    temporary = file.with_name(f".{file.name}.sagemaker-ignore")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
