"""Textured triangle meshes of simple things: quads, boxes, round posts, domes."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles with one picture on them."""

    vertices_m: np.ndarray
    """(N, 3) float32."""
    normals: np.ndarray
    """(N, 3) float32 unit vectors."""
    uv: np.ndarray
    """(N, 2) float32; a picture repeats beyond 0..1."""
    faces: np.ndarray
    """(F, 3) int."""
    picture: np.ndarray
    """(H, W, 3) uint8 sRGB albedo; of a luminous mesh, what is seen."""
    luminous: float = 0.0
    """0 for a surface that is lit; else the picture is seen as it is, times this."""
    casts_shadow: bool = True
    gloss: float = 0.0
    """0 matt to 1 polished."""
    blotch: float = 0.0
    """Strength of a coarse unevenness that hides the repeats of the picture."""
    one_sided: bool = False
    """Not seen from behind: walls, so that a camera may stand outside a small room."""

    def moved(self, at_m: tuple[float, float, float] | np.ndarray, turn_rad: float = 0.0) -> "Mesh":
        """The mesh turned about +Y by ``turn_rad``, then put at ``at_m``."""
        c, s = np.cos(turn_rad), np.sin(turn_rad)
        R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        return replace(
            self,
            vertices_m=(self.vertices_m @ R.T + np.asarray(at_m)).astype(np.float32),
            normals=(self.normals @ R.T).astype(np.float32),
        )


def joined(parts: list[Mesh]) -> Mesh:
    """Meshes with the picture (and the other properties) of the first as one mesh."""
    starts = np.cumsum([0, *(len(p.vertices_m) for p in parts[:-1])])
    return replace(
        parts[0],
        vertices_m=np.concatenate([p.vertices_m for p in parts]),
        normals=np.concatenate([p.normals for p in parts]),
        uv=np.concatenate([p.uv for p in parts]),
        faces=np.concatenate([p.faces + k for p, k in zip(parts, starts, strict=True)]),
    )


def quad(
    corner_m: np.ndarray, along_m: np.ndarray, up_m: np.ndarray, picture: np.ndarray, tile_m: float | None = None,
    pieces: int = 1, **properties,
) -> Mesh:  # fmt: skip
    """A parallelogram from a corner along two edges, seen from the side of along x up.

    tile_m: metres that one repeat of the picture covers; None stretches one picture over the whole, its first row at
    the far end of ``up_m``. pieces: parts per edge.
    """
    corner, along, up = (np.asarray(x, np.float64) for x in (corner_m, along_m, up_m))
    t = np.linspace(0, 1, pieces + 1)
    a, b = (x.ravel() for x in np.meshgrid(t, t))
    normal = np.cross(along, up)
    normal = normal / np.linalg.norm(normal)
    scale = (1.0, 1.0) if tile_m is None else (np.linalg.norm(along) / tile_m, np.linalg.norm(up) / tile_m)
    i, j = (x.ravel() for x in np.meshgrid(np.arange(pieces), np.arange(pieces)))
    p = j * (pieces + 1) + i
    q = p + pieces + 1
    faces = np.concatenate([np.stack((p, p + 1, q + 1), 1), np.stack((p, q + 1, q), 1)])
    return Mesh(
        (corner + a[:, None] * along + b[:, None] * up).astype(np.float32),
        np.broadcast_to(normal, (len(a), 3)).astype(np.float32),
        np.stack((a * scale[0], (1 - b) * scale[1]), axis=1).astype(np.float32),
        faces,
        picture,
        **properties,
    )


def box(
    low_m: tuple[float, float, float], high_m: tuple[float, float, float], picture: np.ndarray,
    tile_m: float | None = None, **properties,
) -> Mesh:  # fmt: skip
    """A box between two corners."""
    (x, y, z), (X, Y, Z) = low_m, high_m
    dx, dy, dz = (np.array(v, np.float64) for v in ((X - x, 0, 0), (0, Y - y, 0), (0, 0, Z - z)))
    sides = [
        ((x, y, Z), dx, dy), ((X, y, z), -dx, dy), ((X, y, Z), -dz, dy), ((x, y, z), dz, dy),
        ((x, Y, Z), dx, -dz), ((x, y, z), dx, dz),
    ]  # fmt: skip
    return joined([quad(np.array(c), a, u, picture, tile_m, **properties) for c, a, u in sides])


def post(
    radius_m: float, height_m: float, picture: np.ndarray, top_radius_m: float | None = None, low_m: float = 0.0,
    sides: int = 16, **properties,
) -> Mesh:  # fmt: skip
    """An upright round post (or cone) on y = ``low_m``, with a lid."""
    top = radius_m if top_radius_m is None else top_radius_m
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack((np.sin(angle), np.zeros_like(angle), np.cos(angle)), axis=1)
    up = np.array([0, 1.0, 0])
    slope = (radius_m - top) / height_m
    normal = ring + slope * up
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    vertices = np.concatenate(
        [ring * radius_m + up * low_m, ring * top + up * (low_m + height_m), ring * top + up * (low_m + height_m)]
    )
    around = angle * max(radius_m, top)
    uv = np.concatenate(
        [np.stack((around, np.full_like(around, height_m)), 1), np.stack((around, 0 * around), 1), ring[:, ::2] * top]
    )
    k, n = np.arange(sides), sides + 1
    wall = np.concatenate([np.stack((k, k + 1, n + k + 1), 1), np.stack((k, n + k + 1, n + k), 1)])
    lid = np.stack((np.full(sides - 1, 2 * n), 2 * n + k[1:], 2 * n + k[1:] + 1), axis=1)
    normals = np.concatenate([normal, normal, np.broadcast_to(up, normal.shape)])
    return Mesh(
        vertices.astype(np.float32), normals.astype(np.float32), uv.astype(np.float32),
        np.concatenate([wall, lid]), picture, **properties,
    )  # fmt: skip


def ball(centre_m: np.ndarray, radius_m: np.ndarray, picture: np.ndarray, count: int = 12, **properties) -> Mesh:
    """An ellipsoid; ``radius_m`` (3,) half axes."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, count), np.linspace(0, 2 * np.pi, 2 * count), indexing="ij")
    unit = np.stack((np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)), -1).reshape(-1, 3)
    normal = unit / np.asarray(radius_m)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    i, j = (x.ravel() for x in np.meshgrid(np.arange(count - 1), np.arange(2 * count - 1), indexing="ij"))
    p = i * 2 * count + j
    faces = np.concatenate(
        [np.stack((p, p + 2 * count, p + 2 * count + 1), 1), np.stack((p, p + 2 * count + 1, p + 1), 1)]
    )
    uv = np.stack((around.ravel() / (2 * np.pi), polar.ravel() / np.pi), axis=1)
    return Mesh(
        (unit * radius_m + centre_m).astype(np.float32), normal.astype(np.float32), uv.astype(np.float32),
        faces, picture, **properties,
    )  # fmt: skip


def dome(radius_m: float, picture: np.ndarray, luminous: float = 1.0) -> Mesh:
    """A far sphere seen from inside; the picture wraps once around, zenith in its first row, nadir in its last."""
    mesh = ball(np.zeros(3), np.full(3, radius_m), picture, 24, luminous=luminous, casts_shadow=False)
    return replace(mesh, normals=-mesh.normals)
