"""From the job's channels to the files to read: which role, which files, which format.

Everything here looks at names, declarations and a few first bytes; nothing is parsed. What it
does not understand it refuses by name, before any file is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from treeline.data.formats import Format, by_content_type, by_first_bytes, check_bytes
from treeline.data.source import Source
from treeline.errors import ChannelError

if TYPE_CHECKING:
    from treeline.hyperparameters import DataOptions
    from treeline.opt_ml import Channel

# Channel names by role. The RAPIDS example and the SDK's default call the first one "training".
ROLES = {"train": ("train", "training"), "validation": ("validation",), "test": ("test",)}
MODEL = "model"  # the channel with an earlier job's model, to go on from
# Mounted by the SDK's script mode; certificates. No data.
_IGNORED = ("code", "tls")

# Values of inputdataconfig.json; "None" has become None. Source: API reference, Channel.
_DECLARED = {
    "TrainingInputMode": ("File", "FastFile", "Pipe"),
    "CompressionType": (None, "Gzip"),  # not needed: the files' content shows it
    "S3DistributionType": (None, "FullyReplicated", "ShardedByS3Key"),
}
# What the platform and Hadoop's writers leave beside the data.
_MARKS = (".crc", ".sagemaker-uploading", ".sagemaker-uploaded", ".sagemaker-ignore")
_MANIFESTS = (".manifest", "-manifest")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"

type Keys = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Dataset:
    """The files of one role, in reading order, and the format all of them are in.

    ``bytes`` is their size on disk, 0 for a FIFO. ``partition_names`` are the columns that the
    folders' names give, if the job asked for them; each source has its values in that order.
    ``distribution`` is the channel's S3DistributionType, None where it was not declared.
    """

    role: str
    root: Path
    sources: tuple[Source, ...]
    format: Format
    notes: tuple[str, ...] = ()
    bytes: int = 0
    partition_names: tuple[str, ...] = ()
    distribution: str | None = None

    def checked(self) -> Iterator[Source]:
        """Yield the sources in reading order, each opened and seen to be in the format.

        Raises ``ChannelError`` for a file whose first bytes show another format.
        """
        for source in self.sources:
            check_bytes(self.format, source)
            yield source


@dataclass(frozen=True)
class Inputs:
    """What the job was given: data sets by role, and the folder of an earlier model."""

    datasets: Mapping[str, Dataset]
    model: Path | None = None


def resolve(
    channels: Mapping[str, Channel],
    options: DataOptions,
    check: Callable[[], None] | None = None,
    several_hosts: bool = False,
    pipes: bool = True,
) -> Inputs:
    """Return the data set of each role that was given; ``train`` always is among them.

    With ``several_hosts`` a role without files is left out, train too: another host may have
    some. Without ``pipes`` a Pipe channel is left out: another worker of the host reads it.
    ``check`` raises if the job was asked to stop; it is called while a FIFO is waited for. Raises
    ``ChannelError`` for an unknown channel, a missing or empty one, or a declaration that cannot
    be read.
    """
    known = {name for names in ROLES.values() for name in names} | {MODEL, *_IGNORED}
    for name in channels:
        if name not in known:
            raise ChannelError(
                f"Channel {name!r} is not known; known are train (or training), validation, test "
                "and model",
                f"Rename the channel {name!r}, or leave it out of the job's input.",
            )
    found = {role: _only(role, names, channels) for role, names in ROLES.items()}
    if found["train"] is None and not several_hosts:
        given = ", ".join(sorted(channels)) or "none"
        raise ChannelError(
            f"Channel 'train' is missing; the job's channels are: {given}",
            "Give the job an input channel named train (or training), that is a folder "
            "input/data/train with the data.",
        )
    model = _model(channels[MODEL]) if MODEL in channels else None
    datasets: dict[str, Dataset] = {}
    for role, channel in found.items():
        if channel is None or (channel.input_mode == "Pipe" and not pipes):
            continue
        dataset = _dataset(role, channel, options, check, several_hosts)
        if dataset is not None:
            datasets[role] = dataset
    return Inputs(datasets, model)


def partitions(root: Path, path: Path) -> dict[str, str | None]:
    """Return what the names of the folders between ``root`` and ``path`` say: key=value.

    Source: Apache Hive's layout of partitioned tables; values are percent-encoded.
    """
    return dict(_keys(path.relative_to(root)))


def _only(role: str, names: tuple[str, ...], channels: Mapping[str, Channel]) -> Channel | None:
    given = [channels[name] for name in names if name in channels]
    if len(given) > 1:
        raise ChannelError(
            f"Channels {' and '.join(repr(c.name) for c in given)} both mean {role}",
            "Keep one of them, or put all files into one channel.",
        )
    return given[0] if given else None


def _model(channel: Channel) -> Path:
    if channel.input_mode not in ("File", "FastFile"):
        raise ChannelError(
            f"Channel {channel.name!r}: TrainingInputMode {channel.input_mode!r} cannot be read",
            "Use TrainingInputMode File or FastFile for an earlier model.",
        )
    try:
        empty = next(channel.path.iterdir(), None) is None
    except OSError as error:
        raise _unreadable(channel, error) from error
    if empty:
        raise ChannelError(
            f"Channel {channel.name!r} has no model: {channel.path} is empty",
            "Put the earlier job's model.tar.gz there, or leave the channel out.",
        )
    return channel.path


def _dataset(
    role: str,
    channel: Channel,
    options: DataOptions,
    check: Callable[[], None] | None,
    several_hosts: bool,
) -> Dataset | None:
    declared = _declared_format(channel)
    notes: list[str] = []
    names: tuple[str, ...] = ()
    if channel.input_mode == "Pipe":
        sources: tuple[Source, ...] = (_fifo(channel, options, check),)
        size = 0
    else:
        files, size = _data_files(channel, notes, several_hosts)
        if not files:
            return None
        names, values = _partitions(channel, files, options, notes)
        sources = tuple(
            Source(path, f"{role}/{_shown(path.relative_to(channel.path))}", partition=value)
            for path, value in zip(files, values, strict=True)
        )
    format_ = declared
    if format_ is None:
        # A compressed file may turn out to hold nothing; it does not show a format.
        first = next((source for source in sources if source.head()), sources[0])
        format_ = by_first_bytes(channel.name, first)
        notes.append(
            f"channel {channel.name}: no content type given; read as {format_.name}, which is "
            f"what {first.name} looks like"
        )
    return Dataset(
        role, channel.path, sources, format_, tuple(notes), size, names, channel.distribution
    )


def _declared_format(channel: Channel) -> Format | None:
    """Return the declared format, and refuse what the declaration cannot mean."""
    given = {
        "TrainingInputMode": channel.input_mode,
        "CompressionType": channel.compression,
        "S3DistributionType": channel.distribution,
    }
    for name, value in given.items():
        legal = _DECLARED[name]
        if value not in legal:
            raise ChannelError(
                f"Channel {channel.name!r}: {name} {value!r} cannot be read",
                f"Use one of {', '.join(str(each) for each in legal)}.",
            )
    found = by_content_type(channel.name, channel.content_type) if channel.content_type else None
    wrapped = channel.record_wrapper
    if wrapped is not None and (
        wrapped != "RecordIO" or found is None or found.name != "recordio-protobuf"
    ):
        raise ChannelError(
            f"Channel {channel.name!r}: RecordWrapperType {wrapped!r} cannot be read for content "
            f"type {channel.content_type!r}",
            "Set RecordWrapperType to None; augmented manifests are not supported.",
        )
    return found


def _fifo(channel: Channel, options: DataOptions, check: Callable[[], None] | None) -> Source:
    path = _fifo_path(channel)
    if not path.is_fifo():
        what = "is not a FIFO" if path.exists() else "is missing"
        folder = f"; {channel.path} is a folder" if channel.path.is_dir() else ""
        raise ChannelError(
            f"Channel {channel.name!r}: TrainingInputMode is Pipe, but {path} {what}{folder}",
            "Use TrainingInputMode File for a folder of files; Pipe needs the platform's FIFO.",
        )
    if options.hive_partitions:
        raise ChannelError(
            f"Channel {channel.name!r}: hive_partitions=true, but a Pipe channel has no folders",
            "Use TrainingInputMode File or FastFile, or leave hive_partitions out.",
        )
    return Source(path, path.name, fifo=True, check=check)


def _fifo_path(channel: Channel) -> Path:
    """Return the FIFO of the first pass over the data, the only one that is read."""
    return channel.path.with_name(channel.path.name + "_0")


def _data_files(channel: Channel, notes: list[str], several_hosts: bool) -> tuple[list[Path], int]:
    """Return the data files of a channel at any depth, sorted, and their size in bytes.

    Sorted by path, so that the same files give the same model whatever order the directory lists
    them in. What is passed over is noted, with the reason. No file is an error, except for one of
    ``several_hosts``.
    """
    if not channel.path.is_dir():
        pipe = _fifo_path(channel)
        if several_hosts and not channel.path.exists() and not pipe.exists():
            return [], 0
        raise ChannelError(
            f"Channel {channel.name!r} has no folder {channel.path}"
            + (f"; there is {pipe}, as in TrainingInputMode Pipe" if pipe.exists() else ""),
            f"Set TrainingInputMode to Pipe, or put the files into {channel.path}."
            if pipe.exists()
            else f"Put the files of the channel into {channel.path}.",
        )
    files: list[Path] = []
    size = 0
    skipped: dict[str, list[Path]] = {}
    try:
        for path in sorted(_walk(channel.path, ())):
            relative = path.relative_to(channel.path)
            reason = _no_data(path, relative)
            if reason is None:
                files.append(path)
                size += path.stat().st_size
            else:
                skipped.setdefault(reason, []).append(relative)
    except OSError as error:
        raise _unreadable(channel, error) from error
    count = sum(map(len, skipped.values()))
    reasons = ", ".join(f"{len(all_)} {reason}{_few(all_)}" for reason, all_ in skipped.items())
    if not files and not several_hosts:
        raise ChannelError(
            f"Channel {channel.name!r} has no data: no file with content under {channel.path}"
            + (f" ({count} passed over: {reasons})" if skipped else ""),
            "Check the channel's S3 prefix, or the folder that is mounted there.",
        )
    if skipped:
        notes.append(f"channel {channel.name}: {count} file(s) passed over as no data: {reasons}")
    return files, size


def _no_data(path: Path, relative: Path) -> str | None:
    """Return why a file is not data, or None if it is."""
    if any(part.startswith((".", "_")) for part in relative.parts):
        return "hidden"
    if path.name.endswith(_MARKS):
        return "marker"
    if path.name.endswith(_MANIFESTS):
        return "manifest"
    size = path.stat().st_size
    if not path.is_file():
        return "not a regular file"
    return "empty" if size == 0 else None


def _few(paths: list[Path]) -> str:
    names = ", ".join(_shown(path) for path in paths[:3])
    return f" ({names}{', …' if len(paths) > 3 else ''})"


def _shown(path: Path) -> str:
    """Return a path as it can be printed on one line: a name may hold any byte but two."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files under ``folder`` at any depth, through links to files and folders.

    ``above`` are the real paths of the folders passed through. A link back to one of them, or to
    something that holds one, would give its files again, level after level.
    """
    above = (*above, folder.resolve())
    with os.scandir(folder) as entries:
        paths = [(Path(entry.path), entry.is_dir(), entry.is_symlink()) for entry in entries]
    for path, is_folder, is_link in paths:
        if not is_folder:
            yield path
        elif not is_link or not any(each.is_relative_to(path.resolve()) for each in above):
            yield from _walk(path, above)


def _keys(relative: Path) -> Keys:
    from urllib.parse import unquote  # a few milliseconds that few jobs need

    pairs = (part.partition("=") for part in relative.parts[:-1])
    return tuple(
        (
            unquote(key, errors="backslashreplace"),
            None if value == _HIVE_NULL else unquote(value, errors="backslashreplace"),
        )
        for key, equals, value in pairs
        if key and equals
    )


def _partitions(
    channel: Channel, files: list[Path], options: DataOptions, notes: list[str]
) -> tuple[tuple[str, ...], list[tuple[str | None, ...]]]:
    """Return the names of the partition columns and their values for each file."""
    none: tuple[tuple[str, ...], list[tuple[str | None, ...]]] = ((), [() for _ in files])
    if not options.hive_partitions and not any("=" in str(path) for path in files):
        return none
    keys = [_keys(path.relative_to(channel.path)) for path in files]
    names = [tuple(name for name, _ in each) for each in keys]
    if not options.hive_partitions:
        first = next((each for each in keys if each), ())
        if first:
            shown = ", ".join(f"{name}=…" for name, _ in first)
            notes.append(
                f"channel {channel.name}: folders look like Hive partitions ({shown}); their "
                "values are not columns unless hive_partitions=true"
            )
        return none
    like = next((i for i, each in enumerate(names) if each), 0)
    other = _shown(files[like].relative_to(channel.path))
    for path, each in zip(files, names, strict=True):
        what = None
        if not each:
            what = "has no key=value folder above it"
        elif len({*each}) < len(each):
            what = f"has a key twice above it ({', '.join(each)})"
        elif each != names[like]:
            what = f"has the keys {', '.join(each)}"
        if what is not None:
            raise ChannelError(
                f"Channel {channel.name!r}: hive_partitions=true, but "
                f"{_shown(path.relative_to(channel.path))} {what}"
                + (f"; {other} has {', '.join(names[like])}" if path != files[like] else ""),
                "Put every file under folders with the same keys in the same order, or leave "
                "hive_partitions out.",
            )
    return names[like], [tuple(value for _, value in each) for each in keys]


def _unreadable(channel: Channel, error: OSError) -> ChannelError:
    return ChannelError(
        f"Channel {channel.name!r}: {error.filename} cannot be read: {error.strerror}",
        "Check its permissions and, if it is a link, that what it leads to is there.",
    )
