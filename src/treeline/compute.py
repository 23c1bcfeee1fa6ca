"""Where a job computes, and how much of the machine it may use.

A compute path is a value. ``singleCPU`` is one process that does one thing after the other, each
with all threads of the machine. ``multiCPU`` does several at a time: folds side by side, one step
of the job beside another, several processes where they are asked for, several hosts. The models
are the same. Asking for a path that this image cannot open is refused by name, never replaced
silently.

The number of threads is the container's share of the machine, not the machine's cores:
``os.cpu_count`` and ``nproc`` see the host whatever ``docker run --cpus`` says, and a team of
OpenMP threads larger than the share waits on itself. Sources: kernel documentation,
"Control Group v2" (cpu.max, memory.max, memory.events) and "CFS Bandwidth Control" (version 1).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path

from treeline.errors import HyperparameterError
from treeline.team import ALONE, Team

PATHS = ("singleCPU", "multiCPU", "singleGPU", "multiGPU")

# Version 1 writes a number near 2**63 for "no limit"; no machine has this much memory.
_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class Compute:
    """An opened compute path: its name, XGBoost's device string and the threads it may use.

    ``threads`` are those of this worker, ``team`` all workers that train one model together; a
    worker alone is a team of one. ``beside`` is how many workers share this machine's memory.
    ``why`` says what the path was chosen for. ``each`` are the threads that a model is trained
    with, None for all of them; its rows are binned with all.
    """

    path: str
    device: str
    threads: int
    team: Team = ALONE
    beside: int = 1
    why: str = ""
    each: int | None = None

    @property
    def at_once(self) -> int:
        """How many things this worker does at a time, at most."""
        return self.threads if self.path.startswith("multi") else 1

    @property
    def threads_each(self) -> int:
        """The threads that a model is trained with."""
        return self.each or self.threads

    def one_of(self, models: int, number: int) -> Compute:
        """Return where model ``number``, from 0, of so many is trained side by side."""
        whole, left = divmod(self.threads, models)
        return replace(self, each=max(1, whole + (number < left)))


@dataclass(frozen=True)
class Plan:
    """What a host is to open: a compute path, as ``workers`` processes with ``threads`` each.

    ``several`` is whether the workers of all hosts are more than one. ``why`` says what decided.
    """

    path: str
    device: str
    workers: int
    threads: int
    several: bool
    why: str

    def alone(self) -> Compute:
        """Return the path as a worker alone opens it."""
        return Compute(self.path, self.device, self.threads, why=self.why)


@dataclass(frozen=True)
class Wish:
    """What a job asks of compute: hyperparameters of these names, None where they are absent."""

    compute: str = "auto"
    nthread: int | None = None
    workers: int | None = None


def choose(wish: Wish, hosts: int, cgroup: Cgroup) -> Plan:
    """Return what this host opens for a job on ``hosts`` hosts.

    ``nthread`` is the user's own number of threads for a host and wins over the container's share.
    """
    asked, threads = wish.compute, wish.nthread or cgroup.threads()
    if asked not in ("auto", "singleCPU", "multiCPU"):
        raise HyperparameterError(
            f"Hyperparameter compute: found {asked!r}, which this image cannot open",
            "Use compute=singleCPU, compute=multiCPU or auto.",
        )
    if asked == "singleCPU" and hosts > 1:
        raise HyperparameterError(
            f"Hyperparameter compute: found singleCPU, and the job has {hosts} hosts",
            "Use compute=multiCPU or auto, or set the instance count to 1. Every host would "
            "train the same model.",
        )
    # One process on a host, with all of its threads: more have measured no faster.
    workers = min(wish.workers or 1, threads)
    if asked == "auto":
        asked = "multiCPU" if hosts > 1 or threads > 1 else "singleCPU"
    why = "one host" if hosts == 1 else f"{hosts} hosts"
    if wish.workers is not None and asked == "multiCPU":
        why += f", workers={wish.workers}"
        if workers < wish.workers:
            why += f" but {threads} thread(s)"
    if asked == "singleCPU":
        return Plan(asked, "cpu", 1, threads, several=False, why=why)
    each = max(1, threads // workers)
    return Plan(asked, "cpu", workers, each, several=hosts * workers > 1, why=why)


@dataclass(frozen=True)
class Cgroup:
    """The limits of the control groups this process is in, versions 1 and 2.

    ``root`` is where ``/proc`` and ``/sys`` stand, so that a test can bring its own.
    """

    root: Path = Path("/")

    def threads(self) -> int:
        """Return how many threads can run at once: the affinity mask cut by the CPU quota.

        A part of a core is no thread: XGBoost itself rounds a quota down where it sees one
        (control groups version 1), whatever it is told.
        """
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        cores = allowed or os.cpu_count() or 1
        quota = self.cpu_quota()
        return cores if quota is None else max(1, min(cores, int(quota)))

    def cpu_quota(self) -> float | None:
        """Return the CPU quota in cores, or None where there is none."""
        quotas = [_ratio(*_words(d / "cpu.max", 2)) for d in self._folders("")]
        quotas += [
            _ratio(*_words(d / "cpu.cfs_quota_us", 1), *_words(d / "cpu.cfs_period_us", 1))
            for d in self._folders("cpu")
        ]
        return min((q for q in quotas if q), default=None)

    def memory_limit(self) -> int | None:
        """Return the memory limit in bytes, or None where there is none."""
        limits = [_number(*_words(d / "memory.max", 1)) for d in self._folders("")]
        limits += [
            _number(*_words(d / "memory.limit_in_bytes", 1)) for d in self._folders("memory")
        ]
        return min((n for n in limits if n and n < _UNLIMITED), default=None)

    def oom_kills(self) -> int:
        """Return how many processes of this control group the kernel has killed for memory."""
        files = [d / "memory.events" for d in self._folders("")[:1]]
        files += [d / "memory.oom_control" for d in self._folders("memory")[:1]]
        for file in files:
            for line in _lines(file):
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def _folders(self, controller: str) -> list[Path]:
        """Return the folders that limit this process, its own first, then their parents.

        In a container the own folder is mounted as the top one, and the path that
        ``/proc/self/cgroup`` names does not exist inside; only what exists is returned.
        """
        top = self.root / "sys/fs/cgroup" / controller
        own = ""
        for line in _lines(self.root / "proc/self/cgroup"):
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                own = path.strip("/")
        nested = top / own
        chain = [nested, *nested.parents]
        return [d for d in chain if d.is_relative_to(top) and d.is_dir()]


def settle_native_threads(environ: MutableMapping[str, str]) -> None:
    """Set how native libraries use threads; to be called before they are loaded.

    A thread of GNU OpenMP that waits for the others first spins and then sleeps. Its own choice
    (300,000 turns) is ruinous where another process wants the same cores, sleeping at once is
    slow where none does; 5,000 turns is near the best of both. ``benchmarks/wait_policy.py``
    measures it. What the user set wins.
    """
    if "OMP_WAIT_POLICY" not in environ:
        environ.setdefault("GOMP_SPINCOUNT", "5000")
    # numpy's linear algebra is not used; left alone, it starts a thread for every core.
    environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _ratio(quota: str = "", period: str = "") -> float | None:
    if not quota.isdigit() or not period.isdigit():  # "max", "-1", or no such file
        return None
    return int(quota) / int(period)


def _number(value: str = "") -> int | None:
    return int(value) if value.isdigit() else None


def _words(file: Path, count: int) -> list[str]:
    return " ".join(_lines(file)).split()[:count]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
