"""JSON: a take as one self-describing document, laid out in ``docs/take.schema.json``. Written frame by frame."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...models.face import ARKIT_NAMES
from ...models.motion import GROUP_NAMES
from ...models.skeleton import CONTACT_POINTS, JOINT_NAMES, PARENTS
from .files import atomic_path
from .prepare import Prepared
from .samples import even_times_s, in_up_axis, table_rows

FORMAT, VERSION = "hmcap-take", 1


def head(ready: Prepared) -> dict[str, object]:
    """Everything but the frames."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": ready.name,
        "fps": ready.fps,
        "frame_count": len(ready.track),
        "start_s": round(float(ready.track.stamps_s[0]), 6),
        "up_axis": ready.options.up,
        "units": {"length": "m", "time": "s", "rotation": "quaternion wxyz", "image": "px"},
        "joints": list(JOINT_NAMES),
        "parents": PARENTS.tolist(),
        "rest_joints_m": np.round(ready.rest_joints_m, 6).tolist(),
        "betas": np.round(ready.track.betas, 6).tolist(),
        "contact_points": list(CONTACT_POINTS),
        "groups": list(GROUP_NAMES),
        "face_shapes": list(ARKIT_NAMES[: ready.track.expression.shape[1]]),
    }


def json_parts(ready: Prepared) -> Iterator[str]:
    """The document in pieces of one frame."""
    track = in_up_axis(ready)
    times_s = even_times_s(ready)
    text = json.dumps(head(ready), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    yield text[:-1] + ',"frames":[\n'
    frame = (
        '{"time_s":%.6f,"present":%s,"positions_m":' + _rows(len(JOINT_NAMES), "%.5f", 3)
        + ',"rotations_wxyz":' + _rows(len(JOINT_NAMES), "%.6f", 4)
        + ',"contact":' + _row("%.4f", 4) + ',"confidence":' + _row("%.4f", 8) + ',"measured":' + _row("%s", 8)
        + ',"reprojection_error_percent":%s,"face":' + _row("%.4f", track.expression.shape[1])
        + ',"K_px":' + _rows(3, "%.3f", 3) + ',"T_cam_world":' + _rows(4, "%.6f", 4) + "}"
    )  # fmt: skip
    word = {True: "true", False: "false"}
    for t, xyz, wxyz in table_rows(ready, track):
        error = track.reprojection_error[t]
        yield (",\n" if t else "") + frame % (
            times_s[t], word[bool(track.present[t])],
            *xyz.tolist(), *wxyz.tolist(),
            *track.contact[t].tolist(), *track.confidence[t].tolist(), *(word[m] for m in track.measured[t].tolist()),
            f"{error:.4f}" if np.isfinite(error) else "null", *track.expression[t].tolist(),
            *track.K[t].ravel().tolist(), *track.T_cam_world[t].ravel().tolist(),
        )  # fmt: skip
    yield "\n]}\n"


def export(ready: Prepared, path: Path) -> None:
    """Write a take as JSON. Raises HmcapError where the file cannot be written."""
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json_parts(ready))


def _row(number: str, width: int) -> str:
    return "[" + ",".join([number] * width) + "]"


def _rows(count: int, number: str, width: int) -> str:
    return "[" + ",".join([_row(number, width)] * count) + "]"
