"""What is left in the model directory, also when writing fails halfway."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from treeline import artifacts
from treeline.errors import PlatformError

MODEL = "xgboost-model"
MANIFEST = "treeline/manifest.json"


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_names_are_those_of_the_contract() -> None:
    assert (artifacts.MODEL_NAME, artifacts.MANIFEST_NAME) == (MODEL, MANIFEST)


def test_a_model_and_a_manifest_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    artifacts.write(folder, b"\x00model", {"objective": "reg:squarederror", "ä": [1, None]})
    assert files(folder) == {MODEL, MANIFEST}
    assert (folder / MODEL).read_bytes() == b"\x00model"
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    assert text.startswith('{\n  "manifest_version": 1,\n')
    assert text.endswith("}\n")
    assert '"ä"' in text
    expected = {"manifest_version": 1, "objective": "reg:squarederror", "ä": [1, None]}
    assert artifacts.read_manifest(folder) == json.loads(text) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), object()])
def test_a_manifest_that_is_not_strict_json_is_refused_before_anything_is_written(
    tmp_path: Path, value: object
) -> None:
    with pytest.raises((ValueError, TypeError)):
        artifacts.write(tmp_path, b"model", {"score": value})
    assert files(tmp_path) == set()


def test_an_earlier_model_is_replaced_whole(tmp_path: Path) -> None:
    artifacts.write(tmp_path, b"a long first model", {"n": 1})
    before = (tmp_path / MODEL).stat().st_ino
    artifacts.write(tmp_path, b"second", {"n": 2})
    assert (tmp_path / MODEL).read_bytes() == b"second"
    assert artifacts.read_manifest(tmp_path)["n"] == 2
    assert (tmp_path / MODEL).stat().st_ino != before  # renamed into place, not overwritten


def test_clear_removes_the_earlier_run_and_nothing_else(tmp_path: Path) -> None:
    artifacts.write(tmp_path, b"model", {})
    (tmp_path / "notes.txt").write_text("the user's")
    artifacts.clear(tmp_path)
    assert files(tmp_path) == {"notes.txt"}
    artifacts.clear(tmp_path)
    artifacts.clear(tmp_path / "not-there")


def test_clear_removes_the_manifest_first(tmp_path: Path) -> None:
    (tmp_path / MODEL).mkdir()  # cannot be unlinked
    (tmp_path / "treeline").mkdir()
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(PlatformError) as caught:
        artifacts.clear(tmp_path)
    assert str(tmp_path / MODEL) in caught.value.cause
    assert not (tmp_path / MANIFEST).exists()


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every rename, look at what a kill would leave."""
    seen: list[tuple[str, set[str], bytes]] = []
    replace = os.replace

    def look(source: Path, target: Path) -> None:
        # What is renamed is complete and has a name that serving passes over.
        assert Path(source).name.startswith(".")
        seen.append((str(Path(target).relative_to(tmp_path)), files(tmp_path), source.read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    artifacts.write(tmp_path, b"model", {"n": 1})
    assert [target for target, _, _ in seen] == [MODEL, MANIFEST]
    assert MODEL not in seen[0][1]
    assert MODEL in seen[1][1]
    assert seen[0][2] == b"model"
    assert json.loads(seen[1][2]) == {"manifest_version": 1, "n": 1}


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_no_half_a_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, name: str
) -> None:
    real = getattr(os, step)
    calls = []

    def fail(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == [MODEL, MANIFEST].index(name) + 1:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(PlatformError, match="No space left on device") as caught:
        artifacts.write(tmp_path, b"model", {})
    assert str(tmp_path) in caught.value.cause
    assert "free space" in caught.value.remedy
    assert files(tmp_path) == (set() if name == MODEL else {MODEL})


def test_a_failing_write_keeps_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.write(tmp_path, b"first", {"n": 1})

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PlatformError):
        artifacts.write(tmp_path, b"second", {"n": 2})
    assert files(tmp_path) == {MODEL, MANIFEST}
    assert (tmp_path / MODEL).read_bytes() == b"first"


def test_the_disk_is_really_full(tmp_path: Path) -> None:
    temporary = tmp_path / f".{MODEL}.sagemaker-ignore"
    temporary.symlink_to("/dev/full")
    with pytest.raises(PlatformError, match="No space left on device"):
        artifacts.write(tmp_path, b"model", {})
    assert files(tmp_path) == set()
    assert not temporary.is_symlink()
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
def test_every_file_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        order.append("fsync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        order.append("replace " + source.name)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    artifacts.write(tmp_path, b"model", {})
    temporary = f".{Path(name).name}.sagemaker-ignore"
    assert order.index(f"fsync {temporary}") + 1 == order.index(f"replace {temporary}")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with pytest.raises(PlatformError, match=f"could not be written to {tmp_path}/model") as caught:
        artifacts.write(tmp_path / "model", b"model", {})
    assert isinstance(caught.value.__cause__, OSError)
