"""The format: what goes in comes out, and nothing else is ever read."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from treeline.checkpoints.part import DamagedError, decode, digest_of, encode, hash_of

FACTS = {"job": "0123", "first": 3, "bins": "é\n"}
SCORES = [
    {"train": {"rmse": 0.1 + 0.2, "mae": 5e-324}, "validation": {"rmse": -0.0}},
    {"train": {"rmse": math.inf, "mae": -math.inf}, "validation": {"rmse": 1.7976931348623157e308}},
]
SECTIONS = {"model": bytes(range(256)), "empty": b"", "more": b"\ntreeline-commit 00\n"}
SMALL = encode({"first": 0}, [{"d": {"m": 0.5}}], {"model": b"\x00\xff"})


def signed(line: str | bytes, body: bytes = b"") -> bytes:
    """A file with a good last line, whatever stands before it."""
    content = (line.encode() if isinstance(line, str) else line) + b"\n" + body
    return content + b"\ntreeline-commit " + hash_of(content).encode() + b"\n"


def header(**changed: Any) -> str:
    return json.dumps({"treeline_checkpoint": 1, "scores": [], "sections": {}, **changed})


def reason(content: bytes) -> str:
    with pytest.raises(DamagedError) as caught:
        decode(content)
    return str(caught.value)


def test_what_goes_in_comes_out() -> None:
    part = decode(content := encode(FACTS, SCORES, SECTIONS))
    assert part.facts == FACTS
    assert repr(part.scores) == repr(tuple(SCORES))  # also the sign of zero, and the order
    assert part.sections == SECTIONS
    assert list(part.sections) == list(SECTIONS)
    assert part.size == len(content)
    assert part.digest == digest_of(content) == content[-65:-1].decode()


def test_nan_comes_out_as_nan() -> None:
    [scores] = decode(encode({}, [{"d": {"m": math.nan}}], {})).scores
    assert math.isnan(scores["d"]["m"])


def test_the_same_content_gives_the_same_bytes_and_other_content_others() -> None:
    assert encode(FACTS, SCORES, SECTIONS) == encode(FACTS, SCORES, SECTIONS)
    different = {
        encode(FACTS, SCORES, SECTIONS),
        encode({**FACTS, "first": 4}, SCORES, SECTIONS),
        encode(FACTS, SCORES[:1], SECTIONS),
        encode(FACTS, SCORES, {**SECTIONS, "empty": b"0"}),
    }
    assert len({digest_of(each) for each in different}) == 4


def test_the_form_is_the_one_that_is_written_down() -> None:
    first, *_, last, end = SMALL.split(b"\n")
    assert json.loads(first) == {
        "treeline_checkpoint": 1,
        "first": 0,
        "scores": [{"d": {"m": 0.5}}],
        "sections": {"model": 2},
    }
    assert last == b"treeline-commit " + hash_of(first + b"\n\x00\xff").encode()
    assert end == b""


def test_every_truncation_is_found() -> None:
    reasons = {reason(SMALL[:length]) for length in range(1, len(SMALL))}
    assert reasons == {"it was not written whole, its last line is missing"}
    assert reason(b"") == "it is empty"


def test_every_flipped_bit_is_found() -> None:
    reasons = set()
    for place in range(len(SMALL)):
        for bit in range(8):
            flipped = bytearray(SMALL)
            flipped[place] ^= 1 << bit
            reasons.add(reason(bytes(flipped)))
    assert reasons == {
        "it is not a checkpoint",
        "it was not written whole, its last line is missing",
        "its content is not what was written, the hash differs",
    }


@pytest.mark.parametrize("more", [b"\n", b"x", SMALL, b"\x00" * 100])
def test_bytes_too_many_are_found(more: bytes) -> None:
    assert reason(SMALL + more)


def test_a_newer_version_is_named() -> None:
    assert reason(signed(header(treeline_checkpoint=2, scores="of another form"))) == (
        "it has format version 2, this image reads up to 1"
    )


@pytest.mark.parametrize("content", [b"{}", b"PK\x03\x04", b"\n", b'{"treeline": 1}', bytes(500)])
def test_something_else_is_named(content: bytes) -> None:
    assert reason(content) == "it is not a checkpoint"


@pytest.mark.parametrize(
    "sections", [{"model": 3}, {"model": 1}, {}, {"model": 2, "more": 1}, {"model": 10**400}]
)
def test_sections_that_do_not_add_up(sections: dict[str, int]) -> None:
    assert reason(signed(header(sections=sections), b"ab")) == "its sections do not add up"


@pytest.mark.parametrize(
    "line",
    [
        header(sections={"model": -1}),
        header(sections={"model": 0.0}),
        header(sections={"model": None}),
        header(sections=[1]),
        header(sections=[[{}, 1]]),
        header(sections=None),
        header(scores=None),
        header(scores=[1]),
        header(scores=[[1]]),
        header(scores=[{"d": 1}]),
        header(scores=[{"d": {"m": "high"}}]),
        header(scores=[{"d": {"m": 10**400}}]),
        header(scores=[{"d": {"m": None}}]),
        header(treeline_checkpoint="1"),
        header(treeline_checkpoint=None),
        '{"treeline_checkpoint":1}',
        '{"treeline_checkpoint":',
        '{"treeline_checkpoint":' + "[" * 100_000,
        '{"treeline_checkpoint":' + "1" * 5_000,
        b'{"treeline_checkpoint":1,"\xff":2}',
    ],
    ids=lambda line: str(line)[:60],
)
def test_a_first_line_of_any_other_form_is_damage_too(line: str | bytes) -> None:
    line = line.replace('": ', '":') if isinstance(line, str) else line
    assert reason(signed(line)) in (
        "its first line is not that of a checkpoint",
        "it has format version None, this image reads up to 1",
        "it has format version 1, this image reads up to 1",
    )
