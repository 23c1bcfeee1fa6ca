"""A job on several hosts in the background, and what can be done to it while it runs.

The hosts are containers of ``cluster``; nothing of them is left when the context is.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from local_test import cluster
from local_test.cluster import CannotTryError, Cluster, Ended, Request

# Ends the processes whose command line has this, but for process 1; fails if there is none. The
# pattern has to be one that does not match itself: the shell's own command line has it, too.
_KILL = """
found=1
for folder in /proc/[0-9]*; do
    number=${folder#/proc/}
    [ "$number" = 1 ] && continue
    if tr '\\0' ' ' < "$folder/cmdline" 2> /dev/null | grep -q "$1"; then
        kill -9 "$number" && found=0
    fi
done
exit $found
"""
WORKER = "treeline[.]worker"
HOST_PROCESS = "container/trai[n]"


@dataclass(frozen=True)
class Line:
    """A line of a host's log, and when it came, by ``time.monotonic``."""

    at: float
    host: str
    text: str


class Running:
    """A job at work, as a context. All moments are those of ``time.monotonic``."""

    def __init__(self, request: Request, results: Path) -> None:
        self.lines: list[Line] = []
        self.began = 0.0
        self._request = request
        self._results = results
        self._cluster: Cluster | None = None
        self._ends: list[Ended] = []
        self._error: BaseException | None = None
        self._over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="cluster")

    def __enter__(self) -> Running:
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._cluster or self._over, 60)
        if self._cluster is None:
            raise self._error or CannotTryError("the containers could not be made within 60 s")
        return self

    def __exit__(self, *_: object) -> None:
        while self._thread.is_alive():  # a container that is only being started can't be killed yet
            for host in self.hosts:
                self._docker("unpause", self._container(host))
                self._docker("kill", self._container(host))
            self._thread.join(1)

    def _run(self) -> None:
        try:
            self._ends = cluster.run(self._request, self._results, self._say, self._ready)
        except BaseException as error:
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _ready(self, made: Cluster) -> None:
        with self._changed:
            self.began = time.monotonic()
            self._cluster = made
            self._changed.notify_all()

    def _say(self, text: str) -> None:
        host, found, said = text.partition(" | ")
        with self._changed:
            line = Line(time.monotonic(), host.strip(), said) if found else None
            self.lines.append(line or Line(time.monotonic(), "", text))
            self._changed.notify_all()

    @property
    def hosts(self) -> list[str]:
        """The hosts' names; the first one leads."""
        return [] if self._cluster is None else [host.name for host in self._cluster.hosts]

    @property
    def log(self) -> str:
        """All lines so far, behind the names of their hosts."""
        return "\n".join(f"{line.host} | {line.text}" for line in self.lines)

    def seen(self, pattern: str, host: str | None = None) -> Line | None:
        """Return the first line that ``pattern`` is found in, of any host or of this one."""
        wanted = re.compile(pattern)
        return next(
            (line for line in self.lines if host in (None, line.host) and wanted.search(line.text)),
            None,
        )

    def wait_for(self, pattern: str, timeout: float = 60, host: str | None = None) -> Line | None:
        """Return the first such line as soon as it is there; None: ended before, or too late."""
        until = time.monotonic() + timeout
        wanted, looked_at = re.compile(pattern), 0
        with self._changed:
            while True:
                for line in self.lines[looked_at:]:
                    if host in (None, line.host) and wanted.search(line.text):
                        return line
                looked_at = len(self.lines)
                if self._over or not self._changed.wait(until - time.monotonic()):
                    return None

    def wait(self, timeout: float) -> bool:
        """Wait until all hosts have ended; return whether they have."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def ends(self, timeout: float = 90) -> dict[str, Ended]:
        """Wait for the end and return that of every host; raises ``TimeoutError``."""
        if not self.wait(timeout):
            raise TimeoutError(f"no end within {timeout:g} s:\n{self.log}")
        if self._error is not None:
            raise self._error
        return {each.host.name: each for each in self._ends}

    # What can be done to a host.

    def kill_process(self, host: str, pattern: str) -> bool:
        """Kill the worker process or the host process; return whether there was one."""
        return self._docker("exec", self._container(host), "sh", "-c", _KILL, "sh", pattern)

    def send(self, signal: str, *hosts: str) -> bool:
        """Send a signal to process 1 of hosts; KILL ends all that runs there."""
        return self._docker("kill", "--signal", signal, *map(self._container, hosts))

    def cut_off(self, host: str) -> bool:
        """Take a host off the network; its connections hang."""
        return self._docker("network", "disconnect", self._network, self._container(host))

    def address(self, host: str) -> str:
        """Return the host's address in the network, to come back under."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return _output("inspect", "--format", form, self._container(host))

    def reconnect(self, host: str, address: str) -> bool:
        """Bring a host back that was cut off."""
        where = ("--alias", host, "--ip", address)
        return self._docker("network", "connect", *where, self._network, self._container(host))

    def pause(self, host: str) -> bool:
        """Freeze all that runs on a host."""
        return self._docker("pause", self._container(host))

    def unpause(self, host: str) -> bool:
        """Let a host go on that was frozen."""
        return self._docker("unpause", self._container(host))

    def limit(self, host: str, cpus: str) -> bool:
        """Give a host this much of the processor."""
        return self._docker("update", "--cpus", cpus, self._container(host))

    def fill(self, host: str, folder: str) -> bool:
        """Fill a folder that is small."""
        script = f"cat /dev/zero > {folder}/fill 2> /dev/null; [ -s {folder}/fill ]"
        return self._docker("exec", self._container(host), "sh", "-c", script)

    def _container(self, host: str) -> str:
        return "" if self._cluster is None else self._cluster.container(host)

    @property
    def _network(self) -> str:
        return "" if self._cluster is None else self._cluster.network

    @staticmethod
    def _docker(*arguments: str) -> bool:
        return cluster.tried(*arguments).returncode == 0


def _output(*arguments: str) -> str:
    return cluster.tried(*arguments).stdout.strip()
