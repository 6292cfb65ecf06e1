"""The benchmark of the parametrize layer: the cost of an access, with and without a cache."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import torchmanifold as tm

from .benchmark import Benchmark, Piece, Settings
from .contenders import worst_residual
from .peers import torch_cached, torch_register
from .table import Target
from .timing import Contender, Work

__all__ = ["PARAMETRIZE"]

Cached = Callable[[], AbstractContextManager[object]]


class _Identity(nn.Module):
    """A map without cost, so that the time is that of the layer itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def _pieces(settings: Settings) -> Iterator[Piece]:
    quick = settings.quick
    n, depth, batch = (4, 2, 2) if quick else (256, 8, 32)
    hidden, steps = (4, 3) if quick else (64, 32)
    yield Piece("access, identity map", partial(_access, settings))
    yield Piece("cached read", partial(_read, settings, 4 if quick else 64))
    yield Piece("cached forward", partial(_forward, settings, n, depth, batch))
    for kind, gates in ((nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)):
        name = f"{kind.__name__} forward"
        yield Piece(name, partial(_recurrent, settings, kind, gates, hidden, steps, batch))
    yield Piece("GRUCell loop", partial(_cell, settings, hidden, steps, batch))


def _access(settings: Settings) -> Work:
    """An attribute access outside the cache."""

    def contender(
        name: str, register: Callable[..., nn.Module] | None, **options: Any
    ) -> Contender:
        layer: nn.Module = nn.Linear(4, 4, device=settings.device)
        raw = layer.weight.detach()
        if register is not None:
            register(layer, "weight", _Identity())

        def residual() -> float:
            return float((layer.weight.detach() - raw).norm())

        return Contender(name, lambda: layer.weight, residual, **options)

    return Work(
        "access outside the cache, identity map, n = 4",
        [
            contender("ours", tm.parametrize.register_parametrization, ours=True),
            contender("torch", torch_register, targets=(Target.at_most_times(1),)),
            contender("raw parameter", None),
        ],
    )


def _inference(*contexts: Cached) -> Cached:
    """The given contexts without gradients."""

    def enter() -> AbstractContextManager[object]:
        stack = ExitStack()
        stack.enter_context(torch.no_grad())
        for context in contexts:
            stack.enter_context(context())
        return stack

    return enter


def _constrain_as_torch(
    module: nn.Module, name: str, manifold: tm.Manifold, blocks: int | None = None
) -> nn.Module:
    """The same map as `tm.constrain`, registered with torch's layer."""
    if blocks is not None:
        manifold = tm.Blocks(manifold, blocks)
    weight = getattr(module, name)
    with torch.no_grad():
        weight.copy_(manifold.project(weight))
    point = weight.detach().clone()
    return torch_register(module, name, tm.Trivialization(manifold, point))


def _read(settings: Settings, n: int) -> Work:
    """An attribute access in inference, after the first."""
    ours, theirs, raw = (nn.Linear(n, n, device=settings.device) for _ in range(3))
    tm.constrain(ours, "weight", tm.SpecialOrthogonal())
    _constrain_as_torch(theirs, "weight", tm.SpecialOrthogonal())

    def contender(name: str, layer: nn.Module, cached: Cached, **options: Any) -> Contender:
        return Contender(
            name,
            lambda: layer.weight,
            lambda: worst_residual(layer.weight),
            before=lambda: layer.weight,
            context=_inference(cached),
            **options,
        )

    return Work(
        "cached read under no_grad",
        [
            contender("ours", ours, lambda: tm.parametrize.cached(ours), ours=True),
            contender("raw parameter", raw, nullcontext, targets=(Target("behind", 3),)),
            contender("torch, cached", theirs, torch_cached),
        ],
    )


def _compared(
    work: str,
    free: nn.Module,
    inputs: Tensor,
    constrain: Callable[..., nn.Module],
    value: Callable[[nn.Module], Tensor],
    contexts: Callable[[nn.Module], dict[str, Cached]],
    kept: bool = False,
    times: float | None = None,
) -> Work:
    """A forward pass: ours, unconstrained, and the same map in torch's layer.

    The contexts are entered at each pass, or are `kept` from one pass to the next.
    """
    ours, theirs = copy.deepcopy(free), copy.deepcopy(free)
    constrain(ours, tm.constrain)
    constrain(theirs, _constrain_as_torch)
    context = contexts(ours)

    def contender(name: str, model: nn.Module, **options: Any) -> Contender:
        def call() -> object:
            with nullcontext() if kept else context[name]():
                return model(inputs)

        return Contender(
            name,
            call,
            lambda: worst_residual(value(model)),
            before=call,
            context=context[name] if kept else nullcontext,
            **options,
        )

    targets = () if times is None else (Target.at_most_times(times),)
    return Work(
        work,
        [
            contender("ours", ours, ours=True),
            contender("unconstrained", free, targets=targets),
            contender("torch, cached", theirs),
        ],
    )


def _forward(settings: Settings, n: int, depth: int, batch: int) -> Work:
    """A forward pass in inference, with weights that were evaluated before."""
    layers = [module for _ in range(depth) for module in (nn.Linear(n, n), nn.ReLU())]

    def constrain(model: nn.Sequential, register: Callable[..., nn.Module]) -> None:
        for layer in model[::2]:
            register(layer, "weight", tm.SpecialOrthogonal())

    return _compared(
        f"cached forward under no_grad, {depth} layers {n} x {n}, batch {batch}",
        nn.Sequential(*layers).to(settings.device),
        torch.randn(batch, n, device=settings.device),
        constrain,
        lambda model: model[0].weight,  # type: ignore[index]
        lambda ours: {
            "ours": _inference(lambda: tm.parametrize.cached(ours)),
            "unconstrained": _inference(),
            "torch, cached": _inference(torch_cached),
        },
        kept=True,
        times=1.05,
    )


def _recurrent(
    settings: Settings, kind: Any, gates: int, hidden: int, steps: int, batch: int
) -> Work:
    """A forward pass with gradients, which evaluates the recurrent kernels."""

    def constrain(model: nn.Module, register: Callable[..., nn.Module]) -> None:
        blocks = {"blocks": gates} if gates > 1 else {}
        register(model, "weight_hh_l0", tm.SpecialOrthogonal(), **blocks)

    return _compared(
        f"{kind.__name__} forward, hidden {hidden}, {steps} steps, batch {batch}",
        kind(8, hidden).to(settings.device),
        torch.randn(steps, batch, 8, device=settings.device),
        constrain,
        lambda model: model.weight_hh_l0.unflatten(0, (gates, -1)),  # type: ignore[union-attr]
        lambda _: {
            "ours": nullcontext,
            "unconstrained": nullcontext,
            "torch, cached": torch_cached,
        },
    )


class _Loop(nn.Module):
    """A cell run along a sequence."""

    def __init__(self, cell: nn.GRUCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, sequence: Tensor) -> Tensor:
        state = sequence.new_zeros(sequence.shape[1], self.cell.hidden_size)
        for x in sequence:
            state = self.cell(x, state)
        return state


def _cell(settings: Settings, hidden: int, steps: int, batch: int) -> Work:
    """A loop over a cell inside the cache, with one evaluation."""

    def constrain(model: _Loop, register: Callable[..., nn.Module]) -> None:
        register(model.cell, "weight_hh", tm.SpecialOrthogonal(), blocks=3)

    return _compared(
        f"GRUCell loop inside the cache, hidden {hidden}, {steps} steps, batch {batch}",
        _Loop(nn.GRUCell(8, hidden)).to(settings.device),
        torch.randn(steps, batch, 8, device=settings.device),
        constrain,
        lambda model: model.cell.weight_hh.unflatten(0, (3, -1)),  # type: ignore[union-attr]
        lambda _: {
            "ours": tm.parametrize.cached,
            "unconstrained": nullcontext,
            "torch, cached": torch_cached,
        },
    )


PARAMETRIZE = Benchmark("parametrize", "the parametrize layer against torch's", _pieces)
