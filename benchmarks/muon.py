"""Steps of Riemannian Muon against those of torch.optim.Muon and of our plain SGD."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

import torchmanifold as tm
from torchmanifold.optim.muon import Products

from . import peers
from .benchmark import Piece, Settings
from .contenders import Steps, spread_out
from .table import Target
from .timing import Work

__all__ = ["pieces"]

LR, MOMENTUM = 0.02, 0.95
PLAIN, PEER = "RiemannianSGD", "torch Muon (no constraint)"

# (K, n, p) -> targets. The target beside torch's Muon is for models of small equal layers, whose
# products are short. For large layers torch's Muon makes 15 products in bfloat16, which take a
# fifth of the time of float32 here. Ours makes as many and 4 in float32, without which the weight
# would leave its manifold.
TARGETS: dict[tuple[int, int, int], dict[str, Target]] = {
    (24, 64, 64): {PLAIN: Target.at_most_times(2.5), PEER: Target.at_most_times(1)},
    (24, 128, 128): {PLAIN: Target.at_most_times(2.5), PEER: Target.at_most_times(1)},
    (24, 256, 64): {PLAIN: Target.at_most_times(2.5)},
    (24, 256, 256): {PLAIN: Target.at_most_times(2.5)},
    (1, 512, 512): {PLAIN: Target.at_most_times(2.5)},
    (1, 2000, 50): {PLAIN: Target.at_most_times(2.5)},
}


def pieces(settings: Settings) -> Iterator[Piece]:
    """A step on K weights of one shape."""
    for shape in ((3, 8, 4),) if settings.quick else TARGETS:
        name = "muon {} x ({} x {})".format(*shape)
        yield Piece(name, partial(_step, name, settings, shape))


def _step(name: str, settings: Settings, shape: tuple[int, int, int]) -> Work:
    x = tm.Stiefel().random(*shape, device=settings.device).contiguous()
    gradients = [spread_out(*shape, norm=1, device=settings.device) for _ in range(4)]
    targets = TARGETS.get(shape, {})
    contenders = {
        "RiemannianMuon": _ours(x),
        "RiemannianMuon, full products": _ours(x, products="full"),
        "RiemannianMuon, ordinary matrices": _ordinary(x),
        PLAIN: _plain(x),
        PEER: peers.torch_muon(x, LR, MOMENTUM),
    }
    return Work(
        name,
        [
            Steps(*made, gradients).contender(
                who,
                ours=who == "RiemannianMuon",
                targets=(targets[who],) if who in targets else (),
            )
            for who, made in contenders.items()
        ],
        product=lambda: x.mT @ x,
    )


def _placed(x: Tensor) -> list[Tensor]:
    return [tm.place_(nn.Parameter(point.clone()), tm.Stiefel()) for point in x]


def _ours(x: Tensor, products: Products = "bfloat16") -> tuple[torch.optim.Optimizer, list[Tensor]]:
    weights = _placed(x)
    optimizer = tm.optim.RiemannianMuon(weights, LR, MOMENTUM, products=products)
    return optimizer, weights


def _plain(x: Tensor) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    weights = _placed(x)
    return tm.optim.RiemannianSGD(weights, lr=LR, momentum=MOMENTUM), weights


def _ordinary(x: Tensor) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    weights: list[Tensor] = [nn.Parameter(point.clone()) for point in x]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # none of them is on a manifold
        return tm.optim.RiemannianMuon(weights, LR, MOMENTUM), weights
