"""Rendered clips as training takes: pairing, mirror images, the split, and what is refused."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hmcap.models.body import load_body  # noqa: E402
from hmcap.models.camera import Camera  # noqa: E402
from hmcap.models.errors import HmcapError  # noqa: E402
from hmcap.models.markers import proxy_rig  # noqa: E402
from hmcap.models.networks.config import NetworkConfig  # noqa: E402
from hmcap.models.networks.mirror import MIRRORED_JOINTS, MIRRORED_MARKS  # noqa: E402
from hmcap.models.skeleton import JOINT_NAMES  # noqa: E402
from hmcap.tools.motions.contact import contact_labels, feet_m  # noqa: E402
from hmcap.tools.motions.virtual_cameras import project_px  # noqa: E402
from hmcap.tools.noise.observe import networks_version  # noqa: E402
from hmcap.tools.rendering.truth import VISIBLE, Truth, save_truth  # noqa: E402
from hmcap.tools.training.__main__ import main as training_main  # noqa: E402
from hmcap.tools.training.batches import Mixture  # noqa: E402
from hmcap.tools.training.curves import read_rows  # noqa: E402
from hmcap.tools.training.rendered import RenderedBatches, RenderedTakes, is_held_out  # noqa: E402
from hmcap.tools.training.train import Settings, Training  # noqa: E402

T = 12
SIZE = (640, 480)
TRAINED, HELD_OUT = ("m0", "m2", "m3", "m4", "m6"), ("m1", "m5")
DIST = np.array([-0.1, 0.05, 0.001, -0.001, 0.0])


def write_clip(folder: Path, seed: int, frames: int = T, fps: float = 30.0, dist: np.ndarray = DIST) -> None:
    """A person who waves before a camera with a distorting lens, and landmarks that are exactly right."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    body = load_body()
    poses = np.zeros((frames, 55, 3))
    poses[:, JOINT_NAMES.index("left_shoulder"), 2] = np.sin(np.arange(frames) / 5)
    poses[:, 0, 1] = rng.uniform(-2, 2)
    trans = np.tile([0.1, -float(body.v_template[:, 1].min()), 0.0], (frames, 1))
    betas = rng.normal(size=10) * 0.5
    posed = body.astype(np.float64).with_shape(betas).with_pose(poses, trans)
    proxies, feet = proxy_rig(body).in_world_m(posed), feet_m(body, poses, trans, betas)
    K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    cam = np.tile(np.eye(4), (frames, 1, 1))
    cam[:, :3, :3] = np.diag([1.0, -1, -1])
    cam[:, :3, 3] = [0, 1.0, 3.5]
    px = project_px(Camera(*SIZE, 500, 500, 320, 240, tuple(dist)), cam, proxies)
    nothing = np.zeros((frames, 67))
    truth = Truth(
        np.array(fps), np.array(SIZE), K, dist, cam, betas, poses, trans, proxies + 0.02, px,
        np.full((frames, 67), VISIBLE, np.uint8), feet, contact_labels(feet, fps), nothing, np.full(frames, 200.0),
        np.zeros(frames),
    )  # fmt: skip
    save_truth(folder / "truth.npz", truth)
    (folder / "video.mp4").write_bytes(str(seed).encode())
    digest = hashlib.sha256((folder / "video.mp4").read_bytes()).hexdigest()[:12]
    hands = np.full((frames, 2, 21, 3), np.nan)
    hands[:, 0] = rng.normal(size=(21, 3)) * 0.05
    score = np.ones(frames)
    score[3], hands[3] = 0, np.nan
    np.savez(
        folder / f"landmarks-{networks_version()}-{digest}.npz", xy_px=px, confidence=np.full((frames, 67), 0.9),
        body_xyz_m=rng.normal(size=(frames, 33, 3)), hands_xyz_m=hands, score=score,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i, name in enumerate([*TRAINED[:4], *HELD_OUT]):
        write_clip(folder / name, i, dist=DIST if i else np.zeros(5))
    return folder


def projected(truth) -> torch.Tensor:
    points = truth.points_m[..., :67, :] + truth.root_cam_m[..., None, :]
    return points[..., :2] / points[..., 2:]


def test_what_is_seen_lies_on_the_truth_with_the_lens_undone(clips: Path) -> None:
    takes = RenderedTakes(clips, "train")
    batch = RenderedBatches(takes).all()
    assert len(takes) == 4
    assert batch.static.all()
    seen = batch.seen.mask
    assert torch.equal(seen[:, 3], torch.zeros_like(seen[:, 3])), "nobody is seen in frame 3"
    assert seen[:, 4, :46].all()
    assert not seen[..., 46:].any(), "the right hand is not found"
    assert (projected(batch.truth) - batch.seen.xy)[seen].abs().max() < 2e-4
    assert torch.equal(batch.seen.hands_xyz_known.amax((0, 1)), torch.tensor([1.0, 0.0]))


def test_the_name_of_a_clip_decides_whether_it_is_held_out(clips: Path) -> None:
    assert [is_held_out(n) for n in (*TRAINED, *HELD_OUT)] == [False] * 5 + [True] * 2
    sources = [k % 5 for k in range(300) if is_held_out(f"m{k:03d}")]
    assert 40 < len(sources) < 80
    assert set(sources) == set(range(5)), "clips go through the sources in turn, and none is held out as a whole"
    held, trained = RenderedTakes(clips, "held out"), RenderedTakes(clips, "train")
    assert (len(held), len(trained)) == (2, 4)
    shapes = {tuple(b) for b in held.scene.betas.tolist()} & {tuple(b) for b in trained.scene.betas.tolist()}
    assert not shapes


def test_the_mirror_image_is_as_true(clips: Path) -> None:
    takes = RenderedTakes(clips, "train")
    which, as_is = torch.arange(4), torch.zeros(4, dtype=torch.bool)
    seen, truth, _ = takes.take(which, torch.ones(4), ~as_is)
    assert (projected(truth) - seen.xy)[seen.mask].abs().max() < 2e-4
    assert torch.equal(seen.hands_xyz_known.amax((0, 1)), torch.tensor([0.0, 1.0]))
    plain = takes.take(which, torch.ones(4), as_is)[1]
    assert torch.allclose(truth.joints_m[..., MIRRORED_JOINTS, 0], -plain.joints_m[..., 0])
    assert torch.allclose(truth.points_m[..., MIRRORED_MARKS, 1:], plain.points_m[..., 1:])
    joint = JOINT_NAMES.index("right_shoulder")
    wave = plain.R_local[..., JOINT_NAMES.index("left_shoulder"), :, :]
    assert torch.allclose(truth.R_local[..., joint, 0, 1], -wave[..., 0, 1]), "the other arm waves the other way"
    assert torch.allclose(torch.linalg.det(truth.R_local), torch.ones(()), atol=1e-4)


def test_a_wrong_lens_shrinks_the_picture_and_moves_the_person_away(clips: Path) -> None:
    takes = RenderedTakes(clips, "train")
    which, as_is = torch.arange(4), torch.zeros(4, dtype=torch.bool)
    right, wrong = (takes.take(which, torch.full((4,), s), as_is) for s in (1.0, 1.25))
    assert torch.allclose(wrong[0].xy * 1.25, right[0].xy, atol=1e-6)
    assert torch.allclose(wrong[1].root_cam_m[..., 2], right[1].root_cam_m[..., 2] * 1.25)


def test_batches_follow_their_generator_and_have_about_the_frames_asked_for(clips: Path) -> None:
    batches = RenderedBatches(RenderedTakes(clips, "train"))
    a, b = (batches.draw(torch.Generator().manual_seed(4), 3, 40) for _ in range(2))
    assert a.seen.xy.shape == (10, T, 67, 2)
    for f in dataclasses.fields(a.seen):
        assert torch.equal(getattr(a.seen, f.name), getattr(b.seen, f.name))
    assert any((a.seen.confidence[i] == 0).float().mean() > 0.5 for i in range(10)), "some takes are masked"


def test_a_mixture_draws_from_both(clips: Path) -> None:
    class Other:
        def draw(self, generator, takes, frames):
            return "other"

    batches = RenderedBatches(RenderedTakes(clips, "train"))
    generator = torch.Generator().manual_seed(0)
    drawn = [Mixture(batches, Other(), 0.25).draw(generator, 1, T) == "other" for _ in range(200)]
    assert 0.15 < np.mean(drawn) < 0.35


@pytest.mark.parametrize(("change", "found"), [({"frames": 9}, "9 frames at 30"), ({"fps": 25.0}, "12 frames at 25")])
def test_clips_of_another_length_or_rate_are_refused(clips: Path, tmp_path: Path, change: dict, found: str) -> None:
    for i, name in enumerate(TRAINED[:3]):
        write_clip(tmp_path / name, i, **({} if i else change))
    with pytest.raises(HmcapError, match=f"one length at 30 frames(.|\n)*{found}"):
        RenderedTakes(tmp_path, "train")


def test_too_few_clips_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / HELD_OUT[0], 1)
    with pytest.raises(HmcapError, match=r"found 1 in all, none of them to train on"):
        RenderedTakes(tmp_path, "train")
    with pytest.raises(HmcapError, match="no such folder"):
        RenderedTakes(tmp_path / "nothing", "train")


def test_a_run_learns_from_them_and_measures_on_what_is_held_out(clips: Path, tmp_path: Path) -> None:
    config = NetworkConfig(
        size="tiny", body_channels=16, hand_channels=8, dilations=(3,), attention_channels=8, decoder_channels=16,
        descent_channels=8, descent_hidden=16, iterations=1,
    )  # fmt: skip
    train, held = (RenderedBatches(RenderedTakes(clips, part)) for part in ("train", "held out"))
    for stage in (1, 2):
        settings = Settings(stage, 2, 2, T, 1, "measured", True, 0.0, "cpu")
        Training(tmp_path, config, settings, train, {"": [train.all()], "rendered_": [held.all()]}).run()
    rows = read_rows(tmp_path / "curves.csv")
    assert [(r["stage"], r["step"]) for r in rows] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert "rendered_pa_mm@4" in rows[0]
    assert "rendered_first_pa_mm@0" in rows[-1]
    assert rows[-1]["rendered_pa_mm@4"] != rows[-1]["pa_mm@4"]


def test_a_wrong_share_or_folder_is_said_before_anything_is_done(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bank = ["--bank", str(tmp_path), "--held-out", str(tmp_path)]
    assert training_main(["train", str(tmp_path / "run"), *bank, "--rendered-share", "1.5"]) == 2
    assert "found 1.5" in capsys.readouterr().err
    words = ["retrain", str(tmp_path / "out"), "--motions", str(tmp_path), "--rendered", str(tmp_path / "none")]
    assert training_main(words) == 1
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
