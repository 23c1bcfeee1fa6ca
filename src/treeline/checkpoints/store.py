"""The checkpoints of a job: one folder for it, and a few files for each of its models.

    treeline-<id>/job.json                      what the id stands for, to be read by people
    treeline-<id>/<stage>-<first>-<end>.ckpt    the rounds from first to before end
    treeline-<id>/<stage>-done.ckpt             what is kept of a finished model

The id is a hash of the job's facts, so jobs that share a folder do not meet. Within a block of
rounds every file starts at the same round and supersedes the one before; of those the newest few
stay. A complete block stays until the end, so the bytes written grow with the rounds and not with
their square. A file is removed only after the one that supersedes it is on disk.

Rounds on other bins, as another machine may have left them, are neither used nor removed; only
a file of the same name takes their place. So each finds its own again, as far as that goes.

What stands in the folder never ends a job by itself: what is damaged is passed over, and what
cannot be read or written is said and tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from treeline.checkpoints import chain
from treeline.checkpoints.chain import Link, Name
from treeline.checkpoints.disk import Disk
from treeline.checkpoints.files import Files, Voice, in_words
from treeline.checkpoints.part import Part, digest_of, encode
from treeline.checkpoints.stage import NOWHERE, Finished, Restored, Sections, Stage
from treeline.errors import ConfigError

if TYPE_CHECKING:
    from treeline.hyperparameters.config import CheckpointOptions
    from treeline.metrics.log import Scores

# All writes together take at most one part of these of a stage's time, unless rounds are counted.
_PARTS = 20


@dataclass
class _Found:
    """The files of a stage: all names, the good ones of rounds, and how it was finished, if so."""

    names: set[Name] = field(default_factory=set)
    links: list[Link] = field(default_factory=list)
    done: Mapping[str, Any] | None = None

    def usable(self, job: str, limit: int) -> int | None:
        """Return how many rounds can be gone on from, None if all that are wanted are there."""
        if self.done is not None and chain.serves(self.done, limit):
            return None
        longest = chain.longest(job, self.links, limit)
        return longest[-1].name.end if longest else 0


class Checkpoints:
    """The checkpoints of one job under ``folder``; without a folder there are none.

    Of several workers the first one has them (``shared``). Raises
    ``ConfigError`` where they are required and there is no folder. With ``rules.required``
    ``PlatformError`` is raised where the disk fails, here and from the stages; otherwise that is
    a warning, said once until it works again.
    """

    def __init__(
        self,
        folder: Path | None,
        rules: CheckpointOptions,
        say: Voice,
        *,
        disk: Disk | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if folder is None and rules.required:
            raise ConfigError(
                "checkpoint_required=true, but the job has no checkpoint location",
                "Give the job a CheckpointConfig, or mount a folder at /opt/ml/checkpoints.",
            )
        self._rules = rules
        self._clock = clock
        self._files: Files | None = None
        if folder is not None:
            self._files = Files(folder, disk or Disk(folder), rules, say)
        self._found: dict[str, _Found] = {}

    @property
    def active(self) -> bool:
        """Whether there is a folder for checkpoints."""
        return self._files is not None

    def open(self, facts: Mapping[str, Any], rounds: int) -> dict[str, int | None]:
        """Find what earlier starts of the job with these facts left, and check every file.

        ``facts`` are JSON values by names for people. Returns for each stage found how many
        rounds, at most ``rounds``, can be gone on from, or None if the model of ``rounds`` rounds
        is finished. Raises ``ConfigError`` where only other jobs have left something and the
        rules say so.
        """
        if self._files is None:
            return {}
        for name in self._files.begin(facts):
            there = self._found.setdefault(name.stage, _Found())
            there.names.add(name)
            part = self._files.read(name)
            if part is not None and name.done:
                there.done = part.facts
            elif part is not None:
                there.links.append(chain.link(name, part))
        job = self._files.job
        found = {stage: there.usable(job, rounds) for stage, there in self._found.items()}
        for stage, usable in found.items():
            self._files.note(stage, usable)
        return {stage: usable for stage, usable in sorted(found.items()) if usable != 0}

    def stage(self, name: str) -> Stage:
        """Return the checkpoints of one model, to be used after ``open``; a thread may use each."""
        if self._files is None:
            return NOWHERE
        found = self._found.setdefault(name, _Found())
        return _Stage(name, self._files, found, self._rules, self._clock)

    def described(self, found: Mapping[str, int | None]) -> str:
        """Return the line that says where the job goes on, of what ``open`` has found."""
        return f"resumed from {self._files.folder}: {in_words(found)}" if self._files else ""

    def kept(self) -> str | None:
        """Return the line for a job that is being stopped, None where nothing is kept."""
        return None if self._files is None else self._files.kept()


class _Stage(Stage):
    """The files of one model."""

    def __init__(
        self,
        name: str,
        files: Files,
        found: _Found,
        rules: CheckpointOptions,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._files = files
        self._rules = rules
        self._clock = clock
        self._found = found
        self._foreign: set[Name] = set()  # files of rounds on other bins
        self._rounds = 0  # that are done
        self._scores: list[Scores] = []  # of each, if they are scored
        self._took: float | None = None  # the last write, in seconds
        self._spent = 0.0  # and all of them
        self._begin("")

    def restore(self, limit: int, bins: str = "") -> Restored:
        """Return what is left; ``ConfigError`` if that is on other bins and the rules refuse it."""
        links, parts = self._read([each for each in self._found.links if each.bins == bins], limit)
        foreign = [each for each in self._found.links if each.bins != bins]
        self._foreign = {each.name for each in foreign}
        if not links and (longest := chain.longest(self._files.job, foreign, limit)):
            self._files.mismatch(
                f"{self._files.folder} has {longest[-1].name.end} rounds of {self._name}, but the "
                "rows were binned another way (memory or compute path differ)",
                "rounds are trained anew",
            )
        self._begin(bins)
        self._files.note(self._name, 0)
        for link in links:
            self._follow(link, complete=link is not links[-1] or link.complete)
        self._rounds = self._written
        self._scores = [scores for part in parts for scores in part.scores]
        return Restored(self._rounds, tuple(self._scores), tuple(each.sections for each in parts))

    def keep(self, rounds: int, scores: Scores | None, sections: Sections) -> None:
        """Note that ``rounds`` are done, and write them if it is time to."""
        before, self._rounds = self._rounds, rounds
        if scores is not None:
            self._scores.append(scores)
        if self._due(before):
            self.flush(sections)

    def flush(self, sections: Sections) -> None:
        """Write what is not written yet."""
        if self._rounds == self._written:
            return
        begun = self._clock()
        name = Name(self._name, self._first, self._rounds)
        facts = chain.rounds_facts(self._files.job, name, self._after, self._bins)
        scores = self._scores[name.first : name.end]
        content = encode(facts, scores, sections(name.first, name.end))
        if self._files.write(name, content, self._written):
            digest, scored = digest_of(content), bool(scores)
            link = Link(name, self._after, self._bins, digest, scored, len(content))
            self._follow(link, complete=link.complete)
            self._remove_superseded(self._rules.keep)
        self._took = self._clock() - begun
        self._spent += self._took

    def finished(self, limit: int) -> Finished | None:
        """Return what ``finish`` left in an earlier start, if that has the rounds wanted."""
        part = self._files.read(Name(self._name)) if self._found.done else None
        if part is None or not chain.serves(part.facts, limit):
            return None
        return Finished(part.facts["facts"], part.sections, part.scores)

    def finish(
        self, facts: Mapping[str, Any], sections: Mapping[str, bytes], *, early: bool
    ) -> None:
        """Keep what is wanted of the model that is done, so that it is not trained again."""
        name = Name(self._name)
        first = chain.done_facts(self._files.job, name, dict(facts), self._rounds, early)
        if self._files.write(name, encode(first, self._scores, sections), self._written):
            self._files.note(self._name, None)
            self._remove_superseded(0)

    def _read(self, links: list[Link], limit: int) -> tuple[list[Link], list[Part]]:
        """Return the longest chain of which every file is still good, and the files."""
        while True:
            longest = chain.longest(self._files.job, links, limit)
            parts = []
            for link in longest:
                part = self._files.read(link.name)
                if part is None or part.digest != link.digest:
                    links = [each for each in links if each != link]
                    break
                parts.append(part)
            else:
                return longest, parts

    def _begin(self, bins: str) -> None:
        self._bins = bins
        self._began = self._clock()
        self._blocks: set[Name] = set()  # the files of complete blocks
        self._first = 0  # where the block begins that is not complete
        self._after = chain.root(self._files.job, self._name, bins)  # what its files follow
        self._newest: Name | None = None
        self._written = 0  # rounds

    def _follow(self, link: Link, *, complete: bool) -> None:
        """Note that a file is there and ends the chain."""
        name = self._newest = link.name
        self._written = name.end
        self._foreign.discard(name)
        self._found.names.add(name)
        if complete:
            self._blocks.add(name)
            self._first, self._after = name.end, link.digest
        else:
            self._first, self._after = name.first, link.after
        self._files.note(self._name, self._written)

    def _due(self, before: int) -> bool:
        """Return whether it is time to write, with ``before`` rounds done the last time."""
        every = self._rules.every
        if every is not None:
            return self._rounds // every > before // every
        if self._took is None:
            return True
        return (self._spent + self._took) * _PARTS <= self._clock() - self._began

    def _remove_superseded(self, keep: int) -> None:
        """Remove the files that are of no more use, but for the ``keep`` newest."""
        names = {each for each in self._found.names if not each.done} - self._foreign
        names -= {*self._blocks, self._newest}
        # Rounds that are still to come are there if an earlier start had more of them.
        past = sorted(
            (each for each in names if each.end <= self._written),
            key=lambda each: (each.end, each.first),
        )
        for name in past[: max(0, len(past) - keep)]:
            if self._files.remove(name):
                self._found.names.discard(name)
