"""The jobs that have checkpoints in one folder: ``job.json`` of each, and how they differ.

It is a JSON object: ``treeline_checkpoints`` (the format's version, 1), ``job`` (its id) and
``facts`` (by name). People read it; of the job itself nothing depends on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from treeline.errors import shortened

NAME = "job.json"
FORMAT = 1
_VERSION = "treeline_checkpoints"
_LISTED = 4  # differences
_SHOWN = 60  # characters of a value


def job_id(facts: Mapping[str, Any]) -> str:
    """Return 16 hex digits that stand for the facts, in whatever order they come."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def encode(job: str, facts: Mapping[str, Any]) -> bytes:
    """Return the content of ``job.json``."""
    content = {_VERSION: FORMAT, "job": job, "facts": facts}
    return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()


def decode(content: bytes) -> dict[str, Any] | None:
    """Return the facts of another job, or None where they cannot be read."""
    try:
        found = json.loads(content)
        facts = found["facts"] if found[_VERSION] == FORMAT else None
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return in words, for each fact that differs, how; sorted by its name."""
    here = json.loads(json.dumps(here))  # tuples are lists there
    return [
        _difference(name, there, here)
        for name in sorted({*there, *here})
        if name not in there or name not in here or there[name] != here[name]
    ]


def listed(found: list[str]) -> str:
    """Return the first few differences, and how many more there are."""
    more = len(found) - _LISTED
    return ", ".join(found[:_LISTED]) + (f", and {more} more" if more > 0 else "")


def _difference(name: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    if name not in there:
        return f"there is no {name} there"
    if name not in here:
        return f"there is no {name} here"
    return f"{name} is {_shown(there[name])} there and {_shown(here[name])} here"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return shortened(" ".join(text.split()) or "empty", _SHOWN)
