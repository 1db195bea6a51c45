"""Opening an npz from outside: no pickles, nothing that unpacks without end, one kind of error.

An npz is a zip file, whose members may unpack to a thousand times their size, and each member declares the shape of an
array of its own, for which numpy takes the memory before it reads the first number. So what the members declare is
checked first.
"""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.format import MAGIC_LEN, MAGIC_PREFIX, read_array_header_1_0, read_array_header_2_0

MAX_ARRAY_BYTES = 1 << 29
"""Largest array (512 MiB; the largest of an SMPL-X file has 126 MB)."""
MAX_TOTAL_BYTES = 1 << 30
"""All arrays that are read of one file together."""
MAX_MEMBERS = 4096
"""Arrays in one file, those included that nobody reads."""

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
def open_npz(
    path: str | Path, names: Collection[str] | None = None, most_bytes: int = MAX_TOTAL_BYTES
) -> Iterator[np.lib.npyio.NpzFile]:
    """The archive at ``path``, of which the arrays ``names`` (None: any) are to be read; each is as it is asked for.

    What goes wrong with it in the block becomes a :class:`BadNpz`, as do arrays of ``names`` that are too large or
    declare another size than they have. Raises FileNotFoundError where there is no file.
    """
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise BadNpz(_PICKLES)
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                _check(archive.zip, names, most_bytes)
                yield archive
    except (BadNpz, FileNotFoundError):
        raise
    except _UNREADABLE as error:
        pickled = "pickle" in str(error).lower()
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BadNpz(_PICKLES if pickled else f"it cannot be read ({reason[0][:150]})") from error


def _check(archive: zipfile.ZipFile, names: Collection[str] | None, most_bytes: int) -> None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise BadNpz(f"it holds {len(members):,} arrays, more than {MAX_MEMBERS:,}")
    total = 0
    for member in members:
        name = member.filename.removesuffix(".npy")
        if names is not None and name not in names:
            continue
        total += member.file_size
        if member.file_size > MAX_ARRAY_BYTES or total > most_bytes:
            raise BadNpz(f"its array {name[:60]!r} unpacks to {member.file_size:,} bytes, {total:,} in all")
        with archive.open(member) as file:
            magic = file.read(MAGIC_LEN)
            if magic[: len(MAGIC_PREFIX)] != MAGIC_PREFIX or len(magic) < MAGIC_LEN:
                raise BadNpz(f"its member {member.filename[:60]!r} is no array")
            shape, _, dtype = (read_array_header_1_0 if magic[-2] == 1 else read_array_header_2_0)(file)
            declared, held = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if not dtype.hasobject and (min(shape, default=0) < 0 or declared != held):
            raise BadNpz(f"its array {name[:60]!r} declares shape {shape}, and holds {held:,} bytes")
