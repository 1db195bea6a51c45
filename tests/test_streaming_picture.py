"""The place in the picture, and feet that move in it, against simulated takes whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from fusion_takes import PERSON, Errors, World, feet_of, made_walk, see
from hmcap.models.observed import Observed
from hmcap.models.proxies import BODY_NAMES
from hmcap.models.streaming.picture import LiveStillFeet, place_in_picture, still_feet
from hmcap.models.streaming.records import Estimate
from hmcap.tools.motions.contact import contact_labels


def in_camera(world: World) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations with the root in the camera, and the pelvis in the camera."""
    R = world.R_local.copy()
    R[:, 0] = world.R_cam_world @ R[:, 0]
    return R, world.pelvis_m @ world.R_cam_world.T + world.t_cam_world_m


def estimate_at(world: World, root_cam_m: np.ndarray) -> Estimate:
    """An estimate with that pelvis, 0.3 m unsure of its place."""
    estimate, _ = see(world, Errors())
    return replace(estimate, root_cam_m=root_cam_m, root_sigma_m=np.full((len(root_cam_m), 2), 0.3))


def test_a_place_beside_the_picture_is_put_right_and_the_depth_kept() -> None:
    world = made_walk(30)
    _, observed = see(world, Errors())
    R, root = in_camera(world)
    placed = place_in_picture(estimate_at(world, root + np.array([0.15, -0.1, 0.0])), PERSON, R, observed)
    assert np.abs(placed.root_cam_m - root).max() < 0.01
    assert np.array_equal(placed.root_cam_m[:, 2], root[:, 2])


def test_the_better_a_body_is_seen_the_less_error_is_left() -> None:
    world = made_walk(3)
    _, observed = see(world, Errors())
    R, root = in_camera(world)
    observed.confidence[1, :] *= 0.2
    observed.confidence[2, :] = 0.0
    estimate = estimate_at(world, root)
    left = place_in_picture(estimate, PERSON, R, observed).root_sigma_m
    assert left[0, 0] < left[1, 0] < 0.1
    assert left[2, 0] == pytest.approx(0.3), "nothing is seen, nothing is learned"
    assert np.array_equal(left[:, 1], estimate.root_sigma_m[:, 1])


def test_a_limb_seen_elsewhere_hardly_moves_the_body() -> None:
    world = made_walk(30)
    _, observed = see(world, Errors())
    R, root = in_camera(world)
    arm = [BODY_NAMES.index(f"left_{n}") for n in ("elbow", "wrist")]
    observed.xy[:, arm] += 0.2
    assert np.abs(place_in_picture(estimate_at(world, root), PERSON, R, observed).root_cam_m - root).max() < 0.02


def test_who_is_not_seen_stays_where_the_networks_say() -> None:
    world = made_walk(5)
    _, observed = see(world, Errors())
    R, root = in_camera(world)
    nothing = observed.map(np.zeros_like)
    assert np.array_equal(place_in_picture(estimate_at(world, root + 0.3), PERSON, R, nothing).root_cam_m, root + 0.3)


@pytest.mark.parametrize("live", [False, True])
def test_feet_that_swing_do_not_stand_and_feet_that_stand_do(live: bool) -> None:
    world = made_walk(90, heading_deg=90.0)
    _, observed = see(world, Errors(pixel=0.001))
    depth = in_camera(world)[1][:, 2]
    if live:
        running = LiveStillFeet()
        rows = [observed.map(lambda a, i=i: a[i : i + 1]) for i in range(90)]
        still = np.concatenate([running.push(o, depth[i : i + 1]) for i, o in enumerate(rows)])
    else:
        still = still_feet(observed, depth)
    feet = feet_of(world.R_local, world.pelvis_m)
    speed = np.linalg.norm(np.gradient(feet, axis=0), axis=-1) * 30
    stands = contact_labels(feet, 30.0)
    inside = np.zeros_like(stands)  # away from the ends of a stance, where a smoothed speed mixes both
    inside[6:-6] = np.all([stands[6 + k : 84 + k] for k in range(-6, 7)], axis=0)
    assert inside.sum() > 40
    assert still[inside].min() > 0.8
    assert np.median(still[speed > 1.5]) < 0.1


def test_a_foot_that_comes_into_view_is_not_taken_for_one_that_moves() -> None:
    world = made_walk(40)
    _, observed = see(world, Errors())
    feet = [BODY_NAMES.index(n) for n in ("left_heel", "left_big_toe", "right_heel", "right_big_toe")]
    hidden = observed.confidence.copy()
    hidden[:20, feet] = 0
    xy = observed.xy.copy()
    xy[:20, feet] = 0
    seen = Observed(xy, hidden, observed.body_xyz_m, observed.body_xyz_known, observed.hands_xyz_m,
                    observed.hands_xyz_known)  # fmt: skip
    depth = in_camera(world)[1][:, 2]
    assert np.all(still_feet(seen, depth)[:20] == 1)
    running = LiveStillFeet()
    still = [running.push(seen.map(lambda a, i=i: a[i : i + 1]), depth[i : i + 1])[0] for i in range(23)]
    assert np.all(np.stack(still)[:21] == 1)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 8, 15, 16])
def test_who_does_not_move_rests_in_takes_of_any_length(frames: int) -> None:
    _, observed = see(made_walk(1), Errors())
    still = observed.map(lambda a: np.repeat(a, frames, axis=0))
    assert np.all(still_feet(still, np.full(frames, 4.0)) == 1)


def test_short_stances_rest() -> None:
    """A runner's foot stands for seven frames and flies at 5 m/s for eight."""
    _, observed = see(made_walk(1), Errors())
    run = observed.map(lambda a: np.repeat(a, 60, axis=0))
    speed = np.tile(np.repeat([0.0, 5.0], [7, 8]), 4)
    run.xy[:, [BODY_NAMES.index(n) for n in ("left_heel", "left_big_toe")], 0] += np.cumsum(speed)[:, None] / 30 / 4
    still = still_feet(run, np.full(60, 4.0))[:, 0]
    stands = np.flatnonzero(speed == 0)
    assert np.median(still[stands]) > 0.7
    assert still[speed > 0].mean() < 0.4
    assert still[[10, 11, 25, 26]].max() < 0.05


def test_live_rests_at_the_noise_of_the_landmarks() -> None:
    _, one = see(made_walk(1), Errors())
    still = one.map(lambda a: np.repeat(a, 120, axis=0))
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.normal(size=(120, 67, 2)), axis=0)
    still.xy[:] += 0.003 * (noise - noise.mean(0)) / noise.std(0)  # as slow as landmarks wander
    running = LiveStillFeet()
    out = [running.push(still.map(lambda a, i=i: a[i : i + 1]), np.array([4.5]))[0] for i in range(120)]
    assert np.mean(np.stack(out) > 0.5) > 0.9
