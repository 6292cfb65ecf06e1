"""L-BFGS: a quasi-Newton method with limited memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchmanifold.optim.solvers.descent import Descent, Line
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Many, Rows, Scalar

__all__ = ["LBFGS"]


@dataclass(frozen=True)
class _Pairs:
    """The last steps and changes of the gradient, in slots, with their products.

    Args:
        vectors: `(..., 2 m, N)`: steps `s`, then changes `y`.
        sy: `s_i'y_j`, valid if `j` is not older than `i`.
        yy: `y_i'y_j`.
        slot: the slot of the next pair.
        gamma: the scale of the initial inverse Hessian.
    """

    vectors: Tensor
    sy: Tensor
    yy: Tensor
    slot: Any
    gamma: Scalar


@dataclass(frozen=True)
class LBFGS(Descent):
    """A quasi-Newton method that remembers the last `memory` steps, in compact form.

    The coordinates of the pairs never change, and only the direction is projected to the tangent
    space: for a positive definite `H`, `P H P` is positive definite on the tangent space. A pair is
    kept if `s'y > 1e-4 min(1, ||g||) s's`.

    Source: Byrd, Nocedal & Schnabel, Math. Program. 63, 1994, theorem 2.2, for the compact form;
    Li & Fukushima, SIAM J. Optim. 11, 2001, for the cautious update; Huang, Absil & Gallivan, SIAM
    J. Optim. 28, 2018.
    """

    memory: int = 10

    def __post_init__(self) -> None:
        """Refuse a memory that is not a positive integer."""
        if not isinstance(self.memory, int) or self.memory < 1:
            raise ValueError(f"LBFGS: memory must be at least 1, got {self.memory!r}")

    def empty(self, rows: Rows, c: Tensor) -> _Pairs:
        """No pair."""
        m, front = self.memory, c.shape[:-1]
        return _Pairs(
            c.new_zeros(*front, 2 * m, c.shape[-1]),
            c.new_zeros(*front, m, m),
            c.new_zeros(*front, m, m),
            rows.full(0),
            rows.full(1.0),
        )

    def next(
        self,
        objective: Objective,
        memory: _Pairs,
        old: Point,
        new: Point,
        line: Line,
        s: Tensor,
        good: Scalar,
    ) -> tuple[Tensor, Scalar, Any]:
        """`-H grad`."""
        rows = objective.space.rows
        y = new.c - old.c
        sy, ss = rows.dot(s, y), rows.dot(s, s)
        keep = good & (sy > 1e-4 * rows.least(old.norm, 1.0) * ss)
        gamma = rows.where(keep, rows.divide(sy, rows.dot(y, y)), memory.gamma)
        products = self._remember(rows, memory, s, y, new.c, keep)
        pairs = _Pairs(
            memory.vectors,
            memory.sy,
            memory.yy,
            rows.where(keep, (memory.slot + 1) % self.memory, memory.slot),
            gamma,
        )
        d = self._direction(rows, pairs, new.c, products)
        return d, rows.full(1.0), pairs

    def _remember(
        self, rows: Rows, pairs: _Pairs, s: Tensor, y: Tensor, c: Tensor, keep: Scalar
    ) -> Tensor:
        """Write the pair into its slot, in place, and return products of all vectors with `c`."""
        m, slot, vectors = self.memory, pairs.slot, pairs.vectors
        if isinstance(rows, Many):
            n = torch.arange(rows.count, device=c.device)
            mine = keep[:, None]
            vectors[n, slot] = torch.where(mine, s, vectors[n, slot])
            vectors[n, m + slot] = torch.where(mine, y, vectors[n, m + slot])
            products = vectors @ torch.stack([c, y], dim=-1)
            sy, yy = products[:, :m, 1], products[:, m:, 1]
            pairs.sy[n, :, slot] = torch.where(mine, sy, pairs.sy[n, :, slot])
            column = torch.where(mine, yy, pairs.yy[n, :, slot])
            pairs.yy[n, :, slot] = column
            pairs.yy[n, slot, :] = column
            return products[..., 0]
        if not keep:
            return vectors @ c
        vectors[slot] = s
        vectors[m + slot] = y
        products = vectors @ torch.stack([c, y], dim=-1)
        pairs.sy[:, slot] = products[:m, 1]
        pairs.yy[:, slot] = products[m:, 1]
        pairs.yy[slot, :] = products[m:, 1]
        return products[:, 0]

    def _direction(self, rows: Rows, pairs: _Pairs, c: Tensor, products: Tensor) -> Tensor:
        m = self.memory
        # From the oldest pair to the newest; slots without a pair are zero.
        if isinstance(rows, Many):
            age = (pairs.slot[:, None] + torch.arange(m, device=c.device)) % m
            n = torch.arange(rows.count, device=c.device)[:, None]
            sy = pairs.sy[n[..., None], age[:, :, None], age[:, None, :]]
            yy = pairs.yy[n[..., None], age[:, :, None], age[:, None, :]]
            sg, yg = products[n, age], products[n, m + age]
            gamma = pairs.gamma[:, None]
        else:
            age = (torch.arange(m) + pairs.slot) % m
            sy, yy = pairs.sy[age][:, age], pairs.yy[age][:, age]
            sg, yg = products[:m][age], products[m:][age]
            gamma = pairs.gamma
        diagonal = sy.diagonal(dim1=-2, dim2=-1)
        upper = sy.triu() + torch.diag_embed((diagonal == 0).to(sy.dtype))
        p = torch.linalg.solve_triangular(upper, sg[..., None], upper=True)[..., 0]
        right = diagonal * p + gamma * ((yy @ p[..., None])[..., 0] - yg)
        q = torch.linalg.solve_triangular(upper.mT, right[..., None], upper=False)[..., 0]
        weights = torch.empty_like(products)
        if isinstance(rows, Many):
            weights[n, age], weights[n, m + age] = q, -gamma * p
        else:
            weights[age], weights[m + age] = q, -gamma * p
        found = (weights[..., None, :] @ pairs.vectors)[..., 0, :]
        return -rows.axpy(found, pairs.gamma, c)
