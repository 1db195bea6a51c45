"""Does the model say what the landmark stage says? The same figures of observed clips, of the model's own samples for
the same truth, and of a plain Gaussian fitted to the same clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ...models.proxies import PROXY_NAMES
from .model import NoiseModel, Noisy
from .observe import Observation
from .residuals import Residuals, residuals
from .tracks import GROUP, OUT, VISIBLE, turned, visibility

PARTS: dict[str, tuple[str, ...]] = {
    "face": ("nose", "eye"), "ears": ("ear",), "shoulders": ("shoulder",), "elbows": ("elbow",), "wrists": ("wrist",),
    "hips": ("hip",), "knees": ("knee",), "ankles": ("ankle",), "heels, toes": ("heel", "big_toe"),
    "palms": ("hand_wrist", "index1", "middle1", "ring1", "pinky1"),
    "fingers": tuple(f"{f}{k}" for f in ("thumb", "index", "middle", "ring", "pinky") for k in (2, 3, 4)),
}  # fmt: skip
LAGS_S = (0.1, 0.5)
GOOD = 0.03
"""An error below this share of the body's size is small, for the calibration of confidence."""
CONFIDENCE_EDGES = np.array([0.0, 0.3, 0.6, 0.8, 0.9, 0.97, 1.0001])


def part_points(part: str) -> np.ndarray:
    """(67,) bool of the proxies of one of PARTS; the wrist of the body is no palm."""
    hand = part in ("palms", "fingers")

    def fits(name: str) -> bool:
        return ("_hand_" in name) == hand and any(
            name == w or name.split("_", 1)[-1] == w or (hand and name.endswith(w)) for w in PARTS[part]
        )

    return np.array([fits(n) for n in PROXY_NAMES])


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, three times."""

    name: str
    unit: str
    observed: float
    model: float
    gaussian: float


def as_observation(seen: Observation, noisy: Noisy) -> Observation:
    """A sample for the truth of a clip, as if it had been observed."""
    found = np.all(np.isfinite(noisy.hands_xyz_m), axis=(2, 3))
    known = np.concatenate([np.repeat((noisy.score > 0)[:, None], 25, 1), np.repeat(found, 21, axis=1)], axis=1)
    xy = np.where(known[..., None], noisy.xy_px, np.nan).astype(np.float64)
    arrays = (np.asarray(a, np.float64) for a in (noisy.confidence, noisy.body_xyz_m, noisy.hands_xyz_m, noisy.score))
    return Observation(seen.name, seen.fps, seen.tracks, seen.cond, xy, *arrays)


def sample_clips(model: NoiseModel, clips: Sequence[Observation], seed: int, repeats: int = 4) -> list[Observation]:
    """``repeats`` samples for the truth of each clip."""
    rng = np.random.default_rng(seed)
    return [as_observation(c, model.sample(rng, c.tracks, c.fps)) for c in clips for _ in range(repeats)]


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """The plain model to beat: independent normal errors about a mean, everything found, confidence drawn blindly."""

    mean: np.ndarray
    """(67, 2)"""
    factor: np.ndarray
    """(67, 2, 2) Cholesky factor of the covariance."""
    confidence: np.ndarray
    """(n, 67) drawn from at random."""
    mean3: np.ndarray
    """(75, 3) metres."""
    sd3: np.ndarray
    """(75, 3)."""
    slope3: np.ndarray
    """(2,) metres per unit, body and hand."""

    @classmethod
    def fit(cls, clips: Sequence[Observation]) -> "Gaussian":
        """Mean and covariance of every proxy over all clips."""
        parts = [residuals(c) for c in clips]
        error = np.concatenate([p.error for p in parts])
        mean = np.nan_to_num(_nanmean(error))
        rest = np.nan_to_num(error - mean)
        count = np.maximum(np.isfinite(error[..., 0]).sum(0), 1)[:, None, None]
        factor = np.linalg.cholesky(np.einsum("tpa,tpb->pab", rest, rest) / count + 1e-12 * np.eye(2))
        true, seen = (np.concatenate([getattr(p, k) for p in parts]) for k in ("true3", "seen3"))
        known = np.isfinite(seen)
        both = [(np.where(known, seen, 0) * true)[:, s].sum() / max((true**2 * known)[:, s].sum(), 1e-9)
                for s in (slice(0, 33), slice(33, 75))]  # fmt: skip
        slope = np.array(both)
        rest3 = seen - true * np.repeat(slope, [33, 42])[:, None]
        mean3 = np.nan_to_num(_nanmean(rest3))
        sd3 = np.sqrt(np.nan_to_num(_nanmean((rest3 - mean3) ** 2)))
        confidence = np.concatenate([c.confidence[c.present] for c in clips])[:: max(1, len(error) // 2000)]
        return cls(mean, factor, confidence, mean3, sd3, slope)

    def sample(self, rng: np.random.Generator, seen: Observation) -> Observation:
        """Independent errors for the truth of a clip."""
        frames = seen.frames
        error = self.mean + (self.factor @ rng.standard_normal((frames, 67, 2, 1)))[..., 0]
        xy = seen.tracks.xy_px + seen.cond.size_px[:, GROUP, None] * turned(seen.cond, error, GROUP, back=True)
        confidence = self.confidence[rng.integers(len(self.confidence), size=(frames, 67)), np.arange(67)]
        part = residuals(seen)
        three = part.true3 * np.repeat(self.slope3, [33, 42])[:, None] + self.mean3
        three = three + self.sd3 * rng.standard_normal(three.shape)
        return replace(
            seen, xy_px=xy, confidence=confidence, body_xyz_m=three[:, :33],
            hands_xyz_m=three[:, 33:].reshape(frames, 2, 21, 3), score=np.ones(frames),
        )  # fmt: skip


def _nanmean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1)


def figures(clips: Sequence[Observation]) -> dict[str, tuple[float, str]]:
    """Figures of clips, by name: (value, unit)."""
    parts = [residuals(c) for c in clips]
    out: dict[str, tuple[float, str]] = {}
    error = np.concatenate([p.error for p in parts])
    length = 100 * np.linalg.norm(error, axis=-1)
    for part in PARTS:
        at = part_points(part)
        values = length[:, at][np.isfinite(length[:, at])]
        unit = "% hand" if part in ("palms", "fingers") else "% body"
        for q in (50, 90, 99):
            out[f"{part}: error, quantile {q}"] = (float(np.percentile(values, q)) if len(values) else np.nan, unit)
        centred = [p.error[:, at] - _nanmean(error[:, at]) for p in parts]
        out[f"{part}: std"] = (
            100 * float(np.sqrt(np.nanmean(np.concatenate(centred) ** 2))) if len(values) else np.nan,
            unit,
        )
        steps = np.concatenate([100 * np.linalg.norm(np.diff(p.error[:, at], axis=0), axis=-1).ravel() for p in parts])
        steps = steps[np.isfinite(steps)]
        for q in (50, 90, 99):
            value = float(np.percentile(steps, q)) if len(steps) else np.nan
            out[f"{part}: change from frame to frame, {q} %"] = (value, unit)
        for lag in LAGS_S:
            out[f"{part}: autocorrelation {lag:g} s"] = (_autocorrelation(centred, parts, lag), "")
    out |= _rates(clips, parts)
    out |= _spatial(parts)
    for name, (small, weight) in calibration(clips).items():
        out[name] = (small if weight >= 30 else np.nan, "% small")
    return out


def _autocorrelation(values: Sequence[np.ndarray], parts: Sequence[Residuals], lag_s: float) -> float:
    """Correlation with itself ``lag_s`` later, over all channels of all clips together."""
    top = square = 0.0
    for v, p in zip(values, parts, strict=True):
        shift = max(1, round(lag_s * p.fps))
        a, b = v[:-shift], v[shift:]
        known = np.isfinite(a) & np.isfinite(b)
        top += float((a[known] * b[known]).sum())
        square += float((a[known] ** 2).sum() + (b[known] ** 2).sum()) / 2
    return top / square if square else np.nan


def _rates(clips: Sequence[Observation], parts: Sequence[Residuals]) -> dict[str, tuple[float, str]]:
    seconds = sum(c.frames / c.fps for c in clips)
    out = {"nobody found": (100 * float(np.mean(np.concatenate([~c.present for c in clips]))), "% frames")}
    lost = [~c.found[c.present] for c in clips]
    out["hand not found"] = (100 * float(np.mean(np.concatenate(lost))), "% frames")
    out["hand lost, then found again: mean duration"] = (_mean_run(lost, clips), "s")
    out["hand lost, beginnings"] = (60 * sum(int((x[1:] & ~x[:-1]).sum()) for x in lost) / (2 * seconds), "/ minute")
    for k, name in enumerate(("all", "arms", "legs")):
        out[f"sides exchanged ({name})"] = (
            100 * float(np.mean(np.concatenate([p.swaps[:, k] for p in parts]))),
            "% frames",
        )
    flips, known = (np.concatenate([getattr(p, f) for p in parts]) for f in ("flips", "flips_known"))
    for k, name in enumerate(("upper arm", "forearm", "thigh", "shank")):
        rows = [k, k + 4]
        out[f"{name} turned over in depth"] = (
            100 * float(flips[:, rows].sum() / max(1, known[:, rows].sum())), "% where one can tell",
        )  # fmt: skip
    out["no body 3-D"] = (
        100 * float(np.mean(np.concatenate([~np.isfinite(c.body_xyz_m[c.present, 0, 0]) for c in clips]))), "% frames",
    )  # fmt: skip
    return out


def _mean_run(lost: Sequence[np.ndarray], clips: Sequence[Observation]) -> float:
    """Mean length of the runs of frames without a hand that begin and end within the clip, seconds."""
    lengths: list[float] = []
    for x, c in zip(lost, clips, strict=True):
        for h in range(2):
            edges = np.flatnonzero(np.diff(x[:, h].astype(np.int8)))
            signs = np.diff(x[:, h].astype(np.int8))[edges]
            lengths += [(b - a) / c.fps for a, b, s in zip(edges[:-1], edges[1:], signs[:-1], strict=True) if s > 0]
    return float(np.mean(lengths)) if lengths else np.nan


def _spatial(parts: Sequence[Residuals]) -> dict[str, tuple[float, str]]:
    out: dict[str, tuple[float, str]] = {}
    for name, rows in (("body", slice(0, 33)), ("hands", slice(33, 75))):
        true = np.concatenate([p.true3[:, rows] for p in parts])
        seen = np.concatenate([p.seen3[:, rows] for p in parts])
        known = np.isfinite(seen)
        gain = (np.where(known, seen, 0) * true)[..., :2].sum() / max((true**2 * known)[..., :2].sum(), 1e-9)
        for axis, label in ((slice(0, 2), "across"), (slice(2, 3), "depth")):
            rest = 1000 * np.abs(seen - gain * true)[..., axis]
            rest = rest[np.isfinite(rest)]
            for q in (50, 90, 99):
                value = float(np.percentile(rest, q)) if len(rest) else np.nan
                out[f"3-D {name}, {label}: error, quantile {q}"] = (value, "mm")
        takes = [p.seen3[:, rows] - gain * p.true3[:, rows] for p in parts]
        for lag in LAGS_S:
            out[f"3-D {name}: autocorrelation {lag:g} s"] = (_autocorrelation(takes, parts, lag), "")
    return out


def calibration(clips: Sequence[Observation]) -> Mapping[str, tuple[float, int]]:
    """Per bin of reported confidence: share of body proxies with a small error, and how many there are."""
    confidence, error = [], []
    for c in clips:
        size = c.cond.size_px[:, 0, None]
        confidence.append(c.confidence[:, :25])
        error.append(np.linalg.norm(c.xy_px[:, :25] - c.tracks.xy_px[:, :25], axis=-1) / size)
    value, length = np.concatenate(confidence).ravel(), np.concatenate(error).ravel()
    known = (value > 0) & np.isfinite(length)
    out = {}
    for low, high in pairwise(CONFIDENCE_EDGES):
        at = known & (value >= low) & (value < high)
        share = 100 * float((length[at] < GOOD).mean()) if at.any() else np.nan
        out[f"confidence {low:.2f} to {min(high, 1):.2f}: error < {100 * GOOD:g} % body"] = (share, int(at.sum()))
    return out


def compare(model: NoiseModel, plain: Gaussian, clips: Sequence[Observation], seed: int = 0) -> list[Comparison]:
    """Every figure of held-out clips, of the model's samples for their truth, and of the Gaussian's."""
    rng = np.random.default_rng([seed, 1])
    three = [figures(clips), figures(sample_clips(model, clips, seed)), figures([plain.sample(rng, c) for c in clips])]
    return [
        Comparison(name, unit, value, three[1].get(name, (np.nan, ""))[0], three[2].get(name, (np.nan, ""))[0])
        for name, (value, unit) in three[0].items()
    ]


def summary(rows: Sequence[Comparison]) -> dict[str, tuple[float, float]]:
    """How far model and Gaussian are from the observed: mean factor for errors (1 is perfect), mean difference for
    autocorrelations and for the calibration's shares."""
    out: dict[str, tuple[float, float]] = {}
    for key, chosen, ratio in (
        ("errors in 2-D: typical factor off", [r for r in rows if "quantile" in r.name and "3-D" not in r.name], True),
        ("errors in 3-D: typical factor off", [r for r in rows if "quantile" in r.name and "3-D" in r.name], True),
        ("jitter: typical factor off", [r for r in rows if "frame to frame" in r.name], True),
        ("autocorrelation: mean difference", [r for r in rows if "autocorrelation" in r.name], False),
        ("calibration: mean difference, points", [r for r in rows if r.name.startswith("confidence")], False),
    ):
        pair = []
        for field in ("model", "gaussian"):
            a = np.array([r.observed for r in chosen])
            b = np.array([getattr(r, field) for r in chosen])
            known = np.isfinite(a) & np.isfinite(b) & (~np.bool_(ratio) | ((a > 0) & (b > 0)))
            if not known.any():
                pair.append(np.nan)
            elif ratio:
                pair.append(float(np.exp(np.abs(np.log(a[known] / b[known])).mean())))
            else:
                pair.append(float(np.abs(a[known] - b[known]).mean()))
        out[key] = (pair[0], pair[1])
    return out


def flag_agreement(clips: Sequence[Observation]) -> tuple[float, float, float]:
    """How the rods of :func:`.tracks.visibility` see the clips: share of the points inside the picture that both call
    hidden, that only the truth does, and that only the rods do."""
    both = truth_only = rods_only = total = 0
    for c in clips:
        rods = visibility(c.tracks.xy_px, c.tracks.cam_m, c.tracks.image_size_px)
        inside = (c.tracks.visible != OUT) & (rods != OUT)
        a, b = c.tracks.visible != VISIBLE, rods != VISIBLE
        both += int((inside & a & b).sum())
        truth_only += int((inside & a & ~b).sum())
        rods_only += int((inside & ~a & b).sum())
        total += int(inside.sum())
    return both / max(1, total), truth_only / max(1, total), rods_only / max(1, total)
