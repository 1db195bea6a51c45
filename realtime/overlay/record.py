"""Videos of a take: the source again with the captured body over it, or with the body alone beside it."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...engines import registry
from ...models.errors import HmcapError, UsageError
from ...models.motion import MotionFrame
from ...models.stacked import ByNumber
from ..exporters.files import atomic_path
from ..exporters.prepare import take_body
from ..frames import Source
from ..sources import SAMPLES, open_source
from ..take import Take
from .choose import open_renderer
from .figure import Figure
from .painters import COLOURS, OverlayPainter, Painter, Person, Shown, SidePainter
from .video import VideoWriter, first_picture_s

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
    take: Take | Sequence[Take],
    source: Source | str | Path,
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
    return write_videos(
        take, source, overlay=path, style=style, renderer=renderer, max_side_px=max_side_px, progress=progress
    )[0]


def write_videos(
    take: Take | Sequence[Take],
    source: Source | str | Path,
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
    seen from the side by a camera that follows it; ``take`` may be those of several people in both.
    """
    if style not in STYLES:
        raise UsageError(f"The overlay style is one of {', '.join(STYLES)}; found {style!r}.")
    takes = [take] if isinstance(take, Take) else list(take)
    take = takes[0]
    if not all(t.motion for t in takes):
        raise HmcapError("Expected frames to draw, but the take is empty. Capture again and let it run longer.")
    first, last = take.motion[0], take.motion[-1]
    people = [Person(t, Figure(take_body(t)), COLOURS[k % len(COLOURS)]) for k, t in enumerate(takes)]
    motions = [ByNumber(t.motion) for t in takes]
    skin = style == "mesh" or side_by_side is not None
    mesh = open_renderer(renderer) if skin else None
    with contextlib.ExitStack() as stack:
        painters: dict[Path, Painter] = {}
        if overlay is not None:
            painters[Path(overlay)] = OverlayPainter(people, mesh if style == "mesh" else None, max_side_px)
        if side_by_side is not None and mesh is not None:
            painters[Path(side_by_side)] = SidePainter(people, mesh, max_side_px)
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
            motion = motions[0].get(frame.index)
            if motion is not None and abs(motion.stamp_s - frame.stamp_s) > _SAME_FRAME_S:
                raise HmcapError(
                    f"Expected the video this take was captured from, but frame {frame.index} is stamped "
                    f"{frame.stamp_s:.3f} s in {video.name} and {motion.stamp_s:.3f} s in the take. Give the same "
                    "video."
                )
            shown = [_shown(p, motion.get(frame.index), skin) for p, motion in zip(people, motions, strict=True)]
            pictures = {path: painter.paint(frame, shown) for path, painter in painters.items()}
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


def _shown(person: Person, motion: MotionFrame | None, skin: bool) -> Shown:
    """The body is posed once for all the videos."""
    if motion is None or not motion.present:
        return Shown(motion, None)
    return Shown(motion, person.figure.pose(motion, skin=skin))


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
