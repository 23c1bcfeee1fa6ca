"""Disturb jobs on several hosts at random moments and judge how each ends.

Usage: python -m benchmarks.chaos [--runs 20] [--seed S] [--image IMAGE] [--only TEXT]

Every run is a job of some 20 s on 2 or 3 hosts, each a container of its own, and one disturbance:
a process or a host is killed, cut off, frozen, slowed down, gets a full disk or a SIGTERM, while
the hosts look for each other, load, train or leave. Each kind of job is run once in peace.

A run is good if all hosts end within 60 s of the disturbance where the job fails (the host itself
within 60 s of when it can run again), with one status but for a host that was killed or cut off,
and every failure names the host; if it succeeds, the model is that of the run in peace, and only
the first host has one. A job that failed or was stopped and has checkpoints is started again, and
must then end with that model. A host that is lost before it has joined is waited for; then the
others must say so, and end when asked to. Exit status: 0 all good, 1 not, 2 cannot be tried.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from local_test import cluster
from local_test.chaos import HOST_PROCESS, WORKER, Running
from local_test.cluster import CannotTryError, Request
from numpy.typing import NDArray

WORK = Path(__file__).resolve().parent.parent / "build" / "chaos"

ENOUGH_S = 60.0  # for all to end
_ROWS, _COLUMNS = 3_000, 8
_JOINED, _ROUND, _OVER = r"^multiCPU: ", r"^\[0\]", "^final-score"


@dataclass(frozen=True)
class Kind:
    """A kind of job. Rows are not sampled: how depends on which worker has them."""

    name: str
    hosts: int
    asks: Mapping[str, str] = field(default_factory=dict)
    sharded: bool = False
    checkpoints: bool = False

    @property
    def resumes(self) -> bool:
        """Whether it goes on without a host."""
        return self.asks.get("on_host_loss") == "resume"

    @property
    def saves(self) -> bool:
        """Whether it keeps a model when it is stopped."""
        return self.asks.get("save_model_on_termination") == "true"


_ROUNDS = {2: "5000", 3: "3000"}
KINDS = (
    Kind("2 hosts", 2),
    Kind("3 hosts, sharded", 3, sharded=True),
    Kind("2 hosts, 3 folds", 2, {"cv_folds": "3", "num_round": "1200"}),
    Kind("3 hosts, checkpoints", 3, sharded=True, checkpoints=True),
    Kind("2 hosts, model kept", 2, {"save_model_on_termination": "true"}, checkpoints=True),
    Kind("3 hosts, resume", 3, {"on_host_loss": "resume"}, checkpoints=True),
    Kind("3 hosts, resume anew", 3, {"on_host_loss": "resume"}),
)

PHASES = ("joining", "loading", "training", "leaving")
_WEIGHTS = (2, 2, 7, 1)


@dataclass(frozen=True)
class Disturbance:
    """What is done, in what ``way``, and undone after so many ``seconds``, if any.

    ``loses``: the host itself may end as it likes; ``spares``: the job goes on; ``small``: a
    folder that is small from the start, and gets full.
    """

    name: str
    way: str
    seconds: float = 0
    loses: bool = False
    spares: bool = False
    phases: tuple[str, ...] = PHASES
    first: bool = False  # done to the first host
    small: str = ""

    @property
    def undone(self) -> bool:
        """Whether the host can run again as before."""
        return self.seconds > 0

    @property
    def for_good(self) -> bool:
        """Whether the job has to do without the host from then on."""
        return self.loses and (not self.seconds or self.seconds >= ENOUGH_S)


TERM_ONE, TERM_ALL = Disturbance("SIGTERM to one", "one"), Disturbance("SIGTERM to all", "all")
_FULL_MODEL = Disturbance(
    "model folder full", "full", small="/opt/ml/model", first=True, phases=PHASES[:3]
)
DISTURBANCES = (
    Disturbance("worker killed", "worker"),
    Disturbance("host process killed", "host process", loses=True),
    Disturbance("host killed", "killed", loses=True),
    Disturbance("cut off", "cut off", loses=True),
    Disturbance("cut off for 5 s", "cut off", seconds=5, loses=True),
    Disturbance("paused for 3 s", "paused", seconds=3, spares=True),
    Disturbance("paused for 60 s", "paused", seconds=60, loses=True),
    Disturbance("slow for 20 s", "slow", seconds=20, spares=True),
    Disturbance("/tmp full", "full", small="/tmp"),
    _FULL_MODEL,
    TERM_ONE,
    TERM_ALL,
)


@dataclass(frozen=True)
class Plan:
    """One run: ``share`` is how far into the phase the disturbance comes, 0 to 1."""

    kind: Kind
    disturbance: Disturbance
    host: str
    phase: str
    share: float


def plans(seed: str, runs: int) -> list[Plan]:
    """Draw the runs; every disturbance and every kind comes before one comes again."""
    draw = random.Random(seed)
    kinds, disturbances = _endless(KINDS, draw), _endless(DISTURBANCES, draw)
    found = []
    for _ in range(runs):
        kind, what = next(kinds), next(disturbances)
        hosts = cluster.host_names(kind.hosts)
        weights = [w for p, w in zip(PHASES, _WEIGHTS, strict=True) if p in what.phases]
        phase = draw.choices(what.phases, weights)[0]
        host = hosts[0] if what.first else draw.choice(hosts)
        found.append(Plan(kind, what, host, phase, draw.random()))
    return found


def _endless(of: Sequence[Any], draw: random.Random) -> Any:
    while True:
        yield from draw.sample(of, len(of))


# What happens.


def make_tree(root: Path, kind: Kind) -> Path:
    """Make the job's tree: three files to train on and one to be scored on."""
    shutil.rmtree(root, ignore_errors=True)
    draw = np.random.default_rng(5)
    declared: dict[str, Any] = {}
    for channel, files in (("train", 3), ("validation", 1)):
        if channel == "validation" and "cv_folds" in kind.asks:
            continue
        entry = {"ContentType": "text/csv", "TrainingInputMode": "File"}
        own = kind.sharded and channel == "train"
        declared[channel] = {**entry, **({"S3DistributionType": cluster.SHARDED} if own else {})}
        folder = root / "input" / "data" / channel
        folder.mkdir(parents=True)
        for number in range(files):
            np.savetxt(folder / f"part-{number}.csv", _rows(draw), fmt="%.6g", delimiter=",")
    asks = {
        "objective": "binary:logistic",
        "num_round": _ROUNDS[kind.hosts],
        "max_depth": "4",
        "eta": "0.05",
        "colsample_bynode": "0.7",
        **kind.asks,
    }
    config = root / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps(asks))
    (config / "inputdataconfig.json").write_text(json.dumps(declared))
    if kind.checkpoints:
        (root / "checkpoints").mkdir()
    return root


def _rows(draw: np.random.Generator) -> NDArray[Any]:
    x = draw.normal(size=(_ROWS // 3, _COLUMNS))
    label = x[:, 0] + x[:, 1] * x[:, 2] + draw.normal(size=len(x)) > 0
    return np.column_stack([label, x])


@dataclass(frozen=True)
class InPeace:
    """A kind's run in peace: its model folder, and how long rounds took and all of it."""

    model: Path
    training: float
    seconds: float


@dataclass(frozen=True)
class Story:
    """What came of a plan.

    ``struck``: it hit something that was still there; ``joined``: the hosts had found each other.
    ``after`` are seconds from the disturbance to a host's end, for the host itself from when it
    could run again. ``waiting`` are the hosts that still waited for one that was gone, until they
    were asked to stop; ``silent`` those of them that did not say for whom. ``model`` is what
    ``compare`` says of the first host's, ``again`` that of a second start ("" without one).
    """

    plan: Plan
    hosts: Sequence[str]
    struck: bool
    joined: bool
    statuses: Mapping[str, int | None]
    after: Mapping[str, float]
    failures: Mapping[str, str]
    model: str
    elsewhere: Sequence[str] = ()
    waiting: Sequence[str] = ()
    silent: Sequence[str] = ()
    again: str = ""

    @property
    def others(self) -> list[str]:
        """The hosts that have to end alike."""
        gone = self.struck and (self.plan.disturbance.loses or bool(self.waiting))
        return [host for host in self.hosts if not (gone and host == self.plan.host)]

    @property
    def status(self) -> int | None:
        """How the job ended, by the first host that has to end like the others."""
        return self.statuses[self.others[0]]


def strike(running: Running, plan: Plan) -> tuple[bool, float, float]:
    """Do it; return whether it hit, when, and from when on the host could run again."""
    host, what = plan.host, plan.disturbance
    address = running.address(host)
    ways: dict[str, tuple[Callable[[], bool], Callable[[], bool] | None]] = {
        "killed": (lambda: running.send("KILL", host), None),
        "cut off": (
            lambda: running.cut_off(host),
            lambda: running.reconnect(host, address),
        ),
        "paused": (lambda: running.pause(host), lambda: running.unpause(host)),
        "slow": (lambda: running.limit(host, "0.1"), lambda: running.limit(host, "1")),
        "full": (lambda: running.fill(host, what.small), None),
        "worker": (lambda: running.kill_process(host, WORKER), None),
        "host process": (lambda: running.kill_process(host, HOST_PROCESS), None),
        "one": (lambda: running.send("TERM", host), None),
        "all": (lambda: running.send("TERM", *running.hosts), None),
    }
    do, undo = ways[what.way]
    while True:
        hit = time.monotonic()
        done = do()
        # The process to be killed may not be there yet.
        if done or what.way not in ("worker", "host process") or running.wait(0.1):
            break
    if not done or undo is None or not what.seconds:
        return done, hit, hit
    running.wait(what.seconds)
    undo()
    return done, hit, time.monotonic()


def _await(running: Running, plan: Plan, peace: InPeace) -> None:
    """Wait for the plan's moment."""
    first = running.hosts[0]
    if plan.phase == "joining":
        time.sleep(0.3 + 3 * plan.share)
    elif plan.phase == "loading":
        running.wait_for(_JOINED, 60, first)
        time.sleep(1.5 * plan.share)
    elif plan.phase == "training":
        running.wait_for(_ROUND, 60, first)
        running.wait(0.9 * plan.share * peace.training)
    else:
        running.wait_for(_OVER, peace.seconds * 2, first)
        running.wait(3 * plan.share)


def tried(plan: Plan, folder: Path, image: str, number: int, peace: InPeace) -> Story:
    """Run the plan's job and return its story."""
    tree = make_tree(folder / "tree", plan.kind)
    small = ((plan.host, plan.disturbance.small, "64k"),) if plan.disturbance.small else ()
    request = Request(
        tree, plan.kind.hosts, image, cpus="1", subnet=f"10.77.{number % 250}.0/24", small=small
    )
    waiting: list[str] = []
    silent: list[str] = []
    with Running(request, folder / "results") as running:
        _await(running, plan, peace)
        joined = running.seen(_JOINED) is not None
        struck, hit, freed = strike(running, plan)
        ended = joined or not struck or running.wait(freed + ENOUGH_S - time.monotonic())
        if not ended and running.seen(_JOINED) is None:
            waiting = [host for host in running.hosts if host != plan.host]
            said = rf"waiting for .*\b{plan.host}\b"
            # Who has joined waits for the first host, which knows who is missing.
            first = running.hosts[0]
            speak = waiting if plan.host == first else [first]
            silent = [host for host in speak if running.seen(said, host) is None]
            hit = freed = time.monotonic()
            for host in running.hosts:
                running.send("TERM", host)
        running.wait(ENOUGH_S + 30 + (0 if waiting else 2 * peace.seconds))
    ends = running.ends(0)
    roots = {host: end.host.root for host, end in ends.items()}
    own = {plan.host} if plan.disturbance.loses else set()
    story = Story(
        plan,
        running.hosts,
        struck,
        joined,
        {host: end.status for host, end in ends.items()},
        {
            host: running.began + end.seconds - (freed if host in own else hit)
            for host, end in ends.items()
        },
        {host: end.host.failure for host, end in ends.items()},
        compare(roots[running.hosts[0]] / "model", peace.model, tree),
        [host for host in running.hosts[1:] if _files(roots[host] / "model")],
        waiting,
        silent,
    )
    if plan.kind.checkpoints and story.status != 0:
        return _started_again(story, tree, folder, image, peace)
    return story


def _started_again(story: Story, tree: Path, folder: Path, image: str, peace: InPeace) -> Story:
    request = Request(tree, story.plan.kind.hosts, image, cpus="1")
    with Running(request, folder / "again") as running:
        ends = running.ends(ENOUGH_S + 2 * peace.seconds)
    bad = {host: end.status for host, end in ends.items() if end.status != 0}
    first = ends[running.hosts[0]].host.root
    again = f"ends with {bad}" if bad else compare(first / "model", peace.model, tree)
    return Story(**{**vars(story), "again": again})


def in_peace(kind: Kind, folder: Path, image: str) -> InPeace:
    """Run the kind's job undisturbed; raises ``CannotTryError`` if it fails."""
    tree = make_tree(folder / "tree", kind)
    with Running(Request(tree, kind.hosts, image, cpus="1"), folder / "results") as running:
        ends = running.ends(300)
    bad = {host: end.status for host, end in ends.items() if end.status != 0}
    begun, over = running.seen(_ROUND), running.seen(_OVER)
    if bad or begun is None or over is None:
        raise CannotTryError(f"{kind.name} fails in peace: {bad}, see {folder}")
    first = ends[running.hosts[0]]
    return InPeace(first.host.root / "model", over.at - begun.at, first.seconds)


# How it is judged.


def compare(found: Path, wanted: Path, tree: Path) -> str:
    """Say what a model folder has: none, same, part (of the rounds), close, or what differs.

    ``close`` are models of as many rounds whose predictions for the tree's rows are within 1e-5.
    """
    files, right = _files(found), _files(wanted)
    if not files:
        return "none"
    if {name: file.read_bytes() for name, file in files.items()} == {
        name: file.read_bytes() for name, file in right.items()
    }:
        return "same"
    if set(files) != set(right):
        return f"has {', '.join(sorted(files))}"
    verdicts = {_compare_models(files[name], right[name], tree) for name in files}
    return verdicts.pop() if len(verdicts) == 1 else "; ".join(sorted(verdicts))


def _files(model: Path) -> dict[str, Path]:
    """Return the files of a model folder, without the manifest, which tells of workers."""
    found = {f.relative_to(model).as_posix(): f for f in model.rglob("*") if f.is_file()}
    return {name: file for name, file in found.items() if not name.endswith("manifest.json")}


def _compare_models(found: Path, wanted: Path, tree: Path) -> str:
    import xgboost

    one, two = (xgboost.Booster(model_file=bytearray(f.read_bytes())) for f in (found, wanted))
    rounds, right = one.num_boosted_rounds(), two.num_boosted_rounds()
    dumps = [each.get_dump(with_stats=True) for each in (one, two)]
    if 0 < rounds < right and dumps[0] == dumps[1][: len(dumps[0])]:
        return "part"
    if rounds != right:
        return f"{rounds} rounds, not {right}"
    part = tree / "input" / "data" / "train" / "part-0.csv"
    rows = xgboost.DMatrix(np.loadtxt(part, delimiter=",", usecols=range(1, _COLUMNS + 1)))
    apart = float(np.abs(one.predict(rows) - two.predict(rows)).max())
    return "close" if apart <= 1e-5 else f"predictions differ by {apart:.1e}"


def judge(story: Story) -> list[str]:
    """Return what is wrong with it; nothing if it is good."""
    plan, found = story.plan, []
    ends = {story.statuses[host] for host in story.others}
    if len(ends) > 1:
        found.append("the hosts that are left end differently")
    # 1 and 2 are for what is wrong with the job, and for what nobody has foreseen.
    odd = {host: status for host, status in story.statuses.items() if status in (1, 2)}
    found += [f"{host} ended with status {status}" for host, status in odd.items()]
    if story.elsewhere:
        found.append(f"a model on {', '.join(story.elsewhere)}")
    if story.silent:
        found.append(f"{', '.join(story.silent)} did not say for whom it waited")
    if story.waiting and plan.disturbance.undone:
        found.append(f"{plan.host} was back, and the hosts did not come together")
    if story.again not in ("", "same"):
        found.append(f"started again: {story.again}")
    found += _judge_success(story) if story.status == 0 else _judge_failure(story)
    return found


def _judge_success(story: Story) -> list[str]:
    plan, found = story.plan, []
    allowed = {"same"}
    if story.struck and plan.disturbance in (TERM_ONE, TERM_ALL) and plan.kind.saves:
        allowed.add("part")
    if plan.kind.resumes:
        allowed.add("close")
    if plan.disturbance is _FULL_MODEL and story.struck:
        found.append("success without a model")
    elif story.others[0] == story.hosts[0] and story.model not in allowed:
        found.append(f"success, but the model: {story.model}")
    first = story.hosts[0]
    if first in story.others:
        early = [host for host in story.others if story.after[host] < story.after[first]]
        found += [f"{host} ended before {first}" for host in early]
    if story.waiting:
        found.append("success without all hosts")
    return found


def _judge_failure(story: Story) -> list[str]:
    plan, status, found = story.plan, story.status, []
    asked = plan.disturbance in (TERM_ONE, TERM_ALL) or bool(story.waiting)
    if not story.struck:
        found.append("failed though nothing was done")
    if plan.disturbance.spares:
        found.append("did not survive")
    if asked and status != 143:
        found.append(f"stopped, but with status {status}")
    if asked and plan.kind.saves and plan.phase == "training":
        found.append("kept no model")
    if _must_go_on(story):
        found.append("did not go on with the other hosts")
    found += [] if asked else _judge_words(story)
    if story.model not in ("none", "same"):
        found.append(f"failed, with a model: {story.model}")
    late = {host: each for host, each in story.after.items() if each > ENOUGH_S}
    found += [f"{host} took {each:.0f} s to end" for host, each in late.items()]
    return found


def _judge_words(story: Story) -> list[str]:
    host, found = story.plan.host, []
    for other in story.others:
        if not re.search(rf"\b{host}\b", story.failures[other]):
            found.append(f"{other} does not name {host}: {story.failures[other][:150]!r}")
    dumb = story.plan.disturbance.way == "killed"
    if host not in story.others and not dumb and not story.failures[host]:
        found.append(f"{host} does not say why it ended")
    return found


def _must_go_on(story: Story) -> bool:
    plan = story.plan
    return (
        plan.kind.resumes
        and story.joined
        and plan.disturbance.for_good
        and plan.host != story.hosts[0]
    )


def outcome(story: Story) -> str:
    """Say in some words what came of it."""
    if not story.struck:
        return "came too late"
    if story.waiting:
        return "waited for it, ended when asked"
    if story.status == 0:
        own = story.statuses[story.plan.host]
        return "went on" if own == 0 else "went on without it"
    words = "stopped" if story.status == 143 else "failed, named"
    return words + (", started again: same" if story.again == "same" else "")


def row(number: int, story: Story, wrong: Sequence[str]) -> str:
    """Return the run's line of the table."""
    plan = story.plan
    others = max((story.after[host] for host in story.others), default=math.nan)
    own = "" if plan.host in story.others else f" / {max(0, story.after[plan.host]):.0f}"
    statuses = " ".join("-" if s is None else f"{s}" for s in story.statuses.values())
    verdict = "**bad**: " + "; ".join(wrong) if wrong else "good"
    return (
        f"| {number} | {plan.kind.name} | {plan.disturbance.name} | {plan.host} | {plan.phase} | "
        f"{others:.0f}{own} | {statuses} | {story.model} | {outcome(story)} | {verdict} |"
    )


HEADER = (
    "| run | job | disturbance | host | while | ended after s (/ itself) | statuses | model "
    "| outcome | judged |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def main() -> int:
    """Run the suite and print its table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="treeline:cpu")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="", help="the runs whose job or disturbance holds this")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    chosen = [
        (number, plan)
        for number, plan in enumerate(plans(f"{options.seed}", options.runs), 1)
        if options.only in f"{plan.kind.name}: {plan.disturbance.name}"
    ]
    print(f"seed {options.seed}, {len(chosen)} run(s)", flush=True)
    try:
        rows, bad = _suite(chosen, options.image, lambda text: print(text, flush=True))
    except CannotTryError as error:
        print(f"cannot be tried: {error}", file=sys.stderr)
        return 2
    print("\n".join(["", f"seed {options.seed}", "", HEADER, *rows]))
    print(f"\n{len(rows) - bad} of {len(rows)} good")
    return 1 if bad else 0


def _suite(
    chosen: Sequence[tuple[int, Plan]], image: str, say: Callable[[str], None]
) -> tuple[list[str], int]:
    """Run the plans; return their rows and how many are bad. What was bad stays in ``WORK``."""
    peaces: dict[str, InPeace] = {}
    rows, bad = [], 0
    for number, plan in chosen:
        kind, name = plan.kind, plan.kind.name
        if name not in peaces:
            peaces[name] = in_peace(kind, WORK / name.replace(", ", "_").replace(" ", "-"), image)
            say(f"in peace: {name}, {peaces[name].seconds:.0f} s")
        folder = WORK / f"run-{number}"
        story = tried(plan, folder, image, number, peaces[name])
        wrong = judge(story)
        rows.append(row(number, story, wrong))
        say(rows[-1])
        bad += bool(wrong)
        if not wrong:
            shutil.rmtree(folder)
    return rows, bad


if __name__ == "__main__":
    sys.exit(main())
