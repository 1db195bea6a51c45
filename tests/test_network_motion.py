"""Takes and live frames through a motion graph: every frame comes out, at any rate, from files and the command."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import fusion_takes
import numpy as np
import pytest
from hmcap.engines import open_engine
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.motion import MotionFrame
from hmcap.models.observed import FIELDS, Observed, observe
from hmcap.models.proxies import Proxies
from hmcap.models.sightings import CONFIRM_S
from hmcap.models.solver.settings import SolverSettings
from hmcap.models.solver.shape import stature
from hmcap.models.streaming.graph_info import read_graph_info
from hmcap.models.streaming.live import LiveMotion
from hmcap.models.streaming.live import _near as near
from hmcap.models.streaming.live_clock import LiveClock, ticks_in
from hmcap.models.streaming.other_body import for_body
from hmcap.models.streaming.records import OUTPUTS, RATE_HZ
from hmcap.models.streaming.resample import observed_at_ticks
from hmcap.models.streaming.stream import MotionNetwork
from hmcap.models.streaming.take import cuts_in, estimate_take, motion_of_take
from hmcap.models.streaming.timeline import timeline
from hmcap.realtime import motion as realtime_motion
from hmcap.realtime.cli import main
from hmcap.realtime.motion import NetworkMotion, open_networks
from hmcap.realtime.options import CaptureOptions, options_from_settings
from motion_graphs import INFO, seen_at_random, small_graph, write_small_graph
from solver_takes import CAMERA, absent, see, walk


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return write_small_graph(tmp_path_factory.mktemp("graph") / "motion.onnx")


@pytest.fixture(scope="module")
def engine(graph):
    return open_engine(graph, backend="onnxruntime")


def walked(rate, seconds=1.0):
    return see(walk(np.arange(round(rate * seconds)) / rate))


def check_complete(frames: list[MotionFrame], proxies: list[Proxies]) -> None:
    assert [(f.index, f.stamp_s) for f in frames] == [(p.index, p.stamp_s) for p in proxies]
    assert [f.present for f in frames] == [p.present for p in proxies]
    for f in frames:
        assert f.poses.shape == (55, 3)
        assert all(np.isfinite(a).all() for a in (f.poses, f.trans_m, f.T_cam_world, f.betas, f.contact, f.confidence))
        assert np.isfinite(f.reprojection_error) == f.present
        assert f.present or not (f.contact.any() or f.confidence.any() or f.measured.any())
        np.testing.assert_allclose(f.T_cam_world[:3, :3] @ f.T_cam_world[:3, :3].T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("rate", [5.0, 24.0, 30.0, 60.0])
@pytest.mark.parametrize("ahead", [0, 8])
def test_every_frame_of_a_take_has_its_motion(engine, rate, ahead):
    proxies = walked(rate)
    for i in (0, len(proxies) // 2):
        proxies[i] = absent(proxies[i])
    shares = []
    frames = motion_of_take(proxies, CAMERA, MotionNetwork(engine, INFO, ahead), progress=shares.append)
    check_complete(frames, proxies)
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_takes_of_a_few_frames(engine, count):
    proxies = walked(25.0)[:count]
    check_complete(motion_of_take(proxies, CAMERA, MotionNetwork(engine, INFO, 8)), proxies)


def test_a_take_with_nobody_is_an_error(engine):
    network = MotionNetwork(engine, INFO, 0)
    for proxies in ([], [absent(p) for p in walked(30.0)[:9]]):
        with pytest.raises(HmcapError, match=f"found none in {len(proxies)} frames"):
            motion_of_take(proxies, CAMERA, network)


class Oracle:
    """An engine that says the truth of one frame after the other, whatever it is shown."""

    def __init__(self, estimate, ahead):
        model = small_graph(INFO)
        self.inputs, self.outputs = (
            tuple(
                SimpleNamespace(name=v.name, shape=tuple(d.dim_value or -1 for d in v.type.tensor_type.shape.dim))
                for v in values
            )
            for values in (model.graph.input, model.graph.output)
        )
        self.estimate, self.next = estimate, -ahead

    def __call__(self, feeds):
        rows = np.clip(np.arange(self.next, self.next + feeds["xy"].shape[1]), 0, self.estimate.frames - 1)
        self.next += len(rows)
        out = {name: getattr(self.estimate, name)[rows][None] for name in OUTPUTS}
        return out | {f"next_cache_{name}": feeds[f"cache_{name}"] for name in INFO.caches}


@pytest.mark.parametrize("rate", [15.0, 24.0, 25.0, 30.0, 60.0])
def test_what_the_networks_say_comes_out_at_the_sources_stamps(rate):
    seconds = 3.0
    truth = walk(np.arange(round(rate * seconds)) / rate)
    estimate, _ = fusion_takes.see(fusion_takes.made_walk(round(RATE_HZ * seconds) + 1), fusion_takes.Errors())
    proxies = see(truth)
    frames = motion_of_take(proxies, CAMERA, MotionNetwork(Oracle(estimate, 8), INFO, 8))
    check_complete(frames, proxies)
    joints = posed_joints_m(frames)
    off = np.linalg.norm(joints - joints[:, :1] - (truth.joints_m - truth.joints_m[:, :1])[:, :22], axis=-1)[2:-2]
    # the world's yaw is the camera's, which the walk's is too
    assert off.mean() < 0.02
    moved, true = (x[:, 0] - x[0, 0] for x in (joints, truth.joints_m))
    assert np.abs(moved - true).max() < 0.04
    jerk, true_jerk = (np.abs(np.diff(x, 3, axis=0)).mean() * rate**3 for x in (joints, truth.joints_m[:, :22]))
    assert jerk < 1.5 * true_jerk


def test_live_says_the_same_with_less_to_go_by():
    truth = walk(np.arange(90) / RATE_HZ)
    estimate, _ = fusion_takes.see(fusion_takes.made_walk(90), fusion_takes.Errors())
    stage = LiveMotion(CAMERA, MotionNetwork(Oracle(estimate, 0), INFO, 0))
    joints = posed_joints_m([stage.push(p) for p in see(truth)])
    off = np.linalg.norm(joints - joints[:, :1] - (truth.joints_m - truth.joints_m[:, :1])[:, :22], axis=-1)
    assert off.mean() < 0.03


def posed_joints_m(frames):
    """(T, 22, 3) joints in the world."""
    body = load_body().with_shape(np.stack([f.betas for f in frames]))
    return body.with_pose(np.stack([f.poses for f in frames]), np.stack([f.trans_m for f in frames])).joints_m[:, :22]


def test_a_cut_is_no_movement():
    world = fusion_takes.made_walk(60)
    estimate, _ = fusion_takes.see(world, fusion_takes.Errors())
    aside = np.arange(60) >= 30
    estimate = replace(estimate, root_cam_m=estimate.root_cam_m + np.float32([1.2, 0, 0]) * aside[:, None])
    proxies = [
        replace(p, xy_px=p.xy_px + np.float32([300, 0])) if i >= 30 else p
        for i, p in enumerate(see(walk(np.arange(60) / RATE_HZ)))
    ]
    assert cuts_in(proxies, CAMERA) == [30]
    true = np.linalg.norm(np.diff(world.pelvis_m, axis=0), axis=-1)
    file = motion_of_take(proxies, CAMERA, MotionNetwork(Oracle(estimate, 0), INFO, 0))
    stage = LiveMotion(CAMERA, MotionNetwork(Oracle(estimate, 0), INFO, 0))
    check_complete(file, proxies)
    check_one_leap(file, true, 29)
    # live, a body that leaps is one only after it has lasted
    live = [stage.push(p) for p in proxies]
    wait = round(CONFIRM_S * RATE_HZ) - 1
    assert [i for i, f in enumerate(live) if not f.present] == list(range(30, 30 + wait))
    check_one_leap(
        [f for i, f in enumerate(live) if not 30 <= i < 30 + wait], np.delete(true, range(29, 29 + wait)), 29
    )


def check_one_leap(frames, true, at):
    step = np.linalg.norm(np.diff([f.trans_m for f in frames], axis=0), axis=-1)
    assert step[at] > 0.8
    assert np.abs(np.delete(step, at) - np.delete(true, at)).max() < 0.04


def test_what_the_network_saw_before_does_not_matter(engine):
    proxies, network = walked(30.0), MotionNetwork(engine, INFO, 3)
    first = motion_of_take(proxies, CAMERA, network)
    network.push(seen_at_random(11))
    again = motion_of_take(proxies, CAMERA, network)
    assert all(np.array_equal(a.poses, b.poses) for a, b in zip(first, again, strict=True))


def test_a_known_height_is_the_height_of_the_body(engine):
    model = load_body()
    mean, slope = stature(np.asarray(model.v_template, float), np.asarray(model.shapedirs, float))
    proxies = walked(30.0)
    for h in (1.5, 1.9):
        settings = SolverSettings(height_m=h)
        solve = NetworkMotion(engine, INFO).solve
        frames = solve(proxies, CAMERA, settings=settings, model=model, progress=None)
        assert mean + slope @ frames[-1].betas == pytest.approx(h, abs=1e-5)
        stage = NetworkMotion(engine, INFO).live(CAMERA, settings, model)
        newest = [stage.push(p) for p in proxies][-1]
        assert mean + slope @ newest.betas == pytest.approx(h, abs=1e-5)


def test_cuts_are_found_across_blocks(monkeypatch):
    proxies = walked(30.0, 2.0)
    moved = [replace(p, xy_px=p.xy_px + np.float32([500, 0])) if i >= 33 else p for i, p in enumerate(proxies)]
    assert cuts_in(proxies, CAMERA) == []
    assert cuts_in(moved, CAMERA) == [33]
    for block in (33, 34, 20):
        monkeypatch.setattr("hmcap.models.streaming.take._BLOCK", block)
        assert cuts_in(moved, CAMERA) == [33]


def test_each_part_of_a_line_is_a_take_of_its_own(engine):
    network = MotionNetwork(engine, INFO, 3)
    stamps = np.arange(40) / RATE_HZ
    observed, line = seen_at_random(40), timeline(stamps, cuts=[25])
    whole = estimate_take(lambda rows: observed.map(lambda a: a[rows]), line, network, lambda _: None)
    part = observed.map(lambda a: a[25:])
    after = timeline(stamps[25:])
    alone = estimate_take(lambda rows: part.map(lambda a: a[rows]), after, network, lambda _: None)
    np.testing.assert_allclose(whole.R_local[25:], alone.R_local, atol=1e-6)


# -- live --------------------------------------------------------------------------------------------------------------


def ticks_of(clock: LiveClock, observed: Observed, stamps):
    out = [clock.push(observed.map(lambda a, i=i: a[i : i + 1]), s) for i, s in enumerate(stamps)]
    return [ticks for ticks, _ in out], [anew for _, anew in out]


@pytest.mark.parametrize("rate", [30.0, 15.0, 10.0, 5.0])
def test_live_ticks_are_those_of_a_file_where_the_rates_are_multiples(rate):
    stamps = 7 + np.arange(12) / rate
    observed = seen_at_random(12)
    ticks, _ = ticks_of(LiveClock(), observed, stamps)
    line = timeline(stamps)
    whole = observed_at_ticks(observed, line)
    per_frame = round(RATE_HZ / rate)
    assert [len(t.xy) for t in ticks] == [1] + [per_frame] * 11
    for name in FIELDS:
        live = np.concatenate([getattr(t, name) for t in ticks])
        np.testing.assert_allclose(live, getattr(whole, name), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rate", [7.0, 13.0, 20.0, 24.0, 25.0, 36.0, 48.0, 50.0, 60.0, 120.0])
def test_live_ticks_keep_near_the_networks_rate_and_fall_on_frames(rate):
    stamps = np.arange(round(4 * rate)) / rate
    observed = seen_at_random(len(stamps))
    ticks, anew = ticks_of(LiveClock(), observed, stamps)
    assert anew == [True] + [False] * (len(stamps) - 1)
    per_second = sum(len(t.xy) for t in ticks) / 4
    assert RATE_HZ / np.sqrt(2) - 1 < per_second < RATE_HZ * 4 / 3 + 1
    if rate <= 40:
        for i, t in enumerate(ticks):
            np.testing.assert_allclose(t.xy[-1], observed.xy[i], atol=1e-6)


def test_ticks_in_a_time_are_nearest_in_ratio():
    times = np.linspace(0.76, 12, 400)
    for t in times:
        off = np.abs(np.log(t / np.arange(1, 20)))
        assert ticks_in(t) == 1 + int(off.argmin())


def test_a_stall_begins_anew_and_a_gap_is_masked():
    observed = seen_at_random(4)
    ticks, anew = ticks_of(LiveClock(), observed, [0.0, 1 / 30, 1 / 30 + 0.5, 60.0])
    assert anew == [True, False, False, True]
    assert [len(t.xy) for t in ticks] == [1, 1, 15, 1]
    assert not ticks[2].confidence[:-1].any()
    np.testing.assert_array_equal(ticks[2].xy[-1], observed.xy[2])


@pytest.mark.parametrize(
    "stamps", [[5.0, 5.0, 5.0, 5.0], [5.0, 4.0, 3.0, 2.0], [5.0, float("nan"), 5.1, 5.2], [float("nan")] * 4]
)
def test_stamps_that_do_not_go_on_pass_for_the_usual_step(stamps):
    ticks, anew = ticks_of(LiveClock(), seen_at_random(4), stamps)
    assert anew == [True, False, False, False]
    assert all(1 <= len(t.xy) <= 5 for t in ticks)


@pytest.mark.parametrize("rate", [12.0, 24.0, 30.0, 60.0])
def test_live_gives_each_frame_its_motion_at_once(engine, rate):
    proxies = walked(rate)
    proxies[0] = absent(proxies[0])
    stage = LiveMotion(CAMERA, MotionNetwork(engine, INFO, 0))
    frames = [stage.push(p) for p in proxies]
    assert [(f.index, f.stamp_s) for f in frames] == [(p.index, p.stamp_s) for p in proxies]
    assert [f.present for f in frames[4:]] == [True] * (len(frames) - 4)
    assert not frames[0].present
    few = LiveMotion(CAMERA, MotionNetwork(engine, INFO, 0))
    for a, b in zip(frames, (few.push(p) for p in proxies[:7]), strict=False):
        np.testing.assert_array_equal(a.poses, b.poses)  # what comes later changes nothing


@pytest.mark.parametrize("rate", [12.0, 30.0, 60.0])
@pytest.mark.parametrize("ahead", [0, 3])
def test_frames_that_piled_up_get_the_motion_that_they_get_one_by_one(engine, rate, ahead):
    proxies = walked(rate)
    proxies[7] = absent(proxies[7])
    late = [replace(p, stamp_s=p.stamp_s + (30.0 if i >= 23 else 0.0)) for i, p in enumerate(proxies)]  # begins anew
    late[11:] = [replace(p, xy_px=p.xy_px + np.float32(900.0)) for p in late[11:]]  # and is suddenly elsewhere
    one, many = (LiveMotion(CAMERA, MotionNetwork(engine, INFO, ahead)) for _ in range(2))
    singly = [one.push(p) for p in late]
    sizes, together = [1, 3, 2, 5, 4] * len(late), []
    while len(together) < len(late):
        together += many.push_all(late[len(together) : len(together) + sizes.pop()])
    assert many.push_all([]) == []
    assert [(f.index, f.stamp_s, f.present) for f in together] == [(f.index, f.stamp_s, f.present) for f in singly]
    for name in ("poses", "trans_m", "contact", "T_cam_world"):
        a, b = (np.array([getattr(f, name) for f in frames]) for frames in (together, singly))
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_frames_are_near_only_where_no_point_has_gone_far():
    """Then no cut is looked for; in doubt it is."""
    one = walked(30.0)[4]
    extent = np.ptp(one.xy_px[:25][one.confidence[:25] > 0], axis=0).max()
    assert near(one, replace(one, xy_px=one.xy_px + np.float32(0.05 * extent)))
    assert not near(one, replace(one, xy_px=one.xy_px + np.float32(0.2 * extent)))
    one_far = one.xy_px.copy()
    one_far[np.flatnonzero(one.confidence[:25] > 0)[0]] += extent
    assert not near(one, replace(one, xy_px=one_far))
    assert not near(one, replace(one, image_size_px=(640, 360)))
    few = np.where(np.arange(len(one.confidence)) < 5, one.confidence, 0)
    assert not near(one, replace(one, confidence=few))


def test_live_with_a_look_ahead_says_of_which_frame_it_speaks(engine):
    proxies = walked(30.0)
    stage = LiveMotion(CAMERA, MotionNetwork(engine, INFO, 8))
    frames = [stage.push(p) for p in proxies]
    assert [f.index for f in frames] == [0] * 8 + [p.index for p in proxies[: len(proxies) - 8]]
    assert [f.present for f in frames] == [False] * 8 + [True] * (len(proxies) - 8)


def test_live_and_file_estimate_alike_without_look_ahead(engine):
    proxies = walked(30.0)
    network = MotionNetwork(engine, INFO, 0)
    observed = observe(proxies, CAMERA)
    whole = network.push(observed)
    network.reset()
    each = [network.push(observe([p], CAMERA)) for p in proxies]
    np.testing.assert_allclose(whole.R_local, np.concatenate([e.R_local for e in each]), atol=1e-4)


# -- another body ------------------------------------------------------------------------------------------------------


def test_another_body_gets_the_same_stature_and_bones(engine):
    own = load_body()
    estimate = MotionNetwork(engine, INFO, 0).push(seen_at_random(5))
    assert for_body(estimate, own) is estimate
    mixed = np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0].astype(np.float32)
    other = replace(own, shapedirs=own.shapedirs @ mixed, J_shapedirs=own.J_shapedirs @ mixed)
    turned = for_body(estimate, other)
    a, b = own.rest_joints(estimate.betas), other.rest_joints(turned.betas)
    np.testing.assert_allclose(b, a, atol=4e-3)
    fewer = replace(other, shapedirs=other.shapedirs[..., :6], J_shapedirs=other.J_shapedirs[..., :6])
    assert for_body(estimate, fewer).betas.shape == (5, 6)
    proxies = walked(30.0)
    check_complete(motion_of_take(proxies, CAMERA, MotionNetwork(engine, INFO, 0), model=fewer), proxies)


# -- options and the application ---------------------------------------------------------------------------------------


def test_networks_open_on_the_engine_that_was_asked_for(graph):
    way = open_networks(graph, 3, backend="openvino")
    assert {n: (e.backend, e.device) for n, e in way.engines.items()} == {"motion": ("openvino", "cpu")}
    with pytest.raises(UsageError, match="0, 3, 8; found 40"):
        open_networks(graph, 40)
    with pytest.raises(HmcapError, match="cuda"):
        open_networks(graph, device="cuda")
    with pytest.raises(HmcapError, match="Expected motion networks"):
        open_networks(graph.with_name("missing.onnx"))


def test_files_look_as_far_ahead_as_the_weights_do_and_live_not_at_all(engine, monkeypatch):
    asked = []
    network = MotionNetwork

    def note(engine, info, ahead):
        asked.append(ahead)
        return network(engine, info, ahead)

    monkeypatch.setattr("hmcap.models.streaming.stream.MotionNetwork", note)
    for look_ahead in (None, 3):
        way = NetworkMotion(engine, INFO, look_ahead)
        way.live(CAMERA, SolverSettings(), load_body())
        way.solve(walked(30.0), CAMERA, settings=SolverSettings(), model=load_body(), progress=None)
    assert asked == [0, 8, 3, 3]


def test_options_about_motion_are_checked_and_kept(tmp_path):
    for wrong, said in (
        ({"motion": "network"}, "networks or solver; found 'network'. Did you mean networks"),
        ({"motion": "solver", "look_ahead": 8}, "--look-ahead is for networks"),
        ({"motion": "solver", "motion_weights": "x.onnx"}, "--motion-weights is for networks"),
        ({"motion": "networks", "look_ahead": -1}, "0 or more; found -1"),
    ):
        with pytest.raises(UsageError, match=said):
            CaptureOptions(**wrong)
    options = CaptureOptions(motion="networks", look_ahead=8, motion_weights="w.onnx", height_m=1.7)
    again = options_from_settings(options.to_settings())
    assert (again.motion, again.look_ahead, again.height_m) == ("networks", 8, 1.7)
    assert str(again.motion_weights).endswith("w.onnx")
    assert options_from_settings({}).motion == realtime_motion.DEFAULT_MOTION


def test_missing_weights_say_what_to_do(monkeypatch):
    monkeypatch.setattr(realtime_motion, "WEIGHTS_FILE", "not_there.onnx")
    with pytest.raises(HmcapError, match=r"not_there\.onnx.*--motion-weights FILE.*--motion solver"):
        open_networks()


def test_the_command_captures_with_networks(graph, tmp_path, monkeypatch, capsys):
    from hmcap.realtime import run
    from hmcap.realtime.journal_reading import read_take

    seen = iter(walked(25.0, 3.0))

    class Landmarks:
        engines: ClassVar = {}

        def body(self, image_rgb, index, stamp_s):
            return SimpleNamespace(index=index, stamp_s=stamp_s, times_s={})

        def hands(self, sighting):
            return replace(next(seen), index=sighting.index, stamp_s=sighting.stamp_s)

    monkeypatch.setattr(run, "open_landmarks", lambda choices: Landmarks())
    frames = tmp_path / "clip"
    frames.mkdir()
    import cv2

    for i in range(12):
        cv2.imwrite(str(frames / f"{i:03d}.png"), np.zeros((720, 1280, 3), np.uint8))
    words = ["--video", str(frames), "--fps", "25", "--out", str(tmp_path), "--motion", "networks", "--motion-weights"]
    assert main([*words, str(graph), "--look-ahead", "3", "--quiet", "--fov-deg", "60"]) == 0
    take = read_take(tmp_path / "clip.hmcap")
    assert len(take.motion) == 12
    assert take.header.engines["motion"] == {"backend": "onnxruntime", "device": "cpu"}
    assert take.header.settings["look_ahead"] == 3
    assert main([*words, str(graph), "--look-ahead", "5"]) == 2
    assert "0, 3, 8; found 5" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "none.onnx")]) == 1
    assert "none.onnx" in capsys.readouterr().err


def test_a_run_that_brings_its_own_stages_waits_for_no_weights(tmp_path, monkeypatch):
    from hmcap.realtime import run

    monkeypatch.setattr(run, "open_motion", lambda choices: pytest.fail("opened"))
    source = SimpleNamespace(
        width_px=8, height_px=6, metadata={}, live=False, spec="x", name="x", fps=30.0, expected_frames=1
    )
    landmarks = SimpleNamespace(engines={})
    monkeypatch.setattr(run, "choose_camera", lambda *a: Camera.from_fov(8, 6, 55))
    parts = run.Parts(landmarks, None, lambda *a, **k: [])
    assert isinstance(run.Run(source, CaptureOptions(), None, parts, run.Display(False)).motion, run.SolverMotion)


def test_metadata_of_the_graph_is_what_the_engine_offers(graph, engine):
    assert MotionNetwork(engine, read_graph_info(graph), 8).ahead == 8
