"""OrthogonalRecurrence: scans equal loops, transitions are orthogonal, groups are tracked."""

import pytest
import torch
from torch import nn

import torchmanifold as tm
from torchmanifold.nn.orthogonal_recurrence import reflections
from torchmanifold.nn.scan import by_pairs, by_steps, linear_scan


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 16, 33])
def test_both_ways_of_scanning_give_the_states_of_the_loop(steps):
    a = 0.5 * torch.randn(steps, 3, 4, 4, dtype=torch.float64)
    b = torch.randn(steps, 3, 4, 2, dtype=torch.float64)
    h = torch.randn(3, 4, 2, dtype=torch.float64)
    state, states = h, []
    for t in range(steps):
        state = a[t] @ state + b[t]
        states.append(state)
    torch.testing.assert_close(linear_scan(a, b, h), torch.stack(states))
    torch.testing.assert_close(by_pairs(a, b), by_steps(a, b))


def test_the_scan_has_two_derivatives():
    free = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((5, 2, 3, 3), (5, 2, 3, 1), (2, 3, 1))
    ]
    assert torch.autograd.gradcheck(linear_scan, free)
    assert torch.autograd.gradgradcheck(linear_scan, free)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_transitions_are_products_of_reflections(count):
    vectors = torch.randn(6, count, 4, dtype=torch.float64)
    q = reflections(vectors)
    assert (q @ q.mT - torch.eye(4)).abs().max() < 1e-14
    assert torch.allclose(torch.linalg.det(q), torch.tensor((-1.0) ** count, dtype=q.dtype))
    inner = reflections(vectors, torch.rand(6, count, dtype=q.dtype) * 2)
    assert torch.linalg.matrix_norm(inner, 2).max() <= 1 + 1e-12


def test_neither_states_nor_gradients_fade():
    layer = tm.nn.OrthogonalRecurrence(3, 8, heads=2, additive=False)
    x = torch.randn(2000, 1, 3)
    h = torch.randn(1, 8, requires_grad=True)
    output, last = layer(x, h)
    assert (output.norm(dim=-1) / h.norm() - 1).abs().max() < 1e-3
    weights = torch.randn_like(last)
    (gradient,) = torch.autograd.grad((last * weights).sum(), h)
    assert abs(gradient.norm() / weights.norm() - 1) < 1e-3


def test_the_layout_of_the_batch_changes_nothing():
    layer = tm.nn.OrthogonalRecurrence(3, 8, heads=2, gated=True)
    first = tm.nn.OrthogonalRecurrence(3, 8, heads=2, gated=True, batch_first=True)
    first.load_state_dict(layer.state_dict())
    x = torch.randn(7, 5, 3)
    output, last = layer(x)
    swapped, again = first(x.transpose(0, 1))
    torch.testing.assert_close(swapped, output.transpose(0, 1))
    torch.testing.assert_close(last, again)
    halves = layer(x[4:], layer(x[:4])[1])[0]
    torch.testing.assert_close(halves, output[4:])


def test_it_learns_to_count_modulo_two_beyond_the_length_it_has_seen():
    """The parity of bits, trained on 16 steps and asked for after 256."""
    embedding, head = nn.Embedding(2, 8), nn.Linear(8, 2)
    layer = tm.nn.OrthogonalRecurrence(8, 8, heads=2, additive=False)
    model = nn.ModuleList([embedding, layer, head])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

    def bits(steps):
        x = torch.randint(2, (steps, 64))
        return head(layer(embedding(x))[0]), x.cumsum(0) % 2

    for _ in range(150):
        guess, parity = bits(16)
        loss = nn.functional.cross_entropy(guess.flatten(0, 1), parity.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    guess, parity = bits(256)
    assert (guess[-1].argmax(-1) == parity[-1]).float().mean() > 0.95


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="hidden_size must be a multiple of heads, got 7 and 2"):
        tm.nn.OrthogonalRecurrence(3, 7, heads=2)
    with pytest.raises(ValueError, match="reflections must be a positive integer, got 0"):
        tm.nn.OrthogonalRecurrence(3, 8, reflections=0)
    layer = tm.nn.OrthogonalRecurrence(3, 8)
    with pytest.raises(ValueError, match=r"input must be \(time, batch, 3\), got \(5, 3\)"):
        layer(torch.randn(5, 3))
    with pytest.raises(ValueError, match=r"h must have the shape \(2, 8\)"):
        layer(torch.randn(5, 2, 3), torch.randn(8))
    with pytest.raises(ValueError, match="length 0"):
        layer(torch.randn(0, 2, 3))
    with pytest.raises(ValueError, match="input_std must be a positive number or None, got -1"):
        tm.nn.OrthogonalRNN(2, 4, input_std=-1)
