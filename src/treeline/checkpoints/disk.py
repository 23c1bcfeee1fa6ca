"""The folder of checkpoints on disk; nothing else of this package touches a file."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from pathlib import Path

from treeline.artifacts import written_whole

_PLATFORM = ".sagemaker-"  # in the names of the platform's markers and of what it does not upload
_TEMPORARY = f"{_PLATFORM}ignore"  # ends the name of a file that is being written, a dot begins it


class Disk:
    """Files of a folder by their names, which may lead into a folder of it.

    Every method raises ``OSError``; names in a folder that is not there are none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self, subfolder: str = "") -> list[str]:
        """Return the names of what is in the folder or a folder of it, sorted."""
        try:
            found = [path.name for path in (self.folder / subfolder).iterdir()]
        except FileNotFoundError:
            return []
        return sorted(name for name in found if _PLATFORM not in name)

    def leftovers(self, subfolder: str, seconds: float) -> list[str]:
        """Return the names of files that were to be written and have been like that for so long."""
        before = time.time() - seconds
        found = []
        for path in (self.folder / subfolder).glob(f".*{_TEMPORARY}"):
            with suppress(FileNotFoundError):  # by now it has its name
                if path.lstat().st_mtime < before:
                    found.append(path.name)
        return sorted(found)

    def read(self, name: str) -> bytes:
        """Return a file's content; ``FileNotFoundError`` also for what is not a file."""
        file = self.folder / name
        if not file.is_file():  # a FIFO would be waited for
            raise FileNotFoundError(errno.ENOENT, "Not a file", str(file))
        return file.read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a file: whole and on disk once this returns, or not at all."""
        with written_whole(self.folder / name, synced=True) as stream:
            stream.write(content)

    def remove(self, name: str) -> bool:
        """Remove a file, or return False while the platform is uploading it."""
        file = self.folder / name
        uploading = file.with_name(f"{file.name}{_PLATFORM}uploading")
        uploaded = file.with_name(f"{file.name}{_PLATFORM}uploaded")
        if uploading.exists() and not uploaded.exists():
            return False
        file.unlink(missing_ok=True)
        return True
