"""The noise model in torch against the one in numpy: the same where nothing is drawn, the same law where it is."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.markers import blazepose_rig, proxy_rig
from hmcap.tools.noise.batched import BatchedNoise, torch_tracks
from hmcap.tools.noise.events import Events
from hmcap.tools.noise.model import Noisy, found_terms, load_noise_model, presence_terms
from hmcap.tools.noise.tracks import Tracks, conditions, tracks_of

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
