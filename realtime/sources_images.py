"""A folder of still images as a video: natural order, a stated rate, focal length from EXIF."""

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ..models.errors import HmcapError
from .exif import focal_35mm_mm
from .frames import Frame, Source, SourceMetadata, Window

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""File names that count as images of a sequence, in any letter case."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which frame2 comes before frame10, whatever the case of the letters."""
    parts = re.findall(r"\d+|\D+", name.lower())
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)


class ImageFolderSource(Source):
    """The images of one folder in natural order of their names; frame i is stamped i / fps seconds."""

    def __init__(self, folder: Path, window: Window, fps: float) -> None:
        super().__init__(str(folder), folder.resolve().name or "images", window)
        found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
        self._paths = sorted((p for p in found if p.is_file()), key=lambda p: natural_key(p.name))
        if not self._paths:
            raise HmcapError(
                f"Expected images in the folder {folder} (names ending in {', '.join(SUFFIXES)}); found none. "
                "Give the folder that holds the frames themselves, or a video file."
            )
        self.fps = fps
        self.frame_count = len(self._paths)
        first = next((image for image in map(read_rgb, self._paths) if image is not None), None)
        if first is None:
            raise HmcapError(
                f"Expected images in the folder {folder}; none of its {len(self._paths)} files can be read as one. "
                "Open one in a picture viewer to see whether they are intact."
            )
        self.height_px, self.width_px = first.shape[:2]
        focal_mm = focal_35mm_mm(self._paths[0])
        if focal_mm is not None:
            self.metadata = SourceMetadata(focal_mm, f"EXIF of {self._paths[0].name}")

    def _frames(self) -> Iterator[Frame]:
        unreadable, other_size = [], []
        for index, path in enumerate(self._paths):
            stamp_s = index / self.fps
            if self.window.end_s is not None and stamp_s >= self.window.end_s:
                break
            if not self._wanted(stamp_s):
                continue
            image = read_rgb(path)
            if image is None:
                unreadable.append(path.name)
            elif image.shape[:2] != (self.height_px, self.width_px):
                other_size.append(path.name)
            else:
                yield Frame(index, stamp_s, image)
        for names, what in ((unreadable, "cannot be read"), (other_size, "have another size than the first")):
            if names:
                self.warnings.append(f"{len(names)} images of {self.name} {what} and were left out ({names[0]} ...).")

    def close(self) -> None:
        self._paths = []


def read_rgb(path: Path) -> np.ndarray | None:
    """(H, W, 3) uint8 picture turned upright by its EXIF orientation, or None where the file is not one."""
    # Read by Python and not by OpenCV, which cannot open names outside the code page on Windows.
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if data.size == 0:
        return None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
