"""The view of a manifold under which a weight of a module is a point."""

from __future__ import annotations

from torch import Tensor, nn

from torchmanifold.manifolds import Blocks, Flattened, Manifold, Transposed

__all__ = ["fit"]

_GATES = ("weight_ih", "weight_hh")
# Modules that stack several matrices in one tensor: the classes, the tensors, the number of
# matrices and their name.
_STACKS = (
    ((nn.LSTM, nn.LSTMCell), _GATES, 4, "gates"),
    ((nn.GRU, nn.GRUCell), _GATES, 3, "gates"),
    ((nn.MultiheadAttention,), ("in_proj_weight",), 3, "projections (query, key and value)"),
)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


def fit(
    module: nn.Module,
    name: str,
    manifold: Manifold,
    weight: Tensor,
    blocks: int | None,
    flatten: bool | None,
) -> Manifold:
    """The manifold under the view that makes the weight a point.

    Raises:
        ValueError: the weight stacks several matrices and `blocks` is not given, it is a kernel and
            `flatten` is not given, or no view makes the weight a point.
    """
    shape = tuple(weight.shape)
    _check_kernel(module, name, manifold, shape, flatten)
    if manifold.event_ndim == 2 and not isinstance(manifold, Blocks):
        _check_blocks(module, name, shape, blocks, flatten)
    # A transposed convolution keeps its kernel as (in, out, ...).
    rows = 1 if flatten and isinstance(module, _TRANSPOSED) and name == "weight" else 0

    def seen(inner: Manifold) -> Manifold:
        view = Flattened(inner, weight.ndim, rows) if flatten else inner
        return view if blocks is None else Blocks(view, blocks)

    view, inner = seen(manifold), shape
    while view is not manifold and isinstance(view, Blocks | Flattened):
        inner = view.inner_shape(inner)
        view = view.manifold
    return seen(_turn(manifold, inner))


def _check_kernel(
    module: nn.Module, name: str, manifold: Manifold, shape: tuple[int, ...], flatten: bool | None
) -> None:
    """Refuse to take the slices of a kernel for points unless `flatten=False` says so."""
    kernel = isinstance(module, _CONVOLUTIONS) and name == "weight"
    ndim = manifold.event_ndim
    if kernel and flatten is None and 0 < ndim < len(shape):
        raise ValueError(
            f"the kernel has the shape {shape}, and a point of {manifold!r} has {ndim} "
            f"dimension{'s' if ndim > 1 else ''}; pass flatten=True to constrain the kernel as one "
            f"matrix or vector, or flatten=False to constrain each of its "
            f"{'x'.join(map(str, shape[-ndim:]))} slices"
        )


def _check_blocks(
    module: nn.Module, name: str, shape: tuple[int, ...], blocks: int | None, flatten: bool | None
) -> None:
    """Refuse to take a stack of matrices for one unless `blocks=1` says so."""
    count, what = 1, ""
    for kinds, names, number, parts in _STACKS:
        if isinstance(module, kinds) and name.startswith(names):
            count, what = number, parts
    if flatten and isinstance(module, _CONVOLUTIONS) and name == "weight":
        count, what = module.groups, "groups of channels"
    whole = isinstance(blocks, int) and (blocks == 1 or blocks % count == 0)
    if count > 1 and not whole:
        raise ValueError(
            f"{count} {what} are stacked in the shape {shape}; pass blocks={count} to constrain "
            "each of them, or blocks=1 to take the stack for one matrix"
        )


def _turn(manifold: Manifold, shape: tuple[int, ...]) -> Manifold:
    """`Transposed(manifold)` where only the transpose of a matrix of that shape is a point."""
    if manifold.event_ndim != 2 or len(shape) < 2 or shape[-2] >= shape[-1]:
        return manifold
    try:
        manifold.check_shape(shape)
    except ValueError:
        turned = Transposed(manifold)
        try:
            turned.check_shape(shape)
        except ValueError:
            return manifold  # its own message helps more
        return turned
    return manifold
