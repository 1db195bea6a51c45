"""What one step of training sees: scenes, measured with the landmark stage's noise, and their targets."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from ...models.observed import Observed, observed_of
from ..noise.batched import BatchedNoise, torch_tracks
from .masks import random_masks
from .records import Scene
from .targets import Targets, targets_of

Noise = Literal["measured", "gaussian"]
RATE_HZ = 30.0
SHUTTER = (0.1, 0.4)
"""Share of a frame in which the shutter is open: what moves meanwhile is blurred."""
CLEAR_SHARE, CLEAREST = 0.6, 0.25
"""Share of the takes that are clearer than the people whose landmarks were measured (small, dim, blurred, hidden), and
the least factor on the scatter of their landmarks."""
WRONG_LENS_SHARE, WRONG_LENS = 0.3, 0.2
"""Share of the takes whose focal length is not what it is taken for, and the spread of the logarithm of the error."""
GAUSSIAN_2D, GAUSSIAN_3D_M = 0.012, 0.04
"""Plain noise, for the ablation: share of the person's extent in the picture; metres."""


@dataclass(frozen=True)
class Batch:
    """B takes of T frames."""

    seen: Observed
    """With random masks, where they were asked for."""
    truth: Targets
    static: torch.Tensor
    """(B,) bool"""


class Scenes(Protocol):
    """What :class:`~hmcap.tools.training.scenes.SceneMaker` offers."""

    def draw(self, generator: torch.Generator, takes: int, frames: int) -> Scene:
        """Random scenes."""
        ...


@dataclass(frozen=True)
class Batches:
    """Draws batches."""

    scenes: Scenes
    measured: BatchedNoise
    noise: Noise = "measured"
    masks: bool = True
    """Whether input goes missing at random, beyond what the noise leaves out."""
    wrong_lens: bool = True
    clear: bool = True
    """Whether some takes are clearer than those that the noise was measured on."""

    @torch.no_grad()
    def draw(self, generator: torch.Generator, takes: int, frames: int) -> Batch:
        """A random batch, on the scenes' device."""
        scene = self.scenes.draw(generator, takes, frames)
        device = scene.betas.device

        def uniform(low: float, high: float) -> torch.Tensor:
            return low + (high - low) * torch.rand(takes, generator=generator, device=device)

        tracks = torch_tracks(
            scene.proxies_world_m,
            scene.landmarks_world_m,
            scene.T_cam_world,
            scene.focal_px,
            scene.image_size_px,
            uniform(*SHUTTER),
        )
        if self.noise == "measured":
            clear = torch.exp(uniform(0, 1) * math.log(CLEAREST))
            clear = torch.where(uniform(0, 1) < (CLEAR_SHARE if self.clear else 0.0), clear, 1.0)
            noisy = self.measured(generator, tracks, RATE_HZ, clear)
            px, confidence, body, hands = noisy.xy_px, noisy.confidence, noisy.body_xyz_m, noisy.hands_xyz_m
        else:
            px, confidence, body, hands = self._gaussian(generator, tracks, scene)
        stretch = believed_lens(generator, takes, device) if self.wrong_lens else torch.ones(takes, device=device)
        focal = (scene.focal_px * stretch)[:, None, None, None]
        xy = (px - scene.image_size_px[:, None, None, :] / 2) / focal
        confidence = confidence * (xy.abs().amax(-1) < 5)
        seen = observed_of(xy, confidence, body, hands)
        if self.masks:
            seen = random_masks(generator, seen)
        return Batch(seen, targets_of(scene, stretch), scene.static)

    def _gaussian(
        self, generator: torch.Generator, tracks, scene: Scene
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        px = tracks.xy_px
        device = px.device

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, device=device)

        size = (px[..., :25, :].amax(-2) - px[..., :25, :].amin(-2)).amax(-1)[..., None, None]
        image = scene.image_size_px[:, None, None, :]
        inside = ((px >= 0) & (px <= image - 1)).all(-1).to(px.dtype)
        noisy = px + normal(*px.shape) * size * GAUSSIAN_2D
        R, t = scene.T_cam_world[..., :3, :3], scene.T_cam_world[..., None, :3, 3]
        body = scene.landmarks_world_m @ R.transpose(-1, -2) + t
        body = body - (body[..., 23:24, :] + body[..., 24:25, :]) / 2
        hands = (scene.proxies_world_m[..., 25:, :] @ R.transpose(-1, -2) + t).unflatten(-2, (2, 21))
        hands = hands - hands.mean(-2, keepdim=True)
        return (
            noisy,
            inside,
            body + normal(*body.shape) * GAUSSIAN_3D_M,
            hands + normal(*hands.shape) * GAUSSIAN_3D_M / 4,
        )


def believed_lens(generator: torch.Generator, takes: int, device: torch.device) -> torch.Tensor:
    """(takes,) what the focal length is taken for, over what it is."""
    wrong = (torch.randn(takes, generator=generator, device=device) * WRONG_LENS).clamp(-0.4, 0.4)
    some = torch.rand(takes, generator=generator, device=device) < WRONG_LENS_SHARE
    return torch.exp(torch.where(some, wrong, 0.0))


class Draws(Protocol):
    """What makes batches."""

    def draw(self, generator: torch.Generator, takes: int, frames: int) -> Batch:
        """A random batch of about takes * frames frames."""
        ...


@dataclass(frozen=True)
class Mixture:
    """Batches of one kind or the other."""

    usual: Draws
    other: Draws
    share: float
    """Share of the batches that are of the other kind."""

    def draw(self, generator: torch.Generator, takes: int, frames: int) -> Batch:
        """A random batch."""
        draw = torch.rand((), generator=generator, device=generator.device)
        return (self.other if float(draw) < self.share else self.usual).draw(generator, takes, frames)
