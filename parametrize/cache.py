"""Reuse of computed tensors that can never be stale.

A value is reused only where a new evaluation would give the same value.  The rules:

* Nothing is kept outside a cache.  A user opens one with :func:`cached`, and a module with
  parametrizations has a cache of its own while its ``forward`` runs.
* A cache belongs to the circumstances in which it was opened: thread, asyncio task, functorch
  level, dispatch and function modes, graph task of a running backward pass, saved-tensor hooks
  (a checkpointed region).  A read in other circumstances bypasses it.
* A value belongs to its :class:`~torchmanifold.parametrize.ParametrizationList`, grad mode,
  inference mode and autocast state.  It is dropped when one of the tensors, submodules, flags or
  plain attributes of the list has been replaced, when a version counter, dtype or
  ``requires_grad`` of a tensor has changed, after a backward pass through it, after any optimizer
  step, and on entering and leaving :func:`cached`.

No cache can notice writes through ``.data`` or a NumPy alias, changes inside a plain Python
container, or the replay of a CUDA graph.  Leave the cache before them, or open a new one.

``cached(model)`` evaluates equal parametrizations of ``model`` together, at the first use of one of
them: see :mod:`torchmanifold.parametrize.batching`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from torchmanifold.parametrize import batching, private, steps
from torchmanifold.parametrize.chain import ParametrizationList
from torchmanifold.parametrize.entry import Entry, Graph
from torchmanifold.parametrize.watch import Watch

_current: ContextVar[Cache | None] = ContextVar("torchmanifold_cache", default=None)

_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu")

# Bound once: every read calls these, and looking up the names would take as long as the calls.
_place = private.place
_autocasts = private.any_autocast
_grad_mode = torch.is_grad_enabled
_inference_mode = torch.is_inference_mode_enabled


def _autocast() -> tuple[object, ...]:
    return tuple(
        torch.get_autocast_dtype(device)
        for device in _AUTOCAST_DEVICES
        if torch.is_autocast_enabled(device)
    )


class Cache:
    """Values of parametrizations, each for as long as a new evaluation would give the same."""

    __slots__ = ("entries", "families", "place", "shared", "steps")

    def __init__(
        self, place: tuple[object, ...], shared: bool, families: batching.Families
    ) -> None:
        self.place = place
        self.shared = shared
        self.families = families
        self.entries: dict[tuple[object, ...], Entry] = {}
        self.steps = steps.count

    def serves(self) -> bool:
        """Whether a module whose ``forward`` starts needs no cache of its own."""
        if not self.shared:
            return False
        # In inference each microsecond counts, and checkpointed regions do not occur. The price: a
        # module that bypasses this cache and reads a tensor twice evaluates it twice.
        if not _grad_mode() or _place() == self.place:
            return True
        if private.tracing_state() is not None:
            raise RuntimeError("Cannot trace a model while caching parametrizations.")
        return False

    def read(self, chain: ParametrizationList) -> Tensor:
        """The value of ``chain``, evaluated only if the cached value might differ."""
        if _place() != self.place:
            return chain()
        if self.steps != steps.count:
            self.entries.clear()
            self.steps = steps.count
        autocast = _autocasts() and _autocast()
        key = (chain, _grad_mode(), _inference_mode(), autocast)
        entry = self.entries.get(key)
        if entry is not None and entry.fresh():
            return entry.value
        return self._evaluate(*key)

    def _evaluate(self, chain: ParametrizationList, *mode: object) -> Tensor:
        if not isinstance(chain, ParametrizationList):
            return chain()  # registered by torch's own layer
        chains = batching.equals(chain, self.families.get(id(chain), ()))
        if len(chains) == 1:
            value = chain()
            self.entries[chain, *mode] = Entry(chain, value, Graph(value))
            return value
        for peer in chains:
            peer.check_write()
        stacked = batching.evaluate(chains)
        graph, watch = Graph(stacked), Watch()
        watch.set(stacked)
        for peer, value in zip(chains, stacked.unbind(0), strict=True):
            peer.watch_write(watch)
            self.entries[peer, *mode] = Entry(peer, value, graph)
        return self.entries[chain, *mode].value


@contextmanager
def cached(*modules: nn.Module) -> Iterator[None]:
    r"""Reuse the values of parametrized tensors while this context is active.

    Each value is computed at its first use and reused for as long as a new evaluation would give
    the same tensor; the module docstring lists the events that drop it.  With ``modules``, equal
    parametrizations in them that declare ``batched = True`` are evaluated in one call.

    Reused values share their graph, like a tensor in a variable.  If two losses go through one
    value, sum them, or call the first ``backward(retain_graph=True)``.

    Entering opens an empty cache, even inside another cache.  Leaving drops it, and the values of
    the cache around it.  While ``torch.compile`` traces, the context does nothing.

    Args:
        modules: the models whose equal parametrizations are evaluated together.

    Example:
        >>> import torch, torchmanifold.parametrize as parametrize
        >>> class Double(torch.nn.Module):
        ...     def forward(self, x):
        ...         return 2 * x
        >>> layer = parametrize.register_parametrization(torch.nn.Linear(2, 2), "weight", Double())
        >>> layer.weight is layer.weight
        False
        >>> with parametrize.cached():
        ...     layer.weight is layer.weight
        True
    """
    if torch.compiler.is_dynamo_compiling():
        yield
        return
    around = _current.get()
    cache = Cache(_place(), shared=True, families=batching.families(modules))
    _current.set(cache)
    try:
        yield
    finally:
        # A task that was started inside may outlive the context, so its cache is closed for good.
        cache.place = ()
        cache.entries.clear()
        if around is not None and around.shared:
            around.entries.clear()
        _current.set(around)


class OwnCache:
    """The cache of a module, for the length of its ``forward``."""

    __slots__ = ("around",)

    def __enter__(self) -> None:
        self.around = _current.get()
        _current.set(Cache(_place(), shared=False, families={}))

    def __exit__(self, *_: object) -> None:
        _current.set(self.around)


current = _current.get  # the cache that reads go through, or None
