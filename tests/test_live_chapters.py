"""The live figures of chapters 1, 3.1 and 3.2: what they claim, in torch; and the page computes the same numbers."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kfac_lite.coordinates import mlp
from kfac_lite.live import damping, equal, hero, renaming, units

from .browsing import opened

pytestmark = pytest.mark.no_gauge

MODULES = {"units": units, "renaming": renaming, "damping": damping, "equal": equal}
SKEWED = [[0.7, 0.5, -0.3], [-0.1, 1.4, 0.2]]
TURNED = [[0.6, -0.8, 0.5], [0.8, 0.6, 0.9]]


@cache
def figure(name: str) -> Any:
    return MODULES[name].figure()


def values(name: str, **controls: Any) -> dict[str, Any]:
    for control, value in controls.items():
        setattr(figure(name), control, value)
    return figure(name).values()


# -- chapter 1: units


@pytest.mark.parametrize(("s", "function"), [(0.0, torch.tanh), (1.0, torch.sigmoid)])
def test_the_slider_leads_from_tanh_to_the_logistic_function(s: float, function: Any):
    found = values("units", s=s)
    assert (found["curve"] - function(found["z"])).abs().max() < 1e-15


@pytest.mark.parametrize("s", [0.2, 0.6, 1.0])
def test_sgd_parts_in_other_units_and_k_fac_does_not(s: float):
    found = values("units", s=s)
    assert found["loss_sgd"][0] == pytest.approx(
        float(found["loss_sgd_home"][0]), rel=1e-14
    )  # one function at the start
    assert found["gap_sgd"] > 0.1
    assert found["gap_kfac"] < 1e-12 and found["control"] < 1e-12


# -- chapter 3.1: renaming (eq. 3.3, 3.4)

FRAMES = [
    (renaming.HOME, renaming.HOME),
    (SKEWED, TURNED),
    ([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]], [[2.0, 0.0, -1.0], [0.0, 2.0, -1.0]]),
]


@pytest.mark.parametrize(("zeta", "alpha"), FRAMES)
def test_equation_3_3_gives_the_weights_and_the_function_stands_still(zeta: list, alpha: list):
    found = values("renaming", zeta=zeta, alpha=alpha, forget=False)
    Z, A = torch.tensor(zeta).double(), torch.tensor(alpha).double()
    (W1, W2), Phi, tau = found["w"], Z[:, :2], Z[:, 2]
    Omega, gamma = torch.linalg.inv(A[:, :2]), -torch.linalg.inv(A[:, :2]) @ A[:, 2]
    assert torch.allclose(found["Omega"], Omega) and torch.allclose(found["gamma"], gamma)
    assert torch.allclose(Phi @ found["W1"], W1[:, 0])  # W = Phi W-dagger Omega, with the inputs' Omega = 1
    assert torch.allclose(Phi @ found["b1"] + tau, W1[:, 1])
    assert torch.allclose(found["W2"] @ Omega, W2[0, :2])
    assert torch.allclose(found["W2"] @ gamma + found["b2"], W2[0, 2])
    assert found["apart"] < 1e-13


def test_a_forgotten_bias_moves_the_function_where_an_origin_moved_and_only_there():
    (home, _), (bent, turned), _ = FRAMES
    assert values("renaming", zeta=home, alpha=home, forget=True)["apart"] == 0
    assert values("renaming", zeta=bent, alpha=turned, forget=True)["apart"] > 0.1
    straight = [[*row[:2], 0.0] for row in turned]
    found = values("renaming", zeta=home, alpha=straight, forget=True)
    assert found["apart"] < 1e-13  # no origin moved


def test_logistic_units_are_the_logistic_function():
    zeta, alpha = FRAMES[2]
    found = values("renaming", zeta=zeta, alpha=alpha, forget=False)
    layer = renaming.network(*(found[name] for name in ("Omega", "gamma", "Phi", "tau"))).layers[0]
    z = torch.linspace(-4, 4, 18).double().reshape(9, 2)
    assert (mlp.activate(layer, z @ layer.Phi.mT + layer.tau) - torch.sigmoid(z)).abs().max() < 1e-15


# -- chapter 3.2: damping (Remark 3.12)


@pytest.mark.parametrize("kappa", [SKEWED, TURNED])
def test_remark_3_12_damping_by_the_identity_parts_the_twins_and_a_carried_metric_does_not(kappa: list):
    ends = []
    for size in (1e-16, 1e-12, 1e-8, 1e-4, 1e-1):
        found = values("damping", damping=size, kappa=kappa)
        ends.append(float(found["identity_end"]))
        assert found["carried_end"] < 1e-12 and found["control_end"] < 1e-12, size
    assert ends == sorted(ends)
    assert ends[0] < 1e-12 and ends[-1] > 1e-2
    assert ends[3] / ends[2] == pytest.approx(1e4, rel=0.2)  # to first order the gap is proportional to the damping


def test_at_home_the_two_dampings_are_one():
    found = values("damping", damping=1e-1, kappa=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert found["identity_end"] == 0 and found["carried_end"] < 1e-14


# -- chapter 3.2: the basis in which SGD equals K-FAC


def whitening(turn: float) -> list[list[float]]:
    """The mean of the hidden activations, and a square root of their covariance: any, up to a turn."""
    hidden = hero.data()["hidden"]
    root = torch.linalg.cholesky(torch.cov(hidden.T, correction=0))
    c, s = math.cos(turn), math.sin(turn)
    arrows = root @ torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return torch.cat([arrows, hidden.mean(0)[:, None]], 1).tolist()


@pytest.mark.parametrize("turn", [0.0, 0.7, -2.0])
def test_sgd_equals_k_fac_in_the_bases_that_whiten_and_in_no_others(turn: float):
    kappa = whitening(turn)
    found = values("equal", kappa=kappa)
    assert found["worst"] < 1e-5 and found["now"] < 1e-5
    assert (found["pair"][:, 0] - found["pair"][:, 1]).abs().max() < 1e-12
    assert found["worst"] < equal.BOUND < values("equal", kappa=equal.SKEWED)["worst"]
    for moved in ([[1.5 * x for x in kappa[0]], kappa[1]], [[*kappa[0][:2], kappa[0][2] + 0.3], kappa[1]]):
        assert values("equal", kappa=moved)["worst"] > equal.BOUND


@pytest.mark.parametrize("kappa", [SKEWED, TURNED])
def test_no_targets_part_the_two_steps_by_more_than_the_largest_angle(kappa: list):
    data = damping.data()
    skewed = damping.skew(torch.tensor(kappa, dtype=torch.float64), data["w"], data["iota"])
    basis, w = skewed["basis"], skewed["there"]
    generator, most = torch.Generator().manual_seed(3), 0.0
    bound = float(values("equal", kappa=kappa)["worst"])
    for _ in range(2000):
        targets = torch.rand(32, 1, generator=generator, dtype=torch.float64)
        most = max(most, float(equal.steps(w, basis, data["X"], targets)["now"]))
    assert 0.5 * bound < most <= bound + 1e-9


# -- the page

STATES = {
    "units": ("1-introduction", {"s": 0.37}, ["loss_sgd", "loss_kfac", "curve", "gap_sgd"]),
    "renaming": (
        "3-1-coordinate-free-multilayer-perceptrons",
        {"zeta": SKEWED, "alpha": TURNED, "forget": True},
        ["W1", "b1", "W2", "b2", "g", "apart"],
    ),
    "damping": ("3-2-optimization", {"damping": 1e-3, "kappa": SKEWED}, ["identity_end"]),
    "equal": ("3-2-optimization", {"kappa": SKEWED}, ["worst", "now", "pair"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_the_page_computes_what_torch_computes(browser, site: Path, name: str):
    chapter, controls, read = STATES[name]
    page = opened(browser, f"{site.as_uri()}/chapters/{chapter}.html")
    figure = page.locator(f".live-figure[data-name={name}]")
    for control, value in controls.items():
        figure.evaluate("(root, [name, value]) => root.figure.set(name, value)", [control, value])
    there = values(name, **controls)
    for key in read:
        shown = figure.evaluate("(root, key) => root.figure.value(key).map(leaf => [...leaf]).flat()", key)
        wanted: Tensor = there[key]
        gap = (torch.tensor(shown, dtype=torch.float64) - wanted.flatten()).abs().max() / wanted.abs().max()
        assert gap < 1e-9, (key, float(gap))
    assert page.complaints == []
    page.context.close()
