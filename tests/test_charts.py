"""Section 2.1.2: what a bent chart does to a step, straight (eq. 2.3) or along a geodesic (eq. 2.6, repaired)."""

import itertools
import math
from functools import partial

import pytest
import torch

import kfac_lite as k
from kfac_lite.coordinates import charts, mlp, updates

pytestmark = pytest.mark.no_gauge

tensor = partial(torch.tensor, dtype=torch.float64)

# Normal distributions by (mean, deviation), with their Fisher metric; h is the mean of -log p over data of mean 0.4 and
# second moment 1.3.
FISHER = lambda w: torch.stack([w[1] ** -2, 2 * w[1] ** -2]).diag()
LOSS = lambda w: w[1].log() + (1.3 - 0.8 * w[0] + w[0] ** 2) / (2 * w[1] ** 2)
START = tensor([1.5, 0.8])
CHARTS = {
    "deviation": (lambda u: u, lambda w: w),
    "log-deviation": (lambda u: torch.stack([u[0], u[1].exp()]), lambda w: torch.stack([w[0], w[1].log()])),
    "precision": (lambda u: torch.stack([u[0], u[1] ** -0.5]), lambda w: torch.stack([w[0], w[1] ** -2])),
    "natural": (
        lambda u: torch.stack([u[0] / u[1], u[1] ** -0.5]),  # (mean / variance, 1 / variance)
        lambda w: torch.stack([w[0] / w[1] ** 2, w[1] ** -2]),
    ),
}


def step(name, rule, lr, **options):
    """One step of h in this chart, read at home."""
    chart, numbers = CHARTS[name]
    u = rule(lambda u: LOSS(chart(u)), charts.in_chart(FISHER, chart), numbers(START), lr, **options)
    return chart(u)


EXACT = step("deviation", charts.geodesic_step, 0.3, steps=60)


def test_equation_2_4_the_metric_of_the_normal_family_is_the_expected_square_of_the_score():
    """By sampling-free quadrature: E[x], ..., E[x^4] of a normal are exact on five Gauss-Hermite points."""
    mu, sigma = START
    nodes = tensor([-2.8569700138728056, -1.355626179974266, 0.0, 1.355626179974266, 2.8569700138728056])
    weights = tensor([0.011257411327720689, 0.22207592200561266, 8 / 15, 0.22207592200561266, 0.011257411327720689])
    minus_log_p = lambda w, x: w[1].log() + (x - w[0]) ** 2 / (2 * w[1] ** 2)
    scores = torch.stack([torch.func.grad(minus_log_p)(START, x) for x in mu + sigma * nodes])
    torch.testing.assert_close(scores.mT @ (weights[:, None] * scores), FISHER(START), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in CHARTS if name != "deviation"])
def test_equation_2_3_under_a_bent_chart_the_gap_of_one_step_falls_as_the_square_of_the_rate(name):
    rates = [0.08, 0.04, 0.02, 0.01]
    straight = lambda name, lr: step(name, charts.natural_step, lr)
    gaps = [float((straight(name, lr) - straight("deviation", lr)).norm()) for lr in rates]
    coefficients = [gap / lr**2 for gap, lr in zip(gaps, rates)]
    assert min(coefficients) > 0.05
    ratios = [a / b for a, b in itertools.pairwise(gaps)]
    assert all(abs(r - 4) < 0.6 for r in ratios) and abs(ratios[-1] - 4) < abs(ratios[0] - 4)


def test_equation_2_3_over_a_fixed_time_the_gap_falls_as_the_rate():
    def flow(name, lr):
        chart, numbers = CHARTS[name]
        metric, u = charts.in_chart(FISHER, chart), numbers(START)
        for _ in range(round(1 / lr)):
            u = charts.natural_step(lambda u: LOSS(chart(u)), metric, u, lr)
        return chart(u)

    gaps = [float((flow("log-deviation", lr) - flow("deviation", lr)).norm()) for lr in (0.05, 0.025, 0.0125)]
    assert all(abs(a / b - 2) < 0.3 for a, b in itertools.pairwise(gaps))


@pytest.mark.parametrize("name", CHARTS)
def test_equation_2_6_as_it_should_be_printed_the_geodesic_step_is_one_point_in_every_chart(name):
    """With the integration's own error beside it: halving its step makes the gap about 16 times smaller."""
    home = EXACT
    assert float((home - START).norm()) > 0.3
    coarse, fine = (float((step(name, charts.geodesic_step, 0.3, steps=n) - home).norm()) for n in (6, 12))
    assert fine < 3e-6 and 11 < coarse / fine < 25
    straight = step(name, charts.natural_step, 0.3)
    assert float((straight - home).norm()) > 0.05  # and the straight step is another point


def test_equation_2_6_the_exponential_map_is_the_known_one_of_the_half_plane():
    """(mu / sqrt 2, sigma) has twice the hyperbolic metric, whose geodesics are half-circles and vertical lines."""
    up = charts.exponential(FISHER, tensor([0.3, 2.0]), tensor([0.0, 1.0]), 40)
    torch.testing.assert_close(up, tensor([0.3, 2 * math.exp(0.5)]), rtol=1e-8, atol=0)
    # from the top of the circle of radius r around (c, 0), at speed s in hyperbolic length: (c + r tanh s, r / cosh s)
    r, s = 2.0, 0.7
    along = charts.exponential(FISHER, tensor([0.0, r]), tensor([math.sqrt(2) * s * r, 0.0]), 40)
    torch.testing.assert_close(along, tensor([math.sqrt(2) * r * math.tanh(s), r / math.cosh(s)]), rtol=1e-8, atol=0)


def test_equation_2_6_a_geodesic_keeps_its_speed():
    v = tensor([0.7, -0.4])
    ends = [charts.exponential(FISHER, START, t * v, steps=30) for t in (0.999, 1.001)]
    w, velocity = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 0.002
    assert abs(velocity @ FISHER(w) @ velocity / (v @ FISHER(START) @ v) - 1) < 1e-5


def test_theorem_3_1_is_not_the_rule_of_equation_2_6_straight_and_geodesic_part_by_half_of_lr_squared():
    """d = 1, g = w^2, from 1 with velocity 1: the geodesic is at sqrt(1 + 2 lr), the straight line at 1 + lr."""
    metric = lambda w: (w**2)[:, None]
    for lr in (0.1, 0.01):
        end = float(charts.exponential(metric, tensor([1.0]), tensor([lr]), 20))
        assert abs(end - math.sqrt(1 + 2 * lr)) < 1e-8
        assert abs((end - (1 + lr)) / lr**2 + 0.5) < lr


def test_equation_2_6_in_an_affine_chart_of_a_constant_metric_both_rules_are_one():
    metric = lambda w: tensor([[2.0, 0.3], [0.3, 1.0]]) + 0 * w[0]
    one = charts.natural_step(LOSS, metric, START, 0.3)
    other = charts.geodesic_step(LOSS, metric, START, 0.3, 4)
    torch.testing.assert_close(one, other, rtol=1e-13, atol=0)


def test_equation_2_3_on_a_network_the_gap_of_a_nonlinear_reparameterization_falls_as_the_square_of_the_rate():
    """w = sinh(u), number by number: a smooth chart of the weights that is not affine. The affine one has gap 0."""
    generator = torch.Generator().manual_seed(2)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    home = k.Parameterization.from_widths(2, 2, 1)
    net = k.MLP(home, k.tanh)
    omega, x = home.weights.point([normal(2, 3), normal(1, 3)]), normal(30, 2)
    h = k.Objective(net, k.Bernoulli(home.outputs), home.inputs.point(x), (normal(30, 1) > 0).double())
    arrays, x, y = h.in_basis(home)
    shapes = [W.shape for W in home.weights[omega]]

    def unflat(v):
        parts = v.split([a * b for a, b in shapes])
        return [updates.unvec(part, shape) for part, shape in zip(parts, shapes)]

    loss, fisher = lambda v: mlp.loss(arrays, unflat(v), x, y), lambda v: mlp.fisher(arrays, unflat(v), x)
    w = torch.cat([updates.vec(W) for W in home.weights[omega]])
    outputs = lambda v: mlp.forward(arrays, unflat(v), x)[0]
    scale = torch.linspace(0.5, 2, len(w), dtype=torch.float64)

    def gap(chart, inverse, lr):
        metric = charts.in_chart(fisher, chart)
        there = chart(charts.natural_step(lambda u: loss(chart(u)), metric, inverse(w), lr))
        at_home = charts.natural_step(loss, fisher, w, lr)
        return float((outputs(there) - outputs(at_home)).norm() / (outputs(at_home) - outputs(w)).norm())

    bent = [gap(torch.sinh, torch.asinh, lr) for lr in (1e-3, 5e-4, 2.5e-4)]  # relative to a move of order lr
    assert bent[0] > 1e-3 and all(abs(a / b - 2) < 0.25 for a, b in itertools.pairwise(bent))
    assert gap(lambda u: scale * u + 1, lambda w: (w - 1) / scale, 0.02) < 1e-8
