"""The invariants of a manifold, as a list of checks."""

from torchmanifold.manifolds.geometry.invariants import metrics, points, retractions
from torchmanifold.manifolds.geometry.invariants.registry import INVARIANTS, Reads
from torchmanifold.manifolds.geometry.invariants.trial import Trial

__all__ = ["INVARIANTS", "Reads", "Trial", "metrics", "points", "retractions"]
