"""Several people: numbers that stay, through crossing, absence and exchange, and what a run of several writes."""

import dataclasses

import numpy as np
import pytest
from hmcap.engines.landmarks.looks import look_of, unlike
from hmcap.engines.landmarks.networks import Body
from hmcap.engines.landmarks.people import PeopleStage, apart, hips_apart, inside, tiles
from hmcap.engines.landmarks.sides import OTHER_SIDE
from hmcap.models.errors import UsageError
from people_scene import BLUE, GREEN, HEIGHT, RED, WIDTH, Scene, Walker


def across(start: float, end: float, frames: int = 60):
    return lambda frame: start + (end - start) * min(1.0, frame / frames)


def still(x: float):
    return lambda _: x


CLOTHES = pytest.mark.parametrize("clothes", [(RED, BLUE), (RED, RED)], ids=["other clothes", "same clothes"])


@CLOTHES
@pytest.mark.parametrize("front", [0, 1])
@pytest.mark.parametrize("frames", [25, 60, 120])
def test_two_people_who_cross_keep_their_numbers(clothes, front, frames):
    ways = [across(250, 710, frames), across(710, 250, frames)]
    walkers = [Walker(way, colour) for way, colour in zip(ways, clothes, strict=True)]
    scene = Scene(walkers[::-1] if front else walkers, subject="left")
    numbers = [1, 0] if front else [0, 1]
    hidden = 0
    for frame in range(frames + 15):
        who = scene.who()
        assert who in (numbers, [numbers[0], None], [None, numbers[1]]), f"frame {frame}: {who}"
        hidden += None in who
    assert who == numbers
    assert 0 < hidden < frames / 2


@CLOTHES
def test_one_who_comes_back_keeps_the_number(clothes):
    away = range(40, 40 + 75)
    leaves = Walker(lambda f: None if f in away else 250.0, clothes[0])
    scene = Scene([leaves, Walker(still(700), clothes[1])], subject="left")
    who = [scene.who() for _ in range(150)]
    assert who[:40] == [[0, 1]] * 40
    assert who[40:115] == [[None, 1]] * 75
    assert who[-20:] == [[0, 1]] * 20


def test_a_stranger_does_not_take_the_number_of_one_who_left():
    leaves = Walker(lambda f: None if f >= 30 else 250.0, RED)
    comes = Walker(lambda f: None if f < 90 else 300.0, GREEN)
    scene = Scene([leaves, Walker(still(700), BLUE), comes], people=3, subject="left")
    who = [scene.who() for _ in range(120)]
    assert who[20] == [0, 1, None]
    assert who[60] == [None, 1, None]
    assert who[-1] == [None, 1, 2]
    two = Scene(scene.walkers, people=2, subject="left")
    assert [two.who() for _ in range(120)][-1] == [None, 1]


def test_people_who_were_exchanged_are_put_right():
    scene = Scene([Walker(still(250), RED), Walker(still(700), BLUE)], subject="left")
    scene.step(20)
    one, other = scene.stage._people
    one.stage, other.stage, one.last, other.last = other.stage, one.stage, other.last, one.last
    who = [scene.who() for _ in range(6)]
    assert who[0] == [1, 0]
    assert who[-1] == [0, 1]
    same = Scene([Walker(still(250), RED), Walker(still(700), RED)], subject="left")
    same.step(20)
    one, other = same.stage._people
    one.stage, other.stage, one.last, other.last = other.stage, one.stage, other.last, one.last
    assert [same.who() for _ in range(6)][-1] == [1, 0]  # nothing tells them apart


def test_nobody_is_measured_twice_and_who_is_not_there_stays_absent():
    scene = Scene([Walker(still(250), RED), Walker(still(700), BLUE)], people=4, subject="left")
    for _ in range(30):
        assert scene.who() == [0, 1, None, None]


@pytest.mark.parametrize("since", [0, 5])
def test_a_part_of_a_person_is_nobody(since):
    def small(x):
        return Walker(lambda frame: None if frame < since else x, RED, radius_px=60.0, y_px=330.0)

    on_them = Scene([Walker(still(400), RED), small(420)], subject="left")
    beside = Scene([Walker(still(400), RED), small(620)], subject="left")
    for scene, expected in ((on_them, [0, None]), (beside, [0, 1])):
        who = [scene.who() for _ in range(20)]
        assert len(scene.visible()) == 2
        assert who[-1] == expected


@pytest.mark.parametrize(
    ("subject", "expected"), [("largest", [2, 1, 0]), ("left", [0, 1, 2]), ("right", [2, 1, 0]), (1, [1, 2, 0])]
)
def test_the_first_is_the_subject_and_the_others_follow(subject, expected):
    walkers = [Walker(still(x), RED, r) for x, r in ((200, 100), (450, 130), (700, 160))]
    assert Scene(walkers, people=3, subject=subject).who() == expected


def test_numbers_are_the_same_in_every_run():
    walkers = [Walker(across(200, 700), RED), Walker(across(700, 200), RED), Walker(still(450), RED)]

    def run():
        scene = Scene(walkers, people=3)
        return [scene.who() for _ in range(80)]

    assert run() == run()


@pytest.mark.parametrize("people", [0, 9, -1])
def test_a_number_of_people_out_of_range_is_a_usage_error(people):
    with pytest.raises(UsageError, match="1 to 8"):
        PeopleStage(Scene([]).stage._first, people)


def body(x: float = 400, radius: float = 150.0) -> Body:
    walker = Walker(still(x), RED, radius)
    points = walker.points_px(0)
    assert points is not None
    aux = np.array([(x, walker.y_px, 0), (x, walker.y_px - radius, 0)])
    return Body(0.9, points, np.ones(33), np.ones(33), np.zeros((33, 3)), aux, None)  # pyright: ignore[reportArgumentType]


def test_distance_of_bodies_is_in_body_radii_and_ignores_sides():
    one, other = body(400), body(475)
    assert apart(one, one) == 0
    assert apart(one, other) == pytest.approx(0.5)
    assert apart(other, one) == pytest.approx(apart(one, other))
    assert hips_apart(one, other) == pytest.approx(0.5)
    assert apart(one, dataclasses.replace(one, xy_px=one.xy_px[OTHER_SIDE])) == 0


def test_share_of_a_body_inside_another():
    assert inside(body(400, radius=60.0), body(400)) == 1
    assert inside(body(900), body(400)) == 0
    assert 0 < inside(body(445), body(400)) < 0.7


def test_a_look_is_the_clothes_and_not_the_light():
    scenes = [Scene([Walker(still(400), colour)]) for colour in (RED, BLUE)]
    for scene in scenes:
        scene.frame = 0
    red, blue = (look_of(scene.picture(), body()) for scene in scenes)
    assert np.isfinite(red).all()
    assert unlike(red, red) == 0
    scenes[0].light = 0.75
    darker, between = unlike(red, look_of(scenes[0].picture(), body())), unlike(red, blue)
    assert darker is not None
    assert between is not None
    assert darker < 0.3 * between
    assert unlike(red, np.full_like(red, np.nan)) is None
    outside = dataclasses.replace(body(), xy_px=body().xy_px + 5000)
    assert np.isnan(look_of(scenes[0].picture(), outside)).all()


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (1000, 1000), (3000, 500), (640, 480)])
def test_tiles_cover_the_picture(size):
    squares = tiles(*size)
    if max(size) < 1.2 * min(size):
        assert squares == []
        return
    axis = 0 if size[0] > size[1] else 1
    centres = [(t.x_px, t.y_px)[axis] for t in squares]
    assert all(t.size_px == min(size) and (t.x_px, t.y_px)[1 - axis] == min(size) / 2 for t in squares)
    assert centres[0] == min(size) / 2
    assert centres[-1] == max(size) - min(size) / 2
    assert np.diff(centres).max() <= min(size) / 2 + 1e-9


def test_the_picture_has_the_size_the_scene_says():
    scene = Scene([Walker(still(400), RED)])
    scene.step()
    assert scene.picture().shape == (HEIGHT, WIDTH, 3)
