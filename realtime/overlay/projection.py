"""World points to pixels, with the lens of the take.

Pixel coordinates are continuous: the picture spans 0..width and 0..height, so the first pixel's centre is (0.5, 0.5).
"""

from dataclasses import replace

import numpy as np

from ...models.camera import Camera

NEAR_M = 0.05
"""Nothing nearer to the camera than this is drawn."""
_MAX_TAN = 1.6
"""Distortion polynomials fold back outside the view they were fitted on; beyond this they are not applied."""


def to_camera(xyz_world_m: np.ndarray, T_cam_world: np.ndarray) -> np.ndarray:
    """(..., 3) world points in camera coordinates (x right, y down, z forward)."""
    return xyz_world_m @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]


def bend(xyz_cam_m: np.ndarray, camera: Camera) -> np.ndarray:
    """Camera points moved sideways so that a pin-hole camera shows them where the distorted lens does.

    Points behind the camera or far outside the view stay where they are. Model: OpenCV's k1 k2 p1 p2 [k3 [k4 k5 k6]].
    """
    if not any(camera.dist):
        return xyz_cam_m
    k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.dist, *(0.0,) * 8)[:8]
    z = xyz_cam_m[..., 2]
    safe_z = np.where(z > NEAR_M, z, 1.0)
    x, y = xyz_cam_m[..., 0] / safe_z, xyz_cam_m[..., 1] / safe_z
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    bent_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    bent = np.stack((bent_x * safe_z, bent_y * safe_z, z), axis=-1)
    keep = (z > NEAR_M) & (r2 < _MAX_TAN**2)
    return np.where(keep[..., None], bent, xyz_cam_m)


def project(xyz_world_m: np.ndarray, T_cam_world: np.ndarray, camera: Camera) -> np.ndarray:
    """(..., 2) pixels of world points (..., 3); NaN for points that are not in front of the camera."""
    xyz = bend(to_camera(np.asarray(xyz_world_m, dtype=np.float64), T_cam_world), camera)
    z = np.where(xyz[..., 2] > NEAR_M, xyz[..., 2], np.nan)
    u = camera.fx_px * xyz[..., 0] / z + camera.cx_px
    v = camera.fy_px * xyz[..., 1] / z + camera.cy_px
    return np.stack((u, v), axis=-1)


def crop_camera(camera: Camera, x_px: int, y_px: int, width_px: int, height_px: int) -> Camera:
    """The camera of a rectangle of the picture."""
    return replace(camera, width_px=width_px, height_px=height_px, cx_px=camera.cx_px - x_px, cy_px=camera.cy_px - y_px)
