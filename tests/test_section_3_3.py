"""What the chapter on section 3.3 says beyond the items: which nudges have length zero, and its live figure."""

import math

import pytest
import torch

import kfac_lite as k

from .chapter_cells import chapter
from .live_page import gap

A = lambda *rows: torch.tensor(rows, dtype=torch.float64)


def network(n: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    N = lambda *s: torch.randn(*s, generator=draw, dtype=torch.float64)
    home = k.Parameterization.from_widths(2, 3, 2)
    net = k.MLP(home, k.tanh)
    omega = home.weights.point([N(3, 3), N(2, 4)])
    h = k.Objective(net, k.Gaussian(home.outputs), home.inputs.point(N(n, 2)), home.outputs.point(N(n, 2)))
    return home, net, omega, h


@pytest.mark.parametrize("n", [1, 3, 7, 9, 20])
def test_a_nudge_has_length_zero_exactly_if_it_moves_no_output(n: int):
    home, net, omega, h = network(n, seed=n)
    G = home.weights[k.gauss_newton(h, omega, output=home.outputs)]
    eigenvalues, vectors = torch.linalg.eigh(G)
    null = int((eigenvalues < 1e-10 * eigenvalues[-1]).sum())
    assert null == max(0, 17 - 2 * n)
    for i in range(17):
        v = home.weights.vector(home.weights._unvec(vectors[:, i]))
        moved = home.outputs[k.pushforward(lambda w: net(w, h.inputs), omega, v)]
        assert (moved.abs().max() < 1e-4) == (i < null)


def test_the_metric_is_taken_at_the_output_of_each_datum():
    home, net, omega, h = network(6, seed=2)
    fisher = k.Categorical(home.outputs).metric
    one_by_one = [home.weights[k.expected_pullback(h.batch([i]), omega, fisher)] for i in range(6)]
    together = home.weights[k.expected_pullback(h, omega, fisher)]
    assert torch.allclose(torch.stack(one_by_one).mean(0), together, rtol=1e-11, atol=1e-12)
    frozen = fisher(net(omega, h.inputs).at(0))
    assert not torch.allclose(home.weights[k.expected_pullback(h, omega, lambda y: frozen)], together, rtol=1e-3)


def test_gauss_newton_metrics_of_two_bases_differ_on_the_last_biases_unless_one_is_turned():
    home, _, omega, h = network(6, seed=3)
    turn = A([0.8, -0.6], [0.6, 0.8])
    delta = A(0.3, -1.1)
    nudge = home.weights.vector([torch.zeros(3, 3).double(), torch.column_stack([torch.zeros(2, 3).double(), delta])])
    for Omega, equal in ((turn, True), (A([1.0, 0.2], [0.0, 1.0]), False)):
        g = k.gauss_newton(h, omega, output=home.outputs.changed(Omega, A(3.0, 4.0)))
        assert torch.isclose(g(nudge, nudge), (Omega @ delta) @ (Omega @ delta))
        assert torch.isclose(g(nudge, nudge), delta @ delta) == equal


def test_by_its_second_argument_a_bregman_divergence_need_not_be_convex():
    line = k.AffineBasis(k.AffineSpace(1, "Y"))
    F = lambda y: line[y].exp().log1p().sum()
    B = lambda y, z: float(k.bregman(F, line.point(A(y)), line.point(A(z))))
    second = lambda f, t, eps=1e-3: (f(t + eps) - 2 * f(t) + f(t - eps)) / eps**2
    assert second(lambda y: B(y, -1.0), 2.0) > 0.1
    assert second(lambda z: B(2.0, z), -1.0) < -0.05


# The live figure


@pytest.fixture(scope="module")
def cells():
    return chapter("3-3-pullback-metrics", "imports network functions")


CONTROLS = [(A(s)[0], A(t)[0]) for s in (0.4, 1.0, 2.5) for t in (-1.5, 0.0, 0.8)]


@pytest.mark.no_gauge
def test_of_the_four_ellipses_two_move_when_the_outputs_are_stretched_and_one_when_they_are_turned(cells):
    home = cells["ellipses"](A(1.0)[0], A(0.0)[0])
    for stretch, turn in CONTROLS:
        hers = cells["ellipses"](stretch, turn)
        moved = {name: float((hers[name] - G).norm() / G.norm()) for name, G in home.items()}
        assert moved["fisher"] < 1e-13
        assert moved["ggn"] < 1e-13
        assert (moved["newton"] > 0.1) == (stretch != 1)
        assert moved["newton"] > 0.1 or moved["newton"] < 1e-13
        assert (moved["copied"] > 0.02) == (stretch != 1 or turn != 0)
        assert all(torch.linalg.eigvalsh(G).min() > 1e-3 for G in hers.values())


@pytest.mark.no_gauge
def test_the_page_computes_the_ellipses_that_torch_computes(cells):
    for stretch, turn in CONTROLS[::2]:
        assert gap(cells["ellipses"], stretch, turn) < 1e-12


def test_the_task_is_done_in_turned_and_shifted_bases_and_in_no_stretched_one():
    drawn = chapter("3-3-pullback-metrics", "imports network functions live drag-figure")
    off = lambda a, b, x=0.0, y=0.0: float(drawn["her_newton"](A([*a, x], [*b, y]))["off"])
    for angle in (1.1, 2.0, 3.1, -2.5):
        c, s = math.cos(angle), math.sin(angle)
        assert off((c, -s), (s, c)) < 1e-12
        assert off((c, -s), (s, c), 0.9, -0.4) < 1e-12  # the origin does not matter
        assert off((1.1 * c, -s), (1.1 * s, c)) > 0.05
        assert off((c, -s + 0.2 * c), (s, c + 0.2 * s)) > 0.05  # not at right angles
    assert off((1.0, 0.0), (0.0, 1.0)) == 1  # one's own basis is no answer
