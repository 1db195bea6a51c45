"""The error measures: hand-worked cases and invariances."""

import numpy as np
import pytest
from hmcap.tools.evaluation.metrics import acceleration_error, jitter, mpjpe_mm, pa_mpjpe_mm, procrustes
from scipy.spatial.transform import Rotation


@pytest.fixture
def joints_m():
    return np.random.default_rng(0).normal(scale=0.4, size=(5, 12, 3))


def test_one_joint_three_four_five(joints_m):
    moved = joints_m.copy()
    moved[:, 3] += [0.03, 0.04, 0.0]
    np.testing.assert_allclose(mpjpe_mm(moved, joints_m), 50 / 12)


def test_root_alignment_takes_out_a_shift_and_nothing_else(joints_m):
    np.testing.assert_allclose(mpjpe_mm(joints_m + np.array([1.0, 2.0, 3.0]), joints_m, (0, 1)), 0, atol=1e-9)
    assert (mpjpe_mm(joints_m * 1.1, joints_m, (0, 1)) > 10).all()


def test_procrustes_takes_out_every_similarity(joints_m):
    R = Rotation.random(5, rng=np.random.default_rng(1)).as_matrix()
    seen = 1.7 * np.einsum("tij,tmj->tmi", R, joints_m) + [0.3, -2.0, 5.0]
    np.testing.assert_allclose(procrustes(seen, joints_m), joints_m, atol=1e-12)
    assert pa_mpjpe_mm(seen, joints_m).max() < 1e-8


def test_procrustes_never_mirrors(joints_m):
    assert (pa_mpjpe_mm(joints_m * [-1, 1, 1], joints_m) > 50).all()


def test_procrustes_is_never_worse_than_root_alignment(joints_m):
    seen = joints_m + np.random.default_rng(2).normal(scale=0.05, size=joints_m.shape)
    # both are compared by their squares, which is what the alignment minimises
    aligned = ((procrustes(seen, joints_m) - joints_m) ** 2).sum((1, 2))
    shifted = seen - seen.mean(1, keepdims=True) + joints_m.mean(1, keepdims=True)
    assert (aligned <= ((shifted - joints_m) ** 2).sum((1, 2)) + 1e-12).all()


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_derivatives_are_per_second_whatever_the_rate(fps):
    t = np.arange(0, 2, 1 / fps)
    still = np.zeros((len(t), 2, 3))
    falling, jerking = still.copy(), still.copy()
    falling[..., 1] = (9.81 / 2 * t**2)[:, None]
    jerking[..., 0] = (60 / 6 * t**3)[:, None]
    assert acceleration_error(falling, still, fps) == pytest.approx(9.81)
    assert jitter(falling, fps) == pytest.approx(0, abs=1e-6)
    assert jitter(jerking, fps) == pytest.approx(6.0)
