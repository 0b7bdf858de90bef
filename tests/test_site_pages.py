"""Every page of the book at a desk: both themes, deep links, paper. Each is opened once, and left as it was opened."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browsing import COLOURS, PAGES, axe, open_folds, opened, reachable, settled, show_in, soup, until, visit

pytestmark = [pytest.mark.no_gauge, pytest.mark.slow]

PROSE = """[...document.querySelectorAll('article :is(p, li, h1, h2, h3, summary, td, figcaption)')]
    .filter(e => !e.closest('pre, code'))
    .map(e => { const c = e.cloneNode(true);
        c.querySelectorAll('pre, code, mjx-container, script, svg').forEach(x => x.remove()); return c.textContent })"""


@pytest.fixture(scope="module", params=PAGES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def window(browser: Any, site: Path) -> Iterator[Any]:
    window = opened(browser, f"{site.as_uri()}/404.html")
    yield window
    window.context.close()


@pytest.fixture(scope="module")
def page(window: Any, site: Path, name: str) -> Any:
    return visit(window, f"{site.as_uri()}/{name}.html")


def test_a_page_has_no_tex_in_its_prose(page: Any):
    assert page.locator("article").inner_text().strip()
    assert not [piece for piece in page.evaluate(PROSE) if re.search(r"\\\(|\\\[|\\[a-z]{3,}|\$", piece)]


def test_a_deep_link_opens_the_fold_that_it_points_into(page: Any, site: Path, name: str):
    inside = [str(element["id"]) for element in soup(site / f"{name}.html").select("details [id], details[id]")]
    for identity in dict.fromkeys((*inside[:1], *inside[-1:])):
        page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = false)")
        page.evaluate("id => { location.hash = id }", identity)
        until(page, "id => document.getElementById(id).checkVisibility()", identity)
        assert page.evaluate("id => document.getElementById(id).closest('details').open", identity)


def test_a_page_is_whole_in_both_themes(page: Any):
    """With its folds open: no sideways scroll, what is wide scrolls by keyboard, axe clean."""
    open_folds(page)
    reachable(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert axe(page) == []
    show_in(page, "dark")
    assert axe(page, left_out=["mjx-container"], only=COLOURS) == []


CUT = """[...document.querySelectorAll('article *')].filter(e => e.checkVisibility() && e.clientWidth > 1
    && !e.parentElement.closest('mjx-container, svg') && getComputedStyle(e).overflowX != 'visible'
    && e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 160))"""


def test_a_page_prints_with_folds_open_and_nothing_cut(page: Any):
    """On A4 with margins the text is some 700 pixels wide; always on white, whatever the theme."""
    page.evaluate("document.querySelectorAll('article details').forEach(fold => fold.open = false)")
    show_in(page, "dark", 700)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    settled(page)
    assert page.locator("article details:not([open])").count() == 0
    for chrome in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article", ".prev-next-footer"):
        assert not page.locator(chrome).first.is_visible(), chrome
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"  # the sheet's own colour
    pale = "all => all.filter(e => getComputedStyle(e).opacity < 1).map(e => e.outerHTML.slice(0, 120))"
    assert page.eval_on_selector_all("article details > :not(summary)", pale) == []  # nothing that still fades in
    paper, ink = page.evaluate(
        "[document.body, document.querySelector('article h1')].map(e => getComputedStyle(e))"
        ".map((style, i) => i ? style.color : style.backgroundColor)"
    )
    assert (paper, ink) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.solution[open]").count() == 0
    page.emulate_media(media="screen", color_scheme="light")
    show_in(page, "light", 1280)


def test_a_page_has_nothing_to_complain_of(page: Any):
    """After all that was done to it."""
    assert page.complaints == []
