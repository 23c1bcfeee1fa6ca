"""Early stopping: which round is best so far, and when to give up waiting for a better one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """Follows one metric, called ``name``, for ``patience`` rounds without a better score.

    A score has to be strictly better to count, and nan never is; as in ``xgboost.callback``,
    except that any number is better than a nan in the first round.
    """

    patience: int
    maximize: bool
    name: str = ""
    best_round: int = 0
    best_score: float = float("nan")

    def improved(self, index: int, score: float) -> bool:
        """Note the score of round ``index``; return whether it is the best so far."""
        better = score > self.best_score if self.maximize else score < self.best_score
        if self.best_score != self.best_score:  # nan: nothing to compare with yet
            better = score == score
        if better:
            self.best_round, self.best_score = index, score
        return better

    def exhausted(self, index: int) -> bool:
        """Return whether training should end after round ``index``."""
        return index - self.best_round >= self.patience
