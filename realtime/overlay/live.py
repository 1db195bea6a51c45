"""The picture of a capture while it runs: the frame with what was found in it."""

import numpy as np

from ...models.motion import MotionFrame
from ...models.proxies import Proxies
from .figure import Figure
from .mesh import MeshRenderer
from .skeleton import draw_contact, draw_proxies, draw_skeleton


def live_picture(
    image_rgb: np.ndarray,
    proxies: Proxies,
    motion: MotionFrame | None,
    figure: Figure,
    renderer: MeshRenderer | None = None,
) -> np.ndarray:
    """A picture (H, W, 3) uint8, perhaps a scaled frame, with landmarks and skeleton, or the mesh where there is a
    renderer, and with ground contact; the picture itself where nobody is in view."""
    someone = motion is not None and motion.present
    if proxies.present and not (renderer is not None and someone):
        image_rgb = draw_proxies(image_rgb, proxies, bones=False)
    if motion is None or not motion.present:
        return image_rgb
    height, width = image_rgb.shape[:2]
    camera, T = motion.camera.scaled_to(width, height), motion.T_cam_world
    posed = figure.pose(motion, skin=renderer is not None)
    if renderer is not None:
        image_rgb = renderer.render(image_rgb, posed.vertices_m, figure.faces, T, camera)
    else:
        image_rgb = draw_skeleton(image_rgb, posed.joints_m, T, camera)
    return draw_contact(image_rgb, posed.foot_points_m, motion.contact, T, camera)
