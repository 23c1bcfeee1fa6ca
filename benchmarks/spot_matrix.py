"""Kill many jobs of all kinds at random moments and compare each with an undisturbed run.

Usage: python -m benchmarks.spot_matrix [--image IMAGE | --process] [--kills-per-job K]
                                        [--only TEXT] [--seed S]

48 jobs of boosting, chosen so that any three values of objective, sampling, booster, early
stopping, folds and file format occur together, and 8 random forests. A checkpoint is written after
every round, and every job is killed up to K times (5): where it is faster than in peace, the last
moments come too late. Each boosts for some seconds on two cores; all take about half an hour.
A line a job goes to build/spot/matrix.jsonl; what a job left that differs stays beside it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from local_test import spot
from numpy.typing import NDArray

from benchmarks.jobs import CONTENT_TYPES
from treeline import hyperparameters

type Columns = dict[str, NDArray[Any]]

COLUMNS = 10
VALIDATION_ROWS = 3_000
FOREST_ROWS = 8_000


@dataclass(frozen=True)
class Task:
    """An objective: what it needs said, how rows get a label, and rows for the time wanted."""

    asks: Mapping[str, str]
    label: Callable[[NDArray[Any], np.random.Generator], Columns]
    rows: int = 25_000


def _numbers(score: NDArray[Any], draw: np.random.Generator) -> Columns:
    return {"y": (score + draw.normal(size=len(score))).round(3)}


def _two(score: NDArray[Any], draw: np.random.Generator) -> Columns:
    return {"y": (score + draw.logistic(size=len(score)) > 0).astype(np.int8)}


def _three(score: NDArray[Any], draw: np.random.Generator) -> Columns:
    noisy = score + draw.normal(size=len(score))
    return {"y": np.digitize(noisy, (-0.7, 0.7)).astype(np.int8)}


def _queries(score: NDArray[Any], draw: np.random.Generator) -> Columns:
    grade = np.digitize(score + draw.normal(size=len(score)), (0, 1, 2)).astype(np.int8)
    return {"y": grade, "query": np.arange(len(score)) // 20}


def _counts(score: NDArray[Any], draw: np.random.Generator) -> Columns:
    return {"y": draw.poisson(np.exp(0.5 * score))}


def _times(score: NDArray[Any], draw: np.random.Generator) -> Columns:
    time = np.exp(0.5 * score + 0.5 * draw.normal(size=len(score))).round(4) + 0.001
    censored = draw.random(len(score)) < 0.3
    return {"lower": time, "upper": np.where(censored, np.inf, time)}


TASKS = {
    "reg:squarederror": Task({}, _numbers),
    "binary:logistic": Task({}, _two),
    "multi:softprob": Task({"num_class": "3"}, _three, 8_000),
    "rank:ndcg": Task({"group_column": "query"}, _queries),
    "count:poisson": Task({}, _counts),
    "reg:absoluteerror": Task({}, _numbers),
    "reg:quantileerror": Task({"quantile_alpha": "0.1,0.5,0.9"}, _numbers, 8_000),
    "survival:aft": Task(
        {"label_lower_bound_column": "lower", "label_upper_bound_column": "upper"}, _times
    ),
}
# Name: hyperparameters, and rounds for each model. A fold and the model of all rows are models.
SCHEMES = {
    "plain": ({}, 150),
    "5 folds": ({"cv_folds": "5"}, 30),
    "3 folds, 2 repeats": ({"cv_folds": "3", "cv_repeats": "2"}, 25),
}
FORMATS = ("csv", "parquet")


@dataclass(frozen=True)
class Job:
    """One job of the matrix."""

    name: str
    group: str
    task: Task
    asks: Mapping[str, str]
    format: str
    rows: int


def jobs() -> list[Job]:
    """Return all of them."""
    return [*_boosting(), *_forests()]


def _boosting() -> list[Job]:
    """Take for each objective and scheme two jobs that share no other value.

    Three such pairs of an objective, over the schemes, have any two of the other values together,
    and as they are shifted from objective to objective so has every scheme.
    """
    found = []
    for (i, objective), (j, scheme) in product(enumerate(TASKS), enumerate(SCHEMES)):
        bits = (0b0000, 0b0011, 0b0101)[(i + j) % 3] ^ (0b0000, 0b0001, 0b0010, 0b0100)[i % 4]
        found += [_boosted(objective, scheme, each) for each in (bits, bits ^ 0b1111)]
    return found


def _boosted(objective: str, scheme: str, bits: int) -> Job:
    sampled, dart, early, kind = (bits >> 3 & 1, bits >> 2 & 1, bits >> 1 & 1, FORMATS[bits & 1])
    folds, rounds = SCHEMES[scheme]
    if dart:  # predicts with all trees anew in every round
        rounds = min(rounds, 60)
    asks = {"objective": objective, "num_round": f"{rounds}", **folds}
    if sampled:
        asks |= {"subsample": "0.7", "colsample_bytree": "0.8", "colsample_bynode": "0.8"}
    if dart:
        asks |= {"booster": "dart", "rate_drop": "0.1", "skip_drop": "0.3"}
    if early:
        asks |= {"early_stopping_rounds": "10", "eta": "0.1"}
    words = [objective, *["sampled"] * sampled, "dart" if dart else "gbtree"]
    words += [*["early stopping"] * early, scheme, kind]
    task = TASKS[objective]
    return Job(", ".join(words), objective, task, asks, kind, task.rows)


def _forests() -> list[Job]:
    found = []
    engines = ("sklearn", "xgboost")
    for i, (engine, classes, scheme) in enumerate(product(engines, (1, 0), ("plain", "5 folds"))):
        asks = {
            "algorithm": "random_forest",
            "forest_engine": engine,
            "objective": "multi:softprob" if classes else "reg:squarederror",
            "n_estimators": "60" if scheme == "plain" else "15",
            "max_depth": "12",
            **SCHEMES[scheme][0],
        }
        kind, group = FORMATS[i % 2], f"random forest, {engine}"
        name = ", ".join([group, "classes" if classes else "numbers", scheme, kind])
        found.append(Job(name, group, TASKS[asks["objective"]], asks, kind, FOREST_ROWS))
    return found


def make(job: Job, root: Path) -> Path:
    """Write the job's tree under ``root``."""
    asks = {**job.asks, **job.task.asks, "checkpoint_every": "1"}
    if "y" in job.task.label(np.zeros(1), np.random.default_rng()):
        asks["label_column"] = "y"
    hyperparameters.parse(asks)  # a mistake here is none of the job's
    sizes = {"train": job.rows}
    if "cv_folds" not in asks:
        sizes["validation"] = VALIDATION_ROWS
    draw = np.random.default_rng(7)
    for channel, rows in sizes.items():
        x = draw.normal(size=(rows, COLUMNS)).round(3)
        columns = job.task.label(x[:, 0] + x[:, 1] * x[:, 2] - np.abs(x[:, 3]), draw)
        columns |= {f"x{i}": x[:, i] for i in range(COLUMNS)}
        _write(root / "input" / "data" / channel / f"rows.{job.format}", columns)
    config = root / "input" / "config"
    config.mkdir(parents=True)
    entry = {"ContentType": CONTENT_TYPES[job.format], "TrainingInputMode": "File"}
    for name, value in (
        ("hyperparameters", asks),
        ("inputdataconfig", dict.fromkeys(sizes, entry)),
    ):
        (config / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")
    return root


def _write(file: Path, columns: Columns) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    file.parent.mkdir(parents=True)
    if file.suffix == ".csv":
        csv.write_csv(pa.table(columns), file)
    else:
        parquet.write_table(pa.table(columns), file)


def main() -> int:
    """Run the matrix and print its table; return 1 if a job differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", default="treeline:cpu")
    parser.add_argument("--process", action="store_true", help="without Docker")
    parser.add_argument("--kills-per-job", type=int, default=5)
    parser.add_argument("--only", default="", help="the jobs whose name holds this")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    spot.end_on_signals()
    launch = spot.launcher(None if options.process else options.image)
    chosen = [job for job in jobs() if options.only in job.name]
    print(f"seed {options.seed}, {len(chosen)} job(s)", flush=True)
    log = spot.WORK / "matrix.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    found = []
    for i, job in enumerate(chosen, 1):
        print(f"\n{i}/{len(chosen)} {job.name}", flush=True)
        found.append(_tried(job, launch, options.kills_per_job, f"{options.seed} {job.name}"))
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found[-1]) + "\n")
    print(f"\nseed {options.seed}\n\n{summary(found)}")
    return 0 if all(each["identical"] for each in found) else 1


def _tried(job: Job, launch: spot.Launch, kills: int, seed: str) -> dict[str, Any]:
    """Try one job; return its line."""
    folder = spot.WORK / "matrix" / job.name.replace(", ", "_").replace(" ", "-").replace(":", "-")
    shutil.rmtree(folder, ignore_errors=True)
    line: dict[str, Any] = {"name": job.name, "group": job.group, "seed": seed, "kills": []}
    say = partial(print, flush=True)
    started = time.monotonic()
    try:
        tree = make(job, folder / "tree")
        plan = spot.moments(seed, kills, spot.SIGNALS)
        found = spot.trial(launch, tree, folder / "work", plan, say)
    except spot.CannotTryError as error:
        say(f"cannot be tried: {error}")
        return {**line, "identical": False, "resumed": 0, "differences": [f"{error}"]}
    for text in found.differences:
        say(f"- {text}")
    say(f"{found.verdict}, {time.monotonic() - started:.0f} s")
    if not found.differences:
        shutil.rmtree(folder)
    return {**line, **asdict(found), "identical": not found.differences}


def summary(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of all jobs, by group."""
    groups = list(dict.fromkeys(line["group"] for line in lines))
    rows = [
        "| jobs of | jobs | kills | KILL / TERM | went on | byte-identical | rounds lost, most "
        "| mean |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(group, [line for line in lines if line["group"] == group]) for group in groups),
        _row("all", lines),
    ]
    differ = [
        f"- {line['name']}: {line['differences'][0]}" for line in lines if not line["identical"]
    ]
    return "\n".join([*rows, "", *differ])


def _row(name: str, lines: Sequence[Mapping[str, Any]]) -> str:
    kills = [kill for line in lines for kill in line["kills"]]
    lost = [kill["lost"] for kill in kills if kill["lost"] is not None]
    same = sum(line["identical"] for line in lines)
    cells = [
        name,
        len(lines),
        len(kills),
        " / ".join(str(sum(kill["signal"] == each for kill in kills)) for each in spot.SIGNALS),
        sum(line["resumed"] for line in lines),
        "yes" if same == len(lines) else f"no: {same} of {len(lines)}",
        max(lost, default="-"),
        f"{sum(lost) / len(lost):.2f}" if lost else "-",
    ]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
