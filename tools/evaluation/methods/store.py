"""Predictions as files: what a method says of a case, kept so that it is measured again in seconds.

``FOLDER/METHOD/SET/CASE.npz``, and any other system's predictions can be brought in the same layout. A file is an npz
without pickled objects; T rows belong to the T rows of the case, in the same order:

=====================  ===============  ================================================================================
``format``             text             "hmcap-prediction-1"
``method``             text             name of the method, that of the folder
``version``            text             version of the software that made it
``settings``           text             JSON object of plain values: everything that decides the numbers ("{}" for none)
``index``              (T,) int         frame of the source that each row belongs to, from 0, as the case has it
``joint_names``        (J,) text        names of ``hmcap.models.proxies.PROXY_NAMES``, or "smplx\\_" and an SMPL-X joint
``joints_m``           (T, J, 3)        metres; camera axes (x right, y down, z forward), or the world if ``in_world``
``in_world``           bool             joints, hands and feet are in a world with Y up and the floor at y = 0
``T_cam_world``        (T, 4, 4)        takes points of that world to the camera
``hands_m``            (T, 2, 21, 3)    left and right hand, ``hmcap.models.proxies.HAND_NAMES``; any origin
``feet_m``             (T, 4, 3)        left heel, left toe, right heel, right toe
``contact``            (T, 4)           probability that each of them stands
``poses``              (T, 55, 3)       SMPL-X axis-angle, hands relative to the flat hand; root in the axes of joints
``trans_m``            (T, 3)           pelvis = rest pelvis + trans_m
``betas``              (B,)             shape
``body_model``         text             path of the SMPL-X file of poses and betas; "" is the built-in body
``keypoint_names``     (K,) text        names of ``PROXY_NAMES``
``keypoints_px``       (T, K, 2)        pixels of the upright picture; NaN where there is none
``keypoint_confidence`` (T, K)          0 to 1
``set``, ``case``      text             what the file belongs to
``fingerprint``        text             of the case's input; written by hmcap, left out of files that others make
=====================  ===============  ================================================================================

The first five must be there and at least one of ``joints_m``, ``hands_m``, ``poses`` and ``keypoints_px``; what belongs
together (names and positions; poses, trans_m, betas and body_model) comes together. A row in which nobody was found is
NaN as a whole; a joint that the method does not know is left out of ``joint_names``.
"""

import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np

from ....engines.store import atomic_write
from ....models.errors import HmcapError
from ....models.npz import BadNpz, open_npz
from ..checks import checked
from ..records import BodyParameters, Case, Motion3D, Prediction
from ..surface import surface_of
from .fingerprint import case_fingerprint

FORMAT = "hmcap-prediction-1"
RESERVED = ("peers", "proxies")
"""Names of folders beside the predictions that hold something else and are no methods."""

_TEXTS = ("format", "method", "version", "settings", "set", "case", "fingerprint", "body_model")
_NAMES = ("joint_names", "keypoint_names")
_ARRAYS: dict[str, tuple[str | int, ...]] = {
    "joints_m": ("T", "J", 3),
    "T_cam_world": ("T", 4, 4),
    "hands_m": ("T", 2, 21, 3),
    "feet_m": ("T", 4, 3),
    "contact": ("T", 4),
    "poses": ("T", 55, 3),
    "trans_m": ("T", 3),
    "betas": ("B",),
    "keypoints_px": ("T", "K", 2),
    "keypoint_confidence": ("T", "K"),
}
_NEEDED = ("format", "method", "version", "settings", "index")
_TOGETHER = (
    ("joints_m", "joint_names"),
    ("keypoints_px", "keypoint_names"),
    ("poses", "trans_m", "betas", "body_model"),
)
_SUBSTANCE = ("joints_m", "hands_m", "poses", "keypoints_px")
_KNOWN = (*_TEXTS, *_NAMES, *_ARRAYS, "index", "in_world")


class ForeignPrediction(HmcapError):
    """A prediction that was made for another input than the case's."""


def prediction_path(folder: Path, method: str, case: Case) -> Path:
    """Where the prediction of a method for a case lies."""
    return case_file(folder / method, case)


def case_file(folder: Path, case: Case) -> Path:
    """SET/CASE.npz in a folder. Raises HmcapError for a name that could lead out of it."""
    for name in (case.set_name, case.name):
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
            raise HmcapError(
                f"Expected letters, digits, dots, dashes and underscores in the name of a case, found {name!r} in the "
                f"set {case.set_name}. Its loader has to give another name."
            )
    return folder / case.set_name / f"{case.name}.npz"


def write_prediction(path: Path, prediction: Prediction, case: Case) -> None:
    """Write the file, all of it or none. The surface is not written: it follows from the body's parameters.

    Raises HmcapError where the folder cannot be written.
    """
    motion, rows = prediction.motion, case.index
    arrays: dict[str, np.ndarray | None] = {name: getattr(motion, name, None) for name in _ARRAYS}
    if motion.body is not None:
        arrays |= {name: getattr(motion.body, name) for name in ("poses", "trans_m", "betas")}
        arrays["body_model"] = np.array(motion.body.model)
    if motion.joints_m is not None:
        arrays["joint_names"] = np.array(motion.joint_names)
    if motion.keypoints_px is not None:
        arrays["keypoint_names"] = np.array(motion.keypoint_names)
    texts = {
        "format": FORMAT,
        "method": prediction.method,
        "version": prediction.version,
        "settings": json.dumps(dict(prediction.settings), sort_keys=True),
        "set": case.set_name,
        "case": case.name,
        "fingerprint": case_fingerprint(case),
    }
    data = {name: np.array(text) for name, text in texts.items()} | {
        "index": rows,
        "in_world": np.array(motion.in_world),
    }
    for name, array in arrays.items():
        if array is not None:
            data[name] = np.asarray(array, np.float64) if name in _ARRAYS else array
    write_npz(path, data)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An npz file that is there as a whole or not at all. Raises HmcapError where it cannot be written."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    try:
        atomic_write(path, buffer.getvalue())
    except OSError as error:
        raise HmcapError(
            f"Expected to write {path}, but the system says: {error.strerror or error}. "
            "Name a folder that you may write with --predictions FOLDER."
        ) from error


def read_npz(path: Path, what: str, step: str) -> dict[str, np.ndarray]:
    """Every array of an npz file. Raises HmcapError where there is none, it is damaged, or it holds pickled objects;
    ``what`` was expected, ``step`` says what to type next."""
    try:
        with open_npz(path) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError as error:
        raise HmcapError(f"Expected {what} in {path}, found no such file. {step}") from error
    except (BadNpz, OSError) as error:
        raise HmcapError(f"Expected {what} in {path}, but {error}. {step}") from error


def is_brought(path: Path) -> bool:
    """Whether a file is a prediction that another program made, over which hmcap never writes; of a damaged one nothing
    can be told, and it is none."""
    try:
        return "fingerprint" not in read_npz(path, "a prediction", "")
    except HmcapError:
        return False


def read_prediction(path: Path, case: Case, method: str, step: str = "") -> Prediction:
    """The prediction of ``method`` for ``case`` in a file, every array checked; ``step`` ends the messages with what to
    do next.

    Raises :class:`ForeignPrediction` where it belongs to another case or the case's input has changed since, and
    HmcapError where there is no such file or it is not laid out as this module says.
    """
    check = _Checks(path, read_npz(path, "a prediction (npz, no pickled objects)", step), step)
    check.texts_and_names()
    check.belongs_to(case, method)
    check.arrays(case)
    prediction = check.prediction()
    checked(case, prediction)
    return prediction


class _Checks:
    """The arrays of one file, on their way to a record."""

    def __init__(self, path: Path, data: dict[str, np.ndarray], step: str) -> None:
        self.path, self.data, self.step = path, data, step

    def fail(self, expected: str, found: str) -> NoReturn:
        raise HmcapError(f"Expected {expected} in the prediction {self.path}, found {found}. {self.step}")

    def text(self, name: str) -> str:
        return str(self.data[name])

    def texts_and_names(self) -> None:
        data = self.data
        unknown = sorted(set(data) - set(_KNOWN))
        missing = [name for name in _NEEDED if name not in data]
        if unknown or missing:
            found = f"unknown: {', '.join(unknown)}" if unknown else f"no {', '.join(missing)}"
            self.fail(f"{', '.join(_NEEDED)} and arrays among {', '.join((*_NAMES, *_ARRAYS))}", found)
        for name in _TEXTS:
            if name in data and (data[name].shape or data[name].dtype.kind != "U"):
                self.fail(f"one text as {name}", _shape(data[name]))
        for name in _NAMES:
            if name in data and (data[name].ndim != 1 or data[name].dtype.kind != "U"):
                self.fail(f"a list of texts as {name}", _shape(data[name]))
            if name in data and len(set(data[name].tolist())) != len(data[name]):
                self.fail(f"each name once in {name}", "one twice")
        if self.text("format") != FORMAT:
            self.fail(f"the format {FORMAT}", repr(self.text("format")))
        for group in _TOGETHER:
            given = [name for name in group if name in data]
            if given and len(given) < len(group):
                self.fail(f"{', '.join(group)} together", f"only {', '.join(given)}")
        if not any(name in data for name in _SUBSTANCE):
            self.fail(f"at least one of {', '.join(_SUBSTANCE)}", "none of them")

    def belongs_to(self, case: Case, method: str) -> None:
        if self.text("method") != method:
            self.fail(f"the method {method}, as the folder is named,", repr(self.text("method")))
        place = f"{case.set_name}/{case.name}"
        named = "/".join(self.text(n) if n in self.data else own for n, own in _own(case))
        if named != place:
            raise ForeignPrediction(
                f"Expected a prediction for {place} in {self.path}, found one for {named}. {self.step}"
            )
        index, rows = self.data["index"], case.index
        if index.ndim != 1 or index.dtype.kind not in "iu":
            self.fail("whole numbers (T,) as index", _shape(index))
        if len(index) != len(rows):
            self.foreign(f"{len(rows)} rows, as {place} has,", f"{len(index)}")
        if (index != rows).any():
            first = int(np.argmax(index != rows))
            self.foreign(
                f"the frames of {place} as index", f"frame {index[first]} and not {rows[first]} in row {first}"
            )
        if "fingerprint" in self.data and self.text("fingerprint") != case_fingerprint(case):
            self.foreign(f"a prediction for the footage and camera of {place} as they are now", "one made for others")

    def foreign(self, expected: str, found: str) -> NoReturn:
        raise ForeignPrediction(f"Expected {expected} in the prediction {self.path}, found {found}. {self.step}")

    def arrays(self, case: Case) -> None:
        sizes: dict[str, int] = {"T": case.frames}
        for letter, name in (("J", "joint_names"), ("K", "keypoint_names")):
            if name in self.data:
                sizes[letter] = len(self.data[name])
        for name, layout in _ARRAYS.items():
            array = self.data.get(name)
            if array is None:
                continue
            wanted = tuple(sizes.get(s, "any") if isinstance(s, str) else s for s in layout)
            fits = array.ndim == len(wanted) and all(w in ("any", n) for w, n in zip(wanted, array.shape, strict=True))
            if not fits or array.dtype.kind not in "fiub":
                about = {"T": "rows of the case", "J": "joint_names", "K": "keypoint_names"}
                letters = ", ".join(f"{s} = {sizes[s]} ({about[s]})" for s in layout if s in sizes and s in about)
                self.fail(f"numbers {_text(layout)} as {name}" + (f", {letters}," if letters else ""), _shape(array))
        if "T_cam_world" in self.data and not self.in_world:
            self.fail("T_cam_world only beside in_world = True", "in_world = False")
        empty = all(np.isnan(self.data[name]).all() for name in _SUBSTANCE if name in self.data)
        if empty and "fingerprint" not in self.data:
            self.fail("at least one row with numbers", "NaN alone")

    @property
    def in_world(self) -> bool:
        value = self.data.get("in_world", np.array(False))
        if value.shape or value.dtype.kind != "b":
            self.fail("one truth value as in_world", _shape(value))
        return bool(value)

    def prediction(self) -> Prediction:
        data = {name: np.asarray(self.data[name], np.float64) for name in _ARRAYS if name in self.data}
        body = None
        if "poses" in data:
            body = BodyParameters(data["poses"], data["trans_m"], data["betas"], self.text("body_model"))
        names = {name: tuple(self.data[name].tolist()) if name in self.data else () for name in _NAMES}
        motion = Motion3D(
            joint_names=names["joint_names"],
            joints_m=data.get("joints_m"),
            in_world=self.in_world,
            T_cam_world=data.get("T_cam_world"),
            hands_m=data.get("hands_m"),
            feet_m=data.get("feet_m"),
            contact=data.get("contact"),
            body=body,
            surface=None if body is None else surface_of(body),
            keypoint_names=names["keypoint_names"],
            keypoints_px=data.get("keypoints_px"),
            keypoint_confidence=data.get("keypoint_confidence"),
        )
        return Prediction(self.text("method"), self.text("version"), self.settings(), motion, self.path)

    def settings(self) -> dict[str, str | int | float | bool]:
        try:
            return parse_settings(self.text("settings"))
        except ValueError as error:
            self.fail("a JSON object of texts, finite numbers and truth values as settings", str(error))


def parse_settings(text: str) -> dict[str, str | int | float | bool]:
    """Settings of a JSON object. Raises ValueError where it is none, or holds more than plain finite values."""
    try:
        settings = json.loads(text)
    except RecursionError as error:
        raise ValueError("lists in lists without end") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{type(settings).__name__}: {text[:60]}")
    for name, value in settings.items():
        if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{name}: {str(value)[:60]}")
    return settings


def _own(case: Case) -> tuple[tuple[str, str], ...]:
    return ("set", case.set_name), ("case", case.name)


def _shape(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"


def _text(layout: tuple[str | int, ...]) -> str:
    return f"({', '.join(map(str, layout))}{',' if len(layout) == 1 else ''})"
