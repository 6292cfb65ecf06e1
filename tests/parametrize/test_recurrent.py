"""Recurrent modules evaluate each parametrization once a forward pass and use current weights."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.utils.parametrize as peer
from torch import nn
from torch.func import functional_call, grad

import torchmanifold.parametrize as parametrize

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = [0]

    def forward(self, x):
        self.calls[0] += 1
        return 0.5 * torch.sin(x)

    def right_inverse(self, x):
        return torch.asin((2 * x).clamp(-1, 1))


CASES = {
    "rnn": lambda: nn.RNN(3, 4),
    "gru": lambda: nn.GRU(3, 4, num_layers=2, bias=False),
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "projected": lambda: nn.LSTM(3, 4, proj_size=2),
}
cases = pytest.mark.parametrize("case", CASES)


def recurrent(case, library=parametrize):
    torch.manual_seed(0)
    module = CASES[case]()
    names = [name for name, _ in module.named_parameters() if "weight" in name]
    for name in names:
        library.register_parametrization(module, name, Scaled())
    return module, names


def plain(module, names):
    """An unparametrized module with the weights that ``module`` has now."""
    with torch.no_grad():
        values = {name: getattr(module, name).clone() for name in names}
    bare = copy.deepcopy(module)
    for name in names:
        parametrize.remove_parametrizations(bare, name)
        getattr(bare, name).data.copy_(values[name])
    return bare


def counts(module, names):
    return [module.parametrizations[name][0].calls[0] for name in names]


@cases
def test_each_parametrization_is_evaluated_once_a_forward(case):
    x = torch.randn(5, 5, 3)

    def evaluations(library):
        module, names = recurrent(case, library)
        before = counts(module, names)
        module(x)[0].sum().backward()
        return {after - b for after, b in zip(counts(module, names), before, strict=True)}

    assert evaluations(parametrize) == {1}
    assert max(evaluations(peer)) > 1


@cases
def test_the_weights_are_always_current(case):
    module, names = recurrent(case)
    x = torch.randn(5, 5, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(3):
        out, _ = module(x)
        torch.testing.assert_close(out, plain(module, names)(x)[0])
        optimizer.zero_grad()
        out.square().sum().backward()
        assert all(p.grad is not None for p in module.parameters())
        optimizer.step()
    with torch.no_grad():
        module(x)
    module.weight_hh_l0 = torch.zeros_like(module.weight_hh_l0)
    assert not module.weight_hh_l0.any()
    torch.testing.assert_close(module(x)[0], plain(module, names)(x)[0])
    double = module.double()
    assert double(x.double())[0].dtype == torch.float64


@cases
def test_copies_and_pickles_after_a_forward(case):
    module, _names = recurrent(case)
    x = torch.randn(5, 5, 3)
    out, _ = module(x)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(file, weights_only=False),
    ):
        torch.testing.assert_close(twin(x)[0], out)
        twin.weight_hh_l0 = torch.zeros_like(twin.weight_hh_l0)
        assert not torch.allclose(twin(x)[0], out)
        torch.testing.assert_close(module(x)[0], out)
    torch_module, _ = recurrent(case, peer)
    torch_module(x)
    with pytest.raises(RuntimeError):
        copy.deepcopy(torch_module)


@cases
def test_removal_gives_a_plain_module_back(case):
    module, names = recurrent(case)
    x = torch.randn(5, 5, 3)
    out, _ = module(x)
    for name in names:
        parametrize.remove_parametrizations(module, name)
    assert type(module) in (nn.RNN, nn.GRU, nn.LSTM)
    torch.testing.assert_close(module(x)[0], out)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
    assert not torch.allclose(module(x)[0], out)
    assert module._flat_weights[1] is module.weight_hh_l0
    copy.deepcopy(module)(x)


def test_function_transforms_of_a_recurrent_module():
    module, _ = recurrent("rnn")
    x = torch.randn(5, 2, 3)
    state = {k: v.detach() for k, v in module.named_parameters()}
    got = grad(lambda s: functional_call(module, s, x)[0].square().sum())(state)
    module(x)[0].square().sum().backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad)


def test_packed_sequences_and_in_place_initialization():
    module, _names = recurrent("lstm")
    x = nn.utils.rnn.pack_sequence([torch.randn(4, 3), torch.randn(2, 3)])
    module(x)[0].data.sum().backward()
    module.weight_hh_l0 = nn.init.uniform_(module.weight_hh_l0, -0.1, 0.1)
    assert module.weight_hh_l0.abs().max() <= 0.1
    module.reset_parameters()
    module(x)


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_loop_over_a_cell_inside_a_cache_evaluates_once(cell):
    module = cell(3, 4)
    parametrize.register_parametrization(module, "weight_hh", Scaled())
    before = counts(module, ["weight_hh"])[0]
    state = None
    with parametrize.cached():
        for x in torch.randn(10, 2, 3):
            state = module(x, state)
    assert counts(module, ["weight_hh"])[0] == before + 1
    (state[0] if isinstance(state, tuple) else state).sum().backward()
    assert module.parametrizations.weight_hh.original.grad is not None


def test_spectral_norm_makes_one_power_iteration_a_forward():
    from torch.nn.utils.parametrizations import _SpectralNorm

    module = nn.RNN(3, 4)
    parametrize.register_parametrization(
        module, "weight_hh_l0", _SpectralNorm(module.weight_hh_l0.detach())
    )
    twin = copy.deepcopy(module)
    module(torch.randn(5, 2, 3))
    _ = twin.weight_hh_l0
    torch.testing.assert_close(
        module.parametrizations.weight_hh_l0[0]._u, twin.parametrizations.weight_hh_l0[0]._u
    )
