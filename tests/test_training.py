"""Training: targets against the truth they come from, masks, losses, runs that stop and go on, checkpoints, export."""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402
from hmcap.engines.backends import open_engine  # noqa: E402
from hmcap.models.body import load_body  # noqa: E402
from hmcap.models.errors import HmcapError, UsageError  # noqa: E402
from hmcap.models.networks.config import SIZES, NetworkConfig  # noqa: E402
from hmcap.models.networks.inverse import points_of  # noqa: E402
from hmcap.models.networks.motion_network import MotionNetwork  # noqa: E402
from hmcap.models.networks.state import State  # noqa: E402
from hmcap.models.skeleton import JOINT_NAMES  # noqa: E402
from hmcap.models.streaming.graph_info import read_graph_info  # noqa: E402
from hmcap.models.streaming.stream import MotionNetwork as Streaming  # noqa: E402
from hmcap.tools.noise.batched import BatchedNoise  # noqa: E402
from hmcap.tools.noise.model import load_noise_model  # noqa: E402
from hmcap.tools.training import (  # noqa: E402
    checkpoint,
    export,
    robustness,
)
from hmcap.tools.training.__main__ import main as training_main  # noqa: E402
from hmcap.tools.training.bank import build_bank  # noqa: E402
from hmcap.tools.training.batches import Batch, Batches  # noqa: E402
from hmcap.tools.training.curves import add_row, draw, read_rows  # noqa: E402
from hmcap.tools.training.held_out import held_out, measures, procrustes  # noqa: E402
from hmcap.tools.training.losses import DESCENT_WEIGHTS, MOTION_TERMS, WEIGHTS, losses, total  # noqa: E402
from hmcap.tools.training.masks import GROUPS, random_masks  # noqa: E402
from hmcap.tools.training.scenes import SceneMaker  # noqa: E402
from hmcap.tools.training.train import HELD_OUT_SEED, Settings, Training  # noqa: E402
from hmcap.tools.training.unroll import unroll  # noqa: E402

TINY = NetworkConfig(
    size="tiny", body_channels=16, hand_channels=8, dilations=(3,), attention_channels=8, decoder_channels=16,
    descent_channels=8, descent_hidden=16, iterations=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneMaker:
    folder = tmp_path_factory.mktemp("bank")
    t = np.arange(240) / 30
    poses = np.zeros((240, 55, 3))
    for k, name in enumerate(("left_shoulder", "right_elbow", "spine1", "neck")):
        poses[:, JOINT_NAMES.index(name), 2] = 0.6 * np.sin(2 * np.pi * 0.4 * t + k)
    body = load_body()
    trans = np.tile([0.0, -float(body.v_template[:, 1].min()), 0.0], (240, 1))
    (folder / "motion" / "made").mkdir(parents=True)
    np.savez(
        folder / "motion" / "made" / "sway.npz", poses=poses.reshape(240, 165), trans=trans, mocap_frame_rate=30.0,
        up_axis="y", surface_model_type="smplx",
    )  # fmt: skip
    bank = build_bank(
        folder / "bank", folder / "motion", None, licences="all", generated_hours=0.0, hand_hours=0.01, seed=0,
        tell=lambda _: None,
    )  # fmt: skip
    return SceneMaker(bank, body)


@pytest.fixture(scope="module")
def batches(scenes: SceneMaker) -> Batches:
    return Batches(scenes, BatchedNoise(load_noise_model()))


@pytest.fixture(scope="module")
def clean(scenes: SceneMaker) -> Batch:
    made = Batches(scenes, BatchedNoise(load_noise_model()), masks=False, wrong_lens=False, clear=False)
    return made.draw(torch.Generator().manual_seed(5), 3, 24)


def state_of_truth(batch: Batch, box: torch.Tensor) -> State:
    """The state that says exactly what is true."""
    t = batch.truth
    root, rows = t.root_cam_m, t.R_local.shape[:2]
    place = torch.cat([(root[..., :2] / root[..., 2:] - box[..., :2]) / box[..., 2:],
                       torch.log(root[..., 2:] * box[..., 2:])], -1)  # fmt: skip
    return State(
        t.betas.expand(*rows, -1), t.R_local[..., :22, :, :], t.R_local[..., 25:, :, :], place, t.up_cam, t.height_m,
        t.step_m, (t.contact - 0.5) * 40, torch.full((*rows, 2), -7.0), torch.full((*rows, 8), -7.0),
        points_of(t.joints_m, t.points_m),
    )  # fmt: skip


def test_the_truth_has_no_loss(clean: Batch) -> None:
    network = MotionNetwork(TINY)
    _, box, _ = unroll(network, clean, 0, amp=False)
    terms = losses(state_of_truth(clean, box), box, clean.truth, network.points, clean.static)
    assert set(terms) == set(WEIGHTS)
    for name in set(terms) - {"sigma", "group_error"}:
        assert float(terms[name].detach()) < 4e-3, name
    assert float(terms["sigma"].detach()) < -5


def test_the_descent_weighs_the_picture_more_and_motion_comes_in_slowly() -> None:
    ones = {k: torch.ones(()) for k in WEIGHTS}
    first, second = float(total(ones)), float(total(ones, descent=True))
    assert second - first == pytest.approx(sum(v - WEIGHTS[k] for k, v in DESCENT_WEIGHTS.items()), abs=1e-5)
    assert DESCENT_WEIGHTS["image"] > WEIGHTS["image"]
    late = sum(WEIGHTS[k] for k in MOTION_TERMS)
    assert first - float(total(ones, 0.0)) == pytest.approx(0.9 * late, abs=1e-5)


def test_the_truth_measures_perfect(clean: Batch) -> None:
    network = MotionNetwork(TINY)
    _, box, _ = unroll(network, clean, 0, amp=False)
    values = measures(network, state_of_truth(clean, box), box, clean.truth)
    assert values.pop("contact_f1") == pytest.approx(1.0)
    assert values.pop("angle_deg") < 0.1
    for name, value in values.items():
        assert value < 0.05, name


def test_procrustes_undoes_a_similarity() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(5, 22, 3, generator=g)
    q, _ = torch.linalg.qr(torch.randn(5, 3, 3, generator=g))
    q = q * torch.sign(torch.linalg.det(q))[:, None, None]
    assert torch.allclose(procrustes(1.7 * x @ q + 3.0, x), x, atol=1e-5)
    mirrored = x * torch.tensor([-1.0, 1.0, 1.0])
    assert (procrustes(mirrored, x) - x).norm(dim=-1).mean() > 0.1


def test_a_wrong_lens_moves_the_person_away_and_leaves_the_picture_whole(scenes: SceneMaker) -> None:
    from hmcap.tools.training.targets import targets_of

    scene = scenes.draw(torch.Generator().manual_seed(2), 2, 10)
    right, wrong = targets_of(scene), targets_of(scene, torch.tensor([1.2, 0.8]))
    assert torch.allclose(wrong.root_cam_m[..., 2], right.root_cam_m[..., 2] * torch.tensor([[1.2], [0.8]]))
    assert torch.equal(wrong.joints_m, right.joints_m)
    moved = (right.step_m[:, 1:].norm(dim=-1) - torch.diff(scene.joints_world_m[:, :, 0], dim=1).norm(dim=-1)).abs()
    assert moved.max() < 1e-5


def test_masks_take_away_whole_groups_and_all_that_hangs_on_them(batches: Batches, clean: Batch) -> None:
    o = clean.seen.map(lambda x: x.repeat(40, *([1] * (x.ndim - 1))))
    out = random_masks(torch.Generator().manual_seed(1), o)
    gone = (o.confidence > 0) & (out.confidence == 0)
    share = gone.float().mean((1, 2))
    assert 0.3 < float((share > 0.01).float().mean()) < 0.95
    assert torch.all(out.xy[out.confidence == 0] == 0)
    assert torch.all(out.hands_xyz_m[out.hands_xyz_known == 0] == 0)
    nobody = out.confidence[..., :25].amax(-1) == 0
    assert torch.all(out.body_xyz_known[nobody] == 0)
    assert GROUPS.any(1).all()
    again = random_masks(torch.Generator().manual_seed(1), o)
    assert torch.equal(out.confidence, again.confidence)


def test_batches_follow_their_generator(batches: Batches) -> None:
    a, b = (batches.draw(torch.Generator().manual_seed(9), 2, 12) for _ in range(2))
    for f in dataclasses.fields(a.seen):
        x = getattr(a.seen, f.name)
        assert torch.equal(x, getattr(b.seen, f.name)), f.name
        assert torch.isfinite(x).all(), f.name
    plain = dataclasses.replace(batches, noise="gaussian").draw(torch.Generator().manual_seed(9), 2, 12)
    assert torch.isfinite(plain.seen.xy).all()
    assert float(plain.seen.confidence.mean()) > 0.2


def settings(**changes) -> Settings:
    return dataclasses.replace(Settings(1, 3, 2, 16, 1, "measured", True, 0.0, "cpu"), **changes)


def train(folder: Path, batches: Batches, config: NetworkConfig = TINY, start: Path | None = None, **changes):
    test = dataclasses.replace(batches, masks=False, wrong_lens=False, clear=False)
    held = {"": [test.draw(torch.Generator().manual_seed(HELD_OUT_SEED), 1, 24)]}
    training = Training(folder, config, settings(**changes), batches, held, start)
    training.run()
    return training


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, batches: Batches) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(folder, batches)
    train(folder, batches, stage=2)
    return folder


def test_both_stages_leave_checkpoints_and_curves(run: Path) -> None:
    rows = read_rows(run / "curves.csv")
    assert [r["stage"] for r in rows] == [1, 1, 1, 2, 2, 2]
    assert [r["step"] for r in rows] == [1, 2, 3, 1, 2, 3]
    assert "first_pa_mm@4" in rows[-1]
    assert "first_pa_mm@4" not in rows[0]
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    values = checkpoint.load(run / "best.pt")
    assert checkpoint.network_of(values, run / "best.pt").config == TINY


def test_the_second_stage_leaves_the_initialiser_alone(run: Path, batches: Batches, tmp_path: Path) -> None:
    train(tmp_path, batches)
    first = checkpoint.load(tmp_path / "last.pt")
    train(tmp_path, batches, stage=2)
    second = checkpoint.load(tmp_path / "last.pt")
    moved = {k for k, v in second["weights"].items() if not torch.equal(v, first["average"][k])}
    assert moved
    assert all(k.startswith("descent") for k in moved)


def test_an_interrupted_run_goes_on_where_it_stopped(batches: Batches, tmp_path: Path) -> None:
    train(tmp_path / "whole", batches, steps=4)
    train(tmp_path / "parts", batches, steps=2)
    # A run of four steps that was stopped after two has the rate of four.
    a = checkpoint.load(tmp_path / "parts" / "last.pt")
    assert a["step"] == 2
    again = train(tmp_path / "parts", batches, steps=4)
    assert again.step == 4
    rows = read_rows(tmp_path / "parts" / "curves.csv")
    assert [r["step"] for r in rows] == [1, 2, 3, 4]
    assert rows[-1]["frames"] == 4 * 2 * 16


def test_training_again_gives_the_same_weights(batches: Batches, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(tmp_path / name, batches, steps=2)
    a, b = (checkpoint.load(tmp_path / n / "last.pt")["weights"] for n in ("a", "b"))
    for k, v in a.items():
        assert torch.equal(v, b[k]), k


def test_another_architecture_is_refused(run: Path, batches: Batches, tmp_path: Path) -> None:
    with pytest.raises(HmcapError, match="other switches or sizes"):
        train(run, batches, dataclasses.replace(TINY, body_channels=24), stage=2)
    with pytest.raises(UsageError, match="stage 2 already"):
        train(run, batches)
    with pytest.raises(UsageError, match="weights of stage 1"):
        train(tmp_path / "new", batches, stage=2)
    values = checkpoint.load(run / "last.pt")
    values["config"] = dataclasses.replace(TINY, body_channels=24).as_dict()
    checkpoint.save(tmp_path / "odd.pt", {k: v for k, v in values.items() if k != "format"})
    with pytest.raises(HmcapError, match=r"odd\.pt.*another architecture"):
        checkpoint.network_of(checkpoint.load(tmp_path / "odd.pt"), tmp_path / "odd.pt")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"", "cannot be read"), (b"not a checkpoint", "odd")]
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "odd.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HmcapError, match=message):
        checkpoint.load(path)


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"format": checkpoint.FORMAT, "x": Bad()}, tmp_path / "bad.pt")
    with pytest.raises(HmcapError, match=r"bad\.pt"):
        checkpoint.load(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(HmcapError, match="Expected the format"):
        checkpoint.load(tmp_path / "other.pt")


@pytest.fixture(scope="module")
def graph(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("graph") / "motion.onnx"
    args = argparse.Namespace(checkpoint=run / "best.pt", out=out, half=True, licence="made here")
    assert export.main(args) == 0
    return out


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_graph_is_the_network(run: Path, graph: Path, backend: str) -> None:
    network = checkpoint.network_of(checkpoint.load(run / "best.pt"), run / "best.pt").eval()
    for p in network.parameters():  # the graph stores large tensors in half precision
        if p.numel() >= 1024:
            p.data = p.data.half().float()
    engine = open_engine(graph, backend=backend)
    for frames in (1, 9):
        values = export.example(network, frames, seed=frames)
        with torch.no_grad():
            wanted = export.Graph(network)(*values)
        names = export.input_names(network)
        found = engine({n: v.numpy() for n, v in zip(names, values, strict=True)})
        for name, value in zip(export.output_names(network), wanted, strict=True):
            gap = np.abs(found[name] - value.numpy())
            if backend == "onnxruntime":
                assert np.allclose(found[name], value, atol=2e-4, rtol=1e-3), name
            else:  # solves the descent's steps in single precision, and these inputs are noise
                assert np.median(gap) < 0.02 * max(1.0, float(value.abs().max())), name


def test_the_graph_streams(graph: Path, clean: Batch) -> None:
    from hmcap.models.observed import Observed

    info = read_graph_info(graph)
    assert info.lookaheads == TINY.lookaheads
    one = clean.seen.map(lambda x: x[0].numpy())
    whole, parts = (Streaming(open_engine(graph, backend="onnxruntime"), info, 4) for _ in range(2))
    a = [whole.push(one), whole.finish()]
    b = [parts.push(Observed(*(getattr(one, f.name)[t : t + 1] for f in dataclasses.fields(one)))) for t in range(24)]
    b.append(parts.finish())
    for f in dataclasses.fields(a[0]):
        x, y = (np.concatenate([getattr(e, f.name) for e in part]) for part in (a, b))
        assert len(x) == len(y) == 24
        assert np.allclose(x, y, atol=1e-4), f.name


def test_the_graph_says_what_it_is_and_not_where_it_was_made(graph: Path) -> None:
    model = onnx.load(graph)
    meta = {p.key: p.value for p in model.metadata_props}
    values = json.loads(meta[export.METADATA])
    assert values["data"] == "made here"
    assert NetworkConfig.from_dict(values["config"], "x") == TINY
    assert b"site-packages" not in graph.read_bytes()
    assert b"hmcap/" not in graph.read_bytes()
    assert b".py" not in graph.read_bytes()


def test_an_export_that_cannot_be_written_is_one_error(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    args = argparse.Namespace(checkpoint=run / "best.pt", out=tmp_path / "file" / "x.onnx", half=False, licence="")
    with pytest.raises(HmcapError, match="Expected to write"):
        export.main(args)


def test_held_out_measures_each_state(clean: Batch) -> None:
    values = held_out(MotionNetwork(TINY), [clean], 4)
    assert values["mpjpe_mm"] > 20
    assert set(values) == {f"{p}{k}" for p in ("", "first_") for k in (
        "points_pa_mm", "mpjpe_mm", "pa_mm", "limbs_mm", "limbs_pa_mm", "hand_pa_mm", "angle_deg", "accel_m_s2",
        "depth_percent", "contact_f1")}  # fmt: skip
    assert all(np.isfinite(v) for v in values.values())


def test_robustness_hides_what_it_says_and_compares_networks(clean: Batch) -> None:
    networks = {"a": MotionNetwork(TINY), "b": MotionNetwork(dataclasses.replace(TINY, partial=False))}
    rows = robustness.curve(networks, clean, (0.0, 0.4))
    assert [(r["network"], round(r["masked_percent"])) for r in rows[:2]] == [("a", 0), ("b", 0)]
    assert 40 <= rows[2]["masked_percent"] == rows[3]["masked_percent"] < 60
    assert rows[0]["pa_mm"] != rows[2]["pa_mm"]
    with pytest.raises(UsageError, match="NAME=CHECKPOINT"):
        robustness.main(argparse.Namespace(networks=["x.pt"], out=Path(), held_out=Path(), takes=1, frames=9))


def test_the_first_stage_is_measured_without_the_descent(clean: Batch) -> None:
    network = MotionNetwork(TINY).eval()
    alone = held_out(network, [clean], 0, descent=False)
    both = held_out(network, [clean], 0)
    assert not any(k.startswith("first_") for k in alone)
    for k, v in alone.items():
        assert both[f"first_{k}"] == pytest.approx(v, rel=1e-4), k


def test_curves_keep_rows_of_several_kinds(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    base = {"stage": 1.0, "step": 1.0, "frames": 10.0, "mpjpe_mm@0": 5.0}
    add_row(path, base)
    add_row(path, base | {"step": 2.0})
    add_row(path, base | {"stage": 2.0, "first_mpjpe_mm@0": 6.0})
    rows = read_rows(path)
    assert [len(r) for r in rows] == [4, 4, 5]
    draw(path, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_one_command_leads_from_motion_to_a_graph_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(SIZES, "tiny", TINY)
    monkeypatch.setattr("hmcap.tools.training.train.HELD_OUT_TAKES", 2)
    monkeypatch.setattr("hmcap.tools.training.train.HELD_OUT_FRAMES", 16)
    t = np.arange(200) / 30
    poses = np.zeros((200, 165))
    poses[:, 3 * JOINT_NAMES.index("left_shoulder") + 2] = 0.6 * np.sin(2 * t)
    trans = np.tile([0.0, -float(load_body().v_template[:, 1].min()), 0.0], (200, 1))
    for name in ("CMU", "SSM_synced"):  # a data set of the paper's training split, and one of its test split
        (tmp_path / "amass" / name).mkdir(parents=True)
        np.savez(
            tmp_path / "amass" / name / "sway_poses.npz", poses=poses, trans=trans, mocap_frame_rate=30.0,
            up_axis="y", surface_model_type="smplx",
        )  # fmt: skip
    command = [
        "retrain", str(tmp_path / "out"), "--motions", str(tmp_path / "amass"), "--size", "tiny", "--hours", "0",
        "--steps", "2", "1", "--takes", "2", "--frames", "12",
    ]  # fmt: skip
    assert training_main(command) == 0
    info = read_graph_info(tmp_path / "out" / "motion_tiny.onnx")
    assert (info.size, info.lookaheads) == ("tiny", TINY.lookaheads)
    said = capsys.readouterr().out
    assert "stage 1 step 2" in said
    assert "stage 2 step 1" in said
    assert training_main(command) == 0
    assert "step" not in capsys.readouterr().out, "what is there is used as it is"
    assert training_main([*command, "--motions", str(tmp_path / "nothing"), "--steps", "0", "1"]) == 2
    other = ["retrain", str(tmp_path / "other"), "--motions", str(tmp_path / "nothing")]
    assert training_main(other) == 1
    assert "nothing" in capsys.readouterr().err
