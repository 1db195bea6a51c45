"""Converted networks on disk: the cache behind ONNX Runtime, and files the user asks for."""

import hashlib
from pathlib import Path
from typing import Any

from ..models.errors import HmcapError, UsageError
from .backends import pick_outputs
from .base import Profile
from .store import atomic_write, explained, models_folder
from .tflite_reader import MAX_FILE_BYTES

CONVERTER_VERSION = 1
"""Raised whenever the converter writes different networks, so that cached ones are made anew."""


def read_network_file(path: Path) -> bytes:
    """The bytes of a network, after checking that the file is there and of a believable size."""
    try:
        size = path.stat().st_size
        if not path.is_file() or not 0 < size <= MAX_FILE_BYTES:
            raise HmcapError(
                f"Expected a network of 1 byte to {MAX_FILE_BYTES >> 20} MiB, found {size} bytes in {path}. "
                "Export or download it again."
            )
        return path.read_bytes()
    except OSError as error:
        raise HmcapError(
            f"Expected to read a network at {path}, but the system says: {error.strerror or error}. "
            "Fetch the published ones with: hmcap models fetch"
        ) from error


def tflite_file_to_onnx(path: Path, batch: int = 1) -> bytes:
    """The serialised ONNX model of a ``.tflite`` file, for ``batch`` images at once. Raises :class:`HmcapError`."""
    from .tflite_onnx import tflite_to_onnx  # the onnx package takes a moment to import, and few runs need it

    return tflite_to_onnx(read_network_file(path), path.name, batch).SerializeToString()


def network_model(path: Path, profile: Profile | None = None, outputs: tuple[int, ...] | None = None) -> Any:
    """The ``onnx.ModelProto`` of a ``.tflite`` or ``.onnx`` file; the first with the batch that ``profile`` fixes.

    ``outputs``: positions of those to keep, with what they need; all by default. Raises :class:`HmcapError` for a file
    that is not a network, or has not got such outputs.
    """
    import onnx

    from .network_checks import check_onnx

    if path.suffix.lower() == ".tflite":
        data = onnx_for(path, batch_of(profile))
        model = onnx.load(data) if isinstance(data, str) else onnx.load_model_from_string(data)
    else:
        model = check_onnx(read_network_file(path), path.name)
    return model if outputs is None else with_outputs(model, outputs, path.name)


def batch_of(profile: Profile | None) -> int:
    """Images at once that a profile fixes; 1 where it does not say."""
    return 1 if profile is None else profile.fixed.get("batch", 1)


def onnx_for(path: Path, batch: int = 1) -> str | bytes:
    """The ONNX form of a ``.tflite`` file for a session to open: the path of a cached file, or the model itself.

    ``batch``: images at once, written into inputs and outputs.

    The cache is ``converted/`` in the models folder, keyed by the content of the source and checked by the content of
    the result. Where the folder cannot be written (a prepared read-only one), the model is handed over in memory.
    """
    source = hashlib.sha256(read_network_file(path)).hexdigest()[:32]
    folder = models_folder() / "converted"
    stem = f"{source}-v{CONVERTER_VERSION}" + (f"b{batch}" if batch != 1 else "")
    for cached in folder.glob(f"{stem}-*.onnx"):
        if cached.stem.rpartition("-")[2] == hashlib.sha256(cached.read_bytes()).hexdigest()[:32]:
            return str(cached)
    model = tflite_file_to_onnx(path, batch)
    cached = folder / f"{stem}-{hashlib.sha256(model).hexdigest()[:32]}.onnx"
    try:
        atomic_write(cached, model)
    except OSError:
        return model  # same network, only converted again next time
    return str(cached)


def with_outputs(model: Any, outputs: tuple[int, ...], name: str) -> Any:
    """The part of an ``onnx.ModelProto`` that leads to some of its outputs."""
    from onnx.utils import Extractor

    given, found = ([value.name for value in values] for values in (model.graph.input, model.graph.output))
    return Extractor(model).extract_model(given, [found[i] for i in pick_outputs(outputs, len(found), name)])


def convert_file(source: Path, out: Path) -> Path:
    """Write the ONNX form of a ``.tflite`` file to ``out`` and return it. Raises :class:`HmcapError`."""
    if source.suffix.lower() != ".tflite":
        raise UsageError(
            f"Expected a .tflite network to convert, found {source}. An .onnx file is used as it is: "
            "hmcap models add FILE"
        )
    if out.suffix.lower() != ".onnx":
        raise UsageError(f"Expected an output file that ends in .onnx, found {out}.")
    model = tflite_file_to_onnx(source)
    with explained(out.parent, out.name):
        atomic_write(out, model)
    return out
