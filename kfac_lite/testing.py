"""Random spaces, bases, networks and objectives, as hypothesis strategies: to check a claim for all of them.

>>> from hypothesis import given
>>> from kfac_lite import testing
>>> @given(testing.objectives())
... def check(problem):
...     h, omega = problem
...     assert h(omega) == h(omega + 0 * (omega - omega))
>>> check()

A strategy draws the structure (kinds, sizes, depth), which hypothesis shrinks, and one seed, from which torch draws the
numbers. All changes of basis have a condition number of at most 10 unless asked otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from .bases import AffineBasis, Basis, MapsBasis, Parameterization, ProductBasis, TangentBasis
from .likelihoods import Bernoulli, Categorical, Gaussian, Likelihood
from .networks import MLP, RNN, Activation, ConvNet, Filter, Net, logistic, sine, softplus, tanh
from .objective import Objective
from .spaces import AffineMaps, AffineSpace, Covector, Point, Product, Space, Tangent, Vector, power

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError:
    raise ImportError("kfac_lite.testing is made of hypothesis strategies. Write: pip install hypothesis") from None

__all__ = [
    "SMOOTH",
    "Problem",
    "bases",
    "change",
    "convolutional_networks",
    "covectors",
    "likelihoods",
    "networks",
    "objectives",
    "parameterizations",
    "points",
    "recurrent_networks",
    "spaces",
    "vectors",
]

SMOOTH = (tanh, logistic, softplus, sine)
LIKELIHOODS = (Gaussian, Bernoulli, Categorical)
_T = TypeVar("_T")


class Problem(NamedTuple):
    """An objective, and a point of W at which to look at it."""

    h: Objective
    omega: Point


def _generators() -> SearchStrategy[torch.Generator]:
    return st.integers(0, 2**32 - 1).map(lambda seed: torch.Generator().manual_seed(seed))


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def change(n: int, condition: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(Omega, gamma) of a random change of basis: singular values within sqrt(condition) of 1, a shift from N(0, 1)."""
    U, _, Vh = torch.linalg.svd(_normal((n, n), generator))
    exponents = torch.rand(n, generator=generator, dtype=torch.float64) - 0.5
    return U @ (condition**exponents).diag() @ Vh, _normal((n,), generator)


# Spaces and bases ------------------------------------------------------------------------------------------------


def spaces(max_dimension: int = 4) -> SearchStrategy[Space]:
    """Affine spaces, powers of them, spaces of maps (from affine spaces and powers), and products of all but powers."""
    affine = st.integers(1, max_dimension).map(AffineSpace)
    powers = st.builds(power, affine, st.integers(1, 3))
    maps = st.builds(AffineMaps, affine | powers, affine | affine.map(Tangent))
    products = st.lists(affine | maps, min_size=1, max_size=3).map(lambda factors: Product(tuple(factors)))
    return affine | powers | maps | products


def bases(space: Space, condition: float = 10.0) -> SearchStrategy[Basis]:
    """Bases of a space; of a power one basis of the factor serves all places, or each place has its own."""
    is_power = isinstance(space, Product) and len(set(map(id, space.factors))) == 1
    shared = st.booleans() if is_power else st.just(False)
    return st.builds(_basis, st.just(space), st.just(condition), shared, _generators())


def _basis(space: Space, condition: float, shared: bool, generator: torch.Generator) -> Any:
    if isinstance(space, AffineSpace):
        return AffineBasis(space).changed(*change(space.dimension, condition, generator))
    if isinstance(space, AffineMaps):
        source = _basis(space.source, condition, False, generator)
        if isinstance(space.target, Tangent):
            return MapsBasis(source, TangentBasis(_basis(space.target.space, condition, False, generator)))
        return MapsBasis(source, _basis(space.target, condition, False, generator))
    if shared:
        return ProductBasis([_basis(space.factors[0], condition, False, generator)] * len(space.factors))
    return ProductBasis([_basis(part, condition, False, generator) for part in space.factors])


def parameterizations(
    of: Parameterization | Sequence[int], condition: float = 10.0
) -> SearchStrategy[Parameterization]:
    """Random bases of every space of a network, inputs and outputs included: of these spaces, or of new ones.

    of: a parameterization, whose spaces they are, or the widths of new spaces, inputs first.
    """

    def draw(generator: torch.Generator) -> Parameterization:
        home = of if isinstance(of, Parameterization) else Parameterization.from_widths(*of)
        a, z = (
            {i: change(basis.space.dimension, condition, generator) for i, basis in enumerate(chosen, first)}
            for first, chosen in ((0, home.activations), (1, home.preactivations))
        )
        return home.changed(a, z)

    return _generators().map(draw)


# Elements --------------------------------------------------------------------------------------------------------


def _elements(make: Callable[[Any], _T], basis: Basis, batch: Sequence[int]) -> SearchStrategy[_T]:
    def numbers(basis: Basis, generator: torch.Generator) -> Any:
        if isinstance(basis, ProductBasis):
            return [numbers(part, generator) for part in basis.factors]
        shape = basis.shape if isinstance(basis, MapsBasis) else (basis.space.dimension,)
        return _normal((*batch, *shape), generator)

    return _generators().map(lambda generator: make(numbers(basis, generator)))


def points(basis: Basis, batch: Sequence[int] = ()) -> SearchStrategy[Point]:
    """Points whose numbers in the basis come from N(0, 1); batch: (n,) for n of them."""
    return _elements(basis.point, basis, batch)


def vectors(basis: Basis, batch: Sequence[int] = ()) -> SearchStrategy[Vector]:
    """Vectors whose numbers in the basis come from N(0, 1)."""
    return _elements(basis.vector, basis, batch)


def covectors(basis: Basis, batch: Sequence[int] = ()) -> SearchStrategy[Covector]:
    """Covectors whose numbers in the basis come from N(0, 1)."""
    return _elements(basis.covector, basis, batch)


# Networks and objectives -----------------------------------------------------------------------------------------


@st.composite
def networks(
    draw: st.DrawFn,
    depth: tuple[int, int] = (1, 5),
    widths: tuple[int, int] = (1, 8),
    activations: Sequence[Activation] = SMOOTH,
) -> MLP:
    """Perceptrons with L layers, L and all widths from these closed ranges, activations from these, in random bases.

    `home` is random too, so that no two spaces of a network have the same numbers by chance.
    """
    sizes = st.integers(*widths)
    layers = draw(st.integers(*depth))
    home = draw(parameterizations(draw(st.lists(sizes, min_size=layers + 1, max_size=layers + 1))))
    return MLP(home, [draw(st.sampled_from(activations)) for _ in range(layers - 1)])


@st.composite
def convolutional_networks(draw: st.DrawFn, activations: Sequence[Activation] = SMOOTH) -> ConvNet:
    """One to three layers on images of 1 to 5 by 1 to 5 places, in random bases.

    Filters of all shapes, strides of 1 and 2, borders of 0 to 2 places that hold random points, with and without
    averages over windows. The last filter sees the whole image, or is followed by the mean over all places.
    """
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    layers = draw(st.integers(1, 3))
    home = draw(parameterizations(draw(st.lists(st.integers(1, 3), min_size=layers + 1, max_size=layers + 1))))
    filters, seen = [], shape
    for i in range(layers):
        last = i == layers - 1
        if last and draw(st.booleans()):
            filters.append(Filter(None))
            break
        padding = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
        height, width = (draw(st.integers(1, min(3, n + 2 * p))) for n, p in zip(seen, padding))
        stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        found = Filter((height, width), stride, padding).behind(seen)
        window = (draw(st.integers(1, found[0])), draw(st.integers(1, found[1]))) if draw(st.booleans()) else None
        filters.append(Filter((height, width), stride, padding, "all" if last else window))
        seen = filters[-1].behind(seen)
    borders = [draw(points(basis)) for basis in home.activations[:-1]]
    return ConvNet(home, shape, filters, [draw(st.sampled_from(activations)) for _ in range(layers - 1)], borders)


@st.composite
def recurrent_networks(draw: st.DrawFn, activations: Sequence[Activation] = SMOOTH) -> RNN:
    """Sequences of 1 to 6 points, a random initial state, one map a step or two, one output or T, in random bases."""
    home = draw(parameterizations(draw(st.lists(st.integers(1, 4), min_size=3, max_size=3))))
    start = draw(points(home.activations[1]))
    phi, joint, every = draw(st.sampled_from(activations)), draw(st.booleans()), draw(st.booleans())
    return RNN(home, draw(st.integers(1, 6)), phi, start, joint, every)


def likelihoods(basis: AffineBasis, kinds: Sequence[type[Likelihood]] = LIKELIHOODS) -> SearchStrategy[Likelihood]:
    """Gaussian, Bernoulli or Categorical, with the formula in this basis of Y."""
    return st.sampled_from(kinds).map(lambda kind: kind(basis))


@st.composite
def objectives(
    draw: st.DrawFn,
    nets: SearchStrategy[Any] | None = None,
    kinds: Sequence[type[Likelihood]] = LIKELIHOODS,
    more_data: tuple[int, int] = (2, 8),
) -> Problem:
    """An objective and a point omega of W, as a pair (h, omega).

    Weights come from N(0, 1 / fan-in) and inputs from N(0, 1) in the bases of home; targets are drawn from the model at
    another point. There are as many data as the widest layer has inputs, and some `more_data`, so that second moments
    can be inverted. The likelihood's formula holds in the basis of home, or in another basis of Y.
    """
    net: Net = draw(networks() if nets is None else nets)
    outputs = net.home.outputs
    if draw(st.booleans()):
        outputs = draw(bases(outputs.space))
    likelihood = draw(likelihoods(outputs, kinds))  # type: ignore[arg-type]
    sources = [basis.shape[1] - 1 for basis in net.home.weights.factors if isinstance(basis, MapsBasis)]
    widest = max([*sources, net.home.outputs.space.dimension])
    n = widest + draw(st.integers(*more_data))
    generator = draw(_generators())
    inputs = net.home.inputs.point(_normal((n, *net.grid, net.home.inputs.space.dimension), generator))

    def weights() -> Point:
        shapes = [basis.shape for basis in net.home.weights.factors if isinstance(basis, MapsBasis)]
        return net.home.weights.point([_normal(shape, generator) / shape[1] ** 0.5 for shape in shapes])

    targets = likelihood.sample(net(weights(), inputs), generator)
    return Problem(Objective(net, likelihood, inputs, targets), weights())
