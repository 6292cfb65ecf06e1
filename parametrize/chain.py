"""ParametrizationList: one tensor of a module, and the maps that compute it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.parametrize import ownership, private
from torchmanifold.parametrize.checks import check_assigned
from torchmanifold.parametrize.identity import identity
from torchmanifold.parametrize.originals import evaluate, find
from torchmanifold.parametrize.undo import all_or_nothing, overwrite
from torchmanifold.parametrize.watch import Watch


class ParametrizationList(nn.ModuleList):
    r"""The maps :math:`f_1, \dots, f_k` of one tensor and the tensors that are free.

    The value is :math:`f_k(\cdots f_1(\mathrm{original}))`.  :func:`register_parametrization` makes
    the list and keeps it in ``module.parametrizations[tensor_name]``.  State-dict keys, arguments
    and errors are those of ``torch.nn.utils.parametrize.ParametrizationList``.

    Args:
        modules: the maps, first applied first.
        original: the tensor that becomes parametrized.  It changes only if all checks pass.
        unsafe: allow the value to differ from ``original`` in shape and dtype, unchecked.

    Attributes:
        original: the free tensor, or ``original0``, ``original1``, ... if the right inverse of
            the first map returns a sequence.

    Raises:
        ValueError: a map or right inverse does not return a tensor of the same dtype (and shape),
            or there is no map.
    """

    original: Tensor
    unsafe: bool
    is_tensor: bool
    ntensors: int

    def __init__(
        self, modules: Sequence[nn.Module], original: Tensor, unsafe: bool = False
    ) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self._prepare(unsafe)
        with all_or_nothing(self.links()) as before:
            self._take(original, find(self.links(), original, before, unsafe=unsafe))
        ownership.enroll(self)

    @classmethod
    def sharing(
        cls, modules: Sequence[nn.Module], source: ParametrizationList
    ) -> ParametrizationList:
        """A list with the given maps over the same tensors as ``source``."""
        chain = cls.__new__(cls)
        nn.ModuleList.__init__(chain, modules)
        chain._prepare(source.unsafe)
        chain.is_tensor, chain.ntensors = source.is_tensor, source.ntensors
        for name, tensor in zip(source.original_names(), source.originals(), strict=True):
            chain._register(name, tensor)
        ownership.enroll(chain)
        return chain

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        ownership.enroll(self)
        if self.maps_moved:
            ownership.moved(self)

    def _prepare(self, unsafe: bool) -> None:
        self.unsafe = unsafe
        self.tensor_name = "tensor"
        self.maps_moved = False
        self.holders = 0
        self.changes = 0
        self._watch = Watch()

    def _take(self, original: Tensor, new: Tensor | Sequence[Tensor]) -> None:
        """Make ``new``, computed from ``original``, the free tensors."""
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, Tensor):
            # The tensor keeps its identity, by which an optimizer knows it.
            if new is not original:
                overwrite(original, new)
            self._register("original", original)
            return
        for i, tensor in enumerate(new):
            tensor = tensor.detach().clone()
            if isinstance(original, nn.Parameter):
                tensor = nn.Parameter(tensor, original.requires_grad)
            self._register(f"original{i}", tensor.requires_grad_(original.requires_grad))

    def _register(self, name: str, tensor: Tensor) -> None:
        if isinstance(tensor, nn.Parameter):
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor)

    # Parts of the chain

    def links(self) -> list[Any]:
        """The maps in the order of their application."""
        # A list whose original is itself parametrized has one more child, with a name.
        return [module for key, module in self._modules.items() if key.isdigit()]

    def original_names(self) -> list[str]:
        """``["original"]``, or ``["original0", ...]`` for a right inverse with several values."""
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]

    def originals(self) -> list[Tensor]:
        """The free tensors."""
        own: dict[str, Any] = self._parameters
        return [own[n] if n in own else getattr(self, n) for n in self.original_names()]

    # Evaluation

    def forward(self) -> Tensor:
        """Evaluate the maps on the originals, whatever a cache holds."""
        if torch.jit.is_scripting():
            raise RuntimeError("Parametrization is not working with scripting.")
        traced = torch.compiler.is_dynamo_compiling()
        if not traced and not self._watch.untouched():
            self.check_write()
        first = self._parameters.get("original") if self.is_tensor else None
        arguments = self.originals() if first is None else (first,)
        value = evaluate(self.links(), arguments)
        # A write to the original itself takes effect.
        if not traced and value is not arguments[0]:
            self._watch.set(value)
        return value

    def watch_write(self, watch: Watch) -> None:
        """Remember a value that was handed out; ``watch`` notices writes to it."""
        self._watch.share(watch)

    def _forget(self) -> None:
        """Stop watching the values that were handed out: writes to them no longer matter."""
        # A cache compares this attribute; it cannot notice that `.data` of an original was
        # replaced.
        self.changes += 1
        self._watch.clear()

    def check_write(self) -> None:
        """Raise if the last value was written in place, or its ``requires_grad`` was set.

        Raises:
            RuntimeError: it was; the module would not notice.
        """
        if self._watch.written(self):
            self.report_write()
        if self._watch.thawed():
            self.report_thaw()

    def report_write(self) -> None:
        """Raise the error for an in-place write to a computed value."""
        name = self.tensor_name
        self._watch.clear()
        raise RuntimeError(
            f"The value of the parametrized tensor {name!r} was modified in place since it was "
            f"last read (or one that was evaluated in the same batch). It is computed by "
            f"{', '.join(type(link).__name__ for link in self.links())}, so the write was lost. "
            f"Assign instead: `module.{name} = value`, for example `module.{name} = "
            f"nn.init.orthogonal_(module.{name})`; to compute with a changed copy, clone it first."
        )

    def report_thaw(self) -> None:
        """Raise the error for a computed value whose ``requires_grad`` was set."""
        self._watch.clear()
        names = [f"parametrizations.{self.tensor_name}.{n}" for n in self.original_names()]
        raise RuntimeError(
            f"requires_grad was set on the value of the parametrized tensor {self.tensor_name!r}, "
            "which is computed anew at each read, so the module did not notice. Set it on the "
            f"free tensors: {', '.join(f'`module.{name}.requires_grad_()`' for name in names)}; "
            f"for a gradient of the value alone, take `module.{self.tensor_name}.detach()."
            "requires_grad_()`."
        )

    # Assignment

    def right_inverse(self, value: Tensor) -> None:
        """Make ``value`` the value of the chain, by the right inverses from last to first.

        If this raises, maps and originals stay as they were.  The originals take a copy, and never
        share the memory of ``value``.

        Args:
            value: the new value.

        Raises:
            TypeError: ``value`` is not a tensor.
            RuntimeError: a map has no right inverse.
            ValueError: a right inverse returns tensors that do not fit the originals.
        """
        if not isinstance(value, Tensor):
            raise TypeError(
                f"cannot assign {type(value).__name__} to the parametrized tensor "
                f"{self.tensor_name!r}, only a tensor"
            )
        # An in-place initialization that is then assigned is correct, so the write is forgiven.
        self._forget()
        originals = self.originals()
        with torch.no_grad(), all_or_nothing(self.links(), originals) as before:
            new: Any = value.detach().clone()  # a map may keep its argument
            for link in reversed(self.links()):
                if not hasattr(link, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(link).__name__} does not implement right_inverse."
                    )
                new = link.right_inverse(new)
            named = dict(zip(self.original_names(), originals, strict=True))
            check_assigned(new, named, is_tensor=self.is_tensor, unsafe=self.unsafe)
            if before.changed():
                ownership.refuse_shared(self.links(), originals)
                ownership.moved(self)
            tensors = [new] if self.is_tensor else new
            for name, tensor in zip(self.original_names(), tensors, strict=True):
                if name in self._parameters or name in self._buffers:
                    overwrite(getattr(self, name), tensor)
                else:
                    setattr(self, name, tensor)  # itself parametrized

    # Conversion and checkpoints

    def _apply(self, fn: Any, recurse: bool = True) -> ParametrizationList:
        self._forget()
        return super()._apply(fn, recurse)

    def identity(self) -> list[str]:
        """The maps by class and settings, as kept in the metadata of state dicts."""
        return [identity(link) for link in self.links()]

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]]["parametrizations"] = self.identity()

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        saved = local_metadata.get("parametrizations")
        if saved is not None and saved != self.identity():
            error_msgs.append(
                f"{prefix[:-1]} was saved from {saved} and cannot be loaded into "
                f"{self.identity()} (settings at their defaults are left out): the same "
                "coordinates mean another tensor. Load the plain tensor instead "
                "(`plain_state_dict` of the saved model), or clear `state_dict._metadata` if the "
                "maps only changed their names."
            )
            # Nothing of this list may be loaded: its maps load next, and get their own values back.
            for key in [key for key in state_dict if key.startswith(prefix)]:
                del state_dict[key]
            state_dict.update(self.state_dict(prefix=prefix))
            return
        self._forget()
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def chains(module: nn.Module) -> dict[str, ParametrizationList]:
    """The lists of the parametrized tensors of ``module`` by name; not a copy."""
    lists: Any = private.children(module).get("parametrizations")
    found: Any = private.children(lists) if isinstance(lists, nn.ModuleDict) else {}
    return found
