"""Who is writing a file: a lock that the system itself lets go of when its process ends, however that ends."""

import os
import sys
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import errno
    import msvcrt

    _FAR = 1 << 40
    """Locked bytes cannot be read by others on Windows: this one lies beyond the end of any take."""

    def _try_lock(file: IO[bytes]) -> bool:
        at = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        try:
            os.lseek(file.fileno(), _FAR, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLK):
                raise
            return False
        finally:
            os.lseek(file.fileno(), at, os.SEEK_SET)
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_alone(path: Path) -> IO[bytes]:
    """Open a file for writing and reading that is this process's alone until it is closed; what was in it is gone.

    Raises BlockingIOError where another process, or another part of this one, has it open so; OSError where it cannot
    be opened.
    """
    while True:
        # Emptied only once it is known to be ours: "w+b" by itself would empty the file of whoever writes it now.
        file = path.open("r+b") if path.exists() else path.open("x+b")
        try:
            if not _locked(file):
                raise BlockingIOError(f"{path} is being written")
            if is_at(file, path):
                file.truncate(0)
                return file
        except OSError:
            file.close()
            raise
        # Whoever wrote it has given it another name since it was opened: it is not ours to empty.
        file.close()


def is_at(file: IO[bytes], path: Path) -> bool:
    """Whether the open file is what lies at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_open(path: Path) -> bool:
    """Whether somebody has the file open by :func:`open_alone`. False where the file system knows no locks."""
    try:
        with path.open("r+b") as file:
            return not _locked(file)
    except OSError:
        # Whoever may not write to the file cannot have it locked against others, and takes nothing from them.
        return False


def _locked(file: IO[bytes]) -> bool:
    """Lock it. False where another has; True also where the file system knows no locks."""
    try:
        return _try_lock(file)
    except OSError:
        return True
