"""From a take to what every format is written from: one motion at an even rate, and the body that makes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...models.body import BodyModel, ShapedBody, forward_kinematics, load_body
from ...models.errors import HmcapError
from ...models.rotations import axis_angle_to_matrix
from ...models.sightings import believed
from ...models.streaming.take import cuts_in
from ..postprocess.chain import post_process
from .options import ExportOptions
from .track import Track, stack_motion

if TYPE_CHECKING:
    from ..take import Take

BLOCK_FRAMES = 2048
"""Frames whose rotation matrices are in memory at a time."""
_NO_FACE = "face: the body file names no face shapes, so GLB, USD and FBX show none; npz, csv and json keep the weights"


@dataclass(frozen=True, eq=False)
class Prepared:
    """Uniform motion and the body that makes it. Prepared once and given to every exporter of a run."""

    name: str
    """Short name of the footage."""
    track: Track
    """Y up."""
    fps: float
    body: ShapedBody
    """The body at the track's one shape, neutral face."""
    options: ExportOptions
    changes: tuple[str, ...] = ()
    """What post-processing changed, and what the body cannot show, a sentence each."""

    @cached_property
    def rest_joints_m(self) -> np.ndarray:
        """(55, 3) rest joints of that body, in double precision."""
        return np.asarray(self.body.joints_m, dtype=np.float64)

    def world(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (n, 55, 3, 3) and positions (n, 55, 3) in metres of every joint in the world, in some frames."""
        R_local = axis_angle_to_matrix(self.track.poses[rows])
        return forward_kinematics(R_local, self.rest_joints_m, self.track.trans_m[rows])

    def blocks(self) -> Iterator[slice]:
        """The frames, some at a time: all rotations of a long take at once would be gigabytes."""
        return (slice(begin, begin + BLOCK_FRAMES) for begin in range(0, len(self.track), BLOCK_FRAMES))

    @cached_property
    def positions_m(self) -> np.ndarray:
        """(T, 55, 3) every joint in the world, metres."""
        return np.concatenate([self.world(rows)[1] for rows in self.blocks()])


def take_body(take: "Take") -> BodyModel:
    """The body model that a take was captured with: the file its settings name, otherwise the built-in one."""
    betas = max((len(f.betas) for f in take.motion), default=0)
    path = take.header.settings.get("body")
    if not (path is None or isinstance(path, str)):
        raise HmcapError(
            f"Expected the path of a body file in the settings of this take, found {path!r}. Capture it again."
        )
    return load_body(path or None, num_betas=max(10, betas))


def prepare(take: "Take", options: ExportOptions) -> Prepared:
    """Stack the take's motion, settle on one body shape, and do to it what ``options`` ask for; at least bring it to a
    uniform frame rate.

    Raises:
        HmcapError: there is no person in the take or in the part of it that is asked for, or its body file is gone.
    """
    model = take_body(take)

    def rest_pelvis(betas: np.ndarray) -> np.ndarray:
        return np.asarray(model.rest_joints(betas)[0], dtype=np.float64)

    track = stack_motion(take.motion, rest_pelvis)
    body = model.with_shape(track.betas)
    cuts_s = [take.proxies[i].stamp_s for i in cuts_in(believed(take.proxies), take.camera)]
    track, fps, changes = post_process(track, take.fps, body, options, cuts_s)
    if track.expression.shape[1] and not model.expression_names:
        changes = (*changes, _NO_FACE)
    # a name on disk need not be UTF-8, and the formats are
    name = take.header.name.encode("utf-8", "replace").decode("utf-8")
    return Prepared(name, track, fps, body, options, changes)
