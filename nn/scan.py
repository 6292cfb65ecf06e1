r"""A linear recurrence over time in a logarithmic number of steps.

Steps of `h_t = A_t h_{t-1} + b_t` compose: two steps are one step with `A_2 A_1` and
`A_2 b_1 + b_2`. So the states at every second time form a recurrence of half the length, and one
step from these gives the states between them.

Source: Blelloch, Prefix sums and their applications, CMU-CS-90-190, 1990, section 1.4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["by_pairs", "by_steps", "linear_scan"]


def by_steps(a: Tensor, b: Tensor) -> Tensor:
    """One step after the other; `h_0 = b_0`, and `a_0` is not read."""
    states = torch.empty_like(b)
    states[0] = b[0]
    for t in range(1, len(b)):
        torch.baddbmm(b[t], a[t], states[t - 1], out=states[t])
    return states


def by_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Two neighbouring steps become one, in `log2(time)` rounds; `h_0 = b_0`."""
    steps = len(b)
    if steps <= 2:
        return by_steps(a, b)
    even = steps - steps % 2
    first, second, rest = slice(0, even, 2), slice(1, even, 2), slice(2, steps, 2)
    states = torch.empty_like(b)
    states[0] = b[0]
    states[second] = by_pairs(a[second] @ a[first], a[second] @ b[first] + b[second])
    states[rest] = a[rest] @ states[second][: len(b[rest])] + b[rest]
    return states


def _states(a: Tensor, b: Tensor) -> Tensor:
    # A processor does not run two steps at once, so the products of matrices would be wasted there.
    return by_steps(a, b) if b.device.type == "cpu" else by_pairs(a, b)


class _Scan(torch.autograd.Function):
    """The states; their adjoint is the same recurrence backward in time, with `A'`."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return _states(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor]:
        a, states = ctx.saved_tensors
        # g_t = dL/dh_t + A_{t+1}' g_{t+1}
        after = torch.cat([a[:1], a[1:].flip(0).mH])
        g = _Scan.apply(after, grad.flip(0)).flip(0)
        if not ctx.needs_input_grad[0]:
            return None, g
        before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
        return g @ before.mH, g


def linear_scan(a: Tensor, b: Tensor, h: Tensor | None = None) -> Tensor:
    r"""All states of `h_t = A_t h_{t-1} + b_t`: step by step on the CPU, elsewhere by a scan.

    A scan has the depth `log2(time)` and takes one product of `n x n` matrices a step. The
    backward pass is a recurrence of the same kind, and needs only `a` and the states.

    Args:
        a: `(time, batch, n, n)`.
        b: `(time, batch, n, p)`.
        h: the state before the first step, `(batch, n, p)`; 0 if not given.

    Returns:
        `(time, batch, n, p)`.

    Raises:
        ValueError: for shapes that do not fit together, or no steps.

    Example:
        >>> import torch
        >>> from torchmanifold.nn.scan import linear_scan
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).expand(4, 1, 2, 2)
        >>> states = linear_scan(turn, torch.zeros(4, 1, 2, 1), torch.tensor([[[1.0], [0.0]]]))
        >>> states[-1].flatten()  # four quarter turns
        tensor([1., 0.])
    """
    if a.ndim != 4 or b.ndim != 4 or a.shape[-2] != a.shape[-1] or a.shape[:3] != b.shape[:3]:
        raise ValueError(
            f"linear_scan: a must be (time, batch, n, n) and b (time, batch, n, p), got "
            f"{tuple(a.shape)} and {tuple(b.shape)}"
        )
    if len(a) == 0:
        raise ValueError("linear_scan: there must be at least one step, got a sequence of length 0")
    if h is not None:
        if h.shape != b.shape[1:]:
            raise ValueError(
                f"linear_scan: h must have the shape {tuple(b.shape[1:])}, got {tuple(h.shape)}"
            )
        b = torch.cat([(b[0] + a[0] @ h).unsqueeze(0), b[1:]])
    states: Tensor = _Scan.apply(a, b)
    return states
