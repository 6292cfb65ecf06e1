"""Derivatives of the user's own that are Riemannian already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Riemannian"]


@dataclass(frozen=True)
class Riemannian:
    """Marks `jac` or `hessp` of a solver as Riemannian: its results are tangent vectors.

    A plain function is taken as Euclidean, and the manifold converts its results. A Riemannian
    gradient goes with a Riemannian Hessian, or with `hessp="differences"`; a Riemannian Hessian
    goes with any gradient.

    Args:
        function: `jac(x, *args)`, the Riemannian gradient, or `hessp(x, v, *args)`, the Riemannian
            Hessian along the tangent vector `v`, in the manifold's metric.

    Example:
        >>> import torch, torchmanifold as tm
        >>> a, M = torch.diag(torch.arange(5.0, dtype=torch.float64)), tm.Sphere()
        >>> x0 = M.random(5, dtype=torch.float64)
        >>> def gradient(x):
        ...     return 2 * (a @ x - (x @ a @ x) * x)
        >>> def hessian(x, v):
        ...     bent = 2 * (a @ v - (x @ a @ x) * v)
        ...     return bent - (x @ bent) * x
        >>> result = tm.minimize(
        ...     lambda x: x @ a @ x, x0, M,
        ...     jac=tm.Riemannian(gradient), hessp=tm.Riemannian(hessian),
        ... )
        >>> result.success
        True

    Source: Boumal 2023, definitions 3.58 and 5.14.
    """

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        """Refuse anything but a function."""
        if not callable(self.function):
            raise TypeError(f"Riemannian: expected a function, got {self.function!r}")

    def __call__(self, *arguments: Any) -> Any:
        """The tangent vector that the function returns."""
        return self.function(*arguments)
