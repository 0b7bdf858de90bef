"""omega <- omega - lr * g(omega).sharp(dh(omega)): Theorem 3.1, and the runs that check it (paper: 3.2).

`run` follows a rule on the spaces themselves, and has one trajectory whatever the basis. `run_in` runs the textbook
code of `kfac_lite.coordinates` on the arrays of one basis and lifts its outputs to points of Y. The theorem says that
for a rule that names no basis all of these are one trajectory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor

from . import curvature
from .bases import Basis, Parameterization
from .coordinates import updates
from .errors import DegenerateMetricError, KindError, SpaceError
from .metrics import Metric, euclidean
from .objective import Objective
from .refusals import _name
from .spaces import Point

__all__ = ["KFAC", "SGD", "Descent", "NaturalGradient", "Trajectory", "gap", "run", "run_in"]

MetricField = Callable[[Objective, Point], Metric]


class Rule(Protocol):
    """Anything that leads from a point of W to the next."""

    def __call__(self, h: Objective, omega: Point) -> Point: ...


@dataclass(frozen=True)
class Descent:
    """omega - lr * metric(h, omega).sharp(h.d(omega)), for any metric: the rule of Theorem 3.1.

    It names no basis, so it depends on no basis, unless the metric does.
    """

    metric: MetricField
    lr: float

    def __call__(self, h: Objective, omega: Point) -> Point:
        return omega - self.lr * self.metric(h, omega).sharp(h.d(omega))


def SGD(lr: float, *, basis: Basis) -> Descent:
    """Gradient descent in a basis of W, `SGD(0.1, basis=iota.weights)`: it must say which, for it depends on it."""
    if isinstance(basis, Parameterization):
        raise KindError("SGD(basis=...) takes a basis of the weights. Write basis=iota.weights")
    g = euclidean(basis)
    return Descent(lambda h, omega: g, lr)


def NaturalGradient(lr: float) -> Descent:
    """omega - lr * fisher(h, omega).sharp(dh), eq. 2.3 without its basis."""
    return Descent(curvature.fisher, lr)


def KFAC(lr: float, *, damping: Metric | None = None, metric: curvature.OutputMetric | None = None) -> Descent:
    """omega - lr * kfac(h, omega).sharp(dh), eq. 2.10 without its basis.

    damping: a metric on W that is added, such as `1e-3 * euclidean(iota.weights)`. A number is refused, for the
        identity exists only in some basis (Remark 3.12).
    metric: an output metric other than the likelihood's Fisher metric.
    """
    if damping is not None and not isinstance(damping, Metric):
        raise KindError(
            f"KFAC(damping={_name(damping)}): a number is a metric only in some basis (Remark 3.12). Write "
            "damping=1e-3 * euclidean(iota.weights), which says in which"
        )

    def field(h: Objective, omega: Point) -> Metric:
        g = curvature.kfac(h, omega, metric)
        return g if damping is None else g + damping

    return Descent(field, lr)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What a run left behind: after 0, 1, ..., T steps the outputs on the watched inputs and the training loss."""

    outputs: Point  # a batch (T + 1, n) of points of Y
    losses: Tensor  # (T + 1,)
    omega: Point  # where it ended

    @property
    def steps(self) -> int:
        return len(self.losses) - 1

    @property
    def diverged(self) -> bool:
        """Whether a number stopped being finite, or the loss grew a million times."""
        return not bool((self.losses < 1e6 * self.losses[0].abs().clamp(min=1)).all())

    def __repr__(self) -> str:
        end = "diverged" if self.diverged else f"loss {self.losses[0]:.3g} to {self.losses[-1]:.3g}"
        return f"<trajectory of {self.steps} steps, {end}>"


def gap(one: Trajectory, other: Trajectory, basis: Basis) -> Tensor:
    """How far `one` is from `other` after each step, relative to how far `other` has moved: (T,).

    ||f_one - f_other|| / ||f_other - f_other(0)|| over the watched inputs, in the lengths of `basis`, a basis of Y (the
    likelihood's, say). Infinite where `one` is no longer finite.
    """
    if one.outputs.batch != other.outputs.batch:
        raise SpaceError(f"gap: runs of {tuple(one.outputs.batch)} and {tuple(other.outputs.batch)} steps and inputs")
    a, b = basis[one.outputs], basis[other.outputs]
    size = lambda x: x.flatten(1).norm(dim=1)[1:]
    return (size(a - b) / size(b - b[:1])).nan_to_num(nan=torch.inf)


def run(
    rule: Rule,
    h: Objective,
    omega: Point,
    steps: int | None = None,
    *,
    batches: Iterable[Any] | None = None,
    watch: Point | None = None,
) -> Trajectory:
    """Follow a rule from omega on the spaces themselves.

    steps: how many, on all the data; or `batches`: a sequence of indices into the data, one step each.
    watch: inputs on which the outputs are kept, by default those of h.
    """
    outputs, losses = [], []
    seen = h.inputs if watch is None else watch

    def keep(omega: Point) -> None:
        outputs.append(h.net(omega, seen))
        losses.append(h(omega).detach())

    keep(omega)
    for index in _indices(steps, batches):
        omega = rule(h.batch(index), omega)
        keep(omega)
    basis = h.likelihood.basis
    stacked = torch.stack([basis[y] for y in outputs])
    return Trajectory(_lift(basis, stacked), torch.stack(losses), omega)


def run_in(
    basis: Parameterization,
    update: updates.Update,
    h: Objective,
    omega: Point,
    steps: int | None = None,
    *,
    lr: float,
    batches: Iterable[Any] | None = None,
    watch: Point | None = None,
    dtype: torch.dtype = torch.float64,
    model: ModuleType | None = None,
    curvature: Callable[..., Any] | None = None,
    **options: Any,
) -> Trajectory:
    """Run an update of `coordinates.updates` on the arrays of one basis, and lift its outputs to points of Y.

    update: `updates.kfac`, `updates.sgd`, ...; lr and further options go to it. The rest as for `run`, and dtype
    torch.float32 to see what is rounding. A run that breaks down on its way ends in NaN, and `diverged` says so;
    curvature that is singular at the start is a `DegenerateMetricError`.
    curvature: a function of (net, w, x) in place of the one that the update needs; for another output metric
        `functools.partial(mlp.pullback_factors, metric=...)`.
    model: the module of `coordinates` that runs the arrays, by default the network's own.
    """
    model = h.net.coordinates if model is None else model
    net, x, y = h.in_basis(basis, dtype)
    w = [W.to(dtype) for W in basis.weights[omega]]
    seen = basis.inputs[h.inputs if watch is None else watch].to(dtype)
    parts = _indices(steps, batches)
    outputs, losses = [model.forward(net, w, seen)[0]], [model.loss(net, w, x, y)]
    try:
        for new in updates.descend(
            model, net, w, ((x[i], y[i]) for i in parts), update, lr, curvature=curvature, **options
        ):
            w = new
            outputs.append(model.forward(net, w, seen)[0])
            losses.append(model.loss(net, w, x, y))
    except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]
        if len(outputs) == 1:  # at the start, not after a run has left the finite numbers
            raise DegenerateMetricError(
                f"run_in: the curvature of {update.__name__} is singular at the start ({error}). "
                "Look at it with kfac(h, omega).sharp(h.d(omega)), whose error names the layer and the likely cause."
            ) from None
        missing = len(parts) + 1 - len(outputs)
        outputs += [torch.full_like(outputs[0], torch.nan)] * missing
        losses += [torch.full_like(losses[0], torch.nan)] * missing
    end = basis.weights._write(Point, [W.double() for W in w])
    return Trajectory(
        _lift(basis.outputs, torch.stack(outputs).double()), torch.stack(losses).double(), Point(h.net.space, end)
    )


def _indices(steps: int | None, batches: Any) -> Sequence[Any]:
    """Which data each step sees."""
    if (steps is None) == (batches is None):
        raise SpaceError(
            "a run has a number of steps, each on all the data, or batches of indices, one a step: steps=100, or "
            f"batches=stream; got {'both' if batches is not None else 'neither'}"
        )
    return [slice(None)] * steps if steps is not None else list(batches)


def _lift(basis: Any, numbers: Tensor) -> Point:
    """Points from numbers that may have left the finite ones, which `basis.point` refuses."""
    return Point(basis.space, basis._write(Point, numbers))
