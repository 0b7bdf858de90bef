"""Pictures and tables of what benchmarks/studies wrote, and that the page's words about them hold."""

import re
import sys
from pathlib import Path

import pytest

from kfac_lite import measured

pytestmark = pytest.mark.no_gauge

ROOT = Path(__file__).parent.parent
GROWN = measured.load(ROOT / "chapters/optimizer-measured/growth.json")
STEPPED = measured.load(ROOT / "chapters/optimizer-measured/step.json")
RACED = measured.load(ROOT / "chapters/optimizer-measured/worth.json")
sys.path.insert(0, str(ROOT / "benchmarks" / "studies"))
import growth  # noqa: E402  # pyright: ignore[reportMissingImports]


def test_a_table_shows_its_cells_and_says_what_it_is_about_without_a_number():
    table = measured.Table([["a", "b"], ["1 < 2", "x"]], "two cells")
    assert repr(table) == "<table: two cells>"
    assert table._repr_html_().count("<tr>") == 2 and "<td>1 &lt; 2</td>" in table._repr_html_()
    for one in (measured.exponents(GROWN), measured.ends(RACED), measured.rates(RACED), measured.steps(STEPPED)):
        assert not re.search(r"\d", repr(one))


@pytest.mark.parametrize("what", ["seconds", "bytes"])
def test_growth_draws_every_method_at_its_widths(what: str):
    (ax,) = measured.growth(GROWN, what).axes
    unit = 1e6 if what == "bytes" else 1.0
    drawn = [(list(line.get_xdata()), [y * unit for y in line.get_ydata()]) for line in ax.lines]  # type: ignore
    for method in GROWN["methods"].values():
        assert any(x == method["widths"] and y == pytest.approx(method[what]) for x, y in drawn)


@pytest.mark.parametrize("problem", ["autoencoder", "convolutional", "recurrent"])
def test_a_race_draws_the_middle_start_against_steps_and_seconds(problem: str):
    steps, seconds = measured.race(RACED, problem).axes
    runs = RACED["problems"][problem]["runs"]
    for ax in (steps, seconds):
        assert {text.get_text() for text in ax.texts} == set(runs)
        ends = {round(float(line.get_ydata()[-1]), 12) for line in ax.lines}  # type: ignore[index]
        for run in runs.values():
            assert round(sorted(losses[-1] for losses in run["train"])[1], 12) in ends
    assert steps.get_xlim()[1] >= RACED["problems"][problem]["steps"]
    assert len({text.get_position()[1] for text in steps.texts}) == len(runs)  # no name on another


def test_the_table_of_steps_shows_the_ratios_that_its_words_tell():
    """About four steps of SGD, and about six; the sampled targets a twentieth; the peers' columns where they ran."""
    head, *rows = measured.steps(STEPPED).rows
    times = head.index("× SGD")
    assert len(rows) == sum(map(len, STEPPED["steps"].values()))
    every, seen = "", {}
    for row in rows:
        every = row[0] or every
        seen[row[1], every] = row
    assert 3.5 <= float(seen["kfac_lite, mc", "every 10"][times]) < 4.5
    assert 5.5 <= float(seen["kfac_lite, mc", "every 1"][times]) < 6.5
    assert seen["SGD", "every 1"][times] == "" and seen["kfac_lite, mc", "every 10"][head.index("× curvlinops")] == ""
    for steps in STEPPED["steps"].values():
        assert 1.0 < steps["kfac_lite, mc"]["ms"] / steps["kfac_lite, empirical"]["ms"] < 1.1


def test_a_files_rates_have_a_worse_one_on_either_side():
    for found in RACED["problems"].values():
        for run in found["runs"].values():
            ends = [float("inf") if end is None else end for end in run["tried"].values()]
            best = ends.index(min(ends))
            assert 0 < best < len(ends) - 1


def test_an_exponent_is_the_slope_of_the_last_three_and_the_last_width_fits():
    widths = [8, 16, 32, 64]
    assert growth.exponent(widths, [100.0, *(0.5 * w**3 for w in widths[1:])]) == pytest.approx(3)
    w = growth.last_width(1e9)
    assert 4 * growth.parameters(w) ** 2 <= 1e9 < 4 * growth.parameters(w + 1) ** 2


def test_the_exact_steps_of_the_study_are_the_dense_natural_gradient():
    """Its matrix and gradient by hand against derivatives by torch, and its two ways to solve against each other."""
    import torch
    from torch.func import functional_call, jacrev

    model, x, y = growth.setting(4)
    _, J, gradient = growth.scores(4)()
    parameters = dict(model.named_parameters())
    jacobian = jacrev(lambda p: functional_call(model, p, (x,)))(parameters)
    side = lambda of, name: torch.cat([of[f"{name}.weight"], of[f"{name}.bias"][..., None]], -1).flatten(-2)
    Jz = torch.cat([side(jacobian, name) for name in (0, 2, 4)], -1)
    p = torch.softmax(model(x), 1)
    H = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    F = (torch.einsum("nap,nab,nbq->pq", Jz, H, Jz) / len(x)).detach()
    assert float((F - J.T @ J).norm() / F.norm()) < 1e-5
    torch.nn.functional.cross_entropy(model(x), y).backward()
    true = torch.cat([side({name: p.grad for name, p in parameters.items()}, name) for name in (0, 2, 4)], -1)
    assert float((true - gradient).norm() / true.norm()) < 1e-5
    damped = F.double() + growth.DAMPING * torch.eye(len(F))
    direct = torch.linalg.solve(damped, gradient.double())
    by_examples = torch.linalg.solve((J @ J.T).double() + growth.DAMPING * torch.eye(len(J)), (J @ gradient).double())
    other = (gradient.double() - J.T.double() @ by_examples) / growth.DAMPING
    assert float((direct - other).norm() / direct.norm()) < 1e-3
