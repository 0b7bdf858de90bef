"""Chapter 3.1's figure: bases of the hidden pre-activations and activations under two dials (paper: eq. 3.2 to 3.4).

A 1-2-1 network, the electricity that a town draws at a temperature. The numbers of its weights follow the dials; the
function does not, unless the reader forgets to rewrite the biases.
"""

from typing import Any

import torch
from torch import Tensor

from ..coordinates import likelihoods, mlp
from .asking import Predict
from .controls import Frame, Toggle
from .figure import LiveFigure
from .graph import change
from .views import Axes, Drag, Line, Panel, Points, Words

__all__ = ["FUNCTIONS", "figure", "network"]

F64 = torch.float64
HOME = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def data() -> dict[str, Any]:
    """Temperatures in tens of degrees, the weights at home, and where some days stand in the two hidden planes."""
    x = torch.linspace(-1.5, 4, 56, dtype=F64)
    w = [torch.tensor([[0.9, -0.9], [0.8, -1.9]], dtype=F64), torch.tensor([[-2.0, 2.0, 4.5]], dtype=F64)]
    days = torch.linspace(-1.5, 4, 12, dtype=F64)[:, None]
    z = mlp.bar(days) @ w[0].mT
    home = (mlp.bar(torch.tanh(mlp.bar(x[:, None]) @ w[0].mT)) @ w[1].mT)[:, 0]
    return {"x": x, "w": w, "z": z, "a": torch.tanh(z), "f": home}


def network(Omega: Tensor, gamma: Tensor, Phi: Tensor, tau: Tensor) -> mlp.Network:
    """1-2-1, the hidden layer in these bases: (Omega, gamma) leads from home, (Phi, tau) leads home."""
    one, zero = torch.eye(1, dtype=F64), torch.zeros(1, dtype=F64)
    hidden = mlp.Layer(mlp.tanh, Omega, gamma, Phi, tau)
    return mlp.Network((hidden, mlp.Layer(mlp.identity, one, zero, one, zero)), likelihoods.gaussian)


def bases(zeta: Tensor, alpha: Tensor) -> dict[str, Tensor]:
    """The dials as changes of basis: a frame's arrows and origin are Phi and tau, and the inverse of (Omega, gamma)."""
    Omega, gamma = change(alpha)
    return {"Omega": Omega, "gamma": gamma, "Phi": zeta[:, :2], "tau": zeta[:, 2]}


def rewrite(w: list[Tensor], Omega: Tensor, gamma: Tensor, Phi: Tensor, tau: Tensor, forget: Tensor) -> dict[str, Any]:
    """Eq. 3.3, solved for the numbers with daggers; `forget` keeps the old biases."""
    net = network(Omega, gamma, Phi, tau)
    new = mlp.twin(net, w, torch.eye(1, dtype=F64), torch.zeros(1, dtype=F64))
    kept = [torch.cat([V[:, :-1], V[:, -1:] * (1 - forget) + W[:, -1:] * forget], 1) for V, W in zip(new, w)]
    return {"new": kept, "W1": kept[0][:, 0], "b1": kept[0][:, 1], "W2": kept[1][0, :2], "b2": kept[1][0, 2]}


def function(
    x: Tensor, new: list[Tensor], f: Tensor, Omega: Tensor, gamma: Tensor, Phi: Tensor, tau: Tensor
) -> dict[str, Tensor]:
    """What the rewritten network computes, and how far it is from the town's curve, in heights of that curve."""
    g = mlp.forward(network(Omega, gamma, Phi, tau), new, x[:, None])[0][:, 0]
    return {"g": g, "apart": (g - f).abs().amax() / (f.amax() - f.amin())}


FUNCTIONS = (data, bases, rewrite, function)


def dial(name: str, points: str, title: str, note: str, reach: float) -> Panel:
    return Panel(
        Points(points, size=3),
        Axes(name),
        Drag(name),
        title=title,
        note=note,
        colour="ink",
        x=(-reach, reach),
        y=(-reach, reach),
        half=True,
        order=3,
        label=f"{title}: two arrows and an origin",
    )


def figure() -> LiveFigure:
    """The figure, in bases that are skewed a little already."""
    curve = Panel(
        Line("f", x="x", role="band"),
        Line("g", x="x", role="line"),
        title="the function",
        x=(-1.5, 4),
        y=(0, 6),
        xlabel="temperature, 10 °C",
        ylabel="power, 10 MW",
        readout="apart {apart:gap}",
        label="Power against temperature: the town's curve as a band, the rewritten network as a line",
    )
    asked = Predict(
        "apart",
        "Both bases of the hidden layer are skewed, and all weights are rewritten by the equation above. **How far** is"
        " the new network’s function from the old one’s, as a share of that curve’s height?",
        label="apart",
        y=(1e-18, 100),
        scale="gap",
        span=3,
    )
    words = Words(
        "The weights follow the dials: W₁‡ **{W1:.2f}**, b₁‡ **{b1:.2f}**, W₂‡ **{W2:.2f}**, b₂‡ **{b2:.2f}**. The"
        " function stays. Try [home], [logistic units], and then [forget the biases].",
    )
    maps = Words("Φ is {Phi:.2f}, τ is {tau:.2f}, Ω is {Omega:.2f}, γ is {gamma:.2f}.", more=True)
    skewed = {"zeta": [[1.2, -0.4, 0.3], [0.3, 0.9, -0.2]], "alpha": [[0.8, 0.3, -0.4], [-0.2, 1.1, 0.2]]}
    return LiveFigure(
        *FUNCTIONS,
        controls=[
            Frame("zeta", value=skewed["zeta"], label="κ of the pre-activations"),
            Frame("alpha", value=skewed["alpha"], label="κ of the activations"),
            Toggle("forget", label="forget the biases"),
        ],
        views=[
            [asked],
            [
                dial("zeta", "z", "basis of Z₁", "Φ and τ", 4.2),
                dial("alpha", "a", "basis of A₁", "Ω and γ", 2.1),
                curve,
            ],
            [words],
            [maps],
        ],
        presets={
            "home": {"zeta": HOME, "alpha": HOME},
            "logistic units": {"zeta": [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]], "alpha": [[2, 0, -1], [0, 2, -1]]},
        },
        spoken="First weights {W1:.2f}; the functions are apart by {apart:gap}",
        name="renaming",
        alt="Two dials with the bases of a hidden layer, and the function of the network. The weights change with the"
        " dials; the function's line stays in its band.",
    )
