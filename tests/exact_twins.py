"""One network in many bases, over the field: what the exact tests share. Draws are floats, taken over exactly."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kfac_lite.coordinates import likelihoods, mlp, updates
from kfac_lite.exact import residues

torch.set_num_threads(1)


class Bases(NamedTuple):
    """(Omega, gamma) of the inputs, then (Omega, gamma, Phi, tau) of every layer, float64."""

    inputs: tuple[Tensor, ...]
    layers: list[tuple[Tensor, ...]]


class Problem(NamedTuple):
    """A network in its home bases with where to start, floats throughout; the last unit is the identity."""

    units: list[mlp.Activation]
    w: list[Tensor]
    x: Tensor
    y: Tensor


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def neutral(n: int) -> tuple[Tensor, Tensor]:
    """The change of basis that changes nothing."""
    return torch.eye(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)


def skew(rng: torch.Generator, n: int, condition: float, shift: float = 1.0) -> tuple[Tensor, Tensor]:
    """A random matrix of that condition number and a random shift."""
    left, right = (torch.linalg.qr(normal(rng, n, n))[0] for _ in range(2))
    stretch = condition ** torch.linspace(0, 1, n, dtype=torch.float64)
    return left * stretch @ right, shift * normal(rng, n)


def home(sizes: list[int]) -> Bases:
    return Bases(neutral(sizes[0]), [(*neutral(m), *neutral(m)) for m in sizes[1:]])


def skewed(sizes: list[int], condition: float, seed: int, shift: float = 1.0) -> Bases:
    """Every space in a random basis, inputs and outputs included."""
    rng = generator(seed)
    spaces = [(*skew(rng, m, condition, shift), *skew(rng, m, condition, shift)) for m in sizes[1:]]
    return Bases(skew(rng, sizes[0], condition, shift), spaces)


def sizes_of(w: list[Tensor]) -> list[int]:
    return [w[0].shape[1] - 1, *(len(W) for W in w)]


def network(units: list[mlp.Activation], bases: Bases, arrays: Callable = residues) -> mlp.Network:
    layers = [mlp.Layer(unit, *map(arrays, layer)) for unit, layer in zip(units, bases.layers, strict=True)]
    return mlp.Network(tuple(layers), likelihoods.gaussian)


def carried_metric(metric: list, bases: Bases) -> list:
    """The (A', G') of every layer, given at home, as they read in the bases: congruences."""
    Omega, gamma = map(residues, bases.inputs)
    carried = []
    for (A, G), layer in zip(metric, bases.layers, strict=True):
        change, Phi = mlp.homogeneous(Omega, gamma), residues(layer[2])
        carried.append((change @ A @ change.mT, Phi.mT @ G @ Phi))
        Omega, gamma = map(residues, layer[:2])
    return carried


class Twin:
    """A problem in bases of its own, over the field (or whatever `arrays` makes)."""

    def __init__(self, problem: Problem, bases: Bases, arrays: Callable = residues):
        self.net = network(problem.units, bases, arrays)
        self.inputs = tuple(map(arrays, bases.inputs))
        self.w = self.carry([arrays(W) for W in problem.w])
        self.x, self.y = self.enter(arrays(problem.x)), arrays(problem.y)

    def enter(self, x: Any) -> Any:
        """Home inputs in this basis."""
        return x @ self.inputs[0].mT + self.inputs[1]

    def carry(self, w: list) -> list:
        """Home weights in these bases (eq. 3.3)."""
        return mlp.twin(self.net, w, *self.inputs)

    def outputs(self, w: list, x: Any) -> Any:
        """The network's outputs, brought home."""
        return mlp.outputs(self.net, mlp.forward(self.net, w, x)[0])[0]

    def run(self, update: updates.Update, steps: Any, lr: Any = 0.05, **options: Any) -> Iterator[list]:
        """The weights at the start and after every step; `steps` counts full batches, or lists batches of indices."""
        batches = [(self.x, self.y)] * steps if isinstance(steps, int) else ((self.x[i], self.y[i]) for i in steps)
        yield self.w
        yield from updates.descend(mlp, self.net, self.w, batches, update, lr, **options)


def same(a: list, b: list) -> bool:
    """Every array equal, every entry."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
