"""DW = sum_t Dz_t a-bar_t^T: one matrix of weights that is used at many places or times (paper: 4.2, 5.2).

Of every map W-bar, each function here takes the pair (Dz, a-bar): the derivatives (c, n, |T|, m), or (n, |T|, m) for a
single covector a datum, and what the map was applied to, (n, |T|, k). A map used once a datum has |T| = 1.
"""

import torch

from .mlp import by_datum

__all__ = [
    "fisher",
    "gradient",
    "kronecker_factors",
    "matrix",
    "one_at_a_time",
    "pullback_factors",
    "rows",
    "score_rows",
]


def rows(v):
    """All places of all data, one below the other: (..., |T|, k) to (..., n |T|, k)."""
    return v.reshape(*v.shape[:-3], v.shape[-3] * v.shape[-2], v.shape[-1])


def gradient(pairs):
    """E[sum_t Dz_t a-bar_t^T], (m, k), for every map."""
    return [rows(D).mT @ rows(abar) / len(abar) for D, abar in pairs]


def kronecker_factors(weight, pairs):
    """|T| E_T[a-bar a-bar^T] and E_T[Dz Dz^T], both means over data and places, for every map (eq. 4.5, 5.3).

    `weight` (c, n, 1) and D (c, n, |T|, m) are weighted squares, as a likelihood's `fisher` gives them.
    """
    factors = []
    for D, abar in pairs:
        weighted = D * weight[..., None]
        G = (rows(weighted).mT @ rows(D)).sum(0) / (len(abar) * abar.shape[1])
        factors.append((rows(abar).mT @ rows(abar) / len(abar), G))
    return factors


def pullback_factors(g, pairs):
    """The same for any metric on the outputs: g (n, d, d), and D (d, n, |T|, m), the rows of da_L / dz_t."""
    factors = []
    for D, abar in pairs:
        G = 0
        for t in range(abar.shape[1]):
            J = by_datum(D[..., t, :])
            G = G + (J.mT @ g @ J).sum(0)
        factors.append((rows(abar).mT @ rows(abar) / len(abar), G / (len(abar) * abar.shape[1])))
    return factors


def score_rows(pairs):
    """vec(sum_t Dz_t a-bar_t^T) = sum_t a-bar_t (x) Dz_t of every map, side by side: (c, n, all parameters)."""
    return torch.cat([vec_columns(abar.mT @ D) for D, abar in pairs], -1)


def vec_columns(X):
    """(..., k, m) to (..., k m): X is DW^T, so its rows are the columns of DW, which vec stacks."""
    return X.reshape(*X.shape[:-2], X.shape[-2] * X.shape[-1])


def fisher(weight, pairs):
    """The full Fisher matrix F(w) of eq. 2.2, with the cross terms between places that the factors leave out."""
    r = score_rows(pairs)
    return ((weight * r).mT @ r).sum(0) / r.shape[1]


def matrix(g, pairs):
    """The expected pullback E[J^T g J] on all the weights, J = da_L / dw (3.3)."""
    J = by_datum(score_rows(pairs))
    return (J.mT @ g @ J).sum(0) / len(J)


def one_at_a_time(D):
    """Covectors (c, n, T, d) on Y^T, each time by itself and 0 at the others: (T c, n, T, d)."""
    times = torch.ones_like(D[0, 0, :, 0]).diag()
    return (D * times[:, None, None, :, None]).flatten(0, 1)


def units(a):
    """The unit columns of Y at every output, to be sent back: (n, d) to (d, n, d)."""
    return torch.ones_like(a)[None] * torch.ones_like(a[0]).diag()[:, None]
