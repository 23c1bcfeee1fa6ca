"""Which files of which channels are read, in which order, and what is refused."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from treeline.data.channel import ROLES, Dataset, resolve
from treeline.errors import ChannelError
from treeline.opt_ml import Channel


def channel(root: Path, name: str = "train", content_type: str | None = "text/csv") -> Channel:
    return Channel(name, root / name, content_type)


def put(root: Path, *paths: str, text: str = "1,2\n") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def train(root: Path, content_type: str | None = "text/csv") -> Dataset:
    return resolve({"train": channel(root, content_type=content_type)})["train"]


def read_names(dataset: Dataset) -> list[str]:
    return [dataset.name_of(file) for file in dataset.files]


def refused(channels: dict[str, Channel]) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        resolve(channels)
    return caught.value


def test_the_channels_that_are_known() -> None:
    assert ROLES == {"train": ("train", "training"), "validation": ("validation",)}


@pytest.mark.parametrize("name", ["train", "training"])
def test_a_train_channel_under_either_name(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/a.csv")
    (dataset,) = resolve({name: channel(tmp_path, name)}).values()
    assert (dataset.role, dataset.format.name, dataset.notes) == ("train", "csv", ())
    assert dataset.files == (tmp_path / name / "a.csv",)
    assert read_names(dataset) == ["train/a.csv"]


def test_train_and_validation_and_the_code_channel_that_is_not_data(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", "validation/b.csv", "code/train.py")
    names = ("validation", "code", "train")
    found = resolve({name: channel(tmp_path, name) for name in names})
    assert list(found) == ["train", "validation"]
    assert read_names(found["validation"]) == ["validation/b.csv"]


def test_files_at_any_depth_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = [
        "b.csv",
        "a/z.csv",
        "a/b/c/d/e.csv",
        "a.csv",
        "c/1.csv",
        "c/10.csv",
        "c/2.csv",
        "B.csv",
    ]
    put(tmp_path / "train", *names)
    expected = [
        "B.csv", "a/b/c/d/e.csv", "a/z.csv", "a.csv", "b.csv", "c/1.csv", "c/10.csv", "c/2.csv",
    ]  # fmt: skip
    assert read_names(train(tmp_path)) == [f"train/{name}" for name in expected]


def test_hidden_and_marker_and_empty_files_are_passed_over_and_said(tmp_path: Path) -> None:
    put(tmp_path / "train", "part-0.csv", "x/part-1.csv")
    put(tmp_path / "train", ".hidden", "_SUCCESS", ".ipynb_checkpoints/a.csv", "_tmp/b/c.csv")
    put(tmp_path / "train", "x/empty.csv", text="")
    dataset = train(tmp_path)
    assert read_names(dataset) == ["train/part-0.csv", "train/x/part-1.csv"]
    assert dataset.notes == (
        "channel train: 5 entries skipped as no data: "
        ".hidden, .ipynb_checkpoints/a.csv, _SUCCESS, …",
    )


def test_up_to_three_skipped_files_are_all_named(tmp_path: Path) -> None:
    put(tmp_path / "train", "a.csv", "_1", "_2", "_3")
    assert train(tmp_path).notes[0].endswith(": _1, _2, _3")


def test_a_dot_above_the_channel_hides_nothing(tmp_path: Path) -> None:
    put(tmp_path / ".tree" / "_data", "train/a.csv")
    assert read_names(train(tmp_path / ".tree" / "_data")) == ["train/a.csv"]


def test_without_a_content_type_the_first_file_tells_and_it_is_said(tmp_path: Path) -> None:
    put(tmp_path / "train", "a")
    dataset = train(tmp_path, None)
    assert dataset.format.name == "csv"
    assert dataset.notes == ("channel train: no content type given; the files are csv",)


def test_links_are_followed(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/x.csv", "one.csv")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "same").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "link.csv").symlink_to(tmp_path / "one.csv")
    assert read_names(train(tmp_path)) == [
        "train/folder/x.csv",
        "train/link.csv",
        "train/same/x.csv",
    ]


def test_a_link_back_up_does_not_give_the_files_again(tmp_path: Path) -> None:
    put(tmp_path / "train", "a.csv", "x/b.csv")
    (tmp_path / "train" / "x" / "up").symlink_to("..")
    (tmp_path / "train" / "x" / "self").symlink_to(".")
    assert read_names(train(tmp_path)) == ["train/a.csv", "train/x/b.csv"]


def test_a_link_to_nothing_is_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path / "train", "a.csv")
    (tmp_path / "train" / "b.csv").symlink_to("gone.csv")
    error = refused({"train": channel(tmp_path)})
    assert error.cause == (
        f"Channel 'train': {tmp_path}/train/b.csv cannot be read: No such file or directory"
    )
    assert "link" in error.remedy


@contextmanager
def nobody() -> Iterator[Path]:
    """Give a folder of, and the rights of, a user who is not root."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(folder, 65534, 65534)
            os.setegid(65534)
            os.seteuid(65534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
        for path in folder.rglob("*"):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(folder)


def test_a_folder_that_cannot_be_listed_is_not_left_out_in_silence() -> None:
    with nobody() as root:
        put(root / "train", "a.csv", "closed/b.csv")
        (root / "train" / "closed").chmod(0)
        error = refused({"train": channel(root)})
    assert error.cause == (
        f"Channel 'train': {root}/train/closed cannot be read: Permission denied"
    )
    assert "permissions" in error.remedy


def test_no_channel_and_no_train_channel(tmp_path: Path) -> None:
    error = refused({})
    assert error.cause == "Channel 'train' is missing; the job's channels are: none"
    assert "input/data/train" in error.remedy
    put(tmp_path, "validation/a.csv")
    error = refused({"validation": channel(tmp_path, "validation")})
    assert error.cause.endswith("the job's channels are: validation")


def test_an_unknown_channel_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    error = refused({"train": channel(tmp_path), "test": channel(tmp_path, "test")})
    assert error.cause == (
        "Channel 'test' is not known; known are train (or training) and validation"
    )
    assert "Rename the channel 'test'" in error.remedy


def test_two_channels_for_one_role(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", "training/a.csv")
    error = refused({name: channel(tmp_path, name) for name in ("training", "train")})
    assert error.cause == "Channels 'train' and 'training' both mean train"


def test_a_channel_without_its_folder(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv")
    error = refused({name: channel(tmp_path, name) for name in ("train", "validation")})
    assert error.cause == f"Channel 'validation' has no folder {tmp_path}/validation"
    (tmp_path / "validation").write_text("1,2\n")
    assert (
        "has no folder"
        in refused({name: channel(tmp_path, name) for name in ("train", "validation")}).cause
    )


def test_a_channel_without_data_says_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    error = refused({"train": channel(tmp_path)})
    assert error.cause == (
        f"Channel 'train' has no data: no file with content under {tmp_path}/train"
    )
    put(tmp_path / "train", "_SUCCESS", ".x")
    put(tmp_path / "train", "a.csv", text="")
    assert refused({"train": channel(tmp_path)}).cause.endswith("(3 hidden or empty ones)")


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_input_modes_that_are_files(tmp_path: Path, mode: str) -> None:
    put(tmp_path, "train/a.csv")
    given = Channel("train", tmp_path / "train", "text/csv", input_mode=mode)
    assert len(resolve({"train": given})["train"].files) == 1


def test_pipe_mode_is_refused(tmp_path: Path) -> None:
    error = refused({"train": Channel("train", tmp_path / "train", input_mode="Pipe")})
    assert error.cause == "Channel 'train': TrainingInputMode 'Pipe' cannot be read"
    assert error.remedy == "Use TrainingInputMode File or FastFile."


def test_compression_and_record_wrappers_are_refused(tmp_path: Path) -> None:
    error = refused({"train": Channel("train", tmp_path / "train", compression="Gzip")})
    assert error.cause == "Channel 'train': CompressionType 'Gzip' cannot be read"
    error = refused({"train": Channel("train", tmp_path / "train", record_wrapper="RecordIO")})
    assert error.cause == "Channel 'train': RecordWrapperType 'RecordIO' cannot be read"
    assert "plain csv or parquet files" in error.remedy


def test_an_unknown_content_type_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv")
    error = refused({"train": channel(tmp_path, content_type="text/libsvm")})
    assert "Channel 'train': content type 'text/libsvm'" in error.cause
