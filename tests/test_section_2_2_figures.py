"""The live figures of section 2.2 and appendix A: what the text says is seen, wherever a reader drags."""

import json
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from kfac_lite.live import LiveFigure

from .test_live_everywhere import figures

pytestmark = pytest.mark.no_gauge
CHAPTERS = Path(__file__).parent.parent / "chapters"
TOLD = {
    "2-2-1-vector-spaces-and-tensors": ["guess-the-arrow", "pairing"],
    "2-2-3-affine-algebra": ["guess-the-movement", "affine-plane"],
    "2-2-4-differentials-pushforwards-and-pullbacks": ["push-and-pull", "guess-the-fold"],
    "2-2-5-metrics": ["guess-the-loss", "metric-pulled-back", "drag-a-ruler"],
    "a-tangent-spaces-and-tensor-products": [
        *("free-of-charge", "guess-the-split", "square-of-weights", "square-of-activations"),
    ],
}


@cache
def chapter(name: str) -> dict[str, LiveFigure]:
    return {figure.identifier: figure for figure in figures(CHAPTERS / f"{name}.ipynb")}


def figure(name: str) -> LiveFigure:
    (stem,) = (stem for stem, names in TOLD.items() if name in names)
    return chapter(stem)[name]


def positions(figure: LiveFigure, count: int = 40) -> list[dict[str, Any]]:
    """Places within the bounds of every control."""
    draw, found = random.Random(0), []
    while len(found) < count:
        state: dict[str, Any] = {}
        for name, control in figure.controls.items():
            if control.kind == "handle":
                state[name] = [draw.uniform(*control.x), draw.uniform(*control.y)]  # type: ignore[attr-defined]
            elif control.kind == "slider":
                state[name] = draw.uniform(control.low, control.high)  # type: ignore[attr-defined]
            elif control.kind == "frame":
                state[name] = [[draw.uniform(-1.5, 1.5) for _ in range(2)] + [draw.uniform(-1, 1)] for _ in range(2)]
        try:
            found.append(figure.checked(state))
        except ValueError:  # arrows too long, too short or too nearly parallel: the handles do not go there
            continue
    return found


MOVED = [name for names in TOLD.values() for name in names if not name.startswith("guess")]


@pytest.mark.parametrize("name", MOVED)
def test_every_value_is_finite_wherever_it_is_dragged(name: str):
    for state in positions(figure(name)):
        for value in figure(name).values(**state).values():
            assert torch.as_tensor(value).isfinite().all(), state


def test_section_2_2_1_in_figure_pairing_the_pairing_stands_still_and_the_arrow_does_not():
    fig = figure("pairing")
    home = fig.values()
    for state in positions(fig):
        seen = fig.values(**(state | {"v": fig.controls["v"].spec()["value"]}))
        assert torch.isclose(seen["value"], home["value"], rtol=1e-10)
        assert not torch.allclose(seen["as_arrow"], home["as_arrow"], atol=1e-3)
    longer = fig.values(**fig.presets["longer arrows"])
    assert torch.allclose(longer["as_arrow"], 4 * home["as_arrow"])
    assert torch.allclose(longer["v_kappa"], home["v_kappa"] / 2)


def test_section_2_2_3_in_figure_affine_plane_the_result_moves_by_1_minus_the_sum():
    fig = figure("affine-plane")
    for state in positions(fig):
        seen = fig.values(**state)
        assert torch.isclose(seen["moved"], abs(1 - state["total"]) * seen["origin"], atol=1e-12)


def test_section_2_2_4_in_figure_push_and_pull_the_two_counts_are_one_number():
    fig = figure("push-and-pull")
    for state in positions(fig):
        seen = fig.values(**state)
        assert torch.isclose(seen["here_count"], seen["there_count"], rtol=1e-10, atol=1e-10)
    lost = fig.values(**fig.presets["a lost arrow"])
    assert lost["length"] < 0.005 and abs(lost["here_count"]) < 0.01


def test_section_2_2_5_in_figure_metric_pulled_back_a_length_here_is_the_length_there():
    fig = figure("metric-pulled-back")
    for state in positions(fig):
        seen = fig.values(**state)
        v, (least, most) = torch.tensor(state["v"], dtype=torch.float64), torch.linalg.eigvalsh(seen["G"]).clamp(min=0)
        assert torch.isclose((v @ seen["G"] @ v).sqrt(), seen["length"], rtol=1e-8)
        assert torch.allclose(torch.stack([seen["least"], seen["most"]]) ** 2, torch.stack([least, most]), atol=1e-9)
    flat = fig.values(**fig.presets["pressed flat"])
    assert flat["least"] < 1e-12 and flat["length"] < 1e-12


def test_section_2_2_5_in_figure_drag_a_ruler_the_task_can_be_done_and_is_not_done_at_the_start():
    fig = figure("drag-a-ruler")
    H = torch.tensor([[3.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    E = torch.linalg.cholesky(torch.linalg.inv(H))
    found = fig.values(kappa=torch.cat([E, torch.zeros(2, 1, dtype=torch.float64)], 1).tolist())
    assert torch.allclose(found["own"], H) and found["off"] < 1e-12
    assert found["way"][1].norm() < 1e-12 and found["other"][1].norm() < 1e-12
    goal: Any = next(view for row in fig.rows for view in row if view.kind == "goal")
    assert fig.values()["off"] > 10 * goal.below
    for state in positions(fig):  # where it counts as done, both steps end near the middle, and their ellipses are near
        seen = fig.values(**state)
        ends = torch.stack([seen["way"][1], seen["other"][1]])
        assert torch.isclose(seen["off"], torch.linalg.matrix_norm(ends) / 0.8 / 2**0.5, rtol=1e-9)


def test_equations_A_1_and_A_2_in_figure_free_of_charge_three_are_free_and_one_is_not():
    fig = figure("free-of-charge")
    for state in positions(fig):
        seen = fig.values(**state)
        assert max(seen["double"], seen["hom"], seen["dual"]) < 1e-12
        assert seen["same_numbers"] > 1e-3
    for preset, hides in (("home", True), ("turned", True), ("longer", False)):
        assert bool(fig.values(**fig.presets[preset])["same_numbers"] < 1e-12) == hides


@pytest.mark.parametrize(
    ("name", "toggle"), [("square-of-weights", "printed"), ("square-of-activations", "unit_by_unit")]
)
def test_equations_A_3_and_A_4_in_the_figures_the_squares_commute_until_the_button_is_pressed(name: str, toggle: str):
    fig = figure(name)
    for state in positions(fig):
        assert fig.values(**state)["residual"] < 1e-11
        assert fig.values(**(state | {toggle: True}))["residual"] > 1e-3


GUESSED: dict[str, Any] = {  # the closed forms that the text gives after the guess
    "guess-the-arrow": lambda s: s**2,
    "guess-the-movement": lambda s: (1 - s).abs(),
    "guess-the-fold": lambda x: 2 * x,
    "guess-the-loss": lambda degrees: (1 - torch.deg2rad(degrees).cos().abs()).clamp(min=0).sqrt(),
}


@pytest.mark.parametrize("name", GUESSED)
def test_what_is_guessed_is_then_told_rightly(name: str):
    asked: Any = figure(name).rows[0][0]
    assert torch.allclose(asked.truth, GUESSED[name](asked.over), atol=1e-7)
    assert asked.starts
    for words, guess in asked.starts.items():  # no start gives the answer away
        assert not torch.allclose(guess, asked.truth, atol=0.05), words


def test_section_A_2_the_split_is_exact_for_one_datum_and_fades_with_many():
    asked: Any = figure("guess-the-split").rows[0][0]
    truth = asked.truth
    assert truth[0] < 1e-12 and (truth[1:6] > 0.5).all()
    assert (truth[4:-1] > truth[5:]).all() and truth[-1] < 0.2


@pytest.mark.parametrize("stem", TOLD)
def test_numbers_in_sentences_are_those_of_the_figure_as_it_opens(stem: str):
    cells = json.loads((CHAPTERS / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    found = re.findall(r"\{live\}`(\S+) <([a-z0-9-]+) (\w+):(\.\d[fg]|gap)>`", text)
    assert found
    for words, name, value, form in found:
        seen: Any = {**figure(name).initial, **figure(name).values()}[value]
        assert float(words) == float(f"{float(seen):{'.2g' if form == 'gap' else form}}"), (words, name, value)
    for name, state in re.findall(r"\{state\}`[^<`]+ <([a-z0-9-]+) ([^<>]+)>`", text):
        wanted: dict[str, list[float]] = {}
        for part in state.split(","):
            control, numbers = part.split(":")
            wanted[control] = [float(x) for x in numbers.split("_")]
        for control, numbers in wanted.items():  # as a state of the figure, which checks it
            kind = figure(name).controls[control].kind
            value: Any = [numbers[:3], numbers[3:]] if kind == "frame" else numbers[0] if kind == "slider" else numbers
            assert figure(name).checked({control: value})[control] == value
