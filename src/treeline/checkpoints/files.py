"""The files of one job: what the disk refuses and what is damaged, in words for a person."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from treeline.checkpoints import chain, jobs, part
from treeline.checkpoints.chain import Name
from treeline.checkpoints.disk import Disk
from treeline.checkpoints.part import DamagedError, Part
from treeline.errors import ConfigError, PlatformError

if TYPE_CHECKING:
    from treeline.hyperparameters.config import CheckpointOptions

_PREFIX = "treeline-"  # of a job's folder, in front of its id
_FOLDER = re.compile(f"{_PREFIX}[0-9a-f]{{16}}")
_FOLD = re.compile(r"fold-([0-9]+)")
_ABANDONED = 3600.0  # seconds; a file that takes longer to be written was left behind by a kill


class Voice(Protocol):
    """Who says what a person should know; ``Console`` is one."""

    def line(self, text: str) -> None:
        """Say it."""

    def warning(self, text: str) -> None:
        """Say it, and that it asks for attention."""


class Files:
    """The checkpoint files of one job, for several threads.

    Where the disk fails, that is a warning, once until it works again, or ``PlatformError`` if
    the rules require checkpoints.
    """

    def __init__(self, folder: Path, disk: Disk, rules: CheckpointOptions, say: Voice) -> None:
        self.job = ""
        self._parent = folder
        self._disk = disk
        self._rules = rules
        self._say = say
        self._facts: Mapping[str, Any] = {}
        self._explained = False  # whether job.json is there
        self._kept: dict[str, int | None] = {}
        self._failing: set[str] = set()
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """The job's own folder."""
        return self._parent / self._inside("")

    def begin(self, facts: Mapping[str, Any]) -> list[Name]:
        """Settle whose files these are; return the names of the checkpoints that are there.

        What a kill has left of files that were being written is removed.
        Raises ``ConfigError`` where only other jobs have some and the rules refuse that.
        """
        self._facts, self.job = facts, jobs.job_id(facts)
        try:
            found = self._disk.names(self._inside(""))
        except OSError as error:
            self._failed("read", error, "rounds that are there may be trained again")
            return []
        if not found:
            self._compare()
        self._remove_leftovers()
        return [name for name in map(chain.parsed, found) if name is not None]

    def read(self, name: Name) -> Part | None:
        """Return a file's content if it is good; otherwise say why it is not."""
        try:
            found = part.decode(self._disk.read(self._inside(name.text)))
            chain.check(self.job, name, found)
        except FileNotFoundError:
            self._passed_over(name, "it is not a file")
        except DamagedError as damage:
            self._passed_over(name, str(damage))
        except OSError as error:
            self._failed("read", error, "rounds that are there may be trained again")
        else:
            return found
        return None

    def write(self, name: Name, content: bytes, written: int) -> bool:
        """Write a file; return whether it is there. ``written`` rounds of its stage are."""
        try:
            self._disk.write(self._inside(name.text), content)
        except OSError as error:
            lost = f"the rounds of {name.stage}" + (f" since round {written}" if written else "")
            self._failed(
                "written", error, f"training goes on, and an interruption would lose {lost}"
            )
            return False
        with self._lock:
            self._explain()
            if "written" in self._failing:
                self._failing.remove("written")
                self._say.line(f"checkpoints are written to {self._parent} again")
        return True

    def remove(self, name: Name) -> bool:
        """Remove a file; return whether it is gone. That it stays is never an error."""
        try:
            return self._disk.remove(self._inside(name.text))
        except OSError as error:
            with self._lock:
                self._warn_once("removed", error, "the superseded ones stay")
            return False

    def note(self, stage: str, rounds: int | None) -> None:
        """Note how many rounds of a stage are kept; None: it is finished."""
        with self._lock:
            self._kept[stage] = rounds

    def kept(self) -> str | None:
        """Return the line for a job that is being stopped, None where nothing is kept."""
        with self._lock:
            found = {stage: n for stage, n in sorted(self._kept.items()) if n != 0}
        if not found:
            return None
        again = "the same job started again goes on from there"
        return f"kept in {self.folder}: {in_words(found)}; {again}"

    def mismatch(self, found: str, then: str) -> None:
        """Say that checkpoints are of no use; ``ConfigError`` if the rules refuse to go on."""
        if self._rules.mismatch == "fail":
            raise ConfigError(
                f"{found}, and checkpoint_mismatch=fail",
                "Give the job what it had then, set checkpoint_mismatch=restart, or use another "
                "folder for its checkpoints.",
            )
        with self._lock:
            self._say.line(f"{found}, so {then}")

    def _remove_leftovers(self) -> None:
        """Remove unfinished files that no other start of the job can be writing any more."""
        with suppress(OSError):
            for name in self._disk.leftovers(self._inside(""), _ABANDONED):
                with suppress(OSError):
                    self._disk.remove(self._inside(name))

    def _compare(self) -> None:
        """Look for the job that is most like this one, if there are others."""
        nearest: tuple[int, str, list[str]] | None = None
        for name, facts in self._others():
            found = jobs.differences(facts, self._facts)
            if found and (nearest is None or (len(found), name) < nearest[:2]):
                nearest = (len(found), name, found)
        if nearest is not None:
            _, name, found = nearest
            self.mismatch(
                f"{self._parent} has checkpoints of other jobs only, the nearest is {name}: "
                f"{jobs.listed(found)}",
                "this job starts from its first round",
            )

    def _others(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            names = self._disk.names()
        except OSError as error:
            self._failed("read", error, "whose checkpoints there are is not known")
            return
        for name in filter(_FOLDER.fullmatch, names):
            try:
                facts = jobs.decode(self._disk.read(f"{name}/{jobs.NAME}"))
            except OSError:
                continue  # what it says would only have been said
            if facts is not None:
                yield name, facts

    def _inside(self, name: str) -> str:
        return f"{_PREFIX}{self.job}/{name}"

    def _explain(self) -> None:
        """Write ``job.json`` once; that it cannot be written costs nothing but words."""
        if not self._explained:
            with suppress(OSError):
                self._disk.write(self._inside(jobs.NAME), jobs.encode(self.job, self._facts))
                self._explained = True

    def _passed_over(self, name: Name, why: str) -> None:
        with self._lock:
            self._say.warning(f"checkpoint {self.folder / name.text} is passed over: {why}")

    def _failed(self, what: str, error: OSError, then: str) -> None:
        if self._rules.required:
            raise PlatformError(
                f"Checkpoints cannot be {what}, and checkpoint_required=true: {self._parent}: "
                f"{error.strerror or error}",
                "Check the volume's free space and that the folder can be read and written, or "
                "set checkpoint_required=false.",
            ) from error
        with self._lock:
            self._warn_once(what, error, then)

    def _warn_once(self, what: str, error: OSError, then: str) -> None:
        if what not in self._failing:
            self._failing.add(what)
            where = f"{what} {'to' if what == 'written' else 'from'} {self._parent}"
            self._say.warning(f"checkpoints cannot be {where}: {error.strerror or error}; {then}")


def in_words(found: Mapping[str, int | None]) -> str:
    """Return how far stages are; None is finished, and the stage fold-003 is fold 3."""
    folds: dict[int, int | None] = {}
    words = []
    for stage, rounds in found.items():
        if match := _FOLD.fullmatch(stage):
            folds[int(match[1])] = rounds
        else:
            words.append(f"{stage} is done" if rounds is None else f"{stage} {_rounds(rounds)}")
    done = [str(fold) for fold, rounds in folds.items() if rounds is None]
    under_way = [f"fold {fold} has {_rounds(n)}" for fold, n in folds.items() if n is not None]
    if done:
        several = len(done) > 1
        under_way.insert(
            0,
            f"{'folds' if several else 'fold'} {', '.join(done)} {'are' if several else 'is'} done",
        )
    return ", ".join(under_way + words)


def _rounds(count: int) -> str:
    return f"{count} round" if count == 1 else f"{count} rounds"
