"""basis[x], the paper's double bracket: the numbers of an element in a basis (paper: 2.2.3, 3.1, A.3).

A basis of an affine space is an origin and axes. Bases of A and Z induce one of Aff(A, Z), and bases of the factors
one of a product; eq. 2.12 and 3.3 are what these come to, and stand nowhere as formulas.

>>> from kfac_lite import AffineBasis, AffineSpace
>>> celsius = AffineBasis(AffineSpace(1, "temperature"))
>>> fahrenheit = celsius.changed([[1.8]], [32.0])
>>> morning, noon = celsius.point([10.0]), celsius.point([25.0])
>>> fahrenheit[noon], fahrenheit[noon - morning]
(tensor([77.], dtype=torch.float64), tensor([27.], dtype=torch.float64))
"""

from __future__ import annotations

import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .errors import KindError, SpaceError
from .refusals import _name
from .spaces import AffineMaps, AffineSpace, Covector, Point, Product, Tangent, Vector, _Element

__all__ = ["AffineBasis", "Basis", "MapsBasis", "Parameterization", "ProductBasis", "TangentBasis", "load", "save"]

_E = TypeVar("_E", bound=_Element)
_KINDS: dict[str, type[_Element]] = {"point": Point, "vector": Vector, "covector": Covector}


def _array(x: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """Numbers for an element: float64, finite, the right shape behind any leading dimensions; or a clear error."""
    if isinstance(x, _Element):
        raise KindError(f"{what}: got a {_name(x)}, which is an element already; numbers are wanted")
    given = x
    if not isinstance(x, Tensor):
        try:
            x = np.asarray(x)
        except (TypeError, ValueError, RuntimeError) as error:
            raise KindError(f"{what}: {_name(given)} is no array of numbers ({error})") from None
        if x.dtype.kind not in "biufc":
            raise KindError(f"{what}: {_name(given)} is no array of numbers")
        if x.dtype.newbyteorder("=") == np.float64:
            x = torch.from_numpy(np.array(x, np.float64, order="C"))  # torch takes no strides below 0, no foreign bytes
    if x.dtype != torch.float64:
        name = str(x.dtype).removeprefix("torch.")
        if "complex" in name or name == "bool":
            write = "the real numbers that you mean"
        elif isinstance(given, Tensor):
            write = "x.double()"
        else:
            write = "x.astype(float)" if isinstance(given, np.ndarray) else "1.0 for 1"
        raise KindError(f"{what}: got {name}, the typed layer computes in float64 only. Write {write}")
    if x.shape[x.dim() - len(shape) :] != shape:
        dims = " x ".join(map(str, shape)) or "one number"
        raise SpaceError(f"{what}: got shape {tuple(x.shape)}; wanted {dims}, behind any leading dimensions")
    if not _traced(x) and not x.isfinite().all():
        raise SpaceError(f"{what}: NaN or infinity at {tuple((~x.isfinite()).nonzero()[0].tolist())}")
    return x


def _traced(x: Tensor) -> bool:
    """Whether torch.func is looking at a function of x, whose entries then cannot be looked at."""
    return torch._C._functorch.is_functorch_wrapped_tensor(x)  # type: ignore[attr-defined]


class Basis(ABC):
    """A basis of a space: it makes elements from numbers, and `basis[x]` gives the numbers back."""

    space: Any

    @abstractmethod
    def _read(self, kind: type[_Element], x: Tensor) -> Any: ...

    @abstractmethod
    def _write(self, kind: type[_Element], numbers: Any) -> Tensor: ...

    @abstractmethod
    def _check(self, numbers: Any, what: str) -> Any: ...

    def __getitem__(self, x: Any) -> Any:
        """The numbers of a point, vector or covector; the matrix of a metric, entry ij being g(e_i, e_j).

        For `Aff(A, Z)` a matrix (W b) of shape (m, n + 1), for a product a tuple. A metric's rows and columns follow
        vec, which stacks columns (2.1.3).
        """
        if hasattr(x, "_matrix_in"):
            return x._matrix_in(self)
        if not isinstance(x, _Element):
            raise KindError(f"basis[{_name(x)}]: a basis reads points, vectors, covectors and metrics")
        if x.space != self.space:
            raise SpaceError(f"a basis of {self.space} cannot read an element of {x.space}")
        return self._read(type(x), x._x)

    def point(self, numbers: Any) -> Point:
        """The point with these numbers; leading dimensions make a batch. float64; else `KindError` or `SpaceError`."""
        return Point(self.space, self._write(Point, self._check(numbers, f"a point of {self.space}")))

    def vector(self, numbers: Any) -> Vector:
        """The vector with these numbers; leading dimensions make a batch."""
        return Vector(self.space, self._write(Vector, self._check(numbers, f"a vector on {self.space}")))

    def covector(self, numbers: Any) -> Covector:
        """The covector with these numbers, such as the partial derivatives of a function of them."""
        return Covector(self.space, self._write(Covector, self._check(numbers, f"a covector on {self.space}")))

    @abstractmethod
    def _unvec(self, v: Tensor) -> Any:
        """Numbers as this basis writes them, from a row of `dimension` numbers in the order of vec."""

    @cached_property
    def units(self) -> Vector:
        """The basis vectors e_1, e_2, ... as a batch, in the order of vec."""
        return Vector(
            self.space, self._write(Vector, self._unvec(torch.eye(self.space.dimension, dtype=torch.float64)))
        )

    @cached_property
    def dual_units(self) -> Covector:
        """The dual basis: `dual_units.at(i)(v)` is the i-th number of v."""
        eye = torch.eye(self.space.dimension, dtype=torch.float64)
        return Covector(self.space, self._write(Covector, self._unvec(eye)))

    def __repr__(self) -> str:
        return f"<a basis of {self.space}>"


class AffineBasis(Basis):
    """An origin and axes of an affine space; `AffineBasis(space)` is a first one, others are `changed` from it."""

    def __init__(self, space: AffineSpace):
        if not isinstance(space, AffineSpace):
            raise KindError(
                f"AffineBasis({space!r}): a basis of maps or of a product is induced. Write MapsBasis(a, z) or "
                "ProductBasis((a, b))"
            )
        self.space: AffineSpace = space
        self._B, self._c = space._start  # type: ignore[misc]
        self._inverse = torch.linalg.inv(self._B)

    def changed(self, Omega: Any, gamma: Any = None) -> AffineBasis:
        """The basis in which every point has the numbers Omega a + gamma, where a are its numbers in this one.

        Omega is (n, n) and invertible, gamma (n,), or None for the same origin. `SpaceError` where Omega is singular.
        """
        n = self.space.dimension
        Omega = _array(Omega, (n, n), f"Omega of a change of basis of {self.space}")
        gamma = torch.zeros(n, dtype=torch.float64) if gamma is None else gamma
        gamma = _array(gamma, (n,), f"gamma of a change of basis of {self.space}")
        if Omega.dim() != 2 or gamma.dim() != 1:
            raise SpaceError("a change of basis is one matrix and one shift; there are no batches of bases")
        if n and not torch.linalg.cond(Omega) < 1e15:
            raise SpaceError(
                f"Omega is singular (condition {float(torch.linalg.cond(Omega)):.1e}): the numbers would not tell "
                "points apart. A change of basis is invertible"
            )
        new = AffineBasis(self.space)
        new._B, new._c = Omega @ self._B, Omega @ self._c + gamma
        new._inverse = self._inverse @ torch.linalg.inv(Omega)
        return new

    def to(self, other: AffineBasis) -> tuple[Tensor, Tensor]:
        """(Omega, gamma) of the change from this basis to `other`: other's numbers are Omega a + gamma."""
        if other.space != self.space:
            raise SpaceError(f"no change leads from a basis of {self.space} to one of {other.space}")
        Omega = other._B @ self._inverse
        return Omega, other._c - Omega @ self._c

    def _read(self, kind: type[_Element], x: Tensor) -> Tensor:
        if kind is Covector:
            return x @ self._inverse
        return x @ self._B.mT + self._c if kind is Point else x @ self._B.mT

    def _write(self, kind: type[_Element], numbers: Tensor) -> Tensor:
        if kind is Covector:
            return numbers @ self._B
        return (numbers - self._c if kind is Point else numbers) @ self._inverse.mT

    def _check(self, numbers: Any, what: str) -> Tensor:
        return _array(numbers, (self.space.dimension,), what)

    def _unvec(self, v: Tensor) -> Tensor:
        return v

    def _batch(self, numbers: Tensor) -> tuple[int, ...]:
        return tuple(numbers.shape[:-1])

    def _affine(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._B, self._c, self._inverse


class TangentBasis:
    """The basis of TZ that one of Z induces: its axes, and no origin to choose. It is a target for `MapsBasis`."""

    def __init__(self, basis: AffineBasis):
        if not isinstance(basis, AffineBasis):
            raise KindError(f"TangentBasis({_name(basis)}): it takes an affine basis of Z")
        self.basis, self.space = basis, Tangent(basis.space)
        self._B, self._c, self._inverse = basis._B, torch.zeros_like(basis._c), basis._inverse

    def __repr__(self) -> str:
        return f"<a basis of {self.space}>"


class MapsBasis(Basis):
    """The basis of Aff(A, Z) that bases of A and Z induce: a map's numbers are the matrix (W b), z = W a + b (3.1).

    With a `TangentBasis` as target, of the maps from A to the vectors on Z.
    """

    def __init__(self, source: AffineBasis | ProductBasis, target: AffineBasis | TangentBasis):
        if not isinstance(source, AffineBasis | ProductBasis) or not isinstance(target, AffineBasis | TangentBasis):
            raise KindError(
                f"MapsBasis({_name(source)}, {_name(target)}): it takes a basis of A, affine or of a power, and an "
                "affine basis of Z"
            )
        self.source, self.target = source, target
        self.space: AffineMaps = AffineMaps(source.space, target.space)
        B, c, inverse = source._affine()
        self._bar, self._bar_inverse = _homogeneous(B, c), _homogeneous(inverse, -inverse @ c)

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n + 1), the shape of (W b)."""
        return self.target.space.dimension, self.source.space.dimension + 1

    def _read(self, kind: type[_Element], x: Tensor) -> Tensor:
        W = x.unflatten(-1, self.shape)
        if kind is Covector:
            return self.target._inverse.mT @ W @ self._bar.mT
        W = self.target._B @ W @ self._bar_inverse
        return torch.cat([W[..., :-1], W[..., -1:] + self.target._c[:, None]], -1) if kind is Point else W

    def _write(self, kind: type[_Element], numbers: Tensor) -> Tensor:
        if kind is Covector:
            return (self.target._B.mT @ numbers @ self._bar_inverse.mT).flatten(-2)
        if kind is Point:
            numbers = torch.cat([numbers[..., :-1], numbers[..., -1:] - self.target._c[:, None]], -1)
        return (self.target._inverse @ numbers @ self._bar).flatten(-2)

    def _check(self, numbers: Any, what: str) -> Tensor:
        return _array(numbers, self.shape, what)

    def _batch(self, numbers: Tensor) -> tuple[int, ...]:
        return tuple(numbers.shape[:-2])

    def _unvec(self, v: Tensor) -> Tensor:
        return v.unflatten(-1, self.shape[::-1]).mT


class ProductBasis(Basis):
    """The basis of a product that bases of its factors induce; numbers are a tuple, one entry a factor."""

    def __init__(self, factors: Sequence[AffineBasis | MapsBasis]):
        self.factors = tuple(factors)
        self.space: Product = Product(tuple(basis.space for basis in self.factors))

    def _read(self, kind: type[_Element], x: Tensor) -> tuple[Tensor, ...]:
        return tuple(basis._read(kind, part) for basis, part in zip(self.factors, self.space._split(x)))

    def _write(self, kind: type[_Element], numbers: Sequence[Tensor]) -> Tensor:
        return torch.cat([basis._write(kind, part) for basis, part in zip(self.factors, numbers)], -1)

    def _check(self, numbers: Any, what: str) -> tuple[Tensor, ...]:
        if not isinstance(numbers, Sequence) or len(numbers) != len(self.factors):
            got = f"{len(numbers)} of them" if isinstance(numbers, Sequence) else f"a {_name(numbers)}"
            raise SpaceError(f"{what}: {len(self.factors)} arrays in a list are wanted, one a factor; got {got}")
        checked = tuple(
            basis._check(part, f"{what}, part {i}") for i, (basis, part) in enumerate(zip(self.factors, numbers))
        )
        batches = {basis._batch(part) for basis, part in zip(self.factors, checked)}
        if len(batches) > 1:
            raise SpaceError(
                f"{what}: its parts are batches of {' and '.join(map(str, sorted(batches)))}; one is wanted"
            )
        return checked

    def _unvec(self, v: Tensor) -> tuple[Tensor, ...]:
        return tuple(basis._unvec(part) for basis, part in zip(self.factors, self.space._split(v)))

    def _affine(self) -> tuple[Tensor, Tensor, Tensor]:
        parts = [basis._affine() for basis in self.factors if isinstance(basis, AffineBasis)]
        if len(parts) != len(self.factors):
            raise SpaceError(f"affine maps start in an affine space or a power of one; {self.space} holds maps")
        B, c, inverse = zip(*parts)
        return torch.block_diag(*B), torch.cat(c), torch.block_diag(*inverse)


def _homogeneous(B: Tensor, c: Tensor) -> Tensor:
    """[B]_H, the matrix of a -> B a + c on homogeneous coordinates (2.2.3)."""
    last = torch.cat([c.new_zeros(len(c)), c.new_ones(1)])
    return torch.cat([torch.cat([B, c[:, None]], 1), last[None]])


@dataclass(frozen=True, eq=False)
class Parameterization:
    """Bases of all the activation and pre-activation spaces of a network (3.1), inputs and outputs included.

    `activations` are bases of A_0 = X, A_1, ..., A_L = Y; `preactivations` of Z_1, ..., Z_L.
    """

    activations: tuple[AffineBasis, ...]
    preactivations: tuple[AffineBasis, ...]

    def __post_init__(self) -> None:
        if len(self.activations) != len(self.preactivations) + 1 or not self.preactivations:
            raise SpaceError(
                f"a network of L layers has bases of A_0, ..., A_L and of Z_1, ..., Z_L; got {len(self.activations)} "
                f"and {len(self.preactivations)}"
            )
        for i, (a, z) in enumerate(zip(self.activations[1:], self.preactivations), 1):
            if a.space.dimension != z.space.dimension:
                raise SpaceError(
                    f"layer {i} has {z.space.dimension} pre-activations and {a.space.dimension} activations; an "
                    "activation function that acts number by number needs as many of one as of the other"
                )

    @classmethod
    def from_widths(cls, *widths: int) -> Parameterization:
        """New spaces of these dimensions, inputs first, each with a basis to start from."""
        if len(widths) < 2:
            raise SpaceError(f"from_widths{widths}: the width of the inputs and of one layer or more are wanted")
        return cls(
            tuple(AffineBasis(AffineSpace(n, f"A{i}")) for i, n in enumerate(widths)),
            tuple(AffineBasis(AffineSpace(n, f"Z{i}")) for i, n in enumerate(widths) if i),
        )

    @property
    def inputs(self) -> AffineBasis:
        return self.activations[0]

    @property
    def outputs(self) -> AffineBasis:
        return self.activations[-1]

    @cached_property
    def weights(self) -> ProductBasis:
        """The induced basis of W: `kappa.weights[omega]` lists the (W b) of the layers."""
        return ProductBasis(self._maps())

    def _maps(self) -> list[MapsBasis]:
        """Bases of the spaces of omega_1, omega_2, ...: here each layer's map starts in the activations before it."""
        return [MapsBasis(a, z) for a, z in zip(self.activations, self.preactivations)]

    def changed(
        self,
        activations: Mapping[int, tuple[Any, Any]] | None = None,
        preactivations: Mapping[int, tuple[Any, Any]] | None = None,
    ) -> Parameterization:
        """Another parameterization: {i: (Omega, gamma)} changes the basis of A_i or Z_i, the rest stays.

        i runs from 0 to L for the activations and from 1 to L for the pre-activations. Both changes lead from the old
        basis to the new one; the paper's (Phi, tau) is the inverse of the one on Z_i.
        """
        a, z = list(self.activations), list(self.preactivations)
        for changes, bases, first, letter in ((activations, a, 0, "A"), (preactivations, z, 1, "Z")):
            for i, change in (changes or {}).items():
                if not first <= i < first + len(bases):
                    last = first + len(bases) - 1
                    raise SpaceError(f"{letter}_{i} is none of {letter}_{first} to {letter}_{last} of this network")
                bases[i - first] = bases[i - first].changed(*change)
        return replace(self, activations=tuple(a), preactivations=tuple(z))


def save(path: str | os.PathLike[str], basis: Basis, x: Point | Vector | Covector) -> None:
    """Write the numbers of an element in a basis to a .npz file, with its kind and space in words."""
    if not isinstance(x, _Element):
        raise KindError(f"save: points, vectors and covectors can be saved, not a {_name(x)}")
    numbers = basis[x]
    parts = numbers if isinstance(numbers, tuple) else (numbers,)
    arrays = {f"part{i}": part.detach().numpy() for i, part in enumerate(parts)}
    with open(path, "wb") as file:
        np.savez(file, kind=np.array(_name(x).lower()), space=np.array(repr(x.space)), **arrays)  # type: ignore[arg-type]


def load(path: str | os.PathLike[str], basis: Basis) -> Any:
    """The element that `save` wrote, read in this basis: give the basis in which it was saved.

    `SpaceError` where the file's numbers do not fit the basis.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            kind, space = str(file["kind"]), str(file["space"])
            parts = [torch.from_numpy(file[f"part{i}"]) for i in range(len(file.files) - 2)]
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise SpaceError(f"{os.fspath(path)} was not written by kfac_lite.save, or not whole ({error})") from None
    if kind not in _KINDS:
        raise SpaceError(f"{os.fspath(path)} holds a {kind!r}; points, vectors and covectors can be loaded")
    if space != repr(basis.space):
        raise SpaceError(f"{os.fspath(path)} holds a {kind} of {space}; this is a basis of {basis.space}")
    return getattr(basis, kind)(parts if isinstance(basis, ProductBasis) else parts[0])
