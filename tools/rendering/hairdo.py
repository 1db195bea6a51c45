"""Hair: where it grows, and what hangs from the head."""

import numpy as np

from ...realtime.overlay.mesh import NormalSum
from .anatomy import Anatomy, Layer, Rigid
from .appearance import Appearance


def hair_field(a: Anatomy, look: Appearance) -> np.ndarray:
    """Metres inside the hairline."""
    v, at = a.v, a.at
    ear = 0.5 * (at["left_ear"] + at["right_ear"])
    eye = 0.5 * (at["left_eye"] + at["right_eye"])
    size = (eye[2] - ear[2]) / 0.099
    d = (v - ear) / size
    phi = np.degrees(np.arctan2(d[:, 2] - 0.005, np.abs(d[:, 0])))
    brow = (eye[1] - ear[1]) / size
    line = np.interp(phi, [-90, -40, -14, 4, 26, 40, 58, 90], [-0.052, -0.048, -0.03, 0.02, 0.0, 0.035, 0.072, 0.075])
    line = line + np.interp(phi, [30, 60], [0, brow])
    field = (d[:, 1] - line) * size
    ears = np.minimum(*(np.linalg.norm((v - at[f"{s}_ear"]) / size, axis=1) for s in ("left", "right")))
    field = np.minimum(field, ears - np.interp(np.abs(d[:, 0]), [0.066, 0.074], [0.0, 0.031]) * size)
    return np.where(a.head - a.eye > 0.5, field, -1.0)


def hanging_hair(a: Anatomy, look: Appearance, rng: np.random.Generator) -> list[Layer]:
    """A bun, a ponytail or long hair; nothing for other styles."""
    ear = 0.5 * (a.at["left_ear"] + a.at["right_ear"])
    skull = a.v[(a.head - a.eye > 0.9) & (a.v[:, 1] > ear[1] - 0.01)]
    back, top = skull[:, 2].min(), skull[:, 1].max()
    half, high = (ear[2] - back), top - ear[1]
    if look.hair_style == "bun":
        lift = rng.uniform(0.1, 1.0)
        c = np.array([0, ear[1] + lift * high * 0.8, back + 0.25 * half * lift])
        return [_tube(a, c + np.array([[0, 0, 0.03], [0, 0, 0], [0, 0, -0.035]]), np.array([0.03, 0.042, 0.001]))]
    if look.hair_style == "ponytail":
        t = np.linspace(0, 1, 9)
        length = look.hair_hangs_m + 0.08
        start = np.array([0, ear[1] + rng.uniform(0.1, 0.7) * high, back - look.hair_m])
        bow = np.stack((0 * t, 0.02 * np.sin(3 * t) - length * t**1.6, -0.07 * np.sin(np.pi * t**0.6)), axis=1)
        return [_tube(a, start + bow, 0.016 + 0.022 * np.sin(np.pi * t**0.7))]
    if look.hair_style == "long":
        return [_curtain(a, look, ear, half, high)]
    return []


def _carried(a: Anatomy, v: np.ndarray, faces: np.ndarray, field: np.ndarray, loose: np.ndarray) -> Layer:
    """``loose``: (n,) 0 where the head carries the hair, 1 where it lies on the back."""
    normals = NormalSum(faces, len(v))(v)
    zero = np.zeros(len(v))
    parts = ((Rigid.of(a, "head", "jaw"), 1 - loose), (Rigid.of(a, "spine3", "left_collar", "right_collar"), loose))
    return Layer("hair", v, normals, faces, field, v[:, 1], zero, carriers=parts)


def _grid(rows: int, columns: int) -> np.ndarray:
    i, j = (x.ravel() for x in np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij"))
    p = i * columns + j
    return np.concatenate([np.stack((p, p + columns, p + columns + 1), 1), np.stack((p, p + columns + 1, p + 1), 1)])


def _tube(a: Anatomy, path: np.ndarray, radius_m: np.ndarray) -> Layer:
    """Round hair along a path (k, 3) in the plane x = 0."""
    k, around = 3 * len(path), 17
    s = np.linspace(0, 1, len(path))
    fine = np.linspace(0, 1, k)
    p = np.stack([np.interp(fine, s, path[:, i]) for i in range(3)], axis=1)
    r = np.interp(fine, s, radius_m)
    if len(path) == 3:  # a bun is round
        r = radius_m.max() * np.sqrt(np.clip(1 - (2 * fine - 1) ** 2, 0.001, 1))
    tangent = np.gradient(p, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.array([1.0, 0, 0])
    other = np.cross(tangent, side)
    angle = np.linspace(0, 2 * np.pi, around)[None, :, None]
    ring = np.cos(angle) * side + np.sin(angle) * other[:, None]
    v = (p[:, None] + r[:, None, None] * ring).reshape(-1, 3)
    loose = np.clip((a.at["left_ear"][1] - 0.04 - v[:, 1]) / 0.2, 0, 0.8)
    return _carried(a, v, _grid(k, around), np.full(len(v), 0.05), loose)


def _curtain(a: Anatomy, look: Appearance, ear: np.ndarray, half: float, high: float) -> Layer:
    """Long hair around sides and back."""
    rows, columns = 22, 48
    down = np.linspace(0, 1, rows)[:, None]
    wide_rad = np.radians(112)
    phi = np.linspace(-wide_rad, wide_rad, columns)[None]
    y = ear[1] + 0.45 * high - (0.45 * high + look.hair_hangs_m) * down
    below = np.clip((ear[1] - 0.05 - y) / 0.2, 0, 1)
    wide = abs(a.at["left_ear"][0]) + 0.6 * look.hair_m + 0.004 + 0.025 * below
    deep = half + 0.8 * look.hair_m + 0.006 + (0.055 + look.shirt.loose_m) * below
    curl = 1 + 0.03 * np.sin(phi * 23 + look.seed % 7) + 0.02 * np.sin(phi * 41 + 9 * down)
    # The upper rows lie within the hair on the scalp.
    tuck = 0.82 + 0.18 * np.clip(down * 4, 0, 1) ** 0.5
    x = np.sin(phi) * wide * curl * tuck
    z = ear[2] - 0.004 - np.cos(phi) * deep * curl * tuck
    v = np.stack((x, np.broadcast_to(y, x.shape), z), axis=-1).reshape(-1, 3)
    edge = (wide_rad - np.abs(np.broadcast_to(phi, x.shape).ravel())) * 0.09
    loose = np.clip((a.at["left_ear"][1] - 0.06 - v[:, 1]) / 0.22, 0, 0.85)
    return _carried(a, v, _grid(rows, columns), np.minimum(v[:, 1] - y.min(), edge), loose)
