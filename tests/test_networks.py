"""The motion networks: the mask law, kinematics, gradients against autograd, incremental runs."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hmcap.models.body import load_body  # noqa: E402
from hmcap.models.errors import HmcapError  # noqa: E402
from hmcap.models.markers import contact_rig, proxy_rig  # noqa: E402
from hmcap.models.networks.config import SIZES, NetworkConfig  # noqa: E402
from hmcap.models.networks.gradient import DAMPING, joint_steps, reprojection  # noqa: E402
from hmcap.models.networks.kinematics import (  # noqa: E402
    BodyPoints,
    camera_axes_of_up,
    matrix_of_6d,
    six_of_matrix,
    turn,
)
from hmcap.models.networks.motion_network import MotionNetwork  # noqa: E402
from hmcap.models.networks.partial_conv import Block, PartialConv  # noqa: E402
from hmcap.models.observed import FIELDS, Observed  # noqa: E402
from hmcap.models.rotations import axis_angle_to_matrix  # noqa: E402
from hmcap.models.world import heading_rotation  # noqa: E402

SMALL = NetworkConfig(
    size="tiny", body_channels=24, hand_channels=16, attention_channels=16, decoder_channels=32, descent_channels=16,
    descent_hidden=24,
)  # fmt: skip


def random_observed(frames: int, batch: int = 2, seed: int = 0, missing: float = 0.3) -> Observed:
    g = torch.Generator().manual_seed(seed)
    c = (torch.rand(batch, frames, 67, generator=g) > missing).float() * torch.rand(batch, frames, 67, generator=g)
    hands = torch.stack([c[..., 25:46].amax(-1), c[..., 46:].amax(-1)], -1).ceil()
    return Observed(
        torch.rand(batch, frames, 67, 2, generator=g) * (c > 0)[..., None],
        c,
        torch.randn(batch, frames, 33, 3, generator=g) * 0.4,
        torch.ones(batch, frames),
        torch.randn(batch, frames, 2, 21, 3, generator=g) * 0.05 * hands[..., None, None],
        hands,
    )


@pytest.fixture(scope="module")
def network() -> MotionNetwork:
    torch.manual_seed(1)
    net = MotionNetwork(SMALL).eval()
    for p in net.parameters():  # outputs begin near zero; make every path count
        p.data += 0.02 * torch.randn_like(p)
    return net


@pytest.fixture(scope="module")
def points() -> BodyPoints:
    return BodyPoints(load_body())


def ahead(batch: int, n: int = 3) -> torch.Tensor:
    out = torch.zeros(batch, 1, n)
    out[..., 0] = 1
    return out


@pytest.mark.parametrize("mask_channels", [5, 1])
@pytest.mark.parametrize("partial", [True, False])
def test_masked_input_has_no_influence_and_gets_no_gradient(mask_channels: int, partial: bool) -> None:
    torch.manual_seed(0)
    layer = PartialConv(5, 7, dilation=3, partial=partial)
    x = torch.randn(2, 20, 5, requires_grad=True)
    mask = (torch.rand(2, 20, mask_channels) > 0.6).float()
    cache = layer.new_cache(2, mask_channels, x)
    y, out_mask, _ = layer(x, mask, cache)
    noise = torch.randn_like(x) * 1e3 * (1 - mask)
    other, _, _ = layer(x + noise, mask, cache)
    assert torch.equal(y, other)
    (y * torch.randn_like(y)).sum().backward()
    assert torch.all(x.grad[(mask.expand_as(x)) == 0] == 0)
    assert x.grad.abs().sum() > 0
    reach = torch.stack([torch.cat([torch.zeros(2, 3 * k, mask_channels), mask], 1)[:, :20] for k in range(3)])
    assert torch.equal(out_mask[..., 0], (reach.sum((0, -1)) > 0).float())
    assert torch.all(y[out_mask[..., 0] == 0] == 0)


def test_what_is_left_of_a_window_stands_for_the_whole_of_it() -> None:
    layer = PartialConv(1, 1)
    torch.nn.init.constant_(layer.linear.weight, 1.0)
    x = torch.full((1, 6, 1), 2.0)
    for mask in ([1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1], [0, 0, 1, 0, 1, 0]):
        m = torch.tensor(mask, dtype=torch.float32).view(1, 6, 1)
        y, out, _ = layer(x, m, layer.new_cache(1, 1, x))
        assert torch.allclose(y[out > 0], torch.tensor(6.0))


def test_a_block_runs_frame_by_frame_as_it_does_at_once() -> None:
    torch.manual_seed(0)
    block = Block(8, 9, True, extra=1)
    mask = (torch.rand(1, 60, 1) > 0.5).float()
    x = torch.randn(1, 60, 8) * mask
    whole, whole_mask, _ = block(x, mask, block.conv.new_cache(1, 1, x))
    cache, parts = block.conv.new_cache(1, 1, x), []
    for t in (0, 1, 2, 10, 30, 59):
        end = {0: 1, 1: 2, 2: 10, 10: 30, 30: 59, 59: 60}[t]
        y, m, cache = block(x[:, t:end], mask[:, t:end], cache)
        assert torch.equal(m, whole_mask[:, t:end])
        parts.append(y)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_nothing_masked_reaches_a_state(network: MotionNetwork) -> None:
    o = random_observed(30)
    hidden = dataclasses.replace(o, body_xyz_known=torch.zeros_like(o.body_xyz_known))
    junk = dataclasses.replace(
        hidden,
        xy=hidden.xy + 7.0 * (hidden.confidence == 0)[..., None],
        body_xyz_m=hidden.body_xyz_m + 100.0,
        hands_xyz_m=hidden.hands_xyz_m + 50.0 * (1 - hidden.hands_xyz_known[..., None, None]),
    )
    with torch.no_grad():
        a, b = (network(x, x, ahead(2), network.new_caches(2, x.xy))[0] for x in (hidden, junk))
    for first, second in zip(a, b, strict=True):
        for f in dataclasses.fields(first):
            assert torch.equal(getattr(first, f.name), getattr(second, f.name)), f.name


def test_masked_proxies_get_no_gradient(network: MotionNetwork) -> None:
    o = random_observed(12)
    xy = o.xy.clone().requires_grad_(True)
    seen = dataclasses.replace(o, xy=xy)
    states, box, _ = network(seen, seen, ahead(2), network.new_caches(2, o.xy))
    (states[-1].R_body.sum() + states[-1].root_cam_m(box).sum()).backward()
    assert torch.all(xy.grad[o.confidence == 0] == 0)
    assert xy.grad[o.confidence > 0].abs().sum() > 0


def test_frame_by_frame_equals_all_at_once(network: MotionNetwork) -> None:
    o = random_observed(100, batch=1)
    with torch.no_grad():
        whole, _box, _ = network(o, o, ahead(1), network.new_caches(1, o.xy))
        caches, begin, rows = network.new_caches(1, o.xy), 0, []
        for n in (1, 1, 5, 33, 1, 59):
            part = o.map(lambda x, b=begin, n=n: x[:, b : b + n])
            states, _, caches = network(part, part, ahead(1), caches)
            rows.append(states[-1])
            begin += n
    for f in dataclasses.fields(whole[-1]):
        joined = torch.cat([getattr(r, f.name) for r in rows], 1)
        assert torch.allclose(joined, getattr(whole[-1], f.name), atol=1e-4), f.name


def test_the_past_beyond_eighty_one_frames_does_not_count() -> None:
    net = MotionNetwork(dataclasses.replace(SMALL, iterations=0)).eval()
    a, b = random_observed(120, 1, missing=0.0), random_observed(120, 1, seed=1, missing=0.0)
    mixed = Observed(*(torch.cat([getattr(b, f)[:, :39], getattr(a, f)[:, 39:]], 1) for f in FIELDS))
    with torch.no_grad():
        x, y = (net(o, o, ahead(1), net.new_caches(1, o.xy))[0][-1].R_body for o in (a, mixed))
    assert torch.allclose(x[:, -1], y[:, -1], atol=1e-6)
    assert not torch.allclose(x[:, -2], y[:, -2], atol=1e-6)


def test_points_are_those_of_the_body_model(points: BodyPoints) -> None:
    rng = np.random.default_rng(0)
    body = load_body()
    poses, betas = rng.normal(0, 0.4, (3, 55, 3)), rng.normal(0, 1, (3, 10))
    posed = body.astype(np.float64).with_shape(betas).with_pose(poses)
    R = torch.tensor(axis_angle_to_matrix(poses), dtype=torch.float32)
    R_all, joints, marks = points(R, torch.tensor(betas, dtype=torch.float32))
    pelvis = posed.joints_m[:, :1]
    assert np.allclose(R_all, posed.R_world, atol=1e-5)
    assert np.allclose(joints, posed.joints_m - pelvis, atol=1e-5)
    wanted = np.concatenate([proxy_rig(body).in_world_m(posed), contact_rig(body).in_world_m(posed)], 1) - pelvis
    assert np.allclose(marks, wanted, atol=1e-5)


def test_joint_steps_are_the_gradient_that_autograd_finds(points: BodyPoints) -> None:
    g = torch.Generator().manual_seed(3)
    R_local = turn(torch.randn(4, 55, 3, generator=g) * 0.3)
    betas = torch.randn(4, 10, generator=g) * 0.3
    root = torch.tensor([0.1, 0.2, 3.0])
    seen, weight, size = (
        torch.rand(4, 67, 2, generator=g) * 0.3,
        torch.rand(4, 67, generator=g),
        torch.full((4, 1), 0.6),
    )
    w = torch.zeros(4, 55, 3, requires_grad=True)
    _, _, marks = points(R_local @ turn(w), betas)
    p = marks[:, :67] + root
    energy = 0.5 * (weight * (((seen - p[..., :2] / p[..., 2:]) / 0.6) ** 2).sum(-1)).sum()
    energy.backward()
    R, joints, marks = points(R_local, betas)
    below = points.below[:, :67]
    _, pull, curvature = reprojection(marks[:, :67] + root, seen, weight, size)
    steps = joint_steps(R, joints, marks[:, :67], pull, curvature, below)
    x = marks[:, None, :67] - joints[:, :, None]
    lever = (below * curvature[:, None] * (x * x).sum(-1)).sum(-1)
    assert torch.allclose(steps * (lever + DAMPING)[..., None], -w.grad, atol=2e-4)
    assert w.grad.abs().max() > 0.05


def test_rotations() -> None:
    g = torch.Generator().manual_seed(0)
    w = torch.randn(50, 3, generator=g)
    R = turn(w)
    assert torch.allclose(R @ R.transpose(-1, -2), torch.eye(3).expand_as(R), atol=1e-5)
    assert torch.allclose(torch.linalg.det(R), torch.ones(50), atol=1e-5)
    assert torch.allclose(matrix_of_6d(six_of_matrix(R)), R, atol=1e-5)
    small = turn(0.01 * w)
    assert np.allclose(small, axis_angle_to_matrix(0.01 * w.numpy()), atol=1e-5)


def test_human_space_has_the_yaw_of_the_camera() -> None:
    g = torch.Generator().manual_seed(0)
    up = torch.nn.functional.normalize(torch.tensor([0.0, -1.0, 0.0]) + 0.5 * torch.randn(40, 3, generator=g), dim=-1)
    R = camera_axes_of_up(up)
    assert torch.allclose(R[..., 1], up, atol=1e-6)
    assert torch.allclose(R.transpose(-1, -2) @ R, torch.eye(3).expand_as(R), atol=1e-5)
    assert np.allclose(heading_rotation(R.numpy()), np.eye(3), atol=1e-5)
    straight = camera_axes_of_up(torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]))
    assert torch.isfinite(straight).all()


def test_a_configuration_survives_json_and_refuses_another_kind() -> None:
    for config in SIZES.values():
        assert NetworkConfig.from_dict(config.as_dict(), "x") == config
    with pytest.raises(HmcapError, match=r"old\.pt"):
        NetworkConfig.from_dict({"body_channels": 3}, "old.pt")
