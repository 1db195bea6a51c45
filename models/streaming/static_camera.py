"""One camera for the run: which way is up, and how high above the floor the camera stands.

Two kinds of evidence are agreed: the vertical that the networks give in every frame, averaged robustly, and the floor:
feet that stand lie in one level plane, and the pelvis stands ``height_m`` above it. A foot's error along its ray lifts
it off the floor by as much as the ray is steep, and weighs accordingly. The world's yaw is the camera's
(:func:`hmcap.models.world.heading_rotation`): it looks along -Z.
"""

from dataclasses import dataclass

import numpy as np

from ..world import HumanFrame, heading_rotation
from .legs import shortest_rotation
from .records import RATE_HZ, Estimate
from .world_settings import WorldSettings

_LEVEL = np.diag([1.0, -1.0, -1.0])
"""Rotation of a level camera that looks along the world's -Z."""


@dataclass(frozen=True, slots=True, eq=False)
class StaticCamera:
    """A camera that stands still over the floor."""

    R_cam_world: np.ndarray
    """(3, 3) rotation of the world to the camera; the camera looks along -Z."""
    height_m: float
    """Height above the floor."""

    @classmethod
    def of(cls, up_cam: np.ndarray, height_m: float) -> "StaticCamera":
        """The camera in whose axes ``up_cam`` (3,) points against gravity."""
        R = upright_rotation(up_cam)
        return cls(R @ heading_rotation(R).T, height_m)

    def T_cam_world(self, origin_m: np.ndarray) -> np.ndarray:
        """(4, 4) for a world whose origin is ``origin_m`` (3,), seen from the point on the floor under the camera."""
        T = np.eye(4)
        T[:3, :3] = self.R_cam_world
        T[:3, 3] = self.R_cam_world @ (np.asarray(origin_m) - [0.0, self.height_m, 0.0])
        return T


def upright_rotation(up_cam: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotation of a space with Y along ``up_cam`` (..., 3) to the camera; its heading is the camera's own,
    or nearly."""
    return shortest_rotation(np.broadcast_to([0.0, -1.0, 0.0], np.shape(up_cam)), up_cam) @ _LEVEL


def human_frames(estimate: Estimate, R_cam_human: np.ndarray, root_rest_m: np.ndarray) -> HumanFrame:
    """The estimate in the human space of every frame (networks, section 4): origin on the ground under the pelvis.

    R_cam_human: (3, 3), or (T, 3, 3) with a camera of its own for every frame. root_rest_m: (3,) rest pelvis.
    """
    R = np.broadcast_to(R_cam_human, (estimate.frames, 3, 3))
    pelvis = np.asarray(estimate.height_m, np.float64)[:, None] * [0.0, 1.0, 0.0]
    to_human = np.swapaxes(heading_rotation(R), -1, -2)
    # the networks give the way from the frame before, human space the way to the frame that follows
    step = np.concatenate([np.asarray(estimate.step_m, np.float64)[1:], np.zeros((1, 3))])
    return HumanFrame(
        np.swapaxes(R, -1, -2) @ estimate.R_cam_root,
        pelvis - root_rest_m,
        (to_human @ step[..., None])[..., 0],
        R,
        estimate.root_cam_m - (R @ pelvis[..., None])[..., 0],
    )


@dataclass(frozen=True, slots=True, eq=False)
class FloorEvidence:
    """Points of the camera's space whose height above the floor is known, of N looks."""

    points_cam_m: np.ndarray
    """(N, 3)"""
    height_m: np.ndarray
    """(N,)"""
    sigma_m: np.ndarray
    """(N,) error of the height."""
    weight: np.ndarray
    """(N,) how many independent looks it is worth."""

    def equations(self, up_cam: np.ndarray, camera_m: float | None, robust: float) -> tuple[np.ndarray, np.ndarray]:
        """Normal equations (4, 4) and (4,) of ``up . x + camera height = height`` in (up, camera height); outliers
        against a first solution weigh less (Cauchy)."""
        w = self.weight / self.sigma_m**2
        if camera_m is not None:
            residual = (self.points_cam_m @ up_cam + camera_m - self.height_m) / (robust * self.sigma_m)
            w = w / (1 + residual**2)
        A = np.concatenate([self.points_cam_m, np.ones((len(w), 1))], axis=1)
        return A.T @ (w[:, None] * A), A.T @ (w * self.height_m)


def floor_evidence(
    root_cam_m: np.ndarray,
    feet_cam_m: np.ndarray,
    height_m: np.ndarray,
    contact: np.ndarray,
    weight: np.ndarray,
    along_sigma_m: np.ndarray,
    up_cam: np.ndarray,
    settings: WorldSettings,
) -> FloorEvidence:
    """The feet (T, 4, 3) that stand, by contact (T, 4), and the pelvis (T, 3) at height_m (T,).

    weight: (T,) what a frame counts, 0 where nobody is seen. along_sigma_m: (T,) error along the ray.
    """
    points = np.concatenate([root_cam_m[:, None], feet_cam_m], axis=1)
    rays = points / np.linalg.norm(points, axis=-1, keepdims=True)
    sigma = np.concatenate([[settings.height_sigma_m], np.full(4, settings.foot_sigma_m)])
    sigma = np.hypot(sigma, along_sigma_m[:, None] * (rays @ up_cam))
    target = np.concatenate([height_m[:, None], np.zeros_like(contact)], axis=1)
    # four points of the soles say the same as one
    stands = np.concatenate([np.ones((len(contact), 1)), contact**2 / 2], axis=1)
    looks = stands * (weight * settings.looks_hz / RATE_HZ)[:, None]
    return FloorEvidence(points.reshape(-1, 3), target.ravel(), sigma.ravel(), looks.ravel())


def camera_on_floor(
    up_cam: np.ndarray, up_sigma_rad: float, equations: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, float]:
    """Vertical (3,) and camera height that agree a vertical with its sigma and the floor's normal equations."""
    H, b = equations
    tangent = np.linalg.svd(up_cam[None])[2][1:].T
    P = np.zeros((4, 3))
    P[:3, :2], P[3, 2] = tangent, 1.0
    start = np.concatenate([up_cam, [0.0]])
    left = P.T @ H @ P + np.diag([up_sigma_rad**-2, up_sigma_rad**-2, 1e-9])
    tilt = np.linalg.solve(left, P.T @ (b - H @ start))
    up = up_cam + tangent @ tilt[:2]
    return up / np.linalg.norm(up), float(tilt[2])


def mean_vertical(up_cam: np.ndarray, weight: np.ndarray, settings: WorldSettings) -> tuple[np.ndarray, float]:
    """Robust mean (3,) of verticals (T, 3) and its sigma in radians; weight (T,) is what each frame counts."""
    total = max(float(weight.sum()), 1e-9)
    up = np.array([_weighted_median(up_cam[:, i], weight) for i in range(3)])
    scale = 2 * np.sin(np.radians(settings.up_outlier_deg) / 2)
    w = weight
    for _ in range(8):
        up = up / np.linalg.norm(up)
        w = weight / (1 + ((up_cam - up) ** 2).sum(-1) / scale**2)
        up = w @ up_cam
    up = up / np.linalg.norm(up)
    spread2 = float(w @ ((up_cam - up) ** 2).sum(-1) / max(float(w.sum()), 1e-9)) / 2
    return up, vertical_sigma(spread2, total, settings)


def vertical_sigma(spread2: float, frames: float, settings: WorldSettings) -> float:
    """Error in radians of a mean of verticals with variance ``spread2`` (rad^2 per axis) over so many frames."""
    looks = max(1.0, frames * settings.looks_hz / RATE_HZ)
    return float(np.sqrt(np.radians(settings.up_sigma_deg) ** 2 + spread2 / looks))


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def uprightness(R_cam_root: np.ndarray, up_cam: np.ndarray) -> np.ndarray:
    """(T,) 0.2 to 1: how upright the pelvis (T, 3, 3) stands against a vertical (T, 3); lying people say little."""
    return 0.2 + 0.8 * np.clip((R_cam_root[..., 1] * up_cam).sum(-1), 0.0, 1.0) ** 2
