"""What a solver keeps from one iteration to the next: rows, so that it is saved and resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.space import Leaves

__all__ = ["FAILED", "PRECISION", "RUNNING", "Best", "State"]

# Why a method itself stops a problem; a criterion has its place in the list behind these.
RUNNING, PRECISION, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Best:
    """The best point since values differ by rounding alone, and how long none was better."""

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
        c: coordinates of the gradient, and `norm` its norm, `first` the first one.
        memory: what the method keeps.
        nit: iterations.
        step: the length of the last step.
        fell: by how much the value fell.
        verdict: why the problem stopped, or `RUNNING`.
        curvature: the least curvature met; infinite before.
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
