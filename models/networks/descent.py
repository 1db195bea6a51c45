"""Neural motion descent (networks, section 3): N steps that look at how the estimate projects and stands.

Each step looks at S_proj (residuals of all seen proxies), S_contact (how foot points move against the frame before
and how high they are), the encoders' features, the state, and the closed-form gradients of both energies; cross
attention joins them, and an update of the whole state comes out. The frame before is taken as it stood before the same
step, so that a run of frames is refined at once in training, and frame by frame with the same result.
"""

import torch
from torch import nn

from ..observed import Observed
from ..proxies import BODY, NUM_PROXIES
from .config import STEP_RATE_HZ, NetworkConfig
from .gradient import gauss_newton, joint_steps, reprojection
from .initialiser import attend
from .kinematics import BodyPoints, full_precision, six_of_matrix, turn
from .lifting import LIFTED, NUM_LIFTED
from .state import NUM_BODY, State

FEET = slice(NUM_PROXIES, NUM_PROXIES + 4)
_POSED = [*range(NUM_BODY), *range(25, 55)]
"""Joints that a state poses: body and fingers."""
_LEGS = [1, 2, 4, 5, 7, 8, 10, 11]
STIFFNESS, ROOT_STIFFNESS = 0.01, 0.001
"""Resistance of a body joint to a turn of one radian, and of the root to a metre, in squared units of the box: where
the steps begin to learn from."""
HAND_SHARE = 0.5
"""Weight of a knuckle against that of a body's point."""
ROUNDS = 10
"""Rounds of conjugate gradients in each step."""
TOKENS = ("reprojection", "contact", "gradient", "body", "left hand", "right hand", "state")
PREVIOUS = 3 + 12 + 1
"""What a step keeps of the frame before: pelvis in the camera, foot points about it, whether anything was seen."""


class DescentStep(nn.Module):
    """One iteration; all iterations share the networks' shape and not the weights. The network says how far each joint
    and each proxy is to be trusted, a Gauss-Newton step in closed form follows, and the network adds what it knows
    better."""

    HEADS = 4
    share: torch.Tensor
    stiffness: torch.Tensor

    def __init__(self, config: NetworkConfig, points: BodyPoints) -> None:
        super().__init__()
        self.config, self.points = config, points
        c, posed = config.descent_channels, len(_POSED)
        state = (NUM_BODY + 30) * 6 + config.num_betas + 3 + 3 + 1 + 3 + 4
        widths = (NUM_PROXIES * 4, 4 * 8, posed * 3 + len(_LEGS) * 3 + 3, config.body_channels, config.hand_channels)
        self.embed = nn.ModuleList(nn.Linear(n, c) for n in (*widths, config.hand_channels, state))
        self.norm = nn.LayerNorm(c)
        self.qkv, self.mixed = nn.Linear(c, 3 * c), nn.Linear(c, c)
        self.hidden = nn.Sequential(
            nn.LayerNorm(len(TOKENS) * c),
            nn.Linear(len(TOKENS) * c, config.descent_hidden),
            nn.SiLU(),
            nn.Linear(config.descent_hidden, config.descent_hidden),
            nn.SiLU(),
        )
        self.sizes = [posed * 3, NUM_BODY + 1, NUM_LIFTED, config.num_betas, 3, 3, 1, 3, 4, 2, 8]
        self.out = nn.Linear(config.descent_hidden, sum(self.sizes))
        nn.init.normal_(self.out.weight, std=0.001)
        nn.init.zeros_(self.out.bias)
        share = torch.ones(NUM_LIFTED)
        share[BODY.stop :] = HAND_SHARE
        self.register_buffer("share", share, persistent=False)
        stiffness = torch.tensor([STIFFNESS] * NUM_BODY + [ROOT_STIFFNESS])
        self.register_buffer("stiffness", stiffness, persistent=False)

    def forward(
        self,
        state: State,
        at: Observed,
        box: torch.Tensor,
        body: torch.Tensor,
        hands: torch.Tensor,
        cache: torch.Tensor,
    ) -> tuple[State, torch.Tensor]:
        """A better state. All (B, T, ...); box (B, T, 3) of the body in the frames ``at``; features body and hands
        (B, T, 2, C); cache (B, 1, PREVIOUS) of the frame before the first. Returns the state and the cache after."""
        R, joints, points = self.points(state.R_local(), state.betas)
        root = state.root_cam_m(box)
        weight = at.confidence.sqrt()
        residual, g, curvature = reprojection(
            points[..., :NUM_PROXIES, :] + root.unsqueeze(-2), at.xy, weight, box[..., 2:]
        )
        below = self.points.below
        pulls = joint_steps(R, joints, points[..., :NUM_PROXIES, :], g, curvature, below[:, :NUM_PROXIES])
        pull = pulls[..., _POSED, :].clamp(-0.5, 0.5)
        # The root's own step, in the units of its place: metres over depth and box.
        scale = root[..., 2:] * box[..., 2:]
        drag = -g.sum(-2) / (curvature.sum(-1, keepdim=True) + 1e-3) / scale

        here = (at.confidence[..., BODY].amax(-1, keepdim=True) > 0).to(root.dtype)
        contact, stand, after = self._contact(state, R, joints, points, root, here, cache)
        tokens = (
            torch.cat([residual.flatten(-2) * 10, weight, (residual.abs().amax(-1) * weight)], dim=-1),
            contact,
            torch.cat([pull.flatten(-2) * 10, stand.flatten(-2) * 10, drag * 10], dim=-1),
            body,
            hands[..., 0, :],
            hands[..., 1, :],
            self._described(state),
        )
        x = torch.stack([e(t) for e, t in zip(self.embed, tokens, strict=True)], dim=-2)
        x = x + self.mixed(attend(self.qkv(self.norm(x)), None, self.HEADS))
        raw = self.out(self.hidden(x.flatten(-2))).float()
        turns, stiffness, trust, *others = raw.split(self.sizes, dim=-1)
        step = gauss_newton(
            R[..., :NUM_BODY, :, :],
            joints[..., :NUM_BODY, :],
            points[..., LIFTED, :],
            root,
            at.xy[..., LIFTED, :],
            at.confidence[..., LIFTED] * self.share * torch.exp(trust.clamp(-4, 4)),
            box[..., 2:],
            self.stiffness * torch.exp(stiffness.clamp(-4, 4)),
            below[:NUM_BODY, LIFTED],
            ROUNDS,
        )
        return self._updated(state, box, root + step[..., -1, :], step[..., :-1, :], turns, others), after

    @full_precision
    def _contact(
        self,
        state: State,
        R: torch.Tensor,
        joints: torch.Tensor,
        points: torch.Tensor,
        root: torch.Tensor,
        here: torch.Tensor,
        cache: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """S_contact (B, T, 32), the legs' steps against its energy (B, T, 8, 3), and the cache for what follows; here
        (B, T, 1) is 1 where the person is seen: a frame without says nothing to the next."""
        feet = points[..., FEET, :]
        now = torch.cat([root, feet.flatten(-2), here], dim=-1)
        before = torch.cat([cache, now], dim=1)
        known = before[:, :-1, -1:].unsqueeze(-2)
        was_feet = before[:, :-1, 3:-1].unflatten(-1, (4, 3))
        axes = state.R_cam_human()
        moved = (feet - was_feet) * known  # about the pelvis
        by_camera = moved + (root - before[:, :-1, :3]).unsqueeze(-2) * known
        human = moved @ axes
        by_step = human + state.step_m.unsqueeze(-2) * known
        height = (feet @ axes[..., 1:2]) + state.height_m.unsqueeze(-2)
        touches = state.contact.sigmoid().unsqueeze(-1)
        s_contact = torch.cat([by_step * 20, (by_camera @ axes) * 20, height * 5, touches], dim=-1).flatten(-2)
        # Standing points neither move (by the step that the state tells) nor leave the ground.
        up = axes[..., None, :, 1]
        g = touches * (by_step @ axes.transpose(-1, -2) + up * height)
        pull = joint_steps(R, joints, feet, g, touches[..., 0], self.points.below[:, FEET])[..., _LEGS, :]
        on = 1.0 if self.config.contact_term else 0.0
        return s_contact.clamp(-3, 3) * on, pull.clamp(-0.5, 0.5) * on, now[:, -1:]

    def _described(self, state: State) -> torch.Tensor:
        parts = [
            six_of_matrix(state.R_body).flatten(-2), six_of_matrix(state.R_hands).flatten(-2), state.betas, state.place,
            state.up_cam, state.height_m, state.step_m * STEP_RATE_HZ, state.contact * 0.2,
        ]  # fmt: skip
        return torch.cat(parts, dim=-1)

    @full_precision
    def _updated(
        self,
        state: State,
        box: torch.Tensor,
        root: torch.Tensor,
        step: torch.Tensor,
        turns: torch.Tensor,
        others: list[torch.Tensor],
    ) -> State:
        """The state moved by the Gauss-Newton step, to the root (B, T, 3) that it leads to, and by what the network
        knows better."""
        betas, place, up, height, step_m, contact, sigma, group = others
        w = 0.3 * turns.unflatten(-1, (len(_POSED), 3))
        w = torch.cat([w[..., :NUM_BODY, :] + step, w[..., NUM_BODY:, :]], dim=-2)
        R = turn(w.clamp(-1.0, 1.0))
        up = state.up_cam + 0.3 * up
        z = root[..., 2:].clamp_min(0.1)
        at = torch.cat([(root[..., :2] / z - box[..., :2]) / box[..., 2:], torch.log(z * box[..., 2:])], dim=-1)
        return State(
            betas=state.betas + betas,
            R_body=state.R_body @ R[..., :NUM_BODY, :, :],
            R_hands=state.R_hands @ R[..., NUM_BODY:, :, :],
            place=at + 0.1 * place,
            up_cam=up / up.norm(dim=-1, keepdim=True).clamp_min(1e-6),
            height_m=state.height_m + 0.1 * height,
            step_m=state.step_m + 0.03 * step_m,
            contact=state.contact + contact,
            log_sigma=state.log_sigma + sigma,
            log_group_error=state.log_group_error + group,
            points_m=state.points_m,
        )
