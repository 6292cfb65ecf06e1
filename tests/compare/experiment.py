"""A file as a user writes it: one problem, one method, and a call of `run` at its end."""

import torch

import torchmanifold as tm


@tm.compare.problem(manifold=tm.Sphere(), title="least eigenvector")
def eigenvector(generator, n=6):
    a = torch.diag(torch.arange(float(n), dtype=torch.float64))
    return tm.compare.Instance(
        loss=lambda x, a: x @ a @ x / 2,
        initial=tm.Sphere().random(n, generator=generator, dtype=torch.float64),
        data=(a,),
        exact=0.0,
    )


@tm.compare.method(grid={"lr": [0.1, 0.5]})
def heavy_ball(model, config):
    """Riemannian SGD with momentum."""
    return tm.optim.RiemannianSGD(model, lr=config["lr"], momentum=0.9)


tm.compare.run([eigenvector], [heavy_ball], seeds=2)
