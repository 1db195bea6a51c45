"""Pictures of materials made by numpy: noise, wood, tiles, bricks, grass, carpet, posters, skies. All uint8 sRGB."""

import cv2
import numpy as np


def noise(rng: np.random.Generator, size: int, slope: float = 1.5, stretch: tuple[float, float] = (1, 1)) -> np.ndarray:
    """(size, size) tileable noise of mean 0 and deviation 1; the amplitude falls as frequency ** -slope. ``stretch``
    draws it out along y and x."""
    fy = np.fft.fftfreq(size)[:, None] * size * stretch[0]
    fx = np.fft.rfftfreq(size)[None, :] * size * stretch[1]
    f = np.hypot(fy, fx)
    amplitude = np.where(f > 0, np.maximum(f, 1e-9) ** -slope, 0)
    phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
    out = np.fft.irfft2(amplitude * np.exp(1j * phase), s=(size, size))
    return (out - out.mean()) / out.std()


def _finish(rgb: np.ndarray) -> np.ndarray:
    return np.clip(np.round(rgb * 255), 0, 255).astype(np.uint8)


def plaster(rng: np.random.Generator, rgb: np.ndarray, size: int = 256) -> np.ndarray:
    """A painted wall."""
    value = 1 + 0.014 * noise(rng, size, 1.4) + 0.012 * noise(rng, size, 0.3)
    return _finish(value[..., None] * rgb)


def wood(rng: np.random.Generator, rgb: np.ndarray, size: int = 512, planks: int = 6) -> np.ndarray:
    """Planks along x."""
    grain = noise(rng, size, 1.0, (1.0, 14.0))
    rows = np.arange(size) * planks // size
    tone = rng.normal(1, 0.1, planks)[rows][:, None] * (1 + 0.09 * np.roll(grain, 7, 1))
    for k in range(planks):
        own = rows == k
        tone[own] = np.roll(tone[own], rng.integers(size), axis=1)
        tone[own, rng.integers(size)] *= 0.5
    gap = (np.arange(size) * planks % size) < planks * 2
    tone[gap] *= 0.55
    return _finish(tone[..., None] * rgb * np.array([1, 0.99, 0.97]))


def tiles(rng: np.random.Generator, rgb: np.ndarray, joint: np.ndarray, size: int = 512, count: int = 4) -> np.ndarray:
    """Square tiles with joints; every other one darker when drawn so."""
    cell = size // count
    k = np.arange(size) // cell
    tone = rng.normal(1, 0.04, (count, count))
    if rng.uniform() < 0.35:
        tone *= np.where((np.add.outer(np.arange(count), np.arange(count)) % 2) == 0, 1.0, rng.uniform(0.35, 0.9))
    out = (tone[k][:, k] * (1 + 0.05 * noise(rng, size, 1.3)))[..., None] * rgb
    edge = (np.arange(size) % cell) < max(2, cell // 40)
    out[edge] = joint
    out[:, edge] = joint
    return _finish(out)


def bricks(rng: np.random.Generator, rgb: np.ndarray, size: int = 512, rows: int = 10) -> np.ndarray:
    """Bricks in mortar, every other row shifted."""
    y, x = np.mgrid[:size, :size] * rows / size
    row = np.floor(y).astype(int)
    u = x / 2.5 + 0.5 * (row % 2)
    tone = rng.normal(1, 0.13, (rows, 8))[row % rows, np.floor(u).astype(int) % 4]
    out = (tone * (1 + 0.1 * noise(rng, size, 0.7)))[..., None] * rgb
    mortar = ((y % 1) < 0.1) | ((u % 1) < 0.05)
    out[mortar] = np.array([0.66, 0.64, 0.6]) * (1 + 0.06 * noise(rng, size, 0.5)[mortar])[:, None]
    return _finish(out)


def carpet(rng: np.random.Generator, rgb: np.ndarray, size: int = 256) -> np.ndarray:
    """Short pile; also asphalt and concrete, with a grey colour."""
    value = 1 + 0.13 * noise(rng, size, 0.1) + 0.04 * noise(rng, size, 1.4)
    return _finish(value[..., None] * rgb)


def grass(rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """A lawn."""
    blades = noise(rng, size, 0.35, (0.6, 1.4))
    patches = noise(rng, size, 1.8)
    value = 1 + 0.28 * blades + 0.1 * patches
    rgb = np.array([0.33, 0.42, 0.18]) * rng.uniform(0.8, 1.15) + 0.03 * patches[..., None] * np.array([1.2, 0.4, 0.1])
    return _finish(value[..., None] * rgb)


def hue(rng: np.random.Generator, strength: float, value: float) -> np.ndarray:
    """(3,) sRGB colour in 0..1 of any hue."""
    wave = 0.5 + 0.5 * np.cos(rng.uniform(0, 2 * np.pi) - np.array([0, 2.094, 4.189]))
    return np.clip(value * (1 - strength + strength * wave), 0, 1)


def poster(rng: np.random.Generator, height: int = 256, width: int = 192) -> np.ndarray:
    """Shapes, a noise picture and text-like marks."""
    ground = hue(rng, rng.uniform(0, 0.8), rng.uniform(0.15, 1.0))
    out = np.broadcast_to(_finish(ground), (height, width, 3)).copy()
    if rng.uniform() < 0.5:
        picture = np.stack([noise(rng, 256, 1.8) for _ in range(3)], axis=-1)
        picture = 0.5 + 0.2 * (picture @ rng.normal(0, 0.7, (3, 3)))
        h, w = int(height * rng.uniform(0.4, 0.8)), int(width * 0.84)
        top, left = int(height * 0.06), int(width * 0.08)
        out[top : top + h, left : left + w] = _finish(cv2.resize(picture, (w, h)))
    for _ in range(rng.integers(1, 7)):
        colour = [int(c) for c in _finish(hue(rng, rng.uniform(0, 0.9), rng.uniform(0.1, 1)))]
        x, y = int(rng.integers(width)), int(rng.integers(height))
        if rng.uniform() < 0.5:
            cv2.circle(out, (x, y), int(rng.integers(5, width // 3)), colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(out, (x, y), (x + int(rng.integers(5, 90)), y + int(rng.integers(5, 60))), colour, -1)
    for _ in range(rng.integers(1, 5)):
        text = print_letters(rng, int(rng.integers(3, 10)))
        colour = [int(c) for c in _finish(hue(rng, 0.3, rng.choice((0.05, 0.95))))]
        place = (int(rng.integers(width // 3)), int(rng.integers(20, height)))
        cv2.putText(out, text, place, cv2.FONT_HERSHEY_DUPLEX, rng.uniform(0.4, 1.6), colour, 2, cv2.LINE_AA)
    return out


def print_letters(rng: np.random.Generator, count: int) -> str:
    """Random characters without vowels, so that they spell no word, rude or otherwise."""
    letters = "BDHLMNPRTVXZ23456789"
    return "".join(letters[i] for i in rng.integers(len(letters), size=count))


def books(rng: np.random.Generator, height: int = 256, width: int = 256, rows: int = 4) -> np.ndarray:
    """A shelf of book backs and things."""
    out = np.full((height, width, 3), int(rng.integers(20, 200)), np.uint8)
    step = height // rows
    for r in range(rows):
        x = 3
        while x < width - 6:
            w, h = int(rng.integers(5, 16)), int(step * rng.uniform(0.45, 0.9))
            colour = _finish(hue(rng, rng.uniform(0, 0.8), rng.uniform(0.1, 0.95)))
            if rng.uniform() < 0.85:
                out[(r + 1) * step - h : (r + 1) * step - 4, x : x + w] = colour
            x += w + 1
    return out


def foliage(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """Leaves of a bush or a tree crown."""
    value = 0.55 + 0.3 * noise(rng, size, 0.8) + 0.15 * noise(rng, size, 0.2)
    return _finish(np.clip(value, 0.08, 1.4)[..., None] * np.array([0.28, 0.4, 0.15]) * rng.uniform(0.7, 1.2))


def facade(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """A house wall with windows."""
    out = plaster(rng, hue(rng, rng.uniform(0, 0.25), rng.uniform(0.3, 0.85)), size)
    across, up = int(rng.integers(3, 7)), int(rng.integers(3, 7))
    for i in range(across):
        for j in range(up):
            x, y = int((i + 0.25) * size / across), int((j + 0.25) * size / up)
            w, h = int(0.5 * size / across), int(0.55 * size / up)
            out[y : y + h, x : x + w] = _finish(np.array([0.25, 0.3, 0.36]) * rng.uniform(0.3, 2.2))
            out[y : y + h, x + w // 2] = 220
    return out


def sky(rng: np.random.Generator, height: int = 256, width: int = 1024) -> np.ndarray:
    """Sky above, haze at and below the horizon; wraps around."""
    up = np.linspace(1, -1, height)[:, None]
    blue = np.array([0.36, 0.55, 0.85]) if rng.uniform() < 0.65 else np.full(3, rng.uniform(0.7, 0.9))
    horizon = np.array([0.86, 0.89, 0.92]) * rng.uniform(0.85, 1.05)
    mix = np.clip(up, 0, 1)[..., None] ** 0.6
    out = np.broadcast_to(horizon + mix * (blue - horizon), (height, width, 3)).copy()
    clouds = cv2.resize(noise(rng, 512, 1.7, (2.5, 1.0)), (width, height))
    cover = 1 / (1 + np.exp(-3 * (clouds - rng.uniform(-0.5, 2))))
    cover = cover[..., None] * np.clip(up[..., None] * 6, 0, 1)
    out += cover * (np.array([0.96, 0.96, 0.97]) - out)
    return _finish(out)


def photo(rng: np.random.Generator, picture_rgb: np.ndarray, width: int = 2048) -> np.ndarray:
    """A user's photo, mirrored so that it wraps around, as a far panorama; sky and ground take its border rows."""
    h, w = picture_rgb.shape[:2]
    strip = cv2.resize(picture_rgb, (width // 4, max(1, round(h * width / 4 / w))), interpolation=cv2.INTER_AREA)
    ring = np.concatenate([strip, strip[:, ::-1]] * 2, axis=1)
    ring = np.roll(ring, int(rng.integers(width)), axis=1)
    total = width // 2
    if len(ring) > total:
        start = (len(ring) - total) // 2
        return np.ascontiguousarray(ring[start : start + total])
    over = (total - len(ring)) // 2
    return np.pad(ring, ((over, total - len(ring) - over), (0, 0), (0, 0)), mode="edge")
