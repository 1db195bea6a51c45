"""The page of an evaluation: whole in itself, well-formed, the same every time, safe with any name."""

import base64
import builtins
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_results import CAMERA, HOSTILE, made, one_value
from hmcap.models.errors import HmcapError
from hmcap.tools.evaluation.records import LIMBS, Case, Footage, Measured, Motion3D, Prediction
from hmcap.tools.evaluation.report.page import page, write_page
from hmcap.tools.evaluation.report.pictures import read_rows, worst_frames, worst_pictures
from hmcap.tools.evaluation.report.plot_svg import method_styles
from hmcap.tools.evaluation.report.plots import main_measures, root_track_m, set_plots
from hmcap.tools.evaluation.report.results import make_results
from hmcap.tools.evaluation.report.stick_figures import figures_of
from hmcap.tools.evaluation.report.table_rows import measure_named

_VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that every element is closed where it should be, and gathers what a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def with_footage(cases: list[Case], folder: Path) -> list[Case]:
    """The cases with a folder of grey pictures each; picture k has the brightness 10 k."""
    out = []
    for case in cases:
        place = folder / case.name
        place.mkdir()
        for k in range(case.frames):
            cv2.imwrite(str(place / f"{k:03d}.png"), np.full((CAMERA.height_px, CAMERA.width_px, 3), 10 * k, np.uint8))
        out.append(replace(case, footage=Footage(place, np.arange(case.frames))))
    return out


def in_the_world(cases: list[Case], predictions: dict) -> tuple[list[Case], dict]:
    """The same in a world whose axes are the camera's turned over, with a path of a metre."""
    T = np.diag([1.0, -1.0, -1.0, 1.0])

    def moved(motion: Motion3D) -> Motion3D:
        assert motion.joints_m is not None
        path = np.linspace(0, 1, len(motion.joints_m))[:, None, None] * (1.0, 0.0, 0.0)
        joints = (motion.joints_m + path) * (1, -1, -1)
        return replace(motion, joints_m=joints, in_world=True, T_cam_world=np.tile(T, (len(joints), 1, 1)))

    return [replace(c, truth=moved(c.truth)) for c in cases], {
        key: replace(p, motion=moved(p.motion)) for key, p in predictions.items()
    }


def test_the_page_is_well_formed_and_whole_in_itself(tmp_path) -> None:
    measured, cases, predictions = made(frames=6, cases=3)
    cases = with_footage(cases, tmp_path)
    file = tmp_path / "out" / "report.html"
    write_page(file, make_results(measured, cases, predictions), cases, predictions)
    text = file.read_text(encoding="utf-8")
    read = Page(text)
    for tag, attrs in read.elements:
        for name, value in attrs.items():
            if name in ("src", "href", "xlink:href", "data", "action"):
                assert str(value).startswith(("data:image/", "#")), f"<{tag} {name}={value}>"
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in read.elements}
    addresses = re.findall(r"""https?://[^"'\s<]+""", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"url\((?!#)|@import", text)
    ids = [str(a["id"]) for _, a in read.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {v[1:] for _, a in read.elements for k, v in a.items() if k.endswith("href") and v} <= set(ids)


def test_pictures_and_plots_say_what_they_show(tmp_path) -> None:
    measured, cases, predictions = made(frames=6, cases=3)
    cases, predictions = in_the_world(with_footage(cases, tmp_path), predictions)
    read = Page(page(make_results(measured, cases, predictions), cases, predictions))
    words = " ".join(read.words)
    for title in ("over time", "by case", "Distribution of", "by joint", "Path over the floor", "Worst frames"):
        assert title in words
    assert all(a.get("aria-label") for a in read.all("svg"))
    images = read.all("img")
    assert len(images) == 6  # three of each method
    for image in images:
        assert image["alt"]
        data = base64.b64decode(str(image["src"]).partition(",")[2])
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[:2] == (int(str(image["height"])), int(str(image["width"])))
    assert all(a.get("scope") in ("col", "row") for a in read.all("th"))
    definitions = "".join(read.words)
    assert measure_named("mpjpe_mm").definition in definitions


def test_the_same_results_give_the_same_page(tmp_path) -> None:
    measured, cases, predictions = made(frames=6, cases=2)
    results = make_results(measured, cases, predictions)
    assert page(results, cases, predictions) == page(results, cases, predictions)


def test_a_page_needs_no_cases_and_no_predictions() -> None:
    measured, cases, predictions = made(cases=2)
    read = Page(page(make_results(measured, cases, predictions), [], {}))
    assert read.all("svg")
    assert not read.all("img")
    Page(page(make_results([], [], {}), [], {}))
    Page(page(one_value("s", "unheard_of", solver=1.0), [], {}))


def test_names_from_files_cannot_become_markup() -> None:
    joint = "hip$<b>$^{\\x}\x1b"
    case = Case(HOSTILE, HOSTILE + "$a_b$", 30.0, CAMERA, Motion3D(keypoint_names=("a",)), notes=HOSTILE)
    case = replace(case, truth=Motion3D(keypoints_px=np.zeros((8, 1, 2))))
    values = np.arange(8.0)
    measured = Measured(
        HOSTILE, case.name, HOSTILE, 8, np.arange(8), {"mpjpe_mm": values}, {"mpjpe_mm": {joint: 2.0}}, {HOSTILE: 1.0}
    )
    predictions = {(HOSTILE, case.name, HOSTILE): Prediction(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, Motion3D())}
    text = page(make_results([measured], [case], predictions), [case], predictions)
    read = Page(text)
    assert "<script" not in text
    assert "\x1b" not in text
    assert HOSTILE in "".join(read.words)
    assert "hip$<b>$^{\\x}?" in "".join(read.words)


def test_without_matplotlib_the_page_says_what_to_install(monkeypatch) -> None:
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError("No module named 'matplotlib'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(HmcapError, match=r"pip install 'hmcap\[eval\]'"):
        page(make_results(*made(cases=1)), [], {})


def test_the_worst_frames_are_the_worst_and_not_neighbours() -> None:
    measured, cases, predictions = made(frames=100, cases=2)
    errors = np.ones(100)
    errors[[10, 11, 12, 80]] = 7, 9, 8, 5
    measured[0] = replace(measured[0], per_frame={"mpjpe_mm": errors, "pck_body_2": 100 - errors})
    found = make_results(measured[:1], cases, predictions).sets["beam"]
    assert worst_frames(found, "solver", measure_named("mpjpe_mm"), 2) == [("cam00", 11), ("cam00", 80)]
    assert worst_frames(found, "solver", measure_named("pck_body_2"), 2) == [("cam00", 11), ("cam00", 80)]


def test_one_bad_case_does_not_hide_the_others() -> None:
    measured, cases, predictions = made(frames=100, cases=2)
    errors = np.ones(100)
    errors[[11, 80]] = 9, 8
    other = np.ones(100)
    other[50] = 2
    one_method = [m for m in measured if m.method == "solver"]
    for i, values in enumerate((errors, other)):
        one_method[i] = replace(one_method[i], per_frame={"mpjpe_mm": values})
    found = make_results(one_method, cases, predictions).sets["beam"]
    assert worst_frames(found, "solver", measure_named("mpjpe_mm"), 2) == [("cam00", 11), ("cam01", 50)]
    assert worst_frames(found, "solver", measure_named("mpjpe_mm"), 3) == [("cam00", 11), ("cam00", 80), ("cam01", 50)]


def test_each_row_is_shown_on_its_own_frame(tmp_path) -> None:
    _, cases, _ = made(frames=4, cases=1)
    case = with_footage(cases, tmp_path)[0]
    case = replace(case, footage=Footage(case.footage.source, np.array([0, 1, 3, 3])))  # type: ignore[union-attr]
    found = read_rows(case, [0, 2])
    assert {row: int(image.mean()) for row, image in found.items()} == {0: 0, 2: 30}


def test_footage_that_cannot_be_read_is_said_and_the_figures_stay(tmp_path) -> None:
    measured, cases, predictions = made(frames=6, cases=1)
    cases = [replace(cases[0], footage=Footage(tmp_path / "gone.mp4", np.arange(6)))]
    results = make_results(measured, cases, predictions)
    styles = method_styles(list(results.methods))
    found = results.sets["beam"]
    pictures, problems = worst_pictures(found, main_measures(found)[0], styles, cases, predictions)
    assert "gone.mp4" in problems[0]
    assert [p.kind for p in pictures["solver"]] == ["views"]


def test_a_prediction_without_a_place_stands_at_the_true_root() -> None:
    _, cases, predictions = made(frames=3, cases=1)
    prediction = predictions["beam", "cam00", "solver"]
    away = replace(prediction.motion, joints_m=prediction.motion.joints_m + np.array([3.0, -2.0, 5.0]))
    one, other = (
        figures_of(cases[0], replace(prediction, motion=m), 1, in_picture=False, scaled=False)
        for m in (prediction.motion, away)
    )
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.predicted_px, other.predicted_px)
    np.testing.assert_allclose(one.aligned_m, one.truth_m, atol=1e-9)  # here only the root was wrong


def test_a_scaled_alignment_undoes_rotation_and_scale() -> None:
    _, cases, predictions = made(frames=3, cases=1)
    prediction = predictions["beam", "cam00", "solver"]
    truth = cases[0].truth.joints_m
    assert truth is not None
    R = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    turned = replace(prediction, motion=replace(prediction.motion, joints_m=1.3 * truth @ R.T))
    figures = figures_of(cases[0], turned, 0, in_picture=False, scaled=True)
    assert figures is not None
    np.testing.assert_allclose(figures.aligned_m, figures.truth_m, atol=1e-9)


def test_a_world_is_drawn_as_its_camera_sees_it() -> None:
    _, cases, predictions = made(frames=5, cases=1)
    world, moved = in_the_world(cases, predictions)
    key = "beam", "cam00", "solver"
    figures = figures_of(world[0], moved[key], 0, in_picture=False, scaled=False)
    plain = figures_of(cases[0], predictions[key], 0, in_picture=False, scaled=False)
    assert figures is not None
    assert plain is not None
    np.testing.assert_allclose(figures.truth_px, plain.truth_px)
    np.testing.assert_allclose(figures.down, (0, 1, 0))
    # The prediction has a place of its own here: beside the truth by its error.
    assert not np.allclose(figures.predicted_px, plain.predicted_px)
    track = root_track_m(world[0].truth)
    assert track is not None
    assert np.ptp(track[:, 0]) == pytest.approx(1.0, abs=0.2)
    assert root_track_m(cases[0].truth) is None


def test_key_points_are_drawn_in_the_picture() -> None:
    names = (*LIMBS, "left_hand_index1")
    px = np.random.default_rng(1).uniform(50, 200, (2, len(names), 2))
    labelled = np.ones((2, len(names)))
    labelled[0, 3] = 0
    truth = Motion3D(keypoint_names=names, keypoints_px=px, keypoint_confidence=labelled)
    case = Case("s", "c", 0.0, CAMERA, truth)
    figures = figures_of(
        case, Prediction("m", "1", {}, replace(truth, keypoints_px=px + 3)), 0, in_picture=True, scaled=False
    )
    assert figures is not None
    assert figures.truth_px is not None
    assert np.isnan(figures.truth_px[figures.names.index(names[3])]).all()
    np.testing.assert_allclose(np.nanmean(figures.predicted_px - figures.truth_px), 3.0)


def test_plots_take_the_colour_of_the_page_and_carry_no_date() -> None:
    measured, cases, predictions = made(cases=3)
    results = make_results(measured, cases, predictions)
    plots = set_plots("beam", results.sets["beam"], method_styles(list(results.methods)), [], {})
    for plot in plots:
        assert plot.svg.startswith("<svg")
        assert "currentColor" in plot.svg
        assert "#010203" not in plot.svg
        assert "<metadata" not in plot.svg
        assert len(plot.svg) < 60_000
