"""The changes to ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` while they are parametrized.

These classes keep a flat list of their weights.  For computed weights the list would be a stale
copy that holds the graph of the last forward pass.  Here the list is a property, always current and
never stored, so a copy or pickle after a forward pass works.  Each weight in it is evaluated once a
forward pass, because a module has a cache of its own while its ``forward`` runs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torchmanifold.parametrize.private import not_compiled


# torch.compile runs these classes outside its graphs, but traces the functions that they call. This
# would gain nothing, and it would warn about calls of the cache.
@not_compiled
def _get_flat_weights(self: nn.RNNBase) -> list[Tensor | None]:
    return [getattr(self, name, None) for name in self._flat_weights_names]


def _set_flat_weights(self: nn.RNNBase, weights: list[Tensor | None]) -> None:
    pass  # the base class refreshes its list; there is nothing to refresh


def _weights_have_changed(self: nn.RNNBase) -> bool:
    return False


def _init_flat_weights(self: nn.RNNBase) -> None:
    pass


def _flatten_parameters(self: nn.RNNBase) -> None:
    pass  # would move a computed weight into a buffer that the next forward pass does not use


def _setattr(self: nn.RNNBase, name: str, value: Any) -> None:
    # The base class would evaluate every weight only to put the new one into its list.
    nn.Module.__setattr__(self, name, value)


def _setstate(self: nn.RNNBase, state: dict[str, Any]) -> None:
    nn.Module.__setstate__(self, state)
    self._flat_weight_refs = []


_METHODS = {
    "_flat_weights": property(_get_flat_weights, _set_flat_weights),
    "_weights_have_changed": _weights_have_changed,
    "_init_flat_weights": _init_flat_weights,
    "flatten_parameters": _flatten_parameters,
    "__setattr__": _setattr,
    "__setstate__": _setstate,
}


def overrides(base: type[nn.Module]) -> dict[str, Any]:
    """The overrides of the parametrized subclass of ``base``: none unless it is recurrent."""
    return dict(_METHODS) if issubclass(base, nn.RNNBase) else {}


def enter(module: nn.Module) -> None:
    """Forget the stored weights of a module that has just become parametrized."""
    if isinstance(module, nn.RNNBase):
        module.__dict__.pop("_flat_weights", None)
        module._flat_weight_refs = []


def leave(module: nn.Module) -> None:
    """Store the weights again, in a module whose last parametrization was removed."""
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()
