"""The landmark stage: hands with fake networks, exchanged sides, the map to proxies, and MediaPipe's own results."""

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hmcap.engines.landmarks import LandmarkStage
from hmcap.engines.landmarks.geometry import Roi
from hmcap.engines.landmarks.hands import (
    HandTracker,
    drop_twin,
    due,
    keep_calm,
    keep_tracking,
    roi_from_body,
    roi_from_hand,
)
from hmcap.engines.landmarks.mapping import to_proxies
from hmcap.engines.landmarks.networks import Body, Hand
from hmcap.engines.landmarks.sides import OTHER_SIDE, SideKeeper, exchange_sides
from hmcap.models.proxies import BLAZEPOSE_NAMES, BODY, LEFT_HAND, PROXY_NAMES, RIGHT_HAND, Proxies

REFERENCE = Path(__file__).parent / "data" / "mediapipe_sample.json"

# Hands


def make_body() -> Body:
    xy = np.zeros((33, 2), np.float32)
    for name, place in {
        "left_elbow": (700, 400), "left_wrist": (700, 500), "left_index": (700, 540), "left_pinky": (700, 540),
        "right_elbow": (300, 400), "right_wrist": (300, 500), "right_index": (300, 540), "right_pinky": (300, 540),
    }.items():  # fmt: skip
        xy[BLAZEPOSE_NAMES.index(name)] = place
    xy[xy.sum(axis=1) == 0] = (500, 450)
    ones = np.ones(33, np.float32)
    return Body(0.99, xy, ones, ones, np.zeros((33, 3), np.float32), np.zeros((2, 3)), Roi(500, 500, 1000))


def make_hand(wrist: tuple[float, float], presence: float = 0.9, right: float = 0.5, size: float = 80.0) -> Hand:
    spread = np.zeros((21, 2))
    for finger in range(5):
        for k in range(4):
            spread[1 + 4 * finger + k] = ((finger - 2) * 0.12, 0.4 + 0.2 * k)
    xy = (np.array(wrist) + spread * size).astype(np.float32)
    return Hand(presence, right, xy, np.zeros((21, 3), np.float32), Roi(wrist[0], wrist[1] + size / 2, 2 * size))


class FakeHands:
    """Stands for both hand networks: keeps the rough region, and returns the hand prepared for its side."""

    def __init__(self, left: Hand | None, right: Hand | None) -> None:
        self.hands = (left, right)

    def recrop(self, image: np.ndarray, roi: Roi) -> Roi:
        return roi

    def landmarks(self, image: np.ndarray, roi: Roi) -> Hand:
        hand = self.hands[0 if roi.x_px > 500 else 1]
        assert hand is not None
        return hand

    def tracker(self) -> HandTracker:
        return HandTracker(self.recrop, self.landmarks)  # pyright: ignore[reportArgumentType]


IMAGE = np.zeros((1000, 1000, 3), np.uint8)


def run_hands(fake: FakeHands, body: Body) -> list[Hand | None]:
    tracker = fake.tracker()
    return tracker.landmarks(IMAGE, body, tracker.regions(IMAGE, body))


def test_a_calm_hand_is_followed_without_the_recrop() -> None:
    body = make_body()
    left, right = make_hand((702, 502), size=60), make_hand((302, 502), size=60)
    fake, asked = FakeHands(left, right), []

    def recrop(image: np.ndarray, roi: Roi) -> Roi:
        asked.append(roi.x_px > 500)
        return roi

    tracker = HandTracker(recrop, fake.landmarks)  # pyright: ignore[reportArgumentType]
    seen = [tracker.landmarks(IMAGE, body, tracker.regions(IMAGE, body)) for _ in range(4)]
    assert all(hand is not None for pair in seen for hand in pair)
    assert len(asked) == 2  # in the first frame alone
    away = np.where(body.xy_px[:, :1] > 600, np.float32([0, 40]), np.float32(0))
    tracker.regions(IMAGE, replace(body, xy_px=body.xy_px + away))
    assert asked[2:] == [True]  # the left wrist has moved


def test_a_calm_hand_keeps_place_size_and_turn() -> None:
    hand, wrist = make_hand((702, 502), size=60), np.array([700.0, 500.0])
    rough = roi_from_body(make_body(), 0)
    assert keep_calm(hand.xy_px, wrist, rough, wrist) == roi_from_hand(hand.xy_px)
    assert keep_calm(hand.xy_px, wrist + 30, rough, wrist) is None  # moved
    assert keep_calm(hand.xy_px + 200, wrist, rough, wrist) is None  # elsewhere
    assert keep_calm(make_hand((702, 502), size=200).xy_px, wrist, rough, wrist) is None  # another size
    assert keep_calm(hand.xy_px, wrist, replace(rough, angle_rad=rough.angle_rad + 1.0), wrist) is None  # turned


def test_a_hand_that_is_clearly_not_there_is_looked_for_less_often() -> None:
    assert [k for k in range(32) if due(k)] == [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 21, 24, 27, 30]
    looked = []
    for presence in (0.01, 0.3):
        nothing = make_hand((700, 500), presence=presence)
        tracker = FakeHands(nothing, nothing).tracker()
        looked.append(0)
        for _ in range(40):
            regions = tracker.regions(IMAGE, make_body())
            looked[-1] += regions[0] is not None
            assert tracker.landmarks(IMAGE, make_body(), regions) == [None, None]
    assert looked[0] < 25
    assert looked[1] == 40  # in doubt, in every frame


def test_both_hands_are_measured_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=10)
    fake = FakeHands(make_hand((705, 505), right=0.1), make_hand((305, 505), right=0.9))

    def landmarks(image: np.ndarray, roi: Roi) -> Hand:
        together.wait()  # one of them alone never gets past this
        return fake.landmarks(image, roi)

    with ThreadPoolExecutor(1) as helper:
        tracker = HandTracker(fake.recrop, landmarks, None, helper)  # pyright: ignore[reportArgumentType]
        assert tracker.landmarks(IMAGE, make_body(), tracker.regions(IMAGE, make_body())) == list(fake.hands)


def test_hands_go_to_their_own_side() -> None:
    left, right = make_hand((705, 505), right=0.1), make_hand((305, 505), right=0.9)
    assert run_hands(FakeHands(left, right), make_body()) == [left, right]


def test_hand_out_of_the_picture_is_not_looked_for() -> None:
    body = make_body()
    names = [BLAZEPOSE_NAMES.index(f"right_{n}") for n in ("wrist", "index", "pinky")]
    body.xy_px[names] -= (400, 0)
    left = make_hand((705, 505))
    assert run_hands(FakeHands(left, None), body) == [left, None]


def test_hand_whose_wrist_the_body_does_not_see_is_not_looked_for() -> None:
    body = make_body()
    visibility = body.visibility.copy()
    visibility[BLAZEPOSE_NAMES.index("left_wrist")] = 0.05
    right = make_hand((305, 505))
    assert run_hands(FakeHands(None, right), replace(body, visibility=visibility)) == [None, right]


@pytest.mark.parametrize(
    "hand",
    [
        make_hand((705, 505), presence=0.4),
        make_hand((860, 505)),  # far from the wrist
        make_hand((705, 505), size=600.0),  # as large as the trunk
        make_hand((705, 505), size=5.0),
    ],
    ids=["presence", "far", "huge", "tiny"],
)
def test_unbelievable_hand_is_masked(hand: Hand) -> None:
    right = make_hand((305, 505))
    assert run_hands(FakeHands(hand, right), make_body()) == [None, right]


def test_one_hand_of_the_image_is_not_both_hands() -> None:
    body = make_body()
    body.xy_px[BLAZEPOSE_NAMES.index("left_wrist")] = (340, 505)
    left, right = make_hand((303, 503), right=0.9), make_hand((302, 502), right=0.9)
    assert drop_twin([left, right], body) == [None, right]
    left, right = make_hand((337, 505), right=0.1), make_hand((336, 505), right=0.1)
    assert drop_twin([left, right], body) == [left, None]
    apart = [make_hand((340, 505)), make_hand((240, 505))]
    assert drop_twin(apart, body) == apart


def test_hand_region_is_kept_while_it_agrees_with_the_recropped_one() -> None:
    hand = make_hand((700, 500))
    roi = roi_from_hand(hand.xy_px)
    assert abs(roi.angle_rad) == pytest.approx(math.pi, abs=0.05)  # the fingers point down
    assert keep_tracking(hand.xy_px, roi.moved(1.2)) is not None
    assert keep_tracking(hand.xy_px, Roi(roi.x_px + roi.size_px / 2, roi.y_px, roi.size_px, roi.angle_rad)) is None
    assert keep_tracking(hand.xy_px, replace(roi.moved(1.2), angle_rad=roi.angle_rad - 1.0)) is None
    assert keep_tracking(hand.xy_px, roi.moved(2.5)) is None


def test_rough_hand_region_lies_ahead_of_the_wrist() -> None:
    roi = roi_from_body(make_body(), 0)
    assert roi.x_px == pytest.approx(700)
    assert roi.y_px > 540
    np.testing.assert_allclose(roi.to_crop(np.array([700.0, 500.0]))[0], 0.5, atol=1e-6)
    assert roi.to_crop(np.array([700.0, 500.0]))[1] > 0.5  # the wrist is below, the fingers point up


# Sides


def standing_body(turn: float = 0.0) -> Body:
    """A person of 400 px radius whose left half is ``cos(turn)`` of its width to the right in the picture."""
    body = make_body()
    heights = {"shoulder": 250, "elbow": 350, "wrist": 450, "hip": 500, "knee": 650, "ankle": 800}
    for side, sign in (("left", 1), ("right", -1)):
        for part, y in heights.items():
            body.xy_px[BLAZEPOSE_NAMES.index(f"{side}_{part}")] = (500 + sign * 100 * math.cos(turn), y)
    return body


def test_exchanging_sides_twice_changes_nothing() -> None:
    np.testing.assert_array_equal(OTHER_SIDE[OTHER_SIDE], np.arange(33))
    body = standing_body()
    np.testing.assert_array_equal(exchange_sides(exchange_sides(body)).xy_px, body.xy_px)
    assert OTHER_SIDE[BLAZEPOSE_NAMES.index("left_foot_index")] == BLAZEPOSE_NAMES.index("right_foot_index")
    assert OTHER_SIDE[0] == 0


def test_sudden_exchange_of_sides_is_undone_and_believed_after_a_while() -> None:
    keep, body = SideKeeper(), standing_body()
    wrong = exchange_sides(body)
    assert np.abs(wrong.xy_px - body.xy_px).max() > 100
    keep(body, 0.0)
    for k in range(1, 50):
        np.testing.assert_array_equal(keep(wrong, k / 30).xy_px, body.xy_px)
    later = [keep(wrong, k / 30) for k in range(50, 70)]
    np.testing.assert_array_equal(later[-1].xy_px, wrong.xy_px)


def test_legs_that_change_places_alone_are_believed() -> None:
    keep, body = SideKeeper(), standing_body()
    keep(body, 0.0)
    crossed = replace(body, xy_px=np.concatenate([body.xy_px[:23], body.xy_px[OTHER_SIDE][23:]]))
    assert keep(crossed, 1 / 30) is crossed


def test_real_turn_is_followed() -> None:
    keep = SideKeeper()
    for turn in np.linspace(0, math.pi, 20):
        body = standing_body(turn)
        assert keep(body, turn / math.pi) is body


def test_exchange_after_a_gap_is_believed() -> None:
    keep, body = SideKeeper(), standing_body()
    keep(body, 0.0)
    turned = exchange_sides(body)
    assert keep(turned, 1.0) is turned


# Mapping


def test_mapping_to_proxies() -> None:
    body = make_body()
    body.xy_px[:] = np.random.default_rng(6).uniform(100, 900, (33, 2))
    visibility = np.linspace(0.2, 1, 33, dtype=np.float32)
    body = replace(body, visibility=visibility)
    right = make_hand((305, 505), presence=0.8, right=1.0)
    proxies = to_proxies(7, 1.5, (1000, 1000), body, [None, right])
    at = {n: (proxies.xy_px[i], proxies.confidence[i]) for i, n in enumerate(PROXY_NAMES)}
    blaze = {n: i for i, n in enumerate(BLAZEPOSE_NAMES)}
    for proxy, source in {
        "left_wrist": "left_wrist",
        "right_big_toe": "right_foot_index",
        "left_ear": "left_ear",
    }.items():
        np.testing.assert_allclose(at[proxy][0], body.xy_px[blaze[source]])
        assert at[proxy][1] == pytest.approx(visibility[blaze[source]])
    shoulders = [blaze["left_shoulder"], blaze["right_shoulder"]]
    np.testing.assert_allclose(at["neck"][0], body.xy_px[shoulders].mean(axis=0), rtol=1e-6)
    assert at["neck"][1] == pytest.approx(visibility[shoulders].min())
    assert at["left_small_toe"][1] == at["right_small_toe"][1] == 0
    assert not proxies.confidence[LEFT_HAND].any()
    np.testing.assert_allclose(proxies.confidence[RIGHT_HAND], 0.8)
    assert np.isnan(proxies.hands_xyz_m[0]).all()
    assert np.isfinite(proxies.hands_xyz_m[1]).all()
    assert (proxies.index, proxies.stamp_s, proxies.score) == (7, 1.5, pytest.approx(0.99))


def test_joint_outside_the_image_is_masked() -> None:
    body = make_body()
    body.xy_px[BLAZEPOSE_NAMES.index("left_ankle")] = (500, 1001)
    body.xy_px[BLAZEPOSE_NAMES.index("left_shoulder")] = (-1, 300)
    proxies = to_proxies(0, 0.0, (1000, 1000), body, [None, None])
    named = dict(zip(PROXY_NAMES, proxies.confidence, strict=True))
    assert named["left_ankle"] == named["left_shoulder"] == 0
    assert named["right_ankle"] > 0


def test_hand_of_the_wrong_side_is_trusted_less() -> None:
    sure, unsure = (
        to_proxies(0, 0.0, (1000, 1000), make_body(), [make_hand((700, 500), right=r), None]).confidence[LEFT_HAND]
        for r in (0.0, 1.0)
    )
    assert (unsure > 0).all()
    assert (unsure < sure).all()


# Agreement with the published pipeline


@pytest.mark.network
def test_two_threads_find_what_one_finds() -> None:
    from hmcap.engines.registry import resolve
    from hmcap.realtime.loop import CaptureLoop
    from hmcap.realtime.sources import open_source

    class Kept:
        def __init__(self) -> None:
            self.proxies: list[Proxies] = []

        def open(self, header) -> None:
            pass

        def __call__(self, frame, proxies, motion) -> None:
            self.proxies.append(proxies)

        def close(self) -> None:
            pass

    stage, sink = LandmarkStage.open(threads=1), Kept()
    with open_source(resolve("sample"), max_frames=25) as source:
        CaptureLoop(source, stage, [sink]).run(None)  # pyright: ignore[reportArgumentType]
    stage.reset()
    with open_source(resolve("sample"), max_frames=25) as source:
        one = [stage(f.image_rgb, f.index, f.stamp_s) for f in source]
    assert len(one) == len(sink.proxies) == 25
    assert all(p.present for p in one)
    for a, b in zip(sink.proxies, one, strict=True):
        np.testing.assert_array_equal(a.xy_px, b.xy_px)
        np.testing.assert_array_equal(a.confidence, b.confidence)


@pytest.mark.network
def test_sample_agrees_with_mediapipe() -> None:
    from hmcap.engines.registry import resolve

    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    stage = LandmarkStage.open(threads=2)
    video = cv2.VideoCapture(str(resolve("sample")))
    frames = []
    for index in range(max(reference["index"]) + 1):
        ok, bgr = video.read()
        assert ok
        proxies = stage(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), index, (index + 1) * 0.033333)
        if index in reference["index"]:
            frames.append(proxies)
    assert tuple(reference["settings"]["image_size_px"]) == frames[0].image_size_px
    height_px = 800.0
    names = ["nose", "left_shoulder", "right_elbow", "left_wrist", "right_hip", "left_knee", "right_ankle", "left_heel"]
    peer = np.array(reference["pose_px"])[:, [BLAZEPOSE_NAMES.index(n) for n in names]]
    ours = np.stack([p.xy_px[BODY] for p in frames])[:, [PROXY_NAMES.index(n) for n in names]]
    body = np.linalg.norm(ours - peer, axis=-1) / height_px
    assert np.median(body) < 0.003
    assert body.max() < 0.03
    world = np.linalg.norm(np.stack([p.body_xyz_m for p in frames]) - np.array(reference["world_m"]), axis=-1)
    assert np.median(world) < 0.02
    hands = np.array(reference["hands_px"], dtype=np.float64)
    compared = 0
    for t, p in enumerate(frames):
        for side, part in enumerate((LEFT_HAND, RIGHT_HAND)):
            if np.isfinite(hands[t, side]).all() and p.confidence[part].any():
                compared += 1
                assert np.median(np.linalg.norm(p.xy_px[part] - hands[t, side], axis=-1)) / height_px < 0.02
    assert compared >= 3
