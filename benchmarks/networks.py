"""Training steps of networks, constrained against unconstrained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

import torchmanifold as tm

from .benchmark import Piece, Settings
from .contenders import worst_residual
from .peers import geotorch_orthogonal, torch_cached, torch_orthogonal
from .table import Target
from .timing import Contender, Work

__all__ = ["pieces"]

OVERHEAD = {"cpu": 1.15, "cuda": 1.05}
RECURRENT = 1.3  # OrthogonalRNN over nn.RNN, forward and backward
LR, MOMENTUM = 1e-3, 0.9


class _Convolutions(nn.Sequential):
    """Three convolutions and a linear layer, for images 32 x 32."""

    def __init__(self, width: int) -> None:
        def block(inputs: int, outputs: int) -> list[nn.Module]:
            kernel = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            return [kernel, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

        super().__init__(
            *block(3, width),
            *block(width, 2 * width),
            *block(2 * width, 4 * width),
            nn.Flatten(),
            nn.LazyLinear(10),
        )

    def constrained(self) -> list[tuple[nn.Module, str]]:
        return [(layer, "weight") for layer in self if isinstance(layer, nn.Conv2d)]


class _Reader(nn.Module):
    """Reads a sequence of numbers with a recurrent layer and gives the scores of ten classes."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, hidden, nonlinearity="relu", batch_first=True)
        self.scores = nn.Linear(hidden, 10)

    def forward(self, sequence: Tensor) -> Tensor:
        _, last = self.rnn(sequence)
        return self.scores(last[0])

    def constrained(self) -> list[tuple[nn.Module, str]]:
        return [(self.rnn, "weight_hh_l0")]


_Network = _Convolutions | _Reader


def _train(
    name: str,
    model: _Network,
    data: tuple[Tensor, Tensor],
    ours: bool = False,
    riemannian: bool = False,
    cached: Callable[[], AbstractContextManager[object]] = nullcontext,
    targets: tuple[Target, ...] = (),
) -> Contender:
    """One training step: gradients to zero, forward, backward, step."""
    kind = tm.optim.RiemannianSGD if riemannian else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=LR, momentum=MOMENTUM)
    inputs, labels = data

    def call() -> None:
        optimizer.zero_grad()
        with cached():
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
        optimizer.step()

    def residual() -> float:
        weights = [getattr(module, weight) for module, weight in model.constrained()]
        return max(worst_residual(weight.flatten(1)) for weight in weights)

    return Contender(name, call, residual, ours=ours, targets=targets)


def pieces(settings: Settings) -> Iterator[Piece]:
    """A convolutional and a recurrent network, by parametrization and by Riemannian update."""
    width, batch, hidden, steps = (2, 2, 8, 4) if settings.quick else (32, 128, 128, 64)
    small = 1 if settings.quick else 32
    works = {
        f"conv net, width {width}, batch {batch}": (
            partial(_Convolutions, width),
            (batch, 3, 32, 32),
            tm.Stiefel(),
        ),
        f"RNN {hidden}, {steps} steps, batch {batch}": (
            partial(_Reader, hidden),
            (batch, steps, 1),
            tm.SpecialOrthogonal(),
        ),
        f"RNN {hidden}, {steps} steps, batch {small}": (
            partial(_Reader, hidden),
            (small, steps, 1),
            tm.SpecialOrthogonal(),
        ),
    }
    for name, (make, shape, manifold) in works.items():
        for how in ("riemannian", "parametrized"):
            full = f"{name}, {how}"
            yield Piece(full, partial(_network, full, settings, make, shape, manifold, how))
    sizes = [(4, 3, 2)] if settings.quick else [(64, 784, 32), (190, 220, 128), (512, 64, 32)]
    for hidden, steps, batch in sizes:
        full = f"OrthogonalRNN {hidden}, {steps} steps, batch {batch}, forward and backward"
        yield Piece(full, partial(_orthogonal_rnn, full, settings, hidden, steps, batch))


def _orthogonal_rnn(full: str, settings: Settings, hidden: int, steps: int, batch: int) -> Work:
    """Our network beside nn.RNN, which keeps no constraint."""
    inputs = torch.randn(steps, batch, 1, device=settings.device)

    def contender(name: str, rnn: nn.Module, ours: bool, targets: tuple[Target, ...]) -> Contender:
        rnn.to(settings.device)

        def call() -> None:
            rnn.zero_grad()
            rnn(inputs)[1].sum().backward()

        return Contender(
            name, call, lambda: worst_residual(rnn.weight_hh_l0), ours=ours, targets=targets
        )

    ours = tm.nn.OrthogonalRNN
    target = (Target.at_most_times(RECURRENT),)
    return Work(
        full,
        [
            contender("ours, modReLU", ours(1, hidden), True, ()),
            contender("ours, tanh", ours(1, hidden, nonlinearity="tanh"), True, ()),
            contender("ours, Riemannian", ours(1, hidden, how="riemannian"), True, ()),
            contender("nn.RNN, tanh", nn.RNN(1, hidden), False, target),
        ],
    )


def _network(
    full: str,
    settings: Settings,
    make: Callable[[], _Network],
    shape: tuple[int, ...],
    manifold: tm.Manifold,
    how: str,
) -> Work:
    inputs = torch.randn(shape, device=settings.device)
    data = inputs, torch.randint(10, (shape[0],), device=settings.device)
    free = make().to(settings.device)
    free(inputs)  # the lazy layer gets its shape
    ours = copy.deepcopy(free)
    for module, weight in ours.constrained():
        flatten = isinstance(module, nn.Conv2d)
        tm.constrain(module, weight, manifold, how=how, flatten=flatten)  # type: ignore[arg-type]
    target = Target.at_most_times(OVERHEAD[settings.device.type])
    contenders = [
        _train("ours", ours, data, ours=True, riemannian=how == "riemannian"),
        _train("unconstrained", copy.deepcopy(free), data, targets=(target,)),
    ]
    if how == "parametrized" and isinstance(free, _Reader):
        # torch and geotorch take a 4-D kernel as many 3 x 3 matrices, which is another constraint.
        torch_, geotorch_ = copy.deepcopy(free), copy.deepcopy(free)
        torch_orthogonal(torch_.constrained()[0][0], "cayley", name="weight_hh_l0")
        geotorch_orthogonal(geotorch_.constrained()[0][0], "cayley", name="weight_hh_l0")
        contenders += [
            _train("torch cayley", torch_, data, cached=torch_cached),
            _train("geotorch cayley", geotorch_.to(settings.device), data, cached=torch_cached),
        ]
    return Work(full, contenders)
