"""A window on the desktop that shows pictures, on GLFW and OpenGL 3.3. It knows nothing of capture.

Windows belong to the main thread: macOS allows no other.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import glfw
import moderngl
import numpy as np

ESCAPE = "\x1b"
"""What :meth:`Screen.keys` gives for the Escape key; every other key is the letter that it types."""
_PROBE_S = 30.0
_BEHIND = (0.09, 0.09, 0.10)
_READABLE = 800
"""Longer side that a window opens with at least, on an ordinary display."""

_VERTEX = """
#version 330
uniform vec4 box;   // left, top, width, height; 0..1 of the window, y down
in vec2 corner;
out vec2 at;
void main() {
    vec2 p = box.xy + corner * box.zw;
    gl_Position = vec4(2.0 * p.x - 1.0, 1.0 - 2.0 * p.y, 0.0, 1.0);
    at = corner;
}
"""
_FRAGMENT = """
#version 330
uniform sampler2D picture;
in vec2 at;
out vec4 pixel;
void main() { pixel = texture(picture, at); }
"""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """A small drawing over the picture, pixel for pixel."""

    rgba: np.ndarray
    """(H, W, 4) uint8; the last is coverage."""
    x_px: int
    """Left edge in the window's pixels, from the left."""
    y_px: int
    """Upper edge, from the top."""


def why_no_screen() -> str:
    """Why no window can be opened here, in words; empty where one can.

    It is tried in a process of its own: some window systems and drivers end the process that asks in vain.
    """
    if sys.platform.startswith("linux") and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        return "there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    if threading.current_thread() is not threading.main_thread():
        return "a window can be opened by the main thread only"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import try_screen; try_screen()"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"},
            capture_output=True, text=True, errors="replace", timeout=_PROBE_S, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"the window system did not answer within {_PROBE_S:.0f} s"
    except OSError as error:
        return f"a window could not be tried: {error.strerror or error}"
    last = (tried.stdout.strip().splitlines() or [""])[-1]
    if last == "open" or last.startswith("no: "):
        return last.removeprefix("no: ").removeprefix("open")
    said = (tried.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return f"the window system ended the process that tried (code {tried.returncode}: {said})"


def try_screen() -> None:
    """Open a window that nobody sees and print ``open``, or ``no: `` and the reason."""
    try:
        Screen("hmcap", 320, 240, visible=False).close()
    except NoScreenError as error:
        print(f"no: {error}")
    else:
        print("open")


class NoScreenError(Exception):
    """No window can be shown, or no longer; the text says why."""


class Screen:
    """One open window. Main thread only.

    Args:
        title: text of the title bar.
        width_px, height_px: shape to open with; made smaller to fit the desktop.
        visible: False for trying.

    Raises:
        NoScreenError: no display, or no OpenGL 3.3 on it.
    """

    def __init__(self, title: str, width_px: int, height_px: int, *, visible: bool = True) -> None:
        glfw.ERROR_REPORTING = "exception"
        self._window: Any = None
        self._keys: list[str] = []
        self._drawn: tuple[np.ndarray | None, tuple[Panel, ...]] = (None, ())
        self._textures: dict[int, tuple[moderngl.Texture, np.ndarray]] = {}
        try:
            # macOS: by default GLFW would change the folder that takes are written to.
            glfw.init_hint(glfw.COCOA_CHDIR_RESOURCES, False)
            glfw.init()
            self._window = self._open(title, width_px, height_px, visible)
            loader: Any = _Loader(self._window)
            self.context = moderngl.create_context(require=330, context=loader)
            self.description = str(self.context.info["GL_RENDERER"]).split(" (")[0]
            """What draws: the name of the graphics card, or of a software driver."""
            self._program = self.context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
            corners = self.context.buffer(np.array([0, 0, 1, 0, 0, 1, 1, 1], np.float32).tobytes())
            self._quad = self.context.vertex_array(self._program, [(corners, "2f", "corner")])
        except glfw.GLFWError as error:
            self.close()
            raise NoScreenError(_words(error)) from error
        except Exception as error:  # glcontext raises plain Exception, ValueError and RuntimeError alike
            self.close()
            raise NoScreenError(f"no OpenGL 3.3: {str(error).strip() or type(error).__name__}") from error

    def _open(self, title: str, width_px: int, height_px: int, visible: bool) -> Any:
        hints = {
            glfw.CONTEXT_VERSION_MAJOR: 3, glfw.CONTEXT_VERSION_MINOR: 3, glfw.OPENGL_FORWARD_COMPAT: True,
            glfw.OPENGL_PROFILE: glfw.OPENGL_CORE_PROFILE, glfw.VISIBLE: visible, glfw.DEPTH_BITS: 0,
        }  # fmt: skip
        for hint, value in hints.items():
            glfw.window_hint(hint, value)
        window = glfw.create_window(*_opening_size(width_px, height_px), title, None, None)
        glfw.make_context_current(window)
        # Wayland never tears, and there a swap that waits would wait for ever while the window is covered.
        glfw.swap_interval(0 if glfw.get_platform() == glfw.PLATFORM_WAYLAND else 1)
        glfw.set_window_size_limits(window, 240, 180, glfw.DONT_CARE, glfw.DONT_CARE)
        glfw.set_char_callback(window, lambda _, code: self._keys.append(chr(code)))
        glfw.set_key_callback(window, self._on_key)
        # While the user drags an edge some systems call nothing but this.
        glfw.set_window_refresh_callback(window, lambda _: self._present())
        glfw.set_framebuffer_size_callback(window, lambda *_: self._present())
        return window

    def _on_key(self, window: Any, key: int, code: int, action: int, mods: int) -> None:
        if key == glfw.KEY_ESCAPE and action == glfw.PRESS:
            self._keys.append(ESCAPE)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the inside of the window in real pixels, which a dense display has more of."""
        width, height = glfw.get_framebuffer_size(self._window)
        return max(1, width), max(1, height)

    @property
    def scale(self) -> float:
        """How many pixels of this display take the place of one on an ordinary display."""
        return max(1.0, glfw.get_window_content_scale(self._window)[0])

    def keys(self) -> list[str]:
        """What was typed since the last call, letter by letter; :data:`ESCAPE` also for the close button.

        Raises:
            NoScreenError: the window system has gone.
        """
        try:
            glfw.poll_events()
            if glfw.window_should_close(self._window):
                glfw.set_window_should_close(self._window, False)
                self._keys.append(ESCAPE)
        except glfw.GLFWError as error:
            raise NoScreenError(_words(error)) from error
        keys, self._keys = self._keys, []
        return keys

    def show(self, image_rgb: np.ndarray | None, panels: Sequence[Panel] = ()) -> None:
        """Show a picture (H, W, 3) uint8, as large as fits, and panels over the window. Waits for the display.

        Raises:
            NoScreenError: the window system or the graphics driver has gone.
        """
        self._drawn = image_rgb, tuple(panels)
        try:
            self._present()
        except (glfw.GLFWError, moderngl.Error) as error:
            raise NoScreenError(_words(error)) from error

    def read(self) -> np.ndarray:
        """(H, W, 3) uint8: the pixels of what was shown last."""
        # Drawn anew: after the swap nobody knows what the hidden half of the window's memory holds.
        self._paint()
        width, height = self.size_px
        raw = self.context.screen.read(viewport=(0, 0, width, height), components=3, alignment=1)
        return np.frombuffer(raw, np.uint8).reshape(height, width, 3)[::-1]

    def close(self) -> None:
        """Close the window; once is enough."""
        window, self._window = self._window, None
        with contextlib.suppress(glfw.GLFWError):  # a window system that has gone closed it already
            if window is not None:
                glfw.destroy_window(window)
            glfw.terminate()

    def _present(self) -> None:
        if self._window is not None and not glfw.get_window_attrib(self._window, glfw.ICONIFIED):
            self._paint()
            glfw.swap_buffers(self._window)

    def _paint(self) -> None:
        image, panels = self._drawn
        width, height = self.size_px
        screen = self.context.screen
        screen.use()
        screen.viewport = (0, 0, width, height)
        self.context.enable_only(moderngl.NOTHING)
        self.context.clear(*_BEHIND, viewport=(0, 0, width, height))
        if image is not None:
            self._draw(0, image, letterbox(image.shape[1], image.shape[0], width, height), (width, height))
        self.context.enable(moderngl.BLEND)
        self.context.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
        for slot, panel in enumerate(panels, 1):
            box = (panel.x_px, panel.y_px, panel.rgba.shape[1], panel.rgba.shape[0])
            self._draw(slot, panel.rgba, box, (width, height))

    def _draw(self, slot: int, image: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]) -> None:
        self._texture(slot, image).use(0)
        self._program["box"] = (box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1])
        self._quad.render(moderngl.TRIANGLE_STRIP)

    def _texture(self, slot: int, image: np.ndarray) -> moderngl.Texture:
        """The picture on the graphics card, kept while the same one is shown again."""
        shape = (image.shape[1], image.shape[0])
        texture, held = self._textures.get(slot, (None, None))
        if texture is None or texture.size != shape or texture.components != image.shape[2]:
            if texture is not None:
                texture.release()
            texture, held = self.context.texture(shape, image.shape[2], alignment=1), None
            texture.filter = moderngl.LINEAR, moderngl.LINEAR
            texture.repeat_x = texture.repeat_y = False
        if held is not image:
            texture.write(np.ascontiguousarray(image).tobytes(), alignment=1)
            self._textures[slot] = texture, image
        return texture


class _Loader:
    """Hands GLFW's context to moderngl, whatever window system it is on."""

    def __init__(self, window: Any) -> None:
        self._window = window

    def load_opengl_function(self, name: str) -> int:
        """Address of an OpenGL function, 0 where there is none."""
        address: Any = glfw.get_proc_address(name)
        return address or 0

    def __enter__(self) -> None:
        glfw.make_context_current(self._window)

    def __exit__(self, *_: object) -> None:
        """The window's context stays the current one."""

    def release(self) -> None:
        """GLFW ends the context together with the window."""


def letterbox(width_px: int, height_px: int, into_w_px: int, into_h_px: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) of the largest middle place for a picture that keeps its shape."""
    factor = min(into_w_px / width_px, into_h_px / height_px)
    width, height = max(1, round(width_px * factor)), max(1, round(height_px * factor))
    return (into_w_px - width) // 2, (into_h_px - height) // 2, width, height


def _opening_size(width_px: int, height_px: int) -> tuple[int, int]:
    """The picture's shape, large enough to read in and small enough for the desktop."""
    factor = max(1.0, _READABLE / max(width_px, height_px))
    monitor = glfw.get_primary_monitor()
    if monitor is not None:
        # macOS and Wayland count in units of an ordinary display, the others in real pixels.
        if glfw.get_platform() not in (glfw.PLATFORM_COCOA, glfw.PLATFORM_WAYLAND):
            factor *= max(1.0, glfw.get_monitor_content_scale(monitor)[0])
        _, _, room_w, room_h = glfw.get_monitor_workarea(monitor)
        if room_w > 0 and room_h > 0:
            factor = min(factor, 0.85 * room_w / width_px, 0.85 * room_h / height_px)
    return max(240, round(width_px * factor)), max(180, round(height_px * factor))


def _words(error: Exception) -> str:
    """What GLFW says, without its number."""
    text = str(error.args[-1] if error.args else error)
    text = text.split(") ", 1)[-1] if text.startswith("(") else text
    return text.removeprefix("b'").strip().strip("'.") or type(error).__name__
