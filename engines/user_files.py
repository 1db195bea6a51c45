"""Networks that a user brings: checked, copied into the models folder, and recorded beside the copy.

The record of ``NAME`` is ``user/NAME.json``; one small file each, written atomically, so that two processes that add
different networks cannot lose one another's.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.errors import HmcapError, UsageError
from .convert import read_network_file
from .network_checks import check_onnx, check_tflite
from .store import atomic_write, explained, models_folder

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
        check_tflite(data, path.name)
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
