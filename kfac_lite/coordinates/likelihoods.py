"""-log p(y) in its natural parameters: what the coordinate code must know of a likelihood (paper: 2.1.1).

`eta` holds the natural parameters, a row per datum, (n, d). Each likelihood is three functions:

- `loss(eta, y)`: the sum over the data of -log p(y | eta), up to a constant;
- `residual(eta, y)`: D eta, its derivative, (n, d);
- `fisher(eta, d_eta)`: the Fisher metric of the outputs as a sum of weighted squares. Given the rows d(eta_k) of
  `d_eta`, (d, d'), it returns weights (c, n, 1) and covectors (c, n, d'), with E[D D^T] = sum_c weight_c D_c D_c^T.
  The weights stay outside, for a prime field has no square roots.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

__all__ = ["Likelihood", "bernoulli", "categorical", "gaussian", "softmax"]


class Likelihood(NamedTuple):
    """The three functions of a likelihood."""

    loss: Callable
    residual: Callable
    fisher: Callable


def with_zero(eta):
    """Append the logit of the last class, which is 0: (..., C - 1) to (..., C)."""
    return torch.cat([eta, torch.zeros_like(eta[..., :1])], -1)


def gaussian_fisher(eta, d_eta):
    """Unit covariance: the sum of the squares of the d(eta_k)."""
    ones = torch.ones_like(eta.mT)[..., None]  # (d, n, 1)
    return ones, ones * d_eta[:, None]


def bernoulli_fisher(eta, d_eta):
    """Variance p (1 - p) for every output; written so that it does not cancel when p is near 1."""
    eta = eta.mT[..., None]  # (d, n, 1)
    variance = torch.sigmoid(eta) * torch.sigmoid(-eta)
    return variance, torch.ones_like(variance) * d_eta[:, None]


def categorical_fisher(eta, d_eta):
    """Every class c in turn: weight p_c, covector p - e_c on the C - 1 free logits."""
    p = torch.softmax(with_zero(eta), -1)
    return p.mT[..., None], p[:, :-1] @ d_eta - with_zero(d_eta.mT).mT[:, None]


def softmax_fisher(eta, d_eta):
    """Every class c in turn, with one logit a class: a degenerate metric, for sum_c d(eta_c) has length zero."""
    p = torch.softmax(eta, -1)
    return p.mT[..., None], p @ d_eta - d_eta[:, None]


gaussian = Likelihood(
    loss=lambda eta, y: ((eta - y) ** 2).sum() / 2,
    residual=lambda eta, y: eta - y,
    fisher=gaussian_fisher,
)
bernoulli = Likelihood(
    loss=lambda eta, y: (torch.nn.functional.softplus(eta) - y * eta).sum(),
    residual=lambda eta, y: torch.sigmoid(eta) - y,
    fisher=bernoulli_fisher,
)
categorical = Likelihood(
    loss=lambda eta, y: -(y * torch.log_softmax(with_zero(eta), -1)).sum(),
    residual=lambda eta, y: (torch.softmax(with_zero(eta), -1) - y)[..., :-1],
    fisher=categorical_fisher,
)
softmax = Likelihood(
    loss=lambda eta, y: -(y * torch.log_softmax(eta, -1)).sum(),
    residual=lambda eta, y: torch.softmax(eta, -1) - y,
    fisher=softmax_fisher,
)
