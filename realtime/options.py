"""Everything a user may choose about a capture, under the names of the command line, checked before anything starts."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..engines.base import PRECISIONS
from ..engines.landmarks.tracking import MAX_PEOPLE, check_subject
from ..models.body import load_body
from ..models.errors import HmcapError, UsageError
from ..models.paths import user_path
from ..models.solver.settings import SolverSettings
from .addresses import (
    DEFAULT_VIEWER,
    DEFAULT_VMC,
    DEFAULT_WEBSOCKET,
    Address,
    check_token,
    check_token_seen,
    parse_address,
)
from .camera_options import CameraOptions
from .exporters import EXPORTERS, ExportOptions
from .motion import DEFAULT_MOTION, MOTIONS
from .streams import FACES

HEIGHT_LIMITS_M = (0.4, 2.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureOptions:
    """Choices of one capture; each field is the command-line option of the same name."""

    export: tuple[str, ...] | str = ()
    """Formats to write when the take is complete, names of ``exporters.EXPORTERS``."""
    overlay: str | Path | None = None
    """MP4 file to write: the footage with the captured body over it."""
    side_by_side: str | Path | None = None
    """MP4 file to write: the footage, and beside it the captured body alone, seen from the side."""
    out: str | Path | None = None
    """Folder of the take and the exports; default: beside the input, or the current folder for live sources."""
    report: str | Path | None = None
    """JSON file to write the end-of-run report to."""
    record: bool = False
    """Record a webcam from its first frame, as ``export`` does too (a file always keeps a take)."""

    viewer: str | None = None
    """Address, HOST:PORT, at which browsers see the capture live; None for no viewer."""
    viewer_token: str | None = None
    """What a browser must know; where other computers can reach the viewer and None is given, one is made."""

    engine: str = "auto"
    """Inference back end: ``auto``, ``openvino``, ``onnxruntime``, ``tensorrt``, ``tensorrt_rtx``."""
    device: str = "cpu"
    """Device that the networks must run on; one that does not come up is an error."""
    threads: int | None = None
    """CPU threads of each network; None lets the engine choose."""
    precision: str = "f32"
    """What the networks compute in: ``f32``, ``f16``, ``bf16``; what the device cannot do is an error."""

    body_network: str | None = None
    """Landmark network of your own for the body, under the name that ``hmcap models add`` gave it."""
    hand_network: str | None = None
    """The same for the hands."""
    face: bool = False
    """Capture the face too: the weights of 52 face shapes in every frame."""

    motion: str = DEFAULT_MOTION
    """What turns landmarks into motion: ``networks`` (trained) or ``solver`` (classical)."""
    look_ahead: int | None = None
    """Frames that the networks look ahead, of those that the weights offer; None for the most in files and for none
    live."""
    motion_weights: str | Path | None = None
    """ONNX file of motion networks of your own; None for those that come with the package."""

    fov_deg: float | None = None
    focal_mm: float | None = None
    sensor_mm: float | None = None
    focal_px: float | None = None
    calib: str | Path | None = None

    subject: str | int = "largest"
    """Whom to follow: ``largest``, ``left``, ``right`` or a number counted from the left, from 0."""
    people: int = 1
    """How many people to capture, each with a take and exports of their own (video files only)."""
    body: str | Path | None = None
    """Body model in the SMPL-X layout (npz); None for the built-in one."""
    height_m: float | None = None
    """Standing height of the person, metres; sets the scale of the world."""

    vmc: str | None = None
    """HOST:PORT of a program that receives the Virtual Motion Capture protocol, to send the motion to."""
    vmc_face: str = "both"
    """Face shapes that are sent there: ``arkit`` (the 52 of PerfectSync), ``vrm`` (clips of VRM 0) or ``both``."""
    websocket: str | None = None
    """HOST:PORT to serve the motion at as lines of JSON."""
    websocket_token: str | None = None
    """What clients of that must know; where other computers can reach it and None is given, one is made."""
    virtual_camera: str | None = None
    """Device (``/dev/video10``, or ``auto``) of a virtual camera to show the overlay on; Linux."""

    fps: float | None = None
    """Frame rate of an image folder, or the one to ask a webcam for."""
    start: float = 0.0
    """First second of the footage to use."""
    end: float | None = None
    """Second of the footage to stop at."""
    max_frames: int | None = None
    """Most frames to capture."""

    joint_names: str = "mixamo"
    t_pose_frame: bool = False
    up: str = "y"
    smooth: float | None = None
    """Cut-off of a low pass over the motion in exported files, Hz."""
    lock_feet: bool = False
    """Hold feet that stand, in exported files."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "export", parse_formats(self.export))
        object.__setattr__(self, "device", self.device.lower())
        check_subject(self.subject)
        if not 1 <= self.people <= MAX_PEOPLE:
            raise UsageError(f"--people takes a number from 1 to {MAX_PEOPLE}; found {self.people}.")
        self.camera_options()
        self.export_options()
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads takes a whole number, 1 or more; found {self.threads}.")
        if self.precision not in PRECISIONS:
            raise UsageError(f"--precision takes one of {', '.join(PRECISIONS)}; found {self.precision!r}.")
        self._check_motion()
        self._check_streams()
        low, high = HEIGHT_LIMITS_M
        if self.height_m is not None and not low <= self.height_m <= high:
            raise UsageError(
                f"--height-m takes the person's height in metres, {low:g} to {high:g}; found {self.height_m:g}."
                + (
                    f" Centimetres? Try --height-m {self.height_m / 100:g}"
                    if low <= self.height_m / 100 <= high
                    else ""
                )
            )
        if self.body is not None:
            load_body(self.body)
        self.networks()

    def _check_motion(self) -> None:
        if self.motion not in MOTIONS:
            near = difflib.get_close_matches(self.motion, MOTIONS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"--motion takes {' or '.join(MOTIONS)}; found {str(self.motion)[:60]!r}.{hint}")
        for name, value in (("--look-ahead", self.look_ahead), ("--motion-weights", self.motion_weights)):
            if value is not None and self.motion != "networks":
                raise UsageError(
                    f"{name} is for networks; found it with --motion {self.motion}. Add --motion networks, or leave "
                    "it out."
                )
        if self.look_ahead is not None and self.look_ahead < 0:
            raise UsageError(f"--look-ahead takes a number of frames, 0 or more; found {self.look_ahead}.")

    def _check_streams(self) -> None:
        if self.vmc is not None:
            parse_address(self.vmc, "--vmc", DEFAULT_VMC)
        if self.vmc_face not in FACES:
            raise UsageError(f"--vmc-face takes one of {', '.join(FACES)}; found {self.vmc_face!r}.")
        for option, served, token in self._served():
            check_token(token, f"{option}-token")
            if served is None and token is not None:
                raise UsageError(f"{option}-token is for {option}; found it alone. Add {option}.")

    def _served(self) -> Iterator[tuple[str, Address | None, str | None]]:
        """What others may connect to: option, address, token."""
        for option, address, default, token in (
            ("--viewer", self.viewer, DEFAULT_VIEWER, self.viewer_token),
            ("--websocket", self.websocket, DEFAULT_WEBSOCKET, self.websocket_token),
        ):
            yield option, None if address is None else parse_address(address, option, default, any_port=True), token

    def check_tokens_seen(self, shown: bool) -> None:
        """Raise ``UsageError`` where a token would be made that nobody sees; ``shown``: whether a run prints."""
        for option, address, token in self._served():
            if address is not None:
                check_token_seen(address, token, option, shown)

    def networks(self) -> dict[str, dict[str, str]]:
        """The landmark networks of the user's own: ``body`` and ``hand``, each with name, layout and SHA-256."""
        from ..engines.landmarks.mmpose import find_network

        found = {}
        chosen: dict[Literal["body", "hand"], str | None] = {"body": self.body_network, "hand": self.hand_network}
        for part, name in chosen.items():
            if name is not None:
                file, form = find_network(name, part)
                found[part] = {"name": name, "layout": form.layout, "sha256": file.sha256}
        return found

    @property
    def records(self) -> bool:
        """Whether a webcam is recorded from its first frame."""
        return self.record or bool(self.export)

    def camera_options(self) -> CameraOptions:
        """The options that concern the lens."""
        return CameraOptions(self.fov_deg, self.focal_mm, self.sensor_mm, self.focal_px, self.calib)

    def export_options(self) -> ExportOptions:
        """The options that concern the files written from the take."""
        return ExportOptions(self.joint_names, self.t_pose_frame, self.up, smooth=self.smooth, lock_feet=self.lock_feet)

    def solver_settings(self) -> SolverSettings:
        """The options that concern the solver."""
        return SolverSettings(height_m=self.height_m)

    def to_settings(self) -> dict[str, Any]:
        """What the take keeps: everything that says how it was made, as plain values."""
        kept = (
            "subject",
            "people",
            "height_m",
            "start",
            "end",
            "max_frames",
            "engine",
            "device",
            "threads",
            "body_network",
            "hand_network",
            "face",
            "precision",
            "motion",
            "look_ahead",
        )
        files = {"body": self.body, "motion_weights": self.motion_weights}
        settings = {name: getattr(self, name) for name in kept} | {"networks": self.networks()}
        return settings | {n: None if f is None else str(user_path(f).resolve()) for n, f in files.items()}


def options_from_settings(settings: Any) -> CaptureOptions:
    """The part of the options that solving an earlier take again needs, from what the take kept."""
    names = ("height_m", "body", "motion", "look_ahead", "motion_weights")
    known = {name: settings[name] for name in names if settings.get(name) is not None}
    try:
        return CaptureOptions(**known)
    except (TypeError, ValueError, OverflowError) as error:
        raise HmcapError(
            f"Expected settings that hmcap wrote in this take; found others: {str(error)[:150]}. Use another copy "
            "of the take, or capture again."
        ) from error


def parse_formats(formats: Iterable[str] | str) -> tuple[str, ...]:
    """Format names from ``bvh,npz`` or several of those, in order, without repeats. Raises ``UsageError``."""
    parts = [formats] if isinstance(formats, str) else list(formats)
    names = [name.strip().lower().lstrip(".") for part in parts for name in part.split(",")]
    for name in names:
        if name not in EXPORTERS and (name or parts != [""]):
            near = difflib.get_close_matches(name, EXPORTERS, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]}?" if near else " Try bvh,npz"
            raise UsageError(f"Unknown export format {name!r}: expected some of {', '.join(EXPORTERS)}.{hint}")
    return tuple(dict.fromkeys(filter(None, names)))
