"""The list of invariants, and the decorator that enters an invariant.

An invariant reads a manifold, and returns its error in units of the tolerance: at most 1 if it
holds. None means that the manifold does not have the method that the invariant is about.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from torchmanifold.manifolds.geometry.invariants.trial import Trial

__all__ = ["INVARIANTS", "Check", "Reads", "invariant", "worst"]

# The choice on which an invariant depends; it need not be tried again for other choices.
Reads = Literal["manifold", "metric", "retraction"]

Check = Callable[[Trial], float | None]

INVARIANTS: dict[str, tuple[Reads, Check]] = {}


def invariant(reads: Reads) -> Callable[[Check], Check]:
    """Enter a check under its own name."""

    def enter(check: Check) -> Check:
        INVARIANTS[check.__name__.replace("_", " ").strip()] = (reads, check)
        return check

    return enter


def worst(*errors: Any) -> float:
    """The largest error; NaN counts as infinite."""
    values = [float(e) for e in errors]
    return math.inf if any(math.isnan(v) for v in values) else max(values)
