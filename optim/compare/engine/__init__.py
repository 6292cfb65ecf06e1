"""The engines that perform runs: this process, a pool of processes, or a cluster's executor."""

from torchmanifold.optim.compare.engine.carry import Attempt, carry
from torchmanifold.optim.compare.engine.choose import ENGINES, executor_of
from torchmanifold.optim.compare.engine.local import LocalPool

__all__ = ["ENGINES", "Attempt", "LocalPool", "carry", "executor_of"]
