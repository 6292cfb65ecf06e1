"""A step compiles into one graph and does the same."""

import pytest
import torch
from torch import nn

import torchmanifold as tm

CASES = [
    (tm.optim.RiemannianSGD, {"lr": 0.1, "momentum": 0.9}),
    (tm.optim.RiemannianAdam, {"lr": 0.01}),
    (tm.optim.RiemannianRMSprop, {"lr": 0.01, "momentum": 0.9}),
    (tm.optim.RiemannianMuon, {"lr": 0.05}),
    (tm.optim.Landing, {"lr": 0.1, "momentum": 0.9}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("optimizer", "options"), CASES, ids=["sgd", "adam", "rmsprop", "muon", "landing"]
)
def test_a_step_compiles_without_graph_breaks(optimizer, options):
    torch._dynamo.reset()
    manifold = tm.Stiefel()

    def weights():
        generator = torch.Generator().manual_seed(0)
        points = [nn.Parameter(manifold.random(8, 4, generator=generator)) for _ in range(3)]
        for p in points:
            tm.place_(p, manifold)
        return [*points, nn.Parameter(torch.ones(3))]

    eager, compiled = weights(), weights()
    plain, stepper = optimizer(eager, **options), optimizer(compiled, **options)
    step = torch.compile(stepper.step, backend="aot_eager", fullgraph=True)
    for _ in range(5):
        for p, q in zip(eager, compiled, strict=True):
            p.grad = torch.randn(p.shape)
            q.grad = p.grad.clone()
        plain.step()
        step()
    for p, q in zip(eager, compiled, strict=True):
        assert torch.allclose(p, q, atol=1e-6)
    bound = 0.5 if optimizer is tm.optim.Landing else 1e-5
    assert tm.Stiefel().residual(compiled[0].detach()) < bound
    torch._dynamo.reset()
