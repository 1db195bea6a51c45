"""Exact truth of a rendered clip: computed from what was drawn, kept beside the video as ``truth.npz``.

Pixels are those of the upright image, 0 at the left and top edge of the picture. A frame's numbers are those of the
middle of its exposure.
"""

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.body_stages import BodyModel
from ...models.errors import HmcapError
from ...models.markers import proxy_rig
from ...models.proxies import NUM_PROXIES
from ...models.skeleton import NUM_JOINTS
from ..motions.contact import contact_labels, feet_m
from ..motions.mocap import at_times
from ..motions.virtual_cameras import project_px
from .arrange import Arranged, body_yaw_deg

OUTSIDE, HIDDEN, VISIBLE = 0, 1, 2
"""Values of ``proxies_visible``."""
_SLACK_M = 0.03
"""Clothes, shoes and hair lie this far before the skin that a proxy is on."""
_HAND_SLACK_M = 0.012
_SLICE = 64
"""Frames whose meshes are held at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Truth of T frames; the names are the keys of the file. World: Y up, floor y = 0, metres."""

    fps: np.ndarray
    """() frames a second."""
    image_size_px: np.ndarray
    """(2,) int width and height."""
    K: np.ndarray
    """(3, 3) intrinsic matrix."""
    dist: np.ndarray
    """(5,) k1 k2 p1 p2 k3, OpenCV."""
    T_cam_world: np.ndarray
    """(T, 4, 4) rigid transform of world points to the OpenCV camera."""
    betas: np.ndarray
    """(10,) of the built-in body."""
    poses: np.ndarray
    """(T, 55, 3) axis-angle; row 0 of a frame is the root in the world; hands relative to the flat hand."""
    trans_m: np.ndarray
    """(T, 3); pelvis = rest pelvis + trans."""
    proxies_world_m: np.ndarray
    """(T, 67, 3) PROXY_NAMES on the skinned body (without clothes)."""
    proxies_px: np.ndarray
    """(T, 67, 2) their places in the picture, distortion included, also where hidden or outside; NaN behind the
    camera."""
    proxies_visible: np.ndarray
    """(T, 67) uint8: OUTSIDE the picture; HIDDEN by the body itself or by a thing; VISIBLE."""
    feet_world_m: np.ndarray
    """(T, 4, 3) CONTACT_POINTS, carried rigidly by their joints."""
    contact: np.ndarray
    """(T, 4) bool: standing on the floor (see :func:`hmcap.tools.motions.contact.contact_labels`)."""
    blur_px: np.ndarray
    """(T, 67) way of the proxy in the picture during the exposure."""
    body_height_px: np.ndarray
    """(T,) height of the person's bounding box in the picture, parts outside of the picture included."""
    body_yaw_deg: np.ndarray
    """(T,) heading of the pelvis relative to the camera about the vertical: 0 faces it, 90 turned to the person's own
    left, -90 to the right, 180 from behind."""

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.poses)


def truth_of(arranged: Arranged, visible: np.ndarray | None = None) -> Truth:
    """The truth of a clip. visible: (T, 67) as :func:`visibility` finds it in the depth of the drawn frames; None says
    VISIBLE of all that is in the picture."""
    motion, camera, body = arranged.motion, arranged.camera, arranged.body
    world, height = _points(arranged, motion.poses, motion.trans_m, camera.T_cam_world)
    px = camera.project(world)
    time_s = np.arange(motion.frames) / motion.fps
    ends = []
    for half in (-0.5, 0.5):
        poses, trans, T = at_exposure(arranged, time_s + half * arranged.shutter / motion.fps)
        ends.append(project_px(camera.camera, T, _points(arranged, poses, trans)[0]))
    inside = _inside(px, arranged.spec.size_px)
    seen = np.full(px.shape[:2], VISIBLE) if visible is None else visible
    feet = feet_m(body, motion.poses, motion.trans_m, arranged.betas)
    dist = np.zeros(5)
    dist[: len(camera.camera.dist)] = camera.camera.dist
    return Truth(
        fps=np.array(motion.fps),
        image_size_px=np.array(arranged.spec.size_px),
        K=camera.camera.K,
        dist=dist,
        T_cam_world=camera.T_cam_world,
        betas=arranged.betas,
        poses=motion.poses,
        trans_m=motion.trans_m,
        proxies_world_m=world,
        proxies_px=px,
        proxies_visible=np.where(inside, seen, OUTSIDE).astype(np.uint8),
        feet_world_m=feet,
        contact=contact_labels(feet, motion.fps),
        blur_px=np.linalg.norm(ends[1] - ends[0], axis=-1),
        body_height_px=height,
        body_yaw_deg=body_yaw_deg(motion.poses, world[:, 8], camera.T_cam_world),
    )


def at_exposure(arranged: Arranged, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (N, 55, 3), trans (N, 3) and T_cam_world (N, 4, 4) at times (N,) from the clip's start; beyond its ends the
    first or the last step goes on for the camera, and the person is held."""
    poses, trans = at_times(arranged.motion, times_s)
    T = arranged.camera.T_cam_world
    at = np.clip(np.asarray(times_s) * arranged.motion.fps, 0, len(T) - 1)
    low = np.minimum(at.astype(int), max(len(T) - 2, 0))
    high = np.minimum(low + 1, len(T) - 1)
    u = (at - low)[:, None]
    first = Rotation.from_matrix(T[low, :3, :3])
    way = (first.inv() * Rotation.from_matrix(T[high, :3, :3])).as_rotvec()
    R = (first * Rotation.from_rotvec(way * u)).as_matrix()
    eye = -np.einsum("tji,tj->ti", T[:, :3, :3], T[:, :3, 3])
    place = eye[low] * (1 - u) + eye[high] * u
    out = np.zeros((len(at), 4, 4))
    out[:, :3, :3], out[:, 3, 3] = R, 1
    out[:, :3, 3] = -np.einsum("tij,tj->ti", R, place)
    return poses, trans, out


def _points(
    arranged: Arranged, poses: np.ndarray, trans_m: np.ndarray, T_cam_world: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(T, 67, 3) proxies on the mesh, and (T,) height of the mesh in the picture (zeros without cameras)."""
    rig = proxy_rig(arranged.body)
    shaped = arranged.body.with_shape(arranged.betas.astype(np.float32))
    world, height = np.zeros((len(poses), NUM_PROXIES, 3)), np.zeros(len(poses))
    for begin in range(0, len(poses), _SLICE):
        rows = slice(begin, begin + _SLICE)
        skinned = shaped.with_pose(poses[rows].astype(np.float32), trans_m[rows].astype(np.float32)).skin()
        world[rows] = rig.on_mesh_m(skinned)
        if T_cam_world is not None:
            y = project_px(arranged.camera.camera, T_cam_world[rows], skinned.vertices_m[:, ::7])[..., 1]
            height[rows] = np.nanmax(y, axis=1) - np.nanmin(y, axis=1)
    return world, height


def _inside(px: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.all((px >= 0) & (px < np.array(size_px)), axis=-1)


def flesh_m(body: BodyModel) -> np.ndarray:
    """(67,) how far each proxy lies under the skin at most: the distance to the skin around the joint, zero on it."""
    rig = proxy_rig(body)
    points = np.asarray(rig.points_template, np.float64)
    v = np.asarray(body.v_template, np.float64)
    nearest = np.array([np.linalg.norm(v - p, axis=1).min() for p in points])
    return np.where(rig.on_surface, 0.0, nearest)


def visibility(
    depth_m: np.ndarray, px: np.ndarray, points_cam_z_m: np.ndarray, under_m: np.ndarray, size_px: tuple[int, int]
) -> np.ndarray:
    """(67,) OUTSIDE, HIDDEN or VISIBLE in one frame.

    depth_m: (H, W) depth along the camera's axis of what was drawn. px: (67, 2) and points_cam_z_m: (67,) place and
    depth of the proxies. under_m: (67,) of :func:`flesh_m`. A proxy is hidden where all that was drawn within a pixel
    of its place is nearer than its own flesh and clothes reach.
    """
    inside = _inside(px, size_px)
    height, width = depth_m.shape
    scale = np.array([width, height]) / np.array(size_px)
    at = np.floor(np.where(inside[:, None], px, 0.0) * scale).astype(int)
    farthest = np.full(len(px), -np.inf)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y, x = np.clip(at[:, 1] + dy, 0, height - 1), np.clip(at[:, 0] + dx, 0, width - 1)
            farthest = np.maximum(farthest, depth_m[y, x])
    slack = np.full(len(px), _SLACK_M)
    slack[25:] = _HAND_SLACK_M
    seen = farthest >= points_cam_z_m - (1.5 * under_m + slack)
    return np.where(inside, np.where(seen, VISIBLE, HIDDEN), OUTSIDE).astype(np.uint8)


def save_truth(path: Path, truth: Truth) -> None:
    """Write the file; the same truth gives the same bytes."""
    arrays: dict[str, Any] = {f.name: getattr(truth, f.name) for f in fields(Truth)}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_truth(path: Path) -> Truth:
    """Read the file. Raises HmcapError naming it where it is another layout or has no finite poses."""
    step = "Render the set again with python -m hmcap.tools.rendering OUT --motions MOCAP_FOLDER."
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [f.name for f in fields(Truth) if f.name not in file.files]
            if missing:
                raise HmcapError(
                    f"Expected the truth of a rendered clip in {path}, but it lacks {', '.join(missing)}. {step}"
                )
            arrays = {f.name: file[f.name] for f in fields(Truth)}
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise HmcapError(
            f"Expected the truth of a rendered clip in {path}, but it cannot be read ({error}). {step}"
        ) from error
    count = len(arrays["poses"]) if arrays["poses"].ndim else 0
    shapes = {
        "poses": (count, NUM_JOINTS, 3),
        "trans_m": (count, 3),
        "T_cam_world": (count, 4, 4),
        "proxies_world_m": (count, NUM_PROXIES, 3),
        "proxies_px": (count, NUM_PROXIES, 2),
        "proxies_visible": (count, NUM_PROXIES),
        "feet_world_m": (count, 4, 3),
        "contact": (count, 4),
        "blur_px": (count, NUM_PROXIES),
        "body_height_px": (count,),
        "body_yaw_deg": (count,),
        "K": (3, 3),
        "dist": (5,),
        "image_size_px": (2,),
        "fps": (),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape or not count:
            raise HmcapError(f"Expected {key} of shape {shape} in {path}, found {arrays[key].shape}. {step}")
    for key in ("poses", "trans_m", "T_cam_world", "proxies_world_m"):
        if not np.isfinite(arrays[key]).all():
            raise HmcapError(f"Expected finite numbers in {key} of {path}, found NaN or infinity. {step}")
    return Truth(**arrays)
