"""One picture that shows what a take is worth: overlay, landmarks, side view and the path over the floor.

    python -m hmcap.tools.contact_sheet take.hmcap [--video FILE] [--out sheet.png] [--frames 8 | --at 12,40,77]

Row 1: the body over the picture. Row 2: the captured skeleton as lines and the landmarks it was made from as dots.
Row 3: the body from its side, with the floor. Below: the path from above, heights and contact, reprojection error.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from ..models.camera import Camera
from ..models.errors import HmcapError, UsageError
from ..models.motion import MotionFrame
from ..models.proxies import Proxies
from ..realtime.exporters.files import atomic_path
from ..realtime.exporters.prepare import take_body
from ..realtime.journal_reading import read_take
from ..realtime.overlay import Figure, MeshRenderer, open_renderer
from ..realtime.overlay.projection import crop_camera, project
from ..realtime.overlay.skeleton import (
    LEFT,
    RIGHT,
    draw_contact,
    draw_ground,
    draw_proxies,
    draw_skeleton,
    draw_text,
)
from ..realtime.sources import open_source
from ..realtime.take import Take

CELL_H_PX = 480
PLOT_H_PX = 260
SIDE_RANGE_M = (-0.25, 2.25)
"""Heights over the floor that the side view spans."""
_SIDE_DISTANCE_M = 8.0
_PAPER, _INK, _FAINT = (250, 250, 248), (40, 40, 45), (205, 208, 212)


@dataclass(frozen=True, slots=True)
class Picked:
    """One frame that goes on the sheet."""

    motion: MotionFrame
    proxies: Proxies | None
    image_rgb: np.ndarray


def pick_frames(take: Take, count: int, at: Sequence[int] = ()) -> list[int]:
    """Frame numbers to show: those asked for, or ``count`` spread evenly over the frames with a person."""
    known = [m.index for m in take.motion]
    if at:
        missing = sorted(set(at) - set(known))
        if missing:
            raise UsageError(f"--at expects frames of the take ({known[0]} to {known[-1]}); found {missing}.")
        return sorted(set(at))
    seen = [m.index for m in take.motion if m.present] or known
    places = np.linspace(0, len(seen) - 1, min(count, len(seen)) + 2)[1:-1] if len(seen) > count else range(len(seen))
    return [seen[round(float(k))] for k in places]


def read_pictures(take: Take, video: str, wanted: Sequence[int]) -> list[Picked]:
    """The wanted frames of the source with their motion and landmarks."""
    motion = {m.index: m for m in take.motion}
    proxies = {p.index: p for p in take.proxies}
    picked = []
    with open_source(video, fps=take.fps if Path(video).is_dir() else None) as source:
        for frame in source:
            if frame.index in wanted:
                picked.append(Picked(motion[frame.index], proxies.get(frame.index), frame.image_rgb))
            if frame.index >= max(wanted):
                break
    if not picked:
        raise HmcapError(f"Expected frames {list(wanted)} in {video}, found none of them. Give the take's own --video.")
    return picked


def sheet(take: Take, picked: Sequence[Picked], figure: Figure, renderer: MeshRenderer, *, whole: bool) -> np.ndarray:
    """(H, W, 3) uint8 RGB contact sheet of the picked frames."""
    columns = [_column(p, figure, renderer, whole) for p in picked]
    width = max(c.shape[1] for c in columns)
    grid = np.concatenate([_pad_to(c, c.shape[0], width) for c in columns], axis=1)
    plots = _plots(take, figure, [p.motion.index for p in picked], max(grid.shape[1], 900))
    total = max(grid.shape[1], plots.shape[1])
    return np.concatenate([_pad_to(grid, grid.shape[0], total), _pad_to(plots, plots.shape[0], total)], axis=0)


def _column(picked: Picked, figure: Figure, renderer: MeshRenderer, whole: bool) -> np.ndarray:
    motion, posed = picked.motion, figure.pose(picked.motion)
    height, width = picked.image_rgb.shape[:2]
    camera = motion.camera.scaled_to(width, height)
    x0, y0, x1, y1 = (0, 0, width, height) if whole else _person_box(picked, posed.vertices_m, camera)
    # Cut out and scale first, so that lines are as thick on a small person as on a large one.
    mesh = lines = _cell(picked.image_rgb[y0:y1, x0:x1])
    cell = crop_camera(camera, x0, y0, x1 - x0, y1 - y0).scaled_to(mesh.shape[1], mesh.shape[0])
    T = motion.T_cam_world
    if motion.present:
        mesh = renderer.render(mesh, posed.vertices_m, figure.faces, T, cell)
        mesh = draw_contact(mesh, posed.foot_points_m, motion.contact, T, cell)
        lines = draw_skeleton(lines, posed.joints_m, T, cell)
    if picked.proxies is not None and picked.proxies.present:
        to_picture = np.divide((width, height), picked.proxies.image_size_px)
        moved = replace(
            picked.proxies, xy_px=picked.proxies.xy_px * to_picture - (x0, y0), image_size_px=(x1 - x0, y1 - y0)
        )
        lines = draw_proxies(lines, moved, bones=False)
    error = "" if np.isnan(motion.reprojection_error) else f"  err {motion.reprojection_error:.1f} %"
    mesh = draw_text(mesh, [f"frame {motion.index}  {motion.stamp_s:.2f} s{error}"])
    cells = [mesh, lines, side_view(motion, figure, renderer)]
    wide = max(c.shape[1] for c in cells)
    return np.concatenate([_pad_to(c, CELL_H_PX, wide) for c in cells], axis=0)


def side_view(motion: MotionFrame, figure: Figure, renderer: MeshRenderer, turn_deg: float = 90.0) -> np.ndarray:
    """(CELL_H_PX, W, 3) the body on the floor, seen level from beside the real line of sight; heights to scale."""
    posed = figure.pose(motion)
    pelvis = posed.joints_m[0]
    centre = -motion.T_cam_world[:3, :3].T @ motion.T_cam_world[:3, 3]
    away = (pelvis - centre) * (1, 0, 1)
    heading = np.arctan2(away[0], away[2]) + np.radians(turn_deg)
    forward = np.array([np.sin(heading), 0, np.cos(heading)])
    down = np.array([0.0, -1.0, 0.0])
    eye_y = 1.0
    eye = np.array([pelvis[0], eye_y, pelvis[2]]) - forward * _SIDE_DISTANCE_M
    T = np.eye(4)
    T[:3, :3] = np.stack((np.cross(down, forward), down, forward))
    T[:3, 3] = -T[:3, :3] @ eye
    low, high = SIDE_RANGE_M
    focal = CELL_H_PX * _SIDE_DISTANCE_M / (high - low)
    width = round(CELL_H_PX * 0.8)
    camera = Camera(width, CELL_H_PX, focal, focal, width / 2, CELL_H_PX * (high - eye_y) / (high - low))
    paper = np.full((CELL_H_PX, width, 3), _PAPER, np.uint8)
    paper = draw_ground(paper, T, camera, pelvis, half_m=2.0, colour=_FAINT)
    floor = round(CELL_H_PX * high / (high - low))
    cv2.line(paper, (0, floor), (width, floor), _INK, 1)
    out = renderer.render(paper, posed.vertices_m, figure.faces, T, camera, opacity=0.95)
    out = draw_contact(out, posed.foot_points_m, motion.contact, T, camera)
    state = "" if motion.present else "  (held)"
    return draw_text(out, [f"side  lowest point {100 * posed.vertices_m[:, 1].min():+.1f} cm{state}"])


def _person_box(picked: Picked, vertices_m: np.ndarray, camera: Camera) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 around body and landmarks with a margin, inside the picture."""
    points: list[np.ndarray] = [np.empty((0, 2))]
    if picked.motion.present:
        points.append(project(vertices_m, picked.motion.T_cam_world, camera))
    if picked.proxies is not None:
        points.append(picked.proxies.xy_px[picked.proxies.confidence > 0])
    xy = np.concatenate(points)
    xy = xy[np.isfinite(xy).all(axis=1)]
    size = np.array([camera.width_px, camera.height_px])
    xy = xy[((xy > -0.5 * size) & (xy < 1.5 * size)).all(axis=1)]
    if len(xy) == 0:
        return 0, 0, camera.width_px, camera.height_px
    margin = 0.12 * np.ptp(xy, axis=0).max() + 8
    x0, y0 = np.clip(np.floor(xy.min(axis=0) - margin), 0, size - 1).astype(int)
    x1, y1 = np.clip(np.ceil(xy.max(axis=0) + margin), (x0 + 1, y0 + 1), size).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


def _cell(part: np.ndarray) -> np.ndarray:
    """The picture as large as it fits into one cell of the sheet."""
    factor = min(CELL_H_PX / part.shape[0], 1.6 * CELL_H_PX / part.shape[1])
    size = max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor))
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def _pad_to(image_rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture in the middle of a paper-coloured one of the given size."""
    out = np.full((height, width, 3), _PAPER, np.uint8)
    y, x = (height - image_rgb.shape[0]) // 2, (width - image_rgb.shape[1]) // 2
    out[y : y + image_rgb.shape[0], x : x + image_rgb.shape[1]] = image_rgb
    return out


def _plots(take: Take, figure: Figure, marks: Sequence[int], width: int) -> np.ndarray:
    """The path from above, heights with contact, and the reprojection error, side by side."""
    posed = [figure.pose(m, skin=False) for m in take.motion]
    pelvis = np.array([p.joints_m[0] for p in posed])
    feet = np.array([p.foot_points_m for p in posed])
    index = np.array([m.index for m in take.motion])
    contact = np.array([m.contact for m in take.motion]) > 0.5
    error = np.array([m.reprojection_error for m in take.motion], dtype=np.float64)
    centres = np.array([-m.T_cam_world[:3, :3].T @ m.T_cam_world[:3, 3] for m in take.motion])
    top = _top_view(pelvis, centres)
    rest = width - top.shape[1]
    curves = {
        "pelvis": (pelvis[:, 1], _INK),
        "left foot": (feet[:, :2, 1].min(axis=1), LEFT),
        "right foot": (feet[:, 2:, 1].min(axis=1), RIGHT),
    }
    title = "height of pelvis and feet (m); bars: heel and toe on the ground"
    heights = _chart(rest // 2, index, curves, title, marks, contact)
    errors = _chart(rest - rest // 2, index, {"": (error, _INK)}, "reprojection error (% of height)", marks)
    return np.concatenate([top, heights, errors], axis=1)


def _top_view(pelvis: np.ndarray, centres: np.ndarray) -> np.ndarray:
    size, edge = PLOT_H_PX, 40
    out = np.full((size, size, 3), _PAPER, np.uint8)
    points = np.concatenate((pelvis, centres))[:, [0, 2]]
    middle, span = (points.min(0) + points.max(0)) / 2, max(float(np.ptp(points, axis=0).max()), 1.0)

    def at(xz: np.ndarray) -> np.ndarray:
        # Seen from above with +Z, where the rest pose looks, towards the reader.
        return np.round((xz - middle) / span * (size - 2 * edge) + size / 2).astype(int)

    step = 1.0 if span < 12 else 5.0
    for line in np.arange(np.floor(points.min() - span), np.ceil(points.max() + span), step):
        x, z = at(np.array([line, line]))
        cv2.line(out, (int(x), 0), (int(x), size), _FAINT, 1)
        cv2.line(out, (0, int(z)), (size, int(z)), _FAINT, 1)
    path = at(pelvis[:, [0, 2]])
    colours = cv2.applyColorMap(np.linspace(0, 255, len(path)).astype(np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)[:, 0]
    for a, b, colour in zip(path[:-1], path[1:], colours, strict=False):
        cv2.line(out, a.tolist(), b.tolist(), colour[::-1].tolist(), 2, cv2.LINE_AA)
    for centre in at(centres[:, [0, 2]])[:: max(1, len(centres) // 40)]:
        cv2.drawMarker(out, centre.tolist(), (200, 40, 40), cv2.MARKER_TRIANGLE_UP, 8, 1, cv2.LINE_AA)
    return draw_text(out, [f"from above, grid {step:g} m, red: camera"], scale=1.1)


def _chart(
    width: int,
    index: np.ndarray,
    curves: dict[str, tuple[np.ndarray, tuple[int, int, int]]],
    title: str,
    marks: Sequence[int],
    contact: np.ndarray | None = None,
) -> np.ndarray:
    height, left, bottom, top = PLOT_H_PX, 44, 22, 30
    out = np.full((height, width, 3), _PAPER, np.uint8)
    values = np.concatenate([v for v, _ in curves.values()])
    values = values[np.isfinite(values)]
    low, high = (min(0.0, float(values.min())), float(values.max())) if values.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    span = max(1, int(index[-1] - index[0]))

    def place(i: np.ndarray, v: np.ndarray) -> np.ndarray:
        x = left + (i - index[0]) / span * (width - left - 8)
        y = height - bottom - (v - low) / (high - low) * (height - bottom - top)
        return np.stack((x, y), axis=-1)

    for value in np.linspace(low, high, 5):
        y = round(float(place(index[:1], np.array([value]))[0, 1]))
        cv2.line(out, (left, y), (width, y), _FAINT, 1)
        cv2.putText(out, f"{value:.2f}", (2, y + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.36, _INK, 1, cv2.LINE_AA)
    for mark in marks:
        x = round(float(place(np.array([mark]), np.array([low]))[0, 0]))
        cv2.line(out, (x, top), (x, height - bottom), (225, 190, 120), 1)
    for v, colour in curves.values():
        points = place(index, v)
        for a, b in pairwise(points):
            if np.isfinite(a).all() and np.isfinite(b).all():
                cv2.line(
                    out, np.round(a).astype(int).tolist(), np.round(b).astype(int).tolist(), colour, 1, cv2.LINE_AA
                )
    if contact is not None:
        for row, colour in enumerate((LEFT, LEFT, RIGHT, RIGHT)):
            for i in index[contact[:, row]]:
                x0, x1 = (round(float(x)) for x in place(np.array([i, i + 1]), np.zeros(2))[:, 0])
                cv2.rectangle(out, (x0, height - 18 + 4 * row), (x1, height - 17 + 4 * row), colour, -1)
    return draw_text(out, [title], scale=1.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit code 0, 1 (input) or 2 (usage)."""
    parser = argparse.ArgumentParser(prog="contact_sheet", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("take", type=Path, help="the take (.hmcap)")
    parser.add_argument("--video", help="footage, where it is no longer where the take says")
    parser.add_argument("--out", type=Path, help="PNG to write (default: beside the take)")
    parser.add_argument("--frames", type=int, default=8, help="how many frames (default 8)")
    parser.add_argument("--at", help="these frames instead, for example 12,40,77")
    parser.add_argument("--whole", action="store_true", help="whole pictures instead of the part around the person")
    parser.add_argument("--renderer", default="auto", help="auto, gl or drawn")
    options = parser.parse_args(arguments)
    try:
        at = [int(k) for k in options.at.split(",")] if options.at else []
    except ValueError:
        parser.error(f"--at expects frame numbers with commas between, found {options.at!r}")
    try:
        take = read_take(options.take)
        if not take.motion:
            raise HmcapError(f"Expected motion in {options.take}, found none. Solve or capture the take first.")
        picked = read_pictures(take, options.video or take.header.source, pick_frames(take, options.frames, at))
        with contextlib.closing(open_renderer(options.renderer)) as renderer:
            picture = sheet(take, picked, Figure(take_body(take)), renderer, whole=options.whole)
        out = options.out or options.take.with_suffix(".sheet.png")
        ok, data = cv2.imencode(".png", picture[:, :, ::-1])
        if not ok:
            raise HmcapError(f"Expected to encode a PNG of {picture.shape[1]}x{picture.shape[0]}; OpenCV could not.")
        with atomic_path(out) as part:
            part.write_bytes(data.tobytes())
    except HmcapError as err:
        print(f"contact_sheet: {err}", file=sys.stderr)
        return err.exit_code
    print(f"{out}: {len(picked)} frames, {renderer.description}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
