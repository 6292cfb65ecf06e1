"""Batches of large matrices under several threads, where PyTorch's batched LU may fail."""

import subprocess
import sys

PROGRAM = """
import torch
import torchmanifold as tm

torch.set_num_threads(2)
for M in (
    tm.SpecialOrthogonal(),
    tm.SpecialOrthogonal(retraction=tm.Exp()),
    tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley()),
):
    x = M.random(3, 160, 160)
    v = torch.zeros_like(x, requires_grad=True)
    M.trivialize(x, v).sum().backward()
    assert torch.isfinite(v.grad).all()
    for y in (x, M.retract(x, M.random_tangent(x)), M.project(torch.randn(3, 160, 160))):
        assert (M.residual(y) <= M.tolerance((160, 160), torch.float32)).all()
layers = torch.nn.ModuleList(torch.nn.Linear(160, 160) for _ in range(3))
for layer in layers:
    tm.constrain(layer, "weight", tm.SpecialOrthogonal())
with torch.no_grad(), tm.parametrize.cached(layers):
    for layer in layers:
        assert tm.SpecialOrthogonal().residual(layer.weight) < 1e-4
print("right")
"""


def test_batches_of_large_matrices_in_several_threads():
    # In a separate process, because the failure can be a crash.
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 and result.stdout.strip() == "right", result.stderr[-2000:]
