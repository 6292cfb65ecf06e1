"""A point of a solver with what is known of the function there, and counts of evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchmanifold.optim.solvers.frames import Frame
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.space import Leaves

__all__ = ["Counts", "Point"]


@dataclass
class Point:
    """A point with what is known of the function there.

    Args:
        x: the tensors of the point.
        f: the value.
        c: coordinates of the Riemannian gradient, once it has been asked for.
        norm: their norm, that of the gradient.
        size: the norm of what the gradient was computed from: its rounding is `eps` of that.
    """

    x: Leaves
    f: Scalar
    frames: tuple[Frame, ...]
    c: Any = None
    norm: Scalar = None
    size: Scalar = None
    egrad: Leaves = ()
    graph: Any = None  # the tensors that the graph goes back to, and what it leads to
    bent: Any = None  # of the retraction, where the metric has no Hessian


@dataclass
class Counts:
    """Evaluations so far: of values, gradients and Hessian-vector products."""

    nfev: int = 0
    njev: int = 0
    nhev: int = 0
