"""What a benchmark finds, as plain values that go into tables, JSON and the chart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PAPER_MS = {
    "pose_detection": ("body crop", 2.0),
    "pose_landmark": ("body landmarks", 5.0),
    "hand_recrop": ("hand crop", 1.5),
    "hand_landmark": ("hand landmarks", 2.0),
    "initialiser": ("initialiser", 3.0),
    "descent": ("descent", 10.0),
}
"""Our module -> the paper's name for its counterpart and its milliseconds (ProxyCap, CVPR 2024, on an RTX 4060 laptop,
one frame, both hands)."""
PAPER_SUM_MS = 23.5


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 95th percentile of single measurements, milliseconds."""

    count: int
    median_ms: float
    p95_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Spread":
        """Of measurements in seconds; zeros where there are none."""
        if not seconds:
            return cls(0, 0.0, 0.0)
        ms = np.asarray(seconds, np.float64) * 1e3
        return cls(len(ms), float(np.median(ms)), float(np.quantile(ms, 0.95)))


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to run the pipeline; of several, each is measured."""

    engine: str
    device: str
    threads: int | None
    """CPU threads of each landmark network; None for what a capture would use."""
    precision: str = "f32"

    @property
    def title(self) -> str:
        """In a few words."""
        threads = "" if self.threads is None else f", {self.threads} thread{'s' * (self.threads != 1)}"
        return f"{self.engine} on {self.device}{threads}" + (f", {self.precision}" if self.precision != "f32" else "")


@dataclass(frozen=True, slots=True)
class ModuleTime:
    """One module: alone on made input, and at work in the pipeline, one module at a time."""

    name: str
    input: str
    """Shape of what it is given, in words."""
    engine: str
    """Engine and device that really run it; empty where no network does."""
    alone: Spread | None
    """The network alone on noise; None where the module is no network."""
    at_work: Spread
    """Of the frames in which it ran, with all it needs before and after."""
    per_frame_ms: float
    """Mean over all frames, those in which it did not run included."""


@dataclass(frozen=True, slots=True)
class PeerTime:
    """A peer on the same frames, in turns with us."""

    name: str
    fps: float
    """Frames a second, reading the footage included, as in ours."""
    fps_without_reading: float
    process: Spread
    """Of its own call, without reading the footage."""


@dataclass(frozen=True, slots=True)
class ClipTime:
    """The whole pipeline on one clip."""

    clip: str
    width_px: int
    height_px: int
    clip_fps: float
    frames: int
    hands_percent: float
    """Share of the hands (two a frame) that were seen."""
    modules: tuple[ModuleTime, ...]
    fps: float
    """A file from its first frame to its last motion, as ``hmcap --video`` takes it: capture, body, hands and journal
    at once and as fast as they go, then motion and world of the whole take."""
    cpu_ms: float
    """Processor time of a frame in that run, all threads together."""
    live_fps: float
    """The same with live motion in place of the whole take's: everything at once, as fast as it goes."""
    live_cpu_ms: float
    """Processor time of a frame in that run."""
    latency: Spread
    """From a frame's due time to its motion, at the clip's own rate."""
    latency_fps: float
    """Frames a second that came through at the clip's own rate."""
    dropped: int
    """Frames dropped at the clip's own rate."""
    peer: PeerTime | None

    def ratios(self) -> dict[str, float]:
        """Frame rates over the peer's: ``file`` and ``live``, both with reading the footage; ``file_strict`` and
        ``live_strict``, ours with and the peer's without. Empty where no peer ran."""
        if self.peer is None:
            return {}
        ours = {"file": self.fps, "live": self.live_fps}
        return {n: f / self.peer.fps for n, f in ours.items()} | {
            f"{n}_strict": f / self.peer.fps_without_reading for n, f in ours.items()
        }


@dataclass(frozen=True, slots=True)
class SetupTime:
    """Everything measured of one setup."""

    setup: Setup
    clips: tuple[ClipTime, ...]
    memory_peak_mb: float | None
    """Largest memory of the process until then; None where the system does not tell."""
