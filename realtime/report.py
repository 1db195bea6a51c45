"""The end-of-run report: the figures by which an animator judges a take."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..models.body import BodyModel
from ..models.expression import is_seen
from ..models.markers import contact_rig, sole_rig
from ..models.motion import MotionFrame
from ..models.skeleton import NUM_BODY_JOINTS
from .camera_options import describe
from .exporters.prepare import take_body
from .loop import RunStats
from .take import Take

CONTACT_THRESHOLD = 0.5
_BLOCK = 2000
"""Frames posed at once; bounds the memory of a long take."""


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of one take; None where a figure cannot be computed (no person, no contact, too short)."""

    frames: int
    """Frames captured."""
    dropped: int
    """Frames that a live source lost because nobody had time for them."""
    duration_s: float
    person_visible_percent: float
    solved_frames: int
    """Frames that have motion."""
    foot_sliding_mm: float | None
    """Mean way of a foot point from one frame to the next while both say that it touches the ground, millimetres."""
    contact_percent: float | None
    """Share of frames in which at least one foot point touches the ground."""
    jitter: float | None
    """Third difference of the 22 body joints x fps^3, mean over joints and frames, divided by 10 (unit 10 m/s^3)."""
    penetration_mm: float | None
    """Mean depth of the lowest point of the soles below the floor, 0 where it is above, millimetres."""
    penetration_max_mm: float | None
    reprojection_percent: float | None
    """Median of the frames' reprojection errors, per cent of the body's height in the picture."""
    fov_deg: float
    """Field of view along the longer side of the picture."""
    camera: str
    """The lens in words, with where it came from."""
    fps: float
    """Mean frame rate of the footage."""
    engines: Mapping[str, str] = field(default_factory=dict)
    """Module -> engine and device that really ran it."""
    stage_fps: Mapping[str, float] = field(default_factory=dict)
    """Stage -> frames a second that it alone could do."""
    warnings: tuple[str, ...] = ()
    """What went wrong without stopping the run."""
    face_percent: float | None = None
    """Share of frames in which the face was seen; None where it was not captured."""
    person: str = ""
    """Which person of how many, where a run captured several: ``1 of 2``."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and the take; figures that are None stay None."""
        return asdict(self) | {"warnings": list(self.warnings)}

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each line of the printed table, units included."""
        rows = [("person", self.person)] if self.person else []
        rows += [
            ("frames", f"{self.frames} in {self.duration_s:.2f} s ({self.fps:.5g} fps)"),
            ("dropped", str(self.dropped)),
            ("person visible", f"{self.person_visible_percent:.1f} %"),
            ("foot sliding", _figure(self.foot_sliding_mm, "{:.1f} mm per frame in contact")),
            ("foot contact", _figure(self.contact_percent, "{:.0f} % of frames")),
            ("jitter", _figure(self.jitter, "{:.1f} (10 m/s^3)")),
            ("ground penetration", _penetration(self.penetration_mm, self.penetration_max_mm)),
            ("reprojection error", _figure(self.reprojection_percent, "{:.2f} % of body height (median)")),
            ("camera", self.camera),
        ]
        if self.face_percent is not None:
            rows.insert(3, ("face visible", f"{self.face_percent:.1f} %"))
        rows += [(f"engine {name}", engine) for name, engine in self.engines.items()]
        rows += [(f"speed {name}", f"{fps:.1f} fps") for name, fps in self.stage_fps.items()]
        return rows + [("note", text) for text in self.warnings]


def summarise(take: Take, stats: RunStats | None = None, warnings: tuple[str, ...] = ()) -> Report:
    """The report of a take. What only the run itself can know (drops, speeds, warnings) comes from ``stats`` and
    ``warnings``, or from the report that the take already carries."""
    old, settings = dict(take.report or {}), take.header.settings
    stamps = [p.stamp_s for p in take.proxies]
    count = len(take.proxies)
    engines = {
        n: " on ".join(filter(None, (e.get("backend"), e.get("device")))) for n, e in take.header.engines.items()
    }
    old_dropped, old_warnings, old_stage_fps = old.get("dropped"), old.get("warnings"), old.get("stage_fps")
    return Report(
        frames=count,
        dropped=stats.dropped if stats else (old_dropped if isinstance(old_dropped, int) else 0),
        duration_s=(stamps[-1] - stamps[0] + 1 / take.fps) if stamps else 0.0,
        person_visible_percent=100 * sum(p.present for p in take.proxies) / count if count else 0.0,
        solved_frames=len(take.motion),
        **motion_figures(take.motion, take_body(take), take.fps),
        fov_deg=take.camera.fov_deg,
        camera=describe(take.camera),
        fps=take.fps,
        engines=engines,
        stage_fps=stats.stage_fps() if stats else (old_stage_fps if isinstance(old_stage_fps, dict) else {}),
        warnings=warnings or tuple(map(str, old_warnings if isinstance(old_warnings, list) else ())),
        face_percent=_face_percent(take),
        person=f"{settings['person']} of {settings.get('people')}" if "person" in settings else "",
    )


def _face_percent(take: Take) -> float | None:
    if not any(len(p.face) for p in take.proxies):
        return None
    return 100 * sum(is_seen(p.face) for p in take.proxies) / len(take.proxies)


def motion_figures(motion: Sequence[MotionFrame], body: BodyModel, fps: float) -> dict[str, float | None]:
    """The figures that come from motion alone, by the names of the fields of ``Report``.

    Only frames with a person count. Differences are taken between frames at most two mean frame times apart, so that
    neither a gap nor a second appearance of the person counts as movement.
    """
    slides, jerks, depths, touching, errors = [], [], [], [], []
    for begin, end in _runs(motion, 2 / fps):
        run = pose_run(motion, begin, end, body)
        contact = run.contact > CONTACT_THRESHOLD
        both = contact[1:] & contact[:-1]
        slides.append(np.linalg.norm(np.diff(run.feet_m, axis=0), axis=-1)[both])
        jerks.append(np.linalg.norm(np.diff(run.joints_m, n=3, axis=0), axis=-1).ravel() * fps**3 / 10)
        depths.append(np.maximum(0, -run.lowest_m))
        touching.append(contact.any(axis=1))
        errors.append(run.error)
    slide, jerk, depth, touch, error = (
        np.concatenate(parts) if parts else np.empty(0) for parts in (slides, jerks, depths, touching, errors)
    )
    error = error[np.isfinite(error)]
    return {
        "foot_sliding_mm": _mean(slide, 1000),
        "contact_percent": _mean(touch, 100),
        "jitter": _mean(jerk),
        "penetration_mm": _mean(depth, 1000),
        "penetration_max_mm": 1000 * float(depth.max()) if depth.size else None,
        "reprojection_percent": float(np.median(error)) if error.size else None,
    }


class _Run(NamedTuple):
    """T frames in a row, in double precision, metres."""

    joints_m: np.ndarray
    """(T, 22, 3) body joints in the world."""
    feet_m: np.ndarray
    """(T, 4, 3) foot points."""
    lowest_m: np.ndarray
    """(T,) height of the lowest point of the two soles above the floor."""
    contact: np.ndarray
    """(T, 4)"""
    error: np.ndarray
    """(T,)"""


def pose_run(motion: Sequence[MotionFrame], begin: int, end: int, body: BodyModel) -> _Run:
    """The body in frames ``begin`` to ``end`` (not included)."""
    contacts, soles = contact_rig(body), sole_rig(body)
    parts: list[_Run] = []
    for start in range(begin, end, _BLOCK):
        for betas, block in _same_shape(motion[start : min(start + _BLOCK, end)]):
            # Double precision, because the third difference times fps^3 would show the rounding of single precision.
            poses = np.stack([f.poses for f in block]).astype(np.float64)
            posed = body.with_shape(betas).with_pose(poses, np.stack([f.trans_m for f in block]).astype(np.float64))
            parts.append(
                _Run(
                    np.asarray(posed.joints_m)[:, :NUM_BODY_JOINTS].copy(),
                    contacts.in_world_m(posed),
                    soles.in_world_m(posed)[..., 1].min(axis=-1),
                    np.stack([f.contact for f in block]),
                    np.array([f.reprojection_error for f in block]),
                )
            )
    return _Run(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _runs(motion: Sequence[MotionFrame], gap_s: float) -> Iterator[tuple[int, int]]:
    """First frame, and the frame after the last, of stretches with a person, each frame within ``gap_s`` of the one
    before."""
    begin, last_s = None, 0.0
    for i, frame in enumerate(motion):
        if begin is not None and (not frame.present or frame.stamp_s - last_s > gap_s):
            yield begin, i
            begin = None
        if frame.present:
            begin, last_s = i if begin is None else begin, frame.stamp_s
    if begin is not None:
        yield begin, len(motion)


def _same_shape(run: Sequence[MotionFrame]) -> Iterator[tuple[np.ndarray, Sequence[MotionFrame]]]:
    start = 0
    for k in range(1, len(run) + 1):
        if k == len(run) or not np.array_equal(run[k].betas, run[start].betas):
            yield np.asarray(run[start].betas, dtype=np.float64), run[start:k]
            start = k


def _mean(values: np.ndarray, scale: float = 1.0) -> float | None:
    if not values.size:
        return None
    mean = scale * float(values.mean())
    return mean if math.isfinite(mean) else None


def _figure(value: float | None, pattern: str) -> str:
    return "-" if value is None else pattern.format(value)


def _penetration(mean_mm: float | None, max_mm: float | None) -> str:
    return "-" if mean_mm is None or max_mm is None else f"{mean_mm:.1f} mm mean, {max_mm:.1f} mm at most"
