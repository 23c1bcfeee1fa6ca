"""One worker process of a job: started by its host process (``cluster``), told by an argument.

    python -m treeline.worker PIPE ORDER

Through the file descriptor PIPE it says, a line of JSON each, where the others join (the first
worker) and how it ended. ORDER is ``cluster.Order`` with what the host adds, as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from treeline import failure
from treeline.compute import Compute, settle_native_threads
from treeline.console import Console
from treeline.data.shares import Seat
from treeline.opt_ml import read_job
from treeline.stopping import StopRequest
from treeline.train import warnings_to


def main(pipe: int, told: dict[str, Any]) -> None:
    """Train as the worker that ``told`` describes; the process ends here."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # 1 = PR_SET_PDEATHSIG
    settle_native_threads(os.environ)
    # What all workers would say is said by the first one.
    console = Console(None if told["rank"] == 0 else Path(os.devnull).open("w"))  # noqa: SIM115
    with StopRequest().installed() as stop, warnings_to(console):
        ended = failure.outcome_of(lambda: _train(pipe, told, console, stop))
    _leave(pipe, ended)


def _train(pipe: int, told: dict[str, Any], console: Console, stop: StopRequest) -> None:
    from treeline import trainer
    from treeline.collective import joined, left_by_all, tracker

    job = read_job(Path(told["root"]), os.environ)
    arguments, started, trained = told["tracker"], None, False
    if arguments is None:
        started = tracker(told["address"], told["size"])
        arguments = started.worker_args()
        _say(pipe, {"tracker": arguments})
    seat = Seat(told["host"], told["hosts"], told["local"], told["beside"])
    try:
        with joined(arguments, told["rank"], told["address"]) as team:
            place = Compute(told["path"], told["device"], told["threads"], team, told["beside"])
            ended = failure.outcome_of(
                lambda: trainer.run(job, console, stop, place, seat, tuple(told["lost"]))
            )
            if ended.status:  # leaving the team means to wait for all others
                _leave(pipe, ended)
            trained = True
    except Exception:
        if not trained:  # else the model is written, and only saying goodbye has failed
            raise
    if started is not None:
        left_by_all(started)


def _leave(pipe: int, ended: failure.Outcome) -> None:
    """Say how it ended and end, without waiting for the others, who may wait for this one."""
    _say(pipe, asdict(ended))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended.status)


def _say(pipe: int, what: dict[str, Any]) -> None:
    left = json.dumps(what).encode() + b"\n"
    while left:
        left = left[os.write(pipe, left) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
