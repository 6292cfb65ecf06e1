"""OrthogonalRecurrence: a linear recurrence with orthogonal transitions that read the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.nn.scan import linear_scan

__all__ = ["OrthogonalRecurrence", "reflections"]


def reflections(vectors: Tensor, strengths: Tensor | None = None) -> Tensor:
    r"""The product `H_k ... H_1` of generalized Householder reflections `I - s v v' / ||v||^2`.

    A strength of 2, the default, gives a reflection: orthogonal, with determinant -1. A strength
    between 0 and 2 shortens the component along `v`. Above 1 it also reverses the component: the
    eigenvalue is negative, and a recurrence needs negative eigenvalues to count modulo two.

    Args:
        vectors: `(*batch, k, n)`, not zero.
        strengths: `(*batch, k)`, in [0, 2].

    Returns:
        `(*batch, n, n)`.

    Example:
        >>> import torch
        >>> from torchmanifold.nn.orthogonal_recurrence import reflections
        >>> reflections(torch.tensor([[1.0, -1.0]]))  # exchanges the two coordinates
        tensor([[0., 1.],
                [1., 0.]])

    Source: Householder, Unitary triangularization of a nonsymmetric matrix, J. ACM 5, 1958;
    Siems et al., DeltaProduct: improving state-tracking in linear RNNs via Householder products,
    2025, section 3, for the generalized ones.
    """
    square = vectors.square().sum(-1, keepdim=True)
    scaled = vectors * (2.0 / square if strengths is None else strengths.unsqueeze(-1) / square)
    product = torch.eye(vectors.shape[-1], dtype=vectors.dtype, device=vectors.device)
    for i in range(vectors.shape[-2]):
        v, w = vectors[..., i, :], scaled[..., i, :]
        product = product - w.unsqueeze(-1) * (v.unsqueeze(-2) @ product)
    return product


class OrthogonalRecurrence(nn.Module):
    r"""`h_t = Q(x_t) h_{t-1} + B x_t` with orthogonal `Q(x_t)`, in heads of a few dimensions each.

    `Q(x_t)` is a product of `k` Householder reflections whose vectors are linear in the input. The
    recurrence is linear in the state, so it runs as a scan over time on an accelerator. The
    transitions let no state or gradient grow or fade. A product of `n` reflections can be any
    orthogonal matrix of a head of `n` dimensions. A network of such layers tracks the state of a
    permutation group. Diagonal linear recurrences with positive eigenvalues cannot do so: they
    cannot even count modulo two.

    Args:
        input_size: features of the input.
        hidden_size: features of all states; a multiple of `heads`.
        heads: blocks of `hidden_size / heads` features, each with a transition of its own.
        reflections: `k`, the reflections of one transition.
        gated: whether the input also gives each reflection a strength in (0, 2). The transitions
            are then contractions, so the layer can forget.
        additive: whether `B x_t` is added. Without it the input acts through the transitions
            alone, and all states keep the norm of the first. Such a layer learns the multiplication
            of a group, and stays right on longer sequences than those of the training.
        batch_first: input and output are `(batch, time, features)`.
        device: of the weights.
        dtype: of the weights.

    Shape:
        - input: `(time, batch, input_size)`, with `batch_first` `(batch, time, input_size)`.
        - h: the state before the first step, `(batch, hidden_size)`; by default a learned one.
        - output: the states, `(time, batch, hidden_size)` or with `batch_first`
          `(batch, time, hidden_size)`; and the last state, `(batch, hidden_size)`.

    Attributes:
        vectors: the linear map from the input to the vectors of the reflections.
        strengths: the linear map to the gates, or None.
        input: the linear map `B`, without bias, or None.
        initial: the learned state before the first step.

    Raises:
        ValueError: for sizes that are not positive, if `heads` does not divide `hidden_size`, or
            for an input of another shape.

    Source: Mhammedi et al., Efficient orthogonal parametrisation of recurrent neural networks
    using Householder reflections, ICML 2017; Grazzi et al., Unlocking state-tracking in linear
    RNNs through negative eigenvalues, ICLR 2025; Siems et al. 2025 (DeltaProduct).

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.nn.OrthogonalRecurrence(3, 8, heads=2)
        >>> output, h = layer(torch.randn(50, 4, 3))
        >>> output.shape, h.shape
        (torch.Size([50, 4, 8]), torch.Size([4, 8]))
        >>> Q = layer.transitions(torch.randn(1, 1, 3))
        >>> bool((Q @ Q.mT - torch.eye(4)).abs().max() < 1e-5)
        True
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        heads: int = 1,
        reflections: int = 2,
        *,
        gated: bool = False,
        additive: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "heads": heads,
            "reflections": reflections,
        }
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError(
                    f"OrthogonalRecurrence: {name} must be a positive integer, got {size!r}"
                )
        if hidden_size % heads:
            raise ValueError(
                f"OrthogonalRecurrence: hidden_size must be a multiple of heads, got {hidden_size} "
                f"and {heads}"
            )
        self.input_size, self.hidden_size = input_size, hidden_size
        self.heads, self.reflections, self.batch_first = heads, reflections, batch_first
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.vectors = nn.Linear(input_size, hidden_size * reflections, **place)
        self.strengths = nn.Linear(input_size, heads * reflections, **place) if gated else None
        self.input = nn.Linear(input_size, hidden_size, bias=False, **place) if additive else None
        self.initial = nn.Parameter(torch.empty(hidden_size, **place))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights anew; the first state of each head has norm 1."""
        for part in (self.vectors, self.strengths, self.input):
            if part is not None:
                part.reset_parameters()
        self.initial.normal_()
        blocks = self.initial.view(self.heads, -1)
        blocks.div_(blocks.norm(dim=-1, keepdim=True))

    def transitions(self, x: Tensor) -> Tensor:
        """`Q(x)` of each head, `(time, batch, heads, n, n)`."""
        split = (*x.shape[:-1], self.heads, self.reflections)
        strengths = None
        if self.strengths is not None:
            strengths = 2 * torch.sigmoid(self.strengths(x)).view(split)
        return reflections(self.vectors(x).view(*split, -1), strengths)

    def forward(self, input: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All states, and the last.

        Raises:
            ValueError: if the shape of `input` or `h` does not fit.
        """
        if input.ndim != 3 or input.shape[-1] != self.input_size:
            wanted = "(batch, time" if self.batch_first else "(time, batch"
            raise ValueError(
                f"OrthogonalRecurrence: input must be {wanted}, {self.input_size}), got "
                f"{tuple(input.shape)}"
            )
        x = input.transpose(0, 1) if self.batch_first else input
        steps, batch = x.shape[:2]
        if steps == 0:
            raise ValueError("OrthogonalRecurrence: input is a sequence of length 0")
        if h is None:
            h = self.initial.expand(batch, -1)
        elif h.shape != (batch, self.hidden_size):
            raise ValueError(
                f"OrthogonalRecurrence: h must have the shape {(batch, self.hidden_size)}, got "
                f"{tuple(h.shape)}"
            )
        # The rounding errors of half precision, over a thousand steps, would spoil the
        # orthogonality.
        with torch.autocast(x.device.type, enabled=False):
            x, h = x.to(self.initial.dtype), h.to(self.initial.dtype)
            n = self.hidden_size // self.heads
            q = self.transitions(x).reshape(steps, batch * self.heads, n, n)
            b = torch.zeros_like(x[..., :1]) if self.input is None else self.input(x)
            b = b.expand(steps, batch, self.hidden_size).reshape(steps, batch * self.heads, n, 1)
            states = linear_scan(q, b, h.reshape(batch * self.heads, n, 1))
        output = states.reshape(steps, batch, self.hidden_size)
        return output.transpose(0, 1) if self.batch_first else output, output[-1]

    def extra_repr(self) -> str:
        """The sizes."""
        return (
            f"{self.input_size}, {self.hidden_size}, heads={self.heads}, "
            f"reflections={self.reflections}, gated={self.strengths is not None}, "
            f"additive={self.input is not None}"
        )
