"""A compiled function computes in the page what it computes in torch; and what it cannot, it refuses (paper: none)."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn import functional as F

from kfac_lite import live
from kfac_lite.live import operations

from .live_page import distance, run

L: Any = torch.linalg
pytestmark = pytest.mark.no_gauge


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def positive(n: int, *batch: int) -> Tensor:
    root = draw(*batch, n, n)
    return root @ root.mT + n * torch.ones(n, dtype=torch.float64).diag()


# x fits a written-out extent, X a loop; P has both kinds; Q is a batch longer than what is written out.
x, X, P, Q = draw(3), draw(7), draw(6, 3), draw(5, 3, 3) + 4 * torch.ones(3, dtype=torch.float64).diag()
A, B, S = draw(3, 3) + 3 * torch.ones(3, dtype=torch.float64).diag(), draw(3, 2), positive(3)
INDEX = torch.tensor([0, 0, 2])


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[0] = 5.0
    y[1:].mul_(2).add_(x[0])
    z = torch.zeros_like(x)
    z += y
    x.neg_()
    return z * x


OPERATIONS: dict[str, tuple[Any, ...]] = {
    "plus": (lambda X: X + X * 2 + 1 + torch.add(X, 2, alpha=0.5), X),
    "minus": (lambda X: X * X - X - torch.rsub(X, 1) - torch.sub(X, X * X, alpha=3), X),
    "times": (lambda P: P * P[0] * 3 * P[:, :1], P),
    "divide": (lambda X: X / (X * X + 1) / 3 + 1 / X, X),
    "signs": (lambda X: (-X, X.abs(), X.sign(), X.sgn(), X.floor(), X.ceil(), X.trunc()), X),
    "roots": (lambda X: (X.abs().sqrt(), X.abs().rsqrt(), X.reciprocal()), X),
    "exp": (lambda X: (X.exp(), X.expm1(), X.abs().log(), X.abs().log1p(), X.abs().log2(), X.abs().log10()), X),
    "trigonometry": (lambda X: (X.sin(), X.cos(), X.tan(), X.tanh().asin(), X.tanh().acos(), X.atan()), X),
    "hyperbolic": (lambda X: (X.sinh(), X.cosh(), X.tanh(), X.asinh(), (X.abs() + 1).acosh(), X.tanh().atanh()), X),
    "two arguments": (lambda X: (torch.atan2(X, X + 2), torch.hypot(X, X + 1), X.maximum(X * X), X.minimum(X * X)), X),
    "sigmoid, relu": (lambda X: (X.sigmoid(), X.relu(), F.softplus(X), F.elu(X), F.silu(X), F.logsigmoid(X)), X),
    "powers": (lambda X: (X**1, X**2, X**3, X**4, X**-1, X**-2, X.abs() ** 0.5, X.abs() ** -0.5), X),
    "other powers": (lambda X: (X**5, X.abs() ** 2.5, 2.0**X, X.abs() ** X), X),
    "compare": (
        lambda X: [y.double() for y in (X.eq(X[0]), X.ne(X[0]), X < 0, X <= 0, X > 0, X.ge(X[0]), X.isnan())],
        X,
    ),
    "logic": (lambda X: [y.double() for y in ((X > 0) & (X < 1), (X > 0) | (X < -1), (X > 0) ^ (X > 1), ~(X > 0))], X),
    "more logic": (
        lambda X: [f(X, X > 0).double() for f in (torch.logical_and, torch.logical_or, torch.logical_xor)],
        X,
    ),
    "not": (lambda X: torch.logical_not(X.relu()).double(), X),
    "where": (lambda X: (torch.where(X > 0, X, -2 * X), X.masked_fill(X > 0, 0.5), X.clamp(0, 1), X.clamp(max=0.5)), X),
    "fixed where": (lambda X: (X.masked_fill(torch.arange(7) > 3, 0.5), torch.where(INDEX > 1, X[:3], X[4:])), X),
    "sums": (
        lambda P: (P.sum(), P.sum(0), P.sum(-1, keepdim=True), P[None, :, :, None].expand(4, 6, 3, 5).sum((0, 3))),
        P,
    ),
    "means": (lambda P: (P.mean(), P.mean(0), P.var(0), P.std(1, correction=0), P.cumsum(0), P.cumsum(1)), P),
    "extremes": (lambda P: (P.amax(0), P.amin(1), P.max(), P.min(), P.amax((0, 1), keepdim=True)), P),
    "products": (lambda P: (P[:, 0].prod(), P[0].prod()), P),
    "slopes of extremes": (grad(lambda P: P.max() + P.amax(0).sum()), P),
    "matrix products": (lambda A, B, P: (A @ B, P @ A, P.mT @ P, P @ P.mT, A @ A[0], A[0] @ A[1]), A, B, P),
    "batches": (lambda Q, P: (Q @ Q.mT, Q @ P[0], torch.einsum("bij,kj->bki", Q, P)), Q, P),
    "linear": (
        lambda A, P: (F.linear(P, A, A[0]), torch.addmm(A, A, A, alpha=2, beta=0.5), torch.outer(A[0], P[0])),
        A,
        P,
    ),
    "kron": (torch.kron, A, B),
    "norms": (lambda P: (L.norm(P), P.norm(dim=1), L.vector_norm(P, ord=1)), P),
    "views": (
        lambda P: (P.mT.flatten(), P.reshape(2, 9), P[None].squeeze(0).unsqueeze(1), P.view(3, 6).mT.movedim(0, 1)),
        P,
    ),
    "slices": (lambda P: (P[1], P[::2], P[:, -1:], P.narrow(0, 1, 3), *P.split(4), *P.unbind(1), *P.chunk(3)), P),
    "joins": (
        lambda A, B: (torch.cat([A, B, torch.ones_like(A[:, :1])], 1), torch.stack([A, A.mT]), torch.block_diag(A, B)),
        A,
        B,
    ),
    "turns": (
        lambda P: (P.flip(0), P.roll(1), P.roll(2, 0), P.repeat(2, 1), P.rot90(), P.expand(2, 6, 3), P.tile(1, 2)),
        P,
    ),
    "diagonals": (
        lambda A: (A.diagonal(), A.diagonal(1), A[0].diag(), torch.diag_embed(A), A.trace(), A.tril(), A.triu(1)),
        A,
    ),
    "windows": (lambda X: (X.unfold(0, 3, 2), F.pad(X, (1, 2)), F.pad(X, (1, 2), value=3.0)), X),
    "slopes of windows": (grad(lambda X: (X.unfold(0, 2, 1) ** 2).sum() + (F.pad(X, (1, -1)) ** 3).sum()), X),
    "patches": (lambda P: F.unfold(P[None, None] * P, (2, 2)), P),
    "slopes of patches": (grad(lambda P: (F.unfold(P[None, None], (2, 2), padding=1) ** 3).sum()), P),
    "indices": (lambda P: (P[INDEX], P[INDEX, INDEX], P.index_select(0, INDEX), P.gather(0, INDEX[None])), P),
    "slopes of indices": (grad(lambda P: (P[INDEX] ** 3).sum() + P.gather(0, INDEX[None]).sum()), P),
    "writes": (
        lambda x: (torch.zeros_like(X).scatter(0, INDEX[1:], x[1:]), torch.zeros_like(X).index_add(0, INDEX, x)),
        x,
    ),
    "in place": (in_place, X),
    "diagonal in place": (lambda A: A.clone().zero_() + torch.zeros_like(A).diagonal_scatter(A[0]), A),
    "pieces in place": (lambda P: (P.slice_scatter(P[:2] * 2, 0, 1, 3), P.select_scatter(P[0], 0, 2)), P),
    "softmax": (lambda P: (P.softmax(0), P.log_softmax(1), P.logsumexp(0)), P),
    "slopes of softmax": (jacrev(lambda X: X.log_softmax(0)), X),
    "losses": (
        grad(lambda X: F.binary_cross_entropy_with_logits(X, torch.ones_like(X)) + F.mse_loss(X, X * X)),
        X,
    ),
    "solve": (lambda A, B: (L.solve(A, B), L.solve(A, B[:, 0]), L.solve(A, B.mT, left=False)), A, B),
    "solve batches": (lambda Q, P: (L.solve(Q, Q.mT), L.solve(Q, P[:5]), vmap(L.solve, (None, 1))(Q[0], P.mT)), Q, P),
    "slopes of solve": (grad(lambda A, B: (L.solve(A, B) ** 2).sum(), argnums=(0, 1)), A, B),
    "inverse": (lambda A, Q: (L.inv(A), L.inv(Q)), A, Q),
    "slopes of inverse": (grad(lambda A: (L.inv(A) ** 2).sum()), A),
    "cholesky": (
        lambda S: (L.cholesky(S), L.cholesky(S, upper=True)),
        S,
    ),
    "slopes of cholesky": (grad(lambda S: L.cholesky(S).sum()), S),
    "triangles": (lambda A, B: [triangle(A, B, u, l, n) for u in (0, 1) for l in (0, 1) for n in (0, 1)], A, B),
    "slopes of triangles": (grad(lambda A, B: L.solve_triangular(A, B, upper=True).sum()), A, B),
    "qr": (lambda P, Q: (L.qr(P, mode="r").R, L.qr(P.mT, mode="r").R, L.qr(Q, mode="r").R), P, Q),
    "eigh": (lambda S, Q: (L.eigvalsh(S), through_eigh(S), through_eigh(Q @ Q.mT)), S, Q),
    "slopes of eigenvalues": (grad(lambda S: (L.eigvalsh(S) ** 2).sum()), S),
    "forward mode": (lambda X: jvp(lambda X: X.tanh() * X, (X,), (X * 2,)), X),
    "jacobians": (
        lambda x: (jacfwd(lambda x: x + 1.0)(x), jacrev(torch.sin)(x), hessian(lambda x: (x**3).sum())(x)),
        x,
    ),
    "jacobian by datum": (vmap(jacrev(lambda row: torch.tanh(row @ row.new_ones(3, 2)))), P),
    "a number": (lambda s: s * s, torch.tensor(2.0, dtype=torch.float64)),
    "no numbers": (lambda x: (x[:0] * 2, x[:0].sum() + x), x),
    "what comes in goes out": (lambda x, X: (X, x, x * 1, x + 0, X.flip(0)), x, X),
    "constants": (lambda x: (x, torch.full_like(x, -0.0), x.new_tensor([1e-300, -1.5, 3.0]), x.new_zeros(2)), x),
    "infinite constants": (lambda x: torch.where(x < 9, x, x.new_tensor([torch.inf, -torch.inf, torch.nan])), x),
}


def triangle(A: Tensor, B: Tensor, upper: int, left: int, ones: int) -> Tensor:
    return L.solve_triangular(A, B if left else B.mT, upper=bool(upper), left=bool(left), unitriangular=bool(ones))


def through_eigh(S: Tensor) -> Tensor:
    """The vectors have no sign, a function of the matrix does."""
    values, V = L.eigh(S)
    return (V * values.sqrt()[..., None, :]) @ V.mT


@cache
def compiled(name: str) -> live.Compiled:
    fn, *args = OPERATIONS[name]
    return live.compile(fn, *args)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str):
    fn, *args = OPERATIONS[name]
    found, fault = run(compiled(name), *args)
    assert fault is None
    assert distance(found, fn(*args)) <= 1e-13


def test_every_operation_is_tested():
    assert {operation for name in OPERATIONS for operation in compiled(name).operations} == set(operations.EVERYTHING)
