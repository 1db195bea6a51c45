"""A receiver of the Virtual Motion Capture protocol, written from the texts of OSC 1.0 and of the protocol alone."""

import struct

import numpy as np

HUMAN_BODY_BONES = (
    "Hips", "LeftUpperLeg", "RightUpperLeg", "LeftLowerLeg", "RightLowerLeg", "LeftFoot", "RightFoot", "Spine",
    "Chest", "Neck", "Head", "LeftShoulder", "RightShoulder", "LeftUpperArm", "RightUpperArm", "LeftLowerArm",
    "RightLowerArm", "LeftHand", "RightHand", "LeftToes", "RightToes", "LeftEye", "RightEye", "Jaw",
    "LeftThumbProximal", "LeftThumbIntermediate", "LeftThumbDistal", "LeftIndexProximal", "LeftIndexIntermediate",
    "LeftIndexDistal", "LeftMiddleProximal", "LeftMiddleIntermediate", "LeftMiddleDistal", "LeftRingProximal",
    "LeftRingIntermediate", "LeftRingDistal", "LeftLittleProximal", "LeftLittleIntermediate", "LeftLittleDistal",
    "RightThumbProximal", "RightThumbIntermediate", "RightThumbDistal", "RightIndexProximal", "RightIndexIntermediate",
    "RightIndexDistal", "RightMiddleProximal", "RightMiddleIntermediate", "RightMiddleDistal", "RightRingProximal",
    "RightRingIntermediate", "RightRingDistal", "RightLittleProximal", "RightLittleIntermediate", "RightLittleDistal",
    "UpperChest",
)  # fmt: skip
"""Unity's HumanBodyBones in its own order, without LastBone."""


def parent_of(bone: str) -> str | None:
    """The bone above it in a humanoid avatar that has every bone."""
    centre = {
        "Hips": None, "Spine": "Hips", "Chest": "Spine", "UpperChest": "Chest", "Neck": "UpperChest", "Head": "Neck",
        "LeftEye": "Head", "RightEye": "Head", "Jaw": "Head",
    }  # fmt: skip
    if bone in centre:
        return centre[bone]
    side = "Left" if bone.startswith("Left") else "Right"
    part = bone[len(side) :]
    limbs = {
        "UpperLeg": "Hips", "LowerLeg": f"{side}UpperLeg", "Foot": f"{side}LowerLeg", "Toes": f"{side}Foot",
        "Shoulder": "UpperChest", "UpperArm": f"{side}Shoulder", "LowerArm": f"{side}UpperArm",
        "Hand": f"{side}LowerArm",
    }  # fmt: skip
    if part in limbs:
        return limbs[part]
    if part.endswith("Proximal"):
        return f"{side}Hand"
    if part.endswith("Intermediate"):
        return side + part.replace("Intermediate", "Proximal")
    return side + part.replace("Distal", "Intermediate")


def read_osc(datagram: bytes) -> list[tuple[str, list]]:
    """Messages (address, arguments) of a datagram: a message, or a bundle of messages and bundles."""
    assert len(datagram) % 4 == 0
    if not datagram.startswith(b"#bundle\0"):
        return [_message(datagram)]
    assert struct.unpack_from(">Q", datagram, 8)[0] == 1, "to be acted on at once"
    found, at = [], 16
    while at < len(datagram):
        (size,) = struct.unpack_from(">i", datagram, at)
        assert size > 0
        assert at + 4 + size <= len(datagram)
        found += read_osc(datagram[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def _message(data: bytes) -> tuple[str, list]:
    address, at = _text(data, 0)
    tags, at = _text(data, at)
    assert address.startswith("/")
    assert tags.startswith(",")
    values = []
    for tag in tags[1:]:
        if tag == "s":
            value, at = _text(data, at)
        else:
            (value,) = struct.unpack_from({"i": ">i", "f": ">f"}[tag], data, at)
            at += 4
        values.append(value)
    assert at == len(data)
    return address, values


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    after = at + (end - at) // 4 * 4 + 4
    assert not any(data[end:after]), "padded with zeros"
    return data[at:end].decode("ascii"), after


class Avatar:
    """The state of a receiver: what the last of each message said."""

    def __init__(self) -> None:
        self.root: list[float] = []
        self.bones: dict[str, list[float]] = {}
        self.state: list[int] = []
        self.time_s = -1.0
        self.shapes: dict[str, float] = {}
        self._waiting: dict[str, float] = {}

    def hear(self, datagram: bytes) -> list[str]:
        """Take one datagram; returns the addresses in it, in order."""
        messages = read_osc(datagram)
        for address, values in messages:
            if address == "/VMC/Ext/OK":
                self.state = values
            elif address == "/VMC/Ext/T":
                (self.time_s,) = values
            elif address == "/VMC/Ext/Root/Pos":
                assert values[0] == "root"
                self.root = values[1:]
            elif address == "/VMC/Ext/Bone/Pos":
                assert values[0] in HUMAN_BODY_BONES
                assert len(values) == 8
                self.bones[values[0]] = values[1:]
            elif address == "/VMC/Ext/Blend/Val":
                self._waiting[values[0]] = values[1]
            else:
                assert (address, values) == ("/VMC/Ext/Blend/Apply", [])
                self.shapes, self._waiting = self._waiting, {}
        return [address for address, _ in messages]

    def world(self, bone: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (3, 3) and position (3,) of a bone in Unity's left-handed world."""
        x, y, z, *quaternion = self.root if bone is None else self.bones[bone]
        R, p = _matrix(*quaternion), np.array([x, y, z])
        if bone is None:
            return R, p
        R_parent, p_parent = self.world(parent_of(bone))
        return R_parent @ R, p_parent + R_parent @ p


def _matrix(x: float, y: float, z: float, w: float) -> np.ndarray:
    assert abs(x * x + y * y + z * z + w * w - 1) < 1e-5, "a unit quaternion"
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
