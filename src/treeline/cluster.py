"""A job of several processes: this host's part in it, opened, watched and closed in one place.

    first host                                   every other host
    host process                                 host process
      Dask scheduler, client, worker  ◀─ TCP ─▶    Dask worker
      worker processes 0 … k-1                     worker processes k …
              ▲──────────── XGBoost's collective ───────────▲

Dask brings the hosts together, places the worker processes and notices who is lost; data and
histograms never pass through it. On one host the workers are the host process's own children, and
there is nothing for Dask to do: importing it would cost 0.6 s of CPU. A host process does nothing
but watch, so it always answers: a host that does not for ``LOST_S`` seconds is lost. The worker
processes (``worker``) train; one that ends badly ends the job on every host, with an error that
names its host. The first host decides how the job ended, tells the others, and is the first to
leave.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from treeline import artifacts, failure, hosts, hyperparameters
from treeline.errors import ConfigError, PlatformError, Stopped
from treeline.failure import Outcome
from treeline.scratch import scratch_folder
from treeline.stopping import SIGNALS

if TYPE_CHECKING:
    from treeline.compute import Plan
    from treeline.console import Console
    from treeline.opt_ml import Job
    from treeline.stopping import StopRequest

PORT = 8786  # of the scheduler on the first host; Dask's own default
PATIENCE_S = 900.0  # for the hosts to find each other: instances start minutes apart
LOST_S = 20.0  # without a sign of life; noticed after at most twice as long
_LINGER_S = 2.0  # a host outlives the first one: local mode ends all when the first container ends
_CAUSE_S = 3.0  # for the cause to be told where its consequence was first
_STEP_S = 0.2
# Starts a worker process; -P: what stands in the working directory is no module of ours.
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "treeline.worker")
_LOOPBACK = "127.0.0.1"

# What Dask is told once, before anything of it is made.
_SETTINGS = {
    "distributed.scheduler.worker-ttl": f"{LOST_S:.0f} s",
    "distributed.scheduler.allowed-failures": 0,
    "distributed.comm.timeouts.connect": f"{LOST_S:.0f} s",
    "distributed.comm.timeouts.tcp": f"{LOST_S:.0f} s",
    "distributed.worker.profile.enabled": False,
    "distributed.worker.http.routes": [],
    "distributed.scheduler.http.routes": [],
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.tick.interval": "500 ms",
    "distributed.admin.tick.limit": "1 h",
    "distributed.diagnostics.nvml": False,
}


def run(job: Job, plan: Plan, console: Console, stop: StopRequest) -> Outcome:
    """Be this host in the job until it has ended everywhere; return how it did."""
    with scratch_folder("host") as scratch, stop.deferred():
        here = _Host(job, plan, console, stop, scratch)
        try:
            ended = failure.outcome_of(lambda: asyncio.run(here.run()))
        finally:
            here.processes.kill()
    if ended.text and here.leads:  # it may have failed after the model was written
        with suppress(PlatformError):
            artifacts.clear(job.paths.model)
    return ended


@dataclass(frozen=True)
class _Member:
    """A host that has joined: its name, the address of its Dask worker, and what it brings."""

    host: str
    address: str
    workers: int
    hyperparameters: Mapping[str, str]


class _Lost(Exception):  # noqa: N818  # not an error yet: the job may go on without it
    """A host does not answer any more."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host


class _Host:
    """This host: its Dask worker and its worker processes; on the first one all others too."""

    def __init__(
        self, job: Job, plan: Plan, console: Console, stop: StopRequest, scratch: str
    ) -> None:
        self.job = job
        self.plan = plan
        self.processes = Processes(
            str(job.paths.root), plan.threads, plan.path, plan.device, scratch
        )
        self.outcome: Outcome | None = None
        self._console = console
        self._stop = stop
        self._scratch = scratch
        self._lost: list[str] = []
        self._attempts_made = 0
        self._began, self._said = time.monotonic(), 0.0
        self._leading = job.hosts.all[0]
        self.leads = job.hosts.current == self._leading
        self._config = hyperparameters.parse(job.hyperparameters, job.choices)

    async def run(self) -> Outcome:
        self.processes.prepare(self.plan.workers)  # while the hosts find each other
        if len(self.job.hosts.all) == 1:
            return await self._without_others()
        import dask
        import distributed

        dask.config.set(_SETTINGS)
        # Dask says in its own words what is said here in ours.
        for name in (distributed.__name__, "distributed.client", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        async with AsyncExitStack() as opened:
            return await (self._lead(opened) if self.leads else self._follow(opened))

    async def _without_others(self) -> Outcome:
        """Run the workers of a job on one host: nobody else has to be found or watched."""
        me = _Member(self.job.hosts.current, _LOOPBACK, self.plan.workers, {})
        (orders,) = orders_for([me], _LOOPBACK)
        self._console.line(self._described([me]))
        running = asyncio.ensure_future(asyncio.to_thread(self.processes.run, orders))
        while not running.done():
            await asyncio.wait([running], timeout=_STEP_S)
            if self._stop.requested:
                self.processes.terminate()
        return running.result()

    def _described(self, members: Sequence[_Member]) -> str:
        total = sum(each.workers for each in members)
        named = "".join(f", {each.host} {each.workers}" for each in members if len(members) > 1)
        return (
            f"{self.plan.path}: {total} workers on {len(members)} host(s){named}, each with "
            f"{self.plan.threads} thread(s) here ({self.plan.why})"
        )

    # The first host.

    async def _lead(self, opened: AsyncExitStack) -> Outcome:
        from distributed import Client, Scheduler

        address = await self._addressed()
        network = self._network()
        scheduler = Scheduler(
            host=address,
            port=PORT,
            dashboard_address=f"{_LOOPBACK}:0",
            dashboard=False,
            **network,
        )
        await _bind(opened.enter_async_context(scheduler), PORT)
        scheduler.add_plugin(_watcher(self._lost), name="treeline-watch")
        await self._open_worker(opened, scheduler.address, address)
        client = Client(  # type: ignore[no-untyped-call]
            scheduler.address, asynchronous=True, security=network.get("security"), timeout=LOST_S
        )
        await opened.enter_async_context(client)
        members: list[_Member] = []
        try:
            members = await self._gather(client, scheduler)
            ended = await self._attempts(client, members, address)
        except Stopped:
            ended = Outcome(Stopped.exit_status, failure.STOPPED)
        except Exception as error:
            ended = failure.failed(_of_network(error, self._where))
        self.processes.kill()
        await _told(client, list(scheduler.workers), _end, asdict(ended))
        return ended

    async def _gather(self, client: Any, scheduler: Any) -> list[_Member]:
        """Return the members, by host, once all hosts are here."""
        wanted, began = set(self.job.hosts.all), time.monotonic()
        while missing := wanted - {worker.name for worker in scheduler.workers.values()}:
            self._check_stop()
            if self._lost:  # it was here already
                raise self._host_lost(self._lost[0])
            if time.monotonic() - began > PATIENCE_S:
                raise PlatformError(
                    f"Host {', '.join(sorted(missing))} did not join within {PATIENCE_S:.0f} s",
                    "Look at the log of that host. In a VPC, the security group has to let the "
                    "job's hosts talk to each other on all ports.",
                )
            self._say_waiting(", ".join(sorted(missing)))
            await asyncio.sleep(_STEP_S / 2)
        found = await client.run(_describe)
        members = [_Member(address=address, **each) for address, each in found.items()]
        members.sort(key=lambda each: self.job.hosts.all.index(each.host))
        for each in members:
            if each.hyperparameters != members[0].hyperparameters:
                raise ConfigError(
                    f"Host {each.host} has other hyperparameters than {members[0].host}",
                    "Give every host the same input/config/hyperparameters.json.",
                )
        return members

    async def _attempts(self, client: Any, members: list[_Member], address: str) -> Outcome:
        """Train, and again on the hosts that remain where one is lost and the job wants that."""
        while True:
            try:
                return await self._attempt(client, members, address)
            except _Lost as lost:
                remaining = self._remaining(members)
                goes_on = self._config.on_host_loss == "resume" and remaining[0].host == (
                    self._leading
                )
                if not goes_on:
                    raise self._host_lost(lost.host) from None
                self._console.warning(
                    f"{lost.host} is lost; {len(remaining)} host(s) go on from the last checkpoint"
                )
                addresses = [each.address for each in remaining]
                await _told(client, addresses, _kill, self._attempts_made)
                members = self._remaining(remaining)

    def _remaining(self, members: Sequence[_Member]) -> list[_Member]:
        return [each for each in members if each.host not in self._lost]

    async def _attempt(self, client: Any, members: list[_Member], address: str) -> Outcome:
        """Start the worker processes of all members and return how the job ended."""
        self._attempts_made += 1
        attempt = self._attempts_made
        orders = orders_for(members, address, attempt, self._lost)
        self._console.line(self._described(members))
        first = client.submit(
            launch, orders[0], workers=[members[0].address], pure=False, retries=0
        )
        futures = [first]
        while (tracker := self.processes.trackers.get(attempt)) is None and not first.done():
            await self._tick(members)
        if tracker is not None:
            futures += [
                client.submit(
                    launch,
                    [replace(order, tracker=tracker) for order in each],
                    workers=[member.address],
                    pure=False,
                    retries=0,
                )
                for each, member in zip(orders[1:], members[1:], strict=True)
            ]
        waiting = dict(zip(futures, members, strict=False))
        while waiting:
            await self._tick(members)
            for future in [each for each in waiting if each.done()]:
                member = waiting.pop(future)
                ended = _answer(await future.result(), member.host, len(members))
                if ended.status:
                    return await self._cause(ended, waiting, members)
        return Outcome()

    async def _tick(self, members: Sequence[_Member]) -> None:
        """Wait a little; hand on a request to stop, and raise if a member is lost."""
        await asyncio.sleep(_STEP_S / 4)
        if self._stop.requested:
            self.processes.terminate()
        gone = [each.host for each in members if each.host in self._lost]
        if gone:
            raise _Lost(gone[0])

    async def _cause(
        self, ended: Outcome, waiting: dict[Any, _Member], members: Sequence[_Member]
    ) -> Outcome:
        """Wait for what a worker's bad end may be the consequence of, and return that.

        It may also be that of a host that is lost, which ``_tick`` raises.
        """
        for _ in range(round((_CAUSE_S if ended.follows else 0.5) / (_STEP_S / 4))):
            await self._tick(members)
            for future in [each for each in waiting if each.done()]:
                other = _answer(await future.result(), waiting.pop(future).host, len(members))
                if ended.follows and other.status and not other.follows:
                    return other
        return ended

    # Every other host.

    async def _follow(self, opened: AsyncExitStack) -> Outcome:
        scheme = "tls" if self._config.dask_tls else "tcp"
        await self._resolved()
        self._console.line(
            f"{self.job.hosts.current} works for {self._leading}, which writes the log, the "
            "checkpoints and the model"
        )
        worker = await self._open_worker(
            opened, f"{scheme}://{self._leading}:{PORT}", await self._addressed()
        )
        heard, asked = time.monotonic(), 0.0
        while self.outcome is None:
            await asyncio.sleep(_STEP_S)
            if self._stop.requested:
                self.processes.terminate()
            now = time.monotonic()
            if now - asked > LOST_S / 10:
                asked = now
                with suppress(Exception):
                    await asyncio.wait_for(worker.scheduler.identity(), LOST_S / 2)
                    heard = time.monotonic()
            if str(worker.status.name) in ("closed", "closing", "failed") or now - heard > LOST_S:
                await asyncio.sleep(_STEP_S)  # what it was told last may stand in the queue
                break
        self.processes.kill()
        if self.outcome is None:
            return failure.failed(self._host_lost(self._leading))
        return await self._outlive(worker, self.outcome)

    async def _outlive(self, worker: Any, ended: Outcome) -> Outcome:
        """Stay until the first host has left."""
        until = time.monotonic() + LOST_S
        while worker.status.name not in ("closed", "closing") and time.monotonic() < until:
            await asyncio.sleep(_STEP_S)
        for _ in range(int(_LINGER_S / _STEP_S)):
            if self._stop.requested and ended.status != Stopped.exit_status:
                break
            await asyncio.sleep(_STEP_S)
        return ended

    async def _resolved(self) -> None:
        """Wait until the first host has an address."""
        until = time.monotonic() + PATIENCE_S
        while True:
            self._check_stop()
            with suppress(OSError, UnicodeError):
                socket.getaddrinfo(self._leading, None)
                return
            self._say_waiting(self._leading)
            if time.monotonic() > until:
                raise PlatformError(
                    f"Host name {self._leading} does not resolve after {PATIENCE_S:.0f} s",
                    "Check 'hosts' in input/config/resourceconfig.json and the network.",
                )
            await asyncio.sleep(1)

    # Both.

    async def _open_worker(self, opened: AsyncExitStack, scheduler: str, address: str) -> Any:
        from distributed import Worker

        worker = Worker(
            scheduler,
            name=self.job.hosts.current,
            nthreads=1,
            memory_limit=0,
            host=address,
            dashboard=False,
            dashboard_address=f"{_LOOPBACK}:0",
            local_directory=self._scratch,
            death_timeout=PATIENCE_S,
            **self._network(),
        )
        worker.treeline = self  # type: ignore[attr-defined]
        entering = asyncio.ensure_future(opened.enter_async_context(worker))
        while not entering.done():
            await asyncio.sleep(_STEP_S / 4)
            self._say_waiting(self._leading)
            if self._stop.requested:
                entering.cancel()
                raise Stopped
        try:
            await entering
        except Exception as error:
            raise PlatformError(
                f"{self.job.hosts.current} could not join {self._leading}: {error}",
                "Look at the log of that host. In a VPC, the security group has to let the job's "
                "hosts talk to each other on all ports.",
            ) from error
        return worker

    def _say_waiting(self, whom: str) -> None:
        """Say, every half minute, for whom this host waits."""
        waited = time.monotonic() - self._began
        if waited - self._said > 30:
            self._said = waited
            self._console.line(f"waiting for {whom} since {waited:.0f} s")

    async def _addressed(self) -> str:
        """Return this host's address for the others, once it has one."""
        until = time.monotonic() + PATIENCE_S
        while (address := self._own_address()) == _LOOPBACK:
            self._check_stop()
            self._say_waiting("a network")
            if time.monotonic() > until:
                raise PlatformError(
                    f"{self._where} has no network after {PATIENCE_S:.0f} s, and the job has "
                    f"{len(self.job.hosts.all)} hosts",
                    "Look at the network of the containers.",
                )
            await asyncio.sleep(1)
        return address

    def _own_address(self) -> str:
        named, current = self.job.hosts.network_interface, self.job.hosts.current
        return hosts.address(hosts.network_interface(named, current)) or _LOOPBACK

    def _network(self) -> dict[str, Any]:
        """Return what Dask needs to know of the network, and guard its ports."""
        if not self._config.dask_tls:
            _guard_ports(self.job.hosts.all)
            return {}
        from distributed import Security

        files = tls_files(self.job)
        roles = ("scheduler", "worker", "client")
        certificates = {f"tls_{role}_{part}": files[part] for role in roles for part in _PARTS}
        security = Security(  # type: ignore[no-untyped-call]
            tls_ca_file=files["ca"], require_encryption=True, **certificates
        )
        return {"security": security, "protocol": "tls://"}

    def _check_stop(self) -> None:
        if self._stop.requested:
            raise Stopped

    def _host_lost(self, host: str) -> PlatformError:
        what = f"it has ended, or cannot be reached from {self._where}"
        if host == self._where:
            what = "it does not reach itself any more, so it has no network"
        return PlatformError(
            f"Host {host} is lost: {what}",
            "Look at its log; the job's checkpoints, if it has some, are what a new start goes on "
            "from. on_host_loss=resume lets the other hosts go on where all have all data.",
        )

    @property
    def _where(self) -> str:
        return self.job.hosts.current


_PARTS = ("cert", "key")


def tls_files(job: Job) -> dict[str, str]:
    """Return the paths of the channel ``tls``: ca.pem, cert.pem and key.pem, by their stems.

    Raises ``ConfigError`` for one that is not there.
    """
    folder = job.paths.channels / "tls"
    files = {part: folder / f"{part}.pem" for part in ("ca", *_PARTS)}
    for file in files.values():
        if not file.is_file():
            raise ConfigError(
                f"dask_tls=true needs {file}, which is not there",
                "Give the job a channel tls with ca.pem, cert.pem and key.pem (docs/hosts.md says "
                "how to make them), or leave dask_tls out.",
            )
    return {part: str(file) for part, file in files.items()}


# What the Dask worker of a host does for the first one; all find their host by the worker.


def launch(orders: Sequence[Order]) -> dict[str, Any]:
    """Run this host's worker processes and return how the first that failed has ended, or all."""
    from distributed import get_worker

    host: _Host = get_worker().treeline  # type: ignore[attr-defined]
    try:
        return asdict(host.processes.run(orders))
    except Stopped:  # killed before all had begun: nobody waits for the answer
        return asdict(Outcome(Stopped.exit_status))


def _describe(dask_worker: Any) -> dict[str, Any]:
    host: _Host = dask_worker.treeline
    return {
        "host": host.job.hosts.current,
        "workers": host.plan.workers,
        "hyperparameters": dict(host.job.hyperparameters),
    }


def _end(ended: Mapping[str, Any], dask_worker: Any) -> None:
    host: _Host = dask_worker.treeline
    host.processes.kill()
    host.outcome = Outcome(**ended)


def _kill(attempt: int, dask_worker: Any) -> None:
    host: _Host = dask_worker.treeline
    host.processes.kill(attempt)


async def _told(
    client: Any, addresses: Sequence[str], what: Callable[..., None], *arguments: Any
) -> None:
    """Have the hosts do something; one that has not for ``LOST_S`` seconds is lost anyway."""

    async def tell(address: str) -> None:
        until = time.monotonic() + LOST_S
        while time.monotonic() < until:
            with suppress(Exception):
                await asyncio.wait_for(client.run(what, *arguments, workers=[address]), LOST_S / 4)
                return
            await asyncio.sleep(_STEP_S)

    await asyncio.gather(*map(tell, addresses))


def _answer(found: Mapping[str, Any], host: str, hosts_: int) -> Outcome:
    """Return what ``launch`` returned, with the host's name where there are several."""
    ended = Outcome(**found)
    if hosts_ == 1 or not ended.text:
        return ended
    said = ended.said.removeprefix("ERROR: ")
    return replace(ended, said=f"ERROR: {host}: {said}", text=f"{host}: {ended.text}")


def _of_network(error: Exception, host: str) -> Exception:
    """Return what the first host's own Dask fails with as what it is: its network is gone."""
    dask = type(error).__module__.partition(".")[0] == "distributed"
    if not dask and not isinstance(error, ConnectionError | TimeoutError):
        return error
    found = PlatformError(
        f"Host {host} is lost: its connections broke ({type(error).__name__})",
        "Look at the machine and its network. The job's checkpoints, if it has some, are what a "
        "new start goes on from.",
    )
    found.__cause__ = error
    return found


def _watcher(lost: list[str]) -> Any:
    from distributed import SchedulerPlugin

    class Watcher(SchedulerPlugin):
        """Notes the names of hosts that the scheduler does not see any more."""

        def __init__(self) -> None:
            self._names: dict[str, str] = {}

        def add_worker(self, scheduler: Any, worker: str) -> None:
            self._names[worker] = str(scheduler.workers[worker].name)

        def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
            lost.append(self._names.get(worker, worker))

    return Watcher()


def _guard_ports(names: Sequence[str]) -> None:
    """Have Dask's ports accept connections from the job's hosts only.

    Its messages are pickles: whoever may send one may run anything.
    """
    from distributed.comm.registry import backends
    from distributed.comm.tcp import TCPBackend, TCPListener

    known: set[str] = {_LOOPBACK}

    def allowed(address: str) -> bool:
        if address not in known:  # a host may have got another address meanwhile
            for name in names:
                with suppress(OSError, UnicodeError):
                    known.update(str(each[4][0]) for each in socket.getaddrinfo(name, None))
        return address in known

    class Guarded(TCPListener):
        async def _prepare_stream(self, stream: Any, address: str) -> Any:
            host = address.removeprefix(self.prefix).rpartition(":")[0].strip("[]")
            if allowed(host.removeprefix("::ffff:")):
                return await super()._prepare_stream(stream, address)  # type: ignore[no-untyped-call]
            stream.close()
            return None

    class GuardedBackend(TCPBackend):
        _listener_class = Guarded

    backends["tcp"] = GuardedBackend()


async def _bind(opening: Any, port: int) -> None:
    try:
        await opening
    except OSError as error:
        raise PlatformError(
            f"Port {port} cannot be opened for the other hosts: {error.strerror or error}",
            "Nothing else in the container may use it.",
        ) from error


@dataclass(frozen=True)
class Order:
    """What a worker process is told: which one it is, of how many, and where the others meet.

    ``hosts`` counts those that work; ``local`` and ``beside`` are its number and the number of
    workers on its host. ``tracker`` has the arguments to join with, None for the first worker,
    which makes it at ``address``. ``attempt`` counts from 1 how often the workers were started,
    ``lost`` are the hosts that the job has lost.
    """

    rank: int
    size: int
    host: int
    hosts: int
    local: int
    beside: int
    address: str
    attempt: int = 1
    tracker: Mapping[str, Any] | None = None
    lost: tuple[str, ...] = ()


def orders_for(
    members: Sequence[_Member], address: str, attempt: int = 1, lost: Sequence[str] = ()
) -> list[list[Order]]:
    """Return the orders for each member: workers are numbered host by host."""
    size = sum(member.workers for member in members)
    found: list[list[Order]] = []
    for number, member in enumerate(members):
        first = sum(map(len, found))
        found.append(
            [
                Order(
                    rank=first + local,
                    size=size,
                    host=number,
                    hosts=len(members),
                    local=local,
                    beside=member.workers,
                    address=address,
                    attempt=attempt,
                    lost=tuple(lost),
                )
                for local in range(member.workers)
            ]
        )
    return found


class Processes:
    """The worker processes of this host. Used from the thread that runs them and from the loop."""

    def __init__(self, root: str, threads: int, path: str, device: str, scratch: str) -> None:
        # Where the workers of an attempt join, once the first one has made it.
        self.trackers: dict[int, Mapping[str, Any]] = {}
        self._root = root
        self._told = {
            "threads": threads,
            "path": path,
            "device": device,
            "scratch": scratch,  # what a killed worker leaves there is removed with it
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self._ready: list[tuple[subprocess.Popen[bytes], Any]] = []
        self._lock = threading.Lock()
        self._killed = 0  # attempts up to this one
        self._terminated = False

    def prepare(self, count: int) -> None:
        """Start processes that import what they need, and then wait for their orders."""
        with self._lock:
            self._ready += [self._spawned() for _ in range(0 if self._killed else count)]

    def run(self, orders: Sequence[Order]) -> Outcome:
        """Run a process for each order; return the first bad end, or a good one.

        The others are killed when one ends badly: they would wait for it.
        """
        pipes: list[Any] = []
        tracker: Mapping[str, Any] | None = None
        for order in orders:
            process, pipe = self._start(replace(order, tracker=order.tracker or tracker))
            line = b"" if order.tracker or tracker else pipe.readline()
            tracker = _message(line).get("tracker", tracker)
            pipes.append((process, pipe, order.rank, b"" if tracker else line))
            if order.tracker is None:
                if tracker is None:  # it has ended
                    break
                self.trackers[order.attempt] = tracker
        ends: list[Outcome] = []
        changed = threading.Condition()

        def wait(process: subprocess.Popen[bytes], pipe: Any, rank: int, said: bytes) -> None:
            with pipe:
                said += pipe.read()
            ended = _ended(process.wait(), _message(said), rank)
            with changed:
                ends.append(ended)
                changed.notify()

        for each in pipes:
            threading.Thread(target=wait, args=each, daemon=True).start()
        with changed:
            changed.wait_for(lambda: len(ends) == len(pipes) or any(each.status for each in ends))
            # The first bad end may be the consequence of one that is told a moment later.
            changed.wait_for(lambda: len(ends) == len(pipes) or _first_cause(ends), _CAUSE_S)
            bad = _first_cause(ends) or next((each for each in ends if each.status), Outcome())
        for process, *_ in pipes:
            if bad.status:
                process.kill()
                process.wait()
        return bad

    def terminate(self) -> None:
        """Ask the processes to stop, once."""
        with self._lock:
            if not self._terminated:
                self._terminated = True
                self._signal(signal.SIGTERM)

    def kill(self, attempt: int = sys.maxsize) -> None:
        """End the processes of the attempts up to this one, and start no more of them."""
        with self._lock:
            self._killed = max(self._killed, attempt)
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for process in self._running:
            if process.poll() is None:
                process.send_signal(number)

    def _start(self, order: Order) -> tuple[subprocess.Popen[bytes], Any]:
        with self._lock:
            if order.attempt <= self._killed:
                raise Stopped
            process, pipe = self._ready.pop(0) if self._ready else self._spawned()
        told = json.dumps({**self._told, **asdict(order)})
        if process.stdin is None:
            raise AssertionError("nowhere to give orders")
        with suppress(BrokenPipeError), process.stdin:  # it has ended, as its pipe will say
            process.stdin.write(told.encode() + b"\n")
        return process, pipe

    def _spawned(self) -> tuple[subprocess.Popen[bytes], Any]:
        """Start a process and return it with the pipe it speaks through; called with the lock."""
        read, write = os.pipe()
        command = [*COMMAND, str(write), str(os.getpid()), self._root]
        # A worker is born with the signals blocked: they wait until it listens.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(write,))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(write)
        self._running.append(process)
        if self._terminated:
            process.send_signal(signal.SIGTERM)
        return process, os.fdopen(read, "rb")


def _first_cause(ends: Sequence[Outcome]) -> Outcome | None:
    return next((each for each in ends if each.status and not each.follows), None)


def _message(line: bytes) -> dict[str, Any]:
    """Return what a worker says; one that was killed while it spoke says nothing."""
    try:
        found: dict[str, Any] = json.loads(line) if line.strip() else {}
    except ValueError:
        return {}
    return found


def _ended(status: int, said: Mapping[str, Any], rank: int) -> Outcome:
    """Return how a worker ended that left ``said``, or that could not say anything any more."""
    if said:
        return Outcome(**said)
    if status >= 0:
        what = f"ended with status {status} and without a word"
    else:
        what = f"was killed by {signal.Signals(-status).name}"
    return failure.failed(
        PlatformError(
            f"Worker {rank} {what}",
            "If nobody killed it, the machine ran out of memory: use an instance with more, or "
            "less data.",
        )
    )
