"""Sources: stamps, rotation, odd formats, damaged files, and one clear paragraph for whatever is no video."""

import functools
import itertools
import struct
import threading
import time
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from bad_streams import transport_stream
from hmcap.models.errors import HmcapError, UsageError
from hmcap.realtime import sources_video, sources_webcam, video_decoder
from hmcap.realtime.exif import focal_35mm_mm
from hmcap.realtime.sources import open_source
from hmcap.realtime.sources_images import natural_key

NTSC = Fraction(30000, 1001)


def picture(width: int, height: int, shade: int = 0) -> np.ndarray:
    """Black with a red upper left quarter; blue in the rest says which frame it is."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = shade
    image[: height // 2, : width // 2] = (220, 20, 20)
    return image


def write_video(
    path, count=30, *, size=(64, 48), rate=NTSC, codec="libx264", pix_fmt="yuv420p", stamps_ms=None, degrees=None,
    options=None, tags=None,
):  # fmt: skip
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if stamps_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if degrees is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("PyAV before 17.1 reads such a file and cannot write one")
            stream.set_display_rotation(degrees)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(*size, shade=i * 7 % 256), format="rgb24")
            if stamps_ms is not None:
                frame.pts, frame.time_base = stamps_ms[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(spec, **options):
    with open_source(spec, **options) as source:
        return list(source), source


def red_corner(image: np.ndarray) -> str:
    h, w = image.shape[:2]
    quarters = {"upper left": (h // 4, w // 4), "upper right": (h // 4, 3 * w // 4), "lower left": (3 * h // 4, w // 4),
                "lower right": (3 * h // 4, 3 * w // 4)}  # fmt: skip
    return max(quarters, key=lambda name: int(image[quarters[name]][0]) - int(image[quarters[name]][1]))


def test_a_frame_rate_of_29_97_stays_exact(tmp_path):
    frames, source = read(write_video(tmp_path / "a.mp4"))
    assert source.fps == pytest.approx(30000 / 1001, abs=1e-12)
    assert [f.index for f in frames] == list(range(30))
    assert source.frame_count == 30
    assert [f.stamp_s for f in frames] == pytest.approx([i * 1001 / 30000 for i in range(30)], abs=1e-9)
    assert frames[0].image_rgb.shape == (48, 64, 3)
    assert frames[0].image_rgb.dtype == np.uint8
    assert source.warnings == []
    assert not source.live


# Counter-clockwise angle written to the container -> where the red corner of the decoded picture then belongs.
@pytest.mark.parametrize(
    ("degrees", "corner"), [(0, "upper left"), (-90, "upper right"), (90, "lower left"), (180, "lower right")]
)
def test_rotation_metadata_turns_the_picture_upright(tmp_path, degrees, corner):
    frames, source = read(write_video(tmp_path / "a.mp4", 3, degrees=degrees))
    size = (64, 48) if degrees in (0, 180) else (48, 64)
    assert (source.width_px, source.height_px) == size == frames[0].image_rgb.shape[1::-1]
    assert red_corner(frames[0].image_rgb) == corner
    assert frames[0].image_rgb.flags.c_contiguous


def test_a_frame_rate_of_240_stays_exact(tmp_path):
    frames, source = read(write_video(tmp_path / "a.mp4", 60, rate=240))
    assert source.fps == 240
    assert [f.stamp_s for f in frames] == pytest.approx([i / 240 for i in range(60)], abs=1e-9)


def test_hours_of_a_broken_index_do_not_reach_the_take(tmp_path):
    stamps = [40 * i + (5 * 3_600_000 if i >= 20 else 0) for i in range(40)]
    frames, source = read(write_video(tmp_path / "a.mkv", 40, rate=25, stamps_ms=stamps))
    assert np.diff([f.stamp_s for f in frames]) == pytest.approx([0.04] * 39, abs=2e-3)
    assert "leapt once, 18000 s of it ahead" in source.warnings[0]
    again, _ = read(tmp_path / "a.mkv", start_s=0.9)
    assert [f.stamp_s for f in again] == [f.stamp_s for f in frames if f.stamp_s >= 0.9]


def test_another_shape_in_the_middle_is_fitted_between_bars(tmp_path):
    path = tmp_path / "a.ts"
    path.write_bytes(transport_stream(20, shade=100) + transport_stream(20, size=(48, 64), start_s=1, shade=100))
    frames, source = read(path)
    assert {f.image_rgb.shape for f in frames} == {(48, 64, 3)}
    assert frames[-1].image_rgb[24, 32].min() > 90
    assert frames[-1].image_rgb[:, :10].max() < 10
    assert any("of them between black bars because they had another shape" in w for w in source.warnings)


def test_pictures_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 2)
    monkeypatch.setattr(video_decoder, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(HmcapError, match=r"at most .* million pixels.*found 64x48\. Scale the video down"):
        open_source(path)


@pytest.mark.parametrize("size", [(1, 1), (2, 2)])
def test_the_smallest_pictures_are_read(tmp_path, size):
    frames, _ = read(write_video(tmp_path / "a.mkv", 3, size=size, codec="ffv1", pix_fmt="bgra"))
    assert [f.image_rgb.shape for f in frames] == [(size[1], size[0], 3)] * 3


def test_variable_frame_rate_is_kept_by_stamp(tmp_path):
    stamps = [0, 33, 70, 200, 233, 400, 410, 420, 500, 900]
    frames, _ = read(write_video(tmp_path / "a.mkv", 10, stamps_ms=stamps))
    assert [f.stamp_s for f in frames] == pytest.approx(np.array(stamps) / 1000, abs=1.1e-3)


def test_a_clip_that_starts_late_starts_at_zero(tmp_path):
    stamps = [5000 + 40 * i for i in range(5)]
    frames, _ = read(write_video(tmp_path / "a.mkv", 5, stamps_ms=stamps))
    assert [f.stamp_s for f in frames] == pytest.approx([0.04 * i for i in range(5)], abs=1.1e-3)


def test_stamps_always_rise(tmp_path):
    # The encoder's clock of 1/30 s makes duplicates of stamps that lie closer than that.
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=30)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for i in range(4):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture(16, 16, i), format="rgb24")):
                packet.pts = packet.dts = [0, 33, 33, 66][i]
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)
    frames, source = read(path)
    stamps = [f.stamp_s for f in frames]
    assert len(stamps) == 4
    assert all(b > a for a, b in itertools.pairwise(stamps))
    assert len(source.warnings) == 1
    assert "1 frames" in source.warnings[0]


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [("libx264", "yuv420p10le", "mp4"), ("ffv1", "gray", "mkv"), ("ffv1", "yuva420p", "mkv"), ("ffv1", "bgra", "mkv"),
     ("libx264", "yuv444p", "mp4")],
)  # fmt: skip
def test_deep_grey_and_transparent_pictures_become_rgb(tmp_path, codec, pix_fmt, suffix):
    frames, _ = read(write_video(tmp_path / f"a.{suffix}", 3, codec=codec, pix_fmt=pix_fmt))
    assert frames[0].image_rgb.shape == (48, 64, 3)
    assert frames[0].image_rgb.dtype == np.uint8
    r, g, b = map(int, frames[0].image_rgb[10, 10])
    assert (r > 180 and g < 60 and b < 60) if pix_fmt != "gray" else (r == g == b and 40 < r < 110)


def test_odd_sizes_are_kept(tmp_path):
    frames, source = read(write_video(tmp_path / "a.mkv", 3, size=(63, 47), codec="ffv1", pix_fmt="yuv444p"))
    assert (source.width_px, source.height_px) == (63, 47)
    assert frames[0].image_rgb.shape == (47, 63, 3)


def test_tall_pixels_are_made_square(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 40, 60, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(40, 60), format="rgb24")))
        container.mux(stream.encode(None))
    frames, source = read(path)
    assert (source.width_px, source.height_px) == (60, 60)
    assert frames[0].image_rgb.shape == (60, 60, 3)


@pytest.mark.parametrize("keep", [0.97, 0.6])
def test_a_cut_file_ends_with_a_warning_that_counts(tmp_path, keep):
    whole = write_video(tmp_path / "whole.mp4", 200, size=(160, 120), options={"movflags": "faststart"}).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: int(len(whole) * keep)])
    frames, source = read(path)
    assert 50 < len(frames) < 200
    assert len(source.warnings) == 1
    assert f"{len(frames)} of 200 frames" in source.warnings[0]


def test_noise_in_the_middle_does_not_end_the_clip_with_an_exception(tmp_path):
    data = bytearray(write_video(tmp_path / "a.mp4", 120, size=(160, 120)).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 800] = np.random.default_rng(0).integers(0, 256, 800, dtype=np.uint8).tobytes()
    path = tmp_path / "noise.mp4"
    path.write_bytes(data)
    frames, _ = read(path)
    assert len(frames) > 60


def test_the_window_chooses_a_part(tmp_path):
    path = write_video(tmp_path / "a.mp4", 50, rate=Fraction(25))
    frames, source = read(path, start_s=0.4, end_s=1.2)
    assert [f.index for f in frames] == list(range(10, 30))
    assert source.expected_frames == 20
    assert frames[0].stamp_s == pytest.approx(0.4)
    frames, source = read(path, start_s=1.0, max_frames=3)
    assert [f.index for f in frames] == [25, 26, 27]
    assert source.expected_frames == 3
    assert read(path, start_s=99)[0] == []


def test_tags_that_are_no_utf_8_do_not_hide_the_footage(tmp_path):
    path = write_video(tmp_path / "a.mkv", 3, tags={"title": "XXXXYYYY"})
    whole = path.read_bytes()
    assert whole.count(b"XXXXYYYY") == 1
    path.write_bytes(whole.replace(b"XXXXYYYY", b"XX\xff\xfe\xe9YYY"))
    frames, _ = read(str(path))
    assert len(frames) == 3


def test_the_focal_length_of_a_phone_is_found(tmp_path):
    key = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
    path = write_video(tmp_path / "a.mov", 3, tags={key: "26"}, options={"movflags": "use_metadata_tags"})
    with open_source(path) as source:
        assert source.metadata.focal_35mm_mm == 26
        assert key in source.metadata.origin


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(HmcapError, match="holds only: audio"):
        open_source(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        ("Hier steht nur Text.\nÜ\n".encode() * 20, "holds text"),
        (bytes(range(256)) * 40, "no known video format"),
    ],
)
def test_what_is_no_video_says_so(tmp_path, content, message):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(HmcapError, match=message) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 1


def test_an_mp4_without_its_index_says_so(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", 60).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HmcapError, match="index cannot be read"):
        open_source(path)


def test_a_playlist_cannot_reach_out(tmp_path):
    path = tmp_path / "clip.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(HmcapError):
        read(path)


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path):
    write_video(tmp_path / "dance.mkv", 2)
    with pytest.raises(HmcapError, match=r"Did you mean dance\.mkv\?"):
        open_source(tmp_path / "dance.mp4")
    with pytest.raises(HmcapError, match="does not exist"):
        open_source(tmp_path / "no" / "such" / "clip.mp4")


@pytest.mark.parametrize("spec", ["foo://x/y", "", "pipe://0"])
def test_addresses_of_other_kinds_are_refused(spec):
    with pytest.raises(UsageError):
        open_source(spec)


def test_an_unreachable_address_keeps_the_password_out_of_the_message():
    with pytest.raises(HmcapError, match=r"me:\*\*\*@127") as caught:
        open_source("http://me:secret@127.0.0.1:9/clip.mp4")
    assert "secret" not in str(caught.value)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_file_behind_an_address_is_read_like_a_file(tmp_path):
    write_video(tmp_path / "a.mp4", 30, options={"movflags": "faststart"})
    write_video(tmp_path / "index_at_the_end.mp4", 900, size=(320, 240))
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        frames, source = read(f"http://127.0.0.1:{server.server_address[1]}/a.mp4")
        # This server cannot jump back from the index to the pictures.
        with pytest.raises(HmcapError, match="download it"):
            read(f"http://127.0.0.1:{server.server_address[1]}/index_at_the_end.mp4")
        server.shutdown()
        thread.join()
    assert len(frames) == 30
    assert source.name == "a"
    assert not source.live


def test_a_rate_for_a_file_that_has_its_own_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--fps"):
        open_source(write_video(tmp_path / "a.mp4", 2), fps=25)


def write_images(folder: Path, names, size=(32, 24)) -> Path:
    folder.mkdir(exist_ok=True)
    for k, name in enumerate(names):
        ok, data = cv2.imencode(Path(name).suffix, np.full((size[1], size[0], 3), 10 * k, np.uint8))
        assert ok
        (folder / name).write_bytes(data.tobytes())
    return folder


def test_images_come_in_natural_order_at_the_stated_rate(tmp_path):
    folder = write_images(tmp_path / "bilder ü", ["f1.png", "f2.png", "f10.png", "F11.PNG"])
    (folder / "notes.txt").write_text("no image")
    frames, source = read(folder, fps=24)
    assert [int(f.image_rgb[0, 0, 0]) for f in frames] == [0, 10, 20, 30]
    assert [f.stamp_s for f in frames] == pytest.approx([i / 24 for i in range(4)])
    assert source.fps == 24
    assert source.frame_count == 4
    assert source.name == "bilder ü"
    assert read(folder)[1].fps == 30


def test_natural_key_orders_numbers_by_value():
    names = ["a10b", "a9b2", "a9b10", "b1", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "a9b2", "a9b10", "a10b", "b1"]


def test_a_video_that_may_not_be_read_is_explained(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 2)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sources_video.av, "open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(HmcapError, match="permission denied"):
        open_source(path)


def test_unreadable_and_odd_images_are_left_out_and_counted(tmp_path):
    folder = write_images(tmp_path / "f", ["1.png", "2.png", "3.png", "4.png"])
    (folder / "2.png").write_bytes(b"nothing")
    write_images(folder, ["3.png"], size=(10, 10))
    frames, source = read(folder)
    assert [f.index for f in frames] == [0, 3]
    assert len(source.warnings) == 2
    assert "2.png" in source.warnings[0]
    assert "3.png" in source.warnings[1]


def test_a_folder_without_images_says_so(tmp_path):
    with pytest.raises(HmcapError, match="found none"):
        open_source(tmp_path)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(HmcapError, match="none of its 1 files"):
        open_source(tmp_path)


def exif_block(order: str, entries: list[tuple[int, int, int, int]], offset_of_exif: int = 26) -> bytes:
    """A TIFF block whose first directory points to an EXIF directory with these entries."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    root = struct.pack(order + "HHHII", 1, 0x8769, 4, 1, offset_of_exif) + struct.pack(order + "I", 0)
    body = struct.pack(order + "H", len(entries))
    for tag, kind, number, value in entries:
        packed = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        body += struct.pack(order + "HHI", tag, kind, number) + packed
    return mark + struct.pack(order + "I", 8) + root + body


def jpeg_with_exif(path: Path, tiff: bytes) -> Path:
    data = cv2.imencode(".jpg", np.zeros((8, 12, 3), np.uint8))[1].tobytes()
    segment = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_states_the_focal_length(tmp_path, order):
    path = jpeg_with_exif(tmp_path / "1.jpg", exif_block(order, [(0x9000, 4, 1, 0), (0xA405, 3, 1, 28)]))
    assert focal_35mm_mm(path) == 28
    with open_source(tmp_path) as source:
        assert source.metadata.focal_35mm_mm == 28
        assert "1.jpg" in source.metadata.origin


@pytest.mark.parametrize(
    "tiff",
    [b"", b"II*\0", exif_block("<", [(0xA405, 3, 1, 0)]), exif_block("<", [(0xA405, 3, 1, 28)], 4_000_000_000),
     exif_block("<", [(0xA405, 3, 9, 28)]), exif_block("<", [(0xA405, 3, 1, 28)])[:-6]],
)  # fmt: skip
def test_damaged_exif_is_no_focal_length(tmp_path, tiff):
    assert focal_35mm_mm(jpeg_with_exif(tmp_path / "1.jpg", tiff)) is None


class FakeCamera:
    """Stands in for cv2.VideoCapture; camera 2 gives pictures."""

    def __init__(self, index):
        self.index, self.released = index, False

    def isOpened(self):
        return self.index == 2

    def set(self, *_):
        return True

    def get(self, _):
        return 0.0

    def read(self):
        time.sleep(0.002)
        return True, np.full((24, 32, 3), (1, 2, 3), np.uint8)

    def release(self):
        self.released = True


def test_a_webcam_is_stamped_by_the_clock_and_turned_to_rgb(monkeypatch):
    monkeypatch.setattr(sources_webcam.cv2, "VideoCapture", FakeCamera)
    frames, source = read(2, max_frames=8)
    assert source.live
    assert source.spec == "webcam:2"
    assert source.fps == 30
    assert source.frame_count is None
    assert len(frames) == 8
    assert frames[0].index == frames[0].stamp_s == 0
    assert frames[0].image_rgb[0, 0].tolist() == [3, 2, 1]
    assert source.warnings == []
    assert all(b.stamp_s > a.stamp_s and b.index > a.index for a, b in itertools.pairwise(frames))


def test_camera_99_lists_those_that_work(monkeypatch):
    monkeypatch.setattr(sources_webcam.cv2, "VideoCapture", FakeCamera)
    monkeypatch.setattr(sources_webcam, "_candidates", lambda: range(4))
    with pytest.raises(HmcapError, match=r"index 99; it does not open.*work here: 2\. Try --webcam 2\."):
        open_source(99)


def test_camera_99_is_quiet_about_it(capfd):
    with pytest.raises(HmcapError, match="index 99"):
        open_source(99)
    assert capfd.readouterr().err == ""
