"""What holds for the repository as a whole."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split() if (ROOT / name).is_file()]


def test_lock_files_are_pinned_and_hashed_and_name_no_index() -> None:
    for name in ("build", "cpu", "gpu", "dev"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        requirements = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
        assert requirements
        for requirement in requirements:
            assert re.match(r"[a-z0-9.-]+==", requirement), requirement[:60]
            assert "--hash=sha256:" in requirement
        assert not re.search(r"://|--(extra-)?index-url|--find-links", text)


def test_the_cpu_lock_has_the_small_xgboost() -> None:
    text = (ROOT / "requirements" / "cpu.txt").read_text()
    assert re.search(r"^xgboost-cpu==", text, re.MULTILINE)
    assert not re.search(r"^(xgboost|nvidia-nccl)", text.replace("xgboost-cpu", ""), re.MULTILINE)


def test_developers_train_with_the_images_versions() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))

    cpu, dev = pins("cpu"), pins("dev")
    assert {n: dev[n] for n in dev if n in cpu} == {n: cpu[n] for n in dev if n in cpu}


def test_files_begin_by_saying_what_they_are() -> None:
    for file in tracked():
        if file.suffix == ".py" and file.name != "__init__.py":
            assert file.read_text().startswith('"""'), file


def test_no_path_of_a_machine_is_committed() -> None:
    pattern = re.compile(r"(?<![\w.])/(home|Users)/\w+")
    for file in tracked():
        if file.suffix in {".py", ".md", ".sh", ".toml", ""} and file.stat().st_size < 10**6:
            assert not pattern.search(file.read_text(errors="replace")), file


def test_version_is_said_once() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"', project, re.MULTILINE)
    code = re.search(r'__version__ = "(.*)"', (ROOT / "src/treeline/__init__.py").read_text())
    assert version
    assert code
    assert version.group(1) == code.group(1)
    assert f"## {version.group(1)}" in (ROOT / "CHANGELOG.md").read_text()
