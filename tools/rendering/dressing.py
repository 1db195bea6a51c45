"""Clothes, hair and shoes as layers over the body's mesh, laid out once on the rest mesh.

Every layer is a part of the body's own mesh moved outwards. Its border is the zero of a field in metres (positive
inside) that is interpolated over the triangles, so borders are cleaner than the mesh. Fields come from the rest mesh,
the rest joints and the skinning weights of the mean body: no vertex numbers, any betas.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ...models.body_stages import BodyModel
from ...models.markers import blazepose_rig, proxy_rig
from ...models.proxies import BLAZEPOSE_NAMES, PROXY_NAMES
from ...models.skeleton import JOINT_NAMES
from ...realtime.overlay.mesh import NormalSum
from .appearance import Appearance, Cloth

_MARGIN_M = 0.03
"""Layers reach this far beyond their border, and hide what lies this far within it."""


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
class Layer:
    """A part of the mesh with one material."""

    kind: str
    """"skin", "eye", "cloth", "hair" or "shoe"."""
    ids: np.ndarray
    """(n,) vertices of the body that the layer uses."""
    faces: np.ndarray
    """(F, 3) triangles among them."""
    field: np.ndarray
    """(n,) metres inside the border."""
    offset_m: np.ndarray
    """(n,) outwards along the normal."""
    least_m: float
    """Distance from the skin that smoothing must leave."""
    along_m: np.ndarray
    """(n,) coordinate of patterns along trunk and limbs."""
    limb: np.ndarray
    """(n,) 0 trunk and legs, 1 arms."""
    smooth: sparse.csr_matrix | None
    """(n, n) neighbour mean; None where the layer follows the skin."""
    rounds: int
    """How often it is applied."""
    cloth: Cloth | None = None

    def positions(self, vertices_m: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """(n, 3) where the layer is when the body's vertices (V, 3) have the normals (V, 3)."""
        v, n = vertices_m[self.ids], normals[self.ids]
        out = v + n * self.offset_m[:, None]
        if self.smooth is None:
            return out
        for _ in range(self.rounds):
            out = self.smooth @ out
        gap = np.sum((out - v) * n, axis=1)
        return out + n * np.maximum(0, self.least_m - gap)[:, None]


def _noise(p: np.ndarray, scale_m: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of mean 0 and deviation about 1 at points (n, 3): a sum of plane waves."""
    k = rng.normal(size=(12, 3)) * (1.6 / scale_m)
    return np.sin(p @ k.T + rng.uniform(0, 2 * np.pi, 12)).sum(axis=1) / np.sqrt(6)


def _layer(
    a: Anatomy, kind: str, field: np.ndarray, offset_m: np.ndarray, least_m: float, rounds: int,
    hidden_by: list[tuple[np.ndarray, float]], cloth: Cloth | None = None,
) -> Layer:  # fmt: skip
    keep = (field[a.faces] > -_MARGIN_M).any(axis=1) & (field[a.faces].max(axis=1) > -0.005)
    for other, margin in hidden_by:
        keep &= (other[a.faces] < margin).any(axis=1)
    faces = a.faces[keep]
    ids = np.unique(faces)
    place = np.zeros(len(a.v), np.int64)
    place[ids] = np.arange(len(ids))
    faces = place[faces]
    smooth = None
    if rounds:
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        edges = np.concatenate([edges, edges[:, ::-1], np.repeat(np.arange(len(ids)), 2).reshape(-1, 2)])
        m = sparse.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(ids), len(ids)))
        m.data[:] = 1.0
        smooth = sparse.csr_matrix(sparse.diags(1 / np.asarray(m.sum(axis=1)).ravel()) @ m)
    arm_m = -(np.abs(a.v[:, 0]) - a.at["left_shoulder"][0]) + a.at["left_shoulder"][1]
    along = (1 - a.arm) * a.v[:, 1] + a.arm * arm_m
    return Layer(
        kind, ids, faces, field[ids], offset_m[ids], least_m, along[ids], a.arm[ids], smooth, rounds, cloth
    )  # fmt: skip


def _shirt_field(a: Anatomy, look: Appearance) -> np.ndarray:
    v, at = a.v, a.at
    neck = at["smplx_neck"] if "smplx_neck" in at else np.asarray(a.body.J_template[JOINT_NAMES.index("neck")])
    size = a.at["left_shoulder"][0] / 0.17
    half, deep, lean = {
        "round": (0.078, 0.085, 0.03), "v": (0.07, 0.16, 0.06), "wide": (0.115, 0.1, 0.04), "high": (0.0, 0.0, 0.0)
    }[look.neckline]  # fmt: skip
    top = neck[1] + 0.02 * size - v[:, 1]
    field = top
    if half:
        d = v - neck - np.array([0, 0, lean * size])
        ellipsoid = np.linalg.norm(d / (np.array([half, deep, half + lean]) * size), axis=1) - 1
        field = np.minimum(top, ellipsoid * half * size)
    field = np.minimum(field, 0.02 - a.head * 0.1)
    hem = v[:, 1] - (at["left_hip"][1] - look.hem_m)
    sleeve = look.sleeve
    end = a.upper_arm_m * sleeve if sleeve < 1 else a.upper_arm_m + a.forearm_m * (sleeve - 1)
    # The sleeve's end says nothing of the hips, though they are as far out as the shoulders.
    trunk = np.maximum(0, at["left_shoulder"][1] - 0.12 * size - v[:, 1]) * 4
    return np.minimum(np.minimum(field, hem), end - a.arm_m + trunk)


def dress(body: BodyModel, look: Appearance) -> list[Layer]:
    """The layers of a person, skin first."""
    a = Anatomy(body)
    rng = np.random.default_rng(look.seed)
    v, at = a.v, a.at
    fold = 0.5 + 0.5 * np.tanh(_noise(v, 0.09, rng))
    shirt = _shirt_field(a, look)
    waist = at["left_hip"][1] + 0.5 * (at["spine1"][1] - at["left_hip"][1])
    hip, knee, ankle = (at[f"left_{j}"][1] for j in ("hip", "knee", "ankle"))
    end = hip + (knee - hip) * look.leg if look.leg < 1 else knee + (ankle - knee) * (look.leg - 1)
    trousers = np.minimum(waist - v[:, 1], v[:, 1] - end)
    below = np.clip((hip - v[:, 1]) / (hip - ankle), 0, 1)
    trouser_m = look.trousers.loose_m * (0.5 + 0.5 * fold) * (0.6 + 0.8 * below)
    shirt_m = look.shirt.loose_m * (0.4 + 0.6 * fold)
    shirt_m = shirt_m + (trouser_m + 0.004) * np.clip((waist + 0.02 - v[:, 1]) / 0.03, 0, 1)
    shoe = (ankle + look.shoe_m) - v[:, 1]
    hair = _hair_field(a, look)
    covers = [(shirt, _MARGIN_M), (trousers, _MARGIN_M), *([] if look.barefoot else [(shoe, 0.008)])]
    still = np.zeros(len(v))
    eyes = 2.0 * (a.eye > 0.5) - 1
    layers = [_layer(a, "skin", -eyes, still, 0.0, 0, covers), _layer(a, "eye", eyes, still, 0.0, 0, [])]
    rounds = [3 + int(300 * c.loose_m) for c in (look.trousers, look.shirt)]
    layers.append(
        _layer(
            a,
            "cloth",
            trousers,
            trouser_m,
            0.002,
            rounds[0],
            [(shirt, _MARGIN_M)] if look.hem_m > -0.02 else [],
            look.trousers,
        )
    )
    layers.append(_layer(a, "cloth", shirt, shirt_m, 0.003, rounds[1], [], look.shirt))
    if not look.barefoot:
        flat = np.clip(1 + 1.2 * a.normals[:, 1], 0.1, 1)  # soles stay on the floor
        # Smoothing fills the gaps between the toes; it shrinks, so the cap starts larger there.
        toes = np.clip(a.share("left_foot", "right_foot") * 1.5, 0, 1)
        layers.append(_layer(a, "shoe", shoe, (0.007 + 0.008 * toes) * flat + 0.001, -1.0, 45, []))
    if look.hair_style != "bald":
        thick = look.hair_m * (1 + 0.18 * _noise(v, 0.025, rng))
        edge = np.clip(hair / 0.03, 0.12, 1) ** 0.7
        layers.append(_layer(a, "hair", hair, np.maximum(thick * edge, 0.0015), 0.001, 2, []))
    return layers


def _hair_field(a: Anatomy, look: Appearance) -> np.ndarray:
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
