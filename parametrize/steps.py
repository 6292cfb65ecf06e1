"""The number of steps that the optimizers of this process have made.

Fused and foreach optimizers need not raise the version counters of the tensors that they write, so
a cache counts steps too.
"""

from __future__ import annotations

import functools
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

count = 0


def _add(*_: Any) -> None:
    global count
    count += 1


@functools.cache
def watch() -> None:
    """Count from now on; before the first parametrization there is no hook on optimizers."""
    register_optimizer_step_post_hook(_add)
