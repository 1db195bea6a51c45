"""Weights of the classical solver. Every sigma is a physical size: what the solver believes of its evidence."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SolverSettings:
    """Settings of :func:`solve_take` and :class:`LiveSolver`."""

    height_m: float | None = None
    """Standing height of the person; None lets the body model's average stand."""
    up_cam: tuple[float, float, float] | None = None
    """Unit vector against gravity in the camera's axes, where it is known; None finds it in the motion."""
    fit_shape: bool = True
    """Fit the body's proportions; False keeps the mean body, made as tall as ``height_m``."""
    sigma_body_2d: float = 0.012
    """Error of a fully confident body proxy, as a fraction of the body's height in the image."""
    sigma_hand_2d: float = 0.006
    """Error of a hand proxy, same unit."""
    robust_2d: float = 4.0
    """Residual, in sigmas, at which a proxy begins to count as an outlier (Geman-McClure)."""
    sigma_direction: float = 0.25
    """Error of a bone direction given by the networks' own 3-D, radians."""
    sigma_hand_direction: float = 0.30
    """The same for the bones of a hand."""
    robust_direction: float = 2.5
    """Residual, in sigmas, at which a bone direction begins to count as an outlier."""
    prior_weight: float = 0.35
    """Weight of the pose prior; the motion it was fitted on is poorer than real footage, hence below 1."""
    sigma_limit_rad: float = 0.06
    """Softness of the joint limits."""
    acceleration_scale: float = 1.0
    """Accelerations allowed, as a multiple of those the motion-capture data shows."""
    sigma_contact_speed_m_s: float = 0.06
    """Speed left in a foot point that stands."""
    sigma_contact_height_m: float = 0.015
    """Height above the floor left in a foot point that stands."""
    sigma_penetration_m: float = 0.005
    """Softness of the floor."""
    window: int = 180
    """Frames solved at once."""
    overlap: int = 40
    """Frames that two neighbouring windows share."""
    live_window: int = 12
    """Frames that the live solver keeps in play."""
    max_gap_s: float = 0.6
    """A person missing for longer than this begins a new segment; the pose is held in between."""
