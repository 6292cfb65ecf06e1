"""The recurrence as one operation: its value and derivatives against a plain Python loop."""

import pytest
import torch
import torch.autograd.forward_ad as forward_ad

from torchmanifold.nn.nonlinearity import NONLINEARITIES, ModReLU, modrelu
from torchmanifold.nn.time_loop import recur, recur_plain, reversal

# Each nonlinearity with a bias, and without one where the bias is optional.
cases = pytest.mark.parametrize(
    ("f", "bias"), [(f, True) for f in NONLINEARITIES] + [("tanh", False), ("identity", False)]
)
lengths = pytest.mark.parametrize(
    "batch_sizes",
    [None, torch.tensor([3, 2, 2, 1]), torch.tensor([2, 2, 2])],
    ids=["even", "packed", "packed even"],
)


def arguments(bias, batch_sizes=None, dtype=torch.float64):
    """`x, h, U, W` and perhaps `b`, with more states than inputs."""
    g = torch.Generator().manual_seed(0)
    batch = 3 if batch_sizes is None else int(batch_sizes[0])
    rows = (4, batch) if batch_sizes is None else (int(batch_sizes.sum()),)
    shapes = [(*rows, 2), (batch, 4), (4, 2), (4, 4), (4,)][: 4 + bias]
    return [torch.randn(*s, generator=g, dtype=dtype).mul_(0.7).requires_grad_() for s in shapes]


def run(loop, f, batch_sizes=None):
    def function(x, h, weight_ih, weight_hh, bias=None):
        return loop(x, h, weight_ih, weight_hh, bias, batch_sizes, f)

    return function


@cases
@lengths
def test_derivatives(f, bias, batch_sizes):
    inputs = arguments(bias, batch_sizes)
    assert torch.autograd.gradcheck(run(recur, f, batch_sizes), inputs)
    assert torch.autograd.gradgradcheck(run(recur, f, batch_sizes), inputs)


def textbook(x, h, weight_ih, weight_hh, bias, f):
    """One sequence, one step at a time, without code of the library."""
    states = []
    for t in range(len(x)):
        a = weight_ih @ x[t] + weight_hh @ h
        if f == "modrelu":
            h = torch.sign(a) * torch.clamp(a.abs() + bias, min=0)
        else:
            a = a if bias is None else a + bias
            h = {"tanh": torch.tanh, "relu": torch.relu, "identity": torch.clone}[f](a)
        states.append(h)
    return torch.stack(states)


@cases
@lengths
@pytest.mark.parametrize("loop", [recur, recur_plain])
def test_equals_each_sequence_by_itself(f, bias, batch_sizes, loop):
    x, h, *weights = arguments(bias, batch_sizes)
    output, last = run(loop, f, batch_sizes)(x, h, *weights)
    weights += [] if bias else [None]
    steps = x.unbind(0) if batch_sizes is None else x.split(batch_sizes.tolist())
    outputs = output.unbind(0) if batch_sizes is None else output.split(batch_sizes.tolist())
    for i in range(len(h)):
        alone = textbook(torch.stack([s[i] for s in steps if i < len(s)]), h[i], *weights, f)
        torch.testing.assert_close(torch.stack([o[i] for o in outputs if i < len(o)]), alone)
        torch.testing.assert_close(last[i], alone[-1])


@cases
@lengths
@pytest.mark.parametrize("read", ["output", "last", "both"])
@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_losses_that_read_one_of_the_results(f, bias, batch_sizes, read, twice):
    inputs = arguments(bias, batch_sizes)

    def gradients(loop):
        output, last = run(loop, f, batch_sizes)(*inputs)
        losses = {"output": output.sin().sum(), "last": last.cos().sum()}
        loss = sum(losses.values()) if read == "both" else losses[read]
        return torch.autograd.grad(loss, inputs, create_graph=twice)

    torch.testing.assert_close(gradients(recur), gradients(recur_plain))


@pytest.mark.parametrize("f", ["modrelu", "tanh"])
def test_long_batches_add_up_their_biases_by_parts(f):
    g = torch.Generator().manual_seed(0)
    shapes = [(70, 64, 1), (64, 64), (64, 1), (64, 64), (64,)]
    inputs = [torch.randn(*s, generator=g).mul_(0.1).requires_grad_() for s in shapes]
    ours, plain = (
        torch.autograd.grad(run(loop, f)(*inputs)[0].square().sum(), inputs)
        for loop in (recur, recur_plain)
    )
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)


def test_inputs_in_any_layout():
    x, *rest = arguments(True)
    turned = x.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    assert not turned.is_contiguous()
    results = []
    for given in (x, turned):
        output, last = recur(given, *rest, None, "tanh")
        assert output.is_contiguous()
        results.append((output, last, *torch.autograd.grad(output.sin().sum(), (given, *rest))))
    torch.testing.assert_close(*results)


def test_only_the_wanted_gradients():
    x, h, weight_ih, weight_hh = (t.detach() for t in arguments(False))
    weight_hh.requires_grad_()
    recur(x, h, weight_ih, weight_hh, None, None, "tanh")[0].sum().backward()
    assert weight_hh.grad is not None
    assert x.grad is None and h.grad is None and weight_ih.grad is None
    (second,) = torch.autograd.grad(
        recur(x, h, weight_ih, weight_hh, None, None, "tanh")[0].sum(), weight_hh, create_graph=True
    )
    assert second.requires_grad
    torch.testing.assert_close(second, weight_hh.grad)


def test_forward_mode_and_transforms_are_not_silently_zero():
    x, h, weight_ih, weight = (t.detach() for t in arguments(False))

    def value(w):
        return recur(x, h, weight_ih, w, None, None, "tanh")[0].sum()

    tangent = torch.ones_like(weight)
    wanted = (torch.func.grad(value)(weight) * tangent).sum()
    reference = torch.autograd.grad(value(weight.requires_grad_()), weight)[0].sum()
    torch.testing.assert_close(wanted, reference)
    weight = weight.detach()
    torch.testing.assert_close(torch.func.jvp(value, (weight,), (tangent,))[1], wanted)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(value(forward_ad.make_dual(weight, tangent)))
    torch.testing.assert_close(dual.tangent, wanted)
    both = torch.vmap(value)(torch.stack([weight, -weight]))
    torch.testing.assert_close(both, torch.stack([value(weight), value(-weight)]))


@cases
def test_operators_keep_torch_contracts(f, bias):
    inputs = arguments(bias, dtype=torch.float32) + [None] * (not bias)
    torch.library.opcheck(torch.ops.torchmanifold.recur.default, (*inputs, None, f))


def test_reversal_turns_each_sequence_around():
    sequences = [torch.tensor([1.0, 2, 3, 4]), torch.tensor([5.0, 6, 7]), torch.tensor([8.0])]
    packed = torch.nn.utils.rnn.pack_sequence(sequences)
    turned = torch.nn.utils.rnn.pack_sequence([s.flip(0) for s in sequences])
    rows = reversal(packed.batch_sizes)
    assert torch.equal(packed.data[rows], turned.data)
    assert torch.equal(rows[rows], torch.arange(len(rows)))


def test_modrelu():
    z = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    assert torch.equal(modrelu(z, torch.tensor(-1.0)), torch.tensor([-1.0, 0, 0, 0, 1]))
    assert torch.equal(modrelu(z, torch.tensor(1.0)), torch.tensor([-3.0, -1.5, 0, 1.5, 3]))
    module = ModReLU(5)
    assert torch.equal(module(z), modrelu(z, module.bias))
    assert 0 < module.bias.abs().max() <= 0.01
    z64 = z[[0, 1, 3, 4]].double().requires_grad_()
    bias = torch.full((4,), -1.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(modrelu, (z64, bias))


def test_a_forward_pass_keeps_the_inputs_and_the_states_alone():
    x, h, *rest = (t.detach().requires_grad_() for t in arguments(True))
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output, _ = recur(x, h, *rest)
    assert sum(kept.values()) == sum(t.numel() for t in (x, h, *rest, output))
