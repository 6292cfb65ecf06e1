"""Trivialization: a retraction from a base point, as a parametrization."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import Manifold, require_manifold
from torchmanifold.weights.checks import check_point, nearest

__all__ = ["Trivialization"]


class Trivialization(nn.Module):
    r"""`v -> R_base(B_base v)`: a parametrization of a manifold around one of its points.

    `R` is the manifold's retraction and `B` its `coordinates`, so `v` is any tensor of the
    weight's shape and `v = 0` gives the base. The right inverse of a point moves the base there, so
    it is exact for every point of the manifold and every retraction.

    Args:
        manifold: the manifold of the values.
        base: the first base, a point of the manifold; copied.

    Raises:
        ValueError: if `base` is not on the manifold.

    Source: Lezcano-Casado, Trivializations for gradient-based optimization on manifolds,
    NeurIPS 2019.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.SpecialOrthogonal()
        >>> T = tm.Trivialization(M, M.random(3, 3))
        >>> x = M.random(3, 3)
        >>> torch.allclose(T(T.right_inverse(x)), x, atol=1e-6)
        True
    """

    base: Tensor
    _held: Tensor | None = None

    def __init__(self, manifold: Manifold, base: Tensor) -> None:
        """Make the given point the base."""
        super().__init__()
        require_manifold("Trivialization", manifold)
        self.manifold = manifold
        self.register_buffer(
            "base", self._nearest(base).clone(memory_format=torch.contiguous_format)
        )

    @property
    def config(self) -> Manifold:
        """The manifold; trivializations of equal manifolds can be evaluated together."""
        return self.manifold

    @property
    def batched(self) -> bool:
        """Whether equal trivializations can be evaluated in one call, with leading dimensions."""
        return self._held is None

    def forward(self, v: Tensor) -> Tensor:
        """The point at coordinates `v`."""
        if self._held is not None:
            return self._held
        return self.manifold.trivialize(self.base, v)

    @contextmanager
    def held_at(self, x: Tensor) -> Iterator[None]:
        """Within this context the value is `x` itself, whatever the coordinates are."""
        before, self._held = self._held, x
        try:
            yield
        finally:
            self._held = before

    @torch.no_grad()
    def right_inverse(self, x: Tensor) -> Tensor:
        """Move the base to `x` and return its coordinates, zero.

        Raises:
            ValueError: if `x` has another shape, dtype or device than the base, is not finite,
                or is not on the manifold. Then the base stays.
        """
        for what in ("shape", "dtype", "device"):
            old, new = getattr(self.base, what), getattr(x, what)
            if old != new:
                raise ValueError(f"the assigned value has {what} {new}; the weight has {old}")
        self.base.copy_(self._nearest(x))
        return torch.zeros_like(x, memory_format=torch.contiguous_format)

    @torch.no_grad()
    def _nearest(self, x: Tensor) -> Tensor:
        """The point nearest to `x`, which must be a point up to rounding."""
        check_point(self.manifold, "the assigned value", x)
        if x.is_meta:
            return torch.empty_like(x)
        point = nearest(self.manifold, "the assigned value", x)
        if not bool(torch.isfinite(self.manifold.trivialize(point, torch.zeros_like(point))).all()):
            raise ValueError(
                f"the assigned value: {self.manifold!r} overflows {x.dtype} there; scale the "
                f"values, whose largest is {float(x.abs().max()):.3g}"
            )
        return point

    def extra_repr(self) -> str:
        """The manifold and the shape of a point."""
        return f"{self.manifold!r}, shape={tuple(self.base.shape)}"
