"""z = W a-bar, a' = Omega phi(Phi z + tau) + gamma: a multilayer perceptron in arrays (paper: 2.1.3, 2.1.4).

A row per datum. `w` lists the homogeneous weights (W b) of the layers, each (m, n + 1). Every layer is written in
bases of its own (eq. 2.11); with Omega = Phi = 1 and gamma = tau = 0 it is the layer of eq. 2.7. The input's own
change of basis belongs to nobody here: `x` comes in the basis that the weights expect.

D is the paper's derivative of the loss, D v = d(-log p)/dv, and D v has the shape of v.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import inv, solve

from . import likelihoods
from .likelihoods import Likelihood

__all__ = [
    "Activation",
    "Layer",
    "Network",
    "as_module",
    "bar",
    "cubic",
    "factors",
    "fisher",
    "forward",
    "gradient",
    "homogeneous",
    "identity",
    "logistic",
    "loss",
    "outputs",
    "pullback_factors",
    "pullback_matrix",
    "scores",
    "sine",
    "softplus",
    "square",
    "tanh",
    "twin",
]


class Activation(NamedTuple):
    """A function of one number, and its derivative."""

    value: Callable
    slope: Callable


tanh = Activation(torch.tanh, lambda u: 1 - torch.tanh(u) ** 2)
logistic = Activation(torch.sigmoid, lambda u: torch.sigmoid(u) * torch.sigmoid(-u))
softplus = Activation(torch.nn.functional.softplus, torch.sigmoid)
sine = Activation(torch.sin, torch.cos)
square = Activation(lambda u: u**2, lambda u: 2 * u)
cubic = Activation(lambda u: u**3 + u, lambda u: 3 * u**2 + 1)
identity = Activation(lambda u: u, lambda u: 1)


class Layer(NamedTuple):
    """An activation function, and the bases that the layer is written in (eq. 2.11, 3.4).

    (Omega, gamma) leads from the home basis of the activations to this one, (m, m) and (m,); (Phi, tau) leads from
    this basis of the pre-activations to the home basis, (m, m) and (m,).
    """

    phi: Activation
    Omega: Tensor
    gamma: Tensor
    Phi: Tensor
    tau: Tensor


class Network(NamedTuple):
    """The layers, and the likelihood whose formula holds in the home basis of the outputs."""

    layers: tuple[Layer, ...]
    likelihood: Likelihood


# The network -----------------------------------------------------------------------------------------------------


def bar(a):
    """Homogeneous coordinates: a 1 beside every row, (..., n) to (..., n + 1)."""
    return torch.cat([a, torch.ones_like(a[..., :1])], -1)


def activate(layer, u):
    return layer.phi.value(u) @ layer.Omega.mT + layer.gamma


def activate_back(layer, u, Da):
    return (Da @ layer.Omega * layer.phi.slope(u)) @ layer.Phi


def forward(net, w, x):
    """The outputs a_L, (n, d), and for the way back every layer's (a-bar, u), where u = Phi z + tau (eq. 2.7, 2.11)."""
    a, seen = x, []
    for layer, W in zip(net.layers, w):
        u = bar(a) @ W.mT @ layer.Phi.mT + layer.tau
        seen.append((bar(a), u))
        a = activate(layer, u)
    return a, seen


def backward(net, w, seen, Da):
    """Dz_1, ..., Dz_L from Da_L. Leading axes, say one derivative per class, ride along."""
    Dz = []
    for layer, W, (_, u) in reversed(list(zip(net.layers, w, seen))):
        Dz.insert(0, activate_back(layer, u, Da))
        Da = Dz[0] @ W[:, :-1]
    return Dz


def outputs(net, a):
    """The natural parameters eta, which are a_L in the home basis, and d eta / d a_L: the loss is carried along."""
    d_eta = inv(net.layers[-1].Omega)
    return (a - net.layers[-1].gamma) @ d_eta.mT, d_eta


# What a step needs -----------------------------------------------------------------------------------------------


def loss(net, w, x, y):
    """The empirical risk h(w) of eq. 2.1, a number."""
    eta, _ = outputs(net, forward(net, w, x)[0])
    return net.likelihood.loss(eta, y) / len(x)


def gradient(net, w, x, y):
    """The gradient of h, D W-bar = E[Dz a-bar^T] for every layer, each (m, n + 1)."""
    a, seen = forward(net, w, x)
    eta, d_eta = outputs(net, a)
    Dz = backward(net, w, seen, net.likelihood.residual(eta, y) @ d_eta)
    return [D.mT @ abar / len(x) for D, (abar, _) in zip(Dz, seen)]


def fisher_covectors(net, w, x):
    """Weights (c, n, 1), and every layer's Dz (c, n, m) beside its a-bar (n, n + 1): y from the model, exactly."""
    a, seen = forward(net, w, x)
    weight, Da = net.likelihood.fisher(*outputs(net, a))
    return weight, [(D, abar) for D, (abar, _) in zip(backward(net, w, seen, Da), seen)]


def factors(net, w, x):
    """A = E[a-bar a-bar^T], (n + 1, n + 1), and G = E[Dz Dz^T], (m, m), of every layer (eq. 2.8)."""
    weight, layers = fisher_covectors(net, w, x)
    return [(abar.mT @ abar / len(x), ((weight * D).mT @ D).sum(0) / len(x)) for D, abar in layers]


def scores(net, w, x):
    """Weights (c, n, 1), and in rows (c, n, all parameters) the vec(D W-bar_1), ..., vec(D W-bar_L)."""
    weight, layers = fisher_covectors(net, w, x)
    return weight, vec_rows(layers)


def fisher(net, w, x):
    """The full Fisher matrix F(w) of eq. 2.2, with the parameters in the order of vec (2.1.3)."""
    weight, r = scores(net, w, x)
    return ((weight * r).mT @ r).sum(0) / len(x)


def vec_rows(layers):
    """vec(Dz a-bar^T) = a-bar (x) Dz for every layer, class and datum, side by side: (c, n, all parameters)."""
    return torch.cat([(abar[..., :, None] * D[..., None, :]).flatten(-2) for D, abar in layers], -1)


def output_covectors(net, w, x, metric):
    """The output metric's matrices g (n, d, d), and back-propagated unit columns of Y, each (d, n, m), with a-bar."""
    a, seen = forward(net, w, x)
    units = torch.ones_like(a)[None] * torch.ones_like(a[0]).diag()[:, None]  # (d, n, d)
    return metric(a), [(D, abar) for D, (abar, _) in zip(backward(net, w, seen, units), seen)]


def pullback_factors(net, w, x, metric):
    """A and G as in `factors`, for any metric on the outputs (eq. 3.8): G = E[J^T g J] with J = da_L / dz.

    `metric(a)` gives its matrices (n, d, d) at the outputs a, (n, d), in the basis that the outputs are in.
    """
    g, layers = output_covectors(net, w, x, metric)
    return [(abar.mT @ abar / len(x), (J.mT @ g @ J).sum(0) / len(x)) for D, abar in layers for J in [by_datum(D)]]


def pullback_matrix(net, w, x, metric):
    """The expected pullback E[J^T g J] on all the weights, J = da_L / dw (3.3): Gauss-Newton and its generalisation."""
    g, layers = output_covectors(net, w, x, metric)
    J = by_datum(vec_rows(layers))
    return (J.mT @ g @ J).sum(0) / len(x)


def by_datum(D):
    """(d, n, m) to (n, d, m)."""
    return D.flatten(1).mT.reshape(D.shape[1], D.shape[2], D.shape[0]).mT


# Changes of basis ------------------------------------------------------------------------------------------------


def homogeneous(Omega, gamma):
    """[Omega]_H, the matrix of a -> Omega a + gamma on homogeneous coordinates: (n + 1, n + 1)."""
    return torch.cat([torch.cat([Omega, gamma[:, None]], 1), bar(torch.zeros_like(Omega[:1]))])


def twin(net, w, Omega, gamma):
    """The weights for which `net`, fed Omega x + gamma, computes what w computes in the home bases (eq. 3.3)."""
    weights = []
    for layer, W in zip(net.layers, w):
        W = torch.cat([W[:, :-1], W[:, -1:] - layer.tau[:, None]], 1)
        weights.append(solve(layer.Phi, W) @ inv(homogeneous(Omega, gamma)))
        Omega, gamma = layer.Omega, layer.gamma
    return weights


# The same network as torch modules -------------------------------------------------------------------------------


class Act(torch.nn.Module):
    """a -> Omega phi(Phi z + tau) + gamma."""

    def __init__(self, layer):
        super().__init__()
        self.phi = layer.phi
        for name in ("Omega", "gamma", "Phi", "tau"):
            self.register_buffer(name, getattr(layer, name))

    def forward(self, z):
        return activate(self, z @ self.Phi.mT + self.tau)


class Logits(torch.nn.Module):
    """The outputs brought back to the home basis; for C - 1 free logits, the fixed logit 0 of the last class too."""

    def __init__(self, net):
        super().__init__()
        self.append_zero = net.likelihood.residual is likelihoods.categorical.residual
        self.register_buffer("d_eta", inv(net.layers[-1].Omega))
        self.register_buffer("gamma", net.layers[-1].gamma)

    def forward(self, a):
        eta = (a - self.gamma) @ self.d_eta.mT
        return likelihoods.with_zero(eta) if self.append_zero else eta


def as_module(net, w):
    """The ordinary `nn.Sequential` of this network, for comparison with other libraries.

    Linear layers with the weights `w`, after each its activation in the layer's bases; at the end the outputs in the
    home basis, for losses such as `nn.CrossEntropyLoss`.
    """
    modules = []
    for layer, W in zip(net.layers, w):
        linear = torch.nn.Linear(W.shape[1] - 1, W.shape[0], dtype=W.dtype)
        with torch.no_grad():
            linear.weight.copy_(W[:, :-1])
            linear.bias.copy_(W[:, -1])
        modules += [linear, Act(layer)]
    return torch.nn.Sequential(*modules, Logits(net))
