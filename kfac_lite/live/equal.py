"""An exercise of chapter 3.2: find the basis in which SGD takes K-FAC's step, whatever the targets are (paper: 2.1.4).

The hero's network and data. In a basis of its hidden activations the last layer's step by K-FAC is D A^-1 G^-1 and by
SGD D, where A is the second moment of the homogeneous activations (eq. 2.8). G is a number here, so the two are one
direction for every D if and only if A is a multiple of the identity.
"""

import math

import torch
from torch import Tensor

from ..coordinates import mlp
from . import damping, hero
from .asking import Goal
from .controls import Frame
from .figure import LiveFigure
from .views import Line, Panel, Points, Words

__all__ = ["BOUND", "FUNCTIONS", "figure"]

BOUND = 10.0  # degrees
SKEWED = [[1.0, 0.4, -0.5], [0.2, 0.9, 0.6]]


def steps(there: list[Tensor], basis: dict[str, Tensor], X: Tensor, Y: Tensor) -> dict[str, Tensor]:
    """What a step of each changes at the 32 outputs, in units of its mean size, (32, 2); and how far SGD may be off.

    The angle between D and D A^-1 is largest, over all D, at sine (l - s) / (l + s) for the largest and the smallest
    eigenvalue of A: `worst`, in degrees. `now` is the angle for the targets of the data.
    """
    net = hero.network(basis)
    D, (A, _) = mlp.gradient(net, there, X, Y)[1], mlp.factors(net, there, X)[1]
    D_kfac = torch.linalg.solve(A, D.mT).mT
    abar = mlp.forward(net, there, X)[1][1][0]
    changes = [abar @ step[0] for step in (D_kfac, D)]
    pair = torch.stack([change / (change**2).mean().sqrt() for change in changes], 1)
    eigenvalues = torch.linalg.eigvalsh(A)
    small, large = eigenvalues.amin(), eigenvalues.amax()
    cosine = (D * D_kfac).sum() / ((D**2).sum() * (D_kfac**2).sum()).sqrt()
    degrees = 180 / math.pi
    return {
        "pair": pair,
        "worst": torch.asin((large - small) / (large + small)) * degrees,
        "now": torch.acos(torch.clamp(cosine, -1.0, 1.0)) * degrees,
    }


FUNCTIONS = (damping.data, damping.skew, steps)


def figure() -> LiveFigure:
    """The figure, in a basis that is far from the one that is sought."""
    outputs = Panel(
        Line(torch.tensor([[-3.0, -3.0], [3.0, 3.0]]), role="band"),
        Points("pair", colour="ink"),
        title="one step at 32 outputs",
        x=(-3, 3),
        y=(-3, 3),
        half=True,
        xlabel="K-FAC’s step",
        ylabel="SGD’s step",
        order=1,
        label="Each of the 32 outputs: its change by a step of SGD against its change by a step of K-FAC",
    )
    goal = Goal(
        "worst",
        BOUND,
        task="Drag the origin and the arrows until SGD’s step of the last layer is K-FAC’s, **whatever the targets**:"
        " until no targets could turn the two steps apart by more than ten degrees. [start again]",
        told="Now the origin is the mean of the activations, and the arrows are as long as they spread: A is the"
        " identity matrix, and the inverse that K-FAC multiplies by does nothing.",
        form=".0f",
        unit="°",
        label="the largest angle that targets could make",
        order=3,
    )
    return LiveFigure(
        *FUNCTIONS,
        controls=[Frame("kappa", value=SKEWED, label="κ")],
        views=[
            [damping.dial(half=True, order=2), outputs],
            [goal],
            [Words("For the targets of these data the angle is {now:.0f}°.", order=4)],
        ],
        presets={"start again": {"kappa": SKEWED}},
        spoken="The largest angle is {worst:.0f} degrees",
        name="equal",
        alt="A dial with the basis of the hidden activations, and the changes that one step of SGD and one of K-FAC"
        " make at 32 outputs: on the diagonal where the two steps are one.",
    )
