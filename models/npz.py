"""Opening npz archives of others: no pickles, no archive that unpacks without end, one kind of error."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

MAX_BYTES = 1 << 30
"""Most that the members of one archive may take unpacked (1 GiB; the largest published body takes a quarter)."""
_PICKLES = "it is no npz, or holds Python pickles, which are never loaded here because they can run any code"
_UNREADABLE = (
    ValueError, OSError, EOFError, KeyError, IndexError, TypeError, AttributeError, SyntaxError, OverflowError,
    MemoryError, RuntimeError, RecursionError, zipfile.BadZipFile, zlib.error, struct.error,
    tokenize.TokenError, SystemError,
)  # fmt: skip
"""What zipfile and numpy raise on altered bytes: SystemError for text of impossible characters; NotImplementedError is
a RuntimeError."""


class BadNpz(ValueError):
    """The file is no such archive; the message says why, to be put into a sentence."""


@contextmanager
def open_npz(path: str | Path) -> Iterator[np.lib.npyio.NpzFile]:
    """The archive at ``path``; its members are read as they are asked for. What goes wrong with it in the block becomes
    a :class:`BadNpz`. Raises FileNotFoundError where there is no file."""
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise BadNpz(_PICKLES)
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                size = sum(info.file_size for info in archive.zip.infolist())
                if size > MAX_BYTES:
                    raise BadNpz(f"it would take {size:,} bytes unpacked, more than {MAX_BYTES:,}")
                for info in archive.zip.infolist():
                    with archive.zip.open(info) as member:
                        if member.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
                            raise BadNpz(f"its member {info.filename[:60]!r} is no array")
                yield archive
    except (BadNpz, FileNotFoundError):
        raise
    except _UNREADABLE as error:
        pickled = "pickle" in str(error).lower()
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BadNpz(_PICKLES if pickled else f"it cannot be read ({reason[0][:150]})") from error
