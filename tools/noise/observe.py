"""Runs the landmark stage over rendered clips, and lays what it saw beside the exact truth."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ...engines.landmarks import DEFAULT_MODELS, LandmarkStage
from ...engines.registry import REGISTRY
from ...models.body import BodyModel, load_body
from ...models.camera import Camera
from ...models.errors import HmcapError
from ...models.markers import blazepose_rig
from ...models.proxies import Proxies
from ...realtime.sources import open_source
from ..rendering.truth import read_truth
from .tracks import Conditions, Tracks, conditions, tracks_of


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One clip: truth, and what the landmark stage said of its T frames."""

    name: str
    fps: float
    tracks: Tracks
    cond: Conditions
    xy_px: np.ndarray
    """(T, 67, 2); NaN where there is no person, or no hand."""
    confidence: np.ndarray
    """(T, 67)."""
    body_xyz_m: np.ndarray
    """(T, 33, 3); NaN where there is none."""
    hands_xyz_m: np.ndarray
    """(T, 2, 21, 3); NaN where a hand is not found."""
    score: np.ndarray
    """(T,) 0 where nobody is seen."""

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.score)

    @property
    def present(self) -> np.ndarray:
        """(T,) bool."""
        return self.score > 0

    @property
    def found(self) -> np.ndarray:
        """(T, 2) bool: left hand, right hand."""
        return np.all(np.isfinite(self.hands_xyz_m), axis=(2, 3))


def networks_version() -> str:
    """Digest of the landmark networks and of the software around them: a part of the name of a kept observation."""
    names = {module: REGISTRY[name].sha256 for module, name in DEFAULT_MODELS.items()}
    text = json.dumps({"networks": names, "hmcap": version("hmcap")}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_clips(folder: str | Path) -> list[Path]:
    """Folders of clips below ``folder``, sorted by name. Raises HmcapError where there are none."""
    folder = Path(folder).expanduser()
    clips = sorted(p.parent for p in folder.glob("*/truth.npz")) if folder.is_dir() else []
    if not clips:
        found = "no clip in it" if folder.is_dir() else "no such folder"
        raise HmcapError(
            f"Expected rendered clips (<clip>/video.mp4 and truth.npz) in {folder}, found {found}. "
            "Render the measurement set first: python -m hmcap.tools.rendering --help."
        )
    return clips


def observe(
    clips: Sequence[Path], *, refresh: bool = False, tell: Callable[[str], None] | None = None
) -> list[Observation]:
    """Every clip with what the landmark stage sees in its video. What it saw is kept beside the clip in
    ``landmarks-<networks>-<video>.npz``, named by digests of both, and read from there the next time, unless
    ``refresh``."""
    body = load_body()
    stage: LandmarkStage | None = None
    out = []
    for clip in clips:
        video = _video(clip)
        digest = hashlib.sha256(video.read_bytes()).hexdigest()[:12]
        cache = clip / f"landmarks-{networks_version()}-{digest}.npz"
        if refresh or not cache.is_file():
            stage = stage or LandmarkStage.open()
            stage.reset()
            with open_source(video) as source:
                seen = [stage(f.image_rgb, f.index, f.stamp_s) for f in source]
            _write(cache, seen)
            if tell is not None:
                tell(f"{clip.name}: {len(seen)} frames")
        out.append(_paired(clip, _read(cache), body))
    return out


def _video(clip: Path) -> Path:
    found = sorted(p for p in clip.glob("video.*") if p.is_file())
    if not found:
        raise HmcapError(f"Expected a video beside {clip / 'truth.npz'}, found none. Render the clip again.")
    return found[0]


def _write(path: Path, seen: Sequence[Proxies]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            xy_px=np.stack([p.xy_px for p in seen]),
            confidence=np.stack([p.confidence for p in seen]),
            body_xyz_m=np.stack([p.body_xyz_m for p in seen]),
            hands_xyz_m=np.stack([p.hands_xyz_m for p in seen]),
            score=np.array([p.score for p in seen]),
        )


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {k: file[k] for k in ("xy_px", "confidence", "body_xyz_m", "hands_xyz_m", "score")}
    except (ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise HmcapError(f"Expected landmarks in {path}, but it cannot be read ({error}). Delete the file.") from error


def _paired(clip: Path, seen: dict[str, np.ndarray], body: BodyModel) -> Observation:
    truth = read_truth(clip / "truth.npz")
    if len(seen["score"]) != truth.frames:
        raise HmcapError(
            f"Expected {truth.frames} frames in the video of {clip}, as truth.npz has, found {len(seen['score'])}. "
            "Render the clip again."
        )
    width, height = (int(v) for v in truth.image_size_px)
    K = truth.K
    camera = Camera(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2], tuple(float(d) for d in truth.dist))
    posed = body.with_shape(truth.betas.astype(np.float32)).with_pose(
        truth.poses.astype(np.float32), truth.trans_m.astype(np.float32)
    )
    world33 = np.asarray(blazepose_rig(body).in_world_m(posed), np.float64)
    blur = np.nan_to_num(truth.blur_px)
    tracks = tracks_of(truth.proxies_world_m, world33, truth.T_cam_world, camera, truth.proxies_visible, blur)
    xy = seen["xy_px"].astype(np.float64)
    found = np.all(np.isfinite(seen["hands_xyz_m"]), axis=(2, 3))
    known = np.concatenate([np.repeat((seen["score"] > 0)[:, None], 25, 1), np.repeat(found, 21, axis=1)], axis=1)
    return Observation(
        clip.name,
        float(truth.fps),
        tracks,
        conditions(tracks),
        np.where(known[..., None], xy, np.nan),
        seen["confidence"].astype(np.float64),
        seen["body_xyz_m"].astype(np.float64),
        seen["hands_xyz_m"].astype(np.float64),
        seen["score"].astype(np.float64),
    )
