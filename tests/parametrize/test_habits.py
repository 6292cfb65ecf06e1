"""Usual operations on whole models work on models with parametrizations."""

import copy
import inspect
import io
import multiprocessing
import pickle

import pytest
import torch
import torch.nn.utils.parametrize as peer
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

import torchmanifold.parametrize as parametrize


class Skew(nn.Module):
    def forward(self, x):
        a = x.triu(1)
        return a - a.mT

    def right_inverse(self, x):
        return x.triu(1)


class Shifted(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.register_buffer("base", torch.zeros_like(base))

    def forward(self, x):
        return self.base + torch.sin(x)

    def right_inverse(self, x):
        self.base.copy_(x)
        return torch.zeros_like(x)


class Scaled(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


class Copying(nn.Linear):
    """A module that brings its own deepcopy."""

    def __deepcopy__(self, memo):
        twin = self.__class__.__new__(self.__class__)
        twin.__dict__ = copy.deepcopy(self.__dict__, memo)
        return twin


def shift(module, name="weight"):
    value = getattr(module, name).detach()
    return parametrize.register_parametrization(module, name, Shifted(value))


def model():
    torch.manual_seed(0)
    net = nn.Sequential(shift(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 4))
    parametrize.register_parametrization(net[2], "weight", Skew())
    parametrize.register_parametrization(net[2], "weight", Scaled())
    shift(net[2], "bias")
    return net


def through_file(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "save": through_file,
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_independent(how):
    source = model()
    x = torch.randn(2, 4)
    out = source(x)
    state = copy.deepcopy(source.state_dict())
    twin = COPIES[how](source)
    assert torch.equal(twin(x), out)
    assert type(twin[0]).__name__ == "ParametrizedLinear" and type(twin[0]) is type(source[0])
    assert parametrize.type_before_parametrizations(twin[0]) is nn.Linear
    optimizer = torch.optim.SGD(twin.parameters(), lr=1.0)
    twin(x).square().sum().backward()
    optimizer.step()
    with parametrize.cached(source, twin):
        assert not torch.equal(twin[0].weight, source[0].weight)
    parametrize.remove_parametrizations(twin[2], "bias")
    parametrize.remove_parametrizations(twin[2], "weight")
    assert type(twin[2]) is nn.Linear
    parametrize.register_parametrization(twin[0], "bias", Scaled())
    assert torch.equal(source(x), out)
    assert all(torch.equal(v, state[k]) for k, v in source.state_dict().items())
    COPIES[how](twin)


def test_torch_refuses_to_pickle():
    module = peer.register_parametrization(nn.Linear(3, 3), "weight", Skew())
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(module)


def test_a_shallow_copy_shares_tensors_and_nothing_else():
    source = model()[2]
    twin = copy.copy(source)
    assert twin.parametrizations.weight.original is source.parametrizations.weight.original
    assert torch.equal(twin.weight, source.weight)
    parametrize.remove_parametrizations(twin, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(twin, "bias", leave_parametrized=False)
    assert type(twin) is nn.Linear and parametrize.is_parametrized(source, "weight")
    source(torch.randn(2, 4))


def test_a_module_with_its_own_deepcopy():
    source = shift(Copying(3, 3))
    value = source.weight
    twin = copy.deepcopy(source)
    parametrize.remove_parametrizations(twin, "weight")
    assert torch.equal(source.weight, value) and type(twin) is Copying


def _forward(module, x, queue):
    queue.put(module(x).detach().numpy())


def test_spawned_processes():
    context = multiprocessing.get_context("spawn")
    queue, module, x = context.Queue(), model(), torch.randn(2, 4)
    process = context.Process(target=_forward, args=(module, x, queue))
    process.start()
    out = queue.get(timeout=120)
    process.join()
    torch.testing.assert_close(torch.from_numpy(out), module(x).detach())


def test_state_dicts_load_with_weights_only():
    source, target = model(), model()
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    target.load_state_dict(torch.load(file, weights_only=True))
    loaded = target.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in source.state_dict().items())


def test_plain_checkpoints_load_into_parametrized_models_and_back():
    source = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    with torch.no_grad():
        source[2].weight.copy_(source[2].weight.triu(1) - source[2].weight.triu(1).mT)
    target = model()
    x = torch.randn(2, 4)
    assert str(target.load_state_dict(source.state_dict())) == "<All keys matched successfully>"
    torch.testing.assert_close(target(x), source(x))
    wrapped = nn.DataParallel(model())
    wrapped.load_state_dict({f"module.{k}": v.double() for k, v in source.state_dict().items()})
    torch.testing.assert_close(wrapped.module(x), source(x))
    plain = parametrize.plain_state_dict(target)
    assert set(plain) == set(source.state_dict())
    back = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    back.load_state_dict(plain)
    torch.testing.assert_close(back(x), source(x))
    with pytest.raises(RuntimeError, match="While assigning '0.weight'"):
        target.load_state_dict(plain | {"0.weight": torch.ones(5, 5)})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        target.load_state_dict(source.state_dict() | {"0.other": x})
    with pytest.raises(RuntimeError, match="Missing key"):
        target.load_state_dict({k: v for k, v in source.state_dict().items() if k != "0.weight"})


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        shift(self.encoder)
        chain = self.encoder.parametrizations.weight
        parametrize.register_parametrization(self.decoder, "weight", chain)

    def forward(self, x):
        return self.decoder(self.encoder(x))


@pytest.mark.parametrize("how", ["as is", *COPIES])
def test_tied_weights_share_one_value(how):
    net = COPIES.get(how, lambda module: module)(Tied())
    assert len(list(net.parameters())) == 1
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.arange(6)).square().sum().backward()
    optimizer.step()
    assert torch.equal(net.encoder.weight, net.decoder.weight)
    with parametrize.cached(net):
        assert net.encoder.weight is net.decoder.weight
    net.load_state_dict(net.state_dict())
    net.decoder.weight = torch.ones(6, 4)
    assert (net.encoder.weight == 1).all()
    parametrize.remove_parametrizations(net.decoder, "weight")
    assert (net.decoder.weight == 1).all() and (net.encoder.weight == 1).all()
    assert parametrize.is_parametrized(net.encoder)
    with pytest.raises(RuntimeError, match="has replaced"):
        optimizer.step()


MODULES = {
    "attention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), "in_proj_weight"),
    "attention, other sizes": (
        lambda: nn.MultiheadAttention(4, 2, kdim=4, vdim=4, batch_first=True),
        "in_proj_weight",
    ),
    "embedding": (lambda: nn.Embedding(5, 4), "weight"),
    "convolution": (lambda: nn.Conv2d(1, 4, 3), "weight"),
    "norm": (lambda: nn.LayerNorm(4), "weight"),
}
INPUTS = {
    "attention": (torch.randn(2, 3, 4),) * 3,
    "attention, other sizes": (torch.randn(2, 3, 4),) * 3,
    "embedding": (torch.arange(5),),
    "convolution": (torch.randn(1, 1, 5, 5),),
    "norm": (torch.randn(2, 4),),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("training", [True, False])
def test_modules_of_torch(name, training):
    make, tensor = MODULES[name]
    plain = make().train(training)
    module = shift(copy.deepcopy(plain), tensor)
    with torch.set_grad_enabled(training):
        out, expected = module(*INPUTS[name]), plain(*INPUTS[name])
    out, expected = (o[0] if isinstance(o, tuple) else o for o in (out, expected))
    torch.testing.assert_close(out, expected)
    if training:
        out.sum().backward()
        assert module.parametrizations[tensor].original.grad is not None


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
def test_transformer_encoders_get_layers_of_their_own():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    shift(layer.linear1), shift(layer.self_attn, "in_proj_weight"), shift(layer.self_attn.out_proj)
    encoder = nn.TransformerEncoder(layer, 2)
    x = torch.randn(2, 3, 4)
    out = encoder(x)
    with parametrize.cached(encoder):
        torch.testing.assert_close(encoder(x), out)
        encoder(x).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    encoder.eval()
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), out)


def test_lazy_modules():
    module = nn.LazyLinear(4)
    with pytest.raises(ValueError, match="not initialized yet. Run the module once"):
        parametrize.register_parametrization(module, "weight", Skew())
    module(torch.randn(2, 4))
    shift(module)(torch.randn(2, 4))


def test_meta_device():
    with torch.device("meta"):
        module = shift(nn.Linear(4, 4))
    assert module.weight.is_meta
    module.to_empty(device="cpu")
    source = shift(nn.Linear(4, 4))
    module.load_state_dict(source.state_dict())
    assert torch.equal(module.weight, source.weight)
    with torch.device("meta"):
        module = shift(nn.Linear(4, 4))
    with pytest.raises(RuntimeError, match="on the meta device; call `to_empty`"):
        module.load_state_dict(parametrize.plain_state_dict(source), assign=True)
    assert module.weight.is_meta
    module.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(module.weight, source.weight)


def test_conversions():
    module = model()
    module.double()
    assert module(torch.randn(2, 4, dtype=torch.float64)).dtype == torch.float64
    module.half().float()
    assert all(p.dtype == torch.float32 for p in module.parameters())
    module.zero_grad()
    module.requires_grad_(False)
    assert not module[0].weight.requires_grad


@pytest.mark.parametrize("strict", [True, False])
def test_export(strict):
    module, x = model(), torch.randn(2, 4)
    program = torch.export.export(module, (x,), strict=strict)
    torch.testing.assert_close(program.module()(x), module(x))
    assert "0.parametrizations.weight.original" in program.state_dict


def test_compiled_training():
    module, x = model(), torch.randn(2, 4)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        out = compiled(x)
        torch.testing.assert_close(out, module(x))
        optimizer.zero_grad()
        out.square().sum().backward()
        optimizer.step()
    module[0].weight = torch.ones(4, 4)
    torch.testing.assert_close(compiled(x), module(x))
    with parametrize.cached(module):
        torch.testing.assert_close(compiled(x), module(x))


def test_blocks_are_compiled_once():
    """Equal blocks of a model that is compiled block by block run the same code."""
    torch._dynamo.reset()

    class Block(nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.linear = linear

        def forward(self, x):
            return torch.relu(self.linear(x))

    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    count = torch._dynamo.config.recompile_limit + 2
    blocks = [Block(shift(nn.Linear(4, 4))) for _ in range(count)]
    theirs = [peer.register_parametrization(nn.Linear(4, 4), "weight", Skew()) for _ in blocks]
    x = torch.randn(2, 4, requires_grad=True)
    for block in blocks:
        expected = block(x)
        block.compile(backend=backend, fullgraph=True)
        torch.testing.assert_close(block(x), expected)
    assert len(graphs) < 3
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        for block in map(Block, theirs):
            block.compile(backend=backend, fullgraph=True)
            block(x)


def test_modules_share_a_class_and_nothing_else():
    one, two, plain = shift(nn.Linear(3, 3)), nn.Linear(3, 3), nn.Linear(3, 3)
    weight = two.weight
    shift(two, "bias")
    assert type(one) is type(two) and type(plain) is nn.Linear
    assert two.weight is weight and one.bias is one._parameters["bias"]
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = one.other
    shift(two)
    del one.bias
    assert not hasattr(one, "bias") and hasattr(two, "bias")
    one.bias = 5
    assert one.bias == 5 and "bias" not in two.__dict__
    del one.bias
    with pytest.raises(AttributeError):
        del one.bias
    one.register_parameter("bias", None)
    peer.remove_parametrizations(one, "weight")
    assert type(one) is nn.Linear and one(torch.ones(1, 3)).shape == (1, 3)
    value = two.weight
    parametrize.remove_parametrizations(two, "bias")
    assert torch.equal(two.weight, value) and two.bias is two._parameters["bias"]
    models = [shift(nn.Linear(3, 3)) for _ in range(2)]
    parameters, buffers = torch.func.stack_module_state(models)
    stacked = vmap(lambda p, b: functional_call(models[0], (p, b), torch.ones(1, 3)))
    torch.testing.assert_close(stacked(parameters, buffers)[1], models[1](torch.ones(1, 3)))


def test_function_transforms():
    module, x = model(), torch.randn(5, 4)
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}

    def loss(state, x):
        return functional_call(module, state, x).square().sum()

    per_sample = vmap(grad(loss), (None, 0))(state, x)
    loss(state, x).backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(per_sample[name].sum(0), parameter.grad)
    stacked = {k: torch.stack([v, v + 1]) for k, v in state.items()}
    both = vmap(lambda s: functional_call(module, s, x))(stacked)
    torch.testing.assert_close(both[0], module(x))
    forward_mode = torch.func.jvp(lambda x: module(x), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(forward_mode[0], module(x))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(reentrant):
    module, x = model(), torch.randn(2, 4, requires_grad=True)
    module(x).square().sum().backward()
    expected = [p.grad for p in module.parameters()]
    module.zero_grad()
    checkpoint(module, x, use_reentrant=reentrant).square().sum().backward()
    torch.testing.assert_close([p.grad for p in module.parameters()], expected)


def test_clipping_and_mixed_precision():
    def trained(scaled):
        torch.manual_seed(0)
        module, x = model(), torch.randn(2, 4)
        optimizer = torch.optim.AdamW(module.parameters())
        scaler = torch.amp.GradScaler("cpu", enabled=scaled)
        for _ in range(2):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = module(x).float().square().sum()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            assert nn.utils.clip_grad_norm_(module.parameters(), 0.1) > 0
            scaler.step(optimizer)
            scaler.update()
        return list(module.parameters())

    # A scale that is a power of two changes no bit.
    assert all(map(torch.equal, trained(scaled=True), trained(scaled=False)))


def test_averaged_models_have_values_of_their_own():
    module, x = model(), torch.randn(2, 4)
    average = AveragedModel(module, use_buffers=True)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        module(x).square().sum().backward()
        optimizer.step()
    with parametrize.cached(module, average):
        assert not torch.allclose(module(x), average(x))
    average.update_parameters(module)
    torch.testing.assert_close(average(x), module(x))


def test_subclasses_keep_their_interface():
    class Net(nn.Linear):
        def forward(self, x, *, scale: float = 1.0):
            return scale * super().forward(x)

    module = shift(Net(3, 3))
    assert list(inspect.signature(module.forward).parameters) == ["x", "scale"]
    hooked = []
    module.register_forward_hook(lambda *_: hooked.append(1))
    module(torch.randn(2, 3), scale=2.0)
    assert hooked and isinstance(module, Net) and type(module).__module__ == Net.__module__
