"""Whether a job's data fits the machine: what each way of holding it takes, and which to choose.

Rows are held in one of three ways, each slower and smaller than the one before:

    memory     raw rows in memory until they are binned, bins in memory
    spool      raw rows in a temporary file, bins in memory
    external   raw rows in a temporary file, bins in another, mapped page by page

The models are the same, byte for byte. Sizes here are bytes and are upper bounds of the memory
that the kernel cannot take back, fitted to XGBoost 3.4.1's ``hist`` on a CPU; mapped files are
not counted. ``benchmarks/memory_model.py`` measures them and
``benchmarks/results/memory_model.md`` holds what was found.
"""

from __future__ import annotations

import bisect
import ctypes
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from treeline.errors import ResourceError

if TYPE_CHECKING:
    from treeline.compute import Cgroup

# Batches of the files being read, which Arrow's allocator does not give back at once.
READING = 100_000_000
_BASE = 110e6 + READING  # Python, numpy, Arrow and XGBoost, imported
# Once imported (77 MB): it divides rows into folds, and grows forests.
SKLEARN = 80_000_000
_SLICE = 1 << 26  # raw rows handed over at a time, as treeline.algorithms.binning does
_RAW = 4.0  # a float32
_ROOM_TO_GROW = 4.5  # of an array that grows by an eighth
_MOST_NODES = 1 << 16  # XGBoost's own max_cached_hist_node

# What surely is needed of a bound: a small job ran in 64 MB, and bounds are seldom 1.6 times the
# truth.
_LEAST_BASE = 45e6
_PESSIMISM = 1.6


@dataclass(frozen=True)
class Trees:
    """What else counts: the number of bins, missing values, and how many nodes a tree can have.

    ``missing`` is the fraction of feature values that are missing, None where it is not known
    yet: a single one makes XGBoost store a bin in four bytes instead of one or two, though only
    where there is a value. 0 stands for no limit of depth or leaves, as in XGBoost.
    ``max_cached_hist_node`` is how many nodes keep their histogram.
    """

    max_bin: int = 256
    missing: float | None = None
    max_depth: int = 6
    max_leaves: int = 0
    max_cached_hist_node: int = _MOST_NODES

    def nodes(self, rows: int = _MOST_NODES) -> int:
        """Return how many nodes of a tree of ``rows`` rows can have a histogram."""
        by_depth = 1 << min(self.max_depth, 30) if self.max_depth else _MOST_NODES
        leaves = self.max_leaves or _MOST_NODES
        return max(1, min(by_depth, leaves, self.max_cached_hist_node, rows))

    @property
    def bytes_per_value(self) -> float:
        """Bytes of one value's bins: a row-wise copy, a column-wise one and a bit."""
        column = (1 if self.max_bin <= 256 else 2) + 1 / 8
        if self.missing == 0:
            return 2 * column - 1 / 8
        present = 1 - (self.missing or 0)
        # A column with values in a fifth of its rows or fewer is kept as a list of them.
        return 4 * present + (column if present >= 0.5 else column + 0.7)


@dataclass(frozen=True)
class Forest:
    """A forest that scikit-learn grows; 0 stands for no limit of depth or leaves.

    Measured with scikit-learn 1.9.1 on labels without any pattern, whose trees are the largest,
    beyond the raw rows: 101 bytes a row on one thread, 231 on two, 385 on four and 619 on eight
    for two classes, 116 on two and 172 on four for numbers; 210 bytes a node for one output and
    330 for four, while the trees are written down and XGBoost has them too.
    """

    count: int
    max_depth: int
    max_leaves: int
    min_samples_leaf: int
    classifies: bool
    threads: int

    def row_bytes(self, outputs: int) -> int:
        """Return what a row of train takes besides itself, whatever the number of threads."""
        return 26 + 12 * outputs

    def thread_bytes(self) -> int:
        """Return what a row of train takes for all threads."""
        return min(self.threads, self.count) * (90 if self.classifies else 40)

    def tree_bytes(self, rows: int, outputs: int) -> int:
        """Return what the trees take if all grow as large as they can."""
        leaves = max(1, rows // self.min_samples_leaf)
        if self.max_depth:
            leaves = min(leaves, 1 << min(self.max_depth, 40))
        if self.max_leaves:
            leaves = min(leaves, self.max_leaves)
        return 2 * leaves * self.count * (180 + 40 * outputs)


@dataclass(frozen=True)
class Plan:
    """How the rows are held: ``memory``, ``spool`` or ``external``, and a line that says why.

    ``line`` is empty where there is nothing to decide.
    """

    way: str
    line: str

    @property
    def external(self) -> bool:
        """Whether the bins stand on disk."""
        return self.way == "external"


def limit(cgroup: Cgroup) -> int | None:
    """Return how many bytes this process may use, or None where nothing says so.

    It is the smaller of the control group's limit and what the machine has left
    (``MemAvailable``: free memory and caches that can be dropped; swap is not counted). What
    this process holds already counts as its own. Source: proc(5), meminfo and pid/status.
    """
    free = _kilobytes(cgroup.root / "proc/meminfo", "MemAvailable")
    own = _kilobytes(cgroup.root / "proc/self/status", "RssAnon") or 0
    limits = [cgroup.memory_limit(), None if free is None else free + own]
    return min((each for each in limits if each is not None), default=None)


def load_bytes(rows: int, columns: int, other_rows: int = 0, trees: Trees = Trees()) -> int:
    """Return the peak while rows in memory are read and binned, one data set after the other."""
    held = held_bytes(rows, columns, trees)
    raw, row = columns * _ROOM_TO_GROW, _loading_row(columns, trees)
    reading = max(rows * (raw + 16), held + other_rows * (raw + 16))
    binning = _sketches(columns, trees, rows) + max(rows * row, held + other_rows * row)
    return int(_BASE + max(reading, binning))


def train_bytes(
    rows: int, columns: int, outputs: int, other_rows: int = 0, trees: Trees = Trees()
) -> int:
    """Return the peak of training with bins in memory, train and ``other_rows`` scored.

    ``outputs`` is the number of predictions for a row.
    """
    values = (rows + other_rows) * columns * trees.bytes_per_value
    state = rows * _training_row(outputs) + other_rows * (20 + 8 * outputs)
    return int(_BASE + _tree_bytes(columns, trees, rows) + values + state)


def external_bytes(
    rows: int, columns: int, outputs: int, other_rows: int = 0, trees: Trees = Trees()
) -> int:
    """Return the peak of binning to disk and training from there."""
    page = min(_SLICE / _RAW, max(rows, other_rows) * columns) * trees.bytes_per_value
    binning = 2 * page + _sketches(columns, trees, rows) + (rows + other_rows) * 32
    state = rows * (_training_row(outputs) - 8) + other_rows * (12 + 8 * outputs)
    return int(_BASE + max(binning, _tree_bytes(columns, trees, rows) + state))


def external_disk_bytes(
    rows: int, columns: int, other_rows: int = 0, trees: Trees = Trees()
) -> int:
    """Return the size of the bins on disk; the raw rows take 4 bytes a value besides."""
    return int((rows + other_rows) * (columns * trees.bytes_per_value + 8) * 1.02)


def held_bytes(rows: int, columns: int, trees: Trees = Trees()) -> int:
    """Return what a data set holds once it is binned in memory."""
    return int(rows * (columns * trees.bytes_per_value + 16))


def raw_bytes(rows: int, columns: int) -> int:
    """Return what raw rows hold, with label, weight and hash."""
    return int(rows * (_RAW * columns + 24))


def folds_at_once(
    rows: int,
    held_out: int,
    columns: int,
    outputs: int,
    limit: int | None,
    *,
    held: int = 0,
    trees: Trees = Trees(),
    forest: Forest | None = None,
) -> int:
    """Return how many folds may be trained side by side, at least 1; a large number is no limit.

    Each trains on ``rows`` and is scored on ``held_out`` rows, copied from raw rows; ``held``
    bytes are taken already. ``forest`` is what scikit-learn grows on them in place of ``trees``.
    """
    if limit is None:
        return rows
    if forest is not None:  # folds share the threads
        held += rows * forest.thread_bytes()
        fold = float(raw_bytes(rows + held_out, columns) + forest.tree_bytes(rows, outputs))
        fold += rows * forest.row_bytes(outputs) + held_out * 12 * outputs
    else:
        loading = load_bytes(rows, columns, held_out, trees)
        fold = max(loading, train_bytes(rows, columns, outputs, held_out, trees)) - _BASE
    return max(1, int((limit - _BASE - held) / fold))


def row_budget(
    columns: int,
    outputs: int,
    limit: int,
    *,
    held: int = 0,
    trees: Trees = Trees(),
    kept: bool = False,
) -> int:
    """Return how many rows may be collected in memory, so that they can be binned and trained on.

    ``held`` is what earlier data sets hold, by ``held_bytes``. ``kept`` is whether the raw rows
    stay while models are trained on them, as the folds of cross-validation need it.
    """

    def fits(rows: int) -> bool:
        loading = load_bytes(rows, columns, trees=trees)
        training = train_bytes(rows, columns, outputs, trees=trees)
        raw = raw_bytes(rows, columns) if kept else 0
        return held + raw + max(loading, training) <= limit

    # Both grow with the rows; the raw values alone bound them from above.
    most = max(1, limit // (4 * columns) + 1)
    return bisect.bisect_left(range(1, most + 1), True, key=lambda rows: not fits(rows))


def choose(
    rows: int,
    columns: int,
    outputs: int,
    limit: int | None,
    external_memory: bool | None,
    other_rows: int = 0,
    trees: Trees = Trees(),
    held: int = 0,
) -> Plan:
    """Return how to hold ``rows`` and the ``other_rows`` of further data sets.

    ``external_memory`` is the user's own choice, None to choose here; ``held`` bytes are taken
    by what stays beside, such as raw rows for the next fold. Raises ``ResourceError``
    where not even the surely needed part fits, or the bound is far above the limit. Where the bound
    is a little above it the job is tried, and the line says so.
    """
    training = held + train_bytes(rows, columns, outputs, other_rows, trees)
    loading = held + load_bytes(rows, columns, other_rows, trees)
    if limit is None:
        line = "bins are kept on disk (external_memory=true)" if external_memory else ""
        return Plan("external" if external_memory else "memory", line)
    _refuse(limit, rows, columns, outputs, other_rows, external_memory, held)
    if external_memory or (external_memory is None and training > limit):
        needed = held + external_bytes(rows, columns, outputs, other_rows, trees)
        asked = f"in memory they would need {size(training)}"
        why = "external_memory=true" if external_memory else asked
        way, where = "external", f"bins are kept on disk ({why})"
    elif training <= limit < loading:
        needed = training
        way, where = "spool", "bins are kept in memory, rows in a file until they are binned"
    else:
        needed = max(training, loading)
        way, where = "memory", "bins are kept in memory"
    table = f"{rows + other_rows:,} rows x {columns:,} columns"
    line = f"{table}: {where}; up to {size(needed)} of {size(limit)} memory"
    if _hopeless(needed - held, limit - held):
        raise ResourceError(
            f"{table} need about {size(needed)} of memory, {where}, and {size(limit)} is allowed",
            f"Use an instance with {size(needed)} or more, or fewer rows or columns"
            + ("." if way == "external" else "; external_memory=auto keeps the bins on disk."),
        )
    if needed > limit:
        line += ", which may not be enough"
    return Plan(way, line)


def check_forest(
    rows: int,
    columns: int,
    outputs: int,
    limit: int | None,
    forest: Forest,
    other_rows: int = 0,
    *,
    held: int = 0,
    in_file: bool = False,
) -> str:
    """Return a line that says if a forest by scikit-learn may not fit, empty where it does.

    ``held`` bytes are taken already; rows ``in_file`` are mapped and take none. Raises
    ``ResourceError`` if it surely does not fit. Trees are not sure: few grow as large as they can.
    """
    if limit is None:
        return ""
    raw = 0 if in_file else raw_bytes(rows + other_rows, columns)
    own = rows * (forest.row_bytes(outputs) + forest.thread_bytes()) + other_rows * 12 * outputs
    least = _BASE + raw + own
    needed = held + least + forest.tree_bytes(rows, outputs)
    table = f"{rows + other_rows:,} rows x {columns:,} columns"
    if _hopeless(least, limit - held):
        raise ResourceError(
            f"{table} need about {size(needed)} of memory for a forest by scikit-learn, and "
            f"{size(limit)} is allowed",
            f"Use an instance with {size(needed)} or more, fewer rows or columns, or "
            "forest_engine=xgboost, which keeps bins in place of raw rows.",
        )
    if needed <= limit:
        return ""
    return (
        f"{table}: raw rows and {forest.count:,} trees by scikit-learn; up to {size(needed)} of "
        f"{size(limit)} memory, which may not be enough"
    )


def require_raw(rows: int, columns: int, limit: int | None) -> None:
    """Raise ``ResourceError`` if training on raw values, not bins, surely does not fit.

    XGBoost keeps 8 bytes a value (its column and the number) besides the array it is made from.
    """
    needed = _BASE + rows * (12 * columns + 28)
    if limit is not None and _hopeless(needed, limit):
        raise ResourceError(
            f"{rows:,} rows x {columns:,} columns of raw values need about {size(needed)} of "
            f"memory, and {size(limit)} is allowed",
            "Use tree_method=hist with booster=gbtree, which works on bins, or an instance with "
            "more memory.",
        )


def require_disk(folder: Path, needed: int) -> None:
    """Raise ``ResourceError`` unless ``folder`` has ``needed`` bytes free.

    XGBoost ends the whole process where the disk is full while it writes bins, and no caller can
    catch that.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"The data's bins need {size(needed)} of disk and {folder} has {size(free)} free",
            "Use an instance with more memory or a larger volume, or point TMPDIR to one.",
        )


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library keeps it (glibc does).

    It keeps what a thread freed for that thread, and threads come and go with their folds: two
    folds of 1,000,000 rows left 70 MB behind.
    """
    if "pyarrow" in sys.modules:  # it has an allocator of its own
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def size(count: float) -> str:
    """Return bytes for a person: 850 MB, 5.4 GB."""
    return f"{count / 1e6:.0f} MB" if count < 999.5e6 else f"{count / 1e9:.1f} GB"


def _refuse(
    limit: int,
    rows: int,
    columns: int,
    outputs: int,
    other_rows: int,
    external_memory: bool | None,
    held: int,
) -> None:
    """Refuse what cannot fit: gradients, predictions, labels and positions alone are too much."""
    least = (
        held
        + rows * (28 + 12 * outputs + (8 if outputs > 1 else 0))
        + other_rows * (8 + 4 * outputs)
    )
    remedy = (
        f"Use an instance with more memory: {size(least * 1.3)} or more. Fewer columns do not "
        "help here; fewer rows"
        + (" or a smaller validation channel" if other_rows else "")
        + (" or fewer classes do." if outputs > 1 else " do.")
    )
    if external_memory is False:
        # Bins of one byte a value are the least, whatever the bins turn out to be.
        least += (rows + other_rows) * (2 * columns + 8)
        remedy = "Leave external_memory out, or use an instance with more memory or fewer columns."
    if least > limit:
        where = " with all bins in memory" if external_memory is False else ""
        raise ResourceError(
            f"{rows:,} rows of {columns:,} columns ({outputs:,} output(s) a row, {other_rows:,} "
            f"further rows to score) need more than {size(least)} of memory{where}, and "
            f"{size(limit)} is allowed",
            remedy,
        )


def _hopeless(bound: float, limit: int) -> bool:
    return _LEAST_BASE + (bound - _BASE) / _PESSIMISM > limit


def _loading_row(columns: int, trees: Trees) -> float:
    return columns * (_RAW + trees.bytes_per_value) + 40  # label and hash of the row, twice


def _training_row(outputs: int) -> int:
    # Gradients 8 and predictions twice 4 for each output; positions in the tree, labels, weights.
    return 44 + 16 * outputs + (10 if outputs > 1 else 0)


def _sketches(columns: int, trees: Trees, rows: float = math.inf) -> float:
    # Measured from 50 rows of 10,000 columns (95 bytes a value) to 20,000 of 2,000 (10 a value).
    return columns * min(2200.0 * trees.max_bin, 100.0 * rows)


def _histogram(columns: int, trees: Trees) -> float:
    return 16.0 * columns * trees.max_bin


def _tree_bytes(columns: int, trees: Trees, rows: int = _MOST_NODES) -> float:
    """Bytes that hardly grow with the rows: quantile sketches and a histogram for each node."""
    return _sketches(columns, trees, rows) + _histogram(columns, trees) * trees.nodes(rows)


def _kilobytes(file: Path, name: str) -> int | None:
    """Return the bytes of a line such as ``MemAvailable:  1234 kB``, None where there is none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == f"{name}:" and words[1].isdigit():
            return int(words[1]) * 1024
    return None
