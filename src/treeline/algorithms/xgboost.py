"""XGBoost on one machine: fit, predict, save, load.

The boosting loop is XGBoost's own (``xgboost.train``) with the listeners taken out: it hands
every round's scores to one function and looks at one flag. Trees, and so models, are byte for
byte those of ``xgboost.train`` with the same parameters and the same matrix.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline.algorithms import labels
from treeline.algorithms.early_stopping import EarlyStopping
from treeline.data.matrix import Floats, Matrix
from treeline.errors import AlgorithmError, DataError, Stopped
from treeline.hyperparameters import Config
from treeline.metrics import computed, names

if TYPE_CHECKING:
    import xgboost as xgb

    from treeline.compute import Compute
    from treeline.metrics.log import Scores

Load = Callable[[], Matrix]


@dataclass(frozen=True)
class DataSummary:
    """What is worth remembering of a data set once XGBoost has binned it."""

    rows: int
    features: int
    feature_names: tuple[str, ...] | None
    fingerprint: str


@dataclass(frozen=True)
class Fitted:
    """A trained model and the scores of exactly that model.

    ``last_round`` (0-based) is the round the model ends with and ``rounds_trained`` how many
    were boosted; early stopping makes them differ by more than one. ``objective_metric`` is
    written ``validation:rmse``. ``outcome`` is completed, early_stopped or terminated.
    """

    booster: xgb.Booster
    last_round: int
    rounds_trained: int
    scores: Scores
    objective_metric: str
    objective_value: float
    outcome: str
    data: Mapping[str, DataSummary]


def fit(
    loads: Mapping[str, Load],
    config: Config,
    compute: Compute,
    on_round: Callable[[int, Scores], None],
    stop_requested: Callable[[], bool],
) -> Fitted:
    """Train on ``loads["train"]``, scoring every data set in ``loads`` after every round.

    Each load is called once and its matrix dropped as soon as XGBoost has binned it, so at most
    one data set is in memory unbinned. Raises ``DataError`` for labels the objective cannot use,
    ``AlgorithmError`` for what XGBoost itself refuses, and ``Stopped`` if asked to stop when
    there is nothing to keep.
    """
    with _xgboost_errors():
        return _Training(loads, config, compute).run(on_round, stop_requested)


def predict(booster: xgb.Booster, features: Floats) -> NDArray[np.float32]:
    """Return the predictions for ``features`` (rows, columns): (rows,), or one column a class."""
    prediction: NDArray[np.float32] = booster.inplace_predict(features)
    return prediction


def save(booster: xgb.Booster) -> bytes:
    """Return the model as UBJSON, which ``Booster.load_model`` reads on any machine."""
    return bytes(booster.save_raw("ubj"))


def load(file: Path) -> xgb.Booster:
    """Return the model that ``save`` wrote."""
    # As bytes: from a name without an extension XGBoost guesses the format, and warns.
    booster: xgb.Booster = library().Booster(model_file=bytearray(file.read_bytes()))
    return booster


class _Training:
    """One run of the loop: the matrices XGBoost holds, the booster, and what to score."""

    def __init__(self, loads: Mapping[str, Load], config: Config, compute: Compute) -> None:
        self.config = config
        called = config.computed_as.values()
        self.native = [name for name in called if _metric(name).native]
        self.computed = [name for name in called if not _metric(name).native]
        self.printed = {name: asked for asked, name in config.computed_as.items()}
        self.data: dict[str, DataSummary] = {}
        self.truths: dict[str, computed.Truth] = {}
        self.matrices: dict[str, xgb.DMatrix] = {}
        for role, read in loads.items():
            self._bin(role, read, compute)
        parameters: dict[str, Any] = {**config.booster, "nthread": compute.threads}
        parameters["device"] = compute.device
        if self.native:
            parameters["eval_metric"] = self.native
        self.booster = library().Booster(parameters, list(self.matrices.values()))

    def run(
        self, on_round: Callable[[int, Scores], None], stop_requested: Callable[[], bool]
    ) -> Fitted:
        """Boost round by round; return the model to save and its scores."""
        stopping: EarlyStopping | None = None
        best = (_BestByCopy if _drops_out(self.config.booster) else _BestBySlice)(self.booster)
        outcome, scores, index = "completed", {}, 0
        data, metric = "", ""
        for index in range(self.config.num_round):
            self.booster.update(self.matrices["train"], index)
            scores = self._score(self.booster, index)
            on_round(index, scores)
            data, metric = self.config.followed(scores)
            if self.config.early_stopping_rounds:
                stopping = stopping or EarlyStopping(
                    self.config.early_stopping_rounds, _metric(metric).maximize
                )
                if stopping.improved(index, scores[data][metric]):
                    best.note(index)
                elif stopping.exhausted(index):
                    outcome = "early_stopped"
                    break
            if stop_requested() and index + 1 < self.config.num_round:
                if not self.config.save_model_on_termination:
                    raise Stopped
                outcome = "terminated"
                break
        if stopping is not None and np.isnan(stopping.best_score):
            raise DataError(
                f"{data}-{metric} was not a number in any of {index + 1} rounds, so "
                "early_stopping_rounds has nothing to follow",
                f"Check the labels of {data} (auc, for one, needs rows of every class), or name "
                "another metric last in eval_metric.",
            )
        booster, last = self.booster, index
        if stopping is not None and stopping.best_round != index:
            booster, last = best.model(), stopping.best_round
            # Measured on the model that is saved, not remembered from the round.
            scores = self._score(booster, last)
        if stopping is not None:  # as xgboost.callback.EarlyStopping leaves them
            booster.set_attr(best_iteration=str(last), best_score=str(stopping.best_score))
        return Fitted(
            booster=booster,
            last_round=last,
            rounds_trained=index + 1,
            scores=scores,
            objective_metric=f"{data}:{metric}",
            objective_value=scores[data][metric],
            outcome=outcome,
            data=self.data,
        )

    def _bin(self, role: str, read: Load, compute: Compute) -> None:
        """Read a data set and give it to XGBoost, which keeps only its bins."""
        matrix = read()
        labels.check(
            matrix,
            self.config.objective,
            self.config.num_class,
            classes_only=any(m in computed.CLASSIFICATION for m in self.computed),
            exp_gain=bool(self.config.booster.get("ndcg_exp_gain", True)),
        )
        self.data[role] = DataSummary(
            matrix.rows, matrix.features.shape[1], matrix.feature_names, matrix.fingerprint
        )
        self._check_same_features(role)
        if self.computed:
            self.truths[role] = self._truth(matrix)
        xgb = library()
        common = {"label": matrix.label, "weight": matrix.weight, "nthread": compute.threads}
        if _is_binned(self.config.booster):
            self.matrices[role] = xgb.QuantileDMatrix(
                matrix.features,
                max_bin=self.config.booster.get("max_bin", 256),
                ref=self.matrices.get("train"),
                **common,
            )
        else:
            self.matrices[role] = xgb.DMatrix(matrix.features, **common)

    def _check_same_features(self, role: str) -> None:
        train, other = self.data["train"], self.data[role]
        if other.features != train.features:
            raise DataError(
                f"Channel {role}: {other.features} features, but train has {train.features}",
                "Give both channels the same columns: the label first, then the same features.",
            )
        if other.feature_names != train.feature_names and other.feature_names is not None:
            pairs = zip(other.feature_names, train.feature_names or (), strict=False)
            found, expected = next((p for p in pairs if p[0] != p[1]), ("names", "none"))
            raise DataError(
                f"Channel {role}: feature {found!r} stands where train has {expected!r}",
                "Give both channels the same columns in the same order.",
            )

    def _truth(self, matrix: Matrix) -> computed.Truth:
        classes = self.config.num_class if self.config.objective.startswith("multi:") else 2
        weight = None if matrix.weight is None else matrix.weight.astype(np.float64)
        return computed.Truth(matrix.label.astype(np.float64), weight, classes or 2)

    def _score(self, booster: xgb.Booster, index: int) -> dict[str, dict[str, float]]:
        """Return the scores of every data set: XGBoost's metrics first, then ours."""
        evals = [(matrix, role) for role, matrix in self.matrices.items()]
        scores: dict[str, dict[str, float]] = {role: {} for role in self.matrices}
        for part in booster.eval_set(evals, index).split("\t")[1:]:
            name, value = part.rsplit(":", 1)
            role, metric = name.split("-", 1)
            scores[role][self.printed.get(metric, metric)] = float(value)
        if self.computed:
            for role, matrix in self.matrices.items():
                prediction = booster.predict(matrix)
                scores[role] |= computed.evaluate(
                    self.computed, self.config.objective, prediction, self.truths[role]
                )
        return scores


class _BestBySlice:
    """The best model as the first rounds of the last one: a tree never changes once grown."""

    def __init__(self, booster: xgb.Booster) -> None:
        self._booster = booster
        self._rounds = 0

    def note(self, index: int) -> None:
        """Round ``index`` is the best so far."""
        self._rounds = index + 1

    def model(self) -> xgb.Booster:
        """Return the model as it was after the best round."""
        return self._booster[: self._rounds]


class _BestByCopy:
    """The best model as a copy: dropout rescales earlier trees, so a slice is another model.

    A copy for each improvement makes the cost grow with the square of the rounds, as the cost
    of dropout itself does.
    """

    def __init__(self, booster: xgb.Booster) -> None:
        self._booster = booster
        self._best = booster

    def note(self, index: int) -> None:
        """Round ``index`` is the best so far."""
        self._best = self._booster.copy()

    def model(self) -> xgb.Booster:
        """Return the model as it was after the best round."""
        return self._best


def _metric(name: str) -> names.Metric:
    metric = names.lookup(name)
    if metric is None:  # XGBoost's own default under a name the catalogue does not have
        raise AlgorithmError(
            f"XGBoost reports a metric {name!r} that is not known here",
            "Name the metric to follow in eval_metric.",
        )
    return metric


def _drops_out(booster: Mapping[str, Any]) -> bool:
    """Whether trees are dropped and rescaled: by name, or by a rate with the usual booster."""
    rates = ("rate_drop", "one_drop", "skip_drop")
    return booster.get("booster") == "dart" or any(booster.get(name) for name in rates)


def _is_binned(booster: Mapping[str, Any]) -> bool:
    """Whether training works on quantile bins alone and needs no raw values."""
    return (
        booster.get("booster", "gbtree") != "gblinear"
        and booster.get("tree_method", "auto") in ("auto", "hist")
        and "updater" not in booster
    )


def library() -> Any:
    """Import XGBoost without the libraries that only its scikit-learn interface needs.

    Importing it where scikit-learn and pandas are installed imports both, 0.9 s of CPU of the
    1.2 s; it is made to work without them, so they are hidden for the time of the import and
    can be imported as usual afterwards.
    """
    with _hidden("sklearn", "pandas", "xgboost.plotting"):
        import xgboost
    return xgboost


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    added = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(added))  # type: ignore[arg-type]  # None: "not there"
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


@contextmanager
def _xgboost_errors() -> Iterator[None]:
    """Turn XGBoost's errors into ours: its sentence without its C++ stack."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] != "xgboost":
            raise
        sentence = str(error).split("Stack trace:")[0].split("Check failed: ")[-1]
        raise AlgorithmError(
            f"XGBoost refused: {' '.join(sentence.split())}",
            "Compare the hyperparameters and the labels with docs/hyperparameters.md; "
            "the log has the full message.",
        ) from error
