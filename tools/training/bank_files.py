"""The motion bank on disk: plain arrays that are mapped into memory, and one JSON file of tables.

    body.npy     (F, 22, 4) float16  quaternions wxyz of the local rotations of the 22 body joints; row 0 is the root in
                                     the world; continuous in sign along a clip
    pelvis.npy   (F, 3) float32      position of the pelvis joint in the world on the mean body; floor y = 0, metres
    contact.npy  (F, 4) bool         ground contact of CONTACT_POINTS
    weight.npy   (F,) float32        sampling weight of each frame; they sum to 1
    hands.npy    (H, 15, 4) float16  quaternions wxyz of the fingers of a right hand, relative to the flat hand
    bank.json    version, rate_hz, split, licences, seed, counts, sources, body_clips, hand_clips

Rows of a clip follow each other in time, and clips follow each other without a gap: a window must not reach from one
clip into the next. A left hand is the mirror image of a right one, :func:`mirror_quaternions`. Half precision keeps a
rotation to a few hundredths of a degree; normalise quaternions after reading them.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...models.errors import HmcapError
from ...models.skeleton import NUM_BODY_JOINTS

VERSION = 1
ARRAYS: dict[str, tuple[type, tuple[int, ...]]] = {
    "body": (np.float16, (NUM_BODY_JOINTS, 4)),
    "pelvis": (np.float32, (3,)),
    "contact": (np.bool_, (4,)),
    "weight": (np.float32, ()),
    "hands": (np.float16, (15, 4)),
}
"""Type and shape of a row of each array."""
_MIRROR = np.array([1.0, 1.0, -1.0, -1.0], np.float32)


def mirror_quaternions(q: np.ndarray) -> np.ndarray:
    """The same rotations seen in a mirror across x = 0: (..., 4) wxyz -> (w, x, -y, -z). Turns a right hand's finger
    rotations into a left hand's. Of a body, left and right joints have to be exchanged as well."""
    return q * _MIRROR.astype(q.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Table of C clips; rows of the arrays from ``begin`` to ``begin + frames``."""

    begin: np.ndarray
    """(C,) int64 first row."""
    frames: np.ndarray
    """(C,) int64 number of rows."""
    weight: np.ndarray
    """(C,) float64 sampling weight of the whole clip; they sum to 1."""
    source: tuple[str, ...]
    """C names of the sources; joined by "+" where a clip was put together from several."""
    kind: tuple[str, ...]
    """C kinds: "recorded", "stitched" or "generated"."""
    name: tuple[str, ...]
    """C names, for messages and reports."""

    def __len__(self) -> int:
        return len(self.begin)

    def as_json(self) -> dict[str, list[Any]]:
        """The table as lists."""
        return {
            "begin": self.begin.tolist(),
            "frames": self.frames.tolist(),
            "weight": self.weight.tolist(),
            **{k: list(getattr(self, k)) for k in ("source", "kind", "name")},
        }

    @classmethod
    def from_json(cls, table: dict[str, list[Any]]) -> "Clips":
        """The table of a bank.json. Raises KeyError or ValueError where it is none."""
        numbers = (np.asarray(table["begin"], np.int64), np.asarray(table["frames"], np.int64))
        texts = (tuple(map(str, table[k])) for k in ("source", "kind", "name"))
        clips = cls(*numbers, np.asarray(table["weight"], np.float64), *texts)
        if len({len(getattr(clips, k)) for k in cls.__slots__}) > 1:
            raise ValueError("columns of different lengths")
        return clips


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """A bank that is open. Arrays are read only and mapped from disk."""

    folder: Path
    rate_hz: float
    split: str
    """"train" or "test"."""
    licences: str
    """"permissive" or "all"."""
    seed: int
    sources: dict[str, Any]
    """What it was built from: licences and counts of frames by source."""
    body: np.ndarray
    """(F, 22, 4) float16 wxyz."""
    pelvis: np.ndarray
    """(F, 3) float32, metres."""
    contact: np.ndarray
    """(F, 4) bool."""
    weight: np.ndarray
    """(F,) float32, sum 1."""
    hands: np.ndarray
    """(H, 15, 4) float16 wxyz of a right hand."""
    body_clips: Clips
    hand_clips: Clips


def save_bank(
    folder: Path, arrays: dict[str, np.ndarray], body_clips: Clips, hand_clips: Clips, about: dict[str, Any]
) -> None:
    """Write the files of a bank. bank.json comes last, so that a folder without it is one that was not finished.
    Raises HmcapError where numbers are not finite or the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bank.json").unlink(missing_ok=True)
        for name, (kind, shape) in ARRAYS.items():
            array = np.ascontiguousarray(arrays[name], kind)
            if array.shape[1:] != shape or (array.dtype != np.bool_ and not np.isfinite(array).all()):
                raise HmcapError(
                    f"Expected finite {name} with rows of shape {shape} for the motion bank, found NaN, infinity or "
                    f"rows of {array.shape[1:]}. No usable bank was written to {folder}; build it from other motion."
                )
            # A new file takes the place of the old one, which a training that has it open goes on reading.
            fresh = folder / f"{name}.new.npy"
            np.save(fresh, array)
            os.replace(fresh, folder / f"{name}.npy")
        counts = {name: len(arrays[name]) for name in ARRAYS}
        tables = {"body_clips": body_clips.as_json(), "hand_clips": hand_clips.as_json()}
        text = json.dumps({"version": VERSION, **about, "counts": counts, **tables})
        (folder / "bank.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise HmcapError(
            f"Expected to write the motion bank to the folder {folder}, found that it cannot be written ({error}). "
            "Name another folder, or close what has it open."
        ) from error


def load_bank(folder: str | Path) -> Bank:
    """Open a bank. Raises HmcapError where the folder is missing, damaged, or of another version."""
    folder = Path(folder).expanduser()
    step = f"Build one: python -m hmcap.tools.training bank {folder} --motions DIR"
    file = folder / "bank.json"
    if not file.is_file():
        found = "no bank.json in that folder" if folder.is_dir() else "no such folder"
        raise HmcapError(f"Expected a motion bank at {folder}, found {found}. {step}")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        version = int(about["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise HmcapError(
            f"Expected the tables of a motion bank in {file}, but it is damaged ({error}). {step}"
        ) from error
    if version != VERSION:
        raise HmcapError(f"Expected a motion bank of version {VERSION}, found version {version} in {folder}. {step}")
    try:
        tables = Clips.from_json(about["body_clips"]), Clips.from_json(about["hand_clips"])
        arrays = {name: _mapped(folder / f"{name}.npy", name, int(about["counts"][name])) for name in ARRAYS}
        rows = {"body": len(arrays["body"]), "pelvis": len(arrays["body"]), "contact": len(arrays["body"])}
        if any(len(arrays[k]) != n for k, n in rows.items()) or len(arrays["weight"]) != rows["body"]:
            raise ValueError("arrays of different lengths")
        for clips, count in zip(tables, (rows["body"], len(arrays["hands"])), strict=True):
            if len(clips) and (clips.begin.min() < 0 or (clips.begin + clips.frames).max() > count):
                raise ValueError("a clip that ends beyond the arrays")
        head = float(about["rate_hz"]), str(about["split"]), str(about["licences"]), int(about["seed"])
        return Bank(folder, *head, dict(about["sources"]), **arrays, body_clips=tables[0], hand_clips=tables[1])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise HmcapError(f"Expected a whole motion bank in {folder}, but it is damaged ({error}). {step}") from error


def _mapped(path: Path, name: str, count: int) -> np.ndarray:
    kind, shape = ARRAYS[name]
    # An empty array cannot be mapped.
    array = np.load(path, mmap_mode="r" if count else None, allow_pickle=False)
    if array.dtype != kind or array.shape != (count, *shape):
        raise ValueError(f"{path.name} holds {array.shape} {array.dtype}, not {(count, *shape)} {np.dtype(kind)}")
    return array
