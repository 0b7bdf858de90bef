"""Symbols of formulas in a browser: by pointer, by touch, and by keyboard alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browsing import axe, opened, show_in

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]

CHAPTER = "3-1-coordinate-free-multilayer-perceptrons"
LIT = """[...new Set([...document.querySelectorAll('mjx-math .notation-lit')]
    .map(place => place.className.match(/notation-\\d+/)[0]))]"""
TOLD = "addEventListener('notation', event => (window.told ??= []).push(event.detail?.name ?? null), true)"


@pytest.fixture(scope="module")
def page(browser: Any, site: Path) -> Iterator[Any]:
    """The chapter, opened once: each test leaves it as it was."""
    page = opened(browser, f"{site.as_uri()}/chapters/{CHAPTER}.html")
    page.wait_for_selector(".notation-opener", state="attached")
    page.evaluate(TOLD)
    yield page
    assert page.complaints == []
    page.context.close()


def test_pointing_at_a_symbol_lights_its_places_and_shows_its_card(page: Any):
    symbol = page.locator("article section > p mjx-math .notation").first
    symbol.scroll_into_view_if_needed()
    symbol.hover()
    card = page.locator(".notation-card")
    card.wait_for()
    assert card.locator("p").inner_text() and card.locator("code").count()
    assert page.evaluate(LIT) == [next(c for c in symbol.get_attribute("class").split() if c.startswith("notation-"))]
    page.mouse.move(3, 3)
    card.wait_for(state="hidden")
    assert page.evaluate(LIT) == []
    first, last = page.evaluate("[told[0], told.at(-1)]")
    assert first and last is None


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_the_symbols_of_a_section_by_keyboard_alone(page: Any, width: int, theme: str):
    show_in(page, theme, width)
    opener = page.locator("section#the-same-network-twice > .notation-here > .notation-opener")
    assert opener.evaluate("button => getComputedStyle(button).clipPath") != "none"  # unseen until it is reached
    page.evaluate("document.querySelector('#the-same-network-twice').focus()")
    opener.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert opener.evaluate("button => document.activeElement === button && getComputedStyle(button).clipPath") == "none"
    page.keyboard.press("Enter")
    entries = page.locator(".notation-list li button")
    entries.first.wait_for()
    assert page.locator(".notation-opener[aria-expanded=true]").count() == 1
    count = entries.count()
    in_section = """section => new Set([...section.querySelectorAll('mjx-math .notation')]
        .filter(s => s.closest('section:has(> :is(h1, h2, h3, h4))') === section && !s.closest('.notation-list'))
        .map(s => s.className.match(/notation-\\d+/)[0])).size"""
    assert count == page.locator("section#the-same-network-twice").evaluate(in_section) > 5
    seen = []
    for _ in range(count):
        seen += page.evaluate(LIT)  # the one that has the focus
        stop = page.evaluate("""() => { const e = document.activeElement, m = e.querySelector('math');
            return { spoken: m.textContent.trim(), text: e.textContent.trim(),
                code: document.getElementById(e.getAttribute('aria-describedby')).textContent } }""")
        assert stop["spoken"] and len(stop["text"]) > len(stop["spoken"]) and stop["code"]
        page.keyboard.press("ArrowDown")
    assert len(seen) == len(set(seen)) == count
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("Home")
    assert page.evaluate(LIT) == seen[:1]
    page.keyboard.press("Escape")
    assert page.locator(".notation-list").count() == 0 and page.evaluate(LIT) == []
    assert opener.evaluate("button => document.activeElement === button")
    opener.blur()
    show_in(page, "light", 1280)


def test_the_list_of_symbols_closes_when_the_focus_leaves_it(page: Any):
    page.locator(".notation-opener").first.focus()
    page.keyboard.press("Enter")
    page.locator(".notation-list").wait_for()
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.locator(".notation-list").wait_for(state="detached")
    assert page.evaluate(LIT) == []
    assert page.evaluate("document.querySelector('.notation-opener[aria-expanded=true]')") is None


def test_symbols_cost_one_stop_a_section(page: Any):
    """And not one a symbol: a page with hundreds of symbols stays walkable by Tab."""
    stops, symbols, sections = (
        page.evaluate("""[document.querySelectorAll('.notation-here [tabindex], .notation-here button').length,
        document.querySelectorAll('article mjx-math .notation').length,
        document.querySelectorAll('article section:has(> :is(h1, h2, h3, h4))').length]""")
    )
    assert 1 < stops <= sections < symbols / 10
    names = page.locator(".notation-opener").all_text_contents()
    assert len(set(names)) == len(names)


def test_table_1_fits_a_phone(browser, site: Path):
    """Every row reads without scrolling sideways, whatever the theme, which is a matter of colours alone."""
    page = opened(browser, f"{site.as_uri()}/chapters/notation.html", width=390)
    wide = """[...document.querySelectorAll('.notation-table, .notation-table *')]
        .filter(e => !e.closest('mjx-container') && e.getClientRects().length)
        .filter(e => e.getBoundingClientRect().right > innerWidth
            || (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible'))
        .map(e => e.outerHTML.slice(0, 90))"""
    for theme in ("light", "dark"):
        show_in(page, theme)
        assert page.evaluate(wide) == []
    assert page.locator(".notation-table tbody tr").count() > 25
    page.context.close()


def test_the_tables_of_kinds_fit_a_phone_and_their_numbers_lead_to_the_reasons(browser, site: Path):
    page = opened(browser, f"{site.as_uri()}/chapters/what-may-be-added-to-what.html", width=390)
    tables = page.evaluate("[...document.querySelectorAll('.kinds-table')].map(e => [e.scrollWidth, e.clientWidth])")
    assert len(tables) == 5 and all(wide <= there for wide, there in tables)
    lost = "[...document.querySelectorAll('.kinds-table td a')].filter(a => !document.querySelector(a.hash)).length"
    assert page.evaluate(lost) == 0
    link = page.locator(".kinds-table td a").first
    link.click()
    assert page.locator("li:target:has-text('Point + Point')").is_visible()
    page.context.close()
