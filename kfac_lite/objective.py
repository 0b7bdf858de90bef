"""h(omega), the mean over the data of L(upsilon, f(xi, omega)): what training minimises (paper: 2.1.1, 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .bases import Parameterization
from .calculus import differential
from .errors import KindError, SpaceError
from .likelihoods import Likelihood
from .networks import Net
from .refusals import _name
from .spaces import Covector, Point

__all__ = ["Objective"]


class Objective:
    """The empirical risk of a network on data (eq. 2.1).

    inputs: a batch of n points of X, or of n images or sequences of points of X, (n, *net.grid).
    targets: one for each output, as the likelihood takes them (one-hot classes, or points of Y): (n,) of them, or
        (n, T) where the network has an output at every time; then the loss of a datum is the sum over its times.

    `h(omega)` is the loss, `h.d(omega)` its differential, `h.batch(indices)` the same on part of the data.
    """

    def __init__(self, net: Net, likelihood: Likelihood, inputs: Point, targets: Any):
        net._likelihood(likelihood)
        if not isinstance(inputs, Point) or not inputs.batch:
            raise KindError(f"Objective: inputs are a batch of points, home.inputs.point(x), not a {_name(inputs)}")
        if inputs.space != net.home.inputs.space:
            raise SpaceError(f"Objective: the network takes points of {net.home.inputs.space}, not of {inputs.space}")
        net._inputs(inputs)
        if len(inputs.batch) != 1 + len(net.grid):
            raise KindError(f"Objective: inputs are a batch of points, (n,), and not {tuple(inputs.batch)} of them")
        self.net, self.likelihood, self.inputs = net, likelihood, inputs
        self._targets = likelihood.targets(targets)
        wanted = (inputs.batch[0], *net.answers)
        if self._targets.shape[:-1] != wanted:
            each = f", with {net.answers[0]} outputs each" if net.answers else ""
            raise SpaceError(
                f"Objective: {inputs.batch[0]} inputs{each}, but targets of shape {tuple(self._targets.shape)}; "
                f"a batch {wanted} of them is wanted"
            )
        self._some()

    def _some(self) -> None:
        if not len(self):
            raise SpaceError("Objective: no data; a mean needs one or more")

    def __call__(self, omega: Point) -> Tensor:
        """The mean loss, a number."""
        return self.likelihood._loss(self.likelihood._eta(self.net(omega, self.inputs)), self._targets).sum() / len(
            self
        )

    def d(self, omega: Point) -> Covector:
        """dh at omega."""
        return differential(self, omega)

    def batch(self, index: Any) -> Objective:
        """The objective on the data with these indices: a list, a slice, a mask or a tensor of integers."""
        if isinstance(index, int):
            raise KindError(f"h.batch({index}): a batch is a list of data. Write h.batch([{index}])")
        part = object.__new__(Objective)
        part.net, part.likelihood = self.net, self.likelihood
        part.inputs, part._targets = self.inputs.at(index), self._targets[index]
        part._some()
        return part

    def in_basis(self, kappa: Parameterization, dtype: torch.dtype = torch.float64) -> tuple[Any, Tensor, Tensor]:
        """The network, the inputs and the targets as arrays in the bases kappa, for `net.coordinates`."""
        net = _cast(self.net.in_basis(kappa, self.likelihood), dtype)
        return net, kappa.inputs[self.inputs].to(dtype), self._targets.to(dtype)

    def __len__(self) -> int:
        return self.inputs.batch[0]

    def __repr__(self) -> str:
        return f"<objective of {self.net} on {len(self)} data, {type(self.likelihood).__name__}>"


def _cast(x: Any, dtype: torch.dtype) -> Any:
    """All floating-point tensors of nested named tuples in this dtype."""
    if isinstance(x, Tensor):
        return x.to(dtype) if x.is_floating_point() else x
    if isinstance(x, tuple):
        parts = [_cast(part, dtype) for part in x]
        return x._make(parts) if hasattr(x, "_make") else tuple(parts)  # type: ignore[attr-defined]
    return x
