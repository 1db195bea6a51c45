"""Renders clips: a specification becomes a folder with ``video.mp4``, ``truth.npz`` and ``scene.json``."""

import json
import math
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...engines.store import sha256_of
from ...models.body import load_body
from ...models.camera import Camera
from ...models.errors import HmcapError
from ...models.markers import proxy_rig
from ...realtime.overlay.video import VideoWriter
from ..evaluation.methods.fingerprint import code_version
from ..motions.hand_motion import KeyPoses
from ..motions.mocap import ClipEntry
from ..motions.virtual_cameras import project_px
from .arrange import Arranged, arrange
from .clips import ClipSpec
from .film import auto_exposure, develop, pinhole_of
from .gl_scene import SceneRenderer
from .truth import at_exposure, flesh_m, save_truth, truth_of, visibility

VIDEO, TRUTH, SCENE = "video.mp4", "truth.npz", "scene.json"
_STEP_PX = 4.0
"""Instants of one exposure lie no farther apart than this in the picture, as far as MAX_INSTANTS allows."""
MAX_INSTANTS = 6
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What specifications are carried out with."""

    entries: tuple[ClipEntry, ...]
    key_poses: KeyPoses
    backgrounds: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """What became of one clip."""

    name: str
    frames: int
    kept: bool
    """Whether a finished clip of the same specification was there."""
    version: str
    """Code that it was made by."""


def pictures(arranged: Arranged) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frame by frame (H, W, 3) uint8 RGB and (67,) visibility of the proxies. Raises NoGLError without OpenGL."""
    camera, motion = arranged.camera.camera, arranged.motion
    pinhole = pinhole_of(camera)
    rig, under_m = proxy_rig(arranged.body), flesh_m(arranged.body)
    shaped = arranged.body.with_shape(arranged.betas.astype(np.float32))
    blur = truth_of(arranged).blur_px
    noise = np.random.default_rng(arranged.film_seed)
    exposure = None
    # One sample a pixel: the instants of an exposure smooth the edges, each drawn from a place of its own in the pixel.
    with SceneRenderer(pinhole.width_px, pinhole.height_px, samples=1) as renderer:
        renderer.load(arranged.scene)
        for t in range(arranged.frames):
            n = instants(blur[t])
            share = (np.arange(n) + 0.5) / n - 0.5
            poses, trans, T = at_exposure(arranged, (t + share * arranged.shutter) / motion.fps)
            skinned = shaped.with_pose(poses.astype(np.float32), trans.astype(np.float32)).skin()
            drawn, visible = [], np.zeros(0)
            for k in range(n):
                drawn.append(renderer.draw(skinned.vertices_m[k], T[k], _within_pixel(pinhole, k, n)))
                if k == n // 2:  # the middle of the exposure, or half a step after it
                    points = rig.on_mesh_m(skinned)[k].astype(np.float64)
                    visible = _visible(renderer.depth_m(), points, T[k], camera, pinhole, under_m)
            if exposure is None:
                exposure = auto_exposure(drawn[0])
            yield develop(drawn, camera, arranged.film, noise, exposure), visible


def _within_pixel(camera: Camera, k: int, n: int) -> Camera:
    """The camera shifted by less than half a pixel, differently for each of n instants, by nothing in their mean."""
    down = (k + 0.5) / n - 0.5
    across = (2 * k % n + (n % 2 == 0 and k >= n // 2) + 0.5) / n - 0.5  # every column once, neighbours apart
    return replace(camera, cx_px=camera.cx_px + across, cy_px=camera.cy_px + down)


def instants(blur_px: np.ndarray) -> int:
    """How many drawings one exposure takes, for the ways (67,) of the proxies during it."""
    way = float(np.nanmax(blur_px)) if np.isfinite(blur_px).any() else 0.0
    return min(max(1, math.ceil(way / _STEP_PX)), MAX_INSTANTS)


def _visible(
    depth_m: np.ndarray, points_m: np.ndarray, T: np.ndarray, camera: Camera, pinhole: Camera, under_m: np.ndarray
) -> np.ndarray:
    """(67,) visibility: what is inside is asked of the lens that bends, the depth of the drawing that it bends."""
    z = points_m @ T[2, :3] + T[2, 3]
    straight = project_px(pinhole, T, points_m)
    size = (pinhole.width_px, pinhole.height_px)
    found = visibility(depth_m, straight, z, under_m, size)
    px = project_px(camera, T, points_m)
    with np.errstate(invalid="ignore"):
        inside = ((px >= 0) & (px < [camera.width_px, camera.height_px])).all(-1)
    return np.where(inside, found, 0).astype(np.uint8)


def render_clip(spec: ClipSpec, out: Path, inputs: Inputs, again: bool = False) -> Rendered:
    """Render one clip into ``out``/name, or keep what is there where the same specification made it (unless ``again``).
    The folder appears when it is complete, never before."""
    folder = out / spec.name
    wanted = _inputs_record(spec, inputs)
    there = None if again else finished(folder, wanted)
    if there is not None:
        return there
    arranged = arrange(spec, inputs.entries, inputs.key_poses, load_body(), inputs.backgrounds)
    out.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{spec.name}.", dir=out))
    try:
        visible = []
        with VideoWriter(part / VIDEO, *spec.size_px, spec.fps) as video:
            for t, (picture, seen) in enumerate(pictures(arranged)):
                video.write(picture, t / spec.fps)
                visible.append(seen)
        save_truth(part / TRUTH, truth_of(arranged, np.stack(visible)))
        version = code_version("tools.rendering", "tools.motions", "models")
        text = json.dumps({**wanted, "version": version, **_scene_record(arranged)}, indent=1, ensure_ascii=False)
        (part / SCENE).write_text(text + "\n", encoding="utf-8", newline="\n")
        part.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Rendered(spec.name, arranged.frames, False, version)


def finished(folder: Path, wanted: dict[str, Any]) -> Rendered | None:
    """The finished clip in a folder, where exactly this made it."""
    if not all((folder / name).is_file() for name in (VIDEO, TRUTH, SCENE)):
        return None
    try:
        record = json.loads((folder / SCENE).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return None
    if not isinstance(record, dict) or any(record.get(k) != v for k, v in wanted.items()):
        return None
    return Rendered(folder.name, int(record["frames"]), True, str(record["version"]))


def _inputs_record(spec: ClipSpec, inputs: Inputs) -> dict[str, Any]:
    """What decides a clip, as JSON values: the specification, and digests of the files that it uses."""
    known = {f"{e.source}/{e.name}": e for e in inputs.entries}
    used = [known[m] for m in spec.motions if m in known]
    return {
        "specification": spec.record(),
        "motions": [
            {"source": e.source, "clip": e.name, "licence": e.licence, "split": e.split, "sha256": sha256_of(e.path)}
            for e in used
        ],
        "rest_skeleton": next((sha256_of(e.rest_file) for e in used if e.rest_file), ""),
        "hands": {"source": inputs.key_poses.source, "poses": len(inputs.key_poses.poses)},
        "backgrounds": [p.name for p in inputs.backgrounds],
    }


def _scene_record(arranged: Arranged) -> dict[str, Any]:
    camera = arranged.camera
    return {
        "frames": arranged.frames,
        "fingers": arranged.hands,
        "shutter": arranged.shutter,
        "betas": arranged.betas.tolist(),
        "appearance": asdict(arranged.scene.appearance),
        "surroundings": arranged.scene.surroundings.kind,
        "light": asdict(arranged.scene.light),
        "film": asdict(arranged.film),
        "occluders": len(arranged.scene.occluders),
        "camera": {
            "kind": camera.kind,
            "framing": camera.framing,
            "fov_deg": camera.camera.fov_deg,
            "dist": list(camera.camera.dist),
        },
    }


def render_set(
    specs: Sequence[ClipSpec], out: Path, inputs: Inputs, workers: int = 1, again: bool = False
) -> Iterator[Rendered]:
    """Render clips, ``workers`` of them at a time, each in a process of its own (0: one after the other in this
    process); yields each one as it is done.

    What a clip looks like does not depend on the number of workers. An error in one clip ends the run once those
    under way are done; what is finished stays, and the next run goes on from there."""
    out.mkdir(parents=True, exist_ok=True)
    names = [s.name for s in specs]
    if len(set(names)) != len(names):
        raise HmcapError(f"Expected clips of different names, found {len(names) - len(set(names))} twice.")
    if workers <= 0:
        for spec in specs:
            yield render_clip(spec, out, inputs, again)
        return
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_apart, spec, out, inputs, again) for spec in specs]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            for job in jobs:
                job.cancel()


def _apart(spec: ClipSpec, out: Path, inputs: Inputs, again: bool) -> Rendered:
    """:func:`render_clip` in a new process: software drivers of OpenGL crash now and then where one process opens many
    contexts, and a crash shall cost no more than the clip it happens in."""
    there = None if again else finished(out / spec.name, _inputs_record(spec, inputs))
    if there is not None:
        return there
    for _ in range(_ATTEMPTS):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            try:
                return process.submit(render_clip, spec, out, inputs, again).result()
            except BrokenProcessPool:
                continue
    raise HmcapError(
        f"Expected to render the clip {spec.name}, but its process was stopped {_ATTEMPTS} times, by a crash of the "
        "OpenGL driver or for want of memory. Start it again, with fewer --workers if memory is short."
    )
