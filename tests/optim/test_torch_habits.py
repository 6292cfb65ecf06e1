"""Every habit of torch.optim: ordinary weights, groups, checkpoints, closures, hooks, scaling."""

import copy
import inspect
import io
import pickle

import pytest
import torch
from mixed import Mixed, batch, run
from torch import nn

import torchmanifold as tm

SGD, Adam = tm.optim.RiemannianSGD, tm.optim.RiemannianAdam
RMSprop, Landing = tm.optim.RiemannianRMSprop, tm.optim.Landing
Muon = tm.optim.RiemannianMuon

#: optimizer, its options, and the options of `torch.optim`'s that it must agree with
LIKE_TORCH = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGD, torch.optim.SGD, {"lr": 0.01, "maximize": True}),
    (Landing, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (Adam, torch.optim.Adam, {"lr": 0.01}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.0, 0.5), "eps": 1e-3, "maximize": True}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "centered": True, "foreach": True}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "maximize": True, "alpha": 0.5, "eps": 1e-3}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "foreach": True}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "fused": True}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "amsgrad": True, "foreach": True}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "fused": True}),
    (Adam, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    (Adam, torch.optim.AdamW, {"lr": torch.tensor(0.01), "weight_decay": 0.1}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
]

OURS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "average": "euclidean"}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nonfinite": "skip"}),
    (Adam, {"lr": 0.01}),
    (Adam, {"lr": 0.01, "amsgrad": True, "second_moment": "element"}),
    (Adam, {"lr": 0.01, "nonfinite": "skip", "weight_decay": 0.1}),
    (RMSprop, {"lr": 0.01, "momentum": 0.5, "nonfinite": "skip"}),
    (RMSprop, {"lr": 0.01, "second_moment": "element"}),
    (RMSprop, {"lr": 0.01, "centered": True, "momentum": 0.5}),
    (Muon, {"lr": 0.05}),
    (Muon, {"lr": 0.02, "nesterov": False, "weight_decay": 0.1, "nonfinite": "skip"}),
    (Landing, {"lr": 0.1, "momentum": 0.9}),
    (Landing, {"lr": 0.1, "nonfinite": "skip", "weight_decay": 0.1}),
]


#: for tests of ordinary weights alone, of which an optimizer warns
ordinary = pytest.mark.filterwarnings("ignore:.*weights is on a manifold")


def names(pair):
    return [f"{case[0].__name__}-{case[-1]}" for case in pair]


def like(options, theirs):
    """AdamW is Adam with an option."""
    return {**options, "decoupled_weight_decay": True} if theirs is torch.optim.AdamW else options


def point_of(manifold, shape):
    p = nn.Parameter(manifold.random(*shape, dtype=torch.float64))
    tm.place_(p, manifold)
    return p


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def same(model, other):
    return all(
        torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True)
    )


@ordinary
@pytest.mark.parametrize(("ours", "theirs", "options"), LIKE_TORCH, ids=names(LIKE_TORCH))
def test_ordinary_weights_move_as_under_torch_bit_for_bit(ours, theirs, options):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    a, b = copy.deepcopy(plain), copy.deepcopy(plain)
    both = [(a, ours(a, **like(options, theirs))), (b, theirs(b.parameters(), **options))]
    for model, optimizer in both:
        for i in range(20):
            optimizer.zero_grad()
            x = torch.randn(4, 5, generator=torch.Generator().manual_seed(i))
            model(x).pow(2).sum().backward()
            optimizer.step()
    assert same(a, b)
    assert not torch.equal(a[0].weight, plain[0].weight)


@pytest.mark.parametrize(("ours", "theirs", "options"), LIKE_TORCH, ids=names(LIKE_TORCH))
def test_ordinary_weights_beside_manifold_weights_too(ours, theirs, options):
    """Given the same gradients, ordinary weights do not notice their neighbours."""
    torch.manual_seed(0)
    model = Mixed()
    optimizer = ours(model, **like(options, theirs))
    plain = [p for p in model.parameters() if tm.manifold_of(p) is None]
    shadow = [nn.Parameter(p.detach().clone()) for p in plain]
    reference = theirs(shadow, **options)
    for i in range(5):
        optimizer.zero_grad()
        model(batch(model, i)).pow(2).sum().backward()
        for p, q in zip(plain, shadow, strict=True):
            q.grad = p.grad.clone()
        optimizer.step()
        reference.step()
    assert all(torch.equal(p, q) for p, q in zip(plain, shadow, strict=True))


@pytest.mark.parametrize(("ours", "theirs", "options"), LIKE_TORCH, ids=names(LIKE_TORCH))
def test_on_a_flat_manifold_the_rules_are_those_of_torch(ours, theirs, options):
    """With a second moment for each entry: the rule for manifolds, not PyTorch's own function."""
    if ours is Landing:
        with pytest.raises(ValueError, match="landing needs"):
            ours([point_of(tm.Euclidean(ndim=2), (3, 2))])
        return
    kinds = {} if ours is SGD else {"second_moment": "element"}
    p = point_of(tm.Euclidean(ndim=2), (3, 2))
    q = nn.Parameter(p.detach().clone())
    optimizer, reference = ours([p], **like(options, theirs), **kinds), theirs([q], **options)
    for _ in range(10):
        p.grad = torch.randn_like(p)
        q.grad = p.grad.clone()
        optimizer.step()
        reference.step()
    # A tensor with a learning rate is float32, and they round its products in other places.
    rounding = 1e-6 if isinstance(options["lr"], torch.Tensor) else 1e-12
    assert torch.allclose(p, q, rtol=0, atol=rounding)


@pytest.mark.parametrize(("ours", "options"), OURS, ids=names(OURS))
def test_a_checkpoint_resumes_bit_for_bit(ours, options):
    torch.manual_seed(1)
    model = Mixed()
    optimizer = ours(model, **options)
    run(model, optimizer, 4)

    file = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), file)
    file.seek(0)
    saved_model, saved_state = torch.load(file, weights_only=True)
    torch.manual_seed(2)
    other = Mixed()
    resumed = ours(other, **options)
    other.load_state_dict(saved_model)
    resumed.load_state_dict(saved_state)

    run(model, optimizer, 4, start=4)
    run(other, resumed, 4, start=4)
    assert same(model, other)
    state, again = optimizer.state_dict()["state"], resumed.state_dict()["state"]
    assert state.keys() == again.keys()
    for i in state:
        assert state[i].keys() == again[i].keys()
        assert all(torch.equal(state[i][name], again[i][name]) for name in state[i])


def test_a_loaded_state_is_not_shared():
    model = Mixed()
    optimizer = SGD(model, lr=0.1, momentum=0.9)
    run(model, optimizer, 2)
    saved = copy.deepcopy(optimizer.state_dict())
    before = copy.deepcopy(saved["state"])
    other = SGD(model, lr=0.1, momentum=0.9)
    other.load_state_dict(saved)
    run(model, other, 2)
    manifold_weights = [
        i for i, p in enumerate(model.parameters()) if tm.manifold_of(p) is not None
    ]
    for i in manifold_weights:
        name = "momentum_buffer"
        assert torch.equal(saved["state"][i][name], before[i][name])


def test_state_dict_has_the_shape_of_torch():
    model = Mixed()
    ours = SGD(model, lr=0.1, momentum=0.9)
    run(model, ours, 1)
    plain = nn.ParameterList([nn.Parameter(p.detach().clone()) for p in model.parameters()])
    theirs = torch.optim.SGD(plain, lr=0.1, momentum=0.9)
    sum(p.sum() for p in plain).backward()
    theirs.step()
    a, b = ours.state_dict()["state"], theirs.state_dict()["state"]
    assert a.keys() == b.keys()
    for i in b:
        assert {k: v.shape for k, v in a[i].items()} == {k: v.shape for k, v in b[i].items()}


@ordinary
def test_loads_the_state_of_the_torch_optimizer():
    torch.manual_seed(0)
    plain = nn.Linear(3, 3)
    theirs = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    plain(torch.ones(1, 3)).sum().backward()
    theirs.step()
    other = copy.deepcopy(plain)
    ours = SGD(other, lr=0.5, momentum=0.1)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for p, q in zip(plain.parameters(), other.parameters(), strict=True):
        q.grad = p.grad.clone()
    theirs.step()
    ours.step()
    assert same(plain, other)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize(("ours", "options"), OURS, ids=names(OURS))
def test_a_copied_optimizer_goes_on(ours, options, copier):
    torch.manual_seed(1)
    model = Mixed()
    optimizer = ours(model, **options)
    run(model, optimizer, 3)
    other, copied = copier((model, optimizer))
    run(model, optimizer, 3, start=3)
    run(other, copied, 3, start=3)
    assert same(model, other)


def test_a_copied_optimizer_keeps_the_manifolds_without_a_forward_pass():
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
    other, optimizer = copy.deepcopy((layer, SGD(layer, lr=0.5)))
    other.weight.grad = torch.randn(4, 4)
    optimizer.step()
    assert tm.Stiefel().residual(other.weight) < 1e-5


def test_a_copied_model_is_not_euclidean():
    """A copied parameter has no stamp, but the module is always evaluated before training."""
    torch.manual_seed(1)
    model = copy.deepcopy(Mixed())
    run(model, SGD(model.parameters(), lr=0.1), 3)
    assert max(model.residuals()) < 1e-5


@ordinary
def test_a_weight_constrained_later_and_freed_later():
    torch.manual_seed(1)
    layer = nn.Linear(4, 4)
    optimizer = SGD(layer, lr=0.1, momentum=0.9)

    def step():
        optimizer.zero_grad()
        layer(torch.randn(2, 4)).pow(2).sum().backward()
        optimizer.step()
        return tm.Stiefel().residual(layer.weight.detach()).item()

    assert step() > 1e-2
    tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian")
    assert step() < 1e-5
    tm.unconstrain(layer, "weight")
    assert step() > 1e-2


def test_a_foreign_optimizer_is_caught():
    layer = tm.constrain(nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 4)).sum().backward()
    with pytest.raises(RuntimeError, match="torchmanifold.optim"):
        torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert torch.equal(layer.weight, before)


def test_groups_have_their_own_options():
    torch.manual_seed(1)
    layers = [nn.Linear(4, 4, bias=False) for _ in range(3)]
    for layer in layers:
        tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian")
    before = [layer.weight.detach().clone() for layer in layers]
    grad = torch.randn(4, 4)
    groups = [
        {"params": layers[0].parameters(), "lr": 0.0},
        {"params": layers[1], "momentum": 0.5},
    ]
    optimizer = SGD(groups, lr=0.1)
    optimizer.add_param_group({"params": layers[2].weight, "lr": 0.2})
    for layer in layers:
        layer.weight.grad = grad.clone()
    optimizer.step()
    M = tm.Stiefel()
    for layer, x, lr in zip(layers, before, (0.0, 0.1, 0.2), strict=True):
        expected = M.retract(x, -lr * M.gradient(x, grad)) if lr else x
        assert torch.allclose(layer.weight, expected, atol=1e-6)
    assert "momentum_buffer" in optimizer.state[layers[1].weight]
    assert "momentum_buffer" not in optimizer.state[layers[2].weight]


def test_named_parameters():
    model = Mixed()
    optimizer = SGD(model.named_parameters(), lr=0.1)
    run(model, optimizer, 2)
    assert "kernel.weight" in optimizer.state_dict()["param_groups"][0]["param_names"]
    assert max(model.residuals()) < 1e-5


@pytest.mark.parametrize(("ours", "options"), OURS, ids=names(OURS))
def test_learning_rate_zero_moves_nothing(ours, options):
    for lr in (0.0, torch.tensor(0.0)):
        torch.manual_seed(1)
        model = Mixed()
        before = weights(model)
        run(model, ours(model, **{**options, "lr": lr}), 3)
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(("ours", "options"), OURS, ids=names(OURS))
def test_a_tensor_learning_rate_is_that_number(ours, options):
    results = []
    for lr in (options["lr"], torch.tensor(options["lr"]), torch.tensor([options["lr"]])):
        torch.manual_seed(1)
        model = Mixed()
        run(model, ours(model, **{**options, "lr": lr}), 3)
        results.append(weights(model))
    for other in results[1:]:
        for p, q in zip(results[0], other, strict=True):
            assert torch.allclose(p, q, atol=1e-6)


@pytest.mark.parametrize(("ours", "options"), OURS, ids=names(OURS))
def test_gradients_are_never_changed(ours, options):
    torch.manual_seed(1)
    model = Mixed()
    optimizer = ours(model, **options)
    for i in range(3):
        optimizer.zero_grad()
        model(batch(model, i)).pow(2).sum().backward()
        before = [p.grad.clone() for p in model.parameters()]
        optimizer.step()
        now = [p.grad for p in model.parameters()]
        assert all(torch.equal(g, h) for g, h in zip(now, before, strict=True))


@pytest.mark.parametrize(("ours", "options"), OURS, ids=names(OURS))
def test_together_is_one_by_one(ours, options):
    """Also if some gradients are missing at times, so weights of a batch have other step counts."""
    torch.manual_seed(1)
    M = tm.Stiefel()
    points = [M.random(6, 3, dtype=torch.float64) for _ in range(4)]
    together = [nn.Parameter(x.clone()) for x in points]
    alone = [nn.Parameter(x.clone()) for x in points]
    for p in together + alone:
        tm.place_(p, M)
    optimizers = [ours(together, **options), *(ours([p], **options) for p in alone)]
    for i in range(8):
        for k, (p, q) in enumerate(zip(together, alone, strict=True)):
            missing = (i + k) % 3 == 0 and i < 6
            p.grad = None if missing else torch.randn(6, 3, dtype=torch.float64)
            q.grad = None if missing else p.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for p, q, x in zip(together, alone, points, strict=True):
        assert torch.allclose(p, q, rtol=0, atol=1e-12)
        assert not torch.allclose(p, x)


def test_like_weights_move_in_one_call(monkeypatch):
    calls = []
    retract = tm.Stiefel.retract

    def counted(self, x, v):
        calls.append(tuple(x.shape))
        return retract(self, x, v)

    monkeypatch.setattr(tm.Stiefel, "retract", counted)
    model = Mixed()
    run(model, SGD(model, lr=0.1, momentum=0.9), 2)
    assert calls == 2 * [(3, 6, 6)]


def test_missing_gradients_leave_weights_and_state_alone():
    model = Mixed()
    optimizer = Adam(model, lr=0.1)
    before = weights(model)
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert not any(optimizer.state.values())


@pytest.mark.parametrize("ours", [SGD, Adam, RMSprop, Muon])
def test_closures(ours):
    model = Mixed()
    optimizer = ours(model, lr=0.01)

    def closure():
        optimizer.zero_grad()
        loss = model(batch(model)).pow(2).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(20)]
    assert losses[-1] < losses[0]


def test_schedulers_and_hooks():
    model = Mixed()
    optimizer = SGD(model, lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=10)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    for i in range(9):
        run(model, optimizer, 1, start=i)
        scheduler.step()
    assert seen == ["before", "after"] * 9
    assert max(model.residuals()) < 1e-5


@pytest.mark.parametrize("ours", [SGD, Adam, RMSprop, Muon, Landing])
def test_a_scheduler_moves_a_tensor_learning_rate(ours):
    results = []
    for lr in (0.1, torch.tensor(0.1)):
        torch.manual_seed(1)
        model = Mixed()
        optimizer = ours(model, lr=lr)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for i in range(4):
            run(model, optimizer, 1, start=i)
            scheduler.step()
        results.append(weights(model))
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr == pytest.approx(0.1 / 16)
    for p, q in zip(*results, strict=True):
        assert torch.allclose(p, q, atol=1e-5)


@pytest.mark.parametrize(("ours", "options"), OURS, ids=names(OURS))
def test_accumulated_and_clipped_gradients(ours, options):
    """Only the gradient at the step counts, however it was computed."""
    torch.manual_seed(1)
    model = Mixed(torch.float64)
    other = copy.deepcopy(model)
    optimizer, reference = ours(model, **options), ours(other, **options)
    for i in range(3):
        optimizer.zero_grad()
        for part in batch(model, i).chunk(2):
            model(part).pow(2).sum().backward()
        reference.zero_grad()
        other(batch(other, i)).pow(2).sum().backward()
        norms = [torch.nn.utils.clip_grad_norm_(m.parameters(), 0.05) for m in (model, other)]
        assert norms[0] > 0.05
        optimizer.step()
        reference.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(p, q, rtol=0, atol=1e-9)


def test_grad_scaler_and_autocast():
    """A scale that is a power of two changes no bit of a run."""

    def trained(scaled):
        torch.manual_seed(0)
        model = Mixed()
        optimizer = SGD(model, lr=0.05, momentum=0.9)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, enabled=scaled)
        for i in range(5):
            optimizer.zero_grad()
            # The step too is inside: it must not run in half precision.
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(batch(model, i)).pow(2).sum()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
        return model

    model = trained(scaled=True)
    assert same(model, trained(scaled=False))
    assert max(model.residuals()) < 1e-5


def test_replaced_state_is_noticed():
    """A reset of `optimizer.state`, as some scripts do, begins anew."""
    torch.manual_seed(1)
    model = Mixed()
    optimizer = SGD(model, lr=0.1, momentum=0.9)
    run(model, optimizer, 3)
    other = copy.deepcopy(model)
    optimizer.state.clear()
    run(model, optimizer, 1, start=3)
    run(other, SGD(other, lr=0.1, momentum=0.9), 1, start=3)
    assert same(model, other)


@ordinary
@pytest.mark.parametrize(
    ("ours", "options", "message"),
    [
        (SGD, {"lr": -1.0}, "RiemannianSGD: lr must be a number of at least 0.*-1.0"),
        (SGD, {"lr": float("nan")}, "lr must"),
        (SGD, {"lr": torch.ones(2)}, "lr must"),
        (SGD, {"momentum": -0.1}, "momentum must be at least 0, got -0.1"),
        (SGD, {"momentum": "0.9"}, "momentum must be at least 0, got '0.9'"),
        (SGD, {"nesterov": True}, "momentum must be positive with nesterov=True, got 0"),
        (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening must be 0"),
        (SGD, {"weight_decay": -1}, "weight_decay must"),
        (SGD, {"average": "both"}, "average must be in"),
        (SGD, {"nonfinite": "ignore"}, "nonfinite must be in"),
        (Adam, {"betas": (0.9, 1.0)}, "betas must be two numbers in"),
        (Adam, {"betas": (0.9,)}, "betas must"),
        (Adam, {"eps": -1}, "eps must"),
        (Adam, {"second_moment": "vector"}, "second_moment must be in"),
        (RMSprop, {"alpha": 1.0}, r"alpha must be in \[0, 1\), got 1.0"),
        (Muon, {"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        (Muon, {"scale": "wide"}, "scale must be in .'match_rms_adamw'.* got 'wide'"),
        (Muon, {"matrices": "sgd"}, "matrices must be in"),
        (Muon, {"products": "half"}, "products must be in"),
        (Muon, {"betas": (1.0, 0.9)}, "betas must be two numbers in"),
        (RMSprop, {"momentum": -1.0}, "momentum must be at least 0"),
        (SGD, {"fused": True, "foreach": True}, "fused must be None or False with foreach=True"),
    ],
)
def test_options_that_make_no_sense_are_refused(ours, options, message):
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=message):
        ours(layer, **options)
    optimizer = ours([layer.weight])
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [layer.bias], **options})
    assert len(optimizer.param_groups) == 1


@ordinary
@pytest.mark.parametrize("ours", [SGD, Adam, RMSprop, Muon, Landing])
def test_a_constructor_takes_the_options_of_its_rule(ours):
    """With the same name, type and default; the class adds options for ordinary weights and NaN."""
    rule = inspect.signature(ours.rule).parameters
    written = {n: p for n, p in rule.items() if p.kind is p.KEYWORD_ONLY}
    taken = dict(list(inspect.signature(ours).parameters.items())[1:])
    others = {"capturable", "foreach", "fused", "nonfinite"}
    others |= {"betas", "eps", "matrices"} if ours is Muon else set()
    assert taken.keys() - written.keys() <= others
    for name, option in written.items():
        assert taken[name].annotation == option.annotation
        assert taken[name].default == option.default or name == "lr"
    layer = nn.Linear(2, 2)
    assert ours(layer).defaults == {name: option.default for name, option in taken.items()}


def test_what_is_no_model_and_no_parameters():
    with pytest.raises(ValueError, match="a module with parameters"):
        SGD(nn.ReLU(), lr=0.1)
    with pytest.raises(TypeError, match="must be an nn.Module"):
        tm.optim.param_groups([nn.Parameter(torch.ones(1))])
    with pytest.raises(TypeError):
        SGD(torch.ones(1), lr=0.1)


def test_param_groups_read_the_same_both_ways():
    for how in ("riemannian", "parametrized"):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        tm.constrain(model[1], "weight", tm.Stiefel(), how=how)
        groups = tm.optim.param_groups(model, lr=0.1, manifold_lr=0.2)
        assert [(g["lr"], len(g["params"])) for g in groups] == [(0.1, 3), (0.2, 1)]
        optimizer = Adam(groups)
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        assert tm.Stiefel().residual(model[1].weight) < 1e-5
    assert "lr" not in tm.optim.param_groups(model)[0]


def test_sparse_gradients_are_refused_with_the_remedy():
    tables = nn.ModuleList(nn.Embedding(5, 3, sparse=sparse) for sparse in (False, True))
    for table in tables:
        tm.constrain(table, "weight", tm.Sphere(), how="riemannian")
        table(torch.tensor([1])).sum().backward()
    for model in (tables[1], tables):
        with pytest.raises(RuntimeError, match=r"shape \(5, 3\).*sparse=False"):
            SGD(model, lr=0.1).step()
