"""The refusal of an argument that is not a manifold."""

from __future__ import annotations

from torch import Tensor

from torchmanifold.manifolds.geometry.manifold import Manifold

__all__ = ["require_manifold"]


def require_manifold(owner: str, value: object, name: str = "manifold") -> None:
    """Raise a TypeError with an example; for a class, the example is an instance of it."""
    if isinstance(value, Manifold):
        return
    if isinstance(value, type) and issubclass(value, Manifold):
        kind = value.__name__
        raise TypeError(f"{owner}: {name} is the class {kind}; pass a manifold such as {kind}()")
    found = "a tensor" if isinstance(value, Tensor) else repr(value)
    raise TypeError(f"{owner}: {name} must be a manifold such as Stiefel(), got {found}")
