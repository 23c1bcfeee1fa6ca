"""Which files make one chain."""

from __future__ import annotations

import itertools
import random

import pytest

from treeline.checkpoints import chain
from treeline.checkpoints.chain import Link, Name

JOB = "0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (Name("model", 0, 1), "model-000000-000001.ckpt"),
        (Name("fold-003", 999_999, 1_000_000), "fold-003-999999-1000000.ckpt"),
        (Name("fold-003"), "fold-003-done.ckpt"),
        (Name("model-000001-000002", 3, 5), "model-000001-000002-000003-000005.ckpt"),
    ],
)
def test_a_name_is_read_as_it_is_written(name: Name, text: str) -> None:
    assert name.text == text
    assert chain.parsed(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "job.json",
        "model.ckpt",
        "model-0-1.ckpt",
        "model-000001-000001.ckpt",
        "model-000002-000001.ckpt",
        "model-000000-000000.ckpt",
        "model-0000000-0000001.ckpt",  # seven digits without need
        "model-000000-000001.ckpt.part",
        ".model-000000-000001.ckpt.0123abcd.sagemaker-ignore",
        "model-٠٠٠٠٠٠-٠٠٠٠٠١.ckpt",
        "model-000000-" + "9" * 200 + ".ckpt",
        "-done.ckpt",
        "mo\x1bdel-done.ckpt",
        "model-done.ckpt\n",
        "model--00001-000002.ckpt",
        "",
    ],
)
def test_other_names_are_nobodys(text: str) -> None:
    assert chain.parsed(text) is None


def link(first: int, end: int, before: Link | None = None, **more: object) -> Link:
    bins = str(more.get("bins", ""))
    after = chain.root(JOB, "model", bins) if before is None else before.digest
    digest = f"{before.digest if before else 'root' + bins}:{first}-{end}"
    return Link(Name("model", first, end), after, bins, digest, bool(more.get("scored")), 1000)


def ends(links: list[Link], limit: int = 1000) -> list[tuple[int, int]]:
    """The chain found, in whatever order the files come."""
    rng = random.Random(0)
    found = chain.longest(JOB, links, limit)
    for _ in range(5):
        rng.shuffle(links)
        assert chain.longest(JOB, links, limit) == found
    return [(each.name.first, each.name.end) for each in found]


def test_the_longest_chain_is_found() -> None:
    a, short = link(0, 32), link(0, 31)
    b = link(32, 64, a)
    c = link(64, 70, b)
    assert ends([]) == []
    assert ends([a, short]) == [(0, 32)]
    assert ends([a, b, c, short, link(64, 69, b)]) == [(0, 32), (32, 64), (64, 70)]
    assert ends([a, b, c, link(0, 71)]) == [(0, 71)]
    assert ends([a, b, c, link(0, 69)]) == [(0, 32), (32, 64), (64, 70)]


def test_what_is_not_connected_is_not_in_it() -> None:
    a, other = link(0, 32), link(0, 32, bins="other")
    assert ends([link(32, 64, a)]) == []
    assert ends([a, link(32, 64, other)]) == [(0, 32)]
    assert ends([a, link(33, 64, a)]) == [(0, 32)]
    assert ends([a, link(31, 64, a)]) == [(0, 32)]
    assert ends([a, link(32, 64, a, bins="other")]) == [(0, 32)]
    assert ends([a, link(32, 64, a, scored=True)]) == [(0, 32)]
    assert chain.longest("another job", [a], 1000) == []


def test_all_of_its_rounds_are_within_the_limit() -> None:
    a = link(0, 32)
    b = link(32, 64, a)
    links = [a, b, link(0, 20)]
    found = [ends(links, limit) for limit in (64, 63, 32, 31, 20, 19, 0)]
    assert found == [[(0, 32), (32, 64)], [(0, 32)], [(0, 32)], [(0, 20)], [(0, 20)], [], []]


def test_a_block_is_complete_by_rounds_or_bytes() -> None:
    name, rounds, size = Name("model", 40, 41), chain.BLOCK_ROUNDS, chain.BLOCK_BYTES
    assert (rounds, size) == (16, 1 << 20)
    assert not Link(name, "", "", "", True, size - 1).complete
    assert Link(name, "", "", "", True, size).complete
    assert not Link(Name("model", 40, 55), "", "", "", True, 0).complete
    assert Link(Name("model", 40, 56), "", "", "", True, 0).complete


def test_stages_jobs_and_bins_begin_differently() -> None:
    roots = {chain.root(*each) for each in itertools.product("ab", "ab", ("", "a", "b"))}
    assert len(roots) == 12
