"""From the job's channels to the files to read: which role, which files, which format.

Everything here looks at names, declarations and a few first bytes; nothing is parsed. What it
does not understand it refuses by name, before any file is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from treeline.data.formats import FORMATS, Format, by_content_type, by_first_bytes
from treeline.errors import ChannelError

if TYPE_CHECKING:
    from treeline.opt_ml import Channel

# Channel names by role. The RAPIDS example and the SDK's default call the first one "training".
ROLES = {"train": ("train", "training"), "validation": ("validation",)}
# Mounted by the SDK's script mode; the default job has no use for it.
_IGNORED = ("code",)


@dataclass(frozen=True)
class Dataset:
    """The files of one role, in reading order, and the format all of them are in."""

    role: str
    root: Path
    files: tuple[Path, ...]
    format: Format
    notes: tuple[str, ...] = ()

    def name_of(self, file: Path) -> str:
        """Return how messages name ``file``: the role and the path under the channel."""
        return f"{self.role}/{file.relative_to(self.root)}"


def resolve(channels: Mapping[str, Channel]) -> dict[str, Dataset]:
    """Return the data set of each role that was given; ``train`` always is among them.

    Raises ``ChannelError`` for an unknown channel, a missing or empty one, an input mode or a
    content type that cannot be read.
    """
    known = {name for names in ROLES.values() for name in names} | set(_IGNORED)
    for name in channels:
        if name not in known:
            raise ChannelError(
                f"Channel {name!r} is not known; known are train (or training) and validation",
                f"Rename the channel {name!r}, or leave it out of the job's input.",
            )
    found = {role: _only(role, names, channels) for role, names in ROLES.items()}
    if found["train"] is None:
        given = ", ".join(sorted(channels)) or "none"
        raise ChannelError(
            f"Channel 'train' is missing; the job's channels are: {given}",
            "Give the job an input channel named train (or training), that is a folder "
            "input/data/train with the data.",
        )
    return {role: _dataset(role, channel) for role, channel in found.items() if channel}


def _only(role: str, names: tuple[str, ...], channels: Mapping[str, Channel]) -> Channel | None:
    given = [channels[name] for name in names if name in channels]
    if len(given) > 1:
        raise ChannelError(
            f"Channels {' and '.join(repr(c.name) for c in given)} both mean {role}",
            "Keep one of them, or put all files into one channel.",
        )
    return given[0] if given else None


def _dataset(role: str, channel: Channel) -> Dataset:
    _check_declaration(channel)
    if not channel.path.is_dir():
        raise ChannelError(
            f"Channel {channel.name!r} has no folder {channel.path}",
            f"Put the files of the channel into {channel.path}.",
        )
    files, skipped = _data_files(channel)
    notes = []
    if skipped:
        names = ", ".join(str(p) for p in skipped[:3]) + (", …" if len(skipped) > 3 else "")
        notes.append(f"channel {channel.name}: {len(skipped)} entries skipped as no data: {names}")
    if channel.content_type:
        format_ = by_content_type(channel.name, channel.content_type)
    else:
        format_ = by_first_bytes(channel.name, files[0])
        notes.append(f"channel {channel.name}: no content type given; the files are {format_.name}")
    return Dataset(role, channel.path, tuple(files), format_, tuple(notes))


def _check_declaration(channel: Channel) -> None:
    if channel.input_mode not in ("File", "FastFile"):
        raise ChannelError(
            f"Channel {channel.name!r}: TrainingInputMode {channel.input_mode!r} cannot be read",
            "Use TrainingInputMode File or FastFile.",
        )
    for field, value in (
        ("CompressionType", channel.compression),
        ("RecordWrapperType", channel.record_wrapper),
    ):
        if value is not None:
            raise ChannelError(
                f"Channel {channel.name!r}: {field} {value!r} cannot be read",
                f"Set {field} to None and give plain {' or '.join(FORMATS)} files.",
            )


def _data_files(channel: Channel) -> tuple[list[Path], list[Path]]:
    """Return the data files of a channel at any depth, sorted, and what was passed over.

    Sorted by path, so that the same files give the same model whatever order the directory
    lists them in. Passed over: names that begin with a dot or an underscore, folders included
    (``_SUCCESS``, ``.ipynb_checkpoints``), and files of no bytes.
    """
    files: list[Path] = []
    skipped: list[Path] = []
    try:
        for path in sorted(_walk(channel.path)):
            relative = path.relative_to(channel.path)
            hidden = any(part.startswith((".", "_")) for part in relative.parts)
            (skipped if hidden or path.stat().st_size == 0 else files).append(path)
    except OSError as error:
        raise ChannelError(
            f"Channel {channel.name!r}: {error.filename} cannot be read: {error.strerror}",
            "Check its permissions and, if it is a link, that what it leads to is there.",
        ) from error
    if not files:
        raise ChannelError(
            f"Channel {channel.name!r} has no data: no file with content under {channel.path}"
            + (f" ({len(skipped)} hidden or empty ones)" if skipped else ""),
            "Check the channel's S3 prefix, or the folder that is mounted there.",
        )
    return files, [path.relative_to(channel.path) for path in skipped]


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        # A link to a folder above itself would give every file again, level after level.
        folders[:] = [name for name in folders if not _leads_up(Path(here), name)]
        yield from (Path(here) / name for name in names)


def _leads_up(here: Path, name: str) -> bool:
    link = here / name
    return link.is_symlink() and here.resolve().is_relative_to(link.resolve())


def _raise(error: OSError) -> None:
    raise error
