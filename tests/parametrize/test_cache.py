"""The cache gives the same value as a new evaluation, whatever happens inside it."""

import asyncio
import contextlib
import contextvars
import copy
import gc
import threading
import weakref

import pytest
import torch
import torch.nn.utils.parametrize as peer
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import torchmanifold.parametrize as parametrize


class Counting(nn.Module):
    """Twice the sine, with a count of its evaluations."""

    def __init__(self):
        super().__init__()
        self.calls = [0]

    def forward(self, x):
        self.calls[0] += 1
        return 2 * torch.sin(x)


class Shifted(nn.Module):
    """A map with a base, like a trivialization."""

    batched = True

    def __init__(self, base, config="shift"):
        super().__init__()
        self.register_buffer("base", base.clone())
        self.config = config
        self.calls = Shifted.calls

    calls = [0]

    def forward(self, x):
        self.calls[0] += 1
        return self.base + torch.sin(x)

    def right_inverse(self, x):
        self.base.copy_(x)
        return torch.zeros_like(x)


def layer(layer_of=parametrize, n=3, map=None):
    return layer_of.register_parametrization(nn.Linear(n, n), "weight", map or Counting())


def calls(module):
    return module.parametrizations.weight[0].calls[0]


def test_reads_evaluate_once_inside_and_each_time_outside():
    module = layer()
    before = calls(module)
    _ = module.weight, module.weight
    assert calls(module) == before + 2
    with parametrize.cached():
        assert module.weight is module.weight
        assert calls(module) == before + 3
    assert module.weight is not module.weight


def test_a_decorated_function_runs_in_a_cache():
    module = layer()

    @parametrize.cached()
    def same():
        return module.weight is module.weight

    assert same() and same()


def step(module, optimizer):
    module.weight.square().sum().backward()
    optimizer.step()


class WritesData(torch.optim.Optimizer):
    """An optimizer that moves no version counter."""

    def step(self):
        for parameter in self.param_groups[0]["params"]:
            parameter.data.sub_(1)


def changes(module):
    """Events inside a cache, by name."""
    chain = module.parametrizations.weight
    state = {k: v + 1 for k, v in module.state_dict().items()}
    return {
        "sgd": lambda: step(module, torch.optim.SGD(module.parameters(), lr=0.1)),
        "fused": lambda: step(module, torch.optim.AdamW(module.parameters(), fused=True)),
        "foreach": lambda: step(module, torch.optim.Adam(module.parameters(), foreach=True)),
        "load": lambda: module.load_state_dict(state),
        "load by assignment": lambda: module.load_state_dict(state, assign=True),
        "double": lambda: module.double(),
        "half and back": lambda: module.half().float(),
        "another original": lambda: setattr(chain, "original", nn.Parameter(chain.original + 1)),
        "written original": lambda: nn.init.ones_(chain.original),
        "second map": lambda: parametrize.register_parametrization(module, "weight", nn.Tanh()),
        "another map": lambda: chain.__setitem__(0, nn.Tanh()),
        "frozen": lambda: chain.original.requires_grad_(False),
        "another dtype": lambda: setattr(chain.original, "data", chain.original.data.double()),
        "data optimizer": lambda: WritesData(module.parameters(), {}).step(),
        "eval": lambda: module.eval(),
        "attribute": lambda: setattr(chain[0], "calls", [0]),
        "again": lambda: (
            parametrize.remove_parametrizations(module, "weight"),
            parametrize.register_parametrization(module, "weight", nn.Tanh()),
        ),
    }


@pytest.mark.parametrize("what", changes(layer()))
def test_a_change_inside_the_cache_is_seen(what):
    module = layer()
    with parametrize.cached():
        before = module.weight
        changes(module)[what]()
        after = module.weight
    assert after is not before
    outside = module.weight
    torch.testing.assert_close(after, outside, rtol=0, atol=0)
    assert after.requires_grad == outside.requires_grad


@pytest.mark.parametrize("what", ["sgd", "load", "double", "second map", "again"])
def test_torch_does_not_see_it(what):
    module = layer(peer)
    with peer.cached():
        before = module.weight
        if what == "second map":
            peer.register_parametrization(module, "weight", nn.Tanh())
        elif what == "again":
            peer.remove_parametrizations(module, "weight")
            peer.register_parametrization(module, "weight", nn.Tanh())
        else:
            changes(module)[what]()
        assert module.weight is before


def test_assignment_is_seen():
    results = {}
    for library in (parametrize, peer):
        module = layer(library, map=Shifted(torch.zeros(3, 3)))
        with library.cached():
            _ = module.weight
            module.weight = torch.ones(3, 3)
            results[library] = torch.equal(module.weight, torch.ones(3, 3))
    assert results == {parametrize: True, peer: False}


def test_a_backward_pass_through_a_value_drops_it():
    module = layer()
    with parametrize.cached():
        for _ in range(2):
            module.weight.square().sum().backward()
    with peer.cached(), pytest.raises(RuntimeError, match="second time"):
        module = layer(peer)
        for _ in range(2):
            module.weight.square().sum().backward()


def test_grad_mode_and_autocast_have_their_own_values():
    module = layer()
    with parametrize.cached():
        with torch.no_grad():
            assert not module.weight.requires_grad
        with torch.inference_mode():
            assert module.weight.is_inference()
        assert module.weight.requires_grad and not module.weight.is_inference()
        with torch.autocast("cpu", torch.bfloat16):
            assert module.weight is module.weight
        plain = module.weight
        with torch.no_grad():
            _ = module.weight
        assert module.weight is plain
    module = layer(peer)
    with peer.cached():
        with torch.no_grad():
            _ = module.weight
        assert not module.weight.requires_grad


class Product(nn.Module):
    def forward(self, x):
        return x @ x


def test_autocast_inside_the_cache():
    module = layer(map=Product())
    with parametrize.cached():
        assert module.weight.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert module.weight.dtype == torch.bfloat16
        assert module.weight.dtype == torch.float32


def test_functional_call_inside_the_cache_uses_the_given_tensors():
    module = layer()
    x = torch.randn(2, 3)
    given = {"parametrizations.weight.original": torch.ones(3, 3)}
    expected = functional_call(module, given, x)
    with parametrize.cached():
        inside = module(x)
        torch.testing.assert_close(functional_call(module, given, x), expected, rtol=0, atol=0)
        torch.testing.assert_close(module(x), inside, rtol=0, atol=0)
    module = layer(peer)
    with peer.cached():
        inside = module(x)
        assert torch.equal(functional_call(module, given, x), inside)


def test_grad_and_vmap_inside_the_cache():
    module = layer()
    x = torch.randn(5, 2, 3)

    def loss(state, x):
        return functional_call(module, state, x).square().sum()

    states = [{k: v + i for k, v in module.state_dict().items()} for i in range(2)]
    outside = [(grad(loss)(s, x[0]), vmap(grad(loss), (None, 0))(s, x)) for s in states]
    with parametrize.cached(module):
        _ = module.weight
        inside = [(grad(loss)(s, x[0]), vmap(grad(loss), (None, 0))(s, x)) for s in states]
        module.weight.sum().backward()
    torch.testing.assert_close(inside, outside, rtol=0, atol=0)
    module = layer(peer)
    with peer.cached():
        grad(loss)(states[0], x[0])
        second = grad(loss)(states[1], x[0])
    assert not second["parametrizations.weight.original"].any()


def test_values_do_not_leave_a_transform():
    module = layer()
    x = torch.randn(2, 3)

    def sensitivity():
        return grad(lambda x: module(x).square().sum())(x)

    expected = sensitivity()
    with parametrize.cached():
        torch.testing.assert_close(sensitivity(), expected)
        module(x).sum().backward()
        torch.testing.assert_close(sensitivity(), expected)
    assert module.parametrizations.weight.original.grad is not None


def test_export_inside_the_cache_leaves_nothing_behind():
    module = layer()
    x = torch.randn(2, 3)
    with parametrize.cached():
        exported = torch.export.export(module, (x,), strict=False)
        torch.testing.assert_close(exported.module()(x), module(x))
        assert type(module.weight) is torch.Tensor


def test_compiled_modules_bypass_the_cache():
    torch._dynamo.reset()  # compilations of other tests count against a limit
    module = layer()
    x = torch.randn(2, 3)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def inside(x):
        with parametrize.cached():
            return module(module(x))

    torch.testing.assert_close(compiled(x), module(x))
    torch.testing.assert_close(inside(x), module(module(x)))
    with parametrize.cached():
        first = compiled(x)
        with torch.no_grad():
            module.parametrizations.weight.original.add_(1)
        assert not torch.equal(compiled(x), first)
        torch.testing.assert_close(compiled(x), module(x))
    compiled(x).sum().backward()
    assert module.parametrizations.weight.original.grad is not None


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is deprecated:DeprecationWarning")
def test_tracing_while_caching_raises_as_in_torch():
    module = layer()
    x = torch.randn(2, 3)
    with parametrize.cached(), pytest.raises(RuntimeError, match="Cannot trace a model while"):
        torch.jit.trace(module, x)


@pytest.mark.parametrize("inside", [False, True], ids=["backward outside", "backward inside"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint_inside_the_cache(reentrant, inside):
    def gradient(library, forward, backward):
        torch.manual_seed(0)
        module = layer(library)
        x = torch.randn(2, 3, requires_grad=True)
        with contextlib.ExitStack() as stack:
            if forward:
                stack.enter_context(library.cached())
            y = checkpoint(module, module(x), use_reentrant=reentrant)
            loss = checkpoint(module, y, use_reentrant=reentrant).square().sum()
            if backward:
                loss.backward()
        if not backward:
            loss.backward()
        return module.parametrizations.weight.original.grad

    expected = gradient(parametrize, False, False)
    torch.testing.assert_close(gradient(parametrize, True, inside), expected)
    if not (reentrant or inside):
        with pytest.raises(torch.utils.checkpoint.CheckpointError):
            gradient(peer, True, inside)


def test_modes_see_every_evaluation_inside_them():
    class Counter(TorchFunctionMode):
        count = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.count += "matmul" in function.__name__
            return function(*args, **kwargs or {})

    module = layer(map=Product())
    with parametrize.cached():
        _ = module.weight
        with FlopCounterMode(display=False) as flops:
            _ = module.weight
        with Counter() as counter:
            _ = module.weight
    assert flops.get_total_flops() > 0 and counter.count > 0


def test_a_context_that_outlives_the_cache_does_not_go_on_with_it():
    module = layer()
    with parametrize.cached():
        context = contextvars.copy_context()
    assert context.run(lambda: module.weight) is not context.run(lambda: module.weight)


def test_other_threads_do_not_read_the_cache():
    def read_elsewhere(library):
        module = layer(library)
        seen = []
        with library.cached():
            value = module.weight
            read = lambda: seen.append(module.weight)  # noqa: E731
            context = contextvars.copy_context()
            for target in (read, lambda: context.run(read)):
                thread = threading.Thread(target=target)
                thread.start()
                thread.join()
        return any(value is other for other in seen)

    assert not read_elsewhere(parametrize)
    assert read_elsewhere(peer)


def test_other_tasks_do_not_read_the_cache():
    module = layer()

    async def child():
        return module.weight

    async def late(started):
        await started.wait()
        return module.weight, module.weight

    async def main():
        started = asyncio.Event()
        with parametrize.cached():
            value = module.weight
            assert await asyncio.create_task(child()) is not value
            assert await asyncio.to_thread(lambda: module.weight) is not value
            outliving = asyncio.create_task(late(started))
        started.set()
        one, two = await outliving
        assert one is not two

    asyncio.run(main())


def test_threads_with_models_of_their_own():
    failures = []

    def train():
        try:
            module = layer(n=8)
            optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
            for _ in range(50):
                optimizer.zero_grad()
                with parametrize.cached():
                    module(module(torch.randn(2, 8))).sum().backward()
                assert module.parametrizations.weight.original.grad is not None
                optimizer.step()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_clones_have_values_of_their_own():
    def shared(library):
        module = layer(library)
        clone = copy.deepcopy(module)
        with torch.no_grad():
            clone.parametrizations.weight.original.add_(1)
        with library.cached():
            return module.weight is clone.weight or torch.equal(module.weight, clone.weight)

    assert not shared(parametrize)

    # In torch the property of the class closes over the first module.
    assert shared(peer)


def test_short_lived_modules_do_not_meet():
    with parametrize.cached():
        for i in range(50):
            module = layer()
            with torch.no_grad():
                module.parametrizations.weight.original.fill_(i)
            assert torch.equal(module.weight, 2 * torch.sin(torch.full((3, 3), float(i))))
            del module


def test_an_exception_closes_the_cache():
    module = layer()
    with pytest.raises(KeyError), parametrize.cached():
        _ = module.weight
        raise KeyError
    assert module.weight is not module.weight


def test_a_nested_cache_starts_empty_and_empties_the_one_around_it():
    module = layer()
    with parametrize.cached():
        outer = module.weight
        with parametrize.cached():
            inner = module.weight
            assert inner is not outer and inner is module.weight
        assert module.weight is not outer
        assert module.weight is module.weight


def test_nothing_is_kept_alive():
    module = layer()
    with parametrize.cached():
        value = weakref.ref(module.weight)
        module.weight.sum().backward()
    gc.collect()
    assert value() is None
    module(torch.randn(2, 3)).sum().backward()
    holder = weakref.ref(module)
    del module
    gc.collect()
    assert holder() is None


def test_inference_tensors_are_evaluated_each_time():
    with torch.inference_mode():
        module = layer()
        with parametrize.cached():
            before = module.weight
            module.parametrizations.weight.original.add_(1)
            assert not torch.equal(module.weight, before)


def batch(count=3, **kwargs):
    torch.manual_seed(0)
    layers = [layer(map=Shifted(torch.randn(3, 3)), **kwargs) for _ in range(count)]
    for module in layers:
        nn.init.normal_(module.parametrizations.weight.original)
    return nn.Sequential(*layers)


def test_equal_parametrizations_are_evaluated_in_one_call():
    model = batch()
    different = layer(map=Shifted(torch.zeros(3, 3), config="other"))
    model.append(different)
    model.append(layer(n=4, map=Shifted(torch.zeros(4, 4))))
    expected = [module.weight for module in model]
    Shifted.calls[0] = 0
    with parametrize.cached(model):
        values = [module.weight for module in model]
        assert Shifted.calls[0] == 3
        assert all(a is b.weight for a, b in zip(values, model, strict=True))
    torch.testing.assert_close(values, expected, rtol=0, atol=0)


def test_batched_gradients_equal_single_ones():
    gradients = []
    for batched in (False, True):
        model = batch()
        x = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
        with parametrize.cached(*[model] * batched):
            model(x).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_batched_values_are_as_fresh_as_single_ones():
    model = batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with parametrize.cached(model):
        for _ in range(3):
            for module in model:
                module.weight.sum().backward()
            optimizer.step()
            for module in model:
                chain = module.parametrizations.weight
                torch.testing.assert_close(module.weight, chain())
        model[1].weight = torch.ones(3, 3)
        assert torch.equal(model[1].weight, torch.ones(3, 3))
        model[0].double()
        assert model[0].weight.dtype == torch.float64 and model[1].weight.dtype == torch.float32
        model[0].eval()
        model[2].parametrizations.weight.original.requires_grad_(False)
        assert model[0].weight.requires_grad and not model[2].weight.requires_grad


class Switch(Shifted):
    def forward(self, x):
        return super().forward(x) if self.training else self.base


def test_training_modes_are_not_mixed_in_one_call():
    model = nn.Sequential(*(layer(map=Switch(torch.randn(3, 3))) for _ in range(2)))
    for module in model:
        nn.init.ones_(module.parametrizations.weight.original)
    model[1].eval()
    expected = [module.weight for module in model]
    with parametrize.cached(model):
        torch.testing.assert_close([module.weight for module in model], expected)


def test_a_scripted_submodule_is_passed_by():
    model = batch(2).append(torch.jit.script(nn.Linear(3, 3)))
    Shifted.calls[0] = 0
    with parametrize.cached(model):
        _ = model[0].weight, model[1].weight
    assert Shifted.calls[0] == 1


def test_forward_opens_a_cache_of_its_own():
    class Twice(nn.Linear):
        def forward(self, x):
            return super().forward(super().forward(x))

    module = parametrize.register_parametrization(Twice(3, 3), "weight", Counting())
    before = calls(module)
    module(torch.randn(2, 3)).sum().backward()
    assert calls(module) == before + 1
    module(torch.randn(2, 3))
    assert calls(module) == before + 2
    with parametrize.cached(), torch.no_grad():
        _ = module(torch.randn(2, 3)), module(torch.randn(2, 3))
    assert calls(module) == before + 3
