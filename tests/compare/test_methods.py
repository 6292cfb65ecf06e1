"""Every method: its start, its constraint, and what is known to be equal."""

import pytest
import torch

from torchmanifold.optim.compare.methods import METHODS, applicable, manifolds_of
from torchmanifold.optim.compare.problems import PROBLEMS
from torchmanifold.optim.compare.run import perform
from torchmanifold.optim.compare.settings import PRESETS, Run, task

PAIRS = [
    (name, method)
    for name in PROBLEMS
    for method in METHODS
    if applicable(METHODS[method], task(name).manifold, task(name).optional)
]


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_starts_at_the_problem_s_point_and_steps_along_the_manifold(name, method):
    problem = task(name)
    plain = problem.model(torch.Generator().manual_seed(0))
    first, *_, last = perform(Run(name, method, "float64", 1e-3, 0, steps=2, device="cpu"))
    start = problem.measure(plain)
    assert first["loss"] == pytest.approx(start["loss"], rel=1e-7)
    assert last["loss"] != first["loss"]
    if METHODS[method].constrained:
        assert last["residual"] < 1e-10


def test_what_applies_where():
    def kinds(name):
        return {kind.__name__ for kind in manifolds_of(METHODS[name])}

    assert kinds("cayley-sgd") == {"Stiefel", "SpecialOrthogonal"}
    assert kinds("exp-sgd") == {"Stiefel", "SpecialOrthogonal", "SymmetricPositiveDefinite"}
    assert kinds("projection-adam") == {"FixedRank"}
    assert len(kinds("riemannian-sgd")) == 4
    unconstrained = METHODS["unconstrained-adam"]
    assert not applicable(unconstrained, task("pca").manifold, task("pca").optional)
    assert applicable(unconstrained, task("digits-rnn").manifold, task("digits-rnn").optional)


@pytest.mark.parametrize("name", ["pca", "procrustes", "completion"])
def test_rebased_after_every_step_is_riemannian(name):
    retraction = {"pca": "qr", "procrustes": "cayley", "completion": "projection"}[name]
    ends = [
        perform(Run(name, method, "float64", 0.1, 0, steps=30, device="cpu"))[-1]["loss"]
        for method in (f"{retraction}-every1-sgd", "riemannian-sgd")
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-10)


def test_presets_name_what_exists():
    for settings in PRESETS.values():
        assert set(settings.problems) <= set(PROBLEMS)
        assert set(settings.methods) <= set(METHODS)
    for name in PROBLEMS:
        assert sum(run.problem == name for run in PRESETS["quick"].runs()) >= 4 * 9
