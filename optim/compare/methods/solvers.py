"""The solvers of `tm.minimize`, as methods for problems with one point."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from torchmanifold.optim.compare.method import Config, Method, Solver
from torchmanifold.optim.compare.problem import Problem

__all__ = ["SOLVERS"]

ABOUT = {
    "trust-region": "tm.minimize: trust region with truncated conjugate gradients",
    "lbfgs": "tm.minimize: limited-memory BFGS",
    "cg": "tm.minimize: nonlinear conjugate gradients",
    "arc": "tm.minimize: adaptive regularization with cubics",
    "barzilai-borwein": "tm.minimize: Barzilai-Borwein steps",
    "gradient-descent": "tm.minimize: gradient descent with line search",
}


@dataclass(frozen=True)
class _Named:
    """Builds the solver with a given name."""

    name: str

    def __call__(self, model: nn.Module, config: Config) -> Solver:
        """The solver."""
        return Solver(self.name)


def _is_one_point(problem: Problem) -> bool:
    return not problem.is_network and problem.probe.batch is None


SOLVERS = tuple(
    Method(
        name=name,
        build=_Named(name),
        how="plain",
        family="solvers",
        about=about,
        applies=_is_one_point,
    )
    for name, about in ABOUT.items()
)
