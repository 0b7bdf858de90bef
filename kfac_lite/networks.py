"""zeta_i = omega_i(alpha_{i-1}), alpha_i = rho_i(zeta_i): networks without coordinates (paper: 3.1, eq. 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import coordinates
from .bases import AffineBasis, Parameterization
from .coordinates.mlp import Activation, Layer, Network, cubic, identity, logistic, sine, softplus, square, tanh
from .errors import KindError, SpaceError
from .likelihoods import Likelihood
from .refusals import _name
from .spaces import Point, Product

__all__ = ["MLP", "Activation", "Network", "cubic", "identity", "logistic", "sine", "softplus", "square", "tanh"]


class MLP:
    """A multilayer perceptron on the spaces of `home`.

    home: the bases in which the activation functions act number by number. (The paper writes rho : R -> R, and with
        that a basis slips into its network without coordinates; here it has a name.)
    activations: the functions of the L - 1 hidden layers, or one for all; the last layer is affine, rho_L being the
        identity from Z_L to Y in the bases of home.
    """

    def __init__(self, home: Parameterization, activations: Activation | Sequence[Activation] = tanh):
        if not isinstance(home, Parameterization):
            raise KindError(
                f"MLP({_name(home)}): it takes a Parameterization, say Parameterization.from_widths(2, 3, 1)"
            )
        hidden = len(home.preactivations) - 1
        if isinstance(activations, Activation):
            activations = [activations] * hidden
        if len(activations) != hidden or not all(isinstance(phi, Activation) for phi in activations):
            raise SpaceError(
                f"MLP: {hidden} hidden layers want {hidden} activations, such as [tanh, logistic], or one for all; got "
                f"{len(activations)}: {activations!r}"
            )
        self.home = home
        self.activations = (*activations, identity)

    @property
    def space(self) -> Product:
        """W, the space of weights and biases."""
        return self.home.weights.space

    def __call__(self, omega: Point, xi: Point) -> Point:
        """f(xi, omega): a point of Y for every input in the batch xi."""
        return self.layers(omega, xi)[-1][1]

    def layers(self, omega: Point, xi: Point) -> list[tuple[Point, Point]]:
        """(zeta_i, alpha_i) of every layer."""
        self._checks(omega)
        if not isinstance(xi, Point):
            raise KindError(f"a network is applied to points of {self.home.inputs.space}, not to a {_name(xi)}")
        result, alpha = [], xi
        for i, omega_i in enumerate(omega.parts, 1):
            zeta = omega_i(alpha)
            alpha = self.activate(i, zeta)
            result.append((zeta, alpha))
        return result

    def activate(self, i: int, zeta: Point) -> Point:
        """alpha_i = rho_i(zeta_i), i from 1 to L: a map from Z_i to A_i, number by number in the bases of home."""
        self._layer(i)
        if not isinstance(zeta, Point):
            raise KindError(f"an activation function is applied to points, not to a {_name(zeta)}")
        z, a = self.home.preactivations[i - 1], self.home.activations[i]
        return Point(a.space, a._write(Point, self.activations[i - 1].value(z[zeta])))

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
        self._likelihood(likelihood)
        home = _rewritten(self.home, likelihood.basis)
        layers = []
        for phi, a, a_new, z, z_new in zip(
            self.activations, home.activations[1:], kappa.activations[1:], home.preactivations, kappa.preactivations
        ):
            layers.append(Layer(phi, *a.to(a_new), *z_new.to(z)))
        return Network(tuple(layers), getattr(coordinates.likelihoods, likelihood.name))

    def _layer(self, i: int) -> None:
        if not 1 <= i <= len(self.activations):
            raise SpaceError(f"layer {i}: layers are counted from 1 to {len(self.activations)}")

    def _checks(self, omega: Point) -> None:
        if not isinstance(omega, Point):
            raise KindError(f"a network takes a point of {self.space} as its parameter, not a {_name(omega)}")
        if omega.space != self.space:
            raise SpaceError(f"a network with weights in {self.space} was given a point of {omega.space}")

    def _likelihood(self, likelihood: Likelihood) -> None:
        if likelihood.space != self.home.outputs.space:
            raise SpaceError(
                f"the likelihood is on {likelihood.space!r}, the network ends in {self.home.outputs.space!r}; name a "
                "basis of the network's outputs, say Categorical(net.home.outputs)"
            )

    def __repr__(self) -> str:
        widths = "-".join(str(a.space.dimension) for a in self.home.activations)
        return f"<MLP {widths}>"


def _rewritten(home: Parameterization, outputs: AffineBasis) -> Parameterization:
    """The same network with the identity rho_L read in another basis of Y, and the matching one of Z_L."""
    change = home.outputs.to(outputs)
    z = home.preactivations[-1].changed(*change)
    return Parameterization((*home.activations[:-1], outputs), (*home.preactivations[:-1], z))
