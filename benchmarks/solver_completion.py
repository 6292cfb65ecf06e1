"""Completion of a matrix, held as factors, for the benchmark of solvers."""

from __future__ import annotations

import torch
from torch import Tensor

import torchmanifold as tm

from .solver_problems import Problem

__all__ = ["completion"]


def completion(quick: bool) -> Problem:
    """A matrix of low rank from a fifth of its entries, with noise, held as factors."""
    n, r = (20, 2) if quick else (500, 5)
    M = tm.FactoredFixedRank(r)
    truth = torch.randn(n, r, dtype=torch.float64) @ torch.randn(r, n, dtype=torch.float64)
    at = torch.randperm(n * n)[: n * n // (2 if quick else 5)].sort().values
    rows, columns = at // n, at % n
    entries = tm.Entries(rows, columns, (n, n))
    seen = truth[rows, columns] + 0.01 * torch.randn(len(at), dtype=torch.float64)
    filled = torch.zeros(n * n, dtype=torch.float64)
    x0 = M.factors(filled.index_copy(0, at, seen * (n * n / len(at))).view(n, n))

    def residuals(x: tuple[Tensor, ...], seen: Tensor) -> Tensor:
        u, s, v = x
        return entries(u @ s, v) - seen

    def dense(u: Tensor, s: Tensor, vt: Tensor, seen: Tensor) -> Tensor:
        return ((u @ torch.diag(s) @ vt).flatten().index_select(0, at) - seen).square().sum() / 2

    u, s, vt = torch.linalg.svd(x0[1])
    return Problem(
        f"completion, {n} x {n}, rank {r}",
        lambda x, seen: residuals(x, seen).square().sum() / 2,
        x0,
        M,
        ("FixedRankEmbedded", (n, n, r)),
        (seen,),
        residuals=residuals,
        peer_fun=dense,
        peer_x0=(x0[0] @ u, s, vt @ x0[2].mT),
        peer_methods=("ConjugateGradient",),
    )
