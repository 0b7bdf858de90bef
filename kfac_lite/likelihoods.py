"""L(upsilon, y) = -log r(upsilon | y): losses, the output Fisher metric and sampling (paper: 2.1.1, Example 3.2).

A likelihood names the basis of Y in which its formula holds, and is carried along from there: the loss and the metric
at a point of Y do not depend on the basis in which anybody else writes that point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from .bases import AffineBasis, _array
from .errors import KindError, SpaceError
from .metrics import Dense, Metric
from .refusals import _name
from .spaces import AffineSpace, Point

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Likelihood", "Softmax"]


class Likelihood(ABC):
    """A family of distributions over targets, indexed by the points of Y."""

    name: ClassVar[str]  # of the same likelihood in kfac_lite.coordinates.likelihoods

    def __init__(self, basis: AffineBasis):
        if not isinstance(basis, AffineBasis):
            raise KindError(
                f"{type(self).__name__}({_name(basis)}): name the basis of Y in which the formula holds, say "
                f"{type(self).__name__}(home.outputs)"
            )
        self.basis = basis

    @property
    def space(self) -> AffineSpace:
        """Y."""
        return self.basis.space

    def loss(self, y: Point, targets: Any) -> Tensor:
        """-log r(upsilon | y) for every datum, (n,), up to a constant that depends on nothing."""
        eta, targets = self._eta(y), self.targets(targets)
        if eta.shape[:-1] != targets.shape[:-1]:
            raise SpaceError(
                f"{type(self).__name__}: outputs for {tuple(eta.shape[:-1])} data, targets for "
                f"{tuple(targets.shape[:-1])}"
            )
        return self._loss(eta, targets)

    def metric(self, y: Point) -> Metric:
        """The output Fisher metric E[dL (x) dL] at y, targets drawn from the model: Example 3.2. A batch on a batch."""
        p, D = self._scores(self._eta(y))  # (*batch, c), (*batch, c, d)
        dual = self.basis.dual_units._x
        D = D @ dual
        return Dense(self.space, D.mT @ (p[..., None] * D), self.cause)

    cause: ClassVar[str] = ""

    @abstractmethod
    def sample(self, y: Point, generator: torch.Generator) -> Any:
        """Targets drawn from r(. | y), in the form that `loss` takes."""

    @abstractmethod
    def targets(self, targets: Any) -> Tensor:
        """Targets as the arrays that `kfac_lite.coordinates` takes, float64; a clear error for what cannot be one."""

    @abstractmethod
    def _loss(self, eta: Tensor, y: Tensor) -> Tensor: ...

    @abstractmethod
    def _scores(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities or weights, (*batch, c), and covectors d(-log r) in the likelihood's basis, (*batch, c, d)."""

    def _eta(self, y: Point) -> Tensor:
        if not isinstance(y, Point):
            raise KindError(f"a likelihood is given at a point of {self.space}, not at a {_name(y)}")
        return self.basis[y]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.basis!r})"


class Gaussian(Likelihood):
    """Normal with unit covariance in `basis`. Another covariance is another basis: `basis.changed(...)`.

    Targets are points of Y.
    """

    name = "gaussian"

    def targets(self, targets: Any) -> Tensor:
        if not isinstance(targets, Point):
            raise KindError(f"Gaussian targets are points of Y, not a {_name(targets)}. Write basis.point(targets)")
        return self.basis[targets]

    def sample(self, y: Point, generator: torch.Generator) -> Point:
        eta = self._eta(y)
        return self.basis.point(eta + torch.randn(eta.shape, dtype=torch.float64, generator=generator))

    def _loss(self, eta: Tensor, y: Tensor) -> Tensor:
        return ((eta - y) ** 2).sum(-1) / 2

    def _scores(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        d = eta.shape[-1]
        return torch.ones_like(eta), torch.eye(d, dtype=torch.float64).expand(*eta.shape, d)


class Bernoulli(Likelihood):
    """Independent binary targets, a logit each in `basis`. Targets are 0 or 1, (n, d)."""

    name = "bernoulli"

    def targets(self, targets: Any) -> Tensor:
        y = _array(targets, (self.space.dimension,), "Bernoulli targets")
        if not ((y == 0) | (y == 1)).all():
            raise SpaceError("Bernoulli targets are 0 or 1; these hold other numbers")
        return y

    def sample(self, y: Point, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(torch.sigmoid(self._eta(y)), generator=generator)

    def _loss(self, eta: Tensor, y: Tensor) -> Tensor:
        return (torch.nn.functional.softplus(eta) - y * eta).sum(-1)

    def _scores(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        d = eta.shape[-1]
        return torch.sigmoid(eta) * torch.sigmoid(-eta), torch.eye(d, dtype=torch.float64).expand(*eta.shape, d)


class Softmax(Likelihood):
    """C classes, a logit each in `basis`. The metric is degenerate: prefer `Categorical`.

    To add one number to all the logits changes no probability, so that direction has length zero, and `sharp` says so.
    Targets are one-hot, (n, C).
    """

    name = "softmax"
    cause = (
        "With a logit for every class, adding one number to all of them changes no probability: use Categorical, which "
        "fixes the last logit at 0."
    )

    @property
    def classes(self) -> int:
        return self.space.dimension

    def targets(self, targets: Any) -> Tensor:
        try:
            y = _array(targets, (self.classes,), f"{type(self).__name__} targets")
        except (KindError, SpaceError) as error:
            raise type(error)(
                f"{error}. Targets are one-hot over {self.classes} classes: for integer labels write "
                f"torch.nn.functional.one_hot(torch.as_tensor(labels), {self.classes}).double()"
            ) from None
        if not ((y == 0) | (y == 1)).all() or not (y.sum(-1) == 1).all():
            raise SpaceError(f"{type(self).__name__} targets are one-hot: one 1 in every row, else 0")
        return y

    def sample(self, y: Point, generator: torch.Generator) -> Tensor:
        p = torch.softmax(self._logits(self._eta(y)), -1)
        drawn = torch.multinomial(p.reshape(-1, self.classes), 1, generator=generator)[:, 0].reshape(p.shape[:-1])
        return torch.nn.functional.one_hot(drawn, self.classes).double()

    def _logits(self, eta: Tensor) -> Tensor:
        return eta

    def _loss(self, eta: Tensor, y: Tensor) -> Tensor:
        return -(y * torch.log_softmax(self._logits(eta), -1)).sum(-1)

    def _scores(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.softmax(self._logits(eta), -1)
        one_hot = torch.eye(self.classes, dtype=torch.float64)
        return p, (p[..., None, :] - one_hot)[..., : self.space.dimension]


class Categorical(Softmax):
    """C classes with C - 1 free logits in `basis`; the last class has the logit 0, and the metric is nondegenerate.

    Targets are one-hot, (n, C) with C = dim Y + 1.
    """

    name = "categorical"
    cause = ""

    @property
    def classes(self) -> int:
        return self.space.dimension + 1

    def _logits(self, eta: Tensor) -> Tensor:
        return torch.cat([eta, torch.zeros_like(eta[..., :1])], -1)
