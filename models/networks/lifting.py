"""A first guess of the body's points in closed form: the picture gives where they are across the ray, the landmark
networks' own 3-D how far along it. The initialiser learns what is left."""

from dataclasses import dataclass

import torch

from ..observed import Observed
from ..proxies import BLAZEPOSE_NAMES, BODY_NAMES, HAND_NAMES, PROXY_NAMES
from .kinematics import full_precision
from .state import PLACE_OF_MEAN

_KNUCKLES = ("index1", "middle1", "pinky1")
LIFTED_NAMES = (*BODY_NAMES, *(f"{s}_hand_{k}" for s in ("left", "right") for k in _KNUCKLES))
"""The proxies that are lifted: the body's, and knuckles, which turn with the wrist."""
NUM_LIFTED = len(LIFTED_NAMES)
LIFTED = [PROXY_NAMES.index(n) for n in LIFTED_NAMES]
"""Their indices among all proxies."""
_KNUCKLE = [HAND_NAMES.index(k) for k in _KNUCKLES]
_PAIRS = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
_RENAMED = {f"{s}_{toe}_toe": f"{s}_foot_index" for s in ("left", "right") for toe in ("big", "small")}
_FINGERS = {"index1": ("index", "index"), "middle1": ("index", "pinky"), "pinky1": ("pinky", "pinky")}
PRIOR_WEIGHT = 0.002
"""Weight of the depth at which a person of common size fills the box, against that of all points."""


def _sources() -> list[tuple[int, int]]:
    """Two body landmarks whose middle is the proxy, for each of LIFTED_NAMES."""
    rows = []
    for name in LIFTED_NAMES:
        side, _, knuckle = name.partition("_hand_")
        if knuckle:
            pair = tuple(f"{side}_{finger}" for finger in _FINGERS[knuckle])
        else:
            pair = _PAIRS.get(name, (_RENAMED.get(name, name),) * 2)
        rows.append(tuple(BLAZEPOSE_NAMES.index(n) for n in pair))
    return rows


_FIRST, _SECOND = ([pair[k] for pair in _sources()] for k in (0, 1))
_WRISTS = [BLAZEPOSE_NAMES.index(f"{s}_wrist") for s in ("left", "right")]


@dataclass(frozen=True)
class Lift:
    """Of T frames, in the camera's axes."""

    points_m: torch.Tensor
    """(..., T, NUM_LIFTED, 3) about the middle of the hips; 0 where nothing is known."""
    known: torch.Tensor
    """(..., T, NUM_LIFTED) 1 where picture or 3-D say where the point is."""
    place: torch.Tensor
    """(..., T, 3) of the middle of the hips, as :class:`State` has it."""


@full_precision
def lift(o: Observed, box: torch.Tensor, relative_3d: bool = True) -> Lift:
    """Lift observations (..., T, ...) whose body has the box (..., T, 3)."""
    xy, weight = o.xy[..., LIFTED, :], o.confidence[..., LIFTED]
    seen = (weight > 0).to(xy.dtype)
    cue_known = o.body_xyz_known * (1.0 if relative_3d else 0.0)
    cue = (o.body_xyz_m[..., _FIRST, :] + o.body_xyz_m[..., _SECOND, :]) / 2
    hands = []
    for k, wrist in enumerate(_WRISTS):
        fingers = o.hands_xyz_m[..., k, _KNUCKLE, :] - o.hands_xyz_m[..., k, :1, :]
        of_hand = o.body_xyz_m[..., wrist, :].unsqueeze(-2) + fingers
        begin = len(BODY_NAMES) + k * len(_KNUCKLES)
        of_body = cue[..., begin : begin + len(_KNUCKLES), :]
        hands.append(torch.where(o.hands_xyz_known[..., k, None, None] > 0, of_hand, of_body))
    cue = torch.cat([cue[..., : len(BODY_NAMES), :], *hands], dim=-2) * cue_known[..., None, None]
    size = box[..., 2]
    usual = torch.exp(torch.full_like(size, PLACE_OF_MEAN[2])) / size
    w = (weight * cue_known.unsqueeze(-1)).unsqueeze(-1)
    total = w.sum(-2) + 1e-6
    x, z = cue[..., :2], cue[..., 2:]
    offset = x - xy * z
    mean_xy, mean_offset = (xy * w).sum(-2) / total, (offset * w).sum(-2) / total
    spread = xy - mean_xy.unsqueeze(-2)
    prior = PRIOR_WEIGHT * size * size
    up = (w * spread * (offset - mean_offset.unsqueeze(-2))).sum((-1, -2)) / total[..., 0]
    down = (w * spread * spread).sum((-1, -2)) / total[..., 0]
    depth = ((up + prior * usual) / (down + prior)).clamp(0.2 * usual, 5 * usual).unsqueeze(-1)
    some = cue_known.unsqueeze(-1)
    across = torch.where((some > 0) & (w.sum(-2) > 0), mean_xy * depth - mean_offset, box[..., :2] * depth)
    in_picture = torch.cat([xy * (z + depth.unsqueeze(-2)) - across.unsqueeze(-2), z], dim=-1)
    points = torch.where(seen.unsqueeze(-1) > 0, in_picture, cue)
    known = torch.maximum(seen, some)
    place = torch.cat([(across / depth - box[..., :2]) / box[..., 2:], torch.log(depth * box[..., 2:])], dim=-1)
    return Lift((points * known.unsqueeze(-1)).clamp(-4.0, 4.0), known, place.clamp(-3.0, 3.0))
