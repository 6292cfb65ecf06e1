"""Speed beside the other libraries: in one process, in turn, with the residual beside the time.

    from torchmanifold.benchmarks import BENCHMARKS

    table = BENCHMARKS["maps"](threads=2, progress=print)
    print(table)
    table.write_json("maps.json")

Each row has the median and the quartiles of one call's time, the ratio to ours in the same
round, the cost in units of a product of the same size, and the residual in float64, because a time
without its residual says nothing.
"""

from .benchmark import Benchmark, Settings
from .manifolds import MANIFOLDS
from .maps import MAPS
from .optim import OPTIM
from .parametrize import PARAMETRIZE
from .solvers import SOLVERS
from .table import Row, Spread, Table, Target, Verdict
from .timing import Contender, Work, measure

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Contender",
    "Row",
    "Settings",
    "Spread",
    "Table",
    "Target",
    "Verdict",
    "Work",
    "measure",
]

#: the benchmarks by name
BENCHMARKS: dict[str, Benchmark] = {
    each.name: each for each in (MAPS, MANIFOLDS, OPTIM, PARAMETRIZE, SOLVERS)
}
