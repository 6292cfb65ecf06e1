"""Trivialization: a retraction from a base point, as a parametrization; and moving the base."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.manifold import Manifold
from torchmanifold.parametrize import ParametrizationList

__all__ = ["Trivialization", "check_point", "check_tensor", "is_sharded", "rebase_"]

# How far from the manifold an assigned value may be, in units of `Manifold.tolerance`: what
# other people's orthogonalizations leave in float32 is let in, another matrix is not.
_SLACK = 100


def is_sharded(tensor: Any) -> bool:
    """Is it a DTensor?"""
    # Where there is one, its module has been imported; importing it here takes long.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def _whole(tensor: Any) -> Tensor:
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def _write(tensor: Any, value: Tensor) -> None:
    if is_sharded(tensor):
        distribute = sys.modules["torch.distributed.tensor"].distribute_tensor
        value = distribute(value, tensor.device_mesh, tensor.placements)
    tensor.copy_(value)


def check_tensor(manifold: Manifold, name: str, x: Tensor) -> None:
    """Refuse what can be no point of the manifold: no real or complex numbers, NaN, a wrong shape.

    Raises:
        TypeError: if the dtype is an integer or boolean one.
        ValueError: for NaN and infinities, and for shapes that no point has.
    """
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"{name}: expected a floating point tensor, got {x.dtype}")
    manifold.dim(tuple(x.shape))
    if x.is_meta:  # no values yet: those that are loaded later are what they are
        return
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ValueError(
            f"{name}: {bad} of {x.numel()} entries are NaN or infinite; initialize the weight first"
        )


def check_point(manifold: Manifold, name: str, x: Tensor, allowed: float = 0.0) -> None:
    """Refuse what is no point of the manifold, up to somebody's rounding or a larger residual.

    Raises:
        TypeError: if the dtype is an integer or boolean one.
        ValueError: for shapes, NaN and infinities as in `check_tensor`, and for a large residual.
    """
    check_tensor(manifold, name, x)
    if x.is_meta:
        return
    residual = float(manifold.residual(x).max()) if x.numel() else 0.0
    # Also in float64, to which weights are converted.
    dtype = x.dtype if x.dtype in (torch.float16, torch.bfloat16) else torch.float32
    allowed = allowed + _SLACK * manifold.tolerance(tuple(x.shape), dtype)
    if not residual <= allowed:
        raise ValueError(
            f"{name} is not on {manifold!r}: its residual is {residual:.3g}, at most "
            f"{allowed:.3g} is allowed; take manifold.project(value) instead"
        )


def _in_full_precision(f: Callable[[Tensor, Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """`f(x, v)` without autocast: products in half precision would leave the manifold."""
    if not v.is_meta and torch.is_autocast_enabled(v.device.type):
        with torch.autocast(v.device.type, enabled=False):
            return f(x, v)
    return f(x, v)


class Trivialization(nn.Module):
    r"""`v -> R_base(B_base v)`: a manifold seen from one of its points, as a parametrization.

    `R` is the manifold's retraction and `B` its `coordinates`, so `v` is any tensor of the
    weight's shape and `v = 0` is the base. The right inverse of a point moves the base there: it
    is exact for every point of the manifold, whichever the retraction.

    Args:
        manifold: where the values lie.
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

    # All tensors may have leading dimensions, so equal trivializations evaluate in one call.
    batched = True

    base: Tensor

    def __init__(self, manifold: Manifold, base: Tensor) -> None:
        """Start at the given point."""
        super().__init__()
        self.manifold = manifold
        self.register_buffer("base", self._nearest(base).clone())

    @property
    def config(self) -> Manifold:
        """What two trivializations must share to be evaluated together: the manifold."""
        return self.manifold

    def forward(self, v: Tensor) -> Tensor:
        """The point at coordinates `v`."""
        return _in_full_precision(self.manifold.trivialize, self.base, v)

    @torch.no_grad()
    def right_inverse(self, x: Tensor) -> Tensor:
        """Move the base to `x` and return its coordinates, zero.

        Raises:
            ValueError: if `x` has another shape, dtype or device than the base, is not finite,
                or is not on the manifold. The base then stays.
        """
        for what in ("shape", "dtype", "device"):
            old, new = getattr(self.base, what), getattr(x, what)
            if old != new:
                raise ValueError(f"expected a point with {what} {old}, got {new}")
        self.base.copy_(self._nearest(x))
        return torch.zeros_like(x)

    @torch.no_grad()
    def _nearest(self, x: Tensor) -> Tensor:
        """The point nearest to `x`, which must be one up to somebody's rounding."""
        check_point(self.manifold, "the assigned value", x)
        if x.is_meta:
            return torch.empty_like(x)
        return self.manifold.project(x)

    def extra_repr(self) -> str:
        """The manifold and the shape of a point."""
        return f"{self.manifold!r}, shape={tuple(self.base.shape)}"


# What optimizers keep of first moments: tangent vectors, in the coordinates of `v`.
_FIRST_MOMENTS = ("momentum_buffer", "exp_avg", "grad_avg")


@torch.no_grad()
def rebase_(module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> nn.Module:
    r"""Move the base of every trivialization in `module` to the current value of its weight.

    The weights keep their values and their coordinates become zero. Given the optimizer that
    moves the coordinates, first moments are carried along: `m <- B_y^-1 C B_x m`, with `x` and
    `y` the old and the new base and `C` the manifold's `carry` from `x` to `y`. Second moments
    and step counts stay.

    Args:
        module: a module, searched with its children; changed in place and returned.
        optimizer: an optimizer that holds the coordinates, if its state is to be carried.

    Source: Lezcano-Casado 2019, algorithm 1 (dynamic trivializations).

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        >>> layer(torch.ones(2, 4)).sum().backward(); optimizer.step()
        >>> _ = tm.rebase_(layer, optimizer)
        >>> bool((layer.parametrizations.weight.original == 0).all())
        True
    """
    for parametrizations in module.modules():
        if not isinstance(parametrizations, ParametrizationList):
            continue
        trivialization = parametrizations[0]
        if not isinstance(trivialization, Trivialization):
            continue
        v, M = parametrizations.original, trivialization.manifold
        old = trivialization.base.clone()
        # By the retraction itself: what is shorter need not mend the rounding of the base.
        moved = _in_full_precision(M.coordinates, old, _whole(v))
        new = _in_full_precision(M.retract, old, moved)
        state = optimizer.state.get(v, {}) if optimizer is not None else {}
        for name in _FIRST_MOMENTS:
            moment = state.get(name)
            if isinstance(moment, Tensor) and moment.shape == v.shape:
                carried = M.carry(old, new, M.coordinates(old, _whole(moment)))
                _write(moment, M.inverse_coordinates(new, carried))
        trivialization.base.copy_(new)
        v.zero_()
    return module
