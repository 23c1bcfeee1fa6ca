"""Threads and memory of a container, read from control groups as the kernel lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from treeline.compute import Cgroup, Compute, Wish, choose
from treeline.errors import HyperparameterError

CORES = len(os.sched_getaffinity(0))
GIB = 1 << 30
V1_MEMBERSHIP = "9:name=systemd:/job\n4:memory:{0}\n3:cpu,cpuacct:{0}\n2:cpuset:/\n"


def lay(root: Path, membership: str, **files: str) -> Cgroup:
    """Make a /proc and a /sys; ``__`` in a name stands for a slash, ``--`` for a dot."""
    proc = root / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(membership)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("--", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Cgroup(root)


def test_no_control_groups_no_limits(tmp_path: Path) -> None:
    cgroup = Cgroup(tmp_path)
    assert cgroup.cpu_quota() is None
    assert cgroup.memory_limit() is None
    assert cgroup.oom_kills() == 0
    assert cgroup.threads() == CORES


def test_v2_in_a_container(tmp_path: Path) -> None:
    cgroup = lay(
        tmp_path,
        "0::/\n",
        **{
            "cpu--max": "150000 100000\n",
            "memory--max": f"{2 * GIB}\n",
            "memory--events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n",
        },
    )
    assert cgroup.cpu_quota() == 1.5
    assert cgroup.memory_limit() == 2 * GIB
    assert cgroup.oom_kills() == 2


def test_v2_without_limits(tmp_path: Path) -> None:
    cgroup = lay(
        tmp_path,
        "0::/\n",
        **{"cpu--max": "max 100000\n", "memory--max": "max\n", "memory--events": ""},
    )
    assert (cgroup.cpu_quota(), cgroup.memory_limit(), cgroup.oom_kills()) == (None, None, 0)


def test_v2_nested_takes_the_smallest_limit_of_the_chain(tmp_path: Path) -> None:
    cgroup = lay(
        tmp_path,
        "0::/slice/job\n",
        **{
            "slice__cpu--max": "50000 100000",
            "slice__job__cpu--max": "70000 100000",
            "cpu--max": "max 100000",
            "memory--max": "max",
            "slice__memory--max": str(2 * GIB),
            "slice__job__memory--max": str(GIB),
            "slice__memory--events": "oom_kill 40\n",
            "slice__job__memory--events": "oom_kill 4\n",
            "other__cpu--max": "10000 100000",
            "other__memory--max": "1",
        },
    )
    assert cgroup.cpu_quota() == 0.5
    assert cgroup.memory_limit() == GIB
    assert cgroup.oom_kills() == 4  # its own, not those of its neighbours


def test_v1_nested(tmp_path: Path) -> None:
    cgroup = lay(
        tmp_path,
        V1_MEMBERSHIP.format("/docker/abc"),
        **{
            "cpu__cpu--cfs_quota_us": "-1\n",
            "cpu__cpu--cfs_period_us": "100000\n",
            "cpu__docker__abc__cpu--cfs_quota_us": "250000\n",
            "cpu__docker__abc__cpu--cfs_period_us": "100000\n",
            "memory__memory--limit_in_bytes": "9223372036854771712\n",
            "memory__docker__abc__memory--limit_in_bytes": f"{GIB}\n",
            "memory__docker__abc__memory--oom_control": (
                "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"
            ),
            "memory__memory--oom_control": "oom_kill 99\n",
        },
    )
    assert cgroup.cpu_quota() == 2.5
    assert cgroup.memory_limit() == GIB
    assert cgroup.oom_kills() == 5


def test_v1_in_a_container_the_named_path_is_not_there(tmp_path: Path) -> None:
    cgroup = lay(
        tmp_path,
        V1_MEMBERSHIP.format("/docker/abc"),
        **{
            "cpu__cpu--cfs_quota_us": "100000\n",
            "cpu__cpu--cfs_period_us": "50000\n",
            "memory__memory--limit_in_bytes": f"{GIB}\n",
            "memory__memory--oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        },
    )
    assert (cgroup.cpu_quota(), cgroup.memory_limit(), cgroup.oom_kills()) == (2.0, GIB, 1)


@pytest.mark.parametrize("limit", ["9223372036854771712", "9223372036854710272", str(1 << 60)])
def test_v1_has_a_huge_number_for_no_memory_limit(tmp_path: Path, limit: str) -> None:
    cgroup = lay(
        tmp_path, V1_MEMBERSHIP.format("/"), **{"memory__memory--limit_in_bytes": limit + "\n"}
    )
    assert cgroup.memory_limit() is None


def test_v1_has_minus_one_for_no_quota(tmp_path: Path) -> None:
    cgroup = lay(
        tmp_path,
        V1_MEMBERSHIP.format("/"),
        **{"cpu__cpu--cfs_quota_us": "-1\n", "cpu__cpu--cfs_period_us": "100000\n"},
    )
    assert cgroup.cpu_quota() is None
    assert cgroup.threads() == CORES


@pytest.mark.parametrize(
    ("quota", "threads"),
    [(5_000, 1), (100_000, 1), (199_000, 1), (200_000, 2), (10_000_000, CORES)],
)
def test_threads_are_the_quota_rounded_down_and_never_more_than_the_cores(
    tmp_path: Path, quota: int, threads: int
) -> None:
    cgroup = lay(tmp_path, "0::/\n", **{"cpu--max": f"{quota} 100000"})
    assert cgroup.threads() == min(threads, CORES)


def test_threads_follow_the_affinity_mask(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert Cgroup(tmp_path).threads() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_this_machine_can_be_asked() -> None:
    assert 1 <= Cgroup().threads() <= CORES
    assert Cgroup().oom_kills() >= 0


@pytest.mark.parametrize("asked", ["auto", "singleCPU"])
def test_single_cpu_is_opened_with_the_containers_share(tmp_path: Path, asked: str) -> None:
    cgroup = lay(tmp_path, "0::/\n", **{"cpu--max": "100000 100000"})
    plan = choose(Wish(asked), 1, cgroup)
    assert plan.alone() == Compute("singleCPU", "cpu", 1, why="one host")
    assert not plan.several
    found = choose(Wish("singleCPU", nthread=7), 1, cgroup).alone()
    assert (found.threads, found.at_once) == (7, 1)


def test_several_things_at_a_time_are_those_of_multi_cpu() -> None:
    one, several = Compute("singleCPU", "cpu", 5), Compute("multiCPU", "cpu", 5)
    assert (one.at_once, several.at_once) == (1, 5)
    assert several.threads_each == 5


@pytest.mark.parametrize(
    ("threads", "models", "each"),
    [(5, 2, [3, 2]), (8, 3, [3, 3, 2]), (4, 4, [1] * 4), (1, 3, [1] * 3)],
)
def test_models_side_by_side_share_all_threads(threads: int, models: int, each: list[int]) -> None:
    place = Compute("multiCPU", "cpu", threads)
    found = [place.one_of(models, number) for number in range(models)]
    assert [one.threads_each for one in found] == each
    assert {one.threads for one in found} == {threads}  # to bin with


@pytest.mark.parametrize(
    ("wish", "hosts", "expected"),
    [
        (Wish("multiCPU", 8), 1, (1, 8, False)),
        (Wish("multiCPU", 8, 4), 1, (4, 2, True)),
        (Wish("multiCPU", 8, 3), 1, (3, 2, True)),
        (Wish("multiCPU", 2, 64), 1, (2, 1, True)),
        (Wish("multiCPU", 1), 1, (1, 1, False)),
        (Wish("multiCPU", 8, 1), 1, (1, 8, False)),
        (Wish("auto", 8), 2, (1, 8, True)),
        (Wish("multiCPU", 8), 3, (1, 8, True)),
        (Wish("auto", 8, 4), 2, (4, 2, True)),
        (Wish("auto", 8, 4), 1, (4, 2, True)),
        (Wish("auto", 8), 1, (1, 8, False)),
    ],
)
def test_several_workers_share_the_threads_of_a_host(
    tmp_path: Path, wish: Wish, hosts: int, expected: tuple[int, int, bool]
) -> None:
    plan = choose(wish, hosts, Cgroup(tmp_path))
    assert plan.path == "multiCPU"
    assert (plan.workers, plan.threads, plan.several) == expected
    assert plan.why.startswith(f"{hosts} hosts" if hosts > 1 else "one host")
    if wish.workers == 64:
        assert plan.why == "one host, workers=64 but 2 thread(s)"


def test_a_cluster_is_not_the_same_job_several_times(tmp_path: Path) -> None:
    with pytest.raises(HyperparameterError, match="found singleCPU, and the job has 3 hosts"):
        choose(Wish("singleCPU"), 3, Cgroup(tmp_path))


@pytest.mark.parametrize("asked", ["singleGPU", "multiGPU"])
def test_what_cannot_be_opened_is_refused_by_name(tmp_path: Path, asked: str) -> None:
    with pytest.raises(HyperparameterError) as caught:
        choose(Wish(asked), 1, Cgroup(tmp_path))
    assert f"compute: found {asked!r}" in caught.value.cause
    assert "compute=singleCPU" in caught.value.remedy
