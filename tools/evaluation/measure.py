"""All measures of one prediction on one case."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from ...models.errors import HmcapError
from ...models.proxies import HAND_NAMES
from ...models.rotations import axis_angle_to_matrix
from ...models.skeleton import CONTACT_POINTS, JOINT_NAMES, NUM_BODY_JOINTS
from . import metrics as m
from .checks import checked
from .records import HIPS, TRUTH, Case, Measured, Motion3D, Prediction, Surface
from .score_sheet import Sheet
from .surface import surface_of

_SLICE = 32
"""Rows of a mesh held at a time."""
_HANDS = tuple(f"{side}_hand_{name}" for side in ("left", "right") for name in HAND_NAMES)


def measure(
    case: Case,
    prediction: Prediction,
    rows: np.ndarray | None = None,
    keypoint_names: Sequence[str] | None = None,
    hands: np.ndarray | None = None,
) -> Measured:
    """Every measure of :data:`hmcap.tools.evaluation.metrics.METRICS` that can be taken of a prediction for a case.

    rows: (n,) int rows to which all measures but the shares found and PCK are restricted (for a fair comparison: those
    that every method found, :func:`common_rows`); None for all. keypoint_names: those to which PCK is restricted; None
    for all that the truth labels and the method gives. ``per_joint`` of the PCK measures names the points compared.
    hands: (T, 2) bool, left and right hands to which the errors of hands are restricted (:func:`common_hands`); None
    for all that the method found.

    Positions compare in the axes of the camera. A motion in a world with known camera is taken there by its own
    camera; where truth or prediction has a world but no camera, both compare in their worlds if both have one, and
    after Procrustes alignment alone if not. The root's rotation of a body is in the axes of its joints. Meshes of the
    built-in body are made from its parameters where no surface is given. One thread does all sums, so that the last
    digit does not depend on how many there are.

    Raises HmcapError where truth and prediction do not fit together (:func:`hmcap.tools.evaluation.checks.checked`).
    """
    with threadpool_limits(1, user_api="blas"):
        return _measure(case, prediction, rows, keypoint_names, hands)


def _measure(
    case: Case,
    prediction: Prediction,
    rows: np.ndarray | None,
    keypoint_names: Sequence[str] | None,
    hands: np.ndarray | None,
) -> Measured:
    truth, motion = checked(case, prediction)
    found = _found(case, motion)
    used = found.copy()
    if rows is not None:
        used &= _marked(rows, case.frames)
    if truth.joints_m is not None:
        used &= m.known_sets(_named(truth, case.compared))
    sheet = Sheet(case.frames)
    sheet.add("detected_percent", np.where(found, 100.0, 0.0))
    _picture(sheet, case, truth, motion, keypoint_names)
    _hands_found(sheet, truth, motion)
    pair = _Pair(case, truth, motion, used, case.index)
    if truth.joints_m is not None and motion.joints_m is not None:
        _joints(sheet, pair)
        if case.fps > 0:
            _derivatives(sheet, pair)
    _hands(sheet, pair, hands)
    _rotations(sheet, pair)
    _mesh(sheet, pair)
    _contact(sheet, pair)
    if truth.in_world and motion.in_world:
        _world(sheet, pair)
    order = [name for name in m.METRICS if name in sheet.values]
    return Measured(
        set_name=case.set_name,
        case=case.name,
        method=prediction.method,
        frames=case.frames,
        rows=np.flatnonzero(used),
        per_frame={n: sheet.per_frame[n] for n in order if n in sheet.per_frame},
        per_joint={n: sheet.per_joint[n] for n in order if n in sheet.per_joint},
        values={n: sheet.values[n] for n in order},
        weights={n: sheet.weights[n] for n in order},
    )


def _marked(rows: np.ndarray, frames: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.dtype.kind not in "iu" and rows.size:
        raise TypeError(f"expected row numbers, found {rows.dtype}")
    out = np.zeros(frames, bool)
    out[rows.astype(int)] = True
    return out


def found_rows(case: Case, prediction: Prediction) -> np.ndarray:
    """(T,) bool: the rows for which the prediction has the compared joints (or, of a method without joints, anything).
    Raises HmcapError where truth and prediction do not fit together."""
    return _found(case, checked(case, prediction)[1])


def common_rows(case: Case, predictions: Sequence[Prediction]) -> np.ndarray:
    """(n,) int rows that every one of the predictions found."""
    found = np.ones(case.frames, bool)
    for prediction in predictions:
        found &= found_rows(case, prediction)
    return np.flatnonzero(found)


def common_keypoints(case: Case, predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """Names of the key points that the truth labels and every prediction with key points gives."""
    given = [p.motion.keypoint_names for p in predictions if p.motion.keypoints_px is not None]
    return tuple(n for n in case.truth.keypoint_names if all(n in names for names in given))


def common_hands(case: Case, predictions: Sequence[Prediction]) -> np.ndarray:
    """(T, 2) bool: the left and right hands that every prediction with hands found."""
    found = np.ones((case.frames, 2), bool)
    for prediction in predictions:
        hands = checked(case, prediction)[1].hands_m
        if hands is not None:
            found &= m.known_sets(hands)
    return found


def truth_as_prediction(case: Case) -> Prediction:
    """The truth put forward as if a method had found it: every error of it is zero. Rows of which the truth knows a
    part only are filled up with whatever is finite, because a prediction has no half-found rows; none of it counts."""
    t = case.truth
    body = t.body
    if body is not None:
        body = replace(body, poses=_filled(body.poses, (1, 2)), trans_m=_filled(body.trans_m, (1,)))
    motion = replace(
        t,
        joints_m=None if t.joints_m is None else _filled(t.joints_m, (1, 2)),
        hands_m=None if t.hands_m is None else _filled(t.hands_m, (2, 3)),
        feet_m=None if t.feet_m is None else _filled(t.feet_m, (2,)),
        contact=None if t.contact is None else _filled(t.contact, (1,)),
        T_cam_world=None if t.T_cam_world is None else _with_camera(t.T_cam_world),
        keypoints_px=None if t.keypoints_px is None else _filled(t.keypoints_px, (2,)),
        body=body,
    )
    return Prediction(TRUTH, "", {}, motion)


def _filled(value: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    value = np.asarray(value, np.float64)
    nan = np.isnan(value)
    return np.where(nan & ~nan.all(axes, keepdims=True), 0.0, value)


def _with_camera(T_cam_world: np.ndarray) -> np.ndarray:
    unknown = np.isnan(T_cam_world).any((1, 2), keepdims=True)
    return np.where(unknown, np.eye(4), T_cam_world)


class _Pair:
    """Truth and prediction of a case, and what it takes to have both in the same axes."""

    def __init__(self, case: Case, truth: Motion3D, motion: Motion3D, used: np.ndarray, index: np.ndarray) -> None:
        self.case, self.truth, self.motion, self.used, self.index = case, truth, motion, used, index
        cameras = [_to_camera(x, len(used)) for x in (motion, truth)]
        self.comparable = all(c is not None for c in cameras)
        """Whether positions have the same axes."""
        if not self.comparable:
            self.comparable = motion.in_world and truth.in_world
            cameras = [None, None]
        self._T = [np.broadcast_to(np.eye(4), (len(used), 4, 4)) if c is None else c for c in cameras]

    def R(self, side: int) -> np.ndarray:
        """(T, 3, 3) from the axes of prediction (0) or truth (1) to the common ones."""
        return self._T[side][:, :3, :3]

    def common(self, side: int, points_m: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """Points (n, N, 3) of prediction (0) or truth (1) in the common axes, NaN in rows that are not used."""
        T = self._T[side][rows]
        moved = points_m @ np.swapaxes(T[:, :3, :3], -1, -2) + T[:, None, :3, 3]
        moved[~self.used[rows]] = np.nan
        return moved

    def own(self, side: int, points: np.ndarray) -> np.ndarray:
        """An array (T, ...) as it is, NaN in rows that are not used."""
        return np.where(self.used.reshape(-1, *(1,) * (points.ndim - 1)), points, np.nan)

    def joints(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and true joints (T, J, 3) that compare, root joints after them, in the axes of each."""
        names = (*self.case.compared, *self.case.root)
        return _named(self.motion, names), _named(self.truth, names)

    @property
    def count(self) -> int:
        """Number of compared joints."""
        return len(self.case.compared)

    @property
    def root(self) -> tuple[int, ...]:
        """Where the root joints stand in :meth:`joints`."""
        return tuple(range(self.count, self.count + len(self.case.root)))


def _named(motion: Motion3D, names: Sequence[str]) -> np.ndarray:
    if motion.joints_m is None:
        raise ValueError("a motion without joints has none of any name")
    return motion.joints_m[:, [motion.joint_names.index(n) for n in names]]


def _to_camera(motion: Motion3D, frames: int) -> np.ndarray | None:
    """(T, 4, 4) from the axes of a motion to its camera's; None where that is not known."""
    return motion.T_cam_world if motion.in_world else np.broadcast_to(np.eye(4), (frames, 4, 4))


def _found(case: Case, motion: Motion3D) -> np.ndarray:
    if motion.joints_m is not None:
        return np.asarray(m.known_points(_named(motion, case.compared)).all(-1))
    found = np.zeros(case.frames, bool)
    for value in (motion.keypoints_px, motion.hands_m, motion.body and motion.body.poses):
        if value is not None:
            found |= m.known_sets(value.reshape(case.frames, -1, value.shape[-1]))
    return found


def _picture(sheet: Sheet, case: Case, truth: Motion3D, motion: Motion3D, only: Sequence[str] | None) -> None:
    if truth.keypoints_px is None or motion.keypoints_px is None:
        return
    size = case.camera.width_px, case.camera.height_px
    for group in m.PCK_GROUPS:
        names = [n for n in truth.keypoint_names if m.keypoint_group(n) == group and n in motion.keypoint_names]
        names = [n for n in names if only is None or n in only]
        if not names:
            continue
        at = [truth.keypoint_names.index(n) for n in names]
        of = [motion.keypoint_names.index(n) for n in names]
        labelled = np.ones((case.frames, len(names)), bool)
        if truth.keypoint_confidence is not None:
            labelled = truth.keypoint_confidence[:, at] > 0
        predicted = motion.keypoints_px[:, of]
        if motion.keypoint_confidence is not None:  # exactly 0 says "not seen", whatever the position
            predicted = np.where((motion.keypoint_confidence[:, of] == 0)[..., None], np.nan, predicted)
        distances = m.relative_distances(predicted, truth.keypoints_px[:, at], labelled, size)
        for key, percent in m.PCK_THRESHOLDS_PERCENT.items():
            sheet.add(f"pck_{group}_{key}", m.pck_percent(distances, percent), names, pooled=True)


def _joints(sheet: Sheet, pair: _Pair) -> None:
    names, n = pair.case.compared, pair.count
    p, t = (pair.common(i, x) for i, x in enumerate(pair.joints()))
    if pair.comparable:
        aligned = [m.root_aligned(x, pair.root)[:, :n] for x in (p, t)]
        sheet.add("mpjpe_mm", m.distances_mm(*aligned), names)
    sheet.add("pa_mpjpe_mm", m.pa_joint_errors_mm(p[:, :n], t[:, :n]), names)


def _derivatives(sheet: Sheet, pair: _Pair) -> None:
    names, n, fps, index = pair.case.compared, pair.count, pair.case.fps, pair.index
    if pair.comparable:
        p, t = (m.root_aligned(pair.common(i, x), pair.root)[:, :n] for i, x in enumerate(pair.joints()))
        sheet.add("accel_m_s2", m.acceleration_errors_m_s2(p, t, fps, index), names)
    for side, (prefix, joints) in enumerate(zip(("", "truth_"), pair.joints(), strict=True)):
        own = pair.own(side, joints)
        # in the axes of the world where there is one: a camera in motion would add its own
        aligned = m.root_aligned(own, pair.root)[:, :n]
        sheet.add(f"{prefix}jitter_10m_s3", m.jitters_10m_s3(aligned, fps, index), names)
        if pair.truth.in_world and pair.motion.in_world:
            sheet.add(f"{prefix}world_jitter_10m_s3", m.jitters_10m_s3(own[:, :n], fps, index), names)


def _hands_found(sheet: Sheet, truth: Motion3D, motion: Motion3D) -> None:
    if truth.hands_m is None or motion.hands_m is None:
        return
    known, found = (m.known_sets(x) for x in (truth.hands_m, motion.hands_m))
    sheet.add("hand_detected_percent", np.where(known, np.where(found, 100.0, 0.0), np.nan), pooled=True)


def _hands(sheet: Sheet, pair: _Pair, only: np.ndarray | None) -> None:
    if pair.truth.hands_m is None or pair.motion.hands_m is None:
        return
    sides = pair.motion.hands_m, pair.truth.hands_m
    p, t = (pair.common(i, x.reshape(len(x), 42, 3)).reshape(x.shape) for i, x in enumerate(sides))
    for name, errors in (
        ("hand_mpjpe_mm", m.joint_errors_mm(p, t, (0,)) if pair.comparable else None),
        ("hand_pa_mpjpe_mm", m.pa_joint_errors_mm(p, t)),
    ):
        if errors is not None:
            if only is not None:
                errors[~only] = np.nan
            # one sample per hand and frame, so that a hand of which the truth knows half a dozen joints weighs no less
            sheet.add(name, m.mean_known(errors, -1), pooled=True)
            if name in sheet.values:
                means = m.mean_known(errors.reshape(len(errors), 42), 0)
                sheet.per_joint[name] = {n: float(v) for n, v in zip(_HANDS, means, strict=True) if not np.isnan(v)}


def _rotations(sheet: Sheet, pair: _Pair) -> None:
    bodies = pair.motion.body, pair.truth.body
    if bodies[0] is None or bodies[1] is None or bodies[0].model != bodies[1].model:
        return
    p, t = (pair.own(i, b.poses) for i, b in enumerate(bodies) if b is not None)
    body, fingers = slice(1, NUM_BODY_JOINTS), slice(25, 55)
    for name, joints in (("angle_deg", body), ("hand_angle_deg", fingers)):
        sheet.add(name, m.joint_angle_errors_deg(p[:, joints], t[:, joints]), JOINT_NAMES[joints])
    if pair.comparable:
        roots = [pair.R(i) @ axis_angle_to_matrix(x[:, 0]) for i, x in enumerate((p, t))]
        sheet.add("root_angle_deg", m.geodesic_deg(*roots))


def _surface(motion: Motion3D) -> Surface | None:
    if motion.surface is None and motion.body is not None and motion.body.model == "":
        return surface_of(motion.body)
    return motion.surface


def _mesh(sheet: Sheet, pair: _Pair) -> None:
    surfaces = _surface(pair.motion), _surface(pair.truth)
    if surfaces[0] is None or surfaces[1] is None or surfaces[0].topology != surfaces[1].topology:
        return
    roots: list[np.ndarray] | None = None
    if pair.comparable and pair.truth.joints_m is not None and pair.motion.joints_m is not None:
        joints = [pair.common(i, x) for i, x in enumerate(pair.joints())]
        roots = [x[:, list(pair.root)].mean(1, keepdims=True) if pair.root else 0 * x[:, :1] for x in joints]
    errors, pa_errors = np.full(len(pair.used), np.nan), np.full(len(pair.used), np.nan)
    for start in range(0, len(pair.used), _SLICE):
        rows = slice(start, min(start + _SLICE, len(pair.used)))
        if not pair.used[rows].any():
            continue
        meshes = [_vertices(pair, surface, rows) for surface in surfaces if surface is not None]
        if meshes[0].shape != meshes[1].shape:
            raise HmcapError(
                f"Expected meshes of one shape for {pair.case.set_name}/{pair.case.name}, because truth and prediction "
                f"both call theirs {surfaces[0].topology!r}, found {meshes[0].shape} and {meshes[1].shape}. Correct "
                "the topology that the method or the loader of the set gives."
            )
        p, t = (pair.common(i, mesh, rows) for i, mesh in enumerate(meshes))
        if roots is not None:
            errors[rows] = m.mpjpe_mm(p - roots[0][rows], t - roots[1][rows])
        pa_errors[rows] = m.pa_mpjpe_mm(p, t)
    sheet.add("mpvpe_mm", errors)
    sheet.add("pa_mpvpe_mm", pa_errors)


def _vertices(pair: _Pair, surface: Surface, rows: slice) -> np.ndarray:
    vertices_m = np.asarray(surface.vertices_m(rows), np.float64)
    if vertices_m.ndim != 3 or vertices_m.shape[::2] != (rows.stop - rows.start, 3):
        raise HmcapError(
            f"Expected a mesh of shape ({rows.stop - rows.start}, V, 3) for rows {rows.start} to {rows.stop - 1} of "
            f"{pair.case.set_name}/{pair.case.name}, found {vertices_m.shape}. Correct the method or the loader of the "
            "set that gives it."
        )
    return vertices_m


def _contact(sheet: Sheet, pair: _Pair) -> None:
    if pair.truth.contact is None or pair.motion.contact is None:
        return
    counts = m.count_contacts(pair.own(0, pair.motion.contact), pair.own(1, pair.truth.contact))
    said, true = counts.hits + counts.false_alarms, counts.hits + counts.misses
    sheet.add_share("contact_precision", counts.precision, said)
    sheet.add_share("contact_recall", counts.recall, true)
    sheet.add_share("contact_f1", counts.f1, said + true)


def _world(sheet: Sheet, pair: _Pair) -> None:
    truth, motion = pair.truth, pair.motion
    if truth.T_cam_world is not None and motion.T_cam_world is not None:
        errors = m.gravity_errors_deg(motion.T_cam_world, truth.T_cam_world)
        sheet.add("gravity_deg", pair.own(1, errors))
    if pair.case.fps <= 0:
        return
    if truth.feet_m is not None and motion.feet_m is not None:
        p, t = pair.own(0, motion.feet_m), pair.own(1, truth.feet_m)
        for name, feet in (("foot_sliding_mm", p), ("truth_foot_sliding_mm", t)):
            sheet.add(name, m.foot_sliding_mm(feet, t, pair.index), CONTACT_POINTS, pooled=True)
    if truth.joints_m is None or motion.joints_m is None:
        return
    names, n = pair.case.compared, pair.count
    joints = pair.joints()
    p, t = (pair.own(i, x) for i, x in enumerate(joints))
    known = m.known_sets(joints[1][:, :n])
    w, wa = m.world_errors_mm(p[:, :n], t[:, :n], m.chunk_numbers(known))
    sheet.add("w_mpjpe100_mm", w, names)
    sheet.add("wa_mpjpe100_mm", wa, names)
    at = list(pair.root) or [names.index(h) for h in HIPS if h in names] or list(range(n))
    sheet.add("rte_percent", m.root_track_errors_percent(p[:, at].mean(1), t[:, at].mean(1)))
