"""The tricks of the trade as changes of basis: tanh for logistic, centring, normalising, whitening (paper: 2.1.4, 3.1).

Each returns another `Parameterization` of the same network, so nothing about the function changes, only the numbers in
which it is written. The paper's list is logistic units, activations of mean zero and unit variance, and whitening.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .bases import Parameterization
from .errors import SpaceError
from .networks import Net, tanh
from .spaces import Point

__all__ = ["centred", "logistic_units", "normalised", "skewed", "whitened"]


def logistic_units(net: Net) -> Parameterization:
    """The bases in which the hidden tanh units are logistic ones, since tanh(z) = 2 logistic(2 z) - 1.

    Pre-activations double and activations become (1 + a) / 2. (Section 3.1 of the paper prints the two maps wrongly.)
    `SpaceError` where a hidden unit is not tanh.
    """
    hidden = net.activations[:-1]
    if not hidden or any(phi is not tanh for phi in hidden):
        raise SpaceError("logistic_units: only tanh units become logistic ones by a change of basis")
    a, z = {}, {}
    for i in range(1, len(hidden) + 1):
        one = torch.eye(net.home.activations[i].space.dimension, dtype=torch.float64)
        a[i], z[i] = (one / 2, torch.full((len(one),), 0.5, dtype=torch.float64)), (2 * one, None)
    return net.home.changed(a, z)


def centred(net: Net, omega: Point, inputs: Point) -> Parameterization:
    """The bases in which inputs and hidden activations have mean 0 on these inputs."""
    return _standardised(net, omega, inputs, lambda a: torch.eye(a.shape[1], dtype=torch.float64))


def normalised(net: Net, omega: Point, inputs: Point) -> Parameterization:
    """The bases in which inputs and hidden activations have mean 0 and variance 1, each by itself."""

    def scale(a: Tensor) -> Tensor:
        deviation = a.std(0, correction=0)
        _nonzero(deviation / a.abs().amax(0).clamp(min=1e-300), "normalised: an activation is constant")
        return (1 / deviation).diag()

    return _standardised(net, omega, inputs, scale)


def whitened(net: Net, omega: Point, inputs: Point) -> Parameterization:
    """The bases in which inputs and hidden activations have mean 0 and covariance 1, by the symmetric square root."""

    def scale(a: Tensor) -> Tensor:
        eigenvalues, U = torch.linalg.eigh(a.T.cov(correction=0).reshape(a.shape[1], a.shape[1]))
        _nonzero(eigenvalues / eigenvalues[-1:], "whitened: activations are constant, dependent, or too few data")
        return U @ (eigenvalues**-0.5).diag() @ U.T

    return _standardised(net, omega, inputs, scale)


def skewed(net: Net, condition: float, seed: int) -> Parameterization:
    """Random bases of every space, inputs and outputs included: matrices of this condition, shifts drawn from N(0, 1).

    The singular values run from sqrt(condition) down to its inverse, evenly on a log scale.
    """
    if not condition >= 1:
        raise SpaceError(f"skewed: a condition number is 1 or more, not {condition}")
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        U, _, Vh = torch.linalg.svd(torch.randn(n, n, generator=generator, dtype=torch.float64))
        exponents = torch.linspace(0.5, -0.5, n, dtype=torch.float64) if n > 1 else torch.zeros(n, dtype=torch.float64)
        return U @ (condition**exponents).diag() @ Vh, torch.randn(n, generator=generator, dtype=torch.float64)

    a = {i: draw(basis.space.dimension) for i, basis in enumerate(net.home.activations)}
    z = {i: draw(basis.space.dimension) for i, basis in enumerate(net.home.preactivations, 1)}
    return net.home.changed(a, z)


def _standardised(net, omega, inputs, scale) -> Parameterization:
    """Change the bases of A_0, ..., A_{L-1}: subtract the mean, then multiply by what `scale` says of the numbers."""
    alphas = [inputs, *(alpha for _, alpha in net.layers(omega, inputs))][:-1]
    changes = {}
    for i, alpha in enumerate(alphas):
        a = net.home.activations[i][alpha].flatten(0, -2)  # all places or times, one below the other
        Omega = scale(a)
        changes[i] = Omega, -Omega @ a.mean(0)
    return net.home.changed(changes)


def _nonzero(numbers: Tensor, message: str) -> None:
    if not (numbers > 1e-12).all():
        raise SpaceError(f"{message}; drop it, or give more data")
