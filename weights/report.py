"""report: every constrained weight of a model, its manifold and its residual."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import Manifold
from torchmanifold.weights.checks import check_module
from torchmanifold.weights.points import maps_after, point
from torchmanifold.weights.record import constrained, recorded

__all__ = ["Report", "Row", "report"]


@dataclass(frozen=True)
class Row:
    """One constrained weight."""

    name: str
    manifold: Manifold
    how: str
    shape: tuple[int, ...]
    residual: float


@dataclass(frozen=True)
class Report:
    """The constrained weights of a model; prints as a table."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Number of constrained weights."""
        return len(self.rows)

    def __str__(self) -> str:
        """An aligned table, the residual in the last column."""
        if not self.rows:
            return "no constrained weights"
        head = ("weight", "manifold", "how", "shape", "residual")
        cells = [head] + [
            (r.name, repr(r.manifold), r.how, "x".join(map(str, r.shape)), f"{r.residual:.1e}")
            for r in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        )


def _worst(manifold: Manifold, value: Tensor) -> float:
    """The largest residual of the points in a weight; NaN if it has no points or no values."""
    return math.nan if value.is_meta or not value.numel() else float(manifold.residual(value).max())


@torch.no_grad()
def report(model: nn.Module) -> Report:
    """Every constrained weight of a model, with its manifold and its residual.

    If a weight holds several points, the residual is the largest of them. If further maps compute
    the weight from its point, the residual is that of the point, and `how` names the maps.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
        >>> [(row.name, row.shape) for row in tm.report(layer)]
        [('weight', (4, 4))]
    """
    check_module("report", "model", model)
    rows = []
    for prefix, module in model.named_modules():
        for name, manifold in constrained(module):
            if name in recorded(module):
                how, value = "riemannian", getattr(module, name).detach()
            else:
                chain = module.parametrizations[name]
                later = [type(link).__name__ for link in maps_after(chain)]
                how, value = ", then ".join(["parametrized", *later]), point(chain)
            rows.append(
                Row(
                    name=f"{prefix}.{name}" if prefix else name,
                    manifold=manifold,
                    how=how,
                    shape=tuple(value.shape),
                    residual=_worst(manifold, value),
                )
            )
    return Report(tuple(rows))
