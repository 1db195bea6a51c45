"""Whether an npz from outside may be read: what its arrays declare, checked before memory is taken for them.

An npz is a zip file, whose members may unpack to a thousand times their size, and each member declares the shape of an
array of its own, for which numpy takes the memory before it reads the first number.
"""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

MAX_ARRAY_BYTES = 1 << 29
"""Largest array (512 MiB; the largest of an SMPL-X file has 126 MB)."""
MAX_TOTAL_BYTES = 1 << 30
"""All arrays that are read of one file together."""
MAX_MEMBERS = 4096
"""Arrays in one file, those included that nobody reads."""


def check_npz(path: str | Path, names: Collection[str] | None = None, most_bytes: int = MAX_TOTAL_BYTES) -> None:
    """Raise ``ValueError``, saying what, where the arrays ``names`` (None: all) of an npz are too large, or declare
    other sizes than the file holds. Says nothing about names that are not there, nor about a file that is no zip file,
    which ``numpy.load`` refuses by itself."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"it holds {len(members)} arrays, more than {MAX_MEMBERS}")
        total = 0
        for member in members:
            name = member.filename.removesuffix(".npy")
            if names is not None and name not in names:
                continue
            total += member.file_size
            if member.file_size > MAX_ARRAY_BYTES or total > most_bytes:
                raise ValueError(f"its array {name!r} unpacks to {member.file_size} bytes, {total} in all")
            if not (member.filename.endswith(".npy") and member.file_size):
                continue
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                declared, held = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
            if not dtype.hasobject and (min(shape, default=0) < 0 or declared != held):
                raise ValueError(f"its array {name!r} declares shape {shape}, and holds {held} bytes")
