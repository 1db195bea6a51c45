"""What the pictures of the videos show: the bodies over the footage, or alone beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from ...models.motion import GROUP_NAMES, MotionFrame
from ...models.stacked import ByNumber
from ..frames import Frame
from ..take import Take
from .figure import Figure, Posed
from .mesh import SKIN, MeshRenderer
from .side import SideView
from .skeleton import draw_contact, draw_proxies, draw_skeleton, draw_text

COLOURS = (
    SKIN, (236, 158, 108), (140, 206, 140), (214, 142, 214), (232, 208, 110), (120, 208, 208), (226, 132, 132),
    (176, 176, 176),
)  # fmt: skip
"""RGB of the first and of every further person of a run."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person of a video, over the whole of it."""

    take: Take
    figure: Figure
    colour: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """One person in one frame."""

    motion: MotionFrame | None
    """None where the take has no record of the frame."""
    posed: Posed | None
    """None where the person is not in view."""


class Painter(Protocol):
    """Makes the pictures of one video from those of the source."""

    description: str

    def paint(self, frame: Frame, people: Sequence[Shown]) -> np.ndarray:
        """The picture, of the same size for every frame."""
        ...


class OverlayPainter:
    """Draws the people over the source's pictures; without a mesh renderer, as skeletons and landmarks."""

    def __init__(self, people: Sequence[Person], renderer: MeshRenderer | None, max_side_px: int) -> None:
        self._people, self._renderer, self._max_side_px = people, renderer, max_side_px
        self._fps = people[0].take.fps
        self._proxies = [] if renderer is not None else [ByNumber(one.take.proxies) for one in people]
        self.description = f"overlay: {'skeleton' if renderer is None else renderer.description}"

    def paint(self, frame: Frame, people: Sequence[Shown]) -> np.ndarray:
        out = fit(frame.image_rgb, self._max_side_px)
        for person, motion, posed in farthest_first(self._people, people):
            camera, T = motion.camera.scaled_to(out.shape[1], out.shape[0]), motion.T_cam_world
            if self._renderer is not None:
                faces = person.figure.faces
                out = self._renderer.render(out, posed.vertices_m, faces, T, camera, colour=person.colour)
            else:
                out = draw_skeleton(out, posed.joints_m, T, camera)
            out = draw_contact(out, posed.foot_points_m, motion.contact, T, camera)
        for proxies in (seen.get(frame.index) for seen in self._proxies):
            if proxies is not None and proxies.present:
                out = draw_proxies(out, proxies, bones=False)
        return draw_text(out, hud_lines(frame.index, frame.stamp_s, self._fps, *(p.motion for p in people)))


class SidePainter:
    """The source's picture, and beside it the bodies alone as seen from the side."""

    def __init__(self, people: Sequence[Person], renderer: MeshRenderer, max_side_px: int) -> None:
        self._people, self._renderer, self._max_side_px = people, renderer, max_side_px
        self._view: SideView | None = None
        self.description = f"side by side: {renderer.description}"

    def paint(self, frame: Frame, people: Sequence[Shown]) -> np.ndarray:
        image, fps = frame.image_rgb, self._people[0].take.fps
        height, left, right = side_by_side_size(image.shape[1], image.shape[0], self._max_side_px)
        if image.shape[:2] != (height, left):
            image = cv2.resize(image, (left, height), interpolation=cv2.INTER_AREA)
        if self._view is None:
            self._view = SideView([(p.take.motion, p.figure) for p in self._people], fps, right, height)
        bodies = [(b, posed, m.contact) for b, m, posed in farthest_first(self._people, people)]
        side = self._view.paint(
            frame.index, [(posed, b.figure.faces, contact, b.colour) for b, posed, contact in bodies], self._renderer
        )
        side = draw_text(side, hud_lines(frame.index, frame.stamp_s, fps, *(p.motion for p in people)))
        return np.concatenate((image, side), axis=1)


def farthest_first(people: Sequence[Person], shown: Sequence[Shown]) -> list[tuple[Person, MotionFrame, Posed]]:
    """Those in view, so that who is nearer to the camera is drawn over the others."""
    seen = [(p, s.motion, s.posed) for p, s in zip(people, shown, strict=True) if s.motion and s.posed]
    return sorted(seen, key=lambda one: -_depth_m(one[1]))


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


def side_by_side_size(width_px: int, height_px: int, max_side_px: int) -> tuple[int, int, int]:
    """Height, width of the left picture and width of the right one, whose longer side together is at most
    ``max_side_px``. The right one is as wide as the left one, but no wider than high: a body needs no more."""
    side = min(width_px, height_px)
    factor = min(1.0, max_side_px / max(height_px, width_px + side))
    height, left, right = (max(1, round(length * factor)) for length in (height_px, width_px, side))
    # Rounding up both halves may be one pixel too much.
    return height, left, max(1, min(right, max_side_px - left))


def _depth_m(motion: MotionFrame) -> float:
    """About how far the body is from the camera; what its pelvis lacks to the root is the same for all."""
    return float(motion.T_cam_world[2, :3] @ motion.trans_m + motion.T_cam_world[2, 3])
