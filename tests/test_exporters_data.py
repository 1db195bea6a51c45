"""The exporters of the data and biomechanics world, each read back by an independent reader: a library of others, or a
parser written here from the format's description."""

import csv
import dataclasses
import io
import json
import warnings
from pathlib import Path
from xml.etree import ElementTree

import c3d
import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError, UsageError
from hmcap.models.face import ARKIT_NAMES
from hmcap.models.markers import proxy_rig
from hmcap.models.skeleton import CONTACT_POINTS, JOINT_NAMES, PARENTS
from hmcap.realtime.exporters import EXPORTERS, ExportOptions, prepare
from hmcap.realtime.exporters.coordinates import continuous_angles, coordinate_names, joint_angles
from hmcap.realtime.exporters.markers import MARKER_NAMES, body_markers, take_markers_m
from hmcap.realtime.exporters.prepare import Prepared
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.outputs import plan_outputs
from scipy.spatial.transform import Rotation
from test_exporters import FPS, make_take

SCHEMA = Path(__file__).parent.parent / "docs" / "take.schema.json"


@pytest.fixture(scope="module")
def ready() -> Prepared:
    return prepare(make_take(), ExportOptions())


def with_face(take):
    """The take with face weights, and with an error that is not known in one frame."""
    rng = np.random.default_rng(5)
    motion = [dataclasses.replace(f, expression=rng.random(52)) for f in take.motion]
    motion[2] = dataclasses.replace(motion[2], reprojection_error=float("nan"))
    return dataclasses.replace(take, motion=tuple(motion))


def exported(name: str, ready: Prepared, folder: Path) -> Path:
    path = folder / f"take{EXPORTERS[name].suffix}"
    EXPORTERS[name].export(ready, path)
    return path


def in_up_axis(xyz: np.ndarray, up: str) -> np.ndarray:
    return xyz if up == "y" else np.stack((xyz[..., 0], -xyz[..., 2], xyz[..., 1]), axis=-1)


def test_markers_are_the_22_of_halpe_26_in_their_places(ready):
    assert MARKER_NAMES == (
        "Hip", "RHip", "RKnee", "RAnkle", "RBigToe", "RSmallToe", "RHeel", "LHip", "LKnee", "LAnkle", "LBigToe",
        "LSmallToe", "LHeel", "Neck", "Head", "Nose", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist",
    )  # fmt: skip
    xyz, joints = take_markers_m(ready), ready.positions_m
    for marker, joint in (("RKnee", "right_knee"), ("LWrist", "left_wrist"), ("Neck", "neck"), ("RHip", "right_hip")):
        assert np.abs(xyz[:, MARKER_NAMES.index(marker)] - joints[:, JOINT_NAMES.index(joint)]).max() < 1e-9
    posed = ready.body.with_pose(ready.track.poses, ready.track.trans_m)
    rig = proxy_rig(ready.body.model)
    points = rig.in_world_m(posed)
    for marker, proxy in (
        ("Nose", "nose"),
        ("LHeel", "left_heel"),
        ("RSmallToe", "right_small_toe"),
        ("Hip", "mid_hip"),
    ):
        error_m = np.abs(xyz[:, MARKER_NAMES.index(marker)] - points[:, rig.names.index(proxy)]).max()
        assert error_m < 1e-5, marker
    rest = body_markers(load_body().with_shape())
    at = dict(zip(rest.names, load_body().with_shape().joints_m[rest.joint] + rest.offset_m, strict=True))
    assert at["Head"][1] > at["Nose"][1] + 0.08
    assert at["LBigToe"][0] > 0 > at["RBigToe"][0]
    assert at["LSmallToe"][0] > at["LBigToe"][0]
    assert at["LHeel"][2] < at["LAnkle"][2] < at["LBigToe"][2]


def read_trc(path: Path):
    """By the description in OpenSim's documentation: five header lines, a blank one, frame number, time, x y z ..."""
    lines = path.read_text("utf-8").split("\n")
    keys, values = lines[1].split("\t"), lines[2].split("\t")
    names = [n for n in lines[3].rstrip("\t").split("\t")[2:] if n]
    rows = np.array([[float(v) for v in line.split("\t")] for line in lines[6:] if line])
    return (
        lines,
        dict(zip(keys, values, strict=True)),
        names,
        rows[:, 0],
        rows[:, 1],
        rows[:, 2:].reshape(len(rows), -1, 3),
    )


def test_trc(ready, tmp_path):
    lines, head, names, numbers, times_s, xyz = read_trc(exported("trc", ready, tmp_path))
    assert lines[0].split("\t") == ["PathFileType", "4", "(X/Y/Z)", "take.trc"]
    assert (head["Units"], head["NumFrames"], head["NumMarkers"]) == ("m", "40", "22")
    assert float(head["DataRate"]) == pytest.approx(FPS)
    assert tuple(names) == MARKER_NAMES
    assert lines[4].split("\t")[2:6] == ["X1", "Y1", "Z1", "X2"]
    assert len({len(line.split("\t")) for line in lines[3:5] + lines[6:-1]}) == 1
    assert np.array_equal(numbers, np.arange(1, 41))
    assert np.abs(times_s - np.arange(40) / FPS).max() < 1e-6
    assert np.abs(xyz - take_markers_m(ready)).max() < 1e-6
    assert "nan" not in "".join(lines[6:]).lower()


@pytest.mark.parametrize("name", ["trc", "mot", "csv", "json"])
def test_times_begin_at_zero_wherever_the_motion_begins_in_the_footage(name, tmp_path):
    late = prepare(make_take(30, stamps_s=3.0 + np.arange(30) / FPS), ExportOptions(trim="3.1:"))
    path = exported(name, late, tmp_path)
    if name == "trc":
        *_, times_s, _ = read_trc(path)
    elif name == "mot":
        rows = path.read_text("utf-8").partition("endheader\n")[2].splitlines()[1:]
        times_s = [float(row.split("\t")[0]) for row in rows]
    elif name == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            times_s = [float(row["time_s"]) for row in csv.DictReader(file)]
    else:
        data = json.loads(path.read_text("utf-8"))
        assert data["start_s"] == pytest.approx(3 + 3 / FPS, abs=1e-6)
        times_s = [frame["time_s"] for frame in data["frames"]]
    assert np.abs(np.array(times_s) - np.arange(27) / FPS).max() < 1e-6


@pytest.mark.filterwarnings("ignore:No analog data")
@pytest.mark.parametrize("up", ["y", "z"])
def test_c3d_by_two_readers(up, tmp_path):
    take = make_take()
    ready = prepare(take, ExportOptions(up=up))
    path = exported("c3d", ready, tmp_path)
    xyz_mm = in_up_axis(take_markers_m(ready), up) * 1000
    present = ready.track.present
    assert not present.all()
    with path.open("rb") as file:
        reader = c3d.Reader(file)
        assert [label.strip() for label in reader.point_labels] == list(MARKER_NAMES)
        assert reader.point_rate == pytest.approx(FPS, rel=1e-6)
        assert reader.get_screen_axis() == ("+X", "+Y" if up == "y" else "+Z")
        assert reader.get("POINT:UNITS").string_value == "mm"
        frames = np.array([points for _, points, _ in reader.read_frames()])
    assert frames.shape[:2] == xyz_mm.shape[:2]
    assert np.abs(frames[present, :, :3] - xyz_mm[present]).max() < 0.01
    assert np.all(frames[present, :, 3] == 0)
    assert np.all(frames[~present, :, 3] == -1)

    ezc3d = pytest.importorskip("ezc3d")
    theirs = ezc3d.c3d(str(path))
    point = theirs["parameters"]["POINT"]
    assert point["LABELS"]["value"] == list(MARKER_NAMES)
    assert point["UNITS"]["value"] == ["mm"]
    assert point["RATE"]["value"][0] == pytest.approx(FPS, rel=1e-6)
    assert point["Y_SCREEN"]["value"] == ["+Y" if up == "y" else "+Z"]
    read = theirs["data"]["points"][:3].transpose(2, 1, 0)
    assert np.abs(read[present] - xyz_mm[present]).max() < 0.01
    residuals = theirs["data"]["meta_points"]["residuals"][0].T
    assert np.all(residuals[present] == 0)
    assert np.all(residuals[~present] < 0)


def test_c3d_is_written_without_a_warning(ready, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = exported("c3d", ready, tmp_path)
    assert path.stat().st_size > 0


def read_mot(path: Path) -> tuple[dict[str, str], list[str], np.ndarray]:
    """By the description in OpenSim's documentation: name, key=value lines, endheader, labels, rows."""
    head, _, table = path.read_text("utf-8").partition("endheader\n")
    keys = dict(line.split("=") for line in head.splitlines() if "=" in line)
    labels, *rows = table.splitlines()
    return keys, labels.split("\t"), np.array([[float(v) for v in row.split("\t")] for row in rows])


def opensim_positions(model: Path, columns: list[str], values: np.ndarray) -> tuple[dict, dict]:
    """World positions of every body and marker, by OpenSim's rules for offset frames and spatial transforms alone."""
    root = ElementTree.parse(model).getroot()
    column = {name: values[:, k] for k, name in enumerate(columns)}
    R, p = {"/ground": np.tile(np.eye(3), (len(values), 1, 1))}, {"/ground": np.zeros((len(values), 3))}

    def vector(element, tag):
        return np.array(element.findtext(tag).split(), dtype=float)

    for joint in root.iter("CustomJoint"):
        offsets = {f.get("name"): f for f in joint.find("frames")}
        parent = offsets[joint.findtext("socket_parent_frame")]
        child = offsets[joint.findtext("socket_child_frame")]
        assert not np.any([vector(f, "orientation") for f in (parent, child)])
        assert not np.any(vector(child, "translation"))
        turn, move = np.eye(3)[None], np.zeros((len(values), 3))
        for axis in joint.iter("TransformAxis"):
            name, direction = axis.findtext("coordinates"), vector(axis, "axis")
            if not name:
                assert axis.find("Constant").findtext("value") == "0"
            elif axis.get("name").startswith("rotation"):
                turn = turn @ Rotation.from_rotvec(np.radians(column[name])[:, None] * direction).as_matrix()
            else:
                move = move + column[name][:, None] * direction
        above, body = parent.findtext("socket_parent"), child.findtext("socket_parent")
        R[body] = R[above] @ turn
        p[body] = p[above] + np.einsum("tij,tj->ti", R[above], vector(parent, "translation") + move)
    markers = {}
    for marker in root.iter("Marker"):
        body = marker.findtext("socket_parent_frame")
        markers[marker.get("name")] = p[body] + R[body] @ vector(marker, "location")
    return {body.removeprefix("/bodyset/"): xyz for body, xyz in p.items()}, markers


def test_mot_with_its_model_puts_every_joint_where_the_take_has_it(ready, tmp_path):
    path = exported("mot", ready, tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["take.mot", "take.osim"]
    head, labels, rows = read_mot(path)
    assert head == {"version": "1", "nRows": "40", "nColumns": "169", "inDegrees": "yes"}
    assert labels[0] == "time"
    assert rows.shape == (40, 169)
    assert np.abs(rows[:, 0] - np.arange(40) / FPS).max() < 1e-6
    joints, markers = opensim_positions(path.with_suffix(".osim"), labels[1:], rows[:, 1:])
    error_mm = np.abs(np.stack([joints[n] for n in JOINT_NAMES], axis=1) - ready.positions_m).max() * 1000
    assert error_mm < 0.01, f"the model with its motion puts a joint {error_mm:.4f} mm from the take's"
    assert np.abs(np.stack([markers[n] for n in MARKER_NAMES], axis=1) - take_markers_m(ready)).max() < 1e-5
    assert np.abs(np.diff(rows[:, 4:], axis=0)).max() <= 180


def test_the_model_names_every_coordinate_of_the_motion_once(ready, tmp_path):
    path = exported("mot", ready, tmp_path)
    root = ElementTree.parse(path.with_suffix(".osim")).getroot()
    coordinates = [c.get("name") for c in root.iter("Coordinate")]
    assert len(set(coordinates)) == len(coordinates) == 168
    assert set(coordinates) == set(read_mot(path)[1][1:])
    assert {"pelvis_tx", "hip_flexion_r", "knee_angle_l", "ankle_angle_r", "arm_add_l", "pro_sup_r"} <= set(coordinates)
    assert [b.get("name") for b in root.iter("Body")] == list(JOINT_NAMES)


def angles_deg(joint: str, direction: str, by_deg: float) -> dict[str, float]:
    """The angles that are not zero when, in the neutral pose, one joint turns the way that ``direction`` names.

    Directions are given in the body's own axes (left = +x, up = +y, ahead = +z) for a person whose arms hang.
    """
    axis = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1)}[direction[1]]
    turn = Rotation.from_rotvec(np.radians(by_deg) * np.array(axis) * (1 if direction[0] == "+" else -1))
    hang = {s: Rotation.from_euler("z", a, degrees=True) for s, a in (("left", -90), ("right", 90))}
    R = np.tile(np.eye(3), (1, 55, 1, 1))
    R[0, 0] = Rotation.from_euler("y", 90, degrees=True).as_matrix()  # facing +x, where pelvis_rotation is zero
    for j, name in enumerate(JOINT_NAMES):
        side, _, part = name.partition("_")
        below_shoulder = part in ("elbow", "wrist") or part[:-1] in ("index", "middle", "ring", "pinky", "thumb")
        local = Rotation.identity()
        if part == "shoulder":
            local = (turn if name == joint else local) * hang[side]
        elif name == joint:
            local = hang[side].inv() * turn * hang[side] if below_shoulder else turn
        if j:
            R[0, j] = local.as_matrix()
        elif name == joint:
            R[0, 0] = R[0, 0] @ local.as_matrix()
    angles = dict(
        zip(
            coordinate_names(),
            np.degrees(continuous_angles(Rotation.from_matrix(R[0]).as_rotvec()[None])).ravel(),
            strict=True,
        )
    )
    return {name: round(float(a), 6) for name, a in angles.items() if abs(a) > 1e-6}


@pytest.mark.parametrize(
    ("joint", "direction", "name"),
    [
        ("right_hip", "-x", "hip_flexion_r"),  # thigh ahead: a turn about the axis to the left, y towards -z
        ("left_hip", "-x", "hip_flexion_l"),
        ("right_hip", "+z", "hip_adduction_r"),  # right thigh (-y) to the left (+x)
        ("left_hip", "-z", "hip_adduction_l"),
        ("right_hip", "+y", "hip_rotation_r"),  # right foot (+z) to the left (+x)
        ("left_hip", "-y", "hip_rotation_l"),
        ("right_knee", "+x", "knee_angle_r"),  # shank backward
        ("left_knee", "+x", "knee_angle_l"),
        ("right_ankle", "-x", "ankle_angle_r"),  # toes up
        ("left_ankle", "-z", "subtalar_angle_l"),  # sole inward
        ("spine1", "-x", "lumbar_extension"),  # trunk backward
        ("right_shoulder", "-x", "arm_flex_r"),  # arm ahead
        ("left_shoulder", "-z", "arm_add_l"),  # left arm (-y) to the right (-x)
        ("right_elbow", "-x", "elbow_flex_r"),  # forearm ahead
        ("left_elbow", "-x", "elbow_flex_l"),
        ("right_elbow", "+y", "pro_sup_r"),  # thumb (+z) towards the body (+x)
        ("left_elbow", "-y", "pro_sup_l"),
        ("right_wrist", "+z", "wrist_flex_r"),  # fingers towards the palm, which faces the thigh
        ("left_wrist", "-z", "wrist_flex_l"),
        ("right_wrist", "+x", "wrist_dev_r"),  # fingers backward: to the side of the little finger
        ("right_index1", "+z", "index1_flex_r"),
        ("left_index2", "-z", "index2_flex_l"),
        ("right_collar", "-z", "clavicle_elevation_r"),  # right shoulder (-x) up
        ("left_collar", "-y", "clavicle_protraction_l"),  # left shoulder (+x) ahead
        ("jaw", "+x", "jaw_opening"),
    ],
)
def test_angles_have_the_names_and_signs_of_opensim(joint, direction, name):
    assert angles_deg(joint, direction, 30) == {name: pytest.approx(30)}


def test_the_neutral_pose_is_zero_and_faces_along_x():
    assert angles_deg("pelvis", "+y", 0) == {}
    assert angles_deg("pelvis", "+y", 40) == {"pelvis_rotation": pytest.approx(40)}
    assert angles_deg("pelvis", "-x", 20) == {"pelvis_tilt": pytest.approx(20)}
    at_t_pose = dict(zip(coordinate_names(), np.degrees(continuous_angles(np.zeros((1, 55, 3)))).ravel(), strict=True))
    assert at_t_pose["arm_add_r"] == pytest.approx(-90)
    assert at_t_pose["arm_add_l"] == pytest.approx(-90)
    assert at_t_pose["pelvis_rotation"] == pytest.approx(-90)


def test_every_joint_frame_is_a_rotation():
    for joint in joint_angles():
        assert np.allclose(joint.R_joint_frame @ joint.R_joint_frame.T, np.eye(3))
        assert np.linalg.det(joint.R_joint_frame) == pytest.approx(1)
        assert abs(np.linalg.det(np.array(joint.axes, dtype=float))) == pytest.approx(1)


def test_bones_are_drawn_from_joint_to_joint(ready, tmp_path):
    root = ElementTree.parse(exported("mot", ready, tmp_path).with_suffix(".osim")).getroot()

    def vector(element, tag):
        return np.array(element.findtext(tag).split(), dtype=float)

    ends = {}
    for body in root.iter("Body"):
        for frame in body.iter("PhysicalOffsetFrame"):
            turn = Rotation.from_euler("XYZ", vector(frame, "orientation"))
            half = turn.apply([0, float(frame.find(".//half_height").text), 0])
            assert np.abs(vector(frame, "translation") - half).max() < 1e-5, "a bone starts beside its joint"
            ends.setdefault(body.get("name"), []).append(vector(frame, "translation") + half)
    for joint in root.iter("CustomJoint"):
        offset = joint.find("frames")[0]
        parent = offset.findtext("socket_parent").removeprefix("/bodyset/")
        if parent != "/ground":
            assert min(np.abs(end - vector(offset, "translation")).max() for end in ends[parent]) < 1e-5


def test_long_tracks_in_pieces_are_as_continuous_as_short_ones():
    turn = np.linspace(0, 40, 1300)[:, None, None] * np.array([0.0, 1.0, 0.0])
    poses = np.zeros((1300, 55, 3)) + turn * (np.arange(55) < 3)[:, None]
    angles = continuous_angles(Rotation.from_rotvec(poses.reshape(-1, 3)).as_rotvec().reshape(-1, 55, 3))
    assert np.abs(np.diff(angles, axis=0)).max() < 0.04
    assert np.ptp(angles[:, 0, 0]) == pytest.approx(40)


def test_a_motion_without_its_model_is_not_left_behind(ready, tmp_path):
    (tmp_path / "take.osim").mkdir()
    with pytest.raises(HmcapError, match=r"take\.osim"):
        exported("mot", ready, tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["take.osim"]


def test_a_name_that_opensim_would_refuse_is_mended(ready, tmp_path):
    path = exported("mot", dataclasses.replace(ready, name="tanz <ü>/a b\n"), tmp_path)
    assert path.read_text("utf-8").startswith("tanz_ü_a_b_\nversion=1\n")
    assert ElementTree.parse(path.with_suffix(".osim")).getroot().find("Model").get("name") == "tanz_ü_a_b_"


@pytest.mark.parametrize("up", ["y", "z"])
def test_csv(up, tmp_path):
    ready = prepare(with_face(make_take()), ExportOptions(up=up))
    text = exported("csv", ready, tmp_path).read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 40
    assert len(rows[0]) == 3 + 55 * 7 + 4 + 8 + 8 + 1 + 52
    assert None not in rows[0]

    def columns(*names):
        return np.array([[float(row[n]) for n in names] for row in rows])

    xyz = columns(*(f"{j}_{a}_m" for j in JOINT_NAMES for a in "xyz")).reshape(40, 55, 3)
    assert np.abs(xyz - in_up_axis(ready.positions_m, up)).max() < 0.5e-3
    q = columns(*(f"{j}_q{a}" for j in JOINT_NAMES for a in "wxyz")).reshape(40, 55, 4)
    assert np.abs(through_the_tree(q, xyz[:, 0], ready.rest_joints_m) - xyz).max() < 0.5e-3
    assert np.sum(q[1:] * q[:-1], axis=-1).min() >= 0
    assert np.abs(columns("time_s")[:, 0] - np.arange(40) / FPS).max() < 1e-6
    assert np.array_equal(columns("present")[:, 0], ready.track.present)
    assert np.abs(columns(*(f"contact_{c}" for c in CONTACT_POINTS)) - ready.track.contact).max() < 1e-4
    assert np.abs(columns(*(f"face_{s}" for s in ARKIT_NAMES)) - ready.track.expression).max() < 1e-4
    assert rows[2]["reprojection_error_percent"] == ""
    assert float(rows[3]["reprojection_error_percent"]) == 1.5


def through_the_tree(wxyz: np.ndarray, root_m: np.ndarray, rest_m: np.ndarray) -> np.ndarray:
    """(T, 55, 3) joints from local rotations, one joint after the other."""
    R = Rotation.from_quat(wxyz.reshape(-1, 4), scalar_first=True).as_matrix().reshape(*wxyz.shape[:2], 3, 3)
    xyz = np.zeros((*wxyz.shape[:2], 3))
    for j, parent in enumerate(PARENTS):
        if parent < 0:
            xyz[:, j] = root_m
        else:
            xyz[:, j] = xyz[:, parent] + R[:, parent] @ (rest_m[j] - rest_m[parent])
            R[:, j] = R[:, parent] @ R[:, j]
    return xyz


@pytest.mark.parametrize(("face", "up"), [(True, "y"), (False, "z")])
def test_json_follows_its_schema(face, up, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    take = make_take()
    ready = prepare(with_face(take) if face else take, ExportOptions(up=up))
    data = json.loads(exported("json", ready, tmp_path).read_text("utf-8"))
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(data)
    frames = data["frames"]
    assert len(frames) == data["frame_count"] == 40
    assert data["fps"] == FPS
    xyz = np.array([f["positions_m"] for f in frames])
    assert np.abs(xyz - in_up_axis(ready.positions_m, up)).max() < 0.5e-3
    wxyz, rest = np.array([f["rotations_wxyz"] for f in frames]), np.array(data["rest_joints_m"])
    assert np.abs(through_the_tree(wxyz, xyz[:, 0], rest) - xyz).max() < 0.5e-3
    assert [f["present"] for f in frames] == ready.track.present.tolist()
    assert np.array([f["measured"] for f in frames]).tolist() == ready.track.measured.tolist()
    assert data["parents"] == PARENTS.tolist()
    assert len(data["face_shapes"]) == len(frames[0]["face"]) == (52 if face else 0)
    assert (frames[2]["reprojection_error_percent"] is None) == face
    T, K = np.array(frames[5]["T_cam_world"]), np.array(frames[5]["K_px"])
    in_camera = xyz[5] @ T[:3, :3].T + T[:3, 3]
    theirs = ready.positions_m[5] @ ready.track.T_cam_world[5, :3, :3].T + ready.track.T_cam_world[5, :3, 3]
    assert np.abs(in_camera - theirs).max() < 1e-4
    assert np.abs(K - ready.track.K[5]).max() < 1e-3


def test_the_schema_refuses_what_is_not_a_take(ready, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    data = json.loads(exported("json", ready, tmp_path).read_text("utf-8"))
    for broken in (
        {k: v for k, v in data.items() if k != "fps"},
        data | {"parents": data["parents"][:-1]},
        data | {"frames": [data["frames"][0] | {"contact": [0, 0, 0, 2]}]},
        data | {"frames": [{k: v for k, v in data["frames"][0].items() if k != "present"}]},
    ):
        assert not validator.is_valid(broken)


def test_files_beside_an_export_are_checked_as_outputs(tmp_path):
    outputs = plan_outputs("clip.v2", tmp_path, CaptureOptions(export="mot"))
    assert EXPORTERS["mot"].files(outputs.exports["mot"]) == (tmp_path / "clip.v2.mot", tmp_path / "clip.v2.osim")
    (tmp_path / "clip.v2.osim").write_text("x")
    with pytest.raises(UsageError, match=r"clip\.v2\.osim is the input"):
        outputs.check(tmp_path / "clip.v2.osim")
    with pytest.raises(UsageError, match="two different outputs"):
        dataclasses.replace(outputs, report=tmp_path / "clip.v2.osim").check()


def read_amass(path: Path) -> dict[str, np.ndarray]:
    """As loaders of AMASS read it: poses, trans, betas, gender and mocap_framerate; hands are the last 90 numbers."""
    with np.load(path) as file:
        poses = file["poses"]
        assert str(file["gender"].astype(str)) in ("male", "female", "neutral")
        return {
            "rate": float(file["mocap_framerate"]),
            "root_orient": poses[:, :3],
            "pose_body": poses[:, 3:66],
            "pose_hand": poses[:, -90:],
            "trans": file["trans"],
            "betas": np.repeat(file["betas"][np.newaxis], len(poses), axis=0),
        }


def test_the_npz_reads_as_amass(tmp_path):
    take = make_take()
    ready = prepare(take, ExportOptions(up="z"))
    data = read_amass(exported("npz", ready, tmp_path))
    assert data["rate"] == FPS
    pose = np.concatenate(
        (data["root_orient"], data["pose_body"], np.zeros((40, 9)), data["pose_hand"]), axis=1
    ).reshape(40, 55, 3)  # fmt: skip
    pose[:, 22:25] = ready.track.poses[:, 22:25]
    wxyz = Rotation.from_rotvec(pose.reshape(-1, 3)).as_quat(scalar_first=True).reshape(40, 55, 4)
    rest = load_body().with_shape(data["betas"][0]).joints_m.astype(float)
    xyz = through_the_tree(wxyz, rest[0] + data["trans"], rest)
    assert np.abs(xyz - in_up_axis(ready.positions_m, "z")).max() < 1e-5
