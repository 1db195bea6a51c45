"""Peers: systems of others, run by scripts in environments of their own and read back from the files they wrote.

MediaPipe Holistic runs through ``tools/peer_mediapipe.py``, which imports nothing of hmcap, in a Python that has
``mediapipe==0.10.21`` (it pins libraries that hmcap does not share). A peer is given pictures and nothing of the truth:
the same ones as every other method, those of :mod:`.footage`. Its results stay as the script's own npz in
``FOLDER/peers/METHOD/SET/CASE.npz``; what is compared is made from them each time.

MediaPipe's world landmarks are hip-centred metres in the axes of the camera and know neither a lens nor a place.
On single pictures its tracking does nothing: a first frame is always found anew, as with ``static_image_mode``.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ....engines.landmarks.geometry import Roi
from ....engines.landmarks.mapping import to_proxies
from ....engines.landmarks.networks import Body, Hand
from ....models.errors import HmcapError, UsageError
from ....models.proxies import Proxies
from ..records import Case, Prediction
from .fingerprint import input_fingerprint, last_frame
from .footage import pictures, view_of
from .landmarks import at_rows, landmark_motion
from .store import case_file, parse_settings, read_npz

VERSION = "0.10.21"
SCRIPT = Path(__file__).resolve().parents[2] / "peer_mediapipe.py"
_TOGETHER = 32
"""Cases that one run of the script is given."""
_ARRAYS: dict[str, tuple[int, ...]] = {
    "index": (),
    "pose_px": (33, 2),
    "visibility": (33,),
    "world_m": (33, 3),
    "hands_px": (2, 21, 2),
    "hands_world_m": (2, 21, 3),
}
_OF_THE_CASE = ("source", "image_size_px", "tag")
"""Settings of the script that are no settings of the method."""


class PeerMissing(HmcapError):
    """There is no result of the peer for a case, and nothing to make one with."""


@dataclass(frozen=True, slots=True)
class MediaPipe:
    """MediaPipe Holistic's own 3-D and key points, with or without its smoothing over time."""

    folder: Path
    """Folder of the peers' files."""
    python: Path | None = None
    """Python of the environment that has MediaPipe; None reads what is there."""
    smooth: bool = False
    fresh: bool = False

    @property
    def name(self) -> str:
        """As the command line takes it."""
        return "mediapipe-smooth" if self.smooth else "mediapipe"

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"MediaPipe Holistic {VERSION}, {'its smoothing on' if self.smooth else 'no smoothing'}"

    def file(self, case: Case) -> Path:
        """Where its result for a case lies."""
        return case_file(self.folder / self.name, case)

    def prepare(self, cases: Sequence[Case], say: Callable[[str], None]) -> dict[str, HmcapError]:
        """Run the script on the cases that have no result yet, a few at a time.

        Returns the errors by the case's name. Raises HmcapError where the environment itself does not work. Without
        a Python of its own it does nothing.
        """
        errors: dict[str, HmcapError] = {}
        if self.python is None:
            return errors
        waiting = []
        for case in cases:
            try:
                if case.footage is not None and (self.fresh or not self._current(case)):
                    waiting.append(case)
            except HmcapError as error:
                errors[case.name] = error
        for start in range(0, len(waiting), _TOGETHER):
            part = waiting[start : start + _TOGETHER]
            say(f"{self.name}: {part[0].set_name}, {start + 1} to {start + len(part)} of {len(waiting)} cases")
            errors |= self._run(part)
        return errors

    def predict(self, case: Case) -> Prediction:
        """What the peer's result says of a case. Raises :class:`PeerMissing` where there is none, and HmcapError where
        the file is not the script's or belongs to other footage."""
        path = self.file(case)
        if case.footage is None:
            raise PeerMissing(f"it needs pictures, and the set {case.set_name} begins at the proxies.")
        if not path.is_file():
            raise PeerMissing(how_to(self.name))
        data, settings = _read(path)
        if settings.get("tag", tag_of(case)) != tag_of(case):
            raise HmcapError(
                f"Expected {self.name}'s result for the footage of {case.set_name}/{case.name} in {path}, found one "
                "for other footage. Delete it, or make it again with --peer-python FILE."
            )
        proxies = _proxies(data, settings, case, path)
        places = at_rows(case, proxies)
        if (places < 0).any():
            row = int(np.argmax(places < 0))
            raise HmcapError(
                f"Expected a result for frame {case.footage.index[row]} of {case.footage.source} in {path}, found "
                f"{len(proxies)} frames without it. Delete the file, or make it again with --fresh --peer-python FILE."
            )
        plain = {k: v for k, v in settings.items() if k not in _OF_THE_CASE}
        version = str(plain.pop("mediapipe", "unknown"))
        return Prediction(self.name, version, plain, landmark_motion([proxies[i] for i in places]), path)

    def _current(self, case: Case) -> bool:
        path = self.file(case)
        return path.is_file() and _read(path)[1].get("tag", tag_of(case)) == tag_of(case)

    def _run(self, cases: Sequence[Case]) -> dict[str, HmcapError]:
        errors: dict[str, HmcapError] = {}
        with tempfile.TemporaryDirectory(prefix="hmcap-peer-") as name:
            folder, jobs, by_out = Path(name), [], dict[str, str]()
            for i, case in enumerate(cases):
                out = self.file(case)
                try:
                    out.parent.mkdir(parents=True, exist_ok=True)
                    jobs.append(_job(case, out, folder / str(i)))
                    by_out[str(out)] = case.name
                except OSError as error:
                    raise HmcapError(
                        f"Expected to write pictures and results of {self.name} in {folder} and {out.parent}, but the "
                        f"system says: {error.strerror or error}. Free some space, or name another folder with "
                        "--predictions FOLDER."
                    ) from error
                except HmcapError as error:
                    errors[case.name] = error
            file = folder / "jobs.json"
            file.write_text(json.dumps(jobs), encoding="utf-8")
            lines, trouble = self._script(file)
        done = set[str]()
        for line in lines:
            word, _, rest = line.partition("\t")
            out, _, reason = rest.partition("\t")
            if word == "FAILED" and out in by_out:
                errors[by_out[out]] = self._failed(by_out[out], reason)
            elif word == "DONE":
                done.add(out)
        # An older result may lie there: it stays until the script has put a new one in its place.
        without = [name for out, name in by_out.items() if name not in errors and out not in done]
        if without and len(without) == len(by_out):
            raise HmcapError(
                f"Expected the script of {self.name} to run in {self.python}, but it {trouble}. {how_to(self.name)}"
            )
        return errors | {name: self._failed(name, f"the script {trouble}") for name in without}

    def _failed(self, case: str, reason: str) -> HmcapError:
        return HmcapError(
            f"Expected {self.name} to run on {case}, but it said: {reason.rstrip('.')}. Try its script on the footage "
            f"alone: {self.python} {SCRIPT} SOURCE OUT.npz"
        )

    def _script(self, jobs: Path) -> tuple[list[str], str]:
        """Lines that the script printed, and how it ended, in words."""
        command = [str(self.python), str(SCRIPT), "--jobs", str(jobs), *(["--smooth"] if self.smooth else [])]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        try:
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace",
                env=environment, check=False,
            )  # fmt: skip
        except OSError as error:
            raise UsageError(
                f"Expected the Python of the environment that has mediapipe=={VERSION} as --peer-python, but "
                f"{self.python} cannot be started ({error.strerror or error}). {how_to(self.name)}"
            ) from error
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        return (
            done.stdout.splitlines(),
            f"ended with exit code {done.returncode} and said: {said[-1].strip().rstrip('.')}",
        )


def how_to(name: str) -> str:
    """What to type so that the peer ``name`` can be measured."""
    bin_folder = "Scripts" if sys.platform == "win32" else "bin"
    return (
        f"{name} needs an environment of its own. Type: python -m venv peer && peer/{bin_folder}/python -m pip install "
        f"mediapipe=={VERSION} and then add to this command: --peer-python peer/{bin_folder}/python"
    )


def tag_of(case: Case) -> str:
    """Digest of the pictures that a peer is given of a case."""
    view = view_of(case)
    boxes = None if view.boxes_px is None else view.boxes_px.tolist()
    text = json.dumps({"input": input_fingerprint(case), "rect": view.rect_px, "boxes": boxes})
    return hashlib.sha256(text.encode()).hexdigest()


def _job(case: Case, out: Path, folder: Path) -> dict[str, Any]:
    """The script's job for a case; pictures that are cut to a person are written to ``folder`` for it."""
    assert case.footage is not None
    source, view = case.footage.source, view_of(case)
    if view.boxes_px is not None:
        source = folder
        folder.mkdir()
        for frame in pictures(case, view):
            # OpenCV cannot write names outside the code page on Windows; bytes can be written anywhere.
            png = cv2.imencode(".png", cv2.cvtColor(frame.image_rgb, cv2.COLOR_RGB2BGR))[1]
            (folder / f"{frame.index:08d}.png").write_bytes(png.tobytes())
    job = {"source": str(source.resolve()), "out": str(out), "tag": tag_of(case), "max_frames": last_frame(case) + 1}
    return job


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and settings of a file of the script."""
    what, step = "a result of peer_mediapipe.py", "Delete it, or make it again with --fresh --peer-python FILE."
    data = read_npz(path, what, step)
    count = len(data["index"]) if data.get("index", np.zeros(())).ndim == 1 else -1
    for name, shape in _ARRAYS.items():
        if name not in data or data[name].shape != (count, *shape) or data[name].dtype.kind not in "fiu":
            found = f"{data[name].dtype} {data[name].shape}" if name in data else "none"
            raise HmcapError(f"Expected numbers {('frames', *shape)} as {name} in {path}, found {found}. {step}")
    try:
        settings = json.loads(str(data.get("settings", "")))
        if not isinstance(settings, dict):
            raise ValueError(type(settings).__name__)
        size = settings.pop("image_size_px", None)
        plain = parse_settings(json.dumps(settings))
    except (ValueError, RecursionError) as error:
        raise HmcapError(f"Expected a JSON object as settings in {path}, found none ({error}). {step}") from error
    return data, plain | ({} if size is None else {"image_size_px": size})


def _proxies(data: Mapping[str, np.ndarray], settings: Mapping[str, Any], case: Case, path: Path) -> list[Proxies]:
    """The peer's landmarks as the landmark stage would give them, in the whole picture: the same mapping for both."""
    view = view_of(case)
    left, top, right, bottom = view.rect_px
    if settings.get("image_size_px", [right - left, bottom - top]) != [right - left, bottom - top]:
        raise HmcapError(
            f"Expected results on pictures of {right - left}x{bottom - top} pixels in {path}, as those of "
            f"{case.set_name}/{case.name} are, found {settings['image_size_px']}. Delete it, or make it again with "
            "--fresh --peer-python FILE."
        )
    shift = np.array([left, top], np.float32)
    size = (case.camera.width_px, case.camera.height_px)
    nowhere, found = Roi(0.0, 0.0, 1.0), []
    for i, index in enumerate(data["index"].tolist()):
        pose = data["pose_px"][i] + shift
        if not np.isfinite(pose).all():
            found.append(Proxies.absent(index, 0.0, size))
            continue
        body = Body(
            1.0, pose, data["visibility"][i], np.ones(33, np.float32), data["world_m"][i], np.zeros((2, 3)), nowhere
        )
        hands = []
        for side in (0, 1):
            xy = data["hands_px"][i, side] + shift
            seen = bool(np.isfinite(xy).all())
            hands.append(Hand(1.0, float(side), xy, data["hands_world_m"][i, side], nowhere) if seen else None)
        found.append(to_proxies(index, 0.0, size, body, hands))
    return found
