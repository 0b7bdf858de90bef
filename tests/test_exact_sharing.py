"""Theorems 4.2 and 5.2 with gap zero: convolution and recurrence over a prime field (paper: 4.1, 5.1)."""

from typing import Any

import pytest
import torch

from kfac_lite.coordinates import conv, likelihoods, mlp, recurrent, updates
from kfac_lite.exact import residues

from .exact_twins import generator, neutral, normal, same, skew

pytestmark = pytest.mark.no_gauge
STEPS, LR = 100, 0.05
Bases = Any  # (Omega, gamma) of the inputs, and (Omega, gamma, Phi, tau) of every layer


def bases(widths: list[int], condition: float | None, seed: int) -> Bases:
    rng = generator(seed)
    draw = neutral if condition is None else lambda m: skew(rng, m, condition)
    return draw(widths[0]), [(*draw(m), *draw(m)) for m in widths[1:]]


class Images:
    """5 x 4 images: a filter of 3 x 2 with stride 2 and a border, averages that leave a border out, a dense layer."""

    model, widths = conv, [2, 3, 2]

    def __init__(self, unit: mlp.Activation, seed: int, n: int = 12):
        rng = generator(seed)
        self.units = (unit, mlp.identity)
        self.w = [normal(rng, 3, 13) / 4, normal(rng, 2, 7) / 3]
        self.x, self.y = normal(rng, n, 5, 4, 2), normal(rng, n, 2)
        self.points = [normal(rng, 2), normal(rng, 3)]

    def network(self, b: Bases, border: Any = None) -> Any:
        _, layers = b
        first = conv.look((5, 4), (3, 2), 2, (1, 0))  # 3 x 2 places
        pool = conv.pool((3, 2), 2, 2, (1, 0))  # 2 x 1 places, of windows that hold 2 and 4
        second = conv.look((2, 1), (2, 1))
        points = [residues(p) @ residues(Omega).mT + residues(gamma) for p, (Omega, gamma) in self.where(b)]
        pool = pool._replace(members=residues(pool.members), counts=residues(pool.counts))
        looks = (conv.Look(*first, points[0] if border is None else border, pool), conv.Look(*second, points[1], None))
        layers = [mlp.Layer(u, *map(residues, layer)) for u, layer in zip(self.units, layers, strict=True)]
        return conv.ConvNetwork(tuple(layers), looks, likelihoods.gaussian)

    def where(self, b: Bases) -> Any:
        return [(self.points[0], b[0]), (self.points[1], b[1][0][:2])]


class Sequences:
    """Four steps, a state of 3; one map a step, or two; one output, or four."""

    model, widths = recurrent, [2, 3, 2]

    def __init__(self, unit: mlp.Activation, seed: int, joint: bool = False, every: bool = False, n: int = 12):
        rng = generator(seed)
        self.units, self.every = (unit, mlp.identity), every
        step = [normal(rng, 3, 6) / 4] if joint else [normal(rng, 3, 4) / 4, normal(rng, 3, 3) / 4]
        self.w = [*step, normal(rng, 2, 4) / 2]
        self.x, self.y, self.start = normal(rng, n, 4, 2), normal(rng, n, *[4] * every, 2), normal(rng, 3)

    def network(self, b: Bases, start: Any = None) -> Any:
        _, layers = b
        Omega, gamma = map(residues, layers[0][:2])
        carried = residues(self.start) @ Omega.mT + gamma
        layers = [mlp.Layer(u, *map(residues, layer)) for u, layer in zip(self.units, layers, strict=True)]
        start = carried if start is None else start
        return recurrent.RecurrentNetwork(tuple(layers), start, likelihoods.gaussian, self.every)  # type: ignore[arg-type]


class Twin:
    """A problem in bases of its own, over the field."""

    def __init__(self, problem: Any, b: Bases, **options: Any):
        self.problem, self.net = problem, problem.network(b, **options)
        self.inputs = tuple(map(residues, b[0]))
        self.w = self.carry([residues(W) for W in problem.w])
        self.x = residues(problem.x) @ self.inputs[0].mT + self.inputs[1]
        self.y = residues(problem.y)

    def carry(self, w: Any) -> Any:
        return self.problem.model.twin(self.net, w, *self.inputs)

    def outputs(self, w: Any) -> Any:
        return mlp.outputs(self.net, self.problem.model.forward(self.net, w, self.x)[0])[0]

    def end(self, update: Any, steps: int) -> Any:
        *_, w = updates.descend(self.problem.model, self.net, self.w, [(self.x, self.y)] * steps, update, LR)
        return w


def equal_at_the_end(problem: Any, b: Bases, update: Any, steps: int) -> bool:
    at_home, t = Twin(problem, bases(problem.widths, None, 0)), Twin(problem, b)
    assert torch.equal(t.outputs(t.w), at_home.outputs(at_home.w))  # the same function at the start
    w, w_home = t.end(update, steps), at_home.end(update, steps)
    equal = torch.equal(t.outputs(w), at_home.outputs(w_home))
    assert equal == same(w, t.carry(w_home))
    return equal


CASES: dict[str, Any] = {
    "images": lambda unit: Images(unit, 3),
    "sequences, two maps": lambda unit: Sequences(unit, 4),
    "sequences, one map": lambda unit: Sequences(unit, 5, joint=True),
    "sequences, an output at every time": lambda unit: Sequences(unit, 6, every=True),
}
UNITS = {"square": mlp.square, "cubic": mlp.cubic}


@pytest.mark.parametrize("unit", UNITS)
def test_theorem_4_2_exactly_after_a_hundred_steps(unit):
    problem = CASES["images"](UNITS[unit])
    b = bases(problem.widths, 1000.0, 8)
    assert equal_at_the_end(problem, b, updates.kfac, STEPS)
    assert not equal_at_the_end(problem, b, updates.sgd, 1)
    assert not equal_at_the_end(problem, b, updates.kfac_separate_bias, 1)
    assert not equal_at_the_end(problem, b, updates.diagonal, 1)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("case", [name for name in CASES if name != "images"])
def test_theorem_5_2_exactly_after_a_hundred_steps(case, unit):
    problem = CASES[case](UNITS[unit])
    b = bases(problem.widths, 1000.0, 9)
    assert equal_at_the_end(problem, b, updates.kfac, STEPS)
    assert not equal_at_the_end(problem, b, updates.sgd, 1)
    assert not equal_at_the_end(problem, b, updates.kfac_separate_bias, 1)


def test_the_bare_input_map_is_exact_without_a_shift_of_the_inputs_and_parts_with_one():
    problem = CASES["sequences, two maps"](mlp.square)
    (Omega, gamma), layers = bases(problem.widths, 10.0, 2)
    assert equal_at_the_end(problem, ((Omega, 0 * gamma), layers), recurrent.kfac_bare_inputs, 20)
    assert not equal_at_the_end(problem, ((Omega, gamma), layers), recurrent.kfac_bare_inputs, 1)


def test_what_is_not_carried_along_is_another_function_exactly():
    for problem, kept in ((CASES["images"](mlp.square), "border"), (CASES["sequences, one map"](mlp.square), "start")):
        b = bases(problem.widths, 10.0, 2)
        at_home, right = Twin(problem, bases(problem.widths, None, 0)), Twin(problem, b)
        numbers = residues(problem.points[0] if kept == "border" else problem.start)
        wrong = Twin(problem, b, **{kept: numbers})
        assert torch.equal(right.outputs(right.w), at_home.outputs(at_home.w))
        assert not torch.equal(wrong.outputs(wrong.w), at_home.outputs(at_home.w))
