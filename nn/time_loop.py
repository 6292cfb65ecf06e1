"""The recurrence `h_t = f(U x_t + W h_{t-1}, b)` over all steps, as one operation.

A loop of differentiable operations records a graph of several nodes a step, and its backward pass
adds up the gradient of `W` step by step. Here one product projects the inputs of all steps into the
buffer that the states will fill. Forward and backward pass are loops with one product and one
nonlinearity a step, in place. The gradient of each weight is one product over all steps and
sequences. Only the inputs and the states are kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from torchmanifold.nn.nonlinearity import NONLINEARITIES
from torchmanifold.nn.private import forward_mode_or_transform

__all__ = ["recur", "recur_plain", "reversal"]


def recur(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    nonlinearity: str = "modrelu",
) -> tuple[Tensor, Tensor]:
    r"""`h_t = f(U x_t + W h_{t-1}, b)` for `t = 1, ..., T`, with backpropagation through time.

    With `d_t` the gradient at the pre-activation of step `t`, and `f'` as a function of `h_t`,

    `d_t = f'(h_t) * (dL/dh_t + W' d_{t+1})`, `dL/dW = sum_t d_t h_{t-1}'`,
    `dL/dU = sum_t d_t x_t'`, `dL/dx_t = U' d_t`.

    Twice differentiable: a backward pass with `create_graph=True` goes through `recur_plain`.

    Args:
        x: inputs, `(T, batch, m)`; packed: `(sum of batch_sizes, m)`.
        h: the first state, `(batch, n)`.
        weight_ih: `U`, `(n, m)`.
        weight_hh: the kernel `W`, `(n, n)`.
        bias: `b`, `(n,)`: inside the nonlinearity for modReLU, which needs it, and otherwise added
            to its argument.
        batch_sizes: of packed sequences, `(T,)`, non-increasing integers on the CPU; None if all
            sequences have the same length.
        nonlinearity: `"modrelu"`, `"tanh"`, `"relu"` or `"identity"`.

    Returns:
        All states, `(T, batch, n)` or packed, and the last state of each sequence, `(batch, n)`.

    Source: Werbos, Backpropagation through time: what it does and how to do it, Proc. IEEE 78
    (1990).

    Example:
        >>> import torch
        >>> from torchmanifold.nn.time_loop import recur
        >>> x, h, one = torch.ones(3, 1, 1), torch.zeros(1, 1), torch.eye(1)
        >>> recur(x, h, one, one, nonlinearity="relu")[1]
        tensor([[3.]])
    """
    if forward_mode_or_transform():
        # The operator has neither a tangent nor a batching rule; torch would take it for a
        # constant.
        return recur_plain(x, h, weight_ih, weight_hh, bias, batch_sizes, nonlinearity)
    return _forward(x, h, weight_ih, weight_hh, bias, batch_sizes, nonlinearity)


def recur_plain(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    batch_sizes: Tensor | None,
    nonlinearity: str | Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """`recur` as a loop of differentiable operations, also for any other function `f(z)`."""
    inner, outer = _split(bias, nonlinearity)
    outputs, ended = [], []
    for z_t in _steps(linear(x, weight_ih, outer), batch_sizes):
        if len(z_t) < len(h):
            ended.append(h[len(z_t) :])
            h = h[: len(z_t)]
        z_t = torch.addmm(z_t, h, weight_hh.mT)
        if callable(nonlinearity):
            h = nonlinearity(z_t)
        else:
            h = NONLINEARITIES[nonlinearity].function(z_t, inner)
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


def _split(
    bias: Tensor | None, nonlinearity: str | Callable[[Tensor], Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """The bias inside the nonlinearity and the bias of its argument; one of them is None."""
    inner = isinstance(nonlinearity, str) and NONLINEARITIES[nonlinearity].inner_bias
    return (bias, None) if inner else (None, bias)


# torch.compile does not look into custom operators: a compiled graph has one node for all steps.
@torch.library.custom_op("torchmanifold::recur", mutates_args=())
def _forward(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    batch_sizes: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    apply_ = NONLINEARITIES[nonlinearity].apply_
    inner, outer = _split(bias, nonlinearity)
    output = linear(x, weight_ih, outer).contiguous()
    outputs = _steps(output, batch_sizes)
    transposed = weight_hh.mT
    for h_t in outputs:
        h_t.addmm_(h if len(h_t) == len(h) else h[: len(h_t)], transposed)
        apply_(h_t, inner)
        h = h_t
    if batch_sizes is None:
        return output, h.clone()
    # The shortest sequences come last and end first.
    after = [*batch_sizes[1:].tolist(), 0]
    ended = [h_t[n:] for h_t, n in zip(outputs, after, strict=True)]
    return output, torch.cat(ended[::-1])


@torch.library.custom_op("torchmanifold::recur_backward", mutates_args=())
def _through_time(
    grad_output: Tensor | None,
    grad_last: Tensor | None,
    output: Tensor,
    weight_hh: Tensor,
    batch_sizes: Tensor | None,
    nonlinearity: str,
) -> Tensor:
    """Gradients at all pre-activations, of the shape of `output`."""
    pull_back_ = NONLINEARITIES[nonlinearity].pull_back_
    d = torch.empty_like(output)
    states, gradients = _steps(output, batch_sizes), _steps(d, batch_sizes)
    if grad_output is not None:
        given: Sequence[Tensor | None] = _steps(grad_output, batch_sizes)
    else:
        given = [None] * len(states)
    ahead: Tensor | None = None
    for g_t, h_t, d_t in zip(reversed(given), reversed(states), reversed(gradients), strict=True):
        going = d_t
        if ahead is None or len(ahead) < len(d_t):  # sequences that end here
            n = 0 if ahead is None else len(ahead)
            end, going = d_t[n:], d_t[:n]
            end.zero_() if g_t is None else end.copy_(g_t[n:])
            if grad_last is not None:
                end.add_(grad_last[n : len(d_t)])
            g_t = None if g_t is None else g_t[:n]
        if ahead is not None:
            if g_t is None:
                torch.mm(ahead, weight_hh, out=going)
            else:
                torch.addmm(g_t, ahead, weight_hh, out=going)
        pull_back_(d_t, h_t)
        ahead = d_t
    return d


@_forward.register_fake
def _(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    batch_sizes: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    return x.new_empty((*x.shape[:-1], len(weight_ih))), h.new_empty(h.shape)


@_through_time.register_fake
def _(
    grad_output: Tensor | None,
    grad_last: Tensor | None,
    output: Tensor,
    weight_hh: Tensor,
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
    if torch.is_grad_enabled():
        return _backward_plain(ctx, grad_output, grad_last)
    x, h, weight_ih, weight_hh, _, batch_sizes, output = ctx.saved_tensors
    d = _through_time(grad_output, grad_last, output, weight_hh, batch_sizes, ctx.nonlinearity)
    first, n = h.shape
    d, states = d.view(-1, n), output.view(-1, n)
    grads: list[Tensor | None] = [None] * 5
    needs_x, needs_h, needs_ih, needs_hh, needs_bias, *_ = ctx.needs_input_grad
    if needs_x:
        grads[0] = (d @ weight_ih).view(x.shape)
    if needs_h:
        grads[1] = d[:first] @ weight_hh
    if needs_ih:
        grads[2] = d.mT @ x.reshape(len(d), -1)
    if needs_hh:
        if batch_sizes is None:
            before = states[: len(states) - first]
        else:
            steps, after = _steps(states, batch_sizes), batch_sizes[1:].tolist()
            before = torch.cat([h_t[:n] for h_t, n in zip(steps, after, strict=False)])
        grads[3] = torch.addmm(d[:first].mT @ h, d[first:].mT, before)
    if needs_bias:
        inner = NONLINEARITIES[ctx.nonlinearity].inner_bias
        grads[4] = _sum_signed(d, states) if inner else d.sum(0)
    return *grads, None, None


def _sum_signed(d: Tensor, states: Tensor) -> Tensor:
    """`sum_t sign(h_t) d_t`, by parts that fit the cache, without a third large buffer."""
    rows = max(1, 2**18 // d.shape[-1])
    total = d.new_zeros(d.shape[-1])
    for d_, h_ in zip(d.split(rows), states.split(rows), strict=True):
        total += h_.sign().mul_(d_).sum(0)
    return total


def _backward_plain(
    ctx: Any, grad_output: Tensor | None, grad_last: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Differentiable gradients, through a new graph."""
    x, h, weight_ih, weight_hh, bias, batch_sizes, _ = ctx.saved_tensors
    states = recur_plain(x, h, weight_ih, weight_hh, bias, batch_sizes, ctx.nonlinearity)
    given = (grad_output, grad_last)
    read = [i for i, g in enumerate(given) if g is not None]
    pairs = zip((x, h, weight_ih, weight_hh, bias), ctx.needs_input_grad, strict=False)
    wanted = [tensor for tensor, needed in pairs if needed]
    read_states, read_given = [states[i] for i in read], [given[i] for i in read]
    grads = iter(torch.autograd.grad(read_states, wanted, read_given, create_graph=True))
    return *(next(grads) if needed else None for needed in ctx.needs_input_grad[:5]), None, None


_forward.register_autograd(_backward, setup_context=_save)
