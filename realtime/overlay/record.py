"""Videos of a take: the source again with the captured body over it, or with the body alone beside it."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from ...engines import registry
from ...models.errors import HmcapError, UsageError
from ...models.motion import GROUP_NAMES, MotionFrame
from ..exporters.files import atomic_path
from ..exporters.prepare import take_body
from ..frames import Frame, Source
from ..sources import SAMPLES, open_source
from .choose import open_renderer
from .figure import Figure, Posed
from .mesh import MeshRenderer
from .side import SideView
from .skeleton import draw_contact, draw_proxies, draw_skeleton, draw_text
from .video import VideoWriter, first_picture_s

if TYPE_CHECKING:
    from ..take import Take

STYLES = ("mesh", "skeleton")
MAX_SIDE_PX = 1920
_SAME_FRAME_S = 0.5
"""Stamps of one frame in take and source may differ by this much before it counts as another video."""


@dataclass(frozen=True, slots=True)
class OverlayReport:
    """What was written, for the end-of-run report."""

    path: Path
    frames: int
    renderer: str
    """``overlay: moderngl (llvmpipe)``, ``overlay: drawn (no GL context: ...)``, ``overlay: skeleton`` or
    ``side by side: ...``."""
    codec: str
    warnings: tuple[str, ...]


def write_overlay(
    take: "Take",
    source: "Source | str | Path",
    path: str | Path,
    *,
    style: str = "mesh",
    renderer: str = "auto",
    max_side_px: int = MAX_SIDE_PX,
    progress: Callable[[int, int], None] | None = None,
) -> OverlayReport:
    """Write an mp4 of the source with the take's body drawn over it, frame by frame, at the source's own stamps.

    Frames that the take does not cover before its first and after its last frame are left out; one in between that has
    no record (dropped, or nobody in view) is shown without a body and says so. The source's sound is copied.

    Args:
        take: the recorded take.
        source: what the take was captured from, open or to be opened; a live source cannot be read again.
        path: the mp4 to write, whole or not at all.
        style: ``mesh`` or ``skeleton`` (captured skeleton and the landmarks it was made from).
        renderer: ``auto``, ``gl`` or ``drawn``; see :func:`~.choose.open_renderer`.
        max_side_px: the picture is scaled down until its longer side is at most this.
        progress: called with frames done and frames to do.

    Raises:
        UsageError: unknown style or renderer.
        HmcapError: the take is empty, the source cannot be read again or does not match, or the file cannot be written.
    """
    return write_videos(
        take, source, overlay=path, style=style, renderer=renderer, max_side_px=max_side_px, progress=progress
    )[0]


def write_videos(
    take: "Take",
    source: "Source | str | Path",
    *,
    overlay: str | Path | None = None,
    side_by_side: str | Path | None = None,
    style: str = "mesh",
    renderer: str = "auto",
    max_side_px: int = MAX_SIDE_PX,
    progress: Callable[[int, int], None] | None = None,
) -> list[OverlayReport]:
    """Write the overlay (see :func:`write_overlay`), the side-by-side video, or both in one pass over the source.

    The side-by-side video shows the source's picture and, on its right and as high, the body alone on a plain floor,
    seen from the side by a camera that follows it.
    """
    if style not in STYLES:
        raise UsageError(f"The overlay style is one of {', '.join(STYLES)}; found {style!r}.")
    if not take.motion:
        raise HmcapError("Expected frames to draw, but the take is empty. Capture again and let it run longer.")
    first, last = take.motion[0], take.motion[-1]
    by_index = {frame.index: frame for frame in take.motion}
    figure = Figure(take_body(take))
    skin = style == "mesh" or side_by_side is not None
    mesh = open_renderer(renderer) if skin else None
    with contextlib.ExitStack() as stack:
        painters: dict[Path, Painter] = {}
        if overlay is not None:
            painters[Path(overlay)] = _OverlayPainter(take, figure, mesh if style == "mesh" else None, max_side_px)
        if side_by_side is not None and mesh is not None:
            painters[Path(side_by_side)] = _SidePainter(take, figure, mesh, max_side_px)
        if mesh is not None:
            stack.callback(mesh.close)
        video = source if isinstance(source, Source) else stack.enter_context(_reopen(source, first, last, take.fps))
        # Left in the opposite order: the writers end their files, then the files take their final names.
        parts = {path: stack.enter_context(atomic_path(path)) for path in painters}
        writers: dict[Path, VideoWriter] = {}
        start_s, done = 0.0, 0
        for frame in video:
            if frame.index < first.index:
                continue
            if frame.index > last.index:
                break
            motion = by_index.get(frame.index)
            if motion is not None and abs(motion.stamp_s - frame.stamp_s) > _SAME_FRAME_S:
                raise HmcapError(
                    f"Expected the video this take was captured from, but frame {frame.index} is stamped "
                    f"{frame.stamp_s:.3f} s in {video.name} and {motion.stamp_s:.3f} s in the take. Give the same "
                    "video."
                )
            posed = figure.pose(motion, skin=skin) if motion is not None and motion.present else None
            pictures = {path: painter.paint(frame, motion, posed) for path, painter in painters.items()}
            if not writers:
                start_s = frame.stamp_s
                sound, offset_s = _sound_of(video)
                for path, image in pictures.items():
                    height, width = image.shape[:2]
                    writers[path] = stack.enter_context(
                        VideoWriter(parts[path], width, height, take.fps, sound, offset_s + start_s)
                    )
            for path, image in pictures.items():
                writers[path].write(image, frame.stamp_s - start_s)
            done += 1
            if progress is not None:
                progress(done, last.index - first.index + 1)
        if not writers:
            raise HmcapError(
                f"Expected frames {first.index} to {last.index} of the take in {video.name}, but it has none of them. "
                "Give the video that the take was captured from."
            )
    return [
        OverlayReport(path, done, painters[path].description, writer.codec, tuple(writer.warnings))
        for path, writer in writers.items()
    ]


def fit(image_rgb: np.ndarray, max_side_px: int) -> np.ndarray:
    """The picture, scaled down where its longer side exceeds ``max_side_px``."""
    height, width = image_rgb.shape[:2]
    factor = max_side_px / max(height, width)
    if factor >= 1:
        return image_rgb
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)


def hud_lines(index: int, stamp_s: float, fps: float, motion: MotionFrame | None) -> list[str]:
    """The lines of text in the corner of one frame."""
    lines = [f"frame {index}   {stamp_s:.2f} s   {fps:.5g} fps"]
    if motion is None:
        return [*lines, "no record of this frame"]
    if not motion.present:
        return [*lines, "held: nobody in view"]
    touching = ["on" if c > 0.5 else "--" for c in motion.contact]
    lines.append(f"ground   L heel {touching[0]} toe {touching[1]}   R heel {touching[2]} toe {touching[3]}")
    held = [name.replace("_", " ") for name, real in zip(GROUP_NAMES, motion.measured, strict=True) if not real]
    return [*lines, f"held: {', '.join(held)}"] if held else lines


class Painter(Protocol):
    """Makes the pictures of one video from those of the source."""

    description: str

    def paint(self, frame: Frame, motion: MotionFrame | None, posed: Posed | None) -> np.ndarray:
        """The picture, of the same size for every frame; ``posed`` is None where nobody is in view."""
        ...


class _OverlayPainter:
    """Draws one take's figure over the source's pictures; without a mesh renderer, as skeleton and landmarks."""

    def __init__(self, take: "Take", figure: Figure, renderer: MeshRenderer | None, max_side_px: int) -> None:
        self._figure, self._renderer, self._fps, self._max_side_px = figure, renderer, take.fps, max_side_px
        self._proxies = {} if renderer is not None else {proxies.index: proxies for proxies in take.proxies}
        self.description = f"overlay: {'skeleton' if renderer is None else renderer.description}"

    def paint(self, frame: Frame, motion: MotionFrame | None, posed: Posed | None) -> np.ndarray:
        out, proxies = fit(frame.image_rgb, self._max_side_px), self._proxies.get(frame.index)
        if motion is not None and posed is not None:
            camera, T = motion.camera.scaled_to(out.shape[1], out.shape[0]), motion.T_cam_world
            if self._renderer is not None:
                out = self._renderer.render(out, posed.vertices_m, self._figure.faces, T, camera)
            else:
                out = draw_skeleton(out, posed.joints_m, T, camera)
            out = draw_contact(out, posed.foot_points_m, motion.contact, T, camera)
        if proxies is not None and proxies.present:
            out = draw_proxies(out, proxies, bones=False)
        return draw_text(out, hud_lines(frame.index, frame.stamp_s, self._fps, motion))


class _SidePainter:
    """The source's picture, and beside it the body alone as seen from the side."""

    def __init__(self, take: "Take", figure: Figure, renderer: MeshRenderer, max_side_px: int) -> None:
        self._take, self._figure, self._renderer, self._max_side_px = take, figure, renderer, max_side_px
        self._view: SideView | None = None
        self.description = f"side by side: {renderer.description}"

    def paint(self, frame: Frame, motion: MotionFrame | None, posed: Posed | None) -> np.ndarray:
        image = frame.image_rgb
        height, left, right = side_by_side_size(image.shape[1], image.shape[0], self._max_side_px)
        if image.shape[:2] != (height, left):
            image = cv2.resize(image, (left, height), interpolation=cv2.INTER_AREA)
        if self._view is None:
            self._view = SideView(self._take.motion, self._figure, self._take.fps, right, height)
        contact = np.zeros(4) if motion is None else motion.contact
        side = self._view.paint(frame.index, posed, self._figure.faces, contact, self._renderer)
        side = draw_text(side, hud_lines(frame.index, frame.stamp_s, self._take.fps, motion))
        return np.concatenate((image, side), axis=1)


def side_by_side_size(width_px: int, height_px: int, max_side_px: int) -> tuple[int, int, int]:
    """Height, width of the left picture and width of the right one, whose longer side together is at most
    ``max_side_px``. The right one is as wide as the left one, but no wider than high: a body needs no more."""
    side = min(width_px, height_px)
    factor = min(1.0, max_side_px / max(height_px, width_px + side))
    height, left, right = (max(1, round(length * factor)) for length in (height_px, width_px, side))
    # Rounding up both halves may be one pixel too much.
    return height, left, max(1, min(right, max_side_px - left))


def _reopen(spec: str | Path, first: MotionFrame, last: MotionFrame, fps: float) -> Source:
    """The part of the source that the take covers, with half a frame of room on both sides."""
    # Pictures in a folder carry no rate of their own: they get the one they were captured at.
    video = open_source(str(spec), fps=fps if Path(spec).is_dir() else None)
    if video.live:
        video.close()
        raise HmcapError(
            f"Expected a video that can be read again, but {spec} is a live source. Record it to a file while "
            "capturing, and draw the overlay from that file."
        )
    start_s = max(0.0, first.stamp_s - 0.5 / fps)
    video.window = replace(video.window, start_s=start_s, end_s=last.stamp_s + 0.5 / fps, max_frames=None)
    return video


def _sound_of(video: Source) -> tuple[Path | None, float]:
    """The file that may hold sound, and the time on its clock at which the video's first picture lies."""
    path = registry.resolve(video.spec) if video.spec in SAMPLES and not Path(video.spec).exists() else Path(video.spec)
    if not path.is_file():
        return None, 0.0
    return path, first_picture_s(path)
