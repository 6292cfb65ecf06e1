"""Register, query, share and remove the parametrizations of the tensors of a module."""

from __future__ import annotations

from contextlib import suppress

import torch
import torch.nn.utils.parametrize as peer
from torch import Tensor, nn

from torchmanifold.parametrize import hosts, ownership, private, recurrent
from torchmanifold.parametrize.chain import ParametrizationList, chains
from torchmanifold.parametrize.checkpoint import present_value
from torchmanifold.parametrize.checks import check_link, is_close
from torchmanifold.parametrize.classes import install, is_ours, uninstall
from torchmanifold.parametrize.originals import REFUSALS
from torchmanifold.parametrize.undo import all_or_nothing, overwrite


def register_parametrization(
    module: nn.Module,
    tensor_name: str,
    parametrization: nn.Module,
    *,
    unsafe: bool = False,
) -> nn.Module:
    r"""Compute ``module.tensor_name`` by ``parametrization`` from now on.

    The tensor moves to ``module.parametrizations[tensor_name].original`` and its name becomes a
    property with value ``parametrization(original)``.  If ``parametrization`` has a
    ``right_inverse``, the value is kept: ``original = right_inverse(tensor)`` (a sequence becomes
    ``original0, original1, ...``); the tensor is rewritten only if it has to change.  The right
    inverse may refuse the value by a ``ValueError``.  If the map is a projection, the value then
    becomes the projection of the tensor, such as the skew part of a matrix; any other map is
    refused.  An assignment to the property goes through the right inverses too.

    On a tensor that is parametrized already, the new map is applied last.  The value is kept
    if the right inverses of the whole chain can give it; otherwise the maps are composed.

    To tie tensors, register the list of the one on the other:
    ``register_parametrization(decoder, "weight", encoder.parametrizations.weight)``.

    If this raises, the module, the tensor and the map stay as they were.

    Args:
        module: the module whose tensor becomes parametrized.
        tensor_name: the name of a parameter, a buffer or a parametrized tensor.
        parametrization: the map, or the :class:`ParametrizationList` of a tensor to tie this to.
        unsafe: allow a change of shape and dtype, and check nothing.

    Returns:
        The module.

    Raises:
        ValueError: there is no such tensor, or the map does not fit it.

    Example:
        >>> import torch, torchmanifold.parametrize as parametrize
        >>> class Symmetric(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).mT
        >>> layer = torch.nn.Linear(3, 3)
        >>> layer = parametrize.register_parametrization(layer, "weight", Symmetric())
        >>> bool((layer.weight == layer.weight.mT).all())
        True
    """
    hosts.check_map(module, parametrization)
    if isinstance(parametrization, ParametrizationList):
        return _tie(module, tensor_name, parametrization)
    if _is_of_torch(module):
        return peer.register_parametrization(module, tensor_name, parametrization, unsafe=unsafe)
    trained = parametrization.training
    parametrization.train(module.training)
    try:
        if is_parametrized(module, tensor_name):
            _append(chains(module)[tensor_name], parametrization, unsafe)
        elif _has(module, tensor_name):
            hosts.check_tensor(module, tensor_name)
            ownership.check_ties(module, tensor_name)
            original = getattr(module, tensor_name)
            chain = ParametrizationList([parametrization], original, unsafe=unsafe)
            if tensor_name in private.non_persistent(module) and chain.is_tensor:
                chain.register_buffer("original", original, persistent=False)
            install(module, tensor_name, chain)
            if not chain.is_tensor:
                ownership.replace([original], chain.originals())
        else:
            raise ValueError(
                f"Module '{module}' does not have a parameter, a buffer, or a "
                f"parametrized element with name '{tensor_name}'"
            )
    except BaseException:
        parametrization.train(trained)
        raise
    return module


def is_parametrized(module: nn.Module, tensor_name: str | None = None) -> bool:
    """Whether ``module`` has parametrized tensors, or one named ``tensor_name``.

    Example:
        >>> import torch, torchmanifold.parametrize as parametrize
        >>> parametrize.is_parametrized(torch.nn.Linear(2, 2))
        False
    """
    lists = getattr(module, "parametrizations", None)
    if not isinstance(lists, nn.ModuleDict):
        return False
    return len(lists) > 0 if tensor_name is None else tensor_name in lists


def remove_parametrizations(
    module: nn.Module, tensor_name: str, leave_parametrized: bool = True
) -> nn.Module:
    """Make ``module.tensor_name`` a plain parameter or buffer again.

    A single original that no other module shares keeps its identity, so an optimizer that holds it
    continues to work; otherwise the tensor is a new one.

    Args:
        module: the module.
        tensor_name: the name of a parametrized tensor.
        leave_parametrized: leave the computed value; otherwise the original.  Before any training
            the original is the old tensor, if registration did not have to change it.

    Returns:
        The module.

    Raises:
        ValueError: the tensor is not parametrized, or it has several originals and
            ``leave_parametrized`` is False.

    Example:
        >>> import torch, torchmanifold.parametrize as parametrize
        >>> layer = torch.nn.Linear(2, 2)
        >>> layer = parametrize.register_parametrization(layer, "weight", torch.nn.Softplus())
        >>> type(parametrize.remove_parametrizations(layer, "weight")).__name__
        'Linear'
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    chain = chains(module)[tensor_name]
    if not isinstance(chain, ParametrizationList):
        return peer.remove_parametrizations(module, tensor_name, leave_parametrized)
    if not chain.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor "
            "that is parametrized in terms of a sequence of tensors."
        )
    originals = chain.originals()
    tensor = originals[0]
    value = present_value(chain).clone() if leave_parametrized else tensor.detach().clone()
    if chain.is_tensor and not ownership.shares_originals(chain):
        if leave_parametrized:
            overwrite(tensor, value)
    else:
        tensor = value
        if any(isinstance(original, nn.Parameter) for original in originals):
            trains = any(original.requires_grad for original in originals)
            tensor = nn.Parameter(value, requires_grad=trains)
        ownership.replace(originals, [tensor])
    persistent = not private.non_persistent(chain)
    uninstall(module, tensor_name)
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(tensor_name, tensor)
    else:
        module.register_buffer(tensor_name, tensor, persistent=persistent)
    if not is_parametrized(module):
        recurrent.leave(module)
    return module


def type_before_parametrizations(module: nn.Module) -> type:
    """The class of ``module``, as if it had no parametrizations.

    Example:
        >>> import torch, torchmanifold.parametrize as parametrize
        >>> layer = torch.nn.Linear(2, 2)
        >>> layer = parametrize.register_parametrization(layer, "weight", torch.nn.Softplus())
        >>> parametrize.type_before_parametrizations(layer).__name__
        'Linear'
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: nn.Module, to_module: nn.Module, tensor_name: str | None = None
) -> nn.Module:
    """Give ``to_module`` the parametrized tensors of ``from_module``: same maps, same originals.

    Nothing is written, so both have the values that ``from_module`` had, and stay equal.

    Args:
        from_module: the module with parametrizations; if it has none, nothing happens.
        to_module: the module that gets them; a tensor that it lacks is made.
        tensor_name: the one tensor to transfer; all if None.

    Returns:
        ``to_module``.

    Example:
        >>> import torch, torchmanifold.parametrize as parametrize
        >>> one, two = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> one = parametrize.register_parametrization(one, "weight", torch.nn.Softplus())
        >>> two = parametrize.transfer_parametrizations_and_params(one, two)
        >>> bool((one.weight == two.weight).all())
        True
    """
    if not is_parametrized(from_module):
        return to_module
    sources = chains(from_module)
    for name in list(sources) if tensor_name is None else [tensor_name]:
        source, links = sources[name], sources[name].links()
        hosts.check_map(to_module, source)
        if is_parametrized(to_module, name):
            links = [*chains(to_module)[name].links(), *links]
            uninstall(to_module, name)
        install(to_module, name, ParametrizationList.sharing(links, source))
    return to_module


def _has(module: nn.Module, name: str) -> bool:
    """Whether ``name`` is a parameter or a buffer of ``module``."""
    return name in private.parameters(module) or name in private.buffers(module)


def _is_of_torch(module: nn.Module) -> bool:
    """Whether torch's own layer made the class of ``module``; then it must handle the module."""
    return is_parametrized(module) and not is_ours(module)


def _tie(module: nn.Module, name: str, chain: ParametrizationList) -> nn.Module:
    if not _has(module, name):
        raise ValueError(
            f"Module '{module}' does not have a parameter or a buffer with name '{name}' that "
            "could be tied to a parametrized tensor"
        )
    value = present_value(chain)
    own = getattr(module, name)
    if value.shape != own.shape or value.dtype != own.dtype:
        raise ValueError(
            f"Cannot tie {name!r} of shape {tuple(own.shape)} and {own.dtype} to a parametrized "
            f"tensor of shape {tuple(value.shape)} and {value.dtype}"
        )
    install(module, name, chain)
    return module


def _append(chain: ParametrizationList, link: nn.Module, unsafe: bool) -> None:
    with all_or_nothing([link, *chain.links()], tensors=chain.originals()):
        if not unsafe:
            with torch.no_grad():
                value = chain()
            check_link(link, value, chain.tensor_name)
        chain.append(link)
        try:
            chain.unsafe |= unsafe
            if not unsafe:
                _keep_value(chain, value)
        except BaseException:
            del chain[-1]
            raise


def _keep_value(chain: ParametrizationList, value: Tensor) -> None:
    """Assign ``value`` to the longer chain if it can give it, otherwise leave the originals."""
    if value.is_meta:
        return
    with torch.no_grad():
        if torch.equal(chain(), value):
            return
        # If the assignment is refused, the maps compose: the right inverse of the last need not be
        # in the range of the maps before it.
        with suppress(*REFUSALS), all_or_nothing(chain.links(), tensors=chain.originals()):
            chain.right_inverse(value)
            if not is_close(chain(), value):
                raise ValueError("the right inverses do not round-trip")
