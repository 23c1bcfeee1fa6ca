"""What a job leaves under ``/opt/ml/model``: the model, and a manifest that says what it is.

And what such a folder, or the archive the platform made of it, gives back to a later job.

Every file is written beside its final name and renamed into place, and the manifest comes last,
so a manifest means that everything it names is there and whole.

The manifest stands in a folder of its own because the built-in image's serving loads every file
at the top of the model directory as one more model of an ensemble.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from treeline import ubjson
from treeline.errors import ChannelError, PlatformError, shortened

MODEL_NAME = "xgboost-model"  # the built-in image's name for it: UBJSON without an extension
_FOLD_NAME = re.compile(re.escape(MODEL_NAME) + "-[0-9]+")
MANIFEST_NAME = "treeline/manifest.json"
MANIFEST_VERSION = 1

ARCHIVE_NAME = "model.tar.gz"  # the platform's name for the packed model directory
_ARCHIVES = (".tar.gz", ".tgz", ".tar")
_MODELS = (".ubj", ".json")  # XGBoost's own extensions
# A key of its model in UBJSON or JSON, and what follows it.
_LEARNER = re.compile(rb'learner({|"\s*:\s*{)')
_BLOCK = 512  # bytes; a tar archive is made of them and ends with at least one of zeros


@dataclass(frozen=True)
class EarlierModel:
    """A model that an earlier job left, and where it was found.

    ``model`` is whole UBJSON, or JSON, and has a model of XGBoost; it alone can say whether a good
    one.
    ``manifest`` is None for a model that Treeline did not write. ``origin`` is for messages.
    """

    model: bytes
    manifest: Mapping[str, Any] | None
    origin: str


def clear(folder: Path) -> None:
    """Remove the models and the manifest of an earlier run, the manifest first."""
    try:
        name = MANIFEST_NAME
        (folder / name).unlink(missing_ok=True)
        for name in sorted(_models(folder)):
            (folder / name).unlink()
    except OSError as error:
        raise PlatformError(
            f"An earlier run's {folder / name} could not be removed: {error.strerror or error}",
            "Remove it, and check that the folder can be written.",
        ) from error


def _models(folder: Path) -> Iterator[str]:
    """Yield the names of the models in ``folder``, those of folds too."""
    for name in (path.name for path in folder.iterdir()) if folder.is_dir() else ():
        if name == MODEL_NAME or _FOLD_NAME.fullmatch(name):
            yield name


def fold_name(fold: int) -> str:
    """Return the name of a fold's model, as the built-in image numbers them."""
    return f"{MODEL_NAME}-{fold}"


def write(folder: Path, models: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """Write the models by name, then the manifest with its format version in front."""
    content = {"manifest_version": MANIFEST_VERSION, **manifest}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        for name, model in models.items():
            _write_synced(folder / name, model)
        _write_synced(folder / MANIFEST_NAME, text.encode())
    except OSError as error:
        raise PlatformError(
            f"The model could not be written to {folder}: {error.strerror or error}",
            "Check the volume's free space and that the folder can be written.",
        ) from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a model directory."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    return manifest


def read_model(folder: Path) -> EarlierModel:
    """Return the model in ``folder``: a channel with a model.tar.gz, or with what is in one.

    Nothing is unpacked to disk and nothing is unpickled. A file called xgboost-model is the
    model; without one, the only fold's model or the only JSON or UBJSON file of XGBoost is.
    Raises ``ChannelError`` for no model, several, a damaged archive, or a format of the past.
    """
    try:
        return _read_model(folder)
    except OSError as error:
        raise ChannelError(
            f"Channel {folder.name!r}: {error.filename or folder} cannot be read: "
            f"{error.strerror or error}",
            "Check that the file is still there and its permissions.",
        ) from error


def _read_model(folder: Path) -> EarlierModel:
    channel = folder.name
    paths = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    archives = [name for name in paths if name.endswith(_ARCHIVES) and not _hidden(name)]
    files = {name: (folder / name).read_bytes() for name in paths if _wanted(name)}
    name = _choose(channel, channel, files, archives)
    if name not in archives:
        return _model(channel, channel, files, name)
    members = _unpacked(folder, name)
    archive = f"{channel}/{name}"
    return _model(channel, archive, members, _choose(channel, archive, members))


def _choose(
    channel: str, where: str, files: Mapping[str, bytes], archives: Iterable[str] = ()
) -> str:
    """Return the one name that stands for the model: by its very name, or as the only one."""
    # Beside model.tar.gz the platform puts output.tar.gz, which holds no model.
    sure = [name for name in (*archives, *files) if _base(name) in (ARCHIVE_NAME, MODEL_NAME)]
    folds = [name for name in files if _base(name).startswith(f"{MODEL_NAME}-")]
    others = [name for name in files if name.endswith(_MODELS) and _is_model(files[name])]
    found = sure or [*archives, *folds, *others]
    if len(found) > 1:
        raise ChannelError(
            f"Channel {channel!r}: {len(found)} files in {where} could be the model: "
            + _listed(found),
            "Give one of them, alone; the models of k folds are several models, not one.",
        )
    if not found:
        seen = f"; it has {_listed(files)}, of which none is one" if files else ""
        raise ChannelError(
            f"Channel {channel!r}: no model in {where}{seen}",
            f"Give it the {ARCHIVE_NAME} of a training job, or a file {MODEL_NAME}, *.ubj or "
            "*.json that XGBoost saved.",
        )
    return found[0]


def _model(channel: str, where: str, files: Mapping[str, bytes], name: str) -> EarlierModel:
    origin = f"{where}/{name}"
    _check_format(channel, origin, files[name])
    manifest = str(PurePosixPath(name).parent / MANIFEST_NAME)
    if manifest not in files:
        return EarlierModel(files[name], None, origin)
    described = _checked_manifest(channel, f"{where}/{manifest}", files[manifest])
    return EarlierModel(files[name], described, origin)


def _unpacked(folder: Path, name: str) -> dict[str, bytes]:
    """Return the members of an archive that may be a model or its manifest, by name.

    The archive is read to its very end, where gzip keeps its checksum. Links, devices and names
    that lead out of the archive are passed over.
    """
    import gzip  # these two are of no use to most jobs
    import tarfile

    path = folder / name
    files: dict[str, bytes] = {}
    with path.open("rb") as head:
        packed = head.read(2) == b"\x1f\x8b"
    try:
        with (
            gzip.open(path) if packed else path.open("rb") as stream,
            tarfile.open(fileobj=stream, mode="r:") as archive,
        ):
            for member in archive:
                inside = str(PurePosixPath(member.name))
                if member.isreg() and _wanted(inside):
                    content = archive.extractfile(member)
                    files[inside] = content.read() if content else b""
            _read_to_end(stream, archive.offset)
    except (tarfile.TarError, EOFError, zlib.error, ValueError, gzip.BadGzipFile) as error:
        raise ChannelError(
            f"Channel {folder.name!r}: {name} is damaged, cut off, or no tar archive: "
            f"{shortened(str(error), 200)}",
            "Upload the archive again; a tar archive may be plain or compressed with gzip.",
        ) from error
    return files


def _read_to_end(stream: io.BufferedIOBase, end: int) -> None:
    """Read what follows the last member, at ``end`` bytes; ``tarfile`` would not look at it."""
    stream.seek(end)
    if stream.read(_BLOCK) != bytes(_BLOCK):
        raise EOFError(f"no end-of-archive mark at byte {end}")
    while stream.read(1 << 20):
        pass


def _check_format(channel: str, origin: str, model: bytes) -> None:
    if _is_model(model) and ubjson.is_ubjson(model) and not ubjson.is_whole(model):
        raise ChannelError(
            f"Channel {channel!r}: {origin} is damaged or cut off: its {len(model):,} bytes are "
            "no complete UBJSON",
            "Upload the model again, whole.",
        )
    if _is_model(model):
        return
    again = (
        "Load it with an XGBoost that still reads it, and save it again with "
        "save_model('model.ubj'), which XGBoost 1.6 and later write."
    )
    if model.startswith(b"\x80"):
        kind = "is a pickle, which is never loaded because it may run any code"
    elif model.startswith(b"binf"):
        kind = "is in XGBoost's old binary format (binf), which is no longer read"
    elif model and not model.startswith(b"{"):
        kind = (
            "is neither UBJSON nor JSON, but perhaps in XGBoost's old binary format, which is no "
            f"longer read; it begins with {model[:12]!r}"
        )
    else:
        kind = "is JSON or UBJSON without the part 'learner'" if model else "is empty"
        again = "Give a whole model, as XGBoost's save_model writes it."
    raise ChannelError(f"Channel {channel!r}: {origin} {kind}", again)


def _is_model(content: bytes) -> bool:
    """Return whether ``content`` looks like a model of XGBoost, in JSON or UBJSON."""
    return content.startswith(b"{") and _LEARNER.search(content) is not None


def _checked_manifest(channel: str, origin: str, text: bytes) -> Mapping[str, Any]:
    try:
        manifest = json.loads(text)
        version = manifest["manifest_version"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise ChannelError(
            f"Channel {channel!r}: {origin} is no manifest of Treeline: "
            f"{type(error).__name__} {shortened(str(error), 200)}",
            "Give the files of one job as it left them, or leave the manifest out.",
        ) from error
    if not isinstance(version, int) or version > MANIFEST_VERSION:
        raise ChannelError(
            f"Channel {channel!r}: {origin} has manifest_version {version!r}, this image reads "
            f"up to {MANIFEST_VERSION}",
            "Use the image that wrote the model, or a newer one.",
        )
    return dict(manifest)


def _listed(names: Iterable[str]) -> str:
    ordered = [repr(name) for name in names]
    return ", ".join(ordered[:8]) + (f" and {len(ordered) - 8} more" if len(ordered) > 8 else "")


def _wanted(name: str) -> bool:
    """Return whether a file may be the model or its manifest."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and not _hidden(name) and name.isprintable()
    return inside and (path.name.startswith(MODEL_NAME) or name.endswith(_MODELS))


def _hidden(name: str) -> bool:
    """Return whether a part of the path begins with a dot; ``..`` does too."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _base(name: str) -> str:
    return PurePosixPath(name).name


@contextmanager
def written_whole(file: Path, *, synced: bool = False) -> Iterator[IO[bytes]]:
    """Open ``file`` to be written beside its name, which it takes if the block ends well.

    ``synced`` is whether it is on disk before that, and its name after. Until then it is
    ``.NAME.XXXXXXXX.sagemaker-ignore`` with random hex digits: of processes that write the same
    file none takes another's away.
    """
    # A dot file: passed over by the built-in image's serving should a kill leave it behind.
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.sagemaker-ignore")
    try:
        with _opened(temporary) as stream:
            yield stream
            if synced:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if synced:
        _sync_names(file.parent)


def _opened(file: Path) -> IO[bytes]:
    """Open a new file, in a folder that is made where there is none."""
    try:
        return file.open("wb")
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("wb")


def _sync_names(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the file system knows how."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _write_synced(file: Path, content: bytes) -> None:
    with written_whole(file, synced=True) as stream:
        stream.write(content)
