"""The face: where it is looked for, what its networks say, and its expression over time."""

import dataclasses
import math
from types import SimpleNamespace

import cv2
import hmcap.realtime.run as capture_run
import numpy as np
import pytest
from hmcap.engines import open_engine, registry
from hmcap.engines.base import TensorSpec
from hmcap.engines.landmarks import FACE_MODELS, MODULES, LandmarkStage
from hmcap.engines.landmarks.face import (
    CHIN,
    FACE_OUTPUTS,
    FOREHEAD,
    KEPT_SIZE_PX,
    LEFT_CORNER,
    MIN_SIZE_PX,
    RIGHT_CORNER,
    SHAPE_LANDMARKS,
    SHAPE_NAMES,
    Face,
    FaceNetwork,
    FaceReader,
    ShapeNetwork,
    head_turn_deg,
    roi_from_face,
    roi_from_head,
)
from hmcap.engines.landmarks.geometry import Roi
from hmcap.engines.landmarks.networks import Body
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.expression import ExpressionSettings, LiveExpression, expression_of_take, with_expressions
from hmcap.models.face import ARKIT_NAMES
from hmcap.models.proxies import BLAZEPOSE_NAMES, Proxies
from hmcap.realtime import capture_video, capture_webcam, read_take, sources_webcam
from hmcap.realtime.motion import MotionWithFace
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.overlay import Figure
from hmcap.realtime.run import Parts
from hmcap.realtime.sinks import RecentFrames

RNG = np.random.default_rng(11)
TURNS = [0.0, 0.4, -1.1, math.pi / 2, 3.0]
JAW_OPEN, BLINK_LEFT, BLINK_RIGHT = (ARKIT_NAMES.index(n) for n in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"))
NOTHING = np.full(52, np.nan, np.float32)


def similarity(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]]) * scale + shift


def made_face(turn_deg: float = 0.0) -> np.ndarray:
    """(478, 3) points on an upright head of unit size that looks at the camera, or is turned about the vertical."""
    points = RNG.uniform(-0.3, 0.3, (478, 3))
    points[RIGHT_CORNER], points[LEFT_CORNER] = (-0.3, -0.2, 0), (0.3, -0.2, 0)
    points[FOREHEAD], points[CHIN] = (0, -0.5, 0), (0, 0.5, 0)
    a = math.radians(turn_deg)
    return points @ np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])


def made_body(
    x_px: float = 300.0, y_px: float = 200.0, eyes_px: float = 50.0, turn_deg: float = 0.0, angle: float = 0.0
) -> Body:
    """A body of which only the head counts, turned about the vertical and tilted in the picture."""
    xy, xyz = np.zeros((33, 2)), np.zeros((33, 3))
    # across (to the person's left, the picture's right), down, away from the camera; in distances of the eyes
    head = {
        "nose": (0, 0.5, -1.0), "left_eye": (0.5, 0, -0.7), "right_eye": (-0.5, 0, -0.7), "left_ear": (1.1, 0.2, 0.3),
        "right_ear": (-1.1, 0.2, 0.3), "mouth_left": (0.4, 1.1, -0.7), "mouth_right": (-0.4, 1.1, -0.7),
    }  # fmt: skip
    a = math.radians(turn_deg)
    for name, (x, y, z) in head.items():
        turned = (x * math.cos(a) - z * math.sin(a), y, x * math.sin(a) + z * math.cos(a))
        xy[BLAZEPOSE_NAMES.index(name)], xyz[BLAZEPOSE_NAMES.index(name)] = turned[:2], turned
    xy_px = similarity(xy, angle, eyes_px, (x_px, y_px)).astype(np.float32)
    ones, roi = np.ones(33), Roi(x_px, y_px + 5 * eyes_px, 20 * eyes_px)
    return Body(0.99, xy_px, ones, ones, xyz.astype(np.float32), np.zeros((2, 3)), roi)


# --- names and geometry ----------------------------------------------------------------------------------------------


def test_the_network_gives_every_shape_but_the_tongue_in_our_order():
    assert SHAPE_NAMES[0] == "_neutral"
    assert SHAPE_NAMES[1:] == ARKIT_NAMES[:-1]
    assert ARKIT_NAMES[-1] == "tongueOut"
    assert load_body().expression_names == ARKIT_NAMES


def test_the_landmarks_for_the_shapes_rise_and_hold_the_irises():
    assert SHAPE_LANDMARKS.shape == (146,)
    assert (np.diff(SHAPE_LANDMARKS) > 0).all()
    assert set(range(468, 478)) <= set(SHAPE_LANDMARKS)


@pytest.mark.parametrize("angle", TURNS)
def test_the_region_of_a_face_moves_turns_and_grows_with_it(angle):
    points = made_face()[:, :2]
    one, other = roi_from_face(points), roi_from_face(similarity(points, angle, 70, (20, 30)))
    assert other.size_px == pytest.approx(70 * one.size_px)
    np.testing.assert_allclose(
        (other.x_px, other.y_px), similarity(np.array([one.x_px, one.y_px]), angle, 70, (20, 30)), atol=1e-9
    )
    assert math.cos(other.angle_rad - one.angle_rad - angle) == pytest.approx(1)
    inside = other.to_crop(similarity(points, angle, 70, (20, 30)))
    low, high = inside.min(axis=0), inside.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, 0.5, atol=1e-9)
    assert (high - low).max() == pytest.approx(2 / 3)


@pytest.mark.parametrize("turn_deg", [0, 30, -60])
@pytest.mark.parametrize("angle", TURNS)
def test_the_region_from_the_body_moves_turns_and_grows_with_the_head(angle, turn_deg):
    one = roi_from_head(made_body(turn_deg=turn_deg))
    other = roi_from_head(made_body(400, 90, 25, turn_deg, angle))
    assert other.size_px == pytest.approx(one.size_px / 2)
    assert math.cos(other.angle_rad - one.angle_rad - angle) == pytest.approx(1)
    eyes_and_mouth = made_body(400, 90, 25, turn_deg, angle).xy_px[[2, 5, 9, 10]]
    np.testing.assert_allclose((other.x_px, other.y_px), eyes_and_mouth.mean(axis=0), atol=1e-4)


def test_a_body_without_a_mouth_points_at_nearly_the_same_place():
    body = made_body(angle=0.3)
    without = dataclasses.replace(body, visibility=body.visibility.copy(), xy_px=body.xy_px.copy())
    without.visibility[9:11], without.xy_px[9:11] = 0, 0
    one, other = roi_from_head(body), roi_from_head(without)
    assert math.hypot(one.x_px - other.x_px, one.y_px - other.y_px) < 0.1 * one.size_px
    assert other.size_px == pytest.approx(one.size_px, rel=0.25)
    assert other.angle_rad == pytest.approx(one.angle_rad, abs=0.1)


@pytest.mark.parametrize("turn_deg", [0, 20, 75, -40, 120, 180])
def test_the_turn_of_the_head_is_its_angle_to_the_camera(turn_deg):
    # the nose of the made head points down by some degrees besides
    assert head_turn_deg(made_body(turn_deg=turn_deg)) == pytest.approx(abs(turn_deg), abs=15)


@pytest.mark.parametrize("turn_deg", [0, 25, -70, 110])
def test_the_turn_of_a_face_is_its_angle_to_the_camera(turn_deg):
    points = made_face(turn_deg) * 100
    assert Face(1.0, points, points[:, :2], Roi(0, 0, 100)).turn_deg == pytest.approx(abs(turn_deg))


# --- the stage with stand-in networks --------------------------------------------------------------------------------


class Landmarks:
    """Plays the landmark network: a face that fills two thirds of whatever it is shown."""

    backend, device = "fake", "cpu"
    inputs = (TensorSpec("image", (1, 256, 256, 3), np.dtype(np.float32)),)
    outputs = tuple(TensorSpec(f"out{k}", s, np.dtype(np.float32)) for k, s in enumerate([(1, 1434), (1, 1)]))

    def __init__(self) -> None:
        self.logit, self.turn_deg, self.calls = 8.0, 0.0, 0

    def __call__(self, feeds):
        self.calls += 1
        points = made_face(self.turn_deg) * (256 * 2 / 3) + (128, 128, 0)
        return {"out0": points.astype(np.float32).reshape(1, 1434), "out1": np.float32([[self.logit]])}


class Shapes:
    """Plays the shape network: keeps what it was fed; its score of output k is k / 100."""

    backend, device = "fake", "cpu"
    inputs = (TensorSpec("points", (1, 146, 2), np.dtype(np.float32)),)
    outputs = (TensorSpec("scores", (52,), np.dtype(np.float32)),)

    def __call__(self, feeds):
        self.fed = feeds["points"]
        return {"scores": np.arange(52, dtype=np.float32) / 100}


IMAGE = np.full((400, 600, 3), 90, np.uint8)


@pytest.fixture
def fakes():
    landmarks, shapes = Landmarks(), Shapes()
    return SimpleNamespace(landmarks=landmarks, shapes=shapes, read=FaceReader(landmarks, shapes), times_s={})


def look(fakes, body: Body | None, **options) -> bool:
    weights = fakes.read(IMAGE, body, fakes.times_s, **options)
    assert weights.shape == (52,)
    assert np.isnan(weights).all() or np.isfinite(weights).all()
    return bool(np.isfinite(weights).all())


def test_weights_come_in_our_order_and_the_tongue_is_still(fakes):
    weights = fakes.read(IMAGE, made_body(), fakes.times_s)
    np.testing.assert_allclose(weights, [*(np.arange(1, 52) / 100), 0], atol=1e-6)
    assert fakes.shapes.fed.shape == (1, 146, 2)
    assert set(fakes.times_s) == {"face_landmark", "face_blendshapes"}


def test_a_face_is_looked_at_twice_at_first_and_then_once_a_frame(fakes):
    for _ in range(3):
        assert look(fakes, made_body())
    assert fakes.landmarks.calls == 2 + 1 + 1
    assert look(fakes, made_body(), cut=True)
    assert fakes.landmarks.calls == 4 + 2
    assert not look(fakes, None)
    assert look(fakes, made_body())
    assert fakes.landmarks.calls == 6 + 2


@pytest.mark.parametrize(
    "body",
    [made_body(eyes_px=0.2 * MIN_SIZE_PX), made_body(turn_deg=150), made_body(x_px=-50), made_body(y_px=900)],
    ids=["too small", "turned away", "left of the picture", "below the picture"],
)
def test_where_no_face_can_be_nothing_runs(fakes, body):
    assert not look(fakes, body)
    assert fakes.landmarks.calls == 0
    assert fakes.times_s == {}


def test_a_face_that_is_followed_may_be_a_little_smaller(fakes):
    between = made_body(eyes_px=0.25 * (MIN_SIZE_PX + KEPT_SIZE_PX) / 2)
    assert not look(fakes, between)
    assert look(fakes, made_body())
    fakes.read.reset()
    assert look(fakes, made_body(eyes_px=0.26 * MIN_SIZE_PX))
    assert look(fakes, between)


def test_what_is_no_face_gives_nothing_and_is_asked_less_and_less(fakes):
    fakes.landmarks.logit = -3.0
    assert not any(look(fakes, made_body()) for _ in range(60))
    assert 20 < fakes.landmarks.calls < 35
    fakes.landmarks.logit = 3.0
    assert any(look(fakes, made_body()) for _ in range(4))


def test_a_face_that_looks_away_is_followed_but_gives_no_weights(fakes):
    fakes.landmarks.turn_deg = 70
    assert not look(fakes, made_body(turn_deg=70))
    assert not look(fakes, made_body(turn_deg=70))
    assert fakes.landmarks.calls == 2 + 1


def test_a_face_elsewhere_than_the_head_is_dropped(fakes):
    assert look(fakes, made_body())
    assert look(fakes, made_body(x_px=500))  # the head has moved by more than its size: looked for again
    assert fakes.landmarks.calls >= 3


def test_the_stage_runs_the_face_only_where_it_has_its_networks():
    from test_landmarks import Scene

    scene = Scene()
    assert tuple(scene.stage.engines) == MODULES
    assert scene.step().face.shape == (0,)
    faces = dict(zip(FACE_MODELS, (Landmarks(), Shapes()), strict=True))
    scene.stage = LandmarkStage({**scene.stage.engines, **faces})
    assert tuple(scene.stage.engines) == (*MODULES, *FACE_MODELS)
    proxies = scene.step()
    assert proxies.face.shape == (52,)
    assert np.isnan(proxies.face).all()  # the head of that body has no size
    scene.people, scene.presence = [], 0.0
    absent = scene.step()
    assert not absent.present
    assert np.isnan(absent.face).all()


# --- over time -------------------------------------------------------------------------------------------------------

STAMPS = np.arange(90) / 30


def blinks() -> np.ndarray:
    """(90, 52) a face that blinks three times."""
    faces = np.full((90, 52), 0.1)
    for at in (20, 45, 70):
        faces[at - 2 : at + 3, BLINK_LEFT] = (0.4, 0.8, 0.9, 0.8, 0.4)
    return faces


def test_a_still_face_stays_as_it_is():
    still = np.full((90, 52), 0.3)
    live = LiveExpression()
    np.testing.assert_allclose([live.push(f, t) for f, t in zip(still, STAMPS, strict=True)], still, atol=1e-6)
    np.testing.assert_allclose(expression_of_take(still, STAMPS), still, atol=1e-6)


def test_a_take_played_backwards_gives_the_same_backwards():
    faces = blinks() + RNG.normal(0, 0.02, (90, 52))
    faces[30:35] = faces[60:85] = np.nan
    one = expression_of_take(faces, STAMPS)
    other = expression_of_take(faces[::-1], (STAMPS[-1] - STAMPS)[::-1])
    np.testing.assert_allclose(one, other[::-1], atol=1e-6)


def test_smoothing_calms_the_still_and_keeps_the_blinks():
    noisy = blinks() + RNG.normal(0, 0.02, (90, 52))
    live = LiveExpression()
    for smooth in (
        expression_of_take(noisy, STAMPS),
        np.array([live.push(*f) for f in zip(noisy, STAMPS, strict=True)]),
    ):
        assert np.abs(np.diff(smooth[:, 0])).mean() < 0.5 * np.abs(np.diff(noisy[:, 0])).mean()
        for at in (20, 45, 70):
            assert smooth[at - 2 : at + 4, BLINK_LEFT].max() > 0.7


def test_in_a_take_a_blink_is_not_delayed():
    smooth = expression_of_take(blinks(), STAMPS)[:, BLINK_LEFT]
    assert [int(smooth[at - 8 : at + 9].argmax()) for at in (20, 45, 70)] == [8, 8, 8]


def test_a_short_gap_is_bridged_and_a_long_one_goes_to_neutral():
    faces = np.full((90, 52), 0.6)
    faces[10:20] = faces[40:80] = np.nan
    smooth = expression_of_take(faces, STAMPS)
    np.testing.assert_allclose(smooth[:35], 0.6, atol=0.02)
    assert smooth[60].max() < 0.25 * 0.6
    assert (np.diff(smooth[40:58, 0]) < 0).all()
    assert (np.diff(smooth[62:80, 0]) > 0).all()


def test_live_a_lost_face_is_held_for_a_moment_and_decays():
    live, settings = LiveExpression(), ExpressionSettings()
    faces = [np.full(52, 0.6)] * 10 + [NOTHING] * 80
    out = np.array([live.push(f, t) for f, t in zip(faces, STAMPS, strict=True)])
    held = STAMPS - STAMPS[9] < settings.hold_s
    np.testing.assert_allclose(out[held], 0.6, atol=1e-5)
    assert (np.diff(out[:, 0]) <= 1e-7).all()
    assert out[-1].max() < 0.02


def test_a_face_that_is_never_seen_is_neutral():
    live = LiveExpression()
    assert not live.push(NOTHING, 0.0).any()
    assert not expression_of_take(np.full((5, 52), np.nan), STAMPS[:5]).any()
    assert expression_of_take(np.zeros((0, 52)), STAMPS[:0]).shape == (0, 52)


def proxies_of(faces: np.ndarray) -> list[Proxies]:
    return [
        dataclasses.replace(Proxies.absent(k, float(STAMPS[k]), (64, 48)), score=0.9, face=np.asarray(f, np.float32))
        for k, f in enumerate(faces)
    ]


def test_motion_gets_the_expression_of_its_own_frame():
    from test_cli import stand

    faces = proxies_of(blinks())
    whole = with_expressions(stand(faces, None), faces)
    assert {m.index: int(m.expression[BLINK_LEFT] > 0.6) for m in whole}[45] == 1
    plain = stand(proxies_of(np.zeros((5, 0))), None)
    assert with_expressions(plain, proxies_of(np.zeros((5, 0)))) == plain

    late = SimpleNamespace(together=True, seen=[])

    def push_all(new):  # of the frame four frames earlier
        late.seen += new
        return stand([late.seen[max(0, p.index - 4)] for p in new], None)

    late.push_all = push_all
    stage = MotionWithFace(late)
    live = [m for k in range(0, 90, 3) for m in stage.push_all(faces[k : k + 3])]
    straight = LiveExpression()
    of = [straight.push(p.face, p.stamp_s) for p in faces]
    assert [m.index for m in live] == [max(0, k - 4) for k in range(90)]
    np.testing.assert_array_equal([m.expression for m in live], [of[m.index] for m in live])


# --- a whole capture -------------------------------------------------------------------------------------------------


class Seeing:
    """A stand-in stage whose person blinks and then hides the face."""

    engines = {"net": SimpleNamespace(backend="stand-in", device="none")}  # noqa: RUF012

    def body(self, image_rgb, index, stamp_s):
        return SimpleNamespace(index=index, stamp_s=stamp_s, times_s={"face_landmark": 0.004})

    def hands(self, seen):
        face = NOTHING if seen.index >= 15 else blinks()[seen.index + 10].astype(np.float32)
        absent = Proxies.absent(seen.index, seen.stamp_s, (64, 48))
        return dataclasses.replace(absent, score=0.9, face=face)


def test_the_face_of_a_capture_reaches_take_report_and_npz(tmp_path):
    from test_cli import make_video, stand

    video = make_video(tmp_path / "smile.mp4")
    parts = Parts(landmarks=Seeing(), solve=lambda proxies, camera, **_: stand(proxies, camera))
    result = capture_video(video, parts=parts, face=True, export="npz")
    assert result.report.face_percent == pytest.approx(75)
    assert ("face visible", "75.0 %") in result.report.rows()
    assert result.report.stage_fps["landmarks.face_landmark"] == pytest.approx(250)
    assert result.take is not None
    take = read_take(result.take)
    assert take.header.settings["face"] is True
    np.testing.assert_array_equal(take.proxies[12].face, blinks()[22].astype(np.float32))
    assert np.isnan(take.proxies[16].face).all()
    seen = np.array([p.face for p in take.proxies])
    expected = expression_of_take(seen, np.array([p.stamp_s for p in take.proxies]))
    np.testing.assert_array_equal([m.expression for m in take.motion], expected)
    with np.load(tmp_path / "smile.npz") as npz:
        np.testing.assert_allclose(npz["expression"], expected, atol=1e-6)
        assert tuple(npz["expression_names"]) == ARKIT_NAMES


def test_the_face_is_off_unless_asked_for(tmp_path):
    from test_cli import Landmarks as Plain
    from test_cli import make_video, stand

    assert CaptureOptions().face is False
    video = make_video(tmp_path / "plain.mp4")
    parts = Parts(landmarks=Plain(), solve=lambda proxies, camera, **_: stand(proxies, camera))
    result = capture_video(video, parts=parts, export="npz")
    assert result.report.face_percent is None
    assert not any("face" in name for name, _ in result.report.rows())
    with np.load(tmp_path / "plain.npz") as npz:
        assert not any("expression" in key for key in npz)


def test_a_live_capture_carries_the_face_too(tmp_path, monkeypatch):
    from test_cli import FakeCamera, stand

    monkeypatch.setattr(sources_webcam.cv2, "VideoCapture", FakeCamera)
    live = SimpleNamespace(together=False, push_all=lambda new: stand(new, Camera(64, 48, 60, 60, 32, 24, (), "test")))
    recorded = []
    monkeypatch.setattr(capture_run, "RecentFrames", lambda: recorded.append(RecentFrames()) or recorded[0])
    parts = Parts(landmarks=Seeing(), motion=live, solve=lambda proxies, camera, **_: stand(proxies, camera))
    capture_webcam(0, parts=parts, face=True, max_frames=12)
    (frames,) = recorded
    straight = LiveExpression()
    expected = [straight.push(p.face, p.stamp_s) for p in frames.proxies]
    assert len(expected) > 0
    np.testing.assert_array_equal([m.expression for m in frames.motion], expected)


def test_the_figure_shows_the_face_and_leaves_the_joints():
    from test_cli import stand

    (frame,) = stand(proxies_of(np.zeros((1, 0))), None)
    weights = np.zeros(52, np.float32)
    weights[BLINK_LEFT] = 1
    figure = Figure()
    neutral, blinking = figure.pose(frame), figure.pose(dataclasses.replace(frame, expression=weights))
    np.testing.assert_array_equal(neutral.joints_m, blinking.joints_m)
    moved = np.linalg.norm(blinking.vertices_m - neutral.vertices_m, axis=1)
    assert moved.max() > 0.005
    assert blinking.vertices_m[moved.argmax(), 0] > 0.02  # left is +x: the person's own left eye
    again = figure.pose(frame)
    np.testing.assert_array_equal(again.vertices_m, neutral.vertices_m)


def test_a_body_without_these_shapes_stays_neutral():
    from test_cli import stand

    (frame,) = stand(proxies_of(np.zeros((1, 0))), None)
    other = dataclasses.replace(load_body(), expression_names=())
    frame = dataclasses.replace(frame, expression=np.ones(52, np.float32))
    np.testing.assert_array_equal(Figure(other).pose(frame).vertices_m, Figure().pose(
        dataclasses.replace(frame, expression=np.zeros(0, np.float32))
    ).vertices_m)  # fmt: skip


# --- the published networks ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """(600, 512, 3) RGB: an official portrait of Grace Hopper (public domain), which comes with matplotlib."""
    cbook = pytest.importorskip("matplotlib.cbook")
    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def stage() -> LandmarkStage:
    return LandmarkStage.open(threads=2, face=True)


def weights_in(stage: LandmarkStage, image: np.ndarray) -> np.ndarray:
    stage.reset()
    for k in range(3):
        proxies = stage(np.ascontiguousarray(image), k, k / 30)
    return proxies.face


def exchanged(weights: np.ndarray) -> np.ndarray:
    """The weights with left and right exchanged."""
    names = [n.replace("Left", "?").replace("Right", "Left").replace("?", "Right") for n in ARKIT_NAMES]
    return weights[[ARKIT_NAMES.index(n) for n in names]]


@pytest.mark.network
def test_a_portrait_has_open_eyes_a_closed_mouth_and_the_same_face_lying(stage, portrait):
    weights = weights_in(stage, portrait)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert weights[[BLINK_LEFT, BLINK_RIGHT, JAW_OPEN]].max() < 0.4
    assert {"face_landmark", "face_blendshapes"} <= stage.engines.keys()
    for turns in (1, 3):
        np.testing.assert_allclose(weights_in(stage, np.rot90(portrait, turns)), weights, atol=0.1)


@pytest.mark.network
def test_in_a_mirror_the_sides_are_exchanged(stage, portrait):
    weights, mirrored = weights_in(stage, portrait), weights_in(stage, portrait[:, ::-1])
    assert np.abs(exchanged(mirrored) - weights).mean() < 0.05


@pytest.mark.network
def test_lids_that_close_and_a_chin_that_drops_raise_their_own_weights(stage, portrait):
    body = stage.body(portrait, 0, 0.0).body
    face_network = FaceNetwork(open_engine(registry.resolve("face_landmark"), outputs=FACE_OUTPUTS))
    shapes = ShapeNetwork(open_engine(registry.resolve("face_blendshapes")))
    face = face_network(portrait, roi_from_face(face_network(portrait, roi_from_head(body)).xyz_px[:, :2]))
    open_eyes = shapes(face)

    def changed(move) -> np.ndarray:
        xy = face.xy_crop.copy()
        move(xy)
        return shapes(dataclasses.replace(face, xy_crop=xy))

    # Upper and lower lid of the person's left eye, from the inner to the outer corner, and of the right one.
    lids = {
        BLINK_LEFT: ([398, 384, 385, 386, 387, 388, 466], [382, 381, 380, 374, 373, 390, 249]),
        BLINK_RIGHT: ([173, 157, 158, 159, 160, 161, 246], [155, 154, 153, 145, 144, 163, 7]),
    }
    for blink, (upper, lower) in lids.items():
        other = BLINK_LEFT + BLINK_RIGHT - blink

        def close(xy, upper=upper, lower=lower):
            xy[upper] = xy[lower] - (0, 0.002)

        closed = changed(close)
        assert closed[blink] > open_eyes[blink] + 0.25
        assert closed[other] < closed[blink] - 0.2

    def drop(xy):
        below = xy[:, 1] > xy[13, 1] + 1e-6  # everything below the middle of the lips
        xy[below] += (0, 0.08)

    assert changed(drop)[JAW_OPEN] > open_eyes[JAW_OPEN] + 0.25


@pytest.mark.network
def test_a_face_that_is_made_unrecognisable_is_none(stage):
    """The person of the sample clip, whose face is pixelated."""
    from hmcap.realtime.sources import open_source

    stage.reset()
    with open_source("sample", max_frames=25) as source:
        proxies = [stage(f.image_rgb, f.index, f.stamp_s) for f in source]
    assert all(p.present for p in proxies)
    assert all(np.isnan(p.face).all() for p in proxies)


@pytest.mark.network
@pytest.mark.parametrize(
    ("backend", "suffix"), [("onnxruntime", ".onnx"), ("openvino", ".onnx"), ("openvino", ".tflite")]
)
def test_the_shape_network_equals_the_reference(backend, suffix, tmp_path):
    source = registry.resolve("face_blendshapes")
    path = source if suffix == ".tflite" else registry.convert("face_blendshapes", tmp_path / "shapes.onnx")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_path=str(source))
    interpreter.allocate_tensors()
    engine = open_engine(path, backend=backend, threads=2)
    for scale in (1.0, 400.0):
        points = (made_face()[SHAPE_LANDMARKS, :2] * scale + 0.5 * scale).astype(np.float32)[None]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], points)
        interpreter.invoke()
        expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        found = engine({engine.inputs[0].name: points})[engine.outputs[0].name]
        np.testing.assert_allclose(found, expected, atol=1e-5)
