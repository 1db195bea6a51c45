"""What stands in the viewer's world: floor, body, feet that touch, the camera with its picture, the way walked."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ...models.body import BodyModel
from ...models.markers import contact_rig
from ...models.motion import MotionFrame
from ...models.rotations import axis_angle_to_matrix, matrix_to_quaternion
from .skin import Remakes, Shapes, bone_poses, rest_bones, top_weights
from .view import FOV_RAD, front_view

if TYPE_CHECKING:
    import viser

PRESENT_RGB, HELD_RGB = (112, 164, 250), (242, 166, 72)
TOUCH_RGB, FREE_RGB = (74, 255, 150), (96, 108, 130)
PATH_RGB = np.array([[44, 70, 122], [122, 190, 255]], dtype=np.float64)
CAMERA_RGB = (255, 255, 255)
CONTACT_THRESHOLD = 0.5
HELD_OPACITY = 0.45
PATH_POINTS = 400
"""Most points of the line on the floor."""
PICTURE_SIDE_PX = 384
JPEG_QUALITY = 70
_PATH_Y_M, _MARK_Y_M = 0.006, 0.01


class Scene:
    """The world of one viewer. Every method may be called from any thread, but from one at a time."""

    def __init__(self, server: "viser.ViserServer", body: BodyModel) -> None:
        self._server, self._body = server, body
        self._shapes = Shapes(body)
        self._weights = top_weights(np.asarray(body.weights))
        self._meshes: list[viser.MeshSkinnedHandle] = []
        self._made = self._shapes.shaped
        self._remakes = Remakes()
        self._frustum: viser.CameraFrustumHandle | None = None
        self._lens: tuple[float, float] | None = None
        self._first: MotionFrame | None = None
        self._paths_m: np.ndarray | None = None
        scene = server.scene
        scene.set_up_direction("+y")
        scene.world_axes.visible = False
        scene.set_background_image(backdrop(), format="png")
        scene.configure_default_lights(True, cast_shadow=True)
        # No picture of a room as light: browsers without a fast graphics card take seconds to prepare one.
        scene.configure_environment_map(None)
        scene.add_light_hemisphere("/sky", sky_color=(210, 225, 255), ground_color=(70, 76, 92), intensity=1.6)
        scene.add_light_directional("/light", color=(255, 244, 230), intensity=1.3, position=(2.0, 4.0, 5.0))
        scene.add_grid(
            "/floor", plane="xz", infinite_grid=True, cell_size=0.25, cell_color=(48, 56, 72), cell_thickness=0.7,
            section_size=1.0, section_color=(84, 97, 122), section_thickness=1.1, fade_distance=16.0,
            fade_strength=1.6, shadow_opacity=0.45,
        )  # fmt: skip
        self._marks = tuple(
            scene.add_line_segments(
                f"/feet/{name}", ring(), FREE_RGB, thickness=0.016, visible=False
            )
            for name in contact_rig(body).names
        )  # fmt: skip
        self._touching = [False] * len(self._marks)
        self._path = scene.add_line_segments(
            "/path", np.zeros((1, 2, 3), np.float32), np.zeros((1, 2, 3), np.uint8), thickness=0.014, visible=False
        )
        server.initial_camera.fov = FOV_RAD
        server.initial_camera.position, server.initial_camera.look_at = (1.6, 1.7, 4.4), (0.0, 0.95, 0.0)
        server.on_client_connect(self.face)

    def show(self, motion: MotionFrame, jpeg: bytes | None = None) -> None:
        """Move everything to one frame, and put its picture (JPEG) into the camera where one is given."""
        if not motion.present and self._first is None:
            return  # nobody was seen yet, so there is no pose to hold
        newly = self._first is None
        if newly:
            self._first = motion
        with self._server.atomic():
            self._pose(motion)
            self._camera(motion)
            if jpeg is not None:
                self.show_picture(jpeg)
        if newly:
            self.face_all()

    def _pose(self, motion: MotionFrame) -> None:
        colour, opacity = (PRESENT_RGB, None) if motion.present else (HELD_RGB, HELD_OPACITY)
        self._shapes.update(motion.betas)
        if not self._meshes or self._remakes.due(self._shapes.shaped, self._made):
            self._make_mesh(colour, opacity)
        mesh = self._meshes[-1]
        if mesh.opacity != opacity:
            mesh.color, mesh.opacity = colour, opacity
        posed = self._shapes.shaped.with_pose(np.asarray(motion.poses), np.asarray(motion.trans_m))
        bones = bone_poses(posed)
        for bone, wxyz, position in zip(mesh.bones, bones.wxyz, bones.positions_m, strict=True):
            bone.wxyz, bone.position = wxyz, position
        feet_m = contact_rig(self._body).in_world_m(posed)
        for i, (mark, at) in enumerate(zip(self._marks, feet_m, strict=True)):
            touches = bool(motion.contact[i] > CONTACT_THRESHOLD) and motion.present
            mark.position = (float(at[0]), _MARK_Y_M, float(at[2]))
            if touches != self._touching[i] or not mark.visible:
                self._touching[i], mark.visible = touches, True
                mark.colors = np.array(TOUCH_RGB if touches else FREE_RGB, np.uint8)
                mark.scale = 1.0 if touches else 0.55

    def _make_mesh(self, colour: tuple[int, int, int], opacity: float | None) -> None:
        """The flesh of the present shape, in place of that which is shown."""
        self._made = self._shapes.shaped
        rest = rest_bones(self._made)
        # The old one is hidden, never removed: viser 1.1.1's page fails over the bones of a skinned mesh that goes.
        for old in self._meshes[-1:]:
            old.visible = False
        self._meshes.append(
            self._server.scene.add_mesh_skinned(
                f"/body-{len(self._meshes)}", np.asarray(self._made.vertices_m()), self._body.faces,
                bone_wxyzs=rest.wxyz, bone_positions=rest.positions_m, skin_weights=self._weights, color=colour,
                opacity=opacity,
            )
        )  # fmt: skip

    def _camera(self, motion: MotionFrame) -> None:
        lens = motion.camera
        fov, aspect = 2 * np.arctan2(lens.height_px / 2, lens.fy_px), lens.width_px / lens.height_px
        R_world_cam = motion.T_cam_world[:3, :3].T
        if self._frustum is None or self._lens != (fov, aspect):
            self._lens = (fov, aspect)
            self._frustum = self._server.scene.add_camera_frustum(
                "/camera", float(fov), float(aspect), scale=0.24, thickness=0.005, color=CAMERA_RGB,
                cast_shadow=False, receive_shadow=False,
            )  # fmt: skip
        self._frustum.wxyz = matrix_to_quaternion(R_world_cam)
        self._frustum.position = -R_world_cam @ motion.T_cam_world[:3, 3]

    def show_picture(self, jpeg: bytes | None) -> None:
        """Put a picture (JPEG) into the camera, or take it out."""
        if self._frustum is not None:
            # Encoded here already, so that a picture is encoded once and can be kept.
            self._frustum._format = "jpeg"
            self._frustum._image_data = jpeg

    def show_path(self, pelvis_m: np.ndarray) -> None:
        """Draw the way walked, (T, 3), on the floor; the newest part is the brightest."""
        if len(pelvis_m) < 2:
            return
        kept = pelvis_m[np.unique(np.linspace(0, len(pelvis_m) - 1, PATH_POINTS).round().astype(int))].copy()
        kept[:, 1] = _PATH_Y_M
        age = np.linspace(0, 1, len(kept))[:, None]
        colours = ((1 - age) * PATH_RGB[0] + age * PATH_RGB[1]).astype(np.uint8)
        self._path.points = np.stack([kept[:-1], kept[1:]], axis=1).astype(np.float32)
        self._path.colors = np.stack([colours[:-1], colours[1:]], axis=1)
        self._path.visible = True

    def frame_whole(self, first: MotionFrame, pelvis_m: np.ndarray) -> None:
        """Look at all of the way (T, 3) of a finished take from now on, from the front of ``first``."""
        self._first, self._paths_m = first, pelvis_m
        self._remakes.at_once()
        self.face_all()

    def face(self, client: "viser.ClientHandle", turn_rad: float = 0.0) -> None:
        """Turn one client's view to the front of the person, or further around."""
        if self._first is None:
            return
        root_m = np.asarray(self._shapes.shaped.joints_m)[0] + self._first.trans_m
        paths_m = root_m[None] if self._paths_m is None else self._paths_m
        facing = axis_angle_to_matrix(np.asarray(self._first.poses)[0]) @ np.array([0, 0, 1.0])
        view = front_view(paths_m, facing, self._first.T_cam_world, max(0.2, client.camera.aspect), turn_rad)
        with client.atomic():
            client.camera.fov = FOV_RAD
            client.camera.up_direction = (0.0, 1.0, 0.0)
            client.camera.position, client.camera.look_at = view.position_m, view.look_at_m

    def face_all(self) -> None:
        """The same for every client."""
        for client in self._server.get_clients().values():
            self.face(client)

    def see_as_camera(self, client: "viser.ClientHandle") -> None:
        """Look through the camera of the footage."""
        if self._frustum is None or self._lens is None:
            return
        R = axis_angle_to_matrix(np.zeros(3)) if self._first is None else self._first.T_cam_world[:3, :3].T
        position = np.asarray(self._frustum.position)
        with client.atomic():
            client.camera.fov = float(self._lens[0])
            client.camera.position = position
            client.camera.look_at = position + R @ np.array([0, 0, 3.0])


def small_jpeg(image_rgb: np.ndarray, side_px: int = PICTURE_SIDE_PX) -> bytes:
    """The picture (H, W, 3) uint8 with a longer side of at most ``side_px``, as JPEG."""
    height, width = image_rgb.shape[:2]
    factor = min(1.0, side_px / max(height, width))
    if factor < 1:
        # Two steps: dropping rows first costs nothing, and averaging 4K down would cost more than all else here.
        step = max(1, int(0.5 / factor))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image_rgb = cv2.resize(np.ascontiguousarray(image_rgb[::step, ::step]), size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def ring(radius_m: float = 0.085, corners: int = 28) -> np.ndarray:
    """(corners, 2, 3) line segments of a circle on the floor around the origin."""
    angle = np.linspace(0, 2 * np.pi, corners + 1)
    points = np.stack([np.cos(angle), np.zeros(corners + 1), np.sin(angle)], axis=1) * radius_m
    return np.stack([points[:-1], points[1:]], axis=1).astype(np.float32)


def backdrop() -> np.ndarray:
    """(256, 4, 3) uint8: a dark sky that is lighter at the horizon."""
    t = np.linspace(0, 1, 256)[:, None]
    top, middle, foot = (np.array(c, dtype=np.float64) for c in ((17, 20, 28), (38, 46, 63), (20, 24, 33)))
    upper = top + (middle - top) * np.clip(t / 0.45, 0, 1) ** 1.5
    colour = upper + (foot - middle) * np.clip((t - 0.45) / 0.4, 0, 1)
    return np.repeat(np.clip(colour, 0, 255).astype(np.uint8)[:, None], 4, axis=1)
