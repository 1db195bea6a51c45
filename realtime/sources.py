"""Open whatever the user names as a video: file, folder, stream, webcam or the sample clip."""

import re
from pathlib import Path

from ..models.errors import HmcapError, UsageError
from ..models.paths import user_path
from .frames import DEFAULT_FPS, Frame, Source, SourceMetadata, Window
from .sources_images import ImageFolderSource
from .sources_stream import open_url
from .sources_video import VideoSource
from .sources_webcam import WebcamSource

__all__ = ["DEFAULT_FPS", "SAMPLES", "Frame", "Source", "SourceMetadata", "Window", "open_source"]

SAMPLES = ("sample", "sample-outdoor")
"""Names that stand for footage fetched by the model registry."""

_URL = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+)://")


def open_source(
    spec: str | int | Path,
    *,
    fps: float | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    max_frames: int | None = None,
) -> Source:
    """Open a source of frames.

    ``spec`` is a webcam index (int, or ``webcam:0``), a path to a video file or to a folder of images, an ``http``,
    ``https`` or ``rtsp`` address, or one of ``SAMPLES``. ``fps`` replaces the frame rate of an image folder (default
    30) and is asked of a webcam; other sources carry their own stamps and refuse it. ``start_s``, ``end_s`` and
    ``max_frames`` choose a part. Raises ``HmcapError`` where the source cannot be read.
    """
    window = Window(start_s, end_s, max_frames)
    if fps is not None and not 0.1 <= fps <= 1000:
        raise UsageError(f"--fps takes frames per second between 0.1 and 1000; found {fps:g}.")
    if isinstance(spec, int):
        return WebcamSource(spec, window, fps)
    text = str(spec)
    if text.startswith("webcam:") and text[7:].isdigit():
        return WebcamSource(int(text[7:]), window, fps)
    if not text.strip():
        raise UsageError("--video needs a file, a folder of images, an address or the name 'sample'; found nothing.")
    url = _URL.match(text)
    if url:
        _refuse_fps(fps, text)
        return open_url(text, url[1].lower(), window)
    path = user_path(text)
    if text in SAMPLES and not path.exists():
        _refuse_fps(fps, text)
        from ..engines.registry import resolve  # a plain file needs no registry

        return VideoSource.from_file(resolve(text), window, spec=text, name=text)
    if path.is_dir():
        return ImageFolderSource(path, window, fps or DEFAULT_FPS)
    if not path.exists():
        raise HmcapError(_missing(path))
    if not path.is_file():
        raise HmcapError(f"Expected a video file or a folder of images; {path} is neither. Give --video another path.")
    _refuse_fps(fps, text)
    return VideoSource.from_file(path, window)


def _refuse_fps(fps: float | None, text: str) -> None:
    if fps is not None:
        raise UsageError(
            f"--fps sets the rate of an image folder or a webcam; {text} carries its own time stamps. Leave --fps out."
        )


def _missing(path: Path) -> str:
    here = path.parent
    while not here.exists() and here != here.parent:
        here = here.parent
    hint = ""
    if here != path.parent:
        hint = f" The folder {path.parent} does not exist."
    elif here.is_dir():
        alike = sorted(p.name for p in here.iterdir() if p.stem.lower() == path.stem.lower() and p.is_file())
        hint = f" Did you mean {alike[0]}?" if alike else ""
    return f"Expected a video at {path}; there is no such file or folder.{hint} Check the path, or try --video sample."
