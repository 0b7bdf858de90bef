"""z_t = W (a_{t+delta})_delta + b: a convolutional network in arrays (paper: 4.1.1, 4.2).

Images are (n, height, width, channels), and every place has the same basis: that of a channel's values. Inside, the
places stand in one row, (n, |T|, channels), and a layer sees them through constant tables of addresses, so that filters
of any shape, strides, borders and pooling are all one thing. Patches are offset-major: the channels of the first
offset, then those of the second, ... with one 1 at the end (eq. 4.3), which makes the change of basis of a patch
[[1 (x) Omega, 1 (x) gamma], [0, 1]]. `w` lists the homogeneous weights (W b), each (m, |Delta| J + 1).

A place outside the image holds a *point* of the activations, whose numbers change with the basis: `border`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.linalg import inv, solve

from . import sharing
from .likelihoods import Likelihood
from .mlp import Layer, activate, activate_back, bar, homogeneous, outputs

__all__ = [
    "ConvNetwork",
    "Look",
    "Pool",
    "expanded",
    "expanded_back",
    "factors",
    "fisher",
    "forward",
    "gradient",
    "grid",
    "look",
    "loss",
    "patch_change",
    "pool",
    "pullback_factors",
    "pullback_matrix",
    "scores",
    "twin",
]


class Pool(NamedTuple):
    """An average over windows: `members` (|T'|, |T|) holds a 1 for every place in a window, `counts` (|T'|, 1)."""

    members: Tensor
    counts: Tensor


class Look(NamedTuple):
    """How a layer looks at the layer before it: addresses, the point outside, and what is averaged behind it.

    places: (|T|, |Delta|), the place that every output place finds at every offset; the number of places for outside.
    back: (places of the input, |Delta|), the output place that finds this one at that offset; |T| for none.
    border: (J,), the numbers of the point outside, in the basis that the layer's input is in.
    """

    places: Tensor
    back: Tensor
    border: Tensor
    pool: Pool | None


class ConvNetwork(NamedTuple):
    """The layers with their bases, how each looks at the one before, and the likelihood of the one place at the end."""

    layers: tuple[Layer, ...]
    looks: tuple[Look, ...]
    likelihood: Likelihood


# Where a layer looks ---------------------------------------------------------------------------------------------


def pairs(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def grid(shape: Any, size: Any, stride: Any = 1, padding: Any = 0) -> tuple[int, int]:
    """How many places a filter of this size finds in an image of this shape: floor((H + 2 p - k) / s) + 1 each way."""
    H, W = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape, pairs(size), pairs(stride), pairs(padding)))
    return H, W


def look(shape: Any, size: Any, stride: Any = 1, padding: Any = 0) -> tuple[Tensor, Tensor]:
    """`places` and `back` of a `Look` for a filter that moves over an image of this shape."""
    (H, W), (k, l), (s, r), (p, q) = shape, pairs(size), pairs(stride), pairs(padding)
    rows, columns = grid(shape, size, stride, padding)
    outside, none = H * W, rows * columns
    places, back = [], [[none] * (k * l) for _ in range(outside)]
    for t in range(none):
        i, j = t // columns * s - p, t % columns * r - q
        found = []
        for delta in range(k * l):
            y, x = i + delta // l, j + delta % l
            inside = 0 <= y < H and 0 <= x < W
            found.append(y * W + x if inside else outside)
            if inside:
                back[y * W + x][delta] = t
        places.append(found)
    return torch.tensor(places), torch.tensor(back)


def pool(shape: Any, size: Any, stride: Any = None, padding: Any = 0) -> Pool:
    """Averages over windows, side by side where no stride is given; places outside the image are not counted."""
    places, _ = look(shape, size, size if stride is None else stride, padding)
    inside = shape[0] * shape[1]
    members = torch.zeros(len(places), inside + 1, dtype=torch.float64)
    members = members.scatter_(1, places, 1.0)[:, :inside]
    counts = members.sum(1, keepdim=True)
    return Pool(members, counts)


# The network -----------------------------------------------------------------------------------------------------


def expanded(a, look):
    """The homogeneous patches at all places (eq. 4.2, 4.3): (n, places, J) to (n, |T|, |Delta| J + 1)."""
    outside = torch.ones_like(a[:, :1]) * look.border
    patches = torch.cat([a, outside], 1)[:, look.places]  # (n, |T|, |Delta|, J)
    return bar(patches.reshape(*patches.shape[:2], patches.shape[2] * patches.shape[3]))


def expanded_back(D, look):
    """The transpose: every place collects what the patches hold of it. (..., |T|, |Delta| J) to (..., places, J)."""
    D = torch.cat([D, torch.zeros_like(D[..., :1, :])], -2)
    J = D.shape[-1] // look.back.shape[1]
    return sum(D[..., look.back[:, delta], delta * J : (delta + 1) * J] for delta in range(look.back.shape[1]))


def forward(net, w, x):
    """The outputs, (n, d), and for the way back every layer's (a-bar, u) at all its places (eq. 4.1, 4.3)."""
    a, seen = x.reshape(len(x), -1, x.shape[-1]), []
    for layer, look, W in zip(net.layers, net.looks, w):
        abar = expanded(a, look)
        u = abar @ W.mT @ layer.Phi.mT + layer.tau
        seen.append((abar, u))
        a = activate(layer, u)
        if look.pool:
            a = look.pool.members @ a / look.pool.counts
    return a[:, 0], seen


def backward(net, w, seen, Da):
    """Dz at all places of every layer, (..., |T|, m), from Da (..., n, d): all its covectors are sent back at once."""
    Dz = []
    Da = Da[..., None, :]
    for layer, look, W, (_, u) in reversed(list(zip(net.layers, net.looks, w, seen))):
        if look.pool:
            Da = look.pool.members.mT @ (Da / look.pool.counts)
        Dz.insert(0, activate_back(layer, u, Da))
        if len(Dz) < len(w):
            Da = expanded_back(Dz[0] @ W[:, :-1], look)
    return Dz


def sent_back(net, w, seen, Da):
    """(Dz, a-bar) of every layer."""
    return [(D, abar) for D, (abar, _) in zip(backward(net, w, seen, Da), seen)]


# What a step needs -----------------------------------------------------------------------------------------------


def loss(net, w, x, y):
    """The empirical risk h(w) of eq. 2.1, a number."""
    eta, _ = outputs(net, forward(net, w, x)[0])
    return net.likelihood.loss(eta, y) / len(x)


def gradient(net, w, x, y):
    """The gradient of h, E[sum_t Dz_t a-bar_t^T] for every layer, each (m, |Delta| J + 1)."""
    a, seen = forward(net, w, x)
    eta, d_eta = outputs(net, a)
    return sharing.gradient(sent_back(net, w, seen, net.likelihood.residual(eta, y) @ d_eta))


def fisher_covectors(net, w, x):
    a, seen = forward(net, w, x)
    weight, Da = net.likelihood.fisher(*outputs(net, a))
    return weight, sent_back(net, w, seen, Da)


def factors(net, w, x):
    """|T| E_T[a-bar a-bar^T] and E_T[Dz Dz^T] of every layer; T holds the layer's *output* places (eq. 4.5, 4.7)."""
    return sharing.kronecker_factors(*fisher_covectors(net, w, x))


def scores(net, w, x):
    """Weights (c, n, 1), and in rows (c, n, all parameters) the vec(D W-bar_1), ..., vec(D W-bar_L)."""
    weight, layers = fisher_covectors(net, w, x)
    return weight, sharing.score_rows(layers)


def fisher(net, w, x):
    """The full Fisher matrix F(w), with the parameters in the order of vec."""
    return sharing.fisher(*fisher_covectors(net, w, x))


def output_covectors(net, w, x, metric):
    a, seen = forward(net, w, x)
    return metric(a), sent_back(net, w, seen, sharing.units(a))


def pullback_factors(net, w, x, metric):
    """A and G as in `factors`, for any metric on the outputs (eq. 4.7); `metric(a)` as in `mlp.pullback_factors`."""
    return sharing.pullback_factors(*output_covectors(net, w, x, metric))


def pullback_matrix(net, w, x, metric):
    """The expected pullback E[J^T g J] on all the weights, J = da_L / dw (3.3)."""
    return sharing.matrix(*output_covectors(net, w, x, metric))


# Changes of basis ------------------------------------------------------------------------------------------------


def patch_change(Omega, gamma, offsets):
    """[[1 (x) Omega, 1 (x) gamma], [0, 1]], the change of a homogeneous patch of so many offsets.

    The paper writes 1 (x) [Omega]_H (below eq. 4.4), which fits patches with a 1 beside every offset; these have one.
    """
    one = torch.ones_like(Omega[0, :1].expand(offsets)).diag()
    return homogeneous(torch.kron(one, Omega), torch.cat([gamma] * offsets))


def twin(net, w, Omega, gamma):
    """The weights for which `net`, fed Omega x + gamma, computes what w computes in the home bases (eq. 3.3, 4.4)."""
    weights = []
    for layer, look, W in zip(net.layers, net.looks, w):
        W = torch.cat([W[:, :-1], W[:, -1:] - layer.tau[:, None]], 1)
        weights.append(solve(layer.Phi, W) @ inv(patch_change(Omega, gamma, look.places.shape[1])))
        Omega, gamma = layer.Omega, layer.gamma
    return weights
