"""Rendered clips as takes to train on: what the landmark networks really saw, beside the exact truth.

The noise model makes up errors that are like the landmark networks' one by one; only their own errors hang together as
they do in footage. Clips are :mod:`hmcap.tools.rendering`'s measurement set; about a fifth is held out, by name.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch

from ...models.body import load_body
from ...models.errors import HmcapError
from ...models.markers import proxy_rig
from ...models.networks.mirror import (
    MIRRORED_CONTACT,
    MIRRORED_JOINTS,
    MIRRORED_MARKS,
    flip,
    flip_matrices,
    mirrored_observed,
)
from ...models.observed import Observed, observed_of
from ...models.rotations import axis_angle_to_matrix
from ..noise.observe import Observation, find_clips, observe
from ..rendering.truth import Truth, read_truth
from .batches import RATE_HZ, Batch, believed_lens
from .masks import random_masks
from .records import Scene
from .targets import Targets, targets_of

HELD_OUT_EVERY = 5
"""About one clip of so many is never trained on."""


def is_held_out(name: str) -> bool:
    """Whether the clip of that name is never trained on. The name alone decides: a clip that is added or lost moves no
    other."""
    return zlib.crc32(name.encode()) % HELD_OUT_EVERY == 0


class RenderedTakes:
    """Clips of one length, all in memory on one device, each also as its mirror image."""

    def __init__(self, folder: Path, part: Literal["train", "held out"], device: str | torch.device = "cpu") -> None:
        """folder: rendered clips; the landmark networks run over those whose landmarks are not kept beside them.

        Raises HmcapError where there is no clip, or clips differ in length or are not at the networks' frame rate.
        """
        found = find_clips(folder)
        clips = [c for c in found if is_held_out(c.name) == (part == "held out")]
        if not clips:
            raise HmcapError(
                f"Expected rendered clips to train on and others to hold out in {folder}, found {len(found)} in all, "
                f"none of them {'held out' if part == 'held out' else 'to train on'}. Render more: 50 are a start."
            )
        truths = [read_truth(c / "truth.npz") for c in clips]
        kinds = {(t.frames, float(t.fps)) for t in truths}
        if len(kinds) > 1 or next(iter(kinds))[1] != RATE_HZ:
            other = ", ".join(f"{n} frames at {fps:g} a second" for n, fps in sorted(kinds))
            raise HmcapError(
                f"Expected rendered clips of one length at {RATE_HZ:g} frames a second in {folder}, found {other}. "
                "Render the measurement set: python -m hmcap.tools.rendering --help."
            )
        seen = [_seen(o, t) for o, t in zip(observe(clips, tell=print), truths, strict=True)]
        self.frames = truths[0].frames
        self.xy = _tensor([s[0] for s in seen], device)
        self.confidence = _tensor([s[1] for s in seen], device)
        self.body_xyz_m = _tensor([s[2] for s in seen], device)
        self.hands_xyz_m = _tensor([s[3] for s in seen], device)
        scene = _scene(truths)
        self.scene = scene.map(lambda x: x.to(device))

    def __len__(self) -> int:
        return len(self.xy)

    @torch.no_grad()
    def take(
        self, which: torch.Tensor, stretch: torch.Tensor, mirrored: torch.Tensor
    ) -> tuple[Observed, Targets, torch.Tensor]:
        """What is seen, the truth, and whether the camera stands, of some clips (B,); stretch (B,): what the focal
        length is taken for, over what it is; mirrored (B,) bool."""
        xy = self.xy[which] / stretch[:, None, None, None]
        seen = observed_of(xy, self.confidence[which], self.body_xyz_m[which], self.hands_xyz_m[which])
        scene = self.scene.map(lambda x: x[which])
        truth = targets_of(scene, stretch)
        turned, image = mirrored_observed(seen), mirrored_targets(truth)
        seen = Observed(*(_where(mirrored, getattr(turned, f.name), getattr(seen, f.name)) for f in fields(Observed)))
        truth = Targets(*(_where(mirrored, getattr(image, f.name), getattr(truth, f.name)) for f in fields(Targets)))
        return seen, truth, scene.static


@dataclass(frozen=True)
class RenderedBatches:
    """Draws batches of rendered takes: mirrored or not, with a lens taken for another, with parts masked."""

    takes: RenderedTakes

    @torch.no_grad()
    def draw(self, generator: torch.Generator, takes: int, frames: int) -> Batch:
        """A random batch of takes in their own length, about takes * frames frames in all."""
        device = generator.device
        count = max(1, takes * frames // self.takes.frames)
        which = torch.randint(len(self.takes), (count,), generator=generator, device=device)
        mirrored = torch.rand(count, generator=generator, device=device) < 0.5
        seen, truth, static = self.takes.take(which, believed_lens(generator, count, device), mirrored)
        return Batch(random_masks(generator, seen), truth, static)

    def all(self) -> Batch:
        """Every take as it is."""
        which = torch.arange(len(self.takes), device=self.takes.xy.device)
        as_is = torch.zeros(len(which), dtype=torch.bool, device=which.device)
        return Batch(*self.takes.take(which, torch.ones(len(which), device=which.device), as_is))


def mirrored_targets(t: Targets) -> Targets:
    """The truth of the mirror image. Bodies are nearly the same on both sides, so their shape stays."""
    return Targets(
        betas=t.betas,
        rest_joints_m=t.rest_joints_m,
        R_local=flip_matrices(t.R_local[..., MIRRORED_JOINTS, :, :]),
        joints_m=flip(t.joints_m[..., MIRRORED_JOINTS, :]),
        points_m=flip(t.points_m[..., MIRRORED_MARKS, :]),
        root_cam_m=flip(t.root_cam_m),
        up_cam=flip(t.up_cam),
        height_m=t.height_m,
        step_m=flip(t.step_m),
        contact=t.contact[..., MIRRORED_CONTACT],
    )


def _where(some: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.where(some.view(-1, *[1] * (a.dim() - 1)), a, b)


def _tensor(arrays: Sequence[np.ndarray], device: str | torch.device) -> torch.Tensor:
    return torch.tensor(np.stack(arrays), dtype=torch.float32, device=device)


def _seen(o: Observation, truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Proxies (T, 67, 2) in normalised coordinates, lens distortion undone, their confidence, and the 3-D."""
    known = np.all(np.isfinite(o.xy_px), axis=-1)
    px = np.where(known[..., None], o.xy_px, truth.K[:2, 2])
    xy = cv2.undistortPoints(px.reshape(-1, 1, 2), truth.K, truth.dist).reshape(px.shape)
    far = np.any(np.abs(xy) > 5, axis=-1)
    body = np.where(o.present[:, None, None], o.body_xyz_m, np.nan)
    return xy, np.where(known & ~far, o.confidence, 0.0), body, o.hands_xyz_m


def _scene(truths: Sequence[Truth]) -> Scene:
    body = load_body()
    rig = proxy_rig(body)
    joints, proxies, rest = [], [], []
    for t in truths:
        shaped = body.with_shape(t.betas.astype(np.float32))
        posed = shaped.with_pose(t.poses.astype(np.float32), t.trans_m.astype(np.float32))
        joints.append(np.asarray(posed.joints_m))
        proxies.append(np.asarray(rig.in_world_m(posed)))  # the truth's own ride on the skin, which bends
        rest.append(np.asarray(shaped.joints_m))
    cam = np.stack([t.T_cam_world for t in truths])

    def every(name: str) -> torch.Tensor:
        return _tensor([getattr(t, name) for t in truths], "cpu")

    return Scene(
        betas=every("betas"),
        rest_joints_m=_tensor(rest, "cpu"),
        R_local=_tensor([axis_angle_to_matrix(t.poses) for t in truths], "cpu"),
        joints_world_m=_tensor(joints, "cpu"),
        proxies_world_m=_tensor(proxies, "cpu"),
        landmarks_world_m=torch.zeros(*cam.shape[:2], 33, 3),
        feet_world_m=every("feet_world_m"),
        contact=every("contact"),
        T_cam_world=_tensor(list(cam), "cpu"),
        static=torch.tensor(np.abs(cam - cam[:, :1]).max((1, 2, 3)) < 1e-6),
        focal_px=torch.tensor([float(t.K[0, 0]) for t in truths]),
        image_size_px=every("image_size_px"),
    )
