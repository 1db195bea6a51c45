"""What is known of the pelvis' place, as linear terms that the smoother and the filter share.

Unknown are the places p (T, 3) in the world. Four kinds of terms: the place before the camera (accurate across the
ray, weak along it), displacements p_t - p_(t-1) (the step over the ground; a foot point that stands does not move),
heights, and the jerk of a person who moves.
"""

from dataclasses import dataclass, replace

import numpy as np

from .records import RATE_HZ
from .sightlines import Sightlines
from .world_settings import WorldSettings

_SEEN_NOT = 0.02
"""What a frame counts in which the person is carried across a short absence."""


@dataclass(frozen=True, slots=True, eq=False)
class RootTerms:
    """Terms of T frames."""

    place_m: np.ndarray
    """(T, 3) the place before the camera."""
    place_W: np.ndarray
    """(T, 3, 3) inverse covariance of that."""
    move_m: np.ndarray
    """(T, 5, 3) displacement since the frame before: step, then the four contact points."""
    move_w: np.ndarray
    """(T, 5, 3) inverse variance of that; 0 in the first frame."""
    height_m: np.ndarray
    """(T, 5) height of the pelvis: as the networks say, then over each of the four contact points."""
    height_w: np.ndarray
    """(T, 5) inverse variance of that."""
    sight: Sightlines
    """What the sight lines of standing feet say of the place."""
    jerk_w: float
    """Inverse variance of a third difference per axis."""
    robust: float
    """Sigmas at which a displacement or a height begins to be an outlier."""

    def alone(self) -> tuple[np.ndarray, np.ndarray]:
        """Information (T, 3, 3) and its product with the place (T, 3), of everything that concerns one frame alone."""
        s = self.sight
        W = self.place_W + np.einsum("tki,tk,tkj->tij", s.ahead, s.weight, s.ahead)
        b = (self.place_W @ self.place_m[..., None])[..., 0]
        b = b + ((s.weight * s.distance_m)[..., None] * s.ahead).sum(1)
        W[:, 1, 1] += self.height_w.sum(1)
        b[:, 1] += (self.height_w * self.height_m).sum(1)
        return W, b

    def reweighted(self, p: np.ndarray, before: np.ndarray | None = None) -> "RootTerms":
        """The terms with outliers against places p (T, 3) weighing less (Cauchy). before: (3,) the place of the frame
        before the first, where there is one."""
        moved = np.diff(p, axis=0, prepend=p[:1] if before is None else before[None])[:, None] - self.move_m
        r2 = (moved**2 * self.move_w).sum(-1, keepdims=True) / self.robust**2
        h2 = (p[:, 1:2] - self.height_m) ** 2 * self.height_w / self.robust**2
        off = (self.sight.ahead * p[:, None]).sum(-1) - self.sight.distance_m
        s2 = off**2 * self.sight.weight / self.robust**2
        return RootTerms(
            self.place_m,
            self.place_W,
            self.move_m,
            self.move_w / (1 + r2),
            self.height_m,
            self.height_w / (1 + h2),
            replace(self.sight, weight=self.sight.weight / (1 + s2)),
            self.jerk_w,
            self.robust,
        )


def root_terms(
    place_m: np.ndarray,
    sigma_m: np.ndarray,
    step_m: np.ndarray,
    feet_m: np.ndarray,
    height_m: np.ndarray,
    contact: np.ndarray,
    seen: np.ndarray,
    sight: Sightlines,
    camera_height_m: float,
    settings: WorldSettings,
    feet_before_m: np.ndarray | None = None,
    contact_before: np.ndarray | None = None,
) -> RootTerms:
    """Terms of T frames in the axes of the world, from the point on the floor under the camera.

    place_m: (T, 3) pelvis from the camera. sigma_m: (T, 2) across and along the ray. step_m: (T, 3) since the frame
    before. feet_m: (T, 4, 3) contact points from the pelvis. height_m: (T,). contact: (T, 4). seen: (T,) bool.
    feet_before_m (4, 3) and contact_before (4,): those of the frame before the first, where there is one.
    """
    T = len(place_m)
    weight = np.where(seen, 1.0, _SEEN_NOT)
    ray = place_m / np.linalg.norm(place_m, axis=-1, keepdims=True)
    frames = RATE_HZ * np.array([settings.across_memory_s, settings.depth_memory_s])
    across, along = (weight[:, None] / (np.maximum(sigma_m, 1e-4) ** 2 * np.maximum(frames, 1.0))).T
    W = across[:, None, None] * np.eye(3) + (along - across)[:, None, None] * ray[:, :, None] * ray[:, None]

    move, move_w = np.zeros((T, 5, 3)), np.zeros((T, 5, 3))
    first = feet_before_m is None
    before = np.concatenate([(feet_m[0] if feet_before_m is None else feet_before_m)[None], feet_m[:-1]])
    stood = np.concatenate([(contact[0] if contact_before is None else contact_before)[None], contact[:-1]])
    move[:, 0] = step_m
    move_w[:, 0, [0, 2]] = (weight / settings.step_sigma_m**2)[:, None]
    move[:, 1:] = before - feet_m
    move_w[:, 1:] = ((contact * stood) ** 2 * weight[:, None] / settings.contact_speed_sigma_m**2)[..., None]
    if first:
        move_w[:1] = 0.0

    slow = max(1.0, settings.foot_memory_s * RATE_HZ)
    height = np.concatenate([height_m[:, None], -feet_m[..., 1]], axis=1)
    height_w = np.empty((T, 5))
    height_w[:, 0] = weight / (settings.height_sigma_m**2 * max(1.0, settings.depth_memory_s * RATE_HZ))
    height_w[:, 1:] = contact**2 * weight[:, None] / (settings.contact_height_sigma_m**2 * slow)
    jerk = settings.jerk_sigma_m_s3 / RATE_HZ**3
    return RootTerms(
        place_m + np.array([0.0, camera_height_m, 0.0]),
        W,
        move,
        move_w,
        height,
        height_w,
        sight,
        jerk**-2,
        settings.robust_sigmas,
    )
