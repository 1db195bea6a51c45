"""Bringing files to the disk itself, so that they outlive a power cut."""

import contextlib
import os
import sys
from pathlib import Path
from typing import IO


def sync(file: IO[bytes]) -> None:
    """Wait until what was written to the file is on the disk. Raises OSError."""
    if sys.platform == "darwin":
        import fcntl

        # There fsync leaves the data in the memory of the drive; not every file system knows the other call.
        with contextlib.suppress(OSError):
            fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
            return
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files in a folder are on the disk, where the system knows how to.

    A file system that cannot do so keeps names in its own way: no error.
    """
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
