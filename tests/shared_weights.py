"""What the tests of section 4 and of section 5 share: truth by autograd, and sums written out over data and places."""

import math
from itertools import product
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

import kfac_lite as k
from kfac_lite.coordinates import updates

LIKELIHOODS = {"gaussian": k.Gaussian, "bernoulli": k.Bernoulli, "categorical": k.Categorical}
BOUND = 1e-12


def close(left: Tensor, right: Tensor, bound: float = BOUND) -> None:
    """Equal relative to the larger side."""
    assert left.shape == right.shape
    size = max(float(left.norm()), float(right.norm()), 1e-300)
    assert float((left - right).norm()) <= bound * size, f"{float((left - right).norm() / size):.1e} > {bound:.0e}"


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def problem(net: Any, likelihood: str = "categorical", n: int = 12, seed: int = 0, condition: float = 5.0) -> Any:
    """An objective at random weights, and its arrays in a skewed basis kappa."""
    generator = torch.Generator().manual_seed(seed)
    home, d = net.home, net.home.outputs.space.dimension
    omega = home.weights.point([normal(generator, *b.shape) / b.shape[1] ** 0.5 for b in home.weights.factors])
    batch = (n, *net.answers)
    classes = torch.arange(math.prod(batch)).reshape(batch) % (d + 1)
    targets = {
        "gaussian": lambda: home.outputs.point(normal(generator, *batch, d)),
        "bernoulli": lambda: (normal(generator, *batch, d) > 0).double(),
        "categorical": lambda: torch.nn.functional.one_hot(classes, d + 1).double(),
    }[likelihood]()
    x = home.inputs.point(normal(generator, n, *net.grid, home.inputs.space.dimension))
    h = k.Objective(net, LIKELIHOODS[likelihood](home.outputs), x, targets)
    kappa = k.skewed(net, condition, seed + 1)
    arrays, x, y = h.in_basis(kappa)
    w = list(kappa.weights[omega])
    return SimpleNamespace(net=net, h=h, omega=omega, kappa=kappa, arrays=(arrays, w, x), y=y, likelihood=likelihood)


def log_probability(name: str, eta: Tensor, y: Tensor) -> Tensor:
    """From torch.distributions, which shares no line with the package."""
    if name == "gaussian":
        return torch.distributions.Normal(eta, 1.0).log_prob(y).sum(-1)
    if name == "bernoulli":
        return torch.distributions.Bernoulli(logits=eta).log_prob(y).sum(-1)
    logits = torch.cat([eta, torch.zeros_like(eta[..., :1])], -1)
    return torch.distributions.Categorical(logits=logits).log_prob(y.argmax(-1))


def every_target(name: str, eta: Tensor) -> list[tuple[Any, Tensor]]:
    """Targets with their probabilities under the model; for a Gaussian, points that have its second moments."""
    d = eta.shape[-1]
    if name == "gaussian":
        steps = d**0.5 * torch.eye(d, dtype=torch.float64)
        return [(1 / (2 * d), eta.detach() + s * e) for e in steps for s in (1, -1)]
    if name == "bernoulli":
        cases = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * d).reshape(-1, d)
    else:
        cases = torch.eye(d + 1, dtype=torch.float64)
    return [(log_probability(name, eta, y).exp().detach(), y) for y in cases]


def every_sequence(name: str, eta: Tensor) -> list[tuple[Any, Tensor]]:
    """The same for T independent targets, eta (T, d): all T-tuples; for a Gaussian one time moves after the other."""
    T = len(eta)
    if name == "gaussian":
        far = [(w / T, T**0.5 * (y - eta[0].detach())) for w, y in every_target(name, eta[0])]
        places = torch.eye(T, dtype=torch.float64)[..., None]
        return [(w, eta.detach() + place * step) for place in places for w, step in far]
    cases = [every_target(name, row) for row in eta]
    return [(math.prod(w for w, _ in case), torch.stack([y for _, y in case])) for case in product(*cases)]


def sums(name: str, eta: Tensor, zetas: list[Tensor], applied: list[Tensor], where: list[int]) -> Any:
    """The factors and the Fisher matrix by their words: loops over data, targets and places, nothing else.

    eta (n, d) has a graph back to every layer's zetas (n, T, m). Map i was applied to applied[i], homogeneous, of shape
    (n, T, k), and gave (or added to) zetas[where[i]].
    """
    n = len(eta)
    A: list[Any] = [0] * len(applied)
    G: list[Any] = [0] * len(applied)
    F: Any = 0
    for datum in range(n):
        for i, abar in enumerate(applied):
            for t in range(abar.shape[1]):
                A[i] = A[i] + torch.outer(abar[datum, t], abar[datum, t]) / (n * abar.shape[1])
        for weight, y in every_target(name, eta[datum]):
            L = -log_probability(name, eta[datum], y)
            Dz = torch.autograd.grad(L, zetas, retain_graph=True)
            score = []
            for i, abar in enumerate(applied):
                D, T = Dz[where[i]][datum], abar.shape[1]
                for t in range(T):
                    G[i] = G[i] + weight * torch.outer(D[t], D[t]) / (n * T)
                score.append(sum(torch.kron(abar[datum, t], D[t]) for t in range(T)))
            F = F + weight * torch.outer(torch.cat(score), torch.cat(score)) / n
    return SimpleNamespace(A=[a.detach() for a in A], G=G, F=F.detach(), T=[abar.shape[1] for abar in applied])


def flat(w: Any) -> Tensor:
    return torch.cat([updates.vec(W) for W in w])


def unflat(v: Tensor, like: Any) -> list[Tensor]:
    return [updates.unvec(part, W.shape) for part, W in zip(v.split([W.numel() for W in like]), like, strict=True)]


def each_place(use: Any, local: Any, basis: Any, z: Any) -> list[Tensor]:
    """E[(Psi_xi,t)^* g], the expected pullback of one place or time, for each of them, in a basis of W_l."""
    numbers = basis.source[use.alpha]
    a = torch.cat(numbers, -1) if isinstance(numbers, tuple) else numbers
    n, N = len(a), basis.space.dimension
    abar = torch.cat([a, torch.ones_like(a[..., :1])], -1).reshape(n, -1, a.shape[-1] + 1)  # (n, |T|, k)
    G = z[local].reshape(n, -1, *z[local].shape[-2:])  # (n, |T|, m, m)
    return [
        torch.einsum("na,nb,nij->aibj", abar[:, t], abar[:, t], G[:, t]).reshape(N, N) / n for t in range(G.shape[1])
    ]


def definite(M: Tensor, threshold: float = 1e-9) -> bool:
    scale = M.diagonal().clamp(min=1e-300).sqrt()
    eigenvalues = torch.linalg.eigvalsh(M / scale / scale[:, None])
    return bool(eigenvalues[0] > threshold * eigenvalues[-1])


# What a theorem of invariance consists of, for all networks of a kind ------------------------------------------------


def twins(problem: Any, kappa: Any) -> Any:
    """(net, w, x, y) in the basis of home and in kappa."""
    h, omega = problem
    result = []
    for basis in (h.net.home, kappa):
        net, x, y = h.in_basis(basis)
        result.append((net, list(basis.weights[omega]), x, y))
    return result


def assert_same_function(model: Any, problem: Any, kappa: Any) -> None:
    (net, w, x, y), (other, v, u, _) = twins(problem, kappa)
    Omega, gamma = problem.h.net.home.outputs.to(kappa.outputs)
    close(model.forward(other, v, u)[0], model.forward(net, w, x)[0] @ Omega.mT + gamma, 1e-11)
    assert abs(model.loss(net, w, x, y) - model.loss(other, v, u, y)) <= 1e-11 * (1 + model.loss(net, w, x, y))


def assert_congruence(model: Any, problem: Any, kappa: Any, bars: list[Tensor], Phis: list[Tensor]) -> None:
    """A = Omega-bar A Omega-bar^T and G = Phi^T G Phi; the gradient changes as a covector."""
    (net, w, x, y), (other, v, u, _) = twins(problem, kappa)
    mine, theirs = model.factors(net, w, x), model.factors(other, v, u)
    D, E = model.gradient(net, w, x, y), model.gradient(other, v, u, y)
    for (A, G), (A2, G2), DW, EW, bar, Phi in zip(mine, theirs, D, E, bars, Phis, strict=True):
        close(A2, bar @ A @ bar.mT)
        close(G2, Phi.mT @ G @ Phi)
        # E[Dz a-bar^T] may cancel, so the error is relative to what is summed
        size = (A.norm() * (1 + G.norm())) ** 0.5 * Phi.norm() * bar.norm() * A.shape[0]
        assert (EW - Phi.mT @ DW @ bar.mT).norm() <= BOUND * size * (1 + DW.norm())


def assert_step_solves(model: Any, problem: Any, kappa: Any, below: float = 1e14) -> bool:
    """Backward error of G S A = D; False where a factor is singular, which the theorem excludes."""
    for net, w, x, y in twins(problem, kappa):
        factors, D = model.factors(net, w, x), model.gradient(net, w, x, y)
        if not all(torch.linalg.cond(M) < below for pair in factors for M in pair):
            return False
        zeros = [torch.zeros_like(W) for W in w]
        for S, DW, (A, G) in zip(updates.kfac(zeros, D, factors, -1.0), D, factors, strict=True):
            assert (G @ S @ A - DW).norm() <= BOUND * G.norm() * S.norm() * A.norm()
    return True


def assert_typed_metric(model: Any, problem: Any, kappa: Any) -> None:
    """The matrix of the typed K-FAC metric in kappa is, layer by layer, the Kronecker product of kappa's factors."""
    h, omega = problem
    net, x, _ = h.in_basis(kappa)
    parts: Any = k.kfac(h, omega).parts  # type: ignore[attr-defined]
    factors = model.factors(net, list(kappa.weights[omega]), x)
    for part, basis, (A, G) in zip(parts, kappa.weights.factors, factors, strict=True):
        close(basis[part], torch.kron(A, G), 1e-11)
