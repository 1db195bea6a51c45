"""CSV: one row a frame, for spreadsheets, R, MATLAB and pandas. Units stand in the column names."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...models.face import ARKIT_NAMES
from ...models.motion import GROUP_NAMES
from ...models.skeleton import CONTACT_POINTS, JOINT_NAMES
from .files import atomic_path
from .prepare import Prepared
from .samples import even_times_s, in_up_axis, table_rows


def column_names(faces: int) -> tuple[str, ...]:
    """The header: frame, time_s, present, then for each joint its world position ``_x_m _y_m _z_m``, for each joint its
    rotation in its parent (pelvis: in the world) as quaternion ``_qw _qx _qy _qz``, contact, confidence, measured,
    reprojection_error_percent, and ``faces`` face weights."""
    return (
        "frame", "time_s", "present",
        *(f"{joint}_{axis}_m" for joint in JOINT_NAMES for axis in "xyz"),
        *(f"{joint}_q{axis}" for joint in JOINT_NAMES for axis in "wxyz"),
        *(f"contact_{point}" for point in CONTACT_POINTS),
        *(f"confidence_{group}" for group in GROUP_NAMES),
        *(f"measured_{group}" for group in GROUP_NAMES),
        "reprojection_error_percent",
        *(f"face_{shape}" for shape in ARKIT_NAMES[:faces]),
    )  # fmt: skip


def csv_lines(ready: Prepared) -> Iterator[str]:
    """The lines of the file, without line ends: header, then one a frame. Numbers have a point as decimal sign."""
    track = in_up_axis(ready)
    times_s, faces = even_times_s(ready), track.expression.shape[1]
    yield ",".join(column_names(faces))
    row = ",".join(
        ["%d,%.6f,%d"] + ["%.5f"] * 165 + ["%.6f"] * 220 + ["%.4f"] * 12 + ["%d"] * 8 + ["%s"] + ["%.4f"] * faces
    )
    for t, xyz, wxyz in table_rows(ready, track):
        error = track.reprojection_error[t]
        yield row % (
            t, times_s[t], track.present[t],
            *xyz.tolist(), *wxyz.tolist(),
            *track.contact[t].tolist(), *track.confidence[t].tolist(), *track.measured[t].tolist(),
            f"{error:.4f}" if np.isfinite(error) else "", *track.expression[t].tolist(),
        )  # fmt: skip


def export(ready: Prepared, path: Path) -> None:
    """Write a take as CSV. Raises HmcapError where the file cannot be written."""
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in csv_lines(ready))
