"""Host processes and what they make of each other's ends; the workers only pretend to train."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fake_worker import HOSTS

HERE = Path(__file__).resolve().parents[2]


class Hosts:
    """Running host processes, by name."""

    def __init__(self, root: Path, wish: Mapping[str, Any], lost_s: float = 20) -> None:
        self.root = root
        self.wish = wish
        self.names = list(wish.get("hosts", HOSTS))
        self.environ = {
            **os.environ,
            "FAKE": json.dumps(wish),
            "ROOT": str(root),
            "LOST_S": str(lost_s),
            "PYTHONPATH": str(HERE),
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.began = time.monotonic()

    def start(self, *names: str) -> None:
        for name in names or self.names:
            (self.root / name).mkdir(exist_ok=True)
            with (self.root / name / "out").open("w") as out:
                self.running[name] = subprocess.Popen(
                    [sys.executable, "-m", "tests.fake_worker", "host", name],
                    env=self.environ,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def said(self, name: str) -> str:
        return (self.root / name / "out").read_text()

    def workers(self) -> list[tuple[str, dict[str, Any], int]]:
        """Return host, order and process id of every worker that has begun."""
        found = []
        for name in self.running:
            for line in self.said(name).splitlines():
                if line.startswith("worker "):
                    told, _, number = line.removeprefix("worker ").rpartition(" ")
                    found.append((name, json.loads(told), int(number)))
        return sorted(found, key=lambda each: (each[1]["attempt"], each[1]["rank"]))

    def wait_for_workers(self, count: int) -> list[tuple[str, dict[str, Any], int]]:
        until = time.monotonic() + 30
        while len(found := self.workers()) < count:
            assert time.monotonic() < until, {name: self.said(name) for name in self.names}
            time.sleep(0.05)
        return found

    def ends(self, timeout: float = 40) -> dict[str, int]:
        until = time.monotonic() + timeout
        return {
            name: process.wait(max(0.1, until - time.monotonic()))
            for name, process in self.running.items()
        }

    def failure(self, name: str) -> str:
        file = self.root / name / "failure"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def together(tmp_path: Path) -> Iterator[Any]:
    made: list[Hosts] = []

    def make(wish: Mapping[str, Any], lost_s: float = 20) -> Hosts:
        made.append(Hosts(tmp_path, wish, lost_s))
        return made[-1]

    yield make
    for hosts in made:
        for number in {*_processes(tmp_path), *(number for *_, number in hosts.workers())}:
            assert not _alive(number), "a worker process was left behind"
        for process in hosts.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _processes(root: Path) -> Iterator[int]:
    """Yield the workers of hosts under ``root``, also those that wait for their orders."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            if "work" in words and str(root) in words:
                yield int(folder.name)


def _alive(process: int) -> bool:
    for _ in range(50):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


def test_workers_are_numbered_host_by_host_and_no_host_leaves_before_the_first(
    together: Any,
) -> None:
    hosts = together({"workers": 2, "seconds": 1})
    hosts.start(*reversed(HOSTS))  # whoever comes first waits
    first, *others = HOSTS
    assert hosts.running[first].wait(60) == 0
    still = [name for name in others if hosts.running[name].poll() is None]
    assert still == others
    assert set(hosts.ends().values()) == {0}
    told = [(name, each["rank"], each["host"], each["local"]) for name, each, _ in hosts.workers()]
    assert told == [(name, 2 * i + k, i, k) for i, name in enumerate(HOSTS) for k in range(2)]
    assert {each["size"] for _, each, _ in hosts.workers()} == {6}
    assert "multiCPU: 6 workers on 3 host(s), 127.0.0.2 2" in hosts.said(first)
    assert "distributed" not in hosts.said(first)  # what Dask logs is for its developers


def test_one_machine_needs_no_other_host_and_no_fixed_port(together: Any) -> None:
    hosts = together({"workers": 3, "hosts": ["127.0.0.2"]})
    hosts.start()
    assert hosts.ends() == {"127.0.0.2": 0}
    assert [each["rank"] for _, each, _ in hosts.workers()] == [0, 1, 2]


def test_an_error_of_one_worker_is_the_job_s_on_every_host(together: Any) -> None:
    bad = {"status": 1, "said": "ERROR: bad rows\nmend them", "text": "bad rows\nmend them"}
    hosts = together({"seconds": 0.3, "ends": {"1": bad}})
    hosts.start()
    assert set(hosts.ends().values()) == {1}
    for name in HOSTS:
        assert hosts.failure(name) == "127.0.0.3: bad rows\nmend them"
        assert "ERROR: 127.0.0.3: bad rows\nmend them" in hosts.said(name)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_killed_worker_ends_the_job_and_is_named(together: Any, rank: int) -> None:
    hosts = together({"seconds": 60})
    hosts.start()
    name, _, process = hosts.wait_for_workers(3)[rank]
    os.kill(process, signal.SIGKILL)
    assert set(hosts.ends().values()) == {3}
    for each in HOSTS:
        assert hosts.failure(each).startswith(f"{name}: Worker {rank} was killed by SIGKILL")


def test_a_worker_that_ends_without_a_word_is_named(together: Any) -> None:
    hosts = together({"seconds": 0.3, "ends": {"1": "exit"}})
    hosts.start()
    assert set(hosts.ends().values()) == {3}
    assert "127.0.0.3: Worker 1 ended with status 7" in hosts.failure("127.0.0.2")


@pytest.mark.parametrize("victim", HOSTS[:2])
def test_a_killed_host_ends_the_job_and_is_named(together: Any, victim: str) -> None:
    hosts = together({"seconds": 60})
    hosts.start()
    workers = hosts.wait_for_workers(3)
    hosts.running[victim].kill()
    for name, _, process in workers:  # as in a container, where all die with process 1
        if name == victim:
            os.kill(process, signal.SIGKILL)
    found = hosts.ends()
    assert found.pop(victim) == -signal.SIGKILL
    assert set(found.values()) == {3}
    for name in found:
        assert hosts.failure(name).startswith(f"Host {victim} is lost")


@pytest.mark.parametrize("victim", HOSTS[:2])
def test_a_host_that_hangs_is_noticed(together: Any, victim: str) -> None:
    hosts = together({"seconds": 60}, lost_s=2)
    hosts.start()
    workers = hosts.wait_for_workers(3)
    hosts.running[victim].send_signal(signal.SIGSTOP)
    others = [name for name in HOSTS if name != victim]
    for name in others:
        assert hosts.running[name].wait(60) == 3
        assert hosts.failure(name).startswith(f"Host {victim} is lost")
    hosts.running[victim].send_signal(signal.SIGCONT)  # it finds the others gone
    assert hosts.running[victim].wait(60) == 3
    assert "is lost" in hosts.failure(victim)
    assert len(workers) == 3


@pytest.mark.parametrize("asked", [HOSTS, HOSTS[1:2]])
def test_stopped_everywhere_whoever_is_asked(together: Any, asked: tuple[str, ...]) -> None:
    hosts = together({"seconds": 60})
    hosts.start()
    hosts.wait_for_workers(3)
    for name in asked:
        hosts.running[name].terminate()
    assert set(hosts.ends().values()) == {143}
    assert not any(map(hosts.failure, HOSTS))


def test_stopped_while_it_waits_for_the_others(together: Any) -> None:
    hosts = together({})
    hosts.start(HOSTS[0], HOSTS[1])
    time.sleep(2.5)
    waiting = [*_processes(hosts.root)]
    assert len(waiting) == 2  # for their orders
    for name in (HOSTS[1], HOSTS[0]):
        hosts.running[name].terminate()
    assert set(hosts.ends().values()) == {143}
    assert not hosts.workers()
    assert not any(map(_alive, waiting))


def test_the_hosts_that_remain_go_on_where_the_job_wants_it(together: Any) -> None:
    hosts = together({"seconds": 4, "given": {"on_host_loss": "resume"}})
    hosts.start()
    workers = hosts.wait_for_workers(3)
    hosts.running[HOSTS[1]].kill()
    os.kill(workers[1][2], signal.SIGKILL)
    found = hosts.ends()
    assert (found[HOSTS[0]], found[HOSTS[2]]) == (0, 0)
    again = [(name, each) for name, each, _ in hosts.workers() if each["attempt"] == 2]
    assert [(name, each["rank"], each["size"], each["lost"]) for name, each in again] == [
        (HOSTS[0], 0, 2, [HOSTS[1]]),
        (HOSTS[2], 1, 2, [HOSTS[1]]),
    ]
    assert f"WARNING: {HOSTS[1]} is lost; 2 host(s) go on" in hosts.said(HOSTS[0])


def test_other_hyperparameters_on_a_host_are_refused(together: Any) -> None:
    hosts = together({"given of": {HOSTS[2]: {"num_round": "2"}}})
    hosts.start()
    assert set(hosts.ends().values()) == {1}
    assert "Host 127.0.0.4 has other hyperparameters than 127.0.0.2" in hosts.failure(HOSTS[1])


def make_certificates(folder: Path) -> None:
    """Make ca.pem, and cert.pem with key.pem that it signed, as docs/hosts.md says."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder.mkdir(parents=True)
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=treeline -keyout key.pem -out cert.csr",
        "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out cert.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def test_dask_s_messages_are_encrypted_where_the_job_wants_it(
    together: Any, tmp_path: Path
) -> None:
    make_certificates(tmp_path / "input" / "data" / "tls")
    hosts = together({"seconds": 4, "given": {"dask_tls": "true"}})
    hosts.start()
    hosts.wait_for_workers(3)
    with (
        socket.create_connection((HOSTS[0], 8786), timeout=5) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        _speak_without_certificate(plain, tmp_path / "input/data/tls/ca.pem")
    assert set(hosts.ends().values()) == {0}


def _speak_without_certificate(plain: socket.socket, ca: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    with context.wrap_socket(plain) as secured:
        assert secured.version() is not None  # it is TLS that answers
        secured.sendall(bytes(64))
        if secured.recv(1) == b"":
            raise ConnectionError("closed")


def test_certificates_that_are_not_there_are_named(together: Any) -> None:
    hosts = together({"given": {"dask_tls": "true"}})
    hosts.start()
    assert set(hosts.ends().values()) == {1}
    assert "dask_tls=true needs" in hosts.failure(HOSTS[0])
    assert "tls/ca.pem" in hosts.failure(HOSTS[0])


def test_strangers_get_no_answer(together: Any) -> None:
    hosts = together({"seconds": 4})
    hosts.start()
    hosts.wait_for_workers(3)
    for source, welcome in (("127.0.0.9", False), (HOSTS[2], True)):
        with socket.create_connection(
            (HOSTS[0], 8786), timeout=5, source_address=(source, 0)
        ) as asking:
            found = asking.recv(8)
            assert bool(found) == welcome, source
    assert set(hosts.ends().values()) == {0}


def test_the_cause_is_told_not_its_consequence(together: Any) -> None:
    """Whoever waits for the worker that failed may end first."""
    follows = {"status": 3, "said": "ERROR: gone", "text": "gone", "follows": True}
    cause = {"status": 1, "said": "ERROR: bad rows", "text": "bad rows"}
    hosts = together(
        {"seconds": 0.3, "later": {"1": 1.0}, "ends": {"0": follows, "1": cause, "2": follows}}
    )
    hosts.start()
    assert set(hosts.ends().values()) == {1}
    assert {hosts.failure(name) for name in HOSTS} == {"127.0.0.3: bad rows"}


def test_the_cause_is_told_by_workers_of_one_host(together: Any) -> None:
    follows = {"status": 3, "said": "ERROR: gone", "text": "gone", "follows": True}
    cause = {"status": 1, "said": "ERROR: bad rows", "text": "bad rows"}
    hosts = together(
        {
            "hosts": [HOSTS[0]],
            "workers": 2,
            "seconds": 0.3,
            "later": {"1": 1.0},
            "ends": {"0": follows, "1": cause},
        }
    )
    hosts.start()
    assert hosts.ends() == {HOSTS[0]: 1}
    assert hosts.failure(HOSTS[0]) == "bad rows"


def test_a_host_that_was_here_and_is_gone_is_not_waited_for(together: Any) -> None:
    hosts = together({})
    hosts.start(HOSTS[0], HOSTS[1])
    time.sleep(3)
    hosts.running[HOSTS[1]].kill()
    assert hosts.running[HOSTS[0]].wait(60) == 3
    assert hosts.failure(HOSTS[0]).startswith(f"Host {HOSTS[1]} is lost")


def test_what_the_first_worker_says_before_it_meets_the_others_counts(together: Any) -> None:
    cause = {"status": 1, "said": "ERROR: bad rows", "text": "bad rows"}
    hosts = together({"early": cause})
    hosts.start()
    assert set(hosts.ends().values()) == {1}
    assert hosts.failure(HOSTS[2]) == f"{HOSTS[0]}: bad rows"


def test_two_hosts_are_lost_at_once_and_the_first_goes_on_alone(together: Any) -> None:
    hosts = together({"seconds": 3, "given": {"on_host_loss": "resume"}})
    hosts.start()
    workers = hosts.wait_for_workers(3)
    for name, _, process in workers[1:]:
        hosts.running[name].kill()
        os.kill(process, signal.SIGKILL)
    assert hosts.running[HOSTS[0]].wait(60) == 0
    last = hosts.workers()[-1][1]
    assert (last["size"], sorted(last["lost"])) == (1, list(HOSTS[1:]))


@pytest.mark.parametrize("silence", ["a half word", "none"])
def test_a_worker_has_to_say_that_it_is_done(together: Any, silence: str) -> None:
    hosts = together({"ends": {"1": {"status": 0, "half": True} if silence != "none" else "leave"}})
    hosts.start()
    assert set(hosts.ends().values()) == {3}
    assert "127.0.0.3: Worker 1 ended with status 0 and without a word" in hosts.failure(HOSTS[0])


def test_a_job_that_fails_leaves_no_model(together: Any, tmp_path: Path) -> None:
    model = tmp_path / "model" / "xgboost-model"
    model.parent.mkdir()
    model.write_bytes(b"")
    hosts = together({"seconds": 1, "ends": {"1": "exit"}})
    hosts.start()
    assert set(hosts.ends().values()) == {3}
    assert not model.exists()
