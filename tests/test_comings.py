"""One person who comes, goes and comes back among hands, pictures, bystanders and nobody: who is followed, and what the
user is told."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hmcap.engines.landmarks.doubts import STRANGER_AFTER_S, PictureWatch, is_hand, is_reversed, is_tilted
from hmcap.engines.landmarks.geometry import Roi
from hmcap.engines.landmarks.networks import Detection, Hand
from hmcap.engines.landmarks.stage import LandmarkStage
from hmcap.engines.landmarks.tracking import body_roi, too_few
from hmcap.engines.registry import resolve
from hmcap.realtime.sources import open_source
from people_scene import BLUE, FPS, RED, Scene, Walker


@dataclass
class Living(Walker):
    """A walker who waves with both arms and shifts from foot to foot."""

    def points_px(self, frame: int) -> np.ndarray | None:
        points = super().points_px(frame)
        if points is not None:
            points[[13, 14, 15, 16, 25, 26]] += 0.25 * self.radius_px * math.sin(frame / 5)
        return points


class Alone(Scene):
    """The same scene with one person followed."""

    @property
    def single(self) -> LandmarkStage:
        return self.stage._first

    def followed(self, seconds: float) -> list[int | None]:
        """For each of the next frames, the number of the walker who is followed; None for nobody."""
        out: list[int | None] = []
        for _ in range(round(seconds * FPS)):
            self.frame += 1
            body = self.single.body(self.picture(), self.frame, self.frame / FPS).body
            points = [w.points_px(self.frame) for w in self.walkers]
            hips = [math.inf if p is None or body is None else abs(p[23, 0] - body.xy_px[23, 0]) for p in points]
            out.append(None if body is None else int(np.argmin(hips)))
        return out


def away(x: float, start_s: float, end_s: float):
    return lambda frame: None if start_s <= frame / FPS < end_s else x


def at(x: float):
    return lambda _: x


@pytest.mark.parametrize("absent_s", [0.5, 1.5, 5.0])
def test_who_comes_back_is_found_again_beside_a_bystander(absent_s: float) -> None:
    scene = Alone([Living(away(300, 2, 2 + absent_s), RED), Living(at(520), BLUE)], subject="left")
    who = scene.followed(2 + absent_s + 1)
    assert who[:60] == [0] * 60
    gone = who[60 : round((2 + absent_s) * FPS)]
    assert gone == [None] * len(gone)
    assert who[-25:] == [0] * 25


def test_somebody_else_is_followed_when_the_person_stays_away() -> None:
    scene = Alone([Living(away(300, 2, 99), RED), Living(at(700), BLUE)], subject="left")
    who = scene.followed(2 + STRANGER_AFTER_S + 1)
    assert who[-1] == 1
    assert 1 not in who[: round((1.9 + STRANGER_AFTER_S) * FPS)]


def test_same_clothes_come_back_at_another_place() -> None:
    scene = Alone([Living(lambda f: 250 if f < 60 else None if f < 150 else 800, RED)])
    who = scene.followed(7)
    assert who[150 + 6 :] == [0] * (len(who) - 156)


def test_a_picture_gives_way_to_somebody_who_moves_and_is_not_taken_again() -> None:
    picture = Walker(at(700), BLUE, radius_px=200)
    scene = Alone([picture, Living(away(250, 6, 8), RED, radius_px=120)])
    who = scene.followed(16)
    assert who[0] == 0
    taken = who.index(1)
    assert taken <= 3.5 * FPS
    assert 0 not in who[taken:]
    assert who[-1] == 1
    assert any("picture on the wall" in text for text in scene.single.warnings)


def test_who_stands_still_stays() -> None:
    alone = Alone([Walker(at(400), RED)])
    assert alone.followed(15) == [0] * 450
    both = Alone([Walker(at(700), BLUE, radius_px=200), Walker(at(250), RED)])
    assert both.followed(6) == [0] * 180
    named = Alone([Walker(at(250), BLUE), Living(at(700), RED)], subject="left")
    assert named.followed(6) == [0] * 180
    moved_once = Alone([_Stopping(at(250), BLUE, radius_px=200), Living(at(700), RED)])
    assert moved_once.followed(8) == [0] * 240
    assert not alone.single.warnings + both.single.warnings + named.single.warnings + moved_once.single.warnings


class _Stopping(Living):
    def points_px(self, frame: int) -> np.ndarray | None:
        return super().points_px(min(frame, 30))


def test_a_watch_that_is_not_started_never_gives_way() -> None:
    watch = PictureWatch()
    assert watch.moved
    assert not watch.due(100.0)


def test_a_lone_hand_is_nobody_and_the_user_is_told() -> None:
    scene = Alone([Living(at(400), RED)])
    scene.single._lone_hand = lambda image, roi: _hand(0.97, roi)  # pyright: ignore[reportAttributeAccessIssue]
    assert scene.followed(1) == [None] * 30
    assert sum("Only a hand" in text for text in scene.single.warnings) == 1
    scene.single._lone_hand = lambda image, roi: _hand(0.3, roi)  # pyright: ignore[reportAttributeAccessIssue]
    assert scene.followed(0.5) == [0] * 15


def test_a_followed_person_of_whom_only_a_hand_stays_is_lost() -> None:
    scene = Alone([Living(at(400), RED)])
    scene.followed(1)
    half = scene.single._body

    def seen(image, roi):
        body = half(image, roi)
        return replace(body, visibility=np.full(33, 0.6))

    scene.single._body = seen  # pyright: ignore[reportAttributeAccessIssue]
    assert scene.followed(1) == [0] * 30
    scene.single._lone_hand = lambda image, roi: _hand(0.97, roi)  # pyright: ignore[reportAttributeAccessIssue]
    assert scene.followed(1)[-1] is None


def _hand(presence: float, roi: Roi) -> Hand:
    return Hand(presence, 0.5, np.zeros((21, 2), np.float32), np.zeros((21, 3), np.float32), roi)


def test_hands_need_less_to_be_hands_where_the_body_was_in_doubt() -> None:
    assert is_hand(0.9)
    assert not is_hand(0.6)
    assert is_hand(0.6, sure=False)
    assert not is_hand(0.4, sure=False)


@pytest.mark.parametrize(("joints", "found"), [(2, False), (3, True)])
def test_what_the_detector_doubts_must_show_a_head_and_shoulders(joints: int, found: bool) -> None:
    scene = Alone([Living(at(400), RED)])
    plain, detect = scene.single._body, scene.detect

    def seen(image, roi):
        visibility = np.zeros(33)
        visibility[[0, 11, 12][:joints]] = 1.0
        return replace(plain(image, roi), visibility=visibility)

    scene.single._body = seen  # pyright: ignore[reportAttributeAccessIssue]
    scene.single.detect = lambda *a: [replace(p, score=0.6) for p in detect(*a)]  # pyright: ignore[reportAttributeAccessIssue]
    assert scene.followed(0.1) == [0 if found else None] * 3


def test_a_number_larger_than_the_people_in_view_is_told_once() -> None:
    scene = Alone([Living(at(400), RED)], subject=2)
    assert scene.followed(1) == [None] * 30
    assert scene.single.warnings == [too_few(2, 1)]
    assert "person 3 from the left, and 1 person is in view" in scene.single.warnings[0]
    assert "0 to 2" in too_few(5, 3)
    assert not too_few(1, 2)
    assert not too_few("left", 0)


def test_several_people_are_told_of_a_number_too_large_as_well() -> None:
    scene = Scene([Walker(at(250), RED), Walker(at(700), BLUE)], subject=4)
    scene.step(3)
    assert list(scene.stage.warnings) == [too_few(4, 2)]


def test_a_person_who_was_laid_in_feet_first_is_turned_round() -> None:
    scene = Alone([Living(at(400), RED)])
    upright, detect = scene.single._body, scene.detect
    turned = {"by_rad": math.pi}

    def seen(image, roi):
        """Finds the head wherever the region's top is."""
        body = upright(image, roi)
        hip = body.aux_px[0].copy()
        edge = hip + 150 * np.array([math.sin(roi.angle_rad), -math.cos(roi.angle_rad), 0])
        return replace(body, aux_px=np.array([hip, edge]))

    def heads(*args) -> list[Detection]:
        way = np.array([math.sin(turned["by_rad"]), -math.cos(turned["by_rad"])])
        return [
            replace(p, keypoints_px=np.array([p.keypoints_px[0] + k * 150 * way for k in (0, 1, 0, 1)]))
            for p in detect(*args)
        ]

    scene.single._body, scene.single.detect = seen, heads  # pyright: ignore[reportAttributeAccessIssue]
    scene.followed(0.5)
    assert _angle(scene) == pytest.approx(math.pi, abs=0.1)
    turned["by_rad"] = 0.0
    assert scene.followed(0.5) == [0] * 15
    assert _angle(scene) == pytest.approx(0, abs=0.1)


def _angle(scene: Alone) -> float:
    roi = scene.single.track.roi
    assert roi is not None
    return abs(roi.angle_rad)


def test_tilt_and_reversal() -> None:
    assert is_tilted(Roi(0, 0, 100, math.radians(-70)))
    assert not is_tilted(Roi(0, 0, 100, math.radians(50)))
    assert is_reversed(Roi(0, 0, 100, math.radians(170)), Roi(0, 0, 100, math.radians(-10)))
    assert not is_reversed(Roi(0, 0, 100, math.radians(170)), Roi(0, 0, 100, math.radians(-170)))


def test_a_cut_begins_with_a_new_choice() -> None:
    scene = Alone([Living(away(300, 2, 99), RED), Living(at(700), BLUE)], subject="left")
    scene.followed(2)
    another = np.kron(np.random.default_rng(0).integers(0, 255, (9, 16, 3)), np.ones((60, 60, 1))).astype(np.uint8)
    scene.picture = lambda: another  # pyright: ignore[reportAttributeAccessIssue]
    assert scene.followed(0.2) == [1] * 6


@pytest.mark.network
def test_sample_upside_down_is_the_sample_turned_over() -> None:
    with open_source(resolve("sample"), max_frames=8) as source:
        frames = [frame.image_rgb for frame in source]
    grey = np.full_like(frames[0], 120)
    height, width = grey.shape[:2]
    upright, turned = LandmarkStage.open(threads=1), LandmarkStage.open(threads=1)
    for k, image in enumerate([grey, *frames, grey]):
        over = np.ascontiguousarray(image[::-1, ::-1])
        one, other = upright.body(image, k, k / 25).body, turned.body(over, k, k / 25).body
        if image is grey:
            assert one is None
            assert other is None
            continue
        assert one is not None
        assert other is not None
        apart_px = np.linalg.norm(one.xy_px - ((width - 1, height - 1) - other.xy_px), axis=1)
        assert np.median(apart_px) < 0.03 * body_roi(one).size_px
