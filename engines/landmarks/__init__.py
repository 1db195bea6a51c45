"""The landmark stage: from an RGB frame to the 67 proxy joints of one person.

Works on the raw networks of MediaPipe's Holistic pipeline (Apache-2.0): pose_detection, pose_landmark, hand_recrop and
hand_landmark. The palm detector is not needed: the body landmarks say where the hands are. The face, where it is asked
for, takes the two networks of its Face Landmarker.
"""

from .opening import DEFAULT_MODELS, FACE_MODELS, MODULES
from .people import PeopleStage
from .stage import LandmarkStage, Sighting

__all__ = ["DEFAULT_MODELS", "FACE_MODELS", "MODULES", "LandmarkStage", "PeopleStage", "Sighting"]
