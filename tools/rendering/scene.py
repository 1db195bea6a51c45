"""What is in a scene: the person, the things around, the light. Everything in the world: metres, Y up, floor y = 0."""

from dataclasses import dataclass

from ...models.body_stages import BodyModel
from .appearance import Appearance
from .light import Light
from .meshes import Mesh
from .surroundings import Surroundings


@dataclass(frozen=True, slots=True, eq=False)
class Occluder:
    """A thing put somewhere by whoever arranges the scene, to stand in the way or just to be there."""

    mesh: Mesh
    """In the axes of the thing: it stands on y = 0 around the origin."""
    at_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """World place of the thing's origin."""
    turn_rad: float = 0.0
    """Turn about +Y."""

    def in_world(self) -> Mesh:
        """The mesh where it stands."""
        return self.mesh.moved(self.at_m, self.turn_rad)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything that does not change from frame to frame."""

    body: BodyModel
    """Numpy body whose mesh is drawn; ``draw`` takes posed vertices of any betas."""
    appearance: Appearance
    surroundings: Surroundings
    light: Light
    occluders: tuple[Occluder, ...] = ()
