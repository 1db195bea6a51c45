"""Rotations smoothed as they come: what rests is quiet, what turns fast does not lag."""

import numpy as np
from hmcap.models.streaming.live_smoothing import LiveRotations
from hmcap.models.streaming.records import RATE_HZ
from hmcap.models.streaming.world_settings import WorldSettings
from scipy.spatial.transform import Rotation


def run(vectors: np.ndarray, **settings: float) -> np.ndarray:
    """(T, J, 3) rotation vectors through the filter."""
    smooth = LiveRotations(WorldSettings(**settings))
    return np.stack(
        [Rotation.from_matrix(smooth.push(Rotation.from_rotvec(v).as_matrix())).as_rotvec() for v in vectors]
    )


def test_trembling_is_quieted() -> None:
    noise = np.random.default_rng(0).normal(size=(200, 4, 3)) * 0.02
    out = run(noise + np.array([0.3, 0.0, 0.2]))
    jerk = [np.abs(np.diff(x, 3, axis=0)).mean() for x in (noise, out)]
    assert jerk[1] < 0.4 * jerk[0]
    assert np.abs(out[50:].mean(0) - [0.3, 0.0, 0.2]).max() < 0.02


def test_a_fast_turn_lags_by_less_than_a_frame() -> None:
    angle = 6.0 * np.arange(15) / RATE_HZ  # a wave of the arm, rad/s
    out = run(np.stack([angle, 0 * angle, 0 * angle], axis=-1)[:, None])
    lag_s = (angle - out[:, 0, 0])[6:] / 6.0
    assert np.all(lag_s >= 0)
    assert lag_s.max() < 1 / RATE_HZ


def test_the_first_frame_is_as_it_is_and_an_open_filter_changes_nothing() -> None:
    turns = np.random.default_rng(1).normal(size=(5, 3, 3)) * 0.5
    assert np.allclose(run(turns)[0], turns[0])
    assert np.allclose(run(turns, live_cutoff_hz=1e9), turns, atol=1e-6)
