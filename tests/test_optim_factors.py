"""kfac_lite.optim: factors and steps against sums written out, the coordinate code, and curvlinops."""

import copy
import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from kfac_lite.coordinates import conv, likelihoods, mlp, updates
from kfac_lite.optim import KFAC

from . import test_dense_truth
from .optim_truth import close, dense_step, logp, model_of, nll, normal, one_step, sums_written_out

pytestmark = [
    pytest.mark.no_gauge,
    pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning"),  # torch's own, for even filters
]
EXACT: dict[str, Any] = dict(fisher="exact", lr=1.0, damping=0)


class Twice(nn.Module):
    """One layer applied two times, and once to more rows."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        x = torch.tanh(self.inner(x))
        return self.out(torch.tanh(self.inner(x)) + self.inner(torch.stack([x, x**2], 1)).sum(1))


CASES = {
    "perceptron": (lambda: (nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (3,)),
    "no bias": (lambda: (nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2)), (3,)),
    "tokens": (lambda: (nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Flatten(), nn.Linear(6, 2)), (3, 3)),
    "used twice": (lambda: (Twice(),), (3,)),
    "conv1d": (lambda: (nn.Conv1d(2, 3, 2, dilation=2), nn.Tanh(), nn.Flatten(), nn.Linear(9, 2)), (2, 5)),
    "stride": (lambda: (nn.Conv2d(1, 2, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)), (1, 5, 6)),
    "padding": (
        lambda: (nn.Conv2d(2, 3, (2, 3), padding=(0, 1)), nn.Tanh(), nn.Flatten(), nn.Linear(18, 2)),
        (2, 3, 3),
    ),
    "same": (lambda: (nn.Conv1d(2, 3, 4, padding="same"), nn.Tanh(), nn.Flatten(), nn.Linear(15, 2)), (2, 5)),
    "valid": (lambda: (nn.Conv1d(2, 3, 4, padding="valid"), nn.Tanh(), nn.Flatten(), nn.Linear(6, 2)), (2, 5)),
    "reflect": (
        lambda: (nn.Conv1d(2, 3, 3, padding=2, padding_mode="reflect"), nn.Flatten(), nn.Linear(24, 2)),
        (2, 6),
    ),
    "circular": (
        lambda: (nn.Conv2d(1, 3, 2, padding=(1, 0), padding_mode="circular"), nn.Flatten(), nn.Linear(24, 2)),
        (1, 3, 3),
    ),
    "replicate": (
        lambda: (nn.Conv1d(1, 3, 3, stride=2, padding=1, padding_mode="replicate"), nn.Flatten(), nn.Linear(9, 2)),
        (1, 5),
    ),
    "conv3d": (lambda: (nn.Conv3d(1, 2, 2, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)), (1, 2, 3, 3)),
}


def options(likelihood: str, **more: Any) -> dict[str, Any]:
    return {**EXACT, "likelihood": likelihood, **more}


def target(likelihood: str, n: int, d: int = 2) -> torch.Tensor:
    if likelihood == "categorical":
        return torch.arange(n) % d
    return normal(5, n, d) if likelihood == "gaussian" else (normal(5, n, d) > 0).double()


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli", "gaussian"])
@pytest.mark.parametrize("case", CASES)
def test_exact_factors_are_the_sums_written_out(case: str, likelihood: str):
    make, shape = CASES[case]
    model, x = model_of(*make()), normal(1, 4, *shape)
    names = [name for name, module in model.named_modules() if hasattr(module, "weight")]
    truth = sums_written_out(model, names, x, likelihood)
    opt = KFAC(model, **options(likelihood, damping=1e-2))
    one_step(opt, model, x, target(likelihood, 4), likelihood)
    ours = opt.factors()
    assert list(ours) == names
    for name in names:
        for mine, true in zip(ours[name], truth[name]):
            close(mine, true)


@pytest.mark.parametrize("case", ["perceptron", "used twice", "stride", "conv3d"])
@pytest.mark.parametrize("form", ["none", "factored", "exact", "metric", "metric exact"])
def test_a_step_is_the_dense_solve_in_every_form_of_damping(case: str, form: str):
    """With vec stacking columns and kron(A, G), as in the paper; the layers are not square."""
    make, shape = CASES[case]
    model, x, y = model_of(*make()), normal(1, 30, *shape), target("gaussian", 30)
    before, damping = copy.deepcopy(model), 0.0 if form == "none" else 0.03
    names = [name for name, module in model.named_modules() if hasattr(module, "weight")]
    metric: Any = None
    if "metric" in form:
        metric = {}
        for name in names:
            m, n = matrix(model, name).shape
            metric[name] = tuple(r @ r.mT + torch.eye(len(r)).double() for r in (normal(n, n, n), normal(m, m, m)))
    damping_form = "exact" if "exact" in form else "factored"
    opt = KFAC(model, **options("gaussian", damping=damping, damping_form=damping_form, metric=metric))
    one_step(opt, model, x, y, "gaussian")
    nll("gaussian", before(x), y).backward()
    for name, (A, G) in opt.factors().items():
        A_, G_ = metric[name] if metric else (torch.eye(len(A)).double(), torch.eye(len(G)).double())
        added: Any = damping * torch.kron(A_, G_)
        if form in ("factored", "metric"):
            pi = (torch.linalg.solve(A_, A).trace() / len(A) / (torch.linalg.solve(G_, G).trace() / len(G))).sqrt()
            added = torch.kron(A + damping**0.5 * pi * A_, G + damping**0.5 / pi * G_) - torch.kron(A, G)
        truth = dense_step(matrix(before, name), matrix(before, name, "grad"), A, G, added)
        close(matrix(model, name), truth, 1e-11)


@pytest.mark.parametrize("form", ["factored", "exact"])
@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_with_half_a_layer_frozen_the_metric_is_cut_down_with_the_factors(frozen: str, form: str):
    """The dense solve on the block of what trains: A, A' without the row and column of what does not."""
    model: Any = model_of(nn.Linear(3, 2))
    x, y, damping = normal(1, 30, 3), normal(2, 30, 2), 0.3
    A_, G_ = (r @ r.mT + torch.eye(len(r)).double() for r in (normal(3, 4, 4), normal(4, 2, 2)))
    before = copy.deepcopy(model)
    getattr(model[0], frozen).requires_grad_(False)
    opt = KFAC(model, **options("gaussian", damping=damping, damping_form=form, metric={"0": (A_, G_)}))
    one_step(opt, model, x, y, "gaussian")
    nll("gaussian", before(x), y).backward()
    A, G = opt.factors()["0"]
    trains = slice(3, 4) if frozen == "weight" else slice(0, 3)
    A, A_ = A[trains, trains], A_[trains, trains]
    added: Any = damping * torch.kron(A_, G_)
    if form == "factored":
        pi = (torch.linalg.solve(A_, A).trace() / len(A) / (torch.linalg.solve(G_, G).trace() / len(G))).sqrt()
        added = torch.kron(A + damping**0.5 * pi * A_, G + damping**0.5 / pi * G_) - torch.kron(A, G)
    truth = matrix(before, "0")
    truth[:, trains] = dense_step(truth[:, trains], matrix(before, "0", "grad")[:, trains], A, G, added)
    close(matrix(model, "0"), truth, 1e-11)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 2), (2, 3)])
def test_the_stated_order_of_the_kronecker_product_is_the_one_that_factors_are_in(inputs: int, outputs: int):
    """kron(A, G) with vec stacking columns, on a wide and on a tall layer; the other order gives another step."""
    x, y = normal(1, 8, inputs), normal(2, 8, 2)
    model = model_of(nn.Linear(inputs, outputs), nn.Tanh(), nn.Linear(outputs, 2))
    before = copy.deepcopy(model)
    opt = KFAC(model, **options("gaussian"))
    one_step(opt, model, x, y, "gaussian")
    nll("gaussian", before(x), y).backward()
    A, G = opt.factors()["0"]
    W, D = matrix(before, "0"), matrix(before, "0", "grad")
    close(matrix(model, "0"), dense_step(W, D, A, G), 1e-11)
    other = updates.unvec(torch.linalg.solve(torch.kron(G, A), updates.vec(D)), D.shape)
    assert (matrix(model, "0") - (W - other)).norm() > 1e-2 * other.norm()


def matrix(model: nn.Module, name: str, part: str = "data") -> torch.Tensor:
    module = model.get_submodule(name)
    parts = [getattr(module.weight, part).flatten(1)]
    if module.bias is not None:
        parts.append(getattr(module.bias, part)[:, None])
    return torch.cat(parts, 1).clone()


def test_the_steps_paths_agree_few_rows_many_rows_inverse_or_triangular_solves_blocked_or_not():
    """Layers wide enough for the blocked covariances; float64 dense solves are the truth."""
    x, y = normal(1, 40, 150), torch.arange(40) % 5
    for every in (1, 2):
        for clip in (False, True):
            model = model_of(nn.Linear(150, 140), nn.Tanh(), nn.Linear(140, 5))
            before = copy.deepcopy(model)
            opt = KFAC(model, **options("categorical", damping=0.1, inverse_every=every))
            loss = nll("categorical", model(x), y)
            loss.backward()
            cheap = [layer.cheaper() for layer in opt._layers]
            assert cheap == [True, False]
            nll("categorical", before(x), y).backward()
            if clip:  # touches the gradient: the rows no longer explain it
                for m in (model, before):
                    nn.utils.clip_grad_norm_(m.parameters(), 0.01)
            opt.step()
            for name, (A, G) in opt.factors().items():
                pi = (A.trace() / len(A) / (G.trace() / len(G))).sqrt()
                A = A + 0.1**0.5 * pi * torch.eye(len(A)).double()
                G = G + 0.1**0.5 / pi * torch.eye(len(G)).double()
                step = torch.linalg.solve(A, torch.linalg.solve(G, matrix(before, name, "grad")).mT).mT
                close(matrix(before, name) - matrix(model, name), step, 1e-11)
            close(opt.factors()["0"][0][:-1, :-1], x.mT @ x / 40)


def test_a_monte_carlo_factor_uses_one_target_an_example_and_its_mean_is_the_exact_one():
    model, x = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)), normal(1, 5, 3)
    for likelihood in ("categorical", "bernoulli", "gaussian"):
        truth = sums_written_out(model, ["0", "2"], x, likelihood)
        total: Any = {"0": 0.0, "2": 0.0}
        draws = 300
        opt = KFAC(model, lr=0.0, damping=1.0, likelihood=likelihood, decay=0.0)
        y = target(likelihood, 5, 3)
        for _ in range(draws):
            one_step(opt, model, x, y, likelihood)
            for name, (A, G) in opt.factors().items():
                close(A, truth[name][0])
                total[name] = total[name] + G / draws
        for name in total:
            error = (total[name] - truth[name][1]).norm() / truth[name][1].norm()
            assert error < 0.15, f"{likelihood}: {error}"
        # One draw is one row of the categorical sum: p - e_y for some y
    p = torch.softmax(model(x).detach(), -1)
    opt = KFAC(model, lr=0.0, damping=1.0, likelihood="categorical")
    one_step(opt, model, x, torch.arange(5) % 3, "categorical")
    possible = [
        sum(torch.outer(r, r) for r in (p - torch.eye(3).double()[list(ys)])) / 5
        for ys in torch.cartesian_prod(*[torch.arange(3)] * 5).tolist()
    ]
    G = opt.factors()["2"][1]
    assert min(float((G - q).norm()) for q in possible) < 1e-12


def test_the_empirical_factor_is_that_of_the_losses_own_derivatives():
    model, x, y = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)), normal(1, 6, 3), torch.arange(6) % 3
    p = torch.softmax(model(x), -1).detach() - nn.functional.one_hot(y, 3)
    for reduction in ("mean", "sum"):
        opt = KFAC(model, lr=0.0, damping=0.1, fisher="empirical", reduction=reduction)
        opt.zero_grad()
        nn.functional.cross_entropy(model(x), y, reduction=reduction).backward()
        opt.step()
        close(opt.factors()["2"][1], p.mT @ p / 6)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "categorical"])
def test_undamped_exact_factors_and_steps_are_those_of_the_coordinate_perceptron(likelihood: str):
    """Whence those of the typed layer (test_dense_truth). The module appends the fixed zero logit to C - 1 others."""
    problem = test_dense_truth.problem(likelihood, (3, 5, 2), n=40)
    net, w, x = problem.arrays
    module = mlp.as_module(net, w)
    opt = KFAC(module, **options(likelihood))
    y = problem.y
    y = y.argmax(-1) if likelihood == "categorical" else y
    eta = module(x)
    loss = -torch.stack([logp(likelihood, e, t) for e, t in zip(eta, y)]).mean()
    loss.backward()
    opt.step()
    new = updates.kfac(w, mlp.gradient(net, w, x, problem.y), mlp.factors(net, w, x), 1.0)
    for (name, pair), truth, W in zip(opt.factors().items(), mlp.factors(net, w, x), new):
        close(pair[0], truth[0])
        close(pair[1], truth[1])
        close(matrix(module, name), W)


def test_undamped_exact_factors_and_steps_are_those_of_the_coordinate_convolution():
    """Stride, zero padding, two convolutions and a last layer that sees the whole image."""
    generator = torch.Generator().manual_seed(0)
    layer = lambda m, phi: mlp.Layer(phi, torch.eye(m).double(), torch.zeros(m).double(),
                                     torch.eye(m).double(), torch.zeros(m).double())  # fmt: skip
    looks = [
        conv.Look(*conv.look((5, 5), 3, 2, 1), torch.zeros(2).double(), None),
        conv.Look(*conv.look((3, 3), (2, 3), 1, 0), torch.zeros(3).double(), None),
        conv.Look(*conv.look((2, 1), (2, 1), 1, 0), torch.zeros(3).double(), None),
    ]
    net = conv.ConvNetwork(
        (layer(3, mlp.tanh), layer(3, mlp.tanh), layer(2, mlp.identity)), tuple(looks), likelihoods.gaussian
    )
    shapes = [(3, 9 * 2 + 1), (3, 6 * 3 + 1), (2, 2 * 3 + 1)]
    w = [torch.randn(s, generator=generator, dtype=torch.float64) / s[1] ** 0.5 for s in shapes]
    x, y = normal(1, 40, 5, 5, 2), normal(2, 40, 2)
    module = model_of(
        nn.Conv2d(2, 3, 3, 2, 1), nn.Tanh(), nn.Conv2d(3, 3, (2, 3)), nn.Tanh(), nn.Flatten(), nn.Linear(6, 2)
    )
    # Patches there are offset-major, torch's channel-major.
    orders = []
    for name, W, (J, K) in zip(("0", "2", "5"), w, ((2, 9), (3, 6), (3, 2))):
        order = torch.arange(J * K).reshape(K, J).mT.flatten()
        orders.append(torch.cat([order, torch.tensor([J * K])]))
        part: Any = module.get_submodule(name)
        with torch.no_grad():
            part.weight.copy_(W[:, order].reshape(part.weight.shape))
            part.bias.copy_(W[:, -1])
    images = x.permute(0, 3, 1, 2)
    close(module(images).detach(), conv.forward(net, w, x)[0])
    opt = KFAC(module, **options("gaussian"))
    one_step(opt, module, images, y, "gaussian")
    factors = conv.factors(net, w, x)
    new = updates.kfac(w, conv.gradient(net, w, x, y), factors, 1.0)
    for (name, pair), truth, W, order in zip(opt.factors().items(), factors, new, orders):
        close(pair[0], truth[0][order][:, order])
        close(pair[1], truth[1])
        close(matrix(module, name), W[:, order])


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
def test_curvlinops_finds_the_same_blocks(likelihood: str):
    """Version 3.0.1, where it is right: linear layers, and a convolution with its expand setting."""
    from curvlinops import FisherType, KFACLinearOperator

    make = (nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2))
    model, x, y = model_of(*make), normal(1, 6, 1, 3, 3), target(likelihood, 6)
    loss = nn.CrossEntropyLoss() if likelihood == "categorical" else nn.MSELoss()
    peer = KFACLinearOperator(
        model, loss, list(model.parameters()), [(x, y)], fisher_type=FisherType.TYPE2,
        separate_weight_and_bias=False, check_deterministic=False,
    )  # fmt: skip
    dense: Any = peer @ torch.eye(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    opt = KFAC(model, **options(likelihood, damping=0.1, lr=0.0))
    one_step(opt, model, x, y, likelihood)
    # Its parameters: rows of the weight, then the bias; its MSE is twice the mean over two outputs of ours.
    start = 0
    for A, G in opt.factors().values():
        m, n = len(G), len(A)
        index = torch.arange(m * n).reshape(n, m).mT
        order = torch.cat([index[:, :-1].flatten(), index[:, -1]])
        block = torch.kron(A, G)[order][:, order]
        close(dense[start : start + m * n, start : start + m * n], block, 1e-10)
        start += m * n
    assert start == len(dense)


@pytest.mark.parametrize("form", ["factored", "exact"])
def test_curvlinops_finds_the_same_damped_step(form: str):
    from curvlinops import FisherType, KFACInverseLinearOperator, KFACLinearOperator

    x, y = normal(1, 6, 1, 3, 3), target("categorical", 6)
    ends = []
    for peer in (False, True):
        model = model_of(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2))
        opt = None if peer else KFAC(model, **options("categorical", damping=0.1, damping_form=form))
        nll("categorical", model(x), y).backward()
        if opt is None:
            parameters = list(model.parameters())
            loss = nn.CrossEntropyLoss()
            metric = KFACLinearOperator(
                model, loss, parameters, [(x, y)], fisher_type=FisherType.TYPE2, separate_weight_and_bias=False,
                check_deterministic=False,
            )  # fmt: skip
            damped = {"use_heuristic_damping": form == "factored", "use_exact_damping": form == "exact"}
            inverse: Any = KFACInverseLinearOperator(metric, damping=0.1, **damped)
            steps = inverse @ [p.grad.clone() for p in parameters if p.grad is not None]
            with torch.no_grad():
                for p, step in zip(parameters, steps):
                    p -= step
        else:
            opt.step()
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    close(ends[0], ends[1], 1e-10)


def test_damping_with_a_carried_metric_keeps_the_step_and_a_number_does_not():
    """Inputs 2 x + 1 and undone in the first weight: one function, written in two bases."""
    x, y = normal(1, 30, 3), normal(2, 30, 2)
    B = torch.linalg.inv(torch.block_diag(normal(3, 3, 3), torch.eye(1).double()) + torch.eye(4).double() * 2)
    carry = torch.linalg.inv(B)
    carry[3, :3], carry[:3, 3] = 0, normal(4, 3)
    steps = {}
    for metric in (True, False):
        for form in ("factored", "exact"):
            outputs = []
            for bar in (torch.eye(4).double(), carry / carry[3, 3]):
                model = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
                W = matrix(model, "0") @ torch.linalg.inv(bar)
                part: Any = model[0]
                with torch.no_grad():
                    part.weight.copy_(W[:, :3])
                    part.bias.copy_(W[:, 3])
                given = {
                    "0": (bar @ bar.mT, torch.eye(4).double()),
                    "2": (torch.eye(5).double(), torch.eye(2).double()),
                }
                opt = KFAC(
                    model,
                    **options("gaussian", damping=0.1, damping_form=form, metric=given if metric else None, lr=0.3),
                )
                u = x @ bar[:3, :3].mT + bar[:3, 3]
                for _ in range(3):
                    one_step(opt, model, u, y, "gaussian")
                outputs.append(model(u).detach())
            steps[metric, form] = float((outputs[0] - outputs[1]).norm() / outputs[0].norm())
    assert max(gap for (metric, _), gap in steps.items() if metric) < 1e-11, steps
    assert min(gap for (metric, _), gap in steps.items() if not metric) > 1e-3, steps


def test_running_averages_start_from_the_first_batch_and_schedules_are_numbers_or_functions():
    model = model_of(nn.Linear(3, 2))
    opt = KFAC(model, **options("gaussian", damping=lambda step: 0.1 / (1 + step), decay=lambda step: 0.5, lr=0.0))
    A: Any = None
    for step in range(4):
        x = normal(step, 7, 3)
        one_step(opt, model, x, normal(9, 7, 2), "gaussian")
        bar = torch.cat([x, torch.ones(7, 1).double()], 1)
        A = bar.mT @ bar / 7 if A is None else 0.5 * A + 0.5 * bar.mT @ bar / 7
        close(opt.factors()["0"][0], A)
    seldom = KFAC(model, **options("gaussian", damping=0.1, factor_every=2, inverse_every=lambda step: 3, lr=0.0))
    history = []
    for step in range(7):
        one_step(seldom, model, normal(step, 7, 3), normal(9, 7, 2), "gaussian")
        layer = seldom._layers[0]
        history.append((float(layer.A.sum()), layer.refreshed))  # type: ignore[union-attr]
    assert [a != b for (a, _), (b, _) in itertools.pairwise(history)] == [False, True] * 3
    assert [at for _, at in history] == [0, 0, 0, 3, 3, 3, 6]


def test_running_averages_of_both_factors_are_those_of_every_batchs_sums():
    model = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    decay = lambda step: 1 - 1 / (2 + step)
    opt = KFAC(model, **options("categorical", damping=0.1, decay=decay, lr=0.0))
    mean: Any = None
    for step in range(4):
        x = normal(step, 7, 3)
        one_step(opt, model, x, torch.arange(7) % 2, "categorical")
        new = sums_written_out(model, ["0", "2"], x, "categorical")
        if mean is not None:
            d = decay(step)
            new = {name: [d * m + (1 - d) * S for m, S in zip(mean[name], pair)] for name, pair in new.items()}
        mean = new
        for name, pair in opt.factors().items():
            for mine, true in zip(pair, mean[name]):
                close(mine, true)


@pytest.mark.parametrize("place", ["argument", "group"])
def test_a_function_as_damping_is_asked_at_every_step_that_inverts(place: str):
    """Gaussian outputs of a linear map: constant factors, so that every step is known from the gradient before it."""
    x, y = normal(1, 20, 3), normal(2, 20, 2)
    schedule = lambda step: 0.0 if step == 4 else 0.4 / (1 + step)
    model: Any = model_of(nn.Linear(3, 2))
    groups = [{"params": list(model.parameters()), "damping": schedule}] if place == "group" else None
    given = {} if place == "group" else {"damping": schedule}
    every = lambda step: 1 if step < 3 else 2
    opt = KFAC(model, groups, **options("gaussian", lr=0.2, inverse_every=every, **{"damping": 7.0, **given}))
    inverted = [0, 1, 2, 2, 4, 4, 6]
    for at in inverted:
        W = matrix(model, "0")
        one_step(opt, model, x, y, "gaussian")
        A, G = opt.factors()["0"]
        pi = (A.trace() / len(A) / (G.trace() / len(G))).sqrt()
        A = A + schedule(at) ** 0.5 * pi * torch.eye(4).double()
        G = G + schedule(at) ** 0.5 / pi * torch.eye(2).double()
        D = matrix(model, "0", "grad")
        close(W - matrix(model, "0"), 0.2 * torch.linalg.solve(A, torch.linalg.solve(G, D).mT).mT, 1e-11)


def test_factors_are_renewed_when_a_function_of_the_step_says_so():
    model = model_of(nn.Linear(3, 2))
    every = lambda step: 1 if step < 3 else 3
    opt = KFAC(model, **options("gaussian", damping=0.1, factor_every=every, decay=0.0, lr=0.0))
    renewed = []
    for step in range(10):
        x = normal(step, 7, 3)
        one_step(opt, model, x, normal(9, 7, 2), "gaussian")
        bar = torch.cat([x, torch.ones(7, 1).double()], 1)
        if torch.allclose(opt.factors()["0"][0], bar.mT @ bar / 7):
            renewed.append(step)
    assert renewed == [0, 1, 2, 5, 8]


def test_one_trust_region_for_all_layers_with_their_own_rates_and_momentum_after_it():
    """lr^2 <step, gradient>, summed over layers, is the bound; what momentum adds to a step was shortened before."""
    x, y, bound = normal(1, 20, 3), normal(2, 20, 2), 1e-5
    model: Any = model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    free = copy.deepcopy(model)
    rates, momentum = {"0": 0.5, "2": 0.1}, 0.6
    last: dict[str, torch.Tensor] = {}
    groups = lambda m: [{"params": list(m[int(name)].parameters()), "lr": lr} for name, lr in rates.items()]
    opt = KFAC(model, groups(model), **options("gaussian", damping=0.1, momentum=momentum, kl_clip=bound))
    for _ in range(3):
        free.load_state_dict(model.state_dict())
        other = KFAC(free, groups(free), **options("gaussian", damping=0.1))
        if last:
            state = opt.state_dict()
            for layer in state["state"]["layers"].values():
                layer.pop("velocity")
            other.load_state_dict({**state, "param_groups": other.state_dict()["param_groups"]})
        old = {name: matrix(model, name) for name in rates}
        for o, m in ((opt, model), (other, free)):
            one_step(o, m, x, y, "gaussian")
        P = {name: (old[name] - matrix(free, name)) / lr for name, lr in rates.items()}
        total = sum(float(rates[name] ** 2 * (P[name] * matrix(model, name, "grad")).sum()) for name in rates)
        assert total > 4 * bound
        for name, lr in rates.items():
            last[name] = momentum * last.get(name, 0) + (bound / total) ** 0.5 * P[name]
            close(old[name] - matrix(model, name), lr * last[name], 1e-10)


def test_decay_of_weights_has_the_rate_and_the_strength_of_each_parameters_group():
    """Decoupled, for layers, for the bias in a group of its own, and for what follows SGD."""
    run = {}
    for strong in (False, True):
        model: Any = model_of(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        groups = [
            {"params": [model[0].bias], "lr": 0.2, "weight_decay": 0.0},
            {"params": [model[0].weight], "lr": 0.1, "weight_decay": 0.5 * strong},
            {"params": list(model[1].parameters()), "lr": 0.3, "weight_decay": 0.7 * strong, "momentum": 0.5},
            {"params": list(model[2].parameters()), "lr": 0.4, "momentum": 0.2, "damping": 0.3},
        ]
        with pytest.warns(UserWarning, match="'1' \\(LayerNorm\\)"):
            opt = KFAC(model, groups, **options("gaussian", damping=0.1, weight_decay=0.9 * strong))
        start = {name: p.detach().clone() for name, p in model.named_parameters()}
        one_step(opt, model, normal(1, 20, 3), normal(2, 20, 2), "gaussian")
        run[strong] = start, {name: p.detach().clone() for name, p in model.named_parameters()}
        velocity, old = model[1].weight.grad.clone(), model[1].weight.detach().clone()
        one_step(opt, model, normal(1, 20, 3), normal(2, 20, 2), "gaussian")
        velocity = 0.5 * velocity + model[1].weight.grad
        close(model[1].weight.detach(), old * (1 - 0.3 * 0.7 * strong) - 0.3 * velocity)
    shrink = {"0.weight": 0.1 * 0.5, "0.bias": 0, "1.weight": 0.3 * 0.7, "1.bias": 0.3 * 0.7, "2.weight": 0.4 * 0.9,
              "2.bias": 0.4 * 0.9}  # fmt: skip
    for name, p in run[True][1].items():
        close(p, run[False][1][name] - shrink[name] * run[False][0][name])


def test_damping_and_momentum_are_those_of_the_layers_own_group():
    """As if every layer had an optimizer to itself."""
    x, y = normal(1, 20, 3), normal(2, 20, 2)
    make = lambda: model_of(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    own = {"0": {"momentum": 0.5, "damping": 0.03}, "2": {"momentum": 0.9, "damping": 0.5}}
    model: Any = make()
    groups = [{"params": list(model[int(name)].parameters()), **more} for name, more in own.items()]
    opt = KFAC(model, groups, **options("gaussian", lr=0.1, damping=7.0, decay=0.0, inverse_every=1))
    for _ in range(4):
        one_step(opt, model, x, y, "gaussian")
    pair = {name: make() for name in own}
    both = {name: KFAC(m, **options("gaussian", lr=0.1, decay=0.0, inverse_every=1, **own[name]))
            for name, m in pair.items()}  # fmt: skip
    for _ in range(4):
        for name, m in pair.items():
            one_step(both[name], m, x, y, "gaussian")
        for name, other in (("0", "2"), ("2", "0")):  # each moves its layer alone
            pair[name][int(other)].load_state_dict(pair[other][int(other)].state_dict())
    for name in own:
        close(matrix(model, name), matrix(pair[name], name), 1e-11)


def test_the_trust_region_shortens_a_step_to_its_bound_and_leaves_a_small_one():
    x, y = normal(1, 20, 3), normal(2, 20, 2)
    moved = {}
    for bound in (None, 1e-4, 1e4):
        model = model_of(nn.Linear(3, 2))
        before = matrix(model, "0")
        opt = KFAC(model, **options("gaussian", lr=0.5, damping=0.1, kl_clip=bound))
        one_step(opt, model, x, y, "gaussian")
        moved[bound] = before - matrix(model, "0")
    model = model_of(nn.Linear(3, 2))
    nll("gaussian", model(x), y).backward()
    D = matrix(model, "0", "grad")
    close(moved[1e4], moved[None])
    nu = (1e-4 / (0.5 * (moved[None] * D).sum())) ** 0.5
    assert nu < 0.5
    close(moved[1e-4], nu * moved[None])
    assert abs(float(0.5 * (moved[1e-4] * D).sum() / nu) - 1e-4 / float(nu) ** 2) < 1e-6 / float(nu) ** 2


def test_decoupled_decay_momentum_and_rates_by_group():
    x, y = normal(1, 20, 3), normal(2, 20, 2)
    run = {}
    for name, more in {"plain": {}, "decay": {"weight_decay": 0.1}, "momentum": {"momentum": 0.5}}.items():
        model = model_of(nn.Linear(3, 2))
        opt = KFAC(model, **options("gaussian", lr=0.2, damping=0.1, decay=0.0, inverse_every=1, **more))
        run[name] = [matrix(model, "0")]
        for _ in range(2):
            one_step(opt, model, x, y, "gaussian")
            run[name].append(matrix(model, "0"))
    close(run["decay"][1], run["plain"][1] - 0.2 * 0.1 * run["plain"][0])
    close(run["momentum"][1], run["plain"][1])
    # On a linear model with Gaussian outputs the factors are constant, so the second step is known.
    model = model_of(nn.Linear(3, 2))
    opt = KFAC(model, **options("gaussian", lr=0.2, damping=0.1, decay=0.0))
    one_step(opt, model, x, y, "gaussian")
    close(run["momentum"][2], run["plain"][2] + 0.5 * (run["plain"][1] - run["plain"][0]))
    model: Any = model_of(nn.Linear(3, 2))
    groups = [{"params": [model[0].weight]}, {"params": [model[0].bias], "lr": 0.4}]
    opt = KFAC(model, groups, **options("gaussian", lr=0.2, damping=0.1))
    one_step(opt, model, x, y, "gaussian")
    expected = run["plain"][1].clone()
    expected[:, 3] += run["plain"][1][:, 3] - run["plain"][0][:, 3]
    close(matrix(model, "0"), expected)
    with pytest.raises(ValueError, match=r"one block.*momentum 0.5 and 0.0"):
        groups = [{"params": [model[0].weight], "momentum": 0.5}, {"params": [model[0].bias]}]
        KFAC(model, groups, **options("gaussian"))


def test_no_warning_for_a_model_of_layers_that_it_treats():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KFAC(model_of(*CASES["stride"][0]()), **options("gaussian"))
