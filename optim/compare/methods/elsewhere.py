"""Optimizers and solvers of other libraries, as methods, where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torchmanifold.manifolds import Manifold
from torchmanifold.optim.compare.method import Config, Loop, Method, Stepper
from torchmanifold.optim.compare.methods import libraries
from torchmanifold.optim.compare.methods.descent import RATES
from torchmanifold.optim.compare.problem import Problem

__all__ = ["ELSEWHERE"]

Serves = Callable[[Manifold, Tensor], bool]


@dataclass(frozen=True)
class _Served:
    """Whether a library has the manifold of a problem that is one real tensor."""

    serves: Serves

    def __call__(self, problem: Problem) -> bool:
        """Whether it can be used."""
        x = problem.probe.initial
        if not isinstance(x, Tensor) or x.is_complex() or problem.probe.batch is not None:
            return False
        return self.serves(problem.manifolds[0], x)


@dataclass(frozen=True)
class _Moved:
    """An optimizer of another library, which takes the weight as a parameter of its own."""

    make: Callable[[nn.Module, Manifold, float], Stepper]

    def __call__(self, model: nn.Module, config: Config) -> Stepper:
        """The optimizer."""
        return self.make(model, config.weights["weight"], config["lr"])


@dataclass(frozen=True)
class _Pymanopt:
    """One of pymanopt's optimizers, with derivatives by its torch backend."""

    name: str

    def __call__(self, model: nn.Module, config: Config) -> Loop:
        """The solver."""
        return Loop(libraries.Pymanopt(self.name, config.weights["weight"]))


def _scipy(model: nn.Module, config: Config) -> Loop:
    return Loop(libraries.ScipyLBFGS(model))


def _is_one_point(problem: Problem) -> bool:
    return not problem.is_network and problem.probe.batch is None


def _found() -> list[Method]:
    found: list[tuple[str, str, Any, Serves]] = []
    if libraries.has("geoopt"):
        found += [
            (f"geoopt-{name}", f"geoopt.optim.{kind}", _Moved(libraries.Geoopt(kind)),
             libraries.geoopt_serves)
            for name, kind in (("sgd", "RiemannianSGD"), ("adam", "RiemannianAdam"))
        ]  # fmt: skip
    if libraries.has("pogo"):
        found += [
            ("pogo", "POGO of pogo-torch, momentum inside", _Moved(libraries.pogo),
             libraries.pogo_serves)
        ]  # fmt: skip
    if libraries.has("pymanopt"):
        found += [
            (f"pymanopt-{name}", f"pymanopt's {kind}, derivatives by torch", _Pymanopt(kind),
             libraries.pymanopt_serves)
            for name, kind in (("cg", "ConjugateGradient"), ("trust-region", "TrustRegions"))
        ]  # fmt: skip
    return [
        Method(
            name=name,
            build=build,
            grid={"lr": RATES} if isinstance(build, _Moved) else {},
            how="plain",
            about=about,
            applies=_Served(serves),
        )
        for name, about, build, serves in found
    ]


ELSEWHERE = (
    *_found(),
    Method(
        name="scipy-lbfgs",
        build=_scipy,
        how="parametrized",
        about="L-BFGS-B of scipy on the parametrized problem",
        applies=_is_one_point,
    ),
)
