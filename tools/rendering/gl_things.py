"""Static meshes on the graphics card."""

import moderngl
import numpy as np

from .appearance import linear
from .meshes import Mesh

_LINEAR = linear(np.arange(256) / 255).astype(np.float16)


def upload_picture(gl: moderngl.Context, srgb: np.ndarray, repeat: bool = True) -> moderngl.Texture:
    """A uint8 sRGB picture as a half-float linear texture with mipmaps."""
    data = np.ascontiguousarray(_LINEAR[srgb]).tobytes()
    texture = gl.texture((srgb.shape[1], srgb.shape[0]), 3, data, alignment=1, dtype="f2")
    texture.build_mipmaps()
    texture.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
    texture.repeat_x = texture.repeat_y = repeat
    return texture


class ThingOnCard:
    """One mesh, uploaded once."""

    def __init__(self, gl: moderngl.Context, programs: dict[str, moderngl.Program], mesh: Mesh) -> None:
        self.mesh = mesh
        self._gl, self._program = gl, programs["thing"]
        data = np.concatenate((mesh.vertices_m, mesh.normals, mesh.uv), axis=1, dtype=np.float32)
        self._vertices = gl.buffer(np.ascontiguousarray(data).tobytes())
        self._index = gl.buffer(np.ascontiguousarray(mesh.faces, np.uint32).tobytes())
        self._picture = upload_picture(gl, mesh.picture)
        self._arrays = {
            "thing": gl.vertex_array(
                programs["thing"], [(self._vertices, "3f 3f 2f", "xyz", "normal", "uv")], index_buffer=self._index
            )
        }
        for name in ("shadow", "eye_depth"):
            content = [(self._vertices, "3f 20x", "xyz")]
            self._arrays[name] = gl.vertex_array(programs[name], content, index_buffer=self._index)

    def draw(self, name: str) -> None:
        """Draw with the program of this name: "thing", "shadow" or "eye_depth"."""
        if name == "thing":
            self._picture.use(0)
            for key, value in (
                ("picture", 0),
                ("luminous", self.mesh.luminous),
                ("gloss", self.mesh.gloss),
                ("one_sided", self.mesh.one_sided),
            ):
                self._program[key] = value
        self._arrays[name].render(moderngl.TRIANGLES)

    def release(self) -> None:
        """Free it."""
        for thing in (*self._arrays.values(), self._vertices, self._index, self._picture):
            thing.release()
