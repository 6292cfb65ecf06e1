"""Weights of modules on manifolds."""

from torchmanifold.weights.averaging import average_
from torchmanifold.weights.bake import bake
from torchmanifold.weights.checkpoint import project_state_dict
from torchmanifold.weights.constrain import constrain, unconstrain
from torchmanifold.weights.joint import JointPoint
from torchmanifold.weights.place import place_
from torchmanifold.weights.rebase import rebase_, rebase_every
from torchmanifold.weights.record import is_constrained, manifold_of, stamp
from torchmanifold.weights.report import Report, report
from torchmanifold.weights.trivialization import Trivialization

__all__ = [
    "JointPoint",
    "Report",
    "Trivialization",
    "average_",
    "bake",
    "constrain",
    "is_constrained",
    "manifold_of",
    "place_",
    "project_state_dict",
    "rebase_",
    "rebase_every",
    "report",
    "stamp",
    "unconstrain",
]
