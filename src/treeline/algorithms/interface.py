"""What an algorithm is: a module with ``fit``, ``notes``, ``predict``, ``save`` and ``load``.

``trainer`` and ``cross_validation`` know nothing of an algorithm but these functions and the
values here.

    fit(data, config, compute, loaded, on_round, stop_requested, earlier, keep, stage) -> Fitted
    notes(schema, config) -> lines for the log
    predict(model, features) -> (rows,), or (rows, classes)
    save(model) -> bytes
    load(file) -> model
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from treeline.checkpoints.stage import NOWHERE, Stage
from treeline.data.matrix import Matrix

if TYPE_CHECKING:
    from treeline.compute import Compute
    from treeline.data.matrix import Schema
    from treeline.hyperparameters import Config
    from treeline.metrics.log import Scores

Predictions = NDArray[np.float32]
# Called after every round: its 0-based number, the scores, and whether an earlier start of the job
# trained it and these are the scores of then.
type OnRound = Callable[[int, Scores, bool], None]


@dataclass(frozen=True)
class Loaded:
    """A data set read into a matrix, and whether its bins have to stand on disk.

    ``matrix`` has the rows that this worker read. Where it is not alone, ``everyone`` has the
    rows of all workers by rank, all but their features, and ``numbers`` (rows,) says where this
    worker's rows stand among them.
    """

    matrix: Matrix
    on_disk: bool = False
    everyone: Matrix | None = None
    numbers: NDArray[np.int64] | None = None

    @property
    def all(self) -> Matrix:
        """The rows of all workers; their features only where this one is alone."""
        return self.matrix if self.everyone is None else self.everyone


class Data(Protocol):
    """The data sets to train on and to score, read one at a time when they are asked for."""

    @property
    def roles(self) -> Sequence[str]:
        """Their names, ``train`` first."""

    @property
    def scored_each_round(self) -> Sequence[str]:
        """Those to score after every round; the others are scored once, on the final model."""

    def load(self, role: str) -> Loaded:
        """Read one; to be called once for each, in order."""


@dataclass(frozen=True)
class Fitted:
    """A trained model and the scores of exactly that model.

    ``last_round`` (0-based, the rounds of an earlier model counted) is the round the model ends
    with and ``rounds_trained`` how many were boosted. A forest's only round is 0, and its
    ``rounds_trained`` is the number of its trees.
    ``objective_metric`` is written ``validation:rmse``. ``outcome`` is completed, early_stopped
    or terminated. ``predictions`` are those of the model for the data sets that ``fit`` was told
    to keep, by role: (rows,), or (rows, outputs).
    """

    model: Any
    last_round: int
    rounds_trained: int
    scores: Scores
    objective_metric: str
    objective_value: float
    outcome: str
    predictions: Mapping[str, Predictions] = field(default_factory=dict)


class Algorithm(Protocol):
    """The functions of an algorithm's module."""

    def fit(
        self,
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
        """Train on ``data``'s train and score train and validation after every round.

        Each data set is loaded once. ``loaded`` is called when all of them are, ``on_round``
        after each round. ``earlier`` is a saved model to go on from. Rounds that ``stage`` has
        are not trained again, and those that are trained are kept there.
        """

    def notes(self, schema: Schema, config: Config) -> tuple[str, ...]:
        """Return what a person should know of how such data will be learned, a line each."""

    def predict(self, model: Any, features: Any) -> Predictions:
        """Return the predictions for ``features`` (rows, columns)."""

    def save(self, model: Any) -> bytes:
        """Return the model as bytes that ``load`` reads on any machine."""
