"""Stands in for a worker process: says what it was told, then does what the test wants.

Also run as ``python -m tests.fake_worker host NAME``: a host process whose workers are these.
``FAKE`` is JSON: seconds to work, and by rank how to end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")  # all this machine, and names that resolve


def work(pipe: int, told: dict[str, Any]) -> None:
    """Be a worker: join, wait, end."""
    wish = json.loads(os.environ["FAKE"])
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # a worker is born with it blocked
    if told["tracker"] is None and "early" in wish:
        _say(pipe, wish["early"])
        os._exit(1)
    if told["tracker"] is None:
        _say(pipe, {"tracker": {"dmlc_tracker_port": 7}})
    elif told["tracker"] != {"dmlc_tracker_port": 7}:
        raise AssertionError(told["tracker"])
    keys = ("rank", "size", "host", "hosts", "local", "beside", "attempt", "lost")
    print("worker", json.dumps({key: told[key] for key in keys}), os.getpid(), flush=True)
    late = wish.get("later", {}).get(str(told["rank"]), 0)
    until = time.monotonic() + wish.get("seconds", 0.5) + late
    while time.monotonic() < until and not asked and os.getppid() != 1:
        time.sleep(0.02)
    ends = wish.get("ends", {}).get(str(told["rank"]), {"status": 0})
    if ends in ("exit", "leave"):
        os._exit(7 if ends == "exit" else 0)
    ended: dict[str, Any] = {"status": 143, "said": "Stopped"} if asked else ends
    if ended.get("half"):
        os.write(pipe, b'{"status": 0, "sa')
        os._exit(0)
    _say(pipe, ended)
    os._exit(ended["status"])


def _say(pipe: int, what: dict[str, Any]) -> None:
    os.write(pipe, json.dumps(what).encode() + b"\n")


def host(name: str) -> int:
    """Be the host ``name`` of ``HOST_NAMES``."""
    from treeline import cluster
    from treeline.compute import Plan
    from treeline.console import Console
    from treeline.opt_ml import Hosts, Job, Paths
    from treeline.stopping import StopRequest

    cluster.COMMAND = (sys.executable, "-m", "tests.fake_worker", "work")
    cluster._LINGER_S = 0.6
    cluster.LOST_S = float(os.environ.get("LOST_S", "20"))
    cluster._SETTINGS["distributed.scheduler.worker-ttl"] = f"{cluster.LOST_S} s"
    cluster._Host._own_address = lambda self: self.job.hosts.current  # type: ignore[method-assign]
    wish = json.loads(os.environ["FAKE"])
    names = wish.get("hosts", HOSTS)
    root = Path(os.environ["ROOT"])
    given = {"num_round": "1", "objective": "reg:squarederror", **wish.get("given", {})}
    given |= wish.get("given of", {}).get(name, {})
    job = Job(Paths(root), given, {}, Hosts(name, tuple(names)), None, None, {})
    plan = Plan("multiCPU", "cpu", wish.get("workers", 1), 1, several=True, why="asked for")
    with StopRequest().installed() as stop:
        ended = cluster.run(job, plan, Console(), stop)
    return ended.settle(root / name / "failure")


if __name__ == "__main__":
    if sys.argv[1] == "host":
        sys.exit(host(sys.argv[2]))
    if order := sys.stdin.readline():
        work(int(sys.argv[2]), json.loads(order))
