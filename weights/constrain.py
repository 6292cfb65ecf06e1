"""constrain: put a weight of a module on a manifold, and take it off again."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import Manifold, require_manifold
from torchmanifold.parametrize import (
    hosts,
    is_parametrized,
    ownership,
    register_parametrization,
    remove_parametrizations,
)
from torchmanifold.weights.checks import check_module, check_tensor, nearest
from torchmanifold.weights.fit import fit
from torchmanifold.weights.record import constrained, manifold_of, record, recorded, stamp, strike
from torchmanifold.weights.sharding import is_sharded
from torchmanifold.weights.trivialization import Trivialization

__all__ = ["How", "constrain", "unconstrain"]


How = Literal["parametrized", "riemannian"]


def constrain(
    module: nn.Module,
    tensor_name: str | Iterable[str],
    manifold: Manifold,
    *,
    how: How = "parametrized",
    blocks: int | None = None,
    flatten: bool | None = None,
) -> nn.Module:
    r"""Put weights of a module on a manifold; each becomes the nearest point to its value.

    Args:
        module: the module that owns the weights; changed in place and returned.
        tensor_name: the name of a parameter, a glob (`"weight_hh_l*"`), or a list of these.
        manifold: the manifold. A wide matrix is put on `Transposed(manifold)` if only its
            transpose can be a point.
        how: `"parametrized"`: the weight becomes `retract(base, coordinates(v))`, and any
            optimizer of PyTorch moves `v`. `"riemannian"`: it stays a parameter, and an optimizer
            of `torchmanifold.optim` moves it along the manifold.
        blocks: the number of stacked blocks that are points, each of its own: 4 for the gates of an
            LSTM, 3 for a GRU and for the query, key and value of attention, the number of groups
            for a grouped convolution. It means `Blocks(manifold, blocks)`. 1 takes the stack for
            one matrix.
        flatten: take a kernel `(out, in, kh, kw)` as the matrix `(out, in kh kw)`; a transposed
            convolution keeps it as `(in, out, kh, kw)`, and it is the same matrix. It means
            `Flattened(manifold)`. On a manifold of vectors, take the vector of all entries. False
            takes the last dimensions of a kernel, its slices, for points; a convolution wants one
            of the two.
            Orthonormal rows do not make the operator orthogonal where patches overlap; see
            `torchmanifold.nn.OrthogonalConv2d`.

    Returns:
        The module.

    Raises:
        ValueError: if there is no such parameter, if it is constrained already, if its shape or
            values cannot be projected, if it stacks several matrices and `blocks` is not given, if
            it is the kernel of a convolution and `flatten` is not given, if the module rewrites it,
            or if it is tied to a parameter of another module and would be parametrized. Then
            nothing is changed.

    Example:
        >>> import torch, torchmanifold as tm
        >>> lstm = torch.nn.LSTM(5, 8)
        >>> _ = tm.constrain(lstm, "weight_hh_l*", tm.SpecialOrthogonal(), blocks=4)
        >>> bool((tm.manifold_of(lstm, "weight_hh_l0").residual(lstm.weight_hh_l0) < 1e-5).all())
        True
    """
    if how not in ("parametrized", "riemannian"):
        raise ValueError(f'constrain: how must be "parametrized" or "riemannian", got {how!r}')
    check_module("constrain", "module", module, "; place_ takes a parameter")
    require_manifold("constrain", manifold)
    if not isinstance(manifold.event_ndim, int):
        raise TypeError(
            f"constrain: a weight is one tensor, but a point of {manifold!r} has several; put "
            f"each weight on its own factor, or pass a tuple or dict of parameters to place_"
        )
    plan = []
    for name in _names(module, tensor_name):
        where = f"constrain: {name!r} of {type(module).__name__}"
        if how == "riemannian" and is_parametrized(module, name):
            raise ValueError(
                f"{where} is computed by a parametrization; "
                f'how="riemannian" needs a plain parameter, so remove the parametrization first'
            )
        weight = getattr(module, name)
        if is_sharded(weight):
            raise ValueError(f"{where} is sharded already; constrain it before fully_shard")
        if not is_parametrized(module, name):
            try:
                hosts.check_tensor(module, name)
                if how == "parametrized":
                    ownership.check_ties(module, name)
            except ValueError as error:
                raise ValueError(f"constrain: {error}") from None
        try:
            fitted = fit(module, name, manifold, weight, blocks, flatten)
            fitted.check_shape(tuple(weight.shape))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        check_tensor(fitted, where, weight)
        other = manifold_of(weight)
        if other not in (None, fitted):
            raise ValueError(
                f"{where} is a parameter that another module shares and keeps on {other!r}; it "
                f"cannot be on {fitted!r} as well"
            )
        with torch.no_grad():
            plan.append((name, fitted, nearest(fitted, where, weight.detach())))
    for name, fitted, point in plan:
        if how == "riemannian":
            _riemannian(module, name, fitted, point)
        else:
            _parametrize(module, name, fitted, point)
    stamp(module)
    return module


def _patterns(caller: str, wanted: str | Iterable[str]) -> list[str]:
    patterns = (
        [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else [*wanted]
    )
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"{caller}: tensor_name must be a name, a glob, or a list of these, got {pattern!r}"
            )
    return patterns


def _names(module: nn.Module, wanted: str | Iterable[str]) -> list[str]:
    """The names that the patterns match; an error for a pattern without a match."""
    free = [name for name, value in module._parameters.items() if value is not None]
    taken = [name for name, _ in constrained(module)]
    found: dict[str, None] = {}
    for pattern in _patterns("constrain", wanted):
        for name in fnmatch.filter(taken, pattern):
            raise ValueError(
                f"constrain: {name!r} of {type(module).__name__} is already constrained; "
                f"call unconstrain first"
            )
        names = fnmatch.filter(free, pattern)
        if not names and is_parametrized(module, pattern):
            names = [pattern]
        if not names:
            if "." in pattern:
                raise ValueError(
                    f"constrain: {pattern!r} names a weight of a submodule; pass the submodule: "
                    f"constrain(model.get_submodule({pattern.rpartition('.')[0]!r}), "
                    f"{pattern.rpartition('.')[2]!r}, ...)"
                )
            near = difflib.get_close_matches(pattern, free, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {free}"
            for path, child in module.named_modules():
                if path and fnmatch.filter(child._parameters, pattern):
                    hint = f"its submodule has: constrain(model.get_submodule({path!r}), ...)"
                    break
            kind = type(module).__name__
            raise ValueError(
                f"constrain: no parameter of {kind} matches {pattern!r}; {hint}"
                if set(pattern) & set("*?[")
                else f"constrain: {kind} has no parameter {pattern!r}; {hint}"
            )
        found.update(dict.fromkeys(names))
    return list(found)


def _parametrize(module: nn.Module, name: str, manifold: Manifold, point: Tensor) -> None:
    weight = getattr(module, name)
    trivialization = Trivialization(manifold, point)
    if is_parametrized(module, name):
        register_parametrization(module, name, trivialization)
        return
    before = weight.detach().clone()
    with torch.no_grad():
        weight.copy_(point)
    try:
        register_parametrization(module, name, trivialization)
    except BaseException:
        with torch.no_grad():
            weight.copy_(before)
        raise
    module.parametrizations[name].original.grad = None  # type: ignore[index,union-attr]


def _riemannian(module: nn.Module, name: str, manifold: Manifold, point: Tensor) -> None:
    weight = module._parameters[name]
    assert weight is not None
    with torch.no_grad():
        weight.copy_(point)
    weight.grad = None
    record(module, name, manifold)


def unconstrain(module: nn.Module, tensor_name: str | Iterable[str]) -> nn.Module:
    """Make constrained weights plain parameters again, with their present values.

    All maps of a weight are removed, also maps that were registered before or after `constrain`.

    Args:
        module: the module that owns the weights; changed in place and returned.
        tensor_name: a name, a glob, or a list of these.

    Raises:
        ValueError: if a name matches no constrained weight. Then nothing is changed.
    """
    check_module("unconstrain", "module", module)
    present = [name for name, _ in constrained(module)]
    found: dict[str, None] = {}
    for pattern in _patterns("unconstrain", tensor_name):
        names = fnmatch.filter(present, pattern)
        if not names:
            raise ValueError(
                f"unconstrain: {type(module).__name__} has no constrained weight {pattern!r}; "
                f"it has {present or 'none'}"
            )
        found.update(dict.fromkeys(names))
    for name in found:
        if name in recorded(module):
            strike(module, name)
        else:
            remove_parametrizations(module, name, leave_parametrized=True)
    return module
