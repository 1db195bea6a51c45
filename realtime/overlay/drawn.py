"""A mesh renderer without any graphics library: a z-buffer in vectorised numpy."""

import numpy as np

from ...models.camera import Camera
from .mesh import MeshRenderer
from .projection import NEAR_M

_CHUNK = 2_000_000
"""Candidate pixels that are tested at once; bounds memory at about 200 MB."""


class DrawnRenderer(MeshRenderer):
    """Works everywhere; slower than a graphics card and without smoothed edges. ``reason`` says why it was chosen."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.description = f"drawn ({reason})"

    def rasterise(self, xyz_cam_m: np.ndarray, colours: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
        """See :meth:`MeshRenderer.rasterise`. Faces that reach behind the camera are left out."""
        width, height = camera.width_px, camera.height_px
        z = xyz_cam_m[:, 2].astype(np.float64)
        inverse_z = 1 / np.where(z > NEAR_M, z, np.inf)
        u = camera.fx_px * xyz_cam_m[:, 0] * inverse_z + camera.cx_px
        v = camera.fy_px * xyz_cam_m[:, 1] * inverse_z + camera.cy_px
        faces = faces[(z[faces] > NEAR_M).all(axis=1)]
        edges = _EdgeFunctions(u[faces], v[faces])
        x0, x1 = _pixel_range(u[faces], width)
        y0, y1 = _pixel_range(v[faces], height)
        columns, rows = np.maximum(x1 - x0, 0), np.maximum(y1 - y0, 0)
        kept = np.flatnonzero((columns > 0) & (rows > 0) & (edges.area != 0))
        nearest = np.zeros(width * height, dtype=np.uint64)
        for part in _chunks(kept, (columns * rows)[kept]):
            count = columns[part] * rows[part]
            face = np.repeat(part, count)
            local = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
            row, column = np.divmod(local, columns[face])
            x, y = x0[face] + column, y0[face] + row
            weights = edges.weights(face, x + 0.5, y + 0.5)
            inside = (weights >= 0).all(axis=1)
            face, x, y, weights = face[inside], x[inside], y[inside], weights[inside]
            nearness = np.sum(weights * inverse_z[faces[face]], axis=1).astype(np.float32)
            # Positive floats sort like their bits, so one integer carries the depth and, below it, the face.
            code = (nearness.view(np.uint32).astype(np.uint64) << np.uint64(32)) | face.astype(np.uint64)
            np.maximum.at(nearest, y * width + x, code)
        rgba = np.zeros((height * width, 4), dtype=np.uint8)
        hit = np.flatnonzero(nearest)
        face = (nearest[hit] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        weights = edges.weights(face, hit % width + 0.5, hit // width + 0.5) * inverse_z[faces[face]]
        weights /= weights.sum(axis=1, keepdims=True)
        rgba[hit, :3] = np.clip(np.einsum("nk,nkc->nc", weights, colours[faces[face]]) * 255 + 0.5, 0, 255)
        rgba[hit, 3] = 255
        return rgba.reshape(height, width, 4)


class _EdgeFunctions:
    """Barycentric weights of points in projected triangles; ``u`` and ``v`` are (F, 3) pixels."""

    def __init__(self, u: np.ndarray, v: np.ndarray) -> None:
        self._u, self._v = u, v
        self.area = (u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (u[:, 2] - u[:, 0]) * (v[:, 1] - v[:, 0])

    def weights(self, face: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(N, 3) weights of the corners at the points (x, y); all are 0 or more inside, whatever way the face turns."""
        u, v, area = self._u[face] - x[:, None], self._v[face] - y[:, None], self.area[face]
        w0 = (u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]) / area
        w1 = (u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]) / area
        return np.stack((w0, w1, 1 - w0 - w1), axis=1)


def _pixel_range(values: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last pixel whose centre lies between the smallest and the largest of (F, 3) values."""
    first = np.clip(np.ceil(values.min(axis=1) - 0.5), 0, limit).astype(np.int64)
    last = np.clip(np.floor(values.max(axis=1) - 0.5) + 1, 0, limit).astype(np.int64)
    return first, last


def _chunks(kept: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Split faces so that each part has about ``_CHUNK`` candidate pixels."""
    return np.split(kept, np.flatnonzero(np.diff(np.cumsum(counts) // _CHUNK)) + 1) if len(kept) else []
