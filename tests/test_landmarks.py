"""The landmark stage: geometry by law, decoding of made-up tensors, tracking with fake networks."""

import math

import cv2
import numpy as np
import pytest
from hmcap.engines import registry
from hmcap.engines.base import TensorSpec
from hmcap.engines.landmarks import MODULES, LandmarkStage
from hmcap.engines.landmarks.geometry import Roi, crop, roi_from_points, to_tensor, wrap_angle
from hmcap.engines.landmarks.networks import (
    Detection,
    decode_detections,
    refine_from_heatmap,
    ssd_anchors,
    thumbnail,
    weighted_nms,
)
from hmcap.engines.landmarks.tracking import OneEuroFilter, check_subject, choose_subject, is_cut, is_near, reacquire
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.proxies import LEFT_HAND, PROXY_NAMES, RIGHT_HAND

ANGLES = [0.0, 0.3, -1.2, math.pi / 2, 3.0]


# Geometry


@pytest.mark.parametrize("angle", ANGLES)
def test_image_to_crop_to_image_is_identity(angle: float) -> None:
    roi = Roi(321.5, 87.25, 140.0, angle)
    points = np.random.default_rng(0).uniform(-300, 900, (50, 2))
    np.testing.assert_allclose(roi.to_image(roi.to_crop(points)), points, atol=1e-9)


@pytest.mark.parametrize("angle", ANGLES)
def test_affine_map_and_point_map_agree(angle: float) -> None:
    roi, n = Roi(321.5, 87.25, 140.0, angle), 256
    pixels = np.random.default_rng(1).uniform(0, n, (20, 2))
    by_matrix = pixels @ roi.image_from_crop(n)[:, :2].T + roi.image_from_crop(n)[:, 2]
    np.testing.assert_allclose(by_matrix, roi.to_image(pixels / n), atol=1e-9)


@pytest.mark.parametrize("angle", ANGLES)
def test_crop_samples_the_image_where_the_map_says(angle: float) -> None:
    ys, xs = np.mgrid[:300, :400]
    image = np.repeat((0.3 * xs + 0.4 * ys)[..., None], 3, axis=2).astype(np.uint8)
    roi, n = Roi(200.0, 150.0, 120.0, angle), 64
    at = np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1) / n
    xy = roi.to_image(at)
    np.testing.assert_allclose(crop(image, roi, n)[..., 0], 0.3 * xy[..., 0] + 0.4 * xy[..., 1], atol=1.6)


def test_whole_image_crop_of_the_same_size_is_the_image() -> None:
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(crop(image, Roi(32, 32, 64), 64), image)


def test_border_is_black_only_on_request() -> None:
    image = np.full((40, 80, 3), 200, np.uint8)
    whole = Roi(40, 20, 80)
    assert crop(image, whole, 80, zero_border=True)[5, 40, 0] == 0
    assert crop(image, whole, 80)[5, 40, 0] == 200


@pytest.mark.parametrize(("upward", "expected"), [(True, (0.5, 0.0)), (False, (0.5, 1.0))])
@pytest.mark.parametrize("direction", ANGLES)
def test_region_from_two_points_turns_the_edge_point_up_or_down(
    direction: float, upward: bool, expected: tuple[float, float]
) -> None:
    centre = np.array([50.0, 60.0])
    edge = centre + 30 * np.array([math.cos(direction), math.sin(direction)])
    roi = roi_from_points(centre, edge, upward)
    assert roi.size_px == pytest.approx(60)
    np.testing.assert_allclose(roi.to_crop(edge), expected, atol=1e-9)


def test_moving_a_region_shifts_along_its_own_axis_then_scales() -> None:
    roi = Roi(10, 20, 8, math.pi / 2).moved(2.0, -0.25)
    assert (roi.x_px, roi.y_px, roi.size_px) == pytest.approx((12, 20, 16))


def test_tensor_range() -> None:
    pixels = np.array([[[0, 51, 255]]], np.uint8)
    np.testing.assert_allclose(to_tensor(pixels)[0, 0, 0], [0, 0.2, 1], atol=1e-6)
    np.testing.assert_allclose(to_tensor(pixels, -1, 1)[0, 0, 0], [-1, -0.6, 1], atol=1e-6)
    assert to_tensor(pixels).dtype == np.float32


def test_relative_3d_turns_with_the_region() -> None:
    roi = Roi(0, 0, 1, math.pi / 2)  # the crop's right is the image's down
    np.testing.assert_allclose(roi.rotate_to_image(np.array([[1.0, 0, 0.5]])), [[0, 1, 0.5]], atol=1e-6)


def test_wrapped_angle_is_the_same_direction() -> None:
    angles = np.linspace(-20, 20, 81)
    wrapped = np.array([wrap_angle(a) for a in angles])
    assert ((wrapped >= -math.pi) & (wrapped < math.pi)).all()
    np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * angles), atol=1e-9)


# Detector


def test_anchors_count_and_law() -> None:
    anchors = ssd_anchors()
    assert anchors.shape == (2254, 2)
    sizes = [(28, 2), (14, 2), (7, 6)]
    start = 0
    for cells, each in sizes:
        part = anchors[start : start + cells * cells * each].reshape(cells, cells, each, 2)
        centres = (np.arange(cells) + 0.5) / cells
        np.testing.assert_allclose(part[..., 0], np.broadcast_to(centres[None, :, None], part.shape[:3]), atol=1e-6)
        np.testing.assert_allclose(part[..., 1], np.broadcast_to(centres[:, None, None], part.shape[:3]), atol=1e-6)
        start += cells * cells * each
    assert start == len(anchors)


def detector_tensors(people: list[tuple[float, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Raw outputs that hold these people: (logit, six points in 0..1: box centre, box size, four key points)."""
    anchors = ssd_anchors()
    raw, logits = np.zeros((2254, 12), np.float32), np.full((2254, 1), -100, np.float32)
    for logit, points in people:
        free = np.where(logits[:, 0] < -50, np.linalg.norm(anchors - points[0], axis=1), np.inf)
        row = int(free.argmin())
        relative = points - anchors[row]
        relative[1] = points[1]
        raw[row], logits[row] = (relative * 224).reshape(12), logit
    return raw, logits


def person_points(x: float, y: float, radius: float = 0.2) -> np.ndarray:
    return np.array([(x, y - radius), (0.05, 0.05), (x, y), (x, y - radius), (x, y - radius / 2), (x, y - radius)])


def test_detection_decoding() -> None:
    points = person_points(0.4, 0.6)
    scores, rows = decode_detections(*detector_tensors([(2.0, points)]), ssd_anchors())
    assert scores == pytest.approx([1 / (1 + math.exp(-2))])
    np.testing.assert_allclose(rows[0, 4:], points[2:].reshape(-1), atol=1e-6)
    np.testing.assert_allclose(rows[0, :4], [0.375, 0.375, 0.425, 0.425], atol=1e-6)


def test_detections_below_the_threshold_or_of_negative_size_are_dropped() -> None:
    bad = person_points(0.4, 0.6)
    bad[1] = -0.05
    scores, _ = decode_detections(*detector_tensors([(-0.1, person_points(0.2, 0.5)), (3.0, bad)]), ssd_anchors())
    assert len(scores) == 0


def test_overlapping_detections_merge_into_their_weighted_mean() -> None:
    rows = np.zeros((3, 12))
    rows[:, :4] = [(0.1, 0.1, 0.3, 0.3), (0.12, 0.1, 0.32, 0.3), (0.7, 0.7, 0.9, 0.9)]
    rows[:, 4] = [1.0, 2.0, 3.0]
    merged = weighted_nms(np.array([0.9, 0.6, 0.55]), rows)
    assert [score for score, _ in merged] == [0.9, 0.55]
    assert merged[0][1][4] == pytest.approx((0.9 * 1 + 0.6 * 2) / 1.5)
    np.testing.assert_allclose(merged[1][1], rows[2])


# Heat map


def test_landmark_moves_to_the_centroid_of_its_heat_map() -> None:
    ys, xs = np.mgrid[:64, :64]
    peak = 12.0 - ((xs - 20.3) ** 2 + (ys - 40.6) ** 2) * 1.5
    logits = np.full((64, 64, 2), -20.0, np.float32)
    logits[..., 0] = peak
    given = np.array([[21.2 / 64, 40.1 / 64], [0.5, 0.5]])
    refined = refine_from_heatmap(given, logits)
    np.testing.assert_allclose(refined[0] * 64, [20.3, 40.6], atol=0.05)
    np.testing.assert_array_equal(refined[1], given[1])  # its heat map is empty


def test_landmark_outside_the_heat_map_stays() -> None:
    given = np.array([[1.2, 0.5], [0.5, -0.3]])
    np.testing.assert_array_equal(refine_from_heatmap(given, np.full((64, 64, 2), 9.0)), given)


# Choosing and following


def detection(x: float, y: float, radius_px: float = 100, score: float = 0.9) -> Detection:
    points = np.array([(x, y), (x, y - radius_px), (x, y - 50), (x, y - 80)])
    return Detection(score, np.array([x - 10, y - 60, x + 10, y - 40]), points)


def test_choice_of_subject() -> None:
    people = [detection(500, 300, 90), detection(100, 300, 80), detection(800, 300, 60)]
    size = (1000, 600)
    assert choose_subject(people, size, "largest") is people[0]
    assert choose_subject(people, size, "left") is people[1]
    assert choose_subject(people, size, "right") is people[2]
    assert choose_subject(people, size, 1) is people[0]
    assert choose_subject(people, size, 3) is None
    assert choose_subject([], size, "largest") is None


def test_central_person_wins_over_a_slightly_larger_one_at_the_edge() -> None:
    people = [detection(30, 300, 105), detection(500, 300, 100)]
    assert choose_subject(people, (1000, 600), "largest") is people[1]


@pytest.mark.parametrize("subject", ["smallest", -1, True, "1.5"])
def test_unknown_subject_is_a_usage_error(subject: object) -> None:
    with pytest.raises(UsageError, match="--subject"):
        check_subject(subject)  # pyright: ignore[reportArgumentType]


def test_subject_number_in_a_string() -> None:
    assert check_subject("2") == 2


def test_reach_of_a_person_grows_with_time() -> None:
    here, radius = Roi(500, 500, 250), 100
    there = Roi(500 + radius, 500, 250)
    assert not is_near(here, there, 1 / 30)
    assert is_near(here, there, 0.5)
    assert not is_near(here, Roi(500, 500, 600), 1 / 30)
    assert not is_near(here, Roi(math.nan, 500, 250), 1 / 30)
    assert reacquire([detection(2000, 500), detection(510, 500)], here, 0.03) is not None
    assert reacquire([detection(2000, 500)], here, 0.03) is None


def test_one_euro_filter_keeps_a_constant_and_follows_fast_motion() -> None:
    still = OneEuroFilter(0.01, 10.0)
    value = np.array([[3.0, 4.0]])
    for k in range(5):
        np.testing.assert_allclose(still(value, k / 30, 100.0), value)
    fast, out = OneEuroFilter(0.01, 10.0), value
    for k in range(30):
        out = fast(value + 20.0 * k, k / 30, 100.0)
    assert abs(out[0, 0] - (3 + 20 * 29)) < 10


def test_one_euro_filter_calms_noise() -> None:
    noise = np.random.default_rng(3).normal(0, 0.2, (200, 1))
    smooth = OneEuroFilter(0.01, 10.0)
    out = np.array([smooth(v, k / 30, 100.0) for k, v in enumerate(noise)])
    assert out[50:].std() < 0.5 * noise[50:].std()


def test_cut_is_another_picture_and_not_motion_or_light() -> None:
    rng = np.random.default_rng(4)
    shot = cv2.resize(rng.integers(0, 256, (9, 16, 3), np.uint8), (640, 360), interpolation=cv2.INTER_CUBIC)
    other = cv2.resize(rng.integers(0, 256, (9, 16, 3), np.uint8), (640, 360), interpolation=cv2.INTER_CUBIC)
    assert is_cut(thumbnail(shot), thumbnail(other))
    assert not is_cut(thumbnail(shot), thumbnail(np.roll(shot, 6, axis=1)))
    assert not is_cut(thumbnail(shot), thumbnail((shot * 0.6).astype(np.uint8)))


# The stage with fake networks


class FakeEngine:
    """Plays a network: ``play(call number)`` gives its outputs."""

    backend, device = "fake", "cpu"

    def __init__(self, size: int, shapes: list[tuple[int, ...]], play) -> None:
        self.inputs = (TensorSpec("image", (1, size, size, 3), np.dtype(np.float32)),)
        self.outputs = tuple(TensorSpec(f"out{i}", s, np.dtype(np.float32)) for i, s in enumerate(shapes))
        self.play, self.calls = play, 0

    def __call__(self, feeds):
        assert feeds["image"].shape == self.inputs[0].shape
        values = self.play(self.calls)
        self.calls += 1
        return {s.name: np.asarray(v, np.float32).reshape(s.shape) for s, v in zip(self.outputs, values, strict=True)}


def body_outputs(presence: float, shift: tuple[float, float] = (0.0, 0.0)) -> list[np.ndarray]:
    """A body in the middle of the crop, or moved by a part of the crop; its region stays as it is."""
    flat = np.zeros((39, 5), np.float32)
    flat[:, :2] = (128, 128)
    flat[:, 3:] = 6.0
    flat[11:13, 1], flat[23:25, 1], flat[25:33, 1] = 70, 128, 200
    flat[11::2, 0], flat[12::2, 0] = 140, 116
    flat[33, :2], flat[34, :2] = (128, 128), (128, 128 - 0.4 * 256)
    flat[:, :2] += np.array(shift) * 256
    return [flat, np.float32(presence), np.full(64 * 64 * 39, -20.0), np.zeros((39, 3))]


class Scene:
    """What the fake networks see: people for the detector, presence and displacement for the body network."""

    def __init__(self, subject: str | int = "largest") -> None:
        self.people: list[tuple[float, np.ndarray]] = [(3.0, person_points(0.5, 0.5))]
        self.presence, self.shift, self.hand_presence = 0.99, (0.0, 0.0), 0.0
        hand = np.zeros((21, 3))
        engines = {
            "pose_detection": FakeEngine(
                224, [(1, 2254, 12), (1, 2254, 1)], lambda _: list(detector_tensors(self.people))
            ),
            "pose_landmark": FakeEngine(
                256,
                [(1, 195), (1, 1), (1, 64, 64, 39), (1, 117)],
                lambda _: body_outputs(self.presence, self.shift),
            ),
            "hand_recrop": FakeEngine(256, [(1, 1, 1, 4)], lambda _: [np.array([128, 128, 128, 192])]),
            "hand_landmark": FakeEngine(
                224, [(1, 63), (1, 1), (1, 1), (1, 63)], lambda _: [hand, np.float32(self.hand_presence), 0.5, hand]
            ),
        }
        self.stage = LandmarkStage(engines, subject=subject)
        self.image = np.full((1000, 1000, 3), 90, np.uint8)
        self.frame = 0

    def step(self, seconds: float = 1 / 30):
        self.stamp_s = getattr(self, "stamp_s", 0.0) + seconds
        self.frame += 1
        self.seen = self.stage.body(self.image, self.frame, self.stamp_s)
        return self.stage.hands(self.seen)

    @property
    def detections(self) -> int:
        return self.stage.engines["pose_detection"].calls  # pyright: ignore[reportAttributeAccessIssue]


def test_detector_runs_only_when_nobody_is_tracked() -> None:
    scene = Scene()
    for _ in range(5):
        assert scene.step().present
    assert scene.detections == 1
    assert "pose_detection" not in scene.seen.times_s
    assert {"pose_landmark", "hand_recrop", "hand_landmark"} <= set(scene.seen.times_s)
    scene.stage.reset()
    assert scene.step().present
    assert scene.detections == 2


def test_body_lands_where_the_detector_pointed() -> None:
    proxies = Scene().step()
    at = dict(zip(PROXY_NAMES, proxies.xy_px, strict=True))
    # The circle has radius 200 px, the region is 500 px wide; the hips lie in its middle.
    np.testing.assert_allclose(at["mid_hip"], (500, 500), atol=0.5)
    np.testing.assert_allclose(at["left_hip"], (500 + 12 / 256 * 500, 500), atol=0.5)
    assert proxies.image_size_px == (1000, 1000)


def test_nobody_in_view_is_absent_and_asks_the_detector_every_frame() -> None:
    scene = Scene()
    scene.people = []
    for _ in range(3):
        proxies = scene.step()
        assert not proxies.present
        assert not proxies.confidence.any()
        assert np.isnan(proxies.body_xyz_m).all()
    assert scene.detections == 3
    assert scene.stage.engines["pose_landmark"].calls == 0  # pyright: ignore[reportAttributeAccessIssue]


def test_lost_person_is_detected_again_in_the_same_frame() -> None:
    scene = Scene()
    scene.step()
    scene.presence = 0.2
    assert not scene.step().present
    assert scene.detections == 2
    scene.presence = 0.99
    assert scene.step().present


def test_jump_to_a_bystander_is_refused_until_the_memory_fades() -> None:
    scene = Scene()
    scene.step()
    scene.shift = (0.4, 0.0)  # the body network latches on to someone two body radii away
    scene.people = [(3.0, person_points(0.95, 0.5))]
    assert not scene.step().present
    scene.shift = (0.0, 0.0)
    assert not scene.step().present
    assert scene.step(1.5).present


def test_person_beside_the_jump_is_found_again() -> None:
    scene = Scene()
    before = scene.step()
    scene.shift = (0.4, 0.0)
    scene.people = [(3.0, person_points(0.95, 0.5)), (2.0, person_points(0.51, 0.5))]
    assert not scene.step().present  # the body network sees the bystander in both regions
    scene.shift = (0.0, 0.0)
    after = scene.step()
    assert after.present
    assert np.abs(after.xy_px[8] - before.xy_px[8]).max() < 30


def test_cut_starts_again_with_a_new_choice() -> None:
    scene = Scene()
    rng = np.random.default_rng(5)
    shots = [cv2.resize(rng.integers(0, 256, (9, 16, 3), np.uint8), (1000, 1000)) for _ in range(2)]
    scene.image = shots[0]
    scene.step()
    scene.image, scene.people = shots[1], [(3.0, person_points(0.9, 0.5))]
    after = scene.step()
    assert scene.detections == 2
    assert after.xy_px[8][0] == pytest.approx(900, abs=1)


def test_hand_the_network_does_not_see_is_masked() -> None:
    proxies = Scene().step()
    assert not proxies.confidence[LEFT_HAND].any()
    assert not proxies.confidence[RIGHT_HAND].any()
    assert np.isnan(proxies.hands_xyz_m).all()


def test_wrong_frame_missing_engine_and_wrong_network_are_explained() -> None:
    scene = Scene()
    with pytest.raises(HmcapError, match="uint8"):
        scene.stage(np.zeros((10, 10), np.uint8), 0, 0.0)
    engines = dict(scene.stage.engines)
    with pytest.raises(HmcapError, match="missing: hand_recrop"):
        LandmarkStage({m: e for m, e in engines.items() if m != "hand_recrop"})
    engines["hand_landmark"] = engines["pose_landmark"]
    with pytest.raises(HmcapError, match="hand landmark network"):
        LandmarkStage(engines)
    with pytest.raises(HmcapError, match="Unknown module"):
        LandmarkStage.open(models={"face": "x.tflite"})


def test_networks_are_fetched_together(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(names: list[str]) -> None:
        asked.append(sorted(names))
        raise HmcapError("no network")

    monkeypatch.setattr(registry, "fetch", fetch)
    with pytest.raises(HmcapError, match="no network"):
        LandmarkStage.open(models={"hand_recrop": "mine.onnx"})
    # One by one, each would download the wheel that holds them all.
    assert asked == [["hand_landmark_full", "pose_detection", "pose_landmark_full"]]


def test_modules_are_reported_in_order() -> None:
    assert tuple(Scene().stage.engines) == MODULES
