"""A body of one shape as the fusion needs it: bones, and the points of the soles that ride on them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..body import BodyModel
from ..markers import contact_rig, sole_rig
from ..proxies import BODY
from ..skeleton import JOINT_NAMES, NUM_BODY_JOINTS, PARENTS
from ..solver.rigs import build_rigs
from ..solver.shape import stature

SIDES = ("left", "right")
HIP, KNEE, ANKLE, TOES = (
    np.array([JOINT_NAMES.index(f"{s}_{j}") for s in SIDES]) for j in ("hip", "knee", "ankle", "foot")
)
"""(2,) joints of the left and the right leg."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shapes:
    """Rest places that are linear in the shape, float64: template (N, 3) and directions (N, 3, B) each."""

    joints: tuple[np.ndarray, np.ndarray]
    contact: tuple[np.ndarray, np.ndarray]
    soles: tuple[np.ndarray, np.ndarray]
    proxies: tuple[np.ndarray, np.ndarray]
    proxy_joint: np.ndarray
    stature: tuple[float, np.ndarray]


@lru_cache(maxsize=4)
def _shapes(model: BodyModel) -> _Shapes:
    def pair(template, directions) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(template, np.float64), np.asarray(directions, np.float64)

    contact, soles, rig = contact_rig(model), sole_rig(model), build_rigs(model).body
    return _Shapes(
        pair(model.J_template, model.J_shapedirs),
        pair(contact.points_template, contact.points_shapedirs),
        pair(soles.points_template, soles.points_shapedirs),
        (rig.points_m[BODY], rig.points_shapedirs[BODY]),
        rig.point_joint[BODY],
        stature(np.asarray(model.v_template, np.float64), np.asarray(model.shapedirs, np.float64)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One body shape in the rest pose, float64."""

    betas: np.ndarray
    """(B,)"""
    joints_m: np.ndarray
    """(55, 3) rest joints."""
    thigh_m: np.ndarray
    """(2, 3) hip to knee."""
    shank_m: np.ndarray
    """(2, 3) knee to ankle."""
    leg_m: np.ndarray
    """(2,) length of thigh and shank."""
    instep_m: np.ndarray
    """(2, 3) ankle to the joint of the toes."""
    heel_m: np.ndarray
    """(2, 3) ankle to the contact point under the heel."""
    ball_m: np.ndarray
    """(2, 3) joint of the toes to the contact point under the ball."""
    soles_m: np.ndarray
    """(2, 4, 3) sole points from the ankle, (foot standing flat, toes straight)."""
    proxies_m: np.ndarray
    """(25, 3) body proxies from the joints that carry them."""
    proxy_joint: np.ndarray
    """(25,) joints that carry the body proxies, of the first 22."""
    stature_m: float
    """Standing height."""

    @classmethod
    def of(cls, model: BodyModel, betas: np.ndarray) -> "Person":
        """The body of shape ``betas`` (<= B,)."""
        shapes, betas = _shapes(model), np.asarray(betas, np.float64)

        def at(pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            return pair[0] + pair[1][..., : len(betas)] @ betas

        joints = at(shapes.joints)
        thigh, shank = joints[KNEE] - joints[HIP], joints[ANKLE] - joints[KNEE]
        contact, soles = at(shapes.contact).reshape(2, 2, 3), at(shapes.soles).reshape(2, 4, 3)
        return cls(
            betas,
            joints,
            thigh,
            shank,
            np.linalg.norm(thigh, axis=-1) + np.linalg.norm(shank, axis=-1),
            joints[TOES] - joints[ANKLE],
            contact[:, 0] - joints[ANKLE],
            contact[:, 1] - joints[TOES],
            soles - joints[ANKLE][:, None],
            at(shapes.proxies) - joints[:NUM_BODY_JOINTS][shapes.proxy_joint],
            shapes.proxy_joint,
            float(body_height_m(model, betas)),
        )

    @property
    def ankle_height_m(self) -> float:
        """Height of the ankles of a foot that stands flat."""
        return float(-np.minimum(self.heel_m[:, 1], self.instep_m[:, 1] + self.ball_m[:, 1]).mean())

    @property
    def standing_m(self) -> float:
        """Height of the pelvis of a person who stands straight."""
        return float((self.joints_m[0, 1] - self.joints_m[HIP, 1]).mean() + self.leg_m.mean()) + self.ankle_height_m


def of_height(model: BodyModel, betas: np.ndarray, height_m: float | None) -> np.ndarray:
    """(B,) the shape ``betas`` made to stand ``height_m`` tall with the least change; unchanged for None."""
    betas = np.asarray(betas, np.float64)
    if height_m is None:
        return betas
    mean, slope = _shapes(model).stature
    slope = slope[: len(betas)]
    return betas + slope * (height_m - mean - slope @ betas) / max(float(slope @ slope), 1e-9)


def body_height_m(model: BodyModel, betas: np.ndarray) -> np.ndarray:
    """(...) standing height of bodies of shape (..., B)."""
    mean, slope = _shapes(model).stature
    return mean + np.asarray(betas, np.float64) @ slope[: np.shape(betas)[-1]]


def proxy_points_m(person: Person, R_local: np.ndarray, pelvis_m: np.ndarray) -> np.ndarray:
    """(T, 25, 3) body proxies where the landmark networks mark them, for local rotations (T, 55, 3, 3), row 0 the
    root, and pelvis places (T, 3)."""
    R, p = [R_local[:, 0]], [pelvis_m]
    for j in range(1, NUM_BODY_JOINTS):
        above = PARENTS[j]
        R.append(R[above] @ R_local[:, j])
        p.append(p[above] + R[above] @ (person.joints_m[j] - person.joints_m[above]))
    j = person.proxy_joint
    return np.stack(p, axis=1)[:, j] + (np.stack(R, axis=1)[:, j] @ person.proxies_m[..., None])[..., 0]
