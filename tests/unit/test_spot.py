"""The spot harness: that it draws, follows and compares right, tried on jobs that are made up."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from local_test import spot
from local_test.spot import Course, Ended, Follower, Line, Moment

# Trains by adding up: rounds of 10 ms, and a while for the final score, so that a kill that comes
# late on a busy machine is still one. FAULT is one of the ways to be wrong.
JOB = """
import json, os, signal, sys, time
from pathlib import Path
FAULT = {fault!r}
root = Path(sys.argv[1])
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
say = lambda text: print(text, flush=True)
say("train: 5 rows")
kept, total, rounds = root / "checkpoints" / "kept.json", 0, []
metrics = (root / "output" / "data" / "metrics.jsonl").open("w", buffering=1)
if kept.exists():
    total, rounds = json.loads(kept.read_text())
    if FAULT == "loses":
        total, rounds = sum(rounds[:-3]), rounds[:-3]
    say(f"resumed from somewhere: model {{len(rounds)}} rounds")
    metrics.write(json.dumps({{"resumed": {{"model": len(rounds)}}}}) + "\\n")
    for i, each in enumerate(rounds):
        metrics.write(json.dumps({{"round": i, "score": each}}) + "\\n")
    if FAULT == "model":
        total += 1
    if FAULT == "fails":
        sys.exit(3)
for i in range(len(rounds), 30):
    time.sleep(0.01)
    total += i
    rounds.append(i)
    say(f"[{{i}}]\\ttrain-rmse:{{i}}.00000")
    metrics.write(json.dumps({{"round": i, "score": i}}) + "\\n")
    if FAULT != "forgets":
        new = kept.with_suffix(".new")
        new.write_text(json.dumps([total, rounds]))
        new.replace(kept)
    if stopped:
        sys.exit(1 if FAULT == "status" else 143)
(root / "model" / "xgboost-model").write_bytes(b"\\xff" + total.to_bytes(4, "big"))
time.sleep(0.2)
say("[29]\\ttrain-rmse:29.00000")
say("final-score: 29.0;")
say("completed")
"""


def launch(folder: Path, fault: str = "") -> spot.Launch:
    """Return how to start the made-up job, with a fault."""
    program = folder / "job.py"
    program.write_text(JOB.format(fault=fault))
    return partial(spot.Process, command=[sys.executable, str(program)])


def tried(folder: Path, fault: str, plan: Sequence[Moment]) -> spot.Outcome:
    (folder / "tree" / "input").mkdir(parents=True)
    return spot.trial(launch(folder, fault), folder / "tree", folder / "work", plan, lambda _: None)


TRAINING = [
    Moment("training", 0.15, "KILL"),
    Moment("training", 0.3, "TERM"),
    Moment("training", 0.45, "KILL"),
]


def test_a_job_that_goes_on_where_it_was_is_identical(tmp_path: Path) -> None:
    plan = [Moment("start-up", 0.3, "KILL"), *TRAINING, Moment("end", 0.1, "KILL")]
    found = tried(tmp_path, "", plan)
    assert found.differences == ()
    assert [(kill.signal, kill.status) for kill in found.kills[:4]] == [
        ("KILL", 137),
        ("KILL", 137),
        ("TERM", 143),
        ("KILL", 137),
    ]
    assert max(kill.lost or 0 for kill in found.kills) <= 1
    assert found.resumed >= 3
    assert found.verdict.startswith("IDENTICAL")
    # Each start went on from about where the one before was killed.
    resumed = [int(kill.resumed.split()[1]) for kill in found.kills[1:4]]
    assert resumed == sorted(resumed)
    assert 2 <= resumed[0] < resumed[1] < resumed[2] <= 30
    record = json.loads((tmp_path / "work" / "record.json").read_text())
    assert record["kills"][1]["signal"] == "KILL"
    assert "[29]" in (tmp_path / "work" / "undisturbed" / "log.txt").read_text()


def test_rounds_that_are_lost_are_counted(tmp_path: Path) -> None:
    found = tried(tmp_path, "loses", TRAINING[:2])
    assert found.differences == ()
    assert [kill.lost for kill in found.kills] == [3, 3]


def test_a_job_that_starts_anew_loses_all_and_is_identical(tmp_path: Path) -> None:
    found = tried(tmp_path, "forgets", TRAINING[1:2])
    assert found.differences == ()
    assert found.resumed == 0
    [kill] = found.kills
    assert kill.resumed == "-"
    assert kill.lost == int(kill.at_round.strip("[]")) + 1


def test_another_model_is_a_difference(tmp_path: Path) -> None:
    found = tried(tmp_path, "model", TRAINING[:1])
    assert [text.split(":")[0] for text in found.differences] == ["model/xgboost-model"]
    assert found.verdict.startswith("DIFFERENT")


def test_a_start_that_fails_is_a_difference(tmp_path: Path) -> None:
    found = tried(tmp_path, "fails", TRAINING[:1])
    assert [text.split(":")[:2] for text in found.differences] == [
        ["start 2", " exit status 3 undisturbed"],
        ["the job did not come to its end", found.differences[1].split(":")[1]],
    ]


def test_a_wrong_status_after_term_is_a_difference(tmp_path: Path) -> None:
    found = tried(tmp_path, "status", TRAINING[1:2])
    assert found.differences[0].startswith("start 1: exit status 1 after TERM")


def test_a_job_that_fails_by_itself_cannot_be_tried(tmp_path: Path) -> None:
    (tmp_path / "tree" / "input").mkdir(parents=True)
    for program, why in (("import sys; sys.exit(5)", "by itself [(]5"), ("", "no line of a round")):
        with pytest.raises(spot.CannotTryError, match=why):
            spot.trial(
                partial(spot.Process, command=[sys.executable, "-c", program]),
                tmp_path / "tree",
                tmp_path / "work",
                [],
                lambda _: None,
            )


def test_a_job_without_an_end_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen(['sleep', '60']).pid, flush=True)\n"
        "time.sleep(60)"
    )
    place = spot.Place(tmp_path / "start", tmp_path, tmp_path / "checkpoints")
    began = time.monotonic()
    # The child holds the log open: an end of the log is the end of both.
    with pytest.raises(spot.CannotTryError, match=r"no end after 1 s: [0-9]+"):
        spot.run(partial(spot.Process, command=[sys.executable, "-c", code]), place, 0.6)
    assert time.monotonic() - began < 30


def test_the_same_seed_draws_the_same_moments() -> None:
    first = spot.moments(1, 200, spot.SIGNALS)
    assert first == spot.moments(1, 200, spot.SIGNALS)
    assert first != spot.moments(2, 200, spot.SIGNALS)
    assert {moment.signal for moment in first} == {"KILL", "TERM"}
    assert {moment.signal for moment in spot.moments(1, 50, ("TERM",))} == {"TERM"}
    parts = [moment.part for moment in first]
    assert all(parts.count(part) > 10 for part in ("start-up", "end"))
    assert parts.count("training") > 120
    shares = [moment.share for moment in first if moment.part == "training"]
    assert shares == sorted(shares)
    # Uniform: every tenth of the way has some.
    assert {int(10 * share) for share in shares} == set(range(10))
    assert "end" not in parts[: parts.index("training")]


def log(*lines: tuple[float, str]) -> tuple[Line, ...]:
    return tuple(Line(at, text) for at, text in lines)


STRAIGHT = log(
    (0.5, "train: 5 rows"),
    (1.0, "[0]\ttrain-rmse:0.3"),
    (2.0, "[1]\ttrain-rmse:0.2"),
    (3.0, "[2]\ttrain-rmse:0.1"),
    (3.5, "[2]\ttrain-rmse:0.1"),
    (3.6, "final-score: 0.1;"),
)


def test_the_parts_of_a_run_are_read_from_its_log() -> None:
    course = Course.of(STRAIGHT)
    assert (course.ready, course.begin, course.last, course.final) == (0.5, 1.0, 3.0, 3.5)
    assert course.end == pytest.approx(3.7)
    assert Moment("start-up", 0.5, "KILL").on(course) == 0.5
    assert Moment("training", 0.2, "KILL").on(course) == 1.5
    assert Moment("end", 0.5, "KILL").on(course) == pytest.approx(3.35)
    assert "[2]\ttrain-rmse:0.1" not in course.lines  # printed twice: says not where


def test_the_end_of_a_cross_validation_has_the_model_of_all_rows() -> None:
    course = Course.of(
        log(
            (1.0, "[0]\ttrain-rmse:0.3\tfold:0"),
            (1.0, "[0]\ttrain-rmse:0.3\tfold:1"),
            (1.0, "[0]\ttrain-rmse:0.3\tmean-of-folds:0,1"),
            (5.0, "completed: 1 round trained, the final model, of all rows, ends with round 0"),
            (5.1, "[0]\thold_out-rmse:0.3"),
            (5.2, "[0]\ttrain-rmse:0.3"),
        )
    )
    assert (course.begin, course.last, course.final) == (1.0, 1.0, 5.2)


def test_a_forest_trains_from_when_its_data_are_read() -> None:
    course = Course.of(
        log(
            (0.1, "treeline 0.1.0: binary:logistic, random forest of 9 trees by sklearn, …"),
            (1.0, "train: 5 rows"),
            (5.0, "[0]\ttrain-logloss:0.3"),
        )
    )
    assert (course.ready, course.begin, course.final) == (1.0, 1.0, 5.0)
    assert course.last == pytest.approx(4.6)


def test_a_start_is_followed_by_its_lines() -> None:
    course = Course.of(STRAIGHT)
    clock = Follower(Moment("training", 0.8, "KILL"), course, reached=2.0)
    assert clock.due == 3.0
    clock.saw(Line(0.9, "train: 5 rows"))  # 0.4 s late
    assert clock.due == pytest.approx(3.4)
    clock.saw(Line(1.0, "resumed from x: model 2 rounds"))  # warms up for half a second
    assert clock.due == pytest.approx(1.0 + 0.5 + 1.0)
    clock.saw(Line(1.4, "whatever"))
    clock.saw(Line(1.8, "[1]\ttrain-rmse:0.2"))
    assert clock.due == pytest.approx(2.8)
    clock.saw(Line(2.8, "[2]\ttrain-rmse:0.1"))
    assert clock.due == pytest.approx(2.8)


def test_a_start_up_is_not_followed() -> None:
    clock = Follower(Moment("start-up", 0.5, "KILL"), Course.of(STRAIGHT), reached=2.0)
    clock.saw(Line(0.9, "train: 5 rows"))
    assert clock.due == 0.5


MANIFEST = "model/treeline/manifest.json"


class Made:
    """Starts that are made up, in folders of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def start(
        self,
        *rounds: str,
        score: str = "1.0",
        status: int = 0,
        sent: str | None = None,
        metrics: Sequence[dict[str, Any]] = ({"round": 0},),
        files: Mapping[str, str] = MappingProxyType({}),
    ) -> Ended:
        self._count += 1
        root = self._folder / f"{self._count}"
        for name, content in {MANIFEST: '{"training": null}', **files}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
        (root / "output" / "data").mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(line) + "\n" for line in metrics)
        (root / "output" / "data" / "metrics.jsonl").write_text(text)
        lines = [*(f"[{text}" for text in rounds), f"final-score: {score};"]
        return Ended(root, log(*((0.0, line) for line in lines)), status, 1.0, sent, 1.0)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


ROUNDS = ("0]\ta:1", "1]\ta:2")


def test_the_same_from_two_starts_is_no_difference(made: Made) -> None:
    starts = [
        made.start(*ROUNDS, status=137, sent="KILL", score="7", files={"model/x": "y"}),
        made.start(ROUNDS[1], metrics=[{"resumed": {"model": 1}}, {"round": 0}]),
    ]
    assert spot.differences(made.start(*ROUNDS), starts) == []


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"score": "2.0"}, "final-score: .*1.0.* undisturbed, .*2.0.* interrupted"),
        ({"metrics": [{"round": 1}]}, "output/data/metrics.jsonl: line 1: .*0.* undisturbed"),
        ({"metrics": [{"round": 0}] * 2}, "output/data/metrics.jsonl: line 2: '' undisturbed"),
        (
            {"files": {"output/data/predictions.csv": "1"}},
            "predictions.csv: only the interrupted job has it",
        ),
        ({"files": {"model/xgboost-model": "1"}}, "model/xgboost-model: only the interrupted"),
        ({"files": {MANIFEST: '{"training": \nnull}'}}, "manifest.json: line 1"),
    ],
)
def test_every_file_and_the_score_are_compared(made: Made, wrong: Any, text: str) -> None:
    straight, last = made.start(*ROUNDS), made.start(*ROUNDS, **wrong)
    [found] = spot.differences(straight, [last])
    assert re.search(text, found)


def test_rounds_that_no_log_has_or_that_are_others_are_differences(made: Made) -> None:
    straight = made.start(*ROUNDS)
    assert (
        "1 line(s) of rounds of the undisturbed run in no log"
        in (spot.differences(straight, [made.start(ROUNDS[0])])[0])
    )
    killed = made.start("0]\ta:9", status=137, sent="KILL")
    [found] = spot.differences(straight, [killed, made.start(*ROUNDS)])
    assert "that the undisturbed run does not have, such as '[0]\\ta:9'" in found


@pytest.mark.parametrize(
    ("sent", "status", "keeps", "right"),
    [
        ("KILL", 137, False, True),
        ("KILL", 143, False, False),
        ("TERM", 143, False, True),
        ("TERM", 137, False, False),
        ("TERM", 0, True, True),
        ("TERM", 0, False, False),
        ("KILL", 0, True, False),
    ],
)
def test_every_status_is_checked(
    made: Made, sent: str, status: int, keeps: bool, right: bool
) -> None:
    partly = '{"training": {"outcome": "terminated"}}'
    killed = made.start(*ROUNDS, status=status, sent=sent, files={MANIFEST: partly})
    starts = [killed, made.start(*ROUNDS)]
    assert (spot.differences(made.start(*ROUNDS), starts, keeps) == []) == right


def test_folds_lose_what_the_unluckiest_loses(made: Made) -> None:
    folds = ("0]\ta:1\tfold:0", "0]\ta:1\tfold:1", "0]\ta:1\tmean-of-folds:0,1")
    straight = made.start(*folds, "8]\ta:1")
    # A line that is no fold's is of no model on its way.
    rounds = (*folds, "4]\ta:1\tfold:1", "8]\ta:1")
    killed = made.start(*rounds, status=137, sent="KILL")
    again = made.start(metrics=[{"resumed": {"fold-000": "done", "fold-001": 3}}])
    [kill] = spot.kills(straight, [killed, again], ["training"])
    assert (kill.lost, kill.at_round) == (2, "[8]")


def test_what_was_lost_once_is_not_lost_again(made: Made) -> None:
    killed = made.start("0]\ta:1", "9]\ta:1", status=137, sent="KILL")
    again = made.start("5]\ta:1", metrics=[{"resumed": {"model": 5}}], status=137, sent="KILL")
    last = made.start(metrics=[{"resumed": {"model": 6}}])
    found = spot.kills(made.start("0]\ta:1"), [killed, again, last], ["training"] * 2)
    assert [kill.lost for kill in found] == [5, 0]


def test_what_nobody_knows_is_not_counted_as_lost(made: Made) -> None:
    """A start that was killed before it said anything: the next one tells."""
    killed = made.start(*ROUNDS, status=137, sent="KILL")
    early = made.start(status=137, sent="KILL", metrics=())
    last = made.start(metrics=[{"resumed": {"model": 1}}])
    found = spot.kills(made.start(*ROUNDS), [killed, early, last], ["training", "start-up"])
    assert [kill.lost for kill in found] == [None, 1]


def test_rounds_on_top_of_an_earlier_model_count_from_its_end(made: Made) -> None:
    straight = made.start("50]\ta:1", "51]\ta:1")
    killed = made.start("50]\ta:1", status=137, sent="KILL")
    last = made.start("51]\ta:1", metrics=[{"resumed": {"model": 1}}])
    [kill] = spot.kills(straight, [killed, last], ["training"])
    assert kill.lost == 0
    assert "[50]" in spot.table([kill])


def test_the_matrix_has_any_three_values_together() -> None:
    from benchmarks import spot_matrix

    def values(asks: Mapping[str, str], file: str) -> tuple[str | bool, ...]:
        return (
            asks["objective"],
            asks.get("booster", ""),
            "subsample" in asks,
            "early_stopping_rounds" in asks,
            asks.get("cv_folds", ""),
            file,
        )

    boosted = [
        values(job.asks, job.format) for job in spot_matrix.jobs() if "num_round" in job.asks
    ]
    assert len(boosted) == 48
    domains = [sorted({each[i] for each in boosted}, key=str) for i in range(6)]
    assert [len(domain) for domain in domains] == [8, 2, 2, 2, 3, 2]
    for three in combinations(range(6), 3):
        there = {tuple(each[i] for i in three) for each in boosted}
        assert there == set(product(*(domains[i] for i in three)))
