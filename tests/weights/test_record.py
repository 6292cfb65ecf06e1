"""The record of weights moved by Riemannian updates: copies, hooks, and bare parameters."""

import copy
import pickle
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

import torchmanifold as tm
from torchmanifold.weights.checks import check_point


def layer_off_by_a_landing():
    """A weight of Landing with a residual that it states, and that exceeds rounding."""
    torch.manual_seed(0)
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
    optimizer = tm.optim.Landing(layer, lr=0.3)
    for _ in range(4):
        optimizer.zero_grad()
        layer(torch.randn(3, 4)).pow(2).sum().backward()
        optimizer.step()
    assert 1e-2 < tm.Stiefel().residual(layer.weight) < 0.5
    return layer


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_accepts_its_own_checkpoint(copier):
    layer = layer_off_by_a_landing()
    other = copier(layer)
    other.load_state_dict(other.state_dict())
    assert torch.equal(other.weight, layer.weight)
    # The two records are independent of each other.
    tm.unconstrain(layer, "weight")
    assert tm.manifold_of(other.weight) == tm.Stiefel()


def test_optimizers_are_watched_from_the_first_weight_on():
    code = """if True:
        import torch, torchmanifold as tm
        from torch.optim.optimizer import _global_optimizer_pre_hooks as hooks
        assert not hooks, hooks
        tm.place_(torch.ones(3), tm.Sphere())
        assert len(hooks) == 1, hooks
        """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_left_behind_with_the_last_weight():
    layer = tm.constrain(nn.Linear(4, 4), ["weight", "bias"], tm.Sphere(), how="riemannian")
    plain = nn.Linear(4, 4)
    tm.unconstrain(layer, "weight")
    assert layer._forward_pre_hooks
    tm.unconstrain(copy.deepcopy(layer), "bias")
    assert layer._forward_pre_hooks
    tm.unconstrain(layer, "bias")
    for name in ("_forward_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"):
        assert len(getattr(layer, name)) == len(getattr(plain, name)) == 0
    assert layer.__dict__.keys() == plain.__dict__.keys()


def test_a_replica_of_data_parallel_evaluates():
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
    replica = layer._replicate_for_data_parallel()
    for name, parameter in layer.named_parameters():
        setattr(replica, name, parameter.detach().clone())
    x = torch.randn(2, 4)
    assert torch.equal(replica(x), layer(x))


def test_a_bare_parameter_is_placed_and_moved():
    z = torch.randn(3, 6, 2)
    x = tm.place_(nn.Parameter(z.clone()), tm.Stiefel())
    assert torch.allclose(x, tm.Stiefel().project(z))
    assert tm.manifold_of(x) == tm.Stiefel()
    before = x.detach().clone()
    optimizer = tm.optim.RiemannianAdam([x], lr=0.1)
    x.cos().sum().backward()
    optimizer.step()
    assert tm.Stiefel().residual(x.detach()).max() < 1e-5
    assert (x - before).norm() > 0.1
    with pytest.raises(RuntimeError, match="SGD would move a weight"):
        torch.optim.SGD([x], lr=0.1).step()


@pytest.mark.parametrize(
    ("tensor", "manifold", "error", "message"),
    [
        (torch.ones(2, 3), tm.Stiefel(), ValueError, "Transposed"),
        (torch.full((3,), torch.nan), tm.Sphere(), ValueError, "place_.*3 of 3 entries are NaN"),
        (torch.arange(3), tm.Sphere(), TypeError, "floating point"),
        (torch.ones(3, requires_grad=True) * 2, tm.Sphere(), ValueError, "pass a leaf"),
        (torch.ones(3), "sphere", TypeError, "such as Stiefel"),
        ([1.0], tm.Sphere(), TypeError, "must be a tensor, got list"),
        (tm.place_(torch.ones(3), tm.Sphere()), tm.Euclidean(1), ValueError, "is on Sphere"),
    ],
)
def test_what_cannot_be_placed_is_refused(tensor, manifold, error, message):
    before = copy.deepcopy(tensor.detach() if isinstance(tensor, torch.Tensor) else tensor)
    with pytest.raises(error, match=message):
        tm.place_(tensor, manifold)
    if isinstance(tensor, torch.Tensor):
        assert torch.equal(tensor.nan_to_num(), before.nan_to_num())
        assert tm.manifold_of(tensor) != manifold


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("how", ["riemannian", "parametrized"])
def test_an_approximate_retraction_accepts_where_it_leads(how, steps):
    """The checkpoint and the value of the weight, and the first step of another optimizer."""
    torch.manual_seed(0)
    manifold = tm.Blocks(tm.SpecialOrthogonal(retraction=tm.NewtonSchulz(steps)), 2)
    layer = tm.constrain(nn.Linear(4, 8), "weight", manifold, how=how)
    if how == "riemannian":
        for _ in range(3):
            optimizer = tm.optim.RiemannianSGD(layer, lr=10.0)
            layer(torch.randn(3, 4)).pow(2).sum().backward()
            optimizer.step()
    else:
        with torch.no_grad():
            layer.parametrizations.weight.original.normal_()
        tm.rebase_(layer)
    value = layer.weight.detach().clone()
    assert steps > 1 or manifold.residual(value) > 3e-4  # the tolerance of rounding is 2.4e-4
    if how == "parametrized":
        layer.weight = value
    layer.load_state_dict(copy.deepcopy(layer.state_dict()))
    with pytest.raises(ValueError, match="is not on"):
        check_point(manifold, "twice as long", 2 * layer.weight.detach())


def test_scripting_names_what_works():
    """PyTorch's message would be about a hook of ours. The remedies of our message work."""
    model = nn.Sequential(nn.Linear(4, 4))
    tm.constrain(model[0], "weight", tm.Stiefel(), how="riemannian")
    x = torch.ones(1, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            with pytest.raises(RuntimeError, match="Linear, which keeps 'weight' on a manifold"):
                torch.jit.script(each)
            assert tm.is_constrained(each[0])
        assert torch.equal(torch.jit.script(tm.bake(model))(x), model(x))
        assert torch.equal(torch.jit.trace(model, x)(x), model(x))
        tm.unconstrain(model[0], "weight")
        assert torch.equal(torch.jit.script(model)(x), model(x))
