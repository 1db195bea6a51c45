"""What an evaluation found: gathered, written, read, compared and shown."""

import json

import numpy as np
import pytest
from hmcap.models.camera import Camera
from hmcap.models.errors import HmcapError
from hmcap.tools.evaluation.records import LIMBS, Case, Measured, Motion3D, Prediction
from hmcap.tools.evaluation.results import make_results, read_json, write_json
from hmcap.tools.evaluation.results_file import to_text

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
                    {"mpjpe": frame_mm},
                    {"mpjpe": dict(zip(LIMBS, np.mean(per_frame[1:], axis=0).tolist(), strict=True))},
                    {"mpjpe": float(np.nanmean(frame_mm)), "jitter": 3.0 * factor * (k + 1), "detection": 95.0},
                    {"mpjpe": frames - 1, "jitter": frames - 3, "detection": frames},
                )
            )
            motion = Motion3D(joint_names=LIMBS, joints_m=joints)
            predictions[set_name, case.name, method] = Prediction(method, "1.0", {"smooth": True}, motion)
    return measured, all_cases, predictions


def test_the_mean_of_a_set_is_the_mean_over_all_its_frames() -> None:
    rng = np.random.default_rng(3)
    measured, cases, predictions = [], [], {}
    for name, frames in (("a", 3), ("b", 10), ("c", 40)):
        values = rng.uniform(10, 90, frames)
        cases.append(Case("s", name, 30.0, CAMERA, Motion3D(joint_names=LIMBS, joints_m=standing(frames, rng))))
        weights = {"rte": {"a": 1.0, "b": 3.0, "c": 0.0}[name]}
        value = {"rte": {"a": 2.0, "b": 6.0, "c": 100.0}[name]}
        measured.append(Measured("s", name, "m", frames, np.arange(frames), {"pa": values}, {}, value, weights))
        predictions["s", name, "m"] = Prediction("m", "1", {}, Motion3D())
    found = make_results(measured, cases, predictions).sets["s"].methods["m"].values
    every = np.concatenate([m.per_frame["pa"] for m in measured])
    assert found["pa"].value == pytest.approx(every.mean())
    assert found["pa"].low <= found["pa"].value <= found["pa"].high
    assert found["pa"].weight == 53
    assert found["rte"].value == pytest.approx((2.0 + 3 * 6.0) / 4)


def test_the_order_of_the_records_changes_nothing() -> None:
    measured, cases, predictions = made()
    turned = make_results(measured[::-1], cases[::-1], dict(reversed(predictions.items())))
    assert to_text(turned) == to_text(make_results(measured, cases, predictions))


def test_a_file_reads_back_to_the_same_bytes(tmp_path) -> None:
    measured, cases, predictions = made(notes=HOSTILE + "\u2028 ü")
    file = tmp_path / "new" / "a.json"
    write_json(make_results(measured, cases, predictions), file)
    again = tmp_path / "b.json"
    write_json(read_json(file), again)
    assert file.read_bytes() == again.read_bytes()
    read = read_json(file).sets["beam"]
    assert read.frames == 80
    assert read.common_rows == 76
    assert np.isnan(read.methods["solver"].cases["cam00"].per_frame["mpjpe"][0])
    assert read.notes == (HOSTILE + "\u2028 ü",)


def test_two_cases_give_no_interval() -> None:
    value = make_results(*made(cases=2)).sets["beam"].methods["solver"].values["mpjpe"]
    assert np.isnan([value.low, value.high]).all()
    assert value.cases == 2


def test_predictions_made_in_two_ways_are_told_apart() -> None:
    measured, cases, predictions = made()
    key = "beam", "cam02", "solver"
    predictions[key] = Prediction("solver", "1.1", {"smooth": False}, predictions[key].motion)
    variants = make_results(measured, cases, predictions).methods["solver"]
    assert [(v.version, v.cases) for v in variants] == [
        ("1.0", ("beam/cam00", "beam/cam01", "beam/cam03")),
        ("1.1", ("beam/cam02",)),
    ]


def test_a_record_twice_is_refused() -> None:
    measured, cases, predictions = made()
    with pytest.raises(ValueError, match="twice"):
        make_results([*measured, measured[0]], cases, predictions)


def _broken(change) -> str:
    tree = json.loads(to_text(make_results(*made(frames=6))))
    change(tree)
    return json.dumps(tree)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.update(schema="other"), "hmcap-evaluation"),
        (lambda t: t.update(schema_version=99), "99"),
        (lambda t: t.pop("sets"), '"sets"'),
        (lambda t: t["sets"]["beam"]["cases"].pop("cam01"), "cam01"),
        (lambda t: t["sets"]["beam"]["cases"]["cam01"].update(frames="6"), "'6'"),
        (lambda t: t["sets"]["beam"]["cases"]["cam01"].update(frames=7), "7 values"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["cases"]["cam00"].update(rows=[3, 2]), "increasing"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["cases"]["cam00"].update(rows=[0, 6]), "0 to 5"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["cases"]["cam00"]["weights"].pop("mpjpe"), "weight"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["values"]["mpjpe"].update(value="x"), "'x'"),
        (lambda t: t["sets"]["beam"]["methods"]["solver"]["values"]["mpjpe"].update(value=10**400), "number"),
        (lambda t: t["methods"]["solver"][0]["settings"].update(smooth=[1]), "smooth"),
        (lambda t: t["methods"].update(solver={}), "list"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(change, expected: str, tmp_path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(_broken(change), encoding="utf-8")
    with pytest.raises(HmcapError) as caught:
        read_json(file)
    assert str(file) in str(caught.value)
    assert expected in str(caught.value)
    assert "hmcap eval" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"schema": NaN}', b"[]"])
def test_what_is_no_json_is_named(content: bytes, tmp_path) -> None:
    file = tmp_path / "wrong.json"
    file.write_bytes(content)
    with pytest.raises(HmcapError, match=r"wrong\.json"):
        read_json(file)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(HmcapError, match=r"none\.json.*--json"):
        read_json(tmp_path / "none.json")
