"""Several containers on one machine, started by cluster.sh; a user's program that uses them all."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_test import cluster

from tests.conftest import Tree
from tests.container.engine import IMAGE, LABEL, docker
from tests.contract.jobs import binary_rows
from tests.waiting import eventually

pytestmark = pytest.mark.container

SCRIPT = Path(cluster.__file__).with_name("cluster.sh")

# The first host listens, the others connect; each sends the number of its files and gets the sum.
PROGRAM = """\
import json, os, signal, socket, sys, time
from pathlib import Path

hosts, current = json.loads(os.environ["SM_HOSTS"]), os.environ["SM_CURRENT_HOST"]
task = os.environ["SM_HP_TASK"]
model, data = Path(os.environ["SM_MODEL_DIR"]), Path(os.environ["SM_CHANNEL_TRAIN"])
PORT = 7777

def stop(*_):
    print("asked to stop", flush=True)
    (model / f"stopped-{current}").touch()
    sys.exit(0)

def exchange(number):
    if current == hosts[0]:
        with socket.create_server(("", PORT)) as server:
            others = [server.accept()[0].makefile("rw") for _ in hosts[1:]]
        total = number + sum(int(other.readline()) for other in others)
        for other in others:
            other.write(f"{total}\\n")
            other.flush()
        return total
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = socket.create_connection((hosts[0], PORT))
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    with connection.makefile("rw") as first:
        first.write(f"{number}\\n")
        first.flush()
        return int(first.readline())

print("told", json.dumps({k: v for k, v in os.environ.items() if k.startswith("SM_")}))
if task == "wait" or (task == "leave" and current != hosts[0]):
    signal.signal(signal.SIGTERM, signal.SIG_IGN if task == "leave" else stop)
    print("waiting", flush=True)
    for _ in range(1200):
        time.sleep(0.1)
names = sorted(file.name for file in data.iterdir())
result = {
    "files": names,
    "sum": exchange(len(names)) if task == "meet" else None,
    "interfaces": [name for _, name in socket.if_nameindex()],
    "own name": socket.gethostname(),
    "writable": os.access(data, os.W_OK),
}
(model / f"result-{current}.json").write_text(json.dumps(result))
if task == "fail" and current == hosts[1]:
    raise ValueError("a mistake on one host")
"""


@pytest.fixture
def job(tree: Tree) -> Tree:
    for number in range(3):
        tree.channel("train", binary_rows(2), f"part-{number}.csv")
    (tree.root / "code").mkdir()
    (tree.root / "code" / "mine.py").write_text(PROGRAM)
    return tree


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Path]:
    """Where the hosts' folders are; nothing may be left of their containers and network."""
    folder = tmp_path / "results"
    yield folder
    assert left_of(folder) == []


def left_of(results: Path) -> list[str]:
    chosen = ("--quiet", "--filter", f"label={cluster.LABEL}={results}")
    return (docker("ps", "--all", *chosen).stdout + docker("network", "ls", *chosen).stdout).split()


def command(
    tree: Tree, results: Path, task: str, count: int, *options: str, program: str = "mine.py"
) -> list[str]:
    tree.hyperparameters(sagemaker_program=program, task=task)
    where = ("--results", str(results), "--image", IMAGE)
    return [str(SCRIPT), str(count), str(tree.root), *where, *options]


def run(
    tree: Tree, results: Path, task: str, *options: str, count: int = 2
) -> subprocess.CompletedProcess[str]:
    told = command(tree, results, task, count, "--max-run", "60", "--grace", "5", *options)
    return subprocess.run(told, capture_output=True, text=True, check=False, timeout=120)


def waiting(tree: Tree, results: Path, *options: str) -> subprocess.Popen[str]:
    """Start it and return when the program waits on both hosts."""
    script = subprocess.Popen(
        command(tree, results, "wait", 2, *options),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert script.stdout is not None
    seen: set[str] = set()
    for line in script.stdout:
        if line.rstrip().endswith("| waiting"):
            seen.add(line.split()[0])
        if len(seen) == 2:
            break
    assert len(seen) == 2
    return script


def rows(output: str) -> dict[str, list[str]]:
    """The table, by host."""
    table = output.split("status  seconds")[-1].strip().split("\n\n")[0]
    return {line.split()[0]: line.split()[1:] for line in table.splitlines()}


def result(model: Path, host: str) -> Any:
    return json.loads((model / f"result-{host}.json").read_text())


def told(output: str, host: str) -> dict[str, str]:
    """The toolkit's variables, as the program on ``host`` printed them."""
    lines = [line.split("| told ")[-1] for line in output.splitlines() if "| told " in line]
    each: list[dict[str, str]] = [json.loads(line) for line in lines]
    return next(found for found in each if found["SM_CURRENT_HOST"] == host)


def test_two_hosts_meet_and_each_has_its_own_files(job: Tree, results: Path) -> None:
    done = run(job, results, "meet", "--sharded", "--cpus", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {host: row[0] for host, row in rows(done.stdout).items()} == {
        "algo-1": "0",
        "algo-2": "0",
    }
    first, second = (result(results / host / "model", host) for host in ("algo-1", "algo-2"))
    assert first["files"] == ["part-0.csv", "part-2.csv"]
    assert second["files"] == ["part-1.csv"]
    assert first["sum"] == second["sum"] == 3
    for host in ("algo-1", "algo-2"):
        found = told(done.stdout, host)
        assert found["SM_HOSTS"] == '["algo-1","algo-2"]'
        assert found["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
        assert found["SM_NUM_CPUS"] == "1"
        assert found["SM_NETWORK_INTERFACE_NAME"] == "eth0"
        assert found["SM_CURRENT_INSTANCE_GROUP_HOSTS"] == '["algo-1","algo-2"]'
        assert result(results / host / "model", host)["own name"] != host  # as on the service
        assert (results / host / "output" / "success").exists()
        assert "SUCCESS" in (results / host / "log.txt").read_text()
    assert "does not exist here" not in done.stdout


def test_replicated_data_is_the_same_everywhere_and_read_only(job: Tree, results: Path) -> None:
    done = run(job, results, "alone")
    assert done.returncode == 0, done.stdout + done.stderr
    for host in ("algo-1", "algo-2"):
        assert result(results / host / "model", host)["files"] == [
            "part-0.csv",
            "part-1.csv",
            "part-2.csv",
        ]
    done = docker(
        *("run", "--rm", "--label", LABEL, "--network", "none", "--entrypoint", "touch"),
        *(f"--volume={job.root}/input/data/train:/opt/ml/input/data/train:ro", IMAGE),
        "/opt/ml/input/data/train/new",
    )
    assert "Read-only" in done.stderr


def test_an_interface_that_does_not_exist_is_replaced(job: Tree, results: Path) -> None:
    done = run(job, results, "meet", "--local-mode", "v3")
    for host in ("algo-1", "algo-2"):
        found = told(done.stdout, host)
        named = json.loads((results / host / "input/config/resourceconfig.json").read_text())
        assert named["network_interface_name"] == "ethwe"
        assert found["SM_NETWORK_INTERFACE_NAME"] == "eth0"
        assert json.loads(found["SM_RESOURCE_CONFIG"])["network_interface_name"] == "eth0"
        assert "eth0" in result(results / "model", host)["interfaces"]
        lines = [
            line for line in done.stdout.splitlines() if "'ethwe'" in line and host in line.split()
        ]
        assert len(lines) == 1
        assert "SM_NETWORK_INTERFACE_NAME is 'eth0'" in lines[0]


def test_local_mode_of_version_2_stops_everyone_when_the_first_ends(
    job: Tree, results: Path
) -> None:
    started = time.monotonic()
    done = run(job, results, "leave", "--local-mode", "v2", "--grace", "2")
    assert time.monotonic() - started < 60
    first, second = sorted(rows(done.stdout))
    assert first.startswith("algo-1-")
    assert second == "algo-2" + first.removeprefix("algo-1")
    assert rows(done.stdout)[first][0] == "0"
    assert rows(done.stdout)[second][0] == "137"  # it did not mind the SIGTERM
    assert f"{first} has ended, as the first one" in done.stdout
    assert f"the SDK would report success: {first} ended first" in done.stdout
    assert done.returncode == 1
    assert result(results / "model", first)["sum"] is None
    assert told(done.stdout, second)["SM_HOSTS"] == json.dumps(
        [first, second], separators=(",", ":")
    )


def test_one_host_that_fails_has_the_failure_file_and_the_status(job: Tree, results: Path) -> None:
    done = run(job, results, "fail")
    assert done.returncode == 1
    assert rows(done.stdout)["algo-1"][0] == "0"
    assert rows(done.stdout)["algo-2"][0] == "1"
    assert " ".join(rows(done.stdout)["algo-2"]).endswith("ValueError: a mistake on one host")
    failure = (results / "algo-2" / "output" / "failure").read_text()
    assert failure.startswith("ValueError: a mistake on one host\n")
    assert not (results / "algo-1" / "output" / "failure").exists()
    assert (results / "algo-1" / "output" / "success").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_every_program_gets_sigterm(
    number: signal.Signals, job: Tree, results: Path
) -> None:
    script = waiting(job, results)
    script.send_signal(number)
    output, _ = script.communicate(timeout=90)
    assert script.returncode == 0, output
    assert {host: row[0] for host, row in rows(output).items()} == {"algo-1": "0", "algo-2": "0"}
    for host in ("algo-1", "algo-2"):
        assert (results / host / "model" / f"stopped-{host}").exists()
    assert "asked to stop: SIGTERM to every host, SIGKILL after 120 s" in output


def test_the_program_of_a_shell_script_gets_sigterm_too(job: Tree, results: Path) -> None:
    script = job.root / "code" / "mine.sh"
    script.write_text("#!/bin/bash\npython mine.py\necho the script goes on\n")
    told = command(job, results, "wait", 1, "--max-run", "4", program="mine.sh")
    done = subprocess.run(told, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "asked to stop\n" in done.stdout
    assert "the script goes on" in done.stdout
    assert (results / "algo-1" / "model" / "stopped-algo-1").exists()


def test_a_job_without_an_end_is_stopped(job: Tree, results: Path) -> None:
    done = run(job, results, "leave", "--max-run", "4", "--grace", "1")
    assert "no end after 4 s: SIGTERM" in done.stdout
    assert rows(done.stdout)["algo-2"][0] == "137"
    assert done.returncode == 1


def test_killed_it_leaves_nothing_behind(job: Tree, results: Path) -> None:
    script = waiting(job, results)
    assert left_of(results) != []
    script.kill()
    script.communicate()
    assert eventually(lambda: left_of(results) == [], 60)


def test_what_others_left_is_removed_and_what_they_use_is_not(
    job: Tree, results: Path, tmp_path: Path
) -> None:
    abandoned, used = tmp_path / "abandoned", tmp_path / "used"
    with cluster.locked(used):  # which looks for the abandoned too: before there are any
        for folder in (abandoned, used):
            label = ("--label", f"{cluster.LABEL}={folder}")
            network = docker("network", "create", *label, f"treeline-test-{uuid.uuid4().hex}")
            assert network.returncode == 0, network.stderr
            made = docker("create", *label, "--network", network.stdout.strip(), IMAGE)
            assert made.returncode == 0, made.stderr
        assert run(job, results, "alone", count=1).returncode == 0
        assert left_of(abandoned) == []
        assert len(left_of(used)) == 2
    with cluster.locked(used):
        assert left_of(used) == []


def test_what_cannot_be_tried_is_said(job: Tree, results: Path) -> None:
    done = run(job, results, "meet", "--image", "treeline:no-such-tag")
    assert done.returncode == 2
    assert "there is no image treeline:no-such-tag" in done.stderr
    assert not results.exists()
