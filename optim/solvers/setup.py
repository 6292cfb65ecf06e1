"""From the arguments of a user to those of the loop: checks, the objective, the first point."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds import Euclidean, Manifold
from torchmanifold.optim.solvers.derivatives import Riemannian
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.parts import (
    Factor,
    factors_of,
    leaves_of,
    names_of,
    structure_like,
)
from torchmanifold.optim.solvers.space import Space
from torchmanifold.optim.solvers.stop import Criterion, GradientNorm, Iterations, StepSize

__all__ = ["chosen_method", "criteria_of", "objective_of", "on_manifold"]

_TOL = 1e-6
_ITERATIONS = {0: 20_000, 1: 20_000, 2: 1_000}
# The largest residual of an initial point, in units of its rounding in float32.
_SLACK = 100


def chosen_method(
    method: Any, options: Mapping[str, Any] | None, known: Mapping[str, type[Any]], default: str
) -> Any:
    """The method as a value, from its name or value and options.

    Raises:
        ValueError: for an unknown name or option.
    """
    if method is None:
        method = default
    if isinstance(method, str):
        if method not in known:
            raise ValueError(f"method: expected one of {', '.join(known)}, got {method!r}")
        method = known[method]()
    elif isinstance(method, type) or not hasattr(method, "step"):
        raise ValueError(
            f"method: expected one of {', '.join(known)}, or a value as LBFGS(), got {method!r}"
        )
    if options:
        names = [field.name for field in dataclasses.fields(method)]
        unknown = sorted(set(options) - set(names))
        if unknown:
            raise ValueError(
                f"options: {type(method).__name__} has {', '.join(names) or 'none'}, got "
                f"{', '.join(unknown)}; limits are criteria, as stop=tm.stop.Iterations(100)"
            )
        method = dataclasses.replace(method, **options)
    return method


def criteria_of(tol: float | None, stop: Criterion | None, order: int) -> Criterion:
    """The criteria to stop by.

    Raises:
        ValueError: for a tolerance that is not positive.
        TypeError: if `stop` is not a criterion.
    """
    if stop is not None and not isinstance(stop, Criterion):
        raise TypeError(f"stop: expected a criterion, as tm.stop.Iterations(100), got {stop!r}")
    if tol is not None and (isinstance(tol, bool) or not tol > 0):
        raise ValueError(f"tol must be a positive number, got {tol!r}")
    found = stop
    if tol is not None or stop is None or not any(c.sure for c in stop.alternatives()):
        norm = GradientNorm(tol or _TOL) if order else StepSize(tol or _TOL)
        found = norm if found is None else norm | found
    assert found is not None
    return found if stop is not None else found | Iterations(_ITERATIONS[order])


def on_manifold(x0: Any, factors: tuple[Factor, ...]) -> Any:
    """The point `x0`, projected to correct its rounding, as detached tensors.

    Raises:
        TypeError: for tensors that are not of float32, float64 or a complex type of these.
        ValueError: for NaN, infinities, wrong shapes and points off the manifold.
    """
    mended: list[Tensor] = []
    first = leaves_of(x0)[0]
    for factor in factors:
        mended += _factor_on_manifold(factor, first)
    return structure_like(x0, tuple(mended))


def _factor_on_manifold(factor: Factor, first: Tensor) -> tuple[Tensor, ...]:
    M = factor.manifold
    x = structure_like(factor.point, tuple(leaf.detach() for leaf in leaves_of(factor.point)))
    leaves = leaves_of(x)
    for leaf, name in zip(leaves, names_of(factor.point, factor.name), strict=True):
        if leaf.dtype not in (torch.float32, torch.float64, torch.complex64, torch.complex128):
            raise TypeError(
                f"{name}: expected float32, float64 or complex numbers, got {leaf.dtype}; use "
                f"{name}.double()"
            )
        if leaf.real.dtype != first.real.dtype or leaf.device != first.device:
            raise ValueError(
                f"{name}: its dtype and device are {leaf.dtype} on {leaf.device}, those of the "
                f"first tensor {first.dtype} on {first.device}"
            )
        M.check_dtype(leaf.dtype)
        bad = int((~torch.isfinite(leaf)).sum())
        if bad:
            raise ValueError(f"{name}: {bad} of {leaf.numel()} entries are NaN or infinite")
    shapes: Any = structure_like(x, tuple(tuple(leaf.shape) for leaf in leaves))
    M.check_shape(shapes)
    residual = float(M.residual(x).max()) if leaves[0].numel() else 0.0
    allowed = _SLACK * M.tolerance(shapes, torch.float32)
    if not residual <= allowed:
        raise ValueError(
            f"{factor.name} is not on {M!r}: its residual is {residual:.3g}, at most "
            f"{allowed:.3g} is allowed; start from manifold.project({factor.name})"
        )
    return leaves_of(M.project(x) if residual > M.tolerance(shapes, leaves[0].dtype) else x)


def objective_of(
    fun: Callable[..., Any],
    x0: Any,
    manifold: Any,
    args: tuple[Any, ...],
    jac: Any,
    hessp: Any,
    order: int,
) -> tuple[Objective, Any, Tensor]:
    """The objective, the initial point on its manifold, and the value there.

    Raises:
        ValueError, TypeError: as stated for `minimize`.
    """
    if not callable(fun):
        raise TypeError(f"fun: expected a function, got {fun!r}")
    if not (jac is None or jac is True or callable(jac)):
        raise TypeError(f"jac: expected a function, True or None, got {jac!r}")
    if not (hessp is None or hessp == "differences" or callable(hessp)):
        raise TypeError(f"hessp: expected a function, 'differences' or None, got {hessp!r}")
    own = isinstance(hessp, Riemannian) or hessp in (None, "differences")
    if isinstance(jac, Riemannian) and order == 2 and not own:
        raise ValueError(
            "hessp: a Riemannian jac goes with hessp=Riemannian(...) or 'differences', since the "
            "Euclidean Hessian is converted with the Euclidean gradient"
        )
    leaves = leaves_of(x0)
    if not leaves:
        raise ValueError("x0 has no tensor")
    for leaf, name in zip(leaves, names_of(x0, "x0"), strict=True):
        if not (leaf.is_floating_point() or leaf.is_complex()):
            raise TypeError(
                f"{name}: expected a floating point tensor, got {leaf.dtype}; use {name}.double()"
            )
    shape: tuple[int, ...] = ()

    def default(leaf: Tensor) -> Manifold:
        return Euclidean(ndim=leaf.ndim)

    factors = factors_of(x0, manifold, default)
    x0 = on_manifold(x0, factors)
    value = fun(x0, *args)
    if jac is True:
        if not isinstance(value, tuple) or len(value) != 2:
            raise ValueError("jac=True: fun must return the pair (value, gradient)")
        value = value[0]
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            raise TypeError(f"fun: expected a real floating point value, got {value.dtype}")
        shape = tuple(value.shape)
    elif not isinstance(value, int | float):
        raise TypeError(f"fun: expected a tensor, got {type(value).__name__}")
    elif jac is None and order > 0:
        raise TypeError(
            f"fun: no gradient of a {type(value).__name__} is known; compute the value from x with "
            f"operations of PyTorch, without .item() or NumPy, or pass jac"
        )
    if shape and manifold is None:
        factors = factors_of(x0, None, lambda leaf: Euclidean(ndim=leaf.ndim - len(shape)))
    for batch in (batch for factor in factors for batch in factor.batches()):
        if shape != batch[: len(shape)]:
            raise ValueError(
                f"fun: its value has the shape {shape}, which must be () or the first of the batch "
                f"dimensions {batch} of x0, one value a problem; use .sum() for one problem"
            )
    objective = Objective(fun, Space.of(x0, factors, shape), args, jac, hessp, order)
    return objective, x0, torch.as_tensor(value).detach()
