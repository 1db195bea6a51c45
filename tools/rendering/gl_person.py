"""The person on the graphics card: one vertex stream and one material for every layer."""

from typing import Any

import cv2
import moderngl
import numpy as np

from ...models.body_stages import BodyModel
from ...realtime.overlay.mesh import NormalSum
from . import textures
from .anatomy import Anatomy, Layer
from .appearance import PATTERNS, Appearance
from .dressing import dress
from .painting import paint
from .shader_person import PERSON_FRAGMENTS, PERSON_VERTEX

_INNER_M = 0.12


def person_programs(gl: moderngl.Context) -> dict[str, moderngl.Program]:
    """The programs of the person's materials."""
    return {k: gl.program(vertex_shader=PERSON_VERTEX, fragment_shader=f) for k, f in PERSON_FRAGMENTS.items()}


class _LayerOnCard:
    def __init__(
        self, gl: moderngl.Context, programs: dict[str, moderngl.Program], layer: Layer,
        colours: np.ndarray, uniforms: dict[str, Any],
    ) -> None:  # fmt: skip
        self.layer, self.uniforms = layer, uniforms
        count = len(layer.rest_m)
        self._normals = NormalSum(layer.faces, count)
        self._moving = gl.buffer(reserve=count * 24, dynamic=True)
        paint = np.zeros((count, 3)) if layer.ids is None else colours[layer.ids]
        extra = np.stack((layer.field, layer.along_m, layer.limb), axis=1)
        still = np.concatenate((layer.rest_m, layer.rest_normals, paint, extra), axis=1, dtype=np.float32)
        self._still = gl.buffer(np.ascontiguousarray(still).tobytes())
        # Only near a border, through a sleeve or under a hem, is the inner side of cloth and hair seen.
        seen_within = (layer.field[layer.faces] < _INNER_M).any(axis=1) & (layer.kind in ("cloth", "hair"))
        faces = np.concatenate((layer.faces[seen_within], layer.faces[~seen_within]))
        self.within = 3 * int(seen_within.sum())
        self._index = gl.buffer(np.ascontiguousarray(faces, np.uint32).tobytes())
        # Layers that end inside a triangle would cast too much and hide too much there: whole triangles only.
        solid = layer.faces[(layer.field[layer.faces] >= 0).all(axis=1)]
        self._solid = gl.buffer(np.ascontiguousarray(solid, np.uint32).tobytes())
        program = programs[layer.kind]
        still_names = ("rest", "rest_normal", "paint", "extra")
        used = [n in program for n in still_names]
        layout = " ".join("3f" if u else "12x" for u in used)
        content = [
            (self._moving, "3f 3f", "xyz", "normal"),
            (self._still, layout, *(n for n, u in zip(still_names, used, strict=True) if u)),
        ]
        self.program = program
        self.arrays = {"colour": gl.vertex_array(program, content, index_buffer=self._index)}
        for name in ("shadow", "eye_depth"):
            self.arrays[name] = gl.vertex_array(
                programs[name], [(self._moving, "3f 12x", "xyz")], index_buffer=self._solid
            )

    def pose(self, vertices_m: np.ndarray, normals: np.ndarray) -> None:
        xyz = self.layer.positions(vertices_m, normals)
        ids = self.layer.ids
        n = normals[ids] if ids is not None and self.layer.kind in ("skin", "eye") else self._normals(xyz)
        data = np.ascontiguousarray(np.concatenate((xyz, n), axis=1, dtype=np.float32))
        self._moving.orphan()
        self._moving.write(data.tobytes())

    def release(self) -> None:
        for thing in (*self.arrays.values(), self._moving, self._still, self._index, self._solid):
            thing.release()


class PersonOnCard:
    """All layers of one person."""

    def __init__(
        self, gl: moderngl.Context, programs: dict[str, moderngl.Program], body: BodyModel, look: Appearance
    ) -> None:
        self._gl = gl
        self._normals = NormalSum(body.faces, len(body.v_template))
        a = Anatomy(body)
        rng = np.random.default_rng(look.seed)
        four = np.stack([textures.noise(rng, 256, s) for s in (1.0, 1.0, 1.2, 0.8)], axis=-1)
        four = np.clip(128 + 42 * four, 0, 255).astype(np.uint8)
        self._noise = gl.texture((256, 256), 4, four.tobytes())
        self._noise.build_mipmaps()
        self._noise.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        folds = np.stack([textures.noise(rng, 128, s) for s in (2.4, 2.0)], axis=-1)
        self._folds = gl.texture((128, 128), 2, folds.astype(np.float16).tobytes(), dtype="f2")
        mark = _mark(rng)
        self._chest = gl.texture((mark.shape[1], mark.shape[0]), 4, mark.tobytes())
        self._chest.repeat_x = self._chest.repeat_y = False
        self._chest.build_mipmaps()
        self._chest.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        eyes = np.stack([a.at["left_eye_smplhf"], a.at["right_eye_smplhf"]])
        radius = float(np.linalg.norm(a.at["left_eye"] - eyes[0]))
        chest = a.at["spine3"] + np.array([0, 0.02, 0])
        wide = float(rng.uniform(0.12, 0.26)) if rng.uniform() < 0.6 else 0.06
        shift = 0.0 if wide > 0.1 else 0.07
        common: dict[str, Any] = {
            "noise": 0, "chest": 1, "fold_map": 5, "oil": look.oil, "blemish": look.blemish,
            "eye_at": [tuple(e) for e in eyes], "eye_radius": radius,
            "chest_box": (chest[0] - wide / 2 + shift, chest[1] - wide / 2, 1 / wide, 1 / wide),
            "sock": (*look.sock, a.at["left_ankle"][1] + look.sock_m),
            "sole": (*look.sole, float(a.v[:, 1].min() + 0.022)),
        }  # fmt: skip
        self._common = common
        colours = paint(a, look)
        self._layers = []
        # Outer layers first: they hide most of the skin before it is shaded.
        for layer in reversed(dress(body, look)):
            own: dict[str, Any] = {"gloss": 0.1}
            if layer.cloth is not None:
                c = layer.cloth
                own |= {
                    "pattern": PATTERNS.index(c.pattern), "rgb": c.rgb, "rgb2": c.rgb2, "scale": c.scale_m,
                    "folds": c.folds, "gloss": c.gloss,
                    # Drapes hang, or bunch up across the limb.
                    "fold_scale": ((1.3, 0.5, 1.3), (0.8, 1.1, 0.8), (0.9, 0.8, 0.9))[rng.integers(3)],
                }  # fmt: skip
            elif layer.kind in ("hair", "eye"):
                own["rgb"] = look.hair if layer.kind == "hair" else look.iris
            elif layer.kind == "shoe":
                own |= {"rgb": look.shoes, "rgb2": look.trousers.rgb2}
            self._layers.append(_LayerOnCard(gl, programs, layer, colours, own))

    def pose(self, vertices_m: np.ndarray) -> None:
        """Upload the layers for body vertices (V, 3)."""
        normals = self._normals(vertices_m)
        for layer in self._layers:
            layer.pose(vertices_m, normals)

    def draw(self, name: str) -> None:
        """Draw with the program of this name: "colour", "shadow" or "eye_depth"."""
        if name == "colour":
            self._noise.use(0)
            self._chest.use(1)
            self._folds.use(5)
        for layer in self._layers:
            if name == "colour":
                for key, value in (self._common | layer.uniforms).items():
                    if key in layer.program:  # a driver drops what the shader does not use
                        layer.program[key] = value
                # Picture rows run downwards, so turns are mirrored.
                self._gl.front_face = "cw"
                self._gl.enable(moderngl.CULL_FACE)
                if layer.within:
                    self._gl.cull_face = "front"
                    layer.arrays[name].render(moderngl.TRIANGLES, vertices=layer.within)
                self._gl.cull_face = "back"
            layer.arrays[name].render(moderngl.TRIANGLES)
        self._gl.disable(moderngl.CULL_FACE)

    def release(self) -> None:
        """Free it."""
        for layer in self._layers:
            layer.release()
        self._noise.release()
        self._chest.release()
        self._folds.release()


def _mark(rng: np.random.Generator) -> np.ndarray:
    """(H, W, 4) uint8 linear print for the chest, with coverage."""
    picture = textures.poster(rng, 192, 192)
    alpha = np.zeros((192, 192), np.uint8)
    kind = rng.integers(3)
    if kind == 0:
        alpha[:] = 255
    elif kind == 1:
        cv2.circle(alpha, (96, 96), 92, 255, -1, cv2.LINE_AA)
    else:
        text = textures.print_letters(rng, 4)
        cv2.putText(alpha, text, (8, 115), cv2.FONT_HERSHEY_TRIPLEX, 2.2, 255, 7, cv2.LINE_AA)
    light = ((picture / 255.0) ** 2.2 * 255).astype(np.uint8)
    return np.ascontiguousarray(np.dstack((light, alpha)))
