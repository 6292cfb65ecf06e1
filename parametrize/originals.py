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

# How maps and their right inverses say that they are not defined at a tensor: by a check of their
# own, or by an error of torch about shapes or about a factorization that does not exist.
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
        before: the maps as they were, to take back what a right inverse that refuses has done.
        unsafe: do not evaluate the maps to check what they give.

    Returns:
        ``original`` itself if it need not change, another tensor of its dtype, or several.

    Raises:
        ValueError: a map or a right inverse refuses the value, or returns something that does not
            fit.
    """
    given = original.detach().clone()  # a map may keep what it is given
    with torch.no_grad():
        try:
            new = _invert(links, given)
        except ValueError:
            # The value cannot be kept. A projection starts at its projection, such as the skew
            # part of a matrix; from other maps the tensor would become something unrelated.
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
    """The right inverses from last to first; one that there is not is the identity."""
    for link in reversed(links):
        if hasattr(link, "right_inverse"):
            with suppress(NotImplementedError):
                value = link.right_inverse(value)
    return value


def _projected(links: Sequence[Any], given: Tensor) -> Any:
    """Originals of the maps' value at ``given``, if it is where they stay: a projection."""
    with suppress(TypeError, *REFUSALS):  # TypeError: a map of several originals
        value = evaluate(links, [given])
        new = _invert(links, value)
        if is_finite(given) and is_finite(value) and is_close(evaluate(links, [value]), value):
            return new
    return None


def _gives(links: Sequence[Any], original: Tensor, new: Tensor, value: Tensor) -> bool:
    """Whether the maps, with their state as it is, take ``original`` to the value of ``new``.

    Then registration need not change the tensor, and removal gives back what was there.
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
