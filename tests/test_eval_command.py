"""``hmcap eval`` from its words to its files, on tiny sets and predictions that are brought."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from eval_files import make_beam, make_stills3d
from hmcap.engines.landmarks import LandmarkStage
from hmcap.engines.registry import resolve
from hmcap.models.errors import HmcapError, UsageError
from hmcap.realtime import cli
from hmcap.tools.evaluation import command
from hmcap.tools.evaluation.command import choose_sources, main, set_places
from hmcap.tools.evaluation.measure import truth_as_prediction
from hmcap.tools.evaluation.methods.sources import Truth
from hmcap.tools.evaluation.methods.store import FORMAT
from hmcap.tools.evaluation.records import Prediction
from hmcap.tools.evaluation.sets import SETS, SetMissing, load_set


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder with two tiny sets: beam (2 cases of 5 rows) and stills3d (2 of 1)."""
    folder = tmp_path / "data"
    for name, make in (("beam", make_beam), ("stills3d", make_stills3d)):
        place = folder / SETS[name].relative
        place.mkdir(parents=True)
        make(place)
    return folder


@pytest.fixture
def words(data, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.delenv("HMCAP_DATA", raising=False)
    return ["--data", str(data), "--predictions", str(tmp_path / "kept")]


@pytest.fixture
def no_page(monkeypatch) -> None:
    """Without the page, which takes longer to draw than all the rest."""
    monkeypatch.setattr("hmcap.tools.evaluation.command.write_page", lambda *_: None)


def bring(data: Path, folder: Path, set_name: str = "beam", method: str = "other", shift_m: float = 0.1) -> None:
    """Predictions of another system: the truth, with the left wrist away by ``shift_m``."""
    for case in load_set(set_name, data / SETS[set_name].relative):
        path = folder / method / set_name / f"{case.name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        joints = case.truth.joints_m.copy()
        joints[:, case.truth.joint_names.index("left_wrist"), 1] += shift_m
        T = {} if case.truth.T_cam_world is None else {"T_cam_world": case.truth.T_cam_world}
        np.savez(
            path, format=FORMAT, method=method, version="3.1", settings='{"size": "large"}',
            index=case.footage.index, joint_names=case.truth.joint_names, joints_m=joints,
            in_world=case.truth.in_world, **T,
        )  # fmt: skip


def values(folder: Path, set_name: str, method: str) -> dict[str, float]:
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {k: v["value"] for k, v in results["sets"][set_name]["methods"][method]["values"].items()}


def test_truth_has_no_error_and_a_known_mistake_its_size(words, data, tmp_path, capsys):
    bring(data, tmp_path / "kept")
    out = tmp_path / "out"
    assert main([*words, "beam", "--methods", "truth,other", "--out", str(out)]) == 0
    assert values(out, "beam", "truth")["mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert values(out, "beam", "other")["mpjpe_mm"] == pytest.approx(100 / 12)
    assert (out / "report.html").stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "8.3" in shown
    assert "MPJPE" in shown
    variants = json.loads((out / "results.json").read_text(encoding="utf-8"))["methods"]["other"]
    assert variants[0]["version"] == "3.1"
    assert variants[0]["settings"] == {"size": "large"}


def test_two_runs_give_the_same_bytes(words, data, tmp_path):
    bring(data, tmp_path / "kept")
    files = []
    for name in ("a", "b"):
        assert main([*words, "--methods", "truth,other", "--out", str(tmp_path / name), "--quiet"]) == 0
        files.append([(tmp_path / name / f).read_bytes() for f in ("results.json", "report.html")])
    assert files[0] == files[1]


@pytest.mark.usefixtures("no_page")
def test_all_are_measured_on_the_rows_that_all_found(words, data, tmp_path):
    for name, gone in (("one", 1), ("two", 3)):
        bring(data, tmp_path / "kept", method=name)
        path = tmp_path / "kept" / name / "beam" / "cam01.npz"
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        arrays["joints_m"][gone] = np.nan
        np.savez(path, **arrays)
    out = tmp_path / "out"
    assert main([*words, "beam", "--methods", "one,two,truth", "--out", str(out), "--quiet"]) == 0
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["sets"]["beam"]["methods"]
    for name in ("one", "two", "truth"):
        assert results[name]["cases"]["cam01"]["rows"] == [0, 2, 4]
        assert results[name]["cases"]["cam02"]["rows"] == [0, 1, 2, 3, 4]
    assert values(out, "beam", "one")["detected_percent"] == pytest.approx(90)
    assert values(out, "beam", "truth")["detected_percent"] == 100


@pytest.mark.usefixtures("no_page")
def test_frames_and_cases_take_a_part(words, data, tmp_path):
    bring(data, tmp_path / "kept")
    out = tmp_path / "out"
    options = ["--methods", "truth,other", "--frames", "3", "--cases", "beam/*02", "--out", str(out), "--quiet"]
    assert main([*words, *options]) == 0
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["sets"]
    assert results.keys() == {"beam"}
    assert results["beam"]["cases"].keys() == {"cam02"}
    assert results["beam"]["cases"]["cam02"]["frames"] == 3
    assert values(out, "beam", "other")["mpjpe_mm"] == pytest.approx(100 / 12)


@pytest.mark.usefixtures("no_page")
def test_a_file_that_fails_leaves_the_others(words, data, tmp_path, capsys):
    bring(data, tmp_path / "kept")
    bad = tmp_path / "kept" / "other" / "beam" / "cam01.npz"
    bad.write_bytes(b"nothing of use")
    out = tmp_path / "out"
    assert main([*words, "beam", "--methods", "truth,other", "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert f"beam/cam01, other: Expected a prediction (npz, no pickled objects) in {bad}" in said
    assert "Correct the program that wrote it" in said
    assert "--fresh" not in said
    assert values(out, "beam", "other")["mpjpe_mm"] == pytest.approx(100 / 12)
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["sets"]["beam"]
    assert results["methods"]["truth"]["cases"].keys() == {"cam01", "cam02"}
    assert results["methods"]["other"]["cases"].keys() == {"cam02"}


@pytest.mark.usefixtures("no_page")
def test_a_set_that_fails_leaves_the_others(words, data, tmp_path, capsys):
    (data / SETS["stills3d"].relative / "truth.npz").write_bytes(b"nothing of use")
    out = tmp_path / "out"
    assert main([*words, "--methods", "truth", "--out", str(out)]) == 1
    assert "truth.npz" in capsys.readouterr().err
    assert values(out, "beam", "truth")["mpjpe_mm"] == pytest.approx(0, abs=1e-9)


def test_sets_that_are_not_there_are_skipped_unless_named(words, capsys):
    assert main([*words, "--methods", "truth"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("skipped: 3dpw") for line in lines) == 1
    with pytest.raises(SetMissing, match=r"3dpw.*found no folder.*hmcap eval 3dpw=FOLDER.*HMCAP_DATA"):
        main([*words, "3dpw", "--methods", "truth"])


def test_nothing_found_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("HMCAP_DATA", raising=False)
    with pytest.raises(HmcapError, match=r"HMCAP_DATA.*--data.*hmcap eval 3dpw=FOLDER"):
        main(["--methods", "truth"])
    monkeypatch.setenv("HMCAP_DATA", str(tmp_path / "empty"))
    with pytest.raises(HmcapError, match=r"empty is no folder.*HMCAP_DATA"):
        main(["--methods", "truth"])
    monkeypatch.setenv("HMCAP_DATA", "~nobody_of_this_name/data")
    with pytest.raises(HmcapError, match="HMCAP_DATA"):
        main(["--methods", "truth"])


def test_a_set_lies_where_the_user_says(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HMCAP_DATA", str(data))
    assert set_places(["beam"], None) == {"beam": data / "gt/balance_beam"}
    assert set_places(["beam=elsewhere"], None) == {"beam": Path("elsewhere")}
    assert set_places(["3dpw"], str(tmp_path)) == {"3dpw": tmp_path / "3dpw"}
    assert list(set_places([], None)) == list(SETS)
    monkeypatch.delenv("HMCAP_DATA")
    assert set_places(["beam"], None) == {"beam": None}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["beem"], "'beem'"),
        (["beam", "beam=x"], "beam twice"),
        (["beam="], "beam without one"),
        (["--methods", "solvent"], "'solvent'"),
        (["--methods", ","], "found none"),
        (["--frames", "0"], "--frames"),
        (["--camera", "mine"], "--camera"),
        (["--engine", "steam"], "steam"),
        (["--threads", "0"], "--threads"),
        (["--out", ""], "--out"),
        (["--predictions", ""], "--predictions"),
        (["--bogus"], "Unrecognized"),
    ],
)
def test_wrong_usage_is_said_in_one_sentence(words, wrong, said):
    with pytest.raises(UsageError, match=said):
        main([*words, *wrong])


def test_pattern_that_fits_nothing_is_an_error(words):
    with pytest.raises(HmcapError, match=r"--cases 'nobody\*' fits, found beam/cam01, beam/cam02, "):
        main([*words, "--methods", "truth", "--cases", "nobody*"])


def test_a_place_that_cannot_be_written_is_found_before_the_work(words, tmp_path, monkeypatch):
    def worked(self, case, progress):
        raise AssertionError("nothing may be predicted before that")

    monkeypatch.setattr(Truth, "predict", worked)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HmcapError, match=r"report at .*file.*--out FOLDER"):
        main([*words, "--methods", "truth", "--out", str(tmp_path / "file")])


def test_a_device_that_is_not_there_is_said_once(words, capsys):
    assert cli.main(["eval", *words, "beam", "--device", "abacus", "--methods", "solver,landmarks"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_names_in_files_cannot_steer_the_terminal(words, data, tmp_path, capsys):
    file = data / SETS["beam"].relative / "truth.npz"
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    arrays["camera_names"] = np.array(["\x1b[2Jcam", "cam02"])
    np.savez(file, **arrays)
    assert main([*words, "beam", "--methods", "truth"]) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.err + said.out
    assert "?[2Jcam" in said.err


def test_a_method_without_predictions_is_skipped_and_said_to_be(words, data, tmp_path, capsys):
    bring(data, tmp_path / "kept")
    assert main([*words, "beam", "stills3d", "--methods", "truth,other"]) == 0
    assert "skipped: other for 2 cases" in capsys.readouterr().out
    assert main([*words, "beam", "--methods", "truth,mediapipe"]) == 1  # asked for, and has nothing at all
    said = capsys.readouterr().err
    assert said.startswith("hmcap: skipped: mediapipe for 2 cases")
    assert "pip install mediapipe==0.10.21" in said
    assert "--peer-python" in said
    assert main([*words, "beam", "--methods", "mediapipe"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_list_names_every_set_and_method_with_its_state(words, data, tmp_path, capsys):
    bring(data, tmp_path / "kept", method="theirs")
    assert main([*words, "--list"]) == 0
    shown = capsys.readouterr().out
    for name in SETS:
        assert f"\n{name} " in shown
    assert f"found in {data / 'gt/balance_beam'}" in shown
    assert "not found in" in shown
    for name in ("solver", "solver-live", "landmarks", "mediapipe", "mediapipe-smooth", "truth", "theirs"):
        assert f"\n{name} " in shown
    assert "needs --peer-python" in shown
    assert "Cases of" not in shown
    assert main([*words, "beam", "--list"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[-2:]] == [
        ["cam01", "5", "frames"],
        ["cam02", "5", "frames"],
    ]


def test_methods_on_request_are_left_out_unless_named():
    sources = {name: Truth() for name in ("solver", "landmarks", "truth")}
    assert choose_sources(None, sources) == [sources["solver"]]
    assert len(choose_sources("truth, solver", sources)) == 2


@pytest.mark.usefixtures("no_page")
def test_two_results_are_compared(words, data, tmp_path, capsys):
    for name, shift in (("a", 0.1), ("b", 0.2)):
        bring(data, tmp_path / "kept", shift_m=shift)
        assert main([*words, "beam", "--methods", "other", "--out", str(tmp_path / name), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["--compare", str(tmp_path / "a/results.json"), str(tmp_path / "b/results.json")]) == 0
    shown = capsys.readouterr().out
    assert "8.3" in shown
    assert "16.7" in shown
    with pytest.raises(HmcapError, match=r"absent\.json"):
        main(["--compare", str(tmp_path / "absent.json"), str(tmp_path / "a/results.json")])


def test_an_interruption_says_what_is_kept(words, tmp_path, monkeypatch):
    def interrupted(self, case, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(Truth, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"kept in .*kept"):
        main([*words, "--methods", "truth"])


def test_the_application_knows_the_command(words, capsys):
    assert cli.main(["eval", *words, "--list"]) == 0
    assert cli.main(["eval", *words, "beem"]) == 2
    assert capsys.readouterr().err.startswith("hmcap: Expected the name of a set")


def test_half_a_prediction_is_a_failure_of_that_method_alone(words, monkeypatch, tmp_path, capsys):
    def torn(self, case, progress):
        whole = truth_as_prediction(case)
        whole.motion.joints_m[0, 0] = np.nan
        return Prediction("truth", "", {}, whole.motion)

    monkeypatch.setattr(Truth, "predict", torn)
    assert main([*words, "beam", "--methods", "truth"]) == 1
    assert "wholly NaN" in capsys.readouterr().err


def test_quiet_prints_errors_alone(words, capsys):
    assert main([*words, "--methods", "truth", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_predictions_have_a_place_of_their_own_by_default():
    assert command.default_predictions_folder().parts[-1] == "evaluation"
    assert "hmcap" in str(command.default_predictions_folder())


@pytest.mark.network
@pytest.mark.usefixtures("no_page")
def test_a_clip_from_end_to_end(tmp_path, monkeypatch, capsys):
    """The solver and the landmarks on the sample clip: solved once, then read from files without any network."""
    folder = tmp_path / "beam"
    folder.mkdir()
    truth = make_beam(folder)
    assert set(truth) == {"cam01", "cam02"}
    (folder / "cam01.mp4").write_bytes(resolve("sample").read_bytes())
    words = [f"beam={folder}", "--cases", "cam01", "--frames", "4", "--predictions", str(tmp_path / "kept")]
    words += ["--methods", "solver,solver-live,landmarks", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "first")]) == 0
    found = values(tmp_path / "first", "beam", "solver")
    assert found["detected_percent"] == 100
    assert np.isfinite(found["pa_mpjpe_mm"])

    def refuse(**_):
        raise AssertionError("everything is kept already")

    monkeypatch.setattr(LandmarkStage, "open", refuse)
    assert main([*words, "--out", str(tmp_path / "second")]) == 0
    first, second = (tmp_path / n / "results.json" for n in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.network
@pytest.mark.usefixtures("no_page")
@pytest.mark.skipif(not os.environ.get("HMCAP_DATA"), reason="set HMCAP_DATA to the folder with gt/ to test it")
def test_the_solver_is_as_good_on_the_beam_as_is_said(tmp_path):
    words = ["beam", "--cases", "cam04", "--methods", "solver", "--predictions", str(tmp_path), "--quiet"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    found = values(tmp_path / "out", "beam", "solver")
    assert found["pa_mpjpe_mm"] < 75
    assert found["mpjpe_mm"] < 100
    assert found["detected_percent"] == 100
