"""The measures by name, in the order in which they are shown."""

from collections.abc import Iterable
from dataclasses import dataclass

PCK_THRESHOLDS_PERCENT = {"0_5": 0.5, "1": 1.0, "2": 2.0, "5": 5.0}
"""Thresholds of PCK in per cent of the image size (the longer side), by their name in the name of the measure."""
PCK_GROUPS = ("body", "foot", "hand")


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What a reader has to know of a measure."""

    name: str
    title: str
    unit: str
    """"" for a share between 0 and 1."""
    lower_is_better: bool
    digits: int
    """Decimals worth showing."""
    definition: str
    """One sentence."""
    per_frame: bool
    """Whether each row has a value of its own."""
    of_truth: bool = False
    """Whether it says something of the truth, as a scale to read another measure by, and nothing of the method."""


def _all() -> Iterable[MetricInfo]:
    mm = "mm"
    yield MetricInfo(
        "mpjpe_mm", "MPJPE", mm, True, 1,
        "Mean distance of the compared joints from their truth, the middle of the root joints brought together.", True,
    )  # fmt: skip
    yield MetricInfo(
        "pa_mpjpe_mm", "PA-MPJPE", mm, True, 1,
        "The same after the rotation, scale and shift of each frame that bring its joints nearest (Procrustes).", True,
    )  # fmt: skip
    yield MetricInfo(
        "mpvpe_mm", "MPVPE", mm, True, 1,
        "Mean distance of the vertices of the mesh from their truth, the middle of the root joints brought together.",
        True,
    )  # fmt: skip
    yield MetricInfo(
        "pa_mpvpe_mm", "PA-MPVPE", mm, True, 1, "The same after Procrustes alignment of each frame's mesh.", True
    )
    yield MetricInfo(
        "hand_mpjpe_mm", "Hand MPJPE", mm, True, 1,
        "Mean distance of the 21 joints of each hand from their truth, its wrist brought together; over the "
        "hands that every method compared found.",
        True,
    )  # fmt: skip
    yield MetricInfo(
        "hand_pa_mpjpe_mm", "Hand PA-MPJPE", mm, True, 1,
        "The same after Procrustes alignment of each hand in each frame.", True,
    )  # fmt: skip
    yield MetricInfo(
        "hand_detected_percent", "Hands found", "%", False, 1,
        "Share of the hands whose truth is known for which there is a prediction, over all rows.", True,
    )  # fmt: skip
    yield MetricInfo(
        "angle_deg", "Joint angle", "°", True, 1,
        "Mean angle between predicted and true rotation of the 21 body joints in their parents' frames; same body "
        "model only.", True,
    )  # fmt: skip
    yield MetricInfo("hand_angle_deg", "Finger angle", "°", True, 1, "The same for the 30 finger joints.", True)
    yield MetricInfo(
        "root_angle_deg", "Root angle", "°", True, 1,
        "Angle between predicted and true orientation of the root in the axes of the camera.", True,
    )  # fmt: skip
    for group in PCK_GROUPS:
        for key, percent in PCK_THRESHOLDS_PERCENT.items():
            yield MetricInfo(
                f"pck_{group}_{key}", f"PCK {group} @{percent:g} %", "%", False, 1,
                f"Share of the labelled {group} points predicted within {percent:g} % of the picture's longer side, "
                "over all rows; of the points the method gives, a missing one is wrong.", True,
            )  # fmt: skip
    yield MetricInfo(
        "accel_m_s2", "Accel", "m/s²", True, 1,
        "Mean error of the acceleration of the root-aligned joints (second differences).", True,
    )  # fmt: skip
    yield MetricInfo(
        "jitter_10m_s3", "Jitter", "10 m/s³", True, 1,
        "Third difference of the predicted root-aligned joints times fps³, mean over joints, divided by 10.", True,
    )  # fmt: skip
    yield MetricInfo(
        "truth_jitter_10m_s3", "Jitter of the truth", "10 m/s³", True, 1,
        "The same of the true joints: what jitter the motion itself has.", True, True,
    )  # fmt: skip
    yield MetricInfo(
        "world_jitter_10m_s3", "World jitter", "10 m/s³", True, 1,
        "The same of the predicted joints in the world, not root-aligned (as WHAM publishes it).", True,
    )  # fmt: skip
    yield MetricInfo(
        "truth_world_jitter_10m_s3", "World jitter of the truth", "10 m/s³", True, 1,
        "The same of the true joints in the world.", True, True,
    )  # fmt: skip
    yield MetricInfo(
        "foot_sliding_mm", "Foot sliding", "mm/frame", True, 1,
        "Mean way of a predicted foot point per frame while the true point moves less than 1 cm per frame.", True,
    )  # fmt: skip
    yield MetricInfo(
        "truth_foot_sliding_mm", "Foot sliding of the truth", "mm/frame", True, 1,
        "Mean way of the true foot points per frame while they move less than 1 cm per frame.", True, True,
    )  # fmt: skip
    yield MetricInfo(
        "w_mpjpe100_mm", "W-MPJPE100", mm, True, 1,
        "Mean distance of the joints in the world over chunks of 100 rows, each aligned (similarity) on its first two.",
        True,
    )  # fmt: skip
    yield MetricInfo(
        "wa_mpjpe100_mm", "WA-MPJPE100", mm, True, 1, "The same, each chunk aligned on all its rows.", True
    )
    yield MetricInfo(
        "rte_percent", "RTE", "%", True, 2,
        "Mean distance of the root's track from the true one after one rigid alignment, over the true path's length.",
        True,
    )  # fmt: skip
    yield MetricInfo(
        "contact_precision", "Contact precision", "", False, 3,
        "Share of the ground contacts said (probability 0.5 or more) that are true.", False,
    )  # fmt: skip
    yield MetricInfo(
        "contact_recall", "Contact recall", "", False, 3, "Share of the true ground contacts that were said.", False
    )
    yield MetricInfo("contact_f1", "Contact F1", "", False, 3, "Harmonic mean of contact precision and recall.", False)
    yield MetricInfo(
        "gravity_deg", "Gravity", "°", True, 2,
        "Angle between the predicted and the true vertical in the axes of the camera.", True,
    )  # fmt: skip
    yield MetricInfo("detected_percent", "Found", "%", False, 1, "Share of all rows that have a prediction.", True)


METRICS: dict[str, MetricInfo] = {info.name: info for info in _all()}
"""Every measure by name, in the order in which to show them."""
