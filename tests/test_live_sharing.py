"""Steps of convolutional and recurrent networks in the page, as a figure of chapters 4 and 5 compiles them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kfac_lite.coordinates import conv, likelihoods, mlp, recurrent, updates

from .live_page import gap
from .shared_weights import normal

pytestmark = pytest.mark.no_gauge


def neutral(n: int) -> tuple[Tensor, ...]:
    one, zero = torch.eye(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    return one, zero, one, zero


def skew(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(n, dtype=torch.float64) + 0.3 * normal(generator, n, n), 0.3 * normal(generator, n)


def stepper(model: Any, network: Any, update: Any) -> Any:
    def step(w: Any, basis: Any, x: Tensor, y: Tensor, lr: Tensor) -> Any:
        net = network(*basis)
        curvature = getattr(model, update.needs)(net, w, x) if update.needs else None
        return update(w, model.gradient(net, w, x, y), curvature, lr)

    return step


def images(Omega: Tensor, gamma: Tensor) -> conv.ConvNetwork:
    """5 x 4, two channels to two and a dense layer; border and first basis may change."""
    looks = (
        conv.Look(*conv.look((5, 4), (2, 3), (1, 2), (1, 1)), gamma, conv.pool((6, 2), (3, 2))),
        conv.Look(*conv.look((2, 1), (2, 1)), gamma, None),
    )
    one, zero, *_ = neutral(2)
    layers = (mlp.Layer(mlp.tanh, Omega, gamma, one, zero), mlp.Layer(mlp.identity, *neutral(1)))
    return conv.ConvNetwork(layers, looks, likelihoods.bernoulli)


def sequences(Omega: Tensor, gamma: Tensor) -> recurrent.RecurrentNetwork:
    one, zero, *_ = neutral(2)
    layers = (mlp.Layer(mlp.tanh, Omega, gamma, one, zero), mlp.Layer(mlp.identity, *neutral(1)))
    return recurrent.RecurrentNetwork(layers, gamma, likelihoods.bernoulli)


CASES: dict[str, Any] = {
    "images": (conv, images, [(2, 13), (1, 5)], (5, 4, 2)),
    "sequences, two maps": (recurrent, sequences, [(2, 3), (2, 3), (1, 3)], (4, 2)),
    "sequences, one map": (recurrent, sequences, [(2, 5), (1, 3)], (4, 2)),
}


@pytest.mark.parametrize("update", [updates.sgd, updates.kfac])
@pytest.mark.parametrize("case", CASES)
def test_a_step_computes_in_the_page_what_it_computes_in_torch(case, update):
    model, network, shapes, grid = CASES[case]
    generator = torch.Generator().manual_seed(11)
    w = [normal(generator, *shape) / shape[1] ** 0.5 for shape in shapes]
    x, y = normal(generator, 24, *grid), (normal(generator, 24, 1) > 0).double()
    basis = list(skew(2, 3))
    for pair in model.factors(network(*basis), w, x):
        assert all(float(torch.linalg.cond(M)) < 1e4 for M in pair)
    assert gap(stepper(model, network, update), w, basis, x, y, torch.tensor(0.1, dtype=torch.float64)) <= 1e-12


@pytest.mark.parametrize("case", ["images", "sequences, two maps"])
def test_the_rest_of_the_module_compiles_too(case):
    model, network, shapes, grid = CASES[case]
    generator = torch.Generator().manual_seed(12)
    w = [normal(generator, *shape) / shape[1] ** 0.5 for shape in shapes]
    x, y = normal(generator, 5, *grid), (normal(generator, 5, 1) > 0).double()
    inputs = list(skew(2, 4))

    def everything(w: Any, basis: Any, inputs: Any, x: Tensor, y: Tensor) -> Any:
        net = network(*basis)
        metric = lambda a: torch.ones_like(a)[:, :, None]
        return (
            model.loss(net, w, x, y),
            model.twin(net, w, *inputs),
            model.fisher(net, w, x),
            model.pullback_factors(net, w, x, metric),
            model.pullback_matrix(net, w, x, metric),
        )

    assert gap(everything, w, list(skew(2, 3)), inputs, x, y) <= 1e-12
