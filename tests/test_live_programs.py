"""Every program that the book ships, and random ones, compute in the page what they compute in torch (paper: none)."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, jacfwd, jacrev, vmap
from torch.nn import functional as F

from kfac_lite import live
from kfac_lite.coordinates import likelihoods, mlp, updates
from kfac_lite.live import tables

from .live_page import SHOW, distance, evaluate, gap, literal, numbers, run

L: Any = torch.linalg
pytestmark = pytest.mark.no_gauge


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


# What the book ships ------------------------------------------------------------------------------------------------

LIKELIHOODS = {"gaussian": 2, "bernoulli": 2, "categorical": 2, "softmax": 3}
UPDATES: dict[str, Any] = {
    "sgd": updates.sgd,
    "kfac": updates.kfac,
    "natural_gradient": updates.natural_gradient,
    "natural_gradient_textbook": updates.natural_gradient_textbook,
    "kfac_damped": updates.kfac_damped,
    "kfac_separate_bias": updates.kfac_separate_bias,
    "diagonal": updates.diagonal,
}


def network(name: str, Omega: Tensor, gamma: Tensor, hidden: mlp.Activation = mlp.tanh) -> mlp.Network:
    """2-3-d, whose hidden layer is written in the basis that (Omega, gamma) leads to."""
    d = LIKELIHOODS[name]
    one, zero = torch.ones(d, dtype=torch.float64).diag(), torch.zeros(d, dtype=torch.float64)
    eye = torch.ones_like(gamma).diag()
    hidden_layer = mlp.Layer(hidden, Omega, gamma, eye, torch.zeros_like(gamma))
    return mlp.Network((hidden_layer, mlp.Layer(mlp.identity, one, zero, one, zero)), getattr(likelihoods, name))


def problem(name: str, hidden: int = 3, n: int = 24, seed: int = 260) -> tuple[list[Tensor], ...]:
    """Weights, a basis, and data."""
    d = LIKELIHOODS[name]
    w = [draw(hidden, 3, seed=seed + 1), draw(d, hidden + 1, seed=seed + 2)]
    basis = [torch.ones(hidden, dtype=torch.float64).diag() + 0.2 * draw(hidden, hidden), 0.2 * draw(hidden, seed=3)]
    y = draw(n, d, seed=5)
    if name == "bernoulli":
        y = (y > 0).double()
    if name in ("categorical", "softmax"):
        y = F.one_hot(torch.arange(n) % 3).double()
    return w, basis, [1.5 * draw(n, 2, seed=4), y]


def stepper(name: str, update: Any, **options: Any) -> Any:
    """One step, as a figure would compile it: everything that may change is an argument."""

    def step(w, basis, data, lr):
        net = network(name, *basis)
        curvature = getattr(mlp, update.needs)(net, w, data[0]) if update.needs else None
        return update(w, mlp.gradient(net, w, *data), curvature, lr, **options)

    return step


def condition(name: str, update: Any, w: Any, basis: Any, data: Any) -> float:
    """The worst condition number of the matrices that the update solves with."""
    net = network(name, *basis)
    if update.needs == "factors":
        matrices = [M for pair in mlp.factors(net, w, data[0]) for M in pair]
    else:
        matrices = [mlp.fisher(net, w, data[0])] if update.needs else []
    return max((float(L.cond(M)) for M in matrices), default=1.0)


def well_posed(name: str, update: Any) -> bool:
    """One logit for every class, and G has no inverse: softmax goes with SGD, the diagonal and damping."""
    return name != "softmax" or update in (updates.sgd, updates.diagonal, updates.kfac_damped)


CASES = [(name, u) for name in LIKELIHOODS for u in UPDATES if well_posed(name, UPDATES[u])]


@pytest.mark.parametrize(("name", "update"), CASES)
def test_shipped_steps(name: str, update: str):
    w, basis, data = problem(name)
    options = {"damping": 0.01} if update == "kfac_damped" else {}
    if not options:
        assert name == "softmax" or condition(name, UPDATES[update], w, basis, data) <= 1e4
    lr = torch.tensor(0.1, dtype=torch.float64)
    assert gap(stepper(name, UPDATES[update], **options), w, basis, data, lr) <= 1e-12


@pytest.mark.parametrize("hidden", ["logistic", "softplus", "sine", "square", "cubic", "identity"])
def test_shipped_activations(hidden: str):
    w, basis, data = problem("bernoulli")

    def both(w, basis, data):
        net = network("bernoulli", *basis, hidden=getattr(mlp, hidden))
        return mlp.gradient(net, w, *data), mlp.factors(net, w, data[0]), mlp.loss(net, w, *data)

    assert gap(both, w, basis, data) <= 1e-12


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_shipped_functions(name: str):
    """The rest of `coordinates.mlp`, and that back-propagation is the derivative, in the page too."""
    w, basis, data = problem(name, n=7)

    def everything(w, basis, data):
        net = network(name, *basis)
        metric = lambda a: (torch.ones_like(a[0]).diag() + a[:, :, None] * a[:, None, :]) / 2
        return (
            mlp.twin(net, w, *(x[:2, :2] if x.ndim > 1 else x[:2] for x in basis)),
            mlp.pullback_factors(net, w, data[0], metric),
            mlp.pullback_matrix(net, w, data[0], metric),
            mlp.scores(net, w, data[0]),
            mlp.fisher(net, w, data[0]),
            grad(lambda w: mlp.loss(net, w, *data))(w),
            vmap(jacrev(lambda x: mlp.forward(net, w, x[None])[0][0]))(data[0]),
        )

    assert gap(everything, w, basis, data) <= 1e-12


def test_a_hundred_steps():
    """The size of the hero: 2-2-1, Bernoulli, 32 points; state fed back in the page."""
    w, basis, data = problem("bernoulli", hidden=2, n=32, seed=280)
    lr = torch.tensor(0.05, dtype=torch.float64)
    for update, bar in [(updates.kfac, 1e-11), (updates.sgd, 1e-13)]:
        step = stepper("bernoulli", update)
        compiled = live.compile(step, w, basis, data, lr)
        values = ",".join(map(literal, [*w, *basis, *data, lr]))
        loop = "for (let t = 1; t < 100; t++) { w.forEach((_, i) => p.inputs[i].set(p.outputs[i])); p.step(); }"
        text = f"{SHOW} const p = ({compiled.source})(), w = [0, 1]; p.run([{values}]); {loop} return show(p);"
        rows, fault = evaluate(text)
        for _ in range(100):
            w = step(w, basis, data, lr)
        assert fault is None
        assert distance(numbers(rows, compiled), w) <= bar


def test_convolution_and_recurrence_need_nothing_new():
    """Patches by unfold and by slices, and a few steps in time."""
    images, filters = draw(4, 1, 6, 6), draw(3, 9)

    def convolve(images, filters):
        patches = F.unfold(images, (3, 3), padding=1)
        shifted = torch.stack([images[:, 0, i : i + 4, j : j + 4] for i in range(3) for j in range(3)], 1).flatten(2)
        return torch.tanh(filters @ patches).mean(-1), torch.tanh(filters @ shifted).sum(-1)

    def recur(W, U, sequence):
        h = torch.zeros_like(U[:, 0])
        for step in sequence:
            h = torch.tanh(W @ h + U @ step)
        return h

    assert gap(convolve, images, filters) <= 1e-13
    assert gap(grad(lambda f: convolve(images, f)[0].pow(2).sum()), filters) <= 1e-13
    A = draw(3, 3)
    assert gap(recur, A, draw(3, 2), draw(5, 2)) <= 1e-13
    assert gap(jacrev(recur), A, draw(3, 2), draw(5, 2)) <= 1e-12


# Random programs -------------------------------------------------------------------------------------------------

sizes = st.sampled_from([1, 2, 3, 4, 5, 6])
SMOOTH = [torch.tanh, torch.sin, torch.sigmoid, F.softplus, torch.cos, lambda x: x * x / (1 + x * x), torch.neg]
PAIRS = [torch.add, torch.sub, lambda a, b: a * b / 2, torch.maximum, lambda a, b: torch.where(a > b, a, 2 * b)]


@st.composite
def steps(draw: Any, shape: tuple[int, ...]) -> list[Any]:
    """Functions of the list of all tensors so far, each of which adds one; every one fits, for it saw the shapes."""
    done: list[Any] = []
    tensors = [torch.rand(shape, dtype=torch.float64)]
    for _ in range(draw(st.integers(1, 8))):
        i = draw(st.integers(0, len(tensors) - 1))
        j = draw(st.integers(0, len(tensors) - 1))
        a, b = tensors[i], tensors[j]
        d = draw(st.integers(0, max(a.ndim - 1, 0)))
        smooth, pair, n = draw(st.sampled_from(SMOOTH)), draw(st.sampled_from(PAIRS)), draw(sizes)
        choices: list[Any] = [lambda t, i=i, f=smooth: f(t[i])]
        if all(m == n or 1 in (m, n) for m, n in zip(reversed(a.shape), reversed(b.shape))):
            choices.append(lambda t, i=i, j=j, f=pair: f(t[i], t[j]))
        if a.ndim < 3:
            choices.append(lambda t, i=i, d=d: t[i].unsqueeze(d))
            choices.append(lambda t, i=i, n=n: t[i].expand(n, *t[i].shape))
        if a.ndim:
            k = draw(st.integers(0, a.shape[d] - 1))
            choices += [
                lambda t, i=i, d=d: t[i].sum(d) / t[i].shape[d],
                lambda t, i=i, d=d: t[i].amax(d, keepdim=True),
                lambda t, i=i, d=d: t[i].softmax(d),
                lambda t, i=i, d=d: t[i].flip(d).transpose(d, -1),
                lambda t, i=i, d=d, k=k: t[i].select(d, k),
                lambda t, i=i, d=d, k=k: t[i].narrow(d, 0, k + 1),
                lambda t, i=i, d=d: torch.cat([t[i], torch.ones_like(t[i]), t[i]], d) if t[i].shape[d] < 4 else t[i],
                lambda t, i=i: t[i].flatten(),
                lambda t, i=i, d=d: t[i].index_select(d, torch.tensor([0, t[i].shape[d] - 1, 0])),
            ]
        if a.ndim > 1:
            choices.append(lambda t, i=i: t[i] @ t[i].mT / t[i].shape[-1])
            choices.append(lambda t, i=i: solved(t[i]))
        step = draw(st.sampled_from(choices))
        tensors.append(step(tensors))
        done.append(step)
    return done


def solved(a: Tensor) -> Tensor:
    """A solve whose matrix has a condition of 2 at most."""
    gram = a @ a.mT
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] + 1
    return L.solve(gram + trace * torch.ones_like(gram[..., 0]).diag_embed(), a)


def interpret(program: list[Any], x: Tensor) -> Tensor:
    tensors = [x]
    for step in program:
        tensors.append(step(tensors))
    return tensors[-1]


@given(
    st.data(), st.lists(sizes, min_size=1, max_size=3), st.sampled_from(["plain", "grad", "vmap", "jacfwd", "jacrev"])
)
def test_random_programs(data, shape, way):
    program = data.draw(steps(tuple(shape)))
    x = draw(*shape, seed=data.draw(st.integers(0, 9)))
    plain = lambda x: interpret(program, x)
    fn = {
        "plain": plain,
        "grad": grad(lambda x: plain(x).sum() * x.flatten()[0]),
        "vmap": lambda x: vmap(plain)(torch.stack([x, 2 * x, x.sin()])),
        "jacfwd": lambda x: jacfwd(plain)(x) if x.numel() * plain(x).numel() < 3000 else plain(x),
        "jacrev": lambda x: jacrev(plain)(x) if x.numel() * plain(x).numel() < 3000 else plain(x),
    }[way]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "input 0 changes nothing")  # its derivative may be a constant
        compiled = live.compile(fn, x)
    found, fault = run(compiled, x)
    assert fault is None
    assert distance([*found, torch.ones(1)], [fn(x), torch.ones(1)]) <= 1e-12
    assert all(len(text) <= 2000 for text in functions(compiled.source))


def functions(source: str) -> list[str]:
    return re.findall(r"^  function f\d+\(\) .*$", source, re.MULTILINE)


@pytest.mark.parametrize(
    "table",
    [
        np.arange(3, 27).reshape(4, 6)[:, ::-1],
        np.array([7]),
        np.zeros((2, 3), int),
        np.where(np.indices((6, 20))[1] < 18, 9 * np.indices((6, 20))[0] + np.indices((6, 20))[1], 4),
        np.random.default_rng(1).integers(1, 2**31 - 1, (5, 4)),
    ],
    ids=["a step", "one cell", "one cell often", "a border", "no rule"],
)
def test_a_table_of_addresses_is_what_its_rule_makes(table: np.ndarray):
    size, lags, news = tables.rule(table)
    text = tables.TABLES.format(size=2 * size, rules=tables.literal([(size, lags, news)] * 2))
    assert evaluate(f"{text} return [...T];") == [*table.flatten().tolist()] * 2
    assert len(news) <= max(12, table.size / 5) or table.max() > 1000  # numbers that follow no rule


def test_many_constants_are_the_same_numbers():
    data = torch.cat([draw(98), torch.tensor([-0.0, 1e300], dtype=torch.float64)])
    compiled = live.compile(lambda x: x * data, x := draw(100, seed=1))
    assert "atob" in compiled.source and "[" + repr(data[0].item()) not in compiled.source
    found, fault = run(compiled, x)
    assert fault is None and found[0].tolist() == (x * data).tolist()
