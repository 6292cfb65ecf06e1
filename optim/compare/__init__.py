"""Compare parametrized with Riemannian descent: problems x methods -> runs -> table and figures.

Problems know nothing of methods, methods nothing of figures, and figures are drawn from recorded
rows alone. The command line is `torchmanifold compare`; from Python:

    from torchmanifold.optim.compare import METHODS, PROBLEMS, Run, perform
    rows = perform(Run("pca", "riemannian-sgd", "float32", lr=0.1, seed=0, steps=100, device="cpu"))
"""

from torchmanifold.optim.compare.catalog import catalog
from torchmanifold.optim.compare.methods import METHODS, Method
from torchmanifold.optim.compare.problems import PROBLEMS, Problem
from torchmanifold.optim.compare.progress import progress
from torchmanifold.optim.compare.report import redraw, table
from torchmanifold.optim.compare.results import Results, summarize
from torchmanifold.optim.compare.run import execute, perform
from torchmanifold.optim.compare.settings import PRESETS, Run, Settings

__all__ = [
    "METHODS",
    "PRESETS",
    "PROBLEMS",
    "Method",
    "Problem",
    "Results",
    "Run",
    "Settings",
    "catalog",
    "execute",
    "perform",
    "progress",
    "redraw",
    "summarize",
    "table",
]
