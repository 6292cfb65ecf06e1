"""bake: equal outputs, plain weights, and a model that can be trained further."""

import copy
import io

import pytest
import torch
from torch import nn

import torchmanifold as tm


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Net(nn.Module):
    """One of each: both ways of constraining, a map of torch, a recurrent layer, tied weights."""

    def __init__(self):
        super().__init__()
        self.first = tm.constrain(nn.Linear(6, 6), "weight", tm.SpecialOrthogonal())
        self.second = tm.constrain(nn.Linear(6, 4), "weight", tm.Stiefel(), how="riemannian")
        self.third = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 6))
        self.rnn = tm.nn.OrthogonalRNN(6, 5)
        self.again = self.second

    def forward(self, x):
        return self.rnn(self.third(self.again(self.first(x))))[0]


def test_a_baked_model_computes_the_same_with_plain_weights():
    model = Net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    baked, x = tm.bake(model), torch.randn(3, 2, 6)
    assert baked.training and all(m.training for m in baked.modules())
    torch.testing.assert_close(baked.eval()(x), model.eval()(x))
    kinds = {type(m).__name__ for m in baked.modules()}
    assert kinds == {"Net", "Linear", "OrthogonalRNN"}
    assert not any(tm.is_constrained(m) for m in baked.modules())
    assert baked.again is baked.second
    assert set(baked.state_dict()) == {
        *(
            f"{layer}.{name}"
            for layer in ("first", "second", "third", "again")
            for name in ("weight", "bias")
        ),
        *(f"rnn.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih")),
    }
    # The model itself is as it was.
    assert tm.is_constrained(model.first) and tm.is_constrained(model.second)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_baked_model_is_exported_traced_scripted_and_pickled():
    model = nn.Sequential(tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel()), nn.ReLU())
    baked, x = tm.bake(model).eval(), torch.randn(2, 4)
    expected = model(x)
    file = io.BytesIO()
    torch.save(baked, file)
    file.seek(0)
    others = [
        torch.jit.trace(baked, x),
        torch.jit.script(baked),
        torch.export.export(baked, (x,)).module(),
        torch.load(file, weights_only=False),
        copy.deepcopy(baked),
    ]
    for other in others:
        torch.testing.assert_close(other(x), expected)


def test_an_ordinary_optimizer_takes_a_baked_model():
    baked = tm.bake(Net())
    optimizer = torch.optim.Adam(baked.parameters(), lr=0.1)
    baked(torch.randn(3, 2, 6)).square().sum().backward()
    optimizer.step()
    with pytest.raises(TypeError, match="must be an nn.Module, got list"):
        tm.bake([])
