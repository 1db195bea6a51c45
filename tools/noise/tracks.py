"""The exact truth of a take as the noise model sees it, and what the landmark networks' errors depend on.

Everything is a plain array operation over leading dimensions (batch, frames). The records hold numpy arrays, or torch
tensors in training (:mod:`.batched`); :func:`conditions` runs on both alike.
"""

from dataclasses import dataclass
from itertools import pairwise

import array_api_compat
import numpy as np

from ...models.camera import Camera
from ...models.proxies import BLAZEPOSE_NAMES, BODY, BODY_NAMES, LEFT_HAND, NUM_PROXIES, PROXY_NAMES, RIGHT_HAND
from ...models.rotations import Array
from ..motions.virtual_cameras import project_px

GROUPS = ("body", "left_hand", "right_hand")
GROUP = np.repeat([0, 1, 2], [25, 21, 21])
"""(67,) index of each proxy's group."""
OUT, HIDDEN, VISIBLE = 0, 1, 2
"""Visibility of a true proxy: outside the picture, behind something, seen."""

_P = {name: i for i, name in enumerate(PROXY_NAMES)}
_HANDS = (LEFT_HAND, RIGHT_HAND)


def _mirrored(names: tuple[str, ...]) -> np.ndarray:
    def other(name: str) -> str:
        for a, b in (("left", "right"), ("right", "left")):
            if a in name:
                return name.replace(a, b)
        return name

    return np.array([names.index(other(n)) for n in names])


MIRROR = _mirrored(PROXY_NAMES)
"""(67,) proxy of the other side."""
MIRROR_BODY = _mirrored(BODY_NAMES)
"""(25,) the same within the body."""
MIRROR_33 = _mirrored(BLAZEPOSE_NAMES)
"""(33,) body landmark of the other side."""


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Truth of T frames, or of a batch of takes of T frames (``...`` is the batch)."""

    xy_px: Array
    """(..., T, 67, 2) true proxies in the picture; finite (a point behind the camera has no place here)."""
    cam_m: Array
    """(..., T, 67, 3) the same in the axes of the camera (x right, y down, z forward)."""
    body33_cam_m: Array
    """(..., T, 33, 3) true body landmarks in BLAZEPOSE_NAMES order, axes of the camera."""
    visible: Array
    """(..., T, 67) OUT, HIDDEN or VISIBLE."""
    blur_px: Array
    """(..., T, 67) length of each point's motion blur."""
    focal_px: Array
    """(...) focal length."""
    image_size_px: Array
    """(..., 2) width and height."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """What errors depend on, for each of the three GROUPS."""

    size_px: Array
    """(..., T, 3) how long the standing body, or the stretched hand, would be in the picture at its distance."""
    size_m: Array
    """(..., T, 3) the same in metres."""
    view_rad: Array
    """(..., T, 3) where the camera stands about the body: 0 in front, pi/2 on its left, pi behind; for a hand: 0 before
    the palm, pi/2 on the side of the index finger."""
    axes: Array
    """(..., T, 3, 2, 2) rows: the unit vectors of the picture that errors are given in. Second row: along the trunk
    (or the palm) away from the hips (the wrist). First row: to the right of that; for the left hand to the left, so
    that both hands have the same errors."""
    seen: Array
    """(..., T, 3, 2) share of the group's points that are OUT, and that are HIDDEN."""
    blur: Array
    """(..., T, 67) blur in units of the group's size."""


def _dot(a: Array, b: Array) -> Array:
    """(...) product of vectors (..., 2 or 3), component by component: torch's sums over short axes are slow."""
    out = a[..., 0] * b[..., 0]
    for i in range(1, a.shape[-1]):
        out = out + a[..., i] * b[..., i]
    return out


def _norm(v: Array) -> Array:
    return array_api_compat.array_namespace(v).sqrt(_dot(v, v))


def _unit(v: Array) -> Array:
    return v / _at_least(_norm(v), 1e-9)[..., None]


def _at_least(x: Array, low: float) -> Array:
    return array_api_compat.array_namespace(x).where(x < low, low, x)


def _length(points: Array, *names: str) -> Array:
    """(...) length of the chain through the named proxies."""
    chain = [points[..., _P[n], :] for n in names]
    return sum(_norm(b - a) for a, b in pairwise(chain))


def conditions(tracks: Tracks) -> Conditions:
    """What the errors of these frames depend on; of the kind of array that the tracks are."""
    cam, xy = tracks.cam_m, tracks.xy_px
    xp, on = array_api_compat.array_namespace(cam, xy), array_api_compat.device(cam)
    at = {n: cam[..., i, :] for n, i in _P.items()}
    legs = [_length(cam, f"{s}_hip", f"{s}_knee", f"{s}_ankle") for s in ("left", "right")]
    stature = 1.1 * (_length(cam, "nose", "neck", "mid_hip") + (legs[0] + legs[1]) / 2)
    size_m, root = [stature], [at["mid_hip"]]
    left = at["left_shoulder"] - at["right_shoulder"] + at["left_hip"] - at["right_hip"]
    trunk = at["neck"] - at["mid_hip"]
    along, side, front = [trunk], [left], [xp.linalg.cross(left, trunk)]
    pixel = [xy[..., _P["neck"], :] - xy[..., _P["mid_hip"], :]]
    for s in ("left", "right"):
        h = f"{s}_hand_"
        size_m.append(_length(cam, *(f"{h}{n}" for n in ("wrist", "middle1", "middle2", "middle3", "middle4"))))
        root.append(at[f"{h}wrist"])
        palm, across = at[f"{h}middle1"] - at[f"{h}wrist"], at[f"{h}index1"] - at[f"{h}pinky1"]
        along.append(palm)
        side.append(across)
        # Out of the palm: thumb side x fingers on one hand, the other way round on its mirror image.
        front.append(xp.linalg.cross(palm, across) if s == "left" else xp.linalg.cross(across, palm))
        pixel.append(xy[..., _P[f"{h}middle1"], :] - xy[..., _P[f"{h}wrist"], :])
    size, place = xp.stack(size_m, axis=-1), xp.stack(root, axis=-2)
    size_px = size * xp.asarray(tracks.focal_px)[..., None, None] / _at_least(place[..., 2], 0.05)
    a, f = _unit(xp.stack(along, axis=-2)), _unit(xp.stack(front, axis=-2))
    b = xp.stack(side, axis=-2)
    b = _unit(b - _dot(b, a)[..., None] * a)
    to_camera = -_unit(place)
    view = xp.atan2(_dot(to_camera, b), _dot(to_camera, f))
    # A trunk that points at the camera has no direction in the picture: then up is up.
    upright = xp.asarray(np.array([[0, -0.1], [0, -0.02], [0, -0.02]]), dtype=xy.dtype, device=on)
    up = _unit(xp.stack(pixel, axis=-2) / size_px[..., None] + upright)
    sides = xp.asarray(np.array([[1.0], [-1.0], [1.0]]), dtype=xy.dtype, device=on)
    right = xp.stack([-up[..., 1], up[..., 0]], axis=-1) * sides
    seen = xp.stack(
        [
            xp.stack(
                [xp.mean(xp.astype(tracks.visible[..., part] == s, cam.dtype), axis=-1) for s in (OUT, HIDDEN)], axis=-1
            )
            for part in (BODY, *_HANDS)
        ],
        axis=-2,
    )
    blur = xp.concat([tracks.blur_px[..., p] / size_px[..., g, None] for g, p in enumerate((BODY, *_HANDS))], axis=-1)
    return Conditions(size_px, size, view, xp.stack([right, up], axis=-2), seen, blur)


def turned(cond: Conditions, vectors: np.ndarray, group: np.ndarray, back: bool = False) -> np.ndarray:
    """Vectors (..., T, N, 2 or 3) of the picture or the camera in the axes of their groups (N,), or ``back`` again.

    The third component, depth, stays as it is.
    """
    axes = cond.axes[..., group, :, :]
    flat = vectors[..., None, :2] @ axes if back else vectors[..., None, :2] @ np.swapaxes(axes, -1, -2)
    flat = flat[..., 0, :]
    return flat if vectors.shape[-1] == 2 else np.concatenate([flat, vectors[..., 2:]], axis=-1)


def along_ray(points_m: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """Points (..., N, 3) turned by the shortest way that takes the ray (..., 3) to the optical axis.

    A network that sees a crop has no way to know where the crop was: its 3-D is as if the person stood on the axis.
    """
    d = _unit(ray)
    x, y, z = d[..., 0], d[..., 1], d[..., 2]
    k = 1 / np.maximum(1 + z, 1e-6)
    R = np.stack(
        [
            np.stack([1 - k * x * x, -k * x * y, -x], -1),
            np.stack([-k * x * y, 1 - k * y * y, -y], -1),
            np.stack([x, y, z], -1),
        ],
        axis=-2,
    )
    return points_m @ np.swapaxes(R, -1, -2)


def centred3d(tracks: Tracks, cond: Conditions) -> tuple[np.ndarray, np.ndarray]:
    """True 3-D as the networks would give it: body (..., T, 33, 3) about the middle of the hips in units of the
    stature, and hands (..., T, 2, 21, 3) about their own middle in units of the hand; along the rays to them."""
    hips = tracks.body33_cam_m[..., [BLAZEPOSE_NAMES.index(n) for n in ("left_hip", "right_hip")], :].mean(-2)
    body = along_ray(tracks.body33_cam_m - hips[..., None, :], hips) / cond.size_m[..., 0, None, None]
    hands = np.stack([tracks.cam_m[..., part, :] for part in _HANDS], axis=-3)
    middle = hands.mean(axis=-2)
    hands = along_ray(hands - middle[..., None, :], middle) / cond.size_m[..., 1:, None, None]
    return body, hands


RODS = (
    ("neck", "mid_hip", 0.11), ("right_shoulder", "left_shoulder", 0.07), ("right_hip", "left_hip", 0.09),
    *((f"{s}_{a}", f"{s}_{b}", r) for s in ("left", "right") for a, b, r in (
        ("shoulder", "elbow", 0.045), ("elbow", "wrist", 0.035), ("hip", "knee", 0.07), ("knee", "ankle", 0.05),
        ("shoulder", "hip", 0.08), ("heel", "big_toe", 0.035), ("hand_wrist", "hand_middle1", 0.025),
    )),
    ("nose", "neck", 0.06),
)  # fmt: skip
HEAD_RADIUS_M = 0.075
BEYOND_M = 0.04
"""A rod hides what lies farther behind its surface than this; the head what lies behind its middle by 3 cm."""


def visibility(xy_px: np.ndarray, cam_m: np.ndarray, image_size_px: np.ndarray) -> np.ndarray:
    """(..., 67) OUT, HIDDEN or VISIBLE of proxies (..., 67, 2 and 3), the body taken for a bunch of rods.

    image_size_px (..., 2) broadcasts against ``xy_px`` less its last but one dimension. A point is hidden where a rod
    that does not end in it passes before it, nearer to the camera by more than the rod's radius and 4 cm.
    """
    head = cam_m[..., [_P["left_ear"], _P["right_ear"]], :].mean(axis=-2, keepdims=True)
    a = np.concatenate([cam_m[..., [_P[n] for n, _, _ in RODS], :], head], axis=-2)
    b = np.concatenate([cam_m[..., [_P[n] for _, n, _ in RODS], :], head], axis=-2)
    radius = np.array([*(r for _, _, r in RODS), HEAD_RADIUS_M])
    behind = np.array([*(r + BEYOND_M for _, _, r in RODS), 0.03])
    point = cam_m[..., :, None, :]
    distance = np.linalg.norm(cam_m, axis=-1)
    ray = point / np.maximum(distance, 1e-9)[..., None, None]
    # Nearest points of the ray from the camera and of the rod a + s (b - a).
    along = (b - a)[..., None, :, :]
    start = a[..., None, :, :]
    d_r, aa, a_r, a_d = (
        (along * ray).sum(-1), (along * along).sum(-1), (start * ray).sum(-1), (start * along).sum(-1),
    )  # fmt: skip
    s = np.clip((d_r * a_r - a_d) / np.maximum(aa - d_r**2, 1e-9), 0, 1)
    near = start + s[..., None] * along
    depth = (near * ray).sum(-1)
    gap = np.linalg.norm(near - depth[..., None] * ray, axis=-1)
    before = (gap < radius) & (depth > 0) & (depth < distance[..., None] - behind)
    hidden = (before & ~OWN_ROD).any(axis=-1)
    size = np.asarray(image_size_px)[..., None, :]
    inside = ((xy_px >= 0) & (xy_px <= size - 1)).all(axis=-1) & (cam_m[..., 2] > 0)
    return np.where(inside, np.where(hidden, HIDDEN, VISIBLE), OUT).astype(np.uint8)


def _own() -> np.ndarray:
    """(67, L) whether a proxy belongs to the rod or to its neighbour, and so cannot be hidden by it."""
    out = np.zeros((NUM_PROXIES, len(RODS) + 1), bool)
    same = {"left_hand_wrist": "left_wrist", "right_hand_wrist": "right_wrist"}
    torso = {"neck", "mid_hip", *(f"{s}_{j}" for s in ("left", "right") for j in ("shoulder", "hip"))}
    for i, name in enumerate(PROXY_NAMES):
        for k, (a, b, _) in enumerate(RODS):
            ends = {same.get(a, a), same.get(b, b)}
            out[i, k] = same.get(name, name) in ends
            if "_hand_" in name and name.split("_")[0] == a.split("_")[0] and ends & {f"{name.split('_')[0]}_wrist"}:
                out[i, k] = "hand" in a
            if name in torso and ends <= torso:
                out[i, k] = True
            if name == "neck" and "nose" in ends:
                out[i, k] = True
    return out


OWN_ROD = _own()


def tracks_of(
    proxies_world_m: np.ndarray,
    body33_world_m: np.ndarray,
    T_cam_world: np.ndarray,
    camera: Camera,
    visible: np.ndarray | None,
    blur_px: np.ndarray,
) -> Tracks:
    """Tracks of proxies (T, 67, 3) and body landmarks (T, 33, 3) in the world, under cameras (T, 4, 4).

    visible (T, 67); None takes the body for a bunch of rods (:func:`visibility`).
    """
    R, t = T_cam_world[:, None, :3, :3], T_cam_world[:, None, :3, 3]
    cam, body = ((R @ p[..., None])[..., 0] + t for p in (proxies_world_m, body33_world_m))
    xy = project_px(camera, T_cam_world, proxies_world_m)
    size = np.array([camera.width_px, camera.height_px])
    behind = ~np.all(np.isfinite(xy), axis=-1)
    xy = np.where(behind[..., None], -10.0 * size, np.clip(xy, -10.0 * size, 10.0 * size))
    seen = visibility(xy, cam, size) if visible is None else visible
    seen = np.where(behind, OUT, np.clip(seen, OUT, VISIBLE)).astype(np.uint8)
    return Tracks(xy, cam, body, seen, blur_px, np.asarray(camera.fx_px), size)
