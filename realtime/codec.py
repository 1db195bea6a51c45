"""Proxies and motion as msgpack messages: arrays travel as type, shape and little-endian bytes.

Decoding trusts nothing: every declared type, shape and length is checked against what the field has to be before an
array is made, so that a hostile or damaged file ends in one clear ``HmcapError``.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from ..models.camera import Camera
from ..models.errors import HmcapError
from ..models.face import ARKIT_NAMES
from ..models.motion import GROUP_NAMES, MotionFrame
from ..models.proxies import BLAZEPOSE_NAMES, NUM_PROXIES, Proxies
from ..models.skeleton import CONTACT_POINTS, NUM_JOINTS

MAX_MESSAGE_BYTES = 1 << 20
"""Longest message that is decoded; a frame needs about 4 KiB."""
MAX_BETAS = 1024
MAX_INDEX = 2**40
MAX_SIDE_PX = 1 << 16
MAX_STAMP_S = 1e9
"""Thirty years."""
DISTORTION_COUNTS = (0, 4, 5, 8, 12, 14)
"""How many distortion coefficients a lens may have in OpenCV."""

_NAMES = "surrogateescape"
"""How text is kept that is no UTF-8: names of files may be any bytes."""
_FLOATS = ("<f4", "<f8")
_SHAPES: dict[str, tuple[int, ...]] = {
    "xy_px": (NUM_PROXIES, 2),
    "confidence_proxies": (NUM_PROXIES,),
    "body_xyz_m": (len(BLAZEPOSE_NAMES), 3),
    "hands_xyz_m": (2, 21, 3),
    "poses": (NUM_JOINTS, 3),
    "trans_m": (3,),
    "T_cam_world": (4, 4),
    "contact": (len(CONTACT_POINTS),),
    "confidence_groups": (len(GROUP_NAMES),),
    "measured": (len(GROUP_NAMES),),
}


def encode_proxies(proxies: Proxies) -> bytes:
    """One message of the ``/proxies`` channel."""
    fields = {
        "index": proxies.index,
        "stamp_s": proxies.stamp_s,
        "image_size_px": list(proxies.image_size_px),
        "score": float(proxies.score),
        "xy_px": _pack(proxies.xy_px),
        "confidence": _pack(proxies.confidence),
        "body_xyz_m": _pack(proxies.body_xyz_m),
        "hands_xyz_m": _pack(proxies.hands_xyz_m),
    } | _optional("face", proxies.face)
    return _packed(fields)


def decode_proxies(data: bytes) -> Proxies:
    """Inverse of ``encode_proxies``. Raises ``HmcapError`` where the message is not what it claims to be."""
    fields = _unpack_map(data)
    size = fields.get("image_size_px")
    if not (isinstance(size, list) and len(size) == 2):
        raise _broken("image_size_px", size)
    return Proxies(
        _integer(fields, "index", 0, MAX_INDEX),
        _stamp(fields),
        (
            _checked_int(size[0], "image_size_px", 1, MAX_SIDE_PX),
            _checked_int(size[1], "image_size_px", 1, MAX_SIDE_PX),
        ),
        _array(fields, "xy_px", _SHAPES["xy_px"]),
        _array(fields, "confidence", _SHAPES["confidence_proxies"]),
        _array(fields, "body_xyz_m", _SHAPES["body_xyz_m"]),
        _array(fields, "hands_xyz_m", _SHAPES["hands_xyz_m"]),
        _finite(fields, "score"),
        _face(fields, "face"),
    )


def encode_motion(motion: MotionFrame, revision: int) -> bytes:
    """One message of the ``/motion`` channel; of two revisions of a frame the higher one counts."""
    fields = {
        "revision": revision,
        "index": motion.index,
        "stamp_s": motion.stamp_s,
        "present": bool(motion.present),
        "betas": _pack(motion.betas),
        "poses": _pack(motion.poses),
        "trans_m": _pack(motion.trans_m),
        "T_cam_world": _pack(motion.T_cam_world),
        "camera": camera_to_dict(motion.camera),
        "contact": _pack(motion.contact),
        "confidence": _pack(motion.confidence),
        "measured": _pack(motion.measured),
        "reprojection_error": float(motion.reprojection_error),
    } | _optional("expression", motion.expression)
    return _packed(fields)


def decode_motion(data: bytes) -> tuple[MotionFrame, int]:
    """Inverse of ``encode_motion``: the frame and its revision. Raises ``HmcapError`` as ``decode_proxies`` does."""
    fields = _unpack_map(data)
    present = fields.get("present")
    if not isinstance(present, bool):
        raise _broken("present", present)
    error = fields.get("reprojection_error")
    if not isinstance(error, float):
        raise _broken("reprojection_error", error)
    motion = MotionFrame(
        index=_integer(fields, "index", 0, MAX_INDEX),
        stamp_s=_stamp(fields),
        present=present,
        betas=_array(fields, "betas", None, finite=True),
        poses=_array(fields, "poses", _SHAPES["poses"], finite=True),
        trans_m=_array(fields, "trans_m", _SHAPES["trans_m"], finite=True),
        T_cam_world=_array(fields, "T_cam_world", _SHAPES["T_cam_world"], finite=True),
        camera=camera_from_dict(fields.get("camera")),
        contact=_array(fields, "contact", _SHAPES["contact"]),
        confidence=_array(fields, "confidence", _SHAPES["confidence_groups"]),
        measured=_array(fields, "measured", _SHAPES["measured"], dtypes=("|b1",)),
        reprojection_error=error,
        expression=_face(fields, "expression", finite=True),
    )
    return motion, _integer(fields, "revision", 0, 2**31)


def camera_to_dict(camera: Camera) -> dict[str, Any]:
    """Plain numbers and text, for msgpack and JSON alike."""
    return {
        "width_px": camera.width_px,
        "height_px": camera.height_px,
        "fx_px": float(camera.fx_px),
        "fy_px": float(camera.fy_px),
        "cx_px": float(camera.cx_px),
        "cy_px": float(camera.cy_px),
        "dist": [float(d) for d in camera.dist],
        "source": camera.source,
    }


def camera_from_dict(fields: object) -> Camera:
    """Inverse of ``camera_to_dict``. Raises ``HmcapError`` where a number is missing, absurd or not finite."""
    if not isinstance(fields, Mapping):
        raise _broken("camera", fields)
    dist, source = fields.get("dist"), fields.get("source")
    if not (isinstance(dist, list) and len(dist) in DISTORTION_COUNTS):
        raise _broken("camera dist", dist)
    if not all(map(_is_finite, dist)):
        raise _broken("camera dist", dist)
    if not isinstance(source, str):
        raise _broken("camera source", source)
    fx, fy = _finite(fields, "fx_px"), _finite(fields, "fy_px")
    if not (fx > 0 and fy > 0):
        raise _broken("camera focal length", (fx, fy))
    return Camera(
        _integer(fields, "width_px", 1, MAX_SIDE_PX),
        _integer(fields, "height_px", 1, MAX_SIDE_PX),
        fx,
        fy,
        _finite(fields, "cx_px"),
        _finite(fields, "cy_px"),
        tuple(float(d) for d in dist),
        source,
    )


def _optional(name: str, array: np.ndarray) -> dict[str, Any]:
    """A field that is left out where there is nothing in it."""
    return {name: _pack(array)} if len(array) else {}


def _face(fields: Mapping[str, Any], name: str, *, finite: bool = False) -> np.ndarray:
    """Weights of the face shapes; none where the face was not captured."""
    return _array(fields, name, (len(ARKIT_NAMES),), finite=finite) if name in fields else np.zeros(0, np.float32)


def _pack(array: np.ndarray) -> dict[str, Any]:
    array = np.asarray(array)
    if array.dtype.kind == "f":
        # Wider and narrower floats than these two have no place in a take.
        array = array.astype("<f4" if array.dtype.itemsize <= 4 else "<f8")
    elif array.dtype.kind != "b":
        array = array.astype("<f8")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": np.ascontiguousarray(array).tobytes()}


def _array(
    fields: Mapping[str, Any],
    name: str,
    shape: tuple[int, ...] | None,
    *,
    dtypes: tuple[str, ...] = _FLOATS,
    finite: bool = False,
) -> np.ndarray:
    """The named array; ``shape`` None stands for a vector of at most ``MAX_BETAS`` numbers."""
    value = fields.get(name)
    if not isinstance(value, dict):
        raise _broken(name, value)
    dtype, stated, data = value.get("dtype"), value.get("shape"), value.get("data")
    if dtype not in dtypes or not isinstance(stated, list) or not isinstance(data, bytes):
        raise _broken(name, (dtype, stated))
    if shape is None:
        if not (len(stated) == 1 and isinstance(stated[0], int) and 0 <= stated[0] <= MAX_BETAS):
            raise _broken(name, stated)
        shape = (stated[0],)
    kind = np.dtype(dtype)
    if stated != list(shape) or len(data) != math.prod(shape) * kind.itemsize:
        raise _broken(name, (stated, f"{len(data)} bytes"))
    array = np.frombuffer(data, kind).reshape(shape).astype(kind.newbyteorder("="))
    if finite and not np.isfinite(array).all():
        raise _broken(name, "numbers that are not finite")
    array.flags.writeable = False
    return array


def _packed(fields: dict[str, Any]) -> bytes:
    return bytes(msgpack.packb(fields, unicode_errors=_NAMES) or b"")


def _unpack_map(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_MESSAGE_BYTES:
        raise _broken("message", f"{len(data):,} bytes")
    try:
        fields = msgpack.unpackb(data, raw=False, strict_map_key=True, unicode_errors=_NAMES)
    except (ValueError, msgpack.UnpackException) as error:
        raise _broken("message", type(error).__name__) from error
    if not isinstance(fields, dict):
        raise _broken("message", type(fields).__name__)
    return fields


def _integer(fields: Mapping[str, Any], name: str, low: int, high: int) -> int:
    return _checked_int(fields.get(name), name, low, high)


def _checked_int(value: object, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _broken(name, value)
    return value


def _finite(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if value is None or not _is_finite(value):
        raise _broken(name, value)
    return float(value)


def _is_finite(value: Any) -> bool:
    """Whether it is a number that a float can hold; JSON has whole numbers of any length."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and abs(value) <= sys.float_info.max


def _stamp(fields: Mapping[str, Any]) -> float:
    stamp_s = _finite(fields, "stamp_s")
    if abs(stamp_s) > MAX_STAMP_S:
        raise _broken("stamp_s", stamp_s)
    return stamp_s


def _broken(name: str, found: object) -> HmcapError:
    return HmcapError(
        f"Expected a take written by hmcap; its field {name!r} holds {str(found)[:80]}, which no take can hold. The "
        "file is damaged or comes from somewhere else: use another copy, or capture again."
    )
