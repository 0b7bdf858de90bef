"""zeta_i = omega_i(alpha_{i-1}), alpha_i = rho_i(zeta_i): a perceptron without coordinates (paper: 3.1, eq. 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import coordinates
from ..bases import Parameterization
from ..coordinates.mlp import Activation, Network, tanh
from ..likelihoods import Likelihood
from ..spaces import Point
from .base import Net, Uses, _hidden


class MLP(Net):
    """A multilayer perceptron on the spaces of `home`.

    home: the bases in which the activation functions act number by number. (The paper writes rho : R -> R, and with
        that a basis slips into its network without coordinates; here it has a name.)
    activations: the functions of the L - 1 hidden layers, or one for all; the last layer is affine, rho_L being the
        identity from Z_L to Y in the bases of home.
    """

    coordinates = coordinates.mlp

    def __init__(self, home: Parameterization, activations: Activation | Sequence[Activation] = tanh):
        self.activations = _hidden("MLP", home, activations)
        self.home = home

    def layers(self, omega: Point, xi: Point) -> list[tuple[Point, Point]]:
        """(zeta_i, alpha_i) of every layer."""
        self._checks(omega)
        self._inputs(xi)
        result, alpha = [], xi
        for i, omega_i in enumerate(omega.parts, 1):
            zeta = omega_i(alpha)
            alpha = self.activate(i, zeta)
            result.append((zeta, alpha))
        return result

    def uses(self, i: int, omega: Point, xi: Point) -> Uses:
        """omega_i is applied to alpha_{i-1}, once a datum."""
        self._layer(i)
        layers = self.layers(omega, xi)
        return Uses(layers[i - 2][1] if i > 1 else xi, layers[i - 1][0], self.after(i, omega))

    def after(self, i: int, omega: Point) -> Callable[[Point], Point]:
        """phi^i_xi : Z_i -> Y, from the pre-activations of layer i to the outputs (3.5.2)."""
        self._layer(i)
        self._checks(omega)

        def rest(zeta: Point) -> Point:
            alpha = self.activate(i, zeta)
            for j, omega_j in list(enumerate(omega.parts, 1))[i:]:
                alpha = self.activate(j, omega_j(alpha))
            return alpha

        return rest

    def in_basis(self, kappa: Parameterization, likelihood: Likelihood) -> Network:
        """This network in the bases kappa, as plain arrays: what the functions of `coordinates.mlp` take first.

        Layer i has (Omega, gamma) from home to kappa on A_i and (Phi, tau) from kappa to home on Z_i (eq. 3.4). Where
        the likelihood's basis of Y is not that of home, the last layer, being affine, is rewritten in the likelihood's.
        """
        return Network(self._layers_in(kappa, likelihood), getattr(coordinates.likelihoods, likelihood.name))

    def __repr__(self) -> str:
        widths = "-".join(str(a.space.dimension) for a in self.home.activations)
        return f"<MLP {widths}>"
