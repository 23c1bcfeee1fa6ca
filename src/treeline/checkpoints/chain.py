"""Which files of a stage are there, and which of them follow one another.

A file ``<stage>-<first>-<end>.ckpt`` has the rounds from ``first`` to before ``end`` and names
the digest of the file that ends at ``first``; one that starts at round 0 has ``root`` instead.
So files of models that differ anywhere never make one chain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from treeline.checkpoints.part import DamagedError, Part, hash_of

# A block of rounds that has grown to one of these is complete, and the next one begins.
BLOCK_ROUNDS = 16
BLOCK_BYTES = 1 << 20

_NAME = re.compile(
    r"(?P<stage>[A-Za-z0-9_-]+)-(?:(?P<first>[0-9]{6,15})-(?P<end>[0-9]{6,15})|done)\.ckpt"
)


@dataclass(frozen=True, order=True)
class Name:
    """What a file's name says; ``done`` has no rounds."""

    stage: str
    first: int = 0
    end: int = 0

    @property
    def done(self) -> bool:
        """Whether it is what is kept of a finished model."""
        return self.end == 0

    @property
    def text(self) -> str:
        """The name itself."""
        if self.done:
            return f"{self.stage}-done.ckpt"
        return f"{self.stage}-{self.first:06d}-{self.end:06d}.ckpt"


@dataclass(frozen=True)
class Link:
    """A file of rounds, as far as it matters for what follows what; ``size`` is in bytes."""

    name: Name
    after: str
    bins: str
    digest: str
    scored: bool
    size: int

    @property
    def complete(self) -> bool:
        """Whether its block is: the next file starts where this one ends."""
        rounds = self.name.end - self.name.first
        return rounds >= BLOCK_ROUNDS or self.size >= BLOCK_BYTES


def parsed(text: str) -> Name | None:
    """Return what a file's name says, or None if it is not that of a checkpoint."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    stage, first, end = match.groups()
    if end is None:
        return Name(stage)
    name = Name(stage, int(first), int(end))
    return name if name.first < name.end and name.text == text else None


def rounds_facts(job: str, name: Name, after: str, bins: str) -> dict[str, Any]:
    """Return what stands in the first line of a file of rounds."""
    rounds = {"first": name.first, "end": name.end}
    return {"job": job, "stage": name.stage, **rounds, "after": after, "bins": bins}


def done_facts(
    job: str, name: Name, facts: Mapping[str, Any], rounds: int, early: bool
) -> dict[str, Any]:
    """Return what stands in the first line of a finished model's file.

    ``early`` is whether the model ended by itself after its ``rounds``, whatever it was allowed.
    """
    return {"job": job, "stage": name.stage, "rounds": rounds, "early": early, "facts": facts}


def serves(done: Mapping[str, Any], limit: int) -> bool:
    """Return whether the model with this first line is also that of ``limit`` rounds."""
    rounds: int = done["rounds"]
    return rounds == limit or (done["early"] and rounds < limit)


def check(job: str, name: Name, part: Part) -> None:
    """Raise ``DamagedError`` if a file is not what its name says."""
    if name.done:
        facts, rounds, early = (part.facts.get(key) for key in ("facts", "rounds", "early"))
        fits = (
            isinstance(facts, dict)
            and isinstance(rounds, int)
            and isinstance(early, bool)
            and part.facts == done_facts(job, name, facts, rounds, early)
        )
    else:
        after, bins = part.facts.get("after"), part.facts.get("bins")
        fits = isinstance(after, str) and isinstance(bins, str)
        fits = fits and part.facts == rounds_facts(job, name, str(after), str(bins))
        fits = fits and len(part.scores) in (0, name.end - name.first)
    if not fits:
        raise DamagedError("it is not what its name says")


def link(name: Name, part: Part) -> Link:
    """Return where a checked file of rounds belongs."""
    after, bins = part.facts["after"], part.facts["bins"]
    return Link(name, after, bins, part.digest, bool(part.scores), part.size)


def root(job: str, stage: str, bins: str) -> str:
    """Return what files that start at round 0 follow."""
    return hash_of(json.dumps([job, stage, bins]).encode())


def longest(job: str, links: Iterable[Link], limit: int) -> list[Link]:
    """Return the files that together have the most rounds, at most ``limit``, in their order."""
    connected: dict[str, Link] = {}
    for each in sorted(links, key=lambda each: (each.name.first, each.name.end)):
        if each.name.end <= limit and _follows(job, each, connected.get(each.after)):
            connected[each.digest] = each
    last = max(connected.values(), key=lambda each: (each.name.end, each.name.first), default=None)
    chain: list[Link] = []
    while last is not None:
        chain.append(last)
        last = connected.get(last.after)
    return chain[::-1]


def _follows(job: str, each: Link, before: Link | None) -> bool:
    if each.name.first == 0:
        return each.after == root(job, each.name.stage, each.bins)
    return before is not None and (before.name.end, before.bins, before.scored) == (
        each.name.first,
        each.bins,
        each.scored,
    )
