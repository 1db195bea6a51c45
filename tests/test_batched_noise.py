"""The noise model in torch against the one in numpy: the same where nothing is drawn, the same law where it is."""

import warnings
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.errors import UsageError
from hmcap.models.markers import blazepose_rig, proxy_rig
from hmcap.models.proxies import PROXY_NAMES
from hmcap.tools.noise.batched import BatchedNoise, torch_tracks
from hmcap.tools.noise.batched_process import (
    correlation,
    make_kernel,
    make_tables,
    sample_events,
    view_shares,
    white_factor,
)
from hmcap.tools.noise.events import Events, by_view
from hmcap.tools.noise.model import Noisy, found_terms, load_noise_model, presence_terms
from hmcap.tools.noise.process import TIME_CONSTANTS_S, Process, _remembering, at_scores
from hmcap.tools.noise.tracks import GROUP, HIDDEN, MIRROR, VISIBLE, Tracks, centred3d, conditions, tracks_of, turned

FPS = 30.0
LIKE = torch.zeros((), dtype=torch.float64)


def make_scene(takes: int, frames: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """People who turn and wave before cameras that sway, near and far, some of them partly out of the picture."""
    rng, body = np.random.default_rng(seed), load_body()
    t = np.arange(frames) / FPS
    proxies, landmarks, cameras = [], [], []
    for _ in range(takes):
        hz, phase = rng.uniform(0.1, 0.6, (55, 3)), rng.uniform(0, 6.28, (55, 3))
        poses = (0.25 * np.sin(2 * np.pi * hz * t[:, None, None] + phase)).astype(np.float32)
        poses[:, 0] = 0
        poses[:, 0, 1] = rng.uniform(0, 6.28) + rng.choice([-1, 1]) * t
        poses[:, [16, 17], 2] += [-0.9, 0.9]
        poses[:, [18, 19], 1] += [-1.2, 1.2]  # forearms ahead
        trans = np.stack([rng.uniform(-0.6, 0.6) * t, 0 * t, 0 * t], axis=-1).astype(np.float32)
        posed = body.with_shape(rng.normal(0, 1, 10).astype(np.float32)).with_pose(poses, trans)
        proxies.append(np.asarray(proxy_rig(body).in_world_m(posed), np.float64))
        landmarks.append(np.asarray(blazepose_rig(body).in_world_m(posed), np.float64))
        tilt = 0.1 * np.sin(t + rng.uniform(0, 6))
        T = np.tile(np.diag([1.0, -1, -1, 1]), (frames, 1, 1))
        T[:, 0, 0] = T[:, 1, 1] = np.cos(tilt)
        T[:, 1, 1] *= -1
        T[:, 0, 1] = T[:, 1, 0] = np.sin(tilt)
        T[:, :3, 3] = np.stack([0.2 * np.sin(t), 0.1 * np.cos(t), np.full(frames, rng.uniform(1.5, 5.0))], axis=-1)
        cameras.append(T)
    return {
        "proxies_world_m": torch.as_tensor(np.stack(proxies)),
        "landmarks_world_m": torch.as_tensor(np.stack(landmarks)),
        "T_cam_world": torch.as_tensor(np.stack(cameras)),
        "focal_px": torch.as_tensor(rng.uniform(500, 900, takes)),
        "image_size_px": torch.as_tensor(rng.choice([[1280, 720], [720, 1280]], takes)),
        "shutter": torch.as_tensor(rng.uniform(0.1, 0.9, takes)),
    }


def numpy_of(record):
    """The record with its tensors as arrays."""
    return type(record)(*(getattr(record, f.name).numpy() for f in fields(record)))


def with_float32(tracks: Tracks) -> Tracks:
    values = {f.name: getattr(tracks, f.name) for f in fields(Tracks)}
    return Tracks(**{k: v.float() if v.is_floating_point() else v for k, v in values.items()})


@pytest.fixture(scope="module")
def scene():
    return make_scene(4, 90)


@pytest.fixture(scope="module")
def tracks(scene):
    return torch_tracks(**scene)


@pytest.fixture(scope="module")
def model():
    return load_noise_model()


# Nothing drawn


def test_tracks_are_those_of_numpy(scene, tracks):
    for b in range(4):
        width, height = scene["image_size_px"][b].tolist()
        camera = Camera.from_focal(width, height, float(scene["focal_px"][b]))
        world, world33, T = (scene[n][b].numpy() for n in ("proxies_world_m", "landmarks_world_m", "T_cam_world"))
        ours = numpy_of(tracks)
        true = tracks_of(world, world33, T, camera, None, ours.blur_px[b])
        for name in ("xy_px", "cam_m", "body33_cam_m"):
            np.testing.assert_allclose(getattr(ours, name)[b], getattr(true, name), atol=1e-9, rtol=1e-9)
        np.testing.assert_array_equal(ours.visible[b], true.visible)
    assert {0, 1, 2} == set(np.unique(numpy_of(tracks).visible))


def test_visibility_in_single_precision_differs_next_to_never(scene, tracks):
    single = torch_tracks(**{k: v.float() if v.is_floating_point() else v for k, v in scene.items()})
    assert (single.visible != tracks.visible).double().mean() < 2e-4


def test_blur_is_a_share_of_the_way_per_frame(scene, tracks):
    xy, blur = tracks.xy_px, tracks.blur_px
    way = (xy[:, 2:] - xy[:, :-2]).norm(dim=-1) / 2
    torch.testing.assert_close(blur[:, 1:-1], way * scene["shutter"][:, None, None])
    torch.testing.assert_close(blur[:, 0], (xy[:, 1] - xy[:, 0]).norm(dim=-1) * scene["shutter"][:, None])
    behind = dict(scene, T_cam_world=scene["T_cam_world"].clone())
    behind["T_cam_world"][0, 40:, 2, 3] = -5.0
    there = torch_tracks(**behind)
    assert not there.visible[0, 40:].any()
    assert not there.blur_px[0, 39:].any()
    assert there.blur_px[0, :39].any()
    assert all(torch.isfinite(getattr(there, f.name)).all() for f in fields(Tracks))


def test_conditions_and_terms_are_those_of_numpy(tracks):
    ours, true = conditions(tracks), conditions(numpy_of(tracks))
    for f in fields(true):
        np.testing.assert_allclose(getattr(ours, f.name).numpy(), getattr(true, f.name), atol=1e-9, rtol=1e-9)
    np.testing.assert_allclose(presence_terms(ours).numpy(), presence_terms(true), atol=1e-9)
    np.testing.assert_allclose(found_terms(ours).numpy(), found_terms(true), atol=1e-9)


def certain(model, rng: np.random.Generator, swap: int | None = None, flips: bool = False):
    """A model whose tables do not depend on the scores, so that all it says is certain; no two tables alike."""

    def flat(values: np.ndarray, low: float, high: float) -> np.ndarray:
        return np.repeat(rng.uniform(low, high, values.shape[:-1])[..., None], values.shape[-1], axis=-1)

    def events(values: Events, on: tuple[int, ...]) -> Events:
        rate = np.zeros_like(values.rate_hz)
        rate[:, on] = 1e9
        return Events(rate, np.full_like(values.duration_s, 1e6))

    return replace(
        model,
        scores=flat(model.scores, -2, 2),
        jitter=flat(model.jitter, -1, 1),
        loudness=flat(model.loudness, -1, 1),
        scores3=flat(model.scores3, -2, 2),
        jitter3=flat(model.jitter3, -1, 1),
        confidence=np.sort(rng.uniform(0, 1, model.confidence.shape), axis=-1),
        confidence_link=rng.choice([-1.0, 1.0], model.confidence_link.shape),
        presence_score=flat(model.presence_score, 0.5, 0.9),
        scale3=np.zeros(2),
        present=np.array([100.0, 0, 0, 0, 0, 0, 0]),
        found=np.array([100.0, 0, 0, 0, 0, 0, 0]),
        swaps=events(model.swaps, () if swap is None else (swap,)),
        flips=events(model.flips, (1, 3, 4) if flips else ()),
        no_depth=events(model.no_depth, ()),
    )


@pytest.mark.parametrize(("swap", "flips"), [(None, False), (0, True), (2, True)])
def test_what_does_not_depend_on_draws_is_the_same(model, tracks, swap, flips):
    sure = certain(model, np.random.default_rng(7), swap, flips)
    true = sure.sample(np.random.default_rng(0), numpy_of(tracks), FPS)
    for dtype, atol in ((torch.float64, 1e-4), (torch.float32, 1e-2)):
        given = tracks if dtype == torch.float64 else with_float32(tracks)
        ours = numpy_of(BatchedNoise(sure, dtype=dtype)(torch.Generator().manual_seed(0), given, FPS))
        for f in fields(Noisy):
            a, b = getattr(ours, f.name), getattr(true, f.name)
            assert np.isfinite(a).all(), f.name
            assert a.shape == b.shape
            if dtype == torch.float64 or f.name != "confidence":
                np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5, err_msg=f.name)


def test_tables_by_score_and_by_view_are_those_of_numpy():
    rng = np.random.default_rng(0)
    values, scores = rng.normal(size=(5, 2, 17)), rng.normal(0, 2, (5, 300))
    choice = rng.integers(0, 2, (3, 300))
    rows = 2 * np.arange(5)[:, None] + np.concatenate([choice, np.zeros((2, 300), np.int64)])
    ours = make_tables(values, LIKE)(torch.as_tensor(scores), torch.as_tensor(choice))
    np.testing.assert_allclose(ours.numpy(), at_scores(values.reshape(10, 17), rows, scores), atol=1e-12)
    view, table = rng.uniform(-4, 7, 200), rng.normal(size=(8, 6))
    ours = torch.as_tensor(table.T) @ view_shares(torch.as_tensor(view))
    np.testing.assert_allclose(ours.T.numpy(), by_view(table, view), atol=1e-12)


# The law of what is drawn


def test_correlation_is_that_of_the_recursion():
    for tau in (0.04, 0.15, 0.6):
        keep = np.exp(-np.full(30, 1 / FPS) / tau)
        answers = _remembering(np.eye(31)[:, :, None], keep)[..., 0]  # (31 white inputs, 30 frames)
        np.testing.assert_allclose(answers.T @ answers, correlation(tau, 1 / FPS, 30), atol=1e-12)


@pytest.mark.parametrize("name", ["body", "hand", "loudness", "hand_loudness", "confidence", "found"])
def test_kernels_have_the_covariance_of_the_process(model, name):
    process, frames = getattr(model, f"process_{name}"), 40
    kernel = make_kernel(process, frames, FPS, LIKE)
    rows = kernel.mix.shape[1]
    parts = process.factor @ np.swapaxes(process.factor, 1, 2) + process.diag[:, :, None] * np.eye(len(kernel.mix))
    for t, u in ((0, 0), (39, 39), (20, 21), (5, 30)):
        memory = (kernel.lower[:, t] * kernel.lower[:, u]).sum(-1).numpy()
        ours = (kernel.mix.numpy() * memory[:rows]) @ kernel.mix.numpy().T + (kernel.still @ kernel.still.T).numpy()
        if kernel.own:
            ours = ours + np.diag(memory[rows:])
        if t == u:
            ours = ours + (kernel.fresh @ kernel.fresh.T).numpy()
        lags = np.array([correlation(float(tau), 1 / FPS, frames)[t, u] for tau in process.time_s])
        np.testing.assert_allclose(ours, np.tensordot(lags, parts.astype(np.float64), 1), atol=1e-6)


def test_kernels_draw_what_they_say():
    rng = np.random.default_rng(0)
    factor, diag = rng.normal(0, 0.4, (5, 3, 2)), rng.uniform(0, 0.2, (5, 3))
    norm = (diag + (factor**2).sum(-1)).sum(0)
    process = Process(factor / np.sqrt(norm)[:, None], diag / norm, np.array(TIME_CONSTANTS_S, np.float32))
    x = make_kernel(process, 36, FPS, LIKE).sample(torch.Generator().manual_seed(0), 20000)
    parts = process.factor @ np.swapaxes(process.factor, 1, 2) + process.diag[:, :, None] * np.eye(3)
    for t, u in ((0, 0), (35, 35), (10, 11), (3, 30)):
        lags = [correlation(float(tau), 1 / FPS, 36)[t, u] for tau in process.time_s]
        np.testing.assert_allclose((x[:, t] @ x[:, u].T).numpy() / 20000, np.tensordot(lags, parts, 1), atol=0.035)
    with pytest.raises(ValueError, match="expected a process without memory"):
        white_factor(process, LIKE)


def test_events_are_as_frequent_and_as_long(model):
    view = np.random.default_rng(0).uniform(-3, 3, (6000, 1)) + 0.02 * np.arange(60)
    events = (model.swaps, model.no_depth)
    theirs = np.concatenate([e.sample(np.random.default_rng(1), view, np.full(60, 1 / FPS)) for e in events], axis=-1)
    shares = view_shares(torch.as_tensor(view.T.astype(np.float32)))
    drawn = sample_events(torch.Generator().manual_seed(1), events, shares, FPS)
    ours = torch.cat(drawn).permute(2, 1, 0).numpy()
    for figure in (lambda on: on, lambda on: on[:, 1:] & ~on[:, :-1]):
        a, b = figure(ours).mean(1), figure(theirs).mean(1)  # (takes, kinds) share of the frames
        error = np.sqrt((a.var(0) + b.var(0)) / 6000)
        assert (np.abs(a.mean(0) - b.mean(0)) < 4 * error).all()
        assert (b.mean(0) > 10 * error).all()


def figures(noisy: Noisy, tracks: Tracks, model) -> dict[str, np.ndarray]:
    """Figures of each take (N,) of samples, nan where a take has none."""
    cond = conditions(tracks)
    present, found = noisy.score > 0, np.isfinite(noisy.hands_xyz_m).all(axis=(-1, -2))
    known = np.concatenate([np.repeat(present[..., None], 25, -1), np.repeat(found, 21, -1)], axis=-1)
    error = turned(cond, (noisy.xy_px - tracks.xy_px) / cond.size_px[..., GROUP, None], GROUP)
    error = np.where(known[..., None], error, np.nan)
    away = np.linalg.norm(error, axis=-1)
    body, hands = centred3d(tracks, cond)
    solid = {"body": noisy.body_xyz_m - body * model.slope3[0], "hands": noisy.hands_xyz_m - hands * model.slope3[1]}
    legs = np.array([PROXY_NAMES.index(f"{s}_{j}") for s in ("left", "right") for j in ("hip", "knee", "ankle")])
    other = np.linalg.norm(noisy.xy_px[..., legs, :] - tracks.xy_px[..., MIRROR[legs], :], axis=-1)
    other = (other / cond.size_px[..., :1]).mean(-1)
    own = away[..., legs].mean(-1)
    per_take = {
        "present": present,
        "changes of presence": np.diff(present.astype(float), axis=1),
        "found": np.where(present[..., None], found, np.nan),
        "changes of finding": np.abs(np.diff(found.astype(float), axis=1)),
        "legs swapped": (own > 0.06) & (other < 0.5 * own),
        "score": np.where(present, noisy.score, np.nan),
        "without depth": present & np.isnan(noisy.body_xyz_m[..., 0, 0]),
    }
    for group, part in enumerate((slice(0, 25), slice(25, 46), slice(46, 67))):
        small = np.where(away[..., part, None] < 0.3, error[..., part, :], np.nan)
        for lag in (1, 5):
            per_take[f"{group} product at {lag}"] = small[:, lag:] * small[:, :-lag]
        per_take[f"{group} jitter"] = np.abs(np.diff(small, axis=1))
        for state in (HIDDEN, VISIBLE):
            here = (tracks.visible[..., part] == state) & known[..., part]
            per_take[f"{group} size of errors, {state}"] = np.where(here, np.log(away[..., part]), np.nan)
            per_take[f"{group} confidence, {state}"] = np.where(here, noisy.confidence[..., part], np.nan)
    for name, value in solid.items():
        per_take |= {f"{name} 3-D {k}": np.abs(value[..., k]) for k in range(3)}
        per_take |= {f"{name} 3-D product at {lag}": value[:, lag:] * value[:, :-lag] for lag in (1, 5)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # takes that have none
        return {k: np.nanmean(np.asarray(v, np.float64).reshape(len(v), -1), axis=1) for k, v in per_take.items()}


def test_samples_have_the_figures_of_numpys(model):
    takes = 160
    tracks = torch_tracks(**make_scene(takes, 40, seed=3))
    given = numpy_of(tracks)
    theirs = figures(model.sample(np.random.default_rng(1), given, FPS), given, model)
    noise = BatchedNoise(model)
    ours = figures(numpy_of(noise(torch.Generator().manual_seed(1), with_float32(tracks), FPS)), given, model)
    for name, value in theirs.items():
        apart = (ours[name] - value)[np.isfinite(ours[name] - value)]
        assert len(apart) > 20, name
        # The same takes before other draws: the mean difference is nothing but chance.
        assert abs(apart.mean()) < 4.5 * apart.std() / np.sqrt(len(apart)) + 1e-9, name


def test_a_seed_gives_the_same_and_takes_differ(model, tracks):
    noise, one = BatchedNoise(model), with_float32(tracks)
    same = Tracks(*(getattr(one, f.name)[:1].expand(3, *getattr(one, f.name).shape[1:]) for f in fields(Tracks)))
    first, again, other = (noise(torch.Generator().manual_seed(s), same, FPS) for s in (3, 3, 4))
    for f in fields(Noisy):
        a, b, c = (getattr(n, f.name) for n in (first, again, other))
        assert a.dtype == torch.float32
        assert torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)), f.name
        assert not torch.equal(a.nan_to_num(-1), c.nan_to_num(-1)), f.name
        assert not torch.equal(a[0].nan_to_num(-1), a[1].nan_to_num(-1)), f.name


def test_masks_are_the_landmark_stages(model, tracks):
    noisy = BatchedNoise(model)(torch.Generator().manual_seed(0), with_float32(tracks), FPS)
    for name in ("xy_px", "confidence", "score"):
        assert torch.isfinite(getattr(noisy, name)).all()
    assert not noisy.confidence[..., [20, 23]].any()
    inside = ((noisy.xy_px >= 0) & (noisy.xy_px <= tracks.image_size_px[:, None, None] - 1)).all(-1)
    assert not noisy.confidence[~inside].any()
    assert ((noisy.confidence >= 0) & (noisy.confidence <= 1)).all()
    absent = noisy.score == 0
    lost = noisy.hands_xyz_m.isnan()
    assert torch.equal(lost.any((-1, -2)), lost.all((-1, -2)))
    lost = lost.any((-1, -2))
    assert lost.any()
    assert (~lost).any()
    for hand, part in enumerate((slice(25, 46), slice(46, 67))):
        assert not noisy.confidence[..., part][lost[..., hand]].any()
        assert lost[absent][..., hand].all()
    assert not noisy.confidence[absent].any()
    assert noisy.body_xyz_m[absent].isnan().all()


def test_any_number_of_frames_and_rates(model):
    noise = BatchedNoise(model)
    for frames, fps in ((1, 30.0), (7, 24.0), (50, 60.0)):
        tracks = with_float32(torch_tracks(**make_scene(2, frames)))
        noisy = noise(torch.Generator().manual_seed(0), tracks, fps)
        assert noisy.xy_px.shape == (2, frames, 67, 2)
        assert noisy.hands_xyz_m.shape == (2, frames, 2, 21, 3)
        assert torch.isfinite(noisy.xy_px).all()


def test_tracks_of_another_type_are_refused(model, tracks):
    with pytest.raises(UsageError, match=r"Expected tracks \(B, T, 67, 2\) of torch\.float32 on cpu, found .*float64"):
        BatchedNoise(model)(torch.Generator(), tracks, FPS)
