"""Colour of the skin from point to point: cheeks, lips, brows, beard, nails."""

import numpy as np

from ...models.skeleton import JOINT_NAMES
from .anatomy import Anatomy
from .appearance import Appearance


def _near(a: Anatomy, point_m: np.ndarray, radius_m: np.ndarray | float) -> np.ndarray:
    """(V,) 1 at the point, falling to 0 as a bell of this half width."""
    return np.exp(-0.5 * np.sum(((a.v - point_m) / radius_m) ** 2, axis=1))


def _mix(colour: np.ndarray, other: np.ndarray | tuple[float, float, float], share: np.ndarray) -> np.ndarray:
    return colour + np.clip(share, 0, 1)[:, None] * (np.asarray(other) - colour)


def paint(a: Anatomy, look: Appearance) -> np.ndarray:
    """(V, 3) linear albedo of the skin at every vertex."""
    v, at = a.v, a.at
    skin = np.array(look.skin)
    out = np.broadcast_to(skin, v.shape).copy()
    size = (at["left_eye"][0] - at["right_eye"][0]) / 0.058
    nose, eyes = at["nose"], 0.5 * (at["left_eye"] + at["right_eye"])
    red = 0.8 * _near(a, nose, 0.016 * size)
    for side, sign in (("left", 1), ("right", -1)):
        cheek = np.array([sign * 0.038 * size, 0.55 * nose[1] + 0.45 * eyes[1], nose[2] - 0.035 * size])
        red += 0.8 * _near(a, cheek, 0.017 * size) + 0.6 * _near(a, at[f"{side}_ear"], 0.03 * size)
        for finger in ("index", "middle", "ring", "pinky", "thumb"):
            for k in (1, 2, 3):
                red += (0.5 if k < 3 else 0.35) * _near(a, at[f"{side}_{finger}{k}"] + [0, 0.006, 0], 0.008)
        red += 0.5 * _near(a, at[f"{side}_elbow"] - [0, 0, 0.03], 0.03)
        red += 0.5 * _near(a, at[f"{side}_knee"] + [0, 0, 0.04], 0.04)
    flushed = skin * np.array([1.04, 0.72, 0.68])
    out = _mix(out, flushed, look.redness * red)
    # Palms and soles are lighter and redder.
    hands = a.share(*JOINT_NAMES[25:]) + a.share("left_wrist", "right_wrist") * (a.arm > 0)
    palm = np.clip(-a.normals[:, 1] * 1.5, 0, 1) * np.clip(hands * 1.5 - 0.4, 0, 1)
    light = np.clip(skin * np.array([1.12, 1.02, 1.0]) + np.array([0.06, 0.025, 0.02]), 0, 0.9)
    out = _mix(out, light, 0.75 * palm)
    out = _hair_on_face(a, look, out, size)
    mouth = 0.5 * (at["mouth_left"] + at["mouth_right"])
    half = max(abs(at["mouth_left"][0] - at["mouth_right"][0]) / 2, 0.018 * size)
    d = (v - mouth) / np.array([half * 1.12, 0.0085 * size, 0.03 * size])
    lips = np.clip(2.2 * (1.05 - np.linalg.norm(d, axis=1)), 0, 1) * (v[:, 2] > mouth[2] - 0.012 * size)
    out = _mix(out, look.lips, 0.9 * lips * (a.head > 0.5))
    for side in ("left", "right"):
        ball = at[f"{side}_eye_smplhf"]
        radius = np.linalg.norm(at[f"{side}_eye"] - ball)
        rim = np.linalg.norm(v - ball, axis=1) - radius
        lash = np.exp(-np.maximum(rim, 0) / (0.0016 * size)) * (v[:, 2] > ball[2]) * (v[:, 1] > ball[1])
        out = _mix(out, np.array([0.012, 0.009, 0.008]), 0.9 * lash * (a.eye < 0.5))
    out = _nails(a, look, out)
    return out


def _hair_on_face(a: Anatomy, look: Appearance, out: np.ndarray, size: float) -> np.ndarray:
    v, at = a.v, a.at
    front = (v[:, 2] > at["left_eye_smplhf"][2] - 0.02 * size) & (a.head - a.eye > 0.5)
    for side, sign in (("left", 1), ("right", -1)):
        eye = at[f"{side}_eye"]
        x = sign * (v[:, 0] - eye[0]) / size
        arc = eye[1] + (0.021 - 4.5 * (x - 0.004) ** 2 - 0.08 * np.maximum(x - 0.012, 0)) * size
        width = np.interp(x, [-0.018, -0.008, 0.012, 0.028], [0.0035, 0.0042, 0.003, 0.001]) * size
        share = np.exp(-0.5 * ((v[:, 1] - arc) / width) ** 2) * ((x > -0.02) & (x < 0.03))
        out = _mix(out, 0.75 * np.array(look.hair), look.brow * share * front)
    if look.beard > 0:
        nose, mouth = at["nose"], 0.5 * (at["mouth_left"] + at["mouth_right"])
        ear = 0.5 * (at["left_ear"] + at["right_ear"])
        top = np.interp(v[:, 2], [ear[2], mouth[2]], [ear[1] - 0.01 * size, mouth[1] + 0.014 * size])
        under = np.clip((top - v[:, 1]) / (0.01 * size), 0, 1)
        throat = np.clip((v[:, 1] - (mouth[1] - 0.075 * size)) / (0.02 * size), 0, 1)
        ahead = np.clip((v[:, 2] - ear[2] - 0.005) / 0.012, 0, 1)
        below_nose = np.clip((nose[1] - 0.012 * size - v[:, 1]) / 0.004, 0, 1)
        share = under * throat * ahead * below_nose * (a.head > 0.5)
        out = _mix(out, 0.9 * np.array(look.hair), min(1.0, 0.25 + 0.65 * look.beard) * share)
    return out


def _nails(a: Anatomy, look: Appearance, out: np.ndarray) -> np.ndarray:
    bare = np.array(look.skin) * np.array([1.05, 0.85, 0.83]) + 0.05
    colour = bare + look.nail_paint * (np.array(look.nails) - bare)
    for side in ("left", "right"):
        for finger in ("thumb", "index", "middle", "ring", "pinky"):
            tip, last = at_tip(a, side, finger)
            along = tip - last
            place = tip - 0.22 * along + np.array([0, 0.006, 0])
            share = _near(a, place, 0.0045) * (a.normals[:, 1] > 0.2)
            out = _mix(out, colour, 1.6 * share * (0.5 + 0.5 * look.nail_paint))
    return out


def at_tip(a: Anatomy, side: str, finger: str) -> tuple[np.ndarray, np.ndarray]:
    """Rest places of a finger's tip and last joint."""
    return a.at[f"{side}_hand_{finger}4"], a.at[f"{side}_{finger}3"]
