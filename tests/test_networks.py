"""The motion networks: the mask law, kinematics, gradients against autograd, incremental runs."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hmcap.models.body import load_body  # noqa: E402
from hmcap.models.errors import HmcapError  # noqa: E402
from hmcap.models.markers import contact_rig, proxy_rig  # noqa: E402
from hmcap.models.networks.config import SIZES, NetworkConfig  # noqa: E402
from hmcap.models.networks.gradient import (  # noqa: E402
    DAMPING,
    ROBUST,
    Solution,
    gauss_newton,
    joint_steps,
    reprojection,
)
from hmcap.models.networks.inputs import box_of  # noqa: E402
from hmcap.models.networks.inverse import (  # noqa: E402
    NUM_POINTS,
    InverseKinematics,
    cube_root,
    points_of,
    shortest_arc,
)
from hmcap.models.networks.kinematics import (  # noqa: E402
    BodyPoints,
    camera_axes_of_up,
    matrix_of_6d,
    six_of_matrix,
    turn,
)
from hmcap.models.networks.lifting import LIFTED_NAMES, lift  # noqa: E402
from hmcap.models.networks.mirror import mean_state, mirrored_observed, mirrored_state  # noqa: E402
from hmcap.models.networks.motion_network import MotionNetwork  # noqa: E402
from hmcap.models.networks.partial_conv import Block, PartialConv, Taps  # noqa: E402
from hmcap.models.networks.state import State  # noqa: E402
from hmcap.models.observed import FIELDS, Observed  # noqa: E402
from hmcap.models.proxies import BLAZEPOSE_NAMES, BODY_NAMES, PROXY_NAMES  # noqa: E402
from hmcap.models.rotations import axis_angle_to_matrix  # noqa: E402
from hmcap.models.skeleton import JOINT_NAMES  # noqa: E402
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


def ahead(batch: int, index: int = 0) -> torch.Tensor:
    out = torch.zeros(batch, 1, len(SMALL.lookaheads))
    out[..., index] = 1
    return out


NO, YES = torch.tensor(0), torch.tensor(1)


@pytest.mark.parametrize("mask_channels", [5, 1])
@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("looks", [NO, YES])
def test_masked_input_has_no_influence_and_gets_no_gradient(
    mask_channels: int, partial: bool, looks: torch.Tensor
) -> None:
    torch.manual_seed(0)
    layer = PartialConv(5, 7, dilation=3, partial=partial)
    x = torch.randn(2, 20, 5, requires_grad=True)
    mask = (torch.rand(2, 20, mask_channels) > 0.6).float()
    y, out_mask = layer(x, mask, Taps.of(x, 3, looks))
    assert y.shape == (2, 14, 7)
    noise = torch.randn_like(x) * 1e3 * (1 - mask)
    other, _ = layer(x + noise, mask, Taps.of(x, 3, looks))
    assert torch.equal(y, other)
    (y * torch.randn_like(y)).sum().backward()
    assert torch.all(x.grad[(mask.expand_as(x)) == 0] == 0)
    assert x.grad.abs().sum() > 0
    taps = (0, 3, 6) if looks else (3, 6)
    reach = torch.stack([mask[:, k : k + 14] for k in taps])
    assert torch.equal(out_mask[..., 0], (reach.sum((0, -1)) > 0).float())
    assert torch.all(y[out_mask[..., 0] == 0] == 0)


@pytest.mark.parametrize("looks", [NO, YES])
def test_what_is_left_of_a_window_stands_for_the_whole_of_it(looks: torch.Tensor) -> None:
    layer = PartialConv(1, 1)
    torch.nn.init.constant_(layer.linear.weight, 1.0)
    x = torch.full((1, 8, 1), 2.0)
    for mask in ([1, 1, 1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0, 1, 0]):
        m = torch.tensor(mask, dtype=torch.float32).view(1, 8, 1)
        y, out = layer(x, m, Taps.of(x, 1, looks))
        assert torch.allclose(y[out > 0], torch.tensor(6.0))


@pytest.mark.parametrize("looks", [NO, YES])
def test_a_block_runs_frame_by_frame_as_it_does_at_once(looks: torch.Tensor) -> None:
    torch.manual_seed(0)
    block = Block(8, 9, True, extra=1)
    mask = (torch.rand(1, 60, 1) > 0.5).float()
    x = torch.randn(1, 60, 8) * mask
    whole, whole_mask, _ = block(x, mask, block.conv.new_cache(1, 1, x), looks)
    cache, parts = block.conv.new_cache(1, 1, x), []
    for t, end in {0: 1, 1: 2, 2: 10, 10: 30, 30: 59, 59: 60}.items():
        y, m, cache = block(x[:, t:end], mask[:, t:end], cache, looks)
        assert torch.equal(m, whole_mask[:, t:end])
        parts.append(y)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_a_block_that_looks_ahead_answers_late() -> None:
    torch.manual_seed(0)
    block = Block(4, 3, True)
    x, mask = torch.randn(1, 30, 4), torch.ones(1, 30, 1)
    ahead_of_all, _, _ = block(x, mask, block.conv.new_cache(1, 1, x), YES)
    wanted = x[:, 9] + block.mix(torch.nn.functional.silu(
        block.conv.linear(block.norm(x)[:, [6, 9, 12]].flatten(1)) + block.conv.bias
    ))  # fmt: skip
    assert torch.allclose(ahead_of_all[:, 12], wanted, atol=1e-5)


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


@pytest.mark.parametrize("index", range(5))
def test_frame_by_frame_equals_all_at_once(network: MotionNetwork, index: int) -> None:
    o = random_observed(100, batch=1)
    with torch.no_grad():
        whole, _box, _ = network(o, o, ahead(1, index), network.new_caches(1, o.xy))
        caches, begin, rows = network.new_caches(1, o.xy), 0, []
        for n in (1, 1, 5, 33, 1, 59):
            part = o.map(lambda x, b=begin, n=n: x[:, b : b + n])
            states, _, caches = network(part, part, ahead(1, index), caches)
            rows.append(states[-1])
            begin += n
    for f in dataclasses.fields(whole[-1]):
        joined = torch.cat([getattr(r, f.name) for r in rows], 1)
        assert torch.allclose(joined, getattr(whole[-1], f.name), atol=1e-4), f.name


@pytest.mark.parametrize(("index", "first", "last"), [(0, 40, 0), (2, 40, 4), (4, 40, 40)])
def test_an_estimate_depends_on_forty_frames_before_and_its_look_ahead(index: int, first: int, last: int) -> None:
    net = MotionNetwork(dataclasses.replace(SMALL, iterations=0)).eval()
    delay = SMALL.lookaheads[index]
    assert delay == last
    o = random_observed(200, 1, missing=0.0)
    other = random_observed(200, 1, seed=1, missing=0.0)
    t = 100

    def features(begin: int, end: int) -> torch.Tensor:
        """Of frame t, where the frames from begin to end are another person's."""
        mixed = Observed(
            *(torch.cat([getattr(o, f)[:, :begin], getattr(other, f)[:, begin:end], getattr(o, f)[:, end:]], 1)
              for f in FIELDS)
        )  # fmt: skip
        with torch.no_grad():
            body, _, _ = net.initialiser.encode(mixed, ahead(1, index), net.new_caches(1, o.xy))
        return body[:, t + delay]

    plain = features(0, 0)
    assert torch.allclose(features(0, t - first), plain, atol=1e-6)
    assert not torch.allclose(features(0, t - first + 1), plain, atol=1e-6)
    assert torch.allclose(features(t + last + 1, 200), plain, atol=1e-6)
    assert not torch.allclose(features(t + last, 200), plain, atol=1e-6)


def test_points_give_the_rotations_that_lead_to_them(points: BodyPoints) -> None:
    g = torch.Generator().manual_seed(5)
    inverse = InverseKinematics(load_body())
    w = torch.randn(64, 55, 3, generator=g) * 0.1
    for knee in (4, 5):  # limbs bend about their hinges
        w[:, knee] = torch.tensor([1.0, 0, 0]) * torch.rand(64, 1, generator=g) * 2
    w[:, 18] = torch.tensor([0.0, -1.0, 0]) * torch.rand(64, 1, generator=g) * 2
    w[:, 19] = torch.tensor([0.0, 1.0, 0]) * torch.rand(64, 1, generator=g) * 2
    w[:, [1, 2, 16, 17]] *= 3
    w[:, 0] = torch.randn(64, 3, generator=g)
    R_local = turn(w)
    _, joints, marks = points(R_local, torch.zeros(64, 10))
    found = inverse(points_of(joints, marks))
    assert torch.allclose(found @ found.transpose(-1, -2), torch.eye(3).expand_as(found), atol=1e-5)
    _, reached, _ = points(torch.cat([found, R_local[:, 22:]], 1), torch.zeros(64, 10))
    gap = (reached - joints)[:, :22].norm(dim=-1)
    assert gap.mean() < 0.015
    assert gap[:, [1, 2, 4, 5, 7, 8]].max() < 0.01, "legs hang on the pelvis alone"


def test_the_shortest_arc_is_a_rotation_even_where_it_is_half_a_turn() -> None:
    g = torch.Generator().manual_seed(0)
    a = torch.nn.functional.normalize(torch.randn(200, 3, generator=g), dim=-1)
    b = torch.nn.functional.normalize(torch.randn(200, 3, generator=g), dim=-1)
    assert torch.allclose((shortest_arc(a, b) @ a[..., None])[..., 0][(a * b).sum(-1) > -0.95],
                          b[(a * b).sum(-1) > -0.95], atol=1e-4)  # fmt: skip
    for opposed in (-a, torch.nn.functional.normalize(-a + 0.05 * b, dim=-1)):
        R = shortest_arc(a, opposed)
        assert torch.allclose(R @ R.transpose(-1, -2), torch.eye(3).expand_as(R), atol=1e-4)
        assert torch.allclose(torch.linalg.det(R), torch.ones(200), atol=1e-4)


def test_a_rotation_is_its_cube_root_three_times() -> None:
    R = turn(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 0.8)
    third = cube_root(R)
    assert torch.allclose(third @ third @ third, R, atol=1e-4)
    assert torch.allclose(cube_root(torch.eye(3)), torch.eye(3), atol=1e-6)


def test_lifting_finds_points_and_place_of_a_person_seen_without_error(points: BodyPoints) -> None:
    g = torch.Generator().manual_seed(2)
    R = turn(torch.randn(1, 6, 55, 3, generator=g) * 0.3)
    R[..., 0, :, :] = R[..., 0, :, :] @ torch.diag(torch.tensor([1.0, -1, -1]))
    _, joints, marks = points(R, torch.zeros(1, 6, 10))
    root = torch.tensor([0.7, -0.3, 3.2])
    hips = (joints[..., 1:2, :] + joints[..., 2:3, :]) / 2
    seen_m = marks[..., :67, :] + root
    blaze = torch.zeros(1, 6, 33, 3)
    for k, name in enumerate(BLAZEPOSE_NAMES):
        name = name.replace("foot_index", "big_toe")
        if name in BODY_NAMES:
            blaze[..., k, :] = marks[..., BODY_NAMES.index(name), :]
    seen = Observed(
        seen_m[..., :2] / seen_m[..., 2:], torch.ones(1, 6, 67), blaze - hips, torch.ones(1, 6),
        marks[..., 25:67, :].unflatten(-2, (2, 21)), torch.ones(1, 6, 2),
    )  # fmt: skip
    box = box_of(seen.xy[..., :25, :], torch.ones(1, 6, 25))
    found = lift(seen, box)
    at = [LIFTED_NAMES.index(n) for n in BODY_NAMES if n not in ("neck", "left_small_toe", "right_small_toe")]
    proxy = [PROXY_NAMES.index(LIFTED_NAMES[i]) for i in at]
    wanted = marks[..., proxy, :] - hips
    assert torch.allclose(found.points_m[..., at, :], wanted, atol=0.03)
    z = torch.exp(found.place[..., 2]) / box[..., 2]
    assert torch.allclose(z, (root + hips.squeeze(-2))[..., 2], rtol=0.02)
    blind = lift(seen.map(torch.zeros_like), box_of(torch.zeros(1, 6, 25, 2), torch.zeros(1, 6, 25)))
    assert torch.all(blind.points_m == 0)
    assert torch.all(blind.known == 0)


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


def test_a_gauss_newton_step_solves_the_normal_equations_that_autograd_finds(points: BodyPoints) -> None:
    g = torch.Generator().manual_seed(4)
    double = BodyPoints(load_body()).double()
    R_local = turn(torch.randn(2, 55, 3, generator=g) * 0.2).double()
    betas, root = torch.zeros(2, 10).double(), torch.tensor([0.1, 0.2, 3.0]).double().expand(2, 3)

    def projected(x: torch.Tensor) -> torch.Tensor:
        """In units of the box, after turns of 22 joints and a displacement of the root."""
        turns = torch.cat([x[:, :22], x.new_zeros(2, 33, 3)], 1)
        p = double(R_local @ turn(turns), betas)[2][:, :67] + (root + x[:, 22])[:, None]
        return p[..., :2] / p[..., 2:] / 0.6

    still = torch.zeros(2, 23, 3).double()
    seen = projected(still) * 0.6 + 0.01 * torch.randn(2, 67, 2, generator=g)
    weight, stiffness = torch.rand(2, 67, generator=g).double(), torch.full((2, 23), 0.01).double()
    R, joints, marks = double(R_local, betas)
    found = gauss_newton(
        R[:, :22], joints[:, :22], marks[:, :67], root, seen, weight, torch.full((2, 1), 0.6).double(), stiffness,
        double.below[:22, :67], 200,
    )  # fmt: skip
    J = torch.autograd.functional.jacobian(projected, still)
    for b in range(2):
        A, r = J[b, :, :, b].reshape(134, 69), (seen[b] / 0.6 - projected(still)[b]).reshape(-1)
        robust = 1 + (r.reshape(67, 2) ** 2).sum(-1) / ROBUST**2
        w = (weight[b] / robust).repeat_interleave(2)[:, None]
        wanted = torch.linalg.solve(A.T @ (w * A) + 0.01 * torch.eye(69).double(), A.T @ (w[:, 0] * r))
        assert torch.allclose(found[b].reshape(-1), wanted, atol=1e-3 * float(wanted.norm()))


def test_gradients_through_the_step_are_those_of_its_equations() -> None:
    torch.manual_seed(0)
    Jt, target = torch.randn(2, 6, 10).double(), torch.randn(2, 10, 1).double()
    w, damping = torch.rand(2, 1, 10).double().requires_grad_(), (torch.rand(2, 6, 1).double() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda w, d: Solution.apply(w, d, Jt, target, 30), (w, damping))


def test_the_mirror_image_of_the_mirror_image_is_the_person(network: MotionNetwork) -> None:
    o = random_observed(6)
    twice = mirrored_observed(mirrored_observed(o))
    for f in FIELDS:
        assert torch.equal(getattr(o, f), getattr(twice, f)), f
    with torch.no_grad():
        state = network(o, o, ahead(2), network.new_caches(2, o.xy))[0][-1]
    again = mirrored_state(mirrored_state(state))
    for f in dataclasses.fields(state):
        assert torch.allclose(getattr(state, f.name), getattr(again, f.name), atol=1e-6), f.name
    middle = mean_state(state, state)
    for f in dataclasses.fields(state):
        assert torch.allclose(getattr(state, f.name), getattr(middle, f.name), atol=1e-5), f.name


def test_a_mirrored_body_has_mirrored_points(points: BodyPoints) -> None:
    g = torch.Generator().manual_seed(6)
    R = turn(torch.randn(1, 3, 55, 3, generator=g) * 0.3)
    zeros = torch.zeros(1, 3, 1)
    R_body, R_hands = R[..., :22, :, :], R[..., 25:, :, :]
    state = State(
        zeros.expand(1, 3, 10), R_body, R_hands, zeros.expand(1, 3, 3), torch.tensor([0.0, -1, 0]).expand(1, 3, 3),
        zeros, zeros.expand(1, 3, 3), zeros.expand(1, 3, 4), zeros.expand(1, 3, 2), zeros.expand(1, 3, 8),
        zeros.expand(1, 3, NUM_POINTS).unsqueeze(-1).expand(1, 3, NUM_POINTS, 3),
    )  # fmt: skip
    _, joints, marks = points(state.R_local(), state.betas)
    _, other_joints, other_marks = points(mirrored_state(state).R_local(), state.betas)
    flip = torch.tensor([-1.0, 1, 1])
    swap = [JOINT_NAMES.index(n.replace("left", "?").replace("right", "left").replace("?", "right"))
            for n in JOINT_NAMES[:22]]  # fmt: skip
    assert torch.allclose(other_joints[..., :22, :], joints[..., swap, :] * flip, atol=2e-3), "the body is symmetric"
    hand = marks[..., 25:46, :] * flip
    assert torch.allclose(other_marks[..., 46:67, :], hand, atol=3e-3)


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
