"""One setup on one clip, everything that is measured of it."""

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from ...engines.base import Engine
from ...models.errors import HmcapError
from ...realtime.machine import cores, processor_name
from ...realtime.motion import weights_file
from ...realtime.options import CaptureOptions
from ...realtime.processor import shared_processor
from .alone import engine_alone, input_of, noise, share_of_initialiser
from .peer import Peer
from .pipeline import WARM_UP_FRAMES, Clip, Pipeline, as_file, as_live, delay, one_by_one
from .records import ClipTime, ModuleTime, Setup, SetupTime, Spread

ALONE_S = 0.7
"""Seconds for each network on made input."""
_NETWORKS = ("pose_detection", "pose_landmark", "hand_recrop", "hand_landmark")


def measure_setup(
    setup: Setup,
    clips: Sequence[Clip],
    peer_python: Path | None,
    say: Callable[[str], None],
    *,
    motion: str = "networks",
) -> SetupTime:
    """Every figure of one setup. Raises HmcapError where an engine, a clip or the peer does not come up."""
    choices = CaptureOptions(
        engine=setup.engine, device=setup.device, threads=setup.threads, precision=setup.precision, motion=motion
    )
    with shared_processor():
        pipeline = Pipeline(setup, choices)
        say(f"{setup.title}: networks alone")
        alone = alone_times(pipeline, ALONE_S)
        done = []
        for clip in clips:
            say(f"{setup.title}: {clip.spec}")
            done.append(measure_clip(pipeline, clip, alone, peer_python))
    return SetupTime(setup, tuple(done), memory_peak_mb())


def alone_times(pipeline: Pipeline, seconds: float) -> dict[str, Spread]:
    """Module -> its network on noise. Of the motion graph also its two parts, where it is cut in ONNX Runtime."""
    found = {name: engine_alone(engine, seconds) for name, engine in pipeline.engines.items()}
    motion = pipeline.motion.engines.get("motion")
    if motion is not None:
        whole = found.pop("motion")
        whole = found.pop("motion_live", whole)  # what runs live, where that is another one
        found["motion_networks"] = whole
        if (motion.backend, motion.device) == ("onnxruntime", "cpu"):
            path = weights_file(pipeline.choices.motion_weights)
            first = share_of_initialiser(path, noise(motion.inputs), seconds, 1)
            if first is not None:
                found["initialiser"] = first
                # of a difference no spread is known
                rest = max(0.0, whole.median_ms - first.median_ms)
                found["descent"] = Spread(whole.count, rest, max(0.0, whole.p95_ms - first.median_ms))
    pipeline.times.clear()
    return found


def measure_clip(pipeline: Pipeline, clip: Clip, alone: Mapping[str, Spread], peer_python: Path | None) -> ClipTime:
    """Every figure of one clip."""
    seconds, frames = one_by_one(pipeline, clip)
    if frames <= 0:
        raise HmcapError(
            f"Expected more than {WARM_UP_FRAMES} frames to measure in {clip.spec}, found {frames + WARM_UP_FRAMES}. "
            "Name longer footage, or give --frames a larger number."
        )
    peer = None if peer_python is None else Peer(peer_python, str(footage_file(clip)))
    try:
        file = as_file(pipeline, clip, peer)
    finally:
        if peer is not None:
            peer.close()
    live, paced = as_live(pipeline, clip), delay(pipeline, clip)
    with clip.open() as source:
        name, size, fps = source.name, (source.width_px, source.height_px), source.fps
    return ClipTime(
        name, *size, fps, file.frames, 100 * file.hands / (2 * file.frames),
        module_times(seconds, frames, alone, pipeline.engines, size), file.fps, 1e3 * file.cpu_s / file.frames,
        live.fps, 1e3 * live.cpu_s / live.frames, paced.latency, paced.fps, paced.dropped, file.peer,
    )  # fmt: skip


def footage_file(clip: Clip) -> Path:
    """The file or folder behind a clip's name."""
    with clip.open() as source:
        if Path(source.spec).exists():
            return Path(source.spec)
    from ...engines.registry import resolve

    return resolve(clip.spec)


def module_times(
    seconds: Mapping[str, Sequence[float]],
    frames: int,
    alone: Mapping[str, Spread],
    engines: Mapping[str, Engine],
    size: tuple[int, int],
) -> tuple[ModuleTime, ...]:
    """A row for each module, in the order in which they run; the initialiser and the descent share the time that the
    motion graph took as they do alone."""
    rows: list[ModuleTime] = []

    def add(name: str, given: str, taken: Sequence[float], engine: Engine | None = None, part: float = 1.0) -> None:
        runs_on = "" if engine is None else f"{engine.backend} {engine.device}"
        work = [s * part for s in taken]
        mean = 1e3 * sum(work) / frames
        rows.append(ModuleTime(name, given, runs_on, alone.get(name), Spread.of(work), mean))

    add("capture", f"{size[0]}x{size[1]}", seconds.get("capture", ()))
    for name in _NETWORKS:
        add(name, input_of(engines[name]), seconds.get(name, ()), engines[name])
    add("following", f"{size[0]}x{size[1]}", seconds.get("following", ()))
    network = list(seconds.get("motion_networks", ()))
    motion = engines.get("motion")
    if motion is not None and "initialiser" in alone:
        whole = alone["motion_networks"].median_ms
        for name in ("initialiser", "descent"):
            add(name, "81 x 67 x 2", network, motion, alone[name].median_ms / whole)
    elif motion is not None:
        add("motion_networks", input_of(motion), network, motion)
    # what the live stage does besides: time line, static camera, feet, fusion; without networks the solver itself
    rest = (sum(seconds.get("motion", ())) - sum(network)) / max(1, len(seconds.get("motion", ())))
    pushes = list(seconds.get("motion", ()))
    world = pushes if motion is None else [max(0.0, p - n) for p, n in zip(pushes, network, strict=False)]
    if motion is not None and len(network) != len(pushes):
        world = [rest] * len(pushes)  # not one call a frame: only the mean is known
    add("solver" if motion is None else "world", "55 joints", world)
    add("journal", "a frame", seconds.get("journal", ()))
    return tuple(rows)


def memory_peak_mb() -> float | None:
    """Largest resident memory of this process until now, in megabytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    libraries = {}
    for name in ("openvino", "onnxruntime", "numpy", "opencv-python-headless", "av"):
        try:
            libraries[name] = version(name)
        except ImportError:  # another build of the same library
            libraries[name] = "another build"
    return {
        "processor": processor_name(),
        "cores": cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "hmcap": version("hmcap"),
        "libraries": libraries,
    }
