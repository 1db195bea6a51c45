"""Rendered pictures: where points land, depth, lens, shutter, shadow, and every appearance that can be drawn."""

import dataclasses

import cv2
import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.errors import UsageError
from hmcap.models.skeleton import JOINT_NAMES, NUM_JOINTS
from hmcap.realtime.overlay.gl import NoGLError
from hmcap.tools.rendering import surroundings, textures
from hmcap.tools.rendering.anatomy import Anatomy, Rigid
from hmcap.tools.rendering.appearance import HAIR_STYLES, NECKLINES, PATTERNS, sample_appearance, skin_of
from hmcap.tools.rendering.dressing import dress
from hmcap.tools.rendering.film import Film, auto_exposure, bend, develop, pinhole_of, sample_film
from hmcap.tools.rendering.gl_scene import FAR_M, SceneRenderer, shadow_matrix
from hmcap.tools.rendering.light import Light, sample_light, temperature_rgb
from hmcap.tools.rendering.meshes import ball, box, dome, joined, quad
from hmcap.tools.rendering.painting import paint
from hmcap.tools.rendering.scene import Occluder, Scene
from hypothesis import given, settings
from hypothesis import strategies as st

WIDTH, HEIGHT = 160, 120
CAMERA = Camera(WIDTH, HEIGHT, 170.0, 165.0, 84.0, 57.0)
BODY = load_body()
BLACK, WHITE = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
OVERHEAD = Light((0.0, 1.0, 0.0), (0.8, 0.8, 0.8), (0.2, 0.2, 0.2), (0.1, 0.1, 0.1), 0.005)
AWAY = np.array([0.0, 0.0, -60.0])
"""Where the person is when a test is about something else: behind everything, one pixel wide."""


def look_at(eye, at) -> np.ndarray:
    eye, at = np.asarray(eye, float), np.asarray(at, float)
    z = (at - eye) / np.linalg.norm(at - eye)
    x = np.cross(z, [0, 1, 0])
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack((x, np.cross(z, x), z))
    T[:3, 3] = -T[:3, :3] @ eye
    return T


def things(*meshes) -> surroundings.Surroundings:
    return surroundings.Surroundings("outdoors", tuple(meshes), 1.0, 9.0)


def scene(seed: int = 3, around=None, light=OVERHEAD, occluders=()) -> Scene:
    rng = np.random.default_rng(seed)
    around = surroundings.sample_surroundings(rng) if around is None else around
    return Scene(BODY, sample_appearance(rng), around, light, occluders)


def standing() -> np.ndarray:
    v = BODY.v_template.astype(np.float64)
    return v - [0, v[:, 1].min(), 0]


@pytest.fixture(scope="module")
def renderer():
    try:
        made = SceneRenderer(WIDTH, HEIGHT)
    except NoGLError as err:
        pytest.skip(f"no GL context on this machine: {err}")
    yield made
    made.close()


EYE = look_at((0.6, 1.5, 3.0), (0.1, 1.0, 0.0))
"""A camera that sees the whole person."""


@pytest.mark.parametrize("where", [(0.1, 1.0, 0.0), (-0.8, 1.6, 0.5), (0.9, 0.4, -0.6)])
def test_a_known_point_lands_on_its_pixel(renderer, where):
    spot = ball(np.array(where), np.full(3, 0.05), WHITE, luminous=1.0)
    renderer.load(scene(around=things(spot)))
    image = renderer.draw(standing() + AWAY, EYE, CAMERA)
    weight = np.maximum(image.sum(axis=-1), 0)
    rows, columns = np.nonzero(weight > 1.5)
    seen = np.array([columns.mean(), rows.mean()]) + 0.5
    p = EYE[:3, :3] @ where + EYE[:3, 3]
    expected = p[:2] / p[2] * [CAMERA.fx_px, CAMERA.fy_px] + [CAMERA.cx_px, CAMERA.cy_px]
    assert len(rows) > 8
    assert np.abs(seen - expected).max() < 0.6


def test_the_person_covers_the_projected_mesh(renderer):
    wall = quad(np.array([-9, -2, -3.0]), np.array([18, 0, 0]), np.array([0, 9, 0]), BLACK, luminous=1.0)
    renderer.load(scene(around=things(wall)))
    v = standing()
    mask = renderer.draw(v, EYE, CAMERA).sum(axis=-1) > 0
    p = v @ EYE[:3, :3].T + EYE[:3, 3]
    px = np.floor(p[:, :2] / p[:, 2:] * [CAMERA.fx_px, CAMERA.fy_px] + [CAMERA.cx_px, CAMERA.cy_px]).astype(int)
    inside = (px >= 0).all(axis=1) & (px < [WIDTH, HEIGHT]).all(axis=1)
    assert mask[px[inside, 1], px[inside, 0]].mean() > 0.97
    near = cv2.dilate(np.bincount(px[inside] @ [1, WIDTH], minlength=WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
                      .astype(np.uint8), np.ones((9, 9)))  # fmt: skip
    assert not mask[near == 0].any()


def test_depth_is_in_metres(renderer):
    panel = quad(np.array([-20, -20, -1.0]), np.array([40, 0, 0]), np.array([0, 40, 0]), WHITE)
    renderer.load(scene(around=things(panel)))
    T = look_at((0, 1, 2.5), (0, 1, 0))
    renderer.draw(standing() + AWAY, T, CAMERA)
    assert np.abs(renderer.depth_m() - 3.5).max() < 0.01
    renderer.load(scene(around=things(panel), occluders=(Occluder(box((-5, 0, 0), (5, 3, 0.1), WHITE), (0, 0, 1)),)))
    renderer.draw(standing() + AWAY, T, CAMERA)
    assert abs(float(renderer.depth_m()[HEIGHT // 2, WIDTH // 2]) - 1.4) < 0.005


def test_nothing_there_is_far_away(renderer):
    renderer.load(scene(around=things()))
    renderer.draw(standing(), look_at((0, 1, 3), (0, 1, 9)), CAMERA)
    assert renderer.depth_m().min() > 0.9 * FAR_M


def test_the_nearer_thing_hides_the_farther_in_any_order(renderer):
    near = ball(np.array([0, 1.0, 0.5]), np.full(3, 0.2), WHITE, luminous=1.0)
    far = quad(np.array([-9, -9, -1.0]), np.array([18, 0, 0]), np.array([0, 18, 0]), BLACK, luminous=1.0)
    pictures = []
    for order in ((near, far), (far, near)):
        renderer.load(scene(around=things(*order)))
        pictures.append(renderer.draw(standing() + AWAY, look_at((0, 1, 3), (0, 1, 0)), CAMERA))
    assert np.array_equal(*pictures)
    assert pictures[0][57, 80].min() > 0.9


def test_equal_seeds_give_equal_pictures(renderer):
    def picture(seed):
        renderer.load(scene(seed))
        rng = np.random.default_rng(seed)
        return develop([renderer.draw(standing(), EYE, CAMERA)], CAMERA, sample_film(rng), rng)

    first, second, other = picture(5), picture(5), picture(6)
    assert np.array_equal(first, second)
    assert np.abs(first.astype(int) - other).mean() > 3


def test_shadow_darkens_the_floor_below_and_nothing_else(renderer):
    floor = quad(
        np.array([-9.0, 0, 9]), np.array([18.0, 0, 0]), np.array([0, 0, -18.0]), WHITE, pieces=6, casts_shadow=False
    )
    slab = Occluder(box((-0.3, 1.0, -0.3), (0.3, 1.1, 0.3), WHITE), (0.0, 0.0, 0.0))
    T = look_at((0, 0.6, 2.5), (0, 0.0, 0.0))
    out = []
    for occluders in ((), (slab,)):
        renderer.load(scene(around=things(floor), occluders=occluders))
        out.append(renderer.draw(standing() - [0, 0, 1.2], T, CAMERA))
    under = pixel(T, (0.0, 0.0, 0.0))
    aside = pixel(T, (0.0, 0.0, 0.8))
    # 0.8 of 1.0 is the key light.
    assert out[0][under][1] == pytest.approx(1.0, abs=0.05)
    assert out[1][under][1] == pytest.approx(0.2, abs=0.05)
    assert out[1][aside][1] == pytest.approx(out[0][aside][1], abs=0.02)


def pixel(T, point) -> tuple[int, int]:
    p = T[:3, :3] @ point + T[:3, 3]
    return int(CAMERA.fy_px * p[1] / p[2] + CAMERA.cy_px), int(CAMERA.fx_px * p[0] / p[2] + CAMERA.cx_px)


def test_the_person_shades_herself(renderer):
    """Lit from behind, the chest is dark; lit from ahead, it is bright."""
    sun = (0.0, 0.3, 0.954)
    chest = pixel(look_at((0, 1.3, 3), (0, 1.3, 0)), (0.05, 1.15, 0.1))
    values = []
    for sign in (1, -1):
        light = Light((0.0, sun[1], sign * sun[2]), (1, 1, 1), (0.1, 0.1, 0.1), (0.1, 0.1, 0.1), 0.01)
        renderer.load(scene(4, things(), light))
        values.append(renderer.draw(standing(), look_at((0, 1.3, 3), (0, 1.3, 0)), CAMERA)[chest].sum())
    assert values[1] < 0.5 * values[0]


def test_wrong_calls_say_what_was_expected(renderer):
    renderer.load(scene())
    with pytest.raises(UsageError, match="160 x 120"):
        renderer.draw(standing(), EYE, Camera.from_focal(200, 100, 150))
    with pytest.raises(UsageError, match="room"):
        surroundings.sample_surroundings(np.random.default_rng(0), "forest")
    with pytest.raises(UsageError, match="photo"):
        surroundings.sample_surroundings(np.random.default_rng(0), "photo")


@pytest.mark.parametrize("dist", [(-0.25, 0.07, 0.002, -0.001), (0.15, -0.05, 0.0, 0.003), (-0.1, 0.02, 0, 0, 0.01)])
def test_bent_pictures_agree_with_opencv(dist):
    camera = Camera(320, 240, 260.0, 255.0, 166.0, 117.0, dist)
    pinhole = pinhole_of(camera)
    assert not pinhole.dist
    rng = np.random.default_rng(0)
    for _ in range(12):
        ray = np.append(rng.uniform(-0.4, 0.4, 2) * [1.2, 0.9], 1.0)
        u, v = ray[0] * pinhole.fx_px + pinhole.cx_px, ray[1] * pinhole.fy_px + pinhole.cy_px
        y, x = np.mgrid[: pinhole.height_px, : pinhole.width_px] + 0.5
        spot = np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 2.0**2)).astype(np.float32)
        seen = bend(np.dstack([spot] * 3), camera)[..., 0]
        assert seen.shape == (240, 320)
        yy, xx = np.mgrid[:240, :320] + 0.5
        centre = np.array([(seen * xx).sum(), (seen * yy).sum()]) / seen.sum()
        expected = cv2.projectPoints(ray[None], np.zeros(3), np.zeros(3), camera.K, np.array(dist))[0][0, 0]
        assert np.abs(centre - expected).max() < 0.3


def test_without_distortion_nothing_is_bent():
    image = np.random.default_rng(0).random((120, 160, 3), dtype=np.float32)
    assert bend(image, CAMERA) is image
    assert pinhole_of(CAMERA) == CAMERA


def test_motion_blur_is_as_long_as_the_way(renderer):
    T = look_at((0, 1, 3.0), (0, 1, 0))
    black = quad(np.array([-9, -9, -1.0]), np.array([18, 0, 0]), np.array([0, 18, 0]), BLACK, luminous=1.0)
    drawn = []
    for k in range(10):
        spot = ball(np.array([-0.3 + 0.6 * (k + 0.5) / 10, 1.0, 0.0]), np.full(3, 0.05), WHITE, luminous=1.0)
        renderer.load(scene(around=things(spot, black)))
        drawn.append(renderer.draw(standing() + AWAY, T, CAMERA))
    mean = np.mean(drawn, axis=0)[..., 1]
    row = mean[57] / mean[57].max()
    # 0.6 m of way and half a ball at either end, 3 m away.
    expected = (0.6 + 0.05) / 3.0 * CAMERA.fx_px
    assert abs(int((row > 0.4).sum()) - expected) < 3
    film = Film(contrast=0.0)
    picture = develop(drawn, CAMERA, film, np.random.default_rng(0), exposure=4.0)
    assert abs(int((picture[57, :, 1] > 90).sum()) - expected) < 5


def test_film_laws():
    rng = np.random.default_rng(0)
    grey = np.full((64, 64, 3), 0.07, np.float32)
    assert auto_exposure(grey) * 0.07 == pytest.approx(0.2, rel=1e-3)
    plain = Film(contrast=0.0)
    out = develop([grey], CAMERA, plain, rng)
    assert out.dtype == np.uint8
    # Middle grey of 0.2 is 123.6 in sRGB.
    assert np.abs(out.astype(float) - 123.6).max() < 1
    up = develop([grey], CAMERA, Film(exposure_ev=1.0, contrast=0.0), rng)
    assert np.abs(up.astype(float) - 169.7).max() < 1.5
    noisy = develop([grey], CAMERA, Film(contrast=0.0, shot=0.05, read=0.01), rng).astype(float)
    assert 2 < noisy.std() < 30
    assert abs(noisy.mean() - 123.6) < 2
    cold = develop([grey], CAMERA, Film(contrast=0.0, white_kelvin=3000.0), rng).astype(float).mean(axis=(0, 1))
    assert cold[2] > cold[0] + 20
    corner = develop([grey], CAMERA, Film(contrast=0.0, vignette=0.5), rng, exposure=1.0)
    assert corner[0, 0, 0] < corner[32, 32, 0]


@given(st.integers(0, 2**31))
@settings(max_examples=12, deadline=None)
def test_every_sampled_person_is_valid(seed):
    rng = np.random.default_rng(seed)
    look = sample_appearance(rng)
    assert look == sample_appearance(np.random.default_rng(seed))
    assert look.hair_style in HAIR_STYLES
    assert look.neckline in NECKLINES
    assert {look.shirt.pattern, look.trousers.pattern} <= set(PATTERNS)
    for rgb in (look.skin, look.lips, look.iris, look.hair, look.shirt.rgb, look.shirt.rgb2, look.shoes, look.sole):
        assert all(0 < c < 1 for c in rgb)
    betas = np.clip(rng.standard_normal(10), -2.5, 2.5)
    v = BODY.with_shape(betas.astype(np.float32)).vertices_m()
    a = Anatomy(BODY)
    colours = paint(a, look)
    assert colours.shape == (len(v), 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    for layer in dress(BODY, look):
        xyz = layer.positions(v, a.normals)
        assert np.isfinite(xyz).all()
        assert len(layer.faces) > 0
        assert layer.faces.max() < len(layer.rest_m) == len(layer.field)
        if layer.ids is not None:  # cloth and hair stand off the skin by centimetres, not more
            assert np.linalg.norm(xyz - v[layer.ids], axis=1).max() < 0.12
    light = sample_light(rng, bool(rng.integers(2)))
    assert np.linalg.norm(light.towards) == pytest.approx(1)
    assert light.towards[1] > 0
    film = sample_film(rng)
    assert 0 <= film.jpeg <= 100


def test_garments_end_where_they_should():
    rng = np.random.default_rng(0)
    looks = [sample_appearance(rng) for _ in range(30)]
    a = Anatomy(BODY)
    finger = a.share(*[n for n in JOINT_NAMES if "index" in n or "thumb" in n]) > 0.5
    for look in looks:
        layers = dress(BODY, look)
        skin = next(x for x in layers if x.kind == "skin")
        assert skin.ids is not None
        shown = np.zeros(len(a.v), bool)
        shown[skin.ids] = True
        assert shown[finger].all()
        assert shown[a.head - a.eye > 0.99].all()
        belly = (np.abs(a.v[:, 1] - a.at["spine2"][1]) < 0.02) & (np.abs(a.v[:, 0]) < 0.12)
        shirt = next(x for x in layers if x.cloth is look.shirt)
        assert shirt.ids is not None
        covered = np.full(len(a.v), -1.0)
        covered[shirt.ids] = shirt.field
        assert (covered[belly] > 0).all()
        assert ("shoe" in [x.kind for x in layers]) == (not look.barefoot)
        for layer in layers:
            if layer.cloth is look.trousers:
                assert a.head[layer.ids].max() < 0.01


def test_clothes_know_no_vertex_numbers():
    """The same body with its vertices in another order is dressed and painted the same."""
    order = np.random.default_rng(0).permutation(len(BODY.v_template))
    place = np.argsort(order)
    other = dataclasses.replace(
        BODY, v_template=BODY.v_template[order], shapedirs=BODY.shapedirs[order], exprdirs=BODY.exprdirs[order],
        weights=BODY.weights[order], J_regressor=BODY.J_regressor[:, order], faces=place[BODY.faces],
    )  # fmt: skip
    look = sample_appearance(np.random.default_rng(8))
    assert np.abs(paint(Anatomy(BODY), look)[order] - paint(Anatomy(other), look)).max() < 1e-5
    for mine, theirs in zip(dress(BODY, look), dress(other, look), strict=True):
        assert mine.kind == theirs.kind
        assert len(mine.faces) == len(theirs.faces)
        rows = [np.lexsort(np.column_stack((x.rest_m.round(5), x.field.round(5))).T) for x in (mine, theirs)]
        assert np.abs(mine.rest_m[rows[0]] - theirs.rest_m[rows[1]]).max() < 1e-4


def test_stiff_things_follow_their_part():
    a = Anatomy(BODY)
    part = Rigid.of(a, "head", "jaw")
    R = cv2.Rodrigues(np.array([0.3, -0.8, 0.4]))[0]
    moved = 1.1 * a.v @ R.T + [0.2, 0.1, -3.0]
    point = np.array([[0.0, 0.4, -0.1]])
    assert np.abs(part.carry(point, moved) - (1.1 * point @ R.T + [0.2, 0.1, -3.0])).max() < 1e-9


def test_skin_runs_from_light_to_dark():
    tones = np.array([skin_of(t) for t in np.linspace(0, 1, 20)])
    assert (np.diff(tones.sum(axis=1)) < 0).all()
    assert (tones[:, 0] > tones[:, 2]).all()


def test_low_temperatures_are_red():
    warm, neutral, cold = (temperature_rgb(k) for k in (2700, 6500, 10000))
    assert np.allclose(neutral, 1)
    assert warm[0] > 1 > warm[2]
    assert cold[2] > 1 > cold[0]


def test_shadow_map_spans_the_square_about_the_person():
    towards = np.array([0.4, 0.8, -0.3]) / np.linalg.norm([0.4, 0.8, -0.3])
    M = shadow_matrix(towards, np.array([1.0, 1, 2]), 2.0)
    assert np.allclose(M @ [1, 1, 2, 1], [0.5, 0.5, 0.5, 1])
    along = M[:3, :3] @ towards
    assert np.allclose(along[:2], 0)
    assert along[2] < 0


@given(st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_surroundings_leave_the_person_room(seed):
    rng = np.random.default_rng(seed)
    made = surroundings.sample_surroundings(rng, free_m=1.5)
    assert made.things
    for mesh in made.things:
        assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-4)
        assert mesh.faces.max() < len(mesh.vertices_m) == len(mesh.uv)
        assert mesh.picture.dtype == np.uint8
        if mesh.casts_shadow and not mesh.one_sided:
            near = mesh.vertices_m[mesh.vertices_m[:, 1] < 2.2]
            assert not len(near) or np.hypot(near[:, 0], near[:, 2]).min() > 1.0


def test_photo_becomes_the_far_background(tmp_path, renderer):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.full((60, 80, 3), (40, 90, 200), np.uint8))  # blue, green, red
    made = surroundings.sample_surroundings(np.random.default_rng(0), photo=path)
    assert made.kind == "photo"
    renderer.load(scene(around=made))
    seen = renderer.draw(standing() + AWAY, look_at((0, 1.5, 3), (0, 2.5, 0)), CAMERA)[5, 5]
    assert np.abs(seen - ((np.array([200, 90, 40]) / 255 + 0.055) / 1.055) ** 2.4).max() < 0.02


def test_noise_tiles():
    n = textures.noise(np.random.default_rng(0), 64)
    steps = np.abs(np.diff(n, axis=1)).mean(), np.abs(n[:, 0] - n[:, -1]).mean()
    assert abs(n.mean()) < 1e-9
    assert n.std() == pytest.approx(1)
    assert steps[1] < 2 * steps[0]


def test_meshes_face_outward():
    for mesh in (box((-1, 0, -2), (1, 1, 2), WHITE), ball(np.zeros(3), np.array([1, 2, 3.0]), WHITE)):
        corners = mesh.vertices_m[mesh.faces].astype(np.float64)
        turn = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(turn, axis=1)
        facing = np.sum(turn * mesh.normals[mesh.faces].mean(axis=1), axis=1)[area > 1e-4]
        assert (np.abs(facing) > 0).all()
        assert len(np.unique(np.sign(facing))) == 1
        centre = mesh.vertices_m.mean(axis=0)
        assert (np.sum((mesh.vertices_m - centre) * mesh.normals, axis=1) > 0).all()
    inside = dome(5.0, WHITE)
    assert (np.sum(inside.vertices_m * inside.normals, axis=1) < 0).all()
    two = joined([box((0, 0, 0), (1, 1, 1), WHITE), box((2, 0, 0), (3, 1, 1), BLACK)])
    assert two.faces.max() == len(two.vertices_m) - 1


def test_pose_moves_every_layer(renderer):
    """A raised arm is seen raised: skin, cloth and all."""
    pose = np.zeros((NUM_JOINTS, 3), np.float32)
    pose[JOINT_NAMES.index("left_shoulder")] = (0, 0, 1.3)
    v = BODY.with_shape().with_pose(pose).skin().vertices_m
    v = v - [0, v[:, 1].min(), 0]
    black = quad(np.array([-9, -9, -1.0]), np.array([18, 0, 0]), np.array([0, 18, 0]), BLACK, luminous=1.0)
    renderer.load(scene(3, things(black)))
    T = look_at((0, 1.4, 3.2), (0, 1.3, 0))
    rest, raised = renderer.draw(standing(), T, CAMERA), renderer.draw(v, T, CAMERA)
    hand = v[BODY.weights[:, JOINT_NAMES.index("left_middle1")] > 0.5].mean(axis=0)
    where = pixel(T, hand)
    assert rest[where].sum() == 0
    assert raised[where].sum() > 0
