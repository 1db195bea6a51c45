"""The classical solver: Levenberg-Marquardt on the proxies, for whole takes and live."""

from .settings import SolverSettings
from .take import solve_take

__all__ = ["SolverSettings", "solve_take"]
