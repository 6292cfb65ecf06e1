"""Deterministic solvers: minimize a function of a point on a manifold, to a tolerance."""

from torchmanifold.optim.solvers import stop
from torchmanifold.optim.solvers.adaptive_cubic import AdaptiveCubic
from torchmanifold.optim.solvers.argmin import argmin
from torchmanifold.optim.solvers.barzilai_borwein import BarzilaiBorwein
from torchmanifold.optim.solvers.conjugate_gradient import ConjugateGradient
from torchmanifold.optim.solvers.constraints import ConstrainedResult, Equality, Inequality
from torchmanifold.optim.solvers.derivatives import Riemannian
from torchmanifold.optim.solvers.gradient_descent import GradientDescent
from torchmanifold.optim.solvers.lbfgs import LBFGS
from torchmanifold.optim.solvers.least_squares import LeastSquaresResult, least_squares
from torchmanifold.optim.solvers.levenberg_marquardt import LevenbergMarquardt
from torchmanifold.optim.solvers.minimize import minimize
from torchmanifold.optim.solvers.nelder_mead import NelderMead
from torchmanifold.optim.solvers.result import Result, SolverError
from torchmanifold.optim.solvers.saved import SolverState
from torchmanifold.optim.solvers.trust_region import TrustRegion
from torchmanifold.optim.solvers.watch import Info

__all__ = [
    "LBFGS",
    "AdaptiveCubic",
    "BarzilaiBorwein",
    "ConjugateGradient",
    "ConstrainedResult",
    "Equality",
    "GradientDescent",
    "Inequality",
    "Info",
    "LeastSquaresResult",
    "LevenbergMarquardt",
    "NelderMead",
    "Result",
    "Riemannian",
    "SolverError",
    "SolverState",
    "TrustRegion",
    "argmin",
    "least_squares",
    "minimize",
    "stop",
]
