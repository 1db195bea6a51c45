"""From linear light to a picture, as a camera would: shutter, lens, exposure, sensor, colour, sharpening.

The scene is drawn by a pin-hole camera a little wider than the wanted one (:func:`pinhole_of`); the film bends that
drawing by the OpenCV distortion model of the wanted camera, so that ``cv2.projectPoints`` says where things are.
Pixel centres lie at half pixels of the continuous coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ...models.camera import Camera
from .light import temperature_rgb

_MIDDLE = 0.20
_GREY = np.array([[0.3, 0.59, 0.11]], np.float32)


@dataclass(frozen=True, slots=True)
class Film:
    """How a camera records light."""

    exposure_ev: float = 0.0
    """Stops over (or under) what the automatic exposure takes for right."""
    white_kelvin: float = 6500.0
    """Colour temperature that the camera takes for white."""
    contrast: float = 0.5
    """Strength of the tone curve, 0..1."""
    saturation: float = 1.0
    vignette: float = 0.0
    """Loss of light in the far corner, 0..1."""
    blur_px: float = 0.0
    """Deviation of the lens blur, pixels of a 1000 pixels wide picture."""
    shot: float = 0.0
    """Deviation of photon noise at white, share of white."""
    read: float = 0.0
    """Deviation of read noise, share of white."""
    chroma_px: float = 0.0
    """Blur of the colour channels, as subsampling and denoising leave it."""
    sharpening: float = 0.0
    """Strength of the camera's own sharpening."""
    jpeg: int = 0
    """Quality of a JPEG pass, 0 for none."""


def sample_film(rng: np.random.Generator) -> Film:
    """A camera at random, from a good still camera to a cheap webcam in the dark."""
    grain = float(10 ** rng.uniform(-2.7, -1.35))
    return Film(
        exposure_ev=float(rng.normal(0, 0.4)),
        white_kelvin=float(6500 * np.exp(rng.normal(0, 0.1))),
        contrast=float(rng.uniform(0.2, 0.9)),
        saturation=float(rng.uniform(0.75, 1.2)),
        vignette=float(rng.uniform(0, 0.45) ** 1.5),
        blur_px=float(rng.uniform(0.2, 0.9) if rng.uniform() < 0.85 else rng.uniform(0.9, 2.0)),
        shot=grain,
        read=grain * float(rng.uniform(0.1, 0.5)),
        chroma_px=float(rng.uniform(0.5, 2.0)),
        sharpening=float(rng.uniform(0, 0.8)),
        jpeg=int(rng.integers(55, 96)) if rng.uniform() < 0.6 else 0,
    )


def pinhole_of(camera: Camera) -> Camera:
    """The pin-hole camera to draw with, so that :func:`bend` can make the picture of ``camera``: the same focal length
    and a frame that holds every pixel that the lens bends in. Without distortion it is the camera itself."""
    if not any(camera.dist):
        return Camera(
            camera.width_px, camera.height_px, camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, (), camera.source
        )
    w, h = camera.width_px, camera.height_px
    x, y = np.linspace(0, w, 33), np.linspace(0, h, 33)
    border = np.concatenate(
        [np.stack((x, 0 * x), 1), np.stack((x, 0 * x + h), 1), np.stack((0 * y, y), 1), np.stack((0 * y + w, y), 1)]
    )
    straight = _straighten(border, camera)
    left, top = np.floor(np.minimum(straight.min(axis=0), 0)).astype(int) - 2
    right, bottom = np.ceil(np.maximum(straight.max(axis=0), (w, h))).astype(int) + 2
    return Camera(
        int(right - left), int(bottom - top), camera.fx_px, camera.fy_px,
        camera.cx_px - float(left), camera.cy_px - float(top), (), camera.source,
    )  # fmt: skip


def _straighten(px: np.ndarray, camera: Camera) -> np.ndarray:
    """(N, 2) where a pin-hole camera of the same K sees what ``camera`` sees at (N, 2) continuous pixels."""
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
    points = px.reshape(-1, 1, 2).astype(np.float64)
    rays = cv2.undistortPoints(points, camera.K, np.array(camera.dist), criteria=stop)[:, 0]
    return rays * [camera.fx_px, camera.fy_px] + [camera.cx_px, camera.cy_px]


@lru_cache(maxsize=8)
def _maps(camera: Camera, pinhole: Camera) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.arange(camera.width_px) + 0.5, np.arange(camera.height_px) + 0.5)
    straight = _straighten(np.stack((x.ravel(), y.ravel()), axis=1), camera)
    straight += [pinhole.cx_px - camera.cx_px, pinhole.cy_px - camera.cy_px]
    maps = (straight - 0.5).astype(np.float32).reshape(camera.height_px, camera.width_px, 2)
    return np.ascontiguousarray(maps[..., 0]), np.ascontiguousarray(maps[..., 1])


def bend(linear: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W, ...) picture of ``camera`` from one drawn by ``pinhole_of(camera)``."""
    if not any(camera.dist):
        return linear
    x, y = _maps(camera, pinhole_of(camera))
    return cv2.remap(linear, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def auto_exposure(linear: np.ndarray) -> float:
    """Factor that a camera's automatic would put on this light (centre-weighted; bright parts count less)."""
    h, w = linear.shape[:2]
    y, x = np.mgrid[:h, :w]
    weight = np.exp(-2 * (((x + 0.5) / w - 0.5) ** 2 + ((y + 0.5) / h - 0.5) ** 2))
    light = linear @ np.array([0.21, 0.72, 0.07], np.float32)
    return float(_MIDDLE / np.exp(np.average(np.log(np.clip(light, 0.004, 4)), weights=weight)))


def develop(
    exposures: Sequence[np.ndarray], camera: Camera, film: Film, rng: np.random.Generator,
    exposure: float | None = None,
) -> np.ndarray:  # fmt: skip
    """A picture.

    Args:
        exposures: n linear drawings (h, w, 3) by ``pinhole_of(camera)``, taken while the shutter was open; their mean
            is the light that falls on the sensor, so n drawings of a moving scene are motion blur.
        camera: size and distortion of the picture.
        film: how it is recorded.
        rng: of the sensor's noise.
        exposure: factor on the light; None measures this picture. Measure once (:func:`auto_exposure`) for a clip that
            shall not flicker.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    light = exposures[0] if len(exposures) == 1 else np.mean(np.stack(exposures), axis=0, dtype=np.float32)
    light = bend(np.asarray(light, np.float32), camera)
    h, w = light.shape[:2]
    scale = max(h, w) / 1000
    if film.blur_px * scale > 0.15:
        light = cv2.GaussianBlur(light, (0, 0), film.blur_px * scale)
    factor = (auto_exposure(light) if exposure is None else exposure) * 2.0**film.exposure_ev
    gain = np.array([factor, factor, factor]) / temperature_rgb(film.white_kelvin)
    light = light * gain.astype(np.float32)
    if film.vignette > 0:
        light = light * _vignette(w, h, film.vignette)
    if film.shot > 0 or film.read > 0:
        deviation = np.sqrt(film.shot**2 * np.maximum(light, 0) + film.read**2)
        light = light + deviation * rng.standard_normal(light.shape, dtype=np.float32)
    picture = _tone(light, film.contrast)
    if film.saturation != 1:
        grey = cv2.merge([cv2.transform(picture, _GREY)] * 3)
        picture = cv2.addWeighted(picture, film.saturation, grey, 1 - film.saturation, 0)
    if film.chroma_px > 0:
        grey = cv2.merge([cv2.transform(picture, _GREY)] * 3)
        picture = cv2.GaussianBlur(picture - grey, (0, 0), film.chroma_px * scale + 0.3) + grey
    if film.sharpening > 0:
        smooth = cv2.GaussianBlur(picture, (0, 0), 1.0 * scale + 0.3)
        picture = cv2.addWeighted(picture, 1 + film.sharpening, smooth, -film.sharpening, 0)
    out = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    if film.jpeg:
        _, packed = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, film.jpeg])
        back = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        assert back is not None
        out = cv2.cvtColor(back, cv2.COLOR_BGR2RGB)
    return out


@lru_cache(maxsize=4)
def _vignette(width: int, height: int, strength: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    r2 = ((x - width / 2) ** 2 + (y - height / 2) ** 2) / (width**2 + height**2) * 4
    return (1 - strength * r2)[..., None].astype(np.float32)


_STEPS = 4096
_BRIGHTEST = 4.0
"""Light beyond this is white whatever the curve."""


def _tone(light: np.ndarray, contrast: float) -> np.ndarray:
    """sRGB in 0..1: a shoulder that keeps highlights, then the sRGB curve with an S about middle grey."""
    # A table over the root of the light: steps finer than an 8-bit picture shows.
    index = cv2.sqrt(np.clip(light, 0, _BRIGHTEST, dtype=np.float32)) * ((_STEPS - 1) / _BRIGHTEST**0.5) + 0.5
    return _curve(contrast)[index.astype(np.int16)]


@lru_cache(maxsize=8)
def _curve(contrast: float) -> np.ndarray:
    light = np.linspace(0, _BRIGHTEST**0.5, _STEPS) ** 2
    rolled = np.where(light > 0.6, 0.6 + 0.4 * np.tanh((light - 0.6) / 0.55), light)
    srgb = np.where(rolled <= 0.0031308, 12.92 * rolled, 1.055 * np.maximum(rolled, 1e-6) ** (1 / 2.4) - 0.055)
    curved = srgb * srgb * (3 - 2 * srgb)
    return (srgb + 0.45 * contrast * (curved - srgb)).astype(np.float32)
