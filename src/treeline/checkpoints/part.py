"""The format of a checkpoint file.

    {"treeline_checkpoint": 1, …, "scores": […], "sections": {"name": bytes, …}}    one line
    the sections, one behind the other
    treeline-commit 64 hex digits                                                   one line

The first line is JSON. The hex digits are blake2b (32 bytes) of everything before the line break
in front of the last line, so a file without that line was not written whole. Later versions keep
the first key and the last line.

Scores are written with the digits that give the same number again; nan and the infinities are
text. The same content gives the same bytes: there are no times in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from treeline.metrics.log import plain

if TYPE_CHECKING:
    from treeline.metrics.log import Scores

FORMAT = 1
_VERSION = "treeline_checkpoint"
_BEGIN = f'{{"{_VERSION}":'.encode()
_COMMIT = b"\ntreeline-commit "
_DIGEST = 32  # bytes
_TAIL = len(_COMMIT) + 2 * _DIGEST + 1


class DamagedError(Exception):
    """A file cannot be used as a checkpoint; the text says why, as what 'it' is."""


@dataclass(frozen=True)
class Part:
    """What stands in a checkpoint file of ``size`` bytes; ``digest`` is that in its last line."""

    facts: Mapping[str, Any]
    scores: tuple[Scores, ...]
    sections: Mapping[str, bytes]
    digest: str
    size: int


def encode(
    facts: Mapping[str, Any], scores: Sequence[Scores], sections: Mapping[str, bytes]
) -> bytes:
    """Return the file's content; ``facts`` stand in its first line."""
    header = {
        _VERSION: FORMAT,
        **facts,
        "scores": [plain(_floats(each)) for each in scores],
        "sections": {name: len(content) for name, content in sections.items()},
    }
    line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
    pieces = (line, *sections.values())
    return b"".join((*pieces, _COMMIT, hash_of(*pieces).encode(), b"\n"))


def decode(content: bytes) -> Part:
    """Return what stands in a file. Raises ``DamagedError``, whatever the bytes are."""
    digest = _checked(content)
    end = content.find(b"\n")  # there is one: the last line has it in front
    try:
        header = json.loads(content[:end])
        version = header.pop(_VERSION)
        if not isinstance(version, int) or version > FORMAT:
            raise DamagedError(f"it has format version {version}, this image reads up to {FORMAT}")
        scores = tuple(_floats(each) for each in header.pop("scores"))
        sizes = dict(header.pop("sections"))
        sections = _cut(content, end + 1, sizes)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError):
        raise DamagedError("its first line is not that of a checkpoint") from None
    return Part(header, scores, sections, digest, len(content))


def digest_of(content: bytes) -> str:
    """Return the digest in the last line of a file that ``encode`` made."""
    return content[len(_COMMIT) - _TAIL : -1].decode()


def hash_of(*pieces: bytes | memoryview) -> str:
    """Return blake2b of bytes that stand one behind the other, as hex digits."""
    found = hashlib.blake2b(digest_size=_DIGEST)
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _checked(content: bytes) -> str:
    """Return the digest, after checking that it is that of the content."""
    if not content:
        raise DamagedError("it is empty")
    if not content.startswith(_BEGIN[: len(content)]):
        raise DamagedError("it is not a checkpoint")
    tail = content[-_TAIL:]
    if len(content) <= _TAIL or not (tail.startswith(_COMMIT) and tail.endswith(b"\n")):
        raise DamagedError("it was not written whole, its last line is missing")
    digest = hash_of(memoryview(content)[:-_TAIL])
    if tail[len(_COMMIT) : -1] != digest.encode():
        raise DamagedError("its content is not what was written, the hash differs")
    return digest


def _cut(content: bytes, start: int, sizes: Mapping[str, int]) -> dict[str, bytes]:
    sections = {}
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 0:
            raise ValueError(size)
        sections[name] = content[start : start + size]
        start += size
    if start != len(content) - _TAIL:
        raise DamagedError("its sections do not add up")
    return sections


def _floats(scores: Mapping[str, Mapping[str, float | str]]) -> dict[str, dict[str, float]]:
    return {d: {m: float(v) for m, v in values.items()} for d, values in scores.items()}
