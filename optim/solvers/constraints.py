"""Constraints on top of the manifold, by an augmented Lagrangian over any of the methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from torchmanifold.optim.solvers.columns import Columns
from torchmanifold.optim.solvers.result import Result

__all__ = ["ConstrainedResult", "Equality", "Inequality", "augmented_lagrangian", "checked"]

OUTER = 60  # the largest number of rounds
GROWTH = 4.0  # the factor of the penalty after a round with too small a reduction
REDUCTION = 0.5  # the factor by which a round must reduce the violation
LARGEST = 1e12  # the largest penalty
BOUND = 1e10  # the largest multiplier in the penalty, as a safeguard

_COLUMNS = {"round": 5, "iterations": 10, "evaluations": 11, "value": 17, "violation": 9,
            "KKT residual": 12, "penalty": 7, "seconds": 8}  # fmt: skip


@dataclass(frozen=True)
class Equality:
    """`fun(x) = 0`, for one number or several.

    Args:
        fun: `fun(x, *args)`.
    """

    fun: Callable[..., Tensor]


@dataclass(frozen=True)
class Inequality:
    """`fun(x) >= 0`, for one number or several, as in scipy.

    Args:
        fun: `fun(x, *args)`.
    """

    fun: Callable[..., Tensor]


@dataclass(frozen=True)
class ConstrainedResult(Result):
    """A `Result` with multipliers, violation and KKT residual.

    Args:
        multipliers: one tensor for each constraint, in their order; those of an inequality are not
            negative. At a solution the Riemannian gradient of `fun - sum multipliers constraint` is
            zero.
        violation: the largest `|fun(x)|` of an equality or `-fun(x)` of an inequality, at least 0.
        kkt: the largest of the norm of the Lagrangian's gradient, the violation, and the
            complementarity `|min(multiplier, fun(x))|` of inequalities.
        rounds: updates of the multipliers.
    """

    multipliers: tuple[Tensor, ...] = ()
    violation: float = math.inf
    kkt: float = math.inf
    rounds: int = 0
    penalty: float = field(default=0.0, repr=False)


def checked(constraints: Any) -> tuple[Equality | Inequality, ...]:
    """One constraint or several, as a tuple.

    Raises:
        TypeError: for a value that is not a constraint, or has no function.
    """
    if isinstance(constraints, Equality | Inequality):
        constraints = (constraints,)
    for c in constraints:
        if not isinstance(c, Equality | Inequality):
            raise TypeError(f"constraints: expected tm.Equality(h) or tm.Inequality(g), got {c!r}")
        if not callable(c.fun):
            raise TypeError(f"constraints: expected a function, got {c.fun!r}")
    return tuple(constraints)


@dataclass
class _Lagrangian:
    """`f + rho/2 |h - lambda/rho|^2 + rho/2 |max(0, mu/rho - g)|^2`."""

    fun: Callable[..., Any]
    constraints: tuple[Equality | Inequality, ...]
    multipliers: list[Tensor]
    penalty: float

    def __call__(self, x: Any, *args: Any) -> Tensor:
        value = self.fun(x, *args)
        for c, m in zip(self.constraints, self.multipliers, strict=True):
            shifted = m / self.penalty - c.fun(x, *args).flatten()
            if isinstance(c, Inequality):
                shifted = shifted.clamp_min(0)
            value = value + self.penalty / 2 * shifted.square().sum()
        return value

    def updated(self, values: list[Tensor]) -> list[Tensor]:
        """Multipliers after a round."""
        found = []
        for c, m, v in zip(self.constraints, self.multipliers, values, strict=True):
            new = m - self.penalty * v
            new = new.clamp_min(0) if isinstance(c, Inequality) else new
            found.append(new.clamp(-BOUND, BOUND))
        return found


def _violations(
    constraints: Sequence[Equality | Inequality], multipliers: list[Tensor], values: list[Tensor]
) -> tuple[float, float]:
    """The largest violation, without and with complementarity."""
    worst, both = 0.0, 0.0
    for c, m, v in zip(constraints, multipliers, values, strict=True):
        if v.numel() == 0:
            continue
        if isinstance(c, Equality):
            off = float(v.abs().max())
            worst, both = max(worst, off), max(both, off)
        else:
            worst = max(worst, float((-v).clamp_min(0).max()))
            both = max(both, float(torch.minimum(m, v).abs().max()))
    return worst, both


def augmented_lagrangian(
    solve: Callable[..., Result],
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...],
    constraints: Any,
    tol: float | None,
    *,
    verbose: bool = False,
    **options: Any,
) -> ConstrainedResult:
    """Minimize under constraints, by rounds of unconstrained solves.

    Args:
        solve: `minimize`.
        fun: the function.
        x0: the initial point; it need not satisfy the constraints.
        args: further arguments of `fun` and of the constraints.
        constraints: a constraint or several.
        tol: the tolerance of the KKT residual; 1e-6 by default.
        verbose: print the rounds.
        options: options of `solve`.

    Raises:
        TypeError: for a value that is not a constraint.
        ValueError: for values that are not finite, or several problems.

    Source: Liu & Boumal, Simple algorithms for optimization on Riemannian manifolds with
    constraints, Appl. Math. Optim. 82 (2020), algorithm 1.
    """
    known = checked(constraints)
    tol = tol or 1e-6
    with torch.no_grad():
        values = [_value(c, x0, args) for c in known]
        if isinstance(first := fun(x0, *args), Tensor) and first.ndim:
            raise ValueError(
                f"constraints: fun must give one number, a problem at a time; got the shape "
                f"{tuple(first.shape)}"
            )
    lagrangian = _Lagrangian(fun, known, [torch.zeros_like(v) for v in values], 0.0)
    worst, _ = _violations(known, lagrangian.multipliers, values)
    scale = sum(float(v.square().sum()) for v in values) / 2
    lagrangian.penalty = min(max(2 * max(1.0, abs(float(first))) / max(scale, 1e-3), 1e-1), 1e4)
    inner, counts, x, seconds = 1e-1, [0, 0, 0, 0], x0, 0.0
    rounds = 0
    if verbose:
        columns = Columns(_COLUMNS)
    while rounds < OUTER:
        rounds += 1
        goal = max(inner, 0.5 * tol)
        found = solve(lagrangian, x, args=args, tol=goal, **options)
        x = found.x
        for i, name in enumerate(("nit", "nfev", "njev", "nhev")):
            counts[i] += getattr(found, name)
        seconds += found.time
        with torch.no_grad():
            values = [_value(c, x, args) for c in known]
        lagrangian.multipliers = lagrangian.updated(values)
        before, (worst, both) = worst, _violations(known, lagrangian.multipliers, values)
        # The gradient of the penalty is that of the Lagrangian with the new multipliers.
        kkt = max(found.gradient_norm, both)
        if verbose:
            columns.row(
                [str(rounds), str(counts[0]), str(counts[1]), f"{float(fun(x, *args)): .10e}",
                 f"{worst:.2e}", f"{kkt:.2e}", f"{lagrangian.penalty:.1e}", f"{seconds:.2f}"]
            )  # fmt: skip
        if kkt <= tol or found.status == 4:
            break
        if worst > max(REDUCTION * before, 0.1 * tol):
            lagrangian.penalty = min(GROWTH * lagrangian.penalty, LARGEST)
        inner *= 0.3
    success = kkt <= tol
    message = (
        f"the KKT residual is at most {tol:g}"
        if success
        else f"after {rounds} rounds the KKT residual is {kkt:.2g} and the violation {worst:.2g}: "
        f"{found.message}"
    )
    if verbose:
        print(message)
    parts = {f.name: getattr(found, f.name) for f in fields(Result)}
    parts |= dict(zip(("nit", "nfev", "njev", "nhev"), counts, strict=True))
    with torch.no_grad():
        parts |= {
            "fun": float(fun(x, *args)),
            "success": success,
            "status": 0 if success else max(found.status, 1),
            "message": message,
            "time": seconds,
            "state": None,
        }
    return ConstrainedResult(
        **parts,
        multipliers=tuple(lagrangian.multipliers),
        violation=worst,
        kkt=kkt,
        rounds=rounds,
        penalty=lagrangian.penalty,
    )


def _value(constraint: Equality | Inequality, x: Any, args: tuple[Any, ...]) -> Tensor:
    v = constraint.fun(x, *args)
    kind = type(constraint).__name__
    if not isinstance(v, Tensor) or not v.is_floating_point():
        found = v.dtype if isinstance(v, Tensor) else type(v).__name__
        raise TypeError(f"{kind}: its function must give a real tensor, got {found}")
    if not bool(torch.isfinite(v).all()):
        raise ValueError(f"{kind}: its value is not finite: {v.tolist()}")
    return v.flatten()
