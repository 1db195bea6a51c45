"""The energy of a chain of frames, linearised: what the proxies, the body and physics each say about the pose.

Every term adds J^T W J and J^T W r to the normal equations. Robust terms use the Geman-McClure weight, so that a wrong
limb loses its say as it moves away. Weights scale with the frame interval, so that 25 and 60 fps give the same motion.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..rotations import axis_angle_to_matrix, matrix_to_axis_angle, right_jacobian
from .banded import NormalEquations
from .prior import PosePrior
from .rig import Posed, Rig

REFERENCE_FPS = 30.0


@dataclass(frozen=True)
class Evidence:
    """What was seen of T frames, in normalised camera coordinates ((u - cx) / f)."""

    stamps_s: np.ndarray
    """(T,)"""
    xy: np.ndarray
    """(T, P, 2) normalised image positions of the first P points of the rig."""
    xy_weight: np.ndarray
    """(T, P) 1 / sigma in normalised units, 0 where masked."""
    segments: np.ndarray
    """(S, 2) point indices of the bones whose direction the networks give."""
    direction_cam: np.ndarray
    """(T, S, 3) unit vectors in the camera frame."""
    direction_weight: np.ndarray
    """(T, S) 1 / sigma per radian, 0 where unknown."""

    def frames(self, s: slice | np.ndarray) -> "Evidence":
        """The evidence of some of the frames."""
        return replace(
            self,
            stamps_s=self.stamps_s[s],
            xy=self.xy[s],
            xy_weight=self.xy_weight[s],
            direction_cam=self.direction_cam[s],
            direction_weight=self.direction_weight[s],
        )


@dataclass(frozen=True)
class Chain:
    """The unknowns of T frames: local rotations and translation of one rig, seen by one camera."""

    R_local: np.ndarray
    """(T, J, 3, 3)"""
    trans_m: np.ndarray
    """(T, 3)"""

    def moved(self, step: np.ndarray, R_cam_world: np.ndarray) -> "Chain":
        """The chain after a step (T, D): translation along the camera's axes, then a right turn of every joint."""
        turn = axis_angle_to_matrix(step[:, 3:].reshape(len(step), -1, 3))
        return Chain(self.R_local @ turn, self.trans_m + step[:, :3] @ R_cam_world)

    def frames(self, s: slice | np.ndarray) -> "Chain":
        """Some of the frames."""
        return Chain(self.R_local[s], self.trans_m[s])


@dataclass(frozen=True)
class Ground:
    """Which of the rig's points stand on the floor y = 0."""

    points: np.ndarray
    """(C,) point indices."""
    contact: np.ndarray
    """(T, C) probability."""


@dataclass(frozen=True)
class Weights:
    """Terms that do not depend on the frame; see SolverSettings for their meaning."""

    prior: PosePrior
    """Prior of the joints below the root."""
    prior_weight: float
    sigma_limit_rad: float
    angular_sigma: np.ndarray
    """(J,) rad/s^2, root first."""
    linear_sigma_cam: np.ndarray
    """(3,) m/s^2 along the camera's axes."""
    robust_xy: float
    robust_direction: float
    sigma_contact_speed_m_s: float = 0.06
    sigma_contact_height_m: float = 0.015
    sigma_penetration_m: float = 0.01
    anchor: Chain | None = None
    """Where the root is tied to, if it is."""
    anchor_sigma: tuple[float, float] = (0.02, 0.05)
    """Metres and radians of that tie."""


def geman_mcclure(r2: np.ndarray, c: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cost and weight of squared residuals: c^2 r^2 / (c^2 + r^2) and its derivative by r^2."""
    k = c * c / (c * c + r2)
    return k * r2, k * k


class Energy:
    """Cost and normal equations of a chain of frames."""

    def __init__(
        self,
        rig: Rig,
        evidence: Evidence,
        weights: Weights,
        R_cam_world: np.ndarray,
        t_cam_world_m: np.ndarray,
        ground: Ground | None = None,
        coupled: bool = True,
        frozen: int = 0,
        with_shape: bool = False,
    ) -> None:
        """``coupled``: frames are neighbours in time. ``frozen``: so many first frames stay. ``with_shape``: the
        shape coefficients are appended to every frame's variables (for :mod:`.shape`, which ties them together)."""
        self.rig, self.evidence, self.weights = rig, evidence, weights
        self.R_cam_world, self.t_cam_world_m = R_cam_world, t_cam_world_m
        self.ground = ground
        self.coupled = coupled and len(evidence.stamps_s) > 1
        self.frozen = frozen
        self.with_shape = with_shape
        dt = np.diff(evidence.stamps_s)
        typical = np.median(dt) if len(dt) else 1 / REFERENCE_FPS
        self.dt = np.maximum(dt, 1e-4)
        self.rate = float(np.sqrt(np.clip(typical * REFERENCE_FPS, 0.1, 10.0)))

    # -- terms: each returns its cost and, when wanted, adds to the equations ------------------------------------------

    def cost(self, chain: Chain) -> float:
        """Robust cost of a chain."""
        return self._evaluate(chain, None)

    def linearise(self, chain: Chain) -> tuple[float, NormalEquations]:
        """Cost and Gauss-Newton system at a chain."""
        extra = self.rig.joints_shapedirs.shape[-1] if self.with_shape else 0
        equations = NormalEquations.zeros(len(chain.trans_m), self.rig.num_variables + extra)
        cost = self._evaluate(chain, equations)
        if self.frozen:
            i = np.arange(self.rig.num_variables)
            equations.diagonal[: self.frozen, i, i] += 1e9
            equations.gradient[: self.frozen] = 0
            equations.next1[: self.frozen] = 0
            equations.next2[: self.frozen] = 0
        return cost, equations

    def _evaluate(self, chain: Chain, eq: NormalEquations | None) -> float:
        posed = self.rig.forward(chain.R_local, chain.trans_m)
        jacobian = None if eq is None else posed.jacobian()
        if jacobian is not None:  # translation steps run along the camera's axes, which keeps its smoothness diagonal
            jacobian[..., :3] = self.R_cam_world.T
            if self.with_shape:
                jacobian = np.concatenate([jacobian, posed.shape_jacobian()], axis=-1)
        total = self._reprojection(posed, jacobian, eq) + self._directions(posed, jacobian, eq)
        total += self._pose(chain, eq)
        if self.weights.anchor is not None:
            total += self._anchor(chain, eq)
        if self.coupled and len(self.dt) > 1:
            total += self._smoothness(chain, eq)
        if self.ground is not None:
            total += self._ground(posed, jacobian, eq)
        return total

    def _reprojection(self, posed: Posed, jacobian: np.ndarray | None, eq: NormalEquations | None) -> float:
        e = self.evidence
        P = e.xy.shape[1]
        x_cam = posed.points_m[:, :P] @ self.R_cam_world.T + self.t_cam_world_m
        z = np.maximum(x_cam[..., 2], 0.05)
        r = (x_cam[..., :2] / z[..., None] - e.xy) * (e.xy_weight * self.rate)[..., None]
        r2 = (r**2).sum(-1)
        scale = self.weights.robust_xy * self.rate
        cost, weight = geman_mcclure(r2, scale)
        if eq is not None and jacobian is not None:
            # d(x/z) = (dx - (x/z) dz) / z
            J_cam = np.einsum("ij,tmjd->tmid", self.R_cam_world, jacobian[:, :P])
            J = (J_cam[:, :, :2] - (x_cam[..., :2] / z[..., None])[..., None] * J_cam[:, :, 2:]) / z[..., None, None]
            root = np.sqrt(weight)
            J *= (e.xy_weight * self.rate * root)[..., None, None]
            _add(eq, J, r * root[..., None])
        return float(cost.sum())

    def _directions(self, posed: Posed, jacobian: np.ndarray | None, eq: NormalEquations | None) -> float:
        e = self.evidence
        if len(e.segments) == 0:
            return 0.0
        a, b = e.segments.T
        bone = (posed.points_m[:, b] - posed.points_m[:, a]) @ self.R_cam_world.T
        length = np.maximum(np.linalg.norm(bone, axis=-1), 1e-4)
        unit = bone / length[..., None]
        w = e.direction_weight * self.rate
        r = (unit - e.direction_cam) * w[..., None]
        cost, weight = geman_mcclure((r**2).sum(-1), self.weights.robust_direction * self.rate)
        if eq is not None and jacobian is not None:
            J = np.einsum("ij,tsjd->tsid", self.R_cam_world, jacobian[:, b] - jacobian[:, a])
            J -= unit[..., None] * np.einsum("tsi,tsid->tsd", unit, J)[:, :, None, :]
            root = np.sqrt(weight)
            J *= (w * root / length)[..., None, None]
            _add(eq, J, r * root[..., None])
        return float(cost.sum())

    def _pose(self, chain: Chain, eq: NormalEquations | None) -> float:
        w = self.weights
        T = len(chain.trans_m)
        v = matrix_to_axis_angle(chain.R_local[:, 1:])
        d = (v - w.prior.mean).reshape(T, -1)
        strength = w.prior_weight * self.rate**2
        pull = strength * (d @ w.prior.precision)
        over = np.maximum(v - w.prior.high, 0) + np.minimum(v - w.prior.low, 0)
        over *= self.rate / w.sigma_limit_rad
        cost = float((pull * d).sum() + (over**2).sum())
        if eq is not None:
            # chart Jacobian: d log(R exp(d)) = Jr^-1 d, block diagonal over joints
            inverse = np.linalg.inv(right_jacobian(v))
            J = len(chain.R_local[0]) - 1
            H = np.broadcast_to(strength * w.prior.precision, (T, 3 * J, 3 * J)).reshape(T, J, 3, J, 3)
            active = (over != 0) * (self.rate / w.sigma_limit_rad) ** 2
            H = np.einsum("tjab,tjakc->tjbkc", inverse, H)
            H = np.einsum("tjbkc,tkcd->tjbkd", H, inverse)
            H = H.reshape(T, 3 * J, 3 * J).copy()
            limit = np.einsum("tjab,tja,tjac->tjbc", inverse, active, inverse)
            for j in range(J):
                H[:, 3 * j : 3 * j + 3, 3 * j : 3 * j + 3] += limit[:, j]
            own = slice(6, 6 + 3 * J)
            eq.diagonal[:, own, own] += H
            g = pull.reshape(T, J, 3) + over * (self.rate / w.sigma_limit_rad)
            eq.gradient[:, own] += np.einsum("tjab,tja->tjb", inverse, g).reshape(T, -1)
        return cost

    def _anchor(self, chain: Chain, eq: NormalEquations | None) -> float:
        anchor, (sigma_m, sigma_rad) = self.weights.anchor, self.weights.anchor_sigma
        assert anchor is not None
        turn = matrix_to_axis_angle(np.swapaxes(anchor.R_local[:, 0], -1, -2) @ chain.R_local[:, 0])
        move_cam = (chain.trans_m - anchor.trans_m) @ self.R_cam_world.T
        r = np.concatenate([move_cam / sigma_m, turn / sigma_rad], axis=1) * self.rate
        if eq is not None:
            w = np.repeat([1 / sigma_m, 1 / sigma_rad], 3) * self.rate
            i = np.arange(6)
            eq.diagonal[:, i, i] += w**2
            eq.gradient[:, :6] += r * w
        return float((r**2).sum())

    def _smoothness(self, chain: Chain, eq: NormalEquations | None) -> float:
        w = self.weights
        dt = self.dt
        mean = (dt[1:] + dt[:-1]) / 2
        # second difference on uneven stamps: c0 x[t-1] - (c0 + c2) x[t] + c2 x[t+1]; weighted by the time it covers
        share = np.sqrt(np.minimum(mean, 0.5) * REFERENCE_FPS)
        c0, c2 = share / (dt[:-1] * mean), share / (dt[1:] * mean)
        step = matrix_to_axis_angle(np.swapaxes(chain.R_local[:-1], -1, -2) @ chain.R_local[1:])
        turn = (c2[:, None, None] * step[1:] - c0[:, None, None] * step[:-1]) / w.angular_sigma[:, None]
        move = np.diff(chain.trans_m, axis=0)
        move = (c2[:, None] * move[1:] - c0[:, None] * move[:-1]) @ self.R_cam_world.T / w.linear_sigma_cam
        if eq is not None:
            T, D = eq.gradient.shape
            coefficients = np.stack([c0, -(c0 + c2), c2])
            i = np.arange(D)
            weight = 1 / np.concatenate([w.linear_sigma_cam, np.repeat(w.angular_sigma, 3)])
            g = np.concatenate([move, turn.reshape(T - 2, -1)], axis=1) * weight
            for a in range(3):
                rows = slice(a, T - 2 + a)
                eq.gradient[rows] += coefficients[a][:, None] * g
                eq.diagonal[rows, i, i] += (coefficients[a] ** 2)[:, None] * weight**2
            for a in range(2):
                rows = slice(a, T - 2 + a)
                eq.next1[rows, i, i] += (coefficients[a] * coefficients[a + 1])[:, None] * weight**2
            eq.next2[: T - 2] += (coefficients[0] * coefficients[2])[:, None] * weight**2
        return float((turn**2).sum() + (move**2).sum())

    def _ground(self, posed: Posed, jacobian: np.ndarray | None, eq: NormalEquations | None) -> float:
        ground, w = self.ground, self.weights
        assert ground is not None
        x = posed.points_m[:, ground.points]
        height = x[..., 1]
        strength = np.sqrt(ground.contact)
        r_height = strength * height / w.sigma_contact_height_m * self.rate
        # a standing point far off the floor means the floor is not where it stands (a step, a jump down): let go
        cost_height, k_height = geman_mcclure(r_height**2, 6.0 * self.rate)
        below = np.minimum(height, 0) / w.sigma_penetration_m * self.rate
        cost_below, k_below = geman_mcclure(below**2, 6.0 * self.rate)
        total = float(cost_height.sum() + cost_below.sum())
        J = None if jacobian is None else jacobian[:, ground.points]
        if eq is not None and J is not None:
            k = np.sqrt(k_height) * strength / w.sigma_contact_height_m * self.rate
            _add(eq, J[:, :, 1:2] * k[..., None, None], (np.sqrt(k_height) * r_height)[..., None])
            k = np.sqrt(k_below) * (below < 0) / w.sigma_penetration_m * self.rate
            _add(eq, J[:, :, 1:2] * k[..., None, None], (np.sqrt(k_below) * below)[..., None])
        if self.coupled:
            both = np.sqrt(ground.contact[1:] * ground.contact[:-1])
            share = np.sqrt(np.minimum(self.dt, 0.5) * REFERENCE_FPS)[:, None]
            k = both / (self.dt[:, None] * w.sigma_contact_speed_m_s) * share
            r = (x[1:] - x[:-1]) * k[..., None]
            cost, weight = geman_mcclure((r**2).sum(-1), 8.0 * share)
            total += float(cost.sum())
            if eq is not None and J is not None:
                k = k * np.sqrt(weight)
                r = r * np.sqrt(weight)[..., None]
                T, D = eq.gradient.shape
                later = (J[1:] * k[..., None, None]).reshape(T - 1, -1, D)
                before = (J[:-1] * -k[..., None, None]).reshape(T - 1, -1, D)
                flat = r.reshape(T - 1, -1, 1)
                later_t, before_t = np.swapaxes(later, -1, -2), np.swapaxes(before, -1, -2)
                eq.diagonal[1:] += later_t @ later
                eq.diagonal[:-1] += before_t @ before
                eq.next1[:-1] += later_t @ before
                eq.gradient[1:] += (later_t @ flat)[..., 0]
                eq.gradient[:-1] += (before_t @ flat)[..., 0]
        return total


def _add(eq: NormalEquations, J: np.ndarray, r: np.ndarray) -> None:
    """Add rows J (T, M, k, D) with residuals r (T, M, k)."""
    T, D = eq.gradient.shape
    J = J.reshape(T, -1, D)
    Jt = np.swapaxes(J, -1, -2)
    eq.diagonal += Jt @ J
    eq.gradient += (Jt @ r.reshape(T, -1, 1))[..., 0]


def minimise(energy: Energy, chain: Chain, iterations: int, tolerance: float = 1e-3) -> tuple[Chain, float]:
    """Levenberg-Marquardt. Stops when a step improves the cost by less than ``tolerance`` of it."""
    damping = 1e-3
    cost, equations = np.inf, None
    for _ in range(iterations):
        if equations is None:
            cost, equations = energy.linearise(chain)
        step = equations.solve(damping)
        new = None if step is None else chain.moved(np.clip(step, -0.6, 0.6), energy.R_cam_world)
        new_cost = np.inf if new is None else energy.cost(new)
        if new is not None and new_cost < cost:
            gain = (cost - new_cost) / max(cost, 1e-12)
            chain, damping = new, max(damping / 5, 1e-7)
            cost, equations = new_cost, None
            if gain < tolerance:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return chain, cost
