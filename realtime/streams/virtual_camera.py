"""The overlay picture as a camera that other programs can choose: frames written to a v4l2loopback device.

Linux alone has a camera that any program may write to. The structures are those of <linux/videodev2.h>; Python's
standard library has the two system calls.
"""

import ctypes
import errno
import logging
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...models.body import BodyModel
from ...models.errors import HmcapError
from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from ..frames import Frame
from ..overlay import Figure
from ..overlay.live import live_picture
from ..take import TakeHeader

LOG = logging.getLogger("hmcap.streams")

_VIDEO_OUTPUT = 0x2
"""V4L2_CAP_VIDEO_OUTPUT, also the buffer type V4L2_BUF_TYPE_VIDEO_OUTPUT."""
_DEVICE_CAPS = 0x80000000
_FIELD_NONE = 1
_COLORSPACE_SRGB = 8
_YUYV = int.from_bytes(b"YUYV", "little")
_LOAD = 'sudo modprobe v4l2loopback exclusive_caps=1 card_label="hmcap"'


class Capability(ctypes.Structure):
    """struct v4l2_capability."""

    _fields_ = (
        ("driver", ctypes.c_char * 16), ("card", ctypes.c_char * 32), ("bus_info", ctypes.c_char * 32),
        ("version", ctypes.c_uint32), ("capabilities", ctypes.c_uint32), ("device_caps", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
    )  # fmt: skip


class PixelFormat(ctypes.Structure):
    """struct v4l2_pix_format."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in (
        "width", "height", "pixelformat", "field", "bytesperline", "sizeimage", "colorspace", "priv", "flags",
        "ycbcr_enc", "quantization", "xfer_func",
    ))  # fmt: skip


class _AnyFormat(ctypes.Union):
    # the pointer is what aligns the union in the kernel's own structure
    _fields_ = (("pix", PixelFormat), ("raw", ctypes.c_uint8 * 200), ("aligned", ctypes.c_void_p))


class Format(ctypes.Structure):
    """struct v4l2_format."""

    _fields_ = (("type", ctypes.c_uint32), ("fmt", _AnyFormat))


def _request(direction: int, number: int, structure: type[ctypes.Structure]) -> int:
    return direction << 30 | ctypes.sizeof(structure) << 16 | ord("V") << 8 | number


QUERY_CAPABILITY = _request(2, 0, Capability)
"""VIDIOC_QUERYCAP."""
SET_FORMAT = _request(3, 5, Format)
"""VIDIOC_S_FMT."""


@dataclass(frozen=True, slots=True)
class Camera:
    """An open output device."""

    file: int
    """File descriptor."""
    path: str


def open_camera(device: str) -> Camera:
    """Open a v4l2loopback device, or the first there is for ``auto``. Raises ``HmcapError`` where there is none."""
    if sys.platform != "linux":
        raise HmcapError(
            "Expected Linux for --virtual-camera: elsewhere no program may add a camera without a driver of its own. "
            "In OBS Studio add the hmcap window as a source (Window Capture), then press Start Virtual Camera. Leave "
            "--virtual-camera out."
        )
    paths = sorted(map(str, Path("/dev").glob("video*")), key=lambda p: (len(p), p)) if device == "auto" else [device]
    reasons = []
    for path in paths:
        try:
            file = os.open(path, os.O_RDWR)
        except OSError as error:
            reasons.append(f"{path}: {error.strerror}")
            continue
        if _takes_pictures(file):
            return Camera(file, path)
        os.close(file)
        reasons.append(f"{path}: not a camera that can be written to")
    found = "; ".join(reasons) or "no /dev/video device at all"
    raise HmcapError(
        f"Expected a v4l2loopback device for --virtual-camera; found {found}. Install it and load it, then try again: "
        f"sudo apt install v4l2loopback-dkms; {_LOAD}"
    )


def _takes_pictures(file: int) -> bool:
    capability = Capability()
    try:
        _ioctl(file, QUERY_CAPABILITY, capability)
    except OSError:
        return False
    caps = capability.device_caps if capability.capabilities & _DEVICE_CAPS else capability.capabilities
    return bool(caps & _VIDEO_OUTPUT)


def picture_format(width_px: int, height_px: int) -> Format:
    """The request for frames of packed YUV 4:2:2, which every program reads. ``width_px`` is even."""
    request = Format(type=_VIDEO_OUTPUT)
    request.fmt.pix = PixelFormat(
        width=width_px, height=height_px, pixelformat=_YUYV, field=_FIELD_NONE, bytesperline=2 * width_px,
        sizeimage=2 * width_px * height_px, colorspace=_COLORSPACE_SRGB,
    )  # fmt: skip
    return request


def to_yuyv(image_rgb: np.ndarray, width_px: int, height_px: int) -> bytes:
    """A picture (H, W, 3) uint8 as (height, width) packed YUV 4:2:2; another size is scaled."""
    if image_rgb.shape[:2] != (height_px, width_px):
        image_rgb = cv2.resize(image_rgb, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(np.ascontiguousarray(image_rgb), cv2.COLOR_RGB2YUV_YUYV).tobytes()


class VirtualCamera:
    """Shows the newest frame with the captured skeleton on a virtual camera. A sink; draws on a thread of its own."""

    def __init__(self, device: str, body: BodyModel) -> None:
        self._camera = open_camera(device)
        self._figure = Figure(body)
        self._size_px = (0, 0)
        self._changed = threading.Condition()
        self._newest: tuple[Frame, Proxies, MotionFrame | None] | None = None
        self._ended = self._released = False
        self._thread: threading.Thread | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """See :class:`~hmcap.realtime.watching.LiveOutput`."""
        return (f"virtual camera: {self._camera.path}",)

    def open(self, header: TakeHeader) -> None:
        """Tell the device the size of the pictures and begin."""
        self._size_px = (header.width_px - header.width_px % 2, header.height_px)
        try:
            _ioctl(self._camera.file, SET_FORMAT, picture_format(*self._size_px))
        except OSError as error:
            raise self._problem(error) from error
        self._thread = threading.Thread(target=self._run, name="hmcap-camera", daemon=True)
        self._thread.start()

    def __call__(self, frame: Frame | None, proxies: Proxies | None, motion: MotionFrame | None) -> None:
        """Take the newest frame; a take that is played again has no pictures."""
        if frame is None or proxies is None or not frame.image_rgb.size:
            return
        with self._changed:
            self._newest = (frame, proxies, motion)
            self._changed.notify()

    def close(self) -> None:
        """Let go of the device."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(2.0)
        if not self._released:
            self._released = True
            os.close(self._camera.file)

    def release(self) -> None:
        """The same, also where nothing was shown."""
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._newest is not None)
                newest, self._newest = self._newest, None
                if self._ended or newest is None:
                    return
            frame, proxies, motion = newest
            image = live_picture(frame.image_rgb, proxies, motion, self._figure)
            picture = to_yuyv(image, *self._size_px)
            try:
                os.write(self._camera.file, picture)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    LOG.warning("Virtual camera: %s The capture goes on without it.", self._problem(error))
                    return

    def _problem(self, error: OSError) -> HmcapError:
        size = "x".join(map(str, self._size_px))
        return HmcapError(
            f"Expected {self._camera.path} to take {size} pictures; the system said: {error.strerror or error}. "
            f"Close the programs that use it, or load it anew: sudo modprobe -r v4l2loopback; {_LOAD}"
        )


def _ioctl(file: int, request: int, argument: ctypes.Structure) -> None:
    import fcntl  # Linux and macOS alone have it

    fcntl.ioctl(file, request, argument)
