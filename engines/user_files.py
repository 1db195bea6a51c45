"""Networks that a user brings: checked, copied into the models folder, and recorded beside the copy.

The record of ``NAME`` is ``user/NAME.json``; one small file each, written atomically, so that two processes that add
different networks cannot lose one another's.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.errors import HmcapError, UsageError
from .convert import read_network_file
from .store import atomic_write, explained, models_folder
from .tflite_reader import read_tflite

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_MAX_RECORD_BYTES = 1 << 16
_VERSION = 1


@dataclass(frozen=True, slots=True)
class UserFile:
    """A recorded network of the user's."""

    name: str
    role: str
    licence: str
    layout: str | None
    sha256: str
    size: int
    path: Path
    form: Mapping[str, Any] | None
    """What a landmark network takes and gives (``landmarks.mmpose.Form``); None for networks of another kind."""


def check_user_file(path: Path, name: str) -> bytes:
    """The content of a network. Raises :class:`HmcapError` for a file that is not a network, or :class:`UsageError`
    for an unusable name."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(
            f"Expected a name of lower-case letters, digits, '_', '-' and '.', found {name!r}. Choose one with --name."
        )
    suffix = path.suffix.lower()
    if suffix not in (".onnx", ".tflite"):
        raise UsageError(f"Expected an .onnx or .tflite network, found {path}. Export the network to ONNX first.")
    data = read_network_file(path)
    if suffix == ".tflite":
        read_tflite(data, path.name)
    else:
        check_onnx(data, path.name)
    return data


def add_user_file(
    path: Path, data: bytes, name: str, role: str, licence: str, layout: str | None, form: Mapping[str, Any] | None
) -> UserFile:
    """Copy and record a network whose content is ``data``, as :func:`check_user_file` gave it."""
    suffix = path.suffix.lower()
    folder = models_folder() / "user"
    with explained(folder, path.name):
        folder.mkdir(parents=True, exist_ok=True)
        # The copy carries its content's hash in its name: replacing a network never changes a file that is in use.
        digest = hashlib.sha256(data).hexdigest()
        target = folder / f"{name}-{digest[:12]}{suffix}"
        atomic_write(target, data)
        record = {
            "version": _VERSION, "file": target.name, "sha256": digest, "size": len(data),
            "role": role, "licence": licence, "layout": layout, "form": form,
        }  # fmt: skip
        atomic_write(folder / f"{name}.json", json.dumps(record, indent=2).encode() + b"\n")
    return read_user_files()[name]


def read_user_files() -> dict[str, UserFile]:
    """Every recorded network by name. Raises :class:`HmcapError` for a record that is not one."""
    files = {}
    for record_path in sorted((models_folder() / "user").glob("*.json")):
        try:
            if record_path.stat().st_size > _MAX_RECORD_BYTES:
                raise ValueError("it is too large")
            record = json.loads(record_path.read_text("utf-8"))
            layout, file, form = record["layout"], record["file"], record.get("form")
            if record["version"] != _VERSION or not isinstance(record["size"], int):
                raise ValueError("it is of another version")
            if Path(file).name != file or file in ("", ".", ".."):
                raise ValueError("it names a file outside its folder")
            if not (form is None or isinstance(form, dict)):
                raise ValueError("its form is not a map")
            files[record_path.stem] = UserFile(
                record_path.stem, str(record["role"]), str(record["licence"]), str(layout) if layout else None,
                str(record["sha256"]), record["size"], record_path.parent / file, form,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise HmcapError(
                f"Expected a record of an added network in {record_path}, but it cannot be used ({error}). "
                "Delete that file and add the network again with: hmcap models add FILE"
            ) from error
    return files


def check_onnx(data: bytes, name: str) -> None:
    """Raise :class:`HmcapError` unless ``data`` is a whole, self-contained ONNX network."""
    import onnx  # takes a moment to import, and few runs need it
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise HmcapError(
            f"Expected an ONNX network, but {name} is not a valid one ({str(error).strip().splitlines()[0][:200]}). "
            "Export it again, and check it with onnx.checker."
        ) from error
    if not model.graph.input or not model.graph.output:
        raise HmcapError(f"Expected an ONNX network with inputs and outputs, but {name} has none. Export it again.")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model.graph)):
        raise HmcapError(
            f"Expected one self-contained ONNX file, but {name} keeps weights in other files. "
            "Save it as one file: onnx.save(onnx.load(FILE), OUT, save_as_external_data=False)."
        )


def _tensors(graph: Any) -> Iterator[Any]:
    """Every stored tensor of an ONNX graph, those of nested graphs and attributes included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for attribute in (a for node in graph.node for a in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for nested in (attribute.g, *attribute.graphs):
            yield from _tensors(nested)
