"""kfac_lite.optim: twin tests, two spellings of one model that must take one step; and what it does not treat."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from kfac_lite.errors import DegenerateMetricError
from kfac_lite.optim import KFAC

from .optim_truth import close, model_of, nll, normal, one_step

pytestmark = pytest.mark.no_gauge
DAMPINGS: dict[str, dict[str, Any]] = {
    "none": {"damping": 0},
    "factored": {"damping": 0.1},
    "exact": {"damping": 0.1, "damping_form": "exact"},
    "momentum": {"damping": 0.1, "momentum": 0.9, "inverse_every": 2},
    "clipped": {"damping": 0.1, "kl_clip": 1e-4},
}


def train(model: nn.Module, x: Any, y: Any, steps: int = 3, prepare: Any = None, **more: Any) -> Any:
    options = {"fisher": "exact", "likelihood": "gaussian", "lr": 0.3, **more}
    opt = KFAC(model, **options)
    for step in range(steps):
        opt.zero_grad()
        nll("gaussian", model(x), y).backward()
        if prepare:
            prepare(step, opt)
        opt.step()
    return opt


def copy_weights(target: Any, source: Any) -> None:
    with torch.no_grad():
        target.copy_(source)


@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [2, 4])
def test_a_grouped_convolution_is_so_many_convolutions(groups: int, bias: bool, damping: str):
    """O2, depthwise too. A trust region is one for the model, hence the same for both spellings."""

    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            m = {2: 6, 4: 4}[groups]
            self.parts = nn.ModuleList(nn.Conv2d(4 // groups, m // groups, 2, bias=bias) for _ in range(groups))

        def forward(self, x):
            return torch.cat([part(h) for part, h in zip(self.parts, x.chunk(groups, 1))], 1)

    m = {2: 6, 4: 4}[groups]
    x, y = normal(1, 12, 4, 3, 3), normal(2, 12, 4 * m)
    joined: Any = model_of(nn.Conv2d(4, m, 2, groups=groups, bias=bias), nn.Flatten())
    halves: Any = model_of(Halves(), nn.Flatten())
    for i, part in enumerate(halves[0].parts):
        copy_weights(part.weight, joined[0].weight.chunk(groups)[i])
        if bias:
            copy_weights(part.bias, joined[0].bias.chunk(groups)[i])
    first = train(joined, x, y, **DAMPINGS[damping])
    train(halves, x, y, **DAMPINGS[damping])
    close(joined[0].weight.detach(), torch.cat([part.weight for part in halves[0].parts]).detach(), 1e-10)
    close(joined(x).detach(), halves(x).detach(), 1e-10)
    A, G = first.factors()["0"]
    assert A.shape == (groups, 16 // groups + bias, 16 // groups + bias) and G.shape == (
        groups,
        m // groups,
        m // groups,
    )


@pytest.mark.parametrize("form", ["factored", "exact"])
@pytest.mark.parametrize("each", [False, True])
def test_a_metric_for_a_grouped_convolution_is_one_pair_for_all_groups_or_one_for_each(each: bool, form: str):
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(nn.Conv1d(2, 3, 2) for _ in range(2))

        def forward(self, x):
            return torch.cat([part(h) for part, h in zip(self.parts, x.chunk(2, 1))], 1)

    x, y = normal(1, 12, 4, 3), normal(2, 12, 12)
    positive = lambda seed, n: normal(seed, n, n) @ normal(seed, n, n).mT + torch.eye(n).double()
    pairs = [(positive(3, 5), positive(4, 3)), (positive(5, 5), positive(6, 3))][: 1 + each]
    joined: Any = model_of(nn.Conv1d(4, 6, 2, groups=2), nn.Flatten())
    halves: Any = model_of(Halves(), nn.Flatten())
    for i, part in enumerate(halves[0].parts):
        copy_weights(part.weight, joined[0].weight.chunk(2)[i])
        copy_weights(part.bias, joined[0].bias.chunk(2)[i])
    whole = tuple(torch.stack(parts) for parts in zip(*pairs)) if each else pairs[0]
    options: Any = {"damping": 0.3, "damping_form": form}
    train(joined, x, y, metric={"0": whole}, **options)
    train(halves, x, y, metric={f"0.parts.{i}": pairs[i * each] for i in range(2)}, **options)
    close(joined(x).detach(), halves(x).detach(), 1e-10)


def test_the_group_whose_factor_is_singular_is_named_whatever_the_scale_of_the_others():
    x = normal(1, 40, 2, 2) * torch.tensor([1e-4, 1e4]).double()[:, None]
    x[:, 1, 1] = 2 * x[:, 1, 0]
    model = model_of(nn.Conv1d(2, 2, 2, groups=2), nn.Flatten())
    opt = KFAC(model, lr=0.1, damping=0, fisher="exact", likelihood="gaussian")
    nll("gaussian", model(x), normal(2, 40, 2)).backward()
    with pytest.raises(DegenerateMetricError, match=r"layer '0', group 1: the factor A, .* \(rank 2 of 3\)"):
        opt.step()


@pytest.mark.parametrize("damping", DAMPINGS)
def test_a_convolution_of_one_place_and_a_linear_map_on_tokens_are_one(damping: str):
    """O4: the number of places counts outputs."""

    class Turn(nn.Module):
        def forward(self, x):
            return x.mT

    x, y = normal(1, 12, 3, 5), normal(2, 12, 10)
    conv: Any = model_of(nn.Conv1d(3, 2, 1), Turn(), nn.Tanh(), nn.Flatten())
    tokens: Any = model_of(Turn(), nn.Linear(3, 2), nn.Tanh(), nn.Flatten())
    copy_weights(tokens[1].weight, conv[0].weight[..., 0])
    copy_weights(tokens[1].bias, conv[0].bias)
    a, b = train(conv, x, y, **DAMPINGS[damping]), train(tokens, x, y, **DAMPINGS[damping])
    close(conv(x).detach(), tokens(x).detach(), 1e-10)
    for left, right in zip(a.factors()["0"], b.factors()["1"]):
        close(left, right, 1e-10)


def test_a_filter_as_large_as_the_image_is_a_linear_layer_and_a_stride_counts_its_own_places():
    x, y = normal(1, 20, 1, 3, 4), normal(2, 20, 2)
    conv: Any = model_of(nn.Conv2d(1, 2, (3, 4)), nn.Flatten())
    linear: Any = model_of(nn.Flatten(), nn.Linear(12, 2))
    copy_weights(linear[1].weight, conv[0].weight.flatten(1))
    copy_weights(linear[1].bias, conv[0].bias)
    for name in DAMPINGS:
        train(conv, x, y, **DAMPINGS[name])
        train(linear, x, y, **DAMPINGS[name])
        close(conv(x).detach(), linear(x).detach(), 1e-10)
    opt = train(
        model_of(nn.Conv2d(1, 4, 3, stride=2), nn.Flatten()), normal(1, 5, 1, 8, 8), normal(2, 5, 36), 1, damping=1
    )
    A, _ = opt.factors()["0"]
    assert float(A[-1, -1]) == pytest.approx(9, abs=1e-12)  # |T| times the mean of 1 times 1


@pytest.mark.parametrize("damping", DAMPINGS)
def test_a_bias_is_a_weight_on_a_constant_1(damping: str):
    """O6, for a linear layer and a convolution."""

    class One(nn.Module):
        def forward(self, x):
            return torch.cat([x, torch.ones_like(x[:, :1])], 1)

    for shape, make in (((3,), nn.Linear), ((3, 2), lambda i, o, **more: nn.Conv1d(i, o, 1, **more))):
        x, y = normal(1, 12, *shape), normal(2, 12, 2 * (shape[1] if len(shape) > 1 else 1))
        biased: Any = model_of(make(3, 2), nn.Tanh(), nn.Flatten())
        plain: Any = model_of(One(), make(4, 2, bias=False), nn.Tanh(), nn.Flatten())
        copy_weights(plain[1].weight.flatten(1)[:, :3], biased[0].weight.flatten(1))
        copy_weights(plain[1].weight.flatten(1)[:, 3], biased[0].bias)
        clip = lambda step, opt: nn.utils.clip_grad_norm_(opt.param_groups[0]["params"], 0.1 * (step + 1))
        train(biased, x, y, prepare=clip, **DAMPINGS[damping])
        train(plain, x, y, prepare=clip, **DAMPINGS[damping])
        close(biased(x).detach(), plain(x).detach(), 1e-10)


class Repeated(nn.Module):
    def __init__(self, layer: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second, self.out = layer, second, nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.second(torch.tanh(self.first(x)))))


def test_one_layer_under_two_names_and_two_layers_that_share_their_parameters_are_one_block():
    """O7. Sums written out for a layer used twice stand in test_optim_factors."""
    x, y = normal(1, 12, 3), normal(2, 12, 2)
    layer = nn.Linear(3, 3)
    named: Any = model_of(Repeated(layer, layer))
    other = nn.Linear(3, 3)
    tied: Any = model_of(Repeated(other, nn.Linear(3, 3)))
    tied[0].second.weight, tied[0].second.bias = other.weight, other.bias
    tied.load_state_dict(named.state_dict())
    a = train(named, x, y, damping=0.1, momentum=0.5)
    b = train(tied, x, y, damping=0.1, momentum=0.5)
    assert list(a.factors()) == list(b.factors()) == ["0.first", "0.out"]
    assert torch.equal(named(x), tied(x))
    assert tied[0].second.weight is tied[0].first.weight


def test_a_weight_tied_to_an_embedding_is_named_with_both_owners_and_moves_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.mid, self.head = nn.Embedding(5, 3), nn.Linear(3, 3), nn.Linear(3, 5, bias=False)
            self.head.weight = self.emb.weight

        def forward(self, i):
            return self.head(torch.tanh(self.mid(self.emb(i))))

    model: Any = Tied()
    i, y = torch.arange(4), torch.arange(4)
    with pytest.warns(UserWarning, match=r"'emb' \(Embedding, shares .* 'head'\), 'head' \(Linear, shares .* 'emb'"):
        opt = KFAC(model, lr=0.1, momentum=0.9, likelihood="categorical")
    before = copy.deepcopy(model)
    for m in (model, before):
        nn.functional.cross_entropy(m(i), y).backward()
    opt.step()
    assert model.head.weight is model.emb.weight
    torch.testing.assert_close(model.emb.weight, before.emb.weight - 0.1 * before.emb.weight.grad)
    assert list(opt.factors()) == ["mid"]


def test_in_place_activations_change_nothing():
    """O9: also behind a linear map on tokens, whose output is a view in torch, and residual sums."""

    class Residual(nn.Module):
        def __init__(self, f, inplace):
            super().__init__()
            self.f, self.inplace = f, inplace

        def forward(self, x):
            z = self.f(x)
            if self.inplace:
                z += x
                return z
            return z + x

    for shape, size in (((3,), 2), ((4, 3), 8)):
        x, y = normal(1, 15, *shape), normal(2, 15, size)
        ends = []
        for inplace in (True, False):
            model = model_of(
                nn.Linear(3, 3),
                nn.ReLU(inplace=inplace),
                Residual(nn.Linear(3, 3), inplace),
                nn.Linear(3, 2),
                nn.Flatten(),
            )
            opt = train(model, x, y, damping=0.1)
            ends.append((model(x).detach(), opt.factors()))
        close(ends[0][0], ends[1][0], 0)
        for name in ends[0][1]:
            for left, right in zip(ends[0][1][name], ends[1][1][name]):
                close(left, right, 0)


def test_data_that_is_overwritten_before_the_step_does_no_harm_and_an_activation_is_refused():
    """A loader's static buffer: x changes after backward()."""
    x, y = normal(1, 12, 3), normal(2, 12, 2)
    ends = []
    for overwrite in (True, False):
        model, data = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), x.clone()
        opt = KFAC(model, lr=0.1, likelihood="gaussian")
        nll("gaussian", model(data), y).backward()
        if overwrite:
            data.mul_(2)
        opt.step()
        ends.append(model(x).detach())
    close(ends[0], ends[1], 0)
    kept = []
    model = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    model[1].register_forward_hook(lambda m, i, o: kept.append(o))
    opt = KFAC(model, lr=0.1, likelihood="gaussian")
    nll("gaussian", model(x), y).backward()
    kept[0].detach().mul_(2)
    with pytest.raises(RuntimeError, match="input of layer '2' was changed in place"):
        opt.step()


def test_a_weight_that_is_used_without_its_module_is_named_once_and_follows_sgd():
    """O1: multi-head attention's out_proj, and a forward that takes the weight for itself."""

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.attention, self.out = (
                nn.Linear(8, 8),
                nn.MultiheadAttention(8, 2, batch_first=True),
                nn.Linear(8, 2),
            )

        def forward(self, x):
            x = nn.functional.linear(x, self.fc.weight, self.fc.bias)
            return self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))

    net: Any = model_of(Functional())
    model: Any = net[0]
    x, y = normal(1, 6, 3, 8), normal(2, 6, 2)
    with pytest.warns(UserWarning, match=r"'attention' \(MultiheadAttention\)"):
        opt = KFAC(model, lr=0.1, damping=0.1, likelihood="gaussian")
    before = copy.deepcopy(model)
    with pytest.warns(UserWarning) as told:
        one_step(opt, model, x, y, "gaussian")
    assert sorted(str(w.message).split("'")[1] for w in told) == ["attention.out_proj", "fc"]
    assert all("SGD" in str(w.message) for w in told)
    nll("gaussian", before(x), y).backward()
    for part in ("fc", "attention.out_proj"):
        new, old = model.get_submodule(part), before.get_submodule(part)
        torch.testing.assert_close(new.weight, old.weight - 0.1 * old.weight.grad)
        torch.testing.assert_close(new.bias, old.bias - 0.1 * old.bias.grad)
    assert list(opt.factors()) == ["out"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_step(opt, model, x, y, "gaussian")


def test_a_second_use_that_was_not_seen_and_a_penalty_in_the_loss_are_told_and_the_whole_gradient_is_stepped_with():
    x, y = normal(1, 4, 30), normal(2, 4, 2)  # few rows: the short cut would miss the penalty
    for penalty in (False, True):
        model: Any = model_of(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 2))
        opt = KFAC(model, lr=1.0, damping=0.1, likelihood="gaussian")
        loss = nll("gaussian", model(x), y) + (0.01 * model[0].weight.pow(2).sum() if penalty else 0)
        loss.backward()
        assert opt._layers[0].cheaper()
        D = torch.cat([model[0].weight.grad, model[0].bias.grad[:, None]], 1)
        W = torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach()
        if penalty:
            with pytest.warns(UserWarning, match="gradient of layer '0' is more than what came through its forward"):
                opt.step()
        else:
            opt.step()
        A, G = opt.factors()["0"]
        pi = (A.trace() / len(A) / (G.trace() / len(G))).sqrt()
        A = A + 0.1**0.5 * pi * torch.eye(len(A)).double()
        G = G + 0.1**0.5 / pi * torch.eye(len(G)).double()
        new = torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach()
        close(W - new, torch.linalg.solve(A, torch.linalg.solve(G, D).mT).mT, 1e-11)


def assert_one_step_both_ways(change: Any = lambda model: None, bias: bool = True, **options: Any) -> None:
    """Through the inverses with the few rows at hand, and with the whole gradient: one step."""
    x, y = normal(1, 4, 30), normal(2, 4, 2)
    ends = []
    for rows in (True, False):
        model: Any = model_of(nn.Linear(30, 20, bias=bias), nn.Tanh(), nn.Linear(20, 2))
        opt = KFAC(model, lr=1.0, damping=0.1, likelihood="gaussian", **options)
        nll("gaussian", model(x), y).backward()
        change(model)
        assert opt._layers[0].cheaper()
        if not rows:
            opt._layers[0].backwards = 2
        opt.step()
        ends.append(model(x).detach())
    close(ends[0], ends[1], 1e-12)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_few_rows_through_the_inverses_and_the_whole_gradient_give_one_step(bias: bool, every: int):
    assert_one_step_both_ways(bias=bias, inverse_every=every)


def test_gradients_that_somebody_changed_after_backward_are_stepped_with_as_they_are():
    """Whatever hides behind .data, a tensor hook or one bias: the short cut notices."""

    def data(model):
        model[0].weight.grad.data.mul_(0.5)

    def bias(model):
        model[0].bias.grad.data.mul_(0.5)

    def replaced(model):
        model[0].weight.grad = model[0].weight.grad * 0.5

    for change in (data, bias, replaced):
        assert_one_step_both_ways(change)


def test_functional_call_and_transforms_of_torch_func_leave_no_trace():
    model = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, y = normal(1, 6, 3), normal(2, 6, 2)
    opt = KFAC(model, lr=0.1, likelihood="gaussian")
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    loss = lambda p, x, y: nll("gaussian", torch.func.functional_call(model, p, (x[None],)), y[None])
    each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, y)
    torch.func.functional_call(
        model, {name: p.clone().requires_grad_() for name, p in parameters.items()}, (x,)
    ).sum().backward()
    assert opt.factors() == {}
    one_step(opt, model, x, y, "gaussian")
    for name, p in model.named_parameters():
        assert p.grad is not None
        close(each[name].mean(0), p.grad)


def test_what_is_not_treated_is_named_once_trains_and_follows_sgd():
    """O10: normalisation in both modes, an embedding, a transposed convolution."""
    model: Any = model_of(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2), nn.Flatten(), nn.LayerNorm(50),
        nn.Linear(50, 2),
    )  # fmt: skip
    x, y = normal(1, 8, 1, 6, 6), normal(2, 8, 2)
    with pytest.warns(UserWarning) as told:
        opt = KFAC(model, lr=0.01, momentum=0.9, damping=0.1, likelihood="gaussian", weight_decay=0.1)
    assert len(told) == 1
    text = str(told[0].message)
    assert "follow SGD" in text
    for name in ("'1' (BatchNorm2d)", "'3' (ConvTranspose2d)", "'5' (LayerNorm)"):
        assert text.count(name) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        velocity: Any = 0
        first = torch.tensor(0)
        for step in range(4):
            model.train(step % 2 == 0)
            old = model[3].weight.detach().clone()
            first = one_step(opt, model, x, y, "gaussian")
            velocity = 0.9 * velocity + model[3].weight.grad
            close(model[3].weight.detach(), old * (1 - 0.001) - 0.01 * velocity)
        model.train()
        assert nll("gaussian", model(x), y) < first
    assert list(opt.factors()) == ["0", "6"]
    words = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))
    with pytest.warns(UserWarning, match=r"'0' \(Embedding\)"):
        opt = KFAC(words, lr=0.1, likelihood="categorical")
    nn.functional.cross_entropy(words(torch.arange(5)), torch.arange(5) % 2).backward()
    opt.step()
    assert list(opt.factors()) == ["1"]


@pytest.mark.parametrize("fisher", ["exact", "mc", "empirical"])
def test_padding_counts_nowhere(fisher: str):
    """Whatever stands in the padding; and the sums over the tokens that are real, written out."""
    real = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, True, True]])
    x, y = normal(1, 3, 4, 3), torch.arange(12).view(3, 4) % 3
    y[~real] = -100
    ends = []
    for value in (0.0, 5.0):
        model: Any = model_of(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
        opt = KFAC(model, lr=0.1, damping=0.1, fisher=fisher, likelihood="categorical")
        u = x.clone()
        u[~real] = value
        with opt.padding(real):
            eta = model(u)
        nn.functional.cross_entropy(eta.flatten(0, 1), y.flatten()).backward()
        opt.step()
        ends.append((opt.factors(), model[0].weight.detach()))
        opt.zero_grad()
        nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()  # outside of `padding` all count
        whole = torch.cat([x.flatten(0, 1), torch.ones(12, 1).double()], 1)
        before = opt.factors()["0"][0]
        opt.step()
        close(opt.factors()["0"][0], 0.95 * before + 0.05 * whole.mT @ whole / 3)
    close(ends[0][1], ends[1][1], 1e-13)
    for name, (A, G) in ends[0][0].items():
        close(A, ends[1][0][name][0])
        close(G, ends[1][0][name][1])
    bar = torch.cat([x[real], torch.ones(8, 1).double()], 1)
    close(ends[0][0]["0"][0], bar.mT @ bar / 3)
    if fisher == "exact":
        start: Any = model_of(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3))
        p = torch.softmax(start(x[real]), -1).detach()
        close(ends[0][0]["2"][1], (torch.diag_embed(p) - p[:, :, None] * p[:, None]).mean(0))
    with pytest.raises(TypeError, match=r"mask of torch.bool, \(n, T\), .* not torch.float64, \(3, 4\)"):
        KFAC(model_of(nn.Linear(3, 3)), lr=0.1, likelihood="categorical").padding(real.double()).__enter__()


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_nothing_is_drawn_for_padding_that_has_seen_real_tokens(likelihood: str):
    """Sums over the tokens before: a padded token's output depends on all of them, and has no part in G."""

    class Before(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.cumsum(1)

    found = []
    for real in (torch.tensor([[True, True, True, False]]), torch.tensor([[True, True, True]])):
        model: Any = model_of(nn.Linear(3, 5), nn.Tanh(), Before(), nn.Linear(5, 3))
        opt = KFAC(model, lr=0.1, damping=0.1, fisher="exact", likelihood=likelihood)
        with opt.padding(real):
            eta = model(normal(1, 1, 4, 3)[:, : real.shape[1]])
        eta[real].pow(2).sum().backward()
        opt.step()
        found.append(opt.factors())
    for name, (A, G) in found[0].items():
        close(A, found[1][name][0])
        close(G, found[1][name][1])


def test_a_mask_is_for_the_tokens_that_it_fits_and_other_sequences_of_the_batch_count_whole():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.memory, self.out = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x, memory):
            return self.out(x) + self.memory(memory).mean(1, keepdim=True)

    model: Any = model_of(Two())[0]  # type: ignore[index]
    real = torch.tensor([[True, True, False, False], [True, True, True, False]])
    x, memory = normal(1, 2, 4, 3), normal(2, 2, 5, 3)
    opt = KFAC(model, lr=0.1, damping=0.1, fisher="exact", likelihood="gaussian")
    with opt.padding(real):
        eta = model(x, memory)
    eta[real].pow(2).sum().backward()
    opt.step()
    for name, rows in (("memory", memory.flatten(0, 1)), ("out", x[real])):
        bar = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
        close(opt.factors()[name][0], bar.mT @ bar / 2)


def test_a_mask_leaves_what_is_pooled_over_tokens_alone_where_it_has_as_many_channels():
    """(n, 4) for a mask (n, 4): both the input and the output of the last layer."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = nn.Linear(3, 4), nn.Linear(4, 4)

        def forward(self, x, real):
            return self.out((torch.tanh(self.fc(x)) * real[..., None]).sum(1))

    model: Any = model_of(Pooled())[0]  # type: ignore[index]
    real = torch.tensor([[True, True, False, False], [True, True, True, False], [True, False, False, False]])
    x = normal(1, 3, 4, 3)
    h = (torch.tanh(model.fc(x)) * real[..., None]).sum(1).detach()
    opt = KFAC(model, lr=0.1, damping=0.1, fisher="exact", likelihood="gaussian")
    with opt.padding(real):
        eta = model(x, real)
    eta.pow(2).sum().backward()
    opt.step()
    A, G = opt.factors()["out"]
    h = torch.cat([h, torch.ones(3, 1).double()], 1)
    close(A, h.mT @ h / 3)
    close(G, torch.eye(4).double())


@pytest.mark.parametrize("T", [4, 5])
def test_a_convolution_does_not_take_its_channels_for_tokens_where_there_are_as_many(T: int):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv1d(4, 4, 1), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(torch.tanh(self.conv(x.mT).mT))

    model, x = model_of(Net()), normal(1, 3, T, 4)
    real = torch.arange(T) < torch.tensor([[2], [T], [1]])
    opt = KFAC(model, lr=0.1, damping=0.1, fisher="exact", likelihood="gaussian")
    with opt.padding(real):
        eta = model(x)
    eta[real].pow(2).sum().backward()
    opt.step()
    every = torch.cat([x.flatten(0, 1), torch.ones(3 * T, 1).double()], 1)
    close(opt.factors()["0.conv"][0], every.mT @ every / 3)
    start: Any = model_of(Net())[0]  # type: ignore[index]
    slope = 1 - torch.tanh(start.conv(x.mT).mT)[real].detach() ** 2
    J = start.out.weight.detach() * slope[:, None]
    close(opt.factors()["0.conv"][1], (J.mT @ J).sum(0) / (3 * T))
    h = torch.tanh(start.conv(x.mT).mT)[real].detach()
    h = torch.cat([h, torch.ones_like(h[:, :1])], 1)
    close(opt.factors()["0.out"][0], h.mT @ h / 3)


def test_recurrent_layers_and_layers_with_a_forward_of_their_own_fall_back_by_name():
    class Mine(nn.Linear):
        def forward(self, input):
            return super().forward(input) * 2

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.mine, self.weighted = nn.LSTM(3, 4, batch_first=True), Mine(4, 4), nn.Linear(4, 2)
            nn.utils.parametrizations.weight_norm(self.weighted)

        def forward(self, x):
            return self.weighted(self.mine(self.rnn(x)[0][:, -1]))

    model = Net().double()
    with pytest.warns(UserWarning, match=r"'rnn' \(LSTM\), 'mine' \(Mine with a forward of its own\)") as told:
        opt = KFAC(model, lr=0.1, likelihood="gaussian")
    assert "weighted" in str(told[0].message)
    x, y = normal(1, 5, 4, 3), normal(2, 5, 2)
    losses = [float(one_step(opt, model, x, y, "gaussian")) for _ in range(5)]
    assert losses[-1] < losses[0] and opt.factors() == {}


def test_a_layer_by_hand_in_a_loop_is_one_recurrent_map():
    """T (E[a a] (x) E[Dz Dz]) of equation 5.3: the factors of a loop are those of the same layer on stacked rows."""

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = nn.Linear(5, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = torch.zeros_like(x[:, 0, :1]).expand(-1, 4)
            for t in range(x.shape[1]):
                h = torch.tanh(self.cell(torch.cat([h, x[:, t]], -1)))
            return self.out(h)

    from .optim_truth import sums_written_out

    net: Any = model_of(Loop())
    model: Any = net[0]
    x, y = normal(1, 8, 4, 1), normal(2, 8, 2)
    truth = sums_written_out(model, ["cell", "out"], x, "gaussian")
    opt = KFAC(model, lr=0.1, damping=0.1, fisher="exact", likelihood="gaussian")
    one_step(opt, model, x, y, "gaussian")
    for name, pair in opt.factors().items():
        close(pair[0], truth[name][0])
        close(pair[1], truth[name][1])
    assert float(opt.factors()["cell"][0][-1, -1]) == pytest.approx(4, abs=1e-12)
