"""How a score leaves the job: one log line, its regular expression, and ``metrics.jsonl``.

The line is the one users of the built-in XGBoost image have regular expressions for, so its
bytes are fixed: ``[round]``, then for each data set and metric a TAB and ``set-metric:%.5f``.
The platform's log shows the TAB as the four characters ``#011``; the expressions here accept
both, so that they can be tried on a local log as well.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from treeline.errors import PlatformError

Scores = Mapping[str, Mapping[str, float]]  # data set -> metric -> value
type Spreads = Mapping[str, Mapping[str, Spread]]

FILE_NAME = "metrics.jsonl"
FINAL_SCORE = "final-score"  # the line every job ends with; the RAPIDS example's tuners read it
# What the log calls the validation channel where its rows are in no fold of a cross-validation;
# validation then are the rows that a fold has not seen.
HOLD_OUT = "holdout"
# CreateTrainingJob takes at most this many MetricDefinitions.
DEFINITIONS_LIMIT = 40

_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


def round_line(index: int, scores: Scores) -> str:
    """Return the log line of round ``index`` (0-based), without a line end."""
    parts = [
        f"{data}-{metric}:{value:.5f}"
        for data, values in scores.items()
        for metric, value in values.items()
    ]
    return "\t".join([f"[{index}]", *parts])


def fold_line(fold: str, index: int, scores: Scores) -> str:
    """Return the line of a fold's round: a round's own, and behind it whose it is."""
    return f"{round_line(index, scores)}\t{fold}"


def spread_line(name: str, spread: Spread) -> str:
    """Return the line that says what the folds found of ``name``, such as validation-rmse."""
    mean = f"cross-validation: {name} {spread.mean:.5f}"
    if len(spread.values) == 1:  # says nothing of how folds differ
        return f"{mean}, of 1 fold"
    values = " ".join(f"{value:.5f}" for value in spread.values)
    return (
        f"{mean}, standard deviation {spread.deviation:.5f}, over {len(spread.values)} folds: "
        f"{values}"
    )


def final_score_line(value: float) -> str:
    """Return the line that carries the one number of the job, in full precision."""
    return f"{FINAL_SCORE}: {float(value)!r};"  # float(): numpy's numbers print their type


def definitions(names: Iterable[str]) -> list[dict[str, str]]:
    """Return MetricDefinitions for ``names`` such as ``validation:rmse`` and ``final-score``."""
    return [{"Name": name, "Regex": _expression(name)} for name in names]


def _expression(name: str) -> str:
    if name == FINAL_SCORE:
        return f"{FINAL_SCORE}: {_NUMBER};"
    data, metric = name.split(":", 1)
    return rf".*\[[0-9]+\].*(?:#011|\t){data}-{re.escape(metric)}:{_NUMBER}.*"


@dataclass(frozen=True)
class Spread:
    """One metric over the folds: the mean, the population standard deviation, and each value."""

    mean: float
    deviation: float
    values: tuple[float, ...]


def spreads(scores: Sequence[Scores]) -> Spreads:
    """Return how each metric is spread over ``scores``, one entry for each fold."""
    return {
        data: {metric: _spread([each[data][metric] for each in scores]) for metric in metrics}
        for data, metrics in scores[0].items()
    }


def means(found: Spreads) -> Scores:
    """Return the mean of every metric."""
    return {data: {m: each.mean for m, each in metrics.items()} for data, metrics in found.items()}


class MetricLog:
    """Writes every round to the log and to ``metrics.jsonl``, and the saved model's scores last.

    The file has one JSON object a line: ``round`` (0-based) and ``scores`` in full precision;
    the last one also has ``final`` and names the objective metric with its value. Rounds that an
    earlier start of the job has printed (``restored``) are in the file only.
    """

    def __init__(self, emit: Callable[[str], None], folder: Path | None) -> None:
        """``folder`` is where the file goes; None writes none: of a team one worker does."""
        self._emit = emit
        self._folder = folder or Path(os.devnull).parent
        with _disk_errors(self._folder):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            file = Path(os.devnull) if folder is None else folder / FILE_NAME
            self._file = file.open("w", encoding="utf-8")

    def resumed(self, line: str, rounds: Mapping[str, int | None]) -> None:
        """Log what an earlier start of the job has left: rounds by model, None for all of them."""
        self._emit(line)
        self._write({"resumed": {name: "done" if n is None else n for name, n in rounds.items()}})

    def round(self, index: int, scores: Scores, *, restored: bool = False) -> None:
        """Log the scores after round ``index``."""
        if not restored:
            self._emit(round_line(index, scores))
        self._write({"round": index, "scores": plain(scores)})

    def folds(
        self, index: int, scores: Mapping[int, Scores], *, whole: bool, restored: bool = False
    ) -> None:
        """Log the scores after round ``index`` of folds that are trained side by side.

        The mean follows where it is one of all of them (``whole``), for a tuner that looks at a
        job while it runs.
        """
        for fold, each in scores.items():
            if not restored:
                self._emit(fold_line(f"fold:{fold}", index, each))
            self._write({"round": index, "fold": fold, "scores": plain(each)})
        if whole and len(scores) > 1:
            mean = means(spreads(list(scores.values())))
            named = ",".join(map(str, scores))
            if not restored:
                self._emit(fold_line(f"mean-of-folds:{named}", index, mean))
            self._write({"round": index, "folds": list(scores), "scores": plain(mean)})

    def validated(self, index: int, found: Spreads, objective: str, value: float) -> None:
        """Log what all folds found; the means are the last line that an expression matches.

        ``index`` is the last round of the model that the scores are an estimate for.
        """
        for data, metrics in found.items():
            for metric, spread in metrics.items():
                self._emit(spread_line(f"{data}-{metric}", spread))
        self.final(index, means(found), objective, value)

    def final(self, index: int, scores: Scores, objective: str, value: float) -> None:
        """Repeat the scores of the saved model, so that the last match is the saved model's.

        ``objective`` is written as a definition's name, ``validation:rmse``; ``value`` is its
        score and the job's ``final-score``.
        """
        self._emit(round_line(index, scores))
        self._emit(final_score_line(value))
        final = {"objective_metric": objective, "final_score": number(value)}
        self._write({"round": index, "scores": plain(scores), "final": True, **final})

    def close(self) -> None:
        """Close the file."""
        with _disk_errors(self._folder):
            self._file.close()

    def _write(self, entry: Mapping[str, object]) -> None:
        with _disk_errors(self._folder):
            self._file.write(json.dumps(entry, allow_nan=False) + "\n")
            self._file.flush()


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PlatformError(
            f"{folder / FILE_NAME} could not be written: {error.strerror or error}",
            "Check the volume's free space and that the folder can be written.",
        ) from error


def number(value: float) -> float | str:
    """Return ``value`` as strict JSON can hold it: nan and the infinities become text."""
    return value if math.isfinite(value) else str(value)


def _spread(values: Sequence[float]) -> Spread:
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return Spread(mean, deviation, tuple(values))


def plain(scores: Scores) -> dict[str, dict[str, float | str]]:
    """Return ``scores`` as strict JSON can hold them."""
    return {d: {m: number(v) for m, v in values.items()} for d, values in scores.items()}
