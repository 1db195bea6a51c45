"""From what was seen to the encoders' channels: boxes, relative coordinates, masks."""

from dataclasses import dataclass

import torch

from ..observed import Observed
from ..proxies import BODY, BODY_NAMES, LEFT_HAND, RIGHT_HAND
from .lifting import Lift, lift

BODY_3D_SCALE_M, HAND_3D_SCALE_M = 0.4, 0.06
"""Spread of the landmark networks' 3-D, which brings it to about one."""
MIN_BOX = 0.01
"""Smallest box, normalised: a body seen from a hundred metres."""
SIDES = (LEFT_HAND, RIGHT_HAND)
_ELBOW = [BODY_NAMES.index(f"{s}_elbow") for s in ("left", "right")]
_WRIST = [BODY_NAMES.index(f"{s}_wrist") for s in ("left", "right")]


@dataclass(frozen=True)
class Stream:
    """Channels that are masked alike, (..., C) each."""

    x: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class BodyInput:
    """Of the body, in T frames."""

    points: Stream
    """(..., T, 50) proxies in units of the box about its centre."""
    context: Stream
    """(..., T, 25 + 25 + 3) confidence, mask, and the box: its centre and the logarithm of its size."""
    relative: Stream
    """(..., T, 99) the body network's 3-D."""
    lifted: Stream
    """(..., T, 93) proxies lifted to 3-D in closed form."""
    lift: Lift
    """The same, in metres, with the place."""
    box: torch.Tensor
    """(..., T, 3) centre and size, normalised; (0, 0, 1) where nothing is seen."""


@dataclass(frozen=True)
class HandInput:
    """Of both hands, (..., T, 2, C): left and right, the left one mirrored, so that one network serves both."""

    points: Stream
    """(..., T, 2, 42) proxies in units of the hand's box about its centre."""
    context: Stream
    """(..., T, 2, 21 + 21 + 8) confidence, mask, the hand's box about the body's, forearm, the body's box."""
    relative: Stream
    """(..., T, 2, 63) the hand network's 3-D."""


def each(x: torch.Tensor, times: int) -> torch.Tensor:
    """(..., times N) every element of x (..., N) so many times in a row."""
    return x.unsqueeze(-1).expand(*x.shape, times).flatten(-2)


def box_of(xy: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(..., 3) centre x, y and larger side of the box around points (..., N, 2) whose mask (..., N) is 1."""
    seen = mask.unsqueeze(-1) > 0
    low = torch.where(seen, xy, 1e4).amin(-2)
    high = torch.where(seen, xy, -1e4).amax(-2)
    some = seen.any(-2)
    centre = torch.where(some, (low + high) / 2, 0.0)
    size = torch.where(some, high - low, 1.0).amax(-1, keepdim=True).clamp_min(MIN_BOX)
    return torch.cat([centre, size], dim=-1)


def body_input(o: Observed, relative_3d: bool = True) -> BodyInput:
    """Channels of the body encoder for observations (..., T, ...)."""
    xy, confidence = o.xy[..., BODY, :], o.confidence[..., BODY]
    mask = (confidence > 0).to(xy.dtype)
    box = box_of(xy, mask)
    points = (xy - box[..., None, :2]) / box[..., None, 2:]
    some = mask.amax(-1, keepdim=True)
    log_size = torch.log(box[..., 2:]) + 1.0
    context = torch.cat([confidence, mask, 2 * box[..., :2], log_size], dim=-1)
    known = o.body_xyz_known.unsqueeze(-1) * (1.0 if relative_3d else 0.0)
    lifted = lift(o, box, relative_3d)
    return BodyInput(
        Stream(points.flatten(-2), each(mask, 2)),
        Stream(context, some.expand_as(context)),
        Stream((o.body_xyz_m / BODY_3D_SCALE_M).flatten(-2), known.expand(*known.shape[:-1], 99)),
        Stream((lifted.points_m / BODY_3D_SCALE_M).flatten(-2), each(lifted.known, 3)),
        lifted,
        box,
    )


def hand_input(o: Observed, box: torch.Tensor, relative_3d: bool = True) -> HandInput:
    """Channels of the hand encoder; box (..., T, 3) is the body's."""
    points, context, context_masks, relative, masks, knowns = [], [], [], [], [], []
    for k, part in enumerate(SIDES):
        flip = torch.tensor([-1.0 if k == 0 else 1.0, 1.0], dtype=o.xy.dtype, device=o.xy.device)
        flip3 = torch.tensor([-1.0 if k == 0 else 1.0, 1.0, 1.0], dtype=o.xy.dtype, device=o.xy.device)
        xy, confidence = o.xy[..., part, :], o.confidence[..., part]
        mask = (confidence > 0).to(xy.dtype)
        own = box_of(xy, mask)
        some = mask.amax(-1, keepdim=True)
        ends = o.confidence[..., [_ELBOW[k], _WRIST[k]]] > 0
        arm = ends.all(-1, keepdim=True).to(xy.dtype)
        forearm = (o.xy[..., _WRIST[k], :] - o.xy[..., _ELBOW[k], :]) / box[..., 2:] * flip * arm
        place = (own[..., :2] - box[..., :2]) / box[..., 2:] * flip * some
        size = (torch.log(own[..., 2:] / box[..., 2:]) + 2.0) * some
        points.append(((xy - own[..., None, :2]) / own[..., None, 2:] * flip).flatten(-2))
        masks.append(each(mask, 2))
        parts = [confidence, mask, place, size, forearm * 3, arm, 2 * box[..., :2] * flip]
        context.append(torch.cat(parts, dim=-1))
        context_masks.append(torch.maximum(some, arm).expand_as(context[-1]))
        relative.append((o.hands_xyz_m[..., k, :, :] / HAND_3D_SCALE_M * flip3).flatten(-2))
        knowns.append((o.hands_xyz_known[..., k, None] * (1.0 if relative_3d else 0.0)).expand_as(relative[-1]))
    return HandInput(
        Stream(torch.stack(points, -2), torch.stack(masks, -2)),
        Stream(torch.stack(context, -2), torch.stack(context_masks, -2)),
        Stream(torch.stack(relative, -2), torch.stack(knowns, -2)),
    )
