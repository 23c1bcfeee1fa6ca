"""What a host process makes of what breaks around it."""

from __future__ import annotations

import pytest

from treeline import cluster, failure
from treeline.errors import ConfigError


def broken() -> list[Exception]:
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    return [
        FutureCancelledError("launch", "lost connection"),
        CommClosedError("in <TCP>"),
        ConnectionResetError(104, "reset"),
        TimeoutError("no answer"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_broken_connections_are_the_networks_fault_and_name_the_host(number: int) -> None:
    ended = failure.failed(cluster._of_network(broken()[number], "algo-1"))
    assert ended.status == 3
    assert ended.text.startswith("Host algo-1 is lost: its connections broke (")
    assert type(broken()[number]).__name__ in ended.text


def test_other_errors_stay_what_they_are() -> None:
    for error in (ConfigError("a", "b"), OSError(28, "full"), ValueError("x")):
        assert cluster._of_network(error, "algo-1") is error
