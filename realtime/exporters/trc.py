"""TRC: marker trajectories as OpenSim and Pose2Sim read them. Tab-separated, metres, seconds, Y up.

Frames without a person hold the pose, as in the animation formats: OpenSim's scaling and inverse kinematics fail on a
frame without markers. C3D, CSV and JSON say which frames these are.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .files import atomic_path
from .markers import MARKER_NAMES, take_markers_m
from .prepare import Prepared
from .samples import even_times_s, rounded


def trc_lines(
    file_name: str,
    names: Sequence[str],
    times_s: np.ndarray,
    xyz_m: np.ndarray,
    fps: float,
) -> Iterator[str]:
    """The lines of a TRC file, without line ends.

    Args:
        file_name: named in the first line.
        names: M markers.
        times_s: (T,) seconds.
        xyz_m: (T, M, 3) positions in a Y-up world.
        fps: frames a second.
    """
    count = len(times_s)
    rate = f"{fps:.10g}"
    yield f"PathFileType\t4\t(X/Y/Z)\t{file_name}"
    yield "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames"
    yield f"{rate}\t{rate}\t{count}\t{len(names)}\tm\t{rate}\t1\t{count}"
    yield "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t"
    yield "\t\t" + "\t".join(f"{axis}{m}" for m in range(1, len(names) + 1) for axis in "XYZ")
    yield ""
    row = "\t".join(("%d\t%.6f", *("%.6f",) * (3 * len(names))))
    numbers = rounded(xyz_m, 6).reshape(count, -1)
    for t in range(count):
        yield row % (t + 1, times_s[t], *numbers[t].tolist())


def export(ready: Prepared, path: Path) -> None:
    """Write a take's markers as TRC. Raises HmcapError where the file cannot be written."""
    lines = trc_lines(path.name, MARKER_NAMES, even_times_s(ready), take_markers_m(ready), ready.fps)
    with atomic_path(path) as part, part.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
