"""MOT: joint angles over time in degrees, and beside it the OpenSim model (.osim) whose coordinates they are."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .coordinates import continuous_angles, coordinate_names
from .ends import bone_ends
from .files import atomic_path
from .markers import body_markers
from .osim import TRANSLATIONS, body_to_osim
from .prepare import Prepared
from .samples import even_times_s, rounded

MODEL_SUFFIX = ".osim"
COLUMNS = (*TRANSLATIONS, *coordinate_names())
"""(168,) columns after the time: the pelvis in the world in metres, then the angles in degrees."""


def take_coordinates(ready: Prepared) -> np.ndarray:
    """(T, 168) values of COLUMNS: metres and degrees. Angles are continuous over time."""
    track = ready.track
    angles = continuous_angles(track.poses).reshape(len(track), -1)
    return np.concatenate((ready.rest_joints_m[0] + track.trans_m, np.degrees(angles)), axis=1)


def mot_lines(name: str, columns: Sequence[str], times_s: np.ndarray, values: np.ndarray) -> Iterator[str]:
    """The lines of a MOT file, without line ends.

    Args:
        name: first line.
        columns: C names.
        times_s: (T,) seconds.
        values: (T, C) numbers, angles in degrees.
    """
    yield name
    yield "version=1"
    yield f"nRows={len(times_s)}"
    yield f"nColumns={len(columns) + 1}"
    yield "inDegrees=yes"
    yield "endheader"
    yield "\t".join(("time", *columns))
    row = "\t".join(["%.6f"] * (len(columns) + 1))
    for time_s, numbers in zip(times_s.tolist(), rounded(values, 6), strict=True):
        yield row % (time_s, *numbers.tolist())


def export(ready: Prepared, path: Path) -> None:
    """Write a take's joint angles as MOT and its body as NAME.osim beside it, each whole or not at all.

    Raises HmcapError where a file cannot be written.
    """
    name = re.sub(r"[^\w.-]+", "_", ready.name) or "take"  # OpenSim refuses names with blanks and slashes
    model = body_to_osim(name, ready.rest_joints_m, bone_ends(ready.body), body_markers(ready.body))
    lines = mot_lines(name, COLUMNS, even_times_s(ready), take_coordinates(ready))
    # The inner file takes its name first: no model stays alone.
    with atomic_path(path.with_suffix(MODEL_SUFFIX)) as model_part, atomic_path(path) as part:
        model_part.write_bytes(model.encode("utf-8"))
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
