"""Peers: the script's files as predictions, and running the script where they are missing."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from eval_cases import DOTS, SIZE, DotStage, nothing, picture_case, walk_case, write_pictures
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.proxies import BLAZEPOSE_NAMES
from hmcap.tools import peer_mediapipe
from hmcap.tools.evaluation.methods import peers
from hmcap.tools.evaluation.methods.landmarks import Landmarks
from hmcap.tools.evaluation.methods.peers import MediaPipe, PeerMissing, tag_of
from hmcap.tools.evaluation.methods.sources import NotThere, Peer
from hmcap.tools.evaluation.records import Case

STUB = '''
"""Stands in for the peer's script: the brightest pixel of each picture is every landmark."""
import json, sys
from pathlib import Path
import cv2, numpy as np
jobs = json.loads(Path(sys.argv[sys.argv.index("--jobs") + 1]).read_text(encoding="utf-8"))
for job in jobs:
    source = Path(job["source"])
    if "refuse" in job["out"]:
        print(f"FAILED\\t{job['out']}\\tit would not.")
        continue
    files = sorted(source.iterdir())[: job["max_frames"]]
    images = [cv2.imread(str(f)) for f in files]
    dots = np.array([np.unravel_index(i[..., 0].argmax(), i.shape[:2])[::-1] for i in images], np.float32)
    n, size = len(images), [images[0].shape[1], images[0].shape[0]]
    settings = {"mediapipe": "0.10.21", "smooth_landmarks": "--smooth" in sys.argv, "source": source.name,
                "image_size_px": size, "tag": job["tag"]}
    rng = np.random.default_rng(0)
    np.savez(
        job["out"], settings=json.dumps(settings), index=np.arange(n), pose_px=np.tile(dots[:, None], (1, 33, 1)),
        visibility=np.full((n, 33), 0.8, np.float32), world_m=rng.normal(size=(n, 33, 3)),
        hands_px=np.tile(dots[:, None, None], (1, 2, 21, 1)), hands_world_m=rng.normal(size=(n, 2, 21, 3)))
    with open(Path(job["out"]).with_suffix(".runs"), "a") as runs:
        runs.write("x")
    print(f"DONE\\t{job['out']}")
'''


@pytest.fixture
def case(tmp_path) -> Case:
    return picture_case(write_pictures(tmp_path / "pictures"))


@pytest.fixture
def script(tmp_path, monkeypatch) -> Path:
    file = tmp_path / "stub.py"
    file.write_text(STUB, encoding="utf-8")
    monkeypatch.setattr(peers, "SCRIPT", file)
    return file


def results(case: Case, frames: int = 6, **changes) -> dict[str, np.ndarray]:
    """What the script writes; nobody in frame 1, no left hand in frame 2."""
    rng = np.random.default_rng(5)
    pose = rng.uniform(5, 40, (frames, 33, 2)).astype(np.float32)
    world = rng.normal(size=(frames, 33, 3)).astype(np.float32)
    hands = rng.uniform(5, 40, (frames, 2, 21, 2)).astype(np.float32)
    hands_world = rng.normal(size=(frames, 2, 21, 3)).astype(np.float32)
    pose[1], world[1], hands[1], hands_world[1] = np.nan, np.nan, np.nan, np.nan
    hands[2, 0], hands_world[2, 0] = np.nan, np.nan
    settings = {
        "mediapipe": "0.10.21", "smooth_landmarks": False, "image_size_px": list(SIZE), "source": "x",
        "tag": tag_of(case),
    }  # fmt: skip
    data = {
        "index": np.arange(frames), "pose_px": pose, "visibility": rng.uniform(0.2, 1, (frames, 33)),
        "world_m": world, "hands_px": hands, "hands_world_m": hands_world, "settings": np.array(json.dumps(settings)),
    }  # fmt: skip
    return data | changes


def write(peer: MediaPipe, case: Case, **data) -> Path:
    path = peer.file(case)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **data)
    return path


def test_a_result_becomes_a_prediction(tmp_path, case):
    peer, data = MediaPipe(tmp_path), results(case)
    path = write(peer, case, **data)
    assert path == tmp_path / "mediapipe" / "beam" / "dots.npz"
    some = replace(case, footage=replace(case.footage, index=np.array([1, 2, 5])))
    write(peer, some, **results(some))
    prediction = peer.predict(some)
    motion = prediction.motion
    assert (prediction.method, prediction.version, prediction.file) == ("mediapipe", "0.10.21", path)
    assert prediction.settings == {"smooth_landmarks": False}
    wrist = motion.joints_m[:, motion.joint_names.index("left_wrist")]
    expected = data["world_m"][[1, 2, 5], BLAZEPOSE_NAMES.index("left_wrist")]
    np.testing.assert_array_equal(wrist, expected.astype(np.float64))
    np.testing.assert_array_equal(motion.hands_m, data["hands_world_m"][[1, 2, 5]].astype(np.float64))
    assert not motion.in_world
    toe = motion.keypoint_names.index("right_big_toe")
    np.testing.assert_array_equal(motion.keypoints_px[1:, toe], data["pose_px"][[2, 5], 32].astype(np.float64))
    hand = motion.keypoint_names.index("left_hand_thumb2")
    np.testing.assert_array_equal(np.isnan(motion.keypoints_px[:, hand, 0]), [True, True, False])
    assert np.isnan(motion.joints_m[0]).all()


WRONG = {
    "shape": ({"world_m": np.zeros((6, 32, 3))}, "world_m"),
    "absent": ({"pose_px": np.zeros((5, 33, 2))}, "pose_px"),
    "settings": ({"settings": np.array("[1]")}, "settings"),
    "footage": ({"settings": np.array(json.dumps({"tag": "00"}))}, "other footage"),
    "size": ({"settings": np.array(json.dumps({"image_size_px": [48, 64]}))}, "64x48"),
    "frames": ({"index": np.array([0, 1, 2, 3, 4, 9])}, "frame 5"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_result_is_refused_by_name(tmp_path, case, name):
    changes, said = WRONG[name]
    path = write(MediaPipe(tmp_path), case, **(results(case) | changes))
    with pytest.raises(HmcapError, match=said) as error:
        MediaPipe(tmp_path).predict(case)
    assert str(path) in str(error.value)


def test_without_results_it_says_what_to_type(tmp_path, case):
    peer = MediaPipe(tmp_path, smooth=True)
    assert peer.prepare([case], print) == {}
    with pytest.raises(PeerMissing, match=r"mediapipe-smooth.*pip install mediapipe==0\.10\.21.*--peer-python"):
        peer.predict(case)
    with pytest.raises(NotThere, match="needs pictures"):
        Peer(peer).predict(walk_case(3), nothing)


def test_the_script_runs_where_results_are_missing_and_only_there(tmp_path, case, script):
    other = replace(case, name="other")
    peer = MediaPipe(tmp_path / "peers", Path(sys.executable), smooth=True)
    assert peer.prepare([case, other, walk_case(3)], nothing_said) == {}
    assert peer.prepare([case, other], nothing_said) == {}
    runs = peer.file(case).with_suffix(".runs")
    assert runs.read_text() == "x"
    assert peer.predict(other).settings == {"smooth_landmarks": True}
    assert replace(peer, fresh=True).prepare([case], nothing_said) == {}
    assert runs.read_text() == "xx"
    (case.footage.source / "0.png").write_bytes((case.footage.source / "1.png").read_bytes())
    peer.prepare([case], nothing_said)
    assert runs.read_text() == "xxx"


def test_a_peer_is_shown_the_person_meant_like_our_own_methods(tmp_path, case, script):
    boxed = replace(case, box_px=np.column_stack([DOTS - 5.0, np.full((6, 2), 10.0)]))
    peer = MediaPipe(tmp_path / "peers", Path(sys.executable))
    assert peer.prepare([boxed], nothing_said) == {}
    theirs = peer.predict(boxed).motion.keypoints_px[:, 0]
    ours = Landmarks(tmp_path / "proxies", stage=DotStage())(boxed, nothing)
    np.testing.assert_array_equal(theirs, DOTS)
    np.testing.assert_array_equal([p.xy_px[0] for p in ours], theirs)


def test_a_case_that_fails_leaves_the_others(tmp_path, case, script):
    bad, gone = replace(case, name="refuse"), picture_case(tmp_path / "gone", name="gone")
    peer = MediaPipe(tmp_path / "peers", Path(sys.executable))
    errors = peer.prepare([bad, gone, case], nothing_said)
    assert errors.keys() == {"refuse", "gone"}
    assert "it would not" in str(errors["refuse"])
    assert str(tmp_path / "gone") in str(errors["gone"])
    assert peer.predict(case).method == "mediapipe"


def test_an_environment_that_does_not_work_is_named(tmp_path, case, script):
    with pytest.raises(UsageError, match=r"no_python.*pip install"):
        MediaPipe(tmp_path, tmp_path / "no_python").prepare([case], nothing_said)
    script.write_text("import no_such_library", encoding="utf-8")
    with pytest.raises(HmcapError, match=r"exit code 1.*no_such_library.*pip install"):
        MediaPipe(tmp_path, Path(sys.executable)).prepare([case], nothing_said)


def test_an_older_result_stays_where_the_script_makes_no_new_one(tmp_path, case, script):
    peer = MediaPipe(tmp_path / "peers", Path(sys.executable))
    assert peer.prepare([case], nothing_said) == {}
    kept = peer.file(case).read_bytes()
    script.write_text("import no_such_library", encoding="utf-8")
    fresh = replace(peer, fresh=True)
    with pytest.raises(HmcapError, match="no_such_library"):
        fresh.prepare([case], nothing_said)
    with pytest.raises(UsageError):
        replace(fresh, python=tmp_path / "no_python").prepare([case], nothing_said)
    assert peer.file(case).read_bytes() == kept


def test_a_script_that_dies_on_the_way_fails_the_cases_it_left(tmp_path, case, script):
    dies = 'if "last" in job["out"]:\n        sys.exit(3)\n    if "refuse" in'
    text = script.read_text(encoding="utf-8").replace('if "refuse" in', dies)
    script.write_text(text, encoding="utf-8")
    peer = MediaPipe(tmp_path / "peers", Path(sys.executable))
    errors = peer.prepare([case, replace(case, name="last"), replace(case, name="never")], nothing_said)
    assert errors.keys() == {"last", "never"}
    assert "exit code 3" in str(errors["never"])
    assert peer.predict(case).method == "mediapipe"


def nothing_said(text: str) -> None:
    """Progress that nobody reads."""


def test_the_script_reads_a_folder_in_the_order_of_hmcap(tmp_path):
    for i in (10, 9, 2):
        cv2.imwrite(str(tmp_path / f"f{i}.png"), np.full((8, 8, 3), i * 10, np.uint8))
    frames = list(peer_mediapipe.read_frames(tmp_path, 1, 2))
    assert [(i, int(image[0, 0, 0])) for i, image in frames] == [(0, 20), (1, 90)]


def test_the_script_reads_one_image_and_not_its_neighbours(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"img_{i:03d}.png"), np.full((8, 8, 3), 50 * i, np.uint8))
    frames = list(peer_mediapipe.read_frames(tmp_path / "img_001.png", 1, 10))
    assert [(i, int(image[0, 0, 0])) for i, image in frames] == [(0, 50)]
