"""Run a job on several hosts, each a container of its own on a network of their own.

Every host gets an /opt/ml made from TREE as SageMaker makes it: its own resourceconfig.json, the
channels read-only (of a channel that is ShardedByS3Key its own files only), model, output and code
of its own. TREE/checkpoints, where there is one, stands for the folder in S3: all hosts share it,
and it stays for the next start. A host's name resolves; its container's own hostname is another,
as on the service.

The end of every host is told in a table; the exit status is 0 if that of every host is, else 1,
and 2 if the job cannot be tried. Ctrl-C and SIGTERM stop the hosts as the platform does: SIGTERM,
and SIGKILL after the grace; a second one ends them at once.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import string
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "build" / "cluster"

# Of every container and network; the value is the folder of the results, whose lock says whether
# somebody still looks after them.
LABEL = "treeline-cluster"
OPT_ML = Path("/opt/ml")
GROUP = "homogeneousCluster"
SHARDED = "ShardedByS3Key"
REPLICATED = "FullyReplicated"
_PAUSE_S = 0.1


# Where it is, its name inside, and whether it is read-only there.
Mount = tuple[Path, Path, bool]


class CannotTryError(Exception):
    """The job cannot be run here, and why."""


@dataclass(frozen=True)
class Mode:
    """Who runs the containers, as far as they can tell. ``grace``: seconds before SIGKILL."""

    interface: str
    instance_type: str
    grace: float
    command: tuple[str, ...] = ("train",)
    terminal: bool = False
    local: bool = False


# Source of the two local modes: the SDK's own code, versions 2.257.7 and 3.
SERVICE = Mode("eth0", "ml.c5.xlarge", grace=120)
LOCAL_MODES = {
    "v2": Mode("eth0", "local", grace=10, terminal=True, local=True),
    "v3": Mode("ethwe", "local", grace=10, command=(), local=True),
}


@dataclass(frozen=True)
class Request:
    """The job: what a training job request says, as far as it matters here."""

    tree: Path
    count: int
    image: str = "treeline:cpu"
    mode: Mode = SERVICE
    sharded: bool = False
    cpus: str | None = None
    memory: str | None = None
    environment: Sequence[str] = ()
    max_run: float | None = None
    grace: float | None = None
    # Addresses of the network, such as 10.77.1.0/24: only then can a host that was cut off come
    # back under its own.
    subnet: str | None = None
    # Host, folder and size, such as 64k: folders that are soon full, and gone with the container.
    small: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Host:
    """One host of the job, and what its container has mounted."""

    name: str
    root: Path
    mounts: tuple[Mount, ...]

    @property
    def failure(self) -> str:
        """The first line of its failure file, or nothing."""
        file = self.root / "output" / "failure"
        with suppress(OSError):
            return file.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
        return ""


@dataclass(frozen=True)
class Ended:
    """How a host ended: ``status`` is None if its container never ran, or was taken away."""

    host: Host
    status: int | None
    seconds: float
    out_of_memory: bool = False


def host_names(count: int, mode: Mode = SERVICE) -> list[str]:
    """Return the names as the platform lists them: the service sorts, local mode does not."""
    suffix = ""
    if mode.local and mode.terminal:  # version 2 alone
        letters = random.choices(string.ascii_lowercase + string.digits, k=5)  # noqa: S311
        suffix = "-" + "".join(letters)
    names = [f"algo-{number}{suffix}" for number in range(1, count + 1)]
    return names if mode.local else sorted(names)


def resource_config(hosts: Sequence[str], current: str, mode: Mode = SERVICE) -> dict[str, Any]:
    """Return what resourceconfig.json says on the host ``current``."""
    said = {"current_host": current, "current_instance_type": mode.instance_type}
    if mode.local:
        return {**said, "hosts": list(hosts), "network_interface_name": mode.interface}
    group = {"instance_group_name": GROUP, "instance_type": mode.instance_type}
    return {
        **said,
        "current_group_name": GROUP,
        "hosts": list(hosts),
        "instance_groups": [{**group, "hosts": list(hosts)}],
        "network_interface_name": mode.interface,
        "topology": None,
    }


def input_config(
    declared: Mapping[str, Mapping[str, Any]], mode: Mode = SERVICE, sharded: bool = False
) -> dict[str, dict[str, Any]]:
    """Return what inputdataconfig.json says; ``sharded`` changes every channel's distribution."""
    if mode.local:
        kept = ("TrainingInputMode", "ContentType")
        return {
            name: {"TrainingInputMode": "File", **{k: v for k, v in entry.items() if k in kept}}
            for name, entry in declared.items()
        }
    usual = {
        "TrainingInputMode": "File",
        "S3DistributionType": REPLICATED,
        "RecordWrapperType": "None",
    }
    forced = {"S3DistributionType": SHARDED} if sharded else {}
    return {name: {**usual, **entry, **forced} for name, entry in declared.items()}


def shards(keys: Sequence[str], count: int) -> list[list[str]]:
    """Deal the keys to ``count`` hosts, in the order S3 lists them: by their UTF-8 bytes."""
    ordered = sorted(keys, key=lambda key: key.encode("utf-8", "surrogateescape"))
    return [ordered[i::count] for i in range(count)]


def prepare(request: Request, results: Path) -> list[Host]:
    """Make every host's /opt/ml under ``results``, which is emptied."""
    declared = _declared(request.tree)
    _check_channels(declared, request)
    names = host_names(request.count, request.mode)
    kept = None if request.mode.local else _checkpoints(request.tree)
    _empty(results, request.image)
    made = []
    for number, name in enumerate(names):
        root = results / name
        _configure(request, root, resource_config(names, name, request.mode), kept)
        channels = input_config(declared, request.mode, request.sharded)
        _write(root / "input" / "config" / "inputdataconfig.json", channels)
        mounts = [(root / "input", OPT_ML / "input", True)]
        mounts += _channels(request, root, channels, number)
        mounts += _folders(request, root)
        mounts += [] if kept is None else [(*kept, False)]
        made.append(Host(name, root, tuple(mounts)))
    return made


def _check_channels(declared: Mapping[str, Mapping[str, Any]], request: Request) -> None:
    for name, entry in declared.items():
        if entry.get("TrainingInputMode") == "Pipe":
            raise CannotTryError(f"channel {name} is in Pipe mode, which takes the platform")
        sharded = request.sharded or entry.get("S3DistributionType") == SHARDED
        if request.mode.local and sharded:
            raise CannotTryError(f"channel {name}: local mode refuses {SHARDED}")


def _configure(
    request: Request, root: Path, resources: Mapping[str, Any], kept: tuple[Path, Path] | None
) -> None:
    """Write input/config of one host, but for its channels."""
    given, own = request.tree / "input" / "config", root / "input" / "config"
    own.mkdir(parents=True)
    for file in sorted(given.glob("*.json")):
        if file.name != "checkpointconfig.json":
            shutil.copyfile(file, own / file.name)
    asked = _read(given / "hyperparameters.json")
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in asked.items()}
    _write(own / "hyperparameters.json", texts)
    _write(own / "resourceconfig.json", resources)
    if kept is not None:
        place = {"S3Uri": f"s3://local/{request.tree.name}", "LocalPath": str(kept[1])}
        _write(own / "checkpointconfig.json", {**place, **_read(given / "checkpointconfig.json")})


def _channels(
    request: Request, root: Path, channels: Mapping[str, Mapping[str, Any]], number: int
) -> list[Mount]:
    """Make the channels of host ``number``; return what has to be mounted for them."""
    mounts = []
    for name, entry in channels.items():
        source, inside = request.tree / "input" / "data" / name, root / "input" / "data" / name
        inside.mkdir(parents=True)
        if entry.get("S3DistributionType") == SHARDED:
            _deal(source, inside, number, request.count)
        elif source.is_dir():
            mounts.append((source.resolve(), OPT_ML / "input" / "data" / name, True))
    return mounts


def _folders(request: Request, root: Path) -> list[Mount]:
    """Make what the job may write to; in local mode all hosts share the model and the code."""
    shared = root.parent if request.mode.local else root
    (shared / "model").mkdir(exist_ok=True)
    (root / "output" / "data").mkdir(parents=True)
    mounts = [(shared / "model", OPT_ML / "model", False)]
    mounts.append((root / "output", OPT_ML / "output", False))
    code = request.tree / "code"
    if code.is_dir():
        if not (shared / "code").exists():
            shutil.copytree(code, shared / "code", symlinks=True)
        mounts.append((shared / "code", OPT_ML / "code", False))
    return mounts


def _declared(tree: Path) -> dict[str, dict[str, Any]]:
    """Return the channels: those of inputdataconfig.json, or where there is none the folders."""
    file = tree / "input" / "config" / "inputdataconfig.json"
    if file.exists():
        return _read(file)
    data = tree / "input" / "data"
    found = sorted(data.iterdir()) if data.is_dir() else []
    return {f.name: {} for f in found if f.is_dir() and not f.name.startswith(".")}


def _checkpoints(tree: Path) -> tuple[Path, Path] | None:
    """Return the folder that all hosts share and where they see it; None: nobody asked for it."""
    file = tree / "input" / "config" / "checkpointconfig.json"
    if not file.exists() and not (tree / "checkpoints").is_dir():
        return None
    (tree / "checkpoints").mkdir(exist_ok=True)
    place = Path(_read(file).get("LocalPath") or OPT_ML / "checkpoints")
    return (tree / "checkpoints").resolve(), place


def _deal(source: Path, folder: Path, number: int, count: int) -> None:
    """Put the files of host ``number`` into ``folder``: as links where the disk allows it."""
    files = [file for file in source.rglob("*") if file.is_file()]
    keys = [file.relative_to(source).as_posix() for file in files]
    for key in shards(keys, count)[number]:
        target = folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        real = (source / key).resolve()
        try:
            os.link(real, target)
        except OSError:  # another disk, or another's file
            shutil.copyfile(real, target)


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8-sig") or "{}")
    except ValueError as error:
        raise CannotTryError(f"{file} is not JSON: {error}") from error
    return found


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _empty(folder: Path, image: str) -> None:
    """Make ``folder`` anew; what a killed start left there may belong to the containers' user."""
    if folder.exists():
        _hand_over([folder], image)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _hand_over(folders: Sequence[Path], image: str) -> None:
    """Make the caller own what containers wrote there as root, as which the platform runs them."""
    user = os.getuid()
    for folder in folders:
        if all(each.lstat().st_uid == user for each in (folder, *folder.rglob("*"))):
            continue
        given = ("--volume", f"{folder}:/given", "--network", "none", "--user", "0:0")
        owner = ("--no-dereference", "--recursive", f"{user}:{os.getgid()}", "/given")
        _docker("run", "--rm", *given, "--entrypoint", "chown", image, *owner)


def _docker(*arguments: str) -> str:
    """Run docker and return what it printed; raise ``CannotTryError`` where it fails."""
    done = tried(*arguments)
    if done.returncode != 0:
        raise CannotTryError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def tried(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run docker and return how it ended."""
    # In a session of its own: a Ctrl-C at the terminal is not for it.
    return subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


@contextmanager
def locked(results: Path) -> Iterator[None]:
    """Keep ``results`` for this process, and remove what processes that were killed left over."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with _lock_of(results).open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotTryError(f"another cluster is at work in {results}") from None
        remove_abandoned(results)
        yield


def _lock_of(results: Path) -> Path:
    return results.with_name(f".{results.name}.lock")


def remove_abandoned(mine: Path) -> None:
    """Remove the containers and networks that nobody looks after any more."""
    folders = set()
    for what in (("ps", "--all"), ("network", "ls")):
        form = f'{{{{.Label "{LABEL}"}}}}'
        listed = _docker(*what, "--filter", f"label={LABEL}", "--format", form)
        folders |= set(listed.splitlines())
    for folder in folders:
        if folder == str(mine) or _is_free(_lock_of(Path(folder))):
            _remove(folder)


def _is_free(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove(folder: str) -> None:
    """Remove every container and network of the results ``folder``."""
    chosen = ("--quiet", "--filter", f"label={LABEL}={folder}")
    for ids, remove in (
        (tried("ps", "--all", *chosen), ("rm", "--force", "--volumes")),
        (tried("network", "ls", *chosen), ("network", "rm")),
    ):
        if ids.stdout.split():
            tried(*remove, *ids.stdout.split())


# Reads the last word of the one who started it; where there is none, he was killed.
_WATCHDOG = """
read -r word && exit
for id in $(docker ps --all --quiet --filter "label=$1"); do docker rm --force --volumes "$id"; done
for id in $(docker network ls --quiet --filter "label=$1"); do docker network rm "$id"; done
"""


@dataclass
class Cluster:
    """The containers of a job, made but not started. Leaving it as a context removes them."""

    request: Request
    results: Path
    hosts: Sequence[Host]
    say: Callable[[str], None]
    # How often somebody has asked to stop; a signal handler may count up.
    asked: int = 0
    _clients: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _readers: list[threading.Thread] = field(default_factory=list)
    _seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.network = f"{LABEL}-{self.id}"
        self._label = f"{LABEL}={self.results}"
        self._watchdog: subprocess.Popen[bytes] | None = None

    def container(self, host: str) -> str:
        """Return the name of a host's container."""
        return f"{self.network}-{host}"

    def __enter__(self) -> Cluster:
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, "watchdog", self._label],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            subnet = ("--subnet", self.request.subnet) if self.request.subnet else ()
            _docker("network", "create", "--label", self._label, *subnet, self.network)
            for host in self.hosts:
                _docker(*self._creation(host))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _remove(str(self.results))
        for client in self._clients.values():
            client.wait()
        for reader in self._readers:
            reader.join()
        assert self._watchdog is not None  # noqa: S101  # for the type checker
        with suppress(BrokenPipeError):
            self._watchdog.communicate(b"done\n")

    def _creation(self, host: Host) -> list[str]:
        request, mode = self.request, self.request.mode
        job = f"{request.tree.name}-{self.id}".replace("_", "-").replace(".", "-")[-63:].lstrip("-")
        arn = f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{job}"
        told = [f"TRAINING_JOB_NAME={job}", "AWS_REGION=us-east-1"]
        told += [] if mode.local else [f"TRAINING_JOB_ARN={arn}"]
        command = ["create", "--pull", "never", "--label", self._label]
        command += ["--name", self.container(host.name)]
        command += ["--network", self.network, "--network-alias", host.name]
        command += ["--tty"] if mode.terminal else []
        command += ["--cpus", request.cpus] if request.cpus else []
        if request.memory:
            command += ["--memory", request.memory, "--memory-swap", request.memory]
        for text in (*told, *request.environment):
            command += ["--env", text]
        small = {folder: size for name, folder, size in request.small if name == host.name}
        for folder, size in small.items():
            command += ["--tmpfs", f"{folder}:size={size}"]
        for source, target, read_only in host.mounts:
            if str(target) not in small:
                command += ["--volume", f"{source}:{target}" + (":ro" if read_only else "")]
        return [*command, request.image, *mode.command]

    def run(self) -> list[Ended]:
        """Start every host and return when all have ended; stop them when there is a reason to."""
        if self.asked:
            raise CannotTryError("stopped before it was started")
        self._start()
        started = time.monotonic()
        grace = self.request.mode.grace if self.request.grace is None else self.request.grace
        running, stopping, killing = False, None, False
        while len(self._seconds) < len(self.hosts):
            now = time.monotonic() - started
            for name, client in self._clients.items():
                if name in self._seconds or client.poll() is None:
                    continue
                # Who follows its output may lose it before it ends.
                if self._state(name) not in ("running", "paused"):
                    self._seconds[name] = now
            # A container that is being started gets no signal yet.
            running = running or self._all_started()
            reason = self._reason_to_stop(now) if running else None
            if reason and stopping is None:
                self.say(f"{reason}: SIGTERM to every host, SIGKILL after {grace:g} s")
                stopping = self._tell("stop", "--time", f"{grace:g}")
            elif self.asked > 1 and stopping is not None and not killing:
                killing = True
                self._tell("kill").wait()
            time.sleep(_PAUSE_S)
        if stopping is not None:
            stopping.wait()
        return [self._ended(host) for host in self.hosts]

    def _reason_to_stop(self, now: float) -> str | None:
        if self.asked:
            return "asked to stop"
        limit = self.request.max_run
        if limit is not None and now >= limit:
            return f"no end after {limit:g} s"
        ended = list(self._seconds)
        if self.request.mode.local and ended and len(ended) < len(self.hosts):
            return f"{ended[0]} has ended, as the first one (local mode)"
        return None

    def _start(self) -> None:
        width = max(len(host.name) for host in self.hosts)
        for host in self.hosts:
            client = subprocess.Popen(
                ["docker", "start", "--attach", self.container(host.name)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._clients[host.name] = client
            reader = threading.Thread(target=self._read, args=(host, client, width))
            reader.start()
            self._readers.append(reader)

    def _read(self, host: Host, client: subprocess.Popen[bytes], width: int) -> None:
        """Print what the host prints, behind its name, and keep it."""
        assert client.stdout is not None  # noqa: S101  # for the type checker
        with client.stdout as stream, (host.root / "log.txt").open("w", encoding="utf-8") as log:
            for line in stream:
                text = line.decode(errors="replace").rstrip("\r\n")
                log.write(text + "\n")
                log.flush()
                self.say(f"{host.name:{width}} | {text}")

    def _all_started(self) -> bool:
        """Return whether every container runs, or has run."""
        return not any(
            self._state(name) == "created" for name in self._clients if name not in self._seconds
        )

    def _state(self, host: str) -> str:
        return self._inspect(host, "{{.State.Status}}")

    def _inspect(self, host: str, form: str) -> str:
        return tried("inspect", "--format", form, self.container(host)).stdout.strip()

    def _tell(self, *what: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["docker", *what, *(self.container(host.name) for host in self.hosts)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _ended(self, host: Host) -> Ended:
        form = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}"
        state, *words = self._inspect(host.name, form).split() or [""]
        seconds = self._seconds[host.name]
        if state != "exited":  # the status of one that has never run reads 0
            return Ended(host, None, seconds)
        return Ended(host, int(words[0]), seconds, out_of_memory=words[1] == "true")


def run(
    request: Request, results: Path, say: Callable[[str], None], ready: Callable[[Cluster], None]
) -> list[Ended]:
    """Run the job to its end; ``ready`` is handed the cluster before it starts."""
    with locked(results):
        hosts = prepare(request, results)
        written = {
            source for host in hosts for source, _, read_only in host.mounts if not read_only
        }
        try:
            with Cluster(request, results, hosts, say) as cluster:
                ready(cluster)
                return cluster.run()
        finally:
            _hand_over(sorted(written), request.image)


def table(ended: Sequence[Ended]) -> str:
    """Return a line for each host: its exit status, how long it ran, and why it failed."""
    rows = [("host", "status", "seconds", "")]
    for each in ended:
        status = "none" if each.status is None else str(each.status)
        why = "over its memory" if each.out_of_memory else ""
        why = "; ".join(text for text in (why, each.host.failure) if text)
        rows.append((each.host.name, status, f"{each.seconds:.1f}", why))
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{a:{width}}  {b:>6}  {c:>7}  {d}".rstrip() for a, b, c, d in rows)


def local_verdict(ended: Sequence[Ended]) -> str:
    """Return what the SDK would say, which looks at the first container to end and no other."""
    first = min(ended, key=lambda each: each.seconds)
    outcome = "success" if first.status == 0 else "failure"
    return f"the SDK would report {outcome}: {first.host.name} ended first, with {first.status}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="cluster.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("hosts", type=int, metavar="N", help="how many hosts")
    parser.add_argument("tree", type=Path, metavar="TREE", help="a folder laid out like /opt/ml")
    parser.add_argument("--image", default="treeline:cpu", help="default: treeline:cpu")
    parser.add_argument(
        "--sharded", action="store_true", help=f"every channel is {SHARDED}: each host its files"
    )
    parser.add_argument(
        "--local-mode",
        choices=tuple(LOCAL_MODES),
        nargs="?",
        const="v2",
        help="as the SDK's local mode: one model folder, fewer fields, the first to end stops all",
    )
    parser.add_argument("--cpus", help="of each host, as docker run takes it")
    parser.add_argument("--memory", help="of each host, such as 2g")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--max-run", type=float, metavar="SECONDS", help="then stop; default: never"
    )
    parser.add_argument(
        "--grace", type=float, metavar="SECONDS", help="default: 120, in local mode 10"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help="default: build/cluster/<name of TREE>"
    )
    options = parser.parse_args(arguments)
    tree = options.tree.resolve()
    results = (options.results or RESULTS / tree.name).resolve()
    mode = LOCAL_MODES[options.local_mode] if options.local_mode else SERVICE
    request = Request(
        *(tree, options.hosts, options.image, mode, options.sharded, options.cpus, options.memory),
        *(options.env, options.max_run, options.grace),
    )
    lock = threading.Lock()
    clusters: list[Cluster] = []
    early: list[int] = []

    def say(text: str) -> None:
        with lock:
            print(text, flush=True)

    def ask(number: int, frame: FrameType | None) -> None:
        early.append(number)
        for cluster in clusters:
            cluster.asked += 1

    def ready(cluster: Cluster) -> None:
        clusters.append(cluster)
        cluster.asked = len(early)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    try:
        _check(request)
        ended = run(request, results, say, ready)
    except CannotTryError as error:
        print(f"cannot be tried: {error}", file=sys.stderr)
        return 2
    say(f"\n{table(ended)}\n\nresults: {results}")
    if mode.local:
        say(local_verdict(ended))
    return 0 if all(each.status == 0 for each in ended) else 1


def _check(request: Request) -> None:
    if request.count < 1:
        raise CannotTryError(f"{request.count} hosts are none")
    if not (request.tree / "input").is_dir():
        raise CannotTryError(f"{request.tree / 'input'} is no folder; make train makes a sample")
    if shutil.which("docker") is None or tried("info").returncode != 0:
        raise CannotTryError("no Docker engine answers")
    if tried("image", "inspect", request.image).returncode != 0:
        raise CannotTryError(f"there is no image {request.image}: make image")


if __name__ == "__main__":
    sys.exit(main())
