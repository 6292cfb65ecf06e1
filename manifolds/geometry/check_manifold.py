"""check_manifold: all invariants, tried on one manifold."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from torchmanifold.manifolds.geometry.invariants import INVARIANTS, Reads, Trial
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.required import require_manifold
from torchmanifold.manifolds.geometry.structure import Shape

__all__ = ["ManifoldCheck", "check_manifold"]


@dataclass(frozen=True)
class ManifoldCheck:
    """The verdict of `check_manifold`; true if all invariants hold.

    Args:
        manifold: the manifold.
        errors: the error of each invariant, in units of the tolerance; None if the invariant is
            about a method that the manifold does not have.
    """

    manifold: Manifold
    errors: dict[str, float | None]

    @property
    def failed(self) -> list[str]:
        """The invariants that do not hold."""
        return [name for name, e in self.errors.items() if e is not None and not e <= 1]

    def __bool__(self) -> bool:
        """Whether all invariants hold."""
        return not self.failed

    def __str__(self) -> str:
        """A table: each invariant, its error, its verdict."""
        width = max(map(len, self.errors), default=0)
        lines = [repr(self.manifold)]
        for name, error in self.errors.items():
            verdict = "FAILED" if name in self.failed else "holds"
            told = "not offered" if error is None else f"{error:9.2g}  {verdict}"
            lines.append(f"  {name:<{width}}  {told}")
        return "\n".join(lines)


def check_manifold(
    manifold: Manifold,
    shape: Shape,
    *,
    dtype: torch.dtype | None = None,
    generator: torch.Generator | None = None,
    reads: tuple[Reads, ...] = ("manifold", "metric", "retraction"),
) -> ManifoldCheck:
    """Try every invariant of a manifold, with its metric and its retraction, at random points.

    Some of the invariants: points, projections and retractions have small residuals; tangent
    projections are orthogonal; the tangent space has `dim` dimensions; gradients represent
    differentials, and `B B* = g^-1`; the logarithm inverts the exponential; Hessians are second
    derivatives; retractions have their stated order and two derivatives; one point broadcasts
    against many.

    Args:
        manifold: a manifold of this library, or your own.
        shape: of one point; a tuple or dict of shapes for a product. Small shapes are enough.
        dtype: float64 if not given, and complex128 if points are always complex.
        generator: for the random points; seed 0 if not given.
        reads: try only invariants that depend on no other choices than these.

    Returns:
        A verdict that is true if all invariants hold; it prints as a table.

    Raises:
        TypeError: for a class in place of a manifold, and for a shape that is none.
        ValueError: if no point of the manifold has that shape.

    Example:
        >>> import torchmanifold as tm
        >>> bool(tm.check_manifold(tm.Sphere(), (4,)))
        True

    Source: Boumal, An Introduction to Optimization on Smooth Manifolds, Cambridge 2023, sections
    3.8, 4.8, 5.5 and 6.8.
    """
    require_manifold("check_manifold", manifold)
    is_shape = isinstance(shape, tuple | list | dict)
    if not is_shape:
        raise TypeError(f"check_manifold: shape must be a tuple such as (4, 3), got {shape!r}")
    manifold.check_shape(shape)
    if dtype is None:
        dtype = torch.complex128 if manifold.numbers == "complex" else torch.float64
    manifold.check_dtype(dtype)
    generator = generator or torch.Generator().manual_seed(0)
    trial = Trial(manifold, shape, dtype, generator)
    errors = {name: check(trial) for name, (kind, check) in INVARIANTS.items() if kind in reads}
    return ManifoldCheck(manifold, errors)
