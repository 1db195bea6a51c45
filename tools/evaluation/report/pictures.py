"""The worst frames of every method as pictures: the footage with truth and prediction, and both from the side."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ....models.errors import HmcapError
from ....realtime.sources import open_source
from ..records import TRUTH, Case, Prediction
from .plot_svg import Styles
from .result_records import SetResult
from .results import Key
from .stick_figures import draw_over, draw_view, draw_views, figures_of
from .table_rows import Measure

HEIGHT_PX = 340
_QUALITY = 80
_GAP_S = 1.0
"""Frames of one case that are nearer than this show the same failure; only the worst of them is shown."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One of the worst frames."""

    case: str
    kind: str
    """"picture and side", "views" (no footage) or "picture" (no position in space)."""
    caption: str
    """Case, frame and error, and the error of the other methods on the same frame."""
    text: str
    """What the picture shows, for those who cannot see it."""
    uri: str
    """The picture itself as a ``data:`` address."""
    width_px: int
    height_px: int


def worst_frames(found: SetResult, method: str, measure: Measure, count: int = 3) -> list[tuple[str, int]]:
    """Case and row of the worst frames of a method, the worst first: of each case the worst, so that one bad case does
    not hide the others; where there are fewer cases than ``count``, further frames that are not close together."""
    candidates = [
        (float(-v if measure.lower_is_better is False else v), case, row)
        for case, result in found.methods[method].cases.items()
        for row, v in enumerate(result.per_frame.get(measure.name, ()))
        if math.isfinite(v)
    ]
    ordered = [(case, row) for _, case, row in sorted(candidates, key=lambda c: (-c[0], c[1], c[2]))]
    worst_of_each = set({case: (case, row) for case, row in reversed(ordered)}.values())
    chosen = [frame for frame in ordered if frame in worst_of_each][:count]
    for case, row in ordered:
        if len(chosen) == count:
            break
        gap = max(1.0, _GAP_S * found.cases[case].fps)
        if all(other != case or abs(row - place) >= gap for other, place in chosen):
            chosen.append((case, row))
    return sorted(chosen, key=ordered.index)


def worst_pictures(
    found: SetResult,
    measure: Measure,
    styles: Styles,
    cases: Sequence[Case],
    predictions: Mapping[Key, Prediction],
    count: int = 3,
) -> tuple[dict[str, list[Picture]], list[str]]:
    """Pictures of the worst frames of every method of a set, and what kept footage from being shown.

    Args:
        cases, predictions: of this set; frames of others than these are left out.
    """
    by_name = {c.name: c for c in cases}
    wanted = {
        method: [
            (case, row)
            for case, row in worst_frames(found, method, measure, count)
            if case in by_name and (by_name[case].set_name, case, method) in predictions
        ]
        for method in found.methods
        if method != TRUTH
    }
    images: dict[tuple[str, int], np.ndarray] = {}
    problems: list[str] = []
    for name in sorted({case for frames in wanted.values() for case, _ in frames}):
        rows = sorted({row for frames in wanted.values() for case, row in frames if case == name})
        if by_name[name].footage is None:
            continue
        try:
            images |= {(name, row): image for row, image in read_rows(by_name[name], rows).items()}
        except HmcapError as err:
            problems.append(f"No footage of {name} in the pictures. {err}")
    pictures = {}
    for method, frames in wanted.items():
        made = (_picture(found, measure, styles, by_name[c], predictions, method, r, images.get((c, r)))
                for c, r in frames)  # fmt: skip
        pictures[method] = [p for p in made if p is not None]
    return pictures, problems


def read_rows(case: Case, rows: Iterable[int]) -> dict[int, np.ndarray]:
    """Pictures (H, W, 3) uint8 RGB of some rows of a case with footage, in the size of the case's camera.

    Raises:
        HmcapError: the footage cannot be read.
    """
    assert case.footage is not None
    source = case.footage.source
    wanted = {int(case.footage.index[row]): row for row in rows}
    found: dict[int, np.ndarray] = {}
    if source.is_dir():
        # Folders may hold thousands of large pictures; those in between need not be read.
        for index in wanted:
            with open_source(source, fps=1.0, start_s=max(0.0, index - 0.5), max_frames=1) as frames:
                found |= {wanted[f.index]: f.image_rgb for f in frames if f.index == index}
    else:
        with open_source(source, max_frames=max(wanted) + 1) as frames:
            for frame in frames:
                if frame.index in wanted:
                    found[wanted[frame.index]] = frame.image_rgb
                if frame.index >= max(wanted):
                    break
    size = case.camera.width_px, case.camera.height_px
    return {row: im if im.shape[1::-1] == size else cv2.resize(im, size) for row, im in found.items()}


def _picture(
    found: SetResult,
    measure: Measure,
    styles: Styles,
    case: Case,
    predictions: Mapping[Key, Prediction],
    method: str,
    row: int,
    image_rgb: np.ndarray | None,
) -> Picture | None:
    in_picture, scaled = measure.name.startswith("pck_"), measure.name.startswith("pa_")
    prediction = predictions[case.set_name, case.name, method]
    figures = figures_of(case, prediction, row, in_picture=in_picture, scaled=scaled)
    if figures is None:
        return None
    # Lighter than in the plots, since it is drawn on dark paper and dark pictures.
    red, green, blue = (round(0.75 * int(styles[method][0][k : k + 2], 16) + 64) for k in (1, 3, 5))
    colour = red, green, blue
    over = None if image_rgb is None else draw_over(image_rgb, figures, colour, HEIGHT_PX)
    if over is not None and figures.truth_m is not None:
        drawn = np.concatenate((over, draw_view(figures, colour, HEIGHT_PX, True)), axis=1)
        what = f"The picture with the true figure in white and that of {method} in its colour; beside it both from the "
        what += "side, the camera at the left."
        kind = "picture and side"
    elif over is not None:
        drawn, kind, what = (
            over,
            "picture",
            f"The picture with the true points in white and those of {method} in its colour.",
        )
    else:
        drawn, kind = draw_views(figures, colour, HEIGHT_PX), "views"
        what = f"The true figure in white and that of {method} in its colour, from the camera and from the side."
    if drawn is None:
        return None
    frame = int(case.index[row])
    values = {
        m: r.cases[case.name].per_frame.get(measure.name) for m, r in found.methods.items() if case.name in r.cases
    }
    errors = [
        f"{m} {measure.text(float(v[row]))}" + (f" {measure.unit}" if measure.unit else "")
        for m, v in sorted(values.items(), key=lambda item: item[0] != method)
        if v is not None and math.isfinite(v[row])
    ]
    place = f"{case.name}, frame {frame}" if case.frames > 1 else case.name
    caption = f"{place}: {measure.title} {', '.join(errors)}"
    return Picture(case.name, kind, caption, f"{caption}. {what}", _uri(drawn), drawn.shape[1], drawn.shape[0])


def _uri(image_rgb: np.ndarray) -> str:
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), options)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
