"""Batches of people who move before cameras: the truth that the motion networks are trained on.

Every take shows a window of the motion bank in another guise: faster or slower, mirrored, with the upper body of
another window, with joints a little off, on a body of another shape, with other hands (:mod:`.people`). Feet that stand
go on standing where they are (:mod:`.standing`), and a camera films it (:mod:`.cameras`).

    maker = SceneMaker(load_bank("bank"), load_body())
    scene = maker.draw(torch.Generator().manual_seed(1), takes=64, frames=160)
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from ...models.body_stages import BodyModel
from ...models.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS
from .bank_files import Bank
from .cameras import CameraSettings, draw_cameras
from .draws import Draws
from .kinematics import BY_DEPTH, carried_points, forward, rotation_matrices, write_frames_first
from .people import People, PeopleMaker, PeopleSettings
from .records import Scene
from .standing import feet_rig, stand

RATE_HZ = 30.0
_CHUNK_FRAMES = 1280
"""Frames that go through the kinematics together on a CPU, so that their arrays stay in its cache."""


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What varies, and how much."""

    people: PeopleSettings = field(default_factory=PeopleSettings)
    cameras: CameraSettings = field(default_factory=CameraSettings)


class SceneMaker:
    """Makes scenes from a motion bank, all on one device."""

    def __init__(
        self,
        bank: Bank,
        body: BodyModel,
        device: str | torch.device = "cpu",
        settings: SceneSettings | None = None,
    ) -> None:
        """bank: as ``load_bank`` opens it; it is copied to the device. body: the numpy body model."""
        self.device, self.settings = torch.device(device), settings or SceneSettings()
        self._people = PeopleMaker(bank, self.device, self.settings.people)
        self._points = carried_points(body, self.device)
        self._feet = feet_rig(body, self.device)
        self._parents = torch.tensor(np.maximum(PARENTS, 0), device=self.device)
        self._by_depth = torch.tensor(BY_DEPTH, device=self.device)
        self._joints = torch.tensor(np.asarray(body.J_template), dtype=torch.float32, device=self.device)
        directions = np.asarray(body.J_shapedirs)[..., :10]
        self._joint_directions = torch.tensor(directions, dtype=torch.float32, device=self.device)

    @torch.no_grad()
    def draw(self, generator: torch.Generator, takes: int, frames: int) -> Scene:
        """``takes`` takes of ``frames`` frames; the same state of the generator gives the same scene."""
        draws = Draws(generator, self.device)
        people = self._people.draw(draws, takes, frames)
        rest = self._joints + torch.einsum("jck,bk->bjc", self._joint_directions, people.betas)
        arrays = {
            name: torch.empty((takes, frames, *inner), device=self.device)
            for name, inner in {
                "R_local": (NUM_JOINTS, 3, 3),
                "joints_world_m": (NUM_JOINTS, 3),
                "proxies_world_m": (len(self._points.proxies), 3),
                "landmarks_world_m": (len(self._points.landmarks), 3),
                "feet_world_m": (4, 3),
                "contact": (4,),
            }.items()
        }
        step = takes if self.device.type != "cpu" else max(1, _CHUNK_FRAMES // frames)
        for begin in range(0, takes, step):
            rows = slice(begin, min(begin + step, takes))
            self._act(people.of(rows), rest[rows], {k: a[rows] for k, a in arrays.items()})
        cameras = draw_cameras(draws, arrays["proxies_world_m"], RATE_HZ, self.settings.cameras)
        return Scene(
            betas=people.betas,
            rest_joints_m=rest,
            **arrays,
            T_cam_world=cameras.T_cam_world,
            static=cameras.static,
            focal_px=cameras.focal_px,
            image_size_px=cameras.image_size_px,
        )

    def _act(self, people: People, rest: torch.Tensor, out: dict[str, torch.Tensor]) -> None:
        """Let some people move: fill the arrays of a Scene that do not depend on the camera."""
        motion, carriage = self._people.motion(people)
        R_local = rotation_matrices(motion.q)
        scale = (_leg_m(rest) / _leg_m(self._joints[None]))[:, None]
        offsets = self._feet.offsets_m(people.betas)
        pelvis_m = stand(R_local, rest, offsets, self._feet, motion.pelvis_m * scale, motion.contact, carriage)
        bones = (rest - rest[:, self._parents])[:, self._by_depth].permute(1, 2, 0)
        R_world, relative = forward(R_local[self._by_depth], bones)
        points = self._points
        places = points.places(R_world, relative, points.offsets_m(people.betas))
        places += pelvis_m
        for name, at in (
            ("joints_world_m", points.joints),
            ("proxies_world_m", points.proxies),
            ("landmarks_world_m", points.landmarks),
            ("feet_world_m", points.feet),
        ):
            write_frames_first(places[at], out[name])
        write_frames_first(R_local, out["R_local"])
        write_frames_first(motion.contact, out["contact"])


def _leg_m(joints_m: torch.Tensor) -> torch.Tensor:
    """(B,) length of thigh and shank, mean of both sides, of rest joints (B, 55, 3)."""
    parts = []
    for side in ("left", "right"):
        hip, knee, ankle = (joints_m[:, JOINT_NAMES.index(f"{side}_{n}")] for n in ("hip", "knee", "ankle"))
        parts.append((hip - knee).norm(dim=-1) + (knee - ankle).norm(dim=-1))
    return (parts[0] + parts[1]) / 2
