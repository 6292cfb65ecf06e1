"""The error for a wrong argument states its name, its value and the allowed values."""

import pytest
import torch
from torch import nn

import torchmanifold as tm

M = tm.Stiefel()


def layer(**options):
    return tm.constrain(nn.Linear(3, 4), "weight", M, **options)


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.1)


WRONG = {
    "a tensor to constrain": (
        lambda: tm.constrain(torch.ones(4, 3), "weight", M),
        "constrain: module must be an nn.Module, got Tensor; place_ takes a parameter",
    ),
    "a class to constrain": (
        lambda: tm.constrain(nn.Linear(3, 4), "weight", tm.Stiefel),
        r"constrain: manifold is the class Stiefel; pass a manifold such as Stiefel\(\)",
    ),
    "name and manifold swapped": (
        lambda: tm.constrain(nn.Linear(3, 4), M, "weight"),
        r"constrain: manifold must be a manifold such as Stiefel\(\), got 'weight'",
    ),
    "no name": (
        lambda: tm.constrain(nn.Linear(3, 4), None, M),
        "constrain: tensor_name must be a name, a glob, or a list of these, got None",
    ),
    "a number among the names": (
        lambda: tm.unconstrain(layer(), ["weight", 3]),
        "unconstrain: tensor_name must be a name, a glob, or a list of these, got 3",
    ),
    "a tensor to report": (
        lambda: tm.report(torch.ones(3)),
        "report: model must be an nn.Module, got Tensor",
    ),
    "a tensor to unconstrain": (
        lambda: tm.unconstrain(torch.ones(3), "weight"),
        "unconstrain: module must be an nn.Module, got Tensor",
    ),
    "a tensor to rebase_": (
        lambda: tm.rebase_(torch.ones(3)),
        "rebase_: module must be an nn.Module, got Tensor",
    ),
    "model and optimizer swapped": (
        lambda: tm.optim.rebase_every(sgd(layer()), layer()),
        "rebase_every: model must be an nn.Module, got SGD",
    ),
    "the name of an optimizer": (
        lambda: tm.optim.rebase_every(layer(), "sgd"),
        "rebase_every: optimizer must be an optimizer of PyTorch, got 'sgd'",
    ),
    "no model to an optimizer": (
        lambda: tm.optim.RiemannianSGD(None),
        "RiemannianSGD: params must be a model, its parameters, or groups of them, got None",
    ),
    "base and manifold swapped": (
        lambda: tm.Trivialization(torch.eye(3), M),
        r"Trivialization: manifold must be a manifold such as Stiefel\(\), got a tensor",
    ),
    "count and manifold swapped": (
        lambda: tm.Blocks(3, M),
        r"Blocks: manifold must be a manifold such as Stiefel\(\), got 3",
    ),
    "scale and manifold swapped": (lambda: tm.Scaled(2.0, M), "Scaled: manifold must .* got 2.0"),
    "a class as a factor": (
        lambda: tm.Product(tm.Sphere),
        r"Product: a factor is the class Sphere; pass a manifold such as Sphere\(\)",
    ),
    "a class to check_manifold": (
        lambda: tm.check_manifold(tm.Sphere, (4,)),
        "check_manifold: manifold is the class Sphere",
    ),
    "a number as a shape": (
        lambda: tm.check_manifold(tm.Sphere(), 4),
        r"check_manifold: shape must be a tuple such as \(4, 3\), got 4",
    ),
    "a size in words": (lambda: M.random("3", 2), r"sizes of a point are integers, .*'3'"),
    "a broken size": (lambda: M.random(3.5, 2), "sizes of a point are integers, .*3.5"),
    "a dtype in words": (
        lambda: M.random(3, 2, dtype="float64"),
        "dtype must be one such as torch.float32, got 'float64'",
    ),
    "integers to project": (
        lambda: M.project(torch.ones(3, 2, dtype=torch.int64)),
        "points have floating point entries, got torch.int64; use float32",
    ),
    "a cost that is a number": (
        lambda: tm.minimize(lambda x: 1.0, M.random(4, 2), M),
        "fun: no gradient of a float is known; compute the value from x",
    ),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_a_mean_of_one_point_is_refused():
    with pytest.raises(ValueError, match="points is a single point; stack several"):
        tm.Sphere().mean(torch.tensor([1.0, 0.0]))


def test_sizes_may_be_any_integers():
    shape = torch.tensor([3, 2]).numpy()
    assert M.random(*shape).shape == M.random((3, 2)).shape == M.random(torch.Size((3, 2))).shape


def test_a_misspelt_name_is_not_an_unconstrained_weight():
    layer = tm.constrain(torch.nn.Linear(4, 3), "weight", tm.Stiefel())
    assert tm.manifold_of(layer, "bias") is None and not tm.is_constrained(layer, "bias")
    for question in (tm.manifold_of, tm.is_constrained):
        with pytest.raises(AttributeError, match="wieght"):
            question(layer, "wieght")
