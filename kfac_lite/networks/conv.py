"""zeta^(t) = omega(alpha^(:,t)): a convolutional network without coordinates (paper: 4.1.2).

The same omega in Aff(A^Delta, Z) looks at the patch around every place t. All places share one space A, and one basis
of it: that is what sharing a weight means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import coordinates
from ..bases import MapsBasis, Parameterization, ProductBasis
from ..coordinates.conv import ConvNetwork, Look, Pool, grid, look, pairs, pool
from ..coordinates.mlp import Activation, tanh
from ..errors import SpaceError
from ..likelihoods import Likelihood
from ..spaces import Point, power
from .base import Net, Uses, _hidden, _point_of


@dataclass(frozen=True)
class Average:
    """The mean over windows of this size, side by side where no stride is given; what lies outside is not counted."""

    size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0

    def _numbers(self) -> tuple[Any, Any, Any]:
        size = pairs(self.size)
        return size, size if self.stride is None else self.stride, self.padding


@dataclass(frozen=True)
class Filter:
    """How a layer looks at the image before it.

    size: its height and width in places, or one number for both; None for the whole image, so that one place is left
        (a dense layer).
    stride: how far it moves. padding: by how many places it may reach out of the image, "same" for half its size.
    pool: average the activations over windows of this size, side by side, or as an `Average` says; "all": over the
        whole image.
    """

    size: int | tuple[int, int] | None
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] | str = 0
    pool: int | tuple[int, int] | Average | str | None = None

    def behind(self, shape: tuple[int, int]) -> tuple[int, int]:
        """The height and width of the image that this makes of one of this shape."""
        found, window = self._places(shape)
        return found if window is None else grid(found, *window._numbers())

    def _tables(self, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Pool | None]:
        """The addresses of a `Look`, and the averages."""
        found, window = self._places(shape)
        return *look(shape, *self._numbers(shape)), None if window is None else pool(found, *window._numbers())

    def _places(self, shape: tuple[int, int]) -> tuple[tuple[int, int], Average | None]:
        """The grid of output places, and the windows that are averaged over."""
        found = grid(shape, *self._numbers(shape))
        if min(found) < 1:
            raise SpaceError(f"{self} finds no place in an image of {shape[0]} x {shape[1]}")
        if self.pool is None:
            return found, None
        if isinstance(self.pool, str) and self.pool != "all":
            raise SpaceError(f'{self}: a pool is a number, a pair of them, an Average or "all"')
        window = self.pool if isinstance(self.pool, Average) else Average(found if self.pool == "all" else self.pool)  # type: ignore[arg-type]
        size, stride, padding = (pairs(numbers) for numbers in window._numbers())
        if min(*size, *stride) < 1 or min(padding) < 0 or min(k - p for k, p in zip(size, padding)) < 1:
            raise SpaceError(f"{window}: sizes and strides are 1 or more, and a padding is smaller than the window")
        if min(grid(found, size, stride, padding)) < 1:
            raise SpaceError(f"{window} finds no place in {found[0]} x {found[1]} places")
        return found, window

    def _numbers(self, shape: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Size, stride and padding."""
        size = shape if self.size is None else pairs(self.size)
        padding = self.padding
        if padding == "same":
            if size[0] % 2 == 0 or size[1] % 2 == 0:
                raise SpaceError(f"{self}: a filter of even size has no middle; give the padding in numbers")
            padding = (size[0] // 2, size[1] // 2)
        elif isinstance(padding, str):
            raise SpaceError(f'{self}: padding is a number, a pair of them, or "same"')
        if min(*size, *pairs(self.stride)) < 1 or min(pairs(padding)) < 0:
            raise SpaceError(f"{self}: sizes and strides are 1 or more, a padding 0 or more")
        return size, self.stride, padding


@dataclass(frozen=True, eq=False)
class Patched(Parameterization):
    """Bases of the activations and pre-activations of one place each; those of patches are induced (eq. 2.12)."""

    offsets: tuple[int, ...] = ()

    def _maps(self) -> list[MapsBasis]:
        return [
            MapsBasis(ProductBasis([a] * count), z)
            for a, z, count in zip(self.activations, self.preactivations, self.offsets)
        ]


class ConvNet(Net):
    """A convolutional network on images of points: `ConvNet(home, (8, 8), [Filter(3, pool=2), Filter(None)])`.

    home: `Parameterization.from_widths(J, ..., d)`, bases of one place: the channels of the image, of every layer, and
        the outputs. `net.home` has the same bases and, as `weights`, the basis of the filters' spaces that they induce.
    shape: the height and width of the images; inputs are batches (n, height, width) of points of X.
    filters: one a layer. The last one must leave one place, which is the output.
    borders: the point outside the image for each layer, a point of A_{i-1}; None is the origin of home.
    """

    coordinates = coordinates.conv

    def __init__(
        self,
        home: Parameterization,
        shape: tuple[int, int],
        filters: Sequence[Filter],
        activations: Activation | Sequence[Activation] = tanh,
        borders: Sequence[Point | None] | None = None,
    ):
        self.activations = _hidden("ConvNet", home, activations)
        if len(filters) != len(self.activations) or not all(isinstance(f, Filter) for f in filters):
            raise SpaceError(
                f"ConvNet: {len(self.activations)} layers want as many filters, such as [Filter(3), Filter(None)]; got "
                f"{list(filters)!r}"
            )
        self.grid, self.filters = (int(shape[0]), int(shape[1])), tuple(filters)
        self.shapes = [self.grid]  # of the image in front of every layer, and at the end
        for f in self.filters:
            self.shapes.append(f.behind(self.shapes[-1]))
        self._tables = [f._tables(shape) for f, shape in zip(self.filters, self.shapes)]
        if self.shapes[-1] != (1, 1):
            raise SpaceError(
                f"ConvNet: {self.shapes[-1][0]} x {self.shapes[-1][1]} places are left at the end; the output is one. "
                'Let the last filter see the whole image, Filter(None), or average: Filter(..., pool="all")'
            )
        offsets = tuple(places.shape[1] for places, _, _ in self._tables)
        self.home = Patched(home.activations, home.preactivations, offsets)
        self.borders = self._points(borders)

    def _points(self, borders: Sequence[Point | None] | None) -> tuple[Point, ...]:
        borders = [None] * len(self.filters) if borders is None else list(borders)
        if len(borders) != len(self.filters):
            raise SpaceError(f"ConvNet: {len(self.filters)} layers want as many borders, points or None")
        return tuple(
            _point_of(a, border, "ConvNet", "the border", "basis.point(numbers)")
            for border, a in zip(borders, self.home.activations)
        )

    def layers(self, omega: Point, xi: Point) -> list[tuple[Point, Point]]:
        """(zeta_i, alpha_i) of every layer, batches (n, places); alpha_i after the averaging, and (n,) at the end."""
        self._checks(omega)
        self._inputs(xi)
        return [(zeta, alpha) for _, zeta, alpha in self._run(omega, self._places(xi))]

    def uses(self, i: int, omega: Point, xi: Point) -> Uses:
        """omega_i is applied to the patch around every place: alpha is a batch (n, |T|) of points of A^Delta."""
        self._layer(i)
        self._checks(omega)
        self._inputs(xi)
        patch, zeta, _ = self._run(omega, self._places(xi))[i - 1]
        return Uses(patch, zeta, self.after(i, omega))

    def after(self, i: int, omega: Point) -> Callable[[Point], Point]:
        """phi^i_xi : Z_i^T -> Y, from the pre-activations of layer i at all places to the outputs (4.3)."""
        self._layer(i)
        self._checks(omega)
        return lambda zeta: (
            self._run(omega, self._finish(i, zeta), i)[-1][2] if i < len(self.filters) else (self._finish(i, zeta))
        )

    def patches(self, i: int, alpha: Point) -> Point:
        """alpha^(:,t) at every place t, a batch (n, |T|) of points of A^Delta, from the activations (n, places)."""
        self._layer(i)
        places, _, _ = self._tables[i - 1]
        outside = self.borders[i - 1]._x.expand(len(alpha._x), 1, -1)
        x = torch.cat([alpha._x, outside], 1)[:, places]
        return Point(power(alpha.space, places.shape[1]), x.flatten(-2))  # type: ignore[arg-type]

    def in_basis(self, kappa: Parameterization, likelihood: Likelihood) -> ConvNetwork:
        """This network in the bases kappa, as plain arrays: what the functions of `coordinates.conv` take first.

        The points outside the image go along: (Omega, gamma) of a border that is 0 at home is gamma.
        """
        looks = tuple(
            Look(places, back, a[border], pooled)
            for (places, back, pooled), a, border in zip(self._tables, kappa.activations, self.borders)
        )
        likelihood_in_arrays = getattr(coordinates.likelihoods, likelihood.name)
        return ConvNetwork(self._layers_in(kappa, likelihood), looks, likelihood_in_arrays)

    def _places(self, xi: Point) -> Point:
        """All places of an image in one row."""
        return Point(xi.space, xi._x.flatten(1, 2))

    def _run(self, omega: Point, alpha: Point, after: int = 0) -> list[tuple[Point, Point, Point]]:
        """Patches, zeta and alpha of the layers behind one."""
        result = []
        for i, omega_i in list(enumerate(omega.parts, 1))[after:]:
            patch = self.patches(i, alpha)
            zeta = omega_i(patch)
            alpha = self._finish(i, zeta)
            result.append((patch, zeta, alpha))
        return result

    def _finish(self, i: int, zeta: Point) -> Point:
        """Activate and average: an affine combination of points, whose weights sum to 1."""
        alpha = self.activate(i, zeta)
        pooled = self._tables[i - 1][2]
        if pooled:
            alpha = Point(alpha.space, pooled.members / pooled.counts @ alpha._x)
        return alpha if i < len(self.filters) else Point(alpha.space, alpha._x[:, 0])

    def __repr__(self) -> str:
        widths = "-".join(str(a.space.dimension) for a in self.home.activations)
        return f"<ConvNet {widths} on {self.grid[0]} x {self.grid[1]} places>"
