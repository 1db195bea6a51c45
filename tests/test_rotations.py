"""Rotations: group laws, round trips, derivatives by finite differences, numpy against torch."""

import numpy as np
import pytest
from hmcap.models.rotations import (
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    right_jacobian,
    same_side,
    skew,
    unwrap_axis_angle,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

component = st.floats(-4.0, 4.0, allow_nan=False, width=64)
vectors = st.tuples(component, component, component).map(np.array)
small = st.floats(-1e-5, 1e-5, allow_nan=False, width=64)
tiny_vectors = st.tuples(small, small, small).map(np.array)
any_vectors = st.one_of(vectors, tiny_vectors, st.just(np.zeros(3)))
laws = settings(max_examples=100, deadline=None, derandomize=True)


@laws
@given(any_vectors)
def test_matrices_are_rotations_and_match_scipy(v):
    R = axis_angle_to_matrix(v)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert abs(np.linalg.det(R) - 1) < 1e-12
    np.testing.assert_allclose(R, Rotation.from_rotvec(v).as_matrix(), atol=1e-11)


@laws
@given(any_vectors)
def test_inverse_is_the_negative_vector(v):
    np.testing.assert_allclose(axis_angle_to_matrix(v) @ axis_angle_to_matrix(-v), np.eye(3), atol=1e-12)


@laws
@given(any_vectors, any_vectors, any_vectors)
def test_products_stay_rotations_and_associate(a, b, c):
    A, B, C = (axis_angle_to_matrix(x) for x in (a, b, c))
    np.testing.assert_allclose((A @ B) @ C, A @ (B @ C), atol=1e-12)
    np.testing.assert_allclose(axis_angle_to_matrix(matrix_to_axis_angle(A @ B)), A @ B, atol=1e-9)


@laws
@given(any_vectors, st.floats(-2, 2), st.floats(-2, 2))
def test_turns_about_one_axis_add(v, s, t):
    both = axis_angle_to_matrix(s * v) @ axis_angle_to_matrix(t * v)
    np.testing.assert_allclose(both, axis_angle_to_matrix((s + t) * v), atol=1e-9)


@laws
@given(any_vectors)
def test_axis_is_left_alone(v):
    np.testing.assert_allclose(axis_angle_to_matrix(v) @ v, v, atol=1e-11)


@laws
@given(any_vectors)
def test_round_trip_through_the_matrix(v):
    back = matrix_to_axis_angle(axis_angle_to_matrix(v))
    assert np.linalg.norm(back) <= np.pi + 1e-9
    np.testing.assert_allclose(axis_angle_to_matrix(back), axis_angle_to_matrix(v), atol=1e-9)


@laws
@given(any_vectors, any_vectors)
def test_quaternions_are_unit_wxyz_and_turn_points_alike(v, x):
    q = axis_angle_to_quaternion(v)
    assert abs(np.linalg.norm(q) - 1) < 1e-12
    w, u = q[0], q[1:]
    turned = x + 2 * w * np.cross(u, x) + 2 * np.cross(u, np.cross(u, x))
    np.testing.assert_allclose(turned, axis_angle_to_matrix(v) @ x, atol=1e-9)
    p = matrix_to_quaternion(axis_angle_to_matrix(v))
    assert min(np.abs(p - q).max(), np.abs(p + q).max()) < 1e-7


def test_identity():
    np.testing.assert_array_equal(axis_angle_to_matrix(np.zeros(3)), np.eye(3))
    np.testing.assert_array_equal(axis_angle_to_quaternion(np.zeros(3)), [1, 0, 0, 0])


@laws
@given(vectors, vectors)
def test_skew_is_the_cross_product(a, b):
    np.testing.assert_allclose(skew(a) @ b, np.cross(a, b), atol=1e-12)


@laws
@given(any_vectors, vectors)
def test_right_jacobian_is_the_finite_difference(v, d):
    d = d * 1e-6
    step = axis_angle_to_matrix(v).T @ (axis_angle_to_matrix(v + d) - axis_angle_to_matrix(v - d)) / 2
    expected = np.array([step[2, 1] - step[1, 2], step[0, 2] - step[2, 0], step[1, 0] - step[0, 1]]) / 2
    np.testing.assert_allclose(right_jacobian(v) @ d, expected, atol=2e-13, rtol=1e-5)


@pytest.mark.parametrize("angle", [1e-9, 9.9e-5, 1.01e-4, 9.99e-4, 1.001e-3])
def test_series_and_closed_form_meet(angle):
    v = angle * np.array([1, -2, 2]) / 3
    np.testing.assert_allclose(axis_angle_to_matrix(v), Rotation.from_rotvec(v).as_matrix(), atol=1e-15, rtol=1e-12)
    J = np.eye(3) - skew(v) / 2 + skew(v) @ skew(v) / 6 - skew(v) @ skew(v) @ skew(v) / 24
    np.testing.assert_allclose(right_jacobian(v), J, atol=1e-9)


def test_leading_dimensions_are_batch():
    v = np.random.default_rng(0).normal(size=(2, 5, 3))
    for f in (axis_angle_to_matrix, axis_angle_to_quaternion, right_jacobian, skew):
        np.testing.assert_allclose(f(v)[1, 3], f(v[1, 3]), atol=1e-15)
    R = axis_angle_to_matrix(v)
    for f in (matrix_to_axis_angle, matrix_to_quaternion):
        np.testing.assert_allclose(f(R)[1, 3], f(R[1, 3]), atol=1e-15)


def test_unwrap_keeps_rotations_and_removes_jumps():
    t = np.linspace(0, 4 * np.pi, 200)
    axis = np.array([0.6, 0.0, 0.8])
    wrapped = matrix_to_axis_angle(axis_angle_to_matrix(t[:, None] * axis))
    assert np.abs(np.diff(wrapped, axis=0)).max() > 1  # the input does jump
    smooth = unwrap_axis_angle(wrapped)
    np.testing.assert_allclose(axis_angle_to_matrix(smooth), axis_angle_to_matrix(wrapped), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(np.diff(smooth, axis=0), axis=1), t[1], atol=1e-6)


def test_quaternions_on_the_same_side_are_the_same_rotations():
    track = Rotation.random(200, random_state=1).as_quat().reshape(50, 4, 4)
    out = same_side(track)
    assert ((track[1:] * track[:-1]).sum(axis=-1) < 0).any()  # The input does jump.
    assert ((out[1:] * out[:-1]).sum(axis=-1) >= 0).all()
    assert np.array_equal(np.abs(out), np.abs(track))
    assert np.abs(np.abs((out * track).sum(axis=-1)) - 1).max() < 1e-12


def test_torch_equals_numpy():
    torch = pytest.importorskip("torch")
    v = np.concatenate([np.random.default_rng(1).normal(size=(50, 3)), np.zeros((1, 3)), np.full((1, 3), 1e-6)])
    for f in (axis_angle_to_matrix, skew):
        np.testing.assert_allclose(f(torch.as_tensor(v)).numpy(), f(v), atol=1e-15)


def test_torch_gradient_is_finite_and_right_at_zero():
    torch = pytest.importorskip("torch")
    for v in (torch.zeros(3, dtype=torch.float64), torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)):
        J = torch.autograd.functional.jacobian(axis_angle_to_matrix, v).numpy()
        assert np.isfinite(J).all()
        R = axis_angle_to_matrix(v.numpy())
        columns = np.moveaxis(J, -1, 0)
        for k in range(3):
            np.testing.assert_allclose(columns[k], R @ skew(right_jacobian(v.numpy())[:, k]), atol=1e-9)
