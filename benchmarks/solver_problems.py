"""The problems of the benchmark of solvers.

Derivatives by hand use only operators, so the same lines compute with tensors and arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import torchmanifold as tm

__all__ = ["BATCHED", "PROBLEMS", "Problem"]


@dataclass(frozen=True)
class Problem:
    """A function of a point, with the other arguments of a solver.

    Args:
        name: its name in the table, with the size.
        fun: `fun(x, *args)`, the value of each problem.
        x0: the initial point.
        manifold: the manifold of this library.
        peer: the name of pymanopt's manifold, its arguments, and its keyword arguments.
        args: the data; if there are many problems, their dimension comes first.
        gradient: `gradient(x, *args)`, the Euclidean gradient.
        hessian: `hessian(x, v, *args)`, the Euclidean Hessian along `v`.
        residuals: `residuals(x, *args)`, if the value is half the sum of their squares.
        peer_fun: `fun` of the peer's own points, if they differ from ours.
        peer_x0: the tensors of the initial point in the peer's form, if it differs from ours.
        peer_methods: the peer's optimizers that the manifold can serve.
    """

    name: str
    fun: Callable[..., Any]
    x0: Any
    manifold: tm.Manifold
    peer: tuple[Any, ...]
    args: tuple[Tensor, ...] = ()
    gradient: Callable[..., Any] | None = None
    hessian: Callable[..., Any] | None = None
    residuals: Callable[..., Tensor] | None = None
    peer_fun: Callable[..., Any] | None = None
    peer_x0: tuple[Tensor, ...] | None = None
    peer_methods: tuple[str, ...] = ("TrustRegions", "ConjugateGradient")

    def to(self, device: torch.device) -> Problem:
        """The same problem on a device."""
        args = tuple(a.to(device) for a in self.args)
        x0 = self.x0
        x0 = x0.to(device) if isinstance(x0, Tensor) else tuple(part.to(device) for part in x0)
        return replace(self, x0=x0, args=args)


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _symmetric(n: int) -> Tensor:
    a = _normal(n, n)
    return (a + a.mT) / (2 * n) ** 0.5


def _definite(*shape: int) -> Tensor:
    a = _normal(*shape, shape[-1])
    return a @ a.mT / shape[-1] + 0.5 * torch.eye(shape[-1], dtype=torch.float64)


def subspace(quick: bool) -> Problem:
    """The dominant subspace: minus half the trace of `X' A X`."""
    n, p = (20, 3) if quick else (1000, 10)
    a = _symmetric(n)
    return Problem(
        f"dominant subspace, {n} x {p}",
        lambda x, a: -((a @ x) * x).sum() / 2,
        tm.Stiefel().random(n, p, dtype=torch.float64),
        tm.Grassmann(),
        ("Grassmann", (n, p)),
        (a,),
        lambda x, a: -(a @ x),
        lambda x, v, a: -(a @ v),
    )


def brockett(quick: bool) -> Problem:
    """Brockett's function: the trace of `X' A X N`."""
    n, p = (12, 3) if quick else (500, 5)
    a, weights = _symmetric(n), torch.arange(1.0, p + 1, dtype=torch.float64)
    return Problem(
        f"Brockett, {n} x {p}",
        lambda x, a, w: ((a @ x) * x * w).sum(),
        tm.Stiefel().random(n, p, dtype=torch.float64),
        tm.Stiefel(),
        ("Stiefel", (n, p)),
        (a, weights),
        lambda x, a, w: 2 * (a @ x) * w,
        lambda x, v, a, w: 2 * (a @ v) * w,
    )


def spd_mean(quick: bool) -> Problem:
    """The mean of definite matrices in the affine-invariant metric."""
    k, n = (4, 3) if quick else (50, 20)
    made = mean_of_matrices(1, k, n)
    return Problem(
        f"SPD mean of {k}, {n} x {n}",
        lambda x, inverse: _mean_square(x, inverse),
        made.x0[0].clone(),
        made.manifold,
        made.peer,
        tuple(a[0] for a in made.args),
    )


def max_cut(quick: bool) -> Problem:
    """Max-cut by Burer and Monteiro: unit vectors for the nodes of a random graph."""
    n, p = (20, 4) if quick else (800, 40)
    edges = (torch.rand(n, n, dtype=torch.float64) < 0.05).double().triu(1)
    a = edges + edges.mT
    return Problem(
        f"max-cut, {n} nodes, rank {p}",
        lambda x, a: ((x @ a) * x).sum() / 4,
        tm.Oblique().random(p, n, dtype=torch.float64),
        tm.Oblique(),
        ("Oblique", (p, n)),
        (a,),
        lambda x, a: (x @ a) / 2,
        lambda x, v, a: (v @ a) / 2,
    )


def rotations(quick: bool) -> Problem:
    """Rotations from noisy relative ones."""
    n = 6 if quick else 100
    SO = tm.SpecialOrthogonal()
    truth = SO.random(n, 3, 3, dtype=torch.float64)
    i, j = torch.triu_indices(n, n, 1)
    kept = torch.rand(len(i)) < 0.2
    kept[(j - i) == 1] = True  # connected
    i, j = i[kept], j[kept]
    noise = SO.exp(
        torch.eye(3, dtype=torch.float64).expand(len(i), 3, 3),
        tm.SkewSymmetric().project(0.1 * _normal(len(i), 3, 3)),
    )
    relative = truth[i].mT @ truth[j] @ noise
    return Problem(
        f"rotation synchronization, {n}",
        lambda x, relative: (x[i] @ relative - x[j]).square().sum() / 2,
        SO.exp(truth, truth @ tm.SkewSymmetric().project(0.3 * _normal(n, 3, 3))),
        SO,
        ("SpecialOrthogonalGroup", (3,), {"k": n}),
        (relative,),
    )


def rayleigh(quick: bool) -> Problem:
    """The least eigenvalue."""
    n = 30 if quick else 2000
    return Problem(
        f"Rayleigh quotient, {n}",
        lambda x, a: (a @ x) @ x,
        tm.Sphere().random(n, dtype=torch.float64),
        tm.Sphere(),
        ("Sphere", (n,)),
        (_symmetric(n),),
        lambda x, a: 2 * (a @ x),
        lambda x, v, a: 2 * (a @ v),
    )


def joint_diagonal(quick: bool) -> Problem:
    """Symmetric matrices that one orthogonal matrix nearly diagonalizes."""
    k, n = (4, 4) if quick else (30, 20)
    q = tm.Stiefel().random(n, n, dtype=torch.float64)
    noise = torch.stack([_symmetric(n) for _ in range(k)])
    a = q @ torch.diag_embed(_normal(k, n)) @ q.mT + 0.01 * noise
    return Problem(
        f"joint diagonalization of {k}, {n} x {n}",
        lambda x, a: -(x * (a @ x)).sum(-2).square().sum() / 2,
        tm.Stiefel().retract(q, tm.Stiefel().tangent(q, 0.1 * _normal(n, n))),
        tm.Stiefel(),
        ("Stiefel", (n, n)),
        (a,),
    )


def correlation(quick: bool) -> Problem:
    """The nearest correlation matrix of low rank."""
    n, r = (12, 3) if quick else (300, 10)
    a = _symmetric(n).fill_diagonal_(1)
    return Problem(
        f"nearest correlation matrix, {n}, rank {r}",
        lambda x, a: ((x.T @ x - a) ** 2).sum() / 4,
        tm.Oblique().random(r, n, dtype=torch.float64),
        tm.Oblique(),
        ("Oblique", (r, n)),
        (a,),
        lambda x, a: x @ (x.T @ x - a),
        lambda x, v, a: v @ (x.T @ x - a) + x @ (v.T @ x + x.T @ v),
    )


def quartic(quick: bool) -> Problem:
    """A quartic form on the sphere."""
    n = 20 if quick else 500
    return Problem(
        f"quartic form, {n}",
        lambda x, c: (c * x**4).sum(),
        tm.Sphere().random(n, dtype=torch.float64),
        tm.Sphere(),
        ("Sphere", (n,)),
        (1 + torch.rand(n, dtype=torch.float64),),
        lambda x, c: 4 * c * x**3,
        lambda x, v, c: 12 * c * x**2 * v,
    )


def _mean_square(x: Tensor, inverse: Tensor) -> Tensor:
    logs = torch.linalg.eigvalsh(inverse @ x.unsqueeze(-3) @ inverse).log()
    return logs.square().sum(-1).mean(-1) / 2


def mean_of_matrices(count: int, k: int = 10, n: int = 5) -> Problem:
    """Means of definite matrices, one for each problem."""
    a = _definite(count, k, n)
    return Problem(
        f"SPD mean of {k}, {n} x {n}",
        _mean_square,
        a.mean(1),
        tm.SymmetricPositiveDefinite(),
        ("SymmetricPositiveDefinite", (n,)),
        (tm.maps.spd_sqrt(a).inverse(),),
    )


def principal_components(count: int) -> Problem:
    """Dominant subspaces of many matrices."""
    n, p = 20, 3
    a = _definite(count, n)
    return Problem(
        f"PCA, {n} x {p}",
        lambda x, a: -((a @ x) * x).sum((-2, -1)) / 2,
        tm.Stiefel().random(count, n, p, dtype=torch.float64),
        tm.Grassmann(),
        ("Grassmann", (n, p)),
        (a,),
    )


def robust_rotation(count: int) -> Problem:
    """Averages of rotations, one for each problem, on which outliers have less influence."""
    SO = tm.SpecialOrthogonal()
    truth = SO.random(count, 1, 3, 3, dtype=torch.float64)
    turns = tm.SkewSymmetric().project(0.3 * _normal(count, 20, 3, 3))
    seen = SO.exp(truth.expand_as(turns), truth @ turns)
    return Problem(
        "robust mean of 20 rotations",
        lambda x, seen: (1 + (x.unsqueeze(-3) - seen).square().sum((-2, -1))).sqrt().sum(-1),
        seen[:, 0].clone(),
        SO,
        ("SpecialOrthogonalGroup", (3,)),
        (seen,),
    )


PROBLEMS: tuple[Callable[[bool], Problem], ...] = (
    subspace,
    brockett,
    spd_mean,
    max_cut,
    rotations,
    rayleigh,
    joint_diagonal,
    correlation,
    quartic,
)
#: of the number of problems
BATCHED: tuple[Callable[[int], Problem], ...] = (
    mean_of_matrices,
    principal_components,
    robust_rotation,
)
