"""What every mesh renderer shares: soft light, the rectangle that is worth drawing, and blending over the picture."""

from abc import ABC, abstractmethod

import cv2
import numpy as np
from scipy import sparse

from ...models.camera import Camera
from .projection import NEAR_M, bend, crop_camera, to_camera

SKIN = (158, 186, 226)
"""Default colour of the body, RGB."""
OPACITY = 0.85

_KEY = np.array([-0.45, -0.70, -0.55]) / np.linalg.norm([-0.45, -0.70, -0.55])
_FILL = np.array([0.75, 0.05, -0.65]) / np.linalg.norm([0.75, 0.05, -0.65])


class MeshRenderer(ABC):
    """Draws a mesh over a picture. Not safe to share between threads; close it when done."""

    description: str
    """What really draws, for the report: ``moderngl (llvmpipe)`` or ``drawn (no GL context: ...)``."""

    def __init__(self) -> None:
        self._normals: dict[int, tuple[np.ndarray, NormalSum]] = {}

    @abstractmethod
    def rasterise(self, xyz_cam_m: np.ndarray, colours: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
        """Picture of a mesh on nothing.

        Args:
            xyz_cam_m: (V, 3) float32 camera coordinates.
            colours: (V, 3) float32 in 0..1, interpolated over the faces.
            faces: (F, 3) int.
            camera: pin-hole camera whose size is the size of the result.

        Returns:
            (H, W, 4) uint8 colour times coverage, and coverage.
        """

    def close(self) -> None:
        """Free what the renderer holds; drawing afterwards is an error."""
        self._normals.clear()

    def render(
        self,
        image_rgb: np.ndarray,
        vertices_world_m: np.ndarray,
        faces: np.ndarray,
        T_cam_world: np.ndarray,
        camera: Camera,
        *,
        colour: tuple[int, int, int] = SKIN,
        opacity: float = OPACITY,
    ) -> np.ndarray:
        """A copy of the picture with the mesh over it.

        Args:
            image_rgb: (H, W, 3) uint8; ``camera`` is scaled to its size when it was made for another.
            vertices_world_m: (V, 3); faces: (F, 3) int; T_cam_world: (4, 4).
            colour: RGB of the surface in full light; opacity: 1 hides the picture behind the mesh.
        """
        out = np.array(image_rgb)
        height, width = out.shape[:2]
        if (camera.width_px, camera.height_px) != (width, height):
            camera = camera.scaled_to(width, height)
        xyz_cam = bend(to_camera(np.asarray(vertices_world_m, dtype=np.float64), T_cam_world), camera)
        box = covered_box(xyz_cam, camera)
        if box is None:
            return out
        x0, y0, x1, y1 = box
        colours = shade(xyz_cam, self._vertex_normals(xyz_cam, faces), colour)
        part = crop_camera(camera, x0, y0, x1 - x0, y1 - y0)
        rgba = self.rasterise(xyz_cam.astype(np.float32), colours.astype(np.float32), faces, part)
        out[y0:y1, x0:x1] = blend(out[y0:y1, x0:x1], rgba, opacity)
        return out

    def _vertex_normals(self, xyz: np.ndarray, faces: np.ndarray) -> np.ndarray:
        cached = self._normals.get(id(faces))
        if cached is None or cached[0] is not faces or cached[1].vertex_count != len(xyz):
            # The faces are kept with the entry, so that their id cannot be given to another array meanwhile.
            cached = self._normals[id(faces)] = (faces, NormalSum(faces, len(xyz)))
        return cached[1](xyz)


def blend(behind_rgb: np.ndarray, rgba: np.ndarray, opacity: float) -> np.ndarray:
    """Picture (H, W, 3) under a drawing (H, W, 4) of colour times coverage and coverage; all uint8."""
    keep = cv2.convertScaleAbs(rgba[..., 3], alpha=-opacity, beta=255)
    shown = cv2.convertScaleAbs(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), alpha=opacity)
    return cv2.add(cv2.multiply(behind_rgb, cv2.merge([keep, keep, keep]), scale=1 / 255), shown)


class NormalSum:
    """Area-weighted vertex normals of meshes that share their faces."""

    def __init__(self, faces: np.ndarray, vertex_count: int) -> None:
        self.vertex_count, self._faces = vertex_count, faces
        rows, columns = faces.ravel(), np.repeat(np.arange(len(faces)), 3)
        ones = np.ones(rows.size, dtype=np.float32)
        self._sum = sparse.csr_matrix((ones, (rows, columns)), shape=(vertex_count, len(faces)))

    def __call__(self, xyz: np.ndarray) -> np.ndarray:
        """(V, 3) unit normals, outward where the faces turn counter-clockwise seen from outside."""
        a, b, c = (xyz[self._faces[:, k]] for k in range(3))
        normals = self._sum @ np.cross(b - a, c - a)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def shade(xyz_cam_m: np.ndarray, normals: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(V, 3) colour of each vertex in 0..1: sky and floor light, a soft key, a weak fill and a thin bright rim."""
    view = -xyz_cam_m / np.maximum(np.linalg.norm(xyz_cam_m, axis=1, keepdims=True), 1e-9)
    sky = 0.5 - 0.5 * normals[:, 1]
    key = np.clip((normals @ _KEY + 0.25) / 1.25, 0, None)
    fill = np.clip(normals @ _FILL, 0, None)
    rim = (1 - np.clip(np.abs(np.sum(normals * view, axis=1)), 0, 1)) ** 4
    light = 0.22 + 0.20 * sky + 0.58 * key + 0.14 * fill
    tint = np.array(colour) / 255
    return np.clip(light[:, None] * tint + 0.22 * (rim * (0.4 + 0.6 * sky))[:, None], 0, 1)


def covered_box(xyz_cam_m: np.ndarray, camera: Camera) -> tuple[int, int, int, int] | None:
    """(x0, y0, x1, y1) pixels that the mesh can cover, None when it is out of sight."""
    z = xyz_cam_m[:, 2]
    front = z > NEAR_M
    if not front.any():
        return None
    if not front.all():
        # Where a surface reaches behind the camera its picture can extend anywhere.
        return 0, 0, camera.width_px, camera.height_px
    u = camera.fx_px * xyz_cam_m[:, 0] / z + camera.cx_px
    v = camera.fy_px * xyz_cam_m[:, 1] / z + camera.cy_px
    x0, y0 = max(0, int(np.floor(u.min())) - 1), max(0, int(np.floor(v.min())) - 1)
    x1 = min(camera.width_px, int(np.ceil(u.max())) + 1)
    y1 = min(camera.height_px, int(np.ceil(v.max())) + 1)
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
