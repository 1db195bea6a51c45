"""Takes, clips and sounds made for the tests of the videos, and what reads the videos back."""

import av
import numpy as np
from hmcap.models.body import load_body
from hmcap.models.camera import Camera
from hmcap.models.motion import MotionFrame
from hmcap.models.proxies import Proxies
from hmcap.realtime.overlay import video
from hmcap.realtime.take import Take, TakeHeader

OFF_CENTRE = Camera(640, 360, 500.0, 520.0, 350.0, 150.0)


def mask_of(renderer, vertices, faces, T, camera) -> np.ndarray:
    """Pixels that the mesh covers by at least one half: what is left of white there, less what was drawn on black."""
    black, white = (np.full((camera.height_px, camera.width_px, 3), v, np.uint8) for v in (0, 255))
    left = [renderer.render(image, vertices, faces, T, camera, opacity=1.0).astype(int) for image in (white, black)]
    return (left[0] - left[1]).max(axis=-1) < 128


def read_back(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(stream)]
        duration = float(stream.duration * stream.time_base)
        return stream.average_rate, np.array([s for s, _ in frames]), [i for _, i in frames], duration


def make_sound(path, codec: str, seconds: float = 2.0) -> None:
    with av.open(str(path), "w") as out:
        pictures, sound = out.add_stream("mpeg4", rate=10), out.add_stream(codec, rate=44100)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for k in range(int(seconds * 10)):
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
            wave = np.sin(np.arange(4410) * 0.06 + k).astype(np.float32)
            planar = codec == "aac"
            samples = (wave if planar else (wave * 30000).astype(np.int16))[None]
            chunk = av.AudioFrame.from_ndarray(samples, format="fltp" if planar else "s16", layout="mono")
            chunk.sample_rate, chunk.pts = 44100, k * 4410
            out.mux(sound.encode(chunk))
        for stream in (pictures, sound):
            out.mux(stream.encode(None))


def audio_span(path) -> tuple[float, float] | None:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        stamps = [float(f.pts * f.time_base) for f in container.decode(audio=0)]
        return stamps[0], stamps[-1]


def make_motion(count: int, fps: float, camera: Camera, absent=()) -> list[MotionFrame]:
    """A person with raised arms, bent knees and curled fingers who turns on the spot, 3.5 m before a level camera."""
    poses = np.zeros((55, 3))
    poses[16], poses[17], poses[4], poses[1] = (0, 0, 0.8), (0, 0.4, -0.3), (0.9, 0, 0), (-0.7, 0, 0.1)
    poses[25:55, 2] = 0.3
    T = np.diag([1.0, -1, -1, 1])
    T[:3, 3] = (0, 1.0, 3.5)
    sole = -float(load_body().v_template[:, 1].min())
    frames = []
    for k in range(count):
        turned = poses.copy()
        turned[0] = (0, 0.15 * k, 0)
        contact = np.array([0.9, 0.9, 0.1, 0.1]) if k % 2 else np.array([0.1, 0.1, 0.9, 0.9])
        measured = np.ones(8, bool)
        measured[6] = k % 3 > 0
        frames.append(
            MotionFrame(k, k / fps, k not in absent, np.zeros(10), turned, np.array([0, sole, 0]), T, camera, contact,
                        np.ones(8), measured, 1.2)
        )  # fmt: skip
    return frames


def make_take(spec: str, width: int, height: int, count: int, fps: float, absent=()) -> Take:
    camera = Camera.from_fov(width, height, 60)
    header = TakeHeader(spec, "clip", fps, width, height, camera)
    motion = make_motion(count, fps, camera, absent)
    proxies = [Proxies.absent(m.index, m.stamp_s, (width, height)) for m in motion]
    return Take(header, tuple(proxies), tuple(motion))


def make_clip(path, width: int, height: int, count: int, fps: float) -> None:
    with video.VideoWriter(path, width, height, fps) as writer:
        for k in range(count):
            writer.write(np.full((height, width, 3), 40, np.uint8), k / fps)
