"""Things that stand about: furniture, plants, posts, distant hills."""

import numpy as np

from . import textures
from .meshes import Mesh, box, joined, post


def furniture(rng: np.random.Generator) -> tuple[Mesh, float]:
    """A piece that stands on y = 0 around the origin, and its half width."""
    kind = rng.integers(6)
    if kind == 0:
        return table(rng), 0.8
    if kind == 1:
        return chair(rng), 0.4
    if kind == 2:
        return plant(rng), 0.5
    if kind == 3:
        h = rng.uniform(0.9, 2.1)
        return box((-0.5, 0, -0.18), (0.5, h, 0.18), textures.books(rng)), 0.55
    if kind == 4:  # sofa
        cloth = textures.carpet(rng, textures.hue(rng, rng.uniform(0, 0.5), rng.uniform(0.2, 0.7)))
        parts = [((-0.9, 0.1, -0.4), (0.9, 0.42, 0.45)), ((-0.9, 0.42, -0.42), (0.9, 0.85, -0.2))]
        parts += [((-1.0, 0, -0.42), (-0.82, 0.6, 0.45)), ((0.82, 0, -0.42), (1.0, 0.6, 0.45))]
        return joined([box(a, b, cloth, 0.5) for a, b in parts]), 1.05
    w, h, d = rng.uniform(0.15, 0.6), rng.uniform(0.2, 1.2), rng.uniform(0.15, 0.4)
    return box((-w, 0, -d), (w, h, d), textures.poster(rng) if rng.uniform() < 0.4 else _wooden(rng)), float(w)


def _wooden(rng: np.random.Generator) -> np.ndarray:
    return textures.wood(rng, np.array([0.6, 0.44, 0.3]) * rng.uniform(0.3, 1.5), 256, 2)


def table(rng: np.random.Generator, width_m: float = 1.4, depth_m: float = 0.7, height_m: float = 0.74) -> Mesh:
    """A table on four legs."""
    w, d, picture = width_m / 2, depth_m / 2, _wooden(rng)
    legs = [(sx * (w - 0.08), sz * (d - 0.08)) for sx in (-1, 1) for sz in (-1, 1)]
    parts = [box((-w, height_m - 0.04, -d), (w, height_m, d), picture, 0.8)]
    parts += [box((x - 0.03, 0, z - 0.03), (x + 0.03, height_m - 0.04, z + 0.03), picture, 0.8) for x, z in legs]
    return joined(parts)


def chair(rng: np.random.Generator, seat_m: float = 0.45) -> Mesh:
    """A chair; its seat is at ``seat_m`` and its back towards -z."""
    picture = _wooden(rng) if rng.uniform() < 0.6 else textures.carpet(rng, textures.hue(rng, 0.5, 0.5))
    parts = [box((-0.21, seat_m - 0.04, -0.21), (0.21, seat_m, 0.21), picture, 0.5)]
    for x in (-0.19, 0.19):
        parts.append(box((x - 0.02, 0, 0.17), (x + 0.02, seat_m - 0.04, 0.21), picture, 0.5))
        parts.append(box((x - 0.02, 0, -0.21), (x + 0.02, seat_m + 0.42, -0.17), picture, 0.5))
    parts.append(box((-0.19, seat_m + 0.18, -0.205), (0.19, seat_m + 0.42, -0.18), picture, 0.5))
    return joined(parts)


def pole(rng: np.random.Generator, radius_m: float = 0.05, height_m: float = 3.0) -> Mesh:
    """An upright post."""
    return post(radius_m, height_m, textures.plaster(rng, textures.hue(rng, 0.2, rng.uniform(0.15, 0.9))))


def _leaves(
    rng: np.random.Generator, count: int, centre_m: np.ndarray, radius_m: np.ndarray, size_m: float, long: float = 1.6
) -> Mesh:
    """Loose leaves, or bunches of them, in an ellipsoid."""
    way = rng.normal(size=(count, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    place = centre_m + way * radius_m * rng.uniform(0.45, 1.0, (count, 1))
    along = rng.normal(size=(count, 3)) - np.array([0, 0.3, 0])
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, way + 0.5 * rng.normal(size=(count, 3)))
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    size = size_m * rng.uniform(0.5, 1.3, (count, 1))
    corners = [-along * long, across * 0.7, along * long, -across * 0.7]
    v = np.stack([place + size * c for c in corners], axis=1).reshape(-1, 3)
    # Normals lean outwards, so that a crown is light above and dark below like a solid.
    normal = way + 0.6 * np.cross(along, across)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    uv = rng.uniform(size=(count, 1, 2)) + np.array([[0, 0], [0.1, 0.1], [0, 0.2], [-0.1, 0.1]])
    faces = (4 * np.arange(count)[:, None, None] + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    return Mesh(
        v.astype(np.float32), np.repeat(normal, 4, axis=0).astype(np.float32),
        uv.reshape(-1, 2).astype(np.float32), faces, textures.foliage(rng),
    )  # fmt: skip


def plant(rng: np.random.Generator, height_m: float = 1.1) -> Mesh:
    """A bush in a pot (one picture a mesh, so the pot is green too)."""
    crown = _leaves(
        rng, 220, np.array([0, 0.62 * height_m, 0]), np.array([0.28, 0.38 * height_m, 0.28]), 0.05, rng.uniform(1, 3)
    )
    return joined([crown, post(0.13, 0.27 * height_m, crown.picture, 0.17)])


def tree(rng: np.random.Generator) -> Mesh:
    """A tree of some metres."""
    high = rng.uniform(3.5, 8)
    centre = np.array([0, 0.68 * high, 0])
    crown = _leaves(rng, 900, centre, np.array([0.26, 0.33, 0.26]) * high, 0.035 * high, rng.uniform(0.8, 1.6))
    return joined([crown, post(0.03 * high, 0.6 * high, crown.picture, 0.015 * high)])


def ridge(rng: np.random.Generator, far_m: float, tone: float, columns: int = 720) -> Mesh:
    """Hills, woods or roofs all around the horizon; paler the farther they are (``tone`` 0..1)."""
    line = textures.noise(rng, 1024, float(rng.uniform(0.9, 1.8)))[0]
    line = np.interp(np.linspace(0, 1023, columns, endpoint=False), np.arange(1024), line)
    if rng.uniform() < 0.3:  # roofs
        line = np.repeat(line[::6], 6)[:columns]
    top = far_m * (0.012 + rng.uniform(0.006, 0.022) * (line - line.min()))
    angle = np.linspace(0, 2 * np.pi, columns + 1)
    way = np.stack((np.sin(angle), 0 * angle, np.cos(angle)), axis=1)
    high = np.append(top, top[0])
    v = np.concatenate([way * far_m - [0, 1, 0], way * far_m + np.array([0, 1, 0]) * high[:, None]])
    u = np.linspace(0, 40, columns + 1)
    uv = np.concatenate([np.stack((u, 0 * u + 1), 1), np.stack((u, 1 - high / far_m * 8), 1)])
    k = np.arange(columns)
    n = columns + 1
    faces = np.concatenate([np.stack((k, k + 1, n + k + 1), 1), np.stack((k, n + k + 1, n + k), 1)])
    green = textures.foliage(rng).astype(np.float64)
    haze = np.array([196.0, 206.0, 214.0])
    picture = np.clip(haze * tone + (1 - tone) * green * 1.3, 0, 255).astype(np.uint8)
    return Mesh(
        v.astype(np.float32), np.concatenate([-way, -way]).astype(np.float32), uv.astype(np.float32), faces, picture,
        luminous=0.8, casts_shadow=False,
    )  # fmt: skip
