"""One worker process of a job: started by its host process (``cluster``), which orders it about.

    python -m treeline.worker PIPE PARENT ROOT

It imports what it needs and then reads its order, a line of JSON: ``cluster.Order`` with what the
host adds. Through the file descriptor PIPE it says, a line of JSON each, where the others join (the
first worker) and how it ended. PARENT is the number of the host process, ROOT the
job's ``/opt/ml``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
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


def main(pipe: int, parent: int, root: Path) -> None:
    """Train as the worker that the host process describes; the process ends here."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # 1 = PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)
    settle_native_threads(os.environ)
    _import()
    order = sys.stdin.readline()
    if not order.endswith("\n"):  # the host process is gone
        os._exit(128 + signal.SIGKILL)
    told: dict[str, Any] = json.loads(order)
    os.environ["TMPDIR"] = told["scratch"]
    console = _console(told["rank"])
    stop = StopRequest()
    stop.listen()
    with warnings_to(console):
        ended = failure.outcome_of(lambda: _train(pipe, root, told, console, stop))
    _leave(pipe, ended)


def _import() -> None:
    """Import what takes a while, as long as there is nothing to do; errors are told later."""
    with suppress(Exception):
        from treeline import loader  # noqa: F401
        from treeline.algorithms.library import library

        library()


def _console(rank: int) -> Console:
    """Return where this worker says what there is to say: what all would, the first one does.

    Standard output itself is shut: XGBoost's tracker writes to it from threads of its own.
    """
    stream = os.fdopen(os.dup(1), "w") if rank == 0 else None
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return Console(stream)


def _train(
    pipe: int, root: Path, told: dict[str, Any], console: Console, stop: StopRequest
) -> None:
    from treeline import trainer
    from treeline.collective import joined, left_by_all, tracker

    job = read_job(root, os.environ)
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
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
