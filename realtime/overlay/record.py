"""The overlay video of a take: the source again, with the captured body over it."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from ...engines import registry
from ...models.errors import HmcapError, UsageError
from ...models.motion import GROUP_NAMES, MotionFrame
from ..exporters.files import atomic_path
from ..exporters.prepare import take_body
from ..frames import Frame, Source
from ..sources import SAMPLES, open_source
from ..take import Take
from .choose import open_renderer
from .figure import Figure
from .mesh import SKIN, MeshRenderer
from .skeleton import draw_contact, draw_proxies, draw_skeleton, draw_text
from .video import VideoWriter, first_picture_s

STYLES = ("mesh", "skeleton")
MAX_SIDE_PX = 1920
COLOURS = (
    SKIN, (236, 158, 108), (140, 206, 140), (214, 142, 214), (232, 208, 110), (120, 208, 208), (226, 132, 132),
    (176, 176, 176),
)  # fmt: skip
"""RGB of the first and of every further person of a run."""
_SAME_FRAME_S = 0.5
"""Stamps of one frame in take and source may differ by this much before it counts as another video."""


@dataclass(frozen=True, slots=True)
class OverlayReport:
    """What was written, for the end-of-run report."""

    path: Path
    frames: int
    renderer: str
    """``overlay: moderngl (llvmpipe)``, ``overlay: drawn (no GL context: ...)`` or ``overlay: skeleton``."""
    codec: str
    warnings: tuple[str, ...]


def write_overlay(
    take: Take | Sequence[Take],
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
        take: the recorded take, or those of several people in the same footage, each drawn in a colour of their own.
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
    if style not in STYLES:
        raise UsageError(f"The overlay style is one of {', '.join(STYLES)}; found {style!r}.")
    takes = [take] if isinstance(take, Take) else list(take)
    take = takes[0]
    if not all(t.motion for t in takes):
        raise HmcapError("Expected frames to draw, but the take is empty. Capture again and let it run longer.")
    first, last = take.motion[0], take.motion[-1]
    mesh = open_renderer(renderer) if style == "mesh" else None
    with contextlib.ExitStack() as stack:
        painter = _Painter(takes, mesh)
        stack.callback(painter.close)
        video = source if isinstance(source, Source) else stack.enter_context(_reopen(source, first, last, take.fps))
        # Left in the opposite order: the writer ends the file, then the file takes its final name.
        part = stack.enter_context(atomic_path(path))
        writer, start_s, done = None, 0.0, 0
        for frame in video:
            if frame.index < first.index:
                continue
            if frame.index > last.index:
                break
            image = fit(frame.image_rgb, max_side_px)
            if writer is None:
                start_s = frame.stamp_s
                height, width = image.shape[:2]
                sound, offset_s = _sound_of(video)
                writer = stack.enter_context(VideoWriter(part, width, height, take.fps, sound, offset_s + start_s))
            writer.write(painter.paint(image, frame, video.name), frame.stamp_s - start_s)
            done += 1
            if progress is not None:
                progress(done, last.index - first.index + 1)
        if writer is None:
            raise HmcapError(
                f"Expected frames {first.index} to {last.index} of the take in {video.name}, but it has none of them. "
                "Give the video that the take was captured from."
            )
    return OverlayReport(Path(path), done, f"overlay: {painter.description}", writer.codec, tuple(writer.warnings))


def fit(image_rgb: np.ndarray, max_side_px: int) -> np.ndarray:
    """The picture, scaled down where its longer side exceeds ``max_side_px``."""
    height, width = image_rgb.shape[:2]
    factor = max_side_px / max(height, width)
    if factor >= 1:
        return image_rgb
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)


def hud_lines(
    index: int, stamp_s: float, fps: float, motion: MotionFrame | None, *others: MotionFrame | None
) -> list[str]:
    """The lines of text in the corner of one frame; one for each person where ``others`` gives more than the first."""
    lines = [f"frame {index}   {stamp_s:.2f} s   {fps:.5g} fps"]
    if others:
        return lines + [f"p{k + 1}   {hud_lines(0, 0.0, 1.0, m)[-1]}" for k, m in enumerate((motion, *others))]
    if motion is None:
        return [*lines, "no record of this frame"]
    if not motion.present:
        return [*lines, "held: nobody in view"]
    touching = ["on" if c > 0.5 else "--" for c in motion.contact]
    lines.append(f"ground   L heel {touching[0]} toe {touching[1]}   R heel {touching[2]} toe {touching[3]}")
    held = [name.replace("_", " ") for name, real in zip(GROUP_NAMES, motion.measured, strict=True) if not real]
    return [*lines, f"held: {', '.join(held)}"] if held else lines


class _Painter:
    """Draws the figures of takes over the source's pictures; without a mesh renderer, as skeleton and landmarks."""

    def __init__(self, takes: Sequence[Take], renderer: MeshRenderer | None) -> None:
        self._figures, self._renderer, self._fps = [Figure(take_body(t)) for t in takes], renderer, takes[0].fps
        self._motion = [{frame.index: frame for frame in t.motion} for t in takes]
        self._proxies = [{} if renderer is not None else {p.index: p for p in t.proxies} for t in takes]
        self.description = "skeleton" if renderer is None else renderer.description

    def paint(self, image_rgb: np.ndarray, frame: Frame, video_name: str) -> np.ndarray:
        """The picture (the frame's own, perhaps scaled) with everything on it."""
        out, motions = image_rgb, [motion.get(frame.index) for motion in self._motion]
        motion = motions[0]
        if motion is not None and abs(motion.stamp_s - frame.stamp_s) > _SAME_FRAME_S:
            raise HmcapError(
                f"Expected the video this take was captured from, but frame {frame.index} is stamped "
                f"{frame.stamp_s:.3f} s in {video_name} and {motion.stamp_s:.3f} s in the take. Give the same video."
            )
        seen = [(k, m) for k, m in enumerate(motions) if m is not None and m.present]
        for k, m in sorted(seen, key=lambda pair: -_depth_m(pair[1])):  # who is farther away first
            out = self._draw(out, k, m)
        for proxies in (proxies.get(frame.index) for proxies in self._proxies):
            if proxies is not None and proxies.present:
                out = draw_proxies(out, proxies, bones=False)
        return draw_text(out, hud_lines(frame.index, frame.stamp_s, self._fps, *motions))

    def _draw(self, image_rgb: np.ndarray, k: int, motion: MotionFrame) -> np.ndarray:
        camera = motion.camera.scaled_to(image_rgb.shape[1], image_rgb.shape[0])
        T, posed = motion.T_cam_world, self._figures[k].pose(motion, skin=self._renderer is not None)
        if self._renderer is not None:
            colour, faces = COLOURS[k % len(COLOURS)], self._figures[k].faces
            out = self._renderer.render(image_rgb, posed.vertices_m, faces, T, camera, colour=colour)
        else:
            out = draw_skeleton(image_rgb, posed.joints_m, T, camera)
        return draw_contact(out, posed.foot_points_m, motion.contact, T, camera)

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()


def _depth_m(motion: MotionFrame) -> float:
    """About how far the body is from the camera; what its pelvis lacks to the root is the same for all."""
    return float(motion.T_cam_world[2, :3] @ motion.trans_m + motion.T_cam_world[2, 3])


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
