"""The private names of torch and asyncio that this package reads.

No public name has the same information.  A comment beside each name describes it.  All other files
of the package import these names from here.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.nn.utils import _named_member_accessor

# Bound once: every read of a tensor calls these, and looking up the names would take as long as the
# calls.

#: The innermost transform of ``torch.func`` that runs, or None.
interpreter = torch._C._functorch.peek_interpreter_stack
#: How many ``TorchDispatchMode`` are active: fake tensors, tracing for export.
dispatch_modes = torch._C._len_torch_dispatch_stack
#: How many ``TorchFunctionMode`` are active: ``torch.device`` as a context is one.
function_modes = torch._C._len_torch_function_stack
#: The backward pass that runs in this thread, or -1.
graph_task = torch._C._current_graph_task_id
#: The hooks of ``torch.autograd.graph.saved_tensors_hooks`` that are active.
saved_tensors_hooks = torch._C._autograd._top_saved_tensors_default_hooks
#: The state of ``torch.jit.trace``, or None.
tracing_state = torch._C._get_tracing_state
#: Whether ``torch.autocast`` is active for any device.
any_autocast = torch._C._is_any_autocast_enabled
#: As ``asyncio.get_running_loop``, but None where no loop runs.
running_loop = asyncio._get_running_loop

_SWAPS = {_named_member_accessor.swap_tensor.__code__, _named_member_accessor.set_tensor.__code__}

#: The counter of in-place writes to a tensor and all its views; inference tensors have none.
version = attrgetter("_version")
#: The tensor that a tensor is a view of, or None.
viewed = attrgetter("_base")

#: ``torch.compiler.disable``, without importing the compiler, which takes a second.
not_compiled = _disable_dynamo

#: The attributes that every module has, except the flag that the user sets.
MODULE_ATTRIBUTES = frozenset(vars(nn.Module())) - {"training"}

#: The attributes in which a module keeps its parameters, buffers and children.
GROUPS = ("_parameters", "_buffers", "_modules")
#: The buffers that ``register_buffer(persistent=False)`` keeps out of state dicts, by name.
non_persistent = attrgetter("_non_persistent_buffers_set")

# `module.named_parameters()` and its like construct names and look for duplicates, which takes many
# times as long, and their result cannot be written to. The compiler traces functions, but not
# `attrgetter`.


def parameters(module: nn.Module) -> dict[str, Any]:
    """The parameters of ``module`` itself by name; not a copy."""
    found: dict[str, Any] = module._parameters
    return found


def buffers(module: nn.Module) -> dict[str, Any]:
    """The buffers of ``module`` itself by name; not a copy."""
    found: dict[str, Any] = module._buffers
    return found


def children(module: nn.Module) -> dict[str, Any]:
    """The modules in ``module`` itself by name; not a copy."""
    found: dict[str, Any] = module._modules
    return found


def grandchild(module: nn.Module, child: str, name: str) -> Any:
    """The module ``name`` of the child ``child`` of ``module``, or None; asked at every read."""
    found = module._modules.get(child)
    return None if found is None else found._modules.get(name)


def groups(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The parameters, buffers and children of ``module`` by name; not copies."""
    return module._parameters, module._buffers, module._modules


def walk(roots: Iterable[nn.Module]) -> list[nn.Module]:
    """``roots`` and all modules in them, each once."""
    found = list(dict.fromkeys(roots))
    seen = set(found)
    for module in found:  # the list grows while it is walked
        for child in children(module).values():
            if child is not None and child not in seen:
                seen.add(child)
                found.append(child)
    return found


def tensors(module: nn.Module) -> Iterator[Tensor]:
    """The parameters and buffers of ``module`` and of the modules in it."""
    for inner in walk([module]):
        for group in (parameters(inner), buffers(inner)):
            for tensor in group.values():
                if tensor is not None:
                    yield tensor


def place() -> tuple[object, ...]:
    """The current thread, task, transform, modes, backward pass, checkpointed region and trace.

    A value that was computed in one place may be wrong in another, or outlive it.
    """
    transform = interpreter()
    return (
        threading.get_ident(),
        running_loop() and asyncio.current_task(),
        transform and transform.level(),
        dispatch_modes(),
        function_modes(),
        graph_task(),
        saved_tensors_hooks(True),
        tracing_state() is None,
    )


def in_functional_call() -> bool:
    """Whether the assignment that runs is one of ``torch.func.functional_call``.

    It lends the module a tensor for the length of a call, where an ordinary assignment keeps it.
    Only the setter of a property may call this.
    """
    frame = sys._getframe(2)
    while "setattr" in frame.f_code.co_name and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code in _SWAPS


def transformed() -> bool:
    """Whether values are traced or belong to a function transform, which they must not outlive."""
    return interpreter() is not None or dispatch_modes() > 0 or tracing_state() is not None
