"""The virtual camera: the kernel's structures, the pictures, and what is said where there is none."""

import ctypes
import sys

import numpy as np
import pytest
from hmcap.models.body import load_body
from hmcap.models.errors import HmcapError
from hmcap.models.proxies import Proxies
from hmcap.realtime.frames import Frame
from hmcap.realtime.live_outputs import open_live_outputs
from hmcap.realtime.options import CaptureOptions
from hmcap.realtime.streams import virtual_camera
from hmcap.realtime.streams.virtual_camera import QUERY_CAPABILITY, SET_FORMAT, Format, picture_format, to_yuyv
from test_streams import HEADER, make_frame


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="numbers of 64-bit systems")
def test_requests_are_those_of_the_kernels_header():
    """Numbers that a C program prints with <linux/videodev2.h>."""
    assert (QUERY_CAPABILITY, SET_FORMAT) == (0x80685600, 0xC0D05605)
    assert (ctypes.sizeof(Format), Format.fmt.offset) == (208, 8)
    words = np.frombuffer(bytes(picture_format(640, 480)), np.uint32)
    assert words[[0, 2, 3, 4, 5, 6, 7, 8]].tolist() == [2, 640, 480, 0x56595559, 1, 1280, 614400, 8]


def test_pictures_are_packed_and_scaled():
    grey = np.full((6, 8, 3), 128, np.uint8)
    data = np.frombuffer(to_yuyv(grey, 8, 6), np.uint8).reshape(6, 8, 2)
    assert np.abs(data[..., 0].astype(int) - 126).max() <= 2
    assert np.abs(data[..., 1].astype(int) - 128).max() <= 1
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    u, v = np.frombuffer(to_yuyv(red, 4, 4), np.uint8).reshape(4, 2, 4)[0, 0, [1, 3]]
    assert u < 128 < v
    assert len(to_yuyv(grey, 4, 2)) == 16


@pytest.fixture
def device(tmp_path, monkeypatch):
    """A file that stands for the device, and what it was asked."""
    if sys.platform == "win32":
        pytest.skip("os.open changes line ends there")
    asked = []

    def ioctl(file, request, argument):
        asked.append((request, bytes(argument)))
        if request == QUERY_CAPABILITY:
            argument.capabilities, argument.device_caps = 0x80000000, 0x2

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(virtual_camera, "_ioctl", ioctl)
    path = tmp_path / "video9"
    path.write_bytes(b"")
    return path, asked


def test_the_overlay_is_written_to_the_device(device):
    path, asked = device
    (sink,) = open_live_outputs(CaptureOptions(virtual_camera=str(path)), load_body())
    sink.open(HEADER)
    image = np.full((480, 640, 3), 90, np.uint8)
    sink(Frame(0, 0.0, image), Proxies.absent(0, 0.0, (640, 480)), make_frame(present=False))
    thread = sink._thread
    while not path.stat().st_size and thread.is_alive():
        pass
    sink.close()
    assert path.stat().st_size == 2 * 640 * 480
    assert asked[-1] == (SET_FORMAT, bytes(picture_format(640, 480)))


def test_a_device_that_is_no_camera_to_write_to_is_refused(device, monkeypatch):
    path, _ = device
    monkeypatch.setattr(virtual_camera, "_ioctl", lambda *_: None)
    with pytest.raises(HmcapError, match="v4l2loopback"):
        open_live_outputs(CaptureOptions(virtual_camera=str(path)), load_body())
    with pytest.raises(HmcapError, match="No such file"):
        open_live_outputs(CaptureOptions(virtual_camera=str(path) + "x"), load_body())


def test_a_device_that_takes_no_such_pictures_is_an_error_before_the_capture(device, monkeypatch):
    path, _ = device
    (sink,) = open_live_outputs(CaptureOptions(virtual_camera=str(path)), load_body())

    def refuse(*_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(virtual_camera, "_ioctl", refuse)
    with pytest.raises(HmcapError, match=r"640x480.*Invalid argument"):
        sink.open(HEADER)
    sink.close()


def test_other_systems_are_told_of_obs(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(HmcapError, match="OBS"):
        open_live_outputs(CaptureOptions(virtual_camera="auto"), load_body())
