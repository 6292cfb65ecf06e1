"""The state of a solver between two iterations, as rows, so that it can be saved and resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchmanifold.optim.solvers.parts import Leaves
from torchmanifold.optim.solvers.rows import Scalar

__all__ = ["FAILED", "PRECISION", "RUNNING", "Best", "State"]

# Reasons for which a method stops a problem; the numbers of criteria follow these.
RUNNING, PRECISION, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Best:
    """The best point since values differ only by rounding, and the time since it was found."""

    x: Leaves
    f: Scalar
    c: Any
    norm: Scalar
    half: Scalar
    waits: Scalar


@dataclass(frozen=True)
class State:
    """The state of a solver.

    Args:
        x: the tensors of the point.
        f: the value.
        c: coordinates of the gradient; `norm` is its norm, and `first` the norm at the first point.
        memory: the memory of the method.
        nit: iterations.
        step: the length of the last step.
        fell: the last decrease of the value.
        verdict: the reason of the stop, or `RUNNING`.
        curvature: the least curvature so far; infinite at first.
    """

    x: Leaves
    f: Scalar
    c: Any
    norm: Scalar
    first: Scalar
    memory: Any
    best: Best
    nit: Scalar
    step: Scalar
    fell: Scalar
    verdict: Scalar
    curvature: Scalar
