"""Chapter 1's figure: tanh's units turn into the logistic function's under a slider, and the trainings follow or not.

The network and its data are the hero's; here both spaces of the hidden layer change, z' = (1 + s) z and
a' = (1 - s/2) a + s/2, so that s = 0 is tanh and s = 1 the logistic function (eq. 3.4), and between lie other units.
"""

from typing import Any

import torch
from torch import Tensor

from ..coordinates import likelihoods, mlp, updates
from . import hero
from .asking import Predict
from .controls import Slider
from .figure import LiveFigure
from .graph import Call, Run
from .views import Line, Panel, Words

__all__ = ["FUNCTIONS", "figure", "network"]

F64 = torch.float64
STEPS = 100
Basis = dict[str, Tensor]


def data() -> dict[str, Any]:
    toy = hero.data()
    return {name: toy[name] for name in ("X", "Y", "w", "nudged")} | {"z": torch.linspace(-6, 6, 121, dtype=F64)}


def units(s: Tensor) -> dict[str, Basis]:
    """The hidden layer's bases, of activations and of pre-activations: tanh's own, and those of the slider."""
    one, zero = torch.eye(2, dtype=F64), torch.zeros(2, dtype=F64)
    return {
        "home": {"Omega": one, "gamma": zero, "Phi": one, "tau": zero},
        "basis": {"Omega": one * (1 - s / 2), "gamma": zero + s / 2, "Phi": one / (1 + s), "tau": zero},
    }


def network(basis: Basis) -> mlp.Network:
    """2-2-1 with a logit: the hidden layer in this basis, everything else at home."""
    one, zero = torch.eye(1, dtype=F64), torch.zeros(1, dtype=F64)
    hidden = mlp.Layer(mlp.tanh, basis["Omega"], basis["gamma"], basis["Phi"], basis["tau"])
    return mlp.Network((hidden, mlp.Layer(mlp.identity, one, zero, one, zero)), likelihoods.bernoulli)


def start(w: list[Tensor], basis: Basis) -> dict[str, Any]:
    """The same function in the units of the slider (eq. 3.3)."""
    return {"there": mlp.twin(network(basis), w, torch.eye(2, dtype=F64), torch.zeros(2, dtype=F64))}


def unit(z: Tensor, s: Tensor) -> dict[str, Tensor]:
    """The activation function as a program in these units calls it, and tanh."""
    return {"curve": (1 - s / 2) * torch.tanh(z / (1 + s)) + s / 2, "tanh": torch.tanh(z)}


def sgd(w: list[Tensor], basis: Basis, X: Tensor, Y: Tensor) -> list[Tensor]:
    return updates.sgd(w, mlp.gradient(network(basis), w, X, Y), None, hero.RATES["SGD"])


def kfac(w: list[Tensor], basis: Basis, X: Tensor, Y: Tensor) -> list[Tensor]:
    net = network(basis)
    return updates.kfac(w, mlp.gradient(net, w, X, Y), mlp.factors(net, w, X), hero.RATES["K-FAC"])


def seen(w: list[Tensor], basis: Basis, X: Tensor, Y: Tensor) -> dict[str, Tensor]:
    """The loss, and the logits, after every step."""
    net = network(basis)
    return {
        "loss": torch.vmap(lambda w: mlp.loss(net, w, X, Y))(w),
        "logits": torch.vmap(lambda w: mlp.forward(net, w, X)[0][:, 0])(w),
    }


RUNS = {"sgd_home": "home", "sgd_there": "basis", "kfac_home": "home", "kfac_there": "basis", "kfac_nudged": "home"}


def read(
    seen_sgd_home: Basis, seen_sgd_there: Basis, seen_kfac_home: Basis, seen_kfac_there: Basis, seen_kfac_nudged: Basis
) -> dict[str, Tensor]:
    """The losses by name, and the gaps after the last step."""
    losses = {
        "loss_sgd_home": seen_sgd_home["loss"],
        "loss_sgd": seen_sgd_there["loss"],
        "loss_kfac_home": seen_kfac_home["loss"],
        "loss_kfac": seen_kfac_there["loss"],
    }
    return losses | {
        "gap_sgd": hero.gap(seen_sgd_there["logits"], seen_sgd_home["logits"])[-1],
        "gap_kfac": hero.gap(seen_kfac_there["logits"], seen_kfac_home["logits"])[-1],
        "control": hero.gap(seen_kfac_nudged["logits"], seen_kfac_home["logits"])[-1],
    }


FUNCTIONS = (
    data,
    units,
    start,
    unit,
    Run("sgd_home", sgd, "w", STEPS, basis="home"),
    Run("sgd_there", sgd, "there", STEPS),
    Run("kfac_home", kfac, "w", STEPS, basis="home"),
    Run("kfac_there", kfac, "there", STEPS),
    Run("kfac_nudged", kfac, "nudged", STEPS, basis="home"),
    *(Call(f"seen_{run}", seen, w=run, basis=basis) for run, basis in RUNS.items()),
    read,
)


def losses(name: str, key: str) -> Panel:
    return Panel(
        Line(f"loss_{key}_home", colour=name, role="band"),
        Line(f"loss_{key}", colour=name, role="line"),
        title=name,
        colour=name,
        x=(0, STEPS),
        y=(0, 0.9),
        xlabel="step",
        ylabel="loss",
        half=True,
        readout=f"gap {{gap_{key}:gap}}",
        label=f"The training loss of {name} at every step, at home and in the units of the slider",
    )


def figure() -> LiveFigure:
    """The figure, at the logistic function's units."""
    curve = Panel(
        Line("tanh", x="z", role="band"),
        Line("curve", x="z", role="line"),
        title="the unit",
        x=(-6, 6),
        y=(-1.1, 1.1),
        xlabel="its input, as written",
        ylabel="its output, as written",
        label="The activation function in the units of the slider, beside tanh",
    )
    asked = Predict(
        "loss_sgd",
        "The pale band is SGD’s loss on a network of tanh units. **Draw SGD’s loss** on the same network, from the same"
        " start and at the same rate, written with logistic units.",
        label="loss of SGD, logistic units",
        y=(0, 0.9),
        given=[Line("loss_sgd_home", colour="SGD", role="band")],
        starts={"the same": "loss_sgd_home"},
        points=11,
        xlabel="step",
        colour="SGD",
        ratio=0.35,
        span=3,
    )
    words = Words(
        "Move the units from [tanh] to [logistic]. The network is the same all the way. After 100 steps its twins are"
        " apart by **{gap_sgd:gap}** under SGD, and by **{gap_kfac:gap}** under K-FAC, whose control, the start moved"
        " by rounding, has {control:gap}.",
    )
    return LiveFigure(
        *FUNCTIONS,
        controls=[Slider("s", 0, 1, value=1.0, label="units", digits=2)],
        views=[[asked], [curve, losses("SGD", "sgd"), losses("K-FAC", "kfac")], [words]],
        presets={"tanh": {"s": 0.0}, "logistic": {"s": 1.0}},
        spoken="Gap of SGD {gap_sgd:gap}, of K-FAC {gap_kfac:gap}",
        name="units",
        alt="A unit's curve between tanh and the logistic function, and the training losses of one network written in"
        " those units. SGD's line leaves its band as the units change; K-FAC's stays in it.",
    )
