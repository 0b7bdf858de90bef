"""The live figures of chapters 3.4 and 3.5: everywhere that a reader can drag, and what the text says is seen there."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.no_gauge
CHAPTERS = Path(__file__).parent.parent / "chapters"
F64: Any = {"dtype": torch.float64}


@cache
def cells(chapter: str, *names: str) -> dict[str, Any]:
    """What these code cells of a chapter define."""
    notebook = json.loads((CHAPTERS / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    sources = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    scope: dict[str, Any] = {}
    for name in names:
        exec(sources[name], scope)
    return scope


def split(dependence: float, zero: float) -> dict[str, torch.Tensor]:
    c = cells("3-4-independence-metric", "imports", "split-functions")
    seen = c["data"]()
    seen |= c["layer"](**seen, dependence=torch.tensor(dependence, **F64), zero=torch.tensor(zero, **F64))
    return seen | c["compare"](seen["exact"], seen["product"])


@pytest.mark.parametrize("dependence", [-1.0, -0.6, 0.0, 0.3, 1.0])
def test_equation_3_5_the_ratios_in_figure_split_do_not_see_where_zero_is(dependence):
    """And they are the least and the largest of exact(v, v) / product(v, v), by scanning all directions."""
    home = split(dependence, 0.0)
    assert 0 <= home["least"] <= 1 <= home["most"] <= 2
    angle = torch.linspace(0, torch.pi, 2001, **F64)
    v = torch.stack([angle.cos(), angle.sin()], 1)
    for zero in (-1.5, -0.4, 0.9, 1.5):
        moved = split(dependence, zero)
        assert (moved["exact"] - home["exact"]).abs().max() > 0.1
        assert abs(moved["least"] - home["least"]) < 1e-12 and abs(moved["most"] - home["most"]) < 1e-12
        ratio = (v @ moved["exact"] * v).sum(1) / (v @ moved["product"] * v).sum(1)
        assert abs(ratio.min() - home["least"]) < 1e-4 and abs(ratio.max() - home["most"]) < 1e-4


def test_equation_3_5_in_figure_split_the_ellipses_coincide_where_nothing_depends_and_one_is_a_needle_at_the_end():
    assert torch.equal(split(0.0, 0.7)["exact"], split(0.0, 0.7)["product"])
    end = split(1.0, 0.0)
    torch.testing.assert_close(end["product"], split(-0.4, 0.0)["product"])  # it has not moved
    needle = torch.linalg.eigvalsh(end["exact"])
    assert needle[1] > 20 * needle[0] and end["least"] < 0.1


def whitened(space: float, amount: float) -> dict[str, torch.Tensor]:
    c = cells("3-5-k-fac-metric", "imports", "whiten-functions", "whiten-figure")
    values = c["data"]()
    names = ("w", "X", "Y", "white_x", "mean_x", "white_a", "mean_a", "white_z", "last_bits")
    inputs = {name: values[name] for name in names}
    seen = c["rewritten"](torch.tensor(amount, **F64), torch.tensor(space, **F64), **inputs)
    home = {name: values[name] for name in ("start_home", "kfac_home", "sgd_home")}
    here = {name: seen[name] for name in ("start_here", "kfac_here", "sgd_here", "control")}
    return seen | c["gaps"](**home, **here)


@pytest.mark.parametrize("space", [0.0, 1.0, 2.0])
def test_equation_2_9_in_figure_whitening_the_zeros_stay_and_so_does_k_fac_and_sgd_does_not(space):
    for amount in (0.0, 0.1, 0.5, 0.9, 1.0):
        seen = whitened(space, amount)
        assert seen["F"][:6, 6:].abs().max() == 0 and seen["F"].isfinite().all()
        assert seen["gap_kfac"] < 1e-11
        assert 1e-17 < seen["gap_control"] < 1e-11  # moved by rounding, and no further
        assert seen["gap_sgd"] < 1e-12 if amount == 0 else seen["gap_sgd"] > 1e-3


def test_proposition_3_7_what_the_text_says_of_figure_whitening():
    """Inputs whitened: three copies of G in block 1. Pre-activations: A on a grid. Hidden activations: only block 2."""
    home = whitened(0.0, 0.0)["F"]
    inputs, hidden, pre = (whitened(space, 1.0)["F"] for space in (0.0, 1.0, 2.0))
    one = torch.ones(2, 2, **F64)
    copies = torch.block_diag(one, one, one)
    assert (inputs[:6, :6] * (1 - copies)).abs().max() < 1e-12
    torch.testing.assert_close(inputs[:2, :2], inputs[4:6, 4:6])
    torch.testing.assert_close(inputs[6:, 6:], home[6:, 6:])
    grid = torch.kron(torch.ones(3, 3, **F64), torch.eye(2, **F64))
    assert (pre[:6, :6] * (1 - grid)).abs().max() < 1e-12
    torch.testing.assert_close(pre[6:, 6:], home[6:, 6:])
    torch.testing.assert_close(hidden[:6, :6], home[:6, :6])
    assert (hidden[6:, 6:] - home[6:, 6:]).abs().max() > 0.1
