"""What the chapter on section 2.1 says beyond the items: rulers, labels, slips of the paper, and its live figure."""

import math

import pytest
import torch

from kfac_lite import testing
from kfac_lite.coordinates import charts, mlp

from .chapter_cells import chapter
from .live_page import gap

pytestmark = pytest.mark.no_gauge

A = lambda *rows: torch.tensor(rows, dtype=torch.float64)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coins(seed: int):
    """Inputs (x, 1), weights, and the Fisher matrix of a logistic regression: eq. 2.2 in closed form."""
    x = torch.column_stack([normal(seed, 9), torch.ones(9, dtype=torch.float64)])
    w = normal(seed + 1, 2)
    p = torch.sigmoid(x @ w)
    return x, w, x.T @ ((p * (1 - p))[:, None] * x) / len(x)


@pytest.mark.parametrize("seed", range(5))
def test_the_divergence_to_second_order_is_f_if_both_are_averaged_over_the_inputs(seed: int):
    x, w, F = coins(seed)
    direction = normal(seed + 2, 2)
    errors = []
    for size in (1e-2, 5e-3):
        delta = size * direction
        p, q = torch.sigmoid(x @ w), torch.sigmoid(x @ (w + delta))
        kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
        half = delta @ F @ delta / 2
        errors.append(float((kl.mean() - half).abs()))
        assert (kl / half - 1).abs().max() > 0.1  # the paper's line, for a single x
    assert errors[1] < errors[0] / 6  # of third order


@pytest.mark.parametrize("seed", range(5))
def test_steepest_descent_no_step_of_the_same_length_has_a_lower_slope(seed: int):
    R = normal(seed, 4, 3)
    G, gradient = R.T @ R, normal(seed + 1, 3)
    best = -torch.linalg.solve(G, gradient)
    best = best / (best @ G @ best).sqrt()
    others = normal(seed + 2, 2000, 3)
    others = others / ((others @ G) * others).sum(1, keepdim=True).sqrt()
    assert (others @ gradient).min() >= gradient @ best
    assert torch.isclose(gradient @ best, -(gradient @ torch.linalg.solve(G, gradient)).sqrt())


def test_the_empirical_matrix_is_singular_at_the_best_forecast_where_fishers_is_not():
    readings = A(0.5, 1.5)
    mean, deviation = readings.mean(), readings.std(correction=0)
    residual = (readings - mean) / deviation
    D = torch.stack([-residual / deviation, (1 - residual**2) / deviation], 1)  # gradients of -log p
    assert D.mean(0).abs().max() < 1e-15  # the best forecast
    assert torch.linalg.matrix_rank(D.T @ D / 2) == 1
    assert torch.linalg.det(A([1.0, 0.0], [0.0, 2.0]) / deviation**2) > 0


def test_equation_2_6_as_printed_depends_on_the_zero_of_the_thermometer():
    metric = lambda w: torch.stack([w[1] ** -2, 2 * w[1] ** -2]).diag()
    risk = lambda w: w[1].log() + (0.25 + (1 - w[0]) ** 2) / (2 * w[1] ** 2)

    def mean(rule, shift):
        here = lambda w: torch.stack([w[0] - shift, w[1]])
        F, h, w = charts.in_chart(metric, here), lambda w: risk(here(w)), A(shift, 2.0)
        return (rule(h, F, w) - A(shift, 0.0))[0]

    printed = lambda h, F, w: w - 0.1 * charts.exponential(F, w, charts.natural_gradient(h, F, w))
    repaired = lambda h, F, w: charts.geodesic_step(h, F, w, 0.1)
    assert torch.isclose(mean(printed, 0.0) - mean(printed, 273.15), A(27.315)[0])
    assert (mean(repaired, 0.0) - mean(repaired, 273.15)).abs() < 1e-10
    without_rate = lambda h, F, w: w - charts.natural_gradient(h, F, w)  # the paper's line after 2.6
    assert (mean(without_rate, 0.0) - mean(repaired, 0.0)).abs() > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_equation_2_7_the_printed_bar_would_add_a_second_1(seed: int):
    a = normal(seed, 5, 3)
    assert torch.equal(mlp.bar(a)[:, 3], torch.ones(5, dtype=torch.float64))
    assert mlp.bar(a).shape == (5, 4)
    assert mlp.bar(mlp.bar(a)).shape == (5, 5)


@pytest.mark.parametrize("seed", range(3))
def test_equation_2_8_uncorrelated_squares_are_enough_for_the_split(seed: int):
    r = normal(seed, 6).abs()
    a = A(*([1.0] * 6 + [-1.0] * 6))
    Dz = a * torch.cat([r, r])  # the sign of Dz is that of a
    abar = torch.stack([a, torch.ones_like(a)], 1)
    scores = abar * Dz[:, None]
    block, A_, G = scores.T @ scores / 12, abar.T @ abar / 12, (Dz @ Dz / 12).reshape(1, 1)
    assert torch.allclose(block, torch.kron(A_, G), rtol=1e-14)
    assert (a @ Dz) / 12 > 0.1
    uneven = abar * (Dz * (2 + a))[:, None]  # now the size of Dz depends on a, too
    assert not torch.allclose(uneven.T @ uneven / 12, torch.kron(A_, ((Dz * (2 + a)) ** 2).mean().reshape(1, 1)))


@pytest.mark.parametrize("seed", range(3))
def test_equation_2_11_without_the_dagger_is_another_function(seed: int):
    draw = torch.Generator().manual_seed(seed)
    (Omega, gamma), (Phi, tau) = testing.change(3, 5.0, draw), testing.change(3, 5.0, draw)
    layer = mlp.Layer(mlp.tanh, Omega, gamma, Phi, tau)
    z = torch.randn(8, 3, generator=draw, dtype=torch.float64)
    z_dagger = torch.linalg.solve(Phi, (z - tau).T).T
    home = lambda a: torch.linalg.solve(Omega, (a - gamma).T).T
    value = lambda numbers: home(mlp.activate(layer, numbers @ Phi.T + tau))
    assert (value(z_dagger) - torch.tanh(z)).abs().max() < 1e-12
    assert (value(z) - torch.tanh(z)).abs().max() > 0.1


# The live figure


@pytest.fixture(scope="module")
def cells():
    return chapter("2-1-natural-gradient-and-k-fac", "imports charts directions fisher closed balls live-functions")


CONTROLS = [(A(m, s), A(r)[0]) for m in (-1.0, 0.3, 1.0) for s in (0.6, 1.0, 2.4) for r in (0.02, 0.2, 0.5)]


def test_the_balls_and_steps_of_the_figure_are_finite_for_all_controls_and_small_ones_agree(cells):
    for forecast, size in CONTROLS:
        assert all(torch.isfinite(x).all() for x in cells["rulers"](forecast, size).values())
        shown = cells["steps"](forecast, size)
        assert all(torch.isfinite(x).all() for x in shown.values())
        halved = cells["steps"](forecast, size / 2)
        assert shown["natural_apart"] < size
        if size < 0.1 and shown["natural_apart"] > 1e-6:
            assert math.isclose(shown["natural_apart"] / halved["natural_apart"], 2, rel_tol=0.1)
            if forecast[1] != 1:
                assert math.isclose(shown["sgd_apart"], halved["sgd_apart"], rel_tol=0.1)


def test_the_page_computes_the_balls_and_steps_that_torch_computes(cells):
    for forecast, size in CONTROLS[::4]:
        assert gap(cells["rulers"], forecast, size) < 1e-12
        assert gap(cells["steps"], forecast, size) < 1e-11
