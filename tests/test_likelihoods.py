"""Losses, output Fisher metrics, sampling and targets (paper: 2.1.1, Example 3.2)."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal

from kfac_lite import (
    AffineBasis,
    AffineSpace,
    Bernoulli,
    Categorical,
    Gaussian,
    KindError,
    Likelihood,
    Parameterization,
    Softmax,
    SpaceError,
    coordinates,
    differential,
    testing,
)

from .comparing import close

ALL = (Gaussian, Bernoulli, Categorical, Softmax)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, classes).double()


@st.composite
def situations(draw: st.DrawFn, kind: type[Likelihood]):
    """A likelihood with its formula in a random basis of Y, another basis, and three points of Y."""
    space = AffineSpace(draw(st.integers(2 if kind is Softmax else 1, 3)), "Y")
    basis, other = draw(testing.bases(space)), draw(testing.bases(space))
    return kind(basis), other, draw(testing.points(basis, (3,)))  # type: ignore[arg-type]


def support(likelihood: Likelihood, eta: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(probability, target) of every target at one eta: a sum over it is an expectation. Gaussian: by quadrature."""
    d = len(eta)
    if isinstance(likelihood, Gaussian):
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        weights = weights / weights.sum()
        return [
            (torch.tensor(np.prod([weights[i] for i in index])), eta + torch.tensor([nodes[i] for i in index]))
            for index in itertools.product(range(5), repeat=d)
        ]
    if isinstance(likelihood, Bernoulli):
        p = torch.sigmoid(eta)
        targets = [torch.tensor(t, dtype=torch.float64) for t in itertools.product((0.0, 1.0), repeat=d)]
        return [((p * t + (1 - p) * (1 - t)).prod(), t) for t in targets]
    logits = torch.cat([eta, eta.new_zeros(1)]) if isinstance(likelihood, Categorical) else eta
    return list(zip(torch.softmax(logits, -1), torch.eye(len(logits), dtype=torch.float64), strict=True))


def as_targets(likelihood: Likelihood, y: Tensor):
    return likelihood.basis.point(y) if isinstance(likelihood, Gaussian) else y


@pytest.mark.parametrize("kind", ALL)
@given(data=st.data())
def test_the_loss_is_minus_log_p_up_to_a_constant(kind, data):
    """Against torch.distributions. The constant is 0 but for the Gaussian, where it is d/2 log(2 pi)."""
    likelihood, _, y = data.draw(situations(kind))
    eta = likelihood.basis[y]
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    targets = likelihood.sample(y, generator)
    numbers = likelihood.targets(targets)
    if kind is Gaussian:
        minus_log_p = -Normal(eta, 1.0).log_prob(numbers).sum(-1) - eta.shape[-1] * np.log(2 * np.pi) / 2
    elif kind is Bernoulli:
        minus_log_p = -TorchBernoulli(logits=eta).log_prob(numbers).sum(-1)
    else:
        logits = torch.cat([eta, torch.zeros(3, 1).double()], -1) if kind is Categorical else eta
        minus_log_p = -TorchCategorical(logits=logits).log_prob(numbers.argmax(-1))
    assert likelihood.loss(y, targets).shape == (3,)
    assert close(likelihood.loss(y, targets), minus_log_p)


@pytest.mark.parametrize("kind", ALL)
@given(data=st.data())
def test_example_3_2_the_output_metric_is_the_expected_square_of_the_scores(kind, data):
    """E[dL (x) dL] by enumeration of the targets and autograd, read in a basis that is not the likelihood's."""
    likelihood, kappa, y = data.draw(situations(kind))
    metric = likelihood.metric(y)
    assert metric.batch == (3,)
    for i in range(3):
        point = y.at(i)
        G: Tensor = torch.zeros(())
        total: Tensor = torch.zeros(())
        for p, target in support(likelihood, likelihood.basis[point]):
            score = kappa[differential(lambda q: likelihood.loss(q, as_targets(likelihood, target)), point)]  # noqa: B023
            G, total = G + p * torch.outer(score, score), total + p
        assert close(total, 1.0)
        assert close(kappa[metric][i], G, 1e-10)
        assert close(kappa[likelihood.metric(point)], G, 1e-10)


@pytest.mark.parametrize("kind", ALL)
@given(data=st.data())
def test_the_metric_is_the_closed_form_and_what_the_coordinate_code_has(kind, data):
    likelihood, _, y = data.draw(situations(kind))
    eta = likelihood.basis[y]
    G = likelihood.basis[likelihood.metric(y)]
    d = eta.shape[-1]
    if kind is Gaussian:
        closed = torch.eye(d, dtype=torch.float64).expand(3, d, d)
    elif kind is Bernoulli:
        p = torch.sigmoid(eta)
        closed = torch.diag_embed(p * (1 - p))
    else:
        logits = torch.cat([eta, torch.zeros(3, 1).double()], -1) if kind is Categorical else eta
        p = torch.softmax(logits, -1)[:, :d]
        closed = torch.diag_embed(p) - p[..., None] * p[:, None]
    assert close(G, closed)
    plain = getattr(coordinates.likelihoods, likelihood.name)
    weight, D = plain.fisher(eta, torch.eye(d, dtype=torch.float64))
    assert close(G, torch.einsum("cnk,cni,cnj->nij", weight, D, D))
    targets = likelihood.sample(y, torch.Generator().manual_seed(0))
    assert close(likelihood.loss(y, targets).sum(), plain.loss(eta, likelihood.targets(targets)))


@pytest.mark.parametrize("kind", ALL)
@given(data=st.data())
def test_a_likelihood_is_carried_along(kind, data):
    """Loss and metric at a point do not depend on the basis in which the point was made."""
    likelihood, kappa, y = data.draw(situations(kind))
    again = kappa.point(kappa[y])
    targets = likelihood.sample(y, torch.Generator().manual_seed(0))
    assert close(likelihood.loss(again, targets), likelihood.loss(y, targets), 1e-11)
    assert close(kappa[likelihood.metric(again)], kappa[likelihood.metric(y)], 1e-10)


@pytest.mark.parametrize("kind", ALL)
def test_samples_have_the_distribution(kind):
    """Frequencies (or the mean and covariance) of 20000 samples, within 5 standard errors."""
    basis = AffineBasis(AffineSpace(2, "Y")).changed([[2.0, 1.0], [0.0, 1.0]], [1.0, 0.0])
    likelihood, n = kind(basis), 20_000
    eta = torch.tensor([0.7, -1.2], dtype=torch.float64)
    y = basis.point(eta.expand(n, 2))
    sample = likelihood.sample(y, torch.Generator().manual_seed(3))
    numbers = likelihood.targets(sample)
    if kind is Gaussian:
        assert ((numbers.mean(0) - eta).abs() < 5 / n**0.5).all()
        assert ((numbers.T.cov() - torch.eye(2)).abs() < 5 * 2**0.5 / n**0.5).all()
        return
    for p, target in support(likelihood, eta):
        frequency = (numbers == target).all(-1).double().mean()
        assert abs(frequency - p) < 5 * (p * (1 - p) / n) ** 0.5
    again = likelihood.targets(likelihood.sample(y, torch.Generator().manual_seed(3)))
    assert torch.equal(again, numbers), "a seed replays"


def test_confident_outputs_do_not_lose_their_metric():
    """p (1 - p) at a logit of 40 is 4e-18, not 0: 1 - p would cancel."""
    basis = AffineBasis(AffineSpace(1, "Y"))
    for kind in (Bernoulli, Categorical):
        for eta in (40.0, -40.0):
            likelihood = kind(basis)
            G = basis[likelihood.metric(basis.point([eta]))]
            assert close(G / 4.248354255291589e-18, torch.ones(1, 1).double(), 1e-9), kind
            target = [1.0] if kind is Bernoulli else [1.0, 0.0]
            assert likelihood.loss(basis.point([1000.0 * np.sign(eta)]), target).isfinite()


# Targets ---------------------------------------------------------------------------------------------------------


def two(kind: type[Likelihood]) -> tuple[Likelihood, int]:
    likelihood = kind(AffineBasis(AffineSpace(2, "Y")))
    return likelihood, 3 if kind is Categorical else 2


@pytest.mark.parametrize("kind", [Categorical, Softmax])
@pytest.mark.parametrize(
    ("targets", "error"),
    [
        ([0, 1, 1], KindError),
        (np.array([0, 1]), KindError),
        (torch.tensor([0, 1]), KindError),
        (torch.tensor([[1, 0], [0, 1]]), KindError),
        (torch.eye(2), KindError),
        (np.eye(2, dtype=np.float32), KindError),
        (torch.eye(2).bool(), KindError),
        ([0.0, 1.0, 1.0, 0.0], SpaceError),
        (torch.zeros(4, 7).double(), SpaceError),
        ([[float("nan"), 1.0]], SpaceError),
        ("ab", KindError),
        (None, KindError),
    ],
)
def test_class_targets_that_are_not_one_hot_are_told_how(kind, targets, error):
    likelihood, classes = two(kind)
    with pytest.raises(error, match=f"(?s)one-hot over {classes} classes.*one_hot.torch.as_tensor.labels., {classes}"):
        likelihood.targets(targets)


@pytest.mark.parametrize("kind", [Categorical, Softmax])
def test_one_hot_means_a_single_1(kind):
    likelihood, classes = two(kind)
    right = torch.eye(classes, dtype=torch.float64)
    assert torch.equal(likelihood.targets(right), right)
    assert torch.equal(likelihood.targets(right.tolist()), right)
    for wrong in (right / 2, right * 0, 1 - right + right * 0 if classes > 2 else right + 1, -right, right * 2):
        with pytest.raises(SpaceError, match="one-hot: one 1 in every row, else 0"):
            likelihood.targets(wrong)


def test_the_advice_for_labels_works():
    likelihood, _ = two(Categorical)
    labels = [0, 2, 1]
    targets = torch.nn.functional.one_hot(torch.as_tensor(labels), 3).double()
    assert torch.equal(likelihood.targets(targets), targets)


def test_bernoulli_and_gaussian_targets():
    likelihood, _ = two(Bernoulli)
    with pytest.raises(SpaceError, match="are 0 or 1"):
        likelihood.targets([[0.5, 1.0]])
    with pytest.raises(KindError, match="Bernoulli targets: got bool"):
        likelihood.targets(torch.ones(3, 2).bool())
    with pytest.raises(SpaceError, match=r"got shape \(3, 1\)"):
        likelihood.targets(torch.ones(3, 1).double())
    gaussian, _ = two(Gaussian)
    for wrong in (torch.zeros(3, 2).double(), [1.0, 2.0], None, gaussian.basis.vector([1.0, 2.0])):
        with pytest.raises(KindError, match="are points of Y"):
            gaussian.targets(wrong)
    with pytest.raises(SpaceError, match=r"Y cannot read an element of Z"):
        gaussian.targets(AffineBasis(AffineSpace(2, "Z")).point([1.0, 2.0]))


@pytest.mark.parametrize("kind", ALL)
def test_outputs_and_targets_are_as_many(kind):
    """Three outputs and one row of targets would broadcast, and the loss would be a wrong number."""
    likelihood, _ = two(kind)
    y = likelihood.basis.point(torch.zeros(3, 2).double())
    for count in (1, 2):
        targets = likelihood.sample(likelihood.basis.point(torch.zeros(count, 2).double()), torch.Generator())
        with pytest.raises(SpaceError, match=rf"outputs for \(3,\) data, targets for \({count},\)"):
            likelihood.loss(y, targets)
    with pytest.raises(KindError, match="a likelihood is given at a point of Y, not at a Vector"):
        likelihood.loss(y - y, likelihood.sample(y, torch.Generator()))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ALL)
def test_a_likelihood_names_a_basis(kind):
    home = Parameterization.from_widths(2, 2)
    for wrong in (home, 2, home.weights, home.outputs.space, None):
        with pytest.raises(KindError, match="name the basis of Y in which the formula holds"):
            kind(wrong)
    assert kind(home.outputs).space is home.outputs.space
    assert "a basis of A1" in repr(kind(home.outputs))
