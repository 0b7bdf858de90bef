"""g(u, v), g.flat(v), g.sharp(dh): metrics, which turn vectors into covectors and back (paper: 2.1.2, 2.2.5, 3.4, 3.5).

A metric is a symmetric, positive-semidefinite 2-tensor on the tangent vectors at a point; degenerate ones are metrics
too (2.2.5), but have no `sharp`. A batch of them, say one a datum, is a metric whose `batch` is not ().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .bases import Basis, _array
from .calculus import _jacobian, differential
from .errors import KindError, SpaceError
from .forms import THRESHOLD, Additive, Dense, Euclidean, Kronecker, Metric, SecondMoment
from .refusals import _broadcast, _name
from .spaces import AffineMaps, AffineSpace, Covector, Point, Product, _bar

__all__ = [
    "Metric",
    "SecondMoment",
    "additive",
    "bregman",
    "euclidean",
    "expected",
    "from_matrix",
    "hessian",
    "kronecker",
    "pullback",
    "sample_covectors",
    "second_moment",
    "tensor_square",
]


def second_moment(points: Point) -> SecondMoment:
    """E[a (x) a] over a batch of points; `basis[...]` is E[a-bar a-bar^T], (n + 1, n + 1) (eq. 2.8)."""
    if not isinstance(points, Point) or not points.batch:
        raise KindError(f"second_moment takes a batch of points, not {points!r}")
    if isinstance(points.space, AffineMaps):
        raise SpaceError(f"second_moment takes points of an affine space of activations, not of {points.space}")
    abar = _bar(points._x).flatten(0, -2)
    return SecondMoment(points.space, abar.mT @ abar / len(abar), len(abar))


def kronecker(A: SecondMoment, G: Metric, report: Callable[[], Any] | None = None) -> Metric:
    """E[a (x) a] (x) E[g] on Aff(A, Z), the independence metric of eq. 3.5.

    A is a `second_moment` of points of A, G a metric on Z, not a batch: write `expected(g)`.
    report: what to call where it is degenerate, to learn why: `lambda: nondegeneracy.examine(...)`.
    """
    if not isinstance(A, SecondMoment) or not isinstance(G, Metric):
        raise KindError(
            f"kronecker({_name(A)}, {_name(G)}): it takes a second moment and a metric. Make them with "
            "second_moment(points) and from_matrix(basis, G), which say in which basis the numbers are"
        )
    if not isinstance(G.space, AffineSpace) or G.batch:
        raise SpaceError(
            f"kronecker: {G!r} is not one metric on an affine space; write expected(g) for the mean of a batch"
        )
    need = A.space.dimension + 1
    few = (
        f"There are {A.count} data, and {need} in general position are needed."
        if A.count < need
        else "Activations are constant or depend on one another (the data lie in a hyperplane)."
    )
    return Kronecker(AffineMaps(A.space, G.space), A._A, G._matrix(), (few, getattr(G, "cause", "")), report)


def additive(*metrics: Metric) -> Metric:
    """The metric on the product of the metrics' spaces (eq. 3.7): block-diagonal in every induced basis."""
    if not metrics or not all(isinstance(g, Metric) for g in metrics):
        raise KindError(f"additive({', '.join(map(_name, metrics))}): one or more metrics are wanted")
    if any(g.batch or isinstance(g.space, Product) for g in metrics):
        raise SpaceError("additive: the parts are single metrics on the factors of a product, not batches or products")
    return Additive(metrics)


def euclidean(basis: Basis) -> Metric:
    """The metric in which `basis` is orthonormal: g(u, v) is the dot product of the numbers in it."""
    if not isinstance(basis, Basis):
        raise KindError(
            f"euclidean({_name(basis)}): it takes a basis, for only a basis says which vectors are unit vectors"
        )
    return Euclidean(basis)


def from_matrix(basis: Basis, G: Any) -> Metric:
    """The metric with matrix G, ij being g(e_i, e_j), in this basis, (*batch, N, N), in the order of vec.

    `SpaceError` where G is not symmetric and positive semidefinite.
    """
    if not isinstance(basis, Basis):
        raise KindError(f"from_matrix({_name(basis)}, G): it takes the basis in which the entries are g(e_i, e_j)")
    N = basis.space.dimension
    G = _array(G, (N, N), f"the matrix of a metric on {basis.space}")
    largest = G.abs().amax().clamp(min=torch.finfo(torch.float64).tiny) if N else 1.0
    if not torch.allclose(G, G.mT, rtol=0, atol=1e-12 * float(largest)):
        raise SpaceError("the matrix of a metric is symmetric; this one is not. Write (G + G.mT) / 2 if that is meant")
    if N and torch.linalg.eigvalsh(G).min() < -1e-10 * largest:
        raise SpaceError(
            "the matrix of a metric gives no direction a negative square; this one has a negative eigenvalue"
        )
    # As R^T R with a row for every eigenvalue that is not zero, so that a change of frame keeps the rank exactly.
    scale = G.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    eigenvalues, U = torch.linalg.eigh(G / scale[..., None] / scale[..., None, :])
    kept = torch.where(eigenvalues > THRESHOLD * eigenvalues[..., -1:], eigenvalues, 0.0)
    R = (U * kept[..., None, :].sqrt()).mT * scale[..., None, :] @ basis.dual_units._x
    return Dense(basis.space, R.mT @ R)


def tensor_square(phi: Covector) -> Metric:
    """phi (x) phi, the metric phi(u) phi(v) of rank 1; a batch on a batch. `expected(tensor_square(dL))` is eq. 2.4."""
    if not isinstance(phi, Covector):
        raise KindError(
            f"tensor_square({_name(phi)}): a metric is a sum of squares of covectors. The square of a vector measures "
            "covectors; write tensor_square(g.flat(v)) if that is meant"
        )
    return Dense(phi.space, phi._x[..., :, None] * phi._x[..., None, :])


def sample_covectors(g: Metric, generator: torch.Generator) -> Covector:
    """Covectors phi with E[phi (x) phi] = g, normal with mean 0; one for every metric of a batch (Remark 3.11).

    The distribution names no basis. Degenerate metrics have samples too. For many of one metric give it a batch:
    `from_matrix(basis, G.expand(1000, -1, -1))`.
    """
    if not isinstance(g, Metric) or not isinstance(generator, torch.Generator):
        raise KindError(
            f"sample_covectors({_name(g)}, {_name(generator)}): it takes a metric and a torch.Generator, say "
            "torch.Generator().manual_seed(0)"
        )
    G = g._matrix()
    scale = G.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    eigenvalues, U = torch.linalg.eigh(G / scale[..., None] / scale[..., None, :])
    noise = torch.randn(eigenvalues.shape, dtype=torch.float64, generator=generator)
    return Covector(g.space, (U @ (eigenvalues.clamp(min=0).sqrt() * noise)[..., None])[..., 0] * scale)


def expected(g: Metric) -> Metric:
    """The mean of a batch of metrics on one space; affine spaces have the same tangent space everywhere (3.4)."""
    if not isinstance(g, Metric):
        raise KindError(f"expected({_name(g)}): it takes a batch of metrics")
    return Dense(g.space, g._G.flatten(0, -3).mean(0), g.cause) if isinstance(g, Dense) and g.batch else g


def pullback(phi: Callable[[Point], Point], p: Point, g: Any) -> Any:
    """phi^* g at p, for a metric g at phi(p): g(phi_* u, phi_* v); for a covector, the chain rule (2.2.4, 2.2.5).

    On a batch of points phi acts datum by datum and the result is a batch. At a single point whose image is a batch
    (a network on n inputs) the result is a batch too, one pullback a datum.
    """
    if not isinstance(p, Point):
        raise KindError(f"pullback(phi, p, g): p is the point to pull back to, not a {_name(p)}")
    if not isinstance(g, Metric | Covector):
        raise KindError(
            f"pullback(phi, p, {_name(g)}): covectors and metrics are pulled back; vectors are pushed forward"
        )
    space, J = _jacobian(phi, p)  # (N, *batch, M)
    if space != g.space:
        raise SpaceError(f"phi leads to {space}, and what is pulled back lives on {g.space}")
    _broadcast("pullback", J.shape[1:-1], g.batch)
    J = J.movedim(0, -2)  # (*batch, N, M)
    if isinstance(g, Covector):
        return Covector(p.space, (J @ g._x[..., None])[..., 0])
    return Dense(p.space, J @ g._matrix() @ J.mT, getattr(g, "cause", ""))


def bregman(F: Callable[[Point], Tensor], y: Point, z: Point) -> Tensor:
    """B_F(y, z) = F(y) - F(z) - dF(z)(y - z), what F lies above its tangent at z (Example 3.4): 0 or more.

    F takes one point and returns a number; y and z are single points. The differential is that at the second point; the
    paper's text has it at the first, which gives -B_F(z, y).
    """
    for what, p in (("y", y), ("z", z)):
        if not isinstance(p, Point) or p.batch:
            raise KindError(f"bregman(F, y, z): {what} is one point of the space on which F is defined; got {p!r}")
    return F(y) - F(z) - differential(F, z)(y - z)


def hessian(F: Callable[[Point], Tensor]) -> Callable[[Point], Metric]:
    """The second derivative of a convex function F, as a metric at every point (Example 3.4).

    With a half before it, it is the second-order term of the Bregman divergence y -> B_F(y, z) at z. F takes one point
    and returns a number; no basis is named, for on an affine space the second derivative is a 2-tensor.
    """

    def metric(y: Point) -> Metric:
        space = y.space

        def value(x: Tensor) -> Tensor:
            number = F(Point(space, x))
            if not isinstance(number, Tensor) or number.dim():
                raise KindError(f"hessian(F): F takes one point and returns one number; it returned a {_name(number)}")
            return number

        second = torch.func.jacfwd(torch.func.jacrev(value))
        H = torch.func.vmap(second)(y._x.flatten(0, -2)).reshape(*y._x.shape, -1) if y.batch else second(y._x)
        if torch.linalg.eigvalsh(H).min() < -1e-10 * H.abs().max():
            raise SpaceError("hessian(F): F is not convex at one of the points, so its second derivative is no metric")
        return Dense(space, H)

    return metric
