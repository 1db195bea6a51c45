"""Are rendered people as easy to find as real ones? The landmark networks' success on rendered and on real footage.

    python -m hmcap.tools.rendering.realism RENDERED --data DATA [--cache FOLDER]

RENDERED is a folder of rendered clips; DATA holds the real sets of the evaluation (gt/balance_beam, gt/stills_3d,
gt/stills_wholebody_2d) and, for detection alone, clips/ without truth. What is missing is left out and said.

The error of a key point is its distance from the truth over the size of the person in the picture (the longer side of
the box around the true body key points), in per cent. Truth of real sets means other points of hips, shoulders and
ankles than ours; so every error is given twice, the second time less the mean difference of that joint over a span of
two seconds, which leaves what the networks get wrong and takes out what is merely another definition.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...models.camera import Camera
from ...models.errors import HmcapError
from ...models.proxies import BODY, LEFT_HAND, PROXY_NAMES, RIGHT_HAND, Proxies
from ...realtime.sources import open_source
from ..evaluation.methods.landmarks import Landmarks
from ..evaluation.records import Case, Footage, Motion3D
from ..evaluation.sets.registry import SETS, SetMissing
from .render import SCENE
from .truth import VISIBLE, read_truth

SPAN_S = 2.0
"""Time over which the mean difference of a joint is taken out."""
GROUPS = {
    "face": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    "shoulder": ("left_shoulder", "right_shoulder"),
    "elbow": ("left_elbow", "right_elbow"),
    "wrist": ("left_wrist", "right_wrist"),
    "hip": ("left_hip", "right_hip"),
    "knee": ("left_knee", "right_knee"),
    "ankle": ("left_ankle", "right_ankle"),
    "heel": ("left_heel", "right_heel"),
    "toe": ("left_big_toe", "right_big_toe"),
    "hand": PROXY_NAMES[LEFT_HAND.start : RIGHT_HAND.stop],
}
"""Key points whose errors are gathered together."""
_BODY = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PCK_PERCENT = 5.0
"""A key point counts as right within this much of the person's size."""
HAND_LEAST_PX = 16.0
"""Hands smaller than this (longer side of the box around the true points) are not expected to be found."""
_HAND_VISIBLE = 14
"""A hand of which so many of 21 points are visible is expected to be found."""
_CLIPS = (
    "dance.mp4", "aerobics_jumps.mp4", "tennis.mp4", "turnaround_a.mp4", "chair_squats.mp4", "lateral_raise.mp4",
    "squats_5fps.mp4", "high_knees_backlit.mp4",
)  # fmt: skip
"""Real clips with one person in the picture most of the time."""
_CLIP_FRAMES = 200
LARGE_PX = 400
"""Size of a person whose hands have 45 pixels or so: below, the networks miss hands for want of pixels."""


@dataclass(slots=True)
class Sums:
    """What was seen of one kind of footage."""

    frames: int = 0
    """Frames in which at least half of the person's body is in the picture."""
    persons: int = 0
    """Of these, with the person found."""
    hands: int = 0
    """Hands that are visible and large enough, where the truth says so."""
    hands_found: int = 0
    person_frames: int = 0
    """Frames with a person found."""
    any_hands: int = 0
    """Hands found in these, whether or not they are visible (two a frame would be all)."""
    large_frames: int = 0
    """Frames with a person found who is at least LARGE_PX large by the landmarks themselves."""
    large_hands: int = 0
    """Hands found in these."""
    raw: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """Errors by group, per cent of the person's size."""
    centred: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """The same less the mean difference of each joint."""


def add_case(sums: Sums, case: Case, proxies: Sequence[Proxies], visible: np.ndarray | None) -> None:
    """Count one case. proxies: of every frame of the footage. visible: (T, 67) where the truth knows it."""
    index = np.arange(len(proxies)) if case.footage is None else case.footage.index
    rows = [proxies[int(i)] for i in index]
    present = np.array([p.present for p in rows])
    seen = np.stack([p.confidence for p in rows]) > 0
    hands = np.stack([seen[:, LEFT_HAND].any(1), seen[:, RIGHT_HAND].any(1)], axis=1)
    sums.person_frames += int(present.sum())
    sums.any_hands += int(hands[present].sum())
    large = present & (_found_size_px(rows) >= LARGE_PX)
    sums.large_frames += int(large.sum())
    sums.large_hands += int(hands[large].sum())
    if case.truth.keypoints_px is None:
        sums.frames += len(rows)
        sums.persons += int(present.sum())
        return
    truth, counts = _on_proxies(case.truth)
    body = [PROXY_NAMES.index(n) for g in _BODY for n in GROUPS[g]]
    known = np.isfinite(truth[:, body]).all(-1)
    shown = (counts[:, body].sum(1) >= 0.5 * len(body)) & np.any(known, axis=-1)
    sums.frames += int(shown.sum())
    sums.persons += int((present & shown).sum())
    if visible is not None:
        for side, part in enumerate((LEFT_HAND, RIGHT_HAND)):
            size = np.ptp(truth[:, part], axis=1).max(-1)
            clear = shown & ((visible[:, part] == VISIBLE).sum(1) >= _HAND_VISIBLE) & (size >= HAND_LEAST_PX)
            sums.hands += int(clear.sum())
            sums.hands_found += int((clear & hands[:, side]).sum())
    labelled = np.where(counts[..., None], truth, np.nan)[:, body]
    usable = np.any(np.isfinite(labelled).all(-1), axis=-1)
    size = np.full(len(rows), np.nan)
    size[usable] = (np.nanmax(labelled[usable], axis=1) - np.nanmin(labelled[usable], axis=1)).max(-1)
    found = np.stack([p.xy_px for p in rows]).astype(np.float64)
    right = seen & counts & present[:, None]
    if visible is not None:
        right &= visible == VISIBLE
    apart = np.where(right[..., None], found - truth, np.nan) / size[:, None, None] * 100
    span = max(1, round(SPAN_S * case.fps)) if case.fps > 0 else 0
    for name, members in GROUPS.items():
        columns = [PROXY_NAMES.index(n) for n in members]
        part = apart[:, columns]
        errors = np.linalg.norm(part, axis=-1)
        sums.raw.setdefault(name, []).append(errors[np.isfinite(errors)])
        for begin in range(0, len(part), span) if span else ():
            piece = part[begin : begin + span]
            enough = np.isfinite(piece[..., 0]).sum(0) >= max(5, span // 4)
            if enough.any():
                piece = piece[:, enough]
                left = np.linalg.norm(piece - np.nanmean(piece, axis=0), axis=-1)
                sums.centred.setdefault(name, []).append(left[np.isfinite(left)])


def _found_size_px(rows: Sequence[Proxies]) -> np.ndarray:
    """(T,) longer side of the box around the body landmarks that were found, 0 where there are none."""
    boxes = (p.xy_px[BODY][p.confidence[BODY] > 0] for p in rows)
    return np.array([float(np.ptp(xy, axis=0).max()) if len(xy) else 0.0 for xy in boxes])


def _on_proxies(truth: Motion3D) -> tuple[np.ndarray, np.ndarray]:
    """(T, 67, 2) true pixels, NaN where the set has no such point, and (T, 67) bool whether it counts."""
    px = np.asarray(truth.keypoints_px, np.float64)
    confidence = truth.keypoint_confidence
    out, counts = np.full((len(px), len(PROXY_NAMES), 2), np.nan), np.zeros((len(px), len(PROXY_NAMES)), bool)
    for k, name in enumerate(truth.keypoint_names):
        if name in PROXY_NAMES:
            out[:, PROXY_NAMES.index(name)] = px[:, k]
            good = np.isfinite(px[:, k]).all(-1)
            counts[:, PROXY_NAMES.index(name)] = good if confidence is None else good & (confidence[:, k] > 0)
    return out, counts


def real_cases(data: Path) -> Iterator[tuple[str, Case]]:
    """Kind and case of real footage under the data folder; a set that is not there is skipped with a line."""
    for name in ("beam", "stills3d", "wholebody2d"):
        try:
            for case in SETS[name].load(data / SETS[name].relative):
                yield "beam" if name == "beam" else "stills", case
        except SetMissing as error:
            print(f"left out: {error}", file=sys.stderr)
    for name in _CLIPS:
        path = data / "clips" / name
        if not path.is_file():
            print(f"left out: {path} is not there", file=sys.stderr)
            continue
        with open_source(str(path)) as source:
            count = sum(1 for _, _ in zip(source, range(_CLIP_FRAMES), strict=False))
            camera = Camera.from_fov(source.width_px, source.height_px, 55.0)
            fps = source.fps
        yield "clips", Case("clips", path.stem, fps, camera, Motion3D(), Footage(path, np.arange(count)))


def is_plain(scene: Path) -> bool:
    """Whether a rendered clip is as easy as the real footage here: all of the person in the picture, enough light, a
    short exposure and nothing in the way."""
    spec = json.loads(scene.read_text(encoding="utf-8"))["specification"]
    return spec["framing"] == "whole" and not spec["dim"] and not spec["occluder"] and spec["shutter"][1] <= 0.3


def compare(rendered: Path, data: Path, cache: Path) -> dict[str, Sums]:
    """Sums of each kind of footage: "rendered", of these the "plain" ones, "beam", "stills", "clips"."""
    landmarks = Landmarks(cache)
    sums: dict[str, Sums] = {}
    for case in SETS["rendered"].load(rendered):
        truth = read_truth(rendered / case.name / "truth.npz")
        proxies = landmarks(case, lambda done, total: None)
        for kind in ("rendered", "plain")[: 2 if is_plain(rendered / case.name / SCENE) else 1]:
            add_case(sums.setdefault(kind, Sums()), case, proxies, truth.proxies_visible)
    for kind, case in real_cases(data):
        add_case(sums.setdefault(kind, Sums()), case, landmarks(case, lambda done, total: None), None)
    return sums


def table(sums: dict[str, Sums]) -> str:
    """The figures side by side, as text."""

    def share(part: int, whole: int) -> str:
        return f"{100 * part / whole:.1f}" if whole else "-"

    def figure(pieces: list[np.ndarray] | None, least: int = 20) -> tuple[str, str]:
        values = np.concatenate(pieces) if pieces else np.zeros(0)
        if len(values) < least:
            return "-", "-"
        return f"{np.median(values):.2f}", f"{100 * np.mean(values <= PCK_PERCENT):.1f}"

    rows = [["", *sums]]
    rows.append(["frames", *(str(s.frames) for s in sums.values())])
    rows.append(["person found %", *(share(s.persons, s.frames) for s in sums.values())])
    rows.append(["visible hand found %", *(share(s.hands_found, s.hands) for s in sums.values())])
    rows.append(["hands found with a person %", *(share(s.any_hands, 2 * s.person_frames) for s in sums.values())])
    large = (share(s.large_hands, 2 * s.large_frames) for s in sums.values())
    rows.append([f"hands found with a person of {LARGE_PX} px or more %", *large])
    for title, errors in (("error", "raw"), ("error less mean", "centred")):
        for name in GROUPS:
            cells = [figure(getattr(s, errors).get(name)) for s in sums.values()]
            rows.append([f"{name}: median {title} % / PCK@{PCK_PERCENT:g} %", *(f"{a} / {b}" for a, b in cells)])
    widths = [max(len(r[c]) for r in rows) for c in range(len(rows[0]))]
    return "\n".join(
        "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(r, widths, strict=True)))
        for r in rows
    )


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 0, or that of the error."""
    parser = argparse.ArgumentParser(
        prog="python -m hmcap.tools.rendering.realism", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("rendered", type=Path, help=f"folder of rendered clips (each with {SCENE})")
    parser.add_argument("--data", type=Path, required=True, help="folder with gt/ and clips/")
    parser.add_argument("--cache", type=Path, help="folder that landmarks are kept in (default: RENDERED/.landmarks)")
    args = parser.parse_args(argv)
    try:
        print(table(compare(args.rendered, args.data, args.cache or args.rendered / ".landmarks")))
    except HmcapError as error:
        print(f"realism: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
