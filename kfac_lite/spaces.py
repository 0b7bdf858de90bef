"""p - q = v, p + v = q, phi(v) = number: what may be combined with what (paper: 2.2.1 to 2.2.4, A.1).

Points live in an affine space, vectors and covectors in its tangent and cotangent space, which are the same at every
point (Corollary A.2). Elements have no components of their own: they keep them in a reference frame of the space that
nobody else reads, and `basis[x]` is the only way out.

>>> from kfac_lite import AffineBasis, AffineSpace
>>> iota = AffineBasis(AffineSpace(2, "A"))
>>> p, q = iota.point([1.0, 2.0]), iota.point([4.0, 6.0])
>>> iota[q - p]
tensor([3., 4.], dtype=torch.float64)
>>> p + q
Traceback (most recent call last):
kfac_lite.errors.KindError: Point + Point: the sum of two points depends on where the
origin is. Write q - p for the vector from p to q, or
affine_combination([0.5, 0.5], [p, q]) for the midpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Never, Self, TypeAlias, overload

import torch
from torch import Tensor

from .errors import KindError, SpaceError
from .refusals import _NO_ORIGIN, Number, _broadcast, _is_number, _name, _number, _refuse, _WithoutNumbers

__all__ = [
    "AffineMaps",
    "AffineSpace",
    "Covector",
    "Point",
    "Product",
    "Space",
    "Tangent",
    "Vector",
    "affine_combination",
    "power",
]

# Spaces ----------------------------------------------------------------------------------------------------------


def _frame(dimension: int) -> tuple[Tensor, Tensor]:
    """The starting basis in terms of the reference frame, x -> B x + c. Tests put another one here."""
    return torch.eye(dimension, dtype=torch.float64), torch.zeros(dimension, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class AffineSpace:
    """An affine space of `dimension` numbers; two spaces are the same only if they are the same object.

    A name is for error messages and printing.
    """

    dimension: int
    name: str = "A"

    def __post_init__(self) -> None:
        if not isinstance(self.dimension, int) or isinstance(self.dimension, bool) or self.dimension < 0:
            raise SpaceError(f"AffineSpace({self.dimension!r}): the dimension is an integer, 0 or more")
        object.__setattr__(self, "_start", _frame(self.dimension))

    _start = None  # the starting basis in the reference frame

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Tangent:
    """TZ, the vectors on an affine space, as a target of maps: the differences of maps to Z are maps to TZ."""

    space: AffineSpace

    @property
    def dimension(self) -> int:
        return self.space.dimension

    def __repr__(self) -> str:
        return f"T{self.space}"


@dataclass(frozen=True)
class AffineMaps:
    """Aff(A, Z), the affine maps from `source` to `target`: a layer's weights and biases, as one space (3.1).

    Its tangent space is (A homogenised)* (x) TZ, so a point, a vector and a covector are all one block (W b). The
    target may be a `Tangent` space: a map from A to TZ gives vectors, which can be added to points of Z (5.1.1).
    """

    source: AffineSpace | Product
    target: AffineSpace | Tangent

    def __post_init__(self) -> None:
        if not isinstance(self.source, AffineSpace | Product) or not isinstance(self.target, AffineSpace | Tangent):
            raise SpaceError(f"AffineMaps({self.source!r}, {self.target!r}): maps lead from one space to another")

    @property
    def dimension(self) -> int:
        return self.target.dimension * (self.source.dimension + 1)

    def __repr__(self) -> str:
        return f"Aff({self.source}, {self.target})"


@dataclass(frozen=True)
class Product:
    """The product of affine spaces, such as the weight space W = W_1 x ... x W_L of a network (3.1)."""

    factors: tuple[AffineSpace | AffineMaps, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors))
        if not self.factors or not all(isinstance(space, AffineSpace | AffineMaps) for space in self.factors):
            raise SpaceError(f"Product({self.factors!r}): a tuple of one or more spaces is wanted")

    @property
    def dimension(self) -> int:
        return sum(space.dimension for space in self.factors)

    def __repr__(self) -> str:
        first, count = self.factors[0], len(self.factors)
        same = count > 1 and all(space == first for space in self.factors)
        return f"{first}^{count}" if same else " x ".join(map(repr, self.factors))

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split([space.dimension for space in self.factors], -1)

    def join(self, *parts: _Element) -> Any:
        """One element from its parts, all of one kind: `Product((A, B)).join(p, q)` is the point (p, q)."""
        kinds = {type(part) for part in parts}
        if len(kinds) != 1 or not kinds <= {Point, Vector, Covector}:
            names = ", ".join(_name(part) for part in parts)
            raise KindError(f"join({names}): the parts of one element are of one kind, all points, say")
        if tuple(part.space for part in parts) != self.factors:
            names = ", ".join(repr(part.space) for part in parts)
            raise SpaceError(f"join: {self} needs an element of each of its factors in order; got elements of {names}")
        batch = _broadcast("join", *(part.batch for part in parts))
        return kinds.pop()(self, torch.cat([part._x.expand(*batch, -1) for part in parts], -1))


Space: TypeAlias = AffineSpace | AffineMaps | Product


def power(space: AffineSpace, count: int) -> Product:
    """A^count, such as a patch of activations; one basis of A serves all its places (2.2.3, eq. 2.12)."""
    return Product((space,) * count)


# Elements --------------------------------------------------------------------------------------------------------


class _Element(_WithoutNumbers):
    """What points, vectors and covectors share: a space, and numbers in a frame of it that are nobody's business."""

    __slots__ = ("_x", "space")

    def __init__(self, space: Space, x: Tensor):
        self.space = space
        self._x = x  # (*batch, dimension), in the reference frame

    @property
    def batch(self) -> torch.Size:
        """The leading dimensions: () for one element, (n,) for n of them."""
        return self._x.shape[:-1]

    @property
    def parts(self) -> tuple[Any, ...]:
        """The components of an element of a product, each an element of its factor."""
        if not isinstance(self.space, Product):
            raise SpaceError(f"{self.space} is not a product, so its elements have no parts")
        return tuple(type(self)(space, x) for space, x in zip(self.space.factors, self.space._split(self._x)))

    def at(self, index: Any) -> Any:
        """One or several of a batch: `points.at(3)`, `points.at(slice(10))`, `points.at(indices)`."""
        if not self.batch:
            raise SpaceError(f"{self!r} is one element and no batch, so there is nothing to choose from")
        rows = torch.arange(self.batch.numel()).reshape(self.batch)[index]  # so that no index reaches the numbers
        return type(self)(self.space, self._x.flatten(0, -2)[rows])

    def __repr__(self) -> str:
        batch = f"{' x '.join(map(str, self.batch))} of them" if self.batch else ""
        plural = f"{type(self).__name__}s" if batch else type(self).__name__
        noun = f"<{plural} of {self.space}" if isinstance(self, Point) else f"<{plural} on {self.space}"
        shape = f"dimension {self.space.dimension}"
        if isinstance(self.space, AffineMaps):
            shape = f"shape ({self.space.target.dimension}, {self.space.source.dimension} + 1)"
        return f"{noun}, {shape}{', ' + batch if batch else ''}>"

    # What every kind needs of another element

    def _same(self, op: str, other: _Element) -> None:
        if self.space != other.space:
            raise SpaceError(
                f"{_name(self)} {op} {_name(other)}: one belongs to {self.space}{_which(self.space, other.space)}, the "
                f"other to {other.space}; elements of different spaces cannot be combined"
            )
        _broadcast(f"{_name(self)} {op} {_name(other)}", self.batch, other.batch)


def _which(a: Space, b: Space) -> str:
    return " (another space of the same name)" if repr(a) == repr(b) else ""


class Point(_Element):
    """A point of an affine space. A point of `AffineMaps(A, Z)` is a map: it can be applied to points of A."""

    __slots__ = ()

    @overload
    def __sub__(self, other: Point) -> Vector: ...
    @overload
    def __sub__(self, other: Vector) -> Point: ...
    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Point):
            self._same("-", other)
            return Vector(self.space, self._x - other._x)
        if isinstance(other, Vector):
            self._same("-", other)
            return Point(self.space, self._x - other._x)
        _refuse("-", self, other)

    def __rsub__(self, other: Never) -> Never:
        _refuse("-", other, self)

    def __add__(self, other: Vector) -> Point:
        if isinstance(other, Vector):
            self._same("+", other)
            return Point(self.space, self._x + other._x)
        _refuse("+", self, other)

    def __radd__(self, other: Never) -> Never:
        _refuse("+", other, self)

    def __mul__(self, other: Never) -> Never:
        _refuse("*", self, other)

    def __rmul__(self, other: Never) -> Never:
        _refuse("*", other, self)

    def __truediv__(self, other: Never) -> Never:
        _refuse("/", self, other)

    def __neg__(self) -> Never:
        raise KindError(f"-Point: {_NO_ORIGIN}")

    def __pos__(self) -> Never:
        raise KindError(f"+Point: {_NO_ORIGIN}")

    @overload
    def __call__(self, other: Point) -> Point: ...
    @overload
    def __call__(self, other: Vector) -> Vector: ...
    def __call__(self, other: Any) -> Any:
        """zeta = omega(alpha), eq. 3.1; of a vector, the linear part of omega."""
        return _apply(self, other)


class _Linear(_Element):
    """What vectors and covectors share: differences of one kind, and multiples by numbers."""

    __slots__ = ()

    def __radd__(self, other: Never) -> Never:
        _refuse("+", other, self)

    def __sub__(self, other: Self) -> Self:
        if isinstance(other, type(self)):
            self._same("-", other)
            return type(self)(self.space, self._x - other._x)
        _refuse("-", self, other)

    def __rsub__(self, other: Never) -> Never:
        _refuse("-", other, self)

    def __mul__(self, other: Number) -> Self:
        if _is_number(other):
            return type(self)(self.space, _number(other) * self._x)
        _refuse("*", self, other)

    def __rmul__(self, other: Number) -> Self:
        if _is_number(other):
            return type(self)(self.space, _number(other) * self._x)
        _refuse("*", other, self)

    def __truediv__(self, other: Number) -> Self:
        if _is_number(other):
            return type(self)(self.space, self._x / _number(other))
        _refuse("/", self, other)

    def __neg__(self) -> Self:
        return type(self)(self.space, -self._x)

    def __pos__(self) -> Self:
        return self


class Vector(_Linear):
    """A tangent vector: the difference of two points, a direction with a length in every metric."""

    __slots__ = ()

    @overload
    def __add__(self, other: Vector) -> Vector: ...
    @overload
    def __add__(self, other: Point) -> Point: ...
    def __add__(self, other: Any) -> Any:
        if isinstance(other, Vector | Point):
            self._same("+", other)
            return type(other)(self.space, self._x + other._x)
        _refuse("+", self, other)

    def __call__(self, other: Point) -> Vector:
        """On `AffineMaps(A, Z)`: the push-forward along the evaluation at a point of A, a vector on Z (3.4)."""
        return _apply(self, other)


class Covector(_Linear):
    """A linear function of vectors, such as the differential dh of an objective; `dh(v)` is a number."""

    __slots__ = ()

    def __call__(self, other: Vector) -> Tensor:
        """phi(v), of shape (*batch): the same number in every basis."""
        if not isinstance(other, Vector):
            say = {
                Point: "a covector eats vectors. Write dh(p - q) with the difference of two points.",
                Covector: "a covector eats vectors. Turn one into a vector with a metric: write a(g.sharp(b)).",
            }.get(type(other), "a covector eats vectors. Make one: write basis.vector(x).")
            raise KindError(f"Covector({_name(other)}): {say}")
        self._same("applied to", other)
        return (self._x * other._x).sum(-1)

    def __add__(self, other: Covector) -> Covector:
        if isinstance(other, Covector):
            self._same("+", other)
            return Covector(self.space, self._x + other._x)
        _refuse("+", self, other)


def _bar(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], -1) if x.shape[-1] else x.new_ones(*x.shape[:-1], 1)


def _apply(omega: _Element, alpha: Any) -> Any:
    """A map on a point or a vector of its source; a change of a map, on a point."""
    maps = omega.space
    if not isinstance(maps, AffineMaps):
        raise KindError(
            f"{_name(omega)}({_name(alpha)}): an element of {maps} is no map. Write omega(alpha) with a point omega "
            "of AffineMaps(A, Z), which takes points of A to points of Z."
        )
    if not isinstance(alpha, Point) and not (isinstance(omega, Point) and isinstance(alpha, Vector)):
        raise KindError(f"{_name(omega)} of {maps} applied to a {_name(alpha)}: it takes points of {maps.source}")
    if alpha.space != maps.source:
        raise SpaceError(f"a map from {maps.source} was applied to an element of {alpha.space}")
    _broadcast("a map of a point", omega.batch, alpha.batch)
    W = omega._x.unflatten(-1, (maps.target.dimension, maps.source.dimension + 1))
    abar = (
        _bar(alpha._x) if isinstance(alpha, Point) else torch.cat([alpha._x, torch.zeros_like(alpha._x[..., :1])], -1)
    )
    z = abar @ W.mT if W.dim() == 2 else (W @ abar[..., None])[..., 0]
    if isinstance(maps.target, Tangent):
        return Vector(maps.target.space, z)
    return (Point if isinstance(omega, Point) and isinstance(alpha, Point) else Vector)(maps.target, z)


def affine_combination(weights: Sequence[float] | Tensor, points: Sequence[Point] | Point) -> Point:
    """The sum of w_i p_i, which is a point of no particular basis if the weights sum to 1: means, centroids, averages.

    `points` is a sequence of points, or a batch of n of them; other weights raise `KindError`.
    """
    w = torch.as_tensor(weights, dtype=torch.float64)
    if isinstance(points, Point):
        space, x = points.space, points._x
    else:
        points = list(points)
        if not points or not all(isinstance(p, Point) for p in points):
            raise KindError("affine_combination: a sequence of one or more points is wanted")
        for p in points[1:]:
            points[0]._same("+", p)
        space, x = points[0].space, torch.stack(torch.broadcast_tensors(*(p._x for p in points)))
    if w.dim() != 1 or x.dim() < 2 or len(w) != len(x):
        raise SpaceError(f"affine_combination: weights of shape {tuple(w.shape)} for {len(x)} points")
    if not math.isclose(float(w.sum()), 1.0, rel_tol=0, abs_tol=1e-12 * max(1.0, float(w.abs().sum()))):
        raise KindError(
            f"affine_combination: the weights sum to {float(w.sum()):.6g}, so the result depends on where the origin "
            "is. Divide them by their sum, or write origin + the sum of w_i * (p_i - origin)"
        )
    return Point(space, torch.tensordot(w, x, 1))
