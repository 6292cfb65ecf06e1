"""Stopping criteria: small values, joined by `|` (either) and `&` (both).

    tm.stop.GradientNorm(1e-8) | tm.stop.Iterations(500) | tm.stop.Seconds(60)

Each criterion tells for every problem whether it is met, and whether this means convergence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torchmanifold.optim.solvers.rows import Rows, Scalar

__all__ = [
    "Both",
    "Criterion",
    "Decrease",
    "Either",
    "Evaluations",
    "GradientNorm",
    "Iterations",
    "Progress",
    "Seconds",
    "StepSize",
    "Value",
]


@dataclass
class Progress:
    """The data of criteria, after an iteration.

    Args:
        fun: the value; `fun` and `gradient_norm` are numbers, or tensors for many problems.
        first_norm: the norm of the gradient at the initial point.
        step: the length of the last step; infinite before the first.
        decreases: the decreases of the value in the last iterations, the newest last.
        nit: iterations of each problem.
        nfev: evaluations so far, for all.
        seconds: time so far, for all.
    """

    rows: Rows
    fun: Scalar
    gradient_norm: Scalar
    first_norm: Scalar
    step: Scalar
    decreases: list[Scalar]
    nit: Scalar
    nfev: int
    seconds: float


def _positive(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{name} must be a positive number, got {value!r}")


@dataclass(frozen=True)
class Criterion(ABC):
    """A reason to stop."""

    #: whether meeting it means convergence
    converges: ClassVar[bool] = False

    @abstractmethod
    def met(self, progress: Progress) -> Scalar:
        """Whether each problem meets it."""

    @property
    def sure(self) -> bool:
        """Whether meeting it means convergence."""
        return self.converges

    def alternatives(self) -> Iterator[Criterion]:
        """The criteria, one of which is enough."""
        yield self

    def __or__(self, other: Criterion) -> Criterion:
        """Stop when one of them is met."""
        if not isinstance(other, Criterion):
            return NotImplemented
        return Either(self, other)

    def __and__(self, other: Criterion) -> Criterion:
        """Stop when both are met at once."""
        if not isinstance(other, Criterion):
            return NotImplemented
        return Both(self, other)


@dataclass(frozen=True)
class Either(Criterion):
    """One of two criteria, the result of `|`."""

    one: Criterion
    other: Criterion

    def met(self, progress: Progress) -> Scalar:
        """Whether one is met."""
        return self.one.met(progress) | self.other.met(progress)

    def alternatives(self) -> Iterator[Criterion]:
        """The criteria of both."""
        yield from self.one.alternatives()
        yield from self.other.alternatives()

    def __str__(self) -> str:
        return f"{self.one} or {self.other}"


@dataclass(frozen=True)
class Both(Criterion):
    """Both criteria at once, the result of `&`. It means convergence if one of them does."""

    one: Criterion
    other: Criterion

    def met(self, progress: Progress) -> Scalar:
        """Whether both are met."""
        return self.one.met(progress) & self.other.met(progress)

    @property
    def sure(self) -> bool:
        """Whether one of them means convergence."""
        return self.one.sure or self.other.sure

    def __str__(self) -> str:
        return f"{self.one} and {self.other}"


@dataclass(frozen=True)
class GradientNorm(Criterion):
    """The norm of the Riemannian gradient is at most `tol`, or `relative` times the first one.

    Example:
        >>> import torchmanifold as tm
        >>> print(tm.stop.GradientNorm(1e-8) | tm.stop.GradientNorm(relative=1e-6))
        the gradient norm is at most 1e-08 or the gradient norm is at most 1e-06 of the first one
    """

    tol: float = 0.0
    relative: float = 0.0
    converges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a criterion that is never met."""
        if not (self.tol >= 0 and self.relative >= 0 and self.tol + self.relative > 0):
            raise ValueError(
                f"GradientNorm: tol and relative must not be negative, and one of them positive; "
                f"got tol={self.tol!r}, relative={self.relative!r}"
            )

    def met(self, progress: Progress) -> Scalar:
        """Whether the norm is small enough."""
        goal = progress.rows.most(progress.first_norm * self.relative, self.tol)
        return progress.gradient_norm <= goal

    def __str__(self) -> str:
        goals = [f"{self.tol:g}"] * bool(self.tol)
        goals += [f"{self.relative:g} of the first one"] * bool(self.relative)
        return f"the gradient norm is at most {' or '.join(goals)}"


@dataclass(frozen=True)
class Iterations(Criterion):
    """`most` iterations have been made."""

    most: int

    def __post_init__(self) -> None:
        """Refuse a value that is not a count."""
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 0:
            raise ValueError(f"Iterations: most must be a count, got {self.most!r}")

    def met(self, progress: Progress) -> Scalar:
        """Whether they have been made."""
        return progress.nit >= self.most

    def __str__(self) -> str:
        return f"{self.most} iterations"


@dataclass(frozen=True)
class Evaluations(Criterion):
    """The function has been evaluated `most` times or more, for all problems together."""

    most: int

    def __post_init__(self) -> None:
        """Refuse a value that is not a count."""
        _positive("Evaluations: most", self.most)

    def met(self, progress: Progress) -> Scalar:
        """Whether it has been."""
        return progress.rows.full(progress.nfev >= self.most)

    def __str__(self) -> str:
        return f"{self.most} evaluations"


@dataclass(frozen=True)
class Seconds(Criterion):
    """The solver has run for `most` seconds or longer."""

    most: float

    def __post_init__(self) -> None:
        """Refuse a value that is not a time."""
        _positive("Seconds: most", self.most)

    def met(self, progress: Progress) -> Scalar:
        """Whether it has."""
        return progress.rows.full(progress.seconds >= self.most)

    def __str__(self) -> str:
        return f"{self.most:g} seconds"


@dataclass(frozen=True)
class StepSize(Criterion):
    """The last step was no longer than `tol`, in the metric."""

    tol: float
    converges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a length that is not positive."""
        _positive("StepSize: tol", self.tol)

    def met(self, progress: Progress) -> Scalar:
        """Whether it was."""
        return progress.step <= self.tol

    def __str__(self) -> str:
        return f"the step is at most {self.tol:g}"


@dataclass(frozen=True)
class Decrease(Criterion):
    """Each of the last `window` iterations reduced the value by at most `tol` times the value."""

    tol: float
    window: int = 3
    converges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse values that are not positive."""
        _positive("Decrease: tol", self.tol)
        _positive("Decrease: window", self.window)

    def met(self, progress: Progress) -> Scalar:
        """Whether they did."""
        if len(progress.decreases) < self.window:
            return progress.rows.full(False)
        worst = progress.rows.full(-math.inf)
        for decrease in progress.decreases[-self.window :]:
            worst = progress.rows.most(worst, decrease)
        return worst <= self.tol * abs(progress.fun)

    def __str__(self) -> str:
        return f"the value falls by at most {self.tol:g} of itself in {self.window} iterations"


@dataclass(frozen=True)
class Value(Criterion):
    """The value is at most `level`, such as a known optimum or an acceptable value."""

    level: float
    converges: ClassVar[bool] = True

    def met(self, progress: Progress) -> Scalar:
        """Whether it is."""
        return progress.fun <= self.level

    def __str__(self) -> str:
        return f"the value is at most {self.level:g}"
