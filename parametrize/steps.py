"""How many steps the optimizers of this process have made.

Fused and foreach optimizers need not bump the version counters of what they write, so a cache
counts steps besides.
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
    """Count from now on; nothing is hung on optimizers before there is a parametrization."""
    register_optimizer_step_post_hook(_add)
