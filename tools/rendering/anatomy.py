"""The rest mesh as the wardrobe sees it: where things are, what carries them, and layers laid over it."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ...models.body_stages import BodyModel
from ...models.markers import blazepose_rig, proxy_rig
from ...models.proxies import BLAZEPOSE_NAMES, PROXY_NAMES
from ...models.skeleton import JOINT_NAMES
from ...realtime.overlay.mesh import NormalSum
from .appearance import Cloth


class Anatomy:
    """Where things are on the rest mesh of the mean body."""

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.v = np.asarray(body.v_template, np.float64)
        self.weights = np.asarray(body.weights, np.float64)
        self.faces = np.asarray(body.faces)
        self.normals = NormalSum(self.faces, len(self.v))(self.v)
        named = dict(zip(PROXY_NAMES, proxy_rig(body).points_m().astype(np.float64), strict=True))
        named |= dict(zip(BLAZEPOSE_NAMES, blazepose_rig(body).points_m().astype(np.float64), strict=True))
        named |= {n: np.asarray(p, np.float64) for n, p in zip(JOINT_NAMES, body.J_template, strict=True)}
        self.at = named
        self.head = self.share("head", "jaw", "left_eye_smplhf", "right_eye_smplhf")
        self.eye = self.share("left_eye_smplhf", "right_eye_smplhf")
        # How far down the straight arm of the rest pose: 0 shoulder, 1 elbow, 2 wrist.
        x, elbow = np.abs(self.v[:, 0]), named["left_elbow"][0]
        shoulder, wrist = named["left_shoulder"][0], named["left_wrist"][0]
        arm = [j for s in ("left", "right") for j in (f"{s}_shoulder", f"{s}_elbow", f"{s}_wrist")]
        fingers = JOINT_NAMES[25:]
        self.arm = self.share(*arm, *fingers)
        self.arm_m = x - shoulder
        self.upper_arm_m, self.forearm_m = elbow - shoulder, wrist - elbow

    def share(self, *joints: str) -> np.ndarray:
        """(V,) summed skinning weight of joints."""
        return self.weights[:, [JOINT_NAMES.index(j) for j in joints]].sum(axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Rigid:
    """A part of the body that carries something stiff, found again in any pose by its vertices."""

    ids: np.ndarray
    """(k,) vertices of the body."""
    rest_m: np.ndarray
    """(k, 3) where they are at rest on the mean body."""

    @classmethod
    def of(cls, a: Anatomy, *joints: str) -> "Rigid":
        """The part that follows these joints alone."""
        share = a.share(*joints)
        ids = np.flatnonzero(share > min(0.95, 0.9 * share.max()))
        return cls(ids, a.v[ids])

    def carry(self, points_m: np.ndarray, vertices_m: np.ndarray) -> np.ndarray:
        """(n, 3) rest points moved as the part has moved: the best similarity (Umeyama, IEEE PAMI 1991, equations 40
        to 42)."""
        there = vertices_m[self.ids]
        c0, c1 = self.rest_m.mean(axis=0), there.mean(axis=0, dtype=np.float64)
        a, b = self.rest_m - c0, there - c1
        U, S, Vt = np.linalg.svd(b.T @ a)
        sign = np.array([1, 1, np.sign(np.linalg.det(U @ Vt))])
        R = (U * sign) @ Vt
        return (points_m - c0) @ (R.T * ((S * sign).sum() / (a**2).sum())) + c1


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A surface with one material: a part of the body's mesh moved outwards, or a stiff thing that parts carry."""

    kind: str
    """"skin", "eye", "cloth", "hair" or "shoe"."""
    rest_m: np.ndarray
    """(n, 3) at rest on the mean body."""
    rest_normals: np.ndarray
    """(n, 3)"""
    faces: np.ndarray
    """(F, 3) triangles."""
    field: np.ndarray
    """(n,) metres inside the border."""
    along_m: np.ndarray
    """(n,) coordinate of patterns along trunk and limbs."""
    limb: np.ndarray
    """(n,) 0 trunk and legs, 1 arms."""
    ids: np.ndarray | None = None
    """(n,) vertices of the body that the layer uses; None for a stiff thing."""
    offset_m: np.ndarray | None = None
    """(n,) outwards along the normal."""
    least_m: float = 0.0
    """Distance from the skin that smoothing must leave."""
    smooth: sparse.csr_matrix | None = None
    """(n, n) neighbour mean; None where the layer follows the skin."""
    rounds: int = 0
    """How often it is applied."""
    carriers: tuple[tuple[Rigid, np.ndarray], ...] = ()
    """Parts that carry a stiff thing, with the share (n,) of each; the shares of a vertex sum to 1."""
    cloth: Cloth | None = None

    def positions(self, vertices_m: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """(n, 3) where the layer is when the body's vertices (V, 3) have the normals (V, 3)."""
        if self.carriers:
            out = np.zeros(self.rest_m.shape)
            for part, share in self.carriers:
                out += share[:, None] * part.carry(self.rest_m, vertices_m)
            return out
        assert self.ids is not None
        assert self.offset_m is not None
        v, n = vertices_m[self.ids], normals[self.ids]
        out = v + n * self.offset_m[:, None]
        if self.smooth is None:
            return out
        for _ in range(self.rounds):
            out = self.smooth @ out
        gap = np.sum((out - v) * n, axis=1)
        return out + n * np.maximum(0, self.least_m - gap)[:, None]


def smooth_noise(p: np.ndarray, scale_m: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of mean 0 and deviation about 1 at points (n, 3): a sum of plane waves."""
    k = rng.normal(size=(12, 3)) * (1.6 / scale_m)
    return np.sin(p @ k.T + rng.uniform(0, 2 * np.pi, 12)).sum(axis=1) / np.sqrt(6)
