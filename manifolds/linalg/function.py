"""The base class of the maps with derivatives of their own, which `torch.func` can transform.

A `torch.autograd.Function` of this package computes its value in `forward`, where tensors are
plain under every transform, so the values may decide the algorithm. If the backward pass needs more
than the arguments and the value, `forward` returns it as further outputs without derivative.
Matrices have leading batch dimensions, and `torch.func.vmap` adds one in front.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._functorch.utils import unwrap_dead_wrappers

__all__ = ["MatrixFunction", "everywhere"]


class MatrixFunction(torch.autograd.Function):
    """A `torch.autograd.Function` of matrices in the last two dimensions, ready for `torch.func`.

    All tensor outputs must depend on all tensor arguments together, so that one batched argument
    makes all outputs batched. Forward mode raises, because there is no `jvp`. While compiling, the
    value must be neither the result of an in-place operation nor `x.to(x.dtype)`: PyTorch 2.11
    silently loses the derivative of either.

    Attributes:
        vectors: positions of the arguments that are vectors, `(*batch, n)`, not matrices.
    """

    vectors: ClassVar[tuple[int, ...]] = ()

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """`torch.autograd.Function.apply` without its default arguments, which take 5 us."""
        if torch._C._are_functorch_transforms_active():
            return super().apply(*args)
        plain: Any = super(torch.autograd.Function, cls)
        return plain.apply(*unwrap_dead_wrappers(args))

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """Move the mapped dimension to the front of the batch dimensions."""
        batch = [
            x.ndim - (d is not None) - (1 if i in cls.vectors else 2)
            for i, (x, d) in enumerate(zip(inputs, in_dims, strict=True))
            if isinstance(x, Tensor)
        ]
        most, left = max(batch), iter(batch)
        arguments = []
        for x, d in zip(inputs, in_dims, strict=True):
            if isinstance(x, Tensor):
                missing = most - next(left)
                if d is not None:
                    # In front of the batch dimensions that only other arguments have.
                    x = x.movedim(d, 0)[(slice(None), *(None,) * missing)]
            arguments.append(x)
        output = cls.apply(*arguments)
        if isinstance(output, Tensor):
            return output, 0
        return output, tuple(0 if isinstance(x, Tensor) else None for x in output)


class _All(torch.autograd.Function):
    """`x.all()`, over the mapped dimension of `vmap` too, so that the result can be read."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.all()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor) -> tuple[Tensor, None]:
        return _All.apply(x), None


def everywhere(condition: Tensor) -> bool:
    """`bool(condition.all())`, for a whole batch of `torch.func.vmap` at once."""
    try:
        return bool(condition.all())
    except RuntimeError:  # one value for each element of the batch
        return bool(_All.apply(condition))
