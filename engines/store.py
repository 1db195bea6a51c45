"""The folder that holds weights and sample clips, and the file operations every user of it shares."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from ..models.errors import HmcapError

ENVIRONMENT = "HMCAP_MODELS"
_CHUNK = 1 << 20


def models_folder() -> Path:
    """``$HMCAP_MODELS`` where it is set, else ``models`` in the platform's cache folder (may not exist yet)."""
    chosen = os.environ.get(ENVIRONMENT, "").strip()
    return (
        Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("hmcap", appauthor=False), "models")
    )


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def explained(folder: Path, what: str) -> Iterator[None]:
    """Turn the operating system's refusal to write ``what`` under ``folder`` into an :class:`HmcapError`."""
    try:
        yield
    except OSError as error:
        raise write_error(error, folder, what) from error


def write_error(error: OSError, folder: Path, what: str) -> HmcapError:
    """The message for a full disk, a folder without permission, or any other reason."""
    move = f"set {ENVIRONMENT} to a folder elsewhere"
    if error.errno in (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC):
        return HmcapError(f"Expected room for {what} in {folder}, but the disk is full. Free some space, or {move}.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return HmcapError(
            f"Expected to write {what} in {folder}, but this user may not write there. "
            f"Change its permissions, or {move}."
        )
    return HmcapError(
        f"Expected to write {what} in {folder}, but the system says: {error.strerror or error}. "
        f"Check the folder, or {move}."
    )


def atomic_write(path: Path, pieces: bytes | Iterator[bytes]) -> None:
    """Write a file so that other processes see all of it or none of it (a temporary neighbour, then a rename).

    Parent folders are made. Raises ``OSError``; wrap in :func:`explained`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in (pieces,) if isinstance(pieces, bytes) else pieces:
                file.write(piece)
        os.chmod(name, 0o644)  # mkstemp gives 0600; a shared folder has to be readable by others
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
