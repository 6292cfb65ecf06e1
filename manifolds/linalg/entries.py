"""The entries of a product of two factors at known positions, never dense."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

__all__ = ["Entries"]

# Rows that are gathered at a time on the CPU: both blocks of them stay in the cache.
_BLOCK = 1 << 13


class _AtEntries(torch.autograd.Function):
    """A function of two tensors at known positions; both are needed for the derivative."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.at = inputs[2]


class _Dots(_AtEntries):
    """`<left[i], right[j]>` for the positions `(i, j)`."""

    @staticmethod
    def forward(left: Tensor, right: Tensor, at: Entries) -> Tensor:
        if left.device.type != "cpu" or len(at.rows) <= _BLOCK:
            return _dots(left, right, at.rows, at.columns)
        values = torch.empty(len(at.rows), dtype=left.dtype, device=left.device)
        for out, i, j in zip(
            values.split(_BLOCK), at.rows.split(_BLOCK), at.columns.split(_BLOCK), strict=True
        ):
            out.copy_(_dots(left, right, i, j))
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (left, right), at = ctx.saved_tensors, ctx.at
        need_left, need_right, _ = ctx.needs_input_grad
        return (
            at.times(grad, right) if need_left else None,
            at.transposed.times(grad.conj(), left) if need_right else None,
            None,
        )


class _Times(_AtEntries):
    """`A right`, where the sparse matrix `A` has the given values at the positions."""

    @staticmethod
    def forward(values: Tensor, right: Tensor, at: Entries) -> Tensor:
        return at.matrix(values) @ right

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (values, right), at = ctx.saved_tensors, ctx.at
        need_values, need_right, _ = ctx.needs_input_grad
        return (
            at(grad, right) if need_values else None,
            at.transposed.times(values.conj(), grad) if need_right else None,
            None,
        )


def _dots(left: Tensor, right: Tensor, i: Tensor, j: Tensor) -> Tensor:
    products = left.index_select(0, i).mul_(right.index_select(0, j).conj())
    # A sum over few columns is four times slower than a product with ones.
    return products @ products.new_ones(products.shape[-1])


class Entries:
    r"""Known positions in an `n x p` matrix, for losses of a matrix that is held as factors.

    `entries(left, right)` are the entries of `left right'` at the positions, `(m,)`, without the
    product. Their gradient is a product of a sparse matrix with the other factor. All derivatives
    are of that kind, and none of them needs more memory than `(m + n + p) k` numbers for factors of
    `k` columns.

    Args:
        rows: the row of each position, `(m,)`, integers.
        columns: the column of each position, `(m,)`, integers.
        shape: `(n, p)`.

    Raises:
        TypeError: for positions that are not integers.
        ValueError: for positions outside the matrix, or lists of unequal length.

    Example:
        >>> import torch, torchmanifold as tm
        >>> entries = tm.Entries(torch.tensor([0, 2]), torch.tensor([1, 0]), (3, 2))
        >>> entries(torch.eye(3, 2), torch.eye(2, 2))
        tensor([0., 0.])
        >>> M = tm.FactoredFixedRank(1)
        >>> known = torch.tensor([1.0, 2.0])
        >>> def residuals(x):
        ...     u, s, v = x
        ...     return entries(u @ s, v) - known
        >>> x0 = M.random(M.shape(3, 2), generator=torch.Generator().manual_seed(0))
        >>> tm.least_squares(residuals, x0, M).success
        True
    """

    def __init__(self, rows: Tensor, columns: Tensor, shape: tuple[int, int]) -> None:
        """Sort the positions once."""
        for name, given in (("rows", rows), ("columns", columns)):
            if not isinstance(given, Tensor) or given.dtype.is_floating_point or given.ndim != 1:
                found = (
                    f"{given.dtype} of shape {tuple(given.shape)}"
                    if isinstance(given, Tensor)
                    else type(given).__name__
                )
                raise TypeError(
                    f"Entries: {name} must be a tensor of integers of shape (m,), got {found}"
                )
        if len(rows) != len(columns):
            raise ValueError(
                f"Entries: rows and columns must have one length, got {len(rows)} and "
                f"{len(columns)}"
            )
        n, p = shape
        for name, given, size in (("rows", rows, n), ("columns", columns, p)):
            if len(given) and not (int(given.min()) >= 0 and int(given.max()) < size):
                raise ValueError(
                    f"Entries: {name} must lie in 0, ..., {size - 1}, got {int(given.min())} to "
                    f"{int(given.max())}"
                )
        self.rows, self.columns, self.shape = rows.long(), columns.long(), (int(n), int(p))
        order = (self.rows * p + self.columns).argsort(stable=True)
        # Positions that are sorted already need no gather in each product.
        ordered = bool((order[1:] > order[:-1]).all())
        self._order = None if ordered else order
        self._starts = torch.zeros(n + 1, dtype=torch.int64, device=rows.device)
        self._starts[1:] = torch.bincount(self.rows, minlength=n).cumsum(0)
        self._ends = self.columns if ordered else self.columns[order]
        with warnings.catch_warnings():
            # PyTorch warns once a process that compressed sparse tensors are in beta, and 2.11 that
            # it does not check them: now.
            warnings.filterwarnings("ignore", "Sparse ", UserWarning)
            self.matrix(torch.zeros(len(self), device=rows.device))

    def __len__(self) -> int:
        """The number of positions."""
        return len(self.rows)

    def __repr__(self) -> str:
        """The number of positions, and the shape."""
        return f"Entries({len(self)} positions of {self.shape[0]} x {self.shape[1]})"

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """The entries of `left right'` at the positions.

        Args:
            left: `(n, k)`.
            right: `(p, k)`.

        Returns:
            `(m,)`.

        Raises:
            ValueError: for factors of other shapes.
        """
        n, p = self.shape
        if left.shape[:-1] != (n,) or right.shape[:-1] != (p,) or left.shape[1:] != right.shape[1:]:
            raise ValueError(
                f"{self!r}: left and right must have the shapes ({n}, k) and ({p}, k), got "
                f"{tuple(left.shape)} and {tuple(right.shape)}"
            )
        values: Tensor = _Dots.apply(left, right, self)
        return values

    def times(self, values: Tensor, right: Tensor) -> Tensor:
        """`A right`, `(n, k)`, with the matrix `A` that has the values `(m,)` at the positions."""
        product: Tensor = _Times.apply(values, right, self)
        return product

    def matrix(self, values: Tensor) -> Tensor:
        """The sparse matrix with the values `(m,)` at the positions."""
        sorted_values = values if self._order is None else values.index_select(0, self._order)
        return torch.sparse_csr_tensor(
            self._starts, self._ends, sorted_values, self.shape, check_invariants=False
        )

    @cached_property
    def transposed(self) -> Entries:
        """The same positions in the transposed matrix."""
        other = Entries(self.columns, self.rows, (self.shape[1], self.shape[0]))
        other.__dict__["transposed"] = self
        return other
