"""Tracks of many takes at once, in torch: the twin of :func:`.tracks.tracks_of` for cameras without distortion."""

import numpy as np
import torch

from ...models.proxies import NUM_PROXIES, PROXY_NAMES
from .tracks import BEYOND_M, HEAD_RADIUS_M, HIDDEN, OUT, OWN_ROD, RODS, VISIBLE, Tracks

_P = {name: i for i, name in enumerate(PROXY_NAMES)}
_BEGIN, _END = [_P[a] for a, _, _ in RODS], [_P[b] for _, b, _ in RODS]
_EARS = [_P["left_ear"], _P["right_ear"]]
_RADIUS_M = np.array([*(r for _, _, r in RODS), HEAD_RADIUS_M])
_BEHIND_M = np.array([*(r + BEYOND_M for _, _, r in RODS), 0.03])
_FAR = 10.0
"""Points farther out than this many pictures are held there."""
_BLOCK = {"cpu": 64, "cuda": 8192}
"""Frames whose visibility is found at once: as much as fits the cache."""


def channels_first(values: torch.Tensor) -> torch.Tensor:
    """(N, ..., T, B) contiguous, of (B, T, ..., N): nothing is copied if it lies in memory like that."""
    return values.permute(*reversed(range(values.ndim))).contiguous()


def frames_first(values: torch.Tensor) -> torch.Tensor:
    """A view (B, T, ..., N) of (N, ..., T, B)."""
    return values.permute(*reversed(range(values.ndim)))


def torch_tracks(
    proxies_world_m: torch.Tensor,
    landmarks_world_m: torch.Tensor,
    T_cam_world: torch.Tensor,
    focal_px: torch.Tensor,
    image_size_px: torch.Tensor,
    shutter: torch.Tensor,
) -> Tracks:
    """Truth of B takes of T frames as the noise model sees it, as tensors (B, T, ...).

    proxies_world_m (B, T, 67, 3); landmarks_world_m (B, T, 33, 3); T_cam_world (B, T, 4, 4); focal_px (B,);
    image_size_px (B, 2), the principal point in the middle; shutter (B,) share of the time between frames that the
    shutter is open, which is the share of a frame's motion that is blur.
    """
    size, focal = image_size_px.to(proxies_world_m.dtype).T, focal_px
    T = T_cam_world.permute(2, 3, 1, 0).contiguous()
    cam, body = (_in_camera(T, channels_first(p)) for p in (proxies_world_m, landmarks_world_m))
    behind = cam[2] <= 1e-6
    depth = torch.where(behind, 1.0, cam[2])
    xy = torch.empty_like(cam[:2])
    for i in range(2):
        torch.mul(cam[i] / depth, focal, out=xy[i])
        most = _FAR * size[i]
        xy[i] = torch.where(behind, -most, torch.clamp(xy[i] + size[i] / 2, -most, most))
    visible = visibility(xy, cam, size)
    visible.masked_fill_(behind, OUT)
    blur = _blur(xy, behind) * shutter
    return Tracks(
        frames_first(xy),
        frames_first(cam),
        frames_first(body),
        frames_first(visible),
        frames_first(blur),
        focal_px,
        image_size_px,
    )


def _in_camera(T: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(3, N, T, B) points in the axes of cameras (4, 4, T, B)."""
    out = torch.empty_like(points)
    for i in range(3):
        torch.mul(points[0], T[i, 0], out=out[i])
        out[i].addcmul_(points[1], T[i, 1]).addcmul_(points[2], T[i, 2]).add_(T[i, 3])
    return out


def _blur(xy: torch.Tensor, behind: torch.Tensor) -> torch.Tensor:
    """(N, T, B) way in the picture from half a frame before to half a frame after: half of that from the frame before
    to the frame after; 0 for points that come from behind the camera. At both ends, what the one neighbour says."""
    out = torch.zeros_like(xy[0])
    if xy.shape[2] < 2:
        return out
    step = torch.hypot(*(xy[:, :, 1:] - xy[:, :, :-1]))
    out[:, 0], out[:, -1] = step[:, 0], step[:, -1]
    torch.mul(torch.hypot(*(xy[:, :, 2:] - xy[:, :, :-2])), 0.5, out=out[:, 1:-1])
    near = behind.clone()
    near[:, 1:] |= behind[:, :-1]
    near[:, :-1] |= behind[:, 1:]
    return out.masked_fill_(near, 0.0)


def visibility(xy: torch.Tensor, cam: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """(67, T, B) uint8 OUT, HIDDEN or VISIBLE of proxies xy (2, 67, T, B) pixels, cam (3, 67, T, B) metres, in pictures
    of size (2, B): :func:`.tracks.visibility` in other steps."""
    flat = cam.reshape(3, NUM_PROXIES, -1)
    frames, hidden = flat.shape[-1], torch.empty(flat.shape[1:], dtype=torch.bool, device=cam.device)
    block = _BLOCK.get(cam.device.type, 1024)
    radius2 = torch.as_tensor(_RADIUS_M**2, dtype=cam.dtype, device=cam.device)[:, None]
    # A rod that the point belongs to would have to be far before it.
    margin = torch.as_tensor(_BEHIND_M[:, None] + 1e6 * OWN_ROD.T, dtype=cam.dtype, device=cam.device)[..., None]
    for begin in range(0, frames, block):
        part = flat[..., begin : begin + block]
        head = part[:, _EARS].mean(1, keepdim=True)
        a, b = (torch.cat([part[:, rows], head], dim=1) for rows in (_BEGIN, _END))
        hidden[:, begin : begin + block] = _hidden(part, a, b - a, radius2, margin)
    inside = (xy >= 0) & (xy <= (size - 1)[:, None, None])
    inside = inside[0] & inside[1] & (cam[2] > 0)
    seen = torch.where(hidden.reshape(inside.shape), HIDDEN, VISIBLE)
    return torch.where(inside, seen, OUT).to(torch.uint8)


def _hidden(
    point: torch.Tensor, start: torch.Tensor, along: torch.Tensor, radius2: torch.Tensor, margin: torch.Tensor
) -> torch.Tensor:
    """(67, n) whether any of L rods start + share * along (3, L, n) passes before each point (3, 67, n), by margins
    (L, 67, 1) nearer to the camera."""
    distance = point.square().sum(0).sqrt_()
    ray = point / distance.clamp(min=1e-9)
    start_ray, along_ray = _dots(start, ray), _dots(along, ray)
    along2, start_along = along.square().sum(0)[:, None], (start * along).sum(0)[:, None]
    # Where the rod is nearest to the ray from the camera; the depth of that place, and its distance from the ray.
    share = torch.addcmul(-start_along, along_ray, start_ray)
    share.div_(torch.addcmul(along2, along_ray, along_ray, value=-1).clamp_(min=1e-9)).clamp_(0, 1)
    depth = start_ray.addcmul_(share, along_ray).clamp_(min=0)
    gap = torch.addcmul(2 * start_along, share, along2)
    gap = torch.addcmul((start.square().sum(0) - radius2)[:, None], share, gap).addcmul_(depth, depth, value=-1)
    return torch.maximum(gap, depth.sub_(distance).add_(margin)).amin(0) < 0


def _dots(rods: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
    """(L, 67, n) products of vectors (3, L, n) and (3, 67, n)."""
    out = rods[0][:, None] * rays[0]
    return out.addcmul_(rods[1][:, None], rays[1]).addcmul_(rods[2][:, None], rays[2])


def unit_ray(points: torch.Tensor) -> torch.Tensor:
    """(3, ...) unit vectors of (3, ...)."""
    return points / points.square().sum(0).sqrt_().clamp_(min=1e-9)


def along_ray(points: torch.Tensor, ray: torch.Tensor) -> torch.Tensor:
    """Points (3, N, n) turned by the shortest way that takes the ray (3, n) to the optical axis: the twin of
    :func:`.tracks.along_ray`."""
    x, y, z = unit_ray(ray)
    k = 1 / (1 + z).clamp_(min=1e-6)
    across = points[0] * x + points[1] * y
    back = torch.addcmul(points[2], across, k)
    return torch.stack([points[0] - x * back, points[1] - y * back, torch.addcmul(across, points[2], z)])
