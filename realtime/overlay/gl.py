"""The mesh renderer on OpenGL 3.3: a card where there is one, software GL otherwise."""

import sys
from typing import Any

import moderngl
import numpy as np

from ...models.camera import Camera
from .mesh import MeshRenderer
from .projection import NEAR_M

_FAR_M = 500.0
_SAMPLES = 4

_VERTEX = """
#version 330
uniform vec4 lens;   // fx fy cx cy, pixels
uniform vec2 size;   // width height, pixels
uniform vec2 range;  // near far, metres
in vec3 xyz;
in vec3 colour;
out vec3 shade;
void main() {
    float z = xyz.z;
    // Row 0 of the frame buffer is the top row of the picture, so y is not turned over.
    vec2 clip = 2.0 * (lens.xy * xyz.xy + lens.zw * z) / size - z;
    float depth = ((range.y + range.x) * z - 2.0 * range.y * range.x) / (range.y - range.x);
    gl_Position = vec4(clip, depth, z);
    shade = colour;
}
"""

_FRAGMENT = """
#version 330
in vec3 shade;
out vec4 pixel;
void main() { pixel = vec4(shade, 1.0); }
"""


class NoGLError(Exception):
    """No OpenGL 3.3 context can be made here; the text says why."""


class GLRenderer(MeshRenderer):
    """Off-screen OpenGL with smoothed edges. Use it in the thread that made it.

    Args:
        context: OpenGL 3.3 of the caller, which stays open when the renderer is closed; None opens one.

    Raises:
        NoGLError: no context comes up.
    """

    def __init__(self, context: moderngl.Context | None = None) -> None:
        super().__init__()
        self._borrowed = context is not None
        self._context = open_context() if context is None else context
        info = self._context.info
        self.description = f"moderngl ({str(info['GL_RENDERER']).split(' (')[0]})"
        self._program = self._context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self._samples = min(_SAMPLES, self._context.max_samples)
        self._closed = False
        self._size = (0, 0)
        self._buffers: list[moderngl.Framebuffer] = []
        self._faces: np.ndarray | None = None
        self._vertices: moderngl.Buffer | None = None
        self._array: moderngl.VertexArray | None = None

    def rasterise(self, xyz_cam_m: np.ndarray, colours: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
        """See :meth:`MeshRenderer.rasterise`."""
        # Another renderer, or a window, may have made its own context current in this thread.
        with self._context:
            return self._draw(xyz_cam_m, colours, faces, camera)

    def _draw(self, xyz_cam_m: np.ndarray, colours: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
        width, height = camera.width_px, camera.height_px
        self._make_room(width, height)
        data = np.ascontiguousarray(np.concatenate((xyz_cam_m, colours), axis=1, dtype=np.float32))
        array = self._upload(data, faces)
        many, one = self._buffers
        many.use()
        self._context.enable_only(moderngl.DEPTH_TEST)
        view = (0, 0, width, height)
        many.viewport = many.scissor = one.viewport = view
        many.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self._program["lens"] = (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px)
        self._program["size"] = (float(width), float(height))
        self._program["range"] = (NEAR_M, _FAR_M)
        array.render(moderngl.TRIANGLES)
        self._context.copy_framebuffer(one, many)
        raw = one.read(viewport=view, components=4, alignment=1)
        return np.frombuffer(raw, dtype=np.uint8).reshape(height, width, 4)

    def close(self) -> None:
        """Free buffers and context."""
        super().close()
        if self._closed:
            return
        self._closed = True
        with self._context:
            for thing in (*self._buffers, self._array, self._vertices, self._program):
                if thing is not None:
                    thing.release()
        if not self._borrowed:
            self._context.release()

    def _make_room(self, width: int, height: int) -> None:
        """Frame buffers at least this large; they only grow, because the body's box changes every frame."""
        if width <= self._size[0] and height <= self._size[1]:
            return
        self._size = (max(width, self._size[0]), max(height, self._size[1]))
        for buffer in self._buffers:
            for attachment in (*buffer.color_attachments, buffer.depth_attachment):
                if attachment is not None:
                    attachment.release()
            buffer.release()
        gl, size = self._context, self._size
        many = gl.framebuffer(
            gl.renderbuffer(size, 4, samples=self._samples), gl.depth_renderbuffer(size, samples=self._samples)
        )
        self._buffers = [many, gl.framebuffer(gl.renderbuffer(size, 4))]

    def _upload(self, data: np.ndarray, faces: np.ndarray) -> moderngl.VertexArray:
        if (
            self._array is None
            or self._vertices is None
            or self._faces is not faces
            or self._vertices.size != data.nbytes
        ):
            for thing in (self._array, self._vertices):
                if thing is not None:
                    thing.release()
            index = self._context.buffer(np.ascontiguousarray(faces, dtype=np.uint32).tobytes())
            self._vertices = self._context.buffer(reserve=data.nbytes, dynamic=True)
            content = [(self._vertices, "3f 3f", "xyz", "colour")]
            self._array = self._context.vertex_array(self._program, content, index_buffer=index)
            self._faces = faces
        # A fresh store spares waiting for the picture that still reads the old one.
        self._vertices.orphan()
        self._vertices.write(data.tobytes())
        return self._array


def open_context() -> moderngl.Context:
    """An off-screen OpenGL 3.3 context. Raises NoGLError with the reasons where none comes up."""
    # EGL needs no display; where it is missing (or off Linux) the platform's own way may still work.
    reasons: list[str] = []
    for backend in ("egl", None) if sys.platform.startswith("linux") else (None,):
        try:
            if backend is None:
                return moderngl.create_context(standalone=True, require=330)
            settings: dict[str, Any] = {"backend": backend}
            return moderngl.create_context(standalone=True, require=330, **settings)
        except Exception as err:  # glcontext raises plain Exception, ValueError and RuntimeError alike
            reasons.append(f"{backend or 'default'}: {str(err).strip() or type(err).__name__}")
    raise NoGLError("; ".join(reasons))
