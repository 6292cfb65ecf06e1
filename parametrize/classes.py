"""The class that a module has while some of its tensors are parametrized.

It is a subclass of the class that the module had before.  All modules of that class share it, so
compiled code and ``torch.func.stack_module_state`` treat them alike.  It keeps nothing of a module:
it has a property for each name that was ever parametrized, and the property looks for the list of
maps in the module itself.
"""

from __future__ import annotations

import copyreg
import functools
from typing import Any

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling

from torchmanifold.parametrize import private, recurrent
from torchmanifold.parametrize.cache import OwnCache, current
from torchmanifold.parametrize.chain import ParametrizationList, chains
from torchmanifold.parametrize.checkpoint import assign_plain_tensors


def install(module: nn.Module, name: str, chain: ParametrizationList) -> None:
    """Compute ``module.name`` by ``chain``, in place of the parameter or buffer of that name."""
    chain.tensor_name = name
    if name in private.parameters(module) or name in private.buffers(module):
        delattr(module, name)
    if not chains(module):
        if not is_ours(module):
            module.__class__ = _parametrized_class(type(module))
        recurrent.enter(module)
        module.parametrizations = nn.ModuleDict()
    setattr(type(module), name, _property(name))
    lists: Any = module.parametrizations
    lists[name] = chain
    chain.holders += 1


def uninstall(module: nn.Module, name: str) -> None:
    """Undo :func:`install`, except that the parameter or buffer does not come back."""
    chains(module).pop(name).holders -= 1
    if not chains(module):
        del module.parametrizations
        if "_plain" in vars(type(module)):  # and not a subclass of it, such as `fully_shard` makes
            module.__class__ = type(module).__bases__[0]


def is_ours(module: nn.Module) -> bool:
    """Whether the class of ``module`` is one of this file, or derived from one."""
    return isinstance(type(module), _Parametrized)


class _Parametrized(type):
    """The type of these classes, on which torch's layer can operate.

    The layer of torch makes a class for each module, puts a property into it and deletes it again.
    """

    def __setattr__(cls, name: str, value: Any) -> None:
        super().__setattr__(name, _property(name) if isinstance(value, property) else value)

    def __delattr__(cls, name: str) -> None:
        if not isinstance(getattr(cls, name, None), property):
            super().__delattr__(name)


def _property(name: str) -> property:
    def get(self: nn.Module) -> Any:
        chain = private.grandchild(self, "parametrizations", name)
        if chain is None:  # another module of this class has it parametrized
            return self.__dict__[name] if name in self.__dict__ else self.__getattr__(name)
        if is_dynamo_compiling():
            return chain()
        cache = current()
        try:
            return chain() if cache is None else cache.read(chain)
        except AttributeError as error:
            # Module.__getattr__ would swallow the error and report a missing attribute.
            raise RuntimeError(f"evaluating the parametrized tensor {name!r} failed") from error

    def assign(self: nn.Module, value: Any) -> None:
        if torch.jit.is_scripting():
            raise RuntimeError("Parametrization is not working with scripting.")
        chain = chains(self).get(name)
        if chain is None:
            self.__dict__[name] = value
            return
        if not is_dynamo_compiling() and private.in_functional_call():
            raise RuntimeError(
                f"functional_call was given a value for {name!r}, which {_maps(chain)} "
                "computes: the value would be written into the module, without a gradient. Give "
                f"the free tensor under its own name, 'parametrizations.{name}.original'. To use "
                "values of the tensor itself, call a copy.deepcopy of the module after "
                f"remove_parametrizations(module, {name!r})."
            )
        chain.right_inverse(value)

    def delete(self: nn.Module) -> None:
        if name not in self.__dict__:
            raise AttributeError(name)
        del self.__dict__[name]

    return property(get, assign, delete)


def _parametrized_class(base: type[nn.Module]) -> type[nn.Module]:
    """The subclass of ``base`` for modules with parametrizations."""
    for known in base.__subclasses__():
        if "_plain" in vars(known):
            return known

    @functools.wraps(base.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling() or ((cache := current()) is not None and cache.serves()):
            return base.forward(self, *args, **kwargs)
        with OwnCache():
            return base.forward(self, *args, **kwargs)

    def reduce_ex(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
        reduced: Any = base.__reduce_ex__(self, max(2, int(protocol)))
        constructor, arguments, *state = reduced
        if constructor is not copyreg.__newobj__:  # type: ignore[attr-defined]
            raise TypeError(
                f"cannot copy or pickle a parametrized {base.__name__}: it defines its own "
                "reduction, which knows nothing of the parametrizations. Remove them first."
            )
        return _rebuild, (base, list(chains(self)), *arguments[1:]), *state

    def shallow_copy(self: nn.Module) -> nn.Module:
        twin = base.__new__(base)
        twin.__dict__.update(self.__dict__)
        for group in private.GROUPS:
            twin.__dict__[group] = dict(self.__dict__[group])
        del twin.parametrizations
        for name, chain in chains(self).items():
            install(twin, name, ParametrizationList.sharing(chain.links(), chain))
        return twin

    def prepare_scriptable(self: nn.Module) -> nn.Module:
        name, chain = next(iter(chains(self).items()))
        raise RuntimeError(
            f"torch.jit.script cannot compile this {base.__name__}: its {name!r} is computed by "
            f"{_maps(chain)}. Use torch.export.export(model, args) or "
            "torch.jit.trace(model, args), or script a copy.deepcopy of the model after "
            f"remove_parametrizations(module, {name!r}) for each module that has them "
            "(torchmanifold.unconstrain for constrained weights)."
        )

    def load(self: nn.Module, state_dict: Any, prefix: str, *args: Any) -> None:
        assign_plain_tensors(chains(self), state_dict, prefix, error_msgs=args[-1])
        base._load_from_state_dict(self, state_dict, prefix, *args)

    namespace = {
        "__module__": base.__module__,
        "__doc__": base.__doc__,
        "_plain": base,
        "forward": forward,
        "__reduce_ex__": reduce_ex,
        "__copy__": shallow_copy,
        "__prepare_scriptable__": prepare_scriptable,
        "_load_from_state_dict": load,
        **recurrent.overrides(base),
    }
    meta: Any = _Parametrized
    if type(base) is not type:
        meta = type("_Parametrized", (_Parametrized, type(base)), {})
    made: type[nn.Module] = meta(f"Parametrized{base.__name__}", (base,), namespace)
    return made


def _maps(chain: nn.Module) -> str:
    return ", ".join(type(link).__name__ for link in chain.children())


def _rebuild(base: type[nn.Module], names: list[str], *arguments: Any) -> nn.Module:
    """An empty module of the parametrized class, for unpickling and copying; its state follows."""
    cls = _parametrized_class(base)
    for name in names:
        setattr(cls, name, _property(name))
    return base.__new__(cls, *arguments)
