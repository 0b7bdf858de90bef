"""E[Psi^* g] on the weights, and E[a (x) a] (x) E[phi^* g] layer by layer: the metrics of the paper (3.3, 3.4, 3.5).

`fisher`, `gauss_newton` and `ggn` pull a metric on the outputs back to all the weights; `independence` and `kfac` build
the one that is scalable. An output metric is a function from points of Y to metrics there, and the default is the
likelihood's Fisher metric: `lambda y: euclidean(basis)` gives the K-FAC of Gauss-Newton, `hessian(F)` that of the
generalised one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .bases import AffineBasis, TangentBasis
from .calculus import pushforward
from .forms import Dense
from .metrics import (
    Metric,
    additive,
    euclidean,
    expected,
    hessian,
    kronecker,
    pullback,
    sample_covectors,
    second_moment,
    tensor_square,
)
from .nondegeneracy import examine
from .objective import Objective
from .spaces import Point, Vector

__all__ = ["expected_pullback", "fisher", "gauss_newton", "ggn", "independence", "kfac", "sampled"]

OutputMetric: TypeAlias = Callable[[Point], Metric]


def expected_pullback(h: Objective, omega: Point, metric: OutputMetric) -> Metric:
    """E[Psi_xi^* g] at omega, where Psi_xi sends the weights to the outputs (3.3): a metric on all of W.

    Where a datum has an output at every time, the metric on Y^T is the sum of `metric` at each, and so is its pullback.
    """
    g = metric(h.net(omega, h.inputs))
    mean = expected(pullback(lambda w: h.net(w, h.inputs), omega, g))
    return math.prod(h.net.answers) * mean if h.net.answers else mean


def fisher(h: Objective, omega: Point) -> Metric:
    """The Fisher metric of eq. 2.4, as the pullback of the output Fisher metric (Example 3.2)."""
    return expected_pullback(h, omega, h.likelihood.metric)


def gauss_newton(h: Objective, omega: Point, *, output: AffineBasis) -> Metric:
    """The Gauss-Newton metric (Example 3.3). It names a basis of Y, and cares for it up to a rigid motion only."""
    return expected_pullback(h, omega, lambda y: euclidean(output))


def ggn(h: Objective, omega: Point, F: Callable[[Point], object]) -> Metric:
    """The generalised Gauss-Newton metric of a convex function F on Y (Example 3.4). It names no basis."""
    return expected_pullback(h, omega, hessian(F))  # type: ignore[arg-type]


def independence(h: Objective, omega: Point, i: int, metric: OutputMetric | None = None) -> Metric:
    """E[a (x) a] (x) E[(phi^i_xi)^* g] on the i-th of the maps omega_1, omega_2, ... (eq. 3.8).

    A map that is applied at |T| places or times of every datum has |T| times the metric whose two means are over data
    and places (eq. 4.7, 5.5).
    """
    use = h.net.uses(i, omega, h.inputs)
    outputs = (metric or h.likelihood.metric)(h.net(omega, h.inputs))
    g = at_each_place(use.rest, use.zeta, outputs)
    home = h.net.home.weights.factors[i - 1]
    z = home.target.basis if isinstance(home.target, TangentBasis) else home.target  # type: ignore[union-attr]
    report = partial(examine, use.alpha, g, home.source, z, outputs, f"layer {i}")  # type: ignore[union-attr]
    places = use.alpha.batch.numel() // len(h)
    block: Any = kronecker(second_moment(use.alpha), expected(g), report)
    maps = omega.parts[i - 1].space  # its target may be TZ: the tangent vectors are the same
    return places * block._on(maps)


def sampled(metric: OutputMetric, generator: torch.Generator) -> OutputMetric:
    """The output metric phi (x) phi of one sampled covector a datum, whose mean is `metric` (Remark 3.11).

    `kfac(h, omega, metric=sampled(h.likelihood.metric, generator))` is K-FAC with one backward pass a datum. Every call
    draws anew.
    """
    return lambda y: tensor_square(sample_covectors(metric(y), generator))


def at_each_place(phi: Callable[[Point], Point], zeta: Point, g: Metric) -> Metric:
    """(phi_t)^* g on Z, place by place (4.3): the pullback by phi : Z^T -> Y on vectors that are 0 at all other places.

    zeta is a batch (n, |T|), or (n,) where each datum has one place; g a metric at the outputs, a batch (n,), or (n, T)
    for points of Y^T, whose metric is the sum. The result is a batch of the shape of zeta.
    """
    n, m = zeta.batch[0], zeta.space.dimension
    places = zeta.batch.numel() // n
    directions = torch.eye(places * m, dtype=torch.float64).reshape(-1, places, m)

    def push(direction: Tensor) -> Tensor:
        v = Vector(zeta.space, direction.expand(n, places, m).reshape(zeta._x.shape))
        return pushforward(phi, zeta, v)._x

    d = g.space.dimension
    J = torch.func.vmap(push)(directions).reshape(places, m, n, -1, d).permute(2, 0, 3, 1, 4)  # (n, |T|, outputs, m, d)
    at_outputs = g._matrix().reshape(*((n, 1, -1) if g.batch else (1, 1, 1)), d, d)
    G = (J @ at_outputs @ J.mT).sum(2)
    return Dense(zeta.space, G.reshape(*zeta.batch, m, m), getattr(g, "cause", ""))


def kfac(h: Objective, omega: Point, metric: OutputMetric | None = None) -> Metric:
    """The K-FAC metric on W (Definition 3.9): the independence metrics of the layers, added (eq. 3.7)."""
    return additive(*(independence(h, omega, i, metric) for i in range(1, len(omega.parts) + 1)))
