"""The recurrence `h_t = f(z_t + W h_{t-1})` over all steps, as one operation with its derivative.

A loop of differentiable operations records a graph of several nodes a step, and its backward pass
adds up the gradient of `W` step by step. Here both directions are loops over preallocated buffers
with one product a step, and the gradient of `W` is one product over all steps and sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torchmanifold.nn.nonlinearity import NONLINEARITIES

__all__ = ["recur", "recur_plain", "reversal"]


def recur(
    z: Tensor,
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    nonlinearity: str = "modrelu",
) -> tuple[Tensor, Tensor]:
    r"""`h_t = f(z_t + W h_{t-1}, b)` for `t = 1, ..., T`, with backpropagation through time.

    With `d_t` the gradient at the pre-activation of step `t`, and `f'` read off `h_t`,

    `d_t = f'(h_t) * (dL/dh_t + W' d_{t+1})`, `dL/dz_t = d_t`, `dL/dW = sum_t d_t h_{t-1}'`.

    Twice differentiable: a backward pass with `create_graph=True` goes through `recur_plain`.

    Args:
        z: projected inputs, `(T, batch, n)`; packed: `(sum of batch_sizes, n)`.
        h: the first state, `(batch, n)`.
        weight: the kernel `W`, `(n, n)`.
        bias: `b` inside the nonlinearity, `(n,)`: for modReLU alone.
        batch_sizes: of packed sequences, `(T,)`, integers on the CPU that do not grow; None where
            all sequences have the same length.
        nonlinearity: `"modrelu"`, `"tanh"`, `"relu"` or `"identity"`.

    Returns:
        All states, of the shape of `z`, and the last state of each sequence, `(batch, n)`.

    Source: Werbos, Backpropagation through time: what it does and how to do it, Proc. IEEE 78
    (1990).

    Example:
        >>> import torch
        >>> from torchmanifold.nn.time_loop import recur
        >>> recur(torch.ones(3, 1, 1), torch.zeros(1, 1), torch.eye(1), nonlinearity="relu")[1]
        tensor([[3.]])
    """
    if _forward_mode_or_transform():
        # The operator has neither a tangent nor a batching rule; torch would make it a constant.
        function = NONLINEARITIES[nonlinearity].function
        return recur_plain(z, h, weight, bias, batch_sizes, function)
    return _forward(z, h, weight, bias, batch_sizes, nonlinearity)


def _forward_mode_or_transform() -> bool:
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def recur_plain(
    z: Tensor,
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    batch_sizes: Tensor | None,
    function: Callable[..., Tensor],
) -> tuple[Tensor, Tensor]:
    """`recur` as a loop of differentiable operations, for any function `f(z, b)`."""
    outputs, ended = [], []
    for z_t in _steps(z, batch_sizes):
        if len(z_t) < len(h):
            ended.append(h[len(z_t) :])
            h = h[: len(z_t)]
        h = function(torch.addmm(z_t, h, weight.mT), bias)
        outputs.append(h)
    output = torch.stack(outputs) if batch_sizes is None else torch.cat(outputs)
    return output, torch.cat([h, *reversed(ended)])


def reversal(batch_sizes: Tensor) -> Tensor:
    """The permutation of packed rows that turns every sequence around; its own inverse.

    Args:
        batch_sizes: `(T,)`, as in a `PackedSequence`.

    Returns:
        `(sum of batch_sizes,)`: rows to select.

    Example:
        >>> import torch
        >>> from torchmanifold.nn.time_loop import reversal
        >>> reversal(torch.tensor([2, 1, 1]))  # lengths 3 and 1
        tensor([3, 1, 2, 0])
    """
    steps = torch.arange(len(batch_sizes)).repeat_interleave(batch_sizes)
    offsets = batch_sizes.cumsum(0) - batch_sizes
    sequences = torch.arange(len(steps)) - offsets[steps]
    lengths = (batch_sizes[:, None] > torch.arange(int(batch_sizes[0]))).sum(0)
    return offsets[lengths[sequences] - 1 - steps] + sequences


def _steps(rows: Tensor, batch_sizes: Tensor | None) -> Sequence[Tensor]:
    """Views of the rows of each step."""
    return rows.unbind(0) if batch_sizes is None else rows.split(batch_sizes.tolist())


# Custom operators are opaque to torch.compile: a compiled graph holds one node for all steps.
@torch.library.custom_op("torchmanifold::recur", mutates_args=())
def _forward(
    z: Tensor,
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    batch_sizes: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    apply_ = NONLINEARITIES[nonlinearity].apply_
    output = torch.empty_like(z, memory_format=torch.contiguous_format)
    outputs = _steps(output, batch_sizes)
    for z_t, h_t in zip(_steps(z, batch_sizes), outputs, strict=True):
        torch.addmm(z_t, h[: len(h_t)], weight.mT, out=h_t)
        apply_(h_t, bias)
        h = h_t
    if batch_sizes is None:
        return output, h.clone()
    # The shortest sequences come last and end first.
    after = [*batch_sizes[1:].tolist(), 0]
    ended = [h_t[n:] for h_t, n in zip(outputs, after, strict=True)]
    return output, torch.cat(ended[::-1])


@torch.library.custom_op("torchmanifold::recur_backward", mutates_args=())
def _through_time(
    grad_output: Tensor,
    grad_last: Tensor,
    output: Tensor,
    weight: Tensor,
    batch_sizes: Tensor | None,
    nonlinearity: str,
) -> Tensor:
    """Gradients at all pre-activations, of the shape of `output`."""
    slope = NONLINEARITIES[nonlinearity].slope
    d = torch.empty_like(output)
    ahead = output.new_empty(0, output.shape[-1])
    for g_t, h_t, d_t in zip(
        reversed(_steps(grad_output, batch_sizes)),
        reversed(_steps(output, batch_sizes)),
        reversed(_steps(d, batch_sizes)),
        strict=True,
    ):
        n = len(ahead)  # the sequences that go on; the others end here
        if n:
            torch.addmm(g_t[:n], ahead, weight, out=d_t[:n])
        if n < len(d_t):
            torch.add(g_t[n:], grad_last[n : len(d_t)], out=d_t[n:])
        d_t.mul_(slope(h_t))
        ahead = d_t
    return d


@_forward.register_fake
def _(
    z: Tensor,
    h: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    batch_sizes: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(z, memory_format=torch.contiguous_format), h.new_empty(h.shape)


@_through_time.register_fake
def _(
    grad_output: Tensor,
    grad_last: Tensor,
    output: Tensor,
    weight: Tensor,
    batch_sizes: Tensor | None,
    nonlinearity: str,
) -> Tensor:
    return torch.empty_like(output)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.nonlinearity = inputs
    ctx.save_for_backward(*tensors, output[0])
    ctx.set_materialize_grads(False)


def _backward(
    ctx: Any, grad_output: Tensor | None, grad_last: Tensor | None
) -> tuple[Tensor | None, ...]:
    z, h, weight, bias, batch_sizes, output = ctx.saved_tensors
    # An expanded zero costs nothing; a loss that reads the last states alone has no other.
    if grad_output is None:
        grad_output = output.new_zeros(()).expand_as(output)
    if grad_last is None:
        grad_last = h.new_zeros(()).expand_as(h)
    f = NONLINEARITIES[ctx.nonlinearity]
    if torch.is_grad_enabled():
        return _backward_plain(ctx, grad_output, grad_last, f.function)
    d = _through_time(grad_output, grad_last, output, weight, batch_sizes, ctx.nonlinearity)
    _, needs_h, needs_weight, needs_bias, *_ = ctx.needs_input_grad
    first = len(h)
    flat, states = d.view(-1, d.shape[-1]), output.view(-1, d.shape[-1])
    grad_h = grad_weight = grad_bias = None
    if needs_h:
        grad_h = flat[:first] @ weight
    if needs_weight:
        if batch_sizes is None:
            before = states[: len(states) - first]
        else:
            steps, after = _steps(states, batch_sizes), batch_sizes[1:].tolist()
            before = torch.cat([h_t[:n] for h_t, n in zip(steps, after, strict=False)])
        grad_weight = torch.addmm(flat[:first].mT @ h, flat[first:].mT, before)
    if needs_bias:
        grad_bias = (flat * states.sign()).sum(0)
    return d, grad_h, grad_weight, grad_bias, None, None


def _backward_plain(
    ctx: Any,
    grad_output: Tensor,
    grad_last: Tensor,
    function: Callable[..., Tensor],
) -> tuple[Tensor | None, ...]:
    """Differentiable gradients, through a graph made anew."""
    z, h, weight, bias, batch_sizes, _ = ctx.saved_tensors
    inputs = (z, h, weight, bias)
    wanted = [x for x, needed in zip(inputs, ctx.needs_input_grad, strict=False) if needed]
    outputs = recur_plain(z, h, weight, bias, batch_sizes, function)
    grads = iter(torch.autograd.grad(outputs, wanted, (grad_output, grad_last), create_graph=True))
    found = (next(grads) if needed else None for needed in ctx.needs_input_grad[: len(inputs)])
    return *found, None, None


_forward.register_autograd(_backward, setup_context=_save)
