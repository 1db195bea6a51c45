"""Intrinsics: every way of stating the lens, and refusal of the absurd."""

import json
import math

import cv2
import numpy as np
import pytest
from hmcap.models.camera import DEFAULT_FOV_DEG
from hmcap.models.errors import HmcapError, UsageError
from hmcap.realtime.camera_options import CameraOptions, choose_camera, describe
from hmcap.realtime.frames import SourceMetadata

SIZE = (1920, 1080)


def camera(metadata=None, size=SIZE, **options):
    return choose_camera(*size, CameraOptions(**options), metadata or SourceMetadata())


def test_the_angle_spans_the_longer_side():
    for size in (SIZE, SIZE[::-1]):
        c = camera(fov_deg=90, size=size)
        assert c.fx_px == c.fy_px == pytest.approx(960)
        assert (c.cx_px, c.cy_px) == (size[0] / 2, size[1] / 2)
        assert c.fov_deg == pytest.approx(90)
        assert c.source == "--fov-deg"


def test_a_35_mm_equivalent_keeps_the_diagonal_angle():
    c = camera(focal_mm=50)
    diagonal = 2 * math.atan(math.hypot(*SIZE) / 2 / c.fx_px)
    assert diagonal == pytest.approx(2 * math.atan(math.hypot(36, 24) / 2 / 50))
    # On a 3:2 picture that is plainly focal length over 36 mm of width.
    assert camera(focal_mm=50, size=(3600, 2400)).fx_px == pytest.approx(5000)


def test_a_real_focal_length_needs_the_sensor():
    assert camera(focal_mm=4.25, sensor_mm=5.6).fx_px == pytest.approx(4.25 / 5.6 * 1920)
    with pytest.raises(UsageError, match="--focal-mm"):
        CameraOptions(sensor_mm=5.6)


def test_pixels_are_taken_as_they_are():
    assert camera(focal_px=1234.5).fx_px == 1234.5


def test_the_user_comes_before_the_file_and_the_file_before_the_default():
    says = SourceMetadata(26.0, "EXIF of 1.jpg")
    assert camera(says, fov_deg=40).fov_deg == pytest.approx(40)
    told = camera(says)
    assert told.fx_px == camera(focal_mm=26).fx_px
    assert "EXIF of 1.jpg" in told.source
    plain = camera()
    assert plain.fov_deg == pytest.approx(DEFAULT_FOV_DEG)
    assert "default" in describe(plain)
    assert "55.0 deg" in describe(plain)


@pytest.mark.parametrize(
    "options",
    [
        {"fov_deg": 400}, {"fov_deg": 0}, {"fov_deg": -20}, {"fov_deg": 4.9}, {"fov_deg": math.nan}, {"focal_mm": 0},
        {"focal_mm": -35}, {"focal_px": 0}, {"focal_px": math.inf}, {"focal_mm": 50, "sensor_mm": 0},
        {"fov_deg": 60, "focal_mm": 35},
    ],
)  # fmt: skip
def test_the_absurd_is_wrong_usage(options):
    with pytest.raises(UsageError) as caught:
        CameraOptions(**options)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("options", [{"focal_px": 5}, {"focal_px": 1e6}, {"focal_mm": 0.5}, {"focal_mm": 2000}])
def test_a_lens_that_gives_an_absurd_angle_is_wrong_usage(options):
    with pytest.raises(UsageError, match="field of view"):
        camera(**options)


K = np.array([[1500.0, 0, 955], [0, 1490, 545], [0, 0, 1]])
DIST = [0.1, -0.05, 0.001, 0.002, 0.01]


def opencv_file(path):
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 1920)
    storage.write("image_height", 1080)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", np.array([DIST]))
    storage.release()


def plain_json(path):
    fields = {"fx": 1500, "fy": 1490, "cx": 955, "cy": 545, "width": 1920, "height": 1080, "dist": DIST}
    path.write_text(json.dumps(fields))


def pose2sim_toml(path, names=("cam_01",)):
    table = (
        '[{0}]\nname = "{0}"\nsize = [1920.0, 1080.0]\nmatrix = {1}\ndistortions = {2}\nrotation = [0.0, 0.0, 0.0]\n'
    )
    path.write_text("".join(table.format(n, K.tolist(), DIST) for n in names) + "[metadata]\nerror = 0.0\n")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("c.yml", opencv_file),
        ("c.xml", opencv_file),
        ("cv.json", opencv_file),
        ("c.json", plain_json),
        ("c.toml", pose2sim_toml),
    ],
)
def test_calibration_files_of_every_kind_agree(tmp_path, name, write):
    path = tmp_path / f"ö {name}" if write is not opencv_file else tmp_path / name
    write(path)
    c = camera(calib=path)
    np.testing.assert_allclose(c.K, K)
    assert c.dist == pytest.approx(DIST)
    assert name in c.source
    half = camera(calib=path, size=(960, 540))
    assert half.fx_px == pytest.approx(750)
    assert half.dist == pytest.approx(DIST)


def test_one_camera_of_several_is_named(tmp_path):
    path = tmp_path / "rig.toml"
    pose2sim_toml(path, ("left", "right"))
    with pytest.raises(UsageError, match=r"left, right.*#left"):
        camera(calib=path)
    assert camera(calib=f"{path}#right").source == "--calib rig.toml#right"
    with pytest.raises(UsageError, match="'middle'"):
        camera(calib=f"{path}#middle")


def test_a_calibration_of_another_shape_is_wrong_usage(tmp_path):
    plain_json(tmp_path / "c.json")
    for size in ((1080, 1920), (640, 480)):
        with pytest.raises(UsageError, match="another shape"):
            camera(calib=tmp_path / "c.json", size=size)


def test_a_calibration_without_size_must_fit_the_picture(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"fx": 1500, "fy": 1490, "cx": 955, "cy": 545}))
    assert camera(calib=path).dist == ()
    with pytest.raises(UsageError, match="no picture size"):
        camera(calib=path, size=(640, 480))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", "{"), ("c.json", "[1, 2]"), ("c.json", '{"a": 1}'), ("c.toml", "x ="), ("c.toml", "a = 1"),
        ("c.yml", "no calibration"), ("c.yml", ""), ("c.json", '{"fx": "wide", "fy": 1, "cx": 1, "cy": 1}'),
        ("c.json", '{"fx": -1, "fy": 1, "cx": 1, "cy": 1}'), ("c.json", '{"fx": 1e999, "fy": 1, "cx": 1, "cy": 1}'),
        ("c.json", '{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "dist": [1, 2, 3]}'),
        ("c.json", '{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "width": -4, "height": 3}'),
        ("c.toml", "[cam]\nmatrix = [[1, 2], [3]]\n"), ("c.toml", "[cam]\nmatrix = 5\n"),
    ],
)  # fmt: skip
def test_files_that_hold_no_calibration_say_so(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(HmcapError) as caught:
        camera(calib=path)
    assert "\n" not in str(caught.value)


def test_a_missing_calibration_is_named(tmp_path):
    with pytest.raises(HmcapError, match="no such file"):
        camera(calib=tmp_path / "none.yml")
