"""Logistic units, centring, normalising, whitening and skewed bases: what each promises (paper: 2.1.4, 3.1)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kfac_lite import (
    MLP,
    Gaussian,
    Parameterization,
    SpaceError,
    centred,
    coordinates,
    logistic,
    logistic_units,
    normalised,
    skewed,
    tanh,
    testing,
    whitened,
)

from .comparing import close


@st.composite
def situations(draw: st.DrawFn):
    """A network, its weights, and more inputs than any layer is wide."""
    net = draw(testing.networks(depth=(1, 3), widths=(1, 4)))
    return net, draw(testing.points(net.home.weights)), draw(testing.points(net.home.inputs, (40,)))


@given(testing.networks(depth=(2, 4), activations=(tanh,)), st.data())
def test_logistic_units_have_logistic_layers(net, data):
    """In these bases the coordinate network is sigmoid(z): tanh(z) = 2 sigmoid(2 z) - 1."""
    kappa = logistic_units(net)
    omega, xi = data.draw(testing.points(net.home.weights)), data.draw(testing.points(net.home.inputs, (3,)))
    for i, (zeta, alpha) in enumerate(net.layers(omega, xi)[:-1], 1):
        assert close(kappa.activations[i][alpha], torch.sigmoid(kappa.preactivations[i - 1][zeta]))
    a = kappa.inputs[xi]
    w = kappa.weights[omega]
    for W in w[:-1]:
        a = torch.sigmoid(coordinates.mlp.bar(a) @ W.mT)
    assert close(coordinates.mlp.bar(a) @ w[-1].mT, net.home.outputs[net(omega, xi)], 1e-10)


def test_only_tanh_units_are_logistic_ones():
    home = Parameterization.from_widths(2, 3, 3, 1)
    for activations in ([tanh, logistic], [logistic, tanh]):
        with pytest.raises(SpaceError, match="only tanh units"):
            logistic_units(MLP(home, activations))
    with pytest.raises(SpaceError, match="only tanh units"):
        logistic_units(MLP(Parameterization.from_widths(2, 1)))


def numbers(net, kappa, omega, xi):
    """Inputs and hidden activations in kappa, (n, width) each."""
    alphas = [xi, *(alpha for _, alpha in net.layers(omega, xi))][:-1]
    return [basis[alpha] for basis, alpha in zip(kappa.activations[:-1], alphas, strict=True)]


@given(situations())
def test_centred_activations_have_mean_0(situation):
    net, omega, xi = situation
    for a, old in zip(numbers(net, centred(net, omega, xi), omega, xi), numbers(net, net.home, omega, xi), strict=True):
        assert close(a.mean(0), torch.zeros(a.shape[1]).double())
        assert close(a - a.mean(0), old - old.mean(0))


@given(situations())
def test_normalised_activations_have_mean_0_and_variance_1(situation):
    net, omega, xi = situation
    for a in numbers(net, normalised(net, omega, xi), omega, xi):
        assert close(a.mean(0), torch.zeros(a.shape[1]).double(), 1e-8)
        assert close(a.var(0, correction=0), torch.ones(a.shape[1]).double(), 1e-8)


@given(situations())
def test_whitened_activations_have_mean_0_and_covariance_1(situation):
    """Up to rounding times the condition of their covariance."""
    net, omega, xi = situation
    try:
        kappa = whitened(net, omega, xi)
    except SpaceError as error:  # activations that depend on one another to 1e-12
        assert "constant, dependent, or too few data" in str(error)
        return
    for a, old in zip(numbers(net, kappa, omega, xi), numbers(net, net.home, omega, xi), strict=True):
        condition = torch.linalg.cond(old.T.cov(correction=0).reshape(old.shape[1], -1))
        assert close(a.mean(0), torch.zeros(a.shape[1]).double(), 1e-14 * max(100.0, float(condition)))
        covariance = a.T.cov(correction=0).reshape(a.shape[1], -1)
        assert close(covariance, torch.eye(a.shape[1], dtype=torch.float64), 1e-14 * max(100.0, float(condition)))


def test_whitening_is_by_the_symmetric_square_root():
    net = MLP(Parameterization.from_widths(3, 1))
    omega = net.home.weights.point([torch.ones(1, 4).double()])
    xi = net.home.inputs.point(torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    Omega, _ = net.home.inputs.to(whitened(net, omega, xi).inputs)
    assert close(Omega, Omega.mT)
    assert (torch.linalg.eigvalsh(Omega) > 0).all()


@pytest.mark.parametrize("make", [normalised, whitened])
def test_constant_activations_are_named(make):
    net = MLP(Parameterization.from_widths(2, 2, 1))
    omega = net.home.weights.point([torch.ones(2, 3).double(), torch.ones(1, 3).double()])
    x = torch.randn(10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1] = 0.1  # a mean of equal floats rounds, so the deviation is 1e-17 and not 0
    with pytest.raises(SpaceError, match="constant"):
        make(net, omega, net.home.inputs.point(x))


@pytest.mark.parametrize("unit", [1e-13, 1e13])
def test_no_alarm_for_inputs_in_tiny_or_huge_units(unit: float):
    net = MLP(Parameterization.from_widths(2, 1))
    omega = net.home.weights.point([torch.ones(1, 3).double()])
    x = unit * torch.randn(10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for make in (centred, normalised, whitened):
        make(net, omega, net.home.inputs.point(x))


def test_too_few_data_cannot_be_whitened():
    net = MLP(Parameterization.from_widths(3, 1))
    omega = net.home.weights.point([torch.ones(1, 4).double()])
    with pytest.raises(SpaceError, match="too few data"):
        whitened(net, omega, net.home.inputs.point(torch.eye(3, dtype=torch.float64)))


@given(testing.networks(depth=(1, 3)), st.sampled_from([1.0, 10.0, 1000.0]), st.integers(0, 100))
def test_skewed_bases_have_the_stated_condition_and_a_seed(net, condition, seed):
    kappa, again = skewed(net, condition, seed), skewed(net, condition, seed)
    for home, new, same in zip(
        (*net.home.activations, *net.home.preactivations),
        (*kappa.activations, *kappa.preactivations),
        (*again.activations, *again.preactivations),
        strict=True,
    ):
        Omega, gamma = home.to(new)
        if len(gamma) > 1:
            assert close(torch.linalg.cond(Omega) / condition, 1.0, 1e-9)
        assert close(torch.linalg.det(Omega).abs(), 1.0, 1e-9)
        assert gamma.abs().max() > 1e-6
        assert all(torch.equal(x, y) for x, y in zip(home.to(new), home.to(same), strict=True))


def test_a_condition_is_1_or_more():
    for condition in (0.5, 0.0, float("nan")):
        with pytest.raises(SpaceError, match="1 or more"):
            skewed(MLP(Parameterization.from_widths(2, 1)), condition, 0)


@given(situations())
def test_nothing_about_the_function_changes(situation):
    net, omega, xi = situation
    for kappa in (centred(net, omega, xi), skewed(net, 10, 0)):
        network = net.in_basis(kappa, Gaussian(net.home.outputs))
        a, _ = coordinates.mlp.forward(network, kappa.weights[omega], kappa.inputs[xi])
        assert close(a, kappa.outputs[net(omega, xi)], 1e-10)
