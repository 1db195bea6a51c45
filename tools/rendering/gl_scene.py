"""Draws a scene with OpenGL 3.3: shadow of the key light, ambient occlusion, smoothed edges, linear light."""

import moderngl
import numpy as np

from ...models.camera import Camera
from ...models.errors import UsageError
from ...realtime.overlay.gl import NoGLError, open_context
from . import shaders
from .gl_person import PersonOnCard, person_programs
from .gl_things import ThingOnCard, thing_programs
from .scene import Scene

__all__ = ["FAR_M", "NEAR_M", "NoGLError", "SceneRenderer"]

NEAR_M = 0.08
FAR_M = 700.0
_SHADOW_PX = 1024
_SHADOW_REACH_M = 2.2
_OCCLUSION_M = 0.28


class SceneRenderer:
    """One picture size, one scene at a time. Use it in the thread that made it, and close it.

    The person moves by handing other vertices to :meth:`draw`. Equal input gives equal pictures on one machine.

    Raises:
        NoGLError: no OpenGL context comes up here.
    """

    def __init__(self, width_px: int, height_px: int, samples: int = 4) -> None:
        self.width_px, self.height_px = width_px, height_px
        self._gl = gl = open_context()
        self.description = f"moderngl ({str(gl.info['GL_RENDERER']).split(' (')[0]})"
        size, half = (width_px, height_px), ((width_px + 1) // 2, (height_px + 1) // 2)
        self._half = half
        samples = min(samples, gl.max_samples)
        self._depth = gl.depth_texture(size)
        self._depth.compare_func = ""
        self._depth.repeat_x = self._depth.repeat_y = False
        self._depth.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._eye_buffer = gl.framebuffer(depth_attachment=self._depth)
        self._colour = gl.texture(size, 4, dtype="f2")
        self._one = gl.framebuffer(self._colour, gl.depth_renderbuffer(size))
        self._many = self._one
        if samples > 1:
            self._many = gl.framebuffer(
                gl.renderbuffer(size, 4, samples=samples, dtype="f2"), gl.depth_renderbuffer(size, samples=samples)
            )
        self._open = gl.texture(half, 1, dtype="f1")
        self._open.repeat_x = self._open.repeat_y = False
        self._open_buffer = gl.framebuffer(self._open)
        self._shadow = gl.depth_texture((_SHADOW_PX, _SHADOW_PX))
        self._shadow.compare_func = "<="
        self._shadow.repeat_x = self._shadow.repeat_y = False
        self._shadow_buffer = gl.framebuffer(depth_attachment=self._shadow)
        self._programs = {
            **thing_programs(gl),
            **person_programs(gl),
            "shadow": gl.program(vertex_shader=shaders.DEPTH_VERTEX, fragment_shader=shaders.DEPTH_FRAGMENT),
            "eye_depth": gl.program(vertex_shader=shaders.EYE_DEPTH_VERTEX, fragment_shader=shaders.DEPTH_FRAGMENT),
            "open": gl.program(vertex_shader=shaders.FULL_VERTEX, fragment_shader=shaders.OCCLUSION_FRAGMENT),
        }
        corners = np.array([[-1, -1], [3, -1], [-1, 3]], np.float32)
        self._corners = gl.buffer(corners.tobytes())
        self._whole = gl.vertex_array(self._programs["open"], [(self._corners, "2f", "corner")])
        self._things: list[ThingOnCard] = []
        self._person: PersonOnCard | None = None
        self._scene: Scene | None = None
        self._closed = False

    def load(self, scene: Scene) -> None:
        """Take another scene: lays out the clothes and uploads what does not move."""
        with self._gl:
            self._release_scene()
            self._scene = scene
            meshes = (*scene.surroundings.things, *(o.in_world() for o in scene.occluders))
            self._things = [ThingOnCard(self._gl, self._programs, mesh) for mesh in meshes]
            self._person = PersonOnCard(self._gl, self._programs, scene.body, scene.appearance)

    def draw(self, vertices_m: np.ndarray, T_cam_world: np.ndarray, camera: Camera) -> np.ndarray:
        """One instant.

        Args:
            vertices_m: (V, 3) vertices of the scene's body in the world.
            T_cam_world: (4, 4) world to camera (x right, y down, z forward).
            camera: pin-hole intrinsics of the renderer's size; its distortion is not applied here but by the film.

        Returns:
            (H, W, 3) float32 linear light; about 0.2 is middle grey before exposure.
        """
        scene, person = self._scene, self._person
        if scene is None or person is None:
            raise UsageError("Expected load(scene) before draw, found no scene. Load one first.")
        if (camera.width_px, camera.height_px) != (self.width_px, self.height_px):
            raise UsageError(
                f"Expected a camera of {self.width_px} x {self.height_px} pixels, found {camera.width_px} x "
                f"{camera.height_px}. Make a renderer of the camera's size."
            )
        with self._gl:
            person.pose(np.asarray(vertices_m, np.float32))
            self._set_uniforms(scene, vertices_m, T_cam_world, camera)
            self._draw_shadow()
            self._draw_eye_depth()
            self._draw_occlusion(vertices_m, T_cam_world, camera)
            self._draw_colour((vertices_m.min(axis=0) + vertices_m.max(axis=0)) / 2)
            raw = self._one.read(components=3, dtype="f2", alignment=1)
        return np.frombuffer(raw, np.float16).reshape(self.height_px, self.width_px, 3).astype(np.float32)

    def depth_m(self) -> np.ndarray:
        """(H, W) float32 distance along the optical axis of the last draw at the pixel centres, clothes, hair,
        occluders and surroundings included."""
        with self._gl:
            raw = self._depth.read(alignment=1)
        d = np.frombuffer(raw, np.float32).reshape(self.height_px, self.width_px) * 2 - 1
        return (2 * NEAR_M * FAR_M / (FAR_M + NEAR_M - d * (FAR_M - NEAR_M))).astype(np.float32)

    def close(self) -> None:
        """Free everything; drawing afterwards is an error."""
        if self._closed:
            return
        self._closed = True
        with self._gl:
            self._release_scene()
            for thing in (*self._programs.values(), self._whole, self._corners, self._depth, self._colour, self._open):
                thing.release()
            for buffer in (self._eye_buffer, self._one, self._many, self._open_buffer, self._shadow_buffer):
                buffer.release()
            self._shadow.release()
        self._gl.release()

    def __enter__(self) -> "SceneRenderer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _release_scene(self) -> None:
        for thing in self._things:
            thing.release()
        if self._person is not None:
            self._person.release()
        self._things, self._person, self._scene = [], None, None

    def _set_uniforms(self, scene: Scene, vertices_m: np.ndarray, T_cam_world: np.ndarray, camera: Camera) -> None:
        light = scene.light
        centre = (vertices_m.min(axis=0) + vertices_m.max(axis=0)) / 2
        shadow = shadow_matrix(np.array(light.towards), centre, _SHADOW_REACH_M)
        T = np.asarray(T_cam_world, np.float64)
        values = {
            "lens": (camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px),
            "size": (float(self.width_px), float(self.height_px)),
            "half_size": tuple(float(x) for x in self._half),
            "range": (NEAR_M, FAR_M),
            "T_cam_world": T.T.astype(np.float32).tobytes(),
            "eye": tuple(-T[:3, :3].T @ T[:3, 3]),
            "towards": light.towards,
            "key": light.key,
            "sky": light.sky,
            "ground": light.ground,
            "fill": light.fill,
            "fill_towards": light.fill_towards,
            "shadow_of_world": shadow.T.astype(np.float32).tobytes(),
            "shadow_blur": light.softness_m / (2 * _SHADOW_REACH_M),
            "radius_m": _OCCLUSION_M,
            "shadow_map": 2,
            "occlusion": 3,
            "depths": 4,
        }
        for program in self._programs.values():
            for name, value in values.items():
                if name in program:
                    uniform = program[name]
                    assert isinstance(uniform, moderngl.Uniform)
                    if isinstance(value, bytes):
                        uniform.write(value)
                    else:
                        uniform.value = value
        self._shadow.use(2)
        self._open.use(3)
        self._depth.use(4)

    def _draw_shadow(self) -> None:
        assert self._person is not None
        self._shadow_buffer.use()
        self._gl.enable_only(moderngl.DEPTH_TEST)
        self._shadow_buffer.clear(depth=1.0)
        # Pushed back a little so that nothing shades itself.
        self._gl.polygon_offset = (1.5, 2.0)
        self._person.draw("shadow")
        for thing in self._things:
            if thing.mesh.casts_shadow:
                thing.draw("shadow")
        self._gl.polygon_offset = (0.0, 0.0)

    def _draw_eye_depth(self) -> None:
        assert self._person is not None
        self._eye_buffer.use()
        self._gl.enable_only(moderngl.DEPTH_TEST)
        self._eye_buffer.clear(depth=1.0)
        self._person.draw("eye_depth")
        for thing in self._things:
            if not thing.mesh.one_sided:
                thing.draw("eye_depth")

    def _draw_occlusion(self, vertices_m: np.ndarray, T_cam_world: np.ndarray, camera: Camera) -> None:
        self._open_buffer.use()
        self._gl.enable_only(moderngl.NOTHING)
        width, height = self._half
        self._open_buffer.scissor = (0, 0, width, height)
        self._open_buffer.clear(1.0)
        p = vertices_m @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        p = p[p[:, 2] > NEAR_M]
        if not len(p):
            return
        u = np.stack((camera.fx_px * p[:, 0] / p[:, 2] + camera.cx_px, camera.fy_px * p[:, 1] / p[:, 2] + camera.cy_px))
        reach = _OCCLUSION_M * camera.fx_px / p[:, 2].min()
        x0, y0 = np.clip((u.min(axis=1) - reach) / 2, 0, self._half).astype(int)
        x1, y1 = np.clip((u.max(axis=1) + reach) / 2 + 1, 0, self._half).astype(int)
        self._open_buffer.scissor = (x0, y0, max(x1 - x0, 0), max(y1 - y0, 0))
        self._whole.render(moderngl.TRIANGLES, vertices=3)

    def _draw_colour(self, centre_m: np.ndarray) -> None:
        assert self._person is not None
        self._many.use()
        self._gl.enable_only(moderngl.DEPTH_TEST)
        self._many.clear(0.0, 0.0, 0.0, 1.0, depth=1.0)
        self._person.draw("colour")
        for thing in self._things:
            thing.draw_lit(centre_m, 1.5 * _SHADOW_REACH_M)
        if self._many is not self._one:
            self._gl.copy_framebuffer(self._one, self._many)


def shadow_matrix(towards: np.ndarray, centre_m: np.ndarray, reach_m: float) -> np.ndarray:
    """(4, 4) world to shadow map: x and y in 0..1 over a square of half width ``reach_m`` about the centre, z in 0..1
    from near the light to far from it."""
    side = np.cross([0.0, 1.0, 0.0], towards)
    side = side / np.linalg.norm(side) if np.linalg.norm(side) > 1e-6 else np.array([1.0, 0, 0])
    up = np.cross(towards, side)
    R = np.stack((side, up, -towards)) / np.array([[2 * reach_m], [2 * reach_m], [8 * reach_m]])
    M = np.eye(4)
    M[:3, :3], M[:3, 3] = R, 0.5 - R @ centre_m
    return M
