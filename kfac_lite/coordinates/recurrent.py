"""z_t = W a-bar_{t-1} + V x-bar_t, a_t = phi(z_t): a recurrent network in arrays (paper: 5.1.1, 5.2).

One and the same W is applied T times, each time to what it made the time before. A last map U reads the outputs off
a_T, or off every a_t: then they are points of Y^T, (n, T, d), and so are the targets, and losses add up over the times.
Sequences are (n, T, channels). `w` lists the homogeneous weights in one of two ways:

- (W b), (V c), (U d): as the paper has them, V with a 1 of its own, for the inputs are points too;
- (W V b), (U d): one map of the pair (a_{t-1}, x_t).

a_0 is a *point* of the activations, whose numbers change with the basis: `start`.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import inv, solve

from . import sharing
from .likelihoods import Likelihood
from .mlp import Layer, activate, activate_back, bar, by_datum, homogeneous, outputs
from .updates import kfac, needs

__all__ = [
    "RecurrentNetwork",
    "factors",
    "fisher",
    "forward",
    "gradient",
    "kfac_bare_inputs",
    "loss",
    "pullback_factors",
    "pullback_matrix",
    "scores",
    "twin",
]


class RecurrentNetwork(NamedTuple):
    """The recurrent layer and the output layer with their bases, a_0 in the former's, (m,), and the likelihood.

    every: whether there are outputs at every time, or one after the last step.
    """

    layers: tuple[Layer, Layer]
    start: Tensor
    likelihood: Likelihood
    every: bool = False


# The network -----------------------------------------------------------------------------------------------------


def arrive(w, a, x):
    """What the maps of one step are applied to: [a-bar, x-bar], or [(a, x)-bar] where one map takes the pair."""
    return [bar(a), bar(x)] if len(w) == 3 else [bar(torch.cat([a, x], -1))]


def forward(net, w, x):
    """The outputs, (n, d) or (n, T, d), and for the way back every map's a-bar, (n, T, k) or (n, 1, k), and all u."""
    hidden, output = net.layers
    a = torch.ones_like(x[:, 0, :1]) * net.start
    steps, us, states = [], [], []
    for t in range(x.shape[1]):
        arrived = arrive(w, a, x[:, t])
        z = sum(abar @ W.mT for abar, W in zip(arrived, w))
        us.append(z @ hidden.Phi.mT + hidden.tau)
        steps.append(arrived)
        a = activate(hidden, us[-1])
        states.append(a)
    over_time = [together_in_time(series) for series in zip(*steps)]
    read = bar(together_in_time(states if net.every else states[-1:]))
    u = read @ w[-1].mT @ output.Phi.mT + output.tau
    outputs = activate(output, u)
    return (outputs if net.every else outputs[:, 0]), ([*over_time, read], us, u)


def together_in_time(series):
    """T arrays (..., n, m), one a time, as one (..., n, T, m)."""
    return torch.cat([v[..., None, :] for v in series], -2)


def backward(net, w, seen, Da):
    """Dz_1, ..., Dz_T of the recurrent layer, (..., n, T, m), and of the output layer, (..., n, T or 1, d).

    Da has the shape of the outputs, with leading axes that ride along.
    """
    (hidden, output), (_, us, u) = net.layers, seen
    ends = activate_back(output, u, Da if net.every else Da[..., None, :])
    into = ends @ w[-1][:, :-1]  # what comes to the states that are read
    Dz = [activate_back(hidden, us[-1], into[..., -1, :])]
    for t in reversed(range(len(us) - 1)):
        Da = Dz[0] @ w[0][:, : len(net.start)]
        Dz.insert(0, activate_back(hidden, us[t], Da + into[..., t, :] if net.every else Da))
    return together_in_time(Dz), ends


def sent_back(net, w, seen, Da):
    """(Dz, a-bar) of every map: those of one step share Dz."""
    Dz, ends = backward(net, w, seen, Da)
    *steps, read = seen[0]
    return [*((Dz, abar) for abar in steps), (ends, read)]


# What a step needs -----------------------------------------------------------------------------------------------


def loss(net, w, x, y):
    """The empirical risk h(w) of eq. 2.1, a number."""
    eta, _ = outputs(net, forward(net, w, x)[0])
    return net.likelihood.loss(eta, y) / len(x)


def gradient(net, w, x, y):
    """The gradient of h, E[sum_t Dz_t a-bar_{t-1}^T] for every map."""
    a, seen = forward(net, w, x)
    eta, d_eta = outputs(net, a)
    return sharing.gradient(sent_back(net, w, seen, net.likelihood.residual(eta, y) @ d_eta))


def fisher_covectors(net, w, x):
    a, seen = forward(net, w, x)
    eta, d_eta = outputs(net, a)
    if not net.every:
        weight, Da = net.likelihood.fisher(eta, d_eta)
        return weight, sent_back(net, w, seen, Da)
    n, T, _ = eta.shape
    weight, Da = net.likelihood.fisher(sharing.rows(eta), d_eta)  # (c, n T, 1), (c, n T, d): targets are independent,
    Da = sharing.one_at_a_time(Da.reshape(len(Da), n, T, Da.shape[-1]))  # so each time sends back its own
    weight = torch.cat([weight.reshape(len(weight), n, T)[..., t, None] for t in range(T)])
    return weight, sent_back(net, w, seen, Da)


def factors(net, w, x):
    """T E_T[a-bar a-bar^T] and E_T[Dz Dz^T] of every map (eq. 5.3); T = 1 for the map that reads a_T only."""
    return sharing.kronecker_factors(*fisher_covectors(net, w, x))


def scores(net, w, x):
    """Weights (c, n, 1), and in rows (c, n, all parameters) the vec(DW-bar) of every map; c T of them for Y^T."""
    weight, maps = fisher_covectors(net, w, x)
    return weight, sharing.score_rows(maps)


def fisher(net, w, x):
    """The full Fisher matrix F(w). Singular where W and V have a 1 each: b and c move the same thing."""
    return sharing.fisher(*fisher_covectors(net, w, x))


def output_covectors(net, w, x, metric):
    a, seen = forward(net, w, x)
    if not net.every:
        return metric(a), sent_back(net, w, seen, sharing.units(a))
    n, T, d = a.shape
    in_time = lambda v: sharing.one_at_a_time(v.reshape(d, n, T, d))
    g = in_time(metric(sharing.rows(a)).movedim(0, 1))  # (d, n T, d) to (T d, n, T, d): a block a time
    return by_datum(g.flatten(2)), sent_back(net, w, seen, in_time(sharing.units(sharing.rows(a))))


def pullback_factors(net, w, x, metric):
    """A and G as in `factors`, for any metric on the outputs (eq. 5.5); `metric(a)` as in `mlp.pullback_factors`.

    With outputs at every time the metric on Y^T is the sum of theirs: `metric` takes all of them in rows, (n T, d).
    """
    return sharing.pullback_factors(*output_covectors(net, w, x, metric))


def pullback_matrix(net, w, x, metric):
    """The expected pullback E[J^T g J] on all the weights, J = da_T / dw (3.3)."""
    return sharing.matrix(*output_covectors(net, w, x, metric))


@needs("factors")
def kfac_bare_inputs(w, D, factors, lr):
    """K-FAC with the paper's bare V, a linear map without a 1: c stays as it is. Not invariant to shifts of x."""
    (W, V, U), (DW, DV, DU), ((A, G), (X, H), (E, F)) = w, D, factors
    new = kfac([W, V[:, :-1], U], [DW, DV[:, :-1], DU], [(A, G), (X[:-1, :-1], H), (E, F)], lr)
    return [new[0], torch.cat([new[1], V[:, -1:]], 1), new[2]]


# Changes of basis ------------------------------------------------------------------------------------------------


def twin(net, w, Omega, gamma):
    """The weights for which `net`, fed Omega x + gamma, computes what w computes in the home bases (eq. 3.3, 5.2).

    V gives vectors, which have no shift tau to undo. (a_0 is carried along by whoever makes `net`.)
    """
    hidden, output = net.layers
    less = lambda W, tau: torch.cat([W[:, :-1], W[:, -1:] - tau[:, None]], 1)
    into = [(hidden.Omega, hidden.gamma), (Omega, gamma)]
    if len(w) == 3:
        step = [less(w[0], hidden.tau), w[1]]
    else:
        step, into = [less(w[0], hidden.tau)], [together(*into)]
    new = [solve(hidden.Phi, W) @ inv(homogeneous(*change)) for W, change in zip(step, into)]
    return [*new, solve(output.Phi, less(w[-1], output.tau)) @ inv(homogeneous(hidden.Omega, hidden.gamma))]


def together(first, second):
    """The change of basis of a pair, from those of its two parts."""
    (Omega, gamma), (Psi, delta) = first, second
    right, left = torch.zeros_like(Psi[:1]), torch.zeros_like(Omega[:1])
    top = torch.cat([Omega, torch.cat([right] * len(Omega))], 1)
    bottom = torch.cat([torch.cat([left] * len(Psi)), Psi], 1)
    return torch.cat([top, bottom]), torch.cat([gamma, delta])
