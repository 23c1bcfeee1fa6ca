"""XGBoost by one worker or several: fit, predict, save, load.

The boosting loop is XGBoost's own (``xgboost.train``) with the listeners taken out: it hands
every round's scores to one function and looks at one flag. Trees, and so models, are byte for
byte those of ``xgboost.train`` with the same parameters and the same matrix.

Workers of a team train one model, each on its own rows: XGBoost adds up their histograms, the
cuts are those of all rows (``shared_cuts``), and so are the scores (``shared_scores``). All of
them take every step, and every decision is the same on each.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from treeline.algorithms import binning, model_parts, quick, shared_cuts, shared_scores
from treeline.algorithms.early_stopping import EarlyStopping
from treeline.algorithms.interface import Data, Fitted, Loaded, OnRound
from treeline.algorithms.library import library
from treeline.checkpoints.stage import NOWHERE, Restored, Stage
from treeline.data.matrix import Matrix
from treeline.data.records import Floats
from treeline.errors import AlgorithmError, ChannelError, DataError, Stopped, TeamError
from treeline.hyperparameters import Config
from treeline.metrics import computed, names
from treeline.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xgboost as xgb

    from treeline.compute import Compute
    from treeline.data.matrix import Schema
    from treeline.metrics.log import Scores


_COLUMN_SHARES = ("colsample_bytree", "colsample_bylevel", "colsample_bynode")
# The files of its sources that XGBoost names where an exchange with other workers has failed.
_COLLECTIVE = re.compile(r"\[(coll|comm|broadcast|all\w+)\w*\.(cc|h)[:|]")


def fit(
    data: Data,
    config: Config,
    compute: Compute,
    loaded: Callable[[], None],
    on_round: OnRound,
    stop_requested: Callable[[], bool],
    earlier: bytes | None = None,
    keep: Sequence[str] = (),
    stage: Stage = NOWHERE,
) -> Fitted:
    """Train on ``data``'s train, scoring train and validation after every round.

    Each data set is loaded once and its matrix dropped as soon as XGBoost has binned it, so at
    most one of them is in memory unbinned. ``earlier`` is a saved model to add rounds to;
    ``keep`` are the data sets whose predictions are wanted, ``stage`` has the rounds of an earlier
    start and keeps those of this one. Raises ``DataError`` for data that the
    objective cannot use, ``AlgorithmError`` for what XGBoost itself refuses, and ``Stopped`` if
    asked to stop when there is nothing to keep. All workers of ``compute.team`` call it alike; the
    predictions are those of each worker's own rows, the scores those of all.
    """
    with xgboost_errors(), ExitStack() as scratch:
        training = _Training(data, config, compute, earlier, scratch)
        scratch.callback(training.matrices.clear)  # before the folders of bins on disk go
        loaded()
        return training.run(on_round, lambda: compute.team.any(stop_requested()), keep, stage)


def notes(schema: Schema, config: Config) -> tuple[str, ...]:
    """Return what a person should know of how such data will be learned: nothing."""
    return ()


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

    def __init__(
        self,
        data: Data,
        config: Config,
        compute: Compute,
        earlier: bytes | None,
        scratch: ExitStack,
    ) -> None:
        self.config = config
        self.team = compute.team
        called = config.computed_as.values()
        self.native = [name for name in called if _metric(name).native]
        self.computed = [name for name in called if not _metric(name).native]
        self.printed = {name: asked for asked, name in config.computed_as.items()}
        self.not_summed = shared_scores.not_summed(self.native, config.objective, self.team)
        self.whole: dict[str, shared_scores.Native] = {}
        self.ours: dict[str, shared_scores.Computed] = {}
        self.matrices: dict[str, xgb.DMatrix] = {}
        self.logloss: quick.TrainLogloss | None = None
        self.scored = [role for role in data.roles if role in data.scored_each_round]
        parameters: dict[str, Any] = {**config.booster, "nthread": compute.threads_each}
        parameters["device"] = compute.device
        summed = [name for name in self.native if name not in self.not_summed]
        if summed:
            parameters["eval_metric"] = summed
        self.parameters = parameters
        self.base_score: str | None = None
        for role in data.roles:
            self._bin(role, data.load(role), compute, scratch)
        self.start = 0 if earlier is None else self._check_earlier(earlier)
        self.earlier = earlier
        self.stopping: EarlyStopping | None = None
        self.bias_lost = False

    def run(
        self,
        on_round: OnRound,
        stop_requested: Callable[[], bool],
        keep: Sequence[str],
        stage: Stage,
    ) -> Fitted:
        """Boost round by round; return the model to save and its scores."""
        before = stage.restore(self.config.num_round, binning.cuts_digest(self.matrices["train"]))
        self.booster = self._booster(before)
        best = _Best(self.booster, self.parameters, before)
        known, left = before.rounds, before.scores
        del before  # the bytes of the rounds are in the booster now

        def sections(first: int, end: int) -> Mapping[str, bytes]:
            return {**self._rounds(first, end), **best.sections()}

        if not known and stop_requested():
            raise Stopped
        outcome, index = "completed", self.start
        for done in range(1, self.config.num_round + 1):
            index, restored = self.start + done - 1, done <= known
            scores = self._round(index, left[done - 1 : done] if restored else None)
            ended = scores is not None and self._follow(index, scores, restored, on_round, best)
            if not restored:
                stage.keep(done, scores, sections)
            if ended:
                outcome = "early_stopped"
                break
            if known <= done < self.config.num_round and stop_requested():
                outcome = "terminated"
                break
        stage.flush(sections)
        self._check_wanted(outcome)
        stopping = self.stopping
        booster, last = self.booster, index
        if stopping is not None:
            self._check_followed(stopping, index + 1 - self.start)
            if stopping.best_round != index:
                booster, last = best.model(), stopping.best_round
        self._check_agreed(booster)
        # Measured on the model that is saved, not remembered from the round.
        scores = self._score(booster, last, self.matrices)
        data, metric = self.config.followed(scores)
        if stopping is not None:  # as xgboost.callback.EarlyStopping leaves them
            booster.set_attr(best_iteration=str(last), best_score=str(stopping.best_score))
        return Fitted(
            model=booster,
            last_round=last,
            rounds_trained=index + 1 - self.start,
            scores=scores,
            objective_metric=f"{data}:{metric}",
            objective_value=scores[data][metric],
            outcome=outcome,
            predictions={role: booster.predict(self.matrices[role]) for role in keep},
        )

    def _booster(self, before: Restored) -> xgb.Booster:
        """Return the booster to train: a new one, the earlier job's, or the rounds restored."""
        cache = [self.matrices[role] for role in dict.fromkeys(("train", *self.scored))]
        booster: xgb.Booster
        if before.rounds:
            parts, weights = (
                [part["model"] for part in before.parts],
                before.parts[-1].get("weights"),
            )
            booster = model_parts.booster(parts, self.parameters, cache, weights)
        else:
            model = None if self.earlier is None else bytearray(self.earlier)
            booster = library().Booster(self.parameters, cache, model_file=model)
        goes_on = before.rounds > 0 or self.earlier is not None
        if goes_on:
            self.base_score = None
        if self.base_score is not None:
            booster.set_param({"base_score": self.base_score})
        self.bias_lost = goes_on and bool(self.parameters.get("lambdarank_unbiased"))
        # What an earlier model says of its own training and columns is not true of this one.
        booster.set_attr(best_iteration=None, best_score=None)
        booster.feature_names = booster.feature_types = None
        if not self.team.alone:  # XGBoost does not take them over from a worker without rows
            booster.feature_types = cache[0].feature_types
        return booster

    def _rounds(self, first: int, end: int) -> Mapping[str, bytes]:
        """Return some rounds as a model: the first have those of the earlier model before them."""
        if self.config.booster.get("booster") == "gblinear":  # has no trees to take some of
            return {"model": save(self.booster)}
        begin = self.start + first if first else 0
        return {"model": save(self.booster[begin : self.start + end])}

    def _round(self, index: int, restored: Sequence[Scores] | None) -> Scores | None:
        """Train a round that is not ``restored``; return its scores, None where it has none."""
        if restored is not None:
            return next(iter(restored), None)
        # Biases are no part of a model, and XGBoost accepts a round without them only as the first.
        self.booster.update(self.matrices["train"], 0 if self.bias_lost else index)
        self.bias_lost = False
        if self.base_score is not None:
            # As if XGBoost had found it by itself: the model says so.
            self.booster.set_param({"boost_from_average": 1})
            self.base_score = None
        return self._score_round(index) if self.scored else None

    def _check_wanted(self, outcome: str) -> None:
        """Raise ``Stopped`` if nobody wants a model with fewer rounds than it should have."""
        if outcome == "terminated" and not self.config.save_model_on_termination:
            raise Stopped

    def _follow(
        self, index: int, scores: Scores, restored: bool, on_round: OnRound, best: _Best
    ) -> bool:
        """Tell the scores of a round; return whether early stopping ends with it."""
        on_round(index, scores, restored)
        if not self.config.early_stopping_rounds:
            return False
        data, metric = self.config.followed(scores)
        if self.stopping is None:
            patience, maximize = self.config.early_stopping_rounds, _metric(metric).maximize
            self.stopping = EarlyStopping(patience, maximize, f"{data}-{metric}")
        if self.stopping.improved(index, scores[data][metric]):
            best.note(index, restored=restored)
        return self.stopping.exhausted(index)

    def _check_followed(self, stopping: EarlyStopping, rounds: int) -> None:
        if np.isnan(stopping.best_score):
            raise DataError(
                f"{stopping.name} was not a number in any of {rounds} rounds, so "
                "early_stopping_rounds has nothing to follow",
                "Check the labels (auc, for one, needs rows of every class), or name another "
                "metric last in eval_metric.",
            )

    def _check_agreed(self, booster: xgb.Booster) -> None:
        """Raise ``AlgorithmError`` if the workers have not come to the same model."""
        if self.team.alone:
            return
        digests = self.team.gather(hashlib.blake2b(save(booster), digest_size=16).hexdigest())
        differ = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        if differ:
            raise AlgorithmError(
                f"the workers have trained different models: that of worker {differ[0]} is not "
                "that of worker 0",
                "Train on one machine, with compute=singleCPU.",
            )

    def _bin(self, role: str, loaded: Loaded, compute: Compute, scratch: ExitStack) -> None:
        """Give a data set to XGBoost, which keeps only its bins."""
        matrix, booster = loaded.matrix, self.config.booster
        if not self.team.alone:
            self._check_shares(role, loaded)
        if self.computed:
            truth = self._truth(loaded.all) if self.team.leads else None
            self.ours[role] = shared_scores.Computed(truth, self.config.objective, self.team)
        # Not looked at where it is not used.
        label = loaded.all.label if role == "train" and role in self.scored else None
        suits = quick.suits(self.config.objective, self.native, booster, label)
        if suits and matrix.label is not None:
            self.logloss = quick.TrainLogloss(matrix.label, matrix.weight, self.team)
        folder = scratch_folder("bins") if loaded.on_disk else None
        how = binning.Binning(
            quantile=binning.is_quantile(booster),
            ranking=self.config.objective.startswith("rank:"),
            max_bin=int(booster.get("max_bin", 256)),
            threads=compute.threads,
            disk=None if folder is None else Path(scratch.enter_context(folder)),
        )
        if self.not_summed:
            self.whole[role] = shared_scores.Native(
                loaded.all, how, self.not_summed, self.parameters, self.team
            )
        reference = self.matrices.get("train")
        if reference is None and how.quantile and not self.team.alone:
            reference = shared_cuts.reference(matrix, loaded.all, how, self.team)
        if role == "train" and not self.team.alone:
            everyone = loaded.all
            self.base_score = shared_scores.base_score(everyone, how, self.parameters, self.team)
        self.matrices[role] = binning.to_dmatrix(matrix, how, reference)

    def _check_shares(self, role: str, loaded: Loaded) -> None:
        """Refuse rows that this objective cannot use where they are divided among workers."""
        matrix, rows = loaded.matrix, self.team.gather(loaded.matrix.rows)
        alone = "Set compute=singleCPU, which trains on one worker."
        if self.config.objective == "reg:absoluteerror" and role == "train" and 0 in rows:
            raise DataError(
                f"{role}: worker {rows.index(0)} of {len(rows)} has no rows, and "
                "objective=reg:absoluteerror needs some on each",
                f"Use fewer workers. {alone}",
            )
        booster = self.config.booster
        draws = [name for name in _COLUMN_SHARES if float(booster.get(name, 1)) < 1]
        if draws and float(booster.get("subsample", 1)) < 1 and role == "train" and 0 in rows:
            # It would draw columns other than the others, because it draws no rows before.
            raise DataError(
                f"{role}: worker {rows.index(0)} of {len(rows)} has no rows to draw subsample "
                f"from, and {draws[0]} has to be drawn alike on all workers",
                f"Use fewer workers, or files that can be divided. {alone}",
            )
        if not self.config.objective.startswith("rank:"):
            return
        if matrix.group is None:
            raise DataError(
                f"{role}: no group_column and no qid, so all rows are one query, which cannot be "
                "divided among workers",
                f"Say which rows are a query, with group_column or qid. {alone}",
            )
        means = [mean for mean in self.team.gather(_mean_weight(matrix)) if mean is not None]
        if not np.allclose(means, means[:1], rtol=1e-6):
            raise DataError(
                f"{role}: the queries of worker 0 have a mean weight of {means[0]:g}, those of "
                f"another {max(means, key=lambda mean: abs(mean - means[0])):g}; XGBoost weighs "
                "the queries of each worker by themselves",
                f"{alone} Or leave the weights out.",
            )

    def _check_earlier(self, earlier: bytes) -> int:
        """Refuse a damaged model, or one of other data or another objective; return its rounds."""
        # By itself: given this job's parameters, it would report the job's objective as its own.
        model = _earlier_model(earlier)
        learner = json.loads(model.save_config())["learner"]
        found = {
            "features": model.num_features(),
            "objective": learner["objective"]["name"],
            "classes": int(learner["learner_model_param"]["num_class"]),
            "booster": learner["gradient_booster"]["name"],
        }
        kind = "gblinear" if self.config.booster.get("booster") == "gblinear" else None
        asked = {
            "features": self.matrices["train"].num_col(),
            "objective": self.config.objective,
            "classes": self.config.num_class or 0,
            "booster": kind or str(self.config.booster.get("booster", "gbtree")),
        }
        for what, value in found.items():
            if value != asked[what]:
                raise ChannelError(
                    f"Channel model: the earlier model has {what} {value}, this job {asked[what]}",
                    "Training goes on from a model of the same objective and the same features; "
                    "leave the channel out to start anew.",
                )
        return int(model.num_boosted_rounds())

    def _truth(self, matrix: Matrix) -> computed.Truth:
        classes = self.config.num_class if self.config.objective.startswith("multi:") else 2
        weight = None if matrix.weight is None else matrix.weight.astype(np.float64)
        if matrix.label is None:
            raise AssertionError("a metric of ours for an objective without labels")
        return computed.Truth(matrix.label.astype(np.float64), weight, classes or 2)

    def _score_round(self, index: int) -> dict[str, dict[str, float]]:
        """Return the scores after a round, train's logloss the quick way if that is all of it."""
        if self.logloss is None:
            return self._score(self.booster, index, self.scored)
        margin = self.booster.predict(self.matrices["train"], output_margin=True)
        name = self.printed.get(self.logloss.name, self.logloss.name)
        logloss = {name: self.logloss.of(margin)}
        others = [role for role in self.scored if role != "train"]
        scores = {"train": logloss, **self._native_scores(self.booster, index, others)}
        return self._with_computed(scores, self.booster)

    def _score(
        self, booster: xgb.Booster, index: int, roles: Iterable[str]
    ) -> dict[str, dict[str, float]]:
        """Return the scores of the data sets: XGBoost's metrics first, then ours."""
        return self._with_computed(self._native_scores(booster, index, roles), booster)

    def _native_scores(
        self, booster: xgb.Booster, index: int, roles: Iterable[str]
    ) -> dict[str, dict[str, float]]:
        scores: dict[str, dict[str, float]] = {role: {} for role in roles}
        evals = [(self.matrices[role], role) for role in scores]
        if self.not_summed and self.not_summed == self.native:
            evals = []
        for part in booster.eval_set(evals, index).split("\t")[1:] if evals else ():
            name, value = part.rsplit(":", 1)
            role, metric = name.split("-", 1)
            scores[role][self.printed.get(metric, metric)] = float(value)
        return {role: self._with_whole(booster, role, found) for role, found in scores.items()}

    def _with_whole(
        self, booster: xgb.Booster, role: str, summed: dict[str, float]
    ) -> dict[str, float]:
        """Add what XGBoost does not compute of all workers' rows, where it belongs."""
        if not self.not_summed:
            return summed
        found = self.whole[role].of(booster.predict(self.matrices[role], output_margin=True))
        values = {**summed, **{self.printed.get(name, name): v for name, v in found.items()}}
        return {name: values[name] for name in (self.printed.get(n, n) for n in self.native)}

    def _with_computed(
        self, scores: dict[str, dict[str, float]], booster: xgb.Booster
    ) -> dict[str, dict[str, float]]:
        if self.computed:
            for role, found in scores.items():
                prediction = booster.predict(self.matrices[role])
                found |= self.ours[role].of(self.computed, prediction)
        return scores


class _Best:
    """The model as it was after its best round, for early stopping.

    A tree never changes once grown, so it is the first rounds of the last model; but dropout
    weighs earlier trees anew in every round, and their weights of then are kept beside.
    """

    def __init__(
        self, booster: xgb.Booster, parameters: Mapping[str, Any], restored: Restored
    ) -> None:
        self._booster = booster
        self._parameters = parameters
        self._drops_out = _drops_out(parameters)
        self._rounds = 0
        self._weights = restored.parts[-1].get("best") if restored.parts else None

    def note(self, index: int, *, restored: bool) -> None:
        """Round ``index`` is the best so far."""
        self._rounds = index + 1
        if self._drops_out and not restored:
            self._weights = model_parts.weights(save(self._booster))

    def model(self) -> xgb.Booster:
        """Return the model as it was after the best round."""
        best: xgb.Booster = self._booster[: self._rounds]
        if self._weights is not None:
            best = model_parts.booster([save(best)], self._parameters, weights=self._weights)
        return best

    def sections(self) -> Mapping[str, bytes]:
        """Return what a checkpoint needs besides the trees."""
        if not self._drops_out:
            return {}
        found = {"weights": model_parts.weights(save(self._booster)), "best": self._weights}
        return {name: weights for name, weights in found.items() if weights is not None}


def _mean_weight(matrix: Matrix) -> float | None:
    """Return the mean weight of the queries; None where there are none."""
    if matrix.group is None or matrix.weight is None or not matrix.rows:
        return None
    firsts = np.flatnonzero(np.diff(matrix.group, prepend=-1))
    return float(np.mean(matrix.weight[firsts], dtype=np.float64))


def _earlier_model(content: bytes) -> xgb.Booster:
    try:
        booster: xgb.Booster = library().Booster(model_file=bytearray(content))
    except Exception as error:
        # Also where its message quotes the damaged bytes and so is no text itself.
        if not _is_xgboosts(error) and not isinstance(error, UnicodeDecodeError):
            raise
        raise ChannelError(
            f"Channel model: XGBoost cannot load the earlier model: {_sentence(error)}",
            "Upload the model again, whole, as XGBoost's save_model wrote it; or leave the channel "
            "out to start anew.",
        ) from error
    return booster


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


@contextmanager
def xgboost_errors() -> Iterator[None]:
    """Turn XGBoost's errors into ours: its sentence without its C++ stack."""
    try:
        yield
    except Exception as error:
        if not _is_xgboosts(error):
            raise
        if _COLLECTIVE.search(str(error)):
            raise TeamError(_sentence(error)) from error
        raise AlgorithmError(
            f"XGBoost refused: {_sentence(error)}",
            "Compare the hyperparameters and the labels with docs/hyperparameters.md; "
            "the log has the full message.",
        ) from error


def _is_xgboosts(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] == "xgboost"


def _sentence(error: Exception) -> str:
    """Return what XGBoost says, without where in its sources it says it."""
    sentence = str(error).split("Stack trace:")[0].split("Check failed: ")[-1]
    return re.sub(r"^\[[0-9:]+\] \S+: ", "", " ".join(sentence.split())).rstrip(" :")
