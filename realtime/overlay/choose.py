"""Which renderer draws, chosen openly."""

from ...models.errors import HmcapError, UsageError
from .drawn import DrawnRenderer
from .gl import GLRenderer, NoGLError
from .mesh import MeshRenderer

RENDERERS = ("auto", "gl", "drawn")


def open_renderer(choice: str = "auto") -> MeshRenderer:
    """Open a mesh renderer; its ``description`` says what it is and, where it is the slower one, why.

    Args:
        choice: ``gl`` insists on OpenGL, ``drawn`` needs none, ``auto`` takes OpenGL where a context comes up.

    Raises:
        HmcapError: ``gl`` was asked for and no context comes up.
        UsageError: unknown choice.
    """
    if choice not in RENDERERS:
        raise UsageError(f"The renderer is one of {', '.join(RENDERERS)}; found {choice!r}.")
    if choice == "drawn":
        return DrawnRenderer("as asked")
    try:
        return GLRenderer()
    except NoGLError as err:
        if choice == "gl":
            raise HmcapError(
                f"Expected an OpenGL 3.3 context for the overlay, but none comes up ({err}). Install a driver with EGL "
                "(on Debian: apt install libegl1 libgl1-mesa-dri), or draw without: choose the renderer 'drawn'."
            ) from err
        return DrawnRenderer(f"no GL context: {err}")
