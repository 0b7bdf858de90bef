"""Predictions and tasks of live figures: what fits together, and that no answer is seen before it is asked for."""

import re
from typing import Any

import pytest
import torch
from bs4 import BeautifulSoup

from kfac_lite.live import Goal, Line, LiveFigure, Panel, Predict, Slider, Words

pytestmark = pytest.mark.no_gauge

STEPS = torch.arange(21, dtype=torch.float64)


def powers(s: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "curve": torch.linspace(0, 1, 21, dtype=torch.float64) ** s,
        "size": 10 ** (-s),
        "pair": torch.stack([s, s]),
    }


def made(*views: Any) -> LiveFigure:
    return LiveFigure(
        powers,
        controls=[Slider("s", 0.5, 4, value=2)],
        views=[[view] for view in views],
        name="asked",
        alt="A question",
    )


def ask(truth: Any = "curve", **options: Any) -> Predict:
    return Predict(truth, **({"question": "Which curve?", "label": "height", "y": (0, 1)} | options))


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (lambda: ask(y=(1, 0)), "write y=(low, high) with low < high"),
        (lambda: ask(y=(0, 1), scale="log"), "0 < low < high on a log scale"),
        (lambda: ask(scale="cubic"), "write linear, log or gap"),
        (lambda: ask("curvature"), "'curvature' is no tensor of this figure; there are: curve, pair, s, size"),
        (lambda: ask("pair", points=9), "between 2 and the 2 points of the truth"),
        (lambda: ask(torch.zeros(3, 2)), "has the shape (3, 2): a curve is (n,) with n > 1, a number is ()"),
        (lambda: ask(over=torch.zeros(5)), "'over' has the shape (5,), and the truth (21,)"),
        (lambda: ask(starts={"flat": torch.zeros(4)}), "'flat' has the shape (4,), and the truth (21,)"),
        (lambda: Goal("curve", 0.1, task="Find it.", told="Found."), "what is marked is one number, of shape ()"),
        (lambda: Goal("size", -1.0, task="Find it.", told="Found."), "a bound of 0 or more"),
        (lambda: Goal("size", 0.1, task="{sizes}", told="Found."), "{sizes} in a text"),
        (lambda: Goal("size", 0.1, task="Find it.", told="[home]"), "[home] in a text is no preset or toggle"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_write(view: Any, words: str):
    with pytest.raises(ValueError, match=re.escape(words)):
        made(view())


def test_a_prediction_s_range_is_that_of_its_truth():
    assert made(ask()).rows[0][0].x == (0, 20)
    assert made(ask(over=STEPS / 4 - 1)).rows[0][0].x == (-1, 4)
    assert made(ask(x=(0, 50))).rows[0][0].x == (0, 50)
    assert made(ask("size", y=(1e-4, 1), scale="log")).rows[0][0].x is None


def test_a_truth_may_be_data_of_a_cell_and_the_figure_needs_no_functions():
    figure = LiveFigure(views=[[ask(STEPS**2, y=(0, 400))]], name="data", alt="A question")
    assert figure.spec["rows"][0][0]["truth"]["data"] == (STEPS**2).tolist()
    assert repr(figure) == "LiveFigure('data')"  # which a notebook stores: the answer is not in it


def test_without_scripts_the_answer_and_all_that_follows_are_folded():
    views = (Words("Before."), ask(), Words("s is {s:.1f}."), ask("size", question="How small?"), Panel(Line("curve")))
    still = BeautifulSoup(made(*views).html(), "html.parser").select_one(".live-still")
    assert still is not None and still["role"] == "group"  # a picture would hide the fold from a screen reader
    outer, inner = still.select("details")
    assert outer.find_parent("details") is None and inner.find_parent("details") is outer
    assert not still.select("details[open]")
    free = [p.get_text() for p in still.select("p") if p.find_parent("details") is None]
    assert free == ["Before.", "Which curve?"]
    assert [svg.find_parent("details") is None for svg in still.select("svg")] == [False, False]
    assert "s is 2.0." in outer.get_text() and "How small?" in outer.get_text()
    assert "0.01" in inner.get_text() and "0.01" not in outer.get_text().split("How small?")[0]


def test_figures_without_questions_have_the_still_they_had():
    still = BeautifulSoup(made(Words("Before."), Panel(Line("curve"))).html(), "html.parser").select_one(".live-still")
    assert still is not None and still["role"] == "img" and not still.select("details")
