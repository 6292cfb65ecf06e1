"""The benchmark of optimizers: a step on K weights against geoopt, POGO and Adam."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

import torchmanifold as tm

from . import muon, networks, peers
from .benchmark import Benchmark, Piece, Settings
from .contenders import Steps, spread_out
from .table import Target
from .timing import Contender, Work

__all__ = ["OPTIM"]

LR, MOMENTUM = 0.02, 0.9
# Approximate spectral norms of steps. The tangent part of a square Gaussian matrix has 0.7 of its
# norm. Momentum adds independent gradients up to 2.3 times one of them; four in turn add up to
# more.
STEPS, TURNS = (0.05, 0.3), 16
STEP_OF_GRADIENT = 0.7 * 2.3 * LR

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
        Target.at_most_times(1.25),
    ),
    (1000, 32, 32): (
        Target.faster(5),
        Target.faster(4),
        Target.faster(8),
        Target.at_most_times(1.2),
    ),
}


def _pieces(settings: Settings) -> Iterator[Piece]:
    for shape in ((1, 12, 12), (3, 8, 4)) if settings.quick else TARGETS:
        name = "step {} x ({} x {})".format(*shape)
        yield Piece(name, partial(_step, name, settings, shape))
    for size in STEPS:
        shape = (1, 12, 12) if settings.quick else (1, 512, 512)
        name = "step of norm {} x ({} x {})".format(size, *shape[1:])
        yield Piece(name, partial(_step, name, settings, shape, size / STEP_OF_GRADIENT, TURNS))
    yield from muon.pieces(settings)
    yield from networks.pieces(settings)


def _step(
    name: str, settings: Settings, shape: tuple[int, int, int], norm: float = 1, turns: int = 4
) -> Work:
    # In the layout of a layer's weight; the result of a factorization has contiguous columns.
    x = tm.Stiefel().random(*shape, device=settings.device).contiguous()
    gradients = [spread_out(*shape, norm=norm, device=settings.device) for _ in range(turns)]
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
        return Steps(optimizer, parameters, gradients).contender(
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


OPTIM = Benchmark("optim", "optimizer steps against geoopt, POGO, Adam and Muon; networks", _pieces)
