"""The recurrence as one operation: its value and derivatives against a plain Python loop."""

import pytest
import torch
import torch.autograd.forward_ad as forward_ad

from torchmanifold.nn.nonlinearity import NONLINEARITIES, ModReLU, modrelu
from torchmanifold.nn.time_loop import recur, recur_plain, reversal

nonlinearities = pytest.mark.parametrize("f", NONLINEARITIES)
lengths = pytest.mark.parametrize(
    "batch_sizes",
    [None, torch.tensor([3, 2, 2, 1]), torch.tensor([2, 2, 2])],
    ids=["even", "packed", "packed even"],
)


def arguments(f, batch_sizes, size=4, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    batch = 3 if batch_sizes is None else int(batch_sizes[0])
    rows = (4, batch) if batch_sizes is None else (int(batch_sizes.sum()),)
    shapes = [(*rows, size), (batch, size), (size, size)]
    if f == "modrelu":
        shapes.append((size,))
    return [torch.randn(*s, generator=g, dtype=dtype).mul_(0.7).requires_grad_() for s in shapes]


def run(f, batch_sizes):
    def function(z, h, weight, bias=None):
        return recur(z, h, weight, bias, batch_sizes, f)

    return function


@nonlinearities
@lengths
def test_derivatives(f, batch_sizes):
    inputs = arguments(f, batch_sizes)
    assert torch.autograd.gradcheck(run(f, batch_sizes), inputs)
    assert torch.autograd.gradgradcheck(run(f, batch_sizes), inputs)


def textbook(z, h, weight, bias, f):
    """One sequence, one step at a time, written apart from the library."""
    states = []
    for t in range(len(z)):
        a = z[t] + weight @ h
        if f == "modrelu":
            h = torch.sign(a) * torch.clamp(a.abs() + bias, min=0)
        else:
            h = {"tanh": torch.tanh, "relu": torch.relu, "identity": torch.clone}[f](a)
        states.append(h)
    return torch.stack(states)


@nonlinearities
@lengths
@pytest.mark.parametrize("loop", [recur, recur_plain])
def test_equals_each_sequence_by_itself(f, batch_sizes, loop):
    z, h, weight, *bias = arguments(f, batch_sizes)
    bias = bias[0] if bias else None
    name = f if loop is recur else NONLINEARITIES[f].function
    output, last = loop(z, h, weight, bias, batch_sizes, name)
    steps = z.unbind(0) if batch_sizes is None else z.split(batch_sizes.tolist())
    outputs = output.unbind(0) if batch_sizes is None else output.split(batch_sizes.tolist())
    for i in range(len(h)):
        alone = textbook(torch.stack([s[i] for s in steps if i < len(s)]), h[i], weight, bias, f)
        torch.testing.assert_close(torch.stack([o[i] for o in outputs if i < len(o)]), alone)
        torch.testing.assert_close(last[i], alone[-1])


@nonlinearities
@pytest.mark.parametrize("read", ["output", "last", "both"])
def test_losses_that_read_one_of_the_results(f, read):
    inputs = arguments(f, None)

    def gradients(loop, name):
        z, h, weight, *bias = inputs
        output, last = loop(z, h, weight, bias[0] if bias else None, None, name)
        loss = output.sin().sum() * (read != "last") + last.cos().sum() * (read != "output")
        if read == "last":
            loss = last.cos().sum()
        return torch.autograd.grad(loss, inputs)

    ours, plain = gradients(recur, f), gradients(recur_plain, NONLINEARITIES[f].function)
    torch.testing.assert_close(ours, plain)


def test_only_the_wanted_gradients():
    z, h, weight = (x.detach() for x in arguments("tanh", None))
    weight.requires_grad_()
    recur(z, h, weight, None, None, "tanh")[0].sum().backward()
    assert weight.grad is not None and z.grad is None and h.grad is None
    (second,) = torch.autograd.grad(
        recur(z, h, weight, None, None, "tanh")[0].sum(), weight, create_graph=True
    )
    assert second.requires_grad
    torch.testing.assert_close(second, weight.grad)


def test_forward_mode_and_transforms_are_not_silently_zero():
    z, h, weight = (x.detach() for x in arguments("tanh", None))

    def value(w):
        return recur(z, h, w, None, None, "tanh")[0].sum()

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


@nonlinearities
def test_operators_keep_torch_contracts(f):
    z, h, weight, *bias = arguments(f, None, dtype=torch.float32)
    operator = torch.ops.torchmanifold.recur.default
    torch.library.opcheck(operator, (z, h, weight, bias[0] if bias else None, None, f))


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
