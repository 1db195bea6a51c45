"""Networks of MMPose from ``hmcap models add`` to proxies, on figures of coloured dots whose places are known."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from dot_figures import Fixed, default_engines, dot_network, draw, figure
from hmcap.engines import registry
from hmcap.engines.backends import open_engine
from hmcap.engines.landmarks import LandmarkStage, opening
from hmcap.engines.landmarks.mmpose import Form, MmposeBody, MmposeHand, find_network
from hmcap.engines.user_files import read_user_files
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.observed import observe
from hmcap.models.proxies import LEFT_HAND, PROXY_NAMES, RIGHT_HAND, Proxies
from hmcap.models.solver.settings import SolverSettings
from hmcap.realtime.cli import main
from hmcap.realtime.motion import SolverMotion, open_networks
from hmcap.realtime.options import CaptureOptions, options_from_settings

BODY_SIZE, WHOLE_SIZE, HAND_SIZE = (192, 256), (288, 384), (256, 256)
CAMERA = Camera(960, 960, 1000, 1000, 480, 480)
_PAIRS = {"neck": "shoulder", "mid_hip": "hip"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One network of each kind."""
    out = tmp_path_factory.mktemp("dots")
    return {
        "body": dot_network(out / "body.onnx", "halpe26", BODY_SIZE),
        "whole": dot_network(out / "whole.onnx", "wholebody133", WHOLE_SIZE),
        "heat": dot_network(out / "heat.onnx", "coco17", BODY_SIZE, "heatmap"),
        "hand": dot_network(out / "hand.onnx", "hand21", HAND_SIZE),
    }


def open_stage(body: str | None = None, hand: str | None = None, backend: str = "openvino") -> LandmarkStage:
    engines = default_engines()
    modules = {}
    for part, name, kind in (("body", body, MmposeBody), ("hand", hand, MmposeHand)):
        if name is not None:
            file, form = find_network(name, part)  # pyright: ignore[reportArgumentType]
            modules[part] = kind(open_engine(file.path, backend=backend, threads=1), form)
    return LandmarkStage(engines, **modules)  # pyright: ignore[reportArgumentType]


def errors_px(proxies: Proxies, points: dict[str, np.ndarray]) -> dict[str, float]:
    """Name of each proxy that is seen -> how far it is from where it was drawn."""
    out = {}
    for i, name in enumerate(PROXY_NAMES):
        if proxies.confidence[i] > 0:
            names = [f"{s}_{_PAIRS[name]}" for s in ("left", "right")] if name in _PAIRS else [name]
            out[name] = float(np.linalg.norm(proxies.xy_px[i] - np.mean([points[n] for n in names], axis=0)))
    return out


# Adding


@pytest.mark.parametrize(
    ("kind", "layout", "codec", "size"),
    [
        ("body", "halpe26", "simcc", BODY_SIZE),
        ("whole", "wholebody133", "simcc", WHOLE_SIZE),
        ("heat", "coco17", "heatmap", BODY_SIZE),
        ("hand", "hand21", "simcc", HAND_SIZE),
    ],
)
def test_layout_follows_from_the_number_of_points(files, kind, layout, codec, size) -> None:
    assert registry.add(files[kind]).layout == layout
    assert registry.add(files[kind], "asked", layout).layout == layout
    for name in (kind, "asked"):
        file, form = find_network(name, "hand" if kind == "hand" else "body")
        assert form == Form(layout, codec, *size)
        assert file.path == registry.resolve(name)


def test_what_the_file_says_of_itself_counts(tmp_path) -> None:
    said = {"layout": "coco17", "codec": "udp_heatmap", "mean": "1.0,2.0,3.0", "std": "4.0,5.0,6.0"}
    path = dot_network(tmp_path / "own.onnx", "coco17", BODY_SIZE, "heatmap", said)
    assert registry.add(path).layout == "coco17"
    assert find_network("own", "body")[1] == Form("coco17", "udp_heatmap", *BODY_SIZE, (1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize("said", [{"codec": "simcc"}, {"mean": "1,2"}, {"std": "1,1,0"}, {"mean": "a,b,c"}])
def test_metadata_that_contradicts_the_network_is_refused(tmp_path, said) -> None:
    path = dot_network(tmp_path / "own.onnx", "coco17", BODY_SIZE, "heatmap", said)
    with pytest.raises(HmcapError, match=r"Expected metadata in own\.onnx that agrees .* Export it again"):
        registry.add(path)


def test_wrong_layout_says_what_was_expected_found_and_what_fits(files) -> None:
    with pytest.raises(HmcapError) as caught:
        registry.add(files["body"], layout="wholebody133")
    assert "133 key points of wholebody133" in str(caught.value)
    assert "(1, 133, 192 x n)" in str(caught.value)
    assert "found 2 of (1, 26, 384) and (1, 26, 512)" in str(caught.value)
    assert "--layout halpe26" in str(caught.value)
    with pytest.raises(UsageError, match=r"Did you mean wholebody133\?"):
        registry.add(files["body"], layout="wholebody")
    assert read_user_files() == {}


def test_size_of_outputs_that_the_file_leaves_open_is_found_by_running(files, tmp_path) -> None:
    model = onnx.load(files["body"])
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.dim_param = f"any_{value.name}_{id(dim)}"
    onnx.save(model, tmp_path / "open.onnx")
    assert registry.add(tmp_path / "open.onnx").layout == "halpe26"


def test_networks_of_other_shapes_are_explained_where_a_layout_is_asked_for(files, tmp_path) -> None:
    def changed(name: str, change) -> Path:
        model = onnx.load(files["body"])
        change(model.graph)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    def one_output(graph) -> None:
        del graph.output[1]

    def free_size(graph) -> None:
        graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"

    def grey(graph) -> None:
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1

    for path, message in (
        (changed("one.onnx", one_output), r"26 key points of halpe26.*found 1 of \(1, 26, 384\)"),
        (changed("free.onnx", free_size), r"one picture of shape \(1, 3, height, width\), found \(\?, 3, 256, \?\)"),
        (changed("grey.onnx", grey), r"one picture of shape \(1, 3, height, width\), found \(\?, 1, 256, 192\)"),
    ):
        with pytest.raises(HmcapError, match=message):
            registry.add(path, layout="halpe26")
    # without a layout it is some other network, which one may well add
    assert registry.add(tmp_path / "one.onnx").layout is None


def test_layout_and_peak_are_for_onnx_networks_and_positive(tmp_path, files) -> None:
    with pytest.raises(UsageError, match="--peak to be a positive number, found 0"):
        registry.add(files["body"], peak=0)
    registry.add(files["body"], peak=10)
    assert find_network("body", "body")[1].peak == 10
    (tmp_path / "x.tflite").write_bytes(b"")
    from hmcap.engines.landmarks.mmpose import recognise

    with pytest.raises(UsageError, match=r"Expected an \.onnx network with the layout coco17"):
        recognise(tmp_path / "x.tflite", "coco17")


def test_names_that_are_not_known_or_of_the_wrong_part_are_explained(files, folder) -> None:
    with pytest.raises(UsageError, match=r"Expected --body-network to be the name .* hmcap models add FILE\.onnx"):
        find_network("rtmpose", "body")
    registry.add(files["body"], "rtmpose")
    registry.add(files["hand"], "rtmhand")
    with pytest.raises(UsageError, match=r"one of rtmpose; found 'rtmpos'. Did you mean rtmpose\?"):
        find_network("rtmpos", "body")
    with pytest.raises(UsageError, match=r"--hand-network to name a network of a hand; found 'rtmpose' with layout"):
        find_network("rtmpose", "hand")
    with pytest.raises(UsageError, match=r"--body-network"):
        CaptureOptions(body_network="rtmhand")
    record = folder / "user" / "rtmpose.json"
    for change in ({"codec": "x"}, {"width_px": "9"}, {"std": [0, 1, 1]}, {"more": 1}):
        kept = json.loads(record.read_text())
        record.write_text(json.dumps(kept | {"form": kept["form"] | change}))
        with pytest.raises(HmcapError, match=r"record of the network 'rtmpose'.* hmcap models add FILE --name rtmpose"):
            find_network("rtmpose", "body")
        record.write_text(json.dumps(kept))


# The stage


@pytest.mark.parametrize(("kind", "seen", "within_px"), [("body", 25, 1.5), ("whole", 67, 1.0), ("heat", 19, 1.5)])
def test_figure_that_moves_is_followed(files, kind, seen, within_px) -> None:
    registry.add(files[kind])
    landmarks = open_stage(kind)
    for k in range(6 if kind != "whole" else 2):
        points = figure(440 + 14 * k, 120 + 4 * k)
        proxies = landmarks(draw(points), k, k / 30)
        wrong = errors_px(proxies, points)
        assert len(wrong) == seen
        assert max(wrong.values()) < within_px, wrong
    assert landmarks.engines["pose_detection"].calls == 1  # pyright: ignore[reportAttributeAccessIssue]
    assert proxies.score > 0.9
    assert np.isnan(proxies.body_xyz_m).all()


def test_region_settles_around_the_figure(files) -> None:
    registry.add(files["body"])
    landmarks = open_stage("body")
    for k in range(3):
        landmarks(draw(figure()), k, k / 30)
    roi = landmarks.track.roi
    assert roi is not None
    points = np.array([p for n, p in figure(hands="none").items()])
    low, high = points.min(axis=0), points.max(axis=0)
    assert (roi.x_px, roi.y_px) == pytest.approx(tuple((low + high) / 2), abs=2)
    assert roi.size_px == pytest.approx(1.15 * 1.25 * (high - low)[1], rel=0.02)
    assert roi.angle_rad == 0


def test_lost_figure_is_found_again_where_it_comes_back(files) -> None:
    registry.add(files["body"])
    landmarks = open_stage("body")
    detector = landmarks.engines["pose_detection"]
    assert isinstance(detector, Fixed)
    assert landmarks(draw(figure(400)), 0, 0.0).present
    for k in range(1, 4):
        assert not landmarks(draw({}), k, k / 30).present
    assert detector.calls == 4
    points = figure(560, 200, 600)
    back = landmarks(draw(points), 50, 2.0)
    assert max(errors_px(back, points).values()) < 1.5
    assert detector.calls == 5


def test_jump_to_a_bystander_is_refused(files) -> None:
    registry.add(files["body"])
    landmarks = open_stage("body")
    assert landmarks(draw(figure(300, height_px=400)), 0, 0.0).present
    assert not landmarks(draw(figure(700, height_px=400)), 1, 1 / 30).present
    assert landmarks(draw(figure(300, height_px=400)), 2, 2 / 30).present


def test_part_of_the_figure_outside_of_the_picture_is_masked(files) -> None:
    registry.add(files["body"])
    points = figure(480, 330)
    proxies = open_stage("body")(draw(points), 0, 0.0)
    wrong = errors_px(proxies, points)
    assert "left_knee" in wrong
    assert not {"left_heel", "right_big_toe", "left_small_toe"} & wrong.keys()
    assert max(wrong.values()) < 1.5


def test_whole_body_hands_count_only_where_the_hand_network_sees_none(files) -> None:
    registry.add(files["whole"])
    registry.add(files["hand"])
    points = figure()
    own = open_stage("whole")(draw(points), 0, 0.0)  # the hand network of the stage is blind
    assert own.confidence[LEFT_HAND].min() > 0.5
    # A hand network that sees colours of its own kind only: on the left hand.
    mixed = draw(points)
    left = {n: p for n, p in points.items() if n.startswith("left_hand_")}
    half = draw(left, hands="any")
    mixed = np.where(half.max(axis=2, keepdims=True) > 0, half, mixed)
    both = open_stage("whole", "hand")(mixed, 0, 0.0)
    wrong = errors_px(both, points)
    assert len(wrong) == 67
    assert max(wrong.values()) < 1.5


def test_hand_network_finds_both_hands_without_saying_which(files) -> None:
    registry.add(files["body"])
    registry.add(files["hand"])
    landmarks = open_stage("body", "hand")
    for k in range(3):
        points = figure(470 + 6 * k, hands="any")
        proxies = landmarks(draw(points, hands="any"), k, k / 30)
        wrong = errors_px(proxies, points)
        assert len(wrong) == 67
        assert max(wrong.values()) < 1.5, wrong
    # no penalty for an opinion that it does not have
    assert proxies.confidence[LEFT_HAND].min() > 0.7
    assert proxies.confidence[RIGHT_HAND].min() > 0.7
    assert np.isnan(proxies.hands_xyz_m).all()


def test_engines_agree(files) -> None:
    registry.add(files["whole"])
    picture = draw(figure())
    a, b = (open_stage("whole", backend=name)(picture, 0, 0.0) for name in ("openvino", "onnxruntime"))
    np.testing.assert_allclose(a.xy_px, b.xy_px, atol=1e-2)
    np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-3)


def test_stage_opens_the_networks_by_name(files, monkeypatch) -> None:
    registry.add(files["body"], "mine")
    registry.add(files["hand"], "fingers")
    default = default_engines()
    fetched: list[str] = []
    monkeypatch.setattr(registry, "fetch", lambda names: fetched.extend(names))
    monkeypatch.setattr(registry, "resolve", _resolve(registry.resolve))
    monkeypatch.setattr(opening, "open_engine", _opening(default))
    landmarks = LandmarkStage.open(backend="onnxruntime", body_network="mine", hand_network="fingers")
    assert sorted(fetched) == ["hand_recrop", "pose_detection"]
    assert tuple(landmarks.engines) == opening.MODULES
    assert landmarks.engines["pose_landmark"].backend == "onnxruntime"
    points = figure(hands="any")
    assert max(errors_px(landmarks(draw(points, "any"), 0, 0.0), points).values()) < 1.5


def _resolve(real):
    return lambda name: Path(f"{name}.tflite") if name in registry.REGISTRY else real(name)


def _opening(default):
    def opening(path: Path, **options):
        return default[path.stem] if path.suffix == ".tflite" else open_engine(path, **options)

    return opening


# What follows the stage


def test_small_toes_are_for_the_solver_and_not_for_networks_that_never_saw_any(files) -> None:
    registry.add(files["whole"])
    proxies = open_stage("whole")(draw(figure()), 0, 0.0)
    toes = [PROXY_NAMES.index(f"{side}_small_toe") for side in ("left", "right")]
    assert (proxies.confidence[toes] > 0.9).all()
    seen = observe([proxies], CAMERA)
    assert not seen.confidence[:, toes].any()
    assert not seen.xy[:, toes].any()
    assert seen.mask.sum() == 65
    assert not seen.body_xyz_known.any()
    assert not seen.hands_xyz_known.any()


def test_solver_and_networks_take_proxies_without_3d(files) -> None:
    registry.add(files["body"])
    landmarks = open_stage("body")
    proxies = [landmarks(draw(figure(460 + 4 * k)), k, k / 30) for k in range(3)]
    for way in (SolverMotion(), open_networks(None, 0, threads=1)):
        motion = way.solve(proxies, CAMERA, settings=SolverSettings(), model=load_body(), progress=None)
        assert len(motion) == 3
        assert np.isfinite([m.poses for m in motion]).all()
        assert np.isfinite([m.trans_m for m in motion]).all()


# The command line


def test_command_line_adds_and_explains(files, capsys) -> None:
    assert main(["models", "add", str(files["body"]), "--name", "rtm", "--layout", "halpe26"]) == 0
    assert capsys.readouterr().out.endswith("(halpe26)\n")
    assert main(["models", "add", str(files["body"]), "--layout", "halpe"]) == 2
    assert "Did you mean halpe26?" in capsys.readouterr().err
    assert main(["models", "add", str(files["body"]), "--layout", "coco17"]) == 1
    assert main(["--video", "none.mp4", "--body-network", "rtn"]) == 2
    assert "Did you mean rtm?" in capsys.readouterr().err


def test_settings_keep_which_network_ran_and_need_it_no_more(files, folder) -> None:
    info = registry.add(files["body"], "rtm")
    settings = json.loads(json.dumps(CaptureOptions(body_network="rtm").to_settings()))
    assert settings["body_network"] == "rtm"
    assert settings["hand_network"] is None
    assert settings["networks"] == {"body": {"name": "rtm", "layout": "halpe26", "sha256": info.sha256}}
    (folder / "user" / "rtm.json").unlink()
    assert options_from_settings(settings).body_network is None
