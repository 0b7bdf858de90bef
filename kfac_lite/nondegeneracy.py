"""A (x) G is nondegenerate exactly where A and G are positive definite: which one fails, in which layer, and why.

Theorems 3.6 and 3.10 (paper: 3.4, 3.5.2) give a sufficient condition; this one is exact, for the eigenvalues of A (x) G
are the products of those of A and of G. `nondegeneracy(kfac(h, omega))` reports on any network, and the error of a
`sharp` that does not exist speaks from the same report.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .bases import AffineBasis, Basis, ProductBasis
from .errors import KindError
from .forms import THRESHOLD, Additive, Kronecker, Metric, _spectrum
from .metrics import expected, second_moment
from .spaces import Point, Product

__all__ = ["Factor", "LayerReport", "Nondegeneracy", "examine", "nondegeneracy"]

SAME = 1e-12  # features that agree to this are called equal; it finds causes and decides nothing


@dataclass(frozen=True)
class Factor:
    """What is known of A or of G.

    eigenvalue: the smallest, relative to the largest, of the matrix in the home basis scaled to unit diagonal.
    rank: how many of its `dimension` relative eigenvalues are above `threshold`.
    cause: in words, empty where the factor is positive definite.
    """

    dimension: int
    rank: int
    eigenvalue: float
    cause: str = ""
    threshold: float = THRESHOLD

    @property
    def definite(self) -> bool:
        return self.rank == self.dimension

    def __str__(self) -> str:
        size = f"{self.eigenvalue:.0e}" if self.definite else f"below {self.threshold:.0e}"
        return f"rank {self.rank} of {self.dimension}, smallest eigenvalue {size}"


@dataclass(frozen=True)
class LayerReport:
    """The two factors of one layer's block."""

    name: str
    A: Factor
    G: Factor

    def __bool__(self) -> bool:
        return self.A.definite and self.G.definite

    @property
    def cause(self) -> str:
        return " ".join(factor.cause for factor in (self.A, self.G) if factor.cause)

    def __str__(self) -> str:
        lines = [f"{self.name}: {'nondegenerate' if self else 'degenerate'}"]
        for letter, factor in (("A", self.A), ("G", self.G)):
            lines.append(f"  {letter}: {factor}")
            lines += textwrap.wrap(factor.cause, 72, initial_indent=5 * " ", subsequent_indent=5 * " ")
        return "\n".join(lines)


@dataclass(frozen=True)
class Nondegeneracy:
    """A K-FAC metric's report, a layer at a time; true where the metric is nondegenerate. `print` shows it in words."""

    layers: tuple[LayerReport, ...]

    def __bool__(self) -> bool:
        return all(self.layers)

    @property
    def failing(self) -> tuple[LayerReport, ...]:
        """The layers whose block is degenerate."""
        return tuple(layer for layer in self.layers if not layer)

    def __str__(self) -> str:
        return "\n".join(map(str, self.layers))

    def __repr__(self) -> str:
        names = ", ".join(layer.name for layer in self.failing)
        return f"<{'degenerate in ' + names if names else 'nondegenerate'}, {len(self.layers)} layers>"


def nondegeneracy(g: Metric) -> Nondegeneracy:
    """Whether a K-FAC metric has a `sharp`, and if not, which layers and factors fail and why.

    g: `kfac(h, omega)`, or one `independence` metric. `KindError` for a metric of another form.
    """
    parts = g.parts if isinstance(g, Additive) else (g,)
    if not all(isinstance(part, Kronecker) for part in parts):
        raise KindError(
            f"nondegeneracy({g!r}): the report is of Kronecker products, one a layer. Write "
            "nondegeneracy(kfac(h, omega)), without damping"
        )
    return Nondegeneracy(tuple(_report(part, f"layer {i}") for i, part in enumerate(parts, 1)))  # type: ignore[arg-type]


def _report(part: Kronecker, name: str) -> LayerReport:
    if part.report is not None:
        return part.report()
    why_A, why_G = part._words()
    return LayerReport(name, _factor(part._A, part._A, lambda: why_A), _factor(part._G, part._G, lambda: why_G))


def examine(
    alpha: Point, g: Metric, activations: Basis, preactivations: AffineBasis, outputs: Metric | None, name: str
) -> LayerReport:
    """The report on kronecker(second_moment(alpha), expected(g)).

    alpha: the points that the layer's map is applied to, a batch of any shape; of A, or of a power of it.
    g: the pulled-back output metric at each of its values, a batch, before the mean is taken.
    activations, preactivations: bases of A and Z in which features and units are named, those of home.
    outputs: the output metric at each datum, a batch; None where it is not known.
    name: what the layer is called, "layer 2".
    """
    A, mean = second_moment(alpha), expected(g)
    G = preactivations[g].flatten(0, -3)
    return LayerReport(
        name,
        _factor(
            A._matrix_in(activations), A._A, lambda: _why_A(_numbers(alpha, activations), len(alpha._x), activations)
        ),
        _factor(preactivations[mean], mean._matrix(), lambda: _why_G(G, len(alpha._x), preactivations, outputs)),
    )


def _factor(S: Tensor, frame: Tensor, why: Callable[[], str]) -> Factor:
    """The verdict on one symmetric matrix, in the home basis and in the frame where `sharp` would solve with it."""
    spectra = [_spectrum(S), _spectrum(frame)]
    rank = min(map(_rank, spectra))
    smallest = min(float(values[0] / values[-1]) if values[-1] > 0 else 0.0 for values in spectra)
    return Factor(len(S), rank, max(smallest, 0.0), "" if rank == len(S) else why())


def _numbers(alpha: Point, basis: Basis) -> Tensor:
    """(n, d), a row for every point of the batch, with the parts of a power side by side."""
    numbers = basis[alpha]
    return (torch.cat(numbers, -1) if isinstance(numbers, tuple) else numbers).flatten(0, -2)


def _rank(values: Tensor, threshold: float = THRESHOLD) -> int:
    """Of ascending eigenvalues."""
    return int((values > threshold * values[-1].clamp(min=1e-300)).sum()) if len(values) else 0


# Causes ----------------------------------------------------------------------------------------------------------


def _why_A(a: Tensor, data: int, basis: Basis) -> str:
    """Why the points (n, d) do not span A affinely."""
    space, (n, d) = basis.space, a.shape
    spread = a.amax(0) - a.amin(0)
    size = a.abs().amax(0).clamp(min=max(1e-3 * float(a.abs().max()), 1e-300))
    distinct = len(torch.unique((a / size * 1e10).round(), dim=0))
    head = f"The second moment of the activations of {space} is singular."
    if distinct < d + 1:
        points = f"{data} data" if n == data else f"{data} data at {n // data} places"
        different = "" if distinct == n else f", {distinct} of them different"
        return f"{head} Too few data: there are {points}{different}, and {d + 1} in general position are needed."
    constant = [j for j in range(d) if spread[j] <= SAME * size[j]]
    if constant:
        return f"{head} {_listed(constant, basis)} constant on all data: drop it, or let the bias do its work."
    centred = a - a.mean(0)
    pair = _parallel(centred.mT @ centred)
    if pair:
        (i, j), (one, other) = pair, (_feature(p, basis) for p in pair)
        equal = bool((a[:, i] - a[:, j]).abs().max() <= SAME * size[i])
        relation = "are equal" if equal else "determine each other by an affine function"
        return f"{head} {one} and {other} {relation} on all data: drop one of them."
    return f"{head} Activations depend on one another: the data lie in a hyperplane, though none is constant or equal."


def _why_G(G: Tensor, data: int, basis: AffineBasis, outputs: Metric | None) -> str:
    """Why the metrics (n, m, m), one a datum, leave a direction of Z without length."""
    m = G.shape[-1]
    head = f"The expected metric on {basis.space} is singular."
    total = G.mean(0)
    dead = [j for j in range(m) if not total[j, j] > 1e-15 * total.diagonal().max()]
    if dead:
        units = f"Unit {dead[0]} is" if len(dead) == 1 else f"Units {', '.join(map(str, dead))} are"
        return f"{head} {units} dead, counted from 0: no slope, or no weight onward, so no output changes there."
    if outputs is not None:
        Y = outputs._matrix().reshape(-1, *2 * (outputs.space.dimension,))
        rank_Y = _rank(_spectrum(Y.mean(0)), SAME)
        if rank_Y < len(Y[0]) and _rank(_spectrum(total), SAME) <= rank_Y:
            why = getattr(outputs, "cause", "") or f"The output metric has rank {rank_Y} of {len(Y[0])}."
            return f"{head} The outputs are redundant: {why[0].lower()}{why[1:]}"
    each = [_rank(_spectrum(g), SAME) for g in G]
    rank = _rank(_spectrum(total), SAME)
    if rank == sum(each):
        return f"{head} Too few data: {data} data measure {rank} directions, {max(each)} or fewer each; {m} are needed."
    pair = _parallel(total)
    if pair:
        return f"{head} Units {pair[0]} and {pair[1]}, counted from 0, do the same to all outputs: drop one of them."
    if rank == max(each):
        return (
            f"{head} Every datum measures the same {rank} of {m} directions, so more data do not help: what follows is "
            "linear there and the layer is wider than it, or its units depend on one another alike at every datum."
        )
    return (
        f"{head} The derivatives that come back to its units depend on one another: {rank} of {m} directions are seen."
    )


def _parallel(S: Tensor) -> tuple[int, int] | None:
    """The first two indices whose correlation is 1 or -1."""
    scale = S.diagonal().clamp(min=1e-300).sqrt()
    correlation = (S / scale / scale[:, None]).abs().triu(1)
    found = (correlation > 1 - SAME).nonzero()
    return (int(found[0, 0]), int(found[0, 1])) if len(found) else None


def _feature(j: int, basis: Basis) -> str:
    """Activation 3 of A0, counted from 0; of a power with its place."""
    space = basis.space
    if isinstance(basis, ProductBasis) and isinstance(space, Product):
        width = space.factors[0].dimension
        return f"activation {j % width} at place {j // width} of {space} (counted from 0)"
    return f"activation {j} of {space} (counted from 0)"


def _listed(indices: Sequence[int], basis: Basis) -> str:
    shown = [_feature(j, basis) for j in indices[:3]]
    more = f" and {len(indices) - 3} more" if len(indices) > 3 else ""
    text = " and ".join(shown) + more
    return f"{text[0].upper()}{text[1:]} {'are' if len(indices) > 1 else 'is'}"
