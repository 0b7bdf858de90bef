"""One step of each algorithm in arrays (paper: eq. 2.3, 2.10), with near misses that are not invariant.

Every update takes the weights `w`, the gradient `D` (a list of D W-bar), the curvature that it needs and a learning
rate, and returns new weights. It knows no network: the same `kfac` serves perceptrons, convolution and recurrence.
`update.needs` names the function of the model that makes its curvature ("factors", "scores", ...; None for none).

vec stacks columns, as in the paper: vec(G X A) = (A (x) G) vec(X) for symmetric A, so a layer's block is kron(A, G).
"""

from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, Protocol

import torch
from torch.linalg import pinv, qr, solve, solve_triangular

__all__ = [
    "Update",
    "descend",
    "diagonal",
    "kfac",
    "kfac_damped",
    "kfac_pseudo_inverse",
    "kfac_separate_bias",
    "natural_gradient",
    "natural_gradient_textbook",
    "sgd",
    "unvec",
    "vec",
]


class Update(Protocol):
    """(w, D, curvature, lr) -> new w, and the name of the function that makes the curvature."""

    needs: str | None
    __name__: str

    def __call__(self, *arrays: Any, **options: Any) -> list: ...


def needs(curvature: str | None) -> Callable[[Callable[..., list]], Update]:
    """Say which function of the model makes the curvature that an update takes."""

    def mark(update: Any) -> Update:
        update.needs = curvature
        return update

    return mark


def vec(W):
    """Stack the columns: (m, n) to (m n,)."""
    return W.mT.flatten()


def unvec(v, shape):
    """Undo `vec`: (m n,) to shape (m, n)."""
    return v.reshape(shape[1], shape[0]).mT


def subtract(w, step):
    """Subtract from every W its part of one long vector."""
    new = []
    for W in w:
        size = W.shape[0] * W.shape[1]
        new.append(W - unvec(step[:size], W.shape))
        step = step[size:]
    return new


@needs(None)
def sgd(w, D, curvature, lr):
    """W <- W - lr DW: the Euclidean metric of whatever basis the arrays are in."""
    return [W - lr * DW for W, DW in zip(w, D)]


@needs("factors")
def kfac(w, D, factors, lr):
    """W <- W - lr G^-1 DW A^-1 (eq. 2.10), without damping."""
    return [W - lr * solve(A, solve(G, DW).mT).mT for W, DW, (A, G) in zip(w, D, factors)]


@needs("fisher")
def natural_gradient_textbook(w, D, fisher, lr):
    """w <- w - lr F^-1 D (eq. 2.3), by the textbook. The twin of ill-conditioned data wants `natural_gradient`."""
    gradient = torch.cat([vec(DW) for DW in D])
    return subtract(w, lr * solve(fisher, gradient[:, None])[:, 0])


@needs("scores")
def natural_gradient(w, D, scores, lr):
    """The same step from the scores: with R = Q T, where F = R^T R, it is T^-1 T^-T D. For floats only.

    F is never formed, which would square its condition number; on ill-conditioned data that keeps half of the digits.
    F has to be nondegenerate, as in eq. 2.3.
    """
    weight, r = scores
    R = (torch.sqrt(weight) * r).flatten(0, 1) / weight.shape[1] ** 0.5
    T = qr(R, mode="r").R
    gradient = torch.cat([vec(DW) for DW in D])
    s = solve_triangular(T.mT, gradient[:, None], upper=False)
    return subtract(w, lr * solve_triangular(T, s, upper=True)[:, 0])


@needs("factors")
def kfac_damped(w, D, factors, lr, damping, metric=None):
    """K-FAC with the block A (x) G + damping A' (x) G', where `metric` lists the (A', G').

    A metric that is carried along with the bases keeps the invariance. None stands for the identity matrices, which
    are another metric in every basis: the paper's Remark 3.12.
    """
    new = []
    for i, (W, DW, (A, G)) in enumerate(zip(w, D, factors)):
        carried = metric[i] if metric else (torch.ones_like(A[0]).diag(), torch.ones_like(G[0]).diag())
        block = torch.kron(A, G) + damping * torch.kron(*carried)
        new += subtract([W], lr * solve(block, vec(DW)[:, None])[:, 0])
    return new


@needs("factors")
def kfac_separate_bias(w, D, factors, lr):
    """Not invariant to shifts: W and b are two blocks, and b has the factor 1."""
    return [
        W - lr * torch.cat([solve(A[:-1, :-1], solve(G, DW[:, :-1]).mT).mT, solve(G, DW[:, -1:])], 1)
        for W, DW, (A, G) in zip(w, D, factors)
    ]


@needs("factors")
def diagonal(w, D, factors, lr):
    """Not invariant: only the diagonals of A and G."""
    return [W - lr * DW / (G.diagonal()[:, None] * A.diagonal()) for W, DW, (A, G) in zip(w, D, factors)]


@needs("factors")
def kfac_pseudo_inverse(w, D, factors, lr, rtol=1e-10):
    """K-FAC where A or G is singular, with pseudo-inverses; an eigenvalue below rtol of the largest counts as 0.

    A pseudo-inverse picks the shortest of many steps, and "shortest" names a basis. That does no harm where the step's
    choice changes no prediction (a logit for every class), and harm where it does (too few data).
    """
    inverse = lambda S: pinv(S, rtol=rtol, hermitian=True)
    return [W - lr * inverse(G) @ DW @ inverse(A) for W, DW, (A, G) in zip(w, D, factors)]


def descend(
    model: ModuleType, net, w, batches: Iterable, update: Update, lr: float, *, curvature: Any = None, **options
) -> Iterator[list]:
    """Yield the weights after each step, one step a batch (x, y). `model` is a module such as `coordinates.mlp`.

    curvature: a function of (net, w, x) in place of the model's own that `update.needs` names, for another output
        metric: `functools.partial(mlp.pullback_factors, metric=...)`.
    """
    if curvature is None and update.needs:
        curvature = getattr(model, update.needs)
    for x, y in batches:
        seen = curvature(net, w, x) if curvature else None
        w = update(w, model.gradient(net, w, x, y), seen, lr, **options)
        yield w
