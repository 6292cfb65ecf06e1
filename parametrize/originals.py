"""The free tensors for the present value of a tensor that becomes parametrized."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from torchmanifold.parametrize import ownership
from torchmanifold.parametrize.checks import check_inverse, check_value, is_close, is_finite
from torchmanifold.parametrize.undo import State, same_kind

# The errors by which maps and right inverses refuse a tensor: their own checks raise them, or torch
# does for shapes that do not fit and for factorizations that do not exist.
REFUSALS = (ValueError, RuntimeError)


def evaluate(links: Sequence[Any], arguments: Sequence[Any]) -> Any:
    """The maps one after another, the first of them at ``arguments``."""
    for link in links:
        arguments = (link(*arguments),)
    return arguments[0]


def find(
    links: Sequence[Any], original: Tensor, before: State, *, unsafe: bool
) -> Tensor | Sequence[Tensor]:
    """The originals with which ``links`` give the value of ``original``; nothing is written.

    Args:
        links: the maps, first applied first.
        original: the tensor that becomes parametrized.
        before: the state of the maps, to undo the changes of a right inverse that refuses.
        unsafe: do not evaluate the maps to check their values.

    Returns:
        ``original`` itself if it need not change, another tensor of its dtype, or several tensors.

    Raises:
        ValueError: a map or a right inverse refuses the value, or returns something that does not
            fit.
    """
    given = original.detach().clone()  # a map may keep its argument
    with torch.no_grad():
        try:
            new = _invert(links, given)
        except ValueError:
            # The value cannot be kept. If the map is a projection, the tensor becomes its
            # projection, such as the skew part of a matrix. Other maps would give an unrelated
            # tensor.
            before.restore()
            new = _projected(links, given)
            if new is None:
                raise
        if new is given:
            new = original
        check_inverse(new, original)
        if before.changed():
            ownership.refuse_shared(links, [])
        if not unsafe:
            single = isinstance(new, Tensor)
            value = evaluate(links, [new] if single else new)
            check_value(value, original.dtype, original.shape)
            if single and new is not original and _gives(links, original, new, value):
                new = original
    result: Tensor | Sequence[Tensor] = new
    return result


def _invert(links: Sequence[Any], value: Any) -> Any:
    """The right inverses from last to first; a missing one counts as the identity."""
    for link in reversed(links):
        if hasattr(link, "right_inverse"):
            with suppress(NotImplementedError):
                value = link.right_inverse(value)
    return value


def _projected(links: Sequence[Any], given: Tensor) -> Any:
    """Originals of the maps' value at ``given``, if the maps keep it, as a projection does."""
    with suppress(TypeError, *REFUSALS):  # TypeError: a map of several originals
        value = evaluate(links, [given])
        new = _invert(links, value)
        if is_finite(given) and is_finite(value) and is_close(evaluate(links, [value]), value):
            return new
    return None


def _gives(links: Sequence[Any], original: Tensor, new: Tensor, value: Tensor) -> bool:
    """Whether the maps, in their present state, take ``original`` to the value of ``new``.

    Then registration need not change the tensor, and removal gives the old tensor back.
    """
    if original.is_meta or original.shape != new.shape or not same_kind(original, new):
        return False
    before = State(links)
    try:
        with suppress(*REFUSALS):
            return torch.equal(evaluate(links, [original]), value)
        return False
    finally:
        before.restore()
