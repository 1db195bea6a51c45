"""Static meshes on the graphics card."""

import moderngl
import numpy as np

from . import shaders
from .appearance import linear
from .meshes import Mesh

_ROOT = np.round(np.sqrt(linear(np.arange(256) / 255)) * 255).astype(np.uint8)


def thing_programs(gl: moderngl.Context) -> dict[str, moderngl.Program]:
    """The programs that draw things: "near" takes shadows, "far" does not, "glow" is not lit."""
    version = "#version 330\n"
    return {
        "near": gl.program(
            vertex_shader=shaders.THING_VERTEX,
            fragment_shader=version + "#define NEAR\n" + shaders.LIGHT + shaders.THING_FRAGMENT,
        ),
        "far": gl.program(
            vertex_shader=shaders.THING_VERTEX, fragment_shader=version + shaders.LIGHT + shaders.THING_FRAGMENT
        ),
        "glow": gl.program(vertex_shader=shaders.THING_VERTEX, fragment_shader=shaders.GLOW_FRAGMENT),
    }


def upload_picture(gl: moderngl.Context, srgb: np.ndarray, repeat: bool = True) -> moderngl.Texture:
    """A uint8 sRGB picture as an 8-bit texture with mipmaps that holds square roots of linear light."""
    data = np.dstack((_ROOT[srgb], np.full(srgb.shape[:2], 255, np.uint8)))
    texture = gl.texture((srgb.shape[1], srgb.shape[0]), 4, np.ascontiguousarray(data).tobytes())
    texture.build_mipmaps()
    texture.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
    texture.repeat_x = texture.repeat_y = repeat
    return texture


class ThingOnCard:
    """One mesh, uploaded once."""

    def __init__(self, gl: moderngl.Context, programs: dict[str, moderngl.Program], mesh: Mesh) -> None:
        self.mesh = mesh
        self._programs = programs
        data = np.concatenate((mesh.vertices_m, mesh.normals, mesh.uv), axis=1, dtype=np.float32)
        self._vertices = gl.buffer(np.ascontiguousarray(data).tobytes())
        self._index = gl.buffer(np.ascontiguousarray(mesh.faces, np.uint32).tobytes())
        self._picture = upload_picture(gl, mesh.picture)
        corners = mesh.vertices_m[mesh.faces]
        self._low, self._high = corners.min(axis=1), corners.max(axis=1)
        self._arrays = {}
        for name in ("glow",) if mesh.luminous > 0 else ("near", "far"):
            content = [(self._vertices, "3f 3f 2f", "xyz", "normal", "uv")]
            self._arrays[name] = gl.vertex_array(programs[name], content, index_buffer=self._index)
        for name in ("shadow", "eye_depth"):
            content = [(self._vertices, "3f 20x", "xyz")]
            self._arrays[name] = gl.vertex_array(programs[name], content, index_buffer=self._index)

    def draw(self, name: str) -> None:
        """Draw with the program "shadow" or "eye_depth"."""
        self._arrays[name].render(moderngl.TRIANGLES)

    def draw_lit(self, centre_m: np.ndarray, reach_m: float) -> None:
        """Draw in colour; the dear work of shadows is done only for triangles within reach of the centre."""
        mesh = self.mesh
        self._picture.use(0)
        if mesh.luminous > 0:
            program = self._programs["glow"]
            program["picture"], program["luminous"], program["one_sided"] = 0, mesh.luminous, mesh.one_sided
            self._arrays["glow"].render(moderngl.TRIANGLES)
            return
        away = np.maximum(np.maximum(self._low - centre_m, centre_m - self._high), 0)
        near = np.linalg.norm(away, axis=1) < reach_m
        # Nearest first, in one stream of triangles whose parts two programs draw.
        order = np.concatenate((mesh.faces[near], mesh.faces[~near]))
        count = 3 * int(near.sum())
        if 0 < count < 3 * len(near):
            self._index.write(np.ascontiguousarray(order, np.uint32).tobytes())
        for name, first, many in (("near", 0, count), ("far", count, 3 * len(near) - count)):
            if many:
                program = self._programs[name]
                program["picture"], program["gloss"], program["one_sided"] = 0, mesh.gloss, mesh.one_sided
                program["blotch"] = mesh.blotch
                self._arrays[name].render(moderngl.TRIANGLES, vertices=many, first=first)

    def release(self) -> None:
        """Free it."""
        for thing in (*self._arrays.values(), self._vertices, self._index, self._picture):
            thing.release()
