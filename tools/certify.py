"""Certify a setting of the networks (engine, precision) against another one, on footage.

    python -m hmcap.tools.certify CLIP ... --engine onnxruntime --precision f16
    python -m hmcap.tools.certify CLIP ... --engine tensorrt_rtx --device cuda --precision f16 --against onnxruntime:f32
    python -m hmcap.tools.certify CLIP ... --engine tensorrt_graph

Both settings run the landmark stage and the motion networks on the same frames. Per clip: how far the landmarks of one
lie from those of the other (pixels, and per cent of the body's height), how far the joints (millimetres, after a
similarity alignment per frame), and how much each of them accelerates and jitters. Exit code 1 where a limit is
exceeded. There is no truth in this: it says whether a setting may stand in for the other, not how good either is.

``tensorrt_graph`` is the graph that TensorRT is given, run by ONNX Runtime on the CPU: half precision rounded at every
operator, double narrowed to single. It shows what the graph costs, not what a GPU's kernels add.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..engines.backends import BACKENDS
from ..engines.base import PRECISIONS
from ..engines.convert import network_model
from ..engines.landmarks import LandmarkStage
from ..engines.precision import lowered
from ..models.body import load_body
from ..models.camera import Camera
from ..models.errors import HmcapError, UsageError
from ..models.proxies import Proxies
from ..models.solver.settings import SolverSettings
from ..realtime.camera_options import CameraOptions, choose_camera
from ..realtime.motion import open_networks, weights_file
from ..realtime.sources import open_source
from .evaluation.metrics import acceleration_error, jitter, pa_joint_errors_mm
from .fidelity import Track, body_height_px, from_proxies

GRAPH = "tensorrt_graph"
BODY_JOINTS = 22
EVENT_PERCENT = 10.0
"""A body landmark that lies further from where the other setting has it, in per cent of body height, is no matter of
precision: one of the two took, for a moment, something else for it. The smallest difference can decide that either
way, and one such frame outweighs all others in a mean: such frames are counted, and acceleration and jitter are those
of the frames that are not near one."""
NEAR_S = 0.5
"""How near: the motion of a frame is drawn from those around it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Most that a measure may be."""

    most: float
    unit: str
    text: str


LIMITS = {
    "body_median": Limit(0.1, "%", "median distance of body landmarks, per cent of body height"),
    "hand_median": Limit(0.1, "%", "median distance of hand landmarks, per cent of body height"),
    "seen_apart": Limit(1.0, "%", "frames in which one of the two sees a person and the other does not"),
    "events": Limit(
        2.0, "%", f"frames in which a body landmark lies more than {EVENT_PERCENT:g} % of body height apart"
    ),
    "pa_median": Limit(3.0, "mm", "median distance of the joints of the motion, aligned"),
    "accel_ratio": Limit(1.05, "", "mean acceleration of the joints, of the one certified over the other"),
    "jitter_ratio": Limit(1.05, "", "mean jitter of the joints, of the one certified over the other"),
}
"""What a setting has to keep to."""


@dataclass(frozen=True, slots=True)
class Setting:
    """An engine and what it computes in."""

    engine: str
    precision: str
    device: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.precision}" + ("" if self.device == "cpu" else f"@{self.device}")


def parse_setting(text: str) -> Setting:
    """``ENGINE:PRECISION`` or ``ENGINE:PRECISION@DEVICE``. Raises :class:`UsageError`."""
    main, _, device = text.partition("@")
    engine, _, precision = main.partition(":")
    return checked(Setting(engine, precision or "f32", device or "cpu"))


def checked(setting: Setting) -> Setting:
    """``setting`` itself. Raises :class:`UsageError` for an engine or precision that does not exist."""
    engines = ("auto", *BACKENDS, GRAPH)
    if setting.engine not in engines or setting.precision not in PRECISIONS:
        raise UsageError(
            f"A setting is ENGINE:PRECISION with one of {', '.join(engines)} and one of {', '.join(PRECISIONS)}; found "
            f"{str(setting)!r}. Try onnxruntime:f16"
        )
    return setting


@dataclass(frozen=True, slots=True)
class Run:
    """What one setting makes of a clip of T frames."""

    track: Track
    present: np.ndarray
    """(T,) bool."""
    joints_m: np.ndarray
    """(T, 22, 3) in the world; NaN where nobody is."""
    fps: float
    ran: str
    """Engines and devices that really ran, in words."""


class Runner:
    """One setting, open."""

    def __init__(self, setting: Setting, threads: int | None) -> None:
        backend = "onnxruntime" if setting.engine == GRAPH else setting.engine
        where = {"backend": backend, "device": setting.device, "threads": threads, "precision": setting.precision}
        self._stage = LandmarkStage.open(**where)
        with TemporaryDirectory() as folder:
            weights = None
            if setting.engine == GRAPH and setting.precision == "f32":
                weights = Path(folder) / "narrowed.onnx"
                model = lowered(network_model(weights_file()), "f32", doubles=False)
                weights.write_bytes(model.SerializeToString())
            self._motion = open_networks(weights, **where)
        engines = self._stage.engines | self._motion.engines
        self.ran = ", ".join(sorted({f"{e.backend} on {e.device}" for e in engines.values()}))
        self._body = load_body()

    def __call__(self, clip: str, frames: int) -> Run:
        """Run a clip."""
        self._stage.reset()
        with open_source(clip, max_frames=frames) as source:
            camera = choose_camera(source.width_px, source.height_px, CameraOptions(), source.metadata)
            proxies = [self._stage(f.image_rgb, f.index, f.stamp_s) for f in source]
            fps = source.fps
        present = np.array([p.present for p in proxies])
        return Run(from_proxies(proxies), present, self._joints(proxies, camera), fps, self.ran)

    def _joints(self, proxies: list[Proxies], camera: Camera) -> np.ndarray:
        joints = np.full((len(proxies), BODY_JOINTS, 3), np.nan)
        if not any(p.present for p in proxies):
            return joints
        solve, settings = self._motion.solve, SolverSettings()
        motion = solve(proxies, camera, settings=settings, model=self._body, progress=None)
        shaped = self._body.with_shape(np.stack([f.betas for f in motion]))
        posed = shaped.with_pose(np.stack([f.poses for f in motion]), np.stack([f.trans_m for f in motion]))
        there = np.array([f.present for f in motion])
        joints[there] = posed.joints_m[there, :BODY_JOINTS]
        return joints


def compare(one: Run, other: Run) -> dict[str, float]:
    """Measures of ``one`` against ``other``, the keys of :data:`LIMITS` among them; NaN where there is nothing."""
    height_px = body_height_px(other.track.pose_px)
    out = {"height_px": height_px, "seen_apart": 100 * float((one.present != other.present).mean())}
    apart = 100 * np.linalg.norm(one.track.pose_px - other.track.pose_px, axis=-1) / height_px
    events = np.flatnonzero((apart > EVENT_PERCENT).any(axis=1))
    out["events"] = 100 * len(events) / max(1, len(apart))
    for part, a, b in (
        ("body", one.track.pose_px, other.track.pose_px),
        ("hand", one.track.hands_px, other.track.hands_px),
    ):
        apart_px = np.linalg.norm(a - b, axis=-1)
        apart_px = apart_px[np.isfinite(apart_px)]
        for name, at in (("median", 50), ("p95", 95), ("max", 100)):
            value = float(np.percentile(apart_px, at)) if apart_px.size else float("nan")
            out |= {f"{part}_{name}_px": value, f"{part}_{name}": 100 * value / height_px}
    apart_mm = pa_joint_errors_mm(one.joints_m, other.joints_m)
    apart_mm = apart_mm[np.isfinite(apart_mm)]
    for name, at in (("median", 50), ("p95", 95), ("max", 100)):
        out[f"pa_{name}"] = float(np.percentile(apart_mm, at)) if apart_mm.size else float("nan")
    frames = np.arange(len(one.joints_m))
    near = np.any(np.abs(frames[:, None] - events) <= NEAR_S * one.fps, axis=1)
    for of, left_out in (("", near), ("_all", np.zeros_like(near))):
        for name, run in (("", one), ("_other", other)):
            joints = np.where(left_out[:, None, None], np.nan, run.joints_m)
            centred = joints - joints[:, :1]
            out[f"accel{of}{name}"] = acceleration_error(centred, np.zeros_like(centred), run.fps)
            out[f"jitter{of}{name}"] = jitter(joints, run.fps)
    measures = ("accel", "jitter", "accel_all", "jitter_all")
    return out | {f"{n}_ratio": out[n] / out[f"{n}_other"] for n in measures}


def exceeded(measures: dict[str, float]) -> list[str]:
    """Names of the limits that are not kept; what could not be measured is not kept either, but for hands, which a clip
    need not show."""
    return [
        n for n, limit in LIMITS.items() if not measures[n] <= limit.most and (n != "hand_median" or measures[n] > 0)
    ]


def report(clip: str, measures: dict[str, float], failed: Sequence[str]) -> str:
    """What is printed of one clip."""
    m = measures

    def part(name: str) -> str:
        return " / ".join(f"{m[f'{name}_{q}_px']:.2f} px {m[f'{name}_{q}']:.3f} %" for q in ("median", "p95", "max"))

    verdict = "pass" if not failed else f"FAIL ({', '.join(failed)})"
    return "\n".join(
        (
            f"{clip}: {verdict}",
            f"  body landmarks, median / p95 / max   {part('body')} (of {m['height_px']:.0f} px)",
            f"  hand landmarks, median / p95 / max   {part('hand')}",
            f"  joints, aligned, median / p95 / max  {m['pa_median']:.2f} / {m['pa_p95']:.2f} / {m['pa_max']:.2f} mm",
            f"  acceleration of the joints, m/s^2    {m['accel']:.3f} against {m['accel_other']:.3f}, "
            f"ratio {m['accel_ratio']:.3f}",
            f"  jitter of the joints, 10 m/s^3       {m['jitter']:.3f} against {m['jitter_other']:.3f}, "
            f"ratio {m['jitter_ratio']:.3f}",
            f"  the same with frames far apart, too  ratio {m['accel_all_ratio']:.3f} and {m['jitter_all_ratio']:.3f} "
            "(no limit)",
            f"  frames seen by one of the two alone  {m['seen_apart']:.1f} %; with a landmark far apart "
            f"{m['events']:.1f} %",
        )
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("clips", nargs="+", metavar="CLIP", help="video files, or 'sample'")
    out.add_argument("--engine", default="auto", help=f"auto, {', '.join(BACKENDS)} or {GRAPH}")
    out.add_argument("--device", default="cpu")
    out.add_argument("--precision", default="f32", help=", ".join(PRECISIONS))
    out.add_argument("--against", default="onnxruntime:f32", metavar="ENGINE:PRECISION[@DEVICE]")
    out.add_argument("--frames", type=int, default=100, help="of each clip (default: 100)")
    out.add_argument("--threads", type=int)
    return out


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; 0 where every clip keeps to every limit, 1 where not, or on an error."""
    args = parser().parse_args(words)
    try:
        one = checked(Setting(args.engine, args.precision, args.device))
        other = parse_setting(args.against)
        runners = [Runner(setting, args.threads) for setting in (one, other)]
        print(f"{one} ({runners[0].ran}) against {other} ({runners[1].ran})")
        passed = True
        for clip in args.clips:
            measures = compare(*(runner(clip, args.frames) for runner in runners))
            failed = exceeded(measures)
            passed &= not failed
            print(report(Path(clip).name, measures, failed), flush=True)
    except HmcapError as error:
        print(f"certify: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(f"{'certified' if passed else 'NOT certified'}: {one} against {other}, {len(args.clips)} clips")
    print("limits: " + "; ".join(f"{limit.text} <= {limit.most:g} {limit.unit}".rstrip() for limit in LIMITS.values()))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
