"""The benchmark of manifolds: exponentials, logarithms and distances of points in batches.

The residual is the relative error in float32, against our own values in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

import torchmanifold as tm

from . import peers
from .benchmark import Benchmark, Piece, Settings
from .table import Target
from .timing import Contender, Work

__all__ = ["MANIFOLDS"]

MANY = 1000
NEVER_SLOWER = Target.at_most_times(1)
#: of a call on one point, whose time is that of starting its operations
LAUNCHES = Target.at_most_times(1.5)


@dataclass(frozen=True)
class Case:
    """A manifold with the peer's name for it.

    Args:
        name: printed.
        manifold: ours.
        peer: the name in geoopt.
        shape: of a point.
        methods: compared.
    """

    name: str
    manifold: tm.Manifold
    peer: str
    shape: tuple[int, ...]
    methods: tuple[str, ...] = ("exp", "log", "dist")


CASES = (
    Case("sphere", tm.Sphere(), "Sphere", (64,)),
    Case("Poincare ball", tm.PoincareBall(), "PoincareBall", (64,)),
    Case("hyperboloid", tm.Lorentz(), "Lorentz", (65,)),
    Case("SPD", tm.SymmetricPositiveDefinite(), "SymmetricPositiveDefinite", (8, 8)),
    Case("SPD", tm.SymmetricPositiveDefinite(), "SymmetricPositiveDefinite", (32, 32)),
    Case(
        "Stiefel canonical",
        tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley()),
        "CanonicalStiefel",
        (32, 8),
        ("retract",),
    ),
    Case("Stiefel", tm.Stiefel(), "EuclideanStiefel", (32, 8), ("retract",)),
    Case("simplex", tm.Multinomial(), "none", (64,)),
    Case("rotations", tm.SpecialOrthogonal(), "none", (3, 3)),
    Case("Grassmann", tm.Grassmann(), "none", (32, 8)),
)


def _pieces(settings: Settings) -> Iterator[Piece]:
    for case in CASES:
        for method in case.methods:
            for count in (5,) if settings.quick else (1, MANY):
                size = " x ".join(map(str, case.shape))
                name = f"{case.name} {method}, {count} x ({size})"
                yield Piece(name, partial(_work, name, settings, case, method, count))


def _work(name: str, settings: Settings, case: Case, method: str, count: int) -> Work:
    M = case.manifold
    x = M.random(count, *case.shape, dtype=torch.float64, device=settings.device)
    v = 0.5 * M.random_tangent(x) / M.dim(case.shape) ** 0.5
    end = M.retract(x, v)
    other = end if method in ("log", "dist") else v
    at, towards = x.float(), other.float()
    exact: Tensor = getattr(M, method)(at.double(), towards.double())

    def contender(
        who: str, call: Callable[[], Tensor], *targets: Target, ours: bool = False
    ) -> Contender:
        def error() -> float:
            return float((call().double() - exact).norm() / exact.norm())

        return Contender(who, call, error, ours=ours, targets=targets)

    with torch.no_grad():
        contenders = [contender("ours", partial(getattr(M, method), at, towards), ours=True)]
        if peers.has("geoopt") and case.peer != "none":
            call = peers.geoopt_method(case.peer, method, at, towards)
            target = LAUNCHES if count == 1 else NEVER_SLOWER
            contenders.append(contender("geoopt", call, target))
    return Work(name, contenders)


MANIFOLDS = Benchmark("manifolds", "exp, log and dist against geoopt", _pieces)
