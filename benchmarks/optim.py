"""The benchmark of optimizers: a step on K weights against geoopt, POGO and Adam."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

import torchmanifold as tm

from . import networks, peers
from .benchmark import Benchmark, Piece, Settings
from .contenders import spread_out, worst_residual
from .table import Target
from .timing import Contender, Work

__all__ = ["OPTIM"]

LR, MOMENTUM = 0.02, 0.9

CANONICAL, EUCLIDEAN = "geoopt canonical, loop", "geoopt Euclidean, loop"
POGO_LOOP, POGO_STACKED = "POGO, loop", "POGO, stacked"
COLUMNS = (CANONICAL, EUCLIDEAN, POGO_LOOP, POGO_STACKED)

# (K, n, p) -> targets in the order of COLUMNS.
TARGETS: dict[tuple[int, int, int], tuple[Target | None, ...]] = {
    (1, 512, 512): (Target.faster(2.5), Target.faster(1.3), Target.at_most_times(1), None),
    (1, 2000, 50): (Target.faster(60), Target.faster(2), Target.at_most_times(1), None),
    (200, 64, 64): (
        Target.faster(3),
        Target.faster(1.5),
        Target.faster(1.5),
        Target.at_most_times(1.1),
    ),
    (1000, 16, 8): (
        Target.faster(30),
        Target.faster(20),
        Target.faster(30),
        Target.at_most_times(2),
    ),
    (1000, 32, 32): (
        Target.faster(5),
        Target.faster(4),
        Target.faster(8),
        Target.at_most_times(1.2),
    ),
}


class _Steps:
    """An optimizer whose weights are given one of four gradients before each step, in turn."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
    ) -> None:
        self.optimizer = optimizer
        self.parameters = parameters
        # Tensors of their own, as a backward pass leaves them.
        self.turns = itertools.cycle(
            [
                [g.clone() for g in gradient.reshape(len(parameters), *parameters[0].shape)]
                for gradient in gradients
            ]
        )

    def prepare(self) -> None:
        for parameter, gradient in zip(self.parameters, next(self.turns), strict=True):
            parameter.grad = gradient

    def residual(self) -> float:
        return worst_residual(torch.stack([p.detach() for p in self.parameters]))

    def contender(self, name: str, **options: bool | tuple[Target, ...]) -> Contender:
        return Contender(
            name,
            self.optimizer.step,
            self.residual,
            before=self.prepare,
            number=1,
            **options,  # type: ignore[arg-type]
        )


def _pieces(settings: Settings) -> Iterator[Piece]:
    for shape in ((1, 12, 12), (3, 8, 4)) if settings.quick else TARGETS:
        name = "step {} x ({} x {})".format(*shape)
        yield Piece(name, partial(_step, name, settings, shape))
    yield from networks.pieces(settings)


def _step(name: str, settings: Settings, shape: tuple[int, int, int]) -> Work:
    # As a layer keeps its weight: what comes from a factorization has its columns in a row.
    x = tm.Stiefel().random(*shape, device=settings.device).contiguous()
    gradients = [spread_out(*shape, norm=1, device=settings.device) for _ in range(4)]
    targets = dict(zip(COLUMNS, TARGETS.get(shape, ()), strict=False))
    separate, ones, stacked = list(x), list(x.unsqueeze(1)), [x]
    contenders = {"ours": _ours(x), "torch Adam (no constraint)": peers.torch_adam(separate, 1e-3)}
    if peers.has("geoopt"):
        for column, canonical in ((CANONICAL, True), (EUCLIDEAN, False)):
            contenders[column] = peers.geoopt_sgd(separate, canonical, LR, MOMENTUM)
        for metric, canonical in (("canonical", True), ("Euclidean", False)):
            made = peers.geoopt_sgd(stacked, canonical, LR, MOMENTUM)
            contenders[f"geoopt {metric}, stacked"] = made
    if peers.has("pogo"):
        contenders[POGO_LOOP] = peers.pogo(ones, LR, MOMENTUM)
        contenders[POGO_STACKED] = peers.pogo(stacked, LR, MOMENTUM)

    def contender(
        who: str, optimizer: torch.optim.Optimizer, parameters: list[Tensor]
    ) -> Contender:
        target = targets.get(who)
        return _Steps(optimizer, parameters, gradients).contender(
            who, ours=who == "ours", targets=() if target is None else (target,)
        )

    return Work(
        name,
        [contender(who, *made) for who, made in contenders.items()],
        product=lambda: x.mT @ x,
    )


def _ours(x: Tensor) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """Separate weights on Stiefel with its default retraction, under our SGD."""
    holder = nn.ParameterDict({f"weight{k}": nn.Parameter(point) for k, point in enumerate(x)})
    tm.constrain(holder, "weight*", tm.Stiefel(), how="riemannian")
    optimizer = tm.optim.RiemannianSGD(holder, lr=LR, momentum=MOMENTUM)
    return optimizer, list(holder.parameters())


OPTIM = Benchmark("optim", "optimizer steps against geoopt, POGO and Adam; networks", _pieces)
