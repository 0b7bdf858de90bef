"""kfac_lite.optim on `nn.RNN` and `nn.RNNCell`: equation 5.3 for one map of (h, x), against other ways to say it."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from kfac_lite.coordinates import likelihoods, mlp, recurrent, updates
from kfac_lite.optim import KFAC

from .optim_truth import close, model_of, nll, normal, one_step

pytestmark = pytest.mark.no_gauge
EXACT: dict[str, Any] = {"lr": 1.0, "damping": 0, "fisher": "exact", "likelihood": "gaussian"}


class Reader(nn.Module):
    """Reads a sequence and answers from its last states."""

    def __init__(self, rnn: nn.Module, last: int, d: int = 2):
        super().__init__()
        self.rnn, self.out = rnn, nn.Linear(last, d)

    def forward(self, x, h=None):
        _, h_n = self.rnn(x, h)
        return self.out(h_n.transpose(0, 1).flatten(1))


class Cells(nn.Module):
    """`nn.RNN` of one layer, by hand: in order, or against it."""

    def __init__(self, inputs: int, hidden: int, nonlinearity: str = "tanh", bias: bool = True):
        super().__init__()
        self.cell = nn.RNNCell(inputs, hidden, nonlinearity=nonlinearity, bias=bias)
        self.hidden = hidden

    def forward(self, x, h=None, order=1):
        h = x.new_zeros(len(x), self.hidden) if h is None else h[0]
        outputs = []
        for t in range(x.shape[1])[::order]:
            h = self.cell(x[:, t], h)
            outputs.append(h)
        return torch.stack(outputs[::order], 1), h[None]


class Stack(nn.Module):
    """Two layers in two directions, of cells."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([Cells(3, 4), Cells(3, 4), Cells(8, 4), Cells(8, 4)])

    def forward(self, x, h=None):
        last = []
        for i in (0, 2):
            sides = []
            for d in (0, 1):
                start = None if h is None else h[i + d : i + d + 1]
                side, h_n = self.parts[i + d](x, start, -1 if d else 1)
                sides.append(side)
                last.append(h_n)
            x = torch.cat(sides, -1)
        return x, torch.cat(last)


def weights(cells: Any, rnn: Any) -> None:
    with torch.no_grad():
        for part, (name, p) in zip(cells, grouped(rnn)):
            for kind in name:
                getattr(part.cell, kind).copy_(p[kind])


def grouped(rnn: Any) -> Any:
    """For every layer and direction, {weight_ih: ..., ...}."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, p in rnn.named_parameters():
        kind, _, end = name.partition("_l")
        found.setdefault(end, {})[kind] = p
    return [(tuple(p), p) for p in found.values()]


@pytest.mark.parametrize("options", [{}, {"damping": 0.1, "momentum": 0.5, "inverse_every": 2}, {"fisher": "mc"}])
@pytest.mark.parametrize("more", [{}, {"nonlinearity": "relu"}, {"bias": False}])
@pytest.mark.parametrize("start", [False, True])
def test_an_rnn_and_a_loop_of_cells_with_the_same_weights_are_one(more: Any, start: bool, options: Any):
    x, y = normal(1, 30, 4, 3), normal(2, 30, 2)
    h = normal(3, 1, 30, 4) if start else None
    options = {**EXACT, "lr": 0.05, **options}
    if options["fisher"] == "mc":
        options["damping"] = 0.1
    whole: Any = model_of(Reader(nn.RNN(3, 4, batch_first=True, **more), 4))[0]  # type: ignore[index]
    loop: Any = model_of(Reader(Cells(3, 4, **more), 4))[0]  # type: ignore[index]
    weights([loop.rnn], whole.rnn)
    loop.out.load_state_dict(whole.out.state_dict())
    opts = [KFAC(model, **options) for model in (whole, loop)]
    for _ in range(3):
        for opt, model in zip(opts, (whole, loop)):
            opt.zero_grad()
            nll("gaussian", model(x, h), y).backward()
            opt.step()
    close(whole(x, h).detach(), loop(x, h).detach(), 1e-10)
    (first, second), others = opts[0].factors().values(), opts[1].factors().values()
    for mine, theirs in zip((first, second), others):
        close(mine[0], theirs[0], 1e-10)
        close(mine[1], theirs[1], 1e-10)
    assert list(opts[0].factors()) == ["rnn.l0", "out"] and list(opts[1].factors()) == ["rnn.cell", "out"]


@pytest.mark.parametrize("start", [False, True])
def test_two_layers_in_two_directions_are_four_maps(start: bool):
    x, y = normal(1, 30, 4, 3), normal(2, 30, 2)
    h = normal(3, 4, 30, 4) if start else None
    rnn = nn.RNN(3, 4, 2, batch_first=True, bidirectional=True)
    whole: Any = model_of(Reader(rnn, 16))[0]  # type: ignore[index]
    loop: Any = model_of(Reader(Stack(), 16))[0]  # type: ignore[index]
    weights(loop.rnn.parts, whole.rnn)
    loop.out.load_state_dict(whole.out.state_dict())
    ends = []
    for model in (whole, loop):
        opt = KFAC(model, **{**EXACT, "damping": 0.1})
        nll("gaussian", model(x, h), y).backward()
        opt.step()
        ends.append((model(x, h).detach(), list(opt.factors().values())))
        if model is whole:
            assert list(opt.factors()) == ["rnn.l0", "rnn.l0_reverse", "rnn.l1", "rnn.l1_reverse", "out"]
    close(ends[0][0], ends[1][0], 1e-10)
    for mine, theirs in zip(ends[0][1], ends[1][1]):
        close(mine[0], theirs[0], 1e-10)
        close(mine[1], theirs[1], 1e-10)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("form", ["batch", "single", "packed", "sorted"])
def test_the_outputs_are_torchs_in_every_form(form: str, batch_first: bool, bidirectional: bool):
    rnn: Any = nn.RNN(3, 4, 2, batch_first=batch_first, bidirectional=bidirectional).double()
    x: Any = normal(1, 5, 6, 3)
    n, states = (5 if batch_first else 6), 4 if bidirectional else 2
    if form == "single":
        x = x[0]
    elif form != "batch":
        lengths = [2, 5, 1, 4, 5] if batch_first else [2, 5, 1, 4, 5, 3]
        lengths = sorted(lengths, reverse=True) if form == "sorted" else lengths
        x = pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=form == "sorted")
        form = "packed"
    for h in (None, normal(2, states, 4) if form == "single" else normal(2, states, n, 4)):
        with torch.no_grad():
            truth, last = rnn(x, h)
        opt = KFAC(rnn, lr=0.1, fisher="empirical")
        output, h_n = rnn(x, h)
        assert (output[0] if form == "packed" else output).grad_fn is not None
        if form == "packed":
            assert torch.equal(output.batch_sizes, truth.batch_sizes)
            output, truth = (pad_packed_sequence(o, batch_first=batch_first)[0] for o in (output, truth))
        close(output.detach(), truth, 1e-13)
        close(h_n.detach(), last, 1e-13)
        del opt


def test_padding_of_a_packed_batch_counts_nowhere():
    """Factors are those of the sequences, each read alone, weighted by the numbers of their steps."""
    lengths, x, y = [2, 5, 1, 4], normal(1, 4, 5, 3), normal(2, 4, 2)
    make = lambda: model_of(Reader(nn.RNN(3, 4, batch_first=True), 4))[0]  # type: ignore[index]
    found = []
    for padding in (0.0, 9.0):
        data = x.clone()
        for i, length in enumerate(lengths):
            data[i, length:] = padding
        model: Any = make()
        opt = KFAC(model, **{**EXACT, "damping": 0.1})
        packed = pack_padded_sequence(data, lengths, batch_first=True, enforce_sorted=False)
        nll("gaussian", model(packed), y).backward()
        opt.step()
        found.append(opt.factors()["rnn.l0"])
    close(found[0][0], found[1][0], 0)
    A: Any = 0
    G: Any = 0
    for i, length in enumerate(lengths):
        model = make()
        opt = KFAC(model, **{**EXACT, "damping": 0.1})
        nll("gaussian", model(x[i : i + 1, :length]), y[i : i + 1]).backward()
        opt.step()
        pair = opt.factors()["rnn.l0"]
        A, G = A + pair[0] / 4, G + pair[1] * length / sum(lengths)
    close(found[0][0], A)
    close(found[0][1], G)


def test_undamped_exact_factors_and_steps_are_those_of_the_coordinate_recurrence():
    """(W V b), (U d): one map of the pair, in the coordinate code; two weights and two biases here (eq. 5.3)."""
    eye, zero = (lambda m: torch.eye(m).double()), (lambda m: torch.zeros(m).double())
    layer = lambda m, phi: mlp.Layer(phi, eye(m), zero(m), eye(m), zero(m))
    for start in (zero(4), normal(4, 4)):
        net = recurrent.RecurrentNetwork((layer(4, mlp.tanh), layer(2, mlp.identity)), start, likelihoods.gaussian)
        w = [normal(5, 4, 8) / 3, normal(6, 2, 5)]
        x, y = normal(1, 40, 5, 3), normal(2, 40, 2)
        module: Any = Reader(nn.RNN(3, 4, batch_first=True), 4).double()
        with torch.no_grad():
            module.rnn.weight_hh_l0.copy_(w[0][:, :4])
            module.rnn.weight_ih_l0.copy_(w[0][:, 4:7])
            module.rnn.bias_hh_l0.copy_(w[0][:, 7] - 1)
            module.rnn.bias_ih_l0.fill_(1)
            module.out.weight.copy_(w[1][:, :4])
            module.out.bias.copy_(w[1][:, 4])
        h = start.expand(1, 40, 4)
        opt = KFAC(module, **EXACT)
        nll("gaussian", module(x, h), y).backward()
        opt.step()
        factors = recurrent.factors(net, w, x)
        for mine, truth in zip(opt.factors().values(), factors):
            close(mine[0], truth[0])
            close(mine[1], truth[1])
        new = updates.kfac(w, recurrent.gradient(net, w, x, y), factors, 1.0)
        rnn = module.rnn
        bias = (rnn.bias_hh_l0 + rnn.bias_ih_l0)[:, None]
        close(torch.cat([rnn.weight_hh_l0, rnn.weight_ih_l0, bias], 1).detach(), new[0])
        close(torch.cat([module.out.weight, module.out.bias[:, None]], 1).detach(), new[1])


def test_one_step_from_zero_has_a_singular_factor_and_a_given_state_has_not():
    """T = 1 and h_0 = 0: the columns of W have nothing to say, and that is told."""
    from kfac_lite.errors import DegenerateMetricError

    x, y = normal(1, 30, 1, 3), normal(2, 30, 2)
    model: Any = model_of(Reader(nn.RNN(3, 4, batch_first=True), 4))[0]  # type: ignore[index]
    opt = KFAC(model, **EXACT)
    nll("gaussian", model(x), y).backward()
    with pytest.raises(DegenerateMetricError, match=r"layer 'rnn.l0': the factor A, .*rank 4 of 8"):
        opt.step()
    opt.zero_grad()
    model: Any = model_of(Reader(nn.RNN(3, 4, batch_first=True), 4, d=4))[0]  # type: ignore[index]
    opt = KFAC(model, **EXACT)
    nll("gaussian", model(x, normal(3, 1, 30, 4)), normal(2, 30, 4)).backward()
    opt.step()
    assert all(p.isfinite().all() for p in model.parameters())


def test_evaluation_state_and_what_is_not_treated():
    x, y = normal(1, 12, 4, 3), normal(2, 12, 2)
    model: Any = model_of(Reader(nn.RNN(3, 4, batch_first=True), 4))[0]  # type: ignore[index]
    opt = KFAC(model, lr=0.1, momentum=0.9, damping=0.1, likelihood="gaussian")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses = [float(one_step(opt, model, x, y, "gaussian")) for _ in range(20)]
    assert losses[-1] < losses[0]
    state = opt.state_dict()
    with torch.no_grad():
        model(x)
    other: Any = model_of(Reader(nn.RNN(3, 4, batch_first=True), 4))[0]  # type: ignore[index]
    other.load_state_dict(model.state_dict())
    again = KFAC(other, lr=0.1, momentum=0.9, damping=0.1, likelihood="gaussian")
    again.load_state_dict(state)
    for m, o in ((model, opt), (other, again)):
        one_step(o, m, x, y, "gaussian")
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters()))
    with pytest.warns(UserWarning, match=r"'rnn' \(RNN with dropout between its layers\)"):
        KFAC(Reader(nn.RNN(3, 4, 2, dropout=0.5), 8), lr=0.1, likelihood="gaussian")
    model.rnn.weight_hh_l0.requires_grad_(False)
    opt.zero_grad()
    nll("gaussian", model(x), y).backward()
    with pytest.raises(ValueError, match=r"layer 'rnn.l0': its weights are one block, .* Freeze all of them, or none"):
        opt.step()
