"""The solver's parts, by law: derivatives against differences, banded systems against dense ones, swaps, floor."""

from dataclasses import replace

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.proxies import PROXY_NAMES
from hmcap.models.rotations import axis_angle_to_matrix
from hmcap.models.solver.banded import NormalEquations
from hmcap.models.solver.energy import Chain, Energy, Evidence, Ground, geman_mcclure, minimise
from hmcap.models.solver.ground import upright_rotation
from hmcap.models.solver.offsets import landmark_offsets_m
from hmcap.models.solver.prior import body_prior, hand_prior
from hmcap.models.solver.rigs import CONTACT_INDEX, NUM_BODY_POINTS, SOLE_INDEX, SolverRigs, build_rigs
from hmcap.models.solver.segments import windows
from hmcap.models.solver.settings import SolverSettings
from hmcap.models.solver.shape import solve_shape, stature
from hmcap.models.solver.terms import body_weights, hand_weights
from hypothesis import given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
laws = settings(max_examples=20, deadline=None, derandomize=True)
R_CAM = upright_rotation(np.radians(12.0), np.radians(-5.0))
T_CAM = -R_CAM @ np.array([0.2, 1.4, 3.5])


@pytest.fixture(scope="module")
def rigs() -> SolverRigs:
    return build_rigs(load_body())


def random_chain(rng: np.random.Generator, T: int, joints: int, spread: float = 0.3, change: float = 0.3) -> Chain:
    base = rng.normal(scale=spread, size=(1, joints, 3))
    v = base + rng.normal(scale=change, size=(T, joints, 3))
    return Chain(axis_angle_to_matrix(v), np.array([0.0, 1.0, 0.0]) + rng.normal(scale=0.1, size=(T, 3)))


def random_evidence(
    rng: np.random.Generator, T: int, points: int, segments: np.ndarray, scale: float = 0.2
) -> Evidence:
    unit = rng.normal(size=(T, len(segments), 3))
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    return Evidence(
        np.cumsum(rng.uniform(0.02, 0.05, T)),
        rng.normal(scale=scale, size=(T, points, 2)),
        rng.uniform(10, 40, (T, points)) * (rng.random((T, points)) > 0.2),
        segments,
        unit,
        rng.uniform(1, 4, (T, len(segments))) * (rng.random((T, len(segments))) > 0.2),
    )


SEGMENTS = np.array([(2, 3), (3, 4), (9, 10), (10, 11), (12, 13)])


# -- trees -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", ["body", "left", "right"])
def test_points_move_as_the_jacobian_says(rigs, tree):
    rng = np.random.default_rng(3)
    rig = rigs.body if tree == "body" else rigs.hands[tree]
    chain = random_chain(rng, 3, len(rig.parents), 0.6)
    jacobian = rig.forward(chain.R_local, chain.trans_m).jacobian()
    h = 1e-6
    for d in range(rig.num_variables):
        step = np.zeros((3, rig.num_variables))
        step[:, d] = h
        ahead, behind = (
            rig.forward(c.R_local, c.trans_m).points_m
            for c in (chain.moved(step, np.eye(3)), chain.moved(-step, np.eye(3)))
        )
        np.testing.assert_allclose(jacobian[..., d], (ahead - behind) / (2 * h), atol=1e-8, err_msg=f"variable {d}")


@pytest.mark.parametrize("tree", ["body", "left", "right"])
def test_points_change_with_shape_as_the_shape_jacobian_says(rigs, tree):
    rng = np.random.default_rng(4)
    rig = rigs.body if tree == "body" else rigs.hands[tree]
    betas = rng.normal(size=rig.joints_shapedirs.shape[-1])
    chain = random_chain(rng, 2, len(rig.parents), 0.6)
    jacobian = rig.with_shape(betas).forward(chain.R_local, chain.trans_m).shape_jacobian()
    for b in range(len(betas)):
        step = np.eye(len(betas))[b]
        points = [rig.with_shape(betas + k * step).forward(chain.R_local, chain.trans_m).points_m for k in (1, -1)]
        # linear in the shape: a large difference is exact
        np.testing.assert_allclose(jacobian[..., b], (points[0] - points[1]) / 2, atol=1e-12)


def test_the_solvers_tree_is_the_body_model(rigs):
    rng = np.random.default_rng(5)
    model = load_body()
    betas, poses = rng.normal(size=10), np.zeros((1, 55, 3))
    poses[:, :22] = rng.normal(scale=0.4, size=(1, 22, 3))
    trans = rng.normal(size=(1, 3))
    posed = model.with_shape(betas).with_pose(poses, trans)
    ours = rigs.body.with_shape(betas).forward(axis_angle_to_matrix(poses[:, :22]), trans)
    np.testing.assert_allclose(ours.joints_m, posed.joints_m[:, :22], atol=1e-5)
    # wrists and knees are joints and proxies alike, but for what the networks mean by them
    joints, proxies = [21, 20, 5, 4], [4, 7, 10, 13]
    offset = (posed.R_world[:, joints] @ landmark_offsets_m()[proxies, :, None])[..., 0]
    np.testing.assert_allclose(ours.points_m[:, proxies], posed.joints_m[:, joints] + offset, atol=1e-5)


def test_offsets_of_landmarks_are_the_same_on_both_sides():
    offsets = landmark_offsets_m()
    left = [i for i, name in enumerate(PROXY_NAMES) if name.startswith("left_")]
    right = [PROXY_NAMES.index(PROXY_NAMES[i].replace("left_", "right_")) for i in left]
    np.testing.assert_array_equal(offsets[left] * [-1, 1, 1], offsets[right])
    assert 0.005 < np.abs(offsets).max() < 0.05


# -- energy ------------------------------------------------------------------------------------------------------------


@laws
@given(st.floats(0, 1e4), st.floats(0.5, 10))
def test_the_robust_weight_is_the_derivative_of_the_robust_cost(r2, c):
    h = 1e-4 * (1 + r2)
    ahead, behind = geman_mcclure(np.array(r2 + h), c)[0], geman_mcclure(np.array(r2 - h), c)[0]
    cost, weight = geman_mcclure(np.array(r2), c)
    np.testing.assert_allclose(weight, (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-9)
    assert 0 <= cost <= min(r2, c * c)


def half_the_slope(energy: Energy, chain: Chain, h: float = 1e-5) -> np.ndarray:
    """(T, D) half the derivative of the cost, by central differences: the convention is gradient = J^T W r."""
    T, D = len(chain.trans_m), energy.rig.num_variables
    out = np.zeros((T, D))
    for t in range(T):
        for d in range(D):
            step = np.zeros((T, D))
            step[t, d] = h
            costs = [energy.cost(chain.moved(k * step, energy.R_cam_world)) for k in (1, -1)]
            out[t, d] = (costs[0] - costs[1]) / (4 * h)
    return out


def check_gradient(energy: Energy, chain: Chain, rtol: float = 1e-5) -> None:
    cost, equations = energy.linearise(chain)
    assert cost == energy.cost(chain) > 0
    expected = half_the_slope(energy, chain)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(equations.gradient, expected, atol=rtol * np.abs(expected).max())


def only(energy: Energy, term: str) -> Energy:
    """The energy with all its terms but one silenced."""
    for name in ("_reprojection", "_directions", "_pose", "_anchor", "_smoothness", "_ground"):
        if name != term:
            setattr(energy, name, lambda *_: 0.0)
    return energy


def body_energy(rigs: SolverRigs, rng: np.random.Generator, T: int, **options) -> Energy:
    evidence = random_evidence(rng, T, NUM_BODY_POINTS, SEGMENTS)
    return Energy(rigs.body, evidence, body_weights(SolverSettings()), R_CAM, T_CAM, **options)


@pytest.mark.parametrize("term", ["_reprojection", "_directions", "_pose"])
def test_gradient_of_what_one_frame_says(rigs, term):
    rng = np.random.default_rng(6)
    check_gradient(only(body_energy(rigs, rng, 2), term), random_chain(rng, 2, 22, 0.5))


def test_gradient_beyond_the_joint_limits(rigs):
    rng = np.random.default_rng(7)
    check_gradient(only(body_energy(rigs, rng, 1), "_pose"), random_chain(rng, 1, 22, 1.2))


def test_gradient_of_the_floor_and_of_standing_feet(rigs):
    rng = np.random.default_rng(8)
    T = 3
    points = np.concatenate([CONTACT_INDEX, SOLE_INDEX])
    ground = Ground(points, rng.random((T, len(points))))
    energy = only(body_energy(rigs, rng, T, ground=ground), "_ground")
    chain = random_chain(rng, T, 22, 0.2, 0.02)
    chain = Chain(chain.R_local, chain.trans_m - [0, 0.3, 0])  # some soles above the floor, some below
    heights = rigs.body.forward(chain.R_local, chain.trans_m).points_m[:, points, 1]
    chain = Chain(chain.R_local, chain.trans_m - [0, float(np.median(heights)), 0])
    check_gradient(energy, chain)


def test_gradient_of_smoothness_is_exact_for_translation_and_near_for_small_turns(rigs):
    """The turn's chart is taken as the identity: right as long as neighbouring frames differ little."""
    rng = np.random.default_rng(9)
    T = 6
    energy = only(body_energy(rigs, rng, T), "_smoothness")
    chain = random_chain(rng, T, 22, 0.5, 0.01)
    expected = half_the_slope(energy, chain)
    _, equations = energy.linearise(chain)
    np.testing.assert_allclose(
        equations.gradient[:, :3], expected[:, :3], rtol=1e-5, atol=1e-6 * np.abs(expected[:, :3]).max()
    )
    error = np.linalg.norm(equations.gradient - expected) / np.linalg.norm(expected)
    assert error < 0.03


@pytest.mark.parametrize("side", ["left", "right"])
def test_gradient_of_the_tie_to_the_wrist(rigs, side):
    rng = np.random.default_rng(10)
    rig = rigs.hands[side]
    chain = random_chain(rng, 2, 16, 0.3, 0.05)
    evidence = random_evidence(rng, 2, 21, np.zeros((0, 2), int))
    tie = Chain(
        chain.R_local[:, :1] @ axis_angle_to_matrix(rng.normal(scale=0.02, size=(2, 1, 3))), chain.trans_m + 0.01
    )
    energy = only(Energy(rig, evidence, hand_weights(SolverSettings(), side, tie), R_CAM, T_CAM), "_anchor")
    check_gradient(energy, chain, rtol=0.02)


def test_smoothness_is_zero_for_uniform_motion_on_uneven_stamps(rigs):
    rng = np.random.default_rng(11)
    energy = only(body_energy(rigs, rng, 8), "_smoothness")
    stamps = energy.evidence.stamps_s
    axis = rng.normal(size=(22, 3))
    chain = Chain(axis_angle_to_matrix(0.8 * stamps[:, None, None] * axis), stamps[:, None] * [1.0, 0.2, -0.5])
    assert energy.cost(chain) < 1e-15
    assert energy.cost(random_chain(rng, 8, 22)) > 1


@pytest.mark.parametrize("speed_m_s", [0.05, 0.4, 2.0])
@pytest.mark.parametrize("term", ["_reprojection", "_directions", "_pose", "_smoothness", "_ground"])
def test_cost_is_that_of_the_motion_and_not_of_the_frame_rate(rigs, term, speed_m_s):
    """Two seconds of one motion with the same errors cost the same at 20 and at 60 frames a second."""
    rng = np.random.default_rng(15)
    pose, phase = rng.normal(scale=0.3, size=(22, 3)), rng.uniform(0, 6, (22, 3))
    one = random_evidence(rng, 1, NUM_BODY_POINTS, SEGMENTS)
    costs = []
    for fps in (20, 60):
        T = 2 * fps + 1
        t = np.arange(T) / fps
        chain = Chain(
            axis_angle_to_matrix(pose + 0.05 * np.sin(3 * t[:, None, None] + phase)),
            np.array([0.0, 1.0, 0.0]) + t[:, None] * [speed_m_s, 0.0, 0.02],
        )
        x = rigs.body.forward(chain.R_local, chain.trans_m).points_m[:, :NUM_BODY_POINTS] @ R_CAM.T + T_CAM
        evidence = Evidence(
            t,
            x[..., :2] / x[..., 2:] + 0.1 * one.xy,
            np.repeat(one.xy_weight, T, 0),
            SEGMENTS,
            np.repeat(one.direction_cam, T, 0),
            np.repeat(one.direction_weight, T, 0),
        )
        ground = Ground(CONTACT_INDEX, np.ones((T, 4)))
        energy = Energy(rigs.body, evidence, body_weights(SolverSettings()), R_CAM, T_CAM, ground)
        costs.append(only(energy, term).cost(chain))
    assert abs(costs[0] / costs[1] - 1) < 0.06


def test_masked_evidence_has_no_influence(rigs):
    rng = np.random.default_rng(12)
    energy = body_energy(rigs, rng, 3)
    e = energy.evidence
    lies = replace(
        e,
        xy=np.where(e.xy_weight[..., None] > 0, e.xy, 1e3),
        direction_cam=np.where(e.direction_weight[..., None] > 0, e.direction_cam, -1.0),
    )
    other = Energy(energy.rig, lies, energy.weights, R_CAM, T_CAM)
    chain = random_chain(rng, 3, 22)
    (cost, a), (cost_lies, b) = energy.linearise(chain), other.linearise(chain)
    assert cost == cost_lies
    np.testing.assert_array_equal(a.gradient, b.gradient)
    np.testing.assert_array_equal(a.diagonal, b.diagonal)


def test_minimise_never_raises_the_cost_and_keeps_frozen_frames(rigs):
    rng = np.random.default_rng(13)
    energy = body_energy(rigs, rng, 6, frozen=2)
    chain = random_chain(rng, 6, 22, 0.3, 0.05)
    solved, cost = minimise(energy, chain, 6)
    assert cost == energy.cost(solved) < energy.cost(chain)
    np.testing.assert_allclose(solved.R_local[:2], chain.R_local[:2], atol=1e-5)
    np.testing.assert_allclose(solved.trans_m[:2], chain.trans_m[:2], atol=1e-4)


# -- banded systems ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", range(1, 9))
@pytest.mark.parametrize("coupled", [True, False])
def test_banded_solution_equals_the_dense_one(T, coupled):
    rng = np.random.default_rng(T)
    D = 5
    eq = NormalEquations.zeros(T, D)
    eq.gradient[:] = rng.normal(size=(T, D))
    dense = np.zeros((T * D, T * D))

    def block(a: int, b: int) -> tuple[slice, slice]:
        return slice(a * D, (a + 1) * D), slice(b * D, (b + 1) * D)

    for t in range(T):
        M = rng.normal(size=(D, D))
        eq.diagonal[t] = M @ M.T + 20 * np.eye(D)
        dense[block(t, t)] = eq.diagonal[t]
        if coupled and t + 1 < T:
            eq.next1[t] = rng.normal(size=(D, D))
            dense[block(t + 1, t)], dense[block(t, t + 1)] = eq.next1[t], eq.next1[t].T
        if coupled and t + 2 < T:
            eq.next2[t] = rng.normal(size=D)
            dense[block(t + 2, t)] = dense[block(t, t + 2)] = np.diag(eq.next2[t])
    damping = 0.1
    dense += np.diag(damping * np.diag(dense) + 1e-9)
    expected = np.linalg.solve(dense, -eq.gradient.ravel()).reshape(T, D)
    found = eq.solve(damping)
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_system_without_a_minimum_has_no_step():
    eq = NormalEquations.zeros(4, 3)
    eq.diagonal[:] = np.diag([1.0, 1.0, -1.0])
    eq.next2[:] = 0.1
    eq.gradient[:] = 1
    assert eq.solve(0.0) is None


@laws
@given(seeds)
def test_equations_of_an_energy_are_those_of_its_quadratic_form(rigs, rng):
    """J^T W J of chained terms is symmetric and positive semidefinite, as a dense matrix."""
    T = 4
    ground = Ground(CONTACT_INDEX, rng.random((T, 4)))
    energy = body_energy(rigs, rng, T, ground=ground)
    _, eq = energy.linearise(random_chain(rng, T, 22, 0.3, 0.05))
    D = rigs.body.num_variables
    dense = np.zeros((T, D, T, D))
    for t in range(T):
        dense[t, :, t] = eq.diagonal[t]
        if t + 1 < T:
            dense[t + 1, :, t], dense[t, :, t + 1] = eq.next1[t], eq.next1[t].T
        if t + 2 < T:
            dense[t + 2, :, t] = dense[t, :, t + 2] = np.diag(eq.next2[t])
    dense = dense.reshape(T * D, T * D)
    np.testing.assert_allclose(dense, dense.T, rtol=1e-9, atol=1e-6 * np.abs(dense).max())
    values = np.linalg.eigvalsh(dense)
    assert values.min() > -1e-9 * values.max()


# -- windows -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 300), st.integers(1, 120), st.integers(0, 150))
def test_windows_cover_everything_in_order_and_freeze_only_what_is_settled(length, window, overlap):
    parts = windows(length, window, overlap)
    assert parts[0][0].start == 0
    assert parts[-1][0].stop == length
    settled = 0
    for part, frozen in parts:
        assert 0 < part.stop - part.start <= window
        assert frozen < part.stop - part.start
        assert part.start + frozen <= settled  # frozen frames were solved before; none is left out
        assert part.stop > settled
        settled = part.stop


# -- prior, shape ------------------------------------------------------------------------------------------------------


def test_limits_hold_the_usual_pose_and_mirror():
    prior = body_prior()
    inside = (prior.mean > prior.low) & (prior.mean < prior.high)
    assert inside.all()
    np.testing.assert_array_less(0, np.linalg.eigvalsh(prior.precision))
    left, right = hand_prior("left"), hand_prior("right")
    np.testing.assert_allclose(left.mean * [1, -1, -1], right.mean)
    np.testing.assert_array_less(0, np.linalg.eigvalsh(left.precision))


@pytest.mark.parametrize("height_m", [1.55, 1.9])
def test_shape_keeps_the_stature_asked_for(rigs, height_m):
    rng = np.random.default_rng(14)
    model = load_body()
    mean = stature(model.v_template.astype(float), model.shapedirs.astype(float))
    truth = random_chain(rng, 12, 22, 0.2, 0.2)
    turned = Chain(truth.R_local.copy(), truth.trans_m @ R_CAM.T + T_CAM)
    turned.R_local[:, 0] = np.diag([1.0, -1, -1]) @ truth.R_local[:, 0]
    x = rigs.body.forward(turned.R_local, turned.trans_m).points_m[:, :NUM_BODY_POINTS]
    xy = x[..., :2] / x[..., 2:]
    evidence = Evidence(
        np.arange(12) / 30, xy, np.full(xy.shape[:2], 200.0), SEGMENTS, np.zeros((12, 5, 3)), np.zeros((12, 5))
    )
    betas = solve_shape(rigs.body, evidence, body_weights(SolverSettings()), turned, height_m, mean)
    assert abs(mean[0] + mean[1] @ betas - height_m) < 0.01
