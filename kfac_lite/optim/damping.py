"""(A (x) G + damping)^-1 in the three forms that the optimizer offers, and what to say where there is no inverse.

All matrices are batches (g, n, n), one for each group of a convolution; of A and G only the lower triangles are read.
A gradient D is (g, m, k), and an inverse gives the pair (left, right) with G^-1 D A^-1 = left @ right, so that the
product can go straight into a running sum; left None means that right is the whole.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.linalg import solve_triangular

from ..errors import DegenerateMetricError
from .layers import mirrored

__all__ = ["Eigen", "Inverse", "Triangular", "invert", "ratio"]

Pair = tuple[Tensor | None, Tensor]


class Inverse(NamedTuple):
    """Explicit inverses of the two factors, for many steps."""

    A: Tensor
    G: Tensor

    def apply(self, D: Tensor) -> Pair:
        return self.G, D @ self.A

    def rows(self, a: Tensor, Dz: Tensor, bias: bool) -> Pair:
        """The same for D = Dz^T a-bar, from the rows (R, k) and (R, m): cheaper where R is small."""
        A, k = self.A[0], a.shape[-1]
        right = a @ A[:k] if not bias else torch.addmm(A[k], a, A[:k])
        return (Dz @ self.G[0]).T[None], right[None]


class Triangular(NamedTuple):
    """Cholesky factors, for one step."""

    A: Tensor
    G: Tensor

    def apply(self, D: Tensor) -> Pair:
        return None, torch.cholesky_solve(torch.cholesky_solve(D, self.G).mT, self.A).mT

    def rows(self, a: Tensor, Dz: Tensor, bias: bool) -> Pair:
        if bias:
            a = torch.cat([a, torch.ones_like(a[:, :1])], 1)
        return halves(Dz, self.G[0]).T[None], halves(a, self.A[0])[None]


class Eigen(NamedTuple):
    """E^T A E = diag(a) and E^T A' E = 1, for G likewise, and the damping: A (x) G + damping A' (x) G' exactly."""

    A: Tensor
    a: Tensor
    G: Tensor
    g: Tensor
    damping: Tensor

    def apply(self, D: Tensor) -> Pair:
        inner = self.G.mT @ D @ self.A
        return self.G, inner / (self.g[..., :, None] * self.a[..., None, :] + self.damping) @ self.A.mT


def halves(rows: Tensor, L: Tensor) -> Tensor:
    """r (L L^T)^-1 for every row."""
    half = solve_triangular(L.T, rows, upper=True, left=False)
    return solve_triangular(L, half, upper=False, left=False)


KINDS = {"inverse": Inverse, "triangular": Triangular, "eigen": Eigen}


def invert(layer: Any, damping: float, form: str, metric: Any, every_step: bool) -> Any:
    """The inverse for a layer's factors, on the columns of (W b) that have a gradient.

    Raises DegenerateMetricError with the layer, the factor and its null direction where a factor is singular.
    """
    columns = layer.columns()
    A, G = layer.A[..., columns, columns], layer.G
    if metric is not None:
        metric = tuple(M.to(A)[None] if M.dim() == 2 else M.to(A) for M in metric)
        metric = metric[0][..., columns, columns], metric[1]
    if damping and form == "exact":
        return eigen(layer, A, G, damping, metric)
    pi = ratio(A, G, metric)

    def one(factor: str, S: Tensor, shift: Tensor, M: Tensor | None) -> Tensor:
        L = cholesky(layer, factor, damped(S, shift, M) if damping else S, damping, metric)
        return L if every_step else inverse(L)

    # One factor after the other: what the first needed on the way is free for the second.
    A_, G_ = metric or (None, None)
    pair = one("A", A, damping**0.5 * pi, A_), one("G", G, damping**0.5 / pi, G_)
    return Triangular(*pair) if every_step else Inverse(*pair)


def ratio(A: Tensor, G: Tensor, metric: Any = None) -> Tensor:
    """pi = sqrt of the mean eigenvalue of A over that of G, (g, 1, 1), which shares the damping between the two.

    With a metric (A', G') these are the eigenvalues relative to A' and G', which are the same in every basis.
    """
    means = []
    for S, M in zip((A, G), metric or (None, None)):
        if M is not None:
            S = torch.cholesky_solve(mirrored(S), torch.linalg.cholesky(M))
        means.append(S.diagonal(dim1=-2, dim2=-1).mean(-1))
    a, g = means
    safe = (a > 0) & (g > 0)
    return torch.where(safe, a / torch.where(safe, g, 1), 1).sqrt()[..., None, None]


def damped(S: Tensor, shift: Tensor, M: Tensor | None) -> Tensor:
    if M is not None:
        return S + shift * M
    S = S.clone()
    S.diagonal(dim1=-2, dim2=-1).add_(shift[..., 0])
    return S


def cholesky(layer: Any, factor: str, S: Tensor, damping: float, metric: Any) -> Tensor:
    L, info = torch.linalg.cholesky_ex(S)
    pivots, diagonal = L.diagonal(dim1=-2, dim2=-1) ** 2, S.diagonal(dim1=-2, dim2=-1)
    # What is left of a row after those before it, relative to itself: no choice of units changes this.
    loose = 8 * S.shape[-1] * torch.finfo(S.dtype).eps if not damping else 0.0
    if bool((info == 0).all() & (pivots > loose * diagonal).all()):
        return L
    raise singular(layer, factor, damping, metric)


def inverse(L: Tensor) -> Tensor:
    # cholesky_inverse answers in columns; its transpose, which is equal, lies in rows.
    return torch.cholesky_inverse(L).mT


def eigen(layer: Any, A: Tensor, G: Tensor, damping: float, metric: Any) -> Eigen:
    parts: Any = []
    for S, M in zip((A, G), metric or (None, None)):
        if M is None:
            values, E = torch.linalg.eigh(S)
        else:
            S, L = whitened(S, M)
            values, E = torch.linalg.eigh(S)
            E = solve_triangular(L.mT, E, upper=True)
        parts.append((E, values.clamp(min=0)))
    (E, a), (F, g) = parts
    return Eigen(E, a, F, g, torch.tensor(damping, dtype=A.dtype, device=A.device))


def whitened(S: Tensor, M: Tensor) -> tuple[Tensor, Tensor]:
    """L^-1 S L^-T, whose eigenvalues are those of S relative to M, and L, for M = L L^T."""
    L = torch.linalg.cholesky(M)
    S = solve_triangular(L, mirrored(S), upper=False)
    S = solve_triangular(L, S.mT, upper=False)
    return (S + S.mT) / 2, L


# What to say -----------------------------------------------------------------------------------------------------


def least_safe(A: Tensor, G: Tensor, metric: Any) -> float:
    """sqrt(eps) times the largest eigenvalue of A (x) G, relative to the metric where there is one.

    With that damping the block's condition number is 1 / sqrt(eps), and so rounding, of relative size eps in factors
    and gradient, moves a step by some sqrt(eps) of its length. With eps for sqrt(eps) it could move it by all of it.
    """
    tops = [
        torch.linalg.eigvalsh(S if M is None else whitened(S, M)[0])[..., -1].clamp(min=0)
        for S, M in zip((A, G), metric or (None, None))
    ]
    return torch.finfo(A.dtype).eps ** 0.5 * float((tops[0] * tops[1]).max())


def rounded_up(number: float) -> str:
    """To one digit."""
    unit = 10.0 ** math.floor(math.log10(number))
    return f"{math.ceil(number / unit) * unit:.0e}"


def singular(layer: Any, factor: str, damping: float, metric: Any) -> DegenerateMetricError:
    """The layer, the factor, its rank, a null direction in words, and the smallest damping that is safe."""
    columns = layer.columns()
    A, G = mirrored(layer.A[..., columns, columns]), mirrored(layer.G)
    S = A if factor == "A" else G
    values, E = torch.linalg.eigh(S)
    group = int((values[:, 0] / values[:, -1].clamp(min=1e-300)).argmin()) if len(values) > 1 else 0
    top = values[group, -1]
    eps = torch.finfo(S.dtype).eps
    rank = int((values[group] > 8 * S.shape[-1] * eps * top).sum())
    enough = least_safe(A, G, metric)
    write = f"Write damping={rounded_up(enough)} or more" if enough else "Write a damping above 0"
    what = f"the factor {factor}, the covariance of " + ("its inputs" if factor == "A" else "its outputs' derivatives")
    where = f"layer {layer.name!r}" + (f", group {group}" if len(values) > 1 else "")
    if damping:
        return DegenerateMetricError(
            f"{where}: {what}, is not positive definite to rounding, with damping {damping:g} and a largest eigenvalue "
            f"of {float(top):.1e}. If the run diverges, take a smaller lr or kl_clip. {write}."
        )
    text = (
        f"{where}: {what}, is singular to rounding (rank {rank} of {S.shape[-1]}). "
        f"{words(E[group, :, 0], factor, layer)} {write}, or remove the cause."
    )
    if factor == "G":
        text += (
            " (Logits for every class, layer normalisation before the nonlinearity, and too few examples do this: the "
            "derivatives then have no part in some direction.)"
        )
    return DegenerateMetricError(text, null_direction=E[group, :, 0])


def words(v: Tensor, factor: str, layer: Any) -> str:
    v = v / v.abs().max()
    thing = "input" if factor == "A" else "output"
    names = [f"{thing} {i}" for i in range(len(v))]
    if factor == "A" and len(v) == layer.inputs + 1:
        names[-1] = "the constant 1"
    large = [i for i in v.abs().argsort(descending=True).tolist() if abs(v[i]) > 0.05]
    if factor == "G" and len(v) > 1 and bool((v / v[0] - 1).abs().max() < 1e-3):
        return "All outputs together, with equal weights, have derivative zero."
    if len(large) == 1:
        return f"{names[large[0]].capitalize()} is zero for every example."
    shown = " ".join(f"{float(v[i]):+.2g} ({names[i]})" for i in large[:4])
    return f"Zero for every example: {shown}{' ...' if len(large) > 4 else ''}."
