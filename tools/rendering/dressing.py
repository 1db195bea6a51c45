"""Clothes, hair and shoes as layers over the body's mesh, laid out once on the rest mesh.

Every layer is a part of the body's own mesh moved outwards, or a stiff thing that a part of the body carries. Its
border is the zero of a field in metres (positive inside) that is interpolated over the triangles, so borders are
cleaner than the mesh. Fields come from the rest mesh, the rest joints and the skinning weights of the mean body: no
vertex numbers, any betas.
"""

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.spatial import ConvexHull

from ...models.body_stages import BodyModel
from ...realtime.overlay.mesh import NormalSum
from .anatomy import Anatomy, Layer, Rigid, smooth_noise
from .appearance import Appearance, Cloth
from .hairdo import hair_field, hanging_hair

_MARGIN_M = 0.03
"""Layers reach this far beyond their border, and hide what lies this far within it (loose ones farther)."""


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
        kind, a.v[ids], a.normals[ids], faces, field[ids], along[ids], a.arm[ids],
        ids, offset_m[ids], least_m, smooth, rounds, (), cloth,
    )  # fmt: skip


def _shirt_field(a: Anatomy, look: Appearance) -> np.ndarray:
    v, at = a.v, a.at
    neck = at["neck"]
    size = at["left_shoulder"][0] / 0.17
    half, deep, lean = {
        "round": (0.078, 0.085, 0.03), "v": (0.07, 0.16, 0.06), "wide": (0.115, 0.1, 0.04), "high": (0.0, 0.0, 0.0)
    }[look.neckline]  # fmt: skip
    top = neck[1] + 0.02 * size - v[:, 1]
    field = top
    if half:
        d = v - neck - np.array([0, 0, lean * size])
        ellipsoid = np.linalg.norm(d / (np.array([half, deep, half + lean]) * size), axis=1) - 1
        field = np.minimum(top, ellipsoid * half * size)
    field = np.minimum(field, (0.2 - a.head) * 0.5)
    hem = v[:, 1] - (at["left_hip"][1] - look.hem_m)
    sleeve = look.sleeve
    end = a.upper_arm_m * sleeve if sleeve < 1 else a.upper_arm_m + a.forearm_m * (sleeve - 1)
    # The sleeve's end says nothing of the hips, though they are as far out as the shoulders.
    trunk = np.maximum(0, at["left_shoulder"][1] - 0.12 * size - v[:, 1]) * 4
    return np.minimum(np.minimum(field, hem), end - a.arm_m + trunk)


def dress(body: BodyModel, look: Appearance) -> list[Layer]:
    """The layers of a person, skin first, outermost last."""
    a = Anatomy(body)
    rng = np.random.default_rng(look.seed)
    v, at = a.v, a.at
    fold = 0.5 + 0.5 * np.tanh(smooth_noise(v, 0.09, rng))
    shirt = _shirt_field(a, look)
    waist = at["left_hip"][1] + 0.5 * (at["spine1"][1] - at["left_hip"][1])
    hip, knee, ankle = (at[f"left_{j}"][1] for j in ("hip", "knee", "ankle"))
    end = hip + (knee - hip) * look.leg if look.leg < 1 else knee + (ankle - knee) * (look.leg - 1)
    trousers = np.minimum(waist - v[:, 1], v[:, 1] - end)
    below = np.clip((hip - v[:, 1]) / (hip - ankle), 0, 1)
    trouser_m = look.trousers.loose_m * (0.6 + 0.4 * fold) * (0.7 + 1.3 * np.minimum(below, 0.75))
    shirt_m = look.shirt.loose_m * (0.4 + 0.6 * fold)
    shirt_m = shirt_m + (trouser_m + 0.004) * np.clip((waist + 0.02 - v[:, 1]) / 0.03, 0, 1)
    shoe = (ankle + look.shoe_m) - v[:, 1]
    hair = hair_field(a, look)
    deep = [_MARGIN_M + 1.5 * c.loose_m for c in (look.shirt, look.trousers)]
    covers = [(shirt, deep[0]), (trousers, deep[1]), *([] if look.barefoot else [(shoe, 0.008)])]
    still = np.zeros(len(v))
    eyes = 2.0 * (a.eye > 0.5) - 1
    layers = [_layer(a, "skin", -eyes, still, 0.0, 0, covers), _layer(a, "eye", eyes, still, 0.0, 0, [])]
    rounds = [3 + int(300 * c.loose_m) for c in (look.trousers, look.shirt)]
    tucked = [(shirt, deep[0])]
    layers.append(_layer(a, "cloth", trousers, trouser_m, 0.002, rounds[0], tucked, look.trousers))
    layers.append(_layer(a, "cloth", shirt, shirt_m, 0.003, rounds[1], [], look.shirt))
    if not look.barefoot:
        layers += [_shoe(a, shoe, side) for side in ("left", "right")]
    if look.hair_style != "bald":
        thick = look.hair_m * (1 + 0.18 * smooth_noise(v, 0.025, rng))
        edge = np.clip(hair / 0.03, 0.12, 1) ** 0.7
        layers.append(_layer(a, "hair", hair, np.maximum(thick * edge, 0.0015), 0.001, 2, []))
        layers += hanging_hair(a, look, rng)
    # A body may lack a part, such as eyeballs.
    return [layer for layer in layers if len(layer.faces)]


def _shoe(a: Anatomy, field: np.ndarray, side: str) -> Layer:
    """A shoe of one foot: the foot a little larger, its toes in a convex cap; carried by foot and toes."""
    own = np.where(a.share(f"{side}_ankle", f"{side}_foot", f"{side}_knee") > 0.5, field, -1.0)
    bare = _layer(a, "shoe", own, np.zeros(len(a.v)), 0.0, 0, [])
    assert bare.ids is not None
    v, n = bare.rest_m, bare.rest_normals
    toes = a.share(f"{side}_foot")[bare.ids]
    front = v[toes > 0.3]
    hull = ConvexHull(front)
    middle = front.mean(axis=0)
    ray = v - middle
    speed = ray @ hull.equations[:, :3].T
    reach = -(hull.equations[:, :3] @ middle + hull.equations[:, 3])
    times = np.where(speed > 1e-9, reach / np.maximum(speed, 1e-9), np.inf).min(axis=1)
    cap = middle + ray * np.clip(times, 1.0, 3.0)[:, None]
    # Soles stay on the floor.
    flat = np.clip(1 + 1.2 * n[:, 1], 0.05, 1)[:, None]
    outward = ray / np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-6)
    share = np.clip((toes - 0.1) / 0.4, 0, 1)[:, None]
    shaped = (1 - share) * (v + 0.007 * flat * n) + share * (cap + 0.006 * outward * [1, 0.6, 1])
    shaped[:, 1] = np.maximum(shaped[:, 1], a.v[:, 1].min() - 0.001)
    bend = np.clip(1.5 * toes, 0, 1)
    parts = ((Rigid.of(a, f"{side}_ankle"), 1 - bend), (Rigid.of(a, f"{side}_foot"), bend))
    return replace(
        bare, rest_m=shaped, rest_normals=NormalSum(bare.faces, len(v))(shaped), along_m=shaped[:, 1],
        ids=None, offset_m=None, carriers=parts,
    )  # fmt: skip
