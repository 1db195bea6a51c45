"""An OpenSim 4 model of a take's body: its bone lengths, one body for each joint, the markers of TRC and C3D.

It is made for kinematics: masses are placeholders, there are no muscles, and joints turn freely about three axes.
"""

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

import numpy as np
from scipy.spatial.transform import Rotation

from ...models.skeleton import JOINT_NAMES, NUM_BODY_JOINTS, PARENTS
from .coordinates import JointAngles, joint_angles
from .markers import Markers

TRANSLATIONS = ("pelvis_tx", "pelvis_ty", "pelvis_tz")
_RANGE = "-12.566371 12.566371"
"""Range of every angle, radians: two turns either way. Angles in the file may go beyond it; nothing is clamped."""


def body_to_osim(name: str, rest_joints_m: np.ndarray, tips_m: dict[str, np.ndarray], markers: Markers) -> str:
    """The text of the model file.

    Args:
        name: name of the model.
        rest_joints_m: (55, 3) joints of the body in T-pose.
        tips_m: joint name -> (3,) rest position of the end of its bone, for what is drawn.
        markers: markers on that body.
    """
    joints = joint_angles()
    frames = [j.R_joint_frame for j in joints]
    lines = [
        '<?xml version="1.0" encoding="UTF-8" ?>',
        '<OpenSimDocument Version="40000">',
        f"<Model name={quoteattr(name)}>",
    ]
    lines += ["<credits>Written by hmcap; masses are placeholders, for kinematics only.</credits>"]
    lines += ["<length_units>meters</length_units>", "<force_units>N</force_units>", "<gravity>0 -9.80665 0</gravity>"]
    lines += ['<Ground name="ground" />', '<BodySet name="bodyset"><objects>']
    for j, joint_name in enumerate(JOINT_NAMES):
        children = np.flatnonzero(j == PARENTS)
        ends = [rest_joints_m[c] for c in children] + ([tips_m[joint_name]] if joint_name in tips_m else [])
        lines += _body(j, [frames[j].T @ (end - rest_joints_m[j]) for end in ends])
    lines += ["</objects></BodySet>", '<JointSet name="jointset"><objects>']
    for j, angles in enumerate(joints):
        parent = int(PARENTS[j])
        offset = np.zeros(3) if parent < 0 else frames[parent].T @ (rest_joints_m[j] - rest_joints_m[parent])
        lines += _joint(angles, None if parent < 0 else JOINT_NAMES[parent], offset)
    lines += ["</objects></JointSet>", '<MarkerSet name="markerset"><objects>']
    for marker, joint, offset in zip(markers.names, markers.joint, markers.offset_m, strict=True):
        lines += [
            f"<Marker name={quoteattr(marker)}>",
            f"<socket_parent_frame>/bodyset/{JOINT_NAMES[joint]}</socket_parent_frame>",
            f"<location>{_vector(frames[joint].T @ offset)}</location>",
            "<fixed>true</fixed>",
            "</Marker>",
        ]
    lines += ["</objects></MarkerSet>", "</Model>", "</OpenSimDocument>"]
    return "\n".join(lines) + "\n"


def _vector(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{v:.9g}" for v in np.round(values, 9) + 0.0)


def _body(joint: int, ends: list[np.ndarray]) -> list[str]:
    name = JOINT_NAMES[joint]
    mass = 1.0 if joint < NUM_BODY_JOINTS else 0.05
    inertia = 0.01 * mass
    lines = [f'<Body name="{name}">', "<components>"]
    for k, end in enumerate(ends):
        lines += _bone(f"{name}_bone{k + 1}", end)
    return [
        *lines,
        "</components>",
        f"<mass>{mass:g}</mass>",
        "<mass_center>0 0 0</mass_center>",
        f"<inertia>{inertia:g} {inertia:g} {inertia:g} 0 0 0</inertia>",
        "</Body>",
    ]


def _bone(name: str, end: np.ndarray) -> list[str]:
    """A cylinder from the origin of a body to ``end`` (3,), for the eye."""
    length = float(np.linalg.norm(end))
    turn = Rotation.align_vectors(end[None] / max(length, 1e-9), np.array([[0.0, 1, 0]]))[0]
    radius = min(max(0.12 * length, 0.004), 0.02)
    return [
        f'<PhysicalOffsetFrame name="{name}">',
        "<attached_geometry>",
        f'<Cylinder name="{name}_shape"><socket_frame>..</socket_frame>',
        f"<radius>{radius:.6f}</radius><half_height>{length / 2:.6f}</half_height></Cylinder>",
        "</attached_geometry>",
        "<socket_parent>..</socket_parent>",
        f"<translation>{_vector(end / 2)}</translation>",
        f"<orientation>{_vector(turn.as_euler('XYZ'))}</orientation>",
        "</PhysicalOffsetFrame>",
    ]


def _joint(angles: JointAngles, parent: str | None, offset_m: np.ndarray) -> list[str]:
    child = JOINT_NAMES[angles.joint]
    above = "/ground" if parent is None else f"/bodyset/{parent}"
    moves = TRANSLATIONS if parent is None else ("", "", "")
    lines = [
        f'<CustomJoint name="{parent or "ground"}_{child}">',
        "<socket_parent_frame>parent_offset</socket_parent_frame>",
        "<socket_child_frame>child_offset</socket_child_frame>",
        "<coordinates>",
    ]
    for name in angles.names:
        lines += [f'<Coordinate name="{name}"><default_value>0</default_value><range>{_RANGE}</range></Coordinate>']
    for name in filter(None, moves):
        lines += [f'<Coordinate name="{name}"><default_value>0</default_value><range>-100 100</range></Coordinate>']
    lines += ["</coordinates>", "<frames>"]
    for frame, socket, where in (
        ("parent_offset", above, offset_m),
        ("child_offset", f"/bodyset/{child}", np.zeros(3)),
    ):
        lines += [
            f'<PhysicalOffsetFrame name="{frame}"><socket_parent>{socket}</socket_parent>',
            f"<translation>{_vector(where)}</translation><orientation>0 0 0</orientation></PhysicalOffsetFrame>",
        ]
    lines += ["</frames>", "<SpatialTransform>"]
    for k, (name, axis) in enumerate(zip(angles.names, angles.axes, strict=True)):
        lines += _transform_axis(f"rotation{k + 1}", name, axis)
    for k, name in enumerate(moves):
        lines += _transform_axis(f"translation{k + 1}", name, np.eye(3)[k])
    return [*lines, "</SpatialTransform>", "</CustomJoint>"]


def _transform_axis(name: str, coordinate: str, axis: Sequence[float] | np.ndarray) -> list[str]:
    function = (
        '<LinearFunction name="function"><coefficients>1 0</coefficients></LinearFunction>'
        if coordinate
        else '<Constant name="function"><value>0</value></Constant>'
    )
    return [
        f'<TransformAxis name="{name}"><coordinates>{coordinate}</coordinates><axis>{_vector(axis)}</axis>',
        f"{function}</TransformAxis>",
    ]
