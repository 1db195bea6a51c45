"""BVH: Y up, centimetres, degrees, a standing T-pose in the offsets.

The position channels of the root are absolute, as Blender, MotionBuilder and most readers take them; the root OFFSET
only says where the hips are in the rest pose. Rotation channels are Z, X, Y, composed in the order they are listed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...models.errors import HmcapError
from ...models.rotations import axis_angle_to_matrix
from .ends import bone_ends, floor_height_m
from .euler import continuous_euler_zxy, euler_zxy_to_matrix
from .files import atomic_path
from .prepare import Prepared
from .rig import Rig, make_rig
from .track import Track

CM_PER_M = 100.0
_BLOCK = 1024
"""Frames turned into angles at a time."""
_POSITION = ("Xposition", "Yposition", "Zposition")
_ROTATION = ("Zrotation", "Xrotation", "Yrotation")


def bvh_lines(track: Track, rig: Rig, fps: float, *, t_pose_frame: bool = False) -> Iterator[str]:
    """The lines of a BVH file, without line ends.

    Args:
        track: uniform motion, Y up (see :func:`~.track.uniform_track`).
        rig: the rest skeleton of the track's body shape.
        fps: frames a second of the track.
        t_pose_frame: put one frame of the rest pose before the motion.

    Numbers have a point as decimal sign.

    Raises:
        HmcapError: a number is not finite.
    """
    frames = len(track) + t_pose_frame
    yield from ("HIERARCHY", *_hierarchy(rig), "MOTION", f"Frames: {frames}", f"Frame Time: {1 / fps:.10f}")
    joints = list(rig.joints)
    row = " ".join(["%.6f"] * (3 + 3 * len(joints)))
    before = np.zeros((len(joints), 3))
    if t_pose_frame:
        yield row % (*(np.round(rig.offsets_m[0] * CM_PER_M, 6) + 0.0).tolist(), *(0.0,) * (3 * len(joints)))
    for begin in range(0, len(track), _BLOCK):
        some = slice(begin, begin + _BLOCK)
        root_cm = (rig.rest_pelvis_m + track.trans_m[some]) * CM_PER_M
        angles = continuous_euler_zxy(axis_angle_to_matrix(track.poses[some, joints]), before)
        before = angles[-1]
        values = np.concatenate((root_cm, np.degrees(angles).reshape(len(angles), -1)), axis=1)
        if not np.isfinite(values).all():
            raise HmcapError("Expected finite motion to write as BVH, found NaN or infinity. Capture the take again.")
        for frame in np.round(values, 6) + 0.0:  # Adding zero turns -0.0 into 0.0.
            yield row % tuple(frame.tolist())


def motion_to_bvh(track: Track, rig: Rig, fps: float, *, t_pose_frame: bool = False) -> str:
    """The text of a BVH file, with ``\\n`` line ends: :func:`bvh_lines`."""
    return "".join(f"{line}\n" for line in bvh_lines(track, rig, fps, t_pose_frame=t_pose_frame))


def save_bvh(lines: Iterable[str], path: str | Path) -> None:
    """Write the lines of a BVH file to ``path``, whole or not at all."""
    with atomic_path(path) as part, part.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _hierarchy(rig: Rig) -> list[str]:
    children = [[c for c, p in enumerate(rig.parents) if p == row] for row in range(len(rig.names))]

    def offset(xyz_m: np.ndarray) -> str:
        return "OFFSET " + " ".join(f"{v:.6f}" for v in np.round(xyz_m * CM_PER_M, 6) + 0.0)

    def joint(row: int, depth: int) -> list[str]:
        pad = "\t" * depth
        keyword, channels = ("JOINT", _ROTATION) if depth else ("ROOT", _POSITION + _ROTATION)
        lines = [f"{pad}{keyword} {rig.names[row]}", f"{pad}{{", f"{pad}\t{offset(rig.offsets_m[row])}"]
        lines.append(f"{pad}\tCHANNELS {len(channels)} {' '.join(channels)}")
        for child in children[row]:
            lines += joint(child, depth + 1)
        if row in rig.tips_m:
            lines += [f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\t{offset(rig.tips_m[row])}", f"{pad}\t}}"]
        return [*lines, f"{pad}}}"]

    return joint(0, 0)


@dataclass(frozen=True, slots=True)
class BvhMotion:
    """What :func:`read_bvh` finds in a file, in metres and radians."""

    names: tuple[str, ...]
    """(J,) joints in file order."""
    parents: tuple[int, ...]
    """(J,) row of the parent, -1 for the root."""
    offsets_m: np.ndarray
    """(J, 3) rest offsets."""
    tips_m: dict[int, np.ndarray]
    """Row of a leaf -> (3,) offset of its End Site."""
    root_m: np.ndarray
    """(T, 3) position of the root in the world."""
    R_parent_joint: np.ndarray
    """(T, J, 3, 3) local rotations."""
    channels_deg: np.ndarray
    """(T, J, 3) the angles as written, in the order Z, X, Y."""
    frame_time_s: float

    def positions_m(self) -> np.ndarray:
        """(T, J, 3) joint positions in the world."""
        R, xyz = np.empty_like(self.R_parent_joint), np.empty(self.R_parent_joint.shape[:-1])
        for row, parent in enumerate(self.parents):
            if parent < 0:
                R[:, row], xyz[:, row] = self.R_parent_joint[:, row], self.root_m
            else:
                R[:, row] = R[:, parent] @ self.R_parent_joint[:, row]
                xyz[:, row] = xyz[:, parent] + R[:, parent] @ self.offsets_m[row]
        return xyz


def read_bvh(text: str) -> BvhMotion:
    """Read BVH text that uses the channels this module writes.

    Raises:
        HmcapError: the text is not BVH, or uses other channels; says where.
    """
    head, _, tail = text.partition("MOTION")
    tokens = head.split()
    if tokens[:2] != ["HIERARCHY", "ROOT"]:
        raise _bad(f"the file to begin with HIERARCHY and ROOT, found {' '.join(tokens[:2]) or 'nothing'}")
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    tips: dict[int, np.ndarray] = {}
    open_rows: list[int] = []
    in_end_site, i = False, 1
    while i < len(tokens):
        word = tokens[i]
        if word in ("ROOT", "JOINT"):
            parents.append(open_rows[-1] if open_rows else -1)
            names.append(tokens[i + 1])
            open_rows.append(len(names) - 1)
            i += 3
        elif word == "End":
            in_end_site = True
            i += 3
        elif word == "OFFSET":
            xyz_cm = [float(v) for v in tokens[i + 1 : i + 4]]
            if in_end_site:
                tips[open_rows[-1]] = np.array(xyz_cm) / CM_PER_M
            else:
                offsets.append(xyz_cm)
            i += 4
        elif word == "CHANNELS":
            count = int(tokens[i + 1])
            wanted = _ROTATION if parents[-1] >= 0 else _POSITION + _ROTATION
            if tuple(tokens[i + 2 : i + 2 + count]) != wanted:
                raise _bad(
                    f"channels {' '.join(wanted)} at {names[-1]}, found {' '.join(tokens[i + 2 : i + 2 + count])}"
                )
            i += 2 + count
        elif word == "}":
            if in_end_site:
                in_end_site = False
            else:
                open_rows.pop()
            i += 1
        else:
            raise _bad(f"a joint, an offset or channels, found {word!r}")
    timing = re.match(r"\s*Frames:\s*(\d+)\s*Frame Time:\s*(\S+)", tail)
    if timing is None:
        raise _bad("'Frames:' and 'Frame Time:' after MOTION, found neither")
    frames, width = int(timing[1]), 3 + 3 * len(names)
    values = np.array(tail[timing.end() :].split(), dtype=np.float64)
    if values.size != frames * width:
        raise _bad(f"{frames} frames of {width} numbers, found {values.size} numbers")
    values = values.reshape(frames, width)
    channels_deg = values[:, 3:].reshape(frames, len(names), 3)
    return BvhMotion(
        names=tuple(names),
        parents=tuple(parents),
        offsets_m=np.array(offsets) / CM_PER_M,
        tips_m=tips,
        root_m=values[:, :3] / CM_PER_M,
        R_parent_joint=euler_zxy_to_matrix(np.radians(channels_deg)),
        channels_deg=channels_deg,
        frame_time_s=float(timing[2]),
    )


def _bad(what: str) -> HmcapError:
    return HmcapError(f"This BVH cannot be read: expected {what}. Export the take again with --to bvh.")


def export(ready: Prepared, path: Path) -> None:
    """Write a take's motion as BVH. Raises HmcapError where a number is not finite or the file cannot be written."""
    options = ready.options
    rig = make_rig(ready.rest_joints_m, options.joint_names, bone_ends(ready.body), floor_height_m(ready.body))
    save_bvh(bvh_lines(ready.track, rig, ready.fps, t_pose_frame=options.t_pose_frame), path)
