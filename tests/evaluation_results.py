"""Made results for the tests of reports: small sets whose errors are known."""

import io
from collections.abc import Callable

import numpy as np
from hmcap.models.camera import Camera
from hmcap.tools.evaluation.records import LIMBS, Case, Measured, Motion3D, Prediction
from hmcap.tools.evaluation.report.results import Results, make_results
from rich.console import Console

CAMERA = Camera(320, 240, 300.0, 300.0, 160.0, 120.0)
HOSTILE = 'walk<script>alert("1")</script>&'


def standing(frames: int, rng: np.random.Generator) -> np.ndarray:
    """(frames, 12, 3) a person four metres before the camera who sways."""
    side = {"left": 0.15, "right": -0.15}
    height = {"hip": 0.0, "knee": 0.4, "ankle": 0.8, "shoulder": -0.5, "elbow": -0.25, "wrist": 0.0}
    rest = np.array([[side[n.split("_")[0]], height[n.split("_")[1]], 4.0] for n in LIMBS])
    return rest + 0.02 * np.cumsum(rng.normal(size=(frames, 1, 3)), axis=0)


def made(
    set_name: str = "beam", frames: int = 20, cases: int = 4, scale: float = 1.0, seed: int = 0, notes: str = ""
) -> tuple[list[Measured], list[Case], dict]:
    """A set whose errors are known: method "solver" errs by ``scale`` x what "mediapipe" does, halved."""
    rng = np.random.default_rng(seed)
    measured, all_cases, predictions = [], [], {}
    for k in range(cases):
        truth = standing(frames, rng)
        case = Case(set_name, f"cam{k:02d}", 30.0, CAMERA, Motion3D(joint_names=LIMBS, joints_m=truth), notes=notes)
        all_cases.append(case)
        error = rng.uniform(0.02, 0.08, size=(frames, 1, 1)) * np.ones((1, 12, 1))
        for method, factor in (("solver", 0.5 * scale), ("mediapipe", 1.0)):
            joints = truth + factor * error * (1.0, 0.0, 0.0)
            per_frame = 1000 * np.linalg.norm(joints - truth, axis=-1)
            frame_mm = per_frame.mean(axis=1)
            frame_mm[0] = np.nan
            measured.append(
                Measured(
                    set_name,
                    case.name,
                    method,
                    frames,
                    np.arange(1, frames),
                    {"mpjpe_mm": frame_mm},
                    {"mpjpe_mm": dict(zip(LIMBS, np.mean(per_frame[1:], axis=0).tolist(), strict=True))},
                    {
                        "mpjpe_mm": float(np.nanmean(frame_mm)),
                        "jitter_10m_s3": 3.0 * factor * (k + 1),
                        "detected_percent": 95.0,
                    },
                    {"mpjpe_mm": frames - 1, "jitter_10m_s3": frames - 3, "detected_percent": frames},
                )
            )
            motion = Motion3D(joint_names=LIMBS, joints_m=joints)
            predictions[set_name, case.name, method] = Prediction(method, "1.0", {"smooth": True}, motion)
    return measured, all_cases, predictions


def shown(show: Callable[[Console], None]) -> str:
    """What is printed to a file 100 columns wide, without spaces at the ends of lines."""
    text = io.StringIO()
    show(Console(file=text, width=100, highlight=False))
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


def one_value(set_name: str, measure: str, **values: float) -> Results:
    """Results of a set with one case and one measure; a method for each value."""
    case = Case(set_name, "one", 0.0, CAMERA, Motion3D(joint_names=LIMBS, joints_m=np.zeros((1, 12, 3))))
    rows = np.arange(1)
    measured = [Measured(set_name, "one", m, 1, rows, {}, {}, {measure: v}) for m, v in values.items()]
    return make_results(measured, [case], {(set_name, "one", m): Prediction(m, "1", {}, Motion3D()) for m in values})
