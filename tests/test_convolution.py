"""Section 4: patches, factors against sums written out, and the theorems, for all convolutional networks."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import kfac_lite as k
from kfac_lite import testing
from kfac_lite.coordinates import conv, mlp, sharing, updates

from . import shared_weights as shared
from .comparing import close

CASES: dict[str, tuple[tuple[int, int], list[int], list[k.Filter]]] = {
    "same": ((4, 3), [2, 3, 2], [k.Filter(3, padding="same"), k.Filter(None)]),
    "valid, not square": ((5, 4), [2, 3, 2, 2], [k.Filter((2, 3)), k.Filter((3, 1)), k.Filter(None)]),
    "stride 2": ((5, 6), [1, 2, 2], [k.Filter(3, stride=2, padding=1), k.Filter(2, stride=(1, 2), pool="all")]),
    "averages": (
        (6, 5),
        [1, 3, 2, 2],
        [k.Filter(3, padding="same", pool=2), k.Filter(2, padding=(1, 0), pool=(2, 1)), k.Filter(None)],
    ),
    "one place": ((2, 3), [2, 3, 2], [k.Filter((2, 3)), k.Filter(1)]),
    "global average": ((3, 4), [2, 3, 2], [k.Filter((2, 3), padding=(1, 1), pool="all"), k.Filter(1)]),
}


def network(case: str, borders: bool = True) -> k.ConvNet:
    shape, widths, filters = CASES[case]
    home = k.Parameterization.from_widths(*widths)
    generator = torch.Generator().manual_seed(5)
    points = [a.point(shared.normal(generator, a.space.dimension)) for a in home.activations[:-1]]
    return k.ConvNet(home, shape, filters, k.tanh, points if borders else None)


def channel_first(a: Tensor) -> Tensor:
    return a.permute(0, 3, 1, 2)


def by_definition(p: Any, x: Tensor, w: Any) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Outputs at home, every z (n, T, m) and homogeneous patches, from torch's conv2d, unfold and avg_pool2d."""
    net, a = p.arrays[0], channel_first(x)
    zetas, applied = [], []
    for layer, look, W, f, shape in zip(net.layers, net.looks, w, p.net.filters, p.net.shapes, strict=False):
        size, stride, (up, left) = (conv.pairs(v) for v in f._numbers(shape))
        border = look.border[:, None, None]
        a = F.pad(a - border, (left, left, up, up)) + border  # pad with the point
        J = a.shape[1]
        patches = F.unfold(a, size, stride=stride).unflatten(1, (J, -1)).permute(0, 3, 2, 1).flatten(2)
        applied.append(torch.cat([patches, torch.ones_like(patches[..., :1])], -1))
        z = F.conv2d(a, W[:, :-1].unflatten(1, (*size, J)).permute(0, 3, 1, 2), W[:, -1], stride)
        rows, columns = z.shape[2:]
        z = z.flatten(2).mT  # (n, T, m)
        zetas.append(z)
        a = layer.phi.value(z @ layer.Phi.mT + layer.tau) @ layer.Omega.mT + layer.gamma
        a = a.mT.unflatten(2, (rows, columns))
        if f.pool:
            a = F.avg_pool2d(a, (rows, columns) if f.pool == "all" else f.pool)
    last = net.layers[-1]
    return torch.linalg.solve(last.Omega, (a[:, :, 0, 0] - last.gamma).mT).mT, zetas, applied


def truth(p: Any) -> Any:
    w = [W.clone().requires_grad_() for W in p.arrays[1]]
    eta, zetas, applied = by_definition(p, p.arrays[2], w)
    return shared.sums(p.likelihood, eta, zetas, applied, list(range(len(zetas))))


# The layer -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_equation_4_1_the_network_is_the_one_of_torch_with_the_point_at_its_border(case):
    p = shared.problem(network(case))
    net, w, x = p.arrays
    eta, zetas, _ = by_definition(p, x, w)
    a, seen = conv.forward(net, w, x)
    shared.close(mlp.outputs(net, a)[0], eta)
    assert [u.shape[:2] for _, u in seen] == [z.shape[:2] for z in zetas]
    shared.close(p.kappa.outputs[p.net(p.omega, p.h.inputs)], a)


@pytest.mark.parametrize("case", CASES)
def test_equation_4_2_the_expanded_activations_hold_the_channels_of_the_first_offset_first(case):
    p = shared.problem(network(case))
    net, w, x = p.arrays
    _, _, applied = by_definition(p, x, w)
    _, seen = conv.forward(net, w, x)
    for i, ((abar, _), patches) in enumerate(zip(seen, applied, strict=True), 1):
        shared.close(abar, patches)  # the 1 at the end is eq. 4.3's homogeneous coordinate
        use = p.net.uses(i, p.omega, p.h.inputs)
        typed = torch.cat(p.kappa.weights.factors[i - 1].source[use.alpha], -1)
        shared.close(typed, patches[..., :-1])


@pytest.mark.parametrize("case", CASES)
def test_equation_4_3_the_layer_is_one_product_of_homogeneous_matrices_and_one_function(case):
    p = shared.problem(network(case))
    net, w, x = p.arrays
    _, seen = conv.forward(net, w, x)
    for (abar, u), W, layer in zip(seen, w, net.layers, strict=True):
        last = torch.cat([torch.zeros_like(W[:1, :-1]), torch.ones_like(W[:1, :1])], 1)
        zbar = abar @ torch.cat([W, last]).mT  # [Z]_H = [W]_H [A]_H
        shared.close(zbar[..., -1], torch.ones_like(zbar[..., -1]))
        shared.close(zbar[..., :-1] @ layer.Phi.mT + layer.tau, u)


@pytest.mark.parametrize(("J", "offsets"), [(2, 9), (1, 4), (3, 1)])
def test_equation_4_4_a_patch_has_one_1_so_the_paper_s_matrix_has_the_wrong_shape(J, offsets):
    generator = torch.Generator().manual_seed(0)
    Omega, gamma = testing.change(J, 10.0, generator)
    patch = shared.normal(generator, 7, offsets, J)
    change = conv.patch_change(Omega, gamma, offsets)
    moved = (patch @ Omega.mT + gamma).flatten(1)
    shared.close(mlp.bar(patch.flatten(1)) @ change.mT, mlp.bar(moved))
    printed = torch.kron(torch.eye(offsets), mlp.homogeneous(Omega, gamma))  # 1 (x) [Omega]_H
    assert len(change) == J * offsets + 1 and len(printed) == (J + 1) * offsets
    assert (len(change) == len(printed)) == (offsets == 1)
    # It is right for what eq. 2.12 is about: |Delta| points, each with a 1 of its own.
    shared.close(mlp.bar(patch).flatten(1) @ printed.mT, mlp.bar(patch @ Omega.mT + gamma).flatten(1))
    # torch's unfold stacks channel by channel, and then the factors stand the other way round.
    channels = patch.mT.flatten(1)
    other = mlp.homogeneous(
        torch.kron(Omega, torch.eye(offsets, dtype=torch.float64)), gamma.repeat_interleave(offsets)
    )
    shared.close(mlp.bar(channels) @ other.mT, mlp.bar((patch @ Omega.mT + gamma).mT.flatten(1)))


@given(testing.objectives(testing.convolutional_networks()), st.data())
def test_equation_4_4_the_twin_s_weights_are_those_of_the_induced_basis(problem, data):
    h, omega = problem
    h = k.Objective(h.net, k.Gaussian(h.net.home.outputs), h.inputs, h.net(omega, h.inputs))
    kappa = data.draw(testing.parameterizations(h.net.home))
    net, *_ = h.in_basis(kappa)
    w = conv.twin(net, list(h.net.home.weights[omega]), *h.net.home.inputs.to(kappa.inputs))
    for W, V in zip(w, kappa.weights[omega], strict=True):
        shared.close(W, V)


@given(st.tuples(st.integers(1, 6), st.integers(1, 6)), st.data())
def test_looking_and_being_looked_at_are_transposes(shape, data):
    """<P a, D> = <a, P^T D> for the linear part of the patches, at any size, stride and padding."""
    padding = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = tuple(data.draw(st.integers(1, n + 2 * p)) for n, p in zip(shape, padding, strict=True))
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    places, back = conv.look(shape, size, stride, padding)
    J, generator = data.draw(st.integers(1, 3)), torch.Generator().manual_seed(1)
    look = conv.Look(places, back, torch.zeros(J, dtype=torch.float64), None)
    a = shared.normal(generator, 2, shape[0] * shape[1], J)
    patches = conv.expanded(a, look)[..., :-1]
    D = shared.normal(generator, *patches.shape)
    image = channel_first(a.unflatten(1, shape))
    padded = F.pad(image, (padding[1], padding[1], padding[0], padding[0]))
    unfolded = F.unfold(padded, size, stride=stride).unflatten(1, (J, -1)).permute(0, 3, 2, 1).flatten(2)
    assert torch.equal(patches, unfolded)
    assert close((patches * D).sum(), (a * conv.expanded_back(D, look)).sum())
    assert conv.grid(shape, size, stride, padding)[0] * conv.grid(shape, size, stride, padding)[1] == len(places)


# The factors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", shared.LIKELIHOODS)
@pytest.mark.parametrize("case", CASES)
def test_equation_4_5_the_factors_are_the_sums_written_out_over_data_and_output_places(case, likelihood):
    p = shared.problem(network(case), likelihood, n=5)
    t = truth(p)
    for (A, G), EA, EG, T in zip(conv.factors(*p.arrays), t.A, t.G, t.T, strict=True):
        shared.close(A, T * EA)
        shared.close(G, EG)
    shared.close(conv.fisher(*p.arrays), t.F, 1e-11)
    net, w, x = p.arrays
    ours = shared.flat(conv.gradient(net, w, x, p.y))
    auto = torch.func.grad(lambda v: conv.loss(net, shared.unflat(v, w), x, p.y))(shared.flat(w))
    shared.close(ours, auto, 1e-11)


def test_equation_4_5_counts_the_places_of_the_output_and_not_of_the_input():
    """With stride 2 an image of 30 places has 9 output places (and a valid filter would leave fewer still)."""
    p = shared.problem(network("stride 2"), n=3)
    A, _ = conv.factors(*p.arrays)[0]
    assert p.net.shapes[0] == (5, 6) and p.net.shapes[1] == (3, 3)
    assert close(A[-1, -1], torch.tensor(9.0).double())  # |T| E[1 * 1]


@pytest.mark.parametrize("case", ["same", "one place", "averages"])
def test_equation_4_6_the_step_is_the_dense_solve_with_the_block_diagonal_matrix(case):
    p = shared.problem(network(case), n=60)
    net, w, x = p.arrays
    D, factors = conv.gradient(net, w, x, p.y), conv.factors(net, w, x)
    block = torch.block_diag(*(torch.kron(A, G) for A, G in factors))
    step = shared.flat(w) - shared.flat(updates.kfac(w, D, factors, 1.0))
    assert (block @ step - shared.flat(D)).norm() < 1e-12 * block.norm() * step.norm()
    typed = k.KFAC(1.0)(p.h, p.omega)
    again = shared.flat(w) - shared.flat(p.kappa.weights[typed])
    assert (block @ again - shared.flat(D)).norm() < 1e-12 * block.norm() * again.norm()


def test_remark_4_1_independence_is_not_enough_the_cross_terms_between_places_are_dropped():
    """Behind a global average every place has the same derivative, so the cross terms carry nearly all of the block."""
    shape, home = (6, 6), k.Parameterization.from_widths(1, 2, 2)
    net = k.ConvNet(home, shape, [k.Filter(3, padding="same", pool="all"), k.Filter(1)])
    p = shared.problem(net, n=15)
    (A, G), *_ = conv.factors(*p.arrays)
    size = len(A) * len(G)
    exact = truth(p).F[:size, :size]  # the sums written out, cross terms and all
    weight, pairs = conv.fisher_covectors(*p.arrays)
    D, abar = pairs[0]
    diagonal: Any = sum(
        sharing.fisher(weight, [(D[:, :, t : t + 1], abar[:, t : t + 1])]) for t in range(abar.shape[1])
    )
    error = lambda block: float((block - exact).norm() / exact.norm())
    assert error(conv.fisher(*p.arrays)[:size, :size]) < 1e-11
    for block in (torch.kron(A, G), diagonal):  # far too small, not only another matrix
        assert error(block) > 0.9 and block.norm() < 0.2 * exact.norm()
    one_place = shared.problem(
        network("one place"), n=1
    )  # one place and one datum: nothing to drop, nothing to average
    (A, G), *_ = conv.factors(*one_place.arrays)
    shared.close(torch.kron(A, G), conv.fisher(*one_place.arrays)[: len(A) * len(G), : len(A) * len(G)])


# The theorems --------------------------------------------------------------------------------------------------------


@st.composite
def twins(draw: st.DrawFn) -> Any:
    problem = draw(testing.objectives(testing.convolutional_networks()))
    home: Any = problem.h.net.home
    kappa = draw(testing.parameterizations(home))
    offsets = home.offsets
    changes = [a.to(b) for a, b in zip(home.activations, kappa.activations, strict=True)]
    bars = [conv.patch_change(Omega, gamma, n) for (Omega, gamma), n in zip(changes, offsets, strict=False)]
    Phis = [b.to(a)[0] for a, b in zip(home.preactivations, kappa.preactivations, strict=True)]
    return problem, kappa, bars, Phis


@given(twins())
def test_theorem_4_2_the_twin_computes_the_same_function(case):
    problem, kappa, _, _ = case
    shared.assert_same_function(conv, problem, kappa)


@given(twins())
def test_theorem_4_2_the_factors_change_by_congruence_and_the_gradient_as_a_covector(case):
    shared.assert_congruence(conv, *case)


@given(twins())
def test_theorem_4_2_every_step_solves_its_equation(case):
    problem, kappa, _, _ = case
    assume(shared.assert_step_solves(conv, problem, kappa))


@given(testing.objectives(testing.convolutional_networks()), st.data())
def test_definition_4_3_the_typed_metric_has_the_factors_as_its_matrix_in_every_basis(problem, data):
    kappa = data.draw(testing.parameterizations(problem[0].net.home))
    shared.assert_typed_metric(conv, problem, kappa)


@pytest.mark.parametrize("case", CASES)
def test_equation_4_7_each_layer_has_t_times_a_times_g_for_every_output_metric(case):
    p = shared.problem(network(case), "categorical", n=5)
    net, w, x = p.arrays
    home = p.net.home.outputs
    log_partition = lambda y: torch.logsumexp(torch.cat([home[y], torch.zeros(1, dtype=torch.float64)]), 0)
    d = len(net.layers[-1].gamma)
    carried = torch.linalg.inv(net.layers[-1].Omega)
    metrics: list[tuple[Any, Any, Any]] = [
        (None, conv.factors(net, w, x), conv.fisher(net, w, x)),
        (lambda y: k.euclidean(home), *in_arrays(p, lambda a: (carried.mT @ carried).expand(len(a), d, d))),
        (k.hessian(log_partition), conv.factors(net, w, x), conv.fisher(net, w, x)),
    ]
    for metric, factors, full in metrics:
        for i, (A, G) in enumerate(factors, 1):
            ours = p.kappa.weights.factors[i - 1][k.independence(p.h, p.omega, i, metric)]
            shared.close(ours, torch.kron(A, G), 1e-10)
        pulled = k.expected_pullback(p.h, p.omega, metric or p.h.likelihood.metric)
        shared.close(p.kappa.weights[pulled], full, 1e-10)


def in_arrays(p: Any, metric: Any) -> tuple[Any, Any]:
    net, w, x = p.arrays
    return conv.pullback_factors(net, w, x, metric), conv.pullback_matrix(net, w, x, metric)


@given(testing.objectives(testing.convolutional_networks()))
def test_theorem_4_4_it_is_a_metric_and_nondegenerate_where_the_pullback_of_one_place_or_of_all_is(problem):
    """Not "for every place": it is enough that one place, or the true pullback, sees every direction of W_l."""
    h, omega = problem
    net, x, _ = h.in_basis(h.net.home)
    exact, start = conv.fisher(net, list(h.net.home.weights[omega]), x), 0  # shares no line with `independence`
    for i, basis in enumerate(h.net.home.weights.factors, 1):
        g = basis[k.independence(h, omega, i)]
        assert close(g, g.mT) and torch.linalg.eigvalsh(g).min() >= -1e-12 * g.norm()
        size = basis.space.dimension
        block = exact[start : start + size, start : start + size]
        start += size
        use = h.net.uses(i, omega, h.inputs)
        local = k.curvature.at_each_place(use.rest, use.zeta, h.likelihood.metric(h.net(omega, h.inputs)))
        hypotheses = [block, *shared.each_place(use, local, basis, h.net.home.preactivations[i - 1])]
        if any(shared.definite(hypothesis) for hypothesis in hypotheses):
            assert shared.definite(g, 1e-13)


def test_theorem_4_4_read_as_for_every_place_its_hypothesis_fails_with_any_border():
    """2 channels, 3 x 3, 400 images: a corner sees 4 of 9 offsets, the rest is the point outside, which is constant."""
    home = k.Parameterization.from_widths(2, 3, 2)
    net = k.ConvNet(home, (4, 4), [k.Filter(3, padding="same"), k.Filter(None)])
    p = shared.problem(net, n=400)
    abar, _ = conv.forward(*p.arrays)[1][0]
    rank = lambda t: int(torch.linalg.matrix_rank(abar[:, t].mT @ abar[:, t]))
    assert [rank(t) for t in (0, 1, 5)] == [9, 13, 19]
    assert k.nondegeneracy(k.kfac(p.h, p.omega))


@given(testing.objectives(testing.convolutional_networks()))
def test_theorem_4_4_the_report_and_the_refusal_agree(problem):
    h, omega = problem
    report = k.nondegeneracy(k.kfac(h, omega))
    try:
        k.kfac(h, omega).sharp(h.d(omega))
        refused = False
    except k.DegenerateMetricError as error:
        refused = True
        assert "layer" in str(error).lower()
    assert bool(report) == (not refused)


# What is not carried along -------------------------------------------------------------------------------------------


def differ(p: Any, net: Any, w: Any, x: Any) -> float:
    """How far the outputs of a network in kappa are from those of the typed network, before any step."""
    home = p.net.home.outputs
    truth = home[p.net(p.omega, p.h.inputs)]
    ours = home[p.kappa.outputs.point(conv.forward(net, w, x)[0])]
    return float((ours - truth).norm() / (truth - truth.mean(0)).norm())


def test_zero_padding_after_a_shift_is_another_function_from_the_start():
    p = shared.problem(network("same", borders=False))
    net, w, x = p.arrays
    zeros = net._replace(looks=tuple(look._replace(border=0 * look.border) for look in net.looks))
    assert differ(p, net, w, x) < 1e-12
    assert differ(p, zeros, w, x) > 0.1
    linear = {
        i: (torch.diag(torch.arange(1.0, b.space.dimension + 1).double()), None)
        for i, b in enumerate(p.net.home.activations)
    }
    p.kappa = p.net.home.changed(linear)
    arrays, x, _ = p.h.in_basis(p.kappa)
    assert all(close(look.border, 0 * look.border) for look in arrays.looks)
    assert differ(p, arrays, list(p.kappa.weights[p.omega]), x) < 1e-12


def test_a_basis_of_its_own_at_every_place_leaves_no_shared_weights():
    """If places had bases Omega_t, the W that undoes them would have to be another at every place."""
    p = shared.problem(network("same"), n=60)
    net, w, x = p.arrays
    generator = torch.Generator().manual_seed(3)
    moved = torch.stack([testing.change(2, 3.0, generator)[0] for _ in range(12)]).unflatten(0, p.net.grid)
    other = (moved @ x[..., None])[..., 0]
    assert differ(p, net, w, other) > 0.1
    patches = conv.expanded(other.flatten(1, 2), net.looks[0]).flatten(0, 1)
    z = (conv.expanded(x.flatten(1, 2), net.looks[0]) @ w[0].mT).flatten(0, 1)
    best = torch.linalg.pinv(patches) @ z  # the best W for all places
    assert (patches @ best - z).norm() > 0.1 * (z - z.mean(0)).norm()
    patches, z = patches[4::12], z[4::12]  # one place, inside the image: there is one for it
    assert len(z) > patches.shape[1] and (patches @ torch.linalg.pinv(patches) @ z - z).norm() < 1e-10 * z.norm()


def averaged() -> Any:
    home = k.Parameterization.from_widths(2, 3, 2)
    filters = [k.Filter(2, pool=k.Average(3, stride=2, padding=1)), k.Filter(None)]
    return shared.problem(k.ConvNet(home, (4, 4), filters))


def test_zeros_counted_in_an_average_are_another_function_from_the_start():
    p = averaged()
    net, w, x = p.arrays
    pool = net.looks[0].pool
    counted = net.looks[0]._replace(pool=pool._replace(counts=0 * pool.counts + 9))
    assert differ(p, net, w, x) < 1e-12
    assert differ(p, net._replace(looks=(counted, *net.looks[1:])), w, x) > 0.1
    image = torch.randn(1, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = image.flatten(2).mT
    ours = (pool.members @ rows / pool.counts).mT.reshape(1, 3, 2, 2)
    assert close(ours, F.avg_pool2d(image, 3, 2, 1, count_include_pad=False))
    assert close((pool.members @ rows / 9).mT.reshape(1, 3, 2, 2), F.avg_pool2d(image, 3, 2, 1))
    assert (pool.counts < 9).any()


def test_the_number_of_places_has_no_say_in_the_invariance_but_in_the_balance_of_the_layers():
    """Without |T| the twins agree as well, and both go elsewhere."""
    p = shared.problem(network("same"), n=80, condition=3.0)

    def without(net: Any, w: Any, x: Any) -> Any:
        return [(A / A[-1, -1], G) for A, G in conv.factors(net, w, x)]

    runs = {}
    for name, curvature in (("with", None), ("without", without)):
        for basis in (p.net.home, p.kappa):
            runs[name, basis is p.kappa] = k.run_in(basis, updates.kfac, p.h, p.omega, 4, lr=0.01, curvature=curvature)
    at_home = p.net.home.outputs
    for name in ("with", "without"):
        assert float(k.gap(runs[name, True], runs[name, False], at_home).max()) < 1e-9
    assert float(k.gap(runs["without", False], runs["with", False], at_home).min()) > 0.1


def test_theorem_4_2_twins_stay_together_where_sgd_and_a_separate_bias_part():
    p = shared.problem(network("averages"), n=200, condition=10.0)
    gaps = {}
    for update, lr in ((updates.kfac, 0.05), (updates.sgd, 0.05), (updates.kfac_separate_bias, 0.05)):
        one, other = (k.run_in(basis, update, p.h, p.omega, 8, lr=lr) for basis in (p.net.home, p.kappa))
        gaps[update.__name__] = k.gap(other, one, p.net.home.outputs)
    typed = k.run(k.KFAC(0.05), p.h, p.omega, 8)
    assert float(gaps["kfac"].max()) < 1e-9
    assert float(gaps["sgd"].min()) > 0.1 and float(gaps["kfac_separate_bias"].min()) > 1e-2
    run = k.run_in(p.kappa, updates.kfac, p.h, p.omega, 8, lr=0.05)
    assert float(k.gap(run, typed, p.net.home.outputs).max()) < 1e-9


# At the door ---------------------------------------------------------------------------------------------------------


def test_wrong_things_at_the_door_of_a_convolutional_network():
    home = k.Parameterization.from_widths(1, 2, 2)
    both = [k.Filter(2), k.Filter(None)]
    net = k.ConvNet(home, (3, 3), both)
    assert repr(net) == "<ConvNet 1-2-2 on 3 x 3 places>" and net.shapes == [(3, 3), (2, 2), (1, 1)]
    for filters, words in [
        ([k.Filter(2)], "2 layers want as many filters"),
        ([k.Filter(4), k.Filter(None)], "finds no place in an image of 3 x 3"),
        ([k.Filter(2), k.Filter(1)], "2 x 2 places are left at the end; the output is one"),
        ([k.Filter(2, padding="same"), k.Filter(None)], "has no middle"),
        ([k.Filter(2, padding="valid"), k.Filter(None)], "padding is a number, a pair of them"),
        ([k.Filter(2, pool="mean"), k.Filter(None)], 'an Average or "all"'),
        ([k.Filter(2, pool=3), k.Filter(None)], "finds no place in 2 x 2 places"),
        ([k.Filter(2, pool=k.Average(2, padding=2)), k.Filter(None)], "a padding is smaller than the window"),
        ([k.Filter(0), k.Filter(None)], "sizes and strides are 1 or more"),
        ([k.Filter(2, stride=0), k.Filter(None)], "sizes and strides are 1 or more"),
    ]:
        with pytest.raises(k.SpaceError, match=words):
            k.ConvNet(home, (3, 3), filters)
    a = home.activations
    with pytest.raises(k.KindError, match="the border is a point of A0, not a Tensor"):
        k.ConvNet(home, (3, 3), both, borders=[torch.zeros(1), None])  # type: ignore[list-item]
    with pytest.raises(k.SpaceError, match="the border is a point of A0, not of A1"):
        k.ConvNet(home, (3, 3), both, borders=[a[1].point([0.0, 0.0]), None])
    with pytest.raises(k.SpaceError, match="2 layers want as many borders"):
        k.ConvNet(home, (3, 3), both, borders=[None])
    with pytest.raises(k.KindError, match="Parameterization"):
        k.ConvNet([1, 2], (3, 3), both)  # type: ignore[arg-type]
    omega = net.home.weights.point([torch.zeros(b.shape).double() for b in net.home.weights.factors])  # type: ignore[union-attr]
    for batch in [(), (4,), (4, 3), (4, 3, 2), (4, 4, 3, 3)]:
        with pytest.raises(k.SpaceError, match=r"takes n inputs of 3 x 3 points each"):
            net(omega, a[0].point(torch.zeros(*batch, 1).double()))
    with pytest.raises(k.SpaceError, match="layers are counted from 1 to 2"):
        net.uses(0, omega, a[0].point(torch.zeros(1, 3, 3, 1).double()))


def test_the_tricks_of_the_trade_serve_all_places_at_once():
    p = shared.problem(network("averages"), n=50)
    for basis in (k.whitened(p.net, p.omega, p.h.inputs), k.normalised(p.net, p.omega, p.h.inputs)):
        for a, alpha in zip(
            basis.activations, [p.h.inputs, *(alpha for _, alpha in p.net.layers(p.omega, p.h.inputs))]
        ):
            numbers = a[alpha].flatten(0, -2)
            if a is not basis.outputs:
                assert close(numbers.mean(0), 0 * numbers.mean(0), 1e-9) and close(
                    numbers.var(0, correction=0), 1 + 0 * numbers.mean(0), 1e-9
                )
        net, x, _ = p.h.in_basis(basis)
        shared.close(conv.forward(net, list(basis.weights[p.omega]), x)[0], basis.outputs[p.net(p.omega, p.h.inputs)])
