"""The methods that are compared on recurrent tasks: a network each, and what trains it.

All orthogonal ones start from the same weights, drawn by the seed, and give their kernel a
learning rate of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer, RMSprop

from torchmanifold.manifolds import Cayley, Exp, Retraction, SpecialOrthogonal
from torchmanifold.nn import OrthogonalRNN
from torchmanifold.optim import (
    RiemannianAdam,
    RiemannianRMSprop,
    RiemannianSGD,
    param_groups,
    rebase_every,
)
from torchmanifold.optim.compare import peers
from torchmanifold.optim.compare.recurrent.networks import (
    KERNEL,
    CellLoop,
    SequenceModel,
    cached_tanh,
    long_short_term_memory,
    plain_modrelu,
    tanh,
)
from torchmanifold.weights import constrain

__all__ = ["RECURRENT", "RecurrentMethod", "build"]

MOMENTUM = 0.9
EVERY = 100


@dataclass(frozen=True)
class RecurrentMethod:
    """A recurrent network and the way to train it.

    Args:
        name: name on the command line.
        family: what it is drawn with, where there are many.
        about: one line for `torchmanifold list`.
        network: makes the recurrence from an `OrthogonalRNN` at the start.
        optimizer: `(parameters or model, lr) -> optimizer`.
        constrained: whether the kernel stays orthogonal.
        every: steps from one rebasing to the next; None for never.
        default: whether it is run if no method is named.
    """

    name: str
    family: str
    about: str
    network: Callable[[OrthogonalRNN], nn.Module]
    optimizer: Callable[..., Optimizer] = RMSprop
    constrained: bool = True
    every: int | None = None
    default: bool = True

    @property
    def kernel(self) -> str | None:
        """Dotted name of the square recurrent kernel, where there is one."""
        return None if self.network is long_short_term_memory else f"rnn.{KERNEL}"


def _parametrized(retraction: Retraction, like: OrthogonalRNN) -> nn.Module:
    plain_modrelu(like)
    return constrain(like, KERNEL, SpecialOrthogonal(retraction=retraction))


def _riemannian(retraction: Retraction, like: OrthogonalRNN) -> nn.Module:
    plain_modrelu(like)
    return constrain(like, KERNEL, SpecialOrthogonal(retraction=retraction), how="riemannian")


def _registered(
    register: peers.Register, network: Callable[[OrthogonalRNN], nn.Module], like: OrthogonalRNN
) -> nn.Module:
    rnn = network(like)
    register(rnn, KERNEL, SpecialOrthogonal())
    return rnn


def _methods() -> list[RecurrentMethod]:
    ours = [
        RecurrentMethod(
            name=f"{name}{suffix}",
            family=name,
            about=f"OrthogonalRNN, {type(retraction).__name__} parametrization, {words}",
            network=partial(_parametrized, retraction),
            every=every,
        )
        for name, retraction in (("exp", Exp()), ("cayley", Cayley()))
        for suffix, every, words in (
            ("", None, "never rebased"),
            (f"-every{EVERY}", EVERY, f"rebased every {EVERY} steps"),
            ("-every1", 1, "rebased after every step"),
        )
    ]
    riemannian: Mapping[str, Callable[..., Optimizer]] = {
        "sgd": partial(RiemannianSGD, momentum=MOMENTUM),
        "rmsprop": RiemannianRMSprop,
        "adam": RiemannianAdam,
    }
    ours += [
        RecurrentMethod(
            name=f"riemannian-{name}",
            family="riemannian",
            about=f"OrthogonalRNN, Riemannian {name} with the Cayley retraction",
            network=partial(_riemannian, Cayley()),
            optimizer=optimizer,
        )
        for name, optimizer in riemannian.items()
    ]
    loop = "modReLU cells in a loop, input product hoisted, kernel cached"
    torch_ = peers.torch_orthogonal
    geotorch_ = peers.geotorch_constraint
    others = [
        ("torch-orthogonal", f"torch's orthogonal, {loop}", partial(_registered, torch_, CellLoop)),
        ("geotorch", f"geotorch's exp, {loop}", partial(_registered, geotorch_, CellLoop)),
        ("geotorch-tanh", "geotorch's exp on nn.RNN, kernel cached",
         partial(_registered, geotorch_, cached_tanh)),
    ]  # fmt: skip
    free = [
        ("lstm", "nn.LSTM", long_short_term_memory, True),
        ("rnn", "nn.RNN with tanh", tanh, True),
        ("modrelu", "OrthogonalRNN at the same start, its kernel free", plain_modrelu, False),
    ]
    return [
        *ours,
        *(RecurrentMethod(name, "others", about, network) for name, about, network in others),
        *(
            RecurrentMethod(name, "free", about, network, constrained=False, default=default)
            for name, about, network, default in free
        ),
    ]


RECURRENT: Mapping[str, RecurrentMethod] = {method.name: method for method in _methods()}


def build(
    method: RecurrentMethod,
    inputs: int,
    hidden: int,
    outputs: int,
    every: bool,
    init: str,
    lr: float,
    kernel_factor: float,
    device: Any = "cpu",
) -> tuple[SequenceModel, Optimizer]:
    """The network at the start that torch's global generator draws, and its optimizer.

    Args:
        method: which.
        inputs: features of the input.
        hidden: size of the state.
        outputs: numbers to give.
        every: whether to answer in every step.
        init: start of the kernel, see `torchmanifold.nn.init`.
        lr: learning rate.
        kernel_factor: that of a constrained kernel, in units of `lr`.
        device: where the network lies.

    Example:
        >>> import torch
        >>> model, optimizer = build(RECURRENT["cayley"], 1, 8, 10, False, "henaff", 1e-3, 0.1)
        >>> model(torch.randn(20, 4, 1)).shape
        torch.Size([4, 10])
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.001, 0.0001]
    """
    start = OrthogonalRNN(inputs, hidden, init=init)
    model = SequenceModel(start, hidden, outputs, every)
    model.rnn = method.network(start)
    model.to(device)
    if not method.constrained:
        return model, method.optimizer(model.parameters(), lr=lr)
    rates = (lr, lr * kernel_factor)
    optimizer = method.optimizer(_groups(model, *rates), lr=lr)
    if method.every is not None:
        rebase_every(model, optimizer, steps=method.every)
    return model, optimizer


def _groups(model: SequenceModel, lr: float, kernel_lr: float) -> list[dict[str, Any]]:
    """Ordinary weights and the kernel, also of a parametrization that is not ours."""
    groups = param_groups(model, lr=lr, manifold_lr=kernel_lr)
    if len(groups) == 2:
        return groups
    foreign = {p for name, p in model.named_parameters() if "parametrizations." in name}
    return [
        {"params": [p for p in model.parameters() if p not in foreign], "lr": lr},
        {"params": list(foreign), "lr": kernel_lr},
    ]
