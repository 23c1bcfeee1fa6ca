"""The other machines of a job: finding them by name."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from treeline.errors import PlatformError

# Names of a cluster appear in DNS within seconds of each other; a name that is not there after
# this long is wrong.
TIMEOUT_S = 45.0
_PAUSE_S = 1.0


def wait_until_resolvable(hosts: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
    """Return when every host name resolves; raise ``PlatformError`` naming those that do not."""
    deadline = time.monotonic() + timeout_s
    missing = list(hosts)
    while True:
        missing = [host for host in missing if not _resolves(host)]
        if not missing:
            return
        if time.monotonic() >= deadline:
            raise PlatformError(
                f"Host name {', '.join(missing)} does not resolve after {timeout_s:.0f} s",
                "Check 'hosts' in input/config/resourceconfig.json and the network of the "
                "containers; for a local run list only the host that exists.",
            )
        time.sleep(_PAUSE_S)


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):  # UnicodeError: a part of it is empty or too long for a name
        return False
    return True
