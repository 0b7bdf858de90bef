"""Theorem 2.1 on real digits with gap zero: nothing is rounded, so twins are compared by `==` (paper: 2.1.4, 3.5.2)."""

from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch

from kfac_lite.coordinates import mlp, updates
from kfac_lite.data import batches, digits
from kfac_lite.exact import residues

from .exact_twins import Bases, Problem, Twin, carried_metric, generator, home, neutral, normal, same, sizes_of, skewed

pytestmark = pytest.mark.no_gauge

STEPS, LR, DAMPING = 100, 0.05, 1e-3
SIZES = [47, 8, 9]


@cache
def problem() -> Problem:
    rng, data = generator(0), digits()
    W1, W2 = normal(rng, 8, 47) / 47**0.5, normal(rng, 9, 8) / 8**0.5
    b1 = -(W1 @ data.inputs.mean(0))
    w = [torch.cat([W1, b1[:, None]], 1), torch.cat([W2, torch.zeros_like(W2[:, :1])], 1)]
    return Problem([mlp.square, mlp.identity], w, data.inputs, data.targets[:, :9])


def whitening(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values, vectors = torch.linalg.eigh(torch.cov(a.mT, correction=0))
    Omega = vectors / values.sqrt() @ vectors.mT
    return Omega, -Omega @ a.mean(0)


@cache
def bases(name: str) -> Bases:
    if name == "logistic-like":  # what leads from tanh to the logistic function: halves on both sides and a shift
        half = torch.eye(8, dtype=torch.float64) / 2
        hidden = half, torch.full_like(half[0], 0.5), half, torch.zeros_like(half[0])
        return Bases(neutral(47), [hidden, (*neutral(9), *neutral(9))])
    if name == "whitened":
        p = problem()
        hidden = mlp.bar(p.x) @ p.w[0].mT
        return Bases(whitening(p.x), [(*whitening(hidden**2), *neutral(8)), (*neutral(9), *neutral(9))])
    return skewed(SIZES, float(name.split()[-1]), seed=1)


TWINS = ["logistic-like", "whitened", "condition 10", "condition 1000"]


@cache
def twin(name: str) -> Twin:
    return Twin(problem(), home(SIZES) if name == "home" else bases(name))


@cache
def held_out() -> Any:
    return residues(digits().held_out_inputs)


def stream() -> torch.Tensor:
    return batches(1000, 256, STEPS, seed=0)


def identity_metric() -> list:
    return [(residues(torch.eye(n + 1)), residues(torch.eye(m))) for n, m in pairwise(SIZES)]


@cache
def kfac_at_home() -> list:
    """The weights at the start and after each step, beside the held-out outputs."""
    t = twin("home")
    return [(w, t.outputs(w, held_out())) for w in t.run(updates.kfac, stream(), LR)]


@cache
def damped_at_home() -> list:
    t = twin("home")
    return list(t.run(updates.kfac_damped, stream()[:2], LR, damping=DAMPING))


def first_step(t: Twin, update: Any, **options: Any) -> list:
    return list(t.run(update, stream()[:1], LR, **options))[-1]


@pytest.mark.parametrize("name", TWINS)
def test_theorem_2_1_exactly_on_digits(name):
    t, steps = twin(name), kfac_at_home()
    x = t.enter(held_out())
    assert len(steps) == STEPS + 1
    for i, (w, (w_home, outputs)) in enumerate(zip(t.run(updates.kfac, stream(), LR), steps, strict=True)):
        assert torch.equal(t.outputs(w, x), outputs)
        if i % 10 == 0:
            assert same(w, t.carry(w_home))


def test_the_run_at_home_moves_at_every_step():
    outputs = [outputs for _, outputs in kfac_at_home()]
    assert not any(torch.equal(a, b) for a, b in pairwise(outputs))


@pytest.mark.parametrize("update", [updates.sgd, updates.kfac_separate_bias, updates.diagonal])
@pytest.mark.parametrize("name", TWINS)
def test_what_is_not_invariant_parts_at_the_first_step(name, update):
    at_home, t = twin("home"), twin(name)
    assert same(t.w, t.carry(at_home.w))
    outputs = at_home.outputs(first_step(at_home, update), at_home.x)
    assert not torch.equal(t.outputs(first_step(t, update), t.x), outputs)


@pytest.mark.parametrize("name", TWINS)
def test_remark_3_12_damping_by_the_identity_parts_at_the_first_step(name):
    t, w_home = twin(name), damped_at_home()[1]
    w = first_step(t, updates.kfac_damped, damping=DAMPING)
    assert not torch.equal(t.outputs(w, t.x), twin("home").outputs(w_home, twin("home").x))


@pytest.mark.parametrize("name", TWINS)
def test_remark_3_12_damping_by_a_carried_metric_stays_equal(name):
    t = twin(name)
    metric = carried_metric(identity_metric(), bases(name))
    run = t.run(updates.kfac_damped, stream()[:2], LR, damping=DAMPING, metric=metric)
    for w, w_home in zip(run, damped_at_home(), strict=True):
        assert same(w, t.carry(w_home))


def test_a_forgotten_input_shift_parts_before_the_first_step():
    t, (_, outputs) = twin("condition 10"), kfac_at_home()[0]
    assert torch.equal(t.outputs(t.w, t.enter(held_out())), outputs)
    assert not torch.equal(t.outputs(t.w, t.enter(held_out()) - t.inputs[1]), outputs)


@pytest.mark.parametrize("condition", [10, 1000])
def test_a_separate_bias_stays_equal_where_nothing_is_shifted(condition):
    at_home, t = twin("home"), Twin(problem(), skewed(SIZES, condition, seed=1, shift=0))
    runs = zip(*(v.run(updates.kfac_separate_bias, stream()[:10], LR) for v in (t, at_home)), strict=True)
    assert all(same(w, t.carry(w_home)) for w, w_home in runs)


def test_the_problem_is_the_recipe():
    p = problem()
    assert sizes_of(p.w) == SIZES and p.x.shape == (1000, 47) and held_out().shape == (797, 47)
    assert stream().shape == (STEPS, 256)
