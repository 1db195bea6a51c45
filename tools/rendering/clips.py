"""Which clips are rendered: the canonical evaluation set and the set that the landmark stage's errors are measured on.

A specification is plain values. Together with the motion folder, the hand poses and the backgrounds it decides every
pixel and every number of truth; :mod:`.arrange` carries it out.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ...models.errors import UsageError
from ..motions.mocap import ClipEntry
from ..motions.virtual_cameras import Framing, Kind

SetName = Literal["canonical", "measurement"]
MAX_BETA = 2.0
"""Shape coefficients are normal with a deviation of 1, none beyond this."""


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """One clip to render."""

    name: str
    seed: int
    motions: tuple[str, ...]
    """"source/clip" of the recorded clips it is made of, in order; joined and repeated as needed."""
    seconds: float
    size_px: tuple[int, int]
    """Width and height."""
    fps: float = 30.0
    begin_s: float | None = 0.0
    """Where in the joined motion the clip begins; drawn where None, and only as many motions are joined as it takes."""
    curve_deg_s: float = 0.0
    """How fast the way turns, so that a long walk stays in one place."""
    camera: Kind = "static"
    framing: Framing = "whole"
    fov_deg: tuple[float, float] = (35.0, 95.0)
    """Range that the field of view along the longer side is drawn from."""
    height_m: tuple[float, float] = (0.3, 2.5)
    """Range of the camera's mean height."""
    body_share: tuple[float, float] = (0.15, 1.5)
    """Range of the person's median height in the picture over that of the picture: near or far."""
    facing_deg: tuple[float, float] = (0.0, 180.0)
    """Range of the median angle between the person's heading and the camera: 0 from the front, 180 from behind."""
    distortion: bool = False
    """Whether the lens bends straight lines."""
    shutter: tuple[float, float] = (0.1, 0.4)
    """Range of the exposure, share of the time from frame to frame: motion blur."""
    dim: bool = False
    """Little light: a dark and noisy picture."""
    occluder: bool = False
    """Something stands between camera and person."""
    strict: bool = True
    """Whether the camera has to be of the kind asked for even where the motion goes far; else it may follow."""
    skin_tone: float | None = None
    """0 lightest to 1 darkest; drawn where None."""
    indoors: bool | None = None

    def record(self) -> dict[str, Any]:
        """The specification as JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


_WALK = tuple(f"cmu_iclone/s007_{n:02d}" for n in range(1, 12))
_LANDSCAPE, _PORTRAIT = (960, 540), (540, 960)
_GUIDE = tuple(f"bandai/d1_guide_{m}_001" for m in ("feminine", "musical", "proud", "old"))
_WAVE = tuple(f"bandai/d2_wave-both-hands_{m}" for m in ("active_003", "normal_005", "youthful_002"))
_CATCH = tuple(f"skillmimic/catch_003_008_catch_0{n}" for n in (12, 13, 14, 15, 16, 17, 18, 20))
_CARTWHEEL = ("cmu_jump/s90_05", "cmu_papagina/martial_10_p00")


def _canonical(name: str, tone: int, motions: tuple[str, ...], size: tuple[int, int], **more: Any) -> ClipSpec:
    return ClipSpec(name, 20_000 + tone, motions, 10.0, size, skin_tone=(tone + 0.5) / 12, **more)


def canonical_specs() -> tuple[ClipSpec, ...]:
    """The 12 clips of 10 s at 30 fps of the evaluation: test split only.

    8 cameras stand still, 2 pan and 2 are held or walk; 3 clips have something in the way, 2 strong motion blur, 2 dim
    light, 1 shows the upper body only, 1 has the person partly out of the picture.
    """
    blurred, sharp = (0.8, 0.95), (0.05, 0.3)
    return (
        _canonical("walk_round_far", 3, _WALK, _LANDSCAPE, curve_deg_s=38.0, fov_deg=(58, 80), height_m=(1.6, 2.5),
                   body_share=(0.2, 0.5), indoors=False),
        _canonical("walk_along_near", 9, _WALK[3:], _PORTRAIT, camera="walking", curve_deg_s=12.0, fov_deg=(55, 75),
                   height_m=(1.2, 1.8), body_share=(0.45, 0.9), indoors=False),
        _canonical("martial_behind_things", 0, ("cmu_papagina/martial_03",), _LANDSCAPE, fov_deg=(45, 70),
                   height_m=(0.9, 2.0), body_share=(0.4, 0.8), facing_deg=(20, 80), occluder=True, indoors=True),
        _canonical("martial_blurred", 6, ("cmu_papagina/martial_08",), _PORTRAIT, fov_deg=(50, 80),
                   height_m=(0.8, 1.8), body_share=(0.3, 0.7), shutter=blurred),
        _canonical("martial_low_wide", 11, ("cmu_papagina/martial_09",), _LANDSCAPE, camera="handheld",
                   fov_deg=(85, 95), height_m=(0.3, 0.7), body_share=(0.4, 0.95), shutter=sharp, distortion=True),
        _canonical("cartwheel_blurred", 2, _CARTWHEEL, _LANDSCAPE, fov_deg=(50, 85), height_m=(0.8, 2.2),
                   body_share=(0.2, 0.7), shutter=blurred, indoors=False, distortion=True),
        _canonical("window_behind_things", 8, ("cmu8/washwindow_1_te",), _PORTRAIT, fov_deg=(50, 80),
                   height_m=(1.0, 1.8), body_share=(0.35, 0.8), facing_deg=(60, 120), occluder=True, indoors=True),
        _canonical("window_dim", 5, ("cmu8/washwindow_1_te",), _LANDSCAPE, begin_s=12.0, fov_deg=(40, 75),
                   height_m=(1.4, 2.5), body_share=(0.5, 0.9), dim=True, indoors=True),
        _canonical("guide_upper_body", 1, _GUIDE, _LANDSCAPE, framing="upper", fov_deg=(55, 80), height_m=(1.0, 1.7),
                   body_share=(1.1, 2.5), facing_deg=(0, 35), shutter=sharp, indoors=True),
        _canonical("wave_panned_tele", 10, _WAVE, _PORTRAIT, camera="panning", fov_deg=(35, 42), height_m=(0.6, 1.6),
                   body_share=(0.4, 0.9), facing_deg=(0, 50), shutter=sharp),
        _canonical("catch_dim_behind_things", 4, _CATCH, _LANDSCAPE, fov_deg=(60, 90), height_m=(1.2, 2.4),
                   body_share=(0.3, 0.7), facing_deg=(0, 90), dim=True, occluder=True),
        _canonical("martial_cut_off", 7, ("cmu_papagina/martial_05",), _PORTRAIT, camera="panning", framing="partly",
                   fov_deg=(60, 85), height_m=(0.8, 2.0), body_share=(0.6, 2.0)),
    )  # fmt: skip


_SIZES = ((640, 360), (360, 640), (480, 360), (768, 432), (432, 768), (960, 540))
_KINDS: tuple[Kind, ...] = ("static", "panning", "handheld", "walking")
_FRAMINGS: tuple[Framing, ...] = ("whole", "upper", "partly")


def measurement_specs(entries: Sequence[ClipEntry], count: int = 120, seconds: float = 2.0) -> tuple[ClipSpec, ...]:
    """``count`` short clips of the training split, of sources that allow any use, each with another person, room,
    camera and light. ``entries`` is :func:`hmcap.tools.motions.mocap.list_clips` of the motion folder.

    Sources have equal shares, so that the many short ball games do not crowd out the rest. Any prefix is a set of its
    own: clip k does not depend on ``count``.
    """
    usable = [e for e in entries if e.split == "train" and e.permissive]
    if not usable:
        raise UsageError(
            "Expected training clips whose licence allows any use in the motion folder, found none. "
            "Give a folder with an INDEX.tsv that says split and licence."
        )
    sources = sorted({e.source for e in usable})
    specs = []
    for k in range(count):
        rng = np.random.default_rng([71, k])
        mine = [e for e in usable if e.source == sources[k % len(sources)]]
        order = rng.permutation(len(mine))
        motions = tuple(f"{mine[i].source}/{mine[i].name}" for i in order[:4])
        kind = _KINDS[rng.choice(4, p=(0.6, 0.15, 0.15, 0.1))]
        framing = _FRAMINGS[rng.choice(3, p=(0.7, 0.17, 0.13))]
        shutter = float(rng.choice((0.08, 0.25, 0.5, 0.9), p=(0.3, 0.35, 0.2, 0.15)))
        specs.append(
            ClipSpec(
                name=f"m{k:03d}",
                seed=30_000 + k,
                motions=motions,
                seconds=seconds,
                size_px=_SIZES[rng.choice(len(_SIZES), p=(0.3, 0.2, 0.1, 0.15, 0.1, 0.15))],
                begin_s=None,
                camera=kind,
                framing=framing,
                body_share=(0.3, 4.0),
                shutter=(shutter, shutter),
                strict=False,
                distortion=bool(rng.random() < 0.2),
                dim=bool(rng.random() < 0.12),
                occluder=bool(rng.random() < 0.25),
                skin_tone=round(math.fmod(0.5 + 0.618034 * k, 1.0), 4),
            )
        )
    return tuple(specs)
