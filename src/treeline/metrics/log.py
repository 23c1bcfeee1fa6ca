"""How a score leaves the job: one log line, its regular expression, and ``metrics.jsonl``.

The line is the one users of the built-in XGBoost image have regular expressions for, so its
bytes are fixed: ``[round]``, then for each data set and metric a TAB and ``set-metric:%.5f``.
The platform's log shows the TAB as the four characters ``#011``; the expressions here accept
both, so that they can be tried on a local log as well.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from treeline.errors import PlatformError

Scores = Mapping[str, Mapping[str, float]]  # data set -> metric -> value

FILE_NAME = "metrics.jsonl"
FINAL_SCORE = "final-score"  # the line every job ends with; the RAPIDS example's tuners read it
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


class MetricLog:
    """Writes every round to the log and to ``metrics.jsonl``, and the saved model's scores last.

    The file has one JSON object a line: ``round`` (0-based) and ``scores`` in full precision;
    the last one also has ``final`` and names the objective metric with its value.
    """

    def __init__(self, emit: Callable[[str], None], folder: Path) -> None:
        self._emit = emit
        with _disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / FILE_NAME).open("w", encoding="utf-8")
        self._folder = folder

    def round(self, index: int, scores: Scores) -> None:
        """Log the scores after round ``index``."""
        self._emit(round_line(index, scores))
        self._write({"round": index, "scores": _plain(scores)})

    def final(self, index: int, scores: Scores, objective: str, value: float) -> None:
        """Repeat the scores of the saved model, so that the last match is the saved model's.

        ``objective`` is written as a definition's name, ``validation:rmse``; ``value`` is its
        score and the job's ``final-score``.
        """
        self._emit(round_line(index, scores))
        self._emit(final_score_line(value))
        final = {"objective_metric": objective, "final_score": number(value)}
        self._write({"round": index, "scores": _plain(scores), "final": True, **final})

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


def _plain(scores: Scores) -> dict[str, dict[str, float | str]]:
    return {d: {m: number(v) for m, v in values.items()} for d, values in scores.items()}
