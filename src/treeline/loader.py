"""The job's data sets, read one at a time: encoded, checked against each other, audited.

Everything that can be wrong with data is found here, before the first round is boosted.
"""

from __future__ import annotations

import platform
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from treeline import memory
from treeline.algorithms import binning, labels
from treeline.algorithms.interface import Loaded
from treeline.data import audit, dealing, everyone, matrix, reading
from treeline.data.records import Csr
from treeline.data.storage import is_spooled
from treeline.errors import DataError, HyperparameterError, ResourceError, shortened
from treeline.metrics import computed
from treeline.metrics.names import OBJECTIVES
from treeline.team import ALONE, Team

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from treeline.algorithms.labels import Classes
    from treeline.data.channel import Dataset
    from treeline.data.matrix import Matrix, Schema
    from treeline.hyperparameters import Config
    from treeline.stopping import StopRequest


@dataclass(frozen=True)
class Summary:
    """What is worth remembering of a data set once XGBoost has binned it."""

    rows: int
    fingerprint: str


@dataclass(frozen=True)
class Voice:
    """Where lines go: ``line`` for what is worth knowing, ``warning`` for what is worth a look."""

    line: Callable[[str], None]
    warning: Callable[[str], None]


class Loader:
    """Reads the data sets of a job in order; ``train`` is first and settles the schema.

    The workers of a ``team`` each have a loader, with their own shares in ``datasets`` and their
    own ``limit`` of memory; they call its methods in the same order, and what one of them finds
    of all rows, decides or refuses, all do.
    """

    scored_each_round: Sequence[str] = ("train", "validation")

    def __init__(
        self,
        datasets: Mapping[str, Dataset],
        config: Config,
        threads: int,
        voice: Voice,
        stop: StopRequest,
        limit: int | None,
        schema: Schema | None = None,
        classes: Classes | None = None,
        team: Team = ALONE,
    ) -> None:
        self.roles: Sequence[str] = tuple(datasets)
        self.schema = schema
        self.classes = classes
        self.data: dict[str, Summary] = {}
        self._datasets = datasets
        self._config = config
        self._threads = threads
        self._voice = voice
        self._stop = stop
        self._team = team
        limits = [each for each in team.gather(limit) if each is not None]
        self._limit = min(limits, default=None)
        self._parts: dict[str, audit.Part] = {}
        self._on_disk = False
        # Bytes that are taken beside the data set at hand: by libraries, and others binned already.
        self._held = memory.SKLEARN if config.cv is not None or self._by_sklearn else 0
        self._besides = self._held  # and beside all rows, where a worker gets those of the others

    def load(self, role: str) -> Loaded:
        """Read one data set; raises ``DataError`` for what the job cannot use."""
        team, config = self._team, self._config
        found = reading.read(
            self._datasets[role],
            config.data,
            self._threads,
            schema=self.schema,
            limits=self._limits(),
            check=self._stop.check,
            team=team,
        )
        for note in found.notes:
            self._voice.line(note if note.startswith(f"{role}/") else f"{role}: {note}")
        if self.schema is not None:  # that of train, or of an earlier model for train itself
            matrix.check_same_features(self.schema, found, role)
        rows, numbers = everyone.whole(found, team), None
        classes = labels.encode(rows, config.objective, config.num_class, self.classes, role)
        self._check(rows, role)
        if role == "train":
            self.schema, self.classes = rows.schema, classes
            self._describe(rows)
        if not team.alone:
            found, numbers = self._settled(role, found, rows)
        if role == "train":
            self._on_disk = self._decide(found, rows)
        self.data[role] = Summary(rows.rows, rows.fingerprint)
        # Folds are drawn by the rows' hashes, later.
        hashes = rows.hashes if config.cv else rows.take_hashes()
        if team.leads:  # who reports
            self._parts[role] = self._part(rows, hashes)
        return Loaded(found, self._on_disk, None if numbers is None else rows, numbers)

    def _settled(self, role: str, found: Matrix, rows: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
        """Return this worker's rows as it trains on them, and their numbers among ``rows``."""
        ranking = self._config.objective.startswith("rank:")
        if ranking and rows.group is not None:
            matrix.group_sizes(rows)
        read = self._team.gather(found.rows)
        found, numbers = dealing.leveled(found, rows, self._team, whole_groups=ranking)
        have = self._team.gather(found.rows)
        if max(have) < max(read):
            self._voice.line(
                f"{role}: rows dealt anew, because the workers have read {min(read):,} to "
                f"{max(read):,} each: they train on {min(have):,} to {max(have):,}"
            )
        return found, numbers

    def report(self, folder: Path, folds: audit.Report | None = None) -> None:
        """Compare the data sets with each other, write the report, say what was found.

        ``folds`` is what was found of the rows' division. Raises ``DataError`` for rows or groups
        in two places with ``leakage=fail``; the report is written all the same. The first worker
        does that for all.
        """
        if not self._team.leads:
            return
        report = audit.report(self._parts, self._config.data.leakage)
        self._parts.clear()
        if folds is not None:
            report = report.with_folds(folds)
        audit.write(folder, report)
        audit.refuse(report, self._config.data.leakage)
        for finding in report.findings:
            (self._voice.warning if finding.warning else self._voice.line)(finding.text)

    def _limits(self) -> reading.Limits:
        limit = self._limit
        if limit is None:
            return reading.Limits()
        outputs, trees, held = outputs_of(self._config), self._trees(), self._held
        kept = self._config.cv is not None
        return reading.Limits(
            budget=lambda columns: memory.row_budget(
                columns, outputs, limit, held=held, trees=trees, kept=kept
            ),
            spilled=lambda rows: self._voice.line(
                f"rows are kept in a temporary file after the first {rows:,}: more would not fit "
                f"into {memory.size(limit)} of memory"
            ),
            sparse_bytes=limit // 2,
        )

    def _trees(self, missing: float | None = None) -> memory.Trees:
        booster, forest = self._config.booster, self._config.forest
        if self._config.is_forest:
            return memory.Trees(
                max_bin=forest.n_bins or 256,
                missing=missing,
                max_depth=forest.max_depth,
                max_leaves=forest.max_leaves or 0,
            )
        return memory.Trees(
            max_bin=int(booster.get("max_bin", 256)),
            missing=missing,
            max_depth=int(booster.get("max_depth", 6)),
            max_leaves=int(booster.get("max_leaves", 0)),
            max_cached_hist_node=int(booster.get("max_cached_hist_node", 1 << 16)),
        )

    def _check(self, found: Matrix, role: str) -> None:
        config = self._config
        if config.objective == "survival:aft" and found.lower is None:
            raise DataError(
                f"{found.origin.of(0)}: survival:aft needs label_lower_bound_column and "
                "label_upper_bound_column, which this format cannot give",
                "Give the data as CSV or Parquet.",
            )
        metrics = config.computed_as.values()
        labels.check(
            found,
            config.objective,
            config.num_class,
            classes_only=any(m in computed.CLASSIFICATION for m in metrics),
            exp_gain=bool(config.booster.get("ndcg_exp_gain", True)),
        )
        if role == "train":
            labels.check_several(found, config.objective)
            self._check_constraints(found.schema)
        if config.objective.startswith("rank:") and found.group is None:
            self._voice.warning(
                f"{role}: no group_column and no qid, so all {found.rows} rows are one query"
            )
        if found.schema.categories and not binning.is_quantile(config.booster):
            self._refuse_categories(found)

    def _check_constraints(self, schema: Schema) -> None:
        """Refuse constraints on features that the data does not have."""
        for name in ("monotone_constraints", "interaction_constraints"):
            text = str(self._config.booster.get(name, ""))
            numbers = [int(number) for number in re.findall(r"-?\d+", text)]
            last = len(numbers) - 1 if name == "monotone_constraints" else max(numbers, default=-1)
            if last >= schema.features:
                raise HyperparameterError(
                    f"Hyperparameter {name}: found {shortened(text, 80)}, which names feature "
                    f"{last}, but {schema.origin} has {schema.features} feature(s), counted from 0",
                    "Correct it; label, weight and ignored columns are no features.",
                )

    def _refuse_categories(self, found: Matrix) -> None:
        booster = self._config.booster
        if booster.get("booster") != "gblinear" and booster.get("tree_method") == "approx":
            return
        position, texts = min(found.schema.categories.items())
        shown = ", ".join(shortened(repr(text), 40) for text in texts[:3])
        raise HyperparameterError(
            f"{found.origin.names[0]}: {found.schema.feature(position)} is categorical ({shown}), "
            "which only trees with tree_method auto, hist or approx can split",
            "Choose one of them, encode the column as numbers, or name it in ignore_columns.",
        )

    def _describe(self, found: Matrix) -> None:
        schema = found.schema
        text = f"train: {found.rows} rows, {schema.features} features"
        if schema.categories:
            named = ", ".join(schema.feature(j) for j in sorted(schema.categories)[:4])
            more = ", …" if len(schema.categories) > 4 else ""
            text += f", {len(schema.categories)} of them categorical ({named}{more})"
        layout = schema.layout
        if layout is not None:
            parts = (f"{part} in {layout.column(i)}" for part, i in layout.special.items())
            text += f"; {', '.join(parts)}"
        self._voice.line(text)
        if self.classes is not None:
            shown = ", ".join(f"{i} = {each}" for i, each in enumerate(self.classes[:8]))
            more = f" and {len(self.classes) - 8} more" if len(self.classes) > 8 else ""
            self._voice.line(f"train: classes of the label: {shown}{more}")

    def _decide(self, found: Matrix, all_rows: Matrix) -> bool:
        """Return whether the bins have to stand on disk; raises ``ResourceError``."""
        rows, columns = self._at_hand(found.rows), all_rows.schema.features
        if not binning.is_quantile(self._config.booster):
            if not isinstance(found.features, Csr):
                memory.require_raw(rows, columns, self._limit)
            return False
        if isinstance(found.features, Csr) and not self._config.data.external_memory:
            return False  # the bounds are those of dense data
        in_file = self._team.any(is_spooled(found.features))
        raw = 0 if in_file else memory.raw_bytes(rows, columns)
        self._besides = self._held + raw
        # What the raw rows hold for as long as the job trains: nothing without folds.
        kept = 0 if self._config.cv is None else raw
        self._held += kept
        if self._by_sklearn:
            self._check_forest(rows, columns, in_file=in_file)
            return False  # no bins
        missing = float(all_rows.stats.missing.sum()) / max(1, all_rows.rows * columns)
        trees, others = self._trees(missing), self._other_rows(rows)
        plan = memory.choose(
            rows,
            columns,
            outputs_of(self._config),
            self._limit,
            self._config.data.external_memory,
            other_rows=others,
            trees=trees,
            held=self._held,
        )
        if plan.way != "memory":
            self._say_of_worker(plan.line)
        if plan.external:
            # Workers on one machine have one disk.
            beside = self._team.gather(platform.node()).count(platform.node())
            needed = memory.external_disk_bytes(rows, columns, others, trees) * beside
            memory.require_disk(Path(tempfile.gettempdir()), needed)
        elif not kept:
            self._held += memory.held_bytes(rows, columns, trees)
        return plan.external

    def _at_hand(self, rows: int) -> int:
        """Return how many rows a worker has in memory at most, where this one has read ``rows``.

        A forest is grown by workers that each have all rows.
        """
        counts = self._team.gather(rows)
        return sum(counts) if self._config.is_forest else max(counts)

    def _say_of_worker(self, line: str) -> None:
        """Say what is true of the worker with the most rows."""
        self._voice.line(line if self._team.alone else f"on one worker, {line}")

    @property
    def _by_sklearn(self) -> bool:
        config = self._config
        return config.is_forest and config.forest.engine == "sklearn"

    def _forest(self) -> memory.Forest:
        asked = self._config.forest
        return memory.Forest(
            count=asked.n_estimators,
            max_depth=asked.max_depth,
            max_leaves=asked.max_leaves or 0,
            min_samples_leaf=asked.min_samples_leaf,
            classifies=not self._config.objective.startswith("reg:"),
            threads=self._threads,
        )

    def _check_forest(self, rows: int, columns: int, *, in_file: bool) -> None:
        """Say if a forest on raw rows may not fit; raises ``ResourceError`` if it cannot."""
        line = memory.check_forest(
            rows,
            columns,
            outputs_of(self._config),
            self._limit,
            self._forest(),
            self._other_rows(rows),
            held=self._held,
            in_file=self._config.cv is None and in_file and self._team.alone,
        )
        if line:
            self._say_of_worker(line)

    def holds_all(self, rows: int) -> bool:
        """Return whether every worker's memory holds ``rows``, those of all, and trains on them.

        The same on all workers; train has been loaded.
        """
        if self._limit is None or self.schema is None:
            return True
        columns, outputs = self.schema.features, outputs_of(self._config)
        if not self._by_sklearn:
            return rows <= memory.row_budget(
                columns, outputs, self._limit, held=self._besides, trees=self._trees(), kept=True
            )
        try:
            memory.check_forest(
                rows, columns, outputs, self._limit, self._forest(), held=self._besides
            )
        except ResourceError:
            return False
        return True

    def folds_at_once(self, rows: int, held_out: int) -> int:
        """Return how many folds the memory holds side by side, at least 1.

        Each trains on ``rows`` of this worker and is scored on ``held_out``. The same on all
        workers, which all ask.
        """
        if self._on_disk or self.schema is None:
            return 1
        config, columns = self._config, self.schema.features
        return memory.folds_at_once(
            max(self._team.gather(rows)),
            max(self._team.gather(held_out)),
            columns,
            outputs_of(config),
            self._limit,
            held=self._held,
            trees=self._trees(),
            forest=self._forest() if self._by_sklearn else None,
        )

    def _other_rows(self, rows: int) -> int:
        """Estimate the rows still to come, from the sizes of the files."""
        train = self._datasets["train"].bytes
        others = sum(dataset.bytes for dataset in self._datasets.values()) - train
        return int(rows * others / train) if train else 0

    def _part(self, found: Matrix, hashes: NDArray[np.uint64]) -> audit.Part:
        names = None if self.classes is None else [str(each) for each in self.classes]
        task = OBJECTIVES[self._config.objective].task
        schema = found.schema
        summary = audit.summary(
            found.stats, found.label, task, schema.feature_names, names, found.weight
        )
        compared = self._config.data.leakage != "ignore"
        alone = len(self.roles) == 1  # nothing to compare them with: 8 bytes a row less
        copies = audit.duplicates(hashes) if compared and alone else None
        return audit.Part(
            summary=summary,
            origin=found.origin.of,
            hashes=hashes if compared and not alone else None,
            copies=copies,
            # Only ids that the job named are worth comparing: qid often counts from 1 in each file.
            groups=found.group_names if compared and self._config.data.group_column else None,
        )


def outputs_of(config: Config) -> int:
    """Return how many numbers the model predicts for a row."""
    alphas = [config.booster.get(name) for name in ("quantile_alpha", "expectile_alpha")]
    return config.num_class or max((str(a).count(",") + 1 for a in alphas if a), default=1)


def schema_to_json(schema: Schema, classes: Classes | None) -> dict[str, Any]:
    """Return what the manifest says of the data: which column is what, and the codes of texts."""
    layout = schema.layout
    return {
        "columns": {
            part: {"position": i, "name": None if layout.names is None else layout.names[i]}
            for part, i in layout.special.items()
        }
        if layout is not None
        else {},
        "features": schema.features,
        "feature_names": list(schema.feature_names) if schema.feature_names else None,
        "categories": {str(j): list(texts) for j, texts in schema.categories.items()},
        "classes": None if classes is None else list(classes),
    }


def schema_from_json(entry: Mapping[str, Any]) -> tuple[Schema, Classes | None]:
    """Return what ``schema_to_json`` wrote, without the columns: new files have their own."""
    names, classes = entry.get("feature_names"), entry.get("classes")
    texts = tuple(classes) if classes and isinstance(classes[0], str) else None
    schema = matrix.Schema(
        features=int(entry["features"]),
        feature_names=tuple(names) if names else None,
        categories={int(j): tuple(each) for j, each in (entry.get("categories") or {}).items()},
        classes=texts,
        origin="the earlier model",
    )
    return schema, None if classes is None else tuple(classes)
