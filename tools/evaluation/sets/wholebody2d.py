"""People of COCO-WholeBody in single pictures: key points of body, feet and hands.

Layout of the folder: ``truth.npz`` with ``files`` (N,), ``keypoints_133`` (N, 133, 3) as x, y and COCO's visibility,
``bbox_xywh_px`` (N, 4); and the pictures by those names. A picture with several people has several rows.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..records import Case
from .keypoints import wholebody_case
from .reading import read_npz, size_and_rate, still

_SHAPES = {"files": ("N",), "keypoints_133": ("N", 133, 3), "bbox_xywh_px": ("N", 4)}


def load(folder: Path) -> Iterator[Case]:
    """One case for each person."""
    data = read_npz(folder / "truth.npz", _SHAPES, texts=("files",))
    people = Counter[str]()
    for i, name in enumerate(data["files"]):
        footage = still(folder / str(name))
        width, height, _ = size_and_rate(footage.source)
        people[str(name)] += 1
        yield wholebody_case(
            "wholebody2d",
            f"{footage.source.stem}_{people[str(name)]}",
            footage,
            (width, height),
            data["keypoints_133"][i],
            data["bbox_xywh_px"][i],
        )
