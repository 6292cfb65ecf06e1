"""Reuse of computed tensors that can never be stale.

A value is reused only where evaluating again would give the same thing.  The rules:

* Nothing is kept outside a cache.  A user opens one with :func:`cached`; a module with
  parametrizations is, for the length of its own ``forward``, in a cache of its own.
* A cache belongs to the circumstances in which it was opened: thread, asyncio task, functorch
  level, dispatch and function modes, graph task of a running backward pass, saved-tensor hooks
  (a checkpointed region).  Read in any other circumstance, it is passed by.
* A value belongs to its :class:`~torchmanifold.parametrize.ParametrizationList`, grad mode,
  inference mode and autocast state.  It is dropped when one of the tensors, submodules, flags or
  plain attributes of the list has been replaced, when a version counter, dtype or
  ``requires_grad`` of a tensor has changed, after a backward pass through it, after any optimizer
  step, and on entering and leaving :func:`cached`.

What no cache can see: writes through ``.data`` or a NumPy alias, mutation inside a plain Python
container, and the replay of a CUDA graph.  Leave the cache around those, or open a new one.

**Batching.**  ``cached(model)`` evaluates equal parametrizations of ``model`` in one call.  A
parametrization takes part if it has ``batched = True``, which promises that ``forward`` accepts
leading dimensions in its arguments and in all its parameters and buffers and writes none of them,
and a hashable ``config`` that, with its type, says everything else about it.  At the first
use of one of them, those with equal types, configs, training modes, shapes, dtypes and devices
are called once: on a twin of the first module whose parameters and buffers are those of all
modules stacked along a new first dimension, with the originals stacked the same way.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from torchmanifold.parametrize.chain import ParametrizationList
from torchmanifold.parametrize.watch import Watch

_current: ContextVar[Cache | None] = ContextVar("torchmanifold_cache", default=None)
_steps = 0


def _count_step(*_: Any) -> None:
    # Fused and foreach optimizers need not bump version counters, so steps are counted.
    global _steps
    _steps += 1


register_optimizer_step_post_hook(_count_step)

_INTERNALS = frozenset(vars(nn.Module())) - {"training"}
_PLAIN = (Tensor, nn.Parameter)
_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu")


# These are asked at every read, where looking up the names would take as long as the answers.
_interpreter = torch._C._functorch.peek_interpreter_stack
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_graph_task = torch._C._current_graph_task_id
_saved_tensors_hooks = torch._C._autograd._top_saved_tensors_default_hooks
_tracing_state = torch._C._get_tracing_state
_running_loop = asyncio._get_running_loop
_autocasts = torch._C._is_any_autocast_enabled
_grad_mode = torch.is_grad_enabled
_inference_mode = torch.is_inference_mode_enabled


def _place() -> tuple[object, ...]:
    """What a cache belongs to; a cache is read only where this is as it was when it was opened."""
    interpreter = _interpreter()
    return (
        threading.get_ident(),
        _running_loop() and asyncio.current_task(),
        interpreter and interpreter.level(),
        _dispatch_modes(),
        _function_modes(),
        _graph_task(),
        _saved_tensors_hooks(True),
        _tracing_state() is None,
    )


def _autocast() -> tuple[object, ...]:
    return tuple(
        torch.get_autocast_dtype(device)
        for device in _AUTOCAST_DEVICES
        if torch.is_autocast_enabled(device)
    )


_Names = dict[str, Any]


class _Graph:
    """Whether a backward pass has gone through the graph that several values may share."""

    __slots__ = ("spent",)

    def __init__(self, value: Tensor) -> None:
        self.spent = False
        # The hook must not hold the value: a cycle through C++ is never collected.
        if value.grad_fn is not None:
            value.grad_fn.register_prehook(self.spend)

    def spend(self, _gradients: tuple[Tensor, ...]) -> None:
        self.spent = True


class _Entry:
    """A value and everything it was computed from."""

    __slots__ = ("chain", "value", "version", "graph", "sizes", "slots", "tensors")

    def __init__(self, chain: ParametrizationList, value: Tensor, graph: _Graph) -> None:
        self.chain = chain
        self.value = value
        self.version = None if value.is_inference() else value._version
        self.graph = graph
        self.sizes: list[tuple[_Names, _Names, _Names, _Names, int]] = []
        self.slots: list[tuple[_Names, str, Any]] = []
        self.tensors: list[tuple[Tensor, int, bool, torch.dtype]] = []
        # Of what a list knows about itself, the value depends on nothing else.
        self.slots.append((chain.__dict__, "_changes", chain._changes))
        self._watch_groups(chain)

    def _watch(self, module: nn.Module) -> None:
        for name, item in module.__dict__.items():
            if name not in _INTERNALS:
                self.slots.append((module.__dict__, name, item))
                if isinstance(item, Tensor):
                    self._watch_tensor(item)
        self._watch_groups(module)

    def _watch_groups(self, module: nn.Module) -> None:
        state, (parameters, buffers, children) = module.__dict__, _groups(module)
        size = len(state) + len(parameters) + len(buffers) + len(children)
        self.sizes.append((state, parameters, buffers, children, size))
        for group in (parameters, buffers):
            for name, tensor in group.items():
                self.slots.append((group, name, tensor))
                if tensor is not None:
                    self._watch_tensor(tensor)
        for name, child in children.items():
            self.slots.append((children, name, child))
            if child is not None:
                self._watch(child)

    def _watch_tensor(self, tensor: Tensor) -> None:
        # An inference tensor has no version counter: a value that depends on one is not reused.
        if tensor.is_inference():
            self.graph.spent = True
        else:
            self.tensors.append((tensor, tensor._version, tensor.requires_grad, tensor.dtype))

    def fresh(self) -> bool:
        if self.graph.spent:
            return False
        # This runs at every read: what is taken away is missed in its slot, so that of the groups
        # of a module only the sum can have grown.
        for state, parameters, buffers, children, size in self.sizes:
            if len(state) + len(parameters) + len(buffers) + len(children) != size:
                return False
        try:
            for group, name, item in self.slots:
                if group[name] is not item:
                    return False
        except KeyError:
            return False
        for tensor, version, requires_grad, dtype in self.tensors:
            if (
                tensor._version != version
                or tensor.requires_grad is not requires_grad
                or tensor.dtype is not dtype
            ):
                return False
        # After the inputs: a value that is a view of its original shares the version counter.
        if self.version is not None and self.value._version != self.version:
            self.graph.spent = True
            self.chain.report_write()
        return True


class Cache:
    """Values of parametrizations, for as long as they are what evaluating again would give."""

    __slots__ = ("place", "shared", "batchable", "entries", "steps")

    def __init__(self, place: tuple[object, ...], shared: bool) -> None:
        self.place = place
        self.shared = shared
        # Of each list that can take part in a batch, those of the same maps, itself included.
        self.batchable: dict[int, list[ParametrizationList]] = {}
        self.entries: dict[tuple[object, ...], _Entry] = {}
        self.steps = _steps

    def serves(self) -> bool:
        """Whether a module whose ``forward`` starts needs no cache of its own."""
        if not self.shared:
            return False
        # Inference, where each microsecond counts and a checkpointed region is of no concern: where
        # this cache is passed by, a module that reads a tensor twice evaluates it twice.
        if not _grad_mode() or _place() == self.place:
            return True
        if _tracing_state() is not None:
            raise RuntimeError("Cannot trace a model while caching parametrizations.")
        return False

    def read(self, chain: ParametrizationList) -> Tensor:
        """The value of ``chain``, evaluated only if the value at hand might differ."""
        if _place() != self.place:
            return chain()
        if self.steps != _steps:
            self.entries.clear()
            self.steps = _steps
        autocast = _autocasts() and _autocast()
        key = (chain, _grad_mode(), _inference_mode(), autocast)
        entry = self.entries.get(key)
        if entry is not None and entry.fresh():
            return entry.value
        return self._evaluate(*key)

    def _evaluate(self, chain: ParametrizationList, *mode: object) -> Tensor:
        if not isinstance(chain, ParametrizationList):
            return chain()  # registered by torch's own layer
        chains = [chain]
        family = self.batchable.get(id(chain), chains)
        if len(family) > 1 and (signature := _signature(chain)) is not None:
            chains += [
                peer for peer in family if peer is not chain and _signature(peer) == signature
            ]
        if len(chains) == 1:
            value = chain()
            self.entries[chain, *mode] = _Entry(chain, value, _Graph(value))
            return value
        for peer in chains:
            peer.check_write()
        stacked = _evaluate_stacked(chains)
        graph, watch = _Graph(stacked), Watch()
        watch.set(stacked)
        for peer, value in zip(chains, stacked.unbind(0), strict=True):
            peer.watch_write(watch)
            self.entries[peer, *mode] = _Entry(peer, value, graph)
        return self.entries[chain, *mode].value


@contextmanager
def cached(*modules: nn.Module) -> Iterator[None]:
    r"""Reuse the values of parametrized tensors while this context is active.

    Each value is computed at its first use and reused for as long as evaluating again would give
    the same tensor; see the module docstring for what drops it.  With ``modules``, equal
    parametrizations in them that declare ``batched = True`` are evaluated in one call.

    Values that are reused share their graph, as a tensor does that is kept in a variable: of two
    losses through them, sum both or call the first ``backward(retain_graph=True)``.

    Entering gives an empty cache, also inside another; leaving drops it and the values of the
    one around it.  While ``torch.compile`` traces, the context does nothing.

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
    cache = Cache(_place(), shared=True)
    families: dict[Hashable, list[ParametrizationList]] = {}
    for module in _modules(modules):
        if not isinstance(module, ParametrizationList):
            continue
        if (kinds := _kinds(module.links())) is not None:
            family = cache.batchable[id(module)] = families.setdefault(kinds, [])
            family.append(module)
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
        _current.set(Cache(_place(), shared=False))

    def __exit__(self, *_: object) -> None:
        _current.set(self.around)


current = _current.get  # the cache that reads go through, or None


def _groups(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    return module._parameters, module._buffers, module._modules


def _modules(roots: Iterable[nn.Module]) -> list[nn.Module]:
    # Many times faster than `module.modules()`, which makes up names.
    found = list(dict.fromkeys(roots))
    seen = set(found)
    for module in found:  # which grows meanwhile
        for child in module._modules.values():
            if child is not None and child not in seen:
                seen.add(child)
                found.append(child)
    return found


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    # Many times faster than `module.parameters()`, which makes up names and looks for duplicates.
    for group in (module._parameters, module._buffers):
        for tensor in group.values():
            if tensor is not None:
                yield tensor
    for child in module._modules.values():
        if child is not None:
            yield from _tensors(child)


def _kinds(links: list[Any]) -> Hashable:
    """What the maps of a list are; None if one of them cannot be evaluated for several lists."""
    kinds = []
    for link in links:
        if not getattr(link, "batched", False):
            return None
        try:
            kinds.append((type(link), link.config))
        except AttributeError:
            return None
    return tuple(kinds)


def _signature(chain: ParametrizationList) -> list[object] | None:
    """Equal for parametrizations that can be evaluated in one call, None for those that cannot."""
    links = chain.links()
    if (kinds := _kinds(links)) is None:
        return None
    signature: list[object] = [kinds]
    tensors = chain.originals()
    for link in links:
        signature.append(link.training)
        tensors += _tensors(link)
    for t in tensors:
        if type(t) not in _PLAIN or t.is_inference():
            return None
        signature += t.shape, t.dtype, t.device, t.requires_grad
    return signature


def _evaluate_stacked(chains: list[ParametrizationList]) -> Tensor:
    arguments = [torch.stack(same) for same in zip(*(c.originals() for c in chains), strict=True)]
    for links in zip(*(chain.links() for chain in chains), strict=True):
        arguments = [_stacked_twin(links)(*arguments)]
    return arguments[0]


def _stacked_twin(modules: tuple[Any, ...]) -> nn.Module:
    """A shallow copy of the first module that holds the tensors of all, stacked."""

    def stack(kind: str) -> dict[str, Tensor | None]:
        first, *_ = groups = [module.__dict__[kind] for module in modules]
        return {
            name: None if tensor is None else torch.stack([group[name] for group in groups])
            for name, tensor in first.items()
        }

    twin = object.__new__(type(modules[0]))
    twin.__dict__.update(
        modules[0].__dict__,
        _parameters=stack("_parameters"),
        _buffers=stack("_buffers"),
        _modules={
            name: child and _stacked_twin(tuple(module._modules[name] for module in modules))
            for name, child in modules[0]._modules.items()
        },
    )
    return twin
