"""Error measures, the same for this software and for any peer: pure functions of numpy arrays, and their registry.

Positions come in metres; NaN stands for "not known" or "not found" and never spreads beyond the row it is in.
"""

from .align import Similarity, fit_similarity, known_points, known_sets, mean_known
from .angles import geodesic_deg, joint_angle_errors_deg
from .contact import ContactCounts, count_contacts
from .image import keypoint_group, pck_percent, relative_distances
from .motion import (
    acceleration_error,
    acceleration_errors_m_s2,
    consecutive,
    foot_sliding_mm,
    jitter,
    jitters_10m_s3,
)
from .pose import (
    distances_mm,
    joint_errors_mm,
    mpjpe_mm,
    pa_joint_errors_mm,
    pa_mpjpe_mm,
    procrustes,
    root_aligned,
)
from .registry import METRICS, PCK_GROUPS, PCK_THRESHOLDS_PERCENT, MetricInfo
from .world import chunk_numbers, gravity_errors_deg, root_track_errors_percent, world_errors_mm

__all__ = [
    "METRICS",
    "PCK_GROUPS",
    "PCK_THRESHOLDS_PERCENT",
    "ContactCounts",
    "MetricInfo",
    "Similarity",
    "acceleration_error",
    "acceleration_errors_m_s2",
    "chunk_numbers",
    "consecutive",
    "count_contacts",
    "distances_mm",
    "fit_similarity",
    "foot_sliding_mm",
    "geodesic_deg",
    "gravity_errors_deg",
    "jitter",
    "jitters_10m_s3",
    "joint_angle_errors_deg",
    "joint_errors_mm",
    "keypoint_group",
    "known_points",
    "known_sets",
    "mean_known",
    "mpjpe_mm",
    "pa_joint_errors_mm",
    "pa_mpjpe_mm",
    "pck_percent",
    "procrustes",
    "relative_distances",
    "root_aligned",
    "root_track_errors_percent",
    "world_errors_mm",
]
