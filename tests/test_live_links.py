"""A link opens its state: on a figure, and by the figure's name from the class (paper: none)."""

import gc
import re

import pytest

from kfac_lite.live import Handle, LiveFigure, Panel, Slider, hero
from kfac_lite.live import links as links_

pytestmark = pytest.mark.no_gauge


def made(name: str) -> LiveFigure:
    controls = [Slider("x", 0, 1), Handle("p")]
    return LiveFigure(controls=controls, views=[[Panel()]], name=name, alt="Nothing")


def test_the_class_finds_the_figure_that_the_link_names():
    one, two = made("one"), made("two")
    assert LiveFigure.from_link("https://book.example/page.html#two=1,x:0.25,p:1_-1") is two
    assert (two.x, two.p, one.x) == (0.25, [1.0, -1.0], 0.5)
    again = made("two")
    assert LiveFigure.from_link("#two=1,x:0.75") is again and two.x == 0.25  # the last of that name


def test_a_figure_takes_its_own_links_only():
    one = made("one")
    made("two")
    assert one.from_link("#one=1,x:0.1") is one and one.x == 0.1
    with pytest.raises(ValueError, match=re.escape("holds no state of 'one': it ends in #one=1,")):
        one.from_link("#two=1,x:0.1")


def test_the_book_s_own_figures_are_made_when_a_link_asks_for_them():
    links_.made.pop("hero", None)
    gc.collect()
    figure = LiveFigure.from_link("index.html#hero=1,kappa:0.62_0_0.1_0.35_1_0,t:50")
    assert figure.identifier == "hero" and figure.t == 50 and figure.kappa == [[0.62, 0, 0.1], [0.35, 1, 0]]
    assert figure.values()["gap_sgd"][50] > 0.01 and figure.values()["gap_kfac"].max() < 1e-12
    assert figure.spec["controls"] == hero.figure().spec["controls"]


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("page.html", "holds no state of 'name'"),
        ("#nobody=1,x:1", "no figure 'nobody' was made here; run its cell first"),
        ("#one=2,x:0.5", "holds no state"),
        ("#one=1,x:7", "x = 7.0: between 0 and 1"),
        ("#one=1,y:7", "there is no control 'y'; there are: x, p"),
    ],
)
def test_what_a_link_cannot_ask_for_is_refused(link: str, words: str):
    one = made("one")
    with pytest.raises(ValueError, match=re.escape(words)):
        LiveFigure.from_link(link)
    assert one.x == 0.5
