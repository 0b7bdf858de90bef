"""The page as an instrument: a prediction before the answer, and a task that the program marks (paper: none).

On a page of their own, in both themes, at both widths, by mouse, finger and keys.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kfac_lite.live import Drag, Goal, Handle, Line, LiveFigure, Panel, Predict, Slider, Words, page

from .browsing import axe, opened, until
from .test_site_hero import MODEL

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]

STEPS = torch.arange(101, dtype=torch.float64)
TRUTH = (STEPS / 100) ** 2
DRAWN = TRUTH[torch.linspace(0, 100, 9).round().long()]  # at the points that the reader draws
EXPONENT = 3.0


def powers(s: Tensor) -> dict[str, Tensor]:
    return {"curve": torch.linspace(0, 1, 21, dtype=torch.float64) ** s, "size": 10 ** (-s)}


def distance(p: Tensor) -> Tensor:
    return ((p - 1) ** 2).sum().sqrt()


def figures() -> list[LiveFigure]:
    drawn = Predict(
        TRUTH,
        "**Draw it**: how does it grow?",
        label="height",
        y=(0, 1),
        xlabel="step",
        starts={"half": 0.5 + 0 * STEPS},
    )
    size = Predict("size", "How small is it?", label="size", y=(1e-6, 1), scale="log", form="gap")
    curve = Predict("curve", "And the curve?", label="height", y=(0, 1), colour="K-FAC", points=5)
    return [
        LiveFigure(views=[[drawn], [Words("What follows it.")]], name="drawn", alt="A question about a curve"),
        LiveFigure(
            powers,
            controls=[Slider("s", 1, 5, value=EXPONENT)],
            views=[[size], [curve], [Panel(Line("curve"), x=(0, 20), y=(0, 1)), Words("Size {size:.3f}.")]],
            name="sized",
            alt="Two questions",
        ),
        LiveFigure(
            distance,
            controls=[Handle("p", label="the point")],
            views=[
                [Panel(Drag("p"), x=(-2, 2), y=(-2, 2), title="plane")],
                [Goal("distance", 0.1, task="Drag the point to (1, 1).", told="That is it.", label="distance")],
            ],
            name="goal",
            alt="A point and a task",
        ),
    ]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """data-content_root is what the book's pages have, and what hides the word about Jupyter."""
    paper = "html[data-theme=dark] { background: #14181d; color: #e6e9ec; }"
    body = "".join(f"<div>{figure.html()}</div>" for figure in figures())
    body += '<p>It is <span class="live-number" data-figure="sized" data-name="size" data-form="gap">0.001</span>.</p>'
    script = "document.documentElement.dataset.theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : ''"
    file = tmp_path_factory.mktemp("instrument") / "page.html"
    file.write_text(
        f"<!doctype html><html lang='en' data-content_root='./'><meta charset='utf-8'><title>Questions</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><style>{paper}</style>"
        f"<script>{script}</script><main><h1>Questions</h1>{body}{'<p>Text.</p>' * 40}</main>",
        encoding="utf-8",
    )
    return file.as_uri()


class Asked:
    """A figure that asks."""

    def __init__(self, tab: Any, name: str, at: int = 0):
        self.tab, self.name = tab, name
        self.root = tab.locator(f".live-figure[data-name={name}]")
        self.find = f"document.querySelector('.live-figure[data-name={name}]')"
        until(tab, f"{self.find}?.figure !== undefined")
        self.section = self.root.locator(".live-predict").nth(at)
        self.surface = self.section.locator(".live-draw")
        self.result = self.section.locator(".live-result")

    def button(self, words: str) -> Any:
        return self.section.get_by_role("button", name=words)

    def drawn(self) -> list[float]:
        """The heights of the dots of the guess, from 0 to 1."""
        return self.surface.evaluate(
            "surface => { const box = surface.getBoundingClientRect(); return [...surface.parentElement"
            ".querySelectorAll('circle.point')].map(dot => { const r = dot.getBoundingClientRect();"
            " return (box.bottom - r.top - r.height / 2) / box.height; }); }"
        )

    def answers(self) -> int:
        """How many curves of answers are drawn."""
        return self.root.locator(".live-box path.mark.r-line").count()


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    tab = opened(browser, address)
    yield tab
    assert tab.complaints == []
    tab.context.close()


def test_the_answer_and_what_follows_are_not_to_be_seen_before(tab: Any):
    for name, later in (("drawn", "What follows it."), ("sized", "Size")):
        asked = Asked(tab, name)
        assert asked.answers() == 0
        assert later not in asked.root.inner_text() and "copy link" not in asked.root.inner_text()
        assert not asked.result.is_visible()
    sized = Asked(tab, "sized")
    assert "And the curve?" not in sized.root.inner_text()
    assert sized.root.locator("path.mark.r-line:visible").count() == 0
    assert sized.root.get_by_role("slider").count() == 1  # the guess; the control comes after it


def test_a_curve_is_drawn_by_mouse_and_told_apart_from_the_truth(tab: Any):
    asked = Asked(tab, "drawn")
    assert asked.button("show the answer without a guess").is_visible()
    asked.surface.scroll_into_view_if_needed()
    box = asked.surface.bounding_box()
    at = lambda u, v: (box["x"] + u * box["width"], box["y"] + (1 - v) * box["height"])
    tab.mouse.move(*at(0.001, 0.25))
    tab.mouse.down()
    tab.mouse.move(*at(0.5, 0.75), steps=2)
    tab.mouse.move(*at(0.999, 0.25))  # in one move past three points: they lie on the line
    tab.mouse.up()
    until(tab, f"!{asked.find}.querySelector('.live-act').textContent.includes('without')")
    left, right = [0.25, 0.375, 0.5, 0.625], [0.75, 0.625, 0.5, 0.375, 0.25]
    found = asked.drawn()
    assert found[4:] == pytest.approx(right, abs=0.02) and found[0] == pytest.approx(0.25, abs=0.02)
    assert all(x <= y + 0.02 for x, y in pairwise(found[:5])) and found[:4] == pytest.approx(left, abs=0.13)
    asked.button("compare").click()
    off = (torch.tensor(found, dtype=torch.float64) - DRAWN).abs()
    told = re.match(r"Your curve is off by (0\.\d\d) on average, ", asked.result.inner_text())
    assert told and float(told[1]) == pytest.approx(float(off.mean()), abs=0.015)
    assert "most at step 100: you drew 0.25, it is 1.00." in asked.result.inner_text()
    assert asked.answers() == 1 and "What follows it." in asked.root.inner_text()
    kept = asked.drawn()
    tab.mouse.move(*at(0.5, 0.1))
    tab.mouse.down()
    tab.mouse.move(*at(0.7, 0.1), steps=2)
    tab.mouse.up()
    assert asked.drawn() == kept  # a guess is a guess


def test_a_curve_to_start_from_and_the_gap_in_numbers(tab: Any):
    asked = Asked(tab, "drawn")
    asked.section.get_by_role("button", name="half").click()
    asked.button("compare").click()
    off = (DRAWN - 0.5).abs()
    place = [0, 100][int(off[-1] > off[0])]
    words = f"Your curve is off by {off.mean():.2f} on average, most at step {place}: you drew 0.50, it is"
    assert asked.result.inner_text().startswith(words)
    gaps = asked.section.locator("path.rule").first.get_attribute("d")
    assert gaps.count("V") == 9  # a segment from each point of the guess to the truth
    asked.button("guess again").click()
    assert asked.answers() == 0 and "What follows it." not in asked.root.inner_text()
    assert asked.button("show the answer without a guess").is_visible() and not asked.result.is_visible()


def test_a_curve_is_drawn_by_keys_and_the_result_is_said_once(tab: Any):
    asked = Asked(tab, "drawn")
    tab.evaluate(
        f"window.heard = []; const say = {asked.find}.querySelector('.live-say');"
        "new MutationObserver(() => heard.push(say.textContent)).observe(say, {childList: true})"
    )
    surface = asked.surface
    assert surface.get_attribute("aria-valuetext") == "step 0: nothing drawn yet"
    surface.focus()
    for _ in range(5):
        tab.keyboard.press("Shift+ArrowDown")
    tab.keyboard.press("ArrowUp")
    assert surface.get_attribute("aria-valuetext") == "step 0: 0.02"
    tab.keyboard.press("End")  # the pen is carried on, at this height
    assert surface.get_attribute("aria-valuetext") == "step 100: 0.02"
    tab.keyboard.press("PageUp")
    tab.keyboard.press("ArrowLeft")
    assert surface.get_attribute("aria-valuetext") == "step 88: 0.02"
    assert asked.drawn() == pytest.approx([0.02] * 8 + [0.12], abs=0.005)
    assert surface.get_attribute("aria-label") == "your guess: height"
    tab.keyboard.press("Tab")
    while not asked.button("compare").evaluate("el => el === document.activeElement"):
        tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert asked.button("guess again").evaluate("el => el === document.activeElement")
    until(tab, "heard.length > 0")
    assert tab.evaluate("heard") == [asked.result.inner_text()]
    tab.keyboard.press("Enter")
    assert surface.evaluate("el => el === document.activeElement")


def test_a_number_is_set_and_the_truth_is_marked_on_its_track(tab: Any):
    asked = Asked(tab, "sized")
    slider = asked.section.get_by_role("slider", name="your guess: size")
    assert slider.get_attribute("aria-valuetext") == "nothing set yet"
    slider.press("End")
    assert slider.get_attribute("aria-valuetext") == "1.0"
    asked.button("compare").click()
    assert asked.result.inner_text() == "You said 1.0. It is 1×10⁻³, 10³ times less."
    mark = asked.section.locator(".live-truth")
    track, at = asked.section.locator(".live-track").bounding_box(), mark.bounding_box()
    assert mark.inner_text() == "1×10⁻³"
    assert (at["x"] - track["x"] - 9) / (track["width"] - 18) == pytest.approx(0.5, abs=0.01)
    second = Asked(tab, "sized", 1)
    assert second.section.is_visible() and "Size" not in asked.root.inner_text()  # one question after the other


def test_shown_without_a_guess_it_says_so_and_follows_the_figure(tab: Any):
    first, second = Asked(tab, "sized"), Asked(tab, "sized", 1)
    first.button("show the answer without a guess").click()
    assert first.result.inner_text() == "Shown without a guess. It is 1×10⁻³."
    until(
        tab, "document.querySelector('.live-number').textContent === '…'"
    )  # a sentence after the figure keeps the answer, too
    second.button("show the answer without a guess").click()
    assert second.result.inner_text() == "Shown without a guess."
    until(tab, "document.querySelector('.live-number').textContent === '1×10⁻³'")
    assert "Size 0.001." in first.root.inner_text() and "copy link" in first.root.inner_text()
    assert first.root.locator("path.mark.r-line:visible, path.mark.r-plain:visible").count() >= 2
    first.root.locator("input[name=s]").press("Home")
    assert first.result.inner_text() == "Shown without a guess. It is 0.10."
    assert first.section.locator(".live-truth").inner_text() == "0.10"


def test_a_finger_draws_and_does_not_scroll(browser: Any, address: str):
    phone = opened(browser, address, width=390, has_touch=True, is_mobile=True)
    asked, cdp = Asked(phone, "drawn"), phone.context.new_cdp_session(phone)
    box, scrolled = asked.surface.bounding_box(), phone.evaluate("scrollY")

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": box["x"] + u * box["width"], "y": box["y"] + (1 - v) * box["height"]} for u, v in places]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (0.01, 0.9))
    for k in range(1, 20):  # steeply, as a page is scrolled
        touch("touchMove", (0.01 + 0.051 * k, 0.9 - 0.045 * k))
    touch("touchEnd")
    until(phone, f"{asked.find}.querySelectorAll('circle.point[transform=\"translate(-99 -99)\"]').length === 0")
    heights = asked.drawn()
    assert heights == sorted(heights, reverse=True) and heights[0] > 0.8 and heights[-1] < 0.15
    assert phone.evaluate("scrollY") == scrolled
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    for act in asked.root.locator("button:visible").all():
        assert act.bounding_box()["height"] >= 44
    phone.context.close()


def test_a_stroke_goes_on_when_the_window_is_resized(tab: Any):
    asked = Asked(tab, "drawn")
    asked.surface.scroll_into_view_if_needed()
    box = asked.surface.bounding_box()
    tab.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    half = asked.drawn()[:4]
    assert half == pytest.approx([0.5] * 4, abs=0.03)
    tab.set_viewport_size({"width": 600, "height": 900})
    until(tab, f"{asked.find}.querySelector('.live-draw').getBoundingClientRect().width < {box['width'] - 20}")
    assert asked.drawn()[:4] == pytest.approx(half, abs=0.01)
    box = asked.surface.bounding_box()
    tab.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] * 0.1)
    tab.mouse.up()
    heights = asked.drawn()
    assert heights[:4] == pytest.approx(half, abs=0.01) and heights[-1] == pytest.approx(0.9, abs=0.03)
    assert heights == sorted(heights)


def test_a_task_is_marked_by_the_program(tab: Any):
    asked = Asked(tab, "goal")
    section, handle = asked.root.locator(".live-goal"), asked.root.locator("[data-handle=p]")
    assert "Not yet: distance is 1.41; the task is done at 0.10 or less." in section.inner_text()
    assert "That is it." not in section.inner_text()
    handle.focus()
    for key in ("ArrowRight", "ArrowUp"):
        for _ in range(4):
            tab.keyboard.press(f"Shift+{key}")
    assert "✓ It holds: distance is 0.00" in section.inner_text() and "That is it." in section.inner_text()
    until(tab, f"{asked.find}.querySelector('.live-say').textContent.includes('That is it.')")
    tab.keyboard.press("Shift+ArrowDown")
    assert "Not yet: distance is 0.25" in section.inner_text() and "That is it." not in section.inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_before_a_guess_nor_after_it(browser: Any, address: str, theme: str, width: int):
    tab = opened(browser, address, width=width, theme=theme)
    asked, first, second = Asked(tab, "drawn"), Asked(tab, "sized"), Asked(tab, "sized", 1)
    assert tab.evaluate("document.documentElement.dataset.theme") == theme.replace("light", "")
    assert axe(tab) == []
    asked.section.get_by_role("button", name="half").click()
    first.section.get_by_role("slider").press("ArrowLeft")
    assert axe(tab) == []
    asked.button("compare").click()
    first.button("compare").click()
    second.button("show the answer without a guess").click()
    assert axe(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.complaints == []
    tab.context.close()


def test_without_scripts_the_question_stands_and_the_answer_is_folded(browser: Any, address: str):
    tab = opened(browser, address, script=False)
    still = tab.locator(".live-still").first
    assert "Draw it: how does it grow?" in still.inner_text() and still.locator("svg:visible").count() == 0
    still.locator("summary").click()
    assert still.locator("svg:visible").count() == 1 and "What follows it." in still.inner_text()
    tab.context.close()


def test_on_paper_every_question_is_answered_and_afterwards_it_is_as_it_was(tab: Any):
    asked, sized = Asked(tab, "drawn"), Asked(tab, "sized")
    asked.section.get_by_role("button", name="half").click()
    kept = asked.drawn()
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert (
        asked.result.inner_text().startswith("Your curve is off by") and "What follows it." in asked.root.inner_text()
    )
    assert (
        sized.result.inner_text() == "Shown without a guess. It is 1×10⁻³." and "Size 0.001." in sized.root.inner_text()
    )
    assert tab.locator(".live-figure button:visible").count() == 0
    tab.emulate_media(media="screen")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert asked.drawn() == kept and asked.answers() == 0 and "What follows it." not in asked.root.inner_text()
    assert asked.button("compare").is_visible() and "And the curve?" not in sized.root.inner_text()


def test_beside_a_model_of_a_notebook_it_asks_too(browser: Any):
    tab = browser.new_context(viewport={"width": 800, "height": 600}).new_page()
    figure = figures()[1]
    module = page.module(figure.spec, figure.graph.programs).replace("export default", "window.widget =")
    tab.set_content(f"<style>{page.css()}</style><main></main>")
    tab.add_script_tag(content=f"{MODEL}\n{module}\nwindow.Model = Model;", type="module")
    until(tab, "window.Model !== undefined")
    tab.evaluate("widget.render({model: new Model({s: 2}), el: document.querySelector('main')}), 0")
    asked = Asked(tab, "sized")
    assert "Size" not in asked.root.inner_text()
    asked.section.get_by_role("slider").press("Home")
    asked.button("compare").click()
    assert asked.result.inner_text() == "You said 1×10⁻⁶. It is 0.010, 10⁴ times more."
    tab.context.close()


def test_the_figures_of_the_chapters_ask_first(browser: Any, site: Path):
    for chapter, name in (
        ("1-introduction", "units"),
        ("3-1-coordinate-free-multilayer-perceptrons", "renaming"),
        ("3-2-optimization", "damping"),
    ):
        tab = opened(browser, f"{site.as_uri()}/chapters/{chapter}.html")
        asked = Asked(tab, name)
        assert asked.root.locator(".live-predict").count() == 1 and not asked.result.is_visible()
        assert asked.root.locator(".live-panel:visible:not(.live-predict)").count() <= 1
        asked.button("show the answer without a guess").click()
        assert asked.root.locator(".live-panel:visible").count() >= 3
        assert axe(tab, only=["wcag2a", "wcag2aa"]) == []
        assert tab.complaints == []
        tab.context.close()
