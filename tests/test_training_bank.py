"""The motion bank of training, on tiny motion made here (and on recorded motion where HMCAP_DATA names a folder)."""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.markers import contact_rig
from hmcap.models.rotations import axis_angle_to_quaternion
from hmcap.models.skeleton import JOINT_NAMES, LEFT_HAND, PARENTS, RIGHT_HAND
from hmcap.tools.motions.contact import contact_labels
from hmcap.tools.motions.hand_motion import KeyPoses, mirror_hand, plain_key_poses
from hmcap.tools.motions.mocap import Clip, list_clips, read_clip, smoothed
from hmcap.tools.training import bank as command
from hmcap.tools.training.bank import build_bank, load_bank
from hmcap.tools.training.bank_files import mirror_quaternions, save_bank
from hmcap.tools.training.bank_sources import (
    RATE_HZ,
    SHORT_S,
    of_split,
    on_lowest_floor,
    on_the_floor,
    runs,
    steady,
)
from hmcap.tools.training.bank_weights import frame_weights, rarity
from scipy.spatial.transform import Rotation

BODY = steady(load_body())
J0 = np.asarray(BODY.J_template, np.float64)
STANDING_M = -float(BODY.v_template[:, 1].min())
CC0, NC = "CC0", "CC BY-NC 4.0"


def swaying(frames, seed, lift_m=0.0):
    """Poses and trans of someone who stands on straight legs and sways."""
    t, rng = np.arange(frames) / RATE_HZ, np.random.default_rng(seed)
    poses = np.zeros((frames, 55, 3))
    for name in ("spine1", "left_shoulder", "right_shoulder", "left_elbow", "neck"):
        waves = rng.normal(0, 0.3, 3)
        poses[:, JOINT_NAMES.index(name)] = np.sin(2 * np.pi * 0.6 * t + rng.uniform(0, 6))[:, None] * waves
    # All the way round, so that quaternions have to change their sign against the usual choice.
    poses[:, 0] = Rotation.from_rotvec((2 * np.pi * t / t[-1])[:, None] * [0, 1, 0]).as_rotvec()
    return poses, np.tile([0.0, STANDING_M + lift_m, 0.0], (frames, 1))


def made_clip(frames=240, seed=0, lift_m=0.0):
    return Clip("made", "made", CC0, "stand", "train", RATE_HZ, *swaying(frames, seed, lift_m))


def write_folder(folder, clips):
    """clips: rows of source, name, licence, split, poses, trans."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "rest_skeleton.npz", joints_m=J0, parents=PARENTS, joint_names=np.array(JOINT_NAMES))
    lines = ["source\tclip\tframes\tlicence\taction\tsplit"]
    for source, name, licence, split, poses, trans in clips:
        (folder / source).mkdir(exist_ok=True)
        rows = {"poses": poses.reshape(len(poses), -1), "trans": trans, "mocap_frame_rate": RATE_HZ, "up_axis": "y"}
        np.savez(folder / source / f"{name}.npz", **rows)
        lines.append(f"{source}\t{name}\t{len(poses)}\t{licence}\tstand\t{split}")
    (folder / "INDEX.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def build(out, motions, hands=None, licences="all", **more):
    options = {"generated_hours": 0.0, "hand_hours": 0.01, "seed": 3, "tell": lambda line: None} | more
    return build_bank(out, motions, hands, licences=licences, **options)


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    """One long clip, many short ones, some not free, one to test with, fingers in one."""
    rows = [("long", "a", CC0, "train", *swaying(240, 0))]
    rows += [("short", f"b{i}", CC0, "train", *swaying(75, 1 + i)) for i in range(6)]
    rows += [("closed", f"c{i}", NC, "train", *swaying(90, 20 + i)) for i in range(6)]
    rows += [("held", "d", CC0, "test", *swaying(200, 40))]
    poses, trans = swaying(60, 50)
    poses[:, 25:] += 0.4 * np.sin(np.arange(60) / 9)[:, None, None] * np.array([0.0, 0.1, 1.0])
    rows.append(("short", "fingers", CC0, "train", poses, trans))
    return write_folder(tmp_path_factory.mktemp("motions"), rows)


@pytest.fixture(scope="module")
def bank(motions, tmp_path_factory):
    return build(tmp_path_factory.mktemp("banks") / "all", motions)


def rows_of(bank, i):
    return slice(int(bank.body_clips.begin[i]), int(bank.body_clips.begin[i] + bank.body_clips.frames[i]))


def rotations(q):
    return Rotation.from_quat(np.asarray(q, np.float64).reshape(-1, 4), scalar_first=True)


def test_the_arrays_are_the_clip(bank, motions):
    i = bank.body_clips.name.index("a")
    assert bank.body_clips.kind[i] == "recorded"
    assert bank.body_clips.source[i] == "long"
    entry = next(e for e in list_clips(motions) if e.name == "a")
    clip = smoothed(read_clip(entry, RATE_HZ, BODY))
    rows = rows_of(bank, i)
    assert bank.body_clips.frames[i] == clip.frames
    wanted = Rotation.from_rotvec(clip.poses[:, :22].reshape(-1, 3))
    assert np.degrees((rotations(bank.body[rows]).inv() * wanted).magnitude()).max() < 0.1
    posed = BODY.with_shape().with_pose(clip.poses, clip.trans_m)
    np.testing.assert_allclose(bank.pelvis[rows], posed.joints_m[:, 0], atol=1e-5)
    labels = contact_labels(contact_rig(BODY).in_world_m(posed), RATE_HZ)
    assert labels.any()
    assert np.array_equal(bank.contact[rows], labels)


def test_clips_fill_the_arrays_and_are_smooth_within(bank):
    for clips, rows in ((bank.body_clips, bank.body), (bank.hand_clips, bank.hands)):
        ends = clips.begin + clips.frames
        assert clips.begin[0] == 0
        assert ends[-1] == len(rows)
        assert np.array_equal(ends[:-1], clips.begin[1:])
        for b, e in zip(clips.begin, ends, strict=True):
            q = np.asarray(rows[b:e], np.float64)
            step = np.sum(q[1:] * q[:-1], axis=-1)
            assert step.min() > np.cos(np.radians(25) / 2)  # neither a sign nor a pose jumps
    for i in range(len(bank.body_clips)):
        step = np.diff(bank.pelvis[rows_of(bank, i)], axis=0)
        assert np.linalg.norm(step, axis=-1).max() < 0.08


def test_short_clips_become_takes(bank, motions):
    stitched = [i for i, kind in enumerate(bank.body_clips.kind) if kind == "stitched"]
    assert stitched
    assert max(bank.body_clips.frames[i] for i in stitched) > SHORT_S * RATE_HZ
    # Every short clip is in there: no more is lost than what blends take.
    assert sum(bank.body_clips.frames[i] for i in stitched) > 0.5 * (6 * 75 + 6 * 90 + 60)


def test_weights(bank):
    weight = np.asarray(bank.weight, np.float64)
    assert weight.min() > 0
    assert weight.sum() == pytest.approx(1, abs=1e-5)
    for i in range(len(bank.body_clips)):
        assert weight[rows_of(bank, i)].sum() == pytest.approx(bank.body_clips.weight[i], rel=1e-4)
    assert bank.hand_clips.weight.min() > 0
    assert bank.hand_clips.weight.sum() == pytest.approx(1)
    assert sum(s["weight"] for s in bank.sources["body"].values()) == pytest.approx(1)


def test_rare_poses_and_small_sources_weigh_more():
    rng = np.random.default_rng(0)
    common, rare = rng.normal(0, 0.01, (3000, 5)), rng.normal(1, 0.01, (60, 5))
    rarer = rarity(np.concatenate([common, rare]), rng)
    assert rarer[3000:].mean() > 1.5 * rarer[:3000].mean()
    assert np.array_equal(rarer > 0, np.ones(3060, bool))
    features = rng.normal(0, 0.1, (5000, 5))
    source = np.repeat(["large", "small", "made"], [3600, 400, 1000])
    weight = frame_weights(features, source, source == "made", rng)
    share = {s: weight[source == s].sum() for s in np.unique(source)}
    assert share["made"] == pytest.approx(0.5)
    assert share["large"] / share["small"] == pytest.approx(np.sqrt(3600 / 400))


def test_same_seed_same_bank(bank, motions, tmp_path):
    again = build(tmp_path / "again", motions)
    for name in ("body", "pelvis", "contact", "weight", "hands"):
        assert np.array_equal(getattr(again, name), getattr(bank, name))
    other = build(tmp_path / "other", motions, seed=4)
    assert not np.array_equal(other.hands, bank.hands)


def test_permissive_leaves_out_what_is_not_free(motions, tmp_path):
    hands = tmp_path / "hands"
    hands.mkdir()
    keys = plain_key_poses().poses
    np.savez(hands / "key_poses_permissive.npz", axis_angle=keys)
    np.savez(hands / "key_poses_noncommercial.npz", axis_angle=keys)
    np.savez(hands / "key_poses_permissive_by_name.npz", axis_angle=keys, licence="CC BY-NC 4.0")
    lines = []
    free = build(tmp_path / "free", motions, hands, "permissive", tell=lines.append)
    assert set(free.sources["body"]) == {"long", "short"}
    assert free.licences == "permissive"
    assert free.sources["hands"] == ["key_poses_permissive.npz"]
    assert sum("left out key_poses" in line for line in lines) == 2
    everything = build(tmp_path / "everything", motions, hands, "all")
    assert set(everything.sources["body"]) == {"long", "short", "closed"}
    assert len(everything.sources["hands"]) == 3
    with pytest.raises(HmcapError, match="none whose licence is known"):
        build(tmp_path / "none", motions, hands / "key_poses_noncommercial.npz", "permissive")


def test_splits_share_nothing(motions, tmp_path, bank):
    test = build(tmp_path / "test", motions, split="test")
    assert set(test.sources["body"]) == {"held"}
    assert "held" not in bank.sources["body"]
    keys = KeyPoses(np.arange(20 * 45, dtype=float).reshape(20, 15, 3), "")
    parts = [of_split(keys, s).poses for s in ("train", "test")]
    assert len(parts[1]) == 2
    assert len(parts[0]) == 18
    assert not set(parts[0][:, 0, 0]) & set(parts[1][:, 0, 0])


def test_fingers_of_recordings_are_right_hands(bank, motions):
    takes = [i for i, kind in enumerate(bank.hand_clips.kind) if kind == "recorded"]
    assert len(takes) == 2
    entry = next(e for e in list_clips(motions) if e.name == "fingers")
    clip = smoothed(read_clip(entry, RATE_HZ, BODY))
    for i, wanted in zip(takes, (mirror_hand(clip.poses[:, LEFT_HAND]), clip.poses[:, RIGHT_HAND]), strict=True):
        begin = bank.hand_clips.begin[i]
        got = rotations(bank.hands[begin : begin + bank.hand_clips.frames[i]])
        assert np.degrees((got.inv() * Rotation.from_rotvec(wanted.reshape(-1, 3))).magnitude()).max() < 0.1


def test_a_mirrored_hand_is_the_mirror_image():
    key = plain_key_poses().poses
    q = axis_angle_to_quaternion(key)
    np.testing.assert_allclose(mirror_quaternions(q), axis_angle_to_quaternion(mirror_hand(key)), atol=1e-12)
    poses = np.zeros((len(key), 55, 3))
    poses[:, RIGHT_HAND] = key
    poses[:, LEFT_HAND] = rotations(mirror_quaternions(q)).as_rotvec().reshape(key.shape)
    joints = BODY.with_shape().with_pose(poses).joints_m
    np.testing.assert_allclose(joints[:, LEFT_HAND] * [-1, 1, 1], joints[:, RIGHT_HAND], atol=3e-3)


def test_who_hangs_in_the_air_is_left_out_and_who_jumps_is_not():
    clip = made_clip()
    assert on_the_floor(clip, BODY).all()
    climbing = replace(clip, trans_m=clip.trans_m + np.where(np.arange(240) < 150, 0, 0.5)[:, None] * [0, 1, 0])
    assert runs(on_the_floor(climbing, BODY)) == [(0, 150)]
    t = (np.arange(240) - 100) / RATE_HZ
    height = np.clip(3.0 * t - 9.81 / 2 * t**2, 0, None)  # a flight of 0.6 s
    jumping = replace(clip, trans_m=clip.trans_m + height[:, None] * [0, 1, 0])
    assert height.max() > 0.4
    assert on_the_floor(jumping, BODY).all()


def test_the_floor_is_the_lowest_that_is_stood_on():
    clip = made_clip()
    steps = np.where(np.arange(240) < 90, -0.4, 0.0)[:, None] * [0, 1, 0]
    found = on_lowest_floor(replace(clip, trans_m=clip.trans_m + steps), BODY)
    np.testing.assert_allclose(found.trans_m, clip.trans_m + steps + [0, 0.4, 0], atol=0.01)
    assert on_lowest_floor(clip, BODY) is clip


def test_generated_motion_is_half_of_what_is_drawn(motions, tmp_path):
    bank = build(tmp_path / "made", motions, generated_hours=0.005)
    made = np.array([k == "generated" for k in bank.body_clips.kind])
    assert bank.body_clips.frames[made].sum() >= 0.005 * 3600 * RATE_HZ
    assert bank.body_clips.weight[made].sum() == pytest.approx(0.5, abs=1e-5)


def test_nan_is_refused_with_the_file(tmp_path):
    poses, trans = swaying(200, 0)
    poses[17, 4, 1] = np.nan
    folder = write_folder(tmp_path / "nan", [("s", "broken_one", CC0, "train", poses, trans)])
    with pytest.raises(HmcapError, match=r"broken_one\.npz"):
        build(tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()


def test_nothing_to_use_is_refused(motions, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(HmcapError, match="empty"):
        build(tmp_path / "out", tmp_path / "empty")
    only_closed = write_folder(tmp_path / "closed", [("s", "c", NC, "train", *swaying(200, 0))])
    with pytest.raises(HmcapError, match="--licences all"):
        build(tmp_path / "out", only_closed, licences="permissive")
    with pytest.raises(HmcapError, match=r"test split.*found none"):
        build(tmp_path / "out", only_closed, split="test")
    with pytest.raises(HmcapError, match="no npz file"):
        build(tmp_path / "out", motions, tmp_path / "empty")


def test_what_cannot_be_written_is_refused(bank, tmp_path):
    (tmp_path / "taken").write_text("a file")
    arrays = {name: np.asarray(getattr(bank, name)) for name in ("body", "pelvis", "contact", "weight", "hands")}
    about = {"rate_hz": RATE_HZ, "split": "train", "licences": "all", "seed": 0, "sources": {}}
    with pytest.raises(HmcapError, match="taken"):
        save_bank(tmp_path / "taken", arrays, bank.body_clips, bank.hand_clips, about)
    broken = arrays | {"pelvis": np.where(np.arange(len(bank.body))[:, None] == 7, np.nan, bank.pelvis)}
    with pytest.raises(HmcapError, match="finite pelvis"):
        save_bank(tmp_path / "bank", broken, bank.body_clips, bank.hand_clips, about)
    with pytest.raises(HmcapError, match=r"no bank\.json"):
        load_bank(tmp_path / "bank")


def damaged(folder, change):
    table = json.loads((folder / "bank.json").read_text())
    change(table)
    (folder / "bank.json").write_text(json.dumps(table))


def test_what_is_no_bank_says_so(motions, tmp_path):
    with pytest.raises(HmcapError, match="no such folder"):
        load_bank(tmp_path / "nowhere")
    with pytest.raises(HmcapError, match=r"no bank\.json"):
        load_bank(tmp_path)
    folder = tmp_path / "bank"
    build(folder, motions)
    loaded = load_bank(folder)
    assert isinstance(loaded.body, np.memmap)
    assert not loaded.body.flags.writeable
    text = (folder / "bank.json").read_text()
    changes = {
        "version 99": lambda t: t.update(version=99),
        "damaged": lambda t: t.pop("hand_clips"),
        "holds": lambda t: t["counts"].update(pelvis=1),
        "beyond": lambda t: t["body_clips"]["frames"].__setitem__(-1, 10**6),
        "columns": lambda t: t["body_clips"]["kind"].pop(),
    }
    for message, change in changes.items():
        damaged(folder, change)
        with pytest.raises(HmcapError, match=message):
            load_bank(folder)
        (folder / "bank.json").write_text(text)
    (folder / "bank.json").write_text(text[:100])
    with pytest.raises(HmcapError, match="damage"):
        load_bank(folder)
    (folder / "bank.json").write_text(text)
    (folder / "body.npy").write_bytes(b"no array")
    with pytest.raises(HmcapError, match="damaged"):
        load_bank(folder)


def parsed(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(words))


def test_command_line(motions, tmp_path, capsys):
    out = tmp_path / "bank"
    words = (str(out), "--motions", str(motions), "--hours", "0", "--hand-hours", "0.01")
    assert command.main(parsed(*words)) == 0
    printed = capsys.readouterr().out
    assert "wrote" in printed
    assert "% of the drawn frames" in printed
    assert load_bank(out).licences == "permissive"
    assert "closed" not in load_bank(out).sources["body"]
    with pytest.raises(UsageError, match="--hours"):
        command.main(parsed(str(out), "--motions", str(motions), "--hours", "-1"))


@pytest.mark.skipif("HMCAP_DATA" not in os.environ, reason="set HMCAP_DATA to a folder with mocap and hands")
def test_recorded_motion(tmp_path):
    data = Path(os.environ["HMCAP_DATA"])
    bank = build(tmp_path / "bank", data / "mocap", data / "hands", "permissive", split="test")
    assert len(bank.body) > 3 * 60 * RATE_HZ
    lengths = np.linalg.norm(np.asarray(bank.body, np.float64), axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)
    assert 0.6 < bank.contact.any(axis=1).mean() <= 1
    assert 0.05 < bank.pelvis[:, 1].min() < bank.pelvis[:, 1].max() < 2
    assert bank.sources["hands"] == ["key_poses_permissive.npz"]
