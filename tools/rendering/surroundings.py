"""What is around the person: a room, a yard, or a photo far away. All of it geometry, so parallax is true."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...models.errors import UsageError
from . import textures
from .furniture import chair, furniture, plant, pole, ridge, table, tree
from .meshes import Mesh, box, dome, quad

__all__ = ["Surroundings", "chair", "plant", "pole", "sample_surroundings", "table", "tree"]


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Static things, world axes, floor y = 0. The person moves about the origin."""

    kind: str
    """"room", "outdoors" or "photo"."""
    things: tuple[Mesh, ...]
    free_m: float
    """Radius around the origin that furniture keeps out of, metres. A camera may stand inside ``reach_m``."""
    reach_m: float
    """Radius around the origin within which a camera sees the scene from inside (it may pass furniture)."""

    @property
    def indoors(self) -> bool:
        """Whether it is a room."""
        return self.kind == "room"


def sample_surroundings(
    rng: np.random.Generator, kind: str | None = None, photo: Path | None = None, free_m: float = 2.0,
    reach_m: float = 9.0,
) -> Surroundings:  # fmt: skip
    """Surroundings at random.

    kind: "room", "outdoors", "photo" or None for any of the first two. photo: the picture of the kind "photo".
    free_m: radius about the origin kept free of furniture. reach_m: a camera up to this far from the origin is still
    inside. Raises UsageError where the photo cannot be read.
    """
    if kind is None:
        kind = "photo" if photo is not None else str(rng.choice(("room", "outdoors"), p=(0.6, 0.4)))
    if kind == "room":
        things = _room(rng, free_m, reach_m)
    elif kind == "outdoors":
        things = [dome(300.0, textures.sky(rng)), *_yard(rng, free_m, reach_m)]
    elif kind == "photo":
        things = [dome(60.0, textures.photo(rng, _read(photo))), _floor(rng, 40.0, outdoors=True)]
    else:
        raise UsageError(f"Expected surroundings 'room', 'outdoors' or 'photo', found {kind!r}.")
    return Surroundings(kind, tuple(things), free_m, reach_m)


def _read(path: Path | None) -> np.ndarray:
    picture = None if path is None else cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise UsageError(f"Expected a background photo (JPEG or PNG), found {path}. Name another picture.")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _floor(rng: np.random.Generator, half_m: float, outdoors: bool) -> Mesh:
    kinds = ("grass", "asphalt", "paving", "sand") if outdoors else ("wood", "tiles", "carpet", "concrete")
    kind = str(rng.choice(kinds))
    gloss, tile = 0.0, 2.0
    if kind == "wood":
        picture = textures.wood(rng, textures.hue(rng, 0, 1) * np.array([0.62, 0.45, 0.3]) * rng.uniform(0.5, 1.4))
        gloss, tile = rng.uniform(0.1, 0.7), rng.uniform(0.7, 1.4)
    elif kind in ("tiles", "paving"):
        rgb = textures.hue(rng, rng.uniform(0, 0.15), rng.uniform(0.35, 0.85))
        picture = textures.tiles(rng, rgb, np.full(3, rng.uniform(0.2, 0.8)))
        gloss, tile = (rng.uniform(0.1, 0.7), rng.uniform(0.8, 2.4)) if kind == "tiles" else (0.0, rng.uniform(1.2, 3))
    elif kind == "grass":
        picture, tile = textures.grass(rng), 3.0
    elif kind == "carpet":
        picture = textures.carpet(rng, textures.hue(rng, rng.uniform(0, 0.5), rng.uniform(0.25, 0.8)))
        tile = 0.6
    else:
        rgb = np.array([0.74, 0.66, 0.5]) if kind == "sand" else np.full(3, rng.uniform(0.25, 0.65))
        picture, tile = textures.carpet(rng, rgb), 1.7
    h = half_m
    return quad(
        np.array([-h, 0, h]), np.array([2 * h, 0, 0]), np.array([0, 0, -2 * h]), picture, tile,
        pieces=max(8, int(2 * h / 3)), casts_shadow=False, gloss=float(gloss), blotch=0.0 if kind == "tiles" else 0.35,
    )  # fmt: skip


def _room(rng: np.random.Generator, free_m: float, reach_m: float) -> list[Mesh]:
    # One wall or two may stand close behind the person; the others give the camera room.
    near = np.maximum(free_m + 0.3, rng.uniform(2.2, 6.0, 4))
    near[rng.integers(4)] = reach_m + 0.5
    left, right, back, front = (float(d) for d in near)
    if rng.uniform() < 0.5:
        left = right = reach_m + 0.5
    high = float(rng.uniform(2.4, 3.6))
    rgb = textures.hue(rng, rng.uniform(0, 0.25), rng.uniform(0.45, 0.95))
    finish = rng.choice(4, p=(0.7, 0.12, 0.1, 0.08))
    paint = (
        textures.plaster(rng, rgb) if finish == 0
        else textures.bricks(rng, np.array([0.6, 0.33, 0.25]) * rng.uniform(0.6, 1.3)) if finish == 1
        else textures.tiles(rng, rgb, rgb * 0.7) if finish == 2
        else textures.wood(rng, np.array([0.55, 0.4, 0.28]) * rng.uniform(0.6, 1.4))
    )  # fmt: skip
    white = textures.plaster(rng, np.full(3, 0.9))
    things = [_floor(rng, reach_m + 2, outdoors=False)]
    up = np.array([0, high, 0])
    walls = [
        (np.array([-left, 0, -back]), np.array([left + right, 0, 0])),
        (np.array([right, 0, front]), np.array([-left - right, 0, 0])),
        (np.array([-left, 0, front]), np.array([0, 0, -back - front])),
        (np.array([right, 0, -back]), np.array([0, 0, back + front])),
    ]
    for corner, along in walls:
        things.append(quad(corner, along, up, paint, 2.0, casts_shadow=False, one_sided=True))
        length = float(np.linalg.norm(along))
        inward = np.cross(along, up) / np.linalg.norm(np.cross(along, up))
        strip = quad(
            corner + inward * 0.015, along, np.array([0, 0.09, 0]), white, 1.0, casts_shadow=False, one_sided=True
        )
        things.append(strip)
        for _ in range(rng.integers(0, 5)):
            w, h = rng.uniform(0.3, 1.4), rng.uniform(0.35, 1.2)
            s, y = rng.uniform(0.1, 0.9) * length, rng.uniform(0.9, 1.7)
            place = corner + along / length * s + np.array([0, y, 0]) + inward * 0.02
            luminous = 0.0
            if rng.uniform() < 0.25:
                picture, luminous = textures.sky(rng, 64, 128)[:40], float(rng.uniform(0.7, 2.0))
            else:
                picture = textures.poster(rng)
            edge = along / length * w
            things.append(
                quad(place, edge, np.array([0, h, 0]), picture, luminous=luminous, casts_shadow=False, one_sided=True)
            )
    things.append(
        quad(np.array([-left, high, -back]), np.array([left + right, 0, 0]), np.array([0, 0, back + front]),
             white, 2.0, casts_shadow=False, one_sided=True)
    )  # fmt: skip
    limits = np.array([[-left, -back], [right, front]])
    for _ in range(rng.integers(2, 10)):
        thing, half = furniture(rng)
        for _ in range(8):
            x, z = rng.uniform(limits[0] + half, limits[1] - half)
            if np.hypot(x, z) > free_m + half:
                things.append(thing.moved((float(x), 0.0, float(z)), float(rng.choice((0, 1.5708, 3.1416, 4.7124)))))
                break
    return things


def _yard(rng: np.random.Generator, free_m: float, reach_m: float) -> list[Mesh]:
    things = [_floor(rng, 120.0, outdoors=True)]
    for far, tone in ((260.0, 0.8), (190.0, 0.6), (115.0, 0.4)):
        if rng.uniform() < 0.7:
            things.append(ridge(rng, far, tone))

    def somewhere(least: float, most: float) -> tuple[float, float, float]:
        angle, r = rng.uniform(0, 2 * np.pi), rng.uniform(least, most)
        return (float(r * np.sin(angle)), 0.0, float(r * np.cos(angle)))

    for _ in range(rng.integers(0, 7)):
        things.append(tree(rng).moved(somewhere(free_m + 2.5, 30), float(rng.uniform(0, 6.28))))
    for _ in range(rng.integers(0, 6)):
        w, h, d = rng.uniform(3, 12), rng.uniform(4, 16), rng.uniform(3, 8)
        house = box((-w, 0, -d), (w, h, d), textures.facade(rng))
        things.append(house.moved(somewhere(reach_m + 14, 70), float(rng.uniform(0, 6.28))))
    for _ in range(rng.integers(0, 5)):
        thing = (pole(rng, 0.06, 4.0), plant(rng), furniture(rng)[0])[rng.integers(3)]
        things.append(thing.moved(somewhere(free_m + 1.2, 14), float(rng.uniform(0, 6.28))))
    if rng.uniform() < 0.4:  # a wall or fence behind
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(free_m + 1.5, reach_m + 6)
        wall = box(
            (-14, 0, -0.1),
            (14, float(rng.uniform(0.9, 3.2)), 0.1),
            textures.bricks(rng, np.array([0.6, 0.42, 0.34])),
            2.0,
        )
        things.append(wall.moved((float(far * np.sin(angle)), 0.0, float(far * np.cos(angle))), float(angle)))
    return things
