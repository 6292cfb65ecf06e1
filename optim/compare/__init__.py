"""Experiments: problems x methods -> runs -> table, figures and report.

Problems know nothing of methods, and methods know nothing of figures. Figures are drawn from
recorded rows and from the panels of the problems. The command line is `torchmanifold compare`; from
Python:

    results = tm.compare.run(["pca"], ["riemannian-sgd", "trust-region"], seeds=3)
"""

import importlib
from typing import TYPE_CHECKING, Any

from torchmanifold.optim.compare.instance import Instance, Panel
from torchmanifold.optim.compare.method import Config, Loop, Method, Solver, method
from torchmanifold.optim.compare.methods import METHODS
from torchmanifold.optim.compare.perform import perform
from torchmanifold.optim.compare.plan import Plan, Run, with_preset
from torchmanifold.optim.compare.presets import PRESETS
from torchmanifold.optim.compare.problem import Problem, problem
from torchmanifold.optim.compare.problems import PROBLEMS
from torchmanifold.optim.compare.registry import find_method, find_problem, problems_of

if TYPE_CHECKING:
    from torchmanifold.optim.compare.report.catalog import catalog
    from torchmanifold.optim.compare.report.progress import progress
    from torchmanifold.optim.compare.results import Results
    from torchmanifold.optim.compare.session import Session, plan_of, run
    from torchmanifold.optim.compare.trackers import Said, TensorBoard

__all__ = [
    "METHODS",
    "PRESETS",
    "PROBLEMS",
    "Config",
    "Instance",
    "Loop",
    "Method",
    "Panel",
    "Plan",
    "Problem",
    "Results",
    "Run",
    "Said",
    "Session",
    "Solver",
    "TensorBoard",
    "catalog",
    "find_method",
    "find_problem",
    "method",
    "perform",
    "plan_of",
    "problem",
    "problems_of",
    "progress",
    "run",
    "with_preset",
]

#: Names that read or draw results. They need pandas and matplotlib, whose import takes longer than
#: a short run, so the processes that run problems do not load them.
_LATER = {
    "Results": "results",
    "Said": "trackers",
    "Session": "session",
    "TensorBoard": "trackers",
    "catalog": "report",
    "plan_of": "session",
    "progress": "report",
    "run": "session",
}


def __getattr__(name: str) -> Any:
    """The names of `_LATER`, imported at first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
