"""What an exported motion graph says of itself: the metadata that travels inside its ONNX file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import HmcapError, UsageError
from .records import RATE_HZ

METADATA_KEY = "hmcap"
"""Key of the metadata property that holds the JSON."""
GRAPH_FORMAT = 1
"""Version of the graph's inputs, outputs and metadata; raised when a reader of today could not run it."""

MAX_FILE_BYTES = 1 << 29
"""Largest file read (512 MiB; our own has 14 MB)."""
_AGAIN = "Install hmcap again to get its own weights back, or export yours again with this version."


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """Metadata of a motion graph."""

    size: str
    """Name of the size, such as ``base``."""
    lookaheads: tuple[int, ...]
    """Frames of look-ahead that the weights were trained for, in the order of the graph's input ``ahead``."""
    num_betas: int
    """Shape coefficients of the built-in body that the graph gives."""
    caches: Mapping[str, tuple[int, ...]]
    """Whole shape (with the batch axis, 1) of each cache by its bare name; the graph's inputs are called
    ``cache_<name>``, its outputs ``next_cache_<name>``."""
    rate_hz: float = RATE_HZ
    """Frames a second that the graph takes."""
    format: int = GRAPH_FORMAT
    """Version of the interface."""

    def to_json(self) -> str:
        """The metadata property's text; :meth:`from_json` reads it back. Further keys may be added beside these."""
        return json.dumps(asdict(self) | {"caches": {k: list(v) for k, v in self.caches.items()}}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, name: str) -> "GraphInfo":
        """Read and check the metadata of the file called ``name``. Raises HmcapError where this version cannot run it:
        no metadata of hmcap, another version of the interface, another frame rate."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _not_ours(name, "its metadata is not JSON") from error
        if not isinstance(values, dict):
            raise _not_ours(name, "its metadata is not a map")
        found = values.get("format")
        if found != GRAPH_FORMAT:
            raise HmcapError(
                f"Expected motion networks of interface version {GRAPH_FORMAT}, found version {found!r} in {name}. "
                f"{_AGAIN}"
            )
        rate = values.get("rate_hz")
        if not isinstance(rate, int | float) or not math.isclose(rate, RATE_HZ):
            raise HmcapError(
                f"Expected motion networks trained at {RATE_HZ:g} frames a second, found {rate!r} in {name}. {_AGAIN}"
            )
        lookaheads, caches = _whole(values.get("lookaheads")), values.get("caches")
        if not lookaheads or len(set(lookaheads)) != len(lookaheads):
            raise _not_ours(name, "its look-aheads are not a list of different whole numbers")
        if not isinstance(caches, dict):
            raise _not_ours(name, "its caches are not a map of shapes")
        shapes = {str(k): _whole(v) for k, v in caches.items()}
        if not all(shape and min(shape) > 0 for shape in shapes.values()):
            raise _not_ours(name, "its caches are not a map of shapes")
        betas, size = values.get("num_betas"), values.get("size")
        if not isinstance(betas, int) or betas < 1 or not isinstance(size, str):
            raise _not_ours(name, "its size or its number of shape coefficients is missing")
        return cls(size, lookaheads, betas, shapes, float(rate), found)

    @property
    def longest(self) -> int:
        """The largest look-ahead on offer, frames."""
        return max(self.lookaheads)

    def check_ahead(self, ahead: int) -> int:
        """``ahead`` itself. Raises UsageError where the weights do not offer that look-ahead."""
        if ahead not in self.lookaheads:
            offered = ", ".join(str(n) for n in sorted(self.lookaheads))
            nearest = min(self.lookaheads, key=lambda n: (abs(n - ahead), n))
            raise UsageError(
                f"--look-ahead takes one of the numbers of frames that the weights were trained for: {offered}; found "
                f"{ahead}. Try --look-ahead {nearest}"
            )
        return ahead


def read_graph_info(path: str | Path) -> GraphInfo:
    """The metadata of the motion graph in the ONNX file ``path``; the network itself is not loaded into an engine.

    Raises HmcapError where the file is missing, is no whole ONNX file, or is not a motion graph of this version.
    """
    # Imported here: only a capture that uses networks needs it.
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _not_ours(str(path), f"it has {size >> 20} MiB, more than {MAX_FILE_BYTES >> 20} MiB")
        model = onnx.load_model(str(path), load_external_data=False)
    except OSError as error:
        raise HmcapError(
            f"Expected motion networks in {path}, but the file cannot be read: {error.strerror or error}. Give the "
            "ONNX file that the training exported, or capture with --motion solver."
        ) from error
    except (DecodeError, ValueError) as error:
        raise _not_ours(str(path), "it is no ONNX file, or the file was cut off") from error
    text = next((p.value for p in model.metadata_props if p.key == METADATA_KEY), None)
    if text is None:
        raise _not_ours(str(path), "it holds no metadata of hmcap; it is another network, or the file was cut off")
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise _not_ours(str(path), "its weights lie in other files")
    return GraphInfo.from_json(text, str(path))


def _whole(values: Any) -> tuple[int, ...]:
    """The list of whole numbers, none negative; empty where it is anything else."""
    if not isinstance(values, list) or not all(isinstance(n, int) and n >= 0 for n in values):
        return ()
    return tuple(values)


def _not_ours(name: str, reason: str) -> HmcapError:
    return HmcapError(f"Expected motion networks that hmcap exported, found another file: {name}: {reason}. {_AGAIN}")
