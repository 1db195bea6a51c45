"""What a file of results belongs to: a digest of a case's input, and of the code that made the result."""

import hashlib
import json
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ....engines.store import sha256_of
from ....models.errors import HmcapError
from ....models.proxies import Proxies
from ....realtime.sources_images import SUFFIXES, natural_key
from ..records import Case

_CODE_DIGITS = 10


def case_fingerprint(case: Case) -> str:
    """Hexadecimal SHA-256 of everything that a method is given of ``case``; its truth is no part of it.

    Set, name, frame rate, rows, camera, boxes, and the bytes of the footage or of the proxies. Files may move.
    """
    camera = case.camera
    parts = {
        "set": case.set_name,
        "case": case.name,
        "fps": case.fps,
        "frames": case.frames,
        "image": [camera.width_px, camera.height_px],
        "K": camera.K.tolist(),
        "dist": [float(d) for d in camera.dist],
        "index": case.index.tolist(),
        "box_px": "" if case.box_px is None else _of_array(case.box_px),
        "input": input_fingerprint(case),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def input_fingerprint(case: Case) -> str:
    """Hexadecimal SHA-256 of the footage up to the last row, or of the proxies.

    Of a video the whole file counts; of a folder of images, those up to the last row that has truth.
    """
    if case.footage is not None:
        return footage_fingerprint(case.footage.source, last_frame(case))
    digest = hashlib.sha256()
    for p in _proxies(case):
        digest.update(f"{p.index} {p.stamp_s!r} {p.image_size_px} {p.score!r}".encode())
        for array in (p.xy_px, p.confidence, p.body_xyz_m, p.hands_xyz_m):
            digest.update(_of_array(array).encode())
    return digest.hexdigest()


def last_frame(case: Case) -> int:
    """The last frame of the source that has truth; no method looks further."""
    return int(case.index[-1])


def footage_fingerprint(source: Path, last: int) -> str:
    """Hexadecimal SHA-256 of a video or image file, or of the first ``last`` + 1 images of a folder with their names.

    Raises HmcapError where the footage is not there or cannot be read. Each file is read once per process, unless its
    size or its time of change differ.
    """
    try:
        if not source.is_dir():
            return _of_file(source)
        digest = hashlib.sha256()
        for image in images_of(source)[: last + 1]:
            digest.update(f"{image.name} {_of_file(image)}\n".encode())
        return digest.hexdigest()
    except OSError as error:
        raise HmcapError(
            f"Expected the footage {source}, but it cannot be read ({error.strerror or error}). "
            "Check the folder of the set, or leave the case out with --cases."
        ) from error


def images_of(folder: Path) -> list[Path]:
    """The images of a folder in the order in which a source gives them."""
    found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    return sorted((p for p in found if p.is_file()), key=lambda p: natural_key(p.name))


@cache
def code_version(*modules: str) -> str:
    """``hmcap``'s version and a digest of the sources and data files of some of its modules and packages.

    ``modules``: "models", "engines.landmarks", ...; of a package its own files count, sub-packages are named apart.
    Results of other code never pass for this one's, even where the version has not been raised yet. Newlines count
    alike everywhere.
    """
    digest = hashlib.sha256()
    for module in modules:
        for file in _sources(module):
            data = file.read_bytes()
            digest.update(f"{module}/{file.name}\n".encode())
            digest.update(data.replace(b"\r\n", b"\n") if file.suffix == ".py" else data)
    return f"{version('hmcap')}+{digest.hexdigest()[:_CODE_DIGITS]}"


def _sources(name: str) -> list[Path]:
    module = import_module(f"....{name}", __package__)
    if not hasattr(module, "__path__"):
        return [Path(str(module.__file__))]
    found = [f for folder in module.__path__ for f in Path(folder).iterdir() if f.suffix in (".py", ".npz")]
    return sorted(found, key=lambda f: f.name)


def _proxies(case: Case) -> list[Proxies]:
    if case.proxies is None:
        raise HmcapError(
            f"Expected footage or proxies in the case {case.set_name}/{case.name}, found neither. "
            "The loader of the set has to give one of them."
        )
    return list(case.proxies)


def _of_array(array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    return hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()).hexdigest()


def _of_file(path: Path) -> str:
    stat = path.stat()
    return _hashed(str(path), stat.st_size, stat.st_mtime_ns)


@cache
def _hashed(path: str, size: int, mtime_ns: int) -> str:
    return f"{size} {sha256_of(Path(path))}"
