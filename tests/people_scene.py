"""A made-up scene for the tests of several people: coloured stick figures who walk, cross and hide each other, and
stand-in networks that see them."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import cv2
import numpy as np
from hmcap.engines.base import TensorSpec
from hmcap.engines.landmarks import LandmarkStage
from hmcap.engines.landmarks.networks import Body, Detection, Hand
from hmcap.engines.landmarks.people import PeopleStage
from hmcap.models.proxies import BLAZEPOSE_NAMES

WIDTH, HEIGHT, FPS = 960, 540, 30.0
RED, BLUE, GREEN = (200, 40, 40), (40, 60, 200), (40, 170, 60)
_UP = {"hip": 0.0, "shoulder": 0.5, "elbow": 0.3, "wrist": 0.1, "knee": -0.45, "ankle": -0.85, "heel": -0.9}
_OUT = {"hip": 0.1, "shoulder": 0.18, "elbow": 0.25, "wrist": 0.25, "knee": 0.1, "ankle": 0.1, "heel": 0.1}
_BONES = ((11, 12), (23, 24), (11, 23), (12, 24), (11, 13), (12, 14), (23, 25), (24, 26), (25, 27), (26, 28))


@dataclass
class Walker:
    """Somebody whose hips are at ``x_px(frame)``, None while away; the first of a scene walks in front."""

    x_px: object
    colour: tuple[int, int, int]
    radius_px: float = 150.0
    y_px: float = 280.0

    def points_px(self, frame: int) -> np.ndarray | None:
        """(33, 2) landmarks."""
        x = self.x_px(frame)  # pyright: ignore[reportCallIssue]
        if x is None:
            return None
        points = np.tile([x, self.y_px - 0.7 * self.radius_px], (33, 1))
        for row, name in enumerate(BLAZEPOSE_NAMES):
            side, _, joint = name.partition("_")
            if joint in _UP and side in ("left", "right"):
                out = _OUT[joint] * (1 if side == "left" else -1)
                points[row] = x + out * self.radius_px, self.y_px - _UP[joint] * self.radius_px
        return points


@dataclass
class Scene:
    """What the stand-in networks see, and the stage on them."""

    walkers: list[Walker]
    people: int = 2
    subject: str | int = "largest"
    frame: int = -1
    light: float = 1.0
    stage: PeopleStage = field(init=False)

    def __post_init__(self) -> None:
        def engine(name, outputs):
            return SimpleNamespace(
                backend="stand-in", device="none",
                inputs=(TensorSpec("image", (1, 8, 8, 3), np.dtype(np.float32)),),
                outputs=tuple(TensorSpec(f"{name}{i}", s, np.dtype(np.float32)) for i, s in enumerate(outputs)),
            )  # fmt: skip

        engines = {
            "pose_detection": engine("d", [(1, 2254, 12), (1, 2254, 1)]),
            "hand_recrop": _Recrop(),
        }
        first = LandmarkStage(
            engines,  # pyright: ignore[reportArgumentType]
            subject=self.subject,
            body=_BodyOf(self, engine("b", [(1,)])),  # pyright: ignore[reportArgumentType]
            hand=_NoHand(engine("h", [(1,)])),  # pyright: ignore[reportArgumentType]
        )
        first.detect = self.detect  # pyright: ignore[reportAttributeAccessIssue]
        self.stage = PeopleStage(first, self.people)

    def visible(self) -> list[tuple[Walker, np.ndarray]]:
        """Who can be seen: not those behind somebody else."""
        seen: list[tuple[Walker, np.ndarray]] = []
        for walker in self.walkers:
            points = walker.points_px(self.frame)
            if points is not None and all(abs(points[0, 0] - p[0, 0]) > 0.3 * walker.radius_px for _, p in seen):
                seen.append((walker, points))
        return seen

    def detect(self, image, region=None) -> list[Detection]:
        """Everybody in sight."""
        out = []
        for walker, points in self.visible():
            x, y, r = points[0, 0], walker.y_px, walker.radius_px
            out.append(Detection(0.9, np.array([x, y - r, x, y]), np.array([(x, y), (x, y - r), (x, y), (x, y)])))
        return out

    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 picture of the frame."""
        image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        for walker, points in reversed(self.visible()):
            colour = tuple(int(c * self.light) for c in walker.colour)
            torso = points[[11, 12, 24, 23]].round().astype(int)
            cv2.fillPoly(image, [torso], colour)
            at = points.round().astype(int).tolist()
            for a, b in _BONES:
                cv2.line(image, at[a], at[b], colour, 11)
        return image

    def step(self, frames: int = 1):
        """Proxies of each person in the next frame, and in the last of several."""
        for _ in range(frames):
            self.frame += 1
            out = self.stage(self.picture(), self.frame, self.frame / FPS)
        return out

    def who(self) -> list[int | None]:
        """For each person, the number of the walker they are in the next frame; None while absent."""
        out: list[int | None] = []
        for proxies in self.step():
            hips = [None if (p := w.points_px(self.frame)) is None else p[23:25].mean(0) for w in self.walkers]
            near = [k for k, p in enumerate(hips) if p is not None and np.linalg.norm(p - proxies.xy_px[8]) < 12]
            out.append((near[0] if near else -1) if proxies.present else None)
        return out


class _Recrop:
    backend, device = "stand-in", "none"
    inputs = (TensorSpec("image", (1, 8, 8, 3), np.dtype(np.float32)),)
    outputs = (TensorSpec("out", (1, 4), np.dtype(np.float32)),)

    def __call__(self, feeds):
        return {"out": np.array([[4, 4, 4, 6]], np.float32)}


@dataclass
class _NoHand:
    engine: object

    def __call__(self, image, roi):
        return Hand(0.0, 0.5, np.zeros((21, 2), np.float32), np.zeros((21, 3), np.float32), roi)


@dataclass
class _BodyOf:
    """Sees the nearest person in sight to the middle of the region, as a network does."""

    scene: Scene
    engine: object

    def __call__(self, image, roi) -> Body:
        near = sorted(self.scene.visible(), key=lambda pair: abs(pair[1][0, 0] - roi.x_px))
        found = bool(near) and abs(near[0][1][0, 0] - roi.x_px) < 0.5 * roi.size_px
        walker, points = near[0] if found else (Walker(None, RED), np.zeros((33, 2)))
        x, y = points[23:25].mean(0)
        aux = np.array([(x, y, 0), (x, y - walker.radius_px, 0)], float)
        sure = np.ones(33)
        return Body(0.9 if found else 0.0, points.astype(np.float32), sure, sure, np.zeros((33, 3)), aux, roi)
