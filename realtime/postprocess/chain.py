"""The steps of post-processing in their order: trim, even frame rate, smooth, hold the feet."""

from collections.abc import Iterable

import numpy as np

from ...models.body import ShapedBody
from ...models.streaming.person import Person
from ..exporters.options import ExportOptions
from ..exporters.track import Track, is_uniform, uniform_track
from .feet import lock_feet
from .smooth import smooth
from .stretches import breaks_s
from .trim import trim


def post_process(
    track: Track, take_fps: float, body: ShapedBody, options: ExportOptions, cuts_s: Iterable[float] = ()
) -> tuple[Track, float, tuple[str, ...]]:
    """Do to a take's motion what ``options`` ask for.

    Args:
        track: the motion as captured.
        take_fps: mean frame rate of the footage.
        body: the body of the track's shape.
        options: what to do.
        cuts_s: stamps of the first frame after each cut of the footage.

    Returns:
        the track at an even frame rate, that rate, and a sentence for each step that changed something.

    Raises:
        HmcapError: nothing is left after trimming.
    """
    changes: list[str] = []
    fps = float(options.fps if options.fps is not None else take_fps)
    if options.trim_span is not None:
        track, said = trim(track, options.trim_span)
        changes.append(said)
    breaks = breaks_s(track, cuts_s)
    even = uniform_track(track, fps, breaks)
    if even is not track:
        uneven = "" if is_uniform(track.stamps_s, take_fps) else "uneven "
        changes.append(f"resampled {uneven}{take_fps:.4g} -> {fps:.4g} fps, {len(track)} -> {len(even)} frames")
    track = even
    if options.smooth is not None:
        rest_m = np.asarray(body.joints_m, np.float64)
        track, said = smooth(track, fps, options.smooth, rest_m, breaks)
        changes.append(said)
    if options.lock_feet:
        track, said = lock_feet(track, fps, Person.of(body.model, track.betas), breaks)
        changes.append(said)
    return track, fps, tuple(changes)
