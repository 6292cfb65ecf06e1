"""The other libraries, each with its best settings; the only file here that imports them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from typing import Any

import geotorch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils import parametrize as torch_parametrize

from .solver_problems import Problem

__all__ = [
    "Solved",
    "geoopt_method",
    "geoopt_sgd",
    "geotorch_orthogonal",
    "has",
    "pogo",
    "pymanopt_backends",
    "pymanopt_loop",
    "pymanopt_solver",
    "torch_adam",
    "torch_cached",
    "torch_muon",
    "torch_orthogonal",
    "torch_register",
    "versions",
]

DISTRIBUTIONS = ("torch", "geotorch", "geoopt", "pogo-torch", "pymanopt")


@contextmanager
def _quietly() -> Iterator[None]:
    """Ignore warnings: importing some peers uses names that newer versions of torch deprecate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def has(module: str) -> bool:
    """Whether an optional peer is installed."""
    return importlib.util.find_spec(module) is not None


def versions() -> dict[str, str]:
    """The versions of the peers; they belong to every figure."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def torch_cached() -> AbstractContextManager[object]:
    """The cache of the parametrizations of torch and geotorch."""
    return torch_parametrize.cached()


def torch_register(module: nn.Module, name: str, parametrization: nn.Module) -> nn.Module:
    """Register a parametrization with torch's layer."""
    return torch_parametrize.register_parametrization(module, name, parametrization)


def torch_orthogonal(
    layer: nn.Module, map: str | None = None, base: bool = True, name: str = "weight"
) -> nn.Module:
    """`torch.nn.utils.parametrizations.orthogonal`.

    Args:
        layer: changed in place and returned.
        map: `"matrix_exp"`, `"cayley"`, `"householder"`, or torch's choice for the shape.
        base: keep an `n x n` base point (torch's default).
        name: name of the weight.
    """
    return parametrizations.orthogonal(layer, name, map, use_trivialization=base)


def geotorch_orthogonal(layer: nn.Module, map: str = "expm", name: str = "weight") -> nn.Module:
    """`geotorch.orthogonal` with `"expm"` (its default) or `"cayley"`."""
    return geotorch.orthogonal(layer, name, triv=map)


def geoopt_sgd(
    points: Iterable[Tensor], canonical: bool, lr: float, momentum: float
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """Geoopt's Riemannian SGD on Stiefel, and its parameters.

    Args:
        points: `(*batch, n, p)` each, copied.
        canonical: geoopt's default manifold (canonical metric, its Cayley retraction), or the
            Euclidean one (QR).
        lr: learning rate.
        momentum: momentum factor.
    """
    with _quietly():
        import geoopt

    manifold = geoopt.Stiefel(canonical=canonical)
    parameters = [geoopt.ManifoldParameter(x.clone(), manifold=manifold) for x in points]
    return geoopt.optim.RiemannianSGD(parameters, lr=lr, momentum=momentum), parameters


def geoopt_method(manifold: str, method: str, x: Tensor, other: Tensor) -> Callable[[], Tensor]:
    """A method of a manifold of geoopt at a point, by our name for it."""
    with _quietly():
        import geoopt

    names = {"exp": "expmap", "log": "logmap", "dist": "dist", "retract": "retr"}
    call: Callable[[], Tensor] = partial(
        getattr(getattr(geoopt, manifold)(), names[method]), x, other
    )
    return call


def pogo(
    points: Iterable[Tensor], lr: float, momentum: float
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """POGO with momentum SGD inside, and its parameters.

    Args:
        points: `(batch, n, p)` each, the shape that POGO takes; copied.
        lr: learning rate.
        momentum: momentum factor.
    """
    with _quietly():
        from pogo import POGO, base

    parameters: list[Tensor] = [nn.Parameter(x.clone()) for x in points]
    return POGO(parameters, base.SGD(momentum=momentum), lr, rows=False), parameters


def torch_adam(points: Iterable[Tensor], lr: float) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """`torch.optim.Adam`, fused, on ordinary copies of the points."""
    parameters: list[Tensor] = [nn.Parameter(x.clone()) for x in points]
    return torch.optim.Adam(parameters, lr=lr, fused=True), parameters


def torch_muon(
    points: Iterable[Tensor], lr: float, momentum: float
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """`torch.optim.Muon` without weight decay, on ordinary copies of the points."""
    parameters: list[Tensor] = [nn.Parameter(x.clone()) for x in points]
    optimizer = torch.optim.Muon(parameters, lr=lr, momentum=momentum, weight_decay=0)
    return optimizer, parameters


@dataclass(frozen=True)
class Solved:
    """Where a solver ended: the value, the gradient norm, and the work that it took."""

    value: float
    gradient_norm: float
    iterations: int
    evaluations: int | None = None
    products: int | None = None

    def counts(self, tolerance: float) -> str:
        """Iterations, evaluations and Hessian products, and whether the tolerance was missed."""
        known = [n for n in (self.iterations, self.evaluations, self.products) if n is not None]
        missed = self.gradient_norm > tolerance
        return "/".join(map(str, known)) + f" MISSED {self.gradient_norm:.0e}" * missed


def pymanopt_backends(by_hand: bool) -> list[str]:
    """The backends of pymanopt that can be used: autodiff where installed, NumPy with our own."""
    return ["torch", *(["numpy by hand"] if by_hand else [])]


def pymanopt_solver(
    problem: Problem, method: str, backend: str, tolerance: float, limit: int
) -> Callable[[], Solved]:
    """A run of one of pymanopt's optimizers.

    Args:
        problem: one problem.
        method: `"TrustRegions"` or `"ConjugateGradient"`.
        backend: one of `pymanopt_backends`.
        tolerance: the gradient norm at which it stops.
        limit: iterations.
    """
    with _quietly():
        import pymanopt

    name, arguments, *named = problem.peer
    manifold = getattr(pymanopt.manifolds, name)(*arguments, **dict(*named))
    counts = {"evaluations": 0, "gradients": 0, "products": 0}

    def counted(what: str, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        def call(*points: Any) -> Any:
            counts[what] += 1
            return function(*points, *args)

        return call

    wrap: Any
    derivatives: dict[str, Any] = {}
    if backend == "torch":
        wrap, args = pymanopt.function.pytorch(manifold), problem.args
    else:
        wrap, args = pymanopt.function.numpy(manifold), tuple(a.numpy() for a in problem.args)
        derivatives["euclidean_gradient"] = wrap(counted("gradients", problem.gradient, args))
        derivatives["euclidean_hessian"] = wrap(counted("products", problem.hessian, args))
    cost = wrap(counted("evaluations", problem.peer_fun or problem.fun, args))
    if problem.peer_x0 is None:
        x0 = problem.x0.numpy()
    else:
        kind = type(manifold.random_point())
        x0 = kind(*(part.numpy() for part in problem.peer_x0))

    def run() -> Solved:
        for what in counts:
            counts[what] = 0
        stopping = {"min_gradient_norm": tolerance, "min_step_size": 0.0, "max_time": 600.0}
        optimizer = getattr(pymanopt.optimizers, method)(
            verbosity=0, max_iterations=limit, **stopping
        )
        made = pymanopt.Problem(manifold, cost, **derivatives)
        with _quietly():
            result = optimizer.run(made, initial_point=x0)
        norm = manifold.norm(result.point, made.riemannian_gradient(result.point))
        return Solved(
            float(result.cost),
            float(norm),
            result.iterations,
            counts["evaluations"],
            counts["products"] if backend != "torch" else None,
        )

    return run


def pymanopt_loop(
    problem: Problem, method: str, backend: str, tolerance: float, limit: int
) -> Callable[[], Solved]:
    """One run of pymanopt after another over the problems of a batch."""
    runs = [
        pymanopt_solver(
            replace(problem, x0=x0, args=tuple(a[i] for a in problem.args)),
            method,
            backend,
            tolerance,
            limit,
        )
        for i, x0 in enumerate(problem.x0)
    ]

    def run() -> Solved:
        ends = [one() for one in runs]
        return Solved(
            sum(end.value for end in ends),
            max(end.gradient_norm for end in ends),
            max(end.iterations for end in ends),
            sum(end.evaluations or 0 for end in ends),
        )

    return run
