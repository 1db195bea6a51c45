"""COCO-WholeBody (Jin et al., ECCV 2020), validation: people in single pictures, 133 key points each.

Layout, as published: ``annotations/coco_wholebody_val_v1.0.json`` and ``val2017/<picture>.jpg``. An annotation carries
``keypoints`` (17 x 3: x, y, visibility), ``foot_kpts`` (6 x 3), ``lefthand_kpts`` and ``righthand_kpts`` (21 x 3), the
last three with ``foot_valid``, ``lefthand_valid``, ``righthand_valid``; a point counts where its visibility is over 0
and its part is valid. Protocol: every person with at least one labelled body point, crowds left out.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ....models.errors import HmcapError
from ..records import Case
from .keypoints import wholebody_case
from .reading import require_file, require_folder, still

_FILE = "annotations/coco_wholebody_val_v1.0.json"
_PARTS = (("foot", 6, slice(17, 23)), ("lefthand", 21, slice(91, 112)), ("righthand", 21, slice(112, 133)))


def load(folder: Path) -> Iterator[Case]:
    """One case for each person, in the order of the file."""
    file = require_file(folder / _FILE)
    try:
        content = json.loads(file.read_bytes())
        images = {image["id"]: image for image in content["images"]}
        annotations = content["annotations"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HmcapError(
            f"Expected images and annotations in {file}, found something else ({type(error).__name__}: "
            f"{str(error)[:150]}). Take the file as it is published."
        ) from error
    pictures = require_folder(folder / "val2017", "the pictures of COCO's validation split")
    for annotation in annotations:
        try:
            if annotation["iscrowd"] or not annotation["num_keypoints"]:
                continue
            image = images[annotation["image_id"]]
            name = f"{int(image['id']):012d}_{int(annotation['id'])}"
            picture, size = str(image["file_name"]), (int(image["width"]), int(image["height"]))
            points, box = _points(annotation), np.array(annotation["bbox"], np.float64).reshape(4)
        except (ValueError, TypeError, KeyError) as error:
            which = annotation.get("id", "?") if isinstance(annotation, dict) else "?"
            raise HmcapError(
                f"Expected image_id, bbox, keypoints, foot_kpts, lefthand_kpts and righthand_kpts in annotation "
                f"{which} of {file}, found something else ({type(error).__name__}: {str(error)[:150]}). Take the "
                "file as it is published."
            ) from error
        yield wholebody_case("coco-wholebody", name, still(pictures / picture), size, points, box)


def _points(annotation: dict[str, Any]) -> np.ndarray:
    """(133, 3); the face, which no proxy is in, stays unlabelled."""
    out = np.zeros((133, 3))
    out[:17] = np.array(annotation["keypoints"], np.float64).reshape(17, 3)
    for part, count, rows in _PARTS:
        if annotation[f"{part}_valid"]:
            out[rows] = np.array(annotation[f"{part}_kpts"], np.float64).reshape(count, 3)
    return out
