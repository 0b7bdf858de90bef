"""Targets from the model's own distribution: the derivatives of -log p(y | eta) that make the Fisher metric (2.1.1).

`eta` (n, ..., d) holds the natural parameters that the model returns, an example per entry of the first axis. An
example with several places (tokens, pixels) is the product of its places.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["LIKELIHOODS", "enumerated", "pairs", "sampled"]

LIKELIHOODS = ("categorical", "bernoulli", "gaussian")


def pairs(likelihood: Any, output: Any) -> list[tuple[Tensor, str]]:
    """The tensors of natural parameters that the model returned, each with the name of its likelihood."""
    if isinstance(likelihood, dict):
        if not isinstance(output, dict):
            raise ValueError(
                f"likelihood is a dict, and the model returned {type(output).__name__}. Write one name, such as "
                'likelihood="categorical", or return a dict with the same keys.'
            )
        found = [(output[key], name) for key, name in likelihood.items() if key in output]
    elif isinstance(output, dict | tuple | list):
        keys = list(output) if isinstance(output, dict) else "a tuple, whose parts have no names"
        raise ValueError(
            f"the model returned {keys}, and likelihood={likelihood!r} names one distribution. Say which output has "
            'which: return a dict, and write likelihood={"name of the output": "categorical", ...}.'
        )
    else:
        found = [(output, likelihood)]
    for eta, name in found:
        check(eta, name)
    return [(eta, name) for eta, name in found if eta.requires_grad]


def check(eta: Any, name: str) -> None:
    if not isinstance(eta, Tensor):
        raise ValueError(f"likelihood={name!r} wants a tensor of natural parameters, not {type(eta).__name__}")
    if eta.dim() == 0:
        raise ValueError(
            "the model returned a number. The Fisher metric needs the outputs that the loss is computed from (logits "
            "or predictions, an example per row): return them, and compute the loss outside of the model."
        )
    if name == "categorical" and (eta.dim() < 2 or eta.shape[-1] < 2):
        raise ValueError(
            f"likelihood='categorical' takes classes on the last axis, at least two, and the model returned "
            f"{tuple(eta.shape)}. For one logit a row write likelihood='bernoulli'; for a regression 'gaussian'. Where "
            "the classes stand on another axis, move it to the end before the model returns."
        )


def sampled(eta: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """One target a place, drawn from the model, as the derivative of its -log p: the shape of `eta`."""
    v = eta.detach().to(torch.promote_types(eta.dtype, torch.float32))
    if name == "gaussian":
        return torch.randn(v.shape, generator=generator, dtype=v.dtype, device=v.device).to(eta.dtype)
    if name == "bernoulli":
        p = torch.sigmoid(v)
        y = torch.rand(v.shape, generator=generator, dtype=v.dtype, device=v.device) < p
        return (p - y.to(p.dtype)).to(eta.dtype)
    p = torch.softmax(v, -1)
    total = p.cumsum(-1)
    u = torch.rand((*v.shape[:-1], 1), generator=generator, dtype=v.dtype, device=v.device) * total[..., -1:]
    y = (total <= u).sum(-1, keepdim=True).clamp_(max=v.shape[-1] - 1)
    return p.scatter_add_(-1, y, p.new_full((), -1).expand(y.shape)).to(eta.dtype)


def enumerated(eta: Tensor, name: str) -> Iterator[Tensor]:
    """Derivatives D_c with sum_c D_c D_c^T = E[D D^T], y from the model, for every example: one a place and output."""
    v = eta.detach().to(torch.promote_types(eta.dtype, torch.float32))
    d = v.shape[-1] if v.dim() > 1 else 1
    v = v.reshape(len(v), -1, d)
    for place in range(v.shape[1]):
        here = v[:, place]
        for c in range(d):
            D = torch.zeros_like(v)
            if name == "categorical":
                p = torch.softmax(here, -1)
                D[:, place] = p
                D[:, place, c] -= 1
                D[:, place] *= p[:, c : c + 1].sqrt()
            elif name == "bernoulli":
                D[:, place, c] = (torch.sigmoid(here[:, c]) * torch.sigmoid(-here[:, c])).sqrt()
            else:
                D[:, place, c] = 1
            yield D.reshape(eta.shape).to(eta.dtype)
