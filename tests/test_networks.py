"""Networks and objectives on spaces, and the same in any basis (paper: 3.1, eq. 3.1, 3.2; 2.1.1)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kfac_lite import (
    KFAC,
    MLP,
    SGD,
    AffineBasis,
    AffineMaps,
    Categorical,
    Gaussian,
    KindError,
    Objective,
    Parameterization,
    Product,
    SpaceError,
    coordinates,
    differential,
    identity,
    independence,
    kfac,
    logistic,
    run,
    tanh,
    testing,
)

from .comparing import close


@given(testing.objectives(), st.data())
def test_equation_3_2_the_network_in_any_basis_is_the_coordinate_code_on_its_arrays(problem, data):
    """Typed outputs, loss and differential, read in kappa, are forward, loss and gradient of the arrays of kappa."""
    h, omega = problem
    for kappa in (h.net.home, data.draw(testing.parameterizations(h.net.home))):
        network, x, y = h.in_basis(kappa)
        w = list(kappa.weights[omega])
        assert close(coordinates.mlp.forward(network, w, x)[0], kappa.outputs[h.net(omega, h.inputs)], 1e-10)
        assert close(coordinates.mlp.loss(network, w, x, y), h(omega), 1e-10)
        assert close(coordinates.mlp.gradient(network, w, x, y), list(kappa.weights[h.d(omega)]), 1e-10)


@given(testing.networks(), st.data())
def test_the_parts_of_a_network_compose_to_it(net, data):
    omega, xi = data.draw(testing.points(net.home.weights)), data.draw(testing.points(net.home.inputs, (2,)))
    layers = net.layers(omega, xi)
    outputs = net.home.outputs[net(omega, xi)]
    assert len(layers) == len(net.activations)
    alpha = xi
    for i, (omega_i, (zeta, a)) in enumerate(zip(omega.parts, layers, strict=True), 1):
        assert close(net.home.preactivations[i - 1][omega_i(alpha)], net.home.preactivations[i - 1][zeta])
        assert close(net.home.outputs[net.after(i, omega)(zeta)], outputs)
        alpha = a


@given(testing.networks(depth=(1, 2)), st.data())
def test_the_last_layer_is_affine_and_rho_l_the_identity_of_the_home_bases(net, data):
    L = len(net.activations)
    assert net.activations[-1] is identity
    zeta = data.draw(testing.points(net.home.preactivations[-1]))
    assert close(net.home.outputs[net.activate(L, zeta)], net.home.preactivations[-1][zeta])


def test_a_network_is_built_from_home_and_activations():
    home = Parameterization.from_widths(2, 3, 4, 1)
    assert MLP(home).activations == MLP(home, tanh).activations == (tanh, tanh, identity)
    assert MLP(home, [tanh, logistic]).activations == (tanh, logistic, identity)
    assert MLP(Parameterization.from_widths(2, 1)).activations == (identity,)
    assert MLP(home).space == home.weights.space
    assert repr(MLP(home)) == "<MLP 2-3-4-1>"
    for wrong in ([tanh], [tanh, tanh, tanh], [tanh, torch.tanh], []):
        with pytest.raises(SpaceError, match="2 hidden layers want 2 activations"):
            MLP(home, wrong)  # type: ignore[arg-type]
    with pytest.raises(KindError, match=r"Parameterization\.from_widths"):
        MLP([2, 3, 1])  # type: ignore[arg-type]


def problem(n: int = 6):
    home = Parameterization.from_widths(2, 2, 2)
    net = MLP(home)
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    omega = home.weights.point([draw(2, 3), draw(2, 3)])
    inputs, targets = home.inputs.point(draw(n, 2)), home.outputs.point(draw(n, 2))
    return Objective(net, Gaussian(home.outputs), inputs, targets), omega, targets


@pytest.mark.parametrize("i", [0, -1, 3])
def test_layers_are_counted_from_1_to_l(i: int):
    """All widths are 2 here, so that Python's layers[-1] for layer 0 would fit and be quietly wrong."""
    h, omega, _ = problem()
    net = h.net
    assert isinstance(net, MLP)
    zeta = net.layers(omega, h.inputs)[0][0]
    for f in (
        lambda: independence(h, omega, i),
        lambda: net.after(i, omega),
        lambda: net.activate(i, zeta),
    ):
        with pytest.raises(SpaceError, match=f"layer {i}: layers are counted from 1 to 2"):
            f()


def test_wrong_things_at_the_door_of_a_network():
    h, omega, _ = problem()
    other, other_omega, _ = problem()
    for net_argument in (h.d(omega), omega - omega, 1.0, [1.0], None):
        with pytest.raises(KindError, match="a network takes a point of"):
            h.net(net_argument, h.inputs)  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="was given a point of"):
        h.net(other_omega, h.inputs)
    with pytest.raises(SpaceError, match=r"a map from A0 was applied to an element of A0"):
        h.net(omega, other.inputs)
    for inputs in (torch.zeros(3, 2).double(), h.inputs - h.inputs, None):
        with pytest.raises(KindError, match="a network is applied to points of A0, not to a"):
            h.net(omega, inputs)  # type: ignore[arg-type]
    with pytest.raises(KindError, match="an activation function is applied to points, not to a Vector"):
        zeta = h.net.layers(omega, h.inputs)[0][0]
        h.net.activate(1, zeta - zeta)  # type: ignore[arg-type]


def test_wrong_things_at_the_door_of_an_objective():
    h, omega, targets = problem()
    net, likelihood = h.net, h.likelihood
    with pytest.raises(KindError, match="inputs are a batch of points"):
        Objective(net, likelihood, torch.zeros(6, 2).double(), targets)  # type: ignore[arg-type]
    with pytest.raises(KindError, match="inputs are a batch of points"):
        Objective(net, likelihood, h.inputs.at(0), targets.at(0))
    with pytest.raises(SpaceError, match="the network takes points of A0, not of A2"):
        Objective(net, likelihood, targets, targets)
    with pytest.raises(SpaceError, match="6 inputs, but targets of shape"):
        Objective(net, likelihood, h.inputs, targets.at(slice(5)))
    with pytest.raises(SpaceError, match="name a basis of the network's outputs"):
        Objective(net, Gaussian(AffineBasis(net.home.inputs.space)), h.inputs, targets)
    with pytest.raises(KindError, match="Covector"):
        h(h.d(omega))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "index", [[0, 2], slice(1, 4), torch.tensor([5, 0]), np.array([1, 1]), torch.tensor([True, False] * 3)]
)
def test_a_batch_is_the_objective_on_part_of_the_data(index):
    h, omega, targets = problem()
    part = h.batch(index)
    again = Objective(h.net, h.likelihood, h.inputs.at(index), targets.at(index))
    assert close(part(omega), again(omega))
    assert len(part) == len(again) == h.net.home.inputs[h.inputs.at(index)].shape[0]
    assert close(h.net.home.weights[part.d(omega)], h.net.home.weights[again.d(omega)])


def test_a_batch_is_no_single_datum():
    with pytest.raises(KindError, match=r"h\.batch\(\[3\]\)"):
        problem()[0].batch(3)


def test_the_mean_loss_is_the_mean_of_the_batches():
    h, omega, _ = problem()
    assert close(h(omega), (h.batch([0, 1, 2])(omega) + h.batch([3, 4, 5])(omega)) / 2)
    assert close(h.net.home.weights[differential(h, omega)], h.net.home.weights[h.d(omega)])


def test_a_step_does_not_change_what_it_starts_from():
    h, omega, _ = problem()
    before = h.net.home.weights[omega]
    for rule in (KFAC(0.1), SGD(0.1, basis=h.net.home.weights)):
        run(rule, h, omega, 2)
        assert all(torch.equal(a, b) for a, b in zip(h.net.home.weights[omega], before, strict=True))
    kfac(h, omega)
    assert not omega._x.requires_grad
    assert not h.d(omega)._x.requires_grad


def test_the_weight_space_is_the_product_of_the_maps():
    home = Parameterization.from_widths(2, 3, 1)
    a, z = [b.space for b in home.activations], [b.space for b in home.preactivations]
    assert MLP(home).space == Product((AffineMaps(a[0], z[0]), AffineMaps(a[1], z[1])))


@given(testing.objectives(kinds=(Categorical,)), st.data())
def test_a_likelihood_in_another_basis_of_y_is_another_likelihood(problem, data):
    """It names its basis: the same formula in another basis is, in general, another loss. (in_basis knows both.)"""
    h, omega = problem
    other = data.draw(testing.bases(h.net.home.outputs.space))
    again = Objective(h.net, Categorical(other), h.inputs, h._targets)
    network, x, y = again.in_basis(h.net.home)
    assert close(coordinates.mlp.loss(network, list(h.net.home.weights[omega]), x, y), again(omega), 1e-10)
