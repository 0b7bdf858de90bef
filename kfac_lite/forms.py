"""The forms in which a metric can be stored: dense, Euclidean, Kronecker, sums of these, additive (paper: 3.4, 3.5.1).

What a metric does, `flat` and `sharp`, is the same for all of them; how it is computed is not. A Kronecker product is
never multiplied out, and a sum of two is diagonalised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Never, NoReturn

import torch
from torch import Tensor

from .bases import AffineBasis, Basis, MapsBasis, ProductBasis, _homogeneous
from .errors import DegenerateMetricError, KindError, SpaceError
from .refusals import Number, _broadcast, _is_number, _name, _number, _refuse, _WithoutNumbers, _wrap
from .spaces import AffineMaps, AffineSpace, Covector, Product, Space, Vector, _Element

__all__ = ["Metric", "SecondMoment"]

THRESHOLD = 1e-14  # a relative eigenvalue below this is zero up to rounding


class Metric(_WithoutNumbers, ABC):
    """A metric on a space; `flat`, `sharp`, `norm`, and sums `g + c * d` with numbers c >= 0."""

    space: Any  # a Space; what kind of one, the subclasses say
    batch: torch.Size = torch.Size()

    @abstractmethod
    def _flat(self, v: Tensor) -> Tensor: ...

    @abstractmethod
    def _sharp(self, phi: Tensor) -> Tensor: ...

    @abstractmethod
    def _scaled(self, c: Any) -> Metric: ...

    @abstractmethod
    def _matrix(self) -> Tensor:
        """All g(e_i, e_j) of the reference frame."""

    def __call__(self, u: Vector, v: Vector) -> Tensor:
        """g(u, v), of shape (*batch)."""
        self._takes(u, Vector, "g(u, v)")
        self._takes(v, Vector, "g(u, v)")
        return Covector(self.space, self._flat(v._x))(u)

    def flat(self, v: Vector) -> Covector:
        """The covector g(v, -)."""
        self._takes(v, Vector, "g.flat(v)")
        return Covector(self.space, self._flat(v._x))

    def sharp(self, dh: Covector) -> Vector:
        """The vector v with g(v, -) = dh, the gradient of h under g (2.1.2). `DegenerateMetricError`: there is none."""
        self._takes(dh, Covector, "g.sharp(dh)")
        return Vector(self.space, self._sharp(dh._x))

    def norm(self, v: Vector) -> Tensor:
        """The length sqrt(g(v, v)), of shape (*batch)."""
        return self(v, v).clamp(min=0).sqrt()

    def _kind(self) -> str:
        return "Metric"

    def __add__(self, other: Metric) -> Metric:
        """The metric g(u, v) + d(u, v) on one space. (On a product of spaces, `additive` is eq. 3.7.)"""
        if not isinstance(other, Metric):
            _refuse("+", self, other)
        if self.space != other.space:
            raise SpaceError(
                f"Metric + Metric: one is on {self.space}, the other on {other.space}. For a metric on the product of "
                "two spaces write additive(g1, g2)"
            )
        _broadcast("Metric + Metric", self.batch, other.batch)
        return self._plus(other)

    def __radd__(self, other: Never) -> Never:
        _refuse("+", other, self)

    def __sub__(self, other: Never) -> Never:
        _refuse("-", self, other)

    def __rsub__(self, other: Never) -> Never:
        _refuse("-", other, self)

    def __pos__(self) -> Metric:
        return self

    def __neg__(self) -> Never:
        raise KindError("-Metric: a metric gives no direction a negative length. Write -g(u, v) or -g.flat(v)")

    def _plus(self, other: Metric) -> Metric:
        return Dense(self.space, self._matrix() + other._matrix())

    def __mul__(self, c: Number) -> Metric:
        if not _is_number(c):
            _refuse("*", self, c)
        return self._times(c)

    def __rmul__(self, c: Number) -> Metric:
        if not _is_number(c):
            _refuse("*", c, self)
        return self._times(c)

    def _times(self, c: Any) -> Metric:
        if not _number(c) >= 0:
            raise KindError(f"Metric * {float(c):g}: a metric gives no direction a negative length; scale by c >= 0")
        return self._scaled(_number(c))

    def __truediv__(self, c: Number) -> Metric:
        if not _is_number(c):
            _refuse("/", self, c)
        if not _number(c) > 0:
            raise KindError(f"Metric / {float(c):g}: a metric is divided by a positive number")
        return self._scaled(1 / _number(c))

    def _takes(self, x: object, kind: type[_Element], what: str) -> None:
        if not isinstance(x, kind):
            make = {
                (Vector, "Covector"): "Write g.sharp(dh), the vector that belongs to dh.",
                (Covector, "Vector"): "Write g.flat(v), the covector that belongs to v.",
                (Vector, "Point"): "The difference of two points is a vector: p - q.",
                (Covector, "Point"): "The differential of a function at a point is a covector: h.d(point).",
            }.get((kind, _name(x)), f"Make one with a basis: basis.{kind.__name__.lower()}(x).")
            raise KindError(f"{what} takes a {kind.__name__}, not a {_name(x)}. {make}")
        if x.space != self.space:
            raise SpaceError(f"{what}: the metric is on {self.space}, the {kind.__name__.lower()} on {x.space}")
        _broadcast(what, self.batch, x.batch)

    def _matrix_in(self, basis: Basis) -> Tensor:
        if basis.space != self.space:
            raise SpaceError(f"a basis of {basis.space} cannot read a metric on {self.space}")
        units = basis.units._x
        return units @ self._matrix() @ units.mT

    def __repr__(self) -> str:
        kind = type(self).__name__.lower()
        batch = f", {' x '.join(map(str, self.batch))} of them" if self.batch else ""
        return f"<{kind} metric on {self.space}, dimension {self.space.dimension}{batch}>"


def _spectrum(G: Tensor) -> Tensor:
    """The eigenvalues, ascending, of a symmetric matrix scaled to unit diagonal; a zero row stays one."""
    scale = G.diagonal().clamp(min=0).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    return torch.linalg.eigvalsh(G / scale / scale[:, None])


def _null_direction(G: Tensor) -> Tensor | None:
    """A direction that a positive-semidefinite matrix sends to zero up to rounding, or None.

    The matrix is scaled to unit diagonal first, so that a small unit of one coordinate is no alarm.
    """
    diagonal = G.diagonal()
    if not G.isfinite().all():
        raise DegenerateMetricError("the metric holds NaN or infinity; look for the first step at which the run broke")
    if len(G) and not (diagonal > 0).all():
        return torch.nn.functional.one_hot(diagonal.argmin(), len(G)).to(G.dtype)
    scale = diagonal.sqrt()
    eigenvalues, vectors = torch.linalg.eigh(G / scale / scale[:, None])
    if len(G) == 0 or eigenvalues[0] > THRESHOLD * eigenvalues[-1]:
        return None
    return vectors[:, 0] / scale


def _raise_degenerate(space: Space, null: Tensor, cause: str, report: object = None) -> NoReturn:
    raise DegenerateMetricError(
        _wrap(
            f"the metric on {space} is degenerate: a direction has length zero (its relative eigenvalue is below the "
            f"threshold {THRESHOLD:.0e}), so no vector belongs to a covector. {cause} "
            "The direction is error.null_direction."
        ),
        Vector(space, null),
        report,
    )


class Dense(Metric):
    """Any metric, as a matrix in the reference frame, (*batch, N, N)."""

    def __init__(self, space: Space, G: Tensor, cause: str = ""):
        self.space, self._G, self.batch, self.cause = space, G, G.shape[:-2], cause

    def _matrix(self) -> Tensor:
        return self._G

    def _flat(self, v: Tensor) -> Tensor:
        return (self._G @ v[..., None])[..., 0] if self.batch else v @ self._G

    def _sharp(self, phi: Tensor) -> Tensor:
        for G in self._G.flatten(0, -3) if self.batch else [self._G]:
            null = _null_direction(G)
            if null is not None:
                _raise_degenerate(self.space, null, self.cause or "Too few data, or a map that loses a direction.")
        # Leading dimensions first, or torch may take a (1, 1) right-hand side for a batch of vectors.
        batch = torch.broadcast_shapes(self.batch, phi.shape[:-1])
        return torch.linalg.solve(self._G, phi.expand(*batch, -1)[..., None])[..., 0]

    def _scaled(self, c: Any) -> Dense:
        return Dense(self.space, c * self._G, self.cause)


class Euclidean(Metric):
    """The metric in which a basis is orthonormal. Naming it names the basis."""

    def __init__(self, basis: Basis, c: Any = 1.0):
        self.basis, self.space, self.c = basis, basis.space, c

    def _flat(self, v: Tensor) -> Tensor:
        return self.c * self.basis._write(Covector, self.basis._read(Vector, v))

    def _sharp(self, phi: Tensor) -> Tensor:
        if not self.c > 0:
            _raise_degenerate(self.space, self.basis.units._x[0], "It was multiplied by zero.")
        return self.basis._write(Vector, self.basis._read(Covector, phi)) / self.c

    def _scaled(self, c: Any) -> Euclidean:
        return Euclidean(self.basis, c * self.c)

    def _matrix(self) -> Tensor:
        return self._flat(torch.eye(self.space.dimension, dtype=torch.float64))

    def _plus(self, other: Metric) -> Metric:
        mine = self._structured()
        return super()._plus(other) if mine is self else mine + other

    def _structured(self) -> Metric:
        """The same metric as a Kronecker or additive one, which sums know how to add."""
        basis = self.basis
        if isinstance(basis, MapsBasis):
            A, G = basis._bar_inverse @ basis._bar_inverse.mT, basis.target._B.mT @ basis.target._B
            return Kronecker(basis.space, A, self.c * G)
        if isinstance(basis, ProductBasis):
            return Additive([Euclidean(part, self.c) for part in basis.factors])
        return self


class Kronecker(Metric):
    """A (x) G on Aff(A, Z): g(u, v) = tr(u^T G v A). Eq. 3.5; `sharp` is two solves, and nothing is multiplied out."""

    space: AffineMaps

    def __init__(
        self,
        space: AffineMaps,
        A: Tensor,
        G: Tensor,
        causes: tuple[str, str] = ("", ""),
        report: Callable[[], Any] | None = None,
    ):
        self.space, self._A, self._G, self.causes, self.report = space, A, G, causes, report

    def _on(self, maps: AffineMaps) -> Kronecker:
        """The same metric on other maps with the same tangent vectors: Aff(A, TZ) for Aff(A, Z)."""
        same = copy(self)
        same.space = maps
        return same

    def _unflatten(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (len(self._G), len(self._A)))

    def _flat(self, v: Tensor) -> Tensor:
        return (self._G @ self._unflatten(v) @ self._A).flatten(-2)

    def _sharp(self, phi: Tensor) -> Tensor:
        self._check()
        D = self._unflatten(phi)
        return torch.linalg.solve(self._A, torch.linalg.solve(self._G, D).mT).mT.flatten(-2)

    @cached_property
    def _nulls(self) -> tuple[Tensor | None, Tensor | None]:
        return _null_direction(self._A), _null_direction(self._G)

    def _check(self) -> None:
        a, z = self._nulls
        if a is None and z is None:
            return
        report = self.report() if self.report else None
        words = self._words()
        if report is not None and report.cause:
            cause = f"{report.name[0].upper()}{report.name[1:]}: {report.cause}"
        else:
            cause = words[0] if a is not None else words[1]
        left = z if z is not None else torch.eye(len(self._G), dtype=torch.float64)[0]
        right = a if a is not None else torch.eye(len(self._A), dtype=torch.float64)[0]
        _raise_degenerate(self.space, (left[:, None] * right).flatten(), cause, report)

    def _words(self) -> tuple[str, str]:
        """What may be said of a singular A, and of a singular G, without a report."""
        why_A = self.causes[0] or "Too few data, or constant or dependent activations."
        why_G = self.causes[1] or "Too few data, dead units, or redundant outputs."
        return (
            f"The second moment of the activations of {self.space.source} is singular. {why_A}",
            f"The expected metric on {self.space.target} is singular. {why_G}",
        )

    def _scaled(self, c: Any) -> Kronecker:
        return Kronecker(self.space, self._A, c * self._G, self.causes, self.report if c else None)

    def _matrix(self) -> Tensor:
        return torch.kron(self._G, self._A)  # rows stacked: the order of the reference frame

    def _plus(self, other: Metric) -> Metric:
        other = other._structured() if isinstance(other, Euclidean) else other
        return KroneckerSum(self, other) if isinstance(other, Kronecker) else super()._plus(other)


class KroneckerSum(Metric):
    """A (x) G + A' (x) G': damping by a metric, say. `sharp` diagonalises the two pairs, exactly and in O(n^3)."""

    space: AffineMaps

    def __init__(self, first: Kronecker, second: Kronecker):
        self.space, self.first, self.second = first.space, first, second

    def _flat(self, v: Tensor) -> Tensor:
        return self.first._flat(v) + self.second._flat(v)

    def _sharp(self, phi: Tensor) -> Tensor:
        definite, other = (self.second, self.first) if self.second._nulls == (None, None) else (self.first, self.second)
        if definite._nulls != (None, None):
            return Dense(self.space, self._matrix())._sharp(phi)
        a, P = _diagonalise(other._A, definite._A)  # P^T A' P = 1 and P^T A P = diag(a)
        z, Q = _diagonalise(other._G, definite._G)
        D = definite._unflatten(phi)
        return (Q @ (Q.mT @ D @ P / (1 + z[:, None] * a)) @ P.mT).flatten(-2)

    def _scaled(self, c: Any) -> KroneckerSum:
        return KroneckerSum(self.first._scaled(c), self.second._scaled(c))

    def _matrix(self) -> Tensor:
        return self.first._matrix() + self.second._matrix()


def _diagonalise(S: Tensor, T: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers s and a matrix P with P^T T P = 1 and P^T S P = diag(s), for T positive definite."""
    C = torch.linalg.cholesky(T)
    inner = torch.linalg.solve_triangular(C, torch.linalg.solve_triangular(C, S, upper=False).mT, upper=False)
    s, U = torch.linalg.eigh((inner + inner.mT) / 2)
    return s.clamp(min=0), torch.linalg.solve_triangular(C.mT, U, upper=True)


class Additive(Metric):
    """g_1(u_1, v_1) + g_2(u_2, v_2) + ... on a product (eq. 3.7)."""

    space: Product

    def __init__(self, parts: Sequence[Metric]):
        self.parts = tuple(parts)
        self.space = Product(tuple(part.space for part in self.parts))  # type: ignore[arg-type]

    def _each(self, name: str, x: Tensor) -> Tensor:
        return torch.cat([getattr(part, name)(xi) for part, xi in zip(self.parts, self.space._split(x))], -1)

    def _flat(self, v: Tensor) -> Tensor:
        return self._each("_flat", v)

    def _sharp(self, phi: Tensor) -> Tensor:
        return self._each("_sharp", phi)

    def _scaled(self, c: Any) -> Additive:
        return Additive([part._scaled(c) for part in self.parts])

    def _matrix(self) -> Tensor:
        return torch.block_diag(*(part._matrix() for part in self.parts))

    def _plus(self, other: Metric) -> Metric:
        other = other._structured() if isinstance(other, Euclidean) else other
        if isinstance(other, Additive):
            return Additive([g + d for g, d in zip(self.parts, other.parts)])
        return super()._plus(other)


class SecondMoment:
    """E[a (x) a], the symmetric 2-tensor on the homogenised space of A (3.4, and `kronecker`)."""

    def __init__(self, space: AffineSpace | Product, A: Tensor, count: int):
        self.space, self._A, self.count = space, A, count

    def _matrix_in(self, basis: Basis) -> Tensor:
        if basis.space != self.space or not isinstance(basis, AffineBasis | ProductBasis):
            raise SpaceError(f"a basis of {basis.space} cannot read a second moment of {self.space}")
        B, c, _ = basis._affine()
        H = _homogeneous(B, c)
        return H @ self._A @ H.mT

    def __repr__(self) -> str:
        return f"<second moment of {self.count} points of {self.space}>"
