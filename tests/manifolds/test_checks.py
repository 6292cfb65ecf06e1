"""The public checks pass right derivatives and fail wrong ones."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch

import torchmanifold as tm
from torchmanifold.manifolds.geometry.metrics import MetricRule
from torchmanifold.manifolds.geometry.retractions import RetractionRule


def cubic(x: torch.Tensor) -> torch.Tensor:
    return (x**3).sum() + x.sum()


POINTS = [
    (tm.Sphere(), (5,)),
    (tm.Stiefel(retraction=tm.Polar()), (6, 3)),
    (tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley()), (6, 3)),
    (tm.SpecialOrthogonal(retraction=tm.QR()), (4, 4)),
    (tm.SymmetricPositiveDefinite(), (4, 4)),
    (tm.SymmetricPositiveDefinite(metric=tm.BuresWasserstein()), (4, 4)),
    (tm.FixedRank(2), (6, 5)),
]


@pytest.mark.parametrize(("M", "shape"), POINTS, ids=repr)
def test_what_is_right_passes(M, shape):
    x = M.random(*shape)  # float32 is taken too
    assert tm.check_retraction(M, x)
    assert tm.check_gradient(cubic, M, x)
    order = M.retraction_rule.order[type(M.metric)]
    if order < 2:
        with pytest.raises(ValueError, match="second order"):
            tm.check_hessian(cubic, M, x)
    elif M.metric_rule.hessian is not None:
        assert tm.check_hessian(cubic, M, x)


def test_a_wrong_gradient_fails():
    M = tm.Stiefel()
    x = M.random(6, 3, dtype=torch.float64)
    egrad = 3 * x**2 + 1
    assert tm.check_gradient(cubic, M, x, gradient=M.gradient(x, egrad))
    verdict = tm.check_gradient(cubic, M, x, gradient=1.01 * M.gradient(x, egrad))
    assert not verdict and 0.9 < verdict.slope < 1.1 and "FAILED" in str(verdict)


def test_a_retraction_of_the_wrong_order_fails(monkeypatch):
    M = tm.SpecialOrthogonal(retraction=tm.QR())
    rule = replace(M.retraction_rule, order={tm.EuclideanMetric: 2})
    monkeypatch.setitem(tm.SpecialOrthogonal.retractions, tm.QR, rule)
    verdict = tm.check_retraction(M, M.random(5, 5))
    assert not verdict and 1.9 < verdict.slope < 2.1


def test_no_retraction_at_all_fails(monkeypatch):
    rule = RetractionRule(lambda M, x, v: x + 1.1 * v, {tm.EuclideanMetric: 2})
    monkeypatch.setitem(tm.Sphere.retractions, tm.Projection, rule)
    assert not tm.check_retraction(tm.Sphere(), tm.Sphere().random(5))


def test_a_wrong_hessian_fails(monkeypatch):
    rule = replace(tm.Sphere().metric_rule, hessian=lambda M, x, g, h, v: M.tangent(x, h))
    assert isinstance(rule, MetricRule)
    monkeypatch.setitem(tm.Sphere.metrics, tm.EuclideanMetric, rule)
    verdict = tm.check_hessian(cubic, tm.Sphere(), tm.Sphere().random(5))
    assert not verdict and 1.9 < verdict.slope < 2.1


def test_a_hessian_of_the_users_own_is_checked():
    M = tm.Sphere()
    x = M.random(5, dtype=torch.float64)

    def hessian(u):
        return M.hessian(x, 3 * x**2 + 1, 6 * x * u, u)

    assert tm.check_hessian(cubic, M, x, hessian=hessian)
    verdict = tm.check_hessian(cubic, M, x, hessian=lambda u: 1.01 * hessian(u))
    assert not verdict and 1.9 < verdict.slope < 2.1


def test_points_are_checked():
    with pytest.raises(ValueError, match="one point"):
        tm.check_retraction(tm.Sphere(), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="residual is 3"):
        tm.check_retraction(tm.Sphere(), torch.tensor([2.0, 0.0]))


def test_the_verdict_draws_itself():
    verdict = tm.check_retraction(tm.Stiefel(), tm.Stiefel().random(6, 3))
    figure, axes = plt.subplots()
    verdict.draw(axes)
    assert len(axes.lines) == 2 and axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_xlabel() and axes.get_ylabel() and axes.get_legend()
    plt.close(figure)
