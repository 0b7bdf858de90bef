"""E[Psi^* g] on the weights, and E[a (x) a] (x) E[phi^* g] layer by layer: the metrics of the paper (3.3, 3.4, 3.5).

`fisher`, `gauss_newton` and `ggn` pull a metric on the outputs back to all the weights; `independence` and `kfac` build
the one that is scalable. An output metric is a function from points of Y to metrics there, and the default is the
likelihood's Fisher metric: `lambda y: euclidean(basis)` gives the K-FAC of Gauss-Newton, `hessian(F)` that of the
generalised one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .bases import AffineBasis
from .metrics import (
    Metric,
    additive,
    euclidean,
    expected,
    hessian,
    kronecker,
    pullback,
    second_moment,
)
from .objective import Objective
from .spaces import Point

__all__ = ["expected_pullback", "fisher", "gauss_newton", "ggn", "independence", "kfac"]

OutputMetric: TypeAlias = Callable[[Point], Metric]


def expected_pullback(h: Objective, omega: Point, metric: OutputMetric) -> Metric:
    """E[Psi_xi^* g] at omega, where Psi_xi sends the weights to the outputs (3.3): a metric on all of W."""
    g = metric(h.net(omega, h.inputs))
    return expected(pullback(lambda w: h.net(w, h.inputs), omega, g))


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
    """E[a_{i-1} (x) a_{i-1}] (x) E[(phi^i_xi)^* g] on the weights of layer i, counted from 1 (eq. 3.8)."""
    net = h.net
    net._layer(i)
    layers = net.layers(omega, h.inputs)
    alpha = layers[i - 2][1] if i > 1 else h.inputs
    zeta, outputs = layers[i - 1][0], layers[-1][1]
    g = (metric or h.likelihood.metric)(outputs)
    return kronecker(second_moment(alpha), expected(pullback(net.after(i, omega), zeta, g)))


def kfac(h: Objective, omega: Point, metric: OutputMetric | None = None) -> Metric:
    """The K-FAC metric on W (Definition 3.9): the independence metrics of the layers, added (eq. 3.7)."""
    return additive(*(independence(h, omega, i, metric) for i in range(1, len(omega.parts) + 1)))
