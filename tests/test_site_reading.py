"""What a reader does on the pages: hover cards, themes, touch, wide formulas, self-checks, links into the source."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from kfac_lite.live import LiveFigure, Slider, Words

from .browsing import COLOURS, axe, opened, settled, show_in, typeset, until

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]

PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}
INK = {"light": "rgb(28, 33, 39)", "dark": "rgb(230, 233, 236)"}


def visible_link(page, target: str):
    """The first link in the text to this target, with the folds around it open."""
    link = page.locator(f"article a.reference.internal[href$='{target}']").first
    link.evaluate("link => { for (let f = link; f = f.parentElement?.closest('details');) f.open = true }")
    link.scroll_into_view_if_needed()
    return link


@pytest.fixture(scope="module")
def intro(browser: Any, site: Path) -> Iterator[Any]:
    """Chapter 1 at a desk, opened once: each test leaves it without a card, in the light."""
    page = opened(browser, f"{site.as_uri()}/chapters/1-introduction.html")
    yield page
    assert page.complaints == []
    page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_case_B9_hover_cards_are_readable_and_closable(intro: Any, theme: str):
    page = intro
    show_in(page, theme)
    link = visible_link(page, "#thm-3-1")
    assert link.inner_text() == "Theorem 3.1"
    link.focus()
    card = page.locator(".tippy-box")
    card.wait_for()
    page.wait_for_selector(".tippy-box mjx-container")
    assert "Theorem 3.1" in card.inner_text() and "\\(" not in card.inner_text()
    colours = card.evaluate("card => [getComputedStyle(card).backgroundColor, getComputedStyle(card).color]")
    assert colours == [PAPER[theme], INK[theme]]
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert sorted(ids) == sorted(set(ids))
    assert axe(page) == []
    page.keyboard.press("Escape")
    card.wait_for(state="hidden")
    assert link.evaluate("link => document.activeElement === link")
    link.blur()
    show_in(page, "light")


def test_case_B9_the_pointer_may_enter_a_hover_card(intro: Any):
    page = intro
    visible_link(page, "#thm-3-1").hover()
    card = page.locator(".tippy-box")
    page.wait_for_selector(".tippy-box mjx-container")
    settled(page)
    box = card.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=12)
    page.wait_for_timeout(400)  # longer than it stays when it is left
    assert card.is_visible()
    page.mouse.move(5, 890, steps=4)
    card.wait_for(state="hidden")


def test_case_B9_a_page_without_formulas_sets_those_of_a_hover_card(browser, site: Path):
    page = opened(browser, f"{site.as_uri()}/chapters/objections.html")
    page.evaluate("document.querySelectorAll('article .math').forEach(formula => formula.remove())")
    assert page.locator("article mjx-container").count() == 0
    visible_link(page, "#thm-3-1").hover()
    page.wait_for_selector(".tippy-box mjx-container")
    page.context.close()


def test_case_B9_a_hover_card_fits_a_phone(browser, site: Path):
    page = opened(browser, f"{site.as_uri()}/chapters/1-introduction.html", width=390)
    visible_link(page, "#thm-3-1").focus()
    page.wait_for_selector(".tippy-box mjx-container")
    until(
        page,
        "() => { const box = document.querySelector('.tippy-box').getBoundingClientRect();"
        " return box.left >= 0 && box.right <= 390 && box.width > 200 }",
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


def test_case_B9_a_tap_follows_a_link_and_shows_no_card(browser, site: Path):
    page = opened(browser, f"{site.as_uri()}/chapters/1-introduction.html", width=390, has_touch=True, is_mobile=True)
    watch = "document.querySelector('.tippy-box') && console.error('a card')"
    page.evaluate(f"new MutationObserver(() => {watch}).observe(document.body, {{ childList: true, subtree: true }})")
    visible_link(page, "#thm-3-1").tap()
    page.wait_for_url("**/3-2-optimization.html#thm-3-1")
    typeset(page)
    assert page.locator(".tippy-box").count() == 0
    assert page.complaints == []
    page.context.close()


def test_case_B7_the_theme_follows_the_switch_at_once_and_not_the_system(browser, site: Path):
    page = opened(browser, f"{site.as_uri()}/chapters/3-2-optimization.html", theme="dark")
    seen = []
    for _ in range(3):
        page.locator(".theme-switch-button:visible").first.click()
        mode, theme, paper, turned = page.evaluate(
            "[document.documentElement.dataset.mode, document.documentElement.dataset.theme,"
            " getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('.cell_output img')).filter]"
        )
        seen.append(mode)
        assert theme == ("dark" if mode in ("dark", "auto") else "light")
        assert paper == PAPER[theme]
        assert (turned == "none") is (theme == "light")  # pictures are drawn in ink on nothing
    assert sorted(seen) == ["auto", "dark", "light"]
    while page.evaluate("document.documentElement.dataset.mode") != "light":
        page.locator(".theme-switch-button:visible").first.click()
    beside = page.context.new_page()  # which sees what the browser has stored; it writes a moment later
    beside.goto(f"{site.as_uri()}/_static/book.js")
    until(beside, "localStorage.getItem('mode') === 'light'")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.context.close()


def test_case_B7_a_light_site_on_a_dark_system(browser, site: Path):
    """Figure, pictures, code and hover cards follow the site; the figure keeps its state; paper is white again."""
    page = opened(browser, f"{site.as_uri()}/chapters/3-2-optimization.html", theme="dark")
    figure = page.locator(".live-figure[data-name=damping]")
    figure.evaluate("root => root.figure.set('damping', 1e-3)")
    state = figure.evaluate("root => root.figure.state()")
    ink = "root => getComputedStyle(root.querySelector('svg .mark')).stroke"
    dark = figure.evaluate(ink)
    while page.evaluate("document.documentElement.dataset.mode") != "light":
        page.locator(".theme-switch-button:visible").first.click()
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert figure.evaluate(ink) != dark and figure.evaluate("root => root.figure.state()") == state
    assert page.eval_on_selector(".cell_output img", "image => getComputedStyle(image).filter") == "none"
    visible_link(page, "#thm-3-1").hover()
    page.wait_for_selector(".tippy-box mjx-container")
    settled(page)
    colours = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
    assert page.eval_on_selector(".tippy-box", colours) == [PAPER["light"], INK["light"]]
    assert axe(page, left_out=["mjx-container"], only=COLOURS) == []
    page.keyboard.press("Escape")
    show_in(page, "dark")
    page.emulate_media(media="print")
    assert page.eval_on_selector("body", colours)[0] == "rgb(255, 255, 255)"
    assert page.eval_on_selector(".cell_output img", "image => getComputedStyle(image).filter") == "none"
    page.context.close()


def test_a_wide_formula_scrolls_by_keyboard_and_touch(browser, site: Path):
    """The widest of 3.1's, on a page made narrower than any phone, so that it is wide for certain."""
    address = f"{site.as_uri()}/chapters/3-1-coordinate-free-multilayer-perceptrons.html"
    page = opened(browser, address, width=240, has_touch=True, is_mobile=True)
    wide = page.locator("mjx-container[display='true'][tabindex='0']").first
    wide.scroll_into_view_if_needed()
    wide.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.activeElement.scrollLeft > 0")
    still = """async () => {
        const box = document.activeElement;
        box.scrollLeft = 0;
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        return box.scrollLeft === 0;
    }"""
    until(page, still)  # the key's scrolling goes on for some frames
    wide.evaluate("box => box.scrollIntoView({ block: 'center' })")
    settled(page)
    assert wide.evaluate("box => box.scrollLeft") == 0
    box = wide.bounding_box()
    touch = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2
    for kind, left in [("touchStart", 0), *(("touchMove", 10 * k) for k in range(1, 10)), ("touchEnd", None)]:
        points = [] if left is None else [{"x": x - left, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(page, "document.activeElement.scrollLeft > 0")
    assert page.evaluate("scrollX") == 0
    page.context.close()


def test_a_self_check_answers_by_keyboard(intro: Any):
    page = intro
    check = page.locator(".admonition.check").first
    choices = check.locator("details.choice")
    assert choices.count() >= 2
    assert not check.locator(".verdict:visible").count()
    choices.first.locator("summary").focus()
    page.keyboard.press("Enter")
    assert check.locator(".verdict:visible").all_inner_texts() == ["No."]
    for _ in range(choices.count() - 1):
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
    assert "Yes." in check.locator(".verdict:visible").all_inner_texts()


def test_a_name_in_a_cell_opens_its_definition(browser, site: Path):
    page = opened(browser, f"{site.as_uri()}/chapters/3-2-optimization.html", width=390, theme="dark")
    page.locator("div.cell_input a[href$='#Parameterization.from_widths']").first.click()
    page.wait_for_url("**/source/kfac_lite.bases.html#Parameterization.from_widths")
    assert page.locator("[id='Parameterization.from_widths']").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert axe(page) == []
    assert page.complaints == []
    page.context.close()


def doubled(x: Tensor) -> dict[str, Tensor]:
    return {"y": 2 * x}


def test_a_number_on_a_log_scale_is_dragged_by_powers(browser, tmp_path: Path):
    dial = Slider("x", 1e-16, 1.0, value=1e-6, log=True, label="x", digits=1)
    figure = LiveFigure(doubled, controls=[dial], views=[[Words("{y:gap}")]], name="dial", alt="a number, doubled")
    number = '<main><p>It is <span class="live-number" data-figure="dial" data-name="x" data-form="power">?</span>.</p>'
    html = figure._repr_mimebundle_()[0]["text/html"]  # type: ignore[index]
    title = "<!doctype html><html lang=en><meta charset=utf-8><title>A number</title><body>"
    (tmp_path / "page.html").write_text(f"{title}{number}{html}</main>", encoding="utf-8")
    page = opened(browser, (tmp_path / "page.html").as_uri())
    word = page.locator(".live-number")
    assert word.inner_text() == "10⁻⁶"
    x = "document.querySelector('.live-figure').figure.state().x"
    for key, power in [("ArrowRight", -5.84), ("PageUp", -4.24), ("Home", -16), ("End", 0)]:
        word.press(key)
        assert page.evaluate(x) == pytest.approx(10.0**power, rel=1e-9)
        assert float(word.get_attribute("aria-valuenow")) == pytest.approx(power, abs=1e-9)
    box = word.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 56, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    assert page.evaluate(x) == pytest.approx(1e-4, rel=1e-6)  # a quarter of 240 pixels is a quarter of 16 powers
    assert axe(page, only=["aria-valid-attr-value", "aria-allowed-attr"]) == []
    assert page.complaints == []
    page.context.close()


def test_no_line_begins_with_the_stop_after_a_formula_nor_ends_with_the_bracket_before_it(browser, site: Path):
    page = opened(browser, f"{site.as_uri()}/chapters/2-1-natural-gradient-and-k-fac.html")
    for width in (1280, 390, 360):
        show_in(page, "light", width)
        stops, brackets, parted = page.evaluate(
            """() => {
            const found = [0, 0, 0];
            for (const formula of document.querySelectorAll("article span.math")) {
                if (!formula.checkVisibility()) continue;
                const { left } = formula.getBoundingClientRect(), edge = document.createRange();
                const after = formula.nextSibling, before = formula.previousSibling;
                if (after?.nodeType === 3 && /^[.,;:]/.test(after.data)) {
                    edge.setStart(after, 0);
                    edge.setEnd(after, 1);
                    found[0]++;
                    found[2] += edge.getBoundingClientRect().left < left;
                }
                if (before?.nodeType === 3 && /\\($/.test(before.data)) {
                    edge.setStart(before, before.length - 1);
                    edge.setEnd(before, before.length);
                    found[1]++;
                    found[2] += edge.getBoundingClientRect().right > left + 1;
                }
            }
            return found;
        }"""
        )
        assert stops > 40 and brackets > 0 and parted == 0, width
    page.context.close()
