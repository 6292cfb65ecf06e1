"""The base class of all Riemannian optimizers: batches, state and non-finite steps."""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import Manifold
from torchmanifold.optim.batches import Plan, sharded
from torchmanifold.optim.groups import as_groups, collect
from torchmanifold.optim.guards import (
    refuse_overwritten,
    refuse_replaced,
    remember_written,
    warn_of_no_manifold,
)
from torchmanifold.optim.nonfinite import (
    all_finite,
    is_finite,
    only_finite,
    warn_of_nonfinite,
    where,
)
from torchmanifold.optim.options import Allowed, allowed, check, options_of, require
from torchmanifold.optim.rule import State
from torchmanifold.weights import manifold_of
from torchmanifold.weights.record import place, placement_of, stamp_sharded
from torchmanifold.weights.sharding import is_sharded

__all__ = ["ManifoldOptimizer"]

_HALF = (torch.float16, torch.bfloat16)


class Move(NamedTuple):
    """A computed step of stacked weights that has not been written yet."""

    stack: Any  # Stack or ShardedStack
    point: Tensor
    state: State
    finite: Tensor | None  # (K,)


class ManifoldOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer of `torch.optim` that keeps weights on their manifolds.

    PyTorch's own functions move ordinary weights. Weights on one manifold, of one shape, dtype,
    device and group, are stacked and move in one call of `rule`.

    A subclass defines `rule`, `_ordinary` and a constructor that passes its arguments on, as
    `super().__init__(params, locals())`.

    Args:
        params: a model, parameters, or groups of them.
        given: the arguments of the constructor by their names.
        foreach: compute ordinary weights by PyTorch's multi-tensor functions.
        fused: compute ordinary weights by PyTorch's fused functions.
        nonfinite: the treatment of a step that is not finite.
    """

    #: `(manifold, x, egrad, state, *, options) -> (y, state)`, of stacked weights `(K, ...)`; the
    #: state is empty at their first step. Its keyword arguments are options of the optimizer.
    rule: ClassVar[Callable[..., tuple[Tensor, State]]]
    #: the names of its keyword arguments
    _names: ClassVar[tuple[str, ...]]
    #: the allowed values of options
    _types: ClassVar[dict[str, Allowed]] = {}

    #: read by the guard that stops other optimizers from moving a manifold weight
    handles_manifolds = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read the options of the rule and of the constructor."""
        super().__init_subclass__(**kwargs)
        cls._names = options_of(cls.rule)
        cls._types = {**cls._types, **allowed(cls.__init__), **allowed(cls.rule)}

    def __init__(self, params: Any, given: dict[str, Any]) -> None:
        """Check the options; take a model, parameters, or groups of them."""
        self._plans: list[Plan] = []
        self._steps = 0
        self._known: dict[Tensor, None] = {}
        others = ("self", "params", "__class__")
        self.defaults = defaults = {n: value for n, value in given.items() if n not in others}
        self._check(defaults)
        super().__init__(as_groups(self, params), defaults)
        warn_of_no_manifold(self, self._known)

    def _check(self, options: dict[str, Any]) -> None:
        """Refuse options that make no sense."""
        check(self, options, self._types)
        fused, foreach = options.get("fused"), options.get("foreach")
        require(not (fused and foreach), self, "fused", "None or False with foreach=True", fused)

    def _manifold(self, group: dict[str, Any], parameter: Tensor) -> Manifold | None:
        """The manifold on which a weight moves, None for an ordinary weight."""
        return manifold_of(parameter)

    def _choice(self, group: dict[str, Any]) -> object:
        """The options of a group on which `_manifold` depends."""
        return None

    def _accept(self, parameter: Tensor, manifold: Manifold, group: dict[str, Any]) -> None:
        """Refuse a weight on a manifold for which the rule makes no sense."""

    @abstractmethod
    def _ordinary(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Move ordinary weights as PyTorch does."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its "params" may be a model.

        Raises:
            ValueError: for an option that makes no sense, or a model without parameters.
            NotImplementedError: for weights on a manifold that are sharded along two dimensions.
        """
        if isinstance(param_group, dict):
            params = param_group["params"]
            if isinstance(params, nn.Module):
                params = collect(params)
                require(bool(params), self, "model", "a module with parameters", param_group)
                param_group = {**param_group, "params": params}
            self._check({**self.defaults, **param_group})
        known = len(self.param_groups)
        super().add_param_group(param_group)
        shards = [p for p in self.param_groups[-1]["params"] if is_sharded(p)]
        stamp_sharded(shards)
        try:
            for p in self.param_groups[-1]["params"]:
                manifold = manifold_of(p)
                if manifold is not None:
                    self._accept(p, manifold, self.param_groups[-1])
                    if is_sharded(p):
                        sharded().layout(p)
        except (NotImplementedError, ValueError):
            del self.param_groups[known:]
            raise
        self._known.update(dict.fromkeys(self.param_groups[-1]["params"]))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step.

        Args:
            closure: evaluates the model again and returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._replan()
        for plan in self._plans:
            refuse_overwritten(self, plan)
        moves: Any = self._moves()
        if any(group["nonfinite"] == "raise" for group in self.param_groups):
            moves = list(moves)  # all steps are computed before any is written
            self._refuse_nonfinite(moves)
        for stack, point, state, _ in moves:
            stack.write(point, state)
        for plan in self._plans:
            remember_written(plan)
        for group, plan in zip(self.param_groups, self._plans, strict=True):
            params = [p for p in plan.ordinary if p.grad is not None]
            skipping = group["nonfinite"] == "skip"
            with only_finite(self.state, params) if skipping else contextlib.nullcontext():
                self._ordinary(group, params, [p.grad for p in params if p.grad is not None])
        self._look()
        return loss

    def _look(self) -> None:
        """After the steps 1, 2, 4, 8, ... warn once if weights are no longer finite."""
        if torch.compiler.is_compiling() or self._steps < 0:
            return
        self._steps += 1
        if not self._steps & (self._steps - 1):
            moved = [p for plan in self._plans for p, M in plan.manifolds.items() if M is not None]
            if warn_of_nonfinite(self, moved):
                self._steps = -1

    def _replan(self) -> None:
        groups = self.param_groups
        if len(groups) != len(self._plans) or not all(
            plan.holds(group["params"], self._choice(group))
            for plan, group in zip(self._plans, groups, strict=True)
        ):
            held = {p: None for group in groups for p in group["params"]}
            refuse_replaced(self, self._known, held)
            self._known.clear()
            self._known.update(held)
            old = {p: plan.manifolds[p] for plan in self._plans for p in plan.manifolds}
            # In place, because under torch.compile of PyTorch 2.11 a step cannot set an attribute.
            self._plans[:] = [
                Plan(group["params"], functools.partial(self._manifold, group), self._choice(group))
                for group in groups
            ]
            for group, plan in zip(self.param_groups, self._plans, strict=True):
                for p, manifold in plan.manifolds.items():
                    if manifold is not None:
                        self._accept(p, manifold, group)
                    if old.get(p, manifold) != manifold:  # constrained or freed: its state is reset
                        self.state.pop(p, None)

    def _moves(self) -> Iterator[Move]:
        for group, plan in zip(self.param_groups, self._plans, strict=True):
            for batch in plan.batches:
                for stack, grads in batch.stacks(self.state):
                    # Autocast would run the products in half precision and leave the manifold.
                    with torch.autocast(stack.params[0].device.type, enabled=False):
                        yield self._compute(group, batch.manifold, stack, grads)

    def _compute(
        self, group: dict[str, Any], manifold: Manifold, stack: Any, grads: list[Tensor]
    ) -> Move:
        x, egrad, state = stack.gather(grads)
        half = x.dtype in _HALF
        if half:
            x, egrad = _master(manifold, x, state.pop("master", None)), egrad.float()
        skipped = state.pop("skipped", None)
        options = {name: group[name] for name in self._names}
        if group["nonfinite"] == "propagate":
            y, new = self.rule(manifold, x, egrad, state, **options)
            finite = None
        else:
            finite = is_finite(egrad)
            # Factorizations raise at a NaN, for the whole batch.
            y, new = self.rule(manifold, x, where(finite, egrad, 0), state, **options)
            for value in (y.to(grads[0].dtype), *new.values()):  # half precision may overflow
                finite = finite & is_finite(value)
        if group["nonfinite"] == "skip" and finite is not None:
            y = where(finite, y, x)
            new = {name: where(finite, value, state.get(name, 0)) for name, value in new.items()}
            count = torch.zeros_like(finite, dtype=torch.float32) if skipped is None else skipped
            new["skipped"] = count + ~finite
        if half:
            new["master"] = y
        return Move(stack, *stack.spread(y, new, finite))

    def _refuse_nonfinite(self, moves: list[Move]) -> None:
        flags = [(m.stack.params, m.finite) for m in moves if m.finite is not None]
        for group, plan in zip(self.param_groups, self._plans, strict=True):
            if group["nonfinite"] == "raise":
                for p in plan.ordinary:
                    if p.grad is not None:
                        flags.append(([p], all_finite(p.grad).reshape(1)))
        for params, finite in flags:
            bad = [tuple(p.shape) for p, ok in zip(params, finite.tolist(), strict=True) if not ok]
            if bad:
                raise FloatingPointError(
                    f"{type(self).__name__}: the step of {len(bad)} weight(s) of shape {bad[0]} is "
                    f"not finite; no weight was moved. Lower the learning rate or clip gradients, "
                    f'or pass nonfinite="skip"'
                )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict; the run continues as if it had not stopped, to the last bit.

        A state dict of the optimizer of `torch.optim` of the same name loads too.
        """
        super().load_state_dict(state_dict)
        # torch rounds all state to the weight's dtype; for half precision the state is float32.
        saved = [i for group in state_dict["param_groups"] for i in group["params"]]
        held = [p for group in self.param_groups for p in group["params"]]
        for i, p in zip(saved, held, strict=True):
            for name, value in state_dict["state"].get(i, {}).items():
                if p.dtype in _HALF and isinstance(value, Tensor) and name != "step":
                    self.state[p][name] = value.to(p.device, copy=True)

    def __getstate__(self) -> dict[str, Any]:
        """The state with the manifolds, because a copied or pickled parameter has no stamp."""
        held = [p for group in self.param_groups for p in group["params"]]
        stamps = [(p, placement_of(p)) for p in held if placement_of(p) is not None]
        return {**super().__getstate__(), "_stamps": stamps}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Stamp copied parameters, and add options that groups of other versions lack."""
        state = dict(state)
        for p, placement in state.pop("_stamps", ()):
            place(p, placement)
        super().__setstate__(state)
        self._plans = []
        self._steps = 0
        self._known = {p: None for group in self.param_groups for p in group["params"]}
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)


def _master(manifold: Manifold, x: Tensor, master: Tensor | None) -> Tensor:
    """The float32 copy of half-precision weights, or the weights if they have changed since."""
    if master is None:
        return manifold.project(x.float())
    return torch.where(master.to(x.dtype) == x, master, x.float())
