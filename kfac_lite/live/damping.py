"""Chapter 3.2's figure: K-FAC damped by the identity matrix, and by a metric carried along (paper: Remark 3.12).

The hero's network and data in a basis of the reader's. Both kinds of damping are `updates.kfac_damped`: a dense solve
of each layer's block, of 6 and of 3 unknowns.
"""

from typing import Any

import torch
from torch import Tensor

from ..coordinates import mlp, updates
from . import hero
from .asking import Predict
from .controls import Frame, Slider
from .figure import LiveFigure
from .graph import Call, Run, change
from .views import Axes, Drag, Line, Panel, Points, Words

__all__ = ["FUNCTIONS", "figure"]

F64 = torch.float64
STEPS = 50
RATE = 0.1
Basis = dict[str, Tensor]


def data() -> dict[str, Any]:
    toy = hero.data()
    return {name: toy[name] for name in ("X", "Y", "w", "nudged", "hidden", "iota")}


def skew(kappa: Tensor, w: list[Tensor], iota: Basis) -> dict[str, Any]:
    """The reader's basis, and the weights that compute the same function in it (eq. 3.3)."""
    Omega, gamma = change(kappa)
    basis = {"Omega": Omega, "gamma": gamma}
    return {"basis": basis, "there": mlp.twin(hero.network(basis), w, iota["Omega"], iota["gamma"])}


def carried(basis: Basis) -> list[tuple[Tensor, Tensor]]:
    """The identity matrices of home, in the arrays of this basis: the activations' carry [Omega]_H along (eq. 3.3)."""
    one, three = torch.eye(1, dtype=F64), torch.eye(3, dtype=F64)
    H = mlp.homogeneous(basis["Omega"], basis["gamma"])
    return [(three, torch.eye(2, dtype=F64)), (H @ H.mT, one)]


def step(w: list[Tensor], basis: Basis, X: Tensor, Y: Tensor, damping: Tensor) -> list[Tensor]:
    """Damped by the identity matrices of this basis, whichever it is."""
    net = hero.network(basis)
    D, factors = mlp.gradient(net, w, X, Y), mlp.factors(net, w, X)
    return updates.kfac_damped(w, D, factors, RATE, damping)


def step_carried(w: list[Tensor], basis: Basis, X: Tensor, Y: Tensor, damping: Tensor) -> list[Tensor]:
    """Damped by one metric, read in this basis."""
    net = hero.network(basis)
    D, factors = mlp.gradient(net, w, X, Y), mlp.factors(net, w, X)
    return updates.kfac_damped(w, D, factors, RATE, damping, metric=carried(basis))


def outputs(w: list[Tensor], basis: Basis, X: Tensor) -> Tensor:
    return hero.outputs(w, basis, X)


def gaps(f_home: Tensor, f_identity: Tensor, f_carried: Tensor, f_nudged: Tensor) -> dict[str, Tensor]:
    """At home the two dampings are one, so there is one run to compare with."""
    lines = {
        "identity": hero.gap(f_identity, f_home),
        "carried": hero.gap(f_carried, f_home),
        "control": hero.gap(f_nudged, f_home),
    }
    return lines | {f"{name}_end": line[-1] for name, line in lines.items()}


FUNCTIONS = (
    data,
    skew,
    Run("home", step, "w", STEPS, basis="iota"),
    Run("with_identity", step, "there", STEPS),
    Run("with_carried", step_carried, "there", STEPS),
    Run("moved", step, "nudged", STEPS, basis="iota"),
    Call("f_home", outputs, w="home", basis="iota"),
    Call("f_identity", outputs, w="with_identity"),
    Call("f_carried", outputs, w="with_carried"),
    Call("f_nudged", outputs, w="moved", basis="iota"),
    gaps,
)


def growing() -> Tensor:
    """A guess: from rounding to one, by the same factor at every step."""
    return 10.0 ** torch.linspace(-15, 0, STEPS + 1, dtype=F64)


def dial(**options: Any) -> Panel:
    """The basis of the hidden activations, to be dragged."""
    return Panel(
        Points("hidden", size=3),
        Axes("kappa"),
        Drag("kappa"),
        title="basis of A₁",
        colour="ink",
        x=(-2, 2),
        y=(-2, 2),
        label="The basis of the hidden activations: two arrows and an origin",
        **options,
    )


def figure() -> LiveFigure:
    """The figure, in a skewed basis, with a little damping."""
    strip = Panel(
        Line("control", role="band", colour="soft", skip=1),
        Line("identity", role="line", colour="K-FAC", skip=1),
        Line("carried", role="plain", skip=1),
        title="gap of K-FAC, damped",
        colour="K-FAC",
        x=(0, STEPS),
        scale="gap",
        xlabel="step",
        ratio=0.55,
        span=2,
        label="The gap to the run at home, for damping by the identity and by a metric carried along",
    )
    flat = torch.ones(STEPS + 1, dtype=F64)
    asked = Predict(
        "identity",
        "K-FAC in two bases. Each run is damped: 10⁻⁶ times the identity matrix of its own basis is added."
        " **Draw their gap** at every step.",
        label="gap of K-FAC, damped by 10⁻⁶",
        y=(1e-18, 100),
        scale="gap",
        points=11,
        starts={"only rounding": 1e-15 * flat, "about λ": 1e-6 * flat, "more with every step": growing()},
        xlabel="step",
        colour="K-FAC",
        ratio=0.35,
        span=3,
    )
    words = Words(
        "λ = {damping:.2g}. Damped by λ times the identity, the twins end **{identity_end:gap}** apart; by λ times a"
        " metric carried along, **{carried_end:gap}** (black line; control, grey band: {control_end:gap}). Try"
        " [almost none], [a little], [much], and [home] again.",
    )
    return LiveFigure(
        *FUNCTIONS,
        controls=[
            Slider("damping", 1e-16, 1.0, value=1e-6, log=True, label="damping λ", digits=1),
            Frame("kappa", value=[[0.7, 0.5, -0.3], [-0.1, 1.4, 0.2]], label="κ"),
        ],
        views=[[asked], [dial(order=4), strip], [words]],
        presets={
            "almost none": {"damping": 1e-14},
            "a little": {"damping": 1e-6},
            "much": {"damping": 1e-1},
            "home": {"kappa": hero.HOME},
        },
        spoken="Gap with the identity {identity_end:gap}, with a metric carried along {carried_end:gap}",
        name="damping",
        alt="A dial with a basis of the hidden activations, and the gap of damped K-FAC at every step: the blue line"
        " rises with the damping by the identity matrix, the black line of a metric carried along stays in the grey"
        " band of the control.",
    )
