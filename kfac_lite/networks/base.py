"""f(xi, omega): what all networks have in common, whatever their maps are applied to (paper: 3.1, 4.1.2, 5.1.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import torch

from ..bases import AffineBasis, Parameterization
from ..coordinates.mlp import Activation, Layer, identity
from ..errors import KindError, SpaceError
from ..likelihoods import Likelihood
from ..refusals import _name
from ..spaces import Point, Product


class Uses(NamedTuple):
    """Every application of one map omega_i to the data: once a datum in a perceptron, at |T| places or times elsewhere.

    alpha: the points that omega_i is applied to, of its source, a batch (n,) or (n, |T|).
    zeta: the pre-activations that come of it, points of Z_i, the same batch.
    rest: the map phi_xi from such pre-activations to the outputs, points of Y, a batch (n, *net.answers).
    """

    alpha: Point
    zeta: Point
    rest: Callable[[Point], Point]


class Net(ABC):
    """A network on the spaces of `home`, the bases in which its activation functions act number by number.

    `net(omega, xi)` is f(xi, omega). Inputs are batches of points of X: of shape (n, *grid), a datum being one point
    (), an image of points (height, width) or a sequence of them (T,). Outputs are points of Y, (n, *answers): one a
    datum, or one at every time.
    """

    home: Parameterization
    activations: tuple[Activation, ...]  # of Z_i -> A_i, i from 1 to L; the last is the identity
    grid: tuple[int, ...] = ()
    answers: tuple[int, ...] = ()
    coordinates: ModuleType  # the same network on arrays

    @property
    def space(self) -> Product:
        """W, the space of weights and biases."""
        return self.home.weights.space

    def __call__(self, omega: Point, xi: Point) -> Point:
        """f(xi, omega): a point of Y for every datum of the batch xi; T of them where there is one at every time."""
        return self.layers(omega, xi)[-1][1]

    @abstractmethod
    def layers(self, omega: Point, xi: Point) -> list[tuple[Point, Point]]:
        """(zeta_i, alpha_i) of every layer, at every place or time."""

    @abstractmethod
    def uses(self, i: int, omega: Point, xi: Point) -> Uses:
        """Where the map omega_i, i from 1, is applied, and what the network makes of its values."""

    @abstractmethod
    def in_basis(self, kappa: Parameterization, likelihood: Likelihood) -> Any:
        """This network in the bases kappa, as plain arrays: what the functions of `net.coordinates` take first."""

    def activate(self, i: int, zeta: Point) -> Point:
        """alpha_i = rho_i(zeta_i), i from 1 to L: a map from Z_i to A_i, number by number in the bases of home."""
        self._layer(i)
        if not isinstance(zeta, Point):
            raise KindError(f"an activation function is applied to points, not to a {_name(zeta)}")
        z, a = self.home.preactivations[i - 1], self.home.activations[i]
        return Point(a.space, a._write(Point, self.activations[i - 1].value(z[zeta])))

    def _layers_in(self, kappa: Parameterization, likelihood: Likelihood) -> tuple[Layer, ...]:
        """Layer i has (Omega, gamma) from home to kappa on A_i and (Phi, tau) from kappa to home on Z_i (eq. 3.4).

        Where the likelihood's basis of Y is not that of home, the last layer, being affine, is rewritten in the
        likelihood's.
        """
        self._likelihood(likelihood)
        home = _rewritten(self.home, likelihood.basis)
        layers = []
        for phi, a, a_new, z, z_new in zip(
            self.activations, home.activations[1:], kappa.activations[1:], home.preactivations, kappa.preactivations
        ):
            layers.append(Layer(phi, *a.to(a_new), *z_new.to(z)))
        return tuple(layers)

    def _layer(self, i: int) -> None:
        if not 1 <= i <= len(self.activations):
            raise SpaceError(f"layer {i}: layers are counted from 1 to {len(self.activations)}")

    def _checks(self, omega: Point) -> None:
        if not isinstance(omega, Point):
            raise KindError(f"a network takes a point of {self.space} as its parameter, not a {_name(omega)}")
        if omega.space != self.space:
            raise SpaceError(f"a network with weights in {self.space} was given a point of {omega.space}")

    def _inputs(self, xi: Any) -> None:
        """Refuse what are no inputs of this network."""
        if not isinstance(xi, Point):
            raise KindError(f"a network is applied to points of {self.home.inputs.space}, not to a {_name(xi)}")
        if self.grid and (len(xi.batch) != 1 + len(self.grid) or tuple(xi.batch[1:]) != self.grid):
            grid = " x ".join(map(str, self.grid))
            raise SpaceError(
                f"{self!r} takes n inputs of {grid} points each, a batch (n, {', '.join(map(str, self.grid))}); got a "
                f"batch {tuple(xi.batch)}"
            )

    def _likelihood(self, likelihood: Likelihood) -> None:
        if likelihood.space != self.home.outputs.space:
            raise SpaceError(
                f"the likelihood is on {likelihood.space!r}, the network ends in {self.home.outputs.space!r}; name a "
                "basis of the network's outputs, say Categorical(net.home.outputs)"
            )


def _point_of(basis: AffineBasis, given: Point | None, name: str, place: str, write: str) -> Point:
    """The point that stands at a place of the network, outside an image, say; None is the origin of the basis."""
    if given is None:
        return basis.point(torch.zeros(basis.space.dimension, dtype=torch.float64))
    if not isinstance(given, Point) or given.batch:
        raise KindError(
            f"{name}: {place} is a point of {basis.space}, not a {_name(given)}; the same numbers are another point in "
            f"another basis. Write {write}"
        )
    if given.space != basis.space:
        raise SpaceError(f"{name}: {place} is a point of {basis.space}, not of {given.space}")
    return given


def _hidden(name: str, home: Any, activations: Any) -> tuple[Activation, ...]:
    """The activations of the hidden layers, from a list of them or one for all, and the identity at the end."""
    if not isinstance(home, Parameterization):
        raise KindError(
            f"{name}({_name(home)}): it takes a Parameterization, say Parameterization.from_widths(2, 3, 1)"
        )
    hidden = len(home.preactivations) - 1
    if isinstance(activations, Activation):
        activations = [activations] * hidden
    if len(activations) != hidden or not all(isinstance(phi, Activation) for phi in activations):
        raise SpaceError(
            f"{name}: {hidden} hidden layers want {hidden} activations, such as [tanh, logistic], or one for all; got "
            f"{len(activations)}: {activations!r}"
        )
    return (*activations, identity)


def _rewritten(home: Parameterization, outputs: AffineBasis) -> Parameterization:
    """The same network with the identity rho_L read in another basis of Y, and the matching one of Z_L."""
    change = home.outputs.to(outputs)
    z = home.preactivations[-1].changed(*change)
    return Parameterization((*home.activations[:-1], outputs), (*home.preactivations[:-1], z))
