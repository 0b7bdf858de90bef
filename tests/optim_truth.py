"""For the tests of the optimizer: factors as sums written out over data, targets and places, and dense solves.

Nothing here is shared with `kfac_lite.optim`: a patch is read off as the derivative of one output number by the weight.
"""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kfac_lite.coordinates.updates import unvec, vec

from .shared_weights import every_target, log_probability

__all__ = ["close", "dense_step", "logp", "model_of", "nll", "normal", "one_step", "sums_written_out"]


def close(left: Tensor, right: Tensor, bound: float = 1e-12) -> None:
    assert left.shape == right.shape
    size = max(float(left.norm()), float(right.norm()), 1e-300)
    assert float((left - right).norm()) <= bound * size, f"{float((left - right).norm() / size):.1e} > {bound:.0e}"


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model_of(*modules: nn.Module, seed: int = 0) -> nn.Sequential:
    """In float64, with weights that are the same at every call."""
    model = nn.Sequential(*modules).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / p[0].numel() ** 0.5)
    return model


def logp(likelihood: str, eta: Tensor, y: Tensor) -> Tensor:
    """Of one example's outputs, (d,); the categorical one with a logit for every class."""
    if likelihood == "categorical":
        return torch.distributions.Categorical(logits=eta).log_prob(y)
    return log_probability(likelihood, eta, y)


def nll(likelihood: str, eta: Tensor, y: Tensor) -> Tensor:
    """The mean over the examples."""
    return -logp(likelihood, eta, y).mean()


def targets(likelihood: str, eta: Tensor) -> list[tuple[Any, Tensor]]:
    """Every target of one example with its probability."""
    if likelihood != "categorical":
        return every_target(likelihood, eta)
    return [(p, torch.tensor(c)) for c, p in enumerate(torch.softmax(eta.detach(), -1))]


def sums_written_out(
    model: nn.Module, names: list[str], x: Tensor, likelihood: str
) -> dict[str, tuple[Tensor, Tensor]]:
    """|T| E_T[a-bar a-bar^T] and E_T[Dz Dz^T] (eq. 4.5, 5.3); linear layers may be used any number of times."""
    model = copy.deepcopy(model)
    seen: dict[str, list[Any]] = {name: [] for name in names}
    for name in names:
        hook = lambda module, inputs, z, name=name: seen[name].append((inputs[0], z))
        model.get_submodule(name).register_forward_hook(hook)
    eta = model(x)
    result: dict[str, tuple[Tensor, Tensor]] = {}
    n = len(x)
    for name in names:
        module: Any = model.get_submodule(name)
        linear = isinstance(module, nn.Linear)
        assert linear or len(seen[name]) == 1
        rows = partial(rows_of, module)
        zs = [z for _, z in seen[name]]
        T = sum(rows(z).shape[1] for z in zs)
        A: Any = 0
        G: Any = 0
        for datum in range(n):
            for a, z in seen[name]:
                for t in range(rows(z).shape[1]):
                    if linear:
                        abar = a.reshape(n, -1, a.shape[-1])[datum, t]
                        abar = abar if module.bias is None else torch.cat([abar, torch.ones_like(abar[:1])])
                    else:
                        abar = patch(rows(z)[datum, t, 0], module)
                    A = A + torch.outer(abar, abar) / (n * T)
            for weight, y in targets(likelihood, eta[datum]):
                L = -logp(likelihood, eta[datum], y)
                for z in torch.autograd.grad(L, zs, retain_graph=True):
                    for D in rows(z)[datum]:
                        G = G + weight * torch.outer(D, D) / (n * T)
        result[name] = (T * A.detach(), G.detach())
    return result


def rows_of(module: Any, z: Tensor) -> Tensor:
    """z, or its derivative, as (n, places, channels)."""
    z = z if isinstance(module, nn.Linear) else z.movedim(1, -1)
    return z.reshape(len(z), -1, module.weight.shape[0])


def patch(z: Tensor, module: Any) -> Tensor:
    """(a, 1) for one output number of a convolution's first channel: its derivative by the weight and the bias."""
    parameters = [module.weight] + ([] if module.bias is None else [module.bias])
    grads = torch.autograd.grad(z, parameters, retain_graph=True)
    return torch.cat([grads[0][0].flatten()] + [g[:1] for g in grads[1:]])


def dense_step(W: Tensor, D: Tensor, A: Tensor, G: Tensor, added: Tensor | float = 0.0) -> Tensor:
    """W - (A (x) G + added)^-1 vec(D), with vec stacking columns."""
    block = torch.kron(A, G) + added
    return W - unvec(torch.linalg.solve(block, vec(D)), W.shape)


def one_step(opt: torch.optim.Optimizer, model: nn.Module, x: Tensor, y: Tensor, likelihood: str) -> Tensor:
    opt.zero_grad()
    loss = nll(likelihood, model(x), y)
    loss.backward()
    opt.step()
    return loss.detach()
