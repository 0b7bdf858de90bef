"""The first figure of the book: one network in two bases, trained by SGD and by K-FAC (paper: 1, 2.1.4, Theorem 3.6).

A 2-2-1 network with tanh units on 32 points of two classes. Its hidden layer is a plane, so a basis of it is two arrows
and an origin, and the reader drags them. In every basis the twin network computes the same function at the start;
what is drawn is what each optimizer makes of it. All functions are those of `kfac_lite.coordinates`.
"""

from typing import Any

import torch
from torch import Tensor

from ..coordinates import likelihoods, mlp, updates
from .controls import Frame, Scrubber, Toggle
from .figure import LiveFigure
from .graph import Best, Call, Run, change, grid, pick
from .views import Axes, Drag, Label, Level, Line, Panel, Points, Rule, Words

__all__ = ["FUNCTIONS", "HOME", "SEED", "data", "figure", "network"]

SEED = 24
STEPS = 100
RATES = {"SGD": 1.5, "K-FAC": 0.1}  # each trains well at home: the figure must not win by a bad rate
RANGE = 2.3  # of both inputs in the pictures
HOME = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
F64 = torch.float64


def points(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A band along the diagonal, class 1, between two groups of class 0; `count` is a multiple of 4."""
    half = count // 2
    along = 1.5 * (2 * torch.rand(count, generator=generator, dtype=F64) - 1)
    across = torch.cat([torch.zeros(half, dtype=F64), torch.full((half // 2,), 1.5, dtype=F64)])
    across = torch.cat([across, torch.full((half - half // 2,), -1.5, dtype=F64)])
    x = torch.stack([along - across, along + across], 1) / 2**0.5 + 0.4 * torch.randn(
        count, 2, generator=generator, dtype=F64
    )
    y = (torch.arange(count) < half).to(F64)[:, None]
    return x, y


def data(seed: int = SEED) -> dict[str, Any]:
    """What does not move: points to learn from and held out, the start, and the start again, moved by rounding."""
    generator = torch.Generator().manual_seed(seed)
    X, Y = points(32, generator)
    held, _ = points(24, generator)
    w = [
        0.8 * torch.randn(2, 3, generator=generator, dtype=F64),
        0.6 * torch.randn(1, 3, generator=generator, dtype=F64),
    ]
    nudged = [W * (1 + 1e-15 * torch.randn(W.shape, generator=generator, dtype=F64)) for W in w]
    one = torch.eye(2, dtype=F64)
    return {
        "X": X,
        "Y": Y,
        "held": held,
        "w": w,
        "nudged": nudged,
        "hidden": torch.tanh(mlp.bar(X) @ w[0].mT),
        "iota": {"Omega": one, "gamma": torch.zeros(2, dtype=F64)},
        "side": torch.linspace(-RANGE, RANGE, 41, dtype=F64),
    }


def network(basis: dict[str, Tensor]) -> mlp.Network:
    """2-2-1 with a logit: hidden activations in this basis, everything else at home."""
    zero, one = torch.zeros_like(basis["gamma"]), torch.ones_like(basis["gamma"]).diag()
    hidden = mlp.Layer(mlp.tanh, basis["Omega"], basis["gamma"], one, zero)
    output = mlp.Layer(mlp.identity, one[:1, :1], zero[:1], one[:1, :1], zero[:1])
    return mlp.Network((hidden, output), likelihoods.bernoulli)


def skew(kappa: Tensor, w: list[Tensor], iota: dict[str, Tensor]) -> dict[str, Any]:
    """The reader's basis, and the weights that compute the same function in it (eq. 3.3)."""
    Omega, gamma = change(kappa)
    basis = {"Omega": Omega, "gamma": gamma}
    start = mlp.twin(network(basis), w, iota["Omega"], iota["gamma"])
    return {"basis": basis, "start": start, "Omega": Omega, "gamma": gamma}


def sgd(w: list[Tensor], basis: dict[str, Tensor], X: Tensor, Y: Tensor) -> list[Tensor]:
    return updates.sgd(w, mlp.gradient(network(basis), w, X, Y), None, RATES["SGD"])


def kfac(w: list[Tensor], basis: dict[str, Tensor], X: Tensor, Y: Tensor) -> list[Tensor]:
    net = network(basis)
    return updates.kfac(w, mlp.gradient(net, w, X, Y), mlp.factors(net, w, X), RATES["K-FAC"])


def outputs(w: list[Tensor], basis: dict[str, Tensor], held: Tensor) -> Tensor:
    """The logits of the held-out points after every step, (steps + 1, 24)."""
    return torch.vmap(lambda w: mlp.forward(network(basis), w, held)[0][:, 0])(w)


def gap(there: Tensor, here: Tensor) -> Tensor:
    """How far the two runs' outputs are apart after every step, relative to how far training has moved them."""
    apart = ((there - here) ** 2).sum(-1).sqrt()
    moved = ((here - here[0]) ** 2).sum(-1).sqrt()
    return torch.where(moved > 0, apart / (moved + (moved == 0)), torch.zeros_like(apart))


def plane(side: Tensor) -> Tensor:
    """The points of the pictures, (41, 41, 2)."""
    return grid(side, side)


def field(w: list[Tensor], basis: dict[str, Tensor], t: Tensor, plane: Tensor) -> Tensor:
    """The logits over the plane of inputs at step t, a row a point."""
    return mlp.forward(network(basis), pick(w, t), plane.flatten(0, 1))[0]


def readings(
    f_sgd_iota: Tensor, f_sgd: Tensor, f_kfac_iota: Tensor, f_kfac: Tensor, f_nudged: Tensor, t: Tensor
) -> dict[str, Tensor]:
    """The gaps at every step and at step t, and how many times larger SGD's is."""
    gaps = {
        "gap_sgd": gap(f_sgd, f_sgd_iota),
        "gap_kfac": gap(f_kfac, f_kfac_iota),
        "control": gap(f_nudged, f_kfac_iota),
    }
    now = {f"{name}_now": pick(value, t) for name, value in gaps.items()}
    large, small = now["gap_sgd_now"], now["gap_kfac_now"]
    ratio = torch.where((large > 0) & (small > 0), large / (small + (small == 0)), torch.zeros_like(large))
    return gaps | now | {"ratio": ratio, "ratio_at": torch.stack([t, 1e-7 * torch.ones_like(t)])}


def fresh(best_sgd: Tensor) -> Tensor:
    """1 until the reader has moved anything."""
    return torch.where(best_sgd > 0, torch.zeros_like(best_sgd), torch.ones_like(best_sgd))


FUNCTIONS = (
    data,
    skew,
    Run("sgd_iota", sgd, "w", STEPS, basis="iota"),
    Run("sgd_kappa", sgd, "start", STEPS),
    Run("kfac_iota", kfac, "w", STEPS, basis="iota"),
    Run("kfac_kappa", kfac, "start", STEPS),
    Run("kfac_nudged", kfac, "nudged", STEPS, basis="iota"),
    Call("f_sgd_iota", outputs, w="sgd_iota", basis="iota"),
    Call("f_sgd", outputs, w="sgd_kappa"),
    Call("f_kfac_iota", outputs, w="kfac_iota", basis="iota"),
    Call("f_kfac", outputs, w="kfac_kappa"),
    Call("f_nudged", outputs, w="kfac_nudged", basis="iota"),
    readings,
    plane,
    Best("best_sgd", "gap_sgd"),
    Best("best_kfac", "gap_kfac"),
    fresh,
    Call("field_sgd_iota", field, w="sgd_iota", basis="iota"),
    Call("field_sgd", field, w="sgd_kappa"),
    Call("field_kfac_iota", field, w="kfac_iota", basis="iota"),
    Call("field_kfac", field, w="kfac_kappa"),
)


def boundaries(name: str, key: str, order: int) -> Panel:
    """Where the two networks are undecided, over the inputs."""
    marks = (
        Level(f"field_{key}_iota", colour=name, role="band", show="show_iota"),
        Points("X", hollow="Y"),
        Level(f"field_{key}", colour=name, role="line", show="show_kappa", lift="lift"),
    )
    return Panel(
        *marks,
        title=name,
        colour=name,
        x=(-RANGE, RANGE),
        y=(-RANGE, RANGE),
        readout=f"gap {{gap_{key}_now:gap}}",
        key=True,
        half=True,
        order=order,
        label=f"The decision boundaries of the two networks trained by {name}",
    )


def figure() -> LiveFigure:
    """The figure, at home; a page moves it once into the skewed basis that `ghost` names."""
    dial = Panel(
        Points("hidden", hollow="Y", size=3),
        Axes("kappa"),
        Drag("kappa"),
        title="Skew κ",
        note="the hidden layer’s axes",
        colour="ink",
        x=(-2, 2),
        y=(-2, 2),
        order=4,
        label="The basis κ of the hidden layer: two arrows and an origin",
    )
    strip = Panel(
        Line("control", role="band", colour="soft", skip=1),
        Rule(y="best_kfac", colour="K-FAC", show="best_kfac", dash=True),
        Line("gap_sgd", colour="SGD", skip=1, dot="t"),
        Line("gap_kfac", colour="K-FAC", skip=1, dot="t"),
        Label("control: ι again, its start moved by 10⁻¹⁵|control", at=(1, 2e-13), colour="soft"),
        Label("SGD", at=(STEPS, 40), anchor="end", show="fresh"),
        Label("SGD, best attack {best_sgd:gap}", at=(STEPS, 40), anchor="end", show="best_sgd"),
        Label("K-FAC", at=(STEPS, 2e-13), anchor="end", show="fresh"),
        Label("K-FAC, best attack {best_kfac:gap}", at=(STEPS, 2e-13), anchor="end", show="best_kfac"),
        Label("**{ratio:power} times**", at="ratio_at", anchor="auto", show="ratio"),
        x=(0, STEPS),
        scale="gap",
        scrub="t",
        ratio=0.4,
        span=2,
        order=3,
        ylabel="gap between ι’s outputs and κ’s, relative to how far training moved them|gap between ι and κ",
        label="The gap between the two networks at every step, on a logarithmic scale",
    )
    words = Words(
        "Each picture holds two runs on the same 32 points from the same start: one in the coordinates "
        "=ι (wide)=, one in _κ (thin)_. "
        "To see that there are two, [lift κ] off.\n"
        "Try [logistic units], or go back to [tanh].",
        order=5,
    )
    more = Words("Shown: [ι] [κ]. In κ the hidden units are Ω = {Omega:.2f}, γ = {gamma:.2f}.", more=True)
    return LiveFigure(
        *FUNCTIONS,
        controls=[
            Frame("kappa", label="κ"),
            Scrubber("t", STEPS, 75),
            Toggle("lift", "lift κ"),
            Toggle("show_iota", "ι", value=True),
            Toggle("show_kappa", "κ", value=True),
        ],
        views=[[dial, boundaries("SGD", "sgd", 1), boundaries("K-FAC", "kfac", 2)], [words, strip], [more]],
        name="hero",
        title="One network, two coordinate systems.",
        question="Skew one: does it still learn the same?",
        alt="Skew the hidden layer’s axes: SGD’s two runs part, K-FAC’s two runs stay one",
        presets={
            "tanh": {"kappa": HOME},
            "logistic units": {"kappa": [[2.0, 0.0, -1.0], [0.0, 2.0, -1.0]]},
        },
        spoken="Step {t:d}. Gap: SGD {gap_sgd_now:gap}, K-FAC {gap_kfac_now:gap}.",
        ghost={"kappa": [[0.62, 0.0, 0.0], [0.35, 1.0, 0.0]]},
    )
