"""Other libraries behind our signatures; the only file of the comparison that imports them.

A constraint is `(module, name, manifold) -> None`: it registers its parametrization with its own
defaults and then assigns the old weight, so every method begins at the same point.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import geotorch
import numpy as np
import scipy.optimize
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from torchmanifold.manifolds import (
    AffineInvariant,
    FixedRank,
    Grassmann,
    Manifold,
    Oblique,
    SpecialOrthogonal,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)
from torchmanifold.optim.compare.method import Look, Stepper

__all__ = [
    "GEOTORCH",
    "TORCH",
    "Geoopt",
    "Pymanopt",
    "Register",
    "ScipyLBFGS",
    "geoopt_serves",
    "geotorch_constraint",
    "has",
    "pogo",
    "pogo_serves",
    "pymanopt_serves",
    "torch_orthogonal",
]

Register = Callable[[nn.Module, str, Manifold], None]

TORCH = (Stiefel, SpecialOrthogonal)

GEOTORCH: Mapping[type[Manifold], Callable[[nn.Module, str, Any], nn.Module]] = {
    Stiefel: lambda module, name, _: geotorch.orthogonal(module, name),
    SpecialOrthogonal: lambda module, name, _: geotorch.orthogonal(module, name),
    SymmetricPositiveDefinite: lambda module, name, _: geotorch.positive_definite(module, name),
    FixedRank: lambda module, name, M: geotorch.fixed_rank(module, name, rank=M.rank),
}


def _start_at(module: nn.Module, name: str, register: Callable[[], nn.Module]) -> None:
    start = getattr(module, name).detach().clone()
    register()
    with torch.no_grad():
        setattr(module, name, start)


def torch_orthogonal(module: nn.Module, name: str, manifold: Manifold) -> None:
    """`torch.nn.utils.parametrizations.orthogonal`: Householder if tall, exponential if square."""
    _start_at(module, name, lambda: parametrizations.orthogonal(module, name))


def geotorch_constraint(module: nn.Module, name: str, manifold: Manifold) -> None:
    """The constraint of geotorch for the kind of manifold."""
    register = GEOTORCH[type(manifold)]
    _start_at(module, name, lambda: register(module, name, manifold))


def has(module: str) -> bool:
    """Whether an optional library is installed."""
    return importlib.util.find_spec(module) is not None


@contextmanager
def _quietly() -> Iterator[None]:
    """Ignore warnings of other libraries about names and shapes that are theirs to change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_affine_invariant(manifold: Manifold) -> bool:
    return isinstance(manifold, SymmetricPositiveDefinite) and isinstance(
        manifold.metric, AffineInvariant
    )


def geoopt_serves(manifold: Manifold, x: Tensor) -> bool:
    """Whether geoopt has the manifold of a point."""
    if isinstance(manifold, Oblique):
        return manifold.rows
    return isinstance(manifold, Stiefel | SpecialOrthogonal | Sphere) or _is_affine_invariant(
        manifold
    )


@dataclass(frozen=True)
class Geoopt:
    """An optimizer of geoopt; Stiefel has the Euclidean metric, its faster form.

    Args:
        kind: "RiemannianSGD", with momentum 0.9, or "RiemannianAdam".
    """

    kind: str

    def __call__(self, model: nn.Module, manifold: Manifold, lr: float) -> Stepper:
        """The optimizer; the parameter `weight` of the model becomes one of geoopt."""
        with _quietly():
            import geoopt

            theirs: Any
            if isinstance(manifold, Stiefel | SpecialOrthogonal):
                theirs = geoopt.Stiefel(canonical=False)
            elif isinstance(manifold, SymmetricPositiveDefinite):
                theirs = geoopt.SymmetricPositiveDefinite()
            else:
                theirs = geoopt.Sphere()
            weight = geoopt.ManifoldParameter(
                model.get_parameter("weight").detach(), manifold=theirs
            )
        model.register_parameter("weight", weight)
        options = {"momentum": 0.9} if self.kind == "RiemannianSGD" else {}
        made: Stepper = getattr(geoopt.optim, self.kind)([weight], lr=lr, **options)
        return made


def pogo_serves(manifold: Manifold, x: Tensor) -> bool:
    """Whether POGO has the manifold of a point."""
    return isinstance(manifold, Stiefel | SpecialOrthogonal) and x.ndim <= 3


class _OneOfABatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[0]

    def right_inverse(self, x: Tensor) -> Tensor:
        return x[None]


def pogo(model: nn.Module, manifold: Manifold, lr: float) -> Stepper:
    """POGO with momentum; it takes batches of matrices, so a matrix becomes a batch of one."""
    with _quietly():
        from pogo import POGO, base

    if model.get_parameter("weight").ndim == 2:
        # Unsafe: the parametrization changes the shape.
        parametrize.register_parametrization(model, "weight", _OneOfABatch(), unsafe=True)
    made = POGO(list(model.parameters()), base.SGD(momentum=0.9), lr, rows=False)

    def step(objective: Callable[[], Tensor]) -> None:
        # Its own step does not call a closure.
        made.zero_grad()
        objective().backward()
        made.step()

    return step


def pymanopt_serves(manifold: Manifold, x: Tensor) -> bool:
    """Whether pymanopt has the manifold of a point, with the same points."""
    if isinstance(manifold, Stiefel | SpecialOrthogonal | Grassmann) or _is_affine_invariant(
        manifold
    ):
        return x.ndim <= 3
    return (isinstance(manifold, Oblique) and x.ndim == 2) or (
        isinstance(manifold, Sphere) and x.ndim == 1
    )


def _pymanopt_manifold(manifold: Manifold, shape: tuple[int, ...]) -> Any:
    with _quietly():
        import pymanopt.manifolds as pm

    *batch, n, p = shape if len(shape) > 1 else (1, *shape)
    k = {"k": batch[0]} if batch else {}
    match manifold:
        case Stiefel():
            return pm.Stiefel(n, p, **k)
        case SpecialOrthogonal():
            return pm.SpecialOrthogonalGroup(n, **k)
        case Grassmann():
            return pm.Grassmann(n, p, **k)
        case SymmetricPositiveDefinite():
            return pm.SymmetricPositiveDefinite(n, **k)
        case Oblique():
            return pm.Oblique(p, n) if manifold.rows else pm.Oblique(n, p)
        case _:
            return pm.Sphere(p)


@dataclass(frozen=True)
class Pymanopt:
    """A solver of pymanopt.

    Args:
        kind: "ConjugateGradient" or "TrustRegions".
        manifold: our manifold of the point.
    """

    kind: str
    manifold: Manifold

    def __call__(
        self, loss: Callable[[Any], Tensor], x: Tensor, steps: int, tol: float, look: Look
    ) -> None:
        """Minimize the loss from a point."""
        with _quietly():
            import pymanopt

        turned = isinstance(self.manifold, Oblique) and self.manifold.rows
        there = (lambda x: x.mT) if turned else (lambda x: x)
        theirs = _pymanopt_manifold(self.manifold, tuple(x.shape))

        def seen(iteration: int, point: Any) -> None:
            look(iteration, there(torch.from_numpy(np.ascontiguousarray(point)).to(x.dtype)))

        class Looking(getattr(pymanopt.optimizers, self.kind)):  # type: ignore[misc]
            # Its optimizers have no callback; this method is called once an iteration.
            def _add_log_entry(self, *, iteration: int, point: Any, **rest: Any) -> None:
                seen(iteration, point)

        optimizer = Looking(
            verbosity=0,
            max_iterations=steps,
            min_gradient_norm=tol,
            min_step_size=0.0,
            max_time=1e9,
            max_cost_evaluations=10**9,
        )
        cost = pymanopt.function.pytorch(theirs)(lambda point: loss(there(point).to(x.dtype)))
        initial = np.ascontiguousarray(there(x.detach()).numpy())
        with _quietly():
            result = optimizer.run(pymanopt.Problem(theirs, cost), initial_point=initial)
        seen(result.iterations, result.point)


@dataclass(frozen=True)
class ScipyLBFGS:
    """L-BFGS-B of scipy on the parameters of a parametrized model."""

    model: nn.Module

    def __call__(
        self, loss: Callable[[Any], Tensor], x: Any, steps: int, tol: float, look: Look
    ) -> None:
        """Minimize the loss from the parameters that the model has."""
        model, parameters = self.model, list(self.model.parameters())

        def flat(parts: Iterable[Tensor]) -> Any:
            # A complex number is two real ones.
            real = [torch.view_as_real(x) if x.is_complex() else x for x in parts]
            vector = torch.cat([x.detach().reshape(-1) for x in real])
            return vector.to("cpu", torch.float64).numpy()

        @torch.no_grad()
        def put(values: Any) -> None:
            rest = torch.as_tensor(values)
            for parameter in parameters:
                real = torch.view_as_real(parameter) if parameter.is_complex() else parameter
                real.copy_(rest[: real.numel()].view(real.shape))
                rest = rest[real.numel() :]

        def value_and_gradient(values: Any) -> tuple[float, Any]:
            put(values)
            value = loss(model())
            grads = torch.autograd.grad(value, parameters, materialize_grads=True)
            return float(value.detach()), flat(grads)

        done = 0

        def callback(values: Any) -> None:
            nonlocal done
            done += 1
            put(values)
            look(done, model())

        result = scipy.optimize.minimize(
            value_and_gradient,
            flat(parameters),
            jac=True,
            method="L-BFGS-B",
            callback=callback,
            options={"maxiter": steps, "maxfun": 10**9, "gtol": tol, "ftol": 0.0},
        )
        put(result.x)
        look(result.nit, model())
