"""A point of a solver with value and gradient of the function, and counts of evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchmanifold.optim.solvers.frames import Frame
from torchmanifold.optim.solvers.parts import Leaves
from torchmanifold.optim.solvers.rows import Scalar

__all__ = ["Counts", "Point"]


@dataclass
class Point:
    """A point, with value and gradient of the function as far as they are known.

    Args:
        x: the tensors of the point.
        f: the value.
        c: coordinates of the Riemannian gradient, once it has been computed.
        norm: the norm of the gradient, which is that of `c`.
        size: the norm of the Euclidean gradient; the rounding error of the gradient is `eps` times
            this.
    """

    x: Leaves
    f: Scalar
    frames: tuple[Frame, ...]
    c: Any = None
    norm: Scalar = None
    size: Scalar = None
    egrad: Leaves = ()
    graph: Any = None  # the inputs and outputs of the graph
    bent: Any = None  # the graph of the retraction, if the metric has no Hessian


@dataclass
class Counts:
    """Evaluations so far: of values, gradients and Hessian-vector products."""

    nfev: int = 0
    njev: int = 0
    nhev: int = 0
