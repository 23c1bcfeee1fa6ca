"""The Docker engine, and the built image on it as the platform and its SDK run it."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import Tree

IMAGE = os.environ.get("TREELINE_IMAGE", "treeline:cpu")
# Of this run alone, so that two at the same time do not remove each other's containers.
LABEL = f"treeline-test={uuid.uuid4().hex}"

Ended = subprocess.CompletedProcess[str]


@contextmanager
def answering() -> Iterator[None]:
    """Skip, saying why, where there is no engine; remove what the tests leave behind."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no Docker engine answers")
    if not docker("images", "--quiet", IMAGE).stdout:
        pytest.skip(f"image {IMAGE} is not built: make image")
    yield
    left = docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").stdout.split()
    if left:
        docker("rm", "--force", *left)


def docker(*arguments: str, timeout: float = 300) -> Ended:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


def run(
    tree: Tree, *options: str, command: tuple[str, ...] = ("train",), timeout: float = 300
) -> Ended:
    """Run the image on ``tree`` to its end."""
    return docker(
        *("run", "--rm", "--pull", "never", "--label", LABEL, "--volume", f"{tree.root}:/opt/ml"),
        *options,
        IMAGE,
        *command,
        timeout=timeout,
    )


class Running:
    """A container in the background."""

    def __init__(self, tree: Tree, *options: str) -> None:
        self.name = f"treeline-test-{uuid.uuid4().hex[:12]}"
        started = docker(
            *("run", "--detach", "--pull", "never", "--label", LABEL, "--name", self.name),
            *("--volume", f"{tree.root}:/opt/ml", *options, IMAGE, "train"),
        )
        assert started.returncode == 0, started.stderr

    def log(self) -> str:
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def wait_for(self, text: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.log():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def wait(self, timeout: float = 120) -> int:
        return int(docker("wait", self.name, timeout=timeout).stdout)

    def execute(self, *command: str) -> str:
        """Run a command inside, beside the job, and return what it prints."""
        done = docker("exec", self.name, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> float:
        """Send SIGTERM as ``docker stop`` does; return the seconds until the end."""
        started = time.monotonic()
        docker("stop", "--time", "30", self.name)
        return time.monotonic() - started

    def killed_for_memory(self) -> bool:
        done = docker("inspect", "--format", "{{.State.OOMKilled}}", self.name)
        return {"true": True, "false": False}[done.stdout.strip()]
