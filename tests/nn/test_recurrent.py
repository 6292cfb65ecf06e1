"""OrthogonalRNN: results of nn.RNN for equal weights, manifolds kept in training, loud errors."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import torchmanifold as tm
from torchmanifold.nn import OrthogonalRNN, init

HOWS = ("parametrized", "riemannian")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def twins(how="riemannian", nonlinearity="tanh", bias=True, **options):
    """Ours and an nn.RNN with the same weights, constrained in the same way."""
    ours = OrthogonalRNN(
        3, 6, nonlinearity=nonlinearity, bias=bias, how=how, dtype=torch.float64, **options
    )
    peer = nn.RNN(3, 6, nonlinearity=nonlinearity, bias=bias, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, weight in peer.named_parameters():
            if name.startswith("bias_hh"):
                weight.zero_()
            elif name.startswith("bias"):
                weight.uniform_()
                getattr(ours, name).copy_(weight)
            else:
                weight.copy_(getattr(ours, name))
    tm.constrain(peer, "weight_hh_l*", tm.SpecialOrthogonal(), how=how)
    return ours, peer


def gradients(module):
    return {name: p.grad for name, p in module.named_parameters() if not name.startswith("bias_hh")}


def compare(ours, peer, x, hx):
    """Outputs, last states, and all gradients of a loss that reads both."""
    results = []
    for rnn in (ours, peer):
        hx_ = None if hx is None else hx.clone().requires_grad_()
        data = x.data.clone().requires_grad_()
        x_ = x._replace(data=data) if isinstance(x, nn.utils.rnn.PackedSequence) else data
        output, h_n = rnn(x_, hx_)
        values = output.data if isinstance(output, nn.utils.rnn.PackedSequence) else output
        weights = torch.linspace(0, 1, values.numel(), dtype=values.dtype).view(values.shape)
        ((values * weights).sum() + h_n.square().sum()).backward()
        results.append((values, h_n, data.grad, hx_ if hx is None else hx_.grad, output))
    *mine, my_output = results[0]
    *theirs, their_output = results[1]
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert type(my_output) is type(their_output)
    if isinstance(my_output, nn.utils.rnn.PackedSequence):
        for a, b in zip(my_output[1:], their_output[1:], strict=True):
            torch.testing.assert_close(a, b)
    torch.testing.assert_close(gradients(ours), gradients(peer))


@pytest.mark.parametrize(
    ("layers", "bidirectional"), [(1, False), (1, True), (2, False), (2, True)]
)
@pytest.mark.parametrize("kind", ["time first", "batch first", "unbatched", "packed", "sorted"])
@pytest.mark.parametrize("state", [False, True], ids=["from zero", "given state"])
@pytest.mark.parametrize("how", HOWS)
def test_equals_nn_rnn(layers, bidirectional, kind, state, how):
    options = {"num_layers": layers, "bidirectional": bidirectional}
    # batch_first is to be ignored for unbatched and packed input.
    options["batch_first"] = kind in ("batch first", "unbatched", "packed")
    ours, peer = twins(how, **options)
    batch = 4
    if kind in ("packed", "sorted"):
        lengths = (2, 5, 1, 5) if kind == "packed" else (5, 5, 2, 1)
        sequences = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
        x = pack_sequence(sequences, enforce_sorted=kind == "sorted")
    elif kind == "unbatched":
        x = torch.randn(5, 3, dtype=torch.float64)
    else:
        x = torch.randn(5, batch, 3, dtype=torch.float64)
        x = x.transpose(0, 1) if kind == "batch first" else x
    rows = layers * (1 + bidirectional)
    hx = None
    if state:
        hx = torch.randn(*((rows, 6) if kind == "unbatched" else (rows, batch, 6))).double()
    compare(ours, peer, x, hx)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_equals_nn_rnn_with_and_without_bias(nonlinearity, bias):
    ours, peer = twins(nonlinearity=nonlinearity, bias=bias)
    compare(ours, peer, torch.randn(5, 4, 3, dtype=torch.float64), None)


@pytest.mark.parametrize("nonlinearity", ["modrelu", "identity", torch.nn.functional.softsign])
def test_equals_a_plain_loop(nonlinearity):
    rnn = OrthogonalRNN(3, 5, nonlinearity=nonlinearity)
    with torch.no_grad():
        rnn.bias_ih_l0.uniform_(-1, 1)
    x, h = torch.randn(6, 2, 3), torch.randn(2, 5)
    output, h_n = rnn(x, h[None])
    for t in range(6):
        z = x[t] @ rnn.weight_ih_l0.T + h @ rnn.weight_hh_l0.T
        if nonlinearity == "modrelu":
            h = z.sign() * torch.relu(z.abs() + rnn.bias_ih_l0)
        else:
            h = z + rnn.bias_ih_l0
            h = h if nonlinearity == "identity" else nonlinearity(h)
        torch.testing.assert_close(output[t], h)
    torch.testing.assert_close(h_n[0], h)


def test_dropout_between_layers_in_training_alone():
    rnn = OrthogonalRNN(3, 50, num_layers=2, dropout=0.5)
    plain = OrthogonalRNN(3, 50, num_layers=2)
    plain.load_state_dict(rnn.state_dict())
    x = torch.randn(5, 4, 3)
    assert not torch.allclose(rnn(x)[0], plain(x)[0])
    torch.testing.assert_close(rnn(x)[1][0], plain(x)[1][0])  # the first layer reads x itself
    torch.testing.assert_close(rnn.eval()(x), plain(x))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("manifold", [tm.SpecialOrthogonal(retraction=tm.Exp()), tm.Stiefel()])
def test_training_stays_on_the_manifold(how, manifold):
    rnn = OrthogonalRNN(2, 16, num_layers=2, how=how, manifold=manifold)
    before = rnn.weight_hh_l1.detach().clone()
    if how == "parametrized":
        optimizer = torch.optim.RMSprop(rnn.parameters(), lr=1e-2)
    else:
        optimizer = tm.optim.RiemannianAdam(rnn, lr=1e-2)
    x, target = torch.randn(20, 8, 2), torch.randn(8, 16)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = (rnn(x)[1][-1] - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    for name in ("weight_hh_l0", "weight_hh_l1"):
        weight = getattr(rnn, name)
        assert manifold.residual(weight) <= manifold.tolerance(weight.shape, weight.dtype)
    assert (rnn.weight_hh_l1 - before).norm() > 0.1
    assert tm.manifold_of(rnn, "weight_hh_l1") == manifold


@pytest.mark.parametrize("packed", [False, True])
def test_each_kernel_is_evaluated_once_a_forward(packed):
    rnn = OrthogonalRNN(3, 5, num_layers=2, bidirectional=True)
    calls = []
    for chain in rnn.parametrizations.values():
        chain[0].register_forward_hook(lambda module, *_: calls.append(module))
    x = [torch.randn(n, 3) for n in (4, 2)]
    output, _ = rnn(pack_sequence(x) if packed else x[0])
    (output.data if packed else output).sum().backward()
    assert len(calls) == len(set(calls)) == 4


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", init.INITIALIZATIONS)
def test_starts_where_init_says(how, name):
    rnn = OrthogonalRNN(3, 6, how=how, init=name)
    rnn.reset_parameters(torch.Generator().manual_seed(1))
    first, weight_ih = rnn.weight_hh_l0.detach().clone(), rnn.weight_ih_l0.detach().clone()
    rnn.reset_parameters(torch.Generator().manual_seed(2))
    assert torch.equal(first, rnn.weight_hh_l0) == (name == "identity")
    rnn.reset_parameters(torch.Generator().manual_seed(1))
    assert torch.equal(first, rnn.weight_hh_l0) and torch.equal(weight_ih, rnn.weight_ih_l0)
    g = torch.Generator().manual_seed(1)
    nn.init.kaiming_normal_(torch.empty(6, 3), nonlinearity="relu", generator=g)
    torch.testing.assert_close(first, init.INITIALIZATIONS[name](6, generator=g))
    assert 0 < rnn.bias_ih_l0.abs().max() <= 0.01


def test_autocast_keeps_the_recurrence_in_float32():
    rnn = OrthogonalRNN(3, 8)
    x = torch.randn(30, 2, 3)
    plain = rnn(x)
    with torch.autocast("cpu", torch.bfloat16):
        inside = rnn(x)
        half = rnn(x.bfloat16())
    assert inside[0].dtype == half[0].dtype == torch.float32
    torch.testing.assert_close(inside, plain, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype):
    rnn = OrthogonalRNN(3, 8, dtype=dtype)
    x = torch.randn(4, 2, 3, dtype=dtype)
    output, h_n = rnn(x)
    output.sum().backward()
    assert output.dtype == h_n.dtype == rnn.weight_hh_l0.dtype == dtype
    assert OrthogonalRNN(3, 8).to(dtype)(x)[0].dtype == dtype


@pytest.mark.parametrize("how", HOWS)
def test_copies_pickles_and_state_dicts(how):
    rnn = OrthogonalRNN(3, 5, num_layers=2, bidirectional=True, how=how)
    x = torch.randn(4, 2, 3)
    wanted = rnn(x)
    wanted[0].sum().backward()
    file = io.BytesIO()
    torch.save(rnn, file)
    file.seek(0)
    other = OrthogonalRNN(3, 5, num_layers=2, bidirectional=True, how=how)
    other.load_state_dict(rnn.state_dict())
    for twin in (
        copy.deepcopy(rnn),
        pickle.loads(pickle.dumps(rnn)),
        torch.load(file, weights_only=False),
        other,
    ):
        torch.testing.assert_close(twin(x), wanted)
        assert tm.manifold_of(twin, "weight_hh_l1_reverse") == tm.SpecialOrthogonal()


def test_names_and_defaults():
    rnn = OrthogonalRNN(3, 5, bidirectional=True)
    plain = tm.parametrize.plain_state_dict(rnn)
    wanted = {n for n in nn.RNN(3, 5, bidirectional=True).state_dict() if "bias_hh" not in n}
    assert set(plain) == wanted
    tm.unconstrain(rnn, "weight_hh_l*")
    assert set(dict(rnn.named_parameters())) == wanted
    assert type(rnn) is OrthogonalRNN
    assert repr(OrthogonalRNN(3, 5, how="riemannian")) == "OrthogonalRNN(3, 5)"
    shown = repr(OrthogonalRNN(3, 5, 2, "tanh", how="riemannian", init="haar"))
    assert shown == "OrthogonalRNN(3, 5, num_layers=2, nonlinearity='tanh', init='haar')"
    rnn.flatten_parameters()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("nonlinearity", ["modrelu", "tanh"])
def test_compiled(how, nonlinearity):
    rnn = OrthogonalRNN(3, 5, 2, nonlinearity, bidirectional=True, how=how)
    compiled = torch.compile(rnn, backend="aot_eager", fullgraph=True)
    x = torch.randn(4, 2, 3)
    results = []
    for module in (rnn, compiled):
        rnn.zero_grad()
        output, h_n = module(x)
        (output.sum() + h_n.square().sum()).backward()
        results.append([output, h_n, *(p.grad.clone() for p in rnn.parameters())])
    torch.testing.assert_close(*results)


def test_packed_input_of_a_compiled_network_runs_outside_the_graph():
    rnn = OrthogonalRNN(3, 5, bidirectional=True)
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 5, 1)], enforce_sorted=False)
    results = []
    for module in (rnn, torch.compile(rnn, backend="aot_eager")):
        rnn.zero_grad()
        output, h_n = module(packed)
        output.data.square().sum().backward()
        results.append([output.data, h_n, *(p.grad.clone() for p in rnn.parameters())])
    torch.testing.assert_close(*results)


def test_functional_call_gives_gradients():
    rnn = OrthogonalRNN(3, 5)
    x = torch.randn(4, 2, 3)

    def loss(parameters):
        return torch.func.functional_call(rnn, parameters, (x,))[0].square().sum()

    found = torch.func.grad(loss)(dict(rnn.named_parameters()))
    loss(dict(rnn.named_parameters())).backward()
    for name, parameter in rnn.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_an_empty_batch_is_no_error():
    output, h_n = OrthogonalRNN(3, 5)(torch.randn(4, 0, 3))
    assert output.shape == (4, 0, 5) and h_n.shape == (1, 0, 5)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"hidden_size": 0}, ValueError, "hidden_size must be greater than zero, got 0"),
        ({"input_size": -1}, ValueError, "input_size must be greater than zero, got -1"),
        ({"num_layers": 0}, ValueError, "num_layers must be greater than zero, got 0"),
        ({"hidden_size": 5.0}, TypeError, "hidden_size should be of type int, got: float"),
        ({"bias": 1}, TypeError, "bias should be of type bool, got: int"),
        ({"batch_first": None}, TypeError, "batch_first should be of type bool"),
        ({"dropout": 1.5}, ValueError, r"dropout should be a number in \[0, 1\].* got 1.5"),
        ({"nonlinearity": "modrelo"}, ValueError, "'modrelo'; did you mean 'modrelu'"),
        ({"nonlinearity": None}, ValueError, "nonlinearity must be one of 'modrelu'.*function"),
        ({"init": "hennaf"}, ValueError, "init must be one of.*'hennaf'; did you mean 'henaff'"),
        ({"bias": False}, ValueError, "bias=False.*identity; leave bias=True or pass non"),
        ({"how": "rieman"}, ValueError, 'how must be "parametrized" or "riemannian"'),
        ({"manifold": "so"}, TypeError, "manifold must be a manifold such as"),
    ],
)
def test_bad_arguments(options, kind, message):
    with pytest.raises(kind, match=message):
        OrthogonalRNN(**{"input_size": 3, "hidden_size": 5, **options})


def test_dropout_without_effect_warns_as_nn_rnn_does():
    with pytest.warns(UserWarning, match="num_layers greater than 1") as caught:
        OrthogonalRNN(3, 5, dropout=0.5)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("x", "hx", "kind", "message"),
    [
        ((3,), None, ValueError, "2D or 3D, got 1D"),
        ((4, 2, 4), None, RuntimeError, "must be equal to input_size. Expected 3, got 4"),
        ((0, 2, 3), None, RuntimeError, r"\(0, 2, 3\) is a sequence of length zero"),
        ((0, 3), None, RuntimeError, "length zero"),
        ((4, 2, 3), (1, 3, 5), RuntimeError, r"hx of shape \(1, 2, 5\).*got \(1, 3, 5\)"),
        ((4, 2, 3), (2, 5), RuntimeError, r"hx of shape \(1, 2, 5\).*got \(2, 5\)"),
        ((4, 3), (1, 1, 5), RuntimeError, r"hx of shape \(1, 5\).*got \(1, 1, 5\)"),
    ],
)
def test_bad_input(x, hx, kind, message):
    hx = None if hx is None else torch.zeros(hx)
    with pytest.raises(kind, match=message):
        OrthogonalRNN(3, 5)(torch.zeros(x), hx)


def test_bad_dtypes_and_packed_states():
    rnn = OrthogonalRNN(3, 5)
    with pytest.raises(ValueError, match=r"input dtype \(torch.float64\).*model.to\(torch.float64"):
        rnn(torch.zeros(4, 2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="hx dtype"):
        rnn(torch.zeros(4, 2, 3), torch.zeros(1, 2, 5, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"hx must be a tensor of shape \(1, 2, 5\), got a tuple"):
        rnn(torch.zeros(4, 2, 3), (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5)))
    packed = pack_sequence([torch.zeros(2, 3), torch.zeros(3, 3)], enforce_sorted=False)
    with pytest.raises(RuntimeError, match=r"hx of shape \(1, 2, 5\)"):
        rnn(packed, torch.zeros(1, 1, 5))
    with pytest.raises(RuntimeError, match="length zero"):
        OrthogonalRNN(3, 5, batch_first=True)(torch.zeros(2, 0, 3))
