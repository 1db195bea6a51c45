"""The landmarks of a case: measured once by this software's landmark stage, kept, and shared between methods."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import numpy as np

from ....engines.backends import choose_backend
from ....engines.landmarks import DEFAULT_MODELS, LandmarkStage
from ....engines.registry import REGISTRY
from ....models.proxies import BLAZEPOSE_NAMES, BODY_NAMES, PROXY_NAMES, Proxies
from ..records import Case, Motion3D
from .fingerprint import code_version, input_fingerprint
from .footage import View, pictures, source_fps, view_of
from .store import case_file, read_npz, write_npz

_FORMAT = "hmcap-proxies-1"
_ARRAYS = ("index", "stamp_s", "image_size_px", "xy_px", "confidence", "body_xyz_m", "hands_xyz_m", "score")
_PAIRS = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
_RENAMED = {"left_big_toe": "left_foot_index", "right_big_toe": "right_foot_index"}
JOINT_NAMES = tuple(n for n in BODY_NAMES if not n.endswith("small_toe"))
"""Joints that the body landmarks give in 3-D: BODY_25 without the small toes."""
KEYPOINT_NAMES = tuple(n for n in PROXY_NAMES if not n.endswith("small_toe"))
"""Key points that the landmark networks give: the proxies without the small toes, which these networks do not know."""
_KEYPOINTS = [PROXY_NAMES.index(n) for n in KEYPOINT_NAMES]

Progress = Callable[[int, int], None]
"""Called with how many of how many frames are done."""


class Stage(Protocol):
    """What measures landmarks: :class:`hmcap.engines.landmarks.LandmarkStage`, or a stand-in of the tests."""

    def reset(self) -> None:
        """Forget the person: other footage follows."""
        ...

    def __call__(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> Proxies:
        """Proxies of one frame; frames come in order."""
        ...


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What runs the landmark networks."""

    backend: str = "auto"
    device: str = "cpu"
    threads: int | None = None


class Landmarks:
    """Landmarks of cases, from a folder of files where they are there, else from the stage, then kept."""

    def __init__(
        self, folder: Path, options: EngineOptions | None = None, *, fresh: bool = False, stage: Stage | None = None
    ) -> None:
        """``folder``: of the kept files, SET/CASE.npz in it. ``fresh``: measure anew, once. ``stage``: in place of the
        networks, which are opened when they are first needed."""
        self._folder, self._options, self._stage = folder, options or EngineOptions(), stage
        self._own = stage is not None
        self._fresh, self._made = fresh, set[Path]()
        self._settings: dict[str, str | int] | None = None

    @property
    def settings(self) -> Mapping[str, str | int]:
        """Everything that decides the landmarks of given pictures: networks, engine, and the code of the stage."""
        if self._settings is None:
            self._settings = {"stage": "own"} if self._own else _network_settings(self._options)
        return self._settings

    def __call__(self, case: Case, progress: Progress) -> list[Proxies]:
        """Proxies of every frame from the first to the last row's, those without a person included; of a case that
        begins at the proxies, these. Raises HmcapError where footage or file cannot be read."""
        if case.proxies is not None:
            return list(case.proxies)
        path = case_file(self._folder, case)
        view = view_of(case)
        key = json.dumps(
            {"input": input_fingerprint(case), "view": _described(view), "fps": source_fps(case)} | dict(self.settings),
            sort_keys=True,
        )
        if path.is_file() and (not self._fresh or path in self._made):
            found = _read(path, key)
            if found is not None:
                return found
        proxies = self._measure(case, view, progress)
        _write(path, key, proxies)
        self._made.add(path)
        return proxies

    def _open(self) -> Stage:
        if self._stage is None:
            o = self._options
            self._stage = LandmarkStage.open(backend=o.backend, device=o.device, threads=o.threads)
        return self._stage

    def _measure(self, case: Case, view: View, progress: Progress) -> list[Proxies]:
        stage, total = self._open(), int(case.index[-1]) + 1
        stage.reset()
        found = []
        for frame in pictures(case, view):
            found.append(_in_whole_picture(stage(frame.image_rgb, frame.index, frame.stamp_s), view, case))
            progress(len(found), total)
        return found


def landmark_motion(proxies: Sequence[Proxies]) -> Motion3D:
    """What landmark networks alone say of T frames: hip-centred joints and hands in the camera's axes, key points.

    Joints are the body landmarks under our names (neck and mid-hip are middles); rows without a person are NaN.
    """
    body = np.stack([p.body_xyz_m for p in proxies]).astype(np.float64)
    pairs = [_PAIRS.get(n, (_RENAMED.get(n, n),) * 2) for n in JOINT_NAMES]
    sources = np.array([[BLAZEPOSE_NAMES.index(s) for s in pair] for pair in pairs])
    joints = body[:, sources].mean(2)
    joints[~np.isfinite(joints).all((1, 2))] = np.nan
    keypoints, confidence = keypoints_of(proxies)
    return Motion3D(
        joint_names=JOINT_NAMES,
        joints_m=joints,
        hands_m=np.stack([p.hands_xyz_m for p in proxies]).astype(np.float64),
        keypoint_names=KEYPOINT_NAMES,
        keypoints_px=keypoints,
        keypoint_confidence=confidence,
    )


def keypoints_of(proxies: Sequence[Proxies]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, 65, 2) px of the KEYPOINT_NAMES, NaN where masked, and their confidence (T, 65)."""
    confidence = np.stack([p.confidence[_KEYPOINTS] for p in proxies]).astype(np.float64)
    xy_px = np.stack([p.xy_px[_KEYPOINTS] for p in proxies]).astype(np.float64)
    return np.where(confidence[..., None] > 0, xy_px, np.nan), confidence


def at_rows(case: Case, proxies: Sequence[Proxies]) -> np.ndarray:
    """(T,) position in ``proxies`` of each row of the case; -1 for a frame that the source could not give."""
    place = {p.index: i for i, p in enumerate(proxies)}
    return np.array([place.get(int(r), -1) for r in case.index])


def _in_whole_picture(p: Proxies, view: View, case: Case) -> Proxies:
    if view.boxes_px is None:
        return p
    shifted = (p.xy_px + np.array(view.shift_px, np.float32)).astype(np.float32)
    return replace(p, xy_px=shifted, image_size_px=(case.camera.width_px, case.camera.height_px))


def _network_settings(options: EngineOptions) -> dict[str, str | int]:
    """Settings of the networks, without opening them: they need not be there where everything is kept already."""
    name = choose_backend(options.backend, options.device).name
    networks = "".join(REGISTRY[network].sha256 for network in DEFAULT_MODELS.values())
    return {
        "engine": f"{name} {_library_version(name)}".strip(),
        "device": options.device,
        "threads": "default" if options.threads is None else options.threads,
        "networks": hashlib.sha256(networks.encode()).hexdigest()[:10],
        "stage": code_version("engines.landmarks", "tools.evaluation.methods.footage"),
    }


def _library_version(name: str) -> str:
    for distribution in (name, f"{name}-gpu", f"{name}-directml"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return ""


def _described(view: View) -> str:
    return "all" if view.boxes_px is None else json.dumps(view.boxes_px.tolist())


def _read(path: Path, key: str) -> list[Proxies] | None:
    """The proxies of a file, or None where it holds those of other pictures, networks or code."""
    data = read_npz(path, "kept landmarks", "Delete it, or make it again with --fresh.")
    if set(data) != {*_ARRAYS, "format", "key"} or str(data["format"]) != _FORMAT or str(data["key"]) != key:
        return None
    return [
        Proxies(
            int(index), float(stamp), (int(size[0]), int(size[1])), xy, confidence, body, hands, float(score)
        )
        for index, stamp, size, xy, confidence, body, hands, score in zip(*(data[n] for n in _ARRAYS), strict=True)
    ]  # fmt: skip


def _write(path: Path, key: str, proxies: Sequence[Proxies]) -> None:
    arrays = {name: np.stack([np.asarray(getattr(p, name)) for p in proxies]) for name in _ARRAYS}
    write_npz(path, {"format": np.array(_FORMAT), "key": np.array(key)} | arrays)
