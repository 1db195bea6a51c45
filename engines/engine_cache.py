"""Built engines on disk: found by what they were built from and for, checked before any library sees them.

An engine is native code and data for one device: a library that loads a bad one may crash, or worse. Each file here
carries a header of ours, with everything that the engine depends on and the digest of its content; whatever is cut off,
altered, out of date or meant for something else is recognised by it, said in one line, and built anew. The digest
guards against accidents. It is no signature: whoever can write into the folder can write a valid file, so keep the
folder your own, and put into it only files that you or people you trust have built.

Layout: 8 bytes magic, uint32 format version, uint32 length of the header, SHA-256 of the header, the header (JSON),
the engine.
"""

import contextlib
import hashlib
import json
import os
import platform
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .base import Profile
from .store import atomic_write, models_folder

FORMAT = 1
"""Version of the layout and of what the key means."""
SUFFIX = ".engine"
KEPT = 2
"""Entries kept of one network for one device, profile and precision: the newest. The rest were built with other
versions."""
MOST_BYTES = 4 << 30
"""All entries together; those not used for longest go first."""

_MAGIC = b"HMCAPENG"
_HEAD = struct.Struct("<8sII32s")
_MOST_HEADER = 1 << 16
_MOST_ENGINE = 2 << 30


@dataclass(frozen=True, slots=True)
class Built:
    """An engine, and the order of its inputs and outputs in the network's file (libraries keep one of their own)."""

    engine: bytes
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """Everything that decides whether a built engine is the one wanted."""

    network: str
    """Stem of the network's file, for people."""
    sha256: str
    """Of the network's file."""
    library: str
    """``tensorrt`` or ``tensorrt_rtx``; with a suffix for what is kept beside an engine."""
    version: str
    """Of the library."""
    compute_capability: str
    """Such as ``8.9``; for what is tied to one GPU and driver, those too."""
    precision: str
    profile: str
    """Name and sizes."""
    graph: str
    """Versions of the conversion and precision passes."""
    platform: str = f"{sys.platform}-{platform.machine().lower()}"

    @property
    def group(self) -> str:
        """Start of the names of all entries that take each other's place."""
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in self.network)[:60]
        sm = "".join(c for c in self.compute_capability.split(",")[0] if c.isdigit())
        return f"{name}.{self.profile.split(' ')[0]}.{self.precision}.{self.library}.sm{sm}.{self.platform}"

    @property
    def file_name(self) -> str:
        """Name of the entry."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.group}.{digest[:16]}{SUFFIX}"


def profile_text(profile: Profile | None) -> str:
    """A profile as part of a key: ``take frames=1..128..256``; ``any`` where there is none."""
    if profile is None:
        return "any"
    sizes = (f"{name}={'..'.join(map(str, dict.fromkeys(s)))}" for name, s in sorted(profile.sizes.items()))
    return " ".join((profile.name, *sizes))


def folder() -> Path:
    """Where entries are looked for: ``engines/`` in the models folder (may not exist yet)."""
    return models_folder() / "engines"


def pack(key: Key, built: Built) -> bytes:
    """The content of an entry."""
    engine = built.engine
    names = {"inputs": built.inputs, "outputs": built.outputs}
    about = asdict(key) | names | {"size": len(engine), "engine_sha256": hashlib.sha256(engine).hexdigest()}
    header = json.dumps(about, sort_keys=True).encode()
    return _HEAD.pack(_MAGIC, FORMAT, len(header), hashlib.sha256(header).digest()) + header + engine


def unpack(data: bytes, key: Key) -> Built:
    """The engine in an entry's content. Raises ``ValueError``, with what is wrong, unless it is whole and for that
    key."""
    if len(data) < _HEAD.size:
        raise ValueError("it is cut off")
    magic, version, length, digest = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("it is not an engine that hmcap built")
    if version != FORMAT:
        raise ValueError(f"it has format {version}, this version of hmcap reads {FORMAT}")
    header = data[_HEAD.size : _HEAD.size + length]
    if length > _MOST_HEADER or len(header) != length or hashlib.sha256(header).digest() != digest:
        raise ValueError("its header is damaged")
    try:
        about = json.loads(header)
    except RecursionError as error:
        raise ValueError("its header is not one that hmcap writes") from error
    if not isinstance(about, dict) or not {"inputs", "outputs", "size", "engine_sha256"} <= about.keys():
        raise ValueError("its header is not one that hmcap writes")
    for name, wanted in asdict(key).items():
        if about.get(name) != wanted:
            raise ValueError(f"it was built for {name} {about.get(name)}, not {wanted}")
    if not all(isinstance(about[n], list) and all(isinstance(x, str) for x in about[n]) for n in ("inputs", "outputs")):
        raise ValueError("its header names no inputs and outputs")
    engine = data[_HEAD.size + length :]
    if len(engine) != about["size"] or hashlib.sha256(engine).hexdigest() != about["engine_sha256"]:
        raise ValueError("its content is cut off or damaged")
    return Built(engine, tuple(about["inputs"]), tuple(about["outputs"]))


def load(key: Key, say: Callable[[str], None]) -> Built | None:
    """The engine for ``key``, or None where there is none that can be used; ``say`` is told of one that cannot."""
    path = folder() / key.file_name
    try:
        if path.stat().st_size > _MOST_ENGINE:
            raise ValueError("it is too large")
        built = unpack(path.read_bytes(), key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        say(f"{path} cannot be used ({error}): building it anew.")
        return None
    with contextlib.suppress(OSError):  # a read-only folder is not pruned either
        os.utime(path)  # used now: what was not used for longest goes first
    return built


def store(key: Key, built: Built, into: Path | None = None) -> Path:
    """Write an entry and remove those it replaces. Raises ``OSError`` where the folder cannot be written.

    ``into``: another folder than the cache itself, in which nothing is removed.
    """
    path = (into or folder()) / key.file_name
    atomic_write(path, pack(key, built))
    if into is None:
        _prune(path, key.group)
    return path


def entries() -> list[tuple[Path, int]]:
    """Every entry with its size in bytes, the latest used first."""
    found = []
    for path in folder().glob(f"*{SUFFIX}"):
        try:
            found.append((path, path.stat()))
        except OSError:
            continue  # another process removed it
    return [(path, stat.st_size) for path, stat in sorted(found, key=lambda f: -f[1].st_mtime)]


def _prune(written: Path, group: str) -> None:
    same, total = 0, 0
    for path, size in sorted(entries(), key=lambda e: e[0] != written):  # stable: the one just written, then by age
        same += path.name.startswith(f"{group}.")
        total += size
        too_many = path.name.startswith(f"{group}.") and same > KEPT
        if path != written and (too_many or total > MOST_BYTES):
            total -= size
            try:
                path.unlink()
            except OSError:
                continue  # in use elsewhere, or not ours: it will be the first to go next time
