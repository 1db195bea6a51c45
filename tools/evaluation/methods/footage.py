"""The pictures that a method is given of a case: from the first frame of the footage to the last row.

Where a case means one of several people (``Case.box_px``), every method, peers included, is given the same view: the
picture is cut to the rectangle that holds all boxes of the case, and in each frame what lies outside that frame's box
is painted grey. Boxes are first grown by a quarter of their size on each side; in frames between rows they are
interpolated. So the person meant is the one to be found, small people are seen large, and no method can follow
somebody else. Coordinates are brought back to the whole picture afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ....models.errors import HmcapError
from ....realtime.frames import Frame
from ....realtime.sources import open_source
from ..records import Case
from .fingerprint import last_frame

GROW = 0.25
"""Part of a box's size that is added on each of its sides."""
_GREY = 128


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The part of the pictures that shows the person meant."""

    rect_px: tuple[int, int, int, int]
    """Left, top, right, bottom (exclusive) of the part, in the whole picture."""
    boxes_px: np.ndarray | None
    """(frames, 4) int left, top, right, bottom in the whole picture: what is visible of each frame; None for all."""

    @property
    def shift_px(self) -> tuple[int, int]:
        """Added to positions in the part, gives those in the whole picture."""
        return self.rect_px[:2]

    def cut(self, image: np.ndarray, frame: int) -> np.ndarray:
        """(h, w, 3) the part of an (H, W, 3) picture, grey outside the frame's box."""
        left, top, right, bottom = self.rect_px
        if self.boxes_px is None:
            return image
        out = np.full((bottom - top, right - left, 3), _GREY, np.uint8)
        x0, y0, x1, y1 = (int(v) for v in self.boxes_px[frame])
        out[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
        return out


def view_of(case: Case) -> View:
    """The view of a case; all of the picture where it has no boxes.

    Raises HmcapError where no row has a box.
    """
    width, height = case.camera.width_px, case.camera.height_px
    if case.box_px is None:
        return View((0, 0, width, height), None)
    box = np.asarray(case.box_px, np.float64)
    known = np.isfinite(box).all(1) & (box[:, 2:] > 0).all(1)
    if box.shape != (case.frames, 4) or not known.any():
        raise HmcapError(
            f"Expected a box of the person meant in each of the {case.frames} rows of {case.set_name}/{case.name}, "
            f"found {box.shape} with {int(known.sum())} usable. Check the annotation of the set."
        )
    grow = GROW * box[:, 2:]
    corners = np.concatenate([box[:, :2] - grow, box[:, :2] + box[:, 2:] + grow], axis=1)[known]
    rows = case.index[known]
    frames = np.arange(last_frame(case) + 1)
    every = np.stack([np.interp(frames, rows, corners[:, k]) for k in range(4)], axis=1)
    limits = np.array([width, height, width, height])
    # at least one pixel, also of a box that lies outside the picture
    low = np.clip(np.floor(every[:, :2]), 0, limits[:2] - 1)
    high = np.maximum(np.clip(np.ceil(every[:, 2:]), 0, limits[2:]), low + 1)
    boxes = np.concatenate([low, high], axis=1).astype(np.int64)
    left, top = (int(v) for v in boxes[:, :2].min(0))
    right, bottom = (int(v) for v in boxes[:, 2:].max(0))
    return View((left, top, right, bottom), boxes)


def source_fps(case: Case) -> float | None:
    """Frame rate to read a folder of images at, so that its rows come at the case's rate; None for single pictures."""
    rows = case.index
    if case.fps <= 0 or len(rows) < 2:
        return None
    return case.fps * float(np.median(np.diff(rows)))


def pictures(case: Case, view: View) -> Iterator[Frame]:
    """The frames that a method may see, in order, from the first to the last row's, as ``view`` shows them.

    Raises HmcapError where the footage cannot be read, its pictures have not the camera's size, or it ends before the
    last row.
    """
    if case.footage is None:
        raise HmcapError(f"Expected footage in the case {case.set_name}/{case.name}, found proxies.")
    source, last, given = case.footage.source, last_frame(case), -1
    fps = source_fps(case) if source.is_dir() else None
    with open_source(source, fps=fps, max_frames=last + 1) as frames:
        camera = case.camera
        if (frames.width_px, frames.height_px) != (camera.width_px, camera.height_px):
            raise HmcapError(
                f"Expected pictures of {camera.width_px}x{camera.height_px} pixels in {source}, as the camera of "
                f"{case.set_name}/{case.name} says, found {frames.width_px}x{frames.height_px}. Use the footage as the "
                "set publishes it."
            )
        for frame in frames:
            if frame.index > last:
                break
            given = frame.index
            yield replace(frame, image_rgb=view.cut(frame.image_rgb, frame.index))
        if given < last:
            raise HmcapError(
                f"Expected at least {last + 1} frames in {source}, since the truth of {case.set_name}/{case.name} "
                f"reaches so far, found {given + 1}. Copy the footage again."
            )
