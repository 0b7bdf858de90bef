"""Which check catches which fault. Exact twins see what is not covariant; the rest is for autograd and dense matrices.

A fault that is the same fault in every basis (a slope twice too large, n - 1 for n) keeps twins equal: Theorem 2.1
holds for the wrong update as well. So equality of twins alone is no proof that the update is K-FAC's.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kfac_lite.coordinates import mlp, updates
from kfac_lite.exact import residues

from .exact_twins import Problem, Twin, carried_metric, generator, home, normal, skewed

pytestmark = pytest.mark.no_gauge

SIZES, DATA = [2, 2, 2], 12  # a first layer of 2 by 3, and enough data for the natural gradient


def problem() -> Problem:
    rng = generator(0)
    w = [normal(rng, 2, 3), normal(rng, 2, 3)]
    return Problem([mlp.cubic, mlp.identity], w, normal(rng, DATA, 2), normal(rng, DATA, 2))


# The three checks ----------------------------------------------------------------------------------------------------


def exact_twins_agree() -> bool:
    """Start and two steps, over the field, of every update that is invariant."""
    bases = skewed(SIZES, 10, seed=1)
    at_home, t = Twin(problem(), home(SIZES)), Twin(problem(), bases)
    metric = [(residues(torch.eye(3)), residues(torch.eye(2)))] * 2
    damped, carried = ({"damping": 0.1, "metric": m} for m in (metric, carried_metric(metric, bases)))
    runs = [
        (t.run(updates.kfac, 2), at_home.run(updates.kfac, 2)),
        (t.run(updates.kfac_damped, 2, **carried), at_home.run(updates.kfac_damped, 2, **damped)),
        (t.run(updates.natural_gradient_textbook, 2), at_home.run(updates.natural_gradient_textbook, 2)),
    ]
    return all(
        torch.equal(t.outputs(w, t.x), at_home.outputs(w_home, at_home.x))
        for run, run_home in runs
        for w, w_home in zip(run, run_home, strict=True)
    )


def by_definition(t: Twin, w: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The outputs of eq. 2.11 at home, every z and every homogeneous a, with nothing of `coordinates` but phi."""
    a, zs, bars = t.x, [], []
    for (phi, Omega, gamma, Phi, tau), W in zip(t.net.layers, w, strict=True):
        z = a @ W[:, :-1].mT + W[:, -1]
        bars.append(torch.cat([a, torch.ones(len(a), 1, dtype=torch.float64)], 1))
        zs.append(z)
        a = phi.value(z @ Phi.mT + tau) @ Omega.mT + gamma
    _, Omega, gamma, _, _ = t.net.layers[-1]
    return torch.linalg.solve(Omega, (a - gamma).mT).mT, zs, bars


def float_problem() -> tuple[Twin, list[Tensor]]:
    """In bases of its own, at weights that are drawn there, since `mlp.twin` may be at fault."""
    t = Twin(problem(), skewed(SIZES, 3, seed=2), torch.clone)
    return t, [W.requires_grad_() for W in problem().w]


def close(computed: list[Tensor], truth: list[Tensor]) -> bool:
    pairs = zip(computed, truth, strict=True)
    return all(a.shape == b.shape and bool((a - b).norm() <= 1e-9 * b.norm()) for a, b in pairs)


def gradient_is_autograd() -> bool:
    t, w = float_problem()
    eta, _, _ = by_definition(t, w)
    truth = torch.autograd.grad(((eta - t.y) ** 2).sum() / 2 / DATA, w)
    return close([D.detach() for D in mlp.gradient(t.net, w, t.x, t.y)], list(truth))


def curvature_and_steps_are_dense() -> bool:
    """Fisher and factors from Jacobians, a block entry by entry, and the steps from that block."""
    t, w = float_problem()
    eta, zs, bars = by_definition(t, w)
    Dz = [torch.autograd.grad(eta[:, k].sum(), zs, retain_graph=True) for k in range(2)]  # of class k, by layer (n, m)
    F: Any = 0
    A: list[Any] = [0, 0]  # by layer
    G: list[Any] = [0, 0]
    for n in range(DATA):
        for k in range(2):
            score = torch.cat([(Dz[k][i][n][None, :] * bars[i][n][:, None]).reshape(-1) for i in range(2)])
            F = F + torch.outer(score, score) / DATA
            G = [G[i] + torch.outer(Dz[k][i][n], Dz[k][i][n]) / DATA for i in range(2)]
        A = [A[i] + torch.outer(bars[i][n], bars[i][n]) / DATA for i in range(2)]
    factors = [block.detach() for pair in mlp.factors(t.net, w, t.x) for block in pair]
    right = close(factors, [A[0].detach(), G[0], A[1].detach(), G[1]])
    right = right and close([mlp.fisher(t.net, w, t.x).detach()], [F.detach()])

    W, D = problem().w[0], torch.ones(2, 3, dtype=torch.float64)  # (2, 3)
    A_1, G_1 = A[0].detach(), G[0]
    block = torch.einsum("jl,ik->ijkl", A_1, G_1).reshape(6, 6)  # of W's entries row by row
    damped = block + 0.1 * torch.eye(6, dtype=torch.float64)
    steps = [updates.kfac([W], [D], [(A_1, G_1)], 1.0)[0], updates.kfac_damped([W], [D], [(A_1, G_1)], 1.0, 0.1)[0]]
    truth = [W - torch.linalg.solve(B, D.reshape(6, 1)).reshape(2, 3) for B in (block, damped)]
    return right and close(steps, truth)


# The planted faults --------------------------------------------------------------------------------------------------

factors, fisher, gradient, kron, cubic = mlp.factors, mlp.fisher, mlp.gradient, torch.kron, mlp.cubic


def without_the_one(net, w, x):
    """The 1 of the homogeneous coordinates does not meet the others: A falls into two blocks, W's and b's."""
    return [
        (torch.cat([torch.cat([A[:-1, :-1], A[:-1, -1:] * 0], 1), torch.cat([A[-1:, :-1] * 0, A[-1:, -1:]], 1)]), G)
        for A, G in factors(net, w, x)
    ]


def empirical(net, w, x):
    """Covectors of given targets (here all 1) in the place of the model's own: a well-known mistake."""
    a, seen = mlp.forward(net, w, x)
    eta, d_eta = mlp.outputs(net, a)
    Dz = mlp.backward(net, w, seen, net.likelihood.residual(eta, eta * 0 + 1) @ d_eta)
    return [(bar.mT @ bar / len(x), D.mT @ D / len(x)) for D, (bar, _) in zip(Dz, seen, strict=True)]


@updates.needs("factors")
def without_G(w, D, factors, lr):
    return [W - lr * torch.linalg.solve(A, DW.mT).mT for W, DW, (A, _) in zip(w, D, factors, strict=True)]


@updates.needs("factors")
def twice(w, D, factors, lr, kfac=updates.kfac):
    return kfac(w, D, factors, 2 * lr)


TWINS, AUTOGRAD, DENSE = "exact twins", "autograd", "dense matrices"
Faults = dict[str, tuple[dict[tuple[object, str], Callable | object], set[str]]]

NOT_COVARIANT: Faults = {
    "Omega for its transpose, forward": (
        {(mlp, "activate"): lambda layer, u: layer.phi.value(u) @ layer.Omega + layer.gamma},
        {TWINS, AUTOGRAD, DENSE},
    ),
    "Omega for its transpose, backward": (
        {(mlp, "activate_back"): lambda layer, u, Da: (Da @ layer.Omega.mT * layer.phi.slope(u)) @ layer.Phi},
        {TWINS, AUTOGRAD, DENSE},
    ),
    "no Phi on the way back": (
        {(mlp, "activate_back"): lambda layer, u, Da: Da @ layer.Omega * layer.phi.slope(u)},
        {TWINS, AUTOGRAD, DENSE},
    ),
    "outputs not brought home": (
        {(mlp, "outputs"): lambda net, a: (a, torch.ones_like(a[0]).diag())},
        {TWINS, AUTOGRAD, DENSE},
    ),
    "gamma forgotten in the homogeneous change": (
        {(mlp, "homogeneous"): lambda Omega, gamma, right=mlp.homogeneous: right(Omega, gamma * 0)},
        {TWINS},
    ),
    "the homogeneous 1 dropped": ({(mlp, "factors"): without_the_one}, {TWINS, DENSE}),
    "G (x) A for A (x) G": ({(torch, "kron"): lambda A, G: kron(G, A)}, {TWINS, DENSE}),
    "rows stacked for columns": (
        {(updates, "vec"): lambda W: W.flatten(), (updates, "unvec"): lambda v, shape: v.reshape(*shape)},
        {TWINS, DENSE},
    ),
    "G forgotten": ({(updates, "kfac"): without_G}, {TWINS, DENSE}),
}
COVARIANT: Faults = {
    "a slope twice too large": (
        {(mlp, "cubic"): mlp.Activation(cubic.value, lambda u: 2 * cubic.slope(u))},
        {AUTOGRAD, DENSE},
    ),
    "n - 1 for n in the gradient": (
        {(mlp, "gradient"): lambda net, w, x, y: [D * len(x) / (len(x) - 1) for D in gradient(net, w, x, y)]},
        {AUTOGRAD},
    ),
    "n - 1 for n in a factor": (
        {(mlp, "factors"): lambda net, w, x: [(A * len(x) / (len(x) - 1), G) for A, G in factors(net, w, x)]},
        {DENSE},
    ),
    "n - 1 for n in the Fisher": (
        {(mlp, "fisher"): lambda net, w, x: fisher(net, w, x) * len(x) / (len(x) - 1)},
        {DENSE},
    ),
    "an empirical Fisher": ({(mlp, "factors"): empirical}, {DENSE}),
    "the step taken twice": ({(updates, "kfac"): twice}, {DENSE}),
}


def caught() -> set[str]:
    checks = {TWINS: exact_twins_agree, AUTOGRAD: gradient_is_autograd, DENSE: curvature_and_steps_are_dense}
    return {name for name, passes in checks.items() if not passes()}


def test_without_a_fault_nothing_is_caught():
    assert caught() == set()


@pytest.mark.parametrize("fault", [*NOT_COVARIANT, *COVARIANT])
def test_each_planted_fault_is_caught_by_the_checks_that_can_see_it(fault, monkeypatch):
    patches, expected = (NOT_COVARIANT | COVARIANT)[fault]
    for (module, name), replacement in patches.items():
        monkeypatch.setattr(module, name, replacement)
    assert caught() == expected


def test_exact_twins_catch_exactly_what_is_not_covariant():
    assert all(TWINS in expected for _, expected in NOT_COVARIANT.values())
    assert all(TWINS not in expected and expected for _, expected in COVARIANT.values())
