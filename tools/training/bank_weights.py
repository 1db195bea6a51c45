"""How often each frame of a motion bank is drawn.

Recordings repeat themselves: most frames stand, walk and wave. A frame's weight is

    share of its group (recorded, generated: one half each) x share of its source x rarity of its pose

Sources of recorded motion share in proportion to the square root of their length, so that a small one counts for more
than its frames and a large one still for most. Rarity is 1 / sqrt(density): poses are covered with reference poses that
lie about equally far apart (farthest-point sampling), and the frames that are nearest to a reference pose are its
density. It is kept within a factor of RARITY_RANGE of its geometric mean.
"""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

REFERENCES = 512
RARITY_RANGE = 5.0
_SAMPLE = 20_000


def rarity(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(F,) positive rarity of poses with features (F, K), geometric mean about 1 before it is clipped."""
    sample = features[rng.permutation(len(features))[:_SAMPLE]].astype(np.float64)
    distance = np.full(len(sample), np.inf)
    picked = [0]
    for _ in range(min(REFERENCES, len(sample)) - 1):
        distance = np.minimum(distance, np.sum((sample - sample[picked[-1]]) ** 2, axis=1))
        if distance.max() <= 1e-12:
            break
        picked.append(int(distance.argmax()))
    _, nearest = KDTree(sample[picked]).query(features)
    density = np.bincount(nearest, minlength=len(picked))[nearest]
    rare = 1 / np.sqrt(density)
    rare /= np.exp(np.log(rare).mean())
    return np.clip(rare, 1 / RARITY_RANGE, RARITY_RANGE)


def frame_weights(
    features: np.ndarray, source: Sequence[str] | np.ndarray, is_generated: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(F,) positive weights, sum 1, of frames with features (F, K), sources (F,) and group (F,) bool."""
    names, source = np.unique(np.asarray(source), return_inverse=True)
    out = np.zeros(len(features))
    groups = [g for g in (is_generated, ~is_generated) if g.any()]
    for group in groups:
        rare = rarity(features[group], rng)
        frames = np.bincount(source[group], minlength=len(names))
        total = np.bincount(source[group], rare, minlength=len(names))
        share = np.sqrt(frames) / np.sqrt(frames).sum()
        at = source[group]
        out[group] = rare / total[at] * share[at] / len(groups)
    return out / out.sum()
