"""Peak memory of one job, in a separate process.

The peak is the high-water mark of the resident set, so allocations of LAPACK count too. This file
runs as a script and imports only the installed package.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import torchmanifold as tm

__all__ = ["CONSTRAIN", "EVALUATE", "peak_megabytes"]

# The job that evaluates a constrained layer's weight and its gradient; input and output do not
# count.
EVALUATE = "evaluate"
# The job that constrains a weight and makes one step; weight and gradient do not count.
CONSTRAIN = "constrain"


def peak_megabytes(job: str, n: int, p: int, how: str = "parametrized") -> float:
    """Megabytes that a job takes at its peak, measured on the CPU.

    Args:
        job: `EVALUATE` or `CONSTRAIN`.
        n: rows of the weight.
        p: columns of the weight.
        how: the way in which it is constrained.
    """
    # -P, because the folder of this file must not hide other modules.
    command = [sys.executable, "-P", __file__, job, str(n), str(p), how]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        # A setting of glibc: freed memory returns to the system, so the job cannot reuse it.
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"the memory of {' '.join(command[3:])}: {done.stderr.strip()}")
    return float(done.stdout.split()[-1])


def _memory(name: str) -> float:
    """Megabytes of `VmRSS` (now) or `VmHWM` (peak); without /proc, the peak of the process."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1e-6 if sys.platform == "darwin" else 1e-3
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    lines = status.read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) * 1.024e-3


def _evaluate(n: int, p: int, how: str) -> tuple[Callable[[], object], float]:
    layer = tm.constrain(nn.Linear(p, n, bias=False), "weight", tm.Stiefel())
    (v,) = layer.parameters()
    with torch.no_grad():
        v.add_(torch.randn(n, p) * 0.1 / n**0.5)
    grad = torch.randn(n, p)
    return lambda: torch.autograd.grad(layer.weight, v, grad), 2 * 4e-6 * n * p


def _constrain(n: int, p: int, how: str) -> tuple[Callable[[], object], float]:
    layer, grad = nn.Linear(p, n, bias=False), torch.randn(n, p)
    nn.init.normal_(layer.weight, std=n**-0.5)

    def job() -> None:
        tm.constrain(layer, "weight", tm.Stiefel(), how=how)  # type: ignore[arg-type]
        kind = tm.optim.RiemannianSGD if how == "riemannian" else torch.optim.SGD
        optimizer = kind(layer.parameters(), lr=1e-3)
        (layer.weight * grad).sum().backward()
        optimizer.step()

    return job, 4e-6 * n * p


JOBS = {EVALUATE: _evaluate, CONSTRAIN: _constrain}


def main(name: str, n: int, p: int, how: str) -> None:
    """Run a job and print its peak in megabytes."""
    torch.manual_seed(0)
    small, _ = JOBS[name](64, 8, how)
    small()  # loads what is loaded at first use
    job, output = JOBS[name](n, p, how)
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5", encoding="ascii")  # reset the high-water mark
    before = _memory("VmRSS")
    kept = job()
    print(max(_memory("VmHWM") - before - output, 0.0))
    del kept


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
