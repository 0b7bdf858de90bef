"""The hero on the built page: dragged by mouse, touch and keys, and its numbers are torch's (paper: Theorem 3.6)."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch

from kfac_lite import live
from kfac_lite.live import Handle, Line, LiveFigure, Panel, Slider, hero, page

from .browsing import axe, opened, settled, until
from .test_live_hero import rounding

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]
FIGURE = cache(hero.figure)
INDEX = "chapters/index.html"


class Hero:
    """The figure in the page, and what one does with it."""

    def __init__(self, tab: Any):
        self.tab = tab
        self.root = tab.locator(".live-figure[data-name=hero]")

    def ask(self, expression: str, argument: Any = None) -> Any:
        return self.root.evaluate(
            f"(root, argument) => {{ const figure = root.figure; return {expression}; }}", argument
        )

    def state(self) -> dict[str, Any]:
        return self.ask("figure.state()")

    def handle(self, name: str) -> Any:
        return self.root.locator(f'[data-handle="{name}"]')

    def middle(self, name: str) -> tuple[float, float]:
        box = self.handle(name).locator(".hit").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def shown(self) -> dict[str, list[float]]:
        """The numbers that stand in the page."""
        outs = self.root.locator("[data-of]").all()
        return {
            out.get_attribute("data-of"): [float(x) for x in out.get_attribute("data-value").split(",")] for out in outs
        }

    def agrees(self) -> dict[str, Any]:
        """The page's numbers are torch's at the page's state. Returns torch's values."""
        values = FIGURE().values(**self.state())
        shown = self.shown()
        bar = {key: max(1e-12, 300 * rounding(values, step)) for key, step in (("sgd", hero.sgd), ("kfac", hero.kfac))}
        for name in ("gap_sgd_now", "Omega", "gamma"):
            wanted = values[name].flatten()
            assert torch.allclose(
                torch.tensor(shown[name], dtype=torch.float64), wanted, rtol=bar["sgd"], atol=bar["sgd"]
            )
        assert shown["gap_kfac_now"][0] <= 1e-12 and values["gap_kfac"].max() <= 1e-12
        for name in ("sgd_kappa", "kfac_kappa", "f_sgd", "f_kfac"):
            for x, y in zip(self.ask(f"figure.value('{name}').map((x) => Array.from(x))"), leaves(values[name])):
                apart = (torch.tensor(x, dtype=torch.float64) - y.flatten()).abs().max()
                assert apart <= bar["kfac" if "kfac" in name else "sgd"] * y.abs().max(), name
        return values


def leaves(x: Any) -> list[torch.Tensor]:
    return x if isinstance(x, list) else [x]


@pytest.fixture
def at_home(browser: Any, site: Any) -> Iterator[Hero]:
    tab = opened(browser, f"{site.as_uri()}/{INDEX}")
    found = Hero(tab)
    found.root.get_by_role("button", name="tanh").click()
    yield found
    assert tab.complaints == []
    tab.context.close()


def test_the_hero_is_live_before_the_page_has_loaded(browser: Any, site: Any):
    tab = opened(browser, f"{site.as_uri()}/{INDEX}")
    first, ready = tab.evaluate(
        "[performance.getEntriesByName('live-figure:hero')[0].startTime,"
        " performance.getEntriesByType('navigation')[0].loadEventStart]"
    )
    assert first <= ready
    figure = tab.locator(".live-figure").bounding_box()
    text = tab.locator(".bd-article section > p").first.bounding_box()
    assert figure["y"] + figure["height"] <= text["y"]
    assert tab.evaluate("document.querySelectorAll('.live-runtime').length") == 1
    assert tab.locator(".live-still").count() == 0 and not tab.locator(".live-unlinked").is_visible()
    tab.context.close()


def test_nothing_moves_when_the_figure_starts(browser: Any, site: Any):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.add_init_script(
        "window.shifts = []; new PerformanceObserver((list) => list.getEntries().forEach((entry) =>"
        " shifts.push(...entry.sources.map((s) => s.node?.closest?.('.live-figure, .live-host') && entry.value))))"
        ".observe({type: 'layout-shift', buffered: true});"
    )
    tab = context.new_page()
    tab.goto(f"{site.as_uri()}/{INDEX}")
    until(tab, "performance.getEntriesByName('live-figure-warm:hero').length")
    assert sum(x or 0 for x in tab.evaluate("shifts")) < 0.01
    context.close()


def test_theorem_3_6_dragged_by_mouse(at_home: Hero):
    """At home both gaps are exactly 0; wherever an arrow is dragged, SGD's gap opens and K-FAC's stays rounding."""
    assert at_home.shown()["gap_sgd_now"] == at_home.shown()["gap_kfac_now"] == [0]
    mouse = at_home.tab.mouse
    mouse.move(*(start := at_home.middle("kappa-1")))
    mouse.down()
    for dx, dy in [(-20, -30), (30, -60), (-200, 400), (60, 90)]:
        mouse.move(start[0] + dx, start[1] + dy, steps=2)
        values = at_home.agrees()
        assert values["gap_sgd"][75] > 0.01
    mouse.up()
    before = at_home.state()
    mouse.move(start[0], start[1] - 100)
    assert at_home.state() == before
    assert at_home.ask("figure.value('best_kfac')[0][0]") <= 1e-12 < at_home.ask("figure.value('best_sgd')[0][0]")
    assert "best attack" in at_home.root.inner_text()


def test_theorem_3_6_dragged_by_keys(at_home: Hero):
    at_home.handle("kappa-0").focus()
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowUp"):
        at_home.tab.keyboard.press(key)
    assert at_home.state()["kappa"] == [[1, 0, 0.05], [0, 1, 0.3]]
    at_home.tab.keyboard.press("Tab")
    at_home.tab.keyboard.press("ArrowDown")
    assert at_home.handle("kappa-1").evaluate("handle => handle === document.activeElement")
    assert at_home.handle("kappa-1").get_attribute("aria-valuetext") == "1.00, −0.05"
    at_home.agrees()


def test_theorem_3_6_dragged_by_touch(browser: Any, site: Any):
    """A finger on a handle drags it and does not scroll; a second finger there changes nothing."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(f"{site.as_uri()}/{INDEX}")
    found, cdp = Hero(tab), context.new_cdp_session(tab)
    found.handle("kappa-1").scroll_into_view_if_needed()
    found.root.get_by_role("button", name="tanh").tap()
    settled(tab)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    (x, y), scrolled = found.middle("kappa-1"), tab.evaluate("scrollY")
    touch("touchStart", (x, y))
    for k in range(1, 8):
        touch("touchMove", (x - 2 * k, y - 8 * k))
    unit = found.handle("kappa-1").evaluate("handle => handle.ownerSVGElement.clientWidth / 4")
    kappa = found.state()["kappa"]
    assert kappa[0][0] == pytest.approx(1 - 14 / unit, abs=0.02) and kappa[1][0] == pytest.approx(56 / unit, abs=0.02)
    touch("touchStart", (x - 14, y - 56), (x + 40, y + 60))
    touch("touchMove", (x - 14, y - 56), (x + 90, y + 90))
    assert found.state()["kappa"] == kappa
    touch("touchEnd")
    assert tab.evaluate("scrollY") == scrolled
    found.agrees()
    context.close()


def test_the_step_is_scrubbed(at_home: Hero):
    """By the handle's keys, by dragging it, and by pressing anywhere in the strip; only the step changes."""
    handle, tab = at_home.handle("t"), at_home.tab
    handle.focus()
    for key, t in [
        ("Home", 0),
        ("PageUp", 10),
        ("ArrowRight", 11),
        ("Shift+ArrowRight", 21),
        ("End", 100),
        ("ArrowLeft", 99),
    ]:
        tab.keyboard.press(key)
        assert at_home.state()["t"] == t
    assert handle.get_attribute("aria-valuetext") == "step 99 of 100"
    at_home.agrees()
    x, y = at_home.middle("t")
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 150, y - 40, steps=4)
    tab.mouse.up()
    t = at_home.state()["t"]
    assert 40 < t < 90
    tab.mouse.click(x - 300, y - 100)
    assert at_home.state()["t"] < t - 10
    at_home.agrees()


def test_play_and_pause(at_home: Hero):
    button = at_home.root.get_by_role("button", name="play step")
    button.click()
    until(at_home.tab, "document.querySelector('.live-figure').figure.state().t > 2")
    at_home.root.get_by_role("button", name="pause step").click()
    t = at_home.state()["t"]
    at_home.tab.wait_for_timeout(150)
    assert at_home.state()["t"] == t


def test_words_move_the_figure(at_home: Hero):
    root = at_home.root
    root.get_by_role("button", name="logistic units").click()
    assert at_home.state()["kappa"] == [[2, 0, -1], [0, 2, -1]]
    at_home.agrees()
    lift = root.get_by_role("button", name="lift κ")
    lift.click()
    assert lift.get_attribute("aria-pressed") == "true" and at_home.state()["lift"] is True
    assert root.locator(".lifted").count() == 2
    root.get_by_text("more", exact=True).click()
    root.get_by_role("button", name="ι", exact=True).click()
    assert root.locator(".r-band[d]").first.is_hidden() or at_home.state()["show_iota"] is False
    root.get_by_role("button", name="tanh").click()
    assert at_home.shown()["gap_sgd_now"] == [0] and at_home.state()["kappa"] == hero.HOME


def test_sentences_show_and_move_the_figure(at_home: Hero):
    """The numbers of the text are the figure's; the step can be dragged there, by mouse and keys; words set a state."""
    tab, number = at_home.tab, at_home.tab.locator(".live-number[data-name=t]")
    words = "words => document.querySelector('.live-number[data-name=gap_sgd_now]').textContent === words"
    until(tab, words, "0")
    assert number.inner_text() == "75"
    tab.get_by_role("link", name="logistic functions").click()
    assert at_home.state()["kappa"] == [[2, 0, -1], [0, 2, -1]]
    readout = at_home.root.locator("[data-of=gap_sgd_now]").inner_text()
    until(tab, words, readout)
    assert readout != "0"
    number.focus()
    tab.keyboard.press("PageDown")
    assert number.inner_text() == "65" and at_home.state()["t"] == 65
    assert number.get_attribute("role") == "slider" and number.get_attribute("aria-valuetext") == "65"
    box = number.bounding_box()
    tab.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] - 43, box["y"] + 30, steps=3)
    tab.mouse.up()
    assert at_home.state()["t"] == 45
    at_home.agrees()
    tab.go_back()
    until(tab, "document.querySelector('.live-figure').figure.state().kappa[0][0] === 1")


@pytest.mark.parametrize("where", [".live-number[data-name=gap_sgd_now]", ".live-more [data-of=Omega]"])
def test_a_sentence_follows_a_drag_ten_times_a_second_and_ends_where_it_ends(at_home: Hero, where: str):
    """Its numbers are read, not watched, and each one sets a paragraph anew; the figure itself follows at once."""
    tab, (x, y) = at_home.tab, at_home.middle("kappa-1")
    tab.evaluate(
        """where => { window.written = []; const number = document.querySelector(where);
        new MutationObserver(() => written.push(performance.now())).observe(number,
          { childList: true, characterData: true, subtree: true }); }""",
        where,
    )
    tab.mouse.move(x, y)
    tab.mouse.down()
    for step in range(60):
        tab.mouse.move(x - step, y + step / 2)
    tab.mouse.up()
    if "Omega" in where:
        numbers = tab.locator(where).get_attribute("data-value").split(",")
        at_the_end = tab.evaluate("numbers => numbers.map(x => Number(x).toFixed(2).replace('-', '−'))", numbers)
        has = "([where, words]) => words.every(x => document.querySelector(where).textContent.includes(x))"
    else:
        at_the_end = at_home.root.locator("[data-of=gap_sgd_now]").inner_text()
        has = "([where, words]) => document.querySelector(where).textContent === words"
    until(tab, has, [where, at_the_end])
    written = tab.evaluate("written")
    assert written and all(later - earlier > 80 for earlier, later in pairwise(written))


def test_bounds_are_said_in_the_panel(at_home: Hero):
    x, y = at_home.middle("kappa-1")
    note = at_home.root.locator(".live-bound").first
    mouse = at_home.tab.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 400, y, steps=3)
    assert note.inner_text() == "longest arrow: 2"
    mouse.move(x - 1, y - 60, steps=3)
    mouse.up()
    assert not note.is_visible()


def test_case_B5_keys_move_the_figure_and_nothing_else(at_home: Hero):
    """Held keys, with text selected; the page neither turns nor scrolls; the read-out speaks once, after a pause."""
    tab = at_home.tab
    tab.evaluate("getSelection().selectAllChildren(document.querySelector('article p:not(.live-figure *)'))")
    tab.evaluate(
        "window.spoken = []; const say = document.querySelector('.live-say');"
        "new MutationObserver(() => spoken.push(say.textContent)).observe(say, {childList: true})"
    )
    for name in ("kappa-0", "kappa-2", "t"):
        at_home.handle(name).focus()
        before, scrolled, address = at_home.state(), tab.evaluate("scrollY"), tab.url
        for key in ("ArrowDown", "ArrowLeft", "PageDown", "Home", "Shift+ArrowRight"):
            tab.keyboard.press(key)
        for _ in range(20):  # a key that is held repeats
            tab.keyboard.down("ArrowRight")
        tab.keyboard.up("ArrowRight")
        assert at_home.state() != before
        assert (tab.evaluate("scrollY"), tab.url) == (scrolled, address)
    before = at_home.state()
    tab.keyboard.press("Alt+ArrowLeft")
    assert at_home.state() == before
    until(tab, "start => spoken.at(-1)?.startsWith(start)", f"Step {before['t']}. Gap: SGD ")
    assert "K-FAC" in tab.evaluate("spoken.at(-1)")
    tab.evaluate(  # many keys between two of the browser's turns, however slow it is
        "spoken.length = 0; for (let k = 0; k < 20; k++) document.querySelector('[data-handle=t]')"
        ".dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true, cancelable: true }))"
    )
    assert at_home.state()["t"] == before["t"] - 20
    until(tab, "spoken.length > 0")
    tab.wait_for_timeout(900)
    assert len(tab.evaluate("spoken")) == 1


def test_the_theme_changes_in_mid_drag(at_home: Hero):
    x, y = at_home.middle("kappa-2")
    ink = "figure => getComputedStyle(figure.querySelector('.c-kfac.r-line')).stroke"
    mouse = at_home.tab.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 30, y + 10, steps=2)
    state, light = at_home.state(), at_home.root.evaluate(ink)
    at_home.tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert at_home.root.evaluate(ink) != light and at_home.state() == state
    mouse.move(x + 50, y + 10, steps=2)
    assert at_home.state() != state
    mouse.up()
    at_home.agrees()


@pytest.mark.parametrize("case", ["right button", "let go outside", "cancelled"])
def test_a_drag_ends_when_it_should(at_home: Hero, case: str):
    x, y = at_home.middle("kappa-1")
    mouse, tab = at_home.tab.mouse, at_home.tab
    mouse.move(x, y)
    if case == "right button":
        mouse.down(button="right")
        mouse.move(x, y - 50)
        assert at_home.state()["kappa"] == hero.HOME
        mouse.up(button="right")
        return
    mouse.down()
    mouse.move(x, y - 30, steps=2)
    held = at_home.state()
    assert held["kappa"] != hero.HOME
    init = "{pointerId: 1, pointerType: 'mouse', isPrimary: true, bubbles: true, buttons: 0, clientX: 5, clientY: 5}"
    event = "pointermove" if case == "let go outside" else "pointercancel"
    at_home.handle("kappa-1").evaluate(f"handle => handle.dispatchEvent(new PointerEvent('{event}', {init}))")
    mouse.move(x, y - 90, steps=2)
    assert at_home.state() == held
    mouse.up()
    assert tab.locator(".held").count() == 0


def test_zoom_and_resize_keep_the_state(at_home: Hero):
    at_home.ask("figure.set('kappa', [[0.62, 0, 0.1], [0.35, 1, 0]])")
    state, shown = at_home.state(), at_home.shown()
    for width in (390, 820, 1280):
        at_home.tab.set_viewport_size({"width": width, "height": 900})
        settled(at_home.tab)
        box, figure = at_home.root.locator("svg[role=group]").nth(1).bounding_box(), at_home.root.bounding_box()
        assert box["x"] >= figure["x"] - 1 and box["x"] + box["width"] <= figure["x"] + figure["width"] + 1
        assert at_home.tab.evaluate("document.documentElement.scrollWidth") <= width
    assert at_home.state() == state and at_home.shown() == shown
    x, y = at_home.middle("kappa-0")
    at_home.tab.mouse.move(x, y)
    at_home.tab.mouse.down()
    at_home.tab.mouse.move(x + 20, y)
    at_home.tab.mouse.up()
    assert at_home.state()["kappa"][0][2] > 0.1


def test_the_ghost_shows_the_first_move_and_stops_at_a_touch(browser: Any, site: Any):
    for touched in (False, True):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        tab = context.new_page()
        tab.goto(f"{site.as_uri()}/{INDEX}")
        found = Hero(tab)
        until(tab, "document.querySelector('.live-figure').figure.state().kappa[1][0] > 0.05")
        if touched:
            tab.mouse.move(*found.middle("kappa-0"))
            tab.mouse.down()
            tab.mouse.up()
            state = found.state()
            tab.wait_for_timeout(300)
            assert found.state() == state
        else:
            until(tab, "document.querySelector('.live-figure').figure.state().kappa[1][0] === 0.35")
            assert found.state()["kappa"] == FIGURE().spec["ghost"]["kappa"]
            assert found.ask("figure.value('best_sgd')[0][0]") == 0
        context.close()


def test_an_address_opens_a_state_and_a_wrong_one_is_said_to_be_wrong(browser: Any, site: Any):
    address = f"{site.as_uri()}/{INDEX}"
    tab = opened(browser, f"{address}#hero=1,kappa:0.62_0_0.1_0.35_1_0,t:50")
    found = Hero(tab)
    assert found.state()["kappa"] == [[0.62, 0, 0.1], [0.35, 1, 0]] and found.state()["t"] == 50
    found.agrees()
    link = found.ask("figure.link()")
    tab.evaluate("location.hash = '#hero=7,kappa:1'")
    until(tab, "document.querySelector('.live-status').textContent.includes('does not have')")
    tab.go_back()
    assert tab.complaints == []
    found.ask("figure.set('kappa', [[0.5, 0, 0], [0, 1, 0]])")
    state = found.state()
    tab.get_by_role("button", name="copy link").click()
    assert tab.url == found.ask("figure.link()") and found.state() == state
    tab.go_back()
    until(tab, "document.querySelector('.live-figure').figure.state().kappa[0][0] === 0.62")
    again = opened(browser, link)
    assert Hero(again).state() == found.state()
    for each in (tab, again):
        each.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_at_the_hero(browser: Any, site: Any, theme: str):
    tab = opened(browser, f"{site.as_uri()}/{INDEX}", theme=theme)
    tab.get_by_text("more", exact=True).click()
    assert axe(tab) == []
    for box in [h.bounding_box() for h in tab.locator(".handle .hit, .live-words button, .live-play, summary").all()]:
        assert box is None or (box["height"] >= 44 and box["width"] >= 44) or box["height"] >= 44
    tab.context.close()


def test_without_scripts_the_still_says_what_there_is_to_see(browser: Any, site: Any):
    tab = opened(browser, f"{site.as_uri()}/{INDEX}", script=False)
    still = tab.locator(".live-still[role=img]")
    assert still.is_visible() and "SGD’s two runs part" in still.get_attribute("aria-label")
    assert still.locator("svg").count() == 4 and still.locator("svg").first.bounding_box()["width"] > 200
    assert tab.locator("button:visible", has_text="lift").count() == 0
    tab.context.close()


# -- other pages than the book's


def inverse(x: torch.Tensor) -> torch.Tensor:
    A = torch.stack([torch.stack([x, x * 0 + 1]), torch.stack([x * 0 + 1, x * 0 + 1])])
    return torch.linalg.solve(A, torch.stack([x, 2 * x]))


def small() -> LiveFigure:
    marks = live.Points(torch.tensor([[0.2, 4.0], [0.8, 4.0]])), Line("inverse"), live.Drag("p")
    return LiveFigure(
        inverse,
        controls=[Slider("x", 0.0, 2.0, value=0.5, step=0.5), Handle("p", value=(0.5, 0.5), label="p")],
        views=[[Panel(*marks, x=(0, 1), y=(-5, 5), title="T"), live.Words("{inverse:.2f}")]],
        name="small",
        alt="a line",
    )


MODEL = """class Model {
  constructor(values) { this.values = values; this.heard = {}; this.saved = []; }
  get(name) { return this.values[name]; }
  set(name, value) {
    this.values[name] = value;
    this.saved.push([name, value]);
    (this.heard["change:" + name] || []).forEach((f) => f());
  }
  on(name, f) { (this.heard[name] ??= []).push(f); }
  off(name, f) { this.heard[name] = (this.heard[name] || []).filter((g) => g !== f); }
  save_changes() {}
}"""


@pytest.fixture
def host(browser: Any) -> Iterator[Any]:
    """A bare page with a model of its own, as another front end for widgets has one."""
    tab = browser.new_context(viewport={"width": 800, "height": 600}).new_page()
    tab.errors = []
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    figure = small()
    module = page.module(figure.spec, figure.graph.programs).replace("export default", "window.widget =")
    tab.set_content(f"<style>{page.css()}</style><main></main>")
    tab.add_script_tag(content=f"{MODEL}\n{module}\nwindow.Model = Model;", type="module")
    until(tab, "window.Model !== undefined")  # a module runs a moment after it is put into the page
    tab.evaluate(
        """() => { window.model = new Model({x: 0.5, p: [0.5, 0.5]}); window.open_ = () => {
        const el = document.querySelector("main").appendChild(document.createElement("div"));
        const stop = widget.render({model, el}); return () => { stop(); el.remove(); }; }; }"""
    )
    yield tab
    assert tab.errors == []
    tab.context.close()


def test_the_same_module_runs_beside_any_model(host: Any):
    """Both ways: what is dragged reaches the model, and what the model says reaches the figure."""
    host.evaluate("void open_()")
    value = "document.querySelector('[data-of]').dataset.value"
    assert [float(v) for v in host.evaluate(value).split(",")] == pytest.approx(inverse(torch.tensor(0.5)).tolist())
    host.locator("input[type=range]").press("ArrowRight")
    assert host.evaluate("model.saved") == [["x", 1.0]]


def test_a_fault_greys_the_drawing_says_where_and_goes_away(host: Any):
    host.evaluate("void open_()")
    root, drawn = host.locator(".live-figure"), "document.querySelector('.live-box path.mark').getAttribute('d')"
    before = host.evaluate(drawn)
    host.locator("input[type=range]").press("ArrowRight")  # x = 1: a singular matrix
    assert "faulty" in root.get_attribute("class") and host.evaluate(drawn) == before
    said = host.locator(".live-fault").inner_text()
    assert "linalg.solve meets a matrix that cannot be inverted" in said and "in `inverse`" in said
    assert host.locator(".live-box svg > g").first.evaluate("g => getComputedStyle(g).opacity") == "0.35"
    handle = host.locator("[data-handle=p]")
    place = handle.get_attribute("transform")
    handle.press("ArrowUp")  # the handles follow the reader all the same
    assert "faulty" in root.get_attribute("class") and handle.get_attribute("transform") != place
    host.evaluate("model.set('x', 1.5)")
    assert "faulty" not in (root.get_attribute("class") or "") and not host.locator(".live-fault").is_visible()
    assert host.evaluate(drawn) != before


def test_nothing_is_left_of_figures_that_were_closed(host: Any):
    """Twenty times the cell is run: no listener of the model, no element, no observer of the page's theme remains."""
    host.evaluate(
        """() => { window.watching = 0; const watcher = MutationObserver.prototype, { observe, disconnect } = watcher;
        watcher.observe = function (...a) { watching++; return observe.apply(this, a); };
        watcher.disconnect = function () { watching--; return disconnect.apply(this); }; }"""
    )
    host.evaluate("for (let i = 0; i < 20; i++) { const stop = open_(); model.set('x', 0.5 * (i % 2)); stop(); }")
    host.wait_for_timeout(300)
    assert host.evaluate("Object.values(model.heard).flat().length") == 0
    assert host.evaluate("document.querySelectorAll('.live-figure').length") == 0
    assert host.evaluate("watching") == 0


def test_two_figures_on_one_page_do_not_meet(host: Any):
    host.evaluate("open_(), (window.model = new Model({x: 0.5, p: [0.2, 0]})), open_(), 0")
    second = host.locator(".live-figure").nth(1)
    second.locator("input[type=range]").press("End")
    states = host.evaluate("[...document.querySelectorAll('.live-figure')].map((f) => f.figure.state().x)")
    assert states == [0.5, 2]
    ids = host.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_case_B14_a_front_end_without_the_widget_shows_the_figure(browser: Any, tmp_path: Any):
    """The HTML copy alone, no network and no script of another's: live, or still where scripts are taken out."""
    bundle = small()._repr_mimebundle_()
    assert bundle is not None
    path = tmp_path / "cell.html"
    path.write_text(f"<!doctype html><html lang=en><title>.</title><body>{bundle[0]['text/html']}", encoding="utf-8")
    tab = opened(browser, path.as_uri())
    assert tab.locator(".live-figure svg").count() > 0 and tab.complaints == []
    line = tab.locator(".live-unlinked")
    assert line.is_visible() and "run the cell in Jupyter" in line.inner_text()
    tab.context.close()
    still = opened(browser, path.as_uri(), script=False)
    assert still.locator(".live-still").is_visible() and still.locator(".live-unlinked").is_visible()
    assert "Loading widget" not in still.content()
    still.context.close()
