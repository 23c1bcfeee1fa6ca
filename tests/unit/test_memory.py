"""How much memory a job may use and needs, and how its rows are held."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from treeline import memory
from treeline.compute import Cgroup
from treeline.errors import ResourceError
from treeline.memory import Forest, Trees

GIB = 1 << 30
GB = 10**9
DENSE = Trees(missing=0)
READING = memory.READING / 1e6  # in the bounds, and not in what was measured
FLIGHTS = (63_000_000, 13, 1)


def machine(root: Path, available: int | None, own: int = 0, group: int | None = None) -> Cgroup:
    """Make a machine with that many bytes available, in a control group of that limit."""
    (root / "proc/self").mkdir(parents=True)
    if available is not None:
        text = f"MemTotal:  99999999 kB\nMemAvailable: {available // 1024} kB\nBuffers: 1 kB\n"
        (root / "proc/meminfo").write_text(text)
    (root / "proc/self/status").write_text(f"VmRSS:\t   999999 kB\nRssAnon:\t{own // 1024} kB\n")
    if group is not None:
        (root / "proc/self/cgroup").write_text("0::/\n")
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/memory.max").write_text(f"{group}\n")
    return Cgroup(root)


@pytest.mark.parametrize(
    ("available", "own", "group", "limit"),
    [
        (8 * GIB, 0, 4 * GIB, 4 * GIB),
        (8 * GIB, 0, 16 * GIB, 8 * GIB),
        (8 * GIB, GIB, 16 * GIB, 9 * GIB),  # what is already held counts as one's own
        (8 * GIB, GIB, None, 9 * GIB),
        (None, GIB, 4 * GIB, 4 * GIB),
        (None, GIB, None, None),
    ],
)
def test_the_limit_is_the_smaller_of_the_group_and_the_machine(
    tmp_path: Path, available: int | None, own: int, group: int | None, limit: int | None
) -> None:
    assert memory.limit(machine(tmp_path, available, own, group)) == limit


def test_no_proc_no_limit(tmp_path: Path) -> None:
    assert memory.limit(Cgroup(tmp_path)) is None


def test_a_strange_proc_is_no_limit(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemAvailable:\nMemAvailable: much kB\n\n")
    assert memory.limit(Cgroup(tmp_path)) is None


# What benchmarks/results/memory_model.md holds: MB, measured with XGBoost 3.4.1.
@pytest.mark.parametrize(
    ("rows", "columns", "outputs", "other", "trees", "spool", "external"),
    [
        (3_000_000, 5, 1, 0, DENSE, 285, 234),
        (3_000_000, 13, 1, 0, DENSE, 338, 236),
        (3_000_000, 50, 1, 0, DENSE, 586, 250),
        (1_000_000, 200, 1, 0, DENSE, 693, 300),
        (3_000_000, 13, 5, 0, DENSE, 512, 413),
        (1_000_000, 13, 1, 1_000_000, DENSE, 235, 169),
        (3_000_000, 13, 1, 0, Trees(missing=0.1), 442, 238),
        (1_000_000, 50, 1, 0, Trees(missing=0.01), 438, 263),
        (1_000_000, 50, 1, 0, Trees(missing=0.5), 340, 210),
        (1_000_000, 50, 1, 0, Trees(1024, missing=0), 458, 317),
        (300_000, 200, 1, 0, Trees(missing=0, max_depth=10), 1108, 950),
        (1_000_000, 13, 1, 0, Trees(missing=0, max_depth=0, max_leaves=255), 209, 174),
    ],
)
def test_bounds_are_above_what_was_measured_and_near_it(
    rows: int, columns: int, outputs: int, other: int, trees: Trees, spool: int, external: int
) -> None:
    bound = memory.train_bytes(rows, columns, outputs, other, trees) / 1e6
    assert spool <= bound - READING <= spool * 1.25
    bound = memory.external_bytes(rows, columns, outputs, other, trees) / 1e6
    assert external <= bound - READING <= external * 1.5 + 60


def test_loading_holds_raw_rows_and_bins(tmp_path: Path) -> None:
    assert 1083e6 <= memory.load_bytes(3_000_000, 50, trees=DENSE) <= 1083e6 * 1.2 + READING * 1e6
    alone = memory.load_bytes(3_000_000, 50, trees=DENSE)
    assert memory.load_bytes(3_000_000, 50, 10, DENSE) == alone  # the larger of the two counts
    both = memory.load_bytes(3_000_000, 50, 3_000_000, DENSE)
    assert both == pytest.approx(alone + memory.held_bytes(3_000_000, 50, DENSE), abs=2)


def test_flights_need_what_was_measured() -> None:
    trees = Trees(missing=0, max_depth=8)
    assert 5.3 * GB <= memory.train_bytes(*FLIGHTS, trees=trees) <= 6.1 * GB
    assert 2.9 * GB <= memory.external_bytes(*FLIGHTS, trees=trees) <= 4.0 * GB


@pytest.mark.parametrize(
    ("trees", "expected"),
    [
        (Trees(missing=0), 2.125),
        (Trees(max_bin=257, missing=0), 4.125),
        (Trees(missing=None), 5.125),  # not known yet: the worst
        (Trees(missing=1e-9), 5.125),
        (Trees(missing=0.5), 3.125),
        (Trees(max_bin=1024, missing=1e-9), 6.125),
    ],
)
def test_one_missing_value_makes_bins_wide(trees: Trees, expected: float) -> None:
    assert trees.bytes_per_value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("trees", "rows", "nodes"),
    [
        (Trees(max_depth=6), 1000, 64),
        (Trees(max_depth=6), 10, 10),
        (Trees(max_depth=0), 10**6, 1 << 16),
        (Trees(max_depth=0, max_leaves=31), 10**6, 31),
        (Trees(max_depth=4, max_leaves=31), 10**6, 16),
        (Trees(max_depth=40), 10**6, 1 << 16),
        (Trees(max_depth=12, max_cached_hist_node=256), 10**6, 256),
    ],
)
def test_nodes_with_a_histogram(trees: Trees, rows: int, nodes: int) -> None:
    assert trees.nodes(rows) == nodes


@pytest.mark.parametrize("limit", [GIB // 2, GIB, 4 * GIB, 64 * GIB])
@pytest.mark.parametrize("columns", [1, 13, 500])
@pytest.mark.parametrize("outputs", [1, 100])
@pytest.mark.parametrize("trees", [Trees(), DENSE, Trees(max_depth=15)])
def test_the_budget_is_the_most_rows_that_fit(
    limit: int, columns: int, outputs: int, trees: Trees
) -> None:
    rows = memory.row_budget(columns, outputs, limit, trees=trees)

    def fits(rows: int) -> bool:
        loading = memory.load_bytes(rows, columns, trees=trees)
        return max(loading, memory.train_bytes(rows, columns, outputs, trees=trees)) <= limit

    assert rows == 0 or fits(rows)
    assert not fits(rows + 2)


def test_what_is_held_leaves_less() -> None:
    free = memory.row_budget(13, 1, 4 * GIB)
    held = memory.held_bytes(10_000_000, 13)
    left = memory.row_budget(13, 1, 4 * GIB, held=held)
    assert 0 < left < free
    assert left == pytest.approx(memory.row_budget(13, 1, 4 * GIB - held), abs=1)
    assert memory.row_budget(13, 1, 100_000_000) == 0


@pytest.mark.parametrize(
    ("limit", "asked", "way"),
    [
        (16 * GB, None, "memory"),
        (7 * GB, None, "spool"),
        (4.5 * GB, None, "external"),
        (16 * GB, True, "external"),
        (16 * GB, False, "memory"),
        (7 * GB, False, "spool"),
        (5.2 * GB, False, "memory"),  # may not be enough, and the user will have it so
        (None, None, "memory"),
        (None, True, "external"),
    ],
)
def test_the_way_rows_are_held(limit: float | None, asked: bool | None, way: str) -> None:
    whole = None if limit is None else int(limit)
    plan = memory.choose(*FLIGHTS, whole, asked, trees=DENSE)
    assert plan.way == way
    assert plan.external == (way == "external")


def test_other_rows_count() -> None:
    rows, columns, outputs = FLIGHTS
    assert memory.choose(rows, columns, outputs, 9 * GB, None, 0, DENSE).way == "memory"
    assert memory.choose(rows, columns, outputs, 9 * GB, None, rows, DENSE).way == "external"


@pytest.mark.parametrize(
    ("limit", "asked", "line"),
    [
        (
            16 * GB,
            None,
            "63,000,000 rows x 13 columns: bins are kept in memory; up to 7.8 GB of 16.0 GB memory",
        ),
        (
            4_500_000_000,
            None,
            "63,000,000 rows x 13 columns: bins are kept on disk (in memory they would need "
            "5.7 GB); up to 3.5 GB of 4.5 GB memory",
        ),
        (
            16 * GB,
            True,
            "63,000,000 rows x 13 columns: bins are kept on disk (external_memory=true); "
            "up to 3.5 GB of 16.0 GB memory",
        ),
        (
            3 * GB,
            None,
            "63,000,000 rows x 13 columns: bins are kept on disk (in memory they would need "
            "5.7 GB); up to 3.5 GB of 3.0 GB memory, which may not be enough",
        ),
        (None, None, ""),
        (None, True, "bins are kept on disk (external_memory=true)"),
    ],
)
def test_the_line_says_what_and_why(limit: int | None, asked: bool | None, line: str) -> None:
    assert memory.choose(*FLIGHTS, limit, asked, trees=DENSE).line == line


def test_a_spool_is_explained() -> None:
    line = memory.choose(*FLIGHTS, 7 * GB, None, trees=DENSE).line
    assert "rows in a file until they are binned" in line
    assert "up to 5.7 GB of 7.0 GB" in line


def test_what_cannot_fit_is_refused_with_numbers() -> None:
    with pytest.raises(ResourceError) as caught:
        memory.choose(*FLIGHTS, 2 * GB, None, 7_000_000)
    assert caught.value.cause == (
        "63,000,000 rows of 13 columns (1 output(s) a row, 7,000,000 further rows to score) need "
        "more than 2.6 GB of memory, and 2.0 GB is allowed"
    )
    assert "instance with more memory: 3.4 GB" in caught.value.remedy
    assert "smaller validation channel" in caught.value.remedy


def test_memory_that_was_insisted_on_is_refused_where_external_would_fit() -> None:
    assert memory.choose(*FLIGHTS, 4 * GB, None, trees=DENSE).external
    with pytest.raises(ResourceError, match="with all bins in memory") as caught:
        memory.choose(*FLIGHTS, 4 * GB, False, trees=DENSE)
    assert "Leave external_memory out" in caught.value.remedy


def test_small_jobs_are_never_refused() -> None:
    plan = memory.choose(1000, 13, 1, 64_000_000, None)
    assert plan.line.endswith("which may not be enough")


def test_classes_are_named_where_they_are_the_cause() -> None:
    with pytest.raises(ResourceError) as caught:
        memory.choose(1_000_000, 4, 1000, 8 * GB, None)
    assert "fewer classes" in caught.value.remedy


def test_the_disk_is_looked_at_before_it_is_filled(tmp_path: Path) -> None:
    memory.require_disk(tmp_path, 1)
    with pytest.raises(ResourceError, match=r"need 1000000\.0 GB of disk and .* free"):
        memory.require_disk(tmp_path, 10**15)


@pytest.mark.parametrize(
    ("rows", "columns", "trees", "measured"),
    [
        (3_000_000, 13, DENSE, 107e6),
        (3_000_000, 13, Trees(missing=0.1), 209e6),
        (1_000_000, 50, Trees(missing=0.5), 165e6),
        (1_000_000, 50, Trees(1024, missing=0), 216e6),
    ],
)
def test_disk_for_bins(rows: int, columns: int, trees: Trees, measured: float) -> None:
    needed = memory.external_disk_bytes(rows, columns, trees=trees)
    assert measured <= needed <= measured * 1.05
    assert memory.external_disk_bytes(0, columns, rows, trees) == needed


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 MB"),
        (850e6, "850 MB"),
        (999.6e6, "1.0 GB"),
        (5.44e9, "5.4 GB"),
        (12e12, "12000.0 GB"),
    ],
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert memory.size(count) == text


def test_deeper_trees_need_more() -> None:
    deep = replace(DENSE, max_depth=15)
    more = memory.train_bytes(10**6, 13, 1, trees=deep)
    assert more - memory.train_bytes(10**6, 13, 1, trees=DENSE) > 10**9


def test_what_is_far_above_the_limit_is_refused_before_it_is_tried() -> None:
    with pytest.raises(ResourceError) as caught:
        memory.choose(1_000_000, 100, 1, 104_857_600, None, trees=Trees(max_bin=64, missing=0))
    assert "1,000,000 rows x 100 columns need about" in caught.value.cause
    assert "105 MB is allowed" in caught.value.cause


def test_few_rows_of_many_columns_need_little() -> None:
    # Measured: 1,000 x 10,000 took 450 MiB to bin, on top of 38 MiB of raw values.
    trees = Trees(missing=0)
    needed = memory.load_bytes(1000, 10_000, trees=trees)
    assert 1.0e9 < needed < 1.6e9
    assert memory.choose(1000, 10_000, 1, 8 * GB, None, trees=trees).way == "memory"
    assert memory.row_budget(10_000, 1, 8 * GB, trees=trees) > 1000


def test_raw_values_that_do_not_fit_are_refused() -> None:
    memory.require_raw(1_000_000, 13, None)
    memory.require_raw(1_000_000, 13, 400_000_000)
    with pytest.raises(ResourceError, match="raw values need about") as caught:
        memory.require_raw(10_000_000, 13, 400_000_000)
    assert "tree_method=hist" in caught.value.remedy


def forest(count: int, threads: int, classifies: bool = True, max_depth: int = 3) -> Forest:
    return Forest(count, max_depth, 0, 1, classifies, threads)


# Measured with scikit-learn 1.9.1, 1,000,000 rows: bytes a row besides the raw values.
@pytest.mark.parametrize(
    ("classifies", "outputs", "threads", "measured"),
    [
        (True, 1, 1, 101),
        (True, 1, 2, 231),
        (True, 1, 4, 385),
        (True, 1, 8, 619),
        (True, 8, 4, 371),
        (False, 1, 2, 116),
        (False, 1, 4, 172),
    ],
)
def test_rows_of_a_forest_take_what_was_measured(
    classifies: bool, outputs: int, threads: int, measured: int
) -> None:
    grown = forest(16, threads, classifies)
    bound = memory.raw_bytes(1, 0) + grown.row_bytes(outputs) + grown.thread_bytes()
    assert measured <= bound <= measured * 1.55


def test_threads_beyond_the_trees_have_nothing_to_do() -> None:
    assert forest(3, 64).thread_bytes() == forest(3, 3).thread_bytes()


@pytest.mark.parametrize(
    ("limits", "nodes"),
    [
        ({"max_depth": 3}, 16),
        ({"max_depth": 0}, 2000),
        ({"max_depth": 16}, 2000),
        ({"max_depth": 0, "min_samples_leaf": 10}, 200),
        ({"max_depth": 0, "min_samples_leaf": 5000}, 2),
        ({"max_depth": 16, "max_leaves": 31}, 62),
    ],
)
def test_trees_grow_as_large_as_they_may(limits: dict[str, Any], nodes: int) -> None:
    grown = replace(forest(7, 1), **limits)
    for outputs, measured in ((1, 212), (4, 336)):
        bound = grown.tree_bytes(1000, outputs) / (7 * nodes)
        assert measured <= bound <= measured * 1.1


def test_a_forest_that_may_not_fit_is_said_and_one_that_cannot_is_refused() -> None:
    # In folds: killed with 268 MB, done with 403 MB.
    rows, grown, held = 300_000, forest(4, 2, max_depth=6), memory.SKLEARN
    check = partial(memory.check_forest, rows, 20, 1)
    assert check(None, grown) == ""
    assert check(GB, grown, held=held) == ""
    assert check(268_435_456, grown, held=held) == (
        "300,000 rows x 20 columns: raw rows and 4 trees by scikit-learn; up to 387 MB of 268 MB "
        "memory, which may not be enough"
    )
    with pytest.raises(ResourceError) as caught:
        check(134_217_728, grown, held=held)
    assert caught.value.cause == (
        "300,000 rows x 20 columns need about 387 MB of memory for a forest by scikit-learn, and "
        "134 MB is allowed"
    )
    assert "forest_engine=xgboost" in caught.value.remedy


def test_what_counts_for_a_forest() -> None:
    rows, grown = 300_000, forest(4, 2, max_depth=6)
    check = partial(memory.check_forest, rows, 20, 1, 320_000_000)
    assert check(grown) == ""
    assert check(grown, held=memory.SKLEARN) != ""
    assert check(grown, rows) != ""
    assert check(grown, rows, in_file=True) == ""
    # Trees alone refuse nothing.
    assert "up to 13200" in check(replace(grown, count=100_000, max_depth=0))


def test_folds_of_a_forest_share_the_threads() -> None:
    grown = forest(8, 4)
    rows, held_out, columns = 200_000, 100_000, 20

    def at_once(limit: float, held: int = 0) -> int:
        return memory.folds_at_once(rows, held_out, columns, 1, int(limit), held=held, forest=grown)

    threads = rows * grown.thread_bytes()
    fold = memory.raw_bytes(rows + held_out, columns) + grown.tree_bytes(rows, 1)
    fold += rows * grown.row_bytes(1) + held_out * 12
    base = 110e6 + memory.READING + threads
    assert [at_once(base + k * fold + 9) for k in (0, 1, 2, 5)] == [1, 1, 2, 5]
    assert at_once(base + 5 * fold + 9, held=int(2 * fold)) == 3


@pytest.mark.parametrize(
    ("limit", "way", "needed"),
    [(17, "memory", "8.8 GB"), (8, "spool", "6.7 GB"), (5.5, "external", "4.5 GB")],
)
def test_what_stays_beside_is_in_the_sum(limit: float, way: str, needed: str) -> None:
    plan = memory.choose(*FLIGHTS, int(limit * GB), None, trees=DENSE, held=GB)
    assert plan.way == way
    assert f"up to {needed} of {memory.size(limit * GB)}" in plan.line


def test_what_stays_beside_is_surely_needed() -> None:
    with pytest.raises(ResourceError, match=r"need more than 3\.5 GB"):
        memory.choose(*FLIGHTS, 3 * GB, None, trees=DENSE, held=GB)
    wide = (1_000_000, 100, 1, GB + 104_857_600, None)
    memory.choose(*wide, trees=Trees(max_bin=64, missing=0))
    with pytest.raises(ResourceError, match=r"columns need about 1\.3 GB"):
        memory.choose(*wide, trees=Trees(max_bin=64, missing=0), held=GB)
