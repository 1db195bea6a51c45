"""The solver's settings turned into the weights of its two trees."""

import numpy as np

from .energy import Chain, Weights
from .prior import body_prior, hand_prior, root_prior
from .settings import SolverSettings


def body_weights(settings: SolverSettings) -> Weights:
    """Weights of the body tree."""
    root, prior = root_prior(), body_prior()
    k = settings.acceleration_scale
    linear = float(np.sqrt((root.linear_rms**2).mean()))
    return Weights(
        prior=prior,
        prior_weight=settings.prior_weight,
        sigma_limit_rad=settings.sigma_limit_rad,
        angular_sigma=k * np.concatenate([[root.angular_rms], prior.acceleration_rms]),
        # depth is what one camera sees worst, so it gets the least freedom to jitter
        linear_sigma_cam=k * linear * np.array([1.0, 1.0, 0.5]),
        robust_xy=settings.robust_2d,
        robust_direction=settings.robust_direction,
        sigma_contact_speed_m_s=settings.sigma_contact_speed_m_s,
        sigma_contact_height_m=settings.sigma_contact_height_m,
        sigma_penetration_m=settings.sigma_penetration_m,
    )


def hand_weights(settings: SolverSettings, side: str, wrist: Chain) -> Weights:
    """Weights of one hand's tree, tied to the wrist that the body solve gave."""
    prior = hand_prior(side)
    k = settings.acceleration_scale
    return Weights(
        prior=prior,
        prior_weight=settings.prior_weight,
        sigma_limit_rad=settings.sigma_limit_rad,
        angular_sigma=k * np.concatenate([[60.0], prior.acceleration_rms]),
        linear_sigma_cam=np.full(3, 20.0),
        robust_xy=settings.robust_2d,
        robust_direction=settings.robust_direction,
        anchor=wrist,
        anchor_sigma=(0.03, 0.15),
    )
