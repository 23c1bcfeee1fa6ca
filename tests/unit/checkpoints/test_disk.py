"""The folder: whole files or none, and what belongs to the platform."""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

import pytest

from treeline.checkpoints.disk import Disk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_read(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "not" / "there")
    disk.write("job/a.ckpt", b"one")
    disk.write("job/a.ckpt", b"two")
    assert disk.read("job/a.ckpt") == b"two"
    assert disk.names("job") == names(tmp_path / "not" / "there" / "job") == ["a.ckpt"]
    assert disk.names() == ["job"]


def test_names_of_nothing_are_none_and_those_of_the_platform_are_left_out(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    assert disk.names("job") == []
    for name in ("b", "a", "a.sagemaker-uploading", "a.sagemaker-uploaded", ".c.sagemaker-ignore"):
        disk.write(f"job/{name}", b"")
    assert disk.names("job") == ["a", "b"]


def test_names_in_a_file_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "job").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        Disk(tmp_path).names("job")


def test_only_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")  # opening it would wait for a writer
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("folder", "fifo", "link", "nothing"):
        with pytest.raises(FileNotFoundError):
            Disk(tmp_path).read(name)


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path)
    disk.write("a", b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        disk.write("a", b"after")
    assert disk.read("a") == b"before"
    assert names(tmp_path) == ["a"]


def test_the_content_is_on_disk_before_the_name_and_then_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, list[str]]] = []

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        seen.append((is_folder, names(tmp_path)))

    monkeypatch.setattr(os, "fsync", fsync)
    Disk(tmp_path).write("a", b"content")
    [(is_folder, [temporary]), after] = seen
    assert not is_folder
    assert re.fullmatch(r"\.a\.[0-9a-f]{8}\.sagemaker-ignore", temporary)
    assert after == (True, ["a"])


def test_leftovers_are_files_that_were_being_written_long_ago(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    assert disk.leftovers("job", 60) == []
    for name in (".b.1.sagemaker-ignore", ".a.sagemaker-ignore", "c.sagemaker-ignore", ".d", "e"):
        disk.write(f"job/{name}", b"")
        os.utime(tmp_path / "job" / name, (0, time.time() - 70))
    assert disk.leftovers("job", 80) == disk.leftovers("", 60) == []
    assert disk.leftovers("job", 60) == [".a.sagemaker-ignore", ".b.1.sagemaker-ignore"]


def test_a_folder_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 22  # EINVAL: some network file systems

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    Disk(tmp_path).write("a", b"content")
    number = 5  # EIO
    with pytest.raises(OSError, match="Input/output"):
        Disk(tmp_path).write("a", b"content")


def test_a_file_stays_while_it_is_being_uploaded(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.write("a", b"")
    (tmp_path / "a.sagemaker-uploading").touch()
    assert not disk.remove("a")
    assert (tmp_path / "a").exists()
    (tmp_path / "a.sagemaker-uploaded").touch()
    assert disk.remove("a")
    assert not (tmp_path / "a").exists()
    assert disk.remove("a")  # it is gone, which is what was wanted
