"""Tiny sets of people, made in the layouts in which EMDB, RICH, EHF, AGORA and MOYO are published."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from eval_bodies import body_arrays
from hmcap.tools.evaluation.sets.body_files import BodyFile, load_body_file
from scipy.spatial.transform import Rotation

FRAMES = 6
SIZE = (128, 96)
SHAPE = np.linspace(-1, 1, 10)


def body_file(bodies: Path, kind: str, gender: str) -> BodyFile:
    """A made body."""
    return load_body_file(bodies / kind / f"{kind.upper()}_{gender}.npz", kind)


def write_picture(file: Path, size: tuple[int, int] = SIZE) -> None:
    """A grey picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), np.full((size[1], size[0], 3), 90, np.uint8))


def write_pickle(file: Path, data: object) -> None:
    """Data as a pickle of the kind that Python 2 wrote."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(data, 2))


def walk(joints: int, up: str) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T, J, 3) and translations (T, 3) of somebody walking and turning in a world of that up axis."""
    rng = np.random.default_rng(5)
    poses = np.cumsum(rng.normal(0, 0.05, (FRAMES, joints, 3)), axis=0)
    heading = Rotation.from_rotvec(np.arange(FRAMES)[:, None] * [0, 0.05, 0])
    upright = Rotation.from_rotvec([np.pi / 2, 0, 0]) if up == "z" else Rotation.identity()
    poses[:, 0] = (upright * heading).as_rotvec()
    trans = np.arange(FRAMES)[:, None] * np.array([0.03, 0, 0.02]) + [0.2, 1.3, 0.4]
    return poses, upright.apply(trans)


def camera_T(up: str, moving: bool = False) -> np.ndarray:
    """(T, 4, 4) of a world of that up axis to a camera four metres away from the person, at the height of the eyes."""
    down = {"y": np.diag([1.0, -1, -1]), "z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])}[up]
    T = np.tile(np.eye(4), (FRAMES, 1, 1))
    sway = Rotation.from_rotvec(np.arange(FRAMES)[:, None] * [0, 0.01 * moving, 0]).as_matrix()
    T[:, :3, :3] = sway @ down
    T[:, :3, 3] = [0, 1.4, 4.0]
    return T


def make_emdb(folder: Path, second: bool = True) -> None:
    """A sequence of EMDB 2, the third frame of which is bad, and one of EMDB 1."""
    poses, trans = walk(24, "y")
    good = np.arange(FRAMES) != 2
    for k, sequence in enumerate(("09_outdoor_walk", "10_stairs")[: 1 + second]):
        place = folder / "P0" / sequence
        for i in range(FRAMES):
            write_picture(place / "images" / f"{i:05d}.jpg")
        box = np.tile([10.0, 20.0, 60.0, 90.0], (FRAMES, 1))
        data = {
            "gender": "female",
            "name": f"P0_{sequence}",
            "emdb1": bool(k),
            "emdb2": not k,
            "n_frames": FRAMES,
            "good_frames_mask": good,
            "camera": {
                "intrinsics": np.array([[150.0, 0, 64], [0, 150, 48], [0, 0, 1]]),
                "extrinsics": camera_T("y", moving=True),
                "width": SIZE[0],
                "height": SIZE[1],
            },
            "smpl": {
                "poses_root": poses[:, 0],
                "poses_body": poses[:, 1:].reshape(FRAMES, 69),
                "trans": trans,
                "betas": SHAPE,
            },
            "kp2d": np.zeros((FRAMES, 24, 2)),
            "bboxes": {"bboxes": box, "invalid_idxs": np.array([2])},
        }
        write_pickle(place / f"P0_{sequence}_data.pkl", data)


RICH_WORLD = Rotation.from_rotvec([1.4, 0.1, -0.2]).as_matrix()
RICH_SHIFT = np.array([0.3, -0.2, 1.6])


def make_rich(folder: Path) -> None:
    """One woman and two cameras, the second with fewer pictures; frame 12 has no body."""
    poses, trans = walk(55, "z")
    # into the axes of the first camera, where the set keeps its bodies: x_camera = R' (x_world - t), row vectors
    poses[:, 0] = (Rotation.from_matrix(RICH_WORLD) * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    trans = (trans - RICH_SHIFT) @ RICH_WORLD.T
    for i in range(FRAMES):
        if i == 2:
            continue
        data = {
            "transl": trans[i],
            "global_orient": poses[i, 0],
            "body_pose": poses[i, 1:22].ravel(),
            "jaw_pose": poses[i, 22],
            "leye_pose": poses[i, 23],
            "reye_pose": poses[i, 24],
            "left_hand_pose": np.linspace(-1, 1, 12),
            "right_hand_pose": np.zeros(12),
            "betas": SHAPE,
            "expression": np.zeros(10),
        }
        data = {k: v[None].astype(np.float32) for k, v in data.items()}
        write_pickle(folder / "bodies" / "test" / "Pavallion_013_yoga" / f"{i + 10:05d}" / "013.pkl", data)
    for camera, numbers in ((0, range(8, 8 + FRAMES + 4)), (3, range(11, 14))):
        for n in numbers:
            write_picture(
                folder / f"images/test/Pavallion_013_yoga/cam_{camera:02d}/{n:05d}_{camera:02d}.jpeg", (257, 188)
            )
        T = camera_T("z")[0] @ np.block([[RICH_WORLD.T, RICH_SHIFT[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])
        K = [4000.0, 0, 2056, 0, 4000, 1504, 0, 0, 1]
        rows = {"CameraMatrix": T[:3].ravel(), "Intrinsics": K, "Distortion": [0.0] * 8}
        text = "".join(f"<{k}><data>{' '.join(map(str, v))}</data></{k}>" for k, v in rows.items())
        file = folder / "scan_calibration" / "Pavallion" / "calibration" / f"{camera:03d}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"<opencv_storage>{text}</opencv_storage>", encoding="utf-8")
    world = {"R": RICH_WORLD.tolist(), "t": (1.01 * RICH_SHIFT).tolist(), "c": 1.01}
    (folder / "multicam2world").mkdir()
    (folder / "multicam2world" / "Pavallion_multicam2world.json").write_text(json.dumps(world), encoding="utf-8")


def make_ehf(folder: Path) -> None:
    """Two pictures with meshes."""
    mesh = body_arrays("smplx")["v_template"] + [0.0, -0.2, 0.1]
    for name in ("01", "02"):
        write_picture(folder / f"{name}_img.jpg", (160, 120))
        head = f"ply\nformat ascii 1.0\nelement vertex {len(mesh)}\n"
        head += "".join(f"property float {k}\n" for k in "xyz") + "end_header\n"
        lines = "".join(f"{x} {y} {z}\n" for x, y, z in mesh.tolist())
        (folder / f"{name}_align.ply").write_text(head + lines, encoding="ascii", newline="\n")


def agora_arrays(bodies: Path) -> dict[str, np.ndarray]:
    """Three people in two pictures, by parameters and by joints; the third is hidden."""
    poses, _ = walk(55, "y")
    turn = Rotation.from_matrix(camera_T("y")[0, :3, :3])
    poses[:, 0] = (turn * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    arrays = {
        "imgname": np.array(["a/one.png", "a/one.png", "b/two.png"]),
        "cam_int": np.tile(np.array([[150.0, 0, 64], [0, 150, 48], [0, 0, 1]]), (3, 1, 1)),
        "pose_cam": poses[:3].reshape(3, 165),
        "shape": np.tile(SHAPE, (3, 1)),
        "trans_cam": np.array([[0.1, 0.2, 0.3], [0.4, 0.1, 0.2], [0, 0, 0]]),
        "cam_ext": np.tile(np.eye(4), (3, 1, 1)),
        "gender": np.array(["m", "female", "neutral"]),
        "occlusion": np.array([10.0, 0, 95]),
    }
    arrays["cam_ext"][:, :3, 3] = [0, 0.3, 5.0]
    shift = arrays["trans_cam"] + arrays["cam_ext"][:, :3, 3]
    joints = np.stack([
        body_file(bodies, "smplx", gender).animate(poses[i : i + 1], shift[i : i + 1], SHAPE).joints_m()[0]
        for i, gender in enumerate(("MALE", "FEMALE", "NEUTRAL"))
    ])  # fmt: skip
    seen = joints @ arrays["cam_int"][0].T
    return arrays | {"joints3d_cam": joints, "gtkps": seen[..., :2] / seen[..., 2:]}


def save_agora(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """The arrays, and the pictures they name."""
    folder.mkdir(exist_ok=True)
    write_picture(folder / "images" / "a" / "one.png")
    write_picture(folder / "b" / "two.png")
    np.savez(folder / "validation.npz", **arrays)


def make_agora(folder: Path) -> None:
    """People by their parameters."""
    arrays = agora_arrays(Path(os.environ["HMCAP_BODIES"]))
    del arrays["joints3d_cam"]
    save_agora(folder, arrays)


def make_moyo(folder: Path) -> None:
    """One sequence seen by one camera, with a picture more than there is motion."""
    poses, trans = walk(55, "z")
    sequence = "220923_yogi_body_hands_03596_Tree_Pose-a"
    session = folder / "20220923_20220926_with_hands"
    motion = session / "AMASS" / "YOGI_2_latest_smplx_neutral" / "val" / f"{sequence}_stageii.npz"
    motion.parent.mkdir(parents=True)
    np.savez(
        motion,
        poses=np.repeat(poses, 2, axis=0).reshape(2 * FRAMES, 165),
        trans=np.repeat(trans, 2, axis=0),
        betas=np.append(SHAPE, np.zeros(6)),
        gender=np.array("neutral"),
        mocap_frame_rate=np.array(60.0),
    )
    for n in range(1, FRAMES + 2):  # one picture more than there is motion
        write_picture(session / f"images/val/{sequence}/YOGI_Cam_02/{sequence}_YOGI_Cam_02_{n:04d}.jpg")
    T = camera_T("z")[0]
    camera = {"focal": 300.0, "princpt": [128.0, 96.0], "rotation": T[:3, :3].tolist()}
    camera["position"] = (-1000 * T[:3, :3].T @ T[:3, 3]).tolist()
    file = session / "cameras" / "20220923" / "220923_Afternoon_PROCESSED_CAMERA_PARAMS" / "cameras_param.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"cam_2": camera}), encoding="utf-8")


MAKERS: dict[str, Callable[[Path], None]] = {
    "emdb": make_emdb,
    "rich": make_rich,
    "ehf": make_ehf,
    "agora": make_agora,
    "moyo": make_moyo,
}
