"""Accuracy that papers report, to stand beside ours as a scale.

ProxyCap itself (arXiv 2307.01200) has no place here: its supplement gives times of its modules, no errors.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """One figure of a paper."""

    measure: str
    """Name in ``METRICS``; the value has its unit."""
    system: str
    data: str
    """What it was measured on, as papers call it."""
    set_name: str
    """The set of this software that holds the same data."""
    value: float


def _table(data: str, set_name: str, columns: tuple[str, ...], rows: dict[str, tuple[float, ...]]) -> list[Published]:
    return [
        Published(measure, system, data, set_name, value)
        for system, values in rows.items()
        for measure, value in zip(columns, values, strict=False)  # some papers give the first columns only
    ]


PUBLISHED: tuple[Published, ...] = (
    *_table(
        "EMDB-2",
        "emdb",
        ("w_mpjpe100_mm", "rte_percent", "world_jitter_10m_s3", "foot_sliding_mm"),
        {
            "WHAM": (354.8, 6.0, 22.5, 4.4),
            "GVHMR": (274.9, 1.9, 16.5, 3.5),
            "TRAM": (222.4, 1.4),
            "PromptHMR-Vid": (216.5, 1.3),
            "OnlineHMR": (310.4, 2.2),
        },
    ),
    *_table(
        "3DPW",
        "3dpw",
        ("pa_mpjpe_mm",),
        {"HMR2.0": (44.4,), "TokenHMR": (44.8,), "WHAM": (35.9,), "GVHMR": (36.2,)},
    ),
)
"""Every figure. OnlineHMR is the one of EMDB-2 that works online, at 3.3 frames a second."""


def published_for(
    measure: str, set_name: str, lower_is_better: bool | None = True
) -> tuple[tuple[Published, ...], bool]:
    """Figures of a measure, best first, and whether they were measured on the set: those on the set itself where a
    paper has any, else those on other data."""
    figures = [p for p in PUBLISHED if p.measure == measure]
    own = [p for p in figures if p.set_name == set_name]
    sign = -1.0 if lower_is_better is False else 1.0
    return tuple(sorted(own or figures, key=lambda p: (sign * p.value, p.system))), bool(own)
