"""The networks of the recurrent tasks: a recurrence, and its optimizer.

All orthogonal networks have the same initial weights, drawn by the seed, and a learning rate of
their own for the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn
from torch.optim import Adam, Optimizer, RMSprop

from torchmanifold.manifolds import Cayley, Exp, SpecialOrthogonal
from torchmanifold.nn import OrthogonalRNN
from torchmanifold.optim.compare.method import Config, Method
from torchmanifold.optim.compare.methods import libraries
from torchmanifold.optim.compare.methods.descent import Descent, groups_of
from torchmanifold.optim.compare.methods.networks import (
    CellLoop,
    cached_tanh,
    long_short_term_memory,
    tanh,
)
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.problems.networks import KERNEL, SequenceModel

__all__ = ["RECURRENT"]

EVERY = 100
RATES = {"lr": (1e-3,)}
KERNEL_RATES = {"lr": (1e-3,), "kernel_factor": (0.1,)}


@dataclass(frozen=True)
class _Replaced:
    """Puts another recurrence into the model and trains it.

    Args:
        network: makes the recurrence from the initial `OrthogonalRNN`.
        register: another library's parametrization of its kernel, if any.
        make: makes the optimizer.
    """

    network: Callable[[OrthogonalRNN], nn.Module]
    register: libraries.Register | None = None
    make: Callable[..., Optimizer] = RMSprop

    def __call__(self, model: nn.Module, config: Config) -> Optimizer:
        """The optimizer."""
        assert isinstance(model, SequenceModel) and isinstance(model.rnn, OrthogonalRNN)
        device = model.head.weight.device
        model.rnn = self.network(model.rnn).to(device)
        if self.register is None:
            return self.make(model.parameters(), lr=config["lr"])
        self.register(model.rnn, KERNEL, SpecialOrthogonal())
        return self.make(groups_of(model, config), lr=config["lr"])


def _is_recurrent(problem: Problem) -> bool:
    return isinstance(problem.probe.initial, SequenceModel)


def _itself(like: OrthogonalRNN) -> OrthogonalRNN:
    return like


_recurrent = partial(Method, applies=_is_recurrent)


def _ours() -> list[Method]:
    return [
        _recurrent(
            name=f"{name}{suffix}",
            build=Descent(RMSprop, every),
            grid=KERNEL_RATES,
            how="parametrized",
            retraction=retraction,
            family=name,
            about=f"OrthogonalRNN, {type(retraction).__name__} parametrization, RMSprop, {words}",
        )
        for name, retraction in (("exp", Exp()), ("cayley", Cayley()))
        for suffix, every, words in (
            ("", None, "never rebased"),
            (f"-every{EVERY}", EVERY, f"rebased every {EVERY} steps"),
            ("-every1", 1, "rebased after every step"),
        )
    ]


def _others() -> list[Method]:
    loop = "modReLU cells in a loop, input product hoisted, kernel cached"
    torch_, geotorch_ = libraries.torch_orthogonal, libraries.geotorch_constraint
    rows = [
        ("torch-orthogonal", f"torch's orthogonal, {loop}", _Replaced(CellLoop, torch_)),
        ("geotorch", f"geotorch's exp, {loop}", _Replaced(CellLoop, geotorch_)),
        ("geotorch-tanh", "geotorch's exp on nn.RNN, kernel cached",
         _Replaced(cached_tanh, geotorch_)),
    ]  # fmt: skip
    return [
        _recurrent(name=name, build=build, grid=KERNEL_RATES, how="plain", about=about)
        for name, about, build in rows
    ]


def _free() -> list[Method]:
    rows = [
        ("lstm", "nn.LSTM, RMSprop", long_short_term_memory, RMSprop),
        ("lstm-adam", "nn.LSTM, Adam", long_short_term_memory, Adam),
        ("rnn", "nn.RNN with tanh, RMSprop", tanh, RMSprop),
        ("modrelu", "OrthogonalRNN at the same initial value, its kernel free", _itself, RMSprop),
    ]
    return [
        _recurrent(
            name=name,
            build=_Replaced(network, make=make),
            grid=RATES,
            how="plain",
            family="free",
            about=about,
            constrained=False,
        )
        for name, about, network, make in rows
    ]


RECURRENT = (*_ours(), *_others(), *_free())
