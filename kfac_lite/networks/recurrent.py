"""zeta_t = omega(alpha_{t-1}) + nu(xi_t): a recurrent network without coordinates (paper: 5.1.2).

One omega in Aff(A, Z) is applied T times, to what came of it the time before. nu in Aff(X, TZ) gives vectors, which may
be added to points; the initial state alpha_0 is a point of A.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .. import coordinates
from ..bases import MapsBasis, Parameterization, ProductBasis, TangentBasis
from ..coordinates.mlp import Activation, tanh
from ..coordinates.recurrent import RecurrentNetwork
from ..errors import SpaceError
from ..likelihoods import Likelihood
from ..spaces import Point, Product
from .base import Net, Uses, _hidden, _point_of


@dataclass(frozen=True, eq=False)
class Recurrent(Parameterization):
    """Bases of X, A, Y and of Z and the outputs' Z; of the maps of one step, two or one that takes the pair."""

    joint: bool = False

    def _maps(self) -> list[MapsBasis]:
        (x, a, _), (z, end) = self.activations, self.preactivations
        step = [MapsBasis(ProductBasis([a, x]), z)] if self.joint else [MapsBasis(a, z), MapsBasis(x, TangentBasis(z))]
        return [*step, MapsBasis(a, end)]


class RNN(Net):
    """A recurrent network that reads a sequence of T points and gives one output, or one at every time: `RNN(home, T)`.

    home: `Parameterization.from_widths(inputs, state, outputs)`. `net.home` has the same bases and, as `weights`, the
        basis of Aff(A, Z) x Aff(X, TZ) x Aff(A, Z_2): omega, nu and the output's map.
    length: T; inputs are batches (n, T) of points of X.
    phi: the activation function, number by number in the bases of home.
    start: alpha_0, a point of A; None is the origin of home.
    joint: True for one map in Aff(A x X, Z) in the place of omega and nu. With two, each has a 1 of its own, and only
        the sum of the two shifts is seen; with one, the exact Fisher metric can be nondegenerate.
    every: True for an output after every step, a batch (n, T) of points of Y; False for one after the last, (n,).
        Targets are a batch of the same shape. A loss, and a metric on Y^T, is the sum over the times.
    """

    coordinates = coordinates.recurrent

    def __init__(
        self,
        home: Parameterization,
        length: int,
        phi: Activation = tanh,
        start: Point | None = None,
        joint: bool = False,
        every: bool = False,
    ):
        self.activations = _hidden("RNN", home, phi)
        if len(self.activations) != 2:
            raise SpaceError("RNN: three widths are wanted, Parameterization.from_widths(inputs, state, outputs)")
        if not isinstance(length, int) or isinstance(length, bool) or length < 1:
            raise SpaceError(f"RNN: the length T of its sequences is a whole number, 1 or more, not {length!r}")
        self.grid, self.joint, self.every = (length,), joint, every
        self.answers = (length,) if every else ()
        self.home = Recurrent(home.activations, home.preactivations, joint)
        a = home.activations[1]
        write = "home.activations[1].point(numbers)"
        self.start = _point_of(a, start, "RNN", "the initial state", write)

    @property
    def length(self) -> int:
        """T."""
        return self.grid[0]

    def layers(self, omega: Point, xi: Point) -> list[tuple[Point, Point]]:
        """(zeta, alpha) of all times, batches (n, T), and of the output, (n,) or (n, T)."""
        self._checks(omega)
        self._inputs(xi)
        _, zeta, alpha = self._steps(omega, xi)
        end = omega.parts[-1](self._read(alpha))
        return [(zeta, alpha), (end, self.activate(2, end))]

    def uses(self, i: int, omega: Point, xi: Point) -> Uses:
        """The maps of a step are applied at T times, a batch (n, T); the output's map, the last, once or T times."""
        self._checks(omega)
        self._inputs(xi)
        if not 1 <= i <= len(omega.parts):
            raise SpaceError(f"map {i}: the maps of an RNN are counted from 1 to {len(omega.parts)}")
        before, zeta, alpha = self._steps(omega, xi)
        if i == len(omega.parts):
            read = self._read(alpha)
            return Uses(read, omega.parts[-1](read), lambda zeta: self.activate(2, zeta))
        applied = _pair(before, xi) if self.joint else (before, xi)[i - 1]
        return Uses(applied, zeta, self.after(omega, xi))

    def after(self, omega: Point, xi: Point) -> Callable[[Point], Point]:
        """phi_xi : Z^T -> Y, or Y^T (5.3). A zeta_t other than the network's own enters as its difference, a vector, at
        time t: it moves all that comes later, and what was put in at another time adds to it.
        """
        self._checks(omega)
        _, own, _ = self._steps(omega, xi)

        def rest(zeta: Point) -> Point:
            _, _, alpha = self._steps(omega, xi, zeta - own)
            return self.activate(2, omega.parts[-1](self._read(alpha)))

        return rest

    def in_basis(self, kappa: Parameterization, likelihood: Likelihood) -> RecurrentNetwork:
        """This network in the bases kappa, as plain arrays: what the functions of `coordinates.recurrent` take first.

        The initial state goes along: an alpha_0 that is 0 at home is gamma in kappa.
        """
        hidden, output = self._layers_in(kappa, likelihood)
        start = kappa.activations[1][self.start]
        return RecurrentNetwork((hidden, output), start, getattr(coordinates.likelihoods, likelihood.name), self.every)

    def _steps(self, omega: Point, xi: Point, moved: Any = None) -> tuple[Point, Point, Point]:
        """alpha_0 to alpha_{T-1}, zeta_1 to zeta_T, alpha_1 to alpha_T; `moved` is a vector to add at every time."""
        alpha = Point(self.start.space, self.start._x.expand(xi.batch[0], -1))
        befores, zetas, alphas = [], [], []
        for t in range(self.length):
            xi_t = _at_time(xi, t)
            befores.append(alpha)
            step = omega.parts  # (omega, nu, the output's map), or without nu
            zeta = step[0](_pair(alpha, xi_t)) if self.joint else step[0](alpha) + step[1](xi_t)
            if moved is not None:
                zeta = zeta + _at_time(moved, t)
            alpha = self.activate(1, zeta)
            zetas.append(zeta)
            alphas.append(alpha)
        return _over_time(befores), _over_time(zetas), _over_time(alphas)

    def _read(self, alpha: Point) -> Point:
        """The states that outputs are read off: all, or the last."""
        return alpha if self.every else _at_time(alpha, -1)

    def __repr__(self) -> str:
        widths = "-".join(str(a.space.dimension) for a in self.home.activations)
        return f"<RNN {widths} over {self.length} steps{', an output at each' if self.every else ''}>"


def _pair(alpha: Point, xi: Point) -> Point:
    """(alpha, xi), a point of A x X."""
    return Product((alpha.space, xi.space)).join(alpha, xi)  # type: ignore[arg-type]


def _at_time(x: Any, t: int) -> Any:
    return type(x)(x.space, x._x[:, t])


def _over_time(points: list[Point]) -> Point:
    return Point(points[0].space, torch.stack([p._x for p in points], 1))
