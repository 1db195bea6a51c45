"""The noise model: a fit recovers what was done to the landmarks; samples obey the model; files and errors."""

import json

import numpy as np
import pytest
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.proxies import BODY_NAMES, PROXY_NAMES
from hmcap.tools.noise import __main__ as command
from hmcap.tools.noise.check import Gaussian, as_observation, compare, figures, summary
from hmcap.tools.noise.events import (
    SEGMENT_LOWER,
    SEGMENT_UPPER,
    SEGMENTS,
    Events,
    exchange,
    find_flips,
    find_swaps,
    fit_events,
    flip,
)
from hmcap.tools.noise.fit import fit
from hmcap.tools.noise.model import NoiseModel, load_noise_model
from hmcap.tools.noise.observe import find_clips
from hmcap.tools.noise.process import (
    KNOTS,
    TIME_CONSTANTS_S,
    Process,
    at_scores,
    fit_process,
    fit_switch,
    lagged_covariance,
    normal_pair_probability,
    tabulate,
    to_scores,
)
from hmcap.tools.noise.tracks import GROUP, HIDDEN, OUT, VISIBLE, along_ray, conditions, turned, visibility
from noise_takes import Spoilt, make_tracks, mirror_tracks, observe_made
from scipy.special import ndtr
from scipy.stats import multivariate_normal

HOW = Spoilt(tail=0.01, swap_hz=0.15, flip_hz=0.15)


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(1)
    return [observe_made(rng, f"take{i}", HOW, frames=150) for i in range(12)]


@pytest.fixture(scope="module")
def model(clips) -> NoiseModel:
    return fit(clips, {"clips": len(clips)})


# What a fit recovers


def test_bias_follows_the_view(model):
    expected = HOW.bias * np.cos(2 * np.pi * np.arange(8) / 8)
    body = [i for i, n in enumerate(BODY_NAMES) if "small_toe" not in n]
    np.testing.assert_allclose(model.bias[:, body, 1].mean(1), expected, atol=0.004)
    np.testing.assert_allclose(model.bias[:, body, 0].mean(1), 0, atol=0.003)
    np.testing.assert_allclose(model.bias[:, 25:, 0].mean(1), expected, atol=0.004)


def test_spread_and_what_it_depends_on(model):
    spread = np.sqrt((model.chol**2).sum(-1))  # (8, 46, 2) deviations
    body = [i for i, n in enumerate(BODY_NAMES) if "small_toe" not in n]
    np.testing.assert_allclose(np.median(spread[:, [*body, *range(25, 46)]]), HOW.sd, rtol=0.15)
    np.testing.assert_allclose(np.median(model.scale_state[HIDDEN, body]), HOW.hidden, rtol=0.1)
    np.testing.assert_allclose(np.median(model.scale_state[HIDDEN, 25:]), HOW.hidden, rtol=0.1)


def test_memory_and_correlation_of_a_limb(model):
    nose, knee, ankle = (2 * BODY_NAMES.index(n) for n in ("nose", "left_knee", "left_ankle"))
    now, later = model.process_body.covariance(0.0), model.process_body.covariance(0.4)
    np.testing.assert_allclose(np.diag(now), 1, atol=1e-5)
    assert later[nose, nose] == pytest.approx(np.exp(-1), abs=0.2)
    # Only one leg was shared, and left and right are fitted as one: half of 0.6.
    assert now[knee, ankle] == pytest.approx(0.3, abs=0.15)
    assert abs(now[knee, nose]) < 0.15


def test_rates(model, clips):
    assert model.swaps.rate_hz[:, 2].mean() == pytest.approx(HOW.swap_hz, rel=0.5)
    assert np.median(model.swaps.duration_s[2]) == pytest.approx(HOW.swap_s, abs=0.05)
    assert model.swaps.rate_hz[:, :2].max() < 0.02
    forearm = [1, 5]
    assert model.flips.rate_hz[:, forearm].mean() == pytest.approx(HOW.flip_hz, rel=0.6)
    assert np.delete(model.flips.rate_hz, forearm, axis=1).max() < 0.03
    assert model.slope3[0] == pytest.approx([1.7, 1.7, 1.7 * HOW.depth], rel=0.02)
    assert model.slope3[1] == pytest.approx([0.18, 0.18, 0.18], rel=0.02)
    again = [as_observation(c, model.sample(np.random.default_rng(i), c.tracks, c.fps)) for i, c in enumerate(clips)]
    lost = [np.mean([1 - c.found.mean() for c in cs]) for cs in (clips, again)]
    assert lost[1] == pytest.approx(lost[0], abs=0.06)


def test_samples_have_the_observed_figures_and_a_plain_gaussian_does_not(model, clips):
    totals = summary(compare(model, Gaussian.fit(clips), clips))
    ours, plain = totals["errors in 2-D: typical factor off"]
    assert ours < 1.12 < plain
    ours, plain = totals["jitter: typical factor off"]
    assert ours < 1.3 < 2 < plain
    ours, plain = totals["autocorrelation: mean difference"]
    assert ours < 0.06
    assert plain > 0.2
    ours, plain = totals["calibration: mean difference, points"]
    assert ours < 8 < plain


# Laws of sampling


def test_a_seed_gives_the_same_samples(model):
    tracks = make_tracks(np.random.default_rng(0), 40, 30.0)
    first, again, other = (model.sample(np.random.default_rng(s), tracks, 30.0) for s in (3, 3, 4))
    for name in ("xy_px", "confidence", "body_xyz_m", "hands_xyz_m", "score"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert np.abs(first.xy_px - other.xy_px).max() > 0


def test_batches_are_takes_side_by_side(model):
    tracks = make_tracks(np.random.default_rng(0), 30, 30.0)
    batch = type(tracks)(*(np.stack([getattr(tracks, f)] * 3) for f in tracks.__dataclass_fields__))
    noisy = model.sample(np.random.default_rng(0), batch, np.array([30.0, 30.0, 60.0]))
    assert noisy.xy_px.shape == (3, 30, 67, 2)
    assert noisy.confidence.shape == (3, 30, 67)
    assert noisy.body_xyz_m.shape == (3, 30, 33, 3)
    assert noisy.hands_xyz_m.shape == (3, 30, 2, 21, 3)
    assert noisy.score.shape == (3, 30)
    assert np.abs(noisy.xy_px[0] - noisy.xy_px[1]).max() > 1


def test_masks_are_the_landmark_stages(model):
    tracks = make_tracks(np.random.default_rng(2), 300, 30.0)
    noisy = model.sample(np.random.default_rng(2), tracks, 30.0)
    assert not noisy.confidence[:, [PROXY_NAMES.index(f"{s}_small_toe") for s in ("left", "right")]].any()
    assert ((noisy.confidence >= 0) & (noisy.confidence <= 1)).all()
    inside = ((noisy.xy_px >= 0) & (noisy.xy_px <= np.subtract(tracks.image_size_px, 1))).all(-1)
    assert not noisy.confidence[~inside].any()
    for hand, part in enumerate((slice(25, 46), slice(46, 67))):
        none = np.isnan(noisy.hands_xyz_m[:, hand]).any(axis=(1, 2))
        assert 0 < none.sum() < 300
        assert not noisy.confidence[none][:, part].any()


def test_without_errors_the_truth_comes_back(model):
    tracks = make_tracks(np.random.default_rng(2), 20, 30.0)
    cond = conditions(tracks)
    none = np.zeros((20, 67, 2))
    error = model.errors(cond, tracks.visible, none, none, np.ones((20, 8)))
    there = turned(cond, error, GROUP, back=True)
    np.testing.assert_allclose(turned(cond, there, GROUP), error, atol=1e-12)


def test_memory_is_in_seconds():
    process = Process(np.zeros((1, 1, 1), np.float32), np.ones((1, 1), np.float32), np.array([0.5], np.float32))
    for fps in (15.0, 60.0):
        x = process.sample(np.random.default_rng(0), (2000,), np.full(round(fps), 1 / fps))[..., 0]
        shift = round(0.5 * fps)
        assert (x[:, shift] * x[:, 0]).mean() == pytest.approx(2 * np.exp(-1), abs=0.07)
        np.testing.assert_allclose(x.var(axis=0), 1, atol=0.12)


# Conditions


def test_a_mirror_exchanges_sides_and_turns_the_view_over():
    tracks = make_tracks(np.random.default_rng(4), 30, 30.0)
    here, there = conditions(tracks), conditions(mirror_tracks(tracks))
    np.testing.assert_allclose(np.exp(1j * there.view_rad[:, 0]), np.exp(-1j * here.view_rad[:, 0]), atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * there.view_rad[:, 1]), np.exp(1j * here.view_rad[:, 2]), atol=1e-9)
    np.testing.assert_allclose(there.axes[:, 1] * [-1, 1], here.axes[:, 2], atol=1e-9)
    np.testing.assert_allclose(there.size_px[:, [0, 2, 1]], here.size_px, rtol=1e-9)


def test_view_and_size_of_a_person_who_faces_the_camera():
    tracks = make_tracks(np.random.default_rng(4), 200, 30.0)
    cond = conditions(tracks)
    left, right = (PROXY_NAMES.index(f"{s}_shoulder") for s in ("left", "right"))
    facing = np.abs(cond.view_rad[:, 0]) < 0.5
    assert facing.any()
    assert (tracks.xy_px[facing, left, 0] > tracks.xy_px[facing, right, 0]).all()
    on_left = np.abs(cond.view_rad[:, 0] - np.pi / 2) < 0.5
    assert on_left.any()
    assert (tracks.cam_m[on_left, left, 2] < tracks.cam_m[on_left, right, 2]).all()
    height = tracks.xy_px[:, PROXY_NAMES.index("left_heel"), 1] - tracks.xy_px[:, PROXY_NAMES.index("nose"), 1]
    assert np.abs(np.median(cond.size_px[:, 0] / height) - 1.1) < 0.12


def test_rods_hide_what_is_behind_the_body():
    tracks = make_tracks(np.random.default_rng(4), 300, 30.0)
    view = conditions(tracks).view_rad[:, 0]
    seen = visibility(tracks.xy_px, tracks.cam_m, tracks.image_size_px)
    right_ear = PROXY_NAMES.index("right_ear")
    on_left = np.abs(view - np.pi / 2) < 0.5
    on_right = np.abs(view + np.pi / 2) < 0.5
    assert (seen[on_left, right_ear] == HIDDEN).mean() > 0.9
    assert (seen[on_right, right_ear] == VISIBLE).mean() > 0.9
    outside = visibility(tracks.xy_px + 5000, tracks.cam_m, tracks.image_size_px)
    assert (outside == OUT).all()


def test_along_ray_takes_the_ray_to_the_axis():
    rng = np.random.default_rng(0)
    ray = rng.normal(size=(50, 3)) + np.array([0, 0, 4])
    turned_ray = along_ray(ray[:, None], ray)[:, 0]
    np.testing.assert_allclose(turned_ray[:, :2], 0, atol=1e-12)
    points = rng.normal(size=(50, 7, 3))
    np.testing.assert_allclose(np.linalg.norm(along_ray(points, ray), axis=-1), np.linalg.norm(points, axis=-1))


# Processes, tables, events


def test_a_process_is_recovered_from_its_own_samples():
    rng = np.random.default_rng(0)
    factor = np.zeros((5, 4, 2), np.float32)
    factor[2, :2, 0] = 0.8
    diag = np.zeros((5, 4), np.float32)
    diag[2, :2], diag[0, :], diag[3, 2] = 0.16, [0.2, 0.2, 0.4, 1.0], 0.6
    true = Process(factor, diag, np.array(TIME_CONSTANTS_S, np.float32))
    takes = [(true.sample(rng, (), np.full(400, 1 / 30)), 30.0) for _ in range(40)]
    found = fit_process(*lagged_covariance(takes))
    for lag in (0.0, 0.1, 0.5, 1.0):
        np.testing.assert_allclose(found.covariance(lag), true.covariance(lag), atol=0.09)


def test_tables_are_quantiles_and_go_both_ways():
    rng = np.random.default_rng(0)
    values = rng.standard_t(3, 20000)
    table = tabulate(values)
    scores = rng.standard_normal(1000)
    there = at_scores(table[None], np.zeros(1000, int), scores)
    np.testing.assert_allclose(to_scores(table, there), scores, atol=1e-6)
    assert np.mean(values < at_scores(table[None], np.array([0]), np.array([1.0]))[0]) == pytest.approx(
        ndtr(1), abs=0.01
    )
    np.testing.assert_array_equal(tabulate(np.array([np.nan])), KNOTS)


def test_pair_probability_is_scipys():
    for rho in (-0.9, -0.3, 0.0, 0.5, 0.95):
        ours = normal_pair_probability(np.array([0.3]), np.array([-0.7]), rho)[0]
        assert ours == pytest.approx(multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([0.3, -0.7]), abs=2e-3)


def test_a_switch_has_the_memory_of_what_it_was_fitted_to():
    rng = np.random.default_rng(0)
    true = Process(np.zeros((1, 1, 1), np.float32), np.ones((1, 1), np.float32), np.array([0.25], np.float32))
    takes = [(true.sample(rng, (), np.full(300, 1 / 30))[:, 0] < 0.84, np.full(300, 0.8), 30.0) for _ in range(40)]
    found = fit_switch(takes)
    for lag in (0.1, 0.5, 1.0):
        assert found.covariance(lag)[0, 0] == pytest.approx(true.covariance(lag)[0, 0], abs=0.12)


def test_events_come_and_last_as_told():
    truth = Events(np.full((8, 1), 0.5, np.float32), np.linspace(0.2, 0.6, 9, dtype=np.float32)[None])
    rng = np.random.default_rng(0)
    view = np.zeros((300, 300))
    on = truth.sample(rng, view, np.full(300, 1 / 30))[..., 0]
    assert on.mean() == pytest.approx(truth.share().mean(), rel=0.1)
    found = fit_events([(x[:, None], np.ones((300, 1), bool), v, 30.0) for x, v in zip(on, view, strict=True)])
    assert found.rate_hz[0, 0] == pytest.approx(0.5, rel=0.1)
    assert np.median(found.duration_s) == pytest.approx(0.4, abs=0.06)


def test_exchanging_and_turning_over_undo_themselves_and_are_found():
    tracks = make_tracks(np.random.default_rng(4), 60, 30.0)
    size = conditions(tracks).size_px[:, 0]
    for k in range(3):
        swaps = np.zeros((60, 3), bool)
        swaps[:, k] = True
        there = exchange(tracks.xy_px, swaps)
        np.testing.assert_array_equal(exchange(there, swaps), tracks.xy_px)
        found = find_swaps(there, tracks.xy_px, size)
        assert found[:, k].mean() > 0.5  # not in the side view
        assert not np.delete(found, k, axis=1).any() or k == 0
    assert not find_swaps(tracks.xy_px, tracks.xy_px, size).any()
    body = tracks.body33_cam_m / 1.7
    flips = np.zeros((60, 2 * len(SEGMENTS)))
    flips[:, 1] = 1
    there = flip(body, flips)
    np.testing.assert_allclose(flip(there, flips), body, atol=1e-12)
    deep = body[:, SEGMENT_LOWER[1], 2] - body[:, SEGMENT_UPPER[1], 2]
    on, known = find_flips(there, body)
    np.testing.assert_array_equal(on[:, 1], known[:, 1])
    np.testing.assert_array_equal(known[:, 1], np.abs(deep) > 0.08)
    assert not find_flips(body, body)[0].any()


# Files and the command


def test_file_round_trip_and_size(model, tmp_path):
    file = tmp_path / "noise.npz"
    model.save(file)
    assert file.stat().st_size < 1e6
    back = load_noise_model(file)
    assert json.loads(back.provenance) == {"clips": 12}
    tracks = make_tracks(np.random.default_rng(0), 20, 30.0)
    a, b = (m.sample(np.random.default_rng(0), tracks, 30.0) for m in (model, back))
    np.testing.assert_allclose(a.xy_px, b.xy_px, atol=1e-2)
    before = file.read_bytes()
    model.save(file)
    assert file.read_bytes() == before


def test_a_file_that_is_no_model_is_named(tmp_path):
    with pytest.raises(HmcapError, match=r"noise model at .*none\.npz, found no such file.*python -m"):
        load_noise_model(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive", encoding="utf-8")
    with pytest.raises(HmcapError, match=r"text\.npz, but it cannot be read"):
        load_noise_model(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(HmcapError, match=r"other\.npz, but it lacks bias"):
        load_noise_model(tmp_path / "other.npz")


def test_the_command_says_what_it_needs(tmp_path, capsys):
    with pytest.raises(HmcapError, match="found no such folder"):
        find_clips(tmp_path / "nowhere")
    assert command.main([str(tmp_path), "--out", str(tmp_path / "noise.npz")]) == HmcapError("").exit_code
    assert "Render the measurement set first" in capsys.readouterr().err
    assert command.main([str(tmp_path), "--out", "noise.txt"]) == UsageError("").exit_code
    assert "ends in .npz; found noise.txt" in capsys.readouterr().err


def test_figures_of_perfect_clips_are_zero(clips):
    seen = clips[0]
    exact = type(seen)(
        seen.name, seen.fps, seen.tracks, seen.cond, seen.tracks.xy_px, np.ones((seen.frames, 67)), seen.body_xyz_m,
        np.zeros((seen.frames, 2, 21, 3)), np.ones(seen.frames),
    )  # fmt: skip
    values = figures([exact])
    assert all(v == pytest.approx(0, abs=1e-9) for n, (v, _) in values.items() if "quantile" in n and "3-D" not in n)
    assert values["hand not found"][0] == 0
