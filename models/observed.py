"""What the motion networks see of a person: the proxies in normalised camera coordinates, and the networks' own 3-D.

Arrays are numpy at run time and torch tensors in training; leading dimensions are batch and frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import array_api_compat
import numpy as np

from .camera import Camera
from .proxies import BODY, LEFT_HAND, PROXY_NAMES, RIGHT_HAND, Proxies
from .rotations import Array
from .solver.observations import stack


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Proxies of T frames. Whatever is masked is exactly zero."""

    xy: Array
    """(..., T, 67, 2) normalised camera coordinates ((u - cx) / f, (v - cy) / f), lens distortion undone; x right,
    y down."""
    confidence: Array
    """(..., T, 67) in 0..1; 0 where masked."""
    body_xyz_m: Array
    """(..., T, 33, 3) relative 3-D of the body network, turned into the camera's axes; 0 where it gives none."""
    body_xyz_known: Array
    """(..., T) 1 where the body network gave 3-D, else 0."""
    hands_xyz_m: Array
    """(..., T, 2, 21, 3) the same of the left and right hand; 0 where there is none."""
    hands_xyz_known: Array
    """(..., T, 2) 1 where that hand's network gave 3-D, else 0."""

    @property
    def mask(self) -> Array:
        """(..., T, 67) 1 where the proxy is seen, else 0, in the type of ``confidence``."""
        return self.confidence > 0

    def map(self, change) -> "Observed":
        """The record with ``change`` applied to every array."""
        return Observed(*(change(getattr(self, f.name)) for f in fields(self)))


UNTAUGHT = [PROXY_NAMES.index(f"{side}_small_toe") for side in ("left", "right")]
"""Proxies that the networks never saw in training, since the default landmark networks have none: what they would make
of one is chance (it turned ankles by tens of degrees), so that they are not shown any."""

FIELDS = tuple(f.name for f in fields(Observed))
"""Names of the arrays, in order; the networks' inputs carry them."""


def observe(proxies: Sequence[Proxies], camera: Camera) -> Observed:
    """What the networks see of T frames (T, ...), numpy float32. Frames without a person are masked throughout, and
    :data:`UNTAUGHT` proxies always."""
    o = stack(proxies, camera, sized=False)
    confidence = np.where(o.present[:, None], o.confidence, 0.0)
    confidence[:, UNTAUGHT] = 0.0
    body = np.where(o.present[:, None, None], o.body_xyz, np.nan)
    return _record(*(a.astype(np.float32) for a in (o.xy, confidence, body, o.hands_xyz)))


def observed_of(xy: Array, confidence: Array, body_xyz_m: Array, hands_xyz_m: Array) -> Observed:
    """The same from xy (..., T, 67, 2) normalised, confidence (..., T, 67) and the 3-D as the networks give it, with
    NaN where there is none: body (..., T, 33, 3) and hands (..., T, 2, 21, 3). numpy or torch."""
    xp = array_api_compat.array_namespace(xy)
    body = face_the_camera(body_xyz_m, _centre(xy, confidence, BODY))
    sides = [
        face_the_camera(hands_xyz_m[..., k, :, :], _centre(xy, confidence, part))
        for k, part in enumerate((LEFT_HAND, RIGHT_HAND))
    ]
    return _record(xy, confidence, body, xp.stack(sides, axis=-3))


def _record(xy: Array, confidence: Array, body: Array, hands: Array) -> Observed:
    xp = array_api_compat.array_namespace(xy)
    seen = (confidence > 0) & xp.all(xp.isfinite(xy), axis=-1)
    body_known = xp.all(xp.isfinite(body), axis=(-1, -2)) & xp.any(seen[..., BODY], axis=-1)
    parts = [xp.any(seen[..., part], axis=-1) for part in (LEFT_HAND, RIGHT_HAND)]
    hands_known = xp.all(xp.isfinite(hands), axis=(-1, -2)) & xp.stack(parts, axis=-1)
    zero = xp.zeros_like(xy[..., :1, :1])
    return Observed(
        xp.where(seen[..., None], xy, zero),
        xp.where(seen, confidence, zero[..., 0]),
        xp.where(body_known[..., None, None], body, zero),
        xp.astype(body_known, xy.dtype),
        xp.where(hands_known[..., None, None], hands, zero[..., None]),
        xp.astype(hands_known, xy.dtype),
    )


def _centre(xy: Array, confidence: Array, part: slice) -> Array:
    """(..., 2) confidence-weighted centre of some proxies; zero where none is seen."""
    xp = array_api_compat.array_namespace(xy)
    c = confidence[..., part, None]
    total = xp.sum(c, axis=-2)
    return xp.sum(xy[..., part, :] * c, axis=-2) / xp.where(total > 1e-6, total, xp.ones_like(total))


def face_the_camera(xyz_m: Array, centre: Array) -> Array:
    """Turn relative 3-D (..., N, 3) seen along the ray through ``centre`` (..., 2), normalised, into the camera's axes.

    A landmark network sees a crop and cannot know where in the image it lay: its z axis is the viewing ray. The turn is
    the shortest that takes (0, 0, 1) onto the ray.
    """
    xp = array_api_compat.array_namespace(xyz_m)
    ray = xp.concat([centre, xp.ones_like(centre[..., :1])], axis=-1)
    ray = ray / xp.sqrt(xp.sum(ray * ray, axis=-1))[..., None]
    x, y, z = ray[..., 0], ray[..., 1], ray[..., 2]
    k = 1 / (1 + z)
    rows = ((1 - k * x * x, -k * x * y, x), (-k * x * y, 1 - k * y * y, y), (-x, -y, z))
    R = xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
    return xyz_m @ xp.permute_dims(R, (*range(R.ndim - 2), R.ndim - 1, R.ndim - 2))
