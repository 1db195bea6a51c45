"""The captured body alone, on a plain floor, seen from the side: the right half of the side-by-side video."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from ...models.camera import Camera
from ...models.motion import MotionFrame
from .figure import Figure, Posed
from .mesh import MeshRenderer, covered_box
from .projection import NEAR_M, crop_camera, project, to_camera
from .skeleton import draw_contact

YAW_DEG, PITCH_DEG, FOV_DEG = 55.0, 9.0, 32.0
"""How far the view is turned from the capturing camera about the person, how far it looks down, and its opening."""
_FOLLOW_S = 0.6
_NEAREST_M = 2.5
_FLESH_M = 0.16
"""How far the skin reaches beyond the joints: crown of the head, finger tips."""
_FILL = 0.90
_GRID_M, _GRID_STEP_M = 5.0, 0.5
_SKY, _HORIZON, _FLOOR, _LINES = (240, 242, 245), (228, 231, 236), (203, 208, 216), (158, 165, 178)
_LIGHT = np.array([-0.25, -1.0, 0.15])
"""Direction that the light falls in, as the shadow on the floor has it: x right and z away as this view sees them."""
_SHADE = 0.42


class SideView:
    """A camera that follows the first person with a fixed direction, from where all are in sight, and what it sees.

    Args:
        people: whole motion and figure of each person, which decide where the camera stands.
        fps: mean frame rate of the take.
        width_px, height_px: size of the picture.
    """

    def __init__(
        self, people: Sequence[tuple[Sequence[MotionFrame], Figure]], fps: float, width_px: int, height_px: int
    ) -> None:
        present = [[m for m in motion if m.present] or list(motion) for motion, _ in people]
        joints_m = [
            np.stack([figure.pose(m, skin=False).joints_m for m in seen])
            for seen, (_, figure) in zip(present, people, strict=True)
        ]
        self._camera = Camera.from_fov(width_px, height_px, FOV_DEG)
        self._R_cam_world = side_rotation([m.T_cam_world for m in present[0]])
        self._index = np.array([m.index for m in present[0]])
        self._aim_m = aim_points(joints_m[0], _FOLLOW_S * fps)
        self._distance_m = max(
            fitting_distance(
                xyz - np.stack([self._aim(m.index) for m in seen])[:, None], self._R_cam_world, self._camera
            )
            for xyz, seen in zip(joints_m, present, strict=True)
        )
        self._empty = _plain(self._R_cam_world, self._camera)

    def pose_of_view(self, index: int) -> np.ndarray:
        """(4, 4) ``T_cam_world`` of this view in the frame of that number."""
        T = np.eye(4)
        T[:3, :3] = self._R_cam_world
        T[:3, 3] = -self._R_cam_world @ self._aim(index) + (0, 0, self._distance_m)
        return T

    def _aim(self, index: int) -> np.ndarray:
        return np.array([np.interp(index, self._index, self._aim_m[:, k]) for k in range(3)])

    def paint(
        self,
        index: int,
        bodies: Sequence[tuple[Posed, np.ndarray, np.ndarray, tuple[int, int, int]]],
        renderer: MeshRenderer,
    ) -> np.ndarray:
        """(height, width, 3) uint8 RGB of one frame: an empty floor, and on it ``bodies`` with their faces (F, 3),
        contact (4,) and colour."""
        camera, T = self._camera, self.pose_of_view(index)
        out = self._empty.copy()
        _draw_grid(out, self._aim(index), T, camera)
        for posed, faces, _, _ in bodies:
            _draw_shadow(out, posed.vertices_m, faces, T, camera, renderer)
        for posed, faces, contact, colour in sorted(bodies, key=lambda b: -to_camera(b[0].joints_m[0], T)[2]):
            out = renderer.render(out, posed.vertices_m, faces, T, camera, colour=colour, opacity=1.0)
            out = draw_contact(out, posed.foot_points_m, contact, T, camera)
        return out


def side_rotation(T_cam_world: Sequence[np.ndarray]) -> np.ndarray:
    """(3, 3) world to side view: the mean heading of the capturing cameras, turned about the vertical and a little
    down."""
    heading = np.mean([T[2, [0, 2]] for T in T_cam_world], axis=0)
    if np.linalg.norm(heading) < 0.2:
        # A camera that looks straight down has no heading, but its upper edge has one.
        heading = -np.mean([T[1, [0, 2]] for T in T_cam_world], axis=0)
    yaw = math.atan2(heading[0], heading[1]) + math.radians(YAW_DEG)
    pitch = math.radians(PITCH_DEG)
    forward = np.array([math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    right = np.array([-math.cos(yaw), 0, math.sin(yaw)])
    return np.stack((right, np.cross(forward, right), forward))


def aim_points(joints_m: np.ndarray, sigma_frames: float) -> np.ndarray:
    """(T, 3) points that the view looks at: over the pelvis' smoothed way, at half of the greatest height.

    Args:
        joints_m: (T, 55, 3) in the world.
    """
    aim = joints_m[:, 0].copy()
    aim[:, 1] = np.percentile(joints_m[..., 1].max(axis=1), 95) / 2
    aim[:, [0, 2]] = gaussian_filter1d(aim[:, [0, 2]], max(1e-3, sigma_frames), axis=0, mode="nearest")
    return aim


def fitting_distance(xyz_m: np.ndarray, R_cam_world: np.ndarray, camera: Camera) -> float:
    """Distance from the aim, metres, at which every point (..., 3) relative to it, and the skin around, is in sight."""
    xyz = xyz_m.reshape(-1, 3) @ R_cam_world.T
    room = _FILL * np.array([camera.width_px / 2 / camera.fx_px, camera.height_px / 2 / camera.fy_px])
    reach = np.abs(xyz[:, :2]) + _FLESH_M
    return max(_NEAREST_M, float((reach / room - xyz[:, 2:]).max()))


def _plain(R_cam_world: np.ndarray, camera: Camera) -> np.ndarray:
    """Sky and floor without anything on them: the view never turns, so the horizon stays."""
    forward = R_cam_world[2]
    horizon = camera.cy_px + camera.fy_px * forward[1] / math.hypot(forward[0], forward[2])
    rows = np.arange(camera.height_px) + 0.5
    above = np.clip(rows / max(1.0, horizon), 0, 1)[:, None]
    below = np.clip((rows - horizon) / max(1.0, camera.height_px - horizon), 0, 1)[:, None]
    sky = (1 - above) * np.array(_SKY) + above * np.array(_HORIZON)
    floor = (1 - below) * np.array(_HORIZON) + below * np.array(_FLOOR)
    colour = np.where((rows > horizon)[:, None], floor, sky)
    return np.repeat(colour[:, None].round().astype(np.uint8), camera.width_px, axis=1)


def _draw_grid(image: np.ndarray, centre_m: np.ndarray, T_cam_world: np.ndarray, camera: Camera) -> None:
    """Lines on the floor that fade with the distance from a point; the lines belong to the world."""
    middle = centre_m[[0, 2]]
    start = np.floor((middle - _GRID_M) / _GRID_STEP_M) * _GRID_STEP_M
    nodes = np.arange(round(2 * _GRID_M / _GRID_STEP_M) + 2) * _GRID_STEP_M
    x, z = np.meshgrid(start[0] + nodes, start[1] + nodes, indexing="ij")
    world = np.stack((x, np.zeros_like(x), z), axis=-1)
    px = project(world, T_cam_world, camera)
    strength = np.clip(1.15 - np.hypot(x - middle[0], z - middle[1]) / _GRID_M, 0, 1)
    in_front = to_camera(world, T_cam_world)[..., 2] > 4 * NEAR_M
    seen = in_front & np.isfinite(px).all(axis=-1) & (np.abs(px) < 8000).all(axis=-1)
    rows = image[:, 0].astype(float)
    width = max(1, round(max(camera.width_px, camera.height_px) / 900))
    for a, b in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        both = seen[a] & seen[b] & (strength[a] + strength[b] > 0.05)
        for pa, pb, s in zip(px[a][both], px[b][both], (strength[a] + strength[b])[both] / 2, strict=True):
            behind = rows[int(np.clip((pa[1] + pb[1]) / 2, 0, camera.height_px - 1))]
            colour = tuple(round(float(s * c + (1 - s) * k)) for c, k in zip(_LINES, behind, strict=True))
            (ax, ay), (bx, by) = ((round(16 * float(x - 0.5)) for x in p) for p in (pa, pb))
            cv2.line(image, (ax, ay), (bx, by), colour, width, cv2.LINE_AA, 4)


def _draw_shadow(
    image: np.ndarray, vertices_m: np.ndarray, faces: np.ndarray, T: np.ndarray, camera: Camera, renderer: MeshRenderer
) -> None:
    """Darken the floor where the body keeps the light away, with soft edges."""
    heading = T[2, [0, 2]] / np.linalg.norm(T[2, [0, 2]])
    across = np.array([-heading[1], heading[0]])
    light = np.array([0, _LIGHT[1], 0])
    light[[0, 2]] = _LIGHT[0] * across + _LIGHT[2] * heading
    height = np.maximum(vertices_m[:, 1:2], 0)
    flat = vertices_m + light * (height / -light[1])
    flat[:, 1] = 0
    xyz_cam = to_camera(flat, T)
    box = covered_box(xyz_cam, camera)
    if box is None:
        return
    soft = max(camera.width_px, camera.height_px) / 160
    pad = round(3 * soft)
    x0, y0 = max(0, box[0] - pad), max(0, box[1] - pad)
    x1, y1 = min(camera.width_px, box[2] + pad), min(camera.height_px, box[3] + pad)
    black = np.zeros((len(flat), 3), np.float32)
    cover = renderer.rasterise(xyz_cam.astype(np.float32), black, faces, crop_camera(camera, x0, y0, x1 - x0, y1 - y0))
    share = cv2.GaussianBlur(cover[..., 3], (0, 0), soft)[..., None].astype(np.float32) * (_SHADE / 255)
    part = image[y0:y1, x0:x1]
    part[:] = (part * (1 - share)).astype(np.uint8)
