"""What does not fit together is refused, in words that name the file, the case, the expectation and the finding."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eval_case import T, made_case, predicted
from hmcap.models.errors import HmcapError
from hmcap.models.proxies import PROXY_NAMES
from hmcap.tools.evaluation.measure import measure, truth_as_prediction
from hmcap.tools.evaluation.records import LIMBS, Case, Footage, Surface

pytestmark = pytest.mark.filterwarnings("error")

LIMB_COLUMNS = [PROXY_NAMES.index(n) for n in LIMBS]


@pytest.fixture(scope="module")
def case() -> Case:
    return made_case()


def _with(array: np.ndarray, at: tuple, value: float) -> np.ndarray:
    array = np.array(array, np.float64)
    array[at] = value
    return array


WRONG = {
    "fewer joints than names": (
        lambda t: {"joints_m": t.joints_m[:, :60]}, r"joints of shape \(12, 67, 3\).*found \(12, 60, 3\)",
    ),
    "fewer rows": (lambda t: {"joints_m": t.joints_m[:9]}, r"joints of shape \(12, 67, 3\).*found \(9, 67, 3\)"),
    "a compared joint missing": (
        lambda t: {"joint_names": tuple(n.replace("left_knee", "knee") for n in PROXY_NAMES)},
        "no left_knee among its 67",
    ),
    "a joint twice": (lambda t: {"joint_names": ("nose", *PROXY_NAMES[:-1])}, "nose more than once"),
    "a joint not found in a frame that is": (
        lambda t: {"joints_m": _with(t.joints_m, (4, LIMB_COLUMNS[3]), np.nan)}, r"1 found in part.*row 4 \(frame 40",
    ),
    "infinity": (lambda t: {"joints_m": _with(t.joints_m, (6, 1, 2), np.inf)}, r"finite.*infinity in row 6 \(frame 60"),
    "nonsense": (lambda t: {"joints_m": _with(t.joints_m, (6, 1, 2), 1e200)}, r"no larger than 1e\+06.*1e\+200"),
    "words": (lambda t: {"joints_m": np.full(t.joints_m.shape, "x")}, "numbers for joints"),
    "half a hand": (lambda t: {"hands_m": _with(t.hands_m, (2, 1, 5), np.nan)}, "a hand wholly found.*row 2"),
    "one hand only": (lambda t: {"hands_m": t.hands_m[:, :1]}, r"hands of shape \(12, 2, 21, 3\)"),
    "half a foot point": (lambda t: {"feet_m": _with(t.feet_m, (3, 0, 1), np.nan)}, "a foot point wholly found.*row 3"),
    "contact beyond 1": (lambda t: {"contact": _with(t.contact, (1, 1), 3)}, "no larger than 1.*found 3 in row 1"),
    "contact below 0": (lambda t: {"contact": _with(t.contact, (1, 1), -1)}, "between 0 and 1.*found -1"),
    "a camera of another layout": (
        lambda t: {"T_cam_world": np.swapaxes(t.T_cam_world, 1, 2)}, "rigid transforms.*row 0",
    ),
    "no camera": (lambda t: {"T_cam_world": _with(t.T_cam_world, (8,), np.nan)}, "in every frame with joints.*row 8"),
    "half a key point": (lambda t: {"keypoints_px": _with(t.keypoints_px, (0, 3, 1), np.nan)}, "a key point wholly"),
    "poses of a smaller tree": (
        lambda t: {"body": replace(t.body, poses=t.body.poses[:, :24])}, r"poses of shape \(12, 55, 3\)",
    ),
    "half a pose": (
        lambda t: {"body": replace(t.body, poses=_with(t.body.poses, (5, 2), np.nan))}, "poses wholly.*row 5",
    ),
    "many shapes": (lambda t: {"body": replace(t.body, betas=np.zeros((T, 10)))}, "one row of finite shape"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_in_words(case, change, words):
    numbered = replace(case, footage=Footage(Path("walk.mp4"), 10 * np.arange(T)))
    prediction = replace(predicted(case, **change(case.truth)), file=Path("made-up.npz"))
    with pytest.raises(HmcapError) as error:
        measure(numbered, prediction)
    message = str(error.value)
    assert re.search(words, message), message
    assert message.startswith("Expected ")
    assert "the prediction of made-up for made/walk in made-up.npz" in message
    assert message.endswith("made again.")
    assert "\n" not in message


def test_a_truth_that_does_not_fit_is_refused_too(case):
    broken = replace(case, truth=replace(case.truth, joints_m=_with(case.truth.joints_m, (0, 0, 0), np.inf)))
    with pytest.raises(HmcapError, match=r"in the truth of made/walk, found infinity in row 0.*Check the files"):
        measure(broken, truth_as_prediction(case))


def test_meshes_that_do_not_fit_are_refused(case):
    truth = case.truth.surface
    fewer = Surface(truth.topology, lambda rows: truth.vertices_m(rows)[:, :100])
    with pytest.raises(HmcapError, match=r"meshes of one shape for made/walk.*100"):
        measure(case, predicted(case, surface=fewer))
    late = Surface(truth.topology, lambda rows: truth.vertices_m(rows)[1:])
    with pytest.raises(HmcapError, match=r"mesh of shape \(12, V, 3\).*found \(11"):
        measure(case, predicted(case, surface=late))
