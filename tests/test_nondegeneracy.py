"""A (x) G is nondegenerate exactly where A and G are positive definite; the report says which fails, where and why."""

import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kfac_lite as k
from kfac_lite import testing


def problem(widths=(2, 4, 3), n=40, likelihood: type = k.Gaussian, phi=k.tanh, seed=0, inputs=None, weights=None):
    """A random net; `inputs(x)` and `weights(list)` may spoil its data and weights, as numbers at home."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    home = k.Parameterization.from_widths(*widths)
    net = k.MLP(home, phi)
    w = [normal(b, a + 1) for a, b in pairwise(widths)]
    x = normal(n, widths[0])
    omega = home.weights.point(weights(w) if weights else w)
    points = home.inputs.point(inputs(x) if inputs else x)
    model = likelihood(home.outputs)
    h = k.Objective(net, model, points, model.sample(net(omega, points), generator))
    return h, omega


def said(report) -> str:
    return " ".join(str(report).split())


def assert_fails(h, omega, layer, factor, rank, text, metric=None):
    """One factor of one layer fails, with this rank and these words; and `sharp` fails in the same words."""
    g = k.kfac(h, omega, metric)
    report = k.nondegeneracy(g)
    assert not report and [r.name for r in report.failing] == [f"layer {layer}"], said(report)
    one = report.layers[layer - 1]
    failing, other = (one.A, one.G) if factor == "A" else (one.G, one.A)
    assert not failing.definite and failing.rank == rank and other.definite
    assert failing.eigenvalue < failing.threshold == 1e-14
    assert text in failing.cause and text in said(report) and f"rank {rank} of {failing.dimension}" in str(report)
    with pytest.raises(k.DegenerateMetricError) as info:
        g.sharp(h.d(omega))
    assert f"Layer {layer}: " in " ".join(str(info.value).split()) and info.value.report == one
    assert text in " ".join(str(info.value).split())


def test_a_generic_net_is_nondegenerate_and_the_report_says_so():
    h, omega = problem()
    report = k.nondegeneracy(k.kfac(h, omega))
    assert report and not report.failing
    assert [(r.A.rank, r.G.rank) for r in report.layers] == [(3, 4), (5, 3)]
    assert all(r.A.eigenvalue > 1e-10 and r.A.cause == "" for r in report.layers)
    assert repr(report) == "<nondegenerate, 2 layers>" and "layer 1: nondegenerate" in str(report)
    k.kfac(h, omega).sharp(h.d(omega))


def test_too_few_data():
    h, omega = problem(n=3)
    text = "Too few data: there are 3 data, and 5 in general position are needed."
    assert_fails(h, omega, 2, "A", 3, text)
    twice = lambda x: x[[0, 0, 0, 0, 1, 1, 1, 1, 2, 3]]
    text = "there are 10 data, 4 of them different, and 5 in general"
    assert_fails(*problem(n=10, inputs=twice), 2, "A", 4, text)


@pytest.mark.parametrize(
    "spoil, text",
    [
        (lambda x: torch.stack([x[:, 0], 0 * x[:, 1] + 3], 1), "Activation 1 of A0 (counted from 0) is constant"),
        (
            lambda x: x[:, [0, 0]],
            "activation 0 of A0 (counted from 0) and activation 1 of A0 (counted from 0) are equal",
        ),
        (lambda x: torch.stack([x[:, 0], 2 - 3 * x[:, 0]], 1), "determine each other by an affine function"),
    ],
)
def test_constant_and_equal_features(spoil, text):
    assert_fails(*problem(inputs=spoil), 1, "A", 2, text)


def test_features_in_a_hyperplane():
    spoil = lambda x: torch.cat([x[:, :2], x[:, :1] + x[:, 1:2] + 1], 1)
    assert_fails(*problem((3, 2, 1), inputs=spoil), 1, "A", 3, "Activations depend on one another")


def test_redundant_logits_spoil_the_last_layer_only():
    h, omega = problem(likelihood=k.Softmax)
    text = "The outputs are redundant: with a logit for every class, adding one number to all of them"
    assert_fails(h, omega, 2, "G", 2, text)


def test_a_users_output_metric_that_sees_one_output_only():
    h, omega = problem()
    first = torch.zeros(3, 3, dtype=torch.float64)
    first[0, 0] = 1
    metric = lambda y: k.from_matrix(h.net.home.outputs, first.expand(len(h), 3, 3))
    assert_fails(h, omega, 2, "G", 1, "Units 1, 2 are dead", metric)


def test_a_dead_unit_by_its_weights_and_by_its_slope():
    def no_weight_onward(w):
        w[1][:, 2] = 0
        return w

    assert_fails(*problem(weights=no_weight_onward), 1, "G", 3, "Unit 2 is dead, counted from 0")
    relu = k.Activation(torch.relu, lambda u: (u > 0).double())

    def always_negative(w):
        w[0][1] = torch.tensor([0.0, 0.0, -5.0])
        return w

    # its activation is 0 on all data, so A of the next layer fails as well
    report = k.nondegeneracy(k.kfac(*problem(phi=relu, weights=always_negative)))
    assert "Unit 1 is dead" in report.layers[0].cause and "Activation 1 of A1" in report.layers[1].A.cause
    assert report.layers[1].G.definite


def test_a_linear_net_wider_than_what_follows():
    """However many data: rank G <= the narrowest width behind it, for the derivative is the same at every datum."""
    for n in (40, 200):
        report = k.nondegeneracy(k.kfac(*problem((4, 6, 2), n, phi=k.identity)))
        assert report.layers[0].G.rank == 2 and "the same 2 of 6 directions" in report.layers[0].cause
        assert report.layers[1].A.rank == 5 and "lie in a hyperplane" in report.layers[1].cause
    deep = k.nondegeneracy(k.kfac(*problem((4, 6, 5, 1), 200, phi=k.identity)))
    assert [r.G.rank for r in deep.layers] == [1, 1, 1]
    assert "4 data" not in said(deep) and [bool(r.G.cause) for r in deep.layers] == [True, True, False]
    assert k.nondegeneracy(k.kfac(*problem((4, 3, 3), phi=k.identity)))


def test_too_few_data_for_the_derivatives():
    h, omega = problem((1, 6, 1), n=3)
    report = k.nondegeneracy(k.kfac(h, omega))
    text = "Too few data: 3 data measure 3 directions, 1 or fewer each; 6 are needed."
    assert (
        report.layers[0].A.definite
        and report.layers[0].G.rank == 3
        and text in " ".join(report.layers[0].G.cause.split())
    )


def test_two_units_that_do_the_same():
    def same(w):
        w[0][1], w[1][:, 1] = w[0][0], w[1][:, 0]
        return w

    h, omega = problem(weights=same)
    report = k.nondegeneracy(k.kfac(h, omega))
    assert "Units 0 and 1, counted from 0, do the same to all outputs" in " ".join(report.layers[0].cause.split())
    assert "are equal on all data" in " ".join(report.layers[1].A.cause.split())


def test_derivatives_that_depend_on_one_another():
    """Slopes 2u with u_2 = u_0 + u_1: what is left when nothing simpler is."""

    def dependent(w):
        w[0][2] = w[0][0] + w[0][1]
        w[1][0, :3] = 0.5
        return w

    report = k.nondegeneracy(k.kfac(*problem((2, 3, 1), phi=k.square, weights=dependent)))
    text = "The derivatives that come back to its units depend on one another: 2 of 3 directions are seen."
    assert text in report.layers[0].G.cause and report.layers[0].G.rank == 2


@pytest.mark.parametrize("n", [1, 2, 3, 5, 30])
@pytest.mark.parametrize("widths, likelihood, r", [((2, 5, 4, 3), k.Gaussian, 3), ((2, 5, 2), k.Categorical, 2)])
def test_how_many_data_the_derivatives_need(n, widths, likelihood, r):
    """Generic nonlinear nets: rank G_i = min(m_i, N r_i), r_i being the narrowest width from there on and the rank r of
    the output metric; the last G has rank r."""
    h, omega = problem(widths, n, likelihood)
    for i, layer in enumerate(k.nondegeneracy(k.kfac(h, omega)).layers, 1):
        r_i = min(r, *widths[i + 1 :]) if i + 1 < len(widths) else r
        assert layer.G.rank == (min(widths[i], n * r_i) if i + 1 < len(widths) else r)
        assert layer.A.rank == min(widths[i - 1] + 1, n)


def test_theorem_3_6_exactly_the_product_is_definite_where_both_factors_are():
    """For all ranks: the rank of A (x) G is the product of the ranks."""
    a, z = k.AffineBasis(k.AffineSpace(2, "A")), k.AffineBasis(k.AffineSpace(3, "Z"))
    generator = torch.Generator().manual_seed(0)
    for n in (1, 2, 3, 5):
        for r in (1, 2, 3):
            R = torch.randn(3, r, generator=generator, dtype=torch.float64)
            x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
            g = k.kronecker(k.second_moment(a.point(x)), k.from_matrix(z, R @ R.mT))
            dense = torch.linalg.matrix_rank(k.MapsBasis(a, z)[g], rtol=1e-10, hermitian=True)
            report = k.nondegeneracy(g)
            assert report.layers[0].A.rank * report.layers[0].G.rank == dense == min(n, 3) * r
            assert bool(report) == (dense == 9) == (n >= 3 and r == 3)


@given(testing.objectives(testing.networks(depth=(1, 3), widths=(1, 4)), more_data=(0, 4)), st.booleans())
def test_the_report_is_true_exactly_where_sharp_exists(case, few):
    h, omega = case
    h = h.batch([0, 1]) if few else h
    g = k.kfac(h, omega)
    report = k.nondegeneracy(g)
    if report:
        g.sharp(h.d(omega))
    else:
        with pytest.raises(k.DegenerateMetricError) as info:
            g.sharp(h.d(omega))
        assert re.search(r"Layer \d+: ", str(info.value)) and info.value.report in report.layers
        assert all(layer.cause for layer in report.failing)


def test_what_there_is_no_report_of():
    h, omega = problem()
    with pytest.raises(k.KindError, match="without damping"):
        k.nondegeneracy(k.kfac(h, omega) + 1e-3 * k.euclidean(h.net.home.weights))
    with pytest.raises(k.KindError, match="the report is of Kronecker products"):
        k.nondegeneracy(k.fisher(h, omega))
