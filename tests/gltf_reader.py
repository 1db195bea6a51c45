"""A reader of GLB written from the glTF 2.0 specification alone, to judge what the exporter writes."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_DTYPES = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class Glb:
    json: dict
    blob: bytes

    def accessor(self, number: int) -> np.ndarray:
        """(count, width) as section 3.6.2 says, sparse ones included."""
        accessor = self.json["accessors"][number]
        width = _WIDTHS[accessor["type"]]
        values = np.zeros((accessor["count"], width), _DTYPES[accessor["componentType"]])
        if "bufferView" in accessor:
            values[:] = self._read(accessor["bufferView"], accessor, accessor["count"], width)
        if sparse := accessor.get("sparse"):
            rows = self._read(sparse["indices"]["bufferView"], sparse["indices"], sparse["count"], 1)[:, 0]
            values[rows] = self._read(sparse["values"]["bufferView"], accessor, sparse["count"], width)
        return values

    def _read(self, view: int, of: dict, count: int, width: int) -> np.ndarray:
        view_json, dtype = self.json["bufferViews"][view], np.dtype(_DTYPES[of["componentType"]])
        assert view_json["buffer"] == 0
        assert "byteStride" not in view_json
        start = view_json.get("byteOffset", 0)
        assert start % dtype.itemsize == 0
        assert view_json["byteLength"] == count * width * dtype.itemsize
        return np.frombuffer(self.blob, dtype, count * width, start).reshape(count, width)

    def channels(self) -> dict[tuple[int, str], tuple[np.ndarray, np.ndarray]]:
        """(node, path) -> times (T,) and values (T, ...) of the one animation."""
        (animation,) = self.json["animations"]
        found = {}
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            assert sampler["interpolation"] == "LINEAR"
            times = self.accessor(sampler["input"])[:, 0]
            key = channel["target"]["node"], channel["target"]["path"]
            assert key not in found
            found[key] = times, self.accessor(sampler["output"]).reshape(len(times), -1)
        return found

    def globals_at(self, frame: int | None) -> np.ndarray:
        """(nodes, 4, 4) global transforms at a key of the animation, or of the nodes as they stand (None)."""
        nodes, channels = self.json["nodes"], {} if frame is None else self.channels()
        world = np.full((len(nodes), 4, 4), np.nan)

        def visit(number: int, above: np.ndarray) -> None:
            node = nodes[number]
            assert "matrix" not in node
            trs = {path: node.get(path, default) for path, default in _REST.items()}
            for path in trs:
                if (number, path) in channels:
                    trs[path] = channels[number, path][1][frame]
            local = np.eye(4)
            local[:3, :3] = _matrix(*np.float64(trs["rotation"])) * np.float64(trs["scale"])
            local[:3, 3] = trs["translation"]
            world[number] = above @ local
            for child in node.get("children", []):
                visit(child, world[number])

        for number in self.json["scenes"][self.json["scene"]]["nodes"]:
            visit(number, np.eye(4))
        assert np.isfinite(world).all(), "a node is in no scene"
        return world

    def skinned_at(self, frame: int, shape_weights: np.ndarray | None = None) -> np.ndarray:
        """(V, 3) vertices of the one mesh at a key of the animation (section 3.7.3)."""
        (mesh,), (skin,) = self.json["meshes"], self.json["skins"]
        (primitive,) = mesh["primitives"]
        attributes = primitive["attributes"]
        points = self.accessor(attributes["POSITION"]).astype(np.float64)
        if shape_weights is not None:
            for target, weight in zip(primitive["targets"], shape_weights, strict=True):
                points += weight * self.accessor(target["POSITION"])
        inverse_binds = self.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        joints = self.globals_at(frame)[skin["joints"]] @ inverse_binds
        numbers, weights = self.accessor(attributes["JOINTS_0"]), self.accessor(attributes["WEIGHTS_0"])
        blended = (joints[numbers] * weights[..., None, None]).sum(axis=1)
        return np.einsum("vij,vj->vi", blended[:, :3, :3], points) + blended[:, :3, 3]


_REST = {"translation": (0, 0, 0), "rotation": (0, 0, 0, 1), "scale": (1, 1, 1)}


def _matrix(x: float, y: float, z: float, w: float) -> np.ndarray:
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def read_glb(path: Path) -> Glb:
    """Section 4.4: a header of 12 bytes, a JSON chunk, a binary chunk."""
    raw = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", raw)
    assert (magic, version, length) == (b"glTF", 2, len(raw))
    chunks, at = [], 12
    while at < length:
        size, kind = struct.unpack_from("<I4s", raw, at)
        assert size % 4 == 0
        chunks.append((kind, raw[at + 8 : at + 8 + size]))
        at += 8 + size
    (first, text), (second, blob) = chunks
    assert (first, second) == (b"JSON", b"BIN\0")
    tree = json.loads(text)
    assert tree["buffers"] == [{"byteLength": len(blob)}]
    return Glb(tree, blob)
