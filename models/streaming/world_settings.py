"""What the fusion of a static camera believes of its evidence, and how it holds what is not seen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """Settings of :func:`hmcap.models.streaming.fusion.world_of_take` and of the live world."""

    height_m: float | None = None
    """Standing height of the person; None keeps the size that the networks give."""
    up_cam: tuple[float, float, float] | None = None
    """Whole takes: unit vector against gravity in the camera's axes, where it is known; None finds it in the motion."""
    max_gap_s: float = 0.6
    """A person missing for longer begins a new segment; the pose is held in between."""

    # The camera.
    up_sigma_deg: float = 1.0
    """Error left in the networks' vertical after averaging over a take."""
    up_outlier_deg: float = 4.0
    """Distance from the agreed vertical at which a frame's own begins to count as an outlier."""
    foot_sigma_m: float = 0.035
    """Error of a foot's height in one frame, against the pelvis."""
    looks_hz: float = 2.0
    """Independent looks at the vertical and the floor per second: errors of neighbouring frames are alike."""
    settle_s: float = 20.0
    """Live: how long the camera and the shape remember, once they have seen that much."""

    # The place of the person.
    depth_memory_s: float = 0.5
    """How long an error of the place along the ray lasts: so many frames count as one."""
    across_memory_s: float = 0.1
    """The same across the ray."""
    step_sigma_m: float = 0.02
    """Error of the displacement from frame to frame, over the ground."""
    contact_speed_sigma_m: float = 0.01
    """Movement left in a foot point that stands, from frame to frame."""
    contact_height_sigma_m: float = 0.05
    """Error of the height of a foot point that stands, with the legs as the networks bend them."""
    foot_memory_s: float = 0.5
    """How long such an error lasts."""
    height_sigma_m: float = 0.1
    """Error of the height of the pelvis above the ground."""
    sightline_sigma: float = 0.008
    """Error of the direction to a foot, radians: of the proxy and of the vertical."""
    sightline_memory_s: float = 0.3
    """How long such an error lasts."""
    jerk_sigma_m_s3: float = 60.0
    """Jerk of the pelvis of a person who moves."""
    robust_sigmas: float = 2.5
    """Residual, in sigmas, at which a contact or a step begins to count as an outlier."""
    iterations: int = 4
    """Rounds of re-weighting of a whole take."""

    # The feet.
    max_correction_m: float = 0.15
    """A foot is moved by at most so much to keep it where it stands."""
    max_flatten_deg: float = 35.0
    """A foot whose sole leans more is not laid flat."""
    smooth_frames: float = 2.0
    """Whole takes: standard deviation of the Gaussian that smooths rotations, in frames; 0 leaves them."""
    live_cutoff_hz: float = 2.5
    """Live: cut-off frequency of the low pass over joints that rest, and"""
    live_cutoff_per_rad: float = 1.5
    """how much higher it is for each radian a second that they turn."""
    live_speed_hz: float = 2.0
    """Cut-off frequency of the speed that decides it."""

    # What is not seen.
    measured_above: float = 0.35
    """A joint group begins to count as measured above this confidence."""
    held_below: float = 0.25
    """A joint group stops counting as measured below this confidence."""
    hand_wait_s: float = 0.3
    """A hand out of view stays as it is for so long, then it relaxes."""
    hand_relax_s: float = 0.5
    """Time in which it relaxes."""
    hand_return_s: float = 0.2
    """Time in which it comes back when it is seen again."""
    legs_wait_s: float = 1.0
    """Legs out of view follow the networks for so long, then they stand or sit quietly."""
    legs_relax_s: float = 1.0
    """Time in which they come to rest, and in which they come back."""
