"""PyTorch's own recurrent modules with constrained kernels: every class, way and retraction."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import torchmanifold as tm

HOWS = ("parametrized", "riemannian")
GATES = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4, nn.RNNCell: 1, nn.GRUCell: 3, nn.LSTMCell: 4}
CHOICES = [
    kind(retraction=retraction())
    for kind in (tm.SpecialOrthogonal, tm.Stiefel)
    for retraction in kind.retractions
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def is_cell(cls):
    return issubclass(cls, nn.RNNCellBase)


def make(cls, dtype=torch.float32):
    options = {} if is_cell(cls) else {"num_layers": 2, "bidirectional": True, "batch_first": True}
    return cls(3, 5, dtype=dtype, **options)


def constrain(module, cls, manifold, how):
    blocks = GATES[cls] if GATES[cls] > 1 else None
    return tm.constrain(module, "weight_hh*", manifold, how=how, blocks=blocks)


def read(module, x):
    """The output: all states of a network, the next state of a cell."""
    state = None
    if isinstance(module, nn.RNNCellBase):  # from zero, one step would not read the kernel
        state = x.new_ones(len(x), module.hidden_size)
        state = (state, state) if isinstance(module, nn.LSTMCell) else state
    found = module(x, state)
    found = found[0] if isinstance(found, tuple) else found
    return found.data if isinstance(found, nn.utils.rnn.PackedSequence) else found


def sequences(cls, dtype=torch.float32):
    return torch.randn(*((2, 3) if is_cell(cls) else (2, 4, 3)), dtype=dtype)


def kernels(module):
    return {name for name, _ in nn.Module.named_parameters(module) if "weight_hh" in name}


def train(module, x, how, dtype, steps=3):
    rate = 1e-3  # the steps of NewtonSchulz must be short
    if how == "riemannian":
        optimizer = tm.optim.RiemannianSGD(module, lr=rate)
    else:
        optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        (read(module, x).float() - 1).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("cls", "manifold"),
    [(cls, tm.SpecialOrthogonal()) for cls in GATES] + [(nn.LSTM, choice) for choice in CHOICES],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_each_gate_of_each_layer_and_direction_stays_orthogonal(cls, manifold, how, dtype):
    module = make(cls, dtype)
    names = sorted(kernels(module))
    constrain(module, cls, manifold, how)
    before = {name: getattr(module, name).detach().clone() for name in names}
    train(module, sequences(cls, dtype), how, dtype)
    for name in names:
        weight = getattr(module, name).detach()
        assert not torch.equal(weight, before[name]) and weight.dtype == dtype
        for gate in weight.double().chunk(GATES[cls]):
            residual = tm.Stiefel().residual(gate)
            assert residual <= 2 * manifold.tolerance(gate.shape, dtype)


@pytest.mark.parametrize("cls", GATES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("how", HOWS)
def test_evaluated_saved_loaded_copied_and_freed(cls, how):
    module, manifold = make(cls), tm.SpecialOrthogonal()
    names = sorted(kernels(module))
    constrain(module, cls, manifold, how)
    x = sequences(cls)
    train(module, x, how, torch.float32)
    wanted = read(module.eval(), x)
    other = constrain(make(cls), cls, manifold, how)
    other.load_state_dict(module.state_dict())
    whole, freed = io.BytesIO(), copy.deepcopy(module)
    torch.save(module, whole)
    whole.seek(0)
    tm.unconstrain(freed, "weight_hh*")
    assert type(freed) is cls and not tm.is_constrained(freed)
    plain = make(cls)
    plain.load_state_dict(freed.state_dict())
    again = constrain(make(cls), cls, manifold, how)
    again.load_state_dict(plain.state_dict())
    for twin in (other, copy.deepcopy(module), torch.load(whole, weights_only=False), again):
        assert tm.manifold_of(twin, names[-1]) == tm.manifold_of(module, names[-1])
        torch.testing.assert_close(read(twin, x), wanted)
    for twin in (freed, plain):
        torch.testing.assert_close(read(twin, x), wanted)


@pytest.mark.parametrize("cls", [nn.RNN, nn.GRU, nn.LSTM], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("how", HOWS)
def test_packed_input_is_that_of_each_sequence(cls, how):
    module = constrain(make(cls), cls, tm.SpecialOrthogonal(), how)
    parts = [torch.randn(n, 3) for n in (2, 4, 1)]
    packed, _ = module(pack_sequence(parts, enforce_sorted=False))
    for part, found in zip(parts, nn.utils.rnn.unpack_sequence(packed), strict=True):
        torch.testing.assert_close(found, module(part)[0])


@pytest.mark.parametrize("cls", GATES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("how", HOWS)
def test_compiled(cls, how):
    module = constrain(make(cls), cls, tm.SpecialOrthogonal(), how)
    x, results = sequences(cls), []
    compiled = copy.deepcopy(module)
    compiled.compile(backend="aot_eager")
    for run in (module, compiled):
        output = read(run, x)
        grads = torch.autograd.grad(output.square().sum(), list(run.parameters()))
        results.append([output, *grads])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("how", HOWS)
def test_projected_states_take_gates_with_orthonormal_columns(how):
    lstm = nn.LSTM(3, 6, proj_size=2)
    with pytest.raises(ValueError, match=r"'weight_hh_l0' of LSTM.*square.*\(4, 6, 2\).*Stiefel"):
        tm.constrain(lstm, "weight_hh_l0", tm.SpecialOrthogonal(), how=how, blocks=4)
    tm.constrain(lstm, "weight_hh_l0", tm.Stiefel(), how=how, blocks=4)
    tm.constrain(lstm, "weight_hr_l0", tm.Stiefel(), how=how)
    for gate in [*lstm.weight_hh_l0.detach().chunk(4), lstm.weight_hr_l0.detach().mT]:
        torch.testing.assert_close(gate.mT @ gate, torch.eye(2))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(3, 5)


@pytest.mark.parametrize(
    ("module", "name", "blocks", "message"),
    [
        (nn.LSTM, "weight_hh_l*", None, r"'weight_hh_l0' of LSTM: 4 gates.*\(20, 5\).*blocks=4"),
        (nn.GRU, "weight_hh_l0", 4, r"'weight_hh_l0' of GRU: 3 gates.*\(15, 5\).*blocks=3"),
        (nn.RNN, "weight_hh_l0", 2, r"'weight_hh_l0' of RNN: Blocks.* multiple of 2.*\(5, 5\)"),
        (nn.RNN, "weight_ih_l0", None, r"'weight_ih_l0' of RNN.* square matrix.*\(5, 3\).*Stiefel"),
        (nn.RNN, "weight_hh_10", None, r"RNN has no parameter 'weight_hh_10'.*'weight_hh_l0'"),
        (
            Network,
            "weight_hh_l*",
            None,
            r"no parameter of Network matches 'weight_hh_l\*'.*submodule\('rnn'\)",
        ),
        (Network, "rnn.weight_hh_l0", None, r"of a submodule; pass.*submodule\('rnn'\)"),
    ],
)
def test_errors_name_the_kernel_and_the_remedy(module, name, blocks, message):
    module = module() if module is Network else module(3, 5)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(ValueError, match=message):
        tm.constrain(module, name, tm.SpecialOrthogonal(), blocks=blocks)
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


def test_a_stack_of_square_blocks_is_recognized():
    with pytest.raises(ValueError, match="'weight' of Linear.*2 stacked square blocks.*blocks=2"):
        tm.constrain(nn.Linear(3, 6), "weight", tm.SpecialOrthogonal())


def test_sequences_of_length_zero_and_states_of_another_batch():
    module = constrain(nn.RNN(3, 5), nn.RNN, tm.SpecialOrthogonal(), "parametrized")
    with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
        module(torch.zeros(0, 2, 3))
    with pytest.raises(RuntimeError, match=r"hidden size \(1, 2, 5\), got \[1, 3, 5\]"):
        module(torch.zeros(4, 2, 3), torch.zeros(1, 3, 5))
