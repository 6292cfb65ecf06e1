"""OrthogonalRNN: the network of `nn.RNN` with a kernel that stays orthogonal."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from torchmanifold.manifolds import Manifold, SpecialOrthogonal
from torchmanifold.nn.arguments import (
    check_dropout,
    check_flags,
    check_input,
    check_name,
    check_positive,
    check_sizes,
    check_state,
)
from torchmanifold.nn.init import INITIALIZATIONS
from torchmanifold.nn.nonlinearity import NONLINEARITIES
from torchmanifold.nn.private import not_compiled
from torchmanifold.nn.time_loop import recur, recur_plain, reversal
from torchmanifold.weights import constrain, manifold_of

__all__ = ["OrthogonalRNN"]


class OrthogonalRNN(nn.Module):
    r"""A recurrent network with an orthogonal kernel and the interface of `nn.RNN`.

    `h_t = f(W_ih x_t + W_hh h_{t-1}, b)`, where `W_hh` lies on a manifold of square matrices and
    `f` is one of

    * `"modrelu"`: `sign(z) relu(|z| + b)`. The kernel is orthogonal and the slope is 0 or 1, so the
      gradient does not grow through any number of steps.
    * `"tanh"`, `"relu"`, `"identity"`: `f(z + b)`.
    * a function `f(z + b)` made of operations of torch. It runs in a plain loop, which is slower
      and keeps a graph of each step in memory.

    A layer has one bias: the second bias of `nn.RNN`, `bias_hh`, would only be added to the first.
    The whole forward pass is computed in the dtype of the weights, under autocast too, and each
    kernel is evaluated once. For `torch.compile` a layer is one operation; packed input runs in
    eager mode. Input weights are drawn from Kaiming's normal distribution, and the bias of modReLU
    from U(-0.01, 0.01); other biases are 0 at first.

    Args:
        input_size: features of the input.
        hidden_size: features `n` of the state.
        num_layers: the number of layers; each reads the states of the layer below.
        nonlinearity: `f`.
        bias: whether there is a bias; without one modReLU would be the identity, so it needs one.
        batch_first: input and output are `(batch, time, features)`.
        dropout: probability with which outputs of all layers but the last are zeroed.
        bidirectional: a second recurrence runs from the end to the beginning.
        device: of the weights.
        dtype: of the weights.
        manifold: the manifold of the kernels, with its retraction; `SpecialOrthogonal()` if None.
        how: `"parametrized"`: any optimizer of PyTorch trains the network. `"riemannian"`: the
            kernels stay parameters, and an optimizer of `torchmanifold.optim` moves them.
        init: the initial kernels: `"henaff"`, `"cayley"`, `"haar"` (also `"uniform"`) or
            `"identity"`, see `torchmanifold.nn.init`.
        input_std: standard deviation of the initial input weights; Kaiming's `sqrt(2 / features)`
            if None. If the states are large beside the bias of modReLU, the network is nearly
            linear and cannot gate: 0.006 solves the adding problem, and 1 does not.

    Shape:
        - input: `(time, batch, input_size)`, with `batch_first` `(batch, time, input_size)`,
          unbatched `(time, input_size)`, or a `PackedSequence`.
        - hx: the first states, `(num_layers * directions, batch, hidden_size)`, without the batch
          if the input has none; 0 by default.
        - output: the states of the last layer, `(time, batch, directions * hidden_size)` or as
          the input.
        - h_n: the last states, of the shape of `hx`.

    Attributes:
        weight_ih_l[k]: `(hidden_size, input_size)`, in higher layers `(hidden_size, directions *
            hidden_size)`. The name for the second direction, here and below, ends in `_reverse`.
        weight_hh_l[k]: `(hidden_size, hidden_size)`, on the manifold.
        bias_ih_l[k]: `(hidden_size,)`.

    Raises:
        TypeError, ValueError: for arguments that `nn.RNN` would refuse, unknown names, and modReLU
            without a bias.

    Source: Arjovsky, Shah & Bengio 2016 (modReLU); Henaff, Szlam & LeCun 2016; Helfrich, Willmott
    & Ye 2018; Lezcano-Casado & Martinez-Rubio, Cheap orthogonal constraints in neural networks,
    ICML 2019 (the parametrization).

    Example:
        >>> import torch, torchmanifold.nn
        >>> rnn = torchmanifold.nn.OrthogonalRNN(10, 20, num_layers=2)
        >>> output, h_n = rnn(torch.randn(5, 3, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
        >>> x = rnn.weight_hh_l0
        >>> bool((x.T @ x - torch.eye(20)).norm() < 1e-5)
        True
    """

    weight_ih_l0: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str | Callable[[Tensor], Tensor] = "modrelu",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        manifold: Manifold | None = None,
        how: Literal["parametrized", "riemannian"] = "parametrized",
        init: str = "henaff",
        input_std: float | None = None,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_flags(bias=bias, batch_first=batch_first, bidirectional=bidirectional)
        check_dropout(dropout, num_layers)
        if not callable(nonlinearity):
            check_name("nonlinearity", nonlinearity, NONLINEARITIES, " or a function of z")
        if nonlinearity == "modrelu" and not bias:
            raise ValueError(
                "OrthogonalRNN: bias=False, but modReLU without its bias is the identity; leave "
                'bias=True or pass nonlinearity="identity"'
            )
        check_name("init", init, INITIALIZATIONS)
        check_positive(input_std=input_std)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.nonlinearity = nonlinearity
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.init = init
        self.input_std = input_std
        self.directions = 2 if bidirectional else 1
        for suffix in self._suffixes():
            below = self.directions * hidden_size if not suffix.startswith("_l0") else input_size
            for name, shape in (
                ("weight_ih", (hidden_size, below)),
                ("weight_hh", (hidden_size, hidden_size)),
                ("bias_ih", (hidden_size,)),
            ):
                empty = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(name + suffix, empty if bias or name[0] == "w" else None)
        self.reset_parameters()
        constrain(
            self, "weight_hh_l*", SpecialOrthogonal() if manifold is None else manifold, how=how
        )

    def _suffixes(self) -> list[str]:
        directions = ("", "_reverse")[: self.directions]
        return [f"_l{layer}{way}" for layer in range(self.num_layers) for way in directions]

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, the kernels by `init`; the base of a kernel moves along.

        Args:
            generator: source of randomness, on the device of the weights.
        """
        for suffix in self._suffixes():
            weight = getattr(self, "weight_ih" + suffix)
            if self.input_std is None:
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            else:
                nn.init.normal_(weight, std=self.input_std, generator=generator)
            kernel = INITIALIZATIONS[self.init](
                self.hidden_size, generator=generator, dtype=weight.dtype, device=weight.device
            )
            name = "weight_hh" + suffix
            manifold = manifold_of(self, name)
            kernel = kernel if manifold is None else manifold.project(kernel)
            if name in self._parameters:
                getattr(self, name).copy_(kernel)
            else:
                setattr(self, name, kernel)
            bias = getattr(self, "bias_ih" + suffix)
            if self.nonlinearity == "modrelu":
                nn.init.uniform_(bias, -0.01, 0.01, generator=generator)
            elif bias is not None:
                nn.init.zeros_(bias)

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """All states of the last layer, and the last states of all layers.

        Raises:
            ValueError, RuntimeError: if the shape or dtype of `input` or `hx` does not fit, as
                `nn.RNN` raises them.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(
                f"OrthogonalRNN: Expected input to be 2D or 3D, got {input.dim()}D tensor instead"
            )
        batched = input.dim() == 3
        x = input.transpose(0, 1) if self.batch_first and batched else input
        if len(x) == 0:
            raise RuntimeError(
                f"OrthogonalRNN: input of shape {tuple(input.shape)} is a sequence of length zero; "
                "expected a sequence length larger than 0"
            )
        hx = self._first_states(x, hx, x.shape[1] if batched else None)
        if not batched:
            output, h_n = self._run(x.unsqueeze(1), hx.unsqueeze(1), None)
            return output.squeeze(1), h_n.squeeze(1)
        output, h_n = self._run(x, hx, None)
        return output.transpose(0, 1) if self.batch_first else output, h_n

    # Lengths are data, so a compiled graph would break at each use of them.
    @not_compiled
    def _packed(self, input: PackedSequence, hx: Tensor | None) -> tuple[PackedSequence, Tensor]:
        data, batch_sizes, order, back = input
        hx = self._first_states(data, hx, int(batch_sizes[0]))
        hx = hx if order is None else hx.index_select(1, order)
        output, h_n = self._run(data, hx, batch_sizes)
        h_n = h_n if back is None else h_n.index_select(1, back)
        return PackedSequence(output, batch_sizes, order, back), h_n

    def _first_states(self, x: Tensor, hx: Tensor | None, batch: int | None) -> Tensor:
        dtype = self.weight_ih_l0.dtype
        check_input(x, self.input_size, dtype)
        rows = self.num_layers * self.directions
        shape = (rows, self.hidden_size) if batch is None else (rows, batch, self.hidden_size)
        if hx is None:
            return torch.zeros(shape, dtype=dtype, device=x.device)
        check_state(hx, shape, dtype)
        return hx

    def _run(self, x: Tensor, hx: Tensor, batch_sizes: Tensor | None) -> tuple[Tensor, Tensor]:
        """`x` is `(time, batch, input_size)`, or packed `(rows, input_size)`."""
        last = []
        # The rounding errors of half precision, over a thousand steps, would spoil the
        # orthogonality.
        with torch.autocast(x.device.type, enabled=False):
            x, hx = x.to(self.weight_ih_l0.dtype), hx.to(self.weight_ih_l0.dtype)
            turned = None
            if self.bidirectional and batch_sizes is not None:
                turned = reversal(batch_sizes).to(x.device)
            states = iter(hx.unbind(0))
            for layer in range(self.num_layers):
                if layer and self.dropout:
                    x = dropout(x, self.dropout, self.training)
                output, h = self._layer(x, next(states), f"_l{layer}", batch_sizes)
                last.append(h)
                if self.bidirectional:
                    # The same recurrence, on sequences turned around.
                    y = x.flip(0) if turned is None else x.index_select(0, turned)
                    y, h = self._layer(y, next(states), f"_l{layer}_reverse", batch_sizes)
                    y = y.flip(0) if turned is None else y.index_select(0, turned)
                    output = torch.cat([output, y], dim=-1)
                    last.append(h)
                x = output
        return x, torch.stack(last)

    def _layer(
        self, x: Tensor, h: Tensor, suffix: str, batch_sizes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        names = ("weight_ih", "weight_hh", "bias_ih")
        weight_ih, weight_hh, bias = (getattr(self, name + suffix) for name in names)
        f = self.nonlinearity
        if callable(f):
            return recur_plain(x, h, weight_ih, weight_hh, bias, batch_sizes, f)
        return recur(x, h, weight_ih, weight_hh, bias, batch_sizes, f)

    def flatten_parameters(self) -> None:
        """Do nothing; `nn.RNN` moves its weights into one buffer for cuDNN here."""

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        signature = inspect.signature(OrthogonalRNN).parameters
        for name in (
            "num_layers",
            "nonlinearity",
            "bias",
            "batch_first",
            "dropout",
            "bidirectional",
            "init",
            "input_std",
        ):
            if (value := getattr(self, name)) != signature[name].default:
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)
