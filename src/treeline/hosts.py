"""The machines of a job: finding the others by name, and the network that leads to them."""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Sequence

from treeline.errors import PlatformError

# Names of a cluster appear in DNS within seconds of each other; a name that is not there after
# this long is wrong.
TIMEOUT_S = 45.0
_PAUSE_S = 1.0
_SIOCGIFADDR = 0x8915  # Linux; source: netdevice(7)


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


def network_interface(named: str | None, current_host: str) -> str:
    """Return the name of the interface to talk to the other hosts by.

    It is ``named`` if there is one of that name here. Local mode names one that is not: then it is
    the one with the address that ``current_host`` resolves to, which is where the others send to;
    else the first that leads out of the machine, and on a machine alone the loopback.
    """
    addresses = {name: address(name) for _, name in socket.if_nameindex()}
    if named in addresses:
        return named
    try:
        own = socket.gethostbyname(current_host)
    except (OSError, UnicodeError):
        own = None
    known = {name: each for name, each in addresses.items() if each is not None}
    outward = [name for name, each in known.items() if not each.startswith("127.")]
    mine = [name for name, each in known.items() if each == own]
    return next(iter([*mine, *outward, *known]), "lo")


def address(interface: str) -> str | None:
    """Return the interface's IPv4 address, or None where it has none."""
    request = struct.pack("256s", interface.encode()[:15])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, request)
    except OSError:
        return None
    return socket.inet_ntoa(answer[20:24])
