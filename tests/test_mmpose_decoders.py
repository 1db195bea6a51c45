"""Layouts and decoders of MMPose's networks: every proxy from the right point, every place to a part of a pixel."""

import numpy as np
import pytest
from hmcap.engines.landmarks.geometry import Roi
from hmcap.engines.landmarks.mapping import to_proxies
from hmcap.engines.landmarks.mmpose import LAYOUTS, Form, MmposeBody, get_layout
from hmcap.engines.landmarks.mmpose.decoders import decode_heatmaps, decode_simcc
from hmcap.engines.landmarks.mmpose.networks import TopDown
from hmcap.models.errors import UsageError
from hmcap.models.proxies import BODY_NAMES, HAND_NAMES, PROXY_NAMES

SIZE = (192, 256)
RNG = np.random.default_rng(0)
PLACES = RNG.uniform((20, 20), (170, 235), (60, 2))
"""(60, 2) places in pixels of the input, none at the edge."""


# Layouts


def test_layouts_have_their_number_of_points_and_no_name_twice() -> None:
    counts = {name: len(set(layout.points)) for name, layout in LAYOUTS.items()}
    assert counts == {"coco17": 17, "halpe26": 26, "wholebody133": 133, "hand21": 21}
    assert all(len(layout.points) == counts[name] for name, layout in LAYOUTS.items())


@pytest.mark.parametrize(
    ("layout", "known"),
    [
        # indices as the data sets' own tables give them
        ("coco17", {"nose": 0, "left_eye": 1, "right_ear": 4, "left_shoulder": 5, "right_wrist": 10, "left_ankle": 15}),
        ("halpe26", {"head_top": 17, "neck": 18, "mid_hip": 19, "left_big_toe": 20, "right_big_toe": 21,
                     "left_small_toe": 22, "right_small_toe": 23, "left_heel": 24, "right_heel": 25}),
        ("wholebody133", {"left_big_toe": 17, "left_small_toe": 18, "left_heel": 19, "right_big_toe": 20, "face0": 23,
                          "face67": 90, "left_hand_wrist": 91, "left_hand_thumb4": 95, "left_hand_index1": 96,
                          "left_hand_pinky4": 111, "right_hand_wrist": 112, "right_hand_pinky4": 132}),
        ("hand21", {"wrist": 0, "thumb1": 1, "index1": 5, "middle1": 9, "ring1": 13, "pinky4": 20}),
    ],
)  # fmt: skip
def test_points_stand_where_the_data_sets_put_them(layout: str, known: dict[str, int]) -> None:
    assert {name: LAYOUTS[layout].points.index(name) for name in known} == known


def test_unknown_layout_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"found 'wholebody'. Did you mean wholebody133\?"):
        get_layout("wholebody")
    with pytest.raises(UsageError, match="one of coco17, halpe26, wholebody133, hand21; found 'x'"):
        get_layout("x")


class Answer:
    """Stands for a network: SimCC with a spike for each key point at a place of its own."""

    backend, device = "fake", "cpu"

    def __init__(self, places: np.ndarray, heights: np.ndarray, peak: float = 1.0) -> None:
        from hmcap.engines.base import TensorSpec

        count, kind = len(places), np.dtype(np.float32)
        self.inputs = (TensorSpec("input", (-1, 3, SIZE[1], SIZE[0]), kind),)
        self.outputs = tuple(TensorSpec(n, (-1, count, -1), kind) for n in ("x", "y"))
        self._values = [
            peak * heights[:, None] * np.exp(-((np.arange(2 * n) / 2 - place[:, None]) ** 2) / 18)
            for n, place in zip(SIZE, places.T, strict=True)
        ]

    def __call__(self, feeds):
        assert feeds["input"].shape == (1, 3, SIZE[1], SIZE[0])
        return {s.name: v[None].astype(np.float32) for s, v in zip(self.outputs, self._values, strict=True)}


def grid(count: int) -> np.ndarray:
    """(count, 2) places of their own for key points, in input pixels."""
    k = np.arange(count)
    return np.stack([24 + 12.0 * (k % 12), 24 + 16.0 * (k // 12)], axis=1)


IMAGE = np.zeros((256, 192, 3), np.uint8)
WHOLE = Roi(96, 128, 256)  # input pixels are image pixels


@pytest.mark.parametrize("name", ["coco17", "halpe26", "wholebody133"])
def test_every_proxy_comes_from_its_own_point_and_the_rest_is_masked(name: str) -> None:
    points = LAYOUTS[name].points
    places, heights = grid(len(points)), np.linspace(0.6, 0.99, len(points))
    body = MmposeBody(Answer(places, heights), Form(name, "simcc", *SIZE))(IMAGE, WHOLE)
    proxies = to_proxies(0, 0.0, SIZE, body, body.hands)
    pairs = {"neck": "shoulder", "mid_hip": "hip"}
    for i, proxy in enumerate(PROXY_NAMES):
        named = [f"{s}_{pairs[proxy]}" for s in ("left", "right")] if proxy in pairs else [proxy]
        if not set(named) <= set(points):
            assert proxies.confidence[i] == 0, proxy
            continue
        rows = [points.index(n) for n in named]
        np.testing.assert_allclose(proxies.xy_px[i], places[rows].mean(axis=0), atol=0.05, err_msg=proxy)
        assert proxies.confidence[i] == pytest.approx(heights[rows].min(), abs=1e-3), proxy
    assert np.isnan(proxies.body_xyz_m).all()
    assert np.isnan(proxies.hands_xyz_m).all()
    masked = {n for n, c in zip(PROXY_NAMES, proxies.confidence, strict=True) if c == 0}
    if name == "wholebody133":
        assert not masked
    else:
        feet = {n for n in BODY_NAMES if n.endswith(("toe", "heel"))}
        hands = {f"{s}_hand_{n}" for s in ("left", "right") for n in HAND_NAMES}
        assert masked == (hands if name == "halpe26" else hands | feet)


def test_scores_of_another_scale_are_brought_to_one() -> None:
    places = grid(17)
    answer = Answer(places, np.full(17, 0.8), peak=10)
    ten = MmposeBody(answer, Form("coco17", "simcc", *SIZE, peak=10.0))(IMAGE, WHOLE)
    assert ten.presence == pytest.approx(0.8, abs=1e-3)
    one = MmposeBody(answer, Form("coco17", "simcc", *SIZE))(IMAGE, WHOLE)
    assert one.presence == 1


def test_somebody_half_in_view_is_present_and_nobody_is_not() -> None:
    half = np.where(np.arange(17) < 11, 0.8, 0.05)
    form = Form("coco17", "simcc", *SIZE)
    assert MmposeBody(Answer(grid(17), half), form)(IMAGE, WHOLE).presence == pytest.approx(0.8, abs=1e-3)
    assert MmposeBody(Answer(grid(17), np.full(17, 0.2)), form)(IMAGE, WHOLE).presence < 0.5


def test_hand_is_looked_for_where_the_forearm_points() -> None:
    names = LAYOUTS["coco17"].points
    places = grid(17)
    places[names.index("left_elbow")], places[names.index("left_wrist")] = (100, 100), (100, 150)
    body = MmposeBody(Answer(places, np.full(17, 0.9)), Form("coco17", "simcc", *SIZE))(IMAGE, WHOLE)
    np.testing.assert_allclose(body.xy_px[[17, 19]], [(100, 168)] * 2, atol=0.1)  # pinky and index knuckle
    assert body.visibility[15] > 0.8
    assert body.visibility[17] == 0


# Decoders


def simcc(places: np.ndarray, split: float = 2.0, sigma: float = 6.0) -> list[np.ndarray]:
    """SimCC outputs (K, W * split) and (K, H * split): a Gaussian in bins around each place."""
    return [
        np.exp(-((np.arange(round(n * split)) - split * at[:, None]) ** 2) / (2 * sigma**2)).astype(np.float32)
        for n, at in zip(SIZE, places.T, strict=True)
    ]


@pytest.mark.parametrize("split", [1.0, 2.0, 3.0])
def test_simcc_gives_places_between_its_bins(split: float) -> None:
    x, y = simcc(PLACES, split)
    xy, score = decode_simcc(x, y, SIZE)
    coarse = np.stack([x.argmax(axis=1), y.argmax(axis=1)], axis=1) / split
    quantised, refined = (np.abs(p - PLACES).mean() for p in (coarse, xy))
    assert quantised == pytest.approx(0.25 / split, rel=0.2)
    assert refined < 0.1 * quantised, f"{refined:.4f} px refined, {quantised:.4f} px not"
    np.testing.assert_allclose(score, 1, atol=0.01)


def test_refinement_of_simcc_survives_noise() -> None:
    noisy = [v + RNG.normal(0, 0.01, v.shape) for v in simcc(PLACES)]
    coarse = np.stack([v.argmax(axis=1) for v in noisy], axis=1) / 2
    xy, _ = decode_simcc(noisy[0], noisy[1], SIZE)
    assert np.abs(xy - PLACES).mean() < 0.6 * np.abs(coarse - PLACES).mean()


def test_score_of_simcc_is_the_lower_maximum() -> None:
    x, y = simcc(PLACES)
    _, score = decode_simcc(0.9 * x, 0.4 * y, SIZE)
    np.testing.assert_allclose(score, 0.4, atol=0.01)


def test_point_at_the_edge_of_simcc_stays_there() -> None:
    xy, _ = decode_simcc(*simcc(np.array([[0.0, 0.0], [191.5, 255.5], [-9.0, 262.0]])), SIZE)
    np.testing.assert_allclose(xy, [[0, 0], [191.5, 255.5], [0, 255.5]])


def heatmaps(places: np.ndarray, udp: bool = False, sigma: float = 2.0) -> np.ndarray:
    """(K, 64, 48) Gaussians around each place."""
    cells = places / ((np.array(SIZE) - udp) / (np.array([48, 64]) - udp))
    ys, xs = np.mgrid[:64, :48]
    squares = (xs - cells[:, 0, None, None]) ** 2 + (ys - cells[:, 1, None, None]) ** 2
    return np.exp(-squares / (2 * sigma**2)).astype(np.float32)


@pytest.mark.parametrize("udp", [False, True])
def test_heat_maps_give_places_between_their_cells(udp: bool) -> None:
    xy, score = decode_heatmaps(0.8 * heatmaps(PLACES, udp), SIZE, udp)
    np.testing.assert_allclose(xy, PLACES, atol=0.01)
    assert ((score > 0.7) & (score <= 0.8)).all()


def test_heat_map_at_the_edge_or_empty_gives_a_cell() -> None:
    corner = np.zeros((2, 64, 48), np.float32)
    corner[0, 63, 47] = 1
    xy, score = decode_heatmaps(corner, SIZE)
    np.testing.assert_allclose(xy, [[188, 252], [0, 0]])
    np.testing.assert_allclose(score, [1, 0])


# Crop


@pytest.mark.parametrize("codec", ["simcc", "heatmap", "udp_heatmap"])
@pytest.mark.parametrize("roi", [Roi(300, 220, 400), Roi(250, 260, 180, 0.7)])
def test_dots_in_the_image_are_where_the_map_of_the_crop_says(codec: str, roi: Roi) -> None:
    network = TopDown(Answer(grid(17), np.ones(17)), Form("coco17", codec, *SIZE))
    to_image = network.image_from_input(roi)
    ys, xs = np.mgrid[:500, :600]
    for at in ((60, 80), (96, 128), (130, 190)):
        x, y = to_image[:, :2] @ at + to_image[:, 2]
        blob = 255 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 6.0**2))
        picture = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
        tensor = network.tensor(picture, roi)
        assert tensor.shape == (1, 3, SIZE[1], SIZE[0])
        assert tensor.dtype == np.float32
        found = tensor[0, 0] - tensor[0, 0].min()
        weights = np.where(found > 0.3 * found.max(), found, 0)
        rows, cols = np.mgrid[: SIZE[1], : SIZE[0]]
        centre = [(weights * v).sum() / weights.sum() for v in (cols, rows)]
        np.testing.assert_allclose(centre, at, atol=0.1)


def test_region_fills_the_height_of_the_input() -> None:
    corners = np.array([[0, 0], [192, 0], [0, 256], [192, 256]])
    network = TopDown(Answer(grid(17), np.ones(17)), Form("coco17", "simcc", *SIZE))
    to_image = network.image_from_input(Roi(500, 400, 512))
    np.testing.assert_allclose(
        corners @ to_image[:, :2].T + to_image[:, 2], [[308, 144], [692, 144], [308, 656], [692, 656]]
    )


def test_pictures_are_normalised_in_rgb() -> None:
    picture = np.full((256, 192, 3), (124, 116, 104), np.uint8)
    network = TopDown(Answer(grid(17), np.ones(17)), Form("coco17", "simcc", *SIZE))
    tensor = network.tensor(picture, WHOLE)[0]
    expected = [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375]
    np.testing.assert_allclose(tensor[:, 128, 96], expected, atol=1e-5)
