"""Writing a file so that nobody ever sees half of it."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...models.errors import HmcapError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, renamed to ``path`` when the block ends well and removed when not.

    The folder is made when it is missing. Whoever writes must have closed the file before the block ends.

    Raises:
        HmcapError: the folder cannot be made or written to, or the disk is full.
    """
    final = Path(path)
    # The suffix stays last, because libraries pick the file format by it.
    part = final.with_name(f".{final.stem}.{uuid.uuid4().hex[:8]}.part{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        # Found out before anything is written: of two files that belong together, neither is left alone.
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder of that name is there")
        yield part
        os.replace(part, final)
    except OSError as err:
        raise HmcapError(
            f"Expected to be able to write {final}, but the system said: {err.strerror or err}. Check that the folder "
            f"exists, that you may write to it and that the disk has room, or name another output path."
        ) from err
    finally:
        # After a rename there is nothing left; where the folder is at fault, that error is already on its way.
        with suppress(OSError):
            part.unlink(missing_ok=True)
