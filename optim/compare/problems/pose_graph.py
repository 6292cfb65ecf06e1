"""Pose graphs: the rotations of poses from relative measurements, as robots use for mapping."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchmanifold.manifolds import SpecialOrthogonal
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems.certified_poses import (
    Form,
    chordal,
    form_of,
    is_certified,
    minimum,
)
from torchmanifold.optim.compare.problems.g2o import read_g2o, simulated

__all__ = ["pose_graph"]

SIDES = (3, 3, 4)
NOISE = 0.05
DISTURBANCE = 0.1

Function = Callable[[np.ndarray], np.ndarray]


class _Linear(torch.autograd.Function):
    """A linear function of NumPy arrays, in float64 on the CPU, and its adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Function, adjoint: Function) -> Tensor:
        """The value, in the dtype and on the device of `x`."""
        ctx.function, ctx.adjoint = function, adjoint
        return torch.from_numpy(function(x.detach().double().cpu().numpy())).to(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        """The adjoint of `g`, which is linear too."""
        return _Linear.apply(g, ctx.adjoint, ctx.function), None, None


def _loss(form: Form, x: Tensor) -> Tensor:
    inverses = x.mT.reshape(-1, x.shape[-1])
    return _Linear.apply(inverses, form.residuals, form.adjoint).square().sum()


@cache
def _data(file: str) -> tuple[Form, Tensor, Tensor, bool]:
    """The cost, its chordal and its optimal rotations, and whether the latter are certified."""
    graph = read_g2o(Path(file).expanduser()) if file else simulated(SIDES, NOISE)
    form = form_of(graph)
    best = minimum(form, graph.d)
    first, last = (torch.from_numpy(y).mT.contiguous() for y in (chordal(form, graph.d), best))
    return form, first, last, is_certified(form, best)


@problem(
    SpecialOrthogonal(),
    title="Pose graph, simulated, SO(3) × 36",
    optimum="Newton's method in SciPy, proved by its dual certificate",
    reference="pose-graph",
)
def pose_graph(generator: torch.Generator, file: str = "") -> Instance:
    r"""Minimize `sum_ij kappa ||R_j - R_i r_ij||^2 + tau ||t_j - t_i - R_i s_ij||^2` over poses.

    The pose of a robot at place i is the rotation `R_i` and the position `t_i`; `r_ij` and `s_ij`
    are noisy measurements of pose j relative to pose i. The best positions for given rotations
    solve a sparse linear system, so positions are eliminated, and the point is the stack of
    rotations, of shape (n, d, d). All methods begin near the chordal relaxation, with seeded noise.

    By default the graph is simulated: 36 poses on a grid in space. The optimum is a stationary
    point that Newton's method finds. It is stated only if its slack is positive semidefinite, which
    proves that it is the global minimum.

    Source: Rosen, Carlone, Bandeira & Leonard, SE-Sync: a certifiably correct algorithm for
    synchronization over the special Euclidean group, Int. J. Robot. Res. 38, 2019.

    Args:
        generator: the generator of the noise.
        file: a graph in g2o format, in the plane or in space; a simulated one if empty.

    Raises:
        ValueError: for a file that is not a pose graph, or a graph that is not connected.

    Example:
        >>> pose_graph.probe.initial.shape
        torch.Size([36, 3, 3])
    """
    form, first, best, certified = _data(file)
    noise = torch.randn(first.shape, generator=generator, dtype=torch.float64)
    loss = partial(_loss, form)
    n, d, _ = first.shape
    return Instance(
        loss=loss,
        initial=SpecialOrthogonal().project(first + DISTURBANCE * noise),
        exact=float(loss(best)) if certified else None,
        solution=best if certified else None,
        title=f"Pose graph {Path(file).name}, SO({d}) × {n}" if file else None,
    )
