"""Finding the other machines of a job, with the machine's own resolver and interfaces."""

from __future__ import annotations

import socket
import time

import pytest

from treeline import hosts
from treeline.errors import PlatformError


def test_no_hosts_and_known_hosts_return_at_once() -> None:
    started = time.monotonic()
    hosts.wait_until_resolvable([])
    hosts.wait_until_resolvable(["localhost", "127.0.0.1"])
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "wrong",
    ["algo-1.invalid", "a..b", "x" * 64, ""],
    ids=["unknown", "empty part", "long", "empty"],
)
def test_a_name_that_does_not_resolve_is_named(wrong: str) -> None:
    with pytest.raises(PlatformError) as caught:
        hosts.wait_until_resolvable(["localhost", wrong], timeout_s=0.0)
    assert caught.value.cause == f"Host name {wrong} does not resolve after 0 s"
    assert "resourceconfig.json" in caught.value.remedy


def test_every_missing_name_is_named_and_looked_up_until_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hosts, "_PAUSE_S", 0.05)
    started = time.monotonic()
    with pytest.raises(PlatformError, match=r"name a\.invalid, b\.invalid does not resolve"):
        hosts.wait_until_resolvable(["a.invalid", "localhost", "b.invalid"], timeout_s=0.2)
    assert time.monotonic() - started >= 0.2


def test_a_name_that_appears_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolver(host: str, port: None) -> list[object]:
        asked.append(host)
        if asked.count(host) < 3:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return []

    monkeypatch.setattr(hosts, "_PAUSE_S", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    hosts.wait_until_resolvable(["algo-1", "algo-2"], timeout_s=5.0)
    assert asked == ["algo-1", "algo-2"] * 3


LOOPBACK = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))


def test_an_interface_that_exists_is_kept() -> None:
    assert hosts.network_interface(LOOPBACK, "algo-1.invalid") == LOOPBACK


def test_one_that_does_not_is_that_of_the_hosts_own_address() -> None:
    assert hosts.network_interface("ethwe", "localhost") == LOOPBACK
    assert hosts.network_interface(None, "localhost") == LOOPBACK


@pytest.mark.parametrize(
    ("addresses", "own", "expected"),
    [
        ({"lo": "127.0.0.1", "eth0": "10.0.0.2", "eth1": "10.1.0.2"}, "10.1.0.2", "eth1"),
        ({"lo": "127.0.0.1", "eth1": "10.0.0.2"}, None, "eth1"),
        ({"lo": "127.0.0.1", "eth1": "10.0.0.2"}, "10.9.9.9", "eth1"),
        ({"lo": "127.0.0.1", "down0": None}, None, "lo"),
        ({"down0": None, "lo": "127.0.0.1", "eth1": "10.0.0.2"}, None, "eth1"),
        ({}, None, "lo"),
    ],
    ids=["own address", "unknown name", "foreign address", "alone", "without address", "none"],
)
def test_which_interface_leads_to_the_others(
    addresses: dict[str, str | None],
    own: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolver(host: str) -> str:
        assert host == "algo-1"
        if own is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return own

    monkeypatch.setattr(socket, "if_nameindex", lambda: list(enumerate(addresses, 1)))
    monkeypatch.setattr(hosts, "address", addresses.__getitem__)
    monkeypatch.setattr(socket, "gethostbyname", resolver)
    assert hosts.network_interface("ethwe", "algo-1") == expected
