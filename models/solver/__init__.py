"""The classical solver: Levenberg-Marquardt on the proxies, for whole takes and live."""

from .live import LiveSolver
from .settings import SolverSettings
from .take import solve_take

__all__ = ["LiveSolver", "SolverSettings", "solve_take"]
