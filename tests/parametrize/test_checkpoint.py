"""Looking at a model changes nothing in it; its maps have the same names in every process."""

import copy
import dataclasses
import functools
import subprocess
import sys

import pytest
import torch
from torch import nn

import torchmanifold as tm
import torchmanifold.parametrize as parametrize
from torchmanifold.parametrize.identity import describe, identity


def spectral():
    layer = nn.Linear(6, 6)
    link = nn.utils.parametrizations._SpectralNorm(layer.weight, n_power_iterations=1)
    return parametrize.register_parametrization(layer, "weight", link)


class Count(nn.Module):
    """Counts its evaluations, in a buffer and in an attribute."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.times = 0

    def forward(self, x):
        self.seen += 1
        self.times += 1
        return 2 * x


MAPS = {
    "spectral norm": spectral,
    "a count": lambda: parametrize.register_parametrization(nn.Linear(6, 6), "weight", Count()),
    "dropout": lambda: parametrize.register_parametrization(
        nn.Linear(6, 6), "weight", nn.Dropout(0.5)
    ),
    "torch's layer": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)),
}
LOOKS = {
    "plain_state_dict": parametrize.plain_state_dict,
    "state_dict": lambda layer: layer.state_dict(),
    "report": tm.report,
    "repr": repr,
    "deepcopy": copy.deepcopy,
    "is_constrained": tm.is_constrained,
}


@pytest.mark.parametrize("build", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_looking_changes_nothing(build, look):
    layer = build()
    link = layer.parametrizations.weight[0]
    before = copy.deepcopy(layer.state_dict())
    attributes = dict(link.__dict__)
    look(layer)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert link.__dict__ == attributes and link.training


def test_a_plain_state_dict_has_the_values_of_eval_mode():
    for build in MAPS.values():
        layer = build()
        saved = parametrize.plain_state_dict(layer)["weight"]
        assert torch.equal(saved, layer.eval().weight) and saved.is_contiguous()


def test_removal_keeps_what_the_last_forward_pass_used():
    layer, x = spectral(), torch.randn(2, 6)
    y = layer(x)
    torch.testing.assert_close(parametrize.remove_parametrizations(layer, "weight")(x), y)


# Descriptions of maps


class Applied(nn.Module):
    """A map with a function in its config."""

    batched = True

    def __init__(self, function):
        super().__init__()
        self.function = function

    @property
    def config(self):
        return (self.function,)

    def forward(self, x):
        return self.function(x)


def double(x):
    return 2 * x


OTHER_PROCESS = """
import sys
sys.path.insert(0, {folder!r})
import test_checkpoint as here
from torchmanifold.parametrize.identity import identity
print(identity(here.Applied(here.double)), identity(here.Applied(here.torch.sin)))
"""


def test_a_function_has_one_name_in_all_processes(request):
    code = OTHER_PROCESS.format(folder=str(request.path.parent))
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    here = [identity(Applied(double)), identity(Applied(torch.sin))]
    assert [name.split(".")[-1] for name in there] == [name.split(".")[-1] for name in here]
    assert "0x" not in "".join(there + here) and here[0] != here[1]


def test_another_function_is_refused():
    def build(function):
        layer = nn.Linear(2, 2)
        return parametrize.register_parametrization(layer, "weight", Applied(function))

    source, same, other = build(torch.sin), build(torch.sin), build(torch.cos)
    same.load_state_dict(source.state_dict())
    with pytest.raises(RuntimeError, match="saved from .*sin.* cannot be loaded into .*cos"):
        other.load_state_dict(source.state_dict())


def test_a_new_field_of_a_manifold_refuses_no_old_checkpoint():
    new = dataclasses.make_dataclass(
        "Sphere", [("pole", float, 0.0)], bases=(tm.Sphere,), frozen=True, kw_only=True
    )
    old = tm.constrain(nn.Linear(4, 3), "weight", tm.Sphere())
    later = tm.constrain(nn.Linear(4, 3), "weight", new())
    later.load_state_dict(old.state_dict())
    assert torch.equal(later.weight, old.weight)
    moved = tm.constrain(nn.Linear(4, 3), "weight", new(pole=1.0))
    with pytest.raises(RuntimeError, match=r"saved from .*Sphere\(\).*loaded into .*pole=1.0"):
        moved.load_state_dict(old.state_dict())


@dataclasses.dataclass(frozen=True)
class Setting:
    kind: object
    size: int = 3
    parts: tuple = dataclasses.field(default_factory=tuple)


class Opaque:
    def __init__(self, value):
        self.value = value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Setting(kind=nn.ReLU), "Setting(kind=torch.nn.modules.activation.ReLU)"),
        (Setting(None, 4, (1,)), "Setting(kind=None, size=4, parts=(1))"),
        ((1, 2.5, "a", None, torch.float32), "(1, 2.5, 'a', None, torch.float32)"),
        (frozenset({2, 1}), "{1, 2}"),
        (Opaque(Opaque(1)), "Opaque(value=Opaque(value=1))"),
        (functools.partial(max, 1, key=len), "partial(builtins.max, 1, key=builtins.len)"),
        (nn.ReLU().forward, "torch.nn.modules.activation.ReLU.forward"),
        ({"b": 1, "a": [2]}, "{'a': (2), 'b': 1}"),
    ],
)
def test_words_for_a_setting(value, words):
    assert describe(value) == words


def test_names_of_maps():
    assert identity(nn.Softplus()) == "Softplus"
    assert identity(tm.maps.MatrixExponential()) == "MatrixExponential()"
    assert identity(tm.maps.MatrixExponential(skew=True)) == "MatrixExponential(skew=True)"
    assert identity(tm.maps.LowRank(2)) == "LowRank(rank=2)"
    stiefel = tm.Trivialization(tm.Stiefel(retraction=tm.Polar()), torch.eye(3, 2))
    assert identity(stiefel) == "Trivialization(manifold=Stiefel(retraction=Polar()))"
