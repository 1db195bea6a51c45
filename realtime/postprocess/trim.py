"""Keeping a part of a take."""

from dataclasses import fields, replace

from ...models.errors import HmcapError
from ..exporters.track import Track
from .choices import Span

_EXACT_S = 1e-6
"""Stamps this near the asked second count as that second: containers round them."""


def trim(track: Track, span: Span) -> tuple[Track, str]:
    """The frames with begin <= stamp < end, as ``--start`` and ``--end`` choose them; stamps stay the take's own.

    Raises:
        HmcapError: no frame, or nobody, lies in that part.
    """
    begin, end = span
    stamps = track.stamps_s
    keep = (stamps >= (-1.0 if begin is None else begin - _EXACT_S)) & (
        stamps < (stamps.max() + 1 if end is None else end - _EXACT_S)
    )
    asked = f"{'' if begin is None else f'{begin:g}'}:{'' if end is None else f'{end:g}'}"
    range_s = f"{stamps.min():.2f} to {stamps.max():.2f} s"
    if not keep.any():
        raise HmcapError(
            f"Expected frames in --trim {asked}, found none: this take has {len(stamps)}, from {range_s}. Choose a "
            "part of that."
        )
    if not track.present[keep].any():
        raise HmcapError(
            f"Expected a person in --trim {asked}; nobody was found in its {int(keep.sum())} frames (the take runs "
            f"from {range_s}). Choose another part."
        )
    kept = replace(track, **{f.name: getattr(track, f.name)[keep] for f in fields(track) if f.name != "betas"})
    return kept, f"trim: {int(keep.sum())} of {len(stamps)} frames kept, {kept.stamps_s[0]:.2f} to " + (
        f"{kept.stamps_s[-1]:.2f} s"
    )
