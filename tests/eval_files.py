"""Tiny sets in their published layouts: a made person of a few frames, and what a loader has to find of them.

A maker writes a set into a folder and returns the true LIMBS in the axes of the camera, (T, 12, 3) metres, NaN where
the set says that they are not known, by the name of the case; an empty dictionary for sets without 3-D joints.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from hmcap.models.skeleton import JOINT_NAMES
from hmcap.tools.evaluation.records import LIMBS
from hmcap.tools.evaluation.sets.h36m import CAMERAS, JOINTS
from hmcap.tools.evaluation.sets.mpi3dhp import TEST_JOINTS, TRAIN_JOINTS

SIZE = (64, 80)
"""Width and height of the made pictures."""
K = np.array([[70.0, 0, 31], [0, 72, 42], [0, 0, 1]])
REST = {
    "pelvis": (0, 0.95, 0), "hip": (0.09, 0.88, 0), "spine1": (0, 1.05, -0.02), "knee": (0.1, 0.5, 0.01),
    "spine2": (0, 1.18, -0.02), "ankle": (0.1, 0.09, -0.02), "spine3": (0, 1.24, -0.01), "foot": (0.12, 0.03, 0.1),
    "neck": (0, 1.45, -0.02), "collar": (0.07, 1.37, -0.02), "head": (0, 1.55, 0.02), "shoulder": (0.18, 1.39, -0.02),
    "elbow": (0.42, 1.3, -0.03), "wrist": (0.65, 1.2, 0.05), "hand": (0.73, 1.18, 0.06), "heel": (0.1, 0.02, -0.06),
    "big_toe": (0.1, 0.02, 0.16), "small_toe": (0.16, 0.02, 0.12), "nose": (0, 1.6, 0.12), "mid_hip": (0, 0.88, 0),
}  # fmt: skip
"""Places on a standing person that faces +Z; of the left side (+X) for those that come in pairs."""


def position(name: str) -> np.ndarray:
    """(3,) rest place of ``left_hip``, ``nose``, ..."""
    side, _, part = name.partition("_")
    if side not in ("left", "right"):
        return np.array(REST[name])
    return np.array(REST[part]) * [1 if side == "left" else -1, 1, 1]


def person(names: tuple[str, ...], frames: int, seed: int = 0) -> np.ndarray:
    """(T, N, 3) the named points of a person that turns, walks on and bends a little; the same for a seed whatever the
    names, Y up, floor at 0."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-3, 3) + 0.1 * np.arange(frames)
    R = np.zeros((frames, 3, 3))
    R[:, 0, 0] = R[:, 2, 2] = np.cos(angle)
    R[:, 0, 2], R[:, 2, 0], R[:, 1, 1] = np.sin(angle), -np.sin(angle), 1
    rest = np.stack([position(n) for n in names])
    bend = 0.03 * np.sin(0.7 * np.arange(frames))[:, None] * rest[:, 1]
    bent = rest + np.stack([bend, 0 * bend, bend], axis=-1)
    return np.einsum("tij,tnj->tni", R, bent) + np.array([0.02, 0, 0.01]) * np.arange(frames)[:, None, None]


def camera(seed: int = 0, distance_m: float = 4.0) -> np.ndarray:
    """(4, 4) T_cam_world of a camera that looks at the origin from 1.2 m up."""
    angle = 0.4 + 1.3 * seed
    place = np.array([distance_m * np.sin(angle), 1.2, distance_m * np.cos(angle)])
    z = np.array([0, 0.9, 0]) - place
    z /= np.linalg.norm(z)
    x = np.cross(z, [0, 1.0, 0])
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z])
    T[:3, 3] = -T[:3, :3] @ place
    return T


def seen(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points of the world in the camera's axes."""
    return points @ T[:3, :3].T + T[:3, 3]


def pixels(points_cam: np.ndarray) -> np.ndarray:
    """Pixels (..., 2) of points in the axes of the camera ``K``."""
    uvw = points_cam @ K.T
    return uvw[..., :2] / uvw[..., 2:]


def picture(file: Path, size: tuple[int, int] = SIZE) -> None:
    """A small grey picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(size[0]).integers(90, 160, (size[1], size[0], 3), np.uint8)
    ok, data = cv2.imencode(file.suffix, image)
    assert ok
    file.write_bytes(data.tobytes())


def video(file: Path, frames: int, size: tuple[int, int] = SIZE, fps: int = 25) -> None:
    """A small grey video."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            image = np.full((size[1], size[0], 3), 100 + i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def make_beam(folder: Path) -> dict[str, np.ndarray]:
    feet = {"BigToe": "big_toe", "SmallToe": "small_toe", "Heel": "heel"}
    places = {
        "Hip": "hip",
        "Knee": "knee",
        "Ankle": "ankle",
        "Shoulder": "shoulder",
        "Elbow": "elbow",
        "Wrist": "wrist",
    }
    names = {f"{s[0].upper()}{k}": f"{s}_{v}" for s in ("right", "left") for k, v in {**places, **feet}.items()}
    names |= {"Neck": "neck", "Head": "head", "Nose": "nose"}
    frames, T = 5, np.stack([camera(0), camera(1)])
    for i in range(2):
        video(folder / f"cam0{i + 1}.mp4", frames, fps=60)
    np.savez(
        folder / "truth.npz",
        joint_names=list(names),
        joints_world_m=person(tuple(names.values()), frames).astype(np.float32),
        fps=60.0,
        camera_names=["cam01", "cam02"],
        K=np.stack([K, K]),
        dist=np.tile([-0.05, 0.1, 0.001, -0.001], (2, 1)),
        R_cam_world=T[:, :3, :3],
        t_cam_world_m=T[:, :3, 3],
    )
    return {f"cam0{i + 1}": seen(T[i], person(LIMBS, frames)) for i in range(2)}


def make_stills3d(folder: Path) -> dict[str, np.ndarray]:
    short = {f"{n[0]}{n.partition('_')[2]}": n for n in LIMBS} | {"root": "mid_hip"}
    others = dict.fromkeys(("spine", "thorax", "neck_nose", "head"), "nose")
    orders = [list({**short, **others}), list({**others, **short})[::-1]]
    lookup = {**short, **others}
    joints = np.stack([seen(camera(i), person(tuple(lookup[n] for n in o), 1, i)[0]) for i, o in enumerate(orders)])
    for i in range(2):
        picture(folder / f"still_{i}.jpg")
    np.savez(
        folder / "truth.npz",
        files=["still_0.jpg", "still_1.jpg"],
        joints_cam_m=joints.astype(np.float32),
        joints_px=pixels(joints).astype(np.float32),
        K=np.stack([K, K]),
        joint_names=np.array(orders),
    )
    return {f"still_{i}": seen(camera(i), person(LIMBS, 1, i)) for i in range(2)}


def wholebody_points(seed: int) -> np.ndarray:
    """(133, 3) key points with some of them not labelled."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform(0, 60, (133, 2)), rng.choice([0, 1, 2], (133, 1))], axis=1)
    return np.where(points[:, 2:] > 0, points, 0)


def make_wholebody2d(folder: Path) -> dict[str, np.ndarray]:
    picture(folder / "a.jpg")
    picture(folder / "b.jpg")
    np.savez(
        folder / "truth.npz",
        files=["a.jpg", "b.jpg", "b.jpg"],
        keypoints_133=np.stack([wholebody_points(i) for i in range(3)]).astype(np.float32),
        bbox_xywh_px=np.array([[1, 2, 30, 40], [5, 5, 20, 20], [30, 5, 20, 60.0]], np.float32),
    )
    return {}


def make_coco(folder: Path) -> dict[str, np.ndarray]:
    images, annotations = [], []
    for i, size in enumerate((SIZE, (48, 40))):
        name = f"{785 + i:012d}.jpg"
        picture(folder / "val2017" / name, size)
        images.append({"id": 785 + i, "file_name": name, "width": size[0], "height": size[1]})
    for i, (image, crowd, count) in enumerate([(785, 0, 9), (785, 0, 4), (786, 0, 17), (786, 1, 17), (786, 0, 0)]):
        points = wholebody_points(i)
        annotations.append(
            {
                "id": 100 + i,
                "image_id": image,
                "iscrowd": crowd,
                "num_keypoints": count,
                "bbox": [1.5, 2, 30, 40.25],
                "keypoints": points[:17].ravel().tolist(),
                "foot_kpts": points[17:23].ravel().tolist(),
                "face_kpts": points[23:91].ravel().tolist(),
                "lefthand_kpts": points[91:112].ravel().tolist(),
                "righthand_kpts": points[112:].ravel().tolist(),
                "foot_valid": True,
                "face_valid": False,
                "lefthand_valid": i != 1,
                "righthand_valid": True,
            }
        )
    file = folder / "annotations" / "coco_wholebody_val_v1.0.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations}), encoding="utf-8")
    return {}


SMPL = (*JOINT_NAMES[:22], "left_hand", "right_hand")


def make_3dpw(folder: Path) -> dict[str, np.ndarray]:
    """One sequence of two actors, in a pickle as Python 2 wrote it."""
    frames, name = 4, "downtown_made_00"
    T = np.stack([camera(0) @ _shift(0.05 * i) for i in range(frames)])
    valid = [np.array([1, 1, 0, 1]), np.array([1, 1, 1, 1])]
    joints = [person(SMPL, frames, s) for s in range(2)]
    content = {
        "sequence": name,
        "genders": ["m", "f"],
        "jointPositions": [j.reshape(frames, 72) for j in joints],
        "campose_valid": valid,
        "cam_poses": T,
        "cam_intrinsics": K,
        "img_frame_ids": np.arange(frames),
        "poses2d": [np.zeros((frames, 3, 18)) for _ in range(2)],
    }
    for i in range(frames):
        picture(folder / "imageFiles" / name / f"image_{i:05d}.jpg")
    file = folder / "sequenceFiles" / "test" / f"{name}.pkl"
    file.parent.mkdir(parents=True)
    file.write_bytes(pickle.dumps(content, 2).replace(b"cnumpy._core.", b"cnumpy.core."))
    out = {}
    for s in range(2):
        limbs = np.stack([seen(T[i], p) for i, p in enumerate(person(LIMBS, frames, s))])
        limbs[valid[s] == 0] = np.nan
        out[f"{name}_{s}"] = limbs
    return out


def _shift(x: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    return T


Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Turns our world (Y up) into that of Human3.6M (Z up)."""


def h36m_cameras() -> dict[tuple[str, str], np.ndarray]:
    """T_cam_world in our world of each subject's cameras."""
    return {(s, c): camera(i + 0.3 * j) for j, s in enumerate(("S9", "S11")) for i, c in enumerate(CAMERAS)}


def make_h36m(folder: Path) -> dict[str, np.ndarray]:
    """Two videos, cameras in the metadata of the release."""
    from cdflib.cdfwrite import CDF
    from scipy.spatial.transform import Rotation

    frames, out = 4, {}
    placed = h36m_cameras()
    names = [next((n for n, k in JOINTS.items() if k == i), "nose") for i in range(32)]
    for j, (subject, action, number) in enumerate((("S9", "Directions 1", CAMERAS[0]), ("S11", "Eating", CAMERAS[3]))):
        T = placed[subject, number]
        video(folder / subject / "Videos" / f"{action}.{number}.mp4", frames, fps=50)
        file = folder / subject / "MyPoseFeatures" / "D3_Positions_mono" / f"{action}.{number}.cdf"
        file.parent.mkdir(parents=True)
        write_cdf(CDF, file, 1000 * seen(T, person(tuple(names), frames, j)))
        out[f"{subject}_{action.replace(' ', '_')}.{number}"] = seen(T, person(LIMBS, frames, j))
    w0 = np.zeros(300)
    for c, number in enumerate(CAMERAS):
        for s in range(11):
            T = placed.get((f"S{s + 1}", number), np.eye(4))
            R = T[:3, :3] @ Z_UP.T
            w0[6 * (11 * c + s) :][:3] = Rotation.from_matrix(R).as_euler("XYZ")
            w0[6 * (11 * c + s) + 3 :][:3] = -1000 * R.T @ T[:3, 3]
        w0[264 + 9 * c : 273 + 9 * c] = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], -0.2, 0.24, -0.002, -0.0009, -0.0014]
    text = f"<metadata><w0>[{' '.join(repr(float(v)) for v in w0)}]</w0></metadata>"
    (folder / "metadata.xml").write_text(text, encoding="utf-8")
    return out


def write_cdf(writer: Callable, file: Path, joints_mm: np.ndarray, name: str = "Pose") -> None:
    """A cdf file with one record (T, 3 J)."""
    with writer(str(file)) as cdf:
        flat = joints_mm.reshape(1, len(joints_mm), -1).astype(np.float32)
        spec = {
            "Variable": name, "Data_Type": 44, "Num_Elements": 1, "Rec_Vary": True, "Dim_Sizes": list(flat.shape[1:]),
        }  # fmt: skip
        cdf.write_var(spec, var_data=flat)


def make_3dhp(folder: Path) -> dict[str, np.ndarray]:
    """A test sequence and two videos of a training sequence."""
    return {**_make_3dhp_test(folder / "TS1"), **_make_3dhp_train(folder / "S1" / "Seq1")}


def _make_3dhp_test(folder: Path) -> dict[str, np.ndarray]:
    import h5py

    frames, T = 4, camera(2)
    names = tuple(next((n for n, k in TEST_JOINTS.items() if k == i), "nose") for i in range(17))
    joints = seen(T, person(names, frames))
    for i in range(frames):
        picture(folder / "imageSequence" / f"img_{i + 1:06d}.jpg")
    valid = np.array([[1.0], [0], [1], [1]])
    with h5py.File(folder / "annot_data.mat", "w", userblock_size=512) as data:
        data["annot3"] = 1000 * joints[:, None] * valid[..., None, None]
        data["annot2"] = pixels(joints)[:, None] * valid[..., None, None]
        data["valid_frame"] = valid
    limbs = seen(T, person(LIMBS, frames))
    return {"TS1": np.where(valid[..., None] > 0, limbs, np.nan)}


def _make_3dhp_train(folder: Path) -> dict[str, np.ndarray]:
    from scipy.io import savemat

    names = tuple(next((n for n, k in TRAIN_JOINTS.items() if k == i), "nose") for i in range(28))
    cameras, frames = [0, 8], 5
    cells, lines = np.empty((2, 1), object), ["Skeletool Camera Calibration File V1.0"]
    out = {}
    for i, number in enumerate(cameras):
        T = camera(i)
        cells[i, 0] = 1000 * seen(T, person(names, frames)).reshape(frames, 84)
        inner, outer = np.eye(4), T.copy()
        inner[:3, :3], outer[:3, 3] = K, 1000 * T[:3, 3]
        lines += [
            f"name          {number}", "  sensor      10 10", f"  size        {SIZE[0]} {SIZE[1]}", "  animated    0",
            f"  intrinsic   {' '.join(map(repr, inner.ravel().tolist()))}",
            f"  extrinsic   {' '.join(map(repr, outer.ravel().tolist()))}", "  radial      0",
        ]  # fmt: skip
        video(folder / "imageSequence" / f"video_{number}.avi", frames - i)  # the second ends a frame early
        out[f"S1_Seq1_video_{number}"] = seen(T, person(LIMBS, frames))[: frames - i]
    savemat(folder / "annot.mat", {"annot3": cells, "cameras": np.array([cameras])})
    (folder / "camera.calibration").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


MAKERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    "beam": make_beam,
    "stills3d": make_stills3d,
    "wholebody2d": make_wholebody2d,
    "3dpw": make_3dpw,
    "h36m": make_h36m,
    "3dhp": make_3dhp,
    "coco-wholebody": make_coco,
}
"""Makers of the sets, by the name of the set."""
