"""Checks of the values that a parametrization and its right inverse return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def is_finite(value: Tensor) -> bool:
    """Whether no entry is NaN or infinite; True for a tensor without values."""
    return value.is_meta or bool(torch.isfinite(value).all())


def is_close(a: Tensor, b: Tensor) -> bool:
    """Whether ``a`` is ``b`` up to rounding."""
    exact = not (b.is_floating_point() or b.is_complex())
    # Half precision is rounded once, not computed with.
    half = b.dtype in (torch.float16, torch.bfloat16)
    tolerance = 0.0 if exact else (8 if half else 100) * torch.finfo(b.dtype).eps
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def check_value(value: Any, dtype: torch.dtype, shape: torch.Size, name: str | None = None) -> None:
    """Raise unless ``value`` is a tensor of this dtype and shape.

    Args:
        value: what a parametrization returned.
        dtype: the dtype it must have.
        shape: the shape it must have.
        name: the tensor, if it was parametrized before.

    Raises:
        ValueError: it is not such a tensor.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
    for what, before, after in (("dtype", dtype, value.dtype), ("shape", shape, value.shape)):
        if before != after:
            old, new = (
                (f"unparametrized {what}", f"parametrized {what}")
                if name is None
                else (f"module.{name}.{what}", f"parametrization(module.{name}).{what}")
            )
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor, "
                f"unless the `unsafe` flag is enabled.\n{old}: {before}\n{new}: {after}"
            )


def check_inverse(new: Any, original: Tensor) -> None:
    """Raise unless ``new`` can be the originals of a tensor that becomes parametrized.

    Args:
        new: what the right inverses returned: a tensor, or a sequence of tensors.
        original: the tensor.

    Raises:
        ValueError: it cannot.
    """
    if isinstance(new, Tensor):
        for what in ("dtype", "device"):
            old, got = getattr(original, what), getattr(new, what)
            if old != got:
                raise ValueError(
                    f"When `right_inverse` outputs one tensor, it may not change the {what}.\n"
                    f"original.{what}: {old}\n"
                    f"right_inverse(original).{what}: {got}"
                )
        return
    if not isinstance(new, Sequence):
        raise ValueError(
            "'right_inverse' must return a Tensor or a Sequence of tensors "
            f"(list, tuple...). Got {type(new).__name__}"
        )
    for i, tensor in enumerate(new):
        if not isinstance(tensor, Tensor):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors "
                f"(list, tuple...). Got element {i} of the sequence with type "
                f"{type(tensor).__name__}."
            )


def check_assigned(
    new: Any, originals: dict[str, Tensor], *, is_tensor: bool, unsafe: bool
) -> None:
    """Raise unless ``new`` can be written to the originals.

    Args:
        new: what the right inverses returned for the assigned value.
        originals: the free tensors by name.
        is_tensor: whether there is one original, and not a sequence.
        unsafe: allow another shape.

    Raises:
        ValueError: it cannot.
    """
    if is_tensor and not isinstance(new, Tensor):
        raise ValueError(f"`right_inverse` should return a tensor. Got {type(new).__name__}")
    if not is_tensor and not isinstance(new, Sequence):
        raise ValueError(
            f"'right_inverse' must return a sequence of tensors. Got {type(new).__name__}."
        )
    if not is_tensor and len(new) != len(originals):
        raise ValueError(
            "'right_inverse' must return a sequence of tensors of length "
            f"{len(originals)}. Got a sequence of length {len(new)}."
        )
    given = [new] if is_tensor else new
    for i, ((name, original), tensor) in enumerate(zip(originals.items(), given, strict=True)):
        if not isinstance(tensor, Tensor):
            raise ValueError(
                "'right_inverse' must return a sequence of tensors. "
                f"Got element {i} of type {type(tensor).__name__}."
            )
        what = "The tensor" if is_tensor else f"Tensor {i}"
        if tensor.dtype != original.dtype:
            raise ValueError(
                f"{what} returned by `right_inverse` has dtype {tensor.dtype} "
                f"while `{name}` has dtype {original.dtype}"
            )
        if tensor.device != original.device:
            raise ValueError(
                f"{what} returned by `right_inverse` is on {tensor.device} "
                f"while `{name}` is on {original.device}"
            )
        if tensor.shape != original.shape and not unsafe:
            raise ValueError(
                f"{what} returned by `right_inverse` has shape {tuple(tensor.shape)} "
                f"while `{name}` has shape {tuple(original.shape)}"
            )


def check_link(link: Any, value: Tensor, name: str) -> None:
    """Check that a further map and its right inverse keep the shape and dtype of ``value``.

    Args:
        link: the map.
        value: the present value of the parametrized tensor.
        name: the name of the tensor.

    Raises:
        ValueError: they do not.
    """
    new = link(value)
    check_value(new, value.dtype, value.shape, name)
    inverse: Any = getattr(link, "right_inverse", None)
    if inverse is None:
        return
    try:
        back = inverse(new)
    except NotImplementedError:
        return
    if not isinstance(back, Tensor):
        raise ValueError(
            f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}"
        )
    for what in ("dtype", "shape"):
        before, after = getattr(value, what), getattr(back, what)
        if before != after:
            raise ValueError(
                f"The tensor returned by parametrization.right_inverse must have the same {what} "
                f"as module.{name}, unless the `unsafe` flag is enabled.\n"
                f"module.{name}.{what}: {before}\n"
                f"returned {what}: {after}"
            )
