"""Which files of which channels are read, in which order, and what is refused."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from treeline.data.channel import ROLES, Dataset, Inputs, partitions, resolve
from treeline.errors import ChannelError, DataError, Stopped
from treeline.hyperparameters import DataOptions
from treeline.opt_ml import Channel, read_job

PLAIN = DataOptions()
HIVE = DataOptions(hive_partitions=True)


def channel(root: Path, name: str = "train", content_type: str | None = "text/csv") -> Channel:
    return Channel(name, root / name, content_type)


def put(root: Path, *paths: str, text: str = "1,2\n") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def datasets(channels: dict[str, Channel], options: DataOptions = PLAIN) -> dict[str, Dataset]:
    return dict(resolve(channels, options).datasets)


def train(
    root: Path, content_type: str | None = "text/csv", options: DataOptions = PLAIN
) -> Dataset:
    return datasets({"train": channel(root, content_type=content_type)}, options)["train"]


def read_names(dataset: Dataset) -> list[str]:
    return [source.name for source in dataset.sources]


def refused(channels: dict[str, Channel], options: DataOptions = PLAIN) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        resolve(channels, options)
    assert "\n" not in caught.value.cause
    return caught.value


def test_the_channels_that_are_known() -> None:
    assert ROLES == {
        "train": ("train", "training"),
        "validation": ("validation",),
        "test": ("test",),
    }


@pytest.mark.parametrize("name", ["train", "training"])
def test_a_train_channel_under_either_name(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/a.csv")
    inputs = resolve({name: channel(tmp_path, name)}, PLAIN)
    (dataset,) = inputs.datasets.values()
    assert (dataset.role, dataset.format.name, dataset.notes) == ("train", "csv", ())
    assert [source.path for source in dataset.sources] == [tmp_path / name / "a.csv"]
    assert (dataset.bytes, dataset.partition_names, inputs.model) == (4, (), None)
    assert read_names(dataset) == ["train/a.csv"]


def test_every_role_and_the_code_channel_that_is_not_data(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv", "validation/b.csv", "test/c.csv", "code/train.py")
    names = ("test", "validation", "code", "train")
    found = datasets({name: channel(tmp_path, name) for name in names})
    assert list(found) == ["train", "validation", "test"]
    assert read_names(found["validation"]) == ["validation/b.csv"]
    assert read_names(found["test"]) == ["test/c.csv"]


def test_each_channel_has_its_own_format(tmp_path: Path) -> None:
    put(tmp_path, "train/a", "validation/b")
    put(tmp_path, "test/c", text="1 1:0.5\n")
    given = {
        "train": channel(tmp_path),
        "validation": channel(tmp_path, "validation", "parquet"),
        "test": channel(tmp_path, "test", None),
    }
    formats = {role: dataset.format.name for role, dataset in datasets(given).items()}
    assert formats == {"train": "csv", "validation": "parquet", "test": "libsvm"}


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


def test_what_is_no_data_is_passed_over_and_said_with_the_reason(tmp_path: Path) -> None:
    root = tmp_path / "train"
    put(root, "part-0.csv", "x/part-1.csv")
    put(root, ".hidden", "_SUCCESS", ".ipynb_checkpoints/a.csv", "_tmp/b/c.csv", "_metadata")
    put(root, "x/part-1.csv.crc", "a.sagemaker-uploaded", "a.sagemaker-uploading", "a.manifest")
    put(root, "b.sagemaker-ignore", "files-manifest")
    put(root, "x/empty.csv", text="")
    os.mkfifo(root / "z")
    dataset = train(tmp_path)
    assert read_names(dataset) == ["train/part-0.csv", "train/x/part-1.csv"]
    assert dataset.bytes == 8
    assert dataset.notes == (
        "channel train: 13 file(s) passed over as no data: "
        "5 hidden (.hidden, .ipynb_checkpoints/a.csv, _SUCCESS, …), "
        "2 manifest (a.manifest, files-manifest), "
        "4 marker (a.sagemaker-uploaded, a.sagemaker-uploading, b.sagemaker-ignore, …), "
        "1 empty (x/empty.csv), 1 not a regular file (z)",
    )


def test_up_to_three_skipped_files_are_all_named(tmp_path: Path) -> None:
    put(tmp_path / "train", "a.csv", "_1", "_2", "_3")
    assert train(tmp_path).notes[0].endswith(": 3 hidden (_1, _2, _3)")


def test_names_that_no_terminal_prints(tmp_path: Path) -> None:
    put(tmp_path / "train", "a\nb.csv", "_\udcff")
    dataset = train(tmp_path)
    assert read_names(dataset) == ["train/'a\\nb.csv'"]
    assert dataset.notes[0].endswith("1 hidden ('_\\udcff')")
    assert [source.path.name for source in dataset.sources] == ["a\nb.csv"]


def test_a_dot_above_the_channel_hides_nothing(tmp_path: Path) -> None:
    put(tmp_path / ".tree" / "_data", "train/a.csv")
    assert read_names(train(tmp_path / ".tree" / "_data")) == ["train/a.csv"]


def test_without_a_content_type_the_first_file_tells_and_it_is_said(tmp_path: Path) -> None:
    put(tmp_path / "train", "a")
    dataset = train(tmp_path, None)
    assert dataset.format.name == "csv"
    assert dataset.notes == (
        "channel train: no content type given; read as csv, which is what train/a looks like",
    )


def test_without_a_content_type_a_compressed_file_of_nothing_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a").write_bytes(gzip.compress(b""))
    (tmp_path / "train" / "b").write_bytes(gzip.compress(b"1 1:0.5\n"))
    assert train(tmp_path, None).format.name == "libsvm"
    (tmp_path / "train" / "b").unlink()
    assert "nothing that is known" in refused({"train": channel(tmp_path, "train", None)}).cause


def test_every_file_is_checked_when_its_turn_comes(tmp_path: Path) -> None:
    put(tmp_path / "train", "a.csv", "b.csv")
    put(tmp_path / "train", "c.csv", text="1 1:0.5\n")
    seen: list[str] = []
    with pytest.raises(ChannelError, match=r"train/c.csv: .* read as csv, .* is libsvm"):
        seen.extend(source.name for source in train(tmp_path).checked())
    assert seen == ["train/a.csv", "train/b.csv"]
    first = next(train(tmp_path).checked())
    assert first.stream().read() == b"1,2\n"


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
    (tmp_path / "train" / "x" / "all").symlink_to(tmp_path)  # holds the channel and others
    put(tmp_path, "validation/c.csv")
    assert read_names(train(tmp_path)) == ["train/a.csv", "train/x/b.csv"]


def test_folders_that_link_to_each_other_do_not_give_the_files_again(tmp_path: Path) -> None:
    put(tmp_path / "train", "a/1.csv", "b/2.csv")
    (tmp_path / "train" / "a" / "link").symlink_to("../b")
    (tmp_path / "train" / "b" / "link").symlink_to("../a")
    assert read_names(train(tmp_path)) == [
        "train/a/1.csv",
        "train/a/link/2.csv",
        "train/b/2.csv",
        "train/b/link/1.csv",
    ]


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
    assert refused({"test": channel(tmp_path, "test")}).cause.endswith("channels are: test")
    error = refused({"validation": channel(tmp_path, "validation")})
    assert error.cause.endswith("the job's channels are: validation")


def test_an_unknown_channel_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    error = refused({"train": channel(tmp_path), "eval": channel(tmp_path, "eval")})
    assert error.cause == (
        "Channel 'eval' is not known; known are train (or training), validation, test and model"
    )
    assert "Rename the channel 'eval'" in error.remedy


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
    assert refused({"train": channel(tmp_path)}).cause.endswith(
        "(3 passed over: 2 hidden (.x, _SUCCESS), 1 empty (a.csv))"
    )


@pytest.mark.parametrize("mode", ["File", "FastFile"])
@pytest.mark.parametrize("distribution", [None, "FullyReplicated", "ShardedByS3Key"])
@pytest.mark.parametrize("compression", [None, "Gzip"])
def test_declarations_of_files(
    tmp_path: Path, mode: str, distribution: str | None, compression: str | None
) -> None:
    put(tmp_path, "train/a.csv")
    given = Channel("train", tmp_path / "train", "text/csv", mode, distribution, compression)
    assert len(datasets({"train": given})["train"].sources) == 1


@pytest.mark.parametrize(
    ("declared", "cause", "remedy"),
    [
        (
            {"input_mode": "Stream"},
            "TrainingInputMode 'Stream' cannot be read",
            "File, FastFile, Pipe",
        ),
        ({"compression": "Zip"}, "CompressionType 'Zip' cannot be read", "None, Gzip"),
        (
            {"distribution": "Half"},
            "S3DistributionType 'Half' cannot be read",
            "FullyReplicated, ShardedByS3Key",
        ),
        (
            {"record_wrapper": "RecordIO"},
            "RecordWrapperType 'RecordIO' cannot be read for content type 'text/csv'",
            "augmented manifests",
        ),
        (
            {"record_wrapper": "RecordIO", "content_type": None},
            "RecordWrapperType 'RecordIO' cannot be read for content type None",
            "Set RecordWrapperType to None",
        ),
        (
            {"record_wrapper": "Other", "content_type": "recordio-protobuf"},
            "RecordWrapperType 'Other' cannot be read for content type 'recordio-protobuf'",
            "Set RecordWrapperType to None",
        ),
        ({"content_type": "text/json"}, "content type 'text/json' cannot be read", "ContentType"),
    ],
)
def test_declarations_that_cannot_be_read(
    tmp_path: Path, declared: dict[str, str], cause: str, remedy: str
) -> None:
    put(tmp_path, "train/a.csv")
    given = Channel("train", tmp_path / "train", **{"content_type": "text/csv", **declared})
    error = refused({"train": given})
    assert error.cause.startswith(f"Channel 'train': {cause}")
    assert remedy in error.remedy


def test_recordio_is_what_recordio_protobuf_comes_in(tmp_path: Path) -> None:
    put(tmp_path, "train/a", text="\n#")
    content_type = "application/x-recordio-protobuf"
    given = Channel("train", tmp_path / "train", content_type, record_wrapper="RecordIO")
    assert datasets({"train": given})["train"].format.name == "recordio-protobuf"


# The model channel


def with_model(root: Path, **more: str) -> Inputs:
    put(root, "train/a.csv")
    given = Channel("model", root / "model", **more)
    return resolve({"train": channel(root), "model": given}, PLAIN)


def test_the_model_channel_is_a_folder_whatever_its_content_type(tmp_path: Path) -> None:
    put(tmp_path, "model/model.tar.gz")
    for more in ({}, {"content_type": "application/x-sagemaker-model", "input_mode": "FastFile"}):
        inputs = with_model(tmp_path, **more)
        assert inputs.model == tmp_path / "model"
        assert list(inputs.datasets) == ["train"]


def test_a_model_channel_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match=r"Channel 'model': .*/model cannot be read: No such"):
        with_model(tmp_path)
    (tmp_path / "model").mkdir()
    with pytest.raises(ChannelError, match=r"Channel 'model' has no model: .*/model is empty"):
        with_model(tmp_path)
    put(tmp_path, "model/model.tar.gz")
    with pytest.raises(ChannelError, match="Channel 'model': TrainingInputMode 'Pipe'"):
        with_model(tmp_path, input_mode="Pipe")


# Pipe mode


def piped(root: Path, content_type: str | None = "text/csv") -> dict[str, Channel]:
    return {"train": Channel("train", root / "train", content_type, input_mode="Pipe")}


def test_a_pipe_channel_is_the_fifo_of_the_first_pass(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")

    def check() -> None:
        raise Stopped

    dataset = resolve(piped(tmp_path), PLAIN, check).datasets["train"]
    (source,) = dataset.sources
    assert (source.path, source.name, source.fifo) == (tmp_path / "train_0", "train_0", True)
    assert (source.check, dataset.bytes, dataset.notes) == (check, 0, ())


def test_a_pipe_channel_without_a_content_type(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    writer = threading.Thread(target=(tmp_path / "train_0").write_bytes, args=[b"1 1:2\n0 1:3\n"])
    writer.start()
    dataset = resolve(piped(tmp_path, None), PLAIN).datasets["train"]
    assert dataset.format.name == "libsvm"
    (source,) = dataset.checked()
    assert source.text_stream().read() == b"1 1:2\n0 1:3\n"
    writer.join()


def test_a_pipe_channel_without_its_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "train_0"
    error = refused(piped(tmp_path))
    assert error.cause == f"Channel 'train': TrainingInputMode is Pipe, but {fifo} is missing"
    fifo.write_text("1,2\n")
    assert refused(piped(tmp_path)).cause.endswith(f"but {fifo} is not a FIFO")
    put(tmp_path, "train/a.csv")
    error = refused(piped(tmp_path))
    assert error.cause.endswith(f"is not a FIFO; {tmp_path}/train is a folder")
    assert "TrainingInputMode File" in error.remedy


def test_a_file_channel_that_has_only_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    error = refused({"train": channel(tmp_path)})
    assert error.cause == (
        f"Channel 'train' has no folder {tmp_path}/train; "
        f"there is {tmp_path}/train_0, as in TrainingInputMode Pipe"
    )
    assert "Set TrainingInputMode to Pipe" in error.remedy


def test_a_hand_made_tree_may_have_fifos(tmp_path: Path) -> None:
    data = tmp_path / "input" / "data"
    put(data, "validation/a.csv", "test_0", "both/a.csv")
    for name in ("train_0", "both_0", "train_1"):
        os.mkfifo(data / name)
    channels = read_job(tmp_path, {}).channels
    assert {name: (each.path, each.input_mode) for name, each in channels.items()} == {
        "both": (data / "both", "File"),
        "validation": (data / "validation", "File"),
        "train": (data / "train", "Pipe"),
    }


# Partitions


def test_partitions_are_the_key_value_folders(tmp_path: Path) -> None:
    path = (
        tmp_path / "a=0" / "year=2020" / "plain" / "city=S%C3%A3o%20Paulo%2F" / "k=v=w" / "b=1.csv"
    )
    assert partitions(tmp_path / "a=0", path) == {
        "year": "2020",
        "city": "São Paulo/",
        "k": "v=w",
    }
    path = tmp_path / "month=__HIVE_DEFAULT_PARTITION__" / "day=" / "=x" / "b%20c=%FF" / "f"
    assert partitions(tmp_path, path) == {"month": None, "day": "", "b c": "\\xff"}


def test_partitions_become_columns_when_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "train", "year=2020/month=1/a.csv", "year=2020/month=2/a.csv")
    put(tmp_path / "train", "year=__HIVE_DEFAULT_PARTITION__/x/month=3/a.csv")
    dataset = train(tmp_path, options=HIVE)
    assert dataset.partition_names == ("year", "month")
    assert [s.partition for s in dataset.sources] == [("2020", "1"), ("2020", "2"), (None, "3")]
    assert dataset.notes == ()


def test_partitions_that_were_not_asked_for_are_said(tmp_path: Path) -> None:
    put(tmp_path / "train", "a=b.csv", "x/a.csv")
    assert train(tmp_path).notes == ()
    put(tmp_path / "train", "year=2020/month=1/a.csv")
    dataset = train(tmp_path)
    assert (dataset.partition_names, {s.partition for s in dataset.sources}) == ((), {()})
    assert dataset.notes == (
        "channel train: folders look like Hive partitions (year=…, month=…); their values are "
        "not columns unless hive_partitions=true",
    )


@pytest.mark.parametrize(
    ("paths", "what"),
    [
        (["a.csv"], "a.csv has no key=value folder above it"),
        (
            ["a.csv", "y=1/b.csv"],
            "a.csv has no key=value folder above it; y=1/b.csv has y",
        ),
        (
            ["y=1/a.csv", "z.csv"],
            "z.csv has no key=value folder above it; y=1/a.csv has y",
        ),
        (["y=1/a.csv", "z=1/b.csv"], "z=1/b.csv has the keys z; y=1/a.csv has y"),
        (
            ["y=1/z=2/a.csv", "z=1/y=2/b.csv"],
            "z=1/y=2/b.csv has the keys z, y; y=1/z=2/a.csv has y, z",
        ),
        (["y=1/y=2/a.csv"], "y=1/y=2/a.csv has a key twice above it (y, y)"),
    ],
)
def test_partitions_that_do_not_fit_together(tmp_path: Path, paths: list[str], what: str) -> None:
    put(tmp_path / "train", *paths)
    error = refused({"train": channel(tmp_path)}, HIVE)
    assert error.cause == f"Channel 'train': hive_partitions=true, but {what}"
    assert "hive_partitions" in error.remedy
    assert len(train(tmp_path).sources) == len(paths)


def test_a_pipe_channel_has_no_partitions(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    assert "a Pipe channel has no folders" in refused(piped(tmp_path), HIVE).cause


def test_a_file_that_is_gone_when_its_turn_comes(tmp_path: Path) -> None:
    put(tmp_path / "train", "a.csv")
    dataset = train(tmp_path)
    (tmp_path / "train" / "a.csv").unlink()
    with pytest.raises(DataError, match=r"train/a.csv: cannot be read: No such file"):
        list(dataset.checked())


def test_of_several_hosts_one_may_have_no_files(tmp_path: Path) -> None:
    put(tmp_path, "test/c.csv")
    (tmp_path / "validation").mkdir()
    given = {name: channel(tmp_path, name) for name in ("train", "validation", "test")}
    assert list(resolve(given, PLAIN, several_hosts=True).datasets) == ["test"]
    assert list(resolve({}, PLAIN, several_hosts=True).datasets) == []
    put(tmp_path, "train/_SUCCESS", "validation/.hidden")
    assert list(resolve(given, PLAIN, several_hosts=True).datasets) == ["test"]
    put(tmp_path, "train/a.csv")
    assert list(resolve(given, PLAIN, several_hosts=True).datasets) == ["train", "test"]


def test_of_several_hosts_each_has_to_have_what_it_declares(tmp_path: Path) -> None:
    (tmp_path / "train").touch()
    with pytest.raises(ChannelError, match="has no folder"):
        resolve({"train": channel(tmp_path)}, PLAIN, several_hosts=True)
    os.mkfifo(tmp_path / "test_0")
    with pytest.raises(ChannelError, match="as in TrainingInputMode Pipe"):
        resolve({"test": channel(tmp_path, "test")}, PLAIN, several_hosts=True)


def test_a_fifo_is_left_to_the_worker_that_reads_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train_0")
    put(tmp_path, "test/c.csv")
    given = piped(tmp_path) | {"test": channel(tmp_path, "test")}
    assert list(resolve(given, PLAIN, several_hosts=True, pipes=False).datasets) == ["test"]


def test_the_distribution_that_was_declared(tmp_path: Path) -> None:
    put(tmp_path, "train/a.csv")
    for declared in (None, "FullyReplicated", "ShardedByS3Key"):
        given = Channel("train", tmp_path / "train", "text/csv", distribution=declared)
        assert datasets({"train": given})["train"].distribution == declared
