"""The body and the hand module of the landmark stage on a top-down network of MMPose."""

import difflib
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

import cv2
import numpy as np

from ....models.errors import HmcapError, UsageError
from ....models.proxies import HAND_NAMES
from ...base import Engine
from ...user_files import UserFile, read_user_files
from ..geometry import Roi
from ..networks import Body, Hand
from .decoders import decode_heatmaps, decode_simcc
from .form import Form
from .layouts import BODY_LANDMARKS, PRESENCE_POINTS, SIDES, get_layout

_SURE = 0.3
"""Score from which a point counts for the region of the next frame."""
_LEAST = 0.1
"""Score below which a point is masked: the maximum of next to nothing lies anywhere."""
_BEYOND = 1.15
"""A person ends beyond the key points: crown, fingers, toes."""
_KNUCKLES_FROM_ELBOW = 0.36
"""From the wrist to the knuckles, in lengths of the forearm."""
_LEAST_PALM = 0.035
"""The same at least, in heights of the region: a forearm that points at the camera has no length."""


class TopDown:
    """A network with one picture of a region as input, and key points in that picture as output."""

    def __init__(self, engine: Engine, form: Form) -> None:
        self.engine, self.form = engine, form
        self.layout = get_layout(form.layout)
        self._input = engine.inputs[0].name
        self._scale = (1 / np.array(form.std)).astype(np.float32)
        self._offset = (-np.array(form.mean) / form.std).astype(np.float32)

    @property
    def aspect(self) -> float:
        """Width of the input as a part of its height."""
        return self.form.width_px / self.form.height_px

    def image_from_input(self, roi: Roi) -> np.ndarray:
        """(2, 3) affine map from pixels of the input to image pixels. The input shows the full height of ``roi`` and,
        about its middle, what its own aspect leaves of the width."""
        w, h = self.form.size_px
        steps = np.subtract(self.form.size_px, self.form.codec == "udp_heatmap")
        linear = roi.R_image_crop * (roi.size_px * np.array([w / h, 1.0]) / steps)
        return np.hstack([linear, (np.array([roi.x_px, roi.y_px]) - linear @ (steps / 2))[:, None]])

    def tensor(self, image: np.ndarray, roi: Roi) -> np.ndarray:
        """(1, 3, H, W) float32 input: one warp straight from the (h, w, 3) uint8 RGB image, black outside of it."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        pixels = cv2.warpAffine(image, self.image_from_input(roi), self.form.size_px, flags=flags)
        return np.ascontiguousarray((pixels * self._scale + self._offset).transpose(2, 0, 1)[None])

    def __call__(self, image: np.ndarray, roi: Roi) -> tuple[np.ndarray, np.ndarray]:
        """Key points (K, 2) in image pixels and their scores (K,) in 0..1, 0 where masked."""
        results = self.engine({self._input: self.tensor(image, roi)})
        out = [results[s.name][0].astype(np.float32, copy=False) for s in self.engine.outputs]
        if self.form.codec == "simcc":
            xy, score = decode_simcc(out[0], out[1], self.form.size_px)
        else:
            xy, score = decode_heatmaps(out[0], self.form.size_px, udp=self.form.codec == "udp_heatmap")
        image_from_input = self.image_from_input(roi)
        xy_px = xy @ image_from_input[:, :2].T + image_from_input[:, 2]
        score = np.clip(score / self.form.peak, 0, 1)
        return xy_px, np.where(score >= _LEAST, score, 0.0)


class MmposeBody:
    """Body landmarks by a network of MMPose, in the form of the default one: what its layout lacks is not visible.

    There is no relative 3-D. The region is an upright box: from the detector at first, then around the points.
    """

    def __init__(self, engine: Engine, form: Form) -> None:
        self.engine = engine
        self._network = TopDown(engine, form)
        layout = self._network.layout
        self._landmarks = layout.indices(BODY_LANDMARKS)
        self._presence = layout.indices(PRESENCE_POINTS)
        self._small_toes = layout.indices(tuple(f"{side}_small_toe" for side in SIDES))
        hands = [layout.indices(tuple(f"{side}_hand_{name}" for name in HAND_NAMES)) for side in SIDES]
        self._hands = hands if min(map(min, hands)) >= 0 else None

    def __call__(self, image: np.ndarray, roi: Roi) -> Body:
        """Landmarks of the person in ``roi`` of an (H, W, 3) uint8 RGB image."""
        upright = Roi(roi.x_px, roi.y_px, roi.size_px)
        points, score = self._network(image, upright)
        xy_px, visibility = _picked(points, score, self._landmarks)
        _guess_knuckles(xy_px, visibility, roi.size_px)
        best = np.sort(score[self._presence])[len(self._presence) // 2 :]
        return Body(
            float(best.mean()),
            xy_px.astype(np.float32),
            visibility,
            np.ones(len(xy_px)),
            np.full((len(xy_px), 3), np.nan, np.float32),
            self._around(points, score),
            upright,
            small_toes=np.column_stack(_picked(points, score, self._small_toes)),
            hands=self._own_hands(points, score, upright),
        )

    def _around(self, points: np.ndarray, score: np.ndarray) -> np.ndarray:
        """(2, 3) centre of the box around the points that are sure, and the middle of its upper edge; z is 0."""
        sure = points[score >= _SURE] if (score >= _SURE).any() else points
        low, high = sure.min(axis=0), sure.max(axis=0)
        width, height = high - low
        centre = (low + high) / 2
        half = _BEYOND * max(height, width / self._network.aspect) / 2
        return np.array([(*centre, 0.0), (centre[0], centre[1] - half, 0.0)])

    def _own_hands(self, points: np.ndarray, score: np.ndarray, roi: Roi) -> tuple[Hand | None, Hand | None]:
        if self._hands is None:
            return None, None
        left, right = (_hand(points[rows], score[rows], roi) for rows in self._hands)
        return left, right


class MmposeHand:
    """One hand by a network of MMPose. It has neither relative 3-D nor an opinion on which hand it is."""

    def __init__(self, engine: Engine, form: Form) -> None:
        self.engine = engine
        self._network = TopDown(engine, form)

    def __call__(self, image: np.ndarray, roi: Roi) -> Hand:
        """Landmarks of the hand in ``roi`` of an (H, W, 3) uint8 RGB image."""
        return _hand(*self._network(image, roi), roi)


def _hand(xy_px: np.ndarray, score: np.ndarray, roi: Roi) -> Hand:
    """A hand of 21 points (21, 2) whose presence is their mean score."""
    nothing = np.full((21, 3), np.nan, np.float32)
    return Hand(float(score.mean()), None, xy_px.astype(np.float32), nothing, roi, confidence=score)


def _picked(points: np.ndarray, score: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) and scores (N,) of some rows; zero where the row is -1: the layout has no such point."""
    known = rows >= 0
    return np.where(known[:, None], points[rows], 0.0), np.where(known, score[rows], 0.0)


_ARM, _KNUCKLES = (
    np.array([[BODY_LANDMARKS.index(f"{side}_{part}") for part in parts] for side in SIDES])
    for parts in (("elbow", "wrist"), ("hand_index1", "hand_pinky1"))
)


def _guess_knuckles(xy_px: np.ndarray, visibility: np.ndarray, region_px: float) -> None:
    """Put the knuckles (33, 2) that the network does not see where the forearm points, in place: they only say where
    to look for a hand."""
    elbow, wrist = (xy_px[_ARM[:, k]] for k in (0, 1))
    forearm = wrist - elbow
    length = np.maximum(np.linalg.norm(forearm, axis=1, keepdims=True), 1e-6)
    reach = np.maximum(_KNUCKLES_FROM_ELBOW * length, _LEAST_PALM * region_px)
    unseen = (visibility[_KNUCKLES] < _SURE)[..., None]
    xy_px[_KNUCKLES] = np.where(unseen, (wrist + forearm / length * reach)[:, None], xy_px[_KNUCKLES])


def _sound_forms(users: Mapping[str, UserFile]) -> dict[str, Form]:
    """Forms of the networks whose records can be used."""
    forms = {}
    for name, file in users.items():
        if file.form is not None:
            with suppress(HmcapError):  # said where that one is asked for
                forms[name] = Form.from_record(file.form, name)
    return forms


def find_network(name: str, part: Literal["body", "hand"]) -> tuple[UserFile, Form]:
    """The record and form of the network that the user added as ``name``, once it is known to be one of a body or hand.

    Raises :class:`UsageError` for a name that is not known or not of that part, :class:`HmcapError` for a damaged
    record. The file itself is verified by ``registry.resolve``.
    """
    users, option = read_user_files(), f"--{part}-network"
    forms = _sound_forms(users)
    record = users[name].form if name in users else None
    if record is not None:
        forms[name] = Form.from_record(record, name)  # this one has to be sound
    fitting = [n for n, form in forms.items() if get_layout(form.layout).part == part]
    if name not in users:
        near = difflib.get_close_matches(name, fitting, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        offer = f"one of {', '.join(fitting)}" if fitting else "the name of a network that you added"
        raise UsageError(
            f"Expected {option} to be {offer}; found {name!r}.{hint} Add one with: hmcap models add FILE.onnx"
        )
    if name not in fitting:
        found = f"layout {forms[name].layout}" if name in forms else "no layout that is known"
        raise UsageError(
            f"Expected {option} to name a network of a {part}; found {name!r} with {found}. Add it again with its "
            "layout: hmcap models add FILE.onnx --layout " + ("hand21" if part == "hand" else "wholebody133")
        )
    return users[name], forms[name]
