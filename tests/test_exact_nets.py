"""Theorems 2.1 and 3.1 with gap zero on random networks, and what ties the field's runs to the floats' (paper: 3.2)."""

from fractions import Fraction
from functools import cache
from itertools import count, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.linalg import LinAlgError  # pyright: ignore[reportAttributeAccessIssue]

from kfac_lite.coordinates import mlp, updates
from kfac_lite.exact import residues

from .exact_twins import Bases, Problem, Twin, generator, home, normal, same, sizes_of, skewed
from .rationals import Rationals, rationals

pytestmark = pytest.mark.no_gauge

UNITS = {"square": mlp.square, "cubic": mlp.cubic}
DEPTHS = [1, 2, 3, 4, 5]
STEPS, LR = 100, 0.05


def draw(unit: str, sizes: list[int], data: int, seed: int) -> Problem:
    rng = generator(seed)
    w = [normal(rng, m, n + 1) / (n + 1) ** 0.5 for n, m in pairwise(sizes)]
    units = [UNITS[unit]] * (len(sizes) - 2) + [mlp.identity]
    return Problem(units, w, normal(rng, data, sizes[0]), normal(rng, data, sizes[-1]))


def singular(problem: Problem) -> bool:
    """Whether K-FAC has no first step: a bottleneck, say, leaves too few functions for the units behind it."""
    t = Twin(problem, home(sizes_of(problem.w)))
    try:
        return not [torch.linalg.inv(block) for pair in mlp.factors(t.net, t.w, t.x) for block in pair]
    except LinAlgError:
        return True


@cache
def draws(unit: str, depth: int, accept: int) -> tuple[list[tuple[int, Problem]], int]:
    """The first draws that are not singular, with their seeds, and how many were rejected on the way."""
    accepted, rejected = [], 0
    for seed in count(1000 * depth):
        sizes = torch.randint(1, 6, (depth + 1,), generator=generator(seed)).tolist()
        problem = draw(unit, sizes, max(sizes) + 1 + seed % 4, seed)
        if singular(problem):
            rejected += 1
        else:
            accepted.append((seed, problem))
        if len(accepted) == accept:
            return accepted, rejected
    raise AssertionError


def equal_at_the_end(problem: Problem, bases: Bases, update, steps: int) -> bool:
    """Whether the run in these bases ends where the run at home does."""
    at_home, t = Twin(problem, home(sizes_of(problem.w))), Twin(problem, bases)
    *_, w = t.run(update, steps, LR)
    *_, w_home = at_home.run(update, steps, LR)
    equal = torch.equal(t.outputs(w, t.x), at_home.outputs(w_home, at_home.x))
    assert equal == same(w, t.carry(w_home))
    return equal


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("unit", UNITS)
def test_theorem_2_1_exactly_on_random_nets(unit, depth):
    for seed, problem in draws(unit, depth, accept=2 if depth < 4 else 1)[0]:
        bases = skewed(sizes_of(problem.w), 1 + seed % 100, seed)
        assert equal_at_the_end(problem, bases, updates.kfac, STEPS)
        assert not equal_at_the_end(problem, bases, updates.sgd, 1)


def test_few_draws_are_singular():
    tables = [draws(unit, depth, 10) for unit in UNITS for depth in DEPTHS]
    accepted, rejected = (sum(len(table) for table, _ in tables), sum(r for _, r in tables))
    print(f"{rejected} of {accepted + rejected} draws were singular")
    assert 0 < rejected < accepted


NATURAL = [([1, 1, 1], 6), ([2, 2], 8), ([2, 1, 2], 12), ([2, 2, 2], 12), ([2, 2, 2, 1], 24)]


@pytest.mark.parametrize("sizes, data", NATURAL)
def test_theorem_3_1_natural_gradient_exactly(sizes, data):
    problem, bases = draw("cubic", sizes, data, seed=3), skewed(sizes, 10, seed=4)
    assert equal_at_the_end(problem, bases, updates.natural_gradient_textbook, STEPS)
    assert not equal_at_the_end(problem, bases, updates.sgd, 1)


@pytest.mark.parametrize("sizes, data", [case for case in NATURAL if len(case[0]) > 2])
def test_with_quadratic_units_the_fisher_is_singular(sizes, data):
    """(c u)^2 = c^2 u^2: scale the weights into a unit, undo it behind, and the function stays: a null direction."""
    problem = draw("square", sizes, data, seed=3)
    t = Twin(problem, home(sizes))
    with pytest.raises(LinAlgError, match="depends on those before it"):
        list(t.run(updates.natural_gradient_textbook, 1))
    F = mlp.fisher(t.net, t.w, t.x)
    W, V = t.w[:2]
    scaled = [torch.cat([W[:1], W[1:] * 0]), torch.cat([V[:, :1] * -2, V[:, 1:] * 0], 1)]
    null: Any = torch.cat([updates.vec(direction) for direction in (scaled + [W * 0 for W in t.w[2:]])])
    assert not null.r.eq(0).all() and not (F @ null[:, None]).r.any()


# The tie: the same code over Q ------------------------------------------------------------------------------------


def quarters(tensors) -> list[torch.Tensor]:
    """Short fractions, or three steps would take minutes."""
    return [torch.round(4 * t) / 4 for t in tensors]


@cache
def tied() -> list[list]:
    """The start and three K-FAC steps of one net in skewed bases: over Q, modulo P, and in float64."""
    units, w, x, y = draw("square", [2, 2, 1], 6, seed=5)
    problem = Problem(units, quarters(w), *quarters([x, y]))
    (Omega, gamma), layers = skewed([2, 2, 1], 3, seed=6)
    bases = Bases(tuple(quarters([Omega, gamma])), [tuple(quarters(layer)) for layer in layers])
    kinds = [(rationals, Fraction(LR)), (residues, LR), (torch.clone, LR)]
    return [list(Twin(problem, bases, arrays).run(updates.kfac, 3, lr)) for arrays, lr in kinds]


def test_the_run_over_the_rationals_modulo_p_is_the_run_over_the_field():
    rational, field, _ = tied()
    for w, v in zip(rational, field, strict=True):
        assert same([residues(W) for W in w], v)
        assert all(isinstance(number, Fraction) for W in w for number in W.reshape(-1))


def test_the_run_over_the_rationals_rounded_is_the_float_run():
    rational, _, floats = tied()
    assert all(isinstance(W, Rationals) for w in rational for W in w)
    gaps = [
        np.abs(np.asarray(W, dtype=float) - V.numpy()).max() / np.abs(V.numpy()).max()
        for w, v in zip(rational, floats, strict=True)
        for W, V in zip(w, v, strict=True)
    ]
    digits = max(len(str(number.denominator)) for W in rational[-1] for number in W.reshape(-1))
    print(f"largest relative difference {max(gaps):.1e}; a denominator has {digits} digits")
    assert max(gaps) < 8e-13 and digits > 100
