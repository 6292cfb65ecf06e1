"""Which weight of a module is on which manifold: the record, its stamp, and its guard.

A weight under Riemannian updates stays a plain parameter. A record on the module,
`module._manifolds`, states its manifold, and survives copying, pickling, moving and loading. The
parameter carries a stamp with the same data, which is quicker to find; it is written again whenever
it may have been lost.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from torchmanifold.manifolds import Manifold
from torchmanifold.parametrize import ParametrizationList, is_parametrized
from torchmanifold.weights.checks import check_point
from torchmanifold.weights.points import trivialization_of
from torchmanifold.weights.sharding import is_sharded

__all__ = [
    "Placement",
    "constrained",
    "is_constrained",
    "is_coordinate",
    "manifold_of",
    "place",
    "placement_of",
    "placements_of",
    "record",
    "recorded",
    "stamp",
    "stamp_sharded",
    "strike",
]


@dataclass
class Placement:
    """The manifold of a weight, and the residual that its optimizer may leave.

    Args:
        manifold: the manifold.
        residual: the largest residual that its optimizer states. Most optimizers state none, and
            leave only rounding errors.
    """

    manifold: Manifold
    residual: float = 0.0


# Modules with a record: `fully_shard` replaces their parameters without a notice.
_modules: weakref.WeakSet[nn.Module] = weakref.WeakSet()


class _Record(dict[str, Placement]):
    """The record of one module. Copying it stamps the copied parameters.

    `copy.deepcopy` copies the attributes of a module with one memo, which has the copies of the
    parameters. A copied parameter has no attributes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.hooks: list[RemovableHandle] = []
        _modules.add(module)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Record:
        twin = _Record(copy.deepcopy(self.module, memo))
        memo[id(self)] = twin
        twin.hooks = copy.deepcopy(self.hooks, memo)
        for name, placement in self.items():
            twin[name] = copy.deepcopy(placement, memo)
            parameter = self.module._parameters.get(name)
            if parameter is not None:
                place(copy.deepcopy(parameter, memo), twin[name])
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _Record, (self.module,), {"hooks": self.hooks}, None, iter(self.items())


def place(parameter: Tensor, placement: Placement) -> None:
    """Stamp a parameter; from now on an optimizer that knows no manifolds must not move it."""
    parameter._placement = placement  # type: ignore[attr-defined]
    _watch_optimizers()


def placement_of(parameter: Tensor | None) -> Placement | None:
    """The stamp of a parameter, if it has one."""
    return getattr(parameter, "_placement", None)


def placements_of(parameters: Iterable[Tensor]) -> list[Placement | None]:
    """The stamps of parameters, in a loop that runs in C."""
    return list(map(getattr, parameters, repeat("_placement"), repeat(None)))


def recorded(module: nn.Module) -> dict[str, Placement]:
    """The record of the module: the placement of each weight under Riemannian updates."""
    return module.__dict__.get("_manifolds", {})


def record(module: nn.Module, name: str, manifold: Manifold) -> None:
    """Enter a parameter of the module into its record."""
    if "_manifolds" not in module.__dict__:
        module.__dict__["_manifolds"] = _Record(module)
        module.__dict__["_manifolds"].hooks = [
            module.register_forward_pre_hook(_stamp_before_forward),
            module.register_load_state_dict_pre_hook(_check_before_load),
            module.register_load_state_dict_post_hook(_stamp_after_load),
        ]
        module.__dict__[_SCRIPTED] = functools.partial(_refuse_scripting, module)
    # A parameter that another module shares has one placement.
    known = placement_of(module._parameters[name])
    recorded(module)[name] = known or Placement(manifold)
    _stamp(module)


def strike(module: nn.Module, name: str) -> None:
    """Take a parameter out of the record, and remove an empty record."""
    entries = module.__dict__["_manifolds"]
    del entries[name]
    parameter = module._parameters.get(name)
    if parameter is not None:
        vars(parameter).pop("_placement", None)
    if not entries:
        for hook in entries.hooks:
            hook.remove()
        del module.__dict__["_manifolds"]
        module.__dict__.pop(_SCRIPTED, None)


def stamp(model: nn.Module) -> None:
    """Stamp the parameters of a model: weights on manifolds, and coordinates of such weights."""
    for module in model.modules():
        _stamp(module)
        if isinstance(module, ParametrizationList) and trivialization_of(module) is not None:
            for parameter in module.parameters():
                parameter._is_coordinate = True  # type: ignore[attr-defined]


def is_coordinate(parameter: Tensor) -> bool:
    """Whether the parameter is stamped as the coordinates of a constrained weight."""
    return getattr(parameter, "_is_coordinate", False)


def stamp_sharded(parameters: list[Tensor]) -> None:
    """Stamp sharded parameters; a parameter that is on no record gets None.

    `fully_shard` puts new parameters into a module, and the record of the module still has their
    names.
    """
    if all(hasattr(p, "_placement") for p in parameters):
        return
    for module in list(_modules):
        for name, placement in recorded(module).items():
            parameter = module._parameters.get(name)
            if is_sharded(parameter):
                place(parameter, placement)  # type: ignore[arg-type]
    for p in parameters:
        if not hasattr(p, "_placement"):
            p._placement = None  # type: ignore[attr-defined]


def _stamp(module: nn.Module) -> None:
    for name, placement in recorded(module).items():
        parameter = module._parameters.get(name)
        if parameter is None:
            raise RuntimeError(
                f"{type(module).__name__}.{name} is on record as a weight on "
                f"{placement.manifold!r}, but is no longer a parameter; call unconstrain before "
                f"something else replaces it"
            )
        place(parameter, placement)


# torch.jit.script calls this for each module, before it would fail at the hooks.
_SCRIPTED = "__prepare_scriptable__"


def _refuse_scripting(module: nn.Module) -> NoReturn:
    names = ", ".join(map(repr, recorded(module)))
    raise RuntimeError(
        f"torch.jit.script cannot compile this {type(module).__name__}, which keeps {names} on a "
        f"manifold: script torchmanifold.bake(model), a copy with plain weights, or use "
        f"torch.export.export(model, args) or torch.jit.trace(model, args)"
    )


def _stamp_before_forward(module: nn.Module, args: Any) -> None:
    # A copy has new parameters, and is called before it is trained. A replica of nn.DataParallel
    # has none; it is called once and never trained.
    if not torch.compiler.is_compiling() and not getattr(module, "_is_replica", False):
        _stamp(module)


def _check_before_load(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *args: Any
) -> None:
    """Report values off the manifold as PyTorch reports wrong shapes; the weight stays."""
    error_msgs: list[str] = args[-1]
    for name, placement in recorded(module).items():
        value = state_dict.get(prefix + name)
        if isinstance(value, Tensor):
            value = value.full_tensor() if is_sharded(value) else value  # type: ignore[attr-defined]
            where = f"the value of {prefix + name!r}"
            try:
                check_point(placement.manifold, where, value, placement.residual)
            except (TypeError, ValueError) as error:
                error_msgs.append(f"{error} (or load project_state_dict(model, state_dict))")
                state_dict[prefix + name] = module._parameters[name]


def _stamp_after_load(module: nn.Module, incompatible_keys: Any) -> None:
    _stamp(module)


@functools.cache
def _watch_optimizers() -> None:
    register_optimizer_step_pre_hook(_refuse_foreign_optimizers)


def _refuse_foreign_optimizers(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    """Raise: a Euclidean step would silently take the weight off its manifold."""
    if getattr(optimizer, "handles_manifolds", False):
        return
    for group in optimizer.param_groups:
        stamp_sharded([p for p in group["params"] if is_sharded(p)])
        for parameter in group["params"]:
            placement = placement_of(parameter)
            if placement is not None:
                raise RuntimeError(
                    f"{type(optimizer).__name__} would move a weight of shape "
                    f"{tuple(parameter.shape)} off {placement.manifold!r}: use an optimizer of "
                    f'torchmanifold.optim, or constrain it with how="parametrized"'
                )


def constrained(module: nn.Module) -> Iterator[tuple[str, Manifold]]:
    """Names and manifolds of the constrained weights that the module itself owns.

    If maps were registered after `constrain`, they compute the weight from a point of the manifold.
    """
    yield from ((name, placement.manifold) for name, placement in recorded(module).items())
    if is_parametrized(module):
        for name, parametrizations in module.parametrizations.items():  # type: ignore[union-attr,operator]
            trivialization = trivialization_of(parametrizations)
            if trivialization is not None:
                yield name, trivialization.manifold


def manifold_of(
    module_or_parameter: nn.Module | Tensor, tensor_name: str | None = None
) -> Manifold | None:
    """The manifold that a weight is constrained to, or None.

    Args:
        module_or_parameter: the module that owns the weight, or a parameter constrained with
            `how="riemannian"`.
        tensor_name: the weight's name, with a module.

    Raises:
        TypeError: for a module without a name, or a parameter with one.
        AttributeError: if the module has nothing of that name.
    """
    if isinstance(module_or_parameter, nn.Module):
        if tensor_name is None:
            raise TypeError("manifold_of: with a module, tensor_name is needed")
        return _named(module_or_parameter, tensor_name)
    if tensor_name is not None:
        raise TypeError("manifold_of: tensor_name goes with a module, got a tensor")
    placement = placement_of(module_or_parameter)
    return None if placement is None else placement.manifold


def is_constrained(module: nn.Module, tensor_name: str | None = None) -> bool:
    """Whether a weight of the module (any, without a name) is constrained."""
    if tensor_name is None:
        return bool(list(constrained(module)))
    return _named(module, tensor_name) is not None


def _named(module: nn.Module, name: str) -> Manifold | None:
    found = dict(constrained(module))
    if name not in found:
        getattr(module, name)  # raises for a misspelt name, which must not look unconstrained
    return found.get(name)
