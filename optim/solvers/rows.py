"""Arithmetic on rows: the vectors and scalars of one problem, or of many side by side.

A solver writes each formula once. For one problem on the CPU a vector is a tensor `(N,)` and a
scalar is a Python number, which costs a twentieth of a tensor operation. For many problems, and on
an accelerator, vectors are `(count, N)` and scalars `(count,)`; a branch is a `where`, and nothing
waits for the device.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Many", "One", "Rows", "Scalar", "tree_map"]

# One number for each problem: a Python number, or a tensor `(count,)`.
Scalar = Any


def tree_map(f: Callable[..., Any], *trees: Any) -> Any:
    """Apply `f` to the tensors of equal dataclasses and tuples; other values stay."""
    first = trees[0]
    if isinstance(first, Tensor):
        return f(*trees)
    if isinstance(first, tuple):
        return tuple(tree_map(f, *parts) for parts in zip(*trees, strict=True))
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        parts = {
            field.name: tree_map(f, *(getattr(tree, field.name) for tree in trees))
            for field in dataclasses.fields(first)
        }
        return dataclasses.replace(first, **parts)
    return first


@dataclass(frozen=True)
class One:
    """One problem: vectors are `(N,)`, scalars Python numbers."""

    dtype: torch.dtype
    device: torch.device
    count: int = 1

    def full(self, value: float) -> Scalar:
        """The same number for each problem."""
        return value

    def scalar(self, value: Tensor) -> Scalar:
        """The scalars in a tensor with one number for each problem."""
        return value.item()

    def tensor(self, value: Scalar) -> Tensor:
        """A tensor with one number for each problem."""
        kind = torch.float64 if isinstance(value, float) else None
        return torch.tensor(value, device=self.device, dtype=kind)

    def flatten(self, u: Tensor) -> Tensor:
        """The vector of all entries of a tensor."""
        return u.reshape(-1)

    def dot(self, u: Tensor, v: Tensor) -> Scalar:
        """`<u, v>`."""
        return torch.dot(u, v).item()

    def norm(self, u: Tensor) -> Scalar:
        """`||u||`."""
        return math.sqrt(torch.dot(u, u).item())

    def scale(self, a: Scalar, u: Tensor) -> Tensor:
        """`a u`."""
        return u * a

    def axpy(self, y: Tensor, a: Scalar, u: Tensor) -> Tensor:
        """`y + a u`."""
        return torch.add(y, u, alpha=a)

    def where(self, condition: Scalar, a: Any, b: Any) -> Any:
        """`a` where the condition holds, else `b`; numbers or vectors."""
        return a if condition else b

    def merge(self, condition: Scalar, a: Any, b: Any) -> Any:
        """As `where`, for dataclasses and tuples of rows."""
        return a if condition else b

    def divide(self, a: Scalar, b: Scalar) -> Scalar:
        """`a / b`, infinite or NaN if `b` is zero."""
        return a / b if b else (math.nan if a == 0 or a != a else math.copysign(math.inf, a))

    def sqrt(self, a: Scalar) -> Scalar:
        """The square root; zero for a number that rounding made negative."""
        return math.sqrt(a) if a > 0 else (0.0 if a <= 0 else a)

    def power(self, a: Scalar, exponent: float) -> Scalar:
        """`a^exponent` of a non-negative number."""
        return a**exponent

    def least(self, a: Scalar, b: Scalar) -> Scalar:
        """The smaller one."""
        return min(a, b)

    def most(self, a: Scalar, b: Scalar) -> Scalar:
        """The larger one."""
        return max(a, b)

    def no(self, condition: Scalar) -> Scalar:
        """The negation."""
        return not condition

    def finite(self, a: Scalar) -> Scalar:
        """Is the number finite?"""
        return math.isfinite(a)

    def finite_vector(self, u: Tensor) -> Scalar:
        """Are all entries finite?"""
        return math.isfinite(u.sum().item())

    def window(self, value: Scalar, length: int) -> Any:
        """A window of the last `length` values, all of them the first one."""
        return (value,) * length

    def push(self, window: Any, value: Scalar) -> Any:
        """The window with its oldest value replaced."""
        return (*window[1:], value)

    def peak(self, window: Any) -> Scalar:
        """The largest value of the window."""
        return max(window)

    def some(self, condition: Scalar) -> bool:
        """Does the condition hold for any problem?"""
        return bool(condition)

    def split(self, condition: Scalar, among: Scalar) -> tuple[bool, bool]:
        """May it hold for some problem among those, and may it fail for some?"""
        return condition, not condition


@dataclass(frozen=True)
class Many:
    """Many problems, or one on an accelerator: vectors `(count, N)`, scalars `(count,)`."""

    dtype: torch.dtype
    device: torch.device
    count: int

    @property
    def waits(self) -> bool:
        """Does reading a number wait for a device?"""
        return self.device.type != "cpu"

    def full(self, value: float) -> Scalar:
        """The same number for each problem."""
        if isinstance(value, bool | int):
            return torch.full((self.count,), value, device=self.device)
        return torch.full((self.count,), value, dtype=self.dtype, device=self.device)

    def scalar(self, value: Tensor) -> Scalar:
        """The scalars in a tensor with one number for each problem."""
        return value.reshape(self.count)

    def tensor(self, value: Scalar) -> Tensor:
        """A tensor with one number for each problem."""
        return value

    def flatten(self, u: Tensor) -> Tensor:
        """The vectors of all entries of each row."""
        return u.reshape(self.count, -1)

    def dot(self, u: Tensor, v: Tensor) -> Scalar:
        """`<u, v>`."""
        return torch.linalg.vecdot(u, v)

    def norm(self, u: Tensor) -> Scalar:
        """`||u||`."""
        return torch.linalg.vector_norm(u, dim=-1)

    def scale(self, a: Scalar, u: Tensor) -> Tensor:
        """`a u`."""
        return a[:, None] * u

    def axpy(self, y: Tensor, a: Scalar, u: Tensor) -> Tensor:
        """`y + a u`."""
        return torch.addcmul(y, a[:, None], u)

    def where(self, condition: Scalar, a: Any, b: Any) -> Any:
        """`a` where the condition holds, else `b`; numbers or vectors."""
        for other in (a, b):
            if isinstance(other, Tensor) and other.ndim > condition.ndim:
                condition = condition.reshape(-1, *(1,) * (other.ndim - 1))
        return torch.where(condition, a, b)

    def merge(self, condition: Scalar, a: Any, b: Any) -> Any:
        """As `where`, for dataclasses and tuples of rows."""
        return tree_map(lambda x, y: x if x is y else self.where(condition, x, y), a, b)

    def divide(self, a: Scalar, b: Scalar) -> Scalar:
        """`a / b`, infinite or NaN if `b` is zero."""
        return a / b

    def sqrt(self, a: Scalar) -> Scalar:
        """The square root; zero for a number that rounding made negative."""
        return a.clamp_min(0).sqrt()

    def power(self, a: Scalar, exponent: float) -> Scalar:
        """`a^exponent` of a non-negative number."""
        return a**exponent

    def least(self, a: Scalar, b: Scalar) -> Scalar:
        """The smaller one."""
        return self._bound(torch.minimum, a, b)

    def most(self, a: Scalar, b: Scalar) -> Scalar:
        """The larger one."""
        return self._bound(torch.maximum, a, b)

    def _bound(self, f: Callable[[Tensor, Tensor], Tensor], a: Scalar, b: Scalar) -> Tensor:
        if not isinstance(a, Tensor):
            a, b = b, a
        return f(a, b if isinstance(b, Tensor) else torch.full_like(a, b))

    def no(self, condition: Scalar) -> Scalar:
        """The negation."""
        return ~condition

    def finite(self, a: Scalar) -> Scalar:
        """Is the number finite?"""
        return torch.isfinite(a)

    def finite_vector(self, u: Tensor) -> Scalar:
        """Are all entries finite?"""
        return torch.isfinite(u.sum(-1))

    def window(self, value: Scalar, length: int) -> Any:
        """A window of the last `length` values, all of them the first one."""
        return value[:, None].repeat(1, length)

    def push(self, window: Any, value: Scalar) -> Any:
        """The window with its oldest value replaced."""
        return torch.cat([window[:, 1:], value[:, None]], dim=1)

    def peak(self, window: Any) -> Scalar:
        """The largest value of the window."""
        return window.amax(-1)

    def some(self, condition: Scalar) -> bool:
        """Does the condition hold for any problem? Reads it from the device."""
        return bool(condition.any())

    def split(self, condition: Scalar, among: Scalar) -> tuple[bool, bool]:
        """May it hold for some problem among those, and may it fail for some?

        On a device the answer is yes to both, because nothing waits for the device.
        """
        if self.waits:
            return True, True
        return bool((condition & among).any()), bool((~condition & among).any())


Rows = One | Many
