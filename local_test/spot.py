"""Kill a job at random moments, start it again, and compare with the same job left in peace.

Every start is one as SageMaker makes of a spot job: a fresh container with empty model and output
folders; the input and the checkpoint folder are all that is kept. What the last start leaves has to
be what the undisturbed run left, byte for byte, and the logs together have to have its rounds.

The moments are drawn from the seed, as shares of the undisturbed run: most are uniform over its
training, some fall into the start-up and some into the end, after the last round. The lines that a
start prints say how far along it is. Exit status: 0 the same, 1 not the same, 2 cannot be tried.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

HERE = Path(__file__).resolve().parent
SAMPLE = HERE / "opt_ml"
WORK = HERE.parent / "build" / "spot"

SIGNALS = ("KILL", "TERM")
STATUS = {"KILL": 137, "TERM": 143}
# One moment in so many falls into the start-up, and as many into the end.
RARE = 8
EXIT_S = 0.1  # a process lives about this long after its last line
_ROUND = re.compile(r"\[([0-9]+)\]\t.*?(?:\tfold:([0-9]+))?")
_METRICS = "output/data/metrics.jsonl"


class CannotTryError(Exception):
    """Nothing can be said of the job, and why."""


@dataclass(frozen=True)
class Line:
    """A line of a job's log, and when it came: seconds since the job was started."""

    at: float
    text: str

    @property
    def is_round(self) -> bool:
        """Whether it has a round's scores."""
        return self.text.startswith("[")


@dataclass(frozen=True)
class Place:
    """The folders of one start: ``root`` is its own, the others are kept from start to start."""

    root: Path
    input: Path
    checkpoints: Path

    def made(self) -> Place:
        """Make what is missing."""
        for folder in (self.root / "model", self.root / "output" / "data", self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        return self


class Job(Protocol):
    """A job at work."""

    process: subprocess.Popen[bytes]

    def send(self, name: str) -> bool:
        """Send a signal; return whether there was somebody to get it."""

    def remove(self) -> None:
        """End it, if it has not ended."""


Launch = Callable[[Place], Job]


class Container:
    """A job in a container of its own."""

    def __init__(self, place: Place, image: str) -> None:
        self._name = f"treeline-spot-{uuid.uuid4().hex[:12]}"
        # The caller's user, so that the files it leaves are the caller's.
        command = ["docker", "run", "--rm", "--name", self._name, "--pull", "never"]
        command += ["--network", "none", "--user", f"{os.getuid()}:{os.getgid()}"]
        for folder, name in (
            (f"{place.input}", "input:ro"),
            (f"{place.root}/model", "model"),
            (f"{place.root}/output", "output"),
            (f"{place.checkpoints}", "checkpoints"),
        ):
            command += ["--volume", f"{folder}:/opt/ml/{name}"]
        self.process = _started([*command, image, "train"])

    def send(self, name: str) -> bool:
        """Send a signal to process 1, as the platform does."""
        return _docker("kill", "--signal", name, self._name) == 0

    def remove(self) -> None:
        """End the container, if it has not ended."""
        if self.process.poll() is None:
            _docker("rm", "--force", self._name)


class Process:
    """A job as a process on this machine; ``command`` is followed by its tree."""

    def __init__(self, place: Place, command: Sequence[str]) -> None:
        (place.root / "input").symlink_to(place.input)
        (place.root / "checkpoints").symlink_to(place.checkpoints)
        self.process = _started([*command, str(place.root)])

    def send(self, name: str) -> bool:
        """Send a signal; KILL goes to all of its processes, as when a container is killed."""
        if self.process.poll() is not None:
            return False
        if name != "KILL":
            os.kill(self.process.pid, getattr(signal, f"SIG{name}"))
            return True
        # Stopped first: it could tell of a child's death before its own.
        os.kill(self.process.pid, signal.SIGSTOP)
        for pid in (*_descendants(self.process.pid), self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return True

    def remove(self) -> None:
        """End the process, if it has not ended."""
        self.send("KILL")


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("SM_", "SAGEMAKER_"))}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environ,
        start_new_session=True,  # Ctrl-C is for the one who sends the signals
    )


def _docker(*arguments: str) -> int:
    return subprocess.run(["docker", *arguments], capture_output=True, check=False).returncode


def _descendants(pid: int) -> Iterator[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, check=True)
    numbers = [int(number) for number in listed.stdout.split()]
    parents = dict(zip(numbers[::2], numbers[1::2]))  # noqa: B905  # Python 3.9 has no strict
    wanted = {pid}
    while True:
        found = {child for child, parent in parents.items() if parent in wanted} - wanted
        if not found:
            return
        yield from found
        wanted |= found


@dataclass(frozen=True)
class Ended:
    """One start of the job: what it left under ``root``, printed, and how it ended.

    ``signal`` was sent after ``sent`` seconds; None where the job was left in peace, or had ended.
    """

    root: Path
    log: tuple[Line, ...]
    status: int
    seconds: float
    signal: str | None = None
    sent: float | None = None

    @property
    def terminated(self) -> bool:
        """Whether it was asked to stop and kept a model that is not whole."""
        file = self.root / "model" / "treeline" / "manifest.json"
        if self.status != 0 or not file.exists():
            return False
        training = json.loads(file.read_text(encoding="utf-8"))["training"]
        return training is not None and training["outcome"] == "terminated"

    @property
    def finished(self) -> bool:
        """Whether the job was done."""
        return self.status == 0 and not self.terminated

    @property
    def rounds(self) -> list[str]:
        """The lines with scores of rounds."""
        return [line.text for line in self.log if line.is_round]

    @property
    def said(self) -> str:
        """What the log says of where it went on from, such as "model 37 rounds"; or nothing."""
        lines = [line.text for line in self.log if line.text.startswith("resumed")]
        return lines[0].rsplit(": ", 1)[-1] if lines else ""

    @property
    def resumed(self) -> dict[str, float] | None:
        """The rounds it went on from, by model; infinity for all of them. None: nobody knows."""
        file = self.root / _METRICS
        for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            with suppress(json.JSONDecodeError):  # the last line may be torn
                found = json.loads(text).get("resumed")
                if found is not None:
                    return {k: float("inf") if v == "done" else float(v) for k, v in found.items()}
        return {} if self.rounds else None


class Clock(Protocol):
    """Says when to send the signal, in seconds since the start of the job."""

    due: float

    def saw(self, line: Line) -> None:
        """Take notice of a line that the job has printed."""


def run(
    launch: Launch, place: Place, limit: float, clock: Clock | None = None, name: str = "KILL"
) -> Ended:
    """Start the job and wait for its end; send it the signal ``name`` when ``clock`` says so.

    Raises ``CannotTryError`` if it has not ended after ``limit`` seconds.
    """
    started = time.monotonic()
    job = launch(place.made())
    lines: queue.Queue[Line | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(job.process, started, lines))
    reader.start()
    log: list[Line] = []
    sent: float | None = None
    try:
        while True:
            now = time.monotonic() - started
            due = limit if clock is None or sent is not None else min(limit, clock.due)
            try:
                line = lines.get(timeout=min(max(0.0, due - now), threading.TIMEOUT_MAX))
            except queue.Empty:
                if time.monotonic() - started >= limit:
                    raise CannotTryError(f"no end after {limit:.0f} s: {_tail(log)}") from None
                # A container that is being made gets no signal yet.
                if job.send(name):
                    sent = time.monotonic() - started
                continue
            if line is None:
                break
            log.append(line)
            if clock is not None:
                clock.saw(line)
    finally:
        job.remove()
        reader.join()
        status = job.process.wait()
    took = time.monotonic() - started
    status = status if status >= 0 else 128 - status
    ended = Ended(place.root, tuple(log), status, took, name if sent else None, sent)
    text = "".join(f"{line.at:9.3f}  {line.text}\n" for line in log)
    (place.root / "log.txt").write_text(text, encoding="utf-8")
    return ended


def _read(
    process: subprocess.Popen[bytes], started: float, lines: queue.Queue[Line | None]
) -> None:
    """Hand on every line that is whole, then None."""
    assert process.stdout is not None  # noqa: S101  # for the type checker
    with process.stdout as stream:
        for line in stream:
            if line.endswith(b"\n"):
                text = line.decode(errors="replace").rstrip("\r\n")
                lines.put(Line(time.monotonic() - started, text))
    lines.put(None)


def _tail(log: Sequence[Line]) -> str:
    return " | ".join(line.text for line in log[-3:]) or "nothing was printed"


@dataclass(frozen=True)
class Course:
    """How an undisturbed run went, in seconds since its start.

    ``ready`` is when it had read its data, ``begin`` when training showed its first round,
    ``last`` when the last one was, ``final`` when the model's scores were there. ``lines`` has the
    lines that were printed once.
    """

    lines: Mapping[str, float]
    ready: float
    begin: float
    last: float
    final: float
    end: float

    @classmethod
    def of(cls, log: Sequence[Line]) -> Course:
        """Read it from the log."""
        rounds = [i for i, line in enumerate(log) if line.is_round]
        if not rounds:
            raise CannotTryError(f"the log has no line of a round: {_tail(log)}")
        ready = log[rounds[0] - 1].at if rounds[0] else 0.0
        final = log[rounds[-1]].at
        # After the folds comes the model of all rows, silently; the last line has its scores.
        training = [i for i in rounds if "fold" in log[i].text] or rounds[:-1]
        begin = ready if is_forest(log) else log[rounds[0]].at
        # A forest prints nothing while it grows.
        last = log[training[-1]].at if training else ready + 0.9 * (final - ready)
        often = Counter(line.text for line in log)
        lines = {line.text: line.at for line in log if often[line.text] == 1}
        return cls(lines, ready, begin, last, final, log[-1].at + EXIT_S)


def is_forest(log: Sequence[Line]) -> bool:
    """Return whether the log is of a random forest, which prints no rounds while it grows."""
    return any(", random forest of " in line.text for line in log)


@dataclass(frozen=True)
class Moment:
    """When to send which signal: ``share`` of the way through a part of the job."""

    part: str
    share: float
    signal: str

    def on(self, course: Course) -> float:
        """Return the seconds since the start of the undisturbed run."""
        first, end = {
            "start-up": (0.0, course.begin),
            "training": (course.begin, course.final),
            "end": (course.last, course.end),
        }[self.part]
        return first + self.share * (end - first)


def moments(seed: object, count: int, signals: Sequence[str]) -> list[Moment]:
    """Draw ``count`` moments in the order of the job; the same seed draws the same."""
    drawn = random.Random(f"{seed}")  # noqa: S311  # no secret
    placed = []
    for _ in range(count):
        kind, share = drawn.randrange(RARE), drawn.random()
        moment = Moment(
            {0: "start-up", 1: "end"}.get(kind, "training"), share, drawn.choice(signals)
        )
        # A start-up comes before any part of the training, the ends come last.
        order = {"start-up": drawn.random(), "training": share, "end": 1 + share}[moment.part]
        placed.append((order, moment))
    return [moment for _, moment in sorted(placed, key=lambda each: each[0])]


class Follower:
    """The clock for one moment: finds out from what a start prints how far along it is.

    ``reached`` is how far earlier starts have come: a resumed job goes on there, once it has warmed
    up. That counts until it prints a line of the undisturbed run, which says it better.
    """

    def __init__(self, moment: Moment, course: Course, reached: float) -> None:
        self.due = moment.on(course)
        self._moment = moment
        self._course = course
        self._reached = reached

    def saw(self, line: Line) -> None:
        """Take notice of a line that the job has printed."""
        if self._moment.part == "start-up":
            return
        position = self._course.lines.get(line.text)
        if position is None and line.text.startswith("resumed"):
            position = self._reached - (self._course.begin - self._course.ready)
        if position is not None:
            self.due = line.at + self._moment.on(self._course) - position


def differences(straight: Ended, starts: Sequence[Ended], keeps: bool = False) -> list[str]:
    """Return in words where the interrupted job differs; ``keeps``: save_model_on_termination."""
    found = [text for i, each in enumerate(starts, 1) for text in _status(i, each, keeps)]
    last = starts[-1]
    if not last.finished:
        return [*found, f"the job did not come to its end: {_tail(last.log)}"]
    found += _files(straight.root, last.root)
    scores = [
        [x.text for x in each.log if x.text.startswith("final-score")] for each in (straight, last)
    ]
    if scores[0] != scores[1]:
        found.append(f"final-score: {scores[0]} undisturbed, {scores[1]} interrupted")
    return found + _rounds(straight, starts)


def _status(number: int, start: Ended, keeps: bool) -> Iterator[str]:
    allowed = {0} if start.signal is None else {STATUS[start.signal]}
    if start.finished or (keeps and start.signal == "TERM" and start.terminated):
        allowed.add(0)
    if start.status not in allowed:
        sent = f"after {start.signal}" if start.signal else "undisturbed"
        yield f"start {number}: exit status {start.status} {sent}: {_tail(start.log)}"


def _files(straight: Path, last: Path) -> list[str]:
    names = sorted(
        {
            str(file.relative_to(root))
            for root in (straight, last)
            for folder in ("model", "output")
            for file in (root / folder).rglob("*")
            if file.is_file()
        }
    )
    found = []
    for name in names:
        there = [(root / name).exists() for root in (straight, last)]
        if not all(there):
            found.append(
                f"{name}: only the {'undisturbed' if there[0] else 'interrupted'} job has it"
            )
            continue
        first, second = (_content(root, name) for root in (straight, last))
        if first != second:
            found.append(f"{name}: {_where(first, second)}")
    return found


def _content(root: Path, name: str) -> bytes:
    """Return a file's content; the metrics without the line that says what was resumed."""
    content = (root / name).read_bytes()
    if name != _METRICS:
        return content
    lines = content.splitlines(keepends=True)
    return b"".join(line for line in lines if "resumed" not in json.loads(line))


def _where(first: bytes, second: bytes) -> str:
    """Return in words where two contents part."""
    try:
        lines = [content.decode().split("\n") for content in (first, second)]
    except UnicodeDecodeError:
        at = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), None)  # noqa: B905
        at = min(len(first), len(second)) if at is None else at
        return f"{len(first)} and {len(second)} bytes, the first that differs is byte {at}"
    at = next((i for i, (a, b) in enumerate(zip(*lines)) if a != b), None)  # noqa: B905
    at = min(map(len, lines)) if at is None else at
    each = [text[at][:160] if at < len(text) else "(the end)" for text in lines]
    return f"line {at + 1}: {each[0]!r} undisturbed, {each[1]!r} interrupted"


def _rounds(straight: Ended, starts: Sequence[Ended]) -> list[str]:
    wanted = set(straight.rounds)
    printed = {text for each in starts for text in each.rounds}
    found = []
    for lines, what in (
        (wanted - printed, "of the undisturbed run in no log"),
        (printed - wanted, "that the undisturbed run does not have"),
    ):
        if lines:
            found.append(f"{len(lines)} line(s) of rounds {what}, such as {min(lines)!r}")
    return found


@dataclass(frozen=True)
class Kill:
    """One line of the table. ``lost`` is in rounds of one model, None where nobody can know."""

    number: int
    signal: str
    part: str
    after: float
    at_round: str
    resumed: str
    lost: int | None
    status: int


@dataclass(frozen=True)
class Outcome:
    """What was found of one job."""

    seconds: float
    kills: tuple[Kill, ...]
    resumed: int
    differences: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """One line that says it all."""
        signals = Counter(kill.signal for kill in self.kills)
        kills = ", ".join(f"{count} {name}" for name, count in sorted(signals.items()))
        lost = [kill.lost for kill in self.kills if kill.lost is not None]
        words = f"{len(self.kills)} kill(s) ({kills or 'it ended before'}), {self.resumed} resumed"
        if lost:
            words += f", rounds lost: at most {max(lost)}, {sum(lost) / len(lost):.2f} on average"
        if self.differences:
            return f"DIFFERENT in {len(self.differences)} respect(s) after {words}"
        return f"IDENTICAL to the undisturbed run after {words}"


def kills(straight: Ended, starts: Sequence[Ended], parts: Sequence[str]) -> tuple[Kill, ...]:
    """Return the kills among ``starts``, which is all of them; ``parts`` are those of moments."""
    done = _Progress(straight)
    lost: list[int | None] = []
    for start in starts:
        lost.append(done.lost(start))
        done.after(start)
    found = []
    for i, start in enumerate(starts[:-1]):
        if start.signal is None or start.sent is None:
            continue
        found.append(
            Kill(
                i + 1,
                start.signal,
                parts[i],
                start.sent,
                start.rounds[-1].split("\t")[0] + _fold(start.rounds[-1]) if start.rounds else "-",
                starts[i + 1].said or "-",
                lost[i + 1],
                start.status,
            )
        )
    return tuple(found)


def _fold(line: str) -> str:
    behind = line.rsplit("\t", 1)[-1]
    return f" {behind}" if "fold" in behind else ""


class _Progress:
    """How many rounds of each model are done, by the log."""

    def __init__(self, straight: Ended) -> None:
        self._silent = is_forest(straight.log)
        self._folds = any("\tfold:" in text for text in straight.rounds)
        # With an earlier model the rounds do not begin at 0.
        self._first: dict[str, int] = {}
        for name, index in self._of(straight):
            self._first.setdefault(name, index)
        self._done: dict[str, float] = {}

    def lost(self, start: Ended) -> int | None:
        """Return how many rounds of a model ``start`` has to train once more, at most."""
        if self._silent or start.resumed is None:
            return None
        kept = start.resumed
        again = [done - kept.get(name, 0) for name, done in self._done.items()]
        return int(max([0.0, *again]))

    def after(self, start: Ended) -> None:
        """Go on to the end of ``start``."""
        if start.resumed is not None:
            self._done = dict(start.resumed)
        for name, index in self._of(start):
            rounds = index + 1 - self._first.get(name, 0)
            self._done[name] = max(self._done.get(name, 0), rounds)

    def _of(self, start: Ended) -> Iterator[tuple[str, int]]:
        for text in start.rounds:
            found = _ROUND.fullmatch(text)
            if found and bool(found[2]) == self._folds:
                yield (f"fold-{int(found[2]):03d}" if found[2] else "model"), int(found[1])


def table(found: Sequence[Kill]) -> str:
    """Return the kills as a table in plain text."""
    rows = [("kill", "signal", "during", "after", "at round", "resumed at", "lost", "exit")]
    for kill in found:
        lost = "-" if kill.lost is None else str(kill.lost)
        after = f"{kill.after:.2f} s"
        rows.append(
            (
                f"{kill.number}",
                kill.signal,
                kill.part,
                after,
                kill.at_round,
                kill.resumed,
                lost,
                f"{kill.status}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]  # noqa: B905
    return "\n".join(line.rstrip() for line in lines)


def trial(
    launch: Launch, tree: Path, work: Path, plan: Sequence[Moment], say: Callable[[str], None]
) -> Outcome:
    """Run the job of ``tree`` in peace, then with kills as planned, under the folder ``work``.

    Raises ``CannotTryError`` if the job fails by itself.
    """
    shutil.rmtree(work, ignore_errors=True)
    data = tree / "input"
    straight = run(
        launch, Place(work / "undisturbed", data, work / "undisturbed-checkpoints"), float("inf")
    )
    if not straight.finished:
        raise CannotTryError(f"the job fails by itself ({straight.status}): {_tail(straight.log)}")
    course = Course.of(straight.log)
    say(f"undisturbed: {straight.seconds:.1f} s, training from {course.begin:.1f} s on")
    starts: list[Ended] = []
    reached, left = 0.0, list(plan)
    while not starts or _goes_on(starts[-1]):
        place = Place(work / f"start-{len(starts) + 1:02d}", data, work / "checkpoints")
        moment = left.pop(0) if left else None
        clock = None if moment is None else Follower(moment, course, reached)
        name = moment.signal if moment is not None else "KILL"
        starts.append(run(launch, place, 60 + 10 * straight.seconds, clock, name))
        if moment is not None and moment.part != "start-up":
            reached = moment.on(course)
        say(_told(len(starts), starts[-1]))
    keeps = f"{_asks(tree).get('save_model_on_termination')}".lower() == "true"
    found = Outcome(
        straight.seconds,
        kills(straight, starts, [moment.part for moment in plan]),
        sum(bool(start.resumed) for start in starts),
        tuple(differences(straight, starts, keeps)),
    )
    record = {"plan": [asdict(moment) for moment in plan], **asdict(found)}
    (work / "record.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return found


def _goes_on(start: Ended) -> bool:
    """Return whether the job is started once more: it was interrupted, and not by itself."""
    return not start.finished and start.signal is not None and start.status in (0, *STATUS.values())


def _told(number: int, start: Ended) -> str:
    how = f"start {number}: " + (f"resumed at {start.said}, " if start.said else "")
    if start.finished:
        return f"{how}finished after {start.seconds:.1f} s"
    return f"{how}{start.signal or 'ended by itself'} after {start.sent or start.seconds:.2f} s"


def _asks(tree: Path) -> dict[str, Any]:
    file = tree / "input" / "config" / "hyperparameters.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def launcher(image: str | None) -> Launch:
    """Return how jobs are started: in containers of ``image``, or without one as processes."""
    if image is None:
        beside = Path(sys.executable).parent / "treeline"
        command = str(beside) if beside.exists() else shutil.which("treeline")
        if command is None:
            raise CannotTryError("there is no treeline command here: make setup")
        return partial(Process, command=[command, "train", "--base-dir"])
    if shutil.which("docker") is None or _docker("info") != 0:
        raise CannotTryError("no Docker engine answers; --process does without")
    if _docker("image", "inspect", image) != 0:
        raise CannotTryError(f"there is no image {image}: make image")
    return partial(Container, image=image)


def end_on_signals() -> None:
    """Leave in order when asked to, so that no container is left behind."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="spot.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tree", type=Path, nargs="?", default=SAMPLE, help="default: the sample")
    parser.add_argument("--image", default="treeline:cpu", help="default: treeline:cpu")
    parser.add_argument("--process", action="store_true", help="without Docker")
    parser.add_argument("--kills", type=int, default=5, help="default: 5")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311
    parser.add_argument(
        "--signal", choices=(*SIGNALS, "both"), default="both", help="default: both"
    )
    options = parser.parse_args()
    end_on_signals()
    tree = options.tree.resolve()
    work = WORK / tree.name
    signals = SIGNALS if options.signal == "both" else (options.signal,)
    print(f"seed {options.seed}: {tree}, all that is left of it goes to {work}", flush=True)
    try:
        if not (tree / "input").is_dir():
            raise CannotTryError(f"{tree / 'input'} is no folder; make train makes the sample")
        launch = launcher(None if options.process else options.image)
        plan = moments(options.seed, options.kills, signals)
        found = trial(launch, tree, work, plan, partial(print, flush=True))
    except CannotTryError as error:
        print(f"cannot be tried: {error}", file=sys.stderr)
        return 2
    print(f"\n{table(found.kills)}\n")
    for text in found.differences:
        print(f"- {text}")
    print(f"seed {options.seed}: {found.verdict}")
    return 1 if found.differences else 0


if __name__ == "__main__":
    sys.exit(main())
